//! Reading metrics back: the page of another process.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use hyper::Method;

use super::catalog::Metric;
use crate::{
    failure::{Exit, Failure},
    http::client::{self, Question},
};

const TIME_MAX: Duration = Duration::from_secs(5);

/// What a page said.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Page {
    samples: Vec<Sample>,
}

#[derive(Clone, Debug, PartialEq)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Page {
    /// Asks the process that serves at `address`.
    pub(crate) fn fetch(address: SocketAddr) -> Result<Page, Failure> {
        let failed = |why: String| {
            Failure::new(Exit::Environment, format!("nobody serves metrics on {address}: {why}"))
                .help("Start the pipeline with `reel run --metrics ADDR` and give the address that it says.")
        };
        let question = Question { method: Method::GET, target: "/metrics", token: None, body: Vec::new(), time_max: TIME_MAX };
        let heard = client::ask(address, question).map_err(|why| failed(why.to_string()))?;
        if heard.status != 200 || !heard.body.ends_with("# EOF\n") {
            return Err(failed(format!("the answer is no page of metrics (status {})", heard.status)));
        }
        Ok(Page::parse(&heard.body))
    }

    /// Lines that are no samples, and samples that are none, are left out.
    fn parse(text: &str) -> Page {
        Page { samples: text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect() }
    }

    /// The sum of the samples of `metric` with these labels.
    pub(crate) fn sum(&self, metric: Metric, labels: &[(&str, &str)]) -> f64 {
        // Not `sum`: that of no floats is -0.
        self.having(metric, labels).fold(0.0, |sum, sample| sum + sample.value)
    }

    /// Whether there is a sample of `metric` with these labels.
    pub(crate) fn has(&self, metric: Metric, labels: &[(&str, &str)]) -> bool {
        self.having(metric, labels).next().is_some()
    }

    fn having<'a>(&'a self, metric: Metric, labels: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = &'a Sample> {
        let name = metric.sample_name();
        let is = |sample: &Sample, (label, value): &(&str, &str)| sample.labels.get(*label).is_some_and(|is| is == value);
        self.samples.iter().filter(move |sample| sample.name == name && labels.iter().all(|label| is(sample, label)))
    }

    /// The only sample of `metric`, if it is there.
    pub(crate) fn value(&self, metric: Metric) -> Option<f64> {
        self.samples.iter().find(|sample| sample.name == metric.sample_name()).map(|sample| sample.value)
    }

    /// The values of a label of `metric`, in the order of the page.
    pub(crate) fn values_of(&self, metric: Metric, label: &str) -> Vec<&str> {
        let mut values: Vec<&str> = Vec::new();
        for sample in self.samples.iter().filter(|sample| sample.name == metric.sample_name()) {
            if let Some(value) = sample.labels.get(label).filter(|value| !values.contains(&value.as_str())) {
                values.push(value);
            }
        }
        values
    }
}

/// `name{label="value",…} number`.
fn sample(line: &str) -> Option<Sample> {
    let (name, rest) = line.split_once('{')?;
    let (mut rest, value) = rest.rsplit_once("} ")?;
    let mut labels = BTreeMap::new();
    while let Some((label, behind)) = rest.split_once("=\"") {
        let mut text = String::new();
        let mut chars = behind.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at,
                (_, '\\') => match chars.next()? {
                    (_, 'n') => text.push('\n'),
                    (_, other) => text.push(other),
                },
                (_, other) => text.push(other),
            }
        };
        labels.insert(label.trim_start_matches(',').to_owned(), text);
        rest = &behind[end + 1..];
    }
    Some(Sample { name: name.to_owned(), labels, value: value.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::catalog;

    #[test]
    fn what_is_written_is_read() {
        let page = Page::parse(
            "# TYPE reel_plugin_faults counter\n\
             reel_plugin_faults_total{pipeline=\"p\",stage=\"a\",plugin=\"x\",kind=\"trap\"} 2\n\
             reel_plugin_faults_total{pipeline=\"p\",stage=\"a\",plugin=\"x\",kind=\"memory\"} 0.5\n\
             reel_plugin_faults_total{pipeline=\"p\",stage=\"b,\\\"}\\\\\\n\",plugin=\"x\",kind=\"trap\"} 4\n\
             reel_plugin_faults_total{pipeline=\"p\n\
             # EOF\n",
        );
        assert_eq!(page.sum(catalog::PLUGIN_FAULTS, &[("stage", "a")]), 2.5);
        assert_eq!(page.sum(catalog::PLUGIN_FAULTS, &[("kind", "trap")]), 6.0);
        assert_eq!(page.values_of(catalog::PLUGIN_FAULTS, "stage"), ["a", "b,\"}\\\n"]);
        assert_eq!(page.value(catalog::READY), None);
    }
}
