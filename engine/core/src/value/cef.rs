//! `ArcSight` Common Event Format: `CEF:0|vendor|product|version|id|name|severity|src=192.0.2.1 msg=a text`.
//!
//! ```text
//! message   = "CEF:" version "|" vendor "|" product "|" version "|" id "|" name "|" severity [ "|" extension ]
//! extension = *blank [ pair *( 1*blank pair ) ] *blank
//! pair      = key "=" value
//! key       = 1*( ALPHA / DIGIT / "_" / "." / "-" / "[" / "]" )
//! value     = *any                         ; up to the blanks before the next pair, or the end
//! ```
//!
//! Source: `ArcSight` Common Event Format implementation standard. Two characters of a header are escaped, `\|` and
//! `\\`; in a value `\=`, `\\`, `\n` and `\r` are.
//!
//! # What a sender may try
//!
//! Values have no quotes: blanks are part of them, so only a blank, a key and a `=` end one. A `=` that follows a
//! backslash cannot end a key (a backslash is not a byte of a key), hence a device that escapes as it should lets nobody
//! smuggle a pair in. Some devices leave `=` in a URL as it is; such a `=` mostly stands behind bytes no key has
//! (`/`, `?`, `:`), and then belongs to the value.
//!
//! # Two readings
//!
//! [`read_header`] and [`extension`] read as the standard says first. Only where that leads nowhere do they take what
//! devices and relays really send: a blank behind `CEF:`, too few header fields, `|` in a header field that nobody
//! escaped, pairs separated by `|` or by the `#011` that rsyslog writes for a tab, `#015#012` at the end. They say which
//! of the two it was. Separators other than blanks count only if no blank separates any pair: so a text that a device
//! passes on with blanks around it cannot bring pairs of its own.

use super::Form;
use super::escape::{Escape, Raw};
use super::pairs::{self, Bound, Walked};
use super::scan;
use std::ops::ControlFlow;

/// The seven fields of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CefHeader<'m> {
    /// Version of the format: `0` or `1`.
    pub version: Raw<'m>,
    /// Device vendor.
    pub vendor: Raw<'m>,
    /// Device product.
    pub product: Raw<'m>,
    /// Version of the device's software.
    pub device_version: Raw<'m>,
    /// Kind of event; also called device event class id.
    pub signature_id: Raw<'m>,
    /// What the event is, for people.
    pub name: Raw<'m>,
    /// `0` to `10`, or a word.
    pub severity: Raw<'m>,
}

/// Reads the header of a text that starts with `CEF:`, as the standard says.
///
/// Gives the header, the extension, and where in `text` the extension starts. `None` if the text does not start so or
/// has fewer than seven fields. The `|` behind the severity may be missing when there is no extension.
pub fn header(text: &[u8]) -> Option<(CefHeader<'_>, &[u8], usize)> {
    const START: &[u8] = b"CEF:";
    let mut at = START.len();
    if !text.starts_with(START) {
        return None;
    }
    let mut next = || {
        let start = at;
        let (end, escape) = unescaped_pipe(text, start);
        at = end.wrapping_add(1);
        // Past the end by more than one: the field before was the last one.
        text.get(start..end).map(|bytes| Raw { bytes, escape })
    };
    let header = CefHeader {
        version: next()?,
        vendor: next()?,
        product: next()?,
        device_version: next()?,
        signature_id: next()?,
        name: next()?,
        severity: next()?,
    };
    let end = at.min(text.len());
    Some((header, text.get(end..).unwrap_or_default(), end))
}

/// The end of a header field, and whether something in it is escaped.
pub(super) fn unescaped_pipe(text: &[u8], from: usize) -> (usize, Escape) {
    let mut at = from;
    let mut escape = Escape::None;
    loop {
        at = scan::find(
            text,
            at,
            |word| scan::equal(word, b'|') | scan::equal(word, b'\\'),
            |byte| byte == b'|' || byte == b'\\',
        );
        if text.get(at) != Some(&b'\\') {
            return (at, escape);
        }
        escape = Escape::CefHeader;
        at = at.wrapping_add(2).min(text.len());
    }
}

/// Reads the header of a text that starts with `CEF:`, as the standard says if that gives an extension that starts
/// with a pair, else as well as it can be read.
///
/// Gives the header, the extension, and which of the two it was. `None` if the text does not start so, or ends before
/// the `|` behind the product. Fields that are missing are empty.
pub fn read_header(text: &[u8]) -> Option<(CefHeader<'_>, &[u8], Form)> {
    if let Some((header, extension, _)) = header(text)
        && is_sound(&header, extension)
    {
        return Some((header, extension, Form::Strict));
    }
    recover(text)
}

/// Whether a strict reading makes sense.
fn is_sound(header: &CefHeader<'_>, extension: &[u8]) -> bool {
    // Where fields are missing, pairs stand in their places. A severity never holds one.
    if header.version.bytes.first().is_some_and(|&byte| scan::is_blank(byte)) || header.severity.bytes.contains(&b'=') {
        return false;
    }
    if scan::trim_end(extension).is_empty() {
        let starts_with_key =
            |raw: &Raw<'_>| pairs::first_key(raw.bytes, 0, |_| true).is_some_and(|(k, _)| k.start == 0);
        return ![header.device_version, header.signature_id, header.name].iter().any(starts_with_key);
    }
    let equals = scan::find_byte(extension, 0, b'=');
    pairs::key_before(extension, equals).is_some_and(|key| {
        equals < extension.len() && scan::trim(extension.get(..key.start).unwrap_or_default()).is_empty()
    })
}

/// Reads a header by where the extension must start.
#[cold]
fn recover(text: &[u8]) -> Option<(CefHeader<'_>, &[u8], Form)> {
    let field = |start: usize, end: usize| Raw {
        bytes: scan::trim(text.get(start..end).unwrap_or_default()),
        escape: Escape::CefHeader,
    };
    let start = text.strip_prefix(b"CEF:").map(|_| 4_usize)?;
    let [first, second, third] = {
        let first = unescaped_pipe(text, start).0;
        let second = unescaped_pipe(text, first.wrapping_add(1)).0;
        [first, second, unescaped_pipe(text, second.wrapping_add(1)).0]
    };
    if third >= text.len() {
        return None;
    }
    let from = third.wrapping_add(1);
    let (end, extension) = extension_start(text, from);
    let (mut pieces, end) = pieces(text, from, end);
    // Version and id come first; then the name, with whatever `|` stands in it; then the severity.
    let mut header = CefHeader {
        version: field(start, first),
        vendor: field(first.wrapping_add(1), second),
        product: field(second.wrapping_add(1), third),
        device_version: field(end, end),
        signature_id: field(end, end),
        name: field(end, end),
        severity: field(end, end),
    };
    if let Some((start, end)) = pieces.next() {
        header.device_version = field(start, end);
    }
    if let Some((start, end)) = pieces.next() {
        header.signature_id = field(start, end);
    }
    if let Some((name, name_end)) = pieces.next() {
        header.name = field(name, name_end);
        match pieces.last() {
            Some((severity, end)) => {
                header.name = field(name, severity.wrapping_sub(1));
                header.severity = field(severity, end);
            }
            None if is_severity(header.name.bytes) => std::mem::swap(&mut header.name, &mut header.severity),
            None => {}
        }
    }
    Some((header, text.get(extension..).unwrap_or_default(), Form::Recovered))
}

/// Whether a text says how bad something is: `0` to `10`, or one of the standard's words.
fn is_severity(text: &[u8]) -> bool {
    const WORDS: [&[u8]; 5] = [b"unknown", b"low", b"medium", b"high", b"very-high"];
    matches!(text, [b'0'..=b'9'] | b"10") || WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Where the header fields from `from` on end, and where the extension starts.
fn extension_start(text: &[u8], from: usize) -> (usize, usize) {
    // Behind the sixth `|` the severity starts; behind the seventh the extension should.
    let next = |at: usize| unescaped_pipe(text, at).0.min(text.len()).wrapping_add(1);
    let severity = next(next(next(from)));
    let regular = unescaped_pipe(text, severity).0;
    let mut behind_blank = None;
    let at_pipe = pairs::first_key(text, from, |key| {
        // A key behind the seventh `|` in words that are no pair: the standard's reading, with junk at its start.
        if !matches!(key.bound, Bound::Mark(b'|') | Bound::Start) && pipe_before(text, from, key.start).is_none() {
            let is_late = key.start >= severity;
            if is_late || behind_blank.is_none() {
                behind_blank = Some(*key);
            }
            return is_late;
        }
        key.bound != Bound::Mark(b'^')
    });
    if let Some((key, _)) = at_pipe
        && let Some(pipe) = pipe_before(text, from, key.start)
    {
        return (pipe, key.start);
    }
    match behind_blank {
        Some(key) if regular >= key.start => (key.end_before, key.start),
        _ if regular < text.len() => (regular, regular.wrapping_add(1)),
        _ => (text.len(), text.len()),
    }
}

/// The `|` that stands before a place with nothing but blanks between; at `from` stands one that is not looked at.
fn pipe_before(text: &[u8], from: usize, place: usize) -> Option<usize> {
    let before = scan::trim_end(text.get(..place)?);
    (before.len() >= from && before.ends_with(b"|")).then(|| before.len().wrapping_sub(1).max(from.wrapping_sub(1)))
}

/// The header fields between two places, and where the last one ends. More than four lose the empty ones at their end.
fn pieces(text: &[u8], from: usize, end: usize) -> (impl Iterator<Item = (usize, usize)>, usize) {
    let region = |end: usize| text.get(..end).unwrap_or_default();
    let count = pieces_of(region(end), from).count();
    let mut kept = end;
    for _ in 4..count {
        match scan::trim_end(region(kept)) {
            [rest @ .., b'|'] => kept = rest.len(),
            _ => break,
        }
    }
    (pieces_of(region(kept), from), kept)
}

fn pieces_of(text: &[u8], from: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut at = from;
    std::iter::from_fn(move || {
        let start = at;
        let end = unescaped_pipe(text, start).0.min(text.len());
        at = end.wrapping_add(1);
        (start < text.len() || (start == text.len() && start > from)).then_some((start, end))
    })
}

/// Hands every pair of an extension to `sink`, in order, until it breaks off, and says how well it was written, as far
/// as it was read.
///
/// Keys are never empty; values may be, and have no blanks at their end. Text before the first key is left out.
///
/// # Limits
///
/// Linear: from each `=` the search for a key goes back over bytes of keys only, so never past the `=` before.
#[inline]
pub fn extension<'m>(text: &'m [u8], mut sink: impl FnMut(&'m [u8], Raw<'m>) -> ControlFlow<()>) -> Form {
    match pairs::between_blanks(text, Escape::CefExtension, &mut sink) {
        Walked::Done(form) => form,
        Walked::Other(bound) => {
            pairs::between(text, bound, Escape::CefExtension, &mut sink);
            Form::Recovered
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::unescape;
    use super::*;

    fn string(raw: Raw<'_>) -> String {
        String::from_utf8(unescape(raw).into_owned()).unwrap()
    }

    #[track_caller]
    fn check(text: &str, wanted: &[(&str, &str)]) {
        let mut pairs = Vec::new();
        extension(text.as_bytes(), |key, raw| {
            pairs.push((String::from_utf8(key.to_vec()).unwrap(), string(raw)));
            ControlFlow::Continue(())
        });
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(pairs, wanted, "{text}");
    }

    #[test]
    fn the_header_has_seven_fields() {
        let text = br"CEF:0|Check Point|VPN-1 & FireWall-1|R81|a\|b|name \\ x|Low|src=192.0.2.1 act=Drop";
        let (header, rest, end) = header(text).unwrap();
        let fields = [
            header.version,
            header.vendor,
            header.product,
            header.device_version,
            header.signature_id,
            header.name,
            header.severity,
        ];
        let wanted = ["0", "Check Point", "VPN-1 & FireWall-1", "R81", "a|b", r"name \ x", "Low"];
        assert_eq!(fields.map(string), wanted.map(str::to_owned));
        assert_eq!(header.vendor.escape, Escape::None);
        assert_eq!(rest, b"src=192.0.2.1 act=Drop");
        assert_eq!(text.get(end..), Some(rest));
    }

    #[test]
    fn a_header_may_be_empty_but_not_short() {
        assert_eq!(header(b"CEF:0|a|b|c|d|e|5").unwrap().1, b"");
        assert_eq!(header(b"CEF:0|a|b|c|d|e|5|").unwrap().2, 18);
        assert_eq!(header(b"CEF:0|a|b|c|d|e|").unwrap().0.severity.bytes, b"");
        assert_eq!(header(b"CEF:||||||").unwrap().1, b"");
        assert_eq!(header(b"CEF:0|a|b|c|d|e|5\\").unwrap().0.severity.bytes, b"5\\");
        for text in
            ["", "CEF", "CEF:", "cef:0|a|b|c|d|e|5|", "CEF:0|a|b|c|d|e", r"CEF:0|a|b|c|d|e\|5", " CEF:0|a|b|c|d|e|5|"]
        {
            assert_eq!(header(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn values_hold_blanks_and_end_before_a_key() {
        check("", &[]);
        check("src=192.0.2.1", &[("src", "192.0.2.1")]);
        check(
            "cs2Label=Rule Name cs2=Cleanup rule layer=Network uuid",
            &[("cs2Label", "Rule Name"), ("cs2", "Cleanup rule"), ("layer", "Network uuid")],
        );
        check("cs1= cs2=x cs3=", &[("cs1", ""), ("cs2", "x"), ("cs3", "")]);
        check(" a=1   b=two  words  \r\n", &[("a", "1"), ("b", "two  words")]);
        check("junk here a=1 k.e-y_[0]=2", &[("a", "1"), ("k.e-y_[0]", "2")]);
    }

    #[test]
    fn an_equals_sign_without_a_key_belongs_to_the_value() {
        check(
            "request=https://example.com/?q=1&r=2 act=Drop",
            &[("request", "https://example.com/?q=1&r=2"), ("act", "Drop")],
        );
        check("msg=a = b == c act=Drop", &[("msg", "a = b == c"), ("act", "Drop")]);
        check(
            "originsicname=CN=fw,O=mgmt.example act=Drop",
            &[("originsicname", "CN=fw,O=mgmt.example"), ("act", "Drop")],
        );
        check("=x a=1", &[("a", "1")]);
    }

    #[test]
    fn nobody_smuggles_a_pair_through_escapes() {
        check(r"msg=x src\=203.0.113.9 y src=192.0.2.1", &[("msg", "x src=203.0.113.9 y"), ("src", "192.0.2.1")]);
        check(r"msg=x src\\\=203.0.113.9 src=192.0.2.1", &[("msg", r"x src\=203.0.113.9"), ("src", "192.0.2.1")]);
        check(r"msg=x\nsrc\=203.0.113.9 src=192.0.2.1", &[("msg", "x\nsrc=203.0.113.9"), ("src", "192.0.2.1")]);
        check(r"msg=x\\ src=192.0.2.1", &[("msg", r"x\"), ("src", "192.0.2.1")]);
    }

    /// Header fields from the vendor on, and the extension.
    #[track_caller]
    fn check_header(text: &str, form: Form, fields: [&str; 6], extension: &str) {
        let (header, rest, found) = read_header(text.as_bytes()).unwrap();
        let CefHeader { vendor, product, device_version, signature_id, name, severity, .. } = header;
        let found_fields = [vendor, product, device_version, signature_id, name, severity].map(string);
        assert_eq!(found_fields, fields.map(str::to_owned), "{text}");
        assert_eq!((String::from_utf8_lossy(rest).as_ref(), found), (extension, form), "{text}");
    }

    #[test]
    fn headers_that_keep_to_the_standard_are_strict() {
        let fields = ["v", "p", "1", "id", "n", "5"];
        check_header("CEF:0|v|p|1|id|n|5|", Form::Strict, fields, "");
        check_header("CEF:0|v|p|1|id|n|5", Form::Strict, fields, "");
        check_header("CEF:0|v|p|1|id|n|5| src=192.0.2.1", Form::Strict, fields, " src=192.0.2.1");
        check_header("CEF:0|v|p|1|id|n|5|msg=a|b=1|c", Form::Strict, fields, "msg=a|b=1|c");
        check_header(r"CEF:0|v|p|1|id|a\|b=1|5|c=2", Form::Strict, ["v", "p", "1", "id", "a|b=1", "5"], "c=2");
    }

    #[test]
    fn headers_that_do_not_are_recovered() {
        let fields = ["v", "p", "1", "id", "n", "5"];
        check_header("CEF: 0|v|p|1|id|n|5|src=192.0.2.1", Form::Recovered, fields, "src=192.0.2.1");
        check_header(
            "CEF: 0 | v | p | 1 | id | n | 5 | src=192.0.2.1 a=b",
            Form::Recovered,
            fields,
            "src=192.0.2.1 a=b",
        );
        // A `|` in the name.
        check_header(
            "CEF:0|v|p|1|id|a | b|c|5|src=1 msg=|x=2",
            Form::Recovered,
            ["v", "p", "1", "id", "a | b|c", "5"],
            "src=1 msg=|x=2",
        );
        check_header("CEF:0|v|p|1|id|n|5||src=1", Form::Recovered, fields, "src=1");
        // Fields are missing.
        check_header(
            "CEF:0|v|p|1|id|5|src=1 msg=a|b",
            Form::Recovered,
            ["v", "p", "1", "id", "", "5"],
            "src=1 msg=a|b",
        );
        check_header("CEF:0|v|p|1|id|n|src=1 | a=2", Form::Recovered, ["v", "p", "1", "id", "n", ""], "src=1 | a=2");
        check_header("CEF:0|v|p|1|id|n|src=1", Form::Recovered, ["v", "p", "1", "id", "n", ""], "src=1");
        check_header("CEF:0|v|p|1|src=1 dst=2", Form::Recovered, ["v", "p", "1", "", "", ""], "src=1 dst=2");
        check_header("CEF:0|v|p|src=1 dst=2", Form::Recovered, ["v", "p", "", "", "", ""], "src=1 dst=2");
        check_header("CEF:0|v|p|", Form::Recovered, ["v", "p", "", "", "", ""], "");
        // The last `|` is a blank.
        check_header("CEF:0|v|p|1|id|n|5 src=1 msg=a|b", Form::Recovered, fields, "src=1 msg=a|b");
        check_header("CEF:0|v|p|1|id|a name src=1", Form::Recovered, ["v", "p", "1", "id", "a name", ""], "src=1");
        let fields = ["v", "p", "1", "id", "user a=1", "5"];
        check_header("CEF: 0|v|p|1|id|user a=1|5 src=1", Form::Recovered, fields, "src=1");
        check_header("CEF: 0|v|p|1|id|user a=1|5|src=1", Form::Recovered, fields, "src=1");
        let fields = ["v", "p", "1", "id", "n", "5"];
        // Junk at the start of the extension.
        check_header("CEF:0|v|p|1|id|n|5|junk src=1 msg=|a=1", Form::Recovered, fields, "junk src=1 msg=|a=1");
        check_header("CEF:0|v|p|1|id|n|5|junk", Form::Recovered, fields, "junk");
        for text in ["", "CEF:", "CEF:0|v", "CEF:0|v|p", "cef:0|v|p|", " CEF:0|v|p|"] {
            assert_eq!(read_header(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn says_how_well_an_extension_is_written() {
        let form = |text: &str| extension(text.as_bytes(), |_, _| ControlFlow::Continue(()));
        for text in ["", "a=1", " a=1 b=two words c= ", r"a=x\=y b=1 \= c=2", "cs1= cs2=", "a=x|y"] {
            assert_eq!(form(text), Form::Strict, "{text}");
        }
        for text in ["a=x=y", "a=/?b=1", "junk a=1", "a=1#012", "a=1#015#012 b=2", "=", "a=1|b=2", "a=1#011b=2 c=3"] {
            assert_eq!(form(text), Form::Recovered, "{text}");
        }
    }

    #[test]
    fn what_a_relay_wrote_for_control_characters_is_left_out() {
        check("a=1 b=two#015#012", &[("a", "1"), ("b", "two")]);
        check("a=1#011 b=2 #012", &[("a", "1"), ("b", "2")]);
        check("a=1#011b=two words#011c=3", &[("a", "1"), ("b", "two words"), ("c", "3")]);
    }

    #[test]
    fn other_separators_count_only_without_blanks() {
        check("a=1|b=two words|c=", &[("a", "1"), ("b", "two words"), ("c", "")]);
        check("|a=1|b=2", &[("a", "1"), ("b", "2")]);
        check("msg=x|src=203.0.113.9 src=192.0.2.1", &[("msg", "x|src=203.0.113.9"), ("src", "192.0.2.1")]);
        check("msg=x#011src=203.0.113.9 src=192.0.2.1", &[("msg", "x#011src=203.0.113.9"), ("src", "192.0.2.1")]);
    }

    #[test]
    fn a_break_ends_it() {
        let mut seen = 0;
        extension(b"a=1 b=2 c=3", |key, _| {
            seen += 1;
            if key == b"b" { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(seen, 2);
    }
}
