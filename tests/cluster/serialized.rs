//! What is returned and stored as jsonb is made without text: it is the jsonb that Postgres itself makes of that text.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value};

use crate::support::fails;
use crate::world::World;

const SERIALIZED: &str = "CREATE FUNCTION public.serialized(text) RETURNS jsonb LANGUAGE c STRICT AS 'leadlex_enrich', 'serialized_wrapper'";

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        // serde_json reads those of more digits to within one unit of the last place.
        (any::<i16>(), 0..12)
            .prop_map(|(number, bits)| Value::from(f64::from(number) / f64::from(bits).exp2())),
        (0..=1000u32).prop_map(|score| Value::from(f64::from(score) / 1000.0)),
        "[^\0]{0,12}".prop_map(Value::from),
        "[a-z]{2000,3000}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 60, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::vec(("[^\0]{0,6}", inner), 0..8)
                .prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

#[test]
fn jsonb_is_what_postgres_makes_of_the_text() {
    let world = World::new();
    world.run(SERIALIZED);
    let client = std::cell::RefCell::new(world.owner());
    let mut runner = TestRunner::new(Config { cases: 400, failure_persistence: None, ..Config::default() });
    let same = "SELECT serialized($1)::text, $1::jsonb::text, pg_column_size(serialized($1)) = pg_column_size($1::jsonb)";
    let checked = runner.run(&values(), |value| {
        let row = client.borrow_mut().query_one(same, &[&value.to_string()]).unwrap();
        prop_assert_eq!(row.get::<_, String>(0), row.get::<_, String>(1));
        prop_assert!(row.get::<_, bool>(2), "{}", value);
        Ok(())
    });
    checked.unwrap();
}

#[test]
fn what_jsonb_cannot_hold_is_refused_in_postgres_own_words() {
    let world = World::new();
    world.run(SERIALIZED);
    let mut client = world.owner();
    for (json, code) in
        [(r#"{"a":"\u0000"}"#, "22P05"), (r#"{"\u0000":1}"#, "22P05"), (r#"["x",["\u0000"]]"#, "22P05")]
    {
        assert_eq!(fails(client.query_one("SELECT serialized($1)", &[&json])).sqlstate, code, "{json}");
    }
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(2 * 1024 * 1024));
    let kept: i32 = client.query_one("SELECT length(serialized($1)->>'a')", &[&long]).unwrap().get(0);
    assert_eq!(kept, 2 * 1024 * 1024);
}
