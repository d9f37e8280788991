//! The provider over https: a root made for this run, and a certificate of the provider that it signs.
//!
//! The release build trusts the system's roots. `SSL_CERT_FILE` in the server's environment says which file holds them: here
//! the system's own file, with the root of this run at its end. So a call reads, holds and checks what it does elsewhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Context, Result};
use crate::postgres::Cluster;
use crate::process::check;

/// Debian's file of all roots.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
/// The variable in which a server is told another file.
pub const ROOTS_VARIABLE: &str = "SSL_CERT_FILE";
const NEW_KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/// Files in a directory of a cluster.
pub struct Certificates {
    /// Holds `provider.pem` and `provider.key`, too, which nginx reads.
    pub dir: PathBuf,
    /// The system's roots and ours.
    pub roots: PathBuf,
}

impl Certificates {
    /// Made anew, good for 30 days. An error where openssl or the system's roots are missing.
    pub fn make(cluster: &Cluster, configuration: &Path) -> Result<Certificates> {
        let dir = cluster.dir.join("tls");
        cluster.server.make_dir(&dir)?;
        let copy = dir.join("certificates.cnf");
        fs::copy(configuration, &copy).context(configuration.display())?;
        let openssl = |arguments: &[&str], more: &[&str]| {
            let mut openssl = Command::new("openssl");
            openssl.current_dir(&dir).args(arguments).args(more).stdin(Stdio::null());
            cluster.server.as_user(&mut openssl);
            check(&mut openssl, "openssl").map(drop)
        };
        let root = ["-x509", "-extensions", "root", "-days", "30", "-subj", "/CN=leadlex bench root"];
        let request = ["req", "-config", "certificates.cnf"];
        openssl(
            &[&request[..], &root].concat(),
            &[&NEW_KEY[..], &["-keyout", "root.key", "-out", "root.pem"]].concat(),
        )?;
        let asked = ["-new", "-subj", "/CN=127.0.0.1", "-keyout", "provider.key", "-out", "provider.csr"];
        openssl(&[&request[..], &asked].concat(), &NEW_KEY)?;
        let sign = ["x509", "-req", "-in", "provider.csr", "-CA", "root.pem", "-CAkey", "root.key"];
        let as_provider = ["-extfile", "certificates.cnf", "-extensions", "provider", "-out", "provider.pem"];
        openssl(&[&sign[..], &["-set_serial", "1", "-days", "30"]].concat(), &as_provider)?;
        let ours = dir.join("root.pem");
        let mut bytes = fs::read(SYSTEM_ROOTS).context(SYSTEM_ROOTS)?;
        bytes.extend(fs::read(&ours).context(ours.display())?);
        let roots = dir.join("roots.pem");
        fs::write(&roots, bytes).context(roots.display())?;
        Ok(Certificates { dir, roots })
    }
}
