//! Providers: their descriptions, the requests that follow from one, and what an answer says.
//!
//! # How a question is put
//!
//! A description is one request, or several `steps`, of which each takes something of its answer for those after it; a
//! description without `steps` is one step. Nothing here waits, sends or reads a clock:
//!
//! ```text
//! let wanted = config.fills().intersect(missing);
//! let mut inquiry = match ticket {                       // kept for the question, see receipt::ticket_fingerprint
//!     Some(ticket) => Inquiry::resumed(&config, &ticket, wanted).unwrap_or(Inquiry::new(wanted)),
//!     None => Inquiry::new(wanted),
//! };
//! loop {
//!     match inquiry.next(&config, &person, secret, login) {
//!         Next::LogIn(_) => login = Some(…config.login().request(secret), then .read(&request, &answer, now)…),
//!         Next::Nothing(found) => …not identifiable, or the match that earlier steps found…,
//!         Next::Send(request) => match inquiry.take(&config, (&request, &answer), &whom, now_us).0 {
//!             Progress::Next { after_s } => …write inquiry.ticket() down, wait after_s…,
//!             Progress::Pending { after_s, fault } => …the same; inquiry.so_far() is what there is…,
//!             Progress::LogInAgain => …forget the login's values…,
//!             Progress::TicketUnknown(fault) | Progress::Failed(fault) => …; so_far() stands…,
//!             Progress::Over(verdict) => …file it, forget the ticket…,
//!         },
//!     }
//! }
//! ```
//!
//! - [`Inquiry`] is plain data: it holds neither the person nor a secret or token, and can be read on any thread.
//! - [`Config::login`], [`Login::request`], [`Login::read`]: a fault, or [`LoginValues`] with how long they hold.
//!   [`crate::receipt::login_fingerprint`] tells the values of one description from those of another;
//!   [`LoginValues::to_bytes`] is for shared memory.
//! - [`Inquiry::ticket`] is bounded JSON with `submitted_at` and `due_at` in epoch microseconds;
//!   [`Inquiry::given_up_at`] is when it is to be forgotten. A step that polls ([`Inquiry::is_poll`]) is due
//!   `poll_every_s` after the submission; a step that merely follows is due at once.
//! - [`Config::asked`] is what `{"wanted": …}` makes of the wanted fields: it belongs to the question
//!   ([`crate::question::Questions::about`]), and [`Config::maps_of`] is what an answer to it can lack.
//! - [`Config::min_confidence`] goes to [`crate::waterfall::Waterfall::absorb_above`].
//! - [`Inquiry::settled_by`]: what a receipt may call nothing, also where a question ends under way.

pub mod about;
mod advice;
mod bulk;
mod bulk_answer;
mod bulk_steps;
mod condition;
mod confidence;
mod config;
mod document;
mod exchange;
mod failure_kind;
mod identifying;
mod inquiry;
mod limits;
mod login;
mod mapping;
mod matching;
mod mending;
mod merge;
mod node;
mod parse_request;
mod placeholder;
mod pointer;
pub mod presets;
pub mod price;
mod reach;
mod reading;
mod remarks;
mod request;
mod response;
mod same_person;
mod secret_masking;
mod shape;
mod signals;
mod step;
mod submission;
mod supplied;
mod taken;
mod template;
mod url;
mod values;
mod wanted;
mod words;

use std::collections::BTreeSet;

use serde_json::Value;

pub use advice::price_remedy;
pub use bulk::{Bulk, Seat};
pub use bulk_answer::{Part, Whole};
pub use bulk_steps::Member;
pub use exchange::{Answer, HttpRequest, Method};
pub use failure_kind::{Effect, Fault, FaultKind};
pub use identifying::Known;
pub use inquiry::{Inquiry, MAX_TICKET_BYTES, Next, Progress};
pub use login::{Login, LoginValues, failure_from_bytes, failure_to_bytes};
pub use merge::merge_preset;
pub use node::ConfigError;
pub use reach::{LaterRequests, Reach};
pub use reading::Reported;
pub use response::Explanation;
pub use same_person::Whom;
pub use submission::{Group, Place};
pub use supplied::Supplied;
pub use taken::Taken;

use self::document::Document;
use self::identifying::IdentifyingSet;
use self::limits::WhenLimited;
pub(crate) use self::placeholder::Placeholder;
use self::price::Price;
use self::step::Step;
use self::submission::Submission;
use self::wanted::Wanted;
use super::fields::{Field, FieldMap, FieldSet};
use super::person::Person;

/// A provider's description, checked and ready for use. It never holds the secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    login: Option<Login>,
    /// At least one.
    steps: Vec<Step>,
    sets: Vec<IdentifyingSet>,
    /// What its requests have a place for.
    sends: Vec<Placeholder>,
    /// What in them depends on the fields that are wanted.
    wanted: Vec<Wanted>,
    maps: FieldSet,
    fills: FieldSet,
    timeout_ms: Option<u32>,
    max_requests_per_minute: Option<u32>,
    max_requests_per_day: Option<u32>,
    max_requests_per_second: Option<u32>,
    max_concurrent: Option<u32>,
    when_limited: WhenLimited,
    idempotency_header: Option<String>,
    poll_every_s: Option<u32>,
    poll_for_s: Option<u32>,
    when_pending: WhenPending,
    min_confidence: Option<f64>,
    price: Option<Price>,
    bulk: Option<Bulk>,
    low_balance: Option<f64>,
}

/// What becomes of a waterfall in which this provider's answer is not ready when the call's time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenPending {
    /// It stops there.
    Wait,
    /// It goes on to the next provider at once.
    Next,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// At least one mapped field has text.
    Match {
        values: FieldMap<String>,
        /// The score, from 0 to 1; `None`: the answer has none that can be read.
        confidence: Option<f64>,
    },
    NoMatch,
    /// It is about somebody else: no match, and no match is what is remembered. The vendor has supplied these fields all the
    /// same, and bills them.
    OtherPerson(FieldSet),
    /// The provider must not tell anything about this person: nobody is to be asked again.
    Suppressed,
    Failed(Fault),
}

impl Config {
    /// Checks a description as users write it and makes it ready for use. The error names the first mistake.
    pub fn parse(description: &Value) -> Result<Config, ConfigError> {
        config::parse(description)
    }

    /// The header in which this provider takes a key that marks repetitions of one request.
    /// `None`: it takes none.
    pub fn idempotency_header(&self) -> Option<&str> {
        self.idempotency_header.as_deref()
    }

    /// The first request, with all that can be wanted. None when the contact has no complete identifying set (or the path
    /// of the URL cannot be filled), and where a login comes first.
    pub fn request(&self, person: &Person, secret: Option<&str>) -> Option<HttpRequest> {
        match Inquiry::new(FieldSet::ALL).next(self, person, secret, None) {
            Next::Send(request) => Some(*request),
            Next::LogIn(_) | Next::Nothing(_) => None,
        }
    }

    /// The verdict alone, without a person to compare the answer with. `now` is in epoch seconds.
    #[cfg(test)]
    pub fn read(&self, answer: &Answer, now: i64) -> Verdict {
        self.read_all(answer, now, &Whom::default()).0
    }

    /// What is left with the vendor, in its own unit, and whether that is little, where the answer says it.
    pub fn balance(&self, answer: &Answer) -> Option<(f64, bool)> {
        let together = self.submission().into_iter().flat_map(|submission| submission.steps());
        let steps = self.steps.iter().chain(together);
        let mut rules = steps.filter_map(|step| step.response.balance.as_ref()).peekable();
        rules.peek()?;
        let body = Document::of(answer);
        let balance = rules.find_map(|rule| rule.of(answer, body.json()))?;
        Some((balance, self.low_balance.is_some_and(|low| balance < low)))
    }

    /// What the answer to the first request says about `whom`, see [`Inquiry::take`], and what it cost, in the provider's
    /// own unit, where it says so. It came at `now`, in seconds since 1970. Of a description without `steps` that is all.
    pub fn read_all(&self, answer: &Answer, now: i64, whom: &Whom) -> (Verdict, Option<Reported>) {
        let mut inquiry = Inquiry::new(FieldSet::ALL);
        let (progress, cost) = inquiry.take_with(self, None, answer, whom, now.saturating_mul(1_000_000));
        let verdict = match progress {
            Progress::Over(verdict) => verdict,
            Progress::Next { .. } => inquiry.so_far(),
            Progress::Pending { fault, .. } | Progress::TicketUnknown(fault) | Progress::Failed(fault) => {
                Verdict::Failed(fault)
            }
            Progress::LogInAgain => Verdict::Failed(Fault::new(
                FaultKind::BadCredentials,
                "the provider answered with status 401: what the login gave is no longer good",
            )),
        };
        (verdict, cost)
    }

    /// For somebody who tries the description out: why a successful answer to the first request has no data, and which
    /// fields it has nothing for. Of further steps: [`Inquiry::explain`].
    pub fn explain(&self, answer: &Answer) -> Explanation {
        Inquiry::new(FieldSet::ALL).explain(self, answer)
    }

    /// A number of this answer (to the first request) that is no score, since it is above 1 and nothing says on which scale
    /// it is. `None`: there is no such number.
    pub fn score_without_scale(&self, answer: &Answer) -> Option<f64> {
        self.steps[0].response.score_without_scale(answer)
    }

    /// The steps, counted from 0, of which scores are read as they stand: they must be from 0 to 1.
    pub fn steps_without_scale(&self) -> Vec<usize> {
        let steps = self.steps.iter().enumerate();
        steps.filter(|(_, step)| step.response.confidence.has_no_scale()).map(|(at, _)| at).collect()
    }

    /// How long after the submission the first poll is due, and each later one after the one before it; also how soon a later
    /// call is worth it, where an answer without `steps` was not ready.
    pub fn poll_every_s(&self) -> u32 {
        const DEFAULT: u32 = 10;
        self.poll_every_s.unwrap_or(DEFAULT)
    }

    /// How long after the submission an answer is asked for.
    pub fn poll_for_s(&self) -> u32 {
        const DEFAULT: u32 = 600;
        self.poll_for_s.unwrap_or(DEFAULT)
    }

    /// See [`WhenPending`].
    pub fn when_pending(&self) -> WhenPending {
        self.when_pending
    }

    /// Counts before the setting `leadlex.min_confidence`. `None`: the setting counts.
    pub fn min_confidence(&self) -> Option<f64> {
        self.min_confidence
    }

    /// What its requests cost; `None`: that is not known.
    pub fn price(&self) -> Option<&Price> {
        self.price.as_ref()
    }

    /// The most requests that questions can take: so many first ones, further steps in all, and questions that are asked for after
    /// they were handed in; polls, logins and repetitions included.
    /// Each poll comes `poll_every_s` after the one before at the soonest, each request can need a login of its own, one is sent
    /// again after a login that was refused, and all but polls once more where the vendor knows repetitions.
    pub fn most_requests(&self, firsts: u64, later: u64, polled: u64) -> u64 {
        let sent = (firsts + later) * self.sendings() + polled * self.most_polls();
        match &self.login {
            Some(_) => 2 * (sent + firsts),
            None => sent,
        }
    }

    /// How often one question can be asked for after it was handed in: not at all where no step asks again.
    pub fn most_polls(&self) -> u64 {
        let together = self.submission().map(Submission::steps).unwrap_or_default();
        match self.steps.iter().chain(together).any(Step::polls) {
            true => u64::from(self.poll_for_s() / self.poll_every_s().max(1)) + 2,
            false => 0,
        }
    }

    /// How often a request can be sent whose answer does not come.
    pub fn sendings(&self) -> u64 {
        if self.idempotency_header.is_some() { 2 } else { 1 }
    }

    /// Whether it takes more than one request.
    pub fn has_steps(&self) -> bool {
        self.steps.len() > 1
    }

    /// The request that comes before all others, where what it took is not known.
    pub fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// The fields that this provider is asked for.
    pub fn fills(&self) -> FieldSet {
        self.fills
    }

    /// The fields that its answers can supply: all that are read and kept.
    pub fn maps(&self) -> FieldSet {
        self.maps
    }

    /// The fields that are asked for where these are wanted: those that its requests name by `{"wanted": …}`, and all that
    /// the vendor gives under the same words. `None`: its requests are the same whatever is wanted.
    pub fn asked(&self, wanted: FieldSet) -> Option<FieldSet> {
        if self.wanted.is_empty() {
            return None;
        }
        let named = self.wanted.iter().fold(FieldSet::EMPTY, |named, some| named.union(some.fields()));
        Some(
            named
                .iter()
                .filter(|field| self.wanted.iter().all(|some| some.asks_for(*field, wanted)))
                .collect(),
        )
    }

    /// All that can be asked for that holds these and more, the fewest first.
    pub fn asked_beyond(&self, asked: FieldSet) -> Vec<FieldSet> {
        let rest: Vec<Field> = self.asked(FieldSet::ALL).unwrap_or_default().minus(asked).iter().collect();
        let with = |some: u32| {
            let more =
                rest.iter().enumerate().filter(|(at, _)| some & (1 << at) != 0).map(|(_, field)| *field);
            asked.union(more.collect())
        };
        let mut beyond: Vec<FieldSet> =
            (1..1_u32 << rest.len()).filter_map(|some| self.asked(with(some))).collect();
        beyond.sort_by_key(|fields| (fields.iter().count(), fields.names()));
        beyond.dedup();
        beyond.retain(|fields| *fields != asked);
        beyond
    }

    /// The fields of [`Config::maps`] that an answer can supply where these are wanted: one that was not asked for is not
    /// remembered as nothing.
    pub fn maps_of(&self, wanted: FieldSet) -> FieldSet {
        let not_asked = match (self.asked(FieldSet::ALL), self.asked(wanted)) {
            (Some(can_be), Some(are)) => can_be.minus(are),
            _ => FieldSet::EMPTY,
        };
        self.maps.minus(not_asked)
    }

    /// Where its requests go: scheme, host and port of every URL in it.
    pub fn origins(&self) -> BTreeSet<String> {
        let of_steps = self.steps.iter().map(|step| &step.request);
        let all = self.login.iter().map(Login::template).chain(of_steps);
        all.chain(self.bulk.iter().flat_map(Bulk::templates)).map(|request| request.url.origin()).collect()
    }

    /// Whether a request of it has a place for a secret.
    pub fn needs_secret(&self) -> bool {
        self.sends.contains(&Placeholder::Secret)
    }
}

/// The fields that these steps have a place for.
fn mapped(steps: &[Step]) -> FieldSet {
    steps.iter().fold(FieldSet::EMPTY, |all, step| all.union(step.response.fields.fields()))
}

#[cfg(test)]
#[path = "provider_tests.rs"]
mod tests;
