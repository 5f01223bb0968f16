//! When a stamp says it is: device time in nanoseconds since 1970 UTC.
//!
//! Stamps come without year, without zone and in the order that the device likes. What is missing is taken from outside:
//! the year from the time of receipt, the zone from the configuration. Values are checked here, as [`super::stamp`] only
//! looks at shapes.

use super::scan::{skip_blanks, take_while};
use super::stamp::{month, weekday};
use super::zone;

const NS_PER_S: u64 = 1_000_000_000;
const S_PER_DAY: i64 = 86_400;

/// How far a year may lie from the year of receipt when 29 February chooses it: 1896 and 1904 are eight years apart.
const LEAP_YEARS_APART: i64 = 8;

/// A day whose year or order may be open.
#[derive(Clone, Copy)]
enum Date {
    Full {
        year: i64,
        month: u8,
        day: u8,
    },
    WithoutYear {
        month: u8,
        day: u8,
    },
    /// Citrix: the administrator chooses whether `04/11/2026` is in April or in November.
    MonthOrDay {
        year: i64,
        first: u8,
        second: u8,
    },
}

/// What the device's clock shows: seconds of the day and nanoseconds.
#[derive(Clone, Copy)]
struct Clock {
    second: i64,
    nanosecond: u64,
}

/// Device time in ns since 1970 UTC, from any stamp that the header readers recognise.
///
/// `received_ns` is the time of receipt (ns since 1970 UTC): a stamp without year is taken in the year that brings it
/// nearest to that, so a December stamp that arrives in January is last year's, and 29 February is in a leap year.
/// `zone_offset_s` is the device's configured zone in seconds east of UTC; without it UTC is assumed. It is used where
/// the stamp has no zone or one with a name of the administrator's own, and it chooses among the meanings of a name
/// that several countries use (`CST`, `IST`).
///
/// `None`: an uptime, an impossible date or time, a time before 1970 or after 2554, or no stamp at all.
///
/// # Source
///
/// RFC 3339 section 5.6; RFC 3164 section 4.1.2; epoch seconds with a fraction are Meraki's.
pub fn time_ns(stamp: &[u8], received_ns: u64, zone_offset_s: Option<i32>) -> Option<u64> {
    let text = match stamp {
        [b'*' | b'.', unmarked @ ..] => unmarked,
        _ => stamp,
    };
    if let Some(time_ns) = epoch_ns(text) {
        return Some(time_ns);
    }
    let (mut date, rest) = date(text)?;
    let (clock, rest) = clock(skip_blanks(rest))?;
    let offset_s = suffixes(rest, &mut date, zone_offset_s)?;
    let at = |year, month, day| instant_ns(day_number(year, month, day)?, clock, offset_s);
    match date {
        Date::Full { year, month, day } => at(year, month, day),
        Date::MonthOrDay { year, first, second } => {
            nearest([at(year, first, second), at(year, second, first)].into_iter().flatten(), received_ns)
        }
        Date::WithoutYear { month, day } => {
            let received_year = year_of(received_ns);
            let reach = if (month, day) == (2, 29) { LEAP_YEARS_APART } else { 1 };
            let years = received_year.saturating_sub(reach)..=received_year.saturating_add(reach);
            nearest(years.filter_map(|year| at(year, month, day)), received_ns)
        }
    }
}

/// The earlier one of two that are equally near: logs come from the past.
fn nearest(times_ns: impl Iterator<Item = u64>, received_ns: u64) -> Option<u64> {
    times_ns.min_by_key(|&time_ns| (time_ns.abs_diff(received_ns), time_ns))
}

/// `1780000000.123456789`: ten digits of seconds, up to nine of a fraction.
fn epoch_ns(text: &[u8]) -> Option<u64> {
    let (seconds, rest) = take_while(text, 10, |byte| byte.is_ascii_digit());
    let (nanosecond, rest) = fraction_ns(rest);
    if seconds.len() != 10 || !rest.is_empty() {
        return None;
    }
    u64::try_from(number(seconds)).ok()?.checked_mul(NS_PER_S)?.checked_add(nanosecond)
}

fn date(text: &[u8]) -> Option<(Date, &[u8])> {
    match text {
        [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T' | b't' | b' ', rest @ ..]
        | [y1, y2, y3, y4, b':', m1, m2, b':', d1, d2, b'-', rest @ ..] => {
            let year = digits(&[*y1, *y2, *y3, *y4])?;
            Some((Date::Full { year, month: small(&[*m1, *m2])?, day: small(&[*d1, *d2])? }, rest))
        }
        [a1, a2, b'/', b1, b2, b'/', y1, y2, y3, y4, b':', rest @ ..] => {
            let year = digits(&[*y1, *y2, *y3, *y4])?;
            Some((Date::MonthOrDay { year, first: small(&[*a1, *a2])?, second: small(&[*b1, *b2])? }, rest))
        }
        _ => worded(text),
    }
}

/// `[weekday] [year] month day [year]`.
fn worded(text: &[u8]) -> Option<(Date, &[u8])> {
    let rest = weekday(text).unwrap_or(text);
    let (before, rest) = year(rest);
    let (month, rest) = month(rest)?;
    let (day, rest) = take_while(skip_blanks(rest), 2, |byte| byte.is_ascii_digit());
    let day = small(day)?;
    let (after, rest) = year(rest.strip_prefix(b" ")?);
    let date = match before.or(after) {
        Some(year) => Date::Full { year, month, day },
        None => Date::WithoutYear { month, day },
    };
    Some((date, rest))
}

/// A word of four digits and what follows its blanks; nothing is taken if there is none.
fn year(text: &[u8]) -> (Option<i64>, &[u8]) {
    let word = skip_blanks(text);
    match word {
        [y1, y2, y3, y4] => digits(&[*y1, *y2, *y3, *y4]).map_or((None, text), |year| (Some(year), &[])),
        [y1, y2, y3, y4, b' ' | b':', rest @ ..] => {
            digits(&[*y1, *y2, *y3, *y4]).map_or((None, text), |year| (Some(year), skip_blanks(rest)))
        }
        _ => (None, text),
    }
}

/// `h:mm[:ss[.fraction]]`. Second 60 is the first of the next minute.
fn clock(text: &[u8]) -> Option<(Clock, &[u8])> {
    let (hour, rest) = take_while(text, 2, |byte| byte.is_ascii_digit());
    let [b':', m1, m2, rest @ ..] = rest else { return None };
    let (hour, minute) = (digits(hour)?, digits(&[*m1, *m2])?);
    let (second, nanosecond, rest) = match rest {
        [b':', s1, s2, rest @ ..] => {
            let (nanosecond, rest) = fraction_ns(rest);
            (digits(&[*s1, *s2])?, nanosecond, rest)
        }
        _ => (0, 0, rest),
    };
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let second = hour.saturating_mul(3600).saturating_add(minute.saturating_mul(60)).saturating_add(second);
    Some((Clock { second, nanosecond }, rest))
}

/// Year and zone behind the time, in any order; seconds east of UTC. `None` if anything else stands there.
fn suffixes(text: &[u8], date: &mut Date, zone_offset_s: Option<i32>) -> Option<i32> {
    let mut offset_s = None;
    let mut rest = skip_blanks(text);
    while !matches!(rest, [] | [b':']) {
        rest = match rest {
            [b'+' | b'-', ..] => {
                let (seconds, after) = offset(rest)?;
                offset_s = Some(seconds);
                after
            }
            [b'0'..=b'9', ..] => {
                let (found, after) = year(rest);
                let Date::WithoutYear { month, day } = *date else { return None };
                *date = Date::Full { year: found?, month, day };
                after
            }
            _ => {
                let (name, after) = take_while(rest, rest.len(), |byte| byte.is_ascii_alphabetic());
                offset_s = match name {
                    [] => return None,
                    b"Z" | b"z" => Some(0),
                    _ => zone::seconds(name, zone_offset_s),
                };
                after
            }
        };
        rest = skip_blanks(rest);
    }
    Some(offset_s.or(zone_offset_s).unwrap_or(0))
}

/// `+hh`, `+hhmm` or `+hh:mm` in seconds east of UTC.
fn offset(text: &[u8]) -> Option<(i32, &[u8])> {
    let [sign, h1, h2, rest @ ..] = text else { return None };
    let (minutes, rest) = match rest {
        [b':', m1, m2, rest @ ..] | [m1 @ b'0'..=b'9', m2, rest @ ..] => (small(&[*m1, *m2])?, rest),
        _ => (0, rest),
    };
    let seconds =
        i32::from(small(&[*h1, *h2])?).saturating_mul(3600).saturating_add(i32::from(minutes).saturating_mul(60));
    Some((if *sign == b'-' { seconds.saturating_neg() } else { seconds }, rest))
}

/// The fraction of a second in ns, cut after nine digits, and what follows all its digits.
fn fraction_ns(text: &[u8]) -> (u64, &[u8]) {
    let [b'.' | b',', after @ ..] = text else { return (0, text) };
    let (places, rest) = take_while(after, after.len(), |byte| byte.is_ascii_digit());
    let mut nanosecond = 0_u64;
    for place in 0..9 {
        let digit = places.get(place).map_or(0, |byte| byte.wrapping_sub(b'0'));
        nanosecond = nanosecond.saturating_mul(10).saturating_add(u64::from(digit));
    }
    (nanosecond, if places.is_empty() { text } else { rest })
}

/// Days from 1970-01-01 to a day of the Gregorian calendar; `None` if there is no such day.
fn day_number(year: i64, month: u8, day: u8) -> Option<i64> {
    let leap = year.checked_rem(4) == Some(0) && (year.checked_rem(100) != Some(0) || year.checked_rem(400) == Some(0));
    let (before, length) = match month {
        1 => (0, 31),
        2 => (31, if leap { 29 } else { 28 }),
        3 => (59, 31),
        4 => (90, 30),
        5 => (120, 31),
        6 => (151, 30),
        7 => (181, 31),
        8 => (212, 31),
        9 => (243, 30),
        10 => (273, 31),
        11 => (304, 30),
        12 => (334, 31),
        _ => return None,
    };
    if day == 0 || day > length {
        return None;
    }
    let leap_day = i64::from(leap && month > 2);
    let in_year = i64::from(before).saturating_add(leap_day).saturating_add(i64::from(day)).saturating_sub(1);
    Some(first_day(year).saturating_add(in_year))
}

/// Days from 1970-01-01 to the first day of a year.
fn first_day(year: i64) -> i64 {
    let years = |every: i64| year.saturating_sub(1).div_euclid(every);
    // 719162 days are from year 1 to 1970.
    year.saturating_sub(1)
        .saturating_mul(365)
        .saturating_add(years(4))
        .saturating_sub(years(100))
        .saturating_add(years(400))
        .saturating_sub(719_162)
}

/// The year (UTC) of an instant.
fn year_of(time_ns: u64) -> i64 {
    let day = i64::try_from(time_ns.div_euclid(NS_PER_S)).unwrap_or(i64::MAX).div_euclid(S_PER_DAY);
    // 146097 days are 400 years; the estimate is off by one year at most.
    let estimate = day.saturating_mul(400).div_euclid(146_097).saturating_add(1970);
    if first_day(estimate) > day {
        estimate.saturating_sub(1)
    } else if first_day(estimate.saturating_add(1)) <= day {
        estimate.saturating_add(1)
    } else {
        estimate
    }
}

fn instant_ns(day: i64, clock: Clock, offset_s: i32) -> Option<u64> {
    let second = day.checked_mul(S_PER_DAY)?.checked_add(clock.second)?.checked_sub(i64::from(offset_s))?;
    u64::try_from(second).ok()?.checked_mul(NS_PER_S)?.checked_add(clock.nanosecond)
}

fn digits(bytes: &[u8]) -> Option<i64> {
    (!bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit)).then(|| number(bytes))
}

fn small(bytes: &[u8]) -> Option<u8> {
    u8::try_from(digits(bytes)?).ok()
}

/// The value of digits.
fn number(digits: &[u8]) -> i64 {
    digits
        .iter()
        .fold(0, |value: i64, digit| value.saturating_mul(10).saturating_add(i64::from(digit.wrapping_sub(b'0'))))
}
