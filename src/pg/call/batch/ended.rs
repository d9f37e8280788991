//! Contacts that were asked about and of whom nothing is written: their rows are looked at once more, those of many together.

use std::time::{Duration, Instant};

use crate::pg::call::batch::member::Member;
use crate::pg::call::batch::{Batch, MAX_HELD_BACK, PORTION};
use crate::pg::call::writing::{AskedProviders, IdentityChanged};
use crate::pg::table::FoundRow;
use leadlex_domain::steps::{CallOutcome, Raised};

/// Nobody waits longer to be told, though others may end meanwhile.
const LONGEST: Duration = Duration::from_millis(100);

/// What ends so soon after its row was read is told as it is.
const AT_ONCE: Duration = Duration::from_millis(10);

/// Those that wait for that.
#[derive(Default)]
pub struct Ended {
    members: Vec<Box<Member>>,
    /// Of the first.
    since: Option<Instant>,
}

impl Ended {
    /// How long the others may be waited for.
    pub fn left(&self) -> Duration {
        self.since.map_or(Duration::MAX, |since| LONGEST.saturating_sub(since.elapsed()))
    }
}

impl Batch<'_> {
    /// The contact has come to its end, and nothing is to be written.
    pub fn end(&mut self, member: Box<Member>) {
        let is_at_once = member.read_at.elapsed() < AT_ONCE;
        if is_at_once || !matches!(member.steps.outcome(), Some(CallOutcome::Failed(_))) {
            return self.conclude(member.claim, member.steps);
        }
        self.ended.since.get_or_insert_with(Instant::now);
        self.ended.members.push(member);
        // Where no request has to be waited for, all of a set may come to this in one round.
        if self.ended.members.len() >= PORTION {
            self.tell_ended(false);
        }
    }

    /// Tells of those that have ended, where it is time. `idle`: nothing else is under way.
    pub fn tell_ended(&mut self, idle: bool) {
        let is_full = || self.ended.members.len() >= PORTION || self.order.held_back() >= MAX_HELD_BACK;
        if self.ended.members.is_empty() || !(idle || self.ended.left().is_zero() || is_full()) {
            return;
        }
        let members = std::mem::take(&mut self.ended).members;
        let ids: Vec<&str> = members.iter().map(|member| member.steps.contact().id.as_str()).collect();
        let found = self.binding.read_many(self.workspace(), &ids);
        for (mut member, found) in members.into_iter().zip(found) {
            let (workspace, crowd) = (self.workspace(), &self.crowd);
            let asked = AskedProviders { workspace, providers: &self.providers.all, crowd };
            let before = member.steps.contact();
            match found {
                FoundRow::One(now) if !asked.is_still(member.steps.heard(), before, &now) => {
                    let (sqlstate, message) =
                        (IdentityChanged::SQLSTATE.to_owned(), IdentityChanged::message(&before.id));
                    // Of who stands there now nothing was found out.
                    member.steps.overtaken(Raised { sqlstate, message });
                }
                FoundRow::Nothing => member.steps.vanished(),
                _ => {}
            }
            self.conclude(member.claim, member.steps);
        }
    }
}
