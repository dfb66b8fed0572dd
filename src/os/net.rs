//! Sockets and descriptors beyond what std offers: waiting for several at once, listening with a long queue, what a
//! descriptor is, and what is left unread in it.

#![allow(unsafe_code)] // poll, getsockopt, getpeername and friends are only to be had from libc.

use super::sys::{check, check_uninterrupted};
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{self, IoSlice};
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest queue of connections that nobody has accepted yet; the system cuts it to its own limit.
const BACKLOG_MAX: libc::c_int = 4096;

/// How many pieces go in one message: what Linux takes.
const PIECES_MAX: usize = 1024;

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// Something to read, or the end.
    Read,
    /// Room to write, or nobody who reads.
    Write,
    /// The peer has hung up or will send no more; bytes that came before may still be unread.
    HangUp,
    /// The peer has gone altogether.
    Gone,
}

/// Waits until something happens on one of `fds`, or `until`. `None` means that the time is over.
pub fn wait_any<const N: usize>(
    fds: [(BorrowedFd, Event); N],
    until: Option<Instant>,
) -> io::Result<Option<[bool; N]>> {
    let mut entries = fds.map(|(fd, event)| libc::pollfd {
        fd: fd.as_raw_fd(),
        events: match event {
            Event::Read => libc::POLLIN,
            Event::Write => libc::POLLOUT,
            Event::HangUp => libc::POLLRDHUP,
            Event::Gone => 0, // Which is told in any case.
        },
        revents: 0,
    });
    let ready = check_uninterrupted(|| {
        // SAFETY: the array has N entries that live during the call.
        unsafe { libc::poll(entries.as_mut_ptr(), N as libc::nfds_t, timeout_ms(until)) }
    })?;
    Ok((ready > 0).then(|| entries.map(|entry| entry.revents != 0)))
}

/// Waits until one of `fds` can be read or has ended, or `until`. The first of those is named; `None` means that the time
/// is over.
pub fn wait_readable(fds: &[BorrowedFd], until: Option<Instant>) -> io::Result<Option<usize>> {
    let mut entries: Vec<libc::pollfd> = fds
        .iter()
        .map(|fd| libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    check_uninterrupted(|| {
        let count = entries.len() as libc::nfds_t;
        // SAFETY: the list has so many entries, and lives during the call.
        unsafe { libc::poll(entries.as_mut_ptr(), count, timeout_ms(until)) }
    })?;
    Ok(entries.iter().position(|entry| entry.revents != 0))
}

/// Milliseconds until then, rounded up; −1 for no limit.
fn timeout_ms(until: Option<Instant>) -> libc::c_int {
    let Some(until) = until else { return -1 };
    let left = until.saturating_duration_since(Instant::now());
    let ms = left.as_micros().div_ceil(1000);
    libc::c_int::try_from(ms).unwrap_or(libc::c_int::MAX)
}

/// A listening socket with a long queue; one of IPv6 takes connections of IPv4, too, only with `both`. With `defer` the system
/// hands a connection over only when bytes have come.
pub fn listen(address: SocketAddr, both: bool, defer: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(!both)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG_MAX)?;
    if defer {
        defer_accept(&socket);
    }
    Ok(socket.into())
}

fn defer_accept(socket: &Socket) {
    let seconds: libc::c_int = 1;
    // SAFETY: the option takes an int. That a system does not know it is no fault.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
}

/// Connects to the socket at `path`. Nothing waits for longer than `patience`: neither the connecting, while the peer's queue
/// is full, nor what is done with the connection.
pub fn connect_unix(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    // SAFETY: sockaddr_un is plain data.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let bytes = path.as_os_str().as_bytes();
    let room = address.sun_path.len();
    // One byte stays for the NUL at the end.
    if bytes.len() >= room || bytes.contains(&0) {
        let why = format!("the path of a socket has {} bytes at most", room - 1);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    for (at, byte) in address.sun_path.iter_mut().zip(bytes) {
        *at = *byte as libc::c_char;
    }
    // SAFETY: a plain system call; the new descriptor is ours alone.
    let stream = unsafe {
        let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
        UnixStream::from_raw_fd(check(libc::socket(libc::AF_UNIX, kind, 0))?)
    };
    stream.set_write_timeout(Some(patience))?;
    stream.set_read_timeout(Some(patience))?;
    check_uninterrupted(|| {
        let length = size_of::<libc::sockaddr_un>() as libc::socklen_t;
        // SAFETY: the address is of that length and lives during the call.
        unsafe { libc::connect(stream.as_raw_fd(), (&raw const address).cast(), length) }
    })?;
    Ok(stream)
}

/// Sends what a socket takes at once of these pieces: how many bytes.
pub fn send_now(fd: BorrowedFd, pieces: &[IoSlice]) -> io::Result<usize> {
    let part = &pieces[..pieces.len().min(PIECES_MAX)];
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    loop {
        match SockRef::from(&fd).send_vectored_with_flags(part, flags) {
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            sent => return sent,
        }
    }
}

/// Whether the descriptor is a socket.
pub fn is_socket(fd: BorrowedFd) -> bool {
    let mut kind: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the option writes an int of the given length.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TYPE,
            (&raw mut kind).cast(),
            &mut length,
        )
    };
    result == 0
}

/// Who is at the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    /// An address; IPv4 addresses mapped into IPv6 are given as IPv4.
    Internet(SocketAddr),
    /// A socket of this machine.
    Unix,
    /// A pipe or a file.
    NoSocket,
}

/// Finds out who is at the other end of `fd`.
pub fn peer(fd: BorrowedFd) -> io::Result<Peer> {
    if !is_socket(fd) {
        return Ok(Peer::NoSocket);
    }
    // SAFETY: sockaddr_storage is plain data.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: the address is written within the given length.
    check(unsafe { libc::getpeername(fd.as_raw_fd(), (&raw mut storage).cast(), &mut length) })?;
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that this is what was written.
            let address: &libc::sockaddr_in = unsafe { &*(&raw const storage).cast() };
            let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
            let port = u16::from_be(address.sin_port);
            Ok(Peer::Internet(SocketAddr::new(ip.into(), port)))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that this is what was written.
            let address: &libc::sockaddr_in6 = unsafe { &*(&raw const storage).cast() };
            let ip = Ipv6Addr::from(address.sin6_addr.s6_addr);
            let port = u16::from_be(address.sin6_port);
            let whole = SocketAddrV6::new(ip, port, 0, address.sin6_scope_id);
            Ok(Peer::Internet(canonical(whole.into())))
        }
        _ => Ok(Peer::Unix),
    }
}

/// An address of IPv4 that is mapped into IPv6 as what it is.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

/// Throws away what has come and nobody wants, at most `bytes_max`, without waiting; returns how much it was.
/// A socket that is closed with unread bytes is reset, and the peer may lose our last words.
pub fn drain(fd: BorrowedFd, bytes_max: usize) -> usize {
    let mut buffer = [0_u8; 4096];
    let mut drained = 0;
    while drained < bytes_max {
        // SAFETY: the buffer is valid for its length.
        let got = unsafe {
            libc::recv(
                fd.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                libc::MSG_DONTWAIT,
            )
        };
        match usize::try_from(got) {
            Ok(got) if got > 0 => drained += got,
            _ => break,
        }
    }
    drained
}

/// Sets or clears O_NONBLOCK.
pub fn set_nonblocking(fd: BorrowedFd, nonblocking: bool) -> io::Result<()> {
    // SAFETY: the descriptor is open; these calls touch no memory.
    unsafe {
        let flags = check(libc::fcntl(fd.as_raw_fd(), libc::F_GETFL))?;
        let wanted = if nonblocking {
            flags | libc::O_NONBLOCK
        } else {
            flags & !libc::O_NONBLOCK
        };
        if wanted != flags {
            check(libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, wanted))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Read;
    use std::io::Write;
    use std::net::TcpStream;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixListener;

    #[test]
    fn hang_up_is_seen_behind_unread_bytes() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let soon = || Some(Instant::now() + Duration::from_millis(20));
        ours.write_all(b"unread").unwrap();
        assert_eq!(
            wait_any([(theirs.as_fd(), Event::HangUp)], soon()).unwrap(),
            None
        );
        drop(ours);
        assert_eq!(
            wait_any([(theirs.as_fd(), Event::HangUp)], None).unwrap(),
            Some([true])
        );
        assert_eq!(drain(theirs.as_fd(), 100), 6);
    }

    #[test]
    fn nobody_waits_for_ever_at_a_unix_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        // SAFETY: the descriptor is open; listening again only changes the length of the queue.
        check(unsafe { libc::listen(listener.as_raw_fd(), 0) }).unwrap();
        let soon = Duration::from_millis(30);
        let mut first = connect_unix(&path, soon).unwrap();
        let full = connect_unix(&path, soon).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        let silent = first.read(&mut [0]).unwrap_err();
        assert_eq!(silent.kind(), io::ErrorKind::WouldBlock);
        let missing = connect_unix(&dir.path().join("other"), soon).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        let long = dir.path().join("x".repeat(108));
        let refused = connect_unix(&long, soon).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        assert!(refused.to_string().contains("107"));
        drop(listener);
        let gone = connect_unix(&path, soon).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn peers_are_known() {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into(), false, false).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (served, _) = listener.accept().unwrap();
        assert_eq!(
            peer(served.as_fd()).unwrap(),
            Peer::Internet(client.local_addr().unwrap())
        );
        let (one, _other) = UnixStream::pair().unwrap();
        assert_eq!(peer(one.as_fd()).unwrap(), Peer::Unix);
        let file = tempfile::tempfile().unwrap();
        assert_eq!(peer(file.as_fd()).unwrap(), Peer::NoSocket);
    }
}
