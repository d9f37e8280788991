use proptest::prelude::*;

use super::*;
use crate::contact::Contact;
use crate::fields::{Field, FieldMap};
use crate::person::Person;

fn contact() -> Contact {
    Contact {
        full_name: Some("Jane Doe".into()),
        email: Some(" jane+x@acme.example ".into()),
        values: FieldMap::from_iter([(Field::COMPANY_NAME, "A & B\r\nX-Evil: 1".to_owned())]),
        ..Contact::default()
    }
}

fn jane() -> Person {
    Person::made_up(&contact())
}

fn render(source: &str, encoding: Encoding) -> Option<String> {
    let person = jane();
    let values = Values::of(&person, Some("s3cr\"et"));
    Template::parse(source).expect("a sound template").render(&values, encoding)
}

#[test]
fn placeholders_stand_for_what_is_known() {
    let cases = [
        ("{email}", "jane+x@acme.example"),
        ("{full_name}", "Jane Doe"),
        ("{first_name}.{last_name}", "Jane.Doe"),
        ("{company_domain}", "acme.example"),
        ("Bearer {secret}", "Bearer s3cr\"et"),
        ("plain", "plain"),
        ("", ""),
        ("{{{email}}}", "{jane+x@acme.example}"),
        ("{{email}}", "{email}"),
    ];
    for (source, expected) in cases {
        let rendered = render(source, Encoding::Plain);
        assert_eq!(rendered.as_deref(), Some(expected), "{source}");
    }
}

#[test]
fn one_empty_placeholder_leaves_the_whole_parameter_out() {
    assert_eq!(render("{email} {phone}", Encoding::Plain), None);
    let person = jane();
    let values = Values::of(&person, None);
    let bearer = Template::parse("Bearer {secret}").unwrap();
    assert_eq!(bearer.render(&values, Encoding::Header), None);
    assert_eq!(bearer.render_all(&values, Encoding::Header), "Bearer ");
}

#[test]
fn values_cannot_break_out_of_their_place() {
    let company = |encoding| render("{company_name}", encoding).unwrap();
    assert_eq!(company(Encoding::Percent), "A%20%26%20B%0D%0AX-Evil%3A%201");
    assert_eq!(company(Encoding::Header), "A & BX-Evil: 1");
    assert_eq!(company(Encoding::Json), "A & B\\r\\nX-Evil: 1");
    assert_eq!(render("{secret}", Encoding::Json).unwrap(), "s3cr\\\"et");
}

#[test]
fn mistakes_in_braces_and_names_are_refused() {
    for (source, part) in [
        ("{emial}", "unknown placeholder {emial}"),
        ("{Email}", "unknown placeholder"),
        ("{}", "unknown placeholder {}"),
        ("{ email }", "unknown placeholder"),
        ("{job_title}", "unknown placeholder"),
        ("{email", "{ without its }"),
        ("email}", "} without its {"),
        ("{{email}", "} without its {"),
    ] {
        let message = Template::parse(source).unwrap_err();
        assert!(message.contains(part), "{source}: {message}");
    }
    assert!(Template::parse("{x}").unwrap_err().contains("{company_domain}"));
}

#[test]
fn a_value_of_absurd_length_counts_as_empty() {
    let mut contact = contact();
    let mut sends = |chars: usize| {
        contact.full_name = Some("é".repeat(chars));
        Values::of(&Person::made_up(&contact), None).get(Placeholder::FullName).is_some()
    };
    assert!(sends(1_000));
    assert!(!sends(1_001));
}

#[test]
fn secrets_lose_what_no_header_can_carry() {
    assert_eq!(clean_secret(Some(" key\n")).as_deref(), Some("key"));
    assert_eq!(clean_secret(Some("a\r\nb")).as_deref(), Some("ab"));
    assert_eq!(clean_secret(Some(" \n")), None);
    assert_eq!(clean_secret(None), None);
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let pair = [bytes.next().unwrap(), bytes.next().unwrap()];
            let digits = std::str::from_utf8(&pair).unwrap();
            out.push(u8::from_str_radix(digits, 16).unwrap());
        } else {
            out.push(byte);
        }
    }
    out
}

proptest! {
    #[test]
    fn percent_encoding_is_reversible_and_uses_unreserved_characters_only(text in any::<String>()) {
        let encoded = percent_encoded(&text);
        prop_assert!(encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)));
        prop_assert_eq!(percent_decoded(&encoded), text.as_bytes());
    }

    #[test]
    fn json_escaping_is_reversible(text in any::<String>()) {
        let quoted = format!("\"{}\"", json_escaped(&text));
        prop_assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text);
    }

    #[test]
    fn any_text_is_a_template_once_its_braces_are_doubled(text in any::<String>()) {
        let source = text.replace('{', "{{").replace('}', "}}");
        let person = jane();
        let values = Values::of(&person, None);
        let rendered = Template::parse(&source).unwrap().render(&values, Encoding::Plain);
        prop_assert_eq!(rendered, Some(text));
    }

    #[test]
    fn no_source_makes_parsing_panic(source in "[{}a-z ]{0,30}") {
        let _ = Template::parse(&source);
    }
}
