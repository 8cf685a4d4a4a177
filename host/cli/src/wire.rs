//! The only place that knows which logs, file sinks, histories, schema registries, stores of bases and plugin engine there are.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, OnceLock},
};

use reelflow_bases::{
    folder::FolderStore,
    s3::{S3Store, Target},
};
use reelflow_core::{
    format::{Binary, WriterSchema},
    history::{HistoryPlan, TimeRange},
    plan::Plan,
};
use reelflow_embedded::EmbeddedLog;
use reelflow_files::{
    history::{LocalHistory, Reading, Unusable},
    sink::LocalSink,
};
use reelflow_kafka::{KafkaConfig, KafkaLog};
use reelflow_ports::{
    bases::{BaseError, BaseStore},
    history::History,
    log::{Log, LogError},
    schemas::{KnownSchemas, Schemas},
};
use reelflow_registry::client::Account;
pub(crate) use reelflow_registry::client::HttpRegistry;
use reelflow_runtime::publish::FileSinks;
use reelflow_wasm::WasmEngine;

pub(crate) mod compiling;

/// A log with every reference of the manifest resolved. Holds secrets, so it has no `Debug`.
pub(crate) enum LogTarget {
    Embedded { folder: std::path::PathBuf },
    Kafka { brokers: String, client: BTreeMap<String, String> },
}

/// Opens the log, or connects to it.
pub(crate) fn log(target: LogTarget) -> Result<Box<dyn Log>, LogError> {
    Ok(match target {
        LogTarget::Embedded { folder } => Box::new(EmbeddedLog::open(&folder)?),
        LogTarget::Kafka { brokers, client } => Box::new(KafkaLog::new(KafkaConfig { client, ..KafkaConfig::new(brokers) })?),
    })
}

/// A schema registry with every reference of the manifest resolved. Holds secrets, so it has no `Debug`.
pub(crate) struct RegistryTarget {
    pub(crate) url: String,
    /// User and password.
    pub(crate) account: Option<(String, String)>,
    /// PEM.
    pub(crate) ca: Option<String>,
}

/// Who says what records were written by, where no registry is named: nobody.
pub(crate) fn no_schemas() -> Arc<dyn Schemas> {
    Arc::new(KnownSchemas::default())
}

/// A schema registry. Does not connect yet. An error says what is wrong with its certificates.
pub(crate) fn registry(RegistryTarget { url, account, ca }: RegistryTarget) -> Result<HttpRegistry, String> {
    HttpRegistry::new(&url, account.map(|(user, password)| Account { user, password }), ca.as_deref())
}

/// What a schema file says; or what is wrong with it, in words.
pub(crate) fn schema(format: Binary, text: &str, message: Option<&str>) -> Result<WriterSchema, String> {
    reelflow_registry::parse(format, text, message)
}

/// What the schema file of a sink says, and of Protobuf where its message stands; or what is wrong with it, in words.
pub(crate) fn schema_to_write(format: Binary, text: &str, message: Option<&str>) -> Result<(WriterSchema, Vec<usize>), String> {
    reelflow_registry::parse_to_write(format, text, message)
}

/// The store of bases in `folder`. Does not look at it yet.
pub(crate) fn folder_store(folder: std::path::PathBuf) -> Arc<dyn BaseStore> {
    Arc::new(FolderStore::new(folder))
}

/// The store of bases in a bucket, with what the environment says of who asks, and whom, as for other programs. Does not connect yet.
pub(crate) fn bucket_store(bucket: &str, prefix: &str) -> Result<Arc<dyn BaseStore>, BaseError> {
    let said = |names: &[&str]| names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    let needed = |name: &str| {
        let missing = || BaseError::Denied(format!("s3://{bucket}: the environment variable {name} is not set"));
        said(&[name]).ok_or_else(missing)
    };
    let target = Target {
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        region: said(&["AWS_REGION", "AWS_DEFAULT_REGION"]).unwrap_or_else(|| "us-east-1".to_owned()),
        endpoint: said(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]),
        key_id: needed("AWS_ACCESS_KEY_ID")?,
        secret: needed("AWS_SECRET_ACCESS_KEY")?,
        token: said(&["AWS_SESSION_TOKEN"]),
    };
    Ok(Arc::new(S3Store::new(target)?))
}

/// The engine that runs plugins; one for the whole process.
pub(crate) fn engine() -> Arc<WasmEngine> {
    static ENGINE: OnceLock<Arc<WasmEngine>> = OnceLock::new();
    ENGINE.get_or_init(|| Arc::new(WasmEngine::with_compiler(compiling::compiler()))).clone()
}

/// The file sinks of `plan`; their folders are relative to `base`.
pub(crate) fn file_sinks(plan: &Plan, base: &Path) -> FileSinks {
    let with_files = (0..plan.sinks.len()).filter(|sink| plan.sinks[*sink].files.is_some());
    let mut sinks = FileSinks::new();
    for sink in with_files {
        sinks.insert(sink, Arc::new(LocalSink::new(plan, sink, base)));
    }
    sinks
}

/// The history that lies in the files of `plans`, whose paths are relative to `base`; sorted in the folder `spool`. `watch` is told how many
/// bytes are read, and of how many.
pub(crate) fn history(
    base: &Path,
    plans: &[HistoryPlan],
    range: TimeRange,
    n_partitions: u32,
    spool: &Path,
    watch: &mut dyn FnMut(u64, u64),
) -> Result<Box<dyn History>, Vec<Unusable>> {
    let mut read = |Reading { n_bytes, n_bytes_all }| watch(n_bytes, n_bytes_all);
    Ok(Box::new(LocalHistory::open(base, plans, range, n_partitions, spool, &mut read)?))
}
