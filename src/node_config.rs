//! The configuration files of kubelet and kube-proxy: which fields each release has, what a user may
//! say in them, and a user's fields over kinstall's. Pure.
//!
//! Both programs only warn of a field that they do not know, and go on without it: a slip of the pen
//! would never be seen. So the names are compared with those of each release.

mod decided;
mod problem;
mod table;
#[cfg(test)]
mod tests;
mod text;

use serde_json::{Map, Value};

pub use self::problem::Problem;
use self::table::Kind;
pub use self::text::{Unreadable, merged, to_yaml};
use crate::flags::{self, Presence};
use crate::version::Version;

/// A configuration in YAML whose fields are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Configuration {
    /// `KubeletConfiguration` of `kubelet.config.k8s.io/v1beta1`.
    Kubelet,
    /// `KubeProxyConfiguration` of `kubeproxy.config.k8s.io/v1alpha1`.
    KubeProxy,
}

impl Configuration {
    /// The program that reads it.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Kubelet => "kubelet",
            Self::KubeProxy => "kube-proxy",
        }
    }
}

/// What is wrong with fields that a user says: those that a release does not have, values that it
/// would refuse, and what is not for the user to say.
pub fn check(of: Configuration, version: Version, value: &Value) -> Vec<Problem> {
    let mut problems = decided::problems(of, value);
    problems.extend(fields(of, version, value));
    problems
}

/// What is wrong with a whole file, whoever wrote it: [`check`] without what is not for the user to
/// say.
pub fn fields(of: Configuration, version: Version, value: &Value) -> Vec<Problem> {
    let case = Case {
        of,
        version,
        table: table::of(of),
    };
    let Value::Object(fields) = value else {
        let expected = Kind::Table.expected();
        return vec![Problem::Shape {
            field: String::new(),
            found: found(value),
            expected,
        }];
    };
    let mut problems = Vec::new();
    case.table(fields, "", &mut problems);
    problems
}

/// Whether a release has a field, by its path.
pub fn has(of: Configuration, version: Version, field: &str) -> bool {
    table::of(of).presence(field, version) == Presence::Present
}

/// What a user says over what is there: tables are merged, anything else is replaced.
pub fn merge(base: Value, user: Value) -> Value {
    match (base, user) {
        (Value::Object(mut base), Value::Object(user)) => {
            for (name, value) in user {
                let before = base.remove(&name).unwrap_or(Value::Null);
                base.insert(name, merge(before, value));
            }
            Value::Object(base)
        }
        (_, user) => user,
    }
}

/// A configuration being checked.
struct Case {
    of: Configuration,
    version: Version,
    table: &'static table::Fields,
}

impl Case {
    /// Checks the fields of a table. `within` is its path, with a dot behind it.
    fn table(&self, fields: &Map<String, Value>, within: &str, problems: &mut Vec<Problem>) {
        for (name, value) in fields {
            let field = format!("{within}{name}");
            // Which file it is, is not a field.
            if within.is_empty() && ["apiVersion", "kind"].contains(&name.as_str()) {
                continue;
            }
            // It would be taken for a path.
            if name.contains('.') {
                problems.push(Problem::Dotted { field });
            } else if !value.is_null() {
                // Go takes `null` for nothing.
                self.field(field, value, problems);
            }
        }
    }

    fn field(&self, field: String, value: &Value, problems: &mut Vec<Problem>) {
        let Self { of, version, table } = *self;
        let entry = table.get(&field);
        let (Some(entry), Presence::Present) = (entry, table.presence(&field, version)) else {
            let (elsewhere, help) = flags::absent(table, &field, version, "");
            problems.push(Problem::Unknown {
                program: of.program(),
                version,
                severity: flags::severity(table, version, elsewhere.as_ref()),
                field,
                elsewhere,
                help,
            });
            return;
        };
        let kind = entry.about;
        if !kind.accepts(value) {
            let expected = kind.expected();
            problems.push(Problem::Shape {
                field,
                found: found(value),
                expected,
            });
            return;
        }
        problems.extend(table::refused(of, version, &field, value));
        problems.extend(table::idle(of, version, &field));
        match value {
            Value::Object(gates) if field == "featureGates" => {
                let pairs = gates.iter();
                let pairs = pairs.filter_map(|(gate, set)| Some((gate.as_str(), set.as_bool()?)));
                let found = flags::check_gates(version, pairs, "featureGates");
                problems.extend(found.into_iter().map(Problem::Gate));
            }
            Value::Object(fields) if kind == Kind::Table => {
                self.table(fields, &format!("{field}."), problems);
            }
            _ => {}
        }
    }
}

/// What a value is, in words.
fn found(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a number",
        Value::Number(_) => "a whole number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}
