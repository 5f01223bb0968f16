//! RFC 5424, section 6:
//!
//! ```text
//! header = VERSION SP (TIMESTAMP / "-") SP HOSTNAME SP APP-NAME SP PROCID SP MSGID SP
//! SD     = "-" / 1*("[" SD-ID *(SP SD-PARAM) "]")
//! MSG    = [BOM] text
//! ```
//!
//! Where devices deviate: stamps without zone are taken; a header that breaks off (`1 STAMP host CEF:0|...`, or no
//! structured data at all) ends where the content starts; `[` that starts no SD-ELEMENT is content. Check Point's
//! `[action:"Accept"; ...]` is both: structured data, and content since it is all that there is. A hostname that ends
//! with a colon or a bracket is a tag: old Junos writes `1 STAMP rpd[1341]: text`, which is RFC 3164 after a version; so
//! is `1 Nov 22 ...`.

use super::scan::{at_blank, before, cut, skip_blanks, take_while, without_bom};
use super::stamp::{self, Zones};
use super::{Dialect, Header, rfc3164};
use memchr::memchr2;

/// Read the header at the start of the text; `false` if there is none.
pub(super) fn read<'m>(header: &mut Header<'m>, text: &'m [u8]) -> bool {
    let Some((timestamp, rest)) = start(text) else { return false };
    header.timestamp = timestamp;
    let (hostname, after_hostname) = field(rest);
    let is_tag = matches!(hostname, [.., b':' | b']']) && !hostname.ends_with(b"::");
    if is_tag || matches!(timestamp, [b'A'..=b'Z' | b'a'..=b'z', ..]) {
        rfc3164::after_stamp(header, rest);
        return true;
    }
    header.dialect = Dialect::Rfc5424;
    header.hostname = hostname;
    if !matches!(after_hostname, [b'[', ..]) && starts_content(after_hostname) {
        header.start_content(after_hostname);
        return true;
    }
    let rest;
    (header.appname, rest) = field(after_hostname);
    let (procid, rest) = field(rest);
    header.procid = procid;
    let from_msgid = rest;
    let (msgid, from_data) = field(rest);
    header.msgid = msgid;
    let (structured_data, rest) = structured_data(from_data);
    header.structured_data = structured_data;
    header.start_content(skip_blanks(rest));
    header.behind = if msgid.is_empty() { from_data } else { from_msgid };
    if structured_data.is_empty()
        && let [b'[', ..] = rest
        && let Some(after) = element(rest.get(1..).unwrap_or_default(), b':')
    {
        header.structured_data = before(rest, after);
        header.message = without_bom(skip_blanks(after));
    }
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
        [_, _, _, _, b'-', ..] | [b'A'..=b'Z' | b'a'..=b'z', ..] => stamp::read(rest, Zones::Known)?,
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
                match element(after, b' ') {
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

/// Structured data that cannot be meant as text, in a message of RFC 3164: each element has a parameter. And what
/// follows it.
#[cold]
pub(super) fn params(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (data, rest) = structured_data(text);
    let (_, param) = take_while(data, data.len(), |byte| byte != b' ');
    let (_, value) = take_while(skip_blanks(param), data.len(), |byte| matches!(byte, b'!'..=b'~') && byte != b'=');
    value.starts_with(b"=\"").then_some((data, rest))
}

/// From after the opening bracket to after the closing one; `after_id` is what stands behind the first name: SP, or the
/// colon of Check Point, which has parameters (`name:"value";`) and no SD-ID.
///
/// Inside quotes `\"`, `\\` and `\]` are escaped; a bracket that is not escaped there is taken as text (RFC 5424
/// section 6.3.3 forbids it, and devices send it).
fn element(text: &[u8], after_id: u8) -> Option<&[u8]> {
    // SD-NAME: printable ASCII except "=", SP, "]" and quotes.
    let id_end = text
        .iter()
        .position(|&byte| !matches!(byte, 33..=126) || matches!(byte, b'=' | b']' | b'"') || byte == after_id)?;
    let (id, mut rest) = cut(text, id_end);
    let known = match rest {
        [b']' | b' ', ..] => after_id == b' ',
        [b':', b'"', ..] => after_id == b':',
        _ => false,
    };
    if id.is_empty() || !known {
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
