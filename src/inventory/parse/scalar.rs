//! Words that must survive a shell, a unit file, a certificate or a label.

use std::path::PathBuf;

use crate::inventory::name::{DomainName, NotAName};
use crate::inventory::node::{Effect, Taint};
use crate::inventory::pairing;
use crate::inventory::table::{At, Found, Value, misleads, refuse, shown};
use crate::version::Version;

/// The most bytes a flag or a variable of the environment may hold: far less than what Linux lets
/// one argument of a program be, far more than any sensible value.
const VALUE_BYTES_MAX: usize = 8192;

/// The name of a cluster or a node.
pub(super) fn name<T>(value: &Value<'_>, found: &mut Found) -> Option<At<T>>
where
    T: std::str::FromStr<Err = NotAName>,
{
    let text = value.text(found)?;
    match text.parse() {
        Ok(name) => Some(value.at(name)),
        Err(error) => {
            let near: String = text.trim().to_lowercase().replace(['_', ' ', '.'], "-");
            let help = near.parse::<T>().is_ok().then(|| format!("write `{near}`"));
            let message = format!("`{}` is not a {}", shown(text), error.kind);
            let rule = format!("a {} is {}", error.kind, error.rule);
            let problem = value.problem("not a name", message).help(rule);
            refuse(found, problem.maybe_help(help))
        }
    }
}

/// A version of Kubernetes that kinstall knows.
pub(super) fn kubernetes(value: &Value<'_>, found: &mut Found) -> Option<At<Version>> {
    let version = version(value, "1.36.3", found)?;
    let known = version.value.major == 1 && pairing::KUBERNETES.contains(&version.value.minor);
    let (first, last) = (pairing::KUBERNETES.start(), pairing::KUBERNETES.end());
    let lines = format!("1.{first} to 1.{last}");
    within(version, known, "Kubernetes", &lines, value, found)
}

/// A version of etcd that kinstall knows.
pub(super) fn etcd(value: &Value<'_>, found: &mut Found) -> Option<At<Version>> {
    let version = version(value, "3.5.21", found)?;
    let known = version.value.major == 3 && pairing::ETCD.contains(&version.value.minor);
    let (first, last) = (pairing::ETCD.start(), pairing::ETCD.end());
    let lines = format!("3.{first} to 3.{last}");
    within(version, known, "etcd", &lines, value, found)
}

/// A version of what goes with Kubernetes: which ones do is not known here.
pub(super) fn release(value: &Value<'_>, found: &mut Found) -> Option<At<Version>> {
    version(value, "1.7.27", found)
}

fn version(value: &Value<'_>, example: &str, found: &mut Found) -> Option<At<Version>> {
    let Some(text) = value.as_text() else {
        let help = format!("write the three numbers of a release, in quotes: `\"{example}\"`");
        return refuse(found, value.mismatch("a string").help(help));
    };
    if let Ok(version) = text.parse() {
        return Some(value.at(version));
    }
    let bare = text.trim().trim_start_matches(['v', '=']);
    let help = if bare.parse::<Version>().is_ok() {
        format!("write `{bare}`")
    } else if bare.parse::<crate::version::Minor>().is_ok() {
        format!("the third number is missing: write for example `{bare}.3`")
    } else {
        format!(
            "write the three numbers of a release, as `{example}`; pre-releases are not installed"
        )
    };
    let message = format!("`{}` is not a version", shown(text));
    refuse(found, value.problem("not a version", message).help(help))
}

fn within(
    version: At<Version>,
    known: bool,
    product: &str,
    lines: &str,
    value: &Value<'_>,
    found: &mut Found,
) -> Option<At<Version>> {
    if known {
        return Some(version);
    }
    let message = format!("{product} {} is not one this kinstall knows", version.value);
    let help = format!("it knows {product} {lines}");
    refuse(found, value.problem("unknown version", message).help(help))
}

/// A path on the operator's machine.
pub(super) fn path(value: &Value<'_>, found: &mut Found) -> Option<At<String>> {
    let text = value.text(found)?;
    let refusal = if text.is_empty() {
        Some((
            "is empty",
            "write a path; a relative one starts from the inventory",
        ))
    } else if text.chars().any(misleads) {
        Some((
            "holds a control character",
            "paths of visible characters are possible",
        ))
    } else if text.starts_with('~') {
        let help = "write it from `/`, or from the inventory's directory: no shell expands it";
        Some(("begins with `~`", help))
    } else {
        None
    };
    match refusal {
        None => Some(value.at(text.to_owned())),
        Some((fault, help)) => {
            let message = format!("the path in `{}` {fault}", value.key);
            refuse(found, value.problem(fault, message).help(help))
        }
    }
}

/// The path of a build of the user's own, where `{arch}` stands for the architecture.
pub(super) fn build_path(value: &Value<'_>, found: &mut Found) -> Option<At<String>> {
    let path = path(value, found)?;
    if path.value.replace("{arch}", "").contains(['{', '}']) {
        let message = format!(
            "the path in `{}` has braces around another word than `arch`",
            value.key
        );
        let help = "`{arch}` stands for the node's architecture: `builds/{arch}/etcd`";
        return refuse(
            found,
            value.problem("unknown word in braces", message).help(help),
        );
    }
    Some(path)
}

/// A path as a path.
pub(super) fn local_path(value: &Value<'_>, found: &mut Found) -> Option<At<PathBuf>> {
    path(value, found).map(|path| path.map(PathBuf::from))
}

/// The rule that a kind of word follows.
struct Rule {
    kind: &'static str,
    length_max: usize,
    /// What may begin it.
    first: fn(char) -> bool,
    /// What may stand in it.
    inner: fn(char) -> bool,
    expected: &'static str,
}

impl Rule {
    fn holds(&self, text: &str) -> bool {
        text.len() <= self.length_max
            && text.starts_with(self.first)
            && text.chars().all(self.inner)
    }

    fn read(&self, value: &Value<'_>, found: &mut Found) -> Option<At<String>> {
        let text = value.text(found)?;
        if self.holds(text) {
            return Some(value.at(text.to_owned()));
        }
        let message = format!("`{}` is not {}", shown(text), self.kind);
        refuse(
            found,
            value.problem("not possible", message).help(self.expected),
        )
    }
}

/// A user's name at a node.
pub(super) fn user(value: &Value<'_>, found: &mut Found) -> Option<At<String>> {
    let rule = Rule {
        kind: "a user's name",
        length_max: 64,
        first: |it| it.is_ascii_alphanumeric() || it == '_',
        inner: |it| it.is_ascii_alphanumeric() || "_.-@".contains(it),
        expected: "letters, digits and `_.-@` are possible, a letter, a digit or `_` first",
    };
    rule.read(value, found)
}

/// What ssh is given as a host: a name, an address, or an alias of `ssh_config`.
pub(super) fn ssh_host(value: &Value<'_>, found: &mut Found) -> Option<At<String>> {
    let rule = Rule {
        kind: "a host that ssh can be given",
        length_max: 253,
        first: |it| it.is_ascii_alphanumeric() || "_:".contains(it),
        inner: |it| it.is_ascii_alphanumeric() || "_.-:%".contains(it),
        expected: "write a name, an address or an alias of ssh_config alone: a user goes to \
                   `ssh.user`, a port to `ssh.port`",
    };
    rule.read(value, found)
}

/// An availability zone: a label's value in Kubernetes.
pub(super) fn zone(value: &Value<'_>, found: &mut Found) -> Option<At<String>> {
    let text = value.text(found)?;
    if is_label_value(text) && !text.is_empty() {
        return Some(value.at(text.to_owned()));
    }
    let message = format!("`{}` is not a zone", shown(text));
    refuse(found, value.problem("not a zone", message).help(LABEL_HELP))
}

const LABEL_HELP: &str =
    "at most 63 letters, digits and `-_.` are possible, a letter or a digit first and last";

/// Whether a text can be the value of a label (Kubernetes: "Labels and Selectors").
pub(super) fn is_label_value(text: &str) -> bool {
    let edge = |it: char| it.is_ascii_alphanumeric();
    let inner = |it: char| it.is_ascii_alphanumeric() || "-_.".contains(it);
    text.is_empty()
        || text.len() <= 63
            && text.starts_with(edge)
            && text.ends_with(edge)
            && text.chars().all(inner)
}

/// One label: its key, which is the user's own, and its value.
pub(super) fn label(key: &str, value: &Value<'_>, found: &mut Found) -> Option<(String, String)> {
    let key_valid = is_label_key(key);
    if !key_valid {
        let message = format!("`{}` is not a label's key", shown(key));
        let help = "write a word, as in `disk`, or a domain before it, as in `example.org/disk`";
        found.push(key_problem(value, message).help(help));
    }
    let text = value.text(found)?;
    if !is_label_value(text) {
        let message = format!("`{}` is not a label's value", shown(text));
        found.push(
            value
                .problem("not a label's value", message)
                .help(LABEL_HELP),
        );
        return None;
    }
    key_valid.then(|| (key.to_owned(), text.to_owned()))
}

/// A taint: `key=value:Effect` or `key:Effect`.
pub(super) fn taint(value: &Value<'_>, found: &mut Found) -> Option<Taint> {
    let text = value.text(found)?;
    let taint = (|| {
        let (rest, effect) = text.rsplit_once(':')?;
        let effect = Effect::ALL.into_iter().find(|it| it.name() == effect)?;
        let (key, said) = rest.split_once('=').unwrap_or((rest, ""));
        (is_label_key(key) && is_label_value(said)).then(|| Taint {
            key: key.to_owned(),
            value: said.to_owned(),
            effect,
        })
    })();
    if taint.is_none() {
        let message = format!("`{}` is not a taint", shown(text));
        let help = "write `key=value:NoSchedule` or `key:NoSchedule`; the effect is NoSchedule, \
                    PreferNoSchedule or NoExecute";
        found.push(value.problem("not a taint", message).help(help));
    }
    taint
}

/// Whether Kubernetes takes a text for the key of a label or a taint.
fn is_label_key(key: &str) -> bool {
    let (prefix, word) = match key.split_once('/') {
        Some((prefix, word)) => (Some(prefix), word),
        None => (None, key),
    };
    prefix.is_none_or(|prefix| prefix.parse::<DomainName>().is_ok())
        && !word.is_empty()
        && is_label_value(word)
}

fn key_problem(value: &Value<'_>, message: String) -> crate::inventory::problem::Problem {
    crate::inventory::problem::Problem::new(value.key_span.clone(), "this key", message)
}

/// The name of a flag, at a place.
pub(super) fn flag(name: &str, place: std::ops::Range<usize>, found: &mut Found) -> Option<String> {
    let rule = |name: &str| {
        let inner = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-';
        name.len() <= 128
            && name.starts_with(|it: char| it.is_ascii_alphanumeric())
            && name.chars().all(inner)
    };
    if rule(name) {
        return Some(name.to_owned());
    }
    let bare = name.trim_start_matches('-');
    let (bare, assigned) = bare
        .split_once('=')
        .map_or((bare, None), |(a, b)| (a, Some(b)));
    let bare = bare.to_lowercase().replace('_', "-");
    let help = match assigned {
        _ if !rule(&bare) => "lower-case letters, digits and `-` are possible".to_owned(),
        Some(value) => format!("write `{bare} = \"{}\"`", shown(value)),
        None => format!("write `{bare}`"),
    };
    let message = format!("`{}` is not a flag's name", shown(name));
    let problem = crate::inventory::problem::Problem::new(place, "not a flag's name", message);
    refuse(found, problem.help(help))
}

/// The text of a flag or a variable: one line.
pub(super) fn one_line(text: &str, value: &Value<'_>, found: &mut Found) -> bool {
    let problem = if text.len() > VALUE_BYTES_MAX {
        let message = format!("`{}` holds {} bytes", shown(&value.key), text.len());
        let help = format!("at most {VALUE_BYTES_MAX} are possible: put it into a file");
        value.problem("too long", message).help(help)
    } else if text.chars().any(misleads) {
        let message = format!(
            "`{}` holds a line's end or another control character",
            shown(&value.key)
        );
        let help = "it stands on one line of a unit file: write it without";
        value.problem("not one visible line", message).help(help)
    } else {
        return true;
    };
    found.push(problem);
    false
}

/// The name of a variable of the environment.
pub(super) fn variable(name: &str, value: &Value<'_>, found: &mut Found) -> bool {
    let first = |it: char| it.is_ascii_alphabetic() || it == '_';
    let inner = |it: char| it.is_ascii_alphanumeric() || it == '_';
    let valid = name.len() <= 128 && name.starts_with(first) && name.chars().all(inner);
    if !valid {
        let message = format!("`{}` is not a name of the environment", shown(name));
        let help = "letters, digits and `_` are possible, no digit first";
        found.push(key_problem(value, message).help(help));
    }
    valid
}
