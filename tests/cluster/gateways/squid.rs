//! Squid as a reverse proxy: long pages of its own, time-outs, interim answers that it passes on.

use super::{Gateway, word};
use crate::world::PATH;

fn conf(dir: &str, port: u16, vendor: u16) -> String {
    format!(
        "http_port 127.0.0.1:{port} accel defaultsite=api.vendor.example no-vhost
visible_hostname gateway.example
cache_peer 127.0.0.1 parent {vendor} 0 no-query originserver name=vendor
cache_peer 127.0.0.1 parent {dead} 0 no-query originserver name=dead
acl denied urlpath_regex ^/denied
acl region urlpath_regex ^/region
acl nowhere urlpath_regex ^/nowhere
acl login urlpath_regex ^/login
acl dead urlpath_regex ^/dead
acl vendor urlpath_regex ^{PATH}
deny_info 451:ERR_ACCESS_DENIED region
deny_info 404:ERR_INVALID_URL nowhere
deny_info 302:https://sso.example/login?next=x login
http_access deny region
http_access deny nowhere
http_access deny login
http_access deny denied
http_access allow all
cache_peer_access dead allow dead
cache_peer_access dead deny all
cache_peer_access vendor allow vendor
cache_peer_access vendor deny all
never_direct allow all
server_persistent_connections off
read_timeout 1 second
connect_timeout 1 second
cache deny all
cache_mem 0 MB
max_filedescriptors 256
pinger_enable off
pid_filename {dir}/pid
access_log none
cache_log {dir}/log
coredump_dir {dir}
shutdown_lifetime 0 seconds
",
        dead = super::free_port(),
    )
}

#[test]
fn squid() {
    // From 6 on it has shared memory under this name, which no other one may have.
    let args = |file: &std::path::Path, port: u16| {
        ["-N", "-n", &format!("gateway{port}"), "-f", &file.display().to_string()].map(str::to_owned).into()
    };
    let mut gateway = Gateway::start("/usr/sbin/squid", conf, args);
    let mut caller = gateway.world.caller();
    gateway.says(
        &mut caller,
        &[
            word("/region", "unrecognised", "status 451"),
            word("/nowhere", "unrecognised", "status 404"),
            word("/denied", "unrecognised", "status 403"),
            word("/login", "redirect", "Location: https://sso.example/login)"),
            word("/dead", "server_error", "status 50"),
        ],
    );
    gateway.lets_through(&mut caller);
    gateway.passes_on_interim_answers(&mut caller);
    gateway.sends_once(&mut caller);
    gateway.times_out(PATH, &mut caller);
}
