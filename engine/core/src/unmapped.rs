//! Vendors' words that no map of their profile knows: what a profile's author should look at.

use std::collections::HashMap;

/// Most words kept between two batches; words come from the wire.
pub const MAX_WORDS: usize = 1_024;

/// Longest word, in bytes.
pub const WORD_BYTES: usize = 64;

/// A word and how often it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnmappedWord {
    /// The profile.
    pub profile: String,
    /// Key, column, hole or field that the map reads.
    pub from: String,
    /// The word in lower case, cut to [`WORD_BYTES`]; bytes that are no UTF-8 are replaced.
    pub word: String,
    /// How often.
    pub messages: u64,
}

/// The words since the last batch.
#[derive(Default)]
pub struct UnmappedWords {
    words: HashMap<(String, String, Vec<u8>), u64>,
}

impl UnmappedWords {
    /// Notes a word; a new one has no place when there are too many.
    pub fn note(&mut self, profile: &str, from: &str, word: &[u8]) {
        let word = word.get(..WORD_BYTES).unwrap_or(word).to_ascii_lowercase();
        let key = (profile.to_owned(), from.to_owned(), word);
        if let Some(count) = self.words.get_mut(&key) {
            *count = count.saturating_add(1);
        } else if self.words.len() < MAX_WORDS {
            self.words.insert(key, 1);
        }
    }

    /// Everything noted since the last call.
    pub fn take(&mut self) -> Vec<UnmappedWord> {
        let words = std::mem::take(&mut self.words).into_iter();
        words
            .map(|((profile, from, word), messages)| UnmappedWord {
                profile,
                from,
                word: String::from_utf8_lossy(&word).into_owned(),
                messages,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_words_without_case_and_is_bounded() {
        let mut words = UnmappedWords::default();
        words.note("p", "action", b"Quarantined");
        words.note("p", "action", b"quarantined");
        assert_eq!(
            vec![UnmappedWord { profile: "p".into(), from: "action".into(), word: "quarantined".into(), messages: 2 }],
            words.take()
        );
        for number in 0..MAX_WORDS + 10 {
            words.note("p", "action", number.to_string().as_bytes());
        }
        assert_eq!(MAX_WORDS, words.take().len());
    }
}
