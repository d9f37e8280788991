//! What is kept free for an answer that no ticket is kept of: leadlex.check_provider's.

use std::sync::Arc;
use std::time::Duration;

use crate::pg::provider::spending::{self, Spender, Spending};
use crate::pg::store::loaded_provider::LoadedProvider;
use leadlex_domain::money::Amount;
use leadlex_domain::provider::price::KeptFree;
use leadlex_domain::provider::{Config, Fault, Progress};

/// What the answer to a question can cost that was handed in. Where it does not come while it is tried out, that counts as spent.
/// Who waits for a request has a part in it, also where the session does not wait any longer.
#[derive(Clone)]
pub struct PollReserve(Arc<Kept>);

struct Kept(Spending);

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.end_without_request(true);
    }
}

impl PollReserve {
    /// Keeps it free before the question is handed in, with what polls of it can cost ([`spending::Purpose::KeepFree`]); `None`: it has
    /// no price. Err: a budget has not so much left or cannot be counted.
    pub fn keep(
        provider: &LoadedProvider,
        config: &Config,
        spender: Spender,
        left: Duration,
    ) -> Result<Option<PollReserve>, Fault> {
        if config.price().is_none() {
            return Ok(None);
        }
        let kept = spending::reserve(provider, config, spender, left);
        kept.map(|kept| Some(PollReserve(Arc::new(Kept(kept))))).map_err(|refused| refused.fault)
    }

    pub fn most(&self) -> Amount {
        self.0.0.most_of_answer()
    }

    /// It is free again, if `is_over`.
    pub fn end(owed: &mut Option<PollReserve>, is_over: bool) {
        if let Some(owed) = owed.take_if(|_| is_over) {
            owed.0.0.end_without_request(false);
        }
    }

    /// From any thread, after a request that came to this. `hands_in`: it was to hand the question in.
    pub fn after(owed: &mut Option<PollReserve>, came: &Progress, hands_in: bool) {
        match KeptFree::after(came, hands_in) {
            KeptFree::Stays => {}
            KeptFree::MayBeSpent => *owed = None,
            KeptFree::Ends => PollReserve::end(owed, true),
        }
    }
}
