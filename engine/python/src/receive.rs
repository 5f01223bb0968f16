//! Many datagrams per system call: `recvmmsg(2)` on a descriptor that Python owns.

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
}

impl Receiver {
    /// Buffers for a batch.
    pub fn new() -> Self {
        Self { buffer: vec![0; BATCH as usize * DATAGRAM_BYTES], lengths: [0; BATCH as usize] }
    }

    /// The datagrams that wait on the socket `fd`, at most `most`; none when it is empty. Never blocks.
    ///
    /// # Errors
    /// What `recvmmsg(2)` reports, except for an empty socket, an interrupted call, and the errors of earlier sends that
    /// the kernel delivers on a datagram socket.
    pub fn receive(&mut self, fd: RawFd, most: usize) -> io::Result<Vec<&[u8]>> {
        let count = u16::try_from(most).unwrap_or(BATCH).min(BATCH);
        let mut vectors: [libc::iovec; BATCH as usize] =
            std::array::from_fn(|_| libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 });
        for (vector, chunk) in vectors.iter_mut().zip(self.buffer.chunks_exact_mut(DATAGRAM_BYTES)) {
            *vector = libc::iovec { iov_base: chunk.as_mut_ptr().cast(), iov_len: chunk.len() };
        }
        let mut headers: [libc::mmsghdr; BATCH as usize] = std::array::from_fn(|place| {
            // SAFETY: all-zero bytes are a valid `mmsghdr`: null pointers and lengths of 0.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            header.msg_hdr.msg_iov = vectors.get_mut(place).map_or(ptr::null_mut(), ptr::from_mut);
            header.msg_hdr.msg_iovlen = 1;
            header
        });
        // SAFETY: `headers` holds at least `count` entries; each points at one vector, and each vector at a chunk of
        // `self.buffer` of its own; all of them outlive the call. A null timeout means none.
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
        for (length, header) in self.lengths.iter_mut().zip(&headers) {
            *length = header.msg_len as usize;
        }
        let filled = self.buffer.chunks_exact(DATAGRAM_BYTES).zip(&self.lengths).take(got);
        Ok(filled.map(|(chunk, length)| chunk.get(..*length).unwrap_or(chunk)).collect())
    }
}
