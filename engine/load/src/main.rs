//! Sends messages to a collector on this machine, as fast as a benchmark needs it. Not part of the product.
//!
//! ```text
//! collectord-load WAY PORT FILE COUNT RATE FLOWS
//! ```
//!
//! FILE holds messages, each behind its length in bytes as decimal digits and a space (the octet counting of RFC 6587,
//! section 3.4.1); they are sent in order, again and again, COUNT in all. RATE is in messages a second, 0 is flat out.
//! FLOWS sockets send in turn, a batch each. WAY says how:
//!
//! | way | |
//! |---|---|
//! | `udp` | datagrams, many per system call (`sendmmsg(2)`) |
//! | `forged` | the same, each flow from an address of its own: 127.7.0.1, 127.7.0.2 and so on |
//! | `lines` | TCP, a line end behind each message |
//! | `octets` | TCP, octet counting |
//!
//! It only ever sends to 127.0.0.1, at most [`MOST_MESSAGES`] in [`LONGEST`]. One line of JSON says what it did:
//! `messages`, `bytes` (of messages alone), `seconds`, `refused` (datagrams that nobody took), `late_ms` (how far it was
//! behind its schedule at worst) and `cpu_s`.

use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::ptr;
use std::thread;
use std::time::{Duration, Instant};

/// Messages per system call or write.
const BATCH: usize = 32;

/// No run sends more.
const MOST_MESSAGES: u64 = 100_000_000;

/// No run takes longer.
const LONGEST: Duration = Duration::from_secs(600);

/// Sockets at most.
const MOST_FLOWS: u8 = 64;

/// How long it sleeps when it is ahead of its schedule: short against what a receive buffer holds.
const NAP: Duration = Duration::from_micros(100);

/// Where messages go.
enum Flow {
    Datagrams(UdpSocket),
    Stream(TcpStream),
}

/// What a run did.
#[derive(Default)]
struct Done {
    messages: u64,
    bytes: u64,
    refused: u64,
    late: Duration,
}

/// The messages of a file, of which none may be empty.
fn messages(mut rest: &[u8]) -> Result<Vec<&[u8]>, String> {
    let mut found = Vec::new();
    while let Some(space) = rest.iter().position(|byte| *byte == b' ') {
        let (digits, behind) = rest.split_at(space);
        let length = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<usize>().ok());
        let Some((message, after)) = length.and_then(|length| behind.get(1..)?.split_at_checked(length)) else {
            return Err(format!("expected a length and as many bytes, got {:?}", String::from_utf8_lossy(digits)));
        };
        found.push(message);
        rest = after;
    }
    if found.is_empty() { Err("expected messages, got none".into()) } else { Ok(found) }
}

fn connected(way: &str, port: u16, flow: u8) -> io::Result<Flow> {
    let to = (Ipv4Addr::LOCALHOST, port);
    if let "udp" | "forged" = way {
        let from = if way == "udp" { Ipv4Addr::LOCALHOST } else { Ipv4Addr::new(127, 7, 0, flow.saturating_add(1)) };
        let socket = UdpSocket::bind((from, 0))?;
        socket.connect(to)?;
        return Ok(Flow::Datagrams(socket));
    }
    Ok(Flow::Stream(TcpStream::connect(to)?))
}

/// Sends all of a batch as datagrams; returns how many of them nobody took.
fn send_datagrams(socket: &UdpSocket, batch: &[&[u8]]) -> io::Result<u64> {
    let mut vectors: Vec<libc::iovec> = batch
        .iter()
        .map(|message| libc::iovec { iov_base: message.as_ptr().cast_mut().cast(), iov_len: message.len() })
        .collect();
    let mut headers: Vec<libc::mmsghdr> = vectors
        .iter_mut()
        .map(|vector| {
            // SAFETY: all-zero bytes are a valid `mmsghdr`: null pointers and lengths of 0.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            header.msg_hdr.msg_iov = ptr::from_mut(vector);
            header.msg_hdr.msg_iovlen = 1;
            header
        })
        .collect();
    let mut refused = 0_u64;
    let mut rest = headers.as_mut_slice();
    while !rest.is_empty() {
        let count = libc::c_uint::try_from(rest.len()).unwrap_or(libc::c_uint::MAX);
        // SAFETY: `rest` holds `count` headers; each points at one vector, each vector at a message that is only read,
        // and all of them outlive the call.
        let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), count, 0) };
        let past = if let Ok(sent) = usize::try_from(sent) {
            sent
        } else {
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR | libc::ENOBUFS | libc::EAGAIN) => 0,
                // An earlier datagram was refused; this one was not sent.
                Some(libc::ECONNREFUSED) => {
                    refused = refused.saturating_add(1);
                    1
                }
                _ => return Err(error),
            }
        };
        rest = rest.get_mut(past..).unwrap_or_default();
    }
    Ok(refused)
}

fn send(flow: &mut Flow, batch: &[&[u8]], counted: bool, scratch: &mut Vec<u8>) -> io::Result<u64> {
    let stream = match flow {
        Flow::Datagrams(socket) => return send_datagrams(socket, batch),
        Flow::Stream(stream) => stream,
    };
    scratch.clear();
    for message in batch {
        if counted {
            write!(scratch, "{} ", message.len())?;
        }
        scratch.extend_from_slice(message);
        if !counted {
            scratch.push(b'\n');
        }
    }
    stream.write_all(scratch).map(|()| 0)
}

fn pump(flows: &mut [Flow], messages: &[&[u8]], count: u64, rate: u64, counted: bool) -> io::Result<Done> {
    let mut done = Done::default();
    let mut source = messages.iter().copied().cycle();
    let mut scratch = Vec::new();
    let began = Instant::now();
    let mut turn = 0_usize;
    while done.messages < count && began.elapsed() < LONGEST {
        let mut want = count.saturating_sub(done.messages).min(BATCH as u64);
        if rate > 0 {
            let elapsed = began.elapsed();
            let due = u128::from(rate).saturating_mul(elapsed.as_nanos()) / 1_000_000_000;
            let due = u64::try_from(due).unwrap_or(u64::MAX).saturating_sub(done.messages);
            if due == 0 {
                thread::sleep(NAP);
                continue;
            }
            let scheduled = Duration::from_nanos(done.messages.saturating_mul(1_000_000_000) / rate);
            done.late = done.late.max(elapsed.saturating_sub(scheduled));
            want = want.min(due);
        }
        let batch: Vec<&[u8]> = source.by_ref().take(usize::try_from(want).unwrap_or(BATCH)).collect();
        let Some(flow) = flows.get_mut(turn) else { break };
        done.refused = done.refused.saturating_add(send(flow, &batch, counted, &mut scratch)?);
        done.messages = done.messages.saturating_add(want);
        done.bytes = batch.iter().fold(done.bytes, |sum, message| sum.saturating_add(message.len() as u64));
        turn = turn.saturating_add(1).checked_rem(flows.len()).unwrap_or(0);
    }
    Ok(done)
}

/// User and system time of this process so far.
fn cpu() -> Duration {
    // SAFETY: all-zero bytes are a valid `rusage`; the call only writes there.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let of = |time: libc::timeval| {
        let micros = u64::try_from(time.tv_usec).unwrap_or(0);
        Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0)).saturating_add(Duration::from_micros(micros))
    };
    of(usage.ru_utime).saturating_add(of(usage.ru_stime))
}

fn run(arguments: &[String]) -> Result<(), String> {
    let [way, port, file, count, rate, flows] = arguments else {
        return Err("usage: collectord-load udp|forged|lines|octets PORT FILE COUNT RATE FLOWS".into());
    };
    if !["udp", "forged", "lines", "octets"].contains(&way.as_str()) {
        return Err(format!("expected udp, forged, lines or octets, got {way:?}"));
    }
    let number = |name: &str, text: &str, most: u64| match text.parse::<u64>() {
        Ok(found) if found <= most => Ok(found),
        _ => Err(format!("{name}: expected a number up to {most}, got {text:?}")),
    };
    let port = number("port", port, u64::from(u16::MAX))?;
    let port = u16::try_from(port).map_err(|error| error.to_string())?;
    let count = number("count", count, MOST_MESSAGES)?;
    let rate = number("rate", rate, MOST_MESSAGES)?;
    let flows = number("flows", flows, u64::from(MOST_FLOWS))?.max(1);
    let flows = u8::try_from(flows).unwrap_or(MOST_FLOWS);
    let octets = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
    let messages = messages(&octets).map_err(|reason| format!("{file}: {reason}"))?;
    let failed = |error: io::Error| format!("127.0.0.1:{port}: {error}");
    let mut flows =
        (0..flows).map(|flow| connected(way, port, flow)).collect::<io::Result<Vec<_>>>().map_err(failed)?;
    // SAFETY: no pointers; without it a nap takes 50 us longer than asked.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) };
    let began = Instant::now();
    let done = pump(&mut flows, &messages, count, rate, way == "octets").map_err(failed)?;
    writeln!(
        io::stdout(),
        r#"{{"messages": {}, "bytes": {}, "seconds": {:.6}, "refused": {}, "late_ms": {:.3}, "cpu_s": {:.3}}}"#,
        done.messages,
        done.bytes,
        began.elapsed().as_secs_f64(),
        done.refused,
        done.late.as_secs_f64() * 1e3,
        cpu().as_secs_f64(),
    )
    .map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            // Where even that fails there is nobody to tell.
            let _ = writeln!(io::stderr(), "collectord-load: {reason}");
            ExitCode::FAILURE
        }
    }
}
