//! Requests on the thread that asks.

use std::io::Write;
use std::sync::mpsc;
use std::thread;

use super::tests::{UNLIMITED, outcome, threads};
use super::*;
use crate::tests::{Server, get, ok, request, spawn};
use leadlex_domain::provider::Method;

/// Answers `/slow…` after a while, `/hang` never, and everything else at once with the length of what it was sent.
fn provider() -> Server {
    Server::start(|mut visit| {
        while let Some(request) = visit.request() {
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            if path.starts_with("/hang") {
                visit.hang();
                return;
            }
            if path.starts_with("/slow") {
                thread::sleep(Duration::from_millis(150));
            }
            visit.send(ok(&format!("{path} {}", request.len())));
        }
    })
}

fn body(outcome: RequestOutcome) -> String {
    String::from_utf8(outcome.unwrap().body).unwrap()
}

/// With a connection to the server that is kept, and no thread any more.
fn pool_with_connection(server: &Server) -> RequestPool {
    let mut pool = RequestPool::with_max_idle(spawn, UNLIMITED, Duration::from_millis(20)).unwrap();
    let first = pool.begin(get(server.url("/first")), None).unwrap();
    assert!(first.awaited().is_none(), "there was no connection");
    outcome(first).unwrap();
    while threads(&pool) > 0 {
        thread::sleep(Duration::from_millis(5));
    }
    pool
}

/// What `keep` was told.
fn keeper() -> (Keep, mpsc::Receiver<RequestOutcome>) {
    let (told, tell) = mpsc::channel();
    (
        Box::new(move |outcome: Result<&Answer, &Fault>| {
            told.send(outcome.cloned().map_err(Clone::clone)).unwrap();
            None
        }),
        tell,
    )
}

#[test]
fn a_kept_connection_serves_on_the_asking_thread() {
    let server = provider();
    let mut pool = pool_with_connection(&server);
    for call in 0..50 {
        let (keep, told) = keeper();
        let ticket = pool.begin(get(server.url(&format!("/{call}"))), Some(keep)).unwrap();
        assert_eq!(ticket.awaited().unwrap().wants, Wants::Write);
        assert!(body(outcome(ticket)).starts_with(&format!("/{call} ")));
        assert!(told.try_recv().unwrap().is_ok());
    }
    assert_eq!((threads(&pool), server.connections()), (0, 1));
    // One at a time: the second gets a thread.
    let first = pool.begin(get(server.url("/slow")), None).unwrap();
    let second = pool.begin(get(server.url("/second")), None).unwrap();
    assert!(first.awaited().is_some() && second.awaited().is_none());
    assert!(body(outcome(second)).starts_with("/second"));
    assert!(body(outcome(first)).starts_with("/slow"));
}

/// What is on the asking thread itself takes no place beside it, and needs none.
#[test]
fn a_kept_connection_serves_where_all_places_are_taken() {
    let (server, other) = (provider(), provider());
    let mut pool = pool_with_connection(&server);
    let others: Vec<_> =
        (0..MAX_REQUESTS).map(|_| pool.send(get(other.url("/hang")), None).unwrap()).collect();
    assert!(!pool.has_room());
    assert!(!pool.has_room_for(&get(other.url("/x"))), "it has no connection");
    assert!(pool.has_room_for(&get(server.url("/x"))));
    let first = pool.begin(get(server.url("/slow")), None).unwrap();
    assert!(!pool.has_room_for(&get(server.url("/x"))), "the connection is in use");
    assert_eq!(pool.begin(get(server.url("/x")), None).err().unwrap().kind, FaultKind::Busy);
    assert!(body(outcome(first)).starts_with("/slow"));
    drop(others);
}

#[test]
fn who_loses_interest_leaves_the_answer_to_be_kept() {
    let server = provider();
    let mut pool = pool_with_connection(&server);
    let (keep, told) = keeper();
    let mut ticket = pool.begin(get(server.url("/slow")), Some(keep)).unwrap();
    assert!(ticket.try_take().is_none());
    drop(ticket);
    assert!(body(told.recv_timeout(Duration::from_secs(5)).unwrap()).starts_with("/slow"));
    assert_eq!(server.requests().len(), 2);
    // The connection serves again.
    let next = pool.begin(get(server.url("/next")), None).unwrap();
    outcome(next).unwrap();
    assert_eq!(server.connections(), 1);
    // What was not begun is not sent.
    let (keep, told) = keeper();
    drop(pool.begin(get(server.url("/never")), Some(keep)).unwrap());
    assert!(told.recv().is_err(), "nothing came of it");
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn a_thread_can_take_over() {
    let server = provider();
    let mut pool = pool_with_connection(&server);
    let mut ticket = pool.begin(get(server.url("/slow")), None).unwrap();
    assert!(ticket.try_take().is_none());
    ticket.hand_over();
    assert!(ticket.awaited().is_none());
    assert!(body(outcome(ticket)).starts_with("/slow"));
    assert_eq!((server.requests().len(), server.connections()), (2, 1));
}

#[test]
fn a_connection_that_ended_is_replaced_or_named() {
    // It ends after each answer, which is seen before the next request.
    let server = Server::start(|mut visit| {
        visit.request();
        visit.send(ok("{}"));
    });
    let mut pool = pool_with_connection(&server);
    thread::sleep(Duration::from_millis(20));
    let ticket = pool.begin(get(server.url("/")), None).unwrap();
    assert!(ticket.awaited().is_none());
    outcome(ticket).unwrap();
    assert_eq!(server.connections(), 2);
    // It takes the second request and ends: that may have been billed.
    let server = Server::start(|mut visit| {
        visit.request();
        visit.send(ok("{}"));
        visit.request();
    });
    let mut pool = pool_with_connection(&server);
    let ticket = pool.begin(get(server.url("/")), None).unwrap();
    let fault = outcome(ticket).unwrap_err();
    assert!(fault.unanswered, "{fault}");
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn it_ends_with_its_time_and_with_the_session() {
    let server = provider();
    let mut pool = pool_with_connection(&server);
    let mut job = get(server.url("/hang"));
    job.timeout = Duration::from_millis(50);
    let started = Instant::now();
    let ticket = pool.begin(job, None).unwrap();
    assert_eq!(outcome(ticket).unwrap_err().kind, FaultKind::Timeout);
    assert!(started.elapsed() < Duration::from_millis(300));

    let mut pool = pool_with_connection(&server);
    let (keep, told) = keeper();
    let mut ticket = pool.begin(get(server.url("/hang")), Some(keep)).unwrap();
    assert!(ticket.try_take().is_none());
    pool.shutdown();
    let fault = told.try_recv().unwrap().unwrap_err();
    assert!(fault.message == ENDING && fault.went_out, "it may have been billed: {fault:?}");
    assert_eq!(ticket.try_take().unwrap().unwrap_err().message, ENDING);
}

#[test]
fn a_body_that_the_system_does_not_take_at_once_is_waited_for() {
    // Nothing of the body is read before the test says so: buffers alone take it until they are full.
    let (go, wait) = mpsc::channel();
    let wait = std::sync::Mutex::new(wait);
    let server = Server::start(move |mut visit| {
        visit.request();
        visit.send(ok("first"));
        lock(&wait).recv().unwrap();
        let length = visit.request().map_or(0, |request| request.len());
        visit.send(ok(&length.to_string()));
    });
    let mut pool = pool_with_connection(&server);
    let text = "x".repeat(16 * 1024 * 1024);
    let mut ticket = pool.begin(request(Method::Post, server.url("/large"), Some(&text)), None).unwrap();
    assert!(ticket.try_take().is_none());
    assert_eq!(ticket.awaited().unwrap().wants, Wants::Write, "no socket takes so much");
    go.send(()).unwrap();
    let length: usize = body(outcome(ticket)).parse().unwrap();
    assert!(length > text.len());
}

/// Whatever a provider sends without end, the asking thread comes back in between, and the request is over in time.
#[test]
fn a_flood_holds_up_nothing() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    const PLAIN: &str = "HTTP/1.1 200 OK\r\n\r\n";
    for (head, again) in [
        (CHUNKED.to_owned() + "0\r\n", "x: y\r\n".to_owned()),
        (CHUNKED.to_owned(), "1\r\nx\r\n".to_owned()),
        (String::new(), "HTTP/1.1 100 Continue\r\n\r\n".to_owned()),
        (PLAIN.to_owned(), "x".repeat(100)),
        ("HTTP/1.1 200 OK\r\n".to_owned(), "x: y\r\n".to_owned()),
    ] {
        let (begins, flood) = (head.clone(), again.repeat(1_000));
        let server = Server::start(move |mut visit| {
            visit.request();
            visit.send(ok("first"));
            visit.request();
            let mut stream = &visit.stream;
            let _ = stream.write_all(begins.as_bytes());
            while stream.write_all(flood.as_bytes()).is_ok() {}
        });
        let mut pool = pool_with_connection(&server);
        let mut job = get(server.url("/flood"));
        job.timeout = Duration::from_millis(500);
        let started = Instant::now();
        let mut ticket = pool.begin(job, None).unwrap();
        let outcome = loop {
            let look = Instant::now();
            let outcome = ticket.try_take();
            // Without end before.
            assert!(look.elapsed() < Duration::from_secs(2), "{head:?}: it did not come back");
            if let Some(outcome) = outcome {
                break outcome;
            }
        };
        let fault = outcome.expect_err("no answer has an end");
        assert!(
            matches!(fault.kind, FaultKind::TooLarge | FaultKind::Timeout | FaultKind::BadHttp),
            "{head:?}: {fault}"
        );
        assert!(started.elapsed() < Duration::from_secs(10), "{head:?}");
    }
}

#[test]
fn the_end_of_the_session_waits_for_requests_that_outlast_it_alone() {
    let server = provider();
    for outlasts in [true, false] {
        for kept in [true, false] {
            let mut pool = if kept {
                pool_with_connection(&server)
            } else {
                RequestPool::open(spawn, UNLIMITED).unwrap()
            };
            let (keep, told) = keeper();
            let mut request = pool.begin(Job { outlasts, ..get(server.url("/slow")) }, Some(keep)).unwrap();
            let _ = request.try_take();
            // Where a thread has it, that has sent it by then.
            thread::sleep(Duration::from_millis(60));
            pool.finish();
            pool.shutdown();
            let outcome = told.recv_timeout(Duration::from_secs(5)).unwrap();
            assert_eq!(outcome.is_ok(), outlasts, "{kept} {outcome:?}");
        }
    }
}

#[test]
fn what_does_not_outlast_the_session_is_told_so_beside_what_does() {
    let server = provider();
    for sent in [true, false] {
        let mut pool = pool_with_connection(&server);
        let ((keep_here, told_here), (keep, told)) = (keeper(), keeper());
        // Not sent yet, a request ends though it would outlast the session.
        let here = Job { outlasts: !sent, ..get(server.url("/hang")) };
        let mut here = pool.begin(here, Some(keep_here)).unwrap();
        if sent {
            let _ = here.try_take();
        }
        let _beside = pool.send(Job { outlasts: true, ..get(server.url("/slow")) }, Some(keep)).unwrap();
        pool.finish();
        assert!(told.recv_timeout(Duration::from_secs(1)).unwrap().is_ok());
        let fault = told_here.recv_timeout(Duration::from_secs(1)).unwrap().unwrap_err();
        assert_eq!((fault.kind, fault.went_out), (FaultKind::Busy, sent));
        pool.shutdown();
    }
}

/// Its call is cancelled, and the session ends before a thread has gone on with it.
#[test]
fn what_was_sent_is_told_so_whenever_the_session_ends() {
    let server = provider();
    for _ in 0..100 {
        let mut pool = pool_with_connection(&server);
        let (keep, told) = keeper();
        let mut request = pool.begin(get(server.url("/hang")), Some(keep)).unwrap();
        assert!(request.try_take().is_none());
        drop(request);
        pool.shutdown();
        let fault = told.recv_timeout(Duration::from_secs(1)).unwrap().unwrap_err();
        assert!(fault.went_out, "{fault:?}");
    }
}
