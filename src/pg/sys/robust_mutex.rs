//! Locks in shared memory that helper threads may take, too: they may not touch Postgres's own. Each is held for as long
//! as it takes to copy a few hundred bytes; nothing inside can fail or wait.

use std::cell::UnsafeCell;
use std::sync::{Mutex, PoisonError};

/// A robust mutex shared by processes.
#[repr(C)]
pub struct RobustMutex(UnsafeCell<libc::pthread_mutex_t>);

impl RobustMutex {
    /// Makes it ready for use.
    ///
    /// # Safety
    /// `place` is in shared memory that nobody else knows of yet.
    pub unsafe fn init(place: *mut RobustMutex) {
        // SAFETY: as promised by the caller; the attributes are initialised before use and destroyed after.
        unsafe {
            let mut attributes = std::mem::zeroed::<libc::pthread_mutexattr_t>();
            libc::pthread_mutexattr_init(&mut attributes);
            libc::pthread_mutexattr_setpshared(&mut attributes, libc::PTHREAD_PROCESS_SHARED);
            libc::pthread_mutexattr_setrobust(&mut attributes, libc::PTHREAD_MUTEX_ROBUST);
            libc::pthread_mutex_init((*place).0.get(), &attributes);
            libc::pthread_mutexattr_destroy(&mut attributes);
        }
    }

    /// Runs `work` under the lock. It is told whether the last holder died in the middle of a change: then what the lock
    /// protects cannot be trusted.
    pub fn hold<R>(&self, work: impl FnOnce(bool) -> R) -> R {
        /// Unlocks also when `work` panics: others would wait for ever, and could not be interrupted.
        struct Unlock(*mut libc::pthread_mutex_t);
        impl Drop for Unlock {
            fn drop(&mut self) {
                // SAFETY: locked by `hold` in this thread.
                unsafe { libc::pthread_mutex_unlock(self.0) };
            }
        }
        // SAFETY: initialised by `init`.
        unsafe {
            let owner_died = libc::pthread_mutex_lock(self.0.get()) == libc::EOWNERDEAD;
            let _unlock = Unlock(self.0.get());
            if owner_died {
                libc::pthread_mutex_consistent(self.0.get());
            }
            work(owner_died)
        }
    }
}

/// Held by a helper thread of this process while it has one of the locks, and for ever once the process has begun to
/// exit: a process must not end with a shared lock in the hands of one of its threads.
static GATE: Mutex<()> = Mutex::new(());

/// What a helper thread does with shared memory.
pub fn from_thread<R>(work: impl FnOnce() -> R) -> R {
    let _gate = GATE.lock().unwrap_or_else(PoisonError::into_inner);
    work()
}

/// This process ends: no thread of it may be in there any more.
pub fn close_gate() {
    std::mem::forget(GATE.lock().unwrap_or_else(PoisonError::into_inner));
}
