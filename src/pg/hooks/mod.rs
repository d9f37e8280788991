//! Statements of others that concern us: about whole databases, our schema and tables, EXPLAIN of views, and
//! those that fire our triggers.

pub mod executor;
pub mod explain;
mod stored_caps;
pub mod utility;
