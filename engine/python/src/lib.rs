//! `collectord._engine`: the engine of `collectord-core` for Python.
//!
//! Conversion, GIL release and the batch receive; nothing else. The interface is told in `collectord/_engine.pyi`. Values
//! that cross are batches or numbers, never an object per message.

// Arguments come by value from Python's side of the call.
#![allow(clippy::needless_pass_by_value)]

mod receive;

use collectord_core::engine::{self, Changes, Notes, OUTCOMES, Origin, Row};
use collectord_core::key::Part;
use collectord_core::plan::Problem;
use collectord_core::record::field_names;
use collectord_core::states::StateRow;
use collectord_core::value::ip::{self, Ip};
use pyo3::buffer::PyBuffer;
use pyo3::create_exception;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyList, PyString, PyTuple};
use receive::Receiver;
use serde_json::Value as Json;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

create_exception!(
    _engine,
    PlanError,
    PyValueError,
    "A plan is wrong; its one argument lists everything as (dotted path, reason)."
);

/// The engine and what the batch receive needs, each call alone in it.
struct Inner {
    core: engine::Engine,
    receiver: Receiver,
}

/// Reads messages and counts them; see the stub for each call.
#[pyclass(frozen, module = "collectord._engine")]
struct Engine {
    inner: Mutex<Inner>,
}

impl Engine {
    /// The state, also when a call before panicked: what it held is counters, which stay usable.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Engine {
    #[new]
    fn new(py: Python<'_>, plan: &str) -> PyResult<Self> {
        let plan = read_plan(plan)?;
        let core = py.detach(|| engine::Engine::new(&plan)).map_err(plan_error)?;
        Ok(Self { inner: Mutex::new(Inner { core, receiver: Receiver::new() }) })
    }

    fn replan(&self, py: Python<'_>, plan: &str) -> PyResult<()> {
        let plan = read_plan(plan)?;
        py.detach(|| {
            let sites = self.lock().core.sites().to_vec();
            let next = engine::Next::read(&plan, &sites)?;
            self.lock().core.take_up(next)
        })
        .map_err(plan_error)
    }

    #[pyo3(signature = (listener, fd, now_ns, budget, woken))]
    fn receive(
        &self,
        py: Python<'_>,
        listener: usize,
        fd: i32,
        now_ns: u64,
        budget: usize,
        woken: Vec<(Bound<'_, PyBytes>, String)>,
    ) -> PyResult<(usize, bool)> {
        let first: Vec<(Option<Ip>, &[u8])> =
            woken.iter().map(|(datagram, peer)| (peer_of(peer), datagram.as_bytes())).collect();
        py.detach(|| {
            let mut inner = self.lock();
            let Inner { core, receiver } = &mut *inner;
            if !first.is_empty() {
                core.datagrams(listener, first.iter().copied(), now_ns);
            }
            let mut read = first.len();
            loop {
                let left = budget.saturating_sub(read);
                if left == 0 {
                    return Ok((read, false));
                }
                let (got, emptied) = receiver.receive(fd, left)?;
                core.datagrams(listener, receiver.datagrams(got), now_ns);
                read = read.saturating_add(got);
                if emptied {
                    return Ok((read, true));
                }
            }
        })
        .map_err(|error: std::io::Error| PyOSError::new_err((error.raw_os_error(), error.to_string())))
    }

    #[pyo3(signature = (listener, peer, name=""))]
    fn connect(&self, py: Python<'_>, listener: usize, peer: &str, name: &str) -> u64 {
        let origin = Origin { listener, peer: peer_of(peer) };
        py.detach(|| self.lock().core.connect_named(origin, name))
    }

    fn lines(&self, py: Python<'_>, listener: usize, peer: &str, block: &[u8], now_ns: u64) -> u64 {
        py.detach(|| self.lock().core.lines(listener, peer_of(peer), block, now_ns))
    }

    #[pyo3(signature = (peer, block, near_ns, zone_offset_s))]
    fn stretches(
        &self,
        py: Python<'_>,
        peer: &str,
        block: &[u8],
        near_ns: u64,
        zone_offset_s: Option<i32>,
    ) -> Vec<(usize, Option<u64>, u64, u64)> {
        let found = py.detach(|| self.lock().core.stretches(peer_of(peer), block, near_ns, zone_offset_s));
        found.into_iter().map(|s| (s.end, s.second, s.lines, s.timed)).collect()
    }

    fn feed(&self, py: Python<'_>, stream: u64, buffer: PyBuffer<u8>, n: usize, now_ns: u64) -> PyResult<u64> {
        let wrong = || PyValueError::new_err("buffer must be contiguous and hold n bytes");
        let whole = buffer.as_slice_ptr().ok_or_else(wrong)?;
        // SAFETY: the slice is initialised memory that `buffer` keeps exported, so it can't be moved or freed meanwhile.
        // Nobody writes to it: the one owner is the listener, whose thread is in this call.
        let bytes = unsafe { whole.as_ref() }.get(..n).ok_or_else(wrong)?;
        Ok(py.detach(|| self.lock().core.feed(stream, bytes, now_ns)))
    }

    fn disconnect(&self, py: Python<'_>, stream: u64, now_ns: u64) -> u64 {
        py.detach(|| self.lock().core.disconnect(stream, now_ns))
    }

    fn changes<'py>(&self, py: Python<'py>, now_ns: u64) -> PyResult<Bound<'py, PyDict>> {
        let (changes, sites) = py.detach(|| {
            let core = &mut self.lock().core;
            (core.changes(now_ns), core.sites().to_vec())
        });
        changes_dict(py, changes, &sites, now_ns)
    }

    fn ack(&self, py: Python<'_>, seq: u64) {
        py.detach(|| self.lock().core.ack(seq));
    }

    fn restore(&self, py: Python<'_>, counter: &str, rows: Vec<Bound<'_, PyTuple>>) -> PyResult<usize> {
        let rows = rows.iter().map(row_of).collect::<PyResult<Vec<Row>>>()?;
        Ok(py.detach(|| {
            let mut inner = self.lock();
            rows.iter().filter(|row| inner.core.restore(counter, row)).count()
        }))
    }

    fn restore_states(
        &self,
        py: Python<'_>,
        counter: &str,
        kind: &str,
        rows: Vec<Bound<'_, PyTuple>>,
    ) -> PyResult<usize> {
        let rows = rows.iter().map(|row| state_row_of(kind, row)).collect::<PyResult<Vec<StateRow>>>()?;
        Ok(py.detach(|| {
            let mut inner = self.lock();
            rows.iter().filter(|row| inner.core.restore_state(counter, row)).count()
        }))
    }

    fn restart_windows(&self, py: Python<'_>, now_ns: u64) {
        py.detach(|| self.lock().core.restart_windows(now_ns));
    }

    #[pyo3(signature = (message, peer=None))]
    fn parse(&self, py: Python<'_>, message: &[u8], peer: Option<&str>) -> String {
        py.detach(|| self.lock().core.parse(message, peer).to_string())
    }
}

fn read_plan(plan: &str) -> PyResult<Json> {
    serde_json::from_str(plan).map_err(|error| PyValueError::new_err(format!("the plan is no JSON: {error}")))
}

fn plan_error(problems: Vec<Problem>) -> PyErr {
    let problems: Vec<(String, String)> = problems.into_iter().map(|p| (p.path, p.reason)).collect();
    PlanError::new_err((problems,))
}

/// (slot, site, key columns..., `EventCount`, messages, error), as [`changes_dict`] hands rows out.
fn row_of(row: &Bound<'_, PyTuple>) -> PyResult<Row> {
    let columns = row.len();
    if columns < 6 {
        return Err(PyValueError::new_err("a row has a slot, a site, a key and three numbers"));
    }
    let parts = parts_of(row, 2..columns.saturating_sub(3))?;
    let number = |back: usize| row.get_item(columns.saturating_sub(back))?.extract::<u64>();
    Ok(Row {
        slot_start_s: row.get_item(0)?.extract()?,
        key: Some((row.get_item(1)?.extract()?, parts)),
        count: number(3)?,
        messages: number(2)?,
        error: number(1)?,
    })
}

/// (site, key columns..., state, `last_s`), as [`changes_dict`] hands states out behind counter and kind.
fn state_row_of(kind: &str, row: &Bound<'_, PyTuple>) -> PyResult<StateRow> {
    let columns = row.len();
    if columns < 4 {
        return Err(PyValueError::new_err("a row has a site, a key, a state and a time"));
    }
    Ok(StateRow {
        key: (row.get_item(0)?.extract()?, parts_of(row, 1..columns.saturating_sub(2))?),
        kind: kind.to_owned(),
        state: row.get_item(columns.saturating_sub(2))?.extract()?,
        last_s: row.get_item(columns.saturating_sub(1))?.extract()?,
    })
}

/// Key columns.
fn parts_of(row: &Bound<'_, PyTuple>, places: Range<usize>) -> PyResult<Vec<Part>> {
    let part = |place: usize| {
        let value = row.get_item(place)?;
        match value.cast::<PyInt>() {
            Ok(number) => Ok(Part::Number(number.extract()?)),
            Err(_) => Ok(Part::Text(value.extract()?)),
        }
    };
    places.map(part).collect()
}

fn changes_dict<'py>(py: Python<'py>, changes: Changes, sites: &[String], now_ns: u64) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("seq", changes.seq)?;
    dict.set_item("now_ns", now_ns)?;
    let rows = PyDict::new(py);
    for (counter, list) in changes.rows {
        let list = list.into_iter().enumerate().map(|(number, row)| {
            let_others_in(py, number);
            row_tuple(py, row)
        });
        let list = list.collect::<PyResult<Vec<_>>>()?;
        rows.set_item(counter, PyList::new(py, list)?)?;
    }
    dict.set_item("rows", rows)?;
    let states = PyList::empty(py);
    for (counter, list) in changes.states {
        let counter = PyString::new(py, &counter);
        for (number, row) in list.into_iter().enumerate() {
            let_others_in(py, number);
            states.append(state_tuple(py, &counter, row)?)?;
        }
    }
    dict.set_item("states", states)?;
    add_notes(&dict, changes.notes, sites)?;
    let windows = PyList::empty(py);
    for window in changes.windows {
        let entry = PyDict::new(py);
        entry.set_item("rule", window.rule)?;
        entry.set_item("start_ns", window.start_ns)?;
        entry.set_item("end_ns", window.end_ns)?;
        entry.set_item("closed", window.closed)?;
        let keys = window.keys.into_iter().map(|(site, parts, sum, error)| {
            let mut values = vec![PyString::new(py, &site).into_any()];
            values.extend(key_values(py, parts)?);
            values.push(sum.into_pyobject(py)?.into_any());
            values.push(error.into_pyobject(py)?.into_any());
            PyTuple::new(py, values)
        });
        entry.set_item("keys", PyList::new(py, keys.collect::<PyResult<Vec<_>>>()?)?)?;
        windows.append(entry)?;
    }
    dict.set_item("windows", windows)?;
    dict.set_item("evicted", changes.evicted.into_iter().collect::<std::collections::BTreeMap<_, _>>())?;
    dict.set_item("without_key", changes.without_key.into_iter().collect::<std::collections::BTreeMap<_, _>>())?;
    dict.set_item("exempted", changes.exempted.into_iter().collect::<std::collections::BTreeMap<_, _>>())?;
    dict.set_item("carried", changes.carried)?;
    let limited = changes
        .limited
        .into_iter()
        .map(|limited| (limited.peer.to_string(), limited.listener, limited.since_ns, limited.dropped, limited.ended));
    dict.set_item("limited", limited.collect::<Vec<_>>())?;
    Ok(dict)
}

/// Lets other threads have the interpreter now and then while a long batch becomes Python's: they receive meanwhile.
fn let_others_in(py: Python<'_>, row: usize) {
    if row % 1024 == 1023 {
        py.detach(|| ());
    }
}

fn add_notes(dict: &Bound<'_, PyDict>, notes: Notes, sites: &[String]) -> PyResult<()> {
    let ledger = notes
        .ledger
        .into_iter()
        .map(|(listener, outcome, messages, bytes)| (listener, outcome.name(), messages, bytes));
    dict.set_item("ledger", ledger.collect::<Vec<_>>())?;
    let devices = notes.devices.into_iter().map(|seen| {
        let site = sites.get(usize::from(seen.site)).map_or("", String::as_str);
        let peer = seen.peer.map_or_else(String::new, |ip| ip.to_string());
        let profile = seen.profile.unwrap_or_default();
        (site, seen.name, peer, seen.listener, profile, seen.messages.to_vec(), seen.last_ns, seen.clock_off_ms)
    });
    dict.set_item("devices", devices.collect::<Vec<_>>())?;
    let quarantine = notes.quarantine.into_iter().map(|group| {
        let peer = group.peer.map_or_else(String::new, |ip| ip.to_string());
        (group.listener, peer, group.profile, group.shape, group.messages, Cow::from(group.example), group.last_ns)
    });
    dict.set_item("quarantine", quarantine.collect::<Vec<_>>())?;
    dict.set_item("not_quarantined", notes.not_quarantined)?;
    let unmapped = notes.unmapped.into_iter().map(|word| (word.profile, word.from, word.word, word.messages));
    dict.set_item("unmapped", unmapped.collect::<Vec<_>>())?;
    dict.set_item("clamped", notes.clamped)
}

/// The address in a host that the event loop tells; None where it is none (a socket of another family).
fn peer_of(host: &str) -> Option<Ip> {
    ip::parse(host.as_bytes())
}

fn key_values(py: Python<'_>, parts: Vec<Part>) -> PyResult<Vec<Bound<'_, PyAny>>> {
    parts
        .into_iter()
        .map(|part| match part {
            Part::Text(text) => Ok(PyString::new(py, &text).into_any()),
            Part::Number(number) => Ok(number.into_pyobject(py)?.into_any()),
        })
        .collect()
}

/// None as the key stands for the row of evicted keys: site `*`; the caller fills the key columns.
fn row_tuple(py: Python<'_>, row: Row) -> PyResult<Bound<'_, PyTuple>> {
    let mut values = vec![row.slot_start_s.into_pyobject(py)?.into_any()];
    match row.key {
        Some((site, parts)) => {
            values.push(PyString::new(py, &site).into_any());
            values.extend(key_values(py, parts)?);
        }
        None => values.push(PyString::new(py, "*").into_any()),
    }
    for number in [row.count, row.messages, row.error] {
        values.push(number.into_pyobject(py)?.into_any());
    }
    PyTuple::new(py, values)
}

fn state_tuple<'py>(py: Python<'py>, counter: &Bound<'py, PyString>, row: StateRow) -> PyResult<Bound<'py, PyTuple>> {
    let (site, parts) = row.key;
    let text = |text: &str| PyString::new(py, text).into_any();
    let mut values = vec![counter.clone().into_any(), text(&row.kind), text(&site)];
    values.extend(key_values(py, parts)?);
    values.push(text(&row.state));
    values.push(row.last_s.into_pyobject(py)?.into_any());
    PyTuple::new(py, values)
}

/// The compiled module.
#[pymodule]
fn _engine(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add_class::<Engine>()?;
    module.add("PlanError", py.get_type::<PlanError>())?;
    module.add("OUTCOMES", PyTuple::new(py, OUTCOMES)?)?;
    module.add("FIELDS", PyTuple::new(py, field_names().collect::<Vec<_>>())?)?;
    module.add("BUILD", if cfg!(debug_assertions) { "debug" } else { "release" })?;
    Ok(())
}
