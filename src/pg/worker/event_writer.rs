//! Events from shared memory into leadlex.event, the server log, and to those who LISTEN.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::pg::installation::{self, Found};
use crate::pg::provider::budget_events;
use crate::pg::shared::events::{self, Waiting};
use crate::pg::store;
use crate::pg::store::cache;
use crate::pg::sys::clock;
use crate::pg::worker::session::{Failed, attempt};
use leadlex_domain::event::{self, Kind};

/// What is made of one that waits.
enum Made {
    Told(Waiting, String),
    /// One of its kind was told a short while ago.
    PutOff(Waiting, i64),
    /// It is about what is not there any more.
    Dropped(Waiting),
}

/// Tells what is due. What fails stays where it is.
pub fn write(database: u32) -> Result<(), Failed> {
    let due = events::due(database, clock::now_us());
    if due.is_empty() {
        return Ok(());
    }
    let all = due.clone();
    let made: Vec<Made> = attempt(|| {
        let Found::This(installation) = installation::find() else {
            return due.into_iter().map(Made::Dropped).collect();
        };
        let made = due.into_iter().map(|waiting| tell(waiting, installation.catalog)).collect();
        store::events::trim();
        made
    })?;
    for one in made {
        match one {
            Made::Told(waiting, line) => {
                events::told(&waiting);
                pgrx::log!("leadlex_enrich event: {line}");
            }
            // It would be told after what has ended it.
            Made::PutOff(waiting, _) if all.iter().any(|other| other.ends(&waiting)) => {
                events::told(&waiting)
            }
            Made::PutOff(waiting, until) => events::put_off(&waiting, until),
            Made::Dropped(waiting) => events::told(&waiting),
        }
    }
    Ok(())
}

fn tell(waiting: Waiting, catalog: u32) -> Made {
    if waiting.catalog != catalog {
        return Made::Dropped(waiting);
    }
    let Some((provider, owner)) = provider_of(waiting.provider) else { return Made::Dropped(waiting) };
    let workspace = if waiting.workspace.is_nil() { owner } else { waiting.workspace };
    if matches!(waiting.kind, Kind::BudgetLow | Kind::BudgetOut)
        && store::events::is_told(
            waiting.kind,
            workspace,
            provider.as_deref(),
            &budget_events::same(&waiting.detail()),
        )
    {
        return Made::Dropped(waiting);
    }
    let last = store::events::last(waiting.kind, workspace, provider.as_deref());
    if let Some(until) = event::not_before(last, clock::now_us()) {
        return Made::PutOff(waiting, until);
    }
    let detail = detail_of(&waiting);
    let id = store::events::add(waiting.kind, workspace, provider.as_deref(), &detail);
    let mut line = waiting.kind.name().to_owned();
    if let Some(workspace) = cache::workspace(workspace) {
        line.push_str(&format!(" workspace={}", json!(workspace.name)));
    }
    if let Some(provider) = &provider {
        line.push_str(&format!(" provider={provider}"));
    }
    line.push_str(&format!(" detail={detail} id={id}"));
    Made::Told(waiting, line)
}

/// Its name, and the one workspace that it is for, if it is (else nil). `None`: it was dropped.
fn provider_of(id: Uuid) -> Option<(Option<String>, Uuid)> {
    if id.is_nil() {
        return Some((None, Uuid::nil()));
    }
    let providers = cache::providers();
    let found = providers.iter().find(|known| known.id == id)?;
    Some((Some(found.name.clone()), found.workspace.unwrap_or_default()))
}

fn detail_of(waiting: &Waiting) -> Value {
    let mut detail = waiting.detail();
    if !detail.is_object() {
        detail = json!({});
    }
    if waiting.kind == Kind::JobsDead {
        detail["jobs"] = json!(waiting.count);
    }
    detail
}
