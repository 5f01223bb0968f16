//! Beacons: keys (source, destination, port) whose sessions come at regular intervals.
//!
//! Of each key are kept when its last session came, and how often each gap between two sessions occurred in the present
//! slot. A key is regular when one gap, give or take a tolerance, makes up most of them.
//!
//! # Source
//!
//! "Potential beaconing activity" of the Network Session Essentials: gaps of whole seconds over a least one, per hour,
//! and the share of the most frequent. There the gap is that to the source's next session to anywhere; here it is that
//! to the next of the same key, so that other traffic of the host neither hides a beacon nor is taken for one. The
//! histogram is that of J. Misra, D. Gries, "Finding Repeated Elements", Science of Computer Programming 2, 1982.
//!
//! # Be advised
//!
//! * Sessions that follow closer than the least gap are one event: a browser opens six connections at once, and those
//!   must not make up the events that a rule asks for.
//! * A gap counts in the slot in which it ends, also if it began in the slot before. One that spans a whole slot is none.
//! * Time is what [`Beacon::advance`] was told last; there is no clock.
//! * Who stays when the table is full is up to a clock hand, not to Space-Saving by messages: a beacon has few messages,
//!   and a busy client many. Each counted gap gives a key one more turn of the hand, three at most. So neither a flood of
//!   forged keys (which come once) nor busy ones (which leave no gaps) push out who comes back again and again.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher};
use std::mem;
use std::sync::Arc;

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use serde_json::{Value as Json, json};

use super::key::{Key, is_same};
use super::state::{Kind, State, StateRow};
use super::window::{Backlog, Closed, Judgement, OverKey};

const NS_PER_S: u64 = 1_000_000_000;

/// Most different gaps per key, each of whole seconds: five per cent of ten minutes, both ways, still fit twice.
pub const MAX_GAPS: usize = 32;

/// Most turns of the clock hand that a key outlasts.
const MAX_LIVES: u8 = 3;

/// Closed windows that wait for the next call, at most; then the oldest are merged.
const MAX_CLOSED: usize = 4;

/// Restored numbers are cut to this, so that sums can't reach the end of their range.
const RESTORED_MAX: u64 = 1 << 40;

/// Which gaps count, and which are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spacing {
    /// Length of a slot, seconds; 0 is read as 1. Slots are aligned to 1970 and each begins anew.
    pub slot_s: u64,
    /// Most keys; 0 is read as 1.
    pub capacity: usize,
    /// Gaps count that are longer than this, seconds.
    pub min_gap_s: u64,
    /// Gaps are the same that differ by no more than this, seconds,
    pub tolerance_s: u64,
    /// or by no more than this part of the gap, in percent, whichever is larger.
    pub tolerance_percent: u64,
}

/// A rule's interest in regular keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeaconWatch {
    /// Name of the rule.
    pub rule: String,
    /// A key is told when its share is above, percent,
    pub level: u64,
    /// and it had more events than this in the slot.
    pub min_events: u64,
}

struct Watched {
    rule: Arc<str>,
    level: u64,
    min_events: u64,
    backlog: Backlog,
}

impl Watched {
    fn wants(&self, entry: &Entry) -> bool {
        entry.share > self.level && entry.events > self.min_events
    }
}

/// What is kept of a key.
#[derive(Debug, Clone)]
struct Entry {
    key: Key,
    hash: u64,
    /// The slot of its last session, which the numbers below speak of.
    slot: u64,
    last_ns: u64,
    events: u64,
    /// Of the source and of the destination.
    bytes: [u64; 2],
    /// Gaps that counted, those included that `gaps` has forgotten.
    counted: u64,
    /// (seconds, how often), at most [`MAX_GAPS`] of them.
    gaps: Vec<(u64, u64)>,
    /// Share of the most frequent gap, percent, rounded up; 0 while there are too few events for any rule.
    share: u64,
    lives: u8,
    /// The store may know a state of it.
    handed: bool,
    /// The place is in `changed`.
    changed: bool,
    /// Its turn there, where places are about to be numbered anew.
    turn: usize,
    /// The place is in `regular`.
    listed: bool,
}

impl Entry {
    fn begin(&mut self, slot: u64) {
        self.slot = slot;
        (self.events, self.counted, self.share) = (0, 0, 0);
        self.bytes = [0, 0];
        self.gaps.clear();
    }

    /// Counts a gap.
    ///
    /// When all places are taken, a new gap costs each of the others one instead of getting a place, as Misra and Gries
    /// have it: no count ever is too large, and none too small by more than one in 33 of the gaps.
    fn count_gap(&mut self, gap_s: u64) {
        self.counted = self.counted.saturating_add(1);
        if let Some((_, times)) = self.gaps.iter_mut().find(|(known, _)| *known == gap_s) {
            *times = times.saturating_add(1);
        } else if self.gaps.len() < MAX_GAPS {
            self.gaps.push((gap_s, 1));
        } else {
            self.gaps.retain_mut(|(_, times)| {
                *times = times.saturating_sub(1);
                *times > 0
            });
        }
    }

    /// The part of the counted gaps that lies within the tolerance around one of them, the largest there is, in percent.
    ///
    /// Rounded up: then it is above a whole number just when the exact share is.
    fn share(&self, spacing: &Spacing) -> u64 {
        let around = |&(middle, _): &(u64, u64)| {
            let part = middle.saturating_mul(spacing.tolerance_percent).checked_div(100).unwrap_or(0);
            let tolerance = part.max(spacing.tolerance_s);
            let near = self.gaps.iter().filter(|(gap_s, _)| gap_s.abs_diff(middle) <= tolerance);
            near.fold(0_u64, |sum, (_, times)| sum.saturating_add(*times))
        };
        let most = self.gaps.iter().map(around).max().unwrap_or(0);
        if self.counted == 0 { 0 } else { most.saturating_mul(100).div_ceil(self.counted) }
    }

    fn json(&self, slot_s: u64) -> String {
        let gaps: Vec<_> = self.gaps.iter().map(|&(gap_s, times)| json!([gap_s, times])).collect();
        json!({
            "slot": self.slot.saturating_mul(slot_s),
            "last_ns": self.last_ns,
            "events": self.events,
            "bytes": self.bytes,
            "counted": self.counted,
            "gaps": gaps,
        })
        .to_string()
    }

    fn from_json(key: &[u8], hash: u64, slot_s: u64, text: &str) -> Option<Self> {
        let state: Json = serde_json::from_str(text).ok()?;
        let whole = |value: Option<&Json>| value.and_then(Json::as_u64);
        let count = |value: Option<&Json>| whole(value).map(|number| number.min(RESTORED_MAX));
        let mut gaps: Vec<(u64, u64)> = Vec::new();
        for pair in state.get("gaps")?.as_array()?.iter().take(MAX_GAPS) {
            let (length_s, times) = (whole(pair.get(0))?, count(pair.get(1))?);
            if times > 0 && gaps.iter().all(|(known, _)| *known != length_s) {
                gaps.push((length_s, times));
            }
        }
        let sum = gaps.iter().fold(0_u64, |sum, (_, times)| sum.saturating_add(*times));
        let counted = count(state.get("counted")).unwrap_or(0).max(sum);
        let bytes = |end: usize| count(state.get("bytes").and_then(|bytes| bytes.get(end))).unwrap_or(0);
        Some(Self {
            key: Key::new(key),
            hash,
            slot: whole(state.get("slot"))?.checked_div(slot_s)?,
            last_ns: whole(state.get("last_ns"))?,
            events: count(state.get("events"))?,
            bytes: [bytes(0), bytes(1)],
            counted,
            gaps,
            share: 0,
            lives: u8::try_from(counted).unwrap_or(u8::MAX).min(MAX_LIVES),
            handed: true,
            changed: false,
            turn: 0,
            listed: false,
        })
    }
}

/// The keys of one counter and their gaps.
///
/// # Limits
///
/// `capacity` keys with [`MAX_GAPS`] gaps each, some 700 bytes, and as many that lost their place and wait to be told of.
pub struct Beacon {
    spacing: Spacing,
    slot_ns: u64,
    watched: Vec<Watched>,
    /// No rule asks for less: a share is only worked out for keys with more events than this.
    least_events: u64,
    started: bool,
    now_ns: u64,
    slot: u64,
    hasher: RandomState,
    table: HashTable<u32>,
    entries: Vec<Entry>,
    hand: usize,
    /// Places whose keys changed since they were handed over, the one that waits longest first.
    changed: VecDeque<u32>,
    /// Places whose keys were regular for some rule in the present slot; whether they still are is asked again.
    regular: Vec<u32>,
    /// Keys whose state was handed over and that lost their place since. At most `capacity` of them: what is over is
    /// left in the store until it is too old.
    gone: Vec<Key>,
    evicted: u64,
}

impl Beacon {
    /// An empty one.
    pub fn new(mut spacing: Spacing, rules: Vec<BeaconWatch>) -> Self {
        spacing.slot_s = spacing.slot_s.max(1);
        // Places are numbered in 32 bits.
        spacing.capacity = spacing.capacity.clamp(1, u32::MAX as usize);
        let least_events = rules.iter().map(|watch| watch.min_events).min().unwrap_or(u64::MAX);
        let watched = rules.into_iter().map(|BeaconWatch { rule, level, min_events }| Watched {
            rule: rule.into(),
            level,
            min_events,
            backlog: Backlog::new(MAX_CLOSED, spacing.capacity),
        });
        Self {
            slot_ns: spacing.slot_s.saturating_mul(NS_PER_S),
            watched: watched.collect(),
            least_events,
            spacing,
            started: false,
            now_ns: 0,
            slot: 0,
            hasher: RandomState::default(),
            table: HashTable::new(),
            entries: Vec::new(),
            hand: 0,
            changed: VecDeque::new(),
            regular: Vec::new(),
            gone: Vec::new(),
            evicted: 0,
        }
    }

    /// Hashes keys as others do; to be told before there are any.
    #[must_use]
    pub(super) fn hashing_with(mut self, hasher: RandomState) -> Self {
        self.hasher = hasher;
        self
    }

    /// Which gaps count.
    pub fn spacing(&self) -> &Spacing {
        &self.spacing
    }

    /// How many keys are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no key is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many keys lost their place to another since the last call.
    pub fn take_evicted(&mut self) -> u64 {
        mem::take(&mut self.evicted)
    }

    /// Tells the time, ns since 1970 UTC. Passing a slot's end judges it, and forgets the keys without a session in it.
    pub fn advance(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        let (from, to) = (self.slot, self.slot_of(self.now_ns));
        if !self.started {
            self.started = true;
            self.go_to(to);
        } else if to > from {
            self.close(from);
            self.go_to(to);
            let next = from.saturating_add(1);
            if to > next {
                // Nothing came in a whole slot: the rules hear once that nothing is regular any more.
                self.close(next);
            }
        }
    }

    /// The wall clock was stepped: gaps across the step mean nothing, so all is forgotten.
    pub fn restart(&mut self, now_ns: u64) {
        let lost = mem::take(&mut self.entries);
        self.forget(lost);
        self.started = true;
        self.now_ns = now_ns;
        self.go_to(self.slot_of(now_ns));
    }

    fn slot_of(&self, now_ns: u64) -> u64 {
        now_ns.checked_div(self.slot_ns).unwrap_or(0)
    }

    /// Start and end of a slot, ns.
    fn span_ns(&self, slot: u64) -> (u64, u64) {
        (slot.saturating_mul(self.slot_ns), slot.saturating_add(1).saturating_mul(self.slot_ns))
    }

    /// Judges a slot that has ended, while its keys still are there.
    fn close(&mut self, slot: u64) {
        let (start_ns, end_ns) = self.span_ns(slot);
        let keys: Vec<_> = self.watched.iter().map(|watched| self.over(watched)).collect();
        for (watched, keys) in self.watched.iter_mut().zip(keys) {
            watched.backlog.push(Closed { start_ns, end_ns, keys });
        }
    }

    /// The keys that a rule wants to hear of, with their shares.
    fn over(&self, watched: &Watched) -> Vec<OverKey> {
        let regular = self.regular.iter().filter_map(|&place| self.entries.get(place as usize));
        let wanted = regular.filter(|entry| watched.wants(entry));
        wanted.map(|entry| OverKey { key: entry.key.clone(), sum: entry.share, error: 0 }).collect()
    }

    /// Goes to a slot. Keys stay whose last session was in it or in the one before: their next gap begins there.
    fn go_to(&mut self, slot: u64) {
        self.slot = slot;
        self.take_turns();
        self.entries.retain(|entry| entry.slot <= slot && entry.slot.saturating_add(1) >= slot);
        self.settle();
    }

    /// Notes in which order keys wait to be handed over, before their places change.
    fn take_turns(&mut self) {
        for (turn, place) in mem::take(&mut self.changed).into_iter().enumerate() {
            if let Some(entry) = self.entries.get_mut(place as usize) {
                entry.turn = turn;
            }
        }
    }

    /// Numbers the places anew, after keys were taken out.
    fn settle(&mut self) {
        (self.hand, self.table, self.changed, self.regular) = (0, HashTable::new(), VecDeque::new(), Vec::new());
        self.table.reserve(self.entries.len(), |_| 0);
        let entries = &self.entries;
        let hash_of = |place: &u32| entries.get(*place as usize).map_or(0, |entry| entry.hash);
        for (place, entry) in (0_u32..).zip(entries) {
            self.table.insert_unique(entry.hash, place, hash_of);
        }
        let mut waiting: Vec<(usize, u32)> = (0_u32..)
            .zip(entries)
            .filter(|(_, entry)| entry.changed)
            .map(|(place, entry)| (entry.turn, place))
            .collect();
        waiting.sort_unstable();
        self.changed.extend(waiting.into_iter().map(|(_, place)| place));
        for place in 0..self.entries.len() {
            if let Some(entry) = self.entries.get_mut(place) {
                entry.listed = false;
            }
            self.assess(place);
        }
    }

    /// Works out how regular a key is; `true` if some rule wants to hear of it.
    fn assess(&mut self, place: usize) -> bool {
        let Some(entry) = self.entries.get_mut(place) else { return false };
        let judged = entry.slot == self.slot && entry.events > self.least_events;
        entry.share = if judged { entry.share(&self.spacing) } else { 0 };
        let wanted = self.watched.iter().any(|watched| watched.wants(entry));
        if wanted && !entry.listed {
            entry.listed = true;
            self.regular.extend(u32::try_from(place));
        }
        wanted
    }

    fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        hasher.finish()
    }

    fn place_of(&self, hash: u64, key: &[u8]) -> Option<usize> {
        let is =
            |place: &u32| self.entries.get(*place as usize).is_some_and(|entry| is_same(entry.key.as_bytes(), key));
        self.table.find(hash, is).map(|place| *place as usize)
    }

    /// Counts a session, with the bytes that its source and its destination sent.
    ///
    /// Returns whether some rule wants to hear of the key.
    pub fn add(&mut self, key: &[u8], bytes: [u64; 2]) -> bool {
        self.add_hashed((self.hash(key), key), bytes)
    }

    /// As [`Beacon::add`], of a key with its hash.
    pub(super) fn add_hashed(&mut self, (hash, key): (u64, &[u8]), bytes: [u64; 2]) -> bool {
        let Some(place) = self.place_of(hash, key) else {
            self.enter(hash, key, bytes);
            return false;
        };
        let (now_ns, slot, min_gap_s) = (self.now_ns, self.slot, self.spacing.min_gap_s);
        let Some(entry) = self.entries.get_mut(place) else { return false };
        if entry.slot != slot {
            entry.begin(slot);
        }
        if !entry.changed {
            entry.changed = true;
            self.changed.extend(u32::try_from(place));
        }
        for (sum, more) in entry.bytes.iter_mut().zip(bytes) {
            *sum = sum.saturating_add(more);
        }
        let gap_s = now_ns.saturating_sub(entry.last_ns).checked_div(NS_PER_S).unwrap_or(0);
        entry.last_ns = entry.last_ns.max(now_ns);
        if gap_s > min_gap_s {
            entry.events = entry.events.saturating_add(1);
            entry.lives = entry.lives.saturating_add(1).min(MAX_LIVES);
            entry.count_gap(gap_s);
            if entry.events > self.least_events {
                return self.assess(place);
            }
        }
        entry.listed && self.watched.iter().any(|watched| watched.wants(entry))
    }

    fn enter(&mut self, hash: u64, key: &[u8], bytes: [u64; 2]) {
        let entry = Entry {
            key: Key::new(key),
            hash,
            slot: self.slot,
            last_ns: self.now_ns,
            events: 1,
            bytes,
            counted: 0,
            gaps: Vec::new(),
            share: 0,
            lives: 0,
            handed: false,
            changed: true,
            turn: 0,
            listed: false,
        };
        let place = if self.entries.len() < self.spacing.capacity { self.push(entry) } else { self.displace(entry) };
        // A rule may ask for no more than one event; but without a gap there is no share.
        self.assess(place);
    }

    fn push(&mut self, entry: Entry) -> usize {
        let (place, hash, changed) = (self.entries.len(), entry.hash, entry.changed);
        self.entries.push(entry);
        self.index(hash, place);
        if changed {
            self.changed.extend(u32::try_from(place));
        }
        place
    }

    fn index(&mut self, hash: u64, place: usize) {
        let Ok(place) = u32::try_from(place) else { return };
        let entries = &self.entries;
        let hash_of = |place: &u32| entries.get(*place as usize).map_or(0, |entry| entry.hash);
        self.table.insert_unique(hash, place, hash_of);
    }

    /// Gives the place of the first key without a turn left to another one.
    ///
    /// Amortised O(1): a step of the hand takes a turn from a key, and a session gives one at most.
    fn displace(&mut self, mut entry: Entry) -> usize {
        while let Some(passed) = self.entries.get_mut(self.hand).filter(|entry| entry.lives > 0) {
            passed.lives = passed.lives.saturating_sub(1);
            self.step();
        }
        let place = self.hand;
        self.step();
        let hash = entry.hash;
        if let Some(old) = self.entries.get_mut(place) {
            // The place stands in the lists of the key that goes; once is enough.
            (entry.listed, entry.share) = (old.listed, 0);
            let (old_hash, waits) = (old.hash, old.changed);
            let old = mem::replace(old, entry);
            if old.handed && self.gone.len() < self.spacing.capacity {
                self.gone.push(old.key);
            }
            if let Ok(found) = self.table.find_entry(old_hash, |&known| known as usize == place) {
                found.remove();
            }
            if !waits {
                self.changed.extend(u32::try_from(place));
            }
            self.evicted = self.evicted.saturating_add(1);
        }
        self.index(hash, place);
        place
    }

    fn step(&mut self) {
        let next = self.hand.saturating_add(1);
        self.hand = if next < self.entries.len() { next } else { 0 };
    }

    /// Hands over the slots that ended since the last call, and how the open one stands: of each key the share of its
    /// most frequent gap, in percent. `counter` is the counter's position in the plan.
    pub fn judgements(&mut self, counter: usize, into: &mut Vec<Judgement>) {
        let (start_ns, now_ns) = (self.span_ns(self.slot).0, self.now_ns);
        let open: Vec<_> = self.watched.iter().map(|watched| self.over(watched)).collect();
        for (watch, (watched, keys)) in self.watched.iter_mut().zip(open).enumerate() {
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
            into.push(Judgement { counter, watch, rule, start_ns, end_ns: now_ns, closed: false, keys });
        }
    }

    /// How many keys changed, or lost their place, since they were handed over.
    pub fn pending(&self) -> usize {
        self.changed.len().saturating_add(self.gone.len())
    }

    /// Hands over at most `limit` rows: the keys that lost their place first, as they may have come back.
    pub(super) fn collect(&mut self, limit: usize, rows: &mut Vec<StateRow>) {
        let forgotten = self.gone.drain(..limit.min(self.gone.len()));
        let forgotten = forgotten.map(|key| StateRow { key, kind: Kind::Beacon, state: None, last_s: 0 });
        let before = rows.len();
        rows.extend(forgotten);
        let left = limit.saturating_sub(rows.len().saturating_sub(before));
        rows.extend(self.take(left).into_iter().map(|(key, state, last_s)| StateRow {
            key,
            kind: Kind::Beacon,
            state: Some(State::Beacon(state)),
            last_s,
        }));
    }

    /// Hands over the state of keys that changed, those that wait longest first, at most `limit` of them: the key, JSON,
    /// and the time of its last session in epoch seconds.
    ///
    /// The JSON is `{"slot": start in epoch seconds, "last_ns": t, "events": n, "bytes": [of the source, of the
    /// destination], "counted": gaps, "gaps": [[seconds, times], ...]}`; all but `last_ns` speak of the slot.
    pub fn take(&mut self, limit: usize) -> Vec<(Key, String, u64)> {
        let places = self.changed.drain(..limit.min(self.changed.len()));
        let mut states = Vec::with_capacity(places.len());
        for place in places {
            let Some(entry) = self.entries.get_mut(place as usize) else { continue };
            entry.changed = false;
            entry.handed = true;
            let last_s = entry.last_ns.checked_div(NS_PER_S).unwrap_or(0);
            states.push((entry.key.clone(), entry.json(self.spacing.slot_s), last_s));
        }
        states
    }

    /// Takes a state back from the store, before the first session; `false` if it was of no use.
    pub fn restore(&mut self, key: &[u8], state: &str) -> bool {
        let hash = self.hash(key);
        if self.entries.len() >= self.spacing.capacity || self.place_of(hash, key).is_some() {
            return false;
        }
        let Some(entry) = Entry::from_json(key, hash, self.spacing.slot_s, state) else { return false };
        let slots = self.slot.saturating_sub(1)..=self.slot;
        if self.started && !slots.contains(&entry.slot) {
            return false;
        }
        let place = self.push(entry);
        self.assess(place);
        true
    }

    /// Takes over what an equal counter of an earlier plan holds; whom a rule wants to hear of is asked anew.
    pub fn adopt(&mut self, earlier: Self) {
        (self.started, self.now_ns, self.slot) = (earlier.started, earlier.now_ns, earlier.slot);
        (self.hasher, self.entries, self.changed) = (earlier.hasher, earlier.entries, earlier.changed);
        self.take_turns();
        (self.gone, self.evicted) = (earlier.gone, earlier.evicted);
        // A smaller bound: those without a turn left go first, as with the hand.
        let over = self.entries.len().saturating_sub(self.spacing.capacity);
        if over > 0 {
            self.entries.sort_by_key(|entry| Reverse(entry.lives));
            let lost = self.entries.split_off(self.spacing.capacity);
            self.forget(lost);
            self.evicted = self.evicted.saturating_add(u64::try_from(over).unwrap_or(u64::MAX));
        }
        let mut before = earlier.watched;
        for now in &mut self.watched {
            // Each takes from one watch only: two of the same name keep their order.
            if let Some(place) = before.iter().position(|before| before.rule == now.rule) {
                now.backlog.adopt(before.remove(place).backlog);
            }
        }
        self.settle();
    }

    /// Notes keys that lost their place although the store may know them.
    fn forget(&mut self, lost: Vec<Entry>) {
        let room = self.spacing.capacity.saturating_sub(self.gone.len());
        self.gone.extend(lost.into_iter().filter(|entry| entry.handed).map(|entry| entry.key).take(room));
    }
}

#[cfg(test)]
mod tests;
