//! The snapshot of etcd that is taken before versions change.

use super::backup;
use crate::engine::clock;
use crate::engine::planned::Planned;
use crate::engine::session::Session;
use crate::failure::{Exit, Failure};
use crate::probe::Prober;

/// Takes one through the first member that runs; where none does there is nothing to take one of.
pub(crate) async fn take(session: &Session<'_>, planned: &Planned) -> Result<(), Failure> {
    let member = planned.comparison.running_member();
    let member =
        member.and_then(|(transport, unit)| Some((transport.ssh()?, unit.probe.as_ref()?)));
    let Some((connection, probe)) = member else {
        return Ok(());
    };
    let inventory = session.inventory;
    let name = format!("{}.{}.db", inventory.cluster.name, clock::stamp());
    let directory = inventory.directory.join("backups");
    let prober = Prober::new(&planned.credentials);
    let backup = backup::take(&prober, connection, probe, &directory, &name).await;
    let backup = backup.map_err(|error| Failure::new(Exit::Failed, error))?;
    let (path, kilobytes) = (backup.path.display(), backup.size / 1000);
    session.note(format!(
        "snapshot of etcd: {path}, {kilobytes} kB, digest verified"
    ));
    Ok(())
}
