//! One slot of a counter: a Space-Saving summary of the keys seen in it.
//!
//! # Source
//!
//! A. Metwally, D. Agrawal, A. El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data Streams",
//! ICDT 2005. With `m` places and `N` messages, a key without a place takes that of the key with the smallest rank
//! and inherits its rank; then every key with more than `N / m` messages has a place, and no place's rank is wrong by
//! more than `N / m`.
//!
//! # Be advised
//!
//! * The rank (messages, those of the evicted keys included) decides who stays, never the sum: a forged count must
//!   not buy a place. The sum holds only what the key itself brought since it got its place.
//! * What is handed over is kept as two marks (`handed_sum`, `handed_rank`), so that counting writes nothing more.
//!   `rank == handed_rank` says that nothing is pending; the `dirty` list holds exactly the places with something
//!   pending, each once. Whoever changes a rank keeps that true.
//! * `candidates` holds each place at most once as well, even if its key was evicted meanwhile (`listed` without
//!   `candidate`): otherwise a flood of distinct keys would make it grow without end.
//! * The original keeps its places sorted in buckets of equal rank, several pointers per key to be changed by each
//!   message. Here a clock hand looks for the smallest rank when (and only when) a key has to go: see [`Slot::victim`].

use hashbrown::HashTable;

use super::batch::{Departed, Quota, Row};
use super::key::{Key, is_same};

/// What the rules say about a key, asked once when it gets a place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    /// A sum above this makes the key a candidate for judging; `u64::MAX` for never.
    pub(super) alarm_at: u64,
    /// Not to be evicted.
    pub(super) pinned: bool,
}

/// Everything that counting a known key touches, in one cache line.
#[repr(C, align(64))]
struct Hot {
    key: Key,
    sum: u64,
    rank: u64,
    alarm_at: u64,
    handed_sum: u64,
    handed_rank: u64,
}

const _: () = assert!(size_of::<Hot>() == 64, "a place must be one cache line");

impl Hot {
    fn pending(&self) -> (u64, u64) {
        (self.sum.saturating_sub(self.handed_sum), self.rank.saturating_sub(self.handed_rank))
    }

    fn row(&self, slot_start_s: u64, error: u64) -> Row {
        let (count, messages) = self.pending();
        Row { slot_start_s, key: self.key.clone(), count, messages, error }
    }
}

/// The rest of a place.
#[derive(Clone, Copy)]
struct Cold {
    hash: u64,
    error: u64,
    pinned: bool,
    /// The present key's sum is above its alarm level.
    candidate: bool,
    /// The place is in `candidates`.
    listed: bool,
}

/// A key as it stands in a slot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held<'a> {
    pub(super) key: &'a Key,
    pub(super) hash: u64,
    pub(super) sum: u64,
    pub(super) error: u64,
    pub(super) candidate: bool,
}

/// A restored number is cut to this, so that ranks can't reach the end of their range.
const RESTORED_MAX: u64 = 1 << 60;

/// The keys of one slot. At most `capacity` of them; memory grows with use.
pub(super) struct Slot {
    /// Number of the slot since 1970: epoch seconds divided by the slot's length.
    pub(super) index: u64,
    capacity: usize,
    table: HashTable<u32>,
    hot: Vec<Hot>,
    cold: Vec<Cold>,
    dirty: Vec<u32>,
    candidates: Vec<u32>,
    /// Pending increments that belong to no key: what evicted keys had not handed over.
    other_count: u64,
    other_messages: u64,
    pinned: usize,
    /// Messages that a key without a place may have had here, at most: the largest rank that was evicted.
    missed: u64,
    /// The clock hand, the rank it takes, and the smallest rank it saw in this turn.
    hand: usize,
    floor: u64,
    seen: u64,
    /// Places that the hand looked at.
    #[cfg(test)]
    steps: u64,
}

impl Slot {
    pub(super) fn new(index: u64, capacity: usize) -> Self {
        // Places are numbered in 32 bits, to keep the table small.
        let capacity = capacity.clamp(1, u32::MAX as usize);
        Self {
            index,
            capacity,
            table: HashTable::new(),
            hot: Vec::new(),
            cold: Vec::new(),
            dirty: Vec::new(),
            candidates: Vec::new(),
            other_count: 0,
            other_messages: 0,
            pinned: 0,
            missed: 0,
            hand: 0,
            floor: 0,
            seen: u64::MAX,
            #[cfg(test)]
            steps: 0,
        }
    }

    /// Neither keys nor anything pending.
    pub(super) fn is_empty(&self) -> bool {
        self.hot.is_empty() && !self.has_other()
    }

    /// Whether any key has a place.
    pub(super) fn has_keys(&self) -> bool {
        !self.hot.is_empty()
    }

    /// How many keys have a place.
    pub(super) fn len(&self) -> usize {
        self.hot.len()
    }

    /// Messages that a key without a place may have had here, at most.
    pub(super) fn missed(&self) -> u64 {
        self.missed
    }

    fn has_other(&self) -> bool {
        self.other_count > 0 || self.other_messages > 0
    }

    fn place_of(&self, hash: u64, key: &[u8]) -> Option<usize> {
        let found = self
            .table
            .find(hash, |&place| self.hot.get(place as usize).is_some_and(|hot| is_same(hot.key.as_bytes(), key)))?;
        Some(*found as usize)
    }

    /// Counts a message of a key that has a place, and tells whether its sum is above its alarm level; `None` if it has
    /// none.
    #[inline]
    pub(super) fn count(&mut self, hash: u64, key: &[u8], weight: u64) -> Option<bool> {
        let place = self.place_of(hash, key)?;
        let hot = self.hot.get_mut(place)?;
        if hot.rank == hot.handed_rank {
            push_place(&mut self.dirty, place);
        }
        hot.rank = hot.rank.saturating_add(1);
        hot.sum = hot.sum.saturating_add(weight);
        let over = hot.sum > hot.alarm_at;
        if over {
            self.alarm(place);
        }
        Some(over)
    }

    /// Puts a place on the list of candidates, once.
    #[cold]
    fn alarm(&mut self, place: usize) {
        let Some(cold) = self.cold.get_mut(place) else { return };
        cold.candidate = true;
        if !cold.listed {
            cold.listed = true;
            push_place(&mut self.candidates, place);
        }
    }

    /// Counts the first message of a key that has no place, and gives it one; `true` if another key lost its place.
    pub(super) fn enter(&mut self, hash: u64, key: &[u8], weight: u64, standing: Standing) -> bool {
        let full = self.hot.len() >= self.capacity;
        let freed = if full {
            let Some(place) = self.victim() else {
                self.add_other(weight, 1);
                return false;
            };
            Some(place)
        } else {
            None
        };
        if let Some(place) = freed {
            self.evict(place);
        }
        let error = self.missed;
        let hot = Hot {
            key: Key::new(key),
            sum: weight,
            rank: error.saturating_add(1),
            alarm_at: standing.alarm_at,
            handed_sum: 0,
            handed_rank: error,
        };
        self.settle(freed, hash, error, hot, standing.pinned);
        full
    }

    /// Takes back a key's sums from the store; nothing of it becomes pending.
    ///
    /// If the slot is full, the keys with the largest ranks stay. `false` if this key is not among them.
    pub(super) fn restore(&mut self, hash: u64, restored: &Row, standing: Standing) -> bool {
        let (count, error) = (restored.count, restored.error.min(RESTORED_MAX));
        let messages = restored.messages.min(RESTORED_MAX);
        let rank = messages.saturating_add(error);
        if let Some(place) = self.place_of(hash, &restored.key) {
            let (Some(hot), Some(cold)) = (self.hot.get_mut(place), self.cold.get_mut(place)) else { return false };
            // Both marks move along, so that what is pending stays so, and nothing else becomes it.
            hot.sum = hot.sum.saturating_add(count);
            hot.handed_sum = hot.handed_sum.saturating_add(count);
            hot.rank = hot.rank.saturating_add(messages);
            hot.handed_rank = hot.handed_rank.saturating_add(messages);
            cold.error = cold.error.max(error);
            if hot.sum > hot.alarm_at {
                self.alarm(place);
            }
            return true;
        }
        let freed = if self.hot.len() < self.capacity {
            None
        } else {
            let pinned = standing.pinned && self.pinned < self.pinned_max();
            let place = if pinned || rank > self.floor { self.victim() } else { None };
            let lowest = place.and_then(|place| self.hot.get(place)).map(|hot| hot.rank);
            match (place, lowest) {
                (Some(place), Some(lowest)) if pinned || rank > lowest => {
                    self.evict(place);
                    Some(place)
                }
                _ => {
                    // The hand did not take what it found: it stays in front of it.
                    self.hand = place.unwrap_or(self.hand);
                    self.missed = self.missed.max(rank);
                    return false;
                }
            }
        };
        let hot = Hot {
            key: restored.key.clone(),
            sum: count,
            rank,
            alarm_at: standing.alarm_at,
            handed_sum: count,
            handed_rank: rank,
        };
        self.settle(freed, hash, error, hot, standing.pinned);
        true
    }

    /// Counts what belongs to no key.
    pub(super) fn add_other(&mut self, count: u64, messages: u64) {
        self.other_count = self.other_count.saturating_add(count);
        self.other_messages = self.other_messages.saturating_add(messages);
    }

    /// Puts a key into a freed place, or a new one.
    fn settle(&mut self, freed: Option<usize>, hash: u64, error: u64, hot: Hot, pinned: bool) {
        // Half the places stay free for others, so that there is always one to evict.
        let pinned = pinned && self.pinned < self.pinned_max();
        self.pinned = self.pinned.saturating_add(usize::from(pinned));
        let (pending, over) = (hot.rank != hot.handed_rank, hot.sum > hot.alarm_at);
        let mut cold = Cold { hash, error, pinned, candidate: false, listed: false };
        let (place, was_dirty) = if let Some(place) = freed {
            let (Some(old_hot), Some(old_cold)) = (self.hot.get_mut(place), self.cold.get_mut(place)) else { return };
            let was_dirty = old_hot.rank != old_hot.handed_rank;
            cold.listed = old_cold.listed;
            *old_hot = hot;
            *old_cold = cold;
            (place, was_dirty)
        } else {
            self.hot.push(hot);
            self.cold.push(cold);
            // The dirty list never is longer than this; so counting a known key does not allocate.
            self.dirty.reserve(self.hot.len().saturating_sub(self.dirty.len()));
            (self.hot.len().saturating_sub(1), false)
        };
        let Ok(number) = u32::try_from(place) else { return };
        let places = &self.cold;
        self.table.insert_unique(hash, number, |&place| places.get(place as usize).map_or(0, |cold| cold.hash));
        if pending && !was_dirty {
            self.dirty.push(number);
        } else if !pending && was_dirty {
            self.dirty.retain(|&place| place != number);
        }
        if over {
            self.alarm(place);
        }
    }

    fn pinned_max(&self) -> usize {
        self.capacity >> 1
    }

    /// Takes a key out of the table; its place still holds it until another settles there.
    fn evict(&mut self, place: usize) {
        let (Some(hot), Some(cold)) = (self.hot.get(place), self.cold.get(place)) else { return };
        let (count, messages) = hot.pending();
        self.missed = self.missed.max(hot.rank);
        let found = self.table.find_entry(cold.hash, |&number| number as usize == place);
        if let Ok(entry) = found {
            entry.remove();
        }
        self.add_other(count, messages);
    }

    /// The place with the smallest rank among those that are not pinned.
    ///
    /// A hand goes round the places and takes the first whose rank is at most `floor`. After a full turn all ranks
    /// are larger than `floor`: the hand passed only such places, the keys that settled inherited at least `floor` and
    /// added one, and ranks never fall. So the floor may rise to the smallest rank that was seen in the turn: it never is
    /// above the smallest rank there is, and the place taken has just that one.
    ///
    /// # Limits
    ///
    /// Amortised O(1) per message, whatever the keys are. Each turn raises the floor by at least one, and the floor
    /// is at most the smallest rank. A message adds one to one rank, so all ranks together are the `N` messages so
    /// far, and the smallest of the `m` is at most `N / m`. So there were at most `N / m + 1` turns of `m` steps,
    /// `N + m` steps for `N` messages. (With half of the places pinned the smallest of the others is at most
    /// `2 N / m`: `2 N + m` steps.) A single call takes three turns at most: one that was under way, one that finds
    /// the smallest rank, and one that reaches it.
    fn victim(&mut self) -> Option<usize> {
        for _ in 0..4 {
            let (floor, mut seen) = (self.floor, self.seen);
            let hots = self.hot.get(self.hand..).unwrap_or_default();
            let colds = self.cold.get(self.hand..).unwrap_or_default();
            // Pinned places are few and in the other array: look there only if the rank is of interest.
            let found = hots.iter().zip(colds).position(|(hot, cold)| {
                if hot.rank < seen && !cold.pinned {
                    seen = hot.rank;
                }
                hot.rank <= floor && !cold.pinned
            });
            #[cfg(test)]
            {
                self.steps += found.map_or(hots.len(), |place| place + 1) as u64;
            }
            if let Some(steps) = found {
                let place = self.hand.saturating_add(steps);
                self.hand = place.saturating_add(1);
                // Whoever settles here has at least this rank, and all others seen in this turn do.
                self.seen = floor.saturating_add(1);
                return Some(place);
            }
            self.floor = if seen == u64::MAX { floor.saturating_add(1) } else { seen };
            self.seen = u64::MAX;
            self.hand = 0;
        }
        // Never reached: at least half of the places are not pinned.
        None
    }

    /// Asks again what the rules say about every key.
    pub(super) fn reassess(&mut self, standing: impl Fn(&[u8]) -> Standing) {
        self.candidates.clear();
        self.pinned = 0;
        // A key that no longer is pinned may have a rank below the floor: the hand starts anew.
        (self.hand, self.floor, self.seen) = (0, 0, u64::MAX);
        let pinned_max = self.pinned_max();
        for (place, (hot, cold)) in self.hot.iter_mut().zip(&mut self.cold).enumerate() {
            let now = standing(&hot.key);
            cold.pinned = now.pinned && self.pinned < pinned_max;
            self.pinned = self.pinned.saturating_add(usize::from(cold.pinned));
            cold.candidate = hot.sum > now.alarm_at;
            cold.listed = cold.candidate;
            hot.alarm_at = now.alarm_at;
            if cold.candidate {
                push_place(&mut self.candidates, place);
            }
        }
    }

    fn held_at(&self, place: usize) -> Option<Held<'_>> {
        let (hot, cold) = (self.hot.get(place)?, self.cold.get(place)?);
        Some(Held { key: &hot.key, hash: cold.hash, sum: hot.sum, error: cold.error, candidate: cold.candidate })
    }

    /// A key, if it has a place.
    pub(super) fn held(&self, hash: u64, key: &[u8]) -> Option<Held<'_>> {
        self.held_at(self.place_of(hash, key)?)
    }

    /// The keys whose sum is above their alarm level.
    pub(super) fn candidates(&self) -> impl Iterator<Item = Held<'_>> {
        self.candidates.iter().filter_map(|&place| self.held_at(place as usize)).filter(|held| held.candidate)
    }

    /// How many rows are pending.
    pub(super) fn pending_rows(&self) -> usize {
        self.dirty.len().saturating_add(usize::from(self.has_other()))
    }

    /// The pending counts, one per row.
    pub(super) fn pending(&self) -> impl Iterator<Item = u64> {
        let keys = self.dirty.iter().filter_map(|&place| self.hot.get(place as usize)).map(|hot| hot.pending().0);
        keys.chain(self.has_other().then_some(self.other_count))
    }

    /// The pending increments of all rows together.
    pub(super) fn pending_total(&self) -> (u64, u64) {
        let keys = self.dirty.iter().filter_map(|&place| self.hot.get(place as usize)).map(Hot::pending);
        keys.fold((self.other_count, self.other_messages), |(count, messages), row| {
            (count.saturating_add(row.0), messages.saturating_add(row.1))
        })
    }

    /// Moves the pending rows that the quota takes to `batch`.
    pub(super) fn collect(&mut self, slot_start_s: u64, quota: &mut Quota, batch: &mut Vec<Row>) {
        let (hots, colds) = (&mut self.hot, &self.cold);
        self.dirty.retain(|&place| {
            let (Some(hot), Some(cold)) = (hots.get_mut(place as usize), colds.get(place as usize)) else {
                return false;
            };
            let taken = quota.take(hot.pending().0);
            if taken {
                batch.push(hot.row(slot_start_s, cold.error));
                hot.handed_sum = hot.sum;
                hot.handed_rank = hot.rank;
            }
            !taken
        });
        if self.has_other() && quota.take(self.other_count) {
            let (count, messages) = (self.other_count, self.other_messages);
            batch.push(Row { slot_start_s, key: Key::default(), count, messages, error: 0 });
            self.other_count = 0;
            self.other_messages = 0;
        }
    }

    /// Ends the slot: what is pending waits among the departed.
    pub(super) fn depart(self, slot_start_s: u64, departed: &mut Departed) {
        for &place in &self.dirty {
            if let (Some(hot), Some(cold)) = (self.hot.get(place as usize), self.cold.get(place as usize)) {
                departed.push(hot.row(slot_start_s, cold.error));
            }
        }
        departed.push_other(slot_start_s, self.other_count, self.other_messages);
        departed.trim();
    }
}

/// Places are below the capacity, which fits.
fn push_place(list: &mut Vec<u32>, place: usize) {
    if let Ok(place) = u32::try_from(place) {
        list.push(place);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const ORDINARY: Standing = Standing { alarm_at: u64::MAX, pinned: false };
    const PINNED: Standing = Standing { alarm_at: u64::MAX, pinned: true };

    fn add(slot: &mut Slot, number: u64, standing: Standing) -> bool {
        let key = number.to_be_bytes();
        // Numbers hash to themselves but for the bits that the table takes its tag from.
        let hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        slot.count(hash, &key, 1).is_none() && slot.enter(hash, &key, 1, standing)
    }

    fn restore(slot: &mut Slot, number: u64, messages: u64, standing: Standing) -> bool {
        let key = Key::new(&number.to_be_bytes());
        let row = Row { slot_start_s: 0, key, count: messages, messages, error: 0 };
        slot.restore(number.wrapping_mul(0x9e37_79b9_7f4a_7c15), &row, standing)
    }

    fn numbers(slot: &Slot) -> Vec<u64> {
        let mut numbers: Vec<u64> =
            slot.hot.iter().map(|hot| u64::from_be_bytes(hot.key.as_bytes().try_into().unwrap())).collect();
        numbers.sort_unstable();
        numbers
    }

    /// A small generator of numbers (Marsaglia, "Xorshift RNGs", 2003).
    fn xorshift(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    /// What the summary has to be, with the smallest rank found by looking at all of them.
    struct Plain {
        capacity: usize,
        ranks: HashMap<u64, u64>,
    }

    impl Plain {
        /// Returns the ranks among which the evicted one has to be.
        fn add(&mut self, number: u64, evicted: Option<u64>) {
            if let Some(rank) = self.ranks.get_mut(&number) {
                *rank += 1;
                return;
            }
            let mut inherited = 0;
            if self.ranks.len() == self.capacity {
                let smallest = *self.ranks.values().min().unwrap();
                inherited = self.ranks.remove(&evicted.unwrap()).unwrap();
                assert_eq!(inherited, smallest, "the smallest rank goes");
            }
            self.ranks.insert(number, inherited + 1);
        }
    }

    #[test]
    fn the_smallest_rank_goes_and_is_inherited() {
        let mut state = 7;
        for capacity in [1, 2, 3, 7, 16] {
            let mut slot = Slot::new(0, capacity);
            let mut plain = Plain { capacity, ranks: HashMap::new() };
            for _ in 0..5000 {
                // Skewed, so that some keys stay for long.
                let number = (xorshift(&mut state) % 64) & (xorshift(&mut state) % 64);
                let before = numbers(&slot);
                add(&mut slot, number, ORDINARY);
                let after = numbers(&slot);
                plain.add(number, before.into_iter().find(|number| !after.contains(number)));
                let ranks: HashMap<u64, u64> = slot
                    .hot
                    .iter()
                    .map(|hot| (u64::from_be_bytes(hot.key.as_bytes().try_into().unwrap()), hot.rank))
                    .collect();
                assert_eq!(ranks, plain.ranks);
                assert_eq!(slot.table.len(), slot.hot.len());
            }
            assert_eq!(slot.hot.iter().map(|hot| hot.rank).sum::<u64>(), 5000);
        }
    }

    #[test]
    fn looking_for_the_smallest_rank_is_amortised() {
        let capacity = 256;
        // Distinct keys; distinct ones among a few busy ones; and every place in turn, ever again.
        let streams: [fn(u64) -> u64; 4] = [
            |number| number,
            |number| if number % 2 == 0 { number } else { number % 64 },
            |number| number % 257,
            |number| if number < 100_000 { number % 256 } else { number },
        ];
        for stream in streams {
            let mut slot = Slot::new(0, capacity);
            let messages = 200_000;
            for number in 0..messages {
                add(&mut slot, stream(number), ORDINARY);
            }
            assert!(slot.steps <= messages + 2 * capacity as u64, "{} steps", slot.steps);
            let mut slot = Slot::new(0, capacity);
            for number in 0..messages {
                let number = stream(number);
                add(&mut slot, number, if number < 200 { PINNED } else { ORDINARY });
            }
            assert!(slot.steps <= 2 * (messages + capacity as u64), "{} steps, pinned", slot.steps);
        }
    }

    #[test]
    fn pinned_keys_stay_but_leave_half_of_the_places() {
        let mut slot = Slot::new(0, 8);
        for number in 0..6 {
            add(&mut slot, number, PINNED);
        }
        for number in 100..1000 {
            add(&mut slot, number, ORDINARY);
        }
        let numbers = numbers(&slot);
        assert_eq!(numbers[..4], [0, 1, 2, 3]);
        assert!(numbers[4..].iter().all(|&number| number >= 100));
        // Without pins they are as others.
        slot.reassess(|_| ORDINARY);
        for number in 1000..2000 {
            add(&mut slot, number, ORDINARY);
        }
        assert!(self::numbers(&slot).iter().all(|&number| number >= 1000));
        assert!(slot.hot.iter().zip(&slot.cold).all(|(hot, cold)| cold.error < hot.rank && cold.error >= 100));
    }

    #[test]
    fn a_single_place_holds_the_last_key() {
        let mut slot = Slot::new(0, 0);
        for number in 0..10 {
            assert_eq!(add(&mut slot, number, PINNED), number > 0);
        }
        assert_eq!(numbers(&slot), [9]);
        assert_eq!(slot.missed(), 9);
        assert_eq!(slot.pending_total(), (10, 10));
        assert_eq!(slot.pending_rows(), 2);
    }

    #[test]
    fn candidates_are_listed_once_however_often_places_change_hands() {
        let mut slot = Slot::new(0, 4);
        for number in 0..1000 {
            add(&mut slot, number, Standing { alarm_at: 0, pinned: false });
        }
        assert_eq!(slot.candidates.len(), 4);
        assert_eq!(slot.candidates().count(), 4);
        for number in 1000..1010 {
            add(&mut slot, number, ORDINARY);
        }
        assert_eq!(slot.candidates().count(), 0);
        assert_eq!(slot.candidates.len(), 4);
    }

    #[test]
    fn the_largest_restored_keys_stay() {
        let mut slot = Slot::new(0, 4);
        let messages = [5, 1, 9, 3, 8, 2, 7, 4, 6];
        for number in messages {
            restore(&mut slot, number, number, ORDINARY);
        }
        assert_eq!(numbers(&slot), [6, 7, 8, 9]);
        assert_eq!(slot.pending_rows(), 0);
        // What a key without a place had is at most what its successor says may be missing.
        assert_eq!(slot.missed(), 5);
        assert!(!restore(&mut slot, 1, 1, ORDINARY));
        assert!(restore(&mut slot, 1, 1, PINNED));
        assert_eq!(numbers(&slot), [1, 7, 8, 9]);
        add(&mut slot, 50, ORDINARY);
        assert_eq!(numbers(&slot), [1, 8, 9, 50]);
        assert_eq!(slot.pending_total(), (1, 1));
    }

    #[test]
    fn a_refused_key_leaves_the_smallest_in_front_of_the_hand() {
        let mut slot = Slot::new(0, 3);
        for number in [6, 5, 7] {
            restore(&mut slot, number, number, ORDINARY);
        }
        assert!(!restore(&mut slot, 1, 1, ORDINARY));
        add(&mut slot, 50, ORDINARY);
        assert_eq!(numbers(&slot), [6, 7, 50]);
    }

    #[test]
    fn a_key_that_is_pinned_no_more_goes_first_if_it_is_the_smallest() {
        for flood in 10..30 {
            let mut slot = Slot::new(0, 4);
            add(&mut slot, 1, PINNED);
            for number in 100..100 + flood {
                add(&mut slot, number, ORDINARY);
            }
            slot.reassess(|_| ORDINARY);
            let before = numbers(&slot);
            add(&mut slot, 1000, ORDINARY);
            assert_eq!(numbers(&slot), [before[1], before[2], before[3], 1000]);
        }
    }

    #[test]
    fn restoring_beside_pending_increments_keeps_them_pending() {
        let mut slot = Slot::new(0, 4);
        add(&mut slot, 1, ORDINARY);
        assert!(restore(&mut slot, 1, 10, ORDINARY));
        assert_eq!(slot.pending_total(), (1, 1));
        assert_eq!(slot.hot[0].sum, 11);
        // A restored key may take the place of one with something pending.
        for number in 2..5 {
            restore(&mut slot, number, 20, ORDINARY);
        }
        assert!(restore(&mut slot, 5, 20, ORDINARY));
        assert_eq!(slot.pending_rows(), 1);
        assert_eq!(slot.pending_total(), (1, 1));
        assert!(slot.dirty.is_empty());
    }
}
