//! Keys of a bound table: as text outside, of their own type inside.

use leadlex_domain::sqlstate;
use std::ffi::{CStr, CString};

use pgrx::pg_sys;
use uuid::Uuid;

use crate::pg::sys::row;
use crate::pg::sys::spi;
use crate::pg::table::Binding;
use crate::pg::table::catalog;
use crate::pg::table::catalog::Column;
use leadlex_domain::contact::Contact;

/// What is known of a key's type: for the common ones, that one key has one text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Uuid,
    /// Its greatest value.
    Integer(i64),
    Text,
    Other,
}

/// How the texts of a key column are compared and written.
pub struct ContactKey {
    kind: Kind,
    type_oid: pg_sys::Oid,
    /// Its text depends on settings of the session (a date's on DateStyle).
    styled: bool,
}

impl ContactKey {
    /// By the column's type and collation.
    pub fn of(column: &Column) -> ContactKey {
        let kind = match column.type_oid {
            pg_sys::UUIDOID => Kind::Uuid,
            pg_sys::INT2OID => Kind::Integer(i64::from(i16::MAX)),
            pg_sys::INT4OID => Kind::Integer(i64::from(i32::MAX)),
            pg_sys::INT8OID => Kind::Integer(i64::MAX),
            pg_sys::TEXTOID | pg_sys::VARCHAROID if column.deterministic => Kind::Text,
            _ => Kind::Other,
        };
        let styled = matches!(
            column.base_type,
            pg_sys::DATEOID
                | pg_sys::TIMESTAMPOID
                | pg_sys::TIMESTAMPTZOID
                | pg_sys::INTERVALOID
                | pg_sys::FLOAT4OID
                | pg_sys::FLOAT8OID
                | pg_sys::BYTEAOID
        );
        // A part of it may be one of these.
        let styled = styled || matches!(column.category, 'A' | 'C' | 'R');
        ContactKey { kind, type_oid: column.type_oid, styled }
    }

    /// A row that was read is called the same in every session.
    pub fn respell(&self, mut contact: Contact) -> Contact {
        if self.styled
            && let Ok(id) = CString::new(contact.id.as_str())
        {
            contact.id = catalog::through_type(self.type_oid, &id, true);
        }
        contact
    }
}

/// Bytes of a key at most. History, queue and outcomes have it in their indexes, where an entry of 2,704 bytes is the largest: what does not
/// fit there would fail after the vendor was paid, and could not be given up either.
pub const MAX_KEY: usize = 2_000;

impl Binding {
    /// A key that was written in this session, as it is called in every one.
    pub fn respell(&self, id: String) -> String {
        let plans = self.plans();
        match plans.key.styled {
            true => plans.key.respell(Contact { id, ..Contact::default() }).id,
            false => id,
        }
    }

    /// `id` in the one spelling that everybody who means this key uses; `None` when it cannot be a key of this table, or has more than
    /// [`MAX_KEY`] bytes.
    /// Types with an equality of their own (citext) keep the spelling given, see [`Binding::spelling_may_vary`].
    pub fn canonical_key(&self, id: &str) -> Option<String> {
        let plans = self.plans();
        let key = &plans.key;
        let plain = match key.kind {
            Kind::Text => Some(id.to_owned()),
            // The common spellings, without asking the type.
            Kind::Uuid if !id.contains(':') => id.parse::<Uuid>().ok().map(row::written),
            Kind::Integer(greatest) if !id.starts_with('+') => {
                id.parse::<i64>().ok().filter(|n| (-greatest..=greatest).contains(n)).map(|n| n.to_string())
            }
            _ => None,
        };
        plain
            .or_else(|| {
                let id = CString::new(id).ok()?;
                spi::in_subtransaction(|| catalog::through_type(key.type_oid, &id, key.styled), is_data_error)
            })
            .filter(|key| key.len() <= MAX_KEY)
    }

    /// Two texts can be the same key: only the stored row tells.
    pub fn spelling_may_vary(&self) -> bool {
        self.plans().key.kind == Kind::Other
    }
}

/// SQLSTATE class 22, or a domain's constraint: the text is no value of the type.
pub fn is_data_error(code: pgrx::PgSqlErrorCode) -> bool {
    // SAFETY: unpack_sql_state returns a static, NUL-terminated text.
    let state = unsafe { CStr::from_ptr(pg_sys::unpack_sql_state(code as i32)) };
    is_data_state(state.to_bytes())
}

/// The same for an SQLSTATE given as text.
pub fn is_data_state(state: &[u8]) -> bool {
    state.starts_with(b"22") || state == sqlstate::CHECK_VIOLATION.as_bytes()
}
