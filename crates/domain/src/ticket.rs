//! Answers that a provider owes: what a step took, kept for the question like a receipt, so that nothing is handed in twice.

use serde_json::{Value, json};
use uuid::Uuid;

use super::fields::{Field, FieldSet};
use super::hash::Hash;
use super::money::hold::Hold;
use super::provider::{Config, Fault, FaultKind, Inquiry};

/// What the vendor calls a question that it answers later, and whom it is about: the same name for somebody else is a mistake of the
/// vendor's, or of the description, and its answer would be somebody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VendorId {
    /// Hash of all that was taken.
    pub id: Hash,
    /// See [`Config::whom_asked`]; of several that were handed in together, of all of them.
    pub whom: Hash,
}

/// What is kept of a question under way.
#[derive(Clone, Debug, PartialEq)]
pub struct Ticket {
    /// When it was kept, in epoch microseconds. Of two to one question the later counts.
    pub kept_at: i64,
    /// When the question was handed in.
    pub submitted_at: i64,
    /// When it is given up, by the description that it was kept with.
    pub ends_at: i64,
    /// For which contact it was asked last, see [`super::receipt::person`].
    pub person: Hash,
    /// What was known of the person, see [`super::question::Questions::known`].
    pub known: Hash,
    /// See [`Inquiry::ticket`].
    pub inquiry: Value,
    /// Microseconds since the submission in which nothing could be sent.
    pub uncounted_us: i64,
    /// Up to when that is counted.
    pub paused_until: i64,
    /// The same step was kept before, and can be asked: nothing is lost with this one but a time.
    pub renews: bool,
    /// `None`: it is not one that is asked for later, or the vendor called another's so before.
    pub vendor_id: Option<VendorId>,
    /// The vendor called another's so before: it is not asked for.
    pub is_anothers: bool,
    /// What the vendor may still bill for it.
    pub hold: Option<Hold>,
    /// The same of one that is given up: it counts as spent by now.
    pub released: Option<Hold>,
}

impl Ticket {
    /// Of a question under way about this contact; `before`: what was kept of it. `None`: nothing has been handed in.
    pub fn new(
        config: &Config,
        inquiry: &Inquiry,
        (person, known, whom): (Hash, Hash, Hash),
        before: Option<&Ticket>,
        now: i64,
    ) -> Option<Ticket> {
        let json = inquiry.ticket()?;
        let (uncounted_us, paused_until) =
            before.map_or((0, 0), |before| (before.uncounted_us, before.paused_until));
        let renewed = before.filter(|before| before.inquiry["step"] == json["step"]);
        let new = || inquiry.vendor_id(config).map(|id| VendorId { id, whom });
        let mut ticket = Ticket {
            kept_at: now,
            submitted_at: json["submitted_at"].as_i64()?,
            ends_at: 0,
            person,
            known,
            renews: renewed.is_some(),
            vendor_id: renewed.map_or_else(new, |before| before.vendor_id),
            is_anothers: renewed.is_some_and(|before| before.is_anothers),
            inquiry: json,
            uncounted_us,
            paused_until,
            hold: before.and_then(|before| before.hold.clone()),
            released: None,
        };
        ticket.ends_at = ticket.ends(config);
        Some(ticket)
    }

    /// What is left of one that is over: what the vendor called it, and for who marks repetitions, that to hand the question in anew is
    /// another request. `released`: what was held for it, where that is over. `in_vain`: it was asked for as long as `poll_for_s` said.
    pub fn given_up(self, now: i64, released: Option<Hold>, in_vain: bool) -> Ticket {
        let hold = self.hold.filter(|_| released.is_none());
        let inquiry = if in_vain { json!({"in_vain": true}) } else { Value::Null };
        Ticket { kept_at: now, ends_at: now, inquiry, renews: true, hold, released, ..self }
    }

    /// Whether it was asked for as long as `poll_for_s` said, and is given up.
    pub fn was_in_vain(&self) -> bool {
        self.inquiry["in_vain"] == true
    }

    /// The question as it stands; `None`: it was another description's, or is given up.
    pub fn inquiry(&self, config: &Config, wanted: FieldSet) -> Option<Inquiry> {
        Inquiry::resumed(config, &self.inquiry, wanted)
    }

    /// When it is given up, in epoch microseconds, as the description says by now.
    pub fn ends(&self, config: &Config) -> i64 {
        let longest = i64::from(config.poll_for_s()).saturating_mul(1_000_000);
        self.submitted_at.saturating_add(longest).saturating_add(self.uncounted_us)
    }

    /// The same where nothing can be sent until then: that does not count. `None`: it is counted off already.
    pub fn paused(&self, config: &Config, until: i64, now: i64) -> Option<Ticket> {
        let more = until - now.max(self.paused_until);
        let mut later = Ticket {
            kept_at: now,
            uncounted_us: self.uncounted_us.saturating_add(more),
            paused_until: until,
            renews: true,
            ..self.clone()
        };
        later.ends_at = later.ends(config);
        (more > 0).then_some(later)
    }

    /// What earlier steps have supplied for this field.
    pub fn supplied(&self, field: Field) -> Option<&str> {
        self.inquiry["values"][field.name()].as_str()
    }

    /// The vendor called somebody else's so: it is not asked for, and nobody is compared with it.
    #[must_use]
    pub fn of_another(self) -> Ticket {
        Ticket { vendor_id: None, is_anothers: true, ..self }
    }

    /// Why it is not asked for, if it is not.
    pub fn fault(&self) -> Option<Fault> {
        let message = "not asked for: the vendor has given the id that it gave for another person, so the answer would be about that one";
        let fault = Fault {
            remedy: Some(
                "See whether \"take\" in the provider's configuration names the vendor's id of this very question (leadlex.check_provider(name, contact) shows what is taken); else tell the vendor. The question is handed in anew once poll_for_s is over.".into(),
            ),
            settles: true,
            ..Fault::new(FaultKind::Unrecognised, message)
        };
        self.is_anothers.then_some(fault)
    }

    /// As the queue in shared memory has it, which knows the contact besides; [`Ticket::from_parts`] reads it.
    pub fn to_parts(&self) -> Value {
        json!([
            self.kept_at,
            self.submitted_at,
            self.ends_at,
            Uuid::from_bytes(self.known),
            self.inquiry,
            self.uncounted_us,
            self.paused_until,
            self.renews,
            self.vendor_id.map(|known| [Uuid::from_bytes(known.id), Uuid::from_bytes(known.whom)]),
            self.is_anothers,
            self.hold.as_ref().map(Hold::to_json),
            self.released.as_ref().map(Hold::to_json),
        ])
    }

    /// `None`: the parts have another form.
    pub fn from_parts(parts: &[Value], person: Hash) -> Option<Ticket> {
        let [
            kept_at,
            submitted_at,
            ends_at,
            known,
            inquiry,
            uncounted_us,
            paused_until,
            renews,
            vendor_id,
            own,
            hold,
            released,
        ] = parts
        else {
            return None;
        };
        let hash = |text: &Value| Some(text.as_str()?.parse::<Uuid>().ok()?.into_bytes());
        Some(Ticket {
            kept_at: kept_at.as_i64()?,
            submitted_at: submitted_at.as_i64()?,
            ends_at: ends_at.as_i64()?,
            person,
            known: hash(known)?,
            inquiry: inquiry.clone(),
            uncounted_us: uncounted_us.as_i64()?,
            paused_until: paused_until.as_i64()?,
            renews: renews.as_bool()?,
            vendor_id: match vendor_id {
                Value::Null => None,
                known => Some(VendorId { id: hash(&known[0])?, whom: hash(&known[1])? }),
            },
            is_anothers: own.as_bool()?,
            hold: Hold::from_json(hold),
            released: Hold::from_json(released),
        })
    }

    /// What the tables keep of it beside their columns.
    pub fn body(&self) -> Value {
        let mut body = json!({
            "inquiry": self.inquiry,
            "uncounted_us": self.uncounted_us,
            "paused_until": self.paused_until,
        });
        if self.is_anothers {
            body["is_anothers"] = json!(true);
        }
        if let Some(hold) = &self.hold {
            body["hold"] = hold.to_json();
        }
        body
    }

    /// Reads what [`Ticket::body`] wrote, with what stands in the columns: times in epoch microseconds.
    pub fn from_body(
        body: &Value,
        (kept_at, submitted_at, ends_at): (i64, i64, i64),
        (person, known, vendor_id): (Hash, Hash, Option<VendorId>),
    ) -> Ticket {
        Ticket {
            kept_at,
            submitted_at,
            ends_at,
            person,
            known,
            inquiry: body["inquiry"].clone(),
            uncounted_us: body["uncounted_us"].as_i64().unwrap_or_default(),
            paused_until: body["paused_until"].as_i64().unwrap_or_default(),
            renews: true,
            vendor_id,
            is_anothers: body["is_anothers"].as_bool().unwrap_or_default(),
            hold: Hold::from_json(&body["hold"]),
            released: None,
        }
    }
}

/// A failure of the request that asks for what was handed in, see [`Fault::of_poll`]; of any other request it is what it is.
pub fn still_owed(config: &Config, inquiry: &Inquiry, fault: Fault, sent: bool) -> Fault {
    if inquiry.is_poll(config) { fault.of_poll(config.poll_every_s().into(), sent) } else { fault }
}

#[cfg(test)]
#[path = "ticket_tests.rs"]
mod tests;
