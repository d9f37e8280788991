use super::*;

#[test]
fn special_addresses_are_not_public_from_their_first_to_their_last() {
    for (first, last) in [
        ("0.0.0.0", "0.255.255.255"),
        ("10.0.0.0", "10.255.255.255"),
        ("100.64.0.0", "100.127.255.255"),
        ("127.0.0.0", "127.255.255.255"),
        ("169.254.0.0", "169.254.255.255"),
        ("172.16.0.0", "172.31.255.255"),
        ("192.0.0.0", "192.0.0.255"),
        ("192.0.2.0", "192.0.2.255"),
        ("192.88.99.0", "192.88.99.255"),
        ("192.168.0.0", "192.168.255.255"),
        ("198.18.0.0", "198.19.255.255"),
        ("198.51.100.0", "198.51.100.255"),
        ("203.0.113.0", "203.0.113.255"),
        ("224.0.0.0", "255.255.255.255"),
        ("::", "::ffff"),
        ("::1", "::1"),
        ("::ffff:10.0.0.0", "::ffff:10.255.255.255"),
        ("::ffff:127.0.0.1", "::ffff:169.254.169.254"),
        ("::8.8.8.8", "::127.0.0.1"),
        ("64:ff9b::10.0.0.1", "64:ff9b::127.0.0.1"),
        ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"),
        ("64:ff9b:0:1::8.8.8.8", "64:ff9b:0:1::8.8.8.8"),
        ("100::", "100::ffff:ffff:ffff:ffff"),
        ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("2002:a00:1::", "2002:7f00:1::"),
        ("2002:c0a8:101::1", "2002:a9fe:a9fe::"),
        ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ] {
        for address in [first, last] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }
}

#[test]
fn their_neighbours_are_public() {
    for address in [
        "1.0.0.0",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.0.3.0",
        "192.88.98.255",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.101.0",
        "203.0.112.255",
        "223.255.255.255",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2001:200::",
        "2001:db7:ffff::",
        "2001:db9::",
        "2001:4860:4860::8888",
        "2002:808:808::",
        "2606:4700::1111",
        "3ffe::1",
        "3fff:1000::",
    ] {
        assert!(is_public(address.parse().unwrap()), "{address}");
    }
}

fn lookup(allow_private: bool) -> Lookup {
    Lookup { allow_private, spawn: crate::tests::spawn, running: Arc::default(), strays: Arc::default() }
}

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn private_answers_are_dropped_from_among_public_ones() {
    let mixed = addresses(&["10.0.0.1:80", "8.8.8.8:80", "[::1]:80", "[2606:4700::1]:80"]);
    let left = lookup(false).permitted("h", mixed.clone()).unwrap();
    assert_eq!(left, addresses(&["8.8.8.8:80", "[2606:4700::1]:80"]));
    assert_eq!(lookup(true).permitted("h", mixed.clone()).unwrap(), mixed);
    let fault = lookup(false).permitted("inner.example", addresses(&["10.1.2.3:80"])).unwrap_err();
    assert_eq!(fault.kind, FaultKind::AddressRefused);
    assert!(fault.message.contains("inner.example") && !fault.message.contains("10.1"));
}

#[test]
fn literal_addresses_need_no_thread() {
    fn no_thread(_: &str, _: Box<dyn FnOnce() + Send>) -> std::io::Result<()> {
        panic!("no thread was needed")
    }
    let lookup =
        Lookup { allow_private: false, spawn: no_thread, running: Arc::default(), strays: Arc::default() };
    let limit = Duration::from_secs(1);
    let v4 = lookup.addresses("8.8.8.8", 443, limit).unwrap();
    assert_eq!(v4, addresses(&["8.8.8.8:443"]));
    let v6 = lookup.addresses("[2606:4700::1]", 80, limit).unwrap();
    assert_eq!(v6, addresses(&["[2606:4700::1]:80"]));
}

#[test]
fn lookups_end_in_time_and_never_pile_up() {
    // A resolver that hangs: its work is never run, and never dropped either.
    fn hang(_: &str, work: Box<dyn FnOnce() + Send>) -> std::io::Result<()> {
        std::mem::forget(work);
        Ok(())
    }
    let lookup =
        Lookup { allow_private: false, spawn: hang, running: Arc::default(), strays: Arc::default() };
    let kind = || {
        let outcome = lookup.addresses("host.example", 80, Duration::from_millis(1));
        outcome.unwrap_err().kind
    };
    for _ in 0..MAX_LOOKUPS {
        assert_eq!(kind(), FaultKind::Timeout);
    }
    assert_eq!(kind(), FaultKind::Busy);
    assert_eq!(kind(), FaultKind::Busy);
}

#[test]
fn threads_that_cannot_start_are_a_fault_and_are_not_counted() {
    fn fail(_: &str, _: Box<dyn FnOnce() + Send>) -> std::io::Result<()> {
        Err(std::io::Error::from_raw_os_error(11))
    }
    let lookup =
        Lookup { allow_private: false, spawn: fail, running: Arc::default(), strays: Arc::default() };
    for _ in 0..2 * MAX_LOOKUPS {
        let outcome = lookup.addresses("host.example", 80, Duration::from_secs(1));
        assert_eq!(outcome.unwrap_err().kind, FaultKind::Internal);
    }
}
