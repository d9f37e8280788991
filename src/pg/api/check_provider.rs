//! leadlex.check_provider: asks a provider about a made-up or real contact by hand, and shows what it makes of the answer.

use crate::pg::shared::workers;
use crate::pg::sys::clock;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pgrx::prelude::*;
use pgrx::{AnyElement, JsonB};
use serde_json::{Value, json};

use crate::pg::api::providers::{checked, find, unknown};
use crate::pg::provider::PollReserve;
use crate::pg::provider::shared_values;
use crate::pg::provider::shared_values::{About, Crowd};
use crate::pg::provider::spending::{Purpose, Spender};
use crate::pg::provider::{Asker, Ready, Refused};
use crate::pg::shared::layout;
use crate::pg::shared::wait;
use crate::pg::shared::wait::{On, Sent};
use crate::pg::store::cache;
use crate::pg::store::config;
use crate::pg::store::loaded_provider::LoadedProvider;
use crate::pg::store::suppressions;
use crate::pg::sys::{raise, settings};
use crate::pg::{provider, table};
use leadlex_domain::call_error::does_not_identify;
use leadlex_domain::contact::Contact;
use leadlex_domain::fields::{Field, FieldMap, FieldSet};
use leadlex_domain::money::Amount;
use leadlex_domain::person::Person;
use leadlex_domain::provider::Reported;
use leadlex_domain::provider::Supplied;
use leadlex_domain::provider::{
    Answer, Config, Explanation, Fault, FaultKind, HttpRequest, Inquiry, Progress, Seat, Verdict, Whom,
};
use leadlex_domain::suppression;

/// leadlex.check_provider(name, contact jsonb): asks a provider about a contact that is given as JSON, and
/// returns as JSON what was sent and what came of it. No contact is written and no workspace is charged.
/// `outcome` is `not_asked` where no request was sent, and `pending` where the answer is still to come.
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
    let mut shown = match suppressions::any(one_workspace(&found), || {
        suppression::of_person(&person, &contact)
    }) {
        true => not_asked("suppressed", "no provider is to be asked about this person (leadlex.suppression)"),
        false => checked_with(&found, config, &person, about.as_ref()),
    };
    for (name, columns) in [("no_value", person.without_value(&contact)), ("not_alone", person.not_alone())] {
        if let (Some(shown), false) = (shown.as_object_mut(), columns.is_empty()) {
            shown.insert(name.to_owned(), json!(columns));
        }
    }
    if let (Some(shown), true) = (shown.as_object_mut(), person.shared.any()) {
        shown.insert("shared_values".to_owned(), json!(person.shared.columns()));
    }
    let is_asked = shown["reason"] != "not_identifiable";
    if let (true, Some(shown), Some(bulk)) = (is_asked, shown.as_object_mut(), bulk(&found, config, &person))
    {
        shown.insert("bulk".to_owned(), bulk);
    }
    JsonB(shown)
}

/// The workspace that is asked for where the provider is one workspace's, or there is only one: who is on its list, and what many of
/// its people share, counts.
fn one_workspace(found: &LoadedProvider) -> Option<uuid::Uuid> {
    found.workspace.or_else(|| match config::some_workspaces().as_slice() {
        [only] => Some(*only),
        _ => None,
    })
}

/// Who is asked about, and how to tell an answer about somebody else.
fn person_and_answers(found: &LoadedProvider, contact: &Contact) -> (Person, Option<About>) {
    let person = provider::person(contact);
    let Some(workspace) = one_workspace(found) else { return (person, None) };
    let crowd = Crowd::default();
    let mut people = [person];
    shared_values::mark(workspace, &mut people, &crowd);
    let [person] = people;
    let about = About::new(workspace, found.id, &person, &crowd);
    (person, Some(about))
}

/// What a set would send about this contact, together with others; that is shown, and not sent.
fn bulk(found: &LoadedProvider, config: &Arc<Config>, person: &Person) -> Option<Value> {
    let most = config.bulk()?.most();
    let inquiry = Inquiry::new(config.fills());
    if !config.shares(&inquiry, person) {
        return Some(
            json!({"request": null, "most": most, "message": "a set asks about this contact alone: the request about several has no place for what identifies it"}),
        );
    }
    let id = uuid::Uuid::nil().simple().to_string();
    let seat = Seat { inquiry: &inquiry, person, id: &id };
    let nothing = |message: &str| json!({"request": null, "most": most, "message": message});
    Some(match provider::prepare_for_all(found, config, &[seat]) {
        Ok(Ready::Send(prepared)) => json!({"request": prepared.request.masked(), "most": most}),
        Ok(Ready::LogIn(_)) => nothing("it names what the login gives, and that is not known"),
        Ok(Ready::Nothing(_)) => nothing("it has no place for what identifies this contact"),
        Err(fault) => nothing(&fault.message),
    })
}

/// Asks about somebody, step by step; what was sent and what came of it. What is handed in is not kept.
fn checked_with(
    found: &LoadedProvider,
    config: &Arc<Config>,
    person: &Person,
    about: Option<&About>,
) -> Value {
    let until = Instant::now() + settings::total_timeout();
    let (mut inquiry, mut steps) = (Inquiry::new(config.fills()), Vec::new());
    let mut owed = None;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let (mut told, progress) = match one_request(found, config, person, (&mut inquiry, &mut owed), left) {
            Ok((told, progress)) => (told, Some(progress)),
            Err(not_sent) => {
                PollReserve::end(&mut owed, hands_in(config, &inquiry).is_some());
                (not_sent, None)
            }
        };
        if let (Some(Progress::Over(verdict)), Some(about)) = (&progress, about)
            && about.is_somebody_else(verdict)
        {
            let message = "its LinkedIn profile is one that the provider supplies for many people (leadlex.shared_value)";
            told["outcome"] = json!("no_match");
            told["reason"] = json!("shared_value");
            told["message"] = json!(message);
        }
        steps.push(told);
        let after = match progress {
            Some(Progress::Next { after_s }) => Duration::from_secs(after_s),
            Some(Progress::Pending { after_s, .. }) if config.has_steps() => Duration::from_secs(after_s),
            Some(Progress::LogInAgain) => Duration::ZERO,
            _ => break,
        };
        if after >= until.saturating_duration_since(Instant::now()) {
            break;
        }
        let due = Instant::now() + after;
        while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            wait::doze(left, wait::Event::Provider);
        }
    }
    let mut last = steps.last().cloned().unwrap_or_default();
    if config.has_steps() {
        if let Some(cost) = whole_cost(&steps) {
            last["cost"] = cost;
        }
        last["steps"] = json!(steps);
    }
    last
}

/// What the answers of all steps have reported. `None`: nothing.
fn whole_cost(steps: &[Value]) -> Option<Value> {
    let costs: Vec<&Value> = steps.iter().filter_map(|step| step.get("cost")).collect();
    let sum = costs.iter().map(|cost| cost.as_f64()).sum::<Option<f64>>();
    let unreadable = || costs.iter().find(|cost| !cost.is_number()).map(|cost| Value::clone(cost));
    unreadable().or_else(|| sum.filter(|_| !costs.is_empty()).map(|sum| json!(sum)))
}

/// What is tried out is for no workspace.
const NOBODY: uuid::Uuid = uuid::Uuid::nil();

/// If the request that is next hands the question in: how many polls of it there can be.
fn hands_in(config: &Config, inquiry: &Inquiry) -> Option<u64> {
    match Purpose::of(config, inquiry, None) {
        Purpose::HandIn(polls) => Some(polls),
        _ => None,
    }
}

fn spender(config: &Config, inquiry: &Inquiry, purpose: Purpose) -> Spender {
    Spender {
        workspace: NOBODY,
        fields: Some(config.maps()),
        wanted: FieldSet::EMPTY,
        supplied: inquiry.supplied(),
        contacts: 1,
        held: Amount::ZERO,
        purpose,
        logs_in: false,
        is_kept: false,
    }
}

type Prepared = (provider::Prepared, Option<provider::login::Place>);

/// The request, or why there is none.
fn sendable(
    ready: Result<(Ready, Option<provider::login::Place>), Refused>,
    person: &Person,
) -> Result<Prepared, Value> {
    match ready {
        Ok((Ready::Send(prepared), login)) => Ok((prepared, login)),
        Ok((Ready::LogIn(_), _)) => Err(not_asked("internal", "the login gave nothing")),
        Ok((Ready::Nothing(_), _)) if person.shared.any() => {
            let message = "what would identify the contact is shared by many people (leadlex.shared_value)";
            Err(not_asked("not_identifiable", message))
        }
        Ok((Ready::Nothing(_), _)) => {
            let none = "the contact has none of the sets in identify_by";
            let message = match person.not_alone().as_slice() {
                [] => none.to_owned(),
                not_alone => format!("{none}: {}", does_not_identify(not_alone)),
            };
            Err(not_asked("not_identifiable", &message))
        }
        Err(Refused { fault, .. }) => Err(not_asked(fault.kind.name(), &fault.message)),
    }
}

/// Sends the next request of a question; what was sent and what came of it. `Err`: why none was.
fn one_request(
    found: &LoadedProvider,
    config: &Arc<Config>,
    person: &Person,
    (inquiry, owed): (&mut Inquiry, &mut Option<PollReserve>),
    left: Duration,
) -> Result<(Value, Progress), Value> {
    let until = Instant::now() + left;
    let polls = hands_in(config, inquiry).filter(|_| owed.is_none());
    if let Some(polls) = polls {
        let spender = spender(config, inquiry, Purpose::KeepFree(polls));
        let kept = PollReserve::keep(found, config, spender, left);
        *owed = kept.map_err(|fault| not_asked(fault.kind.name(), &fault.message))?;
    }
    let hands_in = hands_in(config, inquiry).is_some();
    let held = owed.as_ref().map_or(Amount::ZERO, |owed| owed.most());
    // What is kept for its polls is not in its way.
    let purpose = if owed.is_some() { Purpose::Fetch } else { Purpose::Ask };
    let spender = Spender { held, ..spender(config, inquiry, purpose) };
    let ready = provider::prepare_logged_in(found, config, (inquiry, person, spender), left, Asker::ByHand);
    let (prepared, login) = sendable(ready, person)?;
    let asked = (prepared.question, spender);
    let in_flight = match provider::admit_in_time(found, config, asked, until, Asker::ByHand) {
        Ok(in_flight) => in_flight,
        Err(fault) => return Err(not_asked(fault.kind.name(), &fault.message)),
    };
    let left = until.saturating_duration_since(Instant::now());
    let (request, rules, whom) = (prepared.request, Arc::clone(config), config.whom(person));
    let (of_whom, sent, mut read) = (whom.clone(), request.clone(), inquiry.clone());
    let mut part = owed.clone();
    let keep = move |answer: Result<&Answer, &Fault>| {
        match answer {
            Ok(answer) => {
                let (came, cost) = read.take(&rules, (&sent, answer), &of_whom, clock::now_us());
                in_flight.note_balance(rules.balance(answer));
                in_flight.ended(&came, read.latest(), cost);
                PollReserve::after(&mut part, &came, hands_in);
            }
            Err(fault) => {
                let failed = Progress::Failed(fault.clone());
                in_flight.ended(&failed, Supplied::default(), None);
                PollReserve::after(&mut part, &failed, hands_in);
            }
        }
        None
    };
    let answer = provider::send(config, (Arc::clone(&request), false), left, Box::new(keep), On::Backend)
        .and_then(Sent::wait);
    // It has to be counted.
    workers::call_if_away();
    let before = inquiry.clone();
    let (progress, cost) = match &answer {
        Ok(answer) => inquiry.take(config, (&request, answer), &whom, clock::now_us()),
        Err(fault) => (Progress::Failed(fault.clone()), None),
    };
    if let (Progress::LogInAgain, Some(login)) = (&progress, login) {
        login.forget();
    }
    PollReserve::after(owed, &progress, hands_in);
    let exchange = Exchange { config, before, whom: &whom, request: &request, answer: &answer };
    Ok((told(found, &exchange, (&progress, inquiry, cost)), progress))
}

fn not_asked(reason: &str, message: &str) -> Value {
    json!({"request": null, "status": null, "outcome": "not_asked", "reason": reason, "message": message})
}

/// One request with its answer.
struct Exchange<'a> {
    config: &'a Config,
    /// How far the question had come before.
    before: Inquiry,
    whom: &'a Whom,
    request: &'a HttpRequest,
    answer: &'a Result<Answer, Fault>,
}

impl Exchange<'_> {
    /// What the answer says by itself. Values that repeat the secret are shown masked, not left out.
    fn verdict(&self, came: &Progress, so_far: Verdict) -> Verdict {
        match (came, self.answer) {
            (Progress::Over(Verdict::Match { .. } | Verdict::NoMatch), Ok(answer))
                if !self.config.has_steps() =>
            {
                self.config.read_all(answer, clock::now(), self.whom).0
            }
            (Progress::Over(verdict), _) => verdict.clone(),
            (Progress::Next { .. }, _) => so_far,
            (
                Progress::Pending { fault, .. } | Progress::TicketUnknown(fault) | Progress::Failed(fault),
                _,
            ) => Verdict::Failed(fault.clone()),
            (Progress::LogInAgain, _) => Verdict::Failed(Fault::new(
                FaultKind::BadCredentials,
                "what the login gave is no longer good",
            )),
        }
    }

    fn explained(&self) -> Option<Explanation> {
        self.answer.as_ref().ok().map(|answer| self.before.explain(self.config, answer))
    }

    /// Why a match is what earlier steps supplied alone.
    fn adds_nothing(&self) -> Option<String> {
        let answer = self.answer.as_ref().ok().filter(|_| self.config.has_steps())?;
        let why = self.before.adds_nothing(self.config, answer, self.whom, clock::now())?;
        Some(format!("this step had nothing: {why}; what earlier steps supplied counts"))
    }

    fn score(&self) -> Option<String> {
        let answer = self.answer.as_ref().ok().filter(|_| !self.config.has_steps())?;
        self.config.score_without_scale(answer).map(no_score)
    }
}

fn told(found: &LoadedProvider, exchange: &Exchange, came: (&Progress, &Inquiry, Option<Reported>)) -> Value {
    let (progress, inquiry, cost) = came;
    let Exchange { request, answer, .. } = exchange;
    let mut told = json!({"request": request.masked(), "status": answer.as_ref().ok().map(|a| a.status)});
    let more = match exchange.verdict(progress, inquiry.so_far()) {
        verdict @ (Verdict::Match { .. } | Verdict::NoMatch) if matches!(progress, Progress::Next { .. }) => {
            let found = match verdict {
                Verdict::Match { values, .. } => values,
                _ => FieldMap::default(),
            };
            let message = "the next step goes on with what this one took";
            json!({"outcome": "next", "fields": shown(request, &found), "message": message})
        }
        Verdict::Match { values, confidence } => {
            let fields = shown(request, &values);
            let explained = exchange.explained();
            let not_compared = explained.as_ref().map(|explained| explained.not_compared.clone());
            let not_compared = not_compared.filter(|names| !names.is_empty());
            let explained = explained.map(|explained| explained.without_value.names());
            let score = exchange.score();
            json!({
                "outcome": "match", "fields": fields, "confidence": confidence, "warning": score,
                "fields_without_value": explained, "same_person_without_value": not_compared,
                "message": exchange.adds_nothing()
            })
        }
        Verdict::OtherPerson(_) => {
            let message = "the answer is about another person than the contact (same_person)";
            json!({"outcome": "no_match", "reason": "other_person", "message": message, "answer": beginning(request, answer)})
        }
        Verdict::NoMatch => {
            let explained = exchange.explained();
            let without = explained.as_ref().map(|explained| explained.without_value.names());
            json!({
                "outcome": "no_match", "message": explained.map(|e| e.why), "fields_without_value": without,
                "answer": beginning(request, answer)
            })
        }
        Verdict::Suppressed => {
            json!({"outcome": "suppressed", "message": "the provider must not tell anything about this person"})
        }
        Verdict::Failed(fault) => {
            let fault = provider::told_of(found, exchange.config, fault);
            // The answer is still to come: nothing has failed.
            let outcome = if fault.kind == FaultKind::Pending { "pending" } else { "failed" };
            json!({
                "outcome": outcome, "reason": fault.kind.name(), "message": fault.message, "hint": fault.remedy,
                "retry_after": fault.retry_after_s
            })
        }
    };
    let is_match = more["outcome"] == "match";
    if let (Some(told), Value::Object(more)) = (told.as_object_mut(), more) {
        told.extend(more.into_iter().filter(|(name, value)| {
            let optional =
                ["retry_after", "hint", "warning", "same_person_without_value"].contains(&name.as_str());
            let no_message = name == "message" && value.is_null() && is_match;
            !(optional && value.is_null() || no_message)
        }));
        let reported = |cost: Reported| match cost {
            Reported::Credits(credits) => json!(credits),
            Reported::Unreadable => json!("unreadable"),
        };
        told.extend(cost.map(|cost| ("cost".to_owned(), reported(cost))));
    }
    told
}

/// How the answer begins: a router's "not found" may pass for the vendor's, and an answer about another person names them.
fn beginning(request: &HttpRequest, answer: &Result<Answer, Fault>) -> Value {
    answer.as_ref().map_or(Value::Null, |answer| json!(request.beginning_of(answer)))
}

/// An echoing provider could hand the secret back in a value.
fn shown(request: &HttpRequest, values: &FieldMap<String>) -> serde_json::Map<String, Value> {
    values.iter().map(|(field, value)| (field.name().to_owned(), request.mask(json!(value)))).collect()
}

fn no_score(number: f64) -> String {
    format!(
        "the score {number} is above 1, so it is not used and the confidence is null: add \"divide_by\" to response/confidence, with the vendor's highest score (such as 100)"
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
