//! A look at the tables every few milliseconds, each in one snapshot, while the storm is on.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, Error, IsolationLevel};

use super::{Storm, lock};

/// What must be zero at every instant, and what it would mean otherwise.
const NEVER: [(&str, &str); 4] = [
    (
        "a balance below zero",
        "SELECT count(*) FROM (SELECT workspace_id FROM leadlex.credit_ledger GROUP BY workspace_id HAVING sum(amount) < 0) AS w",
    ),
    (
        "a charge without its history, or a history without its charge",
        "SELECT count(*) FROM (SELECT * FROM leadlex.credit_ledger WHERE note IS NULL) AS l
         FULL JOIN leadlex.enrichment AS e USING (workspace_id, request_id)
         WHERE l.request_id IS NULL OR e.request_id IS NULL OR l.amount <> -1",
    ),
    (
        "two ledger rows for one request",
        "SELECT count(*) - count(DISTINCT request_id) FROM leadlex.credit_ledger",
    ),
    (
        "a settled balance that is not the sum of its rows",
        "SELECT count(*) FROM (SELECT workspace_id, sum(amount) FROM leadlex.credit_settled GROUP BY workspace_id) AS s
         FULL JOIN leadlex.credit_balance AS b USING (workspace_id) WHERE coalesce(sum, 0) <> coalesce(settled, 0)",
    ),
];

impl Storm {
    pub fn watch(&self) {
        let mut client: Option<Client> = None;
        let mut looks = 0;
        while !self.over.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(8));
            let Some(open) = client.as_mut() else {
                client = self.connect();
                continue;
            };
            let looked = if looks % 10 == 0 { self.look(open) } else { Ok(()) };
            match looked.and_then(|()| self.look_at_receipts(open)) {
                Ok(()) => looks += 1,
                Err(_) if self.crashing => client = None,
                Err(error) => return self.problem(format!("the watcher: {error:?}")),
            }
        }
        if looks < 50 {
            self.problem(format!("only {looks} looks at the ledger"));
        }
    }

    pub fn look(&self, client: &mut Client) -> Result<(), Error> {
        let mut snapshot =
            client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start()?;
        for (what, sql) in NEVER {
            let count: i64 = snapshot.query_one(sql, &[])?.get(0);
            if count != 0 {
                self.problem(format!("{what}: {count}"));
            }
        }
        snapshot.commit()
    }

    fn look_at_receipts(&self, client: &mut Client) -> Result<(), Error> {
        let from = Instant::now();
        let sql = "SELECT receipts_waiting FROM leadlex.worker_status WHERE database = 'app'";
        let row = client.query_opt(sql, &[])?;
        if row.is_some_and(|row| row.get::<_, i64>(0) == 0) {
            lock(&self.settled).push((from, Instant::now()));
        }
        Ok(())
    }
}
