//! The test suites: all or those named, and the verdict.

use std::fs;
use std::fs::File;
use std::io::{BufRead, BufReader, Write, pipe};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::error::{Context, Result};
use crate::postgres::cluster;
use crate::postgres::template::{entries, file_name};
use crate::process::{is_running, kill_tree};
use crate::project::Project;
use crate::regress::{Regress, Scripts};
use crate::terminal::{put, say};
use crate::watch::watched;
use crate::{check, extension};

/// The names of all suites, in the order in which they run where none is chosen.
pub const SUITES: [&str; 6] = ["format", "clippy", "unit", "regress", "isolation", "cluster"];
/// A test that hangs must not hold up the verdict for ever.
const TIMEOUT: Duration = Duration::from_secs(20 * 60);

/// How many tests of a suite passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: usize,
    pub failed: usize,
}

/// Suites to run, and of each only the tests whose name contains one of the words, if there are any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub suites: Vec<String>,
    pub words: Vec<String>,
}

impl Choice {
    /// `SUITE… [-- WORD…]`.
    ///
    /// # Errors
    /// Where there is no such suite.
    pub fn parse(arguments: &[String]) -> Result<Choice> {
        let mut parts = arguments.splitn(2, |argument| argument == "--");
        let mut suites = parts.next().unwrap_or_default().to_vec();
        let words = parts.next().unwrap_or_default().to_vec();
        if let Some(unknown) = suites.iter().find(|name| !SUITES.contains(&name.as_str())) {
            let suites = SUITES.join(", ");
            return Err(format!(
                "no suite is called {unknown}: there are {suites}; words of tests' names follow --"
            ));
        }
        if suites.is_empty() {
            suites = SUITES.map(str::to_owned).to_vec();
        }
        Ok(Choice { suites, words })
    }

    /// Whether a test of this name is to run: it has one of the words in it, or there are no words.
    pub fn takes(&self, test: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| test.contains(word))
    }
}

struct Run<'a> {
    project: &'a Project,
    choice: Choice,
    counts: Counts,
    summary: Vec<String>,
    regress: Option<Regress>,
}

/// Runs what was chosen. The last line is the verdict, also when the run itself comes to grief. `true`: all passed.
pub fn test(project: &Project, choice: Choice) -> bool {
    let mut run = Run { project, choice, counts: Counts::default(), summary: Vec::new(), regress: None };
    let ended = catch_unwind(AssertUnwindSafe(|| run.all()));
    if let Ok(Err(error)) = &ended {
        eprintln!("error: {error}");
    }
    if !matches!(ended, Ok(Ok(()))) {
        run.counts.failed += 1;
    }
    drop(run.regress.take());
    let Counts { passed, failed } = run.counts;
    let summary: String = run.summary.iter().map(|line| format!("{line}\n")).collect();
    put(&format!("\n{summary}{passed} passed, {failed} failed\n"));
    failed == 0
}

impl Run<'_> {
    fn all(&mut self) -> Result<()> {
        let _lock = self.project.only_one("test run")?;
        remove_leftovers(self.project)?;
        let mut built = None;
        for suite in self.choice.suites.clone() {
            say(&format!("suite {suite}"));
            if matches!(suite.as_str(), "regress" | "isolation" | "cluster") {
                let builds = *built.get_or_insert_with(|| match extension::build(self.project, false) {
                    Ok(()) => true,
                    Err(error) => {
                        eprintln!("error: {error}");
                        false
                    }
                });
                if !builds {
                    self.record(&suite, Err("the extension does not build".to_owned()));
                    continue;
                }
            }
            let counts = self.run(&suite);
            self.record(&suite, counts);
        }
        if self.counts.failed == 0 {
            // The template. Clusters of failed tests are kept until the next run.
            let _ = fs::remove_dir_all(self.project.memory_dir());
        }
        Ok(())
    }

    fn run(&mut self, suite: &str) -> Result<Counts> {
        match suite {
            "format" => Ok(of_check(suite, check::format(self.project))),
            "clippy" => Ok(of_check(suite, check::clippy(self.project))),
            "unit" => self.cargo_test(suite, &["--workspace", "--lib"], &[]),
            // Some wait more than they compute: with eight, two cores are idle for a sixth of the time.
            "cluster" => self.cargo_test(suite, &["--test", "cluster"], &["--test-threads=10"]),
            _ => {
                let scripts = if suite == "regress" { Scripts::Regress } else { Scripts::Isolation };
                let scripts = scripts.prepare(self.project, &self.choice)?;
                if self.regress.is_none() {
                    self.regress = Some(Regress::start(self.project)?);
                }
                let regress = self.regress.as_ref().ok_or("there is no server")?;
                scripts.run(regress)
            }
        }
    }

    /// A suite that could not run, or that found nothing to run, has failed.
    fn record(&mut self, suite: &str, counts: Result<Counts>) {
        let nothing = |counts: &Counts| *counts == Counts::default();
        let counts = match counts {
            Ok(counts) if nothing(&counts) => Err("it has no tests".to_owned()),
            counts => counts,
        };
        let Counts { passed, failed } = counts.unwrap_or_else(|why| {
            put(&format!("FAILED: suite {suite} could not run: {why}\n"));
            Counts { passed: 0, failed: 1 }
        });
        self.counts.passed += passed;
        self.counts.failed += failed;
        self.summary.push(format!("{suite:<10} {passed:4} passed, {failed} failed"));
    }

    fn cargo_test(&self, suite: &str, which: &[&str], options: &[&str]) -> Result<Counts> {
        let command = |build: bool| {
            let mut cargo = self.project.cargo(&["test"]);
            cargo.args(self.project.features()).args(which);
            if build {
                cargo.arg("--no-run");
            } else {
                cargo.args(["--quiet", "--no-fail-fast", "--"]).args(options).args(&self.choice.words);
                cargo.arg("--format=pretty");
            }
            cargo
        };
        let log = self.project.log_dir();
        watched(
            &format!("building the tests of suite {suite}"),
            command(true),
            &log.join(format!("{suite}-build.log")),
        )?;
        let log = log.join(format!("{suite}.log"));
        let (status, text) = followed(command(false), &log, TIMEOUT)?;
        let counts = counts_of(&text);
        match counts {
            Some(counts) if status.success() || counts.failed > 0 => Ok(counts),
            _ => Err(format!("cargo test ended with {status}, see {}", log.display())),
        }
    }
}

fn of_check(suite: &str, result: Result<()>) -> Counts {
    match result {
        Ok(()) => Counts { passed: 1, failed: 0 },
        Err(error) => {
            put(&format!("{error}\nFAILED: {suite}\n"));
            Counts { passed: 0, failed: 1 }
        }
    }
}

/// Runs it to the end, showing what it says and keeping it in the log.
///
/// # Errors
/// Where it takes longer than that; then it has been killed, with all that it started.
fn followed(mut command: Command, log: &Path, timeout: Duration) -> Result<(ExitStatus, String)> {
    let mut file = File::create(log).context(log.display())?;
    let (reader, writer) = pipe().context("a pipe")?;
    command.stdin(Stdio::null()).stdout(writer.try_clone().context("a pipe")?).stderr(writer);
    let mut child = command.spawn().context("cargo")?;
    // It holds the pipe's other end.
    drop(command);
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(reader);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
            line.clear();
        }
    });
    let (until, mut text) = (Instant::now() + timeout, String::new());
    loop {
        match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                put(&line);
                file.write_all(line.as_bytes()).context(log.display())?;
                text.push_str(&line);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                kill_tree(&mut child);
                return Err(format!(
                    "it took longer than {} minutes, see {}",
                    timeout.as_secs() / 60,
                    log.display()
                ));
            }
        }
    }
    Ok((child.wait().context("cargo")?, text))
}

/// libtest says one `test result:` line for each binary. `None`: there is none.
fn counts_of(text: &str) -> Option<Counts> {
    let of_line = |line: &str| {
        let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let mut numbers =
            counts.split("; ").map(|part| part.split(' ').next().and_then(|word| word.parse().ok()));
        Some(Counts { passed: numbers.next()??, failed: numbers.next()?? })
    };
    text.lines()
        .filter_map(of_line)
        .reduce(|sum, more| Counts { passed: sum.passed + more.passed, failed: sum.failed + more.failed })
}

/// What a run that was killed left: processes, the server of the regression suites, clusters of tests. Those of a failed
/// test are kept until the next run. A cluster is called test-PID-NUMBER: where that process still runs, it is of tests that
/// were begun by hand.
fn remove_leftovers(project: &Project) -> Result<()> {
    project.end_leftovers();
    cluster::stop(&project.run_dir().join("regress"))?;
    let mut dirs = entries(&project.run_dir())?;
    if project.memory_dir().exists() {
        dirs.extend(entries(&project.memory_dir())?);
    }
    for dir in dirs {
        let name = file_name(&dir);
        let mut parts = name.split('-');
        let of_tests = matches!(parts.next(), Some("test" | "predecessor" | "apart"));
        let pid = parts.next().and_then(|text| text.parse().ok());
        if let (true, Some(pid)) = (of_tests && dir.is_dir(), pid)
            && !is_running(pid)
        {
            cluster::remove(&dir)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(arguments: &[&str]) -> Result<Choice> {
        Choice::parse(&arguments.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn suites_come_before_words() {
        assert_eq!(choice(&[]).unwrap().suites, SUITES);
        let one = choice(&["cluster", "--", "docs", "queue::"]).unwrap();
        assert_eq!((one.suites.as_slice(), one.words.len()), (["cluster".to_owned()].as_slice(), 2));
        assert!(one.takes("docs::links") && !one.takes("batch"));
        assert!(choice(&["clutser"]).unwrap_err().contains("clutser"));
    }

    #[test]
    fn results_of_all_binaries_are_added_up() {
        let line =
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0.1s\n";
        let failed = "test result: FAILED. 12 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out\n";
        let counts = counts_of(&format!("running 3 tests\n{line}\n{failed}"));
        assert_eq!(counts, Some(Counts { passed: 15, failed: 2 }));
        assert_eq!(counts_of("error: could not compile"), None);
    }

    #[test]
    fn what_hangs_is_killed() {
        let mut sh = Command::new("sh");
        sh.args(["-c", "echo begun; sleep 60 & wait"]);
        let log = std::env::temp_dir().join(format!("xtask-hangs-{}", std::process::id()));
        let started = Instant::now();
        let error = followed(sh, &log, Duration::from_millis(300)).unwrap_err();
        assert!(error.contains("longer") && started.elapsed() < Duration::from_secs(20), "{error}");
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "begun\n");
        std::fs::remove_file(&log).unwrap();
    }
}
