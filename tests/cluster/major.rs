//! pg_upgrade, from an older major version where one has been built here, else from this one: the same steps.

use std::fs;
use std::path::Path;

use crate::dump::{QUIET, check_use, rows, used_on};
use crate::support::{Cluster, Stop, check, older_server, server};

/// Everything that the servers said which pg_upgrade had started, and it itself.
fn logs(dir: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            text += &logs(&entry.path());
        } else {
            text += &String::from_utf8_lossy(&fs::read(entry.path()).unwrap());
        }
    }
    text
}

#[test]
fn pg_upgrade_keeps_everything_and_no_worker_runs_meanwhile() {
    let used = used_on(older_server().unwrap_or(server()));
    let old = &used.world.cluster;
    old.stop(Stop::Fast);
    let new = Cluster::create(&[QUIET]);
    // Says when a library is loaded, and when a background worker is registered or started.
    for cluster in [old, &new] {
        cluster.append_conf(&["log_min_messages = debug1"]);
    }
    let mut upgrade = server().command("pg_upgrade");
    upgrade.current_dir(new.dir()).args(["--retain", "-U", "postgres"]);
    upgrade.arg("-b").arg(&old.server().bin).arg("-B").arg(&new.server().bin);
    upgrade.arg("-d").arg(old.data()).arg("-D").arg(new.data()).arg("-s").arg(new.socket_dir());
    upgrade.args(["-p", &old.port().to_string(), "-P", &new.port().to_string()]);
    check(&mut upgrade, "pg_upgrade");

    let log = logs(&new.data().join("pg_upgrade_output.d"));
    assert!(log.contains("loaded library \"leadlex_enrich\""), "the library was there: {log}");
    for process in ["leadlex_enrich launcher", "leadlex_enrich worker"] {
        assert!(!log.contains(process), "{process} during pg_upgrade");
    }

    // Only the launcher finds a place: no worker settles anything before it has been looked at.
    new.append_conf(&["log_min_messages = warning", "max_worker_processes = 1"]);
    new.start_again();
    assert_eq!(rows(&mut new.connect("app")), used.rows);
    new.append_conf(&["max_worker_processes = 8"]);
    new.restart(Stop::Fast);
    // Files are moved as they are, secrets in them, too.
    check_use(&used, &new, true);
}
