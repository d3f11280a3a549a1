//! What `fetch` tells of releases and `cache` of what is kept, as text and as JSON of the same shape.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::SystemTime;

use serde::Serialize;

pub(crate) use super::progress::size;
use crate::artifact::{Needs, Program, counted};
use crate::bundle::Manifest;
use crate::fetch::{self, Cache, Entry, PinReport};
use crate::image::Image;
use crate::inventory::Inventory;
use crate::lockfile::{Lockfile, PinnedProgram};
use crate::plain;

/// What an inventory needs, pinned and in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Releases {
    /// Each program, and each image after them.
    pub all: Vec<Release>,
}

/// Whether it is a program or an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ware {
    /// A program.
    Program,
    /// An image of containers.
    Image,
}

/// One program or image. Its JSON form is documented in docs/json.md and changes only by additions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Release {
    /// What it is.
    pub kind: Ware,
    /// Its name; of an image the whole, with tag and digest.
    pub name: String,
    /// Its version; of an image its tag, if it has one.
    pub version: String,
    /// What it runs on.
    pub arch: String,
    /// Its size in bytes; of an image that of all its parts, as a registry keeps them.
    pub size: u64,
    /// The SHA-256 of the program itself; of an image that of what its name leads to.
    pub sha256: String,
    /// The word of the lockfile for what its pin rests on.
    pub trust: &'static str,
    /// The same in a sentence.
    pub rests_on: String,
    /// The address it, or its archive, came from, or would come from.
    pub url: String,
    /// The archive it is taken out of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
    /// Whether it was pinned just now, and what was pinned before.
    pub pinned: Pinning,
}

/// What became of a pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pinning {
    /// It was pinned already, and is as it was.
    Kept,
    /// It is pinned for the first time.
    New,
    /// Other bytes were pinned before.
    Changed,
}

impl Releases {
    /// What a lockfile pins of what is needed, and a report says was just done.
    pub fn of(
        inventory: &Inventory,
        needs: &Needs,
        lockfile: &Lockfile,
        cache: &Cache,
        report: &PinReport,
    ) -> Self {
        let release = |program: &Program| {
            let (artifact, pinned) = lockfile.artifact(program)?;
            let pin = lockfile.pin(&artifact)?;
            let trust = fetch::trust(inventory, &artifact, pin);
            let noted = cache.about(pinned.digest).and_then(|about| about.from);
            let address = || fetch::address(inventory, &artifact).unwrap_or_default();
            let done = (report.pinned.iter()).find(|pinned| pinned.artifact == artifact);
            Some(Release {
                kind: Ware::Program,
                name: program.name.clone(),
                version: program.version.to_string(),
                arch: program.arch.to_string(),
                size: pinned.size,
                sha256: pinned.digest.to_string(),
                trust: trust.name(),
                rests_on: trust.meaning().to_owned(),
                url: noted.unwrap_or_else(address),
                archive: artifact
                    .is_archive()
                    .then(|| artifact.file_name().to_owned()),
                pinned: match done.map(|pinned| pinned.before) {
                    None => Pinning::Kept,
                    Some(before) if before.is_none_or(|before| before == pin.digest) => {
                        Pinning::New
                    }
                    Some(_) => Pinning::Changed,
                },
            })
        };
        let image = |image: &Image| {
            let pin = lockfile.image(image)?;
            let trust = fetch::image_trust(inventory, image, pin);
            let noted = cache.about(pin.manifest.digest);
            let address = || fetch::image_address(inventory, image).unwrap_or_default();
            let done = report.images.iter().find(|(pinned, _)| pinned == image);
            Some(Release {
                kind: Ware::Image,
                name: image.reference.to_string(),
                version: image.reference.tag.clone().unwrap_or_default(),
                arch: image.arch.to_string(),
                size: pin.size(),
                sha256: pin.named.to_string(),
                trust: trust.name(),
                rests_on: trust.meaning().to_owned(),
                url: noted.and_then(|about| about.from).unwrap_or_else(address),
                archive: None,
                pinned: match done.map(|(_, before)| before) {
                    None => Pinning::Kept,
                    Some(None) => Pinning::New,
                    Some(Some(before)) if before.named == pin.named => Pinning::New,
                    Some(Some(_)) => Pinning::Changed,
                },
            })
        };
        let programs = needs.programs.iter().filter_map(release);
        let images = needs.images.iter().filter_map(image);
        Self {
            all: programs.chain(images).collect(),
        }
    }

    fn of_kind(&self, kind: Ware) -> impl Iterator<Item = &Release> {
        self.all.iter().filter(move |release| release.kind == kind)
    }

    /// As a person reads it: a table of programs, one of images, and what their last column means.
    pub fn text(&self) -> String {
        let rows = |release: &Release| {
            let pinned = match release.pinned {
                Pinning::Kept => "",
                Pinning::New => "new",
                Pinning::Changed => "changed",
            };
            let mut row = vec![
                release.name.clone(),
                release.version.clone(),
                release.arch.clone(),
                size(release.size),
                release.sha256[..12].to_owned(),
                release.trust.to_owned(),
                pinned.to_owned(),
            ];
            if release.kind == Ware::Image {
                // Its name says it.
                row.remove(1);
            }
            row
        };
        let head = ["program", "version", "arch", "size", "sha256", "trust", ""];
        let mut text = table(&head, self.of_kind(Ware::Program).map(rows));
        let mut images = self.of_kind(Ware::Image).peekable();
        if images.peek().is_some() {
            let head = ["image", "arch", "size", "sha256", "trust", ""];
            text.push('\n');
            text += &table(&head, images.map(rows));
        }
        let mut meanings = BTreeMap::new();
        for release in &self.all {
            meanings.insert(release.trust, release.rests_on.as_str());
        }
        for (trust, meaning) in meanings {
            // Writing to a String cannot fail.
            _ = writeln!(text, "{trust}: checked against {meaning}");
        }
        text
    }

    /// In one line.
    pub fn summary(&self) -> String {
        // A lockfile may say any number.
        let sizes = self.all.iter().map(|release| release.size);
        let whole = size(sizes.fold(0, u64::saturating_add));
        let count = |kind| self.of_kind(kind).count();
        let count = counted(count(Ware::Program), count(Ware::Image));
        format!("{count} pinned and in the cache, {whole}")
    }
}

/// One entry of the cache. Its JSON form is documented in docs/json.md and changes only by additions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CacheEntry {
    /// Its SHA-256.
    pub sha256: String,
    /// The program, or the image that it is a part of, if that was noted.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// What it runs on.
    pub arch: Option<String>,
    /// The address it came from.
    pub url: Option<String>,
    /// The size in bytes of the program.
    pub size: u64,
    /// The size in bytes of what was compressed of it for nodes.
    pub compressed: u64,
    /// Days since a command used it last.
    pub unused_days: u64,
}

impl CacheEntry {
    /// An entry as it is told at a time.
    pub fn of(entry: &Entry, now: SystemTime) -> Self {
        let about = entry.about.as_ref();
        let unused = now.duration_since(entry.used).unwrap_or_default();
        Self {
            sha256: entry.digest.to_string(),
            name: about.map(|about| about.name.clone()),
            version: about.and_then(|about| Some(about.version?.to_string())),
            arch: about.map(|about| about.arch.to_string()),
            url: about.and_then(|about| about.from.clone()),
            size: entry.size,
            compressed: entry.compressed,
            unused_days: unused.as_secs() / (24 * 60 * 60),
        }
    }
}

/// Entries of the cache as a person reads them.
pub fn entries_text(entries: &[CacheEntry]) -> String {
    let rows = entries.iter().map(|entry| {
        let known = |word: &Option<String>| word.clone().unwrap_or_else(|| "?".to_owned());
        vec![
            known(&entry.name),
            known(&entry.version),
            known(&entry.arch),
            size(entry.size),
            size(entry.compressed),
            match entry.unused_days {
                0 => "today".to_owned(),
                1 => "yesterday".to_owned(),
                days => format!("{} ago", plain::count(days, "day")),
            },
            entry.sha256[..12].to_owned(),
        ]
    });
    let head = [
        "program",
        "version",
        "arch",
        "size",
        "compressed",
        "used",
        "sha256",
    ];
    table(&head, rows)
}

/// One program or image of a bundle. Its JSON form is documented in docs/json.md and changes only by
/// additions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bundled {
    /// What it is.
    pub kind: Ware,
    /// Its name; of an image the whole, with tag and digest.
    pub name: String,
    /// Its version; of an image its tag, if it has one.
    pub version: String,
    /// What it runs on.
    pub arch: String,
    /// Its size in bytes; of an image that of all its parts.
    pub size: u64,
    /// The SHA-256 of the program itself; of an image that of its manifest for the architecture.
    pub sha256: String,
}

impl Bundled {
    /// The programs and images of a bundle.
    pub fn all(manifest: &Manifest) -> Vec<Self> {
        let bundled = |(program, pinned): (&Program, &PinnedProgram)| Self {
            kind: Ware::Program,
            name: program.name.clone(),
            version: program.version.to_string(),
            arch: program.arch.to_string(),
            size: pinned.size,
            sha256: pinned.digest.to_string(),
        };
        let image = |(image, parts): (&Image, &Vec<PinnedProgram>)| {
            let sizes = parts.iter().map(|part| part.size);
            let digest = parts.first().map(|manifest| manifest.digest.to_string());
            Self {
                kind: Ware::Image,
                name: image.reference.to_string(),
                version: image.reference.tag.clone().unwrap_or_default(),
                arch: image.arch.to_string(),
                size: sizes.fold(0, u64::saturating_add),
                sha256: digest.unwrap_or_default(),
            }
        };
        let programs = manifest.programs.iter().map(bundled);
        programs.chain(manifest.images.iter().map(image)).collect()
    }
}

/// What a bundle holds as a person reads it.
pub fn bundled_text(bundled: &[Bundled]) -> String {
    let row = |it: &Bundled| {
        let mut row = vec![
            it.name.clone(),
            it.version.clone(),
            it.arch.clone(),
            size(it.size),
            it.sha256.chars().take(12).collect(),
        ];
        if it.kind == Ware::Image {
            row.remove(1);
        }
        row
    };
    let (images, programs): (Vec<_>, Vec<_>) =
        bundled.iter().partition(|it| it.kind == Ware::Image);
    let head = ["program", "version", "arch", "size", "sha256"];
    let mut text = table(&head, programs.iter().map(|it| row(it)));
    if !images.is_empty() {
        let head = ["image", "arch", "size", "sha256"];
        text = format!("{text}\n{}", table(&head, images.iter().map(|it| row(it))));
    }
    let sizes = bundled.iter().map(|it| it.size);
    let whole = size(sizes.fold(0, u64::saturating_add));
    let count = counted(programs.len(), images.len());
    format!("{text}{count}, {whole}; every byte of the bundle is right\n")
}

/// Columns as wide as what is in them.
fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let head = head.iter().map(|&word| word.to_owned()).collect();
    let cells = |row: Vec<String>| {
        row.iter()
            .map(|cell| plain::line(cell).into_owned())
            .collect()
    };
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).map(cells).collect();
    let columns = rows[0].len();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<_> = (0..columns)
        .map(|column| width(column).unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths);
        let line: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lockfile::Trust;

    fn release(name: &str, trust: Trust, pinned: Pinning) -> Release {
        Release {
            kind: Ware::Program,
            name: name.to_owned(),
            version: "1.32.3".to_owned(),
            arch: "arm64".to_owned(),
            size: 92_000_000,
            sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".to_owned(),
            trust: trust.name(),
            rests_on: trust.meaning().to_owned(),
            url: "https://dl.k8s.io/x".to_owned(),
            archive: None,
            pinned,
        }
    }

    #[test]
    fn what_each_pin_rests_on_is_told_in_plain_words() {
        let releases = Releases {
            all: vec![
                release("kube-apiserver", Trust::BuiltIn, Pinning::Kept),
                release("kubectl", Trust::Published, Pinning::New),
            ],
        };
        assert_eq!(
            releases.text(),
            "\
program         version  arch   size     sha256        trust
kube-apiserver  1.32.3   arm64  92.0 MB  e3b0c44298fc  built-in
kubectl         1.32.3   arm64  92.0 MB  e3b0c44298fc  published  new
built-in: checked against the digest built into kinstall
published: checked against the checksum published over https
"
        );
        let summary = "2 programs pinned and in the cache, 184.0 MB";
        assert_eq!(releases.summary(), summary);
    }

    #[test]
    fn an_entry_that_nothing_is_known_of_is_told_by_its_digest() {
        let entry = CacheEntry {
            sha256: "ab".repeat(32),
            name: None,
            version: None,
            arch: None,
            url: None,
            size: 7,
            compressed: 0,
            unused_days: 1,
        };
        assert_eq!(
            entries_text(&[entry]),
            "\
program  version  arch  size  compressed  used       sha256
?        ?        ?     7 B   0 B         yesterday  abababababab
"
        );
    }
}
