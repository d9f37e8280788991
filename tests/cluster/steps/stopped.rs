//! leadlex.stop() between handing in and asking.

use std::time::Duration;

use serde_json::json;

use super::vendor::{POLL, Ready, world_with};
use super::{SOON, wait_for_tickets};
use crate::support::eventually;
use crate::world::{Beginning, contact, enrich, try_enrich};

/// The time in which nothing may be sent does not count toward `poll_for_s`.
#[test]
fn an_answer_that_comes_later_is_waited_for_as_long_as_ever() {
    let ready = Ready::After(Duration::from_secs(4));
    let (world, slow) = world_with(ready, json!({"poll_for_s": 3}), &Beginning::default());
    let mut caller = world.caller();
    world.cluster.set("leadlex.total_timeout", "200ms");
    let first = try_enrich(&mut caller, 1);
    assert_eq!(first["error"]["reason"], "pending", "{first}");
    wait_for_tickets(&world, 1);
    world.caller().query_one("SELECT leadlex.enqueue(ARRAY[$1::uuid])", &[&contact(2)]).unwrap();
    wait_for_tickets(&world, 2);
    world.run("SELECT leadlex.stop('for a while')");
    std::thread::sleep(Duration::from_millis(500));
    let polls = world.provider.count_of(POLL);
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(try_enrich(&mut caller, 1)["error"]["reason"], "stopped");
    assert_eq!((world.provider.count_of(POLL), slow.submissions()), (polls, 2));
    world.run("SELECT leadlex.resume()");
    world.cluster.set("leadlex.total_timeout", "10s");
    assert_eq!(enrich(&mut caller, 1).unwrap()["fields_updated"], json!(["phone"]));
    eventually("the job is done", SOON, || {
        world.number("SELECT count(*) FROM leadlex.job WHERE state = 'done' AND outcome = 'enriched'") == 1
    });
    assert_eq!(slow.submissions(), 2, "nothing was handed in again");
}
