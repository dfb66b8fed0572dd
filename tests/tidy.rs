//! Properties of the source itself: who uses whom, sizes, headers, what belongs where. `src/lib.rs` is the floor plan;
//! what its order forbids is a fault here.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const LINES_PER_FILE_MAX: usize = 600;
const PROGRAMS: &[&str] = &["client", "daemon", "pump", "tools"];
/// Words that may appear in one folder only, or nowhere if the folder is empty.
const ONLY_IN: &[(&str, &str)] = &[
    ("os", "allow(unsafe_code)"),
    ("os", "unsafe {"),
    ("os", "libc::"),
    ("daemon", "smol::"),
    ("daemon", "async_net::"),
    ("", "todo!("),
    ("", "unimplemented!("),
    ("", "dbg!("),
];
/// Words that may not appear in a folder.
const NOT_IN: &[(&str, &str)] = &[
    ("model", "std::fs"),
    ("model", "std::env"),
    ("model", "std::process"),
    ("model", "log::"),
    ("model", "::now("),
];
/// Words that are not even wanted in comments: what they mark belongs in the issue tracker.
const UNFINISHED: &[&str] = &["TODO", "FIXME", "XXX:", "(being written)"];

#[test]
fn the_floors_hold() {
    let order = modules_in_order(&fs::read_to_string(root("src/lib.rs")).unwrap());
    assert!(order.len() > 10, "src/lib.rs was not understood: {order:?}");
    let mut found: Vec<String> = order
        .iter()
        .flat_map(|module| faults_of_module(module, &order))
        .collect();
    for path in rust_files(&root("src")) {
        let module = module_of(&path);
        if module != "lib" && module != "main" && !order.contains(&module) {
            found.push(format!("{}: not listed in src/lib.rs", path.display()));
        }
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn every_file_says_what_it_owns_and_stays_short() {
    let mut found = Vec::new();
    for folder in ["src", "tests", "benches", "fuzz"] {
        for path in rust_files(&root(folder)) {
            let text = fs::read_to_string(&path).unwrap();
            let mut fault = |what: String| found.push(format!("{}: {what}", path.display()));
            if !text.starts_with("//! ") {
                fault("starts without a //! line that says what it owns".to_owned());
            }
            let lines = text.lines().count();
            if lines > LINES_PER_FILE_MAX {
                fault(format!("{lines} lines, more than {LINES_PER_FILE_MAX}"));
            }
            for word in UNFINISHED {
                if text.contains(word) && !path.ends_with("tests/tidy.rs") {
                    fault(format!("holds {word}"));
                }
            }
        }
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn the_architecture_names_every_file() {
    let page = fs::read_to_string(root("ARCHITECTURE.md")).unwrap();
    let mut found = Vec::new();
    let order = modules_in_order(&fs::read_to_string(root("src/lib.rs")).unwrap());
    for folder in ["model", "os", "farm", "client", "daemon", "pump", "tools"] {
        let inside = order
            .iter()
            .filter_map(|module| module.strip_prefix(&format!("{folder}::")))
            .map(str::to_owned);
        let table = names_in_table(section(&page, &format!("### {folder}/")));
        found.extend(unmatched(folder, &inside.collect::<Vec<String>>(), &table));
    }
    let entries = fs::read_dir(root("tests")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let tests: Vec<String> = names
        .filter_map(|name| name.strip_suffix(".rs").map(str::to_owned))
        .collect();
    let table = names_in_table(section(&page, "## 6. Tests"));
    let table = table.into_iter().filter(|name| !name.contains('/'));
    found.extend(unmatched("tests", &tests, &table.collect::<Vec<String>>()));
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// With `std` it asks the processor what it can do before it first searches: seven instructions that a virtual machine
/// stops at, 50 µs of each run of the client. Any dependency may bring that feature to it.
#[test]
fn searching_asks_no_processor() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--invert", "memchr"])
        .args(["--edges", "features,no-dev"])
        .current_dir(root(""))
        .output()
        .unwrap();
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.contains("memchr feature \"alloc\""), "{tree}");
    assert!(!tree.contains("memchr feature \"std\""), "{tree}");
}

#[test]
fn the_checks_find_what_they_are_for() {
    let order: Vec<String> = ["model::a", "os::b", "client::c", "daemon::d", "client::e"]
        .map(str::to_owned)
        .to_vec();
    for (module, text, fault) in [
        ("model::a", "use crate::os::b;", "stands below"),
        ("model::a", "use crate::{os::{b::X, z}, q};", "stands below"),
        ("client::c", "use super::e;", "stands below"),
        ("daemon::d", "use crate::client::c::f;", "another"),
        ("model::a", "fn f() { std::env::var(\"x\"); }", "no place"),
        ("client::c", "use libc::c_int;", "belongs in src/os"),
        ("client::c", "fn f() { todo!() }", "nowhere"),
    ] {
        let found = faults_in(module, text, &order);
        assert!(
            found.iter().any(|found| found.contains(fault)),
            "{module}: {text}: {found:?}"
        );
    }
    for (module, text) in [
        (
            "client::e",
            "use super::c; use crate::{model::a, os::b::B};",
        ),
        ("model::a", "// std::env is not read here\nfn f() {}"),
        (
            "model::a",
            "fn f() {}\n#[cfg(test)]\nmod tests { use super::*; use std::fs; }",
        ),
    ] {
        assert_eq!(faults_in(module, text, &order), [""; 0], "{module}: {text}");
    }
    let page = "# Page\n\n## A\n| `a`, `b*` | not `this` |\n\n## B\n| `d` | |\n";
    let names = names_in_table(section(page, "## A"));
    assert_eq!(names, ["a", "b*"]);
    let files = ["b1", "b2", "c"].map(str::to_owned);
    assert_eq!(
        unmatched("x", &files, &names),
        [
            "ARCHITECTURE.md does not name x/c.rs",
            "ARCHITECTURE.md names x/a.rs, which is not there"
        ]
    );
}

/// What stands in a page under a heading, up to the next one.
fn section<'p>(page: &'p str, heading: &str) -> &'p str {
    let begin = page.find(&format!("\n{heading}")).unwrap_or(page.len());
    let text = page[begin..].trim_start();
    text.find("\n#").map_or(text, |end| &text[..end])
}

/// The words between backticks in the first column of a table.
fn names_in_table(text: &str) -> Vec<String> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| "));
    let columns = rows.filter_map(|row| row.split(" |").next());
    columns
        .flat_map(|column| column.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

/// The files that no name in a table means, and the names that mean no file. A name may end in `*`.
fn unmatched(folder: &str, files: &[String], names: &[String]) -> Vec<String> {
    let means = |name: &str, file: &str| match name.strip_suffix('*') {
        Some(start) => file.starts_with(start),
        None => name == file,
    };
    let missing = files
        .iter()
        .filter(|file| !names.iter().any(|name| means(name, file)))
        .map(|file| format!("ARCHITECTURE.md does not name {folder}/{file}.rs"));
    let too_many = names
        .iter()
        .filter(|name| !files.iter().any(|file| means(name, file)))
        .map(|name| format!("ARCHITECTURE.md names {folder}/{name}.rs, which is not there"));
    missing.chain(too_many).collect()
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// All Rust files below a folder that need not exist.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn module_of(path: &Path) -> String {
    let inside = path.strip_prefix(root("src")).unwrap();
    let name = inside.with_extension("").to_str().unwrap().to_owned();
    name.replace('/', "::")
}

/// `lib.rs` read as a list: `model::error`, `model::hosts`, … in the order in which they stand.
fn modules_in_order(lib: &str) -> Vec<String> {
    let (mut folder, mut order) = (String::new(), Vec::new());
    for line in lib
        .lines()
        .map(|line| line.trim().trim_start_matches("pub "))
    {
        match line.strip_prefix("mod ") {
            Some(rest) if rest.ends_with('{') => {
                folder = format!("{}::", rest.trim_end_matches(" {"));
            }
            Some(rest) => order.push(format!("{folder}{}", rest.trim_end_matches(';'))),
            None if line == "}" => folder.clear(),
            None => {}
        }
    }
    order
}

fn faults_of_module(module: &str, order: &[String]) -> Vec<String> {
    let path = format!("src/{}.rs", module.replace("::", "/"));
    let text = fs::read_to_string(root(&path)).unwrap_or_else(|err| panic!("read {path}: {err}"));
    faults_in(module, &text, order)
        .iter()
        .map(|fault| format!("{path}: {fault}"))
        .collect()
}

fn faults_in(module: &str, text: &str, order: &[String]) -> Vec<String> {
    let folder = folder(module);
    let mut faults = Vec::new();
    let code = code_of(text);
    for (home, word) in ONLY_IN {
        if folder != *home && code.contains(word) {
            faults.push(match *home {
                "" => format!("{word} belongs nowhere"),
                _ => format!("{word} belongs in src/{home}"),
            });
        }
    }
    for (home, word) in NOT_IN {
        if folder == *home && code.contains(word) {
            faults.push(format!("{word} has no place in src/{home}"));
        }
    }
    let position = |name: &str| {
        order
            .iter()
            .position(|known| name == known || name.starts_with(&format!("{known}::")))
    };
    for used in used_paths(&code, folder) {
        let Some(at) = position(&used) else { continue };
        let other = self::folder(&order[at]);
        if order[at] != module && at >= position(module).unwrap() {
            faults.push(format!(
                "uses {}, which stands below it in lib.rs",
                order[at]
            ));
        } else if other != folder && PROGRAMS.contains(&folder) && PROGRAMS.contains(&other) {
            faults.push(format!("one program uses another: {}", order[at]));
        }
    }
    faults
}

fn folder(module: &str) -> &str {
    module.split("::").next().unwrap()
}

/// A module's text without comments and without its tests, which stand at its end.
fn code_of(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
    let lines: Vec<&str> = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    lines.join("\n")
}

/// Each path that starts with `crate::` or `super::`, braces multiplied out.
fn used_paths(code: &str, folder: &str) -> Vec<String> {
    let code = code.replace("super::", &format!("crate::{folder}::"));
    let mut paths = Vec::new();
    for rest in code.split("crate::").skip(1) {
        expand("", rest, &mut paths);
    }
    paths
}

/// Reads one use-tree from the start of `rest` into `paths`; returns what follows it.
fn expand<'t>(prefix: &str, rest: &'t str, paths: &mut Vec<String>) -> &'t str {
    let rest = rest.trim_start();
    if let Some(mut inner) = rest.strip_prefix('{') {
        loop {
            inner = expand(prefix, inner, paths).trim_start();
            match inner.strip_prefix(',') {
                Some(more) if !more.trim_start().starts_with('}') => inner = more,
                Some(more) => return &more.trim_start()[1..],
                None => return inner.strip_prefix('}').unwrap_or(inner),
            }
        }
    }
    let end = rest
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(rest.len());
    let path = format!("{prefix}{}", &rest[..end]);
    match rest[end..].strip_prefix("::") {
        Some(deeper) => expand(&format!("{path}::"), deeper, paths),
        None => {
            paths.push(path);
            &rest[end..]
        }
    }
}
