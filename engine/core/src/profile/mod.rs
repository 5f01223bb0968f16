//! Profiles at work: a message's content goes in, a session, an event or nothing comes out.
//!
//! A [`spec::Profile`] is what the TOML says. [`Profiles::new`] makes the working form of it for a set of wanted fields:
//! inputs that no wanted field needs are not even looked for. The working form for all fields serves people (`parse`),
//! a lean one serves the counters; a test holds that both give the same values.

pub mod detect;
mod literals;
pub mod spec;
pub mod steps;
pub mod words;

use crate::header::Header;
use crate::session::{Field, FieldSet, Session, Value};
use crate::value::json::Found;
use crate::value::template::{Shared, Template};
use crate::value::{Ending, Form, Held, Marks, Raw, cef, csv, json, kv, leef, trim_end, xml};
use detect::Detector;
use spec::ReaderKind;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use steps::Steps;
use words::Words;

/// Most inputs (keys, columns, holes) that one profile may name: so many places are cleared for each message.
pub const MAX_INPUTS: usize = 192;

/// Most sessions of one message: an Azure flow log holds some hundreds, and 64 KiB hold no more than this of any.
pub const MAX_ITEMS: usize = 4096;

/// Longest value, in bytes, that items may share: it is worked on once per item, so a longer one would make the work grow
/// with the square of the message. Azure's resource ids, the longest there are, have some 300 bytes.
pub const SHARED_BYTES: usize = 1024;

/// What is read of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Fields whose values are needed.
    pub fields: FieldSet,
    /// Whether somebody asks if the device stopped the session.
    pub blocked: bool,
}

impl Wanted {
    /// Everything.
    pub const ALL: Self = Self { fields: FieldSet::ALL, blocked: true };
}

/// What became of a message's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// A session was read.
    Session,
    /// The message is understood, but tells of no session.
    Event,
    /// The profile knows the message, but its text is not what the profile says.
    Unparsed,
}

/// Room for the raw values of one message after the other.
pub struct Scratch<'m> {
    raws: [Option<Raw<'m>>; MAX_INPUTS],
    holes: [Option<Held<'m>>; MAX_INPUTS],
    form: Form,
}

impl Default for Scratch<'_> {
    fn default() -> Self {
        Self { raws: [None; MAX_INPUTS], holes: [None; MAX_INPUTS], form: Form::Strict }
    }
}

impl<'m> Scratch<'m> {
    /// Whether the last message kept its format, or was read with recovery.
    pub fn form(&self) -> Form {
        self.form
    }

    /// As many places as the template has holes: a template clears all that it is given.
    fn holes_of(&mut self, template: &Template) -> &mut [Option<Held<'m>>] {
        self.holes.get_mut(..template.holes().len()).unwrap_or_default()
    }
}

/// All profiles, ready for a set of wanted fields.
pub struct Profiles {
    detector: Detector,
    list: Vec<Profile>,
    wanted: Wanted,
}

impl Profiles {
    /// The working form of the profiles for the wanted fields.
    pub fn new(specs: &[spec::Profile], wanted: Wanted) -> Self {
        let signs = specs.iter().enumerate().flat_map(|(number, p)| p.signs.iter().map(move |s| (number, s.clone())));
        Self {
            detector: Detector::new(signs),
            list: specs.iter().map(|spec| Profile::new(spec, wanted)).collect(),
            wanted,
        }
    }

    /// The profile that reads a message, and the text that it reads: the content, or what stands further in.
    pub fn detect<'m>(&self, header: &Header<'m>) -> Option<(&Profile, &'m [u8])> {
        let found = |text: &'m [u8]| Some((self.list.get(self.detector.detect(text)?)?, text));
        found(header.content).or_else(|| found(header.inner_content()?))
    }

    /// The number of the profile of that name.
    pub fn named(&self, name: &str) -> Option<usize> {
        self.list.iter().position(|profile| profile.name == name)
    }

    /// The profile of that number.
    pub fn get(&self, number: usize) -> Option<&Profile> {
        self.list.get(number)
    }

    /// The fields that are read.
    pub fn wanted(&self) -> FieldSet {
        self.wanted.fields
    }
}

/// One product's working profile.
pub struct Profile {
    /// Its name.
    pub name: String,
    /// `EventVendor`.
    pub vendor: String,
    /// `EventProduct`.
    pub product: String,
    inputs: usize,
    /// What stands before the reader's text, and what becomes of each of its holes.
    prefix: Option<(Template, Vec<Place>)>,
    reader: Reader,
    /// The input that holds the message id.
    id: Option<usize>,
    ids: Words,
    /// The message of each word of `ids`.
    id_messages: Vec<usize>,
    /// The message for any other id.
    other: Option<usize>,
    messages: Vec<Message>,
}

enum Reader {
    Kv {
        keys: Words,
    },
    /// Pairs with marks of the profile's own.
    Marked {
        keys: Words,
        marks: Marks,
    },
    Csv {
        separator: u8,
        /// Numbers of columns, ascending.
        columns: Vec<usize>,
        column_inputs: Vec<usize>,
    },
    Cef {
        keys: Words,
        key_inputs: Vec<usize>,
        header: Vec<(HeaderPart, usize)>,
    },
    Leef {
        keys: Words,
        key_inputs: Vec<usize>,
        header: Vec<(HeaderPart, usize)>,
    },
    Json {
        paths: json::Paths,
        path_inputs: Vec<usize>,
        has_items: bool,
    },
    Xml {
        paths: xml::Paths,
        path_inputs: Vec<usize>,
    },
    /// The message's own templates do it.
    Template,
}

#[derive(Clone, Copy)]
enum HeaderPart {
    Vendor,
    Product,
    DeviceVersion,
    SignatureId,
    Name,
    Severity,
}

/// Names by which profiles ask for the parts of a CEF header.
const CEF_HEADER: &[(&str, HeaderPart)] = &[
    ("DeviceVendor", HeaderPart::Vendor),
    ("DeviceProduct", HeaderPart::Product),
    ("DeviceVersion", HeaderPart::DeviceVersion),
    ("SignatureId", HeaderPart::SignatureId),
    ("Name", HeaderPart::Name),
    ("Severity", HeaderPart::Severity),
];

/// The same of a LEEF header, which has neither name nor severity: there both are keys like any other.
const LEEF_HEADER: &[(&str, HeaderPart)] = &[
    ("DeviceVendor", HeaderPart::Vendor),
    ("DeviceProduct", HeaderPart::Product),
    ("DeviceVersion", HeaderPart::DeviceVersion),
    ("SignatureId", HeaderPart::SignatureId),
];

struct Message {
    session: bool,
    variants: Vec<Variant>,
    steps: Steps,
}

/// Where what a hole holds belongs.
#[derive(Clone, Copy)]
struct Place {
    /// Number of the hole.
    hole: usize,
    input: Option<usize>,
    /// The field that it is the whole value of: an address that the template has read need not be read again.
    field: Option<Field>,
}

impl Place {
    fn is_asked_for(&self) -> bool {
        self.input.is_some() || self.field.is_some()
    }
}

/// One of the ways in which a message may be written.
struct Variant {
    template: Template,
    /// What becomes of the holes that are asked for.
    places: Vec<Place>,
    /// What it starts with in common with the variant before, and with the one behind.
    like_before: Shared,
    like_next: Shared,
}

impl Profile {
    fn new(spec: &spec::Profile, wanted: Wanted) -> Self {
        let wanted = steps::needed(spec, wanted);
        let mut inputs: Vec<String> = Vec::new();
        let messages: Vec<Message> = spec.messages.iter().map(|m| Message::new(spec, m, wanted, &mut inputs)).collect();
        let mut ids: Vec<(&str, usize)> = Vec::new();
        let mut other = None;
        for (number, message) in spec.messages.iter().enumerate() {
            ids.extend(message.ids.iter().map(|id| (id.as_str(), number)));
            if message.ids.is_empty() {
                other = Some(number);
            }
        }
        let id = spec.id.as_ref().filter(|_| !ids.is_empty()).map(|name| input(&mut inputs, name));
        let place = |name: &String| inputs.iter().position(|known| known == name);
        let prefix = spec.prefix.clone().map(|prefix| {
            let places = prefix.holes().iter().enumerate();
            let places = places.map(|(hole, name)| Place { hole, input: place(name), field: None });
            let places = places.filter(Place::is_asked_for).collect();
            (prefix, places)
        });
        let reader = Reader::new(spec, &inputs);
        Self {
            name: spec.name.clone(),
            vendor: spec.vendor.clone(),
            product: spec.product.clone(),
            inputs: inputs.len(),
            prefix,
            reader,
            id,
            ids: Words::new(ids.iter().map(|(id, _)| *id)),
            id_messages: ids.into_iter().map(|(_, message)| message).collect(),
            other,
            messages,
        }
    }

    /// Reads a content and hands each session to `emit`; also an event names its device in `session`.
    ///
    /// The session is empty before; between two sessions of one message it is emptied here.
    pub fn read<'m>(
        &'m self,
        content: &'m [u8],
        scratch: &mut Scratch<'m>,
        session: &mut Session<'m>,
        emit: &mut dyn FnMut(&mut Session<'m>),
    ) -> Reading {
        if let Some(raws) = scratch.raws.get_mut(..self.inputs) {
            raws.fill(None);
        }
        scratch.form = Form::Strict;
        let mut body = content;
        if let Some((prefix, places)) = &self.prefix {
            let Some(rest) = prefix.read_prefix(content, scratch.holes_of(prefix)) else { return Reading::Unparsed };
            take_holes(places, scratch, session);
            body = rest;
        }
        if let Reader::Json { paths, path_inputs, has_items: true } = &self.reader {
            return self.read_items(body, paths, path_inputs, scratch, session, emit);
        }
        if !self.reader.read(body, self.inputs, scratch) {
            return Reading::Unparsed;
        }
        self.finish(body, scratch, session, emit)
    }

    /// What the inputs of one message, or of one item of it, make.
    fn finish<'m>(
        &'m self,
        body: &'m [u8],
        scratch: &mut Scratch<'m>,
        session: &mut Session<'m>,
        emit: &mut dyn FnMut(&mut Session<'m>),
    ) -> Reading {
        let Some(message) = self.choose(scratch) else { return Reading::Unparsed };
        if message.session && !message.variants.is_empty() && !message.read_variants(body, scratch, session) {
            return Reading::Unparsed;
        }
        message.steps.run(&scratch.raws, session);
        let has_end = session.address(Field::SrcIpAddr).is_some() || session.address(Field::DstIpAddr).is_some();
        if message.session && session.is_session && has_end {
            emit(session);
            Reading::Session
        } else {
            Reading::Event
        }
    }

    /// Each item of a JSON text makes a session of its own; values outside of it belong to all that follow, unless they
    /// are longer than [`SHARED_BYTES`]: those are left out.
    fn read_items<'m>(
        &'m self,
        body: &'m [u8],
        paths: &'m json::Paths,
        path_inputs: &[usize],
        scratch: &mut Scratch<'m>,
        session: &mut Session<'m>,
        emit: &mut dyn FnMut(&mut Session<'m>),
    ) -> Reading {
        let mut reading = Reading::Event;
        let mut items = 0_usize;
        let ending = paths.read(body, |found| {
            match found {
                Found::Value(path, raw) => {
                    if let Some(place) = path_inputs.get(path).and_then(|input| scratch.raws.get_mut(*input)) {
                        let fits = raw.bytes.len() <= SHARED_BYTES || !paths.is_shared(path);
                        *place = fits.then_some(raw);
                    }
                }
                Found::Element(level) => {
                    for (path, input) in path_inputs.iter().enumerate() {
                        if paths.scope(path) > level
                            && let Some(place) = scratch.raws.get_mut(*input)
                        {
                            *place = None;
                        }
                    }
                }
                Found::Item => {
                    items = items.saturating_add(1);
                    if items > MAX_ITEMS {
                        return ControlFlow::Break(());
                    }
                    session.clear();
                    if self.finish(body, scratch, session, emit) == Reading::Session {
                        reading = Reading::Session;
                    }
                }
            }
            ControlFlow::Continue(())
        });
        if ending == Ending::Absent { Reading::Unparsed } else { reading }
    }

    fn choose(&self, scratch: &Scratch<'_>) -> Option<&Message> {
        let chosen = self.id.and_then(|input| {
            let raw = scratch.raws.get(input).copied().flatten()?;
            self.id_messages.get(self.ids.find(raw.bytes.trim_ascii())?).copied()
        });
        self.messages.get(chosen.or(self.other)?)
    }
}

/// The number of an input, added to the list where it is new.
fn input(inputs: &mut Vec<String>, name: &str) -> usize {
    inputs.iter().position(|known| known == name).unwrap_or_else(|| {
        inputs.push(name.to_owned());
        inputs.len().saturating_sub(1)
    })
}

impl Reader {
    fn new(spec: &spec::Profile, inputs: &[String]) -> Self {
        let held = |name: &String| spec.prefix.iter().any(|prefix| prefix.holes().contains(name));
        let of_reader = || inputs.iter().enumerate().filter(|(_, name)| !held(name));
        let keys = |header: &[(&str, HeaderPart)]| -> (Vec<&str>, Vec<usize>) {
            let is_key = |name: &String| header.iter().all(|(known, _)| known != name);
            of_reader().filter(|(_, name)| is_key(name)).map(|(number, name)| (name.as_str(), number)).unzip()
        };
        let parts = |header: &[(&str, HeaderPart)]| {
            let place = |name: &str| inputs.iter().position(|known| known == name);
            header.iter().filter_map(|(name, part)| Some((*part, place(name)?))).collect()
        };
        let paths = || -> (Vec<&str>, Vec<usize>) { of_reader().map(|(number, name)| (name.as_str(), number)).unzip() };
        match spec.reader {
            ReaderKind::Kv => {
                let keys = Words::new(inputs.iter().map(String::as_str));
                match spec.marks.clone() {
                    None => Self::Kv { keys },
                    Some(marks) => Self::Marked { keys, marks },
                }
            }
            ReaderKind::Csv => {
                let column = |(number, name): (usize, &String)| Some((name.parse().ok().filter(|&c| c > 0)?, number));
                let columns: BTreeMap<usize, usize> = of_reader().filter_map(column).collect();
                let (columns, column_inputs) = columns.into_iter().unzip();
                Self::Csv { separator: spec.separator, columns, column_inputs }
            }
            ReaderKind::Cef => {
                let (keys, key_inputs) = keys(CEF_HEADER);
                Self::Cef { keys: Words::new(keys), key_inputs, header: parts(CEF_HEADER) }
            }
            ReaderKind::Leef => {
                let (keys, key_inputs) = keys(LEEF_HEADER);
                Self::Leef { keys: Words::new(keys), key_inputs, header: parts(LEEF_HEADER) }
            }
            ReaderKind::Json => {
                let (names, path_inputs) = paths();
                // The paths were compiled when the profile was checked; a wrong one can't come this far.
                match json::Paths::compile(&names, spec.each.as_deref()) {
                    Ok(paths) => Self::Json { paths, path_inputs, has_items: spec.each.is_some() },
                    Err(_) => Self::Template,
                }
            }
            ReaderKind::Xml => {
                let (names, path_inputs) = paths();
                match xml::Paths::compile(&names) {
                    Ok(paths) => Self::Xml { paths, path_inputs },
                    Err(_) => Self::Template,
                }
            }
            ReaderKind::Template => Self::Template,
        }
    }

    /// Reads the inputs; false: not what the profile says at all.
    fn read<'m>(&'m self, content: &'m [u8], inputs: usize, scratch: &mut Scratch<'m>) -> bool {
        let mut missing = inputs;
        // The first of two equal keys wins, so that a reader may stop when it has all.
        let mut keep = |raws: &mut [Option<Raw<'m>>], input: usize, raw: Raw<'m>| {
            if let Some(place @ None) = raws.get_mut(input) {
                *place = Some(raw);
                missing = missing.saturating_sub(1);
            }
            if missing == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        match self {
            Self::Kv { keys } => {
                kv::read(content, |key| keys.find(key), |input, raw| keep(&mut scratch.raws, input, raw));
            }
            Self::Marked { keys, marks } => {
                marks.read(content, |key, raw| match keys.find(key) {
                    Some(input) => keep(&mut scratch.raws, input, raw),
                    None => ControlFlow::Continue(()),
                });
            }
            Self::Csv { separator, columns, column_inputs } => {
                csv::read(content, *separator, columns, |place, raw| match column_inputs.get(place) {
                    Some(input) => keep(&mut scratch.raws, *input, raw),
                    None => ControlFlow::Continue(()),
                });
            }
            Self::Cef { keys, key_inputs, header } => {
                let Some((parts, extension, form)) = cef::read_header(content) else { return false };
                for (part, input) in header {
                    let raw = match part {
                        HeaderPart::Vendor => parts.vendor,
                        HeaderPart::Product => parts.product,
                        HeaderPart::DeviceVersion => parts.device_version,
                        HeaderPart::SignatureId => parts.signature_id,
                        HeaderPart::Name => parts.name,
                        HeaderPart::Severity => parts.severity,
                    };
                    let _ = keep(&mut scratch.raws, *input, raw);
                }
                let read = cef::extension(extension, |key, raw| match keys.find(key).and_then(|n| key_inputs.get(n)) {
                    Some(input) => keep(&mut scratch.raws, *input, raw),
                    None => ControlFlow::Continue(()),
                });
                scratch.form = if form == Form::Strict { read } else { form };
            }
            Self::Leef { keys, key_inputs, header } => {
                let Some((parts, attributes, delimiter)) = leef::header(content) else { return false };
                for (part, input) in header {
                    let raw = match part {
                        HeaderPart::Vendor => parts.vendor,
                        HeaderPart::Product => parts.product,
                        HeaderPart::DeviceVersion => parts.device_version,
                        HeaderPart::SignatureId => parts.event_id,
                        // `LEEF_HEADER` has none of these.
                        HeaderPart::Name | HeaderPart::Severity => continue,
                    };
                    let _ = keep(&mut scratch.raws, *input, raw);
                }
                leef::attributes(attributes, delimiter, |key, raw| {
                    match keys.find(key).and_then(|n| key_inputs.get(n)) {
                        Some(input) => keep(&mut scratch.raws, *input, raw),
                        None => ControlFlow::Continue(()),
                    }
                });
                scratch.form = parts.form;
            }
            Self::Json { paths, path_inputs, .. } => {
                let ending = paths.read(content, |found| match found {
                    Found::Value(path, raw) => match path_inputs.get(path) {
                        Some(input) => keep(&mut scratch.raws, *input, raw),
                        None => ControlFlow::Continue(()),
                    },
                    Found::Element(_) | Found::Item => ControlFlow::Continue(()),
                });
                return ending != Ending::Absent;
            }
            Self::Xml { paths, path_inputs } => {
                let ending = paths.read(content, |path, raw| match path_inputs.get(path) {
                    Some(input) => keep(&mut scratch.raws, *input, raw),
                    None => ControlFlow::Continue(()),
                });
                return ending != Ending::Absent;
            }
            Self::Template => {}
        }
        true
    }
}

/// Moves what a template found to the inputs that are asked for, and addresses to their fields.
fn take_holes<'m>(places: &[Place], scratch: &mut Scratch<'m>, session: &mut Session<'m>) {
    let Scratch { raws, holes, .. } = scratch;
    for place in places {
        let Some(Some(held)) = holes.get(place.hole) else { continue };
        if let (Some(field), Some(address)) = (place.field, held.address) {
            session.set(field, Value::Address(address));
        }
        if let Some(raw) = place.input.and_then(|input| raws.get_mut(input)) {
            *raw = Some(crate::session::plain(held.bytes));
        }
    }
}

/// Where a variant starts to read.
enum Start<'m> {
    /// At the start.
    Anew,
    /// Behind what it has in common with the one before.
    Behind(&'m [u8]),
    /// The one before did not fit in what both start with.
    Failed,
}

impl Message {
    fn new(spec: &spec::Profile, message: &spec::Message, wanted: Wanted, inputs: &mut Vec<String>) -> Self {
        let steps = Steps::new(spec, message, wanted, inputs);
        let place = |(hole, name): (usize, &String)| Place {
            hole,
            input: inputs.iter().position(|known| known == name),
            field: Field::named(name).filter(|field| steps.held().contains(*field)),
        };
        let templates = &message.templates;
        let shared = |one: usize, other: usize| {
            let (one, other) = (templates.get(one), templates.get(other));
            one.zip(other).map_or_else(Shared::default, |(one, other)| one.shared_with(other))
        };
        let variants = templates.iter().enumerate().map(|(number, template)| Variant {
            template: template.clone(),
            places: template.holes().iter().enumerate().map(place).filter(Place::is_asked_for).collect(),
            like_before: number.checked_sub(1).map_or_else(Shared::default, |before| shared(number, before)),
            like_next: shared(number, number.saturating_add(1)),
        });
        Self { session: message.session, variants: variants.collect(), steps }
    }

    /// Reads the first variant that fits. They mostly differ at their ends: what a variant has in common with the one
    /// before is read once.
    fn read_variants<'m>(&'m self, body: &'m [u8], scratch: &mut Scratch<'m>, session: &mut Session<'m>) -> bool {
        let text = trim_end(body);
        let mut start = Start::Anew;
        for variant in &self.variants {
            let (from, rest) = match start {
                Start::Anew => (Shared::default(), text),
                Start::Behind(rest) => (variant.like_before, rest),
                Start::Failed => {
                    start = Start::Anew;
                    continue;
                }
            };
            let holes = scratch.holes_of(&variant.template);
            holes.get_mut(from.holes..).unwrap_or_default().fill(None);
            let (fits, marked) = variant.template.read_on(from, variant.like_next, rest, holes);
            if fits {
                take_holes(&variant.places, scratch, session);
                return true;
            }
            start = match marked {
                _ if variant.like_next.steps < from.steps => Start::Anew,
                Some(rest) => Start::Behind(rest),
                None => Start::Failed,
            };
        }
        false
    }
}
