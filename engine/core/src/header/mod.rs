//! Who says what: the header of one syslog message, in the dialects that network devices speak.
//!
//! ```text
//! message = [BOM] *blank [PRI] *blank [":"] *blank header [BOM] content *(LF / CR / NUL)
//! header  = rfc5424                                      ; VERSION SP and a time stamp or "-"
//!         / stamp [":"] [hostname [[SP] ":"]] [cisco / meraki]
//!                                                        ; RFC 3164; the device's own header may follow a relay's
//!         / cisco                                        ; sequence numbers, hostname, stamp before %FACILITY-n-NAME
//!         / meraki                                       ; epoch seconds
//!         / ""                                           ; the content comes at once: date=, CEF:0|, 1,2026/, {
//! ```
//!
//! Reading never fails: what is not recognised stays in the content, and a field that is not there is empty.
//! No clock and no guessing: the time stamp is handed over as it was sent, and [`stamp::time_ns`] makes a time of it.
//! Bytes are bytes: text may be UTF-8, Latin-1 or anything else, and NULs and line breaks inside it are part of it.
//!
//! # Advice for hackers
//!
//! [`read`] runs on every message, so it decides on the first byte and goes forward once. A new dialect is a file
//! with a function that gives up within a few bytes without having touched the header, and a line in `body`. Headers
//! are filled in place, since moving one costs as much as reading it. `content` is where profiles look for their
//! literals; a dialect must not eat anything that a profile may ask for.

mod cisco;
mod meraki;
mod rfc3164;
mod rfc5424;
mod scan;
pub mod stamp;
mod time;
mod zone;

/// How the header was written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// No header but perhaps a PRI and a tag.
    #[default]
    Plain,
    /// RFC 5424, or so close to it that only it can be meant.
    Rfc5424,
    /// RFC 3164 (BSD): a time stamp, often a hostname and a tag. Stamps of RFC 3339 count as well.
    Rfc3164,
    /// Any header before a `%FACILITY-SEVERITY-MNEMONIC` of Cisco.
    Cisco,
    /// Epoch seconds, hostname and type of event.
    Meraki,
}

/// The parts of one message, borrowed from it; an empty slice is an absent part.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Header<'m> {
    /// 0 to 23, from PRI; never invented.
    pub facility: Option<u8>,
    /// 0 to 7, from PRI; never invented.
    pub severity: Option<u8>,
    /// As sent, with year, fraction and zone if they were there, without Cisco's `*` and `.` marks.
    pub timestamp: &'m [u8],
    /// Name or address of the sender according to the header.
    pub hostname: &'m [u8],
    /// APP-NAME, the name in the TAG, or Cisco's `%FACILITY-SEVERITY-MNEMONIC`.
    pub appname: &'m [u8],
    /// PROCID, or what stands in the brackets of the TAG.
    pub procid: &'m [u8],
    /// MSGID of RFC 5424.
    pub msgid: &'m [u8],
    /// All SD-ELEMENTs of RFC 5424 with their brackets and escapes, also behind a tag of RFC 3164; Check Point's
    /// `[name:"value"; ...]`.
    pub structured_data: &'m [u8],
    /// What is left after tag, structured data and byte order mark. Behind Cisco's own prefixes the
    /// `%FACILITY-SEVERITY-MNEMONIC` is part of it.
    pub message: &'m [u8],
    /// What profiles look at: `message` with the tag (and Check Point's structured data) before it; the same as
    /// `message` in RFC 5424.
    pub content: &'m [u8],
    /// How the header was written.
    pub dialect: Dialect,
    /// RFC 3164: what follows the hostname. RFC 5424: from MSGID on, or from the structured data if there is no MSGID.
    behind: &'m [u8],
}

impl<'m> Header<'m> {
    /// Where else the data may start, for profiles that know nothing of what stands at `content`; a tail of the message.
    ///
    /// * Structured data of RFC 5424: from MSGID on, as Junos says there which message it is
    ///   (`RT_FLOW_SESSION_CREATE [junos@...]`), or from its bracket if MSGID is nil.
    /// * A second header behind the first one, known by its PRI: the content after that. It comes from somebody whose
    ///   word about the device is not to be trusted, so nothing else of it is shown; [`read_relayed`] shows it.
    /// * A tag: what follows it (`app: CEF:0|...`).
    pub fn inner_content(&self) -> Option<&'m [u8]> {
        if self.dialect == Dialect::Rfc5424 && !self.structured_data.is_empty() {
            return Some(self.behind);
        }
        if let [b'<', ..] = self.message {
            let inner = read(self.message);
            if inner.severity.is_some() {
                return Some(inner.content);
            }
        }
        (self.message.len() < self.content.len()).then_some(self.message)
    }

    /// This header, with what it does not say of its sender as `outer` says it: the header of the device behind a relay.
    #[must_use]
    pub fn or_else_by(self, outer: &Self) -> Self {
        let either = |own: &'m [u8], other: &'m [u8]| if own.is_empty() { other } else { own };
        Self {
            facility: self.facility.or(outer.facility),
            severity: self.severity.or(outer.severity),
            timestamp: either(self.timestamp, outer.timestamp),
            hostname: either(self.hostname, outer.hostname),
            ..self
        }
    }

    /// The content starts here; so does the message, until a tag is found.
    fn start_content(&mut self, text: &'m [u8]) {
        let text = scan::without_bom(text);
        self.content = text;
        self.message = text;
    }
}

/// Highest PRI: facility 23, severity 7 (RFC 5424 section 6.2.1).
const PRI_MAX: u8 = 191;

/// Read the header of one message (a datagram, or a frame of a stream).
///
/// Line ends and NULs at the end are no part of the message. If the message starts with `<` but with no valid PRI,
/// all of it is the message.
pub fn read(message: &[u8]) -> Header<'_> {
    let text = scan::skip_blanks(scan::without_bom(scan::without_line_end(message)));
    let mut header = Header::default();
    if let [b'<', after @ ..] = text {
        if let Some((pri, rest)) = pri(after) {
            header.facility = Some(pri >> 3);
            header.severity = Some(pri & 7);
            body(&mut header, scan::skip_blanks(rest));
        } else {
            header.start_content(text);
        }
    } else {
        body(&mut header, text);
    }
    header
}

/// Read a message that may have come through a relay: the outer header as [`read`] gives it, and the header that the
/// relay found in front of the message, if it has left one there.
///
/// Only for peers that are configured as relays: anybody else could put another device's name into the inner header. The
/// inner header counts if it has a PRI, is of RFC 5424 or Meraki, of Cisco with a stamp or hostname, or starts with a stamp of RFC 3164 (a date of
/// `2026-11-22 10:00:00` alone is more often the text's own). A field that the inner one lacks (Cisco's has a hostname
/// only by `logging origin-id`) is the outer one's. Without an inner header the relay has passed on the device's own.
pub fn read_relayed(message: &[u8]) -> (Header<'_>, Option<Header<'_>>) {
    let outer = read(message);
    let carried = match outer.dialect {
        Dialect::Rfc3164 | Dialect::Cisco | Dialect::Meraki if !outer.behind.is_empty() => outer.behind,
        _ => outer.content,
    };
    let tagged: &[u8] = if matches!(outer.message, [b'<', ..]) { outer.message } else { &[] };
    let inner = [carried, tagged].into_iter().filter(|text| !text.is_empty()).map(read).find(|inner| {
        inner.severity.is_some()
            || match inner.dialect {
                Dialect::Plain => false,
                Dialect::Rfc3164 => !matches!(inner.timestamp, [_, _, _, _, b'-', _, _, b'-', _, _, b' ', ..]),
                Dialect::Cisco => !inner.timestamp.is_empty() || !inner.hostname.is_empty(),
                Dialect::Rfc5424 | Dialect::Meraki => true,
            }
    });
    (outer, inner)
}

fn body<'m>(header: &mut Header<'m>, text: &'m [u8]) {
    // `<166>:Nov 22 ...` (ASA in EMBLEM format) and `<189>: 2026 Nov 22 ...` (NX-OS).
    let rest = match text {
        [b':', after @ ..] => scan::skip_blanks(after),
        _ => text,
    };
    header.start_content(rest);
    let known = match rest {
        // The first columns of a CSV body.
        [b'0'..=b'9', b',', ..] => return,
        [b'0'..=b'9', ..] => {
            rfc5424::read(header, rest)
                || rfc3164::read(header, rest)
                || meraki::read(header, rest)
                || cisco::read(header, rest)
        }
        [b'A'..=b'Z' | b'a'..=b'z', ..] => rfc3164::read(header, rest) || cisco::read(header, rest),
        [b'%' | b'*' | b'.', ..] => cisco::read(header, rest),
        _ => false,
    };
    if !known {
        rfc3164::take_tag(header, rfc3164::Tags::Marked);
    }
}

/// `PRIVAL ">"`: one to three digits, at most 191.
fn pri(text: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, rest) = match text {
        [a, b'>', rest @ ..] => ([b'0', b'0', *a], rest),
        [a, b, b'>', rest @ ..] => ([b'0', *a, *b], rest),
        [a, b, c, b'>', rest @ ..] => ([*a, *b, *c], rest),
        _ => return None,
    };
    let mut value = 0_u8;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(digit.wrapping_sub(b'0'))?;
    }
    (value <= PRI_MAX).then_some((value, rest))
}

#[cfg(test)]
mod tests;
