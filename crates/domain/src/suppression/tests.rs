use super::entry::Mistake;
use uuid::Uuid;

use super::*;
use crate::fields::Field;

fn contact(email: Option<&str>, name: Option<&str>, fields: &[(Field, &str)]) -> Contact {
    let mut contact =
        Contact { email: email.map(str::to_owned), full_name: name.map(str::to_owned), ..Contact::default() };
    for (field, value) in fields {
        contact.values.set(*field, (*value).to_owned());
    }
    contact
}

/// A row of the first workspace.
fn row(number: u8) -> ContactRow {
    ContactRow { workspace: Uuid::from_u128(1), hash: [number; 16] }
}

fn listed(contact: &Contact) -> Vec<Hash> {
    of_refusal(&Person::made_up(contact).in_row(row(1)))
}

/// Whether a refusal about one stops the other, which is in another row.
fn meets(refused: &Contact, other: &Contact) -> bool {
    let list = listed(refused);
    of_person(&Person::made_up(other).in_row(row(2)), other).iter().any(|hash| list.contains(hash))
}

fn entry(text: &str) -> Entry {
    Entry::parse(text).unwrap_or_else(|mistake| panic!("{text}: {}", mistake.words()))
}

/// Whether an entry stops a contact.
fn stops(text: &str, contact: &Contact) -> bool {
    of_person(&Person::made_up(contact), contact).contains(&entry(text).hash)
}

#[test]
fn a_person_is_known_again_by_address_or_profile_in_any_spelling() {
    let jane =
        contact(Some("Jane@Acme.example "), None, &[(Field::LINKEDIN_URL, "linkedin.com/in/Jane-Doe")]);
    assert!(meets(&jane, &contact(Some("jane@acme.EXAMPLE"), None, &[])));
    let profile = [(Field::LINKEDIN_URL, "https://de.linkedin.com/in/jane-doe/")];
    assert!(meets(&jane, &contact(Some("other@x.example"), None, &profile)));
    assert!(!meets(&jane, &contact(Some("joe@acme.example"), None, &[])));
    assert_eq!(entry("JANE@acme.example"), entry(" jane@acme.example"));
    assert_eq!(entry("linkedin.com/in/Jane-Doe").hash, entry("https://www.linkedin.com/in/jane-doe/").hash);
    // Each address of a field counts.
    let two = contact(Some("x@y.example; jane@acme.example"), None, &[]);
    assert!(meets(&jane, &two) && meets(&two, &jane));
}

#[test]
fn a_refusal_of_a_contact_with_many_addresses_is_kept_within_bounds() {
    let field = |n: usize| (0..n).map(|n| format!("jane{n}@acme.example")).collect::<Vec<_>>().join("; ");
    let profile = [(Field::LINKEDIN_URL, "linkedin.com/in/jane-doe-7")];
    let sixty = contact(Some(&field(60)), None, &profile);
    assert_eq!(listed(&sixty).len(), 61, "each of them");
    assert!(meets(&sixty, &contact(Some("jane59@acme.example"), None, &[])));
    let many = contact(Some(&field(5_000)), None, &profile);
    assert_eq!(listed(&many).len(), MOST_OF_A_REFUSAL + 1);
    for other in [contact(Some("jane0@acme.example"), None, &[]), contact(None, None, &profile)] {
        assert!(meets(&many, &other), "{other:?}");
    }
    assert!(listed(&many).contains(&by_row(row(1))), "and the row, whatever is asked by next");
}

#[test]
fn what_others_have_as_well_is_never_listed() {
    for email in ["N/A", "unknown", "-", "info@acme.example", ""] {
        let phone = [(Field::PHONE, "+1 202 555 0100"), (Field::LINKEDIN_URL, "TBD")];
        let refused = contact(Some(email), Some("Jane Doe"), &phone);
        assert!(meets(&refused, &refused), "{email}: kept all the same");
        assert!(!meets(&refused, &contact(Some(email), Some("John Roe"), &phone)), "{email}");
        assert!(!meets(&refused, &contact(Some(email), None, &phone)), "{email}");
    }
    // A colleague behind the same switchboard.
    let phone = [(Field::PHONE, "+1 202 555 0100")];
    let refused = contact(Some("a@acme.example"), None, &phone);
    assert!(!meets(&refused, &contact(Some("b@acme.example"), None, &phone)));
}

#[test]
fn a_telephone_number_alone_is_kept_for_its_row_alone() {
    let one = contact(None, None, &[(Field::PHONE, "+1 202 555 0100")]);
    assert_eq!(listed(&one), [by_row(row(1))]);
    assert!(of_person(&Person::made_up(&one).in_row(row(1)), &one).contains(&by_row(row(1))));
    assert!(!meets(&one, &one), "in another row it is anybody");
    let elsewhere = ContactRow { workspace: Uuid::from_u128(2), ..row(1) };
    let of_another = of_person(&Person::made_up(&one).in_row(elsewhere), &one);
    assert!(!of_another.iter().any(|hash| listed(&one).contains(hash)), "in another workspace, too");
    // Nothing that tells who it is, but a row.
    assert_eq!(listed(&contact(None, None, &[])), [by_row(row(1))]);
}

#[test]
fn who_has_neither_address_nor_profile_is_known_by_all_that_was_sent() {
    let name = contact(None, Some("Jane Doe"), &[(Field::COMPANY_NAME, "Acme")]);
    let more = [(Field::COMPANY_NAME, " ACME"), (Field::PHONE, "+1 202 555 0100"), (Field::LOCATION, "Oslo")];
    assert!(meets(&name, &contact(None, Some("jane  doe"), &more)), "what came since makes it nobody else");
    assert!(meets(&name, &contact(Some("jd@x.example"), Some("Jane Doe"), &[(Field::COMPANY_NAME, "Acme")])));
    assert!(!meets(&name, &contact(None, Some("Jane Doe"), &[(Field::COMPANY_NAME, "Globex")])));
    assert!(!meets(&name, &contact(None, Some("John Roe"), &[(Field::COMPANY_NAME, "Acme")])));
    // A namesake elsewhere in the same town is told by an address of their own.
    let town = contact(None, Some("Jane Doe"), &[(Field::LOCATION, "Oslo")]);
    assert!(meets(&town, &town));
    assert!(!meets(&town, &contact(Some("jd@x.example"), Some("Jane Doe"), &[(Field::LOCATION, "Oslo")])));
    // All of it, not a part.
    let refused = contact(None, Some("Jane Doe"), &more);
    assert!(!meets(&refused, &name));
    let only_name = contact(None, Some("Jane Doe"), &[]);
    assert!(meets(&only_name, &only_name) && !meets(&only_name, &name));
}

#[test]
fn a_whole_domain_is_its_addresses_those_below_it_and_its_company() {
    for email in ["jane@acme.example", "jane@mail.acme.example", "x@y.example, jane@ACME.example"] {
        assert!(stops("@acme.example", &contact(Some(email), None, &[])), "{email}");
    }
    let mut of_company = contact(Some("jane@gmail.com"), None, &[]);
    of_company.company_domain = Some("https://www.acme.example/".into());
    assert!(stops(" @ACME.example ", &of_company));
    for email in ["jane@notacme.example", "jane@acme.example.org", "acme.example@x.example"] {
        assert!(!stops("@acme.example", &contact(Some(email), None, &[])), "{email}");
    }
    assert!(!stops("@mail.acme.example", &contact(Some("jane@acme.example"), None, &[])));
}

#[test]
fn only_one_value_can_be_put_on_the_list() {
    let mistakes = [
        ("", Mistake::Nothing),
        ("N/A", Mistake::Nothing),
        ("no address", Mistake::Nothing),
        ("@x", Mistake::Nothing),
        ("@", Mistake::Nothing),
        ("jane", Mistake::Nothing),
        ("jane@", Mistake::Nothing),
        ("+1 202 555 0100", Mistake::Nothing),
        ("https://www.linkedin.com/company/acme", Mistake::Nothing),
        ("a@b.example; c@d.example", Mistake::Several),
        ("a@b.example c@d.example", Mistake::Several),
        ("a@b.example, c@localhost", Mistake::Several),
        ("@b.example, @d.example", Mistake::Several),
        ("@b.example @d.example", Mistake::Several),
        ("*@acme.example", Mistake::Wildcard),
        ("%@acme.example", Mistake::Wildcard),
        ("@*.acme.example", Mistake::Wildcard),
        ("@%.example", Mistake::Wildcard),
        ("*", Mistake::Wildcard),
        ("*.acme.example", Mistake::Wildcard),
        ("*@*", Mistake::Wildcard),
        ("%.%@acme.example", Mistake::Wildcard),
        ("jane@*.example", Mistake::Wildcard),
        ("*@acme.example, jane@acme.example", Mistake::Several),
        ("@co.uk", Mistake::PublicSuffix),
    ];
    for (text, mistake) in mistakes {
        assert_eq!(Entry::parse(text).unwrap_err(), mistake, "{text:?}");
    }
    for text in [
        "jane@acme.example",
        "Jane Doe <jane@acme.example>",
        "\"jane@acme.example\" <jane@acme.example>",
        "mailto:jane@acme.example",
        "info@acme.example",
        "jane+x@acme.example",
        "@acme.example",
        "@acme.co.uk",
    ] {
        entry(text);
    }
    assert!(stops("info@acme.example", &contact(Some("info@acme.example"), None, &[])), "named, it counts");
}

#[test]
fn what_may_not_be_meant_is_told() {
    for text in [
        "@gmail.com",
        " @GoogleMail.com",
        "@yahoo.co.jp",
        "@web.de",
        "@mailinator.com",
        "@privaterelay.appleid.com",
    ] {
        assert_eq!(entry(text).caution, Some(Caution::OpenToAll), "{text}");
    }
    for text in ["r*d@acme.example", "jane%@acme.example", "*jane@acme.example"] {
        assert_eq!(entry(text).caution, Some(Caution::NoWildcard), "{text}");
    }
    for text in ["@acme.example", "jane@gmail.com", "linkedin.com/in/jane", "mailto:jane%40acme.example"] {
        assert_eq!(entry(text).caution, None, "{text}");
    }
}

/// The formulas of the form before, written out.
#[test]
fn who_was_listed_in_the_former_form_stays_so() {
    let old = |kind: &str, parts: &[&str]| {
        let parts: Vec<&[u8]> =
            ["suppression", kind].iter().chain(parts).map(|part| part.as_bytes()).collect();
        hash(&parts)
    };
    let cases = [
        (contact(Some("n/a"), None, &[]), old("email", &["n/a"])),
        (contact(Some("Info@Acme.example"), None, &[]), old("email", &["info@acme.example"])),
        (contact(Some("A@b.example; c@d.example"), None, &[]), old("email", &["a@b.example; c@d.example"])),
        (contact(None, None, &[(Field::PHONE, "000-000-0000")]), old("phone", &["0000000000"])),
        (contact(None, None, &[(Field::PHONE, "+1 (555) 0100")]), old("phone", &["15550100"])),
        (contact(None, None, &[(Field::LINKEDIN_URL, "TBD")]), old("linkedin", &["tbd"])),
        // A bare word identified in the form before this one, too: it was listed as the handle that it may be.
        (contact(None, None, &[(Field::LINKEDIN_URL, "Jane")]), by_profile("jane")),
        (
            contact(None, None, &[(Field::LINKEDIN_URL, "x.linkedin.com/in/J%C3%BC/de")]),
            old("linkedin", &["jü"]),
        ),
        (
            contact(None, Some("Jane Doe"), &[(Field::COMPANY_NAME, " ACME")]),
            old("company", &["jane doe", "acme"]),
        ),
        (
            contact(Some("x@acme.example"), Some("Jane Doe"), &[]),
            old("domain", &["jane doe", "acme.example"]),
        ),
    ];
    for (contact, hash) in cases {
        assert!(of_person(&Person::made_up(&contact), &contact).contains(&hash), "{contact:?}");
        assert!(of_person_alone(&Person::made_up(&contact), &contact).contains(&hash), "{contact:?}");
    }
    assert!(entry("Jane <jane@acme.example>").hashes().any(|h| h == old("email", &["jane@acme.example"])));
    assert!(entry("linkedin.com/in/Jane").hashes().any(|h| h == old("linkedin", &["jane"])));
}

#[test]
fn whoever_is_listed_is_found_in_any_text_of_the_column() {
    let listed = contact(Some("jane.doe@acme.example"), None, &[]);
    for email in [
        r#"=HYPERLINK("mailto:jane.doe@acme.example";"x")"#,
        "mailto:?to=jane.doe@acme.example",
        "see jane.doe (at)acme.example",
    ] {
        assert!(meets(&listed, &contact(Some(email), Some("Jane Doe"), &[])), "{email}");
    }
    for url in [
        "LinkedIn: https://www.linkedin.com/in/jane-doe-77 | x",
        "https://www.linkedin.com/en-us/in/jane-doe-77",
    ] {
        let other = contact(None, Some("Jane Doe"), &[(Field::LINKEDIN_URL, url)]);
        assert!(stops("https://www.linkedin.com/in/jane-doe-77", &other), "{url}");
    }
}

/// Each column holds a note, so that the contact can be asked about by name alone.
#[test]
fn whoever_is_listed_is_found_in_a_note_and_nobody_else() {
    const ID: &str = "ACwAAABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let sales = format!("https://www.linkedin.com/sales/lead/{ID},NAME_SEARCH,abcd");
    let notes = [
        ("jane_doe@acme.example", r"jane\_doe@acme.example", r"mary\_jane\_doe@acme.example"),
        ("jane.doe@acme.example", "jane.doe(work)@acme.example", "jane(doe)@acme.example"),
        ("jane@acme.example", "jane [at] acme [dot] example", "mary.jane [at] acme [dot] example"),
        ("jane@acme.example", r"jane\@acme.example", r"jane\@acme.example.org"),
        ("jane@acme.example", "jane&#x40;acme.example", "&#109;jane&#x40;acme.example"),
        ("d@acme.example", "mail d@acme.example!", "mail r&d@acme.example!"),
        ("@dom.example", "=HYPERLINK(\"mailto:who@dom.example\")", "=HYPERLINK(\"mailto:who@xdom.example\")"),
        ("@dom.example", "who@@dom.example", "dom.example@@who.example"),
        ("@dom.example", "jane\\_doe@mail.dom.example", "jane@dom.example.org"),
        (
            "https://www.linkedin.com/pub/jane-doe/1/2/3",
            "old: linkedin.com/pub/jane-doe/1/2/3",
            "linkedin.com/pub/jane-doe/1/2/4 x",
        ),
        (&sales, &format!("lead: {sales} (hot)"), &format!("lead: {} (hot)", sales.to_lowercase())),
        (
            &sales,
            &format!("x https://www.linkedin.com/profile/view?id={ID}&trk=y"),
            &format!("https://acme.example/view?id={ID} x"),
        ),
    ];
    for (value, note, other) in notes {
        for column in 0..2 {
            let with = |note: &str| match column {
                0 => contact(Some(note), Some("Jane Doe"), &[]),
                _ => contact(None, Some("Jane Doe"), &[(Field::LINKEDIN_URL, note)]),
            };
            assert!(stops(value, &with(note)), "{value}: {note}");
            assert!(!stops(value, &with(other)), "{value}: {other}");
        }
    }
    // A note about the company.
    for (note, stopped) in [("was dom.example, see https://x.example", true), ("xdom.example (old)", false)] {
        let mut given = contact(None, Some("Jane Doe"), &[]);
        given.company_domain = Some(note.into());
        assert_eq!(stops("@dom.example", &given), stopped, "{note}");
    }
}

#[test]
fn a_long_text_is_read_to_its_end() {
    let many = "jane@x.example, ".repeat(1 << 14);
    let domains: String = (0..10_000).map(|n| format!("x@d{n}.example ")).collect();
    for filler in ["word ".repeat(50_000), "é".repeat(1 << 17), many, domains] {
        let tail = "joe@acme.example, https://www.linkedin.com/in/joe-roe-7";
        let contact = contact(Some(&format!("{filler} {tail}")), None, &[]);
        let all = of_person(&Person::made_up(&contact), &contact);
        for value in ["joe@acme.example", "@acme.example", "https://www.linkedin.com/in/joe-roe-7"] {
            assert!(all.contains(&entry(value).hash), "{value}");
        }
        assert!(!all.contains(&entry("zoe@acme.example").hash));
    }
}

#[test]
fn what_a_contact_is_found_by_can_be_lifted_where_it_is_nobody_elses() {
    let lifts = |value: &str, contact: &Contact| {
        of_person_alone(&Person::made_up(contact), contact).contains(&entry(value).hash)
    };
    let disguised = contact(Some("jane [at] acme [dot] example"), None, &[]);
    assert!(stops("jane@acme.example", &disguised) && lifts("jane@acme.example", &disguised));
    let note = [(Field::LINKEDIN_URL, "see linkedin.com/in/jane-doe-7 now")];
    assert!(lifts("https://www.linkedin.com/in/jane-doe-7", &contact(None, None, &note)));
    // Somebody else's, beside an address of their own.
    let beside = contact(Some("joe@acme.example (assistant: jane [at] acme [dot] example)"), None, &[]);
    assert!(stops("jane@acme.example", &beside) && !lifts("jane@acme.example", &beside));
    assert!(lifts("joe@acme.example", &beside));
    assert!(
        !lifts("@acme.example", &disguised)
            && domains_of_person(&Person::made_up(&disguised), &disguised)
                .contains(&entry("@acme.example").hash)
    );
}

#[test]
fn what_has_something_beside_the_address_is_refused() {
    for text in [
        "jane2@b.example https://www.linkedin.com/in/jane-two-99",
        "mailto:?cc=kim@b.example",
        "a@b.example (old: c at d.example)",
        "a@b.example (old: c@d.example)",
        "c@localhost a@b.example",
        "c [at] d [dot] example, a@b.example",
        "c\\_c@d.example, a@b.example",
    ] {
        assert!(Entry::parse(text).is_err(), "{text}");
    }
    // What names the field it comes from is one address, as it is for a contact.
    for text in ["mailto:?to=jane@b.example", "mailto:?subject=x&to=jane@b.example", "email=jane@b.example"] {
        assert_eq!(entry(text).hash, entry("jane@b.example").hash, "{text}");
        let contact = contact(Some(text), None, &[]);
        assert_eq!(Person::made_up(&contact).email.unwrap().sent, "jane@b.example", "{text}");
    }
    for text in [
        "Jane Doe <jane@b.example>",
        "mailto:jane@b.example?subject=x",
        "jane@b.example;",
        "(jane@b.example)",
    ] {
        assert!(Entry::parse(text).is_ok(), "{text}");
    }
}

/// Whether the contact is asked about by an address, and each form of it that the world sees can be listed and taken off.
fn can_be_listed(contact: &Contact) -> bool {
    let person = Person::made_up(contact);
    let Some(email) = &person.email else { return false };
    for form in [&email.sent, email.normal.as_ref().unwrap()] {
        let entry = Entry::parse(form).unwrap_or_else(|mistake| panic!("{form}: {}", mistake.words()));
        assert!(of_person(&person, contact).contains(&entry.hash), "{form}");
    }
    true
}

#[test]
fn whatever_a_contact_is_asked_by_can_be_listed() {
    for sign in "!#$%&'*+-/=?^_~.".chars() {
        for local in [format!("r{sign}d"), format!("ab{sign}cd{sign}ef")] {
            let contact = contact(Some(&format!("{local}@acme.example")), None, &[]);
            assert!(can_be_listed(&contact), "{local}");
        }
    }
    assert!(!stops("r&d@acme.example", &contact(Some("rd@acme.example"), None, &[])));
    assert!(!stops("r*d@acme.example", &contact(Some("rxd@acme.example"), None, &[])), "no wildcard");
}

proptest::proptest! {
    #[test]
    fn whatever_address_is_read_can_be_listed(text in "[ \"'<({]{0,2}(mailto:|email=)?[a-zA-Z.+ü&/=?*%'{}_-]{1,8}[})'\"]?@[a-zA-Zü.-]{1,9}\\.example[>\",; )}']{0,2}") {
        can_be_listed(&contact(Some(&text), None, &[]));
    }
}

#[test]
fn words_right_before_an_address_may_be_half_of_another() {
    for text in ["jane roe@acme.example", "Jane Roe jane.roe@acme.example", "to jane@acme.example"] {
        assert_eq!(Entry::parse(text).unwrap_err(), Mistake::Nothing, "{text}");
    }
    for text in [
        "Jane Roe <jane@acme.example>",
        "\"Jane Roe\" <jane@acme.example>",
        "mailto:jane@acme.example",
        "Jane (jane@acme.example)",
    ] {
        assert!(stops(text, &contact(Some("jane@acme.example"), None, &[])), "{text}");
    }
}

#[test]
fn gmail_has_two_domains() {
    for (listed, asked) in [("@gmail.com", "i@googlemail.com"), ("@googlemail.com", "i@gmail.com")] {
        assert!(stops(listed, &contact(Some(asked), None, &[])), "{listed} {asked}");
        assert!(!stops(listed, &contact(Some("i@mail.example"), None, &[])));
    }
}
