//! What may not stand in SQL that runs under the search_path of the caller.

use std::collections::HashSet;

use super::lexer::{Token, tokens};
use Token::{Body, Number, Operator, Parameter, Placeholder, QualifiedOperator, Quoted, Sign, Text, Word};

/// Words that stand before a parenthesis and call nothing that is looked up by name.
const NO_FUNCTIONS: &str = "ALL AND ANY ARRAY AS BY CASE CAST CHECK COALESCE CONFLICT CUBE DEFAULT DISTINCT ELSE END EXCEPT EXISTS EXTRACT FILTER \
     FROM GREATEST GROUP GROUPING HAVING IF IN INDEX INTERSECT INTO JOIN KEY LATERAL LEAST LIMIT MATERIALIZED NOT OFFSET ON OR OVER RETURN \
     RETURNING ROLLUP ROW ROWS SELECT SET SETS SOME TABLE THEN UNION UNIQUE USING VALUES WHEN WHERE WITH WITHIN";
/// Types that the grammar itself takes from pg_catalog.
const TYPES_OF_THE_GRAMMAR: &str = "BIGINT BIT BOOLEAN CHAR CHARACTER DEC DECIMAL DOUBLE FLOAT INT INTEGER INTERVAL NATIONAL NCHAR NUMERIC REAL \
     SMALLINT TIME TIMESTAMP VARCHAR";
/// Each looks up an operator by its bare name.
const HIDDEN_OPERATORS: &str = "BETWEEN ILIKE LIKE NATURAL NULLIF OVERLAPS SIMILAR";
const TYPES: &str = "BOOL BYTEA DATE FLOAT4 FLOAT8 INET INT2 INT4 INT8 JSON JSONB NAME OID REGCLASS REGPROCEDURE REGROLE REGTYPE TEXT \
     TIMESTAMPTZ TIMETZ UUID";

fn among(list: &str, token: &Token) -> bool {
    matches!(token, Word(word) if list.split_whitespace().any(|known| known == word))
}

/// What is known of a text besides itself.
#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    /// Runs under the caller's search_path.
    Statement,
    /// An install script, or a body that sets its search_path: names of types are found in pg_catalog first.
    Script,
}

/// Everything in a text that is looked up in the search_path. `known`: names of CTEs that other parts of it define.
pub fn findings(sql: &str, kind: Kind, formatted: bool, known: &HashSet<String>) -> Vec<String> {
    let tokens = tokens(sql, formatted);
    let mut known = known.clone();
    known.extend(names_of_ctes(&tokens));
    let mut found = Vec::new();
    for part in tokens.split(|token| token.is_sign(";")) {
        let text = Part { tokens: part, kind, known: &known };
        let all = (0..part.len())
            .filter_map(|at| text.finding(at).map(|what| format!("{what} in: {}", text.around(at))));
        found.extend(all);
        for token in part {
            if let Body(body) = token {
                found.extend(findings(body, kind, false, &known));
            }
        }
    }
    found
}

/// WITH name [(columns)] AS [MATERIALIZED] (, and the same after a comma; and a trigger's OLD or NEW TABLE AS name, which goes before
/// any table.
pub fn names_of_ctes(tokens: &[Token]) -> HashSet<String> {
    let mut names = HashSet::new();
    for (at, token) in tokens.iter().enumerate() {
        let Word(name) = token else { continue };
        let begins = at > 0
            && (tokens[at - 1].is("WITH") || tokens[at - 1].is("RECURSIVE") || tokens[at - 1].is_sign(","));
        let mut after = at + 1;
        if tokens.get(after).is_some_and(|t| t.is_sign("(")) {
            after = tokens[after..]
                .iter()
                .position(|t| t.is_sign(")"))
                .map_or(tokens.len(), |end| after + end + 1);
        }
        let is_as = tokens.get(after).is_some_and(|t| t.is("AS"));
        let opens = |t: &Token| t.is_sign("(") || t.is("MATERIALIZED") || t.is("NOT");
        if begins && is_as && tokens.get(after + 1).is_some_and(opens) {
            names.insert(name.clone());
        }
    }
    for words in tokens.windows(4) {
        let rows = (words[0].is("OLD") || words[0].is("NEW")) && words[1].is("TABLE") && words[2].is("AS");
        if let (true, Word(name)) = (rows, &words[3]) {
            names.insert(name.clone());
        }
    }
    names
}

struct Part<'a> {
    tokens: &'a [Token],
    kind: Kind,
    known: &'a HashSet<String>,
}

const NOTHING: Token = Sign(";");

impl Part<'_> {
    fn at(&self, at: usize) -> &Token {
        self.tokens.get(at).unwrap_or(&NOTHING)
    }

    fn before(&self, at: usize, back: usize) -> &Token {
        at.checked_sub(back).map_or(&NOTHING, |at| self.at(at))
    }

    /// Whether the statement begins with, or has before `at`, this word.
    fn has_before(&self, at: usize, word: &str) -> bool {
        self.tokens[..at].iter().any(|token| token.is(word))
    }

    fn around(&self, at: usize) -> String {
        let part = &self.tokens[at.saturating_sub(6)..(at + 5).min(self.tokens.len())];
        part.iter().map(shown).collect::<Vec<_>>().join(" ")
    }

    fn finding(&self, at: usize) -> Option<String> {
        let token = self.at(at);
        match token {
            Operator(operator) if !self.is_no_operator(at, operator) => Some(format!("operator {operator}")),
            Sign("::") if self.type_is_looked_up(at + 1) => Some("a type without schema".into()),
            Sign("(") if self.is_row_comparison(at) => Some("a comparison of rows".into()),
            Quoted if self.at(at + 1).is_sign("(") && !self.is_declared(at) => {
                Some("a function without schema".into())
            }
            Word(word) => self.finding_of_word(at, token, word),
            _ => None,
        }
    }

    fn finding_of_word(&self, at: usize, token: &Token, word: &str) -> Option<String> {
        let (next, after) = (self.at(at + 1), self.at(at + 2));
        if self.before(at, 1).is_sign(".") || self.before(at, 1).is("AS") {
            return None;
        }
        let is = |wanted: &str| word == wanted;
        if among(HIDDEN_OPERATORS, token) && !next.is_sign(",") {
            return Some(word.to_owned());
        }
        if is("IN") && next.is_sign("(") {
            return Some("IN (…)".into());
        }
        if is("DISTINCT") && next.is("FROM") {
            return Some("IS DISTINCT FROM".into());
        }
        if is("CASE") && !next.is("WHEN") && !self.before(at, 1).is("END") {
            return Some("a simple CASE".into());
        }
        if is("USING") && next.is_sign("(") && self.has_before(at, "JOIN") {
            return Some("JOIN … USING (…)".into());
        }
        if is("COLLATE") && !(*next == Placeholder || (next.is("PG_CATALOG") && after.is_sign("."))) {
            return Some("a collation without schema".into());
        }
        if self.kind == Kind::Statement && among(TYPES, token) && *next == Text {
            return Some("a type without schema".into());
        }
        if self.kind == Kind::Statement && among(TYPES, token) && self.is_of_a_column(at) {
            return Some("a type without schema".into());
        }
        if is("AS") && self.is_cast(at) && self.type_is_looked_up(at + 1) {
            return Some("a type without schema".into());
        }
        if next.is_sign("(") && !among(NO_FUNCTIONS, token) && !self.is_declared(at) {
            return Some("a function without schema".into());
        }
        self.names_a_table(at, word).then(|| "a table without schema".into())
    }

    /// What only looks like one.
    fn is_no_operator(&self, at: usize, operator: &str) -> bool {
        let (before, two_before) = (self.before(at, 1), self.before(at, 2));
        let operand = matches!(before, Quoted | Number | Text | Parameter | Placeholder)
            || before.is_sign(")")
            || before.is_sign("]")
            || (matches!(before, Word(_)) && !among(NO_FUNCTIONS, before));
        match operator {
            "=>" => true,
            // All columns, all rows.
            "*" => !operand,
            "-" | "+" => !operand && *self.at(at + 1) == Number,
            // An assignment: of UPDATE, of a function's or view's option, of RAISE … USING.
            "=" => {
                let list = ["SET", "USING", "WITH"].iter().any(|word| self.has_before(at, word));
                let begins = |word: &str| two_before.is(word);
                before.is_name()
                    && list
                    && (begins("SET")
                        || (begins("USING") && self.has_before(at, "RAISE"))
                        || self.continues_a_list(at))
            }
            _ => false,
        }
    }

    /// `, name =` or `(name =` where the list is one of assignments, and no condition has begun.
    fn continues_a_list(&self, at: usize) -> bool {
        let two_before = self.before(at, 2);
        if two_before.is_sign("(") {
            return self.before(at, 3).is("WITH");
        }
        let Some(begin) =
            self.tokens[..at].iter().rposition(|t| t.is("SET") || t.is("RAISE") || t.is("WITH"))
        else {
            return false;
        };
        let mut depth = 0;
        for token in &self.tokens[begin..at] {
            match token {
                Sign("(") => depth += 1,
                Sign(")") => depth -= 1,
                Word(word)
                    if depth == 0
                        && ["WHERE", "FROM", "ON", "SELECT", "RETURNING"].contains(&word.as_str()) =>
                {
                    return false;
                }
                _ => (),
            }
        }
        let open = i32::from(self.tokens[begin].is("WITH"));
        two_before.is_sign(",") && depth == open
    }

    fn type_is_looked_up(&self, at: usize) -> bool {
        let token = self.at(at);
        let qualified = self.at(at + 1).is_sign(".");
        let known = *token == Placeholder || qualified || among(TYPES_OF_THE_GRAMMAR, token);
        self.kind == Kind::Statement && !known
    }

    /// Whether it is the type of a column that is declared: a word after its name.
    fn is_of_a_column(&self, at: usize) -> bool {
        let table = self.at(0).is("CREATE") && self.at(1).is("TABLE");
        let added = self.at(0).is("ALTER") && self.has_before(at, "ADD");
        (table || added) && self.before(at, 1).is_name() && !self.at(at + 1).is_sign(".")
    }

    /// Whether this AS is one of CAST(… AS …).
    fn is_cast(&self, at: usize) -> bool {
        let mut depth = 0;
        for back in (0..at).rev() {
            match &self.tokens[back] {
                Sign(")") => depth += 1,
                Sign("(") if depth > 0 => depth -= 1,
                Sign("(") => return self.before(back, 1).is("CAST"),
                _ => (),
            }
        }
        false
    }

    /// (a, b) = …: as qualified as its operator is, but for the one that = ANY, IN and the like take for it.
    fn is_row_comparison(&self, at: usize) -> bool {
        let called = self.before(at, 1).is_name() && !among(NO_FUNCTIONS, self.before(at, 1));
        let mut depth = 0;
        let mut commas = 0;
        for (ahead, token) in self.tokens[at..].iter().enumerate() {
            match token {
                Sign("(") => depth += 1,
                Sign(")") => depth -= 1,
                Sign(",") if depth == 1 => commas += 1,
                _ => (),
            }
            if depth == 0 {
                let next = self.at(at + ahead + 1);
                return !called && commas > 0 && matches!(next, Operator(own) if own != "*");
            }
        }
        false
    }

    /// A name before a parenthesis that calls nothing: a table with its columns, a CTE, an alias, an access method, a type.
    fn is_declared(&self, at: usize) -> bool {
        let before = self.before(at, 1);
        let after_columns = {
            let close = self.tokens[at..].iter().position(|t| t.is_sign(")")).map_or(at, |end| at + end);
            self.at(close + 1).is("AS")
                && (before.is_sign(",") || before.is("WITH") || before.is("RECURSIVE"))
        };
        before.is_sign(".")
            || before.is("AS")
            || before.is("USING")
            || after_columns
            || self.at(at).is("OPERATOR")
            || (self.kind == Kind::Script && among(TYPES_OF_THE_GRAMMAR, self.at(at)))
    }

    fn names_a_table(&self, at: usize, word: &str) -> bool {
        if !["FROM", "JOIN", "INTO", "UPDATE"].contains(&word) {
            return false;
        }
        let before = self.before(at, 1);
        let privileges = self.at(0).is("GRANT") || self.at(0).is("REVOKE") || self.at(0).is("COMMENT");
        let not_the_verb = word == "UPDATE"
            && ["FOR", "KEY", "DO", "ON", "OR", "AFTER", "BEFORE"].iter().any(|other| before.is(other));
        let of_extract = word == "FROM" && self.tokens[..at].iter().rev().take(3).any(|t| t.is("EXTRACT"));
        if privileges || not_the_verb || of_extract || before.is("DISTINCT") {
            return false;
        }
        let next = if self.at(at + 1).is("ONLY") { self.at(at + 2) } else { self.at(at + 1) };
        let Word(name) = next else { return false };
        let qualified = self.at(at + 2).is_sign(".");
        !qualified && !["LATERAL", "ROWS", "SET"].contains(&name.as_str()) && !self.known.contains(name)
    }
}

fn shown(token: &Token) -> String {
    match token {
        Word(word) => word.clone(),
        Operator(operator) => operator.clone(),
        Sign(sign) => (*sign).to_owned(),
        Quoted => "\"…\"".into(),
        Placeholder => "{}".into(),
        Number => "1".into(),
        Text => "'…'".into(),
        Parameter => "$1".into(),
        QualifiedOperator => "OPERATOR(…)".into(),
        Body(_) => "$$…$$".into(),
    }
}
