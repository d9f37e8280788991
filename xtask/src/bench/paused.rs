//! What a provider costs that is down, once its circuit breaker is open.

use crate::error::Result;
use crate::postgres::cluster::free_port;
use crate::terminal::note;

use super::load::{Load, Span};
use super::results::Results;
use super::session::{OF_TURN, Session};

const ROUNDS: u32 = 3;

/// The same calls in turn without that provider and with it in front, so that whatever else the machine does hits both. As
/// `paused:without` and `paused:with`, calls per second, summed up.
pub fn measure(session: &Session, results: &mut Results) -> Result<()> {
    session.set_provider("bench", 0)?;
    let port = free_port()?;
    let add = format!(
        "SELECT leadlex.add_provider('down', config => jsonb_set(config, '{{request,url}}', '\"http://127.0.0.1:{port}/person\"'),
                secret => 'x', priority => 1) FROM leadlex.provider WHERE name = 'fake'"
    );
    session.run("bench", &[&add])?;
    let script = session.pgbench_script("ours", OF_TURN)?;
    let mut sums = [0.0; 2];
    for _ in 0..ROUNDS {
        for (sum, with) in sums.iter_mut().zip([false, true]) {
            session.run("bench", &[&format!("SELECT leadlex.enable_provider('down', {with})")])?;
            if with {
                // Opens the breaker: these find out.
                Load::of(&script, 1, Span::Calls(20)).run(session)?;
            }
            let (done, rate) =
                Load::of(&script, 1, Span::Seconds(session.amounts.seconds)).measure(session)?;
            if done == 0 {
                return Err("no calls".to_owned());
            }
            *sum += rate;
        }
    }
    if session.ask("bench", "SELECT skipped > 100 FROM leadlex.provider_stats WHERE name = 'down'")? != "t" {
        return Err("the breaker did not open".to_owned());
    }
    session.run("bench", &["SELECT leadlex.drop_provider('down')"])?;
    let [without, with] = sums;
    results.set("paused:without", without);
    results.set("paused:with", with);
    let [without, with] = sums.map(|sum| sum / f64::from(ROUNDS));
    note(&format!("without it {without:.0} calls/s, with it in front {with:.0}"));
    Ok(())
}
