//! Whether a column can hold a value, told before it is written: one value that is too long is no reason to lose the
//! others, which are paid for.

use leadlex_domain::sqlstate;
use std::ffi::CString;

use pgrx::pg_sys;

use crate::pg::sys::spi;
use crate::pg::sys::spi::Caught;
use crate::pg::table::catalog;
use crate::pg::table::catalog::Column;
use crate::pg::table::keys::is_data_state;
use crate::pg::table::{Binding, Plans};
use leadlex_domain::contact::Contact;
use leadlex_domain::fields::{Field, FieldMap, FieldSet};

/// What Postgres adds to n in the modifier of `varchar(n)`.
const VARHDRSZ: i32 = 4;

/// Values of these fields that the table refused, and the error with which it did.
#[derive(Clone, Debug)]
pub struct Rejection {
    pub fields: FieldSet,
    pub caught: Caught,
}

/// Changes as the columns can take them.
pub struct Fitted {
    pub changes: FieldMap<String>,
    /// What no column holds, and why.
    pub rejections: Vec<Rejection>,
}

impl Binding {
    /// Without the values that the contact has already, as their columns compare (citext ignores case), and without those
    /// that their columns cannot hold. No trigger could mend these: Postgres looks at the type before it fires any.
    pub fn fit(&self, now: &Contact, changes: FieldMap<String>) -> Fitted {
        let plans = self.plans();
        if changes.is_empty() || plans.takes_anything {
            return Fitted { changes, rejections: Vec::new() };
        }
        let (mut fitting, mut rejections) = (FieldMap::default(), Vec::new());
        for (field, value) in changes.iter() {
            let Some(column) = plans.field(field) else { continue };
            if now.value(field).is_some_and(|present| is_same(column, present, value)) {
                continue;
            }
            match why_not(column, value) {
                None => fitting.set(field, value.clone()),
                Some(caught) => rejections.push(Rejection { fields: FieldSet::from_iter([field]), caught }),
            }
        }
        Fitted { changes: fitting, rejections }
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

impl Column {
    /// Whether it holds fewer characters than this.
    pub fn is_shorter_than(&self, characters: usize) -> bool {
        let counts = [pg_sys::VARCHAROID, pg_sys::BPCHAROID].contains(&self.type_oid);
        counts && self.modifier >= VARHDRSZ && ((self.modifier - VARHDRSZ) as usize) < characters
    }
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

fn why_not(column: &Column, value: &str) -> Option<Caught> {
    match column.type_oid {
        pg_sys::TEXTOID => None,
        pg_sys::VARCHAROID | pg_sys::BPCHAROID => {
            column.is_shorter_than(value.chars().count()).then(|| Caught {
                sqlstate: sqlstate::STRING_DATA_RIGHT_TRUNCATION.into(),
                message: format!("value too long for type {}", column.written),
                about: Box::default(),
            })
        }
        // A domain's checks are the user's own: run as they will be when it is written, and with the same rights.
        _ => {
            let text = CString::new(value).ok()?;
            let check = || {
                catalog::value_of(column.type_oid, column.modifier, &text);
            };
            let caught = spi::caught(check, |caught| is_data_state(caught.sqlstate.as_bytes())).err()?;
            Some(match caught.sqlstate.as_str() {
                sqlstate::STRING_DATA_RIGHT_TRUNCATION | sqlstate::CHECK_VIOLATION => caught,
                // What the type's own functions say may have the value in it.
                _ => Caught { message: format!("it is no value of type {}", column.written), ..caught },
            })
        }
    }
}
