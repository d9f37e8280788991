use super::*;
use crate::call_error::{Failure, NoMatchReason};

fn contact() -> Contact {
    Contact::default()
}

fn sent(given: Option<&Given>) -> Option<&str> {
    given.map(|given| given.sent.as_str())
}

#[test]
fn stand_ins_and_what_can_be_no_value_are_nobodys() {
    for text in ["N/A", "n/a", "-", "unknown", "null", "", " \t", "\u{200b}", "0"] {
        let mut contact = Contact {
            full_name: Some(text.into()),
            first_name: Some(text.into()),
            last_name: Some(text.into()),
            email: Some(text.into()),
            company_domain: Some(text.into()),
            ..contact()
        };
        for field in Field::all() {
            contact.values.set(field, text.into());
        }
        let person = Person::made_up(&contact);
        let all = [
            &person.full_name,
            &person.email,
            &person.company_domain,
            &person.company_name,
            &person.linkedin_url,
            &person.linkedin_handle,
            &person.phone,
            &person.location,
        ];
        assert!(all.iter().all(|given| given.is_none()), "{text:?}: {all:?}");
        assert_eq!(
            (person.first_name(), person.last_name(), person.called()),
            (None, None, None),
            "{text:?}"
        );
    }
}

#[test]
fn an_address_is_sent_bare_and_a_domain_as_the_companys() {
    let mut given = Contact { email: Some("Jane <Jane@mail.acme.example>, j@x.example".into()), ..contact() };
    let person = Person::made_up(&given);
    assert_eq!(sent(person.email.as_ref()), Some("Jane@mail.acme.example"));
    assert_eq!(person.email.as_ref().unwrap().form(), "jane@mail.acme.example");
    assert_eq!(person.addresses.len(), 2);
    assert_eq!(sent(person.company_domain.as_ref()), Some("acme.example"));
    given.company_domain = Some("https://www.globex.example/about".into());
    assert_eq!(sent(Person::made_up(&given).company_domain.as_ref()), Some("globex.example"));
    // The column names a mail provider, so the address says more.
    given.company_domain = Some("gmail.com".into());
    assert_eq!(sent(Person::made_up(&given).company_domain.as_ref()), Some("acme.example"));
    let at_home = Contact { email: Some("jane@gmail.com".into()), ..contact() };
    assert_eq!(Person::made_up(&at_home).company_domain, None);
}

#[test]
fn the_first_of_many_addresses_identifies_and_all_are_known() {
    for count in [60, 50_000] {
        let all: Vec<String> = (0..count).map(|n| format!("jane.doe.{n}@acme.example")).collect();
        let person = Person::made_up(&Contact { email: Some(all.join("; ")), ..contact() });
        assert_eq!(sent(person.email.as_ref()), Some("jane.doe.0@acme.example"), "{count}");
        assert_eq!(person.addresses.len(), count);
    }
    // Nothing is sent but the address, whatever else stands there.
    let note = Contact { email: Some(format!("jane@acme.example {}", "word ".repeat(200_000))), ..contact() };
    assert_eq!(sent(Person::made_up(&note).email.as_ref()), Some("jane@acme.example"));
}

#[test]
fn two_columns_that_stand_in_for_a_name_together_are_none() {
    let with = |first: &str, last: &str| {
        let names = (Some(first.to_owned()), Some(last.to_owned()));
        Person::made_up(&Contact { full_name: None, first_name: names.0, last_name: names.1, ..contact() })
    };
    for (first, last) in [("First", "Last"), ("first", "LAST"), ("Test", "Test"), ("Deleted", "User")] {
        let person = with(first, last);
        assert_eq!((person.first_name(), person.last_name()), (None, None), "{first} {last}");
        assert_eq!(person.full_name, None, "{first} {last}");
    }
    let person = with("Jane", "Last");
    assert_eq!((sent(person.first_name()), sent(person.last_name())), (Some("Jane"), Some("Last")));
}

#[test]
fn a_name_that_does_not_split_is_named_beside_a_company() {
    let told = |full: &str, company: &str| {
        let mut given = Contact { full_name: Some(full.into()), ..contact() };
        given.values.set(Field::COMPANY_NAME, company.into());
        let person = Person::made_up(&given);
        let not_alone = person.not_alone();
        (
            not_alone.clone(),
            Failure::no_match(NoMatchReason::NotIdentifiable).explained(&[], &not_alone).text(),
        )
    };
    for full in ["Jude Law", "王小明", "Madonna"] {
        let (columns, text) = told(full, "Acme");
        assert_eq!(columns, ["full_name"], "{full}");
        assert!(text.contains("does not split into first and last name"), "{text}");
    }
    assert_eq!(told("Mia Doe", "Acme").0, [""; 0]);
    assert_eq!(told("Madonna", "").0, [""; 0], "the company is what it lacks");
}

#[test]
fn a_company_behind_the_name_is_no_given_name() {
    let split = |full: &str, company: &str| {
        let mut given = Contact { full_name: Some(full.into()), ..contact() };
        given.values.set(Field::COMPANY_NAME, company.into());
        let person = Person::made_up(&given);
        [person.first_name(), person.last_name()]
            .map(|part| sent(part).map(str::to_owned).unwrap_or_default())
    };
    assert_eq!(split("Ann Roe, Acme", "Acme"), ["Ann", "Roe"]);
    assert_eq!(split("Ann Roe, acme", "Acme Ltd."), ["Ann", "Roe"]);
    assert_eq!(split("Acme, Ann Roe", "Acme"), ["Ann", "Roe"]);
    assert_eq!(split("Ann Roe at Acme", "Acme"), ["", ""]);
    assert_eq!(split("Ford, Jane", "Ford"), ["Jane", "Ford"]);
    assert_eq!(split("Jane Ford", "Ford"), ["Jane", "Ford"]);
    assert_eq!(split("Doe, Jane", "Acme"), ["Jane", "Doe"]);
}

#[test]
fn a_bare_word_is_no_profile_to_ask_by() {
    let with = |text: &str| {
        let mut given = contact();
        given.values.set(Field::LINKEDIN_URL, text.into());
        Person::made_up(&given)
    };
    for word in ["Jane", "yes", "12345", "n"] {
        let person = with(word);
        assert_eq!((person.linkedin_url, person.linkedin_handle), (None, None), "{word}");
    }
    assert_eq!(sent(with("jane-doe").linkedin_handle.as_ref()), Some("jane-doe"));
}

#[test]
fn reserved_domains_are_addresses_only_where_the_settings_say_so() {
    let given = Contact { email: Some("jane@acme.example".into()), ..contact() };
    let person = Person::of(&given, Rules::default(), &RoleMailboxes::parse("info"));
    assert_eq!(person.email, None);
    assert_eq!(person.addresses.len(), 1, "but the suppression list knows it");
}

#[test]
fn mapped_names_win_over_the_full_name_unless_they_are_none() {
    let mut given = Contact { full_name: Some("Jane Doe".into()), ..contact() };
    given.first_name = Some(" Janet ".into());
    given.last_name = Some("N/A".into());
    let person = Person::made_up(&given);
    assert_eq!((sent(person.first_name()), sent(person.last_name())), (Some("Janet"), Some("Doe")));
    // A word that alone would be no name is one beside another.
    let example = Contact { full_name: Some("Jane Example".into()), ..contact() };
    let person = Person::made_up(&example);
    assert_eq!((sent(person.first_name()), sent(person.last_name())), (Some("Jane"), Some("Example")));
    assert_eq!(person.last_name().unwrap().normal.as_deref(), Some("example"));
    let parts = Contact { first_name: Some("Jane".into()), last_name: Some("Doe".into()), ..contact() };
    let person = Person::made_up(&parts);
    assert_eq!(sent(person.full_name.as_ref()), Some("Jane Doe"));
    let half = Contact { first_name: Some("Jane".into()), ..contact() };
    let person = Person::made_up(&half);
    assert_eq!((person.full_name.as_ref(), person.called()), (None, Some("jane")));
}

#[test]
fn other_values_go_out_as_they_are_stored() {
    let mut given = contact();
    given.values.set(Field::LINKEDIN_URL, " LinkedIn.com/in/Jane-Doe/ ".into());
    given.values.set(Field::PHONE, " +1 (202) 555-0123 ".into());
    given.values.set(Field::COMPANY_NAME, " Acme  Inc ".into());
    let person = Person::made_up(&given);
    assert_eq!(sent(person.linkedin_url.as_ref()), Some("LinkedIn.com/in/Jane-Doe/"));
    assert_eq!(sent(person.linkedin_handle.as_ref()), Some("jane-doe"));
    assert_eq!(sent(person.phone.as_ref()), Some("+1 (202) 555-0123"));
    assert_eq!(sent(person.company_name.as_ref()), Some("Acme  Inc"));
    assert_eq!(person.company_name.as_ref().unwrap().form(), "acme inc");
    // Six digits are sent, and identify nobody.
    given.values.set(Field::PHONE, "555 012".into());
    let person = Person::made_up(&given);
    assert_eq!(person.phone, Some(Given { sent: "555 012".into(), normal: None }));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic_or_gives_empty_values(text in "\\PC{0,40}") {
        let mut given = Contact {
            full_name: Some(text.clone()),
            email: Some(text.clone()),
            company_domain: Some(text.clone()),
            ..contact()
        };
        for field in Field::all() {
            given.values.set(field, text.clone());
        }
        let person = Person::made_up(&given);
        let own = [&person.full_name, &person.email, &person.company_domain, &person.company_name];
        let fields = [&person.linkedin_url, &person.linkedin_handle, &person.phone, &person.location];
        let all = own.into_iter().chain(fields).filter_map(Option::as_ref);
        for value in all.chain(person.first_name()).chain(person.last_name()) {
            proptest::prop_assert!(!value.sent.trim().is_empty() && !value.form().is_empty(), "{:?}", value);
        }
    }
}

#[test]
fn what_does_not_identify_alone_is_named() {
    let contact = |email: &str, phone: &str| {
        let mut contact = Contact { email: Some(email.to_owned()), ..Contact::default() };
        contact.values.set(Field::PHONE, phone.to_owned());
        contact
    };
    for (email, phone, no_value, not_alone) in [
        ("jane@acme.example", "+15550100100", &[][..], &[][..]),
        ("info@acme.example", "12345", &[], &["email", "phone"]),
        ("N/A", "12345", &["email"], &["phone"]),
        ("n/a", "-", &["email", "phone"], &[]),
    ] {
        let contact = contact(email, phone);
        let person = Person::made_up(&contact);
        assert_eq!(
            (person.without_value(&contact), person.not_alone()),
            (no_value.to_vec(), not_alone.to_vec())
        );
        let failure = Failure::no_match(NoMatchReason::NotIdentifiable).explained(no_value, not_alone);
        let named = |key: &str| failure.detail()[key].as_array().map_or(0, Vec::len);
        assert_eq!((named("no_value"), named("not_alone")), (no_value.len(), not_alone.len()));
        let told = failure.text();
        assert_eq!(told.contains("N/A"), !no_value.is_empty(), "{told}");
        assert_eq!(told.contains("role mailbox"), not_alone.contains(&"email"), "{told}");
        assert!(!told.contains("acme") && !told.contains("12345"), "no value is told: {told}");
        let other = Failure::no_match(NoMatchReason::NoData).explained(&["email"], &["phone"]);
        assert_eq!(other, Failure::no_match(NoMatchReason::NoData));
    }
}
