//! Plain mode with the texts of a real tree: what a client costs beside its preprocessor, which here only copies what the
//! real one has said once, with a server that costs nothing.

use super::cost;
use super::inputs::{Inputs, Unit};
use super::session::Session;
use super::started::{Contender, PATH};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The units of a tree, preprocessed.
pub struct Texts<'i> {
    inputs: &'i Inputs,
    folder: tempfile::TempDir,
    texts: Vec<PathBuf>,
}

impl<'i> Texts<'i> {
    pub fn of(inputs: &'i Inputs) -> Texts<'i> {
        let folder = tempfile::Builder::new().prefix("bench-").tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/compare/fake.c");
        let built = Command::new("cc")
            .args(["-O2", "-static", "-o"])
            .arg(folder.path().join("gcc"))
            .arg(source)
            .status();
        assert!(built.unwrap().success());
        // Stock takes that name of it, too, if there is one.
        let other = format!("{}-linux-gnu-gcc", std::env::consts::ARCH);
        symlink("gcc", folder.path().join(other)).unwrap();
        let texts = inputs.sample.iter().enumerate().map(|(number, unit)| {
            let text = folder.path().join(format!("{number}.i"));
            let made = Command::new(&unit.words[0])
                .args(&unit.words[1..])
                .args(["-E", "-o"])
                .arg(&text)
                .current_dir(&unit.folder)
                .status();
            assert!(made.unwrap().success(), "{:?}", unit.words);
            text
        });
        Texts {
            inputs,
            texts: texts.collect(),
            folder,
        }
    }

    /// How long they are on average, in bytes.
    pub fn bytes(&self) -> u64 {
        let bytes = self
            .texts
            .iter()
            .map(|text| fs::metadata(text).unwrap().len());
        bytes.sum::<u64>() / self.texts.len() as u64
    }

    /// Processor time for a unit with these options of the host, the preprocessor's taken off.
    pub fn client(&self, contender: &Contender, options: &str) -> Duration {
        let session = Session::start(contender, self.inputs);
        let port = session.port();
        let hosts = format!("127.0.0.1:{port}/4{options}");
        let spent = |run: &dyn Fn(&Unit, &Path)| {
            let before = cost::of_children();
            for (unit, text) in self.inputs.sample.iter().zip(&self.texts) {
                run(unit, text);
            }
            cost::of_children() - before
        };
        let scratch = self.folder.path().join("scratch");
        let preprocessor = spent(&|unit, text| {
            let status = Command::new(self.folder.path().join("gcc"))
                .args(&unit.words[1..])
                .arg("-E")
                .current_dir(&unit.folder)
                .env("FAKE_TEXT", text)
                .stdout(fs::File::create(&scratch).unwrap())
                .status();
            assert!(status.unwrap().success());
        });
        let path = format!("{}:{PATH}", self.folder.path().display());
        let whole = spent(&|unit, text| {
            let mut client = session.client(unit, &hosts);
            client
                .env_remove("INCLUDE_SERVER_PORT")
                .env("PATH", &path)
                .env("FAKE_TEXT", text)
                .stdout(Stdio::null());
            assert!(client.status().unwrap().success(), "{:?}", unit.words);
        });
        let units = self.texts.len() as u32;
        whole.saturating_sub(preprocessor) / units
    }
}
