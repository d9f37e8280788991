//! Rows of row triggers, kept until their statement has fired all of them and then queued together: a job of its own for each
//! row takes many times as long as the statement.
//!
//! What is rolled back to a savepoint is forgotten with it. Rows that a deferred trigger brings are queued when the transaction
//! is about to commit.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use pgrx::{pg_guard, pg_sys};

use super::{guarded, prepare, queue_rows};
use crate::pg::call::trigger::{Fired, NewRow, Reader};
use crate::pg::shared::transaction;
use crate::pg::sys::spi;
use crate::pg::table::Binding;
use leadlex_domain::fields::FieldSet;

/// A statement of more rows queues them in portions.
const MOST: usize = 100_000;

/// Whose rows.
#[derive(Clone, Copy, PartialEq)]
struct Of {
    trigger: pg_sys::Oid,
    relation: pg_sys::Oid,
    depth: u32,
    subtransaction: u32,
}

struct Kept {
    of: Of,
    owner: pg_sys::Oid,
    binding: Rc<Binding>,
    fields: FieldSet,
    /// `None`: each of its rows is queued by itself.
    reader: Option<Reader>,
    rows: Vec<NewRow>,
}

thread_local! {
    static KEPT: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
    /// How many statements that fire triggers are under way, one inside the other.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// A statement that may fire triggers at its end begins to do so. What it gives back is for [`leave`].
pub fn enter() -> u32 {
    let before = DEPTH.get();
    DEPTH.set(before + 1);
    before
}

/// It has fired them. After an error this is not called: the statement around it, or the end of the transaction, sets it right.
pub fn leave(before: u32) {
    DEPTH.set(before);
    if KEPT.with_borrow(Vec::is_empty) {
        return;
    }
    // SAFETY: called by our hooks, in a transaction.
    unsafe { queue_of_statement(before) };
}

#[pg_guard]
unsafe extern "C-unwind" fn queue_of_statement(before: u32) {
    let subtransaction = transaction::subtransaction();
    let is_over = |kept: &mut Kept| kept.of.depth > before && kept.of.subtransaction == subtransaction;
    queue(KEPT.with_borrow_mut(|all| all.extract_if(.., is_over).collect()));
}

fn queue(all: Vec<Kept>) {
    for kept in all.into_iter().filter(|kept| !kept.rows.is_empty()) {
        guarded(|| queue_rows(kept.owner, &kept.binding, kept.fields, kept.rows));
    }
}

/// Keeps the row of a row trigger. `false`: it is to be queued by itself.
pub fn keep(fired: Fired) -> bool {
    let of = Of {
        trigger: fired.trigger(),
        relation: fired.relation(),
        depth: DEPTH.get(),
        subtransaction: transaction::subtransaction(),
    };
    if KEPT.with_borrow(|all| all.iter().all(|kept| kept.of != of)) && !begin(fired, of) {
        return true;
    }
    let (is_kept, full) = KEPT.with_borrow_mut(|all| {
        let Some(at) = all.iter().rposition(|kept| kept.of == of) else { return (false, None) };
        let kept = &mut all[at];
        let Some(reader) = &kept.reader else { return (false, None) };
        kept.rows.extend(fired.row(reader));
        (true, (kept.rows.len() >= MOST).then(|| all.remove(at)))
    });
    queue(full.into_iter().collect());
    is_kept
}

/// The first row of a trigger; `false`: nothing is queued of it, and its warning is given.
fn begin(fired: Fired, of: Of) -> bool {
    if !REGISTERED.replace(true) {
        // SAFETY: registered once in each backend; the callbacks live as long as the library.
        unsafe {
            pg_sys::RegisterXactCallback(Some(on_transaction), std::ptr::null_mut());
            pg_sys::RegisterSubXactCallback(Some(on_subtransaction), std::ptr::null_mut());
        }
    }
    guarded(|| match prepare(fired) {
        Ok((binding, fields)) => {
            // A prepared transaction would lose what is kept, as it would the note for the workers.
            transaction::mark_called();
            let reader = Reader::of(fired, &binding, fields);
            let kept = Kept { of, owner: fired.owner(), binding, fields, reader, rows: Vec::new() };
            KEPT.with_borrow_mut(|all| all.push(kept));
            None
        }
        Err(trouble) => trouble,
    });
    KEPT.with_borrow(|all| all.iter().any(|kept| kept.of == of))
}

#[pg_guard]
unsafe extern "C-unwind" fn on_transaction(event: pg_sys::XactEvent::Type, _arg: *mut std::ffi::c_void) {
    use pg_sys::XactEvent::*;
    match event {
        // Of deferred triggers, which have all been fired by now.
        XACT_EVENT_PRE_COMMIT => {
            let all = KEPT.take();
            if !all.is_empty() {
                spi::with_snapshot(|| queue(all));
            }
        }
        XACT_EVENT_COMMIT | XACT_EVENT_ABORT | XACT_EVENT_PREPARE => {
            KEPT.take();
            DEPTH.set(0);
        }
        _ => {}
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn on_subtransaction(
    event: pg_sys::SubXactEvent::Type,
    own: pg_sys::SubTransactionId,
    parent: pg_sys::SubTransactionId,
    _arg: *mut std::ffi::c_void,
) {
    use pg_sys::SubXactEvent::*;
    match event {
        SUBXACT_EVENT_COMMIT_SUB => KEPT.with_borrow_mut(|all| {
            all.iter_mut()
                .filter(|kept| kept.of.subtransaction == own)
                .for_each(|kept| kept.of.subtransaction = parent);
        }),
        SUBXACT_EVENT_ABORT_SUB => {
            KEPT.with_borrow_mut(|all| all.retain(|kept| kept.of.subtransaction != own))
        }
        _ => {}
    }
}
