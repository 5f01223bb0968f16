//! Where the messages of a batch are read and counted, one after the other.

use super::{Found, Origin, Surroundings, complete};
use crate::device::Seen;
use crate::frame::{self, Ended};
use crate::header;
use crate::key;
use crate::outcome::Outcome;
use crate::profile::steps::DEVICE_FIELDS;
use crate::profile::{Profile, Profiles, Reading, Scratch};
use crate::quarantine::PANICKED;
use crate::session::{Field, Orientation, Session, Value};
use crate::setup::{Counted, both_ways};
use crate::survive::survive;
use crate::value::ip::Ip;

/// Room for one message after the other of a batch.
#[derive(Default)]
pub(super) struct Page<'m> {
    pub(super) scratch: Scratch<'m>,
    pub(super) session: Session<'m>,
}

/// Where the messages of a batch are read and counted.
pub(super) struct Desk<'e> {
    lean: &'e Profiles,
    surroundings: &'e Surroundings,
    pub(super) found: &'e mut Found,
    listener_site: u16,
    /// What the peer proved to be called.
    proved: Option<&'e [u8]>,
    now_ns: u64,
    /// Messages of the batch so far.
    pub(super) messages: u64,
    value: Vec<u8>,
    device: Vec<u8>,
}

impl<'e> Desk<'e> {
    pub(super) fn new(
        lean: &'e Profiles,
        surroundings: &'e Surroundings,
        found: &'e mut Found,
        listener_site: u16,
        proved: Option<&'e [u8]>,
        now_ns: u64,
    ) -> Self {
        let (value, device) = (Vec::new(), Vec::new());
        Self { lean, surroundings, found, listener_site, proved, now_ns, messages: 0, value, device }
    }

    /// Before the first message.
    pub(super) fn begin(&mut self) {
        self.found.counters.advance(self.now_ns);
    }

    pub(super) fn ended<'m>(&mut self, origin: Origin, ended: Ended<'m>, page: &mut Page<'m>)
    where
        'e: 'm,
    {
        match ended {
            Ended::Frame(message) => self.message(origin, message, page),
            Ended::Dropped(reason, bytes) => {
                let outcome = match reason {
                    frame::Drop::TooLong => Outcome::TooLong,
                    frame::Drop::BadFrame => Outcome::BadFrame,
                    frame::Drop::Unfinished => Outcome::Unfinished,
                    frame::Drop::NoMemory => Outcome::NoMemory,
                };
                self.note(origin.listener, outcome, bytes);
            }
        }
    }

    pub(super) fn message<'m>(&mut self, origin: Origin, message: &'m [u8], page: &mut Page<'m>)
    where
        'e: 'm,
    {
        let (text, early) = trimmed(message, self.surroundings.bounds.message_bytes);
        // A panic is a bug; it costs the message that found it, not the daemon. The page is emptied for each message, and
        // a counter that was left half-way is off by one message at most.
        let outcome = early.unwrap_or_else(|| {
            survive(&mut 0, || self.read(origin, text, page)).unwrap_or_else(|| {
                // Whoever mends the bug needs the message. Its header was not read, or is what can't be.
                self.found.quarantine.keep(origin.listener, origin.peer, PANICKED, text, text, self.now_ns);
                Outcome::Panic
            })
        });
        self.note(origin.listener, outcome, message.len() as u64);
    }

    fn read<'m>(&mut self, origin: Origin, message: &'m [u8], page: &mut Page<'m>) -> Outcome
    where
        'e: 'm,
    {
        #[cfg(test)]
        super::tests::panic_if_asked(message);
        let sent = self.surroundings.open(message, origin.peer);
        // The certificate of a relay is its own; whom it sends for is what it writes.
        let (host, lean) = (sent.host().or(self.proved), self.lean);
        let known = self.surroundings.known.find(origin.peer, host);
        let chosen = sent.profile(lean, known);
        let profile = chosen.map(|(profile, _)| profile);
        let site = known.and_then(|known| known.site).unwrap_or(self.listener_site);
        page.session.clear();
        let reading = chosen.map_or(Reading::Unparsed, |(profile, text)| {
            profile.read(text, &mut page.scratch, &mut page.session, &mut |session| {
                self.name_device(session, host, origin.peer);
                self.session(site, profile, session, message);
            })
        });
        let outcome = outcome_of(reading);
        if outcome != Outcome::Session {
            self.name_device(&page.session, host, origin.peer);
        }
        if outcome == Outcome::Unparsed {
            let name = profile.map_or("", |profile| &profile.name);
            self.found.quarantine.keep(origin.listener, origin.peer, name, sent.header.content, message, self.now_ns);
        }
        let seen = Seen {
            site,
            name: &self.device,
            peer: origin.peer,
            listener: origin.listener,
            profile: profile.map(|profile| profile.name.as_str()),
            outcome,
            now_ns: self.now_ns,
        };
        let zone_s = known.and_then(|known| known.utc_offset_s);
        self.found.devices.note(&seen, || header::stamp::time_ns(sent.header.timestamp, seen.now_ns, zone_s));
        outcome
    }

    /// By what the message says, else by the header's host where the peer is a relay, or by what the peer proved to be
    /// called; else by the peer.
    fn name_device(&mut self, session: &Session<'_>, host: Option<&[u8]>, peer: Option<Ip>) {
        self.device.clear();
        let told = DEVICE_FIELDS.into_iter().find_map(|field| session.get(field));
        match (told, host, peer) {
            (Some(value), _, _) => value.append_to(&mut self.device),
            (None, Some(host), _) => self.device.extend_from_slice(host),
            (None, None, Some(peer)) => self.device.extend_from_slice(peer.to_string().as_bytes()),
            (None, None, None) => {}
        }
    }

    fn session(&mut self, site: u16, profile: &Profile, session: &mut Session<'_>, message: &[u8]) {
        let number = match session.orientation {
            Orientation::Opens | Orientation::Ends => session.get(Field::NetworkSessionId).map(Value::bytes),
            Orientation::Told | Orientation::Unknown => None,
        };
        let mut earlier = None;
        if let Some(number) = &number {
            if session.orientation == Orientation::Ends {
                earlier = self.found.connections.is_swapped(&self.device, number);
            } else {
                self.found.connections.remember(&self.device, number, session.is_swapped());
            }
        }
        let mut clamped = complete(session, self.lean.wanted(), self.surroundings, earlier);
        if let Some(unmapped) = session.unmapped {
            self.found.unmapped.note(&profile.name, unmapped.from, unmapped.word.bytes);
        }
        let counted = session.is_counted();
        if counted || self.found.every_record {
            clamped |= self.count(site, session, counted, message);
        }
        self.found.clamped = self.found.clamped.saturating_add(u64::from(clamped));
    }

    /// Counts a session wherever it belongs; one whose record does not count, only where every record does. Of a hot
    /// key, what the `message` tells may be kept as well.
    ///
    /// Returns whether it claimed more than one record counts for somewhere.
    fn count(&mut self, site: u16, session: &Session<'_>, counted: bool, message: &[u8]) -> bool {
        let Found { tests, keys, measures, counters, .. } = &mut *self.found;
        keys.turn();
        let mut answers = tests.ask(session, &self.device);
        let mut clamped = false;
        for (number, measure) in measures.iter_mut().enumerate() {
            if !(counted || measure.every_record) || !measure.condition.fits(&mut answers) {
                continue;
            }
            if measure.exempt.iter().any(|exempt| exempt.fits(&mut answers)) {
                measure.exempted = measure.exempted.saturating_add(1);
                continue;
            }
            let Some(key) = keys.of(measure.key, site, session, |key| counters.hash(key)) else {
                measure.without_key = measure.without_key.saturating_add(1);
                continue;
            };
            let weight = match measure.counted {
                Counted::EventCount => {
                    let claimed = session.number(Field::EventCount).unwrap_or(1);
                    if let Some(most) = measure.record_max.of(session) {
                        clamped |= claimed > most;
                        if counters.add_claim_hashed(number, key, claimed.min(most)) {
                            counters.note(number, key, session, &self.device, message);
                        }
                        continue;
                    }
                    claimed
                }
                Counted::Records => 1,
                Counted::Sum(field) => {
                    let Some(weight) = sum_of(session, field) else { continue };
                    clamped |= weight > LARGEST_NUMBER;
                    weight.min(LARGEST_NUMBER)
                }
                Counted::Distinct(field) => {
                    let found = value_of(session, field, &mut self.value);
                    if found && counters.add_value_hashed(number, key, &self.value) {
                        counters.note(number, key, session, &self.device, message);
                    }
                    measure.without_key = measure.without_key.saturating_add(u64::from(!found));
                    continue;
                }
                Counted::Intervals => {
                    if counters.add_session_hashed(number, key, bytes_of(session)) {
                        counters.note(number, key, session, &self.device, message);
                    }
                    continue;
                }
            };
            if counters.add_hashed(number, key, weight) {
                counters.note(number, key, session, &self.device, message);
            }
        }
        clamped
    }

    pub(super) fn note(&mut self, listener: usize, outcome: Outcome, bytes: u64) {
        self.messages = self.messages.saturating_add(1);
        let tally = self.found.ledger.get_mut(listener);
        if let Some((messages, sum)) = tally.and_then(|tally| tally.get_mut(outcome as usize)) {
            *messages = messages.saturating_add(1);
            *sum = sum.saturating_add(bytes);
        }
    }
}

/// Most that one session adds to a sum of numbers: 16 TiB, or the packets of that; a week in ms is far less. What a
/// message claims beyond is forged or broken, and must not fill a sum for good.
const LARGEST_NUMBER: u64 = 1 << 44;

/// As [`key::encode_value`]. This and the next two are kept apart from the loop over the counters, which they would slow down
/// for those that need neither.
#[inline(never)]
fn value_of(session: &Session<'_>, field: Field, into: &mut Vec<u8>) -> bool {
    key::encode_value(field, session, into)
}

/// Bytes that the source and the destination sent; as far as told.
#[inline(never)]
fn bytes_of(session: &Session<'_>) -> [u64; 2] {
    [Field::SrcBytes, Field::DstBytes].map(|field| session.number(field).unwrap_or(0).min(LARGEST_NUMBER))
}

/// A number of a session; of both directions together where only those are told.
#[inline(never)]
fn sum_of(session: &Session<'_>, field: Field) -> Option<u64> {
    session.number(field).or_else(|| {
        let [one, other] = both_ways(field)?.map(|way| session.number(way));
        one.map_or(other, |one| Some(one.saturating_add(other.unwrap_or(0))))
    })
}

pub(super) fn outcome_of(reading: Reading) -> Outcome {
    match reading {
        Reading::Session => Outcome::Session,
        Reading::Event => Outcome::Event,
        Reading::Unparsed => Outcome::Unparsed,
    }
}

/// The message without the line ends and NULs that some senders leave at its end; an outcome where nothing is to be read.
pub(super) fn trimmed(message: &[u8], message_bytes: usize) -> (&[u8], Option<Outcome>) {
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
