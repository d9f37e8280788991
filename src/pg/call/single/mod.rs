//! One contact: does each step as soon as it is its turn.

mod telling;
mod waiting;

use std::rc::Rc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::pg::call::target::{self, Target};
use crate::pg::call::{history, identity, ownership, preconditions, writing};
use crate::pg::installation;
use crate::pg::limits::credits::Reservation;
use crate::pg::limits::{accounts, credits, rates};
use crate::pg::provider;
use crate::pg::provider::shared_values::{self, Crowd};
use crate::pg::provider::spending::Noted;
use crate::pg::provider::uses;
use crate::pg::provider::{Asked, Asker, Asking, Landed, Past, Queued, Rejected};
use crate::pg::shared::layout::ClaimKey;
use crate::pg::shared::{claims, transaction};
use crate::pg::store::loaded_provider::LoadedProvider;
use crate::pg::store::{checks, idempotency, ledger, suppressions};
use crate::pg::sys::authorship::Writing;
use crate::pg::sys::{clock, settings, snapshot, spi};
use crate::pg::table::{Binding, FoundRow};
use leadlex_domain::ask::Ask;
use leadlex_domain::call_error::{Failure, short};
use leadlex_domain::contact::Contact;
use leadlex_domain::hash::Hash;
use leadlex_domain::identity::{Caller, WRITE_ENRICH};
use leadlex_domain::merge;
use leadlex_domain::rate::Status;
use leadlex_domain::receipt;
use leadlex_domain::reply::Told;
use leadlex_domain::steps::{Event, Request, Row, Step, Steps, Stored, Written};
use waiting::Wait;

/// Steps 2 to 11 for one contact; step 1 made the [`Ask`].
///
/// Err is LX400 (a key of another type), LX401, LX402, LX403, LX404, LX409, LX422, LX429 or LX503.
/// Raises 25006 or 25000: the transaction cannot write. 55000: not preloaded, not bound, or no enabled provider.
/// Raises 42501: the caller may not read or write the bound columns. 40001: the contact changed meanwhile.
pub fn enrich(target: Target, ask: &Ask) -> Result<Told, Failure> {
    let request_id = Uuid::now_v7();
    preconditions::require_writable();
    transaction::mark_called();
    let caller = target::identify().map_err(|failure| failure.seen_at(request_id, None))?;
    let caller = target::entered(caller).map_err(|failure| failure.seen_at(request_id, None))?;
    let mut account = None;
    let result = enrich_as(&caller, &mut account, target, ask, request_id);
    result.map_err(|failure| {
        let failure = failure.seen_at(request_id, Some(&rate_status(&caller, &mut account)));
        identity::with_remedy(failure, &caller)
    })
}

fn enrich_as(
    caller: &Caller,
    account: &mut Option<usize>,
    target: Target,
    ask: &Ask,
    request_id: Uuid,
) -> Result<Told, Failure> {
    if !caller.may(WRITE_ENRICH) {
        return Err(Failure::lacks_permission(WRITE_ENRICH));
    }
    let mut call = SingleCall::open(caller, account, target, ask, request_id)?;
    let result = call.run(ask);
    if result.is_err() {
        // Errors are not stored, so no other call has to wait for this transaction because of one.
        call.drop_claims();
    }
    call.note_outcome(&result);
    call.end();
    result
}

fn note_asked(asked: &mut Vec<String>, name: &str) {
    if !asked.iter().any(|known| known == name) {
        asked.push(name.to_owned());
    }
}

/// The windows of the workspace's rate limit as they are, using nothing.
fn rate_status(caller: &Caller, account: &mut Option<usize>) -> Status {
    let limits = caller.workspace.limits;
    if limits.is_unlimited() {
        return Status::default();
    }
    rates::status(open_account(caller, account), limits)
}

fn open_account(caller: &Caller, account: &mut Option<usize>) -> usize {
    *account.get_or_insert_with(|| accounts::open(installation::account_key(caller.workspace.id)))
}

/// A call about one contact.
struct SingleCall<'a> {
    caller: &'a Caller,
    request_id: Uuid,
    binding: Rc<Binding>,
    /// The contact's key in the one spelling that everybody uses.
    id: String,
    /// Its table and key, as the request key and the receipt have them.
    table: String,
    /// The hash of its row.
    row: Hash,
    overwrite: bool,
    /// The caller's account in shared memory, once its credits or rate are needed.
    account: &'a mut Option<usize>,
    reservation: Option<Reservation>,
    /// Claims made by this call, to be given up if nothing comes of it.
    claimed: Vec<ClaimKey>,
    /// What the call is about, locked until it ends.
    locked: Vec<ClaimKey>,
    deadline: Option<Instant>,
    /// When the call began, in epoch microseconds.
    began_at: i64,
    /// In the order of their priority, once they are known.
    providers: Vec<(String, Rc<LoadedProvider>)>,
    /// What they answered before, looked up when the first of them is to be asked.
    past: Option<Past>,
    /// What is waited for before a provider can be asked.
    awaited: Option<Wait>,
    /// The place in the line before that provider, kept over several looks.
    queued: Option<Queued>,
    /// What the person may be listed under, once that was needed.
    listed: Option<(Contact, Vec<Hash>)>,
    /// Of one contact alone, so nothing.
    crowd: Crowd,
    /// Providers that were sent a request.
    asked: Vec<String>,
    /// The contact as it was read, and the transactions that were over by then, where nothing else changes it.
    read: Option<(u64, Option<Contact>)>,
    /// What its requests cost.
    noted: Noted,
}

impl<'a> SingleCall<'a> {
    /// Err is LX400 for a key of another type, and LX404 for a table that holds another workspace's rows, or that hides the
    /// row from the caller.
    fn open(
        caller: &'a Caller,
        account: &'a mut Option<usize>,
        target: Target,
        ask: &Ask,
        request_id: Uuid,
    ) -> Result<SingleCall<'a>, Failure> {
        let binding = target::binding(target);
        let workspace = caller.workspace.id;
        let not_found = || Failure::not_found(&format!("contact {}", ask.id));
        let mut id = binding.canonical_key(&ask.id).ok_or_else(|| target::no_key(&binding, &ask.id))?;
        if !binding.may_have_rows_of(workspace) {
            return Err(not_found());
        }
        preconditions::refuse_row_in_update(binding.relation());
        binding.require_readable();
        let hides_rows = binding.hides_rows();
        if binding.spelling_may_vary() || hides_rows {
            match binding.read(workspace, &id) {
                Some(contact) => id = contact.id,
                // Not even waited for.
                None if hides_rows => return Err(not_found()),
                None => (),
            }
        }
        Ok(SingleCall {
            caller,
            request_id,
            table: [binding.name(), "\n", &id].concat(),
            row: receipt::person(binding.name(), &id),
            binding,
            id,
            overwrite: ask.overwrite,
            account,
            reservation: None,
            claimed: Vec::new(),
            locked: Vec::new(),
            deadline: None,
            began_at: clock::now_us(),
            providers: Vec::new(),
            past: None,
            awaited: None,
            queued: None,
            listed: None,
            crowd: shared_values::of_one(),
            asked: Vec::new(),
            read: None,
            noted: Noted::begin(),
        })
    }

    fn workspace(&self) -> Uuid {
        self.caller.workspace.id
    }

    fn run(&mut self, ask: &Ask) -> Result<Told, Failure> {
        let (mode, min_confidence) = settings::waterfall();
        let request = Request {
            fields: ask.fields,
            overwrite: ask.overwrite,
            mapped: self.binding.fields(),
            mode,
            min_confidence,
            position: settings::position(),
        };
        let mut steps = Steps::new(request, &ask.id);
        let fingerprint = ask.key.map(|_| ask.fingerprint(&self.table, &self.id));
        if let Some(fingerprint) = fingerprint {
            // Earlier results were kept under the contact's key as it was written then.
            steps = steps.keyed(vec![fingerprint, ask.fingerprint(&self.table, &ask.id)]);
        }
        while steps.step() != Step::Done {
            let event = self.take(&steps, ask.key);
            if self.overwrite
                && let Event::Found(Row::One(contact)) = &event
            {
                let found = [FoundRow::One(contact.clone())];
                let kept = ownership::kept(self.workspace(), &self.binding, self.overwrite, &found);
                kept.into_iter().for_each(|kept| steps.keep(kept));
            }
            steps.next(event);
        }
        self.look_at_row_again(&mut steps);
        if let Some(checks) = steps.checks() {
            let (binding, id) = (&self.binding, steps.contact().id.clone());
            let all = [(id, checks.clone())];
            checks::note(self.workspace(), (&binding.schema, &binding.table), &all);
        }
        let told = self.reply(steps, ask)?;
        if let (Some(key), Some(fingerprint), Told::New(reply)) = (ask.key, fingerprint, &told) {
            idempotency::store_result(self.workspace(), key, &fingerprint, reply, self.row);
        }
        Ok(told)
    }

    /// Does what the step says.
    fn take(&mut self, steps: &Steps, key: Option<Uuid>) -> Event {
        match steps.step() {
            Step::Peek => Event::Seen(self.read_contact().is_some()),
            Step::ClaimKey => self.claim_key(key.expect("a call with a key")),
            Step::Claim => self.claim_contact(),
            Step::Read => Event::Found(self.read_contact().map_or(Row::Missing, |row| Row::One(row.into()))),
            Step::Access => {
                self.binding.require_updatable(steps.fields());
                self.binding.refuse_if_update_denied(self.workspace(), &self.id);
                Event::Allowed(true)
            }
            Step::Providers => {
                self.providers = provider::for_workspace(self.workspace());
                Event::Providers(provider::sources(&self.providers, settings::waterfall().0, 1))
            }
            Step::LookUp(_) => Event::Listed(self.is_suppressed(steps)),
            Step::UseRate => self.use_rate(),
            Step::Reserve => Event::Reserved(self.reserve_credit()),
            Step::Recall(at) => self.recall(steps, at),
            Step::Ask(at) => self.ask(steps, at),
            Step::Await(at) => self.wait(steps, at),
            Step::PutOff => unreachable!("a call about one contact waits itself"),
            Step::Write => Event::Written(self.write(steps).map(Box::new)),
            Step::Charge => {
                let enrichment = steps.enrichment();
                uses::note_used(self.workspace(), enrichment.updated, enrichment.origins);
                if self.overwrite {
                    history::note_replaced(self.workspace(), &self.binding, &[enrichment]);
                }
                let how = (self.caller, &*self.binding, self.overwrite);
                ledger::charge(&history::entry(self.request_id, enrichment, how));
                if let Some(reservation) = self.reservation.take() {
                    credits::spend(reservation);
                }
                Event::Charged
            }
            Step::Release => {
                if let Some(reservation) = self.reservation.take() {
                    credits::release(reservation);
                }
                Event::Released
            }
            Step::Done => unreachable!("nothing is left to do"),
        }
    }

    fn claim(&mut self, key: ClaimKey, what: impl FnOnce(&Self) -> String) {
        preconditions::begin(key, || what(self));
        if claims::claim(key) {
            self.claimed.push(key);
        }
        self.locked.push(key);
    }

    /// With an idempotency key it is read before and after the claim on it. Where no transaction has ended in between, there is
    /// nothing new to see.
    fn read_contact(&mut self) -> Option<Contact> {
        if let Some((over, contact)) = self.read.take()
            && over == snapshot::transactions_over()
        {
            return contact;
        }
        let over = snapshot::transactions_over();
        let contact = self.binding.read(self.workspace(), &self.id);
        // Once something is held, this was the last time.
        if self.locked.is_empty() && self.binding.is_ordinary_table() {
            self.read = Some((over, contact.clone()));
        }
        contact
    }

    /// Holds the key until this transaction ends; waits for another holder.
    fn claim_key(&mut self, key: Uuid) -> Event {
        let workspace = self.workspace().to_string();
        let claimed = installation::claim_key("key", &[&workspace, &key.to_string()]);
        self.claim(claimed, |_| format!("idempotency key {key}"));
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap_or(""), 16).unwrap_or(0);
        Event::Kept(idempotency::stored_result(self.workspace(), key).map(|(fingerprint, result)| Stored {
            fingerprint: fingerprint.as_bytes().chunks(2).map(byte).collect(),
            result,
        }))
    }

    fn claim_contact(&mut self) -> Event {
        let key = target::contact_claim(&self.binding, self.workspace(), &self.id);
        self.claim(key, |call| format!("contact {}", short(&call.id)));
        if spi::lasting_snapshot() && !self.binding.is_current(self.workspace(), &self.id) {
            target::refuse_stale(
                "The contact has changed since this transaction began; no provider was asked.",
            );
        }
        Event::Claimed
    }

    /// This call is done with the contact. What an error leaves, the end of its (sub)transaction removes.
    fn end(&mut self) {
        for key in self.locked.drain(..) {
            preconditions::end(key);
            claims::unlock(&key);
        }
    }

    /// What this call has claimed need not be held: nothing was written.
    fn drop_claims(&mut self) {
        claims::give_up(&std::mem::take(&mut self.claimed));
    }

    fn is_suppressed(&mut self, steps: &Steps) -> bool {
        let (workspace, row) = (self.workspace(), self.row);
        suppressions::any(Some(workspace), || {
            let contact = steps.whom();
            if self.listed.as_ref().is_none_or(|(known, _)| *known != *contact) {
                let listed = provider::listed(workspace, &contact, row, &self.crowd);
                self.listed = Some((contact.into_owned(), listed));
            }
            self.listed.as_ref().map(|(_, listed)| listed.clone()).unwrap_or_default()
        })
    }

    fn use_rate(&mut self) -> Event {
        let limits = self.caller.workspace.limits;
        if limits.is_unlimited() {
            return Event::Admitted;
        }
        match rates::admit(open_account(self.caller, self.account), limits) {
            Ok(()) => Event::Admitted,
            Err((window, now)) => Event::RateLimited(window, now),
        }
    }

    fn reserve_credit(&mut self) -> bool {
        if !self.caller.workspace.has_credit_limit {
            return true;
        }
        let account = open_account(self.caller, self.account);
        self.reservation = credits::reserve(account, 1, settings::credit_wait());
        if self.reservation.is_none() {
            credits::tell_out(account);
        }
        self.reservation.is_some()
    }

    fn left(&mut self) -> Duration {
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + settings::total_timeout());
        deadline.saturating_duration_since(Instant::now())
    }

    fn recall(&mut self, steps: &Steps, at: usize) -> Event {
        let (workspace, known, missing) = (self.workspace(), steps.known(), steps.missing());
        let named = &self.providers[at];
        let past = match &mut self.past {
            None => {
                let whom = [(&*known, self.row, missing)];
                let past = provider::pasts(workspace, &self.providers, &whom, &self.crowd).pop();
                self.past.insert(past.unwrap_or_default())
            }
            Some(past) => {
                // What others have supplied makes it another question.
                if !past.is_of(workspace, &named.1, (&known, missing)) {
                    past.look_again(workspace, named, (&known, missing));
                }
                past
            }
        };
        past.put_to(named.1.id);
        if self.queued.as_ref().is_some_and(|queued| !queued.is_for(named.1.id)) {
            self.queued = None;
        }
        Event::Recalled(provider::recall(&named.1, &self.asking(&known), missing))
    }

    fn asking<'s>(&'s self, known: &'s Contact) -> Asking<'s> {
        Asking {
            workspace: self.workspace(),
            contact: known,
            table: &self.table,
            person: self.row,
            overwrite: self.overwrite,
            since: self.began_at,
            past: self.past.as_ref().expect("recalled before"),
        }
    }

    /// Asks, and waits for the answer.
    fn ask(&mut self, steps: &Steps, at: usize) -> Event {
        let (left, known) = (self.left(), steps.known());
        let provider = &self.providers[at].1;
        let outcome =
            match provider::ask(provider, &self.asking(&known), steps.missing(), left, Asker::Single) {
                Asked::Done(outcome) => outcome,
                Asked::Waiting(flight) => {
                    let landed = flight.wait();
                    note_asked(&mut self.asked, &self.providers[at].0);
                    match landed {
                        Landed::Done(outcome) => outcome,
                        Landed::Later(later) => return self.come_back(steps, later),
                        Landed::LogInAgain => return self.ask_anew(at),
                    }
                }
                Asked::Later(later) => return self.come_back(steps, later),
                Asked::NotYet(_, fault) => return self.pass_over(steps, at, fault),
                Asked::UnderWay(awaited) => return self.wait_for(Wait::Others(awaited)),
                Asked::Limited(limit, fault) => return self.wait_for(Wait::Turn(limit, fault)),
                Asked::Answered => {
                    self.look_again(steps, at);
                    return Event::Again;
                }
            };
        match provider::asked_to_wait(provider, &outcome) {
            Some((limit, fault)) => self.wait_for(Wait::Pause(limit, fault)),
            None => Event::Answered(outcome),
        }
    }

    fn look_again(&mut self, steps: &Steps, at: usize) {
        let (workspace, known) = (self.workspace(), steps.known());
        if let Some(past) = &mut self.past {
            past.look_again(workspace, &self.providers[at], (&known, steps.missing()));
        }
    }

    /// Writes the changes that still hold against the row as it is now. `None`: the contact is gone.
    fn write(&mut self, steps: &Steps) -> Option<Written> {
        let gathered = steps.gathered();
        let wanted = |now: &Contact| {
            let typed = ownership::typed_meanwhile(self.overwrite, steps.contact(), now);
            merge::changes(now, &gathered.values, steps.fields().minus(typed), self.overwrite)
        };
        let (binding, workspace) = (&self.binding, self.workspace());
        let others = (&*self.providers, &self.crowd);
        let before = steps.contact().clone();
        let author = || history::author(self.request_id, gathered);
        let author = binding.has_triggers().then(|| Writing::one(binding.relation(), &self.id, author()));
        let saved = writing::write_changes(binding, workspace, others, before, gathered, wanted);
        drop(author);
        let saved = saved.unwrap_or_else(|somebody_else| somebody_else.refuse(&self.id));
        let writing::Saved { written, rejections, not_taken } = saved?;
        for rejection in &rejections {
            binding.warn_rejected(&format!("contact {}", short(&self.id)), rejection);
        }
        if let Some(past) = &self.past {
            let offer = Rejected { workspace, past, origins: &gathered.origins, fields: not_taken };
            provider::note_rejections(&self.providers, &[offer]);
        }
        Some(written)
    }
}
