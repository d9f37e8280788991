//! Enriching: one contact, many at once, from triggers, through the queue.

pub mod batch;
pub mod enqueue;
pub mod identity;
pub mod preconditions;
pub mod single;
pub mod trigger;
pub mod writing;
