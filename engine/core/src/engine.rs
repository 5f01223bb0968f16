//! The engine: one way from bytes to counters.
//!
//! Messages come in batches (datagrams, or chunks of a stream), each with the wall time at which it was received. What was
//! counted goes out in numbered batches. Nothing that a peer sends makes a call fail: a message ends in one [`Outcome`],
//! also when reading it panics, or what is done around that. A panic elsewhere costs the step that it is in, see
//! [`Engine::panics`].

use crate::condition::Tests;
use crate::connections::Connections;
use crate::count::Counters;
use crate::device::{Devices, Sighting};
use crate::frame::{Framer, Room};
use crate::key::{self, Keys};
use crate::lines::Sender;
use crate::outcome::OUTCOMES_IN_ORDER;
use crate::plan::Problem;
use crate::profile::{Profiles, Wanted};
use crate::quarantine::{Group, Quarantine};
use crate::rate::Rates;
use crate::sent::Sent;
use crate::session::{FieldSet, Orientation, Session};
use crate::setup::{Bounds, KnownDevices, Listener, Measure, Plan, site_number};
use crate::states::{self, Shape, StateRow};
#[cfg(test)]
use crate::survive::bugs;
use crate::survive::survive;
use crate::unmapped::{UnmappedWord, UnmappedWords};
use crate::value::Form;
use crate::value::ip::{Ip, Networks};
use crate::{header, record};
use serde_json::Value as Json;
use std::collections::HashMap;
use std::sync::Arc;

mod desk;
#[cfg(test)]
mod tests;

use desk::{Desk, Page, outcome_of, trimmed};

pub use crate::handover::{Batch, Changes, Handover, Row, Rows, Window};
pub use crate::outcome::{OUTCOMES, Outcome};

/// (listener, outcome, messages, bytes): increments of the ledger.
pub type LedgerLine = (usize, Outcome, u64, u64);

/// Messages and bytes per outcome.
type Tally = [(u64, u64); OUTCOMES.len()];

/// Where a message came in, and from whom.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// Number of the listener.
    pub listener: usize,
    /// The peer's address, where the listener knows it.
    pub peer: Option<Ip>,
}

/// One stream.
struct Stream {
    origin: Origin,
    framer: Framer,
    /// What the peer proved to be called; see [`Engine::connect_named`].
    name: Option<Box<[u8]>>,
}

/// What a batch hands over beside counters, kept until it is acknowledged.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// What became of messages, per listener.
    pub ledger: Vec<LedgerLine>,
    /// What was seen of devices.
    pub devices: Vec<Sighting>,
    /// What could not be read.
    pub quarantine: Vec<Group>,
    /// Unread messages that the quarantine had no place for.
    pub not_quarantined: u64,
    /// Vendors' words that no map knows.
    pub unmapped: Vec<UnmappedWord>,
    /// Records that claimed a larger `EventCount` than one may.
    pub clamped: u64,
}

/// Profiles, counters and streams at work.
pub struct Engine {
    /// Profiles that read what the counters want.
    lean: Profiles,
    /// Profiles that read everything, for people.
    full: Profiles,
    surroundings: Surroundings,
    listeners: Vec<Listener>,
    rates: Rates,
    /// What keys and states look like by counter fingerprint, also of counters that an earlier plan had.
    shapes: HashMap<String, Arc<Shape>>,
    streams: HashMap<u64, Stream>,
    next_stream: u64,
    room: Room,
    found: Found,
    /// What goes with the batch that is not acknowledged yet.
    sent: Option<(u64, Notes)>,
    /// Panics outside of messages and streams, which have an outcome for that, that no batch has told of.
    panics: u64,
}

/// What decides about a message beside itself.
struct Surroundings {
    internal: Networks,
    relays: Networks,
    known: KnownDevices,
    bounds: Bounds,
}

/// Everything that messages leave behind until it is handed over.
struct Found {
    tests: Tests,
    keys: Keys,
    measures: Vec<Measure>,
    /// Some counter wants every record.
    every_record: bool,
    counters: Counters,
    sites: Arc<Vec<String>>,
    ledger: Vec<Tally>,
    devices: Devices,
    quarantine: Quarantine,
    unmapped: UnmappedWords,
    connections: Connections,
    clamped: u64,
}

/// A plan that is read, for [`Engine::take_up`]: reading takes some 50 ms, in which an engine need not stand still.
pub struct Next {
    plan: Plan,
    lean: Profiles,
    full: Profiles,
    /// How many there were.
    sites: usize,
}

impl Next {
    /// Reads a plan for an engine with these sites.
    ///
    /// # Errors
    /// Everything that is wrong in the plan, at once.
    pub fn read(plan: &Json, sites: &[String]) -> Result<Self, Vec<Problem>> {
        let plan = Plan::read(plan, sites.to_vec())?;
        let (lean, full) = (Profiles::new(&plan.specs, plan.wanted), Profiles::new(&plan.specs, Wanted::ALL));
        Ok(Self { plan, lean, full, sites: sites.len() })
    }
}

impl Engine {
    /// An engine for a plan (its JSON is told in the Python stub of the binding).
    ///
    /// # Errors
    /// Everything that is wrong in the plan, at once.
    pub fn new(plan: &Json) -> Result<Self, Vec<Problem>> {
        let plan = Plan::read(plan, Vec::new())?;
        let listeners = plan.listeners.len();
        Ok(Self {
            lean: Profiles::new(&plan.specs, plan.wanted),
            full: Profiles::new(&plan.specs, Wanted::ALL),
            room: Room::new(plan.bounds.unfinished_bytes),
            shapes: shapes(&plan.measures).collect(),
            found: Found {
                every_record: plan.measures.iter().any(|measure| measure.every_record),
                tests: plan.tests,
                keys: plan.keys,
                measures: plan.measures,
                counters: Counters::new(plan.counters, plan.bounds.rows_per_batch, 1),
                sites: Arc::new(plan.sites),
                ledger: vec![Tally::default(); listeners],
                devices: Devices::default(),
                quarantine: Quarantine::default(),
                unmapped: UnmappedWords::default(),
                connections: Connections::default(),
                clamped: 0,
            },
            surroundings: Surroundings {
                internal: plan.internal,
                relays: plan.relays,
                known: plan.known,
                bounds: plan.bounds,
            },
            listeners: plan.listeners,
            rates: Rates::new(plan.bounds.peer_rate, plan.bounds.peer_burst),
            streams: HashMap::new(),
            next_stream: 0,
            sent: None,
            panics: 0,
        })
    }

    /// Takes up another plan; counters whose definition is the same keep what they hold, streams stay.
    ///
    /// Listeners keep their numbers, so a plan may only add to them.
    ///
    /// # Errors
    /// As [`Engine::new`]; the engine goes on with the old plan then.
    pub fn replan(&mut self, plan: &Json) -> Result<(), Vec<Problem>> {
        let next = Next::read(plan, self.sites())?;
        self.take_up(next)
    }

    /// The second half of [`Engine::replan`]: quick, as messages wait meanwhile.
    ///
    /// # Errors
    /// As [`Engine::replan`], and that sites came up since the plan was read.
    pub fn take_up(&mut self, next: Next) -> Result<(), Vec<Problem>> {
        let Next { plan, lean, full, sites } = next;
        if plan.listeners.len() < self.listeners.len() {
            let reason = format!("{} listeners, but {} are at work", plan.listeners.len(), self.listeners.len());
            return Err(vec![Problem { path: "listeners".into(), reason }]);
        }
        if sites != self.found.sites.len() {
            let reason = "the sites are not those of before any more".into();
            return Err(vec![Problem { path: "listeners".into(), reason }]);
        }
        (self.lean, self.full) = (lean, full);
        self.rates.set(plan.bounds.peer_rate, plan.bounds.peer_burst);
        self.surroundings =
            Surroundings { internal: plan.internal, relays: plan.relays, known: plan.known, bounds: plan.bounds };
        self.found.ledger.resize(plan.listeners.len(), Tally::default());
        self.listeners = plan.listeners;
        self.found.sites = Arc::new(plan.sites);
        self.shapes.extend(shapes(&plan.measures));
        self.found.every_record = plan.measures.iter().any(|measure| measure.every_record);
        (self.found.tests, self.found.keys) = (plan.tests, plan.keys);
        self.found.measures = plan.measures;
        self.found.counters.replan(plan.counters);
        Ok(())
    }

    /// Reads and counts datagrams, one message each with the peer it came from, received by `listener` at `now_ns`; returns
    /// how many there were.
    ///
    /// Does not panic: a message at which something does is counted as such, and those behind it are read.
    pub fn datagrams<'m, D>(&mut self, listener: usize, datagrams: D, now_ns: u64) -> u64
    where
        D: IntoIterator<Item = (Option<Ip>, &'m [u8])>,
        D::IntoIter: Clone,
    {
        let Self { lean, surroundings, listeners, rates, found, .. } = self;
        let Some(Listener { site, allow }) = listeners.get(listener) else { return 0 };
        let mut desk = Desk::new(lean, surroundings, found, *site, None, now_ns);
        let mut waiting = datagrams.into_iter();
        loop {
            let (mut again, before) = (waiting.clone(), desk.messages);
            let done = survive(&mut 0, || {
                desk.begin();
                let mut page = Page::default();
                for (peer, datagram) in waiting.by_ref() {
                    #[cfg(test)]
                    bugs::reach("datagram");
                    let early = if !allow.is_empty() && !peer.is_some_and(|peer| allow.contains(peer)) {
                        Some(Outcome::NotAllowed)
                    } else {
                        rates.over(peer, listener, &surroundings.relays, now_ns).then_some(Outcome::RateLimited)
                    };
                    match early {
                        Some(outcome) => desk.note(listener, outcome, datagram.len() as u64),
                        None => desk.message(Origin { listener, peer }, datagram, &mut page),
                    }
                }
            });
            if done.is_some() {
                return desk.messages;
            }
            // What was noted is done. The next one did not get so far, whatever became of it until then.
            let done = usize::try_from(desk.messages.saturating_sub(before)).unwrap_or(usize::MAX);
            let Some((_, datagram)) = again.nth(done) else { return desk.messages };
            desk.note(listener, Outcome::Panic, datagram.len() as u64);
            waiting = again;
        }
    }

    /// What a message and the table of devices say of when its sender wrote it.
    pub(crate) fn sender<'m>(&self, message: &'m [u8], peer: Option<Ip>) -> Sender<'m> {
        let sent = self.surroundings.open(message, peer);
        Sender {
            timestamp: sent.header.timestamp,
            relay_timestamp: sent.relay.map_or(&[], |relay| relay.timestamp),
            zone_offset_s: self.surroundings.known.find(peer, sent.host()).and_then(|known| known.utc_offset_s),
        }
    }

    /// A stream starts; returns its number.
    pub fn connect(&mut self, origin: Origin) -> u64 {
        self.connect_named(origin, "")
    }

    /// A stream starts whose peer proved its name (by a certificate), which then names the device in place of the peer's
    /// address; empty where it did not.
    pub fn connect_named(&mut self, origin: Origin, name: &str) -> u64 {
        let number = self.next_stream;
        self.next_stream = number.wrapping_add(1);
        let framer = Framer::new(self.surroundings.bounds.message_bytes);
        let name = (!name.is_empty()).then(|| name.as_bytes().into());
        self.streams.insert(number, Stream { origin, framer, name });
        number
    }

    /// The next bytes of a stream, received at `now_ns`; returns how many frames they ended. A stream that is not known
    /// (any more) is passed over.
    ///
    /// Does not panic. Where something inside does, the stream is known no longer: where its frames end can't be told any
    /// more. The rest of what came of it is one frame more, with the outcome for that; see [`Engine::has_stream`].
    pub fn feed(&mut self, stream: u64, bytes: &[u8], now_ns: u64) -> u64 {
        let Self { lean, surroundings, listeners, found, streams, room, .. } = self;
        let Some(Stream { origin, framer, name }) = streams.get_mut(&stream) else { return 0 };
        let Some(Listener { site, allow: _ }) = listeners.get(origin.listener) else { return 0 };
        let come = (framer.carried() as u64).saturating_add(bytes.len() as u64);
        let noted = found.bytes(origin.listener);
        let mut desk = Desk::new(lean, surroundings, found, *site, name.as_deref(), now_ns);
        let done = survive(&mut 0, || {
            desk.begin();
            let mut page = Page::default();
            framer.feed(bytes, room, |frame| desk.ended(*origin, frame, &mut page));
        });
        if done.is_none() {
            let read = desk.found.bytes(origin.listener).saturating_sub(noted);
            desk.note(origin.listener, Outcome::Panic, come.saturating_sub(read));
            framer.abandon(room);
            let messages = desk.messages;
            streams.remove(&stream);
            return messages;
        }
        desk.messages
    }

    /// Whether a stream is known: not after its end, and not after a panic in [`Engine::feed`], which leaves nothing to do
    /// but to close its connection.
    pub fn has_stream(&self, stream: u64) -> bool {
        self.streams.contains_key(&stream)
    }

    /// The stream ended: what was unfinished gets its outcome; returns how many frames that were. Does not panic.
    pub fn disconnect(&mut self, stream: u64, now_ns: u64) -> u64 {
        let Self { lean, surroundings, listeners, found, streams, room, .. } = self;
        let Some(Stream { origin, mut framer, name }) = streams.remove(&stream) else { return 0 };
        let Some(Listener { site, allow: _ }) = listeners.get(origin.listener) else { return 0 };
        let carried = framer.carried() as u64;
        let mut desk = Desk::new(lean, surroundings, found, *site, name.as_deref(), now_ns);
        let done = survive(&mut 0, || {
            desk.begin();
            let mut page = Page::default();
            framer.finish(room, |frame| desk.ended(origin, frame, &mut page));
        });
        if done.is_none() && desk.messages == 0 {
            desk.note(origin.listener, Outcome::Panic, carried);
        }
        let messages = desk.messages;
        framer.abandon(room);
        messages
    }

    /// Something panicked that this crate could not see: the next batch tells of it.
    pub fn note_panic(&mut self) {
        self.panics = self.panics.saturating_add(1);
    }

    /// Panics outside of messages and streams since the last batch was begun; a batch tells of them as [`Changes::panics`].
    pub fn panics(&self) -> u64 {
        self.panics
    }

    /// What was counted since the last acknowledged batch, as of `now_ns`; judges every window on the way.
    ///
    /// All at once; [`Engine::begin`] does the same in steps.
    pub fn changes(&mut self, now_ns: u64) -> Changes {
        let mut handover = self.begin(now_ns);
        while handover.work() {
            self.proceed(&mut handover);
        }
        self.finish(handover).told()
    }

    /// The first step of a batch: judges every window, and collects what fits. [`Engine::proceed`] takes the next ones.
    pub fn begin(&mut self, now_ns: u64) -> Handover {
        let (counted, draft) = self.found.counters.begin(now_ns);
        let panics = std::mem::take(&mut self.panics);
        let notes = match &self.sent {
            Some((seq, sent)) if *seq == counted.seq => sent.clone(),
            _ => {
                let taken = self.found.take_notes();
                self.sent = Some((counted.seq, taken.clone()));
                taken
            }
        };
        let measures = &mut self.found.measures;
        let take = |number: fn(&mut Measure) -> &mut u64, measures: &mut [Measure]| {
            let taken = measures.iter_mut().map(|measure| (measure.name.clone(), std::mem::take(number(measure))));
            taken.filter(|(_, n)| *n > 0).collect()
        };
        let without_key = take(|measure| &mut measure.without_key, measures);
        let exempted = take(|measure| &mut measure.exempted, measures);
        let limited = self.rates.take_limited(now_ns);
        Handover { counted, draft, notes, without_key, exempted, limited, panics }
    }

    /// One step of a batch: some milliseconds, however much waits. Messages may be counted before the next one.
    ///
    /// Where it panics the batch is what was collected until then; the rest waits for the next one.
    pub fn proceed(&mut self, handover: &mut Handover) {
        if let Some(draft) = &mut handover.draft {
            survive(&mut handover.panics, || self.found.counters.proceed(draft));
        }
    }

    /// The last step: what was collected is handed over from now on, until it is acknowledged.
    pub fn finish(&mut self, handover: Handover) -> Batch {
        let Handover { mut counted, draft, notes, without_key, exempted, limited, panics } = handover;
        let panics = panics.saturating_add(std::mem::take(&mut counted.panics));
        if let Some(draft) = draft {
            self.found.counters.seal(draft, &mut counted);
        }
        let shape = |fingerprint: &str| self.shapes.get(fingerprint).map(Arc::clone);
        let rows = counted.rows.iter().enumerate().filter(|(_, of)| self.found.counters.has(of));
        let rows = rows.filter_map(|(place, of)| Some((place, shape(&of.fingerprint)?))).collect();
        let states = counted.states.iter().map(|of| shape(&of.fingerprint)).collect();
        let measures = &self.found.measures;
        let evicted = measures.iter().map(|m| m.name.clone()).zip(&counted.evicted).filter(|(_, n)| **n > 0);
        let evicted = evicted.map(|(name, n)| (name, *n)).collect();
        let judged = counted.judgements.iter().map(|judgement| {
            let measure = self.found.measures.get(judgement.counter)?;
            shape(&measure.fingerprint)
        });
        let judged = judged.collect();
        let sites = Arc::clone(&self.found.sites);
        Batch { counted, notes, evicted, without_key, exempted, limited, panics, rows, states, judged, sites }
    }

    /// The sites' names by number.
    pub fn sites(&self) -> &[String] {
        &self.found.sites
    }

    /// The batch is stored: it is not handed over again.
    pub fn ack(&mut self, seq: u64) {
        self.found.counters.ack(seq);
        self.sent.take_if(|(sent, _)| *sent == seq);
    }

    /// The wall clock was stepped: every open slot ends where it is and counting starts anew at `now_ns`.
    pub fn restart_windows(&mut self, now_ns: u64) {
        self.found.counters.restart(now_ns);
    }

    /// Gives a counter back what the store holds of it, before the first message; returns whether the row was of use.
    pub fn restore(&mut self, counter: &str, row: &Row) -> bool {
        let Some((site, parts)) = &row.key else { return false };
        let Found { measures, counters, sites, .. } = &mut self.found;
        let Some(number) = measures.iter().position(|m| m.name == counter) else { return false };
        let (Some(site), Some(measure)) = (site_number(Arc::make_mut(sites), site), measures.get(number)) else {
            return false;
        };
        key::encode_parts(site, &measure.group_by, parts)
            .is_some_and(|key| counters.restore(number, row.slot_start_s, &key, row.count, row.messages, row.error))
    }

    /// Gives a counter a key's state back, before the first message; returns whether it was of use.
    pub fn restore_state(&mut self, counter: &str, row: &StateRow) -> bool {
        let Found { measures, counters, sites, .. } = &mut self.found;
        let Some(number) = measures.iter().position(|m| m.name == counter) else { return false };
        let (site, parts) = &row.key;
        let (Some(site), Some(measure)) = (site_number(Arc::make_mut(sites), site), measures.get(number)) else {
            return false;
        };
        let state = states::read(row, &Shape::of(measure));
        let key = key::encode_parts(site, &measure.group_by, parts);
        key.zip(state).is_some_and(|(key, state)| counters.restore_state(number, &key, &state))
    }

    /// Everything about one message, for people. What earlier messages told of its connection is not known here.
    pub fn parse(&self, message: &[u8], peer: Option<&str>) -> Json {
        let mut page = Page::default();
        let (message, early) = trimmed(message, self.surroundings.bounds.message_bytes);
        let peer_ip = peer.and_then(|text| crate::value::ip::parse(text.as_bytes()));
        let sent = self.surroundings.open(message, peer_ip);
        let answer = |outcome: Outcome, profile, recovered, sessions: &[Json]| {
            record::answer(outcome.name(), profile, recovered, &sent.header, sent.relay.as_ref(), sessions)
        };
        if let Some(outcome) = early {
            return answer(outcome, None, false, &[]);
        }
        let known = self.surroundings.known.find(peer_ip, sent.host());
        let Some((profile, text)) = sent.profile(&self.full, known) else {
            return answer(Outcome::Unparsed, None, false, &[]);
        };
        // A relay is not the device; where it names nobody, there is no other name than its own.
        let sender = if sent.host().is_some() { None } else { peer };
        let mut sessions = Vec::new();
        let reading = profile.read(text, &mut page.scratch, &mut page.session, &mut |session| {
            complete(session, self.full.wanted(), &self.surroundings, None);
            sessions.push(record::session(session, profile, &sent.header, sender));
        });
        answer(outcome_of(reading), Some(profile), page.scratch.form() == Form::Recovered, &sessions)
    }
}

impl Surroundings {
    /// Only a configured relay is believed to pass on a header of somebody else.
    #[inline]
    fn open<'m>(&self, message: &'m [u8], peer: Option<Ip>) -> Sent<'m> {
        if !peer.is_some_and(|peer| self.relays.contains(peer)) {
            return Sent { header: header::read(message), relay: None };
        }
        let (outer, inner) = header::read_relayed(message);
        Sent { header: inner.map_or(outer, |inner| inner.or_else_by(&outer)), relay: Some(outer) }
    }
}

/// Orients a session's ends, and fills what follows from its fields; returns whether it claimed too large a count.
fn complete(session: &mut Session<'_>, wanted: FieldSet, surroundings: &Surroundings, earlier: Option<bool>) -> bool {
    match (session.orientation, earlier) {
        (Orientation::Ends, Some(swapped)) => {
            if swapped {
                session.swap();
            }
        }
        (Orientation::Ends | Orientation::Unknown, _) => session.orient(&surroundings.internal),
        (Orientation::Told | Orientation::Opens, _) => {}
    }
    session.derive(wanted, &surroundings.internal, surroundings.bounds.event_count)
}

fn shapes(measures: &[Measure]) -> impl Iterator<Item = (String, Arc<Shape>)> {
    measures.iter().map(|measure| (measure.fingerprint.clone(), Arc::new(Shape::of(measure))))
}

impl Found {
    /// Bytes of a listener's messages that no batch has told of.
    fn bytes(&self, listener: usize) -> u64 {
        self.ledger.get(listener).map_or(0, |tally| tally.iter().fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes)))
    }

    fn take_notes(&mut self) -> Notes {
        let mut ledger = Vec::new();
        for (listener, tally) in self.ledger.iter_mut().enumerate() {
            for (outcome, (messages, bytes)) in OUTCOMES_IN_ORDER.iter().zip(tally.iter_mut()) {
                if *messages > 0 {
                    ledger.push((listener, *outcome, *messages, *bytes));
                    (*messages, *bytes) = (0, 0);
                }
            }
        }
        let (quarantine, not_quarantined) = self.quarantine.take();
        Notes {
            ledger,
            devices: self.devices.take(),
            quarantine,
            not_quarantined,
            unmapped: self.unmapped.take(),
            clamped: std::mem::take(&mut self.clamped),
        }
    }
}
