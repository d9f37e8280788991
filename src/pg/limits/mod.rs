//! Credits and rates.

pub mod accounts;
pub mod credits;
pub mod rates;
pub mod remaining;
pub mod settlement;
