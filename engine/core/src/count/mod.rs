//! Bounded windowed counters: sums per key and slot, what changed since the last batch, and which windows are over.
//!
//! A counter holds a ring of slots; each slot is a summary of bounded size (see `slot.rs`). Once per tick the caller
//! takes [`Changes`]: a numbered batch of increments for the store, and for each rule the keys whose window is above
//! the rule's level.
//!
//! # Be advised
//!
//! * There is no clock: time is what the caller passes, and it never goes back. A time before the current slot counts
//!   into the current slot.
//! * A slot boundary is judged when time passes it, before anything is counted into the next slot, whoever tells the
//!   time. So a burst in the last moment of a slot is judged even if the tick comes later.
//! * Increments belong to a batch from the call that made it until it is acknowledged; judgements never do: they are
//!   made afresh by each call.
//! * Keys come from the wire. The hash is seeded at random for each [`Counters`], so nobody outside can make keys that
//!   collide; the bounds on memory hold for any keys.
//!
//! Beside sums, or in place of them, a counter may keep a state of each key (`state.rs`): the distinct values of a field
//! (`distinct.rs`), the intervals of its sessions (`beacon.rs`), what its messages told while it was hot (`evidence.rs`).
//! A state that changed is handed over whole, in the same numbered batches. Batches are made in steps (`draft.rs`).
//!
//! To add something to a place in a slot, touch `Hot` or `Cold`, `enter`, `restore` and `reassess` in `slot.rs`.

mod batch;
mod beacon;
mod counter;
mod distinct;
mod draft;
mod evidence;
mod key;
mod slot;
mod state;
mod table;
mod window;

use std::hash::{BuildHasher, Hasher};
use std::mem;
use std::sync::Arc;

use foldhash::quality::RandomState;

pub use batch::{CounterRows, Row};
pub use beacon::{Beacon, BeaconWatch, Spacing};
pub use counter::{Definition, Pinned, Spec};
pub use distinct::{VALUES_PER_COUNTER, VALUES_PER_KEY};
pub use draft::{Draft, Next};
pub use evidence::Evidence;
pub use key::{INLINE_BYTES, Key, is_same};
pub use state::{CounterStates, Kind, State, StateRow, Values};
pub use window::{Judgement, Level, OverKey, Watch};

use crate::session::Session;
#[cfg(test)]
use crate::survive::bugs;
use crate::survive::survive;
use counter::{Counter, Retired};

/// What [`Counters::changes`] hands over.
#[derive(Debug)]
pub struct Changes {
    /// Number of the batch; for [`Counters::ack`].
    pub seq: u64,
    /// The time these are told for, ns since 1970 UTC: never before that of an earlier call.
    pub now_ns: u64,
    /// The rows were handed over before, under the same number, and not acknowledged.
    pub repeated: bool,
    /// The rows of the batch, by counter; counters without any are left out. At most `rows_per_batch` rows together.
    pub rows: Arc<[CounterRows]>,
    /// The states of the batch, by counter; counters without any are left out. Together with the rows at most
    /// `rows_per_batch`.
    pub states: Arc<[CounterStates]>,
    /// How each watch stands, in the order of time: the windows closed since the last call, and the open one of every
    /// watch.
    pub judgements: Vec<Judgement>,
    /// Keys that lost their place since the last call, per counter of the plan.
    pub evicted: Vec<u64>,
    /// Rows and states that wait for a later batch.
    pub carried: usize,
    /// Counters that panicked while they were judged or collected: of such a one windows may lack, and what it was about
    /// to hand over.
    pub panics: u64,
}

/// What is handed over until it is acknowledged.
#[derive(Clone)]
struct Batch {
    rows: Arc<[CounterRows]>,
    states: Arc<[CounterStates]>,
}

/// A set of counters, by position in the plan.
///
/// # Limits
///
/// Per counter: `capacity` keys in each of the ring's slots, as many pending rows of slots that have left it (see
/// `batch.rs` for what happens to more) and the same of folded ones; closed windows of twice the ring (see `window.rs`).
/// Together: one batch of `rows_per_batch` rows and states. A counter of distinct values: see [`VALUES_PER_KEY`] and
/// [`VALUES_PER_COUNTER`]; of regular intervals: see [`Beacon`]; with evidence: see [`Evidence`].
pub struct Counters {
    plan: Vec<Counter>,
    /// Counters that a new plan no longer has, while rows of them are pending.
    retired: Vec<Retired>,
    hasher: RandomState,
    rows_per_batch: usize,
    /// The batch that was handed over and not acknowledged.
    outstanding: Option<Batch>,
    /// Its number, or else the next one.
    seq: u64,
    started: bool,
    now_ns: u64,
    /// The first slot boundary to come of any counter.
    boundary_ns: u64,
}

impl Counters {
    /// Empty counters.
    ///
    /// `rows_per_batch` is the most rows and states of a batch, over all counters (0 is read as 1); `first_seq` the number of the
    /// first batch.
    pub fn new(specs: Vec<Spec>, rows_per_batch: usize, first_seq: u64) -> Self {
        let hasher = RandomState::default();
        Self {
            plan: specs.into_iter().map(|spec| Counter::new(spec, hasher)).collect(),
            retired: Vec::new(),
            hasher,
            rows_per_batch: rows_per_batch.max(1),
            outstanding: None,
            seq: first_seq,
            started: false,
            now_ns: 0,
            boundary_ns: 0,
        }
    }

    /// How many counters the plan has.
    pub fn len(&self) -> usize {
        self.plan.len()
    }

    /// Whether the plan has no counter.
    pub fn is_empty(&self) -> bool {
        self.plan.is_empty()
    }

    /// The definition of a counter.
    pub fn definition(&self, counter: usize) -> Option<&Definition> {
        self.plan.get(counter).map(Counter::definition)
    }

    /// How many keys, over all slots, and waiting rows a counter holds in memory; 0 for an unknown one.
    pub fn held(&self, counter: usize) -> usize {
        self.plan.get(counter).map_or(0, Counter::held)
    }

    /// Tells the time, ns since 1970 UTC: called once per received batch, before its messages are counted.
    ///
    /// Passing a slot boundary judges the windows that end there. Costs one compare otherwise.
    pub fn advance(&mut self, now_ns: u64) {
        #[cfg(test)]
        bugs::reach("advance");
        self.now_ns = self.now_ns.max(now_ns);
        if self.started && self.now_ns < self.boundary_ns {
            return;
        }
        self.started = true;
        let now_ns = self.now_ns;
        let boundaries = self.plan.iter_mut().map(|counter| counter.advance(now_ns));
        self.boundary_ns = boundaries.min().unwrap_or(u64::MAX);
    }

    /// Starts the time anew, also at an earlier one: the wall clock was stepped, so windows across the step mean nothing.
    ///
    /// Every open slot ends as it is; what is pending of it is still handed over.
    pub fn restart(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
        let boundaries = self.plan.iter_mut().map(|counter| counter.restart(now_ns));
        self.boundary_ns = boundaries.min().unwrap_or(u64::MAX);
    }

    /// Counts a message: adds `weight` to the key's sum in the current slot.
    ///
    /// A known key costs one hash and one probe, and no allocation. An unknown counter is ignored. The empty key is
    /// reserved: its messages go straight to the row without a key, and are not judged.
    ///
    /// Returns whether the key is hot: its sum makes it a candidate for judging, and its messages may be worth
    /// [`Counters::note`].
    #[inline]
    pub fn add(&mut self, counter: usize, key: &[u8], weight: u64) -> bool {
        self.add_hashed(counter, (self.hash(key), key), weight)
    }

    /// As [`Counters::add`], for a key with its [`Counters::hash`], which is that of all counters; so are the others of
    /// that name.
    #[inline]
    pub fn add_hashed(&mut self, counter: usize, (hash, key): (u64, &[u8]), weight: u64) -> bool {
        self.plan.get_mut(counter).is_some_and(|counter| counter.add(hash, key, weight))
    }

    /// As [`Counters::add`], for a message that stands for `weight` others by its own account.
    ///
    /// Anybody can forge one such message for any key. So that a flood of them does not fill the places for evidence,
    /// a key is not hot by its first message in the ring, unless that counts for no more than itself.
    pub fn add_claim(&mut self, counter: usize, key: &[u8], weight: u64) -> bool {
        self.add_claim_hashed(counter, (self.hash(key), key), weight)
    }

    /// As [`Counters::add_claim`].
    #[inline]
    pub fn add_claim_hashed(&mut self, counter: usize, (hash, key): (u64, &[u8]), weight: u64) -> bool {
        self.plan.get_mut(counter).is_some_and(|counter| counter.add_claim(hash, key, weight))
    }

    /// Counts a message with a value, for a counter of distinct values; other counters ignore it, as well as the empty
    /// key. Returns whether the key is hot, as [`Counters::add`].
    pub fn add_value(&mut self, counter: usize, key: &[u8], value: &[u8]) -> bool {
        self.add_value_hashed(counter, (self.hash(key), key), value)
    }

    /// As [`Counters::add_value`].
    #[inline(never)]
    pub fn add_value_hashed(&mut self, counter: usize, key: (u64, &[u8]), value: &[u8]) -> bool {
        let tag = self.hash(value);
        self.plan.get_mut(counter).is_some_and(|counter| counter.add_value(key, (tag, value)))
    }

    /// Counts a session, with the bytes of its source and its destination, for a counter of regular intervals; other
    /// counters ignore it, as well as the empty key. Returns whether the key is hot: some rule wants to hear of it.
    pub fn add_session(&mut self, counter: usize, key: &[u8], bytes: [u64; 2]) -> bool {
        self.add_session_hashed(counter, (self.hash(key), key), bytes)
    }

    /// As [`Counters::add_session`].
    #[inline(never)]
    pub fn add_session_hashed(&mut self, counter: usize, key: (u64, &[u8]), bytes: [u64; 2]) -> bool {
        let now_ns = self.now_ns;
        self.plan.get_mut(counter).is_some_and(|counter| counter.add_session(key, bytes, now_ns))
    }

    /// Keeps what a hot key's message tells, if the counter keeps evidence: the session, the name of the device that
    /// sent it, its raw text. The key comes with its [`Counters::hash`].
    #[inline(never)]
    pub fn note(&mut self, counter: usize, key: (u64, &[u8]), session: &Session<'_>, device: &[u8], message: &[u8]) {
        let now_ns = self.now_ns;
        if let Some(counter) = self.plan.get_mut(counter) {
            counter.note(key, session, device, message, now_ns);
        }
    }

    /// The hash of a key, or of a value, in all counters.
    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        hash_of(self.hasher, bytes)
    }

    /// Takes back what the store holds for a key and slot: sums, not increments. At start only, before the first
    /// [`Counters::add`]; nothing of it is handed over again.
    ///
    /// Slots may come in any order. If there may be more keys than the capacity, those with the most messages should
    /// come first: the largest stay in any case, but each that is displaced costs a search.
    ///
    /// Returns `false` if it was left out: the counter is unknown, the slot is outside the ring, or the slot is full
    /// of larger keys. Before the first [`Counters::advance`] the ring is not known: then all slots are kept, and those
    /// outside the ring are dropped by that call. The row with the empty key is accepted and not kept.
    pub fn restore(
        &mut self,
        counter: usize,
        slot_start_s: u64,
        key: &[u8],
        count: u64,
        messages: u64,
        error: u64,
    ) -> bool {
        let hash = self.hash(key);
        let row = counter::stored_row(slot_start_s, key, count, messages, error);
        self.plan.get_mut(counter).is_some_and(|counter| counter.restore(hash, &row))
    }

    /// Takes back what the store holds of a key's state, as [`Counters::restore`] does with sums.
    ///
    /// Returns `false` if it was left out: the counter is unknown or keeps no such state, nothing of it is in the ring,
    /// or the counter is full of larger keys.
    pub fn restore_state(&mut self, counter: usize, key: &[u8], state: &State) -> bool {
        let (hash, hasher) = (self.hash(key), self.hasher);
        let counter = self.plan.get_mut(counter);
        counter.is_some_and(|counter| counter.restore_state(hash, key, state, |value| hash_of(hasher, value)))
    }

    /// The changes since the last call, at the time `now_ns` (which is told as by [`Counters::advance`]).
    ///
    /// If the last batch was not acknowledged, its rows are handed over again, and increments since then wait. A new
    /// batch takes the pending rows with the largest counts, and the states that wait for the longest time, together
    /// `rows_per_batch` of them; the rest is carried. Every number that was added is in exactly one row of one batch.
    ///
    /// All at once; [`Counters::begin`] does the same in steps.
    pub fn changes(&mut self, now_ns: u64) -> Changes {
        let (mut changes, draft) = self.begin(now_ns);
        if let Some(mut draft) = draft {
            loop {
                match draft.next() {
                    Next::Proceed => self.proceed(&mut draft),
                    Next::Work => draft.work(),
                    Next::Seal => break,
                }
            }
            self.seal(draft, &mut changes);
        }
        changes
    }

    /// The first step of [`Counters::changes`]: every window is judged, and what fits into a batch is collected.
    ///
    /// The batch is new where a draft comes back: that has to be completed, and [`Counters::seal`] to be called with it,
    /// before another batch or plan. Messages may be counted meanwhile.
    pub fn begin(&mut self, now_ns: u64) -> (Changes, Option<Draft>) {
        let mut panics = 0;
        survive(&mut panics, || self.advance(now_ns));
        let mut judgements = Vec::new();
        for (number, counter) in self.plan.iter_mut().enumerate() {
            survive(&mut panics, || counter.judgements(number, self.now_ns, &mut judgements));
        }
        // Stable: each watch's windows are in the order of time already, and the open one comes last.
        judgements.sort_by_key(|judgement| (judgement.end_ns, !judgement.closed));
        let evicted = self.plan.iter_mut().map(Counter::take_evicted).collect();
        let repeated = self.outstanding.is_some();
        let draft = if repeated { None } else { Some(self.draft(&mut panics)) };
        let Batch { rows, states } =
            self.outstanding.clone().unwrap_or_else(|| Batch { rows: [].into(), states: [].into() });
        let carried = self.carried();
        let (seq, now_ns) = (self.seq, self.now_ns);
        (Changes { seq, now_ns, repeated, rows, states, judgements, evicted, carried, panics }, draft)
    }

    /// The next step of a draft, see [`Next`].
    pub fn proceed(&mut self, draft: &mut Draft) {
        draft.proceed(self);
    }

    /// Makes a complete draft the batch that is handed over until it is acknowledged, and puts it into its changes.
    pub fn seal(&mut self, draft: Draft, changes: &mut Changes) {
        let Draft { rows, states, .. } = draft;
        let batch = Batch { rows: rows.into(), states: states.into() };
        (changes.rows, changes.states) = (Arc::clone(&batch.rows), Arc::clone(&batch.states));
        self.retired.retain(|retired| retired.departed.len() > 0);
        self.outstanding = Some(batch);
        changes.carried = self.carried();
    }

    /// Rows and states that wait.
    fn carried(&self) -> usize {
        self.plan.iter().map(Counter::pending_states).fold(self.pending_rows(), usize::saturating_add)
    }

    /// Tells that a batch is committed; the next [`Counters::changes`] makes a new one.
    ///
    /// Returns `false`, and does nothing, if `seq` is not the number of the outstanding batch.
    pub fn ack(&mut self, seq: u64) -> bool {
        let right = seq == self.seq && self.outstanding.is_some();
        if right {
            self.outstanding = None;
            self.seq = self.seq.wrapping_add(1);
        }
        right
    }

    /// A new plan.
    ///
    /// Counters with equal name, fingerprint and slot length keep their contents: a longer ring grows (its earlier
    /// slots are missing until they have passed), a shorter one hands over the slots it loses, and a changed capacity
    /// applies from the next slot on. Watches are replaced, and the keys held are seen in their light at once; closed
    /// windows not handed over stay with a rule of the same name and window, as they were judged. What is pending of
    /// counters that the plan no longer has is still handed over, under its own name and fingerprint, and so is the
    /// outstanding batch. States that were not handed over end with their counter.
    ///
    /// # Limits
    ///
    /// A counter that is gone holds at most twice its capacity of rows until they are handed over.
    pub fn replan(&mut self, specs: Vec<Spec>) {
        let mut earlier = mem::take(&mut self.plan);
        let mut retired = mem::take(&mut self.retired);
        for spec in specs {
            let mut counter = Counter::new(spec, self.hasher);
            if let Some(place) = earlier.iter().position(|earlier| earlier.is_same(&counter)) {
                counter.adopt(earlier.swap_remove(place));
            } else if self.started {
                counter.advance(self.now_ns);
            }
            retired = retired.into_iter().filter_map(|retired| counter.adopt_rows(retired).err()).collect();
            self.plan.push(counter);
        }
        retired.extend(earlier.into_iter().map(Counter::retire));
        retired.retain(|retired| retired.departed.len() > 0);
        self.retired = retired;
        // Slots of new lengths have other boundaries.
        self.boundary_ns = 0;
    }

    /// Whether the plan has the counter that these rows are of.
    pub fn has(&self, rows: &CounterRows) -> bool {
        self.plan.iter().any(|counter| {
            let definition = counter.definition();
            (&definition.name, &definition.fingerprint, definition.slot_s)
                == (&rows.counter, &rows.fingerprint, rows.slot_s)
        })
    }

    fn pending_rows(&self) -> usize {
        let retired = self.retired.iter().map(|retired| retired.departed.len());
        self.plan.iter().map(Counter::pending_rows).chain(retired).fold(0, usize::saturating_add)
    }

    /// Begins a new batch.
    ///
    /// Rows and states may each take what the others leave; half of a batch is theirs in any case.
    fn draft(&mut self, panics: &mut u64) -> Draft {
        let pending: Vec<usize> = self.plan.iter().map(Counter::pending_states).collect();
        let left = self.rows_per_batch.saturating_sub(self.pending_rows()).max(self.rows_per_batch >> 1);
        let shares = state::shares(&pending, left);
        let room = self.rows_per_batch.saturating_sub(shares.iter().sum());
        Draft::begin(self, shares, room, panics)
    }
}

#[inline]
fn hash_of(hasher: RandomState, bytes: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests;
