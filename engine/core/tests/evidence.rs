//! Properties of evidence, against a plain dictionary of lists.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use collectord_core::count::Evidence;
use collectord_core::session::{Case, Field, Session, Value};
use collectord_core::value::{Escape, Raw, ip};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value as Json;

const S: u64 = 1_000_000_000;
const START_NS: u64 = 1_700_000_040 * S;
const FIELDS: [Field; 3] = [Field::DstIpAddr, Field::DstPortNumber, Field::SrcUsername];

/// One message of a hot key.
#[derive(Clone, Debug)]
struct Message {
    key: u8,
    after_ns: u64,
    address: Option<u8>,
    port: Option<u64>,
    user: Option<Vec<u8>>,
    device: Vec<u8>,
    line: Vec<u8>,
}

fn message(values: u64) -> impl Strategy<Value = Message> {
    (
        0..3_u8,
        0..5 * S,
        proptest::option::of(0..u8::try_from(values).unwrap()),
        proptest::option::of(0..values),
        proptest::option::of(prop_oneof![vec(97..107_u8, 1), vec(250..=255_u8, 1)]),
        vec(prop_oneof![Just(b'f'), Just(b'w')], 1..3),
        vec(any::<u8>(), 1..600),
    )
        .prop_map(|(key, after_ns, address, port, user, device, line)| Message {
            key,
            after_ns,
            address,
            port,
            user,
            device,
            line,
        })
}

fn note(evidence: &mut Evidence, message: &Message) {
    let mut session = Session::default();
    if let Some(address) = message.address {
        let text = format!("192.0.2.{address}");
        session.set(Field::DstIpAddr, Value::Address(ip::parse(text.as_bytes()).unwrap()));
    }
    if let Some(port) = message.port {
        session.set(Field::DstPortNumber, Value::Number(port));
    }
    if let Some(user) = &message.user {
        session.set(Field::SrcUsername, Value::Text(Raw { bytes: user, escape: Escape::None }, Case::AsIs));
    }
    evidence.note(&[message.key], &session, &message.device, &message.line);
}

fn states(evidence: &mut Evidence) -> BTreeMap<Vec<u8>, (Json, u64)> {
    let states = evidence.take(usize::MAX).into_iter();
    states.map(|(key, state, last_s)| (key.to_vec(), (serde_json::from_str(&state).unwrap(), last_s))).collect()
}

/// `[[value, messages], ...]` in the order of the values' text.
fn sorted(list: &Json) -> Vec<(String, u64)> {
    let pairs = list.as_array().into_iter().flatten();
    let mut pairs: Vec<_> = pairs.map(|pair| (pair[0].to_string(), pair[1].as_u64().unwrap())).collect();
    pairs.sort();
    pairs
}

fn counted<'a>(values: impl Iterator<Item = Json> + 'a) -> Vec<(String, u64)> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for value in values {
        *counts.entry(value.to_string()).or_default() += 1;
    }
    counts.into_iter().collect()
}

fn text(bytes: &[u8]) -> Json {
    String::from_utf8_lossy(bytes).into_owned().into()
}

proptest! {
    /// With no more values than places, everything is exact.
    #[test]
    fn equals_a_dictionary_of_lists(messages in vec(message(10), 1..60)) {
        let mut evidence = Evidence::new(FIELDS.to_vec(), 60, 1000);
        let mut reference: BTreeMap<Vec<u8>, Vec<(u64, &Message)>> = BTreeMap::new();
        let mut now_ns = START_NS;
        for message in &messages {
            now_ns += message.after_ns;
            evidence.advance(now_ns);
            note(&mut evidence, message);
            reference.entry(vec![message.key]).or_default().push((now_ns, message));
        }
        let states = states(&mut evidence);
        prop_assert_eq!(states.len(), reference.len());
        for (key, all) in &reference {
            let (state, last_s) = &states[key];
            let (first, last) = (all.first().unwrap(), all.last().unwrap());
            prop_assert_eq!(&state["messages"], all.len());
            prop_assert_eq!(&state["first_ns"], first.0);
            prop_assert_eq!(&state["last_ns"], last.0);
            prop_assert_eq!(*last_s, last.0 / S);
            let top = &state["top"];
            let addresses = all.iter().filter_map(|m| m.1.address).map(|n| Json::from(format!("192.0.2.{n}")));
            prop_assert_eq!(sorted(&top["DstIpAddr"]), counted(addresses));
            prop_assert_eq!(sorted(&top["DstPortNumber"]), counted(all.iter().filter_map(|m| m.1.port).map(Json::from)));
            let users = all.iter().filter_map(|m| m.1.user.as_ref()).map(|user| text(user));
            let users = counted(users);
            if users.len() <= 10 {
                prop_assert_eq!(sorted(&top["SrcUsername"]), users);
            }
            prop_assert_eq!(sorted(&top["Dvc"]), counted(all.iter().map(|m| text(&m.1.device))));
            for list in top.as_object().unwrap().values() {
                let counts: Vec<u64> = list.as_array().unwrap().iter().map(|pair| pair[1].as_u64().unwrap()).collect();
                prop_assert!(counts.is_sorted_by(|a, b| a >= b));
            }
            let mut lines = vec![first.1];
            lines.extend(all[1..].iter().map(|m| m.1).rev().take(2).rev());
            for (line, message) in state["lines"].as_array().unwrap().iter().zip(&lines) {
                let line = line.as_str().unwrap();
                prop_assert!(line.len() <= 512);
                let whole = String::from_utf8_lossy(&message.line);
                prop_assert!(whole.starts_with(line), "{line} of {whole}");
            }
            prop_assert_eq!(state["lines"].as_array().unwrap().len(), lines.len());
        }
    }

    /// With more values: none is told with more messages than it had, and one with over a tenth of them is there.
    #[test]
    fn many_values_are_never_overstated(messages in vec(message(40), 1..200)) {
        let mut evidence = Evidence::new(FIELDS.to_vec(), 60, 1000);
        evidence.advance(START_NS);
        for message in &messages {
            note(&mut evidence, message);
        }
        for (key, (state, _)) in states(&mut evidence) {
            let ports = messages.iter().filter(|m| [m.key] == key[..]).filter_map(|m| m.port).map(Json::from);
            let reference = counted(ports);
            let noted: u64 = reference.iter().map(|(_, count)| count).sum();
            let told: BTreeMap<_, _> = sorted(&state["top"]["DstPortNumber"]).into_iter().collect();
            for (port, count) in &reference {
                prop_assert!(told.get(port).is_none_or(|told| told <= count));
                prop_assert!(count * 10 <= noted || told.contains_key(port));
            }
        }
    }

    /// A restart at any moment changes nothing, even with more values than places.
    #[test]
    fn goes_on_from_its_state(messages in vec(message(40), 2..120), cut in any::<prop::sample::Index>()) {
        let mut whole = Evidence::new(FIELDS.to_vec(), 60, 1000);
        let mut before = Evidence::new(FIELDS.to_vec(), 60, 1000);
        let mut after = Evidence::new(FIELDS.to_vec(), 60, 1000);
        let cut = cut.index(messages.len());
        let mut now_ns = START_NS;
        for (number, message) in messages.iter().enumerate() {
            if number == cut {
                for (key, state, _) in before.take(usize::MAX) {
                    prop_assert!(after.restore(&key, &state));
                }
            }
            now_ns += message.after_ns;
            let part = if number < cut { &mut before } else { &mut after };
            for evidence in [&mut whole, part] {
                evidence.advance(now_ns);
                note(evidence, message);
            }
        }
        let want = states(&mut whole);
        for (key, state) in states(&mut after) {
            prop_assert_eq!(&state, &want[&key]);
        }
    }

    /// New plans at any moments change nothing, with the same fields in whatever order.
    #[test]
    fn new_plans_keep_everything(
        messages in vec(message(40), 2..120),
        replan_at in vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut whole = Evidence::new(FIELDS.to_vec(), 60, 3);
        let mut replanned = Evidence::new(FIELDS.to_vec(), 60, 3);
        let replan_at: Vec<usize> = replan_at.iter().map(|place| place.index(messages.len())).collect();
        let mut fields = FIELDS;
        let mut now_ns = START_NS;
        for (number, message) in messages.iter().enumerate() {
            if number % 7 == 6 {
                let states = |evidence: &mut Evidence| {
                    let states = evidence.take(1).into_iter();
                    let states = states.map(|(key, state, at)| (key, serde_json::from_str::<Json>(&state).unwrap(), at));
                    states.collect::<Vec<_>>()
                };
                prop_assert_eq!(states(&mut whole), states(&mut replanned));
            }
            now_ns += message.after_ns;
            for evidence in [&mut whole, &mut replanned] {
                evidence.advance(now_ns);
                note(evidence, message);
            }
            if replan_at.contains(&number) {
                fields.rotate_left(1);
                let mut now = Evidence::new(fields.to_vec(), 60, 3);
                now.adopt(replanned);
                replanned = now;
            }
            prop_assert_eq!((whole.pending(), whole.len()), (replanned.pending(), replanned.len()));
        }
        prop_assert_eq!(states(&mut whole), states(&mut replanned));
    }
}
