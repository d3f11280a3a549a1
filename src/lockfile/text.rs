//! The text of `kinstall.lock`: what is written, and what is refused when it is read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{ARTIFACT_BYTES_MAX, Pin, PinnedProgram, Trust, earlier};
use crate::arch::Arch;
use crate::artifact::{Artifact, Origin};
use crate::digest::Digest;
use crate::version::Version;

/// A lockfile may be this long, in bytes: an artifact takes about 300.
pub(crate) const BYTES_MAX: u64 = 4 << 20;
/// It may pin so many artifacts, and programs in them: an inventory needs some twenty.
const PINS_MAX: usize = 10_000;
/// A path in it may have so many bytes (`PATH_MAX` of Linux).
const PATH_BYTES_MAX: usize = 4096;
/// So much is shown of what is wrong with it: it may quote any of the file.
const MESSAGE_CHARS_MAX: usize = 160;

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
    #[error("line {line}, column {column}: {message}")]
    Text {
        /// The line, counted from 1.
        line: usize,
        /// The character in it, counted from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// It is longer than any lockfile.
    #[error("it has more than {BYTES_MAX} bytes or {PINS_MAX} pins")]
    TooLong,
    /// A later kinstall wrote it.
    #[error("the file is of format {found}, and this kinstall knows format {FORMAT}")]
    Format {
        /// The format it says it has.
        found: u32,
    },
    /// Two blocks pin the same artifact: a merge that went wrong.
    #[error("line {line}: `{path}` is pinned twice")]
    Twice {
        /// The line of the second one, counted from 1.
        line: usize,
        /// The artifact's path, or the name of a program.
        path: String,
    },
}

impl Malformed {
    /// What the user can do.
    pub const fn way_out(&self) -> &'static str {
        match self {
            Self::Text { .. } | Self::TooLong => {
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
    path: Spanned<String>,
    version: Version,
    arch: Arch,
    size: Size,
    sha256: Digest,
    trust: TrustText,
    #[serde(default, rename = "program", skip_serializing_if = "Vec::is_empty")]
    programs: Vec<ProgramText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProgramText {
    name: Spanned<String>,
    size: Size,
    sha256: Digest,
}

/// A size that something which is pinned may have.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(into = "u64", try_from = "u64")]
struct Size(u64);

impl TryFrom<u64> for Size {
    type Error = String;

    fn try_from(size: u64) -> Result<Self, String> {
        if (1..=ARTIFACT_BYTES_MAX).contains(&size) {
            Ok(Self(size))
        } else {
            Err(format!(
                "a size is from 1 to {ARTIFACT_BYTES_MAX} bytes, not {size}"
            ))
        }
    }
}

impl From<Size> for u64 {
    fn from(size: Size) -> Self {
        size.0
    }
}

/// Who publishes an artifact, by name.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
struct OriginText(Origin);

impl From<OriginText> for String {
    fn from(OriginText(origin): OriginText) -> Self {
        origin.name().to_owned()
    }
}

impl TryFrom<String> for OriginText {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let known = Origin::all().find(|origin| origin.name() == name);
        known.map(Self).ok_or_else(|| {
            let names: Vec<_> = Origin::all().map(|it| format!("`{}`", it.name())).collect();
            format!(
                "unknown source `{name}`, expected one of {}",
                names.join(", ")
            )
        })
    }
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
        name: Spanned::new(0..0, name.clone()),
        size: Size(member.size),
        sha256: member.digest,
    };
    ArtifactText {
        source: OriginText(artifact.origin),
        path: Spanned::new(0..0, artifact.path.clone()),
        version: artifact.version,
        arch: artifact.arch,
        size: Size(pin.size),
        sha256: pin.digest,
        trust: match pin.trust {
            Trust::BuiltIn => TrustText::BuiltIn,
            Trust::Published => TrustText::Published,
            Trust::Mirror | Trust::Claimed => TrustText::Mirror,
            Trust::Bundle => TrustText::Bundle,
            Trust::Yours => TrustText::Yours,
        },
        programs: pin.members.iter().map(program).collect(),
    }
}

pub(super) fn parse(text: &str) -> Result<BTreeMap<Artifact, Pin>, Malformed> {
    if text.len() as u64 > BYTES_MAX {
        return Err(Malformed::TooLong);
    }
    let malformed = |error: toml::de::Error| {
        let at = error.span().map_or(0, |span| span.start);
        refused(text, at, error.message())
    };
    // The format first: a later one may have words that this one would only call unknown.
    let FormatText { format } = toml::from_str(text).map_err(malformed)?;
    if format != FORMAT {
        return Err(Malformed::Format { found: format });
    }
    let read: LockfileText = toml::from_str(text).map_err(malformed)?;
    let programs = read.artifacts.iter().map(|block| 1 + block.programs.len());
    if programs.sum::<usize>() > PINS_MAX {
        return Err(Malformed::TooLong);
    }
    let mut pins = BTreeMap::new();
    for block in read.artifacts {
        let at = block.path.span().start;
        let (artifact, pin) = pinned(text, block)?;
        for (artifact, pin) in earlier::read(artifact, pin) {
            let path = artifact.path.clone();
            if pins.insert(artifact, pin).is_some() {
                return Err(twice(text, at, path));
            }
        }
    }
    Ok(pins)
}

fn pinned(text: &str, block: ArtifactText) -> Result<(Artifact, Pin), Malformed> {
    check_path(text, block.source, &block.path)?;
    let mut members = BTreeMap::new();
    for program in block.programs {
        let member = PinnedProgram {
            digest: program.sha256,
            size: program.size.0,
        };
        let at = program.name.span().start;
        let name = program.name.into_inner();
        if !is_name(&name) {
            return Err(refused(
                text,
                at,
                &format!("{name:?} is no name of a program"),
            ));
        }
        if members.insert(name.clone(), member).is_some() {
            return Err(twice(text, at, name));
        }
    }
    let artifact = Artifact {
        origin: block.source.0,
        version: block.version,
        arch: block.arch,
        path: block.path.into_inner(),
    };
    let pin = Pin {
        size: block.size.0,
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

/// Refuses paths that no kinstall writes. That of the user's own build is the inventory's, which may lead
/// anywhere; upstream's lie below a base URL.
fn check_path(text: &str, source: OriginText, path: &Spanned<String>) -> Result<(), Malformed> {
    let plain = |part: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._+".contains(&byte);
        !part.is_empty() && part.bytes().all(allowed) && !part.starts_with('.')
    };
    let value = path.get_ref();
    let right = if source.0 == Origin::Own {
        !value.is_empty() && !value.chars().any(char::is_control)
    } else {
        value.split('/').all(plain)
    };
    if right && value.len() <= PATH_BYTES_MAX {
        return Ok(());
    }
    let message = format!("{value:?} is no path that `kinstall fetch` writes");
    Err(refused(text, path.span().start, &message))
}

/// Whether a text is the name of a program, which is a file name on nodes.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=60).contains(&text.len()) && text.bytes().all(plain)
}

fn refused(text: &str, at: usize, message: &str) -> Malformed {
    let (line, column) = place(text, at);
    let mut message = message.trim().replace('\n', ": ");
    if let Some((cut, _)) = message.char_indices().nth(MESSAGE_CHARS_MAX) {
        message.truncate(cut);
        message.push('…');
    }
    Malformed::Text {
        line,
        column,
        message,
    }
}

fn twice(text: &str, at: usize, path: String) -> Malformed {
    let (line, _) = place(text, at);
    Malformed::Twice { line, path }
}

/// The line and the character of a byte, counted from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .map_or(0, |it| it.chars().count())
        + 1;
    (line, column)
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
        check("<<<<<<< HEAD\nformat = 1\n", "line 1, column 9: ");
        check(
            &format!(
                "format = 1\n{}",
                artifact("[[artifact.program]]\nname = \"../a\"\nsize = 1\nsha256 = \"D\"")
                    .replace("\"D\"", &format!("\"{DIGEST}\""))
            ),
            "line 11, column 8: \"../a\" is no name of a program",
        );
    }

    #[test]
    fn what_no_kinstall_writes_is_refused_with_its_place() {
        let refuse = |from: &str, to: &str, message: &str| {
            let text = format!("format = 1\n{}", artifact(""));
            assert!(text.contains(from));
            check(&text.replace(from, to), message);
        };
        for size in ["0", "1073741825", "9223372036854775807"] {
            let told =
                format!("line 7, column 8: a size is from 1 to 1073741824 bytes, not {size}");
            refuse("size = 5", &format!("size = {size}"), &told);
        }
        refuse("size = 5", "size = -1", "line 7, column 8: invalid value");
        refuse(
            "size = 5",
            "size = 18446744073709551615",
            "line 7, column 8: ",
        );
        refuse("size = 5", "size = 1e3", "line 7, column 8: ");
        let paths = [
            "../p",
            "/p",
            "a/../p",
            "a//p",
            "",
            "a/./p",
            ".p",
            "a\\\\b",
            "\\u001b]0;x\\u0007p",
            "\\u202ep",
            "a b",
        ];
        for path in paths {
            let path = format!("path = \"{path}\"");
            refuse(
                "path = \"p\"",
                &path,
                "is no path that `kinstall fetch` writes",
            );
        }
        let long = format!("path = \"{}\"", "p".repeat(5000));
        refuse("path = \"p\"", &long, "line 4, column 8: \"ppp");
        for digest in ["../".repeat(21).as_str(), &DIGEST[1..], ""] {
            refuse(DIGEST, digest, "line 8, column 10: ");
        }
        refuse("1.32.3", "99999999999999999999.1.1", "line 5, column 11: ");
        refuse(
            "arch = \"arm64\"",
            "arch = \"\\u001b[2J\"",
            "line 6, column 8: ",
        );
        refuse("format = 1", "format = 1\n\"\\u001b\" = 1", "line 2");
    }

    #[test]
    fn what_a_user_s_own_path_may_be_is_the_inventory_s_matter() {
        for path in ["../build/{arch}", "/srv/own build/etcd", "ä"] {
            let text = artifact("").replace("\"p\"", &format!("\"{path}\""));
            let text = format!("format = 1\n{}", text.replace("\"kubernetes\"", "\"own\""));
            assert!(parse(&text).is_ok(), "{path}");
        }
    }

    #[test]
    fn digests_in_upper_case_are_the_same() {
        let text = format!("format = 1\n{}", artifact(""));
        let upper = text.replace(DIGEST, &DIGEST.to_uppercase());
        assert_eq!(parse(&upper), parse(&text));
    }

    #[test]
    fn neither_size_nor_number_nor_depth_is_without_limit() {
        let many: String = (0..=PINS_MAX)
            .map(|number| artifact("").replace("\"p\"", &format!("\"p{number}\"")))
            .collect();
        check(
            &format!("format = 1\n{many}"),
            "more than 4194304 bytes or 10000 pins",
        );
        let short = "[[artifact]]\n".repeat(300_000);
        check(&format!("format = 1\n{short}"), "");
        let huge = format!("format = 1\n# {}", "x".repeat(4 << 20));
        check(&huge, "more than 4194304 bytes");
        for deep in ["[", "{a=", "\n[a."] {
            let error = parse(&format!("format = 1\nx = {}", deep.repeat(100_000)));
            let told = error.unwrap_err().to_string();
            assert!(told.starts_with("line ") && told.len() < 300, "{told}");
        }
        let error = parse(&format!("format = 1\n{} = 1", "k".repeat(100_000))).unwrap_err();
        assert!(error.to_string().len() < 700, "{error}");
    }
}
