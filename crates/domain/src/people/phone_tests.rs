use proptest::prelude::*;

use super::*;

/// What libphonenumber gives as an example of each region and type, as E.164, with spaces and as a link.
const EXAMPLES: &str = include_str!("testdata/example_numbers.tsv");

#[test]
fn every_example_number_is_read_as_what_it_is_or_stays() {
    let (mut all, mut read) = (0, 0);
    for line in EXAMPLES.lines().filter(|line| !line.starts_with('#')) {
        let notations: Vec<&str> = line.split('\t').collect();
        for text in &notations {
            all += 1;
            match e164(text) {
                Some(written) => {
                    assert_eq!(written, notations[0], "{text}");
                    read += 1;
                }
                None => assert!(["+13101234", "+1 310-1234", "tel:+1-310-1234"].contains(text), "{text}"),
            }
            assert!(is_number(text) && normal(text).is_some(), "{text}");
        }
    }
    assert!(all >= 2_994 && all - read <= 3, "{read} of {all}");
}

#[test]
fn spellings_of_a_number_are_one() {
    for text in [
        "+12025550123",
        "+1 202 555 0123",
        "+1 (202) 555-0123",
        "+1-202-555-0123",
        "+1.202.555.0123",
        "0012025550123",
        "001 202 555 0123",
        "tel:+12025550123",
        "tel:+1-202-555-0123",
        "+1\u{a0}202\u{a0}555\u{2011}0123",
        " +1 202 555 0123 ",
        "\u{202d}+12025550123\u{202c}",
        "＋１ ２０２ ５５５ ０１２３",
        "+١٢٠٢٥٥٥٠١٢٣",
        "Tel. +1 202 555 0123",
        "12025550123",
        "1-202-555-0123",
        "+1/202/555/0123",
    ] {
        assert_eq!(normal(text).as_deref(), Some("+12025550123"), "{text}");
        assert_eq!(e164(text).as_deref(), Some("+12025550123"), "{text}");
    }
    for text in ["+442079460958", "+44 (0)20 7946 0958", "+44 20 7946 0958", "0044 20 7946 0958"] {
        assert_eq!(e164(text).as_deref(), Some("+442079460958"), "{text}");
    }
}

#[test]
fn an_extension_belongs_to_the_number_and_is_not_lost() {
    for text in
        ["+1 202 555 0123 ext. 7", "+12025550123x7", "tel:+1-202-555-0123;ext=7", "+1 202 555 0123 x 7"]
    {
        assert_eq!(normal(text).as_deref(), Some("+12025550123;ext=7"), "{text}");
        assert_eq!(e164(text), None, "{text}");
        assert!(is_number(text), "{text}");
    }
}

#[test]
fn what_the_library_does_not_find_valid_is_no_e164() {
    for text in [
        "12025550123.0",
        "+1202555....",
        "(201) 555-0123",
        "030 123456",
        "+12345678",
        "+999 123456789",
        "+12025550123 / +12025550124",
        "+1 (555) 010-0100",
        "+49 30 123456 (work)",
        "jane +12025550123",
        "+1 555",
        "011 44 20 7946 0958x",
    ] {
        assert_eq!(e164(text), None, "{text}");
    }
    assert_eq!(normal("030 123 45 67").as_deref(), Some("0301234567"), "the digits as they stand");
    assert_eq!(normal("030/1234567").as_deref(), Some("0301234567"));
    assert_eq!(normal("123-456"), None, "six digits are the number of too many");
    assert!(is_number("123-456"));
}

#[test]
fn masked_numbers_and_stand_ins_are_no_numbers() {
    for text in [
        "",
        " ",
        "-",
        "0",
        "n/a",
        "N/A",
        "unknown",
        "none",
        "null",
        "?",
        "000-000-0000",
        "0000000",
        "1111111111",
        "+1 111 111 1111",
        "+1 (000) 000-0000",
        "999999",
        "1234",
        "12-34",
        "1234567890",
        "0123456789",
        "+1 (555) XXX-XXXX",
        "+1 555 xxx xxxx",
        "+61 415...",
        "+61 415\u{2026}",
        "**********",
        "+49 30 ******12",
        "+49 30 1234567*",
        "+44 7911 12xx56",
        "+1202555....",
        "Request access",
        "Upgrade to view",
        "+1 202 555 ####",
        "+49 151 •••• 1234",
        "+1 ___-___-____",
        "available",
        "private",
        "\u{200b}",
    ] {
        assert!(!is_number(text) && normal(text).is_none() && e164(text).is_none(), "{text:?}");
    }
    for text in [
        "+1 (555) 010-0100",
        "030 12345",
        "+1 202 555 0123 x 7",
        "1-800-FLOWERS 22",
        "12345",
        "+65 6666 6666",
        "0815 4711",
        "+1 800 555 5555",
    ] {
        assert!(is_number(text), "{text:?}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_and_e164_is_its_own(text in any::<String>(), number in "[+0-9 ()x.ext-]{0,24}") {
        for given in [text, number] {
            if let Some(written) = e164(&given) {
                prop_assert_eq!(e164(&written), Some(written.clone()));
                prop_assert_eq!(normal(&written), normal(&given));
            }
            prop_assert!(is_number(&given) || normal(&given).is_none());
        }
    }
}
