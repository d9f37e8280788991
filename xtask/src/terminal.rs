//! What is said on the terminal: headings, notes, and one line of progress for whatever takes long.

use std::io::{IsTerminal, Write, stderr, stdin, stdout};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Between two lines of progress where no terminal is.
const HEARTBEAT: Duration = Duration::from_secs(20);
const REDRAW: Duration = Duration::from_millis(200);
const DEFAULT_COLUMNS: usize = 130;

/// The control sequence, where standard output is a terminal.
fn style(sequence: &'static str) -> &'static str {
    if stdout().is_terminal() { sequence } else { "" }
}

/// The control sequence for bold text; empty where standard output is no terminal.
pub fn bold() -> &'static str {
    style("\x1b[1m")
}

/// The control sequence that ends bold or dim text; empty where standard output is no terminal.
pub fn plain() -> &'static str {
    style("\x1b[0m")
}

/// A heading.
pub fn say(text: &str) {
    put(&format!("{}==>{} {text}\n", bold(), plain()));
}

/// A detail below a heading.
pub fn note(text: &str) {
    put(&format!("    {}{text}{}\n", style("\x1b[2m"), plain()));
}

/// To standard output at once; where no reader is left, nothing is said.
pub fn put(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// A line about something that takes long. On a terminal it changes in place; elsewhere a line follows every 20 seconds.
pub struct Progress {
    title: String,
    started: Instant,
    drawn: Instant,
    /// Columns of the terminal, where standard error is one.
    columns: Option<usize>,
}

impl Progress {
    /// Starts the clock. Where standard error is no terminal, the title is written as a heading.
    pub fn begin(title: &str) -> Progress {
        let now = Instant::now();
        let columns = stderr().is_terminal().then(columns);
        if columns.is_none() {
            say(title);
        }
        let progress = Progress { title: title.to_owned(), started: now, drawn: now, columns };
        progress.draw("");
        progress
    }

    /// Where it stands. Called as often as one likes.
    pub fn tick(&mut self, detail: &str) {
        let pause = if self.columns.is_some() { REDRAW } else { HEARTBEAT };
        if self.drawn.elapsed() >= pause {
            self.drawn = Instant::now();
            match self.columns {
                Some(_) => self.draw(detail),
                None => note(&format!("{} s: {detail}", self.started.elapsed().as_secs())),
            }
        }
    }

    fn draw(&self, detail: &str) {
        let Some(columns) = self.columns else { return };
        let text = format!("{}, {} s  {detail}", self.title, self.started.elapsed().as_secs());
        let text: String = text.chars().take(columns.saturating_sub(5)).collect();
        let _ = write!(stderr(), "\r\x1b[K\x1b[1m==>\x1b[0m {text}");
    }

    /// Makes room for other lines; the next tick draws it again below them.
    pub fn clear(&self) {
        if self.columns.is_some() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }

    /// Takes the line away and, on a terminal, writes the title with the seconds that it took.
    pub fn end(self) {
        self.clear();
        if self.columns.is_some() {
            say(&format!("{} ({} s)", self.title, self.started.elapsed().as_secs()));
        }
    }
}

/// How wide the terminal is; where there is none, as wide as most.
pub fn columns() -> usize {
    let mut stty = Command::new("stty");
    stty.arg("size").stdin(if stdin().is_terminal() { Stdio::inherit() } else { Stdio::null() });
    let size = stty.stderr(Stdio::null()).output().map(|output| output.stdout).unwrap_or_default();
    let size = String::from_utf8_lossy(&size).into_owned();
    let columns = size.split_whitespace().nth(1).and_then(|text| text.parse().ok());
    columns.filter(|columns| *columns > 0).unwrap_or(DEFAULT_COLUMNS)
}
