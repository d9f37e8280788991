//! One vocabulary of seniorities, with other vendors' words for the same.

use super::list::words;

/// Each word of the vocabulary with those that mean it, as `words` gives them. Sources: the ten words of LinkedIn's
/// Sales Navigator; the documented levels of People Data Labs, Apollo, Hunter, Lusha, RocketReach, ZoomInfo, Cognism,
/// Coresignal and Crustdata; the short and the long form of each.
const SENIORITIES: [(&str, &[&str]); 11] = [
    (
        "owner",
        &["owners", "business owner", "co owner", "coowner", "owner partner", "owner level", "proprietor"],
    ),
    ("founder", &["co founder", "cofounder", "founders", "founder owner", "founder level", "owner founder"]),
    (
        "c_suite",
        &[
            "c suite",
            "csuite",
            "cxo",
            "cxos",
            "c level",
            "clevel",
            "c level exec",
            "c level executive",
            "c suite executive",
            "c suite level",
            "executive",
            "executives",
            "executive level",
            "exec",
            "chief",
            "chiefs",
            "c executive",
            "chief x officer",
        ],
    ),
    ("partner", &["partners", "partner level"]),
    (
        "vp",
        &[
            "vps",
            "v p",
            "vice president",
            "vice presidents",
            "vice president level",
            "vp level",
            "vp executive",
            "president vice president",
            "vp president",
            "president vp",
        ],
    ),
    ("head", &["heads", "head of", "head of department", "department head", "head level"]),
    ("director", &["directors", "director level", "dir"]),
    (
        "manager",
        &[
            "managers",
            "management",
            "mid management",
            "middle management",
            "manager level",
            "mgr",
            "experienced manager",
            "entry level manager",
            "entry manager",
            "first line manager",
            "line manager",
            "mid manager",
        ],
    ),
    (
        "senior",
        &[
            "sr",
            "snr",
            "senior level",
            "strategic",
            "mid senior",
            "mid senior level",
            "senior ic",
            "senior individual contributor",
        ],
    ),
    ("entry", &["junior", "jr", "jnr", "entry level", "junior level", "entrylevel", "entry level ic"]),
    (
        "intern",
        &[
            "interns",
            "internship",
            "intern level",
            "trainee",
            "training",
            "in training",
            "unpaid",
            "apprentice",
            "working student",
            "volunteer",
        ],
    ),
];

/// What may stand before a rank without making another of it: of several kinds of vice presidents, all are `vp`.
const VP_KINDS: [&str; 19] = [
    "senior",
    "sr",
    "snr",
    "executive",
    "exec",
    "assistant",
    "asst",
    "associate",
    "assoc",
    "regional",
    "group",
    "corporate",
    "first",
    "deputy",
    "global",
    "area",
    "divisional",
    "junior",
    "jr",
];
const VP_SHORT: [&str; 9] = ["svp", "evp", "avp", "rvp", "gvp", "cvp", "fvp", "dvp", "sevp"];
const DIRECTOR_KINDS: [&str; 12] = [
    "senior",
    "sr",
    "snr",
    "executive",
    "exec",
    "assistant",
    "asst",
    "associate",
    "assoc",
    "deputy",
    "group",
    "regional",
];
const MANAGER_KINDS: [&str; 13] = [
    "senior",
    "sr",
    "snr",
    "general",
    "assistant",
    "asst",
    "associate",
    "assoc",
    "deputy",
    "junior",
    "jr",
    "regional",
    "area",
];

/// The word of the vocabulary (owner, founder, c_suite, partner, vp, head, director, manager, senior, entry, intern) that
/// a vendor's word means; `None` where none is known.
pub fn word(text: &str) -> Option<&'static str> {
    // A title is no rank, and need not be looked up.
    if text.len() > 60 {
        return None;
    }
    let said = words(text);
    let means = |(word, others): &&(&str, &[&str])| said == *word || others.contains(&said.as_str());
    SENIORITIES.iter().find(means).map(|(word, _)| *word).or_else(|| ranked(&said))
}

/// A rank in its long or short form, with what grades it.
fn ranked(said: &str) -> Option<&'static str> {
    let graded = |rank: &str, kinds: &[&str]| {
        let kind = said.strip_suffix(rank).and_then(|before| before.strip_suffix(' '));
        kind.is_some_and(|kind| kind.split(' ').all(|word| kinds.contains(&word)))
    };
    if VP_SHORT.contains(&said.strip_suffix(" level").unwrap_or(said))
        || ["vp", "v p", "vice president"].iter().any(|rank| graded(rank, &VP_KINDS))
    {
        return Some("vp");
    }
    if graded("director", &DIRECTOR_KINDS) || graded("dir", &DIRECTOR_KINDS) {
        return Some("director");
    }
    if graded("manager", &MANAGER_KINDS) || graded("mgr", &MANAGER_KINDS) {
        return Some("manager");
    }
    is_chief(said).then_some("c_suite")
}

/// `chief … officer`, and its three letters.
fn is_chief(said: &str) -> bool {
    const SHORT: [&str; 17] = [
        "ceo", "cfo", "cto", "coo", "cmo", "cio", "cro", "cpo", "cso", "chro", "ciso", "cdo", "cco", "cao",
        "clo", "cbo", "cpto",
    ];
    let long = said.strip_prefix("chief ").and_then(|rest| rest.strip_suffix(" officer"));
    SHORT.contains(&said) || long.is_some_and(|middle| middle.split(' ').count() <= 3)
}

#[cfg(test)]
#[path = "seniority_tests.rs"]
mod tests;
