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

type CefPrefix = (Box<[u8]>, Box<[u8]>, usize);

/// The signs of all profiles, sorted so that one look decides.
#[derive(Default)]
pub struct Detector {
    /// Candidates by the first byte of their `starts` literal, the most demanding first.
    by_first_byte: Vec<Vec<Candidate>>,
    /// Candidates without a `starts` literal.
    anywhere: Vec<Candidate>,
    /// Candidates for what no other one fits.
    fallbacks: Vec<Candidate>,
    /// CEF products as `vendor|product`, which is how they stand in the header.
    cef: Words,
    /// The profile of each word of `cef`.
    cef_profiles: Vec<usize>,
    /// CEF products that end in `*`, longest first: (vendor prefix, product prefix, profile).
    cef_prefixes: Vec<CefPrefix>,
    /// The same of fallbacks: what no other sign fits, whatever its kind.
    cef_fallbacks: Vec<CefPrefix>,
}

impl Detector {
    /// A detector for the profiles' signs, given as (profile number, sign).
    pub fn new(signs: impl IntoIterator<Item = (usize, Sign)>) -> Self {
        let mut signs: Vec<(usize, Sign)> = signs.into_iter().collect();
        signs.sort_by_key(|(_, sign)| (sign.fallback, std::cmp::Reverse(sign.weight())));
        let mut detector = Self { by_first_byte: (0..256).map(|_| Vec::new()).collect(), ..Self::default() };
        let mut cef: Vec<(String, usize)> = Vec::new();
        for (profile, sign) in signs {
            if let Some((vendor, product)) = &sign.cef {
                if vendor.ends_with('*') || product.ends_with('*') {
                    let trim = |text: &str| Box::from(text.trim_end_matches('*').as_bytes());
                    let list = if sign.fallback { &mut detector.cef_fallbacks } else { &mut detector.cef_prefixes };
                    list.push((trim(vendor), trim(product), profile));
                } else {
                    cef.push((format!("{vendor}|{product}"), profile));
                }
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
        for list in [&mut detector.cef_prefixes, &mut detector.cef_fallbacks] {
            list.sort_by_key(|(vendor, product, _)| std::cmp::Reverse(vendor.len().saturating_add(product.len())));
        }
        detector.cef = Words::new(cef.iter().map(|(name, _)| name.as_str()));
        detector.cef_profiles = cef.into_iter().map(|(_, profile)| profile).collect();
        detector
    }

    /// The number of the profile that reads this content.
    pub fn detect(&self, content: &[u8]) -> Option<usize> {
        let product = if content.starts_with(b"CEF:") { cef_product(content) } else { None };
        if let Some(profile) = product.and_then(|product| self.detect_cef(product)) {
            return Some(profile);
        }
        let first = content.first()?;
        let listed = self.by_first_byte.get(usize::from(*first)).into_iter().flatten();
        listed
            .chain(&self.anywhere)
            .chain(&self.fallbacks)
            .find(|candidate| candidate.fits(content))
            .map(|candidate| candidate.profile)
            .or_else(|| product.and_then(|product| first_with_prefix(&self.cef_fallbacks, product)))
    }

    fn detect_cef(&self, product: CefProduct<'_>) -> Option<usize> {
        match self.cef.find(product.both) {
            Some(number) => self.cef_profiles.get(number).copied(),
            None => first_with_prefix(&self.cef_prefixes, product),
        }
    }
}

/// Vendor and product of a CEF header, as escaped there.
#[derive(Clone, Copy)]
struct CefProduct<'c> {
    /// With the bar between.
    both: &'c [u8],
    vendor: &'c [u8],
    product: &'c [u8],
}

fn cef_product(content: &[u8]) -> Option<CefProduct<'_>> {
    let mut pipes = memchr::memchr_iter(b'|', content);
    let (before, between, behind) = (pipes.next()?, pipes.next()?, pipes.next()?);
    Some(CefProduct {
        both: content.get(before.saturating_add(1)..behind)?,
        vendor: content.get(before.saturating_add(1)..between)?,
        product: content.get(between.saturating_add(1)..behind)?,
    })
}

fn first_with_prefix(list: &[CefPrefix], found: CefProduct<'_>) -> Option<usize> {
    let starts = |text: &[u8], prefix: &[u8]| text.get(..prefix.len()).is_some_and(|t| t.eq_ignore_ascii_case(prefix));
    list.iter().find(|(v, p, _)| starts(found.vendor, v) && starts(found.product, p)).map(|(_, _, profile)| *profile)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(literal: &str, contains: &[&str]) -> Sign {
        Sign {
            starts: literal.into(),
            contains: contains.iter().map(|c| (*c).into()).collect(),
            cef: None,
            fallback: false,
        }
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
    fn a_literal_far_into_the_message_does_not_choose_the_reader() {
        let detector = Detector::new([(0, starts("", &[",TRAFFIC,"]))]);
        let mut content = vec![b'x'; CONTAINS_WITHIN];
        content.extend_from_slice(b",TRAFFIC,");
        assert_eq!(None, detector.detect(&content));
    }
}
