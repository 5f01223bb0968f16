//! Columns, numbered from 1 as vendors' manuals do.
//!
//! ```text
//! message = column *( separator column )
//! column  = quoted / bare
//! quoted  = DQUOTE *( any but DQUOTE / 2DQUOTE ) DQUOTE *junk     ; junk: any but the separator
//! bare    = *( any but the separator )                             ; a quote inside stands for itself
//! ```
//!
//! Source: RFC 4180, section 2, for one record. Deviations: a record ends with the message, so an end of line inside a
//! bare column is part of it; what stands between a closing quote and the next separator is left out; a quote that
//! never closes takes the rest of the message, so its sender cannot make up columns.

use super::escape::{Escape, Raw};
use super::scan;
use std::ops::ControlFlow;

/// Hands every column to `sink` with its number, in order, until it breaks off.
///
/// An empty message has no columns; ends of line and NUL behind the last column do not count. The separator must not
/// be a quote.
#[inline]
pub fn read<'m>(text: &'m [u8], separator: u8, mut sink: impl FnMut(usize, Raw<'m>) -> ControlFlow<()>) {
    let text = without_line_end(text);
    if text.is_empty() {
        return;
    }
    let mut start = 0_usize;
    for column in 1_usize.. {
        let (value, end) = if text.get(start) == Some(&b'"') {
            quoted(text, start.wrapping_add(1), separator)
        } else {
            let end = scan::find_byte(text, start, separator);
            (Raw::plain(text.get(start..end).unwrap_or_default()), end)
        };
        if sink(column, value).is_break() || end >= text.len() {
            return;
        }
        start = end.wrapping_add(1);
    }
}

/// The column whose opening quote stands before `start`, and where the separator behind it stands.
fn quoted(text: &[u8], start: usize, separator: u8) -> (Raw<'_>, usize) {
    let mut escape = Escape::None;
    let mut at = start;
    let close = loop {
        let quote = scan::find_byte(text, at, b'"');
        if text.get(quote.wrapping_add(1)) != Some(&b'"') {
            break quote;
        }
        escape = Escape::CsvQuoted;
        at = quote.wrapping_add(2);
    };
    let bytes = text.get(start..close).unwrap_or_default();
    (Raw { bytes, escape }, scan::find_byte(text, close.wrapping_add(1), separator))
}

/// Blanks are not trimmed: an empty last column of a tab-separated message has to stay.
fn without_line_end(text: &[u8]) -> &[u8] {
    let mut text = text;
    while let [rest @ .., b'\r' | b'\n' | 0] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, separator: u8, wanted: &[&str]) {
        let mut columns = Vec::new();
        read(text.as_bytes(), separator, |column, raw| {
            columns.push(String::from_utf8(super::super::unescape(raw).into_owned()).unwrap());
            assert_eq!(column, columns.len());
            ControlFlow::Continue(())
        });
        assert_eq!(columns, wanted, "{text}");
    }

    #[test]
    fn columns_of_every_kind() {
        check("", b',', &[]);
        check("\r\n", b',', &[]);
        check("a", b',', &["a"]);
        check(",", b',', &["", ""]);
        check("1,2026/01/05 10:11:12,,TRAFFIC\r\n", b',', &["1", "2026/01/05 10:11:12", "", "TRAFFIC"]);
        check(r#""a,b","say ""hi""","",x"#, b',', &["a,b", r#"say "hi""#, "", "x"]);
        check(r#"a"b"c,d"#, b',', &[r#"a"b"c"#, "d"]);
        check("a\t\tb\t", b'\t', &["a", "", "b", ""]);
        check(r#""a""#, b',', &["a"]);
        check(r#""""","#, b',', &[r#"""#, ""]);
    }

    #[test]
    fn nobody_smuggles_a_column() {
        check(r#"x,"rule"",203.0.113.9,""",192.0.2.1"#, b',', &["x", r#"rule",203.0.113.9,""#, "192.0.2.1"]);
        check(r#"x,"rule"junk,192.0.2.1"#, b',', &["x", "rule", "192.0.2.1"]);
        check(r#"x,"rule,192.0.2.1"#, b',', &["x", "rule,192.0.2.1"]);
        check(r#"x,"rule,192.0.2.1"""#, b',', &["x", r#"rule,192.0.2.1""#]);
    }

    #[test]
    fn a_break_ends_it() {
        let mut seen = 0;
        read(b"a,b,c", b',', |column, _| {
            seen = column;
            if column == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(seen, 2);
    }
}
