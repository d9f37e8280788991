//! What builds, starts, tests and measures the extension. `cargo xtask` is its face; the cluster tests use [`postgres`],
//! [`process`] and [`update_script`], too.
#![forbid(unsafe_code)]

pub mod bench;
pub mod check;
pub mod demo;
pub mod error;
pub mod extension;
pub mod postgres;
pub mod process;
pub mod project;
pub mod provider;
pub mod regress;
pub mod release;
pub mod suites;
pub mod terminal;
pub mod update_script;
pub mod watch;
