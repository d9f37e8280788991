//! What is queued again while it waits is one job, and what is gone is no failure.
