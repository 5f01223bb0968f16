//! A bug in reading: what it costs, and what it does not.

use super::{Changes, Engine, Origin, Outcome};
use crate::quarantine::PANICKED;
use crate::survive::bugs;
use serde_json::json;

const NOW: u64 = 1_800_000_000_000_000_000;

/// The bug: a message that holds this word.
const WORD: &[u8] = b"trip-the-engine";

/// Called before a message is read, in these tests alone.
pub(super) fn panic_if_asked(message: &[u8]) {
    assert!(!message.windows(WORD.len()).any(|found| found == WORD), "a bug that somebody asked for");
}

fn engine() -> Engine {
    let profile = json!({
        "name": "acme", "title": "Acme", "EventVendor": "Acme", "EventProduct": "Wall",
        "detect": [{"starts": "acme "}],
        "reader": "kv",
        "set": {"EventResult": "Failure"},
        "fields": {"SrcIpAddr": "src"},
        "message": [{"id": "*"}],
    });
    let plan = json!({
        "profiles": [profile],
        "counters": [{
            "name": "failures", "where": {"EventResult": "Failure"}, "group_by": ["SrcIpAddr"],
            "slot_s": 60, "capacity": 100, "weight": "EventCount",
            "rules": [{"name": "many", "window_slots": 5, "level": 10}],
        }],
        "internal_networks": [],
        "listeners": [{"name": "udp", "site": ""}, {"name": "tcp", "site": ""}],
        "bounds": {"message_bytes": 2000, "unfinished_bytes": 10_000, "rows_per_batch": 1000, "event_count": 50},
    });
    Engine::new(&plan).unwrap()
}

fn count(changes: &Changes) -> u64 {
    changes.rows.iter().flat_map(|(_, rows)| rows).map(|row| row.count).sum()
}

#[test]
fn a_message_that_trips_the_engine_costs_itself_and_is_kept() {
    let mut engine = engine();
    let good: &[u8] = b"<13>acme src=192.0.2.1";
    let bad: &[u8] = b"<13>acme src=192.0.2.1 trip-the-engine";
    engine.datagrams(0, [good, bad, good, bad, good].map(|message| (None, message)), NOW);
    let stream = engine.connect(Origin { listener: 1, peer: None });
    let whole = [good, b"\n", bad, b"\n", good, b"\n"].concat();
    assert_eq!(3, engine.feed(stream, &whole, NOW));

    let changes = engine.changes(NOW);
    let mut ledger: Vec<_> =
        changes.notes.ledger.iter().map(|(listener, outcome, messages, _)| (*listener, *outcome, *messages)).collect();
    ledger.sort_by_key(|(listener, outcome, _)| (*listener, *outcome as usize));
    assert_eq!(
        vec![(0, Outcome::Session, 3), (0, Outcome::Panic, 2), (1, Outcome::Session, 2), (1, Outcome::Panic, 1)],
        ledger
    );
    assert_eq!(5, count(&changes));
    let mut kept = changes.notes.quarantine;
    kept.sort_by_key(|group| group.listener);
    let kept: Vec<_> =
        kept.iter().map(|g| (g.listener, g.profile.as_str(), g.messages, g.example.as_slice())).collect();
    assert_eq!(vec![(0, PANICKED, 2, bad), (1, PANICKED, 1, bad)], kept);

    // It goes on as if nothing had been.
    engine.ack(changes.seq);
    engine.datagrams(0, [(None, good)], NOW);
    assert_eq!(1, engine.feed(stream, b"<13>acme src=192.0.2.1\n", NOW));
    assert_eq!(2, count(&engine.changes(NOW)));
}

fn ledger(changes: &Changes) -> Vec<(usize, Outcome, u64, u64)> {
    let mut ledger = changes.notes.ledger.clone();
    ledger.sort_by_key(|(listener, outcome, ..)| (*listener, *outcome as usize));
    ledger
}

const GOOD: &[u8] = b"<13>acme src=192.0.2.1";
const BYTES: u64 = GOOD.len() as u64;

#[test]
fn a_panic_around_a_message_costs_that_message() {
    for (place, passed, times, lost) in [("datagram", 2, 1, 1), ("datagram", 0, 3, 3), ("advance", 0, 2, 2)] {
        let mut engine = engine();
        bugs::ask(place, passed, times);
        assert_eq!(5, engine.datagrams(0, [GOOD; 5].map(|message| (None, message)), NOW));
        let changes = engine.changes(NOW);
        let want = vec![(0, Outcome::Session, 5 - lost, (5 - lost) * BYTES), (0, Outcome::Panic, lost, lost * BYTES)];
        assert_eq!((want, 5 - lost), (ledger(&changes), count(&changes)), "{place}");
        // Nobody may bring about that a pass looks broken.
        assert_eq!(0, changes.panics);
    }
    // All of them, and as many as there are.
    let mut engine = engine();
    bugs::ask("datagram", 0, 5);
    assert_eq!(5, engine.lines(0, None, &[GOOD, b"\n"].concat().repeat(5), NOW));
    assert_eq!(vec![(0, Outcome::Panic, 5, 5 * (BYTES + 1))], ledger(&engine.changes(NOW)));
}

#[test]
fn a_stream_whose_framing_panics_ends_and_its_rest_is_counted() {
    let mut engine = engine();
    let line = [GOOD, b"\n"].concat();
    let [broken, other] = [(); 2].map(|()| engine.connect(Origin { listener: 1, peer: None }));
    assert_eq!(0, engine.feed(broken, &line[..5], NOW));
    assert_eq!(0, engine.feed(other, &line[..5], NOW));
    // Before the first frame of the next bytes, then behind the first, the second is on its way.
    bugs::ask("frame", 2, 1);
    assert_eq!(3, engine.feed(broken, &[&line[5..], &line, &line, &line[..9]].concat(), NOW));
    assert!(!engine.has_stream(broken) && engine.has_stream(other));
    // What comes later comes from nobody.
    assert_eq!(0, engine.feed(broken, &line, NOW) + engine.disconnect(broken, NOW));
    assert_eq!(1, engine.feed(other, &line[5..], NOW));
    let changes = engine.changes(NOW);
    let rest = 4 * line.len() as u64 - 2 * BYTES - (line.len() as u64 - 9);
    assert_eq!(vec![(1, Outcome::Session, 3, 3 * BYTES), (1, Outcome::Panic, 1, rest)], ledger(&changes));
    assert_eq!((0, 3), (changes.panics, count(&changes)));
    engine.ack(changes.seq);

    // No unfinished frame of it is left in the bound of all.
    for _ in 0..20 {
        let stream = engine.connect(Origin { listener: 1, peer: None });
        engine.feed(stream, &[b'x'; 1900], NOW);
        bugs::ask("frame", 0, 1);
        assert_eq!(1, engine.feed(stream, b"x", NOW));
    }
    assert_eq!(vec![(1, Outcome::Panic, 20, 20 * 1901)], ledger(&engine.changes(NOW)));
}

#[test]
fn a_panic_at_the_end_of_a_stream_is_an_outcome() {
    let mut engine = engine();
    let stream = engine.connect(Origin { listener: 1, peer: None });
    engine.feed(stream, GOOD, NOW);
    bugs::ask("finish", 0, 1);
    assert_eq!(1, engine.disconnect(stream, NOW));
    assert!(!engine.has_stream(stream));
    assert_eq!(vec![(1, Outcome::Panic, 1, BYTES)], ledger(&engine.changes(NOW)));
}

#[test]
fn a_batch_whose_making_panics_is_what_there_is() {
    // What the pass lacks then: windows, or rows, which come later.
    for (place, windows, rows) in [("advance", 1, 20), ("judge", 0, 20), ("collect", 1, 0), ("proceed", 1, 20)] {
        let mut engine = engine();
        engine.datagrams(0, [GOOD; 20].map(|message| (None, message)), NOW);
        bugs::ask(place, 0, 1);
        let changes = engine.changes(NOW);
        assert_eq!((1, windows, rows), (changes.panics, changes.windows.len(), count(&changes)), "{place}");
        assert_eq!(vec![(0, Outcome::Session, 20, 20 * BYTES)], ledger(&changes));
        engine.ack(changes.seq);
        engine.datagrams(0, [(None, GOOD)], NOW);
        let next = engine.changes(NOW);
        assert_eq!((0, 1, 21), (next.panics, next.windows.len(), rows + count(&next)), "{place}");
    }
}

#[test]
fn a_panic_that_the_core_did_not_see_is_told_once() {
    let mut engine = engine();
    engine.note_panic();
    assert_eq!((1, 0), (engine.changes(NOW).panics, engine.changes(NOW).panics));
}
