//! People as they are: what identifies a person, and what is no value.

pub mod name;
