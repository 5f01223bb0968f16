//! What the paths of [`super::json`] and [`super::xml`] have in common.

use core::fmt;

/// Why a text is not a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathError {
    /// The text.
    pub path: String,
    /// Where in it, in bytes from its start.
    pub position: usize,
    /// What is wrong there.
    pub reason: String,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "path `{}`, at byte {}: {}", self.path, self.position, self.reason)
    }
}

impl core::error::Error for PathError {}

pub(super) fn error(path: &str, position: usize, reason: impl Into<String>) -> PathError {
    PathError { path: path.to_owned(), position, reason: reason.into() }
}

/// Most steps of a path: also how deep a text is looked into.
pub(super) const DEPTH: usize = 32;

/// Most nodes that paths are compiled into. Paths as people write them need about as many as they have steps.
const NODES: usize = 4096;

/// A path and how many of its steps are made.
pub(super) type Progress = (usize, usize);

/// Numbers sets of [`Progress`]: each set is one node, so that a reader has to know one number instead of every path
/// that may still go on.
pub(super) struct Sets {
    sets: Vec<Vec<Progress>>,
}

impl Sets {
    pub(super) fn new(start: Vec<Progress>) -> Self {
        let mut sets = Self { sets: Vec::new() };
        sets.number(start);
        sets
    }

    /// The number of a set; a new one is added. The start if there is no room.
    pub(super) fn number(&mut self, mut set: Vec<Progress>) -> usize {
        set.sort_unstable();
        set.dedup();
        if let Some(known) = self.sets.iter().position(|known| *known == set) {
            return known;
        }
        if self.sets.len() >= NODES {
            return 0;
        }
        self.sets.push(set);
        self.sets.len().saturating_sub(1)
    }

    /// The set of a number, if there is one.
    pub(super) fn get(&self, number: usize) -> Option<Vec<Progress>> {
        self.sets.get(number).cloned()
    }

    pub(super) fn is_full(&self) -> bool {
        self.sets.len() >= NODES
    }
}

/// Texts with a number each, for finding one of a few.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// The marks of all names, as bits: most texts that are looked up are none of them, and have another mark.
    marks: u64,
    names: Vec<Name>,
}

#[derive(Clone, Debug)]
struct Name {
    mark: u32,
    text: Box<[u8]>,
    number: usize,
}

impl Names {
    /// Adds a name that is not there yet.
    pub(super) fn add(&mut self, name: &str, number: usize) {
        let mark = mark(name.as_bytes());
        self.marks |= 1 << mark;
        self.names.push(Name { mark, text: name.as_bytes().into(), number });
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The number of a name.
    #[inline]
    pub(super) fn find(&self, name: &[u8]) -> Option<usize> {
        let mark = mark(name);
        if self.marks >> mark & 1 == 0 {
            return None;
        }
        self.names.iter().find(|known| known.mark == mark && *known.text == *name).map(|known| known.number)
    }
}

/// Length, first and last byte in six bits.
#[inline]
fn mark(name: &[u8]) -> u32 {
    let ends = |byte: Option<&u8>| u32::from(byte.copied().unwrap_or_default());
    let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
    let sum = length.wrapping_mul(7).wrapping_add(ends(name.first()).wrapping_mul(5)).wrapping_add(ends(name.last()));
    sum & 63
}
