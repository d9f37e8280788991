//! One contact alone, in a set and in the estimate, in the same random situations.

use proptest::prelude::*;

use super::*;
use crate::estimate::{EstimateOutcome, Why};

/// A world, what of its providers' answers is remembered, and what makes a set's contact wait.
#[derive(Clone, Debug)]
struct Situation {
    contact: Option<Vec<Field>>,
    fields: Vec<Field>,
    overwrite: bool,
    update_denied: bool,
    suppressed: bool,
    profile_listed: bool,
    rate_closed: bool,
    credits: i64,
    verdicts: [u8; 2],
    two: bool,
    first_match: bool,
    recalled: [bool; 2],
    /// What comes of asking in a set before the answer does: nothing, pending, again, deferred.
    delays: [u8; 2],
}

fn situations() -> impl Strategy<Value = Situation> {
    let field = || prop::sample::select(Field::all().collect::<Vec<_>>());
    let rare = || prop::bool::weighted(0.1);
    (
        (
            prop::option::weighted(0.95, prop::collection::vec(field(), 0..7)),
            prop::collection::vec(field(), 1..7),
            any::<bool>(),
            rare(),
            rare(),
            rare(),
        ),
        (rare(), 0..6_i64, any::<[u8; 2]>(), any::<[bool; 2]>(), any::<[bool; 2]>(), any::<[u8; 2]>()),
    )
        .prop_map(|(first, second)| {
            let (contact, fields, overwrite, update_denied, suppressed, profile_listed) = first;
            let (rate_closed, credits, verdicts, [two, first_match], recalled, delays) = second;
            Situation {
                contact,
                fields,
                overwrite,
                update_denied,
                suppressed,
                profile_listed,
                rate_closed,
                credits,
                verdicts,
                two,
                first_match,
                recalled,
                delays,
            }
        })
}

fn value(field: Field, which: u8) -> String {
    match field {
        Field::PHONE => format!("+1202555012{}", which % 10),
        Field::LINKEDIN_URL if which == 0 => FOUND.to_owned(),
        Field::LINKEDIN_URL => format!("https://www.linkedin.com/in/jane-{which}"),
        Field::COMPANY_NAME => "Acme".to_owned(),
        other => format!("{other} {which}"),
    }
}

fn verdict(seed: u8) -> Verdict {
    match seed % 8 {
        0 => Verdict::NoMatch,
        1 => Verdict::Failed(Fault::new(FaultKind::Timeout, "no answer")),
        2 => Verdict::OtherPerson(FieldSet::ALL),
        3 if seed > 200 => Verdict::Suppressed,
        _ => {
            let values = Field::all().enumerate().filter(|(at, _)| seed >> 2 & (1 << at) != 0);
            Verdict::Match { values: values.map(|(_, f)| (f, value(f, 0))).collect(), confidence: None }
        }
    }
}

impl Situation {
    fn world(&self) -> World {
        let contact = self.contact.as_ref().map(|fields| Contact {
            id: "7".into(),
            values: fields.iter().map(|field| (*field, value(*field, 1))).collect(),
            ..Contact::default()
        });
        World {
            contact,
            update_denied: self.update_denied,
            suppressed: self.suppressed,
            listed_profile: self.profile_listed.then_some(FOUND),
            rate_closed: self.rate_closed,
            credits: self.credits,
            verdict: verdict(self.verdicts[0]),
            second: self.two.then(|| verdict(self.verdicts[1])),
            mode: if self.first_match { Mode::FirstMatch } else { Mode::Fill },
            ..World::new()
        }
    }

    fn ask(&self) -> Ask {
        Ask { fields: self.fields.iter().copied().collect(), overwrite: self.overwrite, ..ask() }
    }

    /// What is remembered needs no request.
    fn take(&self, world: &mut World, steps: &Steps) -> Event {
        match steps.step() {
            Step::Recall(at) if self.recalled[at] => {
                let outcome = world.answer(at, steps);
                world.asked.pop();
                Event::Recalled(Some(outcome))
            }
            _ => world.take(steps),
        }
    }
}

/// What is compared: the outcome, the credits left, and the providers' requests.
fn told(steps: Steps, world: &World) -> (String, i64, usize) {
    assert_eq!(world.reserved, 0, "every reservation is spent or released");
    (format!("{:?}", steps.into_outcome()), world.credits, world.asked.len())
}

fn alone(situation: &Situation) -> (String, i64, usize, EstimateOutcome) {
    let mut world = situation.world();
    let mut steps = world.steps(&situation.ask());
    while steps.step() != Step::Done {
        let event = situation.take(&mut world, &steps);
        steps.next(event);
    }
    let outcome = EstimateOutcome::of(steps.outcome().unwrap());
    let (told, credits, requests) = told(steps, &world);
    (told, credits, requests, outcome)
}

/// All contacts whose step is the same do it in one round. Answers come when all others have nothing to do.
fn together(situations: &[Situation]) -> Vec<(String, i64, usize)> {
    let mut members: Vec<_> = situations
        .iter()
        .map(|situation| {
            let world = situation.world();
            (world.steps(&situation.ask()), world, situation.delays, situation)
        })
        .collect();
    let is_late = |steps: &Steps| matches!(steps.step(), Step::Ask(_) | Step::Await(_) | Step::PutOff);
    loop {
        let early = members.iter().position(|(s, ..)| s.step() != Step::Done && !is_late(s));
        let late = || members.iter().rposition(|(s, ..)| s.step() != Step::Done);
        let Some(first) = early.or_else(late) else { break };
        let step = members[first].0.step();
        for (steps, world, delays, situation) in members.iter_mut().filter(|(s, ..)| s.step() == step) {
            let event = match steps.step() {
                Step::Ask(at) => match std::mem::take(&mut delays[at]) % 4 {
                    0 => situation.take(world, steps),
                    1 => Event::Pending,
                    2 => Event::Again,
                    _ => Event::Deferred,
                },
                _ => situation.take(world, steps),
            };
            steps.next(event);
        }
    }
    members.into_iter().map(|(steps, world, ..)| told(steps, &world)).collect()
}

fn estimated(situation: &Situation) -> EstimateOutcome {
    let mut world = situation.world();
    let ask = situation.ask();
    let mut steps = world.steps(&ask);
    loop {
        match steps.step() {
            Step::Ask(_) => return EstimateOutcome::Asked,
            Step::Write => {
                let (contact, gathered) = (steps.contact(), steps.gathered());
                return EstimateOutcome::of_offer(contact, gathered, steps.fields(), ask.overwrite);
            }
            Step::Done => return EstimateOutcome::of(steps.outcome().unwrap()),
            _ => {
                let event = situation.take(&mut world, &steps);
                steps.next(event);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn a_contact_comes_to_the_same_alone_in_a_set_and_in_the_estimate(
        situations in prop::collection::vec(situations(), 1..6)
    ) {
        let set = together(&situations);
        for (situation, in_set) in situations.iter().zip(set) {
            let (told, credits, requests, outcome) = alone(situation);
            prop_assert_eq!(&in_set, &(told.clone(), credits, requests));
            let estimated = estimated(situation);
            match estimated {
                EstimateOutcome::Asked => prop_assert!(requests > 0, "{}", told),
                EstimateOutcome::Answered => {
                    prop_assert!(requests == 0 && credits == situation.credits - 1, "{}", told);
                }
                EstimateOutcome::AnsweredTheSame | EstimateOutcome::Skipped(Why::OtherCompany | Why::NoData) => {
                    prop_assert!(requests == 0 && credits == situation.credits, "{}", told);
                }
                other => prop_assert_eq!((requests, other), (0, outcome), "{}", told),
            }
        }
    }
}
