//! One include server with its clients, ours or stock's, and a daemon of ours for jobs of its own.

use super::inputs::{Inputs, Unit};
use super::server::Server;
use super::started::{Contender, IncludeServerProcess, PATH};
use distcc::farm::include_link::IncludeServer;
use distcc::model::direct::Query;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// An include server that runs, and the server that its clients send to.
pub struct Session {
    folder: tempfile::TempDir,
    client: PathBuf,
    server: Server,
    include_server: IncludeServerProcess,
}

impl Session {
    pub fn start(contender: &Contender, inputs: &Inputs) -> Session {
        let folder = tempfile::Builder::new().prefix("bench-").tempdir().unwrap();
        let path = folder.path();
        fs::create_dir(path.join("objects")).unwrap();
        let include_server = IncludeServerProcess::start(contender, inputs, path);
        Session {
            client: contender.client.clone(),
            server: Server::start(),
            include_server,
            folder,
        }
    }

    /// A client for one unit, and these hosts.
    pub fn client(&self, unit: &Unit, hosts: &str) -> Command {
        let folder = self.folder.path();
        let source = unit.words.last().unwrap().replace('/', "_");
        let mut client = Command::new(&self.client);
        client
            .args(&unit.words)
            .args(["-c", "-o"])
            .arg(folder.join(format!("objects/{source}.o")))
            .current_dir(&unit.folder)
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", folder)
            .env("DISTCC_DIR", folder)
            .env("DISTCC_FALLBACK", "0")
            .env("DISTCC_HOSTS", hosts)
            .env("INCLUDE_SERVER_PORT", folder.join("socket"))
            .stderr(Stdio::null());
        client
    }

    /// Puts the first build's objects away, so that a second one makes its own. They stay, since a file system that has given
    /// up many files takes longer to make one.
    pub fn put_objects_away(&self) {
        let [from, to] = ["objects", "away"].map(|name| self.folder.path().join(name));
        fs::create_dir(&to).unwrap();
        for object in fs::read_dir(from).unwrap() {
            let object = object.unwrap();
            fs::rename(object.path(), to.join(object.file_name())).unwrap();
        }
    }

    /// Where the server listens.
    #[allow(dead_code)] // Only one of the benchmarks asks.
    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// How many bytes have been sent to the server.
    pub fn bytes(&self) -> usize {
        self.server.bytes()
    }

    /// Compiles one unit on a host with these options, as `,lzo`; whether that went in pump mode.
    pub fn compile(&self, unit: &Unit, options: &str) -> bool {
        let [files, text] = self.server.answered();
        let hosts = format!("127.0.0.1:{}/4{options}", self.server.port);
        let status = self.client(unit, &hosts).status();
        assert!(status.unwrap().success(), "{:?}", unit.words);
        let begun = Instant::now();
        // The answer is counted when it has been written, which the client does not wait for.
        loop {
            match self.server.answered() {
                [now, _] if now > files => return true,
                [_, now] if now > text => return false,
                _ => std::thread::sleep(Duration::from_micros(200)),
            }
            let patient = begun.elapsed() < Duration::from_secs(10);
            assert!(patient, "not sent anywhere: {:?}", unit.words);
        }
    }

    /// Asks our include server itself; panics if it does not know.
    pub fn ask(&self, unit: &Unit) {
        let program = which::which_in(&unit.words[0], Some(PATH), &unit.folder).unwrap();
        let cwd = unit.folder.as_os_str().as_bytes().to_vec();
        let words = unit.words.iter().map(String::as_str);
        let words = words.chain(["-c", "-o", "x.o"]);
        let query = Query {
            pwd: cwd.clone(),
            cwd,
            program: program.into_os_string().into_vec(),
            argv: words.map(|word| word.as_bytes().to_vec()).collect(),
            ..Query::default()
        };
        let socket = self.folder.path().join("socket");
        let server = IncludeServer::at(&socket, Duration::from_secs(60), None);
        server.ask(&query, OsStr::new("cc")).unwrap();
    }

    /// The same compile of a source that includes nothing.
    pub fn without_includes(&self, unit: &Unit) -> Unit {
        let mut unit = unit.clone();
        let source = unit.words.last_mut().unwrap();
        let suffix = source.rsplit_once('.').map_or("c", |(_, suffix)| suffix);
        let path = self.folder.path().join(format!("nothing.{suffix}"));
        fs::write(&path, "int nothing;\n").unwrap();
        *source = path.to_str().unwrap().to_owned();
        unit
    }

    /// What the include server has spent, with compilers that it ran.
    pub fn server_cpu(&self) -> Duration {
        self.include_server.cpu()
    }

    /// The same without those compilers.
    pub fn server_own_cpu(&self) -> Duration {
        self.include_server.own_cpu()
    }
}
