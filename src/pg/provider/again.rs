//! Sending a request once more, where the provider knows repetitions by a key in the header.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::receipt_sink::{Kept, ReceiptSink};
use crate::pg::provider::asker::Asker;
use crate::pg::provider::sending::{admit_in_time, longest, longest_wait, send, time_left};
use crate::pg::provider::spending::Spender;
use crate::pg::shared::wait::{On, Sent};
use crate::pg::store::loaded_provider::LoadedProvider;
use leadlex_domain::provider::Config;

/// What it takes to send a request a second time: where its answer goes, and until when.
pub struct Again {
    receipt_sink: ReceiptSink,
    spender: Spender,
    until: Instant,
}

impl Again {
    /// `None` where the provider would bill a repetition.
    pub fn of(receipt_sink: &ReceiptSink, spender: Spender, left: Duration) -> Option<Again> {
        receipt_sink.repeats.then(|| Again {
            receipt_sink: receipt_sink.clone(),
            spender,
            until: Instant::now() + left,
        })
    }

    /// It counts as a request, like any other; `None` where it may not be sent now.
    pub fn send(mut self, provider: &LoadedProvider, config: &Config) -> Option<(Kept, Sent)> {
        let left = self.until.checked_duration_since(Instant::now())?;
        let question = self.receipt_sink.in_flight.question;
        self.receipt_sink.in_flight =
            admit_in_time(provider, config, (question, self.spender), self.until, Asker::Single).ok()?;
        let left = left.min(self.until.saturating_duration_since(Instant::now()));
        let hands_in = self.receipt_sink.inquiry.hands_in(config);
        if let Some(claim) = &self.receipt_sink.claim {
            // Who waited has its turn meanwhile.
            if !claim.holds() {
                return None;
            }
            claim.extend(longest(config, time_left(config, hands_in, left)));
        }
        self.receipt_sink.repeats = false;
        self.receipt_sink.until = longest_wait(config, left);
        let request = (Arc::clone(&self.receipt_sink.request), hands_in);
        let (keep, kept) = self.receipt_sink.start();
        let sent = send(config, request, left, keep, On::Thread).ok()?;
        Some((kept, sent))
    }
}
