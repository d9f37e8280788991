//! Processes: run one to its end, look for others in /proc, end them.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output};
use std::time::{Duration, Instant};

use crate::error::{Context, Result};

/// Runs to the end.
///
/// # Errors
/// Where it cannot be started or ends without success, with all that it wrote.
pub fn check(command: &mut Command, what: &str) -> Result<Output> {
    let output = command.output().context(what)?;
    if output.status.success() {
        return Ok(output);
    }
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    Err(format!("{what}: {}\n{out}{err}", output.status))
}

/// What a command writes to its standard output, without the last line's end.
///
/// # Errors
/// As [`check`].
pub fn text_of(command: &mut Command, what: &str) -> Result<String> {
    let output = check(command, what)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// The shell's own kill: a minimal Debian has no program of that name. `signal` is a name such as `TERM`.
pub fn kill(signal: &str, pid: u32) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "kill -s \"$0\" \"$1\"", signal, &pid.to_string()]);
    command
}

/// Every process that /proc shows.
pub fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// `None`: the process has ended, even if its parent has not yet asked for its status.
pub fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, but nothing after it holds a parenthesis.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(parent)
}

/// Whether there is such a process; one that has ended and waits for its parent does not count.
pub fn is_running(pid: u32) -> bool {
    parent_of(pid).is_some()
}

/// The processes that this one has started and that still run. Empty: there is none.
pub fn children_of(parent: u32) -> Vec<u32> {
    all().filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

/// The children of a process, their children, and so on.
pub fn descendants_of(ancestor: u32) -> Vec<u32> {
    let mut found = children_of(ancestor);
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        found.extend(children_of(pid));
        next += 1;
    }
    found
}

/// Kills a child and all that it started, and waits until they are gone: a signal is taken a moment after it is sent.
pub fn kill_tree(child: &mut Child) {
    const LONGEST: Duration = Duration::from_secs(10);
    let started = descendants_of(child.id());
    for pid in started.iter().rev() {
        let _ = kill("KILL", *pid).output();
    }
    let _ = child.kill();
    let _ = child.wait();
    let until = Instant::now() + LONGEST;
    while started.iter().any(|pid| is_running(*pid)) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// `None`: it still runs after that time.
///
/// # Errors
/// Where the operating system refuses to tell.
pub fn wait_within(child: &mut Child, timeout: Duration) -> Result<Option<ExitStatus>> {
    let until = Instant::now() + timeout;
    loop {
        if let Some(status) = child.try_wait().context("waiting for a process")? {
            return Ok(Some(status));
        }
        if Instant::now() > until {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Ends the processes that have this line (`NAME=value`) in the environment that they were started with.
pub fn end_marked(mark: &str) {
    for pid in all().filter(|pid| *pid != std::process::id()) {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|line| line == mark.as_bytes()) {
            let _ = kill("KILL", pid).output();
        }
    }
}

/// Whether a process has this argument; `false` also where there is no such process.
pub fn has_argument(pid: u32, argument: &Path) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).any(|part| part == argument.as_os_str().as_encoded_bytes())
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    fn sleeper() -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & wait"]).stdout(Stdio::null());
        command
    }

    fn has_a_child(pid: u32) -> bool {
        (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            !children_of(pid).is_empty()
        })
    }

    #[test]
    fn a_tree_is_killed_with_its_leaves() {
        let mut child = sleeper().spawn().unwrap();
        assert!(has_a_child(child.id()));
        let leaf = children_of(child.id())[0];
        assert!(descendants_of(std::process::id()).contains(&leaf));
        kill_tree(&mut child);
        assert!(!is_running(leaf) && !is_running(child.id()));
    }

    #[test]
    fn only_marked_processes_are_ended() {
        let mark = format!("{}-{}", module_path!(), std::process::id());
        let mut marked = sleeper().env("XTASK_TEST", &mark).spawn().unwrap();
        let mut other = sleeper().env("XTASK_TEST", format!("{mark}0")).spawn().unwrap();
        assert!(has_a_child(marked.id()) && has_a_child(other.id()));
        end_marked(&format!("XTASK_TEST={mark}"));
        assert!(wait_within(&mut marked, Duration::from_secs(10)).unwrap().is_some());
        assert!(wait_within(&mut other, Duration::from_millis(50)).unwrap().is_none());
        kill_tree(&mut other);
    }

    #[test]
    fn a_failure_tells_all_that_was_written() {
        let failed = check(Command::new("sh").args(["-c", "echo one; echo two >&2; exit 3"]), "the try");
        assert_eq!(failed.unwrap_err(), "the try: exit status: 3\none\ntwo\n");
    }
}
