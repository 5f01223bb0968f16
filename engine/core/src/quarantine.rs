//! What could not be read: kept by peer and shape with a raw example, so that somebody can write a profile for it.
//!
//! Bounded twice: in groups, and in the bytes of each example. What has no place is counted, never lost in silence.

use crate::value::ip::Ip;
use std::collections::HashMap;

/// Most groups between two batches: a person looks at dozens; each costs up to two examples' bytes.
pub const MAX_GROUPS: usize = 1_000;

/// Longest example, in bytes: more than any firewall sends, and a bound on what a flood can make us keep.
pub const EXAMPLE_BYTES: usize = 8_192;

/// Stands in the place of a profile for a message that made the engine panic; no profile has such a name.
pub const PANICKED: &str = "(panic)";

/// How far into a message its shape is taken, in bytes.
const SHAPE_BYTES: usize = 48;

/// Messages of one peer and one shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Number of the listener.
    pub listener: usize,
    /// Where they came from.
    pub peer: Option<Ip>,
    /// Why they were not read: the profile that could not, [`PANICKED`], or empty where none knew them.
    pub profile: String,
    /// Their start with digits as `0`: what messages of one kind have in common.
    pub shape: String,
    /// How many.
    pub messages: u64,
    /// The first of them, cut to [`EXAMPLE_BYTES`].
    pub example: Vec<u8>,
    /// When the last one was received, wall ns.
    pub last_ns: u64,
}

/// What could not be read since the last batch.
#[derive(Default)]
pub struct Quarantine {
    groups: HashMap<(usize, Option<Ip>, String), Group>,
    without_place: u64,
}

impl Quarantine {
    /// Keeps a message; `profile` is the one that knew it and could not read it, or empty.
    pub fn keep(
        &mut self,
        listener: usize,
        peer: Option<Ip>,
        profile: &str,
        content: &[u8],
        message: &[u8],
        now_ns: u64,
    ) {
        let shape = shape(content);
        let full = self.groups.len() >= MAX_GROUPS;
        let key = (listener, peer, shape);
        if full && !self.groups.contains_key(&key) {
            self.without_place = self.without_place.saturating_add(1);
            return;
        }
        let shape = key.2.clone();
        let group = self.groups.entry(key).or_insert_with(|| Group {
            listener,
            peer,
            profile: profile.to_owned(),
            shape,
            messages: 0,
            example: message.get(..EXAMPLE_BYTES).unwrap_or(message).to_vec(),
            last_ns: now_ns,
        });
        group.messages = group.messages.saturating_add(1);
        group.last_ns = now_ns;
    }

    /// Everything kept since the last call, and how many messages had no place.
    pub fn take(&mut self) -> (Vec<Group>, u64) {
        let groups = std::mem::take(&mut self.groups).into_values().collect();
        (groups, std::mem::take(&mut self.without_place))
    }
}

/// The start of a content, runs of digits as one `0`, everything that is not printable ASCII as `?`.
fn shape(content: &[u8]) -> String {
    let mut shape = String::with_capacity(SHAPE_BYTES);
    for byte in content.iter().take(SHAPE_BYTES) {
        let shown = match byte {
            b'0'..=b'9' if shape.ends_with('0') => continue,
            b'0'..=b'9' => '0',
            b' '..=b'~' => char::from(*byte),
            _ => '?',
        };
        shape.push(shown);
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_one_kind_fall_together() {
        let mut quarantine = Quarantine::default();
        quarantine.keep(0, None, "", b"app[12]: port 99 up", b"<13>app[12]: port 99 up", 5);
        quarantine.keep(0, None, "", b"app[7]: port 1 up", b"<13>app[7]: port 1 up", 6);
        quarantine.keep(0, None, "", b"other", b"<13>other", 7);

        let (mut groups, without_place) = quarantine.take();

        groups.sort_by_key(|group| group.last_ns);
        assert_eq!(0, without_place);
        assert_eq!(
            [("app[0]: port 0 up", 2, 6), ("other", 1, 7)],
            [
                (groups[0].shape.as_str(), groups[0].messages, groups[0].last_ns),
                (groups[1].shape.as_str(), groups[1].messages, groups[1].last_ns),
            ]
        );
        assert_eq!(b"<13>app[12]: port 99 up".to_vec(), groups[0].example);
        assert!(quarantine.take().0.is_empty());
    }

    #[test]
    fn a_flood_of_shapes_is_bounded_and_counted() {
        let mut quarantine = Quarantine::default();
        for number in 0..MAX_GROUPS + 50 {
            let text: String = format!("{number}").bytes().map(|b| char::from(b.wrapping_add(20))).collect();
            quarantine.keep(0, None, "", text.as_bytes(), &vec![b'x'; 20_000], 1);
        }
        let (groups, without_place) = quarantine.take();
        assert_eq!((MAX_GROUPS, 50), (groups.len(), without_place));
        assert!(groups.iter().all(|group| group.example.len() == EXAMPLE_BYTES));
    }
}
