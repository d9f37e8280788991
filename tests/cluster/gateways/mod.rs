//! Real servers in front of the vendor: what they say in its place is theirs, and what they let through is the vendor's.

mod apache;
mod caddy;
mod haproxy;
mod lighttpd;
mod nginx;
mod squid;
mod varnish;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use postgres::Client;
use serde_json::{Value, json};

use crate::provider_faults::reason;
use crate::support::{Behaviour, Response, eventually, fails, http, person, server};
use crate::world::{Beginning, PATH, SECRET, World, enrich, try_enrich};

/// A server of Debian's, as an unprivileged user, with everything it writes in a directory of its own.
struct Gateway {
    process: Child,
    dir: PathBuf,
    port: u16,
    world: World,
    contacts: i32,
}

/// Free again: nothing listens there.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// One of Debians has no such package, so a test cannot ask for it; it says so, whatever the test harness captures.
fn is_absent(program: &str, package: &str) -> bool {
    let absent = !Path::new(program).exists();
    if absent {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: {program} is missing, as this Debian has no package {package}"
        );
    }
    absent
}

/// Everything that is answered to a plain request, interim answers included.
fn plainly(port: u16, target: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\nHost: api.vendor.example\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// What a gateway says in the vendor's place.
struct Word {
    path: &'static str,
    reason: &'static str,
    /// Everything that is told of it has this in it.
    shown: &'static str,
}

const fn word(path: &'static str, reason: &'static str, shown: &'static str) -> Word {
    Word { path, reason, shown }
}

impl Gateway {
    /// `conf` is made of directory, port and the vendor's port; `args` of the path of the file and the port.
    fn start(
        program: &str,
        conf: impl Fn(&str, u16, u16) -> String,
        args: impl Fn(&Path, u16) -> Vec<String>,
    ) -> Gateway {
        let world = World::with(&Beginning { contacts: 40, credits: Some(40), ..Beginning::default() });
        let dir = world.cluster.dir().join("gateway");
        server().make_dir(&dir).unwrap();
        let port = free_port();
        let file = dir.join("conf");
        fs::write(&file, conf(&dir.display().to_string(), port, world.provider.port())).unwrap();
        let log = fs::File::create(dir.join("output")).unwrap();
        let process = server()
            .command(program)
            .args(args(&file, port))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .env("HOME", &dir)
            .current_dir(&dir)
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; run `make prerequisites`"));
        let gateway = Gateway { process, dir, port, world, contacts: 0 };
        eventually("the gateway listens", Duration::from_secs(20), || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        gateway.world.provider.forget();
        gateway
    }

    /// From now on the provider is asked here.
    fn ask_at(&self, path: &str) {
        let config = json!({"request": {"url": format!("http://127.0.0.1:{}{path}", self.port)}});
        self.world
            .owner()
            .execute("SELECT leadlex.alter_provider('main', config => $1)", &[&config])
            .unwrap();
    }

    /// Whom nobody has asked about.
    fn someone(&mut self) -> i32 {
        self.contacts += 1;
        self.contacts
    }

    /// It is named, shown, lists nobody, is not remembered, and none of it has reached the vendor.
    fn says(&mut self, caller: &mut Client, words: &[Word]) {
        let n = self.someone();
        for Word { path, reason: expected, shown } in words {
            self.ask_at(path);
            let failure = fails(enrich(caller, n));
            assert_eq!(reason(&failure).1, *expected, "{path}: {failure:?}");
            let told = failure.json()["providers"][0]["message"].as_str().unwrap().to_owned();
            assert!(told.contains(shown), "{path}: {told}");
            assert!(!failure.everything().contains(SECRET), "{path}: {failure:?}");
            self.world.end_pauses();
        }
        assert_eq!(self.world.provider.count(), 0);
        assert_eq!(self.world.number("SELECT count(*) FROM leadlex.suppression"), 0);
        self.ask_at(PATH);
        enrich(caller, n).unwrap();
    }

    /// A match, no match, and a pause come through as the vendor means them.
    fn lets_through(&mut self, caller: &mut Client) {
        self.ask_at(PATH);
        let provider = &self.world.provider;
        provider.on(PATH, |_| Behaviour::json(200, person()));
        let n = self.someone();
        enrich(caller, n).unwrap();
        let answers: [(Response, Value); 3] = [
            (Response::json(404, &json!({"error": "not found"})), json!("no_data")),
            (Response { status: 204, headers: Vec::new(), body: Vec::new() }, json!("no_data")),
            (Response::json(451, &json!({"error": "opted out"})), json!("suppressed")),
        ];
        for (answer, expected) in answers {
            let status = answer.status;
            self.world.provider.on(PATH, move |_| match answer.status {
                204 => Behaviour::Raw(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
                _ => Behaviour::Answer(answer.clone()),
            });
            let n = self.someone();
            let told = try_enrich(caller, n);
            assert_eq!(told["error"]["reason"], expected, "{status}: {told}");
        }
        self.world.provider.on(PATH, |_| Behaviour::json(200, person()));
    }

    /// An interim answer of the vendor reaches us with header fields, and the real one after it is read.
    fn passes_on_interim_answers(&mut self, caller: &mut Client) {
        self.ask_at(PATH);
        self.world.provider.on(PATH, |_| {
            Behaviour::Custom(Box::new(|stream| {
                stream.write_all(b"HTTP/1.1 100 Continue\r\nX-Vendor: hello\r\n\r\n")?;
                std::thread::sleep(Duration::from_millis(30));
                http::answer(stream, &Response::json(200, &person()))
            }))
        });
        let answer = plainly(self.port, PATH);
        let (interim, rest) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            interim.starts_with("HTTP/1.1 100 Continue")
                && interim.to_lowercase().contains("x-vendor: hello"),
            "{answer}"
        );
        assert!(rest.starts_with("HTTP/1.1 200"), "{answer}");
        let n = self.someone();
        enrich(caller, n).unwrap();
        self.world.provider.on(PATH, |_| Behaviour::json(200, person()));
    }

    /// The vendor does not answer in the time that the gateway gives it.
    fn times_out(&mut self, path: &str, caller: &mut Client) {
        self.ask_at(path);
        self.world.provider.on(PATH, |_| Behaviour::json(200, person()).after(Duration::from_secs(4)));
        let n = self.someone();
        let failure = fails(enrich(caller, n));
        assert_eq!(reason(&failure).1, "server_error", "{failure:?}");
        assert!(failure.everything().contains("504"), "{failure:?}");
        self.world.provider.on(PATH, |_| Behaviour::json(200, person()));
        self.world.end_pauses();
    }

    /// The vendor reads the request on a used connection, and dies. It bills one request, and sees one.
    fn sends_once(&mut self, caller: &mut Client) {
        self.ask_at(PATH);
        self.world.provider.on(PATH, |_| Behaviour::json(200, person()));
        let n = self.someone();
        enrich(caller, n).unwrap();
        self.world.provider.forget();
        self.world.provider.on(PATH, |_| Behaviour::Close);
        let n = self.someone();
        let failure = fails(enrich(caller, n));
        assert!(["reset", "server_error"].contains(&reason(&failure).1.as_str()), "{failure:?}");
        assert_eq!(failure.json()["retryable"], true);
        assert_eq!(self.world.provider.count(), 1, "{failure:?}");
        self.world.end_pauses();
        self.world.provider.on(PATH, |_| Behaviour::json(200, person()));
        enrich(caller, n).unwrap();
        assert_eq!(self.world.provider.count(), 2);
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Asked first: only then does it take its own processes with it.
        let pid = self.process.id().to_string();
        let _ = Command::new("sh").args(["-c", "kill -s TERM \"$0\"", &pid]).output();
        let until = Instant::now() + Duration::from_secs(3);
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            for name in ["output", "log"] {
                eprintln!("{name}: {}", fs::read_to_string(self.dir.join(name)).unwrap_or_default());
            }
        }
    }
}
