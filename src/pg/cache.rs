//! What this backend remembers of the configuration tables. A statement trigger on each of them sends a relation
//! cache invalidation, so that every backend forgets when a change commits (and one's own at once).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use pgrx::pg_guard;
use pgrx::pg_sys;
use uuid::Uuid;

use super::raise;
use super::spi::{Statement, View};
use super::store::config::{self, Access, ApiKey, LoadedProvider};
use super::store::pauses::{self, Pause};
use super::store::{number, text};
use super::table::Binding;
use leadlex_domain::identity::Workspace;

/// The extension as it is installed in this database.
#[derive(Clone, Copy)]
pub struct Installation {
    pub owner: pg_sys::Oid,
    /// Oid of leadlex.workspace: tells one CREATE EXTENSION from the next.
    pub catalog: u32,
    /// Of the extension itself: another after a restore into the same database.
    pub extension: u32,
    /// Oid of leadlex.receipt.
    pub receipts: pg_sys::Oid,
    /// Oid of leadlex.suppression.
    pub suppressions: pg_sys::Oid,
    /// Oid of leadlex.shared_value.
    pub shared_values: pg_sys::Oid,
}

const MAX_ROLES: usize = 1_000;

#[derive(Default)]
struct Cache {
    installation: Option<Installation>,
    keys: HashMap<[u8; 32], Option<ApiKey>>,
    /// By role: what was granted to it, or to one that it may be a member of.
    access: HashMap<pg_sys::Oid, Rc<Vec<Access>>>,
    workspaces: HashMap<Uuid, Option<Workspace>>,
    bindings: Option<Rc<Vec<Rc<Binding>>>>,
    providers: Option<Rc<Vec<Rc<LoadedProvider>>>>,
    paused: Option<Option<Pause>>,
}

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::new(Cache::default());
    static STALE: Cell<bool> = const { Cell::new(false) };
    static OTHER_ROLES: Cell<bool> = const { Cell::new(false) };
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
    static WATCHED: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// Called at the start of every function of ours: nothing of an out-of-date cache, nor of another version's schema.
pub fn refresh() {
    forget_changed();
    installation();
}

/// Forgets what others (or this transaction) have changed.
pub fn forget_changed() {
    // SAFETY: registered once per backend; accepting invalidations is allowed wherever a statement can run.
    unsafe {
        if !REGISTERED.replace(true) {
            pg_sys::CacheRegisterRelcacheCallback(Some(on_invalidation), pg_sys::Datum::from(0));
            // A schema that is renamed takes its tables to another qualified name, or brings others to ours.
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
    if STALE.replace(false) {
        // Dropped outside the borrow: freeing plans runs Postgres code.
        let old = CACHE.take();
        WATCHED.with_borrow_mut(Vec::clear);
        drop(old);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn on_invalidation(_arg: pg_sys::Datum, relation: pg_sys::Oid) {
    let relation = relation.to_u32();
    if relation == 0
        || WATCHED.try_with(|w| w.try_borrow().map_or(true, |w| w.contains(&relation))).unwrap_or(false)
    {
        STALE.set(true);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn on_schema_change(_arg: pg_sys::Datum, _cache: i32, _hash: u32) {
    STALE.set(true);
}

/// Members have come or gone, roles, or the database's owner.
#[pg_guard]
unsafe extern "C-unwind" fn on_role_change(_arg: pg_sys::Datum, _cache: i32, _hash: u32) {
    OTHER_ROLES.set(true);
}

/// Forget everything remembered when this relation changes.
pub fn watch(relation: u32) {
    WATCHED.with_borrow_mut(|w| {
        if !w.contains(&relation) {
            w.push(relation);
        }
    });
}

/// Version of the library, and of the schema that it works with.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What there is of the extension in this database.
pub enum Found {
    Nothing,
    /// A schema of another version than this library's.
    Version(String),
    This(Installation),
}

static INSTALLATION: Statement = Statement::new(
    "SELECT e.extowner::pg_catalog.int8, c.oid::pg_catalog.int8, c.relname, e.extversion, e.oid::pg_catalog.int8
     FROM pg_catalog.pg_extension AS e, pg_catalog.pg_class AS c
     JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
     WHERE e.extname OPERATOR(pg_catalog.=) 'leadlex_enrich' AND n.nspname OPERATOR(pg_catalog.=) 'leadlex'
       AND c.relname OPERATOR(pg_catalog.=) ANY (ARRAY['workspace', 'api_key', 'access', 'bound_table', 'provider_config',
           'provider_secret', 'receipt', 'suppression', 'shared_value', 'home', 'queue_pause']::pg_catalog.name[])",
);

/// The worker asks in every database.
pub fn find_installation() -> Found {
    if let Some(known) = CACHE.with_borrow(|c| c.installation) {
        return Found::This(known);
    }
    let rows = INSTALLATION.query(View::Latest, &[]);
    rows.iter().for_each(|row| watch(number(row, 1) as u32));
    let Some(row) = rows.iter().find(|row| text(row, 2) == "workspace") else { return Found::Nothing };
    // Another version is looked up again each time: nothing need tell this backend when it is updated.
    if text(row, 3) != VERSION {
        return Found::Version(text(row, 3));
    }
    let table = |name: &str| -> pg_sys::Oid {
        rows.iter().find(|row| text(row, 2) == name).map_or(0, |row| number(row, 1) as u32).into()
    };
    let found = Installation {
        owner: (number(row, 0) as u32).into(),
        catalog: number(row, 1) as u32,
        extension: number(row, 4) as u32,
        receipts: table("receipt"),
        suppressions: table("suppression"),
        shared_values: table("shared_value"),
    };
    CACHE.with_borrow_mut(|c| c.installation = Some(found));
    Found::This(found)
}

/// 55000 where the schema is missing, or not the one that this library knows.
pub fn installation() -> Installation {
    match find_installation() {
        Found::This(installation) => installation,
        Found::Nothing => raise::not_ready(
            "leadlex_enrich is not installed in this database",
            "Run CREATE EXTENSION leadlex_enrich.",
        ),
        Found::Version(version) => raise::not_ready(other_version(&version), how_to_agree(&version)),
    }
}

pub fn other_version(version: &str) -> String {
    format!("the database has version {version} of leadlex_enrich, the server's library is {VERSION}")
}

pub fn how_to_agree(version: &str) -> String {
    let parts = |v: &str| v.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u32>>();
    if parts(version) < parts(VERSION) {
        return "Run ALTER EXTENSION leadlex_enrich UPDATE.".to_owned();
    }
    format!("Install the library of leadlex_enrich {version} and restart the server.")
}

pub fn api_key(hash: &[u8; 32]) -> Option<ApiKey> {
    if let Some(known) = CACHE.with_borrow(|c| c.keys.get(hash).cloned()) {
        return known;
    }
    let found = config::api_key(hash);
    // Unknown keys are not remembered: a stranger could fill the memory with them.
    if found.is_some() {
        CACHE.with_borrow_mut(|c| c.keys.insert(*hash, found.clone()));
    }
    found
}

/// What was granted to a role and those above it, whatever its memberships are good for. Of the grants of all others nothing
/// is read: there may be thousands.
pub fn access_of(role: pg_sys::Oid) -> Rc<Vec<Access>> {
    if OTHER_ROLES.replace(false) {
        CACHE.with_borrow_mut(|c| c.access.clear());
    }
    if let Some(known) = CACHE.with_borrow(|c| c.access.get(&role).cloned()) {
        return known;
    }
    let found = Rc::new(config::access_of(role));
    CACHE.with_borrow_mut(|c| {
        // A session that acts as one role after another need not remember them all.
        if c.access.len() >= MAX_ROLES {
            c.access.clear();
        }
        c.access.insert(role, found.clone())
    });
    found
}

pub fn workspace(id: Uuid) -> Option<Workspace> {
    if let Some(known) = CACHE.with_borrow(|c| c.workspaces.get(&id).cloned()) {
        return known;
    }
    let found = config::workspace(id);
    CACHE.with_borrow_mut(|c| c.workspaces.insert(id, found.clone()));
    found
}

/// Bound tables, the oldest binding first.
pub fn bindings() -> Rc<Vec<Rc<Binding>>> {
    if let Some(known) = CACHE.with_borrow(|c| c.bindings.clone()) {
        return known;
    }
    let found = Rc::new(config::bindings().into_iter().map(Rc::new).collect::<Vec<_>>());
    // A table that is missing now may come back under its name without any invalidation.
    if found.iter().all(|b| b.relation().is_some()) {
        found.iter().filter_map(|b| b.relation()).for_each(|r| watch(r.to_u32()));
        CACHE.with_borrow_mut(|c| c.bindings = Some(found.clone()));
    }
    found
}

/// All providers in the order of their priority.
pub fn providers() -> Rc<Vec<Rc<LoadedProvider>>> {
    if let Some(known) = CACHE.with_borrow(|c| c.providers.clone()) {
        return known;
    }
    let found = Rc::new(config::providers().into_iter().map(Rc::new).collect::<Vec<_>>());
    CACHE.with_borrow_mut(|c| c.providers = Some(found.clone()));
    found
}

/// Why queue and triggers of this database are paused, if they are.
pub fn paused() -> Option<Pause> {
    if let Some(known) = CACHE.with_borrow(|c| c.paused) {
        return known;
    }
    let found = pauses::paused();
    CACHE.with_borrow_mut(|c| c.paused = Some(found));
    found
}

/// The trigger's work: what is remembered of `relation` is out of date once this commits.
pub fn invalidate(relation: pg_sys::Oid) {
    // SAFETY: the relation exists and is locked by the statement that fired the trigger.
    unsafe { pg_sys::CacheInvalidateRelcacheByRelid(relation) };
}
