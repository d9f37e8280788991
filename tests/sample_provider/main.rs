//! A stand-in for People Data Labs: `GET /v5/person/enrich`, answering from a file of synthetic people.
//!
//! ```text
//! sample_provider [--port 0] [--port-file FILE] [--people FILE] [--key demo-secret] [--delay-ms 0]
//! ```
//! Port 0 takes a free one. Once it accepts connections, the port is written to --port-file and standard output.

#[path = "../support/http.rs"]
#[allow(dead_code)] // the test provider uses the rest
mod http;
mod people;

use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use http::{Handler, Next, Request, Response};
use people::{People, Question};
use serde_json::{Value, json};

struct Options {
    port: u16,
    port_file: Option<PathBuf>,
    people: PathBuf,
    key: String,
    delay: Duration,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options {
            port: 0,
            port_file: None,
            people: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sample_provider/people.json"),
            key: "demo-secret".to_owned(),
            delay: Duration::ZERO,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            let number = || value.parse::<u64>().map_err(|_| format!("{name} needs a number, not {value}"));
            match name.as_str() {
                "--port" => {
                    options.port = u16::try_from(number()?).map_err(|_| format!("{value} is no port"))?;
                }
                "--port-file" => options.port_file = Some(value.into()),
                "--people" => options.people = value.into(),
                "--key" => options.key = value,
                "--delay-ms" => options.delay = Duration::from_millis(number()?),
                _ => return Err(format!("unknown option {name}")),
            }
        }
        Ok(options)
    }
}

struct Vendor {
    people: People,
    key: String,
    delay: Duration,
}

impl Handler for Vendor {
    fn handle(&self, request: Request, stream: &mut TcpStream) -> io::Result<Next> {
        std::thread::sleep(self.delay);
        http::answer(stream, &self.respond(&request))
    }
}

impl Vendor {
    fn respond(&self, request: &Request) -> Response {
        if request.path != "/v5/person/enrich" {
            return refusal(404, "not_found", "There is no such endpoint");
        }
        if request.method != "GET" {
            return refusal(405, "invalid_request_error", "Only GET is supported here");
        }
        if request.header("x-api-key").or(request.param("api_key")) != Some(self.key.as_str()) {
            return refusal(401, "authentication_error", "Request contained a missing or invalid key");
        }
        let question = Question::from(request);
        if !question.identifies() {
            let message = "Send email, phone or profile, or name together with company or location";
            return refusal(400, "invalid_request_error", message);
        }
        match self.people.find(&question) {
            Some(person) => Response::json(200, &person),
            None => refusal(404, "not_found", "No records were found matching your request"),
        }
    }
}

fn refusal(status: u16, kind: &str, message: &str) -> Response {
    let body: Value = json!({"status": status, "error": {"type": kind, "message": message}});
    Response::json(status, &body)
}

/// Readers of the file never see half of it.
fn announce(port: u16, file: Option<&Path>) -> io::Result<()> {
    if let Some(file) = file {
        let half_written = file.with_extension("new");
        std::fs::write(&half_written, format!("{port}\n"))?;
        std::fs::rename(half_written, file)?;
    }
    // Whoever started this may not be reading.
    let _ = writeln!(io::stdout(), "{port}");
    Ok(())
}

fn run() -> Result<(), String> {
    let options = Options::parse(std::env::args().skip(1))?;
    let place = options.people.display();
    let text = std::fs::read_to_string(&options.people).map_err(|error| format!("{place}: {error}"))?;
    let people = People::parse(&text).map_err(|error| format!("{place}: {error}"))?;
    let listener = TcpListener::bind(("127.0.0.1", options.port)).map_err(|error| error.to_string())?;
    let port = listener.local_addr().map_err(|error| error.to_string())?.port();
    announce(port, options.port_file.as_deref()).map_err(|error| error.to_string())?;
    http::serve(&listener, &Arc::new(Vendor { people, key: options.key, delay: options.delay }));
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("sample_provider: {message}");
            ExitCode::FAILURE
        }
    }
}
