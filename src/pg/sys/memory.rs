//! The memory of this process.

/// Gives back to the system what is free, from the middle of the heap, too: after what is not needed again soon.
/// Takes some milliseconds for many megabytes. A C library without that keeps it for later.
pub fn trim() {
    // SAFETY: glibc looks at its own lists, under its own locks; no memory that is in use moves.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
