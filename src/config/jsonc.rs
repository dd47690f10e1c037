//! JSON as people write it: `//` and `/* */` comments and trailing commas become spaces.
//!
//! Byte positions are kept, so what the JSON reader says about a line and column is true of the
//! file as written. Never judges the JSON itself; what is wrong there the reader finds.

use super::problem::Problem;

/// The same text with comments and trailing commas blanked out.
///
/// # Errors
/// A `/*` without its `*/`, at the line and column where it opens.
pub(super) fn strip(text: &str) -> Result<Vec<u8>, Problem> {
    let mut bytes = text.as_bytes().to_vec();
    if bytes.starts_with("\u{feff}".as_bytes()) {
        blank(&mut bytes[..3]);
    }
    // The last two bytes that are neither space nor comment: a comma is trailing exactly when it
    // stands between a value and a closing bracket (`[,]` stays an error).
    let mut before_last = 0;
    let mut last = (0, 0);
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        let end = match (byte, bytes.get(at + 1)) {
            (b'"', _) => string_end(&bytes, at),
            (b'/', Some(b'/')) => line_end(&bytes, at),
            (b'/', Some(b'*')) => block_end(&bytes, at).ok_or_else(|| unterminated(text, at))?,
            _ => at + 1,
        };
        if byte == b'/' && end > at + 1 {
            blank(&mut bytes[at..end]);
        } else if !byte.is_ascii_whitespace() {
            if matches!(byte, b']' | b'}') && last.1 == b',' && ends_value(before_last) {
                bytes[last.0] = b' ';
            }
            before_last = last.1;
            last = (at, byte);
        }
        at = end;
    }
    Ok(bytes)
}

/// `line:column` of a byte, both from 1, the column in characters.
pub(super) fn line_and_column(text: &str, at: usize) -> String {
    let before = &text.as_bytes()[..at.min(text.len())];
    let line_start = before.iter().rposition(|&b| b == b'\n').map_or(0, |i| i + 1);
    let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
    // Every byte but the continuation bytes of UTF-8 begins a character.
    let column = before[line_start..].iter().filter(|&&b| b & 0xc0 != 0x80).count() + 1;
    format!("{line}:{column}")
}

fn unterminated(text: &str, at: usize) -> Problem {
    Problem {
        path: line_and_column(text, at),
        message: "this comment is never closed, expected `*/`".to_owned(),
    }
}

fn ends_value(byte: u8) -> bool {
    matches!(byte, b'"' | b']' | b'}') || byte.is_ascii_alphanumeric()
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn line_end(bytes: &[u8], start: usize) -> usize {
    memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |length| start + length)
}

fn block_end(bytes: &[u8], start: usize) -> Option<usize> {
    let inside = start + 2;
    memchr::memmem::find(&bytes[inside..], b"*/").map(|length| inside + length + 2)
}

/// Line ends stay, for line numbers.
fn blank(bytes: &mut [u8]) {
    for byte in bytes {
        if !matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(text: &str) -> String {
        String::from_utf8(strip(text).unwrap()).unwrap()
    }

    #[test]
    fn comments_and_trailing_commas_become_spaces() {
        let rows = [
            ("[1, 2]", "[1, 2]"),
            ("[1,]// x", "[1 ]    "),
            ("[1,/**/]", "[1     ]"),
            ("{\"a\":1,\n}", "{\"a\":1 \n}"),
            ("/* é\n*/1", "     \n  1"),
            ("[[],{},\"\",]", "[[],{},\"\" ]"),
            ("\u{feff}1", "   1"),
            // Not ours to forgive.
            ("[,]", "[,]"),
            ("[1,,]", "[1,,]"),
            ("1 / 2", "1 / 2"),
        ];
        for (text, expected) in rows {
            assert_eq!(stripped(text), expected, "{text}");
            assert_eq!(stripped(text).len(), text.len(), "{text}");
        }
    }

    #[test]
    fn strings_are_left_alone() {
        for text in [r#"["//", "/* */", ",]", "\"//", "\\"]"#, r#""open // "#, r#""open\"#] {
            assert_eq!(stripped(text), text);
        }
    }

    #[test]
    fn an_unterminated_comment_is_reported_where_it_opens() {
        for (text, place) in [("/*", "1:1"), ("{\n  /*/ }", "2:3"), ("\"é\" /* *", "1:5")] {
            assert_eq!(strip(text).unwrap_err().path, place, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_keeps_its_length_and_line_ends(text in "[\\[\\]{},:\"/*\\\\\n a1é]{0,40}") {
            if let Ok(bytes) = strip(&text) {
                let lines = |b: &[u8]| -> Vec<usize> { memchr::memchr_iter(b'\n', b).collect() };
                assert_eq!(bytes.len(), text.len());
                assert_eq!(lines(&bytes), lines(text.as_bytes()));
                assert!(std::str::from_utf8(&bytes).is_ok());
            }
        }
    }
}
