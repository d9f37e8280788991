//! How full the tables in shared memory are: each has a fixed number of places.

use crate::pg::shared::{
    budgets, events, job_queues, layout, logins, occupancy, provider_slots, receipts, single_flight,
};
use crate::pg::sys::{clock, settings};
use std::sync::atomic::{AtomicU64, Ordering};

/// One of the tables.
#[derive(Clone, Debug)]
pub struct Fullness {
    /// What has a place.
    pub part: &'static str,
    /// What bounds it; `None`: nothing can be set.
    pub setting: Option<&'static str>,
    pub used: usize,
    pub places: usize,
    /// What found no place since the server started; `None`: that is not counted.
    pub lost: Option<u64>,
}

impl Fullness {
    /// Four of five places are used: there is still time to do something.
    pub fn is_nearly_full(&self) -> bool {
        self.used * 5 >= self.places * 4
    }

    /// As a message: what, and how full.
    pub fn message(&self) -> String {
        format!("{} of {} places in shared memory are in use: {}", self.used, self.places, self.part)
    }

    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self.setting {
            Some(setting) => format!("Raise {setting} and restart."),
            None => "See leadlex.worker_status for why the worker does not write.".to_owned(),
        }
    }
}

/// All of them. Takes their locks, one after another.
pub fn all() -> Vec<Fullness> {
    let lately = clock::now() - provider_slots::LATELY_S;
    let part = |part, setting, used, places| Fullness { part, setting, used, places, lost: None };
    let accounts = 0..layout::accounts_used();
    let pinned = accounts.filter(|index| layout::with_account(*index, |a| a.pins > 0)).count();
    let (answers, room) = receipts::with(|arena| arena.use_of_units());
    let (databases, queues, locked_out, sets) = layout::with_header(|h| {
        (
            h.databases.iter().filter(|d| !d.is_idle()).count(),
            (h.queues.iter().filter(|q| q.database != 0 && !job_queues::is_idle(q)).count(), h.queues.len()),
            (h.lockouts.iter().filter(|l| l.pid != 0).count(), h.lockouts.len()),
            (h.running.iter().filter(|r| r.pid != 0).count(), h.running.len()),
        )
    });
    // SAFETY: the table is not changed while its lock is held.
    let claims = layout::with_claims(|table| unsafe { pgrx::pg_sys::hash_get_num_entries(table) });
    let logins = logins::in_use(lately.saturating_mul(1_000_000));
    let [sums, amounts] = budgets::in_use();
    let questions = single_flight::in_use();
    let without = layout::without_place();
    let counted = |count: &AtomicU64| Some(count.load(Ordering::Relaxed));
    vec![
        Fullness {
            lost: counted(&without.accounts),
            ..part(
                "workspaces in transactions",
                Some("leadlex.max_workspaces"),
                pinned,
                layout::account_count(),
            )
        },
        Fullness {
            lost: counted(&without.claims),
            ..part(
                "contacts in transactions",
                Some("leadlex.max_contacts_in_flight"),
                claims.max(0) as usize,
                settings::max_contacts_in_flight(),
            )
        },
        part(
            "providers not written down",
            Some("leadlex.max_providers"),
            provider_slots::count_of(|s| s.changes != s.recorded),
            provider_slots::count(),
        ),
        Fullness {
            lost: Some(provider_slots::displaced()),
            ..part(
                "providers asked lately",
                Some("leadlex.max_providers"),
                provider_slots::count_of(|s| s.last_used > lately),
                provider_slots::count(),
            )
        },
        part("logins of providers", Some("leadlex.max_providers"), logins.0, logins.1),
        part("answers not written down", Some("leadlex.receipt_buffer"), answers, room),
        part("databases with work", Some("leadlex.max_databases"), databases, settings::max_databases()),
        part("roles with jobs", Some("leadlex.max_databases"), queues.0, queues.1),
        Fullness {
            lost: Some(events::lost()),
            ..part("events not told", None, events::waiting(), events::PLACES)
        },
        part("workspaces being limited", None, occupancy::closed(), occupancy::CLOSURES),
        part("sums of money", None, sums.0, sums.1),
        part("amounts of money not written down", None, amounts.0, amounts.1),
        part("sets that are shown", None, sets.0, sets.1),
        part("statements that keep workers out", None, locked_out.0, locked_out.1),
        Fullness {
            lost: Some(single_flight::full()),
            ..part("questions under way", None, questions.0, questions.1)
        },
    ]
}
