//! Reads how a request is described.

use serde_json::Value;

use super::exchange::Method;
use super::node::{Checked, Node, header_name};
use super::request::{Body, BodyNode, Param, RequestTemplate};
use super::taken::Names;
use super::template::{self, Encoding, Template};
use super::url::UrlTemplate;
use super::wanted::Wanted;

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

/// The only key of an object that stands for one of each contact.
pub const EACH: &str = "each";

/// Whether an object is meant so.
pub fn is_each(value: &Value) -> bool {
    value.as_object().is_some_and(|members| members.len() == 1 && members.contains_key(EACH))
}

/// Names of headers, and their values.
pub type Named = Vec<(String, Template)>;

/// Reads the `request` of a step or login. `names`: what can stand in its braces besides our own. The error names the
/// first mistake and its place.
pub fn parse_request(node: &Node<'_>, names: &Names) -> Checked<RequestTemplate> {
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
    let url = UrlTemplate::parse_with(url.text()?, names).map_err(|message| url.error(message))?;
    let query = object.optional("query").map_or(Ok(Vec::new()), |query| parse_query(&query, names))?;
    let mut headers =
        object.optional("headers").map_or(Ok(Vec::new()), |headers| parse_headers(&headers, names))?;
    let body = match object.optional("body") {
        None => None,
        Some(body) if method == Method::Get => {
            return Err(body.error("must be left out when the method is GET"));
        }
        Some(body) => Some(parse_body(&body, &mut headers, names)?),
    };
    if !has_header(&headers, "accept") {
        headers.push(("Accept".to_owned(), Template::literal("application/json")));
    }
    Ok(RequestTemplate { method, url, query, headers, body })
}

fn parse_template(node: &Node<'_>, names: &Names) -> Checked<Template> {
    match node.value {
        Value::Number(number) => Ok(Template::literal(number.to_string())),
        Value::Bool(flag) => Ok(Template::literal(flag.to_string())),
        _ => Template::parse_with(node.text()?, names).map_err(|message| node.error(message)),
    }
}

fn parse_query(node: &Node<'_>, names: &Names) -> Checked<Vec<(String, Param)>> {
    node.members()?
        .into_iter()
        .map(|(name, value)| {
            if name.is_empty() || name.contains(['{', '}']) {
                let message = "must have a name without { and }; placeholders go into the value";
                return Err(value.error(message));
            }
            let param = match value.value {
                Value::Array(items) if items.is_empty() => {
                    return Err(value.error("must not be an empty list"));
                }
                Value::Array(_) => {
                    let items = value.items()?;
                    Param::First(
                        items.iter().map(|item| parse_template(item, names)).collect::<Checked<_>>()?,
                    )
                }
                _ if Wanted::is_meant(&value) => Param::Wanted(Wanted::parse(&value)?),
                _ => Param::First(vec![parse_template(&value, names)?]),
            };
            Ok((template::percent_encoded(name), param))
        })
        .collect()
}

fn parse_headers(node: &Node<'_>, names: &Names) -> Checked<Named> {
    let mut headers = Named::new();
    for (name, value) in node.members()? {
        new_header(&value, name, &headers)?;
        if value.text()?.chars().any(char::is_control) {
            return Err(value.error("must not have line breaks or other control characters"));
        }
        headers.push((name.to_owned(), parse_template(&value, names)?));
    }
    Ok(headers)
}

/// `name` can be sent beside these headers.
pub fn new_header(place: &Node<'_>, name: &str, headers: &Named) -> Checked<()> {
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
fn parse_body(node: &Node<'_>, headers: &mut Named, names: &Names) -> Checked<Body> {
    let content_type = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let declared = content_type.map(|(_, value)| value.literals().to_ascii_lowercase()).unwrap_or_default();
    let undeclared = content_type.is_none();
    let (body, default_type) = match node.value {
        Value::Object(_) | Value::Array(_) => (Body::Json(parse_body_node(node, names)?), "application/json"),
        Value::String(text) if declared.contains("x-www-form-urlencoded") => {
            let pairs = text.split('&').map(|pair| Template::parse_with(pair, names));
            let pairs: Result<Vec<_>, String> = pairs.collect();
            let pairs = pairs.map_err(|message| node.error(message))?;
            (Body::Form(pairs), "")
        }
        Value::String(_) => {
            let encoding = if declared.contains("json") { Encoding::Json } else { Encoding::Plain };
            let text = parse_template(node, names)?;
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

fn parse_body_node(node: &Node<'_>, names: &Names) -> Checked<BodyNode> {
    Ok(match node.value {
        Value::String(_) => BodyNode::Text(parse_template(node, names)?),
        Value::Array(_) => {
            let items = node.items()?;
            BodyNode::List(items.iter().map(|item| parse_body_node(item, names)).collect::<Checked<_>>()?)
        }
        Value::Object(_) if Wanted::is_meant(node) => BodyNode::Wanted(Wanted::parse(node)?),
        Value::Object(members) if names.of_several() && is_each(node.value) => {
            let each = node.child(EACH, &members[EACH]);
            BodyNode::Each(Box::new(parse_body_node(&each, names)?))
        }
        Value::Object(members) => {
            let mut parsed = Vec::with_capacity(members.len());
            for (name, member) in members {
                let member = node.child(name, member);
                if name.contains(['{', '}']) {
                    let message = "must have a name without { and }; placeholders go into the value";
                    return Err(member.error(message));
                }
                parsed.push((name.clone(), parse_body_node(&member, names)?));
            }
            BodyNode::Object(parsed)
        }
        other => BodyNode::Literal(other.clone()),
    })
}
