//! Sending a request once more, where the provider knows repetitions by a key in the header.

use std::time::{Duration, Instant};

use super::keeper::{Keeper, Kept};
use crate::pg::provider::sending::{Asker, admit, longest, send};
use crate::pg::shared::wait::Sent;
use crate::pg::store::config::LoadedProvider;
use leadlex_domain::provider::Config;

pub struct Again {
    keeper: Keeper,
    until: Instant,
}

impl Again {
    /// `None` where the provider would bill a repetition.
    pub fn of(config: &Config, keeper: &Keeper, left: Duration) -> Option<Again> {
        config.idempotency_header()?;
        Some(Again { keeper: keeper.clone(), until: Instant::now() + left })
    }

    /// It counts as a request, like any other; `None` where it may not be sent now.
    pub fn send(mut self, provider: &LoadedProvider, config: &Config) -> Option<(Kept, Sent)> {
        let left = self.until.checked_duration_since(Instant::now())?;
        self.keeper.errand =
            admit(provider, config, self.keeper.errand.question, left, Asker::Single).ok()?;
        if let Some(claim) = &self.keeper.claim {
            // Who waited has its turn meanwhile.
            if !claim.holds() {
                return None;
            }
            claim.extend(longest(config, left));
        }
        self.keeper.repeats = false;
        let request = self.keeper.request.clone();
        let (keep, kept) = self.keeper.start();
        let sent = send(config, request, left, keep).ok()?;
        Some((kept, sent))
    }
}
