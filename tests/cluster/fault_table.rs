//! Everything that a provider can do wrong on a connection, as a table: each is named and free, ends in time, leaves
//! the session as it was, and the good call after it gets its own answer.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::provider_faults::reason;
use crate::support::http::Next;
use crate::support::{After, Behaviour, Response, fails, person};
use crate::world::{Beginning, PATH, SECRET, World, enrich, memory, only_phone, open, pid, try_enrich};

/// A way to misbehave, and the reason that an LX503 gives for it.
struct Fault {
    what: &'static str,
    reason: &'static str,
    behaviour: Box<dyn Fn() -> Behaviour + Send + Sync>,
}

fn fault(
    what: &'static str,
    reason: &'static str,
    behaviour: impl Fn() -> Behaviour + Send + Sync + 'static,
) -> Fault {
    Fault { what, reason, behaviour: Box::new(behaviour) }
}

/// An answer that is exactly these bytes, head and all; then the connection is closed.
fn raw(what: &'static str, reason: &'static str, bytes: impl Into<Vec<u8>>) -> Fault {
    let bytes = bytes.into();
    fault(what, reason, move || Behaviour::Raw(bytes.clone()))
}

/// A well-formed answer with this body.
fn body(what: &'static str, reason: &'static str, body: impl Into<Vec<u8>>) -> Fault {
    let body = body.into();
    fault(what, reason, move || Behaviour::Answer(raw_body(&body)))
}

fn status(what: &'static str, reason: &'static str, status: u16) -> Fault {
    fault(what, reason, move || Behaviour::json(status, person()))
}

fn redirect(status: u16, to: &'static str) -> Fault {
    fault("a redirect", "redirect", move || Behaviour::redirect(status, to))
}

fn raw_body(body: &[u8]) -> Response {
    Response { status: 200, headers: Vec::new(), body: body.to_vec() }
        .with_header("Content-Type", "application/json")
}

fn large() -> Response {
    let mut body = person();
    body["padding"] = json!("x".repeat(4_000));
    Response::json(200, &body)
}

/// Sends the first `bytes` of a good answer, and then does something else with the connection.
fn cut(
    bytes: usize,
    then: impl Fn(&mut TcpStream) -> io::Result<Next> + Clone + Send + Sync + 'static,
) -> Behaviour {
    Behaviour::Custom(Box::new(move |stream| {
        stream.write_all(&large().to_bytes()[..bytes])?;
        then(stream)
    }))
}

fn reset(stream: &mut TcpStream) -> io::Result<Next> {
    socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?;
    Ok(Next::Close)
}

fn close(stream: &mut TcpStream) -> io::Result<Next> {
    stream.shutdown(Shutdown::Both)?;
    Ok(Next::Close)
}

fn silence(stream: &mut TcpStream) -> io::Result<Next> {
    while stream.read(&mut [0; 64])? > 0 {}
    Ok(Next::Close)
}

/// After a head, the same piece until so many bytes are out or the client has had enough.
fn endless(head: &'static [u8], piece: &'static [u8], bytes: u64) -> Behaviour {
    Behaviour::Custom(Box::new(move |stream| {
        stream.write_all(head)?;
        let many = piece.repeat(64 * 1024 / piece.len());
        let mut left = bytes;
        while left > 0 {
            stream.write_all(&many)?;
            left = left.saturating_sub(many.len() as u64);
        }
        Ok(Next::Close)
    }))
}

const GIGABYTES_10: u64 = 10 << 30;
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";

fn with_head(lines: &str, body: &str) -> Vec<u8> {
    format!("{HEAD}{lines}\r\n{body}").into_bytes()
}

fn broken_connections() -> Vec<Fault> {
    vec![
        fault("resets at once", "reset", || Behaviour::Reset),
        fault("closes at once", "reset", || Behaviour::Close),
        fault("resets in the middle of the header", "reset", || cut(30, reset)),
        fault("closes in the middle of the header", "reset", || cut(30, close)),
        fault("resets after the header", "reset", || cut(large().head(4_300).len(), reset)),
        fault("resets in the middle of the body", "reset", || Behaviour::HalfBody(large(), After::Reset)),
        fault("closes in the middle of the body", "reset", || Behaviour::HalfBody(large(), After::Close)),
        // JSON itself shows that it is not whole.
        fault("resets in the middle of a body without a length", "bad_json", || {
            Behaviour::Custom(Box::new(|stream| {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"data\": {\"phone\": \"+1\"}")
                    .and_then(|()| reset(stream))
            }))
        }),
        raw("a length that is too long", "reset", with_head("Content-Length: 99\r\n", "{\"data\": {}}")),
        raw("chunks that end early", "reset", with_head("Transfer-Encoding: chunked\r\n", "5\r\n{\"dat")),
        fault("gzip that ends early", "reset", || {
            let packed = gzip(64 << 10);
            Behaviour::Answer(raw_body(&packed[..packed.len() / 2]).with_header("Content-Encoding", "gzip"))
        }),
    ]
}

fn delays() -> Vec<Fault> {
    let drip = |ms| move || Behaviour::SlowBytes(large(), Duration::from_millis(ms));
    vec![
        fault("silence", "timeout", || Behaviour::Never),
        fault("half a header, then silence", "timeout", || cut(30, silence)),
        fault("half a body, then silence", "timeout", || Behaviour::HalfBody(large(), After::Silence)),
        fault("a length that is too long, then silence", "timeout", || {
            let bytes = with_head("Content-Length: 99\r\n", "{\"data\": {}}");
            Behaviour::Custom(Box::new(move |stream| stream.write_all(&bytes).and_then(|()| silence(stream))))
        }),
        fault("a byte a second", "timeout", drip(1_000)),
        fault("bytes that drip", "timeout", drip(20)),
        fault("an answer after the timeout", "timeout", || {
            Behaviour::json(200, only_phone("+1202555 too late")).after(Duration::from_millis(900))
        }),
    ]
}

fn too_much() -> Vec<Fault> {
    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    const CHUNK: &[u8] = b"40\r\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n";
    let bomb = raw_body(&gzip(64 << 20)).with_header("Content-Encoding", "gzip");
    vec![
        fault("10 GB, announced", "too_large", || Behaviour::Huge(GIGABYTES_10 as usize)),
        fault("10 GB in chunks", "too_large", || endless(CHUNKED, CHUNK, GIGABYTES_10)),
        fault("10 GB without a length", "too_large", || {
            endless(b"HTTP/1.1 200 OK\r\n\r\n", b" ", GIGABYTES_10)
        }),
        // More lines than are taken for HTTP at all.
        fault("10 GB of header", "bad_http", || {
            endless(b"HTTP/1.1 200 OK\r\n", b"X-More: xxxxxx\r\n", GIGABYTES_10)
        }),
        fault("10 GB in one header", "too_large", || {
            endless(b"HTTP/1.1 200 OK\r\nX-More: ", b"x", GIGABYTES_10)
        }),
        fault("a gzip bomb", "too_large", move || Behaviour::Answer(bomb.clone())),
    ]
}

/// Made once, as it takes longer to pack than any timeout here.
fn gzip(bytes: u64) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    io::copy(&mut io::repeat(b' ').take(bytes), &mut encoder).unwrap();
    encoder.finish().unwrap()
}

fn bad_http() -> Vec<Fault> {
    let answer = |lines: &str| with_head(lines, &person().to_string());
    vec![
        raw("a negative length", "bad_http", answer("Content-Length: -1\r\n")),
        raw("two different lengths", "bad_http", answer("Content-Length: 20\r\nContent-Length: 30\r\n")),
        raw("a length that is no number", "bad_http", answer("Content-Length: many\r\n")),
        raw("a length beyond all numbers", "bad_http", answer("Content-Length: 99999999999999999999999\r\n")),
        raw(
            "chunks without a size",
            "bad_http",
            with_head("Transfer-Encoding: chunked\r\n", "no\r\n{}\r\n0\r\n\r\n"),
        ),
        raw("not gzip, though it says so", "bad_http", answer("Content-Encoding: gzip\r\n")),
        raw("another protocol", "bad_http", "SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        raw("a header without a colon", "bad_http", answer("nonsense\r\n")),
        raw("no status", "bad_http", "HTTP/1.1 OK\r\n\r\n{}"),
    ]
}

fn bad_json() -> Vec<Fault> {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let cut_short = person().to_string();
    vec![
        body("JSON that ends early", "bad_json", *b"{\"data\": {\"phone\": \"+1"),
        raw(
            "a length that is too short",
            "bad_json",
            with_head(&format!("Content-Length: {}\r\n", cut_short.len() / 2), &cut_short),
        ),
        body("a web page", "bad_json", *b"<html>Welcome to the hotel wifi</html>"),
        body("two answers in one", "bad_json", *b"{\"data\": {\"phone\": \"+1\"}}{\"data\": {}}"),
        body("nesting without end", "bad_json", "[".repeat(1 << 19)),
        body("nesting that ends", "bad_json", nested(1 << 18)),
        body("nesting in a member that nobody wants", "bad_json", {
            format!("{{\"data\": {{\"phone\": \"+1\"}}, \"more\": {}}}", nested(100_000))
        }),
    ]
}

fn statuses() -> Vec<Fault> {
    const METADATA: &str = "http://169.254.169.254/latest/meta-data/iam/";
    let mut faults: Vec<Fault> = [301, 302, 303, 307, 308].map(|status| redirect(status, METADATA)).into();
    faults.push(redirect(301, "/elsewhere"));
    faults.extend([
        status("401", "bad_credentials", 401),
        status("403", "bad_credentials", 403),
        status("402", "quota", 402),
        status("500", "server_error", 500),
        status("503 with a person", "server_error", 503),
        status("418", "bad_status", 418),
        raw("101", "bad_status", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
        status("429 without Retry-After", "rate_limited", 429),
        fault("429 with seconds", "rate_limited", || {
            Behaviour::Answer(Response::json(429, &json!({})).with_header("Retry-After", "17"))
        }),
        fault("429 with nonsense", "rate_limited", || {
            Behaviour::Answer(Response::json(429, &json!({})).with_header("Retry-After", "soon"))
        }),
    ]);
    faults
}

fn quick_faults() -> Vec<Fault> {
    [broken_connections(), too_much(), bad_http(), bad_json(), statuses()].into_iter().flatten().collect()
}

#[test]
fn every_fault_is_named_free_and_in_time_and_the_next_call_works() {
    let faults: Vec<Fault> = quick_faults().into_iter().chain(delays()).collect();
    let contacts = faults.len() as i32 + 1;
    let credits = Some(i64::from(contacts) + 2);
    let world = World::with(&Beginning { credits, contacts, ..Beginning::default() });
    let mut caller = world.caller();
    let backend = pid(&mut caller);
    for (done, Fault { what, reason: expected, behaviour }) in faults.into_iter().enumerate() {
        let mut before = world.ledger();
        world.provider.forget();
        // On a used connection the first few would be taken for its end, and the request sent once more.
        world.provider.close_connections();
        world.provider.on(PATH, move |_| behaviour());
        let timeout_ms = if expected == "timeout" { 700 } else { 5_000 };
        world.run(&format!("SELECT leadlex.alter_provider('main', '{{\"timeout_ms\": {timeout_ms}}}')"));
        let started = Instant::now();
        let failure = fails(enrich(&mut caller, 1));
        let took = started.elapsed();
        assert_eq!(reason(&failure), ("main".to_owned(), expected.to_owned()), "{what}: {failure:?}");
        assert!(!failure.everything().contains(SECRET), "{what}: {failure:?}");
        // With room for a busy machine.
        assert!(took < Duration::from_millis(timeout_ms + 2_000), "{what}: {took:?}");
        assert_eq!(world.provider.count(), 1, "{what}: one request, and no other path");
        assert_eq!(world.ledger(), before, "{what} changed something");

        let n = done as i32 + 2;
        let phone = format!("+1555{n:07}");
        let good = only_phone(&phone);
        world.provider.on(PATH, move |_| Behaviour::json(200, good.clone()));
        world.end_pauses();
        let result = enrich(&mut caller, n).unwrap_or_else(|error| panic!("after {what}: {error:?}"));
        assert_eq!(result["contact"]["phone"], phone, "after {what}");
        assert_eq!(pid(&mut caller), backend, "{what}");
        before.credits = before.credits.map(|credits| credits - 1);
        assert_eq!(
            (world.ledger().credits, world.ledger().charges),
            (before.credits, before.charges + 1),
            "{what}"
        );
    }
    world.check_all_credits_can_be_spent();
}

/// Nothing of a failed call stays: neither memory nor a descriptor nor a thread.
#[test]
fn hundreds_of_faults_leave_nothing_behind() {
    /// 5 kB for each of the calls that are measured; none was seen to grow at all.
    const MAX_GROWTH_KB: u64 = 2 * 1_024;
    let world = World::new();
    let mut caller = world.caller();
    let backend = pid(&mut caller);
    let mut calls = 0;
    let mut round = || {
        for Fault { what, reason, behaviour } in quick_faults() {
            world.provider.on(PATH, move |_| behaviour());
            world.end_pauses();
            let error = try_enrich(&mut caller, 1);
            assert_eq!(error["error"]["providers"][0]["reason"], reason, "{what}: {error}");
            calls += 1;
        }
    };
    (0..2).for_each(|_| round());
    let before = (memory(backend), open(backend, "fd"), open(backend, "task"));
    (0..8).for_each(|_| round());
    let after = (memory(backend), open(backend, "fd"), open(backend, "task"));
    println!("{calls} calls: {before:?} -> {after:?} (kB, descriptors, threads)");
    assert!(after.0 <= before.0 + MAX_GROWTH_KB, "{before:?} -> {after:?}");
    // One connection may be waiting for its next use.
    assert!(after.1 <= before.1 + 1 && after.2 <= before.2 + 1, "{before:?} -> {after:?}");
    world.check_all_credits_can_be_spent();
}

/// JSON leaves open what a name that comes twice means. For us it means what it means to jsonb: the last one counts.
#[test]
fn of_duplicate_keys_the_last_one_counts() {
    let world = World::new();
    let answer = r#"{"likelihood": 1, "data": {"phone": "+12025550101"}, "data": {"phone": "+12025550102", "phone": "+12025550103"}, "likelihood": 8}"#;
    world.provider.on(PATH, |_| Behaviour::Answer(raw_body(answer.as_bytes())));
    let result = enrich(&mut world.caller(), 1).unwrap();
    assert_eq!(
        (&result["contact"]["phone"], &result["confidence"]),
        (&json!("+12025550103"), &json!(0.8)),
        "{result}"
    );
    let jsonb: Value = world.owner().query_one(&format!("SELECT '{answer}'::jsonb"), &[]).unwrap().get(0);
    assert_eq!(jsonb["data"]["phone"], "+12025550103");
}

/// Behind a length that is too short stands a whole answer about somebody else, at once or a little later. It must
/// never become the answer to the next question.
#[test]
fn what_follows_an_answer_is_not_taken_for_the_next_one() {
    let world = World::with(&Beginning { contacts: 20, ..Beginning::default() });
    let mut caller = world.caller();
    let smuggled = Response::json(200, &only_phone("+1202555 smuggled")).to_bytes();
    for (n, pause) in [(1, None), (2, Some(Duration::ZERO)), (3, Some(Duration::from_millis(30)))] {
        let smuggled = smuggled.clone();
        let (sent, all_is_sent) = std::sync::mpsc::sync_channel(1);
        world.provider.on(PATH, move |_| {
            let (smuggled, sent) = (smuggled.clone(), sent.clone());
            Behaviour::Custom(Box::new(move |stream| {
                let first = Response::json(200, &only_phone("+1202555 first")).to_bytes();
                match pause {
                    None => stream.write_all(&[first, smuggled].concat())?,
                    Some(pause) => {
                        stream.write_all(&first)?;
                        std::thread::sleep(pause);
                        stream.write_all(&smuggled)?;
                    }
                }
                let _ = sent.send(());
                Ok(Next::KeepAlive)
            }))
        });
        assert_eq!(enrich(&mut caller, 2 * n).unwrap()["contact"]["phone"], "+1202555 first");
        // What comes when the next question is under way could not be told from its answer.
        all_is_sent.recv_timeout(Duration::from_secs(30)).expect("the provider sends both");
        world.provider.on(PATH, |_| Behaviour::json(200, only_phone("+1202555 second")));
        assert_eq!(enrich(&mut caller, 2 * n + 1).unwrap()["contact"]["phone"], "+1202555 second");
    }
}

/// The date is the provider's, so that what is left of it depends on our clock.
#[test]
fn retry_after_is_passed_on_in_seconds_and_as_a_date() {
    let world = World::new();
    let mut caller = world.caller();
    let mut retry_after = |value: String| {
        world.provider.on(PATH, move |_| {
            Behaviour::Answer(Response::json(429, &json!({})).with_header("Retry-After", &value))
        });
        world.end_pauses();
        let failure = fails(enrich(&mut caller, 1));
        assert_eq!(reason(&failure).1, "rate_limited", "{failure:?}");
        failure.json()["providers"][0]["retry_after"].clone()
    };
    assert_eq!(retry_after("17".to_owned()), 17);
    let date = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(600));
    let seconds = retry_after(date).as_u64().unwrap();
    assert!((540..=600).contains(&seconds), "{seconds}");
    assert_eq!(retry_after("soon".to_owned()), Value::Null);
    assert_eq!(world.ledger().credits, Some(10));
}
