//! What an answer reports beside its data: how long to wait, and what it cost.

use std::time::SystemTime;

use serde_json::Value;

use super::exchange::Answer;
use super::node::{Checked, Node, header_name};
use super::pointer::Pointer;

/// A place in the header or in the body.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Header(String),
    Body(Pointer),
}

impl Place {
    fn parse(node: &Node<'_>, besides: &[&str]) -> Checked<Place> {
        let mut allowed = vec!["header", "pointer"];
        allowed.extend(besides);
        let object = node.object(&allowed)?;
        match (object.optional("header"), object.optional("pointer")) {
            (Some(header), None) => {
                header_name(&header, header.text()?)?;
                Ok(Place::Header(header.text()?.to_owned()))
            }
            (None, Some(pointer)) => Pointer::parse(&pointer).map(Place::Body),
            _ => Err(node.error("must have either header or pointer")),
        }
    }

    /// Whether a list or an object stands there.
    fn has_structure(&self, body: Option<&Value>) -> bool {
        match self {
            Place::Header(_) => false,
            Place::Body(pointer) => body
                .and_then(|body| pointer.find(body))
                .is_some_and(|found| found.is_array() || found.is_object()),
        }
    }

    fn text(&self, answer: &Answer, body: Option<&Value>) -> Option<String> {
        match self {
            Place::Header(name) => answer.header(name).map(|text| text.trim().to_owned()),
            Place::Body(pointer) => match pointer.find(body?)? {
                Value::String(text) => Some(text.trim().to_owned()),
                Value::Number(number) => Some(number.to_string()),
                Value::Bool(flag) => Some(u8::from(*flag).to_string()),
                _ => None,
            },
        }
    }
}

/// Where a provider says when it can be asked again, and in which form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryAfter(Vec<(Place, Form)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A large number is a time, a small one seconds; other text a date.
    Auto,
    Seconds,
    Milliseconds,
    Epoch,
    EpochMilliseconds,
    Timestamp,
}

const FORMS: [(&str, Form); 6] = [
    ("auto", Form::Auto),
    ("seconds", Form::Seconds),
    ("milliseconds", Form::Milliseconds),
    ("epoch", Form::Epoch),
    ("epoch_ms", Form::EpochMilliseconds),
    ("timestamp", Form::Timestamp),
];

impl RetryAfter {
    /// The description names no place.
    pub const NONE: RetryAfter = RetryAfter(Vec::new());

    /// A list of places, each `{"header": …}` or `{"pointer": …}`, and `as` for the form (without it:
    /// `auto`). The first that is there and can be read counts.
    pub fn parse(node: &Node<'_>) -> Checked<RetryAfter> {
        let places = node.items()?;
        if places.is_empty() {
            return Err(node.error("must not be an empty list"));
        }
        places.iter().map(parse_source).collect::<Checked<Vec<_>>>().map(RetryAfter)
    }

    /// Whole seconds from `now` on, rounded up.
    /// `None`: no place is there and can be read. `now` is in epoch seconds; a `Date` of the answer counts
    /// instead.
    pub fn of(&self, answer: &Answer, body: Option<&Value>, now: i64) -> Option<u64> {
        let now = clock_of(answer).unwrap_or(now);
        self.0.iter().find_map(|(place, form)| seconds(&place.text(answer, body)?, *form, now))
    }
}

fn parse_source(node: &Node<'_>) -> Checked<(Place, Form)> {
    let place = Place::parse(node, &["as"])?;
    let Some(given) = node.value.get("as").filter(|form| !form.is_null()) else {
        return Ok((place, Form::Auto));
    };
    let given = node.child("as", given);
    let name = given.text()?;
    match FORMS.iter().find(|(known, _)| *known == name) {
        Some((_, form)) => Ok((place, *form)),
        None => Err(given.error(format!("must be one of {}", FORMS.map(|(known, _)| known).join(", ")))),
    }
}

/// `Retry-After`: seconds, or a date in any of HTTP's three forms; one that has passed means at once. Where something on
/// the way has added one of its own, the longest counts.
/// The result is in whole seconds; `None`: no such header, or none that can be read. `now` is in epoch
/// seconds; a `Date` of the answer counts instead.
pub fn retry_after_header(answer: &Answer, now: i64) -> Option<u64> {
    let now = clock_of(answer).unwrap_or(now);
    let given = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("retry-after"));
    given.filter_map(|(_, text)| one_or_several(text.trim(), now)).max()
}

/// `17`, a date, or `3, 60`.
fn one_or_several(text: &str, now: i64) -> Option<u64> {
    let one = |text: &str| seconds(text.trim(), Form::Auto, now);
    one(text).or_else(|| text.split(',').map(one).collect::<Option<Vec<u64>>>()?.into_iter().max())
}

/// A number of seconds at a place of the body, as a number or a text; a part of a second is none.
/// `None`: there is none from 0 to 4,294,967,295.
pub fn seconds_at(place: &Pointer, body: &Value) -> Option<u64> {
    let number = match place.find(body)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|n| (0.0..=f64::from(u32::MAX)).contains(n)).map(|n| n as u64)
}

/// What the answer's own clock showed: the times in it are by that clock, right or wrong.
fn clock_of(answer: &Answer) -> Option<i64> {
    timestamp(answer.header("date")?.trim()).map(|seconds| seconds as i64)
}

/// What could not be meant is not passed on.
fn seconds(text: &str, form: Form, now: i64) -> Option<u64> {
    /// From here on a number is a time (2001), and from there on one in milliseconds (1973).
    const EPOCH: f64 = 1e9;
    const EPOCH_MS: f64 = 1e11;
    let number = text.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
    let from_now = |epoch: f64| epoch - now as f64;
    let wait = match (form, number) {
        (Form::Seconds, Some(n)) => n,
        (Form::Milliseconds, Some(n)) => n / 1e3,
        (Form::Epoch, Some(n)) => from_now(n),
        (Form::EpochMilliseconds, Some(n)) => from_now(n / 1e3),
        (Form::Auto, Some(n)) if n >= EPOCH_MS => from_now(n / 1e3),
        (Form::Auto, Some(n)) if n >= EPOCH => from_now(n),
        (Form::Auto, Some(n)) => n,
        (Form::Auto, None) if let Some(wait) = with_unit(text) => wait,
        (Form::Auto | Form::Timestamp, None) => from_now(timestamp(text)?),
        _ => return None,
    };
    (wait <= f64::from(u32::MAX)).then(|| wait.max(0.0).ceil() as u64)
}

/// `20s`, `1500 ms`, `2 minutes`.
fn with_unit(text: &str) -> Option<f64> {
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(at);
    let each = match unit.to_ascii_lowercase().as_str() {
        "ms" | "milliseconds" => 1e-3,
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hour" | "hours" => 3_600.0,
        _ => return None,
    };
    let number = number.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0)?;
    Some(number * each)
}

fn timestamp(text: &str) -> Option<f64> {
    if let Ok(date) = httpdate::parse_http_date(text) {
        return Some(date.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs_f64());
    }
    // The date of a mail: HTTP's own with an offset in place of GMT.
    let mail = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true);
    if let Ok(date) =
        mail.parse_timestamp(text.strip_suffix(" UTC").map(|t| format!("{t} GMT")).as_deref().unwrap_or(text))
    {
        return Some(date.as_millisecond() as f64 / 1e3);
    }
    // Without an offset it is UTC.
    let utc = || text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    let instant = text.parse::<jiff::Timestamp>().ok().or_else(|| Some(utc()?.timestamp()))?;
    Some(instant.as_millisecond() as f64 / 1e3)
}

/// What an answer says that it has cost, in the provider's own unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reported {
    Credits(f64),
    /// It says something, and that is no number from 0 to 1,000,000,000: nobody knows what it has cost.
    Unreadable,
}

impl Reported {
    /// The number, if it is one.
    pub fn credits(self) -> Option<f64> {
        match self {
            Reported::Credits(credits) => Some(credits),
            Reported::Unreadable => None,
        }
    }

    /// Of several parts of one answer.
    #[must_use]
    pub fn plus(self, other: Option<Reported>) -> Reported {
        match (self, other) {
            (Reported::Credits(one), Some(Reported::Credits(other))) => Reported::Credits(one + other),
            (one, None) => one,
            _ => Reported::Unreadable,
        }
    }

    /// So large a part of it.
    #[must_use]
    pub fn share(self, part: f64) -> Reported {
        self.credits().map_or(Reported::Unreadable, |credits| Reported::Credits(credits * part))
    }
}

/// Where a provider says what an answer has cost, in its own unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost(Place);

impl Cost {
    /// `{"header": …}` or `{"pointer": …}`.
    pub fn parse(node: &Node<'_>) -> Checked<Cost> {
        Place::parse(node, &[]).map(Cost)
    }

    /// `true` counts as 1. `None`: the answer says nothing of it.
    pub fn of(&self, answer: &Answer, body: Option<&Value>) -> Option<Reported> {
        const MOST: f64 = 1e9;
        let text = match self.0.text(answer, body) {
            Some(text) if text.is_empty() => return None,
            Some(text) => text,
            None if self.0.has_structure(body) => return Some(Reported::Unreadable),
            None => return None,
        };
        let credits = text.parse::<f64>().ok().filter(|credits| (0.0..=MOST).contains(credits));
        Some(credits.map_or(Reported::Unreadable, Reported::Credits))
    }
}

/// Where a provider says what its customer has left, in its own unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance(Place);

impl Balance {
    /// `{"header": …}` or `{"pointer": …}`.
    pub fn parse(node: &Node<'_>) -> Checked<Balance> {
        Place::parse(node, &[]).map(Balance)
    }

    /// `None`: the answer says no number between -1,000,000,000,000 and 1,000,000,000,000.
    pub fn of(&self, answer: &Answer, body: Option<&Value>) -> Option<f64> {
        const MOST: f64 = 1e12;
        let balance = self.0.text(answer, body)?.trim().parse::<f64>().ok()?;
        (-MOST..=MOST).contains(&balance).then_some(balance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// 2026-10-21 07:27:00 UTC.
    const NOW: i64 = 1_792_567_620;

    fn answer(name: &str, value: &str) -> Answer {
        Answer { status: 429, headers: vec![(name.into(), value.into())], body: Vec::new() }
    }

    #[test]
    fn waits_are_understood_in_every_form() {
        for (form, text, expected) in [
            ("auto", "17", Some(17)),
            ("auto", "0.2", Some(1)),
            ("auto", "1792567630", Some(10)),
            ("auto", "1792567630500", Some(11)),
            ("auto", "2026-10-21T07:27:30Z", Some(30)),
            ("auto", "2026-10-21T09:27:30+02:00", Some(30)),
            ("auto", "2026-10-21 07:27:30", Some(30)),
            ("auto", "Wed, 21 Oct 2026 07:28:00 GMT", Some(60)),
            ("auto", "2020-01-01T00:00:00Z", Some(0)),
            ("auto", "Wed, 21 Oct 2026 07:28:00 +0000", Some(60)),
            ("auto", "Wed, 21 Oct 2026 09:28:00 +0200", Some(60)),
            ("auto", "Wed, 21 Oct 2026 07:28:00 UTC", Some(60)),
            ("auto", "20s", Some(20)),
            ("auto", "1500 ms", Some(2)),
            ("auto", "2 Minutes", Some(120)),
            ("auto", "s", None),
            ("auto", "-5s", None),
            ("auto", "5 parsecs", None),
            ("auto", "soon", None),
            ("auto", "-1", None),
            ("auto", "inf", None),
            ("auto", "4294967296", Some(2_502_399_676)),
            ("seconds", "4294967296", None),
            ("seconds", "3", Some(3)),
            ("seconds", "2026-10-21T07:27:30Z", None),
            ("milliseconds", "1500", Some(2)),
            ("epoch", "1792567625", Some(5)),
            ("epoch", "5", Some(0)),
            ("epoch_ms", "1792567625000", Some(5)),
            ("timestamp", "17", None),
        ] {
            let rule = RetryAfter::parse(&Node::root(&json!([{"header": "X-Reset", "as": form}]))).unwrap();
            assert_eq!(rule.of(&answer("x-reset", text), None, NOW), expected, "{form} {text}");
        }
        let rule = json!([{"header": "X-Reset"}, {"pointer": "/wait"}]);
        let rule = RetryAfter::parse(&Node::root(&rule)).unwrap();
        assert_eq!(rule.of(&answer("x-other", "1"), Some(&json!({"wait": 5.5})), NOW), Some(6));
        assert_eq!(rule.of(&answer("x-reset", "nonsense"), Some(&json!({"wait": "7"})), NOW), Some(7));
        assert_eq!(rule.of(&answer("x-other", "1"), None, NOW), None);
    }

    #[test]
    fn times_are_by_the_clock_of_the_answer() {
        let dated = |date: &str, wait: &str| {
            let mut answer = answer("Retry-After", wait);
            answer.headers.push(("Date".into(), date.into()));
            retry_after_header(&answer, NOW)
        };
        let then = "Wed, 21 Oct 2026 07:28:00 GMT";
        for (date, expected) in [
            ("Wed, 21 Oct 2026 07:27:30 GMT", Some(30)),
            // Ten minutes ahead, an hour behind, and without a sound clock.
            ("Wed, 21 Oct 2026 07:17:30 GMT", Some(630)),
            ("Wed, 21 Oct 2026 08:28:00 GMT", Some(0)),
            ("yesterday", Some(60)),
        ] {
            assert_eq!(dated(date, then), expected, "{date}");
            assert_eq!(dated(date, "17"), Some(17), "{date}");
        }
        // A server whose clock is behind, and one that is ahead, both mean half a minute.
        for (date, wait) in [
            ("Wed, 21 Oct 2026 06:00:00 GMT", "Wed, 21 Oct 2026 06:00:30 GMT"),
            ("Wed, 21 Oct 2026 07:37:00 GMT", "Wed, 21 Oct 2026 07:37:30 GMT"),
        ] {
            assert_eq!(dated(date, wait), Some(30), "{date}");
        }
        assert_eq!(dated(then, "3, 60"), Some(60));
        assert_eq!(dated(then, "3, soon"), None);
    }

    #[test]
    fn balances_are_numbers() {
        let balance = |rule: Value, header: &str, body: Value| {
            let headers = vec![("X-Left".to_owned(), header.to_owned())];
            let answer = Answer { status: 200, headers, body: Vec::new() };
            let root = rule.clone();
            Balance::parse(&Node::root(&root)).unwrap().of(&answer, Some(&body))
        };
        assert_eq!(balance(json!({"header": "X-Left"}), " 12.5 ", json!({})), Some(12.5));
        assert_eq!(balance(json!({"header": "X-Left"}), "plenty", json!({})), None);
        for (found, expected) in
            [(json!(-3), Some(-3.0)), (json!("7"), Some(7.0)), (json!(null), None), (json!(1e13), None)]
        {
            assert_eq!(balance(json!({"pointer": "/left"}), "", json!({"left": found})), expected, "{found}");
        }
    }

    #[test]
    fn costs_are_numbers_or_a_yes() {
        let cost = |rule: Value, header: &str, body: Value| {
            Cost::parse(&Node::root(&rule)).unwrap().of(&answer("x-spent", header), Some(&body))
        };
        let credits = |number| Some(Reported::Credits(number));
        let unreadable = Some(Reported::Unreadable);
        assert_eq!(cost(json!({"header": "X-Spent"}), "2", json!({})), credits(2.0));
        assert_eq!(cost(json!({"header": "X-Spent"}), "8,0", json!({})), unreadable);
        for (found, expected) in [
            (json!(0.2), credits(0.2)),
            (json!("3"), credits(3.0)),
            (json!(true), credits(1.0)),
            (json!(false), credits(0.0)),
            (json!(1e9), credits(1e9)),
            (json!(-1), unreadable),
            (json!("NaN"), unreadable),
            (json!("8,0"), unreadable),
            (json!("8 credits"), unreadable),
            (json!(1e12), unreadable),
            (json!(1e300), unreadable),
            (json!({"email": 1, "phone": 7}), unreadable),
            (json!([]), unreadable),
            (json!(""), None),
            (json!(null), None),
        ] {
            assert_eq!(cost(json!({"pointer": "/c"}), "", json!({"c": found})), expected, "{found}");
        }
    }

    #[test]
    fn mistakes_are_refused_with_their_place() {
        for (wrong, place) in [
            (json!([]), ""),
            (json!({"header": "X"}), ""),
            (json!([{"header": "X", "pointer": "/x"}]), "/0"),
            (json!([{"as": "epoch"}]), "/0"),
            (json!([{"header": "a b"}]), "/0/header"),
            (json!([{"pointer": "x"}]), "/0/pointer"),
            (json!([{"header": "X", "as": "minutes"}]), "/0/as"),
            (json!([{"header": "X", "as": 1}]), "/0/as"),
        ] {
            let error = RetryAfter::parse(&Node::root(&wrong)).unwrap_err();
            assert_eq!(error.place, place, "{wrong}: {}", error.message);
        }
    }
}
