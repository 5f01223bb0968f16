//! Searching a text for bytes of several kinds at once, 64 bytes at a time.
//!
//! Keys and values in syslog are short (6 and 5 bytes in a firewall's log): a search that starts anew behind each of them
//! spends more on starting than on searching. Here vector instructions look at 64 bytes, once for all kinds, and leave a
//! bit for each byte. A reader then goes from one bit to the next with arithmetic on one register: `x & -x` is the lowest
//! bit alone, and `-x` of such a bit are all from there on.
//!
//! Which vector instructions is the business of `wide`: SSE2 on every x86-64, NEON on ARM.
//!
//! Measured: a block costs some 100 instructions for four kinds. A whole `FortiGate` line (576 bytes, 42 pairs) takes
//! 15,094 instructions this way and 15,564 with a search per token, one of PAN-OS (columns up to the 31st) 11,392 and
//! 13,578. A search that asks a block for the next place, token by token, gains nothing: the call costs as much.

use wide::u8x16;

/// The bytes that one number has bits for.
pub(super) const BLOCK: usize = 64;

/// The bytes of one vector.
const LANE: usize = 16;

/// A vector of the same byte.
pub(super) const fn splat(byte: u8) -> u8x16 {
    u8x16::new([byte; LANE])
}

/// The bytes of a vector that equal `byte`.
#[inline]
pub(super) fn equal(bytes: u8x16, byte: u8) -> u8x16 {
    bytes.simd_eq(splat(byte))
}

/// The bytes of a vector that are `last` or less.
#[inline]
pub(super) fn at_most(bytes: u8x16, last: u8) -> u8x16 {
    bytes.min(splat(last)).simd_eq(bytes)
}

/// The bytes of a vector from `first` to `last`.
#[inline]
pub(super) fn between(bytes: u8x16, first: u8, last: u8) -> u8x16 {
    bytes.max(splat(first)).min(splat(last)).simd_eq(bytes)
}

/// Marks of up to 64 bytes of a text, the first one in the lowest bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block<const N: usize> {
    /// The bytes of each kind.
    pub(super) marks: [u64; N],
    /// What stands behind the text. Such a place has no other mark.
    pub(super) outside: u64,
}

impl<const N: usize> Block<N> {
    /// Looks at the block that starts at `at`, which is at most the length of the text.
    ///
    /// `kinds` says for each kind which bytes of a vector belong to it: all ones where they do, else 0.
    #[inline]
    pub(super) fn new(text: &[u8], at: usize, kinds: impl Fn(u8x16) -> [u8x16; N]) -> Self {
        let rest = text.get(at..).unwrap_or_default();
        let Some(whole) = rest.first_chunk::<BLOCK>() else {
            let mut short = [0; BLOCK];
            // The last 64 bytes need no copy: the ones before are shifted out.
            let (bytes, before) = if let Some(last) = text.last_chunk::<BLOCK>() {
                (last, (BLOCK - 1).wrapping_sub(rest.len()))
            } else {
                for (place, byte) in short.iter_mut().zip(rest) {
                    *place = *byte;
                }
                (&short, usize::MAX)
            };
            let outside = up(u64::MAX, rest.len());
            // Twice, since all 64 may have to go.
            let shifted = |mark: u64| if before == usize::MAX { mark } else { down(mark >> 1, before) };
            return Self { marks: marks(bytes, kinds).map(|mark| shifted(mark) & !outside), outside };
        };
        Self { marks: marks(whole, kinds), outside: 0 }
    }
}

#[inline]
fn marks<const N: usize>(block: &[u8; BLOCK], kinds: impl Fn(u8x16) -> [u8x16; N]) -> [u64; N] {
    let mut marks = [0; N];
    for (number, lane) in block.as_chunks::<LANE>().0.iter().enumerate() {
        for (marks, kind) in marks.iter_mut().zip(kinds(u8x16::new(*lane))) {
            *marks |= up(u64::from(kind.to_bitmask()), number.wrapping_mul(LANE));
        }
    }
    marks
}

/// The marks moved up by fewer than 64 places.
#[inline]
#[allow(clippy::cast_possible_truncation)] // of fewer than 64
pub(super) const fn up(marks: u64, places: usize) -> u64 {
    marks.wrapping_shl(places as u32)
}

/// The marks moved down by fewer than 64 places.
#[inline]
#[allow(clippy::cast_possible_truncation)] // as above
const fn down(marks: u64, places: usize) -> u64 {
    marks.wrapping_shr(places as u32)
}

/// The lowest bit alone; 0 if there is none.
#[inline]
pub(super) const fn lowest(marks: u64) -> u64 {
    marks & marks.wrapping_neg()
}

/// All places from that of a lone bit on; none if there is no bit.
#[inline]
pub(super) const fn from(bit: u64) -> u64 {
    bit.wrapping_neg()
}

/// The place in the text of the lowest bit of a block that starts at `base`; the end of the block if there is none.
#[inline]
pub(super) const fn at(base: usize, marks: u64) -> usize {
    base.wrapping_add(marks.trailing_zeros() as usize)
}

/// The place behind the highest bit of a block that starts at `base`.
#[inline]
pub(super) const fn behind(base: usize, marks: u64) -> Option<usize> {
    if marks == 0 { None } else { Some(base.wrapping_add(BLOCK).wrapping_sub(marks.leading_zeros() as usize)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(bytes: u8x16) -> [u8x16; 2] {
        [equal(bytes, b'='), at_most(bytes, b' ')]
    }

    #[test]
    fn agrees_with_a_loop_over_bytes() {
        let texts = (0..150_usize).map(|length| {
            (0..length).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[1] % 48 + 16).collect::<Vec<u8>>()
        });
        for text in texts.chain([vec![0; 70], vec![0xff; 70], vec![b'='; 64], vec![b' '; 128], (0..=255).collect()]) {
            for at in 0..=text.len() {
                let block = Block::new(&text, at, kinds);
                for offset in 0..BLOCK {
                    let byte = text.get(at + offset);
                    let bits = [block.marks[0], block.marks[1], block.outside].map(|marks| marks >> offset & 1 == 1);
                    let wanted = [byte == Some(&b'='), byte.is_some_and(|&byte| byte <= b' '), byte.is_none()];
                    assert_eq!(bits, wanted, "{} bytes, {at} + {offset}", text.len());
                }
            }
        }
    }

    #[test]
    fn walks_from_bit_to_bit() {
        assert_eq!((lowest(0b1100), at(7, 0b1100), from(0b100) & 0xff), (0b100, 9, 0b1111_1100));
        assert_eq!((behind(7, 0b1100), behind(7, 1 << 63), behind(7, 0)), (Some(11), Some(71), None));
        assert_eq!((lowest(0), at(7, 0), from(0)), (0, 71, 0));
    }
}
