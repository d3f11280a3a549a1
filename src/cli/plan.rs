//! `kinstall plan`: what push would change.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;

use super::carry::notice_others;
use super::consent::Consent;
use super::prepare::{self, Keep, Site, Talk};
use super::{
    Common, Exit, Failure, Login, etcd_data, ground, load, members, preflight, texts, users,
};
use crate::artifact::Program;
use crate::certificate::{Credentials, Kind};
use crate::check;
use crate::diff::Difference;
use crate::event::{Event, Events};
use crate::fetch::{self, Cache};
use crate::inventory::{Inventory, NodeName};
use crate::lockfile::Lockfile;
use crate::manifest::Desired;
use crate::membership::Changes;
use crate::plan::{Direction, Plan, View};
use crate::preflight::Finding;
use crate::survey::Reach;
use crate::terminal::{
    Terminal,
    listing::{Listing, WarningListing},
};

/// Show what push would change; change nothing.
#[derive(Debug, Args)]
pub(super) struct PlanCommand {
    /// The inventory
    inventory: PathBuf,
    /// Compare with the trees in DIR/<node> instead of reaching nodes
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// Read every managed file again, whatever its size and times say
    #[arg(long)]
    verify: bool,
    /// As `push --adopt-data`
    #[arg(long)]
    adopt_data: bool,
    #[command(flatten)]
    login: Login,
}

impl PlanCommand {
    pub(super) async fn run(self, common: &Common, terminal: Terminal) -> Result<Exit, Failure> {
        let inventory = load::checked(&self.inventory, terminal)?;
        let talk = Talk::open(terminal);
        let ask = Ask {
            into: self.into.as_deref(),
            verify: self.verify,
            consent: Consent::adopting(self.adopt_data),
            ..Ask::of(&self.login, Keep::No)
        };
        let outcome = plan(&inventory, ask, common, terminal, &talk.events).await;
        talk.close().await;
        let (listing, users) = outcome?;
        if common.json {
            terminal.print_json(&listing);
        } else {
            terminal.print_colored(|color| listing.text(color));
        }
        for missing in &users {
            terminal.say(&format!("etcd would get: {missing}"));
        }
        Ok(
            if listing.changes || !listing.in_the_way.is_empty() || !users.is_empty() {
                Exit::Found
            } else {
                Exit::Done
            },
        )
    }
}

async fn plan(
    inventory: &Inventory,
    ask: Ask<'_>,
    common: &Common,
    terminal: Terminal,
    events: &Events,
) -> Result<(Listing, Vec<String>), Failure> {
    let desk = desk(inventory, ask, common, terminal, events).await?;
    let views = desk.site.views(&desk.desired, &desk.differences);
    let plan = desk.plan(inventory, &views)?;
    let listing = desk.listing(inventory, &plan, &views).await;
    notice_others(inventory, &views, events);
    drop(views);
    let users = users::missing(inventory, &desk).unwrap_or_default();
    desk.site.close().await;
    Ok((listing, users))
}

/// How plan and push look at a cluster.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) into: Option<&'a Path>,
    pub(super) login: &'a Login,
    pub(super) verify: bool,
    pub(super) keep: Keep<'a>,
    /// Whether a snapshot of etcd is taken before an upgrade.
    pub(super) snapshot: bool,
    /// The bundle that releases are taken out of, in place of any source.
    pub(super) bundle: Option<&'a Path>,
    /// Whether nodes are taken from another run that holds them.
    pub(super) break_lock: bool,
    pub(super) consent: Consent,
}

impl<'a> Ask<'a> {
    /// How a command looks at the nodes that has no more to say about it.
    pub(super) fn of(login: &'a Login, keep: Keep<'a>) -> Self {
        Self {
            into: None,
            login,
            verify: false,
            keep,
            snapshot: false,
            bundle: None,
            break_lock: false,
            consent: Consent::default(),
        }
    }
}

/// Everything that a plan is made from.
pub(super) struct Desk {
    pub(super) cache: Cache,
    pub(super) lockfile: Lockfile,
    pub(super) credentials: Credentials,
    pub(super) site: Site,
    pub(super) desired: Desired,
    pub(super) differences: BTreeMap<NodeName, Difference>,
    /// What the first look found doubtful.
    pub(super) doubts: Vec<Finding>,
    /// How the members of etcd must change, where that could be asked.
    pub(super) members: Option<Changes>,
}

impl Desk {
    /// The plan to what the inventory asks for, or why there must be none.
    pub(super) fn plan(
        &self,
        inventory: &Inventory,
        views: &BTreeMap<NodeName, View<'_>>,
    ) -> Result<Plan, Failure> {
        let (members, rollout) = (self.members.as_ref(), &inventory.rollout);
        Plan::with_members(views, Direction::Forward, members, rollout)
            .map_err(|refusals| Failure::all(Exit::Failed, refusals))
    }

    /// Tells it.
    pub(super) async fn listing(
        &self,
        inventory: &Inventory,
        plan: &Plan,
        views: &BTreeMap<NodeName, View<'_>>,
    ) -> Listing {
        let listing = texts::listing(inventory, plan, views, &self.site, &self.desired).await;
        Listing {
            remains: members::remains(inventory, self.members.as_ref()),
            warnings: self.doubts.iter().map(WarningListing::of).collect(),
            ..listing
        }
    }
}

/// From an inventory to the differences of its nodes.
pub(super) async fn desk(
    inventory: &Inventory,
    ask: Ask<'_>,
    common: &Common,
    _terminal: Terminal,
    events: &Events,
) -> Result<Desk, Failure> {
    let scope = prepare::scope(inventory, common)?;
    if ask.keep != Keep::Frozen {
        prepare::check_signers(inventory)?;
    }
    let cache = prepare::cache(common)?;
    if let Some(bundle) = ask.bundle {
        prepare::unbundle(inventory, bundle, false, &cache, events).await?;
    }
    let mut lockfile = prepare::lockfile(inventory)?;
    let password = prepare::password(ask.login)?;
    let jobs = usize::from(common.jobs);
    let reach = Reach {
        into: ask.into,
        password: password.as_ref(),
        jobs,
    };
    let mut site = prepare::site_with_users(inventory, &scope, reach, ask.verify, events).await?;
    site.settle(events).await?;
    let credentials = prepare::credentials(inventory, ask.keep, events)?;
    let programs = prepare::programs(inventory, &site.archs);
    let unpinned: Vec<&Program> = programs
        .iter()
        .filter(|program| lockfile.program(program).is_none())
        .collect();
    // What is pinned may rest on less than is required since; pinning looks for something better.
    let enough = fetch::check_required(inventory, &programs, &lockfile);
    if ask.keep == Keep::No {
        if !unpinned.is_empty() {
            return Err(not_pinned(&unpinned));
        }
        enough.map_err(prepare::fetch_failure)?;
    } else if !unpinned.is_empty() || enough.is_err() {
        let options = fetch::Options {
            bundle: ask.bundle.map(Path::to_owned),
            ..prepare::fetch_options(common)
        };
        (lockfile, _) = prepare::pin(inventory, &programs, &cache, &options, events).await?;
    }
    tell_what_changes(inventory, &site, events);
    let desired = prepare::compose(inventory, &site.archs, &lockfile, &credentials)?;
    let mut differences = site.compare(&desired, jobs).await?;
    if ask.consent.replace_unmanaged {
        for (node, difference) in &mut differences {
            difference.take_drop_ins_away(&desired.manifests[node], &site.snapshots[node]);
        }
    }
    let views = site.views(&desired, &differences);
    etcd_data::check(&site, &views, ask.consent.adopt_data).await?;
    drop(views);
    let doubts = preflight::look(inventory, &site, &desired, &differences, events).await?;
    site.find_leader(&desired, &differences).await;
    let members = members::changes(inventory, &site, &differences).await?;
    // Users of etcd that are missing are made before the rollout.
    let users = if inventory.etcd.auth {
        BTreeSet::new()
    } else {
        users::named(&credentials, Kind::ApiserverEtcdClient)
    };
    ground::check(&site, &desired, &differences, &users).await?;
    Ok(Desk {
        cache,
        lockfile,
        credentials,
        site,
        desired,
        differences,
        doubts,
        members,
    })
}

/// Tells what the lines of Kubernetes and etcd that nodes would enter change, beyond flags.
fn tell_what_changes(inventory: &Inventory, site: &Site, events: &Events) {
    let cluster = &inventory.cluster;
    let kubernetes = site.oldest("kube-apiserver").unwrap_or(cluster.kubernetes);
    let etcd = site.oldest("etcd").unwrap_or(cluster.etcd);
    for finding in check::entered(kubernetes, etcd, inventory) {
        let (subject, message) = (finding.subject(inventory), &finding.message);
        let help = finding.help.map(|help| format!("; {help}"));
        let help = help.unwrap_or_default();
        events.send(Event::Warning(format!("{subject}: {message}{help}")));
    }
}

fn not_pinned(programs: &[&Program]) -> Failure {
    let names: Vec<String> = programs.iter().map(ToString::to_string).collect();
    let message = format!(
        "not pinned in `{}` yet: {}",
        fetch::LOCKFILE,
        names.join(", ")
    );
    Failure::words(
        Exit::Usage,
        message,
        "plan downloads nothing: run `kinstall fetch` on this inventory first",
    )
}
