//! What a helper thread does with an answer: reads it, and keeps it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::{Key, Refusal};
use crate::domain::provider::{Answer, Config, Verdict};
use crate::domain::receipt::{Filed, Hash, Receipt, Terms};
use crate::net::Keep;
use crate::pg::accounts::{self, now_us};

/// How long an answer waits for room. Shorter than what the backend grants the thread beyond the timeout.
const PATIENCE: Duration = Duration::from_millis(150);
const PAUSE: Duration = Duration::from_millis(5);

/// Everything needed to keep the answer to one request.
pub struct Keeper {
    pub key: Key,
    pub person: Hash,
    pub known: Hash,
    pub terms: Terms,
    pub config: Arc<Config>,
    pub workspace: Uuid,
    pub provider: Uuid,
}

/// What came of it, for the backend to see.
#[derive(Default)]
pub struct Outcome {
    pub verdict: Option<Verdict>,
    /// Why the answer could not be kept.
    pub dropped: Option<&'static str>,
}

pub type Shared = Arc<Mutex<Outcome>>;

impl Keeper {
    /// For the thread, and where to find what came of it.
    pub fn start(self) -> (Keep, Shared) {
        let shared = Shared::default();
        let outcome = Arc::clone(&shared);
        let sent_at = now_us();
        let keep = move |answer: &Answer| {
            let verdict = self.config.read(answer, accounts::now());
            let dropped = self.keep(&verdict, sent_at);
            *outcome.lock().unwrap_or_else(PoisonError::into_inner) =
                Outcome { verdict: Some(verdict), dropped };
        };
        (Box::new(keep), shared)
    }

    fn keep(self, verdict: &Verdict, sent_at: i64) -> Option<&'static str> {
        let receipt = Receipt::new(verdict, self.config.fills(), self.known, now_us())?;
        let receipt = receipt.kept_under(self.terms)?;
        let filed =
            Filed { workspace: self.workspace, provider: self.provider, receipt, person: self.person };
        let payload = filed.to_bytes();
        let until = Instant::now() + PATIENCE;
        while let Err(refusal) = super::put(self.key, self.person, sent_at, &payload) {
            if refusal == Refusal::TooLong || Instant::now() >= until {
                super::count_drop(self.key.database);
                return Some(match refusal {
                    Refusal::TooLong => "it is too long for leadlex.receipt_buffer",
                    Refusal::Full => "leadlex.receipt_buffer is full",
                });
            }
            std::thread::sleep(PAUSE);
        }
        None
    }
}
