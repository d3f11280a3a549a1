//! `EncryptionConfiguration` (`apiserver.config.k8s.io/v1`): read as kube-apiserver reads it, and
//! written. Pure.

use std::collections::BTreeSet;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{API_VERSION, KEY_BYTES, KIND, Problem, json};
use crate::inventory::{self, Encryption, Kms, KmsApi};
use crate::secret::Secret;
use crate::yaml::Shape::{Int, List, Table, Text};
use crate::yaml::{self, Repeated, Shape, quoted};

/// The types of the fields, by which Go refuses a whole file. Which words an entry of `providers`
/// needs is told by what is in it.
const CONFIG: Shape = Table(&[
    ("apiVersion", Text),
    ("kind", Text),
    ("resources", List(&RULE)),
]);
const RULE: Shape = Table(&[("resources", List(&Text)), ("providers", List(&PROVIDER))]);
const PROVIDER: Shape = Table(&[
    ("aesgcm", KEYS),
    ("aescbc", KEYS),
    ("secretbox", KEYS),
    ("identity", Table(&[])),
    (
        "kms",
        Table(&[
            ("apiVersion", Text),
            ("name", Text),
            ("cachesize", Int),
            ("endpoint", Text),
            ("timeout", Text),
        ]),
    ),
]);
const KEYS: Shape = Table(&[("keys", List(&Table(&[("name", Text), ("secret", Text)])))]);

/// The spelling that upstream's documentation had before 1.13. kube-apiserver still takes it.
const OLD_SPELLING: (&str, &str) = ("v1", "EncryptionConfig");

/// A whole configuration.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Config {
    #[serde(default, deserialize_with = "list")]
    pub(super) resources: Vec<Rule>,
    /// A word that kube-apiserver does not know: what it was meant to say is lost.
    #[serde(skip)]
    pub(super) unknown: Option<String>,
    /// A key that a table has twice.
    #[serde(skip)]
    pub(super) repeated: Option<Repeated>,
}

/// Some resources, and what encrypts them. Of several that name a resource, the first counts.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
pub(super) struct Rule {
    #[serde(default, deserialize_with = "list")]
    pub(super) resources: Vec<String>,
    /// In order: the first writes, all read.
    #[serde(default, deserialize_with = "list")]
    pub(super) providers: Vec<Provider>,
}

/// An entry of `providers`; one that serves has exactly one of these.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
pub(super) struct Provider {
    pub(super) aesgcm: Option<Keys>,
    pub(super) aescbc: Option<Keys>,
    pub(super) secretbox: Option<Keys>,
    pub(super) identity: Option<Identity>,
    pub(super) kms: Option<Plugin>,
}

#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
pub(super) struct Keys {
    #[serde(default, deserialize_with = "list")]
    pub(super) keys: Vec<Key>,
}

#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
pub(super) struct Key {
    #[serde(default, deserialize_with = "text")]
    pub(super) name: String,
    /// In base64, on one line.
    #[serde(default, deserialize_with = "secret")]
    pub(super) secret: Zeroizing<String>,
}

#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
pub(super) struct Identity {}

#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
pub(super) struct Plugin {
    #[serde(default, rename = "apiVersion", deserialize_with = "text")]
    pub(super) api_version: String,
    #[serde(default, deserialize_with = "text")]
    pub(super) name: String,
    pub(super) cachesize: Option<i32>,
    #[serde(default, deserialize_with = "text")]
    pub(super) endpoint: String,
    pub(super) timeout: Option<String>,
}

/// Go takes `null` for the empty value of whatever is due.
fn list<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let items = Option::<Vec<Option<T>>>::deserialize(deserializer)?;
    let items = items.unwrap_or_default().into_iter();
    Ok(items.map(Option::unwrap_or_default).collect())
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    let text = Zeroizing::new(text(deserializer)?);
    Ok(Zeroizing::new(text.replace(['\r', '\n'], "")))
}

impl Config {
    /// Reads a configuration. That it is one does not mean that kube-apiserver takes it:
    /// [`super::check`] tells that.
    pub fn read(text: &Secret) -> Result<Self, Problem> {
        // What begins with a brace is JSON to Kubernetes, and what is none is refused.
        let raw = text.expose_text().unwrap_or_default();
        let is_json = raw.trim_start().starts_with('{');
        if is_json {
            let value = serde_json::from_str(raw);
            let value = value.map_err(|error| Problem::NotJson { line: error.line() })?;
            // Kubernetes before 1.31 makes one table of both values, where they are tables.
            return match json::repeated(raw) {
                Some(repeated) => Err(Problem::Repeated(repeated)),
                None => Self::of(value, Vec::new()),
            };
        }
        let text = yaml::Text::decode(text.expose())?;
        check_tabs(&text.text)?;
        yaml::check_separators(&text.text)?;
        let read = yaml::read(yaml::parse(&text.text)?.as_deref())?;
        Self::of(read.value, read.repeated)
    }

    fn of(value: Value, repeated: Vec<Repeated>) -> Result<Self, Problem> {
        if !value.is_object() {
            return Err(Problem::NoTable);
        }
        CONFIG.check(&value)?;
        let (api_version, kind) = (word(&value, "apiVersion")?, word(&value, "kind")?);
        // A group without a name may be written, too.
        let old = (api_version.trim_start_matches('/'), kind);
        if (api_version, kind) != (API_VERSION, KIND) && old != OLD_SPELLING {
            return Err(Problem::NotAConfiguration {
                kind: kind.to_owned(),
                api_version: api_version.to_owned(),
            });
        }
        let unknown = CONFIG.unknown(&value);
        let config: Self = serde_json::from_value(value).expect("the types have been checked");
        Ok(Self {
            unknown,
            repeated: repeated.into_iter().next(),
            ..config
        })
    }

    /// A new configuration: one provider, its key called `key1`, then `identity`, so that what was
    /// stored before in plain text can be read.
    pub(super) fn new(encryption: &Encryption, key: &[u8; KEY_BYTES]) -> Self {
        let writes = match (encryption.provider, &encryption.kms) {
            (inventory::Provider::Kms, Some(kms)) => Some(Provider {
                kms: Some(Plugin::of(kms)),
                ..Provider::default()
            }),
            (provider, _) => Provider::with_keys(provider, vec![Key::new("key1", key)]),
        };
        let plain = Provider {
            identity: Some(Identity {}),
            ..Provider::default()
        };
        Self {
            resources: vec![Rule {
                resources: encryption.resources.clone(),
                providers: writes.into_iter().chain([plain]).collect(),
            }],
            unknown: None,
            repeated: None,
        }
    }

    /// The text. All that was read is in it but words that kube-apiserver does not know.
    pub fn write(&self) -> Secret {
        // Room for all of it, so that no key is left behind where a text has grown out of.
        let mut text = Zeroizing::new(String::with_capacity(self.room()));
        let to = &mut *text;
        line(to, format_args!("apiVersion: {API_VERSION}"));
        line(to, format_args!("kind: {KIND}\nresources:"));
        for rule in &self.resources {
            line(to, format_args!("  - resources:"));
            for resource in &rule.resources {
                line(to, format_args!("      - {}", quoted(resource)));
            }
            line(to, format_args!("    providers:"));
            for provider in &rule.providers {
                provider.write(to);
            }
        }
        Secret::new(text.as_bytes())
    }

    fn room(&self) -> usize {
        let providers = self.resources.iter().flat_map(|rule| &rule.providers);
        let keys = providers.filter_map(Provider::keys).flat_map(|(_, it)| it);
        let length = |key: &Key| 200 + 6 * key.name.len() + key.secret.len();
        4096 + keys.map(length).sum::<usize>()
    }

    /// The rule for exactly these resources.
    pub(super) fn rule_for(&self, resources: &[String]) -> Option<&Rule> {
        let asked: BTreeSet<_> = resources.iter().collect();
        let is_it = |rule: &&Rule| rule.resources.iter().collect::<BTreeSet<_>>() == asked;
        self.resources.iter().find(is_it)
    }

    /// Whether a rule is for exactly these resources.
    pub fn has_rule_for(&self, resources: &[String]) -> bool {
        self.rule_for(resources).is_some()
    }

    /// The resources that it names.
    pub fn resources(&self) -> Vec<String> {
        let rules = self.resources.iter();
        rules.flat_map(|rule| rule.resources.clone()).collect()
    }

    /// What reads and writes, each once: keys and plugins, and where there are no keys, plain text.
    pub fn outline(&self) -> Vec<String> {
        let providers = || self.resources.iter().flat_map(|rule| &rule.providers);
        let has_keys = providers().any(|provider| provider.keys().is_some());
        let mut words = Vec::new();
        for provider in providers() {
            let mut told = Vec::new();
            if let Some((kind, keys)) = provider.keys() {
                let name = kind.name();
                told.extend(keys.iter().map(|key| format!("{} ({name})", key.name)));
            }
            told.extend(provider.kms.iter().map(|it| format!("{} (kms)", it.name)));
            if provider.identity.is_some() && !has_keys {
                told.push("identity".to_owned());
            }
            words.extend(told);
        }
        let mut seen = BTreeSet::new();
        words.retain(|word| seen.insert(word.clone()));
        words
    }
}

impl Provider {
    /// An entry with keys, if the provider keeps them in the file.
    pub(super) fn with_keys(provider: inventory::Provider, keys: Vec<Key>) -> Option<Self> {
        let keys = Some(Keys { keys });
        let none = Self::default();
        Some(match provider {
            inventory::Provider::Aescbc => Self {
                aescbc: keys,
                ..none
            },
            inventory::Provider::Aesgcm => Self {
                aesgcm: keys,
                ..none
            },
            inventory::Provider::Secretbox => Self {
                secretbox: keys,
                ..none
            },
            inventory::Provider::Identity
            | inventory::Provider::Kms
            | inventory::Provider::File => return None,
        })
    }

    /// The keys in it, and of which provider.
    pub(super) fn keys(&self) -> Option<(inventory::Provider, &[Key])> {
        let all = [
            (inventory::Provider::Aescbc, &self.aescbc),
            (inventory::Provider::Aesgcm, &self.aesgcm),
            (inventory::Provider::Secretbox, &self.secretbox),
        ];
        all.into_iter()
            .find_map(|(kind, keys)| Some((kind, keys.as_ref()?.keys.as_slice())))
    }

    /// What it is, where it is one thing.
    pub(super) fn kind(&self) -> Option<inventory::Provider> {
        let plain = self
            .identity
            .as_ref()
            .map(|_| inventory::Provider::Identity);
        let plugin = self.kms.as_ref().map(|_| inventory::Provider::Kms);
        self.keys().map(|(kind, _)| kind).or(plugin).or(plain)
    }

    fn write(&self, to: &mut String) {
        if let Some((provider, keys)) = self.keys() {
            line(to, format_args!("      - {}:", provider.name()));
            line(to, format_args!("          keys:"));
            for key in keys {
                let (name, secret) = (name(&key.name), &*key.secret);
                line(to, format_args!("            - name: {name}"));
                line(to, format_args!("              secret: {secret}"));
            }
        }
        if let Some(plugin) = &self.kms {
            line(to, format_args!("      - kms:"));
            let mut setting =
                |key: &str, value: &str| line(to, format_args!("          {key}: {value}"));
            // It came with v2, and old versions do not know the word.
            if !plugin.api_version.is_empty() {
                setting("apiVersion", &plugin.api_version);
            }
            setting("name", &quoted(&plugin.name));
            setting("endpoint", &quoted(&plugin.endpoint));
            if let Some(timeout) = &plugin.timeout {
                setting("timeout", timeout);
            }
            if let Some(size) = plugin.cachesize {
                setting("cachesize", &size.to_string());
            }
        }
        if self.identity.is_some() {
            line(to, format_args!("      - identity: {{}}"));
        }
    }
}

impl Key {
    pub(super) fn new(name: &str, secret: &[u8]) -> Self {
        Self {
            name: name.to_owned(),
            secret: Zeroizing::new(STANDARD.encode(secret)),
        }
    }
}

impl Plugin {
    fn of(kms: &Kms) -> Self {
        let api_version = match kms.api {
            KmsApi::V1 => "",
            KmsApi::V2 => "v2",
        };
        Self {
            api_version: api_version.to_owned(),
            name: kms.name.clone(),
            cachesize: kms.cache_size.and_then(|size| i32::try_from(size).ok()),
            endpoint: kms.endpoint.clone(),
            timeout: kms.timeout.clone(),
        }
    }
}

/// go-yaml takes no tab where a key may begin: neither before it nor in an empty line.
fn check_tabs(text: &str) -> Result<(), Problem> {
    let is_tab = |line: &str| line.trim_start_matches([' ', '-', '?']).starts_with('\t');
    let at = text.lines().position(is_tab);
    let what = "a tab in its indentation";
    at.map_or(Ok(()), |at| {
        let line = at + 1;
        Err(yaml::Problem::Value { line, what }.into())
    })
}

/// One of the two words that say what a text is. Kubernetes reads these by Go's own reader of JSON,
/// to which large and small letters are the same (`SimpleMetaFactory` of `k8s.io/apimachinery`); of
/// several spellings the last counts, and each must be a text.
fn word<'a>(value: &'a Value, name: &str) -> Result<&'a str, Problem> {
    let mut word = "";
    for (key, value) in value.as_object().into_iter().flatten() {
        if folded(key) != folded(name) {
            continue;
        }
        match value {
            Value::Null => {}
            Value::String(text) => word = text,
            _ => Text.check_at(value, key)?,
        }
    }
    Ok(word)
}

/// Go's `bytes.EqualFold`, as far as letters of ASCII are meant: two others are the same as one of it.
fn folded(text: &str) -> String {
    let fold = |char: char| match char {
        '\u{212a}' => 'k',
        '\u{17f}' => 's',
        char => char.to_ascii_lowercase(),
    };
    text.chars().map(fold).collect()
}

/// A name as a new one is written: plain, unless it is from elsewhere and may mean something else
/// to a reader of YAML.
fn name(name: &str) -> String {
    let number = name.strip_prefix("key").unwrap_or_default();
    let is_own = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    if is_own {
        name.to_owned()
    } else {
        quoted(name)
    }
}

fn line(to: &mut String, line: std::fmt::Arguments<'_>) {
    to.write_fmt(line).expect("a string takes all");
    to.push('\n');
}
