//! All SQL on our own tables. Names and operators are qualified; every function here runs as the extension's owner.
//! `config` is what administrators set up, `ledger` and `history` what calls and the worker write, `receipts` what providers answered,
//! `suppressions` whom they must not be asked about, `shared_values` what many people have in common, `tallies` what they came to, `jobs` what is queued,
//! `pauses` and `frozen` whether that is worked on, `events` what administrators are told,
//! `usage` sums of usage.

pub mod absence;
pub mod allotments;
pub mod cache;
pub mod checks;
pub mod config;
pub mod dropping;
pub mod erasures;
pub mod events;
pub mod export;
pub mod frozen;
pub mod held_rows;
pub mod history;
pub mod holds;
pub mod idempotency;
pub mod job_history;
pub mod job_marks;
pub mod job_state;
pub mod jobs;
pub mod jobs_due;
pub mod jobs_waiting;
pub mod ledger;
pub mod loaded_provider;
pub mod outcomes;
pub mod pruning;
pub mod quality;
pub mod queue_pause;
pub mod receipts;
pub mod shared_values;
pub mod spend;
pub mod stop;
pub mod subscription;
pub mod suppressions;
pub mod tallies;
pub mod tickets;
pub mod undone;
pub mod unknown_spend;
pub mod usage;
pub mod vendor_balances;
