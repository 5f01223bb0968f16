//! IBM `QRadar` Log Event Extended Format: `LEEF:1.0|vendor|product|version|event id|src=192.0.2.1<tab>dst=...`.
//!
//! ```text
//! message    = "LEEF:" version "|" vendor "|" product "|" version "|" event-id "|" [ delimiter "|" ] attributes
//! delimiter  = [ character / ("x" / "0x") 1*4HEXDIG / "\t" ]    ; LEEF 2.0 only; absent or empty: a tab
//! attributes = [ pair *( delimiter pair ) ]
//! pair       = key "=" value
//! ```
//!
//! Source: IBM Security `QRadar` Log Event Extended Format (LEEF) guide, versions 1 and 2. The delimiter field of 2.0 is
//! left out by several senders, and the guide's own table calls the tab its default; so that counts as strict.
//!
//! # What devices and relays make of it
//!
//! A tab is lost easily: rsyslog writes `#011` for it, consoles and copies write blanks. When the delimiter that the
//! header names separates no pairs, the first thing that does takes its place: a tab, `#011`, blanks, `|` or `^`. A text
//! with as much as one proper delimiter before a key is read with that one alone, so its values may hold anything else.
//! A blank behind `LEEF:`, a missing last `|` of the header and missing fields are taken as well.

use super::Form;
use super::cef;
use super::escape::{Escape, Raw};
use super::pairs::{self, Bound};
use super::scan;
use std::ops::ControlFlow;

/// The fields of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeefHeader<'m> {
    /// Version of the format: `1.0` or `2.0`.
    pub version: Raw<'m>,
    /// Device vendor.
    pub vendor: Raw<'m>,
    /// Device product.
    pub product: Raw<'m>,
    /// Version of the device's software.
    pub device_version: Raw<'m>,
    /// Kind of event.
    pub event_id: Raw<'m>,
    /// Whether header and delimiter are as the guide says.
    pub form: Form,
}

/// What separates the attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delimiter {
    /// This byte.
    Byte(u8),
    /// A control character as rsyslog writes it: `#011`, `#012` or `#015`, before a key.
    Escaped,
    /// Blanks before a key.
    Blanks,
}

/// Reads the header of a text that starts with `LEEF:`.
///
/// Gives the header, the attributes, and what separates those. `None` if the text does not start so, or ends before the
/// `|` behind the product. Fields that are missing are empty.
pub fn header(text: &[u8]) -> Option<(LeefHeader<'_>, &[u8], Delimiter)> {
    let rest = text.strip_prefix(b"LEEF:")?;
    let (version, rest) = field(rest)?;
    let (vendor, rest) = field(rest)?;
    let (product, rest) = field(rest)?;
    let is_second = scan::trim(version).first() == Some(&b'2');
    let (device_version, event_id, rest, complete) = end_of_header(rest);
    let (declared, attributes, known) = declared_delimiter(rest, is_second);
    let (delimiter, found) = used_delimiter(attributes, declared);
    let clean = !version.first().is_some_and(|&byte| scan::is_blank(byte)) && complete && known && found;
    let raw = |bytes| Raw { bytes: scan::trim(bytes), escape: Escape::CefHeader };
    let header = LeefHeader {
        version: raw(version),
        vendor: raw(vendor),
        product: raw(product),
        device_version: raw(device_version),
        event_id: raw(event_id),
        form: if clean { Form::Strict } else { Form::Recovered },
    };
    Some((header, attributes, delimiter))
}

/// A header field, and what stands behind its `|`.
fn field(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = cef::unescaped_pipe(text, 0).0;
    Some((text.get(..end)?, text.get(end.wrapping_add(1)..)?))
}

/// The last two fields, what stands behind them, and whether they are there as they should be.
fn end_of_header(text: &[u8]) -> (&[u8], &[u8], &[u8], bool) {
    let holds_pair = |bytes: &[u8]| pairs::first_key(bytes, 0, |_| true).is_some();
    if let Some((version, rest)) = field(text)
        && let Some((id, rest)) = field(rest)
        && !holds_pair(version)
        && !holds_pair(id)
    {
        return (version, id, rest, true);
    }
    // A field or the last `|` is missing: the first pair ends the header.
    let (end, start) =
        pairs::first_key(text, 0, |_| true).map_or((text.len(), text.len()), |(k, _)| (k.end_before, k.start));
    let fields = text.get(..end).unwrap_or_default();
    let (version, id) = field(fields).unwrap_or((fields, &[]));
    (version, id, text.get(start..).unwrap_or_default(), false)
}

/// The delimiter that the header names, the text behind that field, and whether it makes sense.
fn declared_delimiter(text: &[u8], is_second: bool) -> (u8, &[u8], bool) {
    const TAB: u8 = b'\t';
    let Some((field, rest)) = field(text) else { return (TAB, text, true) };
    let named = match scan::trim_end(field) {
        [] if field.is_empty() || field == b"\t" => Some(TAB),
        [b'\\', b't'] => Some(TAB),
        [byte] if !pairs::is_key_byte(*byte) && *byte != b'=' => Some(*byte),
        [b'x' | b'X', digits @ ..] | [b'0', b'x' | b'X', digits @ ..] => hex(digits),
        _ => None,
    };
    match named {
        // In 1.0 there is no such field; what looks like one is an empty field or a delimiter all the same.
        Some(byte) => (byte, rest, is_second),
        None if is_second && !field.contains(&b'=') => (TAB, rest, false),
        None => (TAB, text, true),
    }
}

/// The byte of up to four hexadecimal digits.
fn hex(digits: &[u8]) -> Option<u8> {
    if digits.is_empty() || digits.len() > 4 {
        return None;
    }
    let number = digits.iter().try_fold(0_u32, |sum, &byte| Some(sum << 4 | char::from(byte).to_digit(16)?))?;
    u8::try_from(number).ok()
}

/// What really separates the attributes, and whether it is what should.
fn used_delimiter(text: &[u8], declared: u8) -> (Delimiter, bool) {
    let mut at = scan::find_byte(text, 0, declared);
    while at < text.len() {
        let start = at.wrapping_add(1);
        let rest = text.get(start..).unwrap_or_default();
        let key = rest.iter().take_while(|&&byte| pairs::is_key_byte(byte)).count();
        let end = start.wrapping_add(key);
        if key > 0 && text.get(end) == Some(&b'=') {
            return (Delimiter::Byte(declared), true);
        }
        at = scan::find_byte(text, end, declared);
    }
    let mut first = true;
    let other = pairs::first_key(text, 0, |_| !std::mem::take(&mut first));
    match other.map(|(key, _)| key.bound) {
        Some(Bound::Blank(b'\t')) => (Delimiter::Byte(b'\t'), false),
        Some(Bound::Blank(_)) => (Delimiter::Blanks, false),
        Some(Bound::Escaped) => (Delimiter::Escaped, false),
        Some(Bound::Mark(byte)) => (Delimiter::Byte(byte), false),
        Some(Bound::Start) | None => (Delimiter::Byte(declared), true),
    }
}

/// Hands every attribute to `sink`, in order, until it breaks off.
///
/// Keys are never empty; values may be, and have no blanks around them. What has no `=` is left out.
#[inline]
pub fn attributes<'m>(
    text: &'m [u8],
    delimiter: Delimiter,
    mut sink: impl FnMut(&'m [u8], Raw<'m>) -> ControlFlow<()>,
) {
    let delimiter = match delimiter {
        Delimiter::Byte(byte) => byte,
        Delimiter::Escaped => return pairs::between(text, Bound::Escaped, Escape::Leef, &mut sink),
        Delimiter::Blanks => {
            let _ = pairs::between_blanks(text, Escape::Leef, &mut sink);
            return;
        }
    };
    let text = pairs::trim_end(text).0;
    let mut at = 0_usize;
    while at < text.len() {
        let start = at;
        let equals = scan::find(
            text,
            start,
            |word| scan::equal(word, b'=') | scan::equal(word, delimiter),
            |byte| byte == b'=' || byte == delimiter,
        );
        at = equals.wrapping_add(1);
        if text.get(equals) != Some(&b'=') || delimiter == b'=' {
            continue;
        }
        let end = scan::find_byte(text, at, delimiter);
        let key = scan::trim(text.get(start..equals).unwrap_or_default());
        let value = scan::trim(text.get(at..end).unwrap_or_default());
        at = end.wrapping_add(1);
        if !key.is_empty() && sink(key, Raw { bytes: value, escape: Escape::Leef }).is_break() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::unescape;
    use super::*;

    const TAB: Delimiter = Delimiter::Byte(b'\t');

    /// Vendor, product, version and id; what separates; and the attributes.
    #[track_caller]
    fn check(text: &str, form: Form, fields: [&str; 4], delimiter: Delimiter, wanted: &[(&str, &str)]) {
        let (header, rest, found) = header(text.as_bytes()).unwrap();
        let string = |raw| String::from_utf8(unescape(raw).into_owned()).unwrap();
        let LeefHeader { vendor, product, device_version, event_id, .. } = header;
        assert_eq!([vendor, product, device_version, event_id].map(string), fields.map(str::to_owned), "{text}");
        assert_eq!((header.form, found), (form, delimiter), "{text}");
        let mut pairs = Vec::new();
        attributes(rest, found, |key, raw| {
            pairs.push((String::from_utf8(key.to_vec()).unwrap(), string(raw)));
            ControlFlow::Continue(())
        });
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(pairs, wanted, "{text}");
    }

    const FIELDS: [&str; 4] = ["v", "p", "1", "id"];

    #[test]
    fn version_one_is_separated_by_tabs() {
        let wanted = [("src", "192.0.2.1"), ("msg", "a b=c | d"), ("user", ""), ("cat", "x")];
        check("LEEF:1.0|v|p|1|id|src=192.0.2.1\tmsg=a b=c | d\tuser=\tcat=x\r\n", Form::Strict, FIELDS, TAB, &wanted);
        check("LEEF:1.0|v|p|1|id|", Form::Strict, FIELDS, TAB, &[]);
        check("LEEF:1.0|v|p|1|id|a=1", Form::Strict, FIELDS, TAB, &[("a", "1")]);
        check(
            "LEEF:1.0|v|p|1|id|a=1\tfile name=C:\\new\tb=x\\=y",
            Form::Strict,
            FIELDS,
            TAB,
            &[("a", "1"), ("file name", "C:\\new"), ("b", "x=y")],
        );
        check("LEEF:1.0|v|p|1\t|id|a=1\tjunk\t=2\tb=3", Form::Strict, FIELDS, TAB, &[("a", "1"), ("b", "3")]);
    }

    #[test]
    fn version_two_names_its_delimiter() {
        let wanted = [("src", "192.0.2.1"), ("msg", "a b\tc=d")];
        for (named, byte) in [("^", b'^'), ("x5E", b'^'), ("0x5e", b'^'), ("0x005E", b'^'), (";", b';'), ("x7c", b'|')]
        {
            let text = format!("LEEF:2.0|v|p|1|id|{named}|src=192.0.2.1{}msg=a b\tc=d", char::from(byte));
            check(&text, Form::Strict, FIELDS, Delimiter::Byte(byte), &wanted);
        }
        for named in ["|", "x09|", "0x9|", r"\t|", "\t|", ""] {
            let text = format!("LEEF:2.0|v|p|1|id|{named}src=192.0.2.1\tmsg=a ^b");
            check(&text, Form::Strict, FIELDS, TAB, &[("src", "192.0.2.1"), ("msg", "a ^b")]);
        }
        check("LEEF:2.0|v|p|1|id|a=1\tb=|\tc=2", Form::Strict, FIELDS, TAB, &[("a", "1"), ("b", "|"), ("c", "2")]);
        check("LEEF:2.0|v|p|1|id|tab|a=1\tb=2", Form::Recovered, FIELDS, TAB, &[("a", "1"), ("b", "2")]);
        check("LEEF:2.0|v|p|1|id|xZZ|a=1\tb=2", Form::Recovered, FIELDS, TAB, &[("a", "1"), ("b", "2")]);
    }

    #[test]
    fn another_delimiter_than_the_header_names() {
        let wanted = [("src", "192.0.2.1"), ("msg", "two words"), ("dst", "198.51.100.1")];
        let cases = [
            ("|src=192.0.2.1#011msg=two words#011dst=198.51.100.1#015#012", Delimiter::Escaped),
            ("|src=192.0.2.1 msg=two words  dst=198.51.100.1 #012", Delimiter::Blanks),
            ("|src=192.0.2.1|msg=two words|dst=198.51.100.1", Delimiter::Byte(b'|')),
            ("|src=192.0.2.1^msg=two words^dst=198.51.100.1", Delimiter::Byte(b'^')),
            ("|^|src=192.0.2.1^msg=two words^dst=198.51.100.1", Delimiter::Byte(b'^')),
            (" src=192.0.2.1 msg=two words dst=198.51.100.1", Delimiter::Blanks),
            ("\tsrc=192.0.2.1\tmsg=two words\tdst=198.51.100.1", TAB),
            ("#011src=192.0.2.1#011msg=two words#011dst=198.51.100.1", Delimiter::Escaped),
        ];
        for (rest, delimiter) in cases {
            check(&format!("LEEF:1.0|v|p|1|id{rest}"), Form::Recovered, FIELDS, delimiter, &wanted);
        }
        check(
            "LEEF:2.0|v|p|1|id|^|src=192.0.2.1\tmsg=two words\tdst=198.51.100.1",
            Form::Recovered,
            FIELDS,
            TAB,
            &wanted,
        );
    }

    #[test]
    fn headers_with_less_than_they_should_have() {
        let wanted = [("src", "192.0.2.1"), ("url", "a|b")];
        check("LEEF: 1.0|v|p|1|id|src=192.0.2.1\turl=a|b", Form::Recovered, FIELDS, TAB, &wanted);
        check("LEEF:1.0|v|p|1|id\tsrc=192.0.2.1\turl=a|b", Form::Recovered, FIELDS, TAB, &wanted);
        check("LEEF:1.0|v|p|1|src=192.0.2.1\turl=a|b", Form::Recovered, ["v", "p", "1", ""], TAB, &wanted);
        check("LEEF:1.0|v|p|src=192.0.2.1\turl=a|b", Form::Recovered, ["v", "p", "", ""], TAB, &wanted);
        check("LEEF:1.0|v|p|1|id", Form::Recovered, FIELDS, TAB, &[]);
        check("LEEF:1.0|v|p|", Form::Recovered, ["v", "p", "", ""], TAB, &[]);
        for text in ["", "LEEF:", "LEEF:1.0|v", "LEEF:1.0|v|p", "leef:1.0|v|p|1|id|", " LEEF:1.0|v|p|1|id|"] {
            assert_eq!(header(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn nobody_smuggles_an_attribute() {
        let text = "LEEF:1.0|v|p|1|id|msg=x src=203.0.113.9#011src=203.0.113.9|src=203.0.113.9\tsrc=192.0.2.1";
        let wanted = [("msg", "x src=203.0.113.9#011src=203.0.113.9|src=203.0.113.9"), ("src", "192.0.2.1")];
        check(text, Form::Strict, FIELDS, TAB, &wanted);
    }

    #[test]
    fn a_break_ends_it() {
        for delimiter in [TAB, Delimiter::Blanks, Delimiter::Escaped] {
            let mut seen = 0;
            let text: &[u8] = if delimiter == Delimiter::Escaped { b"a=1#011b=2#011c=3" } else { b"a=1\tb=2\tc=3" };
            attributes(text, delimiter, |key, _| {
                seen += 1;
                if key == b"b" { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            assert_eq!(seen, 2);
        }
    }
}
