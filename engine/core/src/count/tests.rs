//! Behaviour of the counters as a whole.

use super::*;

const S: u64 = 1_000_000_000;
const MINUTE_NS: u64 = 60 * S;
/// The start of a minute.
const START_S: u64 = 1_700_000_040;
const START_NS: u64 = START_S * S;

fn definition(name: &str, capacity: usize) -> Definition {
    Definition {
        name: name.into(),
        fingerprint: String::from("1"),
        slot_s: 60,
        capacity,
        pinned: None,
        distinct: false,
        beacon: None,
        evidence: None,
    }
}

fn watch(rule: &str, window_slots: usize, level: u64) -> Watch {
    Watch { rule: rule.into(), window_slots, level: Box::new(move |_| Some(level)) }
}

fn one(window_slots: usize, level: u64) -> Vec<Spec> {
    vec![(definition("one", 1000), vec![watch("rule", window_slots, level)])]
}

fn started(specs: Vec<Spec>) -> Counters {
    let mut counters = Counters::new(specs, 50_000, 1);
    counters.advance(START_NS);
    counters
}

fn add(counters: &mut Counters, key: &[u8], times: u64) {
    for _ in 0..times {
        counters.add(0, key, 1);
    }
}

/// When a window ended, in seconds from the start; whether it is closed; the keys and sums.
type Judged = (u64, bool, Vec<(String, u64)>);

fn judged(changes: &Changes) -> Vec<Judged> {
    let all = changes.judgements.iter().map(|judgement| {
        let mut keys: Vec<_> =
            judgement.keys.iter().map(|over| (String::from_utf8(over.key.to_vec()).unwrap(), over.sum)).collect();
        keys.sort();
        ((judgement.end_ns - START_NS) / S, judgement.closed, keys)
    });
    all.collect()
}

/// (counter, slot in seconds from the start, key, count, messages), sorted.
fn rows(changes: &Changes) -> Vec<(String, u64, String, u64, u64)> {
    let mut rows: Vec<_> = changes
        .rows
        .iter()
        .flat_map(|counter| counter.rows.iter().map(move |row| (counter, row)))
        .map(|(counter, row)| {
            let key = String::from_utf8(row.key.to_vec()).unwrap();
            (counter.counter.clone(), row.slot_start_s - START_S, key, row.count, row.messages)
        })
        .collect();
    rows.sort();
    rows
}

fn row(counter: &str, slot: u64, key: &str, count: u64, messages: u64) -> (String, u64, String, u64, u64) {
    (counter.into(), slot, key.into(), count, messages)
}

fn over(key: &str, sum: u64) -> Vec<(String, u64)> {
    vec![(key.into(), sum)]
}

fn commit(counters: &mut Counters, now_ns: u64) -> Changes {
    let changes = counters.changes(now_ns);
    assert!(counters.ack(changes.seq));
    changes
}

#[test]
fn a_sum_at_the_level_is_quiet_and_one_more_is_told() {
    let mut counters = started(one(5, 5000));
    add(&mut counters, b"a", 5000);
    assert_eq!(judged(&commit(&mut counters, START_NS + S)), [(1, false, vec![])]);
    add(&mut counters, b"a", 1);
    assert_eq!(judged(&commit(&mut counters, START_NS + 2 * S)), [(2, false, over("a", 5001))]);
}

#[test]
fn a_key_is_not_hot_by_one_message_that_claims_much() {
    let mut counters = started(one(5, 10));
    assert!(!counters.add_claim(0, b"a", 10));
    assert!(counters.add_claim(0, b"a", 1));
    assert!(!counters.add_claim(0, b"b", 10));
    counters.advance(START_NS + MINUTE_NS);
    assert!(counters.add_claim(0, b"b", 10));
    let changes = commit(&mut counters, START_NS + MINUTE_NS);
    assert_eq!(judged(&changes)[1].2, [("a".to_owned(), 11), ("b".to_owned(), 20)]);
    // One that speaks for itself alone is enough where one is.
    let mut counters = started(one(1, 0));
    assert!(counters.add_claim(0, b"a", 1));
    assert!(!counters.add_claim(7, b"a", 1));
}

#[test]
fn a_window_forgets_its_oldest_slot() {
    let mut counters = started(one(2, 10));
    counters.add(0, b"a", 6);
    commit(&mut counters, START_NS);
    counters.advance(START_NS + MINUTE_NS);
    counters.add(0, b"a", 5);
    let changes = commit(&mut counters, START_NS + 2 * MINUTE_NS);
    assert_eq!(judged(&changes), [(60, true, vec![]), (120, true, over("a", 11)), (120, false, vec![])]);
    let spans: Vec<_> = changes.judgements.iter().map(|judgement| judgement.start_ns).collect();
    assert_eq!(spans, [START_NS - MINUTE_NS, START_NS, START_NS + MINUTE_NS]);
}

#[test]
fn a_burst_in_the_last_moment_of_a_slot_is_judged_after_it() {
    let mut counters = started(one(1, 10));
    commit(&mut counters, START_NS + 59 * S);
    add(&mut counters, b"a", 11);
    let changes = commit(&mut counters, START_NS + MINUTE_NS);
    assert_eq!(judged(&changes), [(60, true, over("a", 11)), (60, false, vec![])]);
    assert_eq!(rows(&changes), [row("one", 0, "a", 11, 11)]);
}

#[test]
fn time_does_not_go_back() {
    let mut counters = started(one(1, 0));
    counters.advance(START_NS - 10 * MINUTE_NS);
    add(&mut counters, b"a", 1);
    let changes = commit(&mut counters, 0);
    assert_eq!(changes.now_ns, START_NS);
    assert_eq!(rows(&changes), [row("one", 0, "a", 1, 1)]);
}

#[test]
fn what_is_counted_before_time_starts_lies_in_the_first_slot() {
    let mut counters = Counters::new(one(1, 0), 50_000, 1);
    add(&mut counters, b"a", 2);
    assert_eq!(rows(&commit(&mut counters, START_NS)), [row("one", 0, "a", 2, 2)]);
}

#[test]
fn a_far_jump_of_the_clock_costs_no_more_than_the_ring() {
    let mut counters = started(one(3, 10));
    add(&mut counters, b"a", 11);
    let changes = commit(&mut counters, START_NS + 1_000_000 * MINUTE_NS);
    let (told, open) = judged(&changes).split_at_checked(4).map(|(a, b)| (a.to_vec(), b.to_vec())).unwrap();
    let full = |end| (end, true, over("a", 11));
    assert_eq!(told, [full(60), full(120), full(180), (240, true, vec![])]);
    assert_eq!(open, [(60_000_000, false, vec![])]);
    assert_eq!(rows(&changes), [row("one", 0, "a", 11, 11)]);
    // An idle night: one closed window tells that there is nothing.
    assert_eq!(commit(&mut counters, START_NS + 2_000_000 * MINUTE_NS).judgements.len(), 2);
    commit(&mut counters, u64::MAX);
    add(&mut counters, b"a", 1);
    commit(&mut counters, u64::MAX);
}

#[test]
fn judgements_that_nobody_asks_for_are_merged() {
    let mut counters = started(one(1, 10));
    for minute in 0..100 {
        counters.advance(START_NS + minute * MINUTE_NS);
        add(&mut counters, if minute == 3 { b"burst" } else { b"other" }, 11 + minute);
    }
    let judged = judged(&commit(&mut counters, START_NS + 99 * MINUTE_NS));
    // Twice the ring of two slots, and the open one.
    assert_eq!(judged.len(), 5);
    assert_eq!(judged[0].2, [("burst".into(), 14), ("other".into(), 106)]);
    assert_eq!(judged[1], (97 * 60, true, over("other", 107)));
}

#[test]
fn an_unacknowledged_batch_is_handed_over_again_and_others_wait() {
    let mut counters = started(one(2, 0));
    add(&mut counters, b"a", 1);
    let first = counters.changes(START_NS);
    assert!(!first.repeated);
    add(&mut counters, b"a", 2);
    assert!(!counters.ack(2));
    let again = counters.changes(START_NS + S);
    assert!(again.repeated);
    assert_eq!((again.seq, again.carried), (1, 1));
    assert_eq!(again.rows, first.rows);
    // Judgements are of now.
    assert_eq!(judged(&again), [(1, false, over("a", 3))]);
    assert!(counters.ack(1));
    assert!(!counters.ack(1));
    let second = commit(&mut counters, START_NS + S);
    assert_eq!((second.seq, second.repeated), (2, false));
    assert_eq!(rows(&second), [row("one", 0, "a", 2, 2)]);
    let empty = commit(&mut counters, START_NS + S);
    assert_eq!((empty.seq, empty.rows.len(), empty.carried), (3, 0, 0));
}

#[test]
fn batch_numbers_start_where_they_are_told() {
    let mut counters = Counters::new(one(1, 0), 0, 41);
    assert_eq!(commit(&mut counters, START_NS).seq, 41);
    assert_eq!(counters.changes(START_NS).seq, 42);
}

#[test]
fn the_largest_rows_go_first_over_all_counters() {
    let specs = vec![(definition("one", 1000), vec![]), (definition("two", 1000), vec![])];
    let mut counters = Counters::new(specs, 2, 1);
    counters.advance(START_NS);
    for (counter, key, weight) in [(0, b"a", 5), (0, b"b", 1), (1, b"c", 9), (1, b"d", 3), (1, b"d", 3)] {
        counters.add(counter, key, weight);
    }
    let first = commit(&mut counters, START_NS);
    assert_eq!(rows(&first), [row("two", 0, "c", 9, 1), row("two", 0, "d", 6, 2)]);
    assert_eq!(first.carried, 2);
    // They go out even when their slot has left the ring.
    let second = commit(&mut counters, START_NS + 10 * MINUTE_NS);
    assert_eq!(rows(&second), [row("one", 0, "a", 5, 1), row("one", 0, "b", 1, 1)]);
    assert_eq!(second.carried, 0);
}

#[test]
fn sums_saturate() {
    let mut counters = started(one(2, u64::MAX - 1));
    counters.add(0, b"a", u64::MAX);
    counters.add(0, b"a", u64::MAX);
    counters.advance(START_NS + MINUTE_NS);
    counters.add(0, b"a", 5);
    let changes = commit(&mut counters, START_NS + MINUTE_NS);
    assert_eq!(judged(&changes)[1].2, over("a", u64::MAX));
    assert_eq!(rows(&changes), [row("one", 0, "a", u64::MAX, 2), row("one", 60, "a", 5, 1)]);
}

#[test]
fn unknown_counters_and_empty_keys_are_harmless() {
    let mut counters = started(one(1, 0));
    counters.add(7, b"a", 1);
    counters.add(0, b"", 3);
    assert!(!counters.restore(7, START_S, b"a", 1, 1, 0));
    assert!(counters.restore(0, START_S, b"", 100, 100, 0));
    assert_eq!(rows(&commit(&mut counters, START_NS)), [row("one", 0, "", 3, 1)]);
    assert_eq!((counters.held(0), counters.held(7), counters.len(), counters.is_empty()), (0, 0, 1, false));
    assert!(counters.definition(7).is_none());
}

#[test]
fn a_plan_without_counters_still_numbers_batches() {
    let mut counters = Counters::new(Vec::new(), 10, 1);
    assert!(counters.is_empty());
    let changes = commit(&mut counters, START_NS);
    assert!(changes.rows.is_empty() && changes.judgements.is_empty() && changes.evicted.is_empty());
    assert_eq!(commit(&mut counters, START_NS).seq, 2);
}

#[test]
fn zeros_in_a_plan_are_read_as_one() {
    let definition = Definition { slot_s: 0, capacity: 0, ..definition("one", 0) };
    let mut counters = started(vec![(definition, vec![watch("rule", 0, 0)])]);
    add(&mut counters, b"a", 1);
    add(&mut counters, b"b", 1);
    let changes = commit(&mut counters, START_NS);
    assert_eq!(judged(&changes), [(0, false, over("b", 1))]);
    assert_eq!(changes.judgements[0].keys[0].error, 1);
    assert_eq!(changes.evicted, [1]);
    assert_eq!(rows(&changes), [row("one", 0, "", 1, 1), row("one", 0, "b", 1, 1)]);
}

#[test]
fn a_flood_of_distinct_keys_hides_no_source_that_is_over() {
    let mut counters = started(vec![(definition("one", 64), vec![watch("rule", 1, 1000)])]);
    for number in 0..100_000_u32 {
        counters.add(0, &number.to_be_bytes(), 1);
        if number % 50 == 0 {
            counters.add(0, b"source", 1);
        }
    }
    let changes = commit(&mut counters, START_NS);
    let told = &changes.judgements[0].keys;
    // 2000 messages of 102,000 are more than a 64th.
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].key.as_bytes(), b"source");
    assert!(told[0].sum + told[0].error >= 2000);
    assert!(changes.evicted[0] > 90_000);
    assert!(counters.held(0) <= 64);
}

#[test]
fn a_forged_count_buys_no_place() {
    let mut counters = started(vec![(definition("one", 2), vec![watch("rule", 1, 0)])]);
    counters.add(0, b"forged", 1_000_000);
    add(&mut counters, b"a", 2);
    add(&mut counters, b"b", 2);
    let changes = commit(&mut counters, START_NS);
    assert_eq!(judged(&changes), [(0, false, vec![("a".into(), 2), ("b".into(), 2)])]);
    assert_eq!(rows(&changes)[0], row("one", 0, "", 1_000_000, 1));
}

#[test]
fn pinned_keys_are_never_evicted() {
    let mut definition = definition("one", 4);
    definition.pinned = Some(Box::new(|key| key.starts_with(b"port")));
    let mut counters = started(vec![(definition, vec![watch("rule", 1, 0)])]);
    counters.add(0, b"port 22", 1);
    for number in 0..1000_u32 {
        counters.add(0, &number.to_be_bytes(), 1);
    }
    let changes = commit(&mut counters, START_NS);
    assert!(changes.judgements[0].keys.iter().any(|over| over.key.as_bytes() == b"port 22"));
}

#[test]
fn restored_slots_count_in_their_windows_and_are_not_handed_over() {
    for told_time_first in [true, false] {
        let mut counters = Counters::new(one(2, 10), 50_000, 1);
        if told_time_first {
            counters.advance(START_NS);
        }
        assert!(counters.restore(0, START_S, b"a", 4, 2, 0));
        assert!(counters.restore(0, START_S - 60, b"a", 7, 3, 0));
        let kept = [START_S - 120, START_S - 180, START_S + 60].map(|slot| counters.restore(0, slot, b"b", 99, 1, 0));
        // The third slot is the spare one.
        assert_eq!(kept, [true, !told_time_first, !told_time_first]);
        let changes = commit(&mut counters, START_NS);
        assert_eq!(judged(&changes), [(0, false, over("a", 11))]);
        assert!(changes.rows.is_empty());
        assert_eq!(counters.held(0), 3);
        counters.add(0, b"a", 1);
        assert_eq!(rows(&commit(&mut counters, START_NS)), [row("one", 0, "a", 1, 1)]);
    }
}

#[test]
fn counting_before_a_restore_loses_no_count() {
    let mut counters = Counters::new(one(1, 0), 50_000, 1);
    add(&mut counters, b"a", 2);
    counters.restore(0, START_S, b"a", 5, 5, 0);
    let changes = commit(&mut counters, START_NS);
    assert_eq!(rows(&changes), [row("one", 0, "", 2, 2)]);
    assert_eq!(judged(&changes), [(0, false, over("a", 5))]);
}

#[test]
fn a_new_plan_keeps_contents_and_sees_held_keys_in_its_light() {
    let mut counters = started(one(1, 100));
    add(&mut counters, b"a", 11);
    assert_eq!(judged(&commit(&mut counters, START_NS)), [(0, false, vec![])]);
    add(&mut counters, b"a", 1);
    let longer = vec![
        (definition("new", 10), vec![watch("new", 1, 0)]),
        (definition("one", 1), vec![watch("low", 3, 10), watch("high", 1, 100)]),
    ];
    counters.replan(longer);
    let changes = commit(&mut counters, START_NS);
    let told: Vec<_> = changes.judgements.iter().map(|judgement| (&*judgement.rule, judgement.keys.len())).collect();
    assert_eq!(told, [("new", 0), ("low", 1), ("high", 0)]);
    assert_eq!(rows(&changes), [row("one", 0, "a", 1, 1)]);
    // The capacity is the old one in the current slot, and the new one in the next.
    for (minute, held) in [(0, 4), (1, 5)] {
        counters.advance(START_NS + minute * MINUTE_NS);
        for key in [b"b", b"c", b"d"] {
            counters.add(1, key, 1);
        }
        assert_eq!(counters.held(1), held);
    }
    counters.replan(one(1, 1000));
    assert!(commit(&mut counters, START_NS + MINUTE_NS).judgements.iter().all(|judgement| judgement.keys.is_empty()));
}

#[test]
fn closed_windows_outlive_a_new_plan_with_the_same_rule() {
    let mut counters = started(one(1, 10));
    add(&mut counters, b"a", 11);
    counters.advance(START_NS + MINUTE_NS);
    counters.replan(one(1, 5));
    assert_eq!(judged(&counters.changes(START_NS + MINUTE_NS))[0], (60, true, over("a", 11)));
    counters.replan(vec![(definition("one", 10), vec![watch("another", 1, 5)])]);
    assert_eq!(judged(&counters.changes(START_NS + MINUTE_NS)).len(), 1);
}

#[test]
fn watches_that_only_their_levels_tell_apart_keep_their_own_closed_windows() {
    for distinct in [false, true] {
        let plan = || {
            let definition = Definition { distinct, ..definition("one", 1000) };
            vec![(definition, vec![watch("rule", 1, 1), watch("rule", 1, 8)])]
        };
        let mut counters = started(plan());
        for value in 0..2_u8 {
            counters.add(0, b"a", 1);
            counters.add_value(0, b"a", &[value]);
        }
        counters.advance(START_NS + MINUTE_NS);
        counters.replan(plan());
        let changes = counters.changes(START_NS + MINUTE_NS);
        let told = changes.judgements.iter().map(|judgement| (judgement.watch, judgement.closed, judgement.keys.len()));
        let told: Vec<_> = told.collect();
        assert_eq!(told, [(0, true, 1), (1, true, 0), (0, false, 0), (1, false, 0)], "distinct: {distinct}");
    }
}

#[test]
fn a_counter_that_is_gone_hands_over_its_rows() {
    let mut counters = started(one(3, 10));
    add(&mut counters, b"a", 1);
    let outstanding = counters.changes(START_NS);
    add(&mut counters, b"a", 2);
    let other = || {
        let changed = Definition { fingerprint: String::from("2"), ..definition("one", 1000) };
        vec![(changed, vec![watch("rule", 3, 10)])]
    };
    counters.replan(other());
    counters.add(0, b"a", 4);
    assert_eq!(counters.changes(START_NS).rows, outstanding.rows);
    assert!(counters.ack(1));
    let changes = commit(&mut counters, START_NS);
    let told: Vec<_> = changes.rows.iter().map(|rows| (rows.fingerprint.as_str(), rows.rows[0].count)).collect();
    assert_eq!(told, [("2", 4), ("1", 2)]);
    // And back, before the rows of the other were handed over: they come under its fingerprint, once.
    counters.add(0, b"a", 8);
    counters.replan(one(3, 10));
    counters.replan(other());
    let changes = commit(&mut counters, START_NS);
    assert_eq!(changes.rows.len(), 1);
    assert_eq!((changes.rows[0].fingerprint.as_str(), changes.rows[0].rows[0].count), ("2", 8));
    assert!(commit(&mut counters, START_NS).rows.is_empty());
}

#[test]
fn a_shorter_ring_hands_over_the_slots_that_it_loses() {
    let mut counters = started(one(5, 10));
    for minute in 0..5 {
        counters.advance(START_NS + minute * MINUTE_NS);
        add(&mut counters, b"a", 1);
    }
    counters.replan(one(1, 10));
    assert_eq!(counters.held(0), 5);
    assert_eq!(rows(&commit(&mut counters, START_NS)).len(), 5);
    assert_eq!(counters.held(0), 2);
}

#[test]
fn counters_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Counters>();
    shared::<Changes>();
}

fn distinct(window_slots: usize, level: u64) -> Vec<Spec> {
    vec![(Definition { distinct: true, ..definition("one", 1000) }, vec![watch("rule", window_slots, level)])]
}

/// A key, its values with their slots in seconds from the start (none: it is gone), and whether there were more.
type Told = (String, Vec<(String, u64)>, bool);

fn states(changes: &Changes) -> Vec<Told> {
    let text = |key: &Key| String::from_utf8(key.to_vec()).unwrap();
    let rows = changes.states.iter().flat_map(|states| &states.rows);
    let mut all: Vec<_> = rows
        .map(|row| match &row.state {
            Some(State::Values(values)) => {
                let mut seen: Vec<_> =
                    values.values.iter().map(|(value, start_s)| (text(value), start_s - START_S)).collect();
                seen.sort();
                (text(&row.key), seen, values.more)
            }
            _ => (text(&row.key), Vec::new(), false),
        })
        .collect();
    all.sort();
    all
}

#[test]
fn values_are_counted_once_and_move_to_the_slot_that_saw_them_last() {
    let mut counters = started(distinct(2, 1));
    for value in [b"x", b"y", b"x"] {
        counters.add_value(0, b"a", value);
    }
    counters.add_value(0, b"b", b"x");
    counters.add_value(0, b"", b"x");
    let seen = |key: &str, values: &[(&str, u64)]| {
        (key.to_owned(), values.iter().map(|(value, slot)| ((*value).to_owned(), *slot)).collect::<Vec<_>>(), false)
    };
    let changes = commit(&mut counters, START_NS);
    assert_eq!(judged(&changes), [(0, false, over("a", 2))]);
    assert_eq!(states(&changes), [seen("a", &[("x", 0), ("y", 0)]), seen("b", &[("x", 0)])]);
    counters.advance(START_NS + MINUTE_NS);
    counters.add_value(0, b"a", b"x");
    let changes = commit(&mut counters, START_NS + 2 * MINUTE_NS);
    // The window before the last one held both, the open one holds one.
    assert_eq!(judged(&changes), [(60, true, over("a", 2)), (120, true, over("a", 2)), (120, false, vec![])]);
    assert_eq!(states(&changes), [seen("a", &[("x", 60), ("y", 0)])]);
    assert_eq!(counters.held(0), 2);
    counters.advance(START_NS + 10 * MINUTE_NS);
    assert_eq!(counters.held(0), 0);
}

#[test]
fn sums_and_values_do_not_mix() {
    let mut counters = started([one(1, 0), distinct(1, 0)].concat_specs());
    counters.add(1, b"a", 1);
    counters.add_value(0, b"a", b"x");
    counters.add_value(7, b"a", b"x");
    let changes = commit(&mut counters, START_NS);
    assert!(changes.judgements.iter().all(|judgement| judgement.keys.is_empty()));
    let state = State::Values(Values { values: vec![(Key::new(b"x"), START_S)], more: false, messages: 1 });
    assert!(!counters.restore_state(0, b"a", &state));
    assert!(!counters.restore_state(7, b"a", &state));
    assert!(!counters.restore_state(1, b"", &state));
    assert!(counters.restore_state(1, b"a", &state));
    let old = State::Values(Values { values: vec![(Key::new(b"x"), START_S - 120)], more: false, messages: 1 });
    assert!(!counters.restore_state(1, b"a", &old));
}

trait ConcatSpecs {
    fn concat_specs(self) -> Vec<Spec>;
}

impl<const N: usize> ConcatSpecs for [Vec<Spec>; N] {
    fn concat_specs(self) -> Vec<Spec> {
        self.into_iter().flatten().collect()
    }
}

#[test]
fn rows_and_states_share_a_batch() {
    let mut counters = Counters::new([one(1, 0), distinct(1, 0)].concat_specs(), 4, 1);
    counters.advance(START_NS);
    for key in 0..10_u8 {
        counters.add(0, &[b'0' + key], 1);
        counters.add_value(1, &[b'0' + key], b"x");
    }
    let mut told = Vec::new();
    for _ in 0..6 {
        let changes = commit(&mut counters, START_NS);
        told.push((rows(&changes).len(), states(&changes).len(), changes.carried));
    }
    assert_eq!(told, [(2, 2, 16), (2, 2, 12), (2, 2, 8), (2, 2, 4), (2, 2, 0), (0, 0, 0)]);
    for key in 0..5_u8 {
        counters.add_value(1, &[b'0' + key], b"y");
    }
    let changes = counters.changes(START_NS);
    assert_eq!((states(&changes).len(), changes.carried), (4, 1));
    counters.add_value(1, b"9", b"y");
    let again = counters.changes(START_NS);
    assert_eq!((&again.states, again.carried), (&changes.states, 2));
}

#[test]
fn a_stepped_clock_forgets_values_and_says_so() {
    let mut counters = started(distinct(3, 0));
    counters.add_value(0, b"a", b"x");
    commit(&mut counters, START_NS);
    counters.add_value(0, b"b", b"x");
    counters.restart(START_NS - 600 * S);
    let changes = counters.changes(START_NS - 600 * S);
    assert!(changes.judgements.iter().all(|judgement| judgement.keys.is_empty()));
    assert_eq!(states(&changes), [("a".to_owned(), Vec::new(), false)]);
}

#[test]
fn values_outlive_a_new_plan_and_are_seen_in_its_light() {
    let mut counters = started(distinct(3, 5));
    for value in [b"x", b"y", b"z"] {
        counters.add_value(0, b"a", value);
    }
    assert_eq!(judged(&commit(&mut counters, START_NS)), [(0, false, vec![])]);
    counters.replan(distinct(2, 2));
    assert_eq!(judged(&commit(&mut counters, START_NS)), [(0, false, over("a", 3))]);
    let smaller = Definition { distinct: true, ..definition("one", 1) };
    counters.add_value(0, b"b", b"x");
    counters.replan(vec![(smaller, vec![watch("rule", 2, 0)])]);
    assert_eq!(counters.held(0), 1);
    assert_eq!(judged(&counters.changes(START_NS)), [(0, false, over("a", 3))]);
    // Another definition starts anew.
    counters.replan(one(1, 0));
    assert_eq!(counters.held(0), 0);
}
