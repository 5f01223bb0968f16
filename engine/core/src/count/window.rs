//! Judging: which keys' sums over a window of slots are above their level.
//!
//! # Be advised
//!
//! A window's sum can only be above a level `L` if one of its `n` slots holds more than `floor(L / n)`; else the sum is
//! at most `n * floor(L / n) <= L`. So a slot lists a key as a candidate once its sum passes that (the lowest such
//! level over all watches, see [`alarm_level`]), and judging looks at the candidates alone. This is exact, and a quiet
//! counter with 65,536 keys costs nothing to judge.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use super::key::Key;
use super::slot::Slot;

/// The level of a key: it is told of when its window's sum is above. `None`: never.
///
/// A pure function of the key's bytes; asked when a key gets a place in a slot and when it is judged.
pub type Level = Box<dyn Fn(&[u8]) -> Option<u64> + Send + Sync>;

/// A rule's interest in a counter.
pub struct Watch {
    /// Name of the rule.
    pub rule: String,
    /// Length of the window in slots; 0 is read as 1.
    pub window_slots: usize,
    /// The level of each key.
    pub level: Level,
}

/// A key whose sum in a window is above its level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverKey {
    /// The key.
    pub key: Key,
    /// What the key brought in the window since it got its places; saturates.
    pub sum: u64,
    /// Messages that may be missing from the sum, at most: those that came before the key got its place in a slot, or
    /// after it lost it. 0 unless the counter's capacity was reached.
    pub error: u64,
}

/// How one watch's window stood at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// Position of the counter in the plan.
    pub counter: usize,
    /// Position of the watch in its counter.
    pub watch: usize,
    /// Name of the rule.
    pub rule: Arc<str>,
    /// Start of the window, ns since 1970 UTC.
    pub start_ns: u64,
    /// Its end: the slot boundary if `closed`, else the time of the call.
    pub end_ns: u64,
    /// Judged at a slot boundary, as the window then stood. Otherwise the window is still open.
    pub closed: bool,
    /// The keys above their level, in no order. A key that is not among them is at or below it.
    pub keys: Vec<OverKey>,
}

/// What a slot's sum must pass before a window of `slots` can be above `level`.
pub(super) fn alarm_level(level: u64, slots: usize) -> u64 {
    u64::try_from(slots).ok().and_then(|slots| level.checked_div(slots)).unwrap_or(0)
}

/// The keys whose sum over `slots` is above their level.
///
/// `slots` are the window's slots that hold anything, each once.
pub(super) fn judge(slots: &[&Slot], level: &Level) -> Vec<OverKey> {
    let mut over = Vec::new();
    let mut judged: &[&Slot] = &[];
    for (done, slot) in slots.iter().enumerate() {
        for candidate in slot.candidates() {
            let (hash, key) = (candidate.hash, candidate.key);
            // A key may be a candidate in several slots: the first speaks for all. The neighbour is asked first, as a
            // key that is busy in one slot mostly is so in the next.
            let told = |slot: &&Slot| slot.held(hash, key).is_some_and(|held| held.candidate);
            if judged.iter().rev().any(told) {
                continue;
            }
            let Some(level) = level(key) else { continue };
            let (sum, error) = slots.iter().fold((0_u64, 0_u64), |(sum, error), slot| {
                let (count, missed) = slot.held(hash, key).map_or((0, slot.missed()), |held| (held.sum, held.error));
                (sum.saturating_add(count), error.saturating_add(missed))
            });
            if sum > level {
                over.push(OverKey { key: key.clone(), sum, error });
            }
        }
        judged = slots.get(..=done).unwrap_or_default();
    }
    over
}

/// A closed window, judged at its boundary.
#[derive(Debug)]
pub(super) struct Closed {
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    pub(super) keys: Vec<OverKey>,
}

/// The closed windows of one watch that were not handed over yet, oldest first.
///
/// # Limits
///
/// At most `bound` of them. When more boundaries pass before anybody asks, the two oldest are merged: the result
/// reaches from the start of the first to the end of the second, and each key in it stands with the larger of its
/// sums. So it still tells of every key that was above its level, with its worst window; only when in that time, and
/// whether it fell below in between, is lost. A merged one holds at most `keys_bound` keys, those with the largest sums.
#[derive(Debug)]
pub(super) struct Backlog {
    windows: VecDeque<Closed>,
    bound: usize,
    keys_bound: usize,
}

impl Backlog {
    pub(super) fn new(bound: usize, keys_bound: usize) -> Self {
        Self { windows: VecDeque::new(), bound: bound.max(1), keys_bound }
    }

    pub(super) fn push(&mut self, closed: Closed) {
        self.windows.push_back(closed);
        while self.windows.len() > self.bound {
            let Some(first) = self.windows.pop_front() else { break };
            if let Some(second) = self.windows.front_mut() {
                merge(first, second, self.keys_bound);
            }
        }
    }

    /// Takes in the windows of an earlier plan's watch.
    pub(super) fn adopt(&mut self, earlier: Self) {
        for closed in earlier.windows {
            self.push(closed);
        }
    }

    /// Hands over all.
    pub(super) fn take(&mut self) -> VecDeque<Closed> {
        mem::take(&mut self.windows)
    }
}

fn merge(first: Closed, second: &mut Closed, keys_bound: usize) {
    second.start_ns = second.start_ns.min(first.start_ns);
    if first.keys.is_empty() {
        return;
    }
    let keys = &mut second.keys;
    keys.extend(first.keys);
    keys.sort_unstable_by(|a, b| a.key.cmp(&b.key).then(b.sum.cmp(&a.sum)));
    keys.dedup_by(|later, kept| later.key == kept.key);
    if keys.len() > keys_bound {
        keys.select_nth_unstable_by(keys_bound, |a, b| b.sum.cmp(&a.sum));
        keys.truncate(keys_bound);
    }
}

#[cfg(test)]
mod tests {
    use super::super::slot::Standing;
    use super::*;

    fn slot(index: u64, sums: &[(&[u8], u64)], alarm_at: u64) -> Slot {
        let mut slot = Slot::new(index, 100);
        for &(key, sum) in sums {
            // Any hash does, as long as all slots use the same.
            slot.enter(u64::from(key[0]), key, sum, Standing { alarm_at, pinned: false });
        }
        slot
    }

    fn judged(slots: &[&Slot], level: u64) -> Vec<(Vec<u8>, u64)> {
        let level: Level = Box::new(move |_| Some(level));
        let mut keys: Vec<_> =
            judge(slots, &level).into_iter().map(|over| (over.key.as_bytes().to_vec(), over.sum)).collect();
        keys.sort();
        keys
    }

    #[test]
    fn a_window_is_the_sum_of_its_slots() {
        let level = alarm_level(10, 2);
        let (one, two) = (slot(1, &[(b"a", 6), (b"b", 5)], level), slot(2, &[(b"a", 5), (b"b", 5)], level));
        assert_eq!(judged(&[&one, &two], 10), [(b"a".to_vec(), 11)]);
        assert_eq!(judged(&[&two, &one], 10), [(b"a".to_vec(), 11)]);
        assert_eq!(judged(&[&one], 10), []);
    }

    #[test]
    fn a_candidate_of_several_slots_is_told_once() {
        let (one, two, three) = (slot(1, &[(b"a", 9)], 0), slot(2, &[(b"b", 1)], 0), slot(3, &[(b"a", 9)], 0));
        assert_eq!(judged(&[&three, &two, &one], 0), [(b"a".to_vec(), 18), (b"b".to_vec(), 1)]);
    }

    #[test]
    fn a_key_without_a_level_is_never_told() {
        let one = slot(1, &[(b"a", u64::MAX)], 0);
        assert!(judge(&[&one], &(Box::new(|_: &[u8]| None) as Level)).is_empty());
        assert!(judge(&[&one], &(Box::new(|_: &[u8]| Some(u64::MAX)) as Level)).is_empty());
    }

    #[test]
    fn alarm_levels_divide_and_never_fail() {
        assert_eq!(alarm_level(4000, 5), 800);
        assert_eq!(alarm_level(3, 5), 0);
        assert_eq!(alarm_level(u64::MAX, 1), u64::MAX);
    }

    #[test]
    fn merged_windows_keep_each_keys_largest_sum() {
        let over = |key: &[u8], sum| OverKey { key: Key::new(key), sum, error: 0 };
        let mut backlog = Backlog::new(2, 2);
        let all = [vec![over(b"a", 9), over(b"b", 2)], vec![over(b"a", 4), over(b"c", 5)], vec![], vec![over(b"d", 1)]];
        for (minute, keys) in (0..).zip(all) {
            backlog.push(Closed { start_ns: minute, end_ns: minute + 1, keys });
        }
        let mut windows = backlog.take();
        assert_eq!(windows.len(), 2);
        windows[0].keys.sort_by(|a, b| a.key.cmp(&b.key));
        assert_eq!(windows[0].keys, [over(b"a", 9), over(b"c", 5)]);
        assert_eq!((windows[0].start_ns, windows[0].end_ns), (0, 3));
        assert_eq!(windows[1].keys, [over(b"d", 1)]);
        assert!(backlog.take().is_empty());
    }
}
