//! Whose turn it is: the places of databases in shared memory, and how long a call waits until a worker comes.
//!
//! There are fewer workers than databases, and there may be fewer places. A database in which a call waits comes before
//! those in which only notes do, for both.

use leadlex_domain::sqlstate;
use std::time::{Duration, Instant};

use crate::pg::shared::layout;
use crate::pg::shared::layout::{Database, Header};
use crate::pg::sys::database::this_database;
use crate::pg::sys::raise;
use crate::pg::sys::raise::PgError;
use crate::pg::sys::settings;

/// How long a call waits while no worker begins anywhere.
const QUIET: Duration = Duration::from_secs(5);
/// And in all, while other databases have their turn.
const LONGEST: Duration = Duration::from_secs(60);

/// The place of a database, made if there is none. `None`: others have all of them. A call waits (`urgent`): then of those
/// others only the ones in which calls wait, too.
pub fn place(header: &mut Header, oid: u32, urgent: bool) -> Option<&mut Database> {
    let Some(index) = choose(&header.databases, oid, urgent) else {
        header.untold = true;
        return None;
    };
    let found = &mut header.databases[index];
    if found.oid != oid {
        header.untold |= !found.is_idle();
        *found = Database { oid, ..Database::FREE };
    }
    Some(found)
}

fn choose(databases: &[Database], oid: u32, urgent: bool) -> Option<usize> {
    let position = |which: fn(&Database) -> bool| databases.iter().position(which);
    let own = || databases.iter().position(|d| d.oid == oid);
    let waits_for_less = |d: &Database| d.worker_pid == 0 && !(d.wanted && d.urgent);
    own()
        .or_else(|| position(|d| d.oid == 0))
        .or_else(|| position(Database::is_idle))
        // What was noted there is found again when all databases are looked at.
        .or_else(|| urgent.then(|| position(waits_for_less)).flatten())
}

/// How long one call waits for the worker of its database: five seconds, or a minute while others have their turn first.
pub struct Patience {
    begun: Instant,
    quiet_since: Instant,
    turns: u64,
    has_place: bool,
}

impl Patience {
    /// Waiting begins now.
    pub fn new() -> Patience {
        let now = Instant::now();
        Patience { begun: now, quiet_since: now, turns: 0, has_place: true }
    }

    /// Whether to go on waiting.
    pub fn lasts(&mut self) -> bool {
        let now = Instant::now();
        let oid = this_database();
        let (turns, served, locked_out) = layout::with_header(|h| {
            let own = h.databases.iter().find(|d| d.oid == oid);
            self.has_place = own.is_some();
            (h.turns, own.is_some_and(|d| d.worker_pid > 0), h.is_locked_out(oid))
        });
        if locked_out {
            // A statement that keeps the worker out of this database ends soon, as this session is in its way.
            self.begun = now;
        }
        if locked_out || turns != self.turns && !served {
            self.quiet_since = now;
        }
        self.turns = turns;
        now < (self.quiet_since + QUIET).min(self.begun + LONGEST)
    }

    /// How long to sleep before the next look, unless woken. A place that has become free is not told of.
    pub fn slice(&self) -> Duration {
        if self.has_place { Duration::from_secs(1) } else { Duration::from_millis(100) }
    }
}

/// Raises what a call says that has waited in vain, see [`refusal`].
///
/// Raises 53400 where leadlex.max_databases is too small, else 55000.
pub fn give_up(message: &str, undone: &str) -> ! {
    raise::refuse(refusal(message, undone))
}

/// What a call says that has waited in vain: `message`, and as hint `undone`, what has not been done, and what stood in its way.
pub fn refusal(message: &str, undone: &str) -> PgError<'static> {
    let oid = this_database();
    let (known, waiting, running) = layout::with_header(|h| {
        let place = h.databases.iter().find(|d| d.oid == oid).copied();
        let waiting = h.databases.iter().filter(|d| d.oid != 0 && d.wanted && d.worker_pid <= 0).count();
        (place, waiting, h.databases.iter().filter(|d| d.worker_pid != 0).count())
    });
    let workers = settings::max_workers();
    let (sqlstate, detail, why) = match known {
        None => (
            sqlstate::CONFIGURATION_LIMIT_EXCEEDED,
            Some(format!(
                "Work waits in more databases than leadlex.max_databases ({}).",
                settings::max_databases()
            )),
            "Raise leadlex.max_databases and restart, or raise leadlex.max_workers.",
        ),
        Some(own) if own.worker_pid == 0 && waiting > 1 && running >= workers => (
            sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
            Some(format!("{waiting} databases wait for one of {workers} workers.")),
            "Raise leadlex.max_workers. See leadlex.worker_status.",
        ),
        Some(_) => (
            sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
            None,
            "See leadlex.worker_status and the server log; max_worker_processes may be used up.",
        ),
    };
    let hint = Some(format!("{undone} {why}").trim_start().to_owned());
    PgError { sqlstate, message: message.to_owned(), detail, hint }
}

/// For a worker: whether others wait for its place, and whether in one of them a call does.
pub fn others_wait(now: i64) -> (bool, bool) {
    layout::with_header(|h| {
        let waiting = || h.databases.iter().filter(|d| d.is_waiting(now) && !h.is_locked_out(d.oid));
        (h.sweeping || waiting().next().is_some(), waiting().any(|d| d.urgent))
    })
}

/// For the launcher: whether databases are still to be looked at for which no place is noted.
pub fn tell_sweeping(sweeping: bool) {
    layout::with_header(|h| h.sweeping = sweeping);
}

/// For a worker: whether it goes as soon as it has nothing to do, because of those.
pub fn is_sweeping() -> bool {
    layout::with_header(|h| h.sweeping)
}

/// The databases that are to be looked at because there was no place for what was noted in them: all of them, then.
pub fn take_untold() -> bool {
    layout::with_header(|h| std::mem::take(&mut h.untold))
}

/// A worker has come to a database.
pub fn count(header: &mut Header) {
    header.turns = header.turns.wrapping_add(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(oid: u32) -> Database {
        Database { oid, has_work: true, ..Database::FREE }
    }

    fn called(oid: u32) -> Database {
        Database { oid, wanted: true, urgent: true, ..Database::FREE }
    }

    fn served(oid: u32) -> Database {
        Database { oid, worker_pid: 1, ..Database::FREE }
    }

    #[test]
    fn a_database_keeps_its_place_and_takes_a_free_one_first() {
        let idle = Database { oid: 3, ..Database::FREE };
        let databases = [noted(1), idle, Database::FREE];
        assert_eq!(choose(&databases, 1, false), Some(0));
        assert_eq!(choose(&databases, 9, false), Some(2));
        assert_eq!(choose(&databases[..2], 9, false), Some(1));
    }

    #[test]
    fn a_call_takes_the_place_of_notes_and_of_no_other_call_nor_worker() {
        let databases = [served(1), called(2), noted(3)];
        assert_eq!(choose(&databases, 9, false), None);
        assert_eq!(choose(&databases, 9, true), Some(2));
        assert_eq!(choose(&databases[..2], 9, true), None);
        let asked_for = Database { worker_pid: -1, ..noted(4) };
        assert_eq!(choose(&[asked_for], 9, true), None);
    }
}
