//! A batch in the making: collected in steps, so that counting need not wait for all of it.
//!
//! # Be advised
//!
//! * What fits into the batch is collected by the first step as it then stands. When more waits, the counters with few
//!   rows still are (so the totals of a batch agree with each other), and the large ones are gone through slot by slot.
//! * Messages that are counted between two steps are in the row of their key if that is collected later, else in the
//!   next batch. So every number is in one row of one batch, whatever comes in between.
//! * A step looks at one slot, or at [`STATES_PER_STEP`] keys: some milliseconds at the usual capacity. Which rows are
//!   the largest is worked out without the counters.

use std::collections::HashSet;

use super::Counters;
use super::batch::{CounterRows, Quota};
use super::key::Key;
use super::slot::Slot;
use super::state::{CounterStates, Kind};
#[cfg(test)]
use crate::survive::bugs;
use crate::survive::survive;

/// Most states that a step hands over.
pub(super) const STATES_PER_STEP: usize = 1_024;

/// A step that looked at so many rows ends with the slot that it is in.
const ROWS_PER_STEP: usize = 16_384;

/// What is to be done next for a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// [`Counters::proceed`].
    Proceed,
    /// [`Draft::work`], for which the counters are not needed.
    Work,
    /// [`Counters::seal`].
    Seal,
}

/// Where a pass through the rows of all counters is.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// Position in the plan; behind its end: the counters that a new plan no longer has.
    counter: usize,
    /// The slot that was looked at last.
    slot: Option<u64>,
}

#[derive(Debug)]
enum Stage {
    /// Of the counter at this position, and those behind it.
    States {
        counter: usize,
    },
    Count {
        place: Place,
        counts: Vec<u64>,
    },
    /// Which rows are the largest.
    Choose {
        counts: Vec<u64>,
    },
    Collect {
        place: Place,
        quota: Quota,
    },
    /// Which states are the last.
    Settle,
    Done,
}

/// A batch in the making.
#[derive(Debug)]
pub struct Draft {
    stage: Stage,
    /// How many states each counter may still hand over.
    shares: Vec<usize>,
    /// How many rows may still be collected.
    room: usize,
    /// All rows that waited were collected by the first step;
    whole: bool,
    /// or those of these counters.
    complete: Vec<bool>,
    /// By counter.
    pub(super) rows: Vec<CounterRows>,
    /// By counter.
    pub(super) states: Vec<CounterStates>,
}

impl Draft {
    /// The first step.
    ///
    /// `shares` are the most states of each counter, `room` is that of rows. A counter that panics keeps what it did not
    /// hand over until then.
    pub(super) fn begin(counters: &mut Counters, shares: Vec<usize>, room: usize, panics: &mut u64) -> Self {
        let whole = counters.pending_rows() <= room;
        let stage = Stage::States { counter: 0 };
        let most = if whole { usize::MAX } else { (room >> 1).checked_div(counters.plan.len()).unwrap_or(0) };
        let complete = counters.plan.iter().map(|counter| counter.pending_rows() <= most).collect();
        let mut draft = Self { stage, shares, room, whole, complete, rows: Vec::new(), states: Vec::new() };
        for counter in counters.plan.iter_mut().filter(|counter| counter.pending_rows() <= most) {
            survive(panics, || draft.add(counter.collect(&mut Quota::all())));
        }
        if whole {
            for retired in &mut counters.retired {
                survive(panics, || draft.add(retired.collect(&mut Quota::all())));
            }
        }
        draft
    }

    fn add(&mut self, rows: Option<CounterRows>) {
        let Some(rows) = rows else { return };
        self.room = self.room.saturating_sub(rows.rows.len());
        let same = |of: &&mut CounterRows| {
            (&of.counter, &of.fingerprint, of.slot_s) == (&rows.counter, &rows.fingerprint, rows.slot_s)
        };
        match self.rows.iter_mut().find(same) {
            Some(known) => known.rows.extend(rows.rows),
            None => self.rows.push(rows),
        }
    }

    /// What is to be done next.
    pub fn next(&self) -> Next {
        match self.stage {
            Stage::States { .. } | Stage::Count { .. } | Stage::Collect { .. } => Next::Proceed,
            Stage::Choose { .. } | Stage::Settle => Next::Work,
            Stage::Done => Next::Seal,
        }
    }

    /// What can be done without the counters.
    pub fn work(&mut self) {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Choose { mut counts } => {
                let quota = Quota::largest(&mut counts, self.room);
                Stage::Collect { place: Place::default(), quota }
            }
            Stage::Settle => {
                self.settle();
                Stage::Done
            }
            unchanged => unchanged,
        };
    }

    /// See [`Counters::proceed`].
    pub(super) fn proceed(&mut self, counters: &mut Counters) {
        let stage = std::mem::replace(&mut self.stage, Stage::Done);
        #[cfg(test)]
        bugs::reach("proceed");
        self.stage = match stage {
            Stage::States { counter } => match self.take_states(counters, counter) {
                Some(counter) => Stage::States { counter },
                None if self.whole => Stage::Settle,
                None => {
                    // What the states left.
                    self.room = self.shares.drain(..).fold(self.room, usize::saturating_add);
                    Stage::Count { place: Place::default(), counts: Vec::new() }
                }
            },
            Stage::Count { place, mut counts } => match self.count(counters, place, &mut counts) {
                Some(place) => Stage::Count { place, counts },
                None => Stage::Choose { counts },
            },
            Stage::Collect { place, mut quota } => match self.collect(counters, place, &mut quota) {
                Some(place) => Stage::Collect { place, quota },
                None => Stage::Settle,
            },
            unchanged @ (Stage::Choose { .. } | Stage::Settle | Stage::Done) => unchanged,
        };
    }

    /// Takes states of the first counter from a position on that may hand over some; the position to go on from.
    fn take_states(&mut self, counters: &mut Counters, from: usize) -> Option<usize> {
        let waiting = counters.plan.iter_mut().zip(&mut self.shares).enumerate().skip(from);
        for (number, (counter, share)) in waiting.filter(|(_, (_, share))| **share > 0) {
            let Some((taken, all)) = counter.collect_states((*share).min(STATES_PER_STEP)) else { continue };
            *share = share.saturating_sub(taken.rows.len());
            let of = (&taken.counter, &taken.fingerprint);
            match self.states.last_mut().filter(|last| (&last.counter, &last.fingerprint) == of) {
                Some(last) => last.rows.extend(taken.rows),
                None => self.states.push(taken),
            }
            return Some(number.saturating_add(usize::from(all)));
        }
        None
    }

    /// Whether nothing more is to be collected of a counter.
    fn has_all_of(&self, place: Place) -> bool {
        self.complete.get(place.counter).is_some_and(|complete| *complete)
    }

    /// Adds the counts of the rows that wait in the next slots; the place to go on from.
    fn count(&self, counters: &Counters, mut place: Place, counts: &mut Vec<u64>) -> Option<Place> {
        let before = counts.len();
        while counts.len().saturating_sub(before) < ROWS_PER_STEP {
            let Some(counter) = counters.plan.get(place.counter) else {
                counts.extend(counters.retired.iter().flat_map(|retired| retired.departed.pending()));
                return None;
            };
            if self.has_all_of(place) {
                place.go_on(None);
                continue;
            }
            let slot = counter.slot_after(place.slot);
            match slot {
                Some(slot) => counts.extend(slot.pending()),
                None => counts.extend(counter.departed_pending()),
            }
            place.go_on(slot.map(|slot| slot.index));
        }
        Some(place)
    }

    /// Collects rows of the next slots; the place to go on from.
    fn collect(&mut self, counters: &mut Counters, mut place: Place, quota: &mut Quota) -> Option<Place> {
        let mut looked = 0_usize;
        while looked < ROWS_PER_STEP {
            let Some(counter) = counters.plan.get_mut(place.counter) else {
                for retired in &mut counters.retired {
                    self.add(retired.collect(quota));
                }
                return None;
            };
            if self.has_all_of(place) {
                place.go_on(None);
                continue;
            }
            let slot = counter.slot_after(place.slot);
            looked = looked.saturating_add(slot.map_or(0, Slot::pending_rows));
            let index = slot.map(|slot| slot.index);
            self.add(counter.collect_slot(index, quota));
            place.go_on(index);
        }
        Some(place)
    }

    /// Of a key that is there twice the last state stays: it lost its place and came back, or changed between two steps.
    /// Those that are to be forgotten come first.
    fn settle(&mut self) {
        for of in &mut self.states {
            let mut seen: HashSet<(Kind, Key)> = HashSet::with_capacity(of.rows.len());
            of.rows.reverse();
            of.rows.retain(|row| seen.insert((row.kind, row.key.clone())));
            of.rows.reverse();
            of.rows.sort_by_key(|row| row.state.is_some());
        }
    }
}

impl Place {
    /// Behind that slot; without one, to the next counter.
    fn go_on(&mut self, slot: Option<u64>) {
        if slot.is_none() {
            self.counter = self.counter.saturating_add(1);
        }
        self.slot = slot;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::{Changes, Definition, Row, Spec, State};
    use super::*;

    const S: u64 = 1_000_000_000;
    const START_NS: u64 = 1_800_000_000 * S;

    fn spec(name: &str, capacity: usize, distinct: bool) -> Spec {
        let definition = Definition {
            name: name.into(),
            fingerprint: name.into(),
            slot_s: 60,
            capacity,
            pinned: None,
            distinct,
            beacon: None,
            evidence: None,
        };
        (definition, Vec::new())
    }

    /// A batch in steps, with something between each two.
    fn stepwise(counters: &mut Counters, now_ns: u64, mut between: impl FnMut(&mut Counters)) -> (Changes, usize) {
        let (mut changes, draft) = counters.begin(now_ns);
        let mut draft = draft.unwrap();
        let mut steps = 0;
        while draft.next() != Next::Seal {
            between(counters);
            match draft.next() {
                Next::Proceed => counters.proceed(&mut draft),
                Next::Work | Next::Seal => draft.work(),
            }
            steps += 1;
        }
        counters.seal(draft, &mut changes);
        (changes, steps)
    }

    fn rows(changes: &Changes) -> impl Iterator<Item = (&str, &Row)> {
        changes.rows.iter().flat_map(|of| of.rows.iter().map(|row| (of.counter.as_str(), row)))
    }

    #[test]
    fn what_is_counted_between_two_steps_is_in_one_row_of_one_batch() {
        let specs = vec![spec("all", 100, false), spec("few", 3_000, false), spec("many", 20_000, false)];
        let mut counters = Counters::new(specs, 2_500, 1);
        let (mut counted, mut got) = (HashMap::new(), HashMap::new());
        let mut number = 0_u64;
        let mut send = |counters: &mut Counters, messages: u64| {
            for _ in 0..messages {
                number += 1;
                let keys = [0, number % 1_000, number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 15_000];
                for (counter, key) in keys.into_iter().enumerate() {
                    counters.add(counter, &key.to_be_bytes(), number % 7);
                }
                *counted.entry("all").or_insert(0) += number % 7;
                *counted.entry("few").or_insert(0) += number % 7;
                *counted.entry("many").or_insert(0) += number % 7;
            }
        };
        let mut many_steps = 0;
        for tick in 0..60 {
            let now_ns = START_NS + tick * 5 * S;
            counters.advance(now_ns);
            send(&mut counters, if tick < 40 { 8_000 } else { 0 });
            let (changes, steps) = stepwise(&mut counters, now_ns, |counters| {
                // Time goes on as well: slots end and leave the ring.
                counters.advance(now_ns + S);
                send(counters, if tick < 40 { 500 } else { 0 });
            });
            many_steps += usize::from(steps > 4);
            assert!(rows(&changes).count() <= 2_500, "{}", rows(&changes).count());
            for (counter, row) in rows(&changes) {
                *got.entry(counter.to_owned()).or_insert(0) += row.count;
            }
            let again = counters.changes(now_ns);
            assert!(again.repeated && again.rows == changes.rows && again.states == changes.states);
            assert!(counters.ack(changes.seq));
        }
        assert!(many_steps > 20, "{many_steps}");
        while counters.carried() > 0 {
            let changes = counters.changes(START_NS + 400 * S);
            for (counter, row) in rows(&changes) {
                *got.entry(counter.to_owned()).or_insert(0) += row.count;
            }
            counters.ack(changes.seq);
        }
        let counted: HashMap<String, u64> = counted.into_iter().map(|(name, sum)| (name.to_owned(), sum)).collect();
        assert_eq!(counted, got);
    }

    #[test]
    fn what_fits_is_as_it_was_at_the_first_step() {
        let mut counters = Counters::new(vec![spec("all", 100, false), spec("each", 5_000, false)], 4_000, 1);
        counters.advance(START_NS);
        let send = |counters: &mut Counters| {
            for key in 0..1_000_u64 {
                counters.add(0, b"all", 1);
                counters.add(1, &key.to_be_bytes(), 1);
            }
        };
        send(&mut counters);
        let (changes, _) = stepwise(&mut counters, START_NS, send);
        let sums: Vec<u64> = changes.rows.iter().map(|of| of.rows.iter().map(|row| row.count).sum()).collect();
        assert_eq!(sums, [1_000, 1_000]);
    }

    #[test]
    fn the_counter_with_few_rows_agrees_with_the_first_step_whatever_the_others_hold() {
        let mut counters = Counters::new(vec![spec("all", 100, false), spec("each", 50_000, false)], 1_000, 1);
        counters.advance(START_NS);
        let mut key = 0_u64;
        let mut send = |counters: &mut Counters| {
            for _ in 0..10_000 {
                key += 1;
                counters.add(0, b"all", 1);
                counters.add(1, &key.to_be_bytes(), 5);
            }
        };
        send(&mut counters);
        let (changes, steps) = stepwise(&mut counters, START_NS, send);
        assert!(steps > 2);
        let all: Vec<u64> = rows(&changes).filter(|(name, _)| *name == "all").map(|(_, row)| row.count).collect();
        assert_eq!(all, [10_000]);
        assert_eq!(rows(&changes).count(), 1_000);
    }

    #[test]
    fn states_come_once_each_and_end_as_they_are() {
        let mut counters = Counters::new(vec![spec("values", 3_000, true)], 100_000, 1);
        let mut stored: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut number = 0_u64;
        let mut send = |counters: &mut Counters, messages: u64| {
            for _ in 0..messages {
                number += 1;
                // Some keys come again and again, most of the others lose their place.
                let key = if number.is_multiple_of(2) { number % 50 } else { number };
                counters.add_value(0, &key.to_be_bytes(), &(number % 9).to_be_bytes());
            }
        };
        let mut take = |changes: &Changes| {
            for row in changes.states.iter().flat_map(|of| &of.rows) {
                match &row.state {
                    Some(State::Values(values)) => stored.insert(row.key.to_vec(), values.values.len()),
                    _ => stored.remove(&row.key.to_vec()),
                };
            }
        };
        for tick in 0..20 {
            let now_ns = START_NS + tick * S;
            counters.advance(now_ns);
            send(&mut counters, 5_000);
            let (changes, _) = stepwise(&mut counters, now_ns, |counters| send(counters, 700));
            let mut keys: Vec<_> = changes.states.iter().flat_map(|of| &of.rows).map(|row| row.key.to_vec()).collect();
            let told = keys.len();
            keys.sort_unstable();
            keys.dedup();
            assert_eq!(told, keys.len());
            take(&changes);
            counters.ack(changes.seq);
        }
        while counters.carried() > 0 {
            let changes = counters.changes(START_NS + 20 * S);
            take(&changes);
            counters.ack(changes.seq);
        }
        assert_eq!(stored.len(), counters.held(0));
        assert!((0..50).step_by(2).all(|key: u64| stored.contains_key(key.to_be_bytes().as_slice())));
    }
}
