//! The engine: one way from bytes to counters.
//!
//! Messages come in batches (datagrams, or chunks of a stream), each with the wall time at which it was received. What was
//! counted goes out in numbered batches. Nothing that a peer sends makes a call fail: a message ends in one [`Outcome`],
//! also when reading it panics.

use crate::count::Counters;
use crate::frame::{self, Ended, Framer, Room};
use crate::key::{self, Part};
use crate::plan::Problem;
use crate::profile::{Profiles, Reading, Scratch, Surroundings, Wanted};
use crate::session::{Field, Session};
use crate::setup::{Bounds, Listener, Measure, Plan, site_number};
use crate::value::ip::Networks;
use crate::{header, record};
use serde_json::Value as Json;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

macro_rules! outcomes {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        /// What became of a message: a closed list, so that received messages equal the sum over it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Outcome { $($(#[$doc])* $name),* }

        /// The names of the outcomes, in the order of [`Outcome`].
        pub const OUTCOMES: &[&str] = &[$($text),*];

        const OUTCOMES_IN_ORDER: &[Outcome] = &[$(Outcome::$name),*];
    };
}

outcomes! {
    /// One or more sessions were read.
    Session = "session",
    /// Understood, but it tells of no session.
    Event = "event",
    /// No profile knows it, or its profile can't read it.
    Unparsed = "unparsed",
    /// Nothing in it.
    Empty = "empty",
    /// Over the bound on a message's length; dropped whole.
    TooLong = "too_long",
    /// A stream's frame that doesn't keep RFC 6587; dropped up to the next sound one.
    BadFrame = "bad_frame",
    /// The stream ended inside an octet-counted frame.
    Unfinished = "unfinished",
    /// The bound on unfinished frames of all streams was reached.
    NoMemory = "no_memory",
    /// Reading it panicked: a bug of ours, survived.
    Panic = "panic",
}

impl Outcome {
    /// Its name in the ledger.
    pub fn name(self) -> &'static str {
        OUTCOMES.get(self as usize).copied().unwrap_or("")
    }
}

/// (listener, outcome, messages, bytes): increments of the ledger.
pub type LedgerLine = (usize, Outcome, u64, u64);

/// Messages and bytes per outcome.
type Tally = [(u64, u64); OUTCOMES.len()];

/// One stream.
struct Stream {
    listener: usize,
    framer: Framer,
}

/// Profiles, counters and streams at work.
pub struct Engine {
    /// Profiles that read what the counters want.
    lean: Profiles,
    /// Profiles that read everything, for people.
    full: Profiles,
    internal: Networks,
    bounds: Bounds,
    listeners: Vec<Listener>,
    sites: Vec<String>,
    measures: Vec<Measure>,
    /// Key fields by counter fingerprint, also of counters that an earlier plan had.
    group_by: HashMap<String, Vec<Field>>,
    counters: Counters,
    streams: HashMap<u64, Stream>,
    next_stream: u64,
    room: Room,
    ledger: Vec<Tally>,
    /// The ledger of the batch that is not acknowledged yet.
    sent_ledger: Option<(u64, Vec<LedgerLine>)>,
}

/// What changed since the last acknowledged batch, and how the rules' windows stand.
#[derive(Debug)]
pub struct Changes {
    /// Number of the batch.
    pub seq: u64,
    /// Increments per counter, by name.
    pub rows: Vec<(String, Vec<Row>)>,
    /// What became of messages, per listener.
    pub ledger: Vec<LedgerLine>,
    /// Judged windows in the order of time.
    pub windows: Vec<Window>,
    /// Evictions per counter since the last call.
    pub evicted: Vec<(String, u64)>,
    /// Sessions per counter without an address or port of its key, since the last call.
    pub without_key: Vec<(String, u64)>,
    /// Rows that come with the next batch.
    pub carried: usize,
}

/// What one key of a counter gained in one slot.
#[derive(Debug)]
pub struct Row {
    /// Start of the slot, epoch seconds.
    pub slot_start_s: u64,
    /// Site and key; None: counted under keys that were evicted meanwhile.
    pub key: Option<(String, Vec<Part>)>,
    /// Gain in the sum of weights.
    pub count: u64,
    /// Gain in messages.
    pub messages: u64,
    /// Most messages that the key may have had before it got its place.
    pub error: u64,
}

/// A rule's window at one instant.
#[derive(Debug)]
pub struct Window {
    /// The rule.
    pub rule: String,
    /// Start, wall ns.
    pub start_ns: u64,
    /// End, wall ns.
    pub end_ns: u64,
    /// False: still open.
    pub closed: bool,
    /// Site, key, sum, error of each key over the rule's level.
    pub keys: Vec<(String, Vec<Part>, u64, u64)>,
}

impl Engine {
    /// An engine for a plan (its JSON is told in the Python stub of the binding).
    ///
    /// # Errors
    /// Everything that is wrong in the plan, at once.
    pub fn new(plan: &Json) -> Result<Self, Vec<Problem>> {
        let plan = Plan::read(plan, Vec::new())?;
        let counters = Counters::new(plan.counters, plan.bounds.rows_per_batch, 1);
        let ledger = vec![Tally::default(); plan.listeners.len()];
        Ok(Self {
            lean: Profiles::new(&plan.specs, plan.wanted),
            full: Profiles::new(&plan.specs, Wanted::ALL),
            internal: plan.internal,
            bounds: plan.bounds,
            listeners: plan.listeners,
            sites: plan.sites,
            group_by: key_fields(&plan.measures),
            measures: plan.measures,
            counters,
            streams: HashMap::new(),
            next_stream: 0,
            room: Room::new(plan.bounds.unfinished_bytes),
            ledger,
            sent_ledger: None,
        })
    }

    /// Takes up another plan; counters whose definition is the same keep what they hold, streams stay.
    ///
    /// Listeners keep their numbers, so a plan may only add to them.
    ///
    /// # Errors
    /// As [`Engine::new`]; the engine goes on with the old plan then.
    pub fn replan(&mut self, plan: &Json) -> Result<(), Vec<Problem>> {
        let plan = Plan::read(plan, self.sites.clone())?;
        if plan.listeners.len() < self.listeners.len() {
            let reason = format!("{} listeners, but {} are at work", plan.listeners.len(), self.listeners.len());
            return Err(vec![Problem { path: "listeners".into(), reason }]);
        }
        self.lean = Profiles::new(&plan.specs, plan.wanted);
        self.full = Profiles::new(&plan.specs, Wanted::ALL);
        self.internal = plan.internal;
        self.bounds = plan.bounds;
        self.ledger.resize(plan.listeners.len(), Tally::default());
        self.listeners = plan.listeners;
        self.sites = plan.sites;
        self.group_by.extend(key_fields(&plan.measures));
        self.measures = plan.measures;
        self.counters.replan(plan.counters);
        Ok(())
    }

    /// Reads and counts datagrams, one message each, received by `listener` at `now_ns`.
    pub fn datagrams<'m>(&mut self, listener: usize, datagrams: impl IntoIterator<Item = &'m [u8]>, now_ns: u64) {
        let Self { lean, internal, bounds, listeners, measures, counters, ledger, .. } = self;
        counters.advance(now_ns);
        let (Some(Listener { site }), Some(tally)) = (listeners.get(listener), ledger.get_mut(listener)) else {
            return;
        };
        let mut counting = Counting::new(lean, internal, *bounds, *site, measures, counters, tally);
        let mut page = Page::default();
        for datagram in datagrams {
            counting.message(datagram, &mut page);
        }
    }

    /// A stream starts; returns its number.
    pub fn connect(&mut self, listener: usize) -> u64 {
        let number = self.next_stream;
        self.next_stream = number.wrapping_add(1);
        self.streams.insert(number, Stream { listener, framer: Framer::new(self.bounds.message_bytes) });
        number
    }

    /// The next bytes of a stream, received at `now_ns`; returns how many frames they ended. A stream that is not known
    /// (any more) is passed over.
    pub fn feed(&mut self, stream: u64, bytes: &[u8], now_ns: u64) -> u64 {
        let Self { lean, internal, bounds, listeners, measures, counters, ledger, streams, room, .. } = self;
        let Some(Stream { listener, framer }) = streams.get_mut(&stream) else { return 0 };
        counters.advance(now_ns);
        let (Some(Listener { site }), Some(tally)) = (listeners.get(*listener), ledger.get_mut(*listener)) else {
            return 0;
        };
        let mut counting = Counting::new(lean, internal, *bounds, *site, measures, counters, tally);
        let mut page = Page::default();
        let mut ended = 0_u64;
        framer.feed(bytes, room, |frame| {
            ended = ended.saturating_add(1);
            counting.ended(frame, &mut page);
        });
        ended
    }

    /// The stream ended: what was unfinished gets its outcome; returns how many frames that were.
    pub fn disconnect(&mut self, stream: u64, now_ns: u64) -> u64 {
        let Self { lean, internal, bounds, listeners, measures, counters, ledger, streams, room, .. } = self;
        let Some(Stream { listener, mut framer }) = streams.remove(&stream) else { return 0 };
        counters.advance(now_ns);
        let (Some(Listener { site }), Some(tally)) = (listeners.get(listener), ledger.get_mut(listener)) else {
            return 0;
        };
        let mut counting = Counting::new(lean, internal, *bounds, *site, measures, counters, tally);
        let mut page = Page::default();
        let mut ended = 0_u64;
        framer.finish(room, |frame| {
            ended = ended.saturating_add(1);
            counting.ended(frame, &mut page);
        });
        ended
    }

    /// What was counted since the last acknowledged batch, as of `now_ns`; judges every window on the way.
    pub fn changes(&mut self, now_ns: u64) -> Changes {
        let counted = self.counters.changes(now_ns);
        let ledger = match &self.sent_ledger {
            Some((seq, sent)) if *seq == counted.seq => sent.clone(),
            _ => {
                let taken = self.take_ledger();
                self.sent_ledger = Some((counted.seq, taken.clone()));
                taken
            }
        };
        let decode = |group_by: &[Field], key: &[u8]| {
            let (site, parts) = key::decode(group_by, key)?;
            Some((self.sites.get(usize::from(site))?.clone(), parts))
        };
        let rows = counted.rows.iter().map(|of_counter| {
            // A batch made just before a new plan still speaks of counters of the old one.
            let group_by = self.group_by.get(&of_counter.fingerprint).map_or(&[][..], Vec::as_slice);
            let rows = of_counter.rows.iter().map(|row| Row {
                slot_start_s: row.slot_start_s,
                key: decode(group_by, row.key.as_bytes()),
                count: row.count,
                messages: row.messages,
                error: row.error,
            });
            (of_counter.counter.clone(), rows.collect())
        });
        let windows = counted.judgements.iter().map(|judgement| {
            let group_by = self.measures.get(judgement.counter).map_or(&[][..], |m| &m.group_by);
            let keys = judgement.keys.iter().filter_map(|over| {
                let (site, parts) = decode(group_by, over.key.as_bytes())?;
                Some((site, parts, over.sum, over.error))
            });
            Window {
                rule: judgement.rule.to_string(),
                start_ns: judgement.start_ns,
                end_ns: judgement.end_ns,
                closed: judgement.closed,
                keys: keys.collect(),
            }
        });
        let rows = rows.collect();
        let windows = windows.collect();
        let names = |values: Vec<u64>| {
            self.measures.iter().map(|m| m.name.clone()).zip(values).filter(|(_, value)| *value > 0).collect()
        };
        let evicted = names(counted.evicted);
        let without_key = names(self.measures.iter().map(|m| m.without_key).collect());
        for measure in &mut self.measures {
            measure.without_key = 0;
        }
        Changes { seq: counted.seq, rows, ledger, windows, evicted, without_key, carried: counted.carried }
    }

    fn take_ledger(&mut self) -> Vec<LedgerLine> {
        let mut taken = Vec::new();
        for (listener, tally) in self.ledger.iter_mut().enumerate() {
            for (outcome, (messages, bytes)) in OUTCOMES_IN_ORDER.iter().zip(tally.iter_mut()) {
                if *messages > 0 {
                    taken.push((listener, *outcome, *messages, *bytes));
                    (*messages, *bytes) = (0, 0);
                }
            }
        }
        taken
    }

    /// The batch is stored: it is not handed over again.
    pub fn ack(&mut self, seq: u64) {
        self.counters.ack(seq);
        self.sent_ledger.take_if(|(sent, _)| *sent == seq);
    }

    /// The wall clock was stepped: every open slot ends where it is and counting starts anew at `now_ns`.
    pub fn restart_windows(&mut self, now_ns: u64) {
        self.counters.restart(now_ns);
    }

    /// Gives a counter back what the store holds of it, before the first message; returns whether the row was of use.
    pub fn restore(&mut self, counter: &str, row: &Row) -> bool {
        let Some((site, parts)) = &row.key else { return false };
        let Some(number) = self.measures.iter().position(|m| m.name == counter) else { return false };
        let Some(site) = site_number(&mut self.sites, site) else { return false };
        let Some(measure) = self.measures.get(number) else { return false };
        key::encode_parts(site, &measure.group_by, parts).is_some_and(|key| {
            self.counters.restore(number, row.slot_start_s, &key, row.count, row.messages, row.error)
        })
    }

    /// Everything about one message, for people.
    pub fn parse(&self, message: &[u8], peer: Option<&str>) -> Json {
        let mut page = Page::default();
        let (message, outcome) = trimmed(message, self.bounds.message_bytes);
        let header = header::read(message);
        if let Some(outcome) = outcome {
            return record::answer(outcome.name(), None, &header, &[]);
        }
        let Some(profile) = self.full.detect(header.content) else {
            return record::answer(Outcome::Unparsed.name(), None, &header, &[]);
        };
        let surroundings = Surroundings { internal: &self.internal, event_count: self.bounds.event_count };
        let reading = self.full.read(profile, header.content, &mut page.scratch, &mut page.session, &surroundings);
        let sessions = match reading {
            Reading::Session => vec![record::session(&page.session, profile, &header, peer)],
            Reading::Event | Reading::Unparsed => Vec::new(),
        };
        record::answer(outcome_of(reading).name(), Some(profile), &header, &sessions)
    }
}

fn key_fields(measures: &[Measure]) -> HashMap<String, Vec<Field>> {
    measures.iter().map(|measure| (measure.fingerprint.clone(), measure.group_by.clone())).collect()
}

/// Room for one message after the other of a batch.
#[derive(Default)]
struct Page<'m> {
    scratch: Scratch<'m>,
    session: Session<'m>,
}

/// The parts of an engine that a batch of messages of one listener touches.
struct Counting<'e> {
    lean: &'e Profiles,
    surroundings: Surroundings<'e>,
    message_bytes: usize,
    site: u16,
    measures: &'e mut [Measure],
    counters: &'e mut Counters,
    tally: &'e mut Tally,
    key: Vec<u8>,
}

impl<'e> Counting<'e> {
    fn new(
        lean: &'e Profiles,
        internal: &'e Networks,
        bounds: Bounds,
        site: u16,
        measures: &'e mut [Measure],
        counters: &'e mut Counters,
        tally: &'e mut Tally,
    ) -> Self {
        let surroundings = Surroundings { internal, event_count: bounds.event_count };
        Self {
            lean,
            surroundings,
            message_bytes: bounds.message_bytes,
            site,
            measures,
            counters,
            tally,
            key: Vec::new(),
        }
    }

    fn ended<'m>(&mut self, ended: Ended<'m>, page: &mut Page<'m>)
    where
        'e: 'm,
    {
        match ended {
            Ended::Frame(message) => self.message(message, page),
            Ended::Dropped(reason, bytes) => {
                let outcome = match reason {
                    frame::Drop::TooLong => Outcome::TooLong,
                    frame::Drop::BadFrame => Outcome::BadFrame,
                    frame::Drop::Unfinished => Outcome::Unfinished,
                    frame::Drop::NoMemory => Outcome::NoMemory,
                };
                self.note(outcome, bytes);
            }
        }
    }

    fn message<'m>(&mut self, message: &'m [u8], page: &mut Page<'m>)
    where
        'e: 'm,
    {
        let (trimmed, early) = trimmed(message, self.message_bytes);
        // A panic is a bug; it costs the message that found it, not the daemon. The page is emptied for each message, and
        // a counter that was left half-way is off by one message at most.
        let outcome = early
            .unwrap_or_else(|| catch_unwind(AssertUnwindSafe(|| self.read(trimmed, page))).unwrap_or(Outcome::Panic));
        self.note(outcome, message.len() as u64);
    }

    fn read<'m>(&mut self, message: &'m [u8], page: &mut Page<'m>) -> Outcome
    where
        'e: 'm,
    {
        let header = header::read(message);
        let lean = self.lean;
        let Some(profile) = lean.detect(header.content) else { return Outcome::Unparsed };
        page.session.clear();
        let reading = lean.read(profile, header.content, &mut page.scratch, &mut page.session, &self.surroundings);
        if reading == Reading::Session && page.session.is_counted() {
            self.count(&page.session);
        }
        outcome_of(reading)
    }

    fn count(&mut self, session: &Session<'_>) {
        for (number, measure) in self.measures.iter_mut().enumerate() {
            if !measure.condition.fits(session) {
                continue;
            }
            if key::encode(self.site, &measure.group_by, session, &mut self.key) {
                let weight = if measure.by_event_count { session.number(Field::EventCount).unwrap_or(1) } else { 1 };
                self.counters.add(number, &self.key, weight);
            } else {
                measure.without_key = measure.without_key.saturating_add(1);
            }
        }
    }

    fn note(&mut self, outcome: Outcome, bytes: u64) {
        if let Some((messages, sum)) = self.tally.get_mut(outcome as usize) {
            *messages = messages.saturating_add(1);
            *sum = sum.saturating_add(bytes);
        }
    }
}

fn outcome_of(reading: Reading) -> Outcome {
    match reading {
        Reading::Session => Outcome::Session,
        Reading::Event => Outcome::Event,
        Reading::Unparsed => Outcome::Unparsed,
    }
}

/// The message without the line ends and NULs that some senders leave at its end; an outcome where nothing is to be read.
fn trimmed(message: &[u8], message_bytes: usize) -> (&[u8], Option<Outcome>) {
    let mut text = message;
    while let Some((b'\n' | b'\r' | 0, rest)) = text.split_last() {
        text = rest;
    }
    let early = if text.is_empty() {
        Some(Outcome::Empty)
    } else if text.len() > message_bytes {
        Some(Outcome::TooLong)
    } else {
        None
    };
    (text, early)
}
