//! Profiles at work: a message's content goes in, a session, an event or nothing comes out.
//!
//! A [`spec::Profile`] is what the TOML says. [`Profiles::new`] makes the working form of it for a set of wanted fields:
//! inputs that no wanted field needs are not even looked for. The working form for all fields serves people (`parse`),
//! a lean one serves the counters; a test holds that both give the same values.

pub mod detect;
pub mod spec;
pub mod steps;
pub mod words;

use crate::session::{Field, FieldSet, Session};
use crate::value::ip::Networks;
use crate::value::template::Template;
use crate::value::{Raw, cef, csv, kv};
use detect::Detector;
use spec::{ReaderKind, Source};
use std::ops::ControlFlow;
use steps::Steps;
use words::Words;

/// Most inputs (keys, columns, holes) that one profile may name: so many places are cleared for each message.
pub const MAX_INPUTS: usize = 192;

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
    holes: [Option<&'m [u8]>; MAX_INPUTS],
}

impl Default for Scratch<'_> {
    fn default() -> Self {
        Self { raws: [None; MAX_INPUTS], holes: [None; MAX_INPUTS] }
    }
}

impl<'m> Scratch<'m> {
    /// As many places as the template has holes: a template clears all that it is given.
    fn holes_of(&mut self, template: &Template) -> &mut [Option<&'m [u8]>] {
        self.holes.get_mut(..template.holes().len()).unwrap_or_default()
    }
}

/// All profiles, ready for a set of wanted fields.
pub struct Profiles {
    detector: Detector,
    list: Vec<Profile>,
    wanted: Wanted,
}

/// What a session needs besides its message.
pub struct Surroundings<'a> {
    /// The networks that count as inside.
    pub internal: &'a Networks,
    /// Largest `EventCount` that one record may claim.
    pub event_count: u64,
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

    /// The profile that reads this content.
    pub fn detect(&self, content: &[u8]) -> Option<&Profile> {
        self.list.get(self.detector.detect(content)?)
    }

    /// Reads a content with its profile; the session is empty before.
    pub fn read<'m>(
        &'m self,
        profile: &'m Profile,
        content: &'m [u8],
        scratch: &mut Scratch<'m>,
        session: &mut Session<'m>,
        surroundings: &Surroundings<'_>,
    ) -> Reading {
        let reading = profile.read(content, scratch, session, surroundings.internal);
        if reading != Reading::Session {
            return reading;
        }
        if !session.is_session
            || !(session.address(Field::SrcIpAddr).is_some() || session.address(Field::DstIpAddr).is_some())
        {
            return Reading::Event;
        }
        session.derive(self.wanted.fields, surroundings.internal, surroundings.event_count);
        Reading::Session
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
    Kv { keys: Words },
    Csv { separator: u8, columns: Vec<Option<usize>> },
    Cef { keys: Words, key_inputs: Vec<usize>, header: Vec<(HeaderPart, usize)> },
    Template { prefix: Option<Template>, holes: Vec<Option<usize>> },
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

/// Names by which profiles ask for the parts of a CEF header; no device uses them as extension keys.
const CEF_HEADER: &[(&str, HeaderPart)] = &[
    ("DeviceVendor", HeaderPart::Vendor),
    ("DeviceProduct", HeaderPart::Product),
    ("DeviceVersion", HeaderPart::DeviceVersion),
    ("SignatureId", HeaderPart::SignatureId),
    ("Name", HeaderPart::Name),
    ("Severity", HeaderPart::Severity),
];

struct Message {
    session: bool,
    templates: Vec<(Template, Vec<Option<usize>>)>,
    steps: Steps,
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
        let reader = Reader::new(spec, &inputs);
        Self {
            name: spec.name.clone(),
            vendor: spec.vendor.clone(),
            product: spec.product.clone(),
            inputs: inputs.len(),
            reader,
            id,
            ids: Words::new(ids.iter().map(|(id, _)| *id)),
            id_messages: ids.into_iter().map(|(_, message)| message).collect(),
            other,
            messages,
        }
    }

    fn read<'m>(
        &'m self,
        content: &'m [u8],
        scratch: &mut Scratch<'m>,
        session: &mut Session<'m>,
        internal: &Networks,
    ) -> Reading {
        if let Some(raws) = scratch.raws.get_mut(..self.inputs) {
            raws.fill(None);
        }
        let Some(body) = self.reader.read(content, self.inputs, scratch) else { return Reading::Unparsed };
        let Some(message) = self.choose(scratch) else { return Reading::Unparsed };
        if !message.session {
            return Reading::Event;
        }
        if !message.templates.is_empty() && !message.read_templates(body, scratch) {
            return Reading::Unparsed;
        }
        message.steps.run(&scratch.raws, session, internal);
        Reading::Session
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
        let place = |name: &str| inputs.iter().position(|known| known == name);
        match spec.reader {
            ReaderKind::Kv => Self::Kv { keys: Words::new(inputs.iter().map(String::as_str)) },
            ReaderKind::Csv => {
                let mut columns: Vec<Option<usize>> = Vec::new();
                for (number, name) in inputs.iter().enumerate() {
                    let column = name.parse::<usize>().unwrap_or(0);
                    columns.resize(columns.len().max(column.saturating_add(1)), None);
                    if let Some(slot) = columns.get_mut(column) {
                        *slot = Some(number);
                    }
                }
                Self::Csv { separator: spec.separator, columns }
            }
            ReaderKind::Cef => {
                let is_header = |name: &String| CEF_HEADER.iter().any(|(known, _)| known == name);
                let (keys, key_inputs): (Vec<&str>, Vec<usize>) = inputs
                    .iter()
                    .enumerate()
                    .filter(|(_, name)| !is_header(name))
                    .map(|(number, name)| (name.as_str(), number))
                    .unzip();
                let header = CEF_HEADER.iter().filter_map(|(name, part)| Some((*part, place(name)?))).collect();
                Self::Cef { keys: Words::new(keys), key_inputs, header }
            }
            ReaderKind::Template => {
                let holes = |prefix: &Template| prefix.holes().iter().map(|name| place(name)).collect();
                let prefix = spec.prefix.clone();
                Self::Template { holes: prefix.as_ref().map(holes).unwrap_or_default(), prefix }
            }
        }
    }

    /// Reads the inputs; returns what is left for the message's templates. None: not what the profile says at all.
    fn read<'m>(&'m self, content: &'m [u8], inputs: usize, scratch: &mut Scratch<'m>) -> Option<&'m [u8]> {
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
                kv::read(content, |key, raw| match keys.find(key) {
                    Some(input) => keep(&mut scratch.raws, input, raw),
                    None => ControlFlow::Continue(()),
                });
            }
            Self::Csv { separator, columns } => {
                csv::read(content, *separator, |column, raw| match columns.get(column) {
                    Some(Some(input)) => keep(&mut scratch.raws, *input, raw),
                    Some(None) => ControlFlow::Continue(()),
                    None => ControlFlow::Break(()),
                });
            }
            Self::Cef { keys, key_inputs, header } => {
                let (parts, extension, _) = cef::header(content)?;
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
                cef::extension(extension, |key, raw| match keys.find(key).and_then(|n| key_inputs.get(n)) {
                    Some(input) => keep(&mut scratch.raws, *input, raw),
                    None => ControlFlow::Continue(()),
                });
            }
            Self::Template { prefix, holes } => {
                let prefix = prefix.as_ref()?;
                let rest = prefix.read_prefix(content, scratch.holes_of(prefix))?;
                take_holes(holes, scratch);
                return Some(rest);
            }
        }
        Some(content)
    }
}

/// Moves what a template found to the inputs that are asked for.
fn take_holes(holes: &[Option<usize>], scratch: &mut Scratch<'_>) {
    for (hole, input) in scratch.holes.iter().zip(holes) {
        if let (Some(bytes), Some(place)) = (hole, input.and_then(|number| scratch.raws.get_mut(number))) {
            *place = Some(crate::session::plain(bytes));
        }
    }
}

impl Message {
    fn new(spec: &spec::Profile, message: &spec::Message, wanted: Wanted, inputs: &mut Vec<String>) -> Self {
        let steps = Steps::new(spec, message, wanted, inputs);
        let place = |name: &String| inputs.iter().position(|known| known == name);
        let templates = message
            .templates
            .iter()
            .map(|template| (template.clone(), template.holes().iter().map(place).collect()))
            .collect();
        Self { session: message.session, templates, steps }
    }

    fn read_templates<'m>(&'m self, body: &'m [u8], scratch: &mut Scratch<'m>) -> bool {
        for (template, holes) in &self.templates {
            if template.read(body, scratch.holes_of(template)) {
                take_holes(holes, scratch);
                return true;
            }
        }
        false
    }
}

/// The inputs that a map or a field of the profile names, of `message`.
fn source_input(source: &Source) -> Option<&str> {
    match source {
        Source::Input(name) => Some(name),
        Source::Field(_) => None,
    }
}
