//! Addresses and networks.
//!
//! Sources: RFC 4291, section 2.2 (text forms of IPv6), RFC 4007, section 11 (zones), RFC 5952 (how IPv6 is written),
//! RFC 3986, section 3.2.2 (brackets, and IPv4 without leading zeros).

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address. Equal addresses compare equal however they were written: IPv4 mapped into IPv6 is IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ip {
    /// IPv4, first octet first.
    V4([u8; 4]),
    /// IPv6, first octet first. Never an IPv4-mapped address when it comes from [`parse`] or `From`.
    V6([u8; 16]),
}

impl From<IpAddr> for Ip {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.octets()),
            IpAddr::V6(v6) => Self::V6(v6.octets()),
        }
    }
}

/// Canonical form: dotted decimal, or RFC 5952.
impl fmt::Display for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::V4(octets) => Ipv4Addr::from(octets).fmt(f),
            Self::V6(octets) => Ipv6Addr::from(octets).fmt(f),
        }
    }
}

/// The address that the whole text is.
///
/// IPv4 is four decimal octets without leading zeros (some would read those as octal, so nobody can say what is
/// meant). IPv6 may have a zone (`%eth0`), which is cut. Either may stand in brackets.
#[inline]
pub fn parse(text: &[u8]) -> Option<Ip> {
    prefix(text).and_then(|(ip, length)| (length == text.len()).then_some(ip))
}

/// The address that the text starts with, and its length in bytes with brackets and zone.
///
/// A `:` or `.` that cannot belong to the address ends it, so a port or the end of a sentence may follow:
/// `192.0.2.1:443`, `2001:db8::1.` Behind IPv6 without brackets a port of digits looks like part of the address
/// unless all eight groups are there; write a `/`.
pub fn prefix(text: &[u8]) -> Option<(Ip, usize)> {
    let Some(inner) = text.strip_prefix(b"[") else {
        return bare_prefix(text);
    };
    let (ip, length) = bare_prefix(inner)?;
    (inner.get(length) == Some(&b']')).then(|| (ip, length.saturating_add(2)))
}

#[inline]
fn bare_prefix(text: &[u8]) -> Option<(Ip, usize)> {
    if let Some((octets, length)) = v4_prefix(text) {
        return Some((Ip::V4(octets), length));
    }
    let (octets, length) = v6_prefix(text)?;
    let length = length.saturating_add(zone_length(text.get(length..).unwrap_or_default()));
    Some((Ip::from(IpAddr::V6(Ipv6Addr::from(octets))), length))
}

/// `d.d.d.d`, with no digit behind it.
#[inline]
fn v4_prefix(text: &[u8]) -> Option<([u8; 4], usize)> {
    let (a, rest) = dotted_octet(text)?;
    let (b, rest) = dotted_octet(rest)?;
    let (c, rest) = dotted_octet(rest)?;
    let (d, length) = decimal_octet(rest, 0)?;
    Some(([a, b, c, d], text.len().saturating_sub(rest.len()).saturating_add(length)))
}

/// As [`decimal_octet`] with a dot behind it, and what follows that.
// All four bytes that may count are looked for at once: mostly more than an octet is left.
#[inline]
fn dotted_octet(text: &[u8]) -> Option<(u8, &[u8])> {
    let digit = |byte: u8| Some(byte.wrapping_sub(b'0')).filter(|digit| *digit < 10);
    let [one, two, three, four] = text.first_chunk().copied().unwrap_or_else(|| at_end(text));
    let first = digit(one)?;
    if two == b'.' {
        return Some((first, text.get(2..)?));
    }
    let second = digit(two).filter(|_| first != 0)?;
    // Two digits are no more than 99, three no more than 999.
    let value = first.wrapping_mul(10).wrapping_add(second);
    if three == b'.' {
        return Some((value, text.get(3..)?));
    }
    let value = u32::from(value).wrapping_mul(10).wrapping_add(u32::from(digit(three)?));
    if four != b'.' {
        return None;
    }
    Some((u8::try_from(value).ok()?, text.get(4..)?))
}

/// Less than four bytes, filled up with NULs, which belong to no address.
#[cold]
fn at_end(text: &[u8]) -> [u8; 4] {
    let mut bytes = [0; 4];
    bytes.iter_mut().zip(text).for_each(|(place, byte)| *place = *byte);
    bytes
}

/// One to three digits up to 255 from `at` on, no leading zero, no fourth digit; and the place behind them.
// Written out: a loop would ask at each digit how many there were.
#[inline]
fn decimal_octet(text: &[u8], at: usize) -> Option<(u8, usize)> {
    let digit = |at: usize| text.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10);
    let first = digit(at)?;
    let at = at.wrapping_add(1);
    let Some(second) = digit(at) else { return Some((first, at)) };
    if first == 0 {
        return None;
    }
    // Two digits are no more than 99, three no more than 999.
    let value = first.wrapping_mul(10).wrapping_add(second);
    let at = at.wrapping_add(1);
    let Some(third) = digit(at) else { return Some((value, at)) };
    let value = u32::from(value).wrapping_mul(10).wrapping_add(u32::from(third));
    let at = at.wrapping_add(1);
    let octet = u8::try_from(value).ok()?;
    if digit(at).is_some() { None } else { Some((octet, at)) }
}

/// Eight groups of up to four hexadecimal digits, or fewer with one `::`; the last two may be an IPv4 address.
fn v6_prefix(text: &[u8]) -> Option<([u8; 16], usize)> {
    const GROUPS: usize = 8;
    let mut groups = [0_u16; GROUPS];
    let mut count = 0_usize;
    // How many groups stand before the `::`, once it was seen.
    let mut gap: Option<usize> = None;
    let mut rest = text;
    loop {
        // A `::` stands for at least one group.
        let limit = if gap.is_some() { GROUPS.saturating_sub(1) } else { GROUPS };
        let mut group = rest;
        if count > 0 && gap != Some(count) {
            // Behind a group: a separator, or the end.
            match rest {
                [b':', b':', tail @ ..] if gap.is_none() && count < GROUPS => {
                    gap = Some(count);
                    rest = tail;
                    continue;
                }
                [b':', tail @ ..] if count < limit => group = tail,
                _ => break,
            }
        } else if count == 0 && gap.is_none() {
            if let [b':', b':', tail @ ..] = rest {
                gap = Some(0);
                rest = tail;
                continue;
            }
        } else if count >= limit {
            break;
        }
        if count.saturating_add(2) <= limit
            && let Some((octets, length)) = v4_prefix(group)
        {
            let [a, b, c, d] = octets;
            for pair in [[a, b], [c, d]] {
                *groups.get_mut(count)? = u16::from_be_bytes(pair);
                count = count.saturating_add(1);
            }
            rest = group.get(length..).unwrap_or_default();
            break;
        }
        let Some((value, tail)) = hexadecimal_group(group) else { break };
        *groups.get_mut(count)? = value;
        count = count.saturating_add(1);
        rest = tail;
    }
    // A group of more than four digits is no group: what was read so far is no address either.
    if rest.first().is_some_and(u8::is_ascii_hexdigit) || (gap.is_none() && count < GROUPS) {
        return None;
    }
    if let Some(gap) = gap {
        // The groups behind the `::` move to the end, zeros to where they stood.
        groups.get_mut(gap..)?.rotate_right(GROUPS.saturating_sub(count));
    }
    let mut octets = [0_u8; 16];
    for (octet, byte) in octets.iter_mut().zip(groups.iter().flat_map(|group| group.to_be_bytes())) {
        *octet = byte;
    }
    Some((octets, text.len().saturating_sub(rest.len())))
}

/// One to four hexadecimal digits; a fifth is left for the caller to see.
#[inline]
fn hexadecimal_group(text: &[u8]) -> Option<(u16, &[u8])> {
    let mut value = 0_u16;
    let mut rest = text;
    for _ in 0..4 {
        let [byte, tail @ ..] = rest else { break };
        let nibble = match byte {
            b'0'..=b'9' => byte & 0x0f,
            b'a'..=b'f' | b'A'..=b'F' => (byte & 0x0f).wrapping_add(9),
            _ => break,
        };
        value = value << 4 | u16::from(nibble);
        rest = tail;
    }
    (rest.len() < text.len()).then_some((value, rest))
}

/// `%` and at least one byte of a zone's name; 0 if there is none.
fn zone_length(text: &[u8]) -> usize {
    let Some(zone) = text.strip_prefix(b"%") else { return 0 };
    let is_zone = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    match zone.iter().take_while(|byte| is_zone(byte)).count() {
        0 => 0,
        length => length.saturating_add(1),
    }
}

/// Why a text is not a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkError {
    /// What stands before the `/`, or alone, is not an address.
    Address,
    /// The prefix length is not a number, or longer than the address.
    PrefixLength,
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "not an ip address",
            Self::PrefixLength => "the prefix length is not a number from 0 to 32 (ipv4) or 128 (ipv6)",
        })
    }
}

impl core::error::Error for NetworkError {}

/// The addresses that share a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    first: Ip,
    last: Ip,
}

impl Network {
    /// Reads `10.0.0.0/8` or `2001:db8::/32`. An address alone is a network of one; bits behind the prefix are ignored.
    ///
    /// # Errors
    ///
    /// When either part is not what it has to be. A prefix of an IPv4-mapped address has to cover the mapping (96 bits).
    ///
    /// # Source
    ///
    /// RFC 4632, section 3.1; RFC 4291, section 2.3.
    pub fn parse(text: &[u8]) -> Result<Self, NetworkError> {
        let slash = memchr::memchr(b'/', text).unwrap_or(text.len());
        let (address, prefix) = text.split_at_checked(slash).unwrap_or((text, b""));
        let ip = parse(address).ok_or(NetworkError::Address)?;
        let written = if address.contains(&b':') { 128_u32 } else { 32 };
        let bits = match ip {
            Ip::V4(_) => 32_u32,
            Ip::V6(_) => 128,
        };
        let length = match prefix.strip_prefix(b"/") {
            Some(digits) => {
                decimal_octet(digits, 0).filter(|(_, end)| *end == digits.len()).map(|(length, _)| length.into())
            }
            None => Some(written),
        };
        let free = length
            .and_then(|length: u32| written.checked_sub(length))
            .filter(|&free| free <= bits)
            .ok_or(NetworkError::PrefixLength)?;
        Ok(match ip {
            Ip::V4(octets) => {
                let host = u32::MAX.checked_shr(bits.saturating_sub(free)).unwrap_or(0);
                let address = u32::from_be_bytes(octets);
                Self { first: Ip::V4((address & !host).to_be_bytes()), last: Ip::V4((address | host).to_be_bytes()) }
            }
            Ip::V6(octets) => {
                let host = u128::MAX.checked_shr(bits.saturating_sub(free)).unwrap_or(0);
                let address = u128::from_be_bytes(octets);
                Self { first: Ip::V6((address & !host).to_be_bytes()), last: Ip::V6((address | host).to_be_bytes()) }
            }
        })
    }

    /// Whether the address is one of the network's. IPv4 and IPv6 never contain each other.
    pub fn contains(&self, ip: Ip) -> bool {
        // Ip orders all of IPv4 before all of IPv6, and both ends are of one kind.
        self.first <= ip && ip <= self.last
    }
}

/// A set of networks, for one question: is this address in any of them?
///
/// Kept as sorted ranges of numbers that do not overlap, so the answer takes the logarithm of their number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl FromIterator<Network> for Networks {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match (network.first, network.last) {
                (Ip::V4(first), Ip::V4(last)) => v4.push((u32::from_be_bytes(first), u32::from_be_bytes(last))),
                (Ip::V6(first), Ip::V6(last)) => v6.push((u128::from_be_bytes(first), u128::from_be_bytes(last))),
                // Both ends of a network are of one kind.
                (Ip::V4(_), Ip::V6(_)) | (Ip::V6(_), Ip::V4(_)) => {}
            }
        }
        Self { v4: joined(v4), v6: joined(v6) }
    }
}

/// The ranges in order, those that overlap as one.
fn joined<T: Ord + Copy>(mut ranges: Vec<(T, T)>) -> Vec<(T, T)> {
    ranges.sort_unstable();
    let mut joined: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match joined.last_mut() {
            Some((_, end)) if first <= *end => *end = last.max(*end),
            _ => joined.push((first, last)),
        }
    }
    joined
}

/// Whether one of the ordered ranges holds the number.
#[inline]
fn holds<T: Ord + Copy>(ranges: &[(T, T)], number: T) -> bool {
    let place = ranges.partition_point(|(_, last)| *last < number);
    ranges.get(place).is_some_and(|(first, _)| *first <= number)
}

impl Networks {
    /// Reads networks as [`Network::parse`] does.
    ///
    /// # Errors
    ///
    /// The place of the first text that is no network, counted from 0, and why.
    pub fn parse(texts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<Self, (usize, NetworkError)> {
        let networks = texts.into_iter().enumerate();
        networks.map(|(place, text)| Network::parse(text.as_ref()).map_err(|reason| (place, reason))).collect()
    }

    /// Whether the address is in any of the networks.
    #[inline]
    pub fn contains(&self, ip: Ip) -> bool {
        match ip {
            Ip::V4(octets) => holds(&self.v4, u32::from_be_bytes(octets)),
            Ip::V6(octets) => holds(&self.v6, u128::from_be_bytes(octets)),
        }
    }

    /// The first and the last address of each range of IPv4, as numbers, in order.
    pub(crate) fn v4(&self) -> impl Iterator<Item = (u32, u32)> {
        self.v4.iter().copied()
    }

    /// The first and the last address of each range of IPv6, as numbers, in order.
    pub(crate) fn v6(&self) -> impl Iterator<Item = (u128, u128)> {
        self.v6.iter().copied()
    }

    /// Whether there are no networks.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_the_canonical_form() {
        let cases = [
            ("192.0.2.1", "192.0.2.1"),
            ("0.0.0.0", "0.0.0.0"),
            ("255.255.255.255", "255.255.255.255"),
            ("[192.0.2.1]", "192.0.2.1"),
            ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:0db8:0:1:0:0:0:0001", "2001:db8:0:1::1"),
            ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
            ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
            ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"),
            ("::", "::"),
            ("::1", "::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("[fe80::1%ge-0.100]", "fe80::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("::ffff:c000:201", "192.0.2.1"),
            ("0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1"),
            ("64:ff9b::192.0.2.1", "64:ff9b::c000:201"),
        ];
        for (written, canonical) in cases {
            assert_eq!(parse(written.as_bytes()).map(|ip| ip.to_string()).as_deref(), Some(canonical), "{written}");
        }
    }

    #[test]
    fn refuses_what_is_no_address() {
        let cases = [
            "",
            "1",
            "1.2.3",
            "1.2.3.4.",
            "1.2.3.4.5",
            ".1.2.3",
            "1..2.3",
            "256.1.1.1",
            "1.1.1.1000",
            "01.2.3.4",
            "1.2.3.04",
            "00.0.0.0",
            "1.2.3.4 ",
            " 1.2.3.4",
            "1.2.3.4:80",
            "1.2.3.a",
            "[1.2.3.4",
            "1.2.3.4]",
            "[]",
            "[[::1]]",
            ":",
            ":::",
            "1:",
            ":1",
            "1::2::3",
            "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9",
            "1:2:3:4:5:6:7:8::",
            "::1:2:3:4:5:6:7:8",
            "12345::",
            "::g",
            "fe80::1%",
            "fe80::1%eth 0",
            "%eth0",
            "192.0.2.1%eth0",
            "1:2:3:4:5:6:7:192.0.2.1",
            "::192.0.2.01",
            "::192.0.2.1:5",
        ];
        for text in cases {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn an_address_at_the_start_ends_where_it_cannot_go_on() {
        let cases = [
            ("192.0.2.1:443", 9),
            ("192.0.2.1.", 9),
            ("192.0.2.1/24", 9),
            ("192.0.2.1)", 9),
            ("2001:db8::1.", 11),
            ("2001:db8::1: text", 11),
            ("2001:db8::1/443", 11),
            ("1:2:3:4:5:6:7:8:443", 15),
            ("[2001:db8::1]:443", 13),
            ("fe80::1%eth0/443", 12),
            ("::ffff:192.0.2.1:443", 16),
        ];
        for (text, length) in cases {
            assert_eq!(prefix(text.as_bytes()).map(|(_, length)| length), Some(length), "{text}");
        }
        for text in ["192.0.2.1000", "2001:db8::12345", "outside", "[::1"] {
            assert_eq!(prefix(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn networks_hold_their_addresses_and_no_others() {
        let cases = [
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.1.2.3/8", "10.0.0.0", true),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1/32", "192.0.2.0", false),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "192.0.2.1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("2001:db8::1/128", "2001:db8::1", true),
            ("::ffff:10.0.0.0/104", "10.9.9.9", true),
            ("::ffff:0.0.0.0/96", "192.0.2.1", true),
        ];
        for (network, address, inside) in cases {
            let network = Network::parse(network.as_bytes()).unwrap();
            assert_eq!(network.contains(parse(address.as_bytes()).unwrap()), inside, "{network:?} {address}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_network() {
        for text in ["", "/8", "10.0.0/8", "inside"] {
            assert_eq!(Network::parse(text.as_bytes()), Err(NetworkError::Address), "{text}");
        }
        for text in [
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "::/129",
            "::/1000",
            "10.0.0.0/8/8",
            "::ffff:0.0.0.0/95",
        ] {
            assert_eq!(Network::parse(text.as_bytes()), Err(NetworkError::PrefixLength), "{text}");
        }
        assert_eq!(NetworkError::Address.to_string(), "not an ip address");
        assert!(NetworkError::PrefixLength.to_string().contains("128"));
        assert_eq!(Networks::parse(["::/0", "x"]), Err((1, NetworkError::Address)));
    }

    #[test]
    fn a_set_joins_networks_that_overlap() {
        let set =
            Networks::parse(["10.1.0.0/16", "192.168.0.0/16", "10.0.0.0/8", "fc00::/7", "10.255.0.0/16"]).unwrap();
        assert_eq!((2, 1), (set.v4.len(), set.v6.len()));
        assert!(!set.is_empty() && Networks::default().is_empty());
        for (address, inside) in [
            ("10.200.0.1", true),
            ("192.168.255.255", true),
            ("192.169.0.0", false),
            ("9.255.255.255", false),
            ("fd00::1", true),
        ] {
            assert_eq!(set.contains(parse(address.as_bytes()).unwrap()), inside, "{address}");
        }
        assert!(!set.contains(parse(b"2001:db8::1").unwrap()));
    }
}
