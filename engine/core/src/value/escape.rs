//! What stands for what inside a value.

use std::borrow::Cow;

/// A value as it stands in the message, with the escaping it is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'m> {
    /// The bytes of the value, without the quotes around it.
    pub bytes: &'m [u8],
    /// How to read them; [`Escape::None`] where a reader saw that nothing in them is escaped.
    pub escape: Escape,
}

impl<'m> Raw<'m> {
    /// A value that means exactly what it says.
    #[inline]
    pub const fn plain(bytes: &'m [u8]) -> Self {
        Self { bytes, escape: Escape::None }
    }
}

/// How a value is escaped. Whatever is not named here stands for itself: `\d` is a backslash and a `d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// Not at all.
    None,
    /// In quotes: `\"` `\'` `\\`.
    Kv,
    /// In quotes: `""`. Source: RFC 4180, section 2, rule 7.
    CsvQuoted,
    /// `\|` `\\`. Source: `ArcSight` Common Event Format implementation standard, character encoding.
    CefHeader,
    /// `\=` `\\` and `\n` `\r` for the ends of lines. Source: as [`Escape::CefHeader`].
    CefExtension,
}

impl Escape {
    /// The byte that starts an escape.
    const fn introducer(self) -> Option<u8> {
        match self {
            Self::None => None,
            Self::CsvQuoted => Some(b'"'),
            Self::Kv | Self::CefHeader | Self::CefExtension => Some(b'\\'),
        }
    }

    /// What the introducer and the byte after it stand for.
    const fn meaning(self, next: u8) -> Option<u8> {
        match (self, next) {
            (Self::Kv, b'"' | b'\'' | b'\\')
            | (Self::CsvQuoted, b'"')
            | (Self::CefHeader, b'|' | b'\\')
            | (Self::CefExtension, b'=' | b'\\') => Some(next),
            (Self::CefExtension, b'n') => Some(b'\n'),
            (Self::CefExtension, b'r') => Some(b'\r'),
            _ => None,
        }
    }
}

/// What a value means: borrowed from the message when nothing in it is escaped.
pub fn unescape(raw: Raw<'_>) -> Cow<'_, [u8]> {
    let bytes = raw.bytes;
    let Some(introducer) = raw.escape.introducer() else {
        return Cow::Borrowed(bytes);
    };
    if memchr::memchr(introducer, bytes).is_none() {
        return Cow::Borrowed(bytes);
    }
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((before, after)) = memchr::memchr(introducer, rest).and_then(|at| rest.split_at_checked(at)) {
        plain.extend_from_slice(before);
        if let [_, next, tail @ ..] = after
            && let Some(byte) = raw.escape.meaning(*next)
        {
            plain.push(byte);
            rest = tail;
        } else {
            plain.push(introducer);
            rest = after.get(1..).unwrap_or_default();
        }
    }
    plain.extend_from_slice(rest);
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_escape_and_what_is_none() {
        let cases: [(Escape, &str, &str); 16] = [
            (Escape::None, r#"a\"b"#, r#"a\"b"#),
            (Escape::Kv, r#"say \"hi\""#, r#"say "hi""#),
            (Escape::Kv, r"it\'s", "it's"),
            (Escape::Kv, r"C:\\temp\new", r"C:\temp\new"),
            (Escape::Kv, r"\\\\", r"\\"),
            (Escape::Kv, r"end\", r"end\"),
            (Escape::CsvQuoted, r#"a""b"""#, r#"a"b""#),
            (Escape::CsvQuoted, r#"a\"b"#, r#"a\"b"#),
            (Escape::CefHeader, r"a\|b\\c", r"a|b\c"),
            (Escape::CefHeader, r"a\=b", r"a\=b"),
            (Escape::CefExtension, r"a\=b\\c", r"a=b\c"),
            (Escape::CefExtension, r"a\nb\rc", "a\nb\rc"),
            (Escape::CefExtension, r"a\\nb", r"a\nb"),
            (Escape::CefExtension, r"a\|b", r"a\|b"),
            (Escape::CefExtension, r"end\", r"end\"),
            (Escape::CefExtension, "", ""),
        ];
        for (escape, written, meant) in cases {
            let value = unescape(Raw { bytes: written.as_bytes(), escape });
            assert_eq!(&*value, meant.as_bytes(), "{escape:?} {written}");
        }
    }

    #[test]
    fn nothing_escaped_is_borrowed() {
        for escape in [Escape::None, Escape::Kv, Escape::CsvQuoted, Escape::CefHeader, Escape::CefExtension] {
            assert!(matches!(unescape(Raw { bytes: b"plain value", escape }), Cow::Borrowed(_)));
        }
    }
}
