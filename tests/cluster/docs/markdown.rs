//! As much of Markdown as our pages use.

/// What a page is made of, as far as tests look at it.
#[derive(Debug, PartialEq)]
pub enum Part {
    /// Of a heading: its text.
    Heading(String),
    /// The cells of a row of a table.
    Row(Vec<String>),
    /// A fenced block: its language and its text.
    Fence { language: String, text: String },
    /// What stands between `<!--` and `-->`.
    Comment(String),
    /// Any other line.
    Line(String),
}

/// Every part with the number of its first line.
pub fn parts(text: &str) -> Vec<(usize, Part)> {
    let mut parts = Vec::new();
    let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
    while let Some((number, line)) = lines.next() {
        let part = if let Some(language) = line.trim_start().strip_prefix("```") {
            let body: Vec<&str> =
                lines.by_ref().map(|(_, line)| line).take_while(|l| l.trim() != "```").collect();
            Part::Fence { language: language.to_owned(), text: body.join("\n") }
        } else if let Some(begun) = line.strip_prefix("<!--") {
            let mut comment = begun.to_owned();
            while !comment.trim_end().ends_with("-->") {
                let (_, more) =
                    lines.next().unwrap_or_else(|| panic!("line {number}: a comment without end"));
                comment.push('\n');
                comment.push_str(more);
            }
            Part::Comment(comment.trim_end().trim_end_matches("-->").trim().to_owned())
        } else if line.starts_with('#') {
            Part::Heading(line.trim_start_matches('#').trim().to_owned())
        } else if line.starts_with('|') {
            Part::Row(cells(line))
        } else {
            Part::Line(line.to_owned())
        };
        parts.push((number, part));
    }
    parts
}

/// The cells of a row; `\|` is no end of one.
fn cells(row: &str) -> Vec<String> {
    let inner = row.trim().trim_start_matches('|');
    let inner = inner.strip_suffix('|').unwrap_or(inner).replace("\\|", "\u{0}");
    inner.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
}

/// The rows of all tables under this heading, up to the next one, without their heads.
pub fn rows_under(text: &str, heading: &str) -> Vec<Vec<String>> {
    let parts = parts(text);
    let from = parts.iter().position(|(_, part)| *part == Part::Heading(heading.to_owned()));
    let from = from.unwrap_or_else(|| panic!("there is no heading {heading}")) + 1;
    let until = parts[from..].iter().position(|(_, part)| matches!(part, Part::Heading(_)));
    rows(&parts[from..until.map_or(parts.len(), |at| from + at)])
}

/// The rows of all tables of a page, without their heads.
pub fn all_rows(text: &str) -> Vec<Vec<String>> {
    rows(&parts(text))
}

fn rows(parts: &[(usize, Part)]) -> Vec<Vec<String>> {
    let is_rule =
        |cells: &[String]| cells.iter().all(|cell| !cell.is_empty() && cell.trim_matches('-').is_empty());
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (_, part) in parts {
        match part {
            // The row before it was the head.
            Part::Row(cells) if is_rule(cells) => drop(rows.pop()),
            Part::Row(cells) => rows.push(cells.clone()),
            _ => {}
        }
    }
    rows
}

/// What stands in `backticks`.
pub fn code(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The text without what stands in `backticks`, fenced blocks and comments.
pub fn prose(text: &str) -> Vec<(usize, String)> {
    let without_code = |line: &str| line.split('`').step_by(2).collect::<Vec<_>>().join("`");
    parts(text)
        .into_iter()
        .filter_map(|(number, part)| match part {
            Part::Heading(line) | Part::Line(line) => Some((number, without_code(&line))),
            Part::Row(cells) => Some((number, without_code(&cells.join(" | ")))),
            Part::Fence { .. } | Part::Comment(_) => None,
        })
        .collect()
}

#[test]
fn parts_are_told_apart() {
    let page = "# A `b`\n\n| x | y |\n|---|---|\n| `a\\|b` | 2 |\ntext `code` [l](t)\n<!-- one -->\n<!-- two\nlines -->\n```sql\nSELECT 1;\n```\n## Next\n| z |\n|--|\n| 3 |\n";
    let found: Vec<Part> = parts(page).into_iter().map(|(_, part)| part).collect();
    assert_eq!(found[0], Part::Heading("A `b`".into()));
    assert!(
        found.contains(&Part::Comment("two\nlines".into())) && found.contains(&Part::Comment("one".into()))
    );
    assert!(found.contains(&Part::Fence { language: "sql".into(), text: "SELECT 1;".into() }));
    assert_eq!(rows_under(page, "A `b`"), [["`a|b`", "2"]]);
    assert_eq!(rows_under(page, "Next"), [["3"]]);
    assert_eq!(code("`a|b` and `c`"), ["a|b", "c"]);
    assert_eq!(prose(page)[5], (6, "text ` [l](t)".to_owned()));
}
