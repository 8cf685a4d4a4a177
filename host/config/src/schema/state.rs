//! `[state]`.

use schemars::JsonSchema;

use super::Setting;

/// Where bases of the state go: without this table into the changelog. See [operations](operations.md#bases-in-a-store).
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct State {
    /// The address of a store that every process reaches: `file://PATH`, a folder, relative to the manifest unless it begins with `/`; or
    /// `s3://BUCKET/PREFIX`.
    store: Setting,
    /// Where new bases go. With `changelog` those in the store are only read, until the changelog has newer ones. Default `"store"`.
    bases: Option<Bases>,
}

/// Where bases go.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Bases {
    Store,
    Changelog,
}
