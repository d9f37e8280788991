//! Those of the queue.

use std::time::Duration;

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

use leadlex_domain::job;

static MAX_JOB_WORKERS: GucSetting<i32> = GucSetting::<i32>::new(2);
static JOB_RETRY_BASE: GucSetting<i32> = GucSetting::<i32>::new(10_000);
static JOB_RETRY_MAX: GucSetting<i32> = GucSetting::<i32>::new(3_600_000);
static JOB_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(300_000);
static JOB_MAX_ATTEMPTS: GucSetting<i32> = GucSetting::<i32>::new(10);
static JOB_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(7 * 86_400);

/// Databases and roles whose queued jobs are run at the same time.
pub fn max_job_workers() -> usize {
    MAX_JOB_WORKERS.get() as usize
}

/// The longest that one run of queued jobs may take.
pub fn job_timeout() -> Duration {
    Duration::from_millis(JOB_TIMEOUT.get() as u64)
}

/// How patient the queue is.
pub fn job_policy() -> job::Policy {
    let ms = |setting: &GucSetting<i32>| Duration::from_millis(setting.get() as u64);
    let max_attempts = JOB_MAX_ATTEMPTS.get() as u32;
    job::Policy { base: ms(&JOB_RETRY_BASE), longest: ms(&JOB_RETRY_MAX), max_attempts }
}

/// How long jobs that are done are kept.
pub fn job_retention() -> Duration {
    Duration::from_secs(JOB_RETENTION.get() as u64)
}

/// How often expired receipts are looked for, at most `longest`: a short life must not last much longer than it says.
pub fn purge_interval(longest: Duration) -> Duration {
    let outcomes = super::outcome_retention().as_secs() as i32;
    let shortest = [super::RECEIPT_TTL.get(), super::RECHECK_AFTER.get(), JOB_RETENTION.get(), outcomes]
        .into_iter()
        .filter(|s| *s > 0)
        .min();
    let tenth = Duration::from_secs(shortest.map_or(u64::MAX, |s| s as u64 / 10));
    tenth.clamp(Duration::from_secs(1), longest)
}

pub fn define() {
    GucRegistry::define_int_guc(
        c"leadlex.max_job_workers",
        c"Workers that run queued jobs at the same time, in all databases together; 0 = none.",
        c"Each takes one of max_worker_processes while it runs; one for each database and role.",
        &MAX_JOB_WORKERS,
        0,
        64,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"leadlex.job_retry_base",
        c"How long a queued job that failed waits for its second attempt.",
        c"Doubled after each, up to leadlex.job_retry_max; up to half of it is left to chance.",
        &JOB_RETRY_BASE,
        10,
        3_600_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"leadlex.job_retry_max",
        c"Longest wait between two attempts of a queued job.",
        c"A provider's Retry-After can ask for more.",
        &JOB_RETRY_MAX,
        10,
        7 * 86_400_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"leadlex.job_max_attempts",
        c"Attempts after which a queued job is given up.",
        c"Waiting for a rate limit or for credits does not give it up.",
        &JOB_MAX_ATTEMPTS,
        1,
        1_000,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"leadlex.job_timeout",
        c"Longest time that one run of queued jobs may take.",
        c"A smaller statement_timeout of the job's role counts. What runs into it is tried again, which is an attempt.",
        &JOB_TIMEOUT,
        1_000,
        86_400_000,
        GucContext::Suset,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"leadlex.job_retention",
        c"How long queued jobs are kept in leadlex.job when they are done.",
        c"Those given up stay.",
        &JOB_RETENTION,
        0,
        10 * 365 * 86_400,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
}
