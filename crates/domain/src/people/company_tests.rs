use proptest::prelude::*;

use super::*;
use crate::people::{Rules, email};

#[test]
fn the_domain_of_a_company_is_the_registrable_one_in_any_spelling() {
    for text in [
        "acme.example",
        "ACME.example",
        "www.acme.example",
        "https://www.acme.example/about",
        "http://acme.example:8080/",
        "acme.example.",
        "https://user:pass@mail.acme.example/x?y#z",
        "jane@acme.example",
        "@acme.example",
        "//acme.example",
        " acme.example ",
        "<https://acme.example>",
        "sales.emea.acme.example",
        "ａｃｍｅ．ｅｘａｍｐｌｅ",
        "acme.example/",
    ] {
        assert_eq!(domain(text).as_deref(), Some("acme.example"), "{text}");
    }
    for (text, expected) in [
        ("mail.acme.co.uk", "acme.co.uk"),
        ("https://www.acme.com.au/about", "acme.com.au"),
        ("https://www.bücher.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("acme.github.io", "acme.github.io"),
        ("linkedin.com", "linkedin.com"),
    ] {
        assert_eq!(domain(text).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn what_is_no_companys_domain_is_none() {
    for text in [
        "",
        "-",
        "N/A",
        "n/a",
        "unknown",
        "none",
        "acme",
        "Acme Ltd",
        "co.uk",
        "com",
        "com.au",
        "github.io",
        "127.0.0.1",
        "http://[::1]/",
        "acme..example",
        "acme,example",
        "acme.example:x",
        "localhost",
        "acme.local",
        "deleted.invalid",
        "https://",
        "http:///",
        "acme .example",
        "gmail.com",
        "GMAIL.com",
        "jane@gmail.com",
        "googlemail.com",
        "yahoo.co.jp",
        "yahoo.example",
        "web.de",
        "gmx.net",
        "hotmail.fr",
        "outlook.com.br",
        "privaterelay.appleid.com",
        "duck.com",
        "mozmail.com",
        "relay.firefox.com",
        "acme.onmicrosoft.com",
        "onmicrosoft.com",
        "mailinator.com",
        "x.mailinator.com",
        "yopmail.com",
        "guerrillamail.com",
        "https://www.linkedin.com/company/acme",
        "https://facebook.com/acme",
    ] {
        assert_eq!(domain(text), None, "{text:?}");
    }
    let of = |text| domain_of(&email::first(text, Rules { reserved_domains: true }).unwrap());
    assert_eq!(of("jane@mail.acme.example").as_deref(), Some("acme.example"));
    assert_eq!((of("jane@gmail.com"), of("jane@mailinator.com")), (None, None));
}

/// The mail services with a rank, as the npm package email-providers 2.26.0 lists them in common.json, are all in the list; so
/// is every throw-away domain in its own.
#[test]
fn no_mail_service_and_no_throw_away_domain_is_a_companys() {
    for entry in MAIL_PROVIDERS.entries().chain(THROW_AWAY.entries()) {
        assert_eq!(domain(entry), None, "{entry}");
    }
    for company in [
        "ibm.com",
        "sap.com",
        "siemens.com",
        "salesforce.com",
        "airbus.com",
        "hubspot.com",
        "mckinsey.com",
        "telekom.de",
        "acme.com",
    ] {
        assert!(domain(company).is_some(), "{company}");
    }
}

#[test]
fn names_that_name_no_company_identify_nobody() {
    for text in [
        "",
        " ",
        "-",
        "n/a",
        "N/A",
        "unknown",
        "none",
        "[not provided]",
        "Not provided",
        "TBD",
        "?",
        "Freelance",
        "freelancer",
        "Self-employed",
        "self employed",
        "Self Employed",
        "SELF-EMPLOYED",
        "Private",
        "Student",
        "Retired",
        "Unemployed",
        "Confidential",
        "Stealth Startup",
        "(none)",
        "Selbstständig",
        "Test",
        "Company Name",
        "gmail.com",
        "Web.de",
        "https://www.gmail.com/",
        "info@gmail.com",
        "@gmail.com",
        "mailinator.com",
    ] {
        assert!(!identifies(text), "{text:?}");
    }
    for text in [
        "Acme",
        "Acme Ltd",
        "Student Loans Company",
        "Freelance.com",
        "Private Bank of Example",
        "3M",
        "株式会社アクメ",
        "acme.com",
        "Booking.com",
    ] {
        assert!(identifies(text), "{text:?}");
    }
}

#[test]
fn names_are_one_companys_whatever_case_punctuation_and_legal_form() {
    for (a, b) in [
        ("Acme Ltd", "ACME Limited"),
        ("Acme, Inc.", "acme inc"),
        ("Acme", "Acme Corporation"),
        ("Acme GmbH", "Acme GmbH & Co. KG"),
        ("Acme S.A.", "Acme SA"),
        ("Acme Sp. z o.o.", "Acme"),
        ("Acme Co., Ltd.", "Acme"),
        ("Acme Pty Ltd", "ACME PTY. LTD."),
        ("The Acme Company", "Acme"),
        ("Müller & Söhne AG", "MÜLLER UND SÖHNE"),
        ("Johnson and Johnson", "Johnson & Johnson Inc."),
        ("O'Neil Ltd", "ONeil"),
        ("Acme-Tools", "Acme Tools"),
        ("ООО Ромашка", "Ромашка"),
        ("株式会社 アクメ", "アクメ"),
        ("PT Acme Indonesia", "Acme Indonesia"),
        ("Ｅxample Ltd", "Example"),
    ] {
        assert!(same(a, b) && same(b, a), "{a} / {b}: {:?} {:?}", core(a), core(b));
    }
    for (a, b) in [
        ("Acme", "Other"),
        ("Acme Tools", "Acme"),
        ("", ""),
        ("-", "-"),
        ("Company", "Limited"),
        ("Acme Holding", "Acme"),
    ] {
        assert!(!same(a, b), "{a} / {b}");
    }
    assert!(same("Limited", "limited"), "a name of nothing but a form is a name");
}

proptest! {
    #[test]
    fn a_domain_is_its_own_and_no_text_makes_it_panic(text in any::<String>(), host in "(https?://)?[a-zü.-]{1,14}(/x)?") {
        for given in [&text, &host] {
            if let Some(found) = domain(given) {
                prop_assert_eq!(domain(&found), Some(found.clone()));
            }
            identifies(given);
            same(given, &host);
        }
    }
}
