//! Several contacts of one request: what its answer comes to for each.

use super::Config;
use super::Reported;
use super::bulk_answer::{self, Part};
use super::exchange::{Answer, HttpRequest};
use super::failure_kind::{Fault, FaultKind};
use super::inquiry::{Inquiry, Progress};
use super::response::{Reading, Rest, Role};
use super::same_person::Whom;
use super::step::Step;
use super::submission::{Place, Submission};

/// A contact of a request. `id`: by which its answer is found, if that is done so.
pub struct Member<'a> {
    pub inquiry: &'a mut Inquiry,
    pub whom: &'a Whom,
    pub id: String,
}

impl Config {
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
    ) -> Option<(Vec<Progress>, Option<Reported>)> {
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
    ) -> Option<(Vec<Progress>, Option<Reported>)> {
        let ids: Vec<String> = members.iter().map(|member| member.id.clone()).collect();
        let (mut came, mut sum): (Vec<Option<Progress>>, Option<Reported>) = (vec![None; ids.len()], None);
        let now = now_us / MICROSECONDS;
        let whole = self.read_all_of((request, answer), &ids, (most_bytes, now), &mut |at, part| {
            let Member { inquiry, whom, .. } = &mut members[at];
            came[at] = Some(match part {
                Part::Answer(answer) => {
                    let (progress, cost) = inquiry.take(self, (request, &answer), whom, now_us);
                    sum = cost.map(|cost| cost.plus(sum)).or(sum);
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
    ) -> Option<(Vec<Progress>, Option<Reported>)> {
        let at = members.first().map_or(0, |member| member.inquiry.step());
        match at + 1 < submission.steps().len() {
            true => self.take_ticket((submission, &submission.steps()[at]), exchange, members, limits.1),
            false => Some(self.take_elements(submission.last(), exchange, members, limits)),
        }
    }

    /// Of a step that is not the last: what it takes is for all of them.
    fn take_ticket(
        &self,
        (submission, step): (&Submission, &Step),
        (request, answer): (&HttpRequest, &Answer),
        members: &mut [Member<'_>],
        now_us: i64,
    ) -> Option<(Vec<Progress>, Option<Reported>)> {
        let now = now_us / MICROSECONDS;
        let (reading, cost) = step.read(answer, now, &Whom::default());
        let count = members.len();
        let progress = match reading {
            Reading::Answered { rest: Rest::Taken(taken), .. } => {
                let place = |(at, member): (usize, &Member<'_>)| submission.place(at, count, &member.id);
                let places: Vec<Place> = members.iter().enumerate().map(place).collect();
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
    ) -> (Vec<Progress>, Option<Reported>) {
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
        let (mut came, mut sum): (Vec<Option<Progress>>, Option<Reported>) = (vec![None; places.len()], None);
        let told = self.read_elements(answer, &places, most_bytes, &mut |at, part| {
            let Member { inquiry, whom, .. } = &mut members[at];
            came[at] = Some(match part {
                Part::Answer(element) => {
                    let (progress, cost) = inquiry.take_element(self, (request, &element), whom, now_us);
                    sum = cost.map(|cost| cost.plus(sum)).or(sum);
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
        let part = |cost: Reported| {
            cost.share(members.len() as f64 / places.first().map_or(1, |place| place.of.max(1)) as f64)
        };
        let cost = step.response.cost_of_all(answer, beside.as_ref()).map(part);
        (came.into_iter().map(|came| settled(came.unwrap_or_else(untold))).collect(), cost.or(sum))
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
    ) -> (Progress, Option<Reported>) {
        let id = inquiry.place().map(|place| place.id.clone()).unwrap_or_default();
        let mut members = [Member { inquiry, whom, id }];
        let taken = self.take_for_all(exchange, &mut members, (usize::MAX, now_us));
        let (progress, cost) = taken.unwrap_or_default();
        (progress.into_iter().next().unwrap_or_else(untold), cost)
    }
}

/// A failure that the answer tells of one of them: to ask again for what was handed in is no use.
fn settled(came: Progress) -> Progress {
    match came {
        Progress::Failed(fault) => Progress::Failed(Fault { settles: true, ..fault }),
        came => came,
    }
}

fn untold() -> Progress {
    Progress::Failed(Fault::new(FaultKind::Internal, "the answer was not read"))
}

const MICROSECONDS: i64 = 1_000_000;

#[cfg(test)]
#[path = "bulk_steps_tests.rs"]
mod tests;
