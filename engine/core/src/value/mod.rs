//! Values as they stand in a message: who writes them how, and how to take them out again.
//!
//! Each reader walks once over the bytes of one message and hands out slices of it. None of them allocates, knows
//! what a field means, or fails: a reader prefers some reading over none, and what it cannot read it leaves out.
//! Time is linear in the message, whatever a sender writes.
//!
//! | file | reads |
//! |---|---|
//! | [`kv`] | `key=value key="quoted value"`, separated by blanks or by commas |
//! | [`marked`] | pairs with other marks between key and value and between pairs |
//! | [`csv`] | columns, numbered from 1 |
//! | [`cef`] | ArcSight Common Event Format: a header of seven fields and an extension of pairs |
//! | [`leef`] | IBM `QRadar` Log Event Extended Format: a header of five or six fields and pairs |
//! | [`json`] | values of a JSON text by their paths, and each element of an array as one item |
//! | [`xml`] | values of an XML text by their paths |
//! | [`template`] | a message written as text with holes |
//! | [`ip`] | addresses and networks |
//! | [`escape`] | what stands for what inside a value |

mod blocks;
pub mod cef;
pub mod csv;
pub mod escape;
pub mod ip;
pub mod json;
pub mod kv;
pub mod leef;
pub mod marked;
mod pairs;
mod path;
mod scan;
mod stops;
pub mod template;
pub mod xml;

pub use escape::{Escape, Raw, unescape};
pub use ip::{Ip, Network, Networks};
pub use marked::{Marks, MarksError};
pub use path::PathError;
pub(crate) use scan::trim_end;
pub use template::{Held, Kind, Template, TemplateError};

/// Whether a text keeps to its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// It reads as the format says.
    Strict,
    /// It does not, and was read as well as it can be.
    Recovered,
}

impl Form {
    /// Strict if both are.
    #[inline]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        if matches!(self, Self::Strict) { other } else { self }
    }
}

/// How the reading of a nested text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The text is whole.
    Whole,
    /// The text breaks off, or goes on with what is none; what was handed over before stands in it.
    Broken,
    /// There is nothing of the kind in the text.
    Absent,
    /// The sink had enough.
    Stopped,
}
