//! What a helper thread does with what came of a request: reads it, keeps it, and tells the provider's health.

use crate::pg::sys::clock;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::pg::provider::health::InFlightRequest;
use crate::pg::shared::receipts::{self, Arrival, Key, Refusal as NoRoom};
use crate::pg::shared::single_flight::{Claim, End};
use crate::pg::shared::wait;
use crate::pg::sys::clock::now_us;
use leadlex_domain::hash::Hash;
use leadlex_domain::provider::{Config, FaultKind, HttpRequest, Verdict, Whom};
use leadlex_domain::receipt::{Content, Filed, Receipt, Refusal, Terms};
use leadlex_domain::shared::Sighting;
use leadlex_net::Keep;

/// How long an answer waits for room. Shorter than what the backend grants the thread beyond the timeout.
const PATIENCE: Duration = Duration::from_millis(150);
/// How long a refusal waits to be written before the call is told. It is rare, and must outlive a crash after that.
const PATIENCE_OF_REFUSAL: Duration = Duration::from_secs(1);
/// How long the question is kept for a request that is sent once more.
const REPETITION: Duration = Duration::from_secs(1);

/// Everything needed to keep what comes of one request.
#[derive(Clone)]
pub struct ReceiptSink {
    pub key: Key,
    pub person: Hash,
    pub known: Hash,
    pub terms: Terms,
    pub config: Arc<Config>,
    /// Whom it was asked about.
    pub whom: Whom,
    /// What was asked, to know the secret again in an answer.
    pub request: HttpRequest,
    pub workspace: Uuid,
    pub provider: Uuid,
    /// What is kept should the provider refuse to tell anything about this person.
    pub refusal: Refusal,
    /// Under which name it was asked with what: to be counted with the answer.
    pub sighting: Option<Sighting>,
    pub in_flight: InFlightRequest,
    /// The backend does not wait longer for the thread.
    pub until: Instant,
    /// Others wait for the answer; `None`: nobody does.
    pub claim: Option<Arc<Claim>>,
    /// The request is sent once more where nothing is known of it.
    pub repeats: bool,
}

/// What came of it, for the backend to see.
#[derive(Default)]
pub struct KeptOutcome {
    pub verdict: Option<Verdict>,
    /// Why the answer could not be kept.
    pub dropped: Option<&'static str>,
    /// The refusal that could not be kept.
    pub unkept: Option<Refusal>,
    /// The refusal that the worker is to write, where the backend itself took it in.
    pub unwritten: Option<Unwritten>,
}

/// A refusal on its way to the list. It is rare, and must outlive a crash once the call is told: so that waits for the worker.
pub struct Unwritten {
    keys: Vec<Key>,
    reach: Hash,
    until: Instant,
}

impl Unwritten {
    /// At most until the backend stops waiting for the request, and not where an open transaction holds the row.
    pub fn wait(&self, pause: impl Fn(Duration)) {
        while Instant::now() < self.until && receipts::are_to_write(&self.keys, self.reach) {
            pause(receipts::PAUSE);
        }
    }
}

/// Where a helper thread leaves what became of an answer.
pub type Kept = Arc<Mutex<KeptOutcome>>;

impl ReceiptSink {
    /// For the thread, and where to find what came of it.
    pub fn start(self) -> (Keep, Kept) {
        let shared = Kept::default();
        let outcome = Arc::clone(&shared);
        let keep = move |answer: Result<&_, &_>| {
            let (verdict, cost) = match answer {
                Ok(answer) => {
                    let (verdict, cost) = self.config.read_all(answer, clock::now(), &self.whom);
                    (self.request.without_echo(verdict), cost)
                }
                Err(fault) => (Verdict::Failed(Clone::clone(fault)), None),
            };
            self.in_flight.ended(&verdict, cost);
            let dropped = self.keep(&verdict);
            if let Some(claim) = &self.claim {
                self.tell(claim, &verdict, dropped.is_some());
            }
            let refused = verdict == Verdict::Suppressed;
            let unwritten = refused.then(|| self.unwritten()).and_then(|unwritten| {
                if wait::is_own_thread() {
                    return Some(unwritten);
                }
                unwritten.wait(std::thread::sleep);
                None
            });
            let unkept = dropped.filter(|_| refused).map(|_| self.refusal);
            *outcome.lock().unwrap_or_else(PoisonError::into_inner) =
                KeptOutcome { verdict: Some(verdict), dropped, unkept, unwritten };
        };
        (Box::new(keep), shared)
    }

    /// Those who wait for the answer: it is kept by now.
    fn tell(&self, claim: &Claim, verdict: &Verdict, dropped: bool) {
        claim.end(match verdict {
            Verdict::Failed(fault) if fault.unanswered && self.repeats => return claim.extend(REPETITION),
            Verdict::Failed(fault) => match fault.kind {
                // The session's own trouble.
                FaultKind::Busy | FaultKind::Internal => End::Abandoned,
                // It was not given all the time that a provider is to have.
                FaultKind::Timeout if !self.in_flight.in_full => End::Abandoned,
                kind => End::Failed(kind),
            },
            _ if dropped => End::Unkept,
            _ => End::Kept,
        });
    }

    fn keep(&self, verdict: &Verdict) -> Option<&'static str> {
        let Verdict::Suppressed = verdict else {
            let receipt = Receipt::new(verdict, self.config.maps(), self.known, now_us())?;
            let sighting =
                self.sighting.clone().map(|asked| asked.with_answer(self.workspace, self.provider, verdict));
            if let Some(receipt) = receipt.kept_under(self.terms) {
                return self.put(self.key.question, Content::Receipt(receipt), sighting);
            }
            // There is nothing to lose but a number.
            let sighting = sighting.filter(|sighting| !sighting.values.is_empty())?;
            self.put(sighting.key(), Content::Nothing, Some(sighting));
            return None;
        };
        // Under each thing that the person is known by, so that the next call about them finds it, whatever it asks:
        // one row of the list each. And first under the question, where it is only a mark: it is gone when those are written.
        let refused =
            |people: &[Hash]| Content::Refusal(Refusal { people: people.to_vec(), ..self.refusal.clone() });
        let mut dropped = self.put(self.key.question, refused(&[]), None);
        for person in &self.refusal.people {
            dropped = self.put(*person, refused(&[*person]), None).or(dropped);
        }
        dropped
    }

    fn unwritten(&self) -> Unwritten {
        let key = |person: &Hash| Key { question: *person, ..self.key };
        Unwritten {
            keys: self.refusal.people.iter().map(key).collect(),
            reach: self.refusal.reach(self.provider),
            until: self.until.min(Instant::now() + PATIENCE_OF_REFUSAL),
        }
    }

    fn put(&self, question: Hash, content: Content, sighting: Option<Sighting>) -> Option<&'static str> {
        let (workspace, provider, person) = (self.workspace, self.provider, self.person);
        let reach = match &content {
            Content::Refusal(refusal) => Some(refusal.reach(provider)),
            _ => None,
        };
        let filed = Filed { workspace, provider, person, content, sighting };
        let payload = filed.to_bytes();
        let key = Key { question, ..self.key };
        let until = Instant::now() + PATIENCE;
        let arrival = Arrival { key, person, sent_at: self.in_flight.sent_at, payload: &payload, reach };
        while let Err(refusal) = receipts::put(&arrival) {
            if refusal == NoRoom::TooLong || Instant::now() >= until {
                receipts::count_drop(self.key.database);
                return Some(receipts::why(refusal));
            }
            std::thread::sleep(receipts::PAUSE);
        }
        None
    }
}
