//! The order of the contract, seen by a context that writes down what it is asked for.

use serde_json::json;

use super::*;
use crate::failure::Code;
use crate::fields::Field;
use crate::identity::Workspace;
use crate::provider::{Fault, FaultKind, Verdict};
use crate::rate::Limits;

struct Fake {
    steps: Vec<&'static str>,
    identity: Result<Vec<&'static str>, ()>,
    contact: Option<Contact>,
    stored: Option<Vec<u8>>,
    rate_closed: bool,
    credits: i64,
    reserved: i64,
    verdict: Verdict,
    /// A trigger of the table keeps the old values.
    stubborn: bool,
    /// A constraint of the table refuses them.
    refused: FieldSet,
    /// It did before, what the first vendor is remembered to have.
    refused_before: FieldSet,
    suppressed: bool,
    /// What a second vendor says; then the waterfall goes on until all is filled.
    second: Option<Verdict>,
    /// What the vendors were asked about.
    asked: Vec<Contact>,
    /// Of somebody who must not be asked about.
    listed_profile: Option<&'static str>,
    /// What the contact has when it is written.
    typed: FieldMap<String>,
}

impl Fake {
    fn new() -> Fake {
        let values = [(Field::PHONE, "+1 555 0100".to_owned())].into_iter().collect();
        Fake {
            steps: Vec::new(),
            identity: Ok(vec![WRITE_ENRICH]),
            contact: Some(Contact { id: "7".into(), ..Contact::default() }),
            stored: None,
            rate_closed: false,
            credits: 5,
            reserved: 0,
            verdict: Verdict::Match { values, confidence: Some(0.9) },
            stubborn: false,
            refused: FieldSet::EMPTY,
            refused_before: FieldSet::EMPTY,
            suppressed: false,
            second: None,
            asked: Vec::new(),
            listed_profile: None,
            typed: FieldMap::default(),
        }
    }

    fn call(&mut self, ask: &Ask) -> Result<Value, Failure> {
        let result = enrich(self, ask);
        assert_eq!(self.reserved, 0, "every reservation is spent or released");
        result
    }
}

fn ask() -> Ask {
    Ask { id: "7".into(), fields: FieldSet::ALL, overwrite: false, key: None }
}

impl CallContext for Fake {
    type Provider = usize;

    fn request_id(&mut self) -> Uuid {
        Uuid::now_v7()
    }
    fn require_writable(&mut self) {
        self.steps.push("writable");
    }
    fn identify(&mut self) -> Result<Caller, Failure> {
        self.steps.push("identity");
        let permissions = self.identity.clone().map_err(|()| Failure::invalid_key("unknown", "set one"))?;
        let workspace = Workspace {
            id: Uuid::nil(),
            name: "w".into(),
            plan: "pro".into(),
            limits: Limits { per_minute: Some(50), per_day: None },
            has_credit_limit: true,
        };
        let permissions = permissions.into_iter().map(str::to_owned).collect();
        Ok(Caller { workspace, permissions, key_prefix: None })
    }
    fn open_table(&mut self, _caller: &Caller, ask: &Ask) -> Result<Opened, Failure> {
        self.steps.push("table");
        Ok(Opened { fields: FieldSet::ALL, table: "public.crm".into(), key: ask.id.clone() })
    }
    fn require_updatable(&mut self, _fields: FieldSet) {
        self.steps.push("updatable");
    }
    fn read_contact(&mut self) -> Option<Contact> {
        self.steps.push("contact");
        self.contact.clone()
    }
    fn claim_key(&mut self, _key: Uuid) {
        self.steps.push("claim key");
    }
    fn stored_result(&mut self, _key: Uuid) -> Option<Stored> {
        self.steps.push("stored");
        self.stored.clone().map(|fingerprint| Stored { fingerprint, result: json!({"source": "then"}) })
    }
    fn claim_contact(&mut self) {
        self.steps.push("claim contact");
    }
    fn end_call(&mut self) {}
    fn drop_claims(&mut self) {
        self.steps.push("drop claims");
    }
    fn is_suppressed(&mut self, contact: &Contact) -> bool {
        self.steps.push("suppressed");
        let profile = contact.value(Field::LINKEDIN_URL);
        self.suppressed || (profile.is_some() && profile == self.listed_profile)
    }
    fn providers(&mut self) -> Vec<(String, usize)> {
        self.steps.push("providers");
        let names = ["vendor", "second"].into_iter().take(1 + usize::from(self.second.is_some()));
        names.enumerate().map(|(at, name)| (name.to_owned(), at)).collect()
    }
    fn rate_status(&mut self) -> Status {
        Status { minute: Some(Window { limit: 50, remaining: 49, reset: 60 }), day: None }
    }
    fn use_rate(&mut self) -> Result<(), (Window, i64)> {
        self.steps.push("rate");
        if self.rate_closed { Err((Window { limit: 50, remaining: 0, reset: 60 }, 47)) } else { Ok(()) }
    }
    fn reserve_credit(&mut self) -> bool {
        self.steps.push("reserve");
        let there = self.credits > 0;
        self.reserved += i64::from(there);
        there
    }
    fn release_credit(&mut self) {
        self.steps.push("release");
        self.reserved -= 1;
    }
    fn waterfall(&self) -> (Mode, f64) {
        (if self.second.is_some() { Mode::Fill } else { Mode::FirstMatch }, 0.0)
    }
    fn position(&self) -> Position {
        Position::Together
    }
    fn ask(&mut self, provider: &usize, contact: &Contact, _missing: FieldSet) -> ProviderOutcome {
        self.steps.push("ask");
        self.asked.push(contact.clone());
        match self.second.clone().filter(|_| *provider == 1) {
            Some(second) => ProviderOutcome::Answered(second),
            None => ProviderOutcome::Again {
                fills: FieldSet::ALL,
                refused: self.refused_before,
                verdict: self.verdict.clone(),
            },
        }
    }
    fn write(
        &mut self,
        before: Contact,
        gathered: &Gathered,
        fields: FieldSet,
        overwrite: bool,
    ) -> Option<Written> {
        self.steps.push("write");
        let mut after = before.clone();
        // Somebody has typed it in since the contact was read.
        after.values = self.typed.clone();
        let mut changes = merge::changes(&after, &gathered.values, fields, overwrite);
        self.refused.iter().for_each(|field| changes.unset(field));
        let (changes, apart) = gathered.post.fitting(&after, changes);
        for (field, value) in changes.iter() {
            if !self.stubborn {
                after.values.set(field, value.clone());
            }
        }
        let before = Contact { values: self.typed.clone(), ..before };
        Some(Written { before, after, rejected: self.refused, apart })
    }
    fn charge(&mut self, _enrichment: &Enrichment) {
        self.steps.push("charge");
        self.reserved -= 1;
        self.credits -= 1;
    }
    fn store_result(&mut self, _key: Uuid, _fingerprint: [u8; 32], _result: &Value) {
        self.steps.push("store");
    }
    fn credits(&mut self) -> Option<i64> {
        Some(self.credits)
    }
}

#[test]
fn the_steps_stand_in_the_order_of_the_contract() {
    let mut context = Fake::new();
    let result = context.call(&Ask { key: Some(Uuid::nil()), ..ask() }).unwrap();
    let expected = [
        "writable",
        "identity",
        "table",
        "contact",
        "claim key",
        "stored",
        "claim contact",
        "contact",
        "updatable",
        "providers",
        "suppressed",
        "rate",
        "reserve",
        "suppressed",
        "ask",
        "write",
        "charge",
        "store",
    ];
    assert_eq!(context.steps, expected);
    assert_eq!(result["fields_updated"], json!(["phone"]));
    assert_eq!(result["credits_remaining"], 4);
    assert_eq!(result["field_sources"]["phone"], json!({"source": "vendor", "confidence": 0.9}));
}

#[test]
fn what_is_refused_early_costs_nothing_and_asks_nobody() {
    let refused = |change: fn(&mut Fake)| {
        let mut context = Fake::new();
        change(&mut context);
        let failure = context.call(&ask()).unwrap_err();
        assert!(
            !context.steps.contains(&"ask") && context.credits == 5 || context.credits == 0,
            "{:?}",
            context.steps
        );
        (failure.code, context.steps.contains(&"rate"))
    };
    assert_eq!(refused(|d| d.identity = Err(())), (Code::InvalidKey, false));
    assert_eq!(refused(|d| d.identity = Ok(vec!["read"])), (Code::InsufficientPermissions, false));
    assert_eq!(refused(|d| d.contact = None), (Code::NotFound, false));
    assert_eq!(refused(|d| d.suppressed = true), (Code::NoMatch, false));
    assert_eq!(refused(|d| d.rate_closed = true), (Code::RateLimited, true));
    assert_eq!(refused(|d| d.credits = 0), (Code::InsufficientCredits, true));
}

#[test]
fn nothing_to_fill_returns_before_the_rate_limit() {
    let mut context = Fake::new();
    let held = |field| match field {
        Field::PHONE => "+12025550123",
        Field::LINKEDIN_URL => "https://www.linkedin.com/in/jane-example",
        _ => "x",
    };
    let full = Field::all().map(|f| (f, held(f).to_owned())).collect();
    context.contact = Some(Contact { id: "7".into(), values: full, ..Contact::default() });
    let result = context.call(&ask()).unwrap();
    assert_eq!((&result["source"], &result["fields_updated"]), (&Value::Null, &json!([])));
    assert!(!context.steps.contains(&"rate") && !context.steps.contains(&"providers"));
}

#[test]
fn a_replay_asks_and_charges_nothing_and_other_arguments_are_a_mismatch() {
    let keyed = Ask { key: Some(Uuid::nil()), ..ask() };
    let mut context = Fake::new();
    context.stored = Some(keyed.fingerprint("public.crm", &keyed.id).to_vec());
    let result = context.call(&keyed).unwrap();
    assert_eq!((&result["replayed"], &result["source"]), (&json!(true), &json!("then")));
    assert_eq!(context.steps.last(), Some(&"drop claims"));
    let failure = context.call(&Ask { overwrite: true, ..keyed }).unwrap_err();
    assert_eq!(failure.code, Code::IdempotencyMismatch);
    assert!(!context.steps.contains(&"claim contact"));
}

#[test]
fn failure_no_match_and_no_change_give_the_credit_back() {
    let outcome = |change: fn(&mut Fake)| {
        let mut context = Fake::new();
        change(&mut context);
        let result = context.call(&ask());
        assert_eq!((context.credits, context.steps.contains(&"charge")), (5, false));
        result.map_err(|failure| failure.code)
    };
    let down = |d: &mut Fake| d.verdict = Verdict::Failed(Fault::new(FaultKind::Timeout, "no answer"));
    assert_eq!(outcome(down).unwrap_err(), Code::ProviderUnavailable);
    assert_eq!(outcome(|d| d.verdict = Verdict::NoMatch).unwrap_err(), Code::NoMatch);
    let unchanged = outcome(|d| d.stubborn = true).unwrap();
    assert_eq!((&unchanged["fields_updated"], &unchanged["source"]), (&json!([]), &json!("vendor")));
}

#[test]
fn what_the_table_refuses_costs_nothing_and_is_told_where_nothing_is_left() {
    let mut context = Fake::new();
    context.refused.insert(Field::PHONE);
    let failure = context.call(&ask()).unwrap_err();
    assert_eq!((failure.code, &failure.detail()["reason"]), (Code::NoMatch, &json!("table_refuses")));
    assert_eq!((context.credits, context.steps.contains(&"charge")), (5, false));
    let values = [(Field::PHONE, "+1 555 0100".to_owned()), (Field::LOCATION, "Oslo".to_owned())];
    context.verdict = Verdict::Match { values: values.into_iter().collect(), confidence: None };
    assert_eq!(
        context.call(&ask()).unwrap()["fields_updated"],
        json!(["location"]),
        "the others are written"
    );
}

/// A refused company stays, and with it what stands beside it.
#[test]
fn beside_a_refused_company_nothing_of_the_position_is_written() {
    let position = [(Field::JOB_TITLE, "CEO".to_owned()), (Field::COMPANY_NAME, "Other Inc".to_owned())];
    for (refused, typed, expected) in [
        (Field::COMPANY_NAME, Some("Acme"), Err("table_refuses")),
        (Field::COMPANY_NAME, None, Ok(json!(["job_title"]))),
        (Field::JOB_TITLE, Some("Acme"), Ok(json!(["company_name"]))),
    ] {
        let mut context = Fake::new();
        context.verdict = Verdict::Match { values: position.clone().into_iter().collect(), confidence: None };
        typed.into_iter().for_each(|company| context.typed.set(Field::COMPANY_NAME, company.to_owned()));
        context.refused.insert(refused);
        let result = context.call(&Ask { overwrite: true, ..ask() });
        let told = result.map(|result| result["fields_updated"].clone());
        let told = told.map_err(|failure| failure.detail()["reason"].as_str().unwrap().to_owned());
        assert_eq!(told, expected.map_err(str::to_owned), "{refused} {typed:?}");
    }
}

#[test]
fn what_the_table_refused_before_identifies_for_nobody_but_the_list() {
    let mut context = Fake::new();
    let values = [(Field::LINKEDIN_URL, FOUND.to_owned())].into_iter().collect();
    context.verdict = Verdict::Match { values, confidence: None };
    let values = [(Field::PHONE, "+12025550123".to_owned())].into_iter().collect();
    context.second = Some(Verdict::Match { values, confidence: None });
    context.refused_before.insert(Field::LINKEDIN_URL);
    let result = context.call(&ask()).unwrap();
    assert_eq!(result["fields_updated"], json!(["linkedin_url", "phone"]), "it is tried again");
    assert_eq!(profiles_asked_with(&context), [None, None]);
    // That person is on the list: nobody else is asked.
    (context.asked, context.listed_profile) = (Vec::new(), Some(FOUND));
    let failure = context.call(&ask()).unwrap_err();
    assert_eq!(failure.no_match_reason(), Some((NoMatchReason::Suppressed, false)));
    assert_eq!(context.asked.len(), 1);
}

#[test]
fn an_error_tells_what_the_identity_step_knew() {
    let mut context = Fake::new();
    context.rate_closed = true;
    let detail = context.call(&ask()).unwrap_err().detail();
    assert_eq!((&detail["retry_after"], &detail["rate_limit"]["remaining"]), (&json!(13), &json!(0)));
    context.identity = Err(());
    assert_eq!(context.call(&ask()).unwrap_err().detail().get("rate_limit"), None);
}

const FOUND: &str = "https://www.linkedin.com/in/found";

fn told(values: &[(Field, &str)]) -> Verdict {
    let values = values.iter().map(|(field, value)| (*field, (*value).to_owned())).collect();
    Verdict::Match { values, confidence: Some(0.9) }
}

/// A first vendor that finds the profile, and a second that finds the phone.
fn chain() -> Fake {
    let mut context = Fake::new();
    context.verdict = told(&[(Field::LINKEDIN_URL, FOUND), (Field::LOCATION, "Oslo")]);
    context.second = Some(told(&[(Field::PHONE, "+1 555 0100")]));
    context
}

fn profiles_asked_with(context: &Fake) -> Vec<Option<&str>> {
    context.asked.iter().map(|contact| contact.value(Field::LINKEDIN_URL)).collect()
}

#[test]
fn the_next_vendor_is_asked_with_what_the_last_one_found() {
    let mut context = chain();
    let result = context.call(&ask()).unwrap();
    assert_eq!(profiles_asked_with(&context), [None, Some(FOUND)]);
    assert_eq!(context.asked[1].value(Field::LOCATION), Some("Oslo"));
    assert_eq!(result["fields_updated"], json!(["linkedin_url", "phone", "location"]));
    assert_eq!(context.credits, 4, "one call, one credit");
}

#[test]
fn only_what_would_be_written_identifies() {
    let stored = "https://www.linkedin.com/in/stored";
    let with_profile = || {
        let mut context = chain();
        context.contact.as_mut().unwrap().values.set(Field::LINKEDIN_URL, stored.to_owned());
        context
    };
    let mut context = with_profile();
    context.call(&ask()).unwrap();
    assert_eq!(profiles_asked_with(&context), [Some(stored), Some(stored)], "what is stored stays");
    let mut context = with_profile();
    context.call(&Ask { overwrite: true, ..ask() }).unwrap();
    assert_eq!(profiles_asked_with(&context), [Some(stored), Some(FOUND)], "it replaces what is stored");
    let mut context = chain();
    context.call(&Ask { fields: FieldSet::from_iter([Field::LOCATION, Field::PHONE]), ..ask() }).unwrap();
    assert_eq!(profiles_asked_with(&context), [None, None], "nobody wants the profile");
}

#[test]
fn a_found_profile_that_is_on_the_list_ends_the_call() {
    let mut context = chain();
    context.listed_profile = Some(FOUND);
    let failure = context.call(&ask()).unwrap_err();
    assert_eq!(failure.no_match_reason(), Some((NoMatchReason::Suppressed, false)));
    assert_eq!((context.asked.len(), context.credits), (1, 5), "the second is not asked");
    assert!(!context.steps.contains(&"write"), "what the first said is not written");
    // Also where nobody else would be asked.
    let mut context = chain();
    (context.listed_profile, context.second) = (Some(FOUND), None);
    let failure = context.call(&ask()).unwrap_err();
    assert_eq!(failure.no_match_reason(), Some((NoMatchReason::Suppressed, false)));
    assert!(!context.steps.contains(&"write"));
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
        let mut context = Fake::new();
        context.verdict = Verdict::Match { values: values.into_iter().collect(), confidence: None };
        context.typed.set(Field::COMPANY_NAME, typed.to_owned());
        match (context.call(&ask()), expected) {
            (Ok(result), Some(fields)) => assert_eq!(result["fields_updated"], json!(fields)),
            (Err(failure), None) => {
                assert_eq!(
                    (failure.code, &failure.detail()["reason"]),
                    (Code::NoMatch, &json!("other_company"))
                );
                assert_eq!(context.credits, 5, "nothing is charged");
            }
            (result, expected) => panic!("{result:?} {expected:?}"),
        }
    }
}
