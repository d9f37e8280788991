//! One request of a provider, and how its answer is read.

use super::Reported;
use super::exchange::Answer;
use super::failure_kind::{Fault, FaultKind};
use super::node::{Checked, Node};
use super::parse_request::parse_request;
use super::request::RequestTemplate;
use super::response::{Reading, Response, Role};
use super::same_person::Whom;
use super::taken::{Names, Take};
use super::template::Template;

/// A step of a description. A description without `steps` is one of these.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub request: RequestTemplate,
    pub response: Response,
    pub take: Take,
    /// Its request names what an earlier step took.
    pub has_ticket: bool,
    /// Its request names what the login takes.
    pub logs_in: bool,
    pub last: bool,
}

impl Step {
    /// Reads a request and a response, and what is taken. `names`: what can stand in the braces of the request.
    pub fn parse(
        request: &Node<'_>,
        response: &Node<'_>,
        take: Take,
        names: &Names,
        last: bool,
    ) -> Checked<Step> {
        let request = parse_request(request, names)?;
        let has_ticket = request.templates().into_iter().any(Template::uses_taken);
        let logs_in = request.templates().into_iter().any(|text| text.of_login().next().is_some());
        let response = Response::parse(response, Role { last, has_ticket }, names)?;
        Ok(Step { request, response, take, has_ticket, logs_in, last })
    }

    /// See [`Response::read`].
    pub fn read(&self, answer: &Answer, now: i64, whom: &Whom) -> (Reading, Option<Reported>) {
        let role = Role { last: self.last, has_ticket: self.has_ticket };
        let (reading, cost) = self.response.read(answer, now, whom, (&self.take, role));
        let is_one_of_several = self.has_ticket || !self.take.is_empty();
        match reading {
            Reading::Failed(fault) if is_one_of_several => (Reading::Failed(in_step(fault)), cost),
            reading => (reading, cost),
        }
    }

    /// Whether it asks whether something is ready that an earlier step handed in.
    pub fn polls(&self) -> bool {
        self.has_ticket && self.response.signals.has_pending()
    }
}

/// What would make the answer understood, where `steps` are described.
fn in_step(fault: Fault) -> Fault {
    const OF_STEPS: &str = "This response is that of its step: give all of \"steps\" anew.";
    let remedy = fault.remedy.as_ref().filter(|_| fault.kind == FaultKind::Unrecognised);
    match remedy.map(|remedy| format!("{remedy} {OF_STEPS}")) {
        Some(remedy) => Fault { remedy: Some(remedy), ..fault },
        None => fault,
    }
}
