//! The docs against the server: what they show runs, what they list is there, and what is there is listed.

mod blocks;
mod configurations;
mod demo;
mod links;
pub mod markdown;
mod objects;
#[path = "../../sample_provider/people.rs"]
mod people;
mod played;
mod reasons;
mod settings;
#[path = "../../sample_provider/vendor.rs"]
mod vendor;
mod vendors;
mod wording;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A page of ours. `path` begins at the root of the project.
pub struct Page {
    pub path: PathBuf,
    pub text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The page at this path, from the root of the project.
pub fn page(path: &str) -> Page {
    let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    Page { path: PathBuf::from(path), text }
}

/// For other programs: a configuration, a dashboard, a picture.
fn is_data(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str());
    let also = if path.starts_with("docs/monitoring") { &["yml", "json"][..] } else { &[] };
    extension.is_some_and(|e| e == "svg" || also.contains(&e))
}

/// README.md and every page under docs/.
pub fn manual() -> Vec<Page> {
    let mut pages = vec![page("README.md")];
    let mut folders = vec![PathBuf::from("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let path = folder.join(entry.unwrap().file_name());
            if root().join(&path).is_dir() {
                folders.push(path);
            } else if is_data(&path) {
                // What a page links to, for other programs.
            } else {
                assert_eq!(path.extension().and_then(|e| e.to_str()), Some("md"), "{}", path.display());
                pages.push(page(path.to_str().unwrap()));
            }
        }
    }
    assert!(pages.len() > 20, "only {} pages", pages.len());
    pages.sort_by(|a, b| a.path.cmp(&b.path));
    pages
}

/// Panics with what only the server, and what only the page has.
pub fn assert_same(what: &str, of_server: &BTreeSet<String>, of_docs: &BTreeSet<String>) {
    let only = |here: &BTreeSet<String>, there: &BTreeSet<String>| {
        here.difference(there).cloned().collect::<Vec<_>>().join("\n    ")
    };
    assert!(!of_server.is_empty(), "{what}: nothing was found to compare with");
    assert!(
        of_server == of_docs,
        "{what}\n  not in the docs:\n    {}\n  only in the docs:\n    {}",
        only(of_server, of_docs),
        only(of_docs, of_server)
    );
}

#[test]
fn the_readme_is_short() {
    let lines = page("README.md").text.lines().count();
    assert!(lines <= 250, "{lines} lines");
}
