//! The `where` of a counter: which sessions it counts. A fixed set of tests per field, no expression language.
//!
//! ```toml
//! where = { EventResult = "Failure", DstPortNumber = [139, "5800-5810"], SrcIpAddr = { not = "10.0.0.0/8" } }
//! ```
//! A value, or a list of which one must fit: a word or text for text fields (exact), a number or `"from-to"` range for
//! ports and numbers, an address or CIDR network for addresses, true or false for `blocked`, the device's name (as the
//! table of devices shows it) for `device`. `{ not = ... }` turns it round (a field without a value fits then),
//! `{ differs = "DstIpAddr" }` wants another value than that field has.

use crate::count::is_same;
use crate::device;
use crate::plan::{Problems, Table, kind_of};
use crate::profile::Wanted;
use crate::session::{Field, Kind, Session, Value};
use crate::value::ip::{Ip, Networks};
use serde_json::Value as Json;
use std::ops::RangeInclusive;

/// The tests of one `where`; a session passes when it passes all.
#[derive(Debug, Default)]
pub struct Condition {
    /// The bits of its tests that are answered beforehand, and what they have to be.
    told: u64,
    wanted: u64,
    /// The numbers of its other tests in [`Tests`], and what each has to say.
    others: Vec<(usize, bool)>,
}

/// The tests of all conditions. Those that several conditions share stand here once, so that a session is looked at
/// once for each.
#[derive(Debug, Default)]
pub struct Tests {
    list: Vec<(Subject, Test)>,
    /// What answers the cheap ones of the first tests, all those of one field by one look at it.
    looks: Vec<Look>,
}

/// One look at a session: a bit for each test that fits, by the test's number.
#[derive(Debug)]
enum Look {
    Address(Field, Steps<u32>, Steps<u128>),
    Number(Field, Steps<u64>),
    Word(Field, Vec<(Box<str>, u64)>),
    Differs(Field, Field, u64),
    /// The bits of a session that was blocked, and of one that was not.
    Blocked([u64; 2]),
}

/// What the tests say of one session: the cheap ones beforehand, the others when they are asked for.
pub struct Answers<'a, 'm> {
    tests: &'a Tests,
    session: &'a Session<'m>,
    device: &'a [u8],
    /// A bit for each of the first tests: whether it was asked, and what it said.
    asked: u64,
    said: u64,
}

/// Bits that hold from a number on, up to where the next ones do.
#[derive(Debug, Default)]
struct Steps<T> {
    list: Vec<(T, u64)>,
    /// Tells most of them at once.
    parts: Option<Parts>,
}

/// The bits of numbers by their upper 16 of so many bits.
#[derive(Debug)]
struct Parts {
    /// Bits of a number below the upper 16.
    below: u32,
    /// By the upper 8 bits the block of the lower 8, by these the number of the bits.
    blocks: Vec<u8>,
    numbers: Vec<[u8; 256]>,
    /// None: a part does not have the same bits all over.
    bits: Vec<Option<u64>>,
}

impl Parts {
    /// None: there are too many kinds of parts.
    fn of<T: Copy + Ord + Into<u64>>(steps: &Steps<T>, below: u32) -> Option<Self> {
        let starts: Vec<u64> = steps.list.iter().map(|(start, _)| (*start).into()).collect();
        let changes = |first: u64, last: u64| {
            let next = starts.partition_point(|start| *start <= first);
            starts.get(next).is_some_and(|start| *start <= last)
        };
        let bits_at = |number: u64| {
            let place = starts.partition_point(|start| *start <= number);
            place.checked_sub(1).and_then(|place| steps.list.get(place)).map_or(0, |(_, bits)| *bits)
        };
        let mut parts = Self { below, blocks: Vec::new(), numbers: Vec::new(), bits: Vec::new() };
        for block in 0..256_u64 {
            let first = (block << 8) << below;
            let last = (((block << 8) | 255) << below) | ((1_u64 << below).wrapping_sub(1));
            let mut numbers = [0; 256];
            if changes(first, last) {
                for (number, part) in numbers.iter_mut().zip(0_u64..) {
                    let first = ((block << 8) | part) << below;
                    let last = first | ((1_u64 << below).wrapping_sub(1));
                    *number = parts.number((!changes(first, last)).then(|| bits_at(first)))?;
                }
            } else {
                numbers = [parts.number(Some(bits_at(first)))?; 256];
            }
            let place = parts.numbers.iter().position(|known| *known == numbers).unwrap_or_else(|| {
                parts.numbers.push(numbers);
                parts.numbers.len().saturating_sub(1)
            });
            parts.blocks.push(u8::try_from(place).ok()?);
        }
        Some(parts)
    }

    fn number(&mut self, bits: Option<u64>) -> Option<u8> {
        let place = self.bits.iter().position(|known| *known == bits).unwrap_or_else(|| {
            self.bits.push(bits);
            self.bits.len().saturating_sub(1)
        });
        u8::try_from(place).ok()
    }

    #[inline]
    fn at(&self, number: u64) -> Option<u64> {
        let part = number.wrapping_shr(self.below);
        let block = self.blocks.get(usize::try_from(part >> 8).ok()?)?;
        let number = self.numbers.get(usize::from(*block))?.get(usize::from(part.to_le_bytes()[0]))?;
        *self.bits.get(usize::from(*number))?
    }
}

impl<T: Copy + Ord> Steps<T> {
    /// Adds a bit from `first` on, up to below `end`; None: for all the rest.
    fn add(&mut self, first: T, end: Option<T>, bit: u64) {
        for start in [Some(first), end].into_iter().flatten() {
            let place = self.list.partition_point(|(known, _)| *known < start);
            if self.list.get(place).is_none_or(|(known, _)| *known != start) {
                self.list.insert(place, (start, self.search(start)));
            }
        }
        for (_, bits) in self.list.iter_mut().filter(|(start, _)| *start >= first && end.is_none_or(|end| *start < end))
        {
            *bits |= bit;
        }
    }

    fn search(&self, number: T) -> u64 {
        let place = self.list.partition_point(|(start, _)| *start <= number);
        place.checked_sub(1).and_then(|place| self.list.get(place)).map_or(0, |(_, bits)| *bits)
    }
}

impl<T: Copy + Ord + Into<u64>> Steps<T> {
    /// Tells most numbers at once from now on, of which mostly the upper 16 of so many bits count.
    fn settle(&mut self, bits: u32) {
        self.parts = Parts::of(self, bits.saturating_sub(16));
    }

    #[inline]
    fn at(&self, number: T) -> u64 {
        let told = self.parts.as_ref().and_then(|parts| parts.at(number.into()));
        told.unwrap_or_else(|| self.search(number))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Field(Field),
    /// Whether the device stopped the session.
    Blocked,
    /// Name of the device that sent the message.
    Device,
}

#[derive(Debug, PartialEq, Eq)]
enum Test {
    Texts(Vec<Box<str>>),
    Numbers(Vec<RangeInclusive<u64>>),
    Within(Networks),
    Flag(bool),
    Differs(Field),
}

impl Condition {
    /// Reads a `where` table; its tests are added to `tests` where they are new.
    pub fn read(value: &Json, path: String, tests: &mut Tests, problems: &mut Problems) -> Self {
        let Some(table) = Table::of(value, path, problems) else { return Self::default() };
        let mut own = Vec::new();
        for (name, value, path) in table.entries() {
            let subject = match Field::named(name) {
                Some(field) => Subject::Field(field),
                None if name == "blocked" => Subject::Blocked,
                None if name == "device" => Subject::Device,
                None => {
                    problems.add(path, format!("{name} is no ASIM field"));
                    continue;
                }
            };
            if let Some((test, says)) = test(subject, value, &path, problems) {
                // A session mostly fails some test: the cheap ones come first.
                own.push((cost(subject, &test), tests.number(subject, test), says));
            }
        }
        own.sort_by_key(|(cost, ..)| *cost);
        let mut condition = Self::default();
        for (_, number, says) in own {
            let bit = tests.told(number);
            if bit == 0 {
                condition.others.push((number, says));
            } else {
                condition.told |= bit;
                condition.wanted |= if says { bit } else { 0 };
            }
        }
        condition
    }

    /// Whether the session passes.
    #[inline]
    pub fn fits(&self, answers: &mut Answers<'_, '_>) -> bool {
        answers.said & self.told == self.wanted
            && (self.others.is_empty() || self.others.iter().all(|(number, says)| answers.says(*number) == *says))
    }
}

impl Tests {
    /// The number of a test, a new one where it has none.
    fn number(&mut self, subject: Subject, test: Test) -> usize {
        let test = (subject, test);
        self.list.iter().position(|known| *known == test).unwrap_or_else(|| {
            let number = self.list.len();
            self.look_for(&test, bit(number));
            self.list.push(test);
            number
        })
    }

    /// The bit of a test that is answered beforehand; 0 for others.
    fn told(&self, number: usize) -> u64 {
        let cheap = self.list.get(number).is_some_and(|(subject, test)| is_cheap(*subject, test));
        if cheap { bit(number) } else { 0 }
    }

    /// Answers a test beforehand, if it is cheap and has a bit.
    fn look_for(&mut self, (subject, test): &(Subject, Test), bit: u64) {
        if bit == 0 || !is_cheap(*subject, test) {
            return;
        }
        match (subject, test) {
            (Subject::Field(field), Test::Within(networks)) => {
                let new = Look::Address(*field, Steps::default(), Steps::default());
                let known = |look: &Look| matches!(look, Look::Address(known, ..) if known == field);
                let Some(Look::Address(_, v4, v6)) = self.look(known, new) else { return };
                networks.v4().for_each(|(first, last)| v4.add(first, last.checked_add(1), bit));
                networks.v6().for_each(|(first, last)| v6.add(first, last.checked_add(1), bit));
            }
            (Subject::Field(field), Test::Numbers(ranges)) => {
                let known = |look: &Look| matches!(look, Look::Number(known, _) if known == field);
                let Some(Look::Number(_, steps)) = self.look(known, Look::Number(*field, Steps::default())) else {
                    return;
                };
                for range in ranges {
                    steps.add(*range.start(), range.end().checked_add(1), bit);
                }
            }
            (Subject::Field(field), Test::Texts(texts)) => {
                let known = |look: &Look| matches!(look, Look::Word(known, _) if known == field);
                let Some(Look::Word(_, words)) = self.look(known, Look::Word(*field, Vec::new())) else { return };
                for text in texts {
                    if let Some((_, bits)) = words.iter_mut().find(|(word, _)| word == text) {
                        *bits |= bit;
                    } else {
                        words.push((text.clone(), bit));
                    }
                }
            }
            (Subject::Field(field), Test::Differs(other)) => self.looks.push(Look::Differs(*field, *other, bit)),
            (Subject::Blocked, Test::Flag(flag)) => {
                let known = |look: &Look| matches!(look, Look::Blocked(_));
                let Some(Look::Blocked([blocked, not])) = self.look(known, Look::Blocked([0, 0])) else { return };
                *(if *flag { blocked } else { not }) |= bit;
            }
            _ => {}
        }
    }

    /// The look that is known, else a new one.
    fn look(&mut self, known: impl Fn(&Look) -> bool, new: Look) -> Option<&mut Look> {
        let place = self.looks.iter().position(known).unwrap_or_else(|| {
            self.looks.push(new);
            self.looks.len().saturating_sub(1)
        });
        self.looks.get_mut(place)
    }

    /// All tests are known: what is looked up for each session is laid out for that.
    pub fn settle(&mut self) {
        for look in &mut self.looks {
            match look {
                Look::Address(_, v4, _) => v4.settle(u32::BITS),
                Look::Number(_, steps) => steps.settle(u16::BITS),
                Look::Word(..) | Look::Differs(..) | Look::Blocked(_) => {}
            }
        }
    }

    /// Adds what the tests look at.
    pub fn wants(&self, wanted: &mut Wanted) {
        for (subject, test) in &self.list {
            match subject {
                Subject::Field(field) => wanted.fields.insert(*field),
                Subject::Blocked => wanted.blocked = true,
                // Every message's device is named anyway.
                Subject::Device => {}
            }
            if let Test::Differs(other) = test {
                wanted.fields.insert(*other);
            }
        }
    }

    /// Ready to be asked about a session that the device of that name told of.
    #[inline]
    pub fn ask<'a, 'm>(&'a self, session: &'a Session<'m>, device: &'a [u8]) -> Answers<'a, 'm> {
        let mut said = 0;
        for look in &self.looks {
            said |= look.at(session);
        }
        Answers { tests: self, session, device, asked: 0, said }
    }
}

/// The bit of a test; 0 from the 65th on, of which no shipped rules have any.
fn bit(number: usize) -> u64 {
    u32::try_from(number).ok().and_then(|number| 1_u64.checked_shl(number)).unwrap_or(0)
}

/// Whether looking costs less than remembering whether it was done.
fn is_cheap(subject: Subject, test: &Test) -> bool {
    match (subject, test) {
        (_, Test::Flag(_) | Test::Numbers(_) | Test::Within(_)) => true,
        (Subject::Field(field), Test::Texts(_)) => matches!(field.kind(), Kind::Word(_)),
        (Subject::Field(field), Test::Differs(_)) => matches!(field.kind(), Kind::Address | Kind::Port | Kind::Number),
        (_, Test::Texts(_) | Test::Differs(_)) => false,
    }
}

impl Look {
    #[inline]
    fn at(&self, session: &Session<'_>) -> u64 {
        match self {
            Self::Address(field, v4, v6) => match session.get(*field) {
                Some(Value::Address(Ip::V4(bytes))) => v4.at(u32::from_be_bytes(*bytes)),
                Some(Value::Address(Ip::V6(bytes))) => v6.search(u128::from_be_bytes(*bytes)),
                _ => 0,
            },
            Self::Number(field, steps) => session.number(*field).map_or(0, |number| steps.at(number)),
            Self::Word(field, words) => {
                let held = session.word(*field);
                words.iter().find(|(word, _)| is_same(word.as_bytes(), held.as_bytes())).map_or(0, |(_, bits)| *bits)
            }
            Self::Differs(field, other, bit) => {
                if differ(session, *field, *other) {
                    *bit
                } else {
                    0
                }
            }
            Self::Blocked([blocked, not]) => {
                if session.is_blocked() {
                    *blocked
                } else {
                    *not
                }
            }
        }
    }
}

impl Answers<'_, '_> {
    #[inline]
    fn says(&mut self, number: usize) -> bool {
        // Tests without a bit are looked at each time.
        let bit = bit(number);
        if self.asked & bit == 0 {
            self.asked |= bit;
            if self.look(number) {
                self.said |= bit;
                return true;
            }
            return false;
        }
        self.said & bit != 0
    }

    #[inline(never)]
    fn look(&self, number: usize) -> bool {
        let test = self.tests.list.get(number);
        test.is_some_and(|(subject, test)| fits(*subject, test, self.session, self.device))
    }
}

/// How much a test costs, in no unit.
fn cost(subject: Subject, test: &Test) -> u8 {
    match (subject, test) {
        (_, Test::Flag(_) | Test::Numbers(_)) => 0,
        (Subject::Field(field), Test::Texts(_)) if matches!(field.kind(), Kind::Word(_)) => 1,
        (_, Test::Differs(_)) => 2,
        (_, Test::Within(_)) => 3,
        (_, Test::Texts(_)) => 4,
    }
}

fn fits(subject: Subject, test: &Test, session: &Session<'_>, device: &[u8]) -> bool {
    let field = match (subject, test) {
        (Subject::Blocked, Test::Flag(flag)) => return session.is_blocked() == *flag,
        (Subject::Device, Test::Texts(texts)) => return is_one_of(device, texts),
        (Subject::Blocked | Subject::Device, _) => return false,
        (Subject::Field(field), _) => field,
    };
    match test {
        Test::Texts(texts) => match field.kind() {
            Kind::Word(_) => texts.iter().any(|text| **text == *session.word(field)),
            _ => session.get(field).is_some_and(|value| {
                let held = value.bytes();
                texts.iter().any(|text| text.as_bytes() == &*held)
            }),
        },
        Test::Numbers(ranges) => session.number(field).is_some_and(|n| ranges.iter().any(|range| range.contains(&n))),
        Test::Within(networks) => session.address(field).is_some_and(|ip| networks.contains(ip)),
        Test::Differs(other) => differ(session, field, *other),
        Test::Flag(_) => false,
    }
}

fn differ(session: &Session<'_>, field: Field, other: Field) -> bool {
    match (session.get(field), session.get(other)) {
        (Some(Value::Address(one)), Some(Value::Address(two))) => one != two,
        (Some(Value::Number(one)), Some(Value::Number(two))) => one != two,
        (Some(one), Some(two)) => one.bytes() != two.bytes(),
        (one, two) => one.is_some() != two.is_some(),
    }
}

/// Apart from the other tests: what it needs would cost them time.
#[inline(never)]
fn is_one_of(device: &[u8], texts: &[Box<str>]) -> bool {
    let shown = device::shown(device);
    texts.iter().any(|text| **text == *shown)
}

/// A test, and what it has to say: `not` turns that round.
fn test(subject: Subject, value: &Json, path: &str, problems: &mut Problems) -> Option<(Test, bool)> {
    if value.is_object() {
        let mut table = Table::of(value, path, problems)?;
        let differs = table.text("differs", problems).map(ToOwned::to_owned);
        let not = table.get("not").and_then(|inner| test(subject, inner, &format!("{path}.not"), problems));
        table.finish(problems);
        return match (differs, not) {
            (Some(name), None) if matches!(subject, Subject::Field(_)) => {
                let other = Field::named(&name);
                if other.is_none() {
                    problems.add(path, format!("{name} is no ASIM field"));
                }
                other.map(|other| (Test::Differs(other), true))
            }
            (None, Some((inner, says))) => Some((inner, !says)),
            _ => {
                problems.add(path, "expected one of not and differs");
                None
            }
        };
    }
    let one = [value.clone()];
    let items: &[Json] = value.as_array().map_or(&one, Vec::as_slice);
    let texts = || items.iter().map(|item| item.as_str().map(Into::into)).collect::<Option<_>>().map(Test::Texts);
    let made = match subject {
        Subject::Blocked => value.as_bool().map(Test::Flag),
        Subject::Device => texts(),
        Subject::Field(field) => match field.kind() {
            Kind::Address => {
                let texts: Option<Vec<&str>> = items.iter().map(Json::as_str).collect();
                texts.and_then(|texts| Networks::parse(texts).ok()).map(Test::Within)
            }
            Kind::Port | Kind::Number => items.iter().map(range).collect::<Option<_>>().map(Test::Numbers),
            Kind::Word(legal) => {
                let word = |item: &Json| item.as_str().filter(|word| legal.contains(word)).map(Into::into);
                items.iter().map(word).collect::<Option<_>>().map(Test::Texts)
            }
            Kind::Text | Kind::Protocol => texts(),
        },
    };
    if made.is_none() {
        let name = match subject {
            Subject::Field(field) => field.name(),
            Subject::Blocked => "blocked",
            Subject::Device => "device",
        };
        let shown = if value.is_array() { "this list" } else { kind_of(value) };
        problems.add(path, format!("{name} can't be compared with {shown} ({value})"));
    }
    made.map(|test| (test, true))
}

/// A number, or `"from-to"`.
fn range(value: &Json) -> Option<RangeInclusive<u64>> {
    if let Some(number) = value.as_u64() {
        return Some(number..=number);
    }
    let (from, to) = value.as_str()?.split_once('-')?;
    let (from, to) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
    (from <= to).then_some(from..=to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Value;
    use crate::value::ip;
    use serde_json::json;

    fn passes(condition: &Json) -> bool {
        let mut problems = Problems::default();
        let mut tests = Tests::default();
        let condition = Condition::read(condition, "where".into(), &mut tests, &mut problems);
        assert_eq!(Vec::<crate::plan::Problem>::new(), problems.0);
        let mut session = Session::default();
        session.set(Field::SrcIpAddr, Value::Address(ip::parse(b"192.0.2.1").unwrap()));
        session.set(Field::DstIpAddr, Value::Address(ip::parse(b"10.0.0.1").unwrap()));
        session.set(Field::DstPortNumber, Value::Number(445));
        session.set(Field::EventResult, Value::Word("Failure"));
        session.set(Field::DvcAction, Value::Word("Drop ICMP"));
        let mut answers = tests.ask(&session, b"fw-1");
        let first = condition.fits(&mut answers);
        assert_eq!(first, condition.fits(&mut answers));
        first
    }

    #[test]
    fn each_test_fits_what_it_says() {
        for yes in [
            json!({}),
            json!({"EventResult": "Failure", "DstPortNumber": 445}),
            json!({"EventResult": ["Success", "Failure"]}),
            json!({"DstPortNumber": [139, "440-450"]}),
            json!({"SrcIpAddr": "192.0.2.0/24"}),
            json!({"SrcIpAddr": {"not": ["10.0.0.0/8", "172.16.0.0/12"]}}),
            json!({"SrcIpAddr": {"differs": "DstIpAddr"}}),
            json!({"SrcHostname": {"not": "scanner"}}),
            json!({"blocked": true}),
            json!({"device": "fw-1", "DstPortNumber": 445}),
            json!({"device": ["fw-0", "fw-1"]}),
            json!({"device": {"not": "fw-2"}}),
        ] {
            assert!(passes(&yes), "{yes}");
        }
        for no in [
            json!({"EventResult": "Success"}),
            json!({"DvcAction": "Drop"}),
            json!({"DstPortNumber": 44}),
            json!({"SrcIpAddr": "10.0.0.0/8"}),
            json!({"SrcPortNumber": "0-65535"}),
            json!({"SrcIpAddr": {"not": "192.0.2.1"}}),
            json!({"blocked": false}),
            json!({"device": "FW-1"}),
            json!({"device": {"not": ["fw-1"]}}),
        ] {
            assert!(!passes(&no), "{no}");
        }
    }

    #[test]
    fn conditions_share_equal_tests() {
        let mut problems = Problems::default();
        let mut tests = Tests::default();
        for condition in [
            json!({"EventResult": "Failure", "SrcIpAddr": "10.0.0.0/8"}),
            json!({"SrcIpAddr": {"not": "10.0.0.0/8"}, "DstPortNumber": 22}),
        ] {
            Condition::read(&condition, "where".into(), &mut tests, &mut problems);
        }
        assert_eq!(3, tests.list.len());
    }

    /// What is answered beforehand is what the test says by itself.
    #[test]
    fn a_look_answers_as_the_tests_do() {
        let mut problems = Problems::default();
        let mut tests = Tests::default();
        for condition in [
            json!({"SrcIpAddr": ["10.0.0.0/8", "fc00::/7"], "DstPortNumber": [22, "80-90"], "blocked": true}),
            json!({"SrcIpAddr": ["0.0.0.0/0", "::1"], "DstPortNumber": ["85-443", 65535], "blocked": false}),
            json!({"SrcIpAddr": ["10.1.128.0/17", "fc00::/8"], "DstIpAddr": {"differs": "SrcIpAddr"}}),
            json!({"DvcAction": ["Deny", "Drop"], "EventCount": "0-18446744073709551615"}),
            json!({"DvcAction": "Drop", "SrcIpAddr": "ff00::/8", "DstPortNumber": {"differs": "SrcPortNumber"}}),
        ] {
            Condition::read(&condition, "where".into(), &mut tests, &mut problems);
        }
        tests.settle();
        assert_eq!(Vec::<crate::plan::Problem>::new(), problems.0);
        assert_eq!(13, tests.list.len());
        assert_eq!(7, tests.looks.len());
        let sources = [
            "",
            "9.255.255.255",
            "10.0.0.0",
            "10.1.127.255",
            "10.1.128.0",
            "10.1.255.255",
            "10.2.0.0",
            "255.255.255.255",
            "::",
            "::1",
            "fbff::",
            "fc00::",
            "fd00::1",
            "fe00::",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ];
        for source in sources {
            for port in [
                None,
                Some(0),
                Some(22),
                Some(79),
                Some(80),
                Some(84),
                Some(85),
                Some(90),
                Some(443),
                Some(444),
                Some(65535),
            ] {
                for action in ["", "Deny", "Drop", "Allow", "Drop ICMP"] {
                    let mut session = Session::default();
                    if let Some(ip) = ip::parse(source.as_bytes()) {
                        session.set(Field::SrcIpAddr, Value::Address(ip));
                    }
                    if let Some(port) = port {
                        session.set(Field::DstPortNumber, Value::Number(port));
                        session.set(Field::EventCount, Value::Number(u64::MAX));
                    }
                    session.set(Field::SrcPortNumber, Value::Number(443));
                    session.set(Field::DstIpAddr, Value::Address(ip::parse(b"fd00::1").unwrap()));
                    session.set(Field::DvcAction, Value::Word(action));
                    let answers = tests.ask(&session, b"");
                    for (number, (subject, test)) in tests.list.iter().enumerate() {
                        let told = answers.said & tests.told(number) != 0;
                        assert_eq!(fits(*subject, test, &session, b""), told, "{test:?} {session:?}");
                    }
                }
            }
        }
    }

    /// There are more tests than answers are remembered of.
    #[test]
    fn any_number_of_tests_is_right() {
        let mut problems = Problems::default();
        let mut tests = Tests::default();
        let mut session = Session::default();
        session.set(Field::DstPortNumber, Value::Number(99));
        let conditions: Vec<Condition> = (0..200)
            .map(|port| Condition::read(&json!({"DstPortNumber": port}), "where".into(), &mut tests, &mut problems))
            .collect();
        let mut answers = tests.ask(&session, b"");
        for _ in 0..2 {
            let fits: Vec<usize> = (0..200).filter(|number| conditions[*number].fits(&mut answers)).collect();
            assert_eq!(vec![99], fits);
        }
    }

    #[test]
    fn refuses_what_a_field_can_never_be() {
        let wrong = json!({"EventResult": "Failed", "DstPortNumber": "high", "SrcIpAddr": "gateway", "Source": "x",
                           "DvcAction": {"equals": "Deny"}, "blocked": "yes", "device": 5});
        let mut problems = Problems::default();
        Condition::read(&wrong, "where".into(), &mut Tests::default(), &mut problems);
        let paths: std::collections::BTreeSet<&str> = problems.0.iter().map(|p| p.path.as_str()).collect();
        for name in ["EventResult", "DstPortNumber", "SrcIpAddr", "Source", "DvcAction", "blocked", "device"] {
            assert!(paths.contains(format!("where.{name}").as_str()), "{name}: {paths:?}");
        }
    }
}
