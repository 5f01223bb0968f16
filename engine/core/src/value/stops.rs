//! Where a hole of a [`template`](super::template) ends: at the first of what may follow it.

use super::scan;

/// A literal, with its two ends as numbers: two comparisons tell for most of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Literal {
    pub(super) bytes: Box<[u8]>,
    pub(super) start: Start,
    /// Its last eight bytes, if there are more than eight.
    last: Option<u64>,
}

/// Up to eight bytes that a text may start with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    word: u64,
    /// The bits that count.
    mask: u64,
}

/// What may follow a hole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stops {
    literals: Box<[Literal]>,
    firsts: Firsts,
    /// Whether the message may end instead.
    pub(super) end: bool,
}

/// The first bytes of what may follow a hole. A word ends at any blank, so those are left out for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Firsts {
    None,
    One(u8),
    Two(u8, u8),
    /// As 256 bits.
    Many([u64; 4]),
}

/// How many bytes [`Start`] looks at.
const START_BYTES: usize = 8;

impl Start {
    pub(super) fn new(literal: &[u8]) -> Self {
        let fold = |bytes: &mut dyn Iterator<Item = u8>| {
            bytes
                .take(START_BYTES)
                .fold((0, 0), |(word, at), byte| (word | u64::from(byte).wrapping_shl(at), at.saturating_add(8)))
                .0
        };
        Self { word: fold(&mut literal.iter().copied()), mask: fold(&mut literal.iter().map(|_| u8::MAX)) }
    }

    #[inline]
    pub(super) const fn fits(self, first_eight: [u8; START_BYTES]) -> bool {
        u64::from_le_bytes(first_eight) & self.mask == self.word
    }
}

impl Literal {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let last = bytes.last_chunk().filter(|_| bytes.len() > START_BYTES).map(|last| u64::from_le_bytes(*last));
        Self { bytes: bytes.into(), start: Start::new(bytes), last }
    }

    /// What stands behind the literal, if the text starts with it.
    #[inline]
    pub(super) fn after<'m>(&self, text: &'m [u8]) -> Option<&'m [u8]> {
        let Some(first_eight) = text.first_chunk() else { return text.strip_prefix(&*self.bytes) };
        if !self.start.fits(*first_eight) {
            return None;
        }
        let Some(last) = self.last else { return text.get(self.bytes.len()..) };
        let (start, after) = text.split_at_checked(self.bytes.len())?;
        if start.last_chunk().is_none_or(|found| u64::from_le_bytes(*found) != last) {
            return None;
        }
        // The two ends are all of up to sixteen bytes.
        let is_same = start.len() <= 2 * START_BYTES || start == &*self.bytes;
        is_same.then_some(after)
    }
}

impl Stops {
    /// `end`: the message may end instead.
    pub(super) fn new(literals: &[&[u8]], end: bool, is_word: bool) -> Self {
        let firsts = Firsts::of(literals, is_word);
        Self { literals: literals.iter().map(|&literal| Literal::new(literal)).collect(), firsts, end }
    }

    /// Where the first of the literals stands, or the end if it may; a word also ends at a blank.
    #[inline]
    pub(super) fn find(&self, text: &[u8], is_word: bool) -> Option<usize> {
        let mut at = 0;
        loop {
            at = self.firsts.next(text, at, is_word);
            let Some(here) = text.get(at..).filter(|here| !here.is_empty()) else {
                return self.end.then_some(text.len());
            };
            let is_blank = is_word && here.first().is_some_and(|byte| scan::is_blank(*byte));
            // Where nothing that may follow stands behind a word, the next step, or the caller, will find out.
            if is_blank || self.literals.iter().any(|literal| literal.after(here).is_some()) {
                return Some(at);
            }
            at = at.wrapping_add(1);
        }
    }
}

impl Firsts {
    pub(super) fn of(literals: &[&[u8]], is_word: bool) -> Self {
        let mut bytes: Vec<u8> = literals.iter().filter_map(|literal| literal.first().copied()).collect();
        bytes.retain(|byte| !(is_word && scan::is_blank(*byte)));
        bytes.sort_unstable();
        bytes.dedup();
        match *bytes {
            [] => Self::None,
            [one] => Self::One(one),
            [one, other] => Self::Two(one, other),
            _ => {
                let mut bits = [0_u64; 4];
                for byte in bytes {
                    if let Some(bits) = bits.get_mut(usize::from(byte >> 6)) {
                        *bits |= 1 << (byte & 63);
                    }
                }
                Self::Many(bits)
            }
        }
    }

    /// What stands before the first place of a literal, and what behind it; a word does not go past a blank.
    #[inline]
    pub(super) fn upto<'m>(&self, literal: &Literal, text: &'m [u8], is_word: bool) -> Option<(&'m [u8], &'m [u8])> {
        let mut at = 0;
        loop {
            at = self.next(text, at, is_word);
            let (held, here) = text.split_at_checked(at)?;
            if let Some(after) = literal.after(here) {
                return Some((held, after));
            }
            let first = here.first()?;
            if is_word && scan::is_blank(*first) {
                return None;
            }
            at = at.wrapping_add(1);
        }
    }

    /// The next place at which something may start, or a word end.
    #[inline]
    fn next(&self, text: &[u8], from: usize, is_word: bool) -> usize {
        match (self, is_word) {
            (Self::None, false) => text.len(),
            (Self::None, true) => scan::find(text, from, scan::blank, scan::is_blank),
            (Self::One(first), false) => scan::find_byte(text, from, *first),
            (Self::One(first), true) => scan::find(
                text,
                from,
                |word| scan::equal(word, *first) | scan::blank(word),
                |byte| byte == *first || scan::is_blank(byte),
            ),
            (Self::Two(one, other), false) => scan::find(
                text,
                from,
                |word| scan::equal(word, *one) | scan::equal(word, *other),
                |byte| byte == *one || byte == *other,
            ),
            (Self::Two(one, other), true) => scan::find(
                text,
                from,
                |word| scan::equal(word, *one) | scan::equal(word, *other) | scan::blank(word),
                |byte| byte == *one || byte == *other || scan::is_blank(byte),
            ),
            (Self::Many(bits), _) => {
                let tail = text.get(from..).unwrap_or_default();
                let is_first =
                    |byte: u8| bits.get(usize::from(byte >> 6)).is_some_and(|bits| bits >> (byte & 63) & 1 == 1);
                let stops = |byte: &u8| is_first(*byte) || (is_word && scan::is_blank(*byte));
                tail.iter().position(stops).map_or(text.len(), |n| from.wrapping_add(n))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LITERALS: [&[&[u8]]; 7] = [
        &[],
        &[b":"],
        &[b" to "],
        &[b": ", b" (("],
        &[b"/", b" a"],
        &[b"a(", b"/", b":a", b" "],
        &[b"a:a:a:a:a:a:a:a:a:a", b"("],
    ];

    /// Words of few letters, so that literals stand in them, and nearly stand in them.
    fn texts() -> impl Iterator<Item = Vec<u8>> {
        let mut state = 7_u64;
        (0..40_000).map(move |number| {
            let mut text: Vec<u8> = (0..number % 23)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    b"aa:/ (o"[usize::try_from(state % 7).unwrap()]
                })
                .collect();
            if number % 5 == 0 {
                text.extend_from_slice(b"a:a:a:a:a:a:a:a:a:a to a");
            }
            text
        })
    }

    #[test]
    fn a_hole_ends_at_the_first_thing_that_may_follow() {
        for text in texts() {
            for literals in LITERALS {
                for (end, is_word) in [(false, false), (false, true), (true, false), (true, true)] {
                    let starts = |at: &usize| {
                        let here = &text[*at..];
                        (is_word && here.first().is_some_and(|byte| scan::is_blank(*byte)))
                            || literals.iter().any(|literal| here.starts_with(literal))
                    };
                    let want = (0..text.len()).find(starts).or(end.then_some(text.len()));
                    let found = Stops::new(literals, end, is_word).find(&text, is_word);
                    assert_eq!(want, found, "{text:?} {literals:?} {end} {is_word}");
                }
            }
        }
    }

    #[test]
    fn a_hole_before_a_literal_takes_it_as_well() {
        for text in texts() {
            for literal in LITERALS.into_iter().flatten() {
                for is_word in [false, true] {
                    let word = text.iter().position(|byte| is_word && scan::is_blank(*byte)).unwrap_or(text.len());
                    let want = (0..=word).find_map(|at| Some((&text[..at], text[at..].strip_prefix(*literal)?)));
                    let found = Firsts::of(&[literal], is_word).upto(&Literal::new(literal), &text, is_word);
                    assert_eq!(want, found, "{text:?} {literal:?} {is_word}");
                }
            }
        }
    }
}
