//! Apache: pages of its own, and connections that it ends with its own one to the vendor.

use super::{Gateway, word};
use crate::world::PATH;

fn conf(dir: &str, port: u16, vendor: u16) -> String {
    let modules = ["mpm_event", "authz_core", "authz_host", "alias", "proxy", "proxy_http"];
    let load = |name: &str| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n");
    format!(
        "{}ServerRoot {dir}\nDefaultRuntimeDir {dir}\nPidFile {dir}/pid\nErrorLog {dir}/log\nServerName localhost\n\
         Mutex file:{dir} default\nStartServers 1\nThreadsPerChild 4\nMaxRequestWorkers 4\nMinSpareThreads 1\nMaxSpareThreads 4\n\
         Listen 127.0.0.1:{port}\nKeepAlive On\nKeepAliveTimeout 5\n\
         Redirect 301 /login https://sso.example/login\nRedirect 410 /withdrawn\n\
         <Location /denied>\nRequire all denied\n</Location>\n\
         ProxyPass {PATH} http://127.0.0.1:{vendor}{PATH} retry=0\nProxyPass /dead http://127.0.0.1:{dead}/ retry=0\n",
        modules.map(load).concat(),
        dead = super::free_port(),
    )
}

#[test]
fn apache() {
    let args = |file: &std::path::Path, _| {
        vec!["-DFOREGROUND".to_owned(), "-f".to_owned(), file.display().to_string()]
    };
    let mut gateway = Gateway::start("/usr/sbin/apache2", conf, args);
    let mut caller = gateway.world.caller();
    gateway.says(
        &mut caller,
        &[
            word("/nowhere", "unrecognised", "status 404"),
            word("/denied", "unrecognised", "status 403"),
            word("/login", "redirect", "Location: https://sso.example/login"),
            word("/withdrawn", "bad_status", "<!DOCTYPE HTML PUBLIC"),
            word("/dead", "server_error", "status 503"),
        ],
    );
    gateway.lets_through(&mut caller);
    gateway.sends_once(&mut caller);
}
