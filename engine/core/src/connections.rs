//! Which end opened a connection, remembered from its first record for its last one.
//!
//! A Cisco ASA tells the direction of a connection when it is built, and not when it is torn down; both records carry the
//! connection's number. Bounded: the oldest connection is forgotten first, and a record whose connection is not known
//! falls back to `internal_networks`.

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// Most connections remembered: at 1,000 new ones a second a minute of them, in about 2 MiB.
pub const MAX_CONNECTIONS: usize = 65_536;

/// Orientation by device and connection number.
#[derive(Default)]
pub struct Connections {
    hasher: RandomState,
    places: HashTable<usize>,
    /// (hash of device and number, whether the written order is the other way round), oldest overwritten.
    ring: Vec<(u64, bool)>,
    next: usize,
}

impl Connections {
    /// Remembers that a connection's first written end is its source, or (`swapped`) its destination.
    pub fn remember(&mut self, device: &[u8], number: &[u8], swapped: bool) {
        let hash = self.hasher.hash_one((device, number));
        let ring = &self.ring;
        if let Some(place) =
            self.places.find(hash, |place| ring.get(*place).is_some_and(|held| held.0 == hash)).copied()
        {
            if let Some(held) = self.ring.get_mut(place) {
                held.1 = swapped;
            }
            return;
        }
        let place = self.next;
        if let Some(oldest) = self.ring.get_mut(place) {
            let old = std::mem::replace(oldest, (hash, swapped));
            if let Ok(entry) = self.places.find_entry(old.0, |held| *held == place) {
                entry.remove();
            }
        } else {
            self.ring.push((hash, swapped));
        }
        self.next = place.wrapping_add(1) % MAX_CONNECTIONS;
        let ring = &self.ring;
        self.places.insert_unique(hash, place, |held| ring.get(*held).map_or(0, |entry| entry.0));
    }

    /// Whether the written order of a connection's ends is the other way round; None: it is not known.
    ///
    /// Two connections whose hashes (64 bits, seeded) collide are taken for one: with 65,536 of them that is less likely
    /// than 1 in 10^9.
    pub fn is_swapped(&self, device: &[u8], number: &[u8]) -> Option<bool> {
        let hash = self.hasher.hash_one((device, number));
        let place = self.places.find(hash, |place| self.ring.get(*place).is_some_and(|held| held.0 == hash))?;
        self.ring.get(*place).map(|held| held.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_per_device() {
        let mut connections = Connections::default();
        connections.remember(b"fw-1", b"17", true);
        connections.remember(b"fw-2", b"17", false);
        assert_eq!(Some(true), connections.is_swapped(b"fw-1", b"17"));
        assert_eq!(Some(false), connections.is_swapped(b"fw-2", b"17"));
        assert_eq!(None, connections.is_swapped(b"fw-1", b"18"));
        connections.remember(b"fw-1", b"17", false);
        assert_eq!(Some(false), connections.is_swapped(b"fw-1", b"17"));
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut connections = Connections::default();
        let number = |n: usize| n.to_string().into_bytes();
        for n in 0..MAX_CONNECTIONS + 10 {
            connections.remember(b"fw", &number(n), n % 2 == 0);
        }
        assert_eq!(None, connections.is_swapped(b"fw", &number(9)));
        for n in 10..MAX_CONNECTIONS + 10 {
            assert_eq!(Some(n % 2 == 0), connections.is_swapped(b"fw", &number(n)), "{n}");
        }
        assert_eq!(MAX_CONNECTIONS, connections.places.len());
    }
}
