//! Evidence: what is kept of the sessions of a hot key, so that an alert can say more than a number.
//!
//! A key is hot in a slot from the moment its sum there makes it a candidate for judging (see `window.rs`); cold keys
//! cost nothing here. Of a hot key's messages are kept: how many, the first and the last time, the most frequent values
//! of chosen fields, the devices that reported it, and three raw lines.
//!
//! # Be advised
//!
//! * Everything is bounded, by the constants below: whatever the wire says, a record stays below some tens of KiB.
//! * Time is what [`Evidence::advance`] was told last; there is no clock.
//! * The state is JSON, for the store and for people. What comes back from it goes on as if nothing had happened.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher};
use std::mem;

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use serde_json::{Map, Value as Json, json};

use super::key::{Key, is_same};
use crate::session::{Field, Kind, Session, Value};
use crate::value::ip::{self, Ip};

const NS_PER_S: u64 = 1_000_000_000;

/// Most keys with evidence per counter: far more than a person reads alerts about, and 1,024 full records are some MiB.
pub const MAX_RECORDS: usize = 1024;

/// Most records handed over at a time: each is some KiB of text that has to be made.
pub(super) const PER_STEP: usize = 64;

/// Most values kept per field: an alert's summary names one, its details a handful.
pub const MAX_VALUES: usize = 10;

/// Longest value, in bytes; a longer one is cut. Addresses and words are shorter, names rarely longer.
pub const VALUE_BYTES: usize = 64;

/// Longest raw line, in bytes; a longer one is cut. The fields that matter stand in the first few hundred.
pub const LINE_BYTES: usize = 512;

/// The list of devices, beside those of the fields.
const DEVICES: &str = "Dvc";

/// Restored numbers are cut to this, so that sums can't reach the end of their range.
const RESTORED_MAX: u64 = 1 << 60;

/// A value to be noted.
enum Shown<'a> {
    Address(Ip),
    Number(u64),
    /// Cut where it is kept, which mostly is not needed: most are known already.
    Text(Cow<'a, [u8]>),
}

impl<'a> Shown<'a> {
    #[inline]
    fn of(value: &'a Value<'_>) -> Self {
        match value {
            Value::Address(ip) => Self::Address(*ip),
            Value::Number(number) => Self::Number(*number),
            Value::Word(word) => Self::Text(Cow::Borrowed(word.as_bytes())),
            Value::Text(..) => Self::Text(value.bytes()),
        }
    }
}

/// A value that is kept. Addresses are not kept as text, which would have to be made for each message.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kept {
    Address(Ip),
    Number(u64),
    Text(Box<str>),
}

impl Kept {
    fn of(shown: &Shown<'_>) -> Self {
        match shown {
            Shown::Address(ip) => Self::Address(*ip),
            Shown::Number(number) => Self::Number(*number),
            Shown::Text(text) => Self::Text(cut(text, VALUE_BYTES).into()),
        }
    }

    fn json(&self) -> Json {
        match self {
            Self::Address(ip) => ip.to_string().into(),
            Self::Number(number) => (*number).into(),
            Self::Text(text) => (**text).into(),
        }
    }

    fn from_json(kind: Kind, value: &Json) -> Option<Self> {
        match kind {
            Kind::Address => ip::parse(value.as_str()?.as_bytes()).map(Self::Address),
            Kind::Port | Kind::Number => value.as_u64().map(Self::Number),
            Kind::Text | Kind::Protocol | Kind::Word(_) => {
                Some(Self::Text(cut(value.as_str()?.as_bytes(), VALUE_BYTES).into()))
            }
        }
    }
}

/// A value's place in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    value: Kept,
    /// Decides who stays: its messages and, as Space-Saving has it, those of the values whose place it took.
    rank: u64,
    /// Its own messages since it got the place: what is told.
    sum: u64,
}

/// The most frequent values of a field: a Space-Saving summary (see `slot.rs`), exact while there are at most
/// [`MAX_VALUES`] of them. In the order of falling rank, those of equal rank by falling sum.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Top(Vec<Place>);

impl Top {
    /// Where the value is.
    #[inline]
    fn place_of(&self, shown: &Shown<'_>) -> Option<usize> {
        let mut values = self.0.iter().map(|place| &place.value);
        match shown {
            Shown::Address(Ip::V4(ip)) => {
                values.position(|value| matches!(value, Kept::Address(Ip::V4(known)) if known == ip))
            }
            Shown::Address(ip) => values.position(|value| matches!(value, Kept::Address(known) if known == ip)),
            Shown::Number(number) => values.position(|value| matches!(value, Kept::Number(known) if known == number)),
            Shown::Text(text) => {
                let same = |value: &Kept| matches!(value, Kept::Text(known) if is_same(known.as_bytes(), text));
                values.position(same).or_else(|| self.place_of_cut(text))
            }
        }
    }

    /// The same of a text that is not kept as it is.
    #[cold]
    fn place_of_cut(&self, text: &[u8]) -> Option<usize> {
        let text = cut(text, VALUE_BYTES);
        self.0.iter().position(|place| matches!(&place.value, Kept::Text(known) if **known == *text))
    }

    fn note(&mut self, shown: &Shown<'_>) {
        let place = self.place_of(shown).unwrap_or_else(|| {
            if self.0.len() < MAX_VALUES {
                self.0.push(Place { value: Kept::of(shown), rank: 0, sum: 0 });
            } else if let Some(last) = self.0.last_mut() {
                *last = Place { value: Kept::of(shown), rank: last.rank, sum: 0 };
            }
            self.0.len().saturating_sub(1)
        });
        let Some((noted, before)) = self.0.get_mut(..=place).and_then(<[Place]>::split_last_mut) else { return };
        noted.rank = noted.rank.saturating_add(1);
        noted.sum = noted.sum.saturating_add(1);
        // It may have overtaken some before it, all of which are in order.
        let now = (noted.rank, noted.sum);
        let passed = before.iter().rev().take_while(|before| (before.rank, before.sum) < now).count();
        if passed > 0
            && let Some(moved) = self.0.get_mut(place.saturating_sub(passed)..=place)
        {
            moved.rotate_right(1);
        }
    }

    /// `[[value, messages], ...]`, largest first, and what each inherited.
    fn json(&self) -> (Json, Vec<u64>) {
        let mut places: Vec<&Place> = self.0.iter().collect();
        places.sort_by_key(|place| Reverse((place.sum, place.rank)));
        let inherited = places.iter().map(|place| place.rank.saturating_sub(place.sum)).collect();
        (places.iter().map(|place| json!([place.value.json(), place.sum])).collect(), inherited)
    }

    fn from_json(kind: Kind, values: &Json, inherited: &Json) -> Self {
        let mut places: Vec<Place> = Vec::new();
        let missed = |place: usize| inherited.get(place).and_then(Json::as_u64).unwrap_or(0).min(RESTORED_MAX);
        for (number, pair) in values.as_array().into_iter().flatten().take(MAX_VALUES).enumerate() {
            let value = pair.get(0).and_then(|value| Kept::from_json(kind, value));
            let sum = pair.get(1).and_then(Json::as_u64);
            let (Some(value), Some(sum)) = (value, sum.map(|sum| sum.min(RESTORED_MAX))) else { continue };
            if places.iter().all(|known| known.value != value) {
                places.push(Place { value, rank: sum.saturating_add(missed(number)), sum });
            }
        }
        places.sort_by_key(|place| Reverse((place.rank, place.sum)));
        Self(places)
    }
}

/// The first raw line and the latest two.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Lines {
    first: Vec<u8>,
    /// The newest one last.
    latest: [Vec<u8>; 2],
}

impl Lines {
    fn note(&mut self, message: &[u8]) {
        let line = message.get(..LINE_BYTES).unwrap_or(message);
        let [older, newer] = &mut self.latest;
        let place = if self.first.is_empty() {
            &mut self.first
        } else {
            mem::swap(older, newer);
            newer
        };
        // The room of the line that goes is used again.
        place.clear();
        place.extend_from_slice(line);
    }

    fn json(&self) -> Json {
        let lines = [&self.first].into_iter().chain(&self.latest).filter(|line| !line.is_empty());
        lines.map(|line| cut(line, LINE_BYTES)).collect()
    }

    fn from_json(lines: &Json) -> Self {
        let mut all = Self::default();
        for line in lines.as_array().into_iter().flatten().take(3).filter_map(Json::as_str) {
            all.note(line.as_bytes());
        }
        all
    }
}

/// What is kept of one key.
#[derive(Debug, Clone)]
struct Record {
    key: Key,
    hash: u64,
    messages: u64,
    first_ns: u64,
    last_ns: u64,
    /// The last slot in which the key was hot.
    slot: u64,
    /// Changed since it was last handed over; stands in `changed` then, once.
    changed: bool,
    /// Per field, and last the devices.
    tops: Vec<Top>,
    lines: Lines,
}

impl Record {
    fn json(&self, fields: &[Field]) -> String {
        let names = fields.iter().map(|field| field.name()).chain([DEVICES]);
        let (mut top, mut inherited) = (Map::new(), Map::new());
        for (name, values) in names.zip(&self.tops).filter(|(_, values)| !values.0.is_empty()) {
            let (values, missed) = values.json();
            top.insert(name.into(), values);
            if missed.iter().any(|&missed| missed > 0) {
                inherited.insert(name.into(), missed.into());
            }
        }
        let mut state = json!({
            "messages": self.messages,
            "first_ns": self.first_ns,
            "last_ns": self.last_ns,
            "top": top,
            "lines": self.lines.json(),
        });
        if let Some(state) = state.as_object_mut().filter(|_| !inherited.is_empty()) {
            state.insert("inherited".into(), inherited.into());
        }
        state.to_string()
    }

    fn from_json(hash: u64, key: &[u8], fields: &[Field], text: &str) -> Option<Self> {
        let state: Json = serde_json::from_str(text).ok()?;
        let number = |key: &str| state.get(key).and_then(Json::as_u64);
        let messages = number("messages").filter(|&messages| messages > 0)?.min(RESTORED_MAX);
        let list = |name: &str, kind: Kind| {
            let of = |key: &str| state.get(key).and_then(|lists| lists.get(name)).unwrap_or(&Json::Null);
            Top::from_json(kind, of("top"), of("inherited"))
        };
        let tops = fields.iter().map(|field| list(field.name(), field.kind())).chain([list(DEVICES, Kind::Text)]);
        Some(Self {
            key: Key::new(key),
            hash,
            messages,
            first_ns: number("first_ns")?,
            last_ns: number("last_ns")?,
            slot: 0,
            changed: false,
            tops: tops.collect(),
            lines: Lines::from_json(state.get("lines").unwrap_or(&Json::Null)),
        })
    }
}

/// The evidence of one counter's hot keys.
#[derive(Debug)]
pub struct Evidence {
    fields: Vec<Field>,
    slot_ns: u64,
    /// A record goes when its key was not hot for so many slots.
    ring: u64,
    now_ns: u64,
    slot: u64,
    hasher: RandomState,
    records: HashTable<Record>,
    /// Keys whose records changed since they were handed over, the one that waits longest first.
    changed: VecDeque<Key>,
    /// No record's key can go before the next slot, so that it need not be looked for.
    full: bool,
}

impl Evidence {
    /// Evidence of `fields` for a counter with slots of `slot_s` seconds, which keeps `ring` of them.
    ///
    /// The devices are always kept; `Dvc` among the fields means them.
    pub fn new(fields: Vec<Field>, slot_s: u64, ring: u64) -> Self {
        let mut known = Vec::with_capacity(fields.len());
        for field in fields {
            if field != Field::Dvc && !known.contains(&field) {
                known.push(field);
            }
        }
        Self {
            fields: known,
            slot_ns: slot_s.max(1).saturating_mul(NS_PER_S),
            ring: ring.max(1),
            now_ns: 0,
            slot: 0,
            hasher: RandomState::default(),
            records: HashTable::new(),
            changed: VecDeque::new(),
            full: false,
        }
    }

    /// Hashes keys as others do; to be told before there are any.
    #[must_use]
    pub(super) fn hashing_with(mut self, hasher: RandomState) -> Self {
        self.hasher = hasher;
        self
    }

    fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        hasher.finish()
    }

    fn find(&self, hash: u64, key: &[u8]) -> Option<&Record> {
        self.records.find(hash, |record| record.key.as_bytes() == key)
    }

    fn insert(&mut self, record: Record) {
        self.records.insert_unique(record.hash, record, |record| record.hash);
    }

    /// The fields whose values are kept.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// How many keys have evidence.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether no key has evidence.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Tells the time, ns since 1970 UTC; the records of keys that were not hot in the whole ring go.
    pub fn advance(&mut self, now_ns: u64) {
        if now_ns > self.now_ns {
            self.now_ns = now_ns;
            let slot = self.slot_of(now_ns);
            if slot > self.slot {
                self.go_to(slot);
            }
        }
    }

    /// The wall clock was stepped, maybe back.
    pub fn restart(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
        self.go_to(self.slot_of(now_ns));
    }

    fn slot_of(&self, now_ns: u64) -> u64 {
        now_ns.checked_div(self.slot_ns).unwrap_or(0)
    }

    fn go_to(&mut self, slot: u64) {
        (self.slot, self.full) = (slot, false);
        let ring = self.ring;
        self.records.retain(|record| {
            // A time to come is that of a clock that was ahead; its record must not stay for ever.
            record.slot = record.slot.min(slot);
            record.slot.saturating_add(ring) > slot
        });
        let mut changed = mem::take(&mut self.changed);
        changed.retain(|key| self.find(self.hash(key), key).is_some());
        self.changed = changed;
    }

    /// Notes a message of a hot key: its session, the name of its device, its raw text.
    pub fn note(&mut self, key: &[u8], session: &Session<'_>, device: &[u8], message: &[u8]) {
        self.note_hashed((self.hash(key), key), session, device, message);
    }

    /// As [`Evidence::note`], of a key with its hash.
    pub(super) fn note_hashed(
        &mut self,
        (hash, key): (u64, &[u8]),
        session: &Session<'_>,
        device: &[u8],
        message: &[u8],
    ) {
        if let Some(record) = self.records.find_mut(hash, |record| is_same(record.key.as_bytes(), key)) {
            if !record.changed {
                record.changed = true;
                self.changed.push_back(record.key.clone());
            }
            record.messages = record.messages.saturating_add(1);
            record.last_ns = self.now_ns;
            record.slot = self.slot;
            Self::add(record, &self.fields, session, device, message);
        } else {
            self.enter((hash, key), session, device, message);
        }
    }

    #[cold]
    fn enter(&mut self, (hash, key): (u64, &[u8]), session: &Session<'_>, device: &[u8], message: &[u8]) {
        if self.full || (self.records.len() >= MAX_RECORDS && !self.displace(self.slot)) {
            self.full = true;
            return;
        }
        let lists = self.fields.len().saturating_add(1);
        let mut record = Record {
            key: Key::new(key),
            hash,
            messages: 1,
            first_ns: self.now_ns,
            last_ns: self.now_ns,
            slot: self.slot,
            changed: true,
            tops: vec![Top::default(); lists],
            lines: Lines::default(),
        };
        Self::add(&mut record, &self.fields, session, device, message);
        self.insert(record);
        self.changed.push_back(Key::new(key));
    }

    fn add(record: &mut Record, fields: &[Field], session: &Session<'_>, device: &[u8], message: &[u8]) {
        let (devices, tops) = record.tops.split_last_mut().unzip();
        for (field, top) in fields.iter().zip(tops.into_iter().flatten()) {
            if let Some(value) = session.get(*field) {
                top.note(&Shown::of(value));
            }
        }
        if let Some(devices) = devices.filter(|_| !device.is_empty()) {
            devices.note(&Shown::Text(Cow::Borrowed(device)));
        }
        record.lines.note(message);
    }

    /// Drops the record of the key that was hot longest ago, in a slot before `slot`; `false` if there is none.
    fn displace(&mut self, slot: u64) -> bool {
        let cold = self.records.iter().filter(|record| record.slot < slot);
        let oldest = cold.min_by_key(|record| record.last_ns).map(|record| (record.hash, record.key.clone()));
        let Some((hash, oldest)) = oldest else { return false };
        let found = self.records.find_entry(hash, |record| record.key == oldest);
        if found.is_ok_and(|entry| entry.remove().0.changed) {
            self.changed.retain(|key| *key != oldest);
        }
        true
    }

    /// How many records changed since they were handed over.
    pub fn pending(&self) -> usize {
        self.changed.len()
    }

    /// Hands over the state of keys whose records changed, those that wait longest first, at most `limit` of them: the
    /// key, JSON, and the time of its last message in epoch seconds.
    ///
    /// The JSON is `{"messages": n, "first_ns": t, "last_ns": t, "top": {"DstPortNumber": [[value, messages], ...],
    /// "Dvc": [[device, messages], ...]}, "lines": [text, ...]}`, the largest first, lines in the order of time; and
    /// where a field had more than [`MAX_VALUES`] values, `"inherited"` with what Space-Saving needs to go on.
    pub fn take(&mut self, limit: usize) -> Vec<(Key, String, u64)> {
        let keys = self.changed.drain(..limit.min(self.changed.len()));
        let mut states = Vec::with_capacity(keys.len());
        for key in keys {
            let mut hasher = self.hasher.build_hasher();
            hasher.write(&key);
            let same = |record: &Record| record.key == key;
            let Some(record) = self.records.find_mut(hasher.finish(), same) else { continue };
            record.changed = false;
            states.push((key, record.json(&self.fields), record.last_ns.checked_div(NS_PER_S).unwrap_or(0)));
        }
        states
    }

    /// Takes a state back from the store, before the first message; `false` if it was of no use.
    ///
    /// If there are more than [`MAX_RECORDS`] of them, the latest stay.
    pub fn restore(&mut self, key: &[u8], state: &str) -> bool {
        let hash = self.hash(key);
        let Some(mut record) = Record::from_json(hash, key, &self.fields, state) else { return false };
        record.slot = self.slot_of(record.last_ns);
        let in_ring = record.slot.saturating_add(self.ring) > self.slot;
        if !in_ring || self.find(hash, key).is_some() {
            return false;
        }
        if self.records.len() >= MAX_RECORDS && !self.displace(record.slot) {
            return false;
        }
        self.insert(record);
        true
    }

    /// Takes over what an equal counter of an earlier plan holds; lists of fields that are new begin empty.
    pub fn adopt(&mut self, earlier: Self) {
        (self.now_ns, self.hasher) = (earlier.now_ns, earlier.hasher);
        (self.records, self.changed) = (earlier.records, earlier.changed);
        for record in &mut self.records {
            let mut before = mem::take(&mut record.tops);
            let devices = before.pop().unwrap_or_default();
            let kept = self.fields.iter().map(|field| {
                let place = earlier.fields.iter().position(|known| known == field);
                place.and_then(|place| before.get_mut(place)).map(mem::take).unwrap_or_default()
            });
            record.tops = kept.chain([devices]).collect();
        }
        self.go_to(self.slot_of(self.now_ns));
    }
}

/// At most `limit` bytes of a text, whole characters only; what is no UTF-8 is replaced.
fn cut(bytes: &[u8], limit: usize) -> Cow<'_, str> {
    let head = bytes.get(..limit).unwrap_or(bytes);
    let wrong = match str::from_utf8(head) {
        Ok(text) => return Cow::Borrowed(text),
        Err(wrong) => wrong,
    };
    let broken_off = wrong.error_len().is_none() && head.len() < bytes.len();
    if broken_off {
        return String::from_utf8_lossy(head.get(..wrong.valid_up_to()).unwrap_or_default());
    }
    let mut text = String::from_utf8_lossy(head).into_owned();
    while text.len() > limit {
        text.pop();
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = NS_PER_S;
    const START_NS: u64 = 1_700_000_040 * S;
    const FIELDS: [Field; 3] = [Field::DvcAction, Field::DstPortNumber, Field::DstIpAddr];

    fn evidence() -> Evidence {
        let mut evidence = Evidence::new(FIELDS.to_vec(), 60, 6);
        evidence.advance(START_NS);
        evidence
    }

    fn session(port: u64) -> Session<'static> {
        let mut session = Session::default();
        session.set(Field::DvcAction, Value::Word("Drop ICMP"));
        session.set(Field::DstPortNumber, Value::Number(port));
        session
    }

    fn states(evidence: &mut Evidence) -> Vec<(Vec<u8>, Json, u64)> {
        let states = evidence.take(usize::MAX).into_iter();
        states.map(|(key, state, last_s)| (key.to_vec(), serde_json::from_str(&state).unwrap(), last_s)).collect()
    }

    #[test]
    fn a_record_tells_who_what_and_when() {
        let mut evidence = evidence();
        for (second, port) in [(0, 443), (1, 22), (2, 22), (3, 80)] {
            evidence.advance(START_NS + second * S);
            let mut session = session(port);
            session.set(Field::DstIpAddr, Value::Address(ip::parse(b"2001:db8::5").unwrap()));
            evidence.note(b"a", &session, b"fw-1", format!("line {second}").as_bytes());
        }
        let want = json!({
            "messages": 4, "first_ns": START_NS, "last_ns": START_NS + 3 * S,
            "top": {
                "DvcAction": [["Drop ICMP", 4]],
                "DstPortNumber": [[22, 2], [443, 1], [80, 1]],
                "DstIpAddr": [["2001:db8::5", 4]],
                "Dvc": [["fw-1", 4]],
            },
            "lines": ["line 0", "line 2", "line 3"],
        });
        assert_eq!(states(&mut evidence), [(b"a".to_vec(), want, START_NS / S + 3)]);
        assert_eq!(states(&mut evidence), []);
    }

    #[test]
    fn values_and_lines_are_cut_between_characters() {
        let mut evidence = evidence();
        // The 64th byte is the first of a character of three.
        let name = format!("{}\u{20ac}uro", "x".repeat(63));
        evidence.note(b"a", &Session::default(), name.as_bytes(), "y".repeat(5000).as_bytes());
        // One byte that is no UTF-8 becomes three, and the value still keeps the bound.
        let odd = [&b"\xff"[..], "z".repeat(63).as_bytes()].concat();
        evidence.note(b"b", &Session::default(), &odd, b"\xffodd");
        let states = states(&mut evidence);
        assert_eq!(states[0].1["top"]["Dvc"], json!([["x".repeat(63), 1]]));
        assert_eq!(states[0].1["lines"], json!(["y".repeat(LINE_BYTES)]));
        assert_eq!(states[1].1["top"]["Dvc"], json!([[format!("\u{fffd}{}", "z".repeat(61)), 1]]));
        assert_eq!(states[1].1["lines"], json!(["\u{fffd}odd"]));
    }

    #[test]
    fn a_flood_of_values_hides_none_that_is_frequent_and_claims_no_more_than_it_saw() {
        let mut evidence = evidence();
        for port in 1000..2000 {
            evidence.note(b"a", &session(port), b"", b"line");
            evidence.note(b"a", &session(443), b"", b"line");
        }
        let top = states(&mut evidence)[0].1["top"]["DstPortNumber"].clone();
        assert_eq!(top.as_array().unwrap().len(), MAX_VALUES);
        assert_eq!(top[0], json!([443, 1000]));
        // Each of the others was seen once: what it inherited decides who stays, and is not told.
        assert!(top.as_array().unwrap()[1..].iter().all(|pair| pair[1] == 1), "{top}");
    }

    #[test]
    fn when_full_the_key_that_was_hot_longest_ago_goes_and_never_one_that_is_hot() {
        let mut evidence = evidence();
        let key = |number: usize| number.to_be_bytes();
        let holds = |evidence: &Evidence, key: &[u8]| evidence.find(evidence.hash(key), key).is_some();
        for number in 0..MAX_RECORDS {
            evidence.advance(START_NS + number as u64 * 1_000_000);
            evidence.note(&key(number), &session(1), b"", b"line");
        }
        evidence.note(b"late", &session(1), b"", b"line");
        assert_eq!(evidence.len(), MAX_RECORDS);
        assert!(!holds(&evidence, b"late"));

        evidence.advance(START_NS + 60 * S);
        evidence.note(&key(0), &session(1), b"", b"line");
        evidence.note(b"late", &session(1), b"", b"line");
        assert_eq!(evidence.len(), MAX_RECORDS);
        assert!(holds(&evidence, b"late"));
        assert!(holds(&evidence, &key(0)));
        assert!(!holds(&evidence, &key(1)));
        assert_eq!(evidence.pending(), MAX_RECORDS);
    }

    #[test]
    fn a_record_goes_when_its_key_was_cold_for_the_whole_ring() {
        let mut evidence = evidence();
        evidence.note(b"a", &session(1), b"", b"line");
        evidence.advance(START_NS + 5 * 60 * S);
        assert_eq!(evidence.len(), 1);
        evidence.advance(START_NS + 6 * 60 * S);
        assert!(evidence.is_empty());
        assert_eq!(states(&mut evidence), []);
    }

    #[test]
    fn a_batch_takes_those_that_wait_longest() {
        let mut evidence = evidence();
        for key in [b"a", b"b", b"c"] {
            evidence.note(key, &session(1), b"", b"line");
        }
        let keys = |states: Vec<(Key, String, u64)>| states.iter().map(|s| s.0.to_vec()).collect::<Vec<_>>();
        assert_eq!(keys(evidence.take(2)), [b"a", b"b"]);
        evidence.note(b"a", &session(1), b"", b"line");
        assert_eq!(keys(evidence.take(2)), [b"c", b"a"]);
        assert_eq!(evidence.pending(), 0);
    }

    #[test]
    fn states_that_make_no_sense_are_refused_or_read_as_far_as_they_do() {
        let mut evidence = evidence();
        for text in ["", "[]", "{}", r#"{"messages": 0, "first_ns": 1, "last_ns": 1}"#, r#"{"messages": "many"}"#] {
            assert!(!evidence.restore(b"a", text), "{text}");
        }
        let state = json!({
            "messages": u64::MAX, "first_ns": START_NS, "last_ns": START_NS,
            "top": {"DstPortNumber": [[22, 1], ["x", 1], [23], [22, 5]], "SrcIpAddr": [["192.0.2.1", 1]], "Dvc": 5},
            "inherited": {"DstPortNumber": "x"}, "lines": [1, "line"],
        });
        assert!(evidence.restore(b"a", &state.to_string()));
        evidence.note(b"a", &session(22), b"fw", b"next");
        let state = &states(&mut evidence)[0].1;
        assert_eq!(state["messages"], RESTORED_MAX + 1);
        assert_eq!(state["top"]["DstPortNumber"], json!([[22, 2]]));
        assert_eq!(state["lines"], json!(["line", "next"]));
        let long_ago = json!({"messages": 1, "first_ns": 0, "last_ns": 0});
        assert!(!evidence.restore(b"b", &long_ago.to_string()));
    }

    #[test]
    fn a_new_plan_keeps_the_lists_of_fields_that_stay() {
        let mut before = evidence();
        before.note(b"a", &session(22), b"fw", b"line");
        let mut now = Evidence::new(vec![Field::Dvc, Field::SrcIpAddr, Field::DstPortNumber], 60, 6);
        assert_eq!(now.fields(), [Field::SrcIpAddr, Field::DstPortNumber]);
        now.adopt(before);
        now.note(b"a", &session(23), b"fw", b"line");
        assert_eq!(states(&mut now)[0].1["top"], json!({"DstPortNumber": [[22, 1], [23, 1]], "Dvc": [["fw", 2]]}));
    }

    #[test]
    fn a_clock_that_was_ahead_leaves_nothing_for_ever() {
        let mut evidence = evidence();
        evidence.advance(START_NS + 86_400 * S);
        evidence.note(b"a", &session(1), b"", b"line");
        evidence.restart(START_NS);
        assert_eq!(evidence.len(), 1);
        evidence.advance(START_NS + 360 * S);
        assert!(evidence.is_empty());
    }
}
