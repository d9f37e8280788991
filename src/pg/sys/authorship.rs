//! Who writes the rows that are being written now: what triggers of contacts' tables may read.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use pgrx::pg_sys;
use uuid::Uuid;

use crate::pg::sys::role;
use leadlex_domain::fields::{Field, FieldSet};

/// The write of one contact.
#[derive(Clone, Debug)]
pub struct Author {
    pub request_id: Uuid,
    /// The first provider.
    pub source: Rc<str>,
    /// Each field that was offered, with its provider.
    pub fields: Vec<(Field, Rc<str>)>,
}

/// What is being written.
#[derive(Clone)]
struct Now {
    role: pg_sys::Oid,
    /// Of a single call.
    single: Option<Rc<Author>>,
    relation: u32,
    /// By key.
    rows: Rc<HashMap<String, Rc<Author>>>,
}

thread_local! {
    static NOW: RefCell<Option<Now>> = const { RefCell::new(None) };
    /// What the statement that runs now changes.
    static CHANGING: Cell<Option<FieldSet>> = const { Cell::new(None) };
}

/// While it lives, a statement changes these fields, and no others that were offered.
pub struct Changing(Option<FieldSet>);

pub fn changing(fields: FieldSet) -> Changing {
    Changing(CHANGING.replace(Some(fields)))
}

impl Drop for Changing {
    fn drop(&mut self) {
        CHANGING.set(self.0.take());
    }
}

/// Whether this field is written now, see [`changing`].
pub fn is_changing(field: Field) -> bool {
    CHANGING.get().is_none_or(|fields| fields.contains(field))
}

/// While it lives, triggers are told who writes.
pub struct Writing(Option<Now>);

impl Writing {
    /// A single call writes this contact.
    pub fn one(relation: Option<pg_sys::Oid>, key: &str, author: Author) -> Writing {
        let author = Rc::new(author);
        let rows = Rc::new(HashMap::from([(key.to_owned(), Rc::clone(&author))]));
        Writing::begin(relation, Some(author), rows)
    }

    /// A set writes these, by key.
    pub fn many(relation: Option<pg_sys::Oid>, rows: HashMap<String, Rc<Author>>) -> Writing {
        Writing::begin(relation, None, Rc::new(rows))
    }

    fn begin(
        relation: Option<pg_sys::Oid>,
        single: Option<Rc<Author>>,
        rows: Rc<HashMap<String, Rc<Author>>>,
    ) -> Writing {
        let relation = relation.map_or(0, |relation| relation.to_u32());
        let now = Now { role: role::caller(), single, relation, rows };
        Writing(NOW.with_borrow_mut(|known| known.replace(now)))
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        NOW.set(self.0.take());
    }
}

/// The single call that is writing now: its request, its first provider, and who called.
pub fn single() -> Option<(Uuid, String, pg_sys::Oid)> {
    NOW.with_borrow(|now| {
        let now = now.as_ref()?;
        let author = now.single.as_ref()?;
        Some((author.request_id, author.source.to_string(), now.role))
    })
}

/// Who is writing this row now, and for which role.
pub fn of_row(relation: pg_sys::Oid, key: &str) -> Option<(Rc<Author>, pg_sys::Oid)> {
    NOW.with_borrow(|now| {
        let now = now.as_ref().filter(|now| now.relation == relation.to_u32())?;
        Some((Rc::clone(now.rows.get(key)?), now.role))
    })
}
