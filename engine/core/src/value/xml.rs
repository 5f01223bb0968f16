//! Values of an XML text by their paths, for events of Windows and Sysmon:
//! `<Event><System><EventID>3</EventID></System><EventData><Data Name="SourceIp">192.0.2.1</Data></EventData></Event>`.
//!
//! ```text
//! path    = element *( "/" element ) [ "@" attribute ]
//! element = name [ "[" text "]" ]           ; the text: what its attribute Name has to be
//! ```
//!
//! `System/EventID` is the text of an element, `System/Provider@Name` an attribute, `EventData/Data[SourceIp]` the text
//! of the element whose `Name` is that. A path may start at any element of the text, at whatever depth. Names are compared
//! with letter case, without a namespace prefix.
//!
//! # What is read
//!
//! The text of an element is its first piece that is not blank, without blanks around it, or its first CDATA section.
//! Comments, processing instructions and document types are passed over; nothing that a document declares is ever
//! expanded or fetched. An end tag closes the innermost open element of that name and all within it; one that closes
//! nothing is passed over. Elements more than 32 deep are counted, but not looked at.
//!
//! # What a sender may try
//!
//! Values come with `<` escaped, so a user's name opens no element. A quote ends an attribute only if it is the one that
//! began it. Each byte is looked at once, those of a start tag up to twice.
//!
//! Source: Extensible Markup Language (XML) 1.0 (fifth edition); the events: Windows Event Schema.

use super::Ending;
use super::escape::{Escape, Raw};
use super::path::{DEPTH, Names, PathError, Progress, Sets, error};
use super::{pairs, scan};
use memchr::memmem;
use std::ops::ControlFlow;

/// Paths, ready to be looked for.
#[derive(Clone, Debug)]
pub struct Paths {
    nodes: Vec<Node>,
}

struct Path {
    elements: Vec<Element>,
    attribute: Option<String>,
}

struct Element {
    name: String,
    key: Option<String>,
}

/// An element that is open, as far as paths are concerned.
#[derive(Clone, Debug, Default)]
struct Node {
    /// Numbers of `entries` by the names of elements.
    children: Names,
    entries: Vec<Entry>,
    /// Paths of its text.
    texts: Vec<usize>,
    /// Attributes and their paths.
    attributes: Vec<(Box<[u8]>, usize)>,
}

/// What elements of one name lead to.
#[derive(Clone, Debug)]
struct Entry {
    /// Nodes by the attribute `Name`.
    keys: Names,
    /// The node for any other.
    other: usize,
}

impl Paths {
    /// Compiles paths; they are numbered in the order given.
    ///
    /// # Errors
    ///
    /// The first path that is none, with the place and the reason.
    pub fn compile(paths: &[&str]) -> Result<Self, PathError> {
        let parsed = paths.iter().map(|path| parse(path)).collect::<Result<Vec<_>, _>>()?;
        let start: Vec<Progress> = (0..parsed.len()).map(|path| (path, 0)).collect();
        let mut sets = Sets::new(start.clone());
        let mut nodes = Vec::new();
        while let Some(set) = sets.get(nodes.len()) {
            nodes.push(Node::new(&set, &start, &parsed, &mut sets));
        }
        if sets.is_full() {
            return Err(error(paths.first().copied().unwrap_or_default(), 0, "together the paths are too many"));
        }
        Ok(Self { nodes })
    }

    /// Hands what stands at the paths to `sink` with the number of its path, in the order of the text, until it breaks
    /// off. Elements without text are not reported; those that stand there twice are reported twice.
    ///
    /// The text may have something before its first `<`, such as the tag of a syslog message.
    pub fn read<'m>(&self, text: &'m [u8], mut sink: impl FnMut(usize, Raw<'m>) -> ControlFlow<()>) -> Ending {
        match Walk::new(&self.nodes, text).run(&mut sink) {
            ControlFlow::Continue(ending) => ending,
            ControlFlow::Break(()) => Ending::Stopped,
        }
    }
}

/// Reads one path.
fn parse(path: &str) -> Result<Path, PathError> {
    const SPECIAL: [char; 5] = ['/', '[', ']', '@', '"'];
    let place = |rest: &str| path.len().saturating_sub(rest.len());
    let (mut rest, mut elements) = (path, Vec::new());
    loop {
        let (name, after) = rest.split_at(rest.find(SPECIAL).unwrap_or(rest.len()));
        if name.is_empty() {
            return Err(error(path, place(rest), "the name of an element must not be empty"));
        }
        rest = after;
        let mut key = None;
        if let Some(inside) = after.strip_prefix('[') {
            let (text, after) =
                inside.split_once(']').ok_or_else(|| error(path, place(after), "this [ is never closed"))?;
            if text.is_empty() {
                return Err(error(path, place(inside), "the name in brackets must not be empty"));
            }
            key = Some(text.to_owned());
            rest = after;
        }
        elements.push(Element { name: name.to_owned(), key });
        if elements.len() > DEPTH {
            return Err(error(path, place(rest), format!("a path has at most {DEPTH} elements")));
        }
        if let Some(attribute) = rest.strip_prefix('@') {
            if attribute.is_empty() || attribute.contains(SPECIAL) {
                return Err(error(path, place(attribute), "a path ends with the name of its attribute"));
            }
            return Ok(Path { elements, attribute: Some(attribute.to_owned()) });
        }
        if rest.is_empty() {
            return Ok(Path { elements, attribute: None });
        }
        rest = rest.strip_prefix('/').ok_or_else(|| error(path, place(rest), "a / or an @ belongs here"))?;
    }
}

impl Node {
    /// The node of a set of paths on their way. Whatever comes, all paths may also start anew.
    fn new(set: &[Progress], start: &[Progress], paths: &[Path], sets: &mut Sets) -> Self {
        let mut node = Self::default();
        let mut names: Vec<&str> = Vec::new();
        for &(number, made) in set {
            let Some(path) = paths.get(number) else { continue };
            match (path.elements.get(made), &path.attribute) {
                (Some(element), _) if names.contains(&element.name.as_str()) => {}
                (Some(element), _) => names.push(&element.name),
                (None, Some(attribute)) => node.attributes.push((attribute.as_bytes().into(), number)),
                (None, None) => node.texts.push(number),
            }
        }
        // The paths that go on in an element of this name, and the key that they ask for.
        let next = |name: &str| -> Vec<(Option<&str>, Progress)> {
            let element = |&(number, made): &Progress| {
                let element = paths.get(number)?.elements.get(made).filter(|element| element.name == name)?;
                Some((element.key.as_deref(), (number, made.saturating_add(1))))
            };
            set.iter().filter_map(element).collect()
        };
        for name in names {
            let next = next(name);
            let set_of = |wanted: Option<&str>| -> Vec<Progress> {
                let fits =
                    next.iter().filter(|(key, _)| key.is_none() || *key == wanted).map(|(_, progress)| *progress);
                fits.chain(start.iter().copied()).collect()
            };
            let mut entry = Entry { keys: Names::default(), other: sets.number(set_of(None)) };
            for key in next.iter().filter_map(|(key, _)| *key) {
                if entry.keys.find(key.as_bytes()).is_none() {
                    entry.keys.add(key, sets.number(set_of(Some(key))));
                }
            }
            node.children.add(name, node.entries.len());
            node.entries.push(entry);
        }
        node
    }
}

/// An open element.
#[derive(Clone, Copy, Default)]
struct Frame<'m> {
    name: &'m [u8],
    node: usize,
    /// Whether its text is wanted and has not come yet.
    wants_text: bool,
}

struct Walk<'p, 'm> {
    nodes: &'p [Node],
    text: &'m [u8],
    at: usize,
    frames: [Frame<'m>; DEPTH],
    depth: usize,
    /// Open elements that are deeper than there are frames.
    deeper: usize,
    /// Bytes that were looked at.
    #[cfg(test)]
    steps: usize,
}

/// What stands next in a start tag.
enum Part<'m> {
    Attribute(&'m [u8], Raw<'m>),
    /// The tag ends, maybe with a `/`.
    End {
        is_empty: bool,
    },
    Broken,
}

impl<'p, 'm> Walk<'p, 'm> {
    fn new(nodes: &'p [Node], text: &'m [u8]) -> Self {
        Self {
            nodes,
            text,
            at: 0,
            frames: [Frame::default(); DEPTH],
            depth: 0,
            deeper: 0,
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

    fn top(&mut self) -> Option<&mut Frame<'m>> {
        let place = self.depth.checked_sub(1).filter(|_| self.deeper == 0)?;
        self.frames.get_mut(place)
    }

    fn run(&mut self, sink: &mut impl FnMut(usize, Raw<'m>) -> ControlFlow<()>) -> ControlFlow<(), Ending> {
        let mut has_root = false;
        loop {
            let open = scan::find_byte(self.text, self.at, b'<');
            if self.top().is_some_and(|frame| frame.wants_text) {
                let piece = scan::trim(self.text.get(self.at..open).unwrap_or_default());
                // A text that breaks off may be half a value.
                if open < self.text.len() {
                    self.text_of_top(Raw { bytes: piece, escape: Escape::Xml }, sink)?;
                }
            }
            self.go(open);
            let rest = self.text.get(open..).unwrap_or_default();
            let goes_on = match rest {
                [] | [_] => false,
                [_, b'!', b'-', b'-', ..] => self.pass(4, b"-->").is_some(),
                [_, b'!', b'[', b'C', b'D', b'A', b'T', b'A', b'[', ..] => match self.pass(9, b"]]>") {
                    Some(section) => {
                        self.text_of_top(Raw::plain(section), sink)?;
                        true
                    }
                    None => false,
                },
                [_, b'!', ..] => self.document_type(),
                [_, b'?', ..] => self.pass(2, b"?>").is_some(),
                [_, b'/', ..] => self.close(),
                [_, byte, ..] if scan::is_blank(*byte) || matches!(byte, b'<' | b'>' | b'=' | b'0'..=b'9') => {
                    // No tag: a text that nobody escaped, or a PRI.
                    self.go(open.wrapping_add(1));
                    true
                }
                _ => {
                    has_root = true;
                    self.open(sink)?
                }
            };
            if !goes_on {
                return ControlFlow::Continue(if has_root { Ending::Broken } else { Ending::Absent });
            }
            if has_root && self.depth == 0 {
                let rest = self.text.get(self.at..).unwrap_or_default();
                let is_whole = pairs::trim_end(rest).0.is_empty();
                return ControlFlow::Continue(if is_whole { Ending::Whole } else { Ending::Broken });
            }
        }
    }

    /// Hands over the text of the innermost element, if it is wanted and there is any.
    fn text_of_top(
        &mut self,
        raw: Raw<'m>,
        sink: &mut impl FnMut(usize, Raw<'m>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if raw.bytes.is_empty() {
            return ControlFlow::Continue(());
        }
        let nodes = self.nodes;
        if let Some(frame) = self.top().filter(|frame| frame.wants_text) {
            frame.wants_text = false;
            for &path in nodes.get(frame.node).map(|node| node.texts.as_slice()).unwrap_or_default() {
                sink(path, raw)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Passes over `length` bytes, and what follows up to `end`: gives what stands between.
    fn pass(&mut self, length: usize, end: &[u8]) -> Option<&'m [u8]> {
        let start = self.at.wrapping_add(length);
        let rest = self.text.get(start..)?;
        let Some(between) = memmem::find(rest, end) else {
            self.go(self.text.len());
            return None;
        };
        self.go(start.wrapping_add(between).wrapping_add(end.len()));
        rest.get(..between)
    }

    /// Passes over a `<!DOCTYPE`, with the declarations in its brackets; `false` if it never ends.
    fn document_type(&mut self) -> bool {
        let mut at = self.at;
        let mut inside = false;
        loop {
            at = scan::find(
                self.text,
                at.wrapping_add(1),
                |word| scan::equal(word, b'[') | scan::equal(word, b']') | scan::equal(word, b'>'),
                |byte| matches!(byte, b'[' | b']' | b'>'),
            );
            match self.text.get(at) {
                None => {
                    self.go(self.text.len());
                    return false;
                }
                Some(b'[') => inside = true,
                Some(b']') => inside = false,
                Some(_) if inside => {}
                Some(_) => {
                    self.go(at.wrapping_add(1));
                    return true;
                }
            }
        }
    }

    /// Reads an end tag; `false` if it never ends.
    fn close(&mut self) -> bool {
        let start = self.at.wrapping_add(2);
        let end = scan::find_byte(self.text, start, b'>');
        let Some(name) = self.text.get(start..end).filter(|_| end < self.text.len()) else {
            self.go(self.text.len());
            return false;
        };
        self.go(end.wrapping_add(1));
        if let Some(fewer) = self.deeper.checked_sub(1) {
            self.deeper = fewer;
            return true;
        }
        let name = local(scan::trim_end(name));
        let open = self.frames.get(..self.depth).unwrap_or_default();
        if let Some(place) = open.iter().rposition(|frame| frame.name == name) {
            self.depth = place;
        }
        true
    }

    /// Reads a start tag, and opens the element; `false` if the tag never ends.
    fn open(&mut self, sink: &mut impl FnMut(usize, Raw<'m>) -> ControlFlow<()>) -> ControlFlow<(), bool> {
        let start = self.at.wrapping_add(1);
        let end = scan::find(
            self.text,
            start,
            |word| scan::blank(word) | scan::equal(word, b'>') | scan::equal(word, b'/'),
            |byte| scan::is_blank(byte) || matches!(byte, b'>' | b'/'),
        );
        self.go(end);
        let name = local(self.text.get(start..end).unwrap_or_default());
        let nodes = self.nodes;
        let above = self.depth.checked_sub(1).and_then(|place| self.frames.get(place)).map_or(0, |frame| frame.node);
        let child = |node: usize| {
            let node = nodes.get(node)?;
            node.entries.get(node.children.find(name)?)
        };
        let mut node = 0;
        let is_empty;
        let entry = child(above).filter(|_| self.deeper == 0);
        if let Some(entry) = entry {
            node = entry.other;
            loop {
                match self.part() {
                    Part::Attribute(b"Name", raw) if !entry.keys.is_empty() => {
                        node = entry.keys.find(raw.bytes).unwrap_or(entry.other);
                    }
                    Part::Attribute(..) => {}
                    Part::End { is_empty: found } => {
                        is_empty = found;
                        break;
                    }
                    Part::Broken => return ControlFlow::Continue(false),
                }
            }
            let wanted = nodes.get(node).map(|node| node.attributes.as_slice()).unwrap_or_default();
            if !wanted.is_empty() {
                let tag_end = self.at;
                self.at = end;
                while let Part::Attribute(name, raw) = self.part() {
                    for (_, path) in wanted.iter().filter(|(wanted, _)| **wanted == *name) {
                        sink(*path, raw)?;
                    }
                }
                self.at = tag_end;
            }
        } else {
            match self.tag_end() {
                Some(found) => is_empty = found,
                None => return ControlFlow::Continue(false),
            }
        }
        if is_empty {
            return ControlFlow::Continue(true);
        }
        let wants_text = nodes.get(node).is_some_and(|node| !node.texts.is_empty());
        match self.frames.get_mut(self.depth) {
            Some(frame) => {
                *frame = Frame { name, node, wants_text };
                self.depth = self.depth.wrapping_add(1);
            }
            None => self.deeper = self.deeper.wrapping_add(1),
        }
        ControlFlow::Continue(true)
    }

    /// Goes behind the end of a tag without looking at its attributes, and says whether the element is empty; `None` if
    /// the tag never ends.
    fn tag_end(&mut self) -> Option<bool> {
        loop {
            let at = scan::find(
                self.text,
                self.at,
                |word| scan::equal(word, b'>') | scan::equal(word, b'"') | scan::equal(word, b'\''),
                |byte| matches!(byte, b'>' | b'"' | b'\''),
            );
            self.go(at);
            match *self.text.get(at)? {
                b'>' => {
                    self.go(at.wrapping_add(1));
                    return Some(at.checked_sub(1).and_then(|before| self.text.get(before)) == Some(&b'/'));
                }
                quote => {
                    let close = scan::find_byte(self.text, at.wrapping_add(1), quote);
                    self.go(close.wrapping_add(1).min(self.text.len()));
                }
            }
        }
    }

    /// Reads the next attribute of a tag, or its end.
    fn part(&mut self) -> Part<'m> {
        let mut at = self.at;
        while self.text.get(at).is_some_and(|&byte| scan::is_blank(byte)) {
            at = at.wrapping_add(1);
        }
        match self.text.get(at) {
            None => return Part::Broken,
            Some(b'>') => {
                self.go(at.wrapping_add(1));
                return Part::End { is_empty: false };
            }
            Some(b'/') if self.text.get(at.wrapping_add(1)) == Some(&b'>') => {
                self.go(at.wrapping_add(2));
                return Part::End { is_empty: true };
            }
            Some(_) => {}
        }
        // What stands first may be no name: it is one byte of one all the same, so that the walk goes on.
        let name_end = scan::find(
            self.text,
            at.wrapping_add(1),
            |word| scan::blank(word) | scan::equal(word, b'=') | scan::equal(word, b'>') | scan::equal(word, b'/'),
            |byte| scan::is_blank(byte) || matches!(byte, b'=' | b'>' | b'/'),
        );
        let name = self.text.get(at..name_end).unwrap_or_default();
        let mut start = name_end;
        while self.text.get(start).is_some_and(|&byte| scan::is_blank(byte)) {
            start = start.wrapping_add(1);
        }
        if self.text.get(start) != Some(&b'=') {
            self.go(start);
            return Part::Attribute(name, Raw::plain(&[]));
        }
        start = start.wrapping_add(1);
        while self.text.get(start).is_some_and(|&byte| scan::is_blank(byte)) {
            start = start.wrapping_add(1);
        }
        let (start, end, next) = if let Some(&quote @ (b'"' | b'\'')) = self.text.get(start) {
            let start = start.wrapping_add(1);
            let end = scan::find_byte(self.text, start, quote);
            if end >= self.text.len() {
                self.go(end);
                return Part::Broken;
            }
            (start, end, end.wrapping_add(1))
        } else {
            let end = scan::find(
                self.text,
                start,
                |word| scan::blank(word) | scan::equal(word, b'>'),
                |byte| scan::is_blank(byte) || byte == b'>',
            );
            (start, end, end)
        };
        self.go(next);
        Part::Attribute(name, Raw { bytes: self.text.get(start..end).unwrap_or_default(), escape: Escape::Xml })
    }
}

/// A name without its namespace prefix.
#[inline]
fn local(name: &[u8]) -> &[u8] {
    name.iter().rposition(|&byte| byte == b':').and_then(|at| name.get(at.wrapping_add(1)..)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::super::unescape;
    use super::*;

    fn found(paths: &[&str], text: &[u8]) -> (Vec<String>, Ending) {
        let mut list = Vec::new();
        let ending = Paths::compile(paths).unwrap().read(text, |path, raw| {
            list.push(format!("{path}={}", String::from_utf8_lossy(&unescape(raw))));
            ControlFlow::Continue(())
        });
        (list, ending)
    }

    #[track_caller]
    fn check(paths: &[&str], text: &str, wanted: &[&str]) {
        let (list, ending) = found(paths, text.as_bytes());
        assert_eq!(list, wanted, "{text}");
        assert_eq!(ending, Ending::Whole, "{text}");
    }

    const EVENT: [&str; 5] = [
        "System/EventID",
        "System/Provider@Name",
        "EventData/Data[SourceIp]",
        "EventData/Data[DestinationPort]",
        "Computer",
    ];

    #[test]
    fn an_event_of_windows() {
        let text = r#"<?xml version="1.0"?>
            <Event xmlns="urn:example:event"><System>
            <Provider Name="Microsoft-Windows-Sysmon" Guid='{1-2}'/><EventID>3</EventID><!-- <EventID>4</EventID> -->
            <Computer> host.example </Computer><Security UserID='S-1'/></System>
            <EventData><Data Name="RuleName">-</Data><Data Name='SourceIp'>192.0.2.1</Data><Data Name="Empty"></Data>
            <Data Name="DestinationPort">443</Data><Data>none</Data></EventData></Event>
            "#;
        check(&EVENT, text, &["1=Microsoft-Windows-Sysmon", "0=3", "4=host.example", "2=192.0.2.1", "3=443"]);
        let one = format!("Sysmon[7]: {}", text.replace('\n', "#012"));
        check(&EVENT, one.trim(), &["1=Microsoft-Windows-Sysmon", "0=3", "4=host.example", "2=192.0.2.1", "3=443"]);
    }

    #[test]
    fn paths_start_anywhere_and_go_down_one_by_one() {
        check(
            &["a/b", "b", "r/a/b", "b/c@x"],
            "<r><a><b>1<c x='2'/></b></a><b>3</b></r>",
            &["0=1", "1=1", "2=1", "3=2", "1=3"],
        );
        check(&["a/b"], "<r><a><x><b>1</b></x></a><a><a><b>2</b></a></a></r>", &["0=2"]);
        check(&["a@x", "a"], "<a x='1'>2</a>", &["0=1", "1=2"]);
        check(
            &["d[k]", "d", "d[k]@t", "d[k]/e"],
            "<r><d Name='k' t='1'>2<e>3</e></d><d>4</d></r>",
            &["2=1", "0=2", "1=2", "3=3", "1=4"],
        );
        check(&["a"], "<n:r><n:a>1</n:a><A>2</A></n:r>", &["0=1"]);
    }

    #[test]
    fn texts_of_every_kind() {
        check(&["a"], "<a>x &lt;b&gt; &#65;</a>", &["0=x <b> A"]);
        check(&["a"], "<a><![CDATA[x &lt; <b>]]></a>", &["0=x &lt; <b>"]);
        check(&["a"], "<a> \r\n <b/> x <!-- y --> z </a>", &["0=x"]);
        check(&["a", "b"], "<a><b>1</b>2</a>", &["1=1", "0=2"]);
        check(&["a"], "<r><a/><a></a><a > </a ><a x=\"/>\">1</a></r>", &["0=1"]);
        check(&["a"], "<r><a>1</a><a>2</a></r>", &["0=1", "0=2"]);
        check(&["a"], "<!DOCTYPE r [<!ENTITY x \"<a>9</a>\">]><r><a>&x;</a></r>", &["0=&x;"]);
        check(&["a@x", "a@y", "a@z"], "<a x = \"it's\" y='\"&amp;>' z=bare q>1</a>", &["0=it's", "1=\"&>", "2=bare"]);
    }

    #[test]
    fn tags_that_do_not_match_are_put_up_with() {
        check(&["a", "b"], "<r><a>1<x></a></y><b>2</b></r>", &["0=1", "1=2"]);
        check(&["a"], "<r>1 < 2 <a>1</a></r>", &["0=1"]);
        let deep = format!("<r>{}<a>no</a>{}<a>1</a></r>", "<x>".repeat(40), "</x>".repeat(40));
        check(&["a"], &deep, &["0=1"]);
    }

    #[test]
    fn says_how_a_text_ends() {
        for text in ["", " ", "no", "<", "a < b", "<134>", "<?xml?>", "<!-- <a>", "</a>", "<!DOCTYPE"] {
            assert_eq!(found(&["a"], text.as_bytes()).1, Ending::Absent, "{text}");
        }
        for text in [
            "<a",
            "<a>",
            "<a x",
            "<a x=",
            "<a x='",
            "<a>1",
            "<a>1</a",
            "<a>1</a><b>",
            "<r><a>1",
            "<r",
            "<r x='",
            "<a><!--",
            "<a><![CDATA[x",
        ] {
            let (list, ending) = found(&["a", "r/a"], text.as_bytes());
            assert_eq!(ending, Ending::Broken, "{text}");
            assert!(list.is_empty() || text.starts_with("<a>1</a"), "{text}");
        }
        assert_eq!(found(&["a"], b"<r/>"), (vec![], Ending::Whole));
        let mut seen = 0;
        let ending = Paths::compile(&["a"]).unwrap().read(b"<r><a>1</a><a>2</a></r>", |_, _| {
            seen += 1;
            ControlFlow::Break(())
        });
        assert_eq!((seen, ending), (1, Ending::Stopped));
    }

    #[test]
    fn nobody_smuggles_a_value() {
        for text in [
            "<e><u>x&lt;ip&gt;203.0.113.9</u><ip>192.0.2.1</ip></e>",
            "<e><u><![CDATA[</u><ip>203.0.113.9</ip>]]></u><ip>192.0.2.1</ip></e>",
            "<e><u n=\"'><ip>203.0.113.9</ip>\"/><ip>192.0.2.1</ip></e>",
            "<e><!-- <ip>203.0.113.9</ip> --><ip>192.0.2.1</ip></e>",
            "<e><?x <ip>203.0.113.9</ip>?><ip>192.0.2.1</ip></e>",
        ] {
            check(&["ip"], text, &["0=192.0.2.1"]);
        }
    }

    #[test]
    fn says_where_a_path_is_wrong() {
        let deep = "a/".repeat(DEPTH) + "a";
        let cases = [
            ("", 0, "must not be empty"),
            ("/a", 0, "must not be empty"),
            ("a//b", 2, "must not be empty"),
            ("a/", 2, "must not be empty"),
            ("@a", 0, "must not be empty"),
            ("a[", 1, "never closed"),
            ("a[]", 2, "must not be empty"),
            ("a[b]c", 4, "belongs here"),
            ("a]", 1, "belongs here"),
            ("a@", 2, "ends with"),
            ("a@b/c", 2, "ends with"),
            (&deep, 65, "at most 32"),
        ];
        for (path, position, reason) in cases {
            let error = Paths::compile(&["ok", path]).map(|_| ()).unwrap_err();
            assert_eq!((error.path.as_str(), error.position), (path, position), "{error}");
            assert!(error.reason.contains(reason), "{error}");
        }
    }

    /// Whatever the text: as many steps as it has bytes, times a small factor.
    #[test]
    fn hostile_texts_take_steps_in_proportion() {
        let paths = Paths::compile(&["a", "a/a", "a[k]", "a/a/a@x", "b@x"]).unwrap();
        for piece in [
            "<",
            ">",
            "<a>",
            "</a>",
            "<a ",
            "<a x='",
            "<a Name='k' x='1'>",
            "<a/>",
            "<!--",
            "<!-- -->",
            "<![CDATA[",
            "<![CDATA[]]>",
            "<!",
            "<![",
            "<?",
            "x=",
            "/",
            "'",
            "\"",
            "&",
            "<b>1</b>",
            "</",
            " ",
            "]",
        ] {
            for start in ["", "<a>", "<a ", "<b x='", "<a></b>", "<!DOCTYPE x [", "<a><![CDATA["] {
                let text = [start, &piece.repeat(64 * 1024 / piece.len())].concat();
                let mut walk = Walk::new(&paths.nodes, text.as_bytes());
                let mut calls = 0;
                let _ = walk.run(&mut |_, _| {
                    calls += 1;
                    ControlFlow::Continue(())
                });
                assert!(walk.steps <= 6 * text.len() + 8, "{start} {piece}: {} steps", walk.steps);
                assert!(calls <= text.len(), "{start} {piece}: {calls} calls");
            }
        }
    }
}
