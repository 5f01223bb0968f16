//! Properties of the framing, and what a sender must not be able to smuggle through it.
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use collectord_core::frame::{Drop, Ended, Framer, Room};
use proptest::collection::vec;
use proptest::prelude::*;

const LIMIT: usize = 40;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Got {
    Frame(Vec<u8>),
    Dropped(Drop, u64),
}

fn own(ended: Ended<'_>) -> Got {
    match ended {
        Ended::Frame(frame) => Got::Frame(frame.to_vec()),
        Ended::Dropped(why, bytes) => Got::Dropped(why, bytes),
    }
}

fn frame(text: &str) -> Got {
    Got::Frame(text.as_bytes().to_vec())
}

/// Everything that a connection which sent these chunks and closed has yielded.
fn run<'c>(limit: usize, chunks: impl IntoIterator<Item = &'c [u8]>) -> Vec<Got> {
    let mut room = Room::new(1 << 20);
    let mut framer = Framer::new(limit);
    let mut got = Vec::new();
    for chunk in chunks {
        framer.feed(chunk, &mut room, |ended| got.push(own(ended)));
        assert!(framer.carried() <= limit, "carries {} bytes, limit {limit}", framer.carried());
    }
    framer.finish(&mut room, |ended| got.push(own(ended)));
    assert_eq!(1 << 20, room.left(), "all room is given back");
    got
}

fn whole(text: &[u8]) -> Vec<Got> {
    run(LIMIT, [text])
}

/// Lines by the book: slow, on the whole input, without any state.
fn lines_by_the_book(text: &[u8]) -> Vec<Got> {
    let mut pieces: Vec<&[u8]> = text.split(|byte| matches!(byte, b'\n' | 0)).collect();
    let last = pieces.pop().unwrap_or_default();
    let end = |piece: &[u8]| piece.iter().rposition(|&byte| byte != b'\r').map_or(0, |at| at + 1);
    let mut got = Vec::new();
    for piece in pieces.into_iter().chain([last]) {
        match end(piece) {
            0 => {}
            n if n > LIMIT => got.push(Got::Dropped(Drop::TooLong, piece.len() as u64)),
            n => got.push(Got::Frame(piece[..n].to_vec())),
        }
    }
    got
}

/// Bytes that bring the framing into every state: mostly digits, delimiters and `<`.
fn wire() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => proptest::sample::select(&b"0123456789"[..]).prop_map(|byte| vec![byte]),
        4 => proptest::sample::select(&b"\n\r\0 <>a"[..]).prop_map(|byte| vec![byte]),
        2 => any::<u8>().prop_map(|byte| vec![byte]),
        2 => (1..60_usize).prop_map(|n| { let mut f = format!("{n} <").into_bytes(); f.resize(f.len() + n - 1, b'x'); f }),
        1 => (1..60_usize).prop_map(|n| format!("\n{n} <14>").into_bytes()),
        1 => (30..90_usize).prop_map(|n| vec![b'y'; n]),
    ];
    vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// Where the chunks are cut makes no difference, and no more than the limit is carried.
    #[test]
    fn whole_is_any_split(text in wire(), cuts in vec(1..9_usize, 1..20)) {
        let mut rest = &text[..];
        let mut chunks = Vec::new();
        for size in cuts.into_iter().cycle() {
            if rest.is_empty() { break; }
            let (chunk, after) = rest.split_at(size.min(rest.len()));
            chunks.push(chunk);
            rest = after;
        }
        let expected = whole(&text);

        prop_assert_eq!(&expected, &run(LIMIT, chunks));
        prop_assert_eq!(&expected, &run(LIMIT, text.chunks(1)));
    }

    /// Lines are what a plain split yields.
    #[test]
    fn lines_are_lines(text in wire()) {
        let text = [b"x".as_slice(), &text].concat();

        prop_assert_eq!(lines_by_the_book(&text), whole(&text));
    }

    /// Counted frames come back as they were, whatever is in them, except for line ends at their end.
    #[test]
    fn counted_frames_come_back(frames in vec(vec(any::<u8>(), 1..LIMIT), 1..6)) {
        let mut sent = Vec::new();
        let mut expected = Vec::new();
        for frame in &frames {
            sent.extend_from_slice(format!("{} ", frame.len()).as_bytes());
            sent.extend_from_slice(frame);
            let end = frame.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r' | 0)).map_or(0, |at| at + 1);
            expected.push(Got::Frame(frame[..end].to_vec()));
        }

        prop_assert_eq!(expected, whole(&sent));
    }

    /// No room is lost or used twice, whatever is sent and however little there is.
    #[test]
    fn room_is_given_back(texts in vec(wire(), 1..5), bytes in 0..3000_usize) {
        let mut room = Room::new(bytes);
        let mut framers: Vec<Framer> = texts.iter().map(|_| Framer::new(LIMIT)).collect();
        for (framer, text) in framers.iter_mut().zip(&texts) {
            for chunk in text.chunks(3) {
                framer.feed(chunk, &mut room, |_| ());
                prop_assert!(room.left() <= bytes);
            }
        }
        for framer in &mut framers {
            framer.finish(&mut room, |_| ());
        }

        prop_assert_eq!(bytes, room.left());
    }
}

mod smuggling {
    //! Each test is an attempt to have a part of one sender's message taken for a message of its own.

    use super::*;

    const FORGED: &str = "<14>Nov 22 00:00:00 fw forged: yes";

    #[test]
    fn tail_of_an_over_long_line() {
        let text = format!("<14>{}{FORGED}\n<14>next\n", "x".repeat(LIMIT));
        assert_eq!(
            vec![Got::Dropped(Drop::TooLong, (text.len() - 10) as u64), frame("<14>next")],
            whole(text.as_bytes())
        );
        assert_eq!(whole(text.as_bytes()), run(LIMIT, text.as_bytes().chunks(LIMIT + 1)));
    }

    #[test]
    fn count_inside_lines() {
        let forged = format!("{} {FORGED}", FORGED.len());
        let text = format!("<14>a\n{forged}\n<14>b\n");
        assert_eq!(vec![frame("<14>a"), frame(&forged), frame("<14>b")], whole(text.as_bytes()));
    }

    #[test]
    fn line_and_count_inside_a_counted_frame() {
        let inner = "<14>a\n9 <14>forge\0<14>b";
        let text = format!("{} {inner}6 <14>ok", inner.len());
        assert_eq!(vec![frame(inner), frame("<14>ok")], whole(text.as_bytes()));
    }

    #[test]
    fn count_inside_an_over_long_counted_frame() {
        let inner = format!("<14>{}\n9 <14>forge", "x".repeat(LIMIT));
        let text = format!("{} {inner}6 <14>ok", inner.len());
        assert_eq!(vec![Got::Dropped(Drop::TooLong, inner.len() as u64), frame("<14>ok")], whole(text.as_bytes()));
    }

    #[test]
    fn count_that_is_too_small() {
        // The rest of the message is no count: all is discarded up to a line that begins with one.
        let text = "5 <14>a<14>forged: 9 <14>forge\n<14>forged\n6 <14>ok7 <14>two";
        let lost = "a<14>forged: 9 <14>forge\n<14>forged\n".len() as u64;
        assert_eq!(
            vec![frame("<14>a"), Got::Dropped(Drop::BadFrame, lost - 1), frame("<14>ok"), frame("<14>two")],
            whole(text.as_bytes())
        );
    }

    #[test]
    fn absurd_and_malformed_counts() {
        for bad in ["12345678 <14>x", "0 <14>x", "007 <14>x", "1x <14>x", "-5 <14>x", "1\t<14>x"] {
            let text = format!("6 <14>ok{bad}\n6 <14>ok");
            let lost = bad.len() as u64 + 1;
            assert_eq!(
                vec![frame("<14>ok"), Got::Dropped(Drop::BadFrame, lost), frame("<14>ok")],
                whole(text.as_bytes()),
                "{bad}"
            );
        }
    }

    #[test]
    fn way_back_needs_the_whole_start_of_a_frame() {
        let text = "5 <14>a?\n6 x\n6  <14>\n06 <14>ok\n<14>x\n12345678 <14>x\n66\n6 <14>ok";
        let lost = text.len() - "5 <14>a".len() - "6 <14>ok".len();
        assert_eq!(
            vec![frame("<14>a"), Got::Dropped(Drop::BadFrame, lost as u64), frame("<14>ok")],
            whole(text.as_bytes())
        );
    }

    #[test]
    fn broken_count_that_ends_in_the_line_end_before_a_good_one() {
        assert_eq!(
            vec![frame("<14>a"), Got::Dropped(Drop::BadFrame, 3), frame("<14>ok")],
            whole(b"5 <14>a12\n6 <14>ok")
        );
    }

    #[test]
    fn nul_and_return_make_no_message() {
        assert_eq!(
            vec![frame("<14>a"), frame("<14>b"), frame("<14>c\r d"), frame("<14>e")],
            whole(b"<14>a\r\n\n\r\n<14>b\0\n<14>c\r d\r\r\n\0\r\0<14>e\r")
        );
    }

    #[test]
    fn returns_do_not_stretch_the_limit() {
        let exact = "x".repeat(LIMIT);
        let crlf = format!("{exact}\r\r\n{exact}\ry\r\n");
        let expected = vec![frame(&exact), Got::Dropped(Drop::TooLong, LIMIT as u64 + 3)];
        assert_eq!(expected, whole(crlf.as_bytes()));
        assert_eq!(expected, run(LIMIT, crlf.as_bytes().chunks(1)));
    }
}

/// A sender of single bytes costs time in proportion to its bytes: 8 times the bytes must not take 30 times as long.
#[test]
fn single_bytes_are_not_quadratic() {
    let time = |bytes: usize| {
        let text = vec![b'x'; bytes];
        let mut best = std::time::Duration::MAX;
        for _ in 0..3 {
            let mut room = Room::new(usize::MAX);
            let mut framer = Framer::new(usize::MAX);
            let start = std::time::Instant::now();
            text.chunks(1).for_each(|chunk| framer.feed(chunk, &mut room, |_| ()));
            framer.finish(&mut room, |_| ());
            best = best.min(start.elapsed());
        }
        best
    };
    let small = time(64 << 10);
    assert!(time(512 << 10) < small * 30 + std::time::Duration::from_millis(20));
}
