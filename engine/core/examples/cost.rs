//! Gives the engine messages, so that an instrument can count the instructions they take. Not part of the product.
//!
//! ```text
//! cost PLAN WAY PASSES FILE...
//! ```
//!
//! PLAN is a plan as JSON. Each FILE holds messages, each behind its length in bytes as decimal digits and a space (the
//! octet counting of RFC 6587, section 3.4.1). WAY is how the engine gets them:
//!
//! | way | |
//! |---|---|
//! | `datagrams` | in batches of 64, as they are counted |
//! | `parse` | one by one, every field |
//! | `octets` | as an octet-counted stream, one byte per call |
//! | `lines` | as a stream of lines, one byte per call |
//!
//! Each file is given once to let the engine see what is new in it, and then PASSES times in one call of [`counted`],
//! which is never inlined: callgrind starts, stops and hands over its counts there
//! (`--toggle-collect='*counted*' --dump-after='*counted*'`). So the start, reading files and what only the first message
//! of a device costs are no part of the figures.

use collectord_core::Engine;
use collectord_core::engine::Origin;
use std::hint::black_box;
use std::process::ExitCode;

/// Any time will do; the same for all.
const NOW_NS: u64 = 1_800_000_000_000_000_000;

/// Messages per batch, as many as one system call brings.
const BATCH: usize = 64;

/// How the engine gets the messages.
#[derive(Clone, Copy)]
enum Way {
    Datagrams,
    Parse,
    Octets,
    Lines,
}

impl Way {
    fn named(name: &str) -> Option<Self> {
        match name {
            "datagrams" => Some(Self::Datagrams),
            "parse" => Some(Self::Parse),
            "octets" => Some(Self::Octets),
            "lines" => Some(Self::Lines),
            _ => None,
        }
    }
}

/// Messages, and the same as they stand in a stream.
struct Load {
    messages: Vec<Vec<u8>>,
    wire: Vec<u8>,
}

impl Load {
    fn read(octets: Vec<u8>, way: Way) -> Result<Self, String> {
        let mut messages = Vec::new();
        let mut rest = octets.as_slice();
        while let Some(space) = rest.iter().position(|byte| *byte == b' ') {
            let digits = rest.get(..space).unwrap_or_default();
            let length = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<usize>().ok());
            let behind = rest.get(space.saturating_add(1)..).unwrap_or_default();
            let Some((message, after)) = length.and_then(|length| behind.split_at_checked(length)) else {
                return Err(format!("expected a length and as many bytes, got {:?}", String::from_utf8_lossy(digits)));
            };
            messages.push(message.to_vec());
            rest = after;
        }
        let wire = match way {
            Way::Lines => messages.iter().flat_map(|message| message.iter().chain(b"\n")).copied().collect(),
            _ => octets,
        };
        Ok(Self { messages, wire })
    }
}

/// What is measured.
#[inline(never)]
fn counted(engine: &mut Engine, load: &Load, way: Way, passes: usize) {
    for _ in 0..passes {
        match way {
            Way::Datagrams => {
                for batch in load.messages.chunks(BATCH) {
                    engine.datagrams(0, batch.iter().map(|message| (None, message.as_slice())), NOW_NS);
                }
            }
            Way::Parse => {
                for message in &load.messages {
                    black_box(engine.parse(message, None));
                }
            }
            Way::Octets | Way::Lines => {
                let stream = engine.connect(Origin { listener: 0, peer: None });
                for byte in &load.wire {
                    engine.feed(stream, std::slice::from_ref(byte), NOW_NS);
                }
                engine.disconnect(stream, NOW_NS);
            }
        }
    }
}

/// The same, not measured.
#[inline(never)]
fn warm_up(engine: &mut Engine, load: &Load) {
    engine.datagrams(0, load.messages.iter().map(|message| (None, message.as_slice())), NOW_NS);
}

fn run(mut arguments: impl Iterator<Item = String>) -> Result<(), String> {
    let mut next = |what: &str| arguments.next().ok_or_else(|| format!("expected {what}"));
    let plan = next("a plan")?;
    let way = next("a way")?;
    let way = Way::named(&way).ok_or_else(|| format!("expected datagrams, parse, octets or lines, got {way:?}"))?;
    let passes = next("a number of passes")?.parse().map_err(|error| format!("passes: {error}"))?;
    let read = |path: &str| std::fs::read(path).map_err(|error| format!("{path}: {error}"));
    let plan = serde_json::from_slice(&read(&plan)?).map_err(|error| format!("{plan}: {error}"))?;
    let mut engine = Engine::new(&plan).map_err(|problems| format!("the plan is wrong: {problems:?}"))?;
    for path in arguments {
        let load = Load::read(read(&path)?, way).map_err(|reason| format!("{path}: {reason}"))?;
        warm_up(&mut engine, &load);
        counted(&mut engine, &load, way, passes);
    }
    Ok(())
}

fn main() -> Result<ExitCode, String> {
    run(std::env::args().skip(1)).map(|()| ExitCode::SUCCESS)
}
