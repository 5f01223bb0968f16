//! Looking up a short word of a message (a key, an id, an action) among the ones that a profile names.
//!
//! This runs for every key of every key=value message, mostly for keys that nobody wants: so a miss must cost one look.
//! Letter case (ASCII) is ignored.

/// A fixed set of words, each with its number in the order given.
#[derive(Debug)]
pub struct Words {
    known: Vec<Known>,
    /// By [`look`] the number of the word that has it, [`EMPTY`] or [`SEVERAL`]: keys that one device writes nearly all
    /// differ in their look.
    looks: Box<[u16; LOOKS]>,
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
    #[inline]
    fn is(&self, word: &[u8], ends: Ends) -> bool {
        self.word.len() == word.len()
            && ((self.ends == ends && word.len() <= ENDS_BYTES) || self.is_in_other_letters(word))
    }

    #[cold]
    #[inline(never)]
    fn is_in_other_letters(&self, word: &[u8]) -> bool {
        self.word.eq_ignore_ascii_case(word)
    }
}

const EMPTY: u16 = u16::MAX;

/// More than one word has this look.
const SEVERAL: u16 = EMPTY - 1;

/// How many looks are told apart: many more than a set has words.
const LOOKS: usize = 1024;

/// What a word looks like at first sight: five bits of its first letter, and five of its last one mixed with its length.
/// Letter case is none of them.
#[inline]
fn look(word: &[u8]) -> usize {
    let (Some(first), Some(last)) = (word.first(), word.last()) else { return 0 };
    (usize::from(*first) << 5 ^ usize::from(*last & 0x1f) ^ word.len() << 1) % LOOKS
}

impl Default for Words {
    fn default() -> Self {
        Self::new([])
    }
}

impl Words {
    /// The set of `words`; the first of two equal ones is found.
    ///
    /// # Limits
    /// 65,534 words; more are not found.
    pub fn new<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let words: Vec<Box<[u8]>> = words.into_iter().map(|w| w.as_bytes().into()).collect();
        let size = words.len().saturating_mul(4).next_power_of_two().max(8);
        let mut set = Self { known: Vec::new(), looks: Box::new([EMPTY; LOOKS]), table: vec![EMPTY; size] };
        for word in words {
            let number = u16::try_from(set.known.len()).unwrap_or(EMPTY);
            if number < SEVERAL && set.look_up(&word).is_none() {
                if let Some(look) = set.looks.get_mut(look(&word)) {
                    *look = if *look == EMPTY { number } else { SEVERAL };
                }
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
        match *self.looks.get(look(word))? {
            EMPTY => None,
            SEVERAL => self.look_up(word),
            number => {
                let number = usize::from(number);
                self.known.get(number)?.is(word, Ends::of(word)).then_some(number)
            }
        }
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

    /// Words of few letters, so that many have the same look or both ends in common.
    #[test]
    fn finds_what_comparing_with_each_word_finds() {
        let word = |number: usize| -> String {
            let length = number % 19;
            let letters = (0..length).map(|place| b"aAb_"[number.wrapping_mul(place + 7) / 19 % 4]);
            letters.map(char::from).collect()
        };
        for count in [0, 1, 2, 5, 20, 400] {
            let names: Vec<String> = (0..count).map(|number| word(number * 31)).collect();
            let words = Words::new(names.iter().map(String::as_str));
            for asked in (0..3000).map(word) {
                let wanted = names.iter().position(|name| name.eq_ignore_ascii_case(&asked));
                assert_eq!(wanted, words.find(asked.as_bytes()), "{asked} of {count}");
            }
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
