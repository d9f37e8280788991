//! Errors on their way to the client. The SQLSTATEs of the contract are not among Postgres's own, and
//! pgrx's enum of codes is closed, so they go through ThrowErrorData.

use leadlex_domain::sqlstate;
use std::cell::RefCell;
use std::collections::HashSet;
use std::ffi::CString;

use pgrx::pg_sys;

use crate::pg::sys::spi::{About, Caught};
use leadlex_domain::call_error::Failure;

/// A refusal with one of Postgres's own SQLSTATEs.
pub struct PgError<'a> {
    pub sqlstate: &'a str,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

/// Raises an error of the contract.
///
/// The SQLSTATE is `LX` and the HTTP status, LX400 to LX503; the detail is JSON.
pub fn failure(failure: &Failure) -> ! {
    throw(&failure.code.sqlstate(), &failure.text(), Some(&failure.detail().to_string()), Some(&failure.hint))
}

/// Raises the refusal with its SQLSTATE. It does not return.
pub fn refuse(refusal: PgError) -> ! {
    throw(refusal.sqlstate, &refusal.message, refusal.detail.as_deref(), refusal.hint.as_deref())
}

/// 22023 with a hint: an argument of an administration function is wrong.
pub fn invalid(message: impl Into<String>, hint: impl Into<String>) -> ! {
    refuse(PgError {
        sqlstate: sqlstate::INVALID_PARAMETER_VALUE,
        message: message.into(),
        detail: None,
        hint: Some(hint.into()),
    })
}

/// 55000 with a hint: something has to be set up first.
pub fn not_ready(message: impl Into<String>, hint: impl Into<String>) -> ! {
    refuse(PgError {
        sqlstate: sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
        message: message.into(),
        detail: None,
        hint: Some(hint.into()),
    })
}

/// Sends a WARNING (01000) that says what it is about in the fields of its own that the protocol has, and goes on.
///
/// `about`: schema, table, column, type and constraint; each may be None.
pub fn warning(message: &str, detail: &str, hint: &str, about: &About) {
    tell((pgrx::PgLogLevel::WARNING, sqlstate::WARNING), message, detail, hint, about);
}

/// Sends a NOTICE, and goes on.
pub fn notice(message: &str, detail: &str, hint: &str) {
    tell((pgrx::PgLogLevel::NOTICE, sqlstate::SUCCESS), message, detail, hint, &About::default());
}

fn tell((level, sqlstate): (pgrx::PgLogLevel, &str), message: &str, detail: &str, hint: &str, about: &About) {
    let told = error_data(level, sqlstate, message, about);
    let mut told = pg_sys::ErrorData { detail: copied(detail), hint: copied(hint), ..told };
    // SAFETY: ThrowErrorData copies every field, and returns for what is less than an ERROR.
    unsafe { pg_sys::ThrowErrorData(&mut told) };
}

/// Raises an error that was caught as Postgres raised it, without its DETAIL, which can hold values. It does not return.
pub fn again(caught: &Caught) -> ! {
    let mut error = error_data(pgrx::PgLogLevel::ERROR, &caught.sqlstate, &caught.message, &caught.about);
    // SAFETY: ThrowErrorData copies every field; for ERROR it does not return.
    unsafe { pg_sys::ThrowErrorData(&mut error) };
    unreachable!("ThrowErrorData returned")
}

/// What there is to say, with what it is about in the protocol's own fields, in the current memory context.
fn error_data(level: pgrx::PgLogLevel, sqlstate: &str, message: &str, about: &About) -> pg_sys::ErrorData {
    let text = |text: &Option<String>| text.as_deref().map_or(std::ptr::null_mut(), copied);
    pg_sys::ErrorData {
        elevel: level as i32,
        sqlerrcode: pack(sqlstate),
        message: copied(message),
        schema_name: text(&about.schema),
        table_name: text(&about.table),
        column_name: text(&about.column),
        datatype_name: text(&about.datatype),
        constraint_name: text(&about.constraint),
        filename: text(&about.file),
        // SAFETY: always set while a backend runs SQL.
        assoc_context: unsafe { pg_sys::CurrentMemoryContext },
        ..Default::default()
    }
}

/// Whether this has not been said in the present statement of the client: once told is enough.
pub fn is_first_of_statement(what: String) -> bool {
    thread_local! {
        static SAID: RefCell<(i64, HashSet<String>)> = RefCell::default();
    }
    // SAFETY: reads a global.
    let statement = unsafe { pg_sys::GetCurrentStatementStartTimestamp() };
    SAID.with_borrow_mut(|(of, said)| {
        if *of != statement {
            (*of, *said) = (statement, HashSet::new());
        }
        said.insert(what)
    })
}

/// In the current memory context, with a NUL at its end.
fn copied(text: &str) -> *mut std::ffi::c_char {
    let c = CString::new(text.replace('\0', "")).unwrap_or_default();
    // SAFETY: copies a NUL-terminated string.
    unsafe { pg_sys::pstrdup(c.as_ptr()) }
}

/// SQLSTATE as Postgres packs it: six bits a character.
fn pack(sqlstate: &str) -> i32 {
    sqlstate
        .bytes()
        .take(5)
        .enumerate()
        .fold(0, |code, (i, c)| code | ((i32::from(c) - i32::from(b'0')) & 0x3f) << (6 * i))
}

fn throw(sqlstate: &str, message: &str, detail: Option<&str>, hint: Option<&str>) -> ! {
    let error = error_data(pgrx::PgLogLevel::ERROR, sqlstate, message, &About::default());
    let text = |text: Option<&str>| text.map_or(std::ptr::null_mut(), copied);
    let mut error = pg_sys::ErrorData { detail: text(detail), hint: text(hint), ..error };
    // SAFETY: ThrowErrorData copies every field; for ERROR it does not return (pgrx turns the longjmp into a panic,
    // so destructors run).
    unsafe { pg_sys::ThrowErrorData(&mut error) };
    unreachable!("ThrowErrorData returned")
}
