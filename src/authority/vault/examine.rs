//! What Vault would say to orders, asked before anything is: who may ask, whether the role is there,
//! what it would refuse, how long its certificates last, and who signs them. Everything at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use miette::Diagnostic;
use serde_json::{Value, json};

use super::answer::Answer;
use super::http::Call;
use super::order::{Login, Order};
use super::role::{Objection, Role};
use super::session::{Session, Sessions};
use crate::certificate::AuthorityName;
use crate::certificate::check::day;
use crate::certificate::describe::{describe, public_key};
use crate::inventory::vault::PrivateKey;
use crate::plain::count;

/// Something that Vault would refuse or do otherwise, or that it does not tell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[error("{message}")]
pub struct Finding {
    /// Whether certificates would not be issued.
    pub is_error: bool,
    /// What it is.
    pub message: String,
    /// The way out.
    #[help]
    pub help: Option<String>,
}

impl Finding {
    fn error(message: String, help: impl Into<String>) -> Self {
        Self {
            is_error: true,
            message,
            help: Some(help.into()),
        }
    }

    /// Something that should be known, and stops nothing.
    pub(super) const fn warning(message: String) -> Self {
        Self {
            is_error: false,
            message,
            help: None,
        }
    }
}

/// Orders of one role, by one login.
struct Group<'a> {
    login: &'a Login,
    mount: &'a str,
    role: &'a str,
    orders: Vec<&'a Order>,
}

impl Group<'_> {
    fn ids(&self) -> String {
        let ids = self.orders.iter().map(|order| order.id.to_string());
        ids.collect::<Vec<_>>().join(", ")
    }
}

/// Everything that is found. `known` are the authorities that the cluster was made with, and the
/// files that they are in.
pub(super) async fn all(
    orders: &[Order],
    sessions: &Sessions<'_>,
    known: &BTreeMap<AuthorityName, (PathBuf, String)>,
    now: i64,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut groups: BTreeMap<_, Group<'_>> = BTreeMap::new();
    for order in orders {
        let (login, mount, role) = order.role_name();
        let empty = || Group {
            login,
            mount,
            role,
            orders: Vec::new(),
        };
        let group = groups.entry(order.role_name()).or_insert_with(empty);
        group.orders.push(order);
    }
    for (login, session) in sessions {
        let own: Vec<&Group<'_>> = groups.values().filter(|it| it.login == *login).collect();
        match session {
            Ok(session) => of_login(session, login, &own, &mut findings).await,
            Err(why) => {
                let ids: Vec<String> = own.iter().map(|group| group.ids()).collect();
                let message = format!("Vault, {login}: {why}");
                let help = format!("nothing could be asked for {}", ids.join(", "));
                findings.push(Finding::error(message, help));
            }
        }
    }
    signers(
        &groups.into_values().collect::<Vec<_>>(),
        sessions,
        known,
        now,
        &mut findings,
    )
    .await;
    findings
}

/// Whether one login may ask, and what its roles would say.
async fn of_login(
    session: &Session,
    login: &Login,
    groups: &[&Group<'_>],
    findings: &mut Vec<Finding>,
) {
    if let Err(fault) = session.read(&["auth", "token", "lookup-self"]).await
        && matches!(fault.status, None | Some(401 | 403 | 503))
    {
        let message = format!("Vault, {login}: {}", fault.words);
        let help = "the token is not valid, or may not even be looked up: log in again, or name \
                    another one";
        findings.push(Finding::error(message, help));
        return;
    }
    let allowed = capabilities(session, groups).await;
    for group in groups {
        let role = format!("role `{}` of `{}`", group.role, group.mount);
        let may = |verb: &str| {
            let path = format!("{}/{verb}/{}", group.mount, group.role);
            allowed
                .as_ref()
                .is_none_or(|allowed| allowed.contains(&path))
        };
        let is_barred = match group.orders.first().and_then(|order| order.private_key) {
            Some(PrivateKey::Local) => !may("sign"),
            Some(PrivateKey::Vault) => !may("issue"),
            None => !may("sign") && !may("issue"),
        };
        if is_barred {
            let message = format!("Vault, {login}: may not ask {role}, for {}", group.ids());
            let help = format!(
                "its policy must give `update` on `{mount}/sign/{role}` or `{mount}/issue/{role}`",
                mount = group.mount,
                role = group.role
            );
            findings.push(Finding::error(message, help));
            continue;
        }
        match session.read(&[group.mount, "roles", group.role]).await {
            Ok(found) => match serde_json::from_value::<Role>(found) {
                Ok(read) => of_role(session, group, &role, &read, findings).await,
                Err(error) => findings.push(Finding::warning(format!(
                    "Vault: the {role} could not be read ({error}): what it refuses is told when it is asked"
                ))),
            },
            Err(fault) if fault.status == Some(403) => findings.push(Finding::warning(format!(
                "Vault: the {role} could not be looked at ({login} may not read it): what it refuses \
                 of {} is told when it is asked",
                group.ids()
            ))),
            Err(fault) => {
                let message = format!("Vault has no {role}, for {}: {}", group.ids(), fault.words);
                let help = "`mount` and `role` in `[pki.vault]` name what `vault secrets list` and \
                            `vault list MOUNT/roles` show; see `namespace`, too";
                findings.push(Finding::error(message, help));
            }
        }
    }
}

/// The paths among those that the groups need that may be asked; none where that is not told.
async fn capabilities(session: &Session, groups: &[&Group<'_>]) -> Option<BTreeSet<String>> {
    let verbs = ["sign", "issue"];
    let paths = groups
        .iter()
        .flat_map(|group| verbs.map(|verb| format!("{}/{verb}/{}", group.mount, group.role)));
    let paths: Vec<String> = paths.collect();
    let body = json!({"paths": paths});
    let path = ["sys", "capabilities-self"];
    let call = Call::post(&path, session.token(), &body);
    let answer: Answer<Value> = session.client.json(&call).await.ok()?;
    let may = |path: &String| {
        let words = answer.data[path].as_array();
        let any = |word: &Value| ["update", "root"].iter().any(|it| word == it);
        words.is_some_and(|words| words.iter().any(any))
    };
    Some(paths.into_iter().filter(may).collect())
}

/// What a role would refuse or do otherwise.
async fn of_role(
    session: &Session,
    group: &Group<'_>,
    role: &str,
    read: &Role,
    findings: &mut Vec<Finding>,
) {
    // The same of many certificates is told once.
    let mut objections: BTreeMap<Vec<Objection>, Vec<&Order>> = BTreeMap::new();
    for order in &group.orders {
        let found = read.objections(order);
        if !found.is_empty() {
            objections.entry(found).or_default().push(order);
        }
    }
    for (found, orders) in objections {
        let ids: Vec<String> = orders.iter().map(|order| order.id.to_string()).collect();
        let message = format!(
            "the {role} of Vault would not do for {}: {}",
            ids.join(", "),
            listed(&found)
        );
        findings.push(Finding::error(message, help(&found, &orders)));
    }
    let mut seconds_max = read.max_ttl;
    if seconds_max == 0 {
        let path = ["sys", "internal", "ui", "mounts", group.mount];
        match session.read(&path).await {
            Ok(mount) => seconds_max = mount["config"]["max_lease_ttl"].as_u64().unwrap_or(0),
            Err(fault) => findings.push(Finding::warning(format!(
                "Vault: how long certificates of `{}` may last could not be looked at: {}",
                group.mount, fault.words
            ))),
        }
    }
    let asked = group.orders.iter().map(|order| order.hours).max();
    let asked = asked.unwrap_or_default();
    if seconds_max != 0 && u64::from(asked) * 3600 > seconds_max {
        let (days, most) = (asked / 24, seconds_max / 3600);
        findings.push(Finding::warning(format!(
            "the {role} of Vault gives certificates for {} at most (`max_ttl`, of the role \
             or the mount), and {} are asked for: {}",
            count(most, "hour"),
            count(days, "day"),
            group.ids()
        )));
    }
}

fn listed(found: &[Objection]) -> String {
    let of = |what: &str, pick: fn(&Objection) -> Option<&str>| {
        let all: Vec<String> = found
            .iter()
            .filter_map(pick)
            .map(|it| format!("`{it}`"))
            .collect();
        (!all.is_empty()).then(|| format!("{what} {}", all.join(", ")))
    };
    let parts = [
        of("it refuses the common name", |it| match it {
            Objection::CommonName(name) => Some(name),
            _ => None,
        }),
        of("it refuses the names", |it| match it {
            Objection::Name(name) => Some(name),
            _ => None,
        }),
        of("it refuses addresses (`allow_ip_sans`):", |it| match it {
            Objection::Address(address) => Some(address),
            _ => None,
        }),
        of("it does not give the usage", |it| match it {
            Objection::Usage(usage) => Some(usage.word()),
            _ => None,
        }),
        of("it does not give the organization", |it| match it {
            Objection::Organization(group) => Some(group),
            _ => None,
        }),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn help(found: &[Objection], orders: &[&Order]) -> String {
    let is_comfort = |it: &Objection| match it {
        Objection::Name(name) | Objection::Address(name) => {
            orders.iter().all(|order| order.comfort.contains(name))
        }
        _ => false,
    };
    if found.iter().all(is_comfort) {
        return "no client goes by these: say `names = \"needed\"` in `[pki.vault]` to leave them \
                out, or let the role allow them"
            .to_owned();
    }
    let more = if found.iter().any(is_comfort) {
        ", and say `names = \"needed\"` to leave out what no client goes by"
    } else {
        ""
    };
    format!(
        "let the role allow it (`allowed_domains` with `allow_bare_domains`, `allow_ip_sans`, \
         `cn_validations`, `client_flag`, `server_flag`, `organization`){more}"
    )
}

/// Whether the authorities of the mounts are those that the cluster was made with, and last.
async fn signers(
    groups: &[Group<'_>],
    sessions: &Sessions<'_>,
    known: &BTreeMap<AuthorityName, (PathBuf, String)>,
    now: i64,
    findings: &mut Vec<Finding>,
) {
    // Of the longest life that is asked of each.
    let mut hours: BTreeMap<(&str, AuthorityName), u32> = BTreeMap::new();
    for order in groups.iter().flat_map(|group| &group.orders) {
        let most = hours.entry((&order.mount, order.signer)).or_default();
        *most = order.hours.max(*most);
    }
    let mut seen = BTreeSet::new();
    for group in groups {
        let Ok(session) = &sessions[group.login] else {
            continue;
        };
        for order in &group.orders {
            if !seen.insert((group.mount, order.signer)) {
                continue;
            }
            let path = [group.mount, "ca", "pem"];
            // A mount that is not there is told of as such.
            let Ok(pem) = session
                .client
                .send(&Call::get(&path, session.token()))
                .await
            else {
                continue;
            };
            let Ok(own) = describe(&pem) else {
                let (message, help) = no_authority(group.mount);
                findings.push(Finding::error(message, help));
                continue;
            };
            if let Some((file, before)) = known.get(&order.signer)
                && public_key(before) != public_key(&pem)
            {
                let signer = order.signer;
                let (message, help) =
                    other_authority(group.mount, signer, &own.subject.to_string(), file);
                findings.push(Finding::error(message, help));
            }
            let hours = hours[&(group.mount, order.signer)];
            if own.not_after < now + i64::from(hours) * 3600 {
                findings.push(ends_early(session, group.mount, own.not_after, hours / 24).await);
            }
        }
    }
}

/// That a mount has nothing to sign with, and the way out.
pub(super) fn no_authority(mount: &str) -> (String, &'static str) {
    (
        format!("`{mount}` of Vault has no authority yet"),
        "generate one there, or set the certificate that another one signed",
    )
}

/// That an authority ends before a certificate of so many days would, and what comes of it.
async fn ends_early(session: &Session, mount: &str, end: i64, days: u32) -> Finding {
    let message = format!(
        "the authority of `{mount}` in Vault ends on {}, before a certificate of {} would",
        day(end),
        count(days, "day")
    );
    let issuer = session.read(&[mount, "issuer", "default"]).await;
    let issuer = issuer.unwrap_or_default();
    match issuer["leaf_not_after_behavior"].as_str() {
        Some("err") => Finding::error(
            format!("{message}: Vault refuses that"),
            "replace the authority, ask for fewer `days`, or have its issuer cut certificates short: \
             `leaf_not_after_behavior` `truncate`",
        ),
        Some("truncate") => Finding::warning(format!(
            "{message}: Vault cuts certificates short, to that day"
        )),
        _ => Finding::warning(format!(
            "{message}: Vault refuses that, unless its issuer cuts short (`leaf_not_after_behavior`)"
        )),
    }
}

/// That a mount signs with another authority than the cluster was made with, and the way out.
pub(in crate::authority) fn other_authority(
    mount: &str,
    signer: AuthorityName,
    subject: &str,
    file: &std::path::Path,
) -> (String, String) {
    let file = file.display();
    let message = format!(
        "the CA of `{mount}` has changed: Vault signs with `{subject}`, and the peers of this \
         cluster trust the one in `{file}` for `{signer}`"
    );
    let help = "nothing of it is kept, for no peer would trust it. `kinstall certs move INVENTORY` takes a \
                running cluster there: trusted everywhere first, then signed again. Or have the role \
                sign with the CA before (`issuer_ref`)";
    (message, help.to_owned())
}
