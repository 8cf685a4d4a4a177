//! Rows against rows: which are missing, and which nobody expected.

use std::collections::BTreeMap;

use serde_json::Value;

use super::row::{Fields, Row};

/// How much of a row that was found an expected row speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands) enum Speaks {
    /// Of all fields but `rev` and `final`: one that it does not name is null.
    OfAll,
    /// Of the fields that it names.
    OfSome,
}

/// Places in the two lists that were compared.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::commands) struct Difference {
    pub(in crate::commands) missing: Vec<usize>,
    pub(in crate::commands) unexpected: Vec<usize>,
}

impl Difference {
    pub(in crate::commands) fn is_none(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty()
    }
}

/// Gives as many expected rows as possible a found one each, in whatever order. A row may fit several, so a greedy choice would not do.
///
/// Source: Kuhn, "The Hungarian method for the assignment problem", 1955; in the form of augmenting paths.
pub(in crate::commands) fn against(expected: &[Fields], found: &[Row], speaks: Speaks) -> Difference {
    let mut owner: Vec<Option<usize>> = vec![None; found.len()];
    let mut missing = Vec::new();
    for idx in 0..expected.len() {
        let mut tried = vec![false; found.len()];
        if !assign(idx, expected, found, speaks, &mut owner, &mut tried) {
            missing.push(idx);
        }
    }
    let unexpected = (0..found.len()).filter(|idx| owner[*idx].is_none()).collect();
    Difference { missing, unexpected }
}

/// Finds a row for `idx`, moving others to other rows where that helps.
fn assign(
    idx: usize,
    expected: &[Fields],
    found: &[Row],
    speaks: Speaks,
    owner: &mut [Option<usize>],
    tried: &mut [bool],
) -> bool {
    for at in 0..found.len() {
        if tried[at] || !fits(&expected[idx], &found[at].fields, speaks) {
            continue;
        }
        tried[at] = true;
        if owner[at].is_none_or(|other| assign(other, expected, found, speaks, owner, tried)) {
            owner[at] = Some(idx);
            return true;
        }
    }
    false
}

fn fits(expected: &Fields, found: &Fields, speaks: Speaks) -> bool {
    let names = |path: &str| expected.iter().any(|(name, _)| name == path);
    let is_told = |(path, _): &(String, Value)| names(path) || matches!(path.as_str(), "rev" | "final");
    let has = |(path, value): &(String, Value)| found.iter().any(|(name, other)| name == path && equal(value, other));
    expected.iter().all(has) && (speaks == Speaks::OfSome || found.iter().all(is_told))
}

fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => a.as_f64() == b.as_f64(),
        _ => one == other,
    }
}

/// Two lists of found rows, in whatever order: which of the first are missing in the second, and which of the second are new.
pub(in crate::commands) fn lists(one: &[&Row], other: &[&Row]) -> Difference {
    let mut of_one: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (idx, row) in one.iter().enumerate() {
        of_one.entry(canonical(&row.fields)).or_default().push(idx);
    }
    let mut difference = Difference::default();
    for (idx, row) in other.iter().enumerate() {
        if of_one.get_mut(&canonical(&row.fields)).and_then(Vec::pop).is_none() {
            difference.unexpected.push(idx);
        }
    }
    difference.missing = of_one.into_values().flatten().collect();
    difference.missing.sort_unstable();
    difference
}

fn canonical(fields: &Fields) -> String {
    let mut members: Vec<String> = fields.iter().map(|(path, value)| format!("{path}={value}")).collect();
    members.sort();
    members.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::row::flatten, *};

    fn fields(value: &Value) -> Fields {
        let mut fields = Fields::new();
        flatten("", value.clone(), &mut fields);
        fields
    }

    fn rows(values: &[Value]) -> Vec<Row> {
        values.iter().map(|value| Row { fields: fields(value), when: String::new() }).collect()
    }

    fn check(expected: &[Value], found: &[Value], speaks: Speaks, missing: &[usize], unexpected: &[usize]) {
        let expected: Vec<Fields> = expected.iter().map(fields).collect();
        let difference = against(&expected, &rows(found), speaks);
        assert_eq!((&difference.missing[..], &difference.unexpected[..]), (missing, unexpected), "{expected:?} {found:?}");
    }

    #[test]
    fn rows_are_found_in_any_order() {
        let (one, two) = (json!({ "a": 1 }), json!({ "a": 2 }));
        check(&[], &[], Speaks::OfAll, &[], &[]);
        check(&[one.clone(), two.clone()], &[two.clone(), one.clone()], Speaks::OfAll, &[], &[]);
        check(std::slice::from_ref(&one), &[one.clone(), one.clone()], Speaks::OfAll, &[], &[1]);
        check(&[one.clone(), one.clone()], std::slice::from_ref(&one), Speaks::OfAll, &[1], &[]);
        check(std::slice::from_ref(&one), &[two], Speaks::OfAll, &[0], &[0]);
        check(&[json!({ "a": 1.0 })], &[one], Speaks::OfAll, &[], &[]);
    }

    #[test]
    fn what_is_not_named_is_null_or_does_not_matter() {
        let found = [json!({ "a": 1, "b": 2, "c": null })];
        check(&[json!({ "a": 1 })], &found, Speaks::OfAll, &[0], &[0]);
        check(&[json!({ "a": 1, "b": 2 })], &found, Speaks::OfAll, &[], &[]);
        check(&[json!({ "a": 1 })], &found, Speaks::OfSome, &[], &[]);
        let revised = [json!({ "a": 1, "rev": 3, "final": true })];
        check(&[json!({ "a": 1 })], &revised, Speaks::OfAll, &[], &[]);
        check(&[json!({ "a": 1, "rev": 2 })], &revised, Speaks::OfAll, &[0], &[0]);
    }

    /// The first expected row fits both; taking the first that comes would leave nothing for the second.
    #[test]
    fn a_row_that_fits_several_is_no_trap() {
        let found = [json!({ "a": 1, "b": 2 }), json!({ "a": 1, "b": 3 })];
        check(&[json!({ "a": 1 }), json!({ "b": 2 })], &found, Speaks::OfSome, &[], &[]);
    }

    #[test]
    fn lists_differ_by_how_often_a_row_stands_in_them() {
        let rows = rows(&[json!({ "a": 1 }), json!({ "a": 1 }), json!({ "a": 2 })]);
        let all: Vec<&Row> = rows.iter().collect();
        assert!(lists(&all, &[all[2], all[0], all[1]]).is_none());
        assert_eq!(lists(&all, &[all[2], all[0], all[2]]), Difference { missing: vec![0], unexpected: vec![2] });
    }
}
