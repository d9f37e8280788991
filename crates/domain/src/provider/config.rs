//! Reads a provider's description and refuses every mistake in it, naming the place.

use serde_json::Value;

use super::bulk::Bulk;
use super::limits::WhenLimited;
use super::login::Login;
use super::node::{Checked, Node, Object};
use super::parse_request::new_header;
use super::placeholder::Placeholder;
use super::price::Price;
use super::request::RequestTemplate;
use super::response::unknown_field;
use super::step::Step;
use super::taken::{Names, Take};
use super::template::Template;
use super::{Config, IdentifyingSet, WhenPending, about, mapped};
use crate::fields::{Field, FieldSet};

const MAX_TIMEOUT_MS: u32 = 60_000;
/// The largest whole number that Postgres's int4 can hold.
const MAX_REQUESTS: u32 = i32::MAX as u32;
const MOST_STEPS: usize = 8;
const LONGEST_POLL_EVERY_S: u32 = 3_600;
/// 30 days.
const LONGEST_POLL_FOR_S: u32 = 2_592_000;

const KEYS: [&str; 22] = [
    "about",
    "request",
    "identify_by",
    "response",
    "fills",
    "timeout_ms",
    "max_requests_per_minute",
    "max_requests_per_day",
    "max_requests_per_second",
    "max_concurrent",
    "when_limited",
    "idempotency_header",
    "steps",
    "login",
    "send",
    "poll_every_s",
    "poll_for_s",
    "when_pending",
    "min_confidence",
    "price",
    "bulk",
    "low_balance",
];

/// Reads a whole description. The error names the first mistake and its place.
pub fn parse(description: &Value) -> Checked<Config> {
    let root = Node::root(description).object(&KEYS)?;
    let at_most = |key, most| root.optional(key).map(|node| node.integer(1, most)).transpose();
    let (login, steps) = parse_steps(&root)?;
    let bulk = root.optional("bulk").map(|node| Bulk::parse(&node, login.as_ref(), &steps)).transpose()?;
    let used_set = root.optional("send").map_or(Ok(false), |send| word(&send, "all", "used_set"))?;
    let held = root.optional("when_limited").map_or(Ok(false), |when| word(&when, "next", "wait"))?;
    let next = root.optional("when_pending").map_or(Ok(false), |when| when_pending(&when))?;
    let mapped = mapped(&steps);
    let mut config = Config {
        login,
        sets: parse_identify_by(&root.required("identify_by")?, used_set)?,
        sends: Vec::new(),
        wanted: requests(&steps, bulk.as_ref()).flat_map(RequestTemplate::wanted).cloned().collect(),
        maps: mapped,
        fills: root.optional("fills").map_or(Ok(mapped), |list| parse_fills(&list, mapped))?,
        timeout_ms: at_most("timeout_ms", MAX_TIMEOUT_MS)?,
        max_requests_per_minute: at_most("max_requests_per_minute", MAX_REQUESTS)?,
        max_requests_per_day: at_most("max_requests_per_day", MAX_REQUESTS)?,
        max_requests_per_second: at_most("max_requests_per_second", MAX_REQUESTS)?,
        max_concurrent: at_most("max_concurrent", MAX_REQUESTS)?,
        when_limited: if held { WhenLimited::Wait } else { WhenLimited::Next },
        idempotency_header: root
            .optional("idempotency_header")
            .map(|name| parse_header(&name, requests(&steps, bulk.as_ref())))
            .transpose()?,
        poll_every_s: at_most("poll_every_s", LONGEST_POLL_EVERY_S)?,
        poll_for_s: at_most("poll_for_s", LONGEST_POLL_FOR_S)?,
        when_pending: if next { WhenPending::Next } else { WhenPending::Wait },
        min_confidence: root
            .optional("min_confidence")
            .map(|least| parse_least(&least, &steps))
            .transpose()?,
        price: root.optional("price").map(|price| parse_price(&price, &steps, mapped)).transpose()?,
        low_balance: root.optional("low_balance").map(|low| parse_low_balance(&low, &steps)).transpose()?,
        steps,
        bulk,
    };
    check_polling(&root, &config)?;
    check_told(&root, &config)?;
    root.optional("about").map_or(Ok(()), |node| about::check(&node))?;
    config.sends = Placeholder::ALL.into_iter().filter(|placeholder| config.uses(*placeholder)).collect();
    Ok(config)
}

/// Whether it is the second of two words.
/// There is a setting of that name, too, with other words.
fn when_pending(node: &Node<'_>) -> Checked<bool> {
    match node.text()? {
        "queue" | "error" => Err(node.error(
            "must be \"wait\" or \"next\"; \"queue\" and \"error\" are for the setting leadlex.when_pending",
        )),
        _ => word(node, "wait", "next"),
    }
}

fn word(node: &Node<'_>, first: &str, second: &str) -> Checked<bool> {
    match node.text()? {
        text if text == first => Ok(false),
        text if text == second => Ok(true),
        _ => Err(node.error(format!("must be \"{first}\" or \"{second}\""))),
    }
}

/// `request` and `response` are one step.
fn parse_steps(root: &Object<'_>) -> Checked<(Option<Login>, Vec<Step>)> {
    let given = root.optional("login");
    let login_take = given.as_ref().map(Login::parse_take).transpose()?;
    let mut names = login_take.as_ref().map_or_else(Names::default, Names::with_login);
    let mut steps = match root.optional("steps") {
        None => {
            let (request, response) = (root.required("request")?, root.required("response")?);
            vec![Step::parse(&request, &response, Take::default(), &names, true)?]
        }
        Some(list) => {
            let besides = ["request", "response"].into_iter().find_map(|key| root.optional(key));
            if let Some(beside) = besides {
                return Err(beside.error(
                    "must be left out where there are \"steps\": each has its own; to change one, give all of them",
                ));
            }
            parse_list(&list, &mut names)?
        }
    };
    let mut login = given.zip(login_take).map(|(node, take)| Login::parse(&node, take)).transpose()?;
    let in_headers = |step: &Step| step.request.taken_in_headers().map(str::to_owned).collect::<Vec<_>>();
    let in_headers: Vec<String> = steps.iter().flat_map(in_headers).collect();
    let named = || in_headers.iter().map(String::as_str);
    steps.iter_mut().for_each(|step| step.take.in_headers(named()));
    login.iter_mut().for_each(|login| login.in_headers(named()));
    if login.is_some() && !steps.iter().any(|step| step.logs_in) {
        let message = "takes what no request names; write {name} where the request wants it, such as \"Bearer {token}\"";
        return Err(root.required("login")?.error(message));
    }
    Ok((login, steps))
}

fn parse_list(list: &Node<'_>, names: &mut Names) -> Checked<Vec<Step>> {
    let items = list.items()?;
    if items.is_empty() {
        return Err(list.error("must have at least one step"));
    }
    if items.len() > MOST_STEPS {
        return Err(list.error(format!("must not have more than {MOST_STEPS} steps")));
    }
    let objects: Vec<Object<'_>> =
        items.iter().map(|item| item.object(&["request", "response", "take"])).collect::<Checked<_>>()?;
    let mut takes = Vec::with_capacity(objects.len());
    for (at, object) in objects.iter().enumerate() {
        let take = match object.optional("take") {
            Some(node) => Take::parse(&node, names)?,
            None => Take::default(),
        };
        names.expect(&take, &format!("/steps/{at}/take"));
        takes.push(take);
    }
    let mut steps = Vec::with_capacity(objects.len());
    for (at, (object, take)) in objects.iter().zip(takes).enumerate() {
        let (request, response) = (object.required("request")?, object.required("response")?);
        let step = Step::parse(&request, &response, take, names, at + 1 == objects.len())?;
        names.add(&step.take);
        steps.push(step);
    }
    Ok(steps)
}

fn requests<'a>(steps: &'a [Step], bulk: Option<&'a Bulk>) -> impl Iterator<Item = &'a RequestTemplate> {
    steps.iter().map(|step| &step.request).chain(bulk.into_iter().flat_map(Bulk::templates))
}

fn parse_header<'a>(
    name: &Node<'_>,
    mut requests: impl Iterator<Item = &'a RequestTemplate>,
) -> Checked<String> {
    requests.try_for_each(|request| new_header(name, name.text()?, &request.headers))?;
    Ok(name.text()?.to_owned())
}

fn parse_least(node: &Node<'_>, steps: &[Step]) -> Checked<f64> {
    let least = node.number()?;
    if !(0.0..=1.0).contains(&least) {
        return Err(node.error("must be a number from 0 to 1"));
    }
    let scored = steps.iter().any(|step| !step.response.confidence.is_unknown());
    if least > 0.0 && !scored {
        return Err(node.error(
            "is above 0, and no response has a \"confidence\": every answer would count as no match",
        ));
    }
    Ok(least)
}

fn parse_price(node: &Node<'_>, steps: &[Step], mapped: FieldSet) -> Checked<Price> {
    Price::parse(node, steps.iter().any(|step| step.response.reports_cost()), mapped)
}

fn parse_low_balance(node: &Node<'_>, steps: &[Step]) -> Checked<f64> {
    let low = node.number()?;
    if low <= 0.0 {
        return Err(node.error("must be a number above 0"));
    }
    if steps.iter().all(|step| step.response.balance.is_none()) {
        return Err(node.error("means nothing here: no response has a \"balance\""));
    }
    Ok(low)
}

/// How often and how long to ask says something only where an answer can be that there is none yet. That can be without
/// `steps`, too: a later call asks again, and the queue does.
fn check_polling(root: &Object<'_>, config: &Config) -> Checked<()> {
    let together = config.submission().into_iter().flat_map(|submission| submission.steps());
    let can_be_pending =
        config.steps.iter().chain(together).any(|step| step.response.signals.can_be_pending());
    let given = ["poll_every_s", "poll_for_s", "when_pending"].into_iter().find_map(|key| root.optional(key));
    if let Some(node) = given.as_ref().filter(|_| !can_be_pending) {
        return Err(
            node.error("means nothing here: no response has \"pending\", and status 202 has another meaning")
        );
    }
    let (every, longest) = (config.poll_every_s(), config.poll_for_s());
    if longest < every {
        let place = root.optional("poll_for_s").or(given).unwrap_or(root.required("identify_by")?);
        return Err(place.error(format!(
            "must not be less than poll_every_s: the first time would be after {every} s, and the last before {longest} s"
        )));
    }
    Ok(())
}

/// A request that has no place for anything of a contact is about nobody, so it would never be sent.
fn check_told(root: &Object<'_>, config: &Config) -> Checked<()> {
    let untold = |step: &Step| !step.request.templates().into_iter().any(Template::tells);
    let Some(at) = config.steps.iter().position(untold) else { return Ok(()) };
    let place = match root.optional("steps") {
        None => root.required("request")?,
        Some(list) => {
            let steps = list.items()?;
            steps[at].object(&["request", "response", "take"])?.required("request")?
        }
    };
    let of_steps = if at > 0 { ", or what an earlier step took" } else { "" };
    Err(place.error(format!(
        "names nothing of the contact, so it would never be sent: write a placeholder such as {{email}} in its URL, query, headers or body{of_steps}"
    )))
}

fn parse_identify_by(node: &Node<'_>, used_set: bool) -> Checked<Vec<IdentifyingSet>> {
    let known: Vec<&str> = Placeholder::ALL
        .iter()
        .filter(|placeholder| **placeholder != Placeholder::Secret)
        .map(|placeholder| placeholder.name())
        .collect();
    let sets = node.items()?;
    if sets.is_empty() {
        return Err(node.error("must have at least one set, such as [\"email\"]"));
    }
    sets.iter()
        .map(|set| {
            let names = set.items()?;
            if names.is_empty() {
                return Err(set.error("must have at least one name, such as \"email\""));
            }
            let set = names
                .iter()
                .map(|name| match Placeholder::parse(name.text()?) {
                    Some(placeholder) if placeholder != Placeholder::Secret => Ok(placeholder),
                    _ => Err(name.error(format!("must be one of {}", known.join(", ")))),
                })
                .collect::<Checked<Vec<_>>>()?;
            Ok(IdentifyingSet::new(set, used_set))
        })
        .collect()
}

fn parse_fills(node: &Node<'_>, mapped: FieldSet) -> Checked<FieldSet> {
    let mut fills = FieldSet::EMPTY;
    for item in node.items()? {
        let field = Field::parse(item.text()?).ok_or_else(|| unknown_field(&item))?;
        if !mapped.contains(field) {
            return Err(
                item.error(format!("is not among the response's fields ({})", mapped.names().join(", ")))
            );
        }
        fills.insert(field);
    }
    if fills.is_empty() {
        return Err(node.error("must name at least one field"));
    }
    Ok(fills)
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "steps_tests.rs"]
mod steps_tests;
