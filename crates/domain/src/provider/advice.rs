//! What a caller is told to do about a provider that failed: the HINT of LX503.

use super::failure_kind::{Fault, FaultKind};

impl Fault {
    /// One or two sentences. `name`: the provider's.
    pub fn advice(&self, name: &str) -> String {
        let literal = name.replace('\'', "''");
        if let Some(remedy) = &self.remedy {
            return format!("Provider {name}: {remedy}");
        }
        if self.kind == FaultKind::RateLimited {
            let wait = if self.retry_after_s.is_some() { "Wait for retry_after" } else { "Try again later" };
            return format!(
                "{wait}. Fewer requests are sent where the configuration of provider {name} has the vendor's limits (max_requests_per_minute, max_requests_per_second, max_concurrent): SELECT leadlex.alter_provider('{literal}', config => …)."
            );
        }
        if self.paused && self.kind != FaultKind::BadCredentials {
            return format!(
                "Try again later. Once provider {name} is well, SELECT leadlex.enable_provider('{literal}', true) ends its pause."
            );
        }
        match self.kind {
            FaultKind::BadCredentials => {
                format!(
                    "Give the vendor's key anew: SELECT leadlex.alter_provider('{literal}', secret => 'YOUR_KEY')."
                )
            }
            FaultKind::Refused | FaultKind::Unreachable => {
                format!(
                    "Check host and port in the configuration of provider {name} (leadlex.provider), and the server's firewall."
                )
            }
            FaultKind::Dns => {
                format!(
                    "Check the host's name in the configuration of provider {name} (leadlex.provider), and the server's resolver."
                )
            }
            FaultKind::Tls => format!(
                "Check the URL of provider {name} (leadlex.provider), and the certificate authorities of the server's system."
            ),
            FaultKind::ProviderLimit => format!(
                "Try again when its window is over, or raise max_requests_per_minute or max_requests_per_day: SELECT leadlex.alter_provider('{literal}', config => …)."
            ),
            FaultKind::Stopped => {
                "An administrator has stopped all requests, and starts them again with leadlex.resume()."
                    .to_owned()
            }
            FaultKind::Budget => {
                let wait = if self.retry_after_s.is_some() { "Wait for retry_after, or let" } else { "Let" };
                format!(
                    "{wait} an administrator raise the budget: leadlex.set_budget(provider, period, amount, workspace_id), as it was set. leadlex.check() and leadlex.budget show administrators which one it is; one without a provider counts provider {name}, too."
                )
            }
            FaultKind::Quota => format!(
                "The account with the vendor of provider {name} has nothing left: buy more, or wait for its next period."
            ),
            _ => "Try again later; leadlex.check_provider(name, contact) shows what a provider answers."
                .to_owned(),
        }
    }
}

/// What is to be done about a provider that a budget in this currency concerns, and that has no price in it. `own`: the currency of
/// its price, if it has one.
pub fn price_remedy(name: &str, currency: &str, own: Option<&str>) -> String {
    let literal = name.replace('\'', "''");
    if let Some(own) = own {
        return format!(
            "Its price is in {own}, and a budget counts one currency: set one in {own} (leadlex.set_budget) in place of one in {currency}, which can concern only providers that are paid in {currency}."
        );
    }
    format!(
        "A budget in {currency} counts what it costs: give its price in {currency}, as in SELECT leadlex.alter_provider('{literal}', '{{\"price\": {{\"currency\": \"{currency}\", \"per_match\": 0.28}}}}')."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_follows_what_failed() {
        let of = |kind| Fault::new(kind, "x");
        let paused = Fault { paused: true, ..of(FaultKind::ServerError) };
        let told = Fault { remedy: Some("Mend it.".into()), ..of(FaultKind::BadCredentials) };
        for (fault, expected) in [
            (of(FaultKind::Refused), "host and port"),
            (of(FaultKind::Dns), "resolver"),
            (of(FaultKind::ProviderLimit), "max_requests_per_minute"),
            (of(FaultKind::BadCredentials), "alter_provider('it''s', secret"),
            (paused, "enable_provider('it''s', true)"),
            (told, "Provider it's: Mend it."),
            (of(FaultKind::Budget), "leadlex.set_budget"),
            (of(FaultKind::Timeout), "Try again later"),
        ] {
            let advice = fault.advice("it's");
            assert!(advice.contains(expected), "{:?}: {advice}", fault.kind);
        }
        let elsewhere = price_remedy("it's", "EUR", Some("USD"));
        assert!(
            elsewhere.contains("Its price is in USD") && !elsewhere.contains("alter_provider"),
            "{elsewhere}"
        );
        let priced = price_remedy("it's", "EUR", None);
        assert!(priced.contains(r#"alter_provider('it''s', '{"price": {"currency": "EUR""#), "{priced}");
    }
}
