//! Counters of distinct values against a plain reference: a set of values per slot and key.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use collectord_core::count::{Changes, Counters, Definition, Judgement, Key, Spec, State, VALUES_PER_KEY, Watch};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};

const S: u64 = 1_000_000_000;
const START_S: u64 = 1_700_000_040;
const SLOT_S: u64 = 2;

/// (window in slots, level)
type Watches = Vec<(usize, u64)>;
/// Key -> count, of the keys over the level.
type Window = BTreeMap<u8, u64>;

fn spec(watches: &Watches, capacity: usize) -> Spec {
    let definition = Definition {
        name: String::from("ports"),
        fingerprint: String::from("1"),
        slot_s: SLOT_S,
        capacity,
        pinned: None,
        distinct: true,
        beacon: None,
        evidence: None,
    };
    let watch = |&(window_slots, level): &(usize, u64)| Watch {
        rule: format!("{window_slots} {level}"),
        window_slots,
        // The last key has no level.
        level: Box::new(move |key| (key != [255]).then_some(level)),
    };
    (definition, watches.iter().map(watch).collect())
}

/// Values of different lengths, as addresses, ports and texts have.
fn value(number: u16) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    if number.is_multiple_of(5) { bytes.repeat(30) } else { bytes.to_vec() }
}

/// The same without bounds.
#[derive(Default)]
struct Reference {
    slots: HashMap<(u64, u8), BTreeSet<u16>>,
}

impl Reference {
    fn window(&self, (slots, level): (usize, u64), end: u64) -> Window {
        let mut union: BTreeMap<u8, BTreeSet<u16>> = BTreeMap::new();
        for ((slot, key), values) in &self.slots {
            if *slot <= end && slot + slots as u64 > end && *key != 255 {
                union.entry(*key).or_default().extend(values);
            }
        }
        let counts = union.into_iter().map(|(key, values)| (key, values.len().min(VALUES_PER_KEY) as u64));
        counts.filter(|(_, count)| *count > level).collect()
    }
}

fn window(judgement: &Judgement) -> Window {
    assert!(judgement.keys.iter().all(|over| over.error == 0));
    judgement.keys.iter().map(|over| (over.key.as_bytes()[0], over.sum)).collect()
}

/// The store: the newest state of each key.
type Store = BTreeMap<Key, State>;

fn put(store: &mut Store, changes: &Changes) {
    assert!(changes.rows.is_empty());
    for row in changes.states.iter().flat_map(|states| &states.rows) {
        match &row.state {
            Some(state) => {
                let State::Values(values) = state else { panic!("{state:?}") };
                assert_eq!(values.values.iter().map(|(_, start_s)| *start_s).max(), Some(row.last_s));
                assert!(values.values.len() <= VALUES_PER_KEY);
                store.insert(row.key.clone(), state.clone());
            }
            None => {
                store.remove(&row.key);
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Add {
        key: u8,
        value: u16,
    },
    /// Many values of one key at once.
    Burst {
        key: u8,
        first: u16,
        count: u16,
    },
    Advance {
        ms: u64,
    },
    Changes {
        ack: bool,
    },
    Replan,
    /// The process is killed right after its batch was stored.
    Kill {
        told_time_first: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = prop_oneof![9 => 0_u8..4, 1 => Just(255_u8)];
    let step = prop_oneof![
        30 => (key.clone(), 0_u16..80).prop_map(|(key, value)| Step::Add { key, value }),
        3 => (key, 0_u16..80, 1_u16..90).prop_map(|(key, first, count)| Step::Burst { key, first, count }),
        8 => (0_u64..1500).prop_map(|ms| Step::Advance { ms }),
        1 => (0_u64..60_000).prop_map(|ms| Step::Advance { ms }),
        4 => any::<bool>().prop_map(|ack| Step::Changes { ack }),
        1 => Just(Step::Replan),
        1 => any::<bool>().prop_map(|told_time_first| Step::Kill { told_time_first }),
    ];
    vec(step, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(300),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Within the capacity the windows are those of the reference, up to the most values that a key keeps, through
    /// slots that are jumped over, new plans, and restarts from the store at any moment.
    #[test]
    fn windows_equal_the_reference(
        steps in steps(),
        watches in vec((1_usize..6, 0_u64..64), 1..4),
        rows_per_batch in prop_oneof![1_usize..6, Just(50_000)],
    ) {
        let mut now_ns = START_S * S;
        let mut counters = Counters::new(vec![spec(&watches, 1000)], rows_per_batch, 1);
        counters.advance(now_ns);
        let mut reference = Reference::default();
        let mut stored = Store::new();
        let mut closed_until = now_ns / S / SLOT_S;
        let mut unacknowledged: Option<Changes> = None;
        for step in steps {
            let slot = now_ns / S / SLOT_S;
            match step {
                Step::Add { key, value: number } => {
                    counters.add_value(0, &[key], &value(number));
                    reference.slots.entry((slot, key)).or_default().insert(number);
                }
                Step::Burst { key, first, count } => {
                    for number in first..first + count {
                        counters.add_value(0, &[key], &value(number));
                        reference.slots.entry((slot, key)).or_default().insert(number);
                    }
                }
                Step::Advance { ms } => {
                    now_ns += ms * 1_000_000;
                    counters.advance(now_ns);
                }
                Step::Changes { ack } => {
                    let changes = counters.changes(now_ns);
                    let told: usize = changes.states.iter().map(|states| states.rows.len()).sum();
                    prop_assert!(told <= rows_per_batch);
                    if let Some(before) = &unacknowledged {
                        prop_assert_eq!(&before.states, &changes.states);
                        prop_assert_eq!(before.seq, changes.seq);
                    }
                    for (number, watch) in watches.iter().enumerate() {
                        let of_watch = changes.judgements.iter().filter(|judgement| judgement.watch == number);
                        let (closed, open): (Vec<_>, Vec<_>) = of_watch.partition(|judgement| judgement.closed);
                        prop_assert_eq!(open.len(), 1);
                        prop_assert_eq!(window(open[0]), reference.window(*watch, slot));
                        let ring = watches.iter().map(|watch| watch.0).max().unwrap() + 1;
                        if closed.len() < 2 * ring {
                            // None were merged.
                            let mut want: BTreeMap<u64, Window> =
                                (closed_until..slot).map(|end| (end, reference.window(*watch, end))).collect();
                            for judgement in &closed {
                                let end = judgement.end_ns / S / SLOT_S - 1;
                                prop_assert_eq!(want.remove(&end), Some(window(judgement)));
                            }
                            prop_assert!(want.values().all(BTreeMap::is_empty), "only empty windows are left out");
                        }
                    }
                    closed_until = slot;
                    if ack {
                        put(&mut stored, &changes);
                        prop_assert!(counters.ack(changes.seq));
                        unacknowledged = None;
                    } else {
                        unacknowledged = Some(changes);
                    }
                }
                Step::Replan => counters.replan(vec![spec(&watches, 1000)]),
                Step::Kill { told_time_first } => {
                    // Until nothing is carried any more: a restart forgets what was.
                    loop {
                        let changes = counters.changes(now_ns);
                        put(&mut stored, &changes);
                        counters.ack(changes.seq);
                        if changes.carried == 0 {
                            break;
                        }
                    }
                    unacknowledged = None;
                    closed_until = slot;
                    counters = Counters::new(vec![spec(&watches, 1000)], rows_per_batch, 1);
                    if told_time_first {
                        counters.advance(now_ns);
                    }
                    for (key, state) in &stored {
                        counters.restore_state(0, key, state);
                    }
                    counters.advance(now_ns);
                    let changes = counters.changes(now_ns);
                    prop_assert!(changes.states.is_empty() && changes.carried == 0, "nothing is told again");
                    counters.ack(changes.seq);
                }
            }
        }
    }

    /// Over the capacity memory stays bounded, a key with more than its share of messages is told with its true count,
    /// and the store holds no more keys than the counter.
    #[test]
    fn a_flood_of_keys_hides_nobody_and_stays_bounded(
        capacity in 2_usize..20,
        flood in 200_u32..3000,
        tick_every in 1_u32..300,
    ) {
        let mut counters = Counters::new(vec![spec(&vec![(3, 20)], capacity)], 50_000, 1);
        counters.advance(START_S * S);
        let every = u32::try_from(capacity).unwrap() / 2;
        let (mut stored, mut evicted, mut sent) = (Store::new(), 0, BTreeSet::new());
        for number in 0..flood {
            counters.add_value(0, &[b"forged ".as_slice(), &number.to_be_bytes()].concat(), b"1");
            if number.is_multiple_of(every) {
                let port = u16::try_from(number / every % 50).unwrap();
                counters.add_value(0, &[1], &value(port));
                sent.insert(port);
            }
            prop_assert!(counters.held(0) <= capacity);
            if number.is_multiple_of(tick_every) {
                let changes = counters.changes(START_S * S);
                put(&mut stored, &changes);
                evicted += changes.evicted[0];
                counters.ack(changes.seq);
                prop_assert!(stored.len() <= capacity);
            }
        }
        let changes = counters.changes(START_S * S);
        evicted += changes.evicted[0];
        prop_assert!(evicted >= u64::from(flood) - capacity as u64);
        // It may have lost its first values, until it had more messages than those that were there before.
        let told = window(&changes.judgements[0]);
        if sent.len() == 50 && flood / every > 120 {
            prop_assert_eq!(told, Window::from([(1, 50)]));
        }
    }
}
