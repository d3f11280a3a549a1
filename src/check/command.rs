//! One command line: what the flag tables, the unit and the program's environment say of it.

use std::collections::BTreeSet;
use std::ops::Range;

use super::{Finding, environment, own, reliance};
use crate::component::Component;
use crate::flags::{self, Problem, Severity};
use crate::inventory::{ComponentSettings, Inventory, Node, Setting};
use crate::manifest::{By, Command, Preview, Situation};
use crate::node_config;
use crate::template;
use crate::version::Version;

/// The longest command line a unit is given, in bytes as it stands there. systemd reads lines of
/// 1 MiB (`LONG_LINE_MAX`); half of that leaves room for what a drop-in adds.
const COMMAND_BYTES_MAX: usize = 512 * 1024;

/// A command line being checked.
pub(super) struct Case<'a> {
    pub(super) node: &'a Node,
    pub(super) component: &'static Component,
    pub(super) version: Version,
    pub(super) settings: ComponentSettings,
    pub(super) command: Command,
}

/// Where a component runs, as far as it is known before anything is contacted.
pub(super) fn situation<'a>(inventory: &'a Inventory, node: &'a Node) -> Situation<'a> {
    Situation {
        inventory,
        node,
        arch: node.arch,
        // Whether it is at hand is known later; the flags it brings are kinstall's own.
        signing_key: true,
    }
}

/// The command line of a component on a node.
pub(super) fn previewed(
    inventory: &Inventory,
    node: &Node,
    component: &'static Component,
) -> Command {
    let preview = Preview::of(situation(inventory, node));
    let command = preview.and_then(|preview| preview.command(component));
    command.expect("a test renders every flag of the table")
}

/// What is wrong with the command line of a component on a node.
pub(super) fn findings(
    inventory: &Inventory,
    node: &Node,
    component: &'static Component,
) -> Vec<Finding> {
    if component.service.is_none() {
        return Vec::new();
    }
    let case = Case {
        node,
        component,
        version: inventory.version(component.name, node),
        settings: inventory.component(component.name, node),
        command: previewed(inventory, node, component),
    };
    let mut findings = case.flags();
    findings.extend(case.removed());
    findings.extend(case.length());
    findings.extend(reliance::findings(&case));
    findings.extend(environment::findings(&case));
    findings.extend(own::findings(&case, inventory));
    findings.extend(case.configuration());
    findings
}

impl Case<'_> {
    /// A finding about something the user said.
    pub(super) fn finding(
        &self,
        severity: Severity,
        place: Option<Range<usize>>,
        message: impl Into<String>,
        help: Option<String>,
    ) -> Finding {
        Finding {
            severity,
            component: Some(self.component.name),
            version: self.version,
            nodes: BTreeSet::from([self.node.name.clone()]),
            place,
            message: message.into(),
            help,
        }
    }

    /// Where the value of a flag is said; nowhere if it is kinstall's own.
    pub(super) fn value_place(&self, flag: &str) -> Option<Range<usize>> {
        let place = self.settings.places.get(&Setting::Flag(flag.to_owned()))?;
        Some(place.value.clone())
    }

    /// What the tables say of the flags.
    fn flags(&self) -> Vec<Finding> {
        let (name, argv) = (self.component.name, self.command.arguments());
        let mut found = flags::check(name, self.version, &argv);
        found.extend(flags::check_together(name, self.version, &argv));
        let of_user = |finding: &flags::Finding| {
            !matches!(finding.problem, Problem::Deprecated { .. }) || self.is_users(&finding.flag)
        };
        let found = found.into_iter().filter(of_user);
        found.map(|finding| self.placed(finding)).collect()
    }

    /// What is wrong with the fields of a configuration that the user says.
    fn configuration(&self) -> Vec<Finding> {
        let Some((of, _)) = self.component.configuration() else {
            return Vec::new();
        };
        let fields = serde_json::Value::Object(self.settings.config.clone());
        let problems = node_config::check(of, self.version, &fields).into_iter();
        let finding = |problem: node_config::Problem| {
            let first = problem.field().split(['.', '[']).next().unwrap_or_default();
            let place = self.settings.places.get(&Setting::Field(first.to_owned()));
            let place = place.map(|place| place.key.clone());
            self.finding(
                problem.severity(),
                place,
                problem.to_string(),
                problem.help(),
            )
        };
        problems.map(finding).collect()
    }

    fn is_users(&self, flag: &str) -> bool {
        let given = self.command.flag(flag);
        given.is_some_and(|given| given.by == By::User)
    }

    /// A finding of the tables, at what the user said to bring it about. Where the user said
    /// nothing it is kinstall's own mistake, and says so.
    fn placed(&self, finding: flags::Finding) -> Finding {
        let place = match &finding.problem {
            Problem::Together { flags, .. } => flags.iter().find_map(|flag| self.key_place(flag)),
            Problem::WrongValue { flag, .. } | Problem::NoChoice { flag, .. } => {
                self.value_place(flag)
            }
            Problem::UnknownGate { .. } | Problem::LockedGate { .. } => {
                self.value_place("feature-gates")
            }
            Problem::UnknownPlugin { flag, .. } => self.value_place(flag),
            _ => self.key_place(&finding.flag),
        };
        if place.is_none() && finding.severity == Severity::Error {
            let message = format!("kinstall's own flags are wrong: {}", finding.message);
            let help = "this is a mistake of kinstall's, not yours: please report it";
            return self.finding(finding.severity, None, message, Some(help.to_owned()));
        }
        self.finding(finding.severity, place, finding.message, finding.help)
    }

    /// Where a flag is said, or said to be left out.
    fn key_place(&self, flag: &str) -> Option<Range<usize>> {
        let words = [
            Setting::Flag(flag.to_owned()),
            Setting::Removed(flag.to_owned()),
        ];
        let mut places = words.iter().map(|word| self.settings.places.get(word));
        places.find_map(|place| Some(place?.key.clone()))
    }

    /// Flags that should be left out and that kinstall never writes.
    fn removed(&self) -> Vec<Finding> {
        let own = || {
            let service = self.component.service.iter();
            service.flat_map(|service| service.flags.iter().map(|flag| flag.name))
        };
        let removed = self.settings.flags_removed.iter();
        let unknown = removed.filter(|flag| own().all(|name| name != flag.as_str()));
        let finding = |flag: &String| {
            let place = self.settings.places.get(&Setting::Removed(flag.clone()));
            let rated = own().map(|name| (strsim::jaro_winkler(name, flag), name));
            let nearest = rated.max_by(|(a, _), (b, _)| a.total_cmp(b));
            let nearest = nearest.filter(|(score, _)| *score > 0.85);
            self.finding(
                Severity::Warning,
                place.map(|place| place.key.clone()),
                format!("`--{flag}` cannot be left out: kinstall does not write it"),
                nearest.map(|(_, name)| format!("did you mean `{name}`?")),
            )
        };
        unknown.map(finding).collect()
    }

    /// A command line that systemd would not read.
    fn length(&self) -> Option<Finding> {
        let arguments = self.command.arguments();
        let bytes = arguments.iter().map(|argument| {
            let quoted = template::exec_argument(argument);
            quoted.map_or(argument.len(), |quoted| quoted.len() + 8)
        });
        let bytes: usize = bytes.sum();
        (bytes > COMMAND_BYTES_MAX).then(|| {
            let place = self.settings.places.values().next();
            self.finding(
                Severity::Error,
                place.map(|place| place.key.clone()),
                format!(
                    "the command line holds {bytes} bytes, {COMMAND_BYTES_MAX} is the most that \
                     fits a unit"
                ),
                Some("put long values into files".to_owned()),
            )
        })
    }
}
