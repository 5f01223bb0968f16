//! Meraki: epoch seconds in place of a stamp, after a version or not.
//!
//! ```text
//! header  = ["1" SP] epoch SP hostname SP content        ; the version is that of RFC 5424, nothing else is
//! content = type SP text                                 ; flows, events, security_event; the type is the tag
//! ```

use super::rfc3164::{self, HOSTNAME, HOSTNAME_BYTES, Tags};
use super::scan::{at_blank, skip_blanks, take_while};
use super::{Dialect, Header, stamp};

/// Read the header at the start of the text; `false` if there is none.
///
/// What the header holds already (from a relay) stays.
pub(super) fn read<'m>(header: &mut Header<'m>, text: &'m [u8]) -> bool {
    let Some((timestamp, rest)) = stamp::epoch(text.strip_prefix(b"1 ").unwrap_or(text)) else { return false };
    let (hostname, rest) = take_while(skip_blanks(rest), HOSTNAME_BYTES, |byte| HOSTNAME.has(byte));
    let content = skip_blanks(rest);
    // Squid's access log starts with the same stamp, but a number and an address follow.
    if !at_blank(rest)
        || hostname.iter().all(u8::is_ascii_digit)
        || !content.first().is_some_and(u8::is_ascii_alphabetic)
    {
        return false;
    }
    if header.timestamp.is_empty() {
        header.timestamp = timestamp;
    }
    if header.hostname.is_empty() {
        header.hostname = hostname;
    }
    header.start_content(content);
    rfc3164::take_tag(header, Tags::Loose);
    header.dialect = Dialect::Meraki;
    true
}
