//! The six fields that can be enriched, and sets and maps over them.

use std::fmt;

/// One of the six fields, in the order in which they are always listed.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    JobTitle,
    CompanyName,
    LinkedinUrl,
    Phone,
    Location,
    Seniority,
}

const COUNT: usize = 6;

impl Field {
    pub const ALL: [Field; COUNT] = [
        Field::JobTitle,
        Field::CompanyName,
        Field::LinkedinUrl,
        Field::Phone,
        Field::Location,
        Field::Seniority,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Field::JobTitle => "job_title",
            Field::CompanyName => "company_name",
            Field::LinkedinUrl => "linkedin_url",
            Field::Phone => "phone",
            Field::Location => "location",
            Field::Seniority => "seniority",
        }
    }

    pub fn parse(name: &str) -> Option<Field> {
        Field::ALL.into_iter().find(|field| field.name() == name)
    }

    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of fields; iterates in the order of the six.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct FieldSet(u8);

impl FieldSet {
    pub const EMPTY: FieldSet = FieldSet(0);
    pub const ALL: FieldSet = FieldSet((1 << COUNT) - 1);

    pub fn insert(&mut self, field: Field) {
        self.0 |= 1 << field.index();
    }

    pub const fn contains(self, field: Field) -> bool {
        self.0 & (1 << field.index()) != 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[must_use]
    pub const fn intersect(self, other: FieldSet) -> FieldSet {
        FieldSet(self.0 & other.0)
    }

    #[must_use]
    pub const fn minus(self, other: FieldSet) -> FieldSet {
        FieldSet(self.0 & !other.0)
    }

    #[must_use]
    pub const fn union(self, other: FieldSet) -> FieldSet {
        FieldSet(self.0 | other.0)
    }

    pub fn iter(self) -> impl Iterator<Item = Field> {
        Field::ALL.into_iter().filter(move |field| self.contains(*field))
    }

    pub fn names(self) -> Vec<&'static str> {
        self.iter().map(Field::name).collect()
    }
}

impl fmt::Debug for FieldSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

impl FromIterator<Field> for FieldSet {
    fn from_iter<I: IntoIterator<Item = Field>>(fields: I) -> Self {
        let mut set = FieldSet::EMPTY;
        for field in fields {
            set.insert(field);
        }
        set
    }
}

/// At most one value per field.
#[derive(Clone, PartialEq, Eq)]
pub struct FieldMap<T>([Option<T>; COUNT]);

// Written out because the derived one would ask for `T: Default`.
impl<T> Default for FieldMap<T> {
    fn default() -> Self {
        FieldMap([const { None }; COUNT])
    }
}

impl<T> FieldMap<T> {
    pub fn get(&self, field: Field) -> Option<&T> {
        self.0[field.index()].as_ref()
    }

    pub fn set(&mut self, field: Field, value: T) {
        self.0[field.index()] = Some(value);
    }

    pub fn unset(&mut self, field: Field) {
        self.0[field.index()] = None;
    }

    pub fn iter(&self) -> impl Iterator<Item = (Field, &T)> {
        Field::ALL.into_iter().filter_map(|field| Some((field, self.get(field)?)))
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    pub fn fields(&self) -> FieldSet {
        self.iter().map(|(field, _)| field).collect()
    }
}

impl<T: fmt::Debug> fmt::Debug for FieldMap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(field, value)| (field.name(), value))).finish()
    }
}

impl<T> FromIterator<(Field, T)> for FieldMap<T> {
    fn from_iter<I: IntoIterator<Item = (Field, T)>>(pairs: I) -> Self {
        let mut map = FieldMap::default();
        for (field, value) in pairs {
            map.set(field, value);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_nothing_else_parses() {
        for (position, field) in Field::ALL.into_iter().enumerate() {
            assert_eq!(Field::parse(field.name()), Some(field));
            assert_eq!(field.index(), position);
        }
        for wrong in ["", "Job_Title", "job_title ", "email", "name"] {
            assert_eq!(Field::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn sets_list_the_six_in_their_order_whatever_the_order_of_insertion() {
        let set: FieldSet = [Field::Seniority, Field::JobTitle, Field::Phone].into_iter().collect();
        assert_eq!(set.names(), ["job_title", "phone", "seniority"]);
        assert_eq!(FieldSet::ALL.iter().collect::<Vec<_>>(), Field::ALL);
        assert!(FieldSet::EMPTY.names().is_empty());
    }

    #[test]
    fn set_algebra_agrees_with_membership_for_every_pair_of_sets() {
        for a in 0..=FieldSet::ALL.0 {
            for b in 0..=FieldSet::ALL.0 {
                let (a, b) = (FieldSet(a), FieldSet(b));
                for field in Field::ALL {
                    let (in_a, in_b) = (a.contains(field), b.contains(field));
                    assert_eq!(a.intersect(b).contains(field), in_a && in_b);
                    assert_eq!(a.minus(b).contains(field), in_a && !in_b);
                }
                assert_eq!(a.minus(a), FieldSet::EMPTY);
            }
        }
    }

    #[test]
    fn maps_hold_one_value_per_field() {
        let mut map = FieldMap::default();
        assert!(map.is_empty());
        map.set(Field::Phone, "1".to_owned());
        map.set(Field::Phone, "2".to_owned());
        map.set(Field::JobTitle, "CTO".to_owned());
        let listed: Vec<_> = map.iter().map(|(f, v)| (f.name(), v.as_str())).collect();
        assert_eq!(listed, [("job_title", "CTO"), ("phone", "2")]);
        assert_eq!(map.fields().names(), ["job_title", "phone"]);
        assert_eq!(map.get(Field::Location), None);
    }
}
