//! Events from shared memory into leadlex.event, the server log, and to those who LISTEN.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::pg::installation::{self, Installed};
use crate::pg::provider::budget_events;
use crate::pg::shared::events::{self, About, Waiting};
use crate::pg::store;
use crate::pg::store::cache;
use crate::pg::sys::clock;
use crate::pg::worker::session::{TransactionFailure, attempt};
use leadlex_domain::event::{self, Kind};

/// What is made of one that waits.
enum Made {
    /// And the line for the log, of the first of those that are told together.
    Told(Waiting, Option<String>),
    /// One of its kind was told a short while ago.
    PutOff(Waiting, i64),
    /// It is about what is not there any more.
    Dropped(Waiting),
}

/// Tells what is due. What fails stays where it is.
pub fn write(database: u32) -> Result<(), TransactionFailure> {
    let due = events::due(database, clock::now_us());
    if due.is_empty() {
        return Ok(());
    }
    let all = due.clone();
    let made: Vec<Made> = attempt(|| {
        let Installed::This(installation) = installation::find() else {
            return due.into_iter().map(Made::Dropped).collect();
        };
        let made = together(due).into_iter().flat_map(|some| tell(some, installation.catalog)).collect();
        store::events::trim();
        made
    })?;
    for one in made {
        match one {
            Made::Told(waiting, line) => {
                events::told(&waiting);
                line.iter().for_each(|line| pgrx::log!("leadlex_enrich event: {line}"));
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

/// Those that are told at once, the first of all first.
fn together(due: Vec<Waiting>) -> Vec<Vec<Waiting>> {
    let mut all: Vec<Vec<Waiting>> = Vec::new();
    for waiting in due {
        match all.iter_mut().find(|some| some[0].goes_with(&waiting)) {
            Some(some) => some.push(waiting),
            None => all.push(vec![waiting]),
        }
    }
    all
}

/// Tells of these, which are of one kind and about the same workspace and provider.
fn tell(waiting: Vec<Waiting>, catalog: u32) -> Vec<Made> {
    let first = waiting[0];
    let about = provider_of(first.provider).filter(|_| first.catalog == catalog);
    let Some((provider, owner)) = about else {
        return waiting.into_iter().map(Made::Dropped).collect();
    };
    let provider = provider.as_deref();
    let workspace = if first.workspace.is_nil() { owner } else { first.workspace };
    let is_told = |waiting: &Waiting| {
        matches!(waiting.kind, Kind::BudgetLow | Kind::BudgetOut)
            && store::events::is_told(
                waiting.kind,
                workspace,
                provider,
                &budget_events::same(&waiting.detail()),
            )
    };
    let is_over = |waiting: &Waiting| {
        waiting.not_before > 0 && budget_events::is_past(&about_of(waiting), &waiting.detail())
    };
    let (over, new): (Vec<Waiting>, Vec<Waiting>) =
        waiting.into_iter().partition(|waiting| is_told(waiting) || is_over(waiting));
    let mut made: Vec<Made> = over.into_iter().map(Made::Dropped).collect();
    if new.is_empty() {
        return made;
    }
    let last = store::events::last(first.kind, workspace, provider);
    if let Some(until) = event::not_before(last, clock::now_us()) {
        made.extend(new.into_iter().map(|waiting| Made::PutOff(waiting, until)));
        return made;
    }
    let mut line = Some(add((workspace, provider), &new));
    made.extend(new.into_iter().map(|waiting| Made::Told(waiting, line.take())));
    made
}

/// Writes one event of all of these; its line for the log.
fn add((workspace, provider): (Uuid, Option<&str>), told: &[Waiting]) -> String {
    let (kind, mut detail) = (told[0].kind, detail_of(&told[0]));
    if told.len() > 1 {
        detail["also"] = told[1..].iter().map(detail_of).collect();
    }
    let id = store::events::add(kind, workspace, provider, &detail);
    let mut line = kind.name().to_owned();
    if let Some(workspace) = cache::workspace(workspace) {
        line.push_str(&format!(" workspace={}", json!(workspace.name)));
    }
    if let Some(provider) = provider {
        line.push_str(&format!(" provider={provider}"));
    }
    line.push_str(&format!(" detail={detail} id={id}"));
    line
}

fn about_of(waiting: &Waiting) -> About {
    About { workspace: waiting.workspace, provider: waiting.provider }
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
