//! People as they are: one normal form for each value that says who somebody is, and what is no value.
//!
//! Nothing in here knows Postgres, reads a file or compiles an expression when it is first used: each of hundreds of
//! backends would pay for that. The lists are texts in the library, searched where they stand.

pub mod company;
pub mod email;
mod host;
pub mod linkedin;
mod list;
pub mod mentions;
pub mod name;
pub mod phone;
pub mod seniority;
pub mod stand_in;
pub mod text;
pub mod value;

/// What settings say about values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Whether `.test` and `.example` count as real (`leadlex.allow_private_addresses`).
    pub reserved_domains: bool,
}
