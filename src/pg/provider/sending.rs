//! One request: its secret, whether it may be sent now, and how it ended.

use crate::pg::sys::clock;
use std::time::{Duration, Instant};

use crate::pg::installation::account_key;
use crate::pg::limits::accounts;
use crate::pg::provider::health;
use crate::pg::provider::health::InFlightRequest;
use crate::pg::shared::wait;
use crate::pg::shared::wait::{On, Sent};
use crate::pg::store::config::LoadedProvider;
use crate::pg::sys::settings;
use leadlex_domain::hash::Hash;
use leadlex_domain::health::{Pause, Permit, Question};
use leadlex_domain::person::Person;
use leadlex_domain::provider::{Config, Fault, FaultKind, HttpRequest, Inquiry, LoginValues, Next, Verdict};
use leadlex_domain::rate::Limits;
use leadlex_net::{Job, Keep};

/// A secret file larger than this is no secret.
const MAX_SECRET_BYTES: u64 = 64 * 1_024;
/// Of a request's URL and header. Most servers take 8 to 32 kB; the client could not send more than 64.
const MAX_HEAD_BYTES: usize = 60_000;
/// How much longer than its time a probe is waited for.
const PROBE_GRACE: Duration = Duration::from_secs(1);

/// A request, and which description and secret it was made with.
pub struct Prepared {
    pub request: HttpRequest,
    pub question: Question,
}

/// What is to be sent next.
pub enum Ready {
    Send(Box<Prepared>),
    /// What the login gives comes first.
    LogIn,
    /// The contact lacks what identifies it, or what the request needs; with what earlier steps supplied.
    Nothing(Option<Verdict>),
}

/// The next request of a question. `login`: what the provider's login gave, if that is known.
pub fn prepare(
    provider: &LoadedProvider,
    config: &Config,
    (inquiry, person): (&Inquiry, &Person),
    login: Option<&LoginValues>,
) -> Result<Ready, Fault> {
    if provider.secret.is_none() && config.needs_secret() {
        return Err(Fault::without_secret(&provider.name));
    }
    let secret = provider.secret.as_deref().map(|secret| reveal(&provider.name, secret)).transpose()?;
    let identity = identity(provider, secret.as_deref());
    let request = match inquiry.next(config, person, secret.as_deref(), login) {
        Next::Send(request) => *request,
        Next::LogIn => return Ok(Ready::LogIn),
        Next::Nothing(so_far) => return Ok(Ready::Nothing(so_far)),
    };
    if request.head_bytes() > MAX_HEAD_BYTES {
        let message = format!(
            "not sent: URL and header of the request would be larger than {MAX_HEAD_BYTES} bytes, more than servers take"
        );
        return Err(Fault::new(FaultKind::TooLarge, message));
    }
    let question = Question { identity, hash: hash(identity, &request) };
    Ok(Ready::Send(Box::new(Prepared { request, question })))
}

/// Which description and secret it is.
pub fn identity(provider: &LoadedProvider, secret: Option<&str>) -> Hash {
    let secret = secret.unwrap_or_default();
    leadlex_domain::hash::hash(&[provider.revision.as_bytes(), &provider.fingerprint, secret.as_bytes()])
}

/// Of what is asked. The secret is part of it, so that nobody can tell from it whom it is about.
fn hash(identity: Hash, request: &HttpRequest) -> Hash {
    let HttpRequest { method, url, body, .. } = request;
    let body = body.as_deref().unwrap_or_default();
    leadlex_domain::hash::hash(&[&identity, method.name().as_bytes(), url.as_bytes(), body])
}

/// Of the description and the secret as they are now; `None` where the secret cannot be read.
pub fn present_identity(provider: &LoadedProvider) -> Option<Hash> {
    let secret = provider.secret.as_deref().map(|secret| reveal(&provider.name, secret)).transpose().ok()?;
    Some(identity(provider, secret.as_deref()))
}

/// How long the provider is waited for: its own time can be shorter than the superuser's setting, not longer.
pub fn time_for(config: &Config) -> Duration {
    let longest = settings::provider_timeout();
    config.timeout_ms().map_or(longest, |ms| longest.min(Duration::from_millis(u64::from(ms))))
}

/// After so long a request that is sent now is over, and what came of it is kept.
pub fn longest(config: &Config, left: Duration) -> Duration {
    const KEEPING: Duration = Duration::from_secs(1);
    time_for(config).min(left) + KEEPING
}

/// Until when the thread of a request that is sent now may take to keep what comes of it, and be heard by the backend.
pub fn longest_wait(config: &Config, left: Duration) -> Instant {
    const TO_TELL: Duration = Duration::from_millis(50);
    Instant::now() + time_for(config).min(left) + wait::GRACE - TO_TELL
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A call about one contact, which is told at once.
    Single,
    /// A set, which can wait for a moment. `others`: it has other questions to put after this one.
    Set { others: bool },
    /// Somebody who wants to know: a pause is no reason not to.
    ByHand,
}

impl Asker {
    /// A set has several requests under way.
    pub fn on(self) -> On {
        match self {
            Asker::Set { .. } => On::Thread,
            Asker::Single | Asker::ByHand => On::Backend,
        }
    }
}

/// Why the request is not to be sent now.
pub struct Refused {
    pub fault: Fault,
    /// Only a set is told so: it need not take it for a failure.
    pub not_yet: Option<NotYet>,
}

/// What is worth waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotYet {
    /// Another request, which is finding out whether the provider is well again.
    Trial,
    /// It failed before, so others are to try first; those of a lower rank go before it.
    After(usize),
}

/// Whether the request may be sent now: the provider is not paused, and its own limits allow it.
///
/// Raises 53000: no file descriptor is left. 53400 or 55000: there is no room for the provider's account, or
/// the worker was late.
pub fn admit(
    provider: &LoadedProvider,
    config: &Config,
    question: Question,
    left: Duration,
    asker: Asker,
) -> Result<InFlightRequest, Refused> {
    wait::ready();
    let slot = health::open(provider.id);
    let time = time_for(config);
    let others = asker == Asker::Set { others: true };
    let permit = match asker {
        Asker::ByHand => Permit::Ask,
        _ => slot.permit(question, others, time.min(left) + PROBE_GRACE),
    };
    if let Some(pause) = permit.pause() {
        let not_yet = match permit {
            Permit::Trial(_) if asker != Asker::Single => Some(NotYet::Trial),
            Permit::After(_, rank) if others => Some(NotYet::After(rank)),
            _ => None,
        };
        if not_yet.is_none() {
            slot.skipped();
        }
        return Err(Refused { fault: paused(pause), not_yet });
    }
    if let Some(fault) = over_limit(provider, config) {
        slot.not_sent(permit, &fault);
        return Err(Refused { fault, not_yet: None });
    }
    Ok(slot.sent(question, time <= left))
}

fn paused(pause: Pause) -> Fault {
    let seconds = ((pause.until - clock::now_us()).max(0) as u64).div_ceil(1_000_000).max(1);
    let message = format!("paused: {}", pause.cause.words());
    Fault { retry_after_s: Some(seconds), paused: true, ..Fault::new(pause.cause.kind(), message) }
}

/// The provider's own limits, kept for all workspaces together.
fn over_limit(provider: &LoadedProvider, config: &Config) -> Option<Fault> {
    let limits =
        Limits { per_minute: config.max_requests_per_minute(), per_day: config.max_requests_per_day() };
    if limits.is_unlimited() {
        return None;
    }
    let (window, now) = accounts::admit(accounts::open(account_key(provider.id)), limits).err()?;
    let mut fault = Fault::new(
        FaultKind::ProviderLimit,
        format!("its limit of {} requests (max_requests_per_minute or _per_day) is used up", window.limit),
    );
    fault.retry_after_s = Some((window.reset - now).max(1) as u64);
    Some(fault)
}

/// Sends a request, which ends after the provider's time or `left`, whichever is shorter. `keep` is given the
/// answer.
///
/// Err: why it was not sent.
pub fn send(
    config: &Config,
    request: HttpRequest,
    left: Duration,
    keep: Keep,
    on: On,
) -> Result<Sent, Fault> {
    let job = Job {
        request,
        timeout: time_for(config).min(left),
        max_body_bytes: settings::max_response_bytes(),
        allow_private: settings::allow_private_addresses(),
    };
    wait::send(job, keep, on)
}

/// No header can have a line break in it, nor any length.
pub fn can_be_sent(secret: &str) -> bool {
    const MOST: usize = 8_192;
    secret.len() <= MOST && !secret.chars().any(char::is_control)
}

/// The secret itself. `file:/path` is read at every request, so that it rotates without a restart.
pub fn reveal(name: &str, secret: &str) -> Result<String, Fault> {
    let Some(path) = secret.strip_prefix("file:") else { return Ok(secret.to_owned()) };
    let unreadable = |error: std::io::Error| {
        // Not the path: whoever calls would see it.
        let message =
            format!("the file with the secret of provider {name} cannot be read by the server: {error}");
        Fault::new(FaultKind::BadCredentials, message)
    };
    let file = std::fs::metadata(path).map_err(unreadable)?;
    // A pipe or device could block or never end.
    if !file.is_file() || file.len() > MAX_SECRET_BYTES {
        return Err(Fault::new(
            FaultKind::BadCredentials,
            "the file with its secret is no regular file of a sensible size",
        ));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    match text.trim() {
        "" => Err(Fault::new(FaultKind::BadCredentials, "the file with its secret is empty")),
        secret if !can_be_sent(secret) => Err(Fault::new(
            FaultKind::BadCredentials,
            "the file with its secret has more in it than one line of up to 8192 characters",
        )),
        secret => Ok(secret.to_owned()),
    }
}
