//! What sessions share in memory, and what the end of a transaction settles of it.

pub mod budgets;
pub mod claims;
pub mod control;
pub mod directory;
pub mod events;
pub mod fullness;
pub mod job_queues;
pub mod layout;
pub mod lockouts;
pub mod logins;
pub mod occupancy;
pub mod progress;
pub mod provider_slots;
pub mod receipts;
#[cfg(feature = "session_state")]
pub mod session_state;
pub mod single_flight;
pub mod throttle;
pub mod transaction;
pub mod turns;
pub mod wait;
pub mod workers;
