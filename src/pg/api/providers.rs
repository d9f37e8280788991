//! Providers: add, change, drop, check.

use crate::pg::api::workspaces;
use crate::pg::shared::workers;
use crate::pg::sys::clock;
use leadlex_domain::sqlstate;
use std::sync::Arc;

use pgrx::prelude::*;
use pgrx::{AnyElement, JsonB, Uuid};
use serde_json::{Value, json};

use crate::pg::provider::shared_values;
use crate::pg::provider::shared_values::{About, Crowd};
use crate::pg::provider::{Asker, Refused};
use crate::pg::shared::wait::{On, Sent};
use crate::pg::shared::{layout, transaction};
use crate::pg::store::cache;
use crate::pg::store::config;
use crate::pg::store::config::LoadedProvider;
use crate::pg::store::suppressions;
use crate::pg::sys::{raise, settings};
use crate::pg::{provider, table};
use leadlex_domain::contact::Contact;
use leadlex_domain::failure::short;
use leadlex_domain::fields::Field;
use leadlex_domain::person::Person;
use leadlex_domain::provider::{
    Answer, Config, ConfigError, Fault, HttpRequest, Verdict, Whom, merge_preset, presets,
};
use leadlex_domain::suppression;

/// A complete configuration, parsed; 22023 with the place of the mistake.
fn checked(config: &Value) -> Config {
    Config::parse(config).unwrap_or_else(|error| mistaken(error))
}

fn merged(under: &Value, over: &Value) -> Value {
    merge_preset(under, over).unwrap_or_else(|error| mistaken(error))
}

fn mistaken(error: ConfigError) -> ! {
    let place = if error.place.is_empty() { "the top level" } else { &error.place };
    raise::refuse(raise::Refusal {
        sqlstate: sqlstate::INVALID_PARAMETER_VALUE,
        message: format!("provider configuration: {place}: {}", error.message),
        detail: Some(json!({"place": error.place, "message": error.message}).to_string()),
        hint: Some("docs/providers/configuration.md describes the format; leadlex.check_provider tries a provider out.".into()),
    })
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
        raise::refuse(raise::Refusal {
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

fn score_rule(config: &Value) -> &Value {
    &config["response"]["confidence"]
}

/// Says what becomes of scores that are read as they stand: nothing tells a 1 of 1 from a 1 of 100.
fn notice_score(name: &str, config: &Value, parsed: &Config) {
    if parsed.has_no_scale() {
        let rule = score_rule(config);
        let pointer = rule.get("pointer").unwrap_or(rule).to_string().replace('\'', "''");
        pgrx::notice!(
            "provider \"{name}\": the score at {pointer} is taken as a number from 0 to 1, and one above 1 as no score: if the vendor's highest score is another, such as 100, run SELECT leadlex.alter_provider('{name}', '{{\"response\": {{\"confidence\": {{\"pointer\": {pointer}, \"divide_by\": 100}}}}}}')"
        );
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
                "Presets are {}; docs/providers/configuration.md describes config.",
                presets::names().join(", ")
            ),
        ),
    }
}

/// leadlex.add_provider(name, preset, config jsonb, secret, priority integer, workspace_id): adds a provider.
/// `config` changes the preset, or stands alone. `priority` NULL is 100; a lower one is asked first.
/// `workspace_id` NULL is every workspace. Where there is no workspace yet, "default" is made.
/// Raises 22023: an argument is wrong, or preset and config are NULL. 23505: the name is in use.
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
        raise::refuse(raise::Refusal {
            sqlstate: sqlstate::UNIQUE_VIOLATION,
            message: format!("there is a provider \"{name}\" already"),
            detail: None,
            hint: Some(format!(
                "SELECT leadlex.alter_provider('{name}', …) changes it, and gives it a secret; leadlex.drop_provider('{name}') takes it away."
            )),
        });
    }
    let complete = complete(preset, super::json(config, "config"));
    let parsed = checked(&complete);
    if let Some(secret) = secret {
        secret_allowed(secret);
    }
    workspaces::ensure_default();
    let workspace = workspace_id.map(|id| super::workspace_or_only(Some(super::plain(id))));
    let id = uuid::Uuid::now_v7();
    config::add_provider(name, id, workspace, preset, &complete, priority.unwrap_or(100));
    if preset.is_none_or(|preset| score_rule(&complete) != score_rule(&preset_config(preset))) {
        notice_score(name, &complete, &parsed);
    }
    match secret {
        Some(secret) => config::set_secret(name, secret),
        None if parsed.needs_secret() => pgrx::notice!(
            "provider \"{name}\" has no secret, and its request names {{secret}}: it is not asked before leadlex.alter_provider('{name}', secret => 'YOUR_KEY')"
        ),
        None => {}
    }
}

fn unknown(name: &str) -> ! {
    raise::invalid(format!("there is no provider \"{}\"", short(name)), "See leadlex.provider.")
}

fn find(name: &str) -> std::rc::Rc<LoadedProvider> {
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
    // As whoever was waited for has left it.
    cache::forget_changed();
    let present = find(name);
    let change = super::json(config, "config");
    let merged = change.as_ref().map(|change| merged(&present.json, change));
    if let Some(merged) = &merged {
        let parsed = checked(merged);
        if change.as_ref().is_some_and(|change| !score_rule(change).is_null()) {
            notice_score(name, merged, &parsed);
        }
        if secret.is_none() {
            refuse_new_place(&present, &parsed);
        }
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
}

/// A secret goes where it went when it was given, or where a superuser says: else whoever may describe a provider could have
/// it sent to himself. Also where it was lost in a restore, and will be given again.
fn refuse_new_place(present: &LoadedProvider, changed: &Config) {
    let known = present.config.as_ref().map(|config| config.origins()).unwrap_or_default();
    let origins = changed.origins();
    // SAFETY: a catalog look-up.
    let is_superuser = unsafe { pg_sys::superuser() };
    if let Some(new) = origins.difference(&known).next().filter(|_| !is_superuser) {
        raise::refuse(raise::Refusal {
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

/// leadlex.drop_provider(name): removes a provider. Raises 22023: the name is NULL or unknown. 40001: it has
/// changed since the transaction's one snapshot. 55000: not installed, or another version.
#[pg_extern(sql = false)]
fn drop_provider(name: Option<&str>) {
    cache::refresh();
    let name = super::required(name, "name");
    if !config::drop_provider(name) {
        unknown(name);
    }
}

/// leadlex.enable_provider(name, enabled boolean): lets a provider be asked, or not. Raises the errors of
/// drop_provider; 22023 also where `enabled` is NULL.
#[pg_extern(sql = false)]
fn enable_provider(name: Option<&str>, enabled: Option<bool>) {
    cache::refresh();
    let name = super::required(name, "name");
    let enabled = super::required(enabled, "enabled");
    if !config::alter_provider(name, None, None, Some(enabled)) {
        unknown(name);
    }
}

/// leadlex.check_provider(name, contact jsonb): asks a provider about a contact that is given as JSON, and
/// returns as JSON what was sent and what came of it. No contact is written and no workspace is charged.
/// `outcome` is `not_asked` where no request was sent.
/// Raises 22023: an argument is NULL or unfit, or the provider is unknown or its configuration wrong.
/// Raises 55000: not installed, another version, not preloaded, or the worker was late. 53400: no room for
/// the provider's account. 53000: no file descriptor is left for the request.
#[pg_extern(sql = false)]
fn check_provider(name: Option<&str>, contact: Option<AnyElement>) -> JsonB {
    cache::refresh();
    layout::require();
    let found = find(super::required(name, "name"));
    let contact = contact_from(&super::required(super::json(contact, "contact"), "contact"));
    let config = match &found.config {
        Ok(config) => config,
        Err(_) => {
            checked(&found.json);
            unknown(&found.name)
        }
    };
    let (person, about) = person_and_answers(&found, &contact);
    let mut shown = match suppressions::any(found.workspace, || suppression::of_person(&person, &contact)) {
        true => not_asked("suppressed", "nobody is to be asked about this person (leadlex.suppression)"),
        false => checked_with(&found, config, &person, about.as_ref()),
    };
    let without = person.without_value(&contact);
    if let (Some(shown), false) = (shown.as_object_mut(), without.is_empty()) {
        shown.insert("no_value".to_owned(), json!(without));
    }
    if let (Some(shown), true) = (shown.as_object_mut(), person.shared.any()) {
        shown.insert("shared_values".to_owned(), json!(person.shared.columns()));
    }
    JsonB(shown)
}

/// Who is asked about, and how to tell an answer about somebody else. What many people of a workspace share is known where
/// the provider is one workspace's, or there is only one.
fn person_and_answers(found: &LoadedProvider, contact: &Contact) -> (Person, Option<About>) {
    let person = provider::person(contact);
    let only = || match config::some_workspaces().as_slice() {
        [only] => Some(*only),
        _ => None,
    };
    let Some(workspace) = found.workspace.or_else(only) else { return (person, None) };
    let crowd = Crowd::default();
    let mut people = [person];
    shared_values::mark(workspace, &mut people, &crowd);
    let [person] = people;
    let about = About::new(workspace, found.id, &person, &crowd);
    (person, Some(about))
}

/// Asks about somebody; what was sent and what came of it.
fn checked_with(
    found: &LoadedProvider,
    config: &Arc<Config>,
    person: &Person,
    about: Option<&About>,
) -> Value {
    let prepared = match provider::prepare(found, config, person) {
        Ok(Some(prepared)) => prepared,
        Ok(None) if person.shared.any() => {
            let message = "what would identify the contact is shared by many people (leadlex.shared_value)";
            return not_asked("not_identifiable", message);
        }
        Ok(None) => return not_asked("not_identifiable", "the contact has none of the sets in identify_by"),
        Err(fault) => return not_asked(fault.kind.name(), &fault.message),
    };
    let left = settings::total_timeout();
    let in_flight = match provider::admit(found, config, prepared.question, left, Asker::ByHand) {
        Ok(in_flight) => in_flight,
        Err(Refused { fault, .. }) => return not_asked(fault.kind.name(), &fault.message),
    };
    let (request, rules, whom) = (prepared.request, Arc::clone(config), config.whom(person));
    let of_whom = whom.clone();
    let (shown, sent) = (request.masked(), request.clone());
    let keep = move |answer: Result<&Answer, &Fault>| match answer {
        Ok(answer) => {
            let (verdict, cost) = rules.read_all(answer, clock::now(), &of_whom);
            in_flight.ended(&sent.without_echo(verdict), cost);
        }
        Err(fault) => in_flight.ended(&Verdict::Failed(fault.clone()), None),
    };
    let answer =
        provider::send(config, request.clone(), left, Box::new(keep), On::Backend).and_then(Sent::wait);
    // It has to be counted.
    workers::call_if_away();
    let mut told = told(found, (config, &whom), shown, &request, &answer);
    let verdict = answer.as_ref().ok().map(|answer| config.read_all(answer, clock::now(), &whom).0);
    if about.zip(verdict).is_some_and(|(about, verdict)| about.is_somebody_else(&verdict)) {
        let message =
            "its LinkedIn profile is one that the provider supplies for many people (leadlex.shared_value)";
        told["outcome"] = json!("no_match");
        told["reason"] = json!("shared_value");
        told["message"] = json!(message);
    }
    told
}

fn not_asked(reason: &str, message: &str) -> Value {
    json!({"request": null, "status": null, "outcome": "not_asked", "reason": reason, "message": message})
}

fn told(
    found: &LoadedProvider,
    (config, whom): (&Config, &Whom),
    shown: Value,
    request: &HttpRequest,
    answer: &Result<Answer, Fault>,
) -> Value {
    let status = answer.as_ref().ok().map(|a| a.status);
    let (verdict, cost) = match answer {
        Ok(answer) => {
            let (verdict, cost) = config.read_all(answer, clock::now(), whom);
            let verdict = match verdict {
                failed @ Verdict::Failed(_) => request.without_echo(failed),
                // Values that repeat the secret are shown masked.
                other => other,
            };
            (verdict, cost)
        }
        Err(fault) => (Verdict::Failed(fault.clone()), None),
    };
    let mut told = json!({"request": shown, "status": status});
    let more = match provider::told(found, verdict) {
        Verdict::Match { values, confidence } => {
            let fields: serde_json::Map<String, Value> =
                // An echoing provider could hand the secret back in a value.
                values.iter().map(|(field, value)| (field.name().to_owned(), request.mask(json!(value)))).collect();
            let explained = answer.as_ref().ok().map(|answer| config.explain(answer).without_value.names());
            let score =
                answer.as_ref().ok().and_then(|answer| config.score_without_scale(answer)).map(no_score);
            json!({
                "outcome": "match", "fields": fields, "confidence": confidence, "warning": score,
                "fields_without_value": explained
            })
        }
        Verdict::OtherPerson => {
            let message = "the answer is about another person than the contact (same_person)";
            json!({"outcome": "no_match", "reason": "other_person", "message": message})
        }
        Verdict::NoMatch => {
            let explained = answer.as_ref().ok().map(|answer| config.explain(answer));
            let without = explained.as_ref().map(|explained| explained.without_value.names());
            json!({"outcome": "no_match", "message": explained.map(|e| e.why), "fields_without_value": without})
        }
        Verdict::Suppressed => {
            json!({"outcome": "suppressed", "message": "the provider must not tell anything about this person"})
        }
        Verdict::Failed(fault) => json!({
            "outcome": "failed", "reason": fault.kind.name(), "message": fault.message, "hint": fault.remedy,
            "retry_after": fault.retry_after_s
        }),
    };
    if let (Some(told), Value::Object(more)) = (told.as_object_mut(), more) {
        told.extend(more.into_iter().filter(|(name, value)| {
            !["retry_after", "hint", "warning"].contains(&name.as_str()) || !value.is_null()
        }));
        told.extend(cost.map(|cost| ("cost".to_owned(), json!(cost))));
    }
    told
}

fn no_score(number: f64) -> String {
    format!(
        "the score {number} is above 1, so it is no score: add \"divide_by\" to response/confidence, with the vendor's highest score (such as 100)"
    )
}

/// A contact given as JSON, by our names.
fn contact_from(given: &Value) -> Contact {
    let Some(members) = given.as_object() else {
        raise::invalid("contact must be a JSON object", "For example '{\"email\": \"jane@acme.example\"}'.")
    };
    let mut contact = Contact::default();
    for (name, value) in members {
        let text = match value {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            _ => raise::invalid(
                format!("contact: {name} must be a string"),
                "Numbers and objects are not sent.",
            ),
        };
        let slot = match name.as_str() {
            "id" => continue,
            "full_name" => &mut contact.full_name,
            "first_name" => &mut contact.first_name,
            "last_name" => &mut contact.last_name,
            "email" => &mut contact.email,
            "company_domain" => &mut contact.company_domain,
            other => match (Field::parse(other), text) {
                (Some(field), Some(text)) => {
                    contact.values.set(field, text);
                    continue;
                }
                (Some(_), None) => continue,
                (None, _) => raise::invalid(
                    format!("contact: unknown name \"{other}\""),
                    format!("Known are {} and the six fields.", table::IDENTIFYING.join(", ")),
                ),
            },
        };
        *slot = text;
    }
    contact
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
        // SAFETY: a global that CREATE and ALTER EXTENSION set while their script runs.
        if unsafe { pg_sys::creating_extension } && layout::available() {
            // The worker has left this database alone until now.
            transaction::with(|t| t.updated_schema = true);
        }
    }
    Ok(None)
}
