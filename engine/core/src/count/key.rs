//! A counter's key: opaque bytes, the short ones kept inside the value.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

/// How many bytes fit inside a [`Key`] without an allocation.
///
/// An IPv4 or IPv6 source with a short site label does; the whole value then is 24 bytes, as large as a `Vec`.
pub const INLINE_BYTES: usize = 22;

/// The bytes that name a key of a counter.
///
/// What they mean is known to the caller that encoded them; here they are compared, ordered and hashed as bytes. The
/// empty key is reserved for the row that collects what evicted keys had not handed over yet.
#[derive(Clone)]
pub struct Key(Repr);

#[derive(Clone)]
enum Repr {
    Inline { length: u8, bytes: [u8; INLINE_BYTES] },
    Boxed(Box<[u8]>),
}

impl Key {
    /// Copies `bytes`; allocates only for more than [`INLINE_BYTES`].
    pub fn new(bytes: &[u8]) -> Self {
        let mut inline = [0; INLINE_BYTES];
        match (inline.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(room), Ok(length)) => {
                room.copy_from_slice(bytes);
                Self(Repr::Inline { length, bytes: inline })
            }
            _ => Self(Repr::Boxed(bytes.into())),
        }
    }

    /// The key's bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Repr::Boxed(bytes) => bytes,
        }
    }
}

/// Whether two texts of some 20 bytes are the same, as `==`, which for so few takes longer to be called than to compare.
#[inline]
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    let length = one.len();
    if length != other.len() {
        return false;
    }
    // Two pieces that may overlap are all of it.
    match length {
        4..8 => one.first_chunk::<4>() == other.first_chunk() && one.last_chunk::<4>() == other.last_chunk(),
        8..16 => one.first_chunk::<8>() == other.first_chunk() && one.last_chunk::<8>() == other.last_chunk(),
        16..=32 => one.first_chunk::<16>() == other.first_chunk() && one.last_chunk::<16>() == other.last_chunk(),
        _ => one == other,
    }
}

impl Default for Key {
    fn default() -> Self {
        Self(Repr::Inline { length: 0, bytes: [0; INLINE_BYTES] })
    }
}

impl Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

// Equality, order and hash are those of the bytes, as `Borrow` demands.
impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key(\"{}\")", self.as_bytes().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_any_length_keep_their_bytes() {
        let bytes: Vec<u8> = (0..60).collect();
        for length in 0..=bytes.len() {
            let key = Key::new(&bytes[..length]);
            assert_eq!(key.as_bytes(), &bytes[..length]);
            assert_eq!(key.clone(), key);
            assert_eq!(key == Key::default(), length == 0);
        }
    }

    #[test]
    fn keys_order_as_their_bytes_do() {
        let long = [7; 40];
        assert!(Key::new(&long[..22]) < Key::new(&long[..23]));
        assert!(Key::new(b"b") > Key::new(&long));
        assert_eq!(format!("{:?}", Key::new(b"a\x00")), "Key(\"a\\x00\")");
    }

    #[test]
    fn few_bytes_are_the_same_just_when_all_of_them_are() {
        for length in 0..50 {
            let one: Vec<u8> = (0..length).collect();
            assert!(is_same(&one, &one.clone()));
            assert!(!is_same(&one, &[&one[..], b"x"].concat()));
            for place in 0..one.len() {
                let mut other = one.clone();
                other[place] ^= 0x80;
                assert!(!is_same(&one, &other), "{length} {place}");
            }
        }
    }

    #[test]
    fn a_key_is_as_large_as_a_vector() {
        assert_eq!(size_of::<Key>(), 24);
    }
}
