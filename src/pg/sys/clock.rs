//! The time of day, as shared memory and tables have it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Epoch seconds.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64)
}

/// Epoch microseconds.
pub fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64)
}

/// Seconds since the machine was started: the same for all processes, and nobody sets it.
pub fn uptime_s() -> u32 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: fills the struct it is given; this clock exists wherever Postgres runs.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    u32::try_from(time.tv_sec).unwrap_or(u32::MAX / 2)
}
