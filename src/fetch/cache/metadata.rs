//! What an entry of the cache is, kept beside it for people: nothing is decided by it.

use std::time::SystemTime;

use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::Cache;
use crate::arch::Arch;
use crate::artifact::Program;
use crate::digest::Digest;
use crate::image::Image;
use crate::version::Version;

/// What an entry is, as it was when it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// The program, or the image that it is a part of.
    pub name: String,
    /// Its version; none of an image, whose name says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// What it runs on.
    pub arch: Arch,
    /// The address that it, or the archive it was in, came from; a file for the user's own.
    pub from: Option<String>,
}

impl Metadata {
    /// A program that came from somewhere.
    pub fn program(program: &Program, from: Option<String>) -> Self {
        Self {
            name: program.name.clone(),
            version: Some(program.version),
            arch: program.arch,
            from,
        }
    }

    /// A part of an image that came from somewhere.
    pub fn image(image: &Image, from: Option<String>) -> Self {
        Self {
            name: image.reference.to_string(),
            version: None,
            arch: image.arch,
            from,
        }
    }
}

impl Cache {
    /// What an entry is, if that was noted.
    pub fn about(&self, digest: Digest) -> Option<Metadata> {
        let text = fs::read_to_string(self.about_path(digest)).ok()?;
        toml::from_str(&text).ok()
    }

    /// Notes what an entry is. Without the note it is only known by its digest.
    pub(crate) fn note(&self, digest: Digest, about: &Metadata) {
        if let Ok(text) = toml::to_string(about) {
            let _ = fs::write(self.about_path(digest), text);
        }
    }

    /// Notes that an entry was used just now.
    pub(in crate::fetch) fn touch(&self, digest: Digest) {
        let now = std::fs::FileTimes::new().set_modified(SystemTime::now());
        let file = fs::OpenOptions::new()
            .append(true)
            .open(self.about_path(digest));
        let _ = file.and_then(|file| file.file().set_times(now));
    }

    pub(super) fn about_path(&self, digest: Digest) -> std::path::PathBuf {
        self.directory.join("about").join(digest.to_string())
    }
}
