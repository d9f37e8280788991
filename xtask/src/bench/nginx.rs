//! A fast fake provider: nginx, answering at once or after 50 ms, over http and https.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::{Context, Result};
use crate::postgres::Cluster;
use crate::postgres::cluster::free_port;
use crate::process::{kill, wait_within};
use crate::project::Project;

use super::folder;
use super::tls::Certificates;
use super::together::TOGETHER;

const PROGRAM: &str = "/usr/sbin/nginx";
const PATIENCE: Duration = Duration::from_secs(10);

/// It ends when this is dropped.
pub struct Nginx {
    child: Child,
    port: u16,
    tls_port: u16,
}

/// The elements of an answer about several, each a command of its own, as none may be longer than 4 kB.
fn all_of_a_request() -> String {
    let element = |at: u32| {
        let end = if at < TOGETHER { "," } else { "]" };
        format!(
            "echo '{{\"status\":200,\"likelihood\":9,\"data\":{{\"job_title\":\"general counsel\",\"job_company_name\":\"acme corp\",\"mobile_phone\":\"+15550100100\",\"location_name\":\"new york, ny, us\",\"job_title_levels\":[\"cxo\"]}}}}{end}';"
        )
    };
    (1..=TOGETHER).map(element).fold("echo '[';".to_owned(), |all, one| all + "\n            " + &one)
}

impl Nginx {
    /// As the user whom the servers run as, with its files in this directory of a cluster.
    pub fn start(project: &Project, cluster: &Cluster, certificates: &Certificates) -> Result<Nginx> {
        let dir = cluster.dir.join("nginx");
        cluster.server.make_dir(&dir)?;
        let (port, tls_port) = (free_port()?, free_port()?);
        let template = folder(project).join("provider.nginx.conf");
        let text = fs::read_to_string(&template).context(template.display())?;
        let text = text
            .replace("@DIR@", &dir.to_string_lossy())
            .replace("@CERTIFICATES@", &certificates.dir.to_string_lossy())
            .replace("@ALL@", &all_of_a_request())
            .replace("@PORT@", &port.to_string())
            .replace("@TLS_PORT@", &tls_port.to_string());
        let conf = dir.join("nginx.conf");
        fs::write(&conf, text).context(conf.display())?;
        let mut nginx = Command::new(PROGRAM);
        nginx.arg("-p").arg(&dir).arg("-e").arg(dir.join("error.log")).arg("-c").arg(&conf);
        nginx.args(["-g", "daemon off;"]).stdin(Stdio::null());
        cluster.server.as_user(&mut nginx);
        project.mark(&mut nginx);
        let mut nginx = Nginx { child: nginx.spawn().context(PROGRAM)?, port, tls_port };
        nginx.wait_until_ready(&dir)?;
        Ok(nginx)
    }

    fn wait_until_ready(&mut self, dir: &Path) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.child.try_wait().is_ok_and(|status| status.is_some());
            if ended || Instant::now() > until {
                let log = fs::read_to_string(dir.join("error.log")).unwrap_or_default();
                return Err(format!("nginx does not start: {log}"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Of answers that take so many milliseconds: 0 or 50.
    pub fn url(&self, latency_ms: u32) -> String {
        format!("http://127.0.0.1:{}/{}", self.port, if latency_ms == 0 { "fast" } else { "slow" })
    }

    /// Over https, answering at once.
    pub fn secure_url(&self) -> String {
        format!("https://127.0.0.1:{}/fast", self.tls_port)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = kill("TERM", self.child.id()).output();
        if !matches!(wait_within(&mut self.child, PATIENCE), Ok(Some(_))) {
            crate::process::kill_tree(&mut self.child);
        }
    }
}
