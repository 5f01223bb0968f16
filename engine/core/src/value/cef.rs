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

use super::escape::{Escape, Raw};
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

/// Reads the header of a text that starts with `CEF:`.
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
fn unescaped_pipe(text: &[u8], from: usize) -> (usize, Escape) {
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

/// Hands every pair of an extension to `sink`, in order, until it breaks off.
///
/// Keys are never empty; values may be, and have no blanks at their end. Text before the first key is left out.
///
/// # Limits
///
/// Linear: from each `=` the search for a key goes back over bytes of keys only, so never past the `=` before.
#[inline]
pub fn extension<'m>(text: &'m [u8], mut sink: impl FnMut(&'m [u8], Raw<'m>) -> ControlFlow<()>) {
    let mut key: &[u8] = &[];
    let mut value = 0_usize;
    let mut equals = scan::find_byte(text, 0, b'=');
    while equals < text.len() {
        if let Some(start) = key_start(text, equals) {
            if !key.is_empty() && sink(key, value_at(text, value, start)).is_break() {
                return;
            }
            key = text.get(start..equals).unwrap_or_default();
            value = equals.wrapping_add(1);
        }
        equals = scan::find_byte(text, equals.wrapping_add(1), b'=');
    }
    if !key.is_empty() {
        // Nothing follows that a break could stop.
        let _ = sink(key, value_at(text, value, text.len()));
    }
}

/// Where the key before the `=` at `equals` starts; `None` if no key stands there.
#[inline]
fn key_start(text: &[u8], equals: usize) -> Option<usize> {
    let before = text.get(..equals)?;
    let start = before.iter().rposition(|&byte| !is_key_byte(byte)).map_or(0, |at| at.wrapping_add(1));
    let stands_alone = start == 0 || before.get(start.wrapping_sub(1)).is_some_and(|&byte| scan::is_blank(byte));
    (stands_alone && start < equals).then_some(start)
}

#[inline]
const fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'[' | b']')
}

#[inline]
fn value_at(text: &[u8], start: usize, end: usize) -> Raw<'_> {
    Raw { bytes: scan::trim_end(text.get(start..end).unwrap_or_default()), escape: Escape::CefExtension }
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
