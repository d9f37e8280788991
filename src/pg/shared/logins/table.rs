//! Which logins are good, and who logs in: a table of fixed size.
//!
//! It lives in shared memory, but nothing here knows that. Times are epoch microseconds.

use leadlex_domain::hash::Hash;

use crate::pg::shared::layout::AccountKey;

/// Of all values of one login with their names.
pub const MAX_BYTES: usize = 20 * 1_024;

/// Whose login: of a provider, and by which description and secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LoginKey {
    pub provider: AccountKey,
    pub login: Hash,
}

/// A login.
#[derive(Clone, Copy)]
pub struct Slot {
    provider: AccountKey,
    login: Hash,
    /// Tells one login from the next; 0: the place is free.
    number: u64,
    /// Who logs in; 0: nobody.
    pid: i32,
    bytes: u32,
    /// The values are no values, but how it failed.
    failed: bool,
    /// Of a login under way: it is over by then. Else, how long the values are good.
    until: i64,
    used_at: i64,
    values: [u8; MAX_BYTES],
}

impl Slot {
    pub const FREE: Slot = Slot {
        provider: AccountKey { database: 0, catalog: 0, id: [0; 16] },
        login: [0; 16],
        number: 0,
        pid: 0,
        bytes: 0,
        failed: false,
        until: 0,
        used_at: 0,
        values: [0; MAX_BYTES],
    };

    fn is_of(&self, key: LoginKey) -> bool {
        self.number != 0 && self.provider == key.provider
    }
}

/// What a session that wants values is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Use these, of the login with this number.
    Values(u64, Vec<u8>),
    /// Log in, with this number.
    Mine(u64),
    /// Wait: somebody else does, with this number.
    Theirs(u64),
    /// Somebody did while this session waited, and it failed so.
    Failed(Vec<u8>),
}

/// The whole, for as long as its lock is held.
pub struct Table<'a> {
    pub next: &'a mut u64,
    pub slots: &'a mut [Slot],
}

impl Table<'_> {
    /// Forgets everything.
    pub fn reset(&mut self) {
        self.slots.fill(Slot::FREE);
    }

    /// Whose turn it is now. A login that begins is over at `until`, whatever becomes of its session. `waited`: for the login with
    /// this number, or for a later one; 0: for none.
    pub fn turn(&mut self, key: LoginKey, (pid, waited): (i32, u64), now: i64, until: i64) -> Turn {
        let at = self.place(key, now);
        let slot = &mut self.slots[at];
        slot.used_at = now;
        if slot.is_of(key) && slot.login == key.login {
            let words = || slot.values[..slot.bytes as usize].to_vec();
            match slot.pid {
                0 if slot.failed && waited > 0 && waited <= slot.number => return Turn::Failed(words()),
                0 if !slot.failed && slot.bytes > 0 && now < slot.until => {
                    return Turn::Values(slot.number, words());
                }
                pid if pid != 0 && now < slot.until => return Turn::Theirs(slot.number),
                _ => {}
            }
        }
        let number = *self.next;
        *self.next += 1;
        self.slots[at] =
            Slot { provider: key.provider, login: key.login, number, pid, until, used_at: now, ..Slot::FREE };
        Turn::Mine(number)
    }

    /// What this login gave last, over its time or not.
    pub fn given(&self, key: LoginKey) -> Option<Vec<u8>> {
        let slot = self.slots.iter().find(|slot| slot.is_of(key) && slot.login == key.login)?;
        (slot.pid == 0 && !slot.failed && slot.bytes > 0).then(|| slot.values[..slot.bytes as usize].to_vec())
    }

    /// That of this provider, else a free one, else the one not used for longest.
    fn place(&self, key: LoginKey, now: i64) -> usize {
        let known = self.slots.iter().position(|slot| slot.is_of(key));
        let rank =
            |(_, slot): &(usize, &Slot)| (slot.number != 0, slot.pid != 0 && now < slot.until, slot.used_at);
        let best = || self.slots.iter().enumerate().min_by_key(rank).map(|(at, _)| at);
        known.or_else(best).unwrap_or_default()
    }

    /// How many were used since.
    pub fn used_since(&self, since: i64) -> usize {
        self.slots.iter().filter(|slot| slot.number != 0 && slot.used_at > since).count()
    }

    /// `values` None: nothing came of it, and the next session tries.
    pub fn finish(&mut self, key: LoginKey, number: u64, values: Option<&[u8]>, until: i64) {
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.is_of(key) && slot.number == number) else {
            return;
        };
        match values.filter(|values| !values.is_empty() && values.len() <= MAX_BYTES) {
            None => *slot = Slot::FREE,
            Some(values) => {
                slot.values[..values.len()].copy_from_slice(values);
                (slot.bytes, slot.pid, slot.until) = (values.len() as u32, 0, until);
            }
        }
    }

    /// It failed for those who wait for it, too; who comes later tries. What is too long is left out.
    pub fn fail(&mut self, key: LoginKey, number: u64, words: &[u8]) {
        self.finish(key, number, Some(words), 0);
        let such = |slot: &&mut Slot| slot.is_of(key) && slot.number == number && slot.pid == 0;
        self.slots.iter_mut().filter(such).for_each(|slot| slot.failed = true);
    }

    /// Not those of a later login.
    pub fn forget(&mut self, key: LoginKey, number: u64) {
        let such = |slot: &&mut Slot| slot.is_of(key) && slot.number == number && slot.pid == 0;
        self.slots.iter_mut().filter(such).for_each(|slot| *slot = Slot::FREE);
    }

    /// A process is gone that may have been logging in.
    pub fn leave(&mut self, pid: i32) {
        self.slots.iter_mut().filter(|slot| slot.pid == pid).for_each(|slot| *slot = Slot::FREE);
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
