//! How a request to a provider fails: the kinds of failure with their names, and what each says of the provider.

use std::fmt;

/// Why a provider did not give a usable answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// No complete answer within the time allowed.
    Timeout,
    /// Nobody listens at that address.
    Refused,
    /// No way to that address.
    Unreachable,
    /// The connection ended before the answer was complete.
    Reset,
    /// The host name could not be resolved.
    Dns,
    /// No trustworthy TLS connection.
    Tls,
    /// The address guard said no.
    AddressRefused,
    /// A redirect, which is never followed.
    Redirect,
    /// More than the caps on header or body allow.
    TooLarge,
    /// What came back was not HTTP that we understand.
    BadHttp,
    /// A success whose body should be JSON, and is none.
    BadJson,
    /// An answer in an encoding that is not undone.
    BadEncoding,
    /// An answer that is not of the kind that the description describes: a page, or JSON with nothing mapped in it.
    Unrecognised,
    /// 401 or 403, unless the description says otherwise.
    BadCredentials,
    /// 429, or what the description says.
    RateLimited,
    /// 402: the account with the provider has nothing left.
    Quota,
    /// 5xx.
    ServerError,
    /// Any other status that is not a success.
    BadStatus,
    /// The answer is not ready: the provider wants to be asked again later.
    Pending,
    /// An answer that says that something went wrong.
    ProviderError,
    /// It failed too often in a row, and is not asked for a while: see [`crate::health`].
    BreakerOpen,
    /// Our own limit on requests to this provider.
    ProviderLimit,
    /// A budget has not enough left for what a request can cost.
    Budget,
    /// A budget concerns it, and it has no price in that currency.
    NoPrice,
    /// Too many requests are under way in this session.
    Busy,
    /// An administrator has stopped all requests.
    Stopped,
    /// A mistake of ours.
    Internal,
}

/// What a failure says of the provider itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is in trouble, whatever was asked.
    Unwell,
    /// The same, and it may have said for how long.
    ServerError,
    /// It wants to be asked less often.
    RateLimited,
    /// Its account has nothing left.
    Quota,
    /// It does not know the secret.
    Credentials,
    /// It is there, and has trouble with this request only.
    Answer,
    /// Nothing: it was not asked, or the trouble is ours.
    Nothing,
}

/// A kind that is not in this list does not compile, since it has no name.
macro_rules! kinds {
    ($($kind:ident $name:literal,)*) => {
        /// Each of them once.
        pub const ALL: [FaultKind; [$($name),*].len()] = [$(FaultKind::$kind),*];

        /// The stable name that users see.
        pub const fn name(self) -> &'static str {
            match self {
                $(FaultKind::$kind => $name,)*
            }
        }

        /// The one of this name.
        pub fn named(name: &str) -> Option<FaultKind> {
            FaultKind::ALL.into_iter().find(|kind| kind.name() == name)
        }
    };
}

impl FaultKind {
    /// Of providers that can be asked again later, and have not failed at what they were asked.
    pub const PASSED_OVER: [FaultKind; 4] =
        [FaultKind::RateLimited, FaultKind::ProviderLimit, FaultKind::Budget, FaultKind::NoPrice];

    /// What it says of the provider itself.
    pub const fn effect(self) -> Effect {
        match self {
            FaultKind::Timeout
            | FaultKind::Refused
            | FaultKind::Unreachable
            | FaultKind::Reset
            | FaultKind::Dns
            | FaultKind::Tls
            | FaultKind::BadHttp
            | FaultKind::BadJson
            | FaultKind::BadEncoding => Effect::Unwell,
            FaultKind::ServerError => Effect::ServerError,
            FaultKind::RateLimited => Effect::RateLimited,
            FaultKind::Quota => Effect::Quota,
            FaultKind::BadCredentials => Effect::Credentials,
            FaultKind::BadStatus
            | FaultKind::Redirect
            | FaultKind::TooLarge
            | FaultKind::Pending
            | FaultKind::ProviderError
            | FaultKind::Unrecognised => Effect::Answer,
            FaultKind::AddressRefused
            | FaultKind::BreakerOpen
            | FaultKind::ProviderLimit
            | FaultKind::Budget
            | FaultKind::NoPrice
            | FaultKind::Busy
            | FaultKind::Stopped
            | FaultKind::Internal => Effect::Nothing,
        }
    }

    kinds! {
        Timeout "timeout",
        Refused "refused",
        Unreachable "unreachable",
        Reset "reset",
        Dns "dns",
        Tls "tls",
        AddressRefused "address_refused",
        Redirect "redirect",
        TooLarge "too_large",
        BadHttp "bad_http",
        BadJson "bad_json",
        BadEncoding "bad_encoding",
        Unrecognised "unrecognised",
        BadCredentials "bad_credentials",
        RateLimited "rate_limited",
        Quota "quota",
        ServerError "server_error",
        BadStatus "bad_status",
        Pending "pending",
        ProviderError "provider_error",
        BreakerOpen "breaker_open",
        ProviderLimit "provider_limit",
        Budget "budget",
        NoPrice "no_price",
        Busy "busy",
        Stopped "stopped",
        Internal "internal",
    }
}

/// A provider's failure, in words that hold no secret, and of an answer what [`HttpRequest::without_echo`] puts there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    pub message: String,
    /// What `Retry-After` asked for, in whole seconds.
    pub retry_after_s: Option<u64>,
    /// It was not asked, because of what it said or did before.
    pub paused: bool,
    /// Nor was it, because its request wants a secret that it has not.
    pub without_secret: bool,
    /// No provider after it is to be asked, since this one is waited for.
    pub holds: bool,
    /// What the answer was like, as it came: not to be shown before it is masked.
    pub seen: Option<Box<Seen>>,
    /// What would make such an answer understood.
    pub remedy: Option<String>,
    /// The request went out on a used connection, which ended without an answer: whether it arrived is not known.
    pub unanswered: bool,
    /// The request may have reached the vendor, and be billed, whatever the kind says: some of it left this machine before the session
    /// ended or TLS failed, or what stands in front of the vendor answered that it has failed.
    pub went_out: bool,
    /// The question was handed in, and its answer can still be had: to ask again hands in nothing. Also of another failure than
    /// [`FaultKind::Pending`], where the request that asked for the answer failed or could not be sent.
    pub owed: bool,
    /// Nothing was handed in, but the provider has said before that it answers later: it is asked again, whatever others supply.
    pub answers_later: bool,
    /// The answer was to come later, and is not asked for any more (`poll_for_s`).
    pub given_up: bool,
    /// To ask again for what was handed in is no use: the answer says so of this one of several contacts, it is another person's, or the
    /// provider is gone.
    pub settles: bool,
}

impl Fault {
    /// Whether it was asked about this contact, and to ask again is another attempt: it is not passed over for something else, and owes
    /// no answer.
    pub fn is_attempt(&self) -> bool {
        let passed_over = self.paused || self.without_secret || FaultKind::PASSED_OVER.contains(&self.kind);
        let not_now = matches!(self.kind, FaultKind::Stopped | FaultKind::Busy);
        !(passed_over || not_now || self.owed || self.given_up)
    }

    pub fn new(kind: FaultKind, message: impl Into<String>) -> Fault {
        Fault {
            kind,
            message: message.into(),
            retry_after_s: None,
            paused: false,
            without_secret: false,
            holds: false,
            seen: None,
            remedy: None,
            unanswered: false,
            went_out: false,
            owed: false,
            answers_later: false,
            given_up: false,
            settles: false,
        }
    }

    /// The same where the request was to ask for what was handed in: that stays owed. `every_s`: how often it may be asked for, where
    /// the request was `sent`; else as soon as what kept it from being sent is over. Not where it was given up, nor where there is
    /// nothing to be had any more.
    #[must_use]
    pub fn of_poll(self, every_s: u64, sent: bool) -> Fault {
        let for_money = matches!(self.kind, FaultKind::Budget | FaultKind::NoPrice);
        let is_said = self.owed || self.given_up || self.settles;
        if is_said || matches!(self.kind, FaultKind::Pending | FaultKind::Stopped | FaultKind::Internal) {
            return self;
        }
        let retry_after_s = match self.retry_after_s {
            // A budget of all time never begins anew.
            None if for_money => None,
            Some(seconds) if !sent => Some(seconds),
            seconds => Some(seconds.unwrap_or(0).max(every_s)),
        };
        let message = format!("{}; its answer is owed, and is asked for again later", self.message);
        Fault { owed: true, retry_after_s, message, ..self }
    }

    /// Whether the provider is at work on the answer, and it is waited for: it is not ready, or may not be asked for so often.
    pub fn is_awaited(&self) -> bool {
        let is_owed = self.kind == FaultKind::RateLimited && self.owed;
        (self.kind == FaultKind::Pending || is_owed) && !self.given_up
    }

    /// Whether to call again is all that it takes, whatever became of the request: the answer is not ready or was asked for in vain.
    pub fn comes_later(&self) -> bool {
        let passes =
            || matches!(self.kind.effect(), Effect::Unwell | Effect::ServerError | Effect::RateLimited);
        self.kind == FaultKind::Pending || self.owed && passes()
    }

    /// leadlex.stop() is in force, for this reason.
    pub fn stopped(reason: &str) -> Fault {
        Fault::new(FaultKind::Stopped, reason)
    }

    /// Its request names {secret}, and there is none: it is not asked, and nobody's address leaves for nothing.
    pub fn without_secret(provider: &str) -> Fault {
        /// How soon a job looks whether it has been given one.
        const LOOK_AGAIN_S: u64 = 10;
        let name = provider.replace('\'', "''");
        let message = format!(
            "it was not asked, as it has no secret (none was given, or a restore lost it): run SELECT leadlex.alter_provider('{name}', secret => 'YOUR_KEY')"
        );
        Fault {
            retry_after_s: Some(LOOK_AGAIN_S),
            without_secret: true,
            ..Fault::new(FaultKind::BadCredentials, message)
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

/// What of an answer a person wants to see who wonders why it was not understood. It may hold the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub content_type: Option<String>,
    pub location: Option<String>,
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fault that is waited for comes back as it was told.
    #[test]
    fn that_an_answer_is_owed_is_said_once() {
        let owed = Fault::new(FaultKind::RateLimited, "too many requests").of_poll(10, true);
        assert_eq!(owed.message, "too many requests; its answer is owed, and is asked for again later");
        assert_eq!((owed.retry_after_s, owed.is_awaited(), owed.comes_later()), (Some(10), true, true));
        assert_eq!(owed.clone().of_poll(20, true), owed);
    }
}
