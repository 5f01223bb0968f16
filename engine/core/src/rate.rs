//! How fast a peer may send datagrams: a token bucket for each, in a table that does not grow.
//!
//! A bucket is one number, the instant at which it is full again (the theoretical arrival time of ITU-T I.371's generic
//! cell rate algorithm): each message moves it on by the time that the rate gives a message, and a message that would
//! move it further ahead of now than the burst lasts is over the rate. A bucket that is full is as good as none, so of a
//! full table the peer goes whose bucket is the fullest: one that is over its rate keeps its bucket however many forged
//! sources come, as each of those has sent less.

use crate::value::ip::{Ip, Networks};
use foldhash::quality::RandomState;
use std::collections::HashMap;
use std::hash::BuildHasher;

/// Most peers whose buckets are kept, in 1 MiB: a collector serves some hundreds. Beyond, the fullest buckets of the
/// same set are forgotten; their peers begin with a full one again.
pub const MAX_PEERS: usize = 65_536;

/// Buckets that a peer's may lie among. With seeded hashes nobody can aim at a set.
const WAYS: usize = 4;

/// Sets; a power of two, so that the hash's low bits choose one.
const SETS: usize = MAX_PEERS / WAYS;

/// Most peers over their rate that are told by name; messages of others are in the ledger alone.
pub const MAX_LIMITED: usize = 1_024;

/// Most of them that one batch tells of.
pub const TOLD: usize = 100;

/// A peer that lost nothing for so long is limited no longer, in ns. A sender at its limit goes over it many times a
/// second, and must not be told each time.
pub const OVER_FOR_NS: u64 = 10_000_000_000;

/// A peer over its rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limited {
    /// The peer.
    pub peer: Ip,
    /// Number of the listener that its last message came in at.
    pub listener: usize,
    /// When the first message was dropped, wall ns.
    pub since_ns: u64,
    /// When the last one was.
    pub last_ns: u64,
    /// Messages dropped since then.
    pub dropped: u64,
    /// It is over; told once.
    pub ended: bool,
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    /// Of the peer. Two that collide (64 bits, seeded) share a bucket: less likely than 1 in 10^9 with a full table.
    hash: u64,
    /// When it is full again, wall ns; 0: free.
    full_ns: u64,
}

/// The peers' buckets.
pub struct Rates {
    hasher: RandomState,
    /// Time between two messages at the rate, ns; 0: there is none.
    cost_ns: u64,
    /// Time that an empty bucket takes to fill, ns.
    burst_ns: u64,
    sets: Vec<[Bucket; WAYS]>,
    limited: HashMap<Ip, Limited, RandomState>,
}

impl Rates {
    /// `per_s` messages a second on, `burst` at once; `per_s` 0: no limit.
    pub fn new(per_s: u64, burst: u64) -> Self {
        let mut rates = Self {
            hasher: RandomState::default(),
            cost_ns: 0,
            burst_ns: 0,
            sets: Vec::new(),
            limited: HashMap::default(),
        };
        rates.set(per_s, burst);
        rates
    }

    /// Other limits from now on; buckets stay.
    pub fn set(&mut self, per_s: u64, burst: u64) {
        self.cost_ns = 1_000_000_000_u64.checked_div(per_s).map_or(0, |cost_ns| cost_ns.max(1));
        self.burst_ns = self.cost_ns.saturating_mul(burst.max(1));
        if self.cost_ns > 0 && self.sets.is_empty() {
            self.sets = vec![[Bucket::default(); WAYS]; SETS];
        }
    }

    /// Whether a message that came in at `listener` at `now_ns` is over its peer's rate, and so is not to be read.
    ///
    /// Relays (`exempt`) have none: they send for many devices, and what one of those sends too much must not cost the
    /// others their messages. Nor has who is not known by address.
    #[inline]
    pub fn over(&mut self, peer: Option<Ip>, listener: usize, exempt: &Networks, now_ns: u64) -> bool {
        let Some(peer) = peer else { return false };
        if self.takes(peer, now_ns) || exempt.contains(peer) {
            return false;
        }
        self.dropped(peer, listener, now_ns);
        true
    }

    /// Whether a message of a peer is within its rate; takes it out of its bucket.
    #[inline]
    fn takes(&mut self, peer: Ip, now_ns: u64) -> bool {
        if self.cost_ns == 0 {
            return true;
        }
        let hash = match peer {
            Ip::V4(octets) => self.hasher.hash_one(u32::from_ne_bytes(octets)),
            Ip::V6(octets) => self.hasher.hash_one(u128::from_ne_bytes(octets)),
        };
        // A truncated hash is as good as the whole one.
        #[allow(clippy::cast_possible_truncation)]
        let number = hash as usize % SETS;
        let Some(set) = self.sets.get_mut(number) else { return true };
        let Some(bucket) = set.iter_mut().find(|bucket| bucket.hash == hash) else {
            if let Some(fullest) = set.iter_mut().min_by_key(|bucket| bucket.full_ns) {
                *fullest = Bucket { hash, full_ns: now_ns.saturating_add(self.cost_ns) };
            }
            return true;
        };
        let mut ahead_ns = bucket.full_ns.saturating_sub(now_ns);
        if ahead_ns > self.burst_ns {
            // No message moves it so far: the clock went back, or the burst was made smaller.
            ahead_ns = 0;
        }
        ahead_ns = ahead_ns.saturating_add(self.cost_ns);
        if ahead_ns > self.burst_ns {
            return false;
        }
        bucket.full_ns = now_ns.saturating_add(ahead_ns);
        true
    }

    fn dropped(&mut self, peer: Ip, listener: usize, now_ns: u64) {
        if let Some(known) = self.limited.get_mut(&peer) {
            known.dropped = known.dropped.saturating_add(1);
            (known.listener, known.last_ns) = (listener, now_ns);
        } else if self.limited.len() < MAX_LIMITED {
            let first = Limited { peer, listener, since_ns: now_ns, last_ns: now_ns, dropped: 1, ended: false };
            self.limited.insert(peer, first);
        }
    }

    /// The peers over their rate at `now_ns`, and those that no longer are since the last call; most dropped first, at
    /// most [`TOLD`]. One that ended and is not among them comes with the next call.
    pub fn take_limited(&mut self, now_ns: u64) -> Vec<Limited> {
        let over = |last_ns: u64| now_ns.abs_diff(last_ns) >= OVER_FOR_NS;
        let all = self.limited.values().map(|limited| Limited { ended: over(limited.last_ns), ..limited.clone() });
        let mut told: Vec<Limited> = all.collect();
        told.sort_unstable_by(|one, other| other.dropped.cmp(&one.dropped).then(one.since_ns.cmp(&other.since_ns)));
        told.truncate(TOLD);
        for limited in told.iter().filter(|limited| limited.ended) {
            self.limited.remove(&limited.peer);
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;
    const START: u64 = 1_800_000_000 * S;

    fn peer(number: u32) -> Ip {
        Ip::V4(number.to_be_bytes())
    }

    fn taken(rates: &mut Rates, from: Ip, messages: u64, now_ns: u64) -> u64 {
        (0..messages).map(|_| u64::from(rates.takes(from, now_ns))).sum()
    }

    #[test]
    fn a_burst_at_once_then_the_rate() {
        let mut rates = Rates::new(1_000, 50);
        assert_eq!(50, taken(&mut rates, peer(1), 80, START));
        assert_eq!(10, taken(&mut rates, peer(1), 80, START + S / 100));
        assert_eq!(50, taken(&mut rates, peer(1), 80, START + S), "it fills no further than the burst");
        assert_eq!(50, taken(&mut rates, peer(2), 80, START + S), "each peer has its own");
    }

    #[test]
    fn who_keeps_to_the_rate_loses_nothing() {
        let mut rates = Rates::new(20_000, 1);
        for number in 0..100_000 {
            assert!(rates.takes(peer(1), START + number * 50_000));
        }
    }

    #[test]
    fn no_rate_no_limit_and_no_memory() {
        let mut rates = Rates::new(0, 1);
        assert_eq!(1_000_000, taken(&mut rates, peer(1), 1_000_000, START));
        assert!(rates.sets.is_empty());
    }

    #[test]
    fn a_clock_that_goes_back_silences_nobody() {
        let mut rates = Rates::new(10, 5);
        taken(&mut rates, peer(1), 9, START);
        assert_eq!(5, taken(&mut rates, peer(1), 9, START - 3_600 * S));
    }

    #[test]
    fn other_limits_hold_at_once() {
        let mut rates = Rates::new(10, 1_000);
        taken(&mut rates, peer(1), 500, START);
        rates.set(10, 5);
        assert_eq!(5, taken(&mut rates, peer(1), 9, START));
        rates.set(0, 5);
        assert_eq!(9, taken(&mut rates, peer(1), 9, START));
    }

    #[test]
    fn forged_sources_neither_grow_it_nor_free_who_is_over() {
        let mut rates = Rates::new(100, 10);
        let heavy = Ip::V6([7; 16]);
        assert_eq!(10, taken(&mut rates, heavy, 1_000, START));
        for forged in 0..1_000_000 {
            assert!(rates.takes(peer(forged), START));
        }
        assert_eq!(0, taken(&mut rates, heavy, 1_000, START));
        assert_eq!(SETS, rates.sets.len());
    }

    #[test]
    fn tells_who_is_over_from_beginning_to_end() {
        let mut rates = Rates::new(100, 10);
        for (number, dropped) in [(1, 2), (2, 5)] {
            for _ in 0..dropped {
                rates.dropped(peer(number), 3, START);
            }
        }
        let brief = |told: Vec<Limited>| told.iter().map(|l| (l.peer, l.dropped, l.ended)).collect::<Vec<_>>();
        assert_eq!(vec![(peer(2), 5, false), (peer(1), 2, false)], brief(rates.take_limited(START + S)));
        rates.dropped(peer(1), 3, START + OVER_FOR_NS);
        let told = rates.take_limited(START + OVER_FOR_NS);
        assert_eq!(vec![(peer(2), 5, true), (peer(1), 3, false)], brief(told));
        assert_eq!(vec![(peer(1), 3, true)], brief(rates.take_limited(START + 2 * OVER_FOR_NS)));
        assert!(rates.take_limited(START + 2 * OVER_FOR_NS).is_empty());
    }

    #[test]
    fn the_list_is_bounded() {
        let mut rates = Rates::new(100, 10);
        for number in 0..5_000 {
            rates.dropped(peer(number), 0, START);
        }
        assert_eq!(MAX_LIMITED, rates.limited.len());
        let mut ended = 0;
        while !rates.limited.is_empty() {
            let told = rates.take_limited(START + OVER_FOR_NS);
            assert_eq!(TOLD.min(MAX_LIMITED - ended), told.len());
            ended += told.len();
        }
        assert_eq!(MAX_LIMITED, ended);
    }
}
