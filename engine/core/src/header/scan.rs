//! Small steps over bytes that the dialects share: each looks at a byte at most once and copies nothing.

/// A set of byte values: letters, digits and some more.
pub(super) struct Class([bool; 256]);

impl Class {
    /// ASCII letters and digits, and these bytes.
    #[allow(clippy::indexing_slicing, reason = "runs when the tables are built; a byte is always in range")]
    pub(super) const fn alphanumeric_and(others: &[u8]) -> Self {
        let mut members = [false; 256];
        let mut byte = 0_u8;
        while byte < u8::MAX {
            members[byte as usize] = byte.is_ascii_alphanumeric();
            byte = byte.wrapping_add(1);
        }
        let mut rest = others;
        while let [byte, after @ ..] = rest {
            members[*byte as usize] = true;
            rest = after;
        }
        Self(members)
    }

    pub(super) fn has(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte)).copied().unwrap_or_default()
    }
}

/// Both sides of a place; all and nothing if the place lies behind the end.
pub(super) fn cut(text: &[u8], at: usize) -> (&[u8], &[u8]) {
    text.split_at_checked(at).unwrap_or((text, &[]))
}

/// Without the blanks (SP, TAB) at the start.
pub(super) fn skip_blanks(text: &[u8]) -> &[u8] {
    let mut rest = text;
    while let [b' ' | b'\t', after @ ..] = rest {
        rest = after;
    }
    rest
}

/// Without LF, CR and NUL at the end, which no framing has taken off a datagram.
pub(super) fn without_line_end(text: &[u8]) -> &[u8] {
    let mut rest = text;
    while let [before @ .., b'\n' | b'\r' | 0] = rest {
        rest = before;
    }
    rest
}

/// Without the byte order mark of UTF-8 at the start.
pub(super) fn without_bom(text: &[u8]) -> &[u8] {
    match text {
        [0xEF, 0xBB, 0xBF, rest @ ..] => rest,
        _ => text,
    }
}

/// What was read to get from `text` to `rest`, its tail.
pub(super) fn before<'m>(text: &'m [u8], rest: &[u8]) -> &'m [u8] {
    cut(text, text.len().saturating_sub(rest.len())).0
}

/// Up to the first byte that is not of the class, at most `limit` bytes, and the rest.
pub(super) fn take_while(text: &[u8], limit: usize, class: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let (head, _) = cut(text, limit);
    cut(text, head.iter().position(|&byte| !class(byte)).unwrap_or(head.len()))
}

/// Whether a word may end here: blank or end of text.
pub(super) fn at_blank(rest: &[u8]) -> bool {
    matches!(rest, [] | [b' ' | b'\t', ..])
}
