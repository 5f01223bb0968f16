//! Properties of the readers of values, for any bytes a sender may write.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use collectord_core::value::{
    Ending, Escape, Form, Ip, Kind, Marks, Network, Networks, Raw, Template, cef, csv, ip, json, kv, leef, unescape,
    xml,
};
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

/// Marks of products: Cisco FTD, Check Point's two forms, and some that share bytes.
const MARKS: [(&str, &str); 4] = [(": ", ", "), (":", ";"), ("=", "|"), ("=", ", ")];

/// Reads `text` with every reader there is.
fn walk_all(text: &[u8]) {
    let mut walk = Walk::new(text);
    kv::read(text, Some, |key, value| {
        assert!(!key.is_empty());
        walk.step(key);
        walk.step(value.bytes);
        let _ = unescape(value);
        CONTINUE
    });
    for (assign, separator) in MARKS {
        let mut walk = Walk::new(text);
        Marks::new(assign, separator).unwrap().read(text, |key, value| {
            assert!(!key.is_empty());
            walk.step(key);
            walk.step(value.bytes);
            let _ = unescape(value);
            CONTINUE
        });
    }
    for separator in [b',', b'\t', b';'] {
        let mut walk = Walk::new(text);
        let numbers: Vec<usize> = (1..=text.len() + 1).collect();
        csv::read(text, separator, &numbers, |place, value| {
            assert_eq!(place, walk.calls);
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
    if let Some((header, extension, _)) = cef::read_header(text) {
        let mut walk = Walk::new(text);
        for field in [header.version, header.vendor, header.product, header.device_version, header.signature_id] {
            walk.step(field.bytes);
        }
        // One of the two may be all there is.
        walk.step(if header.name.bytes.is_empty() { header.severity } else { header.name }.bytes);
        walk.step(extension);
    }
    walk_leef(text);
    walk_nested(text);
    for template in templates() {
        let mut holes = vec![None; template.holes().len()];
        let matched = template.read(text, &mut holes);
        let mut walk = Walk::new(text);
        for held in holes.iter().flatten() {
            assert!(!matched || !held.bytes.is_empty());
            assert!(held.address.is_none_or(|address| ip::parse(held.bytes) == Some(address)));
            walk.step(held.bytes);
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

fn walk_leef(text: &[u8]) {
    let Some((header, rest, delimiter)) = leef::header(text) else { return };
    let mut walk = Walk::new(text);
    for field in [header.version, header.vendor, header.product, header.device_version, header.event_id] {
        walk.step(field.bytes);
        let _ = unescape(field);
    }
    for delimiter in [delimiter, leef::Delimiter::Byte(b'\t'), leef::Delimiter::Escaped, leef::Delimiter::Blanks] {
        let mut walk = Walk::new(text);
        leef::attributes(rest, delimiter, |key, value| {
            assert!(!key.is_empty());
            walk.step(key);
            walk.step(value.bytes);
            let _ = unescape(value);
            CONTINUE
        });
    }
}

fn walk_nested(text: &[u8]) {
    // No two of these paths can end at one value.
    let each = "a[].b[]";
    let paths = json::Paths::compile(&["b", "a.b", "a[].c", each, "[].a"], Some(each)).unwrap();
    let mut walk = Walk::new(text);
    let (mut elements, mut items) = (0, 0);
    let ending = paths.read(text, |found| {
        match found {
            json::Found::Value(path, raw) => {
                assert!(path < 5);
                walk.step(raw.bytes);
                let _ = unescape(raw);
            }
            json::Found::Element(array) => elements += array,
            json::Found::Item => items += 1,
        }
        CONTINUE
    });
    assert!(items <= elements && elements <= text.len());
    assert_ne!(ending, Ending::Stopped);
    let paths = xml::Paths::compile(&["a/b", "c", "a@x", "b[k]/d"]).unwrap();
    let mut walk = Walk::new(text);
    let ending = paths.read(text, |path, raw| {
        assert!(path < 4);
        walk.step(raw.bytes);
        let _ = unescape(raw);
        CONTINUE
    });
    assert_ne!(ending, Ending::Stopped);
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

/// Pieces of nested texts and of headers, in any order.
fn hostile_pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        "\"a\":",
        "\"b\":",
        "\"c\":",
        "\"a.b\":",
        "\"",
        "\\",
        "\\u00e9",
        ",",
        ":",
        "1",
        "null",
        "\"x\"",
        " ",
        "<a>",
        "</a>",
        "<b>",
        "<b Name='k'>",
        "</b>",
        "<c/>",
        "<c>",
        "<d>",
        "<a x=\"1\"",
        ">",
        "/",
        "<",
        "'",
        "<!--",
        "-->",
        "<![CDATA[",
        "]]>",
        "<?",
        "?>",
        "<!DOCTYPE",
        "&lt;",
        "&#x",
        "x",
        "LEEF:1.0|",
        "LEEF:2.0|v|p|1|id|^|",
        "CEF: ",
        "CEF:0|v|p|1|",
        "|",
        "a=",
        "^",
        "#011",
        "#015#012",
        "\t",
        "=",
        "\\|",
        "src=1",
        "a: ",
        ", ",
        ";",
        "\\",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat().into_bytes())
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

/// A character of a JSON string without bytes above 127.
fn in_ascii(c: char) -> String {
    if c.is_ascii() {
        return c.to_string();
    }
    let units: Vec<String> = c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect();
    units.concat()
}

/// Text without blanks around it, with all that XML has to escape in it.
fn text() -> impl Strategy<Value = String> {
    "([!-~\u{a1}-\u{ff}\u{1f600}<>&'\"]([ -~<>&'\"]{0,10}[!-~])?)?"
}

/// A text as XML writes it: by names, or by numbers.
fn entities(text: &str, by_number: bool) -> String {
    let name = |c| match c {
        '<' => "&lt;",
        '>' => "&gt;",
        '&' => "&amp;",
        '"' => "&quot;",
        _ => "&apos;",
    };
    let one = |c: char| match c {
        '<' | '>' | '&' | '"' | '\'' if !by_number => name(c).to_owned(),
        c if by_number && c.is_ascii_punctuation() => format!("&#{};", u32::from(c)),
        c if by_number && !c.is_ascii() => format!("&#x{:X};", u32::from(c)),
        c => c.to_string(),
    };
    text.chars().map(one).collect()
}

fn tree() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1.0e9..1.0e9_f64).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        "[\\\\\"/\\[\\]{}:, \u{1f600}\u{e9}]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("[a-d]{1,2}|@t|k [a-z]", inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// Every path to a scalar or an empty container, and the text that has to be found there.
fn list_leaves(tree: &serde_json::Value, path: String, depth: usize, leaves: &mut Vec<(String, Option<String>)>) {
    use serde_json::Value;
    match tree {
        Value::Object(map) => {
            for (key, value) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                list_leaves(value, path, depth + 1, leaves);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                list_leaves(value, format!("{path}[{index}]"), depth + 1, leaves);
            }
        }
        _ if depth == 0 => {}
        Value::Null => leaves.push((path, None)),
        Value::String(text) => leaves.push((path, Some(text.clone()))),
        other => leaves.push((path, Some(other.to_string()))),
    }
}

/// Every other object inside an object becomes keys with dots.
fn flattened(tree: &serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match tree {
        Value::Object(map) => {
            let mut flat = serde_json::Map::new();
            for (place, (key, value)) in map.iter().enumerate() {
                match flattened(value) {
                    Value::Object(inner) if place % 2 == 0 && !inner.is_empty() => {
                        flat.extend(inner.into_iter().map(|(below, value)| (format!("{key}.{below}"), value)));
                    }
                    other => _ = flat.insert(key.clone(), other),
                }
            }
            Value::Object(flat)
        }
        Value::Array(list) => Value::Array(list.iter().map(flattened).collect()),
        other => other.clone(),
    }
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
    fn pieces_in_any_order_are_read_in_one_walk(text in hostile_pieces()) {
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
        kv::read(&text, Some, |key, raw| {
            found.push((String::from_utf8(key.to_vec()).unwrap(), unescape(raw).into_owned()));
            CONTINUE
        });
        let wanted: Vec<_> = pairs.into_iter().map(|(key, value, _)| (key, value)).collect();
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn pairs_with_other_marks_come_back(
        pairs in prop::collection::vec((key(), value(), any::<bool>()), 0..12),
        marks in prop::sample::select(MARKS.to_vec()),
    ) {
        let (assign, separator) = marks;
        let rendered: Vec<Vec<u8>> = pairs.iter().map(|(key, value, quote)| {
            // Without quotes there may be anything but what could end the value, blanks around it, or a quote before it.
            let ends = [separator.as_bytes()[0], b'"', b'\\'];
            let bare = !quote && value.trim_ascii() == value.as_slice()
                && value.iter().all(|byte| !ends.contains(byte) && *byte >= b' ');
            let value = if bare { value.clone() } else { [b"\"", &escaped(value, b'\\', b"\"\\")[..], b"\""].concat() };
            [key.as_bytes(), assign.as_bytes(), &value].concat()
        }).collect();
        let text = rendered.join(separator.as_bytes());
        let mut found = Vec::new();
        Marks::new(assign, separator).unwrap().read(&text, |key, raw| {
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
        let numbers: Vec<usize> = (1..=columns.len() + 1).collect();
        csv::read(&text, separator, &numbers, |_, raw| {
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
        let mut seen = Vec::new();
        let form = cef::extension(rest, |key, raw| {
            seen.push((String::from_utf8(key.to_vec()).unwrap(), unescape(raw).into_owned()));
            CONTINUE
        });
        prop_assert_eq!(&seen, &pairs);
        prop_assert_eq!(form, Form::Strict);
        // Who keeps to the standard is read by it.
        if !pairs.is_empty() && header[0].first().is_some_and(|&byte| byte > b' ') && !header[6].contains(&b'=') {
            prop_assert_eq!(cef::read_header(&text), Some((found, rest, Form::Strict)));
        }
    }

    /// A relay or a device spoils the header in some way: the fields and the pairs still come back.
    #[test]
    fn spoilt_cef_comes_back(
        fields in prop::array::uniform6("[A-Za-z][A-Za-z0-9.&:-]{0,8}( [A-Za-z0-9.&:-]{1,8})?"), kind in 0..5_u8,
        pairs in prop::collection::vec((key(), "[a-z0-9.:/]{1,10}( [a-z0-9.:/|]{1,10})?"), 2..8), spoilt in 0..4_u8,
    ) {
        let [vendor, product, version, id, mut name, mut severity] = fields;
        // Where a `|` separates, no value holds one.
        let plain = |value: String| if spoilt == 1 { value.replace('|', "") } else { value };
        let pairs: Vec<_> = pairs.into_iter().map(|(key, value)| (key, plain(value).trim_end().to_owned())).collect();
        let extension: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let separator = match spoilt { 0 => "#011", 1 => "|", _ => " " };
        let extension = extension.join(separator);
        let text = match kind {
            0 => format!("CEF: 0|{vendor}|{product}|{version}|{id}|{name}|{severity}|{extension}#015#012"),
            1 => {
                name = format!("{name}|{id} | x");
                format!("CEF:0|{vendor}|{product}|{version}|{id}|{name}|{severity}|{extension}")
            }
            2 => {
                severity.clear();
                format!("CEF:0|{vendor}|{product}|{version}|{id}|{name}|{extension}")
            }
            3 => format!("CEF: 0 | {vendor} | {product} | {version} | {id} | {name} | {severity} | {extension} "),
            _ => format!("CEF:0|{vendor}|{product}|{version}|{id}|{name}|{severity}||{extension}"),
        };
        let (header, rest, form) = cef::read_header(text.as_bytes()).unwrap();
        prop_assert_eq!(form, Form::Recovered);
        // A last field that reads like a severity is one.
        let swapped = kind == 2 && header.name.bytes.is_empty();
        let found = [header.vendor, header.product, header.device_version, header.signature_id, if swapped { header.severity } else { header.name }];
        for (field, wanted) in found.into_iter().zip([&vendor, &product, &version, &id, &name]) {
            prop_assert_eq!(&*unescape(field), wanted.as_bytes(), "{}", text);
        }
        if !swapped {
            prop_assert_eq!(&*unescape(header.severity), severity.as_bytes(), "{}", text);
        }
        let mut found = Vec::new();
        cef::extension(rest, |key, raw| {
            found.push((String::from_utf8(key.to_vec()).unwrap(), String::from_utf8(unescape(raw).into_owned()).unwrap()));
            CONTINUE
        });
        prop_assert_eq!(found, pairs, "{}", text);
    }

    #[test]
    fn leef_comes_back(
        names in prop::array::uniform2(value()), kinds in prop::array::uniform2("([A-Za-z0-9.:-]{1,8}( [A-Za-z0-9.:-]{1,8})?)?"),
        mut pairs in prop::collection::vec((key(), value()), 0..12), form in 0..4_u8,
    ) {
        let (version, named, delimiter) = match form {
            0 => ("1.0", "", b'\t'),
            1 => ("2.0", "x7C|", b'|'),
            2 => ("2.0", "^|", b'^'),
            _ => ("2.0", "|", b'\t'),
        };
        let blank = |byte: Option<&u8>| byte.is_some_and(|&byte| byte <= b' ');
        pairs.retain(|(_, value)| {
            !blank(value.first()) && !blank(value.last()) && !value.contains(&delimiter) && !value.windows(2).any(|two| two == b"\\=")
        });
        pairs.push(("last".to_owned(), b"1".to_vec()));
        let names = names.map(|name| name.trim_ascii_start().iter().copied().filter(|&byte| byte > b' ').collect::<Vec<u8>>());
        let fields: Vec<Vec<u8>> = names.iter().map(|name| escaped(name, b'\\', b"|\\")).collect();
        let rendered: Vec<Vec<u8>> = pairs.iter().map(|(key, value)| [key.as_bytes(), b"=", value].concat()).collect();
        let header = [b"LEEF:", version.as_bytes(), b"|", &fields.join(&b'|'), b"|", kinds[0].as_bytes(), b"|", kinds[1].as_bytes(), b"|"].concat();
        let text = [&header, named.as_bytes(), &rendered.join(&delimiter)].concat();
        let (header, rest, found) = leef::header(&text).unwrap();
        prop_assert_eq!((header.form, found), (Form::Strict, leef::Delimiter::Byte(delimiter)));
        prop_assert_eq!(&*unescape(header.vendor), &names[0]);
        prop_assert_eq!(&*unescape(header.product), &names[1]);
        prop_assert_eq!(header.device_version.bytes, kinds[0].as_bytes());
        prop_assert_eq!(header.event_id.bytes, kinds[1].as_bytes());
        let mut seen = Vec::new();
        leef::attributes(rest, found, |key, raw| {
            seen.push((String::from_utf8(key.to_vec()).unwrap(), unescape(raw).into_owned()));
            CONTINUE
        });
        prop_assert_eq!(seen, pairs);
    }

    /// Every scalar of a JSON text is found by its own path, however the text is written.
    #[test]
    fn json_comes_back(tree in tree(), pretty in any::<bool>(), ascii in any::<bool>(), flat in any::<bool>()) {
        let mut leaves = Vec::new();
        list_leaves(&tree, String::new(), 0, &mut leaves);
        leaves.truncate(40);
        let tree = if flat { flattened(&tree) } else { tree };
        let mut text = if pretty { serde_json::to_string_pretty(&tree) } else { serde_json::to_string(&tree) }.unwrap();
        if ascii {
            text = text.chars().map(in_ascii).collect();
        }
        let paths: Vec<&str> = leaves.iter().map(|(path, _)| path.as_str()).collect();
        let mut found: Vec<Option<String>> = vec![None; paths.len()];
        let ending = json::Paths::compile(&paths, None).unwrap().read(text.as_bytes(), |value| {
            if let json::Found::Value(path, raw) = value {
                assert_eq!(found[path], None);
                found[path] = Some(String::from_utf8(unescape(raw).into_owned()).unwrap());
            }
            CONTINUE
        });
        let wanted: Vec<Option<String>> = leaves.iter().map(|(_, value)| value.clone()).collect();
        prop_assert_eq!(found, wanted, "{} {:?}", text, paths);
        if tree.is_object() || tree.is_array() {
            prop_assert_eq!(ending, Ending::Whole);
        }
    }

    /// Each item with what belongs to it, as a caller puts it together.
    #[test]
    fn items_come_back(records in prop::collection::vec((prop::option::of("[a-z]{1,4}"), prop::collection::vec((any::<u16>(), prop::option::of(any::<bool>())), 0..4)), 0..5)) {
        let rendered: Vec<serde_json::Value> = records.iter().map(|(rule, flows)| {
            let flows: Vec<serde_json::Value> = flows.iter().map(|(port, drop)| match drop {
                Some(drop) => serde_json::json!({"port": port, "drop": drop}),
                None => serde_json::json!({"port": port}),
            }).collect();
            match rule {
                Some(rule) => serde_json::json!({"rule": rule, "flows": flows}),
                None => serde_json::json!({"flows": flows}),
            }
        }).collect();
        let text = serde_json::json!({"site": "x", "records": rendered}).to_string();
        let names = ["site", "records[].rule", "records[].flows[].port", "records[].flows[].drop"];
        let paths = json::Paths::compile(&names, Some("records[].flows[]")).unwrap();
        let mut values: [Option<String>; 4] = [const { None }; 4];
        let mut items = Vec::new();
        paths.read(text.as_bytes(), |found| {
            match found {
                json::Found::Value(path, raw) => values[path] = Some(String::from_utf8(raw.bytes.to_vec()).unwrap()),
                json::Found::Element(array) => {
                    for (path, value) in values.iter_mut().enumerate() {
                        if paths.scope(path) > array {
                            *value = None;
                        }
                    }
                }
                json::Found::Item => items.push(values.clone()),
            }
            CONTINUE
        });
        let wanted: Vec<_> = records.iter().flat_map(|(rule, flows)| flows.iter().map(move |(port, drop)| {
            [Some("x".to_owned()), rule.clone(), Some(port.to_string()), drop.map(|drop| drop.to_string())]
        })).collect();
        prop_assert_eq!(items, wanted);
    }

    #[test]
    fn xml_comes_back(
        id in any::<u16>(), provider in text(), rows in prop::collection::vec(("[A-Z][a-zA-Z]{0,9}", text(), 0..4_u8), 0..12), spaced in any::<bool>(),
    ) {
        let between = if spaced { "\r\n  " } else { "" };
        let mut body = format!("<?xml version='1.0'?>{between}<Event xmlns='urn:x'>{between}<System>{between}<Provider Name=\"{}\"/>{between}<EventID>{id}</EventID></System><EventData>", entities(&provider, false));
        let mut wanted = std::collections::BTreeMap::new();
        for (name, value, style) in &rows {
            wanted.entry(name.clone()).or_insert_with(Vec::new).extend((!value.is_empty()).then(|| value.clone()));
            let rendered = match style {
                0 => entities(value, false),
                1 if !value.contains("]]>") && !value.is_empty() => format!("<![CDATA[{value}]]>"),
                2 => format!("<!-- <x> -->{}", entities(value, false)),
                _ => entities(value, true),
            };
            let data = if *style == 3 {
                format!("{between}<e:Data x='>' Name='{name}'>{between}{rendered}{between}</e:Data>")
            } else {
                format!("{between}<Data Name=\"{name}\">{rendered}</Data>")
            };
            body.push_str(&data);
        }
        body.push_str("</EventData></Event>\n");
        let names: Vec<String> = wanted.keys().map(|name| format!("EventData/Data[{name}]")).collect();
        let names: Vec<&str> = ["System/EventID", "System/Provider@Name"].into_iter().chain(names.iter().map(String::as_str)).collect();
        let mut found = vec![Vec::new(); names.len()];
        let ending = xml::Paths::compile(&names).unwrap().read(body.as_bytes(), |path, raw| {
            found[path].push(String::from_utf8(unescape(raw).into_owned()).unwrap());
            CONTINUE
        });
        let wanted: Vec<Vec<String>> = [vec![id.to_string()], vec![provider]].into_iter().chain(wanted.into_values()).collect();
        prop_assert_eq!(found, wanted, "{}", body);
        prop_assert_eq!(ending, Ending::Whole);
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
        let found: Vec<_> = holes.iter().map(|held| held.map(|held| String::from_utf8(held.bytes.to_vec()).unwrap())).collect();
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
        for escape in [
            Escape::Kv, Escape::CsvQuoted, Escape::CefHeader, Escape::CefExtension, Escape::Leef, Escape::Json, Escape::Xml,
        ] {
            let meant = unescape(Raw { bytes: &bytes, escape });
            prop_assert!(meant.len() <= bytes.len());
        }
        prop_assert_eq!(&*unescape(Raw::plain(&bytes)), &bytes[..]);
    }
}

/// Inputs made to send a reader back and forth. At these sizes quadratic work would not end within a test run.
#[test]
fn hostile_megabytes_are_read_in_one_walk() {
    let pieces: &[&[u8]] = &[
        b"[",
        b"{\"a\":",
        b"<a>",
        b"<a x='",
        b"<!--",
        b"a=1|",
        b"#011a=",
        b"&",
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
        b"a, ",
        b"a: ",
        b", a: b",
        b"a;",
        b"\\|",
        b"\\\\, ",
        b"a:\";",
    ];
    let starts: &[&[u8]] = &[
        b"LEEF:1.0|v|p|1|id|a=1",
        b"CEF: 0|v|p|1|a=1",
        b"<a>",
        b"{\"a\":[",
        b"",
        b"a=\"",
        b"\"",
        b"CEF:0|a|b|c|d|e|5|x=",
        b"Deny tcp src a:192.0.2.1(",
        b"a=",
    ];
    for piece in pieces {
        for start in starts {
            for kib in [8, 64, 1024] {
                let text = [*start, &piece.repeat(kib * 1024 / piece.len())].concat();
                walk_all(&text);
            }
        }
    }
}
