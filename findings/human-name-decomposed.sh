#!/bin/bash
# A library for people's names gives other bytes back than it was given, for every letter with an accent.
#
# Seen with: human_name 2.0.4 (crates.io).
# `Name::parse("Zoë Müller")` has the given name "Zoe" + U+0308 and the surname "Mu" + U+0308 + "ller": the parts are
# in Unicode's decomposed form although the input was composed. They look the same, are no part of the input
# (`contains` is false), and are longer (Müller: 7 characters in place of 6).
# What it means for users: `=` in Postgres does not find them under a deterministic collation, a unique index lets both
# in, and a request to a vendor carries letters that few vendors compare in normal form. Compose the parts again (NFC).
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/src"
cat >"$dir/Cargo.toml" <<'TOML'
[package]
name = "seen"
version = "0.1.0"
edition = "2021"

[dependencies]
human_name = "=2.0.4"
TOML
cat >"$dir/src/main.rs" <<'RS'
fn main() {
    for (full, given, surname) in [
        ("Zoë Müller", "Zoe\u{308}", "Mu\u{308}ller"),
        ("JOSÉ NÚÑEZ", "Jose\u{301}", "Nu\u{301}n\u{303}ez"),
    ] {
        let name = human_name::Name::parse(full).expect("a name");
        println!("{full}: {:?} {:?}", name.given_name(), name.surname());
        assert_eq!(name.given_name(), Some(given));
        assert_eq!(name.surname(), surname);
        assert!(!full.to_lowercase().contains(&surname.to_lowercase()));
    }
    println!("as described");
}
RS
cargo run --quiet --manifest-path "$dir/Cargo.toml" --target-dir "$dir/target"
