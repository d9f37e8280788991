//! Pure rules: no Postgres, no network, no clock.

pub mod ask;
pub mod contact;
pub mod failure;
pub mod fields;
pub mod identity;
pub mod merge;
pub mod provider;
pub mod rate;
pub mod receipt;
pub mod reply;
pub mod waterfall;

#[cfg(test)]
mod contact_tests;
