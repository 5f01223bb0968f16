//! RFC 3164 (BSD syslog) as it is really sent.
//!
//! ```text
//! header   = stamp *(":" / SP) [hostname [*SP ":"] SP] [word] content
//! hostname = name / "slot" *DIGIT "/" name               ; F5 chassis
//!          / [name ","] 12HEXDIG "," version             ; UniFi, in quotes and brackets or not
//! word     = severity SP / serial SP "(" stamp ")" SP    ; F5 and WatchGuard, only if a marked tag follows
//! content  = [tag] *SP [SD] message
//! tag      = name ["[" procid "]"] ":"                   ; marked, taken everywhere
//!          / name ["[" procid "]"] SP ["-:" SP]          ; loose, taken only after a stamp and a hostname
//! ```
//!
//! A hostname is a word of letters, digits, `.`, `-`, `_` and `:` (IPv6). So the body is not taken for one when a
//! device leaves the hostname out: `date=...`, `CEF:0|...` and `1,2026/...` hold other bytes. A word that ends with a
//! colon is a tag (`filterlog: ...`), unless Cisco's `%` follows. The same bytes keep data from being a loose tag, which
//! does not start with a digit either: numbers, dates and addresses are data.

use super::scan::{Class, at_blank, skip_blanks, take_while, without_bom};
use super::stamp::{self, Zones};
use super::{Dialect, Header};
use super::{cisco, meraki, rfc5424};

/// Longest hostname (RFC 5424 section 6.2.4 and RFC 1035), bytes.
pub(super) const HOSTNAME_BYTES: usize = 255;

/// Longest tag that is looked for, bytes; the 32 of RFC 3164 section 4.1.3 are not kept by anybody.
const TAG_BYTES: usize = 128;

/// What hostnames are made of; the colon is one of IPv6.
pub(super) static HOSTNAME: Class = Class::alphanumeric_and(b".-_:");

/// What the names of tags are made of.
static TAG: Class = Class::alphanumeric_and(b"-_./()#@+");

/// What `UniFi`'s hostnames are made of.
static UNIFI: Class = Class::alphanumeric_and(b".-_:,+");

/// Longest stamp in `WatchGuard`'s brackets, bytes.
const BRACKETED_BYTES: usize = 32;

/// Which words are tags.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tags {
    /// Only those that a colon marks: nothing says that a header was before them.
    Marked,
    /// The first word, whatever follows it.
    Loose,
}

/// A tag and what follows it.
struct Tag<'m> {
    name: &'m [u8],
    procid: &'m [u8],
    message: &'m [u8],
}

/// Read the header at the start of the text; `false` if it does not start with a stamp.
pub(super) fn read<'m>(header: &mut Header<'m>, text: &'m [u8]) -> bool {
    let Some((timestamp, rest)) = stamp::read(text, Zones::Known) else { return false };
    header.timestamp = timestamp;
    after_stamp(header, rest);
    true
}

/// Read what follows the stamp.
pub(super) fn after_stamp<'m>(header: &mut Header<'m>, text: &'m [u8]) {
    let rest = past_colon(text);
    header.dialect = Dialect::Rfc3164;
    header.start_content(rest);
    if let [b'%', ..] = rest {
        if cisco::take_tag(header) {
            header.message = header.content;
        }
        return;
    }
    let (word, after) = take_while(rest, HOSTNAME_BYTES, |byte| HOSTNAME.has(byte));
    if word.is_empty() || !at_blank(after) {
        match odd_hostname(word, after, rest) {
            Some((hostname, after)) => after_hostname(header, hostname, after),
            None => take_tag(header, Tags::Marked),
        }
        return;
    }
    if let [name @ .., b':'] = word
        && !name.ends_with(b":")
    {
        // `host: %ASA-6-...` names the device; any other word with a colon is the tag.
        let content = skip_blanks(after);
        if let [b'%', ..] = content {
            header.start_content(content);
            if cisco::take_tag(header) {
                header.hostname = name;
                return;
            }
            header.start_content(rest);
        }
        take_tag(header, Tags::Marked);
        return;
    }
    after_hostname(header, word, after);
}

fn after_hostname<'m>(header: &mut Header<'m>, hostname: &'m [u8], text: &'m [u8]) {
    header.hostname = hostname;
    let mut rest = past_colon(text);
    if let Some(b',') = rest.get(12)
        && let Some((_, after)) = unifi(rest)
    {
        rest = past_colon(after);
    }
    header.start_content(rest);
    header.behind = rest;
    let known = match rest {
        [b'%', ..] => cisco::take_tag(header),
        // The first columns of a CSV body.
        [b'0'..=b'9', b',', ..] => return,
        // A relay's header before the device's own: `host 123: Nov 22 ...: %SYS-5-...`, `host 1 1780000000.5 mx flows`.
        [b'1'..=b'9', b'0'..=b'9' | b' ', ..] => meraki::read(header, rest) || cisco::read(header, rest),
        [b'0'..=b'9' | b'*' | b'.', ..] | [b'A'..=b'Z', _, _, b' ', ..] => cisco::read(header, rest),
        _ => false,
    };
    if !known {
        take_tag(header, Tags::Loose);
    }
}

/// Take the tag from the start of the content, if there is one, and the words that devices put before it.
pub(super) fn take_tag(header: &mut Header<'_>, tags: Tags) {
    let text = header.content;
    let (name, rest) = take_while(text, TAG_BYTES, |byte| TAG.has(byte));
    if !matches!(rest, [] | [b':' | b'[' | b' ' | b'\t', ..]) || names_format(name) {
        return;
    }
    let mut found = marked_tag(name, rest);
    if found.is_none() && tags == Tags::Loose {
        found = match after_word(name, rest).and_then(|after| Some((after, tag_at(after)?))) {
            Some((after, tag)) => {
                header.start_content(after);
                Some(tag)
            }
            None => loose_tag(name, rest),
        };
    }
    if let Some(tag) = found {
        header.appname = tag.name;
        header.procid = tag.procid;
        header.message = without_bom(tag.message);
        if tags == Tags::Loose
            && let [b'[', ..] = tag.message
            && let Some((structured_data, rest)) = rfc5424::params(tag.message)
        {
            header.structured_data = structured_data;
            header.message = without_bom(skip_blanks(rest));
        }
    }
}

fn tag_at(text: &[u8]) -> Option<Tag<'_>> {
    let (name, rest) = take_while(text, TAG_BYTES, |byte| TAG.has(byte));
    marked_tag(name, rest)
}

/// `name:` before a blank or the end, `name[procid]:` before anything.
fn marked_tag<'m>(name: &'m [u8], rest: &'m [u8]) -> Option<Tag<'m>> {
    let (procid, message) = match rest {
        [b'[', after @ ..] => {
            let (procid, rest) = brackets(after)?;
            (procid, rest.strip_prefix(b":")?)
        }
        [b':', message @ ..] if at_blank(message) => (&[][..], message),
        _ => return None,
    };
    let is_name = name.first().is_some_and(u8::is_ascii_alphanumeric) && !names_format(name);
    is_name.then(|| Tag { name, procid, message: skip_blanks(message) })
}

/// `name`, `name[procid]` or `name:`, whatever follows.
fn loose_tag<'m>(name: &'m [u8], rest: &'m [u8]) -> Option<Tag<'m>> {
    if matches!(name, [] | [b'-'] | [b'0'..=b'9', ..]) {
        return None;
    }
    let (procid, message) = match rest {
        [b'[', after @ ..] => brackets(after).filter(|(_, rest)| at_blank(rest))?,
        // Neither an URL nor a path nor an address.
        [b':', b'/' | b'\\' | b':', ..] => return None,
        [b':', message @ ..] => (&[][..], message),
        _ if at_blank(rest) => (&[][..], rest),
        _ => return None,
    };
    let message = skip_blanks(message);
    // The nil value of a process number and the colon of a marked tag.
    let message = message.strip_prefix(b"-:").filter(|rest| at_blank(rest)).map_or(message, skip_blanks);
    Some(Tag { name, procid, message })
}

/// What follows a word that may stand before a marked tag: the severity of F5, serial number and stamp of
/// `WatchGuard`.
#[cold]
fn after_word<'m>(word: &[u8], rest: &'m [u8]) -> Option<&'m [u8]> {
    match rest {
        [b' ', b'(', b'0'..=b'9', after @ ..] => {
            let (_, rest) = take_while(after, BRACKETED_BYTES, |byte| byte != b')');
            rest.strip_prefix(b")").map(skip_blanks)
        }
        [b' ', after @ ..] if is_severity(word) => Some(skip_blanks(after)),
        _ => None,
    }
}

fn is_severity(word: &[u8]) -> bool {
    matches!(
        word,
        b"emerg"
            | b"alert"
            | b"crit"
            | b"err"
            | b"error"
            | b"warning"
            | b"warn"
            | b"notice"
            | b"info"
            | b"debug"
            | b"emergency"
            | b"critical"
    )
}

/// `CEF:0|` and `LEEF:1.0|` name a format, with a blank after the colon as well.
fn names_format(name: &[u8]) -> bool {
    matches!(name, b"CEF" | b"LEEF")
}

/// What stands before the closing bracket, without blanks, and what follows it.
fn brackets(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (inside, rest) = take_while(text, TAG_BYTES, |byte| !matches!(byte, b']' | b' '));
    Some((inside, rest.strip_prefix(b"]")?))
}

/// A hostname with bytes that others do not have, and what follows it.
#[cold]
fn odd_hostname<'m>(word: &'m [u8], after: &'m [u8], text: &'m [u8]) -> Option<(&'m [u8], &'m [u8])> {
    match (word, after) {
        ([b's', b'l', b'o', b't', number @ ..], [b'/', after @ ..]) if number.iter().all(u8::is_ascii_digit) => {
            let (hostname, rest) = take_while(after, HOSTNAME_BYTES, |byte| HOSTNAME.has(byte));
            (!hostname.is_empty() && at_blank(rest)).then_some((hostname, rest))
        }
        ([_, ..], [b',', ..]) | ([], [b'(' | b'"', ..]) => unifi(text),
        _ => None,
    }
}

/// `UniFi`: the name of the device or, if there is none, its MAC address, and what follows the word.
#[cold]
fn unifi(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (inside, end): (&[u8], &[u8]) = match text {
        [b'(', b'"', inside @ ..] => (inside, b"\")"),
        [b'"', inside @ ..] => (inside, b"\""),
        _ => (text, b""),
    };
    let (word, rest) = take_while(inside, HOSTNAME_BYTES, |byte| UNIFI.has(byte));
    let rest = rest.strip_prefix(end)?;
    let word = word.strip_suffix(b":").unwrap_or(word);
    let mut parts = word.rsplitn(3, |&byte| byte == b',');
    let (version, mac, name) = (parts.next()?, parts.next()?, parts.next());
    let is_mac = mac.len() == 12 && mac.iter().all(u8::is_ascii_hexdigit);
    let is_name = name.is_none_or(|name| !name.is_empty() && !name.contains(&b','));
    let known = is_mac && is_name && !version.is_empty() && matches!(rest, [] | [b' ' | b'\t' | b':', ..]);
    known.then_some((name.unwrap_or(mac), rest))
}

/// Over blanks, and one colon among them.
fn past_colon(text: &[u8]) -> &[u8] {
    match skip_blanks(text) {
        [b':', after @ ..] => skip_blanks(after),
        rest => rest,
    }
}
