//! What a call asks, and of whom.

use crate::contact::Contact;
use crate::fields::{FieldMap, FieldSet};
use crate::money::order::Candidate;
use crate::position::Position;
use crate::reply::Origin;
use crate::waterfall::Mode;

/// A provider, as far as the order of the steps depends on it.
#[derive(Clone, Debug)]
pub struct Source {
    pub name: String,
    /// Counts before [`Request::min_confidence`].
    pub min_confidence: Option<f64>,
    /// What decides whether it is the cheapest, in [`Mode::Cheapest`].
    pub candidate: Option<Candidate>,
}

/// What is asked of each contact of a call, and by which rules.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub fields: FieldSet,
    pub overwrite: bool,
    /// Fields that have a column in the table.
    pub mapped: FieldSet,
    /// The setting `leadlex.waterfall`.
    pub mode: Mode,
    /// The setting `leadlex.min_confidence`, from 0 to 1.
    pub min_confidence: f64,
    /// The setting `leadlex.position`.
    pub position: Position,
}

/// A contact that was changed, for the ledger and the history.
#[derive(Clone, Copy)]
pub struct Enrichment<'a> {
    pub updated: FieldSet,
    pub origin: &'a Origin,
    pub origins: &'a FieldMap<Origin>,
    /// What providers answered.
    pub offered: &'a FieldMap<String>,
    pub before: &'a Contact,
    pub after: &'a Contact,
}
