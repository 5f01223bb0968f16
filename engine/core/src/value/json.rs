//! Values of a JSON text by their paths: `{"src_ip":"192.0.2.1","flow":{"bytes_toserver":1200}}`.
//!
//! ```text
//! path  = step *( "." key / index ) ; step = key / index
//! key   = 1*( any character but "." "[" "]" DQUOTE ) / DQUOTE 1*( any character but DQUOTE ) DQUOTE
//! index = "[" 1*DIGIT "]"                   ; this element of an array, counted from 0
//!       / "[]"                              ; each element
//! ```
//!
//! Keys are compared byte by byte, with letter case and as they are written in the text. Senders of the Elastic world
//! write nested objects or their flattened form (`"source.ip"` as one key), or mix the two: a path without quotes stands
//! for all of them.
//!
//! # Items
//!
//! A text may hold many sessions: each element of the array that `each` names is one item (`Records[]`,
//! `flows[].flowTuples[]`). Values before an item and outside of it belong to it as well, unless they stand in another
//! element of an array around it: [`Found::Element`] says when such values lose their meaning. Values that stand behind
//! an item in the text, but outside of it, come too late for it.
//!
//! # What a sender may try
//!
//! Strings end at a quote that no backslash escapes, so nothing in a string is taken for structure. Only containers on
//! a wanted path are entered, at most 32 deep; all others are passed over by counting brackets, without a stack. Each byte
//! is looked at once. Scalars are not checked: what is no number is handed over as it is.
//!
//! # For those who change this file
//!
//! The paths become a machine with one state per container: a node stands for all the paths that may still go on. The
//! reader knows one node per open container, and every key costs one look-up whatever the number of paths.
//!
//! Source: RFC 8259.

use super::Ending;
use super::escape::{Escape, Raw};
use super::path::{DEPTH, Names, PathError, Progress, Sets, error};
use super::{pairs, scan};
use std::ops::ControlFlow;

/// What a reader finds, in the order of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'m> {
    /// A scalar at the path of this number: a string without its quotes, or a number, `true` or `false` as it stands.
    /// `null`, objects and arrays are not reported. A key that stands there twice is reported twice.
    Value(usize, Raw<'m>),
    /// A new element of the array at the `[]` of this number in `each`, counted from 0: values of paths whose
    /// [`Paths::scope`] is larger belong to the element before.
    Element(usize),
    /// An item ends here.
    Item,
}

/// Paths, ready to be looked for.
#[derive(Clone, Debug)]
pub struct Paths {
    nodes: Vec<Node>,
    scopes: Vec<usize>,
    /// Arrays of `each`.
    arrays: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
    Each,
}

#[derive(Clone, Debug, Default)]
struct Node {
    children: Names,
    /// Elements with a path of their own; then all others.
    indices: Vec<(usize, usize)>,
    each: Option<usize>,
    /// Paths that end here.
    values: Vec<usize>,
    element: Option<usize>,
    is_item: bool,
}

impl Paths {
    /// Compiles paths; they are numbered in the order given. `each` is the path of the array whose elements are items,
    /// with `[]` at its end; without one the whole text is the item, and no [`Found::Item`] is reported.
    ///
    /// # Errors
    ///
    /// The first path that is none, with the place and the reason.
    pub fn compile(paths: &[&str], each: Option<&str>) -> Result<Self, PathError> {
        let mut steps = paths.iter().map(|path| parse(path)).collect::<Result<Vec<_>, _>>()?;
        let items = each.map(parse).transpose()?;
        if let (Some(each), Some(items)) = (each, &items)
            && items.last() != Some(&Step::Each)
        {
            return Err(error(each, each.len(), "the path of the items has to end in []"));
        }
        let items = items.unwrap_or_default();
        let scopes = steps.iter().map(|path| scope(path, &items)).collect();
        let arrays = items.iter().filter(|step| **step == Step::Each).count();
        let number = steps.len();
        if !items.is_empty() {
            steps.push(items);
        }
        let mut sets = Sets::new((0..steps.len()).map(|path| (path, 0)).collect());
        let mut nodes = Vec::new();
        while let Some(set) = sets.get(nodes.len()) {
            nodes.push(Node::new(&set, &steps, number, &mut sets));
        }
        if sets.is_full() {
            return Err(error(paths.first().copied().unwrap_or_default(), 0, "together the paths are too many"));
        }
        Ok(Self { nodes, scopes, arrays })
    }

    /// In how many of the arrays of `each` a path lies. 0: it is outside of them, for all items.
    pub fn scope(&self, path: usize) -> usize {
        self.scopes.get(path).copied().unwrap_or(0)
    }

    /// Whether a path lies outside of the items, so that its value belongs to several of them.
    pub fn is_shared(&self, path: usize) -> bool {
        self.scope(path) < self.arrays
    }

    /// Hands what stands at the paths to `sink`, in the order of the text, until it breaks off.
    ///
    /// The text may have something before its first `{`, such as the tag of a syslog message.
    pub fn read<'m>(&self, text: &'m [u8], mut sink: impl FnMut(Found<'m>) -> ControlFlow<()>) -> Ending {
        let Some(start) = start(text) else { return Ending::Absent };
        let mut walk = Walk::new(&self.nodes, text, start);
        match walk.run(&mut sink) {
            ControlFlow::Continue(ending) => ending,
            ControlFlow::Break(()) => Ending::Stopped,
        }
    }
}

/// Where a text starts: at its first byte that is not blank, or at the first `{`.
fn start(text: &[u8]) -> Option<usize> {
    let first = text.iter().position(|&byte| !scan::is_blank(byte))?;
    match text.get(first) {
        Some(b'{' | b'[') => Some(first),
        _ => memchr::memchr(b'{', text),
    }
}

/// In how many arrays of `items` a path lies.
fn scope(path: &[Step], items: &[Step]) -> usize {
    path.iter().zip(items).take_while(|(a, b)| a == b).filter(|(step, _)| **step == Step::Each).count()
}

/// Reads the steps of a path.
fn parse(path: &str) -> Result<Vec<Step>, PathError> {
    let mut steps = Vec::new();
    let mut rest = path;
    let place = |rest: &str| path.len().saturating_sub(rest.len());
    loop {
        if let Some(after) = rest.strip_prefix('[') {
            let (inside, after) =
                after.split_once(']').ok_or_else(|| error(path, place(rest), "this [ is never closed"))?;
            steps.push(if inside.is_empty() {
                Step::Each
            } else {
                Step::Index(inside.parse().map_err(|_| error(path, place(rest), "an index has digits only"))?)
            });
            rest = after;
        } else {
            let text = if steps.is_empty() {
                rest
            } else {
                rest.strip_prefix('.').ok_or_else(|| error(path, place(rest), "a . or a [ belongs here"))?
            };
            let (key, after) = if let Some(quoted) = text.strip_prefix('"') {
                quoted.split_once('"').ok_or_else(|| error(path, place(text), "this quote is never closed"))?
            } else {
                text.split_at(text.find(['.', '[', ']', '"']).unwrap_or(text.len()))
            };
            if key.is_empty() {
                return Err(error(path, place(text), "a key must not be empty"));
            }
            steps.push(Step::Key(key.to_owned()));
            rest = after;
        }
        if steps.len() >= DEPTH {
            return Err(error(path, place(rest), format!("a path has fewer than {DEPTH} steps")));
        }
        if rest.is_empty() {
            return Ok(steps);
        }
    }
}

impl Node {
    /// The node of a set of paths on their way; `items` is the number of the path of the items.
    fn new(set: &[Progress], paths: &[Vec<Step>], items: usize, sets: &mut Sets) -> Self {
        let mut node = Self::default();
        let mut keys: Vec<(String, Vec<Progress>)> = Vec::new();
        let mut indices: Vec<(usize, Vec<Progress>)> = Vec::new();
        let mut each: Vec<Progress> = Vec::new();
        for &(path, made) in set {
            let Some((before, left)) = paths.get(path).and_then(|steps| steps.split_at_checked(made)) else { continue };
            if path == items {
                node.is_item |= left.is_empty();
                if before.last() == Some(&Step::Each) {
                    let arrays = before.iter().filter(|step| **step == Step::Each).count();
                    node.element = Some(arrays.saturating_sub(1));
                }
            } else if left.is_empty() {
                node.values.push(path);
            }
            match left.first() {
                None => {}
                Some(Step::Each) => each.push((path, made.saturating_add(1))),
                Some(Step::Index(index)) => add(&mut indices, index, (path, made.saturating_add(1))),
                Some(Step::Key(_)) => {
                    // This key, and this one with those behind it in the flattened form.
                    let mut joined = String::new();
                    for (step, made) in left.iter().zip(made.saturating_add(1)..) {
                        let Step::Key(key) = step else { break };
                        if !joined.is_empty() {
                            joined.push('.');
                        }
                        joined.push_str(key);
                        add(&mut keys, &joined, (path, made));
                    }
                }
            }
        }
        for (key, set) in keys {
            node.children.add(&key, sets.number(set));
        }
        for (index, mut set) in indices {
            set.extend(&each);
            node.indices.push((index, sets.number(set)));
        }
        node.each = (!each.is_empty()).then(|| sets.number(each));
        node
    }

    /// Whether a path goes on in a container that stands here.
    #[inline]
    fn leads_on(&self) -> bool {
        !self.children.is_empty() || self.each.is_some() || !self.indices.is_empty()
    }

    /// The node of an element.
    #[inline]
    fn at(&self, index: usize) -> Option<usize> {
        let own = self.indices.iter().find(|(own, _)| *own == index).map(|(_, node)| *node);
        own.or(self.each)
    }
}

fn add<K: PartialEq + Clone + core::borrow::Borrow<Q>, Q: PartialEq + ?Sized + ToOwned<Owned = K>>(
    list: &mut Vec<(K, Vec<Progress>)>,
    key: &Q,
    progress: Progress,
) {
    match list.iter_mut().find(|(known, _)| known.borrow() == key) {
        Some((_, set)) => set.push(progress),
        None => list.push((key.to_owned(), vec![progress])),
    }
}

/// An open container.
#[derive(Clone, Copy, Default)]
struct Frame {
    node: usize,
    is_array: bool,
    /// Elements before the next one.
    index: usize,
}

struct Walk<'p, 'm> {
    nodes: &'p [Node],
    text: &'m [u8],
    at: usize,
    frames: [Frame; DEPTH],
    depth: usize,
    /// Bytes that were looked at.
    #[cfg(test)]
    steps: usize,
}

impl<'p, 'm> Walk<'p, 'm> {
    fn new(nodes: &'p [Node], text: &'m [u8], at: usize) -> Self {
        Self {
            nodes,
            text,
            at,
            frames: [Frame::default(); DEPTH],
            depth: 0,
            #[cfg(test)]
            steps: 0,
        }
    }

    /// Goes on to a place that the bytes before it led to.
    #[inline]
    fn go(&mut self, to: usize) {
        #[cfg(test)]
        {
            assert!(to >= self.at, "the reader looks back");
            self.steps += to - self.at + 1;
        }
        self.at = to;
    }

    #[inline]
    fn skip(&mut self, is_skipped: impl Fn(u8) -> bool) -> Option<u8> {
        let mut at = self.at;
        let found = loop {
            match self.text.get(at) {
                Some(&byte) if is_skipped(byte) => at = at.wrapping_add(1),
                found => break found.copied(),
            }
        };
        self.go(at);
        found
    }

    fn run(&mut self, sink: &mut impl FnMut(Found<'m>) -> ControlFlow<()>) -> ControlFlow<(), Ending> {
        let mut goes_on = self.value(Some(0), sink)?;
        while goes_on && let Some(place) = self.depth.checked_sub(1) {
            let byte = self.skip(|byte| scan::is_blank(byte) || byte == b',');
            let Some(frame) = self.frames.get_mut(place) else { break };
            let node = self.nodes.get(frame.node);
            goes_on = match byte {
                Some(close @ (b'}' | b']')) if frame.is_array == (close == b']') => {
                    self.depth = place;
                    self.go(self.at.wrapping_add(1));
                    end(node, sink)?;
                    true
                }
                Some(b'}' | b']') | None => false,
                Some(_) if frame.is_array => {
                    let index = frame.index;
                    frame.index = index.wrapping_add(1);
                    self.value(node.and_then(|node| node.at(index)), sink)?
                }
                Some(b'"') => {
                    let (key, _) = self.string();
                    match (key, self.skip(scan::is_blank)) {
                        (Some(key), Some(b':')) => {
                            self.go(self.at.wrapping_add(1));
                            self.value(node.and_then(|node| node.children.find(key)), sink)?
                        }
                        _ => false,
                    }
                }
                Some(_) => false,
            };
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        let is_whole = goes_on && pairs::trim_end(rest).0.is_empty();
        ControlFlow::Continue(if is_whole { Ending::Whole } else { Ending::Broken })
    }

    /// Reads a value, or opens it; `false` if the text breaks off in it.
    #[inline]
    fn value(
        &mut self,
        node: Option<usize>,
        sink: &mut impl FnMut(Found<'m>) -> ControlFlow<()>,
    ) -> ControlFlow<(), bool> {
        let place = node.unwrap_or(0);
        let node = node.and_then(|number| self.nodes.get(number));
        if let Some(array) = node.and_then(|node| node.element) {
            sink(Found::Element(array))?;
        }
        match self.skip(scan::is_blank) {
            None => return ControlFlow::Continue(false),
            Some(open @ (b'{' | b'[')) => {
                self.go(self.at.wrapping_add(1));
                // A path has fewer steps than there are frames, so one is free.
                if node.is_some_and(Node::leads_on)
                    && let Some(frame) = self.frames.get_mut(self.depth)
                {
                    *frame = Frame { node: place, is_array: open == b'[', index: 0 };
                    self.depth = self.depth.wrapping_add(1);
                    return ControlFlow::Continue(true);
                }
                if !self.pass_over() {
                    return ControlFlow::Continue(false);
                }
            }
            Some(b'"') => {
                let (Some(bytes), escape) = self.string() else { return ControlFlow::Continue(false) };
                if let Some(node) = node {
                    hand_over(node, Raw { bytes, escape }, sink)?;
                }
            }
            Some(_) => {
                let end = scan::find(
                    self.text,
                    self.at,
                    |word| {
                        // `}` and `]` differ in the bit that is set here.
                        scan::blank(word) | scan::equal(word, b',') | scan::equal(word | LOWER, b'}')
                    },
                    |byte| scan::is_blank(byte) || byte == b',' || byte | 0x20 == b'}',
                );
                let bytes = self.text.get(self.at..end).unwrap_or_default();
                self.go(end);
                if let Some(node) = node
                    && !matches!(bytes, b"" | b"null")
                {
                    hand_over(node, Raw::plain(bytes), sink)?;
                }
            }
        }
        end(node, sink)?;
        ControlFlow::Continue(true)
    }

    /// The string whose opening quote stands here, and whether something in it is escaped; `None` if it never closes.
    #[inline]
    fn string(&mut self) -> (Option<&'m [u8]>, Escape) {
        let start = self.at.wrapping_add(1);
        let (close, escape) = closing_quote(self.text, start);
        let is_closed = close < self.text.len();
        self.go(if is_closed { close.wrapping_add(1) } else { close.max(self.at) });
        (self.text.get(start..close).filter(|_| is_closed), escape)
    }

    /// Passes over a container whose opening bracket stands before here; `false` if it never closes.
    fn pass_over(&mut self) -> bool {
        let mut open = 1_usize;
        loop {
            let at = scan::find(
                self.text,
                self.at,
                |word| {
                    let lower = word | LOWER;
                    scan::equal(word, b'"') | scan::equal(lower, b'{') | scan::equal(lower, b'}')
                },
                |byte| byte == b'"' || matches!(byte | 0x20, b'{' | b'}'),
            );
            self.go(at);
            match self.text.get(at) {
                None => return false,
                Some(b'"') => {
                    if self.string().0.is_none() {
                        return false;
                    }
                }
                Some(byte) => {
                    self.go(at.wrapping_add(1));
                    open = if byte | 0x20 == b'{' { open.wrapping_add(1) } else { open.wrapping_sub(1) };
                    if open == 0 {
                        return true;
                    }
                }
            }
        }
    }
}

/// The bit by which `[` and `{`, `]` and `}` differ, eight times.
const LOWER: u64 = 0x2020_2020_2020_2020;

/// What follows from the end of a value.
#[inline]
fn end<'m>(node: Option<&Node>, sink: &mut impl FnMut(Found<'m>) -> ControlFlow<()>) -> ControlFlow<()> {
    if node.is_some_and(|node| node.is_item) { sink(Found::Item) } else { ControlFlow::Continue(()) }
}

#[inline]
fn hand_over<'m>(node: &Node, raw: Raw<'m>, sink: &mut impl FnMut(Found<'m>) -> ControlFlow<()>) -> ControlFlow<()> {
    for &path in &node.values {
        sink(Found::Value(path, raw))?;
    }
    ControlFlow::Continue(())
}

/// Where the quote closes (the length of the text if it does not), and whether something before it is escaped.
#[inline]
fn closing_quote(text: &[u8], from: usize) -> (usize, Escape) {
    let mut at = from;
    let mut escape = Escape::None;
    loop {
        at = scan::find(
            text,
            at,
            |word| scan::equal(word, b'"') | scan::equal(word, b'\\'),
            |byte| byte == b'"' || byte == b'\\',
        );
        if text.get(at) != Some(&b'\\') {
            return (at, escape);
        }
        escape = Escape::Json;
        // The escaped byte may be the one past the end: then the quote does not close.
        at = at.wrapping_add(2).min(text.len());
    }
}

#[cfg(test)]
mod tests {
    use super::super::unescape;
    use super::*;

    /// What is found, as `path=value`, `[n` for an element and `;` for an item.
    fn found(paths: &[&str], each: Option<&str>, text: &[u8]) -> (Vec<String>, Ending) {
        let compiled = Paths::compile(paths, each).unwrap();
        let mut list = Vec::new();
        let ending = compiled.read(text, |found| {
            list.push(match found {
                Found::Value(path, raw) => format!("{path}={}", String::from_utf8_lossy(&unescape(raw))),
                Found::Element(array) => format!("[{array}"),
                Found::Item => ";".to_owned(),
            });
            ControlFlow::Continue(())
        });
        (list, ending)
    }

    #[track_caller]
    fn check(paths: &[&str], each: Option<&str>, text: &str, wanted: &[&str]) {
        let (list, ending) = found(paths, each, text.as_bytes());
        assert_eq!(list, wanted, "{text}");
        assert_eq!(ending, Ending::Whole, "{text}");
    }

    #[test]
    fn scalars_of_every_kind() {
        let text = r#" { "s" : "a \"b\" \u00e9" , "n" : -1.5e3, "t":true,"f":false,"z":null,"e":"","o":{},"a":[] } "#;
        let wanted = ["0=a \"b\" \u{e9}", "1=-1.5e3", "2=true", "3=false", "5="];
        check(&["s", "n", "t", "f", "z", "e", "o", "a"], None, text, &wanted);
    }

    #[test]
    fn paths_into_objects_and_arrays() {
        let text = r#"{"x":{"b":{"c":0}},"a":{"z":{"b":[9,{"c":"no"}]},"b":{"c":1,"d":[2,[3,4],{"e":5}]}},"l":[{"k":6},{"k":7},8]}"#;
        let paths = ["a.b.c", "a.b.d[0]", "a.b.d[1][1]", "a.b.d[2].e", "l[].k", "l[1].k", "l[]"];
        check(&paths, None, text, &["0=1", "1=2", "2=4", "3=5", "4=6", "4=7", "5=7", "6=8"]);
        check(&["[].a", "[1].a"], None, r#"[{"a":1},{"a":2}]"#, &["0=1", "0=2", "1=2"]);
        check(&["a", "a", "b.c"], None, r#"{"a":1,"b":2}"#, &["0=1", "1=1"]);
    }

    #[test]
    fn dots_in_keys_are_flattened_objects() {
        let paths = ["source.ip", "a.b.c", r#"k."x.y".z"#];
        for text in [
            r#"{"source":{"ip":"1"},"a":{"b":{"c":2}},"k":{"x.y":{"z":3}}}"#,
            r#"{"source.ip":"1","a.b.c":2,"k.x.y.z":3}"#,
            r#"{"source.ip":"1","a.b":{"c":2},"k":{"x.y.z":3}}"#,
            r#"{"source.ip":"1","a":{"b.c":2},"k.x.y":{"z":3}}"#,
        ] {
            check(&paths, None, text, &["0=1", "1=2", "2=3"]);
        }
        check(&paths, None, r#"{"k":{"x":{"y":{"z":3}}},"source.ipx":1,"source.":{"ip":1},"Source.ip":1}"#, &[]);
    }

    #[test]
    fn each_element_is_an_item() {
        check(
            &["t", "r[].v", "late"],
            Some("r[]"),
            r#"{"t":1,"r":[{"v":2},{"v":3},{},4],"late":5}"#,
            &["0=1", "[0", "1=2", ";", "[0", "1=3", ";", "[0", ";", "[0", ";", "2=5"],
        );
        let each = "records[].properties.flows[].flows[].flowTuples[]";
        let paths = ["records[].time", "records[].properties.flows[].rule", each, "version"];
        let text = r#"{"version":2,"records":[{"time":"x","properties":{"flows":[
            {"rule":"A","flows":[{"mac":"m","flowTuples":["1,2","3,4"]}]},
            {"flows":[{"flowTuples":["5,6"]}]}]}},{"properties":{"flows":[]}}]}"#;
        let wanted = [
            "3=2", "[0", "0=x", "[1", "1=A", "[2", "[3", "2=1,2", ";", "[3", "2=3,4", ";", "[1", "[2", "[3", "2=5,6",
            ";", "[0",
        ];
        check(&paths, Some(each), text, &wanted);
        let compiled = Paths::compile(&paths, Some(each)).unwrap();
        assert_eq!([0, 1, 2, 3, 4].map(|path| compiled.scope(path)), [1, 2, 4, 0, 0]);
        check(&["[].a"], Some("[]"), r#"[{"a":1},{"a":2}]"#, &["[0", "0=1", ";", "[0", "0=2", ";"]);
    }

    #[test]
    fn says_how_a_text_ends() {
        let ending = |text: &str| found(&["a.b", "c"], None, text.as_bytes());
        for text in ["{}", "[]", " {} \n", "{}#012", "tag[7]: {}", "@cee: {}", "\u{feff}{}", r#"{"x":[}}"#] {
            assert_eq!(ending(text).1, Ending::Whole, "{text}");
        }
        for text in ["", " ", "tag[7]: x", "null", "\"a\""] {
            assert_eq!(ending(text).1, Ending::Absent, "{text}");
        }
        for text in [
            "{",
            "{]",
            "{} {}",
            "{}x",
            "{\"",
            "{\"a",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":\"x",
            "{\"a\":1",
            "{\"a\":[1",
            "{a:1}",
            "{\"a\"}",
            "{\"a\":\"\\\"}",
            "{\"a\":{\"b\":1",
            "{:}",
            "[1,",
            "[}",
            "{\"x\":[[[\"]]]\"]",
            "{\\",
            r#"{"x":[}]}"#,
        ] {
            assert_eq!(ending(text).1, Ending::Broken, "{text}");
        }
        assert_eq!(ending(r#"{"a":{"b":1},"c":"2","d":"br"#), (vec!["0=1".into(), "1=2".into()], Ending::Broken));
        assert_eq!(ending(r#"{"a":{"b":},"c":,"c":3}"#), (vec!["1=3".into()], Ending::Whole));
    }

    #[test]
    fn nobody_smuggles_a_value() {
        let wanted = ["0=192.0.2.1"];
        for text in [
            r#"{"user":"x\",\"src\":\"203.0.113.9","src":"192.0.2.1"}"#,
            r#"{"user":"x\\","src":"192.0.2.1"}"#,
            r#"{"o":{"src":"203.0.113.9","p":["}",{"src":"203.0.113.9"}]},"src":"192.0.2.1"}"#,
            r#"{"o":["]","src","203.0.113.9"],"src":"192.0.2.1"}"#,
            r#"{"SRC":"203.0.113.9","src":"192.0.2.1"}"#,
        ] {
            check(&["src"], None, text, &wanted);
        }
    }

    #[test]
    fn a_break_ends_it() {
        let paths = Paths::compile(&["a", "b"], None).unwrap();
        let mut seen = 0;
        let ending = paths.read(br#"{"a":1,"b":2,"a":3}"#, |found| {
            seen += 1;
            if matches!(found, Found::Value(1, _)) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!((seen, ending), (2, Ending::Stopped));
    }

    #[test]
    fn says_where_a_path_is_wrong() {
        let deep = "a.".repeat(DEPTH) + "a";
        let cases = [
            ("", 0, "must not be empty"),
            ("a..b", 2, "must not be empty"),
            ("a.", 2, "must not be empty"),
            (".a", 0, "must not be empty"),
            ("a.\"\"", 2, "must not be empty"),
            ("a.\"b", 2, "never closed"),
            ("a[", 1, "never closed"),
            ("a[x]", 1, "digits only"),
            ("a[0]b", 4, "belongs here"),
            ("a]", 1, "belongs here"),
            ("\"a\"b", 3, "belongs here"),
            (&deep, 63, "fewer than 32"),
        ];
        for (path, position, reason) in cases {
            let error = Paths::compile(&["ok", path], None).unwrap_err();
            assert_eq!((error.path.as_str(), error.position), (path, position), "{error}");
            assert!(error.reason.contains(reason), "{error}");
        }
        assert!(Paths::compile(&["a"], Some("a[].b")).unwrap_err().reason.contains("end in []"));
    }

    /// Whatever the text: as many steps as it has bytes, times a small factor.
    #[test]
    fn hostile_texts_take_steps_in_proportion() {
        let each = "[][][]".repeat(5);
        let each = Paths::compile(&["a.b", "a[].b", "[]", "[][].a", &each], Some(&each)).unwrap();
        for piece in [
            "[",
            "{",
            "{\"a\":",
            "\"",
            "\\",
            "\\\"",
            "[[],",
            "{\"a\":1},",
            ",",
            "1,",
            "\"a\",",
            "]",
            "}",
            "[{\"a\":[",
            "x",
            ":",
            "{}",
            "\"a\":",
            "[1,",
            " ",
        ] {
            for start in ["", "{", "[", "{\"a\":[", "[[", "{\"a\":\"", "{\"x\":", "{\"a\":{\"b\":1},"] {
                let text = [start, &piece.repeat(64 * 1024 / piece.len())].concat();
                let Some(at) = super::start(text.as_bytes()) else { continue };
                let mut walk = Walk::new(&each.nodes, text.as_bytes(), at);
                let mut calls = 0;
                let _ = walk.run(&mut |_| {
                    calls += 1;
                    ControlFlow::Continue(())
                });
                assert!(walk.steps <= 8 * text.len() + 8, "{start} {piece}: {} steps", walk.steps);
                assert!(calls <= 4 * text.len(), "{start} {piece}: {calls} calls");
            }
        }
    }
}
