//! Statements of others that concern us: about whole databases, our schema and tables, and EXPLAIN of views.

pub mod explain;
mod stored_caps;
pub mod utility;
