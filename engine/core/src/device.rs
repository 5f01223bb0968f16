//! Who sent a message: the devices seen, what became of their messages, and how far their clocks are off.
//!
//! A device is named by what its message says (host name, serial, origin address), else by the header's host where the
//! peer is a configured relay, else by the peer. Names come from the wire, so the table is bounded; when it is full, a new
//! name takes the place of one that has sent nothing for long, or is noted under [`OTHERS`].

use crate::count::is_same;
use crate::engine::{OUTCOMES, Outcome};
use crate::value::ip::Ip;
use foldhash::quality::RandomState;
use hashbrown::HashTable;
use std::borrow::Cow;
use std::hash::{BuildHasher, Hasher};

/// Most devices: a collector serves some hundreds; a flood of forged names ends in [`OTHERS`].
pub const MAX_DEVICES: usize = 16_384;

/// A device that has sent nothing for so long (ns) gives its place to a new one when the table is full: a flood of forged
/// names must not keep new devices out for ever. What was seen of it has long been handed over.
const GIVES_WAY_AFTER_NS: u64 = 3_600_000_000_000;

/// A full table is searched for such places so often, in ns: all of it, so not for each message of a flood.
const SEARCH_EVERY_NS: u64 = 60_000_000_000;

/// Longest name, in bytes; a longer one is cut (a DNS name has 255 at most).
pub const NAME_BYTES: usize = 255;

/// The device under which messages are noted when the table is full.
pub const OTHERS: &str = "(others)";

/// How often a device's clock is looked at, in ns: it drifts slowly, and reading a time costs as much as a field.
const CLOCK_EVERY_NS: u64 = 10_000_000_000;

/// A device's name as the table shows it: cut, and with replacement characters for bytes that are no UTF-8.
pub fn shown(name: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(name.get(..NAME_BYTES).unwrap_or(name))
}

/// What was seen of one device since the last batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Its site's number.
    pub site: u16,
    /// Its name.
    pub name: String,
    /// Address that its last message came from.
    pub peer: Option<Ip>,
    /// Number of the listener that its last message came in at.
    pub listener: usize,
    /// Profile of its last message that any profile knew.
    pub profile: Option<String>,
    /// Messages per outcome, in the order of [`OUTCOMES`].
    pub messages: [u64; OUTCOMES.len()],
    /// When its last message was received, wall ns.
    pub last_ns: u64,
    /// Its clock less ours at the last look, ms; None: its messages carry no time.
    pub clock_off_ms: Option<i64>,
}

struct Entry {
    sighting: Sighting,
    dirty: bool,
    clock_due_ns: u64,
}

/// The devices seen.
#[derive(Default)]
pub struct Devices {
    hasher: RandomState,
    places: HashTable<usize>,
    entries: Vec<Entry>,
    dirty: Vec<usize>,
    free: Vec<usize>,
    search_due_ns: u64,
}

/// What a message tells of its device.
pub struct Seen<'a> {
    /// Number of the site.
    pub site: u16,
    /// Name of the device.
    pub name: &'a [u8],
    /// Where it came from.
    pub peer: Option<Ip>,
    /// Where it came in.
    pub listener: usize,
    /// Profile that knew it.
    pub profile: Option<&'a str>,
    /// What became of it.
    pub outcome: Outcome,
    /// When it was received, wall ns.
    pub now_ns: u64,
}

impl Devices {
    /// Notes a message. `clock_ns` reads the message's own time, in ns; it is asked now and then only.
    pub fn note(&mut self, seen: &Seen<'_>, clock_ns: impl FnOnce() -> Option<u64>) {
        let name = seen.name.get(..NAME_BYTES).unwrap_or(seen.name);
        let place = self.place(seen.site, name).unwrap_or_else(|| {
            if self.entries.len() < MAX_DEVICES || self.make_room(seen.now_ns) {
                self.enter(seen.site, name, seen)
            } else {
                self.place(0, OTHERS.as_bytes()).unwrap_or_else(|| self.enter(0, OTHERS.as_bytes(), seen))
            }
        });
        let Some(entry) = self.entries.get_mut(place) else { return };
        if !entry.dirty {
            entry.dirty = true;
            self.dirty.push(place);
        }
        let sighting = &mut entry.sighting;
        if let Some(count) = sighting.messages.get_mut(seen.outcome as usize) {
            *count = count.saturating_add(1);
        }
        sighting.peer = seen.peer;
        sighting.listener = seen.listener;
        sighting.last_ns = seen.now_ns;
        if let Some(profile) = seen.profile
            && !sighting.profile.as_ref().is_some_and(|known| is_same(known.as_bytes(), profile.as_bytes()))
        {
            sighting.profile = Some(profile.to_owned());
        }
        if seen.now_ns >= entry.clock_due_ns {
            entry.clock_due_ns = seen.now_ns.saturating_add(CLOCK_EVERY_NS);
            sighting.clock_off_ms = clock_ns().map(|clock_ns| off_ms(clock_ns, seen.now_ns));
        }
    }

    fn place(&self, site: u16, name: &[u8]) -> Option<usize> {
        let same = |place: &usize| {
            self.entries
                .get(*place)
                .is_some_and(|e| e.sighting.site == site && is_same(e.sighting.name.as_bytes(), name))
        };
        self.places.find(hash_of(self.hasher, site, name), same).copied()
    }

    /// Whether a place of the full table is free now, because its device has sent nothing for long.
    fn make_room(&mut self, now_ns: u64) -> bool {
        let gives_way = |entry: &Entry| {
            let silent_ns = now_ns.saturating_sub(entry.sighting.last_ns);
            !entry.dirty && silent_ns >= GIVES_WAY_AFTER_NS && entry.sighting.name != OTHERS
        };
        // A time that lies too far ahead is of before a step of the clock.
        let wait_ns = self.search_due_ns.saturating_sub(now_ns);
        if self.free.is_empty() && (wait_ns == 0 || wait_ns > SEARCH_EVERY_NS) {
            self.search_due_ns = now_ns.saturating_add(SEARCH_EVERY_NS);
            self.free
                .extend(self.entries.iter().enumerate().filter(|(_, entry)| gives_way(entry)).map(|(place, _)| place));
        }
        // One that was found may have sent something since.
        while let Some(&place) = self.free.last() {
            if self.entries.get(place).is_some_and(gives_way) {
                return true;
            }
            self.free.pop();
        }
        false
    }

    /// Gives a name a free place, or a further one.
    fn enter(&mut self, site: u16, name: &[u8], seen: &Seen<'_>) -> usize {
        // Bytes that are no UTF-8 get a name that is shown, but found again only by it: such a device is rare and odd.
        let shown = shown(name).into_owned();
        if shown.as_bytes() != name
            && let Some(known) = self.place(site, shown.as_bytes())
        {
            return known;
        }
        let sighting = Sighting {
            site,
            name: shown,
            peer: seen.peer,
            listener: seen.listener,
            profile: None,
            messages: [0; OUTCOMES.len()],
            last_ns: seen.now_ns,
            clock_off_ms: None,
        };
        let entry = Entry { sighting, dirty: false, clock_due_ns: 0 };
        let hasher = self.hasher;
        let hash_in = |entries: &[Entry], place: usize| {
            entries.get(place).map_or(0, |e| hash_of(hasher, e.sighting.site, e.sighting.name.as_bytes()))
        };
        let place = self.free.pop().unwrap_or(self.entries.len());
        if let Ok(former) = self.places.find_entry(hash_in(&self.entries, place), |other| *other == place) {
            former.remove();
        }
        match self.entries.get_mut(place) {
            Some(former) => *former = entry,
            None => self.entries.push(entry),
        }
        let entries = &self.entries;
        self.places.insert_unique(hash_in(entries, place), place, |place| hash_in(entries, *place));
        place
    }

    /// What was seen since the last call; the counts start anew.
    pub fn take(&mut self) -> Vec<Sighting> {
        let mut taken = Vec::with_capacity(self.dirty.len());
        for place in self.dirty.drain(..) {
            if let Some(entry) = self.entries.get_mut(place) {
                taken.push(entry.sighting.clone());
                entry.dirty = false;
                entry.sighting.messages = [0; OUTCOMES.len()];
            }
        }
        taken
    }
}

/// A site's number is of fixed length, so that it and the name need nothing between them.
#[inline]
fn hash_of(hasher: RandomState, site: u16, name: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write_u16(site);
    hasher.write(name);
    hasher.finish()
}

/// How far the device's clock is ahead of ours, in ms.
fn off_ms(clock_ns: u64, now_ns: u64) -> i64 {
    let behind = i64::try_from(now_ns.saturating_sub(clock_ns) / 1_000_000).unwrap_or(i64::MAX);
    let ahead = i64::try_from(clock_ns.saturating_sub(now_ns) / 1_000_000).unwrap_or(i64::MAX);
    ahead.saturating_sub(behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(name: &str, outcome: Outcome, now_ns: u64) -> Seen<'_> {
        Seen { site: 1, name: name.as_bytes(), peer: None, listener: 0, profile: Some("p"), outcome, now_ns }
    }

    #[test]
    fn counts_by_device_and_hands_over_increments() {
        let mut devices = Devices::default();
        devices.note(&seen("fw-1", Outcome::Session, 1), || None);
        devices.note(&seen("fw-1", Outcome::Unparsed, 2), || None);
        devices.note(&seen("fw-2", Outcome::Session, 3), || None);

        let taken = devices.take();

        assert_eq!(2, taken.len());
        assert_eq!((1, 1, 2), (taken[0].messages[0], taken[0].messages[2], taken[0].last_ns));
        assert_eq!(Vec::<Sighting>::new(), devices.take());
        devices.note(&seen("fw-1", Outcome::Session, 4), || None);
        assert_eq!(1, devices.take()[0].messages[0]);
    }

    #[test]
    fn a_clock_is_looked_at_now_and_then() {
        let mut devices = Devices::default();
        let mut looks = 0;
        for second in 0..30 {
            let now_ns = 1_000_000_000_000 + second * 1_000_000_000;
            devices.note(&seen("fw", Outcome::Session, now_ns), || {
                looks += 1;
                Some(now_ns - 2_500_000_000)
            });
        }
        assert_eq!(3, looks);
        assert_eq!(Some(-2500), devices.take()[0].clock_off_ms);
    }

    #[test]
    fn a_flood_of_names_ends_in_one_place() {
        let mut devices = Devices::default();
        for number in 0..MAX_DEVICES + 100 {
            devices.note(&seen(&format!("forged-{number}"), Outcome::Session, 1), || None);
        }
        let taken = devices.take();
        assert!(taken.len() <= MAX_DEVICES + 1);
        let others = taken.iter().find(|s| s.name == OTHERS).unwrap();
        assert_eq!(100, others.messages[0]);
    }

    #[test]
    fn who_is_long_gone_gives_way() {
        let mut devices = Devices::default();
        for number in 0..MAX_DEVICES {
            devices.note(&seen(&format!("forged-{number}"), Outcome::Session, 1), || None);
        }
        devices.take();
        let named = |devices: &mut Devices| devices.take().into_iter().map(|s| s.name).collect::<Vec<_>>();
        let hour_ns = GIVES_WAY_AFTER_NS + 1;
        devices.note(&seen("early", Outcome::Session, hour_ns - 1), || None);
        assert_eq!(vec![OTHERS], named(&mut devices), "nobody is gone for long yet");
        devices.note(&seen("forged-0", Outcome::Session, hour_ns), || None);
        devices.note(&seen("still early", Outcome::Session, hour_ns), || None);
        assert_eq!(vec!["forged-0", OTHERS], named(&mut devices), "the table is not searched each time");
        let later_ns = hour_ns + SEARCH_EVERY_NS;
        for number in 0..MAX_DEVICES {
            devices.note(&seen(&format!("new-{number}"), Outcome::Session, later_ns), || None);
        }
        let taken = devices.take();
        assert_eq!(MAX_DEVICES, taken.len());
        // One place is that of a device that sent something a minute ago.
        assert_eq!(vec![1], taken.iter().filter(|s| s.name == OTHERS).map(|s| s.messages[0]).collect::<Vec<_>>());
        devices.note(&seen("forged-0", Outcome::Session, later_ns), || None);
        devices.note(&seen("new-7", Outcome::Session, later_ns), || None);
        devices.note(&seen("forged-7", Outcome::Session, later_ns), || None);
        assert_eq!(vec!["forged-0", "new-7", OTHERS], named(&mut devices));
        assert_eq!(MAX_DEVICES + 1, devices.entries.len());
        assert_eq!(MAX_DEVICES + 1, devices.places.len());
    }

    #[test]
    fn a_name_that_is_no_utf8_is_one_device() {
        let mut devices = Devices::default();
        for _ in 0..3 {
            let odd = Seen { name: b"fw\xff", ..seen("", Outcome::Session, 1) };
            devices.note(&odd, || None);
        }
        assert_eq!(vec![3], devices.take().iter().map(|s| s.messages[0]).collect::<Vec<_>>());
    }
}
