//! Enriching: one contact, many at once, from triggers, through the queue.

pub mod batch;
pub mod enqueue;
pub mod history;
pub mod identity;
pub mod outcome;
pub mod ownership;
pub mod preconditions;
pub mod refilling;
pub mod single;
pub mod taking_back;
pub mod target;
pub mod trigger;
pub mod writing;
