//! Requests that share a thread: those for which a connection is kept.

use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;

use super::tests::{UNLIMITED, outcome, provider, stuck};
use super::*;
use crate::tests::{Server, get, ok, spawn};

const CONNECTIONS: usize = 16;

/// So many connections are kept, and no thread has work.
fn warm(pool: &mut RequestPool, server: &Server) {
    let tickets: Vec<PendingRequest> =
        (0..CONNECTIONS).map(|_| pool.send(get(server.url("/slow")), None).unwrap()).collect();
    tickets.into_iter().for_each(|ticket| assert_eq!(outcome(ticket).unwrap().status, 200));
}

/// It has had one request, whose connection is kept.
fn pool_with_connection(spawn: SpawnFn, server: &Server) -> RequestPool {
    let mut pool = RequestPool::open(spawn, UNLIMITED).unwrap();
    outcome(pool.send(get(server.url("/first")), None).unwrap()).unwrap();
    pool
}

/// As `provider`; `/slow` takes a while.
fn slow() -> Server {
    Server::start(|mut visit| {
        while let Some(request) = visit.request() {
            let name = request.split(['/', ' ']).nth(2).unwrap_or_default();
            match name {
                "slow" => thread::sleep(Duration::from_millis(100)),
                "large" => {
                    visit.send(ok(&"x".repeat(300_000)));
                    continue;
                }
                "hang" => {
                    visit.hang();
                    return;
                }
                _ => {}
            }
            visit.send(ok(name));
        }
    })
}

#[test]
fn where_connections_are_kept_one_thread_serves_all() {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    fn counted(name: &str, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        STARTED.fetch_add(1, Ordering::SeqCst);
        spawn(name, work)
    }
    let server = slow();
    let mut pool = RequestPool::open(counted, UNLIMITED).unwrap();
    warm(&mut pool, &server);
    assert_eq!((STARTED.load(Ordering::SeqCst), server.connections()), (CONNECTIONS, CONNECTIONS));
    for round in 0..50 {
        let names: Vec<String> = (0..CONNECTIONS).map(|at| format!("n{round}-{at}")).collect();
        let send = |name: &String| pool.send(get(server.url(&format!("/{name}"))), None).unwrap();
        let tickets: Vec<PendingRequest> = names.iter().map(send).collect();
        for (name, ticket) in names.iter().zip(tickets) {
            assert_eq!(outcome(ticket).unwrap().body, name.as_bytes());
        }
    }
    assert_eq!((STARTED.load(Ordering::SeqCst), server.connections()), (CONNECTIONS + 1, CONNECTIONS));
}

#[test]
fn one_that_hangs_or_is_large_keeps_no_other_waiting() {
    let server = slow();
    let mut pool = RequestPool::open(spawn, UNLIMITED).unwrap();
    warm(&mut pool, &server);
    let started = Instant::now();
    let mut hanging = get(server.url("/hang"));
    hanging.timeout = Duration::from_millis(300);
    let hanging = pool.send(hanging, None).unwrap();
    for _ in 0..10 {
        let large = pool.send(get(server.url("/large")), None).unwrap();
        let small = pool.send(get(server.url("/small")), None).unwrap();
        assert_eq!(outcome(small).unwrap().body, b"small");
        assert_eq!(outcome(large).unwrap().body.len(), 300_000);
    }
    assert!(started.elapsed() < Duration::from_millis(250), "{:?}", started.elapsed());
    assert_eq!(outcome(hanging).unwrap_err().kind, FaultKind::Timeout);
    let took = started.elapsed();
    assert!((300..450).contains(&took.as_millis()), "{took:?}");
}

#[test]
fn a_connection_that_is_closed_when_its_turn_comes_is_replaced() {
    let server = Server::start(|mut visit| {
        visit.request();
        visit.send(ok("once"));
    });
    let mut pool = RequestPool::open(spawn, UNLIMITED).unwrap();
    for _ in 0..20 {
        let ticket = pool.send(get(server.url("/x")), None).unwrap();
        assert_eq!(outcome(ticket).unwrap().body, b"once");
        // For the end of the connection to arrive.
        thread::sleep(Duration::from_millis(3));
    }
    assert_eq!((server.requests().len(), server.connections()), (20, 20));
}

#[test]
fn more_than_there_are_connections_make_others() {
    let server = slow();
    let mut pool = pool_with_connection(spawn, &server);
    warm(&mut pool, &server);
    assert_eq!(server.connections(), CONNECTIONS);
}

#[test]
fn one_that_is_dropped_before_it_began_is_never_made() {
    fn later(name: &str, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        let late = move || {
            thread::sleep(Duration::from_millis(100));
            work();
        };
        spawn(name, Box::new(late))
    }
    let server = provider();
    let mut pool = pool_with_connection(later, &server);
    drop(pool.send(get(server.url("/never")), None).unwrap());
    let ticket = pool.send(get(server.url("/made")), None).unwrap();
    assert_eq!(outcome(ticket).unwrap().body, b"made");
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn one_that_nobody_waits_for_any_more_is_told_to_its_keep() {
    let server = slow();
    let mut pool = pool_with_connection(spawn, &server);
    let (heard, hear) = mpsc::channel();
    let keep: Keep = Box::new(move |outcome| {
        heard.send(outcome.map(|a| a.body.clone()).ok()).unwrap();
        None
    });
    let before = server.requests().len();
    let ticket = pool.send(get(server.url("/slow")), Some(keep)).unwrap();
    while server.requests().len() == before {
        thread::sleep(Duration::from_millis(1));
    }
    drop(ticket);
    assert_eq!(hear.recv_timeout(Duration::from_secs(5)).unwrap(), Some(b"slow".to_vec()));
}

#[test]
fn what_waits_after_an_answer_keeps_no_other_waiting_and_its_asker_sees_it_done() {
    static DONE: AtomicUsize = AtomicUsize::new(0);
    let server = slow();
    let mut pool = RequestPool::open(spawn, UNLIMITED).unwrap();
    warm(&mut pool, &server);
    let started = Instant::now();
    let waiting = || -> Keep {
        let rest = || {
            thread::sleep(Duration::from_millis(300));
            DONE.fetch_add(1, Ordering::SeqCst);
        };
        Box::new(move |_| Some(Box::new(rest)))
    };
    let tickets: Vec<PendingRequest> =
        (0..4).map(|_| pool.send(get(server.url("/x")), Some(waiting())).unwrap()).collect();
    for _ in 0..10 {
        assert_eq!(outcome(pool.send(get(server.url("/y")), None).unwrap()).unwrap().body, b"y");
    }
    assert!(started.elapsed() < Duration::from_millis(200), "{:?}", started.elapsed());
    assert_eq!(DONE.load(Ordering::SeqCst), 0);
    tickets.into_iter().for_each(|ticket| assert_eq!(outcome(ticket).unwrap().body, b"x"));
    assert_eq!(DONE.load(Ordering::SeqCst), 4);
    assert!(started.elapsed() < Duration::from_millis(600), "{:?}", started.elapsed());
}

#[test]
fn what_may_not_be_sent_any_more_is_not() {
    let server = provider();
    let mut pool = pool_with_connection(spawn, &server);
    let mut job = get(server.url("/stopped"));
    job.may_send = || false;
    assert_eq!(outcome(pool.send(job, None).unwrap()).unwrap_err().kind, FaultKind::Stopped);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn the_end_of_the_session_ends_them_and_their_thread() {
    let server = provider();
    let mut pool = pool_with_connection(spawn, &server);
    let ticket = stuck(&mut pool, &server, 5_000);
    assert!(pool.shared.many.runs());
    let started = Instant::now();
    pool.shutdown();
    assert_eq!(outcome(ticket).unwrap_err().kind, FaultKind::Busy);
    while pool.shared.many.runs() {
        assert!(started.elapsed() < Duration::from_millis(500), "the thread goes on");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn answers_that_come_in_parts_are_put_together() {
    let server = Server::start(|mut visit| {
        while visit.request().is_some() {
            let answer = ok("{\"text\": \"in parts\"}");
            for part in answer.chunks(7) {
                visit.send(part);
                thread::sleep(Duration::from_millis(2));
            }
        }
    });
    let mut pool = RequestPool::open(spawn, UNLIMITED).unwrap();
    for _ in 0..3 {
        let ticket = pool.send(get(server.url("/x")), None).unwrap();
        assert_eq!(outcome(ticket).unwrap().body, b"{\"text\": \"in parts\"}");
    }
    assert_eq!(server.connections(), 1);
}
