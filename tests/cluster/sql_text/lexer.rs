//! SQL as tokens, as far as the rules need it: format!'s placeholders included.

#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    /// An unquoted name or keyword, in capitals.
    Word(String),
    /// "A quoted name".
    Quoted,
    /// Of format!: `{}` or `{name}`.
    Placeholder,
    Number,
    Text,
    /// $1, ${at}
    Parameter,
    /// One without schema.
    Operator(String),
    /// OPERATOR(pg_catalog.=), or of a schema that is only known when it runs.
    QualifiedOperator,
    /// ( ) [ ] , ; . :: :=
    Sign(&'static str),
    /// The body of a function or DO block, between dollars.
    Body(String),
}

use Token::{Body, Number, Operator, Parameter, Placeholder, QualifiedOperator, Quoted, Sign, Text, Word};

impl Token {
    pub fn is(&self, word: &str) -> bool {
        matches!(self, Word(own) if own == word)
    }

    pub fn is_sign(&self, sign: &str) -> bool {
        matches!(self, Sign(own) if *own == sign)
    }

    /// What a name can be.
    pub fn is_name(&self) -> bool {
        matches!(self, Word(_) | Quoted | Placeholder)
    }
}

const SIGNS: [&str; 9] = ["::", ":=", "(", ")", "[", "]", ",", ";", "."];
const OPERATOR_CHARACTERS: &str = "+-*/<>=~!@#%^&|`?";

/// `formatted`: braces are placeholders.
pub fn tokens(sql: &str, formatted: bool) -> Vec<Token> {
    let mut rest = sql;
    let mut tokens = Vec::new();
    while let Some(first) = rest.chars().next() {
        let (token, length) = if first.is_whitespace() {
            (None, first.len_utf8())
        } else if rest.starts_with("--") {
            (None, rest.find('\n').unwrap_or(rest.len()))
        } else if rest.starts_with("/*") {
            (None, rest.find("*/").map_or(rest.len(), |at| at + 2))
        } else {
            next(rest, first, formatted)
        };
        tokens.extend(token);
        rest = &rest[length..];
    }
    with_qualified_operators(tokens)
}

fn next(rest: &str, first: char, formatted: bool) -> (Option<Token>, usize) {
    let run = |accepts: fn(char) -> bool| rest.find(|c| !accepts(c)).unwrap_or(rest.len());
    match first {
        '\'' => (Some(Text), quoted(rest, '\'')),
        '"' => (Some(Quoted), quoted(rest, '"')),
        '{' if formatted => (Some(Placeholder), rest.find('}').map_or(rest.len(), |at| at + 1)),
        '$' => dollar(rest),
        c if c.is_ascii_digit() => (Some(Number), run(|c| c.is_ascii_alphanumeric() || c == '.')),
        // As @extschema@; else it begins an operator.
        c if c.is_alphabetic() || c == '_' || c == '@' && rest[1..].starts_with(char::is_alphabetic) => {
            let length = run(|c| c.is_alphanumeric() || c == '_' || c == '@');
            let word = rest[..length].to_uppercase();
            // A column that is put together, as new_{}.
            match formatted && rest[length..].starts_with('{') {
                true => (Some(Placeholder), rest.find('}').map_or(rest.len(), |at| at + 1)),
                false => (Some(Word(word)), length),
            }
        }
        c if OPERATOR_CHARACTERS.contains(c) => {
            let length = run(|c| OPERATOR_CHARACTERS.contains(c));
            (Some(Operator(rest[..length].to_owned())), length)
        }
        _ => match SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            Some(sign) => (Some(Sign(sign)), sign.len()),
            None => (None, first.len_utf8()),
        },
    }
}

/// Up to the closing quote; two of them are one that is meant.
fn quoted(rest: &str, quote: char) -> usize {
    let mut at = 1;
    while let Some(end) = rest[at..].find(quote) {
        at += end + 1;
        if !rest[at..].starts_with(quote) {
            return at;
        }
        at += 1;
    }
    rest.len()
}

fn dollar(rest: &str) -> (Option<Token>, usize) {
    let name = rest[1..].find(|c: char| !(c.is_alphanumeric() || c == '_')).map_or(rest.len(), |at| at + 1);
    if rest[name..].starts_with('$') && !rest[1..].starts_with(|c: char| c.is_ascii_digit()) {
        let tag = &rest[..=name];
        let end = rest[tag.len()..].find(tag).map_or(rest.len(), |at| at + tag.len());
        return (Some(Body(rest[tag.len()..end].to_owned())), (end + tag.len()).min(rest.len()));
    }
    match rest[name..].starts_with('{') {
        true => (Some(Parameter), rest.find('}').map_or(rest.len(), |at| at + 1)),
        false => (Some(Parameter), name),
    }
}

fn with_qualified_operators(tokens: Vec<Token>) -> Vec<Token> {
    let mut result = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        let qualified = match &tokens[at..] {
            [word, open, schema, dot, operator, close, ..] => {
                word.is("OPERATOR")
                    && open.is_sign("(")
                    && (schema.is("PG_CATALOG") || *schema == Placeholder)
                    && dot.is_sign(".")
                    && matches!(operator, Operator(_) | Placeholder)
                    && close.is_sign(")")
            }
            _ => false,
        };
        result.push(if qualified { QualifiedOperator } else { tokens[at].clone() });
        at += if qualified { 6 } else { 1 };
    }
    result
}
