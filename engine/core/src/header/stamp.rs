//! Time stamps as devices write them in front of a message.
//!
//! ```text
//! stamp   = (bsd / iso / slashed) [zone]                 ; then a blank, ":" or the end
//! bsd     = [weekday SP] [year SP] month 1*2SP day SP [year SP] time [SP year]
//!                                                        ; RFC 3164 section 4.1.2; years: ASA, NX-OS, Linksys
//! month   = Mmm / its full name                          ; the latter: ACI
//! iso     = year "-" month "-" day ("T" / SP) time       ; RFC 3339
//!         / year ":" month ":" day "-" time              ; Sophos UTM
//! slashed = 2DIGIT "/" 2DIGIT "/" year ":" time          ; NetScaler, month or day first
//! time    = 1*2DIGIT ":" 2DIGIT [":" 2DIGIT [fraction]]
//! zone    = "Z" / [SP] offset / SP name [offset], [SP year] behind it
//! epoch   = 10DIGIT "." 1*9DIGIT                         ; Meraki
//! ```
//!
//! Values are not checked beyond digits (month names are): a stamp is handed over as sent, and a device with a broken
//! clock is still a device. [`time_ns`] checks them.

use super::scan::{before, skip_blanks, take_while};
use super::zone;

pub use super::time::time_ns;

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
        [_, _, _, _, b'-' | b':', ..] => iso(text)?,
        [y1, y2, y3, y4, b' ', date @ ..] if all_digits(&[*y1, *y2, *y3, *y4]) && starts_with_month(date) => bsd(date)?,
        [a1, a2, b'/', b1, b2, b'/', y1, y2, y3, y4, b':', after @ ..]
            if all_digits(&[*a1, *a2, *b1, *b2, *y1, *y2, *y3, *y4]) =>
        {
            time(after)?
        }
        [_, _, _, b' ' | b',', ..] => rare(text)?,
        [a, b, c, b'a'..=b'z' | b'A'..=b'Z', ..] if month_number(*a, *b, *c).is_some() => rare(text)?,
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

/// Epoch seconds with a fraction at the start of the text, and what follows their blank.
///
/// Without the fraction they would be mistaken for any other number of ten digits.
pub(super) fn epoch(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (seconds, rest) = take_while(text, 10, |byte| byte.is_ascii_digit());
    let [b'.', rest @ ..] = rest else { return None };
    let (fraction, rest) = take_while(rest, 9, |byte| byte.is_ascii_digit());
    let [b' ', after @ ..] = rest else { return None };
    (seconds.len() == 10 && !fraction.is_empty()).then(|| (before(text, rest), after))
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
    month_number(*a, *b, *c).is_some()
}

/// Number of the month, 1 to 12, by the first letters of its name in any case.
fn month_number(a: u8, b: u8, c: u8) -> Option<u8> {
    Some(match &[a | 0x20, b | 0x20, c | 0x20] {
        b"jan" => 1,
        b"feb" => 2,
        b"mar" => 3,
        b"apr" => 4,
        b"may" => 5,
        b"jun" => 6,
        b"jul" => 7,
        b"aug" => 8,
        b"sep" => 9,
        b"oct" => 10,
        b"nov" => 11,
        b"dec" => 12,
        _ => return None,
    })
}

/// The month, 1 to 12, whose name (three letters or all of it) is the first word, and what follows its blank.
pub(super) fn month(text: &[u8]) -> Option<(u8, &[u8])> {
    let [a, b, c, rest @ ..] = text else { return None };
    let month = month_number(*a, *b, *c)?;
    if let [b' ', after @ ..] = rest {
        return Some((month, after));
    }
    let tails: [&[u8]; 12] =
        [b"uary", b"ruary", b"ch", b"il", b"", b"e", b"y", b"ust", b"tember", b"ober", b"ember", b"ember"];
    let tail = tails.get(usize::from(month.saturating_sub(1)))?;
    let (word, rest) = rest.split_at_checked(tail.len())?;
    let [b' ', after @ ..] = rest else { return None };
    word.eq_ignore_ascii_case(tail).then_some((month, after))
}

/// What follows a weekday (`Sun`, `Sun,`) and its blank.
pub(super) fn weekday(text: &[u8]) -> Option<&[u8]> {
    let ([a, b, c, b' ', rest @ ..] | [a, b, c, b',', b' ', rest @ ..]) = text else { return None };
    let known = [*b"mon", *b"tue", *b"wed", *b"thu", *b"fri", *b"sat", *b"sun"];
    known.contains(&[a | 0x20, b | 0x20, c | 0x20]).then_some(rest)
}

/// The forms of `bsd` that hardly any device uses: with a weekday, with the month written out.
#[cold]
fn rare(text: &[u8]) -> Option<&[u8]> {
    let date = weekday(text).unwrap_or(text);
    if starts_with_month(date) {
        return bsd(date);
    }
    day(month(date)?.1)
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
    day(text.get(3..)?)
}

/// From the blanks before the day on; returns what follows the time.
fn day(text: &[u8]) -> Option<&[u8]> {
    let (day, rest) = take_while(skip_blanks(text), 2, |byte| byte.is_ascii_digit());
    let [b' ', rest @ ..] = rest else { return None };
    let rest = skip_blanks(rest);
    let rest = match rest {
        [y1, y2, y3, y4, b' ', after @ ..] if all_digits(&[*y1, *y2, *y3, *y4]) => skip_blanks(after),
        _ => rest,
    };
    if day.is_empty() { None } else { time(rest) }
}

fn iso(text: &[u8]) -> Option<&[u8]> {
    let ([y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T' | b't' | b' ', rest @ ..]
    | [y1, y2, y3, y4, b':', m1, m2, b':', d1, d2, b'-', rest @ ..]) = text
    else {
        return None;
    };
    if all_digits(&[*y1, *y2, *y3, *y4, *m1, *m2, *d1, *d2]) { time(rest) } else { None }
}

fn time(text: &[u8]) -> Option<&[u8]> {
    let text = match text {
        [h1, h2, rest @ ..] if h1.is_ascii_digit() && h2.is_ascii_digit() => rest,
        [h1, rest @ ..] if h1.is_ascii_digit() => rest,
        _ => return None,
    };
    match text {
        [b':', m1, m2, b':', s1, s2, rest @ ..] if all_digits(&[*m1, *m2, *s1, *s2]) => Some(rest),
        // Without seconds nothing but a zone or the end may follow.
        [b':', m1, m2, rest @ ..] if all_digits(&[*m1, *m2]) => {
            (is_end(rest) || matches!(rest, [b'Z' | b'z' | b'+' | b'-', ..])).then_some(rest)
        }
        _ => None,
    }
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

/// Over ` year`, ` +hhmm`, ` ZONE` and a year behind those after the time, as far as they are there.
fn suffixes(text: &[u8], zones: Zones) -> &[u8] {
    let mut rest = text;
    if let [b' ', after @ ..] = rest
        && let Some(after) = year(after)
    {
        rest = after;
    }
    let [b' ', after @ ..] = rest else { return rest };
    let behind_zone = match after.first() {
        Some(b'+' | b'-') => offset(after).filter(|after| is_end(after)),
        Some(b'A'..=b'Z') => zone(after, zones),
        Some(b'a'..=b'z') if zones == Zones::AnyBeforeColon => zone(after, zones),
        _ => None,
    };
    let Some(behind_zone) = behind_zone else { return rest };
    match behind_zone {
        [b' ', after @ ..] => year(after).unwrap_or(behind_zone),
        _ => behind_zone,
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
        _ => is_end(after) && zone::minutes(name).is_some(),
    };
    known.then_some(after)
}
