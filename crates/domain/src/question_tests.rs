use std::collections::HashMap;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

use super::*;
use crate::fields::{FieldMap, FieldSet};
use crate::provider::Verdict;
use crate::receipt::fingerprint;

fn config(json: &Value) -> Config {
    Config::parse(json).unwrap()
}

fn description() -> Value {
    json!({
        "request": {"url": "https://api.example.com/v1", "query": {"email": "{email}", "name": "{full_name}"}},
        "identify_by": [["linkedin_url"], ["email"], ["full_name", "company_name"]],
        "response": {"fields": {"phone": "/phone"}},
    })
}

fn questions_of(json: &Value, contact: &Contact) -> Option<Questions> {
    let description = fingerprint(json);
    let parties =
        Parties { workspace: Uuid::nil(), provider: Uuid::nil(), description: &description, former: true };
    Questions::of(parties, &config(json), &Person::made_up(contact), contact)
}

fn questions(contact: &Contact) -> Questions {
    questions_of(&description(), contact).unwrap()
}

#[test]
fn a_question_is_who_asks_whom_with_which_values() {
    let contact = Contact { email: Some("a@acme.example".into()), ..Contact::default() };
    let first = questions(&contact);
    assert_eq!(first.hashes.len(), 1);
    // A profile that the answer filled in comes first from now on; the earlier question is still found.
    let mut filled = contact.clone();
    filled.values.set(Field::LINKEDIN_URL, "https://www.linkedin.com/in/ada".into());
    let second = questions(&filled);
    assert_eq!(second.hashes.len(), 2);
    assert_eq!(second.hashes[1], first.hashes[0]);
    assert_ne!(second.known, first.known, "more is known");
    let other = Contact { email: Some("b@acme.example".into()), ..Contact::default() };
    assert_ne!(questions(&other).hashes, first.hashes);

    let json = description();
    let description = fingerprint(&json);
    let person = Person::made_up(&contact);
    let of = |parties| Questions::of(parties, &config(&json), &person, &contact).unwrap().hashes;
    let parties =
        Parties { workspace: Uuid::nil(), provider: Uuid::nil(), description: &description, former: true };
    assert_ne!(of(Parties { workspace: Uuid::max(), ..parties }), first.hashes);
    assert_ne!(of(Parties { provider: Uuid::max(), ..parties }), first.hashes);
    let mut changed = json.clone();
    changed["timeout_ms"] = json!(9);
    assert_eq!(fingerprint(&changed), description, "how long to wait is not part of the question");
    changed["response"]["fields"]["phone"] = json!("/mobile");
    assert_ne!(of(Parties { description: &fingerprint(&changed), ..parties }), first.hashes);
    assert_eq!(questions_of(&json, &Contact::default()), None);
}

#[test]
fn a_name_that_is_sent_belongs_to_the_question_whatever_identifies() {
    let named = |name: &str| Contact {
        email: Some("jane@acme.example".into()),
        full_name: Some(name.into()),
        ..Contact::default()
    };
    assert_ne!(questions(&named("Jane Doe")).hashes, questions(&named("John Roe")).hashes);
    assert_eq!(questions(&named("Jane Doe")).hashes, questions(&named(" JANE  doe")).hashes);
    // Where it is not sent it is no part of it.
    let mut silent = description();
    silent["request"]["query"] = json!({"email": "{email}"});
    let of = |name| questions_of(&silent, &named(name)).unwrap().hashes;
    assert_eq!(of("Jane Doe"), of("John Roe"));
}

#[test]
fn a_name_that_cannot_be_split_still_says_who_is_meant() {
    let json = json!({
        "request": {"url": "https://api.example.com/v1", "query": {"first": "{first_name}", "last": "{last_name}", "phone": "{phone}"}},
        "identify_by": [["phone"]],
        "response": {"fields": {"job_title": "/t"}},
    });
    let person = |name: &str| {
        let values = [(Field::PHONE, "+86 10 6552 9988".to_owned())].into_iter().collect();
        Contact { full_name: Some(name.into()), values, ..Contact::default() }
    };
    let question = |name: &str| questions_of(&json, &person(name)).unwrap().hashes;
    let names = ["张伟", "李娜", "Madonna", "Prince", "Jane Doering"];
    for (at, one) in names.iter().enumerate() {
        for other in &names[at + 1..] {
            assert_ne!(question(one), question(other), "{one} {other}");
        }
    }
    assert_eq!(question("madonna "), question("Madonna"));
    assert_eq!(question("Dr. Jane Doering"), question("Jane Doering"), "it is what is sent that counts");
    let config = config(&json);
    let [before, now] = ["张伟", "李娜"].map(|name| Person::made_up(&person(name)));
    assert!(config.means_the_same(&before, &before) && !config.means_the_same(&before, &now));
}

#[test]
fn a_role_mailbox_identifies_only_together_with_a_name_that_is_sent() {
    let mut contact = Contact { email: Some("info@acme.example".into()), ..Contact::default() };
    assert_eq!(questions_of(&description(), &contact), None);
    contact.full_name = Some("N/A".into());
    assert_eq!(questions_of(&description(), &contact), None);
    contact.full_name = Some("Jane Doe".into());
    assert!(questions_of(&description(), &contact).is_some());
    let mut silent = description();
    silent["request"]["query"] = json!({"email": "{email}"});
    assert_eq!(questions_of(&silent, &contact), None);
    // A template that falls away takes the name with it.
    silent["request"]["query"] = json!({"email": "{email}", "who": "{full_name} of {location}"});
    assert_eq!(questions_of(&silent, &contact), None);
    contact.values.set(Field::LOCATION, "Oslo".into());
    assert!(questions_of(&silent, &contact).is_some());
}

#[test]
fn receipts_of_the_former_form_are_read_only_where_they_can_be_nobody_elses() {
    let contact = |name: &str| Contact {
        email: Some("jane@acme.example".into()),
        full_name: Some(name.into()),
        ..Contact::default()
    };
    let jane = questions(&contact("Jane Doe"));
    let former = jane.former.clone().expect("its sets are columns");
    // As it was filed: by the address alone, with a hash of all that was known.
    let receipt = |known| Receipt { known, ..nothing() };
    let written = Receipt { ..receipt(former_known("Jane Doe")) };
    let found = |contact: &Contact, receipt: &Receipt| {
        let questions = questions(contact);
        let receipts = HashMap::from([(former.hashes[0], receipt.clone())]);
        questions.answered(contact, |hash| receipts.get(hash)).next().is_some()
    };
    assert!(found(&contact("Jane Doe"), &written));
    assert!(!found(&contact("John Roe"), &written), "the address is the same, the name is not");
    // A provider that is sent a name by which it does not identify may have been asked about anybody.
    let mut by_email = description();
    by_email["identify_by"] = json!([["email"]]);
    assert_eq!(questions_of(&by_email, &contact("Jane Doe")).unwrap().former, None);
    let mut derived = description();
    derived["identify_by"] = json!([["email"], ["full_name", "company_domain"]]);
    assert_eq!(questions_of(&derived, &contact("Jane Doe")).unwrap().former, None);
}

/// The formula of the former form, written out.
fn former_known(name: &str) -> Hash {
    let description = fingerprint(&description());
    let nil = Uuid::nil();
    hash(&[
        nil.as_bytes(),
        nil.as_bytes(),
        &description,
        b"email",
        b"jane@acme.example",
        b"full_name",
        name.as_bytes(),
    ])
}

fn nothing() -> Receipt {
    Receipt::new(&Verdict::NoMatch, FieldSet::ALL, [0; 16], 0).unwrap()
}

const SENT: [&str; 10] = [
    "email",
    "full_name",
    "first_name",
    "last_name",
    "company_name",
    "company_domain",
    "linkedin_url",
    "linkedin_handle",
    "phone",
    "location",
];

/// A description that sends some, and is identified by some of what it sends.
fn any_description() -> impl Strategy<Value = (Value, Vec<&'static str>)> {
    subsequence(SENT.to_vec(), 1..=SENT.len()).prop_flat_map(|sent| {
        let most = sent.len().min(3);
        let sets = proptest::collection::vec(subsequence(sent.clone(), 1..=most), 1..5);
        (sets, Just(sent)).prop_map(|(sets, sent)| {
            let query: serde_json::Map<String, Value> =
                sent.iter().map(|name| ((*name).to_owned(), json!(format!("{{{name}}}")))).collect();
            let json = json!({
                "request": {"url": "https://api.example.com/v1", "query": query},
                "identify_by": sets,
                "response": {"fields": {"phone": "/phone", "company_name": "/c", "linkedin_url": "/l", "location": "/w"}},
            });
            (json, sent)
        })
    })
}

/// Each row: spellings of one value.
const NAMES: [&[&str]; 3] =
    [&["Jane Doe", " JANE  DOE ", "jane doe"], &["John Roe", "JOHN ROE"], &["N/A", "-", ""]];
const EMAILS: [&[&str]; 4] = [
    &["jane@acme.example", "Jane@ACME.example", " <jane@acme.example>", "jane@acme.example; j@x.example"],
    &["john@acme.example", "JOHN@acme.example"],
    &["info@acme.example", "Info@Acme.example"],
    &["n/a", "-", "unknown"],
];
const PROFILES: [&[&str]; 3] = [
    &[
        "https://www.linkedin.com/in/jane-doe",
        "linkedin.com/in/Jane-Doe/",
        "http://de.linkedin.com/in/jane-doe?x=1",
    ],
    &["https://www.linkedin.com/in/john"],
    &["https://www.linkedin.com/in/null", "N/A"],
];
const PHONES: [&[&str]; 3] =
    [&["+1 202 555 0123", "+12025550123", "+1-202-555-0123"], &["+44 20 7946 0958"], &["0", "-"]];
const COMPANIES: [&[&str]; 2] = [&["Acme", " ACME "], &["Globex"]];
const PLACES: [&[&str]; 2] = [&["Oslo", "oslo"], &["Rome"]];

fn pick(rows: &'static [&'static [&'static str]]) -> impl Strategy<Value = Option<(usize, &'static str)>> {
    let spelt = (0..rows.len()).prop_flat_map(|row| (Just(row), select(rows[row].to_vec())));
    proptest::option::weighted(0.8, spelt)
}

type Picked = [Option<(usize, &'static str)>; 6];

fn picked() -> impl Strategy<Value = Picked> {
    (pick(&NAMES), pick(&EMAILS), pick(&PROFILES), pick(&PHONES), pick(&COMPANIES), pick(&PLACES))
        .prop_map(|(a, b, c, d, e, f)| [a, b, c, d, e, f])
}

fn contact(picked: &Picked) -> Contact {
    let text = |at: usize| picked[at].map(|(_, text)| text.to_owned());
    let mut contact = Contact { full_name: text(0), email: text(1), ..Contact::default() };
    let fields = [Field::LINKEDIN_URL, Field::PHONE, Field::COMPANY_NAME, Field::LOCATION];
    for (at, field) in fields.into_iter().enumerate() {
        if let Some(value) = text(at + 2) {
            contact.values.set(field, value);
        }
    }
    contact
}

/// Names and addresses that are sent of somebody, told by which row of the lists they come from: stand-ins are none.
fn sent_of(picked: &Picked, sent: &[&str]) -> (Option<usize>, Option<usize>) {
    let told = |names: &[&str]| names.iter().any(|name| sent.contains(name));
    let row = |at: usize, stand_in: usize| picked[at].map(|(row, _)| row).filter(|row| *row != stand_in);
    let name = row(0, 2).filter(|_| told(&["full_name", "first_name", "last_name"]));
    (name, row(1, 3).filter(|_| told(&["email"])))
}

/// All receipts that asking about somebody can leave: with any answer, kept or over, in this form and the former one.
fn receipts_of(questions: &Questions, offered: &FieldMap<String>) -> Vec<HashMap<Hash, Receipt>> {
    let matched = Verdict::Match { values: offered.clone(), confidence: None };
    let mut all = Vec::new();
    for verdict in [Verdict::NoMatch, matched] {
        let receipt = Receipt::new(&verdict, FieldSet::ALL, questions.known, 0).unwrap();
        let over = Receipt { answer: None, ..receipt.clone() };
        for kept in [receipt, over] {
            all.push(HashMap::from([(questions.hashes[0], kept.clone())]));
            if let Some(former) = &questions.former {
                let known = former.known();
                let old = Receipt { known, ..kept };
                all.push(former.hashes.iter().map(|hash| (*hash, old.clone())).collect());
            }
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn contacts_that_differ_in_a_name_or_an_address_that_is_sent_never_share_an_answer(
        (json, sent) in any_description(), one in picked(), other in picked(), offered in picked(),
    ) {
        if sent_of(&one, &sent) == sent_of(&other, &sent) {
            return Ok(());
        }
        let (one, other) = (contact(&one), contact(&other));
        if let (Some(of_one), Some(of_other)) = (questions_of(&json, &one), questions_of(&json, &other)) {
            // In a set the same question is asked once.
            prop_assert!(!of_other.hashes.contains(&of_one.hashes[0]));
            for receipts in receipts_of(&of_one, &contact(&offered).values) {
                prop_assert_eq!(of_other.answered(&other, |hash| receipts.get(hash)).count(), 0);
            }
        }
    }

    #[test]
    fn spellings_of_one_person_are_one_question(
        (json, _) in any_description(), one in picked(), jitter in proptest::collection::vec(0_usize..9, 6),
    ) {
        let lists: [&[&[&str]]; 6] = [&NAMES, &EMAILS, &PROFILES, &PHONES, &COMPANIES, &PLACES];
        let mut other = one;
        for at in 0..6 {
            other[at] = one[at].map(|(row, _)| (row, lists[at][row][jitter[at] % lists[at][row].len()]));
        }
        let (one, other) = (contact(&one), contact(&other));
        let (of_one, of_other) = (questions_of(&json, &one), questions_of(&json, &other));
        prop_assert_eq!(of_one.as_ref().map(|q| (&q.hashes, q.known)), of_other.as_ref().map(|q| (&q.hashes, q.known)));
        if let (Some(of_one), Some(of_other)) = (of_one, of_other) {
            let receipt = Receipt::new(&Verdict::NoMatch, FieldSet::ALL, of_one.known, 0).unwrap();
            let receipts = HashMap::from([(of_one.hashes[0], receipt)]);
            prop_assert!(of_other.answered(&other, |hash| receipts.get(hash)).next().is_some());
        }
    }

    #[test]
    fn what_an_answer_filled_in_makes_it_no_other_question(
        (json, _) in any_description(), one in picked(), offered in picked(),
    ) {
        let before = contact(&one);
        let mut after = before.clone();
        let mut supplied = FieldMap::default();
        for (field, value) in contact(&offered).values.iter() {
            if before.value(field).is_none() && !value::is_empty(field, Some(value)) {
                supplied.set(field, value.clone());
                after.values.set(field, value.clone());
            }
        }
        if let Some(asked) = questions_of(&json, &before) {
            let verdict = Verdict::Match { values: supplied, confidence: None };
            let receipt = Receipt::new(&verdict, FieldSet::ALL, asked.known, 0).unwrap();
            let receipts = HashMap::from([(asked.hashes[0], receipt)]);
            let now = questions_of(&json, &after).expect("it knows more");
            prop_assert!(now.answered(&after, |hash| receipts.get(hash)).next().is_some());
        }
    }
}

/// The formula of questions as they were before a request could depend on what is wanted, written out.
#[test]
fn what_is_new_in_descriptions_leaves_the_hash_of_old_questions_as_it_was() {
    let json = description();
    let contact = Contact {
        email: Some("jane@acme.example".into()),
        full_name: Some("Jane Doe".into()),
        ..Contact::default()
    };
    let parts = ["request", "identify_by", "response"].map(|key| json[key].to_string());
    let description = hash(&[parts[0].as_bytes(), parts[1].as_bytes(), parts[2].as_bytes()]);
    assert_eq!(fingerprint(&json), description);
    let nil = Uuid::nil();
    let stem = hash(&[b"question", nil.as_bytes(), nil.as_bytes(), &description]);
    let settled: [&[u8]; 4] = [b"full_name", b"jane doe", b"email", b"jane@acme.example"];
    let of_set: Vec<&[u8]> =
        [&stem[..], b"set"].into_iter().chain(settled).chain([&b"email"[..], b"jane@acme.example"]).collect();
    let questions = questions(&contact);
    assert_eq!(questions.hashes, [hash(&of_set)]);
    let known: Vec<&[u8]> =
        [&stem[..], b"known", b"email", b"jane@acme.example", b"full_name", b"jane doe"].into();
    assert_eq!(questions.known, hash(&known));
    // Fields that no request names make no difference.
    let parties = Parties { workspace: nil, provider: nil, description: &description, former: true };
    let person = Person::made_up(&contact);
    assert_eq!(
        Questions::about(parties, &config(&json), &person, &contact, FieldSet::EMPTY),
        Some(questions)
    );
}

fn wanting() -> Value {
    let mut json = description();
    json["request"]["query"]["reveal"] =
        json!({"wanted": {"phone": "phones", "job_title": "profile", "location": "profile"}});
    json["response"]["fields"] = json!({"phone": "/p", "job_title": "/t", "location": "/l"});
    json
}

fn about(json: &Value, contact: &Contact, wanted: &[Field]) -> Questions {
    let description = fingerprint(json);
    let parties =
        Parties { workspace: Uuid::nil(), provider: Uuid::nil(), description: &description, former: true };
    let wanted = wanted.iter().copied().collect();
    Questions::about(parties, &config(json), &Person::made_up(contact), contact, wanted).unwrap()
}

#[test]
fn the_fields_asked_for_belong_to_the_question() {
    let json = wanting();
    let contact = Contact { email: Some("jane@acme.example".into()), ..Contact::default() };
    let of = |wanted: &[Field]| about(&json, &contact, wanted);
    let (phone, title, both) =
        (of(&[Field::PHONE]), of(&[Field::JOB_TITLE]), of(&[Field::PHONE, Field::JOB_TITLE]));
    assert_ne!(phone.hashes, title.hashes);
    assert_eq!(title.hashes, of(&[Field::LOCATION]).hashes, "the vendor gives them under one word");
    assert_eq!(title.known, phone.known);
    // What was answered when more was asked for answers what is asked for now, and not the other way round.
    let asked_of = config(&json).maps_of([Field::PHONE].into_iter().collect());
    let receipt = Receipt::new(&Verdict::NoMatch, asked_of, phone.known, 0).unwrap();
    let found = |question: &Questions, at: Hash| {
        let receipts = HashMap::from([(at, receipt.clone())]);
        assert_eq!(
            question.everywhere().any(|hash| hash == at),
            question.answered(&contact, |h| receipts.get(h)).next().is_some()
        );
        question.answered(&contact, |hash| receipts.get(hash)).next().is_some()
    };
    assert!(found(&phone, both.hashes[0]) && found(&title, both.hashes[0]) && found(&phone, phone.hashes[0]));
    assert!(!found(&both, phone.hashes[0]) && !found(&title, phone.hashes[0]));
    assert_eq!(
        receipt.lacking.names(),
        ["phone"],
        "a field that was not asked for is not remembered as nothing"
    );
}

#[test]
fn a_value_that_is_not_sent_is_no_part_of_the_question() {
    let mut json = description();
    let named = |name: &str| Contact {
        email: Some("jane@acme.example".into()),
        full_name: Some(name.into()),
        ..Contact::default()
    };
    let of = |json: &Value, name| questions_of(json, &named(name)).unwrap();
    assert_ne!(of(&json, "Jane Doe").hashes, of(&json, "John Roe").hashes);
    json["send"] = json!("used_set");
    assert_eq!(of(&json, "Jane Doe").hashes, of(&json, "John Roe").hashes);
    assert_eq!(of(&json, "Jane Doe").former, None, "receipts of that form are older");
    let people = ["Jane Doe", "John Roe"].map(|name| Person::made_up(&named(name)));
    assert!(config(&json).means_the_same(&people[0], &people[1]));
    assert!(!config(&json).asks_by_name(&people[0]));
    // An answer that is compared by it is about nobody else.
    json["response"]["same_person"] = json!({"full_name": "/name"});
    assert_ne!(of(&json, "Jane Doe").hashes, of(&json, "John Roe").hashes);
}

#[test]
fn a_ticket_outlives_another_way_to_read_the_answers() {
    let json = json!({
        "login": {"request": {"url": "https://h/t"}, "take": {"t": "/t"}},
        "identify_by": [["email"]], "poll_every_s": 5,
        "steps": [
            {"request": {"url": "https://h/a"}, "response": {}, "take": {"id": "/id"}},
            {"request": {"url": "https://h/{id}"}, "response": {"fields": {"phone": "/p"}}}
        ]
    });
    let changed = |place: &str, value: Value| {
        let mut changed = json.clone();
        let (parent, key) = place.rsplit_once('/').unwrap();
        changed.pointer_mut(parent).unwrap()[key] = value;
        changed
    };
    let of = |json: &Value| {
        (crate::receipt::ticket_fingerprint(json), fingerprint(json), crate::receipt::login_fingerprint(json))
    };
    let (ticket, answers, login) = of(&json);
    for (place, value, kept) in [
        ("/steps/1/response/fields", json!({"phone": "/q"}), [true, false, true]),
        ("/steps/1/request/url", json!("https://h/b/{id}"), [false, false, true]),
        ("/steps/0/take", json!({"id": "/other"}), [false, false, true]),
        ("/identify_by", json!([["phone"]]), [false, false, true]),
        ("/send", json!("used_set"), [false, false, true]),
        ("/login/take", json!({"t": "/u"}), [true, true, false]),
        ("/poll_every_s", json!(6), [true, true, true]),
        ("/price", json!({}), [true, true, true]),
    ] {
        let (t, a, l) = of(&changed(place, value));
        assert_eq!([t == ticket, a == answers, l == login], kept, "{place}");
    }
}
