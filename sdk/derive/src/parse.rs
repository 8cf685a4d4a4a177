//! What the derives share: structs, their fields and attributes.

use std::collections::BTreeSet;

use syn::{Attribute, Data, DeriveInput, Error, Field, Fields, Ident, LitStr, Result, ext::IdentExt, meta::ParseNestedMeta};

/// The named fields of a struct. `what` begins the message of the refusal of anything else, like `an event`.
pub fn named_fields<'a>(input: &'a DeriveInput, what: &str) -> Result<Vec<&'a Field>> {
    let refused = |why: &str| Err(Error::new(input.ident.span(), format!("{what} is a struct with named fields, {why}")));
    match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => Ok(fields.named.iter().collect()),
            Fields::Unnamed(_) => refused("and these have no names"),
            Fields::Unit => refused("and this one has no fields"),
        },
        Data::Enum(_) => refused("not an enum: a column has one type"),
        Data::Union(_) => refused("not a union"),
    }
}

/// The Rust name of a field. Only called for named fields.
pub fn ident(field: &Field) -> &Ident {
    field.ident.as_ref().expect("a named field has a name")
}

/// How the outside calls a field: `name`, or the Rust name without `r#`.
pub fn outer_name(field: &Field, name: Option<LitStr>) -> String {
    name.map_or_else(|| ident(field).unraw().to_string(), |name| name.value())
}

/// Calls `key` with each key of the attributes called `attribute`; one that it does not take (`false`) is refused.
pub fn keys(
    attributes: &[Attribute],
    attribute: &str,
    known: &str,
    mut key: impl FnMut(&str, &ParseNestedMeta<'_>) -> Result<bool>,
) -> Result<()> {
    for found in attributes.iter().filter(|found| found.path().is_ident(attribute)) {
        found.parse_nested_meta(|meta| {
            let name = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
            if key(&name, &meta)? { Ok(()) } else { Err(meta.error(format!("unknown: `#[{attribute}(…)]` takes {known}"))) }
        })?;
    }
    Ok(())
}

/// Refuses two fields of the same outer name.
pub fn check_unique<'a>(names: impl Iterator<Item = (&'a Field, &'a str)>) -> Result<()> {
    let mut seen = BTreeSet::new();
    for (field, name) in names {
        if !seen.insert(name) {
            return Err(Error::new_spanned(field, format!("there are two fields called \"{name}\"")));
        }
    }
    Ok(())
}

/// `TrendingNow` as `trending_now`.
pub fn snake(name: &str) -> String {
    let mut out = String::new();
    for (idx, char) in name.char_indices() {
        if char.is_uppercase() && idx > 0 {
            out.push('_');
        }
        out.extend(char.to_lowercase());
    }
    out
}

/// `trending_now` as `TrendingNow`.
pub fn camel(name: &str) -> String {
    let word = |word: &str| {
        let mut chars = word.chars();
        chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
    };
    name.split('_').map(word).collect()
}
