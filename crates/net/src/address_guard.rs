//! Which addresses may be connected to, and how a host name becomes such addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::descriptors::{Count, Counted};
use super::thread::SpawnFn;
use leadlex_domain::provider::{Fault, FaultKind};

/// A resolver that hangs holds its thread until the system gives up, perhaps for half a minute.
const MAX_LOOKUPS: usize = 64;

/// Whether an address belongs to the public Internet. What is not known to does not.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match (a, b, c) {
        // "This network", loopback, private.
        (0 | 10 | 127, _, _) | (172, 16..=31, _) | (192, 168, _) => true,
        // Shared (CGNAT), link-local.
        (100, 64..=127, _) | (169, 254, _) => true,
        // Protocol assignments, documentation, 6to4 relays, benchmarking.
        (192, 0, 0 | 2) | (198, 51, 100) | (203, 0, 113) | (192, 88, 99) | (198, 18 | 19, _) => true,
        // Multicast, reserved, broadcast.
        (224..=255, _, _) => true,
        _ => false,
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, ..] = address.segments();
    let [.., w, x, y, z] = address.octets();
    let last_four = Ipv4Addr::new(w, x, y, z);
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    match (a, b) {
        // NAT64: what it leads to decides.
        (0x64, 0xff9b) if address.segments()[2..6] == [0; 4] => is_public_v4(last_four),
        // 6to4: likewise.
        (0x2002, _) => {
            let [b_high, b_low] = b.to_be_bytes();
            let [c_high, c_low] = c.to_be_bytes();
            is_public_v4(Ipv4Addr::new(b_high, b_low, c_high, c_low))
        }
        // Protocol assignments 2001::/23, among them Teredo, benchmarking and ORCHID; documentation.
        (0x2001, 0..=0x1ff | 0xdb8) | (0x3fff, 0..=0xfff) => false,
        // Global unicast. All else is special: ::, ::1, IPv4-compatible, 64:ff9b:1::/48, discard 100::/64, segment
        // routing 5f00::/16, unique local, link-local, site-local, multicast.
        (0x2000..=0x3fff, _) => true,
        _ => false,
    }
}

/// Turns a host into the addresses that may be connected to.
pub struct Lookup {
    pub allow_private: bool,
    pub spawn: SpawnFn,
    pub running: Arc<AtomicUsize>,
    /// Of those, how many nobody waits for any more.
    pub strays: Count,
}

impl Lookup {
    /// `host` as it stands in a URL, an IPv6 address in brackets.
    /// `limit` is the time that the look-up may take. The fault is `dns` (no such host, or no address),
    /// `address_refused` (no address is public), `timeout`, `busy` (too many look-ups are under way) or
    /// `internal` (no thread could be started).
    pub fn addresses(&self, host: &str, port: u16, limit: Duration) -> Result<Vec<SocketAddr>, Fault> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let found = match bare.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => self.resolve(bare, port, limit)?,
        };
        if found.is_empty() {
            return Err(unresolved(host, "it has no address"));
        }
        self.permitted(host, found)
    }

    fn permitted(&self, host: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Fault> {
        if self.allow_private {
            return Ok(found);
        }
        let public: Vec<SocketAddr> = found.into_iter().filter(|address| is_public(address.ip())).collect();
        if public.is_empty() {
            // The address itself stays unsaid: names of inner networks are nobody's to map from here.
            let message =
                format!("{host} is not a public address, and leadlex.allow_private_addresses is off");
            return Err(Fault::new(FaultKind::AddressRefused, message));
        }
        Ok(public)
    }

    /// In a thread of its own, since the system's resolver knows no time limit that a caller could set.
    fn resolve(&self, host: &str, port: u16, limit: Duration) -> Result<Vec<SocketAddr>, Fault> {
        if self.running.fetch_add(1, Ordering::Relaxed) >= MAX_LOOKUPS {
            self.running.fetch_sub(1, Ordering::Relaxed);
            return Err(Fault::new(
                FaultKind::Busy,
                format!("{MAX_LOOKUPS} look-ups of host names are under way in this session"),
            ));
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        // Lives as long as either side of the look-up, and with it what is put into it.
        let stray = Arc::new(OnceLock::new());
        let held = Arc::clone(&stray);
        let (name, running) = (host.to_owned(), Arc::clone(&self.running));
        let started = (self.spawn)(
            "leadlex dns",
            Box::new(move || {
                let found = (name.as_str(), port).to_socket_addrs().map(|list| list.collect());
                running.fetch_sub(1, Ordering::Relaxed);
                drop(held);
                // Nobody waits any more when the time is over.
                let _ = sender.send(found);
            }),
        );
        if let Err(error) = started {
            self.running.fetch_sub(1, Ordering::Relaxed);
            let message = format!("could not start a thread: {error}");
            return Err(Fault::new(FaultKind::Internal, message));
        }
        match receiver.recv_timeout(limit) {
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(error)) => Err(unresolved(host, &error.to_string())),
            Err(RecvTimeoutError::Timeout) => {
                let _ = stray.set(Counted::new(&self.strays));
                Err(Fault::new(FaultKind::Timeout, format!("the look-up of {host} took too long")))
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(Fault::new(FaultKind::Internal, "the look-up ended early"))
            }
        }
    }
}

fn unresolved(host: &str, why: &str) -> Fault {
    Fault::new(FaultKind::Dns, format!("could not resolve {host}: {why}"))
}

#[cfg(test)]
#[path = "address_guard_tests.rs"]
mod tests;
