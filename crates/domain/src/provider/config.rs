//! Reads a provider's description and refuses every mistake in it, naming the place.

use serde_json::Value;

use super::about;
use super::confidence::Confidence;
use super::exchange::Method;
use super::mapping::Spec;
use super::node::{Checked, Node, header_name};
use super::reading::{Cost, RetryAfter};
use super::same_person::SamePerson;
use super::signals::{self, Signals};
use super::template::{self, Encoding, Placeholder, Template};
use super::url::UrlTemplate;
use super::{Body, BodyNode, Config, Response, WhenLimited};
use crate::fields::{Field, FieldMap, FieldSet, Kind};

const MAX_TIMEOUT_MS: u32 = 60_000;
/// The largest whole number that Postgres's int4 can hold.
const MAX_REQUESTS: u32 = i32::MAX as u32;

/// Headers that are ours to set: they frame the message, name the host or ask for encodings that we must undo.
const RESERVED_HEADERS: [&str; 14] = [
    "host",
    "content-length",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "accept-encoding",
    "proxy-connection",
    "proxy-authorization",
    "proxy-authenticate",
];

/// Reads a whole description. The error names the first mistake and its place.
pub fn parse(description: &Value) -> Checked<Config> {
    let root = Node::root(description).object(&[
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
    ])?;
    let at_most = |key, most| root.optional(key).map(|node| node.integer(1, most)).transpose();
    let (method, url, query, headers, body) = parse_request(&root.required("request")?)?;
    let identify_by = parse_identify_by(&root.required("identify_by")?)?;
    let response = parse_response(&root.required("response")?)?;
    let mapped = response.fields.fields();
    let fills = root.optional("fills").map_or(Ok(mapped), |list| parse_fills(&list, mapped))?;
    root.optional("about").map_or(Ok(()), |node| about::check(&node))?;
    let idempotency_header = match root.optional("idempotency_header") {
        None => None,
        Some(name) => {
            new_header(&name, name.text()?, &headers)?;
            Some(name.text()?.to_owned())
        }
    };
    let mut config = Config {
        method,
        url,
        query,
        headers,
        body,
        identify_by,
        sends: Vec::new(),
        response,
        fills,
        timeout_ms: at_most("timeout_ms", MAX_TIMEOUT_MS)?,
        max_requests_per_minute: at_most("max_requests_per_minute", MAX_REQUESTS)?,
        max_requests_per_day: at_most("max_requests_per_day", MAX_REQUESTS)?,
        max_requests_per_second: at_most("max_requests_per_second", MAX_REQUESTS)?,
        max_concurrent: at_most("max_concurrent", MAX_REQUESTS)?,
        when_limited: root
            .optional("when_limited")
            .map_or(Ok(WhenLimited::Next), |node| when_limited(&node))?,
        idempotency_header,
    };
    config.sends = Placeholder::ALL.into_iter().filter(|placeholder| config.uses(*placeholder)).collect();
    Ok(config)
}

fn when_limited(node: &Node<'_>) -> Checked<WhenLimited> {
    match node.text()? {
        "next" => Ok(WhenLimited::Next),
        "wait" => Ok(WhenLimited::Wait),
        _ => Err(node.error("must be \"next\" or \"wait\"")),
    }
}

type Named = Vec<(String, Template)>;

fn parse_request(node: &Node<'_>) -> Checked<(Method, UrlTemplate, Named, Named, Option<Body>)> {
    let object = node.object(&["method", "url", "headers", "query", "body"])?;
    let method = match object.optional("method") {
        None => Method::Get,
        Some(method) => match method.text()? {
            "GET" => Method::Get,
            "POST" => Method::Post,
            _ => return Err(method.error("must be GET or POST")),
        },
    };
    let url = object.required("url")?;
    let url = UrlTemplate::parse(url.text()?).map_err(|message| url.error(message))?;
    let query = object.optional("query").map_or(Ok(Vec::new()), |query| parse_query(&query))?;
    let mut headers = object.optional("headers").map_or(Ok(Vec::new()), |headers| parse_headers(&headers))?;
    let body = match object.optional("body") {
        None => None,
        Some(body) if method == Method::Get => {
            return Err(body.error("must be left out when the method is GET"));
        }
        Some(body) => Some(parse_body(&body, &mut headers)?),
    };
    if !has_header(&headers, "accept") {
        headers.push(("Accept".to_owned(), Template::literal("application/json")));
    }
    Ok((method, url, query, headers, body))
}

fn parse_template(node: &Node<'_>) -> Checked<Template> {
    match node.value {
        Value::Number(number) => Ok(Template::literal(number.to_string())),
        Value::Bool(flag) => Ok(Template::literal(flag.to_string())),
        _ => Template::parse(node.text()?).map_err(|message| node.error(message)),
    }
}

fn parse_query(node: &Node<'_>) -> Checked<Named> {
    node.members()?
        .into_iter()
        .map(|(name, value)| {
            if name.is_empty() || name.contains(['{', '}']) {
                let message = "must have a name without { and }; placeholders go into the value";
                return Err(value.error(message));
            }
            Ok((template::percent_encoded(name), parse_template(&value)?))
        })
        .collect()
}

fn parse_headers(node: &Node<'_>) -> Checked<Named> {
    let mut headers = Named::new();
    for (name, value) in node.members()? {
        new_header(&value, name, &headers)?;
        if value.text()?.chars().any(char::is_control) {
            return Err(value.error("must not have line breaks or other control characters"));
        }
        headers.push((name.to_owned(), parse_template(&value)?));
    }
    Ok(headers)
}

/// `name` can be sent beside these headers.
fn new_header(place: &Node<'_>, name: &str, headers: &Named) -> Checked<()> {
    header_name(place, name)?;
    let lower = name.to_ascii_lowercase();
    if RESERVED_HEADERS.contains(&lower.as_str()) {
        return Err(place.error("is a header that is set for you; leave it out"));
    }
    if has_header(headers, name) {
        return Err(place.error("is there twice; upper and lower case are the same in header names"));
    }
    Ok(())
}

fn has_header(headers: &Named, name: &str) -> bool {
    headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
}

/// A body of text is written in the manner of its content type, so that a value cannot break out of its place.
fn parse_body(node: &Node<'_>, headers: &mut Named) -> Checked<Body> {
    let content_type = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let declared = content_type.map(|(_, value)| value.literals().to_ascii_lowercase()).unwrap_or_default();
    let undeclared = content_type.is_none();
    let (body, default_type) = match node.value {
        Value::Object(_) | Value::Array(_) => (Body::Json(parse_body_node(node)?), "application/json"),
        Value::String(text) if declared.contains("x-www-form-urlencoded") => {
            let pairs = text.split('&').map(Template::parse);
            let pairs: Result<Vec<_>, String> = pairs.collect();
            let pairs = pairs.map_err(|message| node.error(message))?;
            (Body::Form(pairs), "")
        }
        Value::String(_) => {
            let encoding = if declared.contains("json") { Encoding::Json } else { Encoding::Plain };
            let text = parse_template(node)?;
            (Body::Text { text, encoding }, "text/plain; charset=utf-8")
        }
        _ => return Err(node.error("must be an object, a list or a text")),
    };
    if undeclared {
        let value = Template::literal(default_type);
        headers.push(("Content-Type".to_owned(), value));
    }
    Ok(body)
}

fn parse_body_node(node: &Node<'_>) -> Checked<BodyNode> {
    Ok(match node.value {
        Value::String(_) => BodyNode::Text(parse_template(node)?),
        Value::Array(_) => {
            BodyNode::List(node.items()?.iter().map(parse_body_node).collect::<Checked<Vec<_>>>()?)
        }
        Value::Object(members) => {
            let mut parsed = Vec::with_capacity(members.len());
            for (name, member) in members {
                let member = node.child(name, member);
                if name.contains(['{', '}']) {
                    let message = "must have a name without { and }; placeholders go into the value";
                    return Err(member.error(message));
                }
                parsed.push((name.clone(), parse_body_node(&member)?));
            }
            BodyNode::Object(parsed)
        }
        other => BodyNode::Literal(other.clone()),
    })
}

fn parse_identify_by(node: &Node<'_>) -> Checked<Vec<Vec<Placeholder>>> {
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
            names
                .iter()
                .map(|name| match Placeholder::parse(name.text()?) {
                    Some(placeholder) if placeholder != Placeholder::Secret => Ok(placeholder),
                    _ => Err(name.error(format!("must be one of {}", known.join(", ")))),
                })
                .collect()
        })
        .collect()
}

fn parse_response(node: &Node<'_>) -> Checked<Response> {
    refuse_placeholders(node)?;
    let mut allowed = vec!["fields", "same_person", "confidence", "retry_after", "cost"];
    allowed.extend(signals::keys());
    let object = node.object(&allowed)?;
    let signals = Signals::parse(&object)?;
    let specs = object.required("fields")?;
    let mut fields = FieldMap::default();
    for (name, spec) in specs.members()? {
        let field = Field::parse(name).ok_or_else(|| unknown_field(&spec))?;
        let parsed = Spec::parse(&spec)?;
        if parsed.is_e164() && field.kind() != Kind::Phone {
            return Err(spec.error("has the format of a phone number, which only phone can have"));
        }
        fields.set(field, parsed);
    }
    if fields.is_empty() {
        return Err(specs.error("must map at least one field"));
    }
    let confidence =
        object.optional("confidence").map_or(Ok(Confidence::Unknown), |rule| Confidence::parse(&rule))?;
    let retry_after =
        object.optional("retry_after").map_or(Ok(RetryAfter::NONE), |list| RetryAfter::parse(&list))?;
    let cost = object.optional("cost").map(|rule| Cost::parse(&rule)).transpose()?;
    let same_person = object.optional("same_person").map(|rule| SamePerson::parse(&rule)).transpose()?;
    let same_person = same_person.unwrap_or_default();
    Ok(Response { signals, fields, same_person, confidence, retry_after, cost })
}

/// Whoever writes one means the contact's value, and would get the text as it stands: it is nowhere in an answer.
fn refuse_placeholders(node: &Node<'_>) -> Checked<()> {
    let refuse = |node: &Node<'_>, text: &str| {
        let named = |placeholder: &Placeholder| text.contains(&format!("{{{}}}", placeholder.name()));
        let Some(placeholder) = Placeholder::ALL.iter().find(|placeholder| named(placeholder)) else {
            return Ok(());
        };
        Err(node.error(format!(
            "has the placeholder {{{}}}, which means nothing in a response; \"same_person\" compares an answer with the contact",
            placeholder.name()
        )))
    };
    match node.value {
        Value::String(text) => refuse(node, text),
        Value::Array(_) => node.items()?.iter().try_for_each(refuse_placeholders),
        Value::Object(_) => node.all_members()?.into_iter().try_for_each(|(name, member)| {
            refuse(&member, name)?;
            refuse_placeholders(&member)
        }),
        _ => Ok(()),
    }
}

fn unknown_field(place: &Node<'_>) -> super::ConfigError {
    place.error(format!("is not one of the fields {}", FieldSet::ALL.names().join(", ")))
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
