//! RFC 5424, section 6:
//!
//! ```text
//! header = VERSION SP (TIMESTAMP / "-") SP HOSTNAME SP APP-NAME SP PROCID SP MSGID SP
//! SD     = "-" / 1*("[" SD-ID *(SP SD-PARAM) "]")
//! MSG    = [BOM] text
//! ```
//!
//! Where devices deviate: stamps without zone are taken; a header that breaks off (`1 STAMP host CEF:0|...`, or no
//! structured data at all) ends where the content starts; `[` that starts no SD-ELEMENT (Check Point's
//! `[action:"Accept"; ...]`) is content. A hostname that ends with a colon or a bracket is a tag: old Junos writes
//! `1 STAMP rpd[1341]: text`, which is RFC 3164 after a version.

use super::scan::{at_blank, before, cut, skip_blanks};
use super::stamp::{self, Zones};
use super::{Dialect, Header, rfc3164};
use memchr::memchr2;

/// Read the header at the start of the text; `false` if there is none.
pub(super) fn read<'m>(header: &mut Header<'m>, text: &'m [u8]) -> bool {
    let Some((timestamp, rest)) = start(text) else { return false };
    header.timestamp = timestamp;
    let (hostname, after_hostname) = field(rest);
    if let [.., b':' | b']'] = hostname
        && !hostname.ends_with(b"::")
    {
        rfc3164::after_stamp(header, rest);
        return true;
    }
    header.dialect = Dialect::Rfc5424;
    header.hostname = hostname;
    let rest;
    (header.appname, rest) = field(after_hostname);
    let (procid, rest) = field(rest);
    header.procid = procid;
    let (msgid, rest) = field(rest);
    header.msgid = msgid;
    let (structured_data, rest) = structured_data(rest);
    header.structured_data = structured_data;
    let rest = skip_blanks(rest);
    header.start_content(rest.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(rest));
    true
}

/// Version and time stamp, and what follows their space.
fn start(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let ([b'1'..=b'9', b' ', rest @ ..]
    | [b'1'..=b'9', b'0'..=b'9', b' ', rest @ ..]
    | [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9', b' ', rest @ ..]) = text
    else {
        return None;
    };
    let (timestamp, rest) = match rest {
        [b'-', after @ ..] => (&[][..], after),
        [_, _, _, _, b'-', ..] => stamp::read(rest, Zones::Known)?,
        _ => return None,
    };
    Some((timestamp, rest.strip_prefix(b" ")?))
}

/// One field and what follows its space; nothing is taken where the content has already started.
fn field(text: &[u8]) -> (&[u8], &[u8]) {
    if starts_content(text) {
        return (&[], text);
    }
    let end = text.iter().position(|&byte| byte == b' ').unwrap_or(text.len());
    let (value, rest) = cut(text, end);
    let rest = rest.get(1..).unwrap_or_default();
    (if value == b"-" { &[] } else { value }, rest)
}

/// Whether text stands here that no header field holds, but whose place devices confuse with one.
fn starts_content(text: &[u8]) -> bool {
    match text {
        [b'{' | b'[', ..] => true,
        [b'C', ..] => text.starts_with(b"CEF:"),
        [b'L', ..] => text.starts_with(b"LEEF:"),
        _ => false,
    }
}

/// The structured data without its nil value, and what follows it.
fn structured_data(text: &[u8]) -> (&[u8], &[u8]) {
    let nothing: &[u8] = &[];
    match text {
        [b'-', rest @ ..] if at_blank(rest) => (nothing, rest),
        [b'[', ..] => {
            let mut rest = text;
            while let [b'[', after @ ..] = rest {
                match element(after) {
                    Some(after) => rest = after,
                    // Nothing of it is structured data if an element is broken: half of it would be worse.
                    None => return (nothing, text),
                }
            }
            (before(text, rest), rest)
        }
        _ => (nothing, text),
    }
}

/// From after the opening bracket to after the closing one.
///
/// Inside quotes `\"`, `\\` and `\]` are escaped; a bracket that is not escaped there is taken as text (RFC 5424
/// section 6.3.3 forbids it, and devices send it).
fn element(text: &[u8]) -> Option<&[u8]> {
    // SD-NAME: printable ASCII except "=", SP, "]" and quotes.
    let id_end = text.iter().position(|&byte| !matches!(byte, 33..=126) || matches!(byte, b'=' | b']' | b'"'))?;
    let (id, mut rest) = cut(text, id_end);
    if id.is_empty() || !matches!(rest, [b' ' | b']', ..]) {
        return None;
    }
    loop {
        let next = rest.iter().position(|byte| matches!(byte, b'"' | b']'))?;
        match rest.get(next..)? {
            [b']', after @ ..] => return Some(after),
            [_, after @ ..] => rest = closing_quote(after)?,
            [] => return None,
        }
    }
}

/// What follows the next quote that is not escaped.
fn closing_quote(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text;
    loop {
        let next = memchr2(b'"', b'\\', rest)?;
        match rest.get(next..)? {
            [b'"', after @ ..] => return Some(after),
            [b'\\', _, after @ ..] => rest = after,
            _ => return None,
        }
    }
}
