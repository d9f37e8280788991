//! A provider's price: what a request costs, and the most that it can cost before it is sent.

use super::Reported;
use super::Verdict;
use super::failure_kind::FaultKind;
use super::inquiry::Progress;
use super::node::{Checked, ConfigError, Node};
use super::supplied::Supplied;
use crate::fields::{Field, FieldMap, FieldSet};
use crate::money::{Amount, Currency};

/// `price` of a provider's description, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Price {
    pub currency: Currency,
    per_request: Amount,
    per_match: Amount,
    per_field: FieldMap<Amount>,
    per_credit: Option<PerCredit>,
}

/// What one of the vendor's credits costs, and how many one answer can report.
#[derive(Clone, Copy, Debug, PartialEq)]
struct PerCredit {
    each: Amount,
    most: Amount,
}

const KEYS: [&str; 6] = ["currency", "per_request", "per_match", "per_field", "per_credit", "most_credits"];

/// What is to be booked of a request that is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bill {
    /// 1, or 0 where it was not sent.
    pub requests: u32,
    pub matches: u32,
    pub fields_supplied: u32,
    /// The vendor's own units, as reported.
    pub credits: Amount,
    /// The same for each contact of the request, rounded up to millionths.
    pub credits_of_one: Amount,
    pub cost: Amount,
    /// What it may have cost besides: it was sent, and no answer came.
    pub unknown: Amount,
}

impl Price {
    /// Reads what a description says. `reports`: a response of it says how many credits an answer has cost. `maps`: the fields
    /// that its answers can supply.
    pub fn parse(node: &Node<'_>, reports: bool, maps: FieldSet) -> Checked<Price> {
        let object = node.object(&KEYS)?;
        let currency = object.required("currency")?;
        let currency = Currency::parse(currency.text()?)
            .ok_or_else(|| currency.error("must be a currency's three capital letters, such as \"USD\""))?;
        let amount = |key| object.optional(key).map(|node| parse_amount(&node)).transpose();
        let per_field = object.optional("per_field").map(|node| parse_fields(&node, maps)).transpose()?;
        let price = Price {
            currency,
            per_request: amount("per_request")?.unwrap_or_default(),
            per_match: amount("per_match")?.unwrap_or_default(),
            per_field: per_field.unwrap_or_default(),
            per_credit: match (object.optional("per_credit"), object.optional("most_credits")) {
                (None, None) => None,
                (Some(each), Some(most)) => Some(parse_credits(&each, &most, reports)?),
                (Some(each), None) => {
                    return Err(each.error(
                        "needs \"most_credits\" beside it: the most that one answer can report, so that a budget can reserve it",
                    ));
                }
                (None, Some(most)) => {
                    return Err(most.error("means nothing without \"per_credit\""));
                }
            },
        };
        let given = KEYS[1..5].iter().any(|key| object.optional(key).is_some());
        if !given {
            return Err(node.error(
                "must have at least one of per_request, per_match, per_field, per_credit (0 for what is free)",
            ));
        }
        Ok(price)
    }

    /// What sending one request costs, whatever comes of it.
    pub fn per_request(&self) -> Amount {
        self.per_request
    }

    /// The most credits that one answer is expected to report; `None`: it is not priced by credits.
    pub fn most_credits(&self) -> Option<Amount> {
        self.per_credit.map(|credit| credit.most)
    }

    /// The most that an answer can cost which supplies some of these fields, without what the request itself costs.
    pub fn most_of_answer(&self, fields: FieldSet) -> Amount {
        let by_credits = self.per_credit.map_or(Amount::ZERO, |credit| credit.most.at(credit.each));
        self.of_match(fields).max(by_credits)
    }

    /// The most that a request can cost whose answer supplies some of these fields.
    pub fn most(&self, fields: FieldSet) -> Amount {
        self.per_request.plus(self.most_of_answer(fields))
    }

    /// The most that a later answer to a question can cost of which earlier ones supplied these fields. What the vendor reports in
    /// credits may be all of it still.
    pub fn most_of_rest(&self, fields: FieldSet, supplied: FieldSet) -> Amount {
        match supplied.is_empty() || self.per_credit.is_some() {
            true => self.most_of_answer(fields),
            false => self.of_fields(fields.minus(supplied)),
        }
    }

    /// What an answer is expected to cost, in the currency, without what the request itself costs: a part `hit_rate` of the answers is
    /// billed like a match, and a part `rate_of` each of these fields supplies it. `credits`: what its answers have reported so far,
    /// each.
    pub fn expected_of_answer(
        &self,
        (hit_rate, rate_of): (f64, impl Fn(Field) -> f64),
        credits: Option<f64>,
        fields: FieldSet,
    ) -> f64 {
        match (self.per_credit, credits) {
            (Some(credit), Some(credits)) => credits * credit.each.to_f64(),
            (Some(credit), None) => hit_rate * credit.most.at(credit.each).to_f64(),
            (None, _) => {
                let of_fields = fields.iter().map(|field| rate_of(field) * self.of_field(field).to_f64());
                hit_rate * self.of_any_match().to_f64() + of_fields.sum::<f64>()
            }
        }
    }

    /// What a match that supplies these fields costs, without what the request itself costs.
    fn of_match(&self, supplied: FieldSet) -> Amount {
        self.per_match.plus(self.of_fields(supplied))
    }

    /// What an answer costs. `supplied`: of each contact in it. `credits`: what it reports.
    fn of_answer(&self, supplied: &[Supplied], credits: Option<Amount>) -> Amount {
        let of_one = |supplied: &Supplied| match supplied.is_match() {
            true => self.of_match(supplied.fields),
            false => self.of_fields(supplied.fields),
        };
        match (self.per_credit, credits) {
            (Some(credit), Some(credits)) => credits.at(credit.each),
            _ => supplied.iter().map(of_one).sum(),
        }
    }

    fn of_fields(&self, fields: FieldSet) -> Amount {
        fields.iter().map(|field| self.of_field(field)).sum()
    }

    /// What a field costs where it is the only one that a match supplies.
    pub fn of_field(&self, field: Field) -> Amount {
        self.per_field.get(field).copied().unwrap_or_default()
    }

    /// What a match costs, without its fields; of one that is priced by credits the most.
    pub fn of_any_match(&self) -> Amount {
        self.most_of_answer(FieldSet::EMPTY)
    }
}

/// What is to be booked of a request that came to this for each of its contacts, and supplied this. `credits`: what its answer
/// reports; where that cannot be read, the answer counts as the most that it can cost. `most`: what an answer could have cost for all
/// of them, without what the request itself costs. `owed`: it asks for what was handed in, which stays owed where it fails.
pub fn bill(
    price: Option<&Price>,
    (came, supplied): (&[Progress], &[Supplied]),
    credits: Option<Reported>,
    (most, owed): (Amount, bool),
) -> Bill {
    let unreadable = credits == Some(Reported::Unreadable);
    let credits = credits.and_then(Reported::credits).map(Amount::of_reported);
    if came.iter().all(|came| sent(came) == Sent::No) {
        return Bill::default();
    }
    // What the vendor itself reports of the whole answer is known.
    let by_credits = price.filter(|price| price.per_credit.is_some());
    let stays = |came: &&Progress| owed && matches!(came, Progress::Failed(_));
    let open = match (by_credits, credits) {
        (Some(_), Some(_)) => 0,
        (by_credits, _) => came.iter().filter(|came| !stays(came) && is_open(by_credits, came)).count(),
    };
    // What it cost is said, and cannot be read: it may be the most.
    let open = if unreadable && by_credits.is_some() { came.len() } else { open };
    let of_answer = |price: &Price| match unreadable && price.per_credit.is_some() {
        true => Amount::ZERO,
        false => price.of_answer(supplied, credits),
    };
    Bill {
        requests: 1,
        matches: supplied.iter().filter(|supplied| supplied.is_match()).count() as u32,
        fields_supplied: supplied.iter().map(|supplied| supplied.fields.iter().count() as u32).sum(),
        credits: credits.unwrap_or_default(),
        credits_of_one: credits.map(|all| all.share(1, came.len())).unwrap_or_default(),
        cost: price.map(|price| price.per_request.plus(of_answer(price))).unwrap_or_default(),
        unknown: most.share(open, came.len()),
    }
}

/// What becomes of what is kept free for an answer beside the requests that bring it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptFree {
    /// The answer can still come.
    Stays,
    /// The answer is there and booked, or none will come.
    Ends,
    /// None will come, and the vendor may have billed it.
    MayBeSpent,
}

impl KeptFree {
    /// After a request that came to this. `hands_in`: it was to hand the question in.
    pub fn after(came: &Progress, hands_in: bool) -> KeptFree {
        match came {
            Progress::Next { .. } | Progress::Pending { .. } => KeptFree::Stays,
            Progress::TicketUnknown(_) => KeptFree::MayBeSpent,
            Progress::LogInAgain | Progress::Failed(_) if !hands_in => KeptFree::Stays,
            Progress::LogInAgain => KeptFree::Ends,
            // Of others the answer is booked, also where it is not known.
            _ if hands_in && sent(came) == Sent::Unread => KeptFree::MayBeSpent,
            _ => KeptFree::Ends,
        }
    }
}

/// Whether the vendor may have billed a match of which nothing is known: it was not read, or lacks the report that prices it.
fn is_open(by_credits: Option<&Price>, came: &Progress) -> bool {
    let supplied = all_supplied(came);
    let unpriced = |price: &Price| !supplied.is_empty() && price.of_match(supplied) == Amount::ZERO;
    sent(came) == Sent::Unread || by_credits.is_some_and(unpriced)
}

/// By all steps.
fn all_supplied(came: &Progress) -> FieldSet {
    match came {
        Progress::Over(Verdict::Match { values, .. }) => values.fields(),
        Progress::Over(Verdict::OtherPerson(fields)) => *fields,
        _ => FieldSet::EMPTY,
    }
}

fn sent(came: &Progress) -> Sent {
    match came {
        Progress::Failed(fault) | Progress::Over(Verdict::Failed(fault)) => match fault.kind.sent() {
            _ if fault.went_out => Sent::Unread,
            sent => sent,
        },
        _ => Sent::Answered,
    }
}

/// Whether a vendor can bill a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// No byte of it went out.
    No,
    /// It went out, and what the vendor supplied is not known: no whole answer came, or one that could not be read.
    Unread,
    Answered,
}

impl FaultKind {
    /// How far a request came that failed so, unless its fault says that it went out.
    pub const fn sent(self) -> Sent {
        match self {
            FaultKind::Refused
            | FaultKind::Unreachable
            | FaultKind::Dns
            | FaultKind::Tls
            | FaultKind::AddressRefused
            | FaultKind::BreakerOpen
            | FaultKind::ProviderLimit
            | FaultKind::Busy
            | FaultKind::Budget
            | FaultKind::NoPrice
            | FaultKind::Stopped => Sent::No,
            FaultKind::Timeout
            | FaultKind::Reset
            | FaultKind::TooLarge
            | FaultKind::BadHttp
            | FaultKind::BadJson
            | FaultKind::BadEncoding
            | FaultKind::Unrecognised
            | FaultKind::Internal => Sent::Unread,
            FaultKind::Redirect
            | FaultKind::BadCredentials
            | FaultKind::RateLimited
            | FaultKind::Quota
            | FaultKind::ServerError
            | FaultKind::BadStatus
            | FaultKind::Pending
            | FaultKind::ProviderError => Sent::Answered,
        }
    }
}

fn parse_amount(node: &Node<'_>) -> Checked<Amount> {
    node.number()?;
    Amount::parse(&node.value.to_string()).map_err(|why| node.error(why.words()))
}

fn parse_fields(node: &Node<'_>, maps: FieldSet) -> Checked<FieldMap<Amount>> {
    let mut fields = FieldMap::default();
    for (name, amount) in node.members()? {
        let field = Field::parse(name).filter(|field| maps.contains(*field)).ok_or_else(|| {
            let known = maps.names().join(", ");
            amount.error(format!("is not one of the fields that its response supplies ({known})"))
        })?;
        fields.set(field, parse_amount(&amount)?);
    }
    Ok(fields)
}

fn parse_credits(each: &Node<'_>, most: &Node<'_>, reports: bool) -> Result<PerCredit, ConfigError> {
    if !reports {
        return Err(each.error(
            "needs \"cost\" in a response: where the answer says how many credits it has cost, such as {\"pointer\": \"/credits_used\"}",
        ));
    }
    let credit = PerCredit { each: parse_amount(each)?, most: parse_amount(most)? };
    if credit.most == Amount::ZERO {
        return Err(most.error("must be more than 0"));
    }
    Ok(credit)
}

#[cfg(test)]
#[path = "price_tests.rs"]
mod tests;
