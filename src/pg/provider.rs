//! Asking one provider: its secret, its own limits, the request, the answer.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use pgrx::pg_sys;
use uuid::Uuid;

use super::desk::account_key;
use super::raise;
use super::receipts::{self, Keeper};
use super::store::config::LoadedProvider;
use super::{accounts, cache, settings, store, wait};
use crate::domain::contact::Contact;
use crate::domain::fields::FieldSet;
use crate::domain::provider::{Answer, Config, Fault, FaultKind, HttpRequest, Verdict};
use crate::domain::rate::Limits;
use crate::domain::receipt::{self, Filed, Hash, Parties, Questions, Receipt};
use crate::domain::waterfall::Outcome;
use crate::net::{Job, Keep};

/// A secret file larger than this is no secret.
const MAX_SECRET_BYTES: u64 = 64 * 1_024;

/// Enabled providers of a workspace, those for every workspace included, in the order of their priority.
pub fn for_workspace(workspace: Uuid) -> Vec<(String, Rc<LoadedProvider>)> {
    let all = cache::providers();
    let here = |p: &&Rc<LoadedProvider>| serves(p, workspace);
    let enabled: Vec<_> =
        all.iter().filter(here).filter(|p| p.enabled).map(|p| (p.name.clone(), p.clone())).collect();
    if enabled.is_empty() {
        match all.iter().find(here) {
            Some(disabled) => raise::not_ready(
                "every data provider is disabled",
                format!("Run SELECT leadlex.enable_provider('{}', true).", disabled.name.replace('\'', "''")),
            ),
            None => none_configured(),
        }
    }
    enabled
}

/// 55000: the first step of setting up.
pub fn none_configured() -> ! {
    raise::not_ready(
        "no data provider is configured",
        "Run SELECT leadlex.add_provider('people_data_labs', preset => 'people_data_labs', secret => 'YOUR_KEY').",
    )
}

/// Whether a provider is this workspace's, or everybody's.
pub fn serves(provider: &LoadedProvider, workspace: Uuid) -> bool {
    provider.workspace.is_none_or(|w| w == workspace)
}

/// Who asks, about whom, and what was answered before.
pub struct Asking<'a> {
    pub workspace: Uuid,
    pub contact: &'a Contact,
    /// The contact's table and key, as the request key and the receipt have them.
    pub table: &'a str,
    pub person: Hash,
    pub overwrite: bool,
    pub past: &'a Past,
}

/// What a call could ask, by provider, and what was answered to that before.
#[derive(Default)]
pub struct Past {
    questions: HashMap<Uuid, Questions>,
    receipts: HashMap<Hash, Receipt>,
}

/// What this provider would be asked about a contact; `None` where it cannot be identified.
pub fn questions(
    workspace: Uuid,
    provider: &LoadedProvider,
    config: &Config,
    contact: &Contact,
) -> Option<Questions> {
    let parties = Parties { workspace, provider: provider.id, description: &provider.fingerprint };
    Questions::of(parties, config, contact)
}

/// What these providers could be asked, and what was answered before. What waits for the worker is looked at first: what
/// is gone from there is in the books by then.
pub fn past(workspace: Uuid, providers: &[(String, Rc<LoadedProvider>)], contact: &Contact) -> Past {
    let asked = |(_, provider): &(String, Rc<LoadedProvider>)| {
        Some((provider.id, questions(workspace, provider, provider.config.as_ref().ok()?, contact)?))
    };
    let mut past = Past { questions: providers.iter().filter_map(asked).collect(), receipts: HashMap::new() };
    let hashes: Vec<Hash> = past.questions.values().flat_map(|q| q.hashes.iter().copied()).collect();
    if hashes.is_empty() || settings::receipt_terms().off() {
        return past;
    }
    for hash in &hashes {
        let waiting = receipts::with(|arena| arena.find(&receipt_key(*hash)));
        if let Some(filed) = waiting.and_then(|bytes| Filed::from_bytes(&bytes)) {
            past.receipts.insert(*hash, filed.receipt);
        }
    }
    for (hash, receipt) in store::receipts::recall(workspace, &hashes) {
        past.receipts.entry(hash).or_insert(receipt);
    }
    past
}

pub fn receipt_key(question: Hash) -> receipts::Key {
    // SAFETY: a global set when the backend connected to its database.
    let database = unsafe { pg_sys::MyDatabaseId }.to_u32();
    receipts::Key { database, catalog: cache::installation().catalog, question }
}

/// `missing` are the fields still to be filled; `left` is what remains of the call's total time.
pub fn ask(provider: &LoadedProvider, asking: &Asking<'_>, missing: FieldSet, left: Duration) -> Outcome {
    let config = match &provider.config {
        Ok(config) => config,
        Err(error) => {
            return failed(FaultKind::Internal, &format!("its configuration is invalid at {}", error.place));
        }
    };
    if !config.identifies(asking.contact) {
        return Outcome::Skipped;
    }
    let wanted = config.fills().intersect(missing);
    if wanted.is_empty() {
        // It would be paid for nothing that is wanted.
        return Outcome::Answered(Verdict::NoMatch);
    }
    let Some(questions) = asking.past.questions.get(&provider.id) else { return Outcome::Skipped };
    let terms = settings::receipt_terms();
    let known: Vec<&Receipt> =
        questions.hashes.iter().filter_map(|hash| asking.past.receipts.get(hash)).collect();
    let now = accounts::now_us();
    let recalled = known.iter().find_map(|r| r.recall(terms, now, questions.known, wanted, asking.overwrite));
    if let Some(verdict) = recalled {
        return Outcome::Answered(verdict);
    }
    if left.is_zero() {
        return failed(FaultKind::Timeout, "the call's total time was used up before it was its turn");
    }
    let mut request = match request(provider, config, asking.contact) {
        Ok(Some(request)) => request,
        Ok(None) => return Outcome::Skipped,
        Err(fault) => return Outcome::Answered(Verdict::Failed(fault)),
    };
    if let Some(header) = config.idempotency_header() {
        let answered = known.iter().map(|receipt| receipt.answered_at).max();
        let epoch = answered.unwrap_or(if terms.off() { now / MICROSECONDS_A_DAY } else { 0 });
        let key = receipt::request_key(asking.workspace, asking.table, missing, &request.masked(), epoch);
        request.headers.push((header.to_owned(), key.to_string()));
    }
    if let Some(fault) = over_limit(provider, config) {
        return Outcome::Answered(Verdict::Failed(fault));
    }
    Outcome::Answered(send_and_keep(provider, config, request, asking, questions, left))
}

const MICROSECONDS_A_DAY: i64 = 86_400_000_000;

fn send_and_keep(
    provider: &LoadedProvider,
    config: &Arc<Config>,
    request: HttpRequest,
    asking: &Asking<'_>,
    questions: &Questions,
    left: Duration,
) -> Verdict {
    let keeper = Keeper {
        key: receipt_key(questions.hashes[0]),
        person: asking.person,
        known: questions.known,
        terms: settings::receipt_terms(),
        config: Arc::clone(config),
        workspace: asking.workspace,
        provider: provider.id,
    };
    let (keep, outcome) = keeper.start();
    let answer = match send(config, request, left, Some(keep)) {
        Ok(answer) => answer,
        Err(fault) => return Verdict::Failed(fault),
    };
    let outcome = std::mem::take(&mut *outcome.lock().unwrap_or_else(PoisonError::into_inner));
    if let Some(why) = outcome.dropped {
        pgrx::ereport!(
            pgrx::PgLogLevel::WARNING,
            pgrx::PgSqlErrorCode::ERRCODE_WARNING,
            format!("the answer of provider {} could not be kept: {why}", provider.name),
            "It is used now, but if this transaction does not commit, asking again costs again."
        );
    }
    told(provider, outcome.verdict.unwrap_or_else(|| config.read(&answer, accounts::now())))
}

/// What an answer says. A provider that wants a secret may never have been given one, or have lost it in a restore.
pub fn read(provider: &LoadedProvider, config: &Config, answer: &Answer) -> Verdict {
    told(provider, config.read(answer, accounts::now()))
}

fn told(provider: &LoadedProvider, mut verdict: Verdict) -> Verdict {
    if let Verdict::Failed(fault) = &mut verdict
        && fault.kind == FaultKind::BadCredentials
        && provider.secret.is_none()
    {
        let name = provider.name.replace('\'', "''");
        fault.message.push_str(&format!(
            "; it was asked without a secret, which a restore does not bring back: run SELECT leadlex.alter_provider('{name}', secret => 'YOUR_KEY')"
        ));
    }
    verdict
}

/// The provider's own limits, kept for all workspaces together.
pub fn over_limit(provider: &LoadedProvider, config: &Config) -> Option<Fault> {
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

/// `None`: the contact lacks what identifies it.
pub fn request(
    provider: &LoadedProvider,
    config: &Config,
    contact: &Contact,
) -> Result<Option<HttpRequest>, Fault> {
    // Without a secret its parameter is left out, like any other that is empty.
    let secret = provider.secret.as_deref().map(reveal).transpose()?;
    Ok(config.request(contact, secret.as_deref()))
}

pub fn send(
    config: &Config,
    request: HttpRequest,
    left: Duration,
    keep: Option<Keep>,
) -> Result<Answer, Fault> {
    let own = config.timeout_ms().map(|ms| Duration::from_millis(u64::from(ms)));
    let longest = settings::provider_timeout();
    let job = Job {
        request,
        // A provider's own timeout can be shorter than the superuser's setting, not longer.
        timeout: own.unwrap_or(longest).min(longest).min(left),
        max_body_bytes: settings::max_response_bytes(),
        allow_private: settings::allow_private_addresses(),
    };
    wait::fetch(job, keep)
}

/// The secret itself. `file:/path` is read at every request, so that it rotates without a restart.
fn reveal(secret: &str) -> Result<String, Fault> {
    let Some(path) = secret.strip_prefix("file:") else { return Ok(secret.to_owned()) };
    let unreadable = |_| Fault::new(FaultKind::BadCredentials, "the file with its secret cannot be read");
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
        secret => Ok(secret.to_owned()),
    }
}

fn failed(kind: FaultKind, message: &str) -> Outcome {
    Outcome::Answered(Verdict::Failed(Fault::new(kind, message)))
}
