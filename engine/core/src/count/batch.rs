//! What is handed over to the store: rows, the choice of the largest, and rows of slots that have left the ring.

use std::cmp::Reverse;
use std::collections::VecDeque;

use super::key::Key;

/// What one key of one slot gained since it was last handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Start of the slot, seconds since 1970 UTC.
    pub slot_start_s: u64,
    /// The key; empty for the row that collects what evicted keys had not handed over yet.
    pub key: Key,
    /// Increment of the sum (of weights), not the sum.
    pub count: u64,
    /// Increment of the number of messages (calls of `add`), not the number.
    pub messages: u64,
    /// Messages of this key and slot that may be missing from its sums, at most. Absolute, no increment; 0 for the
    /// empty key.
    pub error: u64,
}

/// The rows of one counter in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterRows {
    /// Name of the counter's definition.
    pub counter: String,
    /// Fingerprint of the definition that the rows were counted under. It differs from the present one of that name
    /// only in batches soon after a new plan.
    pub fingerprint: String,
    /// Length of a slot, seconds.
    pub slot_s: u64,
    /// The rows, at least one, in no order.
    pub rows: Vec<Row>,
}

/// Which pending rows fit into a batch: those with the largest counts.
///
/// The counts alone are ranked, not the rows, so that a row is only made once it is known to go out.
///
/// Counts that grew since they were ranked don't make it more rows than the limit.
#[derive(Debug)]
pub(super) struct Quota {
    /// Rows above this go out,
    threshold: u64,
    /// and this many of those equal to it,
    ties: usize,
    /// but no more than this together.
    left: usize,
}

impl Quota {
    /// Everything goes out.
    pub(super) fn all() -> Self {
        Self { threshold: 0, ties: usize::MAX, left: usize::MAX }
    }

    /// The `limit` largest of `counts` go out. Linear in their number.
    pub(super) fn largest(counts: &mut [u64], limit: usize) -> Self {
        if counts.len() <= limit {
            return Self { left: limit, ..Self::all() };
        }
        let Some(last) = limit.checked_sub(1) else {
            return Self { threshold: u64::MAX, ties: 0, left: 0 };
        };
        let (larger, threshold, _) = counts.select_nth_unstable_by_key(last, |&count| Reverse(count));
        let above = larger.iter().filter(|&&count| count > *threshold).count();
        Self { threshold: *threshold, ties: limit.saturating_sub(above), left: limit }
    }

    /// Whether a row with this count goes out; to be asked once per row.
    pub(super) fn take(&mut self, count: u64) -> bool {
        let tie = count == self.threshold;
        let taken = self.left > 0 && (count > self.threshold || (tie && self.ties > 0));
        if taken {
            self.left = self.left.saturating_sub(1);
            self.ties = self.ties.saturating_sub(usize::from(tie));
        }
        taken
    }
}

/// Pending rows of slots that are gone.
///
/// # Limits
///
/// At most `bound` rows of keys and as many of folded ones wait here. They wait only while batches stay
/// unacknowledged for longer than the ring (the store can't write). Then the smallest rows of keys are folded into
/// the empty-key row of their slot, and, should even those be more than `bound`, the oldest into the next slot's. So
/// the totals of the counter stay exact whatever happens, at first those of each slot as well.
pub(super) struct Departed {
    rows: Vec<Row>,
    /// Rows with the empty key, at most one per slot, in the order of their slots.
    others: VecDeque<Row>,
    bound: usize,
}

impl Departed {
    pub(super) fn new(bound: usize) -> Self {
        Self { rows: Vec::new(), others: VecDeque::new(), bound: bound.max(1) }
    }

    /// How many rows wait.
    pub(super) fn len(&self) -> usize {
        self.rows.len().saturating_add(self.others.len())
    }

    /// Takes in a key's row; [`Departed::trim`] is due when a slot's last one is in.
    pub(super) fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Adds to the empty-key row of a slot.
    pub(super) fn push_other(&mut self, slot_start_s: u64, count: u64, messages: u64) {
        if count == 0 && messages == 0 {
            return;
        }
        match self.others.binary_search_by_key(&slot_start_s, |row| row.slot_start_s) {
            Ok(place) => {
                if let Some(row) = self.others.get_mut(place) {
                    row.count = row.count.saturating_add(count);
                    row.messages = row.messages.saturating_add(messages);
                }
            }
            Err(place) => {
                self.others.insert(place, Row { slot_start_s, key: Key::default(), count, messages, error: 0 });
            }
        }
    }

    /// Brings the rows back within the bound.
    pub(super) fn trim(&mut self) {
        if self.rows.len() > self.bound {
            self.rows.select_nth_unstable_by_key(self.bound, |row| Reverse(row.count));
            for row in self.rows.split_off(self.bound) {
                self.push_other(row.slot_start_s, row.count, row.messages);
            }
        }
        while self.others.len() > self.bound {
            let Some(oldest) = self.others.pop_front() else { break };
            if let Some(next) = self.others.front_mut() {
                next.count = next.count.saturating_add(oldest.count);
                next.messages = next.messages.saturating_add(oldest.messages);
            }
        }
    }

    /// Takes in all rows of another.
    pub(super) fn absorb(&mut self, from: Self) {
        self.rows.extend(from.rows);
        for row in from.others {
            self.push_other(row.slot_start_s, row.count, row.messages);
        }
        self.trim();
    }

    /// The pending counts, one per row.
    pub(super) fn pending(&self) -> impl Iterator<Item = u64> {
        self.rows.iter().chain(&self.others).map(|row| row.count)
    }

    /// Moves the rows that the quota takes to `batch`.
    pub(super) fn collect(&mut self, quota: &mut Quota, batch: &mut Vec<Row>) {
        batch.extend(self.rows.extract_if(.., |row| quota.take(row.count)));
        self.others.retain(|row| {
            let taken = quota.take(row.count);
            if taken {
                batch.push(row.clone());
            }
            !taken
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(slot_start_s: u64, key: &[u8], count: u64) -> Row {
        Row { slot_start_s, key: Key::new(key), count, messages: count, error: 0 }
    }

    fn drain(departed: &mut Departed) -> Vec<Row> {
        let mut rows = Vec::new();
        departed.collect(&mut Quota::all(), &mut rows);
        rows
    }

    #[test]
    fn the_quota_takes_the_largest_and_no_more_than_the_limit() {
        let counts = [5, 1, 9, 5, 5, 0, 7];
        for limit in 0..=8 {
            let mut quota = Quota::largest(&mut counts.to_vec(), limit);
            let mut taken: Vec<u64> = counts.into_iter().filter(|&count| quota.take(count)).collect();
            taken.sort_unstable_by_key(|&count| Reverse(count));
            let mut want = counts.to_vec();
            want.sort_unstable_by_key(|&count| Reverse(count));
            want.truncate(limit);
            assert_eq!(taken, want, "limit {limit}");
        }
    }

    #[test]
    fn the_smallest_rows_are_folded_into_the_row_of_their_slot() {
        let mut departed = Departed::new(2);
        for (slot, key, count) in [(60, b"a", 1), (60, b"b", 9), (120, b"c", 2), (120, b"d", 7)] {
            departed.push(row(slot, key, count));
        }
        departed.push_other(120, 3, 3);
        departed.trim();
        assert_eq!(departed.len(), 4);
        let mut rows = drain(&mut departed);
        rows.sort_by_key(|row| (row.slot_start_s, row.key.clone()));
        assert_eq!(rows, [row(60, b"", 1), row(60, b"b", 9), row(120, b"", 5), row(120, b"d", 7)]);
        assert_eq!(departed.len(), 0);
    }

    #[test]
    fn folded_rows_of_very_many_slots_stay_bounded_and_keep_the_total() {
        let mut departed = Departed::new(3);
        for slot in 0..1000 {
            departed.push_other(slot * 60, 1, 1);
            departed.trim();
            assert!(departed.len() <= 3);
        }
        departed.push_other(0, 0, 0);
        let rows = drain(&mut departed);
        assert_eq!(rows.iter().map(|row| row.count).sum::<u64>(), 1000);
        assert_eq!(rows.last().unwrap().slot_start_s, 999 * 60);
    }

    #[test]
    fn rows_of_another_are_taken_in() {
        let mut departed = Departed::new(10);
        departed.push_other(60, 1, 1);
        let mut other = Departed::new(10);
        other.push(row(0, b"a", 4));
        other.push_other(60, 2, 2);
        departed.absorb(other);
        assert_eq!(departed.pending().collect::<Vec<_>>(), [4, 3]);
    }
}
