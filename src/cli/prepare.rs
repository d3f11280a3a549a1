//! What several commands begin with once the inventory is loaded: the credentials, the nodes, the pins.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::task::JoinHandle;

use super::{Common, Exit, Failure, Login};
use crate::arch::Arch;
use crate::artifact::{self, Program};
use crate::authority::{self, Authority, Local};
use crate::bundle::{self, Bundle};
use crate::certificate::{self, CertificateId, Credentials};
use crate::diff::{self, Difference};
use crate::digest::Digest;
use crate::etcd_data::Place;
use crate::event::{Event, Events};
use crate::fetch::{self, Cache};
use crate::inventory::{Inventory, Node, NodeName, Role};
use crate::lockfile::{Lockfile, PinnedProgram};
use crate::manifest::{self, Desired, Manifest, Stage, Unit, UnitName};
use crate::plan::{self, View};
use crate::secret::Secret;
use crate::snapshot::{End, Snapshot, UnitState};
use crate::survey::{self, Asked, Reach, members};
use crate::terminal::Terminal;
use crate::transport::Transport;
use crate::version::Version;

/// The conversation with the terminal while a command works.
pub(super) struct Talk {
    pub(super) events: Events,
    following: JoinHandle<()>,
}

impl Talk {
    pub(super) fn open(terminal: Terminal) -> Self {
        let (events, receiver) = Events::channel();
        Self {
            events,
            following: terminal.follow(receiver),
        }
    }

    /// Has everything that was told shown before anything else is.
    pub(super) async fn close(self) {
        self.events.send(Event::End);
        // Showing does not panic, and if it did there would be nothing left to show.
        _ = self.following.await;
    }
}

/// The nodes of `--limit`, or all of them.
pub(super) fn scope(inventory: &Inventory, common: &Common) -> Result<BTreeSet<NodeName>, Failure> {
    if common.limit.is_empty() {
        return Ok(inventory.nodes.keys().cloned().collect());
    }
    let known: Vec<&str> = inventory.nodes.keys().map(NodeName::as_str).collect();
    let find = |word: &String| {
        let found = inventory.nodes.keys().find(|name| name.as_str() == word);
        found.cloned().ok_or_else(|| {
            let message = format!("`--limit {word}`: the inventory has no node of that name");
            Failure::words(Exit::Usage, message, format!("it has {}", known.join(", ")))
        })
    };
    common.limit.iter().map(find).collect()
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// A time as a person reads it: `2026-11-21 22:59 UTC`.
pub(super) fn date(at: i64) -> String {
    time::OffsetDateTime::from_unix_timestamp(at).map_or_else(
        |_| at.to_string(),
        |at| format!("{} {:02}:{:02} UTC", at.date(), at.hour(), at.minute()),
    )
}

/// Whether what an authority makes is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep<'a> {
    Yes,
    No,
    /// It is, and these are made anew.
    Renew(&'a BTreeSet<CertificateId>),
    /// Nothing is made: what is on record stays as it is, whatever the inventory says of who signs.
    Frozen,
}

/// Refuses an inventory by which others would sign than sign now: before anything is made, and before
/// any node is asked.
pub(super) fn check_signers(inventory: &Inventory) -> Result<(), Failure> {
    let local = Local::of(inventory).map_err(|error| Failure::new(Exit::Usage, error))?;
    Ok(local.check_unchanged(&certificate::requests(inventory))?)
}

/// The credentials that the nodes hold, also while who signs is changed to what the inventory says.
pub(super) fn credentials_in_effect(
    inventory: &Inventory,
    events: &Events,
) -> Result<Credentials, Failure> {
    let effective = Local::in_effect(inventory);
    let (authority, inventory) = effective.map_err(|error| Failure::new(Exit::Usage, error))?;
    told(&authority, &inventory, Keep::No, events)
}

/// The credentials of the cluster; what is new is told.
pub(super) fn credentials(
    inventory: &Inventory,
    keep: Keep<'_>,
    events: &Events,
) -> Result<Credentials, Failure> {
    let authority = match keep {
        Keep::Frozen => Local::frozen(inventory).map(|(authority, _)| authority),
        _ => Local::of(inventory),
    };
    let authority = authority.map_err(|error| Failure::new(Exit::Usage, error))?;
    told(&authority, inventory, keep, events)
}

fn told(
    authority: &Local,
    inventory: &Inventory,
    keep: Keep<'_>,
    events: &Events,
) -> Result<Credentials, Failure> {
    let requests = certificate::requests(inventory);
    let obtained = match keep {
        Keep::Yes | Keep::Frozen => authority.obtain(&requests, now()),
        Keep::No => authority.foresee(&requests, now()),
        Keep::Renew(ids) => authority.renew(&requests, ids, now()),
    };
    let obtained = obtained?;
    for warning in obtained.warnings() {
        events.send(Event::Warning(warning));
    }
    let mut notes = Vec::new();
    if keep == Keep::No {
        notes = authority.vault_outline(&requests, now());
    }
    if let Some(made) = authority::in_words(obtained.made().map(|note| &note.item)) {
        let verb = ["made", "would make"][usize::from(keep == Keep::No)];
        notes.push(format!("{verb} in pki/: {made}"));
    }
    for note in notes {
        events.send(Event::Note(note));
    }
    Ok(obtained.credentials)
}

/// Asks for sudo's password, where that was asked for.
pub(super) fn password(login: &Login) -> Result<Option<Secret>, Failure> {
    if !login.ask_sudo_password {
        return Ok(None);
    }
    let password = rpassword::prompt_password("password for sudo on the nodes: ");
    Ok(Some(Secret::new(password?.into_bytes())))
}

/// How machines are reached: over SSH, as many at a time as the user said.
pub(super) fn reach<'a>(password: Option<&'a Secret>, common: &Common) -> Reach<'a> {
    Reach {
        into: None,
        password,
        jobs: usize::from(common.jobs),
    }
}

/// The nodes, reached and looked at.
pub(super) struct Site {
    pub(super) transports: BTreeMap<NodeName, Transport>,
    pub(super) snapshots: BTreeMap<NodeName, Snapshot>,
    pub(super) archs: BTreeMap<NodeName, Arch>,
    /// The node whose etcd member leads, where that matters.
    pub(super) leader: Option<NodeName>,
    asked: BTreeMap<NodeName, Asked>,
}

/// What every node is asked for at first: each unit that any component may have, and where it is a
/// member of etcd, its data.
fn asked(inventory: &Inventory) -> BTreeMap<NodeName, Asked> {
    let components = crate::component::COMPONENTS.iter();
    let units: BTreeSet<UnitName> = components.filter_map(|it| it.unit_name()).collect();
    let of = |node: &Node| Asked {
        paths: BTreeSet::new(),
        units: units.clone(),
        data: Place::of(inventory, node),
        users: None,
    };
    let nodes = inventory.nodes.values();
    nodes.map(|node| (node.name.clone(), of(node))).collect()
}

/// Reaches nodes and takes their snapshots.
pub(super) async fn site(
    inventory: &Inventory,
    scope: &BTreeSet<NodeName>,
    reach: Reach<'_>,
    verify: bool,
    events: &Events,
) -> Result<Site, Failure> {
    let asked = asked(inventory);
    look(inventory, scope, asked, reach, verify, events).await
}

/// The same, and one member of etcd says whom it knows, where it asks who its clients are.
pub(super) async fn site_with_users(
    inventory: &Inventory,
    scope: &BTreeSet<NodeName>,
    reach: Reach<'_>,
    verify: bool,
    events: &Events,
) -> Result<Site, Failure> {
    let mut asked = asked(inventory);
    let mut members = inventory.with_role(Role::Etcd);
    let member = members.find(|node| inventory.etcd.auth && scope.contains(&node.name));
    if let Some(asked) = member.and_then(|node| asked.get_mut(&node.name)) {
        asked.users = Some(inventory.etcd.role.clone());
    }
    look(inventory, scope, asked, reach, verify, events).await
}

async fn look(
    inventory: &Inventory,
    scope: &BTreeSet<NodeName>,
    asked: BTreeMap<NodeName, Asked>,
    reach: Reach<'_>,
    verify: bool,
    events: &Events,
) -> Result<Site, Failure> {
    let transports = survey::connect(inventory, scope, reach, events).await?;
    let snapshots = survey::take(&transports, &asked, verify, reach.jobs, events).await?;
    let archs = survey::archs(inventory, &snapshots, reach.into.is_some())?;
    Ok(Site {
        transports,
        snapshots,
        archs,
        leader: None,
        asked,
    })
}

impl Site {
    /// Waits for what nodes do by themselves, and tells how it ended.
    pub(super) async fn settle(&mut self, events: &Events) -> Result<(), Failure> {
        survey::settle(&self.transports, &mut self.snapshots, &self.asked, events).await?;
        for (node, snapshot) in &self.snapshots {
            let Some(outcome) = &snapshot.outcome else {
                continue;
            };
            let (units, at) = (outcome.units.join(", "), date(outcome.at));
            events.send(match outcome.end {
                End::Finished => Event::Note(format!(
                    "{node}: a run before this one was not finished; {units} came to its end there at {at}"
                )),
                End::Reverted => Event::Warning(format!(
                    "{node}: a run before this one was not finished; at {at} {units} did not start there, and the node took it back"
                )),
                End::Returned => Event::Warning(format!(
                    "{node}: a run before this one was not finished; at {at} {units} did not start there, nor did what the node then put back"
                )),
                End::Failed => Event::Warning(format!(
                    "{node}: a run before this one was not finished; at {at} {units} did not start there, and there was no way back"
                )),
            });
        }
        Ok(())
    }

    /// The oldest version of a component that runs on some node, by its unit there.
    pub(super) fn oldest(&self, component: &str) -> Option<Version> {
        let unit: UnitName = format!("{component}.service")
            .parse()
            .expect("the name of a component is the name of a service");
        let states = self.snapshots.values().map(|it| it.units.get(&unit));
        let running = states.flatten().filter(|state| state.is_active());
        running.filter_map(plan::running).min()
    }

    /// The first node whose member of etcd runs, and that member.
    pub(super) fn running_member<'a>(
        &'a self,
        desired: &'a Desired,
    ) -> Option<(&'a Transport, &'a Unit)> {
        desired.manifests.iter().find_map(|(node, manifest)| {
            let (name, unit) = manifest.of_stage(Stage::Etcd)?;
            let transport = self.transports.get(node)?;
            transport.ssh()?;
            let state = self.snapshots[node].units.get(name);
            let runs = state.is_some_and(UnitState::is_active);
            runs.then_some((transport, unit))
        })
    }

    /// Finds out which etcd member leads, where one of them is to be restarted.
    pub(super) async fn find_leader(
        &mut self,
        desired: &Desired,
        differences: &BTreeMap<NodeName, Difference>,
    ) {
        let restarts = |name: &NodeName, manifest: &Manifest| {
            let member = manifest.of_stage(Stage::Etcd);
            let change = member.and_then(|(unit, _)| differences.get(name)?.units.get(unit));
            change.is_some_and(|change| change.running)
        };
        let asking = desired.manifests.iter().filter_map(|(name, manifest)| {
            let transport = self.transports.get(name)?;
            let is_asked = transport.ssh().is_some() && restarts(name, manifest);
            is_asked.then_some(async move { members::leads(transport).await.then_some(name) })
        });
        let told = futures_util::future::join_all(asking).await;
        self.leader = told.into_iter().flatten().next().cloned();
    }

    /// What each node lacks of what it should hold; looks at what it has not on record first.
    pub(super) async fn compare(
        &mut self,
        desired: &Desired,
        jobs: usize,
    ) -> Result<BTreeMap<NodeName, Difference>, Failure> {
        let manifests = &desired.manifests;
        survey::complete(&self.transports, &mut self.snapshots, manifests, jobs).await?;
        let differences = self.snapshots.iter().filter_map(|(name, snapshot)| {
            Some((name.clone(), diff::between(manifests.get(name)?, snapshot)))
        });
        Ok(differences.collect())
    }

    /// The nodes as a plan sees them.
    pub(super) fn views<'a>(
        &'a self,
        desired: &'a Desired,
        differences: &'a BTreeMap<NodeName, Difference>,
    ) -> BTreeMap<NodeName, View<'a>> {
        let view = |(name, difference): (&NodeName, &'a Difference)| {
            let manifest = desired.manifests.get(name)?;
            let snapshot = self.snapshots.get(name)?;
            Some((
                name.clone(),
                View {
                    manifest,
                    snapshot,
                    difference,
                    leads: self.leader.as_ref() == Some(name),
                    superseded: &desired.superseded,
                },
            ))
        };
        differences.iter().filter_map(view).collect()
    }

    /// Ends the connections.
    pub(super) async fn close(self) {
        let closing = self.transports.into_values().map(Transport::close);
        futures_util::future::join_all(closing).await;
    }
}

/// The cache that the user chose.
pub(super) fn cache(common: &Common) -> Result<Cache, Failure> {
    Cache::open(common.cache.as_deref()).map_err(|error| Failure::new(Exit::Failed, error))
}

/// The lockfile beside the inventory.
pub(super) fn lockfile(inventory: &Inventory) -> Result<Lockfile, Failure> {
    fetch::read_lockfile(inventory).map_err(fetch_failure)
}

/// Makes the lockfile cover these programs, and keeps it.
pub(super) async fn pin(
    inventory: &Inventory,
    programs: &BTreeSet<Program>,
    cache: &Cache,
    options: &fetch::Options,
    events: &Events,
) -> Result<(Lockfile, fetch::PinReport), Failure> {
    let mut lockfile = lockfile(inventory)?;
    let tell = |event| events.send(Event::Fetch(event));
    let pinned = fetch::pin(inventory, programs, &mut lockfile, cache, options, &tell);
    let report = pinned.await.map_err(fetch_failure)?;
    if fetch::write_lockfile(inventory, &lockfile).map_err(fetch_failure)? {
        events.send(Event::Note(format!("wrote {}", fetch::LOCKFILE)));
    }
    Ok((lockfile, report))
}

/// Fills the cache from a bundle, and has the lockfile pin what it holds.
pub(super) async fn unbundle(
    inventory: &Inventory,
    file: &Path,
    locked: bool,
    cache: &Cache,
    events: &Events,
) -> Result<Bundle, Failure> {
    let bundle = bundle::admit(file, cache).await;
    let bundle = bundle.map_err(super::bundle::failure)?;
    let (count, name) = (bundle.manifest.programs.len(), file.display());
    events.send(Event::Note(format!(
        "took {count} programs out of {name}, all verified"
    )));
    let mut lockfile = lockfile(inventory)?;
    let adopted = bundle.adopt(inventory, &mut lockfile);
    if adopted.map_err(super::bundle::failure)? && !locked {
        fetch::write_lockfile(inventory, &lockfile).map_err(fetch_failure)?;
        events.send(Event::Note(format!("wrote {}", fetch::LOCKFILE)));
    }
    Ok(bundle)
}

/// What each node should hold.
pub(super) fn compose(
    inventory: &Inventory,
    archs: &BTreeMap<NodeName, Arch>,
    lockfile: &Lockfile,
    credentials: &Credentials,
) -> Result<Desired, Failure> {
    manifest::compose(inventory, archs, lockfile, credentials)
        .map_err(|error| Failure::new(Exit::Usage, error))
}

/// The architectures of nodes that none is known of are taken for those of the others.
pub(super) fn programs(
    inventory: &Inventory,
    archs: &BTreeMap<NodeName, Arch>,
) -> BTreeSet<Program> {
    artifact::of_cluster(inventory, archs)
}

/// Programs that are not pinned have a place in the tree, and no bytes that anybody writes.
pub(super) fn supposed(mut lockfile: Lockfile, programs: &BTreeSet<Program>) -> Lockfile {
    for program in programs {
        if lockfile.program(program).is_none() {
            let digest = Digest::of(program.to_string().as_bytes());
            lockfile.suppose(program, PinnedProgram { digest, size: 0 });
        }
    }
    lockfile
}

/// How a fetch that went wrong ends.
pub(super) fn fetch_failure(error: fetch::Error) -> Failure {
    let exit = match error.exit_code() {
        2 => Exit::Usage,
        5 => Exit::Unverified,
        _ => Exit::Failed,
    };
    Failure::new(exit, error)
}

/// How fetches are done, by what the user said.
pub(super) fn fetch_options(common: &Common) -> fetch::Options {
    fetch::Options {
        jobs: usize::from(common.jobs).min(8),
        ..fetch::Options::default()
    }
}
