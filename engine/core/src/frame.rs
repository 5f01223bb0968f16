//! Messages out of the bytes of a stream connection (TCP, TLS).
//!
//! ```text
//! connection  = counted / lines                     ; RFC 6587 section 3.4, decided once per connection
//! counted     = *(*separator MSG-LEN SP MSG)        ; 3.4.1 octet counting
//! MSG-LEN     = NONZERO-DIGIT *6DIGIT
//! separator   = LF / CR / NUL / SP                  ; not in the RFC: relays that add a line end to a counted frame
//! lines       = *(MSG *CR (LF / NUL))               ; 3.4.2 non-transparent framing; NUL: old BSD and embedded senders
//! ```
//!
//! A connection is `counted` if its first bytes are `MSG-LEN SP`, else it is `lines`. So `2026-11-22 ...` and
//! `1,2026/11/22 ...`, which devices send without PRI, are lines.
//!
//! Framing is a security border: whatever is wrong with a frame, none of its bytes may come out as a message of
//! another sender. Hence the three rules of this file:
//!
//! * the decision is never taken again,
//! * the tail of an over-long frame is discarded up to the frame's own end,
//! * after a count that is none, everything is discarded up to an LF that `MSG-LEN SP "<"` follows.
//!
//! # Advice for hackers
//!
//! What comes out must not depend on where the chunks were cut (`tests/frame.rs` checks it for arbitrary bytes).
//! So each state looks at new bytes only, drops are reported when their end is known, and the CRs at the end of
//! the bytes so far are counted rather than carried, because only the byte after them tells whether they belong
//! to the message. A new state has to be handled in [`Framer::feed`] (by `resume` if it carries bytes) and in
//! [`Framer::finish`].

#[cfg(test)]
use crate::survive::bugs;
use memchr::{memchr, memchr2};
use std::mem;

/// Most digits a MSG-LEN may have. Ten million bytes are far above every message limit; a longer run is no count.
const COUNT_DIGITS: usize = 7;

/// First allocation for an unfinished frame, bytes: most firewall messages fit.
const FIRST_CARRY_BYTES: usize = 1024;

/// Why a frame did not become a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drop {
    /// Longer than the message limit.
    TooLong,
    /// The stream did not go on with a message count where one was due.
    BadFrame,
    /// The connection ended inside a counted frame.
    Unfinished,
    /// The bound on unfinished bytes of all connections was reached.
    NoMemory,
}

/// What ended in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended<'a> {
    /// A message without its delimiter or count, and without LF, CR and NUL at its end.
    ///
    /// Empty only if the sender counted a frame that holds nothing but line ends.
    Frame(&'a [u8]),
    /// One frame was lost, with its size in bytes: of the message alone where its borders are known, of everything
    /// that was discarded for [`Drop::BadFrame`].
    Dropped(Drop, u64),
}

/// Memory that the unfinished frames of all connections together may still take, bytes.
///
/// One is shared by all [`Framer`]s; each takes from it what it allocates and gives it back when the frame has ended.
#[derive(Debug)]
pub struct Room {
    left: usize,
}

impl Room {
    /// Room for this many bytes.
    pub const fn new(bytes: usize) -> Self {
        Self { left: bytes }
    }

    /// Bytes that are not taken.
    pub const fn left(&self) -> usize {
        self.left
    }

    fn take(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(bytes);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }

    fn give(&mut self, bytes: usize) {
        self.left = self.left.saturating_add(bytes);
    }
}

/// The frames of one stream connection.
///
/// # Limits
///
/// It carries at most one unfinished frame, never longer than the message limit, and keeps the last frame that was
/// put together from several chunks until the next call. Both are charged to the [`Room`]. Time is linear in the
/// bytes fed, also for senders of single bytes.
#[derive(Debug)]
pub struct Framer {
    reader: Reader,
    /// The frame that the last call put together; it lives until the next call so that its caller may keep it.
    done: Carry,
}

impl Framer {
    /// A new connection whose messages may have up to `message_bytes` bytes.
    pub const fn new(message_bytes: usize) -> Self {
        Self { reader: Reader::new(message_bytes), done: Carry::new() }
    }

    /// Take the connection's next bytes and call `sink` for each frame that they end, in order.
    ///
    /// Frames inside `chunk` are handed over in place; only the first may come from the bytes carried so far. Empty
    /// lines between messages (keep-alives, the LF after a NUL) are no messages and not reported.
    pub fn feed<'a>(&'a mut self, chunk: &'a [u8], room: &mut Room, mut sink: impl FnMut(Ended<'a>)) {
        let Self { reader, done } = self;
        done.free(room);
        let mut rest = reader.decide(chunk, room);
        #[cfg(test)]
        bugs::reach("frame");
        if reader.carries() {
            match reader.resume(&mut rest, room) {
                Resumed::Frame => mem::swap(done, &mut reader.carry),
                Resumed::Dropped(drop, bytes) => sink(Ended::Dropped(drop, bytes)),
                Resumed::Open => {}
            }
        }
        let done: &'a Carry = done;
        if !done.bytes.is_empty() {
            sink(Ended::Frame(trimmed(&done.bytes)));
        }
        while let Some(ended) = reader.next(&mut rest, room) {
            #[cfg(test)]
            bugs::reach("frame");
            sink(ended);
        }
    }

    /// The connection has ended: call `sink` for what was still open, if anything, and give all memory back.
    ///
    /// An unfinished line is a message, since many senders close without a last LF; an unfinished counted frame is
    /// [`Drop::Unfinished`]. Afterwards the framer is as new.
    ///
    /// Must be called for every connection: only this gives its share of the room back.
    pub fn finish<'a>(&'a mut self, room: &mut Room, mut sink: impl FnMut(Ended<'a>)) {
        let Self { reader, done } = self;
        done.free(room);
        #[cfg(test)]
        bugs::reach("finish");
        let ended = reader.finish(room);
        mem::swap(done, &mut reader.carry);
        // The bytes live a little longer, but nobody can add to them.
        room.give(mem::take(&mut done.charged));
        *reader = Reader::new(reader.limit);
        match ended {
            Resumed::Frame => sink(Ended::Frame(trimmed(&done.bytes))),
            Resumed::Dropped(drop, bytes) => sink(Ended::Dropped(drop, bytes)),
            Resumed::Open => {}
        }
    }

    /// The connection is given up, whatever state it is in: all memory is given back, and nothing is told.
    pub fn abandon(&mut self, room: &mut Room) {
        self.done.free(room);
        self.reader.carry.free(room);
    }

    /// Bytes of the unfinished frame held at the moment.
    pub fn carried(&self) -> usize {
        self.reader.carry.bytes.len()
    }
}

/// What became of the frame that earlier chunks had begun.
enum Resumed {
    /// It is whole and in the carry.
    Frame,
    /// It is lost.
    Dropped(Drop, u64),
    /// It goes on (or its loss goes on).
    Open,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Nothing but the first `digits` digits of the connection were seen; they are in `Reader::head`.
    Undecided { digits: usize },
    /// Inside a line, or before one.
    Line,
    /// Discarding a line up to its delimiter.
    LostLine { why: Drop, bytes: u64 },
    /// Before a counted frame or inside its count.
    Count { count: usize, digits: usize },
    /// Inside a counted frame of which `left` bytes are to come.
    Counted { left: usize },
    /// Discarding the `left` last bytes of a counted frame.
    LostCounted { left: usize, why: Drop, bytes: u64 },
    /// Discarding to the next LF after a broken count.
    LostStep { bytes: u64 },
    /// After an LF, discarding unless `MSG-LEN SP "<"` follows; the `seen` bytes of it are not yet in `bytes`.
    Resync { bytes: u64, count: usize, digits: usize, spaced: bool },
}

#[derive(Debug)]
struct Reader {
    limit: usize,
    state: State,
    /// Start of the unfinished frame, without the CRs at its end so far.
    carry: Carry,
    /// How many CRs follow the carry; whether they belong to the line is not known yet.
    returns: usize,
    /// Digits that a connection began with, until it is decided.
    head: [u8; COUNT_DIGITS],
}

impl Reader {
    const fn new(limit: usize) -> Self {
        Self { limit, state: State::Undecided { digits: 0 }, carry: Carry::new(), returns: 0, head: [0; COUNT_DIGITS] }
    }

    fn carries(&self) -> bool {
        !self.carry.bytes.is_empty() || self.returns > 0
    }

    /// Tell counted frames from lines by the connection's first bytes; returns the bytes that are still to be read.
    fn decide<'c>(&mut self, chunk: &'c [u8], room: &mut Room) -> &'c [u8] {
        let State::Undecided { digits: known } = self.state else { return chunk };
        let mut digits = known;
        let mut rest = chunk;
        while let Some((&byte, after)) = rest.split_first() {
            match self.head.get_mut(digits) {
                Some(place) if byte.is_ascii_digit() && (digits > 0 || byte != b'0') => {
                    *place = byte;
                    digits = digits.saturating_add(1);
                    rest = after;
                }
                _ if byte == b' ' && digits > 0 => {
                    let count = self.head.iter().take(digits).fold(0, |count, &digit| appended(count, digit));
                    self.state = State::Count { count, digits };
                    return rest;
                }
                _ => {
                    self.state = State::Line;
                    if known == 0 {
                        return chunk;
                    }
                    // The digits of earlier chunks are the start of the first line.
                    let (head, _) = cut(&self.head, digits);
                    if digits > self.limit {
                        self.state = State::LostLine { why: Drop::TooLong, bytes: wide(digits) };
                    } else if !self.carry.push(head, self.limit, room) {
                        self.state = State::LostLine { why: Drop::NoMemory, bytes: wide(digits) };
                    }
                    return rest;
                }
            }
        }
        self.state = State::Undecided { digits };
        rest
    }

    /// Go on with the frame that earlier chunks began.
    fn resume(&mut self, rest: &mut &[u8], room: &mut Room) -> Resumed {
        match self.state {
            State::Line => {
                let end = memchr2(b'\n', 0, rest);
                let (part, after) = cut(rest, end.unwrap_or(rest.len()));
                *rest = if end.is_some() { after.get(1..).unwrap_or_default() } else { after };
                if let Err((why, bytes)) = self.keep(part, room) {
                    if end.is_some() {
                        return Resumed::Dropped(why, bytes);
                    }
                    self.state = State::LostLine { why, bytes };
                } else if end.is_some() {
                    self.returns = 0;
                    if !self.carry.bytes.is_empty() {
                        return Resumed::Frame;
                    }
                }
                Resumed::Open
            }
            State::Counted { left } => {
                let (part, after) = cut(rest, left);
                if self.carry.push(part, self.limit, room) {
                    *rest = after;
                    let left = left.saturating_sub(part.len());
                    self.state = State::Counted { left };
                    if left == 0 {
                        self.state = State::Count { count: 0, digits: 0 };
                        return Resumed::Frame;
                    }
                } else {
                    let bytes = wide(self.carry.bytes.len());
                    self.carry.free(room);
                    self.state = State::LostCounted { left, why: Drop::NoMemory, bytes };
                }
                Resumed::Open
            }
            _ => Resumed::Open,
        }
    }

    /// Add a part of a line to the carry; `Err` tells why the line is lost, with its bytes so far.
    fn keep(&mut self, part: &[u8], room: &mut Room) -> Result<(), (Drop, u64)> {
        let content = without_returns(part);
        let returns = part.len().saturating_sub(content.len());
        if content.is_empty() {
            self.returns = self.returns.saturating_add(returns);
            return Ok(());
        }
        let before = self.carry.bytes.len().saturating_add(self.returns);
        let long = before.saturating_add(content.len()) > self.limit;
        if !long
            && self.carry.push_returns(self.returns, self.limit, room)
            && self.carry.push(content, self.limit, room)
        {
            self.returns = returns;
            return Ok(());
        }
        self.carry.free(room);
        self.returns = 0;
        let why = if long { Drop::TooLong } else { Drop::NoMemory };
        Err((why, wide(before.saturating_add(part.len()))))
    }

    /// The next frame that ends in `rest`, while nothing is carried; the unfinished tail goes into the carry.
    fn next<'c>(&mut self, rest: &mut &'c [u8], room: &mut Room) -> Option<Ended<'c>> {
        while let Some((&first, after)) = rest.split_first() {
            match self.state {
                State::Undecided { .. } => return None,
                State::Line => {
                    let Some(end) = memchr2(b'\n', 0, rest) else {
                        if let Err((why, bytes)) = self.keep(rest, room) {
                            self.state = State::LostLine { why, bytes };
                        }
                        *rest = &[];
                        return None;
                    };
                    let (line, after) = cut(rest, end);
                    *rest = after.get(1..).unwrap_or_default();
                    let content = without_returns(line);
                    if content.len() > self.limit {
                        return Some(Ended::Dropped(Drop::TooLong, wide(line.len())));
                    }
                    if !content.is_empty() {
                        return Some(Ended::Frame(content));
                    }
                }
                State::LostLine { why, bytes } => {
                    let end = memchr2(b'\n', 0, rest);
                    let (lost, after) = cut(rest, end.unwrap_or(rest.len()));
                    *rest = after.get(1..).unwrap_or_default();
                    let bytes = bytes.saturating_add(wide(lost.len()));
                    self.state = State::LostLine { why, bytes };
                    if end.is_some() {
                        self.state = State::Line;
                        return Some(Ended::Dropped(why, bytes));
                    }
                }
                State::Count { count, digits } => match first {
                    b'\n' | b'\r' | 0 | b' ' if digits == 0 => *rest = after,
                    b' ' => {
                        *rest = after;
                        self.begin(count);
                    }
                    b'0'..=b'9' if digits < COUNT_DIGITS && (digits > 0 || first != b'0') => {
                        *rest = after;
                        self.state = State::Count { count: appended(count, first), digits: digits.saturating_add(1) };
                    }
                    // The byte is not taken here: it may be the LF that brings the stream back into step.
                    _ => self.state = State::LostStep { bytes: wide(digits) },
                },
                State::Counted { left } => {
                    if rest.len() < left {
                        if self.carry.push(rest, self.limit, room) {
                            self.state = State::Counted { left: left.saturating_sub(rest.len()) };
                            *rest = &[];
                        } else {
                            self.state = State::LostCounted { left, why: Drop::NoMemory, bytes: 0 };
                        }
                    } else {
                        let (frame, after) = cut(rest, left);
                        *rest = after;
                        self.state = State::Count { count: 0, digits: 0 };
                        return Some(Ended::Frame(trimmed(frame)));
                    }
                }
                State::LostCounted { left, why, bytes } => {
                    let (lost, after) = cut(rest, left);
                    *rest = after;
                    let left = left.saturating_sub(lost.len());
                    let bytes = bytes.saturating_add(wide(lost.len()));
                    self.state = State::LostCounted { left, why, bytes };
                    if left == 0 {
                        self.state = State::Count { count: 0, digits: 0 };
                        return Some(Ended::Dropped(why, bytes));
                    }
                }
                State::LostStep { bytes } => {
                    let end = memchr(b'\n', rest);
                    let (lost, after) = cut(rest, end.map_or(rest.len(), |end| end.saturating_add(1)));
                    *rest = after;
                    let bytes = bytes.saturating_add(wide(lost.len()));
                    self.state = if end.is_some() {
                        State::Resync { bytes, count: 0, digits: 0, spaced: false }
                    } else {
                        State::LostStep { bytes }
                    };
                }
                State::Resync { bytes, count, digits, spaced } => match first {
                    b'<' if spaced => {
                        self.begin(count);
                        return Some(Ended::Dropped(Drop::BadFrame, bytes));
                    }
                    b' ' if digits > 0 && !spaced => {
                        *rest = after;
                        self.state = State::Resync { bytes, count, digits, spaced: true };
                    }
                    b'0'..=b'9' if !spaced && digits < COUNT_DIGITS && (digits > 0 || first != b'0') => {
                        *rest = after;
                        let count = appended(count, first);
                        self.state = State::Resync { bytes, count, digits: digits.saturating_add(1), spaced };
                    }
                    _ => self.state = State::LostStep { bytes: resync_bytes(bytes, digits, spaced) },
                },
            }
        }
        None
    }

    /// A counted frame starts.
    fn begin(&mut self, count: usize) {
        self.state = if count > self.limit {
            State::LostCounted { left: count, why: Drop::TooLong, bytes: 0 }
        } else {
            State::Counted { left: count }
        };
    }

    /// What the end of the connection makes of the open frame.
    fn finish(&mut self, room: &mut Room) -> Resumed {
        match self.state {
            State::Undecided { digits } => {
                let (head, _) = cut(&self.head, digits);
                if digits == 0 {
                    Resumed::Open
                } else if digits > self.limit {
                    Resumed::Dropped(Drop::TooLong, wide(digits))
                } else if self.carry.push(head, self.limit, room) {
                    Resumed::Frame
                } else {
                    Resumed::Dropped(Drop::NoMemory, wide(digits))
                }
            }
            State::Line if self.carry.bytes.is_empty() => Resumed::Open,
            State::Line => Resumed::Frame,
            State::LostLine { why, bytes } | State::LostCounted { why, bytes, .. } => Resumed::Dropped(why, bytes),
            State::Count { digits: 0, .. } => Resumed::Open,
            State::Count { digits, .. } => Resumed::Dropped(Drop::Unfinished, wide(digits)),
            State::Counted { .. } => Resumed::Dropped(Drop::Unfinished, wide(self.carry.bytes.len())),
            State::LostStep { bytes } => Resumed::Dropped(Drop::BadFrame, bytes),
            State::Resync { bytes, digits, spaced, .. } => {
                Resumed::Dropped(Drop::BadFrame, resync_bytes(bytes, digits, spaced))
            }
        }
    }
}

/// A growing piece of memory that is charged to the [`Room`].
#[derive(Debug)]
struct Carry {
    bytes: Vec<u8>,
    charged: usize,
}

impl Carry {
    const fn new() -> Self {
        Self { bytes: Vec::new(), charged: 0 }
    }

    /// Append, or say that there is no room. `limit`: what this will never grow beyond.
    fn push(&mut self, part: &[u8], limit: usize, room: &mut Room) -> bool {
        let held = self.reserve(part.len(), limit, room);
        if held {
            self.bytes.extend_from_slice(part);
        }
        held
    }

    fn push_returns(&mut self, count: usize, limit: usize, room: &mut Room) -> bool {
        let held = self.reserve(count, limit, room);
        if held {
            self.bytes.resize(self.bytes.len().saturating_add(count), b'\r');
        }
        held
    }

    fn reserve(&mut self, more: usize, limit: usize, room: &mut Room) -> bool {
        let need = self.bytes.len().saturating_add(more);
        if need <= self.charged {
            return true;
        }
        // Doubling keeps senders of single bytes linear; the exact size is the second try when room is short.
        let ample = self.charged.saturating_mul(2).max(FIRST_CARRY_BYTES).min(limit).max(need);
        [ample, need].into_iter().any(|size| {
            let growth = size.saturating_sub(self.charged);
            if !room.take(growth) {
                return false;
            }
            if self.bytes.try_reserve_exact(size.saturating_sub(self.bytes.len())).is_err() {
                room.give(growth);
                return false;
            }
            self.charged = size;
            true
        })
    }

    fn free(&mut self, room: &mut Room) {
        room.give(mem::take(&mut self.charged));
        self.bytes = Vec::new();
    }
}

/// Both sides of a place; all and nothing if the place lies behind the end.
fn cut(bytes: &[u8], at: usize) -> (&[u8], &[u8]) {
    bytes.split_at_checked(at).unwrap_or((bytes, &[]))
}

fn appended(count: usize, digit: u8) -> usize {
    count.saturating_mul(10).saturating_add(usize::from(digit.wrapping_sub(b'0')))
}

fn wide(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn resync_bytes(bytes: u64, digits: usize, spaced: bool) -> u64 {
    bytes.saturating_add(wide(digits)).saturating_add(u64::from(spaced))
}

fn without_returns(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|&byte| byte != b'\r').map_or(0, |last| last.saturating_add(1));
    cut(line, end).0
}

fn trimmed(frame: &[u8]) -> &[u8] {
    let end =
        frame.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r' | 0)).map_or(0, |last| last.saturating_add(1));
    cut(frame, end).0
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 64;

    /// What the chunks yield without the connection being closed, and the framer.
    fn feed(chunks: &[&str]) -> (Vec<String>, Framer, Room) {
        let (mut room, mut framer, mut got) = (Room::new(4096), Framer::new(LIMIT), Vec::new());
        for chunk in chunks {
            framer.feed(chunk.as_bytes(), &mut room, |ended| got.push(shown(ended)));
        }
        (got, framer, room)
    }

    fn shown(ended: Ended<'_>) -> String {
        match ended {
            Ended::Frame(frame) => String::from_utf8_lossy(frame).into_owned(),
            Ended::Dropped(why, bytes) => format!("{why:?} {bytes}"),
        }
    }

    fn closed(chunks: &[&str]) -> Vec<String> {
        let (mut got, mut framer, mut room) = feed(chunks);
        framer.finish(&mut room, |ended| got.push(shown(ended)));
        assert_eq!(4096, room.left());
        got
    }

    #[test]
    fn the_first_bytes_decide() {
        for (text, expected) in [
            ("5 <14>a", &["<14>a"][..]),
            ("5 hello5 again", &["hello", "again"]),
            ("<14>a\n5 <14>b\n", &["<14>a", "5 <14>b"]),
            ("2026-11-22 00:00:02 fw up\n", &["2026-11-22 00:00:02 fw up"]),
            ("1,2026/11/22 00:00:02,TRAFFIC\n2,x\n", &["1,2026/11/22 00:00:02,TRAFFIC", "2,x"]),
            ("20261122 up\n5 x\n", &["20261122 up", "5 x"]),
            ("0 x\n", &["0 x"]),
            ("\n5 x\n", &["5 x"]),
            ("12\n34 x\n", &["12", "34 x"]),
            ("123", &["123"]),
            ("", &[]),
        ] {
            assert_eq!(expected, closed(&[text]), "{text:?}");
            let bytes: Vec<&str> = text.split_inclusive(|_: char| true).collect();
            assert_eq!(expected, closed(&bytes), "{text:?} byte by byte");
        }
    }

    #[test]
    fn whole_frames_are_borrowed_from_the_chunk() {
        let chunk = b"<14>first\r\n<14>second\n<14>thi";
        let (mut room, mut framer) = (Room::new(4096), Framer::new(LIMIT));
        let mut batch = Vec::new();
        framer.feed(chunk, &mut room, |ended| batch.push(ended));

        let range = chunk.as_ptr_range();
        for ended in &batch {
            let Ended::Frame(frame) = ended else { panic!("{ended:?}") };
            assert!(range.contains(&frame.as_ptr()));
        }
        assert_eq!(2, batch.len());
        assert_eq!(7, framer.carried());
    }

    #[test]
    fn a_frame_over_several_chunks_outlives_the_call_with_those_of_the_chunk() {
        let (mut room, mut framer) = (Room::new(4096), Framer::new(LIMIT));
        framer.feed(b"<14>fi", &mut room, |_| panic!("nothing has ended"));
        let mut batch = Vec::new();
        framer.feed(b"rst\n<14>second\n", &mut room, |ended| batch.push(ended));

        assert_eq!(vec![Ended::Frame(b"<14>first"), Ended::Frame(b"<14>second")], batch);
    }

    #[test]
    fn separators_between_counted_frames_are_skipped() {
        assert_eq!(["<14>a", "<14>b", "<14>c"], *closed(&["5 <14>a\n5 <14>b\r\n\0 6 <14>c\n"]));
    }

    #[test]
    fn a_counted_frame_of_line_ends_is_empty() {
        assert_eq!(["", "<14>a"], *closed(&["2 \r\n5 <14>a"]));
        assert_eq!(["", "<14>a"], *closed(&["2 \r", "\n5 <14>a"]));
    }

    #[test]
    fn an_open_line_is_a_message_at_the_end_and_an_open_counted_frame_is_not() {
        assert_eq!(["<14>a", "<14>b"], *closed(&["<14>a\n<14>", "b\r"]));
        assert_eq!(["<14>a", "Unfinished 3"], *closed(&["5 <14>a", "9 <14"]));
        assert_eq!(["<14>a", "Unfinished 2"], *closed(&["5 <14>a12"]));
        assert_eq!(["<14>a", "Unfinished 0"], *closed(&["5 <14>a12 "]));
        assert_eq!(["<14>a"], *closed(&["5 <14>a\n"]));
    }

    #[test]
    fn a_loss_that_is_still_going_on_is_reported_at_the_end() {
        assert_eq!(["TooLong 70"], *closed(&["x", &"x".repeat(69)]));
        assert_eq!(["<14>a", "TooLong 3"], *closed(&["5 <14>a100 <14"]));
        assert_eq!(["<14>a", "BadFrame 5"], *closed(&["5 <14>a?\n12 "]));
    }

    #[test]
    fn without_room_one_frame_is_lost_and_the_stream_stays_in_step() {
        let mut room = Room::new(10);
        let (mut lines, mut counted, mut got) = (Framer::new(LIMIT), Framer::new(LIMIT), Vec::new());
        lines.feed(b"<14>12345", &mut room, |_| panic!("nothing has ended"));
        assert_eq!(1, room.left());
        lines.feed(b"67890\n<14>next\n", &mut room, |ended| got.push(shown(ended)));
        assert_eq!(["NoMemory 14", "<14>next"], *got);
        assert_eq!(10, room.left());

        got.clear();
        counted.feed(b"14 <14>1234", &mut room, |_| panic!("nothing has ended"));
        counted.feed(b"5678", &mut room, |_| panic!("nothing has ended"));
        counted.feed(b"905 <14>a", &mut room, |ended| got.push(shown(ended)));
        assert_eq!(["NoMemory 14", "<14>a"], *got);
        assert_eq!(10, room.left());
    }

    #[test]
    fn after_the_end_the_framer_is_as_new() {
        let (_, mut framer, mut room) = feed(&["5 <14>a99 <1"]);
        framer.finish(&mut room, |_| ());
        let mut got = Vec::new();
        framer.feed(b"<14>line\n", &mut room, |ended| got.push(shown(ended)));
        assert_eq!(["<14>line"], *got);
    }
}
