//! Key states: what a counter keeps of a key beside sums, handed over whole whenever it changed.
//!
//! A kind of state is a variant of [`State`] with its data, a [`Kind`] with its name, and a part of the counter that
//! fills it and hands it over (`distinct.rs`); a [`Table`](super::table::Table) holds such states within bounds.

use super::key::Key;

/// What a state tells of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Which values of a field came with the key, and when each was last seen.
    Values,
    /// At which intervals its sessions came.
    Beacon,
    /// What its messages told while it was hot.
    Evidence,
}

impl Kind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[Self::Values, Self::Beacon, Self::Evidence];

    /// Its name in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Values => "values",
            Self::Beacon => "beacon",
            Self::Evidence => "evidence",
        }
    }

    /// The kind of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

/// The whole state of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// See [`Kind::Values`].
    Values(Values),
    /// See [`Kind::Beacon`]: the JSON of [`Beacon`](super::Beacon).
    Beacon(String),
    /// See [`Kind::Evidence`]: the JSON of [`Evidence`](super::Evidence).
    Evidence(String),
}

impl State {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Values(_) => Kind::Values,
            Self::Beacon(_) => Kind::Beacon,
            Self::Evidence(_) => Kind::Evidence,
        }
    }
}

/// The values that came with a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values {
    /// Each value once, and the start of the slot that it was last seen in, seconds since 1970 UTC; in no order.
    pub values: Vec<(Key, u64)>,
    /// There were more in the ring than are kept.
    pub more: bool,
    /// Messages of the key, those of keys whose place it took included: its rank.
    pub messages: u64,
}

/// A key's state in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRow {
    /// The key.
    pub key: Key,
    /// What kind of state it is.
    pub kind: Kind,
    /// The whole state. `None`: the key lost its place, and what was handed over of it is to be forgotten.
    pub state: Option<State>,
    /// Start of the slot that the key was last seen in, seconds since 1970 UTC; 0 for a key that lost its place.
    pub last_s: u64,
}

/// The states of one counter in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterStates {
    /// Name of the counter's definition.
    pub counter: String,
    /// Fingerprint of the definition that the states were kept under, see [`CounterRows`](super::CounterRows).
    pub fingerprint: String,
    /// At least one, each key's last one counts.
    pub rows: Vec<StateRow>,
}

/// How many states each counter may hand over: all if they fit, else equal shares, and what one does not need goes to
/// the others in their order.
pub(super) fn shares(pending: &[usize], limit: usize) -> Vec<usize> {
    let waiting = pending.iter().filter(|&&count| count > 0).count();
    let share = limit.checked_div(waiting).unwrap_or(0);
    let mut shares: Vec<usize> = pending.iter().map(|&count| count.min(share)).collect();
    let mut left = limit.saturating_sub(shares.iter().sum());
    for (share, &count) in shares.iter_mut().zip(pending) {
        let more = count.saturating_sub(*share).min(left);
        *share = share.saturating_add(more);
        left = left.saturating_sub(more);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_equal_and_leave_nothing_unused() {
        assert_eq!(shares(&[5, 0, 2], 100), [5, 0, 2]);
        assert_eq!(shares(&[50, 0, 50], 10), [5, 0, 5]);
        assert_eq!(shares(&[50, 1, 50], 10), [6, 1, 3]);
        assert_eq!(shares(&[1, 1, 50], 1), [1, 0, 0]);
        assert_eq!(shares(&[3, 3], 0), [0, 0]);
        assert_eq!(shares(&[], 9), [0; 0]);
    }

    #[test]
    fn kinds_have_names() {
        for kind in Kind::ALL {
            assert_eq!(Kind::named(kind.name()), Some(*kind));
        }
        assert_eq!(Kind::named("sums"), None);
    }
}
