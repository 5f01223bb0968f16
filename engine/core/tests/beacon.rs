//! Properties of beacons, against the sorted times of each key.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use collectord_core::count::{Beacon, BeaconWatch, Counters, Definition, Judgement, Spacing};
use proptest::collection::vec;
use proptest::prelude::*;

const S: u64 = 1_000_000_000;
const START_S: u64 = 1_700_002_800;
const SLOT_S: u64 = 600;
const SPACING: Spacing =
    Spacing { slot_s: SLOT_S, capacity: 1000, min_gap_s: 3, tolerance_s: 1, tolerance_percent: 10 };
const WATCHES: [(u64, u64); 2] = [(60, 3), (30, 6)];

fn beacon() -> Beacon {
    let watch = |(level, min_events)| BeaconWatch { rule: format!("over {level}"), level, min_events };
    Beacon::new(SPACING, WATCHES.map(watch).to_vec())
}

/// Keys told per window: (start in s, closed, watch) -> key -> share.
type Told = BTreeMap<(u64, bool, usize), BTreeMap<Vec<u8>, u64>>;

fn told(judgements: &[Judgement]) -> Told {
    let mut told = Told::new();
    for judgement in judgements {
        let keys = judgement.keys.iter().map(|over| (over.key.to_vec(), over.sum)).collect();
        told.insert((judgement.start_ns / S, judgement.closed, judgement.watch), keys);
    }
    told
}

/// The keys that each watch is told of in the slot that starts at `slot_s`, from all sessions until then.
fn reference(sessions: &[(u8, u64)], slot_s: u64) -> [BTreeMap<Vec<u8>, u64>; 2] {
    let mut by_key: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
    for (key, time_ns) in sessions {
        by_key.entry(*key).or_default().push(*time_ns);
    }
    let mut told = [BTreeMap::new(), BTreeMap::new()];
    let slot_of = |time_ns: u64| time_ns / S / SLOT_S;
    let slot = slot_s / SLOT_S;
    for (key, times) in by_key {
        let mut events = 0_u64;
        let mut gaps = Vec::new();
        for (place, time_ns) in times.iter().enumerate().filter(|(_, time_ns)| slot_of(**time_ns) == slot) {
            let before = place.checked_sub(1).map(|before| times[before]).filter(|ns| slot_of(*ns) + 1 >= slot);
            let Some(before) = before else {
                events += 1;
                continue;
            };
            let length_s = (time_ns - before) / S;
            if length_s > SPACING.min_gap_s {
                events += 1;
                gaps.push(length_s);
            }
        }
        let near = |middle: u64| {
            let tolerance = SPACING.tolerance_s.max(middle * SPACING.tolerance_percent / 100);
            gaps.iter().filter(|gap_s| gap_s.abs_diff(middle) <= tolerance).count()
        };
        let most = gaps.iter().map(|gap_s| near(*gap_s)).max().unwrap_or(0);
        for (told, (level, min_events)) in told.iter_mut().zip(WATCHES) {
            if events > min_events && most as u64 * 100 > level * gaps.len() as u64 {
                told.insert(vec![key], (most as u64 * 100).div_ceil(gaps.len() as u64));
            }
        }
    }
    told
}

/// (key, ns since the last session of any): mostly regular, sometimes bursts and long silence.
fn sessions() -> impl Strategy<Value = Vec<(u8, u64)>> {
    let after_s = prop_oneof![8 => Just(15_u64), 4 => 14..=17_u64, 2 => 0..4_u64, 1 => 0..100_u64, 1 => 500..2000_u64];
    let session = (0..2_u8, after_s, prop_oneof![3 => Just(0), 1 => 0..S]);
    let times = |sessions: Vec<(u8, u64, u64)>| {
        let mut now_ns = START_S * S;
        let timed = sessions.into_iter().map(|(key, after_s, ns)| {
            now_ns += after_s * S + ns;
            (key, now_ns)
        });
        timed.collect()
    };
    vec(session, 1..150).prop_map(times)
}

proptest! {
    /// While a key has no more different gaps than there are places, everything is exact: at each end of a slot, and
    /// open at each moment. Two keys, slots of forty gaps at most: they never have more.
    #[test]
    fn equals_the_sorted_times(sessions in sessions()) {
        let mut beacon = beacon();
        for (place, (key, now_ns)) in sessions.iter().enumerate() {
            beacon.advance(*now_ns);
            let mut judgements = Vec::new();
            beacon.judgements(0, &mut judgements);
            for ((start_s, _, watch), keys) in told(&judgements) {
                prop_assert_eq!(&keys, &reference(&sessions[..place], start_s)[watch]);
            }
            let regular = beacon.add(&[*key], [1, 2]);
            let want = reference(&sessions[..=place], now_ns / S / SLOT_S * SLOT_S);
            prop_assert_eq!(regular, want.iter().any(|keys| keys.contains_key(&vec![*key])));
        }
    }

    /// Asking seldom tells the same closed windows as asking often.
    #[test]
    fn slots_are_judged_as_they_stood(sessions in sessions()) {
        let (mut often, mut seldom) = (beacon(), beacon());
        let mut all = Vec::new();
        let mut last = Told::new();
        for (key, now_ns) in sessions.iter().take(60) {
            for beacon in [&mut often, &mut seldom] {
                beacon.advance(*now_ns);
                beacon.add(&[*key], [1, 2]);
            }
            let mut judgements = Vec::new();
            often.judgements(0, &mut judgements);
            last = told(&judgements);
            all.extend(judgements.into_iter().filter(|judgement| judgement.closed));
        }
        let mut judgements = Vec::new();
        seldom.judgements(0, &mut judgements);
        let (closed, open): (Vec<_>, Vec<_>) = judgements.into_iter().partition(|judgement| judgement.closed);
        last.retain(|(_, closed, _), _| !closed);
        prop_assert_eq!(told(&open), last);
        // More than wait at most are merged.
        if all.len() <= 4 * WATCHES.len() {
            prop_assert_eq!(told(&closed), told(&all));
        }
    }

    /// A restart at any moment changes nothing.
    #[test]
    fn goes_on_from_its_state(sessions in sessions(), cut in any::<prop::sample::Index>(), started in any::<bool>()) {
        let (mut whole, mut before, mut after) = (beacon(), beacon(), beacon());
        let cut = cut.index(sessions.len());
        for (place, (key, now_ns)) in sessions.iter().enumerate() {
            if place == cut {
                if started {
                    after.advance(*now_ns);
                }
                for (key, state, _) in before.take(usize::MAX) {
                    after.restore(&key, &state);
                }
                // What was closed before the restart was told before it.
                whole.advance(*now_ns);
                whole.judgements(0, &mut Vec::new());
            }
            let part = if place < cut { &mut before } else { &mut after };
            for beacon in [&mut whole, part] {
                beacon.advance(*now_ns);
                beacon.add(&[*key], [1, 2]);
            }
        }
        let (mut want, mut got) = (Vec::new(), Vec::new());
        whole.judgements(0, &mut want);
        after.judgements(0, &mut got);
        prop_assert_eq!(told(&got), told(&want));
        let want: BTreeMap<_, _> = whole.take(usize::MAX).into_iter().map(|(key, state, at)| (key, (state, at))).collect();
        for (key, state, at) in after.take(usize::MAX) {
            prop_assert_eq!(&(state, at), &want[&key]);
        }
    }

    /// New plans of the same definition at any moments change nothing.
    #[test]
    fn new_plans_keep_everything(sessions in sessions(), replan_at in vec(any::<prop::sample::Index>(), 0..8)) {
        let (mut whole, mut replanned) = (beacon(), beacon());
        let replan_at: Vec<usize> = replan_at.iter().map(|place| place.index(sessions.len())).collect();
        for (place, (key, now_ns)) in sessions.iter().enumerate() {
            if place % 7 == 6 {
                whole.take(1);
                replanned.take(1);
            }
            whole.advance(*now_ns);
            replanned.advance(*now_ns);
            if replan_at.contains(&place) {
                let mut now = beacon();
                now.adopt(replanned);
                replanned = now;
            }
            prop_assert_eq!(whole.add(&[*key], [1, 2]), replanned.add(&[*key], [1, 2]));
            prop_assert_eq!((whole.pending(), whole.len()), (replanned.pending(), replanned.len()));
        }
        let (mut want, mut got) = (Vec::new(), Vec::new());
        whole.judgements(0, &mut want);
        replanned.judgements(0, &mut got);
        prop_assert_eq!(told(&got), told(&want));
    }

    /// Whatever happens, the store holds just the states of the keys that are kept, once all is handed over: a smaller
    /// plan, a stepped clock.
    #[test]
    fn the_store_forgets_who_lost_its_place(
        steps in vec((0..12_u8, 0..40_u64, 0..20_u8), 1..200),
        capacity in 1_usize..8,
    ) {
        let sized = |capacity| {
            let watch = BeaconWatch { rule: String::from("rule"), level: 60, min_events: 3 };
            (Definition {
                name: String::from("pairs"),
                fingerprint: String::new(),
                slot_s: SLOT_S,
                capacity,
                pinned: None,
                distinct: false,
                beacon: Some((Spacing { capacity, ..SPACING }, vec![watch])),
                evidence: None,
            }, Vec::new())
        };
        // One slot: what is too old the store finds out by itself.
        let mut now_ns = START_S * S;
        let mut counters = Counters::new(vec![sized(capacity)], 3, 1);
        counters.advance(now_ns);
        let mut stored = BTreeMap::new();
        let mut tick = |counters: &mut Counters, now_ns: u64| {
            let changes = counters.changes(now_ns);
            for row in changes.states.iter().flat_map(|states| &states.rows) {
                match &row.state {
                    Some(state) => stored.insert(row.key.to_vec(), state.clone()),
                    None => stored.remove(row.key.as_bytes()),
                };
            }
            counters.ack(changes.seq);
            (changes.carried, stored.len())
        };
        for (key, after_ms, what) in steps {
            match what {
                0 => counters.replan(vec![sized(capacity)]),
                1 => {
                    // As many as the capacity wait to be told of, and no more: none but these do.
                    while tick(&mut counters, now_ns).0 > 0 {}
                    counters.replan(vec![sized(capacity / 2 + 1)]);
                    while tick(&mut counters, now_ns).0 > 0 {}
                }
                2 => {
                    while tick(&mut counters, now_ns).0 > 0 {}
                    now_ns = START_S * S;
                    counters.restart(now_ns);
                    while tick(&mut counters, now_ns).0 > 0 {}
                }
                3..8 => {
                    tick(&mut counters, now_ns);
                }
                _ => {
                    now_ns += after_ms * 50_000_000;
                    counters.advance(now_ns);
                    counters.add_session(0, &[key], [1, 2]);
                }
            }
        }
        let mut held = tick(&mut counters, now_ns);
        while held.0 > 0 {
            held = tick(&mut counters, now_ns);
        }
        prop_assert_eq!(held.1, counters.held(0));
    }
}
