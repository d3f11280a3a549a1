//! The keys of a configuration and their order: what rotation changes. Pure.

use std::collections::BTreeSet;

use super::Problem;
use super::config::{Config, Key, Provider, Rule};
use crate::inventory;

/// A key by what it is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyName {
    /// Its provider.
    pub provider: inventory::Provider,
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

/// Where a key stands in every rule of a configuration that encrypts.
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
    /// Whether a rotation can keep all that the configuration says but the key.
    pub fn can_rotate(&self) -> Result<(), Problem> {
        if let Some(place) = &self.unknown {
            let place = place.clone();
            return Err(Problem::Unknown { place });
        }
        if let Some(repeated) = &self.repeated {
            return Err(Problem::Repeated(repeated.clone()));
        }
        let providers = || self.resources.iter().flat_map(|rule| &rule.providers);
        if providers().any(|provider| provider.kms.is_some()) {
            let name = inventory::Provider::Kms.name().to_owned();
            return Err(Problem::KeyElsewhere(name));
        }
        // A rule that leaves what it names in plain text stays as it is. One that only still reads
        // what was encrypted is a change that somebody else is about.
        let writes_plain = |rule: &Rule| rule.keys().next().is_some() && rule.writer().is_none();
        if self.encrypting().next().is_none() || self.resources.iter().any(writes_plain) {
            return Err(Problem::Plain);
        }
        Ok(())
    }

    /// The one provider that writes, where it is one.
    pub fn writer(&self) -> Result<inventory::Provider, Problem> {
        let writers: BTreeSet<_> = self.encrypting().filter_map(Rule::writer).collect();
        match writers.iter().collect::<Vec<_>>()[..] {
            [writer] => Ok(*writer),
            [] => Err(Problem::Plain),
            [..] => {
                let names: Vec<_> = writers
                    .iter()
                    .map(|it| format!("`{}`", it.name()))
                    .collect();
                Err(Problem::SeveralProviders(names.join(", ")))
            }
        }
    }

    /// The rules that encrypt with keys in the file.
    fn encrypting(&self) -> impl Iterator<Item = &Rule> {
        let rules = self.resources.iter();
        rules.filter(|rule| rule.keys().next().is_some())
    }

    /// The keys, each once.
    pub fn keys(&self) -> Vec<KeyName> {
        let mut names = Vec::new();
        for name in self.encrypting().flat_map(Rule::names) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The resources that are encrypted with these keys.
    pub fn encrypted(&self) -> Vec<String> {
        let rules = self.encrypting();
        rules.flat_map(|rule| rule.resources.clone()).collect()
    }

    /// Where a key stands.
    pub fn standing(&self, name: &KeyName) -> Standing {
        let all = |is: fn(&Rule, &KeyName) -> bool| self.encrypting().all(|rule| is(rule, name));
        if !all(|rule, name| rule.names().any(|key| key == *name)) {
            Standing::Absent
        } else if !all(|rule, name| rule.names().next().is_some_and(|key| key == *name)) {
            Standing::Reads
        } else if all(|rule, _| rule.keys().count() == 1) {
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

    /// Adds a key that is read, second in each rule that encrypts.
    pub fn add(&mut self, name: &KeyName, secret: &[u8]) {
        self.change(|keys| {
            keys.retain(|(provider, key)| !name.is(*provider, key));
            let key = Key::new(&name.name, secret);
            keys.insert(keys.len().min(1), (name.provider, key));
        });
    }

    /// Has a key write.
    pub fn promote(&mut self, name: &KeyName) {
        self.change(|keys| keys.sort_by_key(|(provider, key)| !name.is(*provider, key)));
    }

    /// Drops every other key.
    pub fn keep_only(&mut self, name: &KeyName) {
        self.change(|keys| keys.retain(|(provider, key)| name.is(*provider, key)));
    }

    fn change(&mut self, change: impl Fn(&mut Vec<(inventory::Provider, Key)>)) {
        for rule in &mut self.resources {
            let mut keys: Vec<_> = rule.keys().map(|(it, key)| (it, key.clone())).collect();
            if !keys.is_empty() {
                change(&mut keys);
                rule.set(keys);
            }
        }
    }
}

impl KeyName {
    fn is(&self, provider: inventory::Provider, key: &Key) -> bool {
        self.provider == provider && self.name == key.name
    }
}

impl Rule {
    fn keys(&self) -> impl Iterator<Item = (inventory::Provider, &Key)> {
        let providers = self.providers.iter().filter_map(Provider::keys);
        providers.flat_map(|(provider, keys)| keys.iter().map(move |key| (provider, key)))
    }

    fn names(&self) -> impl Iterator<Item = KeyName> {
        self.keys().map(|(provider, key)| KeyName {
            provider,
            name: key.name.clone(),
        })
    }

    /// The provider that writes, if its keys are in the file.
    fn writer(&self) -> Option<inventory::Provider> {
        let (provider, _) = self.providers.first()?.keys()?;
        Some(provider)
    }

    /// Puts keys in the place of those before. What is no key stands behind them, where it reads
    /// what it read before.
    fn set(&mut self, keys: Vec<(inventory::Provider, Key)>) {
        // Neighbours of one provider share its list: kube-apiserver tries them in order.
        let mut runs: Vec<(inventory::Provider, Vec<Key>)> = Vec::new();
        for (provider, key) in keys {
            match runs.last_mut() {
                Some((last, keys)) if *last == provider => keys.push(key),
                _ => runs.push((provider, vec![key])),
            }
        }
        let runs = runs.into_iter();
        let runs = runs.filter_map(|(provider, keys)| Provider::with_keys(provider, keys));
        let others = std::mem::take(&mut self.providers).into_iter();
        let others = others.filter(|provider| provider.keys().is_none());
        self.providers = runs.chain(others).collect();
    }
}
