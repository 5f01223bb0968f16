//! Time stamps as devices write them in front of a message.
//!
//! ```text
//! stamp   = (bsd / iso) [fraction] [zone]                ; then a blank, ":" or the end
//! bsd     = [year SP] Mmm 1*2SP day SP time [SP year]    ; RFC 3164 section 4.1.2; years: ASA, NX-OS, Linksys
//! iso     = year "-" month "-" day ("T" / SP) time       ; RFC 3339
//! time    = 1*2DIGIT ":" 2DIGIT ":" 2DIGIT
//! zone    = "Z" / [SP] offset / SP name [offset]
//! ```
//!
//! Values are not checked beyond digits (month names are): a stamp is handed over as sent, and a device with a broken
//! clock is still a device.

use super::scan::{before, skip_blanks, take_while};

/// Which words after the time are a time zone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Zones {
    /// Only well-known names, as a hostname may stand in the same place.
    Known,
    /// Any short word that a colon follows: an administrator of a Cisco device names the zone freely.
    AnyBeforeColon,
}

/// Longest zone name, bytes; Cisco's `clock timezone` takes seven.
const ZONE_NAME_BYTES: usize = 7;

/// The stamp at the start of the text and what follows it.
pub(super) fn read(text: &[u8], zones: Zones) -> Option<(&[u8], &[u8])> {
    let after_time = match text {
        [_, _, _, b' ', ..] if starts_with_month(text) => bsd(text)?,
        [_, _, _, _, b'-', ..] => iso(text)?,
        [y1, y2, y3, y4, b' ', date @ ..] if all_digits(&[*y1, *y2, *y3, *y4]) && starts_with_month(date) => bsd(date)?,
        _ => return None,
    };
    let rest = fraction(after_time);
    let rest = match rest {
        [b'Z' | b'z', after @ ..] => after,
        [b'+' | b'-', ..] => offset(rest)?,
        _ => suffixes(rest, zones),
    };
    is_end(rest).then(|| (before(text, rest), rest))
}

/// Whether a stamp may end here; a colon inside a word is one of an IPv6 address behind the stamp.
fn is_end(rest: &[u8]) -> bool {
    matches!(rest, [] | [b' ' | b'\t', ..] | [b':'] | [b':', b' ' | b'\t' | b'%', ..])
}

/// How long the device was up, in place of a stamp: `00:00:45`, `3d04h`, `1w2d`, `2y15w` (IOS `service timestamps uptime`).
pub(super) fn is_uptime(word: &[u8]) -> bool {
    if let [hours @ .., b':', m1, m2, b':', s1, s2] = word {
        return (2..=3).contains(&hours.len()) && all_digits(hours) && all_digits(&[*m1, *m2, *s1, *s2]);
    }
    let (large, rest) = take_while(word, 5, |byte| byte.is_ascii_digit());
    let (small, last) = match rest {
        [b'y' | b'w' | b'd', rest @ ..] => take_while(rest, 2, |byte| byte.is_ascii_digit()),
        _ => return false,
    };
    let units = matches!((rest.first(), last), (Some(b'y'), b"w") | (Some(b'w'), b"d") | (Some(b'd'), b"h"));
    units && !large.is_empty() && !small.is_empty()
}

fn starts_with_month(text: &[u8]) -> bool {
    let [a, b, c, b' ', ..] = text else { return false };
    matches!(
        &[a | 0x20, b | 0x20, c | 0x20],
        b"jan" | b"feb" | b"mar" | b"apr" | b"may" | b"jun" | b"jul" | b"aug" | b"sep" | b"oct" | b"nov" | b"dec"
    )
}

fn all_digits(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_digit)
}

/// From the month on; returns what follows the time.
fn bsd(text: &[u8]) -> Option<&[u8]> {
    // The usual form in one step, with or without the year of the ASA.
    if let [_, _, _, b' ', d1, d2, b' ', after @ ..] = text
        && (d1.is_ascii_digit() || *d1 == b' ')
        && d2.is_ascii_digit()
    {
        return match after {
            [y1, y2, y3, y4, b' ', after @ ..] if all_digits(&[*y1, *y2, *y3, *y4]) => time(after),
            _ => time(after),
        };
    }
    let rest = skip_blanks(text.get(3..)?);
    let (day, rest) = take_while(rest, 2, |byte| byte.is_ascii_digit());
    let [b' ', rest @ ..] = rest else { return None };
    let rest = skip_blanks(rest);
    let rest = year(rest).map_or(rest, skip_blanks);
    if day.is_empty() { None } else { time(rest) }
}

fn iso(text: &[u8]) -> Option<&[u8]> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T' | b't' | b' ', rest @ ..] = text else { return None };
    if all_digits(&[*y1, *y2, *y3, *y4, *m1, *m2, *d1, *d2]) { time(rest) } else { None }
}

fn time(text: &[u8]) -> Option<&[u8]> {
    let text = match text {
        [h1, h2, rest @ ..] if h1.is_ascii_digit() && h2.is_ascii_digit() => rest,
        [h1, rest @ ..] if h1.is_ascii_digit() => rest,
        _ => return None,
    };
    let [b':', m1, m2, b':', s1, s2, rest @ ..] = text else { return None };
    all_digits(&[*m1, *m2, *s1, *s2]).then_some(rest)
}

/// Over a fraction of a second; not over a comma that starts the next column of a CSV body.
fn fraction(text: &[u8]) -> &[u8] {
    let [b'.' | b',', after @ ..] = text else { return text };
    let (digits, rest) = take_while(after, 12, |byte| byte.is_ascii_digit());
    if digits.is_empty() { text } else { rest }
}

/// `+hh`, `+hhmm` or `+hh:mm`.
fn offset(text: &[u8]) -> Option<&[u8]> {
    match text {
        [b'+' | b'-', a, b, b':', c, d, rest @ ..] | [b'+' | b'-', a, b, c, d, rest @ ..]
            if all_digits(&[*a, *b, *c, *d]) =>
        {
            Some(rest)
        }
        [b'+' | b'-', a, b, rest @ ..] if all_digits(&[*a, *b]) => Some(rest),
        _ => None,
    }
}

/// A year of this century or the last, and a word's end after it.
fn year(text: &[u8]) -> Option<&[u8]> {
    match text {
        [b'1', b'9', a, b, rest @ ..] | [b'2', b'0', a, b, rest @ ..] if all_digits(&[*a, *b]) && is_end(rest) => {
            Some(rest)
        }
        _ => None,
    }
}

/// Over ` year`, ` +hhmm` and ` ZONE` after the time, as far as they are there.
fn suffixes(text: &[u8], zones: Zones) -> &[u8] {
    let mut rest = text;
    if let [b' ', after @ ..] = rest
        && let Some(after) = year(after)
    {
        rest = after;
    }
    let [b' ', after @ ..] = rest else { return rest };
    match after.first() {
        Some(b'+' | b'-') => offset(after).filter(|after| is_end(after)).unwrap_or(rest),
        Some(b'A'..=b'Z') => zone(after, zones).unwrap_or(rest),
        Some(b'a'..=b'z') if zones == Zones::AnyBeforeColon => zone(after, zones).unwrap_or(rest),
        _ => rest,
    }
}

fn zone(text: &[u8], zones: Zones) -> Option<&[u8]> {
    let (name, after) = take_while(text, ZONE_NAME_BYTES, |byte| byte.is_ascii_alphabetic());
    let after = match after {
        [b'+' | b'-', ..] => offset(after)?,
        _ => after,
    };
    let known = match after {
        [b':', ..] if zones == Zones::AnyBeforeColon => is_end(after),
        _ => is_end(after) && is_known_zone(name),
    };
    known.then_some(after)
}

/// Names that devices are seen with, and that nobody gives to a device.
fn is_known_zone(name: &[u8]) -> bool {
    match name.len() {
        3 => matches!(
            name,
            b"UTC"
                | b"GMT"
                | b"CET"
                | b"EET"
                | b"WET"
                | b"BST"
                | b"IST"
                | b"MSK"
                | b"EST"
                | b"EDT"
                | b"CST"
                | b"CDT"
                | b"MST"
                | b"MDT"
                | b"PST"
                | b"PDT"
                | b"JST"
                | b"KST"
                | b"SGT"
                | b"HKT"
        ),
        4 => matches!(name, b"CEST" | b"EEST" | b"AEST" | b"AEDT" | b"ACST" | b"AWST" | b"NZST" | b"NZDT" | b"AKST"),
        _ => false,
    }
}
