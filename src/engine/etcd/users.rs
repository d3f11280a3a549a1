//! etcd's users: a kube-apiserver is to etcd whom its client certificate names, and may touch
//! nothing but what is kept below its prefix.
//!
//! Users are there before a kube-apiserver comes that is one of them, and authentication is turned
//! on last of all, when every kube-apiserver that runs is one.

use std::collections::BTreeSet;

use crate::certificate::{Credentials, Kind, describe};
use crate::engine::planned::Planned;
use crate::engine::session::Session;
use crate::etcd_users::Wanted;
use crate::failure::{Exit, Failure};
use crate::inventory::{Inventory, Role};
use crate::script;
use crate::transport::{self, Body, Transport};

/// Who everybody is to etcd, and below what all is stored.
struct Wants {
    admin: String,
    prefix: String,
    users: BTreeSet<String>,
}

impl Wants {
    fn of(inventory: &Inventory, planned: &Planned) -> Self {
        let admins = named(&planned.credentials, Kind::EtcdHealthcheckClient);
        let first = inventory.with_role(Role::ControlPlane).next();
        let prefix = first.map(|node| inventory.etcd_prefix(node));
        Self {
            admin: admins.into_iter().next().unwrap_or_default(),
            prefix: prefix.expect("an inventory has a node of the control plane"),
            users: named(&planned.credentials, Kind::ApiserverEtcdClient),
        }
    }

    fn wanted<'a>(&'a self, inventory: &'a Inventory) -> Wanted<'a> {
        Wanted {
            admin: &self.admin,
            role: &inventory.etcd.role,
            prefix: &self.prefix,
            users: &self.users,
        }
    }
}

/// What etcd lacks of users, as the member told that was looked at; none where that is not known.
pub(crate) fn missing(inventory: &Inventory, planned: &Planned) -> Option<Vec<String>> {
    let wants = Wants::of(inventory, planned);
    let snapshots = &mut planned.comparison.fleet.snapshots.values();
    snapshots.find_map(|snapshot| snapshot.users.missing(wants.wanted(inventory)))
}

/// Whether nothing is left to be done about users.
fn is_settled(inventory: &Inventory, planned: &Planned) -> bool {
    !inventory.etcd.auth || missing(inventory, planned).is_some_and(|missing| missing.is_empty())
}

/// Makes users before a rollout, where etcd runs already. Where that fails the rollout goes on:
/// it may be what mends etcd.
pub(crate) async fn prepare(session: &Session<'_>, planned: &Planned) {
    let inventory = session.inventory;
    if is_settled(inventory, planned) {
        return;
    }
    let Some((transport, _)) = planned.comparison.running_member() else {
        return;
    };
    match ask(inventory, planned, transport, "grant").await {
        Ok(missing) => tell(session, &missing),
        Err(error) => {
            session.warn(format!(
                "etcd's users cannot be made before the rollout: {error}"
            ));
        }
    }
}

/// Makes users when everything runs, and enables authentication.
pub(crate) async fn enable(session: &Session<'_>, planned: &Planned) -> Result<(), Failure> {
    let inventory = session.inventory;
    if is_settled(inventory, planned) {
        return Ok(());
    }
    let members = inventory.with_role(Role::Etcd);
    let mut members =
        members.filter_map(|node| planned.comparison.fleet.transports.get(&node.name));
    let Some(transport) = members.find(|transport| transport.ssh().is_some()) else {
        session.note("no member of etcd was reached: its users are left as they are");
        return Ok(());
    };
    let made = ask(inventory, planned, transport, "enable").await;
    let made = made.map_err(|error| Failure::new(Exit::Failed, error))?;
    tell(session, &made);
    Ok(())
}

fn tell(session: &Session<'_>, missing: &[String]) {
    for thing in missing {
        session.note(format!("etcd has now: {thing}"));
    }
}

/// Whom etcd must know before a rollout: users that are missing are made only if authentication is
/// asked for.
pub(crate) fn required(inventory: &Inventory, credentials: &Credentials) -> BTreeSet<String> {
    if inventory.etcd.auth {
        return BTreeSet::new();
    }
    named(credentials, Kind::ApiserverEtcdClient)
}

/// Who the certificates of a kind are to etcd, wherever they came from.
fn named(credentials: &Credentials, kind: Kind) -> BTreeSet<String> {
    let leaves = credentials.leaves.iter();
    let own = leaves.filter(|(id, _)| id.kind == kind);
    own.filter_map(|(_, leaf)| describe(&leaf.chain_pem).ok()?.subject.common_name)
        .collect()
}

async fn ask(
    inventory: &Inventory,
    planned: &Planned,
    transport: &Transport,
    verb: &str,
) -> Result<Vec<String>, transport::Error> {
    let wants = Wants::of(inventory, planned);
    let Wanted {
        admin,
        role,
        prefix,
        users,
    } = wants.wanted(inventory);
    let mut arguments = vec![verb, role, prefix, admin];
    arguments.extend(users.iter().map(String::as_str));
    let output = transport
        .run(script::ETCD_USERS, &arguments, Body::default())
        .await?;
    Ok(output.lines().map(str::to_owned).collect())
}
