//! What stands before a value whose schema lies in a registry: the byte 0, four bytes of its id, the greatest first; of Protobuf, then which
//! message of the file it is. Source: Confluent, "Wire format" of the Schema Registry documentation.

use super::{
    Binary, FormatError,
    bytes::{Cursor, put_zigzag, zigzag},
};

const MAGIC: u8 = 0;

/// Where the value itself begins, and by what it was written.
pub(super) struct Framed {
    pub id: u32,
    /// Of Protobuf: the place of its message at the top level, then inside each message.
    pub path: Vec<usize>,
    pub start: usize,
}

/// The id that `value` begins with, if it does.
pub(super) fn id(value: &[u8]) -> Option<u32> {
    let (head, _) = value.split_first_chunk::<5>()?;
    let [MAGIC, id @ ..] = *head else { return None };
    Some(u32::from_be_bytes(id))
}

pub(super) fn read(value: &[u8], format: Binary) -> Result<Framed, FormatError> {
    let Some(id) = id(value) else {
        let why = match value.first() {
            Some(&MAGIC) => format!("it has {} bytes", value.len()),
            Some(first) => format!("its first byte is {first}, not 0"),
            None => "it is empty".to_owned(),
        };
        return Err(FormatError::Framing { why });
    };
    let mut cursor = Cursor::new(value, 5);
    let path = match format {
        Binary::Avro => Vec::new(),
        Binary::Protobuf => path(&mut cursor)
            .ok_or_else(|| FormatError::Framing { why: "what follows does not say which message it is".to_owned() })?,
    };
    Ok(Framed { id, path, start: cursor.at })
}

/// How many places, and then each of them; 0 stands for the first message, which most values are.
fn path(cursor: &mut Cursor<'_>) -> Option<Vec<usize>> {
    let mut place = || usize::try_from(zigzag(cursor.varint().ok()?)).ok();
    match place()? {
        0 => Some(vec![0]),
        // Collecting `Option`s reserves nothing, and the value ends before a great number does.
        n_places => (0..n_places).map(|_| place()).collect(),
    }
}

/// What [`read`] reads. `path`: of Protobuf, as [`Framed::path`].
pub(super) fn head(id: u32, path: Option<&[usize]>) -> Vec<u8> {
    let mut head = vec![MAGIC];
    head.extend_from_slice(&id.to_be_bytes());
    match path {
        None => {}
        Some([0]) => head.push(0),
        Some(path) => [path.len()].iter().chain(path).for_each(|place| put_zigzag(*place as i64, &mut head)),
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_again() {
        for path in [&[0][..], &[3], &[1, 3], &[200, 0, 5]] {
            let framed = read(&head(258, Some(path)), Binary::Protobuf).expect("it is framed");
            assert_eq!((framed.id, &framed.path[..]), (258, path));
        }
        assert_eq!(head(258, Some(&[0])), [0, 0, 0, 1, 2, 0]);
        assert_eq!(head(258, None), [0, 0, 0, 1, 2]);
    }

    #[test]
    fn an_id_and_a_message_stand_before_a_value() {
        let framed = |value: &[u8], format| read(value, format).map(|framed| (framed.id, framed.path, framed.start));
        assert_eq!(framed(&[0, 0, 0, 1, 2, 9], Binary::Avro), Ok((258, vec![], 5)));
        assert_eq!(framed(&[0, 0, 0, 0, 7, 0, 9], Binary::Protobuf), Ok((7, vec![0], 6)));
        assert_eq!(framed(&[0, 0, 0, 0, 7, 2, 0], Binary::Protobuf), Ok((7, vec![0], 7)));
        assert_eq!(framed(&[0, 0, 0, 0, 7, 4, 2, 6, 9], Binary::Protobuf), Ok((7, vec![1, 3], 8)));
        assert_eq!(framed(&[0, 255, 255, 255, 255], Binary::Avro), Ok((u32::MAX, vec![], 5)));
        for (value, says) in [
            (&[][..], "it is empty"),
            (&[0, 0, 0, 0], "it has 4 bytes"),
            (b"{\"a\":1}", "its first byte is 123, not 0"),
            (&[0, 0, 0, 0, 7], "does not say which message"),
            (&[0, 0, 0, 0, 7, 1, 0], "does not say which message"),
            (&[0, 0, 0, 0, 7, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0], "does not say which message"),
        ] {
            let error = framed(value, Binary::Protobuf).expect_err("it is not framed");
            assert_eq!(error.code(), "framing");
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
