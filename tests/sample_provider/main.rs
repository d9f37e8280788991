//! Stand-ins for two vendors, answering from files of synthetic people: People Data Labs (`GET /v5/person/enrich`), and a
//! service that knows telephone numbers (`GET /v1/phone`).
//!
//! ```text
//! sample_provider [--port 0] [--port-file FILE] [--people FILE] [--phones FILE] [--key demo-secret] [--delay-ms 0]
//! ```
//! Port 0 takes a free one. Once it accepts connections, the port is written to --port-file and standard output.

#![forbid(unsafe_code)]

#[path = "../support/http.rs"]
#[allow(dead_code)] // the test provider uses the rest
mod http;
mod people;
mod vendor;

use std::io::{self, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use people::{People, Phones};
use vendor::Vendor;

struct Options {
    port: u16,
    port_file: Option<PathBuf>,
    people: PathBuf,
    phones: PathBuf,
    key: String,
    delay: Duration,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options {
            port: 0,
            port_file: None,
            people: Path::new(env!("CARGO_MANIFEST_DIR")).join("people.json"),
            phones: Path::new(env!("CARGO_MANIFEST_DIR")).join("phones.json"),
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
                "--phones" => options.phones = value.into(),
                "--key" => options.key = value,
                "--delay-ms" => options.delay = Duration::from_millis(number()?),
                _ => return Err(format!("unknown option {name}")),
            }
        }
        Ok(options)
    }
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

fn read<T>(path: &Path, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, String> {
    let wrong = |error: String| format!("{}: {error}", path.display());
    parse(&std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?).map_err(wrong)
}

fn run() -> Result<(), String> {
    let options = Options::parse(std::env::args().skip(1))?;
    let people = read(&options.people, People::parse)?;
    let phones = read(&options.phones, Phones::parse)?;
    let listener = TcpListener::bind(("127.0.0.1", options.port)).map_err(|error| error.to_string())?;
    let port = listener.local_addr().map_err(|error| error.to_string())?.port();
    announce(port, options.port_file.as_deref()).map_err(|error| error.to_string())?;
    http::serve(&listener, &Arc::new(Vendor { people, phones, key: options.key, delay: options.delay }));
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
