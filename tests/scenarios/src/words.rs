//! The words of a line of `pipeline`.

use std::collections::BTreeMap;

use reelflow_core::plan::{Emission, ErrorsMax, Failing, OnError};

use crate::print::parse_time;

/// The words of a line after its name and inputs: `name=value`.
pub(crate) struct Words<'a>(pub(crate) BTreeMap<&'a str, &'a str>);

impl<'a> Words<'a> {
    pub(crate) fn parse(words: impl Iterator<Item = &'a str>, known: &[&str]) -> Result<Words<'a>, String> {
        let pair = |word: &'a str| word.split_once('=').ok_or_else(|| format!("\"{word}\" is not name=value"));
        let pairs = words.map(pair).collect::<Result<BTreeMap<_, _>, _>>()?;
        match pairs.keys().find(|name| !known.contains(name)) {
            Some(name) => Err(format!("unknown \"{name}\", known are {known:?}")),
            None => Ok(Words(pairs)),
        }
    }

    pub(crate) fn text(&self, name: &str) -> Result<&'a str, String> {
        self.0.get(name).copied().ok_or_else(|| format!("\"{name}\" is missing"))
    }

    pub(crate) fn time(&self, name: &str, default: &str) -> Result<i64, String> {
        parse_time(self.0.get(name).unwrap_or(&default))
    }

    pub(crate) fn number(&self, name: &str, default: u32) -> Result<u32, String> {
        self.0.get(name).map_or(Ok(default), |text| text.parse().map_err(|_| format!("\"{text}\" is no number")))
    }

    /// `on_error=skip`, `errors=5%/1000`.
    pub(crate) fn failing(&self) -> Result<Failing, String> {
        let on_error = match self.0.get("on_error").copied() {
            None => OnError::DeadLetter,
            Some("skip") => OnError::Skip,
            Some("fail") => OnError::Fail,
            Some(other) => return Err(format!("on_error={other}")),
        };
        let max = |text: &&str| {
            let (share, of) = text.split_once("%/")?;
            Some(ErrorsMax { share: share.parse::<u32>().ok()? * 100, of: of.parse().ok()? })
        };
        let errors_max = self.0.get("errors").map(|text| max(text).ok_or_else(|| format!("errors={text}"))).transpose()?;
        Ok(Failing { on_error, errors_max, ..Failing::STANDARD })
    }

    pub(crate) fn emission(&self) -> Result<Emission, String> {
        match self.0.get("emit").copied().unwrap_or("final") {
            "final" => Ok(Emission::Final),
            "upsert" => Ok(Emission::Upsert),
            other => Err(format!("emit={other}")),
        }
    }
}
