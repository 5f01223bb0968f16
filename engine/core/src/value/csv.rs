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

use super::blocks::{self, BLOCK, Block, from, lowest, up};
use super::escape::{Escape, Raw};
use super::scan;
use std::ops::ControlFlow;

/// Hands the columns with the numbers `wanted`, which ascend, to `sink` until it breaks off; each with its place among
/// those numbers.
///
/// An empty message has no columns; ends of line and NUL behind the last column do not count. The separator must not
/// be a quote.
#[inline]
pub fn read<'m>(
    text: &'m [u8],
    separator: u8,
    wanted: &[usize],
    mut sink: impl FnMut(usize, Raw<'m>) -> ControlFlow<()>,
) {
    let text = without_line_end(text);
    let mut wanted = wanted.iter().enumerate();
    let Some((mut place, &(mut next))) = wanted.next().filter(|_| !text.is_empty()) else { return };
    let (mut base, mut start, mut column) = (0_usize, 0_usize, 1_usize);
    loop {
        let block = Block::new(text, base, |bytes| [blocks::equal(bytes, separator), blocks::equal(bytes, b'"')]);
        let [separators, quotes] = block.marks;
        // The end of the text ends a column, too.
        let mut separators = separators | lowest(block.outside);
        // Where the column starts, if that is in this block.
        let mut first = u64::from(start == base);
        base = loop {
            if quotes == 0 {
                // Nothing to be found out about columns that nobody wants.
                let mut last = 0;
                while column < next && separators != 0 {
                    last = separators;
                    separators &= separators.wrapping_sub(1);
                    column = column.wrapping_add(1);
                }
                if last != 0 {
                    start = blocks::at(base, last).wrapping_add(1);
                }
            }
            let (value, end) = if first & quotes == 0 {
                if separators == 0 && block.outside == 0 {
                    break base.wrapping_add(BLOCK);
                }
                let end = blocks::at(base, separators);
                (Raw::plain(text.get(start..end).unwrap_or_default()), end)
            } else {
                let inside = start.wrapping_add(1);
                let close = lowest(quotes & from(first << 1));
                if (close << 1) & separators == 0 {
                    // With quotes in it, or longer than the block.
                    quoted(text, inside, separator)
                } else {
                    let end = blocks::at(base, close);
                    (Raw::plain(text.get(inside..end).unwrap_or_default()), end.wrapping_add(1))
                }
            };
            if column == next {
                if sink(place, value).is_break() {
                    return;
                }
                let Some((following, &number)) = wanted.next() else { return };
                (place, next) = (following, number);
            }
            if end >= text.len() {
                return;
            }
            column = column.wrapping_add(1);
            start = end.wrapping_add(1);
            let offset = start.wrapping_sub(base);
            if offset >= BLOCK {
                break start;
            }
            first = up(1, offset);
            separators &= from(first);
        };
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

    const NUMBERS: [usize; 6] = [1, 2, 3, 4, 5, 6];

    #[track_caller]
    fn check(text: &str, separator: u8, wanted: &[&str]) {
        let mut columns = Vec::new();
        read(text.as_bytes(), separator, &NUMBERS, |place, raw| {
            assert_eq!(place, columns.len());
            columns.push(String::from_utf8(super::super::unescape(raw).into_owned()).unwrap());
            ControlFlow::Continue(())
        });
        assert_eq!(columns, wanted, "{text}");
        // The same one by one, and behind a text that moves them from block to block.
        for shift in 0..=70 {
            let text = format!("{}{separator}{text}", "x".repeat(shift), separator = char::from(separator));
            for (number, wanted) in wanted.iter().enumerate() {
                let mut found = None;
                read(text.as_bytes(), separator, &[number + 2], |_, raw| {
                    found = Some(String::from_utf8(super::super::unescape(raw).into_owned()).unwrap());
                    ControlFlow::Continue(())
                });
                assert_eq!(found.as_deref(), Some(*wanted), "{text}");
            }
        }
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
        read(b"a,b,c", b',', &NUMBERS, |place, _| {
            seen = place;
            if place == 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(seen, 1);
    }
}
