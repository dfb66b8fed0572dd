//! Handing an open descriptor to another process, over a socket between the two.

#![allow(unsafe_code)] // sendmsg and recvmsg with descriptors are only to be had from libc.

use super::sys::check;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Room for one descriptor beside a message, aligned as its head wants it.
#[repr(C)]
union Room {
    head: libc::cmsghdr,
    bytes: [u8; 64],
}

/// The one byte without which nothing is sent.
const SIGN: u8 = b'*';

/// Sends a descriptor.
pub fn send(over: BorrowedFd, descriptor: BorrowedFd) -> io::Result<()> {
    let number = descriptor.as_raw_fd();
    with_message(&mut [SIGN], |message| {
        // SAFETY: the room is zeroed, aligned, and longer than a head with one number, which is what the macros count.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(size_of::<libc::c_int>() as u32) as _;
            let head = libc::CMSG_FIRSTHDR(message);
            (*head).cmsg_level = libc::SOL_SOCKET;
            (*head).cmsg_type = libc::SCM_RIGHTS;
            (*head).cmsg_len = libc::CMSG_LEN(size_of::<libc::c_int>() as u32) as _;
            libc::CMSG_DATA(head)
                .cast::<libc::c_int>()
                .write_unaligned(number);
            check(libc::sendmsg(over.as_raw_fd(), message, libc::MSG_NOSIGNAL) as libc::c_int)
        }
    })?;
    Ok(())
}

/// What came over the socket.
#[derive(Debug)]
pub enum Came {
    /// A descriptor, now ours.
    Descriptor(OwnedFd),
    /// A byte of something else.
    Byte(u8),
    /// The other side has gone.
    Nothing,
}

/// Waits for a descriptor.
pub fn receive(over: BorrowedFd) -> io::Result<Came> {
    let mut byte = [0];
    let (got, descriptor) = with_message(&mut byte, |message| loop {
        // SAFETY: the message's parts are valid; a descriptor that came is new and ours alone.
        unsafe {
            let got = libc::recvmsg(over.as_raw_fd(), message, libc::MSG_CMSG_CLOEXEC);
            match check(got as libc::c_int) {
                Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
                Err(err) => return Err(err),
                Ok(got) => return Ok((got, descriptor_of(message))),
            }
        }
    })?;
    Ok(match (got, descriptor) {
        (_, Some(descriptor)) => Came::Descriptor(descriptor),
        (0, None) => Came::Nothing,
        (_, None) => Came::Byte(byte[0]),
    })
}

/// Calls with a message that has the byte, and room for a descriptor.
fn with_message<T>(
    byte: &mut [u8; 1],
    call: impl FnOnce(&mut libc::msghdr) -> io::Result<T>,
) -> io::Result<T> {
    let mut room = Room { bytes: [0; 64] };
    let mut part = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    // SAFETY: the structure is plain data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut room).cast();
    message.msg_controllen = size_of::<Room>() as _;
    call(&mut message)
}

/// The descriptor that came with a message.
///
/// # Safety
/// The message was filled by the system, and nobody has taken its descriptor yet.
unsafe fn descriptor_of(message: &libc::msghdr) -> Option<OwnedFd> {
    // SAFETY: the system has written whole heads into the room, and says how much of it it has used.
    unsafe {
        let head = libc::CMSG_FIRSTHDR(message);
        let is_one = !head.is_null()
            && (*head).cmsg_level == libc::SOL_SOCKET
            && (*head).cmsg_type == libc::SCM_RIGHTS;
        let data = || libc::CMSG_DATA(head).cast::<libc::c_int>().read_unaligned();
        is_one.then(|| OwnedFd::from_raw_fd(data()))
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
    fn a_descriptor_arrives_and_means_the_same_file() {
        let (mut one, other) = UnixStream::pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"text").unwrap();
        send(one.as_fd(), file.as_fd()).unwrap();
        let Came::Descriptor(come) = receive(other.as_fd()).unwrap() else {
            unreachable!("a descriptor was sent");
        };
        let mut come = File::from(come);
        let mut text = String::new();
        come.rewind().unwrap();
        come.read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
        one.write_all(b"x").unwrap();
        assert!(matches!(receive(other.as_fd()).unwrap(), Came::Byte(b'x')));
        drop(one);
        assert!(matches!(receive(other.as_fd()).unwrap(), Came::Nothing));
    }
}
