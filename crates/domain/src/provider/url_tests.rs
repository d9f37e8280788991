use super::*;
use crate::contact::Contact;
use crate::fields::{Field, FieldMap};
use crate::person::Person;

fn render(source: &str, contact: &Contact) -> Option<String> {
    let person = Person::made_up(contact);
    let values = Values::of(&person, Some("k/1"));
    let url = UrlTemplate::parse(source).expect("a sound URL");
    let path = url.render_path(&values)?;
    let pairs = url.query().iter().filter_map(|pair| pair.render(&values, Encoding::Percent));
    let query = pairs.collect::<Vec<_>>().join("&");
    Some(if query.is_empty() { path } else { format!("{path}?{query}") })
}

fn jane() -> Contact {
    Contact { email: Some("jane@acme.example".into()), ..Contact::default() }
}

#[test]
fn sound_urls_are_kept_and_filled() {
    for (source, expected) in [
        ("https://api.example.com", "https://api.example.com/"),
        ("https://API.Example.com/V5/x", "https://api.example.com/V5/x"),
        ("http://127.0.0.1:8080/a//b/", "http://127.0.0.1:8080/a//b/"),
        ("http://[2001:db8::1]:80/x", "http://[2001:db8::1]:80/x"),
        ("https://h/p?a=1&b=%20x&c", "https://h/p?a=1&b=%20x&c"),
        ("https://h?a=1", "https://h/?a=1"),
        ("https://h/by/{email}", "https://h/by/jane%40acme.example"),
        ("https://h/?k={secret}&p={phone}&e={email}", "https://h/?k=k%2F1&e=jane%40acme.example"),
    ] {
        assert_eq!(render(source, &jane()).as_deref(), Some(expected), "{source}");
    }
}

#[test]
fn an_origin_is_scheme_host_and_port() {
    let origin = |source: &str| UrlTemplate::parse(source).unwrap().origin();
    for source in
        ["https://api.example.com", "https://API.example.com:443/v5/{email}", "https://api.example.com?a=1:2"]
    {
        assert_eq!(origin(source), "https://api.example.com:443", "{source}");
    }
    assert_eq!(origin("http://[2001:db8::1]/x"), "http://[2001:db8::1]:80");
    assert_eq!(origin("http://[2001:db8::1]:8080/x"), "http://[2001:db8::1]:8080");
}

#[test]
fn unsound_urls_are_refused_with_the_reason() {
    for (source, part) in [
        ("", "complete URL"),
        ("api.example.com/x", "complete URL"),
        ("/v1/x", "complete URL"),
        ("ftp://h/x", "https:// or http://"),
        ("HTTPS://h/x", "https:// or http://"),
        ("file:///etc/passwd", "https:// or http://"),
        ("{email}://h/x", "https:// or http://"),
        ("https://", "no host"),
        ("https:///x", "no host"),
        ("https://{company_domain}/x", "placeholder before its path"),
        ("https://h:{secret}/x", "placeholder before its path"),
        ("https://user:pw@h/x", "user name or password"),
        ("https://h@evil.example/x", "user name or password"),
        ("https://h/x#part", "fragment"),
        ("https://h/x?q=#", "fragment"),
        ("https://h:0/", "port"),
        ("https://h:65536/", "port"),
        ("https://h:/", "port"),
        ("https://h:+80/", "port"),
        ("https://h:80:80/", "port"),
        ("https://[::1/", "without its ]"),
        ("https://[::1]x/", "after the ]"),
        ("https://[nope]/", "IPv6"),
        ("https://exa mple.com/", "host name"),
        ("https://a..b/", "host name"),
        ("https://h\\evil/", "host name"),
        ("https://müller.example/", "ASCII"),
        ("https://h/a b", "percent-encoded"),
        ("https://h/a%zz", "percent-encoded"),
        ("https://h/a%2", "percent-encoded"),
        ("https://h/%{email}", "percent-encoded"),
        ("https://h/{{x}}", "percent-encoded"),
        ("https://h/x?a=\n", "percent-encoded"),
        ("https://h/../x", ". or .."),
        ("https://h/%2e%2E/x", ". or .."),
        ("https://h/{nobody}", "unknown placeholder"),
        ("https://h/?{email}=1", "name of a parameter"),
    ] {
        let message = UrlTemplate::parse(source).expect_err(source);
        assert!(message.contains(part), "{source}: {message}");
    }
}

#[test]
fn a_path_that_cannot_be_filled_gives_no_url() {
    assert_eq!(render("https://h/by/{phone}", &jane()), None);
    let at = |place: &str| Contact {
        values: FieldMap::from_iter([(Field::LOCATION, place.to_owned())]),
        ..Contact::default()
    };
    for sneaky in ["..", "."] {
        // As a value it is a stand-in; a secret is taken as it is.
        assert_eq!(render("https://h/by/{location}/x", &at(sneaky)), None);
        let person = Person::default();
        let values = Values::of(&person, Some(sneaky));
        let path = |source: &str| UrlTemplate::parse(source).unwrap().render_path(&values);
        assert_eq!(path("https://h/by/{secret}/x"), None);
        assert!(path("https://h/by/x-{secret}/x").is_some());
    }
    assert_eq!(
        render("https://h/by/{location}", &at("../../admin?x#y")).as_deref(),
        Some("https://h/by/..%2F..%2Fadmin%3Fx%23y")
    );
}

proptest::proptest! {
    #[test]
    fn no_text_makes_parsing_panic(text in "(https://)?[\\[\\]:/@?#{}a-z0-9.%é-]{0,30}") {
        let _ = UrlTemplate::parse(&text);
    }

    #[test]
    fn no_value_changes_the_shape_of_the_url(name in "\\PC{1,30}") {
        let values = FieldMap::from_iter([(Field::LOCATION, name)]);
        let contact = Contact { values, ..Contact::default() };
        if let Some(url) = render("https://h/a/{location}/b?q={location}", &contact) {
            proptest::prop_assert_eq!(url.matches('/').count(), 5);
            proptest::prop_assert_eq!(url.matches(['?', '=', '&', '#']).count(), 2);
        }
    }
}
