//! Pure rules of leadlex_enrich: no Postgres, no network, no clock.

#![forbid(unsafe_code)]

pub mod allotment;
pub mod answered;
pub mod ask;
pub mod batch;
pub mod batch_keys;
pub mod call_error;
pub mod checks;
pub mod contact;
pub mod contact_row;
pub mod estimate;
pub mod event;
pub mod failed_provider;
pub mod failed_questions;
pub mod fields;
pub mod hash;
pub mod health;
pub mod identity;
pub mod job;
pub mod job_policy;
pub mod last_outcome;
pub mod latency;
pub mod merge;
pub mod money;
pub mod paid;
pub mod pause;
pub mod people;
pub mod person;
pub mod position;
pub mod provider;
pub mod question;
pub mod rate;
pub mod receipt;
pub mod reply;
pub mod row_status;
pub mod shared;
pub mod sighting;
pub mod sqlstate;
pub mod steps;
pub mod suppression;
pub mod taking_back;
pub mod tally;
pub mod throttle;
pub mod ticket;
pub mod undone;
pub mod waterfall;

#[cfg(test)]
mod contact_tests;
