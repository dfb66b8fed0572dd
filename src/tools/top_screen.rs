//! What is seen of the farm, drawn on a terminal, and which keys do what there. Knows nothing of where it comes from, and
//! draws whatever the terminal's size is.

use super::top_limit::{limit, time};
use super::top_sample::Sample;
use super::top_text::{elapsed, lines, phase, rates, state, totals, Line as Seen, Order};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};
use ratatui::Frame;
use std::time::Duration;

const KEYS: &str = "q quit   p pause   s sort   arrows scroll   h help";

const HELP: &str = "\
q, Escape    end
p            hold the picture, or go on
s            sort by host, by time, by file
up, down     scroll; also page up, page down, home
h            this text

A slot is the right to run one job on a
host. Times are those of what is done now,
and of the whole run. A run that
preprocesses here holds a slot elsewhere.";

/// How the help is framed.
const HELP_COLUMNS: u16 = 50;
const HELP_ROWS: u16 = 13;

/// How many lines page up and page down go.
const PAGE: usize = 20;

/// What the user has chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct View {
    /// In which order jobs are shown.
    pub order: Order,
    /// The picture is held.
    pub is_paused: bool,
    /// The help is shown.
    pub shows_help: bool,
    /// How many lines are above the first that is shown.
    pub scroll: usize,
    /// It is enough.
    pub is_over: bool,
    /// The shell is to have the terminal for a while.
    pub is_to_stop: bool,
}

impl View {
    /// Does what a key stands for.
    pub fn press(&mut self, key: KeyEvent) {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if is_control => self.is_over = true,
            KeyCode::Char('z') if is_control => self.is_to_stop = true,
            _ if self.shows_help => self.shows_help = false,
            KeyCode::Char('q') | KeyCode::Esc => self.is_over = true,
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            KeyCode::Char('s') => self.order = self.order.next(),
            KeyCode::Char('h' | '?') => self.shows_help = true,
            KeyCode::Up => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::Down => self.scroll = self.scroll.saturating_add(1),
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(PAGE),
            KeyCode::PageDown => self.scroll = self.scroll.saturating_add(PAGE),
            KeyCode::Home => self.scroll = 0,
            _ => {}
        }
    }

    /// Draws it all.
    pub fn draw(&mut self, frame: &mut Frame, sample: &Sample, delay: Duration) {
        let rows = [
            Constraint::Length(2),
            Constraint::Length(3),
            Constraint::Min(0),
            Constraint::Length(1),
        ];
        let [head, what_limits, table, keys] = Layout::vertical(rows).areas(frame.area());
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let held = if self.is_paused { "   (held)" } else { "" };
        let head_text = format!(
            "distcc top   every {}, by {}   {}{held}\n{}; {} finished",
            time(delay),
            self.order.name(),
            rates(sample),
            totals(sample),
            sample.finished.count
        );
        frame.render_widget(Paragraph::new(head_text).style(bold), head);
        let limits = Paragraph::new(limit(sample)).wrap(Wrap { trim: true });
        frame.render_widget(limits.style(Style::new().fg(Color::Yellow)), what_limits);
        self.draw_table(frame, sample, table);
        frame.render_widget(Paragraph::new(KEYS).style(reversed()), keys);
        if self.shows_help {
            draw_help(frame);
        }
    }

    fn draw_table(&mut self, frame: &mut Frame, sample: &Sample, area: Rect) {
        let lines = lines(sample, self.order);
        let visible = usize::from(area.height.saturating_sub(1));
        self.scroll = self.scroll.min(lines.len().saturating_sub(visible));
        let columns = usize::from(area.width);
        let head = columns_of(
            ["HOST", "SLOT", "PHASE", "FILE", "THIS", "IN ALL", "PROCESS"],
            columns,
        );
        let shown = lines.iter().skip(self.scroll).take(visible);
        let text = [Line::styled(head, reversed())].into_iter();
        let text: Vec<Line> = text.chain(shown.map(|seen| row(seen, columns))).collect();
        frame.render_widget(Paragraph::new(text), area);
    }
}

/// How wide the columns are; that of files takes what is left, but this at least, and that of hosts less on a narrow terminal.
const HOST_MAX: usize = 26;
const HOST_MIN: usize = 12;
const FILE_MIN: usize = 12;
/// All others, with what stands between them.
const OTHERS: usize = 49;

fn host_width(columns: usize) -> usize {
    columns
        .saturating_sub(OTHERS + FILE_MIN)
        .clamp(HOST_MIN, HOST_MAX)
}

fn row<'s>(seen: &Seen, columns: usize) -> Line<'s> {
    let width = host_width(columns);
    match seen {
        Seen::Host(host) => {
            let color = match host.shunned.is_some() || host.is_down {
                true => Color::Red,
                false => Color::Cyan,
            };
            let style = Style::new().fg(color).add_modifier(Modifier::BOLD);
            Line::styled(format!("{:<width$} {}", host.name, state(host)), style)
        }
        Seen::Job(host, job) => {
            let slot = job.slot.to_string();
            let times = [time(job.since), time(elapsed(job))];
            let pid = job.pid.to_string();
            let cells = [
                &host.name,
                &slot,
                phase(job),
                &job.file,
                &times[0],
                &times[1],
                &pid,
            ];
            Line::raw(columns_of(cells, columns))
        }
        Seen::Held(host, count) => {
            let name = cut(&host.name, width);
            let what = format!(
                "{name:<width$}      {count} more taken by runs that are busy on this machine"
            );
            Line::raw(what)
        }
    }
}

/// A line with all columns. Names are cut, numbers stand to the right.
fn columns_of([host, slot, phase, file, this, all, pid]: [&str; 7], columns: usize) -> String {
    let width = host_width(columns);
    let rest = columns.saturating_sub(width + OTHERS).max(FILE_MIN);
    let (host, file) = (cut(host, width), cut(file, rest));
    format!("{host:<width$} {slot:>4} {phase:<10} {file:<rest$} {this:>10} {all:>10} {pid:>9}")
}

fn cut(name: &str, width: usize) -> String {
    name.chars().take(width).collect()
}

fn draw_help(frame: &mut Frame) {
    let all = frame.area();
    let (width, height) = (HELP_COLUMNS.min(all.width), HELP_ROWS.min(all.height));
    let area = Rect {
        x: all.x + (all.width - width) / 2,
        y: all.y + (all.height - height) / 2,
        width,
        height,
    };
    frame.render_widget(Clear, area);
    let help = Paragraph::new(HELP).block(Block::bordered().title(" distcc top "));
    frame.render_widget(help, area);
}

fn reversed() -> Style {
    Style::new().add_modifier(Modifier::REVERSED)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::farm::state::Phase;
    use crate::tools::top_sample::{HostNow, Job};
    use ratatui::backend::TestBackend;
    use ratatui::Terminal;

    fn sample() -> Sample {
        let jobs = (0..30).map(|slot| Job {
            pid: 100 + slot as u32,
            slot,
            phase: Phase::Compile,
            file: format!("file{slot}.c"),
            since: Duration::from_secs(slot as u64),
            age: None,
        });
        Sample {
            hosts: vec![HostNow {
                name: "alpha/30".to_owned(),
                slots: 30,
                taken: (0..30).collect(),
                jobs: jobs.collect(),
                ..HostNow::default()
            }],
            ..Sample::default()
        }
    }

    fn drawn(view: &mut View, columns: u16, rows: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        let delay = Duration::from_secs(1);
        terminal
            .draw(|frame| view.draw(frame, &sample(), delay))
            .unwrap();
        terminal.backend().to_string()
    }

    fn press(view: &mut View, code: KeyCode) {
        view.press(KeyEvent::new(code, KeyModifiers::NONE));
    }

    #[test]
    fn keys_change_what_is_drawn() {
        let mut view = View::default();
        let screen = drawn(&mut view, 100, 20);
        assert!(
            screen.contains("alpha/30                      0 Compile    file0.c"),
            "{screen}"
        );
        assert!(
            screen.contains("file11.c") && !screen.contains("file12.c"),
            "{screen}"
        );
        press(&mut view, KeyCode::PageDown);
        assert!(drawn(&mut view, 100, 20).contains("file29.c"));
        assert!(view.scroll < PAGE, "no further than to the end");
        press(&mut view, KeyCode::Home);
        press(&mut view, KeyCode::Char('s'));
        let screen = drawn(&mut view, 100, 20);
        assert!(
            screen.contains("by time") && screen.contains("file29.c"),
            "{screen}"
        );
        press(&mut view, KeyCode::Char('p'));
        assert!(drawn(&mut view, 100, 20).contains("(held)"));
        press(&mut view, KeyCode::Char('h'));
        assert!(drawn(&mut view, 100, 20).contains("hold the picture"));
        press(&mut view, KeyCode::Char('q'));
        assert!(!view.is_over && !view.shows_help, "it closes the help");
        press(&mut view, KeyCode::Char('q'));
        assert!(view.is_over);
    }

    /// The usual terminal of 80 columns has room for all of them.
    #[test]
    fn nothing_is_cut_on_a_usual_terminal() {
        let screen = drawn(&mut View::default(), 80, 24);
        for whole in [
            "/s in 1 min ",
            "0 wait; 0 finished ",
            " PROCESS\"",
            " 100\"",
        ] {
            assert!(screen.contains(whole), "{whole}: {screen}");
        }
    }

    #[test]
    fn any_size_can_be_drawn() {
        for (columns, rows) in [(1, 1), (10, 3), (40, 6), (300, 2), (20, 100)] {
            let mut view = View {
                shows_help: true,
                scroll: 1000,
                ..View::default()
            };
            drawn(&mut view, columns, rows);
        }
    }
}
