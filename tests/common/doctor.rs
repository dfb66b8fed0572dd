//! `distcc doctor`, run by a client with one compiler, and what it found.

use super::{Client, Farm, Ran, Which};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Enough for the slowest machine where all answer; a peer that says nothing costs as much.
pub const PATIENT: &str = "--time=50";

/// What was found: check, what it is about, level, words and way out.
pub struct Found(pub Vec<[String; 5]>);

impl Found {
    pub fn of(ran: &Ran) -> Found {
        let document: Value =
            serde_json::from_str(&ran.stdout).unwrap_or_else(|err| panic!("{err}: {ran}"));
        assert_eq!(document["version"], 1);
        let checks = document["checks"].as_array().unwrap();
        let text = |check: &Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
        let keys = ["check", "about", "level", "what", "mend"];
        Found(
            checks
                .iter()
                .map(|check| keys.map(|key| text(check, key)))
                .collect(),
        )
    }

    /// Panics unless this check of something that begins like that came to this level, with these words in its text.
    #[track_caller]
    pub fn expect(&self, check: &str, about: &str, level: &str, words: &str) {
        let is_it = |found: &&[String; 5]| {
            found[0] == check
                && found[1].starts_with(about)
                && found[2] == level
                && (found[3].contains(words) || found[4].contains(words))
        };
        let found = self.0.iter().find(is_it);
        assert!(
            found.is_some(),
            "no {level} {check} of '{about}' with '{words}' in {:#?}",
            self.0
        );
    }

    /// Panics if there is anything worse than a note on this host, except what these checks found.
    #[track_caller]
    pub fn expect_no_other(&self, about: &str, but: &[&str]) {
        let is_worse = |found: &&[String; 5]| {
            found[1].starts_with(about) && found[2] != "ok" && !but.contains(&&*found[0])
        };
        assert!(self.0.iter().find(is_worse).is_none(), "{:#?}", self.0);
    }
}

/// A client whose PATH has one compiler only, as many would take much time.
pub fn client<'f>(farm: &'f Farm, hosts: &str) -> Client<'f> {
    let bin = farm.path("bin/one");
    if !bin.exists() {
        fs::create_dir(&bin).unwrap();
        for name in ["gcc", "as"] {
            symlink(Path::new("/usr/bin").join(name), bin.join(name)).unwrap();
        }
    }
    farm.client(Which::Ours, hosts).env("PATH", bin)
}

#[track_caller]
pub fn doctor(client: &Client, words: &[&str], status: i32) -> Found {
    let words = [&["doctor", "--json"], words].concat();
    Found::of(&client.run(&words).expect(status))
}
