//! The releases in which something exists, as the tables write them: `1.20-1.25,1.27-1.37`, or
//! from a patch release on, `3.4.25-3.4,3.5.8-3.7`.

use crate::version::{Minor, Version};

/// One run of releases: from the first, through every release of the last minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first release.
    pub from: Version,
    /// The last minor.
    pub through: Minor,
}

impl Span {
    /// Whether a release lies in it.
    pub fn holds(&self, version: Version) -> bool {
        self.from <= version && version.minor() <= self.through
    }

    /// The first release as people say it: `1.26`, or `3.4.25` when a patch release brought it.
    pub fn beginning(&self) -> String {
        if self.from.patch == 0 {
            self.from.minor().to_string()
        } else {
            self.from.to_string()
        }
    }

    /// The first minor after it.
    pub fn end(&self) -> Minor {
        Minor {
            minor: self.through.minor + 1,
            ..self.through
        }
    }
}

/// Reads the spans of one cell. Only text that the build checked comes here.
pub(super) fn parse(cell: &str) -> Vec<Span> {
    cell.split(',')
        .filter(|text| !text.is_empty())
        .map(span)
        .collect()
}

fn span(text: &str) -> Span {
    let (from, through) = text.split_once('-').expect("a span has two ends");
    Span {
        from: beginning(from),
        through: through.parse().expect("a span ends with a minor"),
    }
}

fn beginning(text: &str) -> Version {
    text.parse::<Minor>()
        .map(|Minor { major, minor }| Version {
            major,
            minor,
            patch: 0,
        })
        .or_else(|_| text.parse::<Version>())
        .expect("a span begins with a minor or a release")
}
