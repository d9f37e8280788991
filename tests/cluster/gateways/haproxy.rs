//! HAProxy: its own answers, connections that it ends without one, and an idle time-out.

use std::thread;
use std::time::Duration;

use super::{Gateway, word};
use crate::world::{PATH, enrich};

fn conf(_: &str, port: u16, vendor: u16) -> String {
    let conf = format!(
        "defaults
         mode http
         timeout connect 1s
         timeout client 5s
         timeout server 5s
         timeout http-keep-alive 300ms
         frontend front
         bind 127.0.0.1:{port}
         http-request return status 451 content-type text/html string \"<h1>Not in your region</h1>\" if {{ path /region }}
         http-request deny deny_status 404 if {{ path /nowhere }}
         http-request deny deny_status 403 if {{ path /denied }}
         http-request deny deny_status 429 if {{ path /limited }}
         http-request redirect code 302 location https://sso.example/login?next=x if {{ path /login }}
         use_backend dead if {{ path /dead }}
         default_backend vendor
         backend vendor
         http-reuse always
         server vendor 127.0.0.1:{vendor}
         backend dead
         server dead 127.0.0.1:{dead}
         ",
        dead = super::free_port(),
    );
    conf.lines().map(|line| format!("{}\n", line.trim())).collect()
}

#[test]
fn haproxy() {
    let args =
        |file: &std::path::Path, _| vec!["-db".to_owned(), "-f".to_owned(), file.display().to_string()];
    let mut gateway = Gateway::start("/usr/sbin/haproxy", conf, args);
    let mut caller = gateway.world.caller();
    gateway.says(
        &mut caller,
        &[
            word("/region", "unrecognised", "Not in your region"),
            word("/nowhere", "unrecognised", "404 Not Found"),
            word("/denied", "unrecognised", "403 Forbidden"),
            word("/login", "redirect", "Location: https://sso.example/login"),
            word("/limited", "rate_limited", "429"),
            word("/dead", "server_error", "503 Service Unavailable"),
        ],
    );
    gateway.lets_through(&mut caller);
    gateway.passes_on_interim_answers(&mut caller);
    gateway.sends_once(&mut caller);
    // It ends connections that are idle for longer than this: a new one takes their place, without an error.
    gateway.ask_at(PATH);
    gateway.world.provider.forget();
    for asked in 1..=3 {
        let n = gateway.someone();
        enrich(&mut caller, n).unwrap();
        assert_eq!(gateway.world.provider.count(), asked);
        thread::sleep(Duration::from_millis(400));
    }
}
