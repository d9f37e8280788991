//! That a table of ours has nothing of a workspace, as most never have: remembered until rows come. A trigger on each of these
//! tables sends an invalidation when rows are added. Whose rows are removed is not told: then they are looked for in vain.

use std::cell::RefCell;

use pgrx::pg_sys;
use uuid::Uuid;

use crate::pg::installation::{self, Installation, as_owner};
use crate::pg::sys::row::{boolean, pg};
use crate::pg::sys::spi::{Statement, View, arg};
use crate::pg::sys::{index_probe, snapshot};

/// What calls look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Of leadlex.shared_value, without telephone numbers: of those calls are only told.
    SharedValues,
    /// Of leadlex.undone.
    Undone,
    /// Of leadlex.suppression.
    Suppressions,
    /// Of leadlex.outcome.
    Outcomes,
    /// Of leadlex.receipt: what contacts' tables refused.
    Rejections,
}

static SHARED_VALUES: Statement = Statement::seldom(
    "SELECT EXISTS (SELECT FROM leadlex.shared_value AS s
                    WHERE s.workspace_id OPERATOR(pg_catalog.=) $1 AND s.kind OPERATOR(pg_catalog.<>) 'supplied phone'
                      AND s.kind OPERATOR(pg_catalog.<>) 'phone')",
);
static UNDONE: Statement = Statement::seldom(
    "SELECT EXISTS (SELECT FROM leadlex.undone AS u WHERE u.workspace_id OPERATOR(pg_catalog.=) $1)",
);
static SUPPRESSIONS: Statement = Statement::seldom(
    "SELECT EXISTS (SELECT FROM leadlex.suppression AS s WHERE s.workspace_id OPERATOR(pg_catalog.=) $1)",
);
static OUTCOMES: Statement = Statement::seldom(
    "SELECT EXISTS (SELECT FROM leadlex.outcome AS o WHERE o.workspace_id OPERATOR(pg_catalog.=) $1)",
);
static REJECTIONS: Statement = Statement::seldom(
    "SELECT EXISTS (SELECT FROM leadlex.receipt AS r
                    WHERE r.workspace_id OPERATOR(pg_catalog.=) $1 AND r.contact IS NOT NULL)",
);

impl Rows {
    fn table(self, of: Installation) -> pg_sys::Oid {
        match self {
            Rows::SharedValues => of.shared_values,
            Rows::Undone => of.undone,
            Rows::Suppressions => of.suppressions,
            Rows::Outcomes => of.outcomes,
            Rows::Rejections => of.receipts,
        }
    }

    /// Whether there may be some of any workspace, as far as sizes tell: most never have any, and no statement is planned.
    fn has_any(self) -> bool {
        let installation = installation::present();
        match self {
            Rows::Rejections => index_probe::has_entries(installation.rejections),
            _ => !index_probe::is_empty(self.table(installation)),
        }
    }

    const fn statement(self) -> &'static Statement {
        match self {
            Rows::SharedValues => &SHARED_VALUES,
            Rows::Undone => &UNDONE,
            Rows::Suppressions => &SUPPRESSIONS,
            Rows::Outcomes => &OUTCOMES,
            Rows::Rejections => &REJECTIONS,
        }
    }
}

/// So many of either kind a session remembers.
const MOST: usize = 64;

#[derive(Default)]
struct Known {
    /// Of which extension that is: another has other rows.
    catalog: u32,
    none: Vec<(Rows, Uuid)>,
    /// There were some when it was looked. That is no more than a reason to look for them, and stays.
    some: Vec<(Rows, Uuid)>,
}

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::default();
}

/// Whether there may be such rows of this workspace, committed by now or of this transaction.
pub fn may_have(rows: Rows, workspace: Uuid) -> bool {
    let (filled, installation) = (installation::has_filled(), installation::present());
    let asked = (rows, workspace);
    let known = KNOWN.with_borrow_mut(|known| {
        if known.catalog != installation.catalog {
            *known = Known { catalog: installation.catalog, ..Known::default() };
        }
        if filled {
            known.none.clear();
        }
        let some = known.some.contains(&asked).then_some(true);
        some.or_else(|| known.none.contains(&asked).then_some(false))
    });
    known.unwrap_or_else(|| match snapshot::has_written_nothing() {
        true => look(asked),
        // What this transaction has removed, a rollback brings back, and nothing tells: that is not to be remembered.
        false => !index_probe::is_empty(rows.table(installation)),
    })
}

fn look(asked: (Rows, Uuid)) -> bool {
    let row = || as_owner(|| asked.0.statement().row(View::Latest, &[arg(pg(asked.1))]));
    let found = asked.0.has_any() && row().is_none_or(|row| boolean(&row, 0));
    KNOWN.with_borrow_mut(|known| {
        let list = if found { &mut known.some } else { &mut known.none };
        if list.len() >= MOST {
            list.clear();
        }
        list.push(asked);
    });
    found
}
