//! Whether a node is as a check wants it.

use std::net::SocketAddr;

use super::field::of_field;
use super::view::data;
use super::{Attributes, Check, Files, Requirement, Rule, Status, View};
use crate::component;
use crate::flags::{FlagTable, Presence, nanoseconds};
use crate::inventory::{Authorities, Provider};
use crate::manifest::Mode;
use crate::remote_path::RemotePath;

/// The group that reads the service accounts' key: kube-apiserver and kube-controller-manager.
const SHARED_GROUP: &str = "kube-service-account";
/// Where a directory of each service lies.
const DIRECTORIES: [(&str, &str); 6] = [
    ("/etc/etcd", "etcd"),
    ("/etc/k8s/kube-apiserver", "kube-apiserver"),
    (
        "/etc/k8s/kube-controller-manager",
        "kube-controller-manager",
    ),
    ("/etc/k8s/kube-scheduler", "kube-scheduler"),
    ("/etc/k8s/kube-proxy", "kube-proxy"),
    ("/etc/k8s/shared", SHARED_GROUP),
];

pub(super) type Judged = (Status, String);

/// How a flag or a field is told.
#[derive(Default)]
pub(super) struct Reported {
    /// Its name.
    pub(super) label: String,
    /// Its name and its value; none where it is not said.
    pub(super) whole: Option<String>,
}

/// How a check turns out on a node, and why.
pub(super) fn judge(check: &Check, view: &View<'_>) -> Judged {
    let judged = match check.rule {
        Rule::Mode(files, most) => of_files(view, files, |path, it| mode(path, it, most)),
        Rule::Owner(files) => of_files(view, files, owner),
        Rule::Exactly(files, user) => of_files(view, files, |path, it| exactly(path, it, user)),
        Rule::Flag(component, wish) => of_flag(view, component, wish),
        Rule::Field(of, wish) => of_field(view, of, wish),
        Rule::Provider => provider(view),
        Rule::OwnAuthority => own_authority(view),
        Rule::Person(what) => (Status::Manual, what.to_owned()),
        Rule::Elsewhere(why) => (Status::NotApplicable, why.to_owned()),
    };
    match (judged, check.consider) {
        ((Status::Fail, reason), Some(consider)) => {
            (Status::Manual, format!("{reason}; {consider}"))
        }
        (judged, _) => judged,
    }
}

/// Asks each of some files; what is worst counts, and of what is as it should be, what is said.
fn of_files(
    view: &View<'_>,
    files: Files,
    judge: impl Fn(&RemotePath, &Attributes) -> Judged,
) -> Judged {
    if let Some(why) = not_here(view, files) {
        return (Status::NotApplicable, why);
    }
    let is_it = |path: &RemotePath, it: Option<&Attributes>| files.hold(view, path, it);
    if let Some(path) = view.missing.iter().find(|path| is_it(path, None)) {
        return (Status::Fail, format!("`{path}` is not there"));
    }
    let mut count = 0;
    let mut worst: Option<Judged> = None;
    for (path, it) in view.files.iter().filter(|(path, it)| is_it(path, Some(it))) {
        let judged = judge(path, it);
        count += 1;
        if worst.as_ref().is_none_or(|worst| judged.0 > worst.0) {
            worst = Some(judged);
        }
    }
    match worst {
        None => (Status::NotApplicable, "there are none".to_owned()),
        Some((Status::Pass, reason)) if count > 1 => (
            Status::Pass,
            format!("all {count} of them, such as {reason}"),
        ),
        Some(judged) => judged,
    }
}

/// Why a node has none of these files.
fn not_here(view: &View<'_>, files: Files) -> Option<String> {
    let runs = |name: &str| {
        (!view.programs.contains_key(name)).then(|| format!("no {name} is to run here"))
    };
    match files {
        Files::Unit(name) | Files::Kubeconfig(name) | Files::Configuration(name) => runs(name),
        Files::Data => runs("etcd"),
        Files::KubeletAuthority => runs("kubelet"),
        Files::Network => {
            let has_network = component::named("pod-bridge")
                .is_some_and(|bridge| view.inventory.gets(bridge, view.node));
            let why = "kinstall configures no network plugin here";
            (!has_network).then(|| why.to_owned())
        }
        Files::Pki | Files::Certificates | Files::Keys => None,
    }
}

impl Files {
    fn hold(self, view: &View<'_>, path: &RemotePath, it: Option<&Attributes>) -> bool {
        let text = path.as_str();
        let is_directory = it.is_some_and(|it| it.is_directory);
        let within = ["/etc/etcd", "/etc/k8s"]
            .iter()
            .any(|it| text.starts_with(it));
        match self {
            Self::Unit(name) => {
                let unit = format!("/etc/systemd/system/{name}.service");
                text == unit || text.starts_with(&format!("{unit}.d/"))
            }
            Self::Kubeconfig(name) => text == format!("/etc/k8s/{name}/{name}.kubeconfig"),
            Self::Configuration(name) => text == format!("/etc/k8s/{name}/{name}.yaml"),
            Self::Network => text.starts_with("/etc/cni/net.d/") && !is_directory,
            Self::Data => *path == data(),
            Self::Pki => {
                within && (is_directory || path.has_extension("pem") || path.has_extension("key"))
            }
            Self::Certificates => within && path.has_extension("pem"),
            Self::Keys => within && path.has_extension("key"),
            Self::KubeletAuthority => {
                let authority = match view.inventory.pki.authorities {
                    Authorities::Separate => "kubelet-client-ca",
                    Authorities::Single | Authorities::Kubeadm => "kubernetes-ca",
                };
                text == format!("/etc/k8s/shared/{authority}.pem")
            }
        }
    }
}

fn mode(path: &RemotePath, it: &Attributes, most: u16) -> Judged {
    let said = format!("`{path}` is {}", Mode(it.mode));
    if it.mode & !most == 0 {
        return (Status::Pass, said);
    }
    // Two services read it, neither of which is root.
    if it.mode == 0o440 && it.user == "root" && it.group == SHARED_GROUP {
        let who =
            "kube-apiserver and kube-controller-manager, and no other account, are in its group";
        return (Status::Manual, format!("{said}: {who} `{SHARED_GROUP}`"));
    }
    let most = Mode(most);
    (
        Status::Fail,
        format!("{said}, {most} is the most: `chmod {most}` it"),
    )
}

fn owner(path: &RemotePath, it: &Attributes) -> Judged {
    let Attributes { user, group, .. } = it;
    let said = format!("`{path}` is {user}:{group}");
    if user == "root" && group == "root" {
        return (Status::Pass, said);
    }
    let text = path.as_str();
    let row = DIRECTORIES.iter().find(|(directory, _)| {
        let rest = text.strip_prefix(directory);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    let service = row.map(|(_, service)| *service);
    let by_group = user == "root" && Some(group.as_str()) == service && it.mode & 0o022 == 0;
    let by_user = user == group && Some(user.as_str()) == service && it.mode & 0o222 == 0;
    if by_group || by_user {
        let mode = Mode(it.mode);
        let why = "as good as root's: the unprivileged service that reads it may not write it";
        return (Status::Pass, format!("{said} and {mode}, {why}"));
    }
    (Status::Fail, format!("{said}: `chown root:root` it"))
}

fn exactly(path: &RemotePath, it: &Attributes, user: &str) -> Judged {
    let said = format!("`{path}` is {}:{}", it.user, it.group);
    if it.user == user && it.group == user {
        (Status::Pass, said)
    } else {
        (Status::Fail, format!("{said}: `chown {user}:{user}` it"))
    }
}

fn of_flag(view: &View<'_>, component: &'static str, wish: Requirement) -> Judged {
    let flags = match view.programs.get(component) {
        None => {
            return (
                Status::NotApplicable,
                format!("no {component} is to run here"),
            );
        }
        Some(Err(why)) => return (Status::Manual, format!("its flags are not known: {why}")),
        Some(Ok(flags)) => flags,
    };
    let version = view.inventory.version(component, view.node);
    let absent = wish.names().iter().find(|name| {
        let table = FlagTable::of(component);
        table.is_some_and(|table| table.presence(name, version) == Presence::Absent)
    });
    if let Some(name) = absent.filter(|name| !flags.contains_key(**name)) {
        return (
            Status::NotApplicable,
            format!("{component} {version} has no `--{name}`"),
        );
    }
    // A file may say what the flag does not.
    let file = match wish.names() {
        ["authorization-mode"] => Some("authorization-config"),
        ["anonymous-auth"] => Some("authentication-config"),
        _ => None,
    };
    if let Some(file) = file.filter(|file| flags.contains_key(*file))
        && !wish.names().iter().all(|name| flags.contains_key(*name))
    {
        return (Status::Manual, format!("look into the file of `--{file}`"));
    }
    let given = |name: &str| flags.get(name).map(String::as_str);
    let said = |name: &str| Reported {
        label: format!("`--{name}`"),
        whole: given(name).map(|value| format!("`--{name}={value}`")),
    };
    wish.judge(given, said)
}

impl Requirement {
    pub(super) fn names(&self) -> &[&'static str] {
        match self {
            Self::Set(names) => names,
            Self::Unset(name)
            | Self::Is(name, _)
            | Self::IsUnlessUnset(name, _)
            | Self::Has(name, _)
            | Self::Lacks(name, _)
            | Self::LacksOrUnset(name, _)
            | Self::AtLeast(name, _)
            | Self::SomeTime(name)
            | Self::Loopback(name)
            | Self::Among(name, _) => std::slice::from_ref(name),
        }
    }

    pub(super) fn judge<'a>(
        self,
        given: impl Fn(&str) -> Option<&'a str>,
        told: impl Fn(&str) -> Reported,
    ) -> Judged {
        let verdict = |holds: bool, reason: String, advice: String| {
            if holds {
                (Status::Pass, reason)
            } else {
                (Status::Fail, format!("{reason}: {advice}"))
            }
        };
        let said = |name: &str| {
            let Reported { label, whole } = told(name);
            whole.unwrap_or_else(|| format!("{label} is not said"))
        };
        let words = |name: &str| given(name).into_iter().flat_map(|value| value.split(','));
        let has = |name: &str, word: &str| words(name).any(|it| it.trim() == word);
        match self {
            Self::Set(names) => {
                let unset = names
                    .iter()
                    .find(|name| given(name).is_none_or(str::is_empty));
                let shown = unset.unwrap_or(&names[0]);
                verdict(unset.is_none(), said(shown), format!("set `{shown}`"))
            }
            Self::Unset(name) => verdict(
                given(name).is_none(),
                said(name),
                format!("leave `{name}` out"),
            ),
            Self::Is(name, value) => {
                let holds = given(name) == Some(value);
                verdict(holds, said(name), format!("set `{name}` to `{value}`"))
            }
            Self::IsUnlessUnset(name, value) => {
                let holds = given(name).is_none_or(|given| given == value);
                verdict(holds, said(name), format!("set `{name}` to `{value}`"))
            }
            Self::Has(name, word) => verdict(
                has(name, word),
                said(name),
                format!("add `{word}` to `{name}`"),
            ),
            Self::Lacks(name, word) => {
                let holds = given(name).is_some() && !has(name, word);
                let advice = format!("set `{name}`, without `{word}`");
                verdict(holds, said(name), advice)
            }
            Self::LacksOrUnset(name, word) => {
                let advice = format!("leave `{word}` out of `{name}`");
                verdict(!has(name, word), said(name), advice)
            }
            Self::AtLeast(name, least) => {
                let number = given(name).and_then(|value| value.parse::<u64>().ok());
                let holds = number.is_some_and(|number| number >= least);
                verdict(
                    holds,
                    said(name),
                    format!("set `{name}` to {least} or more"),
                )
            }
            Self::SomeTime(name) => {
                let holds = given(name).is_none_or(|it| nanoseconds(it).is_some_and(|it| it > 0));
                verdict(holds, said(name), format!("set `{name}` to `4h0m0s`"))
            }
            Self::Loopback(name) => {
                let holds = given(name).is_none_or(|given| {
                    let address = given.parse::<SocketAddr>();
                    address.is_ok_and(|it| it.ip().is_loopback())
                });
                let advice = format!("set `{name}` to an address of the loopback, or leave it out");
                verdict(holds, said(name), advice)
            }
            Self::Among(name, strong) => {
                let weak = words(name).find(|word| !strong.contains(&word.trim()));
                let reason = match (given(name), weak) {
                    (None, _) => said(name),
                    (_, Some(weak)) => format!("{} has `{weak}`", told(name).label),
                    (_, None) => format!("all of {} are", told(name).label),
                };
                let holds = given(name).is_some() && weak.is_none();
                verdict(holds, reason, format!("leave weak ones out of `{name}`"))
            }
        }
    }
}

fn provider(view: &View<'_>) -> Judged {
    if !view.programs.contains_key("kube-apiserver") {
        return (
            Status::NotApplicable,
            "no kube-apiserver is to run here".to_owned(),
        );
    }
    let provider = view.inventory.encryption.provider;
    let said = format!("`[encryption] provider = \"{}\"`", provider.name());
    match provider {
        Provider::Aescbc | Provider::Secretbox | Provider::Kms => (Status::Pass, said),
        Provider::File => {
            let why = "look which providers write in `pki/encryption-config.yaml`";
            (Status::Manual, format!("{said}: {why}"))
        }
        Provider::Identity => (Status::Fail, format!("{said}: nothing is encrypted")),
        Provider::Aesgcm => {
            let why = "its key must be exchanged every 200000 writes; take `secretbox`";
            (Status::Fail, format!("{said}: {why}"))
        }
    }
}

fn own_authority(view: &View<'_>) -> Judged {
    let wish = Requirement::Set(&["trusted-ca-file"]);
    match of_flag(view, "etcd", wish) {
        (Status::Pass, reason) if view.inventory.pki.authorities != Authorities::Single => {
            (Status::Pass, reason)
        }
        (Status::Pass, _) => {
            let why = "one authority signs for etcd and for Kubernetes";
            (Status::Fail, why.to_owned())
        }
        judged => judged,
    }
}
