//! Which flags a program has in which release, and whether a command line is right for one.
//!
//! Every release of Kubernetes adds and removes flags, and a program refuses to start over one it
//! does not know. kinstall knows the flags of each program from tables that are built in, and
//! checks what it rendered before any node is touched. Pure: a command line in, findings out.
//!
//! The tables hold what the programs of 1.20 to 1.36 and etcd 3.3 to 3.7 accept, gathered from
//! the source of these releases and compared with the `--help` of genuine builds. Of 1.37 only
//! the announced changes are known, so a flag unknown there is a warning, not an error.

mod argv;
mod choice;
mod combination;
mod finding;
mod span;
mod table;
mod value;

pub(crate) use self::finding::since;
use self::table::{GATES, PLUGINS};
pub(crate) use self::value::nanoseconds;
pub use self::{
    argv::{Argument, parse},
    combination::check_together,
    finding::{Elsewhere, Finding, Problem, Severity},
    span::Span,
    table::{Entry, Flag, FlagTable, Names, Presence},
    value::Kind,
};
use crate::version::Version;

/// What a value of `--feature-gates` sets a gate to, if it names it; of several, the last counts.
pub fn gate(value: &str, name: &str) -> Option<bool> {
    let named = value::gates(value).filter_map(Result::ok);
    named
        .filter(|(gate, _)| *gate == name)
        .last()
        .map(|(_, set)| set)
}

/// Checks a command line (`argv` without the program itself) for a release of a program.
pub fn check(program: &str, version: Version, argv: &[String]) -> Vec<Finding> {
    let minor = version.minor();
    // Of a program without flags no table is needed.
    if argv.is_empty() {
        return Vec::new();
    }
    let Some(table) = FlagTable::of(program).filter(|table| table.covers(minor)) else {
        let problem = Problem::Unchecked {
            program: program.to_owned(),
            minor,
        };
        return vec![Finding::new(Severity::Warning, "", problem, None)];
    };
    let mut findings = Vec::new();
    for word in parse(program, table, argv) {
        match word {
            Argument::Stray(word) => {
                let help = (word == "true" || word == "false")
                    .then(|| format!("a boolean takes its value behind `=`: write `={word}`"));
                findings.push(Finding::new(
                    Severity::Error,
                    "",
                    Problem::Stray { word },
                    help,
                ));
            }
            Argument::Malformed(word) => {
                findings.push(Finding::new(
                    Severity::Error,
                    "",
                    Problem::Malformed { word },
                    None,
                ));
            }
            Argument::Flag { name, value } => {
                let checked = Checked {
                    program,
                    version,
                    table,
                    name: &name,
                };
                findings.extend(checked.presence());
                findings.extend(checked.value(value.as_deref()));
                if program != "etcd" && name == "feature-gates" {
                    // What is no pair at all was found when the value was checked.
                    let pairs = value::gates(value.as_deref().unwrap_or_default());
                    findings.extend(check_gates(version, pairs.flatten(), "--feature-gates"));
                }
                if name.ends_with("able-admission-plugins") {
                    findings.extend(plugins(
                        version,
                        &name,
                        value.as_deref().unwrap_or_default(),
                    ));
                }
            }
        }
    }
    findings
}

/// One flag of a command line, being checked.
struct Checked<'a> {
    program: &'a str,
    version: Version,
    table: &'static FlagTable,
    name: &'a str,
}

impl Checked<'_> {
    fn presence(&self) -> Option<Finding> {
        let Self {
            program,
            version,
            table,
            name,
        } = *self;
        // pflag answers to these without their being in any table.
        if matches!(name, "help" | "h") {
            return None;
        }
        match table.presence(name, version) {
            Presence::Doubtful => None,
            Presence::Present => {
                let flag = table.flag(name, version)?;
                let since = flag.deprecated(version.minor())?;
                let help = flag.instead().map(instead);
                let problem = Problem::Deprecated {
                    flag: name.to_owned(),
                    since,
                };
                Some(Finding::new(Severity::Warning, name, problem, help))
            }
            Presence::Absent => {
                let (elsewhere, help) = absent(table, name, version, "--");
                let help = help.or_else(|| {
                    table
                        .get(name)
                        .and_then(|entry| entry.about.instead())
                        .map(instead)
                });
                let problem = Problem::UnknownFlag {
                    program: program.to_owned(),
                    version,
                    flag: name.to_owned(),
                    elsewhere: elsewhere.clone(),
                };
                Some(Finding::new(
                    severity(table, version, elsewhere.as_ref()),
                    name,
                    problem,
                    help,
                ))
            }
        }
    }

    fn value(&self, value: Option<&str>) -> Option<Finding> {
        let flag = self.name.to_owned();
        let kind = self.table.flag(self.name, self.version)?.kind;
        let problem = match value {
            None if !kind.may_be_bare() => Problem::MissingValue { flag },
            Some(value) if !kind.accepts(value) => Problem::WrongValue {
                flag,
                value: value.to_owned(),
                kind,
            },
            Some(value) if !value.is_empty() => {
                let refused = choice::refused(self.program, self.version, self.name, value);
                let (expected, nearest) = refused?;
                let problem = Problem::NoChoice {
                    flag,
                    value: value.to_owned(),
                    expected,
                };
                let help = nearest.map(|word| format!("did you mean `{word}`?"));
                return Some(Finding::new(Severity::Error, self.name, problem, help));
            }
            _ => return None,
        };
        Some(Finding::new(Severity::Error, self.name, problem, None))
    }
}

/// What is wrong with feature gates that are set. `place` is where: `--feature-gates`.
pub fn check_gates<'a>(
    version: Version,
    pairs: impl Iterator<Item = (&'a str, bool)>,
    place: &str,
) -> Vec<Finding> {
    let minor = version.minor();
    let problem = |(gate, set): (&str, bool)| match GATES.presence(gate, version) {
        Presence::Doubtful => None,
        Presence::Present => {
            let locked = GATES
                .get(gate)?
                .about
                .locked(minor)
                .filter(|locked| *locked != set)?;
            let problem = Problem::LockedGate {
                gate: gate.to_owned(),
                minor,
                locked,
            };
            let help = Some(format!("leave `{gate}` out of `{place}`"));
            Some(Finding::new(
                Severity::Error,
                "feature-gates",
                problem,
                help,
            ))
        }
        Presence::Absent => {
            let (elsewhere, help) = absent(&GATES, gate, version, "");
            let severity = severity(&GATES, version, elsewhere.as_ref());
            let gate = gate.to_owned();
            let problem = Problem::UnknownGate {
                gate,
                minor,
                elsewhere,
            };
            Some(Finding::new(severity, "feature-gates", problem, help))
        }
    };
    pairs.filter_map(problem).collect()
}

fn plugins(version: Version, flag: &str, value: &str) -> Vec<Finding> {
    let names = value
        .split(',')
        .map(str::trim)
        .filter(|plugin| !plugin.is_empty());
    let unknown = names.filter(|plugin| PLUGINS.presence(plugin, version) == Presence::Absent);
    let found = unknown.map(|plugin| {
        let (elsewhere, help) = absent(&PLUGINS, plugin, version, "");
        let severity = severity(&PLUGINS, version, elsewhere.as_ref());
        let problem = Problem::UnknownPlugin {
            flag: flag.to_owned(),
            plugin: plugin.to_owned(),
            minor: version.minor(),
            elsewhere,
        };
        Finding::new(severity, flag, problem, help)
    });
    found.collect()
}

/// Where a name that this release lacks exists, and what may have been meant.
pub(crate) fn absent<T>(
    names: &Names<T>,
    name: &str,
    version: Version,
    dashes: &str,
) -> (Option<Elsewhere>, Option<String>) {
    let elsewhere = names.get(name).and_then(|entry| {
        let added = entry.added(version).map(Elsewhere::Added);
        added.or_else(|| entry.removed(version).map(Elsewhere::Removed))
    });
    if elsewhere.is_some() {
        return (elsewhere, None);
    }
    let scored = names
        .names(version)
        .map(|known| (strsim::jaro_winkler(known, name), known));
    let nearest = scored
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .filter(|(score, _)| *score > 0.85);
    (
        None,
        nearest.map(|(_, known)| format!("did you mean `{dashes}{known}`?")),
    )
}

/// A name that a minor of which little is known lacks, and that was never removed, may be new.
pub(crate) fn severity<T>(
    names: &Names<T>,
    version: Version,
    elsewhere: Option<&Elsewhere>,
) -> Severity {
    if names.is_sure_of(version.minor()) || elsewhere.is_some() {
        Severity::Error
    } else {
        Severity::Warning
    }
}

fn instead(flag: &str) -> String {
    match flag {
        "file" => "set it in the configuration file that `--config` names".to_owned(),
        flag => format!("use `--{flag}`"),
    }
}

#[cfg(test)]
mod tests;
