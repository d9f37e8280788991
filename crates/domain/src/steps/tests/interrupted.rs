//! Contacts that come to no answer, or later.

use super::*;

#[test]
fn the_end_at_any_step_gives_back_what_is_reserved() {
    for last in 1..40 {
        let mut world = chain();
        let mut steps = world.steps(&Ask { key: Some(Uuid::nil()), ..ask() });
        for _ in 0..last {
            if steps.step() == Step::Done {
                return;
            }
            let event = world.take(&steps);
            steps.next(event);
        }
        if matches!(steps.step(), Step::Done) {
            continue;
        }
        let raised = Raised { sqlstate: "57014".into(), message: "stopped".into() };
        if steps.next(Event::End(CallOutcome::Raised(raised))) == Step::Release {
            let event = world.take(&steps);
            steps.next(event);
        }
        assert_eq!((steps.step(), world.reserved), (Step::Done, 0), "after {last} steps");
        assert!(matches!(steps.into_outcome().0, CallOutcome::Raised(_)));
    }
    panic!("the call has an end");
}

#[test]
fn a_contact_that_is_put_off_holds_no_credit_and_uses_the_rate_once() {
    let mut world = World::new();
    let mut steps = world.steps(&ask());
    while steps.step() != Step::Ask(0) {
        let event = world.take(&steps);
        steps.next(event);
    }
    assert_eq!(world.reserved, 1);
    assert_eq!(steps.next(Event::Deferred), Step::Release);
    let event = world.take(&steps);
    assert_eq!((steps.next(event), world.reserved), (Step::PutOff, 0));
    while steps.step() != Step::Done {
        let event = world.take(&steps);
        steps.next(event);
    }
    assert_eq!(world.steps.iter().filter(|step| **step == "rate").count(), 1);
    assert_eq!((world.credits, world.reserved), (4, 0));
}

#[test]
fn who_waits_for_the_same_question_recalls_the_answer() {
    let mut world = World::new();
    let mut steps = world.steps(&ask());
    while steps.step() != Step::Ask(0) {
        let event = world.take(&steps);
        steps.next(event);
    }
    assert_eq!(steps.next(Event::Pending), Step::Await(0));
    assert_eq!(steps.next(Event::Over), Step::LookUp(Whom::Found), "somebody may have been listed meanwhile");
    assert_eq!(steps.next(Event::Listed(false)), Step::Recall(0));
    let answered = told(&[(Field::PHONE, "+1 555 0100")]);
    assert_eq!(steps.next(Event::Recalled(Some(ProviderOutcome::Answered(answered)))), Step::Write);
    assert!(world.asked.is_empty());
}
