//! Where bases of the state go.

use super::External;
use crate::problem::At;

/// `[state]`. Without it bases go into the changelog, and there is no store.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Its address: see [`store_address`].
    pub store: At<External>,
    pub bases: Bases,
}

/// Where new bases go. Those that are in the store are read in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bases {
    Store,
    Changelog,
}

/// Where a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreAddress<'a> {
    /// Relative to the manifest.
    Folder(&'a str),
    /// `prefix`: what stands before the names in it, without a slash at its end; may be empty.
    Bucket { name: &'a str, prefix: &'a str },
}

/// Reads the address of a store: `file://PATH`, or `s3://BUCKET/PREFIX`. Or says why it is none, and what it may have been meant to be.
pub fn store_address(address: &str) -> Result<StoreAddress<'_>, (&'static str, Option<String>)> {
    if let Some(bucket) = address.strip_prefix("s3://") {
        let (name, prefix) = bucket.split_once('/').unwrap_or((bucket, ""));
        return match name {
            "" => Err(("names no bucket", None)),
            name => Ok(StoreAddress::Bucket { name, prefix: prefix.trim_matches('/') }),
        };
    }
    match address.strip_prefix("file://") {
        Some("") => Err(("names no folder", None)),
        Some(path) => Ok(StoreAddress::Folder(path)),
        None => {
            let instead = (!address.contains(':') && !address.is_empty()).then(|| format!("file://{address}"));
            Err(("must begin with file:// or s3://", instead))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_what_was_meant() {
        assert_eq!(store_address("file:///var/bases"), Ok(StoreAddress::Folder("/var/bases")));
        assert_eq!(store_address("file://bases"), Ok(StoreAddress::Folder("bases")));
        let bucket = |name, prefix| Ok(StoreAddress::Bucket { name, prefix });
        assert_eq!(store_address("s3://b"), bucket("b", ""));
        assert_eq!(store_address("s3://b/"), bucket("b", ""));
        assert_eq!(store_address("s3://b/reel/bases/"), bucket("b", "reel/bases"));
        for bad in ["", "file://", "s3://", "s3:///p", "gs://b", "http://b"] {
            assert!(store_address(bad).is_err_and(|(_, instead)| instead.is_none()), "{bad}");
        }
        assert!(store_address("data/bases").is_err_and(|(_, instead)| instead.as_deref() == Some("file://data/bases")));
    }
}
