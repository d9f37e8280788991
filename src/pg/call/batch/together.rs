//! Contacts of a batch that a provider is asked about together, by one request: they are gathered until it is full, or until
//! nobody else can come.

use std::time::{Duration, Instant};

use crate::pg::call::batch::halting::Rest;
use crate::pg::call::batch::member::Member;
use crate::pg::call::batch::{Batch, MAX_FINISHED};
use crate::pg::provider;
use crate::pg::provider::{Asked, BulkOutcome, Guest, Sitting};
use crate::pg::sys::settings;
use leadlex_domain::contact::Contact;
use leadlex_domain::provider::{FaultKind, Group};

/// A request without another limit: more than any may take.
const NO_LIMIT: Duration = Duration::from_secs(3_600);

/// Who is asked about together, and who waits for others.
#[derive(Default)]
pub struct Together {
    tables: Vec<Table>,
    sittings: Vec<Seated>,
}

/// Contacts that wait until their request is full.
struct Table {
    /// The provider's position in the waterfall.
    at: usize,
    group: Group,
    most: usize,
    /// Each since then.
    members: Vec<(Instant, Box<Member>)>,
}

/// A request on its way, with its contacts.
struct Seated {
    at: usize,
    sitting: Sitting,
    members: Vec<Box<Member>>,
}

impl Together {
    /// Requests on their way.
    pub fn under_way(&self) -> usize {
        self.sittings.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sittings.is_empty() && self.tables.is_empty()
    }

    /// Until the first of the requests has to be over.
    pub fn nearest(&self) -> Option<Duration> {
        self.sittings.iter().map(|seated| seated.sitting.left()).min()
    }
}

impl Batch<'_> {
    /// Requests on their way.
    pub fn requests(&self) -> usize {
        self.flying.len() + self.together.under_way()
    }

    /// It is asked about together with others, if this provider takes it so; else it is given back.
    pub fn gather(&mut self, at: usize, member: Box<Member>) -> Option<Box<Member>> {
        let provider = &self.providers.all[at].1;
        let (known, missing) = (member.steps.known(), member.steps.missing());
        let shared = provider::shared_by(provider, &self.asking(&member, &known), missing);
        drop(known);
        let Some((group, most)) = shared else { return Some(member) };
        // A request about it was too large before.
        let most = member.most_together.map_or(most, |fewer| fewer.min(most));
        let same = |table: &Table| table.at == at && table.most == most && table.group == group;
        let index = self.together.tables.iter().position(same).unwrap_or_else(|| {
            self.together.tables.push(Table { at, group, most, members: Vec::new() });
            self.together.tables.len() - 1
        });
        let table = &mut self.together.tables[index];
        table.members.push((Instant::now(), member));
        if table.members.len() >= most {
            let Table { members, .. } = self.together.tables.swap_remove(index);
            self.seat(at, members);
        }
        None
    }

    /// Asks about those to whom nobody else can come.
    pub fn close_tables(&mut self, parallel: usize) {
        while let Some(index) = (0..self.together.tables.len()).find(|index| !self.may_grow(*index, parallel))
        {
            let Table { at, members, .. } = self.together.tables.swap_remove(index);
            self.seat(at, members);
        }
    }

    /// Whether others may come: an earlier provider has been asked about them, or they wait for a request to be over.
    fn may_grow(&mut self, index: usize, parallel: usize) -> bool {
        let at = self.together.tables[index].at;
        let earlier = |member: &Member| member.steps.turn().is_some_and(|turn| turn < at);
        let before = self.flying.iter().any(|flying| earlier(&flying.member))
            || self.together.sittings.iter().any(|seated| seated.at < at)
            || self.roomless.has_one_before(at);
        let more = !self.queue.is_empty() || !self.ahead.is_empty();
        let full = self.requests() >= parallel || self.finished.len() >= MAX_FINISHED;
        let with_it = self.together.tables[index].group.has_ticket() && self.is_one_nearly_ready();
        before || with_it || (more && full && self.admits())
    }

    fn seat(&mut self, at: usize, members: Vec<(Instant, Box<Member>)>) {
        let rest = |(since, mut member): (Instant, Box<Member>)| {
            self.stand_still(&mut member, since);
            member
        };
        let members = members.into_iter().map(rest).collect();
        self.ask_together(at, members, true);
    }

    /// `repeats`: it may be sent once more.
    fn ask_together(&mut self, at: usize, members: Vec<Box<Member>>, repeats: bool) {
        let provider = &self.providers.all[at].1;
        let left = self.until.map_or(NO_LIMIT, |until| until.saturating_duration_since(Instant::now()));
        let known: Vec<Contact> = members.iter().map(|member| member.steps.known().into_owned()).collect();
        let of_both = members.iter().zip(&known);
        let guests: Vec<Guest<'_>> = of_both
            .map(|(member, known)| Guest {
                asking: self.asking(member, known),
                missing: member.steps.missing(),
            })
            .collect();
        let others = members.iter().all(|member| !member.goes_last);
        let (fates, sitting) = provider::ask_together(provider, &guests, (left, others, repeats));
        drop(guests);
        let (mut seated, mut apart) = (Vec::with_capacity(members.len()), Vec::new());
        for (member, fate) in members.into_iter().zip(fates) {
            match fate {
                None => seated.push(member),
                Some(asked) => apart.push((member, asked)),
            }
        }
        if let Some(sitting) = sitting {
            self.together.sittings.push(Seated { at, sitting, members: seated });
        }
        // What a budget does not allow for all of them, it may allow for some.
        let fewer = (apart.len() > 1 && apart.iter().all(|(_, asked)| is_over_budget(asked)))
            .then(|| apart.len().div_ceil(2));
        for (mut member, asked) in apart {
            if let Some(fewer) = fewer {
                member.most_together = Some(fewer);
                match self.gather(at, member) {
                    None => continue,
                    Some(again) => member = again,
                }
            }
            if matches!(asked, Asked::Answered) {
                let (known, missing) = (member.steps.known().into_owned(), member.steps.missing());
                member.past.look_again(self.workspace(), &self.providers.all[at], (&known, missing));
            }
            if let Some(member) = self.follow(at, member, asked) {
                self.advance(member);
            }
        }
    }

    /// What has come of requests; those who are through with theirs go to `answered`. Whether there was one.
    pub fn take_sittings(&mut self, answered: &mut Vec<Box<Member>>) -> bool {
        let (mut index, mut taken) = (0, false);
        while index < self.together.sittings.len() {
            let Some(outcome) = self.together.sittings[index].sitting.try_take() else {
                index += 1;
                continue;
            };
            let Seated { at, members, .. } = self.together.sittings.swap_remove(index);
            (self.trial_until, taken) = (None, true);
            match outcome {
                BulkOutcome::Landed(landed) => {
                    members
                        .into_iter()
                        .zip(landed)
                        .for_each(|(member, landed)| self.land(member, landed, answered));
                }
                BulkOutcome::Halve => {
                    // Each half by itself: were they filled up with others, it would take more requests to find who is refused.
                    let half = members.len().div_ceil(2);
                    let mut rest = members;
                    rest.iter_mut().for_each(|member| member.most_together = Some(half));
                    while !rest.is_empty() {
                        let later = rest.split_off(rest.len().min(half));
                        self.ask_together(at, std::mem::replace(&mut rest, later), true);
                    }
                }
                BulkOutcome::Repeat => self.ask_together(at, members, false),
            }
        }
        taken
    }

    /// Time is over for those that wait. A contact that was asked about already has what came of it.
    pub fn leave_tables(&mut self, rest: &Rest) {
        for Table { at, members, .. } in std::mem::take(&mut self.together.tables) {
            for (_, member) in members {
                self.leave_at(at, member, rest);
            }
        }
    }

    /// Whether another request can be sent beside those under way.
    pub fn may_send(&self) -> bool {
        self.requests() < settings::max_parallel_requests()
    }
}

/// Nothing was sent, as a budget has not so much left.
fn is_over_budget(asked: &Asked) -> bool {
    let Asked::Done(outcome) = asked else { return false };
    outcome.fault().is_some_and(|fault| fault.kind == FaultKind::Budget)
}
