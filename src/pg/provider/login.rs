//! Logging in: one session does, and all use what it gave.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::pg::installation;
use crate::pg::provider::asker::{Asker, Refused};
use crate::pg::provider::sending::{Prepared, admit, admit_in_time, longest, reveal, send};
use crate::pg::provider::spending::{self, Spender, Spending};
use crate::pg::shared::logins::{self, LoginKey, MAX_BYTES, Turn};
use crate::pg::shared::wait;
use crate::pg::shared::wait::{On, Sent};
use crate::pg::store::loaded_provider::LoadedProvider;
use crate::pg::sys::clock;
use leadlex_domain::hash::hash;
use leadlex_domain::health::Question;
use leadlex_domain::provider::{
    Answer, Config, Effect, Fault, FaultKind, HttpRequest, LoginValues, Progress, failure_from_bytes,
    failure_to_bytes,
};

/// Between two looks whether another session has logged in.
const PAUSE: Duration = Duration::from_millis(10);

/// What a login gave.
pub struct HeldLogin {
    place: Place,
    pub values: LoginValues,
}

/// Which login it is.
#[derive(Clone, Copy)]
pub struct Place {
    key: LoginKey,
    number: u64,
}

impl HeldLogin {
    pub fn place(&self) -> Place {
        self.place
    }
}

impl Place {
    /// From any thread: what it gave is no longer good.
    pub fn forget(self) {
        logins::forget(self.key, self.number);
    }
}

/// What the provider's login gives: of another session, or of a request that is sent now and counts like any other.
///
/// `question`: whom it is made for, and `next` the request that names what it gives. Where that one is not affordable, nobody logs
/// in. One that fails has failed for that contact, and for those who wait for it.
///
/// Raises 53000: no file descriptor is left for a request.
pub fn log_in(
    provider: &LoadedProvider,
    config: &Arc<Config>,
    (question, next): (Question, Spender),
    (left, asker): (Duration, Asker),
) -> Result<HeldLogin, Refused> {
    let refused = |fault| Refused { fault, later: None };
    let secret = provider.secret.as_deref().map(|secret| reveal(&provider.name, secret)).transpose();
    let secret = secret.map_err(refused)?;
    let key = key(provider, secret.as_deref());
    let until = Instant::now() + left;
    let mut waited = 0;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let message = "the call's total time was used up before it was logged in";
            return Err(refused(Fault::new(FaultKind::Timeout, message)));
        }
        match logins::turn(key, waited, longest(config, left)) {
            Turn::Theirs(number) => {
                // The first that it waited for: what comes of a later one counts as well.
                waited = if waited == 0 { number } else { waited };
                wait::doze(PAUSE.min(left), wait::Event::Provider);
            }
            Turn::Failed(words) => match failure_from_bytes(&words) {
                Some(fault) => return Err(refused(fault)),
                None => waited = 0,
            },
            Turn::Values(number, bytes) => match LoginValues::from_bytes(&bytes) {
                Some(values) => return Ok(HeldLogin { place: Place { key, number }, values }),
                None => logins::forget(key, number),
            },
            Turn::Mine(number) => {
                let mine = Mine { place: Place { key, number }, handed_on: false };
                let _affordable = kept_for(provider, config, (next, left), asker)?;
                let asked = (question, Spender::of_login(next.workspace));
                let values = mine.ask(provider, config, (secret.as_deref(), asked), (left, asker))?;
                return Ok(HeldLogin { place: Place { key, number }, values });
            }
        }
    }
}

/// What the next request can cost at most, kept free while this session logs in. Both are looked at together first: of what is
/// kept for the one the other would be told that it may be free soon.
fn kept_for(
    provider: &LoadedProvider,
    config: &Config,
    (next, left): (Spender, Duration),
    asker: Asker,
) -> Result<Spending, Refused> {
    let both = spending::reserve(provider, config, Spender { logs_in: true, ..next }, left);
    both.and_then(|both| {
        drop(both);
        spending::reserve(provider, config, Spender { is_kept: true, ..next }, left)
    })
    .map_err(|Refused { fault, later }| Refused {
        fault: config.held(fault),
        later: later.filter(|_| matches!(asker, Asker::Set { .. })),
    })
}

fn key(provider: &LoadedProvider, secret: Option<&str>) -> LoginKey {
    let description = provider.login_fingerprint.unwrap_or_default();
    let login = hash(&[&description, secret.unwrap_or_default().as_bytes()]);
    LoginKey { provider: installation::account_key(provider.id), login }
}

/// Whether there is what its login gives: the next request needs none.
pub fn is_held(provider: &LoadedProvider) -> bool {
    held(provider).is_some()
}

/// What its login gave, if that is there and still good.
pub fn held(provider: &LoadedProvider) -> Option<LoginValues> {
    let secret = provider.secret.as_deref().map(|secret| reveal(&provider.name, secret)).transpose().ok()?;
    LoginValues::from_bytes(&logins::given(key(provider, secret.as_deref()))?)
}

/// A request that names nothing of the provider's login, as it hides in its answer what the login gave: a vendor may repeat
/// there what it was sent by an earlier step.
pub fn hidden_in(provider: &LoadedProvider, config: &Config, mut prepared: Prepared) -> Prepared {
    let held = config.login().and_then(|_| held(provider));
    if let Some(held) = held {
        let request = Arc::unwrap_or_clone(prepared.request);
        prepared.request = Arc::new(request.hiding(held.taken.iter().map(|(_, value)| value)));
    }
    prepared
}

/// It is this session's turn. Dropped without a word, it is the next one's.
struct Mine {
    place: Place,
    handed_on: bool,
}

impl Drop for Mine {
    fn drop(&mut self) {
        if !self.handed_on {
            logins::finish(self.place.key, self.place.number, None, None);
        }
    }
}

impl Mine {
    fn ask(
        mut self,
        provider: &LoadedProvider,
        config: &Arc<Config>,
        (secret, asked): (Option<&str>, (Question, Spender)),
        (left, asker): (Duration, Asker),
    ) -> Result<LoginValues, Refused> {
        let refused = |fault| Refused { fault, later: None };
        let Some(request) = config.login().and_then(|login| login.request(secret)).map(Arc::new) else {
            return Err(refused(Fault::without_secret(&provider.name)));
        };
        let in_flight = match asker {
            Asker::ByHand => {
                admit_in_time(provider, config, asked, Instant::now() + left, asker).map_err(refused)?
            }
            _ => admit(provider, config, asked, left, asker)?,
        };
        let came: Arc<Mutex<Option<Result<LoginValues, Fault>>>> = Arc::default();
        let (told, rules, sent, place) = (Arc::clone(&came), Arc::clone(config), request.clone(), self.place);
        let keep = move |answer: Result<&Answer, &Fault>| {
            let (came, bytes) = taken(&rules, &sent, answer);
            let progress = match &came {
                Ok(_) => Progress::Next { after_s: 0 },
                Err(fault) => Progress::Failed(fault.clone()),
            };
            in_flight.login_ended(&progress);
            match came.as_ref().err().filter(|fault| is_shared(fault, in_flight.in_full)) {
                Some(fault) => logins::fail(place.key, place.number, &failure_to_bytes(fault)),
                None => {
                    let valid_for = came.as_ref().ok().and_then(|values| values.valid_for_s);
                    let valid_for = valid_for.map(Duration::from_secs);
                    logins::finish(place.key, place.number, bytes.as_deref(), valid_for);
                }
            }
            *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(came);
            None
        };
        // Whatever becomes of this call, who has the answer says so.
        self.handed_on = true;
        let on = if asker == Asker::Single { On::Backend } else { On::Thread };
        let sent = send(config, (request, false), left, Box::new(keep), on).and_then(Sent::wait);
        sent.map_err(|fault| refused(of_login(&fault)))?;
        let came = came.lock().unwrap_or_else(PoisonError::into_inner).take();
        came.unwrap_or_else(|| Err(Fault::new(FaultKind::Internal, "the login's answer was not read")))
            .map_err(refused)
    }
}

/// Whether others would have met the same: not where it is this session's own trouble, or it had less time than they.
fn is_shared(fault: &Fault, in_full: bool) -> bool {
    fault.kind.effect() != Effect::Nothing && (in_full || fault.kind != FaultKind::Timeout)
}

/// That no answer came, said of the login: it may go to another host than the request after it.
fn of_login(fault: &Fault) -> Fault {
    Fault { message: format!("login: {}", fault.message), ..fault.clone() }
}

/// What the answer gives, also as the shared memory has it.
fn taken(
    config: &Config,
    request: &HttpRequest,
    answer: Result<&Answer, &Fault>,
) -> (Result<LoginValues, Fault>, Option<Vec<u8>>) {
    let read = |answer: &Answer| match config.login() {
        Some(login) => login.read(request, answer, clock::now()),
        None => Err(Fault::new(FaultKind::Internal, "there is no login")),
    };
    let values = match answer.map_err(of_login).and_then(read) {
        Ok(values) => values,
        Err(fault) => return (Err(fault), None),
    };
    let bytes = values.to_bytes();
    if bytes.len() > MAX_BYTES {
        let message = format!("login: what is taken of its answer is larger than {MAX_BYTES} bytes");
        return (Err(Fault::new(FaultKind::TooLarge, message)), None);
    }
    (Ok(values), Some(bytes))
}
