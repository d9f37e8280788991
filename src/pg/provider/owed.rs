//! What providers owe that are disabled: they are not asked, so a call does not say so of them.

use uuid::Uuid;

use crate::pg::provider::past::{self, Sought};
use crate::pg::provider::{serves, shared_values::Crowd};
use crate::pg::store::cache;
use crate::pg::sys::clock::now_us;
use leadlex_domain::job::Owed;

/// Whether there is a disabled provider that may owe anything.
pub fn is_possible(workspace: Uuid) -> bool {
    cache::providers().iter().any(|p| !p.enabled && p.ticket_fingerprint.is_some() && serves(p, workspace))
}

/// For each of these contacts, what a disabled provider owes of its missing fields; an answer that can still come rather than
/// one that was given up.
pub fn by_disabled(workspace: Uuid, contacts: &[Sought<'_>]) -> Vec<Option<Owed>> {
    let all = cache::providers();
    let disabled: Vec<_> = all
        .iter()
        .filter(|p| !p.enabled && serves(p, workspace))
        .map(|p| (p.name.clone(), p.clone()))
        .collect();
    let pasts = past::pasts(workspace, &disabled, contacts, &Crowd::default());
    let now = now_us();
    let of_contact = |(past, (contact, _, missing)): (past::Past, &Sought<'_>)| {
        let owed = disabled.iter().filter_map(|(name, provider)| {
            let config = provider.config.as_ref().ok()?;
            let (_, ticket) = past.ticket(provider.id, contact)?;
            let is_wanted = !config.fills().intersect(*missing).is_empty();
            is_wanted.then(|| Owed { provider: name.clone(), given_up: ticket.ends(config) <= now })
        });
        owed.min_by_key(|owed| owed.given_up)
    };
    pasts.into_iter().zip(contacts).map(of_contact).collect()
}
