//! The order of the contract, seen by a world that writes down what it is asked for.

mod interrupted;
mod situations;
mod turns;

use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::ask::Ask;
use crate::call_error::Code;
use crate::fields::{Field, FieldMap};
use crate::position::Position;
use crate::provider::{Fault, FaultKind, Verdict};
use crate::reply::Origin;

/// What surrounds one contact.
#[derive(Clone)]
struct World {
    steps: Vec<&'static str>,
    contact: Option<Contact>,
    stored: Option<Vec<u8>>,
    update_denied: bool,
    rate_closed: bool,
    credits: i64,
    reserved: i64,
    verdict: Verdict,
    /// A trigger of the table keeps the old values.
    keeps_old: bool,
    /// A constraint of the table refuses them.
    refused: FieldSet,
    /// It did before, what the first vendor is remembered to have.
    refused_before: FieldSet,
    suppressed: bool,
    /// What a second vendor says.
    second: Option<Verdict>,
    mode: Mode,
    /// What the vendors were asked about.
    asked: Vec<Contact>,
    /// Of somebody who must not be asked about.
    listed_profile: Option<&'static str>,
    /// What the contact has when it is written.
    typed: FieldMap<String>,
}

impl World {
    fn new() -> World {
        let values = [(Field::PHONE, "+1 555 0100".to_owned())].into_iter().collect();
        World {
            steps: Vec::new(),
            contact: Some(Contact { id: "7".into(), ..Contact::default() }),
            stored: None,
            update_denied: false,
            rate_closed: false,
            credits: 5,
            reserved: 0,
            verdict: Verdict::Match { values, confidence: Some(0.9) },
            keeps_old: false,
            refused: FieldSet::EMPTY,
            refused_before: FieldSet::EMPTY,
            suppressed: false,
            second: None,
            mode: Mode::Fill,
            asked: Vec::new(),
            listed_profile: None,
            typed: FieldMap::default(),
        }
    }

    fn steps(&self, ask: &Ask) -> Steps {
        let steps = Steps::new(
            Request {
                fields: ask.fields,
                overwrite: ask.overwrite,
                mapped: FieldSet::ALL,
                mode: self.mode,
                min_confidence: 0.0,
                position: Position::Together,
            },
            &ask.id,
        );
        match ask.key {
            Some(_) => steps.keyed(vec![ask.fingerprint("public.crm", &ask.id)]),
            None => steps,
        }
    }

    fn call(&mut self, ask: &Ask) -> Result<(FieldSet, Option<Origin>), Failure> {
        self.steps.clear();
        let mut steps = self.steps(ask);
        while steps.step() != Step::Done {
            let event = self.take(&steps);
            steps.next(event);
        }
        assert_eq!(self.reserved, 0, "every reservation is spent or released");
        match steps.into_outcome().0 {
            CallOutcome::Enriched { updated, origin, .. } => Ok((updated, Some(origin))),
            CallOutcome::Unchanged(origin) => Ok((FieldSet::EMPTY, origin)),
            CallOutcome::Failed(failure) => Err(failure),
            other => panic!("{other:?}"),
        }
    }

    /// Does what the step says.
    fn take(&mut self, steps: &Steps) -> Event {
        let step = steps.step();
        self.steps.push(match step {
            Step::Peek => "peek",
            Step::ClaimKey => "claim key",
            Step::Claim => "claim",
            Step::Read => "read",
            Step::Access => "access",
            Step::Providers => "providers",
            Step::LookUp(_) => "suppressed",
            Step::UseRate => "rate",
            Step::Reserve => "reserve",
            Step::Recall(_) => "recall",
            Step::Ask(_) => "ask",
            Step::Await(_) => "await",
            Step::PutOff => "put off",
            Step::Write => "write",
            Step::Charge => "charge",
            Step::Release => "release",
            Step::Done => "done",
        });
        match step {
            Step::Peek => Event::Seen(self.contact.is_some()),
            Step::ClaimKey => {
                let stored = self.stored.clone();
                Event::Kept(
                    stored.map(|fingerprint| Stored { fingerprint, result: json!({"source": "then"}) }),
                )
            }
            Step::Claim => Event::Claimed,
            Step::Read => Event::Found(self.contact.clone().map_or(Row::Missing, |c| Row::One(c.into()))),
            Step::Access => Event::Allowed(!self.update_denied),
            Step::Providers => {
                let names = ["vendor", "second"].into_iter().take(1 + usize::from(self.second.is_some()));
                Event::Providers(
                    names
                        .map(|name| Source { name: name.to_owned(), min_confidence: None, candidate: None })
                        .collect(),
                )
            }
            Step::LookUp(_) => Event::Listed(self.is_listed(&steps.whom())),
            Step::UseRate if self.rate_closed => {
                Event::RateLimited(Window { limit: 50, remaining: 0, reset: 60 }, 47)
            }
            Step::UseRate => Event::Admitted,
            Step::Reserve => {
                let there = self.credits > 0;
                self.reserved += i64::from(there);
                Event::Reserved(there)
            }
            Step::Recall(_) => Event::Recalled(None),
            Step::Ask(at) => Event::Answered(self.answer(at, steps)),
            Step::Await(_) => Event::Over,
            Step::PutOff => Event::Resumed,
            Step::Write => Event::Written(Some(self.write(steps).into())),
            Step::Charge => {
                assert!(!steps.enrichment().updated.is_empty());
                self.reserved -= 1;
                self.credits -= 1;
                Event::Charged
            }
            Step::Release => {
                self.reserved -= 1;
                Event::Released
            }
            Step::Done => unreachable!(),
        }
    }

    fn is_listed(&self, contact: &Contact) -> bool {
        let profile = contact.value(Field::LINKEDIN_URL);
        self.suppressed || (profile.is_some() && profile == self.listed_profile)
    }

    fn answer(&mut self, at: usize, steps: &Steps) -> ProviderOutcome {
        self.asked.push(steps.known().into_owned());
        match self.second.clone().filter(|_| at == 1) {
            Some(second) => ProviderOutcome::Answered(second),
            None => ProviderOutcome::Again {
                answered: crate::answered::Answered::Before(1),
                fills: FieldSet::ALL,
                refused: self.refused_before,
                verdict: self.verdict.clone(),
            },
        }
    }

    fn write(&self, steps: &Steps) -> Written {
        let (gathered, overwrite) = (steps.gathered(), steps.request.overwrite);
        let mut after = steps.contact().clone();
        // Somebody has typed it in since the contact was read.
        self.typed.iter().for_each(|(field, value)| after.values.set(field, value.clone()));
        let before = after.clone();
        let mut changes = merge::changes(&after, &gathered.values, steps.fields(), overwrite);
        self.refused.iter().for_each(|field| changes.unset(field));
        let (changes, apart) = gathered.post.fitting(&after, changes);
        if !self.keeps_old {
            changes.iter().for_each(|(field, value)| after.values.set(field, value.clone()));
        }
        Written { before, after, rejected: self.refused, apart }
    }
}

fn ask() -> Ask {
    Ask { id: "7".into(), fields: FieldSet::ALL, overwrite: false, key: None }
}

fn reason(failure: &Failure) -> String {
    failure.detail()["reason"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn the_steps_stand_in_the_order_of_the_contract() {
    let mut world = World::new();
    let (updated, origin) = world.call(&Ask { key: Some(Uuid::nil()), ..ask() }).unwrap();
    let expected = [
        "peek",
        "claim key",
        "claim",
        "read",
        "access",
        "providers",
        "suppressed",
        "rate",
        "reserve",
        "suppressed",
        "recall",
        "ask",
        "write",
        "charge",
    ];
    assert_eq!(world.steps, expected);
    assert_eq!(updated.names(), ["phone"]);
    assert_eq!(
        origin,
        Some(Origin {
            source: "vendor".into(),
            confidence: Some(0.9),
            answered: crate::answered::Answered::Before(1),
        })
    );
    assert_eq!(world.credits, 4);
}

#[test]
fn what_is_refused_early_costs_nothing_and_asks_no_provider() {
    let refused = |change: fn(&mut World)| {
        let mut world = World::new();
        change(&mut world);
        let failure = world.call(&ask()).unwrap_err();
        assert!(world.asked.is_empty(), "{:?}", world.steps);
        (failure.code, world.steps.contains(&"rate"))
    };
    assert_eq!(refused(|w| w.contact = None), (Code::NotFound, false));
    assert_eq!(refused(|w| w.suppressed = true), (Code::NoMatch, false));
    assert_eq!(refused(|w| w.rate_closed = true), (Code::RateLimited, true));
    assert_eq!(refused(|w| w.credits = 0), (Code::InsufficientCredits, true));
}

#[test]
fn rights_are_asked_for_before_the_list() {
    let mut world = World { suppressed: true, update_denied: true, ..World::new() };
    let mut steps = world.steps(&ask());
    while steps.step() != Step::Done {
        let event = world.take(&steps);
        steps.next(event);
    }
    assert!(matches!(steps.into_outcome(), (CallOutcome::UpdateDenied, Some(_))));
    assert_eq!(world.steps, ["claim", "read", "access"]);
}

#[test]
fn nothing_to_fill_ends_before_rights_and_rate() {
    let mut world = World::new();
    let held = |field| match field {
        Field::PHONE => "+12025550123",
        Field::LINKEDIN_URL => "https://www.linkedin.com/in/jane-example",
        _ => "x",
    };
    let full = Field::all().map(|f| (f, held(f).to_owned())).collect();
    world.contact = Some(Contact { id: "7".into(), values: full, ..Contact::default() });
    assert_eq!(world.call(&ask()).unwrap(), (FieldSet::EMPTY, None));
    assert_eq!(world.steps, ["claim", "read"]);
}

#[test]
fn a_replay_asks_and_charges_nothing_and_other_arguments_are_a_mismatch() {
    let keyed = Ask { key: Some(Uuid::nil()), ..ask() };
    let mut world = World::new();
    world.stored = Some(keyed.fingerprint("public.crm", &keyed.id).to_vec());
    let mut steps = world.steps(&keyed);
    while steps.step() != Step::Done {
        let event = world.take(&steps);
        steps.next(event);
    }
    let (outcome, _) = steps.into_outcome();
    assert!(matches!(outcome, CallOutcome::Replayed(result) if result == json!({"source": "then"})));
    assert_eq!(world.steps, ["peek", "claim key"]);
    let failure = world.call(&Ask { overwrite: true, ..keyed }).unwrap_err();
    assert_eq!(failure.code, Code::IdempotencyMismatch);
    assert_eq!(world.steps, ["peek", "claim key"]);
}

#[test]
fn failure_no_match_and_no_change_give_the_credit_back() {
    let outcome = |change: fn(&mut World)| {
        let mut world = World::new();
        change(&mut world);
        let result = world.call(&ask());
        assert_eq!((world.credits, world.steps.last()), (5, Some(&"release")));
        result.map_err(|failure| failure.code)
    };
    let down = |w: &mut World| w.verdict = Verdict::Failed(Fault::new(FaultKind::Timeout, "no answer"));
    assert_eq!(outcome(down).unwrap_err(), Code::ProviderUnavailable);
    assert_eq!(outcome(|w| w.verdict = Verdict::NoMatch).unwrap_err(), Code::NoMatch);
    let (updated, origin) = outcome(|w| w.keeps_old = true).unwrap();
    assert_eq!((updated, origin.unwrap().source.as_ref()), (FieldSet::EMPTY, "vendor"));
}

#[test]
fn what_the_table_refuses_costs_nothing_and_is_told_where_nothing_is_left() {
    let mut world = World::new();
    world.refused.insert(Field::PHONE);
    let failure = world.call(&ask()).unwrap_err();
    assert_eq!((failure.code, reason(&failure).as_str()), (Code::NoMatch, "table_refuses"));
    assert_eq!((world.credits, world.steps.contains(&"charge")), (5, false));
    let values = [(Field::PHONE, "+1 555 0100".to_owned()), (Field::LOCATION, "Oslo".to_owned())];
    world.verdict = Verdict::Match { values: values.into_iter().collect(), confidence: None };
    assert_eq!(world.call(&ask()).unwrap().0.names(), ["location"], "the others are written");
}

/// A refused company stays, and with it what stands beside it.
#[test]
fn beside_a_refused_company_nothing_of_the_position_is_written() {
    let position = [(Field::JOB_TITLE, "CEO".to_owned()), (Field::COMPANY_NAME, "Other Inc".to_owned())];
    for (refused, typed, expected) in [
        (Field::COMPANY_NAME, Some("Acme"), Err("table_refuses")),
        (Field::COMPANY_NAME, None, Ok(vec!["job_title"])),
        (Field::JOB_TITLE, Some("Acme"), Ok(vec!["company_name"])),
    ] {
        let mut world = World::new();
        world.verdict = Verdict::Match { values: position.clone().into_iter().collect(), confidence: None };
        typed.into_iter().for_each(|company| world.typed.set(Field::COMPANY_NAME, company.to_owned()));
        world.refused.insert(refused);
        let result = world.call(&Ask { overwrite: true, ..ask() });
        let told = result.map(|(updated, _)| updated.names()).map_err(|failure| reason(&failure));
        assert_eq!(told, expected.map_err(str::to_owned), "{refused} {typed:?}");
    }
}

#[test]
fn what_the_table_refused_before_identifies_for_nobody_but_the_list() {
    let mut world = World::new();
    let values = [(Field::LINKEDIN_URL, FOUND.to_owned())].into_iter().collect();
    world.verdict = Verdict::Match { values, confidence: None };
    let values = [(Field::PHONE, "+12025550123".to_owned())].into_iter().collect();
    world.second = Some(Verdict::Match { values, confidence: None });
    world.refused_before.insert(Field::LINKEDIN_URL);
    let (updated, _) = world.call(&ask()).unwrap();
    assert_eq!(updated.names(), ["linkedin_url", "phone"], "it is tried again");
    assert_eq!(profiles_asked_with(&world), [None, None]);
    // That person is on the list: no other provider is asked.
    (world.asked, world.listed_profile) = (Vec::new(), Some(FOUND));
    let failure = world.call(&ask()).unwrap_err();
    assert_eq!(failure.no_match_reason(), Some((NoMatchReason::Suppressed, false)));
    assert_eq!(world.asked.len(), 1);
}

const FOUND: &str = "https://www.linkedin.com/in/found";

fn told(values: &[(Field, &str)]) -> Verdict {
    let values = values.iter().map(|(field, value)| (*field, (*value).to_owned())).collect();
    Verdict::Match { values, confidence: Some(0.9) }
}

/// A first vendor that finds the profile, and a second that finds the phone.
fn chain() -> World {
    let mut world = World::new();
    world.verdict = told(&[(Field::LINKEDIN_URL, FOUND), (Field::LOCATION, "Oslo")]);
    world.second = Some(told(&[(Field::PHONE, "+1 555 0100")]));
    world
}

fn profiles_asked_with(world: &World) -> Vec<Option<&str>> {
    world.asked.iter().map(|contact| contact.value(Field::LINKEDIN_URL)).collect()
}

#[test]
fn the_next_vendor_is_asked_with_what_the_last_one_found() {
    let mut world = chain();
    let (updated, _) = world.call(&ask()).unwrap();
    assert_eq!(profiles_asked_with(&world), [None, Some(FOUND)]);
    assert_eq!(world.asked[1].value(Field::LOCATION), Some("Oslo"));
    assert_eq!(updated.names(), ["linkedin_url", "phone", "location"]);
    assert_eq!(world.credits, 4, "one call, one credit");
}

#[test]
fn only_what_would_be_written_identifies() {
    let stored = "https://www.linkedin.com/in/stored";
    let with_profile = || {
        let mut world = chain();
        world.contact.as_mut().unwrap().values.set(Field::LINKEDIN_URL, stored.to_owned());
        world
    };
    let mut world = with_profile();
    world.call(&ask()).unwrap();
    assert_eq!(profiles_asked_with(&world), [Some(stored), Some(stored)], "what is stored stays");
    let mut world = with_profile();
    world.call(&Ask { overwrite: true, ..ask() }).unwrap();
    assert_eq!(profiles_asked_with(&world), [Some(stored), Some(FOUND)], "it replaces what is stored");
    let mut world = chain();
    world.call(&Ask { fields: FieldSet::from_iter([Field::LOCATION, Field::PHONE]), ..ask() }).unwrap();
    assert_eq!(profiles_asked_with(&world), [None, None], "nobody wants the profile");
}

#[test]
fn a_found_profile_that_is_on_the_list_ends_the_call() {
    let mut world = chain();
    world.listed_profile = Some(FOUND);
    let failure = world.call(&ask()).unwrap_err();
    assert_eq!(failure.no_match_reason(), Some((NoMatchReason::Suppressed, false)));
    assert_eq!((world.asked.len(), world.credits), (1, 5), "the second is not asked");
    assert!(!world.steps.contains(&"write"), "what the first said is not written");
    // Also where no other would be asked.
    let mut world = chain();
    (world.listed_profile, world.second) = (Some(FOUND), None);
    let failure = world.call(&ask()).unwrap_err();
    assert_eq!(failure.no_match_reason(), Some((NoMatchReason::Suppressed, false)));
    assert!(!world.steps.contains(&"write"));
}

#[test]
fn a_position_at_another_company_than_was_typed_in_meanwhile_is_no_match() {
    let title = (Field::JOB_TITLE, "CEO".to_owned());
    for (values, typed, expected) in [
        (vec![title.clone(), (Field::COMPANY_NAME, "Other".to_owned())], "Acme", None),
        (vec![title.clone()], "Acme", None),
        (vec![title.clone(), (Field::COMPANY_NAME, "ACME Ltd".to_owned())], "Acme", Some(vec!["job_title"])),
        (vec![title.clone(), (Field::PHONE, "+1 555 0100".to_owned())], "Acme", Some(vec!["phone"])),
    ] {
        let mut world = World::new();
        world.verdict = Verdict::Match { values: values.into_iter().collect(), confidence: None };
        world.typed.set(Field::COMPANY_NAME, typed.to_owned());
        match (world.call(&ask()), expected) {
            (Ok((updated, _)), Some(fields)) => assert_eq!(updated.names(), fields),
            (Err(failure), None) => {
                assert_eq!((failure.code, reason(&failure).as_str()), (Code::NoMatch, "other_company"));
                assert_eq!(world.credits, 5, "nothing is charged");
            }
            (result, expected) => panic!("{result:?} {expected:?}"),
        }
    }
}

#[test]
fn the_next_vendor_is_asked_only_for_what_is_missing() {
    for (mode, verdict, asked) in [
        (Mode::Fill, told(&[(Field::LOCATION, "Oslo")]), 2),
        (Mode::FirstMatch, told(&[(Field::LOCATION, "Oslo")]), 1),
        (Mode::FirstMatch, Verdict::NoMatch, 2),
        (Mode::Fill, told(&[(Field::LOCATION, "Oslo"), (Field::PHONE, "+1 555 0100")]), 1),
    ] {
        let mut world = World { verdict, mode, ..chain() };
        let fields = FieldSet::from_iter([Field::LOCATION, Field::PHONE]);
        world.call(&Ask { fields, ..ask() }).unwrap();
        assert_eq!(world.asked.len(), asked, "{mode:?}");
    }
}
