//! `collectord._engine`: the engine of `collectord-core` for Python.
//!
//! Conversion, GIL release and the batch receive; nothing else. The interface is told in `collectord/_engine.pyi`. Values
//! that cross are batches or numbers, never an object per message.

// Arguments come by value from Python's side of the call.
#![allow(clippy::needless_pass_by_value)]

mod batch;
mod receive;

use collectord_core::engine::{self, OUTCOMES, Origin, Row};
use collectord_core::key::Part;
use collectord_core::plan::Problem;
use collectord_core::record::field_names;
use collectord_core::states::StateRow;
use collectord_core::value::ip::{self, Ip};
use pyo3::buffer::PyBuffer;
use pyo3::create_exception;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyTuple};
use receive::Receiver;
use serde_json::Value as Json;
use std::ops::{Deref, DerefMut, Range};
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

create_exception!(
    _engine,
    PlanError,
    PyValueError,
    "A plan is wrong; its one argument lists everything as (dotted path, reason)."
);

create_exception!(
    _engine,
    EngineError,
    PyRuntimeError,
    "The engine met a bug of its own and goes on without what the call was about. The second argument of those of `feed`: \
     frames that ended before."
);

/// Runs what may panic. The panic ends here and not in the interpreter, where it would end the process.
fn survive<T>(work: impl FnOnce() -> T) -> PyResult<T> {
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|cause| {
        let said = cause.downcast_ref::<&str>().map(|said| (*said).to_owned());
        let said = said.or_else(|| cause.downcast_ref::<String>().cloned()).unwrap_or_default();
        let said: String = said.chars().take(SAID_CHARACTERS).collect();
        EngineError::new_err((format!("the engine panicked: {said}"),))
    })
}

/// End in the block, second, lines, those that say the time.
type Stretch = (usize, Option<u64>, u64, u64);

/// Most of what a panic says that is passed on.
const SAID_CHARACTERS: usize = 200;

/// The engine and what the batch receive needs, each call alone in it.
struct Inner {
    core: engine::Engine,
    receiver: Receiver,
}

/// The state while a call works with it.
struct Locked<'e> {
    inner: MutexGuard<'e, Inner>,
    callers: &'e AtomicUsize,
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.callers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Deref for Locked<'_> {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.inner
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Inner {
        &mut self.inner
    }
}

/// What a step of a batch waits at a time for others who want the engine, and how often at most.
const TURN: Duration = Duration::from_micros(50);
const TURNS_FOR_OTHERS: usize = 200;

/// Reads messages and counts them; see the stub for each call.
#[pyclass(frozen, module = "collectord._engine")]
struct Engine {
    inner: Mutex<Inner>,
    /// Calls that wait for `inner`, or have it.
    callers: AtomicUsize,
    /// Held by who needs the engine for several steps, in which others may receive.
    tick: Mutex<()>,
}

impl Engine {
    /// The state, also when a call before panicked: what it held is counters, which stay usable.
    fn lock(&self) -> Locked<'_> {
        self.callers.fetch_add(1, Ordering::Relaxed);
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        Locked { inner, callers: &self.callers }
    }

    /// Between two steps: a mutex does not keep an order, so whoever waits for it has to be waited for.
    fn let_others_in(&self) {
        for _ in 0..TURNS_FOR_OTHERS {
            if self.callers.load(Ordering::Relaxed) == 0 {
                return;
            }
            thread::sleep(TURN);
        }
    }
}

#[pymethods]
impl Engine {
    #[new]
    fn new(py: Python<'_>, plan: &str) -> PyResult<Self> {
        let plan = read_plan(plan)?;
        let core = alone(py, || engine::Engine::new(&plan))?.map_err(plan_error)?;
        let inner = Mutex::new(Inner { core, receiver: Receiver::new() });
        Ok(Self { inner, callers: AtomicUsize::new(0), tick: Mutex::new(()) })
    }

    fn replan(&self, py: Python<'_>, plan: &str) -> PyResult<()> {
        let plan = read_plan(plan)?;
        alone(py, || {
            let _alone = self.tick.lock().unwrap_or_else(PoisonError::into_inner);
            let sites = self.lock().core.sites().to_vec();
            let next = engine::Next::read(&plan, &sites)?;
            self.lock().core.take_up(next)
        })?
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
        alone(py, || {
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
                let Ok(taken) = survive(|| receiver.receive(fd, left)) else {
                    // What was read before is counted, and so is this.
                    core.note_panic();
                    return Ok((read, true));
                };
                let (got, emptied) = taken?;
                core.datagrams(listener, receiver.datagrams(got), now_ns);
                read = read.saturating_add(got);
                if emptied {
                    return Ok((read, true));
                }
            }
        })?
        .map_err(|error: std::io::Error| PyOSError::new_err((error.raw_os_error(), error.to_string())))
    }

    #[pyo3(signature = (listener, peer, name=""))]
    fn connect(&self, py: Python<'_>, listener: usize, peer: &str, name: &str) -> PyResult<u64> {
        let origin = Origin { listener, peer: peer_of(peer) };
        alone(py, || self.lock().core.connect_named(origin, name))
    }

    fn lines(&self, py: Python<'_>, listener: usize, peer: &str, block: &[u8], now_ns: u64) -> PyResult<u64> {
        alone(py, || self.lock().core.lines(listener, peer_of(peer), block, now_ns))
    }

    #[pyo3(signature = (peer, block, near_ns, zone_offset_s))]
    fn stretches(
        &self,
        py: Python<'_>,
        peer: &str,
        block: &[u8],
        near_ns: u64,
        zone_offset_s: Option<i32>,
    ) -> PyResult<Vec<Stretch>> {
        let found = alone(py, || self.lock().core.stretches(peer_of(peer), block, near_ns, zone_offset_s))?;
        Ok(found.into_iter().map(|s| (s.end, s.second, s.lines, s.timed)).collect())
    }

    fn feed(&self, py: Python<'_>, stream: u64, buffer: PyBuffer<u8>, n: usize, now_ns: u64) -> PyResult<u64> {
        let wrong = || PyValueError::new_err("buffer must be contiguous and hold n bytes");
        let whole = buffer.as_slice_ptr().ok_or_else(wrong)?;
        // SAFETY: the slice is initialised memory that `buffer` keeps exported, so it can't be moved or freed meanwhile.
        // Nobody writes to it: the one owner is the listener, whose thread is in this call.
        let bytes = unsafe { whole.as_ref() }.get(..n).ok_or_else(wrong)?;
        let (messages, goes_on) = alone(py, || {
            let mut inner = self.lock();
            let known = inner.core.has_stream(stream);
            let messages = inner.core.feed(stream, bytes, now_ns);
            (messages, !known || inner.core.has_stream(stream))
        })?;
        if goes_on {
            return Ok(messages);
        }
        Err(EngineError::new_err(("the engine panicked at the frames of a connection", messages)))
    }

    fn disconnect(&self, py: Python<'_>, stream: u64, now_ns: u64) -> PyResult<u64> {
        alone(py, || self.lock().core.disconnect(stream, now_ns))
    }

    fn changes<'py>(&self, py: Python<'py>, now_ns: u64) -> PyResult<Bound<'py, PyDict>> {
        let (rows, changes, sites) = alone(py, || {
            // Nobody else may begin or take up anything meanwhile; who receives gets his turn between two steps.
            let _alone = self.tick.lock().unwrap_or_else(PoisonError::into_inner);
            let mut handover = self.lock().core.begin(now_ns);
            while handover.work() {
                self.let_others_in();
                self.lock().core.proceed(&mut handover);
            }
            let batch = self.lock().core.finish(handover);
            let rows: Vec<_> = batch.rows().map(|(counter, rows)| (counter.to_owned(), rows)).collect();
            let sites = batch.sites();
            (rows, batch.told_but_rows(), sites)
        })?;
        batch::changes_dict(py, rows, changes, &sites, now_ns)
    }

    fn ack(&self, py: Python<'_>, seq: u64) -> PyResult<()> {
        alone(py, || self.lock().core.ack(seq))
    }

    fn restore(&self, py: Python<'_>, counter: &str, rows: Vec<Bound<'_, PyTuple>>) -> PyResult<usize> {
        let rows = rows.iter().map(row_of).collect::<PyResult<Vec<Row>>>()?;
        alone(py, || {
            let mut inner = self.lock();
            rows.iter().filter(|row| inner.core.restore(counter, row)).count()
        })
    }

    fn restore_states(
        &self,
        py: Python<'_>,
        counter: &str,
        kind: &str,
        rows: Vec<Bound<'_, PyTuple>>,
    ) -> PyResult<usize> {
        let rows = rows.iter().map(|row| state_row_of(kind, row)).collect::<PyResult<Vec<StateRow>>>()?;
        alone(py, || {
            let mut inner = self.lock();
            rows.iter().filter(|row| inner.core.restore_state(counter, row)).count()
        })
    }

    fn restart_windows(&self, py: Python<'_>, now_ns: u64) -> PyResult<()> {
        alone(py, || {
            let _alone = self.tick.lock().unwrap_or_else(PoisonError::into_inner);
            self.lock().core.restart_windows(now_ns);
        })
    }

    #[pyo3(signature = (message, peer=None))]
    fn parse(&self, py: Python<'_>, message: &[u8], peer: Option<&str>) -> PyResult<String> {
        alone(py, || self.lock().core.parse(message, peer).to_string())
    }
}

/// Runs what may panic, and needs nothing of Python meanwhile; each call that works on the core does it here.
fn alone<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> PyResult<T> {
    py.detach(|| survive(work))
}

fn read_plan(plan: &str) -> PyResult<Json> {
    serde_json::from_str(plan).map_err(|error| PyValueError::new_err(format!("the plan is no JSON: {error}")))
}

fn plan_error(problems: Vec<Problem>) -> PyErr {
    let problems: Vec<(String, String)> = problems.into_iter().map(|p| (p.path, p.reason)).collect();
    PlanError::new_err((problems,))
}

/// (slot, site, key columns..., `EventCount`, messages, error), as [`batch::Rows`] hands rows out.
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

/// (site, key columns..., state, `last_s`), as [`batch::States`] hands states out behind counter and kind.
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

/// The address in a host that the event loop tells; None where it is none (a socket of another family).
fn peer_of(host: &str) -> Option<Ip> {
    ip::parse(host.as_bytes())
}

/// Panics that are written to stderr as they come; of later ones only the 16th, the 32nd and so on. A sender that knows
/// how to bring one about must not fill the log.
const SHOWN_PANICS: u32 = 8;

/// Says of a panic where it was, as Rust does, within bounds.
fn show_few_panics() {
    static SEEN: AtomicU32 = AtomicU32::new(0);
    let show = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let number = SEEN.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if number <= SHOWN_PANICS || number.is_power_of_two() {
            show(info);
        }
    }));
}

/// The compiled module.
#[pymodule]
fn _engine(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    show_few_panics();
    module.add_class::<Engine>()?;
    module.add_class::<batch::Rows>()?;
    module.add_class::<batch::States>()?;
    module.add("PlanError", py.get_type::<PlanError>())?;
    module.add("EngineError", py.get_type::<EngineError>())?;
    module.add("OUTCOMES", PyTuple::new(py, OUTCOMES)?)?;
    module.add("FIELDS", PyTuple::new(py, field_names().collect::<Vec<_>>())?)?;
    module.add("BUILD", if cfg!(debug_assertions) { "debug" } else { "release" })?;
    Ok(())
}
