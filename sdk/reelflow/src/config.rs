//! The plugin's typed config: what `#[derive(Config)]` stands on.

use std::collections::BTreeMap;

use crate::json::Json;

/// What a plugin is told by its manifest (`[plugin.<name>] config = { … }`); derive it with `#[derive(Config)]` on the plugin itself.
///
/// A plugin without settings derives it on a unit struct. `#[config(default = 10)]` on a field makes its key optional (so does
/// `Option`), `#[config(check = path)]` on the struct names a `fn(&Self) -> Result<(), String>` that looks at the whole.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be made from a config",
    label = "no `Config`",
    note = "put `#[derive(Config)]` on the plugin's struct; a unit struct (`struct {Self};`) is a plugin without settings"
)]
pub trait Config: Sized {
    #[doc(hidden)]
    fn from_json(json: &Json) -> Result<Self, ConfigError>;
}

/// What is wrong with a config: where, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    path: String,
    why: String,
}

impl ConfigError {
    /// An error at the value itself.
    pub fn new(why: impl Into<String>) -> ConfigError {
        ConfigError { path: String::new(), why: why.into() }
    }

    /// The same error, seen from the object that holds the value under `key`.
    fn under(self, key: &str) -> ConfigError {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{key}.{}", self.path) };
        ConfigError { path, why: self.why }
    }
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.path.is_empty() { f.write_str(&self.why) } else { write!(f, "\"{}\" {}", self.path, self.why) }
    }
}

/// A type that a setting can have: `bool`, integers, `f64`, `String`, `Option`, `Vec`, `BTreeMap<String, _>`, structs with `Config`.
#[diagnostic::on_unimplemented(
    message = "a config cannot have a setting of type `{Self}`",
    label = "not a type of a setting",
    note = "settings are bool, integers, f64, String, Option, Vec, BTreeMap<String, _>, or structs with `#[derive(Config)]`"
)]
pub trait Setting: Sized {
    #[doc(hidden)]
    fn from_json(json: &Json) -> Result<Self, ConfigError>;
    /// The value of an absent key, or `None` if the key must be there.
    #[doc(hidden)]
    fn absent() -> Option<Self> {
        None
    }
}

fn wanted(what: &str, found: &Json) -> ConfigError {
    ConfigError::new(format!("must be {what}, not {}", found.kind()))
}

impl Setting for bool {
    fn from_json(json: &Json) -> Result<bool, ConfigError> {
        match json {
            Json::Bool(value) => Ok(*value),
            other => Err(wanted("true or false", other)),
        }
    }
}

macro_rules! integers {
    ($($int:ty),*) => {$(
        impl Setting for $int {
            fn from_json(json: &Json) -> Result<$int, ConfigError> {
                match json {
                    Json::Int(value) => <$int>::try_from(*value)
                        .map_err(|_| ConfigError::new(format!("must be from {} to {}, not {value}", <$int>::MIN, <$int>::MAX))),
                    other => Err(wanted("an integer", other)),
                }
            }
        }
    )*};
}
integers!(i8, i16, i32, i64, u8, u16, u32, u64, usize);

impl Setting for f64 {
    fn from_json(json: &Json) -> Result<f64, ConfigError> {
        match json {
            Json::Float(text) => match text.parse::<f64>() {
                Ok(value) if value.is_finite() => Ok(value),
                _ => Err(ConfigError::new(format!("is too large: {text}"))),
            },
            Json::Int(value) => Ok(*value as f64),
            other => Err(wanted("a number", other)),
        }
    }
}

impl Setting for String {
    fn from_json(json: &Json) -> Result<String, ConfigError> {
        match json {
            Json::Text(text) => Ok(text.clone()),
            other => Err(wanted("a string", other)),
        }
    }
}

impl<T: Setting> Setting for Option<T> {
    fn from_json(json: &Json) -> Result<Option<T>, ConfigError> {
        match json {
            Json::Null => Ok(None),
            other => T::from_json(other).map(Some),
        }
    }

    fn absent() -> Option<Option<T>> {
        Some(None)
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn from_json(json: &Json) -> Result<Vec<T>, ConfigError> {
        let Json::List(items) = json else { return Err(wanted("a list", json)) };
        items.iter().enumerate().map(|(idx, item)| T::from_json(item).map_err(|why| why.under(&idx.to_string()))).collect()
    }
}

impl<T: Setting> Setting for BTreeMap<String, T> {
    fn from_json(json: &Json) -> Result<BTreeMap<String, T>, ConfigError> {
        let Json::Object(members) = json else { return Err(wanted("an object", json)) };
        members.iter().map(|(key, value)| Ok((key.clone(), T::from_json(value).map_err(|why| why.under(key))?))).collect()
    }
}

/// Refuses what is not an object, and keys other than `known`.
#[doc(hidden)]
pub fn check_keys(json: &Json, known: &[&str]) -> Result<(), ConfigError> {
    let Json::Object(members) = json else { return Err(wanted("an object", json)) };
    match members.iter().find(|(key, _)| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some((key, _)) if known.is_empty() => Err(ConfigError::new("is unknown: there are no settings").under(key)),
        Some((key, _)) => {
            let known: Vec<String> = known.iter().map(|key| format!("\"{key}\"")).collect();
            Err(ConfigError::new(format!("is unknown: the settings are {}", known.join(", "))).under(key))
        }
    }
}

/// The setting under `key`; `default` is used when the key is absent.
#[doc(hidden)]
pub fn setting<T: Setting>(json: &Json, key: &str, default: Option<fn() -> T>) -> Result<T, ConfigError> {
    match json.member(key) {
        Some(value) => T::from_json(value).map_err(|why| why.under(key)),
        None => default.map(|default| default()).or_else(T::absent).ok_or_else(|| ConfigError::new("is missing").under(key)),
    }
}
