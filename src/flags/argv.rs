//! Takes a command line apart as the programs do: Kubernetes with the pflag library, etcd with
//! Go's own. The two differ in how a boolean takes its value and where flags end.

use super::{table::FlagTable, value::Kind};

/// One piece of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// A flag, by its name without dashes and with `-` for `_`, and the value given to it.
    Flag {
        /// Its name.
        name: String,
        /// Its value, if one was given.
        value: Option<String>,
    },
    /// A word that belongs to no flag. None of the programs takes one.
    Stray(String),
    /// Dashes without a name.
    Malformed(String),
}

/// Takes `argv` (without the program itself) apart.
pub fn parse(program: &str, table: &FlagTable, argv: &[String]) -> Vec<Argument> {
    let go = program == "etcd";
    let mut words = Vec::new();
    let mut rest = argv.iter();
    while let Some(word) = rest.next() {
        let Some(body) = word.strip_prefix('-').filter(|body| !body.is_empty()) else {
            words.push(Argument::Stray(word.clone()));
            if go {
                words.extend(rest.by_ref().cloned().map(Argument::Stray));
            }
            continue;
        };
        if body == "-" {
            words.extend(rest.by_ref().cloned().map(Argument::Stray));
            break;
        }
        let long = body.strip_prefix('-');
        let body = long.unwrap_or(body);
        if body.starts_with(['-', '=']) {
            words.push(Argument::Malformed(word.clone()));
            continue;
        }
        if long.is_none() && !go {
            words.push(shorthand(body, table, &mut rest));
            continue;
        }
        words.push(match body.split_once('=') {
            Some((name, value)) => flag(&normal(name, go), Some(value.to_owned())),
            None => flag(
                &normal(body, go),
                next(table.kind(&normal(body, go)), go, &mut rest),
            ),
        });
    }
    words
}

/// `-v=2`, `-v2` and `-v 2`: pflag's short flags are one letter long, and `v` is the only one
/// with a value here.
fn shorthand(body: &str, table: &FlagTable, rest: &mut std::slice::Iter<'_, String>) -> Argument {
    let mut letters = body.chars();
    let name: String = letters.by_ref().take(1).collect();
    let value = letters.as_str();
    if value.is_empty() {
        let value = next(table.kind(&name), false, rest);
        return flag(&name, value);
    }
    flag(
        &name,
        Some(value.strip_prefix('=').unwrap_or(value).to_owned()),
    )
}

/// The next word, where it is the flag's value. A boolean takes its value only behind `=`. Of a
/// flag without a kind, pflag programs would have stopped already: what does not look like a
/// flag is taken as its value, to spare a second complaint.
fn next(kind: Option<Kind>, go: bool, rest: &mut std::slice::Iter<'_, String>) -> Option<String> {
    let takes = match kind {
        Some(Kind::Any) | None => {
            !go && rest
                .as_slice()
                .first()
                .is_some_and(|word| !word.starts_with('-'))
        }
        Some(kind) => !kind.may_be_bare(),
    };
    takes.then(|| rest.next().cloned()).flatten()
}

/// Kubernetes takes `_` for `-` in the names of flags; etcd does not.
fn normal(name: &str, go: bool) -> String {
    if go {
        name.to_owned()
    } else {
        name.replace('_', "-")
    }
}

fn flag(name: &str, value: Option<String>) -> Argument {
    Argument::Flag {
        name: name.to_owned(),
        value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(program: &str, argv: &str, expected: &[&str]) {
        let argv: Vec<String> = argv.split_whitespace().map(str::to_owned).collect();
        let table = FlagTable::of(program).unwrap();
        let words: Vec<String> = parse(program, table, &argv)
            .into_iter()
            .map(|word| match word {
                Argument::Flag {
                    name,
                    value: Some(value),
                } => format!("{name} {value}"),
                Argument::Flag { name, value: None } => name,
                Argument::Stray(word) => format!("stray {word}"),
                Argument::Malformed(word) => format!("malformed {word}"),
            })
            .collect();
        assert_eq!(words, expected);
    }

    #[test]
    fn kubernetes_reads_flags_as_pflag_does() {
        check(
            "kube-apiserver",
            "--secure-port=6443",
            &["secure-port 6443"],
        );
        check(
            "kube-apiserver",
            "--secure-port 6443",
            &["secure-port 6443"],
        );
        check(
            "kube-apiserver",
            "--secure_port=6443",
            &["secure-port 6443"],
        );
        check(
            "kube-apiserver",
            "--profiling false",
            &["profiling", "stray false"],
        );
        check("kube-apiserver", "--profiling=false", &["profiling false"]);
        check(
            "kube-apiserver",
            "-v=2 -v2 -v 2 --v=2",
            &["v 2", "v 2", "v 2", "v 2"],
        );
        check(
            "kube-apiserver",
            "--etcd-servers --v=2",
            &["etcd-servers --v=2"],
        );
        check("kube-apiserver", "--etcd-servers", &["etcd-servers"]);
        check("kube-apiserver", "--typo x --v=2", &["typo x", "v 2"]);
        check(
            "kube-apiserver",
            "--=x ---v",
            &["malformed --=x", "malformed ---v"],
        );
        check("kube-apiserver", "-- --v=2", &["stray --v=2"]);
        check("kube-apiserver", "--bind-address=", &["bind-address "]);
    }

    #[test]
    fn etcd_reads_flags_as_go_does() {
        check("etcd", "-name=a --name b", &["name a", "name b"]);
        check(
            "etcd",
            "--client-cert-auth --name a",
            &["client-cert-auth", "name a"],
        );
        check("etcd", "x --name=a", &["stray x", "stray --name=a"]);
        check("etcd", "--data_dir=x", &["data_dir x"]);
    }
}
