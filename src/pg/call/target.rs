//! What a call is about: who calls, which table, which key.

use std::rc::Rc;

use pgrx::pg_sys;
use uuid::Uuid;

use crate::pg::call::identity;
use crate::pg::installation;
use crate::pg::provider;
use crate::pg::shared::layout::ClaimKey;
use crate::pg::shared::occupancy;
use crate::pg::store::{cache, config};
use crate::pg::sys::raise::{PgError, refuse};
use crate::pg::sys::{raise, settings};
use crate::pg::table;
use crate::pg::table::{Binding, MAX_KEY};
use leadlex_domain::call_error::{Failure, short};
use leadlex_domain::identity::Caller;
use leadlex_domain::sqlstate;

/// Which table a call is about: `None` is the first bound one.
pub type Target = Option<pg_sys::Oid>;

/// Who is calling.
///
/// Err is LX401, see [`identity::identify`]. Raises 55000: there is neither a key nor any workspace yet.
pub fn identify() -> Result<Caller, Failure> {
    identity::identify().inspect_err(|_| {
        // Nobody could be anybody yet: what is missing is not a grant.
        if settings::api_key().is_none() && config::some_workspaces().is_empty() {
            provider::none_configured();
        }
    })
}

/// The table that a call is about; 55000 where it is not bound.
///
/// A WARNING tells once that the table has lost its triggers.
pub fn binding(target: Target) -> Rc<Binding> {
    let bindings = cache::bindings();
    let binding = match target {
        None => bindings.first().cloned().unwrap_or_else(|| table::none_bound()),
        Some(relation) => {
            let bound = bindings.iter().find(|b| b.relation() == Some(relation));
            bound.cloned().unwrap_or_else(|| not_bound(relation))
        }
    };
    binding.warn_of_lost_triggers();
    binding
}

/// LX400: the text `id` cannot be a key of this table, or is too long for one.
pub fn no_key(binding: &Binding, id: &str) -> Failure {
    if let Some(why) = too_long(id) {
        return Failure::validation(why, "Bind a column of shorter keys as id.");
    }
    Failure::validation(
        format!("\"{}\" cannot be a key of {}", short(id), binding.name()),
        "Pass a key of the type of the column bound as id. enrich_contact and enqueue look at the table that was bound first; for others there are enrich_row, enrich_rows and leadlex.enqueue_rows.",
    )
}

/// What to say of a key with more than [`MAX_KEY`] bytes; `None`: it has no more.
pub fn too_long(id: &str) -> Option<String> {
    let bytes = id.len();
    (bytes > MAX_KEY)
        .then(|| format!("the key \"{}\" has {bytes} bytes, at most {MAX_KEY} are possible", short(id)))
}

/// Held by the call that works on a contact. Each workspace has its own: none can hold what is another's, whatever id it names.
pub fn contact_claim(binding: &Binding, workspace: Uuid, id: &str) -> ClaimKey {
    let mut buffer = Uuid::encode_buffer();
    let workspace = workspace.hyphenated().encode_lower(&mut buffer);
    installation::claim_key("contact", &[workspace, binding.name(), id])
}

/// Raises 42P01: there is no such table. 55000: it is not bound.
fn not_bound(relation: pg_sys::Oid) -> ! {
    if !table::exists(relation) {
        refuse(PgError {
            sqlstate: sqlstate::UNDEFINED_TABLE,
            message: format!("there is no table with oid {}", relation.to_u32()),
            detail: None,
            hint: None,
        })
    }
    let name = table::name_of(relation);
    let bindings = cache::bindings();
    // SAFETY: catalog look-ups of an existing relation.
    let has_it = |b: &&Rc<Binding>| b.relation().is_some_and(|t| unsafe { table::is_part(relation, t) });
    let whole = bindings.iter().find(has_it);
    let hint = match whole {
        Some(whole) => format!("It is a part of {}, which is: name that table.", whole.name()),
        None => match table::unfit_relation(relation) {
            Some(why) => format!("It cannot be bound, as it is {why}. Pass a table that is bound."),
            None => format!(
                "Run SELECT leadlex.bind_contacts({}). Its argument columns maps columns that are called otherwise.",
                table::literal(&name)
            ),
        },
    };
    raise::not_ready(format!("table {name} is not bound"), hint)
}

/// Raises 40001: the transaction's one snapshot is older than the contact.
pub fn refuse_stale(detail: &str) -> ! {
    refuse(PgError {
        sqlstate: sqlstate::SERIALIZATION_FAILURE,
        message: "could not serialize access due to concurrent update".into(),
        detail: Some(detail.to_owned()),
        hint: Some("The transaction might succeed if retried.".into()),
    })
}

/// The caller's call begins in its workspace. Where somebody had that to itself, the caller is identified again after the wait.
///
/// Raises 55P03, 57014 or 40P01 like any wait for a lock.
pub fn entered(caller: Caller) -> Result<Caller, Failure> {
    match occupancy::enter(installation::account_key(caller.workspace.id)) {
        true => {
            cache::refresh();
            identify().and_then(entered)
        }
        false => Ok(caller),
    }
}

/// The same of a caller who was identified before, maybe by an earlier transaction: with the workspace as it is by now.
///
/// Raises LX401: it was dropped meanwhile.
pub fn as_it_is_now(caller: Caller) -> Caller {
    if occupancy::enter(installation::account_key(caller.workspace.id)) {
        cache::refresh();
    }
    let Some(workspace) = cache::workspace(caller.workspace.id) else {
        let gone = format!("the workspace {} was dropped", caller.workspace.name);
        let failure =
            Failure::invalid_key(gone, "Ask for leadlex.grant_access(role, workspace_id) to another one.");
        raise::failure(&failure.seen_at(Uuid::now_v7(), None))
    };
    Caller { workspace, ..caller }
}
