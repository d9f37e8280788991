//! Tables, for the terminal and for docs/benchmarks.md.

use crate::terminal::{bold, plain};

/// Rows under a heading; the first column names the row.
pub struct Table {
    pub title: String,
    pub head: Vec<String>,
    /// Each as long as the head.
    pub rows: Vec<Vec<String>>,
    /// Whether the last column holds words, not numbers.
    pub ends_in_words: bool,
}

impl Table {
    /// Without rows.
    pub fn new(title: &str, head: &[&str]) -> Table {
        Table {
            title: title.to_owned(),
            head: head.iter().map(|&text| text.to_owned()).collect(),
            rows: Vec::new(),
            ends_in_words: false,
        }
    }

    /// In columns; a row's name and words to the left, numbers to the right.
    pub fn text(&self) -> String {
        let lines = || std::iter::once(&self.head).chain(&self.rows);
        let widths: Vec<usize> = (0..self.head.len())
            .map(|column| lines().map(|line| width(line, column)).max().unwrap_or_default())
            .collect();
        let mut text = format!("\n{}{}{}\n", bold(), self.title, plain());
        for line in lines() {
            let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                _ if self.ends_in_words && column + 1 == line.len() => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }

    /// As Markdown has it.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("## {}\n\n{}{}|\n{rows}", self.title, line(&self.head), "|---".repeat(self.head.len()))
    }
}

fn width(line: &[String], column: usize) -> usize {
    line.get(column).map_or(0, |cell| cell.chars().count())
}

/// A number without a fraction, its thousands set apart by commas.
pub fn whole(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = if number <= -0.5 { "-".to_owned() } else { String::new() };
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The same; a dash where there is none.
pub fn whole_or_dash(number: Option<f64>) -> String {
    number.map_or("–".to_owned(), whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let numbers = [0.0, 0.4, 999.6, 1_234.0, 12_345.0, 123_456.0, 1_234_567.0, -1_500.0, -0.2];
        let texts = ["0", "0", "1,000", "1,234", "12,345", "123,456", "1,234,567", "-1,500", "0"];
        assert_eq!(numbers.map(whole), texts);
        assert_eq!([whole_or_dash(None), whole_or_dash(Some(1.0))], ["–", "1"]);
    }

    #[test]
    fn columns_of_text_and_of_markdown() {
        let mut table = Table::new("Speed", &["", "calls/s"]);
        table.rows.push(vec!["ours µ".to_owned(), "1,000".to_owned()]);
        let text = table.text();
        assert_eq!(text.lines().skip(2).collect::<Vec<_>>(), ["        calls/s", "ours µ    1,000"]);
        table.ends_in_words = true;
        let text = table.text();
        assert_eq!(text.lines().skip(2).collect::<Vec<_>>(), ["        calls/s", "ours µ  1,000"]);
        assert_eq!(table.markdown(), "## Speed\n\n|  | calls/s |\n|---|---|\n| ours µ | 1,000 |\n");
    }
}
