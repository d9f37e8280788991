//! Who must not be asked about.

use crate::pg::sys::clock;
use crate::pg::sys::role;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use pgrx::{PgSqlErrorCode, Uuid, pg_sys};

use crate::pg::api::subject;
use crate::pg::call::preconditions;
use crate::pg::call::target;
use crate::pg::call::target::Target;
use crate::pg::provider;
use crate::pg::provider::shared_values::Crowd;
use crate::pg::store::cache;
use crate::pg::store::suppressions;
use crate::pg::store::suppressions::Listing;
use crate::pg::sys::raise;
use leadlex_domain::hash::Hash;
use leadlex_domain::receipt;
use leadlex_domain::suppression;
use leadlex_domain::suppression::{Caution, Entry};

const REASON: &str = "no reason given";
/// Postgres counts microseconds from 2000.
const EPOCH_2000_US: i64 = 946_684_800_000_000;

/// leadlex.suppress(value text, reason text, workspace_id uuid, until timestamptz): lists an e-mail address,
/// a LinkedIn profile or a domain, so that no provider is asked. Returns whether something was added.
/// `workspace_id` NULL is every workspace, `until` NULL is for good.
///
/// Raises 22023: `value` is NULL or unfit, `until` is past, or the workspace is unknown.
/// Raises 25006 or 25000: the transaction is read-only, or the operation is parallel.
/// Raises 55000: the extension is not installed, has another version, or was not preloaded.
#[pg_extern(sql = false)]
fn suppress(
    value: Option<&str>,
    reason: Option<&str>,
    workspace_id: Option<Uuid>,
    until: Option<TimestampWithTimeZone>,
) -> bool {
    begin();
    let entry = entry(super::required(value, "value"), None);
    let added = add(vec![entry.hash], reason, workspace_id, until) > 0;
    tell(&[(None, entry)]);
    added
}

/// leadlex.suppress(people text[], …): the same for many values, or for none of them if one is unfit. Returns
/// how many entries were added.
///
/// Raises the errors of leadlex.suppress; 22023 names the position of the value, the first being 1.
#[pg_extern(sql = false)]
fn suppress_many(
    people: Option<Vec<Option<String>>>,
    reason: Option<&str>,
    workspace_id: Option<Uuid>,
    until: Option<TimestampWithTimeZone>,
) -> i64 {
    begin();
    let people = super::required(people, "people");
    let entries: Vec<(Option<usize>, Entry)> = people
        .iter()
        .enumerate()
        .map(|(at, value)| {
            let value = super::required(value.as_deref(), &format!("people[{}]", at + 1));
            (Some(at + 1), entry(value, Some(at + 1)))
        })
        .collect();
    let mut hashes: Vec<Hash> = entries.iter().map(|(_, entry)| entry.hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    let added = add(hashes, reason, workspace_id, until) as i64;
    tell(&entries);
    added
}

/// leadlex.unsuppress(value text, workspace_id uuid): takes a value off the list of one workspace, or with
/// NULL off the list for all workspaces. Returns whether there was an entry.
///
/// Raises 22023: `value` is NULL or unfit, or the workspace is unknown.
/// Raises 25006 or 25000: the transaction is read-only, or the operation is parallel.
/// Raises 55000: the worker did not write waiting refusals in time; not installed, another version, not
/// preloaded.
/// Raises 53400: leadlex.max_databases is too small.
/// Raises 40001: an entry has changed since the transaction's one snapshot.
#[pg_extern(sql = false)]
fn unsuppress(value: Option<&str>, workspace_id: Option<Uuid>) -> bool {
    begin();
    let people: Vec<Hash> = entry(super::required(value, "value"), None).hashes().collect();
    let workspace = workspace(workspace_id);
    wait_for_the_books(&people);
    let removed = suppressions::remove(workspace, &people) > 0;
    if !removed {
        tell_of_other_lists(&people);
    }
    removed
}

/// It stands on another list than the one that was named.
fn tell_of_other_lists(people: &[Hash]) {
    let named =
        |list: Option<uuid::Uuid>| list.map_or("NULL (all workspaces)".to_owned(), |id| format!("'{id}'"));
    let lists: Vec<String> = suppressions::lists(people).into_iter().map(named).collect();
    if !lists.is_empty() {
        pgrx::notice!("the value stands on another list: pass workspace_id => {}", lists.join(" or "));
    }
}

/// leadlex.unsuppress_contact(contact_id uuid): takes off what is listed about one contact of the table that
/// was bound first. Returns how many entries were removed. A NOTICE tells that the contact stays suppressed
/// by its domain, or by a value of another person.
///
/// Raises 22023: `contact_id` is NULL, or there is no such contact.
/// Raises LX400: the value cannot be a key of the table.
/// Raises 55000: no table is bound. All other errors are those of leadlex.unsuppress.
#[pg_extern(sql = false)]
fn unsuppress_contact(contact_id: Option<Uuid>) -> i64 {
    begin();
    take_off(None, &super::plain(super::required(contact_id, "contact_id")).to_string())
}

/// leadlex.unsuppress_row(relation regclass, id text): the same for a contact of any bound table, with the
/// same errors.
#[pg_extern(sql = false)]
fn unsuppress_row(relation: Option<pg_sys::Oid>, id: Option<String>) -> i64 {
    of_row(relation, id)
}

#[pg_extern(sql = false)]
fn unsuppress_row_bigint(relation: Option<pg_sys::Oid>, id: Option<i64>) -> i64 {
    of_row(relation, id.map(|id| id.to_string()))
}

#[pg_extern(sql = false)]
fn unsuppress_row_uuid(relation: Option<pg_sys::Oid>, id: Option<Uuid>) -> i64 {
    of_row(relation, id.map(|id| super::plain(id).to_string()))
}

fn of_row(relation: Option<pg_sys::Oid>, id: Option<String>) -> i64 {
    begin();
    let relation = super::required(relation, "relation");
    take_off(Some(relation), &super::required(id, "id"))
}

fn begin() {
    cache::refresh();
    preconditions::require_writable();
}

/// `position`: of several, the first is 1.
fn entry(value: &str, position: Option<usize>) -> Entry {
    Entry::parse(value).unwrap_or_else(|mistake| {
        raise::invalid(
            format!("{} {}", place(position), mistake.words()),
            "Pass one e-mail address, one LinkedIn profile (its URL), or @acme.example for all addresses of a domain.",
        )
    })
}

fn place(position: Option<usize>) -> String {
    position.map_or_else(|| "value".to_owned(), |at| format!("people[{at}]"))
}

/// What was listed, and was perhaps not meant so: one message for each kind, which names the first and how many more.
fn tell(entries: &[(Option<usize>, Entry)]) {
    for caution in [Caution::OpenToAll, Caution::NoWildcard] {
        let mut found = entries.iter().filter(|(_, entry)| entry.caution == Some(caution));
        let Some((first, _)) = found.next() else { continue };
        let first = match found.count() {
            0 => place(*first),
            more => format!("{} (and {more} more)", place(*first)),
        };
        let (level, code, message, hint) = match caution {
            Caution::OpenToAll => (
                PgLogLevel::WARNING,
                PgSqlErrorCode::ERRCODE_WARNING,
                format!(
                    "{first} is the domain of a mail service: no person with an address there will be asked about"
                ),
                "To take it off the list: leadlex.unsuppress with the same value. List a single person by the whole address.",
            ),
            Caution::NoWildcard => (
                PgLogLevel::NOTICE,
                PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
                format!("{first} is listed as one address: the * or % in it stands for itself"),
                "For all addresses of a domain pass @acme.example.",
            ),
        };
        ErrorReport::new(code, message, "suppress").set_hint(hint).report(level);
    }
}

fn workspace(id: Option<Uuid>) -> Option<uuid::Uuid> {
    id.map(|id| super::known_workspace(super::plain(id)))
}

fn add(
    people: Vec<Hash>,
    reason: Option<&str>,
    workspace_id: Option<Uuid>,
    until: Option<TimestampWithTimeZone>,
) -> u64 {
    let end_us = until.map(|until| pg_sys::TimestampTz::from(until).saturating_add(EPOCH_2000_US));
    if end_us.is_some_and(|end| end <= clock::now_us()) {
        raise::invalid("until must lie in the future", "Leave it out for an entry that does not end.");
    }
    let reason = reason.map(str::trim).filter(|reason| !reason.is_empty()).unwrap_or(REASON);
    let source = role::role_name(role::caller());
    suppressions::add(workspace(workspace_id), &people, &Listing { reason, source: &source, until })
}

/// What is listed about a contact, however it was; how many entries. In every workspace that has the contact, and in what
/// counts for all.
fn take_off(target: Target, id: &str) -> i64 {
    let binding = target::binding(target);
    let Some(id) = binding.canonical_key(id) else { raise::failure(&target::no_key(&binding, id)) };
    let seen = subject::rows_of(&binding, &id);
    if seen.is_empty() {
        raise::invalid(
            format!("there is no such contact in {}", binding.name()),
            "What is listed about a person whose row is gone: leadlex.unsuppress(value).",
        );
    }
    let mut people: Vec<Hash> = Vec::new();
    let (mut domains, mut others) = (false, false);
    for (workspace, contact) in &seen {
        let row = receipt::person(binding.name(), &contact.id);
        let person = provider::person_in_row(*workspace, contact, row, &Crowd::default());
        let alone = suppression::of_person_alone(&person, contact);
        wait_for_the_books(&alone);
        let of_domains = suppression::domains_of_person(&person, contact);
        let known = |hash: &Hash| alone.binary_search(hash).is_ok() || of_domains.contains(hash);
        let more = || suppression::of_person(&person, contact).into_iter().filter(|h| !known(h)).collect();
        others |= suppressions::any(Some(*workspace), more);
        domains |= suppressions::any(Some(*workspace), || of_domains.clone());
        people.extend(alone);
    }
    people.sort_unstable();
    people.dedup();
    let workspaces: Vec<uuid::Uuid> = seen.iter().map(|(workspace, _)| *workspace).collect();
    let removed = suppressions::remove_everywhere(&workspaces, &people);
    if domains {
        pgrx::notice!(
            "the contact stays suppressed, since its domain is on the list: SELECT leadlex.unsuppress('@DOMAIN') takes the domain off, and with it all people there"
        );
    }
    if others {
        pgrx::notice!(
            "the contact stays suppressed, since its column for e-mail or LinkedIn also holds an address or profile of another person, who is on the list: correct the column, or take that person off the list with leadlex.unsuppress('ADDRESS_OR_PROFILE')"
        );
    }
    removed as i64
}

/// A refusal that is on its way into the tables would come after what takes it back.
fn wait_for_the_books(people: &[Hash]) {
    super::wait_for_the_books(|| suppressions::waiting(None, people), "Nothing was taken off the list.");
}
