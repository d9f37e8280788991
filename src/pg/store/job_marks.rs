//! Small hashes of contacts' keys, by which those that wait are found in an index.

/// A row of so few contacts has its marks from the beginning.
const FEW: usize = 16;

/// The first 64 bits of the key's hash.
pub fn mark(contact: &str) -> i64 {
    let hash = leadlex_domain::hash::hash(&[contact.as_bytes()]);
    i64::from_be_bytes([hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7]])
}

/// The marks of many keys, in their order.
pub fn marks(contacts: &[impl AsRef<str>]) -> Vec<i64> {
    contacts.iter().map(|contact| mark(contact.as_ref())).collect()
}

/// What a new row of these contacts has.
///
/// `None`: there are more than 16, and the row gets its marks later.
pub fn marks_at_once(contacts: &[impl AsRef<str>]) -> Option<Vec<i64>> {
    (contacts.len() <= FEW).then(|| marks(contacts))
}
