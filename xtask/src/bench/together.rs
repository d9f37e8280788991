//! Many contacts in one request.

use crate::error::Result;

use super::many::{DB, enriching, of_contact, peak, renew, show};
use super::results::{Results, per};
use super::session::Session;

/// Contacts of a request: as many as the provider's answer has.
pub const TOGETHER: u32 = 100;
const CONTACTS: u32 = 1_000;
/// What a vendor admits in a minute, in the second of the figures.
const A_MINUTE: u32 = 100;

/// Figures `together:slow`, `together:limited` and `together:many` in seconds, `together:memory` in MB.
pub fn measure(session: &Session, results: &mut Results) -> Result<()> {
    for _ in 0..session.amounts.many_rounds {
        for (name, limit) in [("together:slow", "null"), ("together:limited", &A_MINUTE.to_string())] {
            add_provider(session, 50, limit)?;
            renew(session, "contact")?;
            results.least(name, enriching(session, CONTACTS, &of_contact(CONTACTS))?);
        }
    }
    show("1,000 contacts, 50 ms, 100 in a request", &format!("{:8.2} s", results.get("together:slow")));
    let limited = results.get("together:limited");
    show("  the same, 100 requests a minute", &format!("{limited:8.2} s"));
    let count = session.amounts.many_contacts;
    add_provider(session, 0, "null")?;
    for _ in 0..session.amounts.many_rounds {
        renew(session, "contact")?;
        results.least("together:many", enriching(session, count, &of_contact(count))?);
    }
    results.set("together:memory", peak(session, count)?);
    let rate = per(f64::from(count), results.get("together:many"));
    let peak = results.get("together:memory");
    show(
        &format!("{count} contacts, 0 ms, 100 in a request"),
        &format!("{rate:8.0} rows/s, peak {peak:.0} MB"),
    );
    session.run(DB, &["SELECT leadlex.drop_provider('fake')"])?;
    session.run(DB, &[&format!(
        "SELECT leadlex.add_provider('fake', preset => 'people_data_labs', secret => 'none', config => '{{\"request\": {{\"url\": \"{}\"}}}}')",
        session.nginx.url(0)
    )])
}

/// Anew, so that nothing is known of its limits.
fn add_provider(session: &Session, latency_ms: u32, per_minute: &str) -> Result<()> {
    let url = session.nginx.url(latency_ms);
    let config = format!(
        "{{\"request\": {{\"url\": \"{url}\"}}, \"bulk\": {{\"request\": {{\"url\": \"{url}/all\"}}, \"most\": {TOGETHER}}},
          \"max_requests_per_minute\": {per_minute}}}"
    );
    let add = format!(
        "SELECT leadlex.add_provider('fake', preset => 'people_data_labs', secret => 'none', config => '{config}')"
    );
    session.run(DB, &["SELECT leadlex.drop_provider('fake')", &add])
}
