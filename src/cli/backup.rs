//! The snapshot of etcd that is taken before versions change.

use super::prepare::Site;
use super::{Exit, Failure, journal};
use crate::backup;
use crate::certificate::Credentials;
use crate::event::{Event, Events};
use crate::inventory::Inventory;
use crate::manifest::Desired;
use crate::probe::Prober;

/// Takes one through the first member that runs; where none does there is nothing to take one of.
pub(super) async fn take(
    inventory: &Inventory,
    site: &Site,
    desired: &Desired,
    credentials: &Credentials,
    events: &Events,
) -> Result<(), Failure> {
    let member = site.running_member(desired);
    let member =
        member.and_then(|(transport, unit)| Some((transport.ssh()?, unit.probe.as_ref()?)));
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
