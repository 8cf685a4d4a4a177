//! Several streams as one: which fields it has, and which columns of each stream they are.
//!
//! What the stage itself reads stands first: the fields of its plugin, its key, its id. The other fields of the streams follow, so
//! that late records, dead letters and the rows that a dedup passes on are whole. A field that one stream lacks is null in its rows.

use reelflow_core::schema::{Field, Schema};

/// Several streams as one.
pub(super) struct Union {
    pub schema: Schema,
    /// For each stream: which of its columns each column of `schema` is.
    pub columns: Vec<Vec<Option<usize>>>,
}

/// A field that the stage reads: what it is called, and which column of each stream it is.
pub(super) struct Anchor {
    pub name: String,
    pub columns: Vec<Option<usize>>,
}

impl Union {
    /// `anchors` and whatever else `streams` have. A field on whose type the streams do not agree is left out, unless it is an
    /// anchor: then the first type counts, and the checks of the stage have more to say. `are_raw`: whether all are records as they
    /// were read, whose fields are told apart by path; otherwise by name.
    pub fn new(streams: &[Schema], anchors: &[Anchor], are_raw: bool) -> Union {
        let mut union = Union { schema: Schema::default(), columns: vec![Vec::new(); streams.len()] };
        for anchor in anchors {
            if union.place(&anchor.columns).is_none() {
                union.add(streams, &anchor.name, &anchor.columns);
            }
        }
        let label = |field: &Field| if are_raw { field.path.clone() } else { field.name.clone() };
        for (idx, stream) in streams.iter().enumerate() {
            for (column_idx, field) in stream.fields.iter().enumerate() {
                if union.columns[idx].contains(&Some(column_idx)) {
                    continue;
                }
                let is_free = |stream: usize, column: &usize| !union.columns[stream].contains(&Some(*column));
                let found: Vec<Option<usize>> = (0..streams.len())
                    .map(|other| {
                        let same = streams[other].fields.iter().position(|one| label(one) == label(field));
                        same.filter(|column| is_free(other, column))
                    })
                    .collect();
                let mut types = found.iter().zip(streams).filter_map(|(at, schema)| at.map(|at| schema.fields[at].field_type));
                if types.all(|field_type| field_type == field.field_type) {
                    union.add(streams, &field.name, &found);
                }
            }
        }
        union
    }

    /// The column that is `columns` of the streams.
    pub fn place(&self, columns: &[Option<usize>]) -> Option<usize> {
        (0..self.schema.len()).find(|at| self.columns.iter().zip(columns).all(|(of_stream, column)| of_stream[*at] == *column))
    }

    fn add(&mut self, streams: &[Schema], name: &str, columns: &[Option<usize>]) {
        let fields = columns.iter().zip(streams).filter_map(|(at, schema)| at.map(|at| &schema.fields[at]));
        let Some(first) = fields.clone().next() else { return };
        let mut unique = name.to_owned();
        while self.schema.position(&unique).is_some() {
            unique.push('_');
        }
        let required = columns.iter().all(Option::is_some) && fields.clone().all(|field| field.required);
        let (path, field_type) = (first.path.clone(), first.field_type);
        self.schema.fields.push(Field { name: unique, path, field_type, required });
        self.columns.iter_mut().zip(columns).for_each(|(of_stream, column)| of_stream.push(*column));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reelflow_core::schema::FieldType;

    fn schema(fields: &[(&str, &str, FieldType)]) -> Schema {
        let field = |(name, path, field_type): &(&str, &str, FieldType)| Field {
            name: (*name).to_owned(),
            path: (*path).to_owned(),
            field_type: *field_type,
            required: true,
        };
        Schema { fields: fields.iter().map(field).collect() }
    }

    /// Each field as `name: type of columns`.
    fn check(streams: &[Schema], anchors: &[Anchor], are_raw: bool, expected: &[&str]) {
        let union = Union::new(streams, anchors, are_raw);
        let texts: Vec<String> = (0..union.schema.len())
            .map(|at| {
                let field = &union.schema.fields[at];
                let columns: Vec<Option<usize>> = union.columns.iter().map(|of_stream| of_stream[at]).collect();
                let mark = if field.required { "" } else { "?" };
                format!("{}: {}{mark} of {columns:?}", field.name, field.field_type.name())
            })
            .collect();
        assert_eq!(texts, expected);
    }

    #[test]
    fn what_the_stage_reads_stands_first_and_what_one_stream_lacks_is_null() {
        let plays =
            schema(&[("id", "id", FieldType::Text), ("country", "country", FieldType::Text), ("who", "who", FieldType::Int)]);
        let beats = schema(&[("who", "who", FieldType::Int), ("id", "id", FieldType::Text), ("ms", "ms", FieldType::Int)]);
        let anchors = [
            Anchor { name: "ms".to_owned(), columns: vec![None, Some(2)] },
            Anchor { name: "who".to_owned(), columns: vec![Some(2), Some(0)] },
        ];
        let expected = [
            "ms: i64? of [None, Some(2)]",
            "who: i64 of [Some(2), Some(0)]",
            "id: string of [Some(0), Some(1)]",
            "country: string? of [Some(1), None]",
        ];
        check(&[plays, beats], &anchors, false, &expected);
    }

    #[test]
    fn a_field_of_two_types_that_nobody_reads_is_left_out() {
        let one = schema(&[("a", "a", FieldType::Int), ("b", "b", FieldType::Text)]);
        let other = schema(&[("a", "a", FieldType::Text)]);
        check(&[one, other], &[], false, &["b: string? of [Some(1), None]"]);
    }

    #[test]
    fn fields_of_records_are_told_apart_by_path_and_names_stay_unique() {
        let one = schema(&[("a", "x.a", FieldType::Int), ("b", "b", FieldType::Int)]);
        let other = schema(&[("a", "y.a", FieldType::Int), ("x.a", "x.a", FieldType::Int)]);
        let expected = ["a: i64 of [Some(0), Some(1)]", "b: i64? of [Some(1), None]", "a_: i64? of [None, Some(0)]"];
        check(&[one, other], &[], true, &expected);
    }
}
