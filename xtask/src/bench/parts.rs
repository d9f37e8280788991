//! Which parts of the bench are run.

use crate::error::Result;

/// A part that can be chosen by `ONLY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Single calls, beside others.
    Calls,
    /// Private memory and threads of backends.
    Memory,
    /// A provider that is down, its circuit breaker open.
    Paused,
    /// A workspace beside others that are refused.
    Neighbours,
    /// A large database beside a small one.
    Size,
    /// Sets and the queue.
    Many,
    /// Processor time beside the commit of `BASE`.
    Compare,
}

use Part::{Calls, Compare, Many, Memory, Neighbours, Paused, Size};

const NAMES: [(&str, Part); 7] = [
    ("calls", Calls),
    ("memory", Memory),
    ("paused", Paused),
    ("neighbours", Neighbours),
    ("size", Size),
    ("many", Many),
    ("compare", Compare),
];

/// Those that are run.
#[derive(Debug, PartialEq, Eq)]
pub struct Parts(Vec<Part>);

impl Parts {
    /// Names with blanks between them; none stands for all. An error where a name is none of theirs, or `compare` is chosen
    /// without a commit to compare with.
    pub fn parse(only: &str, has_base: bool) -> Result<Parts> {
        let of = |name: &str| NAMES.iter().find(|(known, _)| *known == name).map(|(_, part)| *part);
        let chosen: Option<Vec<Part>> = only.split_whitespace().map(of).collect();
        let chosen = chosen.ok_or_else(|| {
            format!("ONLY={only}: the parts of the bench are {}", NAMES.map(|(name, _)| name).join(", "))
        })?;
        if chosen.contains(&Compare) && !has_base {
            return Err("ONLY=compare needs BASE=<commit>".to_owned());
        }
        Ok(Parts(if chosen.is_empty() { NAMES.map(|(_, part)| part).to_vec() } else { chosen }))
    }

    /// Whether it is run.
    pub fn has(&self, part: Part) -> bool {
        self.0.contains(&part)
    }

    /// Whether one of them is measured on the cluster of this tree alone or with the base beside it.
    pub fn needs_cluster(&self) -> bool {
        self.0.iter().any(|part| *part != Compare)
    }

    /// Whether one of them calls for the contacts of the database bench.
    pub fn needs_contacts(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Calls | Memory | Paused | Neighbours))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_named_and_none_stands_for_all() {
        assert_eq!(Parts::parse(" size  calls ", false), Ok(Parts(vec![Size, Calls])));
        let all = Parts::parse("", false).unwrap();
        assert!(NAMES.iter().all(|(_, part)| all.has(*part)));
        for (only, has_base) in [("everything", true), ("compare", false), ("size,calls", true)] {
            assert!(Parts::parse(only, has_base).is_err(), "{only}");
        }
        let compare = Parts::parse("compare", true).unwrap();
        assert!(compare.has(Compare) && !compare.needs_cluster() && !compare.has(Calls));
        let [size, memory] = ["size", "memory"].map(|only| Parts::parse(only, false).unwrap());
        assert_eq!(
            [size.needs_contacts(), memory.needs_contacts(), size.needs_cluster()],
            [false, true, true]
        );
    }
}
