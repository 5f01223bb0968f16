//! Which profile reads a message: literal bytes at the start of the content decide, and no profile is tried after the other.
//!
//! A literal at the very start is compared at once. Signs without one are found by a literal of their own, in one walk over
//! the text for all of them; the rest of a sign is looked for only then. What a profile names first is looked for before
//! that walk, where no more demanding sign of another profile can fit: so it pays to name first what comes most.

use super::literals::{Literals, Walk};
use super::words::Words;
use memchr::memmem::Finder;
use std::cmp::Reverse;

/// How far into the content a `contains` literal is looked for, in bytes: the products that need one name themselves in
/// the first few fields, and a longer look would let a message's later text choose its reader.
const CONTAINS_WITHIN: usize = 512;

/// Most literals that are looked for one by one in a message that starts as their signs say; of more, one walk for all of
/// them is cheaper. (A search takes half an instruction per byte, the walk fourteen.)
const FEW_LITERALS: usize = 12;

/// One alternative of a profile's `detect`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sign {
    /// Literal at the start of the content; empty: none.
    pub starts: String,
    /// Literals that all stand within the first 512 bytes.
    pub contains: Vec<String>,
    /// Vendor and product of a CEF header, without case; a trailing `*` stands for any rest.
    pub cef: Option<(String, String)>,
    /// Vendor and product of a LEEF header, as for `cef`.
    pub leef: Option<(String, String)>,
    /// Looked at after the signs of all other profiles.
    pub fallback: bool,
}

impl Sign {
    /// How much it demands: the more specific of two signs wins.
    fn weight(&self) -> usize {
        self.contains.iter().fold(self.starts.len(), |sum, literal| sum.saturating_add(literal.len()))
    }
}

/// A sign at work.
struct Candidate {
    starts: Start,
    /// Literals that must stand in the text; of a sign in the crowd all but the one that it is found by.
    contains: Vec<Finder<'static>>,
    profile: usize,
    /// Once it fits, no other profile's sign that demands more can.
    is_settled: bool,
}

impl Candidate {
    fn fits(&self, content: &[u8], first_eight: u64) -> bool {
        self.starts.fits(content, first_eight) && has_all(near(content), &self.contains)
    }
}

/// Whether a text holds all literals. They mostly stand there in the order of the sign, so each is looked for behind the
/// one before first.
fn has_all(text: &[u8], literals: &[Finder<'static>]) -> bool {
    let mut rest = text;
    literals.iter().all(|literal| {
        if let Some(behind) = literal.find(rest).and_then(|at| rest.get(at..)) {
            rest = behind;
            return true;
        }
        rest.len() < text.len() && literal.find(text).is_some()
    })
}

/// What a content must start with.
struct Start {
    literal: Box<[u8]>,
    /// Its first eight bytes as a number, and the bits of them that count.
    word: u64,
    mask: u64,
}

impl Start {
    fn new(literal: &str) -> Self {
        let literal = literal.as_bytes();
        let counting: Vec<u8> = literal.iter().map(|_| u8::MAX).collect();
        Self { literal: literal.into(), word: first_eight(literal), mask: first_eight(&counting) }
    }

    /// Most starts differ in their first bytes: that takes no more than a comparison. `first_eight` is the content's.
    fn fits(&self, content: &[u8], first_eight: u64) -> bool {
        first_eight & self.mask == self.word && content.starts_with(&self.literal)
    }

    /// The same without letter case. The literal must be in small letters.
    fn fits_any_case(&self, content: &[u8], first_eight: u64) -> bool {
        // The bit by which ASCII letters differ in case.
        const LOWER: u64 = 0x2020_2020_2020_2020;
        (first_eight ^ self.word) & self.mask & !LOWER == 0
            && content.get(..self.literal.len()).is_some_and(|start| start.eq_ignore_ascii_case(&self.literal))
    }
}

/// The first eight bytes of a text as a number.
fn first_eight(text: &[u8]) -> u64 {
    text.first_chunk().map_or_else(
        || text.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        |bytes| u64::from_le_bytes(*bytes),
    )
}

/// Where a `contains` literal must stand.
fn near(content: &[u8]) -> &[u8] {
    content.get(..CONTAINS_WITHIN).unwrap_or(content)
}

/// What a product's vendor and its name start with, in small letters.
struct Prefix {
    vendor: Start,
    product: Start,
    profile: usize,
}

/// Products by the vendor and product of a header whose fields are separated by pipes (CEF, LEEF).
#[derive(Default)]
struct Products {
    /// `vendor|product`, which is how they stand in the header.
    names: Words,
    /// The profile of each name.
    profiles: Vec<usize>,
    /// Those that end in `*`, longest first.
    prefixes: Vec<Prefix>,
}

impl Products {
    fn new<'a>(products: impl Iterator<Item = (usize, &'a (String, String))>) -> Self {
        let mut names = Vec::new();
        let mut found = Self::default();
        for (profile, (vendor, product)) in products {
            if vendor.ends_with('*') || product.ends_with('*') {
                let start = |text: &str| Start::new(&text.trim_end_matches('*').to_ascii_lowercase());
                found.prefixes.push(Prefix { vendor: start(vendor), product: start(product), profile });
            } else {
                names.push(format!("{vendor}|{product}"));
                found.profiles.push(profile);
            }
        }
        found.prefixes.sort_by_key(|p| Reverse(p.vendor.literal.len().saturating_add(p.product.literal.len())));
        found.names = Words::new(names.iter().map(String::as_str));
        found
    }

    fn find(&self, named: Named<'_>) -> Option<usize> {
        if let Some(number) = self.names.find(named.both) {
            return self.profiles.get(number).copied();
        }
        let (vendor, product) = (first_eight(named.vendor), first_eight(named.product));
        let fits = |prefix: &&Prefix| {
            prefix.vendor.fits_any_case(named.vendor, vendor) && prefix.product.fits_any_case(named.product, product)
        };
        Some(self.prefixes.iter().find(fits)?.profile)
    }
}

/// Vendor and product of a header, as escaped there.
#[derive(Clone, Copy)]
struct Named<'c> {
    /// With the bar between.
    both: &'c [u8],
    vendor: &'c [u8],
    product: &'c [u8],
}

impl<'c> Named<'c> {
    fn read(content: &'c [u8]) -> Option<Self> {
        let mut pipes = memchr::memchr_iter(b'|', content);
        let (before, between, behind) = (pipes.next()?, pipes.next()?, pipes.next()?);
        Some(Self {
            both: content.get(before.saturating_add(1)..behind)?.trim_ascii(),
            vendor: content.get(before.saturating_add(1)..between)?.trim_ascii(),
            product: content.get(between.saturating_add(1)..behind)?.trim_ascii(),
        })
    }
}

/// The signs of all profiles. A rank is a place in `candidates`.
#[derive(Default)]
pub struct Detector {
    /// The best first: with `starts`, without, fallbacks; among each the most demanding first.
    candidates: Vec<Candidate>,
    /// Ranks by first byte of `starts`: those that are compared at once.
    direct: Vec<Direct>,
    crowd: Crowd,
    /// Ranks of what says neither how the content starts nor what it contains, or is a fallback by its start.
    plain: Vec<usize>,
    cef: Products,
    leef: Products,
    /// The same of fallbacks: what no other sign fits, whatever its kind.
    cef_fallbacks: Products,
    leef_fallbacks: Products,
}

/// The candidates for contents with one first byte.
#[derive(Default)]
struct Direct {
    ranks: Vec<usize>,
    /// What is looked for before the walk: ranks from the crowd, with the literal that they are found by.
    usual: Vec<(usize, Finder<'static>)>,
    /// Whether more of them are in the crowd.
    is_crowded: bool,
}

/// Candidates that are found by one literal each: the one that the fewest other signs have, the longest of several.
#[derive(Default)]
struct Crowd {
    literals: Literals,
    /// Ranks by number of the literal.
    members: Vec<Vec<usize>>,
}

impl Detector {
    /// A detector for the profiles' signs, given as (profile number, sign).
    pub fn new(signs: impl IntoIterator<Item = (usize, Sign)>) -> Self {
        let (products, mut signs): (Vec<_>, Vec<_>) =
            signs.into_iter().partition(|(_, sign)| sign.cef.is_some() || sign.leef.is_some());
        let products = |fallback: bool, product: fn(&Sign) -> Option<&(String, String)>| {
            let listed = products.iter().filter(|(_, sign)| sign.fallback == fallback);
            Products::new(listed.filter_map(|(profile, sign)| Some((*profile, product(sign)?))))
        };
        // What each profile names first; a profile's signs come one after the other.
        let mut firsts = signs.clone();
        firsts.dedup_by_key(|(profile, _)| *profile);
        signs
            .sort_by_key(|(_, sign)| (sign.fallback, !sign.fallback && sign.starts.is_empty(), Reverse(sign.weight())));
        let mut detector = Self {
            direct: (0..256).map(|_| Direct::default()).collect(),
            cef: products(false, |sign| sign.cef.as_ref()),
            leef: products(false, |sign| sign.leef.as_ref()),
            cef_fallbacks: products(true, |sign| sign.cef.as_ref()),
            leef_fallbacks: products(true, |sign| sign.leef.as_ref()),
            ..Self::default()
        };
        let mut keys: Vec<&str> = Vec::new();
        for (rank, (profile, sign)) in signs.iter().enumerate() {
            let key = if has_few_literals(sign, &signs) { None } else { key(sign, &signs) };
            let first = sign.starts.bytes().next().filter(|_| !sign.fallback);
            let direct = first.and_then(|byte| detector.direct.get_mut(usize::from(byte)));
            match (key, direct) {
                (Some(key), direct) => {
                    let number = keys.iter().position(|known| *known == key).unwrap_or(keys.len());
                    keys.extend((number == keys.len()).then_some(key));
                    detector.crowd.members.resize(keys.len(), Vec::new());
                    detector.crowd.members.get_mut(number).into_iter().for_each(|members| members.push(rank));
                    if let Some(direct) = direct {
                        direct.is_crowded = true;
                        if firsts.contains(&(*profile, sign.clone())) && is_settled(rank, &signs) {
                            direct.usual.push((rank, Finder::new(key).into_owned()));
                        }
                    }
                }
                (None, Some(direct)) => direct.ranks.push(rank),
                (None, None) => detector.plain.push(rank),
            }
            let others = sign.contains.iter().filter(|literal| key != Some(literal.as_str()));
            detector.candidates.push(Candidate {
                starts: Start::new(&sign.starts),
                contains: others.map(|literal| Finder::new(literal).into_owned()).collect(),
                profile: *profile,
                is_settled: is_settled(rank, &signs),
            });
        }
        detector.crowd.literals = Literals::new(&keys);
        detector
    }

    /// The number of the profile that reads this content.
    pub fn detect(&self, content: &[u8]) -> Option<usize> {
        let (products, fallbacks) = if content.starts_with(b"CEF:") {
            (Some(&self.cef), Some(&self.cef_fallbacks))
        } else if content.starts_with(b"LEEF:") {
            (Some(&self.leef), Some(&self.leef_fallbacks))
        } else {
            (None, None)
        };
        let named = products.and_then(|_| Named::read(content));
        if let Some(profile) = named.and_then(|named| products?.find(named)) {
            return Some(profile);
        }
        match self.rank(content) {
            Some(rank) => self.candidates.get(rank).map(|candidate| candidate.profile),
            None => fallbacks?.find(named?),
        }
    }

    /// The rank of the best sign that fits.
    fn rank(&self, content: &[u8]) -> Option<usize> {
        let direct = self.direct.get(usize::from(*content.first()?))?;
        let first_eight = first_eight(content);
        let fits = |rank: usize| self.candidates.get(rank).filter(|candidate| candidate.fits(content, first_eight));
        let first_of = |ranks: &[usize]| ranks.iter().copied().find(|rank| fits(*rank).is_some());
        let is_usual =
            |(rank, literal): &&(usize, Finder<'_>)| fits(*rank).is_some_and(|_| literal.find(near(content)).is_some());
        if let Some((rank, _)) = direct.usual.iter().find(is_usual) {
            return Some(*rank);
        }
        let mut best = first_of(&direct.ranks);
        if best.is_some() && !direct.is_crowded {
            return best;
        }
        best = best.or_else(|| first_of(&self.plain));
        let mut walk = Walk::new(near(content));
        while let Some(found) = self.crowd.literals.next(&mut walk) {
            for rank in found.iter().filter_map(|number| self.crowd.members.get(*number)).flatten().copied() {
                if best.is_some_and(|best| best <= rank) {
                    continue;
                }
                if let Some(candidate) = fits(rank) {
                    best = Some(rank);
                    if candidate.is_settled {
                        return best;
                    }
                }
            }
        }
        best
    }
}

/// Whether a message that starts as this sign says has few literals to be looked for.
fn has_few_literals(sign: &Sign, signs: &[(usize, Sign)]) -> bool {
    let same_start = |other: &Sign| !other.starts.is_empty() && sign.starts.starts_with(&other.starts);
    let literals = signs.iter().filter(|(_, other)| same_start(other)).map(|(_, other)| other.contains.len()).sum();
    !sign.starts.is_empty() && !sign.fallback && (0..=FEW_LITERALS).contains(&literals)
}

/// The literal that a sign is found by: what few other signs have says most.
fn key<'s>(sign: &'s Sign, signs: &[(usize, Sign)]) -> Option<&'s str> {
    let shared = |literal: &String| signs.iter().filter(|(_, other)| other.contains.contains(literal)).count();
    sign.contains.iter().min_by_key(|literal| (shared(literal), Reverse(literal.len()))).map(String::as_str)
}

/// Whether no better sign of another profile can fit where this one does.
fn is_settled(rank: usize, signs: &[(usize, Sign)]) -> bool {
    let Some((profile, sign)) = signs.get(rank) else { return false };
    let excludes = |other: &Sign| !other.starts.starts_with(&sign.starts) && !sign.starts.starts_with(&other.starts);
    signs.iter().take(rank).all(|(other, better)| other == profile || excludes(better))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn starts(literal: &str, contains: &[&str]) -> Sign {
        Sign { starts: literal.into(), contains: contains.iter().map(|c| (*c).into()).collect(), ..Sign::default() }
    }

    fn cef(vendor: &str, product: &str) -> Sign {
        Sign { cef: Some((vendor.into(), product.into())), ..Sign::default() }
    }

    #[test]
    fn the_most_demanding_sign_wins() {
        let detector = Detector::new([
            (0, starts("date=", &[])),
            (1, starts("date=", &["devid=\"X"])),
            (2, starts("", &[",TRAFFIC,"])),
        ]);
        assert_eq!(Some(0), detector.detect(b"date=1 devid=\"Y"));
        assert_eq!(Some(1), detector.detect(b"date=1 devid=\"X"));
        assert_eq!(Some(2), detector.detect(b"1,2,3,TRAFFIC,end"));
        assert_eq!(None, detector.detect(b"nothing known"));
        assert_eq!(None, detector.detect(b""));
    }

    #[test]
    fn cef_products_are_looked_up_without_case_and_fall_back() {
        let detector = Detector::new([
            (0, cef("*", "*")),
            (1, cef("Check Point", "VPN-1 & FireWall-1")),
            (2, cef("Fortinet", "FortiGate*")),
        ]);
        assert_eq!(Some(1), detector.detect(b"CEF:0|check point|VPN-1 & FIREWALL-1|1|x|y|5|"));
        assert_eq!(Some(2), detector.detect(b"CEF:0|Fortinet|Fortigate-100F|1|x|y|5|"));
        assert_eq!(Some(0), detector.detect(b"CEF:0|Acme|Wall|1|x|y|5|"));
        assert_eq!(None, detector.detect(b"CEF:0|Acme"));
    }

    #[test]
    fn a_cef_fallback_leaves_records_to_signs_of_every_kind() {
        let fallback = Sign { fallback: true, ..cef("*", "*") };
        let detector = Detector::new([(0, fallback), (1, starts("CEF:0|Acme|", &[])), (2, starts("", &["|Wall|"]))]);
        assert_eq!(Some(1), detector.detect(b"CEF:0|Acme|Wall|1|x|y|5|"));
        assert_eq!(Some(2), detector.detect(b"CEF:0|Other|Wall|1|x|y|5|"));
        assert_eq!(Some(0), detector.detect(b"CEF:0|Other|Gate|1|x|y|5|"));
    }

    #[test]
    fn leef_products_are_looked_up_as_well() {
        let leef = Sign { leef: Some(("Acme".into(), "Wall".into())), ..Sign::default() };
        let detector = Detector::new([(0, leef)]);
        assert_eq!(Some(0), detector.detect(b"LEEF:2.0|Acme|Wall|1|x|^|src=192.0.2.1"));
        assert_eq!(None, detector.detect(b"CEF:0|Acme|Wall|1|x|y|5|"));
    }

    #[test]
    fn a_literal_far_into_the_message_does_not_choose_the_reader() {
        let detector = Detector::new([(0, starts("", &[",TRAFFIC,"]))]);
        let mut content = vec![b'x'; CONTAINS_WITHIN];
        content.extend_from_slice(b",TRAFFIC,");
        assert_eq!(None, detector.detect(&content));
    }

    #[test]
    fn signs_that_many_share_a_start_with_are_found_by_their_own_literal() {
        let types: Vec<String> = (b'A'..=b'Z').map(|letter| format!(",{},", char::from(letter))).collect();
        let mut signs: Vec<(usize, Sign)> = types.iter().map(|kind| (0, starts("1,", &[kind]))).collect();
        signs.extend([(1, starts("1,", &[])), (2, starts("1,", &[",K,", ",more,"])), (3, starts("", &[",Z,more,"]))]);
        let detector = Detector::new(signs);
        assert_eq!(Some(0), detector.detect(b"1,x,K,y"));
        assert_eq!(Some(0), detector.detect(b"1,x,Z,more,"));
        assert_eq!(Some(1), detector.detect(b"1,x,y"));
        assert_eq!(Some(2), detector.detect(b"1,x,K,A,more,y"));
        assert_eq!(Some(3), detector.detect(b"2,x,Z,more,"));
        assert_eq!(None, detector.detect(b"2,x,K,y"));
    }

    #[test]
    fn a_start_longer_than_the_content_does_not_fit() {
        let detector = Detector::new([(0, starts("ab\0\0", &[])), (1, starts("abcdefghij", &[]))]);
        assert_eq!(None, detector.detect(b"ab"));
        assert_eq!(None, detector.detect(b"abcdefgh"));
        assert_eq!(Some(1), detector.detect(b"abcdefghij"));
    }

    /// The plain way: every sign in turn, the best first.
    fn in_turn(signs: &[(usize, Sign)], content: &[u8]) -> Option<usize> {
        let mut signs: Vec<&(usize, Sign)> = signs.iter().collect();
        signs
            .sort_by_key(|(_, sign)| (sign.fallback, !sign.fallback && sign.starts.is_empty(), Reverse(sign.weight())));
        let text = String::from_utf8_lossy(content);
        let near = &text[..text.len().min(CONTAINS_WITHIN)];
        let fits =
            |sign: &Sign| text.starts_with(&sign.starts) && sign.contains.iter().all(|c| near.contains(c.as_str()));
        signs.into_iter().find(|(_, sign)| fits(sign)).map(|(profile, _)| *profile)
    }

    fn signs() -> impl Strategy<Value = Vec<(usize, Sign)>> {
        let sign = ("[ab]{0,2}|[ab]{9}", prop::collection::vec("[abc]{1,4}", 0..4), 0..6_u8);
        let sign =
            sign.prop_map(|(starts, contains, kind)| Sign { starts, contains, fallback: kind == 0, ..Sign::default() });
        prop::collection::vec((0..5_usize, sign), 0..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn agrees_with_trying_all_signs_in_turn(signs in signs(), content in "[abc]{1,24}|[ab]{500,520}c{0,3}") {
            let signs: Vec<(usize, Sign)> = signs.into_iter().filter(|(_, s)| s.weight() > 0).collect();
            let detector = Detector::new(signs.clone());
            prop_assert_eq!(in_turn(&signs, content.as_bytes()), detector.detect(content.as_bytes()));
        }
    }
}
