use proptest::prelude::*;

use super::*;

const RULES: Rules = Rules { reserved_domains: true };

fn normal(text: &str) -> Option<String> {
    first(text, RULES).map(|address| address.normal)
}

/// One address as mail programs, exports, spreadsheets and people write it.
const SPELLINGS: [&str; 52] = [
    "jane.doe@bücher.example",
    "Jane.Doe@bücher.example",
    "JANE.DOE@BÜCHER.EXAMPLE",
    "jane.doe@Bücher.Example",
    "jane.doe@xn--bcher-kva.example",
    "JANE.DOE@XN--BCHER-KVA.EXAMPLE",
    "jane.doe@bu\u{308}cher.example",
    " jane.doe@bücher.example ",
    "\tjane.doe@bücher.example\r\n",
    "\u{a0}jane.doe@bücher.example\u{3000}",
    "\u{feff}jane.doe@bücher.example",
    "jane.doe\u{200b}@bücher.example",
    "jane.doe@bücher\u{ad}.example",
    "jane.doe@bücher.example.",
    "jane.doe@bücher.example,",
    "jane.doe@bücher.example;",
    "jane.doe@bücher.example .",
    "jane.doe@bücher.example;;",
    "\"jane.doe@bücher.example\"",
    "'jane.doe@bücher.example'",
    "`jane.doe@bücher.example`",
    "\u{201c}jane.doe@bücher.example\u{201d}",
    "\u{201e}jane.doe@bücher.example\u{201c}",
    "\u{ab}jane.doe@bücher.example\u{bb}",
    "\"jane.doe@bücher.example",
    "\"jane.doe\"@bücher.example",
    "<jane.doe@bücher.example>",
    "(jane.doe@bücher.example)",
    "[jane.doe@bücher.example]",
    "{jane.doe@bücher.example}",
    "<<jane.doe@bücher.example>>",
    "\"<jane.doe@bücher.example>\"",
    "Jane Doe <jane.doe@bücher.example>",
    "\"Doe, Jane\" <jane.doe@bücher.example>",
    "Doe, Jane <jane.doe@bücher.example>",
    "\"jane@private.example\" <jane.doe@bücher.example>",
    "Jane Doe (jane.doe@bücher.example)",
    "jane.doe@bücher.example (Jane Doe)",
    "Jane Doe jane.doe@bücher.example",
    "Jane Doe; jane.doe@bücher.example",
    "mailto:jane.doe@bücher.example",
    "MAILTO:Jane.Doe@bücher.example",
    "mailto: jane.doe@bücher.example",
    "mailto://jane.doe@bücher.example",
    "mailto:jane.doe@bücher.example?subject=Hello%20Jane",
    "mailto:jane.doe%40b%C3%BCcher.example",
    "<mailto:jane.doe@bücher.example>",
    "mailto:<jane.doe@bücher.example>",
    "email:jane.doe@bücher.example",
    "SMTP:Jane.Doe@bücher.example",
    "E-mail: jane.doe@bücher.example",
    "ｊａｎｅ．ｄｏｅ＠ｂücher．ｅｘａｍｐｌｅ",
];

#[test]
fn all_spellings_of_an_address_are_one() {
    for text in SPELLINGS {
        assert_eq!(normal(text).as_deref(), Some("jane.doe@xn--bcher-kva.example"), "{text:?}");
        let sent = first(text, RULES).unwrap().sent;
        assert_eq!(normal(&sent).as_deref(), Some("jane.doe@xn--bcher-kva.example"), "{text:?}: {sent}");
        assert!(!sent.contains([' ', '<', '"', ';', ',', '(', '?']), "{text:?}: {sent}");
    }
    assert_eq!(first("\"Jane\" <Jane.Doe@Acme.example>", RULES).unwrap().sent, "Jane.Doe@Acme.example");
}

#[test]
fn what_stands_around_a_part_of_an_address_is_no_part_of_it() {
    for text in [
        "{jane.doe}@acme.example",
        "'jane.doe'@acme.example",
        "`jane.doe`@acme.example",
        "(jane.doe)@acme.example",
        "[jane.doe]@acme.example",
        "\"jane.doe\"@acme.example",
        "\"'jane.doe'\"@acme.example",
        "{'jane.doe'}@acme.example",
        "({jane.doe}@acme.example)",
        "\u{201c}jane.doe\u{201d}@acme.example",
        "\u{201e}jane.doe\u{201c}@acme.example",
        "\u{ab}jane.doe\u{bb}@acme.example",
        "Jane Doe <{jane.doe}@acme.example>",
        "mailto:{jane.doe@acme.example}",
        "mailto:{jane.doe}@acme.example",
        "mailto:'jane.doe'@acme.example",
        "mailto:%22jane.doe%22@acme.example",
        "\u{2022}jane.doe@acme.example",
        "\u{2192}jane.doe@acme.example",
        "\u{2709}\u{fe0f}jane.doe@acme.example",
        "jane.doe@acme.example\u{2714}",
        "\u{300c}jane.doe@acme.example\u{300d}",
        "jane.doe@acme.example\u{3001}other@acme.example",
        "'jane.doe@acme.example",
    ] {
        let address = first(text, RULES).unwrap_or_else(|| panic!("{text}"));
        let expected =
            Address { sent: "jane.doe@acme.example".into(), normal: "jane.doe@acme.example".into() };
        assert_eq!(address, expected, "{text}");
    }
    // Rather nobody than somebody else.
    for text in [
        "\"jane doe\"@acme.example",
        "jane\"@acme.example",
        "jane}@acme.example",
        "jane{@acme.example",
        "{jane,joe}@acme.example",
        "{jane|joe}@acme.example",
        "{first}.{last}@acme.example",
        "jane`@acme.example",
        "jane\u{bb}@acme.example",
        "jane\u{1f680}doe@acme.example",
        "(jane@acme.example)@other.example",
    ] {
        assert_eq!(first(text, RULES), None, "{text}");
    }
    assert_eq!(normal("o'neil'@acme.example").as_deref(), Some("o'neil'@acme.example"), "nothing was opened");
    assert_eq!(
        normal("जॉन@acme.example").as_deref(),
        Some("जॉन@acme.example"),
        "marks of a script are letters"
    );
}

#[test]
fn several_addresses_in_one_field_are_all_found_and_the_first_is_sent() {
    for text in [
        "a@acme.example; b@acme.example",
        "a@acme.example, b@acme.example",
        "a@acme.example,b@acme.example",
        "a@acme.example;b@acme.example;a@ACME.example",
        "a@acme.example b@acme.example",
        "a@acme.example\nb@acme.example",
        "a@acme.example | b@acme.example",
        "a@acme.example / b@acme.example",
        "a@acme.example/b@acme.example",
        "A <a@acme.example>, B <b@acme.example>",
        "A <a@acme.example>,b@acme.example",
        "<a@acme.example><b@acme.example>",
        "mailto:a@acme.example,b@acme.example?subject=x",
        "jane, a@acme.example, b@acme.example",
    ] {
        let found: Vec<String> = addresses(text, RULES).into_iter().map(|address| address.normal).collect();
        assert_eq!(found, ["a@acme.example", "b@acme.example"], "{text:?}");
    }
}

#[test]
fn what_is_no_address_is_none() {
    for text in [
        "",
        " ",
        "-",
        "@",
        "@@",
        "?",
        "0",
        "n/a",
        "N/A",
        "unknown",
        "none",
        "jane",
        "jane@",
        "@acme.example",
        "jane@acme",
        "jane@@acme.example",
        "jane@acme@example.org",
        "jane@acme,example",
        "jane@acme.co,uk",
        "jane acme.example",
        "jane@.example",
        "jane@acme..example",
        "jane@-acme.example",
        "jane@acme.example-",
        "jane@acme.1",
        "jane@127.0.0.1",
        "jane@[127.0.0.1]",
        ".jane@acme.example",
        "jane.@acme.example",
        "jane..doe@acme.example",
        "...@acme.example",
        "-@acme.example",
        "#N/A",
        "#REF!",
        "#VALUE!",
        "=A1",
        "=HYPERLINK(\"mailto:jane@acme.example\")",
        "deleted-4711@deleted.invalid",
        "jane@localhost",
        "jane@acme.localhost",
        "jane@acme.local",
        "jane@acme.internal",
        "jane(at)acme.example",
        "jane [at] acme [dot] example",
        "https://acme.example/@jane",
        "https://user@acme.example/",
        "null@null.com",
        "noemail@noemail.com",
        "no-email@gmail.com",
        "test@test.com",
        "asdf@asdf.com",
        "email@email.com",
        "user@domain.com",
        "name@company.com",
        "na@na.com",
        "unknown@unknown.org",
        "jane@acme_.",
        "jane doe",
        "\u{200b}",
        "jane@acme.example@",
        "@janedoe",
        "j\u{e4}ne@",
        "jane@ acme",
        "+@acme.example",
    ] {
        assert_eq!(addresses(text, RULES), [], "{text:?}");
    }
    for real in ["jane@test.com", "test@acme.example", "company@acme.example", "jane@company.com"] {
        assert!(first(real, RULES).is_some(), "{real}");
    }
    for real in ["jane@acme.example", "jane@acme.test", "jane@example.com", "jane@example.org"] {
        assert!(first(real, Rules::default()).is_none() && first(real, RULES).is_some(), "{real}");
    }
    for text in [
        "jane@acme.com",
        "j@x.co",
        "jane.doe+tag@mail.acme.co.uk",
        "o'neil@acme.com",
        "jane_@acme.com",
        "x--y@xn--p1ai.com",
        "12@34.com",
        "jane..@docomo.ne.jp",
    ] {
        assert!(first(text, Rules::default()).is_some(), "{text}");
    }
}

#[test]
fn one_person_has_one_form_for_suppression() {
    let person = |text: &str| first(text, RULES).unwrap().person();
    for text in [
        "jane.doe@gmail.com",
        "JaneDoe@googlemail.com",
        "j.a.n.e.doe+news@gmail.com",
        "janedoe+x+y@gmail.com",
    ] {
        assert_eq!(person(text), "janedoe@gmail.com", "{text}");
    }
    assert_eq!(person("Jane.Doe+crm@acme.example"), "jane.doe@acme.example");
    assert_eq!(person("+jane@acme.example"), "+jane@acme.example", "a tag needs something before it");
    let address = first("Jane.Doe+crm@Acme.example", RULES).unwrap();
    assert_eq!((address.local(), address.domain()), ("jane.doe+crm", "acme.example"));
}

#[test]
fn mailboxes_of_a_role_are_those_of_the_setting() {
    let is_role =
        |setting: &str, text: &str| RoleMailboxes::parse(setting).contains(&first(text, RULES).unwrap());
    for text in [
        "info@acme.example",
        "INFO@acme.example",
        "info+x@acme.example",
        "sales@acme.example",
        "office@acme.example",
        "no-reply@acme.example",
    ] {
        assert!(is_role(ROLE_MAILBOXES, text), "{text}");
    }
    for text in
        ["jane@acme.example", "information.desk@acme.example", "infos@acme.example", "jane@info.example"]
    {
        assert!(!is_role(ROLE_MAILBOXES, text), "{text}");
    }
    assert!(
        is_role("frontdesk@;  INFO", "info@acme.example")
            && is_role("frontdesk@;  INFO", "frontdesk@acme.example")
    );
    assert!(!is_role("", "info@acme.example"));
}

/// Each of these kept a walk over the text from coming forward, or would if it looked back.
#[test]
fn a_long_text_is_read_to_its_end() {
    for part in [
        "x",
        "@",
        "a@",
        "@ ",
        "a,",
        ", ",
        "a@b.example, ",
        "a@b,",
        "a@ <",
        "a@b.example<",
        "%",
        "%40",
        "mailto:",
        "\"",
        "(@",
        "{a}@ ",
        "a@b/",
        "é@",
        "\u{301}",
        "?",
        "<",
        ">",
        "a  @",
        "xn--@",
    ] {
        let text = format!("{} <jane@acme.example> ; >", part.repeat((1 << 17) / part.len()));
        assert!(addresses(&text, RULES).iter().any(|found| found.normal == "jane@acme.example"), "{part:?}");
    }
}

proptest! {
    /// A semicolon behind it leads another way to the same.
    #[test]
    fn the_short_way_leads_where_the_long_one_does(local in "([a-zA-Z0-9._+-]{1,9}|noemail|none|n-a|null)", domain in "([a-zA-Z0-9.-]{1,9}\\.)?(com|example|xn--p1ai|invalid|na\\.com|null\\.com)") {
        let text = format!("{local}@{domain}");
        prop_assert_eq!(addresses(&text, RULES), addresses(&format!("{text};"), RULES));
    }

    #[test]
    fn a_normal_form_is_its_own_normal_form(text in "[ \"<(]{0,2}(mailto:)?[a-zA-Z.+ü]{1,9}@[a-zA-Zü.-]{1,12}[>\",; )]{0,2}") {
        if let Some(address) = first(&text, RULES) {
            prop_assert_eq!(normal(&address.normal), Some(address.normal.clone()));
            prop_assert_eq!(normal(&address.sent), Some(address.normal.clone()));
        }
    }

    /// Whatever is read is what goes out, read once more.
    #[test]
    fn what_is_sent_is_what_was_read(before in "[\\[({<\"'`:\u{201c}\u{ab}\u{2022}]{0,3}", local in "[a-z.'&*{}\"`|%/=ü\u{bb}]{1,8}", after in "[\\])}>\"'`\u{201d}\u{bb}]{0,3}@[a-z]{1,4}\\.example[)}>\"'`]{0,2}") {
        for address in addresses(&format!("{before}{local}{after}"), RULES) {
            prop_assert!(!address.sent.contains(['{', '}', '"', '`', '(', ')', '\u{bb}', '\u{201d}']), "{}", address.sent);
            prop_assert_eq!(address.sent.to_lowercase(), address.normal.clone());
            prop_assert_eq!(addresses(&address.sent, RULES), vec![address]);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), domain in "\\PC{0,20}") {
        for given in [text.clone(), format!("{text}@{domain}"), format!("jane@{domain}.example")] {
            for address in addresses(&given, RULES) {
                prop_assert!(address.normal.matches('@').count() == 1 && !address.person().is_empty());
            }
        }
    }
}
