//! Credits and rates.

pub mod accounts;
pub mod commit_and_rollback;
pub mod credits;
pub mod rates;
pub mod remaining;
