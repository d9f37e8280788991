//! One request: its secret, whether it may be sent now, and how it ended.

use crate::pg::sys::clock;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::pg::installation::account_key;
use crate::pg::limits::{accounts, rates};
use crate::pg::provider::asker::{Asker, Postponed, Refused};
use crate::pg::provider::health;
use crate::pg::provider::health::InFlightRequest;
use crate::pg::provider::spending;
use crate::pg::provider::spending::Spender;
use crate::pg::provider::throttle;
use crate::pg::provider::throttle::Queued;
use crate::pg::shared;
use crate::pg::shared::control;
use crate::pg::shared::provider_slots::ProviderSlot;
use crate::pg::shared::throttle::{Full, Place};
use crate::pg::shared::wait;
use crate::pg::shared::wait::{On, Sent};
use crate::pg::store::cache;
use crate::pg::store::loaded_provider::LoadedProvider;
use crate::pg::store::stop;
use crate::pg::sys::settings;
use leadlex_domain::hash::Hash;
use leadlex_domain::health::{Permit, Question};
use leadlex_domain::pause::Pause;
use leadlex_domain::person::Person;
use leadlex_domain::provider::{
    Bulk, Config, Fault, FaultKind, HttpRequest, Inquiry, LoginValues, Next, Verdict,
};
use leadlex_domain::rate::{Limits, Window};
use leadlex_net::{Budget, Job, Keep};

/// A secret file larger than this is no secret.
const MAX_SECRET_BYTES: u64 = 64 * 1_024;
/// Of a request's URL and header. Most servers take 8 to 32 kB; the client could not send more than 64.
const MAX_HEAD_BYTES: usize = 60_000;
/// How much longer than its time a probe is waited for.
const PROBE_GRACE: Duration = Duration::from_secs(1);

/// A request, and which description and secret it was made with.
pub struct Prepared {
    pub request: Arc<HttpRequest>,
    pub question: Question,
}

/// What is to be sent next.
pub enum Ready {
    Send(Prepared),
    /// What the login gives comes first; which question is waiting for that.
    LogIn(Question),
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
    let step = inquiry.step();
    prepare_with(provider, config, step, |secret| inquiry.next(config, person, secret, login))
}

/// The same of any request that is made with the secret: of this step of the configuration.
pub fn prepare_with(
    provider: &LoadedProvider,
    config: &Config,
    step: usize,
    next: impl FnOnce(Option<&str>) -> Next,
) -> Result<Ready, Fault> {
    if provider.secret.is_none() && config.needs_secret() {
        return Err(Fault::without_secret(&provider.name));
    }
    let secret = provider.secret.as_deref().map(|secret| reveal(&provider.name, secret)).transpose()?;
    let identity = identity(provider, secret.as_deref());
    let request = match next(secret.as_deref()) {
        Next::Send(request) => request,
        Next::LogIn(request) => {
            return Ok(Ready::LogIn(Question { identity, hash: hash(identity, &request), step: 0 }));
        }
        Next::Nothing(so_far) => return Ok(Ready::Nothing(so_far)),
    };
    if request.head_bytes() > MAX_HEAD_BYTES {
        let message = format!(
            "not sent: URL and header of the request would be larger than {MAX_HEAD_BYTES} bytes, more than servers take"
        );
        return Err(Fault::new(FaultKind::TooLarge, message));
    }
    let step = u8::try_from(step).unwrap_or(u8::MAX);
    let question = Question { identity, hash: hash(identity, &request), step };
    Ok(Ready::Send(Prepared { request: Arc::from(request), question }))
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

/// The same of a request about so many contacts: the superuser's setting counts for each of them.
pub fn time_for_all(config: &Config, contacts: usize) -> Duration {
    const MOST: Duration = Duration::from_secs(60);
    let longest = settings::provider_timeout().saturating_mul(u32::try_from(contacts).unwrap_or(u32::MAX));
    let asked = config.bulk().and_then(Bulk::timeout_ms).map(|ms| Duration::from_millis(u64::from(ms)));
    asked.unwrap_or_else(|| time_for(config)).min(longest).min(MOST)
}

/// How much time the request itself has where so much of the call's time is left. The call's end does not cut off what hands a
/// question in: without its answer there is nothing to ask with later, and the vendor works on it all the same.
pub fn time_left(config: &Config, hands_in: bool, left: Duration) -> Duration {
    if hands_in { left.max(time_for(config)) } else { left }
}

/// After so long a request that is sent now is over, and what came of it is kept.
pub fn longest(config: &Config, left: Duration) -> Duration {
    until_kept(time_for(config).min(left))
}

/// The same of one that has so much time.
pub fn until_kept(time: Duration) -> Duration {
    const KEEPING: Duration = Duration::from_secs(1);
    time + KEEPING
}

/// Until when the thread of a request that is sent now may take to keep what comes of it, and be heard by the backend.
pub fn longest_wait(config: &Config, left: Duration) -> Instant {
    until_told(time_for(config).min(left))
}

/// The same of one that has so much time.
pub fn until_told(time: Duration) -> Instant {
    const TO_TELL: Duration = Duration::from_millis(50);
    Instant::now() + time + wait::GRACE - TO_TELL
}

/// What time a request has.
#[derive(Clone, Copy)]
pub struct RequestTime {
    /// What it is to have.
    pub whole: Duration,
    /// What is left of that.
    pub left: Duration,
    /// What is left of the call: nothing that comes before the request is waited for longer, see [`time_left`].
    pub call: Duration,
}

/// Whether the request may be sent now: the provider is not paused, and its own limits allow it.
///
/// `spender`: for whom it is sent. What it can cost at most is kept free in every budget.
///
/// Raises 53000: no file descriptor is left. 53400 or 55000: there is no room for the provider's account, or
/// the worker was late to record its own rate.
pub fn admit(
    provider: &LoadedProvider,
    config: &Config,
    (question, spender): (Question, Spender),
    left: Duration,
    asker: Asker,
) -> Result<InFlightRequest, Refused> {
    let times = RequestTime { whole: time_for(config), left, call: left };
    admit_for(provider, config, (question, spender), times, asker)
}

/// The same of a request that has this time.
pub fn admit_for(
    provider: &LoadedProvider,
    config: &Config,
    (question, spender): (Question, Spender),
    times: RequestTime,
    asker: Asker,
) -> Result<InFlightRequest, Refused> {
    wait::ready();
    if let Some(fault) = stop::fault() {
        return Err(Refused { fault, later: None });
    }
    if let Some(fault) = (asker != Asker::ByHand).then(|| dropped(provider)).flatten() {
        return Err(Refused { fault, later: None });
    }
    let slot = health::open(provider.id);
    let refuse = |refused: Refused| Err(Refused { fault: config.held(refused.fault), ..refused });
    let (others, halves) = match asker {
        Asker::Set { others, halves } => (others, halves),
        _ => (false, false),
    };
    let permit = match asker {
        Asker::ByHand => Permit::Ask,
        _ => slot.permit(question, others, times.whole.min(times.left) + PROBE_GRACE),
    };
    if let Some(pause) = permit.pause() {
        let later = throttle::of_pause(permit, config, asker);
        if later.is_none() {
            slot.skipped();
        }
        return refuse(Refused { fault: paused(pause), later });
    }
    let spending = match spending::reserve(provider, config, spender, times.call) {
        Ok(spending) => spending,
        Err(Refused { fault, later }) => {
            // Only a set knows whether the requests that keep the money free are its own.
            let later = later.filter(|_| matches!(asker, Asker::Set { .. }));
            // Each contact that is not asked about counts once.
            let is_split = halves && fault.kind == FaultKind::Budget;
            match later {
                None if !is_split => slot.not_sent(permit, &fault),
                _ => slot.give_back(permit),
            }
            return refuse(Refused { fault, later });
        }
    };
    let place = match take_place(provider, slot, config) {
        Ok(place) => place,
        Err(refused) => {
            slot.give_back(permit);
            return refuse(refused);
        }
    };
    if let Some(refused) = over_limit(provider, config) {
        match refused.later {
            Some(_) => slot.give_back(permit),
            None => slot.not_sent(permit, &refused.fault),
        }
        return refuse(refused);
    }
    if let Some(place) = &place {
        place.sent();
    }
    let in_flight = slot.sent(question, times.whole <= times.left, place.map(Arc::new));
    Ok(InFlightRequest { spending: Some(Arc::new(spending)), ..in_flight })
}

/// Why nothing is sent to a provider that was dropped while the call was under way: its budgets are gone, and so is what was known
/// of what it owes.
pub fn dropped(provider: &LoadedProvider) -> Option<Fault> {
    cache::forget_changed();
    let is_there = cache::providers().iter().any(|known| known.id == provider.id);
    (!is_there).then(|| Fault {
        settles: true,
        remedy: Some("leadlex.provider lists the providers that are there.".into()),
        ..Fault::new(FaultKind::Busy, "not asked any more: it was dropped while the call was under way")
    })
}

/// As [`admit`], but waits for the request's turn within its time.
///
/// Raises what `admit` raises.
pub fn admit_in_time(
    provider: &LoadedProvider,
    config: &Config,
    asked: (Question, Spender),
    deadline: Instant,
    asker: Asker,
) -> Result<InFlightRequest, Fault> {
    let mut queued = Queued::new(provider.id);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Refused { fault, later } = match admit(provider, config, asked, left, asker) {
            Ok(in_flight) => return Ok(in_flight),
            Err(refused) => refused,
        };
        let Some(Postponed::Limited(limit)) = later else { return Err(fault) };
        if !queued.wait(config, limit, throttle::latest(time_for(config), deadline)) {
            throttle::give_up(provider, limit, &fault);
            return Err(fault);
        }
    }
}

fn paused(pause: Pause) -> Fault {
    let seconds = ((pause.until - clock::now_us()).max(0) as u64).div_ceil(1_000_000).max(1);
    let message = format!("paused: {}", pause.cause.words());
    Fault { retry_after_s: Some(seconds), paused: true, ..Fault::new(pause.cause.kind(), message) }
}

/// `None`: it may be asked as fast as one likes.
fn take_place(
    provider: &LoadedProvider,
    slot: ProviderSlot,
    config: &Config,
) -> Result<Option<Place>, Refused> {
    let limits = config.throttle();
    if limits.is_unlimited() {
        return Ok(None);
    }
    shared::throttle::take(slot, limits).map(Some).map_err(|full| {
        let refused = throttle::not_its_turn(limits, full);
        match throttle::is_long(&refused) {
            true => used_up_minute(provider, config, full).unwrap_or(refused),
            false => refused,
        }
    })
}

/// Why the next turn is so late: the minute has no more.
fn used_up_minute(provider: &LoadedProvider, config: &Config, full: Full) -> Option<Refused> {
    let limits = Limits { per_minute: Some(config.max_requests_per_minute()?), per_day: None };
    let window = rates::status(accounts::open(account_key(provider.id)), limits).minute?;
    let opens_at = full.opens_at? / 1_000_000 + 1;
    let window = Window { reset: window.reset.max(opens_at), ..window };
    (window.remaining == 0).then(|| throttle::used_up(window, clock::now()))
}

/// The provider's own limits, kept for all workspaces together.
fn over_limit(provider: &LoadedProvider, config: &Config) -> Option<Refused> {
    let limits =
        Limits { per_minute: config.max_requests_per_minute(), per_day: config.max_requests_per_day() };
    if limits.is_unlimited() {
        return None;
    }
    let (window, now) = rates::admit(accounts::open(account_key(provider.id)), limits).err()?;
    Some(throttle::used_up(window, now))
}

/// Sends a request, which is waited for until the provider's time is over or `left`, whichever is shorter. `keep` is given the
/// answer. `outlasts`: it hands a question in, see [`Job`] and [`time_left`].
///
/// Err: why it was not sent.
pub fn send(
    config: &Config,
    (request, outlasts): (Arc<HttpRequest>, bool),
    left: Duration,
    keep: Keep,
    on: On,
) -> Result<Sent, Fault> {
    let job = Job {
        request,
        timeout: time_for(config).min(time_left(config, outlasts, left)),
        max_body_bytes: settings::max_response_bytes(),
        allow_private: settings::allow_private_addresses(),
        outlasts,
        may_send: control::may_send,
        share: None,
    };
    wait::send(job, left, keep, on)
}

/// Sends a request about so many contacts, which may take so long, and is waited for no longer than `left`. The same otherwise.
pub fn send_for_all(
    (request, outlasts): (Arc<HttpRequest>, bool),
    (contacts, time): (usize, Duration),
    left: Duration,
    keep: Keep,
) -> Result<Sent, Fault> {
    thread_local! {
        /// All answers of the session together.
        static BUDGET: Arc<Budget> = Arc::default();
    }
    let limit = settings::max_bulk_response_bytes();
    let most = settings::max_response_bytes().saturating_mul(contacts).min(limit);
    let job = Job {
        request,
        timeout: time,
        max_body_bytes: most,
        allow_private: settings::allow_private_addresses(),
        outlasts,
        may_send: control::may_send,
        share: Some(Arc::new(BUDGET.with(|budget| budget.share(most, limit)))),
    };
    wait::send(job, left, keep, On::Thread)
}

/// No header can have a line break in it, nor any length.
pub fn can_be_sent(secret: &str) -> bool {
    const MOST: usize = 8_192;
    secret.len() <= MOST && !secret.chars().any(char::is_control)
}

/// The secret itself. `file:/path` is read at every request, so that it rotates without a restart.
pub fn reveal(name: &str, secret: &str) -> Result<String, Fault> {
    let Some(path) = secret.strip_prefix("file:") else { return Ok(secret.to_owned()) };
    let wrong = |message: String| {
        Fault {
        remedy: Some(
            "Mend the file that its secret names (file:/path): one line with the vendor's key, readable by the server's system user. It is read anew at every request."
                .into(),
        ),
        ..Fault::new(FaultKind::BadCredentials, message)
    }
    };
    let unreadable = |error: std::io::Error| {
        // Not the path: the caller would see it.
        wrong(format!("the file with the secret of provider {name} cannot be read by the server: {error}"))
    };
    let file = std::fs::metadata(path).map_err(unreadable)?;
    // A pipe or device could block or never end.
    if !file.is_file() || file.len() > MAX_SECRET_BYTES {
        return Err(wrong("the file with its secret is no regular file of a sensible size".into()));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    match text.trim() {
        "" => Err(wrong("the file with its secret is empty".into())),
        secret if !can_be_sent(secret) => Err(wrong(
            "the file with its secret has more in it than one line of up to 8192 characters".into(),
        )),
        secret => Ok(secret.to_owned()),
    }
}
