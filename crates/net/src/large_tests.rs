//! Large answers: together they stay below the session's limit, none is lost for that, and none is kept after it was told.

use std::io::Write;

use super::tests::{UNLIMITED, outcome};
use super::*;
use crate::Budget;
use crate::tests::{Server, get, ok, spawn};

const LENGTH: usize = 300_000;
const LIMIT: usize = 800_000;

/// With a length, in chunks, or packed, by the path.
fn large(request: &str) -> Vec<u8> {
    let body = "x".repeat(LENGTH);
    if request.contains("/length") {
        return ok(&body);
    }
    if request.contains("/gzip") {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(body.as_bytes()).unwrap();
        let packed = encoder.finish().unwrap();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", packed.len());
        return [head.into_bytes(), packed].concat();
    }
    let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.as_bytes().chunks(10_000) {
        answer.extend(format!("{:x}\r\n", chunk.len()).bytes());
        answer.extend(chunk);
        answer.extend(b"\r\n");
    }
    answer.extend(b"0\r\n\r\n");
    answer
}

#[test]
fn together_they_stay_below_the_limit_and_all_are_told() {
    let server = Server::answering(large);
    let mut pool = RequestPool::open(spawn, UNLIMITED).unwrap();
    let (budget, told) = (Arc::new(Budget::default()), Arc::new(Mutex::new(Vec::new())));
    let mut tickets = Vec::new();
    for path in ["/length", "/chunked", "/gzip"].repeat(4) {
        let mut job = get(server.url(path));
        job.max_body_bytes = LIMIT;
        job.share = Some(Arc::new(budget.share(LIMIT, LIMIT)));
        let (told, budget) = (Arc::clone(&told), Arc::clone(&budget));
        let keep: Keep = Box::new(move |answer| {
            let length = answer.map(|answer| answer.body.len()).map_err(|fault| fault.message.clone());
            told.lock().unwrap().push((length, budget.held()));
            None
        });
        tickets.push(pool.send(job, Some(keep)).unwrap());
    }
    for ticket in tickets {
        assert_eq!(outcome(ticket).unwrap().body.len(), 0, "it was told, and is thrown away");
    }
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 12);
    for (length, held) in told.iter() {
        assert_eq!(length, &Ok(LENGTH));
        assert!((LENGTH..=LIMIT).contains(held), "{held}");
    }
    assert_eq!(budget.held(), 0);
}

#[test]
fn one_that_is_too_long_is_refused() {
    let server = Server::answering(large);
    let mut pool = RequestPool::open(spawn, UNLIMITED).unwrap();
    let budget = Arc::new(Budget::default());
    for path in ["/length", "/chunked", "/gzip"] {
        let mut job = get(server.url(path));
        job.max_body_bytes = LENGTH - 1;
        job.share = Some(Arc::new(budget.share(LENGTH - 1, LIMIT)));
        let ticket = pool.send(job, None).unwrap();
        assert_eq!(outcome(ticket).unwrap_err().kind, FaultKind::TooLarge, "{path}");
    }
    assert_eq!(budget.held(), 0);
}
