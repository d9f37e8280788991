//! nginx: a region block, a wrong path, a denied address, a rate limit, a dead upstream, gzip.

use super::{Gateway, word};
use crate::support::person;
use crate::world::{PATH, enrich};

fn conf(dir: &str, port: u16, vendor: u16) -> String {
    format!(
        "daemon off; master_process off; pid {dir}/pid; error_log {dir}/log;
         events {{ worker_connections 64; }}
         http {{
             access_log off; default_type text/html;
             client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
             fastcgi_temp_path {dir}/fastcgi; uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
             limit_req_zone $server_addr zone=one:64k rate=1r/m;
             upstream vendor {{ server 127.0.0.1:{vendor}; keepalive 4; }}
             upstream dead {{ server 127.0.0.1:{dead}; }}
             proxy_http_version 1.1; proxy_set_header Connection ''; proxy_next_upstream off;
             server {{
                 listen 127.0.0.1:{port};
                 location = {PATH} {{ proxy_pass http://vendor; }}
                 location = /packed {{
                     gzip on; gzip_types application/json; gzip_min_length 1; gzip_proxied any;
                     proxy_pass http://vendor{PATH};
                 }}
                 location = /region {{ return 451 '<html><h1>Unavailable For Legal Reasons</h1></html>'; }}
                 location = /denied {{ deny all; }}
                 location = /login {{ return 302 https://sso.example/login?next=$request_uri; }}
                 location = /portal {{ return 200 '<title>Sign in</title>'; }}
                 location = /limited {{ limit_req zone=one; limit_req_status 429; proxy_pass http://dead; }}
                 location = /dead {{ proxy_pass http://dead; }}
             }}
         }}",
        dead = super::free_port(),
    )
}

#[test]
fn nginx() {
    let args = |file: &std::path::Path, _| vec!["-c".to_owned(), file.display().to_string()];
    let mut gateway = Gateway::start("/usr/sbin/nginx", conf, args);
    let mut caller = gateway.world.caller();
    gateway.says(
        &mut caller,
        &[
            word("/region", "unrecognised", "Unavailable For Legal Reasons"),
            word("/no/such/path", "unrecognised", "404 Not Found"),
            word("/denied", "unrecognised", "403 Forbidden"),
            word("/login", "redirect", "Location: https://sso.example/login)"),
            word("/portal", "unrecognised", "text/html): \"<title>Sign in"),
            word("/dead", "server_error", "502 Bad Gateway"),
            word("/limited", "server_error", "502"),
            word("/limited", "rate_limited", "429"),
        ],
    );
    gateway.lets_through(&mut caller);
    gateway.sends_once(&mut caller);
    gateway.ask_at("/packed");
    let n = gateway.someone();
    assert_eq!(enrich(&mut caller, n).unwrap()["contact"]["location"], person()["data"]["location"]);
}
