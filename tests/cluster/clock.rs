//! A clock that was ahead for a while, seen by what it left behind.

use crate::support::Stop;
use crate::world::{Beginning, World, enrich, number, sqlstate};

/// The tables of a workspace that used up all of its limits while the clock was `ahead` of the truth.
fn with_ledger_ahead(ahead: &str) -> World {
    let world = World::with(&Beginning { credits: None, plan: "starter", ..Beginning::default() });
    world.cluster.restart(Stop::Fast);
    world.run(&format!(
        "INSERT INTO leadlex.rate_use (id, newest, seconds, day, day_used, lease)
             SELECT '{}', e, array_fill(0, ARRAY[60]) || 10, e / 86400, 10, 0
             FROM (SELECT extract(epoch FROM clock_timestamp() + interval '{ahead}')::int8 AS e) AS at",
        world.workspace
    ));
    world
}

#[test]
fn ledger_of_a_clock_that_was_ahead_lock_a_workspace_for_a_minute_at_most() {
    for ahead in ["1 hour", "100 years"] {
        let world = with_ledger_ahead(ahead);
        let mut caller = world.caller();
        let wait = "SELECT extract(epoch FROM reset - clock_timestamp())::int8 FROM leadlex.rate_limit() WHERE \"window\" = 'minute'";
        let seconds = number(&mut caller, wait);
        assert!((1..=61).contains(&seconds), "{ahead}: {seconds} s");
        let day = "SELECT (reset <= date_trunc('day', now(), 'UTC') + interval '1 day')::int::int8 FROM leadlex.rate_limit() WHERE \"window\" = 'day'";
        assert_eq!(number(&mut caller, day), 1, "{ahead}");
        assert_eq!(sqlstate(&enrich(&mut caller, 1)), "LX429");
        // A new limit applies to what was used, as ever, and not to a time to come.
        world.run("SELECT leadlex.set_rate_limit(per_minute => 20, per_day => 50)");
        enrich(&mut caller, 1).unwrap_or_else(|error| panic!("{ahead}: {error:?}"));
    }
}
