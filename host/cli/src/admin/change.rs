//! What somebody wants of `POST /reload`, read from the request's parameters.

use std::time::Duration;

use reelflow_core::upgrade::Migration;

const WAIT_S: u64 = 30;
const WAIT_S_MAX: u64 = 600;
const BY_CHARS_MAX: usize = 100;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// The body is the component of this plugin. `None`: it says which.
    pub plugin: Option<String>,
    pub migration: Migration,
    /// The stages whose state is forgotten.
    pub resets: Vec<String>,
    pub is_breaking_allowed: bool,
    pub is_plan: bool,
    /// For the verdict.
    pub wait: Duration,
    pub by: String,
}

impl Change {
    /// An error says what is wrong with a parameter.
    pub(super) fn of(parameters: &[(String, String)]) -> Result<Change, String> {
        let mut change = Change {
            plugin: None,
            migration: Migration::Lazy,
            resets: Vec::new(),
            is_breaking_allowed: false,
            is_plan: false,
            wait: Duration::from_secs(WAIT_S),
            by: "the admin API".to_owned(),
        };
        for (name, value) in parameters {
            let wrong = |wanted: &str| format!("parameter \"{name}\" is {wanted}, not \"{value}\"");
            let yes = || match value.as_str() {
                "" | "true" => Ok(true),
                "false" => Ok(false),
                _ => Err(wrong("true or false")),
            };
            match name.as_str() {
                "plugin" => change.plugin = Some(value.clone()),
                "migration" => {
                    change.migration = match value.as_str() {
                        "lazy" => Migration::Lazy,
                        "eager" => Migration::Eager,
                        _ => return Err(wrong("lazy or eager")),
                    }
                }
                "reset" => change.resets.push(value.clone()),
                "allow_breaking" => change.is_breaking_allowed = yes()?,
                "plan" => change.is_plan = yes()?,
                "wait" => match value.parse() {
                    Ok(seconds @ 0..=WAIT_S_MAX) => change.wait = Duration::from_secs(seconds),
                    _ => return Err(wrong("a number of seconds up to 600")),
                },
                "by" if (1..=BY_CHARS_MAX).contains(&value.chars().count()) => change.by.clone_from(value),
                "by" => return Err(wrong("a name of up to 100 characters")),
                _ => {
                    return Err(format!(
                        "there is no parameter \"{name}\", but plugin, migration, reset, allow_breaking, plan, wait and by"
                    ));
                }
            }
        }
        Ok(change)
    }

    /// The parameters that say the same.
    pub(super) fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some(plugin) = &self.plugin {
            query.append_pair("plugin", plugin);
        }
        for stage in &self.resets {
            query.append_pair("reset", stage);
        }
        let migration = match self.migration {
            Migration::Lazy => "lazy",
            Migration::Eager => "eager",
        };
        query
            .append_pair("migration", migration)
            .append_pair("allow_breaking", if self.is_breaking_allowed { "true" } else { "false" })
            .append_pair("plan", if self.is_plan { "true" } else { "false" })
            .append_pair("wait", &self.wait.as_secs().to_string())
            .append_pair("by", &self.by);
        query.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, expected: Result<Change, &str>) {
        let parameters: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let found = Change::of(&parameters);
        match expected {
            Ok(change) => assert_eq!(found, Ok(change), "{query}"),
            Err(why) => assert!(found.as_ref().is_err_and(|found| found.contains(why)), "{query}: {found:?}"),
        }
    }

    #[test]
    fn parameters_are_read_and_written() {
        let plain = Change::of(&[]).unwrap();
        check("", Ok(plain.clone()));
        let all = Change {
            plugin: Some("count".to_owned()),
            migration: Migration::Eager,
            resets: vec!["sum".to_owned(), "join".to_owned()],
            is_breaking_allowed: true,
            is_plan: true,
            wait: Duration::from_secs(600),
            by: "Jo & Al".to_owned(),
        };
        check(
            "plugin=count&migration=eager&reset=sum&reset=join&allow_breaking=true&plan&wait=600&by=Jo+%26+Al",
            Ok(all.clone()),
        );
        check(&all.query(), Ok(all));
        check(&plain.query(), Ok(plain));
        check("migration=soon", Err("\"migration\" is lazy or eager, not \"soon\""));
        check("plan=yes", Err("true or false"));
        check("wait=601", Err("up to 600"));
        check("wait=-1", Err("up to 600"));
        check("by=", Err("a name"));
        check("force=true", Err("there is no parameter \"force\""));
    }
}
