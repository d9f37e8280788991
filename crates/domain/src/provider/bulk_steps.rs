//! Several contacts that are handed in together, and answered later: how that is described, and what its answers come to.

use serde_json::{Value, json};

use super::bulk::Matching;
use super::bulk_answer::{self, Part};
use super::exchange::{Answer, HttpRequest};
use super::failure_kind::{Fault, FaultKind};
use super::inquiry::{Inquiry, Progress};
use super::node::{Checked, Node, Object};
use super::placeholder::Placeholder;
use super::response::{Reading, Response, Rest, Role};
use super::same_person::Whom;
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

/// A contact of a request. `id`: by which its answer is found, if that is done so.
pub struct Member<'a> {
    pub inquiry: &'a mut Inquiry,
    pub whom: &'a Whom,
    pub id: String,
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
    fn last(&self) -> &Step {
        self.steps.last().expect("there are at least two")
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

    pub(super) fn submission(&self) -> Option<&Submission> {
        self.bulk.as_ref()?.submission.as_ref()
    }

    /// What reads one of the answers of a submission.
    pub(super) fn element_response(&self) -> &Response {
        let own =
            self.submission().map(Submission::last).filter(|last| !last.response.fields.fields().is_empty());
        &own.unwrap_or(&self.steps[self.steps.len() - 1]).response
    }

    /// Whether the request about several contacts of which this is one hands them in, to be answered later.
    pub fn hands_in_together(&self, inquiry: &Inquiry) -> bool {
        match inquiry.is_new() {
            true => self.submission().is_some(),
            false => inquiry.hands_in(self),
        }
    }

    /// What the answer to the request about these contacts comes to for each, in their order, and what it cost, in the
    /// provider's own unit, where it says so; `None`: it is to be sent again in halves. See [`Inquiry::take`] and
    /// [`Config::read_all_of`].
    pub fn take_for_all(
        &self,
        exchange: (&HttpRequest, &Answer),
        members: &mut [Member<'_>],
        limits: (usize, i64),
    ) -> Option<(Vec<Progress>, Option<f64>)> {
        match self.submission() {
            Some(submission) => self.take_step(submission, exchange, members, limits),
            None => self.take_at_once(exchange, members, limits),
        }
    }

    fn take_at_once(
        &self,
        (request, answer): (&HttpRequest, &Answer),
        members: &mut [Member<'_>],
        (most_bytes, now_us): (usize, i64),
    ) -> Option<(Vec<Progress>, Option<f64>)> {
        let ids: Vec<String> = members.iter().map(|member| member.id.clone()).collect();
        let (mut came, mut sum): (Vec<Option<Progress>>, Option<f64>) = (vec![None; ids.len()], None);
        let now = now_us / MICROSECONDS;
        let whole = self.read_all_of((request, answer), &ids, (most_bytes, now), &mut |at, part| {
            let Member { inquiry, whom, .. } = &mut members[at];
            came[at] = Some(match part {
                Part::Answer(answer) => {
                    let (progress, cost) = inquiry.take(self, (request, &answer), whom, now_us);
                    sum = cost.map(|cost| sum.unwrap_or_default() + cost).or(sum);
                    progress
                }
                Part::Failed { fault, denied } => inquiry.fail(self, fault, denied, now_us),
            });
        });
        let bulk_answer::Whole::Told(cost) = whole else { return None };
        Some((came.into_iter().map(|came| came.unwrap_or_else(untold)).collect(), cost.or(sum)))
    }

    /// Of an answer to a step of a submission.
    fn take_step(
        &self,
        submission: &Submission,
        exchange: (&HttpRequest, &Answer),
        members: &mut [Member<'_>],
        limits: (usize, i64),
    ) -> Option<(Vec<Progress>, Option<f64>)> {
        let at = members.first().map_or(0, |member| member.inquiry.step());
        match at + 1 < submission.steps.len() {
            true => self.take_ticket((submission.mark, &submission.steps[at]), exchange, members, limits.1),
            false => Some(self.take_elements(submission.last(), exchange, members, limits)),
        }
    }

    /// Of a step that is not the last: what it takes is for all of them.
    fn take_ticket(
        &self,
        (mark, step): (Hash, &Step),
        (request, answer): (&HttpRequest, &Answer),
        members: &mut [Member<'_>],
        now_us: i64,
    ) -> Option<(Vec<Progress>, Option<f64>)> {
        let now = now_us / MICROSECONDS;
        let (reading, cost) = step.read(answer, now, &Whom::default());
        let count = members.len();
        let progress = match reading {
            Reading::Answered { rest: Rest::Taken(taken), .. } => {
                let places = members.iter().enumerate().map(|(at, member)| Place {
                    at,
                    of: count,
                    id: member.id.clone(),
                    mark,
                });
                let places: Vec<Place> = places.collect();
                let handed_in = |(member, place): (&mut Member<'_>, Place)| {
                    member.inquiry.handed_in(self, (request, &taken), place, now_us)
                };
                members.iter_mut().zip(places).map(handed_in).collect()
            }
            Reading::TicketUnknown(fault) => {
                vec![Progress::TicketUnknown(request.without_echo_in(fault)); count]
            }
            Reading::Failed(fault) | Reading::Answered { rest: Rest::Lacks(fault), .. } => {
                if count > 1
                    && members[0].inquiry.is_new()
                    && bulk_answer::is_divisible(answer.status, &fault)
                {
                    return None;
                }
                self.fail_all((request, answer), members, fault, now_us)
            }
            _ => {
                let role = Role { last: false, has_ticket: step.has_ticket };
                let fault = step.response.fault_of_all(answer, now, (&step.take, role));
                self.fail_all((request, answer), members, fault, now_us)
            }
        };
        Some((progress, cost))
    }

    /// Of the last step: its list has an answer about each.
    fn take_elements(
        &self,
        step: &Step,
        (request, answer): (&HttpRequest, &Answer),
        members: &mut [Member<'_>],
        (most_bytes, now_us): (usize, i64),
    ) -> (Vec<Progress>, Option<f64>) {
        let now = now_us / MICROSECONDS;
        let role = Role { last: true, has_ticket: step.has_ticket };
        match step.response.said_of_all(answer, now, (&step.take, role)) {
            Some(Reading::TicketUnknown(fault)) => {
                let progress = Progress::TicketUnknown(request.without_echo_in(fault));
                return (vec![progress; members.len()], None);
            }
            Some(Reading::Failed(fault)) => {
                return (self.fail_all((request, answer), members, fault, now_us), None);
            }
            _ => {}
        }
        let places: Vec<Place> =
            members.iter().map(|member| member.inquiry.place().cloned().unwrap_or_default()).collect();
        let (mut came, mut sum): (Vec<Option<Progress>>, Option<f64>) = (vec![None; places.len()], None);
        let told = self.read_elements(answer, &places, most_bytes, &mut |at, part| {
            let Member { inquiry, whom, .. } = &mut members[at];
            came[at] = Some(match part {
                Part::Answer(element) => {
                    let (progress, cost) = inquiry.take_element(self, (request, &element), whom, now_us);
                    sum = cost.map(|cost| sum.unwrap_or_default() + cost).or(sum);
                    progress
                }
                Part::Failed { fault, denied } => inquiry.fail(self, fault, denied, now_us),
            });
        });
        let Some(beside) = told else {
            let fault = step.response.fault_of_all(answer, now, (&step.take, role));
            return (self.fail_all((request, answer), members, fault, now_us), None);
        };
        // Those that are not asked about now will see the same answer: each pays its part of it.
        let part = |cost: f64| {
            cost * members.len() as f64 / places.first().map_or(1, |place| place.of.max(1)) as f64
        };
        let cost = step.response.cost_of_all(answer, beside.as_ref()).map(part);
        (came.into_iter().map(|came| came.unwrap_or_else(untold)).collect(), cost.or(sum))
    }

    fn fail_all(
        &self,
        (request, answer): (&HttpRequest, &Answer),
        members: &mut [Member<'_>],
        fault: Fault,
        now_us: i64,
    ) -> Vec<Progress> {
        let (fault, denied) = (request.without_echo_in(fault), answer.status == 401);
        members.iter_mut().map(|member| member.inquiry.fail(self, fault.clone(), denied, now_us)).collect()
    }

    /// The answer about one of those that were handed in together, where it is asked about alone.
    pub(super) fn take_its_part(
        &self,
        inquiry: &mut Inquiry,
        exchange: (&HttpRequest, &Answer),
        whom: &Whom,
        now_us: i64,
    ) -> (Progress, Option<f64>) {
        let id = inquiry.place().map(|place| place.id.clone()).unwrap_or_default();
        let mut members = [Member { inquiry, whom, id }];
        let taken = self.take_for_all(exchange, &mut members, (usize::MAX, now_us));
        let (progress, cost) = taken.unwrap_or_default();
        (progress.into_iter().next().unwrap_or_else(untold), cost)
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

fn untold() -> Progress {
    Progress::Failed(Fault::new(FaultKind::Internal, "the answer was not read"))
}

const MICROSECONDS: i64 = 1_000_000;

#[cfg(test)]
#[path = "bulk_steps_tests.rs"]
mod tests;
