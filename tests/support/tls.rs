//! A provider behind TLS, with whatever certificate a test gives it.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Somebody who signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A chain and its key.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// When a certificate is valid, as years.
#[derive(Clone, Copy)]
pub struct Years(pub i32, pub i32);

pub const VALID: Years = Years(2020, 2099);

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = params(&[], name, VALID);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, new_key()).expect("sound parameters"))
    }

    /// What somebody who trusts it has in his file of roots.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn issue(&self, host: &str, years: Years) -> Identity {
        let key = new_key();
        let certificate =
            params(&[host], host, years).signed_by(&key, &self.0).expect("sound parameters").der().clone();
        Identity { chain: vec![certificate], key: key.into() }
    }
}

/// A certificate that vouches for itself.
pub fn self_signed(host: &str) -> Identity {
    let key = new_key();
    let certificate = params(&[host], host, VALID).self_signed(&key).expect("sound parameters").der().clone();
    Identity { chain: vec![certificate], key: key.into() }
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a source of randomness")
}

fn params(hosts: &[&str], name: &str, Years(from, to): Years) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("sound names");
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    params
}

/// How an answer over TLS ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    KeepAlive,
    /// The connection is closed without TLS saying so, as somebody on the way could do it.
    Cut,
}

/// Gives every request the same bytes.
pub struct TlsProvider {
    port: u16,
    requests: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
}

impl TlsProvider {
    pub fn start(identity: Identity, answer: Vec<u8>, end: End) -> TlsProvider {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring knows them")
            .with_no_client_auth()
            .with_single_cert(identity.chain, identity.key)
            .expect("a key of its certificate");
        let (config, answer) = (Arc::new(config), Arc::new(answer));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let (requests, connections) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let stopped = Arc::new(AtomicBool::new(false));
        let (counts, stop) = ((Arc::clone(&requests), Arc::clone(&connections)), Arc::clone(&stopped));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                counts.1.fetch_add(1, Ordering::SeqCst);
                let (config, answer, requests) =
                    (Arc::clone(&config), Arc::clone(&answer), Arc::clone(&counts.0));
                // A handshake that fails is the test's wish.
                std::thread::spawn(move || converse(stream, config, &answer, end, &requests));
            }
        });
        TlsProvider { port, requests, connections, stopped }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for TlsProvider {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // The accepting thread notices at its next connection, which is this one.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn converse(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    answer: &[u8],
    end: End,
    requests: &AtomicUsize,
) -> io::Result<()> {
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut reader = BufReader::new(StreamOwned::new(connection, stream));
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line != "\r\n" {
            continue;
        }
        requests.fetch_add(1, Ordering::SeqCst);
        reader.get_mut().write_all(answer)?;
        reader.get_mut().flush()?;
        if end == End::Cut {
            return reader.get_ref().sock.shutdown(Shutdown::Both);
        }
    }
}
