//! What administrators are told of by itself: leadlex.event, the server log and NOTIFY.

/// The kinds of event. Their names are what leadlex.event shows.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $name:literal,)*) => {
        /// What has happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            /// Each of them once.
            pub const ALL: [Kind; [$($name),*].len()] = [$(Kind::$kind),*];

            /// The stable name that users see.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Kind::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// Few credits are left of what a workspace had after its last grant, limit or allotment.
    CreditsLow "credits_low",
    /// None is.
    CreditsOut "credits_out",
    /// Most of a budget is used.
    BudgetLow "budget_low",
    /// All of it is.
    BudgetOut "budget_out",
    /// A provider is not asked for a while.
    ProviderPaused "provider_paused",
    /// It is asked again.
    ProviderBack "provider_back",
    /// The account with a vendor has little left.
    VendorBalanceLow "vendor_balance_low",
    /// Queued jobs were given up.
    JobsDead "jobs_dead",
    /// leadlex.stop() is in force.
    Stopped "stopped",
    /// It is not any more.
    Resumed "resumed",
    /// A value turned out to be many people's.
    SharedValue "shared_value",
}

impl Kind {
    /// The kind that ends what this one tells of, or that this one ends: what has not been told yet is not worth
    /// telling once the other has happened.
    pub const fn opposite(self) -> Option<Kind> {
        match self {
            Kind::ProviderPaused => Some(Kind::ProviderBack),
            Kind::ProviderBack => Some(Kind::ProviderPaused),
            Kind::Stopped => Some(Kind::Resumed),
            Kind::Resumed => Some(Kind::Stopped),
            _ => None,
        }
    }
}

/// At most one of a kind is told for each workspace or provider in so many microseconds.
pub const INTERVAL_US: i64 = 60_000_000;

/// So many of the last are kept.
pub const KEPT: usize = 1_000;

/// When an event may be told whose like was told last at `last`: `None` for at once. All are epoch microseconds; a clock that
/// was ahead delays by one interval at most.
pub fn not_before(last: Option<i64>, now: i64) -> Option<i64> {
    let last = last?.min(now);
    let open = last.saturating_add(INTERVAL_US);
    (open > now).then_some(open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_kind_is_told_in_a_minute() {
        let now = 1_000 * INTERVAL_US;
        assert_eq!(not_before(None, now), None);
        assert_eq!(not_before(Some(now - INTERVAL_US), now), None);
        assert_eq!(not_before(Some(now - INTERVAL_US + 1), now), Some(now + 1));
        assert_eq!(not_before(Some(now), now), Some(now + INTERVAL_US));
    }

    #[test]
    fn a_clock_that_was_ahead_delays_by_one_interval() {
        let now = 1_000 * INTERVAL_US;
        assert_eq!(not_before(Some(now + 86_400_000_000), now), Some(now + INTERVAL_US));
    }

    #[test]
    fn opposites_are_mutual() {
        for kind in Kind::ALL {
            if let Some(other) = kind.opposite() {
                assert_eq!(other.opposite(), Some(kind));
            }
        }
    }
}
