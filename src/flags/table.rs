//! The tables of names that were built in: flags of each program, feature gates, admission
//! plugins. Parsed once, at the first question. `cargo xtask flag-table` makes the files.

use std::{collections::BTreeMap, sync::LazyLock};

use super::{
    span::{self, Span},
    value::Kind,
};
use crate::version::{Minor, Version};

/// Whether something exists in a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It does.
    Present,
    /// It does not.
    Absent,
    /// The sources do not agree, or none was read: it is neither used nor refused.
    Doubtful,
}

/// Names, and the releases in which each exists.
#[derive(Debug)]
pub struct Names<T> {
    first: Minor,
    last: Minor,
    sure_to: Minor,
    entries: BTreeMap<String, Entry<T>>,
}

/// One name of a table.
#[derive(Debug)]
pub struct Entry<T> {
    valid: Vec<Span>,
    doubtful: Vec<Span>,
    /// What else is known of it.
    pub about: T,
}

/// What is known of a flag, beside where it exists.
#[derive(Debug)]
pub struct Flag {
    /// What its value looks like.
    pub kind: Kind,
    deprecated: Option<Minor>,
    instead: Option<&'static str>,
}

/// What is known of a feature gate, beside where it exists.
#[derive(Debug)]
pub(super) struct Gate {
    locked: Option<(Minor, bool)>,
}

/// The flags that one program has in each release.
pub type FlagTable = Names<Flag>;

impl FlagTable {
    /// The table of a program: `kube-apiserver`, `kube-controller-manager`, `kube-scheduler`,
    /// `kubelet`, `kube-proxy` or `etcd`.
    pub fn of(program: &str) -> Option<&'static Self> {
        TABLES
            .iter()
            .find_map(|(name, table)| (*name == program).then_some(&**table))
    }

    /// A flag that the program has in a release, by its name without dashes in front.
    pub fn flag(&self, name: &str, version: Version) -> Option<&Flag> {
        let entry = self.entries.get(name)?;
        (entry.presence(version) == Presence::Present).then_some(&entry.about)
    }

    /// The kind of a flag in whatever release has it: enough to tell a value from the next word.
    pub(super) fn kind(&self, name: &str) -> Option<Kind> {
        self.entries.get(name).map(|entry| entry.about.kind)
    }
}

impl Flag {
    /// Since when it is deprecated, if it is in this minor.
    pub fn deprecated(&self, minor: Minor) -> Option<Minor> {
        self.deprecated.filter(|since| *since <= minor)
    }

    /// The flag to use instead; `file` says that it belongs in the program's own config file.
    pub fn instead(&self) -> Option<&'static str> {
        self.instead
    }
}

impl Gate {
    /// The value it is locked to in this minor.
    pub(super) fn locked(&self, minor: Minor) -> Option<bool> {
        self.locked
            .filter(|(since, _)| *since <= minor)
            .map(|(_, value)| value)
    }
}

impl<T> Names<T> {
    /// Whether the table says anything of a minor.
    pub fn covers(&self, minor: Minor) -> bool {
        (self.first..=self.last).contains(&minor)
    }

    /// Whether what the table says of a minor is the whole truth. Of the newest, it may not be.
    pub fn is_sure_of(&self, minor: Minor) -> bool {
        (self.first..=self.sure_to).contains(&minor)
    }

    /// Whether a name exists in a release.
    pub fn presence(&self, name: &str, version: Version) -> Presence {
        self.entries
            .get(name)
            .map_or(Presence::Absent, |entry| entry.presence(version))
    }

    /// The names that exist in a release.
    pub fn names(&self, version: Version) -> impl Iterator<Item = &str> {
        let present = move |entry: &Entry<T>| entry.presence(version) == Presence::Present;
        self.entries
            .iter()
            .filter(move |(_, entry)| present(entry))
            .map(|(name, _)| name.as_str())
    }

    /// A name in whatever release.
    pub(crate) fn get(&self, name: &str) -> Option<&Entry<T>> {
        self.entries.get(name)
    }

    pub(crate) fn parse(text: &'static str, about: fn(&[&'static str]) -> T) -> Self {
        let mut lines = text
            .lines()
            .map(|line| line.split('\t').collect::<Vec<_>>());
        let minors = lines
            .next()
            .expect("a table begins with the minors it covers");
        let (first, last) = minors[1].split_once('-').expect("the minors are a span");
        let minor = |text: &str| text.parse().expect("the build checked the minors");
        let columns = lines.next().expect("a table names its columns");
        let at = columns
            .iter()
            .position(|name| *name == "valid")
            .expect("a table has spans");
        let entries = lines.map(|cells| {
            let (valid, doubtful) = (span::parse(cells[at]), span::parse(cells[at + 1]));
            (
                cells[0].to_owned(),
                Entry {
                    valid,
                    doubtful,
                    about: about(&cells),
                },
            )
        });
        let entries = entries.collect();
        Self {
            first: minor(first),
            last: minor(last),
            sure_to: minor(minors[3]),
            entries,
        }
    }
}

impl<T> Entry<T> {
    fn presence(&self, version: Version) -> Presence {
        if self.valid.iter().any(|span| span.holds(version)) {
            Presence::Present
        } else if self.doubtful.iter().any(|span| span.holds(version)) {
            Presence::Doubtful
        } else {
            Presence::Absent
        }
    }

    /// The first release after this one that has it.
    pub(super) fn added(&self, version: Version) -> Option<String> {
        self.valid
            .iter()
            .find(|span| span.from > version)
            .map(Span::beginning)
    }

    /// The first minor without it, when it was there once.
    pub(super) fn removed(&self, version: Version) -> Option<Minor> {
        let spans = self.valid.iter().chain(&self.doubtful);
        spans
            .map(Span::end)
            .filter(|end| *end <= version.minor())
            .max()
    }
}

static TABLES: [(&str, LazyLock<FlagTable>); 6] = [
    (
        "etcd",
        LazyLock::new(|| Names::parse(include_str!("etcd.tsv"), flag)),
    ),
    (
        "kube-apiserver",
        LazyLock::new(|| Names::parse(include_str!("kube-apiserver.tsv"), flag)),
    ),
    (
        "kube-controller-manager",
        LazyLock::new(|| Names::parse(include_str!("kube-controller-manager.tsv"), flag)),
    ),
    (
        "kube-proxy",
        LazyLock::new(|| Names::parse(include_str!("kube-proxy.tsv"), flag)),
    ),
    (
        "kube-scheduler",
        LazyLock::new(|| Names::parse(include_str!("kube-scheduler.tsv"), flag)),
    ),
    (
        "kubelet",
        LazyLock::new(|| Names::parse(include_str!("kubelet.tsv"), flag)),
    ),
];

/// The feature gates, which all programs of Kubernetes share. A gate is unknown from the minor
/// that removed it, and a locked one may only be set to what it is.
pub(super) static GATES: LazyLock<Names<Gate>> = LazyLock::new(|| {
    Names::parse(include_str!("gates.tsv"), |cells| {
        let locked = cells[3]
            .split_once('=')
            .map(|(since, value)| (since.parse().expect("a lock has a minor"), value == "true"));
        Gate { locked }
    })
});

/// The admission plugins of kube-apiserver.
pub(super) static PLUGINS: LazyLock<Names<()>> =
    LazyLock::new(|| Names::parse(include_str!("plugins.tsv"), |_| ()));

fn flag(cells: &[&'static str]) -> Flag {
    let text = |index: usize| Some(cells[index]).filter(|text| !text.is_empty());
    Flag {
        kind: Kind::named(cells[1]).expect("the build checked the kinds"),
        deprecated: text(4).map(|minor| minor.parse().expect("a deprecation has a minor")),
        instead: text(5),
    }
}
