//! The statistics over HTTP: who may ask, requests read within bounds, and which page a path means. Nothing that is asked
//! for changes anything. A task of the front's executor: whoever is slow keeps nobody waiting.

use super::config::Config;
use super::repeats::Repeats;
use super::shop::Shop;
use super::stock_page::{self, Glances};
use super::{metrics, page};
use crate::os::machine;
use async_net::{TcpListener, TcpStream};
use httparse::{Request, Status, EMPTY_HEADER};
use smol::future::or;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::lock::Semaphore;
use smol::{Async, LocalExecutor, Timer};
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest request, in bytes and header lines.
const REQUEST_BYTES_MAX: usize = 8192;
const HEADERS_MAX: usize = 64;

/// How many ask at the same time; more wait in the system's queue.
const CONNECTIONS_MAX: usize = 32;

/// How long a request may take to come, and an answer to be taken.
const REQUEST_TIME: Duration = Duration::from_secs(3);
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// How long to wait until something that ran out is there again.
const PAUSE: Duration = Duration::from_millis(100);

/// How often the same trouble is said, and how often a peer's refusals are before they are counted.
const COMPLAINT: Duration = Duration::from_secs(60);
const REFUSALS_SAID: u32 = 5;

/// The answer to who asks for somebody else's pages.
const MISDIRECTED: &str = "421 Misdirected Request";

/// What a browser may do with our pages: show them, with our own parts, and nothing else.
const POLICY: &str =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the tasks share.
struct Web<'w> {
    shop: &'w Shop,
    glances: Arc<Glances>,
    /// Our names, in small letters.
    names: Vec<String>,
    places: Arc<Semaphore>,
}

/// An answer's parts.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: &'static str,
    kind: &'static str,
    body: Vec<u8>,
    /// Whether it looks as stock's daemon writes it.
    as_stock: bool,
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Page {
    /// Stock's text.
    Stock,
    /// Prometheus's.
    Metrics,
    /// The page for people, and its parts.
    Html,
    Style,
    Script,
    Json,
}

/// What a request comes to.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// A page; of `HEAD` without its body.
    Page(Page, bool),
    /// Nothing that we answer with a page.
    Refused(&'static str),
}

/// Serves until it is dropped.
pub async fn serve<'w: 'e, 'e>(
    listener: std::net::TcpListener,
    shop: &'w Shop,
    repeats: &RefCell<Repeats>,
    executor: &LocalExecutor<'e>,
) -> io::Result<()> {
    let listener = TcpListener::from(Async::new(listener)?);
    let web = Arc::new(Web {
        shop,
        glances: Arc::default(),
        names: names(machine::name(), &shop.config().statistics_names),
        places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
    });
    let mut complained = None;
    loop {
        let place = web.places.acquire_arc().await;
        match listener.accept().await {
            Ok((stream, address)) => {
                if !may_ask(&shop.config(), address) {
                    if repeats.borrow_mut().may_say(address.ip(), REFUSALS_SAID) {
                        log::warn!("{address} may not see the statistics: it is not in --allow; the connection is closed");
                    }
                    continue;
                }
                let web = web.clone();
                let task = async move {
                    if let Err(err) = web.answer(stream).await {
                        log::debug!("{address}: statistics not sent: {err}");
                    }
                    drop(place);
                };
                executor.spawn(task).detach();
            }
            Err(err) => {
                let now = Instant::now();
                if complained.is_none_or(|last: Instant| last + COMPLAINT <= now) {
                    log::warn!("accept a connection for statistics: {err}");
                    complained = Some(now);
                }
                Timer::after(PAUSE).await;
            }
        }
    }
}

/// This machine may always ask; others if they may send jobs.
fn may_ask(config: &Config, address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback() || config.access.admits(address)
}

impl Web<'_> {
    async fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut request = Vec::new();
        let came = within(REQUEST_TIME, read_request(&mut stream, &mut request)).await;
        let asked = match came {
            Err(err) if err.kind() != io::ErrorKind::TimedOut => return Err(err),
            _ => read(&request, &self.names),
        };
        let (answer, with_body) = match asked {
            Asked::Page(page, with_body) => (self.page(page).await, with_body),
            Asked::Refused(status) => (refusal(status), true),
        };
        let mut bytes = head(&answer);
        if with_body {
            bytes.extend(answer.body);
        }
        within(ANSWER_TIME, send(&mut stream, &bytes)).await
    }

    async fn page(&self, page: Page) -> Answer {
        let whole = |kind, body: Vec<u8>| Answer {
            status: "200 OK",
            kind,
            body,
            as_stock: false,
        };
        match page {
            Page::Metrics => whole(metrics::KIND, metrics::text(self.shop).into_bytes()),
            Page::Html => whole("text/html; charset=utf-8", page::HTML.into()),
            Page::Style => whole("text/css; charset=utf-8", page::STYLE.into()),
            Page::Script => whole("text/javascript; charset=utf-8", page::SCRIPT.into()),
            Page::Json => {
                let machine = self.machine().await;
                whole("application/json", page::json(self.shop, &machine))
            }
            Page::Stock => {
                let machine = self.machine().await;
                Answer {
                    as_stock: true,
                    ..whole(
                        "text/plain",
                        stock_page::text(self.shop, &machine).into_bytes(),
                    )
                }
            }
        }
    }

    /// Looks at the machine in another thread: there may be thousands of processes.
    async fn machine(&self) -> stock_page::Machine {
        let (glances, folder) = (self.glances.clone(), self.shop.config().temp_dir.clone());
        smol::unblock(move || glances.look(&folder)).await
    }
}

async fn within<T>(time: Duration, doing: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    or(doing, async {
        Timer::after(time).await;
        Err(io::ErrorKind::TimedOut.into())
    })
    .await
}

/// Reads until the request's head is whole, too long, or the peer sends no more.
async fn read_request(stream: &mut TcpStream, request: &mut Vec<u8>) -> io::Result<()> {
    let mut piece = [0; 1024];
    while request.len() < REQUEST_BYTES_MAX && !is_whole(request) {
        match stream.read(&mut piece).await? {
            0 => break,
            count => request.extend_from_slice(piece.get(..count).unwrap_or_default()),
        }
    }
    Ok(())
}

fn is_whole(request: &[u8]) -> bool {
    let lines = |end: &[u8]| request.windows(end.len()).any(|window| window == end);
    lines(b"\n\r\n") || lines(b"\n\n")
}

async fn send(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.close().await
}

/// By which names browsers may know us: this machine's, with its domain, without, and with that of names which machines give
/// themselves on a local network; and those that we were told.
fn names(machine: Option<String>, told: &[String]) -> Vec<String> {
    let short = machine.as_deref().and_then(|name| name.split('.').next());
    let local = short.map(|name| format!("{name}.local"));
    let own = [
        Some("localhost"),
        short,
        local.as_deref(),
        machine.as_deref(),
    ];
    let all = own
        .into_iter()
        .flatten()
        .chain(told.iter().map(String::as_str));
    all.map(str::to_ascii_lowercase).collect()
}

/// What a request asks for; `names` are ours.
fn read(request: &[u8], names: &[String]) -> Asked {
    // As with stock, who says nothing gets the numbers.
    if request.iter().all(u8::is_ascii_whitespace) {
        return Asked::Page(Page::Stock, true);
    }
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = Request::new(&mut headers);
    match parsed.parse(request) {
        Ok(Status::Complete(_)) => (),
        Ok(Status::Partial) if request.len() < REQUEST_BYTES_MAX => {
            return Asked::Refused("408 Request Timeout")
        }
        Ok(Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Asked::Refused("431 Request Header Fields Too Large")
        }
        Err(_) => return Asked::Refused("400 Bad Request"),
    }
    let with_body = match parsed.method {
        Some("GET") => true,
        Some("HEAD") => false,
        _ => return Asked::Refused("405 Method Not Allowed"),
    };
    let value = |name: &str| {
        let mut all = parsed.headers.iter();
        let found = all.find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| String::from_utf8_lossy(header.value).to_ascii_lowercase())
    };
    // A name that somebody else makes stand for this machine would open our pages to his.
    if value("host").is_some_and(|host| !is_ours(&host, names)) {
        return Asked::Refused(MISDIRECTED);
    }
    let path = parsed.path.unwrap_or_default();
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let page = match path {
        "/metrics" => Page::Metrics,
        "/ui" => Page::Html,
        "/" if value("accept").is_some_and(|accept| accept.contains("text/html")) => Page::Html,
        "/page.css" => Page::Style,
        "/page.js" => Page::Script,
        "/page.json" => Page::Json,
        // As with stock, whatever is asked for.
        _ => Page::Stock,
    };
    Asked::Page(page, with_body)
}

/// Whether a `Host` can only mean this machine: an address, or one of our names.
fn is_ours(host: &str, names: &[String]) -> bool {
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    // A name may end with the root's.
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    bare.parse::<IpAddr>().is_ok() || names.iter().any(|name| name == bare)
}

fn refusal(status: &'static str) -> Answer {
    let way_out = match status {
        MISDIRECTED => "; this distccd goes by its addresses, its machine's name and --stats-name",
        _ => "",
    };
    Answer {
        status,
        kind: "text/plain; charset=utf-8",
        body: format!("{status}{way_out}\n").into_bytes(),
        as_stock: false,
    }
}

fn head(answer: &Answer) -> Vec<u8> {
    let Answer { status, kind, .. } = answer;
    if answer.as_stock {
        return format!("HTTP/1.0 {status}\nContent-Type: {kind}\nConnection: close\n\n")
            .into_bytes();
    }
    let allow = match status.starts_with("405") {
        true => "Allow: GET, HEAD\r\n",
        false => "",
    };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n{allow}\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\
         Cross-Origin-Resource-Policy: same-origin\r\nContent-Security-Policy: {POLICY}\r\n\r\n",
        answer.body.len()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(request: &str) -> Asked {
        let machine = Some("Build7.example.org".to_owned());
        let names = names(machine, &["Stats.example".to_owned()]);
        read(request.as_bytes(), &names)
    }

    #[test]
    fn paths_and_methods() {
        for (request, page) in [
            ("GET / HTTP/1.0\r\n\r\n", Page::Stock),
            (
                "GET /anything HTTP/1.1\nHost: localhost:3633\n\n",
                Page::Stock,
            ),
            (
                "GET / HTTP/1.1\r\nAccept: text/html,*/*\r\n\r\n",
                Page::Html,
            ),
            ("GET /ui?x HTTP/1.1\r\n\r\n", Page::Html),
            (
                "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
                Page::Metrics,
            ),
            (
                "GET /page.json HTTP/1.1\r\nhost: [::1]:3633\r\n\r\n",
                Page::Json,
            ),
            ("", Page::Stock),
            ("\r\n\r\n", Page::Stock),
        ] {
            assert_eq!(asked(request), Asked::Page(page, true), "{request}");
        }
        assert_eq!(
            asked("HEAD /metrics HTTP/1.1\r\n\r\n"),
            Asked::Page(Page::Metrics, false)
        );
    }

    #[test]
    fn what_is_not_answered() {
        for (request, status) in [
            ("POST / HTTP/1.1\r\n\r\n".to_owned(), "405"),
            ("DIST00000001".to_owned(), "408"),
            ("GET / HTTP/1.1\r\nHo".to_owned(), "408"),
            ("\0\0\0\0".to_owned(), "400"),
            (
                format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(REQUEST_BYTES_MAX)),
                "431",
            ),
            (
                format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(99)),
                "431",
            ),
        ] {
            let Asked::Refused(found) = asked(&request) else {
                panic!("{request}: answered")
            };
            assert!(found.starts_with(status), "{request}: {found}");
        }
    }

    #[test]
    fn a_foreign_name_for_this_machine_opens_nothing() {
        let request = |host: &str| format!("GET /page.json HTTP/1.1\r\nHost: {host}\r\n\r\n");
        for host in [
            "localhost",
            "127.0.0.1:3633",
            "[::1]",
            "build7",
            "build7.local",
            "BUILD7.local:3633",
            "BUILD7.example.org:1",
            "build7.example.org.",
            "stats.example:3633",
            "10.0.0.1",
        ] {
            assert_eq!(
                asked(&request(host)),
                Asked::Page(Page::Json, true),
                "{host}"
            );
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "build7.evil.example",
            "127.0.0.1.evil",
            "",
        ] {
            assert_eq!(
                asked(&request(host)),
                Asked::Refused("421 Misdirected Request"),
                "{host}"
            );
        }
    }
}
