//! Every code has a page and a case.

use std::{collections::BTreeSet, fs};

use reelflow_config::{Code, explain};

use crate::cases;

#[test]
fn every_code_has_a_page_with_cause_example_and_fix() {
    for code in Code::ALL {
        let page = explain(*code);
        assert!(page.starts_with(&format!("# {code}: {}\n\n", code.title())), "{code}: its page begins\n{page}");
        let (cause, rest) = page.split_once("```toml\n").unwrap_or_else(|| panic!("{code}: an example is missing"));
        let (example, fix) = rest.split_once("```\n").unwrap_or_else(|| panic!("{code}: the example does not end"));
        assert!(cause.lines().count() > 3 && !example.trim().is_empty(), "{code}: cause or example are empty");
        assert!(fix.trim_start().starts_with("**Fix**: ") && fix.len() > 30, "{code}: what to do is missing");
        assert_eq!(page.matches("# RF").count(), 1, "{code}: its page runs into the next");
    }
}

#[test]
fn every_example_is_toml_unless_the_page_is_about_that() {
    for code in Code::ALL.iter().filter(|code| !matches!(code, Code::Syntax | Code::DuplicateKey)) {
        let page = explain(*code);
        let example = page.split("```").nth(1).and_then(|block| block.strip_prefix("toml\n")).expect("a page has an example");
        assert!(toml::from_str::<toml::Table>(example).is_ok(), "{code}:\n{example}");
    }
}

#[test]
fn every_code_has_a_case() {
    let mut drawn: BTreeSet<Code> = BTreeSet::new();
    for folder in ["bad", "environment"] {
        for entry in fs::read_dir(cases::folder().join(folder)).expect("the folder of cases is there") {
            let path = entry.expect("its entries can be read").path();
            if path.extension().is_some_and(|extension| extension == "txt") {
                let text = fs::read_to_string(path).expect("a case is UTF-8");
                drawn.extend(Code::ALL.iter().filter(|code| text.contains(&format!("[{code}]: "))));
            }
        }
    }
    let missing: Vec<String> = Code::ALL.iter().filter(|code| !drawn.contains(code)).map(Code::to_string).collect();
    assert!(missing.is_empty(), "no case draws {missing:?}");
}

#[test]
fn codes_are_read_as_people_write_them() {
    for text in ["RF0210", "rf0210", "0210", "210"] {
        assert_eq!(text.parse::<Code>(), Ok(Code::UnknownInput), "{text}");
    }
    for text in ["", "RF", "RF9999", "RF02100", "unknown"] {
        assert!(text.parse::<Code>().is_err(), "{text}");
    }
}
