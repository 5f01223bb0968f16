//! Searching for the next byte of interest, eight bytes at a time.
//!
//! Keys and values in syslog are short (6 and 5 bytes in a firewall's log), so the call into a vectorised search costs
//! more than the search, and a loop over bytes pays a wrong branch at each end of a token. Eight bytes in one register
//! find the end of most tokens with no branch that depends on their length.
//!
//! Readers that mostly find what they expect look at whole blocks instead, see [`super::blocks`].
//!
//! A mask has the high bit of a byte set where that byte is of interest. The tests below may set further bits *above* a
//! true one, never below (the borrow of a subtraction goes up): take the lowest bit only. Masks may be joined with `|`.
//!
//! Places in a text never pass its length by more than a few bytes, and a slice is at most `isize::MAX` bytes long, so
//! adding to one cannot wrap; `wrapping_add` only spares the check.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The bytes in one register.
const WIDTH: usize = 8;

/// The same byte eight times.
#[inline]
const fn splat(byte: u8) -> u64 {
    // 255 times 0x0101... is all ones: it cannot overflow.
    ONES.wrapping_mul(byte as u64)
}

/// This byte and all below it are blanks.
pub(super) const LAST_BLANK: u8 = b' ';

/// Whether a byte separates words: space, tab, end of line, NUL and every other control character.
#[inline]
pub(super) const fn is_blank(byte: u8) -> bool {
    byte <= LAST_BLANK
}

/// Marks bytes that equal `byte`; only the lowest mark counts.
#[inline]
pub(super) const fn equal(word: u64, byte: u8) -> u64 {
    let x = word ^ splat(byte);
    x.wrapping_sub(ONES) & !x & HIGHS
}

/// Marks bytes that are blank; only the lowest mark counts.
#[inline]
pub(super) const fn blank(word: u64) -> u64 {
    word.wrapping_sub(splat(LAST_BLANK.wrapping_add(1))) & !word & HIGHS
}

/// How many bytes stand before the lowest mark. The mask must not be empty.
#[inline]
const fn lowest(mask: u64) -> usize {
    (mask.trailing_zeros() >> 3) as usize
}

/// The eight bytes at `at`, the first one lowest; `None` where fewer are left.
#[inline]
fn word(text: &[u8], at: usize) -> Option<u64> {
    text.get(at..)?.first_chunk::<WIDTH>().map(|bytes| u64::from_le_bytes(*bytes))
}

/// The place of the first byte of interest at or after `from`, else the length of the text.
///
/// `mask` and `byte` must be of one mind: the first serves whole registers, the second the last few bytes.
#[inline]
pub(super) fn find(text: &[u8], from: usize, mask: impl Fn(u64) -> u64, byte: impl Fn(u8) -> bool) -> usize {
    let mut at = from;
    while let Some(word) = word(text, at) {
        let marks = mask(word);
        if marks != 0 {
            return at.wrapping_add(lowest(marks));
        }
        at = at.wrapping_add(WIDTH);
    }
    let tail = text.get(at..).unwrap_or_default();
    tail.iter().position(|&b| byte(b)).map_or(text.len(), |n| at.wrapping_add(n))
}

/// The place of the first `byte` at or after `from`, else the length of the text.
#[inline]
pub(super) fn find_byte(text: &[u8], from: usize, byte: u8) -> usize {
    find(text, from, |word| equal(word, byte), |b| b == byte)
}

/// The text without the blanks at its end.
#[inline]
pub(crate) fn trim_end(text: &[u8]) -> &[u8] {
    let mut text = text;
    while let [rest @ .., last] = text {
        if !is_blank(*last) {
            break;
        }
        text = rest;
    }
    text
}

/// The text without the blanks at its start and its end.
#[inline]
pub(super) fn trim(text: &[u8]) -> &[u8] {
    let mut text = trim_end(text);
    while let [first, rest @ ..] = text {
        if !is_blank(*first) {
            break;
        }
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair of neighbouring byte values, so that no carry from one byte to the next goes unseen.
    #[test]
    fn masks_agree_with_a_loop_over_bytes() {
        for wanted in [b'=', b',', b'"', b'\\', b'|', 0, 0x80, 0xff] {
            for low in 0..=255_u8 {
                for high in 0..=255_u8 {
                    let bytes = [b'x', low, high, b'x', high, low, low, b'x'];
                    let word = u64::from_le_bytes(bytes);
                    let first = bytes.iter().position(|&b| b == wanted);
                    let mask = equal(word, wanted);
                    assert_eq!((mask != 0).then(|| lowest(mask)), first, "{bytes:?}");
                    let first = bytes.iter().position(|&b| b == wanted || is_blank(b));
                    let mask = equal(word, wanted) | blank(word);
                    assert_eq!((mask != 0).then(|| lowest(mask)), first, "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn finds_at_every_place_and_length() {
        for length in 0..30 {
            for place in 0..=length {
                let mut text = vec![b'x'; length];
                if let Some(byte) = text.get_mut(place) {
                    *byte = b'=';
                }
                for from in 0..=place {
                    assert_eq!(find_byte(&text, from, b'='), place.min(length));
                }
                assert_eq!(find_byte(&text, place + 1, b'='), length);
            }
        }
    }

    #[test]
    fn trims_blanks_of_every_kind() {
        assert_eq!(trim(b" \t a b \r\n\0"), b"a b");
        assert_eq!(trim_end(b" a \r\n"), b" a");
        assert_eq!(trim(b" \r\n"), b"");
    }
}
