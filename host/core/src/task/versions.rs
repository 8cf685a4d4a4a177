//! Which versions of its plugin's state a stage keeps: state is migrated when a group is touched, so old versions stay until all that they
//! stand in is gone, however often the plugin is replaced meanwhile.

use std::collections::BTreeSet;

use crate::{
    plugin::StateVersion,
    state::{ByteWriter, ChangeReader, StateError},
};

/// What the plugin of a stage writes and reads, and the versions that the stage's state may hold.
#[derive(Debug)]
pub(super) struct Versions {
    plugin: Option<StateVersion>,
    kept: BTreeSet<u32>,
}

impl Versions {
    /// `plugin`: what it declares, if it has a state.
    pub fn new(plugin: Option<StateVersion>) -> Versions {
        Versions { plugin, kept: BTreeSet::new() }
    }

    /// Those that what is kept may have, in rising order.
    pub fn kept(&self) -> impl Iterator<Item = u32> {
        self.kept.iter().copied()
    }

    /// What the plugin declares; `None`: it has no state.
    pub fn plugin(&self) -> Option<&StateVersion> {
        self.plugin.as_ref()
    }

    /// What the plugin writes, where something that is kept may have another version.
    pub fn to_migrate(&self) -> Option<&StateVersion> {
        self.plugin.as_ref().filter(|plugin| self.kept.iter().any(|kept| *kept != plugin.version))
    }

    /// Something of this version is kept from now on.
    pub fn came(&mut self, version: u32) {
        self.kept.insert(version);
    }

    /// All that is kept has the version now that the plugin writes.
    pub fn migrated(&mut self) {
        self.kept = self.plugin.iter().map(|plugin| plugin.version).collect();
    }

    /// `has_state`: whether the stage keeps anything.
    ///
    /// ```text
    /// versions = 0 | 1, name bytes, n varint, version varint*
    /// ```
    pub fn write(&mut self, has_state: bool, to: &mut ByteWriter) {
        self.kept.retain(|_| has_state);
        let Some(plugin) = self.plugin.as_ref().filter(|_| has_state) else { return to.u8(0) };
        self.kept.insert(plugin.version);
        to.u8(1);
        to.bytes(plugin.name.as_bytes());
        to.varint(self.kept.len() as u64);
        self.kept.iter().for_each(|version| to.varint((*version).into()));
    }

    /// Reads what [`Versions::write`] wrote for `stage`. [`StateError::OtherState`] when the plugin cannot read one of them.
    pub fn check(&mut self, stage: &str, from: &mut ChangeReader<'_>) -> Result<(), StateError> {
        self.kept.clear();
        let (name, versions) = read(from)?;
        for version in versions {
            let is_read = self.plugin.as_ref().is_some_and(|plugin| plugin.can_read(name, version));
            if !is_read {
                let plugin = self.plugin.as_ref().map_or_else(|| "no state".to_owned(), StateVersion::to_string);
                return Err(StateError::OtherState { stage: stage.to_owned(), keeps: format!("{name} {version}"), plugin });
            }
            self.kept.insert(version);
        }
        Ok(())
    }

    /// Reads what [`Versions::write`] wrote, of a state that is forgotten.
    pub fn forget(&mut self, from: &mut ChangeReader<'_>) -> Result<(), StateError> {
        self.kept.clear();
        read(from).map(drop)
    }
}

/// The name of a state, and the versions that are kept of it.
fn read<'a>(from: &mut ChangeReader<'a>) -> Result<(&'a str, Vec<u32>), StateError> {
    if from.u8()? == 0 {
        return Ok(("", Vec::new()));
    }
    let name = std::str::from_utf8(from.bytes()?).map_err(|_| StateError::Damaged("the name of a state"))?;
    let version = |version| u32::try_from(version).map_err(|_| StateError::Damaged("the version of a state"));
    let versions = (0..from.varint()?).map(|_| from.varint().and_then(version)).collect::<Result<_, _>>()?;
    Ok((name, versions))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(name: &str, version: u32, reads: &[u32]) -> Versions {
        Versions::new(Some(StateVersion { name: name.to_owned(), version, reads: reads.to_vec() }))
    }

    /// What the plugin after says to what the one before wrote.
    fn replace(before: &mut Versions, has_state: bool, after: &mut Versions) -> Result<(), String> {
        let mut bytes = ByteWriter::default();
        before.write(has_state, &mut bytes);
        let bytes = bytes.into_bytes();
        after.check("tested", &mut ChangeReader::new(&bytes)).map_err(|why| why.to_string())
    }

    #[test]
    fn a_plugin_must_read_what_is_kept() {
        let check = |mut after: Versions, expected: Result<(), &str>| {
            let found = replace(&mut plugin("Views", 2, &[1]), true, &mut after);
            assert_eq!(found, expected.map_err(str::to_owned), "{after:?}");
        };
        check(plugin("Views", 2, &[]), Ok(()));
        check(plugin("Views", 3, &[2]), Ok(()));
        check(plugin("Total", 3, &[2]), Ok(()));
        check(plugin("Views", 3, &[1]), Err("stage \"tested\" keeps state Views 2, its plugin reads Views 3 and migrates 1"));
        check(plugin("Views", 1, &[]), Err("stage \"tested\" keeps state Views 2, its plugin reads Views 1"));
        check(plugin("Total", 2, &[]), Err("stage \"tested\" keeps state Views 2, its plugin reads Total 2"));
        check(Versions::new(None), Err("stage \"tested\" keeps state Views 2, its plugin reads no state"));
    }

    #[test]
    fn an_old_version_stays_until_nothing_is_kept() {
        let (mut first, mut second, mut third) = (plugin("V", 1, &[]), plugin("V", 2, &[1]), plugin("V", 3, &[2]));
        assert_eq!(replace(&mut first, true, &mut second), Ok(()));
        let refused = replace(&mut second, true, &mut third).unwrap_err();
        assert_eq!(refused, "stage \"tested\" keeps state V 1, its plugin reads V 3 and migrates 2");
        // Every group was migrated.
        second.migrated();
        assert_eq!((second.to_migrate(), second.kept().collect::<Vec<_>>()), (None, vec![2]));
        assert_eq!(replace(&mut second, true, &mut third), Ok(()));
        assert_eq!(third.to_migrate().map(|plugin| plugin.version), Some(3));
        assert_eq!(replace(&mut first, true, &mut second), Ok(()));
        // Every group is gone, and new ones have come.
        assert_eq!(replace(&mut second, false, &mut third), Ok(()));
        assert_eq!(replace(&mut second, true, &mut third), Ok(()));
    }
}
