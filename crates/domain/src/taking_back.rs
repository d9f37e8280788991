//! What stands in a field once what a provider wrote into it is taken back.

/// One write of a field, by an enrichment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldWrite {
    /// It is to be taken back.
    pub asked: bool,
    /// When it was, in epoch microseconds.
    pub at: i64,
    /// When it was taken back before, if it was.
    pub reverted_at: Option<i64>,
    /// What stood there before.
    pub old: Option<String>,
    /// What stood there after it.
    pub new: Option<String>,
}

/// What becomes of the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restored {
    /// It is to hold this.
    Value(Option<String>),
    /// Somebody has changed it since, or another enrichment has: it stays.
    ChangedSince,
}

/// `writes`: all of the field, the latest first. What others wrote in between stays, and with it what they wrote upon; what was
/// taken back before does not come again: unless a later write has found it after that, as a person has put it there then.
pub fn restored<'w>(now: Option<&str>, writes: impl Iterator<Item = &'w FieldWrite>) -> Restored {
    let mut stands = now.map(str::to_owned);
    // When what stands was found, by the write that is taken back.
    let mut found_at = None;
    for write in writes.filter(|write| write.asked || write.reverted_at.is_some()) {
        let is_ours = match write.reverted_at {
            None => true,
            Some(reverted_at) => found_at.is_some_and(|found_at| reverted_at > found_at),
        };
        if is_ours && write.new == stands {
            stands.clone_from(&write.old);
            found_at = Some(write.at);
        }
    }
    if found_at.is_some() { Restored::Value(stands) } else { Restored::ChangedSince }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(asked: bool, reverted: bool, old: &str, new: &str) -> FieldWrite {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        FieldWrite { asked, at: 5, reverted_at: reverted.then_some(9), old: text(old), new: text(new) }
    }

    fn value(text: Option<&str>) -> Restored {
        Restored::Value(text.map(str::to_owned))
    }

    #[test]
    fn a_week_of_writes_is_taken_back_to_what_stood_before_it() {
        let writes = [write(true, false, "b", "c"), write(true, false, "", "b")];
        assert_eq!(restored(Some("c"), writes.iter()), value(None));
        assert_eq!(restored(Some("b"), writes.iter()), value(None), "c was taken back by hand");
    }

    #[test]
    fn what_a_person_typed_or_another_provider_wrote_stays() {
        let week = [write(true, false, "", "b")];
        assert_eq!(restored(Some("typed"), week.iter()), Restored::ChangedSince);
        assert_eq!(restored(None, week.iter()), Restored::ChangedSince);
        let others = [write(false, false, "b", "c"), write(true, false, "", "b")];
        assert_eq!(restored(Some("c"), others.iter()), Restored::ChangedSince);
        let beneath = [write(true, false, "b", "c"), write(false, false, "", "b")];
        assert_eq!(restored(Some("c"), beneath.iter()), value(Some("b")));
    }

    #[test]
    fn what_was_taken_back_before_does_not_come_again() {
        let writes = [write(true, false, "junk", "c"), write(false, true, "", "junk")];
        assert_eq!(restored(Some("c"), writes.iter()), value(None));
        let again = [write(true, true, "", "b")];
        assert_eq!(restored(Some("b"), again.iter()), Restored::ChangedSince);
    }

    #[test]
    fn what_a_person_typed_again_after_it_was_taken_back_comes_again() {
        let before = FieldWrite { at: 1, reverted_at: Some(3), ..write(false, false, "", "b") };
        let writes = [write(true, false, "b", "c"), before.clone()];
        assert_eq!(restored(Some("c"), writes.iter()), value(Some("b")));
        // Where that write is asked for once more, too.
        let again = [write(true, false, "b", "c"), FieldWrite { asked: true, ..before }];
        assert_eq!(restored(Some("c"), again.iter()), value(Some("b")));
    }
}
