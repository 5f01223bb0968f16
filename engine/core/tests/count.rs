//! Properties of the counters, against models that are obvious and unbounded.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::too_many_lines)]

use std::collections::{BTreeMap, BTreeSet};

use collectord_core::count::{Changes, Counters, Definition, Judgement, Level, Spec, Watch};
use proptest::collection::vec;
use proptest::prelude::*;

const S: u64 = 1_000_000_000;
/// Somewhere in time, on a boundary of slots of 1 to 6 s.
const START_S: u64 = 1_700_000_040;

type Bytes = Vec<u8>;
/// Rows added up: (slot start, key) -> (count, messages, last error).
type Store = BTreeMap<(u64, Bytes), (u64, u64, u64)>;
type Window = BTreeMap<Bytes, u64>;

/// Keys of all lengths, inline and boxed ones.
fn key(number: u8) -> Bytes {
    let mut key = vec![number; 1 + usize::from(number) * 3];
    key.extend(b"site");
    key
}

/// A level that depends on the key, and is missing for some.
fn level_of(key: &[u8], level: u64) -> Option<u64> {
    match key.first().copied().unwrap_or(0) % 4 {
        0 => None,
        1 => Some(level * 2),
        _ => Some(level),
    }
}

fn level(level: u64) -> Level {
    Box::new(move |key| level_of(key, level))
}

fn definition(name: &str, slot_s: u64, capacity: usize) -> Definition {
    Definition {
        name: name.into(),
        fingerprint: String::from("all"),
        slot_s,
        capacity,
        pinned: None,
        distinct: false,
        beacon: None,
        evidence: None,
    }
}

fn spec(slot_s: u64, capacity: usize, watches: &[(usize, u64)]) -> Spec {
    let watches = watches.iter().enumerate().map(|(number, &(window_slots, at))| Watch {
        // Two rules may have one name and window.
        rule: format!("rule {}", number % 2),
        window_slots,
        level: level(at),
    });
    (definition("all", slot_s, capacity), watches.collect())
}

fn store(into: &mut Store, changes: &Changes) {
    for counter in changes.rows.iter() {
        assert!(!counter.rows.is_empty());
        for row in &counter.rows {
            assert_eq!(row.slot_start_s % counter.slot_s, 0);
            let sums = into.entry((row.slot_start_s, row.key.to_vec())).or_default();
            *sums = (sums.0 + row.count, sums.1 + row.messages, row.error);
        }
    }
}

fn rows(changes: &Changes) -> usize {
    changes.rows.iter().map(|counter| counter.rows.len()).sum()
}

/// Takes batches until nothing is left.
fn drain(counters: &mut Counters, now_ns: u64, into: &mut Store) {
    loop {
        let changes = counters.changes(now_ns);
        store(into, &changes);
        assert!(counters.ack(changes.seq));
        if changes.carried == 0 {
            return;
        }
    }
}

fn window(judgement: &Judgement) -> Window {
    let window: Window = judgement.keys.iter().map(|over| (over.key.to_vec(), over.sum)).collect();
    assert_eq!(window.len(), judgement.keys.len(), "a key is told once");
    window
}

/// Each key's largest sum.
fn largest<'a>(windows: impl Iterator<Item = &'a Window>) -> Window {
    let mut all = Window::new();
    for (key, &sum) in windows.flatten() {
        let kept = all.entry(key.clone()).or_default();
        *kept = sum.max(*kept);
    }
    all
}

#[derive(Debug, Clone)]
enum Step {
    Add { key: u8, weight: u64 },
    Advance { ms: u64 },
    Changes { ms: u64, ack: bool },
    WrongAck,
    Replan,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0_u8..12, 0_u64..40).prop_map(|(key, weight)| Step::Add { key, weight }),
        4 => (0_u64..1500).prop_map(|ms| Step::Advance { ms }),
        1 => (0_u64..60_000).prop_map(|ms| Step::Advance { ms }),
        3 => (0_u64..1500, any::<bool>()).prop_map(|(ms, ack)| Step::Changes { ms, ack }),
        1 => Just(Step::WrongAck),
        1 => Just(Step::Replan),
    ];
    vec(step, 1..250)
}

/// The same without bounds: every slot ever, every boundary.
struct Model {
    slot_s: u64,
    watches: Vec<(usize, u64)>,
    now_ns: u64,
    sums: BTreeMap<(u64, Bytes), (u64, u64)>,
    /// Per watch: what its windows held at each boundary since the last changes, by the time of the boundary.
    closed: Vec<BTreeMap<u64, Window>>,
}

impl Model {
    fn slot(&self) -> u64 {
        self.now_ns / S / self.slot_s
    }

    fn window(&self, watch: usize, end: u64) -> Window {
        let (slots, level) = self.watches[watch];
        let mut window = Window::new();
        for ((start_s, key), (sum, _)) in &self.sums {
            let slot = start_s / self.slot_s;
            if slot <= end && slot + slots as u64 > end {
                *window.entry(key.clone()).or_default() += sum;
            }
        }
        window.retain(|key, sum| level_of(key, level).is_some_and(|level| *sum > level));
        window
    }

    fn advance(&mut self, now_ns: u64) {
        let before = self.slot();
        self.now_ns = self.now_ns.max(now_ns);
        for end in before..self.slot() {
            for watch in 0..self.watches.len() {
                let window = self.window(watch, end);
                self.closed[watch].insert((end + 1) * self.slot_s * S, window);
            }
        }
    }

    fn add(&mut self, key: Bytes, weight: u64) {
        let sums = self.sums.entry((self.slot() * self.slot_s, key)).or_default();
        *sums = (sums.0 + weight, sums.1 + 1);
    }

    /// Compares judgements with all boundaries since the last call, and the open windows.
    fn check(&mut self, changes: &Changes) {
        assert_eq!(changes.now_ns, self.now_ns);
        let order: Vec<u64> = changes.judgements.iter().map(|judgement| judgement.end_ns).collect();
        assert!(order.is_sorted());
        let ring = self.watches.iter().map(|watch| watch.0).max().unwrap() + 1;
        for watch in 0..self.watches.len() {
            let told: Vec<&Judgement> =
                changes.judgements.iter().filter(|judgement| judgement.watch == watch).collect();
            let (open, closed) = told.split_last().expect("each watch has at least one judgement");
            assert!(!open.closed && open.end_ns == self.now_ns);
            assert_eq!(open.start_ns, (self.slot() + 1 - self.watches[watch].0 as u64) * self.slot_s * S);
            assert_eq!(window(open), self.window(watch, self.slot()));
            assert!(closed.iter().all(|judgement| judgement.closed && judgement.rule == open.rule));
            assert!(closed.len() <= 2 * ring);
            let mut want = std::mem::take(&mut self.closed[watch]);
            assert_eq!(closed.is_empty(), want.is_empty(), "a boundary that passed is told of");
            assert_eq!(
                largest(closed.iter().map(|judgement| window(judgement)).collect::<Vec<_>>().iter()),
                largest(want.values())
            );
            if closed.len() < 2 * ring {
                // None were merged.
                for judgement in closed {
                    let span = self.watches[watch].0 as u64 * self.slot_s * S;
                    assert_eq!(judgement.end_ns - judgement.start_ns, span);
                    assert_eq!(want.remove(&judgement.end_ns), Some(window(judgement)));
                }
                assert!(want.values().all(BTreeMap::is_empty), "only empty windows are left out");
            }
        }
    }
}

/// How many examples to try: `PROPTEST_CASES` where it asks for more than `least`.
fn cases(least: u32) -> u32 {
    ProptestConfig::default().cases.max(least)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(400), failure_persistence: None, ..ProptestConfig::default() })]

    /// Within the capacity, rows and judgements are those of a counter without bounds, whatever is acknowledged when.
    #[test]
    fn counters_equal_the_unbounded_model(
        steps in steps(),
        slot_s in 1_u64..4,
        watches in vec((1_usize..6, 0_u64..120), 1..4),
        rows_per_batch in prop_oneof![1_usize..6, Just(50_000)],
        capacity in prop_oneof![Just(1000_usize), Just(65_536)],
    ) {
        let start_ns = START_S * S;
        let mut model = Model {
            slot_s,
            closed: vec![BTreeMap::new(); watches.len()],
            watches: watches.clone(),
            now_ns: start_ns,
            sums: BTreeMap::new(),
        };
        let mut counters = Counters::new(vec![spec(slot_s, capacity, &watches)], rows_per_batch, 1);
        counters.advance(start_ns);
        let mut stored = Store::new();
        let mut seq = 1;
        let mut unacknowledged: Option<Changes> = None;
        for step in steps {
            match step {
                Step::Add { key: number, weight } => {
                    counters.add(0, &key(number), weight);
                    model.add(key(number), weight);
                }
                Step::Advance { ms } => {
                    let now_ns = model.now_ns + ms * 1_000_000;
                    counters.advance(now_ns);
                    model.advance(now_ns);
                }
                Step::Changes { ms, ack } => {
                    let now_ns = model.now_ns + ms * 1_000_000;
                    let changes = counters.changes(now_ns);
                    model.advance(now_ns);
                    model.check(&changes);
                    prop_assert_eq!(changes.seq, seq);
                    prop_assert!(rows(&changes) <= rows_per_batch);
                    prop_assert_eq!(changes.repeated, unacknowledged.is_some());
                    if let Some(before) = &unacknowledged {
                        prop_assert_eq!(&changes.rows, &before.rows);
                    }
                    if ack {
                        store(&mut stored, &changes);
                        prop_assert!(counters.ack(seq));
                        prop_assert!(!counters.ack(seq));
                        seq += 1;
                        unacknowledged = None;
                    } else {
                        unacknowledged = Some(changes);
                    }
                }
                Step::WrongAck => {
                    prop_assert!(!counters.ack(seq + 1));
                    prop_assert!(!counters.ack(seq - 1));
                }
                Step::Replan => counters.replan(vec![spec(slot_s, capacity, &watches)]),
            }
        }
        drain(&mut counters, model.now_ns, &mut stored);
        let stored: BTreeMap<_, _> = stored.into_iter().map(|(key, sums)| {
            assert_eq!(sums.2, 0, "nothing is missing");
            (key, (sums.0, sums.1))
        }).collect();
        prop_assert_eq!(stored, model.sums);
    }

    /// Over the capacity, totals stay exact, memory is bounded and the guarantees of Space-Saving hold.
    #[test]
    fn space_saving_holds_over_the_capacity(
        capacity in 1_usize..7,
        window_slots in 1_usize..4,
        // Skewed: the smaller of two.
        stream in vec((0_u8..40, 0_u8..40, 0_u64..30), 1..1500),
        tick_every in 1_usize..200,
        acknowledge in any::<bool>(),
    ) {
        let any: fn(usize) -> Watch =
            |window_slots| Watch { rule: window_slots.to_string(), window_slots, level: Box::new(|_| Some(0)) };
        let plan = (definition("all", 2, capacity), vec![any(1), any(window_slots)]);
        let mut counters = Counters::new(vec![plan], 50_000, 1);
        let ring = window_slots + 1;
        let mut now_ns = START_S * S;
        counters.advance(now_ns);
        let mut truth: BTreeMap<(u64, Bytes), u64> = BTreeMap::new();
        let mut stored = Store::new();
        let (mut messages, mut evicted) = (0_u64, 0);
        for (number, (a, b, ms)) in stream.into_iter().enumerate() {
            now_ns += ms * 1_000_000;
            counters.advance(now_ns);
            let slot = now_ns / S / 2;
            let key = key(a.min(b));
            counters.add(0, &key, 1);
            *truth.entry((slot, key)).or_default() += 1;
            messages += 1;
            // Slots, what waits of those that left, and what waits folded.
            prop_assert!(counters.held(0) <= capacity * ring + 2 * capacity);
            if number % tick_every != 0 {
                continue;
            }
            let changes = counters.changes(now_ns);
            evicted += changes.evicted[0];
            for judgement in changes.judgements.iter().filter(|judgement| !judgement.closed) {
                let slots = if judgement.watch == 0 { 1 } else { window_slots as u64 };
                let mut window = Window::new();
                for ((_, key), sum) in truth.iter().filter(|((start, _), _)| start + slots > slot) {
                    *window.entry(key.clone()).or_default() += sum;
                }
                let total: u64 = window.values().sum();
                let mut told = BTreeSet::new();
                for over in &judgement.keys {
                    let true_sum = window[over.key.as_bytes()];
                    prop_assert!(over.sum <= true_sum && true_sum <= over.sum + over.error);
                    prop_assert!(over.error <= total / capacity as u64);
                    prop_assert!(told.insert(over.key.to_vec()));
                }
                if slots == 1 {
                    prop_assert!(told.len() <= capacity);
                    for (key, sum) in window {
                        prop_assert!(sum <= total / capacity as u64 || told.contains(&key), "{} of {}", sum, total);
                    }
                }
            }
            if acknowledge {
                store(&mut stored, &changes);
                counters.ack(changes.seq);
            }
        }
        if !acknowledge {
            // The batch that is outstanding since the first tick.
            let changes = counters.changes(now_ns);
            store(&mut stored, &changes);
            counters.ack(changes.seq);
        }
        drain(&mut counters, now_ns, &mut stored);
        prop_assert_eq!(stored.values().map(|sums| sums.0).sum::<u64>(), messages);
        prop_assert_eq!(stored.values().map(|sums| sums.1).sum::<u64>(), messages);
        let mut of_slots: BTreeMap<u64, i128> = BTreeMap::new();
        for ((slot, _), sum) in &truth {
            *of_slots.entry(slot * 2).or_default() += i128::from(*sum);
        }
        for ((start_s, _), sums) in &stored {
            *of_slots.entry(*start_s).or_default() -= i128::from(sums.0);
        }
        if acknowledge {
            prop_assert!(of_slots.values().all(|&rest| rest == 0), "each slot's total is exact");
        }
        let distinct = truth.len();
        prop_assert!(evicted == 0 || distinct > capacity);
    }

    /// A counter restored from the store goes on as if it had not been interrupted.
    #[test]
    fn a_restored_counter_goes_on_the_same(
        before in vec((0_u8..12, 1_u64..40, 0_u64..900), 0..150),
        after in vec((0_u8..12, 1_u64..40, 0_u64..900, any::<bool>()), 1..100),
        watches in vec((1_usize..5, 0_u64..120), 1..3),
        told_time_first in any::<bool>(),
        reversed in any::<bool>(),
    ) {
        let plan = || vec![spec(2, 1000, &watches)];
        let mut one = Counters::new(plan(), 50_000, 1);
        let mut now_ns = START_S * S;
        one.advance(now_ns);
        let mut stored = Store::new();
        for (number, weight, ms) in before {
            now_ns += ms * 1_000_000;
            one.advance(now_ns);
            one.add(0, &key(number), weight);
        }
        drain(&mut one, now_ns, &mut stored);
        let seq = one.changes(now_ns).seq;
        one.ack(seq);

        let mut two = Counters::new(plan(), 50_000, seq + 1);
        if told_time_first {
            two.advance(now_ns);
        }
        let mut rows: Vec<_> = stored.iter().collect();
        if reversed {
            rows.reverse();
        }
        let oldest = now_ns / S / 2 - watches.iter().map(|watch| watch.0 as u64).max().unwrap();
        for ((start_s, key), &(count, messages, error)) in rows {
            let kept = two.restore(0, *start_s, key, count, messages, error);
            prop_assert_eq!(kept, !told_time_first || *start_s / 2 >= oldest);
        }
        two.advance(now_ns);

        for (number, weight, ms, tick) in after {
            now_ns += ms * 1_000_000;
            one.advance(now_ns);
            two.advance(now_ns);
            one.add(0, &key(number), weight);
            two.add(0, &key(number), weight);
            if tick {
                let (a, b) = (one.changes(now_ns), two.changes(now_ns));
                prop_assert_eq!(a.seq, b.seq);
                let (mut rows_a, mut rows_b) = (Store::new(), Store::new());
                store(&mut rows_a, &a);
                store(&mut rows_b, &b);
                prop_assert_eq!(rows_a, rows_b);
                let judged = |changes: &Changes| -> Vec<_> {
                    let all = changes.judgements.iter();
                    all.map(|judgement| {
                        (judgement.watch, judgement.start_ns, judgement.end_ns, judgement.closed, window(judgement))
                    }).collect()
                };
                prop_assert_eq!(judged(&a), judged(&b));
                one.ack(a.seq);
                two.ack(b.seq);
            }
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(10), failure_persistence: None, ..ProptestConfig::default() })]

    /// A burst just before a slot's end is judged, wherever ticks fall.
    #[test]
    fn no_burst_at_a_boundary_is_missed(
        window_slots in 1_usize..6,
        tick_ms in 1_u64..1000,
        gap in 1_u64..4,
    ) {
        let mut counters = Counters::new(vec![spec(60, 100, &[(window_slots, 5000)])], 50_000, 1);
        let mut seen = BTreeSet::new();
        for burst in 0..300_u64 {
            let end_ns = (START_S + (burst * gap + 1) * 60) * S;
            counters.advance(end_ns - 200_000_000);
            // Its level is the plain one.
            let key = [&[2][..], &burst.to_be_bytes()].concat();
            for message in 0..5001_u64 {
                if message % 1000 == 0 {
                    counters.advance(end_ns - 200_000_000 + message * 39_000);
                }
                counters.add(0, &key, 1);
            }
            let changes = counters.changes(end_ns + tick_ms * 1_000_000);
            counters.ack(changes.seq);
            for judgement in changes.judgements.iter().filter(|judgement| judgement.closed && judgement.end_ns == end_ns) {
                seen.extend(judgement.keys.iter().filter(|over| over.sum == 5001).map(|over| over.key.clone()));
            }
        }
        prop_assert_eq!(seen.len(), 300);
    }
}
