//! What a push does, from top to bottom. `plan`, `rollback` and every change that takes several
//! pushes go through the same phases.

pub(crate) mod benchmark;
pub(crate) mod ca_migration;
pub(crate) mod clock;
mod comparison;
mod consent;
pub(crate) mod deployed;
pub(crate) mod encryption;
pub(crate) mod etcd;
pub(crate) mod fleet;
pub(crate) mod generations;
pub(crate) mod interrupt;
pub(crate) mod journal;
pub(crate) mod kubeconfig;
pub(crate) mod load;
pub(crate) mod operator;
pub(crate) mod overrides;
pub(crate) mod pki;
mod planned;
mod pods;
mod preflight;
pub(crate) mod releases;
pub(crate) mod remote_files;
pub(crate) mod rollback;
pub(crate) mod session;
pub(crate) mod status;
mod steps;
pub(crate) mod through;

use std::path::Path;

use self::comparison::Comparison;
pub(crate) use self::consent::Consent;
use self::fleet::{Fleet, Look};
use self::pki::PkiMode;
use self::planned::Planned;
use self::releases::Releases;
use self::session::Session;
use crate::failure::{Exit, Failure};
use crate::plan::Direction;
use crate::terminal::listing::WarningListing;

/// What `push` and `plan` are told beyond what every command is.
#[derive(Clone, Copy)]
pub(crate) struct PushOptions<'a> {
    /// A directory with one directory a node in it, in place of machines.
    pub(crate) into: Option<&'a Path>,
    /// Whether every managed file is read again, whatever its size and times say.
    pub(crate) verify: bool,
    pub(crate) pki: PkiMode<'a>,
    /// The bundle that releases are taken out of, in place of any source.
    pub(crate) bundle: Option<&'a Path>,
    pub(crate) consent: Consent,
    /// Whether a snapshot of etcd is taken before an upgrade, or before its members change.
    pub(crate) snapshot: bool,
    /// Whether nodes are taken from another run that holds them.
    pub(crate) break_lock: bool,
}

impl<'a> PushOptions<'a> {
    /// Of a command that says no more about it.
    pub(crate) fn of(pki: PkiMode<'a>) -> Self {
        Self {
            into: None,
            verify: false,
            pki,
            bundle: None,
            consent: Consent::default(),
            snapshot: false,
            break_lock: false,
        }
    }
}

/// Makes every node what the inventory says.
pub(crate) async fn push(
    session: &Session<'_>,
    options: &PushOptions<'_>,
) -> Result<Exit, Failure> {
    let planning = Box::pin(plan(session, options));
    let (releases, planned) = session.unless_stopped(planning).await?;
    planned.show(session);
    options.consent.check(&planned.views())?;
    if !planned.plan.is_empty() {
        let fetching = releases.fetch(session, &planned);
        let store = session.unless_stopped(fetching).await?;
        if options.snapshot && planned.is_risky() {
            let taking = etcd::snapshot::take(session, &planned);
            session.unless_stopped(taking).await?;
        }
        etcd::users::prepare(session, &planned).await;
        let applying = planned.apply(session, "push", &store, options.break_lock);
        applying.await?;
    }
    etcd::users::enable(session, &planned).await?;
    planned.close().await;
    Ok(Exit::Done)
}

/// Everything that comes before anything is changed.
pub(crate) async fn plan(
    session: &Session<'_>,
    options: &PushOptions<'_>,
) -> Result<(Releases, Planned), Failure> {
    let is_preview = options.pki == PkiMode::Preview;
    let scope = session.scope()?;
    if options.pki != PkiMode::Frozen {
        pki::check_signers(session.inventory)?;
    }
    let mut releases = Releases::open(session, options.bundle).await?;

    // Connect and observe.
    let look = Look {
        into: options.into,
        verify: options.verify,
        users: true,
    };
    let mut fleet = Fleet::reach(session, &scope, look).await?;
    fleet.settle(&session.events).await?;
    let inventory = &pods::choose(session.inventory, &fleet.snapshots, &session.events);
    let session = &session.with(inventory);
    if !is_preview {
        pods::keep(session)?;
    }

    // What each node should hold: certificates, releases, and the files made from them.
    let credentials = pki::credentials(session, options.pki)?;
    releases.pin(session, &fleet.archs, is_preview).await?;
    fleet.warn_of_upgrade(session);
    let desired = releases::compose(inventory, &fleet.archs, &releases.lockfile, &credentials)?;

    // How that differs from what it holds.
    let mut comparison = Comparison::of(session, fleet, desired).await?;
    options.consent.prepare(&mut comparison);

    // Refuse early.
    etcd::data::check(&comparison, options.consent.adopt_data).await?;
    let warnings = preflight::check(session, &comparison).await?;
    comparison.find_leader().await;
    let members = etcd::members::changes(inventory, &comparison).await?;
    let users = etcd::users::required(inventory, &credentials);
    etcd::preflight::check(&comparison, &users).await?;

    let forward = Direction::Forward;
    let planned = Planned::new(session, comparison, credentials, forward, members.as_ref());
    let mut planned = planned.await?;
    planned.listing.remains = etcd::members::remains(inventory, members.as_ref());
    planned.listing.warnings = warnings.iter().map(WarningListing::of).collect();
    Ok((releases, planned))
}
