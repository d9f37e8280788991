//! What vendors may still bill for questions that were handed in, in the tables.

use uuid::Uuid;

use crate::pg::installation;
use crate::pg::installation::as_owner;
use crate::pg::shared::budgets::{self, SumKey};
use crate::pg::store::ledger::PORTION;
use crate::pg::store::spend;
use crate::pg::sys::row::{number, optional, pg, text, uuid};
use crate::pg::sys::spi::{Row, Statement, View, arg};
use leadlex_domain::money::hold::Hold;
use leadlex_domain::money::{Amount, Currency};
use leadlex_domain::receipt::{Content, Filed};

/// In which sum it counts.
fn sum_of(workspace: Uuid, currency: Currency, provider: &str) -> SumKey {
    let key = installation::account_key(workspace);
    SumKey {
        database: key.database,
        catalog: key.catalog,
        currency,
        workspace: key.id,
        provider: budgets::name_bytes(provider),
    }
}

/// What follows once the tables are durable.
#[derive(Default)]
pub struct Recorded {
    /// Holds that the tables have by now: leases need not cover them any more.
    pub written: Vec<(SumKey, Amount)>,
    /// Holds that the tables will never have.
    pub never: Vec<(SumKey, Amount)>,
    /// Holds are gone whose answers are booked: what was spent is to be written in the same transaction.
    pub any_gone: bool,
}

static ADD: Statement = Statement::new(
    "INSERT INTO leadlex.spend_hold AS h (id, workspace_id, provider, currency, amount, day, polls)
     SELECT n.id, n.workspace_id, n.provider, n.currency, n.amount::pg_catalog.numeric,
            pg_catalog.date '1970-01-01' OPERATOR(pg_catalog.+) n.day, n.polls::pg_catalog.numeric
     FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4),
         pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7)) AS n(id, workspace_id, provider, currency, amount, day, polls)
     ON CONFLICT (id) DO NOTHING RETURNING h.id",
);
static REMOVE: Statement = Statement::new(
    "DELETE FROM leadlex.spend_hold AS h WHERE h.id OPERATOR(pg_catalog.=) ANY ($1) RETURNING h.id",
);

/// Writes what is held for tickets, and takes away what is settled.
pub fn file<'a>(filed: impl Iterator<Item = &'a Filed> + Clone) -> Recorded {
    let held = filed.clone().filter_map(|filed| match &filed.content {
        Content::Ticket(ticket) => Some((filed.workspace, ticket.hold.as_ref()?)),
        _ => None,
    });
    let gone = filed.filter_map(|filed| match &filed.content {
        Content::Ticket(ticket) => Some((filed.workspace, ticket.released.as_ref()?)),
        Content::NoTicket(_, hold) => Some((filed.workspace, hold.as_ref()?)),
        _ => None,
    });
    let (held, gone): (Vec<_>, Vec<_>) = (held.collect(), gone.collect());
    let sum =
        |(workspace, hold): &(Uuid, &Hold)| (sum_of(*workspace, hold.currency, &hold.provider), hold.amount);
    let mut recorded = Recorded::default();
    if !held.is_empty() {
        let new = add(&held);
        recorded.written.extend(held.iter().filter(|(_, hold)| new.contains(&hold.id)).map(sum));
    }
    if !gone.is_empty() {
        let ids: Vec<pgrx::Uuid> = gone.iter().map(|(_, hold)| pg(hold.id)).collect();
        let known: Vec<Uuid> =
            as_owner(|| REMOVE.query(View::Caller, &[arg(ids)])).iter().map(|row| uuid(row, 0)).collect();
        recorded.any_gone = true;
        // They were answered before they were written down.
        recorded.never.extend(gone.iter().filter(|(_, hold)| !known.contains(&hold.id)).map(sum));
    }
    recorded
}

/// Those that were not there.
fn add(held: &[(Uuid, &Hold)]) -> Vec<Uuid> {
    let texts = |of: &dyn Fn(&Hold) -> String| arg(held.iter().map(|(_, hold)| of(hold)).collect::<Vec<_>>());
    let rows = as_owner(|| {
        ADD.query(
            View::Caller,
            &[
                arg(held.iter().map(|(_, hold)| pg(hold.id)).collect::<Vec<_>>()),
                arg(held.iter().map(|(workspace, _)| pg(*workspace)).collect::<Vec<_>>()),
                texts(&|hold| hold.provider.clone()),
                texts(&|hold| hold.currency.name().to_owned()),
                texts(&|hold| hold.amount.to_string()),
                arg(held.iter().map(|(_, hold)| hold.day as i32).collect::<Vec<_>>()),
                texts(&|hold| hold.polls.to_string()),
            ],
        )
    });
    rows.iter().map(|row| uuid(row, 0)).collect()
}

// The id of what is held stands first in a ticket's `hold`. What is asked for longer by now is under way again.
static MARK: Statement = Statement::new(
    "WITH alive AS MATERIALIZED (
         SELECT (t.ticket OPERATOR(pg_catalog.#>>) ARRAY['hold', '0']) AS id FROM leadlex.ticket AS t
         WHERE t.expires_at OPERATOR(pg_catalog.>) pg_catalog.now()), seen AS (
         SELECT h.id, (EXISTS (SELECT FROM alive AS a WHERE a.id OPERATOR(pg_catalog.=) h.id::pg_catalog.text)) AS is_alive
         FROM leadlex.spend_hold AS h)
     UPDATE leadlex.spend_hold AS h SET over_at = CASE WHEN s.is_alive THEN NULL ELSE pg_catalog.now() END
     FROM seen AS s
     WHERE h.id OPERATOR(pg_catalog.=) s.id AND (h.over_at IS NULL) OPERATOR(pg_catalog.<>) s.is_alive",
);
static OVER: Statement = Statement::new(
    "SELECT h.id, h.workspace_id, h.provider, h.currency, h.amount,
            (h.day OPERATOR(pg_catalog.-) pg_catalog.date '1970-01-01')::pg_catalog.int8, h.polls
     FROM leadlex.spend_hold AS h
     WHERE h.over_at OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-) ($1 OPERATOR(pg_catalog.*) interval '1 second'))
     ORDER BY h.over_at USING OPERATOR(pg_catalog.<) LIMIT $2",
);

/// What is held of a question that is given up.
pub struct GivenUp {
    id: Uuid,
    workspace: Uuid,
    provider: String,
    currency: Currency,
    amount: Amount,
    day: i64,
    polls: Amount,
}

impl GivenUp {
    /// In which sum it counts.
    pub fn sum(&self) -> SumKey {
        sum_of(self.workspace, self.currency, &self.provider)
    }

    /// With its day: see [`budgets::given_up`].
    pub fn in_sum(&self) -> (SumKey, i64, Amount, Amount) {
        (self.sum(), self.day, self.amount, self.polls)
    }
}

/// Those whose tickets are gone, or over their time, for so many seconds: no request that asks for them is on its way any more.
pub fn over(seconds: u32) -> Vec<GivenUp> {
    let read = |row: &Row| {
        Some(GivenUp {
            id: uuid(row, 0),
            workspace: uuid(row, 1),
            provider: text(row, 2),
            currency: Currency::parse(&text(row, 3))?,
            amount: Amount::parse(&text(row, 4)).ok()?,
            day: number(row, 5),
            polls: Amount::parse(&text(row, 6)).ok()?,
        })
    };
    as_owner(|| {
        MARK.run(&[]);
        OVER.query(View::Caller, &[arg(f64::from(seconds)), arg(PORTION as i64)])
    })
    .iter()
    .filter_map(read)
    .collect()
}

static FIRST_OVER: Statement = Statement::new(
    "SELECT pg_catalog.count(*), pg_catalog.floor(EXTRACT(epoch FROM pg_catalog.min(h.over_at)))::pg_catalog.int8
     FROM leadlex.spend_hold AS h",
);

/// Since which epoch second the first of them is over; inside `None`: none is. `None`: nothing is held.
pub fn first_over() -> Option<Option<i64>> {
    let row = as_owner(|| FIRST_OVER.row(View::Caller, &[]))?;
    (number(&row, 0) > 0).then(|| optional(&row, 1)?.parse().ok())
}

/// They count as spent: the vendor may have billed them, and no answer will tell.
pub fn give_up(holds: &[GivenUp]) {
    let ids: Vec<pgrx::Uuid> = holds.iter().map(|hold| pg(hold.id)).collect();
    as_owner(|| REMOVE.query(View::Caller, &[arg(ids)]));
    for hold in holds.iter().filter(|hold| hold.amount > Amount::ZERO) {
        let of = (hold.workspace, hold.provider.clone(), hold.currency.name().to_owned());
        spend::book_unknown(hold.day, of, hold.amount);
    }
}
