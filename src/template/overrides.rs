//! Texts of the user's own: templates in the place of kinstall's, and drop-ins of units. Pure: the
//! files of a directory come in, what each of them is for comes out.

use std::collections::{BTreeMap, BTreeSet};

use super::BadText;

/// What makes a template of a file; any other file is taken as it is.
const TEMPLATE: &str = ".hbs";
/// Where units and their drop-ins lie on a node, as a template's name has it.
const UNITS: &str = "etc/systemd/system/";
/// How near a name must be to be suggested, from 0 to 1.
const NEARNESS_MIN: f64 = 0.8;

/// Everything that a user put in the place of kinstall's own texts, or beside them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    texts: BTreeMap<&'static str, Override>,
    drop_ins: BTreeMap<String, BTreeMap<String, Override>>,
}

/// One text of the user's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Its file, as a message shows it.
    pub file: String,
    /// What is in it.
    pub text: String,
    /// Whether it is a template: its name ends in `.hbs`.
    pub is_template: bool,
}

/// What there is to put something in the place of.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The names of kinstall's own texts.
    pub texts: Vec<&'static str>,
    /// The units that may have drop-ins: `etcd.service`.
    pub units: Vec<String>,
}

/// What a file is for.
enum Purpose {
    Text(&'static str),
    DropIn { unit: String, name: String },
}

impl Overrides {
    /// What the files of a directory are for, by their paths in it. `directory` is what a message
    /// calls it. All that is for nothing is told at once.
    pub fn of(
        directory: &str,
        files: BTreeMap<String, String>,
        known: &Known,
    ) -> Result<Self, Vec<BadText>> {
        let mut own = Self::default();
        let mut bad = Vec::new();
        for (path, text) in files {
            let file = format!("{directory}/{path}");
            let own_text = Override {
                is_template: path.ends_with(TEMPLATE),
                file: file.clone(),
                text,
            };
            let before = match purpose(&path, known) {
                Ok(Purpose::Text(name)) => own.texts.insert(name, own_text),
                Ok(Purpose::DropIn { unit, name }) => {
                    own.drop_ins.entry(unit).or_default().insert(name, own_text)
                }
                Err((message, help)) => {
                    bad.push(BadText::new(&file, &message).with_help(help));
                    continue;
                }
            };
            if let Some(before) = before {
                let message = format!("it says again what `{}` says", before.file);
                bad.push(BadText::new(&file, &message).with_help("leave one of them out"));
            }
        }
        if bad.is_empty() { Ok(own) } else { Err(bad) }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.drop_ins.is_empty()
    }

    /// What is in the place of kinstall's own text of this name.
    pub fn text(&self, name: &str) -> Option<&Override> {
        self.texts.get(name)
    }

    /// The drop-ins of a unit, by their file names.
    pub fn drop_ins(&self, unit: &str) -> impl Iterator<Item = (&str, &Override)> {
        let all = self.drop_ins.get(unit).into_iter().flatten();
        all.map(|(name, text)| (name.as_str(), text))
    }

    /// Every text, by its file.
    pub fn all(&self) -> impl Iterator<Item = &Override> {
        let drop_ins = self.drop_ins.values().flat_map(BTreeMap::values);
        self.texts.values().chain(drop_ins)
    }
}

/// What a file is for by its path, or why it is for nothing and what was meant.
fn purpose(path: &str, known: &Known) -> Result<Purpose, (String, String)> {
    let stem = path.strip_suffix(TEMPLATE).unwrap_or(path);
    if let Some((unit, name)) = drop_in(stem) {
        if !known.units.iter().any(|it| it == unit) {
            let units: Vec<&str> = known.units.iter().map(String::as_str).collect();
            let message = format!("there is no unit `{unit}` to drop anything into");
            return Err((message, suggestion(unit, &units)));
        }
        return Ok(Purpose::DropIn {
            unit: unit.to_owned(),
            name: name.to_owned(),
        });
    }
    let is_it = |name: &&&str| {
        let known = name.strip_suffix(TEMPLATE).unwrap_or(name);
        known == stem || file_name(known) == stem
    };
    if let Some(name) = known.texts.iter().find(is_it) {
        return Ok(Purpose::Text(name));
    }
    let names: BTreeSet<&str> = known.texts.iter().map(|name| file_name(name)).collect();
    let message = "kinstall has no template of this name".to_owned();
    let names: Vec<&str> = names.into_iter().collect();
    Err((message, suggestion(file_name(path), &names)))
}

/// `etcd.service` and `10-mine.conf` of `etcd.service.d/10-mine.conf`.
fn drop_in(stem: &str) -> Option<(&str, &str)> {
    let (directory, name) = stem.strip_prefix(UNITS).unwrap_or(stem).split_once('/')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_name =
        name.strip_suffix(".conf").is_some() && name.bytes().all(plain) && !name.starts_with('.');
    Some((directory.strip_suffix(".d")?, name)).filter(|_| is_name)
}

fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

fn suggestion(word: &str, known: &[&str]) -> String {
    let rated = known
        .iter()
        .map(|name| (strsim::jaro_winkler(word, name), name));
    match rated.max_by(|(a, _), (b, _)| a.total_cmp(b)) {
        Some((score, name)) if score >= NEARNESS_MIN => format!("did you mean `{name}`?"),
        _ => format!(
            "there are {}, and drop-ins: `etcd.service.d/NAME.conf`",
            known.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        Known {
            texts: vec![
                "etc/systemd/system/etcd.service.hbs",
                "etc/k8s/kube-apiserver/audit-policy.yaml",
                "partial/hardening.hbs",
            ],
            units: vec!["etcd.service".into(), "kube-apiserver.service".into()],
        }
    }

    fn read(paths: &[&str]) -> Result<Overrides, Vec<String>> {
        let files = paths.iter().map(|path| ((*path).to_owned(), String::new()));
        Overrides::of("templates", files.collect(), &known())
            .map_err(|bad| bad.iter().map(BadText::in_words).collect())
    }

    #[test]
    fn a_text_is_known_by_its_name_or_its_path() {
        #[track_caller]
        fn check(path: &str, name: &str, is_template: bool) {
            let own = read(&[path]).unwrap();
            let text = own.text(name).unwrap();
            assert_eq!(
                (text.file.as_str(), text.is_template),
                (&*format!("templates/{path}"), is_template)
            );
        }
        let etcd = "etc/systemd/system/etcd.service.hbs";
        check("etcd.service.hbs", etcd, true);
        check("etcd.service", etcd, false);
        check(etcd, etcd, true);
        let policy = "etc/k8s/kube-apiserver/audit-policy.yaml";
        check("audit-policy.yaml", policy, false);
        check("audit-policy.yaml.hbs", policy, true);
        check("hardening.hbs", "partial/hardening.hbs", true);
    }

    #[test]
    fn a_drop_in_is_its_units() {
        for path in [
            "etcd.service.d/10-a.conf",
            "etcd.service.d/10-a.conf.hbs",
            "etc/systemd/system/etcd.service.d/10-a.conf",
        ] {
            let own = read(&[path]).unwrap();
            let names: Vec<_> = own.drop_ins("etcd.service").map(|(name, _)| name).collect();
            assert_eq!(names, ["10-a.conf"], "{path}");
            assert_eq!(own.drop_ins("kube-apiserver.service").count(), 0);
            assert!(!own.is_empty() && own.all().count() == 1);
        }
    }

    #[test]
    fn what_is_for_nothing_is_told_with_what_was_meant() {
        #[track_caller]
        fn check(paths: &[&str], expected: &[&str]) {
            assert_eq!(read(paths).unwrap_err(), expected);
        }
        check(
            &["etdc.service.hbs", "kube-apisrver.service.d/a.conf"],
            &[
                "`templates/etdc.service.hbs`: kinstall has no template of this name; did you \
                 mean `etcd.service.hbs`?",
                "`templates/kube-apisrver.service.d/a.conf`: there is no unit \
                 `kube-apisrver.service` to drop anything into; did you mean \
                 `kube-apiserver.service`?",
            ],
        );
        check(
            &["notes"],
            &[
                "`templates/notes`: kinstall has no template of this name; there are \
               audit-policy.yaml, etcd.service.hbs, hardening.hbs, and drop-ins: \
               `etcd.service.d/NAME.conf`",
            ],
        );
        check(
            &["etcd.service", "etcd.service.hbs"],
            &[
                "`templates/etcd.service.hbs`: it says again what `templates/etcd.service` says; \
               leave one of them out",
            ],
        );
    }
}
