//! What answers are worth: by field how often it was asked for, supplied and used, and what that has cost.

use super::Amount;
use crate::fields::{Field, FieldSet};
use crate::provider::{Progress, Supplied, Verdict};

/// Numbers by field, in the order of [`Field::all`]. Plain data, for shared memory.
pub type ByField = [u32; Field::COUNT];

/// What requests came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FieldCounts {
    /// Matches and no matches.
    pub answers: u32,
    pub matches: u32,
    /// Of the no matches, how many had data of another person: the vendor bills it.
    pub others: u32,
    /// Of these answers, how many were asked for the field, and how many supplied it then.
    pub asked: ByField,
    pub supplied: ByField,
    pub uses: Uses,
    /// What the requests cost, in equal parts for all fields that they asked for.
    pub cost: [Amount; Field::COUNT],
}

/// What became of values that were supplied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Uses {
    /// Written.
    pub used: ByField,
    /// Taken back since.
    pub reverted: ByField,
    /// Taken back, or replaced by a later enrichment: each once.
    pub lost: ByField,
}

impl Uses {
    pub const NONE: Uses =
        Uses { used: [0; Field::COUNT], reverted: [0; Field::COUNT], lost: [0; Field::COUNT] };

    /// Fields that were written, in all.
    pub fn written(&self) -> u64 {
        self.used.iter().map(|n| u64::from(*n)).sum()
    }

    /// Whether something was taken back.
    pub fn takes_back(&self) -> bool {
        self.reverted.iter().any(|n| *n > 0)
    }

    pub fn add(&mut self, other: &Uses) {
        add(&mut self.used, &other.used);
        add(&mut self.reverted, &other.reverted);
        add(&mut self.lost, &other.lost);
    }

    fn subtract(&mut self, other: &Uses) {
        subtract(&mut self.used, &other.used);
        subtract(&mut self.reverted, &other.reverted);
        subtract(&mut self.lost, &other.lost);
    }
}

/// Whether it is an answer with data of another person than the contact.
pub fn is_of_another(came: &Progress) -> bool {
    matches!(came, Progress::Over(Verdict::OtherPerson(fields)) if !fields.is_empty())
}

impl FieldCounts {
    pub const NONE: FieldCounts = FieldCounts {
        answers: 0,
        matches: 0,
        others: 0,
        asked: [0; Field::COUNT],
        supplied: [0; Field::COUNT],
        uses: Uses::NONE,
        cost: [Amount::ZERO; Field::COUNT],
    };

    /// Of a request that came to this for each of its contacts, whose answers supplied so much for the first time, and that has cost
    /// so much. It was sent for the fields `wanted`, of which earlier steps supplied those `before`: what a step supplies counts with
    /// its own answer, as it can be used before the last one is there.
    pub fn of(
        (came, new): (&[Progress], &[Supplied]),
        (wanted, before): (FieldSet, FieldSet),
        cost: Amount,
    ) -> FieldCounts {
        let mut counts = FieldCounts::NONE;
        for (at, came) in came.iter().enumerate() {
            let (asked, supplied) = match came {
                Progress::Over(Verdict::Match { values, .. }) => (wanted.minus(before), values.fields()),
                Progress::Over(Verdict::NoMatch | Verdict::OtherPerson(_)) => {
                    (wanted.minus(before), FieldSet::EMPTY)
                }
                Progress::Next { .. } | Progress::Pending { .. } => {
                    let new = new.get(at).map_or(FieldSet::EMPTY, |new| new.fields.intersect(wanted));
                    (new, new)
                }
                _ => continue,
            };
            if let Progress::Over(_) = came {
                counts.answers += 1;
                counts.others += u32::from(is_of_another(came));
                counts.matches += u32::from(!supplied.is_empty());
            }
            asked.iter().for_each(|field| counts.asked[field.index()] += 1);
            supplied.intersect(asked).iter().for_each(|field| counts.supplied[field.index()] += 1);
        }
        let parts = wanted.iter().count() as i64;
        for (at, field) in wanted.iter().enumerate() {
            let rest = i64::from((at as i64) < cost.0 % parts);
            counts.cost[field.index()] = Amount(cost.0 / parts + rest);
        }
        counts
    }

    pub fn add(&mut self, other: &FieldCounts) {
        self.answers += other.answers;
        self.matches += other.matches;
        self.others += other.others;
        add(&mut self.asked, &other.asked);
        add(&mut self.supplied, &other.supplied);
        self.uses.add(&other.uses);
        self.cost.iter_mut().zip(other.cost).for_each(|(to, from)| *to = to.plus(from));
    }

    /// What was added before is elsewhere now.
    pub fn subtract(&mut self, other: &FieldCounts) {
        self.answers -= other.answers;
        self.matches -= other.matches;
        self.others -= other.others;
        subtract(&mut self.asked, &other.asked);
        subtract(&mut self.supplied, &other.supplied);
        self.uses.subtract(&other.uses);
        self.cost.iter_mut().zip(other.cost).for_each(|(to, from)| *to = to.minus(from));
    }
}

fn add(to: &mut ByField, from: &ByField) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}

fn subtract(to: &mut ByField, from: &ByField) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to -= from);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::FieldMap;

    fn matched(fields: &[Field]) -> Progress {
        let values: FieldMap<String> = fields.iter().map(|field| (*field, "value".to_owned())).collect();
        Progress::Over(Verdict::Match { values, confidence: None })
    }

    #[test]
    fn answers_are_counted_by_what_was_asked_for() {
        let wanted: FieldSet = [Field::PHONE, Field::LOCATION, Field::JOB_TITLE].into_iter().collect();
        let came = [matched(&[Field::PHONE, Field::SENIORITY]), Progress::Over(Verdict::NoMatch)];
        let counts = FieldCounts::of((&came, &[]), (wanted, FieldSet::EMPTY), Amount(280_001));
        assert_eq!((counts.answers, counts.matches), (2, 1));
        let of = |field: Field| (counts.asked[field.index()], counts.supplied[field.index()]);
        assert_eq!((of(Field::PHONE), of(Field::LOCATION), of(Field::SENIORITY)), ((2, 1), (2, 0), (0, 0)));
        // To the last millionth.
        assert_eq!(counts.cost.into_iter().sum::<Amount>(), Amount(280_001));
        let mut sum = counts;
        sum.add(&counts);
        sum.subtract(&counts);
        assert_eq!(sum, counts);
    }

    #[test]
    fn what_a_step_supplies_counts_with_its_own_answer() {
        let wanted: FieldSet = [Field::PHONE, Field::JOB_TITLE].into_iter().collect();
        let title: FieldSet = [Field::JOB_TITLE].into_iter().collect();
        let new = [Supplied { fields: title, is_first: true }];
        let first =
            FieldCounts::of((&[Progress::Next { after_s: 0 }], &new), (wanted, FieldSet::EMPTY), Amount(0));
        let of = |counts: &FieldCounts, field: Field| {
            (counts.asked[field.index()], counts.supplied[field.index()])
        };
        assert_eq!(
            (first.answers, of(&first, Field::JOB_TITLE), of(&first, Field::PHONE)),
            (0, (1, 1), (0, 0))
        );
        // By then the title may be written, and not be asked for any more.
        let phone: FieldSet = [Field::PHONE].into_iter().collect();
        for wanted in [wanted, phone] {
            let came = [matched(&[Field::PHONE, Field::JOB_TITLE])];
            let last = FieldCounts::of((&came, &[]), (wanted, title), Amount(0));
            assert_eq!((last.answers, last.matches), (1, 1));
            assert_eq!((of(&last, Field::JOB_TITLE), of(&last, Field::PHONE)), ((0, 0), (1, 1)));
        }
    }

    #[test]
    fn what_is_no_answer_costs_and_says_nothing() {
        let phone = [Field::PHONE].into_iter().collect();
        let counts = FieldCounts::of((&[Progress::LogInAgain], &[]), (phone, FieldSet::EMPTY), Amount(7));
        assert_eq!((counts.answers, counts.asked[Field::PHONE.index()]), (0, 0));
        assert_eq!(counts.cost[Field::PHONE.index()], Amount(7));
        assert_eq!(
            FieldCounts::of((&[], &[]), (FieldSet::EMPTY, FieldSet::EMPTY), Amount(7)),
            FieldCounts::NONE
        );
    }
}
