//! Properties of reading headers and their time stamps.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt::Write as _;

use collectord_core::header::stamp::time_ns;
use collectord_core::header::{Dialect, Header, read, read_relayed};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Pieces that headers are made of, in any order, and any bytes.
fn wire() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => select(&[
            "<14>", "<", "1 ", "- ", " ", ":", ": ", "Nov 22 00:00:02", "Nov  2 2026 00:00:02.5", "2026-11-22T00:00:02Z",
            "2026 ", "UTC", " +01:00", "*", ".", "%", "%ASA-6-302015: ", "%A-6-B : ", "123: ", "1w2d: ", "host ", "host: ",
            "app[7]: ", "[", "]", "[a b=\"", "\\", "\"", "\u{feff}", "CEF:0|", "date=1 ", "RP/0/RP0/CPU0:", "2001:db8::1 ",
            "\n", "\0", "1780000000.5 ", "notice ", "slot1/", "ap,020000000001,v1: ", "[a:\"b\"; ", "(2026-11-22T00:00:02) ",
            "<14>1 ", "Sun ", "November 2 00:00 ", "22/11/2026:00:00:02 ", "CST ",
        ][..]).prop_map(|piece| piece.as_bytes().to_vec()),
        2 => vec(any::<u8>(), 0..8),
    ];
    vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

fn parts<'m>(header: &Header<'m>) -> [&'m [u8]; 8] {
    [
        header.timestamp,
        header.hostname,
        header.appname,
        header.procid,
        header.msgid,
        header.structured_data,
        header.message,
        header.content,
    ]
}

/// A field of RFC 5424 that cannot be taken for the start of the content.
fn field(pattern: &'static str) -> impl Strategy<Value = Option<String>> {
    option::of(proptest::string::string_regex(pattern).unwrap())
}

fn nil(field: Option<&String>) -> &str {
    field.map_or("-", String::as_str)
}

fn absent(field: Option<&String>) -> &[u8] {
    field.map_or(&[], String::as_bytes)
}

const NS_PER_S: u64 = 1_000_000_000;
const DAY: u64 = 86_400;
const YEAR: u64 = 366 * DAY;

/// Up to the year 2100, which is no leap year, and on to 2105.
const MOST_SECONDS: u64 = 135 * 365 * DAY;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const FULL_MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Year, month, day, hour, minute and second that a clock shows so many minutes east of UTC, by counting days.
fn civil(second: u64, minutes: i64) -> (u64, usize, u64, u64, u64, u64) {
    let local = second.saturating_add_signed(minutes * 60);
    let (mut days, clock) = (local / DAY, local % DAY);
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1, clock / 3600, clock / 60 % 60, clock % 60)
}

fn offset(minutes: i64, colon: &str) -> String {
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("{sign}{:02}{colon}{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

/// How many forms `render` knows.
const FORMS: usize = 12;

/// A stamp in one of the forms that devices use, and to how many ns it tells the time; `None` if the form cannot say it.
fn render(form: usize, second: u64, nanosecond: u64, places: usize, minutes: i64, zone: &str) -> Option<(String, u64)> {
    if second < DAY {
        return None;
    }
    let (year, month, day, hour, minute, seconds) = civil(second, minutes);
    let (name, full_name) = (MONTHS[month - 1], FULL_MONTHS[month - 1]);
    let fraction = format!("{nanosecond:09}");
    let fraction = if places == 0 { String::new() } else { format!(".{}", &fraction[..places]) };
    let unit_ns = 10_u64.pow(9 - u32::try_from(places).ok()?);
    let clock = format!("{hour:02}:{minute:02}:{seconds:02}{fraction}");
    let short_zone = zone.strip_prefix(' ').unwrap_or(zone);
    let is_glued = zone.starts_with(['+', '-', 'Z']);
    Some(match form {
        0 => (format!("{year}-{month:02}-{day:02}T{clock}{zone}"), unit_ns),
        1 => (format!("{year}-{month:02}-{day:02} {clock}{zone}"), unit_ns),
        2 => (format!("{name} {day:2} {year} {clock}{zone}"), unit_ns),
        3 => (format!("{year} {name} {day:2} {clock}{zone}"), unit_ns),
        // Behind the time a number is a year only in this century and the last; it may be a device's name.
        4 if year < 2100 && zone != "Z" => {
            (format!("{name} {day} {clock} {year}{}{short_zone}", if zone.is_empty() { "" } else { " " }), unit_ns)
        }
        5 if !is_glued && year < 2100 => (format!("Sun {name} {day:2} {clock}{zone} {year}"), unit_ns),
        6 => (format!("{full_name} {day} {year} {clock}{zone}"), unit_ns),
        7 => (format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}{zone}"), 60 * NS_PER_S),
        8 if day > 12 => (format!("{day:02}/{month:02}/{year}:{clock}{zone}"), unit_ns),
        // Ten digits are there since 2001.
        9 if places > 0 && second >= 1_000_000_000 => {
            (format!("{second}.{}", &format!("{nanosecond:09}")[..places]), unit_ns)
        }
        // Without year: by the caller's time of receipt, half a year around it.
        10 if (month, day) != (2, 29) => (format!("{name} {day:2} {clock}{zone}"), unit_ns),
        11 => (format!("{year}:{month:02}:{day:02}-{clock}{zone}"), unit_ns),
        _ => return None,
    })
}

proptest! {
    /// Any bytes are read, each part lies inside the message, and nothing behind the header is lost.
    #[test]
    fn any_bytes_are_read(text in wire()) {
        let header = read(&text);

        let range = text.as_ptr_range();
        for part in parts(&header) {
            let part_range = part.as_ptr_range();
            prop_assert!(part.is_empty() || (range.start <= part_range.start && part_range.end <= range.end));
        }
        prop_assert!(header.content.ends_with(header.message));
        let end = text.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r' | 0)).map_or(0, |at| at + 1);
        prop_assert!(text[..end].ends_with(header.content));
        prop_assert_eq!(header.facility.is_some(), header.severity.is_some());
        prop_assert!(header.facility.is_none_or(|facility| facility <= 23));
        prop_assert!(header.severity.is_none_or(|severity| severity <= 7));
        prop_assert!(header.inner_content().is_none_or(|inner| text[..end].ends_with(inner)));
        prop_assert!(header.timestamp.is_empty() || header.dialect != Dialect::Plain);

        let (outer, inner) = read_relayed(&text);
        prop_assert_eq!(header, outer);
        prop_assert!(inner.is_none_or(|inner| text[..end].ends_with(inner.content)));
    }

    /// Any bytes have a time or none, and what a reader takes for a stamp has one if its values are possible.
    #[test]
    fn any_stamp_is_judged(text in wire(), received_ns in any::<u64>(), zone in option::of(any::<i32>())) {
        time_ns(&text, received_ns, zone);
        time_ns(read(&text).timestamp, received_ns, zone);
    }

    /// What a device writes of a time comes back as that time, read by the header readers on the way.
    #[test]
    fn times_come_back(
        second in 0..MOST_SECONDS,
        nanosecond in 0..NS_PER_S,
        places in 0..=9_usize,
        minutes in -14 * 60..=14 * 60_i64,
        zone in select(&["", "offset", "Z", " UTC", " CET", " EDT", " IST", " NZDT", " offset", "GMT", "configured"][..]),
        form in 0..FORMS,
        after_hours in -4000..4000_i64,
    ) {
        let (minutes, zone_text, configured_s) = match zone {
            "offset" => (minutes, offset(minutes, ":"), None),
            " offset" => (minutes, format!(" {}", offset(minutes, "")), Some(60)),
            "GMT" => (minutes, format!(" GMT{}", offset(minutes, ":")), Some(60)),
            "configured" => (minutes, String::new(), Some(i32::try_from(minutes * 60).unwrap())),
            " CET" => (60, zone.to_owned(), Some(-3600)),
            " EDT" => (-240, zone.to_owned(), None),
            // Israel's, as the device is said to be there.
            " IST" => (120, zone.to_owned(), Some(7200)),
            " NZDT" => (780, zone.to_owned(), None),
            "Z" | " UTC" => (0, zone.to_owned(), Some(3600)),
            _ => (0, String::new(), None),
        };
        // A stamp without year is nearest to the time of receipt only within half a year of it.
        let received_ns = second.saturating_add_signed(after_hours * 3600) * NS_PER_S;
        let Some((stamp, unit_ns)) = render(form, second, nanosecond, places, minutes, &zone_text) else { return Ok(()) };
        let text = format!("<14>{stamp} fw-1 app: x");

        let header = read(text.as_bytes());

        prop_assert_eq!(stamp.as_bytes(), header.timestamp, "{}", text);
        let expected_ns = (second * NS_PER_S + nanosecond) / unit_ns * unit_ns;
        prop_assert_eq!(Some(expected_ns), time_ns(header.timestamp, received_ns, configured_s), "{}", text);
    }

    /// A stamp without year is put into the year that brings it nearest to the time of receipt.
    #[test]
    fn year_is_the_nearest(second in 0..MOST_SECONDS, received in YEAR..MOST_SECONDS) {
        let (_, month, day, hour, minute, seconds) = civil(second, 0);
        let stamp = format!("{} {day} {hour:02}:{minute:02}:{seconds:02}", MONTHS[month - 1]);

        let time = time_ns(stamp.as_bytes(), received * NS_PER_S, None).unwrap() / NS_PER_S;

        let (_, month_again, day_again, ..) = civil(time, 0);
        prop_assert_eq!((month, day, second % DAY), (month_again, day_again, time % DAY));
        if (month, day) == (2, 29) {
            prop_assert!(time.abs_diff(received) <= 4 * YEAR + DAY, "{}", stamp);
        } else {
            prop_assert!(time.abs_diff(received) <= YEAR / 2 + DAY, "{}", stamp);
        }
        // The same day of any other year is not nearer.
        for other in [second, time + 365 * DAY, time + 366 * DAY, time.saturating_sub(365 * DAY), time.saturating_sub(366 * DAY)] {
            let (_, other_month, other_day, ..) = civil(other, 0);
            if (other_month, other_day, other % DAY) == (month, day, time % DAY) {
                prop_assert!(time.abs_diff(received) <= other.abs_diff(received), "{}", stamp);
            }
        }
    }

    /// Reading any bytes does not depend on line ends behind them.
    #[test]
    fn line_ends_are_no_part_of_the_message(text in wire()) {
        let longer = [&text[..], b"\r\n\0"].concat();

        prop_assert_eq!(read(&text), read(&longer));
    }

    /// What RFC 5424 can say comes back as it was.
    #[test]
    fn rfc5424_comes_back(
        pri in 0..=191_u8,
        stamp in option::of(select(&["2026-11-22T00:00:02Z", "2026-11-22T00:00:02.000123+05:30"][..])),
        hostname in field("[a-z0-9][a-zA-Z0-9.-]{0,30}"),
        appname in field("[a-z!-/:-@][!-~]{0,20}"),
        procid in field("[0-9]{1,6}"),
        msgid in field("[a-z0-9][!-~]{0,20}"),
        elements in vec(("[a-z][a-zA-Z0-9@.-]{0,10}", vec(("[a-z]{1,8}", ".{0,12}"), 0..3)), 0..3),
        bom in any::<bool>(),
        message in "([!-Z^-~][^\\x00\\r\\n]{0,30}[!-~])?",
    ) {
        let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace(']', "\\]");
        let mut structured_data = String::new();
        for (id, params) in &elements {
            write!(structured_data, "[{id}").unwrap();
            for (name, value) in params {
                write!(structured_data, " {name}=\"{}\"", escaped(value)).unwrap();
            }
            structured_data.push(']');
        }
        let text = format!(
            "<{pri}>1 {} {} {} {} {} {} {}{message}",
            stamp.unwrap_or("-"),
            nil(hostname.as_ref()),
            nil(appname.as_ref()),
            nil(procid.as_ref()),
            nil(msgid.as_ref()),
            if elements.is_empty() { "-" } else { &structured_data },
            if bom { "\u{feff}" } else { "" },
        );
        // A field that reads "-" is the nil value.
        prop_assume!(appname.as_deref() != Some("-"));

        let header = read(text.as_bytes());

        prop_assert_eq!((Some(pri / 8), Some(pri % 8)), (header.facility, header.severity));
        prop_assert_eq!(stamp.unwrap_or("").as_bytes(), header.timestamp);
        prop_assert_eq!(absent(hostname.as_ref()), header.hostname);
        prop_assert_eq!(absent(appname.as_ref()), header.appname);
        prop_assert_eq!(absent(procid.as_ref()), header.procid);
        prop_assert_eq!(absent(msgid.as_ref()), header.msgid);
        prop_assert_eq!(structured_data.as_bytes(), header.structured_data);
        prop_assert_eq!(message.as_bytes(), header.message);
        prop_assert_eq!(header.message, header.content);
        prop_assert_eq!(Dialect::Rfc5424, header.dialect);
    }

    /// What RFC 3164 can say comes back as it was, with the tag in the content.
    #[test]
    fn rfc3164_comes_back(
        pri in 0..=191_u8,
        hostname in "fw[a-zA-Z0-9._-]{0,30}",
        appname in "[a-z][a-z0-9_/.-]{0,20}",
        procid in option::of("[0-9]{1,6}"),
        // `tag: %A-1-B: ...` is Cisco's, and behind `tag: [` may be structured data.
        message in "[!-$&-Z^-~]([ -~]{0,30}[!-~])?",
    ) {
        let brackets = procid.as_ref().map_or(String::new(), |procid| format!("[{procid}]"));
        let content = format!("{appname}{brackets}: {message}");
        let text = format!("<{pri}>Nov 22 00:00:02 {hostname} {content}");

        let header = read(text.as_bytes());

        prop_assert_eq!(hostname.as_bytes(), header.hostname);
        prop_assert_eq!(appname.as_bytes(), header.appname);
        prop_assert_eq!(absent(procid.as_ref()), header.procid);
        prop_assert_eq!(message.as_bytes(), header.message);
        prop_assert_eq!(content.as_bytes(), header.content);
    }
}

/// Time grows with the bytes at most, whatever they are: 16 times the bytes must not take 60 times as long.
#[test]
fn hostile_messages_are_not_quadratic() {
    for piece in
        ["[a b=\"", "[a ", "\\\"", "a: ", "1: ", "%A-", " : ", "<14>", "[a]", "[a:\"", "a,", "Nov 22 00:00:02 h "]
    {
        for start in ["<14>", "<14>1 - - - - - ", "<14>1 - - - - - [a b=\"", "<14>Nov 22 00:00:02 h "] {
            let time = |bytes: usize| {
                let text = format!("{start}{}", piece.repeat(bytes / piece.len()));
                (0..5)
                    .map(|_| {
                        let begin = std::time::Instant::now();
                        let header = std::hint::black_box(read(text.as_bytes()));
                        std::hint::black_box((header.inner_content(), read_relayed(text.as_bytes())));
                        begin.elapsed()
                    })
                    .min()
                    .unwrap()
            };
            let small = time(4 << 10);
            assert!(time(64 << 10) < small * 60 + std::time::Duration::from_millis(5), "{start}{piece}");
        }
    }
}

/// Times by hand: RFC 3339's own examples, the turn of a year, leap days, zones and what is no time.
#[test]
fn times_by_hand() {
    // 2026-11-22 00:00:00 UTC.
    let received_ns = 1_795_305_600 * NS_PER_S;
    let at = |stamp: &str, zone| time_ns(stamp.as_bytes(), received_ns, zone);
    let s = |seconds: u64| Some(seconds * NS_PER_S);
    assert_eq!(Some(482_196_050_520_000_000), at("1985-04-12T23:20:50.52Z", None));
    assert_eq!(s(851_042_397), at("1996-12-19T16:39:57-08:00", None));
    // A leap second is the first second of the next minute.
    assert_eq!(s(662_688_000), at("1990-12-31T23:59:60Z", None));
    assert_eq!(s(1_795_305_602), at("Nov 22 00:00:02", None));
    assert_eq!(s(1_795_302_002), at("Nov 22 00:00:02", Some(3600)));
    assert_eq!(s(1_795_305_602), at("Nov 22 00:00:02 UTC", Some(3600)));
    assert_eq!(s(1_795_302_002), at("*Nov 22 00:00:02.000 CET:", None));
    // An administrator's own name means the configured zone.
    assert_eq!(s(1_795_302_002), at("Nov 22 00:00:02 HQ", Some(3600)));
    // Names with several meanings.
    assert_eq!(s(1_795_305_602 + 6 * 3600), at("Nov 22 00:00:02 CST", None));
    assert_eq!(s(1_795_305_602 - 8 * 3600), at("Nov 22 00:00:02 CST", Some(8 * 3600)));
    assert_eq!(s(1_795_305_602 + 6 * 3600), at("Nov 22 00:00:02 CST", Some(3600)));
    // Month or day first: what is possible, else what is nearer.
    assert_eq!(at("2026-11-05T00:00:02Z", None), at("05/11/2026:00:00:02 GMT", None));
    assert_eq!(at("2026-11-05T00:00:02Z", None), at("11/05/2026:00:00:02 GMT", None));
    assert_eq!(at("2026-01-15T00:00:02Z", None), at("01/15/2026:00:00:02", None));
    // A December stamp in January is last year's, and the other way round.
    let new_year_ns = 1_798_761_600 * NS_PER_S;
    assert_eq!(s(1_798_761_599), time_ns(b"Dec 31 23:59:59", new_year_ns + NS_PER_S, None));
    assert_eq!(s(1_798_761_600), time_ns(b"Jan 1 00:00:00", new_year_ns - NS_PER_S, None));
    // 29 February is in a leap year, also when 2100 is none.
    assert_eq!(at("2028-02-29T12:00:00Z", None), at("Feb 29 12:00:00", None));
    let in_2100_ns = at("2100-03-01T00:00:00Z", None).unwrap();
    assert_eq!(at("2096-02-29T12:00:00Z", None), time_ns(b"Feb 29 12:00:00", in_2100_ns, None));
    assert_eq!(Some(1_780_000_000_342_705_328), at("1780000000.342705328", None));
    for stamp in [
        "",
        "00:00:45",
        "1w2d",
        "3d04h",
        "2y15w",
        "Feb 30 00:00:00",
        "Feb 29 2026 00:00:00",
        "Nov 0 00:00:00",
        "2026-13-01T00:00:00Z",
        "2026-11-22T24:00:00Z",
        "2026-11-22T00:60:00Z",
        "2026-11-22T00:00:61Z",
        "2026-11-22",
        "1969-12-31T23:59:59Z",
        "9999-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "Nov 22",
        "Nix 22 00:00:02",
        "Nov 22 00:00:02 x!",
        "Nov 22 2026 00:00:02 2026",
        "178000000.5",
        "17800000000",
        "15/15/2026:00:00:02",
        "2026-11-22T00:00:02+",
        "2026-11-22T00:00:02+0",
        "-",
        "*",
    ] {
        assert_eq!(None, at(stamp, None), "{stamp}");
    }
}
