//! A batch as Python sees it: rows and states become Python's objects one by one, when they are asked for, so that nobody
//! waits for the interpreter until all of them are made.

use crate::survive;
use collectord_core::count::Kind;
use collectord_core::engine::{self, Changes, Notes, Row};
use collectord_core::key::Part;
use collectord_core::states::StateRow;
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};
use std::borrow::Cow;
use std::sync::Arc;

/// The rows of a counter; see the stub.
#[pyclass(frozen, sequence, module = "collectord._engine")]
pub struct Rows {
    rows: engine::Rows,
}

#[pymethods]
impl Rows {
    fn __len__(&self) -> usize {
        self.rows.len()
    }

    fn __getitem__<'py>(&self, py: Python<'py>, place: usize) -> PyResult<Bound<'py, PyTuple>> {
        let row = survive(|| self.rows.get(place))?.ok_or_else(|| PyIndexError::new_err("no such row"))?;
        row_tuple(py, row, || self.rows.no_key())
    }
}

/// The states of a batch; see the stub.
#[pyclass(frozen, sequence, module = "collectord._engine")]
pub struct States {
    states: Vec<(Arc<str>, StateRow)>,
}

#[pymethods]
impl States {
    fn __len__(&self) -> usize {
        self.states.len()
    }

    fn __getitem__<'py>(&self, py: Python<'py>, place: usize) -> PyResult<Bound<'py, PyTuple>> {
        let (counter, row) = self.states.get(place).ok_or_else(|| PyIndexError::new_err("no such state"))?;
        state_tuple(py, counter, row)
    }
}

pub fn changes_dict<'py>(
    py: Python<'py>,
    rows: Vec<(String, engine::Rows)>,
    changes: Changes,
    sites: &[String],
    now_ns: u64,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("seq", changes.seq)?;
    dict.set_item("now_ns", now_ns)?;
    let found = PyDict::new(py);
    for (counter, rows) in rows {
        found.set_item(counter, Rows { rows })?;
    }
    dict.set_item("rows", found)?;
    let states = changes.states.into_iter().flat_map(|(counter, rows)| {
        let counter: Arc<str> = counter.into();
        rows.into_iter().map(move |row| (Arc::clone(&counter), row))
    });
    let states: Vec<_> = states.collect();
    let evidence = states.iter().filter(|(_, row)| row.kind == Kind::Evidence.name()).cloned().collect();
    dict.set_item("evidence", States { states: evidence })?;
    dict.set_item("states", States { states })?;
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
    dict.set_item("panics", changes.panics)?;
    let limited = changes
        .limited
        .into_iter()
        .map(|limited| (limited.peer.to_string(), limited.listener, limited.since_ns, limited.dropped, limited.ended));
    dict.set_item("limited", limited.collect::<Vec<_>>())?;
    Ok(dict)
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

fn key_values(py: Python<'_>, parts: Vec<Part>) -> PyResult<Vec<Bound<'_, PyAny>>> {
    parts
        .into_iter()
        .map(|part| match part {
            Part::Text(text) => Ok(PyString::new(py, &text).into_any()),
            Part::Number(number) => Ok(number.into_pyobject(py)?.into_any()),
        })
        .collect()
}

/// (slot, site, key columns..., `EventCount`, messages, error). The row of evicted keys has the site `*`.
fn row_tuple(py: Python<'_>, row: Row, no_key: impl FnOnce() -> Vec<Part>) -> PyResult<Bound<'_, PyTuple>> {
    let mut values = vec![row.slot_start_s.into_pyobject(py)?.into_any()];
    let (site, parts) = row.key.unwrap_or_else(|| ("*".to_owned(), no_key()));
    values.push(PyString::new(py, &site).into_any());
    values.extend(key_values(py, parts)?);
    for number in [row.count, row.messages, row.error] {
        values.push(number.into_pyobject(py)?.into_any());
    }
    PyTuple::new(py, values)
}

/// (counter, kind, site, key columns..., state, `last_s`).
fn state_tuple<'py>(py: Python<'py>, counter: &str, row: &StateRow) -> PyResult<Bound<'py, PyTuple>> {
    let (site, parts) = &row.key;
    let text = |text: &str| PyString::new(py, text).into_any();
    let mut values = vec![text(counter), text(&row.kind), text(site)];
    values.extend(key_values(py, parts.clone())?);
    values.push(text(&row.state));
    values.push(row.last_s.into_pyobject(py)?.into_any());
    PyTuple::new(py, values)
}
