//! Makes the script that updates one version's schema to the next: tables by a delta that is written by hand, all else
//! from the current files. docs/internals/releasing.md says how it is used.
//!
//! What the script makes equals a fresh install. Functions are replaced where Postgres allows it, else dropped and made
//! anew; views are replaced, and gain columns at their end only; triggers and policies are made anew. What users have granted
//! or revoked on any of it is kept, and stays theirs: a dump has it, as before the update.

mod object;
mod statement;

use std::fmt::Write;
use std::fs;
use std::path::Path;

use object::{Function, Objects};
use statement::{Statement, statements};

/// Name and text of an SQL file.
#[derive(Clone, Debug)]
pub struct SqlFile {
    pub name: String,
    pub text: String,
}

/// The files that an install script is made of, in their order: `00_library.sql` and so on.
///
/// # Errors
/// What cannot be read, and a directory without such files.
pub fn read_files(dir: &Path) -> Result<Vec<SqlFile>, String> {
    let wrong = |error: std::io::Error| format!("{}: {error}", dir.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".sql") && name.starts_with(|c: char| c.is_ascii_digit()) {
            files.push(SqlFile { name, text: fs::read_to_string(&path).map_err(wrong)? });
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    if files.is_empty() { Err(format!("{}: no SQL files there", dir.display())) } else { Ok(files) }
}

/// The two with statements that are about the library and about tables: of these the first says nothing to an update, of the
/// second only the comments.
const LIBRARY: &str = "00_";
const TABLES: &str = "1";

const CHECK: &str = include_str!("check.sql");
const MEMBERS: &str = include_str!("members.sql");
const SAVE_GRANTS: &str = include_str!("save_grants.sql");
const STAND_INS: &str = include_str!("stand_ins.sql");
const RESTORE_GRANTS: &str = include_str!("restore_grants.sql");

/// The trigger on it wakes the background worker, which leaves a schema of another version alone.
const WAKE_WORKER: &str = "\nUPDATE leadlex.home AS h SET since = h.since WHERE false;\n";

/// What is done with the functions of both versions.
#[derive(Debug, Default)]
struct Plan<'a> {
    dropped: Vec<&'a Function>,
    /// Identities of functions that can be replaced.
    replaced: Vec<String>,
    /// Whose grants go to whom, by identity.
    moved: Vec<(String, String)>,
}

/// The script from version `from`, which the files `old` make, to version `to`, which the files `new` make.
///
/// # Errors
/// A view that loses, renames or moves a column; a function whose grants could go to more than one; a statement in the new
/// files or in the delta that has no place there. Each with file and line.
pub fn update_script(
    from: &str,
    to: &str,
    old: &[SqlFile],
    new: &[SqlFile],
    delta: &SqlFile,
) -> Result<String, String> {
    let mut statements_of_old = Vec::new();
    for file in old {
        statements_of_old.extend(statements(&file.name, &file.text)?);
    }
    let before = Objects::of(&statements_of_old)?;
    let code = carried_over(new)?;
    let now = Objects::of(&code)?;
    check_delta(delta)?;
    for view in &before.views {
        if let Some(new) = now.views.iter().find(|new| new.name == view.name) {
            view.check_becomes(new)?;
        }
    }
    let plan = Plan::of(&before.functions, &now.functions)?;
    let mut script = format!(
        "-- From {from} to {to}. Made by `make update-script`, from {} and the files of {to}: not to be edited.\n\n",
        delta.name
    );
    script.push_str(&CHECK.replace("@VERSION@", to));
    script.push_str(&SAVE_GRANTS.replace("@MOVED@", &plan.moved_as_json()).replace("@MEMBERS@", MEMBERS));
    script.push_str(&out_of_the_way(&before, &now));
    let _ = write!(script, "\n-- Tables.\n{}\n\n-- All else.\n", delta.text.trim_end());
    script.push_str(&take_away(&before, &now, &plan));
    for statement in &code {
        let _ = writeln!(script, "{};", made(statement, &before, &now, &plan));
    }
    script.push_str(&RESTORE_GRANTS.replace("@MEMBERS@", MEMBERS));
    script.push_str(WAKE_WORKER);
    Ok(script)
}

/// The statements of the current files that every update brings again.
fn carried_over(new: &[SqlFile]) -> Result<Vec<Statement>, String> {
    const KINDS: [&[&str]; 8] = [
        &["CREATE", "FUNCTION"],
        &["CREATE", "PROCEDURE"],
        &["CREATE", "VIEW"],
        &["CREATE", "TRIGGER"],
        &["CREATE", "POLICY"],
        &["COMMENT", "ON"],
        &["GRANT"],
        &["REVOKE"],
    ];
    let mut code = Vec::new();
    for file in new.iter().filter(|file| !file.name.starts_with(LIBRARY)) {
        for statement in statements(&file.name, &file.text)? {
            let of_tables = file.name.starts_with(TABLES);
            let repeats = statement.begins(&["ALTER", "TABLE"]) && changes_nothing_twice(&statement.text);
            let known = KINDS.iter().any(|kind| statement.begins(kind)) || repeats;
            if of_tables && !statement.begins(&["COMMENT", "ON"]) {
                continue;
            }
            if !known {
                return Err(statement.wrong(
                    "an update cannot bring this again: what is about tables belongs in 10_tables.sql",
                ));
            }
            let of_privileges = statement.begins(&["GRANT"]) || statement.begins(&["REVOKE"]);
            if of_privileges && statement.text.to_uppercase().contains(" IN SCHEMA ") {
                return Err(statement.wrong("this would reach tables of users: name ours"));
            }
            code.push(statement);
        }
    }
    Ok(code)
}

/// Whether a change of a table may be made again where it was made before.
fn changes_nothing_twice(text: &str) -> bool {
    text.ends_with("ENABLE ROW LEVEL SECURITY")
        || text.split(',').all(|change| {
            change.contains("ENABLE ALWAYS TRIGGER ") || change.contains("ENABLE REPLICA TRIGGER ")
        })
}

fn check_delta(delta: &SqlFile) -> Result<(), String> {
    const FROM_FILES: [&str; 6] = ["FUNCTION", "PROCEDURE", "VIEW", "TRIGGER", "POLICY", "OR"];
    for statement in statements(&delta.name, &delta.text)? {
        let of_files = statement.begins(&["COMMENT"])
            || statement.begins(&["GRANT"])
            || statement.begins(&["REVOKE"])
            || ["CREATE", "DROP", "ALTER"]
                .iter()
                .any(|verb| FROM_FILES.iter().any(|what| statement.begins(&[verb, what])));
        if of_files {
            return Err(statement.wrong("a delta is about tables, this comes from the current files"));
        }
    }
    Ok(())
}

impl<'a> Plan<'a> {
    fn of(old: &'a [Function], new: &[Function]) -> Result<Plan<'a>, String> {
        let mut plan = Plan::default();
        for function in old {
            match new.iter().find(|new| function.can_become(new)) {
                Some(_) => plan.replaced.push(function.identity()),
                None => plan.dropped.push(function),
            }
        }
        let mut names: Vec<&str> = plan.dropped.iter().map(|function| function.name.as_str()).collect();
        names.dedup();
        for name in names {
            plan.move_grants(name, new)?;
        }
        Ok(plan)
    }

    /// From the functions of a name that go to those that come in their place.
    fn move_grants(&mut self, name: &str, new: &[Function]) -> Result<(), String> {
        let (mut gone, mut come): (Vec<String>, Vec<String>) = (
            self.dropped.iter().filter(|f| f.name == name).map(|f| f.identity()).collect(),
            new.iter().filter(|f| f.name == name).map(Function::identity).collect(),
        );
        come.retain(|identity| !self.replaced.contains(identity));
        // The same arguments, but another result.
        for same in gone.iter().filter(|identity| come.contains(identity)) {
            self.moved.push((same.clone(), same.clone()));
        }
        let same: Vec<String> = gone.iter().filter(|identity| come.contains(identity)).cloned().collect();
        gone.retain(|identity| !same.contains(identity));
        come.retain(|identity| !same.contains(identity));
        match (gone.len(), come.len()) {
            (0, _) | (_, 0) => (),
            (1, _) => self.moved.extend(come.into_iter().map(|to| (gone[0].clone(), to))),
            (a, b) if a == b => self.moved.extend(gone.into_iter().zip(come)),
            _ => {
                return Err(format!(
                    "{} become {}: whose grants are kept on which is not clear. Change them in two versions",
                    gone.join(" and "),
                    come.join(" and ")
                ));
            }
        }
        Ok(())
    }

    fn moved_as_json(&self) -> String {
        let pairs: Vec<String> = self
            .moved
            .iter()
            .map(|(old, new)| format!("{{\"old_name\": \"{old}\", \"new_name\": \"{new}\"}}"))
            .collect();
        format!("[{}]", pairs.join(", "))
    }
}

/// Policies go, and views stand on nothing: the delta can change every table, and functions can go.
fn out_of_the_way(before: &Objects, now: &Objects) -> String {
    let mut script = String::new();
    for policy in &before.policies {
        let _ = writeln!(script, "DROP POLICY {} ON {};", policy.name, policy.table);
    }
    let stays = |name: &str| now.views.iter().any(|view| view.name == name);
    let kept: Vec<String> =
        before.views.iter().filter(|v| stays(&v.name)).map(|v| format!("'{}'", v.name)).collect();
    if !kept.is_empty() {
        script.push_str(&STAND_INS.replace("@VIEWS@", &kept.join(", ")));
    }
    // The last first: one may read another.
    for view in before.views.iter().rev().filter(|view| !stays(&view.name)) {
        let _ = writeln!(script, "DROP VIEW {};", view.name);
    }
    script
}

/// Never CASCADE: what users built on it makes the update fail, and Postgres names it.
fn take_away(before: &Objects, now: &Objects, plan: &Plan) -> String {
    let mut script = String::new();
    for trigger in &before.triggers {
        let stays = now.triggers.iter().any(|new| new.is(trigger));
        let loses = |f: &&Function| Some(f.identity()) == trigger.runs;
        if !stays || plan.dropped.iter().any(loses) {
            let _ = writeln!(script, "DROP TRIGGER {} ON {};", trigger.name, trigger.table);
        }
    }
    for function in &plan.dropped {
        let _ = writeln!(script, "DROP {} {};", function.kind, function.identity());
    }
    for thing in before.commented.iter().filter(|thing| !now.commented.contains(thing)) {
        let (kind, name) = thing.split_once(' ').unwrap_or((thing, ""));
        let stays = match kind {
            "FUNCTION" | "PROCEDURE" => plan.replaced.iter().any(|identity| identity == name),
            "VIEW" => now.views.iter().any(|view| view.name == name),
            // Of a view's column; of a table's the delta has to say whether it stays.
            _ => now.views.iter().any(|view| name.starts_with(&format!("{}.", view.name))),
        };
        if stays {
            let _ = writeln!(script, "COMMENT ON {thing} IS NULL;");
        }
    }
    script
}

/// The statement, as it makes what may be there. What is not known to be ours is never replaced.
fn made(statement: &Statement, before: &Objects, now: &Objects, plan: &Plan) -> String {
    let same = |other: &Statement| (&other.place, &other.text) == (&statement.place, &statement.text);
    let replaces = if let Some(function) = now.functions.iter().find(|f| same(&f.statement)) {
        plan.replaced.contains(&function.identity())
    } else if let Some(view) = now.views.iter().find(|view| same(&view.statement)) {
        before.views.iter().any(|old| old.name == view.name)
    } else if let Some(trigger) = now.triggers.iter().find(|t| same(&t.statement)) {
        before.triggers.iter().any(|old| old.is(trigger))
    } else {
        false
    };
    if replaces { statement.text.replacen("CREATE", "CREATE OR REPLACE", 1) } else { statement.text.clone() }
}

#[cfg(test)]
mod tests;
