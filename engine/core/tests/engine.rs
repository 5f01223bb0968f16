//! The engine as its caller sees it: plans, outcomes, counting, numbered batches, windows, and one message in full.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use collectord_core::engine::{Changes, Next, OUTCOMES, Origin, Row};
use collectord_core::key::Part;
use collectord_core::states::StateRow;
use collectord_core::value::ip;
use collectord_core::{Engine, Outcome};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const S: u64 = 1_000_000_000;
/// Somewhere in time, on a boundary of minutes.
const START_S: u64 = 1_800_000_000;
const NOW: u64 = START_S * S;
const MINUTE: u64 = 60 * S;
const HOUR: u64 = 3600 * S;

/// A made-up product: `acme src=... dst=... port=... act=... n=...`.
fn profile() -> Value {
    json!({
        "name": "acme", "title": "Acme", "EventVendor": "Acme", "EventProduct": "Wall",
        "detect": [{"starts": "acme "}],
        "reader": "kv",
        "id": "type",
        "fields": {"SrcIpAddr": "src", "DstIpAddr": "dst", "DstPortNumber": "port", "EventCount": "n"},
        "map": [{"from": "act", "to": {
            "allow": {"DvcAction": "Allow"},
            "deny": {"DvcAction": "Deny"},
            "again": {"DvcAction": "Deny", "counts": "never"},
            "info": {"session": false},
        }}],
        "message": [{"id": "*"}, {"id": "other", "session": false}],
    })
}

fn plan() -> Value {
    json!({
        "profiles": [profile()],
        "counters": [
            {
                "name": "failures", "where": {"EventResult": "Failure"}, "group_by": ["SrcIpAddr"],
                "slot_s": 60, "capacity": 100, "weight": "EventCount",
                "rules": [{"name": "many", "window_slots": 5, "level": 10}],
            },
            {
                "name": "ports", "where": {}, "group_by": ["DstPortNumber", "DvcAction"],
                "slot_s": 60, "capacity": 100, "weight": "records",
                "rules": [{"name": "busy", "window_slots": 2,
                           "levels": {"field": "DstPortNumber", "values": {"22": 3}}}],
            },
        ],
        "internal_networks": ["10.0.0.0/8"],
        "listeners": [{"name": "udp", "site": "north"}, {"name": "tcp", "site": "south"}, {"name": "more"}],
        "bounds": {"message_bytes": 200, "unfinished_bytes": 1000, "rows_per_batch": 1000, "event_count": 50},
    })
}

fn engine() -> Engine {
    Engine::new(&plan()).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// A failed session; `rest` adds to it.
fn deny(source: &str, rest: &str) -> Vec<u8> {
    format!("<13>acme src={source} dst=10.0.0.1 port=22 act=deny {rest}").into_bytes()
}

fn send(engine: &mut Engine, messages: &[Vec<u8>], now: u64) {
    engine.datagrams(0, messages.iter().map(|message| (None, message.as_slice())), now);
}

/// (counter, slot from the start, site, key) -> (count, messages).
type Sums = BTreeMap<(String, i64, String, String), (u64, u64)>;

fn sums(changes: &Changes) -> Sums {
    let mut sums = Sums::new();
    for (counter, rows) in &changes.rows {
        for Row { slot_start_s, key, count, messages, .. } in rows {
            let (site, parts) = key.clone().unwrap_or_else(|| ("*".into(), Vec::new()));
            let text = |part: &Part| match part {
                Part::Text(text) => text.clone(),
                Part::Number(number) => number.to_string(),
            };
            let key = parts.iter().map(text).collect::<Vec<_>>().join(" ");
            let slot = i64::try_from(*slot_start_s).unwrap() - i64::try_from(START_S).unwrap();
            let sum = sums.entry((counter.clone(), slot, site, key)).or_default();
            *sum = (sum.0 + count, sum.1 + messages);
        }
    }
    sums
}

fn sum(changes: &Changes, counter: &str, key: &str) -> Option<(u64, u64)> {
    sums(changes).into_iter().find(|((c, _, _, k), _)| c == counter && k == key).map(|(_, sum)| sum)
}

/// Keys over a rule's level in its window that is still open.
fn over(changes: &Changes, rule: &str) -> Vec<(String, u64)> {
    let window = changes.windows.iter().find(|window| window.rule == rule && !window.closed).unwrap();
    window.keys.iter().map(|(site, parts, sum, _)| (format!("{site} {parts:?}"), *sum)).collect()
}

fn outcome_of(engine: &mut Engine, message: &[u8]) -> &'static str {
    engine.datagrams(0, [(None, message)], NOW);
    let changes = engine.changes(NOW);
    engine.ack(changes.seq);
    let [(0, outcome, 1, bytes)] = changes.notes.ledger[..] else { panic!("{:?}", changes.notes.ledger) };
    assert_eq!(bytes, message.len() as u64);
    outcome.name()
}

#[test]
fn everything_wrong_in_a_plan_is_told_at_once() {
    let wrong = json!({
        "profiles": [{"name": "x", "surprise": 1}, profile(), profile()],
        "counters": [
            {"name": "", "group_by": [], "slot_s": 0, "weight": "heavy", "rules": [{"name": "r", "window_slots": 0}]},
            {"name": "c", "where": {"NoField": 1}, "group_by": ["SrcIpAddr"], "slot_s": 60, "capacity": 1,
             "rules": [{"name": "r", "window_slots": 1, "levels": {"field": "DstPortNumber", "values": {"x": 1}}}]},
        ],
        "internal_networks": ["10.0.0.0/8", "nonsense"],
        "listeners": [{"site": ""}, 5],
        "bounds": {"message_bytes": 0, "unfinished_bytes": -1, "rows_per_batch": 1},
        "extra": true,
    });
    let problems = Engine::new(&wrong).err().unwrap();
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    for path in [
        "profiles[0].surprise",
        "profiles[0].detect",
        "profiles[2]",
        "counters[0].name",
        "counters[0].group_by",
        "counters[0]",
        "counters[0].weight",
        "counters[0].rules[0].window_slots",
        "counters[1].rules[0].levels",
        "counters[1].rules[0].levels.values.x",
        "internal_networks[1]",
        "listeners[0]",
        "listeners[1]",
        "bounds.message_bytes",
        "bounds.unfinished_bytes",
        "bounds.event_count",
        "extra",
    ] {
        assert!(paths.contains(&path), "{path} is not among {paths:?}");
    }
    assert!(paths.iter().any(|path| path.starts_with("counters[1].where")), "{paths:?}");
}

#[test]
fn marks_that_do_not_fit_their_reader_are_told() {
    for (head, path, reason) in [
        (json!({"reader": "kv", "assign": ":"}), "separator", "is missing: the kv reader needs it"),
        (json!({"reader": "kv", "separator": ";"}), "assign", "is missing: the kv reader needs it"),
        (json!({"reader": "kv", "assign": ":", "separator": ""}), "assign", "1 to 4 bytes"),
        (json!({"reader": "kv", "assign": " ", "separator": ","}), "assign", "can't start with"),
        (json!({"reader": "kv", "assign": ":", "separator": ":"}), "assign", "differ in their first byte"),
        (json!({"reader": "kv", "assign": 5, "separator": ";"}), "assign", "expected a text"),
        (json!({"reader": "csv", "assign": ":"}), "assign", "belongs to the kv reader"),
        (json!({"reader": "cef", "assign": ":", "separator": ";"}), "assign", "belongs to the kv reader"),
        (json!({"reader": "cef", "separator": ";"}), "separator", "belongs to the csv and kv readers"),
    ] {
        let mut plan = plan();
        let profile = plan["profiles"][0].as_object_mut().unwrap();
        profile.extend(head.as_object().unwrap().clone());
        let problems = Engine::new(&plan).err().unwrap();
        let path = format!("profiles[0].{path}");
        assert!(
            problems.iter().any(|problem| problem.path == path && problem.reason.contains(reason)),
            "{head}: {path}: {reason} is not among {problems:?}"
        );
    }
}

#[test]
fn a_plan_that_is_no_table_is_refused() {
    for plan in [json!(null), json!([]), json!(5), json!({})] {
        assert!(Engine::new(&plan).is_err(), "{plan}");
    }
}

#[test]
fn each_datagram_ends_in_one_outcome() {
    let mut engine = engine();
    for (message, outcome) in [
        (&b"<13>acme src=192.0.2.1 act=deny"[..], "session"),
        (b"<13>acme src=192.0.2.1 act=info", "event"),
        (b"<13>acme type=other src=192.0.2.1", "event"),
        (b"<13>acme act=deny", "event"),
        (b"<13>something else", "unparsed"),
        (b"", "empty"),
        (b"\r\n\0\n", "empty"),
        (&[b'x'; 201], "too_long"),
    ] {
        assert_eq!(outcome_of(&mut engine, message), outcome, "{}", String::from_utf8_lossy(message));
    }
    let mut longest = b"<13>acme src=192.0.2.1".to_vec();
    longest.resize(200, b' ');
    longest.push(b'\n');
    assert_eq!(outcome_of(&mut engine, &longest), "session", "a line end is not part of the message");
}

#[test]
fn what_a_peer_sends_over_its_rate_is_not_read() {
    let mut plan = plan();
    plan["bounds"]["peer_rate"] = json!(100);
    plan["bounds"]["peer_burst"] = json!(10);
    plan["relays"] = json!(["198.51.100.0/24"]);
    let mut engine = Engine::new(&plan).unwrap();
    let ip = |text: &str| ip::parse(text.as_bytes());
    let (heavy, light, relay) = (ip("192.0.2.66"), ip("192.0.2.1"), ip("198.51.100.1"));
    let message = deny("192.0.2.1", "");
    for round in 0..10 {
        let flood = (0..1_000).map(|_| (heavy, &b"\xff nothing that anybody reads"[..]));
        let relayed = (0..50).map(|_| (relay, message.as_slice()));
        let honest = (0..5).map(|_| (light, message.as_slice()));
        let nameless = [(None, message.as_slice())];
        engine.datagrams(0, flood.chain(relayed).chain(honest).chain(nameless), NOW + round * S / 10);
    }
    let changes = engine.changes(NOW + S);
    let ledger: BTreeMap<&str, u64> =
        changes.notes.ledger.iter().map(|(_, o, messages, _)| (o.name(), *messages)).collect();
    assert_eq!(ledger, BTreeMap::from([("session", 560), ("unparsed", 100), ("rate_limited", 9_900)]));
    let limited = changes.limited.iter().map(|l| (Some(l.peer), l.listener, l.dropped, l.ended)).collect::<Vec<_>>();
    assert_eq!(limited, [(heavy, 0, 9_900, false)]);

    engine.ack(changes.seq);
    plan["bounds"]["peer_rate"] = json!(0);
    engine.replan(&plan).unwrap();
    engine.datagrams(0, (0..100).map(|_| (heavy, message.as_slice())), NOW + S);
    let later = engine.changes(NOW + 60 * S);
    assert!(later.notes.ledger.iter().all(|(_, outcome, ..)| outcome.name() != "rate_limited"), "{:?}", later.notes);
    assert_eq!(later.limited.iter().map(|l| (l.dropped, l.ended)).collect::<Vec<_>>(), [(9_900, true)]);
}

#[test]
fn each_frame_of_a_stream_ends_in_one_outcome() {
    let mut engine = engine();
    let mut wire = Vec::new();
    for message in [&b"<13>acme src=192.0.2.1"[..], b"<13>acme act=info", b"<13>else", b"\n", &[b'x'; 300]] {
        wire.extend_from_slice(format!("{} ", message.len()).as_bytes());
        wire.extend_from_slice(message);
    }
    wire.extend_from_slice(b"nonsense\n9 <13>half");
    let stream = engine.connect(Origin { listener: 1, peer: None });
    let ended = engine.feed(stream, &wire, NOW) + engine.disconnect(stream, NOW);
    let changes = engine.changes(NOW);
    let ledger: BTreeMap<&str, u64> =
        changes.notes.ledger.iter().map(|(_, o, messages, _)| (o.name(), *messages)).collect();
    let expected = ["session", "event", "unparsed", "empty", "too_long", "bad_frame", "unfinished"].map(|o| (o, 1));
    assert_eq!(ledger, BTreeMap::from(expected));
    assert_eq!(ended, 7);
}

#[test]
fn unfinished_frames_of_all_streams_together_are_bounded() {
    let mut engine = engine();
    let half = format!("200 <13>{}", "x".repeat(100));
    let streams: Vec<u64> = (0..10)
        .map(|_| {
            let stream = engine.connect(Origin { listener: 1, peer: None });
            engine.feed(stream, half.as_bytes(), NOW);
            stream
        })
        .collect();
    for stream in streams {
        engine.feed(stream, &[b'y'; 96], NOW);
        engine.disconnect(stream, NOW);
    }
    let changes = engine.changes(NOW);
    let count =
        |outcome| changes.notes.ledger.iter().filter(|(_, o, ..)| *o == outcome).map(|(_, _, n, _)| n).sum::<u64>();
    assert!(count(Outcome::NoMemory) > 0, "{:?}", changes.notes.ledger);
    assert_eq!(count(Outcome::NoMemory) + count(Outcome::Unparsed), 10);
}

#[test]
fn counts_by_site_key_and_weight() {
    let mut engine = engine();
    let messages = [deny("192.0.2.1", "n=5"), deny("192.0.2.1", ""), deny("192.0.2.2", "n=7")];
    send(&mut engine, &messages, NOW);
    engine.datagrams(1, [(None, messages[0].as_slice())], NOW);
    engine.datagrams(2, [(None, messages[0].as_slice())], NOW);
    let changes = engine.changes(NOW);
    let row = |counter: &str, site: &str, key: &str, count, messages| {
        ((counter.to_owned(), 0, site.to_owned(), key.to_owned()), (count, messages))
    };
    let expected = Sums::from([
        row("failures", "north", "192.0.2.1", 6, 2),
        row("failures", "north", "192.0.2.2", 7, 1),
        row("failures", "south", "192.0.2.1", 5, 1),
        row("failures", "", "192.0.2.1", 5, 1),
        row("ports", "north", "22 Deny", 3, 3),
        row("ports", "south", "22 Deny", 1, 1),
        row("ports", "", "22 Deny", 1, 1),
    ]);
    assert_eq!(sums(&changes), expected);
}

#[test]
fn what_does_not_count_is_a_session_all_the_same() {
    let mut engine = engine();
    send(&mut engine, &[b"<13>acme src=192.0.2.1 port=22 act=again".to_vec()], NOW);
    let changes = engine.changes(NOW);
    assert!(changes.rows.is_empty());
    assert_eq!(changes.notes.ledger.len(), 1);
}

#[test]
fn one_record_stands_for_so_many_events_at_most() {
    let mut engine = engine();
    for (n, count) in [("0", 1), ("1", 1), ("50", 50), ("51", 50), ("18446744073709551615", 50), ("x", 1), ("-5", 1)] {
        send(&mut engine, &[deny("192.0.2.1", &format!("n={n}"))], NOW);
        let changes = engine.changes(NOW);
        engine.ack(changes.seq);
        assert_eq!(sum(&changes, "failures", "192.0.2.1"), Some((count, 1)), "n={n}");
    }
}

#[test]
fn a_session_without_an_address_or_port_of_the_key_is_told() {
    let mut engine = engine();
    let text = |text: &str| text.as_bytes().to_vec();
    send(&mut engine, &[text("<13>acme dst=10.0.0.1 act=deny"), text("<13>acme dst=10.0.0.1 port=9 act=deny")], NOW);
    let changes = engine.changes(NOW);
    assert_eq!(changes.without_key, [("failures".to_owned(), 2), ("ports".to_owned(), 1)]);
    assert_eq!(sum(&changes, "ports", "9 Deny"), Some((1, 1)));
    assert!(engine.changes(NOW).without_key.is_empty(), "increments");
}

#[test]
fn a_word_of_the_key_may_be_missing() {
    let mut engine = engine();
    send(&mut engine, &[b"<13>acme src=192.0.2.1 port=22".to_vec()], NOW);
    assert_eq!(sum(&engine.changes(NOW), "ports", "22 "), Some((1, 1)));
}

#[test]
fn a_rule_hears_of_what_is_over_its_level() {
    let mut engine = engine();
    send(&mut engine, &vec![deny("192.0.2.1", ""); 10], NOW);
    let quiet = engine.changes(NOW);
    send(&mut engine, &[deny("192.0.2.1", "")], NOW);
    let loud = engine.changes(NOW);
    assert!(over(&quiet, "many").is_empty());
    assert_eq!(over(&loud, "many"), [("north [Text(\"192.0.2.1\")]".to_owned(), 11)]);
    assert_eq!(over(&loud, "busy").len(), 1, "22 has a level of 3");
    send(&mut engine, &vec![b"<13>acme src=192.0.2.1 port=23 act=allow".to_vec(); 100], NOW);
    assert_eq!(over(&engine.changes(NOW), "busy").len(), 1, "23 has none");
}

#[test]
fn windows_hop_slot_by_slot() {
    let mut engine = engine();
    for minute in 0..5 {
        send(&mut engine, &vec![deny("192.0.2.1", ""); 3], NOW + minute * 60 * S);
    }
    let changes = engine.changes(NOW + 4 * 60 * S);
    assert_eq!(over(&changes, "many")[0].1, 15);
    let changes = engine.changes(NOW + 5 * 60 * S);
    let closed: Vec<u64> = changes
        .windows
        .iter()
        .filter(|window| window.rule == "many" && window.closed)
        .map(|window| window.keys.first().map_or(0, |(_, _, sum, _)| *sum))
        .collect();
    assert_eq!(closed, [15], "the boundary that was passed");
    assert_eq!(over(&changes, "many")[0].1, 12, "the first minute has left");
}

#[test]
fn a_step_of_the_clock_starts_the_windows_anew() {
    let mut engine = engine();
    send(&mut engine, &vec![deny("192.0.2.1", ""); 11], NOW);
    let back = NOW - 3600 * S;
    engine.restart_windows(back);
    send(&mut engine, &[deny("192.0.2.1", "")], back);
    let changes = engine.changes(back);
    assert!(over(&changes, "many").is_empty());
    let slots: Vec<i64> =
        sums(&changes).into_keys().filter(|(c, ..)| c == "failures").map(|(_, slot, ..)| slot).collect();
    assert_eq!(slots, [-3600, 0]);
}

#[test]
fn restored_rows_count_and_are_not_handed_over() {
    let mut engine = engine();
    let row = |source: &str, site: &str| Row {
        slot_start_s: START_S - 60,
        key: Some((site.to_owned(), vec![Part::Text(source.to_owned())])),
        count: 10,
        messages: 10,
        error: 0,
    };
    assert!(engine.restore("failures", &row("192.0.2.1", "north")));
    assert!(engine.restore("failures", &row("192.0.2.1", "a site of an earlier configuration")));
    assert!(!engine.restore("failures", &row("no address", "north")));
    assert!(!engine.restore("no such counter", &row("192.0.2.1", "north")));
    send(&mut engine, &[deny("192.0.2.1", "")], NOW);
    let changes = engine.changes(NOW);
    assert_eq!(sum(&changes, "failures", "192.0.2.1"), Some((1, 1)));
    assert_eq!(over(&changes, "many"), [("north [Text(\"192.0.2.1\")]".to_owned(), 11)]);
}

#[test]
fn another_plan_keeps_the_counts_of_equal_counters() {
    let mut engine = engine();
    send(&mut engine, &vec![deny("192.0.2.1", ""); 5], NOW);
    let mut other = plan();
    other["counters"][0]["rules"][0]["level"] = json!(4);
    other["listeners"].as_array_mut().unwrap().push(json!({"name": "new", "site": "north"}));
    engine.replan(&other).unwrap();
    engine.datagrams(3, [(None, deny("192.0.2.1", "").as_slice())], NOW);
    let changes = engine.changes(NOW);
    assert_eq!(over(&changes, "many")[0].1, 6);
    assert_eq!(changes.notes.ledger.iter().map(|(listener, ..)| *listener).collect::<Vec<_>>(), [0, 3]);
}

#[test]
fn a_counter_of_the_same_name_is_told_without_what_the_old_one_left() {
    let mut engine = engine();
    let told = |engine: &mut Engine| {
        let changes = engine.changes(NOW);
        engine.ack(changes.seq);
        let of_it = changes.rows.into_iter().filter(|(counter, _)| counter == "failures");
        of_it.flat_map(|(_, rows)| rows).map(|row| row.count).collect::<Vec<_>>()
    };
    for (key, value) in [("slot_s", json!(30)), ("group_by", json!(["DstPortNumber"])), ("where", json!({}))] {
        send(&mut engine, &vec![deny("192.0.2.1", ""); 5], NOW);
        let mut other = plan();
        other["counters"][0][key] = value;
        engine.replan(&other).unwrap();
        assert!(told(&mut engine).is_empty(), "{key}");
        send(&mut engine, &vec![deny("192.0.2.1", ""); 2], NOW);
        assert_eq!(told(&mut engine), [2], "{key}");
    }
}

#[test]
fn a_plan_with_fewer_listeners_or_mistakes_is_refused_and_nothing_changes() {
    let mut engine = engine();
    let mut fewer = plan();
    fewer["listeners"].as_array_mut().unwrap().pop();
    assert_eq!(engine.replan(&fewer).unwrap_err()[0].path, "listeners");
    assert!(engine.replan(&json!({})).is_err());
    let next = Next::read(&plan(), engine.sites()).unwrap();
    let mut another = plan();
    another["listeners"][0]["site"] = json!("a site that came up meanwhile");
    engine.replan(&another).unwrap();
    assert_eq!(engine.take_up(next).unwrap_err()[0].path, "listeners");
    assert_eq!(outcome_of(&mut engine, &deny("192.0.2.1", "")), "session");
}

/// What many items share is worked on once per item: only what is short may be.
#[test]
fn items_share_no_long_values() {
    use collectord_core::profile::SHARED_BYTES;
    let mut plan = plan();
    plan["profiles"] = json!([{
        "name": "flows", "title": "Flows", "EventVendor": "Acme", "EventProduct": "Flows",
        "detect": [{"starts": "{"}], "reader": "json", "each": "flows[]",
        "fields": {"DvcId": "device", "SrcIpAddr": "flows[].src", "EventMessage": "flows[].text"},
    }]);
    plan["bounds"]["message_bytes"] = json!(65536);
    let engine = Engine::new(&plan).unwrap();
    for (length, fits) in [(SHARED_BYTES, true), (SHARED_BYTES + 1, false)] {
        let long = "x".repeat(length);
        let flow = json!({"src": "192.0.2.1", "text": long});
        let answer = engine.parse(json!({"device": long, "flows": [flow, flow]}).to_string().as_bytes(), None);

        let sessions = answer["Sessions"].as_array().unwrap();
        assert_eq!(sessions.len(), 2);
        for session in sessions {
            assert_eq!(session["EventMessage"], long);
            assert_eq!(session.get("DvcId").is_some(), fits, "{length} bytes");
        }
    }
}

#[test]
fn peers_that_are_not_allowed_are_counted_and_not_read() {
    let mut plan = plan();
    plan["listeners"][0]["allow"] = json!(["192.0.2.0/24", "2001:db8::/32"]);
    let mut engine = Engine::new(&plan).unwrap();
    let message = deny("203.0.113.1", "");
    let peer = |text: &str| collectord_core::value::ip::parse(text.as_bytes());

    let datagrams = [peer("192.0.2.7"), peer("2001:db8::7"), peer("198.51.100.7"), peer("2001:db9::7"), None];
    engine.datagrams(0, datagrams.map(|peer| (peer, &message[..])), NOW);

    let notes = engine.changes(NOW).notes;
    let told: Vec<(&str, u64)> = notes.ledger.iter().map(|(_, outcome, n, _)| (outcome.name(), *n)).collect();
    assert_eq!(vec![("session", 2), ("not_allowed", 3)], told);
    assert_eq!(2, notes.devices.len());
}

/// The device that a message is of, and what its clock is off, in s; an engine looks at a clock once in a while.
fn seen(plan: &Value, peer: &str, message: &str) -> (String, Option<i64>) {
    let mut engine = Engine::new(plan).unwrap();
    let peer = collectord_core::value::ip::parse(peer.as_bytes());
    engine.datagrams(0, [(peer, message.as_bytes())], NOW);
    let changes = engine.changes(NOW);
    let [device] = &changes.notes.devices[..] else { panic!("{:?}", changes.notes.devices) };
    (device.name.clone(), device.clock_off_ms.map(|off| off / 1000))
}

#[test]
fn keys_that_are_named_as_a_part_of_another_format_s_header() {
    let mut plan = plan();
    plan["profiles"] = json!([{
        "name": "acme", "title": "Acme", "EventVendor": "Acme", "EventProduct": "Wall", "reader": "leef",
        "detect": [{"leef": {"vendor": "Acme", "product": "Wall"}}],
        "fields": {"SrcIpAddr": "src", "NetworkRuleName": "Name", "EventOriginalSeverity": "Severity",
                   "EventOriginalType": "SignatureId"},
    }]);
    let message = b"<13>LEEF:1.0|Acme|Wall|1.0|deny|src=203.0.113.1\tName=rule 7\tSeverity=high\tSignatureId=x";
    let answer = Engine::new(&plan).unwrap().parse(message, None);
    let session = &answer["Sessions"][0];
    assert_eq!(
        (&json!("rule 7"), &json!("high"), &json!("deny")),
        (&session["NetworkRuleName"], &session["EventOriginalSeverity"], &session["EventOriginalType"])
    );
}

#[test]
fn only_a_relay_passes_on_the_header_of_a_device() {
    let mut plan = plan();
    plan["relays"] = json!(["192.0.2.9"]);
    let engine = Engine::new(&plan).unwrap();
    let text = "acme src=203.0.113.1 dst=10.0.0.1 port=22 act=deny";
    // 2027-01-15 08:00:00 is the time of receipt.
    let (late, now) = ("<13>Jan 15 08:00:00 relay-1", "Jan 15 07:59:50 fw-1");
    for (header, device, skew) in [
        // The device's header whole, without its PRI, and nothing of it but its PRI.
        (format!("{late} <134>{now} "), "fw-1", Some(-10)),
        (format!("{late} {now} "), "fw-1", Some(-10)),
        (format!("{late} <134>"), "relay-1", Some(0)),
        (
            "<13>1 2027-01-15T08:00:00Z relay-1 - - - - <134>1 2027-01-15T07:59:50Z fw-1 - - - - ".into(),
            "fw-1",
            Some(-10),
        ),
        // The relay put nothing in front.
        (format!("<134>{now} "), "fw-1", Some(-10)),
        ("<134>".into(), "192.0.2.9", None),
    ] {
        let message = format!("{header}{text}");
        assert_eq!((device.to_owned(), skew), seen(&plan, "192.0.2.9", &message), "{message}");
        let answer = engine.parse(message.as_bytes(), Some("192.0.2.9"));
        assert_eq!(
            (&json!("session"), &json!(device)),
            (&answer["Outcome"], &answer["Sessions"][0]["Dvc"]),
            "{message}"
        );
        assert!(answer["Relay"].is_object(), "{message}");

        // The content is read whoever sends it, but the device and its clock are those of the peer.
        let (other, other_skew) = seen(&plan, "192.0.2.10", &message);
        assert_eq!("192.0.2.10", other, "{message}");
        assert!(other_skew != Some(-10) || !header.contains("relay"), "{message}");
        let answer = engine.parse(message.as_bytes(), Some("192.0.2.10"));
        assert_eq!(json!("192.0.2.10"), answer["Sessions"].get(0).map_or(json!("192.0.2.10"), |s| s["Dvc"].clone()));
        assert!(answer["Relay"].is_null(), "{message}");
    }
}

#[test]
fn who_proved_a_name_is_called_so() {
    let mut plan = plan();
    plan["relays"] = json!(["192.0.2.9"]);
    plan["devices"] = json!([{"name": "fw-7.example.net", "site": "branch"}, {"name": "192.0.2.8", "site": "centre"}]);
    let header = "<13>Jan 15 08:00:00 other-1 ";
    let text = "acme src=203.0.113.1 dst=10.0.0.1 port=22 act=deny";
    for (peer, name, start, device, site) in [
        // Whom a peer calls itself in a header is not believed; its table is looked up by the name, then by its address.
        ("192.0.2.10", "fw-7.example.net", header, "fw-7.example.net", "branch"),
        ("192.0.2.8", "fw-8.example.net", header, "fw-8.example.net", "centre"),
        ("192.0.2.8", "", header, "192.0.2.8", "centre"),
        // A relay's certificate is its own.
        ("192.0.2.9", "relay.example.net", header, "other-1", "south"),
        ("192.0.2.9", "relay.example.net", "<13>", "relay.example.net", "south"),
    ] {
        let mut engine = Engine::new(&plan).unwrap();
        let peer = collectord_core::value::ip::parse(peer.as_bytes());
        let stream = engine.connect_named(Origin { listener: 1, peer }, name);
        assert_eq!(1, engine.feed(stream, format!("{start}{text}\n").as_bytes(), NOW));
        // What is left unfinished has the same sender.
        engine.feed(stream, format!("{start}{text}").as_bytes(), NOW);
        assert_eq!(1, engine.disconnect(stream, NOW));
        let changes = engine.changes(NOW);
        let found: Vec<_> = changes.notes.devices.iter().map(|seen| seen.name.as_str()).collect();
        assert_eq!(vec![device], found, "{name} {start}");
        let found = &engine.sites()[usize::from(changes.notes.devices[0].site)];
        assert_eq!(site, found, "{name} {start}");
    }
}

#[test]
fn a_relay_may_name_a_device_by_its_address() {
    let mut plan = plan();
    plan["relays"] = json!(["192.0.2.9"]);
    plan["devices"] = json!([{"name": "198.51.100.1", "site": "branch"}, {"name": "192.0.2.9", "site": "centre"}]);
    let mut engine = Engine::new(&plan).unwrap();
    for (host, site) in [("198.51.100.1", "branch"), ("198.51.100.2", "centre")] {
        let message = format!("<13>Jan 15 08:00:00 {host} acme src=203.0.113.1 dst=10.0.0.1 port=22 act=deny");
        let peer = collectord_core::value::ip::parse(b"192.0.2.9");
        engine.datagrams(0, [(peer, message.as_bytes())], NOW);
        let changes = engine.changes(NOW);
        engine.ack(changes.seq);
        let device = &changes.notes.devices[0];
        assert_eq!((host, site), (device.name.as_str(), engine.sites()[usize::from(device.site)].as_str()));
    }
}

#[test]
fn one_message_in_full() {
    let engine = engine();
    let answer = engine.parse(b"<13>Nov 22 10:20:30 fw acme src=192.0.2.1 dst=10.0.0.1 port=22 act=deny", None);
    let keys: Vec<&String> = answer.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["Outcome", "Profile", "Recovered", "Header", "Relay", "Sessions"]);
    assert_eq!((&answer["Outcome"], &answer["Profile"]), (&json!("session"), &json!("acme")));
    assert_eq!(answer["Header"]["facility"], 1);
    assert_eq!(answer["Header"]["severity"], 5);
    assert_eq!(answer["Header"]["hostname"], "fw");
    assert_eq!(
        answer["Sessions"],
        json!([{
            "SrcIpAddr": "192.0.2.1", "DstIpAddr": "10.0.0.1", "DstPortNumber": 22,
            "NetworkDirection": "Inbound", "DvcAction": "Deny", "EventResult": "Failure", "EventSeverity": "Low",
            "EventType": "NetworkSession", "EventCount": 1, "Dvc": "fw", "EventVendor": "Acme", "EventProduct": "Wall",
            "EventSchema": "NetworkSession", "EventSchemaVersion": "0.2.6",
            "AdditionalFields": {"blocked": true, "counted": true},
        }])
    );
    assert_eq!(engine.parse(b"<13>acme src=192.0.2.1", Some("192.0.2.9"))["Sessions"][0]["Dvc"], "192.0.2.9");
    let nothing = engine.parse(b"", None);
    assert_eq!((&nothing["Outcome"], &nothing["Profile"]), (&json!("empty"), &json!(null)));
    assert_eq!(nothing["Sessions"], json!([]));
}

#[derive(Clone, Debug)]
enum Step {
    Datagrams(Vec<u8>),
    Stream(usize, Vec<u8>),
    End(usize),
    Changes { ack: bool },
    WrongAck,
    Wait(u64),
    Restart(u64),
    Replan,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let text = prop_oneof![
        3 => (1_u8..5, 0_u8..3).prop_map(|(host, n)| deny(&format!("192.0.2.{host}"), &format!("n={n}"))),
        1 => vec(any::<u8>(), 0..40),
        1 => Just(vec![b'x'; 250]),
    ];
    let wire = text.clone().prop_flat_map(|text| {
        prop_oneof![
            Just([format!("{} ", text.len()).as_bytes(), &text].concat()),
            Just([&text, &b"\n"[..]].concat()),
            Just(text),
        ]
    });
    let step = prop_oneof![
        4 => text.prop_map(Step::Datagrams),
        4 => (0_usize..3, wire).prop_map(|(stream, bytes)| Step::Stream(stream, bytes)),
        1 => (0_usize..3).prop_map(Step::End),
        3 => any::<bool>().prop_map(|ack| Step::Changes { ack }),
        1 => Just(Step::WrongAck),
        1 => (0_u64..200).prop_map(Step::Wait),
        1 => (0_u64..10_000).prop_map(Step::Restart),
        1 => Just(Step::Replan),
    ];
    vec(step, 1..60)
}

/// What a store that adds up each batch once holds of the ledger.
#[derive(Default)]
struct Store {
    seq: Option<u64>,
    messages: BTreeMap<(usize, &'static str), u64>,
    rows: u64,
}

impl Store {
    fn write(&mut self, changes: &Changes) {
        if self.seq == Some(changes.seq) {
            return;
        }
        self.seq = Some(changes.seq);
        for (listener, outcome, messages, _) in &changes.notes.ledger {
            assert!(OUTCOMES.contains(&outcome.name()));
            *self.messages.entry((*listener, outcome.name())).or_default() += messages;
        }
        let failures = changes.rows.iter().filter(|(counter, _)| counter == "failures");
        self.rows += failures.flat_map(|(_, rows)| rows).map(|row| row.messages).sum::<u64>();
    }
}

/// The plan with evidence of failures, and a counter of regular intervals.
fn watchful() -> Value {
    let mut plan = plan();
    plan["counters"][0]["evidence"] = json!(["DvcAction", "DstPortNumber", "DstIpAddr"]);
    plan["counters"][1] = json!({
        "name": "beacons", "where": {"DvcAction": "Allow"}, "group_by": ["SrcIpAddr", "DstIpAddr", "DstPortNumber"],
        "slot_s": 3600, "capacity": 100, "evidence": ["DvcAction"],
        "beacon": {"min_gap_s": 10, "tolerance_s": 1, "tolerance_percent": 5},
        "rules": [{"name": "regular", "window_slots": 1, "level": 80, "min_events": 15}],
    });
    plan
}

/// (counter, kind, key) -> (state, time), of the states in a batch.
fn states(changes: &Changes) -> BTreeMap<(String, String, String), (Value, u64)> {
    let all = changes.states.iter().flat_map(|(counter, rows)| rows.iter().map(move |row| (counter, row)));
    let one = |(counter, row): (&String, &StateRow)| {
        let key = (counter.clone(), row.kind.clone(), format!("{} {:?}", row.key.0, row.key.1));
        (key, (serde_json::from_str(&row.state).unwrap(), row.last_s))
    };
    all.map(one).collect()
}

fn restored(plan: &Value, changes: &Changes) -> Engine {
    let mut engine = Engine::new(plan).unwrap();
    for (counter, rows) in &changes.states {
        assert!(rows.iter().all(|row| engine.restore_state(counter, row)));
    }
    engine
}

#[test]
fn evidence_is_kept_from_the_message_that_makes_a_key_hot() {
    let mut engine = Engine::new(&watchful()).unwrap();
    // The level of five minutes is 10, so more than two in one minute make a key hot.
    let messages: Vec<_> = (0..5).map(|n| deny("192.0.2.1", &format!("number={n}"))).collect();
    send(&mut engine, &messages, NOW);
    send(&mut engine, &[deny("192.0.2.2", "")], NOW);
    let first = engine.changes(NOW + S);
    let lines: Vec<_> = messages[2..].iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    let state = json!({
        "messages": 3, "first_ns": NOW, "last_ns": NOW,
        "top": {"DvcAction": [["Deny", 3]], "DstPortNumber": [[22, 3]], "DstIpAddr": [["10.0.0.1", 3]]},
        "lines": lines,
    });
    let key = ("failures".into(), "evidence".into(), "north [Text(\"192.0.2.1\")]".to_string());
    assert_eq!(states(&first), BTreeMap::from([(key.clone(), (state, START_S))]));

    // Not acknowledged: handed over again as it was, and what came since waits.
    send(&mut engine, &[deny("192.0.2.1", "")], NOW + S);
    assert_eq!(states(&engine.changes(NOW + 2 * S)), states(&first));
    engine.ack(first.seq);
    let second = engine.changes(NOW + 2 * S);
    assert_eq!(states(&second)[&key].0["messages"], 4);
    engine.ack(second.seq);
    assert!(engine.changes(NOW + 3 * S).states.is_empty());

    let mut again = restored(&watchful(), &second);
    send(&mut again, &messages, NOW + 3 * S);
    assert_eq!(states(&again.changes(NOW + 3 * S))[&key].0["messages"], 7);
}

#[test]
fn regular_intervals_are_told_and_survive_a_restart_and_a_new_plan() {
    let allow = |source: &str| vec![format!("<13>acme src={source} dst=198.51.100.9 port=443 act=allow").into_bytes()];
    let mut engine = Engine::new(&watchful()).unwrap();
    for minute in 0..10 {
        send(&mut engine, &allow("10.0.0.5"), NOW + minute * MINUTE);
        if [0, 1, 3, 7].contains(&minute) {
            send(&mut engine, &allow("10.0.0.6"), NOW + minute * MINUTE);
        }
    }
    let changes = engine.changes(NOW + 30 * MINUTE);
    assert!(sums(&changes).is_empty());
    let kinds: Vec<_> = states(&changes).into_keys().map(|(counter, kind, _)| (counter, kind)).collect();
    assert_eq!(kinds, vec![("beacons".to_string(), "beacon".to_string()); 2]);
    assert_eq!(over(&changes, "regular"), []);

    let mut again = restored(&watchful(), &changes);
    for minute in 31..41 {
        send(&mut again, &allow("10.0.0.5"), NOW + minute * MINUTE);
    }
    let told =
        format!("north {:?}", [Part::Text("10.0.0.5".into()), Part::Text("198.51.100.9".into()), Part::Number(443)]);
    // 18 of 19 gaps are a minute.
    let changes = again.changes(NOW + 41 * MINUTE);
    assert_eq!(over(&changes, "regular"), [(told.clone(), 95)]);
    let kinds: Vec<_> = states(&changes).into_keys().map(|(_, kind, _)| kind).collect();
    assert_eq!(kinds, ["beacon", "evidence"]);

    let mut other = watchful();
    other["counters"][1]["rules"][0]["min_events"] = json!(3);
    other["counters"][1]["evidence"] = json!(["DstPortNumber"]);
    again.replan(&other).unwrap();
    let changes = again.changes(NOW + HOUR);
    let windows: Vec<_> = changes.windows.iter().filter(|window| window.rule == "regular").collect();
    let [closed, open] = windows[..] else { panic!("{windows:?}") };
    assert_eq!((closed.closed, closed.end_ns, closed.keys.len()), (true, NOW + HOUR, 1));
    assert_eq!((open.closed, open.start_ns, open.keys.len()), (false, NOW + HOUR, 0));
}

#[test]
fn everything_wrong_with_evidence_and_beacons_is_told() {
    let mut wrong = watchful();
    wrong["counters"][0]["evidence"] = json!(["NoField"]);
    wrong["counters"][1]["beacon"] = json!({"min_gap_s": 10, "tolerance_percent": 101});
    wrong["counters"][1]["distinct"] = json!("DstIpAddr");
    wrong["counters"][1]["rules"][0] = json!({"name": "regular", "window_slots": 2, "level": 100});
    let problems = Engine::new(&wrong).err().unwrap();
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    for path in [
        "counters[0].evidence",
        "counters[1].beacon",
        "counters[1]",
        "counters[1].rules[0].window_slots",
        "counters[1].rules[0].level",
    ] {
        assert!(paths.contains(&path), "{path}: {paths:?}");
    }
}

proptest! {
    /// Each message is in the ledger once and in the rows once, whatever is asked in between, acknowledged or not.
    #[test]
    fn nothing_is_lost_and_nothing_counts_twice(steps in steps()) {
        let mut engine = engine();
        let mut store = Store::default();
        let mut streams = [None; 3];
        let (mut now, mut datagrams, mut frames) = (NOW, 0_u64, 0_u64);
        for step in steps {
            match step {
                Step::Datagrams(message) => {
                    datagrams += 1;
                    engine.datagrams(0, [(None, message.as_slice())], now);
                }
                Step::Stream(place, bytes) => {
                    let stream = *streams[place].get_or_insert_with(|| engine.connect(Origin { listener: 1, peer: None }));
                    frames += engine.feed(stream, &bytes, now);
                }
                Step::End(place) => {
                    if let Some(stream) = streams[place].take() {
                        frames += engine.disconnect(stream, now);
                    }
                }
                Step::Changes { ack } => {
                    let changes = engine.changes(now);
                    store.write(&changes);
                    if ack {
                        engine.ack(changes.seq);
                    }
                }
                Step::WrongAck => engine.ack(u64::MAX),
                Step::Wait(seconds) => now += seconds * S,
                Step::Restart(seconds) => {
                    now = NOW - seconds * S;
                    engine.restart_windows(now);
                }
                Step::Replan => engine.replan(&plan()).unwrap(),
            }
        }
        for stream in streams.into_iter().flatten() {
            frames += engine.disconnect(stream, now);
        }
        // The batch that is out, and what came since.
        for left in [None, Some(0)] {
            let changes = engine.changes(now);
            prop_assert!(left.is_none_or(|left| changes.carried == left));
            store.write(&changes);
            engine.ack(changes.seq);
        }
        let of = |listener| store.messages.iter().filter(|((l, _), _)| *l == listener).map(|(_, n)| n).sum::<u64>();
        prop_assert_eq!(of(0), datagrams);
        prop_assert_eq!(of(1), frames);
        let sessions: u64 = store.messages.iter().filter(|((_, o), _)| *o == "session").map(|(_, n)| n).sum();
        prop_assert_eq!(store.rows, sessions, "every session here is a failure that has a source");
        prop_assert!(!store.messages.contains_key(&(0, "panic")) && !store.messages.contains_key(&(1, "panic")));
    }
}

/// A plan with one counter of the ports per source.
fn scan(changed: &Value) -> Value {
    let mut plan = plan();
    let mut counter = json!({
        "name": "scan", "where": {"DvcAction": "Deny"}, "group_by": ["SrcIpAddr"], "slot_s": 60, "capacity": 100,
        "distinct": "DstPortNumber", "rules": [{"name": "scan", "window_slots": 2, "level": 1}],
    });
    counter.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
    plan["counters"] = json!([counter]);
    plan
}

fn told(changes: &Changes) -> Vec<(&str, &str)> {
    let rows = changes.states.iter().flat_map(|(counter, rows)| rows.iter().map(move |row| (counter, row)));
    rows.map(|(counter, row)| (counter.as_str(), row.state.as_str())).collect()
}

#[test]
fn states_are_told_under_the_plan_that_they_were_kept_under() {
    let mut engine = Engine::new(&scan(&json!({}))).unwrap();
    send(&mut engine, &[deny("192.0.2.1", ""), deny("192.0.2.1", "")], NOW);
    let state = r#"{"values":[[22,1800000000]],"more":false,"messages":2}"#;
    let first = engine.changes(NOW);
    assert_eq!(told(&first), [("scan", state)]);
    // Another field, and other keys: the batch is still of the old ones.
    engine.replan(&scan(&json!({"distinct": "DstIpAddr", "group_by": ["DstPortNumber"]}))).unwrap();
    send(&mut engine, &[deny("192.0.2.1", "")], NOW);
    let again = engine.changes(NOW);
    assert_eq!((again.seq, &again.states, again.carried), (first.seq, &first.states, 1));
    engine.ack(again.seq);
    let second = engine.changes(NOW);
    assert_eq!(told(&second), [("scan", r#"{"values":[["10.0.0.1",1800000000]],"more":false,"messages":1}"#)]);
    assert_eq!(second.states[0].1[0].key, ("north".to_owned(), vec![Part::Number(22)]));
    // A state of the old ones has no place in the new.
    assert!(!engine.restore_state("scan", &first.states[0].1[0]));
    assert!(engine.restore_state("scan", &second.states[0].1[0]));
    assert!(!engine.restore_state("scan", &StateRow { state: String::new(), ..second.states[0].1[0].clone() }));
}

#[test]
fn an_exempt_is_no_other_counter_and_every_record_is() {
    let mut engine = Engine::new(&scan(&json!({}))).unwrap();
    let again = b"<13>acme src=192.0.2.1 dst=10.0.0.1 port=25 act=again".to_vec();
    send(&mut engine, &[deny("192.0.2.1", "")], NOW);
    engine.replan(&scan(&json!({"exempt": [{"DstPortNumber": 24}, {"SrcIpAddr": "192.0.2.9"}]}))).unwrap();
    send(&mut engine, &[deny("192.0.2.9", ""), again.clone()], NOW);
    let changes = engine.changes(NOW);
    assert_eq!(changes.exempted, [("scan".to_owned(), 1)]);
    assert_eq!(told(&changes), [("scan", r#"{"values":[[22,1800000000]],"more":false,"messages":1}"#)]);
    engine.ack(changes.seq);
    engine.replan(&scan(&json!({"every_record": true}))).unwrap();
    send(&mut engine, &[again], NOW);
    assert_eq!(
        told(&engine.changes(NOW)),
        [("scan", r#"{"values":[[25,1800000000]],"more":false,"messages":1}"#)],
        "a counter of its own"
    );
}

#[test]
fn a_number_is_summed_up_within_reason() {
    let mut plan = scan(&json!({"weight": "NetworkBytes"}));
    plan["counters"][0].as_object_mut().unwrap().remove("distinct");
    plan["profiles"][0]["fields"]["SrcBytes"] = json!("sent");
    plan["profiles"][0]["fields"]["DstBytes"] = json!("rcvd");
    plan["profiles"][0]["fields"]["NetworkBytes"] = json!("bytes");
    let mut engine = Engine::new(&plan).unwrap();
    let messages = ["bytes=10", "sent=3 rcvd=4", "rcvd=5", "", "bytes=18446744073709551615"];
    for (messages, sum, counted, clamped) in [(&messages[..4], 22, 3, 0), (&messages[4..], 1 << 44, 1, 1)] {
        send(&mut engine, &messages.iter().map(|rest| deny("192.0.2.1", rest)).collect::<Vec<_>>(), NOW);
        let changes = engine.changes(NOW);
        let row = &changes.rows[0].1[0];
        assert_eq!((row.count, row.messages, changes.notes.clamped), (sum, counted, clamped));
        engine.ack(changes.seq);
    }
    plan["counters"][0]["weight"] = json!("SrcPortNumber");
    assert!(Engine::new(&plan).is_err_and(|problems| problems[0].path == "counters[0].weight"));
}
