//! Steps 8 to 10 for one contact of a set: the rate, a credit, and one provider after another.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use crate::pg::call::batch::member::{Flying, Member};
use crate::pg::call::batch::{Batch, PORTION, TRIAL_LOOK};
use crate::pg::limits::{credits, rates};
use crate::pg::provider;
use crate::pg::provider::shared_values;
use crate::pg::provider::{Asked, Asker, Asking, Limit, NotYet};
use crate::pg::store::stop;
use crate::pg::sys::{clock, settings};
use leadlex_domain::contact::Contact;
use leadlex_domain::failed_provider::FailedProvider;
use leadlex_domain::provider::{Fault, FaultKind, Verdict};
use leadlex_domain::rate::Window;
use leadlex_domain::steps::{Event, Step};
use leadlex_domain::waterfall::ProviderOutcome;

impl Batch<'_> {
    /// Steps 8 and 9, then the first provider. Where a limit lets no contact through now, it goes back to the queue.
    pub fn ask(&mut self, mut member: Box<Member>) {
        if member.steps.step() == Step::PutOff {
            member.steps.next(Event::Resumed);
        }
        if member.steps.step() == Step::UseRate {
            let limits = self.caller.workspace.limits;
            // An answer to this set may have been a refusal. Without a limit to use up, the look before the first provider tells.
            let contact = || Cow::Borrowed(member.steps.contact());
            let listed = || self.scope().is_suppressed(contact, member.row, &self.crowd);
            if !limits.is_unlimited() && listed() {
                member.steps.next(Event::Listed(true));
                return self.advance(member);
            }
            let admitted = match self.account.filter(|_| !limits.is_unlimited()) {
                Some(account) => rates::admit(account, limits),
                None => Ok(()),
            };
            match admitted {
                Ok(()) => member.steps.next(Event::Admitted),
                Err((window, now)) => return self.refuse_or_wait(member, window, now),
            };
        }
        if let Some(account) = self.purse() {
            let hint = (self.queue.len() + 1).min(PORTION) as i64;
            // What this batch itself holds may come back: then it is not worth waiting for others, nor time to give up.
            let own = self.pool.is_in_use();
            let reserved = match own {
                true => self.pool.take(account, hint, Duration::ZERO),
                false => self.credit_wait.spend(self.until, |wait| self.pool.take(account, hint, wait)),
            };
            if !reserved {
                if own {
                    self.short_of_credits = true;
                    return self.queue.push_front(member);
                }
                credits::tell_out(account);
                member.steps.next(Event::Reserved(false));
                return self.advance(member);
            }
        }
        member.steps.next(Event::Reserved(true));
        self.note_questions(&mut member);
        self.advance(member);
    }

    fn refuse_or_wait(&mut self, mut member: Box<Member>, window: Window, now: i64) {
        let minute = window.reset - now <= 61 && settings::batch_waits() && stop::reason().is_none();
        if minute {
            self.closed_until = Some(window.reset);
            self.queue.push_front(member);
        } else {
            member.steps.next(Event::RateLimited(window, now));
            self.advance(member);
        }
    }

    /// What others of this batch were told since the contact was read answers the same question about it; and those read
    /// since may have turned out to share what identified it.
    fn note_questions(&mut self, member: &mut Member) {
        let workspace = self.caller.workspace.id;
        let off = settings::receipt_terms().off();
        let answered = !off && member.past.asked().any(|hash| self.asked.contains(&hash));
        if answered || shared_values::has_become_shared(workspace, &member.past.person, &self.crowd) {
            let whom = [(member.steps.contact(), member.row, member.steps.missing())];
            let latest = provider::pasts(workspace, &self.providers.all, &whom, &self.crowd);
            latest.into_iter().for_each(|latest| member.past.replace(latest));
        }
        if off {
            return;
        }
        member.asking = member.past.asked().collect();
        self.asked.extend(&member.asking);
        self.being_asked.extend(&member.asking);
    }

    /// One provider after another, until one has to be waited for, or the contact is to be written, or has come to its end.
    pub fn advance(&mut self, mut member: Box<Member>) {
        let latest = Instant::now() + settings::total_timeout();
        let deadline = *member.deadline.get_or_insert(self.until.map_or(latest, |until| until.min(latest)));
        loop {
            let event = match member.steps.step() {
                Step::LookUp(_) => {
                    // The person may have been listed while this contact waited for its turn, or has been found on the list.
                    Event::Listed(self.scope().is_suppressed(|| member.steps.whom(), member.row, &self.crowd))
                }
                // What others had before is of no use once one has answered.
                Step::Recall(at) if !self.is_charged() && self.is_not_owed(&member, at) => {
                    Event::Recalled(None)
                }
                Step::Recall(at) => self.recall(&mut member, at),
                Step::Ask(_) if self.leaves_jobs() => return self.leave(member),
                Step::Ask(at) if self.is_not_owed(&member, at) => Event::NotAsked(ProviderOutcome::Skipped),
                Step::Ask(at) if let Some(outcome) = self.waits_its_turn(&member, at) => {
                    Event::NotAsked(outcome)
                }
                Step::Ask(at) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    // What has no time left is told so.
                    let alone = match left.is_zero() {
                        true => Some(member),
                        false => self.gather(at, member),
                    };
                    let Some(mut alone) = alone.and_then(|member| self.with_room(member, left)) else {
                        return;
                    };
                    let asked = self.put_to(&mut alone, at, left);
                    match self.follow(at, alone, asked) {
                        Some(present) => {
                            member = present;
                            continue;
                        }
                        None => return,
                    }
                }
                Step::Release => {
                    self.return_credit();
                    Event::Released
                }
                Step::Write | Step::Done => return self.finish(member),
                step => unreachable!("a contact that is asked about never comes to {step:?}"),
            };
            member.steps.next(event);
        }
    }

    /// Of a job under `first_match` for which a provider has had something, in this visit or before: only those are asked that owe an
    /// answer, or have said that they answer later.
    fn is_not_owed(&self, member: &Member, at: usize) -> bool {
        let (_, provider) = &self.providers.all[at];
        self.first_match
            && (self.is_charged() || member.steps.has_data())
            && member.past.ticket(provider.id, &member.steps.known()).is_none()
            && !self.failed_before(member, at).is_some_and(|failed| failed.answers_later)
    }

    /// A visit before, or the call that queued it, was charged.
    fn is_charged(&self) -> bool {
        self.visit.as_ref().is_some_and(|visit| visit.charged)
    }

    /// Of a job that waits for an answer: why this provider, which has failed beside it or answers later itself, is not asked yet.
    fn waits_its_turn(&self, member: &Member, at: usize) -> Option<ProviderOutcome> {
        let failed = self.failed_before(member, at)?;
        let fault = failed.fault(clock::now_us())?;
        let (_, provider) = &self.providers.all[at];
        if member.past.ticket(provider.id, &member.steps.known()).is_some() {
            return None;
        }
        Some(match &provider.config {
            Ok(config) if failed.answers_later => provider::awaited(config, fault),
            _ => ProviderOutcome::Answered(Verdict::Failed(fault)),
        })
    }

    /// What came of asking: one that has said before that it answers later, and fails now, is still waited for.
    pub fn outcome(&self, member: &Member, at: usize, outcome: ProviderOutcome) -> ProviderOutcome {
        let not_for_this = [FaultKind::Pending, FaultKind::Stopped, FaultKind::Budget, FaultKind::NoPrice];
        let is_awaited = self.failed_before(member, at).is_some_and(|failed| failed.answers_later);
        match (outcome, &self.providers.all[at].1.config) {
            (ProviderOutcome::Answered(Verdict::Failed(fault)), Ok(config))
                if is_awaited && !fault.given_up && !not_for_this.contains(&fault.kind) =>
            {
                provider::awaited(config, Fault { answers_later: true, ..fault })
            }
            (outcome, _) => outcome,
        }
    }

    /// What the job knows of this provider from the visits before.
    fn failed_before(&self, member: &Member, at: usize) -> Option<&FailedProvider> {
        let failed = self.visit.as_ref()?.failed.get(member.claim.position)?;
        failed.iter().find(|failed| failed.name == self.providers.all[at].0)
    }

    /// What follows from it; the contact, where it goes on at once.
    pub fn follow(&mut self, at: usize, mut member: Box<Member>, asked: Asked) -> Option<Box<Member>> {
        let event = match asked {
            Asked::Done(outcome) => Event::Answered(self.outcome(&member, at, outcome)),
            Asked::Waiting(flight) => {
                self.flying.push(Flying { flight, member });
                return None;
            }
            Asked::Limited(limit, fault) => return self.hold(at, member, limit, fault),
            Asked::Later(later) => return self.come_back(member, later),
            // Others keep the money free, and for how long is theirs to say.
            Asked::NotYet(NotYet::Money, fault) if self.requests() == 0 => {
                self.pass_over(at, &mut member, Limit::Turn(None), fault);
                return Some(member);
            }
            Asked::NotYet(why, _) => {
                self.put_off(member, why);
                return None;
            }
            Asked::UnderWay(awaited) => {
                member.steps.next(Event::Pending);
                self.park(member, awaited);
                return None;
            }
            Asked::Answered => Event::Again,
        };
        member.steps.next(event);
        Some(member)
    }

    fn recall(&self, member: &mut Member, at: usize) -> Event {
        let (named, workspace) = (&self.providers.all[at], self.workspace());
        let (known, missing) = (member.steps.known(), member.steps.missing());
        let is_other = matches!(known, Cow::Owned(_)) || named.1.asks_for_fields;
        if is_other && !member.past.is_of(workspace, &named.1, (&known, missing)) {
            member.past.look_again(workspace, named, (&known, missing));
        }
        member.past.put_to(named.1.id);
        let recalled = provider::recall(&named.1, &self.asking(member, &known), missing);
        Event::Recalled(recalled.or_else(|| self.outcomes.of(named.1.id, member)))
    }

    fn put_to(&self, member: &mut Member, at: usize, left: Duration) -> Asked {
        let named = &self.providers.all[at];
        let (known, missing) = (member.steps.known(), member.steps.missing());
        let asker = Asker::Set { others: !member.goes_last, halves: false };
        let asked = provider::ask(&named.1, &self.asking(member, &known), missing, left, asker);
        if matches!(asked, Asked::Answered) {
            member.past.look_again(self.workspace(), named, (&known, missing));
        }
        asked
    }

    pub fn asking<'a>(&self, member: &'a Member, known: &'a Contact) -> Asking<'a> {
        Asking {
            workspace: self.workspace(),
            contact: known,
            table: &member.table,
            person: member.row,
            overwrite: self.request.overwrite,
            since: member.since,
            past: &member.past,
        }
    }

    /// The provider whose turn it is may be asked later: meanwhile it is as if the contact had not come to it.
    fn put_off(&mut self, mut member: Box<Member>, why: NotYet) {
        if member.steps.next(Event::Deferred) == Step::Release {
            self.return_credit();
            member.steps.next(Event::Released);
        }
        if member.steps.is_new() {
            member.deadline = None;
        }
        self.stop_asking(&member);
        match why {
            // The next answer to this set ends the wait.
            NotYet::Trial | NotYet::Money => {
                self.trial_until = Some(Instant::now() + TRIAL_LOOK);
                self.queue.push_front(member);
            }
            NotYet::After(rank) => self.last.push((rank, member)),
        }
    }

    pub fn stop_asking(&mut self, member: &Member) {
        member.asking.iter().for_each(|hash| {
            self.being_asked.remove(hash);
        });
    }

    pub fn return_credit(&mut self) {
        if self.purse().is_some() {
            self.pool.settle(1, 0);
            self.short_of_credits = false;
        }
    }

    /// All is known; what is to be written is written with others.
    fn finish(&mut self, member: Box<Member>) {
        self.stop_asking(&member);
        match member.steps.step() {
            Step::Write => {
                self.progress.answered();
                self.finished.push(member)
            }
            _ => self.end(member),
        }
    }
}
