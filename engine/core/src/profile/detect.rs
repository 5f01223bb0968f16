//! Which profile reads a message: literal bytes decide, in one look at the start of the content.

use super::words::Words;
use memchr::memmem::Finder;

/// How far into the content a `contains` literal is looked for, in bytes: the products that need one name themselves in
/// the first few fields, and a longer look would let a message's later text choose its reader.
const CONTAINS_WITHIN: usize = 512;

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

struct Candidate {
    starts: Box<[u8]>,
    contains: Vec<Finder<'static>>,
    profile: usize,
}

impl Candidate {
    fn fits(&self, content: &[u8]) -> bool {
        let near = content.get(..CONTAINS_WITHIN).unwrap_or(content);
        content.starts_with(&self.starts) && self.contains.iter().all(|literal| literal.find(near).is_some())
    }
}

/// Vendor prefix, product prefix, profile.
type Prefix = (Box<[u8]>, Box<[u8]>, usize);

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
                let trim = |text: &str| Box::from(text.trim_end_matches('*').as_bytes());
                found.prefixes.push((trim(vendor), trim(product), profile));
            } else {
                names.push(format!("{vendor}|{product}"));
                found.profiles.push(profile);
            }
        }
        found.prefixes.sort_by_key(|(v, p, _)| std::cmp::Reverse(v.len().saturating_add(p.len())));
        found.names = Words::new(names.iter().map(String::as_str));
        found
    }

    fn find(&self, named: Named<'_>) -> Option<usize> {
        if let Some(number) = self.names.find(named.both) {
            return self.profiles.get(number).copied();
        }
        let starts =
            |text: &[u8], prefix: &[u8]| text.get(..prefix.len()).is_some_and(|t| t.eq_ignore_ascii_case(prefix));
        let prefix = self.prefixes.iter().find(|(v, p, _)| starts(named.vendor, v) && starts(named.product, p))?;
        Some(prefix.2)
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

/// The signs of all profiles, sorted so that one look decides.
#[derive(Default)]
pub struct Detector {
    /// Candidates by the first byte of their `starts` literal, the most demanding first.
    by_first_byte: Vec<Vec<Candidate>>,
    /// Candidates without a `starts` literal.
    anywhere: Vec<Candidate>,
    /// Candidates for what no other one fits.
    fallbacks: Vec<Candidate>,
    cef: Products,
    leef: Products,
    /// The same of fallbacks: what no other sign fits, whatever its kind.
    cef_fallbacks: Products,
    leef_fallbacks: Products,
}

impl Detector {
    /// A detector for the profiles' signs, given as (profile number, sign).
    pub fn new(signs: impl IntoIterator<Item = (usize, Sign)>) -> Self {
        let mut signs: Vec<(usize, Sign)> = signs.into_iter().collect();
        signs.sort_by_key(|(_, sign)| (sign.fallback, std::cmp::Reverse(sign.weight())));
        let mut detector = Self { by_first_byte: (0..256).map(|_| Vec::new()).collect(), ..Self::default() };
        let products = |fallback: bool, product: fn(&Sign) -> Option<&(String, String)>| {
            let listed = signs.iter().filter(|(_, sign)| sign.fallback == fallback);
            Products::new(listed.filter_map(|(profile, sign)| Some((*profile, product(sign)?))))
        };
        detector.cef = products(false, |sign| sign.cef.as_ref());
        detector.leef = products(false, |sign| sign.leef.as_ref());
        detector.cef_fallbacks = products(true, |sign| sign.cef.as_ref());
        detector.leef_fallbacks = products(true, |sign| sign.leef.as_ref());
        for (profile, sign) in signs {
            if sign.cef.is_some() || sign.leef.is_some() {
                continue;
            }
            let candidate = Candidate {
                starts: sign.starts.as_bytes().into(),
                contains: sign.contains.iter().map(|literal| Finder::new(literal).into_owned()).collect(),
                profile,
            };
            if sign.fallback {
                detector.fallbacks.push(candidate);
                continue;
            }
            match sign.starts.as_bytes().first().and_then(|first| detector.by_first_byte.get_mut(usize::from(*first))) {
                Some(list) => list.push(candidate),
                None => detector.anywhere.push(candidate),
            }
        }
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
        let first = content.first()?;
        let listed = self.by_first_byte.get(usize::from(*first)).into_iter().flatten();
        listed
            .chain(&self.anywhere)
            .chain(&self.fallbacks)
            .find(|candidate| candidate.fits(content))
            .map(|candidate| candidate.profile)
            .or_else(|| fallbacks?.find(named?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
