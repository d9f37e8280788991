//! Which roles a role may act as: those whose rights it has, or that it may become.
//!
//! From PostgreSQL 16 on a membership can give neither (WITH INHERIT FALSE, SET FALSE). Each CREATEROLE role is such a member
//! of the roles that it makes.

use pgrx::pg_sys;

/// What pg_has_role is to be asked, so that it means the same for roles that are no superusers.
#[cfg(feature = "pg15")]
pub const ACTS_AS: &str = "MEMBER";
/// The same since PostgreSQL 16.
#[cfg(not(feature = "pg15"))]
pub const ACTS_AS: &str = "USAGE, SET";

/// The memberships of a role. To be a superuser is none.
pub struct Memberships {
    member: pg_sys::Oid,
    #[cfg(not(feature = "pg15"))]
    of_superuser: Option<walk::Reached>,
}

#[cfg(feature = "pg15")]
impl Memberships {
    pub fn of(member: pg_sys::Oid) -> Memberships {
        Memberships { member }
    }

    /// Whether the role is a member in whatever way.
    pub fn act_as(&self, role: pg_sys::Oid) -> bool {
        // SAFETY: a catalog look-up.
        unsafe { pg_sys::is_member_of_role_nosuper(self.member, role) }
    }
}

#[cfg(not(feature = "pg15"))]
impl Memberships {
    pub fn of(member: pg_sys::Oid) -> Memberships {
        // SAFETY: a catalog look-up.
        let is_superuser = unsafe { pg_sys::superuser_arg(member) };
        Memberships { member, of_superuser: is_superuser.then(|| walk::Reached::from(member)) }
    }

    /// Whether the role inherits from `role`, or may SET ROLE to it.
    pub fn act_as(&self, role: pg_sys::Oid) -> bool {
        match &self.of_superuser {
            Some(reached) => reached.includes(role),
            // SAFETY: catalog look-ups.
            None => unsafe {
                pg_sys::has_privs_of_role(self.member, role) || pg_sys::member_can_set_role(self.member, role)
            },
        }
    }
}

/// A role and all that it is a member of in whatever way; none of a role that is gone.
pub fn above(role: pg_sys::Oid) -> Vec<pg_sys::Oid> {
    walk::closure(role, |_| true).into_iter().filter(|role| walk::exists(*role)).collect()
}

/// From one role to those that were granted to it. Of superusers Postgres itself says that they may act as every role.
mod walk {
    use std::collections::HashSet;

    use crate::pg::sys::syscache;
    use pgrx::pg_sys;

    /// What a superuser reaches by its memberships alone.
    #[cfg(not(feature = "pg15"))]
    pub struct Reached {
        inheriting: HashSet<pg_sys::Oid>,
        by_set_role: HashSet<pg_sys::Oid>,
    }

    #[cfg(not(feature = "pg15"))]
    impl Reached {
        /// Looks up what `member` reaches, through any number of memberships.
        pub fn from(member: pg_sys::Oid) -> Reached {
            Reached {
                inheriting: closure(member, |given| given.inherit_option),
                by_set_role: closure(member, |given| given.set_option),
            }
        }

        /// Whether it inherits from `role`, or may SET ROLE to it.
        pub fn includes(&self, role: pg_sys::Oid) -> bool {
            self.inheriting.contains(&role) || self.by_set_role.contains(&role)
        }
    }

    /// As roles_is_member_of in acl.c: the member, and what it reaches by grants that give this.
    pub fn closure(
        member: pg_sys::Oid,
        gives: fn(&pg_sys::FormData_pg_auth_members) -> bool,
    ) -> HashSet<pg_sys::Oid> {
        let database_owner = owner_of_this_database();
        let mut reached = HashSet::from([member]);
        let mut next = vec![member];
        while let Some(role) = next.pop() {
            let mut found = granted(role, gives);
            if role == database_owner {
                found.push(pg_sys::ROLE_PG_DATABASE_OWNER.into());
            }
            next.extend(found.into_iter().filter(|role| reached.insert(*role)));
        }
        reached
    }

    fn granted(
        member: pg_sys::Oid,
        gives: fn(&pg_sys::FormData_pg_auth_members) -> bool,
    ) -> Vec<pg_sys::Oid> {
        let none = pg_sys::Datum::from(0);
        // SAFETY: the rows of the system cache are read while their list is held.
        unsafe {
            let cache = pg_sys::SysCacheIdentifier::AUTHMEMMEMROLE as i32;
            let list = pg_sys::SearchSysCacheList(cache, 1, pg_sys::Datum::from(member), none, none);
            let members = (*list).members.as_slice((*list).n_members as usize);
            let row = |entry: &*mut pg_sys::CatCTup| {
                &*pg_sys::GETSTRUCT(&raw mut (**entry).tuple).cast::<pg_sys::FormData_pg_auth_members>()
            };
            let roles =
                members.iter().map(row).filter(|given| gives(given)).map(|given| given.roleid).collect();
            pg_sys::ReleaseCatCacheList(list);
            roles
        }
    }

    /// Whether the role has not been dropped.
    pub fn exists(role: pg_sys::Oid) -> bool {
        let none = pg_sys::Datum::from(0);
        let cache = pg_sys::SysCacheIdentifier::AUTHOID as i32;
        // SAFETY: a catalog look-up.
        unsafe { pg_sys::SearchSysCacheExists(cache, pg_sys::Datum::from(role), none, none, none) }
    }

    fn owner_of_this_database() -> pg_sys::Oid {
        let cache = pg_sys::SysCacheIdentifier::DATABASEOID;
        let owner = |row: &pg_sys::FormData_pg_database| row.datdba;
        // SAFETY: the rows of this cache.
        unsafe { syscache::row(cache, pg_sys::MyDatabaseId, owner) }.unwrap_or(pg_sys::InvalidOid)
    }
}

/// Runs `work` with a role's rights. When it raises, transaction or subtransaction abort restores the caller.
pub fn as_role<R>(role: pg_sys::Oid, work: impl FnOnce() -> R) -> R {
    with(role, pg_sys::SECURITY_LOCAL_USERID_CHANGE, work)
}

/// As foreign-key triggers write: with the rights of the table's owner, whom row-level security does not keep out.
pub fn as_table_owner<R>(role: pg_sys::Oid, work: impl FnOnce() -> R) -> R {
    with(role, pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_NOFORCE_RLS, work)
}

fn with<R>(role: pg_sys::Oid, flags: u32, work: impl FnOnce() -> R) -> R {
    let mut caller = pg_sys::InvalidOid;
    let mut context = 0;
    // SAFETY: plain reads and writes of the backend's user and context; `work` cannot leave without restoring them,
    // except by an error, after which Postgres itself restores both.
    unsafe {
        pg_sys::GetUserIdAndSecContext(&mut caller, &mut context);
        pg_sys::SetUserIdAndSecContext(role, context | flags as i32);
    }
    let result = work();
    // SAFETY: as above.
    unsafe { pg_sys::SetUserIdAndSecContext(caller, context) };
    result
}

/// The role whose rights apply now.
pub fn caller() -> pg_sys::Oid {
    // SAFETY: reads a global.
    unsafe { pg_sys::GetUserId() }
}

/// The name of a role; its number, when it has been dropped.
pub fn name_of(role: pg_sys::Oid) -> String {
    // SAFETY: a palloc'd name, or null for a role that is gone.
    unsafe {
        let name = pg_sys::GetUserNameFromId(role, true);
        match name.is_null() {
            true => role.to_u32().to_string(),
            false => std::ffi::CStr::from_ptr(name).to_string_lossy().into_owned(),
        }
    }
}

/// The same as SQL has it: quoted where it has to be.
pub fn quoted_name_of(role: pg_sys::Oid) -> String {
    let name = std::ffi::CString::new(name_of(role)).unwrap_or_default();
    // SAFETY: a NUL-terminated name; the result is the same, or palloc'd.
    unsafe { std::ffi::CStr::from_ptr(pg_sys::quote_identifier(name.as_ptr())) }
        .to_string_lossy()
        .into_owned()
}

/// Whether a background worker can be a session of the role: before PostgreSQL 17 it has to be one that may log in.
#[cfg(any(feature = "pg15", feature = "pg16"))]
pub fn can_have_workers(role: pg_sys::Oid) -> bool {
    let may_log_in = |row: &pg_sys::FormData_pg_authid| row.rolcanlogin;
    // Dropped meanwhile: its jobs say so.
    // SAFETY: the rows of this cache.
    unsafe { super::syscache::row(pg_sys::SysCacheIdentifier::AUTHOID, role, may_log_in) }.unwrap_or(true)
}

/// See [`crate::pg::worker`]: from PostgreSQL 17 on they connect as a role that may not log in, too.
#[cfg(not(any(feature = "pg15", feature = "pg16")))]
pub fn can_have_workers(_role: pg_sys::Oid) -> bool {
    true
}

/// The name of a role. Raises 42704 for one that is gone.
pub fn role_name(role: pg_sys::Oid) -> String {
    // SAFETY: a palloc'd name; raises for an unknown role.
    unsafe { std::ffi::CStr::from_ptr(pg_sys::GetUserNameFromId(role, false)) }.to_string_lossy().into_owned()
}
