//! Providers that failed, or answer later and owe nothing, at a contact of which more is to come: when a job asks them again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::job_policy::Policy;
use super::provider::{Fault, FaultKind};

/// A provider that was asked in one visit of a contact, and owes nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProviderAttempt {
    pub name: String,
    /// `None`: it has answered. [`FaultKind::Pending`]: it answers later.
    pub failure: Option<FaultKind>,
    /// For so long it wants to be left alone.
    pub retry_after_s: Option<u64>,
}

impl ProviderAttempt {
    pub fn has_answered(&self) -> bool {
        self.failure.is_none()
    }
}

/// The same in the row of a job, over all its visits. The provider is asked again as often as if nothing were owed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FailedProvider {
    pub name: String,
    /// Why it failed last.
    pub reason: String,
    /// It has said by now that it answers later: what it has is waited for, whatever others supply meanwhile.
    pub answers_later: bool,
    /// How often it has failed.
    pub times: u32,
    /// Which one it was, a space, and as it was described when it failed: another one has not failed.
    pub revision: String,
    /// In epoch microseconds; [`FailedProvider::NEVER`]: it is not asked any more.
    pub not_before: i64,
}

impl FailedProvider {
    pub const NEVER: i64 = i64::MAX;

    /// What a job knows after an attempt of its own, at which nothing was written: those who answer later, who are asked with the
    /// next attempt, and those known before who have not answered now.
    pub fn after_attempt(
        known: &[FailedProvider],
        failed: &[ProviderAttempt],
        revision: impl Fn(&str) -> String,
    ) -> Vec<FailedProvider> {
        let has_answered =
            |one: &&FailedProvider| failed.iter().any(|f| f.has_answered() && f.name == one.name);
        let mut all: Vec<FailedProvider> = known.iter().filter(|one| !has_answered(one)).cloned().collect();
        let is_new = |one: &&ProviderAttempt| known.iter().all(|known| known.name != one.name);
        let later = failed.iter().filter(|one| one.failure == Some(FaultKind::Pending));
        all.extend(later.filter(is_new).map(|one| FailedProvider {
            name: one.name.clone(),
            reason: FaultKind::Pending.name().to_owned(),
            answers_later: true,
            times: 0,
            revision: revision(&one.name),
            not_before: 0,
        }));
        all
    }

    /// What is left of it where the provider of this name has this revision by now. One that is described otherwise has not failed,
    /// and is asked at once; another one has not said anything.
    pub fn as_of(self, revision: &str) -> Option<FailedProvider> {
        let id = |revision: &str| revision.split(' ').next().map(str::to_owned);
        match self.revision == revision {
            true => Some(self),
            false if self.answers_later && id(&self.revision) == id(revision) => {
                Some(FailedProvider { times: 0, not_before: 0, ..self })
            }
            false => None,
        }
    }

    /// Why it is not asked now; `None`: it may be.
    pub fn fault(&self, now: i64) -> Option<Fault> {
        const FAILED: &str = "it failed beside an answer that comes later, and is asked again in its turn";
        const LATER: &str = "it answers later, and is asked again in its turn";
        const NEVER: &str =
            "it has failed as often as leadlex.job_max_attempts allows, and is not asked any more";
        let fault =
            |kind: Option<FaultKind>, why: &str| Fault::new(kind.unwrap_or(FaultKind::ProviderError), why);
        let kind = FaultKind::named(&self.reason);
        if self.not_before == FailedProvider::NEVER {
            let failed = kind.filter(|kind| *kind != FaultKind::Pending);
            return Some(Fault { given_up: true, ..fault(failed, NEVER) });
        }
        let left = u64::try_from(self.not_before - now).ok().filter(|left| *left > 0)?;
        let fault = match self.answers_later {
            true => fault(Some(FaultKind::Pending), LATER),
            false => fault(kind, FAILED),
        };
        Some(Fault { paused: true, retry_after_s: Some(left.div_ceil(1_000_000)), ..fault })
    }
}

impl Policy {
    /// Of providers that failed beside an owed answer, those known before and those of this visit (see `JobOutcome::Pending`), with the
    /// `revision` of each.
    pub fn failed(
        &self,
        known: &[FailedProvider],
        failed: &[ProviderAttempt],
        revision: impl Fn(&str) -> String,
        (now, jitter): (i64, f64),
    ) -> Vec<FailedProvider> {
        let mut all = known.to_vec();
        for one in failed {
            let ProviderAttempt { name, failure, retry_after_s } = one;
            let before = all.iter().position(|known| known.name == *name).map(|at| all.swap_remove(at));
            let Some(kind) = failure else { continue };
            let times = before.as_ref().map_or(0, |before| before.times) + 1;
            let answers_later =
                *kind == FaultKind::Pending || before.is_some_and(|before| before.answers_later);
            let wait = self.backoff(times, retry_after_s.map(Duration::from_secs), jitter);
            let not_before = match self.gives_up(times) {
                true => FailedProvider::NEVER,
                false => now.saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX / 2)),
            };
            let (name, reason) = (name.clone(), kind.name().to_owned());
            let revision = revision(&name);
            all.push(FailedProvider { name, reason, answers_later, times, revision, not_before });
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(kind: FaultKind, not_before: i64) -> FailedProvider {
        FailedProvider {
            name: "main".into(),
            reason: kind.name().into(),
            answers_later: kind == FaultKind::Pending,
            times: 1,
            revision: "id 1".into(),
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
        let later = after(FaultKind::Pending, 3_000_001);
        let fault = later.fault(1).unwrap();
        assert_eq!((fault.kind, fault.paused), (FaultKind::Pending, true));
        let failed_since = FailedProvider { reason: "server_error".into(), ..later };
        assert_eq!(failed_since.fault(1).unwrap().kind, FaultKind::Pending, "it is waited for");
        let over = after(FaultKind::Pending, FailedProvider::NEVER).fault(1).unwrap();
        assert_eq!((over.kind, over.given_up), (FaultKind::ProviderError, true));
    }

    #[test]
    fn another_description_is_asked_at_once_and_waited_for_where_it_was_before() {
        let never = |kind| after(kind, FailedProvider::NEVER);
        assert_eq!(never(FaultKind::ServerError).as_of("id 1"), Some(never(FaultKind::ServerError)));
        assert_eq!(never(FaultKind::ServerError).as_of("id 2"), None);
        let later = never(FaultKind::Pending).as_of("id 2").unwrap();
        assert_eq!((later.times, later.fault(1)), (0, None));
        assert!(later.answers_later);
        assert_eq!(never(FaultKind::Pending).as_of("another 1"), None, "it has the name of one that is gone");
        assert_eq!(never(FaultKind::Pending).as_of(""), None);
    }
}
