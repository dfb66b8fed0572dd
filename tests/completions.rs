//! Completions for bash, zsh and fish: they offer what the programs take, and each shell can read its own.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const FILES: [&str; 3] = ["distcc.bash", "_distcc", "distcc.fish"];

fn file(name: &str) -> PathBuf {
    Path::new(ROOT).join("packaging/completions").join(name)
}

fn skipped(program: &str) {
    let must = std::env::var_os("DISTCC_TESTS_MUST_ALL").is_some_and(|value| !value.is_empty());
    assert!(
        !must,
        "{program} is missing; tests/install-needs installs it"
    );
}

fn well(out: &Output) -> String {
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && said.is_empty(), "{said}");
    String::from_utf8(out.stdout.clone()).unwrap()
}

/// Long options in a help text, with their dashes.
fn options(program: &str) -> BTreeSet<String> {
    let out = Command::new(env!("CARGO_BIN_EXE_distcc"))
        .args(program.split(' ').filter(|word| *word != "distcc"))
        .arg("--help")
        .output()
        .unwrap();
    let mut help = String::from_utf8([out.stdout, out.stderr].concat()).unwrap();
    if program == "distcc" {
        // What stands around its own options are the ways to call other programs, and words of host lists.
        let own = help.split("\nOptions:\n").nth(1).unwrap();
        help = own.split("\n\n").next().unwrap().to_owned();
    }
    let words = help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'));
    let mut found: BTreeSet<String> = words
        .filter(|word| word.starts_with("--") && word.len() > 2)
        .map(str::to_owned)
        .collect();
    found.insert("--help".to_owned());
    found
}

/// Names that count as the first word after distcc; not those that it gives to helpers of its own.
fn programs() -> BTreeSet<String> {
    let table = fs::read_to_string(Path::new(ROOT).join("src/multicall.rs")).unwrap();
    let table = table.split("const ROLES").nth(1).unwrap();
    let table = table.split("\n];").next().unwrap();
    let names = table.split("name: \"").skip(1);
    let names: BTreeSet<String> = names
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect();
    assert!(names.len() > 8, "src/multicall.rs was not understood");
    names
}

/// A folder whose `distcc` is ours, and PATH with it in front.
fn path(folder: &Path) -> String {
    symlink(env!("CARGO_BIN_EXE_distcc"), folder.join("distcc")).unwrap();
    let path = std::env::var("PATH").unwrap();
    format!("{}:{path}", folder.display())
}

/// What bash and fish offer for each line of a command that has been begun.
fn bash(lines: &[&str]) -> Option<Vec<String>> {
    let library = "/usr/share/bash-completion/bash_completion";
    if !Path::new(library).exists() {
        skipped("bash-completion");
        return None;
    }
    let script = r#"
        . "$1" && . "$2" && shift 2 || exit
        for line; do
            COMP_LINE=$line COMP_POINT=${#line}
            read -ra COMP_WORDS <<<"$line"
            [[ $line == *' ' ]] && COMP_WORDS+=('')
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            COMPREPLY=()
            _distcc
            echo " ${COMPREPLY[*]} "
        done"#;
    let folder = tempfile::tempdir().unwrap();
    let out = Command::new("bash")
        .args(["--norc", "-c", script, "bash", library])
        .arg(file("distcc.bash"))
        .args(lines)
        .env("PATH", path(folder.path()))
        .output()
        .unwrap();
    let offered: Vec<String> = well(&out).lines().map(str::to_owned).collect();
    assert_eq!(offered.len(), lines.len());
    Some(offered)
}

fn fish(lines: &[&str]) -> Option<Vec<String>> {
    let script = r#"
        source $argv[1]
        for line in $argv[2..]
            echo " "(complete -C $line | string split -f 1 \t | string join ' ')" "
        end"#;
    let folder = tempfile::tempdir().unwrap();
    let out = Command::new("fish")
        .args(["--no-config", "-c", script])
        .arg(file("distcc.fish"))
        .args(lines)
        .env("PATH", path(folder.path()))
        .env("HOME", folder.path())
        .output();
    let Ok(out) = out else {
        skipped("fish");
        return None;
    };
    let offered: Vec<String> = well(&out).lines().map(str::to_owned).collect();
    assert_eq!(offered.len(), lines.len());
    Some(offered)
}

#[test]
fn every_program_is_offered_by_every_shell() {
    let names = programs();
    for (offered, shell) in [(bash(&["distcc "]), "bash"), (fish(&["distcc "]), "fish")] {
        let Some(offered) = offered else { continue };
        for name in names.iter().map(String::as_str).chain(["cc", "gcc"]) {
            assert!(offered[0].contains(&format!(" {name} ")), "{shell}: {name}");
        }
    }
    let zsh = fs::read_to_string(file("_distcc")).unwrap();
    for name in &names {
        assert!(zsh.contains(&format!("        '{name}:")), "zsh: {name}");
    }
}

/// In both directions: none is missing, and none is offered that there is not.
#[test]
fn options_are_those_of_the_programs() {
    // lsdistcc's options are one letter each.
    let others = programs().into_iter().filter(|name| name != "lsdistcc");
    let others = others.map(|name| format!("distcc {name}"));
    for program in ["distcc".to_owned()].into_iter().chain(others) {
        let taken = options(&program);
        let line = format!("{program} --");
        for (offered, shell) in [(bash(&[&line]), "bash"), (fish(&[&line]), "fish")] {
            let Some(offered) = offered else { continue };
            let offered: BTreeSet<String> = offered[0]
                .split_whitespace()
                .map(|word| word.trim_end_matches('=').to_owned())
                .collect();
            assert_eq!(offered, taken, "{shell}: {program}");
        }
        let zsh = fs::read_to_string(file("_distcc")).unwrap();
        for option in taken {
            let known = [
                format!("'{option}["),
                format!("'{option}=["),
                format!(",{option}}}"),
                format!(",{option}=}}"),
                format!("'{option}:"),
                format!("'*{option}=["),
            ];
            assert!(
                known.iter().any(|known| zsh.contains(known)),
                "zsh: {option} of {program}"
            );
        }
    }
}

#[test]
fn values_and_the_commands_behind_are_completed() {
    let cases = [
        ("distccd --sandbox ", " require "),
        ("distcc distccd --log-level deb", " debug "),
        ("distcc distccd --user roo", " root "),
        ("distcc try --pl", " --plain "),
    ];
    let lines = cases.map(|(line, _)| line);
    for (offered, shell) in [(bash(&lines), "bash"), (fish(&lines), "fish")] {
        for ((line, expected), offered) in cases.iter().zip(offered.unwrap_or_default()) {
            assert!(offered.contains(expected), "{shell}: {line}: {offered}");
        }
    }
    let lines = [
        "distcc gcc -fno-exceptio",
        "distcc try --plain gcc -fno-exceptio",
        "pump gcc -fno-exceptio",
        "distcc why gcc -fno-exceptio",
    ];
    for offered in bash(&lines).unwrap_or_default() {
        assert_eq!(offered, " -fno-exceptions ");
    }
    // What stands behind is another program's: here one that both know.
    let lines = [
        "distcc update-distcc-symlinks --dr",
        "pump update-distcc-symlinks --dr",
    ];
    for offered in fish(&lines).unwrap_or_default() {
        assert_eq!(offered, " --dry-run ");
    }
}

/// In a shell as people use it, with its whole machinery of completion.
#[test]
fn zsh_takes_its_own() {
    let folder = tempfile::tempdir().unwrap();
    // Each read waits for what is expected; without it the time is over.
    let script = r#"
        zmodload zsh/zpty
        zpty z zsh -f -i
        zpty -w z "PS1=; fpath=($1 \$fpath); autoload -U compinit; compinit -u -D; bindkey '^I' complete-word; echo rea''dy"
        zpty -r z said "*ready*"
        while (( $# > 1 )); do
            zpty -n -w z "$2"$'\t'
            zpty -r z said "*$3*"
            print -r -- "$3"
            zpty -n -w z $'\C-u'
            shift 2
        done
        zpty -d z"#;
    let lines = [
        ["distcc try --pl", "--plain"],
        ["distccd --sandb", "--sandbox"],
        ["distcc update-distcc-symlinks --dr", "--dry-run"],
    ];
    if Command::new("zsh").args(["-f", "-c", ""]).output().is_err() {
        return skipped("zsh");
    }
    let out = Command::new("timeout")
        .args(["60", "zsh", "-f", "-c", script, "zsh"])
        .arg(file(""))
        .args(lines.as_flattened())
        .env("PATH", path(folder.path()))
        .env("HOME", folder.path())
        .output()
        .unwrap();
    let completed = lines.map(|[_, completed]| completed).join("\n") + "\n";
    assert_eq!(well(&out), completed);
}

#[test]
fn every_file_is_installed() {
    let installer = fs::read_to_string(Path::new(ROOT).join("install.sh")).unwrap();
    for name in FILES {
        assert!(file(name).exists());
        assert!(
            installer.contains(&format!("completions/{name}\"")),
            "{name}"
        );
    }
}
