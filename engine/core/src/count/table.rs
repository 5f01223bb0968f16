//! A bounded table of keys with a state each, over all slots of the ring: Space-Saving without slots.
//!
//! The rules are those of `slot.rs`: a key without a place takes that of the key with the smallest rank and inherits
//! its rank, so a key with more than `N / m` of `N` messages has one of the `m` places, whatever else comes in. A key
//! that leaves for another reason (it was not seen for the whole ring, or the bound on states was reached) frees its
//! place; whoever gets that place still inherits the floor, so that no key comes in below those that were there before.
//!
//! # Be advised
//!
//! * All ranks are above `floor` but for those that the clock hand is about to take; see `Slot::victim`, whose reasoning
//!   holds here too. Free places have the rank `u64::MAX`, so that the hand passes them.
//! * What was handed over of a key that is evicted has to be forgotten by the store: such keys wait in `gone`, and go
//!   out before any state, as the key may come back.

use std::mem;

use hashbrown::HashTable;

use super::key::{Key, is_same};
use super::state::{Kind, State, StateRow};

/// Rank of a free place.
const FREE: u64 = u64::MAX;

/// A restored rank is cut to this, so that ranks can't reach the end of their range.
const RESTORED_MAX: u64 = 1 << 60;

/// A list of places, each at most once however often it is put there and whoever holds the place by then.
#[derive(Debug, Default)]
pub(super) struct PlaceList {
    places: Vec<u32>,
    listed: Vec<bool>,
}

impl PlaceList {
    pub(super) fn push(&mut self, place: usize) {
        if self.listed.len() <= place {
            self.listed.resize(place.saturating_add(1), false);
        }
        let (Some(listed), Ok(number)) = (self.listed.get_mut(place), u32::try_from(place)) else { return };
        if !*listed {
            *listed = true;
            self.places.push(number);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        self.places.iter().map(|&place| place as usize)
    }

    /// Keeps the places for which `keep` is true, asked in the order in which they were put there.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(usize) -> bool) {
        let listed = &mut self.listed;
        self.places.retain(|&place| {
            let kept = keep(place as usize);
            if !kept && let Some(listed) = listed.get_mut(place as usize) {
                *listed = false;
            }
            kept
        });
    }
}

/// A key that has a place.
pub(super) struct Held<T> {
    pub(super) key: Key,
    hash: u64,
    /// The store may know a state of it.
    handed: bool,
    pub(super) state: T,
}

/// Keys with their states. At most `capacity` of them; memory grows with use.
pub(super) struct Table<T> {
    capacity: usize,
    places: HashTable<u32>,
    /// By place, as `held`; apart from it, since the hand looks at nothing else.
    ranks: Vec<u64>,
    held: Vec<Option<Held<T>>>,
    free: Vec<u32>,
    hand: usize,
    floor: u64,
    seen: u64,
    /// Places whose state has to be handed over.
    pending: PlaceList,
    /// Keys whose state was handed over and that lost their place since. At most `capacity` of them: what is over is
    /// left in the store until it is too old.
    gone: Vec<Key>,
    evicted: u64,
}

impl<T> Table<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            // Places are numbered in 32 bits, to keep the table small.
            capacity: capacity.clamp(1, u32::MAX as usize),
            places: HashTable::new(),
            ranks: Vec::new(),
            held: Vec::new(),
            free: Vec::new(),
            hand: 0,
            floor: 0,
            seen: u64::MAX,
            pending: PlaceList::default(),
            gone: Vec::new(),
            evicted: 0,
        }
    }

    /// How many keys have a place.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// All places ever used, held or free.
    pub(super) fn places(&self) -> std::ops::Range<usize> {
        0..self.held.len()
    }

    pub(super) fn place_of(&self, hash: u64, key: &[u8]) -> Option<usize> {
        let same = |place: &u32| self.get(*place as usize).is_some_and(|held| is_same(held.key.as_bytes(), key));
        self.places.find(hash, same).map(|place| *place as usize)
    }

    pub(super) fn get(&self, place: usize) -> Option<&Held<T>> {
        self.held.get(place)?.as_ref()
    }

    pub(super) fn state_mut(&mut self, place: usize) -> Option<&mut T> {
        Some(&mut self.held.get_mut(place)?.as_mut()?.state)
    }

    /// Messages of the key, those of keys whose place it took included.
    pub(super) fn rank(&self, place: usize) -> u64 {
        self.ranks.get(place).copied().unwrap_or(0)
    }

    /// Counts a message of a key that has a place.
    #[inline]
    pub(super) fn count(&mut self, place: usize) {
        if let Some(rank) = self.ranks.get_mut(place) {
            // Below `FREE`, whatever happens.
            *rank = rank.saturating_add(1).min(FREE.saturating_sub(1));
        }
    }

    /// Gives the key of a first message a place; the state of the key that lost it comes back.
    pub(super) fn enter(&mut self, hash: u64, key: &[u8], state: T) -> (usize, Option<T>) {
        let evicted = if self.len() >= self.capacity { self.evict() } else { None };
        (self.settle(hash, key, 1, state), evicted)
    }

    /// Gives a key of the store a place, with the rank that it had; `None`, and nothing is done, if the table is full
    /// of larger ones. The state of the key that lost its place comes back.
    pub(super) fn restore(&mut self, hash: u64, key: &[u8], rank: u64, state: T) -> Option<(usize, Option<T>)> {
        let rank = rank.min(RESTORED_MAX);
        let mut evicted = None;
        if self.len() >= self.capacity {
            let place = self.victim()?;
            if self.rank(place) >= rank {
                // The hand did not take what it found: it stays in front of it.
                self.hand = place;
                return None;
            }
            evicted = self.take(place);
        }
        let place = self.settle(hash, key, rank, state);
        // The store knows it.
        if let Some(Some(held)) = self.held.get_mut(place) {
            held.handed = true;
        }
        Some((place, evicted))
    }

    fn settle(&mut self, hash: u64, key: &[u8], rank: u64, state: T) -> usize {
        let rank = rank.max(self.floor.saturating_add(1)).min(FREE.saturating_sub(1));
        let held = Some(Held { key: Key::new(key), hash, handed: false, state });
        let place = self.free.pop().map_or(self.held.len(), |place| place as usize);
        if let (Some(old), Some(old_rank)) = (self.held.get_mut(place), self.ranks.get_mut(place)) {
            (*old, *old_rank) = (held, rank);
        } else {
            self.held.push(held);
            self.ranks.push(rank);
        }
        if let Ok(number) = u32::try_from(place) {
            let all = &self.held;
            let hash_of = |place: &u32| all.get(*place as usize).and_then(Option::as_ref).map_or(0, |held| held.hash);
            self.places.insert_unique(hash, number, hash_of);
        }
        place
    }

    /// Takes the place of the key with the smallest rank; its state comes back.
    pub(super) fn evict(&mut self) -> Option<T> {
        let place = self.victim()?;
        self.take(place)
    }

    /// Evicts the key of a place.
    fn take(&mut self, place: usize) -> Option<T> {
        let held = self.free(place)?;
        self.evicted = self.evicted.saturating_add(1);
        if held.handed && self.gone.len() < self.capacity {
            self.gone.push(held.key);
        }
        Some(held.state)
    }

    /// Takes a key out whose state is too old to be of use: the store will find that out by itself.
    pub(super) fn remove(&mut self, place: usize) -> Option<T> {
        let removed = self.free(place)?;
        if self.places.is_empty() {
            (self.hand, self.floor, self.seen) = (0, 0, u64::MAX);
        }
        Some(removed.state)
    }

    fn free(&mut self, place: usize) -> Option<Held<T>> {
        let held = self.held.get_mut(place)?.take()?;
        if let Ok(entry) = self.places.find_entry(held.hash, |&number| number as usize == place) {
            entry.remove();
        }
        if let (Some(rank), Ok(number)) = (self.ranks.get_mut(place), u32::try_from(place)) {
            *rank = FREE;
            self.free.push(number);
        }
        Some(held)
    }

    /// The place with the smallest rank; see `Slot::victim`.
    fn victim(&mut self) -> Option<usize> {
        if self.places.is_empty() {
            return None;
        }
        for _ in 0..4 {
            let (floor, mut seen) = (self.floor, self.seen);
            let ranks = self.ranks.get(self.hand..).unwrap_or_default();
            let found = ranks.iter().position(|&rank| {
                seen = seen.min(rank);
                rank <= floor
            });
            if let Some(steps) = found {
                let place = self.hand.saturating_add(steps);
                self.hand = place.saturating_add(1);
                self.seen = floor.saturating_add(1);
                return Some(place);
            }
            self.floor = if seen == u64::MAX { floor.saturating_add(1) } else { seen };
            self.seen = u64::MAX;
            self.hand = 0;
        }
        // Never reached, as in `Slot::victim`.
        None
    }

    /// The key's state changed: it is to be handed over.
    #[inline]
    pub(super) fn changed(&mut self, place: usize) {
        self.pending.push(place);
    }

    /// Evictions since the last call.
    pub(super) fn take_evicted(&mut self) -> u64 {
        mem::take(&mut self.evicted)
    }

    /// How many states are to be handed over, at most.
    pub(super) fn pending(&self) -> usize {
        self.pending.len().saturating_add(self.gone.len())
    }

    /// Hands over the states of at most `limit` keys, those that wait for the longest time first.
    ///
    /// `tell` makes a key's state of its rank and what the table holds, and says when the key was last seen, s.
    pub(super) fn collect(
        &mut self,
        kind: Kind,
        limit: usize,
        rows: &mut Vec<StateRow>,
        tell: impl Fn(u64, &T) -> (State, u64),
    ) {
        let forgotten = self.gone.drain(..self.gone.len().min(limit));
        rows.extend(forgotten.map(|key| StateRow { key, kind, state: None, last_s: 0 }));
        let mut left = limit.saturating_sub(rows.len());
        if !self.gone.is_empty() {
            // A key that came back must not be told before it is told that it was gone.
            left = 0;
        }
        let (all, ranks) = (&mut self.held, &self.ranks);
        self.pending.retain(|place| {
            if left == 0 {
                return true;
            }
            if let Some(Some(held)) = all.get_mut(place) {
                left = left.saturating_sub(1);
                held.handed = true;
                let (state, last_s) = tell(ranks.get(place).copied().unwrap_or(0), &held.state);
                rows.push(StateRow { key: held.key.clone(), kind, state: Some(state), last_s });
            }
            false
        });
    }

    /// Every key loses its place.
    pub(super) fn clear(&mut self) {
        let evicted = self.evicted;
        for place in self.places() {
            self.take(place);
        }
        self.evicted = evicted;
        self.pending.retain(|_| false);
        (self.hand, self.floor, self.seen) = (0, 0, u64::MAX);
    }

    /// Another bound; the states of the keys that lose their place come back.
    pub(super) fn resize(&mut self, capacity: usize) -> Vec<T> {
        self.capacity = capacity.clamp(1, u32::MAX as usize);
        let over = self.len().saturating_sub(self.capacity);
        (0..over).filter_map(|_| self.evict()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn hash(number: u64) -> u64 {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// Counts a message of a key; whether another key lost its place.
    fn add(table: &mut Table<u64>, number: u64) -> bool {
        if let Some(place) = table.place_of(hash(number), &number.to_be_bytes()) {
            table.count(place);
            return false;
        }
        let (place, evicted) = table.enter(hash(number), &number.to_be_bytes(), number);
        table.changed(place);
        evicted.is_some()
    }

    fn ranks(table: &Table<u64>) -> HashMap<u64, u64> {
        table.places().filter_map(|place| Some((table.get(place)?.state, table.rank(place)))).collect()
    }

    fn told(table: &mut Table<u64>, limit: usize) -> Vec<(u64, bool)> {
        let mut rows = Vec::new();
        table.collect(Kind::Values, limit, &mut rows, |rank, _| {
            (State::Values(super::super::state::Values { messages: rank, ..Default::default() }), 0)
        });
        let number = |row: &StateRow| u64::from_be_bytes(row.key.as_bytes().try_into().unwrap());
        rows.iter().map(|row| (number(row), row.state.is_some())).collect()
    }

    #[test]
    fn the_smallest_rank_goes_and_is_inherited() {
        let mut state = 7_u64;
        for capacity in [1, 2, 3, 7, 16] {
            let mut table = Table::new(capacity);
            let mut plain: HashMap<u64, u64> = HashMap::new();
            for _ in 0..5000 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let number = (state % 64) & (state / 64 % 64);
                let evicts = !plain.contains_key(&number) && plain.len() == capacity;
                let before = ranks(&table);
                assert_eq!(add(&mut table, number), evicts);
                let mut inherited = 0;
                if evicts {
                    let after = ranks(&table);
                    let victim = before.keys().find(|key| !after.contains_key(key)).unwrap();
                    inherited = plain.remove(victim).unwrap();
                    assert!(plain.values().all(|&rank| rank >= inherited));
                }
                *plain.entry(number).or_insert(inherited) += 1;
                assert_eq!(ranks(&table), plain);
            }
        }
    }

    #[test]
    fn a_freed_place_is_used_again_and_nobody_comes_in_below_the_others() {
        let mut table = Table::new(2);
        for number in 0..20 {
            add(&mut table, number);
        }
        let place = table.places().next().unwrap();
        assert!(table.remove(place).is_some());
        assert!(table.remove(place).is_none());
        assert_eq!(table.len(), 1);
        assert!(!add(&mut table, 50));
        assert_eq!((table.len(), table.places().len()), (2, 2));
        let floor = ranks(&table).into_values().min().unwrap();
        assert_eq!(ranks(&table)[&50], floor.max(10));
        // An empty table starts anew.
        for place in table.places() {
            table.remove(place);
        }
        add(&mut table, 60);
        assert_eq!(ranks(&table), HashMap::from([(60, 1)]));
        assert!(Table::<u64>::new(0).evict().is_none());
    }

    #[test]
    fn a_busy_key_outlives_a_flood() {
        let mut table = Table::new(64);
        for number in 0..100_000 {
            add(&mut table, 1000 + number);
            if number % 32 == 0 {
                add(&mut table, 1);
            }
        }
        assert!(ranks(&table).contains_key(&1));
        assert!(table.take_evicted() > 99_000);
        assert_eq!(table.take_evicted(), 0);
    }

    #[test]
    fn keys_that_lost_their_place_are_told_before_they_are_told_again() {
        let mut table = Table::new(2);
        add(&mut table, 1);
        add(&mut table, 2);
        assert_eq!(told(&mut table, 10), [(1, true), (2, true)]);
        assert_eq!(table.pending(), 0);
        for number in [3, 1, 4] {
            add(&mut table, number);
        }
        // Whoever was never told is not told to be gone.
        assert_eq!(told(&mut table, 1), [(1, false)]);
        assert_eq!(told(&mut table, 1), [(2, false)]);
        let mut rest = told(&mut table, 10);
        rest.sort_unstable();
        let held: Vec<u64> = {
            let mut all: Vec<u64> = ranks(&table).into_keys().collect();
            all.sort_unstable();
            all
        };
        assert_eq!(rest, held.iter().map(|&number| (number, true)).collect::<Vec<_>>());
    }

    #[test]
    fn clearing_tells_what_was_handed_over() {
        let mut table = Table::new(4);
        add(&mut table, 1);
        told(&mut table, 10);
        add(&mut table, 2);
        table.clear();
        assert_eq!((table.len(), table.take_evicted()), (0, 0));
        assert_eq!(told(&mut table, 10), [(1, false)]);
    }

    #[test]
    fn the_largest_restored_keys_stay() {
        let mut table = Table::new(4);
        for number in [5_u64, 1, 9, 3, 8, 2, 7, 4, 6] {
            table.restore(hash(number), &number.to_be_bytes(), number, number);
        }
        let mut kept: Vec<u64> = ranks(&table).into_keys().collect();
        kept.sort_unstable();
        assert_eq!(kept, [6, 7, 8, 9]);
        assert_eq!(table.resize(2).len(), 2);
        let mut kept: Vec<u64> = ranks(&table).into_keys().collect();
        kept.sort_unstable();
        assert_eq!(kept, [8, 9]);
    }
}
