//! LX503: providers that failed, with what each of them said.

use serde_json::{Value, json};

use super::{Code, Failure, retry_after};
use crate::provider::{Fault, FaultKind};

const STOPPED: &str = "No credit was charged. An administrator has stopped all requests (leadlex.stop) and starts them again with leadlex.resume(). What was answered before is still used.";

/// Of several answers that come later, the one that can be asked for first.
fn answer_after_s((_, fault): &(&str, &Fault)) -> u64 {
    fault.retry_after_s.unwrap_or(u64::MAX)
}

/// What a provider owed was not there in time: nothing comes of it any more.
fn is_over(entry: &Value) -> bool {
    entry["given_up"] == true
}

/// The provider was passed over for a budget that does not begin anew, or for a price that it lacks.
fn waits_for_money(entry: &Value) -> bool {
    let kinds = [FaultKind::Budget, FaultKind::NoPrice];
    retry_after(entry).is_none() && kinds.iter().any(|kind| entry["reason"] == kind.name())
}

impl Failure {
    /// Nobody had data, and these providers failed (the others are in `answered`).
    /// `provider_unavailable`, LX503. DETAIL lists all `providers`; one without a fault has the reason
    /// `no_match`. Where one is waited for, and no other was asked for that, DETAIL has its `reason` and `retry_after`, too.
    pub fn provider_unavailable(providers: &[(String, Option<Fault>)]) -> Failure {
        let outcome = |(name, fault): &(String, Option<Fault>)| match fault {
            None => json!({"provider": name, "reason": "no_match"}),
            Some(fault) => {
                let mut entry =
                    json!({"provider": name, "reason": fault.kind.name(), "message": fault.message});
                if let (Some(seconds), Some(object)) = (fault.retry_after_s, entry.as_object_mut()) {
                    object.insert("retry_after".to_owned(), json!(seconds));
                }
                if fault.kind == FaultKind::Budget && fault.retry_after_s.is_none() {
                    // A budget of all time never begins anew.
                    entry["retry_after"] = Value::Null;
                }
                let flags = [
                    ("paused", fault.paused),
                    ("without_secret", fault.without_secret),
                    ("given_up", fault.given_up),
                ];
                for (name, _) in flags.into_iter().filter(|(_, holds)| *holds) {
                    entry[name] = json!(true);
                }
                entry
            }
        };
        let failed =
            |(name, fault): &(String, Option<Fault>)| Some(format!("{name}: {}", fault.as_ref()?.message));
        let reasons: Vec<String> = providers.iter().filter_map(failed).collect();
        let first = |wanted: &dyn Fn(&Fault) -> bool| {
            providers.iter().find_map(|(name, fault)| Some((name, fault.as_ref().filter(|f| wanted(f))?)))
        };
        let denied = first(&|fault| fault.kind == FaultKind::BadCredentials && fault.remedy.is_none());
        let remedied = || first(&|fault| fault.remedy.is_some());
        let hint = match denied.or_else(remedied).or_else(|| first(&|_| true)) {
            Some((name, fault)) => format!("No credit was charged. {}", fault.advice(name)),
            None => "No credit was charged. Try again later.".to_owned(),
        };
        let failure = Failure::new(
            Code::ProviderUnavailable,
            format!("no provider had data, and at least one failed ({})", reasons.join("; ")),
            hint,
        )
        .with("providers", providers.iter().map(outcome).collect());
        let faults = || providers.iter().filter_map(|(name, fault)| Some((name.as_str(), fault.as_ref()?)));
        if let Some((_, stopped)) = faults().find(|(_, fault)| fault.kind == FaultKind::Stopped) {
            return failure.stopped(&stopped.message);
        }
        if let Some((_, held)) = faults().find(|(_, fault)| fault.holds) {
            return failure
                .with("reason", json!(held.kind.name()))
                .with("retry_after", held.retry_after_s.map_or(Value::Null, Value::from));
        }
        let of = |given_up: bool| {
            let is_one = |(_, fault): &(&str, &Fault)| fault.comes_later() && fault.given_up == given_up;
            faults().filter(is_one).collect::<Vec<_>>()
        };
        let (awaited, over) = (of(false), of(true));
        // What is given up is the reason only where nothing else can still come to something.
        let pending = match awaited.is_empty() && over.len() == faults().count() {
            true => over,
            false => awaited,
        };
        match pending.iter().copied().min_by_key(answer_after_s) {
            Some((_, fault)) => {
                failure.pending(&pending.iter().map(|(name, _)| *name).collect::<Vec<_>>(), fault)
            }
            None => failure.over_budget(&faults().map(|(_, fault)| fault).collect::<Vec<_>>()),
        }
    }

    /// Whether each provider that failed was asked for its answer as long as its `poll_for_s` says.
    pub fn is_given_up(&self) -> bool {
        let providers = self.more.get("providers").and_then(Value::as_array);
        providers.is_some_and(|all| {
            all.iter().any(is_over) && all.iter().all(|entry| is_over(entry) || entry["reason"] == "no_match")
        })
    }

    /// No request is sent, as an administrator has said.
    fn stopped(mut self, reason: &str) -> Failure {
        self.message = format!("stopped: {reason}");
        self.hint = STOPPED.to_owned();
        self.with("reason", json!(FaultKind::Stopped.name()))
    }

    /// Of a contact that is not asked about any more, since leadlex.stop() was called with this reason.
    /// `provider_unavailable`, LX503, with the reason `stopped`.
    pub fn stopped_before(reason: &str) -> Failure {
        Failure::new(Code::ProviderUnavailable, "", "").stopped(reason)
    }

    /// Whether leadlex.stop() kept a provider from being asked.
    pub fn is_stopped(&self) -> bool {
        self.more.get("reason").is_some_and(|reason| reason == FaultKind::Stopped.name())
    }

    /// Where money is the only reason: when there is some again, and no use to try again where there never is by itself.
    fn over_budget(self, faults: &[&Fault]) -> Failure {
        let for_money = |fault: &&&Fault| matches!(fault.kind, FaultKind::Budget | FaultKind::NoPrice);
        if faults.is_empty() || !faults.iter().all(|fault| for_money(&fault)) {
            return self;
        }
        let by_budget = faults.iter().find(|fault| fault.kind == FaultKind::Budget);
        let kind = by_budget.map_or(FaultKind::NoPrice, |fault| fault.kind);
        let soonest = faults.iter().filter_map(|fault| fault.retry_after_s).min();
        self.with("reason", json!(kind.name()))
            .with("retry_after", soonest.map_or(Value::Null, Value::from))
            .with("retryable", json!(soonest.is_some()))
    }

    /// The answers of these providers come later. `fault`: of the one that can be asked for first.
    fn pending(mut self, providers: &[&str], fault: &Fault) -> Failure {
        let who = match providers {
            [one] => format!("the answer of provider {one} is"),
            all => format!("the answers of providers {} are", all.join(" and ")),
        };
        self.message = match fault.given_up {
            true => format!("{who} not there, and poll_for_s is over ({})", fault.message),
            false => format!("{who} not there yet ({})", fault.message),
        };
        let then = match (fault.given_up, fault.owed) {
            (true, _) => {
                "It was asked for as long as poll_for_s of the provider says; the next call hands the question in anew."
            }
            (false, true) => {
                "Call again later: what was handed in is not handed in again. SET leadlex.when_pending = 'queue' lets the queue fetch it."
            }
            (false, false) => {
                "Call again later: the provider is asked anew then. SET leadlex.when_pending = 'queue' lets the queue do it."
            }
        };
        self.hint = format!("No credit was charged. {then}");
        let failure = self.with("reason", json!(FaultKind::Pending.name()));
        match fault.retry_after_s {
            Some(seconds) => failure.with("retry_after", json!(seconds)),
            None => failure,
        }
    }

    /// Seconds before which it is no use to try again by oneself: as [`Failure::retry_after_s`], but for providers that wait for money.
    pub fn next_try_s(&self) -> Option<u64> {
        let others = || super::soonest(self.open_entries()?.filter(|entry| !waits_for_money(entry)));
        self.retry_after_s().or_else(others)
    }

    /// Whether all providers that could still have something wait for money that somebody has to grant.
    pub fn waits_for_money(&self) -> bool {
        let waiting = |entries: Vec<&Value>| !entries.is_empty() && entries.into_iter().all(waits_for_money);
        self.open_entries().is_some_and(|entries| waiting(entries.collect()))
    }

    /// Whether no provider failed at this contact: each that has failed was not asked, since it is paused, at its limit or
    /// without a secret, or said that there are too many requests.
    pub fn is_passed_over(&self) -> bool {
        let about_others = |entry: &Value| {
            ["paused", "without_secret"].iter().any(|flag| entry.get(*flag) == Some(&json!(true)))
                || FaultKind::PASSED_OVER.iter().any(|kind| entry["reason"] == kind.name())
        };
        let answered = |entry: &Value| entry["reason"] == "no_match" || is_over(entry);
        let providers = self.more.get("providers").and_then(Value::as_array);
        providers.is_some_and(|all| {
            all.iter().any(about_others) && all.iter().all(|entry| answered(entry) || about_others(entry))
        })
    }
}
