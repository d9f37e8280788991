//! The settings (GUCs), private behind accessors.

mod answers;
mod api_key;
mod authors;
mod caps;
mod local;
mod people;
mod quality;
mod queue;
mod server;

use std::ffi::{CStr, CString};
use std::time::Duration;

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::pg_sys;

use leadlex_domain::health::Policy;
use leadlex_domain::receipt::Terms;
use leadlex_net::MAX_REQUESTS;

pub use answers::{
    go_on_as, of_a_call, of_the_role, overwrites_own_only, position, queues_pending, waterfall,
};
pub use api_key::{api_key, api_key_is_ignored};
pub use caps::{NAMES as CAPS, max_contacts_per_statement, max_cost_per_statement};
pub use local::set_local;
pub use people::{max_people_per_value, role_mailboxes, rules};
pub use quality::{history_retention, outcome_retention, refills};
pub use queue::{job_policy, job_retention, job_timeout, max_job_workers, purge_interval};
pub use server::{
    credits_low, max_contacts_in_flight, max_databases, max_providers, max_workers, max_workspaces,
    receipt_buffer_bytes, worker_naptime,
};

static WORKSPACE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static PROVIDER_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(5_000);
static TOTAL_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(15_000);
static MAX_RESPONSE_SIZE: GucSetting<i32> = GucSetting::<i32>::new(1_024);
/// In kB. 32 MB.
static MAX_BULK_RESPONSE_SIZE: GucSetting<i32> = GucSetting::<i32>::new(32_768);
static ALLOW_PRIVATE: GucSetting<bool> = GucSetting::<bool>::new(false);
static CREDIT_WAIT: GucSetting<i32> = GucSetting::<i32>::new(1_000);
static MAX_PARALLEL: GucSetting<i32> = GucSetting::<i32>::new(32);
static BATCH_WAITS: GucSetting<bool> = GucSetting::<bool>::new(false);
static BATCH_WAIT_LIMIT: GucSetting<i32> = GucSetting::<i32>::new(61_000);
static ENABLE_TRIGGERS: GucSetting<bool> = GucSetting::<bool>::new(true);
static TRIGGER_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(10_000);
static BREAKER_FAILURES: GucSetting<i32> = GucSetting::<i32>::new(5);
static BREAKER_PAUSE: GucSetting<i32> = GucSetting::<i32>::new(5_000);
static RECEIPT_TTL: GucSetting<i32> = GucSetting::<i32>::new(86_400);
static RECHECK_AFTER: GucSetting<i32> = GucSetting::<i32>::new(30 * 86_400);

/// leadlex.provider_timeout: longest wait for one provider.
pub fn provider_timeout() -> Duration {
    Duration::from_millis(PROVIDER_TIMEOUT.get() as u64)
}

/// leadlex.total_timeout: longest wait for all providers of one call.
pub fn total_timeout() -> Duration {
    Duration::from_millis(TOTAL_TIMEOUT.get() as u64)
}

/// For so many seconds a request that asks for an answer can be on its way, at most: twice as long as either time may be.
pub fn hold_grace_s() -> u32 {
    let longest = provider_timeout().max(total_timeout()).max(Duration::from_secs(60));
    2 * u32::try_from(longest.as_secs()).unwrap_or(u32::MAX / 2)
}

/// leadlex.max_response_size, in bytes: the largest answer after decompression.
pub fn max_response_bytes() -> usize {
    MAX_RESPONSE_SIZE.get() as usize * 1_024
}

/// leadlex.max_bulk_response_size, in bytes: the same of all answers about several contacts that a session reads at once.
pub fn max_bulk_response_bytes() -> usize {
    MAX_BULK_RESPONSE_SIZE.get() as usize * 1_024
}

/// leadlex.allow_private_addresses: whether a provider may be at a loopback, private or link-local address.
pub fn allow_private_addresses() -> bool {
    ALLOW_PRIVATE.get()
}

/// lock_timeout: how long the session waits for others. `None`: for ever.
pub fn lock_timeout() -> Option<Duration> {
    // SAFETY: a setting of Postgres's.
    let milliseconds = unsafe { pg_sys::LockTimeout };
    (milliseconds > 0).then(|| Duration::from_millis(milliseconds as u64))
}

/// leadlex.credit_wait: how long a call waits while other calls have reserved all credits.
pub fn credit_wait() -> Duration {
    Duration::from_millis(CREDIT_WAIT.get() as u64)
}

/// When a provider's circuit breaker opens.
pub fn breaker() -> Policy {
    Policy {
        failures: BREAKER_FAILURES.get() as u32,
        pause: Duration::from_millis(BREAKER_PAUSE.get() as u64),
    }
}

/// Requests of one session under way at once.
pub fn max_parallel_requests() -> usize {
    MAX_PARALLEL.get() as usize
}

/// Whether a batch waits for the minute's rate limit, rather than refuse contacts.
pub fn batch_waits() -> bool {
    BATCH_WAITS.get()
}

/// leadlex.batch_wait_limit: how long such a batch waits for a provider that takes nobody.
pub fn batch_wait_limit() -> Duration {
    Duration::from_millis(BATCH_WAIT_LIMIT.get() as u64)
}

/// leadlex.enable_triggers: whether our triggers do something.
pub fn triggers_enabled() -> bool {
    ENABLE_TRIGGERS.get()
}

/// leadlex.trigger_timeout: the time that enrich_on_insert takes of a statement at most.
pub fn trigger_timeout() -> Duration {
    Duration::from_millis(TRIGGER_TIMEOUT.get() as u64)
}

/// How long providers' answers count.
pub fn receipt_terms() -> Terms {
    let microseconds = |setting: &GucSetting<i32>| i64::from(setting.get()) * 1_000_000;
    Terms { ttl_us: microseconds(&RECEIPT_TTL), recheck_us: microseconds(&RECHECK_AFTER) }
}

/// leadlex.workspace: name or id of the workspace to act for; `None`: it is empty.
pub fn workspace() -> Option<String> {
    text(&WORKSPACE)
}

fn text(setting: &GucSetting<Option<CString>>) -> Option<String> {
    let value = setting.get()?.to_string_lossy().into_owned();
    (!value.is_empty()).then_some(value)
}

/// The local number of this backend's transaction.
pub fn transaction_number() -> u32 {
    // SAFETY: MyProc is null before a process joins shared memory, and stays valid afterwards.
    unsafe {
        if pg_sys::MyProc.is_null() {
            return 0;
        }
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        return (*pg_sys::MyProc).lxid;
        #[cfg(not(any(feature = "pg15", feature = "pg16")))]
        return (*pg_sys::MyProc).vxid.lxid;
    }
}

/// Whether the settings that need the postmaster are defined here: only while preloading.
pub fn define(preloading: bool) {
    define_identity();
    define_calls();
    define_batches();
    define_providers();
    server::define(preloading);
    authors::define();
    caps::define();
    quality::define();
    queue::define();
    people::define();
    // SAFETY: a static NUL-terminated string.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"leadlex".as_ptr()) };
}

fn define_identity() {
    api_key::define();
    GucRegistry::define_string_guc(
        c"leadlex.workspace",
        c"Workspace to act for, by name or id, when several are granted.",
        c"Empty: the only one.",
        &WORKSPACE,
        GucContext::Userset,
        GucFlags::default(),
    );
}

fn define_calls() {
    answers::define();
    int_ms(c"leadlex.provider_timeout", c"Longest wait for one provider.", &PROVIDER_TIMEOUT, 1, 60_000);
    int_ms(
        c"leadlex.total_timeout",
        c"Longest wait for all providers of one call.",
        &TOTAL_TIMEOUT,
        1,
        300_000,
    );
    int_ms(
        c"leadlex.credit_wait",
        c"How long a call waits when every remaining credit is reserved by other calls.",
        &CREDIT_WAIT,
        0,
        60_000,
    );
}

fn define_batches() {
    GucRegistry::define_int_guc(
        c"leadlex.max_parallel_requests",
        c"Requests that enrich_contacts and enrich_rows have under way at once.",
        c"Each takes a connection of the session.",
        &MAX_PARALLEL,
        1,
        MAX_REQUESTS as i32,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"leadlex.batch_wait_for_rate_limit",
        c"Lets enrich_contacts and enrich_rows wait when the minute's rate limit, or that of a provider, is used up.",
        c"Off, the remaining contacts are told rate_limited at once.",
        &BATCH_WAITS,
        GucContext::Userset,
        GucFlags::default(),
    );
    int_ms(
        c"leadlex.batch_wait_limit",
        c"With leadlex.batch_wait_for_rate_limit: how long a batch waits for a provider at its limit or its Retry-After.",
        &BATCH_WAIT_LIMIT,
        0,
        86_400_000,
    );
    GucRegistry::define_bool_guc(
        c"leadlex.enable_triggers",
        c"Lets leadlex.enrich_on_insert and leadlex.enqueue_on_insert do something.",
        c"Off for loads and restores.",
        &ENABLE_TRIGGERS,
        GucContext::Userset,
        GucFlags::default(),
    );
    int_ms(
        c"leadlex.trigger_timeout",
        c"Longest time that leadlex.enrich_on_insert takes of a statement; what is left then is queued.",
        &TRIGGER_TIMEOUT,
        0,
        600_000,
    );
}

fn define_providers() {
    GucRegistry::define_int_guc(
        c"leadlex.breaker_failures",
        c"Failures of a provider in a row after which it is not asked for a while; 0 = never.",
        c"Counted for all sessions together.",
        &BREAKER_FAILURES,
        0,
        1_000,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"leadlex.breaker_pause",
        c"How long a provider that failed too often is not asked.",
        c"Then one call tries it; each time that this fails the pause is doubled, up to five minutes.",
        &BREAKER_PAUSE,
        100,
        3_600_000,
        GucContext::Suset,
        GucFlags::UNIT_MS,
    );
    for (name, short, long, setting) in [
        (
            c"leadlex.receipt_ttl",
            c"How long a provider's answer is kept, to answer the same question without asking again; 0 = off.",
            c"Kept outside the calling transaction, so that a rollback does not lose what was paid for.",
            &RECEIPT_TTL,
        ),
        (
            c"leadlex.recheck_after",
            c"How long it is remembered that a provider had nothing; 0 = no longer than receipt_ttl.",
            c"Without personal data. overwrite => true asks anew.",
            &RECHECK_AFTER,
        ),
    ] {
        let (context, unit) = (GucContext::Userset, GucFlags::UNIT_S);
        GucRegistry::define_int_guc(name, short, long, setting, 0, 10 * 365 * 86_400, context, unit);
    }
    GucRegistry::define_int_guc(
        c"leadlex.max_response_size",
        c"Largest answer of a provider, after decompression.",
        c"",
        &MAX_RESPONSE_SIZE,
        1,
        65_536,
        GucContext::Suset,
        GucFlags::UNIT_KB,
    );
    GucRegistry::define_int_guc(
        c"leadlex.max_bulk_response_size",
        c"Largest answer about several contacts, and of all such answers of a session together, after decompression.",
        c"One may be as large as max_response_size for each of its contacts, and not larger than this.",
        &MAX_BULK_RESPONSE_SIZE,
        1,
        1_048_576,
        GucContext::Suset,
        GucFlags::UNIT_KB,
    );
    GucRegistry::define_bool_guc(
        c"leadlex.allow_private_addresses",
        c"Lets providers be at loopback, private and link-local addresses.",
        c"Off, a provider URL cannot be used to reach into the server's own network. On, e-mail addresses at .test and .example count, too.",
        &ALLOW_PRIVATE,
        GucContext::Suset,
        GucFlags::default(),
    );
}

fn int_ms(name: &'static CStr, text: &'static CStr, setting: &'static GucSetting<i32>, min: i32, max: i32) {
    GucRegistry::define_int_guc(name, text, c"", setting, min, max, GucContext::Suset, GucFlags::UNIT_MS);
}
