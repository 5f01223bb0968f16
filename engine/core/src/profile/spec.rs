//! A profile as its TOML says it, checked.

use super::MAX_INPUTS;
use super::detect::Sign;
use crate::plan::{Problems, Table, kind_of};
use crate::session::{Case, Counts, Field, Kind, Orientation};
use crate::value::template::{self, Template};
use crate::value::{Marks, json, xml};
use serde_json::Value;

/// Which reader takes a product's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReaderKind {
    /// `key=value` pairs.
    Kv,
    /// Separated columns, named by number from 1.
    Csv,
    /// `ArcSight` Common Event Format.
    Cef,
    /// Log Event Extended Format (IBM).
    Leef,
    /// A JSON text; inputs are paths in it.
    Json,
    /// An XML text; inputs are paths in it.
    Xml,
    /// Text with holes.
    Template,
}

/// What a duration or a time span is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds, maybe with a fraction.
    Seconds,
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
    /// `h:mm:ss`.
    Clock,
}

/// A field and where its text comes from.
#[derive(Clone, Debug)]
pub struct Assign {
    /// The field that is set.
    pub field: Field,
    /// Inputs by name; the first that is there is taken.
    pub from: Vec<String>,
    /// Unit that is converted to ms.
    pub unit: Option<Unit>,
    /// Texts that mean "not there".
    pub none: Vec<String>,
    /// The value starts behind this text (no such text: no value).
    pub after: String,
    /// The value ends before this text.
    pub before: String,
    /// The column of the value that is meant, from 1, and what separates columns.
    pub column: Option<(usize, u8)>,
    /// Letter case.
    pub case: Case,
}

/// A constant that a profile sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Constant {
    /// A word or a text.
    Word(Box<str>),
    /// A number.
    Number(u64),
}

/// What a map does for one of a vendor's words.
#[derive(Clone, Debug, Default)]
pub struct Effect {
    /// Fields that are set.
    pub set: Vec<(Field, Constant)>,
    /// Exchange the two ends.
    pub swap: bool,
    /// Whether the device stopped the session.
    pub blocked: Option<bool>,
    /// When the record counts.
    pub counts: Option<Counts>,
    /// False: an event without a session.
    pub session: Option<bool>,
}

/// Where a map's word comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An input of the reader.
    Input(String),
    /// A field that was set before.
    Field(Field),
}

/// A vendor's words and what each means.
#[derive(Clone, Debug)]
pub struct Map {
    /// Where the word comes from.
    pub from: Source,
    /// The map is run only when each of these fields has one of these values; the empty one means that it has none.
    pub when: Vec<(Field, Vec<String>)>,
    /// The map is skipped when one of these fields has one of these values.
    pub unless: Vec<(Field, Vec<String>)>,
    /// Word and effect; the words are compared without case.
    pub to: Vec<(String, Effect)>,
    /// Any other word.
    pub other: Option<Effect>,
    /// No word, or an empty one.
    pub absent: Option<Effect>,
}

/// One kind of message of a product.
#[derive(Clone, Debug)]
pub struct Message {
    /// Ids that choose it, compared without case; empty: any other.
    pub ids: Vec<String>,
    /// The message with holes, variants in order; only for the template reader.
    pub templates: Vec<Template>,
    /// False: understood, but no session.
    pub session: bool,
    /// When its record counts.
    pub counts: Counts,
    /// How the ends of its session are found.
    pub orientation: Orientation,
    /// Fields of this message alone; they win over the profile's.
    pub fields: Vec<Assign>,
    /// Constants of this message.
    pub set: Vec<(Field, Constant)>,
    /// Maps of this message, after the profile's.
    pub maps: Vec<Map>,
}

/// A product's profile.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its name, that of its file.
    pub name: String,
    /// `EventVendor`.
    pub vendor: String,
    /// `EventProduct`.
    pub product: String,
    /// What its messages start with or hold.
    pub signs: Vec<Sign>,
    /// The reader of its fields.
    pub reader: ReaderKind,
    /// Column separator of the CSV reader.
    pub separator: u8,
    /// Marks of the key and value reader, where they are not `=` and blanks or commas.
    pub marks: Option<Marks>,
    /// What stands before the text that the reader takes; its holes are inputs, too.
    pub prefix: Option<Template>,
    /// Path of the array whose elements are sessions; only for the JSON reader.
    pub each: Option<String>,
    /// The input that holds the message id.
    pub id: Option<String>,
    /// Fields of every message.
    pub fields: Vec<Assign>,
    /// Constants of every message.
    pub set: Vec<(Field, Constant)>,
    /// Maps of every message.
    pub maps: Vec<Map>,
    /// Its kinds of message.
    pub messages: Vec<Message>,
}

impl Profile {
    /// Reads a profile from its JSON; None and problems where something is wrong.
    pub fn read(value: &Value, path: &str, problems: &mut Problems) -> Option<Self> {
        let before = problems.0.len();
        let mut table = Table::of(value, path, problems)?;
        let name = table.required_text("name", problems).to_owned();
        table.required_text("title", problems);
        table.texts("source", false, problems);
        let vendor = table.required_text("EventVendor", problems).to_owned();
        let product = table.required_text("EventProduct", problems).to_owned();
        let reader = match table.required_text("reader", problems) {
            "kv" | "" => ReaderKind::Kv,
            "csv" => ReaderKind::Csv,
            "cef" => ReaderKind::Cef,
            "leef" => ReaderKind::Leef,
            "json" => ReaderKind::Json,
            "xml" => ReaderKind::Xml,
            "template" => ReaderKind::Template,
            other => {
                problems.add(
                    table.path("reader"),
                    format!("unknown reader {other:?}; known: kv, csv, cef, leef, json, xml, template"),
                );
                ReaderKind::Kv
            }
        };
        let (separator, marks) = separators(&mut table, reader, problems);
        let fallback = table.flag("fallback", problems).unwrap_or(false);
        let mut signs: Vec<Sign> =
            table.list("detect", problems).into_iter().filter_map(|(item, path)| sign(item, path, problems)).collect();
        for sign in &mut signs {
            sign.fallback = fallback;
        }
        if signs.is_empty() {
            problems.add(table.path("detect"), "at least one sign that tells the product's messages is needed");
        }
        let prefix_path = table.path("prefix");
        let prefix = table.text("prefix", problems).and_then(|text| compile(text, &prefix_path, problems));
        let each = table.text("each", problems).map(ToOwned::to_owned);
        let id = table.texts("id", true, problems).into_iter().next();
        let fields = table.get("fields").map_or_else(Vec::new, |v| assigns(v, table.path("fields"), problems));
        let set = table.get("set").map_or_else(Vec::new, |v| constants(v, table.path("set"), problems));
        let maps = maps(&mut table, problems);
        let mut messages: Vec<Message> = table
            .list("message", problems)
            .into_iter()
            .filter_map(|(item, path)| Message::read(item, path, reader, problems))
            .collect();
        if messages.is_empty() {
            messages.push(Message::any());
        }
        let profile_path = table.own_path().to_owned();
        table.finish(problems);

        let profile = Self {
            name,
            vendor,
            product,
            signs,
            reader,
            separator,
            marks,
            prefix,
            each,
            id,
            fields,
            set,
            maps,
            messages,
        };
        profile.check(&profile_path, problems);
        (problems.0.len() == before).then_some(profile)
    }

    fn check(&self, path: &str, problems: &mut Problems) {
        let maps = self.maps.iter().chain(self.messages.iter().flat_map(|message| &message.maps));
        let asked = self.fields.iter().chain(self.messages.iter().flat_map(|message| &message.fields));
        let mut names: Vec<&String> = asked.flat_map(|assign| &assign.from).chain(&self.id).collect();
        names.extend(maps.filter_map(|map| if let Source::Input(name) = &map.from { Some(name) } else { None }));
        let templates = self.prefix.iter().chain(self.messages.iter().flat_map(|message| &message.templates));
        names.extend(templates.flat_map(Template::holes));
        names.sort_unstable();
        names.dedup();
        if names.len() > MAX_INPUTS {
            problems.add(path, format!("{} names of keys, columns and holes, at most {MAX_INPUTS}", names.len()));
        }
        if self.id.is_none() && self.messages.len() > 1 {
            problems.add(path, "several messages need an id that chooses among them");
        }
        if self.reader == ReaderKind::Template && self.prefix.is_none() {
            problems.add(path, "the template reader needs a prefix");
        }
        if self.reader != ReaderKind::Json && self.each.is_some() {
            problems.add(path, "each belongs to the json reader");
        }
        let held = |name: &String| self.prefix.iter().any(|prefix| prefix.holes().contains(name));
        let paths: Vec<&str> = self.inputs().chain(&self.id).filter(|name| !held(name)).map(String::as_str).collect();
        let wrong = match self.reader {
            ReaderKind::Json => json::Paths::compile(&paths, self.each.as_deref()).err(),
            ReaderKind::Xml => xml::Paths::compile(&paths).err(),
            _ => None,
        };
        if let Some(error) = wrong {
            problems.add(path, error.to_string());
        }
        if self.reader == ReaderKind::Csv {
            for name in self.inputs().chain(self.id.iter()).filter(|name| !held(name)) {
                if !name.parse::<usize>().is_ok_and(|column| (1..=CSV_COLUMNS).contains(&column)) {
                    problems.add(path, format!("{name:?} is no column; columns are numbers from 1 to {CSV_COLUMNS}"));
                }
            }
        }
        if self.reader == ReaderKind::Template {
            for message in &self.messages {
                for name in self.inputs_of(message) {
                    let held = |template: &Template| template.holes().contains(name);
                    if message.session && !self.prefix.iter().any(held) && !message.templates.iter().any(held) {
                        problems.add(
                            path,
                            format!("message {:?}: no template has a hole {name:?}", message.ids.join(", ")),
                        );
                    }
                }
            }
        }
        let mut ids: Vec<String> =
            self.messages.iter().flat_map(|m| &m.ids).map(|id| id.to_ascii_lowercase()).collect();
        ids.sort_unstable();
        for pair in ids.windows(2) {
            if let [one, two] = pair
                && one == two
            {
                problems.add(path, format!("message id {one:?} stands twice"));
            }
        }
    }

    /// Every input that the fields and maps of the profile and of its messages name.
    fn inputs(&self) -> impl Iterator<Item = &String> {
        self.messages.iter().flat_map(|message| self.inputs_of(message))
    }

    fn inputs_of<'a>(&'a self, message: &'a Message) -> impl Iterator<Item = &'a String> {
        // A template names its own holes, so the profile's common fields may speak of holes that only some messages have.
        let common = self.reader != ReaderKind::Template;
        let fields = self.fields.iter().filter(move |_| common).chain(&message.fields).flat_map(|assign| &assign.from);
        let maps = self.maps.iter().filter(move |_| common).chain(&message.maps);
        fields.chain(maps.filter_map(|map| if let Source::Input(name) = &map.from { Some(name) } else { None }))
    }
}

/// Most columns of a CSV message that are looked at.
pub const CSV_COLUMNS: usize = 255;

impl Message {
    /// The one message of a profile that names none.
    fn any() -> Self {
        Self {
            ids: Vec::new(),
            templates: Vec::new(),
            session: true,
            counts: Counts::Always,
            orientation: Orientation::Told,
            fields: Vec::new(),
            set: Vec::new(),
            maps: Vec::new(),
        }
    }

    fn read(value: &Value, path: String, reader: ReaderKind, problems: &mut Problems) -> Option<Self> {
        let mut table = Table::of(value, path, problems)?;
        let ids: Vec<String> = table.texts("id", true, problems).into_iter().filter(|id| id != "*").collect();
        table.text("title", problems);
        let template_path = table.path("template");
        let templates: Vec<Template> = table
            .texts("template", false, problems)
            .iter()
            .filter_map(|text| compile(text, &template_path, problems))
            .collect();
        let session = table.flag("session", problems).unwrap_or(true);
        if session && (reader == ReaderKind::Template) == templates.is_empty() {
            problems.add(
                table.own_path(),
                "a session of the template reader needs a template, and only that reader has one",
            );
        }
        let counts = table.get("counts").and_then(|value| counts(value, &table.path("counts"), problems));
        let orientation = match table.text("orient", problems) {
            None => Orientation::Told,
            Some("internal") => Orientation::Unknown,
            Some("opens") => Orientation::Opens,
            Some("ends") => Orientation::Ends,
            Some(other) => {
                problems.add(table.path("orient"), format!("unknown {other:?}; known: internal, opens, ends"));
                Orientation::Told
            }
        };
        let fields = table.get("fields").map_or_else(Vec::new, |v| assigns(v, table.path("fields"), problems));
        let set = table.get("set").map_or_else(Vec::new, |v| constants(v, table.path("set"), problems));
        let maps = maps(&mut table, problems);
        table.finish(problems);
        Some(Self { ids, templates, session, counts: counts.unwrap_or(Counts::Always), orientation, fields, set, maps })
    }
}

/// The column separator, and the marks of pairs.
fn separators(table: &mut Table<'_>, reader: ReaderKind, problems: &mut Problems) -> (u8, Option<Marks>) {
    if reader == ReaderKind::Csv {
        if table.get("assign").is_some() {
            problems.add(table.path("assign"), "belongs to the kv reader");
        }
        return (separator(table, problems), None);
    }
    let (assign, separator) = (table.text("assign", problems), table.text("separator", problems));
    let marks = match (assign, separator) {
        (None, None) => None,
        _ if reader != ReaderKind::Kv => {
            if assign.is_some() {
                problems.add(table.path("assign"), "belongs to the kv reader");
            }
            if separator.is_some() {
                problems.add(table.path("separator"), "belongs to the csv and kv readers");
            }
            None
        }
        (Some(assign), Some(separator)) => match Marks::new(assign, separator) {
            Ok(marks) => Some(marks),
            Err(error) => {
                problems.add(table.path("assign"), error.to_string());
                None
            }
        },
        (Some(_), None) => {
            problems.add(table.path("separator"), "is missing: the kv reader needs it where assign is given");
            None
        }
        (None, Some(_)) => {
            problems.add(table.path("assign"), "is missing: the kv reader needs it where separator is given");
            None
        }
    };
    (b',', marks)
}

/// What separates columns; a comma by default.
fn separator(table: &mut Table<'_>, problems: &mut Problems) -> u8 {
    match table.text("separator", problems).map(str::as_bytes) {
        None => b',',
        Some([byte]) => *byte,
        Some(_) => {
            problems.add(table.path("separator"), "must be one ASCII character");
            b','
        }
    }
}

fn sign(value: &Value, path: String, problems: &mut Problems) -> Option<Sign> {
    let mut table = Table::of(value, path, problems)?;
    let starts = table.text("starts", problems).unwrap_or("").to_owned();
    let contains = table.texts("contains", false, problems);
    let cef = product(&mut table, "cef", problems);
    let leef = product(&mut table, "leef", problems);
    let bare = starts.is_empty() && contains.iter().all(String::is_empty);
    if usize::from(!bare).saturating_add(usize::from(cef.is_some())).saturating_add(usize::from(leef.is_some())) != 1 {
        problems.add(table.own_path(), "a sign is either starts and/or contains, or cef, or leef");
    }
    table.finish(problems);
    Some(Sign { starts, contains, cef, leef, fallback: false })
}

/// Vendor and product of a header.
fn product(table: &mut Table<'_>, key: &'static str, problems: &mut Problems) -> Option<(String, String)> {
    let path = table.path(key);
    let mut inner = Table::of(table.get(key)?, path, problems)?;
    let vendor = inner.required_text("vendor", problems).to_owned();
    let product = inner.required_text("product", problems).to_owned();
    inner.finish(problems);
    Some((vendor, product))
}

/// The holes' kinds: by field where the name is one, else by the name's ending.
fn compile(text: &str, path: &str, problems: &mut Problems) -> Option<Template> {
    let kind = |name: &str| match Field::named(name) {
        Some(field) => match field.kind() {
            Kind::Address => Ok(template::Kind::Address),
            Kind::Port | Kind::Number => Ok(template::Kind::Number),
            Kind::Protocol => Ok(template::Kind::Word),
            Kind::Text if name.ends_with("InterfaceName") => Ok(template::Kind::Word),
            Kind::Text => Ok(template::Kind::Text),
            Kind::Word(_) => Err(format!("{name} takes its values from a map, not from the message")),
        },
        None if name.is_empty() => Ok(template::Kind::Skip),
        None if name.starts_with(|c: char| c.is_ascii_uppercase()) => Err(format!("{name} is no ASIM field")),
        None if name.ends_with("_word") => Ok(template::Kind::Word),
        None if name.ends_with("_number") => Ok(template::Kind::Number),
        None => Ok(template::Kind::Text),
    };
    match Template::compile(text, kind) {
        Ok(template) => Some(template),
        Err(error) => {
            problems.add(path, error.to_string());
            None
        }
    }
}

fn field(name: &str, path: &str, problems: &mut Problems) -> Option<Field> {
    let field = Field::named(name);
    if field.is_none() {
        problems.add(path, format!("{name} is no ASIM field"));
    }
    field
}

fn assigns(value: &Value, path: String, problems: &mut Problems) -> Vec<Assign> {
    let Some(table) = Table::of(value, path, problems) else { return Vec::new() };
    table
        .entries()
        .into_iter()
        .filter_map(|(name, value, path)| {
            let field = field(name, &path, problems)?;
            if let Kind::Word(_) = field.kind() {
                problems.add(path, format!("{name} takes its values from a map, not from the message"));
                return None;
            }
            assign(field, value, path, problems)
        })
        .collect()
}

fn assign(field: Field, value: &Value, path: String, problems: &mut Problems) -> Option<Assign> {
    let mut assign = Assign {
        field,
        from: Vec::new(),
        unit: None,
        none: Vec::new(),
        after: String::new(),
        before: String::new(),
        column: None,
        case: Case::AsIs,
    };
    if !value.is_object() {
        assign.from = crate::plan::texts(value, &path, true, problems);
        return Some(assign);
    }
    let mut table = Table::of(value, path, problems)?;
    assign.from = table.texts("from", true, problems);
    if assign.from.is_empty() {
        problems.add(table.own_path(), "from is missing");
    }
    assign.unit = match table.text("unit", problems) {
        None | Some("ms") => None,
        Some("s") => Some(Unit::Seconds),
        Some("us") => Some(Unit::Micros),
        Some("ns") => Some(Unit::Nanos),
        Some("hms") => Some(Unit::Clock),
        Some(other) => {
            problems.add(table.path("unit"), format!("unknown unit {other:?}; known: s, ms, us, ns, hms"));
            None
        }
    };
    assign.none = table.texts("none", true, problems);
    table.text("after", problems).unwrap_or("").clone_into(&mut assign.after);
    table.text("before", problems).unwrap_or("").clone_into(&mut assign.before);
    let separator = separator(&mut table, problems);
    assign.column = table.number("column", problems).map(|column| (usize::try_from(column).unwrap_or(0), separator));
    if table.flag("lower", problems) == Some(true) {
        assign.case = Case::Lower;
    }
    if table.flag("upper", problems) == Some(true) {
        assign.case = Case::Upper;
    }
    table.finish(problems);
    Some(assign)
}

/// A constant that fits the field.
fn constant(name: &str, value: &Value, path: &str, problems: &mut Problems) -> Option<(Field, Constant)> {
    let field = field(name, path, problems)?;
    let constant = match (field.kind(), value) {
        (Kind::Word(legal), Value::String(word)) if legal.contains(&word.as_str()) => {
            Constant::Word(word.as_str().into())
        }
        (Kind::Word(legal), _) => {
            problems.add(path, format!("{name} is one of {}", legal.join(", ")));
            return None;
        }
        (Kind::Number | Kind::Port, Value::Number(number)) if number.is_u64() => {
            Constant::Number(number.as_u64().unwrap_or(0))
        }
        (Kind::Text | Kind::Protocol, Value::String(text)) if !text.is_empty() => Constant::Word(text.as_str().into()),
        (_, value) => {
            problems.add(path, format!("{name} can't hold {}", kind_of(value)));
            return None;
        }
    };
    Some((field, constant))
}

fn constants(value: &Value, path: String, problems: &mut Problems) -> Vec<(Field, Constant)> {
    let Some(table) = Table::of(value, path, problems) else { return Vec::new() };
    table.entries().into_iter().filter_map(|(name, value, path)| constant(name, value, &path, problems)).collect()
}

fn counts(value: &Value, path: &str, problems: &mut Problems) -> Option<Counts> {
    match value.as_str() {
        Some("always") => Some(Counts::Always),
        Some("never") => Some(Counts::Never),
        Some("failure") => Some(Counts::Failure),
        _ => {
            problems.add(path, "counts is always, never or failure");
            None
        }
    }
}

fn maps(table: &mut Table<'_>, problems: &mut Problems) -> Vec<Map> {
    table.list("map", problems).into_iter().filter_map(|(item, path)| map(item, path, problems)).collect()
}

fn map(value: &Value, path: String, problems: &mut Problems) -> Option<Map> {
    let mut table = Table::of(value, path, problems)?;
    let from = table.texts("from", true, problems).into_iter().next();
    let Some(from) = from else {
        problems.add(table.own_path(), "from is missing");
        return None;
    };
    let from = Field::named(&from).map_or_else(|| Source::Input(from), Source::Field);
    let when = field_values(&mut table, "when", problems);
    let unless = field_values(&mut table, "unless", problems);
    let mut map = Map { from, when, unless, to: Vec::new(), other: None, absent: None };
    let to_path = table.path("to");
    if let Some(to) = table.get("to").and_then(|value| Table::of(value, to_path, problems)) {
        for (word, value, path) in to.entries() {
            let effect = effect(value, path, problems);
            match word {
                "*" => map.other = effect,
                "" => map.absent = effect,
                _ => map.to.extend(effect.map(|effect| (word.trim().to_owned(), effect))),
            }
        }
    } else {
        problems.add(table.own_path(), "to is missing");
    }
    table.finish(problems);
    Some(map)
}

/// Fields with the values that a map asks about.
fn field_values(table: &mut Table<'_>, key: &'static str, problems: &mut Problems) -> Vec<(Field, Vec<String>)> {
    let path = table.path(key);
    let Some(conditions) = table.get(key).and_then(|value| Table::of(value, path, problems)) else { return Vec::new() };
    conditions
        .entries()
        .into_iter()
        .filter_map(|(name, value, path)| {
            Some((field(name, &path, problems)?, crate::plan::texts(value, &path, false, problems)))
        })
        .collect()
}

fn effect(value: &Value, path: String, problems: &mut Problems) -> Option<Effect> {
    let table = Table::of(value, path, problems)?;
    let mut effect = Effect::default();
    for (name, value, path) in table.entries() {
        match (name, value) {
            ("swap", Value::Bool(swap)) => effect.swap = *swap,
            ("blocked", Value::Bool(blocked)) => effect.blocked = Some(*blocked),
            ("session", Value::Bool(session)) => effect.session = Some(*session),
            ("counts", value) => effect.counts = counts(value, &path, problems),
            ("swap" | "blocked" | "session", _) => problems.add(path, "expected true or false"),
            _ => effect.set.extend(constant(name, value, &path, problems)),
        }
    }
    Some(effect)
}
