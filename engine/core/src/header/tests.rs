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
    for text in
        ["<192>Nov 22 00:00:02 fw a: b", "<999>a", "<14 Nov 22 00:00:02 fw a: b", "<>a", "<a>b", "<0014>c", "<", "<1"]
    {
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
    let cef = "CEF:0|Check Point|VPN-1 & FireWall-1|Check Point|Log|ssh|Unknown|act=Accept";
    let pan = "1,2026/11/22 00:00:02,000000000001,TRAFFIC,end";
    check(&[
        (
            "<189>date=2026-11-22 time=00:00:02 devname=\"fw-a\" type=\"traffic\"",
            ["", "", "", "", fortigate],
            None,
            Plain,
        ),
        ("date=2026-11-22 time=00:00:02 devname=\"fw-a\" type=\"traffic\"", ["", "", "", "", fortigate], None, Plain),
        (
            "<134>CEF:0|Check Point|VPN-1 & FireWall-1|Check Point|Log|ssh|Unknown|act=Accept",
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
        ("<38>Nov 22 00:00:02 host tag msg", ["Nov 22 00:00:02", "host", "tag", "", "msg"], Some("tag msg"), Rfc3164),
        (
            "<38>Nov 22 00:00:02 host -- MARK --",
            ["Nov 22 00:00:02", "host", "--", "", "MARK --"],
            Some("-- MARK --"),
            Rfc3164,
        ),
        ("<38>Nov 22 00:00:02 host word", ["Nov 22 00:00:02", "host", "word", "", ""], Some("word"), Rfc3164),
        (
            "<38>Nov 22 00:00:02 host app[7] msg",
            ["Nov 22 00:00:02", "host", "app", "7", "msg"],
            Some("app[7] msg"),
            Rfc3164,
        ),
        ("<38>Nov 22 00:00:02 host app:msg", ["Nov 22 00:00:02", "host", "app", "", "msg"], Some("app:msg"), Rfc3164),
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
        "Nov 22 00:00",
        "Nov 22 2026 00:00 CET",
        "2026-11-22T00:00Z",
        "2026-11-22T00:00+01:00",
        "November 22 00:00:02",
        "may 22 00:00:02",
        "Sun Nov 22 00:00:02 2026",
        "Sun, Nov 22 00:00:02 CET 2026",
        "22/11/2026:00:00:02 GMT",
        "2026:11:22-00:00:02",
    ] {
        for pri in ["<38>", "<38> ", ""] {
            let text = format!("{pri}{stamp} fw-1 app[7]: x");
            let header = read(text.as_bytes());
            assert_eq!(stamp.as_bytes(), header.timestamp, "{text}");
            assert_eq!(b"fw-1", header.hostname, "{text}");
            assert_eq!((&b"app"[..], &b"7"[..], &b"x"[..]), (header.appname, header.procid, header.message), "{text}");
        }
    }
    for text in [
        "Nov 22 00:0 fw",
        "Nov 22 00:0x:02 fw",
        "Nov 22 00:00:0x fw",
        "Novem 22 00:00:02 fw",
        "Nov 22 00:00x fw",
        "Nix 22 00:00:02 fw",
        "2026-11-22T00:00:02x fw",
        "2026-11-22 fw",
    ] {
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
    for (text, timestamp, hostname, is_tag) in [
        ("<166>Nov 22 2026 00:00:06 asa-edge-01 : ", "Nov 22 2026 00:00:06", "asa-edge-01", true),
        ("<166>Nov 22 2026 00:00:06 asa-edge-01: ", "Nov 22 2026 00:00:06", "asa-edge-01", true),
        ("<166>Nov 22 2026 00:00:06: ", "Nov 22 2026 00:00:06", "", false),
        ("<166>Nov 22 2026 00:00:06 192.0.2.1 : ", "Nov 22 2026 00:00:06", "192.0.2.1", true),
        ("<166>:Nov 22 00:00:06 UTC: ", "Nov 22 00:00:06 UTC", "", false),
        ("<166>: Nov 22 00:00:06 UTC: ", "Nov 22 00:00:06 UTC", "", false),
        ("<166>Jul  4 10:00:00 fw ", "Jul  4 10:00:00", "fw", true),
        ("<166>2026-11-22T00:00:06Z asa-edge-01 : ", "2026-11-22T00:00:06Z", "asa-edge-01", true),
        ("<166>2026-11-22T00:00:06Z: ", "2026-11-22T00:00:06Z", "", false),
        ("<166>asa-edge-01 : ", "", "asa-edge-01", false),
        ("<166>asa-edge-01: ", "", "asa-edge-01", false),
        ("<166>", "", "", false),
        ("", "", "", false),
        // A relay in front of it.
        ("<166>Nov 22 00:00:07 relay Nov 22 2026 00:00:06 asa-edge-01 : ", "Nov 22 00:00:07", "relay", false),
        ("<166>Nov 22 00:00:07 relay Nov 22 2026 00:00:06: ", "Nov 22 00:00:07", "relay", false),
    ] {
        let body = "%ASA-6-302015: Built outbound UDP connection 5";
        let text = format!("{text}{body}");
        let header = read(text.as_bytes());
        assert_eq!(timestamp.as_bytes(), header.timestamp, "{text}");
        assert_eq!(hostname.as_bytes(), header.hostname, "{text}");
        assert_eq!(b"%ASA-6-302015", header.appname, "{text}");
        let message = if is_tag { "Built outbound UDP connection 5" } else { body };
        assert_eq!(message.as_bytes(), header.message, "{text}");
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
            assert_eq!((body.as_bytes(), body.as_bytes()), (header.message, header.content), "{text}");
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
        behind: header.behind,
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
        // Structured data that is content as well.
        (
            "<134>1 2026-11-22T00:00:02Z cp CheckPoint 1 - [action:\"Accept\"; src:\"192.0.2.1\"]",
            [stamp, "cp", "CheckPoint", "1", ""],
            Some("[action:\"Accept\"; src:\"192.0.2.1\"]"),
            Rfc5424,
        ),
        // What is no structured data is content.
        ("<13>1 2026-11-22T00:00:02Z fw app 1 - [a b=\"c] x", [stamp, "fw", "app", "1", "[a b=\"c] x"], None, Rfc5424),
        // Old Junos.
        ("<165>1 2026-11-22T00:00:02Z rpd[1341]: up", [stamp, "", "rpd", "1341", "up"], Some("rpd[1341]: up"), Rfc3164),
        // Not a version.
        ("<13>1 text", ["", "", "", "", "1 text"], None, Plain),
        ("<13>1 1780000000 mx flows", ["", "", "", "", "1 1780000000 mx flows"], None, Plain),
        ("2 123456789012 eni-1 192.0.2.1", ["", "", "", "", "2 123456789012 eni-1 192.0.2.1"], None, Plain),
    ]);
}

#[test]
fn data_is_no_loose_tag() {
    for text in [
        "CEF:0|A|B|1|x|y|1|",
        "CEF: 0|A|B|1|x|y|1|",
        "LEEF:2.0|A|B|1|x|^|src=192.0.2.1",
        "date=2026-11-22 time=00:00:02 logid=\"1\"",
        "1,2026/11/22 00:00:02,000000000001,TRAFFIC,end",
        "{\"event_type\": \"flow\"}",
        "\"22\" \"10Dec2026\" \"eth1\"",
        "firewall,info forward: in:ether1 out:ether2",
        "2026-11-22 00:00:02 allow",
        "198.51.100.7 443 allow",
        "https://fw.example/x",
        "fe80::1 up",
        "- text",
        "a|b c",
        "[a b",
    ] {
        let message = format!("<14>Nov 22 00:00:02 fw {text}");
        let header = read(message.as_bytes());
        assert_eq!((&b""[..], text.as_bytes()), (header.appname, header.message), "{message}");
        assert_eq!((text.as_bytes(), None), (header.content, header.inner_content()), "{message}");
    }
}

#[test]
fn meraki() {
    use Dialect::Meraki;
    let stamp = "1780000000.342705328";
    let flows = "flows src=192.0.2.1 dst=198.51.100.2 pattern: allow all";
    for start in ["", "<134>", "<134> ", "<134>1 ", "1 "] {
        let text = format!("{start}{stamp} MX84_4 {flows}");
        let header = read(text.as_bytes());
        assert_eq!((stamp.as_bytes(), &b"MX84_4"[..]), (header.timestamp, header.hostname), "{text}");
        assert_eq!((&b"flows"[..], flows.as_bytes()), (header.appname, header.content), "{text}");
        assert_eq!(Meraki, header.dialect, "{text}");
    }
    // A relay in front of it keeps its own stamp and hostname.
    for version in ["1 ", ""] {
        let text = format!("<134>Nov 22 00:00:03 192.0.2.9 {version}{stamp} MX84_4 {flows}");
        let (outer, inner) = read_relayed(text.as_bytes());
        let inner = inner.unwrap();
        assert_eq!((&b"Nov 22 00:00:03"[..], &b"192.0.2.9"[..]), (outer.timestamp, outer.hostname));
        assert_eq!((stamp.as_bytes(), &b"MX84_4"[..]), (inner.timestamp, inner.hostname));
        assert_eq!((flows.as_bytes(), flows.as_bytes()), (outer.content, inner.content));
    }
    for text in [
        "1780000000 mx flows",
        "178000000.5 mx flows",
        "1780000000. mx flows",
        "1780000000.5",
        "1780000000.5 mx {}",
        "1780000000.123 35 192.0.2.1 TCP_MISS/200",
        "1780000000.5 {",
    ] {
        assert_eq!(text.as_bytes(), read(text.as_bytes()).content, "{text}");
    }
}

#[test]
fn words_around_hostname_and_tag() {
    use Dialect::Rfc3164;
    let stamp = "Nov 22 00:00:02";
    let ubnt = "hostapd: ath0: STA 02:00:00:00:00:01 left";
    let ubnt_message = "ath0: STA 02:00:00:00:00:01 left";
    let tmm = "tmm[123]: 01260013:4: SSL Handshake failed";
    let watchguard = "firewall: msg_id=\"3000-0148\" Allow 1-Trusted 0-External";
    for (header_text, hostname, content, appname, procid, message) in [
        ("ap-1,020000000001,v4.0.66.10832: ", "ap-1", ubnt, "hostapd", "", ubnt_message),
        ("ap-1,020000000001,v4.0.66.10832 ", "ap-1", ubnt, "hostapd", "", ubnt_message),
        ("020000000001,v4.0.66.10832: ", "020000000001", ubnt, "hostapd", "", ubnt_message),
        ("(\"ap-1,020000000001,v3.9.6.7485\") ", "ap-1", ubnt, "hostapd", "", ubnt_message),
        ("\"ap-1,020000000001,v3.9.6.7485\": ", "ap-1", ubnt, "hostapd", "", ubnt_message),
        ("ap-1 020000000001,UAP-AC-Pro-6.5.28+14491: ", "ap-1", ubnt, "hostapd", "", ubnt_message),
        ("bigip-1 notice ", "bigip-1", tmm, "tmm", "123", "01260013:4: SSL Handshake failed"),
        ("slot1/bigip-1 warning ", "bigip-1", tmm, "tmm", "123", "01260013:4: SSL Handshake failed"),
        (
            "wg-1 D0F60000000A1 (2026-11-22T00:00:02) ",
            "wg-1",
            watchguard,
            "firewall",
            "",
            "msg_id=\"3000-0148\" Allow 1-Trusted 0-External",
        ),
        ("fw notice ", "fw", "of expiry", "", "", ""),
    ] {
        let text = format!("<30>{stamp} {header_text}{content}");
        let header = read(text.as_bytes());
        assert_eq!((stamp.as_bytes(), hostname.as_bytes()), (header.timestamp, header.hostname), "{text}");
        assert_eq!(Rfc3164, header.dialect, "{text}");
        if appname.is_empty() {
            // The word is a loose tag like any other.
            assert_eq!((&b"notice"[..], content.as_bytes()), (header.appname, header.message), "{text}");
            continue;
        }
        assert_eq!(content.as_bytes(), header.content, "{text}");
        assert_eq!(
            (appname.as_bytes(), procid.as_bytes(), message.as_bytes()),
            (header.appname, header.procid, header.message),
            "{text}"
        );
    }
    // Not UniFi.
    for text in
        ["ap-1,02000000000g,v4 x", "ap-1,020000000001, x", ",020000000001,v4 x", "a,b,020000000001,v4 x", "(\"a\" x"]
    {
        let message = format!("<30>{stamp} {text}");
        assert_eq!(text.as_bytes(), read(message.as_bytes()).content, "{message}");
    }
}

#[test]
fn second_place_for_profiles() {
    let junos = "RT_FLOW_SESSION_CREATE [junos@2636.1.1.1.2.129 source-address=\"192.0.2.1\" source-port=\"5\"]";
    let check_point = "[action:\"Accept\"; src:\"192.0.2.1\"; rule:\"a]b\"]";
    for (start, data, content, inner) in [
        ("<14>1 2026-11-22T00:00:02Z srx RT_FLOW - ", junos, "", Some(junos)),
        ("<14>1 2026-11-22T00:00:02Z cp CheckPoint 1 - ", "[sc4s@2620 action=\"Drop\"]", "", None),
        ("<14>1 2026-11-22T00:00:02Z cp CheckPoint 1 - ", check_point, check_point, Some(check_point)),
        ("<14>Nov 22 00:00:02 fw app: ", "CEF:0|A|B|1|x|y|1|", "app: CEF:0|A|B|1|x|y|1|", Some("CEF:0|A|B|1|x|y|1|")),
        ("<14>Nov 22 00:00:02 fw app[7]: ", "{\"a\": 1}", "app[7]: {\"a\": 1}", Some("{\"a\": 1}")),
        ("<14>Nov 22 00:00:02 fw app -: ", "LEEF:1.0|A|B|1|x|", "app -: LEEF:1.0|A|B|1|x|", Some("LEEF:1.0|A|B|1|x|")),
        ("<14>app.warning: ", "CEF:0|A|B|1|x|y|1|", "app.warning: CEF:0|A|B|1|x|y|1|", Some("CEF:0|A|B|1|x|y|1|")),
        ("<14>", "CEF:0|A|B|1|x|y|1|", "CEF:0|A|B|1|x|y|1|", None),
        (
            "<14>Nov 22 00:00:02 relay ",
            "<166>Nov 22 2026 00:00:06 asa : %ASA-6-1: x",
            "<166>Nov 22 2026 00:00:06 asa : %ASA-6-1: x",
            Some("%ASA-6-1: x"),
        ),
        ("<14>", "<166>date=1 logid=2", "<166>date=1 logid=2", Some("date=1 logid=2")),
        // What starts like a PRI and is none, behind a tag and by itself.
        (
            "<14>Nov 22 00:00:02 pc-1 ",
            "agent: <Event a='b'><System/></Event>",
            "agent: <Event a='b'><System/></Event>",
            Some("<Event a='b'><System/></Event>"),
        ),
        ("<14>Nov 22 00:00:02 pc-1 ", "agent[7]: <192>x", "agent[7]: <192>x", Some("<192>x")),
        ("<14>", "<Event/>", "<Event/>", None),
    ] {
        let text = format!("{start}{data}");
        let header = read(text.as_bytes());
        let is_rfc5424 = header.dialect == Dialect::Rfc5424;
        assert_eq!(content.as_bytes(), header.content, "{text}");
        let inner = inner.or((is_rfc5424).then_some(data));
        assert_eq!(inner.map(str::as_bytes), header.inner_content(), "{text}");
        if is_rfc5424 {
            let bracket = data.find('[').unwrap();
            assert_eq!(&data.as_bytes()[bracket..], header.structured_data, "{text}");
        }
    }
    // Structured data behind a tag, and what only looks like it.
    let header = read(b"<14>Nov 22 00:00:02 fw app:  [origin a=\"b\" c=\"d\"] start");
    assert_eq!((&b"[origin a=\"b\" c=\"d\"]"[..], &b"start"[..]), (header.structured_data, header.message));
    assert_eq!(b"app:  [origin a=\"b\" c=\"d\"] start", header.content);
    for text in ["[1] a", "[a] b", "[a b] c", "[a b=c] d", "[a b=\"c] d", "[a"] {
        let message = format!("<14>Nov 22 00:00:02 fw app: {text}");
        let header = read(message.as_bytes());
        assert_eq!((&b""[..], text.as_bytes()), (header.structured_data, header.message), "{message}");
    }
}

#[test]
fn relays() {
    let shown = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
    for (text, outer, inner) in [
        (
            "<13>Nov 22 00:00:03 relay <189>Nov 22 2026 00:00:02 asa-1 : %ASA-6-1: x",
            ["relay", "Nov 22 00:00:03"],
            Some(["asa-1", "Nov 22 2026 00:00:02"]),
        ),
        (
            "<13>Nov 22 00:00:03 relay Nov 22 00:00:02 fw-1 app[1]: x",
            ["relay", "Nov 22 00:00:03"],
            Some(["fw-1", "Nov 22 00:00:02"]),
        ),
        (
            "<13>Nov 22 00:00:03 192.0.2.1 45: Nov 22 00:00:02.5 UTC: %SEC-6-X: x",
            ["192.0.2.1", "Nov 22 00:00:03"],
            Some(["", "Nov 22 00:00:02.5 UTC"]),
        ),
        ("<13>Nov 22 00:00:03 relay fwd: <14>x", ["relay", "Nov 22 00:00:03"], Some(["", ""])),
        (
            "<13>1 2026-11-22T00:00:03Z relay - - - - <14>1 2026-11-22T00:00:02Z fw-1 app - - - x",
            ["relay", "2026-11-22T00:00:03Z"],
            Some(["fw-1", "2026-11-22T00:00:02Z"]),
        ),
        ("<13><14>Nov 22 00:00:02 fw-1 app: x", ["", ""], Some(["fw-1", "Nov 22 00:00:02"])),
        // The relay has passed on the device's own header.
        ("<13>Nov 22 00:00:02 fw-1 app: x", ["fw-1", "Nov 22 00:00:02"], None),
        ("<13>Nov 22 00:00:02 asa-1 : %ASA-6-1: x", ["asa-1", "Nov 22 00:00:02"], None),
        ("<13>45: sw-1: *Nov 22 00:00:02: %SYS-5-X: x", ["sw-1", "Nov 22 00:00:02"], None),
        ("<13>Nov 22 00:00:02 fw-1 2026-11-22 00:00:01 ERROR x", ["fw-1", "Nov 22 00:00:02"], None),
        ("<13>date=1", ["", ""], None),
    ] {
        let (read_outer, read_inner) = read_relayed(text.as_bytes());
        assert_eq!(read(text.as_bytes()), read_outer, "{text}");
        let names = |header: &Header<'_>| [shown(header.hostname), shown(header.timestamp)];
        assert_eq!(outer.map(str::to_owned), names(&read_outer), "{text}");
        assert_eq!(inner.map(|inner| inner.map(str::to_owned)), read_inner.as_ref().map(names), "{text}");
    }
}

#[test]
fn bytes_are_bytes() {
    for start in ["<14>Nov 22 00:00:02 fw app: ", "<14>1 2026-11-22T00:00:02Z fw app - - - "] {
        for text in [&b"a\0b\nc\r\nd"[..], b"stra\xdfe \xe4\xf6\xfc", "straße".as_bytes()] {
            for mark in [&b""[..], b"\xEF\xBB\xBF"] {
                let message = [start.as_bytes(), mark, text, b"\n"].concat();
                let header = read(&message);
                assert_eq!((text, &b"fw"[..], &b"app"[..]), (header.message, header.hostname, header.appname));
            }
        }
    }
    for text in [
        "\u{feff}<14>date=1",
        "<14>\u{feff}date=1",
        "<14>Nov 22 00:00:02 \u{feff}date=1",
        "<14>Nov 22 00:00:02 fw \u{feff}date=1",
    ] {
        let header = read(text.as_bytes());
        assert_eq!((Some(6), &b"date=1"[..]), (header.severity, header.content), "{text}");
    }
}

#[test]
fn version_before_a_stamp_of_rfc3164() {
    let header = read(b"<14>1 Nov 22 00:00:02 fw app[7]: x");
    assert_eq!((&b"Nov 22 00:00:02"[..], &b"fw"[..]), (header.timestamp, header.hostname));
    assert_eq!((&b"app"[..], Dialect::Rfc3164), (header.appname, header.dialect));
}
