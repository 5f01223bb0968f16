//! RFC 3164 (BSD syslog) as it is really sent.
//!
//! ```text
//! header  = stamp *(":" / SP) [hostname [*SP ":"] SP] content
//! content = [name ["[" procid "]"] ":"] message                 ; the TAG is a tag only if the colon is there
//! ```
//!
//! A hostname is a word of letters, digits, `.`, `-`, `_` and `:` (IPv6). So the body is not taken for one when a
//! device leaves the hostname out: `date=...`, `CEF:0|...` and `1,2026/...` hold other bytes. A word that ends with a
//! colon is a tag (`filterlog: ...`), unless Cisco's `%` follows.

use super::cisco;
use super::scan::{at_blank, skip_blanks, take_while};
use super::stamp::{self, Zones};
use super::{Dialect, Header};

/// Longest hostname (RFC 5424 section 6.2.4 and RFC 1035), bytes.
const HOSTNAME_BYTES: usize = 255;

/// Longest tag that is looked for, bytes; the 32 of RFC 3164 section 4.1.3 are not kept by anybody.
const TAG_BYTES: usize = 128;

/// Read the header at the start of the text; `false` if it does not start with a stamp.
pub(super) fn read<'m>(header: &mut Header<'m>, text: &'m [u8]) -> bool {
    let Some((timestamp, rest)) = stamp::read(text, Zones::Known) else { return false };
    header.timestamp = timestamp;
    after_stamp(header, rest);
    true
}

/// Read what follows the stamp.
pub(super) fn after_stamp<'m>(header: &mut Header<'m>, text: &'m [u8]) {
    let rest = past_colon(text);
    header.dialect = Dialect::Rfc3164;
    header.start_content(rest);
    if let [b'%', ..] = rest {
        cisco::take_tag(header);
        return;
    }
    let (word, after) = take_while(rest, HOSTNAME_BYTES, is_hostname_byte);
    if word.is_empty() || !at_blank(after) {
        take_tag(header);
        return;
    }
    if let [name @ .., b':'] = word
        && !name.ends_with(b":")
    {
        // `host: %ASA-6-...` names the device; any other word with a colon is the tag.
        let content = skip_blanks(after);
        if let [b'%', ..] = content {
            header.start_content(content);
            if cisco::take_tag(header) {
                header.hostname = name;
                return;
            }
            header.start_content(rest);
        }
        take_tag(header);
        return;
    }
    header.hostname = word;
    let rest = past_colon(after);
    header.start_content(rest);
    let known = match rest {
        [b'%', ..] => cisco::take_tag(header),
        // A relay's header before the device's own: `host 123: Nov 22 ...: %SYS-5-...`.
        [b'0'..=b'9' | b'*' | b'.', ..] | [b'A'..=b'Z', _, _, b' ', ..] => cisco::read(header, rest),
        _ => false,
    };
    if !known {
        take_tag(header);
    }
}

/// Take the tag from the start of the content, if there is one.
pub(super) fn take_tag(header: &mut Header<'_>) {
    let (name, rest) = take_while(header.content, TAG_BYTES, is_tag_byte);
    if !name.first().is_some_and(u8::is_ascii_alphanumeric) {
        return;
    }
    match rest {
        [b'[', after @ ..] => {
            let (procid, rest) = take_while(after, TAG_BYTES, |byte| !matches!(byte, b']' | b' '));
            if let [b']', b':', rest @ ..] = rest {
                header.appname = name;
                header.procid = procid;
                header.message = skip_blanks(rest);
            }
        }
        [b':', rest @ ..] if at_blank(rest) => {
            header.appname = name;
            header.message = skip_blanks(rest);
        }
        _ => {}
    }
}

/// Over blanks, and one colon among them.
fn past_colon(text: &[u8]) -> &[u8] {
    match skip_blanks(text) {
        [b':', after @ ..] => skip_blanks(after),
        rest => rest,
    }
}

fn is_hostname_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':')
}

fn is_tag_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/' | b'(' | b')' | b'#' | b'@' | b'+')
}
