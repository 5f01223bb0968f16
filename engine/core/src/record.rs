//! One message in full, as JSON for people and tests: the answer of `collectord parse`.

use crate::header::Header;
use crate::profile::Profile;
use crate::session::{FIELDS, Field, Session, Value};
use serde_json::{Map, Value as Json, json};

/// The schema version whose values are emitted.
pub const SCHEMA_VERSION: &str = "0.2.6";

/// The whole answer. Bytes that are no UTF-8 are shown as replacement characters.
///
/// `Recovered` says that the message does not keep its format (CEF, LEEF) and was read as well as it can be. `Header` is
/// the device's; `Relay` is what the header of a configured relay says of time and host, null of any other peer.
pub fn answer(
    outcome: &str,
    profile: Option<&Profile>,
    recovered: bool,
    header: &Header<'_>,
    relay: Option<&Header<'_>>,
    sessions: &[Json],
) -> Json {
    json!({
        "Outcome": outcome,
        "Profile": profile.map(|p| p.name.as_str()),
        "Recovered": recovered,
        "Header": {
            "facility": header.facility,
            "severity": header.severity,
            "timestamp": text(header.timestamp),
            "hostname": text(header.hostname),
            "appname": text(header.appname),
            "procid": text(header.procid),
            "msgid": text(header.msgid),
            "structured_data": text(header.structured_data),
            "message": text(header.message),
        },
        "Relay": relay.map(|relay| json!({"timestamp": text(relay.timestamp), "hostname": text(relay.hostname)})),
        "Sessions": sessions,
    })
}

/// A session with all that every session carries; `Dvc` by the device's own word, else by `peer`, else by `header` (a
/// header's host is trusted of configured relays alone, for which the caller gives no peer).
pub fn session(session: &Session<'_>, profile: &Profile, header: &Header<'_>, peer: Option<&str>) -> Json {
    let mut fields = Map::new();
    for (field, value) in session.iter() {
        fields.insert(field.name().to_owned(), json_value(value));
    }
    let device = [Field::DvcHostname, Field::DvcFQDN, Field::DvcId, Field::DvcIpAddr]
        .into_iter()
        .find_map(|field| session.get(field).map(json_value))
        .or_else(|| peer.map(Json::from))
        .or_else(|| text(header.hostname).as_str().map(Json::from));
    if let Some(device) = device {
        fields.entry("Dvc").or_insert(device);
    }
    // A generic profile takes both from the message.
    fields.entry("EventVendor").or_insert_with(|| profile.vendor.as_str().into());
    fields.entry("EventProduct").or_insert_with(|| profile.product.as_str().into());
    fields.insert("EventSchema".into(), "NetworkSession".into());
    fields.insert("EventSchemaVersion".into(), SCHEMA_VERSION.into());
    fields.insert("AdditionalFields".into(), json!({"blocked": session.is_blocked(), "counted": session.is_counted()}));
    Json::Object(fields)
}

fn json_value(value: &Value<'_>) -> Json {
    match value {
        Value::Number(number) => (*number).into(),
        Value::Word(word) => (*word).into(),
        Value::Address(_) | Value::Text(..) => String::from_utf8_lossy(&value.bytes()).into(),
    }
}

/// Text, or null where there is none.
fn text(bytes: &[u8]) -> Json {
    if bytes.is_empty() { Json::Null } else { String::from_utf8_lossy(bytes).into() }
}

/// The names of all fields, in the order of [`FIELDS`].
pub fn field_names() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().map(|(_, name, _)| *name)
}
