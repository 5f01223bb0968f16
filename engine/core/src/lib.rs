//! Reads syslog from network devices, makes ASIM network sessions of it and counts them.
//!
//! Bytes, a wall time and a plan come in; outcomes, counter increments and judged windows go out. Nothing here knows of
//! Python, sockets, files or a clock. Bytes from the wire never raise an error: every message ends in one [`Outcome`].
//!
//! The flow, one module a stage: [`frame`] cuts a stream into messages, [`header`] reads the syslog header, [`profile`]
//! recognises the product and reads its fields with the readers of [`value`], [`session`] holds the ASIM record, [`count`]
//! keeps the windowed counters, and [`engine`] joins them.

#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod condition;
pub mod connections;
pub mod count;
pub mod device;
pub mod engine;
pub mod frame;
mod handover;
pub mod header;
pub mod key;
pub mod lines;
mod outcome;
pub mod plan;
pub mod profile;
pub mod quarantine;
pub mod rate;
pub mod record;
mod sent;
pub mod session;
mod setup;
pub mod states;
mod survive;
pub mod unmapped;
pub mod value;

pub use engine::{Engine, Outcome};
