//! Several contacts that are handed in together, and answered later: how that is described.

use serde_json::{Value, json};

use super::exchange::HttpRequest;
use super::failure_kind::{Fault, FaultKind};
use super::matching::Matching;
use super::node::{Checked, Node, Object};
use super::placeholder::Placeholder;
use super::response::Response;
use super::step::Step;
use super::taken::{Names, Take, Taken};
use super::{Config, mapped};
use crate::hash::{Hash, hash};

const MOST_STEPS: usize = 8;

/// The steps of `bulk`, of which the first hands several contacts in.
#[derive(Clone, Debug, PartialEq)]
pub struct Submission {
    /// At least two.
    steps: Vec<Step>,
    /// Of what is handed in and taken: a ticket of other requests is none of these.
    mark: Hash,
}

/// A contact's place among those that were handed in together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// From 0.
    pub at: usize,
    /// How many they are.
    pub of: usize,
    /// By which its answer is found, where that is not its position.
    pub id: String,
    /// See [`Submission`].
    mark: Hash,
}

impl Place {
    /// Of so many contacts whose answers come at once.
    pub(super) fn at_once(at: usize, of: usize, id: &str) -> Place {
        Place { at, of, id: id.to_owned(), ..Place::default() }
    }

    /// To be kept with its ticket.
    pub(super) fn to_json(&self) -> Value {
        json!({"at": self.at, "of": self.of, "id": self.id, "mark": hex(&self.mark)})
    }
}

/// Contacts of one group can share a request: what is said once for all of them is the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Group {
    words: Vec<Vec<String>>,
    /// Of those that were handed in together: the step, and what was taken.
    ticket: Option<(usize, Taken)>,
}

impl Group {
    /// Of those that are not handed in yet, with what is said once for all of them.
    pub(super) fn of_words(words: Vec<Vec<String>>) -> Group {
        Group { words, ticket: None }
    }

    /// Of those that were handed in together, at this step.
    pub(super) fn of_ticket(step: usize, taken: Taken) -> Group {
        Group { ticket: Some((step, taken)), ..Group::default() }
    }

    /// Whether it is asked for what was handed in before.
    pub fn has_ticket(&self) -> bool {
        self.ticket.is_some()
    }
}

impl Submission {
    /// All of them.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Those after the one that hands in.
    pub fn later(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().skip(1)
    }

    /// Whether one of its requests names what the login takes.
    pub fn logs_in(&self) -> bool {
        self.steps.iter().any(|step| step.logs_in)
    }

    /// The last has the list of answers.
    pub(super) fn last(&self) -> &Step {
        self.steps.last().expect("there are at least two")
    }

    /// Of the one that stands there among so many.
    pub(super) fn place(&self, at: usize, of: usize, id: &str) -> Place {
        Place { at, of, id: id.to_owned(), mark: self.mark }
    }

    /// Reads what [`Place::to_json`] wrote. `None`: it is of another description.
    pub fn place_from_json(&self, json: &Value) -> Option<Place> {
        let number = |key: &str| json[key].as_u64().and_then(|number| usize::try_from(number).ok());
        let id = json["id"].as_str()?.to_owned();
        let place = Place { at: number("at")?, of: number("of")?, id, mark: self.mark };
        (json["mark"].as_str()? == hex(&self.mark) && place.at < place.of).then_some(place)
    }
}

fn hex(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads the steps. `names`: what the first request can name. `alone`: the steps about one contact.
pub(super) fn parse_submission(
    list: &Node<'_>,
    (mut names, matching): (Names, &Matching),
    alone: &[Step],
) -> Checked<Submission> {
    let items = list.items()?;
    if !(2..=MOST_STEPS).contains(&items.len()) {
        return Err(list.error(format!(
            "must be 2 to {MOST_STEPS} steps: one that hands in, and at least one that asks for the answers; where they come at once, give the \"request\" in place of \"steps\""
        )));
    }
    let mut parts = vec![match matching {
        Matching::Position => "position".to_owned(),
        Matching::Id { send, .. } => send.join("/"),
    }];
    let mut steps: Vec<Step> = Vec::with_capacity(items.len());
    let objects = items.iter().map(|item| item.object(&["request", "response", "take"]));
    let objects: Vec<Object<'_>> = objects.collect::<Checked<_>>()?;
    let mut takes = Vec::with_capacity(objects.len());
    for (at, object) in objects.iter().enumerate() {
        let take = object.optional("take").map_or(Ok(Take::default()), |node| Take::parse(&node, &names))?;
        if let Some(place) = object.optional("take") {
            refuse_conditions(&place)?;
        }
        names.expect(&take, &format!("/bulk/steps/{at}/take"));
        takes.push(take);
    }
    for (at, (object, take)) in objects.iter().zip(takes).enumerate() {
        let (request, response) = (object.required("request")?, object.required("response")?);
        parts.extend([
            request.value.to_string(),
            object.optional("take").map_or_else(String::new, |take| take.value.to_string()),
        ]);
        let step = parse_step(&request, &response, take, (&names, at, items.len()))?;
        names.add(&step.take);
        names = names.for_one();
        steps.push(step);
    }
    let in_headers: Vec<String> =
        steps.iter().flat_map(|step| step.request.taken_in_headers().map(str::to_owned)).collect();
    steps.iter_mut().for_each(|step| step.take.in_headers(in_headers.iter().map(String::as_str)));
    let parts: Vec<&[u8]> = parts.iter().map(String::as_bytes).collect();
    let submission = Submission { steps, mark: hash(&parts) };
    check_fields(&submission, list, alone)?;
    Ok(submission)
}

/// Of one contact an answer can be complete already. Of several only the last step's answer says something.
fn refuse_conditions(take: &Node<'_>) -> Checked<()> {
    for (_, place) in take.members()? {
        if let Some(condition) = place.value.get("if").filter(|value| !value.is_null()) {
            return Err(place.child("if", condition).error(
                "is for a step about one contact: here a later step always asks for the answers. What says that there is none belongs into \"response\", as \"failed\" or \"quota\"",
            ));
        }
    }
    Ok(())
}

fn parse_step(
    request: &Node<'_>,
    response: &Node<'_>,
    take: Take,
    (names, at, count): (&Names, usize, usize),
) -> Checked<Step> {
    let is_last = at + 1 == count;
    // Fields can be left to the response about one contact.
    let step = Step::parse(request, response, take, names, false)?;
    if at > 0 {
        let templates = step.request.templates();
        let ours = |p: &Placeholder| *p != Placeholder::Secret && templates.iter().any(|text| text.uses(*p));
        if Placeholder::ALL.iter().any(ours) || !step.request.wanted().is_empty() {
            return Err(request.error("names something of a contact, which only the first step can: what was handed in is one for all of them"));
        }
        if !step.has_ticket {
            return Err(request.error("names nothing that an earlier step took, so it would ask for nothing"));
        }
    }
    if !is_last {
        for key in ["fields", "same_person", "confidence"] {
            if let Some(place) = response.value.get(key).filter(|value| !value.is_null()) {
                return Err(response
                    .child(key, place)
                    .error("is for the last step, whose answer has the list of answers"));
            }
        }
    }
    Ok(step)
}

/// What reads the elements has a place for all that the provider can supply: else what it lacks would be asked about again and
/// again.
fn check_fields(submission: &Submission, list: &Node<'_>, alone: &[Step]) -> Checked<()> {
    let own = submission.last().response.fields.fields();
    let read = if own.is_empty() { mapped(&alone[alone.len() - 1..]) } else { own };
    let all = mapped(alone);
    if read == all {
        return Ok(());
    }
    let place = list.items()?.pop().unwrap_or_else(|| list.clone());
    Err(place.error(format!(
        "has an answer of which {} would be read, and of an answer about one contact {}: give its response the same \"fields\"",
        read.names().join(", "),
        all.names().join(", ")
    )))
}

impl Config {
    /// Whether a contact can be handed in, and answered later: alone or together with others.
    pub fn has_tickets(&self) -> bool {
        self.has_steps() || self.submission().is_some()
    }

    /// Whether contacts that are asked about together are handed in, and asked for again and again.
    pub fn is_polled_together(&self) -> bool {
        self.submission().is_some_and(|submission| submission.later().any(Step::polls))
    }

    pub(super) fn submission(&self) -> Option<&Submission> {
        self.bulk.as_ref()?.submission.as_ref()
    }

    /// What reads one of the answers of a submission.
    pub(super) fn element_response(&self) -> &Response {
        let own =
            self.submission().map(Submission::last).filter(|last| !last.response.fields.fields().is_empty());
        &own.unwrap_or(&self.steps[self.steps.len() - 1]).response
    }
}

/// What was taken may have the secret in it, or be of no use in a later request.
pub(super) fn unfit(request: Option<&HttpRequest>, taken: &Taken, breaks_a_path: bool) -> Option<Fault> {
    let hands_back = request.is_some_and(|request| taken.iter().any(|(_, value)| request.echoes(value)));
    let message = match (hands_back, breaks_a_path) {
        (true, _) => "what its answer gives to be taken has the secret or a token in it, which is never kept",
        (_, true) => {
            "what its answer gives to be taken would be . or .. in the path of a later request, where it cannot be sent"
        }
        _ => return None,
    };
    Some(Fault::new(FaultKind::Unrecognised, message))
}
