//! What this backend remembers of the configuration tables. A statement trigger on each of them sends a relation
//! cache invalidation, so that every backend forgets what was in that table when a change commits (and one's own at once). A bound
//! table that changes makes it look up that binding again.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use pgrx::pg_sys;
use uuid::Uuid;

use crate::pg::installation;
use crate::pg::installation::Changes;
use crate::pg::store::config;
use crate::pg::store::config::{Access, ApiKey};
use crate::pg::store::loaded_provider;
use crate::pg::store::loaded_provider::LoadedProvider;
use crate::pg::store::quality;
use crate::pg::store::queue_pause;
use crate::pg::store::queue_pause::Pause;
use crate::pg::store::spend;
use crate::pg::store::spend::Budget;
use crate::pg::table::Binding;
use leadlex_domain::identity::Workspace;
use leadlex_domain::money::order::Record;

const MAX_ROLES: usize = 1_000;

#[derive(Default)]
struct Cache {
    keys: HashMap<[u8; 32], Option<ApiKey>>,
    /// By role: what was granted to it, or to one that it may be a member of.
    access: HashMap<pg_sys::Oid, Rc<Vec<Access>>>,
    workspaces: HashMap<Uuid, Option<Workspace>>,
    bindings: Option<Rc<Vec<Rc<Binding>>>>,
    /// Bound tables that have changed: their bindings are looked up again.
    renewed: Vec<u32>,
    /// As they were before bindings or providers changed: most of them are the same.
    former_bindings: Option<Rc<Vec<Rc<Binding>>>>,
    former_providers: Option<Rc<Vec<Rc<LoadedProvider>>>>,
    providers: Option<Rc<Vec<Rc<LoadedProvider>>>>,
    paused: Option<Option<Pause>>,
    budgets: Option<Rc<[Budget]>>,
    hit_rates: Option<Rc<HashMap<Uuid, Record>>>,
}

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::new(Cache::default());
}

/// Called at the start of every function of ours: nothing of an out-of-date cache, nor of another version's schema.
///
/// Raises 55000: the extension is not installed in this database, or has another version.
pub fn refresh() {
    forget_changed();
    installation::present();
}

/// Forgets what others (or this transaction) have changed, and keeps the rest.
pub fn forget_changed() {
    if let Some(changes) = installation::changes() {
        // Dropped outside the borrow: freeing plans runs Postgres code.
        let old = CACHE.with_borrow_mut(|cache| cache.take_changed(&changes));
        drop(old);
    }
}

impl Cache {
    /// What is out of date, out of the cache.
    fn take_changed(&mut self, changes: &Changes) -> Cache {
        if changes.everything {
            return std::mem::take(self);
        }
        let mut old = Cache::default();
        if changes.schemas {
            old.bindings = self.bindings.take();
            old.former_bindings = self.former_bindings.take();
        }
        for table in &changes.tables {
            match table.as_str() {
                "workspace" => old.workspaces = std::mem::take(&mut self.workspaces),
                "api_key" => old.keys = std::mem::take(&mut self.keys),
                "access" => old.access = std::mem::take(&mut self.access),
                "bound_table" => {
                    if let Some(former) = self.bindings.take() {
                        old.former_bindings = self.former_bindings.replace(former);
                    }
                }
                "provider_config" | "provider_secret" => {
                    if let Some(former) = self.providers.take() {
                        old.former_providers = self.former_providers.replace(former);
                    }
                }
                "home" | "queue_pause" | "stopped" => self.paused = None,
                "budget_limit" => old.budgets = self.budgets.take(),
                "provider_rate" => old.hit_rates = self.hit_rates.take(),
                // Nothing of it is remembered, but where it is: see `installation`.
                _ => {}
            }
        }
        self.renewed.extend(&changes.relations);
        old
    }
}

/// The key with this SHA-256, also a revoked or expired one; `None`: there is none. Unknown keys are looked
/// up each time.
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
    if installation::has_other_roles() {
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

/// `None`: there is no such workspace. That is remembered, too.
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
    let renewed = CACHE.with_borrow_mut(|c| std::mem::take(&mut c.renewed));
    if let Some(known) = CACHE.with_borrow(|c| c.bindings.clone()) {
        if renewed.is_empty() {
            return known;
        }
        if let Some(found) = with_renewed(&known, &renewed) {
            return keep_bindings(found);
        }
    }
    let former = CACHE.with_borrow_mut(|c| c.former_bindings.take()).unwrap_or_default();
    let is_same = |binding: &&Rc<Binding>| {
        binding.relation().is_some_and(|relation| !renewed.contains(&relation.to_u32()))
    };
    let known = former.iter().filter(is_same).map(|binding| (binding.version.as_str(), binding)).collect();
    keep_bindings(config::bindings(&known))
}

/// The same bindings, those of tables that have changed looked up again. `None`: one is not bound any more.
fn with_renewed(known: &[Rc<Binding>], changed: &[u32]) -> Option<Vec<Rc<Binding>>> {
    let renew = |binding: &Rc<Binding>| match binding.relation().map(|relation| relation.to_u32()) {
        Some(relation) if changed.contains(&relation) => {
            let again = config::binding(&binding.schema, &binding.table)?;
            if again.relation() != binding.relation() {
                installation::unwatch(relation);
            }
            Some(Rc::new(again))
        }
        _ => Some(binding.clone()),
    };
    known.iter().map(renew).collect()
}

fn keep_bindings(found: Vec<Rc<Binding>>) -> Rc<Vec<Rc<Binding>>> {
    let found = Rc::new(found);
    // A table that is missing now may come back under its name without any invalidation.
    let all_there = found.iter().all(|b| b.relation().is_some());
    if all_there {
        found.iter().filter_map(|b| b.relation()).for_each(|r| installation::watch(r.to_u32()));
    }
    let old = CACHE.with_borrow_mut(|c| std::mem::replace(&mut c.bindings, all_there.then(|| found.clone())));
    drop(old);
    found
}

/// All providers in the order of their priority.
pub fn providers() -> Rc<Vec<Rc<LoadedProvider>>> {
    if let Some(known) = CACHE.with_borrow(|c| c.providers.clone()) {
        return known;
    }
    let former = CACHE.with_borrow_mut(|c| c.former_providers.take()).unwrap_or_default();
    let found = Rc::new(loaded_provider::providers(&former));
    CACHE.with_borrow_mut(|c| c.providers = Some(found.clone()));
    found
}

/// All budgets.
pub fn budgets() -> Rc<[Budget]> {
    if let Some(known) = CACHE.with_borrow(|c| c.budgets.clone()) {
        return known;
    }
    let found: Rc<[Budget]> = spend::budgets().into();
    CACHE.with_borrow_mut(|c| c.budgets = Some(found.clone()));
    found
}

/// Providers' hit rates as the worker last made them known, by their id.
pub fn hit_rates() -> Rc<HashMap<Uuid, Record>> {
    if let Some(known) = CACHE.with_borrow(|c| c.hit_rates.clone()) {
        return known;
    }
    let found = Rc::new(quality::hit_rates());
    CACHE.with_borrow_mut(|c| c.hit_rates = Some(found.clone()));
    found
}

/// Why queue and triggers of this database are paused, if they are.
pub fn paused() -> Option<Pause> {
    if let Some(known) = CACHE.with_borrow(|c| c.paused) {
        return known;
    }
    let found = queue_pause::paused();
    CACHE.with_borrow_mut(|c| c.paused = Some(found));
    found
}

/// The trigger's work: what is remembered of `relation` is out of date once this commits.
pub fn invalidate(relation: pg_sys::Oid) {
    // SAFETY: the relation exists and is locked by the statement that fired the trigger.
    unsafe { pg_sys::CacheInvalidateRelcacheByRelid(relation) };
}

/// Which description each provider has, by its name.
#[derive(Default)]
pub struct Revisions(HashMap<String, String>);

impl Revisions {
    pub fn now() -> Revisions {
        Revisions(providers().iter().map(|p| (p.name.clone(), p.revision.clone())).collect())
    }

    /// Empty: there is none of this name.
    pub fn of(&self, name: &str) -> String {
        self.0.get(name).cloned().unwrap_or_default()
    }
}
