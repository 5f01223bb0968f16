//! Many datagrams per system call: `recvmmsg(2)` on a descriptor that Python owns.

use collectord_core::value::ip::Ip;
use std::io;
use std::os::fd::RawFd;
use std::ptr;

/// Datagrams per system call: above some dozens the cost of the call no longer shows.
const BATCH: usize = 64;

/// Largest payload of a UDP datagram is 65,507 bytes (IPv4) or 65,527 (IPv6, no jumbograms): nothing is cut.
const DATAGRAM_BYTES: usize = 65_536;

/// From one datagram's place to the next one's. Places at multiples of a large power of two would all share the same few
/// lines of the processor's caches, and drive each other out; so each starts 1,088 bytes (17 lines) further.
const STRIDE_BYTES: usize = DATAGRAM_BYTES + 1_088;

/// Room for one batch, used again and again, also for what the system call is told of it. Pages that no datagram ever
/// touched cost no memory.
pub struct Receiver {
    buffer: Box<[u8]>,
    headers: Box<[libc::mmsghdr]>,
    vectors: Box<[libc::iovec]>,
    names: Box<[libc::sockaddr_in6]>,
}

// SAFETY: the pointers in `headers` and `vectors` are of use within one call, which writes them anew.
unsafe impl Send for Receiver {}

impl Receiver {
    /// Room for a batch.
    pub fn new() -> Self {
        // SAFETY: all-zero bytes are a valid `mmsghdr` and `iovec` (null pointers and lengths of 0), and a valid
        // `sockaddr_in6` (an IPv6 address of family 0).
        unsafe {
            Self {
                buffer: vec![0; BATCH * STRIDE_BYTES].into_boxed_slice(),
                headers: (0..BATCH).map(|_| std::mem::zeroed()).collect(),
                vectors: (0..BATCH).map(|_| std::mem::zeroed()).collect(),
                names: (0..BATCH).map(|_| std::mem::zeroed()).collect(),
            }
        }
    }

    /// Takes the datagrams that wait on the socket `fd`, at most `most` and at most a batch; [`Self::datagrams`] are
    /// those then. Never blocks.
    ///
    /// Returns how many there are, and whether the socket was emptied by that.
    ///
    /// # Errors
    /// What `recvmmsg(2)` reports, except for an empty socket, an interrupted call, and the errors of earlier sends that
    /// the kernel delivers on a datagram socket.
    pub fn receive(&mut self, fd: RawFd, most: usize) -> io::Result<(usize, bool)> {
        let count = most.min(BATCH);
        let places = self.buffer.chunks_exact_mut(STRIDE_BYTES).zip(&mut self.vectors).zip(&mut self.names);
        for (header, ((place, vector), name)) in self.headers.iter_mut().zip(places).take(count) {
            *vector = libc::iovec { iov_base: place.as_mut_ptr().cast(), iov_len: DATAGRAM_BYTES };
            name.sin6_family = 0;
            header.msg_hdr.msg_iov = ptr::from_mut(vector);
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = NAME_BYTES;
        }
        let asked = libc::c_uint::try_from(count).unwrap_or_default();
        // SAFETY: `headers` holds at least `count` entries; each points at one vector and one name of its own, and each
        // vector at a place in `buffer`; all of them outlive the call. A null timeout means none.
        let got = unsafe { libc::recvmmsg(fd, self.headers.as_mut_ptr(), asked, libc::MSG_DONTWAIT, ptr::null_mut()) };
        let Ok(got) = usize::try_from(got) else {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                Some(libc::EAGAIN) => Ok((0, true)),
                Some(libc::EINTR | libc::ECONNREFUSED) => Ok((0, false)),
                _ => Err(error),
            };
        };
        // The call ends early when nothing is left; or at an error, which the next one reports.
        Ok((got, got < count))
    }

    /// The first `count` datagrams of what was received last, each with its sender.
    pub fn datagrams(&self, count: usize) -> impl Iterator<Item = (Option<Ip>, &[u8])> + Clone {
        let found = self.headers.iter().zip(&self.names).zip(self.buffer.chunks_exact(STRIDE_BYTES)).take(count);
        found.map(|((header, name), place)| (address(name), place.get(..header.msg_len as usize).unwrap_or(place)))
    }
}

/// Room for a sender's address; that of IPv6 is the longest one.
const NAME_BYTES: libc::socklen_t = 28;
const _: () = assert!(size_of::<libc::sockaddr_in6>() == 28);

/// The address that the kernel wrote; None for other families. An IPv4 address mapped into IPv6 is folded.
fn address(name: &libc::sockaddr_in6) -> Option<Ip> {
    match libc::c_int::from(name.sin6_family) {
        libc::AF_INET => {
            // SAFETY: the kernel wrote a `sockaddr_in`, which is shorter and no more aligned than a `sockaddr_in6`.
            let name = unsafe { &*ptr::from_ref(name).cast::<libc::sockaddr_in>() };
            Some(Ip::V4(name.sin_addr.s_addr.to_ne_bytes()))
        }
        libc::AF_INET6 => {
            let bytes = name.sin6_addr.s6_addr;
            let mapped = std::net::Ipv6Addr::from(bytes).to_ipv4_mapped();
            Some(mapped.map_or(Ip::V6(bytes), |v4| Ip::V4(v4.octets())))
        }
        _ => None,
    }
}
