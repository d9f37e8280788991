//! Who must not be asked about.

use std::time::Duration;

use pgrx::Uuid;
use pgrx::prelude::*;

use crate::domain::receipt::Hash;
use crate::domain::suppression;
use crate::pg::store::suppressions;
use crate::pg::{cache, guards, owner, raise, wait, worker};

const REASON: &str = "no reason given";

#[pg_extern(sql = false)]
fn suppress(email: Option<&str>, reason: Option<&str>, workspace_id: Option<Uuid>) -> bool {
    let (person, workspace) = arguments(email, workspace_id);
    let reason = reason.map(str::trim).filter(|reason| !reason.is_empty()).unwrap_or(REASON);
    suppressions::add(workspace, &[person], reason, &super::identity::role_name(owner::caller())) > 0
}

#[pg_extern(sql = false)]
fn unsuppress(email: Option<&str>, workspace_id: Option<Uuid>) -> bool {
    let (person, workspace) = arguments(email, workspace_id);
    wait_for_the_books(person);
    suppressions::remove(workspace, &[person]) > 0
}

/// A refusal that is on its way into the books would come after what takes it back.
fn wait_for_the_books(person: Hash) {
    let mut patience = worker::Patience::new();
    while suppressions::waiting(None, &[person]) && patience.lasts() {
        worker::wake();
        wait::nap(Duration::from_millis(20));
    }
}

fn arguments(email: Option<&str>, workspace_id: Option<Uuid>) -> (Hash, Option<uuid::Uuid>) {
    cache::refresh();
    guards::require_writable();
    let email = super::required(email, "email");
    let sound =
        email.trim().split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    let person = suppression::by_email(email).filter(|_| sound).unwrap_or_else(|| {
        raise::invalid(
            "email must be an e-mail address",
            "People are suppressed by address, whatever its upper and lower case.",
        )
    });
    (person, workspace_id.map(|id| super::workspace_or_only(Some(super::plain(id)))))
}
