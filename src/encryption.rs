//! `encryption-config.yaml`: how kube-apiserver encrypts what it stores, and with which key.
//!
//! The file is made once for a cluster. An existing one is only ever checked: what was encrypted
//! with its key can be read with that key alone.

mod config;

use std::collections::BTreeSet;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use miette::Diagnostic;
use yaml_rust2::{Yaml, YamlLoader};
use zeroize::Zeroizing;

use crate::inventory::{Encryption, Provider};
use crate::secret::Secret;

pub use config::{Config, KeyName, Standing};

/// Bytes of a new key: the longest that each provider takes, and the only length `secretbox` does.
pub const KEY_BYTES: usize = 32;

const API_VERSION: &str = "apiserver.config.k8s.io/v1";
const KIND: &str = "EncryptionConfiguration";

/// Why an existing configuration does not serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Diagnostic)]
pub enum Problem {
    /// It cannot be read at all.
    #[error("it is not YAML of one document (line {line})")]
    NotYaml {
        /// Where the parser stopped. Not what it found there: that may be a key.
        line: usize,
    },
    /// It is something else, or the spelling that kube-apiserver took before 1.13.
    #[error(
        "it is `{kind}` of `{api_version}`, not `{}` of `{}`",
        KIND,
        API_VERSION
    )]
    #[diagnostic(help(
        "if it is an encryption configuration in the old spelling, change these two words in it"
    ))]
    NotAConfiguration {
        /// Its kind.
        kind: String,
        /// Its API version.
        api_version: String,
    },
    /// A list that must be there is not, or is empty.
    #[error("it has no `{0}`")]
    Lacks(&'static str),
    /// A key that kube-apiserver would refuse.
    #[error("key `{name}` of `{provider}` is not base64 of {expected} bytes")]
    BadKey {
        /// The provider that it belongs to.
        provider: String,
        /// Its name.
        name: String,
        /// The lengths that the provider takes.
        expected: &'static str,
    },
    /// A provider keeps its key elsewhere.
    #[error("the provider `{0}` keeps its key elsewhere")]
    #[diagnostic(help("such a key is rotated where it is kept"))]
    KeyElsewhere(String),
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
}

/// A new configuration: the provider with the key as `key1`, then `identity`, so that what was
/// stored before in plain text can be read.
///
/// The form is `EncryptionConfiguration` of
/// <https://kubernetes.io/docs/reference/config-api/apiserver-config.v1/>.
pub fn render(encryption: &Encryption, key: &[u8; KEY_BYTES]) -> Secret {
    let mut resources = String::new();
    for resource in &encryption.resources {
        let resource = serde_json::Value::from(resource.as_str());
        writeln!(resources, "      - {resource}").expect("a string takes all");
    }
    let secret = Zeroizing::new(STANDARD.encode(key));
    let text = Zeroizing::new(format!(
        "\
apiVersion: {API_VERSION}
kind: {KIND}
resources:
  - resources:
{resources}    providers:
      - {provider}:
          keys:
            - name: key1
              secret: {secret}
      - identity: {{}}
",
        provider = encryption.provider.name(),
        secret = *secret,
    ));
    Secret::new(text.as_bytes())
}

/// Checks an existing configuration: that kube-apiserver would take it, and that it does what the
/// inventory says.
pub fn check(existing: &Secret, encryption: &Encryption) -> Result<(), Problem> {
    let not_yaml = Problem::NotYaml { line: 1 };
    let text = existing.expose_text().ok_or(not_yaml)?;
    let documents = YamlLoader::load_from_str(text).map_err(|error| Problem::NotYaml {
        line: error.marker().line(),
    })?;
    let [document] = &documents[..] else {
        return Err(Problem::NotYaml { line: 1 });
    };
    let word = |key: &str| document[key].as_str().unwrap_or_default();
    if (word("apiVersion"), word("kind")) != (API_VERSION, KIND) {
        return Err(Problem::NotAConfiguration {
            kind: word("kind").to_owned(),
            api_version: word("apiVersion").to_owned(),
        });
    }
    let mut found = BTreeSet::new();
    for rule in list(document, "resources")? {
        for resource in list(rule, "resources")? {
            found.insert(resource.as_str().unwrap_or_default());
        }
        check_providers(list(rule, "providers")?, encryption.provider)?;
    }
    let asked: BTreeSet<&str> = encryption.resources.iter().map(String::as_str).collect();
    if found == asked {
        Ok(())
    } else {
        Err(Problem::OtherResources {
            found: ticked(&found),
            asked: ticked(&asked),
        })
    }
}

fn list<'a>(parent: &'a Yaml, key: &'static str) -> Result<&'a [Yaml], Problem> {
    match parent[key].as_vec() {
        Some(items) if !items.is_empty() => Ok(items),
        _ => Err(Problem::Lacks(key)),
    }
}

/// The first provider writes; the others only read.
fn check_providers(providers: &[Yaml], asked: Provider) -> Result<(), Problem> {
    for (index, provider) in providers.iter().enumerate() {
        let entry = provider.as_hash().and_then(|hash| hash.iter().next());
        let (name, settings) = entry.ok_or(Problem::Lacks("providers"))?;
        let name = name.as_str().unwrap_or_default();
        if index == 0 && name != asked.name() {
            return Err(Problem::OtherProvider {
                found: name.to_owned(),
                asked: asked.name(),
            });
        }
        let (expected, lengths): (_, &[usize]) = match name {
            "aescbc" | "aesgcm" => ("16, 24 or 32", &[16, 24, 32]),
            "secretbox" => ("32", &[32]),
            _ => continue,
        };
        for key in list(settings, "keys")? {
            let secret = key["secret"].as_str().unwrap_or_default();
            let bytes = STANDARD.decode(secret).map(Zeroizing::new);
            if !bytes.is_ok_and(|bytes| lengths.contains(&bytes.len())) {
                return Err(Problem::BadKey {
                    provider: name.to_owned(),
                    name: key["name"].as_str().unwrap_or_default().to_owned(),
                    expected,
                });
            }
        }
    }
    Ok(())
}

fn ticked(names: &BTreeSet<&str>) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encryption(provider: Provider, resources: &[&str]) -> Encryption {
        Encryption {
            provider,
            resources: resources.iter().map(ToString::to_string).collect(),
        }
    }

    fn new() -> String {
        let secret = render(&encryption(Provider::Aescbc, &["secrets"]), &[7; KEY_BYTES]);
        secret.expose_text().unwrap().to_owned()
    }

    #[test]
    fn a_new_one_is_in_the_supported_spelling() {
        assert_eq!(
            new(),
            "\
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources:
      - \"secrets\"
    providers:
      - aescbc:
          keys:
            - name: key1
              secret: BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=
      - identity: {}
"
        );
    }

    #[test]
    fn every_new_one_passes_the_check() {
        for provider in [Provider::Aescbc, Provider::Aesgcm, Provider::Secretbox] {
            let encryption = encryption(provider, &["secrets", "configmaps", "*.example.org"]);
            let new = render(&encryption, &[1; KEY_BYTES]);
            assert_eq!(check(&new, &encryption), Ok(()));
        }
    }

    #[track_caller]
    fn refuse(text: &str, expected: &str) {
        let asked = encryption(Provider::Aescbc, &["secrets"]);
        let problem = check(&Secret::new(text), &asked).unwrap_err();
        assert_eq!(problem.to_string(), expected);
    }

    #[test]
    fn what_would_lose_data_or_stop_kube_apiserver_is_refused() {
        let new = new();
        refuse(
            &new.replace("aescbc", "secretbox"),
            "it encrypts with `secretbox`, the inventory says `aescbc`",
        );
        refuse(
            &new.replace("aescbc:", "identity: {}\n      - aescbc:"),
            "it encrypts with `identity`, the inventory says `aescbc`",
        );
        refuse(
            &new.replace("\"secrets\"", "configmaps\n      - secrets"),
            "it encrypts `configmaps`, `secrets`, the inventory says `secrets`",
        );
        refuse(
            &new.replace("BwcHBwcH", ""),
            "key `key1` of `aescbc` is not base64 of 16, 24 or 32 bytes",
        );
        refuse(
            &new.replace("apiserver.config.k8s.io/v1", "v1")
                .replace(KIND, "EncryptionConfig"),
            "it is `EncryptionConfig` of `v1`, \
             not `EncryptionConfiguration` of `apiserver.config.k8s.io/v1`",
        );
        refuse(&new.replace("keys:", "key:"), "it has no `keys`");
        refuse("", "it is not YAML of one document (line 1)");
        refuse("a: [", "it is not YAML of one document (line 2)");
    }

    #[test]
    fn a_key_made_elsewhere_and_json_are_taken() {
        let asked = encryption(Provider::Aescbc, &["secrets"]);
        let json = r#"{"kind":"EncryptionConfiguration","apiVersion":"apiserver.config.k8s.io/v1",
            "resources":[{"resources":["secrets"],"providers":[{"aescbc":{"keys":[
            {"name":"2024","secret":"BwcHBwcHBwcHBwcHBwcHBw=="}]}},{"identity":{}}]}]}"#;
        assert_eq!(check(&Secret::new(json), &asked), Ok(()));
    }
}
