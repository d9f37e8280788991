//! Relative links and anchors lead somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::markdown::{Part, parts, prose};
use super::{manual, page, root};

/// The anchors that GitHub makes of a page's headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut anchors = BTreeSet::new();
    for (_, part) in parts(text) {
        let Part::Heading(heading) = part else { continue };
        let kept = heading.to_lowercase();
        let slug: String = kept
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let count = seen.entry(slug.clone()).or_default();
        anchors.insert(if *count == 0 { slug } else { format!("{slug}-{count}") });
        *count += 1;
    }
    anchors
}

/// Targets of links: what stands in `](…)`.
fn targets(text: &str) -> Vec<(usize, String)> {
    let mut targets = Vec::new();
    for (line, text) in prose(text) {
        for rest in text.split("](").skip(1) {
            let end = rest.find(')').unwrap_or_else(|| panic!("line {line}: a link without end"));
            targets.push((line, rest[..end].to_owned()));
        }
    }
    targets
}

/// `from` is the page's folder; `..` goes up.
fn resolve(from: &Path, target: &str) -> PathBuf {
    let mut path = PathBuf::new();
    for part in from.join(target).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            other => path.push(other),
        }
    }
    path
}

/// Why a link leads nowhere.
fn fault(from: &Path, text: &str, target: &str) -> Option<String> {
    if target.contains("://") {
        return None;
    }
    let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
    let path = resolve(from.parent().expect("a page stands in a folder"), file);
    if !file.is_empty() && !root().join(&path).is_file() {
        return Some(format!("there is no {}", path.display()));
    }
    let anchor = anchor?;
    let known = match file {
        "" => anchors(text),
        _ => anchors(&page(path.to_str().expect("plain names")).text),
    };
    (!known.contains(anchor)).then(|| format!("{} has no heading for #{anchor}", path.display()))
}

#[test]
fn every_relative_link_leads_somewhere() {
    let more = ["CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "examples/quality/README.md"].map(page);
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for page in manual().into_iter().chain(more) {
        for (line, target) in targets(&page.text) {
            seen += 1;
            if let Some(why) = fault(&page.path, &page.text, &target) {
                wrong.push(format!("{}:{line}: {target}: {why}", page.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 100, "only {seen} links");
}

/// A page that no other links to is found by no reader.
#[test]
fn the_index_leads_to_every_page() {
    let index = page("docs/README.md");
    let linked: BTreeSet<PathBuf> = targets(&index.text)
        .iter()
        .map(|(_, target)| resolve(Path::new("docs"), target.split('#').next().unwrap_or_default()))
        .collect();
    for page in manual().into_iter().filter(|page| page.path != index.path) {
        assert!(linked.contains(&page.path), "docs/README.md has no link to {}", page.path.display());
    }
}

#[test]
fn anchors_are_made_as_github_makes_them() {
    let text =
        "# What is no value\n## What is no value\n### An `UPDATE` that calls, twice\n## leadlex.api_key\n";
    let expected = ["an-update-that-calls-twice", "leadlexapi_key", "what-is-no-value", "what-is-no-value-1"]
        .map(str::to_owned);
    assert_eq!(anchors(text), BTreeSet::from(expected));
    let from = Path::new("docs/calling.md");
    assert!(fault(from, text, "errors.md").is_none() && fault(from, text, "../README.md").is_none());
    assert!(fault(from, text, "nowhere.md").is_some() && fault(from, text, "#nowhere").is_some());
    assert!(
        fault(from, text, "errors.md#nowhere").is_some()
            && fault(from, text, "#what-is-no-value-1").is_none()
    );
}
