//! One question to one provider, step by step, without I/O: which request is next, and what its answer comes to.

mod explain;
mod ticket;

use super::Reported;
use super::exchange::{Answer, HttpRequest};
use super::failure_kind::{Fault, FaultKind};
use super::login::LoginValues;
use super::response::{Reading, Rest, Role};
use super::same_person::Whom;
use super::step::Step;
use super::submission::{self, Group, Place};
use super::supplied::Supplied;
use super::taken::{MAX_VALUE_BYTES, MOST_NAMES, Take, Taken};
use super::values::Values;
use super::{Config, Verdict, mapped, template};
use crate::fields::{Field, FieldMap, FieldSet};
use crate::people::company;
use crate::person::Person;

/// Of all that is taken for one question, in bytes: what one step can take at most.
const MAX_TAKEN_BYTES: usize = MOST_NAMES * MAX_VALUE_BYTES;

pub use ticket::MAX_TICKET_BYTES;

/// How far a question has come. It holds nothing of the person, and no secret and no token.
#[derive(Clone, Debug, PartialEq)]
pub struct Inquiry {
    wanted: FieldSet,
    /// The step whose request is next.
    step: usize,
    taken: Taken,
    values: FieldMap<String>,
    latest: Supplied,
    confidence: Option<f64>,
    /// When the first step was answered, and from when on the next request can be sent, in epoch microseconds.
    submitted_at: Option<i64>,
    due_at: i64,
    /// A request was answered with 401, and nothing since.
    logged_in_again: bool,
    /// It was handed in together with others; the steps are those of `bulk` then.
    place: Option<Place>,
}

/// What to do next.
#[derive(Debug)]
pub enum Next {
    /// The login's values are needed first: see [`Config::login`]. With the request as it would be but for these: it tells one
    /// contact from another, and is not to be sent.
    LogIn(Box<HttpRequest>),
    Send(Box<HttpRequest>),
    /// Nothing is to be sent: the person lacks what the request needs. What earlier steps supplied counts; of the rest only
    /// [`Inquiry::settled_fields`] may be called nothing.
    Nothing(Option<Verdict>),
}

/// What an answer came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// There is another step, which can be sent after so many whole seconds (0: at once). There is a ticket by now.
    Next { after_s: u64 },
    /// The same step can be asked again after so many whole seconds.
    Pending { after_s: u64, fault: Fault },
    /// The login's values are no longer good: they are to be got anew, and the same request sent again. Comes once at most
    /// between two other answers.
    LogInAgain,
    /// The vendor knows the ticket no longer: it is to be forgotten, and the next call begins anew.
    TicketUnknown(Fault),
    /// This request has failed. A ticket stays good, and what was supplied by then, also by this answer.
    Failed(Fault),
    /// All that there is to say: a match with what all steps supplied, no match, somebody else, a refusal.
    Over(Verdict),
}

impl Inquiry {
    /// A question that has not been put yet. `wanted`: the fields that this provider is wanted for.
    pub fn new(wanted: FieldSet) -> Inquiry {
        Inquiry {
            wanted,
            step: 0,
            taken: Taken::NOTHING,
            values: FieldMap::default(),
            latest: Supplied::default(),
            confidence: None,
            submitted_at: None,
            due_at: 0,
            logged_in_again: false,
            place: None,
        }
    }

    /// The same after a request of it was answered with 401: what the login gave is new by now, and to be told so again is a
    /// failure.
    #[must_use]
    pub fn denied(self) -> Inquiry {
        Inquiry { logged_in_again: true, ..self }
    }

    /// The request that is next. `login`: what the provider's login gave, if it has one and that is known.
    pub fn next(
        &self,
        config: &Config,
        person: &Person,
        secret: Option<&str>,
        login: Option<&LoginValues>,
    ) -> Next {
        let step = self.present(config);
        let secret = template::clean_secret(secret);
        let known = Values {
            secret: secret.as_deref(),
            // A token that is not known yet is taken to be there.
            login: login.map(|login| &login.taken),
            taken: &self.taken,
            wanted: self.wanted.minus(self.values.fields()),
            ..Values::of(person, None)
        };
        if self.place.is_some() {
            // It names nothing of a contact, and what was handed in is known.
            return match step.request.render(&known) {
                None => Next::Nothing(None),
                Some(request) if login.is_none() && step.logs_in => Next::LogIn(Box::new(request)),
                Some(request) => Next::Send(Box::new(request)),
            };
        }
        let request = config.used_set(&known).and_then(|only| {
            let values = Values { only, ..known };
            step.request.tells_whom(&values).then(|| step.request.render(&values)).flatten()
        });
        match request {
            None => Next::Nothing((!self.values.is_empty()).then(|| self.so_far())),
            Some(request) if login.is_none() && step.logs_in => Next::LogIn(Box::new(request)),
            Some(request) => Next::Send(Box::new(request)),
        }
    }

    /// What the answer to that request comes to, and what it cost, in the provider's own unit, where it says so. It came at
    /// `now_us`, in epoch microseconds. `whom`: see [`Config::whom`]. Nothing that comes of it repeats the secret or a token:
    /// values that do are left out, and failures are masked.
    ///
    /// Failures are `redirect`, `bad_credentials`, `quota`, `rate_limited`, `server_error`, `bad_status`, `bad_json`,
    /// `bad_encoding`, `provider_error`, `unrecognised` or `too_large`: by the description's rules, else by status and body.
    pub fn take(
        &mut self,
        config: &Config,
        (request, answer): (&HttpRequest, &Answer),
        whom: &Whom,
        now_us: i64,
    ) -> (Progress, Option<Reported>) {
        self.take_with(config, Some(request), answer, whom, now_us)
    }

    /// `request`: `None` leaves all as it came, for [`HttpRequest::without_echo`].
    pub(super) fn take_with(
        &mut self,
        config: &Config,
        request: Option<&HttpRequest>,
        answer: &Answer,
        whom: &Whom,
        now_us: i64,
    ) -> (Progress, Option<Reported>) {
        if let (Some(_), Some(request)) = (&self.place, request) {
            return config.take_its_part(self, (request, answer), whom, now_us);
        }
        let (reading, cost) = config.steps[self.step].read(answer, now_us / MICROSECONDS, whom);
        (self.came(config, request, reading, answer.status == 401, now_us), cost)
    }

    /// The same of an answer that stands in the list of answers about those that were handed in together.
    pub(super) fn take_element(
        &mut self,
        config: &Config,
        (request, answer): (&HttpRequest, &Answer),
        whom: &Whom,
        now_us: i64,
    ) -> (Progress, Option<Reported>) {
        let role = Role { last: true, has_ticket: false };
        let now = now_us / MICROSECONDS;
        let (reading, cost) = config.element_response().read(answer, now, whom, (&Take::default(), role));
        let reading = match reading {
            // Of one contact that cannot be said.
            Reading::TicketUnknown(fault) => Reading::Failed(fault),
            other => other,
        };
        (self.came(config, Some(request), reading, false, now_us), cost)
    }

    /// `denied`: by a status that a token which is over has, too.
    fn came(
        &mut self,
        config: &Config,
        request: Option<&HttpRequest>,
        reading: Reading,
        denied: bool,
        now_us: i64,
    ) -> Progress {
        let again = std::mem::take(&mut self.logged_in_again);
        self.latest = Supplied::default();
        let masked = |fault: Fault| match request {
            Some(request) => request.without_echo_in(fault),
            None => fault,
        };
        match reading {
            Reading::Answered { values, confidence, rest } => {
                let values = match request {
                    Some(request) => request.without_echoes(values),
                    None => values,
                };
                self.note_supplied(values.fields());
                let rest = match rest {
                    Rest::Lacks(fault) => Rest::Lacks(masked(fault)),
                    Rest::Taken(taken) => {
                        match submission::unfit(request, &taken, self.breaks_a_path(config, &taken)) {
                            Some(fault) => Rest::Lacks(fault),
                            None => Rest::Taken(taken),
                        }
                    }
                    Rest::Nothing => Rest::Nothing,
                };
                self.answered(config, (values, confidence, rest), now_us)
            }
            Reading::NoMatch => Progress::Over(self.so_far()),
            Reading::OtherPerson(supplied) => {
                let so_far = self.so_far();
                self.note_supplied(supplied);
                Progress::Over(match so_far {
                    Verdict::NoMatch => Verdict::OtherPerson(supplied),
                    so_far => so_far,
                })
            }
            Reading::Suppressed => Progress::Over(Verdict::Suppressed),
            Reading::TicketUnknown(fault) => Progress::TicketUnknown(masked(fault)),
            Reading::Failed(fault) => self.failed(config, masked(fault), denied && !again, now_us),
        }
    }

    /// It was handed in together with others, or asked for with them: what was taken is for all of them. `place`: where it stands
    /// among them, if that is not known yet.
    pub(super) fn handed_in(
        &mut self,
        config: &Config,
        (request, taken): (&HttpRequest, &Taken),
        place: Place,
        now_us: i64,
    ) -> Progress {
        (self.logged_in_again, self.latest) = (false, Supplied::default());
        self.place.get_or_insert(place);
        match submission::unfit(Some(request), taken, self.breaks_a_path(config, taken)) {
            Some(fault) => Progress::Failed(fault),
            None => self.goes_on(config, taken, now_us),
        }
    }

    /// The request for several contacts at once, of which this is one, has failed as a whole; what is shown of it is masked.
    /// `denied`: with status 401.
    pub fn fail(&mut self, config: &Config, fault: Fault, denied: bool, now_us: i64) -> Progress {
        let again = std::mem::take(&mut self.logged_in_again);
        self.latest = Supplied::default();
        self.failed(config, fault, denied && !again, now_us)
    }

    /// The fields that it is still wanted for.
    pub fn wanted(&self) -> FieldSet {
        self.wanted.minus(self.values.fields())
    }

    /// `denied`: by a status that a token which is over has, too.
    fn failed(&mut self, config: &Config, fault: Fault, denied: bool, now_us: i64) -> Progress {
        match fault.kind {
            FaultKind::Pending => {
                let after_s = u64::from(config.poll_every_s()).max(fault.retry_after_s.unwrap_or_default());
                self.wait(after_s, now_us);
                Progress::Pending { after_s, fault }
            }
            FaultKind::BadCredentials if denied && self.present(config).logs_in => {
                self.logged_in_again = true;
                Progress::LogInAgain
            }
            _ => Progress::Failed(fault),
        }
    }

    fn answered(
        &mut self,
        config: &Config,
        (values, confidence, rest): (FieldMap<String>, Option<f64>, Rest),
        now_us: i64,
    ) -> Progress {
        if !config.has_steps() || self.place.is_some() {
            return Progress::Over(match values.is_empty() {
                true => Verdict::NoMatch,
                false => Verdict::Match { values, confidence },
            });
        }
        for (field, value) in self.of_one_company(values).iter() {
            if self.values.get(field).is_none() {
                self.values.set(field, value.clone());
            }
        }
        self.confidence = self.confidence.or(confidence);
        let wanted = self.wanted.minus(self.values.fields());
        let to_come = mapped(&config.steps[self.step + 1..]).intersect(wanted);
        let too_weak = config.min_confidence().zip(confidence).is_some_and(|(least, score)| score < least);
        let taken = match rest {
            _ if too_weak || to_come.is_empty() => return Progress::Over(self.so_far()),
            Rest::Nothing => return Progress::Over(self.so_far()),
            Rest::Lacks(fault) => return Progress::Failed(fault),
            Rest::Taken(taken) => taken,
        };
        self.goes_on(config, &taken, now_us)
    }

    /// To the next step, with what was taken.
    fn goes_on(&mut self, config: &Config, taken: &Taken, now_us: i64) -> Progress {
        taken.iter().for_each(|(name, value)| self.taken.set(name, value.to_owned()));
        if self.taken.bytes() > MAX_TAKEN_BYTES {
            let message = format!(
                "what its answer gives to be taken is larger than {MAX_TAKEN_BYTES} bytes, with what earlier steps took"
            );
            return Progress::Failed(Fault::new(FaultKind::TooLarge, message));
        }
        self.step += 1;
        self.submitted_at.get_or_insert(now_us);
        let after_s = if self.present(config).polls() { u64::from(config.poll_every_s()) } else { 0 };
        self.wait(after_s, now_us);
        Progress::Next { after_s }
    }

    /// Without the title, seniority and company of an answer that names another company than an earlier step did: a position
    /// is one thing.
    fn of_one_company(&self, mut values: FieldMap<String>) -> FieldMap<String> {
        let named = |values: &FieldMap<String>| values.get(Field::COMPANY_NAME).cloned();
        if let (Some(known), Some(named)) = (named(&self.values), named(&values))
            && !company::same(&known, &named)
        {
            FieldSet::of_position().iter().for_each(|field| values.unset(field));
        }
        values
    }

    /// Whether the path of a later request can never be filled, because of what is taken now.
    fn breaks_a_path(&self, config: &Config, now_taken: &Taken) -> bool {
        let stranger = Person::default();
        let mut taken = self.taken.clone();
        now_taken.iter().for_each(|(name, value)| taken.set(name, value.to_owned()));
        let values = Values { taken: &taken, ..Values::of(&stranger, None) };
        self.steps(config)[self.step + 1..].iter().any(|step| step.request.url.breaks(&values))
    }

    fn wait(&mut self, after_s: u64, now_us: i64) {
        let after_us = i64::try_from(after_s).unwrap_or(i64::MAX).saturating_mul(MICROSECONDS);
        self.due_at = now_us.saturating_add(after_us);
    }

    /// What all steps so far supplied: a match, or no match where that is nothing.
    pub fn so_far(&self) -> Verdict {
        if self.values.is_empty() {
            return Verdict::NoMatch;
        }
        Verdict::Match { values: self.values.clone(), confidence: self.confidence }
    }

    /// Of the fields that the provider can supply, those about which all has been said before the request that is next: what
    /// of them is not among the values, it does not have.
    pub fn settled_fields(&self, config: &Config) -> FieldSet {
        if self.place.is_some() {
            return FieldSet::EMPTY;
        }
        let (before, to_come) = config.steps.split_at(self.step);
        mapped(before).minus(mapped(to_come)).intersect(config.maps_of(self.wanted))
    }

    /// Of the fields that the provider can supply, those about which all has been said once the last answer came to this:
    /// what of them is not among the values, it does not have.
    pub fn settled_by(&self, config: &Config, progress: &Progress) -> FieldSet {
        match progress {
            Progress::Over(Verdict::Match { .. }) if self.place.is_none() && self.ended_early(config) => {
                let (before, left) = config.steps.split_at(self.step + 1);
                mapped(before).minus(mapped(left)).intersect(config.maps_of(self.wanted))
            }
            Progress::Over(_) => config.maps_of(self.wanted),
            _ => self.settled_fields(config),
        }
    }

    /// Nothing was wanted of the steps that are left.
    fn ended_early(&self, config: &Config) -> bool {
        let wanted = self.wanted.minus(self.values.fields());
        let left = &config.steps[self.step + 1..];
        !left.is_empty() && mapped(left).intersect(wanted).is_empty()
    }

    /// The fields that the answers of the steps that are left can still have.
    pub fn to_come(&self, config: &Config) -> FieldSet {
        self.wanted().minus(self.settled_fields(config))
    }

    /// The fields that earlier steps supplied.
    pub fn supplied(&self) -> FieldSet {
        self.values.fields()
    }

    fn note_supplied(&mut self, fields: FieldSet) {
        let before = self.values.fields();
        self.latest = Supplied { fields: fields.minus(before), is_first: before.is_empty() };
    }

    /// What the last answer that was taken has supplied, and the vendor may bill.
    pub fn latest(&self) -> Supplied {
        self.latest
    }

    /// The number of the step whose request is next, from 0.
    pub fn step(&self) -> usize {
        self.step
    }

    /// How many requests are still to be sent, where none supplies what is wanted before the last and each poll finds that it
    /// is ready.
    pub fn requests_left(&self, config: &Config) -> u64 {
        if self.place.is_some() {
            return (self.steps(config).len() - self.step) as u64;
        }
        let wanted = self.wanted.minus(self.values.fields());
        let later = self.step + 1..config.steps.len();
        1 + later.filter(|at| !mapped(&config.steps[*at..]).intersect(wanted).is_empty()).count() as u64
    }

    /// Whether the request that is next asks for something that was handed in before.
    pub fn is_poll(&self, config: &Config) -> bool {
        self.present(config).polls()
    }

    /// Whether a later request asks for what is handed in.
    pub fn is_to_be_polled(&self, config: &Config) -> bool {
        self.steps(config)[self.step + 1..].iter().any(Step::polls)
    }

    /// Nothing has been handed in.
    pub fn is_new(&self) -> bool {
        self.step == 0 && self.place.is_none()
    }

    /// Where it stands among those that it was handed in with; `None`: it is asked about alone.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// With which others it can be asked for by one request; `None`: it was not handed in together with others.
    pub fn group(&self) -> Option<Group> {
        self.place.as_ref().map(|_| Group::of_ticket(self.step, self.taken.clone()))
    }

    /// The steps of which it is at one.
    fn steps<'c>(&self, config: &'c Config) -> &'c [Step] {
        match (&self.place, config.submission()) {
            (Some(_), Some(submission)) => submission.steps(),
            _ => &config.steps,
        }
    }

    fn present<'c>(&self, config: &'c Config) -> &'c Step {
        &self.steps(config)[self.step]
    }

    /// Whether the request that is next hands something in that is asked for later.
    pub fn hands_in(&self, config: &Config) -> bool {
        !self.present(config).take.is_empty() && !self.is_poll(config)
    }

    /// From when on the next request can be sent, in epoch microseconds; 0: at once.
    pub fn due_at(&self) -> i64 {
        self.due_at
    }

    /// It was asked for in vain at `now_us`: not again before so many seconds.
    pub fn put_off(&mut self, now_us: i64, seconds: u64) {
        self.due_at =
            now_us.saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(MICROSECONDS));
    }

    /// When it is given up, in epoch microseconds; `None`: nothing has been handed in. Time in which nothing could be sent
    /// (`leadlex.stop`, pauses) is the caller's to add.
    pub fn given_up_at(&self, config: &Config) -> Option<i64> {
        let longest = i64::from(config.poll_for_s()).saturating_mul(MICROSECONDS);
        Some(self.submitted_at?.saturating_add(longest))
    }
}

const MICROSECONDS: i64 = 1_000_000;

#[cfg(test)]
#[path = "inquiry_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "inquiry_taken_tests.rs"]
mod taken_tests;
