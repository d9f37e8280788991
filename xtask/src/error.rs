//! Errors are texts for the person who typed the command.

use std::fmt::Display;

/// A value, or what went wrong in words for the person who typed the command.
pub type Result<T> = std::result::Result<T, String>;

/// Says what was being done when something failed.
pub trait Context<T> {
    /// `what: the error`.
    fn context(self, what: impl Display) -> Result<T>;
}

impl<T, E: Display> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl Display) -> Result<T> {
        self.map_err(|error| format!("{what}: {error}"))
    }
}
