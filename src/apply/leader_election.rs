//! Whether controllers are led: of several that are healthy one works, and who that is they agree on
//! by a Lease, which its holder renews every two seconds.
//!
//! Source: `k8s.io/client-go/tools/leaderelection`. The clocks of nodes may differ, and a leader that
//! was killed is still named until its Lease runs out; so what counts is that a Lease is renewed
//! before our eyes, and such a Lease's time comes on top of what a service has to become healthy.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::Run;
use super::step::{StepError, not_asked};
use crate::event::Event;
use crate::manifest::UnitName;
use crate::probe::{Answer, Prober, administrator};
use crate::transport::Transport;

/// How long between two looks, in milliseconds.
const LOOK_MILLISECONDS: u64 = 300;

/// As much of a Lease as is of interest (`coordination.k8s.io/v1`).
#[derive(Debug, Deserialize)]
struct Lease {
    spec: Spec,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    holder_identity: String,
    #[serde(default)]
    renew_time: String,
    #[serde(default)]
    lease_duration_seconds: u64,
}

/// One Lease as it was seen so far.
#[derive(Debug, Default)]
struct Seen {
    renewed: Option<String>,
    led: bool,
}

impl Seen {
    /// Takes a look into account; who leads once that is sure.
    fn look(&mut self, lease: &Lease) -> Option<String> {
        let spec = &lease.spec;
        let before = self.renewed.replace(spec.renew_time.clone());
        let is_renewed = before.is_some_and(|before| before != spec.renew_time);
        self.led = is_renewed && !spec.holder_identity.is_empty();
        // What comes after the name of the machine is there to be unique.
        let holder = spec.holder_identity.split('_').next().unwrap_or_default();
        self.led.then(|| holder.to_owned())
    }
}

/// Waits until each of these units is led, asking the kube-apiserver of this node for their Leases.
pub(super) async fn wait(
    run: &Run<'_>,
    prober: &Prober<'_>,
    transport: &Transport,
    port: u16,
    leases: &BTreeMap<UnitName, String>,
) -> Result<(), StepError> {
    if transport.ssh().is_none() {
        return Ok(());
    }
    let start = Instant::now();
    let mut patience = Duration::from_secs(run.rollout.ready_seconds);
    let mut seen: BTreeMap<&UnitName, Seen> = BTreeMap::new();
    loop {
        let mut waiting = None;
        for (unit, path) in leases {
            let seen = seen.entry(unit).or_default();
            if seen.led {
                continue;
            }
            let probe = administrator(port, path.clone());
            let why = match read(prober.get(transport, &probe).await?, path) {
                Err(NotRead::NotAsked(why)) => return Err(not_asked(transport, Some(&probe), why)),
                Err(NotRead::NoLease(why)) => why,
                Ok(lease) => {
                    if let Some(holder) = seen.look(&lease) {
                        let program = unit.as_str().trim_end_matches(".service");
                        let led = format!("  {program}: led by {holder}");
                        run.events.send(Event::Note(led));
                        continue;
                    }
                    patience = patience.max(patience_with(&lease, run.rollout.ready_seconds));
                    "its Lease has not been renewed yet".to_owned()
                }
            };
            waiting = Some((unit, why));
        }
        let Some((unit, why)) = waiting else {
            return Ok(());
        };
        let node = transport.node().clone();
        let unit = unit.clone();
        if start.elapsed() >= patience {
            return Err(StepError::Leaderless { node, unit, why });
        }
        run.events.send(Event::Waiting { node, unit, why });
        tokio::time::sleep(Duration::from_millis(LOOK_MILLISECONDS)).await;
    }
}

/// How long to wait for this Lease to be renewed. No other takes it before it runs out, and what the
/// cluster says of that is believed up to an hour.
fn patience_with(lease: &Lease, ready_seconds: u64) -> Duration {
    let runs_out = lease.spec.lease_duration_seconds.min(3600);
    Duration::from_secs(ready_seconds.saturating_add(runs_out))
}

/// Why there is no Lease to look at.
enum NotRead {
    NoLease(String),
    NotAsked(String),
}

fn read(answer: Answer, path: &str) -> Result<Lease, NotRead> {
    match answer {
        Answer::NotAsked(why) => Err(NotRead::NotAsked(why)),
        Answer::Failed(why) => Err(NotRead::NoLease(why)),
        Answer::Given { status: 200, text } => serde_json::from_str(&text)
            .map_err(|error| NotRead::NoLease(format!("{path} is no Lease: {error}"))),
        Answer::Given { status, .. } => {
            let why = format!("kube-apiserver answers {status} for {path}");
            Err(NotRead::NoLease(why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, renewed: &str) -> Lease {
        let text =
            format!(r#"{{"spec":{{"holderIdentity":"{holder}","renewTime":"{renewed}","x":1}}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_lease_is_held_once_it_is_renewed_before_our_eyes() {
        let mut seen = Seen::default();
        assert_eq!(seen.look(&lease("node1_a", "10:00:00")), None);
        assert_eq!(seen.look(&lease("node1_a", "10:00:00")), None);
        // Released: nobody holds it.
        assert_eq!(seen.look(&lease("", "10:00:01")), None);
        let led = seen.look(&lease("node2_b", "10:00:02"));
        assert_eq!(led.as_deref(), Some("node2"));
        assert!(serde_json::from_str::<Lease>(r#"{"spec":{}}"#).is_ok());
    }

    #[test]
    fn a_lease_that_nobody_took_yet_gets_its_own_time_too() {
        let seconds = |spec: &str| {
            let lease = serde_json::from_str(&format!(r#"{{"spec":{spec}}}"#)).unwrap();
            patience_with(&lease, 5).as_secs()
        };
        assert_eq!(seconds(r#"{"leaseDurationSeconds":15}"#), 20);
        assert_eq!(seconds("{}"), 5);
        assert_eq!(seconds(r#"{"leaseDurationSeconds":2147483647}"#), 3605);
    }
}
