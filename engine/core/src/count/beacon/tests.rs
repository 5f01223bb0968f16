use super::*;

const S: u64 = NS_PER_S;
/// The start of an hour.
const START_S: u64 = 1_700_002_800;
const SPACING: Spacing = Spacing { slot_s: 3600, capacity: 100, min_gap_s: 10, tolerance_s: 1, tolerance_percent: 5 };

fn watch(level: u64, min_events: u64) -> BeaconWatch {
    BeaconWatch { rule: "beacon".into(), level, min_events }
}

fn beacon(spacing: Spacing) -> Beacon {
    Beacon::new(spacing, vec![watch(80, 15)])
}

/// A session of each time, in seconds from the start.
fn sessions(beacon: &mut Beacon, key: &[u8], times_s: impl IntoIterator<Item = u64>) {
    for time_s in times_s {
        beacon.advance((START_S + time_s) * S);
        beacon.add(key, [10, 20]);
    }
}

/// Keys with their shares.
type Shares = Vec<(Vec<u8>, u64)>;

/// (end in seconds from the start, closed, keys) of each window.
fn judged(beacon: &mut Beacon) -> Vec<(u64, bool, Shares)> {
    let mut judgements = Vec::new();
    beacon.judgements(0, &mut judgements);
    let all = judgements.into_iter().map(|judgement| {
        let mut keys: Vec<_> = judgement.keys.iter().map(|over| (over.key.to_vec(), over.sum)).collect();
        keys.sort();
        (judgement.end_ns / S - START_S, judgement.closed, keys)
    });
    all.collect()
}

fn open(beacon: &mut Beacon) -> Shares {
    judged(beacon).pop().unwrap().2
}

#[test]
fn a_key_is_told_with_more_events_than_asked_for_and_a_share_over_the_level() {
    let mut beacon = beacon(SPACING);
    sessions(&mut beacon, b"a", (0..15).map(|n| n * 60));
    assert_eq!(open(&mut beacon), []);
    sessions(&mut beacon, b"a", [15 * 60]);
    assert_eq!(open(&mut beacon), [(b"a".to_vec(), 100)]);
}

#[test]
fn a_share_at_the_level_is_quiet() {
    // 20 gaps, 16 of a minute: 80 %.
    let times = |regular: u64| {
        (0..=regular).map(|n| n * 60).chain((1..=20 - regular).map(move |n| regular * 60 + n * 100 + n * n * 20))
    };
    let mut at = beacon(SPACING);
    sessions(&mut at, b"a", times(16));
    assert_eq!(open(&mut at), []);
    let mut over = beacon(SPACING);
    sessions(&mut over, b"a", times(17));
    assert_eq!(open(&mut over), [(b"a".to_vec(), 85)]);
}

#[test]
fn gaps_within_the_tolerance_are_one() {
    for (jitter, regular) in [(15, true), (40, false)] {
        let mut beacon = beacon(Spacing { slot_s: 36_000, ..SPACING });
        // 300 s give or take `jitter`, in turns: 5 % are 15 s.
        let mut time_s = 0;
        sessions(
            &mut beacon,
            b"a",
            (0..40).map(|n| {
                time_s += [300, 300 - jitter, 300 + jitter][n % 3];
                time_s
            }),
        );
        assert_eq!(!open(&mut beacon).is_empty(), regular, "{jitter}");
    }
}

#[test]
fn a_burst_is_one_event_and_its_gaps_count_nothing() {
    let mut beacon = beacon(SPACING);
    sessions(&mut beacon, b"a", (0..3).flat_map(|n| (0..10).map(move |second| n * 60 + second)));
    assert_eq!(open(&mut beacon), []);
    let (_, state, last_s) = beacon.take(1).pop().unwrap();
    let state: Json = serde_json::from_str(&state).unwrap();
    let want = json!({"slot": START_S, "last_ns": (START_S + 129) * S, "events": 3, "bytes": [300, 600],
                      "counted": 2, "gaps": [[51, 2]]});
    assert_eq!((state, last_s), (want, START_S + 129));
}

#[test]
fn a_slot_is_judged_when_it_ends_and_the_next_begins_anew() {
    let mut beacon = beacon(SPACING);
    sessions(&mut beacon, b"a", (0..60).map(|n| n * 60));
    sessions(&mut beacon, b"a", [3600]);
    assert_eq!(judged(&mut beacon), [(3600, true, vec![(b"a".to_vec(), 100)]), (3600, false, vec![])]);
    // The gap over the boundary was the first.
    sessions(&mut beacon, b"a", (1..16).map(|n| 3600 + n * 60));
    assert_eq!(open(&mut beacon), [(b"a".to_vec(), 100)]);
    beacon.advance((START_S + 5 * 3600) * S);
    let told = judged(&mut beacon);
    let want = [(7200, true, vec![(b"a".to_vec(), 100)]), (10_800, true, vec![]), (18_000, false, vec![])];
    assert_eq!(told, want);
    assert!(beacon.is_empty());
}

#[test]
fn many_different_gaps_hide_no_frequent_one() {
    let mut beacon = Beacon::new(Spacing { slot_s: 1 << 40, ..SPACING }, vec![watch(40, 15)]);
    // Every other gap is a minute, the others are all different.
    let mut time_s = 0;
    sessions(
        &mut beacon,
        b"a",
        (0..400).map(|n| {
            time_s += if n % 2 == 0 { 60 } else { 1000 + n * 100 };
            time_s
        }),
    );
    let told = open(&mut beacon);
    assert!((45..=50).contains(&told[0].1), "{told:?}");
    let state: Json = serde_json::from_str(&beacon.take(1)[0].1).unwrap();
    assert!(state["gaps"].as_array().unwrap().len() <= MAX_GAPS);
}

#[test]
fn a_flood_of_keys_that_come_once_pushes_out_nobody_who_comes_back() {
    let mut beacon = beacon(SPACING);
    for minute in 0..30_u64 {
        sessions(&mut beacon, b"a", [minute * 60]);
        // As many as there are places, less the one.
        for number in 0..99_u64 {
            beacon.add(&(minute * 1000 + number).to_be_bytes(), [0, 0]);
        }
    }
    assert_eq!(beacon.len(), 100);
    assert!(beacon.take_evicted() > 2000);
    assert_eq!(open(&mut beacon), [(b"a".to_vec(), 100)]);
    assert_eq!(beacon.take(usize::MAX).len(), 100);
    assert_eq!(beacon.pending(), 0);
    // Whose state was handed over and then lost its place is told of, before any state.
    beacon.add(b"new", [0, 0]);
    let mut rows = Vec::new();
    beacon.collect(2, &mut rows);
    assert_eq!(rows.iter().map(|row| row.state.is_some()).collect::<Vec<_>>(), [false, true]);
    assert_eq!((beacon.pending(), rows[1].key.as_bytes()), (0, &b"new"[..]));
}

#[test]
fn states_that_make_no_sense_are_refused() {
    let mut beacon = beacon(Spacing { capacity: 1, ..SPACING });
    beacon.advance(START_S * S);
    let state =
        |slot: u64| json!({"slot": slot, "last_ns": slot * S, "events": 3, "gaps": [[60, 2], [60, 9], [70, 0]]});
    for text in
        ["", "[]", "{}", r#"{"slot": 1}"#, &state(START_S - 7200).to_string(), &state(START_S + 3600).to_string()]
    {
        assert!(!beacon.restore(b"a", text), "{text}");
    }
    assert!(beacon.restore(b"a", &state(START_S).to_string()));
    assert!(!beacon.restore(b"a", &state(START_S).to_string()), "twice");
    assert!(!beacon.restore(b"b", &state(START_S).to_string()), "full");
    sessions(&mut beacon, b"a", [60]);
    let state: Json = serde_json::from_str(&beacon.take(1)[0].1).unwrap();
    assert_eq!((&state["gaps"], &state["counted"], &state["events"]), (&json!([[60, 3]]), &json!(3), &json!(4)));
}

#[test]
fn a_new_plan_judges_what_is_held() {
    let mut before = beacon(SPACING);
    sessions(&mut before, b"a", (0..10).map(|n| n * 60));
    assert_eq!(open(&mut before), []);
    let mut now = Beacon::new(SPACING, vec![watch(80, 5)]);
    now.adopt(before);
    assert_eq!(open(&mut now), [(b"a".to_vec(), 100)]);
    assert_eq!(now.pending(), 1);
    now.restart(START_S * S);
    assert!(now.is_empty());
    assert_eq!((open(&mut now), now.pending()), (vec![], 0));
}

#[test]
fn rules_of_one_name_keep_their_own_closed_slots_in_a_new_plan() {
    let plan = || Beacon::new(SPACING, vec![watch(80, 5), watch(80, 15)]);
    let mut before = plan();
    sessions(&mut before, b"a", (0..10).map(|n| n * 60));
    before.advance((START_S + 3600) * S);
    let mut now = plan();
    now.adopt(before);
    let mut judgements = Vec::new();
    now.judgements(0, &mut judgements);
    let told = judgements.iter().map(|judgement| (judgement.watch, judgement.closed, judgement.keys.len()));
    assert_eq!(told.collect::<Vec<_>>(), [(0, true, 1), (0, false, 0), (1, true, 0), (1, false, 0)]);
}

#[test]
fn the_store_is_told_of_keys_that_a_smaller_plan_or_a_stepped_clock_takes() {
    let mut before = beacon(SPACING);
    sessions(&mut before, b"once", [0]);
    sessions(&mut before, b"again", [0, 60]);
    before.take(1);
    let mut now = beacon(Spacing { capacity: 1, ..SPACING });
    now.adopt(before);
    let told = |now: &mut Beacon| {
        let mut rows = Vec::new();
        now.collect(usize::MAX, &mut rows);
        rows.iter().map(|row| (row.key.to_vec(), row.state.is_some())).collect::<Vec<_>>()
    };
    assert_eq!((now.len(), now.take_evicted()), (1, 1));
    assert_eq!(told(&mut now), [(b"once".to_vec(), false), (b"again".to_vec(), true)]);
    now.restart(START_S * S);
    assert_eq!(told(&mut now), [(b"again".to_vec(), false)]);
}
