//! A contact's row, as entries of tables and of shared memory name it.

use uuid::Uuid;

use super::hash::Hash;

/// A contact's row in a workspace. What one workspace erases is not another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ContactRow {
    pub workspace: Uuid,
    /// See [`super::receipt::person`].
    pub hash: Hash,
}

impl ContactRow {
    /// Both in one: as unlikely to be another row's as the hash itself. Each of its bytes depends on both, and the first eight
    /// on what is random in a workspace's id.
    pub fn key(self) -> Hash {
        (u128::from_be_bytes(self.hash) ^ self.workspace.as_u128().rotate_left(64)).to_be_bytes()
    }
}
