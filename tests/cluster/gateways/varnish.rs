//! Varnish: pages with Retry-After of its own, also for one contact's failure.

use std::thread;
use std::time::Duration;

use super::{Gateway, word};
use crate::provider_faults::reason;
use crate::support::{Behaviour, fails, person};
use crate::world::{PATH, enrich};

const PROGRAM: &str = "/usr/sbin/varnishd";

fn conf(_: &str, _: u16, vendor: u16) -> String {
    format!(
        r#"vcl 4.1;
        backend vendor {{ .host = "127.0.0.1"; .port = "{vendor}"; .first_byte_timeout = 1s; }}
        backend dead {{ .host = "127.0.0.1"; .port = "{dead}"; .connect_timeout = 1s; }}
        sub vcl_recv {{
            if (req.url ~ "^/region") {{ return (synth(451, "Not in your region")); }}
            if (req.url ~ "^/nowhere") {{ return (synth(404)); }}
            if (req.url ~ "^/denied") {{ return (synth(403)); }}
            if (req.url ~ "^/login") {{ return (synth(302)); }}
            if (req.url ~ "^/dead") {{ set req.backend_hint = dead; }}
            return (pass);
        }}
        sub vcl_synth {{
            if (resp.status == 302) {{ set resp.http.Location = "https://sso.example/login?next=x"; }}
        }}
        # Of a used connection that ends it asks once more by itself.
        sub vcl_backend_fetch {{ set bereq.http.Connection = "close"; }}
        "#,
        dead = super::free_port(),
    )
}

#[test]
fn varnish() {
    if super::is_absent(PROGRAM, "varnish") {
        return;
    }
    let args = |file: &std::path::Path, port: u16| {
        let dir = file.with_file_name("work").display().to_string();
        let (listen, file) = (format!("127.0.0.1:{port}"), file.display().to_string());
        let small = "-smalloc,16M -pvsl_space=1M -pthread_pools=1 -pthread_pool_min=10 -pthread_pool_max=50";
        let mut args: Vec<String> = small.split(' ').map(str::to_owned).collect();
        args.extend(["-F", "-n", &dir, "-a", &listen, "-f", &file].map(str::to_owned));
        args
    };
    let mut gateway = Gateway::start(PROGRAM, conf, args);
    let mut caller = gateway.world.caller();
    gateway.says(
        &mut caller,
        &[
            word("/region", "unrecognised", "451"),
            word("/nowhere", "unrecognised", "404"),
            word("/denied", "unrecognised", "403 Forbidden"),
            word("/login", "redirect", "Location: https://sso.example/login)"),
            word("/dead", "server_error", "503 Backend fetch failed"),
        ],
    );
    gateway.lets_through(&mut caller);
    gateway.sends_once(&mut caller);
    others_go_on_while_one_contact_fails(&mut gateway);
}

/// The vendor dies of one contact, always; Varnish says 503 and `Retry-After: 5` of it.
fn others_go_on_while_one_contact_fails(gateway: &mut Gateway) {
    let mut caller = gateway.world.caller();
    let bad = gateway.someone();
    let email = format!("person{bad}@acme.example");
    gateway.world.provider.on(PATH, move |request| match request.param("email") {
        Some(asked) if asked == email => Behaviour::Close,
        _ => Behaviour::json(200, person()),
    });
    gateway.world.end_pauses();
    for _ in 0..2 {
        let failure = fails(enrich(&mut caller, bad));
        assert_eq!(reason(&failure).1, "server_error", "{failure:?}");
        let other = gateway.someone();
        let paused = fails(enrich(&mut caller, other));
        assert_eq!(reason(&paused).1, "server_error", "{paused:?}");
        let entry = &paused.json()["providers"][0];
        assert_eq!(entry["paused"], true);
        let left = entry["retry_after"].as_u64().unwrap();
        assert!(left <= 5, "no longer than Varnish asked for: {paused:?}");
        thread::sleep(Duration::from_secs(left) + Duration::from_millis(200));
        // Who failed is not the one that tries whether it is well again.
        let asked = gateway.world.provider.count();
        fails(enrich(&mut caller, bad));
        assert_eq!(gateway.world.provider.count(), asked);
        enrich(&mut caller, other).unwrap();
    }
}
