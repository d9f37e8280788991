//! The fields that can be enriched, in one table, and sets and maps over them.

use std::fmt;

/// A field: its place in the table of fields, in whose order they are always listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Field(u8);

/// How values of a field are read, compared and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As it is.
    Text,
    /// A LinkedIn profile.
    Profile,
    /// A telephone number.
    Phone,
    /// A word for a rank, of which there is a list.
    Seniority,
}

/// One line of the table.
struct Description {
    name: &'static str,
    kind: Kind,
    /// What is longer is no value of the field.
    max_chars: usize,
    /// It belongs to one company: not to be put together from two providers.
    of_position: bool,
    /// Placeholders of a request that take their value from it.
    placeholders: &'static [&'static str],
}

const fn text(name: &'static str, of_position: bool, placeholders: &'static [&'static str]) -> Description {
    Description { name, kind: Kind::Text, max_chars: 1_000, of_position, placeholders }
}

const TABLE: [Description; 6] = [
    text("job_title", true, &[]),
    text("company_name", true, &["company_name"]),
    Description { kind: Kind::Profile, ..text("linkedin_url", false, &["linkedin_url", "linkedin_handle"]) },
    Description { kind: Kind::Phone, max_chars: 64, ..text("phone", false, &["phone"]) },
    text("location", false, &["location"]),
    Description { kind: Kind::Seniority, max_chars: 100, ..text("seniority", true, &[]) },
];

const COUNT: usize = TABLE.len();

impl Field {
    /// How many fields there are.
    pub const COUNT: usize = COUNT;
    pub const JOB_TITLE: Field = Field(0);
    pub const COMPANY_NAME: Field = Field(1);
    pub const LINKEDIN_URL: Field = Field(2);
    pub const PHONE: Field = Field(3);
    pub const LOCATION: Field = Field(4);
    pub const SENIORITY: Field = Field(5);

    /// All fields, in the order of the table.
    pub fn all() -> impl DoubleEndedIterator<Item = Field> + ExactSizeIterator {
        (0..COUNT as u8).map(Field)
    }

    const fn description(self) -> &'static Description {
        &TABLE[self.0 as usize]
    }

    /// The name that users write: a key of JSON, and the column that a contact table binds.
    pub const fn name(self) -> &'static str {
        self.description().name
    }

    /// How its values are read, compared and written.
    pub const fn kind(self) -> Kind {
        self.description().kind
    }

    /// What is longer, in characters, is no value of the field.
    pub const fn max_chars(self) -> usize {
        self.description().max_chars
    }

    /// Placeholders of a request that take their value from it.
    pub const fn placeholders(self) -> &'static [&'static str] {
        self.description().placeholders
    }

    /// The field of this name, exactly as written; `None`: there is no such field.
    pub fn parse(name: &str) -> Option<Field> {
        Field::all().find(|field| field.name() == name)
    }

    /// Its place in the table of fields, from 0.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of fields; iterates in the order of the table.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct FieldSet(u64);

impl FieldSet {
    /// The set without any field.
    pub const EMPTY: FieldSet = FieldSet(0);
    /// The set of every field in the table.
    pub const ALL: FieldSet = FieldSet((1 << COUNT) - 1);

    /// What belongs to one company.
    pub fn of_position() -> FieldSet {
        Field::all().filter(|field| field.description().of_position).collect()
    }

    /// Adds a field; one that is in the set already changes nothing.
    pub fn insert(&mut self, field: Field) {
        self.0 |= 1 << field.index();
    }

    pub const fn contains(self, field: Field) -> bool {
        self.0 & (1 << field.index()) != 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The fields that are in both sets.
    #[must_use]
    pub const fn intersect(self, other: FieldSet) -> FieldSet {
        FieldSet(self.0 & other.0)
    }

    /// The fields of this set that are not in `other`.
    #[must_use]
    pub const fn minus(self, other: FieldSet) -> FieldSet {
        FieldSet(self.0 & !other.0)
    }

    /// The fields that are in at least one of the sets.
    #[must_use]
    pub const fn union(self, other: FieldSet) -> FieldSet {
        FieldSet(self.0 | other.0)
    }

    /// How many fields it has.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Its fields, in the order of the table.
    pub fn iter(self) -> impl Iterator<Item = Field> {
        Field::all().filter(move |field| self.contains(*field))
    }

    /// The names of its fields, in the order of the table.
    pub fn names(self) -> Vec<&'static str> {
        let mut names = Vec::with_capacity(self.len());
        names.extend(self.iter().map(Field::name));
        names
    }
}

/// The list of its names, in the order of the table.
impl serde::Serialize for FieldSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Field::name))
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
    /// The value of a field; `None`: it has none.
    pub fn get(&self, field: Field) -> Option<&T> {
        self.0[field.index()].as_ref()
    }

    /// Gives a field a value, in place of the one that it had.
    pub fn set(&mut self, field: Field, value: T) {
        self.0[field.index()] = Some(value);
    }

    /// Takes the value of a field away; without one, nothing changes.
    pub fn unset(&mut self, field: Field) {
        self.0[field.index()] = None;
    }

    /// Fields that have a value, with that value, in the order of the table.
    pub fn iter(&self) -> impl Iterator<Item = (Field, &T)> {
        Field::all().filter_map(|field| Some((field, self.get(field)?)))
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// The fields that have a value.
    pub fn fields(&self) -> FieldSet {
        self.iter().map(|(field, _)| field).collect()
    }
}

impl<T> IntoIterator for FieldMap<T> {
    type Item = (Field, T);
    type IntoIter = std::iter::FilterMap<
        std::iter::Zip<std::ops::Range<u8>, std::array::IntoIter<Option<T>, COUNT>>,
        fn((u8, Option<T>)) -> Option<(Field, T)>,
    >;

    /// As [`FieldMap::iter`], but it gives the values away.
    fn into_iter(self) -> Self::IntoIter {
        (0..COUNT as u8).zip(self.0).filter_map(|(index, value)| Some((Field(index), value?)))
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
    fn each_constant_is_its_line_of_the_table() {
        let named = [
            (Field::JOB_TITLE, "job_title"),
            (Field::COMPANY_NAME, "company_name"),
            (Field::LINKEDIN_URL, "linkedin_url"),
            (Field::PHONE, "phone"),
            (Field::LOCATION, "location"),
            (Field::SENIORITY, "seniority"),
        ];
        assert_eq!(named.map(|(field, _)| field.name()), named.map(|(_, name)| name));
        assert_eq!(Field::all().len(), named.len());
        assert_eq!(FieldSet::of_position().names(), ["job_title", "company_name", "seniority"]);
    }

    #[test]
    fn names_round_trip_and_nothing_else_parses() {
        for (position, field) in Field::all().enumerate() {
            assert_eq!(Field::parse(field.name()), Some(field));
            assert_eq!(field.index(), position);
        }
        for wrong in ["", "Job_Title", "job_title ", "email", "name"] {
            assert_eq!(Field::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn sets_list_fields_in_their_order_whatever_the_order_of_insertion() {
        let set: FieldSet = [Field::SENIORITY, Field::JOB_TITLE, Field::PHONE].into_iter().collect();
        assert_eq!(set.names(), ["job_title", "phone", "seniority"]);
        assert!(FieldSet::ALL.iter().eq(Field::all()));
        assert!(FieldSet::EMPTY.names().is_empty());
    }

    #[test]
    fn set_algebra_agrees_with_membership_for_every_pair_of_sets() {
        for a in 0..=FieldSet::ALL.0 {
            for b in 0..=FieldSet::ALL.0 {
                let (a, b) = (FieldSet(a), FieldSet(b));
                for field in Field::all() {
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
        map.set(Field::PHONE, "1".to_owned());
        map.set(Field::PHONE, "2".to_owned());
        map.set(Field::JOB_TITLE, "CTO".to_owned());
        let listed: Vec<_> = map.iter().map(|(f, v)| (f.name(), v.as_str())).collect();
        assert_eq!(listed, [("job_title", "CTO"), ("phone", "2")]);
        assert_eq!(map.fields().names(), ["job_title", "phone"]);
        assert_eq!(map.get(Field::LOCATION), None);
    }
}
