//! Pairs whose marks the profile names: `Key: value, Key: value`, `key:"value"; key:"value"`, `key=value|key=value`.
//!
//! ```text
//! message = [ pair / junk ] *( separator ( pair / junk ) )
//! pair    = *blank key *blank assign *blank ( quoted [junk] / bare )
//! key     = ( letter / digit / "_" ) *( letter / digit / "_" / "." / "-" / blank )
//! quoted  = DQUOTE *( "\" any / any but DQUOTE ) DQUOTE
//! bare    = *any                           ; up to a separator behind which another key and its assign stand
//! ```
//!
//! A value without quotes may hold the assign, and a separator too: Cisco FTD writes `UserAgent: Mozilla/5.0 (KHTML,
//! like Gecko), Client: Chrome`. It ends where the next key starts, and a separator behind a backslash is part of it, as
//! is `\=` where `=` assigns (Check Point Log Exporter). Separators with nothing between them are no part of a value.
//!
//! A value in quotes may hold anything; a quote that never closes takes the rest of the message, as in [`super::kv`].
//! A value without quotes can claim to be another pair: who reads the message takes the first of two equal keys, and
//! these products write the ends of a connection before what its users may choose.
//!
//! Time is linear: a byte is seen once by the search for separators, and once as part of what may be a key. Neither mark
//! starts with a byte of keys, so where a key turns out to be none, the search goes on behind what was looked at.

use super::escape::{Escape, Raw};
use super::kv::closing_quote;
use super::scan;
use std::fmt;
use std::ops::ControlFlow;

/// Most bytes of a mark: no product uses more than two.
const MARK_BYTES: usize = 4;

/// What stands between a key and its value, and between pairs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    assign: Box<[u8]>,
    separator: Box<[u8]>,
}

/// Why two texts can't be marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarksError {
    /// One of them is empty or too long.
    Length,
    /// One of them starts with a byte that a key, a quote or an escape may hold.
    Start,
    /// Both start with the same byte.
    Equal,
}

impl fmt::Display for MarksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length => write!(f, "assign and separator have 1 to {MARK_BYTES} bytes each"),
            Self::Start => f.write_str(
                "assign and separator can't start with a letter, a digit, a blank or one of _ . - \" \\: keys and \
                 values hold those",
            ),
            Self::Equal => f.write_str("assign and separator must differ in their first byte"),
        }
    }
}

impl std::error::Error for MarksError {}

/// A key and where its value starts.
struct Key<'m> {
    name: &'m [u8],
    value: usize,
}

impl Marks {
    /// Marks that a message can be read by.
    ///
    /// # Errors
    ///
    /// Where a text could not be told from a key, or the two not from each other.
    pub fn new(assign: &str, separator: &str) -> Result<Self, MarksError> {
        let marks = Self { assign: assign.as_bytes().into(), separator: separator.as_bytes().into() };
        let both = [&marks.assign, &marks.separator];
        if both.iter().any(|mark| mark.is_empty() || mark.len() > MARK_BYTES) {
            return Err(MarksError::Length);
        }
        if both.iter().any(|mark| mark.first().is_some_and(|&byte| is_key_byte(byte) || matches!(byte, b'"' | b'\\'))) {
            return Err(MarksError::Start);
        }
        if marks.assign.first() == marks.separator.first() {
            return Err(MarksError::Equal);
        }
        Ok(marks)
    }

    /// Hands every pair of a message to `sink`, in order, until it breaks off.
    ///
    /// Keys are never empty; values may be. A key that stands there twice is handed over twice.
    pub fn read<'m>(&self, text: &'m [u8], mut sink: impl FnMut(&'m [u8], Raw<'m>) -> ControlFlow<()>) {
        let mut next = self.key(text, 0);
        loop {
            let key = match next {
                Ok(key) => key,
                Err(at) if at < text.len() => {
                    next = self.key(text, self.behind_separator(text, at));
                    continue;
                }
                Err(_) => return,
            };
            let value = if text.get(key.value) == Some(&b'"') {
                let start = key.value.wrapping_add(1);
                let (close, escape) = closing_quote(text, start, b'"');
                next = self.key(text, self.behind_separator(text, close.wrapping_add(1)));
                Raw { bytes: text.get(start..close).unwrap_or_default(), escape }
            } else {
                let (end, following) = self.bare(text, key.value);
                next = following;
                let bytes = self.trimmed(text.get(key.value..end).unwrap_or_default());
                // A format that assigns by `=` has to write one in a value in some way, and this is what devices do.
                Raw { bytes, escape: if *self.assign == *b"=" { Escape::Leef } else { Escape::None } }
            };
            if sink(key.name, value).is_break() {
                return;
            }
        }
    }

    /// Where a value without quotes ends, and the key behind it; the length of the text where none is.
    fn bare<'m>(&self, text: &'m [u8], start: usize) -> (usize, Result<Key<'m>, usize>) {
        let mut from = start;
        loop {
            let end = self.separator(text, from);
            match self.key(text, end.saturating_add(self.separator.len())) {
                Ok(key) => return (end, Ok(key)),
                Err(stop) if stop >= text.len() => return (text.len(), Err(stop)),
                Err(stop) => from = stop,
            }
        }
    }

    /// The key that starts at `at`; where there is none, the place of the byte that is part of none.
    fn key<'m>(&self, text: &'m [u8], at: usize) -> Result<Key<'m>, usize> {
        let rest = text.get(at..).unwrap_or_default();
        let length = rest.iter().take_while(|&&byte| is_key_byte(byte)).count();
        let stop = at.saturating_add(length);
        let name = scan::trim(rest.get(..length).unwrap_or_default());
        let starts_well = name.first().is_some_and(|&byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let Some(behind) = rest.get(length..).and_then(|rest| rest.strip_prefix(&*self.assign)).filter(|_| starts_well)
        else {
            return Err(stop);
        };
        let blanks = behind.iter().take_while(|&&byte| scan::is_blank(byte)).count();
        Ok(Key { name, value: stop.saturating_add(self.assign.len()).saturating_add(blanks) })
    }

    /// The place of the first separator at or after `from` that no backslash escapes, else the length of the text.
    fn separator(&self, text: &[u8], from: usize) -> usize {
        let Some(&first) = self.separator.first() else { return text.len() };
        let mut at = scan::find_byte(text, from, first);
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            let before = text.get(from..at).unwrap_or_default();
            let backslashes = before.iter().rev().take_while(|&&byte| byte == b'\\').count();
            if backslashes & 1 == 0 && rest.starts_with(&self.separator) {
                return at;
            }
            at = scan::find_byte(text, at.wrapping_add(1), first);
        }
        text.len()
    }

    fn behind_separator(&self, text: &[u8], from: usize) -> usize {
        self.separator(text, from).saturating_add(self.separator.len()).min(text.len())
    }

    /// A value without the blanks around it, nor separators at its end.
    fn trimmed<'m>(&self, value: &'m [u8]) -> &'m [u8] {
        let separator = scan::trim_end(&self.separator);
        let mut value = scan::trim_end(value);
        while let Some(rest) = value.strip_suffix(separator) {
            value = scan::trim_end(rest);
        }
        value
    }
}

/// Whether a byte may stand in a key. Blanks do, as in `Prefilter Policy` of Cisco FTD.
#[inline]
const fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-') || scan::is_blank(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(assign: &str, separator: &str, text: &str, wanted: &[(&str, &str)]) {
        let mut pairs = Vec::new();
        Marks::new(assign, separator).unwrap().read(text.as_bytes(), |key, raw| {
            let string = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            pairs.push((string(key), string(&super::super::unescape(raw))));
            ControlFlow::Continue(())
        });
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(pairs, wanted, "{text}");
    }

    #[test]
    fn colons_and_commas() {
        let read = |text, wanted: &[_]| check(": ", ", ", text, wanted);
        read("", &[]);
        read(" SrcIP: 192.0.2.1", &[("SrcIP", "192.0.2.1")]);
        read(
            "SrcIP: 2001:db8::1, DstIP: 2001:db8::, Port: 53",
            &[("SrcIP", "2001:db8::1"), ("DstIP", "2001:db8::"), ("Port", "53")],
        );
        read(
            "Prefilter Policy: Default, User: , Client: SSL client",
            &[("Prefilter Policy", "Default"), ("User", ""), ("Client", "SSL client")],
        );
        read(
            "UserAgent: x/1 (KHTML, like y) z, Client: a, b,c",
            &[("UserAgent", "x/1 (KHTML, like y) z"), ("Client", "a, b,c")],
        );
        read("URL: https://example.com/?a: b, Next: 1, ", &[("URL", "https://example.com/?a: b"), ("Next", "1")]);
        read("junk, SrcIP: 192.0.2.1", &[("SrcIP", "192.0.2.1")]);
        read("(junk), SrcIP: 192.0.2.1, , DstIP: 192.0.2.2", &[("SrcIP", "192.0.2.1"), ("DstIP", "192.0.2.2")]);
        read(
            r#"Message: "a, SrcIP: 203.0.113.9" x, SrcIP: 192.0.2.1"#,
            &[("Message", "a, SrcIP: 203.0.113.9"), ("SrcIP", "192.0.2.1")],
        );
    }

    #[test]
    fn colons_quotes_and_semicolons() {
        let read = |text, wanted: &[_]| check(":", ";", text, wanted);
        read(r#"action:"Accept"; src:"192.0.2.1"; ]"#, &[("action", "Accept"), ("src", "192.0.2.1")]);
        read(r#"action:"Accept";src:"192.0.2.1";]"#, &[("action", "Accept"), ("src", "192.0.2.1")]);
        read(
            r#"user:"a\"; src:\"203.0.113.9"; src:"192.0.2.1"]"#,
            &[("user", r#"a"; src:"203.0.113.9"#), ("src", "192.0.2.1")],
        );
        read(r#"flags: 1; time:"2; src:"#, &[("flags", "1"), ("time", "2; src:")]);
    }

    #[test]
    fn equals_and_bars() {
        let read = |text, wanted: &[_]| check("=", "|", text, wanted);
        read("time=1|hostname=gw|src=192.0.2.1|", &[("time", "1"), ("hostname", "gw"), ("src", "192.0.2.1")]);
        read("|a=1||b=2 || ", &[("a", "1"), ("b", "2")]);
        read("origin=192.0.2.1|192.0.2.2|name=x", &[("origin", "192.0.2.1|192.0.2.2"), ("name", "x")]);
        read(r"dn=CN\=gw,O\=m|path=C:\new|x=a=b", &[("dn", "CN=gw,O=m"), ("path", r"C:\new"), ("x", "a=b")]);
        read(r"note=a\|src=203.0.113.9|src=192.0.2.1", &[("note", r"a\|src=203.0.113.9"), ("src", "192.0.2.1")]);
        read(r"note=a\\|src=192.0.2.1", &[("note", r"a\\"), ("src", "192.0.2.1")]);
    }

    #[test]
    fn a_break_ends_it() {
        let mut seen = 0;
        Marks::new("=", "|").unwrap().read(b"a=1|b=2|c=3", |key, _| {
            seen += 1;
            if key == b"b" { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(seen, 2);
    }

    #[test]
    fn marks_have_to_be_told_apart() {
        for (assign, separator, error) in [
            ("", ",", MarksError::Length),
            (":", "", MarksError::Length),
            (":", ",....", MarksError::Length),
            (" ", ",", MarksError::Start),
            ("=", "x", MarksError::Start),
            ("=", "\"", MarksError::Start),
            ("\\", "|", MarksError::Start),
            (":", ": ", MarksError::Equal),
        ] {
            assert_eq!(Err(error), Marks::new(assign, separator), "{assign:?} {separator:?}");
        }
    }
}
