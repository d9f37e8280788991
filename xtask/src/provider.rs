//! Sample providers in processes of their own.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::{Context, Result};
use crate::process::{has_argument, is_running, kill};
use crate::project::Project;
use crate::watch::watched;

const START_TIMEOUT: Duration = Duration::from_secs(10);

/// # Errors
/// Where it does not build.
pub fn build(project: &Project) -> Result<()> {
    let cargo = project.cargo(&["build", "--package", "sample_provider"]);
    watched("building the sample provider", cargo, &project.log_dir().join("sample_provider.log")).map(drop)
}

/// A running one. It ends when this is dropped, or never after [`Provider::leave_running`].
pub struct Provider {
    pid_file: PathBuf,
    port: u16,
    left_running: bool,
}

impl Provider {
    /// In place of an older one of this name. Leaves NAME.pid, NAME.port and NAME.log in the directory.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn start(project: &Project, dir: &Path, name: &str, options: &[&str]) -> Result<Provider> {
        let file = |extension: &str| dir.join(format!("{name}.{extension}"));
        let (port_file, pid_file, log_file) = (file("port"), file("pid"), file("log"));
        stop(&pid_file);
        let _ = fs::remove_file(&port_file);
        let log = File::create(&log_file).context(log_file.display())?;
        let mut command = Command::new(project.target.join("debug/sample_provider"));
        command.arg("--port-file").arg(&port_file).args(options).current_dir(&project.root);
        command.stdin(Stdio::null()).stdout(log.try_clone().context(log_file.display())?).stderr(log);
        // Ctrl-C is not meant for it.
        let mut child = command.process_group(0).spawn().context("the sample provider")?;
        fs::write(&pid_file, format!("{}\n", child.id())).context(pid_file.display())?;
        let until = Instant::now() + START_TIMEOUT;
        loop {
            let port = fs::read_to_string(&port_file).ok().and_then(|text| text.trim().parse().ok());
            if let Some(port) = port {
                return Ok(Provider { pid_file, port, left_running: false });
            }
            if child.try_wait().is_ok_and(|status| status.is_some()) || Instant::now() > until {
                stop(&pid_file);
                let log = fs::read_to_string(&log_file).unwrap_or_default();
                return Err(format!("the sample provider did not start: {log}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What its URLs begin with.
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where it takes questions, as People Data Labs does.
    pub fn url(&self) -> String {
        format!("{}/v5/person/enrich", self.base())
    }

    /// The sample provider goes on after this is dropped; [`stop`] ends it.
    pub fn leave_running(&mut self) {
        self.left_running = true;
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        if !self.left_running {
            stop(&self.pid_file);
        }
    }
}

/// Stops the one with this file, `NAME.pid`; `false`: none was running. Only what was started here: a process of that number
/// may by now be another's.
pub fn stop(pid_file: &Path) -> bool {
    let pid = fs::read_to_string(pid_file).ok().and_then(|text| text.trim().parse().ok());
    let ours = |pid: &u32| is_running(*pid) && has_argument(*pid, &pid_file.with_extension("port"));
    let running = pid.filter(ours);
    if let Some(pid) = running {
        let _ = kill("TERM", pid).output();
        let until = Instant::now() + START_TIMEOUT;
        while is_running(pid) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let _ = fs::remove_file(pid_file);
    running.is_some()
}
