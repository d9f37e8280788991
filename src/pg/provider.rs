//! Asking one provider: its secret, its own limits, the request, the answer.

use std::rc::Rc;
use std::time::Duration;

use uuid::Uuid;

use super::desk::account_key;
use super::raise;
use super::store::config::LoadedProvider;
use super::{accounts, cache, settings, wait};
use crate::domain::contact::Contact;
use crate::domain::fields::FieldSet;
use crate::domain::provider::{Answer, Config, Fault, FaultKind, HttpRequest, Verdict};
use crate::domain::rate::Limits;
use crate::domain::waterfall::Outcome;
use crate::net::Job;

/// A secret file larger than this is no secret.
const MAX_SECRET_BYTES: u64 = 64 * 1_024;

/// Enabled providers of a workspace, those for every workspace included, in the order of their priority.
pub fn for_workspace(workspace: Uuid) -> Vec<(String, Rc<LoadedProvider>)> {
    let all = cache::providers();
    let here = |p: &&Rc<LoadedProvider>| p.workspace.is_none_or(|w| w == workspace);
    let enabled: Vec<_> =
        all.iter().filter(here).filter(|p| p.enabled).map(|p| (p.name.clone(), p.clone())).collect();
    if enabled.is_empty() {
        match all.iter().find(here) {
            Some(disabled) => raise::not_ready(
                "every data provider is disabled",
                format!("Run SELECT leadlex.enable_provider('{}', true).", disabled.name.replace('\'', "''")),
            ),
            None => raise::not_ready(
                "no data provider is configured",
                "Run SELECT leadlex.add_provider('people_data_labs', preset => 'people_data_labs', secret => 'YOUR_KEY').",
            ),
        }
    }
    enabled
}

/// `left` is what remains of the call's total time.
pub fn ask(provider: &LoadedProvider, contact: &Contact, missing: FieldSet, left: Duration) -> Outcome {
    let config = match &provider.config {
        Ok(config) => config,
        Err(error) => {
            return failed(FaultKind::Internal, &format!("its configuration is invalid at {}", error.place));
        }
    };
    if !config.identifies(contact) {
        return Outcome::Skipped;
    }
    if config.fills().intersect(missing).is_empty() {
        // It would be paid for nothing that is wanted.
        return Outcome::Answered(Verdict::NoMatch);
    }
    if left.is_zero() {
        return failed(FaultKind::Timeout, "the call's total time was used up before it was its turn");
    }
    let request = match request(provider, config, contact) {
        Ok(Some(request)) => request,
        Ok(None) => return Outcome::Skipped,
        Err(fault) => return Outcome::Answered(Verdict::Failed(fault)),
    };
    if let Some(fault) = over_limit(provider, config) {
        return Outcome::Answered(Verdict::Failed(fault));
    }
    Outcome::Answered(match send(config, request, left) {
        Ok(answer) => read(provider, config, &answer),
        Err(fault) => Verdict::Failed(fault),
    })
}

/// What an answer says. A provider that wants a secret may never have been given one, or have lost it in a restore.
pub fn read(provider: &LoadedProvider, config: &Config, answer: &Answer) -> Verdict {
    let mut verdict = config.read(answer);
    if let Verdict::Failed(fault) = &mut verdict
        && fault.kind == FaultKind::BadCredentials
        && provider.secret.is_none()
    {
        let name = provider.name.replace('\'', "''");
        fault.message = format!(
            "the provider answered with status {}: it was asked without a secret, which a restore does not bring back; run SELECT leadlex.alter_provider('{name}', secret => 'YOUR_KEY')",
            answer.status
        );
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

pub fn send(config: &Config, request: HttpRequest, left: Duration) -> Result<Answer, Fault> {
    let own = config.timeout_ms().map(|ms| Duration::from_millis(u64::from(ms)));
    let longest = settings::provider_timeout();
    wait::fetch(Job {
        request,
        // A provider's own timeout can be shorter than the superuser's setting, not longer.
        timeout: own.unwrap_or(longest).min(longest).min(left),
        max_body_bytes: settings::max_response_bytes(),
        allow_private: settings::allow_private_addresses(),
    })
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
