//! Lines of log files: what stands before a line feed is a message, and the time that its device gave it.
//!
//! A file is read in blocks of whole lines. [`Engine::stretches`] tells when a block's lines were written, so that the
//! caller can keep a clock and merge files; [`Engine::lines`] then reads and counts lines of one and the same second. A
//! line is never an object on the way.
//!
//! The time is that of the device's own header, else that of the relay which wrote the file, else one in the text: many
//! firewalls leave the header out and say `date=2026-11-22 time=10:20:30`.

use crate::engine::Engine;
use crate::header::stamp;
use crate::value::ip::Ip;
use memchr::{memchr_iter, memmem};

/// When the sender of a message wrote it, as far as that is said.
pub(crate) struct Sender<'m> {
    /// The device's stamp.
    pub(crate) timestamp: &'m [u8],
    /// The stamp of the relay in front of it.
    pub(crate) relay_timestamp: &'m [u8],
    /// The device's configured zone.
    pub(crate) zone_offset_s: Option<i32>,
}

const NS_PER_S: u64 = 1_000_000_000;

/// How much of a text is searched for a date: it stands among the first fields or nowhere.
const SEARCHED_BYTES: usize = 512;

/// Lines one after the other that were written in the same second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Offset in the block of what follows.
    pub end: usize,
    /// When they were written, s since 1970 UTC; None: the first lines of a block, if they do not say it.
    pub second: Option<u64>,
    /// Lines that are not blank.
    pub lines: u64,
    /// Those of them that say the time themselves; a line that does not belongs to the one before it.
    pub timed: u64,
}

impl Engine {
    /// Reads and counts the lines of a block, received by `listener` from `peer` at `now_ns`; returns how many there
    /// were. A blank line is no message.
    pub fn lines(&mut self, listener: usize, peer: Option<Ip>, block: &[u8], now_ns: u64) -> u64 {
        let messages = lines_of(block).filter(|(_, line)| !is_blank(line)).map(|(_, line)| (peer, line));
        self.datagrams(listener, messages, now_ns)
    }

    /// When the lines of a block were written.
    ///
    /// `near_ns` (ns since 1970 UTC) chooses the year of a stamp that has none. `zone_offset_s` is the zone of devices
    /// whose messages do not say it and that the table of devices does not know, in s east of UTC.
    pub fn stretches(&self, peer: Option<Ip>, block: &[u8], near_ns: u64, zone_offset_s: Option<i32>) -> Vec<Stretch> {
        let mut found: Vec<Stretch> = Vec::new();
        // A busy device repeats its stamp from line to line.
        let mut last: (&[u8], Option<i32>, Option<u64>) = (&[], None, None);
        for (end, line) in lines_of(block) {
            let lines = u64::from(!is_blank(line));
            let second = if lines == 0 { None } else { self.second(peer, line, near_ns, zone_offset_s, &mut last) };
            let timed = u64::from(second.is_some());
            match found.last_mut() {
                Some(stretch) if second.is_none() || second == stretch.second => {
                    stretch.end = end;
                    stretch.lines = stretch.lines.saturating_add(lines);
                    stretch.timed = stretch.timed.saturating_add(timed);
                }
                _ => found.push(Stretch { end, second, lines, timed }),
            }
        }
        found
    }

    fn second<'m>(
        &self,
        peer: Option<Ip>,
        line: &'m [u8],
        near_ns: u64,
        zone_offset_s: Option<i32>,
        last: &mut (&'m [u8], Option<i32>, Option<u64>),
    ) -> Option<u64> {
        let sender = self.sender(line, peer);
        let zone_s = sender.zone_offset_s.or(zone_offset_s);
        let of_stamp = |stamp: &[u8]| stamp::time_ns(stamp, near_ns, zone_s).map(|ns| ns / NS_PER_S);
        let own = sender.timestamp;
        if (own, zone_s) == (last.0, last.1) && !own.is_empty() && last.2.is_some() {
            return last.2;
        }
        let second = of_stamp(own).or_else(|| of_stamp(sender.relay_timestamp)).or_else(|| {
            let date = written_in(line)?;
            of_stamp(date.bytes.get(..date.len)?)
        });
        *last = (own, zone_s, second);
        second
    }
}

/// The lines of a block with the offset behind each; what follows the last line feed is one, too.
fn lines_of(block: &[u8]) -> impl Iterator<Item = (usize, &[u8])> + Clone {
    let open = (block.last().is_some_and(|last| *last != b'\n')).then_some(block.len());
    let ends = memchr_iter(b'\n', block).map(|end| end.saturating_add(1)).chain(open);
    let mut start = 0;
    ends.map(move |end| {
        let line = block.get(start..end).unwrap_or_default();
        start = end;
        (end, line)
    })
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b'\n' | b'\r' | 0))
}

/// A date and time from the text of a message, written as a stamp.
struct Date {
    bytes: [u8; 40],
    len: usize,
}

impl Date {
    fn new() -> Self {
        Self { bytes: [0; 40], len: 0 }
    }

    fn push(&mut self, part: &[u8]) -> Option<()> {
        let end = self.len.checked_add(part.len())?;
        self.bytes.get_mut(self.len..end)?.copy_from_slice(part);
        self.len = end;
        Some(())
    }
}

/// The first date with a time in the text: `date=2026-11-22 time=10:20:30` (`FortiOS`, also with quotes and `tz="+0100"`),
/// `time="2026-11-22 10:20:30 UTC"`, `2026/11/22 10:20:30` (PAN-OS), `"2026-11-22T10:20:30Z"`; or CEF's ` rt=` in ms.
fn written_in(line: &[u8]) -> Option<Date> {
    let start = line.get(..SEARCHED_BYTES).unwrap_or(line);
    memmem::find_iter(start, b"20").find_map(|at| date_at(line, at)).or_else(|| receipt_time(line))
}

fn date_at(line: &[u8], at: usize) -> Option<Date> {
    // A number that only contains the digits of a year is no date.
    if at.checked_sub(1).and_then(|before| line.get(before)).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let [y1, y2, y3, y4, a @ (b'-' | b'/'), m1, m2, b, d1, d2, rest @ ..] = line.get(at..)? else { return None };
    if a != b || ![y3, y4, m1, m2, d1, d2].into_iter().all(u8::is_ascii_digit) {
        return None;
    }
    let ([b'T' | b't' | b' ', rest @ ..] | [b'"', b' ', rest @ ..]) = rest else { return None };
    let rest = rest.strip_prefix(b"time=").unwrap_or(rest);
    let rest = rest.strip_prefix(b"\"").unwrap_or(rest);
    let (clock, rest) = rest.split_at_checked(8)?;
    let [h1, h2, b':', n1, n2, b':', s1, s2] = clock else { return None };
    if ![h1, h2, n1, n2, s1, s2].into_iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut date = Date::new();
    for part in [&[*y1, *y2, *y3, *y4][..], b"-", &[*m1, *m2], b"-", &[*d1, *d2], b"T", clock] {
        date.push(part)?;
    }
    let rest = match rest {
        [b'.' | b',', after @ ..] => after.get(after.iter().take_while(|byte| byte.is_ascii_digit()).count()..)?,
        _ => rest,
    };
    date.push(zone_behind(rest, line))?;
    Some(date)
}

/// `Z`, an offset or ` UTC` right behind the time, else the value of ` tz=`.
fn zone_behind<'m>(rest: &'m [u8], line: &'m [u8]) -> &'m [u8] {
    match rest {
        [b'Z', ..] | [b' ', b'U', b'T', b'C', ..] | [b' ', b'G', b'M', b'T', ..] => return b"Z",
        [b'+' | b'-', ..] => return offset(rest),
        _ => {}
    }
    let start = line.get(..SEARCHED_BYTES).unwrap_or(line);
    let behind = memmem::find(start, b" tz=").and_then(|at| line.get(at.saturating_add(4)..));
    let value = behind.map(|value| value.strip_prefix(b"\"").unwrap_or(value));
    value.filter(|value| matches!(value, [b'+' | b'-', ..])).map_or(b"", offset)
}

/// `+hh`, `+hhmm` or `+hh:mm` at the start; empty if there is none.
fn offset(text: &[u8]) -> &[u8] {
    let digits =
        |from: usize| text.get(from..from.saturating_add(2)).is_some_and(|two| two.iter().all(u8::is_ascii_digit));
    let len = match text.get(3) {
        _ if !digits(1) => 0,
        Some(b':') if digits(4) => 6,
        _ if digits(3) => 5,
        _ => 3,
    };
    text.get(..len).unwrap_or_default()
}

/// ` rt=` with ms since 1970, as most products that speak CEF write it.
fn receipt_time(line: &[u8]) -> Option<Date> {
    let value = memmem::find_iter(line, b"rt=").find_map(|at| {
        let before = at.checked_sub(1).and_then(|before| line.get(before))?;
        let value = line.get(at.saturating_add(3)..)?;
        matches!(before, b' ' | b'|').then_some(value)
    })?;
    let (ms, rest) = value.split_at_checked(13)?;
    if !ms.iter().all(u8::is_ascii_digit) || rest.first().is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let (seconds, fraction) = ms.split_at_checked(10)?;
    let mut date = Date::new();
    for part in [seconds, b".", fraction] {
        date.push(part)?;
    }
    Some(date)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Outcome;
    use serde_json::json;

    const NEAR_NS: u64 = 1_795_305_600_000_000_000; // 2026-11-22T00:00:00Z
    const NEAR_S: u64 = NEAR_NS / NS_PER_S;

    fn engine() -> Engine {
        let plan = json!({
            "profiles": [],
            "counters": [],
            "internal_networks": [],
            "relays": ["192.0.2.9"],
            "devices": [{"name": "192.0.2.8", "utc_offset_s": 3600}, {"name": "fw-cet", "utc_offset_s": 7200}],
            "listeners": [{"name": "replay", "site": ""}],
            "bounds": {"message_bytes": 1024, "unfinished_bytes": 65536, "rows_per_batch": 1000, "event_count": 1000}
        });
        Engine::new(&plan).unwrap()
    }

    fn second(line: &str) -> Option<u64> {
        let stretches = engine().stretches(None, line.as_bytes(), NEAR_NS, None);
        assert_eq!(1, stretches.len(), "{line}");
        stretches[0].second.map(|second| second - NEAR_S)
    }

    #[test]
    fn lines_are_messages_and_blank_ones_are_none() {
        let mut engine = engine();
        assert_eq!(3, engine.lines(0, None, b"a\n\nb\r\n\r\n\0\nc", NEAR_NS));
        let notes = engine.changes(NEAR_NS).notes;
        assert_eq!(vec![(0, Outcome::Unparsed, 3, 6)], notes.ledger);
        assert_eq!(0, engine.lines(0, None, b"", NEAR_NS));
    }

    #[test]
    fn lines_of_one_second_are_one_stretch() {
        let block = b"no time\nNov 22 00:00:01 fw a: x\nNov 22 00:00:01 fw a: y\ngoes on\n\nNov 22 00:00:02 fw a: z";
        let stretches = engine().stretches(None, block, NEAR_NS, None);
        let stretch = |end, second: Option<u64>, lines, timed| Stretch {
            end,
            second: second.map(|second| NEAR_S + second),
            lines,
            timed,
        };
        assert_eq!(
            vec![stretch(8, None, 1, 0), stretch(65, Some(1), 3, 2), stretch(block.len(), Some(2), 1, 1)],
            stretches
        );
        assert!(engine().stretches(None, b"", NEAR_NS, None).is_empty());
    }

    #[test]
    fn time_of_the_header() {
        for (line, want) in [
            ("<14>Nov 22 00:00:05 fw app: x", Some(5)),
            ("<14>1 2026-11-22T01:00:05.9+01:00 fw app - - - x", Some(5)),
            ("Nov 22 2026 00:00:05: %ASA-6-1: date=2026-11-22 time=00:00:09", Some(5)),
            ("<14>Nov 42 00:00:05 fw app: x", None),
            ("<14>app: x", None),
        ] {
            assert_eq!(want, second(line), "{line}");
        }
    }

    #[test]
    fn time_of_the_text_where_the_header_has_none() {
        for (line, want) in [
            ("<189>date=2026-11-22 time=00:00:07 devname=\"fw\" tz=\"+0000\" type=traffic", Some(7)),
            ("date=2026-11-22 time=01:00:07 devname=\"fw\" tz=\"+0100\"", Some(7)),
            ("date=2026-11-22 time=01:00:07 devname=\"fw\" tz=\"+01:00\"", Some(7)),
            ("date=\"2026-11-22\" time=\"00:00:07\" x=1", Some(7)),
            ("id=firewall sn=20 time=\"2026-11-22 00:00:07 UTC\" fw=192.0.2.1", Some(7)),
            ("1,2026/11/22 00:00:07,000000000001,TRAFFIC,end", Some(7)),
            ("{\"timestamp\":\"2026-11-22T00:00:07.123456+0000\"}", Some(7)),
            ("{\"t\":\"2026-11-22T00:00:07.123Z\"}", Some(7)),
            ("CEF:0|A|B|1|x|y|1|act=Drop rt=1795305607000 src=192.0.2.1", Some(7)),
            ("CEF:0|A|B|1|x|y|1|rt=1795305607000", Some(7)),
            ("CEF:0|A|B|1|x|y|1|start=1795305607000 rt=17953056070001", None),
            ("x 12026-11-22 00:00:07", None),
            ("x 2026-11-22", None),
            ("x 2026-11/22 00:00:07", None),
            ("x 2026-11-22 00:0x:07", None),
            ("x 2026-19-22 00:00:07", None),
            ("20", None),
        ] {
            assert_eq!(want, second(line), "{line}");
        }
        let far = format!("{}2026-11-22 00:00:07", "x".repeat(SEARCHED_BYTES));
        assert_eq!(None, second(&far));
    }

    #[test]
    fn zones_and_relays() {
        let ip = |text: &str| crate::value::ip::parse(text.as_bytes());
        let engine = engine();
        let line = b"<14>Nov 22 03:00:00 fw-cet app: x";
        for (peer, zone_s, want_h) in [
            (None, None, 3),
            (None, Some(10_800), 0),
            (ip("192.0.2.8"), Some(10_800), 2),
            // A relay's header names the device, whose zone is known.
            (ip("192.0.2.9"), None, 1),
        ] {
            let found = engine.stretches(peer, line, NEAR_NS, zone_s);
            assert_eq!(Some(NEAR_S + want_h * 3600), found[0].second);
        }
        // The device's own time goes before that of the relay, an uptime is none.
        let relayed =
            b"<13>Nov 22 00:00:09 relay <14>Nov 22 00:00:03 fw app: x\n<13>Nov 22 00:00:09 sw 45: 3d04h: %SYS-5-X: x";
        let seconds: Vec<_> = engine
            .stretches(ip("192.0.2.9"), relayed, NEAR_NS, None)
            .iter()
            .map(|s| s.second.unwrap() - NEAR_S)
            .collect();
        assert_eq!(vec![3, 9], seconds);
    }

    #[test]
    fn any_bytes_give_stretches_that_cover_them() {
        let engine = engine();
        for size in 0..=255_u8 {
            let block: Vec<u8> = (0..=size).map(|n| n.wrapping_mul(37) ^ size).collect();
            let found = engine.stretches(None, &block, NEAR_NS, None);
            assert_eq!(Some(block.len()), found.last().map(|s| s.end));
            assert!(found.windows(2).all(|two| two[0].end < two[1].end));
        }
    }
}
