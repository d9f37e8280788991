//! Providers that misbehave, over real sockets: each fault is named, nothing is charged, and the session goes on.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use postgres::Client;
use serde_json::{Value, json};

use crate::support::{
    After, Behaviour, Cluster, Failure, Provider, Response, Stop, Surroundings, fails, person,
};
use crate::world::{Beginning, PATH, SECRET, World, enrich, pid, try_enrich};

/// Short timeouts, so that slow providers do not make slow tests.
pub const CONF: &[&str] = &["leadlex.provider_timeout = '700ms'", "leadlex.total_timeout = '3s'"];

fn world() -> World {
    World::with(&Beginning { conf: CONF, ..Beginning::default() })
}

/// The reason that one provider is given in an LX503.
pub fn reason(failure: &Failure) -> (String, String) {
    assert_eq!(failure.sqlstate, "LX503", "{failure:?}");
    let providers = failure.json()["providers"].clone();
    assert_eq!(providers.as_array().map(Vec::len), Some(1), "{failure:?}");
    let text = |key: &str| providers[0][key].as_str().unwrap_or_default().to_owned();
    (text("provider"), text("reason"))
}

/// One call fails for this reason; nothing is charged, the same backend goes on, and nothing gives the secret away.
fn fails_with(world: &World, client: &mut Client, expected: &str) -> Failure {
    let backend = pid(client);
    let failure = fails(enrich(client, 1));
    assert_eq!(reason(&failure), ("main".to_owned(), expected.to_owned()), "{failure:?}");
    assert!(failure.message.contains("main"), "{failure:?}");
    assert!(!failure.everything().contains(SECRET), "{failure:?}");
    assert_eq!(pid(client), backend);
    let ledger = world.ledger();
    assert_eq!((ledger.credits, ledger.charges), (Some(10), 0), "{expected}");
    failure
}

fn large_person() -> Value {
    let mut body = person();
    body["padding"] = json!("x".repeat(4_000));
    body
}

#[test]
fn a_refused_connection_or_unknown_host_is_named() {
    let world = world();
    let mut caller = world.caller();
    let port = {
        // Free again: nobody listens there.
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    };
    let at = |url: String| {
        let config = json!({"request": {"url": url}});
        world.owner().execute("SELECT leadlex.alter_provider('main', config => $1)", &[&config]).unwrap();
    };
    at(format!("http://127.0.0.1:{port}/person"));
    fails_with(&world, &mut caller, "refused");
    at("http://no-such-host.invalid/person".to_owned());
    let failure = fails(enrich(&mut caller, 1));
    // Without any resolver at hand it can only time out.
    assert!(["dns", "timeout"].contains(&reason(&failure).1.as_str()), "{failure:?}");
    // Plain HTTP where TLS is expected.
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    at(format!("https://{}/person", plain.local_addr().unwrap()));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = plain.accept().unwrap();
            let _ = stream.read(&mut [0; 4_096]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        });
        fails_with(&world, &mut caller, "tls");
    });
    at(world.provider.url(PATH));
    enrich(&mut caller, 1).unwrap();
}

#[test]
fn a_providers_own_limit_is_kept_for_all_sessions() {
    let world = world();
    world.run("SELECT leadlex.alter_provider('main', config => '{\"max_requests_per_minute\": 2}')");
    for n in [1, 2] {
        enrich(&mut world.caller(), n).unwrap();
    }
    let failure = fails(enrich(&mut world.caller(), 3));
    assert_eq!(reason(&failure).1, "provider_limit", "{failure:?}");
    assert_eq!(world.provider.count(), 2);
    assert_eq!(world.ledger().credits, Some(8));
}

#[test]
fn the_body_cap_holds_while_reading() {
    let world = World::with(&Beginning::default());
    let mut caller = world.caller();
    // 1 MiB by default: just below passes, just above does not.
    world.provider.on(PATH, |_| {
        let mut body = person();
        body["padding"] = json!("x".repeat((1 << 20) - 1_000));
        Behaviour::json(200, body)
    });
    enrich(&mut caller, 2).unwrap();
    world.provider.on(PATH, |_| {
        let mut body = person();
        body["padding"] = json!("x".repeat(1 << 20));
        Behaviour::json(200, body)
    });
    assert_eq!(reason(&fails(enrich(&mut caller, 1))).1, "too_large");
}

#[test]
fn connections_are_kept_and_a_stale_one_is_replaced_without_an_error() {
    let world = world();
    let mut caller = world.caller();
    for n in 1..=4 {
        enrich(&mut caller, n).unwrap();
    }
    assert_eq!(world.provider.connections(), 1, "one connection for all calls of a session");
    // The provider's idle timeout, between two calls.
    world.provider.close_connections();
    enrich(&mut caller, 5).unwrap();
    world.provider.on(PATH, |_| Behaviour::AnswerThenClose(Response::json(200, &person())));
    for n in 6..=9 {
        enrich(&mut caller, n).unwrap();
        // A request that crosses the vendor's close on its way may have arrived: that is another test.
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(world.provider.count(), 9, "no request was sent twice");
    assert_eq!(world.ledger().charges, 9);
}

/// A request that the provider may have seen is billed: it must not be sent again behind the caller's back.
#[test]
fn a_request_that_arrived_is_not_repeated() {
    let world = world();
    let mut caller = world.caller();
    enrich(&mut caller, 2).unwrap();
    world.provider.forget();
    world.provider.on(PATH, |_| Behaviour::HalfBody(Response::json(200, &large_person()), After::Close));
    fails(enrich(&mut caller, 1));
    assert_eq!(world.provider.count(), 1);
}

#[test]
fn an_answer_that_comes_after_the_timeout_is_not_taken_for_the_next_one() {
    let world = world();
    let mut caller = world.caller();
    world.provider.on(PATH, |request| {
        let email = request.param("email").unwrap_or_default().to_owned();
        let answer = Behaviour::json(200, crate::world::only_phone(&format!("+1202555 {email}")));
        if email.starts_with("person1@") { answer.after(Duration::from_millis(400)) } else { answer }
    });
    world.abandon(&mut caller, 1);
    for n in 2..=8 {
        let result = enrich(&mut caller, n).unwrap();
        assert_eq!(result["contact"]["phone"], format!("+1202555 person{n}@acme.example"));
        std::thread::sleep(Duration::from_millis(60));
    }
}

#[test]
fn private_addresses_are_refused_unless_the_superuser_allows_them() {
    let world = World::with(&Beginning {
        conf: &["leadlex.allow_private_addresses = off", "leadlex.provider_timeout = '700ms'"],
        ..Beginning::default()
    });
    let port = world.provider.port();
    // Addresses at .example are none with that setting.
    world.run("UPDATE crm SET email = replace(email, '@acme.example', '@example.com')");
    let mut caller = world.caller();
    fails(caller.batch_execute("SET leadlex.allow_private_addresses = on"));
    for host in [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "[fe80::1]",
        "[fd00::1]",
        "100.64.0.1",
    ] {
        let config = json!({"request": {"url": format!("http://{host}:{port}/person")}});
        let altered =
            world.owner().execute("SELECT leadlex.alter_provider('main', config => $1)", &[&config]);
        if let Err(error) = altered {
            // A spelling that is no valid URL is refused even earlier.
            assert_eq!(Failure::of(&error).sqlstate, "22023", "{host}: {error:?}");
            continue;
        }
        fails_with(&world, &mut caller, "address_refused");
    }
    assert_eq!(world.provider.connections(), 0, "no connection was even tried");

    let config = json!({"request": {"url": world.provider.url(PATH)}});
    world.owner().execute("SELECT leadlex.alter_provider('main', config => $1)", &[&config]).unwrap();
    world.cluster.set("leadlex.allow_private_addresses", "on");
    let mut caller = world.caller();
    enrich(&mut caller, 1).unwrap();
    // A connection that was allowed is not used any more once it is not.
    world.cluster.set("leadlex.allow_private_addresses", "off");
    crate::support::eventually("the session has read the setting", Duration::from_secs(5), || {
        let row = caller.query_one("SHOW leadlex.allow_private_addresses", &[]).unwrap();
        row.get::<_, String>(0) == "off"
    });
    assert_eq!(reason(&fails(enrich(&mut caller, 2))).1, "address_refused");
}

/// The name looks harmless; what it resolves to decides. The server has an /etc/hosts of its own for this.
#[test]
fn names_of_private_addresses_are_refused_after_resolving() {
    if !Cluster::can_be_surrounded_with_hosts() {
        println!("not tested: this system does not let us replace /etc/hosts (unshare --mount)");
        return;
    }
    let world = World::with(&Beginning {
        conf: &["leadlex.allow_private_addresses = off", "leadlex.provider_timeout = '2s'"],
        ..Beginning::default()
    });
    let hosts = world.cluster.dir().join("hosts");
    let names = [
        ("inner.test", &["127.0.0.1"][..]),
        ("metadata.test", &["169.254.169.254"]),
        ("both.test", &["127.0.0.1", "169.254.169.254"]),
        ("six.test", &["::1", "fd00:ec2::254", "::ffff:169.254.169.254"]),
        ("office.test", &["10.1.2.3", "192.168.1.1", "172.16.0.1"]),
    ];
    let lines = names.iter().flat_map(|(name, list)| list.iter().map(move |a| format!("{a} {name}\n")));
    std::fs::write(&hosts, lines.collect::<String>()).unwrap();
    world.cluster.stop(Stop::Fast);
    world.cluster.surround(Surroundings { hosts: Some(hosts), ..Surroundings::default() });
    world.cluster.start_again();
    let port = world.provider.port();
    let ask_at = |name: &str| {
        let config = json!({"request": {"url": format!("http://{name}:{port}/person")}});
        world.owner().execute("SELECT leadlex.alter_provider('main', config => $1)", &[&config]).unwrap();
    };
    world.run("UPDATE crm SET email = 'jane@example.com' WHERE id = '00000000-0000-4000-8000-000000000001'");
    let mut caller = world.caller();
    for (name, addresses) in names {
        ask_at(name);
        let failure = fails_with(&world, &mut caller, "address_refused");
        // Names of inner networks are nobody's to map from here.
        let said = failure.everything();
        assert!(said.contains(name) && !addresses.iter().any(|a| said.contains(a)), "{failure:?}");
    }
    assert_eq!(world.provider.connections(), 0, "no connection was even tried");
    world.cluster.set("leadlex.allow_private_addresses", "on");
    ask_at("inner.test");
    enrich(&mut world.caller(), 1).unwrap();
}

#[test]
fn the_proxy_of_the_environment_is_not_used() {
    let world = world();
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let names = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    let env = names.map(|name| (name.to_owned(), url.clone().into())).into();
    world.cluster.stop(Stop::Fast);
    world.cluster.surround(Surroundings { env, ..Surroundings::default() });
    world.cluster.start_again();
    enrich(&mut world.caller(), 1).unwrap();
    assert!(proxy.accept().is_err(), "nobody went there");
    let request = world.provider.requests().remove(0);
    assert_eq!(request.path, PATH);
    let host = format!("127.0.0.1:{}", world.provider.port());
    assert_eq!(request.header("host"), Some(host.as_str()));
    assert_eq!(request.header("x-api-key"), Some(SECRET));
}

#[test]
fn the_total_time_bounds_all_providers_together() {
    let world = World::with(&Beginning {
        conf: &["leadlex.provider_timeout = '400ms'", "leadlex.total_timeout = '1s'"],
        ..Beginning::default()
    });
    for name in ["second", "third", "fourth", "fifth"] {
        world.add_provider(name, &world.provider.config("/other"));
    }
    world.provider.always(|_| Behaviour::Never);
    let started = Instant::now();
    let failure = fails(enrich(&mut world.caller(), 1));
    let took = started.elapsed();
    assert_eq!(failure.sqlstate, "LX503");
    assert_eq!(failure.json()["providers"].as_array().unwrap().len(), 5, "{failure:?}");
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(2), "{took:?}");
    assert!(world.provider.count() <= 3, "{}", world.provider.count());
}

#[test]
fn the_next_provider_is_asked_when_one_fails() {
    let world = world();
    let backup = Provider::start();
    world.add_provider("backup", &backup.config("/backup"));
    world.run("SELECT leadlex.alter_provider('backup', priority => 200)");
    world.provider.on(PATH, |_| Behaviour::Reset);
    let mut caller = world.caller();
    let result = enrich(&mut caller, 1).unwrap();
    assert_eq!((&result["source"], &result["credits_remaining"]), (&json!("backup"), &json!(9)));
    world.provider.on(PATH, |_| Behaviour::json(404, json!({})));
    assert_eq!(enrich(&mut caller, 2).unwrap()["source"], "backup");
    // first_match stops at the first with data.
    world.provider.on(PATH, |_| Behaviour::json(200, crate::world::only_phone("+12025550177")));
    backup.forget();
    let first = enrich(&mut caller, 3).unwrap();
    assert_eq!((&first["source"], &first["fields_updated"]), (&json!("main"), &json!(["phone"])));
    assert_eq!(backup.count(), 0);
    // fill goes on, and one credit pays for both.
    caller.batch_execute("SET leadlex.waterfall = 'fill'").unwrap();
    let filled = enrich(&mut caller, 4).unwrap();
    assert_eq!(filled["fields_updated"].as_array().unwrap().len(), 6);
    assert_eq!(filled["contact"]["phone"], "+12025550177");
    assert_eq!(filled["field_sources"]["location"]["source"], "backup");
    assert_eq!(filled["credits_remaining"], 6);
    caller.batch_execute("RESET leadlex.waterfall; SET leadlex.min_confidence = 0.95").unwrap();
    assert_eq!(try_enrich(&mut caller, 5)["error"]["reason"], "no_data");
}

/// Everything that an ordinary role, or a reader of the log, can see.
#[test]
fn the_secret_is_nowhere_to_be_seen() {
    let world = world();
    world.cluster.set("log_min_messages", "debug2");
    // DEBUG would also go to the client.
    let mut caller = world.caller();
    let mark = world.cluster.log_mark();
    // A provider that repeats what it was sent, in every place it can.
    world.provider.on(PATH, |request| {
        let secret = request.header("x-api-key").unwrap_or_default().to_owned();
        Behaviour::Answer(
            Response::json(500, &json!({"error": format!("bad key {secret}")}))
                .with_header("X-Echo", &secret)
                .with_header("Location", &format!("/?{secret}")),
        )
    });
    let mut seen = fails(enrich(&mut caller, 1)).everything();
    seen += &try_enrich(&mut caller, 1).to_string();
    world
        .provider
        .on(PATH, |_| Behaviour::Raw(format!("HTTP/1.1 200 OK\r\nX: {SECRET}\r\n\r\n{SECRET}").into_bytes()));
    seen += &fails(enrich(&mut caller, 1)).everything();
    world
        .provider
        .on(PATH, |_| Behaviour::json(200, json!({"data": {"phone": "+12025550101"}, "x": SECRET})));
    seen += &enrich(&mut caller, 1).unwrap().to_string();

    let mut owner = world.owner();
    let checked: Value = owner
        .query_one("SELECT leadlex.check_provider('main', '{\"email\": \"a@acme.example\"}')", &[])
        .unwrap()
        .get(0);
    seen += &checked.to_string();
    assert!(checked.to_string().contains("***"), "{checked}");
    for client in [&mut owner, &mut caller] {
        let sql = "SELECT c.relname::text FROM pg_class AS c WHERE c.relnamespace = 'leadlex'::regnamespace
                   AND c.relkind IN ('r', 'v') AND c.relname <> 'provider_secret' AND has_table_privilege(c.oid, 'SELECT')";
        for row in client.query(sql, &[]).unwrap() {
            let relation: String = row.get(0);
            let sql = format!("SELECT coalesce(jsonb_agg(r), '[]') FROM leadlex.{relation} AS r");
            seen += &client.query_one(&sql, &[]).unwrap().get::<_, Value>(0).to_string();
        }
    }
    assert!(!seen.contains(SECRET), "{seen}");
    assert_eq!(
        fails(caller.query("SELECT * FROM leadlex.provider_secret", &[])).sqlstate,
        "42501",
        "the secret's table is closed"
    );
    let log = world.cluster.log_since(mark);
    let telling: Vec<&str> = log.lines().filter(|line| line.contains(SECRET)).collect();
    assert!(telling.is_empty(), "in the log: {telling:?}");
}

/// The vendor's secret is not sent to a place that only a redirect named, nor in a second request.
#[test]
fn the_secret_goes_to_the_provider_only() {
    let world = world();
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", elsewhere.local_addr().unwrap());
    elsewhere.set_nonblocking(true).unwrap();
    world.provider.on(PATH, move |_| Behaviour::redirect(307, &url));
    fails_with(&world, &mut world.caller(), "redirect");
    assert!(elsewhere.accept().is_err(), "nobody was sent there");
}

/// A trickle that never makes a whole header, kept up beyond the timeout.
#[test]
fn an_endless_header_ends_in_time() {
    let world = world();
    world.provider.on(PATH, |_| {
        Behaviour::Custom(Box::new(|stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            loop {
                stream.write_all(b"X-More: x\r\n")?;
                std::thread::sleep(Duration::from_millis(20));
            }
        }))
    });
    let started = Instant::now();
    let failure = fails(enrich(&mut world.caller(), 1));
    assert!(["timeout", "too_large", "bad_http"].contains(&reason(&failure).1.as_str()), "{failure:?}");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[test]
fn a_provider_that_does_not_even_read_is_a_timeout() {
    let world = world();
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = json!({"request": {"url": format!("http://{}/person", deaf.local_addr().unwrap())}});
    world.owner().execute("SELECT leadlex.alter_provider('main', config => $1)", &[&config]).unwrap();
    fails_with(&world, &mut world.caller(), "timeout");
    let (mut stream, _) = deaf.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut request = [0; 16];
    stream.read_exact(&mut request).unwrap();
    assert!(request.starts_with(b"GET /person"), "{request:?}");
}

#[test]
fn a_secret_that_comes_back_in_an_answer_is_no_value() {
    let world = World::new();
    world.provider.on(PATH, |request| {
        let echo = request.header("x-api-key").unwrap_or_default().to_owned();
        Behaviour::json(
            200,
            json!({"data": {"job_title": format!("Bearer {echo}"), "phone": "+15550100100"}}),
        )
    });
    let result = enrich(&mut world.caller(), 1).unwrap();
    assert_eq!(result["fields_updated"], json!(["phone"]), "{result}");
    let held = "SELECT count(*) FROM leadlex.receipt AS r WHERE r::text LIKE '%4711%'";
    assert_eq!(world.number(held), 0);
}
