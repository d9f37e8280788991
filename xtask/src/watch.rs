//! Runs a compiler, or anything else that takes long, with one line of progress instead of all that it says.

use std::fs::File;
use std::io::{IsTerminal, PipeReader, Read, Write, pipe, stderr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::error::{Context, Result};
use crate::terminal::Progress;

/// Runs it to the end. Its output goes to the log; warnings and errors of cargo are shown. Returns the output.
///
/// # Errors
/// Where it fails; then the end of the log has been shown, unless errors of cargo were.
pub fn watched(title: &str, mut command: Command, log: &Path) -> Result<String> {
    let mut file = File::create(log).context(log.display())?;
    let colour = if stderr().is_terminal() { "always" } else { "never" };
    // Cargo draws its bar into the pipe, where it is read.
    command.env("CARGO_TERM_PROGRESS_WHEN", "always").env("CARGO_TERM_PROGRESS_WIDTH", "160");
    command.env("CARGO_TERM_COLOR", colour);
    let (reader, writer) = pipe().context("a pipe")?;
    command.stdin(Stdio::null()).stdout(writer.try_clone().context("a pipe")?).stderr(writer);
    let mut child = command.spawn().with_context_of(&command)?;
    // It holds the pipe's other end.
    drop(command);
    let (sender, receiver) = channel();
    let reading = std::thread::spawn(move || read_pieces(reader, &sender));
    let mut output = Output::default();
    let mut progress = Progress::begin(title);
    output.follow(&receiver, &mut progress, &mut file)?;
    reading.join().map_err(|_| "reading the output failed")?;
    let status = child.wait().context(title)?;
    if status.success() {
        progress.end();
        return Ok(output.text);
    }
    progress.clear();
    if !output.shown {
        let lines: Vec<&str> = output.text.lines().collect();
        eprintln!("{}", lines[lines.len().saturating_sub(40)..].join("\n"));
    }
    Err(format!("failed: {title} (whole log: {})", log.display()))
}

trait SpawnContext<T> {
    fn with_context_of(self, command: &Command) -> Result<T>;
}

impl<T> SpawnContext<T> for std::io::Result<T> {
    fn with_context_of(self, command: &Command) -> Result<T> {
        self.context(command.get_program().display())
    }
}

/// Cuts what arrives at line ends and carriage returns; the latter begin a bar.
fn read_pieces(mut reader: PipeReader, sender: &Sender<Vec<u8>>) {
    let (mut piece, mut buffer) = (Vec::new(), [0; 8192]);
    while let Ok(length @ 1..) = reader.read(&mut buffer) {
        for byte in &buffer[..length] {
            piece.push(*byte);
            if matches!(byte, b'\n' | b'\r') {
                let _ = sender.send(std::mem::take(&mut piece));
            }
        }
    }
    let _ = sender.send(piece);
}

#[derive(Default)]
struct Output {
    text: String,
    /// What the bar says.
    at: String,
    inside: bool,
    /// Whether a warning or an error has been shown.
    shown: bool,
}

impl Output {
    fn follow(&mut self, pieces: &Receiver<Vec<u8>>, progress: &mut Progress, log: &mut File) -> Result<()> {
        loop {
            match pieces.recv_timeout(Duration::from_millis(200)) {
                Ok(piece) => self.take(&String::from_utf8_lossy(&piece), progress, log)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            progress.tick(&self.at);
        }
    }

    fn take(&mut self, piece: &str, progress: &Progress, log: &mut File) -> Result<()> {
        let plain = without_colour(piece);
        match kind_of(&plain, self.inside) {
            Kind::Bar(at) => {
                self.at = at;
                return Ok(());
            }
            Kind::Diagnostic => {
                progress.clear();
                eprint!("{}", piece.trim_start_matches("\x1b[K"));
                (self.inside, self.shown) = (true, true);
            }
            Kind::Other(at) => {
                if std::mem::take(&mut self.inside) {
                    eprintln!();
                }
                self.at = at.unwrap_or(std::mem::take(&mut self.at));
            }
        }
        log.write_all(plain.as_bytes()).context("the log")?;
        self.text.push_str(&plain);
        Ok(())
    }
}

#[derive(Debug, PartialEq)]
enum Kind {
    /// Cargo's bar: how far it is.
    Bar(String),
    /// A line of a warning or an error.
    Diagnostic,
    /// Any other line; some say what is being done.
    Other(Option<String>),
}

/// What cargo does to one crate after another.
const STEPS: [&str; 6] =
    ["Compiling ", "Checking ", "Downloading ", "Downloaded ", "Installing ", "Updating "];

/// `inside`: the line before belonged to a warning or an error, which ends with an empty line.
fn kind_of(line: &str, inside: bool) -> Kind {
    let text = line.trim();
    if let Some(bar) = text.strip_prefix("Building [") {
        return Kind::Bar(bar.split_once("] ").map_or(bar, |(_, at)| at).to_owned());
    }
    let begins = |words: &[&str]| words.iter().any(|word| line.starts_with(word));
    if begins(&["warning: ", "warning[", "error: ", "error["]) || (inside && !text.is_empty()) {
        return Kind::Diagnostic;
    }
    Kind::Other(STEPS.iter().any(|step| text.starts_with(step)).then(|| text.to_owned()))
}

/// Without escape sequences, of which cargo uses `ESC [ … letter`.
fn without_colour(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut parts = text.split('\x1b');
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let end = part.find(|c: char| c.is_ascii_alphabetic()).map_or(part.len(), |at| at + 1);
        plain.push_str(&part[end..]);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_steps_and_diagnostics_are_told_apart() {
        let bar = "    Building [=====>     ] 45/157: serde_json, pgrx(build)\r";
        assert_eq!(kind_of(bar, false), Kind::Bar("45/157: serde_json, pgrx(build)".to_owned()));
        let step = "   Compiling serde v1.0.0\n";
        assert_eq!(kind_of(step, false), Kind::Other(Some("Compiling serde v1.0.0".to_owned())));
        for line in ["warning: unused import\n", "error[E0308]: mismatched types\n"] {
            assert_eq!(kind_of(line, false), Kind::Diagnostic, "{line}");
        }
        assert_eq!(kind_of("  --> src/lib.rs:1:1\n", true), Kind::Diagnostic);
        assert_eq!(kind_of("  --> src/lib.rs:1:1\n", false), Kind::Other(None));
        assert_eq!(kind_of("\n", true), Kind::Other(None));
    }

    #[test]
    fn colours_are_taken_away() {
        assert_eq!(without_colour("\x1b[1m\x1b[32m   Compiling\x1b[0m a\x1b[K"), "   Compiling a");
    }
}
