//! Where bases of the state go.

use super::External;
use crate::problem::At;

/// `[state]`. Without it bases go into the changelog, and there is no store.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Its address: see [`store_folder`].
    pub store: At<External>,
    pub bases: Bases,
}

/// Where new bases go. Those that are in the store are read in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bases {
    Store,
    Changelog,
}

/// Reads the address of a store: `file://PATH`, a folder, relative to the manifest. Gives its path; or says why it is none, and what it may have been
/// meant to be.
pub fn store_folder(address: &str) -> Result<&str, (&'static str, Option<String>)> {
    match address.strip_prefix("file://") {
        Some("") => Err(("names no folder", None)),
        Some(path) => Ok(path),
        None => {
            let instead = (!address.contains(':') && !address.is_empty()).then(|| format!("file://{address}"));
            Err(("must begin with file://", instead))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_what_was_meant() {
        assert_eq!(store_folder("file:///var/bases"), Ok("/var/bases"));
        assert_eq!(store_folder("file://bases"), Ok("bases"));
        for bad in ["", "file://", "s3://b", "gs://b", "http://b"] {
            assert!(store_folder(bad).is_err_and(|(_, instead)| instead.is_none()), "{bad}");
        }
        assert!(store_folder("data/bases").is_err_and(|(_, instead)| instead.as_deref() == Some("file://data/bases")));
    }
}
