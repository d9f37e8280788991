//! Why contacts that a trigger brings are queued, or wait in the queue: said to the session once.

use crate::pg::sys::role;
use std::cell::Cell;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, PgSqlErrorCode, pg_sys};

use crate::pg::call::trigger::Fired;
use crate::pg::table;
use crate::pg::table::Binding;

thread_local! {
    /// Which of the reasons this session has been told.
    static TOLD: Cell<u8> = const { Cell::new(0) };
}

/// Why leadlex.enrich_on_insert does not write as the table's owner in a transaction of a role with fewer rights: what
/// the session has put somewhere would act with the owner's rights, or the owner's functions with the session's.
pub enum Reason {
    TemporarySchema,
    /// Which one.
    Deferrable(String),
}

impl Reason {
    /// The reason why the contacts of this trigger are queued; None where they may be enriched at once: the
    /// writing role has the owner's rights, or nothing of the session stands in the way.
    pub fn of(fired: Fired, binding: &Binding) -> Option<Reason> {
        if fired.is_by_an_equal() {
            return None;
        }
        if table::has_temporary_schema() {
            return Some(Reason::TemporarySchema);
        }
        table::deferrable_trigger(binding.relation()?).map(Reason::Deferrable)
    }

    fn bit(&self) -> u8 {
        match self {
            Reason::TemporarySchema => 1,
            Reason::Deferrable(_) => 2,
        }
    }

    fn text(&self) -> String {
        match self {
            Reason::TemporarySchema => {
                "The session has a temporary schema, and the triggers of the table's owner could find its objects in place of the owner's.".into()
            }
            Reason::Deferrable(which) => {
                format!("The deferrable {which} could run at the commit, which is not the table owner's.")
            }
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Reason::TemporarySchema => {
                "They are enriched after the commit. For loads through temporary tables use leadlex.enqueue_on_insert, which always queues."
            }
            Reason::Deferrable(_) => {
                "They are enriched after the commit. Use leadlex.enqueue_on_insert, or make it NOT DEFERRABLE."
            }
        }
    }
}

const NO_LOGIN: u8 = 4;
const CLONE: u8 = 8;

/// A trigger does nothing in a copy of a database: what is inserted meanwhile has to be queued by hand.
pub fn tell_of_clone() {
    if !is_news(CLONE) {
        return;
    }
    let message = "leadlex_enrich: contacts are neither enriched nor queued in this database";
    ErrorReport::new(PgSqlErrorCode::ERRCODE_WARNING, message, "trigger")
        .set_detail("It is a copy, or was restored, and spends nothing by itself before leadlex.resume_queue().".to_owned())
        .set_hint("Afterwards queue what was inserted meanwhile with leadlex.enqueue_rows. For loads turn the setting leadlex.enable_triggers off. (This is said once in a session.)".to_owned())
        .report(PgLogLevel::WARNING);
}

/// Of jobs that no worker can run as things are: what to do.
pub fn remedy(role: pg_sys::Oid) -> Option<String> {
    if role::can_have_workers(role) {
        return None;
    }
    let name = role::quoted_name_of(role);
    Some(format!(
        "The table's owner may not log in, as it has to before PostgreSQL 17 for a background worker to run its jobs: ALTER ROLE {name} LOGIN."
    ))
}

/// Contacts were queued for the table's owner.
pub fn tell(reason: Option<&Reason>, role: pg_sys::Oid) {
    let reason = reason.filter(|reason| is_news(reason.bit()));
    let remedy = remedy(role).filter(|_| is_news(NO_LOGIN));
    let (message, detail, hint) = match (reason, remedy) {
        (None, None) => return,
        (Some(reason), None) => (QUEUED, reason.text(), reason.hint()),
        (Some(reason), Some(remedy)) => (QUEUED, format!("{} {remedy}", reason.text()), reason.hint()),
        (None, Some(remedy)) => (
            "leadlex_enrich: the contacts were queued, but no background worker can run the jobs",
            remedy,
            "A password is not needed. Then SELECT leadlex.retry_jobs() for those that were given up meanwhile.",
        ),
    };
    ErrorReport::new(PgSqlErrorCode::ERRCODE_WARNING, message, "trigger")
        .set_detail(detail)
        .set_hint(format!("{hint} (This is said once in a session.)"))
        .report(PgLogLevel::WARNING);
}

const QUEUED: &str = "leadlex_enrich: the contacts were queued instead of enriched at once";

fn is_news(bit: u8) -> bool {
    let told = TOLD.get();
    TOLD.set(told | bit);
    told & bit == 0
}
