//! Handing open descriptors to another process, over a socket between the two, beside bytes.

#![allow(unsafe_code)] // sendmsg and recvmsg with descriptors are only to be had from libc.

use super::sys::check_uninterrupted;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Most descriptors that go beside one message.
pub const DESCRIPTORS_MAX: usize = 4;

/// Room for them, aligned as their head wants it.
#[repr(C)]
union Room {
    head: libc::cmsghdr,
    bytes: [u8; 64],
}

/// Sends descriptors, at most [`DESCRIPTORS_MAX`], beside the first of some bytes, of which there is at least one. Returns
/// how many of the bytes have gone.
pub fn send(over: BorrowedFd, bytes: &[u8], descriptors: &[BorrowedFd]) -> io::Result<usize> {
    if bytes.is_empty() || descriptors.len() > DESCRIPTORS_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let length = size_of::<libc::c_int>() * descriptors.len();
    // They are only read.
    with_message(bytes.as_ptr().cast_mut(), bytes.len(), |message| {
        // SAFETY: the room is zeroed, aligned, and longer than a head with so many numbers, which is what the macros count.
        unsafe {
            let head = libc::CMSG_FIRSTHDR(message);
            (*head).cmsg_level = libc::SOL_SOCKET;
            (*head).cmsg_type = libc::SCM_RIGHTS;
            (*head).cmsg_len = libc::CMSG_LEN(length as u32) as _;
            let numbers = libc::CMSG_DATA(head).cast::<libc::c_int>();
            for (at, descriptor) in descriptors.iter().enumerate() {
                numbers.add(at).write_unaligned(descriptor.as_raw_fd());
            }
            message.msg_controllen = match length {
                0 => 0,
                _ => libc::CMSG_SPACE(length as u32) as _,
            };
            libc::sendmsg(over.as_raw_fd(), message, libc::MSG_NOSIGNAL)
        }
    })
}

/// Waits for bytes: how many came, no more than there is room for, and the descriptors beside them, which are ours now.
/// No byte means that the other side has gone.
pub fn receive(over: BorrowedFd, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut descriptors = Vec::new();
    let got = with_message(bytes.as_mut_ptr(), bytes.len(), |message| {
        // SAFETY: the message's parts are valid; descriptors that came are new and ours alone.
        unsafe {
            let got = libc::recvmsg(over.as_raw_fd(), message, libc::MSG_CMSG_CLOEXEC);
            if got >= 0 {
                descriptors = descriptors_of(message);
            }
            got
        }
    })?;
    Ok((got, descriptors))
}

/// Calls, until no signal interrupts it, with a message that has these bytes, and room for descriptors.
fn with_message(
    bytes: *mut u8,
    length: usize,
    mut call: impl FnMut(&mut libc::msghdr) -> isize,
) -> io::Result<usize> {
    let done = check_uninterrupted(|| {
        let mut room = Room { bytes: [0; 64] };
        let mut part = libc::iovec {
            iov_base: bytes.cast(),
            iov_len: length.min(libc::c_int::MAX as usize),
        };
        // SAFETY: the structure is plain data.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = (&raw mut room).cast();
        message.msg_controllen = size_of::<Room>() as _;
        call(&mut message) as libc::c_int
    })?;
    Ok(done as usize)
}

/// The descriptors that came with a message.
///
/// # Safety
/// The message was filled by the system, and nobody has taken its descriptors yet.
unsafe fn descriptors_of(message: &libc::msghdr) -> Vec<OwnedFd> {
    // SAFETY: the system has written whole heads into the room, and says how much of it it has used.
    unsafe {
        let head = libc::CMSG_FIRSTHDR(message);
        if head.is_null()
            || (*head).cmsg_level != libc::SOL_SOCKET
            || (*head).cmsg_type != libc::SCM_RIGHTS
        {
            return Vec::new();
        }
        let length = (*head).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
        let numbers = libc::CMSG_DATA(head).cast::<libc::c_int>();
        (0..length / size_of::<libc::c_int>())
            .map(|at| OwnedFd::from_raw_fd(numbers.add(at).read_unaligned()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs::File;
    use std::io::{Read, Seek, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn descriptors_arrive_and_mean_the_same_files() {
        let (mut one, other) = UnixStream::pair().unwrap();
        let mut files = [1, 2].map(|_| tempfile::tempfile().unwrap());
        let [first, second] = &mut files;
        first.write_all(b"text").unwrap();
        second.write_all(b"more").unwrap();
        let both = [first.as_fd(), second.as_fd()];
        assert_eq!(send(one.as_fd(), b"abc", &both).unwrap(), 3);
        let mut bytes = [0; 9];
        let (got, come) = receive(other.as_fd(), &mut bytes).unwrap();
        assert_eq!(&bytes[..got], b"abc");
        for (come, expected) in come.into_iter().zip(["text", "more"]) {
            let mut come = File::from(come);
            let mut text = String::new();
            come.rewind().unwrap();
            come.read_to_string(&mut text).unwrap();
            assert_eq!(text, expected);
        }
        one.write_all(b"x").unwrap();
        assert_eq!(send(one.as_fd(), b"y", &[]).unwrap(), 1);
        let (got, come) = receive(other.as_fd(), &mut bytes).unwrap();
        assert_eq!((&bytes[..got], come.len()), (&b"xy"[..], 0));
        assert!(send(one.as_fd(), b"", &both).is_err());
        drop(one);
        assert_eq!(receive(other.as_fd(), &mut bytes).unwrap().0, 0);
    }
}
