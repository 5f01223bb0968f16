//! What is done with the inputs of one kind of message: fields, constants, maps, in that order.

use super::words::Words;
use super::{Wanted, input, spec};
use crate::session::{
    Case, Counts, Field, FieldSet, Kind, Orientation, Session, Unmapped, Value, convert, number, trim,
};
use crate::value::{Escape, Raw};
use spec::{Assign, Constant, Effect, Source, Unit};

/// The fields that name the device, the best name first.
pub const DEVICE_FIELDS: [Field; 4] = [Field::DvcHostname, Field::DvcFQDN, Field::DvcId, Field::DvcIpAddr];

/// The wanted fields and all that they depend on in this profile.
pub fn needed(spec: &spec::Profile, mut wanted: Wanted) -> Wanted {
    let fields = &mut wanted.fields;
    // Without any address there is no session, whatever is wanted.
    fields.insert(Field::SrcIpAddr);
    fields.insert(Field::DstIpAddr);
    // The result follows from the action where the product has no word of its own for it, and decides what counts.
    fields.insert(Field::EventResult);
    fields.insert(Field::DvcAction);
    fields.insert(Field::EventCount);
    // The device is named by what its message says.
    for field in DEVICE_FIELDS {
        fields.insert(field);
    }
    if spec.messages.iter().any(|message| matches!(message.orientation, Orientation::Opens | Orientation::Ends)) {
        fields.insert(Field::NetworkSessionId);
    }
    let maps = || spec.maps.iter().chain(spec.messages.iter().flat_map(|message| &message.maps));
    for (field, _, _) in crate::session::FIELDS {
        // The ends may be exchanged: then the other end's value is the wanted one.
        if let Some(partner) = field.partner().filter(|_| fields.contains(*field)) {
            fields.insert(partner);
        }
    }
    loop {
        let before = wanted;
        for map in maps().filter(|map| matters(map, before)) {
            if let Source::Field(field) = map.from {
                wanted.fields.insert(field);
            }
            for (field, _) in map.when.iter().chain(&map.unless) {
                wanted.fields.insert(*field);
            }
        }
        if before == wanted {
            return wanted;
        }
    }
}

/// Whether a map can change anything that is wanted.
fn matters(map: &spec::Map, wanted: Wanted) -> bool {
    let effects = map.to.iter().map(|(_, effect)| effect).chain(&map.other).chain(&map.absent);
    effects.into_iter().any(|effect| {
        effect.swap
            || effect.counts.is_some()
            || effect.session.is_some()
            || (wanted.blocked && effect.blocked.is_some())
            || effect.set.iter().any(|(field, _)| wanted.fields.contains(*field))
    })
}

/// Everything done for one kind of message.
pub struct Steps {
    setters: Vec<Setter>,
    /// Fields that the message's templates hold as they are, beside those of the setters.
    held: FieldSet,
    set: Vec<(Field, Constant)>,
    maps: Vec<Map>,
    counts: Counts,
    orientation: Orientation,
}

/// Sets one field.
struct Setter {
    field: Field,
    kind: Kind,
    case: Case,
    /// The input, mostly the only one.
    place: usize,
    /// Further inputs; the first that gives a value is taken.
    others: Vec<usize>,
    /// What is to be done with the text beside converting it; mostly nothing.
    assign: Option<Box<Assign>>,
}

struct Map {
    name: String,
    /// Whether it tells what the device did, so that a word it does not know is worth a look.
    is_verdict: bool,
    from: Result<usize, Field>,
    when: Vec<(Field, Vec<String>)>,
    unless: Vec<(Field, Vec<String>)>,
    words: Words,
    effects: Vec<Effect>,
    other: Option<Effect>,
    absent: Option<Effect>,
}

impl Steps {
    /// The steps for a message; the inputs they need are added to `inputs`.
    pub fn new(spec: &spec::Profile, message: &spec::Message, wanted: Wanted, inputs: &mut Vec<String>) -> Self {
        let mut assigns: Vec<Assign> = message.fields.clone();
        let is_set = |assigns: &[Assign], field: Field| assigns.iter().any(|assign| assign.field == field);
        for assign in &spec.fields {
            if !is_set(&assigns, assign.field) {
                assigns.push(assign.clone());
            }
        }
        for name in
            spec.prefix.iter().chain(&message.templates).flat_map(super::super::value::template::Template::holes)
        {
            if let Some(field) = Field::named(name).filter(|field| !is_set(&assigns, *field)) {
                assigns.push(Assign {
                    field,
                    from: vec![name.clone()],
                    unit: None,
                    none: Vec::new(),
                    after: String::new(),
                    before: String::new(),
                    column: None,
                    case: Case::AsIs,
                });
            }
        }
        // Of a message without a session only the device is of interest.
        let is_read =
            |field: Field| wanted.fields.contains(field) && (message.session || DEVICE_FIELDS.contains(&field));
        assigns.retain(|assign| is_read(assign.field));
        let mut set: Vec<(Field, Constant)> = spec.set.iter().chain(&message.set).cloned().collect();
        set.retain(|(field, _)| is_read(*field));
        let maps = spec.maps.iter().chain(&message.maps).filter(|map| message.session && matters(map, wanted));
        let in_prefix = |name: &String| spec.prefix.iter().any(|prefix| prefix.holes().contains(name));
        let is_held = |assign: &Assign| {
            assign.field.kind() == Kind::Address
                && is_plain(assign)
                && matches!(assign.from.as_slice(), [name] if name == assign.field.name() && !in_prefix(name))
                && !message.templates.is_empty()
        };
        let mut held = FieldSet::default();
        assigns.iter().filter(|assign| is_held(assign)).for_each(|assign| held.insert(assign.field));
        assigns.retain(|assign| !is_held(assign));
        Self {
            setters: assigns.into_iter().filter_map(|assign| Setter::new(assign, inputs)).collect(),
            held,
            set,
            maps: maps.map(|map| Map::new(map, wanted, inputs)).collect(),
            counts: message.counts,
            orientation: message.orientation,
        }
    }

    /// The addresses that a template's hole of the field's name is the whole value of: whoever reads the template sets
    /// them, before [`Steps::run`].
    pub fn held(&self) -> FieldSet {
        self.held
    }

    /// Fills the session from the inputs.
    pub fn run<'m>(&'m self, raws: &[Option<Raw<'m>>], session: &mut Session<'m>) {
        session.counts = self.counts;
        session.orientation = self.orientation;
        for setter in &self.setters {
            let value = |place: usize| setter.value(raws.get(place)?.as_ref()?);
            if let Some(value) = value(setter.place) {
                session.set(setter.field, value);
            } else if let Some(value) = setter.others.iter().find_map(|place| value(*place)) {
                session.set(setter.field, value);
            }
        }
        for (field, constant) in &self.set {
            session.set(*field, constant_value(constant));
        }
        for map in &self.maps {
            map.run(raws, session);
        }
    }
}

/// Whether nothing is to be done with a text but converting it.
fn is_plain(assign: &Assign) -> bool {
    assign.unit.is_none()
        && assign.column.is_none()
        && assign.none.is_empty()
        && assign.after.is_empty()
        && assign.before.is_empty()
}

impl Setter {
    /// None: it has no input.
    fn new(assign: Assign, inputs: &mut Vec<String>) -> Option<Self> {
        let places: Vec<usize> = assign.from.iter().map(|name| input(inputs, name)).collect();
        let (place, others) = places.split_first()?;
        Some(Self {
            field: assign.field,
            kind: assign.field.kind(),
            case: assign.case,
            place: *place,
            others: others.to_vec(),
            assign: (!is_plain(&assign)).then(|| Box::new(assign)),
        })
    }

    #[inline]
    fn value<'m>(&self, raw: &Raw<'m>) -> Option<Value<'m>> {
        match &self.assign {
            None => convert(self.kind, *raw, self.case),
            Some(assign) => value(assign, *raw),
        }
    }
}

fn constant_value(constant: &Constant) -> Value<'_> {
    match constant {
        Constant::Word(word) => Value::Word(word),
        Constant::Number(number) => Value::Number(*number),
    }
}

impl Map {
    fn new(map: &spec::Map, wanted: Wanted, inputs: &mut Vec<String>) -> Self {
        let lean = |effect: &Effect| {
            let mut effect = effect.clone();
            effect.set.retain(|(field, _)| wanted.fields.contains(*field));
            effect
        };
        let (name, from) = match &map.from {
            Source::Field(field) => (field.name(), Err(*field)),
            Source::Input(name) => (name.as_str(), Ok(input(inputs, name))),
        };
        let verdict = |(field, _): &(Field, Constant)| matches!(field, Field::DvcAction | Field::EventResult);
        Self {
            name: name.to_owned(),
            is_verdict: map.to.iter().any(|(_, effect)| effect.set.iter().any(verdict)),
            from,
            when: map.when.clone(),
            unless: map.unless.clone(),
            words: Words::new(map.to.iter().map(|(word, _)| word.as_str())),
            effects: map.to.iter().map(|(_, effect)| lean(effect)).collect(),
            other: map.other.as_ref().map(lean),
            absent: map.absent.as_ref().map(lean),
        }
    }

    fn run<'m>(&'m self, raws: &[Option<Raw<'m>>], session: &mut Session<'m>) {
        // First the word: mostly it says that there is nothing to do, whatever else holds.
        let mut unmapped = None;
        let effect = match self.from {
            Ok(place) => match raws.get(place).and_then(Option::as_ref) {
                // The words of a profile hold nothing that a format escapes, so the raw bytes are compared.
                Some(raw) => {
                    let word = trim(raw.bytes);
                    let number = self.words.find(word);
                    if self.is_verdict && !word.is_empty() && number.is_none() {
                        unmapped = Some(Unmapped { from: &self.name, word: *raw });
                    }
                    self.effect(word, number)
                }
                None => self.absent.as_ref(),
            },
            Err(field) => match session.get(field) {
                Some(value) => {
                    let bytes = value.bytes();
                    let word = trim(&bytes);
                    self.effect(word, self.words.find(word))
                }
                None => self.absent.as_ref(),
            },
        };
        if effect.is_none() && unmapped.is_none() {
            return;
        }
        let holds = |(field, values): &(Field, Vec<String>)| {
            let is = |held: &[u8]| values.iter().any(|value| value.as_bytes().eq_ignore_ascii_case(held));
            match session.get(*field) {
                None => is(b""),
                Some(Value::Word(word)) => is(word.as_bytes()),
                Some(value) => is(&value.bytes()),
            }
        };
        if !self.when.iter().all(holds) || self.unless.iter().any(holds) {
            return;
        }
        if unmapped.is_some() {
            session.unmapped = unmapped;
        }
        if let Some(effect) = effect {
            apply(effect, session);
        }
    }

    #[inline]
    fn effect(&self, word: &[u8], number: Option<usize>) -> Option<&Effect> {
        if word.is_empty() {
            return self.absent.as_ref();
        }
        number.and_then(|number| self.effects.get(number)).or(self.other.as_ref())
    }
}

fn apply<'m>(effect: &'m Effect, session: &mut Session<'m>) {
    for (field, constant) in &effect.set {
        session.set(*field, constant_value(constant));
    }
    if effect.swap {
        session.swap();
    }
    if effect.blocked.is_some() {
        session.blocked = effect.blocked;
    }
    if let Some(counts) = effect.counts {
        session.counts = counts;
    }
    if let Some(is_session) = effect.session {
        session.is_session = is_session;
    }
}

/// A field's value from its raw text: cut, compared with the texts that mean nothing, converted.
fn value<'m>(assign: &Assign, raw: Raw<'m>) -> Option<Value<'m>> {
    let raw = cut(assign, raw)?;
    let text = trim(raw.bytes);
    if assign.none.iter().any(|none| none.as_bytes().eq_ignore_ascii_case(text)) {
        return None;
    }
    match assign.unit {
        None => convert(assign.field.kind(), raw, assign.case),
        Some(unit) => millis(text, unit).map(Value::Number),
    }
}

fn cut<'m>(assign: &Assign, raw: Raw<'m>) -> Option<Raw<'m>> {
    let mut bytes = raw.bytes;
    if let Some((column, separator)) = assign.column {
        bytes = bytes.split(|byte| *byte == separator).nth(column.checked_sub(1)?)?;
    }
    if !assign.after.is_empty() {
        let (_, end) = find(bytes, assign.after.as_bytes(), raw.escape)?;
        bytes = bytes.get(end..)?;
    }
    if !assign.before.is_empty()
        && let Some((start, _)) = find(bytes, assign.before.as_bytes(), raw.escape)
    {
        bytes = bytes.get(..start)?;
    }
    Some(Raw { bytes, escape: raw.escape })
}

/// Where `needle` first stands in `text`, passing over the backslashes of the format's escapes.
fn find(text: &[u8], needle: &[u8], escape: Escape) -> Option<(usize, usize)> {
    (0..text.len()).find_map(|start| {
        let mut rest = text.get(start..)?.iter().enumerate();
        let mut end = start;
        for wanted in needle {
            let (mut at, mut byte) = rest.next()?;
            let escapes =
                matches!(escape, Escape::Kv | Escape::CefHeader | Escape::CefExtension | Escape::Leef | Escape::Json);
            if *byte == b'\\' && escapes && *wanted != b'\\' {
                (at, byte) = rest.next()?;
            }
            if byte != wanted {
                return None;
            }
            end = start.saturating_add(at).saturating_add(1);
        }
        Some((start, end))
    })
}

/// A duration in ms; saturates. None where the text is no duration.
fn millis(text: &[u8], unit: Unit) -> Option<u64> {
    match unit {
        Unit::Seconds => {
            let mut parts = text.splitn(2, |byte| *byte == b'.');
            let whole = number(parts.next()?)?.saturating_mul(1000);
            let fraction = parts.next().unwrap_or(b"").iter().chain(b"000").take(3);
            let thousandths = fraction.copied().try_fold(0_u64, |sum, byte| {
                byte.is_ascii_digit().then(|| sum.saturating_mul(10).saturating_add(u64::from(byte & 0x0f)))
            })?;
            Some(whole.saturating_add(thousandths))
        }
        Unit::Micros => number(text)?.checked_div(1000),
        Unit::Nanos => number(text)?.checked_div(1_000_000),
        Unit::Clock => {
            let mut parts = 0_u8;
            let seconds = text.split(|byte| *byte == b':').try_fold(0_u64, |sum, part| {
                parts = parts.saturating_add(1);
                Some(sum.saturating_mul(60).saturating_add(number(part)?))
            })?;
            (parts == 3).then(|| seconds.saturating_mul(1000))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::plain;

    #[test]
    fn durations_become_milliseconds() {
        for (text, unit, want) in [
            ("12", Unit::Seconds, Some(12_000)),
            ("0.25", Unit::Seconds, Some(250)),
            ("1.23456", Unit::Seconds, Some(1_234)),
            ("1.x", Unit::Seconds, None),
            ("1:02:03", Unit::Clock, Some(3_723_000)),
            ("02:03", Unit::Clock, None),
            ("1500", Unit::Micros, Some(1)),
            ("99999999999999999999", Unit::Seconds, Some(u64::MAX)),
        ] {
            assert_eq!(want, millis(text.as_bytes(), unit), "{text}");
        }
    }

    #[test]
    fn a_cut_passes_over_escapes() {
        let assign = Assign {
            field: Field::DvcHostname,
            from: Vec::new(),
            unit: None,
            none: Vec::new(),
            after: "CN=".into(),
            before: ",".into(),
            column: None,
            case: Case::AsIs,
        };
        let shown = |raw| value(&assign, raw).map(|v| v.bytes().into_owned());
        assert_eq!(Some(b"gw-1".to_vec()), shown(Raw { bytes: br"CN\=gw-1,O\=m", escape: Escape::CefExtension }));
        assert_eq!(Some(b"gw-1".to_vec()), shown(plain(b"CN=gw-1")));
        assert_eq!(None, shown(plain(b"O=m")));
    }
}
