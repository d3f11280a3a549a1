//! The snapshot of etcd that is taken before versions change.

use super::prepare::Site;
use super::{Exit, Failure, journal};
use crate::backup;
use crate::certificate::Credentials;
use crate::event::{Event, Events};
use crate::inventory::{Inventory, NodeName};
use crate::manifest::{Desired, Stage, UnitName};
use crate::probe::Prober;
use crate::snapshot::UnitState;

/// Takes one through the first member that runs; where none does there is nothing to take one of.
pub(super) async fn take(
    inventory: &Inventory,
    site: &Site,
    desired: &Desired,
    credentials: &Credentials,
    events: &Events,
) -> Result<(), Failure> {
    let runs = |node: &NodeName, unit: &UnitName| {
        let state = site.snapshots[node].units.get(unit);
        state.is_some_and(UnitState::is_active)
    };
    let member = desired.manifests.iter().find_map(|(node, manifest)| {
        let mut units = manifest.units.iter();
        let (name, unit) = units.find(|(_, unit)| unit.stage == Stage::Etcd)?;
        let connection = site.transports.get(node)?.ssh()?;
        runs(node, name).then_some((connection, &unit.probe))
    });
    let Some((connection, probe)) = member else {
        return Ok(());
    };
    let name = format!("{}.{}.db", inventory.cluster.name, journal::stamp());
    let directory = inventory.directory.join("backups");
    let prober = Prober::new(credentials);
    let backup = backup::take(&prober, connection, probe, &directory, &name).await;
    let backup = backup.map_err(|error| Failure::new(Exit::Failed, error))?;
    let (path, kilobytes) = (backup.path.display(), backup.size / 1000);
    events.send(Event::Note(format!(
        "snapshot of etcd: {path}, {kilobytes} kB, digest verified"
    )));
    Ok(())
}
