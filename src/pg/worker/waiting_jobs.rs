//! What waits in a database's queues, told to shared memory by the maintenance worker.

use crate::pg::installation::{self, Installed};
use crate::pg::shared::job_queues::{QueueKey, entry, look_later};
use crate::pg::shared::layout::{self, Queue};
use crate::pg::shared::workers::{self, set_latch};
use crate::pg::store::{cache, jobs};
use crate::pg::sys::settings;
use crate::pg::worker::session::{TransactionFailure, attempt};

/// Tells what waits in this database, and why a worker could not be had.
pub fn keep(database: u32) -> Result<(), TransactionFailure> {
    let (sweep, refused) = layout::with_header(|h| {
        let sweep = workers::entry(h, database).is_some_and(|d| std::mem::take(&mut d.sweep));
        let queues = h.queues.iter_mut().filter(|q| q.database == database && q.refused);
        let refused = queues.map(|queue| {
            // What is queued from now on calls for a worker by itself: the transaction below may not see it.
            *queue = Queue { refused: false, wanted: false, due_at: i64::MAX, ..*queue };
            queue.role
        });
        (sweep, refused.collect::<Vec<u32>>())
    });
    if !sweep && refused.is_empty() {
        return Ok(());
    }
    let policy = settings::job_policy();
    let waits: Vec<f64> = (1..=30).map(|attempt| policy.backoff(attempt, None, 0.5).as_secs_f64()).collect();
    let found = attempt(|| {
        if !matches!(installation::find(), Installed::This(_)) || cache::paused().is_some() {
            return Vec::new();
        }
        refused.iter().for_each(|role| jobs::put_off((*role).into(), policy.max_attempts, waits.clone()));
        jobs::waiting()
    });
    let found = match found {
        Ok(found) => found,
        Err(failure) => {
            layout::with_header(|h| {
                for role in &refused {
                    if let Some(queue) = entry(h, QueueKey { database, role: *role }) {
                        queue.refused = true;
                    }
                }
                workers::entry(h, database).map(|d| d.sweep = true)
            });
            return Err(failure);
        }
    };
    let latch = layout::with_header(|h| {
        for waiting in &found {
            match entry(h, QueueKey { database, role: waiting.role.to_u32() }) {
                Some(queue) => queue.due_at = queue.due_at.min(waiting.due),
                // Of what has no place now, the next round tells again.
                None => look_later(h, database),
            }
        }
        h.launcher_latch
    });
    set_latch(latch);
    Ok(())
}
