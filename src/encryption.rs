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

use crate::inventory::{Encryption, Kms, KmsApi, Provider};
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
    #[diagnostic(help(
        "kinstall neither has nor exchanges it: a key is rotated in the plugin itself, after which \
         Secrets are written anew (https://kubernetes.io/docs/tasks/administer-cluster/kms-provider/)"
    ))]
    KeyElsewhere(String),
    /// Plain text has no key to rotate.
    #[error("it encrypts nothing: `identity` writes")]
    #[diagnostic(help(
        "a cluster that begins to encrypt is out of a rotation's reach: it exchanges a key for \
         another. In `pki/encryption-config.yaml` put the new provider behind `identity`, and push; \
         then before it, and push; then write all Secrets anew \
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
    let provider = encryption.provider.name();
    let writes = Zeroizing::new(match (encryption.provider, &encryption.kms) {
        (Provider::Identity, _) => String::new(),
        (Provider::Kms, kms) => kms.as_ref().map(plugin).unwrap_or_default(),
        _ => format!(
            "      - {provider}:
          keys:
            - name: key1
              secret: {}\n",
            *secret
        ),
    });
    let text = Zeroizing::new(format!(
        "\
apiVersion: {API_VERSION}
kind: {KIND}
resources:
  - resources:
{resources}    providers:
{}      - identity: {{}}
",
        *writes
    ));
    Secret::new(text.as_bytes())
}

/// A plugin, as kube-apiserver is told of it. `apiVersion` came with v2, and old versions refuse a
/// word that they do not know.
fn plugin(kms: &Kms) -> String {
    let mut text = "      - kms:\n".to_owned();
    let mut line = |key: &str, value: String| {
        writeln!(text, "          {key}: {value}").expect("a string takes all");
    };
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    if kms.api == KmsApi::V2 {
        line("apiVersion", "v2".to_owned());
    }
    line("name", quoted(&kms.name));
    line("endpoint", quoted(&kms.endpoint));
    if let Some(timeout) = &kms.timeout {
        line("timeout", timeout.clone());
    }
    if let Some(size) = kms.cache_size {
        line("cachesize", size.to_string());
    }
    text
}

/// What a configuration encrypts, and who does it, the first of them writing: for one whose keys
/// are elsewhere.
pub fn outline(existing: &Secret) -> Result<(Vec<String>, Vec<String>), Problem> {
    let document = document(existing)?;
    let (mut resources, mut providers) = (Vec::new(), Vec::new());
    for rule in list(&document, "resources")? {
        let named = list(rule, "resources")?.iter().filter_map(Yaml::as_str);
        resources.extend(named.map(str::to_owned));
        for provider in list(rule, "providers")? {
            let entry = provider.as_hash().and_then(|hash| hash.iter().next());
            let (name, settings) = entry.ok_or(Problem::Lacks("providers"))?;
            let name = name.as_str().unwrap_or_default();
            let word = match settings["name"].as_str() {
                Some(own) => format!("{own} ({name})"),
                None => name.to_owned(),
            };
            if !providers.contains(&word) {
                providers.push(word);
            }
        }
    }
    Ok((resources, providers))
}

fn document(text: &Secret) -> Result<Yaml, Problem> {
    let not_yaml = Problem::NotYaml { line: 1 };
    let text = text.expose_text().ok_or(not_yaml.clone())?;
    let documents = YamlLoader::load_from_str(text).map_err(|error| Problem::NotYaml {
        line: error.marker().line(),
    })?;
    let [document] = <[Yaml; 1]>::try_from(documents).map_err(|_| not_yaml)?;
    Ok(document)
}

/// Checks an existing configuration: that kube-apiserver would take it, and that it does what the
/// inventory says.
pub fn check(existing: &Secret, encryption: &Encryption) -> Result<(), Problem> {
    let document = document(existing)?;
    let word = |key: &str| document[key].as_str().unwrap_or_default();
    if (word("apiVersion"), word("kind")) != (API_VERSION, KIND) {
        return Err(Problem::NotAConfiguration {
            kind: word("kind").to_owned(),
            api_version: word("apiVersion").to_owned(),
        });
    }
    let mut found = BTreeSet::new();
    for rule in list(&document, "resources")? {
        for resource in list(rule, "resources")? {
            found.insert(resource.as_str().unwrap_or_default());
        }
        check_providers(list(rule, "providers")?, encryption)?;
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
fn check_providers(providers: &[Yaml], encryption: &Encryption) -> Result<(), Problem> {
    let asked = encryption.provider;
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
        if let Some(kms) = encryption.kms.as_ref().filter(|_| index == 0) {
            check_plugin(settings, kms)?;
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

/// A plugin that is called otherwise could not read what is stored.
fn check_plugin(settings: &Yaml, kms: &Kms) -> Result<(), Problem> {
    let text = |key: &str| match &settings[key] {
        Yaml::String(text) => text.clone(),
        Yaml::Integer(number) => number.to_string(),
        _ => String::new(),
    };
    let api = match kms.api {
        KmsApi::V1 => "v1",
        KmsApi::V2 => "v2",
    };
    let found_api = Some(text("apiVersion")).filter(|text| !text.is_empty());
    let size = kms.cache_size.map(|size| size.to_string());
    let rows = [
        ("name", text("name"), kms.name.clone()),
        ("endpoint", text("endpoint"), kms.endpoint.clone()),
        (
            "apiVersion",
            found_api.unwrap_or_else(|| "v1".to_owned()),
            api.to_owned(),
        ),
        (
            "timeout",
            text("timeout"),
            kms.timeout.clone().unwrap_or_default(),
        ),
        ("cachesize", text("cachesize"), size.unwrap_or_default()),
    ];
    for (key, found, asked) in rows {
        if found != asked {
            return Err(Problem::OtherPlugin { key, found, asked });
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
            kms: None,
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

    fn kms(api: KmsApi) -> Encryption {
        Encryption {
            kms: Some(Kms {
                name: "house".to_owned(),
                endpoint: "unix:///run/kms.sock".to_owned(),
                api,
                timeout: Some("5s".to_owned()),
                cache_size: (api == KmsApi::V1).then_some(500),
            }),
            ..encryption(Provider::Kms, &["secrets"])
        }
    }

    #[test]
    fn a_plugin_is_passed_on_as_it_is() {
        let told = |encryption: &Encryption| {
            let text = render(encryption, &[7; KEY_BYTES]);
            assert_eq!(check(&text, encryption), Ok(()));
            let text = text.expose_text().unwrap().to_owned();
            assert!(!text.contains("secret:"), "{text}");
            let (_, providers) = text.split_once("providers:\n").unwrap();
            providers.to_owned()
        };
        let socket = "          name: \"house\"\n          endpoint: \"unix:///run/kms.sock\"\n";
        assert_eq!(
            told(&kms(KmsApi::V1)),
            format!(
                "      - kms:\n{socket}          timeout: 5s\n          cachesize: 500\n      - identity: {{}}\n"
            )
        );
        assert_eq!(
            told(&kms(KmsApi::V2)),
            format!(
                "      - kms:\n          apiVersion: v2\n{socket}          timeout: 5s\n      - identity: {{}}\n"
            )
        );
        let plain = encryption(Provider::Identity, &["secrets"]);
        assert_eq!(told(&plain), "      - identity: {}\n");
    }

    #[test]
    fn what_has_no_key_here_is_not_rotated_and_says_why() {
        let text = render(&kms(KmsApi::V2), &[7; KEY_BYTES]);
        let elsewhere = Problem::KeyElsewhere("kms".to_owned());
        assert_eq!(Config::parse(&text).err(), Some(elsewhere));
        let providers = ["house (kms)".to_owned(), "identity".to_owned()];
        let outlined = (vec!["secrets".to_owned()], providers.to_vec());
        assert_eq!(outline(&text), Ok(outlined));
        let plain = render(
            &encryption(Provider::Identity, &["secrets"]),
            &[7; KEY_BYTES],
        );
        assert_eq!(Config::parse(&plain).err(), Some(Problem::Plain));
        let mut other = kms(KmsApi::V2);
        if let Some(kms) = &mut other.kms {
            kms.name = "other".to_owned();
        }
        let told = check(&text, &other).unwrap_err().to_string();
        assert_eq!(
            told,
            "its plugin has the name `house`, the inventory says `other`"
        );
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
