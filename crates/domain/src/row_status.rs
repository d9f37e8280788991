//! What a contact's row says of itself: the words of the column bound as `enrichment_status`.

use crate::batch::{BatchResult, Status};
use crate::call_error::Code;

/// The longest of the words, in bytes.
pub const LONGEST: usize = 20;

/// A word that is written together with fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowStatus {
    /// An enrichment, or a refill from the history, has written fields.
    Enriched,
    /// What an enrichment wrote was taken back.
    Reverted,
}

impl RowStatus {
    /// The stable name, as it stands in the row.
    pub const fn name(self) -> &'static str {
        match self {
            RowStatus::Enriched => Status::Enriched.name(),
            RowStatus::Reverted => "reverted",
        }
    }
}

/// The word for a contact of a set of which nothing was written: the reason where there is no match, `no_match` where no
/// provider has data, `pending`, or `provider_unavailable`. `None`: what came of it says nothing about the contact (it is as
/// it was, no provider could be asked, or its table raised an error).
pub fn word(line: &BatchResult) -> Option<&str> {
    match line.status {
        Status::NoMatch => match line.reason.as_deref() {
            None | Some("no_data") => Some(Status::NoMatch.name()),
            reason => reason,
        },
        Status::Pending => Some(Status::Pending.name()),
        Status::Failed => {
            let unavailable = Code::ProviderUnavailable.name();
            let failed = line.error.as_ref().is_some_and(|(code, _)| code == unavailable);
            (failed && !line.passed_over && !line.stopped).then_some(unavailable)
        }
        Status::Enriched | Status::Unchanged => None,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::call_error::{Failure, NoMatchReason};
    use crate::contact::Contact;
    use crate::fields::FieldSet;
    use crate::provider::{Fault, FaultKind};

    fn of(failure: &Failure) -> Option<String> {
        word(&BatchResult::failed(Uuid::nil(), failure, None)).map(str::to_owned)
    }

    fn unavailable(kind: FaultKind) -> Option<String> {
        of(&Failure::provider_unavailable(&[("main".to_owned(), Some(Fault::new(kind, "why")))]))
    }

    #[test]
    fn a_row_says_why_there_is_nothing() {
        assert_eq!(of(&Failure::no_match(NoMatchReason::NoData)).as_deref(), Some("no_match"));
        let suppressed = of(&Failure::no_match(NoMatchReason::Suppressed));
        assert_eq!(suppressed.as_deref(), Some("suppressed"));
        let nobody = of(&Failure::no_match(NoMatchReason::NotIdentifiable));
        assert_eq!(nobody.as_deref(), Some("not_identifiable"));
        assert_eq!(unavailable(FaultKind::Timeout).as_deref(), Some("provider_unavailable"));
    }

    #[test]
    fn what_says_nothing_about_the_contact_is_not_written() {
        assert_eq!(of(&Failure::insufficient_credits()), None);
        assert_eq!(unavailable(FaultKind::Budget), None);
        assert_eq!(unavailable(FaultKind::Stopped), None);
        let done = |fields| word(&BatchResult::done(Uuid::nil(), Contact::default(), fields, None)).is_none();
        assert!(done(FieldSet::EMPTY) && done(FieldSet::ALL));
        assert_eq!(word(&BatchResult::raised(Uuid::nil(), "23514", "a check", None)), None);
        assert_eq!(word(&BatchResult::left(Uuid::nil(), None)), None);
    }

    #[test]
    fn no_word_is_longer_than_the_longest() {
        let reasons = NoMatchReason::ALL.map(|reason| of(&Failure::no_match(reason)).unwrap());
        let others = ["pending", "provider_unavailable", "reverted", "enriched"].map(str::to_owned);
        let all: Vec<usize> = reasons.iter().chain(&others).map(String::len).collect();
        assert_eq!(all.into_iter().max(), Some(LONGEST));
    }
}
