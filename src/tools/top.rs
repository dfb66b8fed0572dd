//! `distcc top [DELAY]`: what the farm does now, on a terminal as a picture that is kept up to date, elsewhere as plain lines.
//! Leaves the terminal as it was, whatever ends it.

use super::output::print;
use super::top_sample::{Looker, Sample};
use super::top_screen::View;
use super::top_text::block;
use crate::model::error::{Code, Error, Result, Status};
use crate::model::option_words::spread;
use crate::model::settings::ClientSettings;
use crate::os::net::{self, wait_any};
use crate::os::{job_control, logging, supervise};
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{disable_raw_mode, enable_raw_mode, EnterAlternateScreen};
use ratatui::DefaultTerminal;
use std::env;
use std::ffi::OsString;
use std::io::{self, ErrorKind, IsTerminal};
use std::os::fd::AsFd;
use std::panic;
use std::thread;
use std::time::{Duration, Instant};

const HELP: &str = "\
Usage: distcc top [OPTION]... [DELAY]

Shows the hosts, their slots, what each run of distcc does, how many wait and have finished, and what limits the build; every
DELAY seconds (1). Plain lines are printed if this is no terminal.

  --once   look once, and print plain lines
  --plain  print plain lines also on a terminal
  --help   this text
";

/// How often is looked by default.
const DELAY: Duration = Duration::from_secs(1);

/// Shorter pauses would only keep a processor busy.
const DELAY_MIN: Duration = Duration::from_millis(50);

/// How soon a signal is heeded.
const PATIENCE: Duration = Duration::from_millis(200);

/// What the words ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Options {
    once: bool,
    plain: bool,
    delay: Duration,
}

/// `top [OPTION…] [DELAY]`; all words, the first is `top`.
pub fn top(argv: Vec<OsString>) -> Result<Status> {
    let Some(options) = parse(argv.get(1..).unwrap_or_default())? else {
        return print(HELP);
    };
    let settings = ClientSettings::read(|name| env::var_os(name))?;
    let on_screen = !options.once && !options.plain && io::stdout().is_terminal();
    let on_screen = on_screen && io::stdin().is_terminal() && !settings.dumb_terminal;
    // On the screen lines of a log would be in the way, unless they go elsewhere.
    if !on_screen || settings.log_file.is_some() {
        logging::as_client("distcc top", &settings);
    }
    let mut looker = Looker::new(settings)?;
    match on_screen {
        true => watch(&mut looker, options.delay),
        false => list(&mut looker, options),
    }
}

/// Nothing is asked for but help: `None`.
fn parse(words: &[OsString]) -> Result<Option<Options>> {
    let fault = |what: String| {
        let message = format!("{what}; `distcc top --help` shows how it is used");
        Err(Error::new(Code::BadArguments, message))
    };
    let spread = spread(words, &[])?;
    let mut options = Options {
        once: false,
        plain: false,
        delay: DELAY,
    };
    for option in &spread.options {
        match option.as_str() {
            "--help" | "-h" => return Ok(None),
            "--once" => options.once = true,
            "--plain" => options.plain = true,
            other => return fault(format!("unknown option {other}")),
        }
    }
    match &spread.operands[..] {
        [] => {}
        [word] => {
            let seconds = word.to_str().and_then(|word| word.trim().parse().ok());
            let delay = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            match delay {
                Some(delay) => options.delay = delay.max(DELAY_MIN),
                None => {
                    let word = word.to_string_lossy();
                    return fault(format!("'{word}' is no number of seconds"));
                }
            }
        }
        _ => return fault("there is one DELAY only".to_owned()),
    }
    Ok(Some(options))
}

/// Plain lines, again and again.
fn list(looker: &mut Looker, options: Options) -> Result<Status> {
    loop {
        let status = print(block(&looker.look()?, options.once))?;
        if options.once || status != Status::OK {
            return Ok(status);
        }
        thread::sleep(options.delay);
    }
}

/// The picture, until a key or a signal ends it. The terminal is put back also by a panic, before it is told of.
fn watch(looker: &mut Looker, delay: Duration) -> Result<Status> {
    let trouble = |err: io::Error| Error::io("use the terminal (--plain does without)", &err);
    supervise::note_final_signals()
        .and_then(|()| job_control::note_stops())
        .map_err(|err| Error::io("catch signals", &err))?;
    let mut terminal = ratatui::try_init().map_err(trouble)?;
    let put_back = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let _ = execute!(io::stdout(), Show);
        put_back(info);
    }));
    let ended = run(&mut terminal, looker, delay);
    let restored = give_back(&mut terminal);
    // It would show the cursor, and complain on a terminal that is gone.
    std::mem::forget(terminal);
    if let Some(signal) = supervise::noted() {
        supervise::end_by(signal);
    }
    match ended {
        Ok(()) => restored.map_err(trouble).map(|()| Status::OK),
        Err(Ended::ByFarm(err)) => Err(err),
        Err(Ended::ByTerminal(err)) => Err(trouble(err)),
    }
}

/// Why there is no picture any more, unless that was wished.
enum Ended {
    ByFarm(Error),
    ByTerminal(io::Error),
}

fn run(
    terminal: &mut DefaultTerminal,
    looker: &mut Looker,
    delay: Duration,
) -> std::result::Result<(), Ended> {
    let mut view = View::default();
    let mut sample = Sample::default();
    let mut due = Instant::now();
    while !view.is_over && supervise::noted().is_none() {
        if Instant::now() >= due {
            // Also while the picture is held, or what finishes meanwhile would be lost.
            let seen = looker.look().map_err(Ended::ByFarm)?;
            if !view.is_paused {
                sample = seen;
            }
            due = Instant::now() + delay;
        }
        let drawn = terminal.draw(|frame| view.draw(frame, &sample, delay));
        drawn.map_err(Ended::ByTerminal)?;
        let rest = due.saturating_duration_since(Instant::now());
        read_keys(&mut view, rest).map_err(Ended::ByTerminal)?;
        heed_the_shell(terminal, &mut view).map_err(Ended::ByTerminal)?;
    }
    Ok(())
}

/// Lets the shell have the terminal while this program is stopped, and draws anew what was there before.
fn heed_the_shell(terminal: &mut DefaultTerminal, view: &mut View) -> io::Result<()> {
    if std::mem::take(&mut view.is_to_stop) {
        job_control::ask_job_to_stop();
    }
    if job_control::is_stop_wanted() {
        give_back(terminal)?;
        job_control::stop()?;
    } else if job_control::has_gone_on() {
        // Nobody was asked: the shell has set the terminal as it wants it, or has not.
        disable_raw_mode()?;
    } else {
        return Ok(());
    }
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen)?;
    terminal.clear()
}

fn give_back(terminal: &mut DefaultTerminal) -> io::Result<()> {
    let shown = terminal.show_cursor();
    ratatui::try_restore().and(shown)
}

/// Waits for something to happen, at most `rest`, and does it. What came together with it has been read from the terminal,
/// which then has nothing to wait for.
fn read_keys(view: &mut View, rest: Duration) -> io::Result<()> {
    let until = Instant::now() + rest;
    let mut patience = Duration::ZERO;
    loop {
        let rest = until.saturating_duration_since(Instant::now());
        wait_for_terminal(rest.min(patience))?;
        patience = PATIENCE;
        let has_come = match event::poll(Duration::ZERO) {
            Err(err) if err.kind() == ErrorKind::Interrupted => false,
            other => other?,
        };
        if has_come {
            if let Event::Key(key) = event::read()? {
                if key.kind != KeyEventKind::Release {
                    view.press(key);
                }
            }
            return Ok(());
        }
        if rest.is_zero() || supervise::noted().is_some() || job_control::is_pending() {
            return Ok(());
        }
    }
}

/// Waits until there is something to read. Done here, since crossterm does not notice that a terminal has gone, and then
/// reads for ever.
fn wait_for_terminal(rest: Duration) -> io::Result<()> {
    let stdin = io::stdin();
    let fd = stdin.as_fd();
    let until = Some(Instant::now() + rest);
    let come = wait_any([(fd, net::Event::Read), (fd, net::Event::Gone)], until)?;
    match come {
        Some([_, true]) => Err(io::Error::other("it is gone")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn words_are_options_and_a_delay() {
        let parsed = |line: &str| {
            let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            parse(&words).map_err(|err| err.message)
        };
        let options = parsed("--plain --once 0.5").unwrap().unwrap();
        assert!(options.plain && options.once);
        assert_eq!(options.delay, Duration::from_millis(500));
        assert_eq!(parsed("0").unwrap().unwrap().delay, DELAY_MIN);
        assert_eq!(parsed("--help").unwrap(), None);
        for (line, fault) in [
            ("soon", "'soon' is no number of seconds"),
            ("1 2", "one DELAY only"),
            ("--frob", "unknown option --frob"),
            ("-x", "unknown option -x"),
        ] {
            let found = parsed(line).unwrap_err();
            assert!(found.contains(fault), "{line}: {found}");
        }
    }
}
