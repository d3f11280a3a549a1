//! The command line: refused as the real server of this version refuses it, then looked up.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use kinstall::flags::{self, Argument, FlagTable, Kind, Problem, Severity};
use kinstall::version::Version;

use crate::{log::say, refusal::Refusal, trailer::Identity};

/// What was given, by flag; a flag may be given more than once.
#[derive(Debug)]
pub(crate) struct Arguments {
    given: BTreeMap<String, Vec<String>>,
}

impl Arguments {
    pub(crate) fn read(identity: Identity, words: &[String]) -> Result<Self, Refusal> {
        let Identity { program, version } = identity;
        let name = program.name();
        let findings = flags::check(name, version, words);
        if let Some(error) = findings
            .iter()
            .find(|finding| finding.severity == Severity::Error && !is_own(&finding.problem))
        {
            return Err(refusal(name, &error.problem));
        }
        for finding in &findings {
            match &finding.problem {
                Problem::Deprecated { flag, since } => {
                    say(&format!("Flag --{flag} has been deprecated, since {since}"));
                }
                own if is_own(own) => {}
                // What the table knows nothing of cannot be stood in for.
                other => return Err(Refusal::Usage(format!("the stand-in knows less: {other}"))),
            }
        }
        let mut given: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let table = FlagTable::of(name).expect("there is a table for each server");
        for word in flags::parse(name, table, words) {
            if let Argument::Flag { name, value } = word {
                given
                    .entry(name)
                    .or_default()
                    .push(value.unwrap_or_else(|| "true".to_owned()));
            }
        }
        Ok(Self { given })
    }

    /// The value given last, unless it is empty.
    pub(crate) fn get(&self, flag: &str) -> Option<&str> {
        self.given
            .get(flag)?
            .last()
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Every value of a flag that takes a list or may be repeated.
    pub(crate) fn list(&self, flag: &str) -> Vec<&str> {
        let values = self.given.get(flag).into_iter().flatten();
        values
            .flat_map(|value| value.split(','))
            .filter(|value| !value.is_empty())
            .collect()
    }

    /// The flags that were given, with the value given last.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.given
            .keys()
            .filter_map(|flag| Some((flag.as_str(), self.get(flag)?)))
    }

    pub(crate) fn is_on(&self, flag: &str, default: bool) -> bool {
        self.get(flag).map_or(default, |value| {
            matches!(value.as_bytes()[0], b'1' | b't' | b'T')
        })
    }

    pub(crate) fn port(&self, default: u16) -> Result<u16, Refusal> {
        let Some(text) = self.get("secure-port") else {
            return Ok(default);
        };
        let port = text.parse().ok().filter(|port| *port > 0);
        port.ok_or_else(|| {
            Refusal::start(format!(
                "--secure-port {text} must be between 1 and 65535, inclusive. \
                 It cannot be turned off with 0"
            ))
        })
    }

    pub(crate) fn address(&self, flag: &str) -> Option<IpAddr> {
        self.get(flag).and_then(|text| text.trim().parse().ok())
    }

    pub(crate) fn duration(&self, flag: &str) -> Duration {
        self.get(flag).map_or(Duration::ZERO, duration)
    }
}

/// What the stand-in finds out later, as the real servers do when they start.
fn is_own(problem: &Problem) -> bool {
    let looked_at = ["authorization-mode", "secure-port", "tls-min-version"];
    matches!(problem, Problem::NoChoice { flag, .. } if looked_at.contains(&flag.as_str()))
}

/// The first problem, as pflag and the servers say it.
fn refusal(program: &str, problem: &Problem) -> Refusal {
    Refusal::Usage(match problem {
        Problem::UnknownFlag { flag, .. } if flag.chars().count() == 1 => {
            format!("unknown shorthand flag: '{flag}' in -{flag}")
        }
        Problem::UnknownFlag { flag, .. } => format!("unknown flag: --{flag}"),
        Problem::MissingValue { flag } => format!("flag needs an argument: --{flag}"),
        Problem::WrongValue { flag, value, kind } => {
            let reason = reason(*kind, value);
            format!("invalid argument {value:?} for \"--{flag}\" flag: {reason}")
        }
        Problem::Stray { word } => {
            format!("{program:?} does not take any arguments, got [{word:?}]")
        }
        Problem::Malformed { word } => format!("bad flag syntax: {word}"),
        Problem::UnknownGate { gate, .. } => format!(
            "invalid argument {gate:?} for \"--feature-gates\" flag: unrecognized feature gate: \
             {gate}"
        ),
        Problem::LockedGate { gate, locked, .. } => format!(
            "invalid argument \"{gate}={}\" for \"--feature-gates\" flag: cannot set feature gate \
             {gate} to {}, feature is locked to {locked}",
            !locked, !locked
        ),
        Problem::UnknownPlugin { flag, plugin, .. } => {
            return Refusal::start(format!("{flag} plugin {plugin:?} is unknown"));
        }
        Problem::NoChoice { .. } => return Refusal::start(problem.to_string()),
        other => other.to_string(),
    })
}

fn reason(kind: Kind, value: &str) -> String {
    match kind {
        Kind::Bool => format!("strconv.ParseBool: parsing {value:?}: invalid syntax"),
        Kind::Int | Kind::Int32 => format!("strconv.ParseInt: parsing {value:?}: invalid syntax"),
        Kind::Uint => format!("strconv.ParseUint: parsing {value:?}: invalid syntax"),
        Kind::Float => format!("strconv.ParseFloat: parsing {value:?}: invalid syntax"),
        Kind::Duration => format!("time: invalid duration {value:?}"),
        Kind::Ip => format!("failed to parse IP: {value:?}"),
        _ => format!("missing bool value for {value}"),
    }
}

/// Go's durations, once they are known to be well formed. Negative ones count as none.
fn duration(text: &str) -> Duration {
    let mut seconds = 0.0;
    let mut rest = text.trim_start_matches('+');
    while let Some(at) = rest.find(|c: char| c.is_alphabetic()) {
        let (number, tail) = rest.split_at(at);
        let end = tail
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let scale = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "ns" => 1e-9,
            _ => 1e-6,
        };
        seconds += number.parse::<f64>().unwrap_or(0.0) * scale;
        rest = tail;
    }
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// Whether this version is at least `1.minor`.
pub(crate) fn is_from(version: Version, minor: u64) -> bool {
    version.minor >= minor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, millis) in [("0", 0), ("1500ms", 1500), ("1m30s", 90_000), ("-1s", 0)] {
            assert_eq!(duration(text), Duration::from_millis(millis), "{text}");
        }
    }
}
