//! etcd's users: a kube-apiserver is to etcd whom its client certificate names, and may touch
//! nothing but what is kept below its prefix.
//!
//! Users are there before a kube-apiserver comes that is one of them, and authentication is turned
//! on last of all, when every kube-apiserver that runs is one.

use std::collections::BTreeSet;

use super::plan::Desk;
use super::{Exit, Failure};
use crate::certificate::{Credentials, Kind, describe};
use crate::etcd_users::Wanted;
use crate::event::{Event, Events};
use crate::inventory::{Inventory, Role};
use crate::script;
use crate::transport::{self, Body, Transport};

/// What is done about users that are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// They are made.
    Grant,
    /// They are made, and authentication is turned on.
    Enable,
}

impl Mode {
    const fn word(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Enable => "enable",
        }
    }
}

/// Who everybody is to etcd, and below what all is stored.
struct Wants {
    admin: String,
    prefix: String,
    users: BTreeSet<String>,
}

impl Wants {
    fn of(inventory: &Inventory, desk: &Desk) -> Self {
        let admins = named(&desk.credentials, Kind::EtcdHealthcheckClient);
        let first = inventory.with_role(Role::ControlPlane).next();
        let prefix = first.map(|node| inventory.etcd_prefix(node));
        Self {
            admin: admins.into_iter().next().unwrap_or_default(),
            prefix: prefix.expect("an inventory has a node of the control plane"),
            users: named(&desk.credentials, Kind::ApiserverEtcdClient),
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
pub(super) fn missing(inventory: &Inventory, desk: &Desk) -> Option<Vec<String>> {
    let wants = Wants::of(inventory, desk);
    let snapshots = &mut desk.site.snapshots.values();
    snapshots.find_map(|snapshot| snapshot.users.missing(wants.wanted(inventory)))
}

/// Whether nothing is left to be done about users.
fn is_settled(inventory: &Inventory, desk: &Desk) -> bool {
    !inventory.etcd.auth || missing(inventory, desk).is_some_and(|missing| missing.is_empty())
}

/// Makes users before a rollout, where etcd runs already. Where that fails the rollout goes on:
/// it may be what mends etcd.
pub(super) async fn prepare(inventory: &Inventory, desk: &Desk, events: &Events) {
    if is_settled(inventory, desk) {
        return;
    }
    let Some(transport) = running(desk) else {
        return;
    };
    match ask(inventory, desk, transport, Mode::Grant).await {
        Ok(missing) => tell(&missing, events),
        Err(error) => {
            let message = format!("etcd's users cannot be made before the rollout: {error}");
            events.send(Event::Warning(message));
        }
    }
}

/// Makes users when everything runs.
pub(super) async fn make(
    inventory: &Inventory,
    desk: &Desk,
    mode: Mode,
    events: &Events,
) -> Result<(), Failure> {
    if is_settled(inventory, desk) {
        return Ok(());
    }
    let members = inventory.with_role(Role::Etcd);
    let mut members = members.filter_map(|node| desk.site.transports.get(&node.name));
    let Some(transport) = members.find(|transport| transport.ssh().is_some()) else {
        let message = "no member of etcd was reached: its users are left as they are";
        events.send(Event::Note(message.to_owned()));
        return Ok(());
    };
    let made = ask(inventory, desk, transport, mode).await;
    let made = made.map_err(|error| Failure::new(Exit::Failed, error))?;
    tell(&made, events);
    Ok(())
}

fn tell(missing: &[String], events: &Events) {
    for thing in missing {
        events.send(Event::Note(format!("etcd has now: {thing}")));
    }
}

/// A node whose member of etcd runs.
fn running(desk: &Desk) -> Option<&Transport> {
    let (transport, _) = desk.site.running_member(&desk.desired)?;
    Some(transport)
}

/// Who the certificates of a kind are to etcd, wherever they came from.
pub(super) fn named(credentials: &Credentials, kind: Kind) -> BTreeSet<String> {
    let leaves = credentials.leaves.iter();
    let own = leaves.filter(|(id, _)| id.kind == kind);
    own.filter_map(|(_, leaf)| describe(&leaf.chain_pem).ok()?.subject.common_name)
        .collect()
}

async fn ask(
    inventory: &Inventory,
    desk: &Desk,
    transport: &Transport,
    mode: Mode,
) -> Result<Vec<String>, transport::Error> {
    let wants = Wants::of(inventory, desk);
    let Wanted {
        admin,
        role,
        prefix,
        users,
    } = wants.wanted(inventory);
    let mut arguments = vec![mode.word(), role, prefix, admin];
    arguments.extend(users.iter().map(String::as_str));
    let output = transport
        .run(script::ETCD_USERS, &arguments, Body::default())
        .await?;
    Ok(output.lines().map(str::to_owned).collect())
}
