use super::*;
use crate::provider::{Fault, FaultKind};

const NOW: i64 = 1_700_000_000_000_000;
const HOUR: i64 = 3_600_000_000;
const TERMS: Terms = Terms { ttl_us: 24 * HOUR, recheck_us: 720 * HOUR };
const KNOWN: Hash = [1; 16];

fn set(fields: &[Field]) -> FieldSet {
    fields.iter().copied().collect()
}

fn matched(age: i64) -> Receipt {
    let values = [(Field::PHONE, "+1".to_owned())].into_iter().collect();
    let verdict = Verdict::Match { values, confidence: Some(0.9) };
    let fills = set(&[Field::PHONE, Field::LOCATION]);
    Receipt::new(&verdict, fills, KNOWN, NOW - age).unwrap()
}

fn nothing(age: i64) -> Receipt {
    Receipt::new(&Verdict::NoMatch, set(&[Field::PHONE]), KNOWN, NOW - age).unwrap()
}

fn values(verdict: Option<Verdict>) -> Option<Vec<&'static str>> {
    match verdict? {
        Verdict::Match { values, .. } => Some(values.fields().names()),
        Verdict::NoMatch => None,
        Verdict::Suppressed | Verdict::OtherPerson(_) | Verdict::Failed(_) => panic!("that is never kept"),
    }
}

#[test]
fn a_failure_is_no_answer() {
    let verdict = Verdict::Failed(Fault::new(FaultKind::Timeout, "late"));
    assert_eq!(Receipt::new(&verdict, FieldSet::ALL, KNOWN, NOW), None);
    assert_eq!(Receipt::new(&Verdict::Suppressed, FieldSet::ALL, KNOWN, NOW), None);
}

#[test]
fn an_answer_is_good_until_its_time_is_over() {
    let wanted = set(&[Field::PHONE]);
    for overwrite in [false, true] {
        let recall = |age| matched(age).recall(TERMS, NOW, KNOWN, wanted, overwrite);
        assert_eq!(values(recall(24 * HOUR - 1)), Some(vec!["phone"]));
        assert_eq!(recall(24 * HOUR), None, "it had the field, so there is something to ask for");
    }
    // Who knows more about the same person gets the same answer.
    assert!(matched(0).recall(TERMS, NOW, [2; 16], wanted, false).is_some());
    assert!(matched(0).recall(Terms { ttl_us: 0, ..TERMS }, NOW, KNOWN, wanted, false).is_none());
    // A clock that was put back does not make it bad.
    assert!(matched(-HOUR).recall(TERMS, NOW, KNOWN, wanted, false).is_some());
}

#[test]
fn a_receipt_of_some_steps_says_nothing_of_the_others() {
    let receipt = matched(0);
    assert!(receipt.speaks_of(set(&[Field::PHONE, Field::LOCATION])));
    assert!(!receipt.speaks_of(set(&[Field::PHONE, Field::SENIORITY])));
    assert!(nothing(0).speaks_of(FieldSet::ALL), "that there was nobody says all");
}

#[test]
fn a_missing_field_is_remembered_longer_than_the_answer() {
    let wanted = set(&[Field::LOCATION]);
    let recall = |age, overwrite| matched(age).recall(TERMS, NOW, KNOWN, wanted, overwrite);
    assert_eq!(values(recall(HOUR, false)), Some(vec!["phone"]), "the answer as it was");
    assert_eq!(values(recall(720 * HOUR - 1, false)), Some(vec![]));
    assert_eq!(recall(720 * HOUR, false), None);
    assert_eq!(recall(HOUR, true), None, "to overwrite is to ask anew");
    let both = set(&[Field::LOCATION, Field::PHONE]);
    assert_eq!(matched(25 * HOUR).recall(TERMS, NOW, KNOWN, both, false), None, "one of them it had");
    let never = Terms { recheck_us: 0, ..TERMS };
    assert_eq!(matched(25 * HOUR).recall(never, NOW, KNOWN, wanted, false), None);
}

#[test]
fn no_match_is_remembered_until_more_is_known() {
    let wanted = set(&[Field::PHONE]);
    let recall = |age, known, overwrite| nothing(age).recall(TERMS, NOW, known, wanted, overwrite);
    assert_eq!(recall(HOUR, KNOWN, false), Some(Verdict::NoMatch));
    assert_eq!(recall(719 * HOUR, KNOWN, false), Some(Verdict::NoMatch));
    assert_eq!(recall(720 * HOUR, KNOWN, false), None);
    assert_eq!(recall(HOUR, [2; 16], false), None, "more, or something else, is known");
    assert_eq!(recall(HOUR, KNOWN, true), None);
    // Without a memory of its own it is an answer like any other.
    let short = Terms { recheck_us: 0, ..TERMS };
    assert!(nothing(HOUR).recall(short, NOW, KNOWN, wanted, false).is_some());
    assert!(nothing(24 * HOUR).recall(short, NOW, KNOWN, wanted, false).is_none());
}

#[test]
fn what_is_kept_follows_the_terms() {
    let off = Terms { ttl_us: 0, recheck_us: 0 };
    assert_eq!(matched(0).kept_under(off), None);
    let no_answers = Terms { ttl_us: 0, ..TERMS };
    assert_eq!(matched(0).kept_under(no_answers).unwrap().answer, None, "no personal data");
    let complete = Receipt { lacking: FieldSet::EMPTY, ..matched(0) };
    assert_eq!(complete.kept_under(no_answers), None, "nothing is left to say");
    assert_eq!(nothing(0).kept_under(TERMS), Some(nothing(0)));
}

#[test]
fn a_filed_receipt_comes_back_as_it_was() {
    for receipt in [matched(3), nothing(5)] {
        let filed = Filed {
            workspace: Uuid::now_v7(),
            provider: Uuid::new_v4(),
            person: person("t", "7"),
            content: Content::Receipt(receipt),
            sighting: None,
        };
        assert_eq!(Filed::from_bytes(&filed.to_bytes()), Some(filed));
    }
    for workspace in [None, Some(Uuid::now_v7())] {
        let refusal = ProviderRefusal { people: vec![[7; 16], [8; 16]], workspace, source: "vendor".into() };
        let filed = Filed {
            workspace: Uuid::now_v7(),
            provider: Uuid::new_v4(),
            person: person("t", "7"),
            content: Content::Refusal(refusal),
            sighting: None,
        };
        assert_eq!(Filed::from_bytes(&filed.to_bytes()), Some(filed));
    }
    assert_eq!(Filed::from_bytes(b"[1]"), None);
    assert_eq!(Filed::from_bytes(b"\xff"), None);
}

#[test]
fn a_request_key_is_stable_and_new_for_a_new_question() {
    let (workspace, request) = (Uuid::nil(), json!({"url": "x"}));
    let key = |contact, fields, epoch| request_key(workspace, contact, fields, &request, epoch);
    let first = key("t\n7", FieldSet::ALL, 0);
    assert_eq!(first.get_version_num(), 5);
    assert_eq!(first, key("t\n7", FieldSet::ALL, 0));
    assert_ne!(first, key("t\n8", FieldSet::ALL, 0));
    assert_ne!(first, key("t\n7", set(&[Field::PHONE]), 0));
    assert_ne!(first, key("t\n7", FieldSet::ALL, NOW), "asked anew on purpose");
    assert_ne!(first, request_key(workspace, "t\n7", FieldSet::ALL, &json!({"url": "y"}), 0));
    assert_ne!(first, request_key(Uuid::max(), "t\n7", FieldSet::ALL, &request, 0));
}

#[test]
fn a_rejection_is_of_one_question_and_one_contact_and_counts_for_a_while() {
    let (a, b) = (rejection([1; 16], [2; 16]), rejection([2; 16], [1; 16]));
    assert!(a != b && a != rejection([1; 16], [3; 16]));
    let receipt = Receipt::of_rejection(set(&[Field::PHONE, Field::LOCATION]), [5; 16], NOW);
    let terms = Terms { ttl_us: 0, recheck_us: 10 };
    assert_eq!(receipt.rejected(terms, NOW + 9), set(&[Field::PHONE, Field::LOCATION]));
    assert_eq!(receipt.rejected(terms, NOW + 10), FieldSet::EMPTY);
    assert_eq!(receipt.rejected(Terms { ttl_us: 99, recheck_us: 0 }, NOW), FieldSet::EMPTY);
    let filed = Filed {
        workspace: Uuid::max(),
        provider: Uuid::nil(),
        person: [9; 16],
        content: Content::Rejection(receipt.clone()),
        sighting: None,
    };
    assert_eq!(Filed::from_bytes(&filed.to_bytes()), Some(filed.clone()));
    assert!(filed.is_rejection() && filed.receipt() == Some(&receipt) && filed.refusal().is_none());
}

#[test]
fn an_answer_about_somebody_else_is_remembered_as_no_match() {
    let of = |verdict| Receipt::new(&verdict, set(&[Field::PHONE]), KNOWN, NOW);
    assert_eq!(of(Verdict::OtherPerson(FieldSet::ALL)), of(Verdict::NoMatch));
}

#[test]
fn the_reach_of_a_refusal_is_its_workspace_and_its_provider() {
    let (here, there, provider) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
    let refusal = |workspace| ProviderRefusal { people: vec![[7; 16]], workspace, source: "main".into() };
    let reach = |workspace, provider| refusal(workspace).reach(provider);
    assert_eq!(reach(Some(here), provider), reach(Some(here), provider));
    let all = [
        reach(Some(here), provider),
        reach(Some(there), provider),
        reach(None, provider),
        reach(Some(here), there),
        reach(None, there),
    ];
    let different: std::collections::HashSet<_> = all.iter().collect();
    assert_eq!(different.len(), all.len());
}
