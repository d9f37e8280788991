//! Providers behind TLS: one whose certificate is good is asked, any other never sees the request.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use postgres::Client;
use serde_json::json;

use crate::provider_faults::{CONF, reason};
use crate::support::tls::{Authority, End, Identity, TlsProvider, VALID, Years, self_signed};
use crate::support::{Failure, Response, Stop, Surroundings, fails, person};
use crate::world::{Beginning, SECRET, World, contact, enrich, memory, open, pid, try_enrich};

const HOST: &str = "localhost";

/// A server whose only trusted root is this one.
fn world_that_trusts(authority: &Authority) -> World {
    let world = World::with(&Beginning { conf: CONF, ..Beginning::default() });
    let roots = world.cluster.dir().join("roots.pem");
    fs::write(&roots, authority.pem()).unwrap();
    world.cluster.stop(Stop::Fast);
    world.cluster.surround(Surroundings {
        env: vec![("SSL_CERT_FILE".into(), roots.into())],
        ..Surroundings::default()
    });
    world.cluster.start_again();
    world
}

fn ask_at(world: &World, host: &str, port: u16) {
    let config = json!({"request": {"url": format!("https://{host}:{port}/person")}});
    world.owner().execute("SELECT leadlex.alter_provider('main', config => $1)", &[&config]).unwrap();
}

fn good_answer() -> Vec<u8> {
    Response::json(200, &person()).to_bytes()
}

/// One call fails as `expected` in time, and nothing has changed.
fn fails_as(world: &World, caller: &mut Client, what: &str, expected: &str) -> Failure {
    let (backend, before) = (pid(caller), world.ledger());
    let started = Instant::now();
    let failure = fails(enrich(caller, 1));
    assert_eq!(reason(&failure).1, expected, "{what}: {failure:?}");
    assert!(started.elapsed() < Duration::from_secs(3), "{what}: {:?}", started.elapsed());
    assert!(!failure.everything().contains(SECRET), "{what}: {failure:?}");
    assert_eq!((pid(caller), world.ledger()), (backend, before), "{what}");
    failure
}

#[test]
fn only_a_good_certificate_gets_the_request() {
    let trusted = Authority::new("trusted");
    let stranger = Authority::new("stranger");
    let world = world_that_trusts(&trusted);
    let mut caller = world.caller();
    let bad: [(&str, &str, Identity); 6] = [
        ("expired", "expired", trusted.issue(HOST, Years(2020, 2021))),
        ("not yet valid", "not valid yet", trusted.issue(HOST, Years(2098, 2099))),
        ("of another host", "is for another host name", trusted.issue("other.example", VALID)),
        (
            "of an untrusted root",
            "not signed by an authority that this server's system trusts",
            stranger.issue(HOST, VALID),
        ),
        // The same name is not the same root.
        ("of a root that borrows the name", "certificate", Authority::new("trusted").issue(HOST, VALID)),
        ("signed by itself", "it is self-signed", self_signed(HOST)),
    ];
    for (what, said, identity) in bad {
        let provider = TlsProvider::start(identity, good_answer(), End::KeepAlive);
        ask_at(&world, HOST, provider.port());
        let failure = fails_as(&world, &mut caller, what, "tls");
        let told = failure.json()["providers"][0]["message"].as_str().unwrap().to_owned();
        assert!(told.contains(said), "{what}: {told}");
        assert_eq!((provider.connections(), provider.requests()), (1, 0), "{what}: the request was sent");
    }
    let good = TlsProvider::start(trusted.issue(HOST, VALID), good_answer(), End::KeepAlive);
    ask_at(&world, HOST, good.port());
    assert_eq!(enrich(&mut caller, 2).unwrap()["source"], "main");
    assert_eq!(enrich(&mut caller, 3).unwrap()["credits_remaining"], 8);
    assert_eq!((good.connections(), good.requests()), (1, 2), "the connection is kept");
    // By its address, for which the certificate does not speak.
    ask_at(&world, "127.0.0.1", good.port());
    fails_as(&world, &mut caller, "the address instead of the name", "tls");
    world.check_credits_add_up();
}

#[test]
fn a_handshake_or_an_answer_that_does_not_end_properly_is_a_fault() {
    let trusted = Authority::new("trusted");
    let world = world_that_trusts(&trusted);
    let mut caller = world.caller();
    // Nothing announces the end of this body but the connection's own; JSON itself shows whether it is whole.
    let mut endless = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n".to_vec();
    let body = person().to_string().into_bytes();
    endless.extend(&body[..body.len() - 1]);
    let cut = TlsProvider::start(trusted.issue(HOST, VALID), endless, End::Cut);
    ask_at(&world, HOST, cut.port());
    fails_as(&world, &mut caller, "cut without a word of TLS", "bad_json");
    assert_eq!(cut.requests(), 1);

    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    ask_at(&world, HOST, mute.local_addr().unwrap().port());
    fails_as(&world, &mut caller, "no handshake", "timeout");

    let hasty = TcpListener::bind("127.0.0.1:0").unwrap();
    ask_at(&world, HOST, hasty.local_addr().unwrap().port());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = hasty.accept().unwrap();
            let _ = stream.read(&mut [0; 4_096]);
            // An alert: handshake failure.
            let _ = stream.write_all(b"\x15\x03\x03\x00\x02\x02\x28");
        });
        fails_as(&world, &mut caller, "an alert", "tls");
    });
    let good = TlsProvider::start(trusted.issue(HOST, VALID), good_answer(), End::KeepAlive);
    ask_at(&world, HOST, good.port());
    enrich(&mut caller, 1).unwrap();
}

/// Each of these calls makes a new connection, since none of them comes to be.
#[test]
fn refused_certificates_leave_nothing_behind() {
    const MAX_GROWTH_KB: u64 = 1_024;
    let trusted = Authority::new("trusted");
    let world = world_that_trusts(&trusted);
    let provider =
        TlsProvider::start(Authority::new("stranger").issue(HOST, VALID), good_answer(), End::KeepAlive);
    ask_at(&world, HOST, provider.port());
    // Every call is to try.
    world.cluster.set("leadlex.breaker_failures", "0");
    let mut caller = world.caller();
    let backend = pid(&mut caller);
    let mut calls = |count: usize| {
        for _ in 0..count {
            let error = try_enrich(&mut caller, 1);
            assert_eq!(error["error"]["providers"][0]["reason"], "tls", "{error}");
        }
        (memory(backend), open(backend, "fd"), open(backend, "task"))
    };
    let before = calls(50);
    let after = calls(200);
    println!("{before:?} -> {after:?} (kB, descriptors, threads)");
    assert!(
        after.0 <= before.0 + MAX_GROWTH_KB && after.1 <= before.1 && after.2 <= before.2 + 1,
        "{before:?} -> {after:?}"
    );
    assert_eq!((provider.connections(), provider.requests()), (250, 0));
    assert_eq!(world.ledger().contacts[0]["id"], json!(contact(1)), "still there, and still empty");
    assert_eq!(world.phone(1), None);
}
