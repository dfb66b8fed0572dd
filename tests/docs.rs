//! The manual pages say what the programs take, and nothing else: options, variables, exit statuses.
#![allow(clippy::unwrap_used)]

use distcc::model::findings::Topic;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
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
    const PREFIXES: [&str; 5] = ["DISTCC_", "DCC_", "INCLUDE_SERVER", "LSDISTCC", "UNCACHED"];
    let code = source.split("#[cfg(test)]").next().unwrap();
    code.split('"')
        .filter(|text| PREFIXES.iter().any(|prefix| text.starts_with(prefix)))
        .filter(|text| text.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        .map(str::to_owned)
        .collect()
}

/// Variables that have an entry in a page.
fn variables_of(page: &str) -> BTreeSet<String> {
    let entries = page.lines().filter_map(|line| line.strip_prefix(".It Ev "));
    entries
        .flat_map(|names| names.split(" , "))
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

/// What packagers and users start from: the options are those that there are.
#[test]
fn the_examples_of_packaging_have_real_options() {
    let known = long_options(&help(&["distccd", "--help"]));
    let example = file("packaging/distccd.conf");
    let settings = example.lines().filter_map(|line| {
        let (name, _) = line.trim_start_matches('#').split_once(" = ")?;
        name.chars()
            .all(|c| c.is_ascii_lowercase() || c == '-')
            .then(|| format!("--{name}"))
    });
    let settings: Vec<String> = settings.collect();
    assert!(settings.len() > 8, "{settings:?}");
    let service = file("packaging/systemd/distccd.service");
    let start = service
        .lines()
        .find(|line| line.starts_with("ExecStart="))
        .unwrap();
    for option in settings.into_iter().chain(long_options(start)) {
        assert!(known.contains(&option), "{option}");
    }
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
fn options_of_top_are_those_of_its_page() {
    assert_eq!(
        entries(&file("man/distcc-top.1")),
        long_options(&help(&["top", "--help"]))
    );
}

#[test]
fn options_of_trace_are_those_of_its_page() {
    assert_eq!(
        entries(&file("man/distcc-trace.1")),
        long_options(&help(&["trace", "--help"]))
    );
}

#[test]
fn options_of_the_small_programs_are_in_their_pages() {
    for (program, page) in [
        ("doctor", "man/distcc.1"),
        ("why", "man/distcc.1"),
        ("try", "man/distcc.1"),
        ("update-distcc-symlinks", "man/update-distcc-symlinks.8"),
    ] {
        let page = file(page);
        for option in long_options(&help(&[program, "--help"])) {
            let named = format!("Fl {}", &option[1..]);
            assert!(page.contains(&named), "{program} {option}");
        }
    }
    // Stock's program ends with 1 when it shows this.
    let mut lsdistcc = Command::new(env!("CARGO_BIN_EXE_distcc"));
    let shown = lsdistcc.args(["lsdistcc", "--help"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let options = shown.lines().filter_map(|line| line.strip_prefix("  -"));
    let page = file("man/lsdistcc.1");
    let missing: Vec<&str> = options
        .filter(|option| !page.contains(&format!("\n.It Fl {}", &option[..1])))
        .collect();
    assert!(
        shown.contains("\n  -l ") && missing.is_empty(),
        "{missing:?}"
    );
}

#[test]
fn options_of_include_server_and_pump_are_those_of_their_pages() {
    // Those without effect stand in a sentence.
    let page = file("man/include_server.1");
    let sentence = page.split("Accepted for the sake").nth(1).unwrap();
    let without_effect = sentence.lines().take_while(|line| *line != ".Nm");
    let without_effect = without_effect.filter_map(|line| line.strip_prefix(".Fl -"));
    let mut known = entries(&page);
    known
        .extend(without_effect.map(|name| format!("--{}", name.trim_end_matches([' ', ',', '.']))));
    let mut taken = long_options(&help(&["include_server", "--help"]));
    taken.insert("--help".to_owned());
    for option in taken {
        assert!(
            known.contains(&option),
            "{option} is not in include_server(1)"
        );
    }
    let page = entries(&file("man/pump.1"));
    for option in ["--startup", "--shutdown", "--help"] {
        assert!(page.contains(option), "{option} is not in pump(1)");
    }
}

#[test]
fn every_variable_is_in_its_page() {
    for (source, page) in [
        ("src/model/settings.rs", "man/distcc.1"),
        ("src/model/pump_settings.rs", "man/distcc.1"),
        ("src/daemon/config.rs", "man/distccd.1"),
        ("src/pump/wrapper.rs", "man/pump.1"),
        ("src/pump/wrapper_hosts.rs", "man/pump.1"),
        ("src/pump/wrapper_session.rs", "man/pump.1"),
        ("src/pump/include_server.rs", "man/include_server.1"),
    ] {
        let known = variables_of(&file(page));
        let found = variables(&file(source));
        assert!(!found.is_empty(), "{source} was not understood");
        for name in found {
            assert!(known.contains(&name), "{name} is not in {page}");
        }
    }
}

#[test]
fn every_variable_is_in_some_page() {
    let mut known = BTreeSet::new();
    for page in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("man")).unwrap() {
        known.extend(variables_of(
            &fs::read_to_string(page.unwrap().path()).unwrap(),
        ));
    }
    for module in rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        for name in variables(&fs::read_to_string(&module).unwrap()) {
            let module = module.display();
            assert!(known.contains(&name), "{name}, of {module}, is in no page");
        }
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => rust_files(&path),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .collect()
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

fn skipped(program: &str) {
    let must = std::env::var_os("DISTCC_TESTS_MUST_ALL").is_some_and(|value| !value.is_empty());
    assert!(
        !must,
        "{program} is missing; tests/install-needs installs it"
    );
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
        let Ok(drawn) = drawn else {
            return skipped("man");
        };
        assert!(
            drawn.status.success() && drawn.stderr.is_empty(),
            "{}: {}",
            page.display(),
            String::from_utf8_lossy(&drawn.stderr)
        );
    }
}

/// The other program that draws such pages, where it is installed. Whether pages of others are there is not ours to say.
#[test]
fn mandoc_finds_nothing_wrong_with_the_pages() {
    for page in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("man")).unwrap() {
        let page = page.unwrap().path();
        let looked = Command::new("mandoc")
            .args(["-T", "lint"])
            .arg(&page)
            .output();
        let Ok(looked) = looked else {
            return skipped("mandoc");
        };
        let found = String::from_utf8_lossy(&looked.stdout).into_owned();
        let is_ours = |line: &&str| !line.contains("referenced manual not found");
        let found: Vec<&str> = found.lines().filter(is_ours).collect();
        assert!(found.is_empty(), "{found:#?}");
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
        "packaging/distccd.conf",
        "benches/run",
        "tests/run",
    ] {
        assert!(
            Path::new(env!("CARGO_MANIFEST_DIR")).join(name).exists(),
            "{name}"
        );
    }
}

/// Links within README lead to headings, as the page that shows it names them.
#[test]
fn links_of_the_readme_lead_somewhere() {
    let readme = file("README.md");
    let headings = readme.lines().filter(|line| line.starts_with("##"));
    let anchors: BTreeSet<String> = headings
        .map(|line| line.trim_start_matches('#').trim().to_lowercase())
        .map(|title| {
            let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
            title
                .chars()
                .filter(kept)
                .collect::<String>()
                .replace(' ', "-")
        })
        .collect();
    let links: Vec<&str> = readme
        .split("](#")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .collect();
    assert!(links.len() > 10, "{links:?}");
    for link in links {
        assert!(anchors.contains(link), "#{link} leads nowhere: {anchors:?}");
    }
}

/// What the table of troubles shows as a message is one: its longest run of plain words stands in the source.
#[test]
fn the_messages_of_the_readme_are_those_of_the_programs() {
    let readme = file("README.md");
    let table = readme.split("## When something is wrong").nth(1).unwrap();
    let table = table.split("\n## ").next().unwrap();
    let sources: Vec<String> = rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let shown = rows.filter_map(|row| row.split(" | ").next());
    let messages: Vec<&str> = shown
        .flat_map(|column| column.split('`').skip(1).step_by(2))
        .filter(|message| message.contains(' '))
        .collect();
    assert!(messages.len() > 10, "the table was not understood");
    for message in messages {
        let foreign = ["undefined reference", "epollcreate failed"];
        let is_foreign = foreign.iter().any(|words| message.contains(words));
        let runs = message.split(|c: char| !(c.is_ascii_alphabetic() || " ,'-".contains(c)));
        let longest = runs.map(str::trim).max_by_key(|run| run.len()).unwrap();
        assert!(
            is_foreign || sources.iter().any(|source| source.contains(longest)),
            "`{message}`: no program says '{longest}'"
        );
    }
}

/// What findings name as the place that says more is there, and has something to say.
#[test]
fn headings_that_findings_name_are_in_the_readme() {
    let readme = file("README.md");
    let troubles = readme
        .split("\n## When something is wrong\n")
        .nth(1)
        .unwrap();
    let troubles = troubles.split("\n## ").next().unwrap();
    let sections: Vec<&str> = troubles.split("\n### ").skip(1).collect();
    let headings = sections.iter().filter_map(|section| section.lines().next());
    let named = Topic::ALL.map(Topic::heading);
    assert_eq!(headings.collect::<Vec<&str>>(), named);
    for section in sections {
        let rows = section.lines().filter(|line| line.starts_with("| "));
        assert!(rows.count() > 2, "{section}");
    }
}

/// Stock's options by program, as its own lists have them.
const STOCKS_OPTIONS: &[(&str, &str)] = &[
    (
        "distcc",
        "--help --version --show-hosts -j --scan-includes --show-principal",
    ),
    (
        "distccd",
        "--help --version --allow -a --allow-private --jobs -j --nice -N --port -p --listen --pid-file -P --user --daemon \
         --inetd --no-detach --no-fork --no-fifo --log-file --log-stderr --log-level --verbose --lifetime --job-lifetime \
         --stats --stats-port --wizard -W --enable-tcp-insecure --make-me-a-botnet --zeroconf --auth --blacklist --whitelist \
         --show-principal --oom-score-adj --sysroot",
    ),
    (
        "include_server",
        "--port --pid_file -d --debug_pattern -e --email --no-email --email_bound --path_observation_re \
         --stat_reset_triggers -s --statistics -t --time --unsafe_absolute_includes --unsafe_no_unexpanded_functions \
         --no_force_dirs -v --verify -w --write_include_closure -x --exact_analysis --simple_algorithm",
    ),
    ("lsdistcc", "-l -n -x -t -h -c -k -m -o -g -r -P -p -d -v"),
    ("pump", "--startup --shutdown --help"),
];

/// Stock's variables.
const STOCKS_VARIABLES: &str = "DISTCC_HOSTS DISTCC_DIR DISTCC_VERBOSE DISTCC_LOG DISTCC_FALLBACK DISTCC_SAVE_TEMPS \
    DISTCC_TCP_CORK DISTCC_SSH DISTCC_IO_TIMEOUT DISTCC_BACKOFF_PERIOD DISTCC_PAUSE_TIME_MSEC DISTCC_SKIP_LOCAL_RETRY \
    DISTCC_NO_REWRITE_CROSS DISTCC_NO_CROSS_REWRITE DISTCC_MAX_DISCREPANCY DISTCC_EXCLUDE_FRESH_FILES \
    DISTCC_ENABLE_DISCREPANCY_EMAIL DISTCC_EMAILLOG_WHOM_TO_BLAME DCC_EMAILLOG_WHOM_TO_BLAME DISTCC_PRINCIPAL \
    DISTCCD_PRINCIPAL DISTCCD_PATH DISTCC_CMDLIST DISTCC_CMDLIST_NUMWORDS DISTCC_CMDLIST_MATCHWORDS \
    DISTCC_TCP_DEFER_ACCEPT DISTCC_CLIENT_TMP DISTCC_LOCATION DISTCC_POTENTIAL_HOSTS DISTCC_TESTING_INCLUDE_SERVER \
    LSDISTCC_ARGS INCLUDE_SERVER_ARGS INCLUDE_SERVER_PORT INCLUDE_SERVER_PID INCLUDE_SERVER_DIR INCLUDE_SERVER_STUB \
    PYTHONPATH PYTHONOPTIMIZE TMPDIR UNCACHED_ERR_FD _DISTCC_SAFEGUARD";

/// Stock's files, and its words for host lists.
const STOCKS_FILES_AND_WORDS: &str =
    "~/.distcc/hosts ~/.distcc/lock ~/.distcc/state ~/.distcc/zeroconf /etc/distcc/hosts \
    /etc/distcc/clients.allow /etc/distcc/commands.allow.sh distccmon-gnome \
    localhost lzo cpp down auth randomize localslots localslots_cpp +zeroconf";

/// The words of a page: an option `Fl -name` as `--name`, everything else as it stands.
fn words_of(page: &str) -> BTreeSet<String> {
    let blank = |c: char| c.is_whitespace() || "`',;()[]=".contains(c);
    let page = page.replace("Fl ", "-");
    let words = page.split(blank).map(|word| word.trim_end_matches('.'));
    words.map(|word| word.to_owned()).collect()
}

/// What stock has is in a page, or in README's table of what is otherwise here.
#[test]
fn what_stock_has_is_here_or_listed_as_different() {
    let readme = file("README.md");
    let table = readme
        .split("\n### Options, variables, exit statuses and files\n")
        .nth(1);
    let table = words_of(table.unwrap().split("\n## ").next().unwrap());
    let mut pages = BTreeSet::new();
    for (program, options) in STOCKS_OPTIONS {
        let page = words_of(&file(&format!("man/{program}.1")));
        for option in options.split_whitespace() {
            assert!(
                page.contains(option) || table.contains(option),
                "{option} of {program} is in no page, and not in README's table"
            );
        }
        pages.extend(page);
    }
    let others = [STOCKS_VARIABLES, STOCKS_FILES_AND_WORDS].map(str::split_whitespace);
    let statuses: Vec<String> = (100..=120).map(|status| status.to_string()).collect();
    let names = others
        .into_iter()
        .flatten()
        .chain(statuses.iter().map(String::as_str));
    for name in names {
        let plain = name.trim_start_matches('+');
        let is_known = |words: &BTreeSet<String>| {
            words
                .iter()
                .any(|word| word == name || word.trim_start_matches(['-', ',', '+']) == plain)
        };
        assert!(
            is_known(&pages) || is_known(&table),
            "{name} is in no page, and not in README's table"
        );
    }
}
