//! Where in the file something is said of a component, for those who check its meaning later.

use std::collections::BTreeMap;
use std::ops::Range;

/// A key and its value, in bytes of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingSpan {
    /// Where the key stands.
    pub key: Range<usize>,
    /// Where the value stands.
    pub value: Range<usize>,
}

/// Something that can be said of a component.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// Its version.
    Version,
    /// The value of a flag.
    Flag(String),
    /// That a flag is not written.
    Removed(String),
    /// A field of its configuration, by its first name.
    Field(String),
    /// The value of a variable of the environment.
    Variable(String),
}

/// The places of everything that is said of a component.
pub type Spans = BTreeMap<Setting, SettingSpan>;

/// Where the versions of a whole cluster are said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VersionSpans {
    /// That of Kubernetes.
    pub kubernetes: Range<usize>,
    /// That of etcd; none where it is the one that upstream pairs.
    pub etcd: Option<Range<usize>>,
}
