//! A whole plan, read: what the engine is told to work with.

use crate::condition::{Condition, Tests};
use crate::count;
use crate::key::{self, Keys, Part};
use crate::plan::{Problem, Problems, Table};
use crate::profile::{Wanted, spec};
use crate::session::{Field, FieldSet, Kind, Session};
use crate::value::ip::{Ip, Networks};
use foldhash::fast::RandomState;
use serde_json::Value as Json;
use std::collections::{HashMap, HashSet};

/// Where messages come in.
pub(crate) struct Listener {
    pub(crate) site: u16,
    /// Datagrams of other peers are not read; empty: everybody's are. Streams are refused where they are accepted.
    pub(crate) allow: Networks,
}

/// What the operator says of a device; it wins over what messages say.
pub(crate) struct Known {
    /// Its site, where it is not the listener's.
    pub(crate) site: Option<u16>,
    /// The profile that reads all its messages.
    pub(crate) profile: Option<String>,
    /// What its clock is ahead of UTC, in s, where its messages don't say it.
    pub(crate) utc_offset_s: Option<i32>,
}

/// The operator's table of devices.
#[derive(Default)]
pub(crate) struct KnownDevices {
    list: Vec<Known>,
    by_peer: HashMap<Ip, usize>,
    by_host: HashMap<Vec<u8>, usize>,
}

impl KnownDevices {
    /// What is said of the device behind a peer or, where the peer is a relay, of the header's host.
    pub(crate) fn find(&self, peer: Option<Ip>, host: Option<&[u8]>) -> Option<&Known> {
        if self.list.is_empty() {
            return None;
        }
        // A relay may name a device by its address.
        let by_host = host.and_then(|host| {
            let named = self.by_host.get(&host.to_ascii_lowercase());
            named.or_else(|| self.by_peer.get(&crate::value::ip::parse(host)?))
        });
        let number = by_host.or_else(|| self.by_peer.get(&peer?))?;
        self.list.get(*number)
    }

    fn read(table: &mut Table<'_>, specs: &[spec::Profile], sites: &mut Vec<String>, problems: &mut Problems) -> Self {
        let mut known = Self::default();
        for (value, path) in table.list("devices", problems) {
            let Some(mut device) = Table::of(value, path, problems) else { continue };
            let name = device.required_text("name", problems);
            let number = known.list.len();
            match crate::value::ip::parse(name.as_bytes()) {
                Some(ip) => known.by_peer.insert(ip, number),
                None => known.by_host.insert(name.to_ascii_lowercase().into_bytes(), number),
            };
            let site = device.text("site", problems).and_then(|site| site_number(sites, site));
            let profile = device.text("profile", problems).map(ToOwned::to_owned);
            if let Some(profile) = profile.as_ref().filter(|name| specs.iter().all(|spec| spec.name != **name)) {
                problems.add(device.path("profile"), format!("there is no profile {profile:?}"));
            }
            let offset = device.get("utc_offset_s").and_then(Json::as_i64).map(i32::try_from);
            let utc_offset_s = offset.and_then(Result::ok);
            device.finish(problems);
            known.list.push(Known { site, profile, utc_offset_s });
        }
        known
    }
}

/// A counter: what it counts, under which key, with what weight.
pub(crate) struct Measure {
    pub(crate) name: String,
    pub(crate) fingerprint: String,
    pub(crate) condition: Condition,
    /// A session that passes one of these is not counted.
    pub(crate) exempt: Vec<Condition>,
    /// Also records of which the profile says that they do not count.
    pub(crate) every_record: bool,
    pub(crate) group_by: Vec<Field>,
    /// Number of `group_by` in the plan's keys.
    pub(crate) key: usize,
    pub(crate) counted: Counted,
    /// Most that one record's `EventCount` counts for.
    pub(crate) record_max: RecordMax,
    /// Sessions since the last batch that lack an address or port of the key, or the value to tell apart.
    pub(crate) without_key: u64,
    /// Sessions since the last batch that were exempt.
    pub(crate) exempted: u64,
}

/// Most that one record's `EventCount` counts for, where that is less than the plan's bounds say.
#[derive(Debug, Default)]
pub(crate) struct RecordMax {
    /// By the value of one of the key's ports.
    by_value: Option<(Field, HashMap<u64, u64, RandomState>)>,
    others: Option<u64>,
}

impl RecordMax {
    /// None: what the plan's bounds say.
    #[inline]
    pub(crate) fn of(&self, session: &Session<'_>) -> Option<u64> {
        let Some((field, by_value)) = &self.by_value else { return self.others };
        session.number(*field).and_then(|value| by_value.get(&value)).copied().or(self.others)
    }

    /// A number for all records, or a table: `{"field": "DstPortNumber", "values": {"445": 800}, "others": 4000}`, where
    /// `others` may be left out.
    fn read(counted: Counted, group_by: &[Field], definition: &mut Table<'_>, problems: &mut Problems) -> Self {
        let path = definition.path("record_max");
        let Some(value) = definition.get("record_max") else { return Self::default() };
        let from_1 = |value: &Json| value.as_u64().filter(|most| *most > 0);
        let mut found = Self { by_value: None, others: from_1(value) };
        let mut right = found.others.is_some();
        if value.is_object()
            && let Some(mut table) = Table::of(value, path.clone(), problems)
        {
            let field = Field::named(table.required_text("field", problems));
            let field = field.filter(|field| field.kind() == Kind::Port && group_by.contains(field));
            let others = table.get("others").map(from_1);
            let number = |(text, most): (&String, &Json)| Some((text.parse().ok()?, from_1(most)?));
            let values = table.get("values").and_then(Json::as_object);
            let values: Option<HashMap<u64, u64, RandomState>> =
                values.and_then(|values| values.iter().map(number).collect());
            right = field.is_some() && values.is_some() && others != Some(None);
            found = Self { by_value: field.zip(values), others: others.flatten() };
            table.finish(problems);
        }
        if !right || counted != Counted::EventCount {
            let needed = "a whole number from 1 is needed, or one for each value of a port of the key";
            problems.add(path, format!("{needed}, with the weight EventCount"));
        }
        found
    }
}

/// What a counter counts of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// Its `EventCount`.
    EventCount,
    /// One.
    Records,
    /// A number of it; a session without that number is not counted.
    Sum(Field),
    /// The different values of a field.
    Distinct(Field),
    /// The intervals between sessions.
    Intervals,
}

impl Counted {
    fn read(weight: &str, distinct: Option<&str>, table: &Table<'_>, problems: &mut Problems) -> Self {
        if let Some(name) = distinct {
            let field = Field::named(name).filter(|field| field.kind() != Kind::Number);
            if field.is_none() {
                problems.add(table.path("distinct"), format!("{name} is no address, port or text field"));
            }
            return field.map_or(Self::EventCount, Self::Distinct);
        }
        let summed = SUMMED.iter().find(|field| field.name() == weight);
        match (weight, summed) {
            ("EventCount", _) => Self::EventCount,
            ("records", _) => Self::Records,
            (_, Some(field)) => Self::Sum(*field),
            _ => {
                let known: Vec<&str> = SUMMED.iter().map(|field| field.name()).collect();
                let known = known.join(", ");
                problems.add(
                    table.path("weight"),
                    format!("unknown weight {weight:?}; known: EventCount, records, {known}"),
                );
                Self::EventCount
            }
        }
    }

    /// The fields that it looks at beside `EventCount`, which every session has.
    pub(crate) fn fields(self) -> Vec<Field> {
        match self {
            Self::EventCount | Self::Records => Vec::new(),
            Self::Intervals => vec![Field::SrcBytes, Field::DstBytes],
            Self::Sum(field) => [field].into_iter().chain(both_ways(field).into_iter().flatten()).collect(),
            Self::Distinct(field) => vec![field],
        }
    }
}

/// The numbers that a counter may add up.
const SUMMED: [Field; 7] = [
    Field::SrcBytes,
    Field::DstBytes,
    Field::NetworkBytes,
    Field::SrcPackets,
    Field::DstPackets,
    Field::NetworkPackets,
    Field::NetworkDuration,
];

/// The two fields whose sum a field is where the device does not tell it (ASIM: `NetworkBytes` is the sum of both).
pub(crate) fn both_ways(field: Field) -> Option<[Field; 2]> {
    match field {
        Field::NetworkBytes => Some([Field::SrcBytes, Field::DstBytes]),
        Field::NetworkPackets => Some([Field::SrcPackets, Field::DstPackets]),
        _ => None,
    }
}

/// How much of anything the engine holds; each with its reason in the configuration's documentation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) message_bytes: usize,
    pub(crate) unfinished_bytes: usize,
    pub(crate) rows_per_batch: usize,
    pub(crate) event_count: u64,
    /// Datagrams that a peer may send, per second; 0: any number.
    pub(crate) peer_rate: u64,
    /// Those that it may send at once.
    pub(crate) peer_burst: u64,
}

/// A plan, read.
pub(crate) struct Plan {
    pub(crate) specs: Vec<spec::Profile>,
    pub(crate) wanted: Wanted,
    pub(crate) internal: Networks,
    pub(crate) relays: Networks,
    pub(crate) known: KnownDevices,
    pub(crate) bounds: Bounds,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) sites: Vec<String>,
    pub(crate) tests: Tests,
    pub(crate) keys: Keys,
    pub(crate) measures: Vec<Measure>,
    pub(crate) counters: Vec<(count::Definition, Vec<count::Watch>)>,
}

impl Plan {
    /// Reads a plan; `sites` are those that have a number already.
    pub(crate) fn read(plan: &Json, mut sites: Vec<String>) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        let Some(mut table) = Table::of(plan, "", &mut problems) else { return Err(problems.0) };
        let mut specs: Vec<spec::Profile> = Vec::new();
        for (value, path) in table.list("profiles", &mut problems) {
            let Some(profile) = spec::Profile::read(value, &path, &mut problems) else { continue };
            if specs.iter().any(|known| known.name == profile.name) {
                problems.add(path, format!("two profiles are named {:?}", profile.name));
            }
            specs.push(profile);
        }
        let internal = networks(&mut table, "internal_networks", &mut problems);
        let relays = networks(&mut table, "relays", &mut problems);
        let known = KnownDevices::read(&mut table, &specs, &mut sites, &mut problems);
        let mut listeners = Vec::new();
        for (value, path) in table.list("listeners", &mut problems) {
            let Some(mut listener) = Table::of(value, path, &mut problems) else { continue };
            listener.required_text("name", &mut problems);
            let site = listener.text("site", &mut problems).unwrap_or("");
            let allow = networks(&mut listener, "allow", &mut problems);
            if let Some(site) = site_number(&mut sites, site) {
                listeners.push(Listener { site, allow });
            } else {
                problems.add(listener.own_path(), "more than 65,536 sites");
            }
            listener.finish(&mut problems);
        }
        let bounds_path = table.path("bounds");
        let bounds = if let Some(value) = table.get("bounds") {
            Bounds::read(value, bounds_path, &mut problems)
        } else {
            problems.add("", "bounds is missing");
            None
        };
        let mut wanted = Wanted { fields: FieldSet::default(), blocked: false };
        let (mut tests, mut keys) = (Tests::default(), Keys::default());
        let mut measures: Vec<Measure> = Vec::new();
        let mut counters = Vec::new();
        for (value, path) in table.list("counters", &mut problems) {
            let read = read_counter(value, path.clone(), (&mut tests, &mut keys), &mut problems);
            let Some((measure, definition, watches)) = read else { continue };
            if measures.iter().any(|known| known.name == measure.name) {
                problems.add(path, format!("two counters are named {:?}", measure.name));
            }
            for field in measure.group_by.iter().copied().chain(measure.counted.fields()) {
                wanted.fields.insert(field);
            }
            for field in definition.evidence.iter().flatten() {
                wanted.fields.insert(*field);
            }
            measures.push(measure);
            counters.push((definition, watches));
        }
        tests.settle();
        tests.wants(&mut wanted);
        table.finish(&mut problems);
        match bounds {
            Some(bounds) if problems.0.is_empty() => Ok(Self {
                specs,
                wanted,
                internal,
                relays,
                known,
                bounds,
                listeners,
                sites,
                tests,
                keys,
                measures,
                counters,
            }),
            _ => Err(problems.0),
        }
    }
}

impl Bounds {
    fn read(value: &Json, path: String, problems: &mut Problems) -> Option<Self> {
        let mut table = Table::of(value, path, problems)?;
        let mut bound = |key: &'static str| {
            let number = table.number(key, problems);
            if number.is_none_or(|n| n == 0) {
                problems.add(table.path(key), "a whole number from 1 is needed");
            }
            number
        };
        let message_bytes = bound("message_bytes");
        let unfinished_bytes = bound("unfinished_bytes");
        let rows_per_batch = bound("rows_per_batch");
        let event_count = bound("event_count");
        let peer_rate = table.number("peer_rate", problems).unwrap_or(0);
        let peer_burst = table.number("peer_burst", problems).unwrap_or(1);
        table.finish(problems);
        let size = |number: Option<u64>| usize::try_from(number?).ok();
        Some(Self {
            message_bytes: size(message_bytes)?,
            unfinished_bytes: size(unfinished_bytes)?,
            rows_per_batch: size(rows_per_batch)?,
            event_count: event_count?,
            peer_rate,
            peer_burst,
        })
    }
}

/// The number of a site, a new one where it has none; None when there are no more numbers.
pub(crate) fn site_number(sites: &mut Vec<String>, site: &str) -> Option<u16> {
    let known = sites.iter().position(|name| name == site);
    let number = known.unwrap_or_else(|| {
        sites.push(site.to_owned());
        sites.len().saturating_sub(1)
    });
    u16::try_from(number).ok()
}

type CounterPlan = (Measure, count::Definition, Vec<count::Watch>);

/// Reads a counter; its tests and its `group_by` are added where they are new.
fn read_counter(
    value: &Json,
    path: String,
    (tests, keys): (&mut Tests, &mut Keys),
    problems: &mut Problems,
) -> Option<CounterPlan> {
    let mut table = Table::of(value, path, problems)?;
    let name = table.required_text("name", problems).to_owned();
    let where_path = table.path("where");
    let condition_json = table.get("where").cloned().unwrap_or_else(|| Json::Object(serde_json::Map::new()));
    let condition = Condition::read(&condition_json, where_path, tests, problems);
    let exempt = table.list("exempt", problems);
    let exempt = exempt.into_iter().map(|(value, path)| Condition::read(value, path, tests, problems)).collect();
    let every_record = table.flag("every_record", problems).unwrap_or(false);
    let group_path = table.path("group_by");
    let group_by = fields(&mut table, "group_by", problems);
    if group_by.is_empty() {
        problems.add(group_path, "at least one field is needed");
    }
    let slot_s = table.number("slot_s", problems).unwrap_or(0);
    let capacity = table.number("capacity", problems).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    if slot_s == 0 || capacity == 0 {
        problems.add(table.own_path(), "slot_s and capacity must be there and over 0");
    }
    let weight = table.text("weight", problems).unwrap_or("EventCount");
    let distinct = table.text("distinct", problems);
    let beacon_path = table.path("beacon");
    let beacon_json = table.get("beacon").cloned();
    let counted = match (&beacon_json, distinct) {
        (Some(_), None) => Counted::Intervals,
        _ => Counted::read(weight, distinct, &table, problems),
    };
    if beacon_json.is_some() && distinct.is_some() {
        problems.add(table.own_path(), "distinct and beacon can't be together");
    }
    let record_max = RecordMax::read(counted, &group_by, &mut table, problems);
    let pinned = read_pinned(&group_by, &mut table, problems);
    let evidence = table.get("evidence").is_some().then(|| fields(&mut table, "evidence", problems));
    let highest = if distinct.is_some() { HIGHEST_DISTINCT_LEVEL } else { u64::MAX };
    let rules = table.list("rules", problems);
    let (mut watches, mut beacon) = (Vec::new(), None);
    if let Some(value) = &beacon_json {
        let spacing = read_spacing(value, beacon_path, slot_s, capacity, problems);
        let read = |(item, path)| read_beacon_watch(item, path, problems);
        let told: Vec<_> = rules.into_iter().filter_map(read).collect();
        beacon = spacing.map(|spacing| (spacing, told));
    } else {
        let read = |(item, path)| read_watch(item, path, &group_by, highest, problems);
        watches = rules.into_iter().filter_map(read).collect();
    }
    table.finish(problems);
    let names: Vec<&str> = group_by.iter().map(|field| field.name()).collect();
    let fingerprint =
        serde_json::json!([condition_json, names, weight, every_record, distinct, beacon_json]).to_string();
    Some((
        Measure {
            name: name.clone(),
            fingerprint: fingerprint.clone(),
            condition,
            exempt,
            every_record,
            key: keys.number(&group_by),
            group_by,
            counted,
            record_max,
            without_key: 0,
            exempted: 0,
        },
        count::Definition {
            name,
            fingerprint,
            slot_s,
            capacity,
            pinned,
            distinct: distinct.is_some(),
            beacon,
            evidence,
        },
        watches,
    ))
}

/// Keys that stay whatever comes, by a port: `{"field": "DstPortNumber", "values": [139, 445]}`.
fn read_pinned(group_by: &[Field], definition: &mut Table<'_>, problems: &mut Problems) -> Option<count::Pinned> {
    let path = definition.path("pinned");
    let mut table = Table::of(definition.get("pinned")?, path.clone(), problems)?;
    let field = Field::named(table.required_text("field", problems)).filter(|field| field.kind() == Kind::Port);
    let place = field.and_then(|field| group_by.iter().position(|known| *known == field));
    let values = table.get("values").and_then(Json::as_array);
    let numbers: Option<HashSet<u64>> = values.and_then(|values| values.iter().map(Json::as_u64).collect());
    table.finish(problems);
    let (Some(place), Some(numbers)) = (place, numbers) else {
        problems.add(path, "a port of the key is needed, and its values");
        return None;
    };
    let group_by = group_by.to_vec();
    Some(Box::new(move |key| {
        let parts = key::decode(&group_by, key).map(|(_, parts)| parts);
        parts.is_some_and(|parts| matches!(parts.get(place), Some(Part::Number(port)) if numbers.contains(port)))
    }))
}

/// A list of ASIM fields.
fn fields(table: &mut Table<'_>, key: &'static str, problems: &mut Problems) -> Vec<Field> {
    let path = table.path(key);
    let listed = table.texts(key, false, problems);
    let known = listed.iter().filter_map(|name| {
        let field = Field::named(name);
        if field.is_none() {
            problems.add(path.clone(), format!("{name} is no ASIM field"));
        }
        field
    });
    known.collect()
}

fn read_spacing(
    value: &Json,
    path: String,
    slot_s: u64,
    capacity: usize,
    problems: &mut Problems,
) -> Option<count::Spacing> {
    let mut table = Table::of(value, path, problems)?;
    let min_gap_s = table.number("min_gap_s", problems);
    let tolerance_s = table.number("tolerance_s", problems);
    let tolerance_percent = table.number("tolerance_percent", problems);
    if min_gap_s.is_none() || tolerance_s.is_none() || tolerance_percent.is_none_or(|percent| percent > 100) {
        let wanted = "min_gap_s, tolerance_s and tolerance_percent (at most 100) must be there";
        problems.add(table.own_path(), wanted);
    }
    table.finish(problems);
    Some(count::Spacing {
        slot_s,
        capacity,
        min_gap_s: min_gap_s?,
        tolerance_s: tolerance_s?,
        tolerance_percent: tolerance_percent?,
    })
}

fn read_beacon_watch(value: &Json, path: String, problems: &mut Problems) -> Option<count::BeaconWatch> {
    let mut table = Table::of(value, path, problems)?;
    let rule = table.required_text("name", problems).to_owned();
    if table.number("window_slots", problems) != Some(1) {
        problems.add(table.path("window_slots"), "must be 1: each slot is judged on its own");
    }
    let level = table.number("level", problems).filter(|level| *level < 100);
    if level.is_none() {
        problems.add(table.path("level"), "a whole number below 100 is needed, in percent");
    }
    let min_events = table.number("min_events", problems).unwrap_or(0);
    table.finish(problems);
    Some(count::BeaconWatch { rule, level: level?, min_events })
}

fn networks(table: &mut Table<'_>, key: &'static str, problems: &mut Problems) -> Networks {
    let path = table.path(key);
    Networks::parse(table.texts(key, false, problems)).unwrap_or_else(|(number, error)| {
        problems.add(format!("{path}[{number}]"), error.to_string());
        Networks::default()
    })
}

/// Distinct values are counted up to [`count::VALUES_PER_KEY`]; a level from there on would never be passed.
const HIGHEST_DISTINCT_LEVEL: u64 = count::VALUES_PER_KEY as u64 - 1;

fn read_watch(
    value: &Json,
    path: String,
    group_by: &[Field],
    highest: u64,
    problems: &mut Problems,
) -> Option<count::Watch> {
    let mut table = Table::of(value, path, problems)?;
    let rule = table.required_text("name", problems).to_owned();
    let window_slots = table.number("window_slots", problems).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    if window_slots == 0 {
        problems.add(table.path("window_slots"), "a whole number from 1 is needed");
    }
    let level = table.number("level", problems);
    if level.is_some_and(|level| level > highest) {
        problems.add(table.path("level"), format!("must be at most {highest}"));
    }
    let levels_path = table.path("levels");
    let levels = table.get("levels").and_then(|value| {
        let mut levels = Table::of(value, levels_path.clone(), problems)?;
        let field = Field::named(levels.required_text("field", problems));
        let place = field.and_then(|field| group_by.iter().position(|known| *known == field));
        let values_path = levels.path("values");
        let values = levels.get("values").and_then(|value| Table::of(value, values_path, problems))?;
        let mut by_value: HashMap<Part, u64> = HashMap::new();
        for (text, level, path) in values.entries() {
            let numeric = field.is_some_and(|f| matches!(f.kind(), Kind::Port | Kind::Number));
            let part = if numeric { text.parse().ok().map(Part::Number) } else { Some(Part::Text(text.to_owned())) };
            match (part, level.as_u64()) {
                (Some(part), Some(level)) if level <= highest => {
                    by_value.insert(part, level);
                }
                (Some(_), Some(_)) => problems.add(path, format!("must be at most {highest}")),
                _ => problems.add(path, "expected a level of each value of the field"),
            }
        }
        levels.finish(problems);
        if place.is_none() {
            problems.add(levels_path, "field must be one of group_by");
        }
        Some((place?, by_value))
    });
    table.finish(problems);
    let level: count::Level = match (level, levels) {
        (Some(level), None) => Box::new(move |_| Some(level)),
        (None, Some((place, by_value))) => {
            let group_by = group_by.to_vec();
            Box::new(move |key| by_value.get(key::decode(&group_by, key)?.1.get(place)?).copied())
        }
        _ => {
            problems.add("counters", format!("rule {rule:?} needs either level or levels"));
            return None;
        }
    };
    Some(count::Watch { rule, window_slots, level })
}
