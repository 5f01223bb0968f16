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
    /// `\=` alone: the format has no escapes, but some devices write this one as CEF does. A backslash before anything
    /// else is a Windows path. Also of other pairs with `=` and without quotes.
    Leef,
    /// `\"` `\\` `\/` `\b` `\f` `\n` `\r` `\t` `\uXXXX`, with surrogate pairs. Source: RFC 8259, section 7.
    Json,
    /// `&lt;` `&gt;` `&amp;` `&quot;` `&apos;` `&#NN;` `&#xHH;`. Source: XML 1.0 (fifth edition), sections 4.1 and 4.6.
    /// Entities that a document declares itself are never expanded.
    Xml,
}

impl Escape {
    /// The byte that starts an escape.
    const fn introducer(self) -> Option<u8> {
        match self {
            Self::None => None,
            Self::CsvQuoted => Some(b'"'),
            Self::Kv | Self::CefHeader | Self::CefExtension | Self::Leef | Self::Json => Some(b'\\'),
            Self::Xml => Some(b'&'),
        }
    }

    /// What stands behind an introducer means, and how many bytes of it are used up.
    #[inline]
    fn meaning(self, behind: &[u8]) -> Option<(char, usize)> {
        let next = *behind.first()?;
        match (self, next) {
            (Self::Kv, b'"' | b'\'' | b'\\')
            | (Self::CsvQuoted, b'"')
            | (Self::CefHeader, b'|' | b'\\')
            | (Self::CefExtension, b'=' | b'\\')
            | (Self::Leef, b'=')
            | (Self::Json, b'"' | b'\\' | b'/') => Some((char::from(next), 1)),
            (Self::CefExtension | Self::Json, b'n') => Some(('\n', 1)),
            (Self::CefExtension | Self::Json, b'r') => Some(('\r', 1)),
            (Self::Json, b't') => Some(('\t', 1)),
            (Self::Json, b'b') => Some(('\u{8}', 1)),
            (Self::Json, b'f') => Some(('\u{c}', 1)),
            (Self::Json, b'u') => utf16(behind),
            (Self::Xml, _) => reference(behind),
            _ => None,
        }
    }
}

/// The character that `uXXXX` stands for, or `uXXXX\uXXXX` if the first is half of a pair.
fn utf16(behind: &[u8]) -> Option<(char, usize)> {
    let first = unit(behind)?;
    if let Some(found) = char::from_u32(first) {
        return Some((found, UNIT));
    }
    let second = unit(behind.get(UNIT..)?.strip_prefix(b"\\")?)?;
    let units = [u16::try_from(first).ok()?, u16::try_from(second).ok()?];
    // Half a pair with something else behind it is an error: then the escape stays as it is.
    let found = char::decode_utf16(units).next()?.ok()?;
    Some((found, UNIT.wrapping_mul(2).wrapping_add(1)))
}

/// Bytes of `uXXXX`.
const UNIT: usize = 5;

fn unit(text: &[u8]) -> Option<u32> {
    let digits = text.get(..UNIT)?.strip_prefix(b"u")?;
    digits.iter().try_fold(0, |sum, &byte| digit(sum, byte, 16))
}

/// The number with one more digit, saturating.
fn digit(number: u32, byte: u8, base: u32) -> Option<u32> {
    Some(number.saturating_mul(base).saturating_add(char::from(byte).to_digit(base)?))
}

/// Longest reference that is read, bytes from behind the `&` up to the `;`: leading zeros are all that makes one longer,
/// and a text of nothing but `&` must not be searched again and again.
const REFERENCE_BYTES: usize = 12;

/// The character that `lt;` or `#60;` stands for.
fn reference(behind: &[u8]) -> Option<(char, usize)> {
    let near = behind.get(..REFERENCE_BYTES).unwrap_or(behind);
    let length = near.iter().position(|&byte| byte == b';')?;
    let found = match near.get(..length)? {
        b"lt" => '<',
        b"gt" => '>',
        b"amp" => '&',
        b"quot" => '"',
        b"apos" => '\'',
        [b'#', b'x' | b'X', digits @ ..] if !digits.is_empty() => number(digits, 16)?,
        [b'#', digits @ ..] if !digits.is_empty() => number(digits, 10)?,
        _ => return None,
    };
    Some((found, length.wrapping_add(1)))
}

fn number(digits: &[u8], base: u32) -> Option<char> {
    // Zero is no character of XML, and would end a text for whoever reads it in C.
    let number = digits.iter().try_fold(0, |sum, &byte| digit(sum, byte, base)).filter(|&number| number != 0);
    char::from_u32(number?)
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
        let behind = after.get(1..).unwrap_or_default();
        if let Some((found, used)) = raw.escape.meaning(behind) {
            plain.extend_from_slice(found.encode_utf8(&mut [0; 4]).as_bytes());
            rest = behind.get(used..).unwrap_or_default();
        } else {
            plain.push(introducer);
            rest = behind;
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
        let cases: &[(Escape, &str, &str)] = &[
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
            (Escape::Leef, r"a\=b C:\new\\x", r"a=b C:\new\\x"),
            (Escape::Json, r#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t"),
            (Escape::Json, r"\u0041\u00e9\u20AC", "A\u{e9}\u{20ac}"),
            (Escape::Json, r"\ud83d\ude00!", "\u{1f600}!"),
            (Escape::Json, r"\ud83d \ud83dx\ud83d\u0041 \ude00", r"\ud83d \ud83dx\ud83dA \ude00"),
            (Escape::Json, r"\u00g0 \u12 \x \", r"\u00g0 \u12 \x \"),
            (Escape::Xml, "&lt;&gt;&amp;&quot;&apos;", "<>&\"'"),
            (Escape::Xml, "&#65;&#x41;&#X20ac;&#0000065;", "AA\u{20ac}A"),
            (
                Escape::Xml,
                "&#0; &#xd800; &#; &#x; &#99999999999; &nbsp; &lt &",
                "&#0; &#xd800; &#; &#x; &#99999999999; &nbsp; &lt &",
            ),
            (Escape::Xml, "&amp;lt;", "&lt;"),
        ];
        for &(escape, written, meant) in cases {
            let value = unescape(Raw { bytes: written.as_bytes(), escape });
            assert_eq!(&*value, meant.as_bytes(), "{escape:?} {written}");
        }
    }

    #[test]
    fn nothing_escaped_is_borrowed() {
        for escape in [
            Escape::None,
            Escape::Kv,
            Escape::CsvQuoted,
            Escape::CefHeader,
            Escape::CefExtension,
            Escape::Leef,
            Escape::Json,
            Escape::Xml,
        ] {
            assert!(matches!(unescape(Raw { bytes: b"plain value", escape }), Cow::Borrowed(_)));
        }
    }
}
