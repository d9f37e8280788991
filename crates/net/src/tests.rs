//! The client against real sockets: providers that answer, and those that misbehave in each way we know of.

mod limited;
mod server;

pub use limited::{left, limited};
pub use server::{Server, get, ok, request, spawn, with_length};

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Job;
use super::client::Client;
use super::descriptors::InUse;
use leadlex_domain::provider::{Answer, Fault, FaultKind, Method};

fn client() -> Client {
    Client::new(spawn, &InUse::default())
}

fn fetch(client: &Client, job: &Job) -> Result<Answer, Fault> {
    client.fetch(job, Instant::now() + job.timeout)
}

fn fault(job: &Job) -> Fault {
    fetch(&client(), job).expect_err("a fault")
}

/// The fault, and that it came no later than the time allowed.
fn fault_in_time(mut job: Job) -> Fault {
    job.timeout = Duration::from_millis(400);
    let started = Instant::now();
    let fault = fault(&job);
    let took = started.elapsed();
    assert!(took < Duration::from_millis(600), "took {took:?}: {fault}");
    fault
}

#[test]
fn connections_are_kept_and_answers_are_whole() {
    let body = format!("{{\"text\": \"{}\"}}", "ü".repeat(50_000));
    let sent = body.clone();
    let server = Server::answering(move |_| ok(&sent));
    let client = client();
    for _ in 0..20 {
        let answer = fetch(&client, &get(server.url("/p?q=1"))).unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body, body.as_bytes());
        assert_eq!(answer.header("Content-Length"), Some(body.len().to_string().as_str()));
    }
    assert_eq!(server.connections(), 1);
    let seen = server.requests()[0].to_ascii_lowercase();
    let agent = format!("user-agent: leadlex_enrich/{}\r\n", env!("CARGO_PKG_VERSION"));
    assert!(seen.starts_with("get /p?q=1 http/1.1\r\n"), "{seen}");
    for header in [agent.as_str(), "x-test: 1\r\n", "accept-encoding: gzip\r\n"] {
        assert!(seen.contains(header), "{header} in {seen}");
    }
    for header in ["expect", "cookie", "transfer-encoding", "content-length"] {
        assert!(!seen.contains(header), "{header} in {seen}");
    }
}

#[test]
fn posts_carry_their_body_with_its_length() {
    let server = Server::answering(|_| ok("{}"));
    let client = client();
    fetch(&client, &request(Method::Post, server.url("/"), Some("{\"a\":1}"))).unwrap();
    fetch(&client, &request(Method::Post, server.url("/"), None)).unwrap();
    let seen = server.requests();
    assert!(seen[0].ends_with("\r\n\r\n{\"a\":1}"), "{}", seen[0]);
    assert!(seen[1].to_ascii_lowercase().contains("content-length: 0\r\n"));
    assert_eq!(server.connections(), 1);
}

/// More than is handed to the connection at once, each of them.
#[test]
fn a_large_header_and_a_large_body_arrive_whole() {
    let server = Server::answering(|_| ok("{}"));
    let client = client();
    for (path, header) in [(30_000, 25_000), (10, 59_000), (59_000, 10), (16_000, 16_384)] {
        let (path, header) = (format!("/{}", "p".repeat(path)), "h".repeat(header));
        let body = "0123456789".repeat(20_000);
        let mut job = request(Method::Post, server.url(&path), Some(&body));
        Arc::make_mut(&mut job.request).headers.push(("X-Large".to_owned(), header.clone()));
        fetch(&client, &job).unwrap();
        let seen = server.requests().pop().unwrap();
        assert!(seen.starts_with(&format!("POST {path} HTTP/1.1\r\n")), "{}", &seen[..80]);
        assert!(seen.to_ascii_lowercase().contains(&format!("x-large: {header}\r\n")));
        assert!(seen.ends_with(&format!("\r\n\r\n{body}")));
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_connection_closed_while_idle_is_replaced() {
    let server = Server::start(|mut visit| {
        visit.request();
        visit.send(ok("{}"));
    });
    let client = client();
    for _ in 0..10 {
        fetch(&client, &get(server.url("/"))).unwrap();
        thread::sleep(Duration::from_millis(3));
    }
    assert_eq!(server.connections(), 10);
    assert_eq!(server.requests().len(), 10);
}

/// The server may have taken it, and will bill it: a gateway ends connections so when its own to the vendor dies.
#[test]
fn a_request_that_went_out_is_not_sent_again() {
    let server = Server::start(|mut visit| {
        visit.request();
        visit.send(ok("{}"));
        // The second request on a connection arrives, and gets no answer.
        visit.request();
    });
    let client = client();
    for (call, method) in [Method::Get, Method::Post].into_iter().enumerate() {
        fetch(&client, &get(server.url("/"))).unwrap();
        let fault = fetch(&client, &request(method, server.url("/"), Some("x"))).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Reset, "{fault}");
        assert!(fault.message.contains("may have arrived"), "{fault}");
        assert_eq!(server.requests().len(), 2 * (call + 1));
        assert_eq!(server.connections(), call + 1);
    }
    fetch(&client, &get(server.url("/"))).unwrap();
}

#[test]
fn a_connection_that_an_idle_time_out_ended_is_replaced_or_named() {
    const TIMED_OUT: &[u8] =
        b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let server = Server::start(|mut visit| {
        visit.request();
        visit.send(ok("{}"));
        visit.request();
        visit.send(TIMED_OUT);
    });
    let client = client();
    fetch(&client, &get(server.url("/"))).unwrap();
    assert_eq!(fetch(&client, &get(server.url("/"))).unwrap_err().kind, FaultKind::Reset);
    // On a new connection it is an answer.
    let slow = Server::answering(|_| TIMED_OUT.into());
    assert_eq!(fetch(&client, &get(slow.url("/"))).unwrap().status, 408);
    // Sent into the silence between two requests, it is seen before the next one goes out.
    let idle = Server::start(|mut visit| {
        visit.request();
        visit.send(ok("{}"));
        visit.send(TIMED_OUT);
    });
    for _ in 0..3 {
        fetch(&client, &get(idle.url("/"))).unwrap();
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!((idle.requests().len(), idle.connections()), (3, 3));
}

#[test]
fn interim_answers_with_header_fields_are_passed_over() {
    let server = Server::start(|mut visit| {
        while visit.request().is_some() {
            for part in [
                "HTTP/1.1 100 Continue\r\nVia: 1.1 x\r\n\r\nHTTP/1.1 10",
                "3 Early Hints\r\nLink: <x>\r\n\r\n",
            ] {
                visit.send(part);
                thread::sleep(Duration::from_millis(10));
            }
            visit.send(ok("HTTP/1.1 100 Continue\r\n\r\n"));
        }
    });
    let client = client();
    for method in [Method::Get, Method::Post, Method::Get] {
        let answer = fetch(&client, &request(method, server.url("/"), Some("x"))).unwrap();
        assert_eq!(answer.body, b"HTTP/1.1 100 Continue\r\n\r\n", "what stands in a body is body");
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_205_without_a_length_does_not_wait_for_a_body() {
    let server = Server::start(|mut visit| {
        visit.request();
        visit.send("HTTP/1.1 205 Reset Content\r\n\r\n");
        visit.request();
    });
    let started = Instant::now();
    let answer = fetch(&client(), &get(server.url("/"))).unwrap();
    assert_eq!((answer.status, answer.body.len()), (205, 0));
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

#[test]
fn a_new_connection_that_is_closed_is_a_fault_and_not_tried_again() {
    let server = Server::start(|mut visit| {
        visit.request();
    });
    assert_eq!(fault(&get(server.url("/"))).kind, FaultKind::Reset);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn nothing_is_tried_again_once_a_byte_of_the_answer_came() {
    let server = Server::start(|mut visit| {
        visit.request();
        visit.send(ok("{}"));
        visit.request();
        visit.send("H");
    });
    let client = client();
    fetch(&client, &get(server.url("/"))).unwrap();
    let fault = fetch(&client, &get(server.url("/"))).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Reset);
    assert_eq!(server.connections(), 1);
}

#[test]
fn silence_at_any_point_ends_with_the_time_allowed() {
    for begun in ["", "HTTP/1.1 200 OK\r\nContent-", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"a"] {
        let server = Server::start(move |mut visit| {
            visit.request();
            visit.send(begun);
            visit.hang();
        });
        assert_eq!(fault_in_time(get(server.url("/"))).kind, FaultKind::Timeout, "{begun:?}");
    }
    // Not even a TLS greeting.
    let server = Server::start(|mut visit| visit.hang());
    let url = server.url("/").replace("http:", "https:");
    assert_eq!(fault_in_time(get(url)).kind, FaultKind::Timeout);
}

#[test]
fn slow_drips_end_with_the_time_allowed() {
    for head in ["HTTP/1.1 200 OK\r\nX: ", "HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"] {
        let server = Server::start(move |mut visit| {
            visit.request();
            visit.send(head);
            while visit.send("H") {
                thread::sleep(Duration::from_millis(50));
            }
        });
        assert_eq!(fault_in_time(get(server.url("/"))).kind, FaultKind::Timeout, "{head:?}");
    }
}

#[test]
fn answers_that_are_cut_short_are_faults() {
    let cases = [
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"a\": 1}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{\"a\": 1}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{\"a\": 1}\r\n",
    ];
    for begun in cases {
        let server = Server::start(move |mut visit| {
            visit.request();
            visit.send(begun);
        });
        assert_eq!(fault_in_time(get(server.url("/"))).kind, FaultKind::Reset, "{begun:?}");
    }
    // Closing without having read the request resets the connection.
    let server = Server::start(|mut visit| {
        visit.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{");
        thread::sleep(Duration::from_millis(50));
    });
    assert_eq!(fault_in_time(get(server.url("/"))).kind, FaultKind::Reset);
}

#[test]
fn what_is_not_http_is_a_fault() {
    for noise in ["SSH-2.0-OpenSSH_9.2\r\n\r\n", "\0\0\0\0\0\0\r\n\r\n", "HTTP/1.1 abc OK\r\n\r\n"] {
        let server = Server::start(move |mut visit| {
            visit.request();
            visit.send(noise);
        });
        assert_eq!(fault_in_time(get(server.url("/"))).kind, FaultKind::BadHttp, "{noise:?}");
    }
    let server =
        Server::answering(|_| b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec());
    assert_eq!(fault_in_time(get(server.url("/"))).kind, FaultKind::BadHttp);
    // A server that speaks no TLS.
    let server = Server::start(|mut visit| {
        visit.send("HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let url = server.url("/").replace("http:", "https:");
    assert_eq!(fault_in_time(get(url)).kind, FaultKind::Tls);
}

fn gzipped(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn gzip_answer(packed: &[u8]) -> Vec<u8> {
    let length = packed.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), packed].concat()
}

#[test]
fn compressed_answers_are_unpacked_and_their_connections_kept() {
    let server = Server::answering(|_| gzip_answer(&gzipped(b"{\"a\": 1}")));
    let client = client();
    for _ in 0..5 {
        assert_eq!(fetch(&client, &get(server.url("/"))).unwrap().body, b"{\"a\": 1}");
    }
    assert_eq!(server.connections(), 1);
    let broken = Server::answering(|_| gzip_answer(b"this is no gzip"));
    assert_eq!(fault(&get(broken.url("/"))).kind, FaultKind::BadHttp);
    let cut = Server::answering(|_| {
        let packed = gzipped(&b"{\"a\": 1}".repeat(100));
        gzip_answer(&packed[..packed.len() - 12])
    });
    assert_eq!(fault(&get(cut.url("/"))).kind, FaultKind::Reset);
}

#[test]
fn the_cap_on_bodies_holds_to_the_byte_and_after_unpacking() {
    let exact = Server::answering(|_| ok(&"x".repeat(1000)));
    let mut job = get(exact.url("/"));
    job.max_body_bytes = 1000;
    assert_eq!(fetch(&client(), &job).unwrap().body.len(), 1000);
    job.max_body_bytes = 999;
    assert_eq!(fault(&job).kind, FaultKind::TooLarge);

    // Announced: refused before it is read.
    let announced = Server::start(|mut visit| {
        visit.request();
        visit.send(with_length(usize::MAX / 4, ""));
        visit.hang();
    });
    assert_eq!(fault_in_time(get(announced.url("/"))).kind, FaultKind::TooLarge);

    let endless = Server::start(|mut visit| {
        visit.request();
        visit.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
        while visit.send(&chunk) {}
    });
    assert_eq!(fault(&get(endless.url("/"))).kind, FaultKind::TooLarge);

    let bomb = gzip_answer(&gzipped(&vec![b' '; 64 * 1024 * 1024]));
    assert!(bomb.len() < 1024 * 1024);
    let bomb = Server::answering(move |_| bomb.clone());
    assert_eq!(fault(&get(bomb.url("/"))).kind, FaultKind::TooLarge);

    let header =
        Server::answering(|_| format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100_000)).into_bytes());
    assert_eq!(fault_in_time(get(header.url("/"))).kind, FaultKind::TooLarge);
}

#[test]
fn redirects_are_answers_and_every_status_is_passed_on() {
    let target = Server::answering(|_| ok("{}"));
    let location = target.url("/");
    let server = Server::answering(move |request| {
        let status = request[5..8].to_owned();
        format!("HTTP/1.1 {status} X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n").into_bytes()
    });
    let client = client();
    for status in [301, 302, 303, 307, 308, 400, 401, 404, 429, 500, 503] {
        let answer = fetch(&client, &get(server.url(&format!("/{status}")))).unwrap();
        assert_eq!(answer.status, status);
    }
    assert_eq!(target.connections(), 0);
}

#[test]
fn closed_ports_and_unknown_names_are_told_apart() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert_eq!(fault(&get(format!("http://127.0.0.1:{port}/"))).kind, FaultKind::Refused);
    let mut job = get("http://no-such-host.invalid/secret-path?k=secret".into());
    job.timeout = Duration::from_secs(2);
    let fault = fault(&job);
    // A machine without any name server may also run into the time limit.
    assert!(matches!(fault.kind, FaultKind::Dns | FaultKind::Timeout), "{fault}");
    assert!(!fault.message.contains("secret"), "{fault}");
}

#[test]
fn every_spelling_of_a_private_address_is_refused_before_connecting() {
    let server = Server::answering(|_| ok("{}"));
    let port = server.address.port();
    let client = client();
    for host in [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "0.0.0.0",
        "0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
    ] {
        let mut job = get(format!("http://{host}:{port}/"));
        job.allow_private = false;
        let fault = fetch(&client, &job).unwrap_err();
        assert_eq!(fault.kind, FaultKind::AddressRefused, "{host}: {fault}");
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_connection_made_without_the_guard_is_never_used_under_it() {
    let server = Server::answering(|_| ok("{}"));
    let client = client();
    let mut job = get(server.url("/"));
    fetch(&client, &job).unwrap();
    job.allow_private = false;
    assert_eq!(fetch(&client, &job).unwrap_err().kind, FaultKind::AddressRefused);
    job.allow_private = true;
    fetch(&client, &job).unwrap();
    assert_eq!((server.connections(), server.requests().len()), (1, 2));
}

#[test]
fn names_resolve_in_a_thread_of_their_own() {
    let server = Server::answering(|_| ok("{}"));
    let url = format!("http://localhost:{}/", server.address.port());
    assert_eq!(fetch(&client(), &get(url)).unwrap().status, 200);
}

/// Connecting can take longer than the time after which nothing may go out any more.
#[test]
fn what_is_stopped_while_it_connects_does_not_go_out() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let server = Server::answering(|_| ok("{}"));
    let job = Job { may_send: || ASKED.fetch_add(1, Ordering::SeqCst) == 0, ..get(server.url("/")) };
    assert_eq!(fault(&job).kind, FaultKind::Stopped);
    thread::sleep(Duration::from_millis(100));
    assert_eq!(server.connections(), 1, "it was to be stopped after it had connected");
    assert_eq!(server.requests(), Vec::<String>::new());
    let at_once = Job { may_send: || false, ..get(server.url("/")) };
    assert_eq!(fault(&at_once).kind, FaultKind::Stopped);
    assert_eq!(server.connections(), 1);
}
