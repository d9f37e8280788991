//! The texts in Rust source.

pub struct Literal {
    pub line: usize,
    pub text: String,
    /// Given to something that runs it.
    pub is_statement: bool,
}

const RUNNERS: [&str; 4] = ["Statement::new(", "Statement::owned(format!(", "run_once(format!(", "run_once("];

/// All string literals, with their escapes resolved; comments and characters are passed over.
pub fn literals(source: &str) -> Vec<Literal> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < source.len() {
        let rest = &source[at..];
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            at += rest.find("*/").map_or(rest.len(), |end| end + 2);
        } else if let Some((text, length)) =
            raw(rest, source[..at].chars().next_back()).or_else(|| plain(rest))
        {
            let before = source[..at].trim_end();
            let is_statement = RUNNERS.iter().any(|runner| before.ends_with(runner));
            found.push(Literal { line: source[..at].matches('\n').count() + 1, text, is_statement });
            at += length;
        } else {
            at += character(rest).unwrap_or_else(|| rest.chars().next().map_or(1, char::len_utf8));
        }
    }
    found
}

fn raw(rest: &str, before: Option<char>) -> Option<(String, usize)> {
    if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let hashes = rest.strip_prefix('r')?.chars().take_while(|c| *c == '#').count();
    let start = hashes + 2;
    rest[..start.min(rest.len())].ends_with('"').then_some(())?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = rest[start..].find(&end)?;
    Some((rest[start..start + length].to_owned(), start + length + end.len()))
}

fn plain(rest: &str) -> Option<(String, usize)> {
    let mut characters = rest.strip_prefix('"')?.char_indices();
    let mut text = String::new();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((text, at + 2)),
            '\\' => match characters.next()?.1 {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                // The next line goes on where it begins.
                '\n' => {
                    let left = characters.as_str();
                    let blank = left.len() - left.trim_start().len();
                    characters.by_ref().take(left[..blank].chars().count()).for_each(drop);
                }
                other => text.push(other),
            },
            c => text.push(c),
        }
    }
    None
}

/// 'c', but no lifetime.
fn character(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    let length = match inside.strip_prefix('\\') {
        Some(escaped) => 1 + escaped.char_indices().skip(1).find(|(_, c)| *c == '\'')?.0,
        None => inside.chars().next()?.len_utf8(),
    };
    inside[length..].starts_with('\'').then_some(length + 2)
}
