//! SQL files as statements and tokens: as much of the grammar as our own files use.

/// One statement, without the comments before it and without its semicolon.
#[derive(Clone, Debug)]
pub struct Statement {
    pub text: String,
    /// File and line, for messages.
    pub place: String,
    pub tokens: Vec<Token>,
}

/// A word, a quoted name, a text, a dollar-quoted body, or one other character; whole, as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    /// Parentheses and brackets that are open before it; a closing one counts as outside.
    pub depth: usize,
}

impl Token {
    /// Whether it is this word or sign, in any case.
    pub fn is(&self, word: &str) -> bool {
        self.text.eq_ignore_ascii_case(word)
    }

    /// Whether it is a word or a quoted name; a number counts as a word.
    pub fn is_name(&self) -> bool {
        self.text.starts_with(|c: char| is_of_word(c) || c == '"')
    }
}

impl Statement {
    /// Whether it begins with these words.
    pub fn begins(&self, words: &[&str]) -> bool {
        words.len() <= self.tokens.len() && words.iter().zip(&self.tokens).all(|(word, token)| token.is(word))
    }

    /// The first token from `from` on that is this word and stands in no parentheses.
    pub fn find(&self, from: usize, word: &str) -> Option<usize> {
        (from..self.tokens.len()).find(|at| self.tokens[*at].depth == 0 && self.tokens[*at].is(word))
    }

    /// A name with its schema at `at`, and where what follows it begins.
    pub fn name(&self, at: usize) -> Result<(String, usize), String> {
        let mut end = at + 1;
        while self.tokens.get(end).is_some_and(|token| token.is(".")) {
            end += 2;
        }
        match self.tokens.get(at..end) {
            Some(tokens) if tokens[0].is_name() => Ok((joined(tokens), end)),
            _ => Err(self.wrong("a name is missing")),
        }
    }

    /// A message with the place, what is wrong, and the first 70 characters of the statement.
    pub fn wrong(&self, what: &str) -> String {
        let begin: String = self.text.chars().take(70).collect();
        format!("{}: {what}: {}", self.place, begin.replace('\n', " "))
    }
}

/// One spelling for equal tokens: a space between words, none around signs.
pub fn joined(tokens: &[Token]) -> String {
    let mut text = String::new();
    for token in tokens {
        let after_word = text.ends_with(|c: char| is_of_word(c) || c == '"' || c == '\'');
        if after_word && (token.is_name() || token.text.starts_with('\'')) {
            text.push(' ');
        }
        text.push_str(&token.text);
    }
    text
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '@'
}

/// The statements of a file. A text or a body that does not end is an error.
pub fn statements(file: &str, sql: &str) -> Result<Vec<Statement>, String> {
    let mut found = Vec::new();
    let (mut at, mut depth) = (0, 0_usize);
    let mut start = None;
    let mut tokens: Vec<Token> = Vec::new();
    while let Some(first) = sql[at..].chars().next() {
        let length = length_of_token(&sql[at..], first).ok_or_else(|| {
            format!("{file}: what begins in line {} does not end", 1 + sql[..at].matches('\n').count())
        })?;
        let text = &sql[at..at + length];
        if first.is_whitespace() || text.starts_with("--") || text.starts_with("/*") {
            at += length;
            continue;
        }
        if first == ';' {
            if let Some(start) = start.take() {
                let place = format!("{file}:{}", 1 + sql[..start].matches('\n').count());
                let text = sql[start..at].to_owned();
                found.push(Statement { text, place, tokens: std::mem::take(&mut tokens) });
            }
        } else {
            start.get_or_insert(at);
            depth = depth.saturating_sub(usize::from(matches!(first, ')' | ']')));
            tokens.push(Token { text: text.to_owned(), depth });
            depth += usize::from(matches!(first, '(' | '['));
        }
        at += length;
    }
    match start {
        Some(_) => Err(format!("{file}: the last statement has no semicolon")),
        None => Ok(found),
    }
}

fn length_of_token(rest: &str, first: char) -> Option<usize> {
    let until = |end: &str, skip: usize| rest[skip..].find(end).map(|at| skip + at + end.len());
    if rest.starts_with("--") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return until("*/", 2);
    }
    if first == '\'' || first == '"' {
        let quote = first.to_string();
        let mut length = until(&quote, 1)?;
        while rest[length..].starts_with(first) {
            length = until(&quote, length + 1)?;
        }
        return Some(length);
    }
    if first == '$' && !rest[1..].starts_with(|c: char| c.is_ascii_digit()) {
        let tag = &rest[..until("$", 1)?];
        return until(tag, tag.len());
    }
    if is_of_word(first) {
        return Some(rest.find(|c: char| !is_of_word(c)).unwrap_or(rest.len()));
    }
    Some(first.len_utf8())
}
