//! One session of the superuser, kept between the small statements that a test makes beside what it is about: a session costs
//! the server more than such a statement does.

use std::sync::Mutex;
use std::time::Duration;

use postgres::Client;

/// Statements after which a session is another one, or which want a new one, or none at all.
const PARTICULAR: [&str; 16] = [
    "alter ",
    "set ",
    "reset ",
    "set_config",
    "begin",
    "listen",
    "prepare",
    "temp",
    "lock ",
    "advisory",
    "load ",
    "discard",
    "database",
    "extension",
    "enrich_",
    "terminate",
];

/// The session, where there is one that is not in use.
#[derive(Default)]
pub struct Kept(Mutex<Option<Client>>);

impl Kept {
    /// What `act` gives, in the session that is kept, or in one that is made by `connect` and kept then. `sql`: what is done in
    /// it. If that is not a plain statement, the session is a new one that ends with it, and none is kept meanwhile.
    pub fn with<T>(
        &self,
        connect: impl FnOnce() -> Client,
        sql: &str,
        act: impl FnOnce(&mut Client) -> T,
    ) -> T {
        if is_particular(sql) {
            self.end();
            return act(&mut connect());
        }
        let valid = self
            .take()
            .and_then(|mut client| client.is_valid(Duration::from_secs(10)).is_ok().then_some(client));
        let mut client = valid.unwrap_or_else(connect);
        let result = act(&mut client);
        self.put(client);
        result
    }

    /// Ends the session that is kept.
    pub fn end(&self) {
        drop(self.take());
    }

    fn take(&self) -> Option<Client> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }

    fn put(&self, client: Client) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(client);
    }
}

/// `UPDATE … SET` is none.
fn is_particular(sql: &str) -> bool {
    let sql = sql.to_ascii_lowercase();
    let plain = if sql.trim_start().starts_with("update ") { sql.replacen(" set ", " ", 1) } else { sql };
    PARTICULAR.iter().any(|word| plain.contains(word))
}
