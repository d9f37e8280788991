//! Reads the answer to a request about several contacts, on the helper thread, and keeps what it comes to for each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::pg::provider::health::InFlightRequest;
use crate::pg::provider::receipt_sink::{Decided, Kept, PATIENCE, ReceiptSink};
use crate::pg::sys::clock;
use leadlex_domain::hash::Hash;
use leadlex_domain::money::hold::HoldChange;
use leadlex_domain::provider::{Answer, Fault, FaultKind, Inquiry, Member, Progress, Reported, Supplied};
use uuid::Uuid;

/// What a helper thread does with what came of the request.
pub struct Telling {
    pub sinks: Vec<ReceiptSink>,
    pub kept: Vec<Kept>,
    pub in_flight: InFlightRequest,
    pub halve: Arc<AtomicBool>,
    pub repeats: bool,
    /// Of the answer about one contact.
    pub most_bytes: usize,
}

impl Telling {
    pub fn tell(self, answer: Result<&Answer, &Fault>) {
        let Telling { mut sinks, kept, in_flight, halve, repeats, most_bytes } = self;
        let mut inquiries: Vec<Inquiry> = sinks.iter().map(|sink| sink.inquiry.clone()).collect();
        let (progress, cost) = match answer {
            Err(fault) if repeats && fault.unanswered => {
                // Its claims end with this, so that it is put again by whose turn it is.
                return in_flight.ended(&Progress::Failed(fault.clone()), Supplied::default(), None);
            }
            Err(fault) => (vec![Progress::Failed(fault.clone()); sinks.len()], None),
            Ok(answer) => match read(&sinks, &mut inquiries, (answer, most_bytes)) {
                Some(read) => read,
                None => {
                    halve.store(true, Ordering::Release);
                    let message = "it does not take the request about several contacts as it is";
                    let fault = Fault::new(FaultKind::BadStatus, message);
                    return in_flight.ended(&Progress::Failed(fault), Supplied::default(), None);
                }
            },
        };
        let config = sinks.first().map(|sink| Arc::clone(&sink.config));
        let balance = |answer| config.as_ref().and_then(|config| config.balance(answer));
        in_flight.note_balance(answer.ok().and_then(balance));
        let mut progress = progress;
        let decided: Vec<Decided> = sinks
            .iter()
            .zip(&inquiries)
            .zip(&mut progress)
            .map(|((sink, inquiry), came)| sink.decide(inquiry, came))
            .collect();
        in_flight
            .note_holds(decided.iter().map(|one| one.change).fold(HoldChange::default(), HoldChange::plus));
        let supplied: Vec<Supplied> = inquiries.iter().map(Inquiry::latest).collect();
        in_flight.ended_for_all(&progress, &supplied, cost);
        let keeps_by = Instant::now() + PATIENCE;
        sinks.iter_mut().for_each(|sink| sink.keeps_by = Some(keeps_by));
        let came = inquiries.into_iter().zip(decided).zip(progress);
        for ((sink, (came, progress)), kept) in sinks.into_iter().zip(came).zip(&kept) {
            sink.settle(came, progress, kept, true);
        }
    }
}

/// What the answer comes to for each contact, and what it cost; `None`: it is to be asked again in halves.
fn read(
    sinks: &[ReceiptSink],
    inquiries: &mut [Inquiry],
    (answer, most_bytes): (&Answer, usize),
) -> Option<(Vec<Progress>, Option<Reported>)> {
    let Some(ReceiptSink { config, request, .. }) = sinks.first() else { return Some((Vec::new(), None)) };
    let member = |(sink, inquiry)| -> Member<'_> {
        let sink: &ReceiptSink = sink;
        Member { inquiry, whom: &sink.whom, id: id_of(sink.key.question) }
    };
    let mut members: Vec<Member<'_>> = sinks.iter().zip(inquiries).map(member).collect();
    config.take_for_all((request, answer), &mut members, (most_bytes, clock::now_us()))
}

/// Of its question, so that it is no other's in any request.
pub fn id_of(question: Hash) -> String {
    Uuid::from_bytes(question).simple().to_string()
}
