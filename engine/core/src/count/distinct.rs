//! Distinct values per key: how many different ones of a field came with a key in a window.
//!
//! # Source
//!
//! A key keeps the [`VALUES_PER_KEY`] values that were seen last, each with the slot in which that was. The values of a
//! window that reaches to the present are those whose slot is in it, so they are counted exactly as long as they are
//! fewer than that. A value that has to make room was seen no later than all that are kept: every window that it lies
//! in holds [`VALUES_PER_KEY`] others. So the count of any window is the smaller of the true one and
//! [`VALUES_PER_KEY`], which then means "at least".
//!
//! # Be advised
//!
//! * A window is judged before anything is counted behind its end (`counter.rs` sees to that): a value that is seen again
//!   moves to its new slot and is missing in windows that ended before.
//! * Values that are too old for any window are dropped when their key gets a new value, and for all keys when a slot
//!   ends. Judging looks at the slots anyway.
//! * A window's count can only be above a level if the key holds more values than that: such keys are candidates, and
//!   judging looks at no others. A quiet counter costs nothing to judge, however many keys it holds.

use super::key::{Key, is_same};
use super::state::{Kind, State, StateRow, Values};
use super::table::{PlaceList, Table};
use super::window::{Level, OverKey};

/// Most values that a key keeps: the shipped rules ask for up to 50, and 64 short values are a few kilobytes per key.
pub const VALUES_PER_KEY: usize = 64;

/// Most values that all keys of a counter keep together: 65,536 keys with 64 values each would be four times as many.
/// At 40 bytes each, and what a text is longer than that, they take about 100 MB at worst.
pub const VALUES_PER_COUNTER: usize = 1_000_000;

struct Seen {
    /// Hash of the value: looking for one compares few others.
    tag: u64,
    /// Number of the slot that it was last seen in.
    slot: u64,
    value: Key,
}

/// What is kept of a key.
struct KeyValues {
    seen: Vec<Seen>,
    /// More values than this make the key a candidate for judging.
    alarm_at: u64,
    /// The last slot of all values.
    newest: u64,
    /// No value was last seen before this slot.
    oldest: u64,
    /// The last slot of a value that had to make room.
    more: Option<u64>,
}

impl KeyValues {
    fn new(alarm_at: u64) -> Self {
        Self { seen: Vec::new(), alarm_at, newest: 0, oldest: u64::MAX, more: None }
    }

    fn is_candidate(&self) -> bool {
        u64::try_from(self.seen.len()).unwrap_or(u64::MAX) > self.alarm_at
    }

    /// Notes a value seen in `slot`; values before `from` are of no use any more. Returns whether anything changed.
    ///
    /// `slot` may lie before others, as the store's do.
    fn note(&mut self, tag: u64, value: &[u8], slot: u64, from: u64) -> bool {
        let known = self.seen.iter_mut().find(|seen| seen.tag == tag && is_same(seen.value.as_bytes(), value));
        if let Some(known) = known {
            let changed = known.slot < slot;
            known.slot = known.slot.max(slot);
            self.newest = self.newest.max(slot);
            return changed;
        }
        if self.oldest < from {
            self.prune(from, u64::MAX);
        }
        if self.seen.len() < VALUES_PER_KEY {
            self.newest = self.newest.max(slot);
            self.oldest = self.oldest.min(slot);
            self.seen.push(Seen { tag, slot, value: Key::new(value) });
            return true;
        }
        let Some(first) = self.seen.iter_mut().min_by_key(|seen| seen.slot) else { return false };
        if first.slot >= slot {
            // All that are kept were seen in this slot as well. This one says nothing but that there are more.
            let changed = self.more < Some(slot);
            self.more = self.more.max(Some(slot));
            return changed;
        }
        self.more = self.more.max(Some(first.slot));
        *first = Seen { tag, slot, value: Key::new(value) };
        self.newest = self.newest.max(slot);
        true
    }

    /// Keeps the values that were last seen in the slots `from` to `to`.
    fn prune(&mut self, from: u64, to: u64) {
        self.seen.retain(|seen| (from..=to).contains(&seen.slot));
        self.newest = self.seen.iter().map(|seen| seen.slot).max().unwrap_or(0);
        self.oldest = self.seen.iter().map(|seen| seen.slot).min().unwrap_or(u64::MAX);
        self.more = self.more.filter(|slot| (from..=to).contains(slot));
    }
}

/// The values of a counter's keys.
///
/// # Limits
///
/// `capacity` keys, [`VALUES_PER_KEY`] values of each and [`VALUES_PER_COUNTER`] of all: the keys with the fewest
/// messages go first.
pub(super) struct Distinct {
    table: Table<KeyValues>,
    candidates: PlaceList,
    /// Values of all keys.
    values: usize,
    values_max: usize,
    /// The last slot that anything was seen in.
    newest: Option<u64>,
}

impl Distinct {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            table: Table::new(capacity),
            candidates: PlaceList::default(),
            values: 0,
            values_max: VALUES_PER_COUNTER,
            newest: None,
        }
    }

    /// How many keys are held.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// The last slot that any key was seen in.
    pub(super) fn newest(&self) -> Option<u64> {
        self.newest
    }

    /// Counts a message of a key with a value, in `slot`; slots before `from` have left the ring. `alarm_at` is asked
    /// for the level of a new key. Returns whether the key is a candidate for judging.
    pub(super) fn add(
        &mut self,
        (hash, key): (u64, &[u8]),
        (tag, value): (u64, &[u8]),
        (from, slot): (u64, u64),
        alarm_at: impl FnOnce() -> u64,
    ) -> bool {
        let place = if let Some(place) = self.table.place_of(hash, key) {
            self.table.count(place);
            place
        } else {
            let (place, evicted) = self.table.enter(hash, key, KeyValues::new(alarm_at()));
            self.release(evicted);
            place
        };
        self.newest = self.newest.max(Some(slot));
        let Some(held) = self.table.state_mut(place) else { return false };
        let before = held.seen.len();
        let (changed, after) = (held.note(tag, value, slot, from), held.seen.len());
        let candidate = held.is_candidate();
        if changed {
            self.table.changed(place);
            self.grown(place, before, after);
        }
        candidate
    }

    /// A key's values became more, or fewer.
    fn grown(&mut self, place: usize, before: usize, after: usize) {
        self.values = self.values.saturating_add(after).saturating_sub(before);
        if self.table.get(place).is_some_and(|held| held.state.is_candidate()) {
            self.candidates.push(place);
        }
        while self.values > self.values_max {
            let Some(evicted) = self.table.evict() else { break };
            self.release(Some(evicted));
        }
    }

    fn release(&mut self, evicted: impl IntoIterator<Item = KeyValues>) {
        for evicted in evicted {
            self.values = self.values.saturating_sub(evicted.seen.len());
        }
    }

    /// Takes a key's values back from the store, each with its slot; nothing of it becomes pending. `false` if there is
    /// no place for it.
    pub(super) fn restore(
        &mut self,
        hash: u64,
        key: &[u8],
        rank: u64,
        values: &[(u64, &[u8], u64)],
        more: bool,
        alarm_at: u64,
    ) -> bool {
        let place = if let Some(place) = self.table.place_of(hash, key) {
            place
        } else {
            let Some((place, evicted)) = self.table.restore(hash, key, rank, KeyValues::new(alarm_at)) else {
                return false;
            };
            self.release(evicted);
            place
        };
        let Some(held) = self.table.state_mut(place) else { return false };
        let before = held.seen.len();
        for &(tag, value, slot) in values {
            held.note(tag, value, slot, 0);
        }
        if more {
            held.more = held.more.max(held.seen.iter().map(|seen| seen.slot).min());
        }
        let after = held.seen.len();
        self.newest = self.newest.max(values.iter().map(|&(_, _, slot)| slot).max());
        self.grown(place, before, after);
        true
    }

    /// Drops what was last seen outside the slots `from` to `to`.
    pub(super) fn keep(&mut self, from: u64, to: u64) {
        for place in self.table.places() {
            let Some(held) = self.table.state_mut(place) else { continue };
            if held.oldest >= from && held.newest <= to {
                continue;
            }
            let before = held.seen.len();
            held.prune(from, to);
            let after = held.seen.len();
            self.values = self.values.saturating_sub(before.saturating_sub(after));
            if after == 0 {
                self.table.remove(place);
            }
        }
        let table = &self.table;
        self.candidates.retain(|place| table.get(place).is_some_and(|held| held.state.is_candidate()));
        self.newest = self.newest.map(|newest| newest.min(to)).filter(|_| table.len() > 0);
    }

    /// The keys with more values since the slot `start` than their level; nothing was counted behind the window's end.
    pub(super) fn judge(&self, start: u64, level: &Level) -> Vec<OverKey> {
        let candidates = self.candidates.iter().filter_map(|place| self.table.get(place));
        let over = candidates.filter(|held| held.state.is_candidate()).filter_map(|held| {
            let level = level(&held.key)?;
            let count = held.state.seen.iter().filter(|seen| seen.slot >= start).count();
            let sum = u64::try_from(count).unwrap_or(u64::MAX);
            (sum > level).then(|| OverKey { key: held.key.clone(), sum, error: 0 })
        });
        over.collect()
    }

    /// Asks again for the level of every key.
    pub(super) fn reassess(&mut self, alarm_at: impl Fn(&[u8]) -> u64) {
        self.candidates = PlaceList::default();
        for place in self.table.places() {
            let Some(level) = self.table.get(place).map(|held| alarm_at(&held.key)) else { continue };
            let Some(state) = self.table.state_mut(place) else { continue };
            state.alarm_at = level;
            if state.is_candidate() {
                self.candidates.push(place);
            }
        }
    }

    /// Another bound on the keys.
    pub(super) fn resize(&mut self, capacity: usize) {
        let evicted = self.table.resize(capacity);
        self.release(evicted);
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.table.clear();
        self.candidates = PlaceList::default();
        self.values = 0;
        self.newest = None;
    }

    pub(super) fn take_evicted(&mut self) -> u64 {
        self.table.take_evicted()
    }

    /// How many states are to be handed over, at most.
    pub(super) fn pending(&self) -> usize {
        self.table.pending()
    }

    /// Hands over at most `limit` states of keys that changed.
    pub(super) fn collect(&mut self, slot_s: u64, limit: usize, rows: &mut Vec<StateRow>) {
        self.table.collect(Kind::Values, limit, rows, |messages, held| {
            let start = |slot: u64| slot.saturating_mul(slot_s);
            let values = held.seen.iter().map(|seen| (seen.value.clone(), start(seen.slot))).collect();
            (State::Values(Values { values, more: held.more.is_some(), messages }), start(held.newest))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(distinct: &mut Distinct, key: u32, value: u32, slot: u64) {
        let (key, value) = (key.to_be_bytes(), value.to_be_bytes());
        let hash = |bytes: [u8; 4]| u64::from(u32::from_be_bytes(bytes)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        distinct.add((hash(key), &key), (hash(value), &value), (slot.saturating_sub(9), slot), || 0);
    }

    fn judged(distinct: &Distinct, start: u64) -> Vec<u64> {
        let level: Level = Box::new(|_| Some(0));
        distinct.judge(start, &level).into_iter().map(|over| over.sum).collect()
    }

    #[test]
    fn the_values_seen_last_are_kept() {
        let mut distinct = Distinct::new(10);
        for value in 0..100 {
            add(&mut distinct, 1, value, 100);
        }
        for value in 200..230 {
            add(&mut distinct, 1, value, 101);
        }
        assert_eq!(judged(&distinct, 100), [64]);
        assert_eq!(judged(&distinct, 101), [30]);
        let mut rows = Vec::new();
        distinct.collect(60, 10, &mut rows);
        let Some(State::Values(values)) = &rows[0].state else { panic!("no state") };
        assert!(values.more);
        assert_eq!((values.messages, values.values.len(), rows[0].last_s), (130, 64, 6060));
        // A value more of the same slot changes nothing once it is known that there are more.
        for value in 300..364 {
            add(&mut distinct, 1, value, 102);
        }
        distinct.collect(60, 10, &mut rows);
        add(&mut distinct, 1, 400, 102);
        assert_eq!(distinct.pending(), 1);
        distinct.collect(60, 10, &mut rows);
        add(&mut distinct, 1, 401, 102);
        assert_eq!(distinct.pending(), 0);
        // When those of the full slots have left the ring there are no more any more.
        distinct.keep(103, 103);
        assert_eq!((distinct.len(), distinct.values, distinct.newest()), (0, 0, None));
    }

    #[test]
    fn values_of_all_keys_are_bounded() {
        let mut distinct = Distinct::new(1000);
        distinct.values_max = 100;
        for key in 0..50 {
            for value in 0..10 {
                add(&mut distinct, key, value, 100);
                assert!(distinct.values <= 100);
            }
        }
        let held: usize = distinct
            .table
            .places()
            .filter_map(|place| distinct.table.get(place))
            .map(|held| held.state.seen.len())
            .sum();
        assert_eq!(held, distinct.values);
        assert!(distinct.len() <= 100 && distinct.take_evicted() > 30);
    }

    #[test]
    fn only_keys_with_enough_values_are_looked_at() {
        let mut distinct = Distinct::new(1000);
        for key in 0..500 {
            add(&mut distinct, key, 1, 100);
        }
        distinct.reassess(|_| 2);
        assert_eq!(distinct.candidates.len(), 0);
        for value in 0..3 {
            add(&mut distinct, 7, value, 105);
        }
        assert_eq!(distinct.candidates.len(), 1);
        distinct.keep(101, 110);
        assert_eq!((distinct.len(), distinct.candidates.len()), (1, 1));
        distinct.keep(106, 110);
        assert_eq!((distinct.len(), distinct.candidates.len()), (0, 0));
    }
}
