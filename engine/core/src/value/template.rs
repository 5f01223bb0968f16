//! A message as it reads, with holes for what changes:
//!
//! ```text
//! Deny {NetworkProtocol} src {SrcInterfaceName}:{SrcIpAddr}[/{SrcPortNumber}][({user})] by access-group "{rule}"[ {}]
//! ```
//!
//! ```text
//! template = *( literal / hole / group )
//! hole     = "{" [ name ] "}"                 ; without a name: skipped
//! group    = "[" template "]"                 ; optional; one more group may stand inside
//! literal  = 1*( escaped / any byte but "[" "]" "{" "}" "\" )
//! escaped  = "\" ( "[" / "]" / "{" / "}" / "\" )
//! ```
//!
//! # What matches
//!
//! A literal matches the same bytes. What a hole takes is decided by its [`Kind`] and, for words and texts, by what
//! may come next: the literal behind it and the literals that start the groups between. The one that stands first in
//! the message ends the hole. A group is tried where it stands; if any part of it does not match, it is skipped, and
//! its holes are empty. Nothing else is ever tried twice: there is no backtracking. White space at the end of a
//! message does not count.
//!
//! # Linear time
//!
//! Every step of a template runs at most once per message: there are no loops, and a skipped group is not entered
//! again. A step looks at each byte of the message at most once, and at each for no longer than the longest literals
//! that may follow; so the work is bounded by (size of the template) x (size of the message), whatever the sender
//! writes. Going back costs nothing more: a group that fails only restores the position it began at, once.

use super::stops::{Firsts, Literal, Start, Stops};
use super::{Ip, ip, scan};
use core::fmt;

/// What a hole may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An address as [`ip::prefix`] reads it.
    Address,
    /// One or more digits.
    Number,
    /// One or more bytes that are not blank, up to what follows.
    Word,
    /// One or more bytes, up to what follows; at the end of the template the rest, trimmed.
    Text,
    /// As text, but it may be empty and is not kept.
    Skip,
}

/// Why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// Where in the text, in bytes from its start.
    pub position: usize,
    /// What is wrong there.
    pub reason: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.position, self.reason)
    }
}

impl core::error::Error for TemplateError {}

/// A template, ready to be matched. The default one has no steps: it matches an empty message, and as a prefix any.
#[derive(Clone, Debug, Default)]
pub struct Template {
    steps: Box<[Step]>,
    holes: Vec<String>,
}

/// What a hole held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held<'m> {
    /// Its part of the message.
    pub bytes: &'m [u8],
    /// Of a hole of [`Kind::Address`] the address that the bytes are.
    pub address: Option<Ip>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Literal(Literal),
    Address(usize),
    Number(usize),
    /// Takes bytes up to the first of `stops`.
    Until {
        hole: Hole,
        stops: Stops,
    },
    /// Takes bytes up to a literal, and the literal: nothing else may follow the hole.
    Upto {
        hole: Hole,
        literal: Literal,
        firsts: Firsts,
    },
    /// A group that is nothing but a literal.
    Optional(Literal),
    Group {
        steps: Box<[Step]>,
        holes: core::ops::Range<usize>,
        /// What it starts with: mostly the group is not there, and one look tells.
        head: Head,
    },
}

/// What a group may start with. No group that starts otherwise matches; one that starts so may still not.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Head {
    Any,
    Literal(Start),
    Literals(Box<[Start]>),
    Address,
    Digit,
    NotBlank,
}

/// The kinds of hole that end where something else begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hole {
    Word(usize),
    Text(usize),
    Skip,
}

impl Template {
    /// Reads a template. `kind_of` says for each name what its hole may hold, or why there is no such name.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong: brackets that do not pair, groups nested deeper than two, a name that stands
    /// there twice or is not known, a word, text or skipped hole with another hole directly behind it.
    pub fn compile(text: &str, kind_of: impl Fn(&str) -> Result<Kind, String>) -> Result<Self, TemplateError> {
        let mut parser = Parser { text, at: 0, holes: Vec::new(), kind_of };
        let parts = parser.parts(0)?;
        if parts.is_empty() {
            return Err(error(0, "a template must not be empty"));
        }
        let steps = link(&parts, &Starts { end: true, ..Starts::default() })?;
        Ok(Self { steps, holes: parser.holes })
    }

    /// The names of the holes that are kept, in the order of their indices.
    pub fn holes(&self) -> &[String] {
        &self.holes
    }

    /// Matches a whole message. `holes` receives what each hole held; those of skipped groups are `None`.
    ///
    /// `holes` should be as long as [`Template::holes`]; what has no place there is left out. When the answer is
    /// `false`, what stands in it has no meaning.
    #[inline]
    pub fn read<'m>(&self, text: &'m [u8], holes: &mut [Option<Held<'m>>]) -> bool {
        let text = scan::trim_end(text);
        self.read_prefix(text, holes).is_some_and(<[u8]>::is_empty)
    }

    /// What it starts with in common with another one.
    pub fn shared_with(&self, other: &Self) -> Shared {
        let steps = self.steps.iter().zip(&other.steps).take_while(|(own, others)| own == others).count();
        let holes = self.steps.get(..steps).unwrap_or_default().iter().filter_map(Step::last_hole).max();
        let holes = holes.map_or(0, |last| last.saturating_add(1));
        let is_same = self.holes.get(..holes) == other.holes.get(..holes);
        if is_same { Shared { steps, holes } } else { Shared::default() }
    }

    /// Matches a whole message as [`Template::read`], in two parts: the steps up to `mark`, of which those of `from` are
    /// done, and the others. `holes` is empty but for those of `from`.
    ///
    /// Gives whether all of it matches, and what the first part leaves, if that matches.
    #[inline]
    pub fn read_on<'m>(
        &self,
        from: Shared,
        mark: Shared,
        text: &'m [u8],
        holes: &mut [Option<Held<'m>>],
    ) -> (bool, Option<&'m [u8]>) {
        let first = self.steps.get(from.steps..mark.steps.max(from.steps)).unwrap_or_default();
        let second = self.steps.get(mark.steps.max(from.steps)..).unwrap_or_default();
        let Some(marked) = run(first, text, holes) else { return (false, None) };
        (run(second, marked, holes).is_some_and(<[u8]>::is_empty), Some(marked))
    }

    /// Matches the start of a message, and gives what stands behind it. `holes` as in [`Template::read`].
    #[inline]
    pub fn read_prefix<'m>(&self, text: &'m [u8], holes: &mut [Option<Held<'m>>]) -> Option<&'m [u8]> {
        holes.fill(None);
        run(&self.steps, text, holes)
    }
}

/// How much two templates start with in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shared {
    /// So many steps.
    pub steps: usize,
    /// All holes of them stand before this one.
    pub holes: usize,
}

impl Step {
    fn last_hole(&self) -> Option<usize> {
        match self {
            Self::Address(hole)
            | Self::Number(hole)
            | Self::Until { hole: Hole::Word(hole) | Hole::Text(hole), .. }
            | Self::Upto { hole: Hole::Word(hole) | Hole::Text(hole), .. } => Some(*hole),
            Self::Group { holes, .. } => holes.end.checked_sub(1),
            Self::Literal(_)
            | Self::Optional(_)
            | Self::Until { hole: Hole::Skip, .. }
            | Self::Upto { hole: Hole::Skip, .. } => None,
        }
    }
}

/// Runs steps at the start of `text`, and gives what is left.
fn run<'m>(steps: &[Step], text: &'m [u8], holes: &mut [Option<Held<'m>>]) -> Option<&'m [u8]> {
    let mut rest = text;
    for step in steps {
        rest = match step {
            Step::Literal(literal) => literal.after(rest)?,
            Step::Address(hole) => {
                let (address, length) = ip::prefix(rest)?;
                let (bytes, after) = rest.split_at_checked(length)?;
                keep(holes, *hole, Held { bytes, address: Some(address) });
                after
            }
            Step::Number(hole) => {
                let digits = scan::find(rest, 0, not_digit, |byte| !byte.is_ascii_digit());
                let (bytes, after) = rest.split_at_checked(digits)?;
                if bytes.is_empty() {
                    return None;
                }
                keep(holes, *hole, Held { bytes, address: None });
                after
            }
            Step::Until { hole, stops } => {
                let (held, after) = rest.split_at_checked(stops.find(rest, matches!(hole, Hole::Word(_)))?)?;
                if let Hole::Word(index) | Hole::Text(index) = hole {
                    // What runs to the end of the message is trimmed; what a literal ends is taken as it is.
                    let bytes = if stops.end && after.is_empty() { scan::trim(held) } else { held };
                    if bytes.is_empty() {
                        return None;
                    }
                    keep(holes, *index, Held { bytes, address: None });
                }
                after
            }
            Step::Upto { hole, literal, firsts } => {
                let (held, after) = firsts.upto(literal, rest, matches!(hole, Hole::Word(_)))?;
                if let Hole::Word(index) | Hole::Text(index) = hole {
                    if held.is_empty() {
                        return None;
                    }
                    keep(holes, *index, Held { bytes: held, address: None });
                }
                after
            }
            Step::Optional(literal) => literal.after(rest).unwrap_or(rest),
            Step::Group { head, .. } if !head.may_start(rest) => rest,
            Step::Group { steps, holes: inside, .. } => {
                if let Some(after) = run(steps, rest, holes) {
                    after
                } else {
                    holes.get_mut(inside.clone()).unwrap_or_default().fill(None);
                    rest
                }
            }
        };
    }
    Some(rest)
}

#[inline]
fn keep<'m>(holes: &mut [Option<Held<'m>>], index: usize, held: Held<'m>) {
    if let Some(place) = holes.get_mut(index) {
        *place = Some(held);
    }
}

/// Marks bytes that are no digits; only the lowest mark counts.
#[inline]
const fn not_digit(word: u64) -> u64 {
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let digits = word ^ 0x3030_3030_3030_3030;
    // 0x76 lifts ten and more over 0x7f; what is over it already stays marked, and only upwards anything is carried.
    (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & HIGHS
}

impl Head {
    /// What the steps of a group may start with.
    fn of(steps: &[Step]) -> Self {
        match steps {
            [Step::Literal(literal), ..] => Self::Literal(literal.start),
            [Step::Address(_), ..] => Self::Address,
            [Step::Number(_), ..] => Self::Digit,
            [Step::Until { hole: Hole::Word(_), .. } | Step::Upto { hole: Hole::Word(_), .. }, ..] => Self::NotBlank,
            // `[ ](`: with the inner group and without it.
            [Step::Optional(before), Step::Literal(behind), ..] => {
                let both = [&*before.bytes, &*behind.bytes].concat();
                Self::Literals([Start::new(&both), behind.start].into())
            }
            _ => Self::Any,
        }
    }

    #[inline]
    fn may_start(&self, text: &[u8]) -> bool {
        let first = |is: fn(u8) -> bool| text.first().is_some_and(|byte| is(*byte));
        // Near the end of a message the group itself finds out.
        let fits = |start: &Start| text.first_chunk().map_or(!text.is_empty(), |eight| start.fits(*eight));
        match self {
            Self::Any => true,
            Self::Literal(start) => fits(start),
            Self::Literals(starts) => starts.iter().any(fits),
            Self::Address => first(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'[')),
            Self::Digit => first(|byte| byte.is_ascii_digit()),
            Self::NotBlank => first(|byte| !scan::is_blank(byte)),
        }
    }
}

/// What a template is made of, before each hole knows what may follow it.
enum Part {
    Literal(Vec<u8>),
    Hole { position: usize, kind: Kind, index: usize },
    Group { parts: Vec<Part>, holes: core::ops::Range<usize> },
}

/// What the parts behind some place may start with.
#[derive(Clone, Default)]
struct Starts<'p> {
    literals: Vec<&'p [u8]>,
    hole: bool,
    end: bool,
}

/// What `parts` may start with, when `after` is what may follow them.
fn starts<'p>(parts: &'p [Part], after: &Starts<'p>) -> Starts<'p> {
    match parts {
        [] => after.clone(),
        [Part::Literal(literal), ..] => Starts { literals: vec![literal], ..Starts::default() },
        [Part::Hole { .. }, ..] => Starts { hole: true, ..Starts::default() },
        [Part::Group { parts, .. }, behind @ ..] => {
            // Once with the group and once without it. What follows a group is no start of the group itself, as each
            // group holds something; but all of it may be groups that are skipped, which comes to the same.
            let skipped = starts(behind, after);
            let mut both = starts(parts, &Starts::default());
            both.literals.extend(&skipped.literals);
            both.hole |= skipped.hole;
            both.end |= skipped.end;
            both
        }
    }
}

/// Turns parts into steps; `after` is what may follow the last of them.
fn link(parts: &[Part], after: &Starts<'_>) -> Result<Box<[Step]>, TemplateError> {
    let mut steps = Vec::with_capacity(parts.len());
    let mut rest = parts;
    while let [part, behind @ ..] = rest {
        rest = behind;
        let mut until = |position: usize, hole: Hole| {
            let is_word = matches!(hole, Hole::Word(_));
            if let [Part::Literal(literal), after @ ..] = behind {
                rest = after;
                let firsts = Firsts::of(&[literal], is_word);
                return Ok(Step::Upto { hole, literal: Literal::new(literal), firsts });
            }
            let starts = starts(behind, after);
            if starts.hole {
                return Err(error(position, "nothing tells where this hole ends: another hole may follow directly"));
            }
            Ok(Step::Until { hole, stops: Stops::new(&starts.literals, starts.end, is_word) })
        };
        steps.push(match *part {
            Part::Literal(ref literal) => Step::Literal(Literal::new(literal)),
            Part::Hole { kind: Kind::Address, index, .. } => Step::Address(index),
            Part::Hole { kind: Kind::Number, index, .. } => Step::Number(index),
            Part::Hole { kind: Kind::Word, index, position } => until(position, Hole::Word(index))?,
            Part::Hole { kind: Kind::Text, index, position } => until(position, Hole::Text(index))?,
            Part::Hole { kind: Kind::Skip, position, .. } => until(position, Hole::Skip)?,
            Part::Group { ref parts, ref holes } => {
                let steps = link(parts, &starts(behind, after))?;
                match &*steps {
                    [Step::Literal(literal)] => Step::Optional(literal.clone()),
                    _ => Step::Group { head: Head::of(&steps), steps, holes: holes.clone() },
                }
            }
        });
    }
    Ok(steps.into())
}

fn error(position: usize, reason: impl Into<String>) -> TemplateError {
    TemplateError { position, reason: reason.into() }
}

/// How deep groups may nest.
const DEPTH: usize = 2;

struct Parser<'t, F> {
    text: &'t str,
    at: usize,
    holes: Vec<String>,
    kind_of: F,
}

impl<F: Fn(&str) -> Result<Kind, String>> Parser<'_, F> {
    /// Reads up to the end of the group at this depth, or of the text at depth 0.
    fn parts(&mut self, depth: usize) -> Result<Vec<Part>, TemplateError> {
        let mut parts = Vec::new();
        let opened = self.at.saturating_sub(1);
        loop {
            let position = self.at;
            let Some(byte) = self.next() else {
                return if depth == 0 { Ok(parts) } else { Err(error(opened, "this [ is never closed")) };
            };
            match byte {
                b'{' => parts.push(self.hole(position)?),
                b'}' => return Err(error(position, "a } without a {; a literal one is written \\}")),
                b'[' if depth == DEPTH => {
                    return Err(error(position, format!("groups may nest no deeper than {DEPTH}")));
                }
                b'[' => {
                    let first = self.holes.len();
                    let inside = self.parts(depth.saturating_add(1))?;
                    if inside.is_empty() {
                        return Err(error(position, "a group must not be empty"));
                    }
                    parts.push(Part::Group { parts: inside, holes: first..self.holes.len() });
                }
                b']' if depth == 0 => {
                    return Err(error(position, "a ] without a [; a literal one is written \\]"));
                }
                b']' => return Ok(parts),
                b'\\' => match self.next() {
                    Some(escaped @ (b'[' | b']' | b'{' | b'}' | b'\\')) => literal(&mut parts, escaped),
                    _ => return Err(error(position, "a \\ stands only before [ ] { } and \\")),
                },
                other => literal(&mut parts, other),
            }
        }
    }

    /// Reads a hole whose `{` stands at `position`.
    fn hole(&mut self, position: usize) -> Result<Part, TemplateError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let (name, _) = rest.split_once('}').ok_or_else(|| error(position, "this { is never closed"))?;
        if let Some(bad) = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            let position = self.at.saturating_add(bad);
            return Err(error(position, "a name has letters, digits and _ only"));
        }
        self.at = self.at.saturating_add(name.len()).saturating_add(1);
        let index = self.holes.len();
        if name.is_empty() {
            return Ok(Part::Hole { position, kind: Kind::Skip, index });
        }
        let kind = (self.kind_of)(name).map_err(|reason| error(position, reason))?;
        if self.holes.iter().any(|hole| hole == name) {
            return Err(error(position, format!("{{{name}}} stands here twice")));
        }
        if kind != Kind::Skip {
            self.holes.push(name.to_owned());
        }
        Ok(Part::Hole { position, kind, index })
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.text.as_bytes().get(self.at).copied();
        self.at = self.at.saturating_add(usize::from(byte.is_some()));
        byte
    }
}

/// Adds a byte to the literal at the end, or starts one.
fn literal(parts: &mut Vec<Part>, byte: u8) {
    if let Some(Part::Literal(bytes)) = parts.last_mut() {
        bytes.push(byte);
    } else {
        parts.push(Part::Literal(vec![byte]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENY: &str = "Deny {NetworkProtocol} src {SrcInterfaceName}:{SrcIpAddr}[/{SrcPortNumber}][({user})] \
        dst {DstInterfaceName}:{DstIpAddr}[/{DstPortNumber}][({duser})] \
        [(type {NetworkIcmpType}, code {NetworkIcmpCode}) ]by access-group \"{NetworkRuleName}\"[ {}]";
    const BUILT: &str = "Built {direction} TCP connection {NetworkSessionId} for \
        {SrcInterfaceName}:{SrcIpAddr}/{SrcPortNumber} ({SrcNatIpAddr}/{SrcNatPortNumber})[({user})] to \
        {DstInterfaceName}:{DstIpAddr}/{DstPortNumber} ({DstNatIpAddr}/{DstNatPortNumber})[({duser})][ ({user2})]";
    const TEARDOWN: &str = "Teardown TCP connection {NetworkSessionId} for \
        {SrcInterfaceName}:{SrcIpAddr}/{SrcPortNumber}[({user})] to {DstInterfaceName}:{DstIpAddr}/{DstPortNumber}[({duser})] \
        duration {NetworkDuration} bytes {NetworkBytes}[ {reason}]";

    fn kind_of(name: &str) -> Result<Kind, String> {
        let number = ["PortNumber", "IcmpType", "IcmpCode", "Bytes", "number"];
        if name == "unknown" {
            Err(format!("{name} is not known"))
        } else if name.ends_with("IpAddr") {
            Ok(Kind::Address)
        } else if number.iter().any(|end| name.ends_with(end)) {
            Ok(Kind::Number)
        } else if name.ends_with("InterfaceName") || name == "NetworkProtocol" || name.ends_with("_word") {
            Ok(Kind::Word)
        } else {
            Ok(Kind::Text)
        }
    }

    fn compile(text: &str) -> Template {
        Template::compile(text, kind_of).unwrap()
    }

    /// The holes that hold something, or `None` if the message does not match.
    fn held(template: &str, text: &str) -> Option<Vec<(String, String)>> {
        let template = compile(template);
        let mut holes = vec![None; template.holes().len()];
        template.read(text.as_bytes(), &mut holes).then(|| {
            let held = template.holes().iter().zip(holes);
            held.filter_map(|(name, held)| Some((name.clone(), String::from_utf8(held?.bytes.to_vec()).unwrap())))
                .collect()
        })
    }

    #[track_caller]
    fn check(template: &str, text: &str, wanted: &[(&str, &str)]) {
        let held = held(template, text).unwrap_or_else(|| panic!("no match: {text}"));
        let held: Vec<(&str, &str)> = held.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(held, wanted, "{text}");
    }

    #[test]
    fn a_denied_packet_with_and_without_its_options() {
        check(
            DENY,
            "Deny tcp src outside:198.51.100.77/40123 dst inside:192.0.2.45/445 by access-group \"outside_in\" [0x0, 0x0]\r\n",
            &[
                ("NetworkProtocol", "tcp"),
                ("SrcInterfaceName", "outside"),
                ("SrcIpAddr", "198.51.100.77"),
                ("SrcPortNumber", "40123"),
                ("DstInterfaceName", "inside"),
                ("DstIpAddr", "192.0.2.45"),
                ("DstPortNumber", "445"),
                ("NetworkRuleName", "outside_in"),
            ],
        );
        check(
            DENY,
            "Deny icmp src dmz-1:2001:db8::7(EXAMPLE\\jdoe) dst inside:192.0.2.45(b) (type 8, code 0) by access-group \"a b\"",
            &[
                ("NetworkProtocol", "icmp"),
                ("SrcInterfaceName", "dmz-1"),
                ("SrcIpAddr", "2001:db8::7"),
                ("user", "EXAMPLE\\jdoe"),
                ("DstInterfaceName", "inside"),
                ("DstIpAddr", "192.0.2.45"),
                ("duser", "b"),
                ("NetworkIcmpType", "8"),
                ("NetworkIcmpCode", "0"),
                ("NetworkRuleName", "a b"),
            ],
        );
        for text in [
            "",
            "Deny tcp src outside:198.51.100.77/40123 dst inside:192.0.2.45/445 by access-group",
            "Deny tcp src outside:198.51.100.77/ dst inside:192.0.2.45/445 by access-group \"x\"",
            "Deny tcp src outside:somehost/1 dst inside:192.0.2.45/445 by access-group \"x\"",
            "deny tcp src outside:198.51.100.77/40123 dst inside:192.0.2.45/445 by access-group \"x\"",
            "Deny tcp udp src outside:198.51.100.77/1 dst inside:192.0.2.45/445 by access-group \"x\"",
        ] {
            assert_eq!(held(DENY, text), None, "{text}");
        }
    }

    #[test]
    fn a_connection_built_with_users_and_translations() {
        check(
            BUILT,
            "Built outbound TCP connection 918273 for outside:198.51.100.77/443 (198.51.100.77/443) to \
             inside:192.0.2.45/51234 (203.0.113.5/40001)(EXAMPLE\\jdoe) (jdoe)",
            &[
                ("direction", "outbound"),
                ("NetworkSessionId", "918273"),
                ("SrcInterfaceName", "outside"),
                ("SrcIpAddr", "198.51.100.77"),
                ("SrcPortNumber", "443"),
                ("SrcNatIpAddr", "198.51.100.77"),
                ("SrcNatPortNumber", "443"),
                ("DstInterfaceName", "inside"),
                ("DstIpAddr", "192.0.2.45"),
                ("DstPortNumber", "51234"),
                ("DstNatIpAddr", "203.0.113.5"),
                ("DstNatPortNumber", "40001"),
                ("duser", "EXAMPLE\\jdoe"),
                ("user2", "jdoe"),
            ],
        );
    }

    #[test]
    fn what_two_have_in_common_is_read_once() {
        let [one, other] = ["{a_word} {b}[ ({c})] via {d}", "{a_word} {b}[ ({c})] for {e}"].map(compile);
        let shared = one.shared_with(&other);
        assert_eq!(shared, other.shared_with(&one));
        assert_eq!((0, 0), (one.shared_with(&compile("{b_word} {a}")).steps, Shared::default().holes));

        // The stops of {b} and its group are not the same: only what stands before is in common.
        assert_eq!((1, 1), (shared.steps, shared.holes));
        let text = b"x y (z) for w";
        let mut holes = [None; 4];
        let (fits, left) = one.read_on(Shared::default(), shared, text, &mut holes);
        assert_eq!((false, Some(&b"y (z) for w"[..])), (fits, left));
        holes[shared.holes..].fill(None);
        assert!(other.read_on(shared, Shared::default(), left.unwrap(), &mut holes).0);
        let mut whole = [None; 4];
        assert!(other.read(text, &mut whole));
        assert_eq!(whole, holes);
    }

    #[test]
    fn a_teardown_keeps_its_reason_whole() {
        let start = "Teardown TCP connection 918273 for outside:198.51.100.77/443 to inside:192.0.2.45/51234 duration 0:01:05 bytes 4321";
        for reason in [None, Some("TCP FINs"), Some("TCP Reset-I from inside (jdoe)"), Some("SYN Timeout")] {
            let text = format!("{start}{}{}", if reason.is_some() { " " } else { "" }, reason.unwrap_or_default());
            let held = held(TEARDOWN, &text).unwrap();
            assert_eq!(
                held.iter().find(|(name, _)| name == "reason").map(|(_, value)| value.as_str()),
                reason,
                "{text}"
            );
            assert!(held.contains(&("NetworkDuration".into(), "0:01:05".into())));
        }
    }

    #[test]
    fn a_prefix_leaves_the_rest() {
        let template = compile("%{}-{EventOriginalSeverity}-{EventOriginalType}: ");
        let mut holes = [None; 2];
        let rest = template.read_prefix(b"%ASA-6-302013: Built - it: x ", &mut holes);
        assert_eq!(rest, Some(&b"Built - it: x "[..]));
        assert_eq!(holes.map(|held| held.unwrap().bytes), [&b"6"[..], &b"302013"[..]]);
        assert_eq!(template.read_prefix(b"%ASA-6: no", &mut holes), None);
        assert_eq!(template.read_prefix(b"ASA-6-1: no", &mut holes), None);
    }

    #[test]
    fn the_nearest_of_what_may_follow_ends_a_hole() {
        let template = "user {user}[ from {host}][ via {gate}] done";
        check(template, "user a b done", &[("user", "a b")]);
        check(template, "user a from b done", &[("user", "a"), ("host", "b")]);
        check(template, "user a via c done", &[("user", "a"), ("gate", "c")]);
        check(template, "user a from b via c done", &[("user", "a"), ("host", "b"), ("gate", "c")]);
        check(template, "user a f via done done", &[("user", "a f"), ("gate", "done")]);
        // The end of the message may come first, too.
        check("why {reason}[ ({user})]", "why TCP FINs \r\n", &[("reason", "TCP FINs")]);
        check("why {reason}[ ({user})]", "why TCP FINs (jdoe)", &[("reason", "TCP FINs"), ("user", "jdoe")]);
    }

    #[test]
    fn words_stop_at_blanks_and_numbers_at_letters() {
        check("{a_word}", "inside", &[("a_word", "inside")]);
        assert_eq!(held("{a_word}", "in side"), None);
        assert_eq!(held("{a_word}:", "in side:"), None);
        assert_eq!(held("{a_word}:", ":"), None);
        check("{number}{text}", "12ab", &[("number", "12"), ("text", "ab")]);
        assert_eq!(held("{number}", "x"), None);
        check("{aIpAddr}:{number}", "192.0.2.1:443", &[("aIpAddr", "192.0.2.1"), ("number", "443")]);
        check("{aIpAddr}:{number}", "[2001:db8::1]:443", &[("aIpAddr", "[2001:db8::1]"), ("number", "443")]);
    }

    #[test]
    fn texts_hold_something_and_skips_may_hold_nothing() {
        assert_eq!(held("({text})", "()"), None);
        check("({})", "()", &[]);
        check("([{text}])", "()", &[]);
        check("([{text}])", "(a)", &[("text", "a")]);
        assert_eq!(held("a {text}", "a   "), None);
        check("a {text}", "a  b \t", &[("text", "b")]);
        check("a{}", "a", &[]);
    }

    #[test]
    fn groups_nest_once_and_leave_nothing_behind() {
        let template = "a[ b={text}[ c={number}] d] e[ f]";
        check(template, "a e", &[]);
        check(template, "a b=x d e f", &[("text", "x")]);
        check(template, "a b=x c=1 d e", &[("text", "x"), ("number", "1")]);
        // The group starts, fails and is skipped; then what follows does not match either.
        assert_eq!(held(template, "a b=x c=1 e"), None);
        check("a[ {number} b] {text}", "a 1 c", &[("text", "1 c")]);
    }

    #[test]
    fn brackets_and_backslashes_may_be_literal() {
        check(r"\[{text}\] \{x\} C:\\", r"[a] {x} C:\", &[("text", "a")]);
    }

    #[test]
    fn says_where_a_template_is_wrong() {
        let cases = [
            ("", 0, "must not be empty"),
            ("a {b", 2, "never closed"),
            ("a [b", 2, "never closed"),
            ("a [b [c]", 2, "never closed"),
            ("a }", 2, "without a {"),
            ("a ]", 2, "without a ["),
            ("a []", 2, "must not be empty"),
            ("a [b [c [d]]]", 8, "no deeper than 2"),
            (r"a \b", 2, "stands only before"),
            (r"a \", 2, "stands only before"),
            ("{text} {text}", 7, "twice"),
            ("{text} [{text} ]", 8, "twice"),
            ("{text}{other}", 0, "another hole"),
            ("{}{text}", 0, "another hole"),
            ("{a_word}{number}", 0, "another hole"),
            ("a {text}[{number}] b", 2, "another hole"),
            ("a {text}[ x][{number}] b", 2, "another hole"),
            ("a [b {text}]{number}", 5, "another hole"),
            ("a {unknown}", 2, "is not known"),
            ("a {b c}", 4, "letters, digits and _"),
            ("a {b{c}}", 4, "letters, digits and _"),
        ];
        for (text, position, reason) in cases {
            let error = Template::compile(text, kind_of).unwrap_err();
            assert_eq!(error.position, position, "{text}: {error}");
            assert!(error.reason.contains(reason), "{text}: {error}");
            assert!(error.to_string().starts_with(&format!("at byte {position}: ")));
        }
    }

    #[test]
    fn holes_without_a_place_are_left_out() {
        let template = compile("{number} {text}");
        let mut holes = [None; 1];
        assert!(template.read(b"1 a", &mut holes));
        assert_eq!(holes.map(|held| held.unwrap().bytes), [&b"1"[..]]);
    }
}
