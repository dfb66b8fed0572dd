//! The manual pages say what the programs take, and nothing else: options, variables, exit statuses.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn help(words: &[&str]) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_distcc"))
        .args(words)
        .output()
        .unwrap();
    assert!(out.status.success());
    String::from_utf8(out.stdout).unwrap()
}

/// Words of the form `--name` in a text.
fn long_options(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'))
        .filter(|word| word.starts_with("--") && word.len() > 2)
        .map(str::to_owned)
        .collect()
}

/// Options that have an entry of their own in a page.
fn entries(page: &str) -> BTreeSet<String> {
    page.lines()
        .filter(|line| line.starts_with(".It Fl"))
        .flat_map(|line| line.split_whitespace())
        .filter(|word| word.starts_with('-'))
        .map(|word| format!("-{word}"))
        .collect()
}

/// String literals that are names of variables.
fn variables(source: &str) -> BTreeSet<String> {
    let code = source.split("#[cfg(test)]").next().unwrap();
    code.split('"')
        .filter(|text| text.starts_with("DISTCC") || *text == "UNCACHED_ERR_FD")
        .filter(|text| text.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn options_of_distccd_are_those_of_its_page() {
    assert_eq!(
        entries(&file("man/distccd.1")),
        long_options(&help(&["distccd", "--help"]))
    );
}

#[test]
fn options_of_distcc_are_those_of_its_page() {
    let page = entries(&file("man/distcc.1"));
    for option in long_options(&help(&["--help"])) {
        assert!(
            page.contains(&option),
            "{option} is in --help, not in distcc(1)"
        );
    }
}

#[test]
fn every_variable_is_in_its_page() {
    for (source, page) in [
        ("src/model/settings.rs", "man/distcc.1"),
        ("src/daemon/options.rs", "man/distccd.1"),
    ] {
        let text = file(page);
        let found = variables(&file(source));
        assert!(found.len() > 3, "{source} was not understood: {found:?}");
        for name in found {
            assert!(
                text.contains(&format!(".It Ev {name}\n")),
                "{name} is not in {page}"
            );
        }
    }
}

#[test]
fn every_exit_status_is_in_a_page() {
    let pages = file("man/distcc.1") + &file("man/distccd.1");
    for line in file("src/model/error.rs").lines() {
        let Some((_, code)) = line.trim_end_matches(',').split_once(" = 1") else {
            continue;
        };
        if code.len() == 2 && code.chars().all(|c| c.is_ascii_digit()) {
            assert!(pages.contains(&format!("1{code}")), "1{code} is in no page");
        }
    }
}

#[test]
fn pages_are_drawn_without_warnings() {
    for page in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("man")).unwrap() {
        let page = page.unwrap().path();
        let drawn = Command::new("man")
            .args(["--warnings", "-l"])
            .arg(&page)
            .env("MANWIDTH", "80")
            .output();
        let Ok(drawn) = drawn else { return };
        assert!(
            drawn.status.success() && drawn.stderr.is_empty(),
            "{}: {}",
            page.display(),
            String::from_utf8_lossy(&drawn.stderr)
        );
    }
}

#[test]
fn the_readme_has_no_gaps() {
    let text = file("README.md");
    assert!(text.contains("cargo run --release -- try") && text.contains("tests/run"));
    for name in [
        "install.sh",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "LICENSE",
        "benches/run",
        "tests/run",
    ] {
        assert!(
            Path::new(env!("CARGO_MANIFEST_DIR")).join(name).exists(),
            "{name}"
        );
    }
}
