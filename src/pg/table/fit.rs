//! Whether a column can hold a value, told before it is written: one value that is too long is no reason to lose the
//! others, which are paid for.

use std::ffi::CString;

use pgrx::pg_sys;

use super::catalog::{self, Column};
use super::keys::is_data_state;
use super::{Binding, Plans};
use crate::domain::contact::Contact;
use crate::domain::fields::{Field, FieldMap};
use crate::pg::spi;

/// What Postgres adds to n in the modifier of `varchar(n)`.
const VARHDRSZ: i32 = 4;

/// Changes as the table can take them.
pub struct Fitted {
    pub changes: FieldMap<String>,
    /// What no column holds, and why.
    pub left_out: Vec<(Field, String)>,
    /// None of the changes can be written: the table will refuse them.
    pub hopeless: bool,
}

impl Binding {
    /// Without the values that the contact has already, as their columns compare (citext ignores case), and without those
    /// that their columns cannot hold. If none is left because of those, all stay: then the table itself is to say why.
    pub fn fit(&self, now: &Contact, changes: FieldMap<String>) -> Fitted {
        let plans = self.plans();
        if changes.is_empty() || plans.takes_anything {
            return Fitted { changes, left_out: Vec::new(), hopeless: false };
        }
        let (mut fitting, mut unfit, mut left_out) = (FieldMap::default(), FieldMap::default(), Vec::new());
        for (field, value) in changes.iter() {
            let Some(column) = plans.field(field) else { continue };
            if now.value(field).is_some_and(|present| is_same(column, present, value)) {
                continue;
            }
            match why_not(column, value) {
                None => fitting.set(field, value.clone()),
                Some(why) => {
                    unfit.set(field, value.clone());
                    left_out.push((field, why));
                }
            }
        }
        match fitting.is_empty() && !unfit.is_empty() {
            true => Fitted { changes: unfit, left_out: Vec::new(), hopeless: true },
            false => Fitted { changes: fitting, left_out, hopeless: false },
        }
    }

    /// Tells of a value that was left out, without the value: it may be in a log for years.
    pub fn warn_left_out(&self, id: &str, field: Field, why: &str) {
        let column = self.columns.get(field.name()).map_or("", String::as_str);
        pgrx::ereport!(
            pgrx::PgLogLevel::WARNING,
            pgrx::PgSqlErrorCode::ERRCODE_WARNING,
            format!("{} of contact {id} was left out: {why}", field.name()),
            format!(
                "Column \"{column}\" of {} cannot hold the provider's value; the other fields were written.",
                self.name()
            )
        );
    }
}

impl Plans {
    fn field(&self, field: Field) -> Option<&Column> {
        self.fields.iter().find(|(known, _)| *known == field).map(|(_, column)| column)
    }
}

/// A column of plain text: no length, no check, and only the same text is the same value.
pub fn takes_anything(column: &Column) -> bool {
    let plain = [pg_sys::TEXTOID, pg_sys::VARCHAROID].contains(&column.type_oid);
    plain && column.modifier < 0 && column.deterministic
}

fn is_same(column: &Column, present: &str, value: &str) -> bool {
    let plain = [pg_sys::TEXTOID, pg_sys::VARCHAROID, pg_sys::BPCHAROID].contains(&column.base_type);
    if present == value || plain && column.deterministic {
        return present == value;
    }
    let Some(equality) = catalog::equality_function(column.base_type) else { return false };
    let (Ok(present), Ok(value)) = (CString::new(present), CString::new(value)) else { return false };
    let equals = || {
        let (left, right) = (
            catalog::value_of(column.base_type, -1, &present),
            catalog::value_of(column.base_type, -1, &value),
        );
        // SAFETY: an equality of two values of this type, which are not null, under the column's collation.
        unsafe { pg_sys::OidFunctionCall2Coll(equality, column.collation, left, right).value() & 0xff != 0 }
    };
    spi::caught(equals, |caught| is_data_state(caught.sqlstate.as_bytes())).unwrap_or(false)
}

fn why_not(column: &Column, value: &str) -> Option<String> {
    match column.type_oid {
        pg_sys::TEXTOID => None,
        pg_sys::VARCHAROID | pg_sys::BPCHAROID => {
            let fits =
                column.modifier < VARHDRSZ || value.chars().count() <= (column.modifier - VARHDRSZ) as usize;
            (!fits).then(|| format!("value too long for type {}", column.written))
        }
        // A domain's checks are the user's own: run as they will be when it is written, and with the same rights.
        _ => {
            let text = CString::new(value).ok()?;
            let check = || {
                catalog::value_of(column.type_oid, column.modifier, &text);
            };
            let refused = spi::caught(check, |caught| is_data_state(caught.sqlstate.as_bytes())).err()?;
            Some(refused.message)
        }
    }
}
