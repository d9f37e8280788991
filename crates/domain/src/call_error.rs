//! Every error of the contract: its code, HTTP status, SQLSTATE, and what else it tells.

mod unavailable;

use std::borrow::Cow;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::fields::FieldSet;
use super::rate::{Status, Window};

/// The kinds of error that a caller can get. Each has a name ([`Code::name`]), an HTTP status
/// ([`Code::status`]) and a SQLSTATE ([`Code::sqlstate`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    ValidationError,
    InvalidKey,
    InsufficientCredits,
    InsufficientPermissions,
    NotFound,
    NoMatch,
    IdempotencyMismatch,
    RateLimited,
    ProviderUnavailable,
}

/// A text of the caller's as a message repeats it: not more than its beginning.
pub fn short(text: &str) -> Cow<'_, str> {
    const MOST: usize = 100;
    match text.char_indices().nth(MOST) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}

impl Code {
    /// The stable name that callers see: the begin of MESSAGE, and `code` in DETAIL.
    pub const fn name(self) -> &'static str {
        match self {
            Code::ValidationError => "validation_error",
            Code::InvalidKey => "invalid_key",
            Code::InsufficientCredits => "insufficient_credits",
            Code::InsufficientPermissions => "insufficient_permissions",
            Code::NotFound => "not_found",
            Code::NoMatch => "no_match",
            Code::IdempotencyMismatch => "idempotency_mismatch",
            Code::RateLimited => "rate_limited",
            Code::ProviderUnavailable => "provider_unavailable",
        }
    }

    /// The HTTP status, from 400 to 503.
    pub const fn status(self) -> u16 {
        match self {
            Code::ValidationError => 400,
            Code::InvalidKey => 401,
            Code::InsufficientCredits => 402,
            Code::InsufficientPermissions => 403,
            Code::NotFound => 404,
            Code::NoMatch => 409,
            Code::IdempotencyMismatch => 422,
            Code::RateLimited => 429,
            Code::ProviderUnavailable => 503,
        }
    }

    /// The SQLSTATE is the HTTP status behind `LX`.
    pub fn sqlstate(self) -> String {
        format!("LX{}", self.status())
    }

    /// Whether the very same call can succeed later without anybody changing anything.
    const fn retryable(self) -> bool {
        matches!(self, Code::RateLimited | Code::ProviderUnavailable)
    }
}

/// Why nobody had data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMatchReason {
    /// The providers that were asked have no data, or only data below leadlex.min_confidence.
    NoData,
    /// Too little is known of the contact to ask any provider.
    NotIdentifiable,
    /// The person is on the suppression list, or a provider refused to tell anything about them.
    Suppressed,
    /// What was answered names somebody else.
    OtherPerson,
    /// What was answered is of another company than what it would stand beside.
    OtherCompany,
    /// There was data, and the contact's table refuses it.
    TableRefuses,
    /// The LinkedIn profile in the answer is one that the provider supplies for many people.
    SharedValue,
    /// What providers have for the contact was taken back.
    Refused,
}

impl NoMatchReason {
    /// Every reason, for finding one by its name.
    pub const ALL: [NoMatchReason; 8] = [
        NoMatchReason::NoData,
        NoMatchReason::NotIdentifiable,
        NoMatchReason::Suppressed,
        NoMatchReason::OtherPerson,
        NoMatchReason::OtherCompany,
        NoMatchReason::TableRefuses,
        NoMatchReason::SharedValue,
        NoMatchReason::Refused,
    ];

    const fn name(self) -> &'static str {
        match self {
            NoMatchReason::NoData => "no_data",
            NoMatchReason::NotIdentifiable => "not_identifiable",
            NoMatchReason::Suppressed => "suppressed",
            NoMatchReason::OtherPerson => "other_person",
            NoMatchReason::OtherCompany => "other_company",
            NoMatchReason::TableRefuses => "table_refuses",
            NoMatchReason::SharedValue => "shared_value",
            NoMatchReason::Refused => "refused",
        }
    }

    /// Whether it says more than that no provider has data.
    pub const fn tells_more(self) -> bool {
        !matches!(self, NoMatchReason::NoData)
    }
}

/// Why these columns do not identify a contact, see [`super::person::Person::not_alone`].
pub fn does_not_identify(not_alone: &[&str]) -> String {
    let why = |column: &&str| match *column {
        "email" => {
            "its email is a role mailbox, such as info@, which identifies only together with a name that the request sends"
        }
        "full_name" => {
            "its full_name does not split into first and last name for certain, so fill these in where a provider asks by them"
        }
        _ => "its phone has fewer than 7 digits, which do not identify",
    };
    not_alone.iter().map(why).collect::<Vec<_>>().join("; ")
}

/// An error of the contract, as a call raises or returns it: its code, the words for people, and further
/// entries of DETAIL, such as `reason` or `retry_after`.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub code: Code,
    pub message: String,
    pub hint: String,
    pub request_id: Uuid,
    /// Once the identity is known: the tightest window, `None` within where there is no limit.
    pub rate_limit: Option<Option<Window>>,
    // Boxed to keep the error path of every Result small.
    more: Box<Map<String, Value>>,
}

impl Failure {
    fn new(code: Code, message: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure {
            code,
            message: message.into(),
            hint: hint.into(),
            request_id: Uuid::nil(),
            rate_limit: None,
            more: Box::default(),
        }
    }

    fn with(mut self, key: &str, value: Value) -> Failure {
        self.more.insert(key.to_owned(), value);
        self
    }

    /// An argument is wrong: `validation_error`, LX400.
    pub fn validation(message: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure::new(Code::ValidationError, message, hint)
    }

    /// The API key is not valid, or the role may not act for the workspace, or for more than one and none is
    /// chosen: `invalid_key`, LX401.
    pub fn invalid_key(message: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure::new(Code::InvalidKey, message, hint)
    }

    /// The caller may not do this: `insufficient_permissions`, LX403. DETAIL names the `permission`.
    pub fn lacks_permission(permission: &str) -> Failure {
        Failure::new(
            Code::InsufficientPermissions,
            format!("the caller lacks the permission {permission}"),
            format!(
                "Ask for a key or a role with {permission} (leadlex.create_api_key, leadlex.grant_access)."
            ),
        )
        .with("permission", json!(permission))
    }

    /// Something is not in this workspace, or the caller cannot see it: `not_found`, LX404. The message has
    /// at most the first 100 characters of `what`.
    pub fn not_found(what: &str) -> Failure {
        Failure::new(
            Code::NotFound,
            format!("{} was not found in this workspace", short(what)),
            "Check the id, the table (the owner of the extension sees in leadlex.binding which are bound; enrich_contact looks into the first), the workspace (leadlex.whoami()), and that you may see the row (row-level security).",
        )
    }

    /// The same of an enrichment by its request id, which may have been pruned.
    pub fn enrichment_not_found(request: uuid::Uuid) -> Failure {
        Failure::new(
            Code::NotFound,
            format!("enrichment {request} was not found in this workspace"),
            "Check the id (request_id of leadlex.enrichment) and the workspace (leadlex.whoami()); history that is older than leadlex.history_retention is gone, and cannot be taken back.",
        )
    }

    /// Of a no_match: its reason, and whether answers were thrown away for their confidence.
    /// `None`: the failure has another code.
    pub fn no_match_reason(&self) -> Option<(NoMatchReason, bool)> {
        let name = self.more.get("reason").filter(|_| self.code == Code::NoMatch)?;
        let reason = NoMatchReason::ALL.into_iter().find(|reason| name == reason.name())?;
        Some((reason, self.more.contains_key("below_min_confidence")))
    }

    /// A no_match whose reason says more than that no provider has data.
    pub fn tells_reason(&self) -> bool {
        self.no_match_reason().is_some_and(|(reason, _)| reason.tells_more())
    }

    /// The workspace has no credit left, and no provider was asked: `insufficient_credits`, LX402.
    pub fn insufficient_credits() -> Failure {
        Failure::new(
            Code::InsufficientCredits,
            "no enrichment credit is left in this workspace",
            "Grant more with leadlex.grant_credits(workspace_id, amount). No provider was asked.",
        )
    }

    /// The idempotency key was used before, with other arguments: `idempotency_mismatch`, LX422.
    pub fn idempotency_mismatch() -> Failure {
        Failure::new(
            Code::IdempotencyMismatch,
            "this idempotency key was used with other arguments",
            "Use a new key for another request; a key is kept for 24 hours.",
        )
    }

    /// No value can be filled in, for this reason: `no_match`, LX409. DETAIL has the name of the `reason`.
    pub fn no_match(reason: NoMatchReason) -> Failure {
        let (message, hint) = match reason {
            NoMatchReason::NoData => (
                "no provider has data for this contact",
                "No credit was charged. That there was nothing is remembered for leadlex.recheck_after; providers are asked anew when more is known of the contact, or with overwrite => true.",
            ),
            NoMatchReason::NotIdentifiable => (
                "too little is known of this contact to ask any provider",
                "Fill in an e-mail address, a LinkedIn URL, or name and company. An address of several people (info@) needs a name. identify_by in leadlex.provider shows what each provider needs; no_value and not_alone in DETAIL, and in the result of leadlex.check_provider(name, contact), list the columns whose text cannot be used, such as N/A, or not alone.",
            ),
            NoMatchReason::Suppressed => (
                "no provider is to be asked about this person",
                "No credit was charged. A provider refused to tell anything, or leadlex.suppress was called (an administrator sees source and reason in leadlex.suppression). If that was a mistake, an administrator runs leadlex.unsuppress_contact(contact_id) or leadlex.unsuppress_row(table, id), or leadlex.unsuppress('@DOMAIN') for a domain.",
            ),
            NoMatchReason::OtherPerson => (
                "what was answered is about another person",
                "No credit was charged; the vendor may bill the request. same_person in the provider's response (leadlex.provider) says what of an answer is compared.",
            ),
            NoMatchReason::OtherCompany => (
                "what was answered is a position at another company",
                "No credit was charged. With leadlex.position = 'together' title and seniority are written only beside the company that they belong to, and the contact has another one. Correct the contact's company, use overwrite => true, or SET leadlex.position = 'any': then the contact's company is not compared.",
            ),
            NoMatchReason::TableRefuses => (
                "the table refuses what providers have for this contact",
                "No credit was charged. The WARNING of the first such call names the constraint; a BEFORE trigger that keeps the old value gives none. The value is not bought again before leadlex.recheck_after is over. When the table takes it, call again: an answer that is still kept (leadlex.receipt_ttl) is written; after that use overwrite => true or leadlex.recheck(provider, since).",
            ),
            NoMatchReason::SharedValue => (
                "the LinkedIn profile in the answer is one that the provider supplies for many people, so the answer is about another person",
                "No credit was charged and nothing was written. Does the provider have a test (sandbox) key? leadlex.check_provider(name, contact) shows what it answers; where the profile is right, an administrator runs SELECT leadlex.allow_shared_value('PROFILE').",
            ),
            NoMatchReason::Refused => (
                "what providers have for this contact was taken back",
                "No credit was charged. leadlex.revert_enrichment or leadlex.revert_provider took the value back: it is not bought again from the same provider before leadlex.recheck_after is over. To ask all the same, use overwrite => true with these fields alone.",
            ),
        };
        Failure::new(Code::NoMatch, message, hint).with("reason", json!(reason.name()))
    }

    /// A not_identifiable with what the contact has that does not identify it; another failure as it is. DETAIL lists the columns as
    /// `no_value` (see [`super::person::Person::without_value`]) and `not_alone` ([`super::person::Person::not_alone`]).
    #[must_use]
    pub fn explained(mut self, no_value: &[&str], not_alone: &[&str]) -> Failure {
        if self.reason() != Some(NoMatchReason::NotIdentifiable.name()) {
            return self;
        }
        if !no_value.is_empty() {
            self.message.push_str(&format!(
                "; what stands in {} is no value, such as N/A, or an address under .example",
                no_value.join(" and ")
            ));
            self = self.with("no_value", json!(no_value));
        }
        if !not_alone.is_empty() {
            self.message.push_str(&format!("; {}", does_not_identify(not_alone)));
            self = self.with("not_alone", json!(not_alone));
        }
        self
    }

    /// What these columns hold is many people's, and nothing else identifies the contact.
    /// `no_match`, LX409, with the reason `not_identifiable`; DETAIL lists the columns as `shared_values`.
    pub fn only_shared(columns: &[&str]) -> Failure {
        let mut failure =
            Failure::no_match(NoMatchReason::NotIdentifiable).with("shared_values", json!(columns));
        let named = columns.join(" and ");
        failure.message.push_str(&format!(": its {named} is a shared value"));
        failure.hint = format!(
            "No credit was charged. Contacts with more than leadlex.max_people_per_value different names have the same {named}, so it does not identify one of them. Give the contact a value of its own, or a name and a company. Where the value does belong to one person, an administrator runs SELECT leadlex.allow_shared_value('VALUE')."
        );
        failure
    }

    /// The columns whose values are many people's, where only these would have identified the contact.
    pub fn has_shared_values(&self) -> bool {
        self.more.contains_key("shared_values")
    }

    /// No data, because these providers have one profile for many people.
    /// `no_match`, LX409, with the reason `shared_value`; DETAIL lists the providers as `shared_by`.
    pub fn about_somebody_else(providers: &[String]) -> Failure {
        Failure::no_match(NoMatchReason::SharedValue).with("shared_by", json!(providers))
    }

    /// No data, because what these providers answered was too weak.
    /// `no_match`, LX409, with the reason `no_data`; DETAIL lists the providers as `below_min_confidence`.
    pub fn too_weak(providers: &[String]) -> Failure {
        let mut failure =
            Failure::no_match(NoMatchReason::NoData).with("below_min_confidence", json!(providers));
        failure.hint = format!(
            "No credit was charged. What {} had was below leadlex.min_confidence, which counts as no match.",
            providers.join(", ")
        );
        failure
    }

    /// No match, because the contact's table refuses the values of these fields.
    /// `no_match`, LX409, with the reason `table_refuses`; DETAIL lists the fields as `refused`.
    pub fn table_refuses(fields: FieldSet) -> Failure {
        Failure::no_match(NoMatchReason::TableRefuses).with("refused", json!(fields.names()))
    }

    /// No provider was asked, as none of those that could be supplies a field that is wanted.
    /// `no_match`, LX409, with the reason `no_data`.
    pub fn not_supplied() -> Failure {
        Failure {
            message: "no provider that could be asked supplies the fields that are wanted".to_owned(),
            hint: "No provider was asked for this, and no credit was charged. \"fields\" in the response of each provider (leadlex.provider) says what it supplies. One that is disabled is not asked, nor for an answer that it owes: leadlex.enable_provider enables it.".to_owned(),
            ..Failure::no_match(NoMatchReason::NoData)
        }
    }

    /// No match, because what providers have for these fields was taken back.
    /// `no_match`, LX409, with the reason `refused`; DETAIL lists the fields as `refused`.
    pub fn refused(fields: FieldSet) -> Failure {
        Failure::no_match(NoMatchReason::Refused).with("refused", json!(fields.names()))
    }

    /// No data, because what these providers answered is about somebody else, or of another company. The first tells the reason.
    /// `no_match`, LX409; DETAIL lists the providers of each reason under the reason's name.
    pub fn set_aside(providers: &[(String, NoMatchReason)]) -> Failure {
        let reason = providers.first().map_or(NoMatchReason::NoData, |(_, reason)| *reason);
        let of = |wanted| {
            providers.iter().filter(move |(_, reason)| *reason == wanted).map(|(name, _)| name.as_str())
        };
        let mut failure = Failure::no_match(reason);
        for reason in NoMatchReason::ALL.into_iter().filter(|reason| of(*reason).next().is_some()) {
            failure = failure.with(reason.name(), of(reason).collect());
        }
        failure
    }

    /// `now` is the epoch second of the refusal.
    /// `rate_limited`, LX429. `retry_after` in DETAIL is in whole seconds, at least 1.
    pub fn rate_limited(window: Window, now: i64) -> Failure {
        let retry_after = (window.reset - now).max(1);
        let mut failure = Failure::new(
            Code::RateLimited,
            format!("the rate limit is used up (limit: {})", window.limit),
            format!("Try again in {retry_after} s. leadlex.rate_limit() shows the limits, leadlex.set_rate_limit changes them."),
        )
        .with("limit", json!(window.limit))
        .with("remaining", json!(window.remaining))
        .with("reset", json!(window.reset))
        .with("retry_after", json!(retry_after));
        failure.rate_limit = Some(Some(window));
        failure
    }

    /// What the identity step adds: known from then on.
    pub fn seen_at(mut self, request_id: Uuid, rate: Option<&Status>) -> Failure {
        self.request_id = request_id;
        if self.rate_limit.is_none() {
            self.rate_limit = rate.map(Status::tightest);
        }
        self
    }

    /// Providers whose answers were thrown away for their confidence.
    /// Their names with commas between them; `None`: there is none.
    pub fn below_min_confidence(&self) -> Option<String> {
        let names = self.more.get("below_min_confidence")?.as_array()?;
        Some(names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "))
    }

    /// The reason in one word; of several providers that failed, theirs.
    /// `None`: the failure has no reason, or no provider failed.
    pub fn why(&self) -> Option<String> {
        let reason = |entry: &Value| entry.get("reason").and_then(Value::as_str).map(str::to_owned);
        let Some(providers) = self.more.get("providers").and_then(Value::as_array) else {
            return self.more.get("reason").and_then(Value::as_str).map(str::to_owned);
        };
        let mut failed: Vec<String> =
            providers.iter().filter_map(reason).filter(|why| why != "no_match").collect();
        failed.sort_unstable();
        failed.dedup();
        (!failed.is_empty()).then(|| failed.join(" and "))
    }

    /// The `reason` in DETAIL.
    pub fn reason(&self) -> Option<&str> {
        self.more.get("reason").and_then(Value::as_str)
    }

    /// The `providers` in DETAIL, each with why it had nothing.
    pub fn providers(&self) -> Option<&Value> {
        self.more.get("providers")
    }

    /// Seconds before which it is no use to try again: of a rate limit, or of the provider that can be asked first, when
    /// each that failed has said when.
    /// `None`: not known.
    pub fn retry_after_s(&self) -> Option<u64> {
        if let Some(seconds) = self.more.get("retry_after").and_then(Value::as_u64) {
            return Some(seconds);
        }
        soonest(self.open_entries()?)
    }

    /// What `providers` says of those that failed and can still be asked; `None`: there is no such list.
    fn open_entries(&self) -> Option<impl Iterator<Item = &Value>> {
        let providers = self.more.get("providers").and_then(Value::as_array)?;
        Some(
            providers.iter().filter(|p| p.get("reason") != Some(&json!("no_match")) && p["given_up"] != true),
        )
    }

    /// MESSAGE: begins with the code.
    pub fn text(&self) -> String {
        format!("{}: {}", self.code.name(), self.message)
    }

    /// DETAIL, and with `message` the object that the try_ functions return.
    pub fn detail(&self) -> Value {
        let mut detail = Map::new();
        detail.insert("code".into(), json!(self.code.name()));
        detail.insert("status".into(), json!(self.code.status()));
        detail.insert("request_id".into(), json!(self.request_id));
        detail.insert("retryable".into(), json!(self.code.retryable() && !self.is_stopped()));
        detail.extend(self.more.as_ref().clone());
        if let Some(window) = &self.rate_limit {
            detail.insert("rate_limit".into(), json!(window));
        }
        Value::Object(detail)
    }

    /// `{"error": {…}}`
    pub fn as_result(&self) -> Value {
        let mut error = self.detail();
        if let Some(object) = error.as_object_mut() {
            object.insert("message".into(), json!(self.text()));
            object.insert("hint".into(), json!(self.hint));
            object.insert("sqlstate".into(), json!(self.code.sqlstate()));
        }
        json!({"error": error})
    }
}
/// What an entry of `providers` says of when the provider can be asked again, in seconds.
fn retry_after(entry: &Value) -> Option<u64> {
    entry.get("retry_after").and_then(Value::as_u64)
}

/// The least of that; `None`: one of them does not say it, or there is none.
fn soonest<'a>(entries: impl Iterator<Item = &'a Value>) -> Option<u64> {
    entries.map(retry_after).collect::<Option<Vec<u64>>>()?.into_iter().min()
}
