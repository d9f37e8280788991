use proptest::prelude::*;

use super::*;

/// One profile as browsers, exports, mails and vendors write it.
const SPELLINGS: [&str; 91] = [
    "https://www.linkedin.com/in/jürgen-example-7b2",
    "https://www.linkedin.com/in/j%C3%BCrgen-example-7b2",
    "https://www.linkedin.com/in/j%c3%bcrgen-example-7b2/",
    "https://www.linkedin.com/in/ju\u{308}rgen-example-7b2",
    "https://www.linkedin.com/in/ju%CC%88rgen-example-7b2/",
    "https://www.linkedin.com/in/JÜRGEN-EXAMPLE-7B2",
    "https://www.linkedin.com/in/J%C3%9Crgen-Example-7B2",
    "HTTPS://WWW.LINKEDIN.COM/IN/JÜRGEN-EXAMPLE-7B2/",
    "https://www.LinkedIn.com/In/jürgen-example-7b2",
    "http://www.linkedin.com/in/jürgen-example-7b2",
    "http://linkedin.com/in/jürgen-example-7b2",
    "https://linkedin.com/in/jürgen-example-7b2/",
    "www.linkedin.com/in/jürgen-example-7b2",
    "linkedin.com/in/jürgen-example-7b2",
    "Linkedin.com/in/jürgen-example-7b2/",
    "//www.linkedin.com/in/jürgen-example-7b2",
    "https:///www.linkedin.com/in/jürgen-example-7b2",
    "http:/www.linkedin.com/in/jürgen-example-7b2",
    "https:www.linkedin.com/in/jürgen-example-7b2",
    "https://https://www.linkedin.com/in/jürgen-example-7b2",
    "http://https://www.linkedin.com/in/jürgen-example-7b2",
    "https://www.linkedin.com/in/https://www.linkedin.com/in/jürgen-example-7b2/",
    "https://www.linkedin.com/in/linkedin.com/in/jürgen-example-7b2",
    "https://www.linkedin.com/in/www.linkedin.com/in/jürgen-example-7b2",
    "https://www.linkedin.com:443/in/jürgen-example-7b2",
    "http://www.linkedin.com:80/in/jürgen-example-7b2/",
    "https://www.linkedin.com./in/jürgen-example-7b2",
    "linkedin.com./in/jürgen-example-7b2",
    "https://www.linkedin.com//in/jürgen-example-7b2",
    "https://www.linkedin.com/in//jürgen-example-7b2",
    "https://www.linkedin.com/in/jürgen-example-7b2//",
    "https://user@www.linkedin.com/in/jürgen-example-7b2",
    "https://user:pass@www.linkedin.com/in/jürgen-example-7b2",
    "https://de.linkedin.com/in/jürgen-example-7b2",
    "http://uk.linkedin.com/in/jürgen-example-7b2/",
    "https://ch.linkedin.com/in/jürgen-example-7b2?trk=public_profile",
    "br.linkedin.com/in/jürgen-example-7b2",
    "https://m.linkedin.com/in/jürgen-example-7b2",
    "https://touch.www.linkedin.com/in/jürgen-example-7b2",
    "https://www.linkedin.cn/in/jürgen-example-7b2",
    "https://www.linkedin.cn/incareer/in/jürgen-example-7b2",
    "https://www.linkedin.com/mwlite/in/jürgen-example-7b2",
    "https://www.linkedin.com/mwlite/in/jürgen-example-7b2/details/experience",
    "https://www.linkedin.com/comm/in/jürgen-example-7b2",
    "https://www.linkedin.com/comm/in/jürgen-example-7b2?midToken=AQF&trk=eml-x",
    "https://www.linkedin.com/comm/mwlite/in/jürgen-example-7b2",
    "https://www.linkedin.com/m/in/jürgen-example-7b2",
    "https://www.linkedin.com/in/jürgen-example-7b2/de",
    "https://www.linkedin.com/in/jürgen-example-7b2/en",
    "https://www.linkedin.com/in/jürgen-example-7b2/en-us",
    "https://www.linkedin.com/in/jürgen-example-7b2/?locale=de_DE",
    "https://www.linkedin.com/in/jürgen-example-7b2/details/experience/",
    "https://www.linkedin.com/in/jürgen-example-7b2/details/skills/",
    "https://www.linkedin.com/in/jürgen-example-7b2/overlay/contact-info/",
    "https://www.linkedin.com/in/jürgen-example-7b2/overlay/about-this-profile/",
    "https://www.linkedin.com/in/jürgen-example-7b2/recent-activity/",
    "https://www.linkedin.com/in/jürgen-example-7b2/recent-activity/all/",
    "https://www.linkedin.com/in/jürgen-example-7b2/detail/recent-activity/posts/",
    "https://www.linkedin.com/in/jürgen-example-7b2/opportunities/job-opportunities/details/",
    "https://www.linkedin.com/in/jürgen-example-7b2/edit/forms/summary/new/",
    "https://www.linkedin.com/in/jürgen-example-7b2?trk=nav_responsive_tab_profile",
    "https://www.linkedin.com/in/jürgen-example-7b2/?originalSubdomain=de",
    "https://www.linkedin.com/in/jürgen-example-7b2?miniProfileUrn=urn%3Ali%3Afs_miniProfile%3AACoAAA",
    "https://www.linkedin.com/in/jürgen-example-7b2/?utm_source=share&utm_campaign=share_via&utm_content=profile",
    "https://www.linkedin.com/in/jürgen-example-7b2?lipi=urn%3Ali%3Apage%3Ad_flagship3%3B",
    "https://www.linkedin.com/in/jürgen-example-7b2#experience",
    "https://www.linkedin.com/in/jürgen-example-7b2/#",
    "https://www.linkedin.com/in/jürgen-example-7b2/?x=1#top",
    "https%3A%2F%2Fwww.linkedin.com%2Fin%2Fj%C3%BCrgen-example-7b2",
    "https%3A%2F%2Fwww.linkedin.com%2Fin%2Fj%25C3%25BCrgen-example-7b2%2F",
    "https%3a%2f%2fde.linkedin.com%2fin%2fj%c3%bcrgen-example-7b2",
    "https://www.linkedin.com/in/j%25C3%25BCrgen-example-7b2",
    "https://www.linkedin.com/in/j%C3%BCrgen%2Dexample%2D7b2",
    "in/jürgen-example-7b2",
    "/in/jürgen-example-7b2/",
    "in%2Fj%C3%BCrgen-example-7b2",
    "IN/Jürgen-Example-7b2",
    "jürgen-example-7b2",
    " jürgen-example-7b2 ",
    "J%C3%BCrgen-example-7b2",
    " https://www.linkedin.com/in/jürgen-example-7b2 ",
    "\u{feff}https://www.linkedin.com/in/jürgen-example-7b2\u{200b}",
    "https://www.linkedin.com/in/jürgen-\u{ad}example-7b2\r\n",
    "<https://www.linkedin.com/in/jürgen-example-7b2>",
    "\"https://www.linkedin.com/in/jürgen-example-7b2\"",
    "(https://www.linkedin.com/in/jürgen-example-7b2).",
    "https://www.linkedin.com/in/jürgen-example-7b2,",
    "https://www.linkedin.com/in/jürgen-example-7b2;",
    "https:\\\\www.linkedin.com\\in\\jürgen-example-7b2",
    "https://www.linkedin.com/authwall?trk=gf&sessionRedirect=https%3A%2F%2Fwww.linkedin.com%2Fin%2Fj%25C3%25BCrgen-example-7b2",
    "https://www.linkedin.com/login?session_redirect=https%3A%2F%2Fde.linkedin.com%2Fin%2Fj%25C3%25BCrgen-example-7b2%2F",
];

/// What vendors, imports and people put in a profile's place, and what is none.
const OTHERS: [&str; 104] = [
    "",
    " ",
    "-",
    "?",
    "n/a",
    "N/A",
    "null",
    "none",
    "unknown",
    "undefined",
    "TBD",
    "false",
    "0",
    "Jane Doe",
    "Jane  Doe, CEO",
    "jane.doe",
    "jane@acme.example",
    "jane@linkedin.com",
    "mailto:jane@acme.example",
    "CEO",
    "acme",
    "+1 202 555 0123",
    "@janedoe",
    "javascript:alert(1)",
    "javascript:void(0)//linkedin.com/in/jane",
    "javascript://www.linkedin.com/in/jane",
    "data:text/html,linkedin.com/in/jane",
    "ftp://www.linkedin.com/in/jane",
    "urn:li:person:abc",
    "urn:li:fsd_profile:ACoAAAexample",
    "in",
    "in/",
    "/in/",
    "in/null",
    "/in/none",
    "in/n%2Fa",
    "in/a b",
    "in/-",
    "in/--",
    "in/?",
    "linkedin.com",
    "linkedin.com/",
    "https://www.linkedin.com",
    "https://www.linkedin.com/",
    "https://www.linkedin.com/in",
    "https://www.linkedin.com/in/",
    "https://www.linkedin.com/in//",
    "https://www.linkedin.com/in/?trk=x",
    "https://www.linkedin.com/in/#",
    "https://www.linkedin.com/in/null",
    "https://www.linkedin.com/in/NULL/",
    "https://www.linkedin.com/in/undefined",
    "https://www.linkedin.com/in/none",
    "https://www.linkedin.com/in/unknown",
    "https://www.linkedin.com/in/n%2Fa",
    "https://www.linkedin.com/in/na",
    "https://www.linkedin.com/in/0",
    "https://www.linkedin.com/in/false",
    "https://www.linkedin.com/in/true",
    "https://www.linkedin.com/in/me",
    "https://www.linkedin.com/in/me/",
    "https://www.linkedin.com/in/unavailable",
    "https://www.linkedin.com/in/username",
    "https://www.linkedin.com/in/your-name",
    "https://www.linkedin.com/in/-",
    "https://www.linkedin.com/in/.",
    "https://www.linkedin.com/in/..",
    "https://www.linkedin.com/in/%20",
    "https://www.linkedin.com/in/%00",
    "https://www.linkedin.com/in/Jane Doe",
    "https://www.linkedin.com/in/jane%20doe",
    "https://www.linkedin.com/in/jane@acme.example",
    "https://www.linkedin.com/in/%FF%FE",
    "https://www.linkedin.com/in/{handle}",
    "https://www.linkedin.com/in/[object Object]",
    "https://www.linkedin.com/company/acme",
    "https://www.linkedin.com/company/acme/people/",
    "https://www.linkedin.com/company/in/jane",
    "linkedin.com/company/12345",
    "company/acme",
    "https://www.linkedin.com/school/university-of-example/",
    "https://www.linkedin.com/showcase/acme-cloud",
    "https://www.linkedin.com/groups/12345",
    "https://www.linkedin.com/jobs/view/4711",
    "https://www.linkedin.com/feed/",
    "https://www.linkedin.com/posts/jane-example_activity-4711",
    "https://www.linkedin.com/pulse/why-jane-example",
    "https://www.linkedin.com/search/results/people/?keywords=jane",
    "https://www.linkedin.com/pub/dir/Jane/Doe",
    "https://www.linkedin.com/pub/",
    "https://www.linkedin.com/profile/view?id=12345",
    "https://www.linkedin.com/sales/lead/",
    "https://www.linkedin.com/sales/company/12345",
    "https://www.linkedin.com/authwall?trk=x",
    "https://lnkd.in/abcDEF",
    "lnkd.in/in/jane",
    "https://www.xing.com/profile/Jane_Doe",
    "https://acme.example/in/jane",
    "https://twitter.com/jane",
    "https://linkedin.com.evil.example/in/jane",
    "https://notlinkedin.com/in/jane",
    "https://www.linkedin.com@evil.example/in/jane",
    "https://www.linkedin.com:x/in/jane",
    "https://www.google.com/url?q=https://www.linkedin.com/in/jane",
];

#[test]
fn all_spellings_of_a_profile_are_one() {
    for text in SPELLINGS.iter().chain(&["https://www.linkedin.com/#/in/jürgen-example-7b2"]) {
        assert_eq!(handle(text).as_deref(), Some("jürgen-example-7b2"), "{text}");
    }
    assert_eq!(stored("@jane-doe-7").as_deref(), Some("jane-doe-7"));
}

#[test]
fn what_is_no_profile_is_none() {
    for text in OTHERS {
        assert_eq!(normal_url(text), None, "{text:?}");
    }
    // As a bare word it may be a handle, but nothing is written because of that.
    for bare in ["acme", "CEO"] {
        assert!(handle(bare).is_some() && normal_url(bare).is_none(), "{bare}");
    }
    let none = OTHERS.iter().filter(|text| handle(text).is_none()).count();
    assert_eq!(none, OTHERS.len() - 2);
}

#[test]
fn a_bare_word_is_a_profile_only_where_it_can_be_nothing_else() {
    for text in [
        "Jane",
        "yes",
        "no",
        "12345",
        "n",
        "y",
        "x",
        "CEO",
        "acme",
        "janedoe77",
        "1st",
        "2nd",
        "2024-01-15",
        "555-0100",
        "-jane",
        "jane-",
        "self-employed",
        "Q3-24",
        "n-a",
        "%4aane",
        "田中",
        "me",
    ] {
        assert_eq!(stored(text), None, "{text}");
    }
    for (text, expected) in [
        ("jane-doe", "jane-doe"),
        ("Jane-Doe-7b2", "jane-doe-7b2"),
        ("J%C3%BCrgen-example-7b2", "jürgen-example-7b2"),
        ("田中-太郎-7b2", "田中-太郎-7b2"),
        ("in/jane", "jane"),
        ("in%2Fjane", "jane"),
        ("linkedin.com/in/yes", "yes"),
        ("ACoAAABCDEFGHIJKLMNOPQRSTUVWXYZ-123456789", "ACoAAABCDEFGHIJKLMNOPQRSTUVWXYZ-123456789"),
    ] {
        assert_eq!(stored(text).as_deref(), Some(expected), "{text}");
    }
    for text in SPELLINGS {
        assert_eq!(stored(text).as_deref(), Some("jürgen-example-7b2"), "{text}");
    }
    assert_eq!(OTHERS.iter().filter(|text| stored(text).is_some()).count(), 0);
}

#[test]
fn the_normal_form_is_encoded_again_and_an_encoded_slash_stays_one() {
    for (text, expected) in [
        ("in/Jane-Doe", "https://www.linkedin.com/in/jane-doe"),
        ("linkedin.com/in/jürgen", "https://www.linkedin.com/in/j%C3%BCrgen"),
        ("https://www.linkedin.com/in/jane%2Fdoe", "https://www.linkedin.com/in/jane%2Fdoe"),
        ("in/jane%2fdoe/de", "https://www.linkedin.com/in/jane%2Fdoe"),
        ("https://www.linkedin.com/in/jane/doe", "https://www.linkedin.com/in/jane"),
        (
            "https://www.linkedin.com/in/田中太郎",
            "https://www.linkedin.com/in/%E7%94%B0%E4%B8%AD%E5%A4%AA%E9%83%8E",
        ),
        ("https://www.linkedin.com/in/jane-🚀", "https://www.linkedin.com/in/jane-%F0%9F%9A%80"),
    ] {
        assert_eq!(normal_url(text).as_deref(), Some(expected), "{text}");
    }
    assert_eq!(handle("jane%2Fdoe"), None, "bare, it is no handle");
    assert_eq!(handle("in%2Fjane").as_deref(), Some("jane"));
}

#[test]
fn forms_of_before_and_of_other_products_lead_to_the_profile() {
    for (text, expected) in [
        ("https://sy.linkedin.com/pub/jane-example/a7/576/b50?trk=x", "jane-example-b50576a7"),
        ("https://www.linkedin.com/pub/jane-example/1/2/3", "jane-example-0030021"),
        ("https://www.linkedin.com/pub/jane-example", "jane-example"),
        (
            "https://www.linkedin.com/sales/lead/ACwAAABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789,NAME_SEARCH,a1B2",
            "ACwAAABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
        ),
        (
            "https://www.linkedin.com/sales/people/ACwAAABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789%2CNAME_SEARCH",
            "ACwAAABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
        ),
        (
            "https://www.linkedin.com/talent/profile/AEMAAABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
            "AEMAAABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
        ),
        (
            "https://www.linkedin.com/in/ACoAAABCDEFGHIJKLMNOPQRSTUVWXYZ-123456789/",
            "ACoAAABCDEFGHIJKLMNOPQRSTUVWXYZ-123456789",
        ),
        (
            "https://www.linkedin.com/profile/view?id=ACoAAABCDEFGHIJKLMNOPQRSTUVWXYZ-123456789&trk=x",
            "ACoAAABCDEFGHIJKLMNOPQRSTUVWXYZ-123456789",
        ),
    ] {
        assert_eq!(handle_from_url(text).as_deref(), Some(expected), "{text}");
    }
    for text in [
        "https://www.linkedin.com/pub/jane-example/1",
        "https://www.linkedin.com/sales/profile/12345,abc,NAME_SEARCH",
    ] {
        assert_eq!(handle_from_url(text), None, "{text}");
    }
    let (upper, lower) =
        ("in/ACoAAABCDEFGHIJKLMNOPQRSTUVWXYZ-123456789", "in/ACoAAabcdefghijklmnopqrstuvwxyz-123456789");
    assert_ne!(normal_url(upper), normal_url(lower), "an id is another one in another case");
}

proptest! {
    /// Quotes around it lead another way to the same.
    #[test]
    fn the_short_way_leads_where_the_long_one_does(start in "(https?://)?(www\\.)?linkedin\\.com/in/", handle in "([a-z0-9-]{0,12}|null|n-a|me|in|unknown|username|ACoAA[a-z]{30})/?") {
        let text = format!("{start}{handle}");
        prop_assert_eq!(handle_from_url(&text), handle_from_url(&format!("\"{text}\"")));
    }

    #[test]
    fn a_normal_form_is_its_own_normal_form(text in "(https?://)?([a-z]{2}\\.)?(linkedin\\.com|x\\.y)?/?(in/|pub/)?[%a-zA-Z0-9/?üÜ ]{0,14}") {
        if let Some(once) = normal_url(&text) {
            prop_assert_eq!(normal_url(&once), Some(once.clone()));
            prop_assert_eq!(handle_from_url(&once), handle_from_url(&text));
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), path in "\\PC{0,30}") {
        for given in [text, format!("https://www.linkedin.com/in/{path}"), format!("https://www.linkedin.com/{path}")] {
            if let Some(once) = normal_url(&given) {
                prop_assert!(once.is_ascii());
                prop_assert_eq!(normal_url(&once), Some(once.clone()));
            }
        }
    }
}

#[test]
fn dashes_of_word_processors_are_hyphens() {
    for dash in ['\u{2010}', '\u{2011}', '\u{2013}', '\u{2014}', '\u{2212}'] {
        let url = format!("https://www.linkedin.com/in/jane{dash}roe{dash}9");
        assert_eq!(handle(&url).as_deref(), Some("jane-roe-9"), "{url}");
    }
}
