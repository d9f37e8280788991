//! The functions, views, triggers and policies that a version's files make.

use super::statement::{Statement, joined};

/// A function or procedure, as its CREATE statement has it.
#[derive(Clone, Debug)]
pub struct Function {
    /// FUNCTION or PROCEDURE.
    pub kind: String,
    pub name: String,
    arguments: Vec<Argument>,
    returns: String,
    pub statement: Statement,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Argument {
    name: String,
    of_type: String,
    has_default: bool,
}

/// A view, as its CREATE VIEW statement has it, and the names of its columns in their order.
#[derive(Clone, Debug)]
pub struct View {
    pub name: String,
    pub columns: Vec<String>,
    pub statement: Statement,
}

/// A trigger or a policy: it has no schema of its own, but a table.
#[derive(Clone, Debug)]
pub struct OnTable {
    pub name: String,
    pub table: String,
    /// Of a trigger: the function that it runs, with its parentheses.
    pub runs: Option<String>,
    pub statement: Statement,
}

/// What a version has besides its tables. Each in the order of the files.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    pub functions: Vec<Function>,
    pub views: Vec<View>,
    pub triggers: Vec<OnTable>,
    pub policies: Vec<OnTable>,
    /// What is commented on, as it stands behind COMMENT ON.
    pub commented: Vec<String>,
}

impl Objects {
    /// Of statements of any kind: what they are not about is passed over.
    pub fn of(statements: &[Statement]) -> Result<Objects, String> {
        let mut all = Objects::default();
        for statement in statements {
            if statement.begins(&["CREATE", "FUNCTION"]) || statement.begins(&["CREATE", "PROCEDURE"]) {
                all.functions.push(Function::of(statement)?);
            } else if statement.begins(&["CREATE", "VIEW"]) {
                all.views.push(View::of(statement)?);
            } else if statement.begins(&["CREATE", "TRIGGER"]) {
                all.triggers.push(OnTable::of(statement)?);
            } else if statement.begins(&["CREATE", "POLICY"]) {
                all.policies.push(OnTable::of(statement)?);
            } else if statement.begins(&["COMMENT", "ON"]) {
                all.commented.push(commented(statement)?);
            }
        }
        Ok(all)
    }
}

impl Function {
    fn of(statement: &Statement) -> Result<Function, String> {
        let (name, open) = statement.name(2)?;
        let close = statement.find(open + 1, ")").ok_or_else(|| statement.wrong("no arguments"))?;
        let language =
            statement.find(close, "LANGUAGE").ok_or_else(|| statement.wrong("no LANGUAGE behind RETURNS"))?;
        let mut arguments = Vec::new();
        for argument in statement.tokens[open + 1..close].split(|token| token.depth == 1 && token.is(",")) {
            let begins_default = |token: &super::statement::Token| token.is("DEFAULT") || token.is("=");
            let end = argument.iter().position(begins_default).unwrap_or(argument.len());
            match &argument[..end] {
                [] if open + 1 == close => (),
                [name, of_type @ ..] if !of_type.is_empty() => arguments.push(Argument {
                    name: name.text.clone(),
                    of_type: joined(of_type),
                    has_default: end < argument.len(),
                }),
                _ => return Err(statement.wrong("an argument without a name")),
            }
        }
        Ok(Function {
            kind: statement.tokens[1].text.to_uppercase(),
            name,
            arguments,
            returns: joined(&statement.tokens[close + 1..language]),
            statement: statement.clone(),
        })
    }

    /// The name and the types of the arguments, as DROP and regprocedure take them.
    pub fn identity(&self) -> String {
        let types: Vec<&str> = self.arguments.iter().map(|argument| argument.of_type.as_str()).collect();
        format!("{}({})", self.name, types.join(", "))
    }

    /// Whether CREATE OR REPLACE makes the one into the other: names of arguments and what is returned stay, and no
    /// default goes.
    pub fn can_become(&self, new: &Function) -> bool {
        let fits = |(old, new): (&Argument, &Argument)| {
            (&old.name, &old.of_type) == (&new.name, &new.of_type) && (new.has_default || !old.has_default)
        };
        self.identity() == new.identity()
            && (&self.kind, &self.returns) == (&new.kind, &new.returns)
            && self.arguments.iter().zip(&new.arguments).all(fits)
    }
}

impl View {
    fn of(statement: &Statement) -> Result<View, String> {
        let (name, mut at) = statement.name(2)?;
        if statement.tokens.get(at).is_some_and(|token| token.is("(")) {
            return Err(statement.wrong("name the columns in the query, with AS"));
        }
        at = statement.find(at, "AS").ok_or_else(|| statement.wrong("no query"))? + 1;
        if !statement.tokens.get(at).is_some_and(|token| token.is("SELECT")) {
            return Err(statement.wrong("the query does not begin with SELECT"));
        }
        at += 1;
        if statement.tokens.get(at).is_some_and(|token| token.is("DISTINCT")) {
            at += 1;
            if statement.tokens.get(at).is_some_and(|token| token.is("ON")) {
                at = statement.find(at + 2, ")").map_or(at, |close| close + 1);
            }
        }
        let end = statement.find(at, "FROM").unwrap_or(statement.tokens.len());
        let mut columns = Vec::new();
        for column in statement.tokens[at..end].split(|token| token.depth == 0 && token.is(",")) {
            let named = match column {
                [.., before, name] if before.depth == 0 && (before.is("AS") || before.is(".")) => Some(name),
                [name] => Some(name),
                _ => None,
            };
            let named = named.filter(|name| name.is_name()).ok_or_else(|| {
                statement.wrong(&format!("column {} has no name: give it one with AS", columns.len() + 1))
            })?;
            columns.push(named.text.clone());
        }
        Ok(View { name, columns, statement: statement.clone() })
    }

    /// Says why CREATE OR REPLACE VIEW would not make the one into the other, for reasons of its columns.
    pub fn check_becomes(&self, new: &View) -> Result<(), String> {
        for (at, old) in self.columns.iter().enumerate() {
            let now = new.columns.get(at).map_or("gone", String::as_str);
            if now != old {
                return Err(format!(
                    "{}: view {}: its column {} was {old} and is {now} now: a view gains columns at its end only, \
                     since what users built on it stays",
                    new.statement.place,
                    self.name,
                    at + 1
                ));
            }
        }
        Ok(())
    }
}

impl OnTable {
    fn of(statement: &Statement) -> Result<OnTable, String> {
        let (name, at) = statement.name(2)?;
        let on = statement.find(at, "ON").ok_or_else(|| statement.wrong("no ON"))?;
        let (table, _) = statement.name(on + 1)?;
        let runs = match statement.find(on, "EXECUTE") {
            Some(execute) => Some(format!("{}()", statement.name(execute + 2)?.0)),
            None => None,
        };
        Ok(OnTable { name, table, runs, statement: statement.clone() })
    }

    /// Whether both have the same name and table.
    pub fn is(&self, other: &OnTable) -> bool {
        (&self.name, &self.table) == (&other.name, &other.table)
    }
}

fn commented(statement: &Statement) -> Result<String, String> {
    let is = statement.find(2, "IS").ok_or_else(|| statement.wrong("no IS"))?;
    Ok(joined(&statement.tokens[2..is]).replace(',', ", "))
}
