//! Properties of reading headers.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt::Write as _;

use collectord_core::header::{Dialect, Header, read};
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
            "\n", "\0",
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
        message in "[!-~]([ -~]{0,30}[!-~])?",
    ) {
        let brackets = procid.as_ref().map_or(String::new(), |procid| format!("[{procid}]"));
        let content = format!("{appname}{brackets}: {message}");
        let text = format!("<{pri}>Nov 22 00:00:02 {hostname} {content}");
        // `tag: %A-1-B: ...` is Cisco's.
        prop_assume!(!message.starts_with('%'));

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
    for piece in ["[a b=\"", "[a ", "\\\"", "a: ", "1: ", "%A-", " : ", "<14>", "[a]"] {
        for start in ["<14>", "<14>1 - - - - - ", "<14>1 - - - - - [a b=\"", "<14>Nov 22 00:00:02 h "] {
            let time = |bytes: usize| {
                let text = format!("{start}{}", piece.repeat(bytes / piece.len()));
                (0..5)
                    .map(|_| {
                        let begin = std::time::Instant::now();
                        std::hint::black_box(read(text.as_bytes()));
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
