//! The extension in this database: whose it is, which version, where its tables are, and the keys under which shared memory
//! has what is this database's. Private tables are reached as the extension's owner, whatever role calls.

use crate::pg::sys::database;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use pgrx::{pg_guard, pg_sys};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::pg::shared::layout::{AccountKey, ClaimKey};
use crate::pg::shared::receipts;
use crate::pg::sys::extension::extension_named;
use crate::pg::sys::{raise, relation, role};
use leadlex_domain::hash::Hash;

/// The extension as it is installed in this database.
#[derive(Clone, Copy)]
pub struct Installation {
    pub owner: pg_sys::Oid,
    /// Oid of leadlex.workspace: tells one CREATE EXTENSION from the next.
    pub catalog: u32,
    /// Of the extension itself: another after a restore into the same database.
    pub extension: u32,
    /// Oid of leadlex.budget_limit.
    pub budgets: pg_sys::Oid,
    /// Oid of leadlex.receipt.
    pub receipts: pg_sys::Oid,
    /// Oid of leadlex.receipt_contact, an index of what contacts' tables refused.
    pub rejections: pg_sys::Oid,
    /// Oid of leadlex.receipt_former, an index.
    pub former_receipts: pg_sys::Oid,
    /// Oid of leadlex.ticket.
    pub tickets: pg_sys::Oid,
    /// Oid of leadlex.suppression.
    pub suppressions: pg_sys::Oid,
    /// Oid of leadlex.shared_value.
    pub shared_values: pg_sys::Oid,
    /// Oid of leadlex.undone.
    pub undone: pg_sys::Oid,
    /// Oid of leadlex.outcome.
    pub outcomes: pg_sys::Oid,
}

/// What has changed since this was last asked: by others, or in this transaction.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Whatever is remembered is out of date.
    pub everything: bool,
    /// A schema has come, gone or got another name: it takes its tables to another qualified name, or brings others to ours.
    pub schemas: bool,
    /// Tables of ours, by name.
    pub tables: Vec<String>,
    /// Other relations that are watched.
    pub relations: Vec<u32>,
}

impl Changes {
    /// Where more has changed, everything counts as changed.
    const MOST: usize = 64;
}

/// What the callbacks have noted: they look at nothing.
#[derive(Default)]
struct Noted {
    everything: bool,
    schemas: bool,
    relations: Vec<u32>,
}

thread_local! {
    static KNOWN: Cell<Option<Installation>> = const { Cell::new(None) };
    static STALE: Cell<bool> = const { Cell::new(false) };
    static NOTED: RefCell<Noted> = RefCell::default();
    /// A table of which it is remembered that it is empty may have rows by now.
    static FILLED: Cell<bool> = const { Cell::new(false) };
    static OTHER_ROLES: Cell<bool> = const { Cell::new(false) };
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
    /// Relations of which changes are noted; with a name, those of ours.
    static WATCHED: RefCell<HashMap<u32, Option<String>>> = RefCell::default();
}

/// What of the watched relations has changed since this was last asked; `None`: nothing.
pub fn changes() -> Option<Changes> {
    // SAFETY: registered once per backend; accepting invalidations is allowed wherever a statement can run.
    unsafe {
        if !REGISTERED.replace(true) {
            pg_sys::CacheRegisterRelcacheCallback(Some(on_invalidation), pg_sys::Datum::from(0));
            let schemas = pg_sys::SysCacheIdentifier::NAMESPACEOID as i32;
            pg_sys::CacheRegisterSyscacheCallback(schemas, Some(on_schema_change), pg_sys::Datum::from(0));
            use pg_sys::SysCacheIdentifier::{AUTHMEMROLEMEM, AUTHOID, DATABASEOID};
            for roles in [AUTHMEMROLEMEM, AUTHOID, DATABASEOID] {
                pg_sys::CacheRegisterSyscacheCallback(
                    roles as i32,
                    Some(on_role_change),
                    pg_sys::Datum::from(0),
                );
            }
        }
        pg_sys::AcceptInvalidationMessages();
    }
    if !STALE.replace(false) {
        return None;
    }
    let noted = NOTED.take();
    let mut changes = Changes { everything: noted.everything, schemas: noted.schemas, ..Changes::default() };
    WATCHED.with_borrow_mut(|watched| {
        for relation in noted.relations {
            match watched.get(&relation) {
                Some(Some(table)) => changes.tables.push(table.clone()),
                Some(None) => changes.relations.push(relation),
                None => {}
            }
        }
        if changes.everything {
            watched.clear();
        }
    });
    if changes.everything || changes.schemas || !changes.tables.is_empty() {
        KNOWN.set(None);
    }
    Some(changes)
}

/// Whether one of the tables whose emptiness is remembered, see [`crate::pg::store::absence`], may have got rows since this was
/// last asked: by others, or in this transaction.
pub fn has_filled() -> bool {
    // SAFETY: allowed wherever a statement can run.
    unsafe { pg_sys::AcceptInvalidationMessages() };
    FILLED.replace(false)
}

/// Whether roles, memberships or the database's owner have changed since this was last asked.
pub fn has_other_roles() -> bool {
    OTHER_ROLES.replace(false)
}

#[pg_guard]
unsafe extern "C-unwind" fn on_invalidation(_arg: pg_sys::Datum, relation: pg_sys::Oid) {
    let of = |table: pg_sys::Oid| table == relation;
    let fills = |known: Installation| {
        let Installation { shared_values, undone, suppressions, outcomes, receipts, .. } = known;
        [shared_values, undone, suppressions, outcomes, receipts].into_iter().any(of)
    };
    let relation_is_any = relation == pg_sys::InvalidOid;
    // Until it is known which tables those are, it may be any.
    if relation_is_any || KNOWN.get().is_none_or(fills) {
        FILLED.set(true);
    }
    let relation = relation.to_u32();
    let is_watched =
        WATCHED.try_with(|w| w.try_borrow().map_or(true, |w| w.contains_key(&relation))).unwrap_or(false);
    if relation == 0 || is_watched {
        note(|noted| match relation {
            0 => noted.everything = true,
            _ if noted.relations.contains(&relation) => {}
            _ if noted.relations.len() >= Changes::MOST => noted.everything = true,
            _ => noted.relations.push(relation),
        });
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn on_schema_change(_arg: pg_sys::Datum, _cache: i32, _hash: u32) {
    note(|noted| noted.schemas = true);
}

fn note(change: impl FnOnce(&mut Noted)) {
    STALE.set(true);
    let _ = NOTED.try_with(|noted| noted.try_borrow_mut().map(|mut noted| change(&mut noted)));
}

/// Members have come or gone, roles, or the database's owner.
#[pg_guard]
unsafe extern "C-unwind" fn on_role_change(_arg: pg_sys::Datum, _cache: i32, _hash: u32) {
    OTHER_ROLES.set(true);
}

/// Notes changes of this relation from now on.
pub fn watch(relation: u32) {
    WATCHED.with_borrow_mut(|watched| {
        watched.entry(relation).or_insert(None);
    });
}

/// Notes them no longer: another has the name now.
pub fn unwatch(relation: u32) {
    WATCHED.with_borrow_mut(|watched| watched.remove(&relation));
}

/// Version of the library, and of the schema that it works with.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What there is of the extension in this database.
pub enum Installed {
    Nothing,
    /// A schema of another version than this library's.
    Version(String),
    This(Installation),
}

/// Changes of these are noted: tables of which sessions remember what is in them, and others whose oid is remembered (REINDEX
/// CONCURRENTLY gives an index another). Not those to which rows come all the time, which makes nothing out of date: see
/// [`has_filled`].
const NOTED_RELATIONS: [&str; 14] = [
    "workspace",
    "api_key",
    "access",
    "bound_table",
    "provider_config",
    "provider_secret",
    "provider_rate",
    "budget_limit",
    "home",
    "queue_pause",
    "stopped",
    "ticket",
    "receipt_former",
    "receipt_contact",
];

/// The worker asks in every database.
pub fn find() -> Installed {
    if let Some(known) = KNOWN.get() {
        return Installed::This(known);
    }
    let Some(extension) = extension_named(c"leadlex_enrich") else { return Installed::Nothing };
    let Some(workspaces) = relation::relation_of(c"leadlex", c"workspace") else { return Installed::Nothing };
    let table = |name: &str| relation::relation_named("leadlex", name).unwrap_or(pg_sys::InvalidOid);
    WATCHED.with_borrow_mut(|watched| {
        let known = NOTED_RELATIONS.map(|name| (table(name).to_u32(), Some(name.to_owned()))).into_iter();
        watched.extend(known.filter(|(oid, _)| *oid != 0));
    });
    // Another version is looked up again each time: nothing need tell this backend when it is updated.
    if extension.version != VERSION {
        return Installed::Version(extension.version);
    }
    let found = Installation {
        owner: extension.owner,
        catalog: workspaces.to_u32(),
        extension: extension.oid.to_u32(),
        budgets: table("budget_limit"),
        receipts: table("receipt"),
        rejections: table("receipt_contact"),
        former_receipts: table("receipt_former"),
        tickets: table("ticket"),
        suppressions: table("suppression"),
        shared_values: table("shared_value"),
        undone: table("undone"),
        outcomes: table("outcome"),
    };
    KNOWN.set(Some(found));
    Installed::This(found)
}

/// 55000 where the schema is missing, or not the one that this library knows.
///
/// Raises 55000.
pub fn present() -> Installation {
    match find() {
        Installed::This(installation) => installation,
        Installed::Nothing => raise::not_ready(
            "leadlex_enrich is not installed in this database",
            "Run CREATE EXTENSION leadlex_enrich.",
        ),
        Installed::Version(version) => raise::not_ready(other_version(&version), how_to_agree(&version)),
    }
}

/// The message about a schema of another version than the library's.
pub fn other_version(version: &str) -> String {
    format!("the database has version {version} of leadlex_enrich, the server's library is {VERSION}")
}

/// The hint to it: update the extension where it is older, else install the library of its version.
pub fn how_to_agree(version: &str) -> String {
    let parts = |v: &str| v.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u32>>();
    if parts(version) < parts(VERSION) {
        return "Run ALTER EXTENSION leadlex_enrich UPDATE.".to_owned();
    }
    format!("Install the library of leadlex_enrich {version} and restart the server.")
}

/// Runs `work` with the owner's rights. When it raises, transaction or subtransaction abort restores the caller.
pub fn as_owner<R>(work: impl FnOnce() -> R) -> R {
    role::as_role(present().owner, work)
}

/// Of the credits and rates of a workspace, or of what is known of a provider.
pub fn account_key(id: Uuid) -> AccountKey {
    AccountKey { database: database::this_database(), catalog: present().catalog, id: *id.as_bytes() }
}

/// Of an answer that waits for the worker.
pub fn receipt_key(question: Hash) -> receipts::ReceiptKey {
    receipts::ReceiptKey { database: database::this_database(), catalog: present().catalog, question }
}

/// Of what is claimed: a kind and its parts, hashed.
pub fn claim_key(kind: &str, parts: &[&str]) -> ClaimKey {
    claim_key_of(present().catalog, kind, parts)
}

/// The same of something that is not of the extension's tables.
pub fn claim_key_of(catalog: u32, kind: &str, parts: &[&str]) -> ClaimKey {
    let mut hash = Sha256::new();
    for part in std::iter::once(&kind).chain(parts) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let mut short = [0; 16];
    short.copy_from_slice(&digest[..16]);
    ClaimKey { database: database::this_database(), catalog, hash: short }
}
