//! Reads the source: no import runs up, and no files import each other in a circle. A file and the folder of its parts are
//! one thing, so a part may name what its own mod.rs has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::Visit;

/// The rooms of src/pg, from the highest to the lowest; those on one line know nothing of each other.
const ROOMS: [&[&str]; 10] = [
    &["hooks"],
    &["api"],
    &["worker"],
    &["call"],
    &["provider"],
    &["limits"],
    &["store"],
    &["installation"],
    &["table", "shared"],
    &["sys"],
];

/// The path of a module in its crate: `["pg", "sys", "spi"]`.
type Module = Vec<String>;

/// The source of one crate, and which module names which.
struct Crate {
    files: BTreeMap<Module, PathBuf>,
    names: BTreeMap<Module, BTreeSet<Module>>,
}

impl Crate {
    fn read(source: &str) -> Crate {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
        let mut files = BTreeMap::new();
        collect(&root, &mut Vec::new(), &mut files);
        let mut all = Crate { files, names: BTreeMap::new() };
        for (module, path) in &all.files {
            let file = syn::parse_file(&std::fs::read_to_string(path).unwrap()).unwrap();
            let mut paths = Paths { scope: module.clone(), found: Vec::new() };
            paths.visit_file(&file);
            let named = paths.found.into_iter().filter_map(|found| all.module_of(found));
            let named: BTreeSet<Module> = named.filter(|other| other != module).collect();
            all.names.insert(module.clone(), named);
        }
        all
    }

    /// The longest part of a path that is a file. Of the root alone nothing is said.
    fn module_of(&self, mut path: Module) -> Option<Module> {
        while !path.is_empty() {
            if self.files.contains_key(&path) {
                return Some(path);
            }
            path.pop();
        }
        None
    }

    /// Files that name each other, over whatever others; without what a part names of its own folder.
    fn circles(&self) -> Vec<String> {
        let outside = |module: &Module, other: &&Module| !module.starts_with(other);
        let edges = |module: &Module| -> Vec<&Module> {
            self.names[module].iter().filter(|other| outside(module, other)).collect()
        };
        let reaches_itself = |start: &Module| {
            let mut seen = BTreeSet::new();
            let mut next = edges(start);
            while let Some(module) = next.pop() {
                if module == start {
                    return true;
                }
                if seen.insert(module) {
                    next.extend(edges(module));
                }
            }
            false
        };
        self.files.keys().filter(|module| reaches_itself(module)).map(|module| module.join("::")).collect()
    }
}

fn collect(folder: &Path, module: &mut Module, files: &mut BTreeMap<Module, PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = entry.file_stem().unwrap().to_string_lossy().into_owned();
        if entry.is_dir() {
            module.push(name);
            collect(&entry, module, files);
            module.pop();
        } else if entry.extension().is_some_and(|ending| ending == "rs") && !name.ends_with("tests") {
            let own = match name.as_str() {
                "mod" | "lib" => module.clone(),
                _ => module.iter().cloned().chain([name]).collect(),
            };
            if !own.is_empty() {
                files.insert(own, entry);
            }
        }
    }
}

/// All paths of a file that begin at the crate, a module above, or a part of its own.
struct Paths {
    scope: Module,
    found: Vec<Module>,
}

impl Paths {
    fn add(&mut self, path: &[String]) {
        let mut from = self.scope.clone();
        let mut rest = path;
        match rest.first().map(String::as_str) {
            Some("crate") => {
                from.clear();
                rest = &rest[1..];
            }
            Some("self") => rest = &rest[1..],
            Some("super") => {
                while rest.first().is_some_and(|part| part == "super") {
                    from.pop();
                    rest = &rest[1..];
                }
            }
            _ => {}
        }
        self.found.push(from.into_iter().chain(rest.iter().cloned()).collect());
    }

    fn add_tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with =
            |name: &syn::Ident| -> Vec<String> { before.iter().cloned().chain([name.to_string()]).collect() };
        match tree {
            syn::UseTree::Path(path) => self.add_tree(&with(&path.ident), &path.tree),
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.add_tree(before, item)),
            syn::UseTree::Name(name) => self.add(&with(&name.ident)),
            syn::UseTree::Rename(name) => self.add(&with(&name.ident)),
            syn::UseTree::Glob(_) => self.add(before),
        }
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    let test = |attribute: &syn::Attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|what| what.is_ident("test"))
    };
    attributes.iter().any(test)
}

impl Visit<'_> for Paths {
    fn visit_item_use(&mut self, item: &syn::ItemUse) {
        self.add_tree(&[], &item.tree);
    }

    fn visit_item_mod(&mut self, item: &syn::ItemMod) {
        // What tests name is no layer; other modules inside of a file are the file.
        if !is_test(&item.attrs) && item.content.is_some() {
            self.scope.push(item.ident.to_string());
            syn::visit::visit_item_mod(self, item);
            self.scope.pop();
        }
    }

    fn visit_path(&mut self, path: &syn::Path) {
        let parts: Vec<String> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        if matches!(parts.first().map(String::as_str), Some("crate" | "super" | "self")) && parts.len() > 1 {
            self.add(&parts);
        }
        syn::visit::visit_path(self, path);
    }
}

fn rank(module: &Module) -> Option<usize> {
    let [pg, room, ..] = module.as_slice() else { return None };
    let place = ROOMS.iter().position(|rooms| rooms.contains(&room.as_str()));
    (pg == "pg").then(|| place.unwrap_or_else(|| panic!("pg::{room} has no place among the rooms")))
}

#[test]
fn no_import_runs_up() {
    let all = Crate::read("src");
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (module, names) in &all.names {
        let Some(own) = rank(module) else { continue };
        seen.insert(own);
        for other in names {
            let up = rank(other).is_some_and(|rank| rank < own || rank == own && other[1] != module[1]);
            if up {
                wrong.push(format!("{} names {}", module.join("::"), other.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(seen.len(), ROOMS.len(), "each room has files");
}

#[test]
fn no_files_name_each_other_in_a_circle() {
    for source in ["src", "crates/domain/src", "crates/net/src"] {
        let circles = Crate::read(source).circles();
        assert!(circles.is_empty(), "{source}: {circles:#?}");
    }
}

#[test]
fn a_circle_would_be_seen() {
    let module = |name: &str| vec![name.to_owned()];
    let edge = |from, to| (module(from), BTreeSet::from([module(to)]));
    let files = ["a", "b", "c", "d"].into_iter().map(|name| (module(name), PathBuf::new())).collect();
    let names = BTreeMap::from([edge("a", "b"), edge("b", "c"), edge("c", "a"), edge("d", "a")]);
    assert_eq!(Crate { files, names }.circles(), ["a", "b", "c"]);
}
