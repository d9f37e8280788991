//! Blocks of shared memory, each known to its own file alone.

use std::ffi::CStr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pgrx::pg_sys;

/// Creates or finds the block of this name, and notes in `place` where it is. `None`: it was there already. A new one is not
/// filled yet, and known to its creator alone.
///
/// # Safety
/// Only in the shared memory start-up hook, with AddinShmemInitLock held; a `T` is at most `bytes` long.
pub unsafe fn create<T>(name: &CStr, bytes: usize, place: &AtomicPtr<T>) -> Option<*mut T> {
    let mut found = false;
    // SAFETY: as promised by the caller; so many bytes were asked for.
    let block = unsafe { pg_sys::ShmemInitStruct(name.as_ptr(), bytes, &mut found) }.cast::<T>();
    place.store(block, Ordering::Relaxed);
    (!found).then_some(block)
}
