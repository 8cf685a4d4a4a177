//! Bytes as text inside JSON: base64 with padding. Source: RFC 4648, section 4.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Appends the base64 text of `bytes`.
pub fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    for three in bytes.chunks(3) {
        let [a, b, c] = [three[0], three.get(1).copied().unwrap_or(0), three.get(2).copied().unwrap_or(0)];
        let bits = u32::from(a) << 16 | u32::from(b) << 8 | u32::from(c);
        let digit = |shift: u32| ALPHABET[(bits >> shift & 63) as usize];
        out.push(digit(18));
        out.push(digit(12));
        out.push(if three.len() > 1 { digit(6) } else { b'=' });
        out.push(if three.len() > 2 { digit(0) } else { b'=' });
    }
}

/// Appends the bytes that `text` stands for; `None` unless it is exactly what [`encode`] writes for them. May leave a part in `out`.
pub fn decode(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let n_fours = text.len() / 4;
    for (four_idx, four) in text.chunks_exact(4).enumerate() {
        let n_digits = match four {
            [_, _, b'=', b'='] => 2,
            [_, _, _, b'='] => 3,
            _ => 4,
        };
        if n_digits < 4 && four_idx + 1 < n_fours {
            return None;
        }
        let mut bits = 0_u32;
        for byte in &four[..n_digits] {
            bits = bits << 6 | u32::from(digit_value(*byte)?);
        }
        bits <<= 6 * (4 - n_digits);
        let [_, bytes @ ..] = bits.to_be_bytes();
        // Bits past the last byte must be zero, or two texts would stand for the same bytes.
        if bytes[n_digits - 1..].iter().any(|byte| *byte != 0) {
            return None;
        }
        out.extend_from_slice(&bytes[..n_digits - 1]);
    }
    Some(())
}

fn digit_value(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of RFC 4648, section 10.
    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let (mut encoded, mut decoded) = (Vec::new(), Vec::new());
            encode(bytes.as_bytes(), &mut encoded);
            assert_eq!(encoded, text.as_bytes());
            assert_eq!(decode(text.as_bytes(), &mut decoded), Some(()), "{text}");
            assert_eq!(decoded, bytes.as_bytes());
        }
    }

    #[test]
    fn text_that_no_encoder_writes_is_refused() {
        for text in ["Z", "Zg", "Zg=", "Zh==", "Zm9=", "Zg==Zg==", "Z===", "====", "Zm 8", "Zm-_", "Zm8=\n"] {
            assert_eq!(decode(text.as_bytes(), &mut Vec::new()), None, "{text}");
        }
    }
}
