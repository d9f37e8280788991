//! What the caller may read and write of a bound table: told before a provider is paid.

use std::ffi::CString;

use pgrx::pg_sys;

use crate::pg::sys::raise::{PgError, refuse};
use crate::pg::table::{Binding, quoted, status_columns};
use leadlex_domain::fields::{Field, FieldSet};
use leadlex_domain::sqlstate;

impl Binding {
    /// The columns that a call reads, by our names: what a row says of its enrichment is only written.
    pub(super) fn read_columns(&self) -> impl Iterator<Item = &str> {
        self.columns.keys().map(String::as_str).filter(|ours| !status_columns::NAMES.contains(ours))
    }

    /// Whether the caller has a privilege on the whole table.
    pub(super) fn may_all(&self, privilege: u32) -> bool {
        let Some(relation) = self.relation else { self.gone() };
        // SAFETY: a catalog look-up for an existing relation.
        let result = unsafe { pg_sys::pg_class_aclcheck(relation, pg_sys::GetUserId(), privilege as _) };
        result == pg_sys::AclResult::ACLCHECK_OK
    }

    /// Those of the columns, by our names, on which the caller lacks a privilege.
    pub(super) fn without<'n>(&self, privilege: u32, columns: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
        let Some(relation) = self.relation else { self.gone() };
        if self.may_all(privilege) {
            return Vec::new();
        }
        columns.filter(|ours| !has_on(relation, &self.columns[*ours], privilege)).collect()
    }

    /// Whether the caller may read these columns, by the table's names.
    pub(super) fn may_read_columns<'n>(&self, mut columns: impl Iterator<Item = &'n str>) -> bool {
        let Some(relation) = self.relation else { self.gone() };
        self.may_all(pg_sys::ACL_SELECT) || columns.all(|column| has_on(relation, column, pg_sys::ACL_SELECT))
    }

    /// Raises 42501, with what it is about, where the caller may not see one of the bound columns.
    pub fn require_readable(&self) {
        self.plans();
        let hidden = self.without(pg_sys::ACL_SELECT, self.read_columns());
        if !hidden.is_empty() {
            let hidden: Vec<String> = hidden.iter().map(|ours| quoted(&self.columns[*ours])).collect();
            let all: Vec<String> = self.read_columns().map(|ours| quoted(&self.columns[ours])).collect();
            refuse(PgError {
                sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
                message: format!("permission denied to read {} of {}", hidden.join(", "), self.name()),
                detail: Some("A call reads all bound columns. No provider was asked.".into()),
                hint: Some(format!("Grant SELECT ({}) on it to the calling role.", all.join(", "))),
            });
        }
    }

    pub(super) fn may_update_some(&self) -> bool {
        let names = self.fields().names();
        self.without(pg_sys::ACL_UPDATE, names.iter().copied()).len() < names.len()
    }

    /// Raises 42501 where the caller may write none of these fields: which of them will have to be is not known yet.
    pub fn require_some_updatable(&self, fields: FieldSet) {
        let bound: FieldSet = fields.iter().filter(|field| self.fields().contains(*field)).collect();
        let names = bound.names();
        if self.without(pg_sys::ACL_UPDATE, names.iter().copied()).len() == names.len() {
            self.require_updatable(bound);
        }
    }

    /// Raises 42501 before anything is asked, where the caller may not write one of these fields.
    pub fn require_updatable(&self, fields: FieldSet) {
        let refused = self.without(pg_sys::ACL_UPDATE, fields.iter().map(Field::name));
        if !refused.is_empty() {
            let columns: Vec<String> = refused.iter().map(|field| quoted(&self.columns[*field])).collect();
            let columns = columns.join(", ");
            refuse(PgError {
                sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
                message: format!("permission denied to update {columns} of {}", self.name()),
                detail: Some("No provider was asked.".into()),
                hint: Some(format!(
                    "Grant UPDATE ({columns}) on it to the calling role, or leave {} out of fields.",
                    refused.join(", ")
                )),
            });
        }
    }
}

/// Whether the caller has a privilege on a column.
fn has_on(relation: pg_sys::Oid, column: &str, privilege: u32) -> bool {
    let name = CString::new(column).unwrap_or_default();
    // SAFETY: catalog look-ups for an existing relation and column.
    let result = unsafe {
        let column = pg_sys::get_attnum(relation, name.as_ptr());
        pg_sys::pg_attribute_aclcheck(relation, column, pg_sys::GetUserId(), privilege as _)
    };
    result == pg_sys::AclResult::ACLCHECK_OK
}
