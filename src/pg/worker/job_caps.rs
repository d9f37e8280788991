//! What one job may ask and cost at most, by the settings of its role.

use uuid::Uuid;

use crate::pg::call::batch::{FieldRequest, caps};
use crate::pg::store::jobs::Set;
use crate::pg::table::Binding;

/// For each of these sets why it is not begun, if it is not. Several that are run together are no more than each of them. What goes on
/// with a call or visit that was begun was within the caps then, and can be billed already.
pub fn refusals(
    sets: &[Set],
    workspace: Uuid,
    binding: impl FnOnce() -> std::rc::Rc<Binding>,
    request: FieldRequest,
) -> Vec<Option<String>> {
    if !caps::are_in_force() || sets.iter().all(|set| set.progress.admitted) {
        return vec![None; sets.len()];
    }
    let binding = binding();
    let of = |sets: &[Set]| {
        let ids: Vec<Option<String>> =
            sets.iter().flat_map(|set| &set.contact_ids).cloned().map(Some).collect();
        caps::refuses_job(workspace, &binding, &ids, request)
    };
    match of(sets) {
        None => vec![None; sets.len()],
        Some(refusal) if sets.len() == 1 => vec![Some(refusal)],
        Some(_) => sets.iter().map(|set| of(std::slice::from_ref(set))).collect(),
    }
}
