//! Jobs of the queue: what becomes of one after an attempt, and when it is tried again.

use std::time::Duration;

use super::batch::{BatchResult, NOT_PAID, NOT_STARTED, Status};
use super::call_error::Code;
use super::failed_provider::ProviderAttempt;

pub use super::job_policy::Policy;

/// Outcome of a job whose contact was deleted since, or is not to be seen any more.
pub const GONE: &str = "gone";

/// What becomes of a job after an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum JobOutcome {
    Done(&'static str),
    /// Done without a match, for another reason than that no provider has data.
    NoMatch(String),
    /// It is not its fault: the attempt does not count.
    Again {
        after: Duration,
        error: Option<String>,
    },
    /// It has to wait for something that comes by itself or is granted; that it had to does not use it up.
    Waits {
        retry_after: Option<Duration>,
        error: String,
    },
    /// It was not asked about, or the provider had too many requests: it has to wait for that, and nothing is used up.
    PassedOver {
        retry_after: Option<Duration>,
        error: String,
    },
    /// The same, where somebody has to raise a budget or give a price: that lets it go on at once.
    WaitsForMoney {
        error: String,
    },
    /// An answer comes later: that is no failure, and uses nothing up. `charged`: by now, for what has come. `failed`: who was
    /// asked beside it.
    Pending {
        after: Option<Duration>,
        charged: bool,
        failed: Vec<ProviderAttempt>,
        error: String,
    },
    /// A credit was charged for another question: it begins anew, like one that nothing was done for.
    Anew,
    /// `failed`: who was asked.
    Failed {
        retry_after: Option<Duration>,
        error: String,
        failed: Vec<ProviderAttempt>,
    },
    /// To try again is no use.
    Dead {
        error: String,
    },
}

impl JobOutcome {
    /// The same of a job that has written something at a visit before.
    #[must_use]
    pub fn after_enriched(self) -> JobOutcome {
        let over = [Status::NoMatch, Status::Unchanged].map(Status::name);
        match self {
            JobOutcome::NoMatch(_) => JobOutcome::Done(Status::Enriched.name()),
            JobOutcome::Done(outcome) if over.contains(&outcome) => JobOutcome::Done(Status::Enriched.name()),
            fate => fate,
        }
    }
}

/// By what a batch says of the contact.
pub fn fate(line: &BatchResult) -> JobOutcome {
    let retry_after = line.retry_after_s.map(Duration::from_secs);
    let enriched = line.status == Status::Enriched;
    // Where another provider may still have something, the job goes on.
    let is_open = line.status == Status::Pending || line.given_up;
    let later = line.pending.filter(|_| enriched || is_open);
    // The table has refused what came by now, and not what is owed.
    let owed = line.pending.filter(|pending| pending.owed && !pending.given_up);
    let later = later.or(owed.filter(|_| line.status == Status::NoMatch));
    // Where nothing is owed, to ask again is another attempt.
    if let Some(pending) = later.filter(|pending| enriched || pending.owed || pending.given_up) {
        let error = still_pending(line, pending.given_up);
        return match pending.given_up {
            true if enriched => JobOutcome::Done(line.status.name()),
            true => JobOutcome::Dead { error },
            false => JobOutcome::Pending {
                after: pending.retry_after_s.map(Duration::from_secs),
                charged: enriched,
                failed: line.failed.clone(),
                error,
            },
        };
    }
    let Some((code, message)) = &line.error else {
        // Of several jobs of a contact that are run together one has changed it.
        let status = if line.repeats { Status::Unchanged } else { line.status };
        return JobOutcome::Done(status.name());
    };
    if line.status == Status::NoMatch {
        return match line.tells_why {
            true => JobOutcome::NoMatch(message.clone()),
            false => JobOutcome::Done(line.status.name()),
        };
    }
    let is = |other: Code| code == other.name();
    let error = match code.len() == 5 && !message.starts_with(code.as_str()) {
        true => format!("{code}: {message}"),
        false => message.clone(),
    };
    match code.as_str() {
        NOT_PAID => JobOutcome::Anew,
        NOT_STARTED => JobOutcome::Again { after: Duration::ZERO, error: None },
        // It waits until requests are sent again.
        _ if line.stopped => JobOutcome::Again { after: Duration::ZERO, error: Some(error) },
        _ if is(Code::NotFound) => JobOutcome::Done(GONE),
        _ if is(Code::RateLimited) || is(Code::InsufficientCredits) => {
            JobOutcome::Waits { retry_after, error }
        }
        _ if line.waits_for_money => JobOutcome::WaitsForMoney { error },
        _ if line.passed_over => JobOutcome::PassedOver { retry_after, error },
        // Nothing is owed any more, and who failed beside it has had its attempts.
        _ if line.given_up && line.pending.is_none() => JobOutcome::Dead { error },
        _ if is(Code::ProviderUnavailable) => {
            JobOutcome::Failed { retry_after, error, failed: line.failed.clone() }
        }
        // Who has answered is asked again: that could not be written.
        sqlstate if is_transient(sqlstate) => {
            let failed = line.failed.iter().filter(|one| !one.has_answered()).cloned().collect();
            JobOutcome::Failed { retry_after, error, failed }
        }
        _ => JobOutcome::Dead { error },
    }
}

/// What a provider that is disabled owes of a contact: no visit asks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    pub provider: String,
    /// Its time is over: who asks again hands the question in anew.
    pub given_up: bool,
}

/// What the error of a job says that waits for such an answer.
pub const OWED_BY_DISABLED: &str = "still owes an answer and is disabled";

/// What the error of a job says of which something was written, and more comes later for whatever reason.
pub const STILL_PENDING: &str = "an answer that comes later is still pending";

/// How often such a job is looked at: to enable the provider wakes it sooner.
const UNTIL_ENABLED: Duration = Duration::from_secs(10);

/// What becomes of a job that would be over, while an answer that was handed in for it is still owed: it was or will be
/// billed, so it is fetched once the provider is enabled, or given up in sight.
pub fn while_owed(fate: JobOutcome, owed: &Owed) -> JobOutcome {
    let charged = match &fate {
        JobOutcome::Done(GONE) => return fate,
        JobOutcome::Done(outcome) => *outcome == Status::Enriched.name(),
        JobOutcome::NoMatch(_) => false,
        _ => return fate,
    };
    let provider = &owed.provider;
    match owed.given_up {
        true if charged => fate,
        true => JobOutcome::Dead {
            error: format!("{provider} owed an answer and is disabled; poll_for_s is over{REASON}"),
        },
        false => JobOutcome::Pending {
            after: Some(UNTIL_ENABLED),
            charged,
            failed: Vec::new(),
            error: format!(
                "{provider} {OWED_BY_DISABLED}: it is asked again once leadlex.enable_provider enables it{REASON}"
            ),
        },
    }
}

/// At the end of what is said of an answer that comes later.
const REASON: &str = " (pending)";

/// What a job tells of an answer that comes later, or has not come: that ends with the reason, once.
fn still_pending(line: &BatchResult, given_up: bool) -> String {
    const OVER: &str =
        "; poll_for_s is over: to try the job again hands the question in anew, which can be billed again";
    let told = line.error.as_ref().map(|(_, message)| message.as_str());
    let told = told.unwrap_or(STILL_PENDING);
    let over = if given_up { OVER } else { "" };
    format!("{}{over}{REASON}", told.strip_suffix(REASON).unwrap_or(told))
}

/// Whether an SQLSTATE speaks of the moment, not of what was tried: conflicts, locks, resources, the server itself.
pub fn is_transient(sqlstate: &str) -> bool {
    let class = sqlstate.get(..2).unwrap_or_default();
    sqlstate.len() == 5 && ["08", "40", "53", "55", "57", "58", "XX"].contains(&class)
}

/// Whether somebody has to be given a right before anything at all can succeed.
pub fn is_forbidden(sqlstate: &str) -> bool {
    ["LX400", "LX401", "LX403"].contains(&sqlstate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call_error::{Failure, NoMatchReason};
    use crate::contact::Contact;
    use crate::fields::FieldSet;
    use crate::provider::{Fault, FaultKind};
    use crate::rate::Window;
    use crate::waterfall::Pending;
    use proptest::prelude::*;
    use uuid::Uuid;

    const POLICY: Policy =
        Policy { base: Duration::from_secs(10), longest: Duration::from_secs(3_600), max_attempts: 10 };

    fn failed(failure: &Failure) -> JobOutcome {
        fate(&BatchResult::failed(Uuid::nil(), failure, None))
    }

    fn raised(sqlstate: &str) -> JobOutcome {
        fate(&BatchResult::raised(Uuid::nil(), sqlstate, "why", None))
    }

    #[test]
    fn what_a_disabled_provider_owes_keeps_a_job() {
        let owed = |given_up| Owed { provider: "slow".to_owned(), given_up };
        for nothing in ["no_match", "unchanged"].map(JobOutcome::Done) {
            let kept = while_owed(nothing.clone(), &owed(false));
            assert!(matches!(&kept, JobOutcome::Pending { charged: false, error, .. }
                if error.starts_with("slow still owes") && error.ends_with("(pending)")));
            assert!(matches!(while_owed(nothing, &owed(true)), JobOutcome::Dead { .. }));
        }
        let why = JobOutcome::NoMatch("why".to_owned());
        assert!(matches!(while_owed(why, &owed(false)), JobOutcome::Pending { charged: false, .. }));
        let enriched = JobOutcome::Done("enriched");
        assert!(matches!(
            while_owed(enriched.clone(), &owed(false)),
            JobOutcome::Pending { charged: true, after: Some(_), .. }
        ));
        assert_eq!(while_owed(enriched.clone(), &owed(true)), enriched);
        // What is gone needs nothing, and what goes on anyway asks again.
        let others = [JobOutcome::Done(GONE), JobOutcome::Anew, JobOutcome::Dead { error: "why".to_owned() }];
        for other in others {
            assert_eq!(while_owed(other.clone(), &owed(false)), other);
        }
    }

    #[test]
    fn nothing_found_is_an_answer() {
        assert_eq!(failed(&Failure::no_match(NoMatchReason::NoData)), JobOutcome::Done("no_match"));
        let aside = failed(&Failure::set_aside(&[("a".to_owned(), NoMatchReason::OtherPerson)]));
        assert!(matches!(&aside, JobOutcome::NoMatch(why) if why.ends_with("(other_person)")), "{aside:?}");
    }

    #[test]
    fn nobody_left_to_ask_about_is_no_failure() {
        assert_eq!(failed(&Failure::not_found("contact 4711")), JobOutcome::Done("gone"));
    }

    #[test]
    fn of_several_jobs_of_one_contact_one_has_changed_it() {
        let line = BatchResult::done(Uuid::nil(), Contact::default(), FieldSet::ALL, None);
        assert_eq!(fate(&line), JobOutcome::Done("enriched"));
        assert_eq!(fate(&BatchResult { repeats: true, ..line }), JobOutcome::Done("unchanged"));
    }

    #[test]
    fn what_may_succeed_later_is_tried_later() {
        let window = Window { limit: 10, remaining: 0, reset: 142 };
        let limited = failed(&Failure::rate_limited(window, 100));
        assert!(matches!(limited, JobOutcome::Waits { retry_after: Some(d), .. } if d.as_secs() == 42));
        assert!(matches!(
            failed(&Failure::insufficient_credits()),
            JobOutcome::Waits { retry_after: None, .. }
        ));
        assert!(matches!(
            failed(&Failure::provider_unavailable(&[])),
            JobOutcome::Failed { retry_after: None, .. }
        ));
        assert!(matches!(fate(&BatchResult::left(Uuid::nil(), None)), JobOutcome::Again { .. }));
        let contact = Contact { id: "7".to_owned(), ..Contact::default() };
        assert_eq!(fate(&BatchResult::not_paid(Uuid::nil(), contact)), JobOutcome::Anew);
        for transient in ["40001", "40P01", "55P03", "53200", "57014"] {
            assert!(matches!(raised(transient), JobOutcome::Failed { .. }), "{transient}");
        }
    }

    #[test]
    fn what_was_not_asked_about_is_no_attempt() {
        let fault = |kind, paused| Fault { paused, retry_after_s: Some(7), ..Fault::new(kind, "why") };
        let told = |faults: &[Option<Fault>]| {
            let named = faults.iter().map(|fault| ("main".to_owned(), fault.clone()));
            failed(&Failure::provider_unavailable(&named.collect::<Vec<_>>()))
        };
        let limited = Some(fault(FaultKind::ProviderLimit, false));
        let busy = Some(fault(FaultKind::RateLimited, false));
        let paused = Some(fault(FaultKind::Quota, true));
        let down = Some(fault(FaultKind::ServerError, false));
        for faults in [
            vec![limited.clone()],
            vec![Some(fault(FaultKind::Budget, false)), Some(fault(FaultKind::NoPrice, false))],
            vec![busy.clone()],
            vec![paused.clone()],
            vec![Some(fault(FaultKind::BreakerOpen, true))],
            vec![None, busy, limited, paused.clone()],
        ] {
            let fate = told(&faults);
            assert!(
                matches!(fate, JobOutcome::PassedOver { retry_after: Some(d), .. } if d.as_secs() == 7),
                "{fate:?}"
            );
        }
        let unpaid = Some(Fault::new(FaultKind::Budget, "why"));
        assert!(matches!(told(&[unpaid.clone(), None]), JobOutcome::WaitsForMoney { .. }));
        // Another one can be asked sooner.
        let sooner = told(&[unpaid.clone(), paused.clone()]);
        assert!(matches!(sooner, JobOutcome::PassedOver { retry_after: Some(d), .. } if d.as_secs() == 7));
        assert!(matches!(told(&[unpaid, down.clone()]), JobOutcome::Failed { .. }));
        for faults in [vec![down.clone()], vec![paused, down], vec![Some(fault(FaultKind::Quota, false))]] {
            assert!(matches!(told(&faults), JobOutcome::Failed { .. }), "{faults:?}");
        }
    }

    #[test]
    fn what_is_owed_is_no_attempt_and_what_is_not_is_one() {
        let fate_of = |fault: Fault| {
            let pending =
                Pending { retry_after_s: fault.retry_after_s, owed: fault.owed, given_up: fault.given_up };
            let failure = Failure::provider_unavailable(&[("slow".to_owned(), Some(fault))]);
            fate(&BatchResult::failed(Uuid::nil(), &failure, None).pending(Some(pending)))
        };
        let fault = Fault { retry_after_s: Some(9), ..Fault::new(FaultKind::Pending, "not ready") };
        // What is given up does not come: its line says so.
        let over = Failure::provider_unavailable(&[(
            "slow".to_owned(),
            Some(Fault { given_up: true, ..fault.clone() }),
        )]);
        let pending = Pending { retry_after_s: None, owed: false, given_up: true };
        let line = BatchResult::failed(Uuid::nil(), &over, None).pending(Some(pending));
        assert_eq!(line.status, Status::Failed);
        assert!(matches!(
            fate_of(Fault { owed: true, ..fault.clone() }),
            JobOutcome::Pending { after: Some(d), charged: false, .. } if d.as_secs() == 9
        ));
        assert!(
            matches!(fate_of(fault.clone()), JobOutcome::Failed { retry_after: Some(d), .. } if d.as_secs() == 9)
        );
        let given_up = fate_of(Fault { given_up: true, ..fault });
        assert!(
            matches!(&given_up, JobOutcome::Dead { error } if error.ends_with("billed again (pending)") && error.matches("(pending)").count() == 1),
            "{given_up:?}"
        );
        let pending = Pending { retry_after_s: Some(9), owed: false, given_up: false };
        let line =
            BatchResult::done(Uuid::nil(), Contact::default(), FieldSet::ALL, None).pending(Some(pending));
        assert!(matches!(fate(&line), JobOutcome::Pending { charged: true, .. }), "the rest is paid");
        let none_left = BatchResult { pending: Some(Pending { given_up: true, ..pending }), ..line };
        assert_eq!(fate(&none_left), JobOutcome::Done("enriched"));
    }

    /// One provider's answer was asked for long enough; what the other says decides.
    #[test]
    fn a_job_is_not_given_up_while_another_provider_may_answer() {
        let over = Fault { given_up: true, ..Fault::new(FaultKind::Pending, "over") };
        let told = |other: Option<Fault>| {
            let both = [("over".to_owned(), Some(over.clone())), ("other".to_owned(), other)];
            let failure = Failure::provider_unavailable(&both);
            let pending = Pending { retry_after_s: None, owed: false, given_up: true };
            fate(&BatchResult::failed(Uuid::nil(), &failure, None).pending(Some(pending)))
        };
        let down = Fault::new(FaultKind::ServerError, "HTTP 500");
        let fate = told(Some(down));
        assert!(matches!(&fate, JobOutcome::Failed { error, .. } if error.contains("HTTP 500")), "{fate:?}");
        let limited = Fault { retry_after_s: Some(2), ..Fault::new(FaultKind::RateLimited, "HTTP 429") };
        let fate = told(Some(limited));
        assert!(
            matches!(&fate, JobOutcome::PassedOver { retry_after: Some(d), .. } if d.as_secs() == 2),
            "{fate:?}"
        );
        for nothing_more in [None, Some(over.clone())] {
            let fate = told(nothing_more);
            assert!(matches!(&fate, JobOutcome::Dead { error } if error.ends_with("(pending)")), "{fate:?}");
        }
    }

    #[test]
    fn what_cannot_is_not() {
        for lasting in ["23514", "42501", "22001", "P0001", "21000"] {
            let fate = raised(lasting);
            assert!(matches!(&fate, JobOutcome::Dead { error } if error.contains(lasting)), "{fate:?}");
        }
    }

    proptest! {
        #[test]
        fn waits_grow_within_their_bounds(attempts in 0_u32..100, jitter in 0.0..=1.0) {
            let wait = POLICY.backoff(attempts, None, jitter);
            let full = Duration::from_secs_f64((10.0 * 2_f64.powi(attempts.max(1) as i32 - 1)).min(3_600.0));
            prop_assert!(wait >= full / 2 && wait <= full, "{wait:?} of {full:?}");
        }

        #[test]
        fn nobody_comes_back_before_he_was_asked_to(attempts in 1_u32..40, seconds in 0_u64..100_000, jitter in 0.0..=1.0) {
            let least = Duration::from_secs(seconds);
            let wait = POLICY.backoff(attempts, Some(least), jitter);
            prop_assert!(wait >= least);
            prop_assert!(wait <= least.max(POLICY.longest) + POLICY.longest / 10);
        }

        #[test]
        fn nothing_comes_before_the_provider_can_be_asked(seconds in 0_u64..100_000, jitter in 0.0..=1.0) {
            let least = Duration::from_secs(seconds);
            let wait = POLICY.turn(Some(least), jitter);
            prop_assert!(wait >= least && wait <= least + Duration::from_secs(10), "{wait:?}");
            prop_assert!(POLICY.turn(None, jitter) >= POLICY.base / 2);
        }

        #[test]
        fn those_that_failed_together_come_back_apart(attempts in 1_u32..40, a in 0.0..0.4, b in 0.6..1.0) {
            prop_assert!(POLICY.backoff(attempts, None, a) < POLICY.backoff(attempts, None, b));
        }
    }
}
