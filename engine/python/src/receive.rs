//! Many datagrams per system call: `recvmmsg(2)` on a descriptor that Python owns.

use collectord_core::value::ip::Ip;
use std::io;
use std::os::fd::RawFd;
use std::ptr;

/// Datagrams per system call: above some dozens the cost of the call no longer shows.
const BATCH: u16 = 64;

/// Largest payload of a UDP datagram is 65,507 bytes (IPv4) or 65,527 (IPv6, no jumbograms): nothing is cut.
const DATAGRAM_BYTES: usize = 65_536;

/// Buffers for one batch, used again and again. Pages that no datagram ever touched cost no memory.
pub struct Receiver {
    buffer: Vec<u8>,
    lengths: [usize; BATCH as usize],
    peers: [Option<Ip>; BATCH as usize],
}

impl Receiver {
    /// Buffers for a batch.
    pub fn new() -> Self {
        Self {
            buffer: vec![0; BATCH as usize * DATAGRAM_BYTES],
            lengths: [0; BATCH as usize],
            peers: [None; BATCH as usize],
        }
    }

    /// The datagrams that wait on the socket `fd`, at most `most`, each with its sender; none when it is empty. Never
    /// blocks.
    ///
    /// # Errors
    /// What `recvmmsg(2)` reports, except for an empty socket, an interrupted call, and the errors of earlier sends that
    /// the kernel delivers on a datagram socket.
    pub fn receive(&mut self, fd: RawFd, most: usize) -> io::Result<Vec<(Option<Ip>, &[u8])>> {
        let count = u16::try_from(most).unwrap_or(BATCH).min(BATCH);
        let mut vectors: [libc::iovec; BATCH as usize] =
            std::array::from_fn(|_| libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 });
        for (vector, chunk) in vectors.iter_mut().zip(self.buffer.chunks_exact_mut(DATAGRAM_BYTES)) {
            *vector = libc::iovec { iov_base: chunk.as_mut_ptr().cast(), iov_len: chunk.len() };
        }
        // SAFETY: all-zero bytes are a valid `sockaddr_in6`, an IPv6 address of family 0.
        let mut names: [libc::sockaddr_in6; BATCH as usize] = std::array::from_fn(|_| unsafe { std::mem::zeroed() });
        let mut headers: [libc::mmsghdr; BATCH as usize] = std::array::from_fn(|place| {
            // SAFETY: all-zero bytes are a valid `mmsghdr`: null pointers and lengths of 0.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            header.msg_hdr.msg_iov = vectors.get_mut(place).map_or(ptr::null_mut(), ptr::from_mut);
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = names.get_mut(place).map_or(ptr::null_mut(), |name| ptr::from_mut(name).cast());
            header.msg_hdr.msg_namelen = NAME_BYTES;
            header
        });
        // SAFETY: `headers` holds at least `count` entries; each points at one vector and one name of its own, and each
        // vector at a chunk of `self.buffer`; all of them outlive the call. A null timeout means none.
        let got = unsafe {
            libc::recvmmsg(fd, headers.as_mut_ptr(), libc::c_uint::from(count), libc::MSG_DONTWAIT, ptr::null_mut())
        };
        let Ok(got) = usize::try_from(got) else {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                Some(libc::EAGAIN | libc::EINTR | libc::ECONNREFUSED) => Ok(Vec::new()),
                _ => Err(error),
            };
        };
        let found = headers.iter().zip(&names).take(got);
        for ((length, peer), (header, name)) in self.lengths.iter_mut().zip(&mut self.peers).zip(found) {
            *length = header.msg_len as usize;
            *peer = address(name);
        }
        let filled = self.buffer.chunks_exact(DATAGRAM_BYTES).zip(&self.lengths).zip(&self.peers).take(got);
        Ok(filled.map(|((chunk, length), peer)| (*peer, chunk.get(..*length).unwrap_or(chunk))).collect())
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
