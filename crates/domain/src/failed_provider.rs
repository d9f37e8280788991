//! Providers that failed, or answer later and owe nothing, at a contact of which more is to come: when a job asks them again.

use serde::{Deserialize, Serialize};

use super::provider::{Fault, FaultKind};

/// A provider that was asked in vain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Failed {
    pub name: String,
    /// The name of its [`FaultKind`].
    pub reason: &'static str,
    /// For so long it wants to be left alone.
    pub retry_after_s: Option<u64>,
}

/// The same in the row of a job, over all its visits. The provider is asked again as often as if nothing were owed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FailedProvider {
    pub name: String,
    /// Why it failed last.
    pub reason: String,
    /// How often it has failed.
    pub times: u32,
    /// As it was described when it failed: another one has not failed.
    pub revision: String,
    /// In epoch microseconds; [`FailedProvider::NEVER`]: it is not asked any more.
    pub not_before: i64,
}

impl FailedProvider {
    pub const NEVER: i64 = i64::MAX;

    /// Whether it said that it answers later: what it has is waited for, whatever others have supplied meanwhile.
    pub fn answers_later(&self) -> bool {
        self.reason == FaultKind::Pending.name()
    }

    /// What is left of it in a job where the provider is described otherwise by now: such a one has not failed, and is asked at once.
    pub fn of_another_description(self) -> Option<FailedProvider> {
        self.answers_later().then_some(FailedProvider { times: 0, not_before: 0, ..self })
    }

    /// Why it is not asked now; `None`: it may be.
    pub fn fault(&self, now: i64) -> Option<Fault> {
        const FAILED: &str = "it failed beside an answer that comes later, and is asked again in its turn";
        const LATER: &str = "it answers later, and is asked again in its turn";
        const NEVER: &str =
            "it has failed as often as leadlex.job_max_attempts allows, and is not asked any more";
        // One that answers later is not waited for in the call itself.
        let kind = FaultKind::named(&self.reason).filter(|_| !self.answers_later());
        let fault = |why: &str| Fault::new(kind.unwrap_or(FaultKind::ProviderError), why);
        if self.not_before == FailedProvider::NEVER {
            return Some(Fault { given_up: true, ..fault(NEVER) });
        }
        let left = u64::try_from(self.not_before - now).ok().filter(|left| *left > 0)?;
        let why = if self.answers_later() { LATER } else { FAILED };
        Some(Fault { paused: true, retry_after_s: Some(left.div_ceil(1_000_000)), ..fault(why) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(kind: FaultKind, not_before: i64) -> FailedProvider {
        FailedProvider {
            name: "main".into(),
            reason: kind.name().into(),
            times: 1,
            revision: "1".into(),
            not_before,
        }
    }

    #[test]
    fn until_its_turn_it_is_passed_over_for_the_reason_that_it_failed_for() {
        let fault = after(FaultKind::BadCredentials, 3_000_001).fault(1).unwrap();
        assert_eq!(
            (fault.kind, fault.paused, fault.retry_after_s),
            (FaultKind::BadCredentials, true, Some(3))
        );
        assert_eq!(after(FaultKind::BadCredentials, 1).fault(1), None);
        let over = after(FaultKind::ServerError, FailedProvider::NEVER).fault(1).unwrap();
        assert_eq!((over.kind, over.given_up), (FaultKind::ServerError, true));
        let later = after(FaultKind::Pending, 3_000_001).fault(1).unwrap();
        assert_eq!((later.kind, later.paused), (FaultKind::ProviderError, true));
    }

    #[test]
    fn another_description_is_asked_at_once_and_waited_for_where_it_was_before() {
        assert_eq!(after(FaultKind::ServerError, FailedProvider::NEVER).of_another_description(), None);
        let later = after(FaultKind::Pending, FailedProvider::NEVER).of_another_description().unwrap();
        assert_eq!((later.times, later.fault(1)), (0, None));
        assert!(later.answers_later());
    }
}
