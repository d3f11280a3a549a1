//! `[source]`, `[pki]` and `[encryption]`.

use std::collections::BTreeMap;

use super::{address, kms, scalar, vault};
use crate::component::PUBLISHERS;
use crate::image::Reference;
use crate::inventory::draft::{ClusterDraft, Field};
use crate::inventory::name::DomainName;
use crate::inventory::problem::Problem;
use crate::inventory::settings::{
    Authorities, Encryption, KeyType, Pki, PkiSource, Provider, Requirement, Source,
};
use crate::inventory::table::{At, Found, Table, Value, refuse, shown};
use crate::plain::count;
use crate::version::Minor;

/// A hundred years, about: the longest validity in the documents of the field.
const DAYS_MAX: u32 = 36_500;

/// The first Kubernetes that takes `*` in the resources of an `EncryptionConfiguration`.
const WILDCARDS_SINCE: Minor = Minor::new(1, 27);

/// Reads `[source]`.
pub(super) fn source(mut table: Table<'_>, found: &mut Found) -> Source {
    let mut bases = Source::default().bases;
    for publisher in PUBLISHERS {
        if let Some(said) = table.read(publisher.name, found, sources).value() {
            bases.insert(publisher.name, said);
        }
    }
    let registries = registries(&mut table, found);
    let rebuilt = table.take("rebuilt");
    let rebuilt = rebuilt.and_then(|value| value.boolean(found)) == Some(true);
    if let Some(archive) = table.take_foreign("archive") {
        let message = "`archive` is no longer supported: each program is fetched as a single file";
        let problem = Problem::new(archive.key_span, "removed", message);
        let help = "remove the line; `kinstall.lock` and bundles stay valid";
        found.push(problem.help(help));
    }
    let words = [
        ("built-in", Requirement::BuiltIn),
        ("published", Requirement::Published),
    ];
    let require = table.read("require", found, |value, found| {
        value.word(&words, &[], found)
    });
    let ca = table.read("ca", found, scalar::local_path);
    if rebuilt
        && let Some(require) = require.this()
        && require.value == Requirement::BuiltIn
    {
        let message = "of builds of one's own nothing is built in: with `rebuilt = true` nothing \
                       could ever be fetched";
        let help = "leave one of them out";
        let problem = Problem::new(require.span.clone(), "not with `rebuilt`", message);
        found.push(problem.help(help));
    }
    table.finish(found);
    Source {
        bases,
        registries,
        rebuilt,
        require: require.value(),
        ca: ca.value(),
    }
}

/// `images`, the sources of the registry of Kubernetes, and `registries`, those of others.
fn registries(table: &mut Table<'_>, found: &mut Found) -> BTreeMap<String, Vec<String>> {
    let mut registries = BTreeMap::new();
    if let Some(said) = table.read("images", found, sources).value() {
        registries.insert(Source::KUBERNETES_REGISTRY.to_owned(), said);
    }
    let Some(value) = table.take("registries") else {
        return registries;
    };
    let Some(mut table) = value.table("`[source.registries]`", found) else {
        return registries;
    };
    for (name, value) in table.take_all() {
        let problem = |message| Problem::new(value.key_span.clone(), "this key", message);
        let image: Option<Reference> = format!("{name}/image:1").parse().ok();
        if image.is_none_or(|image| image.registry != name) {
            let message = format!("`{}` is no registry", shown(name));
            let help = "write its host, and its port if it has one of its own, in quotes: \
                        `\"docker.io\"`, `\"registry.home:5000\"`";
            found.push(problem(message).help(help));
        }
        let said = sources(&value, found);
        let again = said.and_then(|said| registries.insert(name.to_owned(), said.value));
        if again.is_some() {
            let message = format!("the sources of `{name}` are named already, by `images`");
            found.push(problem(message).help("leave one of them out"));
        }
    }
    registries
}

fn sources(value: &Value<'_>, found: &mut Found) -> Option<At<Vec<String>>> {
    let elements = value.elements("an array of strings", found)?;
    if elements.is_empty() {
        let message = format!("`{}` names no source", value.key);
        let help = "name one, or leave the key out: the default is upstream's own";
        return refuse(found, value.problem("empty", message).help(help));
    }
    let source = |element: &Value<'_>| Some(address::source(element, found)?.value);
    let sources: Vec<_> = elements.iter().filter_map(source).collect();
    Some(value.at(sources))
}

/// Reads `[pki]`.
pub(super) fn pki(mut table: Table<'_>, found: &mut Found) -> Pki {
    let default = Pki::default();
    let authorities = [
        ("single", Authorities::Single),
        ("kubeadm", Authorities::Kubeadm),
        ("separate", Authorities::Separate),
    ];
    let keys = [
        ("ecdsa-p256", KeyType::EcdsaP256),
        ("rsa-2048", KeyType::Rsa2048),
        ("rsa-4096", KeyType::Rsa4096),
    ];
    let from = pki_source(&mut table, found);
    let authorities = table.read("authorities", found, |value, found| {
        value.word(&authorities, &[], found)
    });
    let key = table.read("key", found, |value, found| {
        value.word(
            &keys,
            &[("ecdsa", "ecdsa-p256"), ("rsa", "rsa-2048")],
            found,
        )
    });
    let days = table.read("days", found, days);
    let ca_days = table.read("ca-days", found, self::days);
    leaf_within_authority(&days, &ca_days, found);
    table.finish(found);
    // Of Vault each mount is an authority of its own.
    let usual = match from {
        Some(PkiSource::Vault(_)) => Authorities::Separate,
        _ => default.authorities,
    };
    Pki {
        from: from.unwrap_or(default.from),
        authorities: authorities.value().unwrap_or(usual),
        key: key.value().unwrap_or(default.key),
        days: days.value().unwrap_or(default.days),
        ca_days: ca_days.value().unwrap_or(default.ca_days),
    }
}

/// `from`, and what belongs to each of its words.
fn pki_source(table: &mut Table<'_>, found: &mut Found) -> Option<PkiSource> {
    #[derive(Clone, Copy, PartialEq)]
    enum From {
        Local,
        Directory,
        Vault,
    }
    let words = [
        ("local", From::Local),
        ("directory", From::Directory),
        ("vault", From::Vault),
    ];
    let aliases = [("cfssl", "directory"), ("kubeadm", "directory")];
    let from = table.read("from", found, |value, found| {
        value.word(&words, &aliases, found)
    });
    let (dir, vault) = (table.take("dir"), table.take("vault"));
    let (from_word, _) = from.or_default(From::Local)?;
    let place = from.this().map_or(table.span.clone(), |it| it.span.clone());
    let mut idle = |value: &Option<Value<'_>>, message: &str, help: &str| {
        if let Some(value) = value {
            let problem = Problem::new(value.key_span.clone(), "not used", message);
            found.push(problem.help(help));
        }
    };
    if from_word != From::Directory {
        idle(
            &dir,
            "`dir` says nothing where certificates come from elsewhere",
            "add `from = \"directory\"`, or leave `dir` out: kinstall's own lie in `pki/` beside \
             the inventory",
        );
    }
    if from_word != From::Vault {
        idle(
            &vault,
            "`[pki.vault]` says nothing where certificates come from elsewhere",
            "add `from = \"vault\"` to `[pki]`, or leave the table out",
        );
    }
    let lack = |message: &str, help: &str| Problem::new(place, "which?", message).help(help);
    match (from_word, dir, vault) {
        (From::Local, None, None) => Some(PkiSource::Local),
        (From::Local, ..) => None,
        (From::Directory, Some(dir), _) => {
            let dir = scalar::local_path(&dir, found)?;
            Some(PkiSource::Directory(dir.value))
        }
        (From::Directory, None, _) => refuse(
            found,
            lack(
                "`from = \"directory\"` wants a `dir`",
                "name the directory: `dir = \"pki\"`",
            ),
        ),
        (From::Vault, _, Some(value)) => {
            let table = value.table("`[pki.vault]`", found)?;
            Some(PkiSource::Vault(Box::new(vault::read(table, found))))
        }
        (From::Vault, _, None) => refuse(
            found,
            lack(
                "`from = \"vault\"` wants a table `[pki.vault]`",
                "write `[pki.vault]` with `address`, `mount` and `role`",
            ),
        ),
    }
}

fn days(value: &Value<'_>, found: &mut Found) -> Option<At<u32>> {
    let days = value.integer("days", 1..=DAYS_MAX, found)?;
    Some(value.at(days))
}

/// A leaf that outlives its authority is refused by every peer once the authority has expired.
fn leaf_within_authority(days: &Field<u32>, ca_days: &Field<u32>, found: &mut Found) {
    let default = Pki::default();
    let Some((leaf, _)) = days.or_default(default.days) else {
        return;
    };
    let Some((authority, _)) = ca_days.or_default(default.ca_days) else {
        return;
    };
    let places = [(days.this(), "the leaf"), (ca_days.this(), "the authority")];
    let mut places = places
        .into_iter()
        .filter_map(|(at, label)| Some((at?.span.clone(), label)));
    if leaf > authority
        && let Some((span, label)) = places.next()
    {
        let message = format!(
            "a leaf of {} would outlive its authority of {}",
            count(leaf, "day"),
            count(authority, "day")
        );
        let problem = Problem::new(span, label, message);
        let problem = places.fold(problem, |problem, (span, label)| {
            problem.and_at(span, label)
        });
        found.push(problem.help("set `ca-days` to at least `days`; by default it is 3650"));
    }
}

/// Reads `[encryption]`.
pub(super) fn encryption(
    mut table: Table<'_>,
    cluster: &ClusterDraft,
    found: &mut Found,
) -> Encryption {
    let default = Encryption::default();
    let words = Provider::ALL.map(|provider| (provider.name(), provider));
    let provider = table.read("provider", found, |value, found| {
        value.word(&words, &[], found)
    });
    let kubernetes = cluster
        .kubernetes
        .this()
        .map(|version| version.value.minor());
    let resources = table.read("resources", found, |value, found| {
        resources(value, kubernetes, found)
    });
    let kms = kms::read(&mut table, &provider, kubernetes, found);
    let is_file = |it: &At<Provider>| it.value == Provider::File;
    if provider.this().is_some_and(is_file)
        && let Some(resources) = resources.this()
    {
        let message = "`resources` says nothing where the file does";
        let problem = Problem::new(resources.span.clone(), "not used", message);
        let help = "leave it out: with `provider = \"file\"`, `pki/encryption-config.yaml` says \
                    what is encrypted, and with what";
        found.push(problem.help(help));
    }
    table.finish(found);
    Encryption {
        kms,
        provider: provider.value().unwrap_or(default.provider),
        resources: resources.value().unwrap_or(default.resources),
    }
}

fn resources(
    value: &Value<'_>,
    kubernetes: Option<Minor>,
    found: &mut Found,
) -> Option<At<Vec<String>>> {
    let texts = value.texts(found)?;
    if texts.is_empty() {
        let message = "`resources` is empty: nothing would be encrypted";
        let help = "name at least `secrets`";
        return refuse(found, value.problem("empty", message).help(help));
    }
    let mut resources: Vec<String> = Vec::new();
    for text in texts {
        let wildcard = text.value.starts_with("*.");
        let problem = |label, message: String| Problem::new(text.span.clone(), label, message);
        let other = resources.iter().find(|other| overlap(other, text.value));
        if let Some(other) = other {
            let (word, other) = (shown(text.value), shown(other));
            let message = format!("`{word}` is named already, by `{other}`");
            found.push(problem("again", message).help("leave one of them out"));
        } else if !is_resource(text.value) {
            let message = format!("`{}` is not a resource", shown(text.value));
            let help = "write its plural, and its group after a dot unless that is the core \
                        one: `secrets`, `leases.coordination.k8s.io`";
            found.push(problem("not a resource", message).help(help));
        } else if wildcard && kubernetes.is_some_and(|it| it < WILDCARDS_SINCE) {
            let message = format!("`{}`: Kubernetes takes no `*` here", text.value);
            let help = format!("it does since {WILDCARDS_SINCE}: name each resource");
            found.push(problem("too new", message).help(help));
        }
        resources.push(text.value.to_owned());
    }
    Some(value.at(resources))
}

/// Whether two of them name the same: kube-apiserver refuses that.
fn overlap(one: &str, other: &str) -> bool {
    let group = |resource: &str| {
        resource
            .split_once('.')
            .map_or("", |(_, group)| group)
            .to_owned()
    };
    let holds = |wild: &str, resource: &str| {
        wild == "*.*" || wild.starts_with("*.") && group(wild) == group(resource)
    };
    one == other || holds(one, other) || holds(other, one)
}

/// Whether this is `plural`, `plural.group`, `*.group`, `*.` or `*.*`.
fn is_resource(text: &str) -> bool {
    match text.strip_prefix("*.") {
        Some("" | "*") => true,
        Some(group) => group.parse::<DomainName>().is_ok(),
        None => text.parse::<DomainName>().is_ok(),
    }
}
