//! Who says what: the header of one syslog message, in the dialects that network devices speak.
//!
//! ```text
//! message = *blank [PRI] *blank [":"] *blank header content *(LF / CR / NUL)
//! header  = rfc5424                                      ; VERSION SP and a time stamp or "-"
//!         / stamp [":"] [hostname [[SP] ":"]] [cisco]    ; RFC 3164; Cisco's own prefix may follow a relay's header
//!         / cisco                                        ; sequence numbers, hostname, stamp before %FACILITY-n-NAME
//!         / ""                                           ; the content comes at once: date=, CEF:0|, 1,2026/, {
//! ```
//!
//! Reading never fails: what is not recognised stays in the content, and a field that is not there is empty.
//! No clock and no guessing: the time stamp is handed over as it was sent.
//!
//! # Advice for hackers
//!
//! [`read`] runs on every message, so it decides on the first byte and goes forward once. A new dialect is a file
//! with a function that gives up within a few bytes without having touched the header, and a line in `body`. Headers
//! are filled in place, since moving one costs as much as reading it. `content` is where profiles look for their
//! literals; a dialect must not eat anything that a profile may ask for.

mod cisco;
mod rfc3164;
mod rfc5424;
mod scan;
mod stamp;

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
    /// All SD-ELEMENTs of RFC 5424 with their brackets and escapes.
    pub structured_data: &'m [u8],
    /// What is left after tag, structured data and byte order mark.
    pub message: &'m [u8],
    /// What profiles look at: `message` with the tag before it; the same as `message` in RFC 5424.
    pub content: &'m [u8],
    /// How the header was written.
    pub dialect: Dialect,
}

impl<'m> Header<'m> {
    /// The content starts here; so does the message, until a tag is found.
    fn start_content(&mut self, text: &'m [u8]) {
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
    let text = scan::skip_blanks(scan::without_line_end(message));
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

fn body<'m>(header: &mut Header<'m>, text: &'m [u8]) {
    // `<166>:Nov 22 ...` (ASA in EMBLEM format) and `<189>: 2026 Nov 22 ...` (NX-OS).
    let rest = match text {
        [b':', after @ ..] => scan::skip_blanks(after),
        _ => text,
    };
    header.start_content(rest);
    let known = match rest {
        [b'0'..=b'9', ..] => rfc5424::read(header, rest) || rfc3164::read(header, rest) || cisco::read(header, rest),
        [b'A'..=b'Z' | b'a'..=b'z', ..] => rfc3164::read(header, rest) || cisco::read(header, rest),
        [b'%' | b'*' | b'.', ..] => cisco::read(header, rest),
        _ => false,
    };
    if !known {
        rfc3164::take_tag(header);
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
mod tests {
    use super::*;

    /// Text; time stamp, hostname, appname, procid, message; content, if it is not the message; dialect.
    type Case = (&'static str, [&'static str; 5], Option<&'static str>, Dialect);

    fn check(cases: &[Case]) {
        for (text, [timestamp, hostname, appname, procid, message], content, dialect) in cases {
            let header = read(text.as_bytes());
            let shown = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
            assert_eq!(
                [*timestamp, hostname, appname, procid, message, content.unwrap_or(message)],
                [
                    shown(header.timestamp),
                    shown(header.hostname),
                    shown(header.appname),
                    shown(header.procid),
                    shown(header.message),
                    shown(header.content)
                ],
                "{text}"
            );
            assert_eq!(*dialect, header.dialect, "{text}");
        }
    }

    #[test]
    fn pri_is_taken_if_it_is_one_and_never_invented() {
        for (text, facility, severity, content) in [
            ("<0>x=1", Some(0), Some(0), "x=1"),
            ("<14>x=1", Some(1), Some(6), "x=1"),
            ("<191> x=1", Some(23), Some(7), "x=1"),
            ("<007>x=1", Some(0), Some(7), "x=1"),
            ("x=1", None, None, "x=1"),
            ("", None, None, ""),
            ("<14>", Some(1), Some(6), ""),
            ("<14>x=1\r\n\0", Some(1), Some(6), "x=1"),
        ] {
            let header = read(text.as_bytes());
            assert_eq!((facility, severity), (header.facility, header.severity), "{text}");
            assert_eq!(content.as_bytes(), header.content, "{text}");
        }
        for text in [
            "<192>Nov 22 00:00:02 fw a: b",
            "<999>a",
            "<14 Nov 22 00:00:02 fw a: b",
            "<>a",
            "<a>b",
            "<0014>c",
            "<",
            "<1",
        ] {
            let header = read(text.as_bytes());
            assert_eq!(
                (None, text.as_bytes(), text.as_bytes()),
                (header.severity, header.message, header.content),
                "{text}"
            );
            assert!(header.hostname.is_empty() && header.appname.is_empty(), "{text}");
        }
    }

    #[test]
    fn bodies_without_header() {
        use Dialect::{Plain, Rfc3164};
        let fortigate = "date=2026-11-22 time=00:00:02 devname=\"fw-a\" type=\"traffic\"";
        let cef = "CEF:0|Check Point|VPN-1 & FireWall-1|Check Point|Log|https|Unknown|act=Accept";
        let pan = "1,2026/11/22 00:00:02,000000000001,TRAFFIC,end";
        check(&[
            (
                "<189>date=2026-11-22 time=00:00:02 devname=\"fw-a\" type=\"traffic\"",
                ["", "", "", "", fortigate],
                None,
                Plain,
            ),
            (
                "date=2026-11-22 time=00:00:02 devname=\"fw-a\" type=\"traffic\"",
                ["", "", "", "", fortigate],
                None,
                Plain,
            ),
            (
                "<134>CEF:0|Check Point|VPN-1 & FireWall-1|Check Point|Log|https|Unknown|act=Accept",
                ["", "", "", "", cef],
                None,
                Plain,
            ),
            ("1,2026/11/22 00:00:02,000000000001,TRAFFIC,end", ["", "", "", "", pan], None, Plain),
            ("{\"event_type\": \"flow\"}", ["", "", "", "", "{\"event_type\": \"flow\"}"], None, Plain),
            // The body right after a stamp is no hostname.
            (
                "<14>Nov 22 00:00:02 1,2026/11/22 00:00:02,000000000001,TRAFFIC,end",
                ["Nov 22 00:00:02", "", "", "", pan],
                None,
                Rfc3164,
            ),
            ("Nov 22 00:00:02 date=2026-11-22", ["Nov 22 00:00:02", "", "", "", "date=2026-11-22"], None, Rfc3164),
            ("<134>Nov 22 00:00:02 CEF:0|A|B", ["Nov 22 00:00:02", "", "", "", "CEF:0|A|B"], None, Rfc3164),
            // A CSV or log4j body that begins with a date is no header.
            ("2026-11-22 00:00:02,allow,tcp", ["", "", "", "", "2026-11-22 00:00:02,allow,tcp"], None, Plain),
            ("two words", ["", "", "", "", "two words"], None, Plain),
        ]);
    }

    #[test]
    fn rfc3164_as_it_is_sent() {
        use Dialect::{Plain, Rfc3164};
        check(&[
            (
                "<14>Nov 22 00:00:02 PA-EDGE-01 1,2026/11/22 00:00:02,000000000001,TRAFFIC",
                ["Nov 22 00:00:02", "PA-EDGE-01", "", "", "1,2026/11/22 00:00:02,000000000001,TRAFFIC"],
                None,
                Rfc3164,
            ),
            (
                "<134>Nov 22 00:00:02 cp-mgmt CEF:0|Check Point|VPN-1",
                ["Nov 22 00:00:02", "cp-mgmt", "", "", "CEF:0|Check Point|VPN-1"],
                None,
                Rfc3164,
            ),
            (
                "<38>Nov  2 00:00:02 fw.example sshd[123]: closed",
                ["Nov  2 00:00:02", "fw.example", "sshd", "123", "closed"],
                Some("sshd[123]: closed"),
                Rfc3164,
            ),
            (
                "<38>NOV 2 00:00:02.5 192.0.2.1 mail/smtpd(pam_unix)[9]: x",
                ["NOV 2 00:00:02.5", "192.0.2.1", "mail/smtpd(pam_unix)", "9", "x"],
                Some("mail/smtpd(pam_unix)[9]: x"),
                Rfc3164,
            ),
            ("<38>Nov 22 00:00:02 host tag msg", ["Nov 22 00:00:02", "host", "", "", "tag msg"], None, Rfc3164),
            ("<38>Nov 22 00:00:02 host tag:", ["Nov 22 00:00:02", "host", "tag", "", ""], Some("tag:"), Rfc3164),
            ("<38>Nov 22 00:00:02 host", ["Nov 22 00:00:02", "host", "", "", ""], None, Rfc3164),
            ("<38>Nov 22 00:00:02", ["Nov 22 00:00:02", "", "", "", ""], None, Rfc3164),
            // No hostname: the first word is the tag.
            (
                "<134>Nov 22 00:00:02 filterlog[77]: 5,,,1,igb0",
                ["Nov 22 00:00:02", "", "filterlog", "77", "5,,,1,igb0"],
                Some("filterlog[77]: 5,,,1,igb0"),
                Rfc3164,
            ),
            ("<6>kernel: x", ["", "", "kernel", "", "x"], Some("kernel: x"), Plain),
            // IPv6 senders.
            (
                "<38>Nov 22 00:00:02 2001:db8::1 sshd[1]: x",
                ["Nov 22 00:00:02", "2001:db8::1", "sshd", "1", "x"],
                Some("sshd[1]: x"),
                Rfc3164,
            ),
            (
                "<38>Nov 22 00:00:02 2001:db8:: app: x",
                ["Nov 22 00:00:02", "2001:db8::", "app", "", "x"],
                Some("app: x"),
                Rfc3164,
            ),
            // A colon after the stamp.
            ("<38>Nov 22 00:00:02: fw app: x", ["Nov 22 00:00:02", "fw", "app", "", "x"], Some("app: x"), Rfc3164),
        ]);
    }

    #[test]
    fn stamps_with_year_fraction_and_zone() {
        for stamp in [
            "Nov 22 00:00:02",
            "nov 22 00:00:02",
            "Nov  2 00:00:02",
            "Nov 2 00:00:02",
            "Nov 22 2026 00:00:02",
            "Nov  2 2026 00:00:02.123",
            "2026 Nov 22 00:00:02",
            "Nov 22 00:00:02 2026",
            "Nov 22 00:00:02 UTC",
            "Nov 22 00:00:02.123 CEST",
            "Nov 22 00:00:02 2026 CET",
            "Nov 22 00:00:02 +0100",
            "Nov 22 00:00:02 +01:00",
            "Nov 22 00:00:02 GMT+05:30",
            "2026-11-22T00:00:02Z",
            "2026-11-22T00:00:02.123456+01:00",
            "2026-11-22T00:00:02-0500",
            "2026-11-22T00:00:02,5+01",
            "2026-11-22T00:00:02",
            "2026-11-22 00:00:02",
            "2026-11-22 00:00:02.123 UTC",
            "2026-11-22 00:00:02 +0100",
        ] {
            for pri in ["<38>", "<38> ", ""] {
                let text = format!("{pri}{stamp} fw-1 app[7]: x");
                let header = read(text.as_bytes());
                assert_eq!(stamp.as_bytes(), header.timestamp, "{text}");
                assert_eq!(b"fw-1", header.hostname, "{text}");
                assert_eq!(
                    (&b"app"[..], &b"7"[..], &b"x"[..]),
                    (header.appname, header.procid, header.message),
                    "{text}"
                );
            }
        }
        for text in
            ["Nov 22 00:00 fw", "Nov 22 00:0x:02 fw", "Nix 22 00:00:02 fw", "2026-11-22T00:00:02x fw", "2026-11-22 fw"]
        {
            assert_eq!(text.as_bytes(), read(text.as_bytes()).content, "{text}");
        }
        // Neither a zone nor a year: names of devices.
        for host in ["FW", "EDGE", "2126", "1999a", "UTC-fw"] {
            let text = format!("<38>Nov 22 00:00:02 {host} app: x");
            assert_eq!(host.as_bytes(), read(text.as_bytes()).hostname, "{text}");
        }
    }

    #[test]
    fn asa() {
        for (text, timestamp, hostname) in [
            ("<166>Nov 22 2026 00:00:06 asa-edge-01 : ", "Nov 22 2026 00:00:06", "asa-edge-01"),
            ("<166>Nov 22 2026 00:00:06 asa-edge-01: ", "Nov 22 2026 00:00:06", "asa-edge-01"),
            ("<166>Nov 22 2026 00:00:06: ", "Nov 22 2026 00:00:06", ""),
            ("<166>Nov 22 2026 00:00:06 192.0.2.1 : ", "Nov 22 2026 00:00:06", "192.0.2.1"),
            ("<166>:Nov 22 00:00:06 UTC: ", "Nov 22 00:00:06 UTC", ""),
            ("<166>: Nov 22 00:00:06 UTC: ", "Nov 22 00:00:06 UTC", ""),
            ("<166>Jul  4 10:00:00 fw ", "Jul  4 10:00:00", "fw"),
            ("<166>2026-11-22T00:00:06Z asa-edge-01 : ", "2026-11-22T00:00:06Z", "asa-edge-01"),
            ("<166>2026-11-22T00:00:06Z: ", "2026-11-22T00:00:06Z", ""),
            ("<166>asa-edge-01 : ", "", "asa-edge-01"),
            ("<166>asa-edge-01: ", "", "asa-edge-01"),
            ("<166>", "", ""),
            ("", "", ""),
            // A relay in front of it.
            ("<166>Nov 22 00:00:07 relay Nov 22 2026 00:00:06 asa-edge-01 : ", "Nov 22 00:00:07", "relay"),
            ("<166>Nov 22 00:00:07 relay Nov 22 2026 00:00:06: ", "Nov 22 00:00:07", "relay"),
        ] {
            let body = "%ASA-6-302015: Built outbound UDP connection 5";
            let text = format!("{text}{body}");
            let header = read(text.as_bytes());
            assert_eq!(timestamp.as_bytes(), header.timestamp, "{text}");
            assert_eq!(hostname.as_bytes(), header.hostname, "{text}");
            assert_eq!(b"%ASA-6-302015", header.appname, "{text}");
            assert_eq!(b"Built outbound UDP connection 5", header.message, "{text}");
            assert_eq!(body.as_bytes(), header.content, "{text}");
            assert_eq!(Dialect::Cisco, header.dialect, "{text}");
        }
    }

    #[test]
    fn ios_and_its_relatives() {
        for (text, timestamp, hostname, procid) in [
            ("<189>123: router-1: *Mar  1 18:48:50.483 UTC: ", "Mar  1 18:48:50.483 UTC", "router-1", ""),
            ("<189>123: 000045: Nov 22 00:00:02: ", "Nov 22 00:00:02", "", ""),
            ("<189>123: 000045: *Nov 22 00:00:02.001 MYZONE: ", "Nov 22 00:00:02.001 MYZONE", "", ""),
            ("<189>123: .Nov 22 00:00:02: ", "Nov 22 00:00:02", "", ""),
            ("<189>.Nov 22 00:00:02: ", "Nov 22 00:00:02", "", ""),
            ("<189>*Nov 22 2026 00:00:02: ", "Nov 22 2026 00:00:02", "", ""),
            ("<189>123: router-1: ", "", "router-1", ""),
            ("<189>123: ", "", "", ""),
            ("<189>45: 1w2d: ", "1w2d", "", ""),
            ("<189>45: 2y15w: ", "2y15w", "", ""),
            ("<189>3d04h: ", "3d04h", "", ""),
            ("<189>45: 00:00:45: ", "00:00:45", "", ""),
            ("<189>router-1: 45: Nov 22 00:00:02: ", "Nov 22 00:00:02", "router-1", ""),
            ("router-1: Nov 22 00:00:02.100 UTC: ", "Nov 22 00:00:02.100 UTC", "router-1", ""),
            ("<189>: 2026 Nov 22 00:00:02 UTC: ", "2026 Nov 22 00:00:02 UTC", "", ""),
            ("<189>Nov 22 00:00:03 192.0.2.1 45: Nov 22 00:00:02 UTC: ", "Nov 22 00:00:03", "192.0.2.1", ""),
            ("<189>45: RP/0/RP0/CPU0:Nov 22 00:00:02.227 EST: cfg[65]: ", "Nov 22 00:00:02.227 EST", "", "65"),
            ("<189>45: xr-1 RP/0/RSP0/CPU0:Nov 22 00:00:02.227 : ", "Nov 22 00:00:02.227", "xr-1", ""),
            ("<189>45: CLC 6/0: Nov 22 00:00:02.214 EST: ", "Nov 22 00:00:02.214 EST", "", ""),
        ] {
            for body in ["%SEC-6-IPACCESSLOGP: list 101 denied", "%SYSMGR-STANDBY-3-X : list 101 denied"] {
                let text = format!("{text}{body}");
                let header = read(text.as_bytes());
                assert_eq!(timestamp.as_bytes(), header.timestamp, "{text}");
                assert_eq!(hostname.as_bytes(), header.hostname, "{text}");
                assert_eq!(procid.as_bytes(), header.procid, "{text}");
                assert_eq!(b"list 101 denied", header.message, "{text}");
                assert_eq!(body.as_bytes(), header.content, "{text}");
                assert_eq!(Dialect::Cisco, header.dialect, "{text}");
            }
        }
        // What only looks like it.
        for text in ["123: x", "%% x", "%d-6 x", "% ASA-6-1: x", "a: b: c: d: e: f: g: h: i: %A-6-B: x", "*x", "."] {
            let header = read(text.as_bytes());
            assert_ne!(Dialect::Cisco, header.dialect, "{text}");
            assert_eq!(text.as_bytes(), header.content, "{text}");
        }
    }

    #[test]
    fn rfc5424_with_everything() {
        let text = "<165>1 2026-11-22T00:00:02.003Z fw.example app 8710 ID47 \
                    [a@32473 x=\"1\\]\\\"\\\\\" y=\"]\"][b@32473] \u{feff}text [c]";
        let header = read(text.as_bytes());
        let expected = Header {
            facility: Some(20),
            severity: Some(5),
            timestamp: b"2026-11-22T00:00:02.003Z",
            hostname: b"fw.example",
            appname: b"app",
            procid: b"8710",
            msgid: b"ID47",
            structured_data: b"[a@32473 x=\"1\\]\\\"\\\\\" y=\"]\"][b@32473]",
            message: b"text [c]",
            content: b"text [c]",
            dialect: Dialect::Rfc5424,
        };
        assert_eq!(expected, header);
    }

    #[test]
    fn rfc5424_as_it_is_sent() {
        use Dialect::{Plain, Rfc3164, Rfc5424};
        let stamp = "2026-11-22T00:00:02Z";
        check(&[
            ("<13>1 - - - - - - text", ["", "", "", "", "text"], None, Rfc5424),
            ("<13>1 - - - - - -", ["", "", "", "", ""], None, Rfc5424),
            ("<13>1 2026-11-22T00:00:02Z fw app 1 - -", [stamp, "fw", "app", "1", ""], None, Rfc5424),
            ("<13>1 2026-11-22T00:00:02Z fw app", [stamp, "fw", "app", "", ""], None, Rfc5424),
            ("1 2026-11-22T00:00:02Z fw app 1 - - x", [stamp, "fw", "app", "1", "x"], None, Rfc5424),
            ("<13>1 2026-11-22T00:00:02 fw app 1 - - x", ["2026-11-22T00:00:02", "fw", "app", "1", "x"], None, Rfc5424),
            // The header breaks off where the content starts.
            ("<13>1 2026-11-22T00:00:02Z fw CEF:0|A|B|c d|", [stamp, "fw", "", "", "CEF:0|A|B|c d|"], None, Rfc5424),
            ("<13>1 2026-11-22T00:00:02Z fw app 1 - text", [stamp, "fw", "app", "1", "text"], None, Rfc5424),
            // What is no structured data is content.
            (
                "<134>1 2026-11-22T00:00:02Z cp CheckPoint 1 - [action:\"Accept\"; src:\"192.0.2.1\"]",
                [stamp, "cp", "CheckPoint", "1", "[action:\"Accept\"; src:\"192.0.2.1\"]"],
                None,
                Rfc5424,
            ),
            (
                "<13>1 2026-11-22T00:00:02Z fw app 1 - [a b=\"c] x",
                [stamp, "fw", "app", "1", "[a b=\"c] x"],
                None,
                Rfc5424,
            ),
            // Old Junos.
            (
                "<165>1 2026-11-22T00:00:02Z rpd[1341]: up",
                [stamp, "", "rpd", "1341", "up"],
                Some("rpd[1341]: up"),
                Rfc3164,
            ),
            // Not a version.
            ("<13>1 text", ["", "", "", "", "1 text"], None, Plain),
            ("<13>1 1780000000.5 mx flows", ["", "", "", "", "1 1780000000.5 mx flows"], None, Plain),
            ("2 123456789012 eni-1 192.0.2.1", ["", "", "", "", "2 123456789012 eni-1 192.0.2.1"], None, Plain),
        ]);
    }
}
