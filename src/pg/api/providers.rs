//! Providers: add, change, drop.

use crate::pg::api::{money, workspaces};
use leadlex_domain::sqlstate;

use pgrx::prelude::*;
use pgrx::{AnyElement, Uuid};
use serde_json::{Value, json};

use crate::pg::provider;
use crate::pg::shared::{layout, transaction};
use crate::pg::store::cache;
use crate::pg::store::config;
use crate::pg::store::loaded_provider::LoadedProvider;
use crate::pg::store::spend;
use crate::pg::store::stop;
use crate::pg::store::tickets;
use crate::pg::sys::{raise, settings, spi};
use leadlex_domain::call_error::short;
use leadlex_domain::provider::{Config, ConfigError, merge_preset, presets};

/// A complete configuration, parsed; 22023 with the place of the mistake.
pub(super) fn checked(config: &Value) -> Config {
    Config::parse(config).unwrap_or_else(|error| mistaken(error, None))
}

/// The same of a new provider, which may lack what its preset wants.
fn checked_with(preset: Option<&str>, config: &Value) -> Config {
    Config::parse(config).unwrap_or_else(|error| mistaken(error, preset))
}

fn merged(under: &Value, over: &Value) -> Value {
    merge_preset(under, over).unwrap_or_else(|error| mistaken(error, None))
}

fn mistaken(error: ConfigError, preset: Option<&str>) -> ! {
    let lacks = error.message.contains("unknown placeholder");
    let of_preset = preset.filter(|_| lacks).map(|preset| {
        format!(" What the preset wants beside a secret: SELECT notes FROM leadlex.presets WHERE name = '{preset}'.")
    });
    let place = if error.place.is_empty() { "the top level" } else { &error.place };
    raise::refuse(raise::PgError {
        sqlstate: sqlstate::INVALID_PARAMETER_VALUE,
        message: format!("provider configuration: {place}: {}", error.message),
        detail: Some(json!({"place": error.place, "message": error.message}).to_string()),
        hint: Some(format!(
            "The format is described in the extension's documentation, docs/{}. leadlex.check_provider tries a provider out.{}",
            page_of(&error.place),
            of_preset.unwrap_or_default()
        )),
    })
}

/// Which page of the documentation is about this place of a configuration.
fn page_of(place: &str) -> &'static str {
    match place.trim_start_matches('/').split('/').next().unwrap_or_default() {
        "login" | "steps" | "poll_every_s" | "poll_for_s" | "when_pending" | "send" => {
            "providers/several-requests.md"
        }
        "bulk" => "providers/bulk.md",
        "price" | "low_balance" => "money.md",
        _ => "providers/configuration.md",
    }
}

fn secret_allowed(secret: &str) {
    if secret.trim().is_empty() {
        raise::invalid(
            "secret must not be empty",
            "Leave it out: a new provider then has none, an old one keeps what it has (drop it and add it again to be rid of it).",
        );
    }
    // SAFETY: a catalog look-up.
    if secret.starts_with("file:") && !unsafe { pg_sys::superuser() } {
        raise::refuse(raise::PgError {
            sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
            message: "only a superuser can have the server read a secret from a file".into(),
            detail: None,
            hint: Some("Give the secret as text.".into()),
        });
    }
    if !provider::can_be_sent(secret) {
        raise::invalid(
            "a secret is one line of up to 8192 characters",
            "Paste the key as the vendor shows it, without line breaks.",
        );
    }
    if secret.strip_prefix("file:").is_some_and(|path| !path.starts_with('/')) {
        raise::invalid(
            "a secret's file must be given with its whole path",
            "For example 'file:/etc/leadlex/key'.",
        );
    }
}

fn preset_config(name: &str) -> Value {
    match presets::preset(name) {
        Some(text) => serde_json::from_str(text).unwrap_or(Value::Null),
        None => raise::invalid(
            format!("unknown preset \"{}\"", short(name)),
            format!("Presets are {}.", presets::names().join(", ")),
        ),
    }
}

/// Where scores are, of each step.
fn score_rules(config: &Value) -> Vec<&Value> {
    let steps = config["steps"].as_array().map_or(std::slice::from_ref(config), Vec::as_slice);
    steps.iter().map(|step| &step["response"]["confidence"]).collect()
}

/// Says what becomes of scores that are read as they stand: nothing tells a 1 of 1 from a 1 of 100.
fn notice_score(name: &str, config: &Value, parsed: &Config) {
    let rules = score_rules(config);
    for at in parsed.steps_without_scale() {
        let rule = rules[at];
        let pointer = rule.get("pointer").unwrap_or(rule).to_string().replace('\'', "''");
        let scaled = format!("{{\"confidence\": {{\"pointer\": {pointer}, \"divide_by\": 100}}}}");
        // Steps are replaced as a whole.
        let remedy = match config.get("steps") {
            Some(_) => format!("give the steps anew, with {scaled} in /steps/{at}/response"),
            None => format!("run SELECT leadlex.alter_provider('{name}', '{{\"response\": {scaled}}}')"),
        };
        pgrx::notice!(
            "provider \"{name}\": the score at {pointer} is read as a number from 0 to 1; a number above 1 is not used, and the confidence is then null. If the vendor's highest score is not 1 but, say, 100, {remedy}"
        );
    }
}

/// What its description says to no effect, and did not say before.
fn notice_remarks(name: &str, parsed: &Config, before: Option<&Config>) {
    let known = before.map(Config::remarks).unwrap_or_default();
    for remark in parsed.remarks().into_iter().filter(|remark| !known.contains(remark)) {
        pgrx::notice!("provider \"{name}\": {remark}");
    }
}

fn complete(preset: Option<&str>, config: Option<Value>) -> Value {
    let base = preset.map(preset_config);
    match (base, config) {
        (Some(base), Some(config)) => merged(&base, &config),
        (Some(base), None) => base,
        (None, Some(config)) => config,
        (None, None) => raise::invalid(
            "preset or config must be given",
            format!(
                "Presets are {}. The extension's documentation describes config, in docs/providers/configuration.md.",
                presets::names().join(", ")
            ),
        ),
    }
}

/// leadlex.add_provider(name, preset, config jsonb, secret, priority integer, workspace_id): adds a provider.
/// `config` changes the preset, or stands alone. `priority` NULL is 100; a lower one is asked first.
/// `workspace_id` NULL is every workspace. Where there is no workspace yet, "default" is made.
/// Raises 22023: an argument is wrong, or preset and config are NULL. 23505: the name is in use.
/// Raises 40001: a job that waits for a provider has changed since the transaction's one snapshot.
/// Raises 42501: the secret names a file, and the caller is no superuser.
/// Raises 55000: the extension is not installed, or has another version.
#[pg_extern(sql = false)]
fn add_provider(
    name: Option<&str>,
    preset: Option<&str>,
    config: Option<AnyElement>,
    secret: Option<&str>,
    priority: Option<i32>,
    workspace_id: Option<Uuid>,
) {
    cache::refresh();
    let name = super::required(name, "name");
    let legal = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if name.is_empty() || name.len() > 63 || !name.chars().all(legal) {
        raise::invalid(
            "a provider's name is 1 to 63 letters, digits, '_', '.' or '-'",
            "The name is what results show as source.",
        );
    }
    if cache::providers().iter().any(|known| known.name == name) {
        name_in_use(name);
    }
    let complete = complete(preset, super::json(config, "config"));
    let parsed = checked_with(preset, &complete);
    if let Some(secret) = secret {
        secret_allowed(secret);
    }
    workspaces::ensure_default();
    let workspace = workspace_id.map(|id| super::known_workspace(super::plain(id)));
    let id = uuid::Uuid::now_v7();
    // Another session may have been first.
    if !config::add_provider(name, id, workspace, preset, &complete, priority.unwrap_or(100)) {
        name_in_use(name);
    }
    if preset.is_none_or(|preset| score_rules(&complete) != score_rules(&preset_config(preset))) {
        notice_score(name, &complete, &parsed);
    }
    notice_remarks(name, &parsed, None);
    money::warn_of_budgets(name, workspace, &parsed);
    warn_of_few_places();
    match secret {
        Some(secret) => config::set_secret(name, secret),
        None if parsed.needs_secret() => pgrx::notice!(
            "provider \"{name}\" has no secret, and its request names {{secret}}: it is not asked before leadlex.alter_provider('{name}', secret => 'YOUR_KEY')"
        ),
        None => {}
    }
    money::wake_jobs_of_providers(name);
}

/// Each provider that is asked needs a place in shared memory: told before there are too many.
fn warn_of_few_places() {
    cache::forget_changed();
    let enabled = cache::providers().iter().filter(|provider| provider.enabled).count();
    let places = settings::max_providers();
    if enabled * 5 >= places * 4 {
        raise::warning(
            &format!("{enabled} providers are enabled, and leadlex.max_providers is {places}"),
            "Pauses, limits and counts are kept for as many, in all databases together. A provider beyond them takes the place of another.",
            "Raise leadlex.max_providers and restart.",
            &spi::About::default(),
        );
    }
}

pub(super) fn unknown(name: &str) -> ! {
    raise::invalid(format!("there is no provider \"{}\"", short(name)), "See leadlex.provider.")
}

pub(super) fn find(name: &str) -> std::rc::Rc<LoadedProvider> {
    let all = cache::providers();
    all.iter().find(|p| p.name == name).cloned().unwrap_or_else(|| unknown(name))
}

/// leadlex.alter_provider(name, config jsonb, secret, priority integer): changes what is not NULL. `config`
/// is merged into the configuration that is there.
/// Raises 22023: there is no such provider, or the configuration or the secret is wrong.
/// Raises 42501: a role that is no superuser names a new host without the secret, or a file as the secret.
/// Raises 40001: it changed since the transaction's one snapshot. 55000: not installed, or another version.
#[pg_extern(sql = false)]
fn alter_provider(
    name: Option<&str>,
    config: Option<AnyElement>,
    secret: Option<&str>,
    priority: Option<i32>,
) {
    cache::refresh();
    let name = super::required(name, "name");
    if !config::lock_provider(name) {
        unknown(name);
    }
    // As the transaction that was waited for has left it.
    cache::forget_changed();
    let present = find(name);
    let change = super::json(config, "config");
    let merged = change.as_ref().map(|change| merged(&present.json, change));
    if let Some(merged) = &merged {
        let parsed = checked(merged);
        if change.as_ref().is_some_and(|change| score_rules(change).iter().any(|rule| !rule.is_null())) {
            notice_score(name, merged, &parsed);
        }
        notice_remarks(name, &parsed, present.config.as_deref().ok());
        if secret.is_none() {
            refuse_new_place(&present, &parsed);
        }
        money::warn_of_budgets(name, present.workspace, &parsed);
    }
    if let Some(secret) = secret {
        secret_allowed(secret);
    }
    if !config::alter_provider(name, merged.as_ref(), priority, None) {
        unknown(name);
    }
    if let Some(secret) = secret {
        config::set_secret(name, secret);
    }
    notice_answers_lost(name, &present);
    if merged.is_some() || secret.is_some() {
        money::wake_jobs_of_providers(name);
    }
}

fn name_in_use(name: &str) -> ! {
    raise::refuse(raise::PgError {
        sqlstate: sqlstate::UNIQUE_VIOLATION,
        message: format!("there is a provider \"{name}\" already"),
        detail: None,
        hint: Some(format!(
            "SELECT leadlex.alter_provider('{name}', …) changes it, and gives it a secret; leadlex.drop_provider('{name}') takes it away."
        )),
    })
}

/// Says how many answers that are still to come are not asked for any more: the requests are others, or their time is shorter.
fn notice_answers_lost(name: &str, before: &LoadedProvider) {
    if before.ticket_fingerprint.is_none() {
        return;
    }
    cache::forget_changed();
    let after = find(name);
    if after.ticket_fingerprint != before.ticket_fingerprint {
        notice_other_question(name);
        return;
    }
    let seconds =
        |provider: &LoadedProvider| provider.config.as_ref().map_or(0, |config| config.poll_for_s());
    let (longer, shorter) = (seconds(before), seconds(&after));
    if shorter < longer {
        notice_shorter_time(name, tickets::owed_for_less_than(name, longer - shorter), (longer, shorter));
    }
}

fn notice_other_question(name: &str) {
    let owed = tickets::owed_by(name);
    if owed > 0 {
        raise::notice(
            &format!("provider {name} owes answers: {owed}"),
            "Their questions were handed in and can be billed. Its requests are others now: what was handed in with others than these is not asked for, and such questions are handed in anew, but for the rest of a charged call under first_match.",
            "To have such answers, give it the requests that they were handed in with (leadlex.alter_provider) until they have come, or until poll_for_s is over; a call by hand fetches those that no job waits for.",
        );
    }
}

fn notice_shorter_time(name: &str, over: i64, (longer, shorter): (u32, u32)) {
    if over > 0 {
        raise::notice(
            &format!(
                "provider {name} owes answers whose time is over with a poll_for_s of {shorter} s: {over}"
            ),
            "Their questions were handed in and can be billed. These answers are given up, and the next calls hand the questions in anew.",
            &format!(
                "To have them, set poll_for_s back to {longer} (leadlex.alter_provider) until they have come."
            ),
        );
    }
}

/// A secret goes where it went when it was given, or where a superuser says: else a role that may describe a provider could have
/// it sent to itself. Also where it was lost in a restore, and will be given again.
fn refuse_new_place(present: &LoadedProvider, changed: &Config) {
    let known = present.config.as_ref().map(|config| config.origins()).unwrap_or_default();
    let origins = changed.origins();
    // SAFETY: a catalog look-up.
    let is_superuser = unsafe { pg_sys::superuser() };
    if let Some(new) = origins.difference(&known).next().filter(|_| !is_superuser) {
        raise::refuse(raise::PgError {
            sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
            message: format!(
                "provider \"{}\" has not been asked at {new} before: its secret must be given again",
                present.name
            ),
            detail: Some("Its requests would go to another scheme, host or port.".into()),
            hint: Some("Give secret in the same call, or let a superuser change the configuration.".into()),
        });
    }
}

/// Says how many answers that are still to come, and may be billed, go with what is dropped.
pub fn notice_owed(owed: i64, whose: &str) {
    if owed > 0 {
        raise::notice(
            &format!("{whose} answers, which go with it: {owed}"),
            "Their questions were handed in and can be billed. What is kept of them in leadlex.ticket is deleted: these answers cannot be asked for any more.",
            "In a transaction, ROLLBACK keeps them: let leadlex.queue run empty, or call again for the contacts, before you drop it.",
        );
    }
}

/// leadlex.drop_provider(name): removes a provider, its budgets, and what is kept of the answers that it owes, with a NOTICE of how
/// many these are. Raises 22023: the name is NULL or unknown. 40001: it has
/// changed since the transaction's one snapshot. 55000: the worker did not write waiting answers in time; not installed, or another
/// version. 53400: leadlex.max_databases is too small.
#[pg_extern(sql = false)]
fn drop_provider(name: Option<&str>) {
    cache::refresh();
    let name = super::required(name, "name");
    if layout::available() {
        let id = cache::providers().iter().find(|p| p.name == name).map(|p| p.id);
        super::wait_for_all_that_came(|filed| Some(filed.provider) == id, "Nothing was dropped.");
    }
    let owed = tickets::owed_by(name);
    if !config::drop_provider(name) {
        unknown(name);
    }
    spend::drop_budgets(name);
    super::note_withdrawn_tickets();
    money::wake_jobs_of_providers(name);
    notice_owed(owed, &format!("provider {name} still owes"));
}

/// leadlex.enable_provider(name, enabled boolean): lets a provider be asked, or not. Raises 22023: the name is NULL or unknown, or
/// `enabled` is NULL. 40001: it has changed since the transaction's one snapshot. 55000: not installed, or another version.
#[pg_extern(sql = false)]
fn enable_provider(name: Option<&str>, enabled: Option<bool>) {
    cache::refresh();
    let name = super::required(name, "name");
    let enabled = super::required(enabled, "enabled");
    if !config::alter_provider(name, None, None, Some(enabled)) {
        unknown(name);
    }
    if enabled {
        warn_of_few_places();
        money::wake_jobs_of_providers(name);
    }
}

/// For the statement that stores a secret: it goes through no text and no parameter. NULL at any
/// other time. Raises 55000: the extension is not installed, or has another version.
#[pg_extern(sql = false)]
fn secret_given() -> Option<String> {
    cache::refresh();
    config::secret_given()
}

/// The trigger on the configuration tables.
#[pg_trigger(sql = false)]
fn config_changed<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, AllocatedByPostgres>>, std::convert::Infallible> {
    // In a schema of any version: it is also what update scripts, loads and restores fire.
    if let Ok(relation) = trigger.relation() {
        cache::invalidate(relation.oid());
        // Rows of these may also be restored, or changed by hand.
        if ["stopped", "queue_pause"].contains(&relation.name()) && layout::available() {
            stop::note_change(false);
        }
        // SAFETY: a global that CREATE and ALTER EXTENSION set while their script runs.
        if unsafe { pg_sys::creating_extension } && layout::available() {
            // The worker has left this database alone until now.
            transaction::with(|t| t.updated_schema = true);
        }
    }
    Ok(None)
}
