//! One counter: its definition, its watches, and the ring of its slots.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use foldhash::quality::RandomState;

use super::batch::{CounterRows, Departed, Quota, Row};
use super::beacon::{Beacon, BeaconWatch, Spacing};
use super::distinct::Distinct;
use super::evidence::{self, Evidence};
use super::key::Key;
use super::slot::{Slot, Standing};
use super::state::{CounterStates, Kind, State, StateRow};
use super::window::{self, Backlog, Closed, Judgement, Level, Watch};
use crate::session::{Field, Session};
#[cfg(test)]
use crate::survive::bugs;

const NS_PER_S: u64 = 1_000_000_000;

/// Whether a key is pinned: never evicted.
pub type Pinned = Box<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// What a counter counts and in which bounds.
pub struct Definition {
    /// Name of the counter.
    pub name: String,
    /// Equal for two definitions that count the same; made by the caller.
    pub fingerprint: String,
    /// Length of a slot, seconds; 0 is read as 1. Slots are aligned to 1970.
    pub slot_s: u64,
    /// Most keys that a slot holds; 0 is read as 1.
    pub capacity: usize,
    /// Keys that are never evicted: half the capacity of them at most, the others are ordinary ones. A pure function
    /// of the key's bytes. `None`: no key.
    pub pinned: Option<Pinned>,
    /// Counts distinct values per key, with [`Counters::add_value`](super::Counters::add_value), in place of sums.
    pub distinct: bool,
    /// Looks for regular intervals per key, with [`Counters::add_session`](super::Counters::add_session), in place of
    /// sums; and what is watched on that, in place of [`Watch`]es.
    pub beacon: Option<(Spacing, Vec<BeaconWatch>)>,
    /// Fields of which the most frequent values are kept for hot keys. `None`: no evidence is kept.
    pub evidence: Option<Vec<Field>>,
}

/// A counter's definition and what is watched on it.
pub type Spec = (Definition, Vec<Watch>);

/// A watch, and its windows that were closed since they were last handed over.
struct Watched {
    rule: Arc<str>,
    window_slots: u64,
    level: Level,
    backlog: Backlog,
}

/// The rows of a counter that a new plan no longer has, until they are handed over.
pub(super) struct Retired {
    pub(super) name: String,
    pub(super) fingerprint: String,
    pub(super) slot_s: u64,
    pub(super) departed: Departed,
}

pub(super) struct Counter {
    definition: Definition,
    watched: Vec<Watched>,
    /// Slots that are kept, the current one included: the longest window and one to spare.
    ring: u64,
    slot_ns: u64,
    /// Until time starts this one has no index, and `past` holds what was restored, wherever it lies.
    started: bool,
    current: Slot,
    /// Earlier slots that hold anything, oldest first.
    past: VecDeque<Slot>,
    departed: Departed,
    evicted: u64,
    /// In place of sums: the slots stay empty then.
    distinct: Option<Box<Distinct>>,
    /// In place of sums as well. It judges itself.
    beacon: Option<Box<Beacon>>,
    evidence: Option<Box<Evidence>>,
}

impl Counter {
    /// An empty one. Keys come with the hash that `hasher` makes of them.
    pub(super) fn new((mut definition, specified): Spec, hasher: RandomState) -> Self {
        definition.slot_s = definition.slot_s.max(1);
        definition.capacity = definition.capacity.max(1);
        let longest = specified.iter().map(|watch| watch.window_slots).max().unwrap_or(1).max(1);
        let ring = longest.saturating_add(1);
        let beacon = definition
            .beacon
            .take()
            .map(|(spacing, watches)| Box::new(Beacon::new(spacing, watches).hashing_with(hasher)));
        let fields = definition.evidence.take();
        let slots = u64::try_from(ring).unwrap_or(u64::MAX);
        let evidence = |fields| Box::new(Evidence::new(fields, definition.slot_s, slots).hashing_with(hasher));
        let evidence = fields.map(evidence);
        let watched = specified
            .into_iter()
            .map(|watch| Watched {
                rule: watch.rule.into(),
                window_slots: u64::try_from(watch.window_slots).unwrap_or(u64::MAX).max(1),
                level: watch.level,
                backlog: Backlog::new(ring.saturating_mul(2), definition.capacity),
            })
            .collect();
        Self {
            slot_ns: definition.slot_s.saturating_mul(NS_PER_S),
            ring: slots,
            started: false,
            current: Slot::new(0, definition.capacity),
            past: VecDeque::new(),
            departed: Departed::new(definition.capacity),
            evicted: 0,
            distinct: definition.distinct.then(|| Box::new(Distinct::new(definition.capacity))),
            beacon,
            evidence,
            definition,
            watched,
        }
    }

    pub(super) fn definition(&self) -> &Definition {
        &self.definition
    }

    /// Whether the other counts the same in slots of the same length.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let (a, b) = (&self.definition, &other.definition);
        a.name == b.name && a.fingerprint == b.fingerprint && a.slot_s == b.slot_s
    }

    /// Keys and rows in memory.
    pub(super) fn held(&self) -> usize {
        let states = self.distinct.as_ref().map_or(0, |distinct| distinct.len());
        let states = self.beacon.as_ref().map_or(states, |beacon| states.saturating_add(beacon.len()));
        let states = self.evidence.as_ref().map_or(states, |evidence| states.saturating_add(evidence.len()));
        self.slots().map(Slot::len).fold(self.departed.len().saturating_add(states), usize::saturating_add)
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.past.iter().chain([&self.current])
    }

    fn slot_start_s(&self, index: u64) -> u64 {
        index.saturating_mul(self.definition.slot_s)
    }

    /// The time of a slot's end, ns since 1970 UTC.
    fn slot_end_ns(&self, index: u64) -> u64 {
        index.saturating_add(1).saturating_mul(self.slot_ns)
    }

    fn standing(&self, key: &[u8]) -> Standing {
        standing(&self.definition, &self.watched, key)
    }

    /// Goes to the slot that holds `now_ns`, judging each window that ends on the way.
    ///
    /// Returns when the slot ends, ns.
    pub(super) fn advance(&mut self, now_ns: u64) -> u64 {
        let index = now_ns.checked_div(self.slot_ns).unwrap_or(0);
        if !self.started {
            self.start(index);
        } else if index > self.current.index {
            self.roll(index);
        }
        self.tell_states(now_ns);
        self.slot_end_ns(self.current.index)
    }

    /// Time starts: what was restored finds its place in the ring, or falls out of it.
    ///
    /// The boundaries that passed while nothing ran are not judged: the last judgement before that had the same slots.
    fn start(&mut self, index: u64) {
        self.started = true;
        self.current.index = index;
        for mut slot in mem::take(&mut self.past) {
            if slot.index == index {
                // Nothing should have been counted before; if it was, the totals stay right.
                let (count, messages) = self.current.pending_total();
                slot.add_other(count, messages);
                self.current = slot;
            } else if slot.index < index && slot.index.saturating_add(self.ring) > index {
                self.past.push_back(slot);
            }
        }
        self.keep_states();
    }

    /// The first slot of the ring.
    fn first_slot(&self) -> u64 {
        self.current.index.saturating_add(1).saturating_sub(self.ring)
    }

    /// Lets go of states, or parts of them, that are not in the ring.
    fn keep_states(&mut self) {
        let (from, to) = (self.first_slot(), self.current.index);
        if let Some(distinct) = &mut self.distinct {
            distinct.keep(from, to);
        }
    }

    /// Tells the time to what has slots of its own.
    fn tell_states(&mut self, now_ns: u64) {
        if let Some(beacon) = &mut self.beacon {
            beacon.advance(now_ns);
        }
        if let Some(evidence) = &mut self.evidence {
            evidence.advance(now_ns);
        }
    }

    /// Ends the current slot and opens a later one.
    ///
    /// However far time jumped, boundaries are judged only until the first at which every window is empty, which tells
    /// the rules that nothing is above its level any more: as many as there are slots in the ring at most.
    fn roll(&mut self, to: u64) {
        let from = self.current.index;
        let slots = self.slots().filter(|slot| slot.has_keys()).map(|slot| slot.index);
        let newest = slots.chain(self.distinct.as_ref().and_then(|distinct| distinct.newest())).max();
        let empty_from = newest.map_or(from, |index| index.saturating_add(self.ring).saturating_sub(1));
        let last = to.saturating_sub(1).min(empty_from.max(from));
        for end in from..=last {
            let end_ns = self.slot_end_ns(end);
            for watch in 0..self.watched.len() {
                let Some((start, keys)) = self.judge(watch, end) else { continue };
                let start_ns = start.saturating_mul(self.slot_ns);
                if let Some(watched) = self.watched.get_mut(watch) {
                    watched.backlog.push(Closed { start_ns, end_ns, keys });
                }
            }
        }
        let ended = mem::replace(&mut self.current, Slot::new(to, self.definition.capacity));
        if !ended.is_empty() {
            self.past.push_back(ended);
        }
        self.shed();
        self.keep_states();
    }

    /// The first slot and the keys above their level of the window that ends with the slot `end`.
    fn judge(&self, watch: usize, end: u64) -> Option<(u64, Vec<window::OverKey>)> {
        let watched = self.watched.get(watch)?;
        let start = end.saturating_add(1).saturating_sub(watched.window_slots);
        if let Some(distinct) = &self.distinct {
            return Some((start, distinct.judge(start, &watched.level)));
        }
        let slots: Vec<&Slot> = self.slots().filter(|slot| (start..=end).contains(&slot.index)).collect();
        Some((start, window::judge(&slots, &watched.level)))
    }

    /// Ends every slot as it is and goes on with an empty one at `now_ns`; returns when that ends, ns.
    pub(super) fn restart(&mut self, now_ns: u64) -> u64 {
        let index = now_ns.checked_div(self.slot_ns).unwrap_or(0);
        let ended = mem::replace(&mut self.current, Slot::new(index, self.definition.capacity));
        self.past.push_back(ended);
        for slot in mem::take(&mut self.past) {
            let slot_start_s = self.slot_start_s(slot.index);
            slot.depart(slot_start_s, &mut self.departed);
        }
        if let Some(distinct) = &mut self.distinct {
            distinct.clear();
        }
        if let Some(beacon) = &mut self.beacon {
            beacon.restart(now_ns);
        }
        if let Some(evidence) = &mut self.evidence {
            evidence.restart(now_ns);
        }
        self.started = true;
        self.slot_end_ns(index)
    }

    /// Lets go of the slots that are not in the ring any more.
    fn shed(&mut self) {
        while self.past.front().is_some_and(|slot| slot.index.saturating_add(self.ring) <= self.current.index) {
            let Some(slot) = self.past.pop_front() else { break };
            let slot_start_s = self.slot_start_s(slot.index);
            slot.depart(slot_start_s, &mut self.departed);
        }
    }

    /// Counts a message; whether the key is hot now.
    #[inline]
    pub(super) fn add(&mut self, hash: u64, key: &[u8], weight: u64) -> bool {
        match self.current.count(hash, key, weight) {
            Some(hot) => hot,
            None => self.enter(hash, key, weight),
        }
    }

    /// Counts a message that claims its weight; whether the key is hot now, and not by this message alone.
    #[inline]
    pub(super) fn add_claim(&mut self, hash: u64, key: &[u8], weight: u64) -> bool {
        if let Some(hot) = self.current.count(hash, key, weight) {
            return hot;
        }
        let hot = self.enter(hash, key, weight);
        hot && (weight <= 1 || self.past.iter().any(|slot| slot.held(hash, key).is_some()))
    }

    #[inline(never)]
    fn enter(&mut self, hash: u64, key: &[u8], weight: u64) -> bool {
        if key.is_empty() {
            self.current.add_other(weight, 1);
            return false;
        }
        let standing = self.standing(key);
        let hot = weight > standing.alarm_at;
        let evicted = self.current.enter(hash, key, weight, standing);
        self.evicted = self.evicted.saturating_add(u64::from(evicted));
        hot
    }

    /// Counts a message with a value; ignored by other counters. Whether the key is hot now.
    pub(super) fn add_value(&mut self, key: (u64, &[u8]), value: (u64, &[u8])) -> bool {
        let slots = (self.first_slot(), self.current.index);
        let watched = &self.watched;
        match &mut self.distinct {
            Some(distinct) if !key.1.is_empty() => distinct.add(key, value, slots, || lowest_level(watched, key.1)),
            _ => false,
        }
    }

    /// Counts a session for its interval; ignored by other counters. Whether the key is hot now.
    pub(super) fn add_session(&mut self, key: (u64, &[u8]), bytes: [u64; 2], now_ns: u64) -> bool {
        match &mut self.beacon {
            Some(beacon) if !key.1.is_empty() => {
                beacon.advance(now_ns);
                beacon.add_hashed(key, bytes)
            }
            _ => false,
        }
    }

    /// Keeps a message of a hot key, if this counter keeps evidence.
    pub(super) fn note(
        &mut self,
        key: (u64, &[u8]),
        session: &Session<'_>,
        device: &[u8],
        message: &[u8],
        now_ns: u64,
    ) {
        if let Some(evidence) = &mut self.evidence
            && !key.1.is_empty()
        {
            evidence.advance(now_ns);
            evidence.note_hashed(key, session, device, message);
        }
    }

    /// Takes a key's state back from the store; `false` if there is no place for it, or nothing of it is in the ring.
    pub(super) fn restore_state(&mut self, hash: u64, key: &[u8], state: &State, tag: impl Fn(&[u8]) -> u64) -> bool {
        let (from, to) = if self.started { (self.first_slot(), self.current.index) } else { (0, u64::MAX) };
        let slot_s = self.definition.slot_s;
        match (state, &mut self.distinct) {
            (State::Values(values), Some(distinct)) => {
                let seen = values
                    .values
                    .iter()
                    .map(|(value, start_s)| (tag(value), value.as_bytes(), start_s.checked_div(slot_s).unwrap_or(0)));
                let seen: Vec<_> = seen.filter(|(_, _, slot)| (from..=to).contains(slot)).collect();
                let level = lowest_level(&self.watched, key);
                !seen.is_empty()
                    && !key.is_empty()
                    && distinct.restore(hash, key, values.messages, &seen, values.more, level)
            }
            (State::Beacon(state), _) => {
                !key.is_empty() && self.beacon.as_mut().is_some_and(|beacon| beacon.restore(key, state))
            }
            (State::Evidence(state), _) => {
                !key.is_empty() && self.evidence.as_mut().is_some_and(|evidence| evidence.restore(key, state))
            }
            (State::Values(_), None) => false,
        }
    }

    /// Takes a row back from the store, with sums in place of increments; `false` if there is no place for it.
    pub(super) fn restore(&mut self, hash: u64, row: &Row) -> bool {
        let index = row.slot_start_s.checked_div(self.definition.slot_s).unwrap_or(0);
        let in_ring = index <= self.current.index && index.saturating_add(self.ring) > self.current.index;
        if self.started && !in_ring {
            return false;
        }
        if row.key.is_empty() {
            // Nothing is kept of it but what is pending, and this is not.
            return true;
        }
        let standing = self.standing(&row.key);
        let slot = if self.started && index == self.current.index {
            Some(&mut self.current)
        } else {
            let place = match self.past.binary_search_by_key(&index, |slot| slot.index) {
                Ok(place) => place,
                Err(place) => {
                    self.past.insert(place, Slot::new(index, self.definition.capacity));
                    place
                }
            };
            self.past.get_mut(place)
        };
        slot.is_some_and(|slot| slot.restore(hash, row, standing))
    }

    /// Hands over the closed windows, and how the open ones stand.
    pub(super) fn judgements(&mut self, counter: usize, now_ns: u64, into: &mut Vec<Judgement>) {
        #[cfg(test)]
        bugs::reach("judge");
        self.tell_states(now_ns);
        if let Some(beacon) = &mut self.beacon {
            beacon.judgements(counter, into);
        }
        let end = self.current.index;
        for watch in 0..self.watched.len() {
            let Some((start, open)) = self.judge(watch, end) else { continue };
            let start_ns = start.saturating_mul(self.slot_ns);
            let Some(watched) = self.watched.get_mut(watch) else { continue };
            let rule = &watched.rule;
            into.extend(watched.backlog.take().into_iter().map(|closed| Judgement {
                counter,
                watch,
                rule: Arc::clone(rule),
                start_ns: closed.start_ns,
                end_ns: closed.end_ns,
                closed: true,
                keys: closed.keys,
            }));
            let rule = Arc::clone(rule);
            into.push(Judgement { counter, watch, rule, start_ns, end_ns: now_ns, closed: false, keys: open });
        }
    }

    /// Evictions since the last call.
    pub(super) fn take_evicted(&mut self) -> u64 {
        let states = self.distinct.as_mut().map_or(0, |distinct| distinct.take_evicted());
        let states = self.beacon.as_mut().map_or(states, |beacon| beacon.take_evicted().saturating_add(states));
        mem::take(&mut self.evicted).saturating_add(states)
    }

    /// How many states are to be handed over, at most.
    pub(super) fn pending_states(&self) -> usize {
        let pending = self.distinct.as_ref().map_or(0, |distinct| distinct.pending());
        let pending = self.beacon.as_ref().map_or(pending, |beacon| pending.saturating_add(beacon.pending()));
        self.evidence.as_ref().map_or(pending, |evidence| pending.saturating_add(evidence.pending()))
    }

    /// Hands over at most `limit` states of keys that changed, and whether these were all.
    pub(super) fn collect_states(&mut self, limit: usize) -> Option<(CounterStates, bool)> {
        let mut rows = Vec::new();
        // Evidence first: it is little, and an alert of this very moment may need it.
        if let Some(evidence) = &mut self.evidence {
            rows.extend(evidence.take(limit.min(evidence::PER_STEP)).into_iter().map(|(key, state, last_s)| {
                StateRow { key, kind: Kind::Evidence, state: Some(State::Evidence(state)), last_s }
            }));
        }
        if rows.len() < evidence::PER_STEP {
            let limit = limit.saturating_sub(rows.len());
            if let Some(beacon) = &mut self.beacon {
                beacon.collect(limit, &mut rows);
            }
            if let Some(distinct) = &mut self.distinct {
                distinct.collect(self.definition.slot_s, limit, &mut rows);
            }
        }
        let Definition { name, fingerprint, .. } = &self.definition;
        let (counter, fingerprint) = (name.clone(), fingerprint.clone());
        let all = rows.len() < limit.min(evidence::PER_STEP);
        (!rows.is_empty()).then_some((CounterStates { counter, fingerprint, rows }, all))
    }

    /// How many rows are pending.
    pub(super) fn pending_rows(&self) -> usize {
        self.slots().map(Slot::pending_rows).fold(self.departed.len(), usize::saturating_add)
    }

    /// The first slot behind another one, that was looked at last.
    pub(super) fn slot_after(&self, last: Option<u64>) -> Option<&Slot> {
        self.slots().find(|slot| last.is_none_or(|last| slot.index > last))
    }

    /// The pending counts of slots that are gone, one per row.
    pub(super) fn departed_pending(&self) -> impl Iterator<Item = u64> {
        self.departed.pending()
    }

    /// As [`Counter::collect`], of one slot; without one, of those that are gone.
    pub(super) fn collect_slot(&mut self, index: Option<u64>, quota: &mut Quota) -> Option<CounterRows> {
        let mut rows = Vec::new();
        let slot_s = self.definition.slot_s;
        match index {
            None => self.departed.collect(quota, &mut rows),
            Some(index) => {
                for slot in self.past.iter_mut().chain([&mut self.current]).filter(|slot| slot.index == index) {
                    slot.collect(index.saturating_mul(slot_s), quota, &mut rows);
                }
            }
        }
        self.named(rows)
    }

    /// The pending rows that the quota takes; they no longer are pending then.
    pub(super) fn collect(&mut self, quota: &mut Quota) -> Option<CounterRows> {
        #[cfg(test)]
        bugs::reach("collect");
        let slot_s = self.definition.slot_s;
        let mut rows = Vec::new();
        self.departed.collect(quota, &mut rows);
        for slot in self.past.iter_mut().chain([&mut self.current]) {
            slot.collect(slot.index.saturating_mul(slot_s), quota, &mut rows);
        }
        self.named(rows)
    }

    fn named(&self, rows: Vec<Row>) -> Option<CounterRows> {
        let Definition { name, fingerprint, slot_s, .. } = &self.definition;
        let (counter, fingerprint) = (name.clone(), fingerprint.clone());
        (!rows.is_empty()).then_some(CounterRows { counter, fingerprint, slot_s: *slot_s, rows })
    }

    /// Takes over what an equal counter of the earlier plan holds.
    pub(super) fn adopt(&mut self, earlier: Self) {
        self.started = earlier.started;
        self.current = earlier.current;
        self.past = earlier.past;
        self.evicted = earlier.evicted;
        self.departed.absorb(earlier.departed);
        let mut before = earlier.watched;
        for now in &mut self.watched {
            // Each takes from one watch only: those that are told apart by their levels alone keep their order.
            let same = |before: &Watched| now.rule == before.rule && now.window_slots == before.window_slots;
            if let Some(place) = before.iter().position(same) {
                now.backlog.adopt(before.remove(place).backlog);
            }
        }
        let (definition, watched) = (&self.definition, &self.watched);
        for slot in self.past.iter_mut().chain([&mut self.current]) {
            slot.reassess(|key| standing(definition, watched, key));
        }
        if let (Some(now), Some(before)) = (&mut self.distinct, earlier.distinct) {
            *now = before;
            now.resize(definition.capacity);
            now.reassess(|key| lowest_level(watched, key));
        }
        if let (Some(now), Some(before)) = (&mut self.beacon, earlier.beacon) {
            now.adopt(*before);
        }
        if let (Some(now), Some(before)) = (&mut self.evidence, earlier.evidence) {
            now.adopt(*before);
        }
        if self.started {
            self.shed();
            self.keep_states();
        }
    }

    /// Takes over the rows that an equal counter of an earlier plan left.
    pub(super) fn adopt_rows(&mut self, retired: Retired) -> Result<(), Retired> {
        let Definition { name, fingerprint, slot_s, .. } = &self.definition;
        if (name, fingerprint, slot_s) != (&retired.name, &retired.fingerprint, &retired.slot_s) {
            return Err(retired);
        }
        self.departed.absorb(retired.departed);
        Ok(())
    }

    /// Ends the counter: only its pending rows are left.
    pub(super) fn retire(mut self) -> Retired {
        let slot_s = self.definition.slot_s;
        for slot in self.past.into_iter().chain([self.current]) {
            let slot_start_s = slot.index.saturating_mul(slot_s);
            slot.depart(slot_start_s, &mut self.departed);
        }
        let Definition { name, fingerprint, .. } = self.definition;
        Retired { name, fingerprint, slot_s, departed: self.departed }
    }
}

impl Retired {
    /// As [`Counter::collect`].
    pub(super) fn collect(&mut self, quota: &mut Quota) -> Option<CounterRows> {
        let mut rows = Vec::new();
        self.departed.collect(quota, &mut rows);
        let (counter, fingerprint) = (self.name.clone(), self.fingerprint.clone());
        (!rows.is_empty()).then_some(CounterRows { counter, fingerprint, slot_s: self.slot_s, rows })
    }
}

/// The lowest level of all watches for a key; `u64::MAX` where none has one.
fn lowest_level(watched: &[Watched], key: &[u8]) -> u64 {
    watched.iter().filter_map(|watched| (watched.level)(key)).min().unwrap_or(u64::MAX)
}

/// The lowest alarm level of all watches, and whether the key is pinned.
fn standing(definition: &Definition, watched: &[Watched], key: &[u8]) -> Standing {
    let levels = watched.iter().filter_map(|watched| {
        let slots = usize::try_from(watched.window_slots).unwrap_or(usize::MAX);
        (watched.level)(key).map(|level| window::alarm_level(level, slots))
    });
    let alarm_at = levels.min().unwrap_or(u64::MAX);
    let pinned = definition.pinned.as_ref().is_some_and(|pinned| pinned(key));
    Standing { alarm_at, pinned }
}

/// A row as the store holds it: sums, not increments.
pub(super) fn stored_row(slot_start_s: u64, key: &[u8], count: u64, messages: u64, error: u64) -> Row {
    Row { slot_start_s, key: Key::new(key), count, messages, error }
}
