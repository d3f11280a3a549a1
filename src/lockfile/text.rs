//! The text of `kinstall.lock`: what is written, and what is refused when it is read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Pin, PinnedProgram, Trust};
use crate::arch::Arch;
use crate::artifact::{Artifact, Origin};
use crate::digest::Digest;
use crate::version::Version;

/// The format this kinstall writes and reads.
const FORMAT: u32 = 1;

const HEADER: &str = "\
# Made by `kinstall fetch`; commit it. It pins every byte that is downloaded, whatever mirror it
# comes from. `kinstall fetch --update` pins anew; nothing else changes a pin.
";

/// The text is no lockfile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not TOML, or not of the expected shape.
    #[error("{message}")]
    Text {
        /// What the parser says, with the place.
        message: String,
    },
    /// A later kinstall wrote it.
    #[error("the file is of format {found}, and this kinstall knows format {FORMAT}")]
    Format {
        /// The format it says it has.
        found: u32,
    },
    /// Two blocks pin the same artifact: a merge that went wrong.
    #[error("`{path}` is pinned twice")]
    Twice {
        /// The artifact's path.
        path: String,
    },
}

impl Malformed {
    /// What the user can do.
    pub const fn way_out(&self) -> &'static str {
        match self {
            Self::Text { .. } => {
                "take the file back from version control, or remove it and run `kinstall fetch` \
                 to pin anew"
            }
            Self::Format { .. } => "use the kinstall that wrote it, or a later one",
            Self::Twice { .. } => "keep one of the two blocks; `git log` tells where each is from",
        }
    }
}

#[derive(Deserialize)]
struct FormatText {
    format: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockfileText {
    format: u32,
    #[serde(default, rename = "artifact", skip_serializing_if = "Vec::is_empty")]
    artifacts: Vec<ArtifactText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ArtifactText {
    source: OriginText,
    path: String,
    version: Version,
    arch: Arch,
    size: u64,
    sha256: Digest,
    trust: TrustText,
    #[serde(default, rename = "program", skip_serializing_if = "Vec::is_empty")]
    programs: Vec<ProgramText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProgramText {
    name: String,
    size: u64,
    sha256: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum OriginText {
    Kubernetes,
    Etcd,
    Own,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum TrustText {
    BuiltIn,
    Published,
    Mirror,
    Bundle,
    Yours,
}

pub(super) fn print(pins: &BTreeMap<Artifact, Pin>) -> String {
    let artifacts = pins.iter().map(|(artifact, pin)| block(artifact, pin));
    let text = LockfileText {
        format: FORMAT,
        artifacts: artifacts.collect(),
    };
    let body = toml::to_string(&text).expect("strings, numbers and tables are TOML");
    format!("{HEADER}{body}")
}

fn block(artifact: &Artifact, pin: &Pin) -> ArtifactText {
    let program = |(name, member): (&String, &PinnedProgram)| ProgramText {
        name: name.clone(),
        size: member.size,
        sha256: member.digest,
    };
    ArtifactText {
        source: match artifact.origin {
            Origin::Kubernetes => OriginText::Kubernetes,
            Origin::Etcd => OriginText::Etcd,
            Origin::Own => OriginText::Own,
        },
        path: artifact.path.clone(),
        version: artifact.version,
        arch: artifact.arch,
        size: pin.size,
        sha256: pin.digest,
        trust: match pin.trust {
            Trust::BuiltIn => TrustText::BuiltIn,
            Trust::Published => TrustText::Published,
            Trust::Mirror => TrustText::Mirror,
            Trust::Bundle => TrustText::Bundle,
            Trust::Yours => TrustText::Yours,
        },
        programs: pin.members.iter().map(program).collect(),
    }
}

pub(super) fn parse(text: &str) -> Result<BTreeMap<Artifact, Pin>, Malformed> {
    let malformed = |error: toml::de::Error| Malformed::Text {
        message: error.to_string().trim_end().to_owned(),
    };
    // The format first: a later one may have words that this one would only call unknown.
    let FormatText { format } = toml::from_str(text).map_err(malformed)?;
    if format != FORMAT {
        return Err(Malformed::Format { found: format });
    }
    let read: LockfileText = toml::from_str(text).map_err(malformed)?;
    let mut pins = BTreeMap::new();
    for block in read.artifacts {
        let (artifact, pin) = pinned(block)?;
        if pins.contains_key(&artifact) {
            return Err(Malformed::Twice {
                path: artifact.path,
            });
        }
        pins.insert(artifact, pin);
    }
    Ok(pins)
}

fn pinned(block: ArtifactText) -> Result<(Artifact, Pin), Malformed> {
    let mut members = BTreeMap::new();
    for program in block.programs {
        let member = PinnedProgram {
            digest: program.sha256,
            size: program.size,
        };
        if members.insert(program.name, member).is_some() {
            return Err(Malformed::Twice { path: block.path });
        }
    }
    let artifact = Artifact {
        origin: match block.source {
            OriginText::Kubernetes => Origin::Kubernetes,
            OriginText::Etcd => Origin::Etcd,
            OriginText::Own => Origin::Own,
        },
        version: block.version,
        arch: block.arch,
        path: block.path,
    };
    let pin = Pin {
        size: block.size,
        digest: block.sha256,
        trust: match block.trust {
            TrustText::BuiltIn => Trust::BuiltIn,
            TrustText::Published => Trust::Published,
            TrustText::Mirror => Trust::Mirror,
            TrustText::Bundle => Trust::Bundle,
            TrustText::Yours => Trust::Yours,
        },
        members,
    };
    Ok((artifact, pin))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn artifact(word: &str) -> String {
        format!(
            "[[artifact]]\nsource = \"kubernetes\"\npath = \"p\"\nversion = \"1.32.3\"\n\
             arch = \"arm64\"\nsize = 5\nsha256 = \"{DIGEST}\"\ntrust = \"published\"\n{word}\n"
        )
    }

    #[test]
    fn the_text_reads_well_in_a_diff() {
        let text = format!("format = 1\n\n{}", artifact("").trim_end());
        let pins = parse(&text).unwrap();
        assert_eq!(print(&pins), format!("{HEADER}{text}\n"));
    }

    #[track_caller]
    fn check(text: &str, message: &str) {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn what_is_no_lockfile_is_refused() {
        check("", "missing field `format`");
        check("format = 2\nwhatever = 1\n", "format 2");
        check(
            &format!("format = 1\n{}", artifact("colour = 1")),
            "unknown field `colour`",
        );
        check(
            &format!("format = 1\n{}{}", artifact(""), artifact("")),
            "`p` is pinned twice",
        );
        check(
            &format!("format = 1\n{}", artifact("").replace(DIGEST, "abc")),
            "not a SHA-256 digest",
        );
        check("<<<<<<< HEAD\nformat = 1\n", "line 1");
    }
}
