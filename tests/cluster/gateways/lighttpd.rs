//! lighttpd: pages of its own, and interim answers that it passes on as they are.

use super::{Gateway, word};
use crate::world::PATH;

fn conf(dir: &str, port: u16, vendor: u16) -> String {
    let to =
        |port: u16| format!("proxy.server = (\"\" => ((\"host\" => \"127.0.0.1\", \"port\" => {port})))");
    format!(
        "server.modules = (\"mod_access\", \"mod_redirect\", \"mod_proxy\")
         server.document-root = \"{dir}\"
         server.bind = \"127.0.0.1\"
         server.port = {port}
         server.errorlog = \"{dir}/log\"
         $HTTP[\"url\"] =~ \"^{PATH}\" {{ {} }}
         $HTTP[\"url\"] == \"/dead\" {{ {} }}
         $HTTP[\"url\"] == \"/denied\" {{ url.access-deny = (\"\") }}
         $HTTP[\"url\"] == \"/login\" {{
             url.redirect = (\"\" => \"https://sso.example/login?next=x\")
             url.redirect-code = 302
         }}
        ",
        to(vendor),
        to(super::free_port()),
    )
}

#[test]
fn lighttpd() {
    let args = |file: &std::path::Path, _| vec!["-D".to_owned(), "-f".to_owned(), file.display().to_string()];
    let mut gateway = Gateway::start("/usr/sbin/lighttpd", conf, args);
    let mut caller = gateway.world.caller();
    gateway.says(
        &mut caller,
        &[
            word("/nowhere", "unrecognised", "404"),
            word("/denied", "unrecognised", "403"),
            word("/login", "redirect", "Location: https://sso.example/login)"),
            word("/dead", "server_error", "503"),
        ],
    );
    gateway.lets_through(&mut caller);
    gateway.passes_on_interim_answers(&mut caller);
    gateway.sends_once(&mut caller);
}
