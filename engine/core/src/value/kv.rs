//! Pairs of a key and a value: `srcip=192.0.2.1 srcport=4711 user="J. Doe"`.
//!
//! ```text
//! message   = *(junk separator) [ pair *( 1*separator (pair / junk) ) ]
//! pair      = key "=" ( quoted / bare )
//! key       = 1*(any byte but "=" and separators)
//! quoted    = DQUOTE *( escaped / any ) DQUOTE  /  the same with "'"
//! escaped   = "\" any
//! bare      = *(any byte but separators)        ; blanks at its end do not count
//! separator = blanks in one form of message, "," in the other
//! ```
//!
//! `FortiGate` writes both forms (`set format default` and `set format csv`), so each message says which it is: by what
//! stands behind its first value. A comma counts only if another pair follows it, so that a first value with a comma
//! in it does not make the rest of a blank-separated message unreadable.
//!
//! # What a sender may try
//!
//! A value in quotes may hold anything, ` srcip=203.0.113.9 ` included: only a quote that no backslash escapes ends it.
//! Bytes between a closing quote and the next separator are junk, and so is a word in quotes that has no key. A quote
//! that never closes takes the rest of the message: fields are then missing rather than made up.
//!
//! # For those who change this file
//!
//! This is the hottest code there is. `pairs` is compiled once per form, and reads what devices mostly write; `step`
//! reads everything. Where both read a pair they must agree, and `scan`'s two closures (register and byte) as well.

use super::blocks::{self, BLOCK, Block, from, lowest, up};
use super::escape::{Escape, Raw};
use super::scan;
use std::ops::ControlFlow;

/// Hands every pair of a message whose key is `known` to `sink`, in order, until it breaks off: what the key is known as,
/// and the value.
///
/// Keys are never empty; values may be. A key that stands there twice is handed over twice.
#[inline]
pub fn read<'m, K>(
    text: &'m [u8],
    known: impl Fn(&'m [u8]) -> Option<K>,
    sink: impl FnMut(K, Raw<'m>) -> ControlFlow<()>,
) {
    // Either form ends the loop by a break; what it would say to a caller is of no interest.
    let _ =
        if is_comma_form(text) { pairs::<true, K>(text, known, sink) } else { pairs::<false, K>(text, known, sink) };
}

/// Reads one of the two forms: what is simple with a few bits of a block, everything else by [`step`].
///
/// A block starts where a pair does, and the next one where the first pair that this one does not hold whole.
#[inline]
fn pairs<'m, const COMMA: bool, K>(
    text: &'m [u8],
    known: impl Fn(&'m [u8]) -> Option<K>,
    mut sink: impl FnMut(K, Raw<'m>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut at = 0_usize;
    while at < text.len() {
        let base = at;
        let block = Block::new(text, base, |bytes| {
            let separators = if COMMA { blocks::equal(bytes, b',') } else { blocks::at_most(bytes, scan::LAST_BLANK) };
            let odd = blocks::equal(bytes, b'\\') | blocks::equal(bytes, b'\'');
            [blocks::equal(bytes, b'='), separators, blocks::equal(bytes, b'"'), odd]
        });
        let [equals, separators, quotes, odd] = block.marks;
        // The end of the text ends a pair, too.
        let separators = separators | block.outside;
        let stops = equals | separators | quotes;
        let opened = equals & (quotes >> 1);
        let mut unread = u64::MAX;
        while at < text.len() {
            let stop = lowest(stops & unread);
            let simple = 'pair: {
                if stop & equals == 0 {
                    // A separator: a word without a `=`, or nothing. A quote may bring anything.
                    break 'pair if stop & quotes == 0 { Some(stop) } else { None };
                }
                let equals_at = blocks::at(base, stop);
                let (start, close, end) = if stop & opened != 0 {
                    let close = lowest(quotes & from(stop << 2));
                    // Between the quotes.
                    if odd & close.wrapping_sub(stop) != 0 {
                        break 'pair None;
                    }
                    (equals_at.wrapping_add(2), close, close << 1)
                } else {
                    if odd & (stop << 1) != 0 {
                        break 'pair None;
                    }
                    let end = lowest(separators & from(stop));
                    (equals_at.wrapping_add(1), end, end)
                };
                if end & separators == 0 {
                    break 'pair if end == 0 { Some(0) } else { None };
                }
                // Always there; but one branch costs less than the choice of an empty text instead.
                let Some(key) = text.get(at..equals_at).map(last_word::<COMMA>) else { break 'pair None };
                if let Some(known) = known(key).filter(|_| !key.is_empty()) {
                    let Some(value) = text.get(start..blocks::at(base, close)) else { break 'pair None };
                    let value = if COMMA && close == end { scan::trim_end(value) } else { value };
                    sink(known, Raw::plain(value))?;
                }
                Some(end)
            };
            match simple {
                Some(0) if at != base => break,
                Some(end) if end != 0 => {
                    at = blocks::at(base, end).wrapping_add(1);
                    unread = from(end << 1);
                }
                _ => {
                    let (pair, behind) = step::<COMMA>(text, at);
                    if let Some((key, value)) = pair
                        && let Some(known) = known(key)
                    {
                        sink(known, value)?;
                    }
                    at = behind;
                    let offset = at.wrapping_sub(base);
                    if offset >= BLOCK {
                        break;
                    }
                    unread = up(u64::MAX, offset);
                }
            }
        }
    }
    ControlFlow::Continue(())
}

/// The pair that starts at `at`, and where to go on: behind the separator, or where there is no pair.
#[cold]
#[inline(never)]
fn step<const COMMA: bool>(text: &[u8], at: usize) -> (Option<(&[u8], Raw<'_>)>, usize) {
    let Some(&first) = text.get(at) else { return (None, at) };
    if scan::is_blank(first) || separates::<COMMA>(first) {
        return (None, at.wrapping_add(1));
    }
    if first == b'"' {
        let close = closing_quote(text, at.wrapping_add(1), first).0;
        return (None, next_separator::<COMMA>(text, close));
    }
    let equals = scan::find(
        text,
        at,
        |word| scan::equal(word, b'=') | separator_marks::<COMMA>(word),
        |byte| byte == b'=' || separates::<COMMA>(byte),
    );
    if text.get(equals) != Some(&b'=') {
        return (None, equals);
    }
    let key = last_word::<COMMA>(text.get(at..equals).unwrap_or_default());
    let start = equals.wrapping_add(1);
    let (value, end) = if let Some(&quote @ (b'"' | b'\'')) = text.get(start) {
        let start = start.wrapping_add(1);
        let (close, escape) = closing_quote(text, start, quote);
        let end = next_separator::<COMMA>(text, close.wrapping_add(1));
        (Raw { bytes: text.get(start..close).unwrap_or_default(), escape }, end)
    } else {
        let end = next_separator::<COMMA>(text, start);
        let bytes = text.get(start..end).unwrap_or_default();
        (Raw::plain(if COMMA { scan::trim_end(bytes) } else { bytes }), end)
    };
    // Past the separator, or the end.
    ((!key.is_empty()).then_some((key, value)), end.wrapping_add(1))
}

#[inline]
const fn separates<const COMMA: bool>(byte: u8) -> bool {
    if COMMA { byte == b',' } else { scan::is_blank(byte) }
}

#[inline]
const fn separator_marks<const COMMA: bool>(word: u64) -> u64 {
    if COMMA { scan::equal(word, b',') } else { scan::blank(word) }
}

#[inline]
fn next_separator<const COMMA: bool>(text: &[u8], from: usize) -> usize {
    scan::find(text, from, separator_marks::<COMMA>, separates::<COMMA>)
}

/// The key of the comma form: text may stand before the first one, with a blank between.
#[inline]
fn last_word<const COMMA: bool>(key: &[u8]) -> &[u8] {
    if COMMA { key.rsplit(|&byte| scan::is_blank(byte)).next().unwrap_or_default() } else { key }
}

/// Where the quote closes (the length of the text if it does not), and whether something in it is escaped.
#[inline]
pub(super) fn closing_quote(text: &[u8], from: usize, quote: u8) -> (usize, Escape) {
    let mut at = from;
    let mut escape = Escape::None;
    loop {
        at = scan::find(
            text,
            at,
            |word| scan::equal(word, quote) | scan::equal(word, b'\\'),
            |byte| byte == quote || byte == b'\\',
        );
        if text.get(at) != Some(&b'\\') {
            return (at, escape);
        }
        escape = Escape::Kv;
        // The escaped byte may be the one past the end: then the quote does not close.
        at = at.wrapping_add(2).min(text.len());
    }
}

/// Whether commas separate the pairs: one stands behind the first value, and another pair behind it.
///
/// Looks no further than the second key, so all but the start of a message is still read once.
fn is_comma_form(text: &[u8]) -> bool {
    let stops = |byte: u8| scan::is_blank(byte) || byte == b',';
    let marks = |word: u64| scan::blank(word) | scan::equal(word, b',');
    let key_end = |from: usize| {
        scan::find(text, from, |word| marks(word) | scan::equal(word, b'='), |byte| stops(byte) || byte == b'=')
    };
    let mut at = 0;
    let value = loop {
        if text.get(at) == Some(&b'"') {
            at = closing_quote(text, at.wrapping_add(1), b'"').0.wrapping_add(1);
        }
        let end = key_end(at);
        match text.get(end) {
            Some(b'=') if end > at => break end.wrapping_add(1),
            Some(_) => at = end.wrapping_add(1),
            None => return false,
        }
    };
    let end = match text.get(value) {
        Some(&quote @ (b'"' | b'\'')) => closing_quote(text, value.wrapping_add(1), quote).0.wrapping_add(1),
        _ => scan::find(text, value, marks, stops),
    };
    if text.get(end) != Some(&b',') {
        return false;
    }
    let after = text.get(end.wrapping_add(1)..).unwrap_or_default();
    let blanks = after.iter().take_while(|&&byte| scan::is_blank(byte)).count();
    let next = end.wrapping_add(1).wrapping_add(blanks);
    let end = key_end(next);
    end > next && text.get(end) == Some(&b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs_of(text: &str) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        read(text.as_bytes(), Some, |key, raw| {
            let string = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            pairs.push((string(key), string(&super::super::unescape(raw))));
            ControlFlow::Continue(())
        });
        pairs
    }

    #[track_caller]
    fn check(text: &str, wanted: &[(&str, &str)]) {
        let pairs = pairs_of(text);
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(pairs, wanted, "{text}");
    }

    #[test]
    fn blanks_separate() {
        check("", &[]);
        check(" \r\n", &[]);
        check("a=1", &[("a", "1")]);
        check(
            "srcip=192.0.2.1 srcport=4711\tproto=6\r\n",
            &[("srcip", "192.0.2.1"), ("srcport", "4711"), ("proto", "6")],
        );
        check("a= b=2 c=", &[("a", ""), ("b", "2"), ("c", "")]);
        check("a=1,2 b=3", &[("a", "1,2"), ("b", "3")]);
        check("url=/x?y=z b=2", &[("url", "/x?y=z"), ("b", "2")]);
        check(r#"a="x y" b='it is' c="""#, &[("a", "x y"), ("b", "it is"), ("c", "")]);
        check(r#"a=x"y z" b=2"#, &[("a", r#"x"y"#), ("b", "2")]);
    }

    #[test]
    fn commas_separate() {
        check("srcip=192.0.2.1,srcport=4711", &[("srcip", "192.0.2.1"), ("srcport", "4711")]);
        check("a=1, b=two words , c=3,", &[("a", "1"), ("b", "two words"), ("c", "3")]);
        check(r#"a="x, y",b="1",c=,d=4"#, &[("a", "x, y"), ("b", "1"), ("c", ""), ("d", "4")]);
        check("traffic: a=1,b=2", &[("a", "1"), ("b", "2")]);
        check(r#""x=1,y=2" a=1,2 b=3"#, &[("a", "1,2"), ("b", "3")]);
        check("a=1,b=2,junk,c=3", &[("a", "1"), ("b", "2"), ("c", "3")]);
    }

    #[test]
    fn a_comma_in_the_first_value_is_no_separator() {
        check("msg=hello,world src=192.0.2.1", &[("msg", "hello,world"), ("src", "192.0.2.1")]);
        check("msg=hello,world src=192.0.2.1,proto=6", &[("msg", "hello,world"), ("src", "192.0.2.1,proto=6")]);
    }

    #[test]
    fn junk_is_left_out() {
        check("traffic forward a=1 junk b=2 = =3 ==", &[("a", "1"), ("b", "2")]);
        check(r#"a="1"junk=x b=2"#, &[("a", "1"), ("b", "2")]);
        check(r#"a=1 "no key=9 here" b=2"#, &[("a", "1"), ("b", "2")]);
    }

    #[test]
    fn escapes_are_kept_for_who_wants_them() {
        check(r#"a="say \"hi\"" b="C:\\" c="d:\dir""#, &[("a", r#"say "hi""#), ("b", r"C:\"), ("c", r"d:\dir")]);
        read(br#"a="x" b="\"" c=\"#, Some, |key, raw| {
            assert_eq!(raw.escape, if key == b"b" { Escape::Kv } else { Escape::None });
            ControlFlow::Continue(())
        });
    }

    /// What a user, a URL or a file name can hold must not become a pair of its own.
    #[test]
    fn nobody_smuggles_a_pair_through_quotes() {
        for text in [
            r#"user="x srcip=203.0.113.9 y" srcip=192.0.2.1"#,
            r#"user="x,srcip=203.0.113.9,y" srcip=192.0.2.1"#,
            r#"user="x\" srcip=203.0.113.9 \"" srcip=192.0.2.1"#,
            r#"user="x\\\" srcip=203.0.113.9 " srcip=192.0.2.1"#,
            r#"user="x\\" srcip=192.0.2.1"#,
            r#"user='x" srcip=203.0.113.9 "' srcip=192.0.2.1"#,
            r#"user="x"srcip=203.0.113.9 srcip=192.0.2.1"#,
            r#"user="x","srcip=203.0.113.9",srcip=192.0.2.1"#,
            r#"user="x' srcip=203.0.113.9 '",srcip=192.0.2.1"#,
        ] {
            let found = pairs_of(text);
            let addresses: Vec<&str> =
                found.iter().filter(|(key, _)| key == "srcip").map(|(_, v)| v.as_str()).collect();
            assert_eq!(addresses, ["192.0.2.1"], "{text}");
        }
    }

    #[test]
    fn a_quote_that_never_closes_takes_the_rest() {
        check(r#"a=1 b="x srcip=203.0.113.9"#, &[("a", "1"), ("b", "x srcip=203.0.113.9")]);
        check(r#"a=1 b="x srcip=203.0.113.9\"#, &[("a", "1"), ("b", r"x srcip=203.0.113.9\")]);
        check(r#"a=1 b=""#, &[("a", "1"), ("b", "")]);
        check(r#"a=1 "x srcip=203.0.113.9"#, &[("a", "1")]);
    }

    #[test]
    fn a_break_ends_it() {
        for text in ["a=1 b=2 c=3", "a=1,b=2,c=3"] {
            let mut seen = 0;
            read(text.as_bytes(), Some, |key, _| {
                seen += 1;
                if key == b"b" { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            assert_eq!(seen, 2);
        }
    }
}
