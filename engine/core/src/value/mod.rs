//! Values as they stand in a message: who writes them how, and how to take them out again.
//!
//! Each reader walks once over the bytes of one message and hands out slices of it. None of them allocates, knows
//! what a field means, or fails: a reader prefers some reading over none, and what it cannot read it leaves out.
//! Time is linear in the message, whatever a sender writes.
//!
//! | file | reads |
//! |---|---|
//! | [`kv`] | `key=value key="quoted value"`, separated by blanks or by commas |
//! | [`csv`] | columns, numbered from 1 |
//! | [`cef`] | ArcSight Common Event Format: a header of seven fields and an extension of pairs |
//! | [`template`] | a message written as text with holes |
//! | [`ip`] | addresses and networks |
//! | [`escape`] | what stands for what inside a value |

pub mod cef;
pub mod csv;
pub mod escape;
pub mod ip;
pub mod kv;
mod scan;
pub mod template;

pub use escape::{Escape, Raw, unescape};
pub use ip::{Ip, Network, Networks};
pub use template::{Kind, Template, TemplateError};
