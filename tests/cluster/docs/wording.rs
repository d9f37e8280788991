//! Plain English: no riddles about who does what.

use super::markdown::prose;
use super::{manual, page};

const RIDDLES: [&str; 8] =
    ["nobody", "somebody", "whoever", "whomever", "anybody", "everybody", "no same", "no other one"];

#[test]
fn the_docs_say_who_does_what() {
    let mut wrong = Vec::new();
    for page in
        manual().into_iter().chain(["CONTRIBUTING.md", "SECURITY.md", "examples/quality/README.md"].map(page))
    {
        for (line, text) in prose(&page.text) {
            let text = text.to_lowercase();
            let words = RIDDLES.into_iter().filter(|word| text.contains(word));
            wrong.extend(words.map(|word| format!("{}:{line}: {word}", page.path.display())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
