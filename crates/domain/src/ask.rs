//! The arguments of a call, checked.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::call_error::{Failure, short};
use super::fields::{Field, FieldSet};

/// One question: fill in these fields of this contact.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// The contact's key, as text.
    pub id: String,
    pub fields: FieldSet,
    pub overwrite: bool,
    pub key: Option<Uuid>,
}

impl Ask {
    /// Checks the arguments of a call; `overwrite` is false where it is NULL. `id_name`: what the function
    /// calls the argument of the contact's key, for the message. The failure is `validation_error`, LX400:
    /// the key is NULL, or one of those of [`fields_asked`].
    pub fn new(
        id: Option<String>,
        fields: Option<Vec<Option<String>>>,
        overwrite: Option<bool>,
        key: Option<Uuid>,
        id_name: &str,
    ) -> Result<Ask, Failure> {
        let id = id.ok_or_else(|| {
            Failure::validation(format!("{id_name} must not be NULL"), "Pass the contact to enrich.")
        })?;
        Ok(Ask { id, fields: fields_asked(fields)?, overwrite: overwrite.unwrap_or(false), key })
    }

    /// What makes two requests under one idempotency key the same one. `id` is the contact's key as everybody writes it.
    pub fn fingerprint(&self, table: &str, id: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [table, id, &self.fields.names().join(",")] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.update([u8::from(self.overwrite)]);
        hash.finalize().into()
    }
}

/// The set of the fields with these names; NULL means all. The failure is `validation_error`, LX400: the list
/// is empty, or has a NULL or an unknown name in it.
pub fn fields_asked(fields: Option<Vec<Option<String>>>) -> Result<FieldSet, Failure> {
    let Some(names) = fields else { return Ok(FieldSet::ALL) };
    let known = format!("The fields are {}; NULL means all.", FieldSet::ALL.names().join(", "));
    if names.is_empty() {
        return Err(Failure::validation("fields is empty", known));
    }
    let mut asked = FieldSet::EMPTY;
    for name in names {
        let name = name.ok_or_else(|| Failure::validation("fields contains a NULL", known.clone()))?;
        let field = Field::parse(&name).ok_or_else(|| {
            Failure::validation(
                format!(
                    "unknown field \"{}\"; the fields are {}",
                    short(&name),
                    FieldSet::ALL.names().join(", ")
                ),
                known.clone(),
            )
        })?;
        asked.insert(field);
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(fields: Option<Vec<Option<&str>>>) -> Result<Ask, Failure> {
        let fields = fields.map(|f| f.into_iter().map(|n| n.map(str::to_owned)).collect());
        Ask::new(Some("7".into()), fields, None, None, "contact_id")
    }

    #[test]
    fn bad_arguments_are_named() {
        assert!(Ask::new(None, None, None, None, "contact_id").unwrap_err().text().contains("contact_id"));
        assert!(ask(Some(vec![])).is_err());
        assert!(ask(Some(vec![Some("phone"), None])).is_err());
        let unknown = ask(Some(vec![Some("shoe_size")])).unwrap_err();
        assert!(unknown.text().starts_with("validation_error: ") && unknown.text().contains("shoe_size"));
        assert!(unknown.hint.contains("linkedin_url"));
    }

    #[test]
    fn the_fingerprint_sees_every_argument_and_not_their_order() {
        let one = ask(Some(vec![Some("phone"), Some("location")])).unwrap();
        let same = ask(Some(vec![Some("location"), Some("phone"), Some("phone")])).unwrap();
        assert_eq!(one.fingerprint("public.crm", "7"), same.fingerprint("public.crm", "7"));
        assert_ne!(one.fingerprint("public.crm", "7"), one.fingerprint("public.crm2", "7"));
        assert_ne!(one.fingerprint("t", "7"), Ask { overwrite: true, ..one.clone() }.fingerprint("t", "7"));
        assert_ne!(one.fingerprint("t", "7"), one.fingerprint("t", "8"));
        assert_eq!(one.fingerprint("t", "7"), Ask { id: "07".into(), ..one.clone() }.fingerprint("t", "7"));
        assert_ne!(
            one.fingerprint("t", "7"),
            Ask { fields: FieldSet::ALL, ..one.clone() }.fingerprint("t", "7")
        );
        assert_eq!(ask(None).unwrap().fields, FieldSet::ALL);
    }
}
