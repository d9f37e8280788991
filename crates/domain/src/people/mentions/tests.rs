use proptest::prelude::*;

use super::*;

#[test]
fn an_address_is_found_wherever_it_stands() {
    for text in [
        "jane.doe@acme.example",
        r#"="jane.doe@acme.example""#,
        r#"=HYPERLINK("mailto:jane.doe@acme.example";"Jane")"#,
        "x@y.example、jane.doe@acme.example",
        "x@y.example•jane.doe@acme.example",
        r"x@y.example\jane.doe@acme.example",
        r#"{"email":"jane.doe@acme.example"}"#,
        "E-Mail-Adresse:jane.doe@acme.example",
        "jane.doe@acme.example:25",
        "jane.doe@acme.example#frag",
        "http://jane.doe@acme.example",
        "jane.doe @acme.example",
        "*jane.doe@acme.example*",
        "~jane.doe@acme.example",
        ".jane.doe@acme.example",
        "jane.doe&#64;acme.example",
        "jane.doe@acme.example_old",
        "Jane/jane.doe@acme.example",
        "jane.doe(at)acme.example",
        "mailto:?to=jane.doe@acme.example",
        "mailto:x@y.example?cc=jane.doe%40acme.example",
        "email=jane.doe@acme.example",
        r"jane.doe\@acme.example",
        r"jane\.doe@acme\.example",
        r"mail jane.doe\u0040acme.example",
        r"jane.doe\x40acme.example",
        r#"{\"email\": \"jane.doe@acme.example\"}"#,
        "jane.doe(work)@acme.example",
        "jane.doe@(work)acme.example",
        "jane.doe@acme.example(work)",
        "jane.doe [at] acme [dot] example",
        "jane [dot] doe [at] acme [dot] example",
        "Jane.Doe [AT] acme(DOT)example",
        "jane.doe{at}acme{dot}example",
        "jane.doe<at>acme.example",
        "jane.doe ( at ) acme ( dot ) example",
        "jane.doe[ät]acme[punkt]example",
        "jane.doe(@)acme[.]example",
        "jane.doe at acme dot example",
        "jane dot doe at acme dot example, I think.",
        "mail me: (jane.doe AT acme DOT example)",
        "jane.doe_at_acme_dot_example",
        "jane.doe@acme dot example",
        "jane.doe&#x40;acme.example",
        "jane.doe&#X0040;acme.example",
        "jane.doe&#064;acme&period;example",
        "&#106;&#97;&#110;&#101;&#46;doe&#64;acme.example",
        "jane.doe&amp;#64;acme.example",
        "&lt;jane.doe@acme.example&gt;",
        "jane.doe@@acme.example",
        "jane.doe@ @acme.example",
        "jane.doe\u{200b}@acme.example",
        "jane.\u{ad}doe@acme.example",
        "100%ff jane.doe%40acme.example",
        "{jane.doe}@acme.example",
        "'jane.doe'@acme.example",
        "_jane.doe@acme.example_",
        "**jane.doe@acme.example**",
        "\u{201c}jane.doe\u{201d}@acme.example",
        "say \"jane.doe\"@acme.example",
        "to=x@y.example&cc=jane.doe@acme.example",
        "https://x.example/u/jane.doe@acme.example",
        "x@y.example&jane.doe@acme.example",
        "\u{1f4e7}jane.doe@acme.example",
        "𝗷𝗮𝗻𝗲.𝗱𝗼𝗲@acme.example",
    ] {
        assert!(addresses(text).iter().any(|found| found.normal == "jane.doe@acme.example"), "{text}");
    }
    for text in ["", "@", "jane.doe", "jane@", "@acme.example", "jane @ home"] {
        assert_eq!(addresses(text), [], "{text}");
    }
}

/// A part of somebody's address is somebody else's.
#[test]
fn whoever_has_another_address_is_not_mentioned() {
    for text in [
        "r&jane.doe@acme.example",
        "r/jane.doe@acme.example",
        "a=jane.doe@acme.example",
        "x*jane.doe@acme.example",
        "x!jane.doe@acme.example",
        "x#jane.doe@acme.example",
        "_jane.doe@acme.example",
        "jane.doe_@acme.example",
        "jane.doe-@acme.example",
        "mary.jane.doe@acme.example",
        "mary-jane.doe@acme.example",
        r"mary\_jane.doe@acme.example",
        "mary+jane.doe@acme.example",
        "o'jane.doe@acme.example",
        "éjane.doe@acme.example",
        "q\u{30c}jane.doe@acme.example",
        "क्jane.doe@acme.example",
        "\"mary jane.doe\"@acme.example",
        "jane.doe@acme.example.org",
        "jane.doe@acme.example-corp.org",
        "jane.doe@mail.acme.example",
        "jane.doe@xacme.example",
        "jane.doe@acme@example.org",
        "jane.doe at acme.example",
        "works at acme dot example, ask jane.doe",
        "jane.doe",
        "acme.example",
        "jane.doe(at)(work)acme.example.org",
        "&#120;jane.doe@acme.example",
    ] {
        let found: Vec<String> = addresses(text).iter().map(Address::person).collect();
        assert!(!found.contains(&"jane.doe@acme.example".to_owned()), "{text}: {found:?}");
    }
    // A tag makes nobody somebody else.
    assert_eq!(addresses("jane.doe+x@acme.example")[0].person(), "jane.doe@acme.example");
}

#[test]
fn domains_are_found_behind_any_at_sign() {
    for text in [
        "who@@dom.example",
        "=HYPERLINK(\"mailto:\"&A1&\"@dom.example\")",
        "@dom.example",
        "jane doe@DOM.example",
        "...@dom.example",
        "Engineer @ dom.example",
        "\"a b\"@dom.example",
        "x [at] dom [dot] example",
        "anyone&#64;dom.example",
    ] {
        assert_eq!(Mentions::of(text).domains, ["dom.example"], "{text}");
    }
    for text in ["dom.example", "jane@dom", "https://dom.example/jane", "@", "jane at dom.example"] {
        assert_eq!(Mentions::of(text).domains, Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_profile_is_found_wherever_it_stands() {
    for text in [
        "LinkedIn: https://www.linkedin.com/in/jane-doe-77",
        "https://www.linkedin.com/in/jane-doe-77 https://x.example/jane",
        "https://www.linkedin.com/in/other-one, https://www.linkedin.com/in/jane-doe-77",
        "www.linkedin.com/in/jane-doe-77 | LinkedIn",
        r#"<a href="https://linkedin.com/in/jane-doe-77">"#,
        "https://www.linkedin.com/en-us/in/jane-doe-77",
        "https://www.linkedin.com/in/jane-doe-77;x",
        r"see linkedin.com\in\jane-doe-77 x@one.example",
        "https://www.linkedin.com/in/jane-doe-77&x=1",
        "https://www.linkedin.com/in/@jane-doe-77",
        "https://www.linkedin.com/mwlite/profile/in/Jane-Doe-77",
        "https://google.com/url?q=https%3A%2F%2Fwww.linkedin.com%2Fin%2Fjane-doe-77",
        "https://www.linkedin.com/in/ｊａｎｅ-ｄｏｅ-７７",
        "met her (https://de.linkedin.com/in/jane-doe-77).",
        "**linkedin.com/in/jane-doe-77**",
        "'linkedin.com/in/jane-doe-77'",
        "[Jane](https://www.linkedin.com/in/jane-doe-77/)",
        "linkedin.com/in/jane-doe-77\u{3001}CEO",
        "see https:\\/\\/www.linkedin.com\\/in\\/jane-doe-77",
        "https://www.linkedin.com:443/in/jane-doe-77?x=1 now",
        "www.linkedin.com./in//jane-doe-77/details/experience/ now",
        "see linkedin&#46;com/in/jane-doe-77",
        "see linkedin[.]com/in/jane&#45;doe-77",
        "https%3a%2f%2flinkedin.com%2fin%2fjane-doe-77 or so",
        "a https%253A%252F%252Fwww.linkedin.com%252Fin%252Fjane-doe-77%252F b",
        "she: https://www.linkedin.com/authwall?sessionRedirect=https%3A%2F%2Fwww.linkedin.com%2Fin%2Fjane-doe-77",
        "by https://www.linkedin.com/pub/jane-doe-77 she says",
        "x https://www.linkedin.com/pub/jane-doe/77/0/0?x",
        "linkedin.cn/incareer/in/jane-doe-77 (China)",
    ] {
        let expected = if text.contains("/pub/jane-doe/") { "jane-doe-00000077" } else { "jane-doe-77" };
        assert!(profiles(text).iter().any(|found| found == expected), "{text}: {:?}", profiles(text));
    }
    for text in ["", "linkedin.com/company/acme", "/in/jane-doe-77", "linkedin.com/in/"] {
        assert_eq!(profiles(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn members_of_other_products_are_found_in_sentences() {
    const ID: &str = "ACwAAABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    for text in [
        format!("lead: https://www.linkedin.com/sales/lead/{ID},NAME_SEARCH,abcd (hot)"),
        format!("https://www.linkedin.com/sales/people/{ID}%2CNAME_SEARCH and more"),
        format!("see linkedin.com/talent/profile/{ID}."),
        format!("the old https://www.linkedin.com/profile/view?authType=x&id={ID}&trk=y or so"),
        format!("(https://www.linkedin.com/in/{ID})"),
    ] {
        assert_eq!(profiles(&text), [ID], "{text}");
    }
    for text in [
        format!("https://www.linkedin.com/sales/company/{ID}"),
        format!("https://www.linkedin.com/sales/lead/{ID}+x"),
        format!("https://www.linkedin.com/profile/view?uid={ID}"),
        "https://www.linkedin.com/profile/view?id=12345 x".to_owned(),
        "see https://www.linkedin.com/pub/dir/Jane/Doe".to_owned(),
        "see https://www.linkedin.com/pub/jane-doe/1".to_owned(),
    ] {
        assert_eq!(profiles(&text), Vec::<String>::new(), "{text}");
    }
}

/// A part of somebody's handle, or the path of another site, is somebody else.
#[test]
fn whoever_has_another_profile_is_not_mentioned() {
    for text in [
        "https://www.linkedin.com/in/jane%2Fdoe",
        "https://www.linkedin.com/in/jane.doe",
        "https://www.linkedin.com/in/jane'doe",
        "https://www.linkedin.com/in/jane@acme.example",
        "https://www.linkedin.com/in/jane+doe",
        "https://www.linkedin.com/in/jane=doe",
        "https://www.linkedin.com/in/jane%20doe",
        "https://www.linkedin.com/in/jane🚀",
        "https://www.linkedin.com/in/jane-doe",
        "https://www.linkedin.com/company/in/jane",
        "https://acme.example/in/jane, our page is linkedin.com/company/acme",
        "https://linkedin.com.evil.example/in/jane",
        "https://notlinkedin.com/in/jane",
        "https://www.linkedin.com@evil.example/in/jane",
        "https://www.linkedin.example/in/jane",
        "https://www.linkedin.com/posts/in/jane",
        "linkedin.com in/jane",
        "linkedin.com: /in/jane",
        "https://www.linkedin.com/in/x/jane",
        "https%3A%2F%2Fwww.linkedin.com%2Fin%2Fjane%252Fdoe",
    ] {
        assert!(!profiles(text).contains(&"jane".to_owned()), "{text}: {:?}", profiles(text));
    }
    assert_eq!(profiles("https://www.linkedin.com/in/jane%2Fdoe x"), ["jane/doe"]);
    assert_eq!(profiles("https://www.linkedin.com/in/jane🚀 x"), ["jane🚀"]);
    for inner in ["https://www.linkedin.com", "linkedin.com", "de.linkedin.com", "www.linkedin.com"] {
        assert_eq!(profiles(&format!("linkedin.com/in/{inner}/in/jane")), ["jane"], "{inner}");
    }
}

/// Each of these kept a walk over the text from coming forward, or would if it looked back.
#[test]
fn a_long_text_is_read_to_its_end() {
    // Where the time grew with its square, each of these would take minutes.
    const LONG: usize = 1 << 17;
    for part in [
        "x",
        " ",
        "@",
        "a@",
        "@ ",
        "a b@c ",
        ".",
        "(",
        "a)@",
        "@(",
        "[at]",
        "a dot ",
        " at b dot c",
        "&",
        "&amp;",
        "%25",
        "\\u0040",
        "\"@",
        "}@",
        "<",
        "linkedin.com/",
        "linkedin.com/in/",
        "linkedin.com%2f",
        "/in/",
        "é@",
        "\u{301}",
        "a,",
        "a@b.example/",
        "=",
    ] {
        let long = part.repeat(LONG / part.len());
        let text = format!("{long} jane.doe@acme.example https://www.linkedin.com/in/jane-doe-77");
        let found = Mentions::of(&text);
        assert!(found.addresses.iter().any(|found| found.normal == "jane.doe@acme.example"), "{part:?}");
        assert!(found.domains.iter().any(|found| found == "acme.example"), "{part:?}");
        assert!(profiles(&text).iter().any(|found| found == "jane-doe-77"), "{part:?}");
    }
}

proptest! {
    /// In whatever stands around it, an address is found, and no other one is.
    #[test]
    fn an_address_is_mentioned_whole(
        local in "[a-z0-9ü][a-z0-9ü.&*%'!#+_-]{0,8}[a-z0-9_-]",
        domain in "([a-z]{1,6}\\.){1,2}(example|com)",
        frame in prop::sample::select(vec!["{}", "see {} now", "({})", "<{}>", "mailto:{}", "x@y.example, {}", "{}?", "a: {};b", "=HYPERLINK(\"mailto:{}\";\"x\")"]),
    ) {
        let address = format!("{local}@{domain}");
        let Some(expected) = email::first(&address, Rules { reserved_domains: true }) else { return Ok(()) };
        let found = addresses(&frame.replace("{}", &address));
        let others: Vec<&Address> = found.iter().filter(|found| found.normal != "x@y.example").collect();
        // What is encoded comes to something else.
        if !local.contains(['%', '&']) {
            prop_assert_eq!(others, vec![&expected]);
        }
    }

    #[test]
    fn a_profile_is_mentioned_whole(
        handle in "[a-z0-9ü][a-zA-Z0-9ü.%_'+@-]{0,9}",
        frame in prop::sample::select(vec!["{}", "see {} now", "({})", "<{}>", "{}/", "{}?x=1", "'{}'", "*{}*", "{}, x"]),
    ) {
        let url = format!("https://www.linkedin.com/in/{handle}");
        let found = profiles(&frame.replace("{}", &url));
        let expected: Vec<String> = linkedin::handle_from_url(&url).into_iter().collect();
        prop_assert!(found == expected || expected.is_empty() && handle.ends_with(['.', '\'']), "{:?} {:?}", found, expected);
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), dressed in "[a@. &#x4;%\\\\(){}\\[\\]atdo/in<>\"'é🚀]{0,40}") {
        for given in [&text, &dressed, &format!("linkedin.com/{dressed}")] {
            Mentions::of(given);
            profiles(given);
        }
    }
}
