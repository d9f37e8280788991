//! Many contacts in one call. The steps are those of a single call (`steps`), taken for a portion of contacts at a time;
//! providers are asked about many at once, and what they answer is written by one statement for many.

mod answers;
mod asking;
pub mod caps;
mod costs;
mod credit_wait;
mod ended;
mod estimate;
mod halting;
mod limited;
mod lookup;
mod member;
mod parked;
mod roomless;
mod statuses;
mod together;
mod writing;

use crate::pg::installation;
use crate::pg::shared::layout;
use crate::pg::sys::clock;
use std::cell::Cell;
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use pgrx::PgMemoryContexts;
use uuid::Uuid;

use crate::pg::call::batch::ended::Ended;
use crate::pg::call::outcome;
use crate::pg::call::preconditions;
use crate::pg::call::target::{self, Target};
use crate::pg::limits::accounts;
use crate::pg::limits::credits::Pool;
use crate::pg::provider::shared_values::Crowd;
use crate::pg::shared::progress::Progress;
use crate::pg::shared::single_flight::Ear;
use crate::pg::shared::{claims, transaction, wait};
use crate::pg::store::stop;
use crate::pg::sys::settings;
use crate::pg::table::Binding;
pub use answers::Outcomes;
pub use costs::ProviderCosts;
pub use credit_wait::CreditWait;
pub use estimate::{estimate, estimate_cost, missing};
use halting::Rest;
use leadlex_domain::batch::{BatchResult, Order, Status};
use leadlex_domain::batch_keys::BatchKeys;
use leadlex_domain::call_error::Failure;
use leadlex_domain::checks::Checks;
use leadlex_domain::failed_provider::FailedProvider;
use leadlex_domain::fields::FieldSet;
use leadlex_domain::hash::Hash;
use leadlex_domain::identity::{Caller, WRITE_ENRICH};
use leadlex_domain::steps::Request;
use leadlex_domain::waterfall::Mode;
use limited::Limited;
use lookup::{BatchScope, Providers};
use member::{Flying, Member};
use parked::Parked;
use roomless::Roomless;
use statuses::Unwritten;
use together::Together;

/// Contacts that are read, and written, by one statement.
const PORTION: usize = 256;
/// With so many to be written no other is asked about: up to there as many requests as there may be are under way meanwhile.
const MAX_FINISHED: usize = 2 * PORTION;
/// Lines that may wait for a slow one before them. Bounds the memory of a call whatever the number of contacts.
const MAX_HELD_BACK: usize = 4 * PORTION;
/// Room for so many questions is there from the beginning: a table of 131,072 places, in 2.2 megabytes.
const MOST_EXPECTED: usize = 114_688;
/// Longest wait without a look round.
const LOOK_ROUND: Duration = Duration::from_millis(500);
/// How often it is looked whether a provider that is being tried is well again, where no answer to this set tells.
const TRIAL_LOOK: Duration = Duration::from_millis(100);

/// What is asked, of all contacts alike.
#[derive(Clone, Copy)]
pub struct FieldRequest {
    pub fields: FieldSet,
    pub overwrite: bool,
}

/// Takes the lines in the order of the input.
pub type Sink<'s> = dyn FnMut(usize, &BatchResult) + 's;

/// A set of contacts that is being enriched: where each of them stands.
pub struct Batch<'s> {
    request: Request,
    caller: Caller,
    binding: Rc<Binding>,
    providers: Providers,
    /// The workspace's account, if it has limits.
    account: Option<usize>,
    pool: Pool,
    order: Order,
    /// Keys with their positions, not looked at yet.
    ahead: BatchKeys,
    /// Read and claimed, not asked about yet.
    queue: VecDeque<Box<Member>>,
    /// The same, but they failed before: others go first. With the rank in which they do.
    last: Vec<(usize, Box<Member>)>,
    flying: Vec<Flying>,
    /// Those that are asked about together with others.
    together: Together,
    /// Somebody else is asking about them.
    parked: Vec<Parked>,
    /// Their provider is asked as often as it may be.
    limited: Limited,
    /// As many requests are under way as there may be.
    roomless: Roomless,
    /// Open while there are such as are parked.
    ear: Option<Ear>,
    /// To be written.
    finished: Vec<Box<Member>>,
    ended: Ended,
    /// Questions of those that providers are asked about now, and of all so far. Several contacts can be one person.
    being_asked: HashSet<Hash>,
    asked: HashSet<Hash>,
    /// What they came to, where no receipt tells.
    outcomes: Outcomes,
    credit_wait: CreditWait,
    /// What became of contacts, not told to the worker yet.
    outcomes_told: Vec<outcome::Told>,
    /// Rows say what came of their contact, and the caller may write that.
    tells_status: bool,
    /// What rows are to say yet.
    unwritten: Vec<Unwritten>,
    /// How often the table has refused what a row was to say.
    refused_statuses: Cell<u32>,
    /// What was found out about values that stay.
    checks: Vec<(String, Checks)>,
    /// What the table refused.
    left_out: Vec<writing::Told>,
    /// What those read so far have in common.
    crowd: Crowd,
    /// Nobody new is admitted before: the minute's limit is used up.
    closed_until: Option<i64>,
    /// Nobody new is admitted before one of those under way is over: they have all credits that there are.
    short_of_credits: bool,
    /// Nobody new is admitted before, unless an answer comes: a provider is being tried, or answers may leave money over.
    trial_until: Option<Instant>,
    until: Option<Instant>,
    waits: bool,
    /// In epoch microseconds.
    began_at: i64,
    /// Requests were sent when it began: should they be stopped, its rest is not looked at.
    sends: bool,
    visit: Option<Visit>,
    /// Of the queue, under `first_match`: see [`Batch::is_not_owed`].
    first_match: bool,
    progress: &'s mut Progress,
    sink: &'s mut Sink<'s>,
}

/// A batch as it is asked for.
pub struct Call {
    pub caller: Caller,
    pub target: Target,
    pub request: FieldRequest,
    /// When this has passed, nobody else is asked about: what is left has a line that says so.
    pub until: Option<Instant>,
    /// Whether it waits for other calls about a contact. A statement that holds rows already must not: those calls may be about to
    /// write them.
    pub waits: bool,
    /// What other parts of the same set were told.
    pub outcomes: Outcomes,
    pub credit_wait: CreditWait,
    /// What the contacts of all its parts have in common.
    pub crowd: Crowd,
    /// The queue's: `None` for a call.
    pub visit: Option<Visit>,
}

/// The queue looks after contacts: it never waits for an answer that comes later, but comes again.
pub struct Visit {
    /// When each was queued, in epoch microseconds, by its position.
    pub since: Vec<i64>,
    /// An earlier visit, or the call that queued them, has used an admission of the rate limit for each.
    pub admitted: bool,
    /// A credit was charged for each.
    pub charged: bool,
    /// By position: the providers that failed beside an owed answer.
    pub failed: Vec<Rc<[FailedProvider]>>,
    /// For whom, by position; where it is not known, for whoever it is.
    pub paid_for: Vec<String>,
}

/// Steps 2 to 4, for the identity of the session.
///
/// Err is LX401 or LX403. Raises 25006 or 25000: the transaction cannot write. 55000: not preloaded.
pub fn caller() -> Result<Caller, Failure> {
    preconditions::require_writable();
    target::identify().and_then(permitted).map_err(|failure| failure.seen_at(Uuid::now_v7(), None))
}

/// The caller again, if it may enrich. Err is LX403: it has no write:enrich.
pub fn permitted(caller: Caller) -> Result<Caller, Failure> {
    if caller.may(WRITE_ENRICH) { Ok(caller) } else { Err(Failure::lacks_permission(WRITE_ENRICH)) }
}

/// Steps 5 to 11, for each contact. Each has one line in `sink`, also where it fails.
///
/// Raises 25006 or 25000: the transaction cannot write. 27000: the statement changes old rows of the table.
/// Raises 42501: the caller may not read the bound columns, or not write those to be filled.
/// Raises 40001: a contact has changed since the transaction's one snapshot.
/// Raises 55000: not preloaded, not bound, or no enabled provider. 53400: no room for the workspace.
pub fn run<'s>(
    call: Call,
    ids: impl ExactSizeIterator<Item = Option<String>>,
    progress: &'s mut Progress,
    sink: &'s mut Sink<'s>,
) {
    preconditions::require_writable();
    transaction::mark_called();
    let Call { caller, target, request, until, waits, outcomes, credit_wait, crowd, visit } = call;
    let caller = target::as_it_is_now(caller);
    let binding = target::binding(target);
    preconditions::refuse_row_in_update(binding.relation());
    binding.require_readable();
    let limited = caller.workspace.has_credit_limit || !caller.workspace.limits.is_unlimited();
    let account = limited.then(|| accounts::open(installation::account_key(caller.workspace.id)));
    let tells_status = binding.tells_status();
    let mut request = lookup::request(&binding, request);
    let first_match = request.mode == Mode::FirstMatch && visit.is_some();
    if first_match {
        // The first with data ends it but for what is owed, which is fetched with it.
        request.mode = Mode::Fill;
    }
    let total = ids.len();
    expect(total, &crowd);
    let mut batch = Batch {
        request,
        first_match,
        caller,
        binding,
        providers: Providers::of(total),
        account,
        pool: Pool::default(),
        order: Order::default(),
        ahead: BatchKeys::with_capacity(total),
        queue: VecDeque::new(),
        last: Vec::new(),
        flying: Vec::new(),
        together: Together::default(),
        parked: Vec::new(),
        limited: Limited::default(),
        roomless: Roomless::default(),
        ear: None,
        finished: Vec::new(),
        ended: Ended::default(),
        being_asked: HashSet::new(),
        asked: HashSet::with_capacity(total.min(MOST_EXPECTED)),
        outcomes,
        credit_wait,
        outcomes_told: Vec::new(),
        tells_status,
        unwritten: Vec::new(),
        refused_statuses: Cell::new(0),
        checks: Vec::new(),
        left_out: Vec::new(),
        crowd,
        closed_until: None,
        short_of_credits: false,
        trial_until: None,
        until,
        waits,
        began_at: clock::now_us(),
        sends: stop::reason().is_none(),
        visit,
        progress,
        sink,
    };
    batch.meet(ids);
    batch.work();
}

/// What lasts as long as a large set has its room from the beginning: grown step by step it would leave as much behind, in pieces. What is
/// not used of it takes no memory.
fn expect(contacts: usize, crowd: &Crowd) {
    if contacts > PORTION {
        crowd.borrow_mut().expect(contacts);
        transaction::with(|t| t.claims.reserve(contacts));
    }
}

impl Batch<'_> {
    fn workspace(&self) -> Uuid {
        self.caller.workspace.id
    }

    /// The account for credits; `None`: none is spent, as there is no limit or each was charged before.
    fn purse(&self) -> Option<usize> {
        let charged = self.visit.as_ref().is_some_and(|visit| visit.charged);
        self.account.filter(|_| self.caller.workspace.has_credit_limit && !charged)
    }

    fn scope(&self) -> BatchScope<'_> {
        BatchScope { workspace: self.workspace(), binding: &self.binding, request: self.request }
    }

    /// Until every contact has its line.
    fn work(&mut self) {
        // What statements leave behind is thrown away round by round, not at the end.
        let mut scratch = PgMemoryContexts::new("leadlex_enrich batch");
        // SAFETY: nothing that Postgres allocates is kept from one round to the next.
        while unsafe { scratch.switch_to(|_| self.round()) } {
            // SAFETY: as above.
            unsafe { scratch.reset() };
        }
        self.note_checks();
        self.note_outcomes();
        self.write_statuses();
        self.pool.release();
        self.warn();
    }

    /// Reads, asks, writes and waits once; whether something is left.
    fn round(&mut self) -> bool {
        let parallel = settings::max_parallel_requests();
        pgrx::check_for_interrupts!();
        if self.until.is_some_and(|until| Instant::now() >= until) {
            self.leave_the_rest(&Rest::Left);
        }
        self.halt();
        self.read_ahead(parallel);
        self.recall_last();
        self.resume_roomless(parallel);
        self.resume_limited(parallel);
        while self.requests() < parallel && self.finished.len() < MAX_FINISHED && self.takes_more(parallel) {
            // Several may have been answered at once: those read next can share what identifies the last of these.
            self.read_ahead(parallel);
            let Some(member) = self.next() else { break };
            let before = self.together.under_way();
            self.ask(member);
            if self.together.under_way() > before {
                // Earlier ones may be answered by now: what they came to is not to wait for all of these.
                self.take_answers();
            }
        }
        self.close_tables(parallel);
        let idle = self.requests() == 0 && (self.queue.is_empty() || !self.takes_more(parallel));
        self.tell_ended(idle);
        // What is written gives back the credits of those that it left as they were.
        if self.finished.len() >= PORTION
            || idle
            || self.short_of_credits
            || self.order.held_back() >= MAX_HELD_BACK
        {
            self.write();
            // What their statements need goes before the next are written.
            if !self.finished.is_empty() {
                return true;
            }
        }
        let under_way = !self.flying.is_empty()
            || !self.together.is_empty()
            || !self.parked.is_empty()
            || !self.limited.is_empty()
            || !self.roomless.is_empty();
        if !under_way && self.queue.is_empty() && self.ahead.is_empty() && self.last.is_empty() {
            return false;
        }
        self.wait();
        true
    }

    fn read_ahead(&mut self, parallel: usize) {
        while self.queue.len() < parallel && !self.ahead.is_empty() && self.order.held_back() < MAX_HELD_BACK
        {
            self.prepare();
        }
    }

    /// What has not been begun is not begun any more.
    fn leave_the_rest(&mut self, rest: &Rest) {
        self.leave_limited(rest);
        self.leave_tables(rest);
        self.leave_roomless(rest);
        let left = self.ahead.left();
        for (position, _) in self.ahead.take(left) {
            self.tell(position, rest.line(Uuid::now_v7(), None));
        }
        let last = std::mem::take(&mut self.last).into_iter().map(|(_, member)| member);
        for member in std::mem::take(&mut self.queue).into_iter().chain(last) {
            let Member { claim, steps, .. } = *member;
            self.let_go(claim.key, claim.before);
            let line = rest.line(claim.request_id, Some(steps.contact().clone()));
            self.tell(claim.position, line);
        }
    }

    /// Nobody else is left to be asked about: it is the turn of those that failed before.
    fn recall_last(&mut self) {
        let waiting = !self.parked.is_empty() || !self.limited.is_empty() || !self.roomless.is_empty();
        let others =
            !self.queue.is_empty() || !self.flying.is_empty() || !self.together.is_empty() || waiting;
        let more = !self.ahead.is_empty() && self.order.held_back() < MAX_HELD_BACK;
        if others || more || self.last.is_empty() {
            return;
        }
        self.last.sort_by_key(|(rank, _)| *rank);
        for (_, mut member) in self.last.drain(..) {
            member.goes_last = true;
            self.queue.push_back(member);
        }
    }

    /// The first of those in whose place nobody is being asked the same just now.
    fn next(&mut self) -> Option<Box<Member>> {
        let being_asked = &self.being_asked;
        let is_free = |member: &Member| !member.past.asked().any(|hash| being_asked.contains(&hash));
        let at = self.queue.iter().position(|member| is_free(member))?;
        // Credits go in the order of the input: those that are passed by here are not to find none left.
        let passed_by = at as i64;
        let limited = self.account.filter(|_| at > 0 && self.caller.workspace.has_credit_limit);
        if limited.is_some_and(|account| self.pool.left(account) <= passed_by) {
            return None;
        }
        self.queue.remove(at)
    }

    /// Whether another contact may be asked about now.
    fn admits(&mut self) -> bool {
        let tried = self.trial_until.is_some_and(|until| Instant::now() < until);
        if self.short_of_credits || tried || self.closed_until.is_some_and(|until| clock::now() < until) {
            return false;
        }
        (self.closed_until, self.trial_until) = (None, None);
        true
    }

    /// For an answer, or for the minute's limit to open again.
    fn wait(&mut self) {
        if self.requests() == 0 && !self.limited.is_empty() {
            return self.wait_for_turn();
        }
        if self.requests() == 0 && !self.parked.is_empty() {
            return self.wait_for_others();
        }
        if self.requests() == 0 {
            if !self.admits() || !self.has_room() {
                wait::nap(Duration::from_millis(100));
            }
            return;
        }
        // Statements since the last wait may have waited for answers, too, and have seen the notice for ours.
        if !(self.take_answers() | self.take_parked()) {
            let flights = self.flying.iter().map(|f| f.flight.left());
            let nearest = flights.chain(self.together.nearest()).min().unwrap_or_default();
            let others = self.until_parked().min(self.until_turn()).min(self.ended.left());
            wait::for_answers(nearest.min(others));
            self.take_answers();
            self.take_parked();
        }
    }

    /// A line that needs nothing written.
    fn tell(&mut self, position: usize, line: BatchResult) {
        let failed = line.status == Status::Failed;
        let count = self.order.finish(position, line);
        self.progress.count(count, failed);
        while let Some((position, line)) = self.order.take_next() {
            (self.sink)(position, &line);
        }
    }

    /// The call is done with this contact. `kept`: the claim on it stays until the transaction ends.
    fn let_go(&mut self, key: layout::ClaimKey, kept: bool) {
        preconditions::end(key);
        claims::unlock(&key);
        if !kept {
            claims::give_up(&[key]);
        }
    }
}
