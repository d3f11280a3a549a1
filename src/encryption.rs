//! `encryption-config.yaml`: how kube-apiserver encrypts what it stores, and with which key.
//!
//! The file is made once for a cluster. An existing one is only ever checked: what was encrypted
//! with its key can be read with that key alone. Pure.

mod config;
mod endpoint;
mod json;
mod rotation;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::BTreeSet;

use miette::Diagnostic;

use self::config::{Plugin, Rule};
use crate::inventory::{Encryption, Kms, KmsApi, Provider};
use crate::secret::Secret;
use crate::yaml;

pub use config::Config;
pub use rotation::{KeyName, Standing};
pub use verdict::Target;

/// Bytes of a new key: the longest that each provider takes, and the only length `secretbox` does.
pub const KEY_BYTES: usize = 32;

const API_VERSION: &str = "apiserver.config.k8s.io/v1";
const KIND: &str = "EncryptionConfiguration";

/// Why an existing configuration does not serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Diagnostic)]
pub enum Problem {
    /// It cannot be read at all.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Yaml(#[from] yaml::Problem),
    /// It begins as JSON, and is none.
    #[error("it begins with `{{` and is not JSON (line {line})")]
    #[diagnostic(help(
        "Kubernetes reads what begins with a brace as JSON: write it so, or as YAML"
    ))]
    NotJson {
        /// Where the parser stopped. Not what it found there: that may be a key.
        line: usize,
    },
    /// It is empty, a list or a text.
    #[error("it is no table of settings")]
    NoTable,
    /// It is something else.
    #[error(
        "it is `{kind}` of `{api_version}`, not `{}` of `{}`",
        KIND,
        API_VERSION
    )]
    #[diagnostic(help("if it is an encryption configuration, change these two words in it"))]
    NotAConfiguration {
        /// Its kind.
        kind: String,
        /// Its API version.
        api_version: String,
    },
    /// A field of another type.
    #[error(transparent)]
    #[diagnostic(help(
        "kube-apiserver reads no file in which a field is something else; quote what is a text"
    ))]
    Misfit(#[from] yaml::Misfit),
    /// A word that Kubernetes does not know.
    #[error("`{place}` is a word that kube-apiserver does not know")]
    #[diagnostic(help(
        "since 1.31 it does not start with one, and before it passes over it: correct it or take \
         it out"
    ))]
    Unknown {
        /// The field.
        place: String,
    },
    /// A key that a table has twice.
    #[error("`{}` is given a second time in line {}", .0.key, .0.line)]
    #[diagnostic(help(
        "since 1.31 kube-apiserver does not start with it, and before the last one counts, or in JSON \
         both do: take the other out"
    ))]
    Repeated(yaml::Repeated),
    /// A list that must be there is not, or is empty.
    #[error("it has no `{0}`")]
    Lacks(String),
    /// A key that kube-apiserver would refuse.
    #[error("`{place}`: key `{name}` of `{provider}` is not base64 of {expected} bytes")]
    BadKey {
        /// The entry.
        place: String,
        /// The provider that it belongs to.
        provider: &'static str,
        /// Its name.
        name: String,
        /// The lengths that the provider takes.
        expected: &'static str,
    },
    /// Something else that kube-apiserver does not start with.
    #[error("`{place}` {why}")]
    #[diagnostic(help("{help}"))]
    Refused {
        /// The field.
        place: String,
        /// What is wrong with it.
        why: String,
        /// What to write.
        help: &'static str,
    },
    /// A provider keeps its key elsewhere.
    #[error("the provider `{0}` keeps its key elsewhere")]
    #[diagnostic(help(
        "kinstall neither has nor exchanges it: a key is rotated in the plugin itself, after which \
         Secrets are rewritten (https://kubernetes.io/docs/tasks/administer-cluster/kms-provider/)"
    ))]
    KeyElsewhere(String),
    /// Plain text has no key to rotate.
    #[error("it encrypts nothing: `identity` writes")]
    #[diagnostic(help(
        "a cluster that begins to encrypt is out of a rotation's reach: it exchanges a key for \
         another. In `pki/encryption-config.yaml` put the new provider behind `identity`, and push; \
         then before it, and push; then rewrite all Secrets \
         (https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/)"
    ))]
    Plain,
    /// The inventory says another plugin.
    #[error("its plugin has the {key} `{found}`, the inventory says `{asked}`")]
    #[diagnostic(help(
        "what is stored names the plugin that can read it: leave `[encryption.kms]` as the file has \
         it; a key is rotated in the plugin, and a plugin exchanged as upstream's page on KMS \
         providers says"
    ))]
    OtherPlugin {
        /// The setting.
        key: &'static str,
        /// What the file says.
        found: String,
        /// What the inventory says.
        asked: String,
    },
    /// The inventory says another provider.
    #[error("it encrypts with `{found}`, the inventory says `{asked}`")]
    #[diagnostic(help(
        "a provider is changed by `kinstall encryption rotate`: the new one is added, all data is \
         rewritten, and only then is the old one taken out; else leave `provider = \"{found}\"` in \
         `[encryption]`"
    ))]
    OtherProvider {
        /// The provider that writes, by the file.
        found: String,
        /// The provider that should, by the inventory.
        asked: &'static str,
    },
    /// The inventory says other resources.
    #[error("it encrypts {found}, the inventory says {asked}")]
    #[diagnostic(help(
        "resources are added and taken out by rotation, for what is stored must be rewritten; \
         until then leave `resources` in `[encryption]` as the file has them"
    ))]
    OtherResources {
        /// The resources in the file.
        found: String,
        /// The resources in the inventory.
        asked: String,
    },
    /// The inventory says one rule, the file has others.
    #[error("it has {count} rules, and none of them is for {asked} alone, as the inventory says")]
    #[diagnostic(help(
        "set `provider = \"file\"` in `[encryption]`: the configuration is then yours alone, and \
         kinstall takes all that kube-apiserver takes"
    ))]
    OtherRules {
        /// How many there are.
        count: usize,
        /// The resources in the inventory.
        asked: String,
    },
    /// Rules whose providers differ.
    #[error("its rules encrypt with different providers: {0}")]
    #[diagnostic(help(
        "a rotation brings one key into every rule, and would take a provider away: exchange these \
         keys by hand, as upstream's page says \
         (https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/#rotating-a-decryption-key)"
    ))]
    SeveralProviders(String),
}

/// A new configuration: the provider with the key as `key1`, then `identity`.
pub fn render(encryption: &Encryption, key: &[u8; KEY_BYTES]) -> Secret {
    Config::new(encryption, key).write()
}

/// Reads a configuration that every kube-apiserver of the cluster takes.
pub fn read(text: &Secret, targets: &[Target]) -> Result<Config, Problem> {
    let config = Config::read(text)?;
    targets
        .iter()
        .try_for_each(|target| config.accepted(target))?;
    Ok(config)
}

/// Checks an existing configuration: that every kube-apiserver takes it, and that it does what the
/// inventory says.
pub fn check(
    existing: &Secret,
    encryption: &Encryption,
    targets: &[Target],
) -> Result<(), Problem> {
    let config = read(existing, targets)?;
    if encryption.provider == Provider::File {
        return Ok(());
    }
    // Of several rules one is the inventory's; what the others say, no inventory can.
    let asked = &encryption.resources;
    match (&*config.resources, config.rule_for(asked)) {
        (_, Some(rule)) => check_writer(rule, encryption),
        ([rule], None) => {
            check_writer(rule, encryption)?;
            Err(Problem::OtherResources {
                found: ticked(&rule.resources),
                asked: ticked(asked),
            })
        }
        (rules, None) => Err(Problem::OtherRules {
            count: rules.len(),
            asked: ticked(asked),
        }),
    }
}

/// The first provider writes; the others only read.
fn check_writer(rule: &Rule, encryption: &Encryption) -> Result<(), Problem> {
    let writer = rule.providers.first();
    let found = writer.and_then(config::Provider::kind);
    let (asked, found) = (encryption.provider.name(), found.map_or("", Provider::name));
    if found != asked {
        let found = found.to_owned();
        return Err(Problem::OtherProvider { found, asked });
    }
    let plugin = writer.and_then(|writer| writer.kms.as_ref());
    match (plugin, &encryption.kms) {
        (Some(plugin), Some(kms)) => check_plugin(plugin, kms),
        _ => Ok(()),
    }
}

/// A plugin that is called otherwise could not read what is stored.
fn check_plugin(found: &Plugin, kms: &Kms) -> Result<(), Problem> {
    let api = match kms.api {
        KmsApi::V1 => "v1",
        KmsApi::V2 => "v2",
    };
    let found_api = Some(&found.api_version).filter(|text| !text.is_empty());
    let size = |size: Option<String>| size.unwrap_or_default();
    let rows = [
        ("name", found.name.clone(), kms.name.clone()),
        ("endpoint", found.endpoint.clone(), kms.endpoint.clone()),
        (
            "apiVersion",
            found_api.map_or("v1", String::as_str).to_owned(),
            api.to_owned(),
        ),
        (
            "timeout",
            found.timeout.clone().unwrap_or_default(),
            kms.timeout.clone().unwrap_or_default(),
        ),
        (
            "cachesize",
            size(found.cachesize.map(|it| it.to_string())),
            size(kms.cache_size.map(|it| it.to_string())),
        ),
    ];
    for (key, found, asked) in rows {
        if found != asked {
            return Err(Problem::OtherPlugin { key, found, asked });
        }
    }
    Ok(())
}

fn ticked(names: &[String]) -> String {
    let names: BTreeSet<_> = names.iter().map(|name| format!("`{name}`")).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}
