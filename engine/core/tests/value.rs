//! Properties of the readers of values, for any bytes a sender may write.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use collectord_core::value::{Escape, Ip, Kind, Network, Networks, Raw, Template, cef, csv, ip, kv, unescape};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::ControlFlow;

/// Checks that slices come one after the other out of one text: no reader looks back, none makes anything up.
struct Walk<'m> {
    text: &'m [u8],
    reached: *const u8,
    calls: usize,
}

impl<'m> Walk<'m> {
    fn new(text: &'m [u8]) -> Self {
        Self { text, reached: text.as_ptr(), calls: 0 }
    }

    fn step(&mut self, slice: &[u8]) {
        self.calls += 1;
        assert!(self.calls <= 2 * self.text.len() + 2, "more slices than bytes");
        if !slice.is_empty() {
            let (all, part) = (self.text.as_ptr_range(), slice.as_ptr_range());
            assert!(self.reached <= part.start && part.end <= all.end, "a slice from elsewhere, or from before");
            self.reached = part.end;
        }
    }
}

const CONTINUE: ControlFlow<()> = ControlFlow::Continue(());

/// Reads `text` with every reader there is.
fn walk_all(text: &[u8]) {
    let mut walk = Walk::new(text);
    kv::read(text, |key, value| {
        assert!(!key.is_empty());
        walk.step(key);
        walk.step(value.bytes);
        let _ = unescape(value);
        CONTINUE
    });
    for separator in [b',', b'\t', b';'] {
        let mut walk = Walk::new(text);
        csv::read(text, separator, |column, value| {
            assert_eq!(column, walk.calls + 1);
            walk.step(value.bytes);
            let _ = unescape(value);
            CONTINUE
        });
    }
    let mut walk = Walk::new(text);
    cef::extension(text, |key, value| {
        assert!(!key.is_empty());
        walk.step(key);
        walk.step(value.bytes);
        let _ = unescape(value);
        CONTINUE
    });
    if let Some((header, extension, end)) = cef::header(text) {
        let mut walk = Walk::new(text);
        let fields = [
            header.version,
            header.vendor,
            header.product,
            header.device_version,
            header.signature_id,
            header.name,
            header.severity,
        ];
        for field in fields {
            walk.step(field.bytes);
            let _ = unescape(field);
        }
        walk.step(extension);
        assert_eq!(text.get(end..), Some(extension));
    }
    for template in templates() {
        let mut holes = vec![None; template.holes().len()];
        let matched = template.read(text, &mut holes);
        let mut walk = Walk::new(text);
        for held in holes.iter().flatten() {
            assert!(!matched || !held.is_empty());
            walk.step(held);
        }
        if let Some(rest) = template.read_prefix(text, &mut holes) {
            walk.step(rest);
        }
    }
    for start in 0..text.len().min(8) {
        if let Some((found, length)) = ip::prefix(&text[start..]) {
            assert_eq!(ip::parse(&text[start..start + length]), Some(found));
        }
    }
    let _ = Network::parse(text);
}

#[allow(clippy::unnecessary_wraps)] // What a template's compiler calls.
fn kind_of(name: &str) -> Result<Kind, String> {
    Ok(match name.split('_').next().unwrap_or_default() {
        "address" => Kind::Address,
        "number" => Kind::Number,
        "word" => Kind::Word,
        _ => Kind::Text,
    })
}

fn templates() -> Vec<Template> {
    [
        "Deny {word_a} src {word_b}:{address}[/{number}][({user})] by \"{rule}\"[ {}]",
        "{a}[ a{b}] {c}=[{number}]{d},{e}",
        "a{a}aab{}b[a{b}]",
    ]
    .iter()
    .map(|text| Template::compile(text, kind_of).unwrap())
    .collect()
}

/// Bytes that mean something to one of the readers, among others.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        6 => prop::sample::select(b"=\" ',\\|\"\"==ab1.:[]()/%-\t\n\r\0\x80\xff".to_vec()),
        1 => any::<u8>(),
    ];
    (
        prop::sample::select(vec!["", "CEF:", "CEF:0|a|b|c|d|e|5|", "Deny tcp src a:192.0.2.1", "a=\"", "a=1,b="]),
        prop::collection::vec(byte, 0..200),
    )
        .prop_map(|(start, rest)| [start.as_bytes(), &rest].concat())
}

fn key() -> impl Strategy<Value = String> {
    "[A-Za-z_][A-Za-z0-9_.-]{0,11}"
}

/// Values that need every escape there is, and plain ones.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[a-z0-9.:/-]{0,20}".prop_map(String::into_bytes),
        "( srcip=1|,srcip=1|\"|\\\\|\"\"|\\|| |=|'|x|\n|\r){0,12}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..20),
    ]
}

fn escaped(value: &[u8], introducer: u8, special: &[u8]) -> Vec<u8> {
    let one = |&byte: &u8| if special.contains(&byte) { vec![introducer, byte] } else { vec![byte] };
    value.iter().flat_map(one).collect()
}

/// How many examples to try: `PROPTEST_CASES` where it asks for more than `least`.
fn cases(least: u32) -> u32 {
    ProptestConfig::default().cases.max(least)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(2000), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_in_one_walk(text in hostile()) {
        walk_all(&text);
    }

    #[test]
    fn pairs_come_back(pairs in prop::collection::vec((key(), value(), any::<bool>()), 0..12), comma in any::<bool>()) {
        let separator: &[u8] = if comma { b"," } else { b" " };
        let rendered: Vec<Vec<u8>> = pairs.iter().map(|(key, value, quote)| {
            // What holds a separator of either form has to stand in quotes, as has what starts with a quote.
            let bare = !quote && value.iter().all(|&b| b > b' ' && b != b',') && !matches!(value.first(), Some(b'"' | b'\''));
            let value = if bare { value.clone() } else { [b"\"", &escaped(value, b'\\', b"\"\\")[..], b"\""].concat() };
            [key.as_bytes(), b"=", &value].concat()
        }).collect();
        let text = rendered.join(separator);
        let mut found = Vec::new();
        kv::read(&text, |key, raw| {
            found.push((String::from_utf8(key.to_vec()).unwrap(), unescape(raw).into_owned()));
            CONTINUE
        });
        let wanted: Vec<_> = pairs.into_iter().map(|(key, value, _)| (key, value)).collect();
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn columns_come_back(columns in prop::collection::vec((value(), any::<bool>()), 1..12), separator in prop::sample::select(b",;\t".to_vec())) {
        let rendered: Vec<Vec<u8>> = columns.iter().map(|(value, quote)| {
            let special = |b: &u8| *b == separator || matches!(b, b'"' | b'\r' | b'\n' | 0);
            if *quote || value.is_empty() || value.iter().any(special) {
                [b"\"", &escaped(value, b'"', b"\"")[..], b"\""].concat()
            } else {
                value.clone()
            }
        }).collect();
        let text = rendered.join(&separator);
        let mut found = Vec::new();
        csv::read(&text, separator, |_, raw| {
            found.push(unescape(raw).into_owned());
            CONTINUE
        });
        let wanted: Vec<_> = columns.into_iter().map(|(value, _)| value).collect();
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn cef_comes_back(header in prop::array::uniform7(value()), pairs in prop::collection::vec((key(), value()), 0..12)) {
        let ends_in_blank = |value: &[u8]| value.last().is_some_and(|&b| b <= b' ' && b != b'\n' && b != b'\r');
        let pairs: Vec<_> = pairs.into_iter().filter(|(_, value)| !ends_in_blank(value)).collect();
        let fields: Vec<Vec<u8>> = header.iter().map(|field| escaped(field, b'\\', b"|\\")).collect();
        let extension: Vec<Vec<u8>> = pairs.iter().map(|(key, value)| {
            let value: Vec<u8> = escaped(value, b'\\', b"=\\").into_iter().flat_map(|b| match b {
                b'\n' => b"\\n".to_vec(),
                b'\r' => b"\\r".to_vec(),
                other => vec![other],
            }).collect();
            [key.as_bytes(), b"=", &value].concat()
        }).collect();
        let text = [b"CEF:", &fields.join(&b'|')[..], b"|", &extension.join(&b' ')].concat();
        let (found, rest, _) = cef::header(&text).unwrap();
        let fields = [found.version, found.vendor, found.product, found.device_version, found.signature_id, found.name, found.severity];
        for (field, wanted) in fields.into_iter().zip(&header) {
            prop_assert_eq!(&*unescape(field), wanted.as_slice());
        }
        let mut found = Vec::new();
        cef::extension(rest, |key, raw| {
            found.push((String::from_utf8(key.to_vec()).unwrap(), unescape(raw).into_owned()));
            CONTINUE
        });
        prop_assert_eq!(found, pairs);
    }

    /// Parts of random kinds, each with a literal of its own, some of them optional and left out.
    #[test]
    fn templates_give_back_what_they_were_filled_with(
        parts in prop::collection::vec((0..4_u8, any::<bool>(), any::<bool>(), "[A-Z]([A-Z ]{0,8}[A-Z])?", any::<u16>(), any::<bool>()), 1..12),
    ) {
        let (mut template, mut text, mut wanted) = (String::new(), String::new(), Vec::new());
        for (place, (kind, optional, present, words, number, v6)) in parts.into_iter().enumerate() {
            let (name, value) = match kind {
                0 => ("address", if v6 { format!("2001:db8::{number:x}") } else { Ipv4Addr::from(u32::from(number) | 0xc000_0000).to_string() }),
                1 => ("number", number.to_string()),
                2 => ("word", words.replace(' ', "-")),
                _ => ("text", words),
            };
            let part = format!(" <{place}> {{{name}_{place}}}");
            let filled = format!(" <{place}> {value}");
            let part = if optional { format!("[{part}]") } else { part };
            template.push_str(&part);
            if !optional || present {
                text.push_str(&filled);
            }
            wanted.push((!optional || present).then_some(value));
        }
        let template = Template::compile(&template, kind_of).unwrap();
        let mut holes = vec![None; template.holes().len()];
        prop_assert!(template.read(text.as_bytes(), &mut holes));
        let found: Vec<_> = holes.iter().map(|held| held.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())).collect();
        prop_assert_eq!(found, wanted);
    }

    /// Addresses with a byte changed, left out or put in: each is read as the standard library reads it, or not at all.
    #[test]
    fn addresses_agree_with_the_standard_library(
        groups in prop::array::uniform8(prop_oneof![2 => Just(0_u16), 1 => any::<u16>(), 1 => 0..256_u16]),
        form in 0..4_u8, edit in 0..4_u8, place in any::<prop::sample::Index>(), byte in prop::sample::select(b"0129afF:.g%".to_vec()),
    ) {
        let v6 = Ipv6Addr::from(groups);
        let mut text = match form {
            0 => v6.to_string(),
            1 => groups.map(|group| format!("{group:X}")).join(":"),
            2 => Ipv4Addr::from(u32::from(groups[0]) << 16 | u32::from(groups[1])).to_string(),
            _ => format!("::ffff:{}", Ipv4Addr::from(u32::from(groups[0]) << 16 | u32::from(groups[1]))),
        }.into_bytes();
        let at = place.index(text.len());
        match edit {
            0 => {}
            1 => text[at] = byte,
            2 => { text.remove(at); }
            _ => text.insert(at, byte),
        }
        let standard = std::str::from_utf8(&text).unwrap().parse::<IpAddr>().ok().map(Ip::from);
        if !text.contains(&b'%') {
            prop_assert_eq!(ip::parse(&text), standard, "{}", String::from_utf8_lossy(&text));
        }
        if let Some(address) = ip::parse(&text) {
            prop_assert_eq!(ip::parse(address.to_string().as_bytes()), Some(address));
        }
    }

    #[test]
    fn a_set_of_networks_is_any_of_them(
        networks in prop::collection::vec((any::<u32>(), 0..=32_u8, any::<bool>()), 0..20), address in any::<u32>(), near in any::<prop::sample::Index>(),
    ) {
        let networks: Vec<Network> = networks.iter().map(|&(base, length, v6)| {
            let text = if v6 {
                format!("{}/{}", Ipv6Addr::from(u128::from(base) << 96), length.max(1))
            } else {
                format!("{}/{length}", Ipv4Addr::from(base))
            };
            Network::parse(text.as_bytes()).unwrap()
        }).collect();
        let set: Networks = networks.iter().copied().collect();
        let mut addresses = vec![address, 0, u32::MAX];
        addresses.push(address.rotate_left(u32::try_from(near.index(32)).unwrap()));
        for address in addresses {
            for ip in [Ip::from(IpAddr::from(Ipv4Addr::from(address))), Ip::from(IpAddr::from(Ipv6Addr::from(u128::from(address) << 96)))] {
                prop_assert_eq!(set.contains(ip), networks.iter().any(|network| network.contains(ip)));
            }
        }
    }

    #[test]
    fn what_is_not_escaped_stays(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
        for escape in [Escape::Kv, Escape::CsvQuoted, Escape::CefHeader, Escape::CefExtension] {
            let meant = unescape(Raw { bytes: &bytes, escape });
            prop_assert!(meant.len() <= bytes.len());
        }
        prop_assert_eq!(&*unescape(Raw::plain(&bytes)), &bytes[..]);
    }
}

/// Inputs made to send a reader back and forth. At these sizes quadratic work would not end within a test run.
#[test]
fn hostile_megabytes_are_read_in_one_walk() {
    let pieces: [&[u8]; 22] = [
        b"=",
        b"a=",
        b"a= ",
        b"a=\"",
        b"a='",
        b"\"",
        b"\\",
        b"\\\"",
        b"a\\=",
        b" a\\=",
        b",",
        b"\",\"",
        b",a=",
        b"a",
        b" ",
        b"'a=\"b' ",
        b"a=b,",
        b"|",
        b"aa a",
        b"0:",
        b"1.",
        b"(",
    ];
    let starts: [&[u8]; 6] = [b"", b"a=\"", b"\"", b"CEF:0|a|b|c|d|e|5|x=", b"Deny tcp src a:192.0.2.1(", b"a="];
    for piece in pieces {
        for start in starts {
            for kib in [8, 64, 1024] {
                let text = [start, &piece.repeat(kib * 1024 / piece.len())].concat();
                walk_all(&text);
            }
        }
    }
}
