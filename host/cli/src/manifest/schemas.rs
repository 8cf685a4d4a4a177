//! Schema files that a manifest names, and the registry in which those of sinks are kept.

use std::{collections::BTreeMap, fs, sync::Arc};

use reelflow_config::{
    At, Problems, SinkWriter,
    config::{Registry, Sink, SourceFormat, written::SinkSchema},
};
use reelflow_core::format::WriterSchema;
use reelflow_ports::schemas::{Schemas, SchemasError};

use super::Manifest;
use crate::{
    failure::Failure,
    wire::{self, HttpRegistry, RegistryTarget},
};

impl Manifest {
    /// Whom to ask for schemas. Nobody is asked yet.
    pub(crate) fn schemas(&self) -> Result<Arc<dyn Schemas>, Failure> {
        Ok(self.registry()?.map_or_else(wire::no_schemas, |registry| Arc::new(registry)))
    }

    /// The registry, with every reference resolved; `None`: none is named.
    fn registry(&self) -> Result<Option<HttpRegistry>, Failure> {
        let Some(Registry { url, account, ca }) = &self.config.registry else { return Ok(None) };
        let mut problems = Problems::default();
        let mut resolved = |value| self.resolved(value, &mut problems);
        let account = account.as_ref().map(|(user, password)| (resolved(user), resolved(password)));
        let target = RegistryTarget { url: resolved(url), account, ca: ca.as_ref().map(&mut resolved) };
        if problems.has_errors() {
            return Err(self.failure(problems));
        }
        let unusable = |why: String| {
            let ca = ca.as_ref().expect("only certificates can be unusable");
            self.failure(reelflow_config::external_missing(ca, why))
        };
        wire::registry(target).map(Some).map_err(unusable)
    }

    /// What the schema files say that sources name.
    pub(super) fn source_schemas(&self, problems: &mut Problems) -> BTreeMap<String, Arc<WriterSchema>> {
        let mut schemas = BTreeMap::new();
        for source in &self.config.sources {
            let SourceFormat::Bare { format, schema, message } = &source.format else { continue };
            let text = match self.read_beside(schema) {
                Ok(text) => text,
                Err(why) => {
                    problems.push(self.config.schema_unreadable(&source.name, why));
                    continue;
                }
            };
            match wire::schema(*format, &text, message.as_ref().map(|message| message.as_str())) {
                Ok(schema) => drop(schemas.insert(source.name.value.clone(), schema.into())),
                Err(why) => problems.push(self.config.bad_schema(&source.name, why)),
            }
        }
        schemas
    }

    /// What the schema files say that sinks name.
    pub(super) fn sink_schemas(&self, problems: &mut Problems) -> BTreeMap<String, SinkWriter> {
        let mut schemas = BTreeMap::new();
        for (sink, said) in self.written() {
            let text = match self.read_beside(&said.path) {
                Ok(text) => text,
                Err(why) => {
                    problems.push(self.config.sink_schema_unreadable(sink, said, why));
                    continue;
                }
            };
            match wire::schema_to_write(said.format, &text, said.message.as_ref().map(|message| message.as_str())) {
                Ok((schema, path)) => {
                    let id = self.sink_ids.get(&sink.name.value).copied();
                    schemas.insert(sink.name.value.clone(), SinkWriter { schema: schema.into(), path, id });
                }
                Err(why) => problems.push(self.config.bad_sink_schema(sink, said, why)),
            }
        }
        schemas
    }

    /// Whether a sink's schema is kept in a registry.
    pub(crate) fn has_subjects(&self) -> bool {
        self.written().any(|(_, said)| said.subject.is_some())
    }

    /// The same manifest with the ids that the registry gives to the schemas of sinks, which it has from then on. The error of a registry that
    /// does not answer is the caller's to wait for.
    pub(crate) fn registered(&self) -> Result<Result<Manifest, SchemasError>, Failure> {
        let Some(registry) = self.registry()? else { return Ok(Ok(self.clone())) };
        let mut sink_ids = BTreeMap::new();
        for (sink, said) in self.written() {
            let Some(subject) = &said.subject else { continue };
            let text =
                self.read_beside(&said.path).map_err(|why| self.failure(self.config.sink_schema_unreadable(sink, said, why)))?;
            match registry.register(subject, said.format, &text) {
                Ok(Ok(id)) => drop(sink_ids.insert(sink.name.value.clone(), id)),
                Ok(Err(why)) => return Err(self.failure(self.config.schema_refused(sink, said, why))),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(Manifest { sink_ids, ..self.clone() }))
    }

    fn written(&self) -> impl Iterator<Item = (&Sink, &SinkSchema)> {
        self.config.sinks.iter().filter_map(|sink| Some((sink, sink.schema()?)))
    }

    fn read_beside(&self, path: &At<String>) -> Result<String, String> {
        let path = self.beside(path);
        fs::read_to_string(&path).map_err(|why| format!("{}: {why}", path.display()))
    }
}
