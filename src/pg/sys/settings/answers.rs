//! Settings that say which answers of providers are used.

use std::ffi::CStr;

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};
use pgrx::pg_sys;

use leadlex_domain::position::Position;
use leadlex_domain::waterfall::Mode;

use super::local::{reset_value, set_local, shown};
use crate::pg::sys::role;

#[derive(Clone, Copy, PostgresGucEnum)]
enum WaterfallMode {
    #[name = c"first_match"]
    FirstMatch,
    #[name = c"fill"]
    Fill,
    #[name = c"cheapest"]
    Cheapest,
}

#[derive(Clone, Copy, PostgresGucEnum)]
enum PositionRule {
    #[name = c"any"]
    Any,
    #[name = c"together"]
    Together,
}

#[derive(Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
enum PendingRule {
    #[name = c"error"]
    Error,
    #[name = c"queue"]
    Queue,
}

#[derive(Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
enum OverwriteScope {
    #[name = c"any"]
    Any,
    #[name = c"own"]
    Own,
}

static OVERWRITE_SCOPE: GucSetting<OverwriteScope> = GucSetting::<OverwriteScope>::new(OverwriteScope::Any);
static WHEN_PENDING: GucSetting<PendingRule> = GucSetting::<PendingRule>::new(PendingRule::Error);
static WATERFALL: GucSetting<WaterfallMode> = GucSetting::<WaterfallMode>::new(WaterfallMode::FirstMatch);
static POSITION: GucSetting<PositionRule> = GucSetting::<PositionRule>::new(PositionRule::Any);
static MIN_CONFIDENCE: GucSetting<f64> = GucSetting::<f64>::new(0.0);

/// What a call that is gone on with later is gone on with.
const OF_A_CALL: [&CStr; 4] =
    [c"leadlex.waterfall", LEAST_CONFIDENCE, c"leadlex.position", c"leadlex.overwrite_scope"];
const LEAST_CONFIDENCE: &CStr = c"leadlex.min_confidence";

/// How this call asks, and what it replaces: `name=value` for each of these settings.
pub fn of_a_call() -> Vec<String> {
    // Texts of Postgres have six digits of a number.
    told(shown, MIN_CONFIDENCE.get())
}

/// The same of calls of this role whose session has set nothing. `None`: it is not the role of this session.
pub fn of_the_role(role: &str) -> Option<Vec<String>> {
    // SAFETY: reads a global.
    let own = unsafe { pg_sys::GetSessionUserId() };
    (role::name_of(own) == role)
        .then(|| told(reset_value, reset_value(LEAST_CONFIDENCE).parse().unwrap_or_default()))
}

fn told(value: impl Fn(&CStr) -> String, confidence: f64) -> Vec<String> {
    let value = |name: &CStr| if name == LEAST_CONFIDENCE { confidence.to_string() } else { value(name) };
    OF_A_CALL.iter().map(|name| format!("{}={}", name.to_string_lossy(), value(name))).collect()
}

/// Goes on as a call did, until this transaction ends: with what [`of_a_call`] said of it. Other settings are left.
pub fn go_on_as(settings: &[String]) {
    for (name, value) in settings.iter().filter_map(|setting| setting.split_once('=')) {
        if let Some(known) = OF_A_CALL.iter().find(|known| known.to_bytes() == name.as_bytes()) {
            set_local(known, value);
        }
    }
}

/// leadlex.waterfall, and leadlex.min_confidence from 0 to 1.
pub fn waterfall() -> (Mode, f64) {
    let mode = match WATERFALL.get() {
        WaterfallMode::FirstMatch => Mode::FirstMatch,
        WaterfallMode::Fill => Mode::Fill,
        WaterfallMode::Cheapest => Mode::Cheapest,
    };
    (mode, MIN_CONFIDENCE.get())
}

/// Whether title and seniority must be of the company that a contact keeps.
pub fn position() -> Position {
    match POSITION.get() {
        PositionRule::Any => Position::Any,
        PositionRule::Together => Position::Together,
    }
}

/// leadlex.overwrite_scope: whether only values are replaced that an enrichment wrote.
pub fn overwrites_own_only() -> bool {
    OVERWRITE_SCOPE.get() == OverwriteScope::Own
}

/// leadlex.when_pending: whether the queue asks again for an answer that comes later.
pub fn queues_pending() -> bool {
    WHEN_PENDING.get() == PendingRule::Queue
}

pub fn define() {
    GucRegistry::define_enum_guc(
        c"leadlex.overwrite_scope",
        c"own: overwrite replaces only values that an enrichment wrote and that were not changed since.",
        c"any: it replaces whatever stands there.",
        &OVERWRITE_SCOPE,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"leadlex.when_pending",
        c"queue: a call whose answer comes later queues the rest of it for the caller.",
        c"error: a call that has nothing by then is LX503, reason pending.",
        &WHEN_PENDING,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"leadlex.waterfall",
        c"first_match stops at the first provider with data, fill goes on until every wanted field is filled.",
        c"cheapest: as fill, in rising order of what a wanted field is expected to cost.",
        &WATERFALL,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"leadlex.position",
        c"together: job title and seniority are written only beside the company that they are of.",
        c"any: what one call fills in is of one company, whatever company the contact had before.",
        &POSITION,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_float_guc(
        c"leadlex.min_confidence",
        c"Answers with a lower score (0 to 1) count as no match.",
        c"An answer without a score counts as 0.",
        &MIN_CONFIDENCE,
        0.0,
        1.0,
        GucContext::Userset,
        GucFlags::default(),
    );
}
