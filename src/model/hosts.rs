//! The text of a host list → the hosts, in the order in which they stand. Strict where stock guesses: an error names
//! the source, the token and its place, because a whole build silently compiled here is the worse surprise.

use super::error::{Code, Error, Result};

/// The port of a TCP host that names none: the registered port of distcc.
pub const PORT_DEFAULT: u16 = 3632;

/// Jobs at once on a host that names no limit: stock's default.
const SLOTS_DEFAULT: usize = 4;

/// The same for the word `localhost`.
const SLOTS_LOCALHOST: usize = 2;

/// The most that a limit may be: slots are tried up to this number, as with stock.
pub const SLOTS_MAX: usize = 10_000;

/// The word that stands for all hosts that are found on the local network.
pub const DISCOVERED: &str = "+zeroconf";

/// A parsed host list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostList {
    /// The hosts in the order of the list.
    pub hosts: Vec<HostSpec>,
    /// Whether `--randomize` stands in it.
    pub randomize: bool,
    /// How many jobs that are not for other machines run at once.
    pub localslots: usize,
    /// How many preprocessors run at once.
    pub localslots_cpp: usize,
}

impl Default for HostList {
    fn default() -> Self {
        HostList {
            hosts: Vec::new(),
            randomize: false,
            localslots: 4,
            localslots_cpp: 16,
        }
    }
}

/// One host, with the way to reach and to use it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostSpec {
    /// The token as it stands in the list, for messages and `--show-hosts`.
    pub token: String,
    /// Where it is.
    pub place: Place,
    /// How many jobs it takes at once, at least 1.
    pub slots: usize,
    /// Whether bodies are compressed.
    pub lzo: bool,
    /// Whether it preprocesses (pump mode).
    pub cpp: bool,
    /// Whether it is listed but not to be used.
    pub down: bool,
}

/// Where a host is and how it is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// This machine, without a daemon.
    Local,
    /// A daemon that listens.
    Tcp {
        /// A name or an address, without brackets.
        host: String,
        /// Its port.
        port: u16,
    },
    /// A daemon started at the far end of ssh.
    Ssh {
        /// The user over there, if named.
        user: Option<String>,
        /// A name that ssh understands.
        host: String,
        /// The daemon's program.
        command: String,
    },
}

impl HostSpec {
    /// The host's name alone, `localhost` for this machine.
    pub fn name(&self) -> &str {
        match &self.place {
            Place::Local => "localhost",
            Place::Tcp { host, .. } | Place::Ssh { host, .. } => host,
        }
    }

    /// What lock files are named after, as stock does: `tcp_HOST_PORT`, `ssh_HOST`, `localhost`.
    pub fn key(&self) -> String {
        match &self.place {
            Place::Local => "localhost".to_owned(),
            Place::Tcp { host, port } => format!("tcp_{host}_{port}"),
            Place::Ssh { host, .. } => format!("ssh_{host}"),
        }
    }
}

/// Parses a host list in which hosts are named. `source` says where the text came from, for messages.
pub fn parse(text: &str, source: &str) -> Result<HostList> {
    parse_with(text, source, &mut || {
        Err("hosts can't be looked for here".to_owned())
    })
}

/// What gives the text of hosts that were found on the network, or says why it can't.
pub type Discover<'d> = dyn FnMut() -> std::result::Result<String, String> + 'd;

/// Parses a host list. `discover` is asked only if the list has the word for that.
pub fn parse_with(text: &str, source: &str, discover: &mut Discover) -> Result<HostList> {
    let mut list = HostList::default();
    let mut is_dynamic = false;
    for (number, line) in text.split('\n').enumerate() {
        for (before, token) in tokens(line) {
            is_dynamic |= token == DISCOVERED;
            add(&mut list, token, discover).map_err(|why| {
                let (line, column) = (number + 1, before.chars().count() + 1);
                Error::new(
                    Code::BadHostSpec,
                    format!("{source}: line {line}, column {column}: '{token}': {why}"),
                )
            })?;
        }
    }
    match list.hosts.is_empty() {
        true => Err(Error::new(
            Code::NoHosts,
            match is_dynamic {
                true => format!("{source}: +zeroconf has found no hosts; can't distribute work"),
                false => format!("{source} contained no hosts; can't distribute work"),
            },
        )),
        false => Ok(list),
    }
}

/// The words of a line, each with all that stands before it. A comment ends at a carriage return, too.
fn tokens(line: &str) -> impl Iterator<Item = (&str, &str)> {
    let parts = line.split('\r');
    let parts = parts.map(|part| part.split('#').next().unwrap_or_default());
    parts
        .flat_map(str::split_ascii_whitespace)
        .map(move |token| {
            let at = token.as_ptr() as usize - line.as_ptr() as usize;
            (&line[..at], token)
        })
}

/// Why a token is no good: what was expected, in words.
type Why = String;

fn add(list: &mut HostList, token: &str, discover: &mut Discover) -> std::result::Result<(), Why> {
    if let Some(keyword) = token.strip_prefix("--") {
        return add_keyword(list, keyword);
    }
    if token == DISCOVERED {
        let found = discover()?;
        // Others write these: a word that is none is no reason to do without the rest.
        let words = found.split('\n').flat_map(tokens);
        list.hosts
            .extend(words.filter_map(|(_, word)| host(word).ok()));
        return Ok(());
    }
    if token.starts_with('+') {
        return Err(format!("there is no such word; {DISCOVERED} is known"));
    }
    list.hosts.push(host(token)?);
    Ok(())
}

fn add_keyword(list: &mut HostList, keyword: &str) -> std::result::Result<(), Why> {
    let (name, value) = match keyword.find(['=', '/']) {
        Some(at) => (&keyword[..at], Some(&keyword[at + 1..])),
        None => (keyword, None),
    };
    let count = || match value {
        Some(value) => slots(value),
        None => Err(format!("a number is missing, as in --{name}=8")),
    };
    match name {
        "randomize" if value.is_none() => list.randomize = true,
        "localslots" => list.localslots = count()?,
        "localslots_cpp" => list.localslots_cpp = count()?,
        _ => {
            return Err(
                "there is no such keyword; --randomize, --localslots=N and --localslots_cpp=N are known"
                    .to_owned(),
            )
        }
    }
    Ok(())
}

fn slots(text: &str) -> std::result::Result<usize, Why> {
    match text.parse() {
        Ok(count @ 1..=SLOTS_MAX) if is_digits(text) => Ok(count),
        _ => Err(format!(
            "the limit '{text}' is not a number from 1 to {SLOTS_MAX}"
        )),
    }
}

fn port(text: &str) -> std::result::Result<u16, Why> {
    match text.parse() {
        Ok(port @ 1..) if is_digits(text) => Ok(port),
        _ => Err(format!("the port '{text}' is not a number from 1 to 65535")),
    }
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn host(token: &str) -> std::result::Result<HostSpec, Why> {
    let mut spec = HostSpec {
        token: token.to_owned(),
        place: Place::Local,
        slots: SLOTS_DEFAULT,
        lzo: false,
        cpp: false,
        down: false,
    };
    let (address, options) = match token.split_once(',') {
        Some((address, options)) => (address, Some(options)),
        None => (token, None),
    };
    match local_limit(address) {
        // As stock has it, `localhost,lzo` is the daemon that listens here.
        Some(None) if options.is_none() => spec.slots = SLOTS_LOCALHOST,
        Some(Some(limit)) => spec.slots = slots(limit)?,
        _ => {
            (spec.place, spec.slots) = match address.split_once('@') {
                Some((user, rest)) => ssh(user, rest)?,
                None => tcp(address)?,
            }
        }
    }
    if let Some(options) = options {
        read_options(&mut spec, options)?;
    }
    Ok(spec)
}

/// `localhost` → `Some(None)`, `localhost/3` → `Some(Some("3"))`, anything else → `None`.
fn local_limit(address: &str) -> Option<Option<&str>> {
    match address.strip_prefix("localhost")? {
        "" => Some(None),
        rest => rest.strip_prefix('/').map(Some),
    }
}

fn ssh(user: &str, rest: &str) -> std::result::Result<(Place, usize), Why> {
    let (host_and_limit, command) = match rest.split_once(':') {
        Some((before, command)) => (before, command),
        None => (rest, "distccd"),
    };
    let (host, limit) = match host_and_limit.split_once('/') {
        Some((host, limit)) => (host, slots(limit)?),
        None => (host_and_limit, SLOTS_DEFAULT),
    };
    if host.is_empty() || command.is_empty() {
        return Err("an ssh host is written [USER]@HOST[/LIMIT][:COMMAND]".to_owned());
    }
    // ssh would take such a name for one of its options.
    if host.starts_with('-') || user.starts_with('-') {
        return Err("the name of a host or a user can't begin with '-'".to_owned());
    }
    let place = Place::Ssh {
        user: Some(user.to_owned()).filter(|user| !user.is_empty()),
        host: host.to_owned(),
        command: command.to_owned(),
    };
    Ok((place, limit))
}

fn tcp(address: &str) -> std::result::Result<(Place, usize), Why> {
    let shape = || "a TCP host is written HOST[:PORT][/LIMIT] or [IPV6]:PORT/LIMIT".to_owned();
    let (host, mut rest) = match address.strip_prefix('[') {
        Some(inner) => inner.split_once(']').ok_or("']' is missing".to_owned())?,
        None => address.split_at(address.find([':', '/']).unwrap_or(address.len())),
    };
    if host.is_empty() || host.contains('/') {
        return Err(shape());
    }
    let (mut number, mut limit) = (None, None);
    while let Some(mark) = rest.chars().next() {
        let after = rest.get(1..).unwrap_or_default();
        let (text, more) = after.split_at(after.find([':', '/']).unwrap_or(after.len()));
        match mark {
            ':' if number.is_none() => number = Some(port(text)?),
            // Stock clients take `[::1]=4` too, for people who write limits with '='.
            '/' | '=' if limit.is_none() => limit = Some(slots(text)?),
            _ => return Err(shape()),
        }
        rest = more;
    }
    let place = Place::Tcp {
        host: host.to_owned(),
        port: number.unwrap_or(PORT_DEFAULT),
    };
    Ok((place, limit.unwrap_or(SLOTS_DEFAULT)))
}

fn read_options(spec: &mut HostSpec, options: &str) -> std::result::Result<(), Why> {
    for option in options.split(',') {
        match option {
            "lzo" => spec.lzo = true,
            "cpp" => spec.cpp = true,
            "down" => spec.down = true,
            "auth" => return Err(no_authentication()),
            _ if option.starts_with("auth=") => return Err(no_authentication()),
            "" => {
                return Err("an option is missing after ','; write a,lzo without blanks".to_owned())
            }
            _ => {
                return Err(format!(
                    "there is no option '{option}'; lzo, cpp and down are known"
                ))
            }
        }
    }
    if spec.place == Place::Local {
        // Nothing travels, so there is nothing to choose.
        (spec.lzo, spec.cpp) = (false, false);
    }
    match spec.cpp && !spec.lzo {
        true => Err("pump mode (,cpp) needs compression: write ,cpp,lzo".to_owned()),
        false => Ok(()),
    }
}

fn no_authentication() -> Why {
    "GSSAPI authentication is not supported; an ssh host, [USER]@HOST, is authenticated".to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn one(token: &str) -> HostSpec {
        let list = parse(token, "test").unwrap_or_else(|err| panic!("{token}: {err}"));
        assert_eq!(list.hosts.len(), 1, "{token}");
        list.hosts[0].clone()
    }

    #[test]
    fn the_grammar_of_tcp_hosts() {
        for (token, host, port, slots) in [
            ("a", "a", 3632, 4),
            ("a/3", "a", 3632, 3),
            ("a:4000", "a", 4000, 4),
            ("a:4000/6", "a", 4000, 6),
            ("a/6:4000", "a", 4000, 6),
            ("10.0.0.1:1/1", "10.0.0.1", 1, 1),
            ("[::1]", "::1", 3632, 4),
            ("[fe80::1%eth0]:9/2", "fe80::1%eth0", 9, 2),
            ("[::1]/2:9", "::1", 9, 2),
            ("[::1]=2", "::1", 3632, 2),
            ("localhost:3000", "localhost", 3000, 4),
            ("localhostx", "localhostx", 3632, 4),
            ("a=5", "a=5", 3632, 4),
        ] {
            let spec = one(token);
            let place = Place::Tcp {
                host: host.to_owned(),
                port,
            };
            assert_eq!((spec.place, spec.slots), (place, slots), "{token}");
        }
        assert_eq!(one("localhost,lzo").key(), "tcp_localhost_3632");
    }

    #[test]
    fn the_grammar_of_the_others() {
        assert_eq!(
            (one("localhost").place, one("localhost").slots),
            (Place::Local, 2)
        );
        assert_eq!(one("localhost/7").slots, 7);
        let with_options = one("localhost/2,cpp,down");
        assert_eq!(with_options.place, Place::Local);
        assert!(with_options.down && !with_options.cpp);
        for (token, user, host, command) in [
            ("@h", None, "h", "distccd"),
            ("me@h/3", Some("me"), "h", "distccd"),
            ("me@h:/opt/distccd,lzo", Some("me"), "h", "/opt/distccd"),
            ("a@b@c", Some("a"), "b@c", "distccd"),
        ] {
            let expected = Place::Ssh {
                user: user.map(str::to_owned),
                host: host.to_owned(),
                command: command.to_owned(),
            };
            assert_eq!(one(token).place, expected, "{token}");
        }
    }

    #[test]
    fn options_keywords_and_comments() {
        let list = parse(
            "# all of them\na,lzo#comment\r\n\tb,cpp,lzo --randomize\x0cc,down --localslots=3 --localslots_cpp/9",
            "test",
        )
        .unwrap();
        let flags: Vec<_> = list
            .hosts
            .iter()
            .map(|h| (h.name(), h.lzo, h.cpp, h.down))
            .collect();
        assert_eq!(
            flags,
            [
                ("a", true, false, false),
                ("b", true, true, false),
                ("c", false, false, true)
            ]
        );
        assert!(list.randomize);
        assert_eq!((list.localslots, list.localslots_cpp), (3, 9));
        let usual = HostList::default();
        assert_eq!((usual.localslots, usual.localslots_cpp), (4, 16));
    }

    #[test]
    fn faults_name_the_token_and_its_place() {
        for token in [
            "@",
            "mbp@",
            ":",
            ":4200",
            "angry::",
            "[]",
            "[::1",
            "a:12x",
            "127.0.0.1:3632:1",
            "a/x",
            "a:3632/",
            "localhost/0",
            "a,foo",
            "a,",
            "a,cpp",
            "a/-1",
            "a:70000",
            "a:0",
            "a/4foo",
            "a,lzofoo",
            "a:400/5/6",
            "--localslots=0",
            "--localslots",
            "--foo",
            "+zeroconf",
            "+zero",
            "a,auth",
            "a/+4",
            "a:+9",
            "-x@h",
            "a@-oProxyCommand",
        ] {
            let err = parse(&format!("good\n  {token}"), "list").unwrap_err();
            assert_eq!(err.code, Code::BadHostSpec, "{token}");
            let expected = format!("list: line 2, column 3: '{token}': ");
            assert!(err.message.starts_with(&expected), "{err}");
        }
        let err = parse("a\r\n b # é\r\n\té: c/x", "list").unwrap_err();
        assert!(
            err.message.starts_with("list: line 3, column 2: 'é:'"),
            "{err}"
        );
        let err = parse("a\r\né/1 # é\r b c/x", "list").unwrap_err();
        assert!(
            err.message.starts_with("list: line 2, column 12: 'c/x'"),
            "{err}"
        );
        for empty in ["", " \n# nothing", "--randomize"] {
            let err = parse(empty, "$DISTCC_HOSTS").unwrap_err();
            assert_eq!(
                err.message,
                "$DISTCC_HOSTS contained no hosts; can't distribute work"
            );
        }
        assert!(parse("a , b", "list").is_err());
    }

    #[test]
    fn hosts_that_were_found_stand_in_the_place_of_their_word() {
        let mut asked = 0;
        let mut discover = || {
            asked += 1;
            Ok("# found\n10.0.0.7:3632/4\n@ /\n[fe80::1%eth0]:9/2\n".to_owned())
        };
        let list = parse_with("a +zeroconf b", "list", &mut discover).unwrap();
        let names: Vec<&str> = list.hosts.iter().map(HostSpec::name).collect();
        assert_eq!(names, ["a", "10.0.0.7", "fe80::1%eth0", "b"]);
        assert_eq!(list.hosts[1].token, "10.0.0.7:3632/4");
        parse_with("a b", "list", &mut discover).unwrap();
        assert_eq!(asked, 1);
        let err = parse_with("+zeroconf", "list", &mut || Ok("# none\n".to_owned())).unwrap_err();
        assert!(err.message.contains("has found no hosts"), "{err}");
        let err = parse_with("a +zeroconf", "list", &mut || Err("no".to_owned())).unwrap_err();
        assert_eq!(err.message, "list: line 1, column 3: '+zeroconf': no");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[ -~\\n]{0,60}") {
            if let Ok(list) = parse(&text, "test") {
                for host in &list.hosts {
                    prop_assert!((1..=SLOTS_MAX).contains(&host.slots));
                    // A token means the same wherever it stands.
                    prop_assert_eq!(&one(&host.token), host);
                }
            }
        }

        #[test]
        fn what_is_written_is_read(name in "[a-z][a-z0-9.-]{0,20}", port in 1u16.., slots in 1usize..=SLOTS_MAX, lzo: bool) {
            let suffix = if lzo { ",lzo" } else { "" };
            let spec = one(&format!("{name}:{port}/{slots}{suffix}"));
            prop_assert_eq!((spec.slots, spec.lzo), (slots, lzo));
            prop_assert_eq!(spec.place, Place::Tcp { host: name, port });
        }
    }
}
