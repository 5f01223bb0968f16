//! A batch on its way out of the engine: taken in short steps, put into words without it.
//!
//! Nobody can receive while a step is taken, so the steps only copy; keys become addresses and names, and states text,
//! once nothing of the engine is needed any more.

use crate::count::{self, Draft, Next};
use crate::engine::Notes;
use crate::key::{self, Part};
use crate::rate::Limited;
use crate::session::{Field, Kind};
use crate::states::{Shape, StateRow};
use crate::survive::survive;
use std::sync::Arc;

/// What changed since the last acknowledged batch, and how the rules' windows stand.
#[derive(Debug)]
pub struct Changes {
    /// Number of the batch.
    pub seq: u64,
    /// Increments per counter of the plan, by name. Those that an earlier plan left behind are not told: one of the same
    /// name may count something else now. So acknowledge a batch before another plan is taken up.
    pub rows: Vec<(String, Vec<Row>)>,
    /// Whole states of keys that changed, per counter.
    pub states: Vec<(String, Vec<StateRow>)>,
    /// What else there is to tell of the batch's messages.
    pub notes: Notes,
    /// Judged windows in the order of time.
    pub windows: Vec<Window>,
    /// Evictions per counter since the last call.
    pub evicted: Vec<(String, u64)>,
    /// Sessions per counter without an address or port of its key, or the value to tell apart, since the last call.
    pub without_key: Vec<(String, u64)>,
    /// Sessions per counter that were exempt, since the last call.
    pub exempted: Vec<(String, u64)>,
    /// Rows and states that come with the next batch.
    pub carried: usize,
    /// Peers over their rate, and those that no longer are.
    pub limited: Vec<Limited>,
    /// Panics outside of messages and streams since the last call, this one included: a window may lack, or rows.
    pub panics: u64,
}

/// What one key of a counter gained in one slot.
#[derive(Debug)]
pub struct Row {
    /// Start of the slot, epoch seconds.
    pub slot_start_s: u64,
    /// Site and key; None: counted under keys that were evicted meanwhile.
    pub key: Option<(String, Vec<Part>)>,
    /// Gain in the sum of weights.
    pub count: u64,
    /// Gain in messages.
    pub messages: u64,
    /// Most messages that the key may have had before it got its place.
    pub error: u64,
}

/// A rule's window at one instant.
#[derive(Debug)]
pub struct Window {
    /// The rule.
    pub rule: String,
    /// Start, wall ns.
    pub start_ns: u64,
    /// End, wall ns.
    pub end_ns: u64,
    /// False: still open.
    pub closed: bool,
    /// Site, key, sum, error of each key over the rule's level.
    pub keys: Vec<(String, Vec<Part>, u64, u64)>,
}

/// A batch that is being collected; see [`Engine::begin`](crate::engine::Engine::begin).
#[derive(Debug)]
pub struct Handover {
    pub(crate) counted: count::Changes,
    /// None: the batch is that of before once more.
    pub(crate) draft: Option<Draft>,
    pub(crate) notes: Notes,
    pub(crate) without_key: Vec<(String, u64)>,
    pub(crate) exempted: Vec<(String, u64)>,
    pub(crate) limited: Vec<Limited>,
    pub(crate) panics: u64,
}

impl Handover {
    /// Does what can be done without the engine; returns whether another step with it is to follow before the last one.
    pub fn work(&mut self) -> bool {
        let Some(draft) = &mut self.draft else { return false };
        while draft.next() == Next::Work {
            survive(&mut self.panics, || draft.work());
        }
        draft.next() == Next::Proceed
    }
}

/// A batch with all that is needed to read it.
#[derive(Debug)]
pub struct Batch {
    pub(crate) counted: count::Changes,
    pub(crate) notes: Notes,
    pub(crate) evicted: Vec<(String, u64)>,
    pub(crate) without_key: Vec<(String, u64)>,
    pub(crate) exempted: Vec<(String, u64)>,
    pub(crate) limited: Vec<Limited>,
    pub(crate) panics: u64,
    /// The counters that the plan has, by their place in the batch, and what their keys look like.
    pub(crate) rows: Vec<(usize, Arc<Shape>)>,
    /// What keys look like for each counter with states.
    pub(crate) states: Vec<Option<Arc<Shape>>>,
    /// And for each judgement.
    pub(crate) judged: Vec<Option<Arc<Shape>>>,
    pub(crate) sites: Arc<Vec<String>>,
}

impl Batch {
    /// The rows per counter of the plan, to be read one by one.
    pub fn rows(&self) -> impl Iterator<Item = (&str, Rows)> {
        self.rows.iter().filter_map(|(place, shape)| {
            let (all, shape, sites) = (Arc::clone(&self.counted.rows), Arc::clone(shape), Arc::clone(&self.sites));
            Some((self.counted.rows.get(*place)?.counter.as_str(), Rows { all, place: *place, shape, sites }))
        })
    }

    /// The sites' names by number.
    pub fn sites(&self) -> Arc<Vec<String>> {
        Arc::clone(&self.sites)
    }

    /// Everything in words, but the rows: those are left to be asked for one by one.
    pub fn told_but_rows(self) -> Changes {
        let decode = |shape: &Shape, key: &[u8]| decode(&self.sites, &shape.group_by, key);
        let states = self.counted.states.iter().zip(&self.states).filter_map(|(of, shape)| {
            let shape = shape.as_ref()?;
            let rows =
                of.rows.iter().filter_map(|row| Some(StateRow::of(row, decode(shape, row.key.as_bytes())?, shape)));
            Some((of.counter.clone(), rows.collect()))
        });
        let states = states.collect();
        let windows = self.counted.judgements.iter().zip(&self.judged).map(|(judgement, shape)| {
            let keys = judgement.keys.iter().filter_map(|over| {
                let (site, parts) = decode(shape.as_ref()?, over.key.as_bytes())?;
                Some((site, parts, over.sum.min(i64::MAX as u64), over.error))
            });
            Window {
                rule: judgement.rule.to_string(),
                start_ns: judgement.start_ns,
                end_ns: judgement.end_ns,
                closed: judgement.closed,
                keys: keys.collect(),
            }
        });
        let windows = windows.collect();
        let (seq, carried) = (self.counted.seq, self.counted.carried);
        let Self { notes, evicted, without_key, exempted, limited, panics, .. } = self;
        let rows = Vec::new();
        Changes { seq, rows, states, notes, windows, evicted, without_key, exempted, carried, limited, panics }
    }

    /// Everything in words.
    pub fn told(self) -> Changes {
        let rows = self.rows().map(|(counter, rows)| {
            let all = (0..rows.len()).filter_map(|place| rows.get(place));
            (counter.to_owned(), all.collect())
        });
        let rows = rows.collect();
        Changes { rows, ..self.told_but_rows() }
    }
}

/// The rows of one counter in a batch, which are put into words one at a time.
#[derive(Debug, Clone)]
pub struct Rows {
    all: Arc<[count::CounterRows]>,
    place: usize,
    shape: Arc<Shape>,
    sites: Arc<Vec<String>>,
}

impl Rows {
    fn raw(&self) -> &[count::Row] {
        self.all.get(self.place).map_or(&[], |of| &of.rows)
    }

    /// How many there are; at least one.
    pub fn len(&self) -> usize {
        self.raw().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.raw().is_empty()
    }

    /// One of them.
    pub fn get(&self, place: usize) -> Option<Row> {
        let row = self.raw().get(place)?;
        Some(Row {
            slot_start_s: row.slot_start_s,
            key: decode(&self.sites, &self.shape.group_by, row.key.as_bytes()),
            // The store's numbers have a sign.
            count: row.count.min(i64::MAX as u64),
            messages: row.messages,
            error: row.error,
        })
    }

    /// What stands in the columns of the key where a row has none.
    pub fn no_key(&self) -> Vec<Part> {
        let nothing = |field: &Field| match field.kind() {
            Kind::Port => Part::Number(0),
            Kind::Address | Kind::Number | Kind::Text | Kind::Protocol | Kind::Word(_) => Part::Text(String::new()),
        };
        self.shape.group_by.iter().map(nothing).collect()
    }
}

fn decode(sites: &[String], group_by: &[Field], key: &[u8]) -> Option<(String, Vec<Part>)> {
    let (site, parts) = key::decode(group_by, key)?;
    Some((sites.get(usize::from(site))?.clone(), parts))
}
