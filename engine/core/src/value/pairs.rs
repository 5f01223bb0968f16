//! Pairs of a key and a value without quotes, where only the next key ends a value: what CEF and LEEF share.
//!
//! Nothing here looks at a byte more than a few times: from each `=` the search for a key goes back over bytes of keys
//! only, so never past the `=` before, and then over the run of blanks or backslashes before the key.

use super::Form;
use super::blocks::{self, BLOCK, Block, lowest};
use super::escape::{Escape, Raw};
use super::scan;
use std::ops::ControlFlow;
use wide::u8x16;

/// What stands before a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// Nothing: the text starts with it.
    Start,
    /// A blank: this one.
    Blank(u8),
    /// A `|` that no backslash escapes, or a `^`.
    Mark(u8),
    /// A control character as a relay wrote it: `#011`, `#012`, `#015` (rsyslog, parser.escapeControlCharactersOnReceive).
    Escaped,
}

/// A key, and where the value before it ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) start: usize,
    pub(super) bound: Bound,
    /// Where what bounds the key starts.
    pub(super) end_before: usize,
}

#[inline]
pub(super) const fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'[' | b']')
}

/// The same for each byte of a vector.
#[inline]
fn key_bytes(bytes: u8x16) -> u8x16 {
    // Digits, `-` and `.`, which stand next to each other but for a `/`; then `[`, `]` and `_` (and `Y`) by the bits that
    // they have in common.
    let digits = blocks::between(bytes, b'-', b'9') & !blocks::equal(bytes, b'/');
    let letters = blocks::between(bytes | blocks::splat(0x20), b'a', b'z');
    digits | letters | blocks::equal(bytes | blocks::splat(0x06), b'_')
}

/// The key that ends before the `=` at `equals`; `None` if there is none, or it is part of a longer word.
#[inline]
pub(super) fn key_before(text: &[u8], equals: usize) -> Option<Key> {
    let before = text.get(..equals)?;
    let start = before.iter().rposition(|&byte| !is_key_byte(byte)).map_or(0, |at| at.wrapping_add(1));
    if start == equals {
        return None;
    }
    let Some(&byte) = before.get(start.wrapping_sub(1)) else {
        return Some(Key { start, bound: Bound::Start, end_before: start });
    };
    if scan::is_blank(byte) {
        return Some(Key { start, bound: Bound::Blank(byte), end_before: start.wrapping_sub(1) });
    }
    marked_key(before, start.wrapping_sub(1))
}

/// The key behind what stands at `mark`, if that is something else that may separate pairs.
fn marked_key(before: &[u8], mark: usize) -> Option<Key> {
    let (front, rest) = before.split_at_checked(mark)?;
    match rest {
        [byte @ (b'|' | b'^'), ..] => {
            let backslashes = front.iter().rev().take_while(|&&byte| byte == b'\\').count();
            let key = Key { start: mark.wrapping_add(1), bound: Bound::Mark(*byte), end_before: mark };
            (backslashes & 1 == 0).then_some(key)
        }
        [b'#', b'0', b'1', b'1' | b'2' | b'5', _, ..] => {
            Some(Key { start: mark.wrapping_add(4), bound: Bound::Escaped, end_before: mark })
        }
        _ => None,
    }
}

/// The first key at or after `from` that `fits`, with the place of its `=`.
pub(super) fn first_key(text: &[u8], from: usize, mut fits: impl FnMut(&Key) -> bool) -> Option<(Key, usize)> {
    let mut equals = scan::find_byte(text, from, b'=');
    while equals < text.len() {
        if let Some(key) = key_before(text, equals).filter(|key| key.start >= from)
            && fits(&key)
        {
            return Some((key, equals));
        }
        equals = scan::find_byte(text, equals.wrapping_add(1), b'=');
    }
    None
}

/// How a walk over pairs ended.
pub(super) enum Walked {
    /// It is done, or the sink broke it off.
    Done(Form),
    /// No pair was handed over: at most one is bounded in this way, but there are keys that this bounds.
    Other(Bound),
}

/// Hands every pair to `sink`, in order, until it breaks off. The first key may start the text; each other one stands
/// behind a blank.
#[inline]
pub(super) fn between_blanks<'m>(
    text: &'m [u8],
    escape: Escape,
    sink: &mut impl FnMut(&'m [u8], Raw<'m>) -> ControlFlow<()>,
) -> Walked {
    walk(text, escape, |bound| matches!(bound, Bound::Start | Bound::Blank(_)), sink)
}

/// Hands every pair to `sink`, in order, until it breaks off; `separator` stands before each key but the first.
pub(super) fn between<'m>(
    text: &'m [u8],
    separator: Bound,
    escape: Escape,
    sink: &mut impl FnMut(&'m [u8], Raw<'m>) -> ControlFlow<()>,
) {
    let _ = walk(text, escape, |bound| bound == Bound::Start || bound == separator, sink);
}

#[inline]
fn walk<'m>(
    text: &'m [u8],
    escape: Escape,
    separates: impl Fn(Bound) -> bool,
    sink: &mut impl FnMut(&'m [u8], Raw<'m>) -> ControlFlow<()>,
) -> Walked {
    let (text, mut form) = trim_end(text);
    let mut key: &[u8] = &[];
    let mut value = 0_usize;
    let mut handed_over = false;
    let mut other = None;
    let (mut base, mut start) = (0_usize, 0_usize);
    while base < text.len() {
        let block = Block::new(text, base, |bytes| [blocks::equal(bytes, b'='), !key_bytes(bytes)]);
        let [mut equals, others] = block.marks;
        while equals != 0 {
            let mark = lowest(equals);
            equals ^= mark;
            let at = blocks::at(base, mark);
            // Behind the last byte before the `=` that no key has; it may stand in a block before.
            start = blocks::behind(base, others & mark.wrapping_sub(1)).unwrap_or(start);
            let key_at = match text.get(start.wrapping_sub(1)) {
                Some(&byte) if scan::is_blank(byte) && start < at => {
                    Some(Key { start, bound: Bound::Blank(byte), end_before: start.wrapping_sub(1) })
                }
                _ => key_before(text, at),
            };
            match key_at {
                Some(found) if separates(found.bound) => {
                    let (before, form_before) = trim_end(text.get(value..found.end_before).unwrap_or_default());
                    if key.is_empty() {
                        if !before.is_empty() {
                            form = Form::Recovered;
                        }
                    } else {
                        form = form.and(form_before);
                        handed_over = true;
                        if sink(key, Raw { bytes: before, escape }).is_break() {
                            return Walked::Done(form);
                        }
                    }
                    key = text.get(found.start..at).unwrap_or_default();
                    value = at.wrapping_add(1);
                }
                Some(found) => {
                    form = Form::Recovered;
                    other.get_or_insert(found.bound);
                }
                // An escaped one is as it should be.
                None if at.checked_sub(1).and_then(|before| text.get(before)) == Some(&b'\\') => {}
                None => form = Form::Recovered,
            }
        }
        start = blocks::behind(base, others).unwrap_or(start);
        base = base.wrapping_add(BLOCK);
    }
    if let (false, Some(bound)) = (handed_over, other) {
        return Walked::Other(bound);
    }
    if !key.is_empty() {
        // Nothing follows that a break could stop.
        let _ = sink(key, Raw { bytes: text.get(value..).unwrap_or_default(), escape });
    }
    Walked::Done(form)
}

/// The text without blanks at its end, nor ends of line and tabs as a relay writes them: `#012`, `#015#012`.
#[inline]
pub(super) fn trim_end(text: &[u8]) -> (&[u8], Form) {
    let mut text = scan::trim_end(text);
    let mut form = Form::Strict;
    while let [rest @ .., b'#', b'0', b'1', b'1' | b'2' | b'5'] | [rest @ .., b'#', b'0', b'0', b'0'] = text {
        text = scan::trim_end(rest);
        form = Form::Recovered;
    }
    (text, form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_keys_in_vectors() {
        for byte in 0..=255_u8 {
            let wanted = if is_key_byte(byte) { u8::MAX } else { 0 };
            assert_eq!(key_bytes(blocks::splat(byte)).to_array(), [wanted; 16], "{byte:#x}");
        }
    }

    #[test]
    fn what_bounds_a_key() {
        let bound =
            |text: &str| key_before(text.as_bytes(), text.len()).map(|key| (key.start, key.bound, key.end_before));
        assert_eq!(bound("src"), Some((0, Bound::Start, 0)));
        assert_eq!(bound("a src"), Some((2, Bound::Blank(b' '), 1)));
        assert_eq!(bound("a\tsrc"), Some((2, Bound::Blank(b'\t'), 1)));
        assert_eq!(bound("a|src"), Some((2, Bound::Mark(b'|'), 1)));
        assert_eq!(bound(r"a\\|src"), Some((4, Bound::Mark(b'|'), 3)));
        assert_eq!(bound(r"a\|src"), None);
        assert_eq!(bound("a#011src"), Some((5, Bound::Escaped, 1)));
        assert_eq!(bound("a#011"), None);
        assert_eq!(bound("a#123src"), None);
        assert_eq!(bound("a?src"), None);
        assert_eq!(bound("a "), None);
        assert_eq!(bound(""), None);
    }

    #[test]
    fn the_end_of_a_text_is_trimmed() {
        assert_eq!(trim_end(b"a b \r\n"), (&b"a b"[..], Form::Strict));
        assert_eq!(trim_end(b"a #015#012 \n"), (&b"a"[..], Form::Recovered));
        assert_eq!(trim_end(b"a#012#000"), (&b"a"[..], Form::Recovered));
        assert_eq!(trim_end(b"a#112"), (&b"a#112"[..], Form::Strict));
    }
}
