//! How the answers about several contacts are told apart.

use serde_json::Value;

use super::node::{Checked, Node};
use super::pointer::Pointer;
use super::wanted;

/// How an answer is found to be a contact's.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Matching {
    /// The answers have the order of the contacts.
    Position,
    /// By an id that is sent and comes back. `no_match`: where the ids of those whom the vendor does not know stand, beside the answers.
    Id { send: Vec<String>, answer: Pointer, no_match: Option<Pointer> },
}

impl Matching {
    /// `answers`: where the list is.
    pub(super) fn parse(node: &Node<'_>, each: &Node<'_>, answers: &Pointer) -> Checked<Matching> {
        if let Value::String(text) = node.value {
            return match text.as_str() {
                "position" => Ok(Matching::Position),
                _ => Err(node.error("must be \"position\", or {\"send\": \"/id\", \"answer\": \"/id\"}")),
            };
        }
        let object = node.object(&["send", "answer", "no_match"])?;
        let send = object.required("send")?;
        let pointer = Pointer::parse(&send)?;
        let tokens: Vec<String> = pointer.tokens().map(str::to_owned).collect();
        if tokens.is_empty() {
            return Err(send.error("must be a place in \"each\", such as /id"));
        }
        let mut here = Some(each.value);
        for (at, token) in tokens.iter().enumerate() {
            let Some(value) = here else {
                refuse_number(&send, token)?;
                continue;
            };
            let members = value.as_object().filter(|_| !is_marked(value));
            let Some(members) = members else {
                return Err(send.error("leads through what is no object in \"each\""));
            };
            here = members.get(token);
            if here.is_none() {
                refuse_number(&send, token)?;
            }
            if here.is_some() && at + 1 == tokens.len() {
                return Err(send.error("is a place that \"each\" fills already"));
            }
        }
        let no_match = object.optional("no_match").map(|place| beside(&place, answers)).transpose()?;
        let place = object.required("answer")?;
        let answer = Pointer::parse(&place)?;
        if answer.tokens().next().is_none() {
            return Err(place.error("must be a place in each answer, such as /id"));
        }
        Ok(Matching::Id { send: tokens, answer, no_match })
    }
}

/// Of a member that is made for the id: a number is meant as a place in a list, and no list is made.
fn refuse_number(send: &Node<'_>, token: &str) -> Checked<()> {
    match !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Err(send.error(
            "has a number, which is a place in a list: an id can be put into objects of \"each\" only, such as /id or /metadata/id",
        )),
        false => Ok(()),
    }
}

/// A place outside of the list.
fn beside(node: &Node<'_>, answers: &Pointer) -> Checked<Pointer> {
    let place = Pointer::parse(node)?;
    let within = answers.tokens().zip(place.tokens()).all(|(one, other)| one == other);
    match within {
        true => {
            Err(node.error("must be a place beside the list at \"answers\", not in it and not around it"))
        }
        false => Ok(place),
    }
}

/// An object that stands for something else.
fn is_marked(value: &Value) -> bool {
    value.get(wanted::KEY).is_some_and(Value::is_object)
}
