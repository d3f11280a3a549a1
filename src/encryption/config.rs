//! `EncryptionConfiguration` as its keys and their order: what rotation changes. Pure.

use std::fmt::Write;

use yaml_rust2::Yaml;
use zeroize::Zeroizing;

use super::{API_VERSION, KIND, Problem, STANDARD, document, list};
use crate::inventory::Provider;
use crate::secret::Secret;
use base64::Engine;

/// A whole configuration.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    rules: Vec<Rule>,
}

#[derive(Clone, PartialEq, Eq)]
struct Rule {
    resources: Vec<String>,
    /// In order: the first writes, all read.
    keys: Vec<Key>,
    /// Whether plain text is read too.
    plain: bool,
}

#[derive(Clone, PartialEq, Eq)]
struct Key {
    provider: Provider,
    name: String,
    /// In base64.
    secret: Zeroizing<String>,
}

/// A key by what it is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyName {
    /// Its provider.
    pub provider: Provider,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for KeyName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name, self.provider.name())
    }
}

impl KeyName {
    /// What a value in etcd begins with that was written with this key
    /// (`k8s.io/apiserver/pkg/server/options/encryptionconfig`).
    pub fn prefix(&self) -> String {
        format!("k8s:enc:{}:v1:{}:", self.provider.name(), self.name)
    }
}

/// Where a key stands in every rule of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not in all of them.
    Absent,
    /// It is read, another one writes.
    Reads,
    /// It writes, others are read.
    Writes,
    /// There is no other.
    Alone,
}

impl Config {
    /// Reads a configuration whose providers keep their keys in the file.
    pub fn parse(text: &Secret) -> Result<Self, Problem> {
        let document = document(text)?;
        let rules = list(&document, "resources")?.iter().map(Rule::parse);
        let rules = rules.collect::<Result<_, _>>()?;
        Ok(Self { rules })
    }

    /// The text, in the form that [`super::render`] has it.
    pub fn render(&self) -> Secret {
        let mut text = Zeroizing::new(String::with_capacity(4096));
        let mut line = |line: std::fmt::Arguments<'_>| {
            text.write_fmt(line).expect("a string takes all");
            text.push('\n');
        };
        line(format_args!(
            "apiVersion: {API_VERSION}\nkind: {KIND}\nresources:"
        ));
        for rule in &self.rules {
            line(format_args!("  - resources:"));
            for resource in &rule.resources {
                line(format_args!(
                    "      - {}",
                    serde_json::Value::from(resource.as_str())
                ));
            }
            line(format_args!("    providers:"));
            // Neighbours of one provider share its list: kube-apiserver tries them in order.
            let mut last = None;
            for key in &rule.keys {
                if last != Some(key.provider) {
                    line(format_args!(
                        "      - {}:\n          keys:",
                        key.provider.name()
                    ));
                }
                last = Some(key.provider);
                let (name, secret) = (&key.name, &*key.secret);
                // As a new one is written: plain, unless a name from elsewhere wants quotes.
                let plain = name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                    && name.starts_with(|first: char| first.is_ascii_alphabetic());
                let name = if plain {
                    name.clone()
                } else {
                    serde_json::Value::from(name.as_str()).to_string()
                };
                line(format_args!(
                    "            - name: {name}\n              secret: {secret}"
                ));
            }
            if rule.plain {
                line(format_args!("      - identity: {{}}"));
            }
        }
        Secret::new(text.as_bytes())
    }

    /// The keys, each once.
    pub fn keys(&self) -> Vec<KeyName> {
        let mut names = Vec::new();
        for key in self.rules.iter().flat_map(|rule| &rule.keys) {
            let name = key.name();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The resources that are encrypted.
    pub fn resources(&self) -> Vec<String> {
        let rules = self.rules.iter();
        rules.flat_map(|rule| rule.resources.clone()).collect()
    }

    /// Where a key stands.
    pub fn standing(&self, name: &KeyName) -> Standing {
        let all = |is: fn(&Rule, &KeyName) -> bool| self.rules.iter().all(|rule| is(rule, name));
        if !all(|rule, name| rule.keys.iter().any(|key| key.name() == *name)) {
            Standing::Absent
        } else if !all(|rule, name| rule.keys.first().is_some_and(|key| key.name() == *name)) {
            Standing::Reads
        } else if all(|rule, _| rule.keys.len() == 1) {
            Standing::Alone
        } else {
            Standing::Writes
        }
    }

    /// A name that no key has, nor one that a rotation dropped before: what a snapshot of etcd
    /// brings back from then must not be taken for what the new key wrote.
    pub fn free_name(&self) -> String {
        let names = self.keys();
        let numbers = names.iter().map(|key| key.name.strip_prefix("key"));
        let numbers = numbers.filter_map(|number| number?.parse::<u32>().ok());
        let last = numbers.max().unwrap_or(0);
        format!("key{}", last.saturating_add(1))
    }

    /// Adds a key that is read, second in each rule.
    pub fn add(&mut self, name: &KeyName, secret: &[u8]) {
        for rule in &mut self.rules {
            let at = rule.keys.len().min(1);
            let key = Key {
                provider: name.provider,
                name: name.name.clone(),
                secret: Zeroizing::new(STANDARD.encode(secret)),
            };
            rule.keys.retain(|key| key.name() != *name);
            rule.keys.insert(at.min(rule.keys.len()), key);
        }
    }

    /// Has a key write.
    pub fn promote(&mut self, name: &KeyName) {
        for rule in &mut self.rules {
            rule.keys.sort_by_key(|key| key.name() != *name);
        }
    }

    /// Drops every other key.
    pub fn keep_only(&mut self, name: &KeyName) {
        for rule in &mut self.rules {
            rule.keys.retain(|key| key.name() == *name);
        }
    }
}

impl Rule {
    fn parse(yaml: &Yaml) -> Result<Self, Problem> {
        let resources = list(yaml, "resources")?.iter();
        let mut rule = Self {
            resources: resources
                .map(|resource| resource.as_str().unwrap_or_default().to_owned())
                .collect(),
            keys: Vec::new(),
            plain: false,
        };
        for provider in list(yaml, "providers")? {
            let entry = provider.as_hash().and_then(|hash| hash.iter().next());
            let (name, settings) = entry.ok_or(Problem::Lacks("providers"))?;
            let name = name.as_str().unwrap_or_default();
            if name == "identity" && rule.keys.is_empty() {
                return Err(Problem::Plain);
            }
            if name == "identity" {
                rule.plain = true;
                continue;
            }
            let provider = Provider::WITH_KEYS.into_iter().find(|it| it.name() == name);
            let provider = provider.ok_or_else(|| Problem::KeyElsewhere(name.to_owned()))?;
            for key in list(settings, "keys")? {
                let text = |word: &str| key[word].as_str().unwrap_or_default().to_owned();
                rule.keys.push(Key {
                    provider,
                    name: text("name"),
                    secret: Zeroizing::new(text("secret")),
                });
            }
        }
        if rule.keys.is_empty() {
            return Err(Problem::Lacks("keys"));
        }
        Ok(rule)
    }
}

impl Key {
    fn name(&self) -> KeyName {
        KeyName {
            provider: self.provider,
            name: self.name.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encryption::{KEY_BYTES, check, render};
    use crate::inventory::Encryption;

    fn config(provider: Provider) -> Config {
        let encryption = Encryption {
            provider,
            resources: vec!["secrets".to_owned(), "configmaps".to_owned()],
            kms: None,
        };
        Config::parse(&render(&encryption, &[7; KEY_BYTES])).unwrap()
    }

    fn key(provider: Provider, name: &str) -> KeyName {
        let name = name.to_owned();
        KeyName { provider, name }
    }

    #[test]
    fn what_kinstall_writes_is_read_and_written_the_same() {
        for provider in Provider::WITH_KEYS {
            let encryption = Encryption {
                provider,
                resources: vec!["secrets".to_owned()],
                kms: None,
            };
            let text = render(&encryption, &[7; KEY_BYTES]);
            let config = Config::parse(&text).unwrap();
            assert_eq!(config.render().expose_text(), text.expose_text());
        }
    }

    #[test]
    fn a_rotation_goes_through_every_standing() {
        for from in Provider::WITH_KEYS {
            for to in Provider::WITH_KEYS {
                let mut config = config(from);
                let name = key(to, &config.free_name());
                assert_eq!(name.name, "key2");
                assert_eq!(config.standing(&name), Standing::Absent);
                config.add(&name, &[9; KEY_BYTES]);
                assert_eq!(config.standing(&name), Standing::Reads);
                let again = Config::parse(&config.render()).unwrap();
                assert_eq!(again.standing(&name), Standing::Reads);
                config.promote(&name);
                assert_eq!(config.standing(&name), Standing::Writes);
                let again = Config::parse(&config.render()).unwrap();
                assert_eq!(again.keys(), [name.clone(), key(from, "key1")]);
                config.keep_only(&name);
                assert_eq!(config.standing(&name), Standing::Alone);
                let asked = Encryption {
                    provider: to,
                    resources: config.resources(),
                    kms: None,
                };
                assert_eq!(check(&config.render(), &asked), Ok(()));
                assert_eq!(config.free_name(), "key3");
            }
        }
    }

    #[test]
    fn keys_that_a_service_holds_are_its_own_to_rotate() {
        let text = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n\
            resources:\n- resources: [secrets]\n  providers:\n  - kms: {name: a}\n";
        let problem = Config::parse(&Secret::new(text)).err();
        assert_eq!(problem, Some(Problem::KeyElsewhere("kms".to_owned())));
    }

    #[test]
    fn a_value_in_etcd_tells_its_key() {
        let key = key(Provider::Secretbox, "key3");
        assert_eq!(key.prefix(), "k8s:enc:secretbox:v1:key3:");
    }
}
