use super::*;

#[test]
fn vendors_words_are_of_one_vocabulary_in_their_short_and_long_forms() {
    let meant: [(&str, &[&str]); 11] = [
        ("owner", &["Owner", "Owner / Partner", "Business Owner", "co-owner"]),
        ("founder", &["Founder", "Co-Founder", "cofounder", "Founder/Owner"]),
        (
            "c_suite",
            &[
                "CXO",
                "C-Level",
                "c_suite",
                "C-Suite",
                "C Level Exec",
                "C-suite/Executive",
                "Executive",
                "Chief Financial Officer",
                "Chief Executive Officer",
                "CEO",
                "CFO",
            ],
        ),
        ("partner", &["Partner", "partners"]),
        (
            "vp",
            &[
                "VP",
                "V.P.",
                "Vice President",
                "vice-president",
                "VP-Level",
                "VP Executive",
                "SVP",
                "EVP",
                "AVP",
                "Sr. VP",
                "Senior VP",
                "Senior Vice President",
                "Executive Vice President",
                "Assistant Vice President",
                "Regional Vice-President",
                "President/Vice President",
                "Sr. Vice President",
                "SVP Level",
                "Senior Executive Vice President",
            ],
        ),
        ("head", &["Head", "Head of", "Department Head"]),
        (
            "director",
            &[
                "Director",
                " directors ",
                "Director-level",
                "Senior Director",
                "Sr. Director",
                "Executive Director",
            ],
        ),
        (
            "manager",
            &[
                "Manager",
                "Experienced Manager",
                "Entry Level Manager",
                "entry-level manager",
                "Mid-Management",
                "Senior Manager",
                "Sr. Manager",
                "General Manager",
            ],
        ),
        ("senior", &["Senior", "Sr.", "Strategic", "Senior level", "Mid-Senior level"]),
        ("entry", &["Entry", "Entry Level", "Entry-level", "junior", "Jr."]),
        ("intern", &["Intern", "In Training", "Training", "unpaid", "Internship", "trainee"]),
    ];
    for (expected, given) in meant {
        for text in given {
            assert_eq!(word(text), Some(expected), "{text}");
        }
        assert_eq!(word(expected), Some(expected));
    }
}

/// In the order in which Sales Navigator's filter has them.
#[test]
fn the_ten_words_of_sales_navigator_are_known() {
    let ten = [
        "Owner / Partner",
        "CXO",
        "Vice President",
        "Director",
        "Experienced Manager",
        "Entry Level Manager",
        "Strategic",
        "Senior",
        "Entry Level",
        "In Training",
    ];
    assert!(ten.iter().all(|text| word(text).is_some()));
}

#[test]
fn what_is_not_known_is_not_guessed() {
    for text in [
        "Grand Vizier",
        "Senior Partner",
        "VP of Sales",
        "Head of Marketing",
        "",
        "-",
        "Individual Contributor",
        "Other",
        "Non Manager",
        "ceo of acme",
    ] {
        assert_eq!(word(text), None, "{text}");
    }
}
