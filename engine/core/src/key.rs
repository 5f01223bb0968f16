//! A counter's key: the site and the values of its `group_by` fields in few bytes, and back.
//!
//! Site number (2 bytes, big endian), then per field: an address as 4 or 6 and its bytes, a port in 2 bytes, a number in
//! 8, a text as its length in one byte and the text. A key is unambiguous: two different value lists never give equal
//! bytes. The empty key is the row of all that was counted under evicted keys.

use crate::session::{Field, Kind, Session, Value};
use crate::value::ip::Ip;

/// Longest text in a key, in bytes; a longer one is cut, since a key must stay small whatever the wire says.
pub const TEXT_BYTES: usize = 255;

/// Longest text that is told apart from others by all of it, in bytes: a user or host name fits, and a counter holds very
/// many of them.
pub const VALUE_BYTES: usize = 64;

/// One value of a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Text, also that of an address.
    Text(String),
    /// A port or a number.
    Number(u64),
}

/// How a field stands in a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Address,
    Port,
    Number,
    Text,
}

impl Form {
    fn of(field: Field) -> Self {
        match field.kind() {
            Kind::Address => Self::Address,
            Kind::Port => Self::Port,
            Kind::Number => Self::Number,
            Kind::Text | Kind::Protocol | Kind::Word(_) => Self::Text,
        }
    }

    /// Most bytes that it takes.
    fn room(self) -> usize {
        match self {
            Self::Address => 17,
            Self::Port => 2,
            Self::Number => 8,
            Self::Text => 256,
        }
    }
}

/// The key under one `group_by`, for one session after the other.
#[derive(Debug)]
struct Keyed {
    fields: Vec<(Field, Form)>,
    /// Room for the longest key.
    bytes: Vec<u8>,
    /// Which session the rest is of.
    turn: u64,
    /// Of the key; 0 where the session has none.
    length: usize,
    hash: u64,
}

impl Keyed {
    fn new(group_by: &[Field]) -> Self {
        let fields: Vec<(Field, Form)> = group_by.iter().map(|field| (*field, Form::of(*field))).collect();
        let room = fields.iter().map(|(_, form)| form.room()).fold(2, usize::saturating_add);
        Self { fields, bytes: vec![0; room], turn: 0, length: 0, hash: 0 }
    }

    fn is_of(&self, group_by: &[Field]) -> bool {
        self.fields.iter().map(|(field, _)| field).eq(group_by)
    }

    /// Writes the session's key; None where a field that must be there (an address or a port) is not.
    #[inline]
    fn write(&mut self, site: u16, session: &Session<'_>) -> Option<&[u8]> {
        let whole = self.bytes.len();
        let mut room = put(&mut self.bytes, site.to_be_bytes())?;
        for (field, form) in &self.fields {
            let value = session.get(*field);
            room = match (form, value) {
                (Form::Address, Some(Value::Address(Ip::V4([a, b, c, d])))) => put(room, [4, *a, *b, *c, *d])?,
                (Form::Address, Some(Value::Address(Ip::V6(bytes)))) => put(put(room, [6])?, *bytes)?,
                (Form::Port, Some(Value::Number(port))) => {
                    put(room, u16::try_from(*port).unwrap_or(u16::MAX).to_be_bytes())?
                }
                (Form::Number, Some(Value::Number(number))) => put(room, number.to_be_bytes())?,
                (Form::Number, _) => put(room, [0; 8])?,
                (Form::Address | Form::Port, _) => return None,
                (Form::Text, None) => put(room, [0])?,
                (Form::Text, Some(Value::Word(word))) => put_text(word.as_bytes(), room)?,
                (Form::Text, Some(value)) => put_text(&value.bytes(), room)?,
            };
        }
        let length = whole.saturating_sub(room.len());
        self.bytes.get(..length)
    }
}

/// Keys of a session under the `group_by` of all counters: each is written and hashed once, whoever asks for it.
#[derive(Debug, Default)]
pub struct Keys {
    list: Vec<Keyed>,
    turn: u64,
}

impl Keys {
    /// The number of a `group_by`, a new one where it has none.
    pub fn number(&mut self, group_by: &[Field]) -> usize {
        self.list.iter().position(|known| known.is_of(group_by)).unwrap_or_else(|| {
            self.list.push(Keyed::new(group_by));
            self.list.len().saturating_sub(1)
        })
    }

    /// Goes to another session: the keys of the one before are none of this one.
    #[inline]
    pub fn turn(&mut self) {
        self.turn = self.turn.wrapping_add(1);
    }

    /// A key of the session and its hash; None where a field that must be there (an address or a port) is not.
    #[inline]
    pub fn of(
        &mut self,
        number: usize,
        site: u16,
        session: &Session<'_>,
        hash: impl FnOnce(&[u8]) -> u64,
    ) -> Option<(u64, &[u8])> {
        let turn = self.turn;
        let keyed = self.list.get_mut(number)?;
        if keyed.turn != turn {
            let written = keyed.write(site, session).map(|key| (key.len(), hash(key)));
            (keyed.length, keyed.hash) = written.unwrap_or_default();
            keyed.turn = turn;
        }
        let key = keyed.bytes.get(..keyed.length)?;
        (!key.is_empty()).then_some((keyed.hash, key))
    }
}

/// Writes bytes to the start of a place; what is left of it comes back.
#[inline]
fn put<const N: usize>(room: &mut [u8], bytes: [u8; N]) -> Option<&mut [u8]> {
    let (place, rest) = room.split_first_chunk_mut::<N>()?;
    *place = bytes;
    Some(rest)
}

/// Writes a text's length and the text, as [`put`].
#[inline]
fn put_text<'r>(text: &[u8], room: &'r mut [u8]) -> Option<&'r mut [u8]> {
    let text = text.get(..TEXT_BYTES).unwrap_or(text);
    let room = put(room, [u8::try_from(text.len()).unwrap_or(u8::MAX)])?;
    let (place, rest) = room.split_at_mut_checked(text.len())?;
    // Words of four to eight letters, which most are, are two copies of four that may overlap.
    if let (Some(first), Some(last), true) = (text.first_chunk::<4>(), text.last_chunk::<4>(), text.len() <= 8) {
        *place.first_chunk_mut()? = *first;
        *place.last_chunk_mut()? = *last;
    } else if let ([a, b, c], [x, y, z]) = (text, &mut *place) {
        (*x, *y, *z) = (*a, *b, *c);
    } else {
        place.copy_from_slice(text);
    }
    Some(rest)
}

/// Writes the value of a field, to be told apart from others of that field: the bytes of an address, a port in 2 bytes, a
/// text; false where the field has none.
///
/// A text is cut to [`VALUE_BYTES`], and bytes that are no UTF-8 are replaced, so that its JSON gives it back.
pub fn encode_value(field: Field, session: &Session<'_>, into: &mut Vec<u8>) -> bool {
    into.clear();
    match session.get(field) {
        None => return false,
        Some(Value::Address(Ip::V4(bytes))) => into.extend_from_slice(bytes),
        Some(Value::Address(Ip::V6(bytes))) => into.extend_from_slice(bytes),
        Some(Value::Number(number)) if field.kind() == Kind::Port => {
            into.extend_from_slice(&u16::try_from(*number).unwrap_or(u16::MAX).to_be_bytes());
        }
        Some(Value::Number(number)) => into.extend_from_slice(&number.to_be_bytes()),
        Some(value) => {
            let bytes = value.bytes();
            let text = String::from_utf8_lossy(&bytes);
            let mut end = text.len().min(VALUE_BYTES);
            while !text.is_char_boundary(end) {
                end = end.saturating_sub(1);
            }
            into.extend_from_slice(text.get(..end).unwrap_or_default().as_bytes());
        }
    }
    !into.is_empty()
}

/// The value in bytes of [`encode_value`]; None for bytes that are none.
pub fn decode_value(field: Field, bytes: &[u8]) -> Option<Part> {
    let part = match field.kind() {
        Kind::Address => Part::Text(match <[u8; 4]>::try_from(bytes) {
            Ok(bytes) => Ip::V4(bytes).to_string(),
            Err(_) => Ip::V6(bytes.try_into().ok()?).to_string(),
        }),
        Kind::Port => Part::Number(u16::from_be_bytes(bytes.try_into().ok()?).into()),
        Kind::Number => Part::Number(u64::from_be_bytes(bytes.try_into().ok()?)),
        Kind::Text | Kind::Protocol | Kind::Word(_) => Part::Text(std::str::from_utf8(bytes).ok()?.to_owned()),
    };
    Some(part)
}

/// Writes a value that was read from the store; false where it does not fit the field.
pub fn encode_value_part(field: Field, part: &Part, into: &mut Vec<u8>) -> bool {
    let mut session = Session::default();
    match (field.kind(), part) {
        (Kind::Address, Part::Text(text)) => match crate::value::ip::parse(text.as_bytes()) {
            Some(ip) => session.set(field, Value::Address(ip)),
            None => return false,
        },
        (Kind::Port | Kind::Number, Part::Number(number)) => session.set(field, Value::Number(*number)),
        (Kind::Text | Kind::Protocol | Kind::Word(_), Part::Text(text)) => session.set(field, Value::Word(text)),
        _ => return false,
    }
    encode_value(field, &session, into)
}

/// Writes the key of values that were read from the store; None where they don't fit the fields.
pub fn encode_parts(site: u16, group_by: &[Field], parts: &[Part]) -> Option<Vec<u8>> {
    if group_by.len() != parts.len() {
        return None;
    }
    let mut session = Session::default();
    for (field, part) in group_by.iter().zip(parts) {
        match (field.kind(), part) {
            (Kind::Address, Part::Text(text)) => {
                session.set(*field, Value::Address(crate::value::ip::parse(text.as_bytes())?));
            }
            (Kind::Port | Kind::Number, Part::Number(number)) => session.set(*field, Value::Number(*number)),
            (Kind::Text | Kind::Protocol | Kind::Word(_), Part::Text(text)) => session.set(*field, Value::Word(text)),
            _ => return None,
        }
    }
    Keyed::new(group_by).write(site, &session).map(<[u8]>::to_vec)
}

/// The site and the values of a key; None for bytes that are none.
pub fn decode(group_by: &[Field], key: &[u8]) -> Option<(u16, Vec<Part>)> {
    let (site, mut rest) = take::<2>(key)?;
    let mut parts = Vec::with_capacity(group_by.len());
    for field in group_by {
        let part = match field.kind() {
            Kind::Address => {
                let (version, after) = take::<1>(rest)?;
                let ip = if version == [4] {
                    let (bytes, after) = take::<4>(after)?;
                    rest = after;
                    Ip::V4(bytes)
                } else {
                    let (bytes, after) = take::<16>(after)?;
                    rest = after;
                    Ip::V6(bytes)
                };
                Part::Text(ip.to_string())
            }
            Kind::Port => {
                let (bytes, after) = take::<2>(rest)?;
                rest = after;
                Part::Number(u64::from(u16::from_be_bytes(bytes)))
            }
            Kind::Number => {
                let (bytes, after) = take::<8>(rest)?;
                rest = after;
                Part::Number(u64::from_be_bytes(bytes))
            }
            Kind::Text | Kind::Protocol | Kind::Word(_) => {
                let (length, after) = take::<1>(rest)?;
                let (text, after) = after.split_at_checked(usize::from(length[0]))?;
                rest = after;
                Part::Text(String::from_utf8_lossy(text).into_owned())
            }
        };
        parts.push(part);
    }
    rest.is_empty().then_some((u16::from_be_bytes(site), parts))
}

fn take<const N: usize>(bytes: &[u8]) -> Option<([u8; N], &[u8])> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    Some((*first, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::ip;

    const FIELDS: [Field; 4] = [Field::SrcIpAddr, Field::DstPortNumber, Field::DvcAction, Field::EventCount];

    #[test]
    fn a_key_gives_its_values_back() {
        for address in ["192.0.2.1", "2001:db8::1"] {
            let mut session = Session::default();
            session.set(Field::SrcIpAddr, Value::Address(ip::parse(address.as_bytes()).unwrap()));
            session.set(Field::DstPortNumber, Value::Number(443));
            session.set(Field::DvcAction, Value::Word("Drop ICMP"));

            let key = Keyed::new(&FIELDS).write(7, &session).map(<[u8]>::to_vec).unwrap();

            let parts =
                vec![Part::Text(address.into()), Part::Number(443), Part::Text("Drop ICMP".into()), Part::Number(0)];
            assert_eq!(Some((7, parts.clone())), decode(&FIELDS, &key));
            assert_eq!(Some(key), encode_parts(7, &FIELDS, &parts));
        }
    }

    #[test]
    fn a_value_gives_itself_back() {
        let long = "\u{e4}".repeat(40);
        let cases = [
            (Field::SrcIpAddr, Part::Text("192.0.2.1".into()), Some(Part::Text("192.0.2.1".into()))),
            (Field::SrcIpAddr, Part::Text("2001:db8::1".into()), Some(Part::Text("2001:db8::1".into()))),
            (Field::DstPortNumber, Part::Number(443), Some(Part::Number(443))),
            (Field::SrcUsername, Part::Text("alice".into()), Some(Part::Text("alice".into()))),
            (Field::SrcUsername, Part::Text(long.clone()), Some(Part::Text("\u{e4}".repeat(32)))),
            (
                Field::SrcUsername,
                Part::Text("x".to_owned() + &long),
                Some(Part::Text("x".to_owned() + &"\u{e4}".repeat(31))),
            ),
            (Field::SrcUsername, Part::Text(String::new()), None),
            (Field::SrcUsername, Part::Number(5), None),
            (Field::SrcIpAddr, Part::Text("gateway".into()), None),
        ];
        for (field, part, want) in cases {
            let mut bytes = Vec::new();
            let written = encode_value_part(field, &part, &mut bytes);
            assert_eq!(want, written.then(|| decode_value(field, &bytes).unwrap()), "{part:?}");
        }
        assert_eq!(None, decode_value(Field::SrcIpAddr, b"abc"));
        assert_eq!(None, decode_value(Field::DstPortNumber, b"abc"));
        assert_eq!(None, decode_value(Field::SrcUsername, b"\xff"));
        assert!(!encode_value(Field::SrcUsername, &Session::default(), &mut Vec::new()));
    }

    #[test]
    fn a_session_without_the_address_or_port_has_no_key() {
        let mut session = Session::default();
        session.set(Field::DstPortNumber, Value::Number(443));
        let mut keys = Keys::default();
        let number = keys.number(&FIELDS);
        keys.turn();
        assert_eq!(None, keys.of(number, 0, &session, |_| 1));
        assert_eq!(None, keys.of(number, 0, &session, |_| 1));
    }

    #[test]
    fn a_key_is_written_once_for_a_session() {
        let mut keys = Keys::default();
        let (one, other) = (keys.number(&[Field::DvcAction]), keys.number(&FIELDS));
        assert_eq!((one, 0), (keys.number(&[Field::DvcAction]), one));
        assert_ne!(one, other);
        for word in ["", "NA", "Low", "Deny", "Allow", "Outbound", "Drop ICMP", "Informational"] {
            let mut session = Session::default();
            session.set(Field::DvcAction, Value::Word(word));
            keys.turn();
            let want = [&[0, 5, u8::try_from(word.len()).unwrap()], word.as_bytes()].concat();
            assert_eq!(Some((7, &want[..])), keys.of(one, 5, &session, |_| 7));
            assert_eq!(Some((7, &want[..])), keys.of(one, 5, &session, |_| panic!("hashed twice")));
        }
    }

    #[test]
    fn texts_are_cut() {
        let long = "x".repeat(TEXT_BYTES + 9);
        let mut session = Session::default();
        session.set(Field::SrcUsername, Value::Word(&long));
        let mut keyed = Keyed::new(&[Field::SrcUsername]);
        let key = keyed.write(0, &session).unwrap();
        assert_eq!((258, 255), (key.len(), key[2]));
    }

    #[test]
    fn foreign_bytes_are_no_key() {
        for bytes in [&b""[..], b"\0", b"\0\0\x04\x01", b"\0\0\x04\x01\x02\x03\x04\0\x50\xffabc"] {
            assert_eq!(None, decode(&FIELDS, bytes));
        }
    }
}
