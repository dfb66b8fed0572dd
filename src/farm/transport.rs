//! A link to a host: TCP with timeouts, or an ssh child. Bytes go out in as few writes as possible, and answers are
//! read by a decoder that says how much it wants. Blocking; nothing here knows what a compile is.

use crate::model::decode_reply::ReplyDecoder;
use crate::model::error::{Code, Error, Result};
use crate::model::hosts::{HostSpec, Place};
use crate::model::settings::ClientSettings;
use crate::model::wire::{Reply, WireError};
use crate::os::cleanup;
use crate::os::names;
use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long an ssh child may take to end after its connection was closed before it is killed.
const SSH_END_MAX: Duration = Duration::from_secs(2);

/// A connection to the daemon on one host.
#[derive(Debug)]
pub struct Link {
    stream: Stream,
    /// The peer as messages name it: `ip:port`, or the host's token.
    peer: String,
    /// It has hung up before it had read all that was sent.
    is_cut: bool,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Ssh(SshChild),
}

/// An ssh process with its stdin and stdout on one socket. Ended when dropped.
#[derive(Debug)]
struct SshChild {
    socket: Option<UnixStream>,
    child: Child,
    _signals: cleanup::ChildGuard,
}

/// Opens a connection. Errors name the address; their status is 103.
pub fn connect(host: &HostSpec, settings: &ClientSettings) -> Result<Link> {
    match &host.place {
        Place::Tcp { host: name, port } => connect_tcp(name, *port, settings),
        Place::Ssh {
            user,
            host: name,
            command,
        } => connect_ssh(user.as_deref(), name, command, settings).map(|stream| Link {
            stream,
            peer: host.token.clone(),
            is_cut: false,
        }),
        Place::Local => Err(Error::new(
            Code::Failed,
            "localhost is compiled on without a connection",
        )),
    }
}

fn connect_tcp(name: &str, port: u16, settings: &ClientSettings) -> Result<Link> {
    let mut last = None;
    for address in addresses(name, port)? {
        match TcpStream::connect_timeout(&address, settings.connect_timeout) {
            Ok(stream) => {
                let ready = stream
                    .set_nodelay(true)
                    .and_then(|()| stream.set_read_timeout(Some(settings.io_timeout)))
                    .and_then(|()| stream.set_write_timeout(Some(settings.io_timeout)));
                ready
                    .map_err(|err| Error::io(format_args!("set up the link to {address}"), &err))?;
                return Ok(Link {
                    stream: Stream::Tcp(stream),
                    peer: address.to_string(),
                    is_cut: false,
                });
            }
            Err(err) => {
                let err = connect_error(&address, &err);
                log::debug!("{err}");
                last = Some(err);
            }
        }
    }
    Err(last.unwrap_or_else(|| unresolved(name, port, "it has no address")))
}

/// All addresses of a host. Numbers are read without the resolver, which costs more than the rest of the start-up.
pub fn addresses(name: &str, port: u16) -> Result<Vec<SocketAddr>> {
    if let Ok(ip) = name.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    names::addresses(name, port).map_err(|err| unresolved(name, port, err))
}

fn unresolved(name: &str, port: u16, why: impl std::fmt::Display) -> Error {
    Error::new(
        Code::ConnectFailed,
        format!("failed to resolve host {name} port {port}: {why}"),
    )
}

fn connect_error(address: &SocketAddr, err: &io::Error) -> Error {
    match err.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Error::new(
            Code::ConnectFailed,
            format!("timeout while connecting to {address}"),
        ),
        _ => Error::new(
            Code::ConnectFailed,
            format!("failed to connect to {address}: {err}"),
        ),
    }
}

fn connect_ssh(
    user: Option<&str>,
    host: &str,
    daemon: &str,
    settings: &ClientSettings,
) -> Result<Stream> {
    let ssh = ssh_words(settings.ssh.as_deref());
    let trouble = |err| Error::io("make a socket for ssh", &err);
    let (ours, theirs) = UnixStream::pair().map_err(trouble)?;
    let timeouts = ours
        .set_read_timeout(Some(settings.io_timeout))
        .and_then(|()| ours.set_write_timeout(Some(settings.io_timeout)));
    timeouts.map_err(trouble)?;
    let output: OwnedFd = theirs.try_clone().map_err(trouble)?.into();
    let mut words = ssh.into_iter();
    let program = words.next().unwrap_or_else(|| "ssh".into());
    let mut command = Command::new(&program);
    command.args(words);
    if let Some(user) = user {
        command.arg("-l").arg(user);
    }
    command
        .args([host, daemon, "--inetd", "--enable-tcp-insecure"])
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::from(output));
    let started = cleanup::start_child(false, || command.spawn());
    let (child, _signals) = started.map_err(|err| {
        Error::new(
            Code::ConnectFailed,
            format!(
                "failed to exec {}: {err}; DISTCC_SSH names the ssh program",
                program.to_string_lossy()
            ),
        )
    })?;
    Ok(Stream::Ssh(SshChild {
        socket: Some(ours),
        child,
        _signals,
    }))
}

/// The words that ssh is called with: a value that names a program as a whole is used whole, any other is split on
/// blanks, as stock does.
pub fn ssh_words(value: Option<&OsStr>) -> Vec<OsString> {
    let Some(value) = value else {
        return vec!["ssh".into()];
    };
    let text = value.to_string_lossy();
    let words: Vec<OsString> = text.split_ascii_whitespace().map(OsString::from).collect();
    match words.len() {
        0 => vec!["ssh".into()],
        1 => words,
        _ if which::which(value).is_ok() => vec![value.to_owned()],
        _ => words,
    }
}

impl Link {
    /// The socket, if whoever writes to it writes to the host itself.
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        match &self.stream {
            Stream::Tcp(stream) => Some(stream.as_fd()),
            Stream::Ssh(_) => None,
        }
    }

    /// Ends the connection, whoever else has the socket.
    pub fn end(&self) {
        if let Stream::Tcp(stream) = &self.stream {
            // One that has ended already is as good.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Sends all parts, in one system call if the peer takes them. That the peer hangs up meanwhile is no error yet.
    pub fn send(&mut self, parts: &[&[u8]]) -> Result<()> {
        let mut slices: Vec<IoSlice> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut rest = slices.as_mut_slice();
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match self.stream.write_vectored(rest) {
                Ok(0) => return Err(self.trouble("send to", &io::ErrorKind::WriteZero.into())),
                Ok(written) => IoSlice::advance_slices(&mut rest, written),
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                // A peer that has hung up may have said why before: that is what `receive` finds out.
                Err(err) if has_hung_up(&err) => {
                    self.is_cut = true;
                    return Ok(());
                }
                Err(err) => return Err(self.trouble("send to", &err)),
            }
        }
        Ok(())
    }

    /// Reads an answer; `on_begin` is called once, when it has begun to come.
    pub fn receive(
        &mut self,
        mut decoder: ReplyDecoder,
        mut on_begin: impl FnMut(),
    ) -> Result<Reply> {
        let mut begun = false;
        while !decoder.is_done() {
            match self.stream.read(decoder.space()) {
                Ok(0) => break,
                Ok(length) => decoder
                    .filled(length)
                    .map_err(|err| self.bad_answer(&err))?,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                // A peer that closes with our bytes unread resets the connection: that is an end like any other.
                Err(err) if has_hung_up(&err) => {
                    self.is_cut = true;
                    break;
                }
                Err(err) => return Err(self.trouble("receive from", &err)),
            }
            if !begun && decoder.has_begun() {
                begun = true;
                on_begin();
            }
        }
        decoder.reply().map_err(|err| self.bad_answer(&err))
    }

    fn bad_answer(&self, err: &WireError) -> Error {
        let peer = &self.peer;
        let message = match err {
            WireError::NoAnswer => match self.stream {
                Stream::Tcp(_) if self.is_cut => format!(
                    "{peer}: server provided no answer. It hung up before it had read the request: is it configured to \
                     allow access from your address (--allow), or was it ended? Its log says why it hung up"
                ),
                Stream::Tcp(_) => format!(
                    "{peer}: server provided no answer. Is the server configured to allow access from your address \
                     (--allow)? Does it have the compiler, and may it run it? Or was it ended? Its log says why it hung up"
                ),
                Stream::Ssh(_) => format!(
                    "{peer}: server provided no answer. What did ssh say? Does 'ssh HOST distccd --version' work?"
                ),
            },
            err => format!("{peer}: {err}"),
        };
        Error::new(err.code(), message)
    }

    fn trouble(&self, doing: &str, err: &io::Error) -> Error {
        match err.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::new(
                Code::Timeout,
                format!(
                    "IO timeout: {} was silent for too long; DISTCC_IO_TIMEOUT sets the limit",
                    self.peer
                ),
            ),
            _ => Error::io(format_args!("{doing} {}", self.peer), err),
        }
    }
}

fn has_hung_up(err: &io::Error) -> bool {
    matches!(
        err.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

impl Stream {
    fn write_vectored(&mut self, parts: &[IoSlice]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write_vectored(parts),
            Stream::Ssh(ssh) => ssh.socket()?.write_vectored(parts),
        }
    }

    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(space),
            Stream::Ssh(ssh) => ssh.socket()?.read(space),
        }
    }
}

impl SshChild {
    fn socket(&mut self) -> io::Result<&mut UnixStream> {
        self.socket
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for SshChild {
    fn drop(&mut self) {
        self.socket.take();
        let deadline = Instant::now() + SSH_END_MAX;
        let mut pause = Duration::from_micros(200);
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() >= deadline {
                // It is our child and not yet reaped, so this reaches nobody else. That it has ended is no fault.
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ssh_is_split_on_blanks_unless_it_names_a_program() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("my ssh");
        std::fs::write(&program, "").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, mode).unwrap();
        assert_eq!(ssh_words(None), ["ssh"]);
        assert_eq!(ssh_words(Some(OsStr::new("  "))), ["ssh"]);
        assert_eq!(
            ssh_words(Some(OsStr::new("ssh -q  -C"))),
            ["ssh", "-q", "-C"]
        );
        assert_eq!(ssh_words(Some(program.as_os_str())), [program.as_os_str()]);
    }

    #[test]
    fn numbers_need_no_resolver() {
        assert_eq!(
            addresses("127.0.0.1", 1).unwrap(),
            ["127.0.0.1:1".parse().unwrap()]
        );
        assert_eq!(addresses("::1", 2).unwrap(), ["[::1]:2".parse().unwrap()]);
        let err = addresses("no.such.host.invalid", 3).unwrap_err();
        assert_eq!(err.code, Code::ConnectFailed);
    }
}
