//! Credits and rates.

pub mod accounts;
pub mod remaining;
