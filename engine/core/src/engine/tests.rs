//! A bug in reading: what it costs, and what it does not.

use super::{Changes, Engine, Origin, Outcome};
use crate::quarantine::PANICKED;
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
