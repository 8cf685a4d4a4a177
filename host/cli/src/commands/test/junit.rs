//! The outcome of tests in the XML of JUnit, as CI systems read it.

use std::time::Duration;

use super::{
    play::Verdict,
    report::{counts, finding_lines},
};

pub(super) fn xml(verdicts: &[Verdict], pipeline: &str) -> String {
    let (_, failed) = counts(verdicts);
    let took = seconds(verdicts.iter().map(|verdict| verdict.took).sum());
    let n_tests = verdicts.len();
    let name = escaped(pipeline);
    let mut lines = vec![
        r#"<?xml version="1.0" encoding="UTF-8"?>"#.to_owned(),
        format!(r#"<testsuites name="reel test" tests="{n_tests}" failures="{failed}" errors="0" time="{took}">"#),
        format!(r#"  <testsuite name="{name}" tests="{n_tests}" failures="{failed}" errors="0" skipped="0" time="{took}">"#),
    ];
    verdicts.iter().for_each(|verdict| lines.extend(case(verdict, &name)));
    lines.extend(["  </testsuite>".to_owned(), "</testsuites>".to_owned()]);
    lines.join("\n")
}

/// A case has one failure at most, which tells all that is wrong.
fn case(verdict: &Verdict, class: &str) -> Vec<String> {
    let begin =
        format!(r#"    <testcase name="{}" classname="{class}" time="{}""#, escaped(&verdict.name), seconds(verdict.took));
    let Some(first) = verdict.findings.first() else { return vec![format!("{begin}/>")] };
    let told: Vec<String> = verdict.findings.iter().flat_map(finding_lines).collect();
    vec![
        format!("{begin}>"),
        format!(r#"      <failure message="{}" type="difference">{}</failure>"#, escaped(&first.what), escaped(&told.join("\n"))),
        "    </testcase>".to_owned(),
    ]
}

fn seconds(took: Duration) -> String {
    format!("{:.3}", took.as_secs_f64())
}

/// Text that may stand in an attribute and between tags. Characters that XML 1.0 cannot hold become U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{super::play::Finding, *};

    #[test]
    fn a_report_is_well_formed_whatever_stands_in_it() {
        let finding = Finding {
            what: "sink a: 0 of 1 rows as expected".to_owned(),
            missing: vec!["{ title = \"<b>&\u{1}\" }".to_owned()],
            unexpected: vec![("{}".to_owned(), "at the end".to_owned())],
        };
        let verdict = |name: &str, findings| Verdict { name: name.to_owned(), took: Duration::from_micros(1_500), findings };
        let found = xml(&[verdict("a \"quoted\" < name", Vec::new()), verdict("b", vec![finding])], "p");
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<testsuites name=\"reel test\" tests=\"2\" failures=\"1\" errors=\"0\" time=\"0.003\">
  <testsuite name=\"p\" tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"0\" time=\"0.003\">
    <testcase name=\"a &quot;quoted&quot; &lt; name\" classname=\"p\" time=\"0.002\"/>
    <testcase name=\"b\" classname=\"p\" time=\"0.002\">
      <failure message=\"sink a: 0 of 1 rows as expected\" type=\"difference\">sink a: 0 of 1 rows as expected
  - { title = &quot;&lt;b&gt;&amp;\u{fffd}&quot; }
  + {}  at the end</failure>
    </testcase>
  </testsuite>
</testsuites>";
        assert_eq!(found, expected);
    }
}
