//! Whether the members of etcd that a run leaves behind are one cluster: each may be healthy by
//! itself, in a cluster of its own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future;

use super::Run;
use super::step::StepError;
use crate::inventory::NodeName;
use crate::manifest::Stage;
use crate::membership;
use crate::survey::members;

/// How long members may disagree, in seconds: a change of members takes a moment to be everywhere.
const AGREE_SECONDS: u64 = 10;
/// How long between two questions, in milliseconds.
const QUESTION_MILLISECONDS: u64 = 500;

/// Waits until all members that answer tell of the same cluster.
pub(super) async fn wait(run: &Run<'_>) -> Result<(), StepError> {
    let is_member = |node: &NodeName| {
        let manifest = run.desired.manifests.get(node);
        manifest.is_some_and(|manifest| manifest.of_stage(Stage::Etcd).is_some())
    };
    let transports = run.transports.iter();
    let asked: Vec<_> = transports
        .filter(|(node, transport)| transport.ssh().is_some() && is_member(node))
        .collect();
    if asked.len() < 2 {
        return Ok(());
    }
    let deadline = Instant::now() + Duration::from_secs(AGREE_SECONDS);
    loop {
        let asking = asked.iter().map(|(node, transport)| async move {
            Ok::<_, StepError>(((*node).clone(), members::list(transport).await?))
        });
        let told = future::try_join_all(asking).await?;
        let told: BTreeMap<_, _> = told
            .into_iter()
            .filter_map(|(node, told)| Some((node, told.ok()?)))
            .collect();
        let Some(why) = membership::disagreement(&told) else {
            return Ok(());
        };
        if Instant::now() >= deadline {
            return Err(StepError::Split(why));
        }
        tokio::time::sleep(Duration::from_millis(QUESTION_MILLISECONDS)).await;
    }
}
