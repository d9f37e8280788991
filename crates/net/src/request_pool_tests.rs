use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::thread;

use super::*;
use crate::tests::{Server, get, left, limited, ok, spawn};

pub const UNLIMITED: Announce = Announce { acquire: || true, release: || {} };

fn pool(spawn: SpawnFn) -> RequestPool {
    RequestPool::open(spawn, UNLIMITED).unwrap()
}

pub fn outcome(mut ticket: PendingRequest) -> RequestOutcome {
    let started = Instant::now();
    loop {
        if let Some(outcome) = ticket.try_take() {
            assert!(ticket.try_take().is_none(), "an outcome is given once");
            return outcome;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "no outcome");
        thread::sleep(Duration::from_micros(50));
    }
}

/// Answers `/name` with `name`, and `/hang…` never.
pub fn provider() -> Server {
    Server::start(|mut visit| {
        while let Some(request) = visit.request() {
            let name = request.split(['/', ' ']).nth(2).unwrap_or_default();
            if name.starts_with("hang") {
                visit.hang();
                return;
            }
            visit.send(ok(name));
        }
    })
}

fn hanging(server: &Server, timeout_ms: u64) -> Job {
    let mut job = get(server.url("/hang"));
    job.timeout = Duration::from_millis(timeout_ms);
    job
}

/// A request that the provider has received and will not answer.
pub fn stuck(pool: &mut RequestPool, server: &Server, timeout_ms: u64) -> PendingRequest {
    let before = server.requests().len();
    let ticket = pool.send(hanging(server, timeout_ms), None).unwrap();
    while server.requests().len() == before {
        thread::sleep(Duration::from_millis(1));
    }
    ticket
}

/// Those that have requests of their own, and the one that others share.
pub fn threads(pool: &RequestPool) -> usize {
    let threads = lock(&pool.shared.threads);
    threads.all.iter().filter(|worker| worker.strong_count() > 0).count()
        + usize::from(pool.shared.many.runs())
}

/// Whether poll() would call the descriptor readable; reads nothing.
fn rings(pool: &RequestPool) -> bool {
    let notifier = pool.shared.notifier.as_fd().try_clone_to_owned().unwrap();
    let mut bash = Command::new("bash");
    bash.args(["-c", "read -t 0"]).stdin(Stdio::from(notifier));
    bash.status().unwrap().success()
}

#[test]
fn one_thread_makes_the_connection_and_another_serves_call_after_call() {
    let server = provider();
    let mut pool = pool(spawn);
    for call in 0..200 {
        let ticket = pool.send(get(server.url(&format!("/{call}"))), None).unwrap();
        assert_eq!(outcome(ticket).unwrap().body, call.to_string().as_bytes());
    }
    assert_eq!((threads(&pool), server.connections()), (2, 1));
}

#[test]
fn the_notifier_tells_of_each_outcome_until_it_is_drained() {
    let server = provider();
    let mut pool = pool(spawn);
    for call in ["/first", "/second"] {
        let mut ticket = pool.send(get(server.url(call)), None).unwrap();
        while !rings(&pool) {
            thread::sleep(Duration::from_millis(1));
        }
        pool.drain();
        assert!(!rings(&pool));
        assert!(ticket.try_take().is_some(), "it rings when the outcome is there");
    }
    // For one that was given up, too: its place is free.
    drop(stuck(&mut pool, &server, 50));
    assert!(!rings(&pool));
    thread::sleep(Duration::from_millis(150));
    assert!(rings(&pool));
    assert_eq!(threads(&pool), 2);
}

#[test]
fn without_descriptors_there_is_no_pool_and_with_few_it_sends_fewer_at_a_time() {
    assert!(matches!(RequestPool::open(spawn, limited(4)), Err(OpenError::NoRoom)));
    assert_eq!(left(), 4);
    let server = provider();
    let mut pool = RequestPool::open(spawn, limited(8)).unwrap();
    let first = stuck(&mut pool, &server, 400);
    let fault = pool.send(get(server.url("/more")), None).err().unwrap();
    assert_eq!(fault.kind, FaultKind::Busy);
    assert!(outcome(first).is_err());
    let ticket = pool.send(get(server.url("/again")), None).unwrap();
    assert_eq!(outcome(ticket).unwrap().body, b"again");
    drop(pool);
    assert_eq!(left(), 8, "all is taken back");
}

#[test]
fn idle_connections_give_way_when_descriptors_are_short() {
    let servers: Vec<Server> = (0..6).map(|_| provider()).collect();
    let mut pool = RequestPool::open(spawn, limited(7)).unwrap();
    for _ in 0..2 {
        for server in &servers {
            let ticket = pool.send(get(server.url("/x")), None).unwrap();
            assert_eq!(outcome(ticket).unwrap().body, b"x");
        }
    }
}

#[test]
fn an_abandoned_request_holds_up_nobody_and_its_thread_comes_back() {
    let server = provider();
    let mut pool = pool(spawn);
    drop(stuck(&mut pool, &server, 300));
    let started = Instant::now();
    let ticket = pool.send(get(server.url("/quick")), None).unwrap();
    assert_eq!(outcome(ticket).unwrap().body, b"quick");
    assert!(started.elapsed() < Duration::from_millis(150));
    assert_eq!(threads(&pool), 2);
    thread::sleep(Duration::from_millis(400));
    assert_eq!(lock(&pool.shared.threads).idle.len(), 2);
}

#[test]
fn a_request_that_is_dropped_before_it_began_is_never_made() {
    fn later(_: &str, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        spawn(
            "late",
            Box::new(move || {
                thread::sleep(Duration::from_millis(100));
                work();
            }),
        )
    }
    let server = provider();
    let mut pool = pool(later);
    drop(pool.send(get(server.url("/never")), None).unwrap());
    let ticket = pool.send(get(server.url("/made")), None).unwrap();
    assert_eq!(outcome(ticket).unwrap().body, b"made");
    assert_eq!((server.requests().len(), threads(&pool)), (1, 1));
}

#[test]
fn threads_without_work_end_and_new_ones_take_their_place() {
    let server = provider();
    let mut pool = RequestPool::with_max_idle(spawn, UNLIMITED, Duration::from_millis(30)).unwrap();
    for call in ["first", "second", "third"] {
        let ticket = pool.send(get(server.url(&format!("/{call}"))), None).unwrap();
        assert_eq!(outcome(ticket).unwrap().body, call.as_bytes());
        assert_eq!(threads(&pool), 1);
        thread::sleep(Duration::from_millis(200));
        assert_eq!(threads(&pool), 0);
    }
    // Connections belong to no thread.
    assert_eq!(server.connections(), 1);
}

#[test]
fn no_answer_is_ever_taken_for_another() {
    let server = provider();
    let mut pool = pool(spawn);
    let mut waiting = Vec::new();
    // A fixed sequence of pseudo-random choices, so that a failure can be repeated.
    let mut dice: u32 = 1;
    for call in 0..3_000 {
        dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let name = format!("n{call}");
        let ticket = pool.send(get(server.url(&format!("/{name}"))), None).unwrap();
        match dice >> 30 {
            0 => drop(ticket),
            1 => {
                thread::sleep(Duration::from_micros(u64::from(dice >> 22 & 0xff)));
                drop(ticket);
            }
            2 if waiting.len() < 8 => waiting.push((name, ticket)),
            _ => assert_eq!(outcome(ticket).unwrap().body, name.as_bytes()),
        }
        if dice >> 28 & 3 == 0 {
            for (name, ticket) in waiting.drain(..) {
                assert_eq!(outcome(ticket).unwrap().body, name.as_bytes());
            }
        }
    }
    assert!(threads(&pool) < 32, "{} threads", threads(&pool));
}

#[test]
fn requests_beyond_the_cap_are_a_fault_until_earlier_ones_end() {
    let server = provider();
    let mut pool = pool(spawn);
    let mut tickets = Vec::new();
    for _ in 0..MAX_REQUESTS {
        tickets.push(stuck(&mut pool, &server, 1_000));
    }
    let busy = |pool: &mut RequestPool| pool.send(get(server.url("/more")), None).err().map(|f| f.kind);
    assert_eq!(busy(&mut pool), Some(FaultKind::Busy));
    drop(tickets);
    assert_eq!(busy(&mut pool), Some(FaultKind::Busy), "abandoned ones count");
    thread::sleep(Duration::from_millis(1_300));
    let ticket = pool.send(get(server.url("/again")), None).unwrap();
    assert_eq!(outcome(ticket).unwrap().body, b"again");
    assert_eq!(threads(&pool), MAX_REQUESTS);
}

/// Who waits for a place waits for the notice.
#[test]
fn a_request_that_was_given_up_takes_a_place_and_rings_when_it_ends() {
    let server = provider();
    let mut pool = pool(spawn);
    let tickets: Vec<_> = (0..MAX_REQUESTS).map(|_| stuck(&mut pool, &server, 1_000)).collect();
    pool.drain();
    drop(tickets);
    assert!(!pool.has_room() && !pool.has_room_for(&get(server.url("/x"))));
    assert!(!rings(&pool));
    thread::sleep(Duration::from_millis(1_300));
    assert!(rings(&pool));
    assert!(pool.has_room());
}

#[test]
fn shutdown_ends_requests_and_threads_at_once() {
    let server = provider();
    let mut pool = pool(spawn);
    let warm = pool.send(get(server.url("/x")), None).unwrap();
    outcome(warm).unwrap();
    let ticket = stuck(&mut pool, &server, 5_000);
    drop(stuck(&mut pool, &server, 5_000));
    let started = Instant::now();
    pool.shutdown();
    assert!(started.elapsed() < Duration::from_millis(50));
    assert_eq!(outcome(ticket).unwrap_err().kind, FaultKind::Busy, "the provider is not to blame");
    assert!(started.elapsed() < Duration::from_millis(200));
    assert!(pool.send(get(server.url("/x")), None).is_err());
    thread::sleep(Duration::from_millis(100));
    assert_eq!(threads(&pool), 0);
}

#[test]
fn an_answer_that_our_hanging_up_cut_short_is_no_fault_of_the_provider() {
    // Without a length, its end is that of the connection.
    for length in ["Content-Length: 1000", "Connection: close"] {
        let server = Server::start(move |mut visit| {
            visit.request();
            visit.send(format!("HTTP/1.1 200 OK\r\n{length}\r\n\r\n{{\"title\": \"CTO\", \"phone\":"));
            visit.hang();
        });
        let mut pool = pool(spawn);
        let (heard, hear) = std::sync::mpsc::channel();
        let keep: Keep = Box::new(move |outcome| {
            heard.send(outcome.map(drop).map_err(|f| f.kind)).unwrap();
            None
        });
        let ticket = pool.send(get(server.url("/x")), Some(keep)).unwrap();
        while server.requests().is_empty() {
            thread::sleep(Duration::from_millis(1));
        }
        // For the beginning of the answer to arrive.
        thread::sleep(Duration::from_millis(50));
        pool.shutdown();
        assert_eq!(outcome(ticket).unwrap_err().kind, FaultKind::Busy, "{length}");
        assert_eq!(hear.recv().unwrap().unwrap_err(), FaultKind::Busy, "{length}");
    }
}

#[test]
fn threads_that_cannot_start_are_a_fault() {
    fn fail(_: &str, _: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(11))
    }
    let mut pool = pool(fail);
    for _ in 0..2 * MAX_REQUESTS {
        let fault = pool.send(get("http://127.0.0.1:9/".into()), None).err().unwrap();
        assert_eq!(fault.kind, FaultKind::Internal);
    }
}
