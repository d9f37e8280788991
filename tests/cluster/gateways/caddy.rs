//! Caddy: answers without a page, interim answers with header fields, connections that it aborts.

use std::fs;

use serde_json::json;

use super::{Gateway, plainly, word};
use crate::provider_faults::reason;
use crate::support::fails;
use crate::world::{PATH, enrich};

fn conf(dir: &str, port: u16, vendor: u16) -> String {
    let conf = format!(
        "{{
         admin off
         auto_https off
         storage file_system {dir}/storage
         }}
         http://:{port} {{
         bind 127.0.0.1
         log {{
         output file {dir}/access
         }}
         handle {PATH} {{
         reverse_proxy 127.0.0.1:{vendor} {{
         transport http {{
         keepalive off
         }}
         }}
         }}
         handle /slow {{
         rewrite * {PATH}
         reverse_proxy 127.0.0.1:{vendor} {{
         transport http {{
         response_header_timeout 300ms
         }}
         }}
         }}
         handle /region {{
         header Content-Type text/html
         respond \"<h1>Not in your region</h1>\" 451
         }}
         handle /denied {{
         respond \"Access denied\" 403
         }}
         handle /nowhere {{
         respond \"Not here\" 404
         }}
         handle /files {{
         root * {dir}/none
         file_server
         }}
         handle /cut {{
         abort
         }}
         handle /dead {{
         reverse_proxy 127.0.0.1:{dead}
         }}
         redir /login https://sso.example/login?next=x
         }}
         ",
        dead = super::free_port(),
    );
    conf.lines().map(|line| format!("{}\n", line.trim())).collect()
}

#[test]
fn caddy() {
    let args = |file: &std::path::Path, _| {
        ["run", "--adapter", "caddyfile", "--config", &file.display().to_string()].map(str::to_owned).into()
    };
    let mut gateway = Gateway::start("/usr/bin/caddy", conf, args);
    let mut caller = gateway.world.caller();
    gateway.says(
        &mut caller,
        &[
            word("/region", "unrecognised", "Not in your region"),
            word("/nowhere", "unrecognised", "text/plain; charset=utf-8): \"Not here"),
            word("/denied", "unrecognised", "Access denied"),
            word("/login", "redirect", "Location: https://sso.example/login)"),
            word("/dead", "server_error", "502"),
        ],
    );
    gateway.lets_through(&mut caller);
    gateway.passes_on_interim_answers(&mut caller);
    gateway.sends_once(&mut caller);
    gateway.times_out("/slow", &mut caller);
    aborts_are_not_asked_again(&mut gateway);
    an_empty_404_is_told_by_what_the_vendors_looks_like(&mut gateway);
}

/// On a connection that was used before, and ends without a byte of answer.
fn aborts_are_not_asked_again(gateway: &mut Gateway) {
    let mut caller = gateway.world.caller();
    gateway.ask_at(PATH);
    let n = gateway.someone();
    enrich(&mut caller, n).unwrap();
    gateway.ask_at("/cut");
    let n = gateway.someone();
    let failure = fails(enrich(&mut caller, n));
    assert_eq!(reason(&failure).1, "reset", "{failure:?}");
    let log = fs::read_to_string(gateway.dir.join("access")).unwrap();
    assert_eq!(log.lines().filter(|line| line.contains("/cut?")).count(), 1, "{log}");
    gateway.world.end_pauses();
}

/// Of itself Caddy sends no page: what a bare status says must be more than a status.
fn an_empty_404_is_told_by_what_the_vendors_looks_like(gateway: &mut Gateway) {
    let answer = plainly(gateway.port, "/files");
    assert!(answer.starts_with("HTTP/1.1 404") && answer.ends_with("\r\n\r\n"), "{answer}");
    let vendors = json!({"response": {"no_match": {
        "status": null, "absent": null,
        "body": [{"pointer": "/error", "present": true, "status": [404]}]
    }}});
    let sql = "SELECT leadlex.alter_provider('main', config => $1)";
    gateway.world.owner().execute(sql, &[&vendors]).unwrap();
    let mut caller = gateway.world.caller();
    gateway.ask_at("/files");
    let n = gateway.someone();
    let failure = fails(enrich(&mut caller, n));
    assert_eq!(reason(&failure).1, "unrecognised", "{failure:?}");
    gateway.ask_at(PATH);
    enrich(&mut caller, n).unwrap();
}
