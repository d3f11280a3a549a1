//! What a machine that is to run Pods brings along, as `script/worker.sh` tells it.

use std::collections::{BTreeMap, BTreeSet};

use crate::plain;

/// What `script/worker.sh` tells of, which says what each word means.
const WORDS: [&str; 25] = [
    "name",
    "kernel",
    "stale",
    "cgroup",
    "controller",
    "disables",
    "cmdline",
    "swap",
    "has",
    "nft",
    "module",
    "lacks",
    "nameserver",
    "resolved",
    "broken",
    "forwards",
    "passes",
    "trusts",
    "runs",
    "spares",
    "cni",
    "leftover",
    "link",
    "chain",
    "selinux",
];

/// What is there of all that Pods need and kinstall does not bring, by word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Worker {
    told: BTreeMap<&'static str, BTreeSet<String>>,
}

impl Worker {
    /// Takes one line in, as much of it as a person reads; none where it is not understood.
    pub(super) fn line(&mut self, word: &str, text: &str) -> Option<()> {
        let word = WORDS.into_iter().find(|known| *known == word)?;
        let told = self.told.entry(word).or_default();
        told.insert(plain::brief(text));
        Some(())
    }

    /// Everything that was told of a word.
    pub fn all(&self, word: &str) -> Vec<&str> {
        debug_assert!(WORDS.contains(&word), "{word}");
        let told = self.told.get(word).into_iter().flatten();
        told.map(String::as_str).collect()
    }

    /// What was told of a word of which there is one; nothing where it was not.
    pub fn one(&self, word: &str) -> &str {
        self.all(word).first().copied().unwrap_or_default()
    }

    /// Whether something was told of a word.
    pub fn has(&self, word: &str, text: &str) -> bool {
        self.all(word).contains(&text)
    }
}
