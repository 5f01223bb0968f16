//! Looking up a short word of a message (a key, an id, an action) among the ones that a profile names.
//!
//! This runs for every key of every key=value message, mostly for keys that nobody wants: so a miss must cost a hash and
//! one look. Letter case (ASCII) is ignored.

/// A fixed set of words, each with its number in the order given.
#[derive(Debug, Default)]
pub struct Words {
    known: Vec<Known>,
    /// A bit for each look (see [`look`]) that a word of the set has: most words that nobody wants have another one, and
    /// are turned away before they are hashed.
    looks: [u64; LOOKS / 64],
    /// Open addressing, a power of two long, at most a quarter full; [`EMPTY`] ends a probe.
    table: Vec<u16>,
}

#[derive(Debug)]
struct Known {
    word: Box<[u8]>,
    ends: Ends,
}

impl Known {
    /// Mostly a device writes a word just as the profile does, and mostly both ends are all of it: two comparisons then.
    fn is(&self, word: &[u8], ends: Ends) -> bool {
        let is_exact = self.ends == ends && self.word.len() == word.len() && word.len() <= ENDS_BYTES;
        is_exact || self.word.eq_ignore_ascii_case(word)
    }
}

const EMPTY: u16 = u16::MAX;

/// How many looks are told apart: many more than a set has words.
const LOOKS: usize = 1024;

/// What a word looks like at first sight: its length, its first and its last letter without case, mixed. The place and
/// the bit of it.
#[inline]
fn look(word: &[u8]) -> (usize, u64) {
    let (first, last) = match word {
        [first, .., last] => (first | 0x20, last | 0x20),
        [only] => (only | 0x20, 0),
        [] => (0, 0),
    };
    let mixed = usize::from(first).wrapping_mul(37) ^ usize::from(last).wrapping_mul(5) ^ word.len().wrapping_mul(151);
    (mixed % LOOKS / 64, 1_u64.wrapping_shl(u32::try_from(mixed % 64).unwrap_or(0)))
}

impl Words {
    /// The set of `words`; the first of two equal ones is found.
    ///
    /// # Limits
    /// 65,534 words; more are not found.
    pub fn new<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let words: Vec<Box<[u8]>> = words.into_iter().map(|w| w.as_bytes().into()).collect();
        let size = words.len().saturating_mul(4).next_power_of_two().max(8);
        let mut set = Self { known: Vec::new(), looks: [0; LOOKS / 64], table: vec![EMPTY; size] };
        for word in words {
            let (place, bit) = look(&word);
            if let Some(looks) = set.looks.get_mut(place) {
                *looks |= bit;
            }
            let number = u16::try_from(set.known.len()).unwrap_or(EMPTY);
            if number != EMPTY && set.find(&word).is_none() {
                let mut place = set.first_place(&word, Ends::of(&word));
                while set.table.get(place).is_some_and(|taken| *taken != EMPTY) {
                    place = set.next_place(place);
                }
                if let Some(free) = set.table.get_mut(place) {
                    *free = number;
                }
            }
            let ends = Ends::of(&word);
            set.known.push(Known { word, ends });
        }
        set
    }

    /// The number of a word.
    #[inline]
    pub fn find(&self, word: &[u8]) -> Option<usize> {
        let (place, bit) = look(word);
        if self.looks.get(place)? & bit == 0 { None } else { self.look_up(word) }
    }

    /// No part of [`find`](Self::find), so that what most words take stays small enough to be part of a reader's loop.
    #[inline(never)]
    fn look_up(&self, word: &[u8]) -> Option<usize> {
        let ends = Ends::of(word);
        let mut place = self.first_place(word, ends);
        loop {
            let number = *self.table.get(place)?;
            if number == EMPTY {
                return None;
            }
            let number = usize::from(number);
            if self.known.get(number).is_some_and(|known| known.is(word, ends)) {
                return Some(number);
            }
            place = self.next_place(place);
        }
    }

    fn first_place(&self, word: &[u8], ends: Ends) -> usize {
        let hash = (ends.folded() ^ (word.len() as u64).wrapping_mul(0x0100_0193)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // The table is small: the upper half of a multiplicative hash is the well mixed one.
        usize::try_from(hash >> 32).unwrap_or(0) & self.table.len().wrapping_sub(1)
    }

    fn next_place(&self, place: usize) -> usize {
        place.wrapping_add(1) & self.table.len().wrapping_sub(1)
    }
}

/// First and last bytes of a word, as numbers; together with its length they are all of it up to [`ENDS_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ends {
    first: u64,
    last: u64,
}

const ENDS_BYTES: usize = 16;

impl Ends {
    #[inline]
    fn of(word: &[u8]) -> Self {
        if let (Some(first), Some(last)) = (word.first_chunk::<8>(), word.last_chunk::<8>()) {
            Self { first: u64::from_le_bytes(*first), last: u64::from_le_bytes(*last) }
        } else if let (Some(first), Some(last)) = (word.first_chunk::<4>(), word.last_chunk::<4>()) {
            Self { first: u64::from(u32::from_le_bytes(*first)), last: u64::from(u32::from_le_bytes(*last)) }
        } else {
            Self { first: word.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)), last: 0 }
        }
    }

    /// Both in one number, without letter case.
    fn folded(self) -> u64 {
        // Sets the bit by which ASCII letters differ in case; that other bytes change too does no harm in a hash.
        const LOWER: u64 = 0x2020_2020_2020_2020;
        (self.first | LOWER) ^ (self.last | LOWER).rotate_left(21)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_words_of_any_length_without_case() {
        let names = ["", "a", "src", "srcip", "srcport", "srcintfrole", "SentByte", "a-very-long-key-name-indeed"];
        let words = Words::new(names);
        for (number, name) in names.iter().enumerate() {
            assert_eq!(Some(number), words.find(name.to_uppercase().as_bytes()), "{name}");
            assert_eq!(Some(number), words.find(name.to_lowercase().as_bytes()), "{name}");
            assert_eq!(None, words.find(format!("{name}x").as_bytes()), "{name}");
        }
    }

    #[test]
    fn many_words_that_differ_in_the_middle_alone_are_told_apart() {
        let names: Vec<String> = (0..500).map(|i| format!("prefix__{i:06}__suffix")).collect();
        let words = Words::new(names.iter().map(String::as_str));
        for (number, name) in names.iter().enumerate() {
            assert_eq!(Some(number), words.find(name.as_bytes()));
        }
    }
}
