//! Cisco's prefixes: IOS, IOS XE, IOS XR, NX-OS, ASA, PIX, FWSM.
//!
//! ```text
//! message  = *(piece) "%" facility "-" severity "-" mnemonic [SP] (":" / SP) text
//! piece    = sequence ":" / hostname ":" / ["*" / "."] stamp ":" / uptime ":"      ; "*": clock not set, ".": not in step
//!          / node ":" / hostname SP node ":" / module SP slot ":"                  ; RP/0/RP0/CPU0 of XR; CLC 6/0
//!          / process "[" pid "]" ":"                                               ; XR
//! ```
//!
//! Which pieces there are depends on `service sequence-numbers`, `logging origin-id`, `service timestamps` and so on, so
//! they are taken in any order. The tag stays in the message, as Cisco's manuals count it there; only behind a stamp and
//! hostname of RFC 3164 it is that RFC's TAG. Unless the `%` is reached all of it is left alone, because `word: text` is also what a
//! plain tag looks like.

use super::scan::{Class, at_blank, skip_blanks, take_while};
use super::stamp::{self, Zones};
use super::{Dialect, Header};

/// Most pieces before the `%`: sequence, hostname, node, message counter, stamp, process, and one to spare.
const PIECES: usize = 7;

/// Longest piece, bytes: a hostname.
const PIECE_BYTES: usize = 255;

/// Longest `%FACILITY-SEVERITY-MNEMONIC` that is looked for, bytes.
const TAG_BYTES: usize = 128;

/// What pieces are made of.
static PIECE: Class = Class::alphanumeric_and(b".-_:/");

/// What tags are made of.
static TAG: Class = Class::alphanumeric_and(b"%-_/.");

/// What the pieces say.
#[derive(Default)]
struct Pieces<'m> {
    timestamp: &'m [u8],
    hostname: &'m [u8],
    procid: &'m [u8],
}

/// Read the pieces at the start of the text and the tag; `false` if they do not lead to a tag.
///
/// What the header holds already (from a relay) stays.
pub(super) fn read<'m>(header: &mut Header<'m>, text: &'m [u8]) -> bool {
    let (_, end) = take_while(text, PIECE_BYTES, |byte| PIECE.has(byte));
    // The first word alone tells nearly all other formats: `date=`, `1,2026/`, `CEF:0|`.
    if !matches!(end, [b' ' | b'[', ..]) && !matches!(text, [b'%' | b'*', ..]) {
        return false;
    }
    let mut pieces = Pieces::default();
    let mut rest = text;
    for _ in 0..PIECES {
        if let [b'%', ..] = rest {
            let (content, message) = (header.content, header.message);
            header.start_content(rest);
            let found = take_tag(header);
            if found {
                header.message = header.content;
                fill(&mut header.timestamp, pieces.timestamp);
                fill(&mut header.hostname, pieces.hostname);
                fill(&mut header.procid, pieces.procid);
            } else {
                (header.content, header.message) = (content, message);
            }
            return found;
        }
        match piece(&mut pieces, rest) {
            Some(after) => rest = skip_blanks(after),
            None => return false,
        }
    }
    false
}

/// Take one piece; returns what follows its colon.
fn piece<'m>(pieces: &mut Pieces<'m>, text: &'m [u8]) -> Option<&'m [u8]> {
    let unmarked = match text {
        [b'*' | b'.', after @ ..] => after,
        _ => text,
    };
    if let Some((timestamp, rest)) = stamp::read(unmarked, Zones::AnyBeforeColon) {
        pieces.timestamp = timestamp;
        return Some(rest.strip_prefix(b":").unwrap_or(rest));
    }
    // The colon is a byte of the word, as IPv6 addresses and uptimes hold colons.
    let (word, rest) = take_while(unmarked, PIECE_BYTES, |byte| PIECE.has(byte));
    match (word, rest) {
        ([name @ .., b':'], [b' ', after @ ..]) => {
            if stamp::is_uptime(name) {
                pieces.timestamp = name;
            } else if !name.iter().all(u8::is_ascii_digit) && !name.contains(&b'/') {
                pieces.hostname = name;
            }
            Some(after)
        }
        // `RP/0/RP0/CPU0:Nov 22 ...` of XR: the stamp comes right after the node.
        (word, _) if word.contains(&b'/') => {
            let (_, rest) = take_while(unmarked, PIECE_BYTES, |byte| byte != b':');
            rest.strip_prefix(b":")
        }
        (_, [b'[', after @ ..]) => {
            let (procid, rest) = take_while(after, 16, |byte| byte.is_ascii_digit());
            pieces.procid = procid;
            rest.strip_prefix(b"]:")
        }
        ([_, ..], [b' ', after @ ..]) => beside(pieces, word, after),
        _ => None,
    }
}

/// The same for a word with no colon of its own.
fn beside<'m>(pieces: &mut Pieces<'m>, word: &'m [u8], after: &'m [u8]) -> Option<&'m [u8]> {
    let (next, end) = take_while(after, PIECE_BYTES, |byte| PIECE.has(byte) && byte != b':');
    match (next, end) {
        // `router RP/0/RSP0/CPU0:Nov 22 ...`
        ([b'A'..=b'Z', ..], [b':', ..]) if next.contains(&b'/') => {
            pieces.hostname = word;
            Some(after)
        }
        // `CLC 6/0: Nov 22 ...`
        ([b'0'..=b'9', ..], [b':', end @ ..]) if next.contains(&b'/') => Some(end),
        // `host : %ASA-6-...`, `host %ASA-6-...`
        ([], [b':', b' ', b'%', ..] | [b'%', ..]) => {
            pieces.hostname = word;
            Some(end.strip_prefix(b":").unwrap_or(end))
        }
        _ => None,
    }
}

/// Take `%FACILITY-SEVERITY-MNEMONIC` from the start of the content; `false` if it is none.
pub(super) fn take_tag(header: &mut Header<'_>) -> bool {
    let (tag, rest) = take_while(header.content, TAG_BYTES, |byte| TAG.has(byte));
    let message = match rest {
        [b':', text @ ..] | [b' ', b':', text @ ..] => text,
        _ if at_blank(rest) => rest,
        _ => return false,
    };
    if !tag.windows(3).any(|three| matches!(three, [b'-', b'0'..=b'9', b'-'])) {
        return false;
    }
    header.appname = tag;
    header.message = skip_blanks(message);
    header.dialect = Dialect::Cisco;
    true
}

fn fill<'m>(place: &mut &'m [u8], value: &'m [u8]) {
    if place.is_empty() {
        *place = value;
    }
}
