//! Key states as the store keeps them: JSON that a person can read, and back.
//!
//! `values`: `{"values": [[value, start of the slot it was last seen in, s], ...], "more": bool, "messages": n}`; addresses
//! and texts are text, ports numbers. `beacon` and `evidence` are JSON already, see [`Beacon::take`](count::Beacon::take)
//! and [`Evidence::take`](count::Evidence::take).

use crate::count::{self, Kind, State, Values};
use crate::key::{self, Part};
use crate::session::Field;
use crate::setup::{Counted, Measure};
use serde_json::{Value as Json, json};

/// What is needed to read a counter's keys and states.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) group_by: Vec<Field>,
    counted: Counted,
}

impl Shape {
    pub(crate) fn of(measure: &Measure) -> Self {
        Self { group_by: measure.group_by.clone(), counted: measure.counted }
    }

    /// The field whose values are told apart.
    fn distinct(&self) -> Option<Field> {
        match self.counted {
            Counted::Distinct(field) => Some(field),
            _ => None,
        }
    }
}

/// A key's whole state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateRow {
    /// Site and key.
    pub key: (String, Vec<Part>),
    /// Name of the kind of state, see [`Kind::name`].
    pub kind: String,
    /// JSON. Empty: the key lost its place, and what was handed over of it is to be forgotten.
    pub state: String,
    /// Start of the slot that the key was last seen in, epoch seconds.
    pub last_s: u64,
}

impl StateRow {
    pub(crate) fn of(row: &count::StateRow, key: (String, Vec<Part>), shape: &Shape) -> Self {
        let state = row.state.as_ref().map_or_else(String::new, |state| text(state, shape));
        Self { key, kind: row.kind.name().to_owned(), state, last_s: row.last_s }
    }
}

fn text(state: &State, shape: &Shape) -> String {
    let json = match state {
        State::Values(values) => {
            let seen = values.values.iter().filter_map(|(value, start_s)| {
                let value = match key::decode_value(shape.distinct()?, value)? {
                    Part::Text(text) => Json::from(text),
                    Part::Number(number) => Json::from(number),
                };
                Some(json!([value, start_s]))
            });
            json!({"values": seen.collect::<Vec<_>>(), "more": values.more, "messages": values.messages})
        }
        State::Beacon(text) | State::Evidence(text) => return text.clone(),
    };
    json.to_string()
}

/// The state in a row of the store; None where it is none of such a counter.
pub(crate) fn read(row: &StateRow, shape: &Shape) -> Option<State> {
    match Kind::named(&row.kind)? {
        Kind::Beacon => Some(State::Beacon(row.state.clone())),
        Kind::Evidence => Some(State::Evidence(row.state.clone())),
        Kind::Values => {
            let json: Json = serde_json::from_str(&row.state).ok()?;
            let field = shape.distinct()?;
            let seen = json.get("values")?.as_array()?.iter().filter_map(|pair| {
                let [value, start_s] = pair.as_array()?.as_slice() else { return None };
                let part = match value {
                    Json::String(text) => Part::Text(text.clone()),
                    other => Part::Number(other.as_u64()?),
                };
                let mut bytes = Vec::new();
                key::encode_value_part(field, &part, &mut bytes).then_some(())?;
                Some((count::Key::new(&bytes), start_s.as_u64()?))
            });
            let more = json.get("more").and_then(Json::as_bool).unwrap_or(false);
            let messages = json.get("messages").and_then(Json::as_u64).unwrap_or(1);
            Some(State::Values(Values { values: seen.collect(), more, messages }))
        }
    }
}
