//! Changing the members of a living etcd cluster: one change, told to one of its nodes, and the wait
//! until those who have a vote are healthy. Told twice it is done once, so that a run goes on where
//! another was cut short.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::Run;
use super::step::StepError;
use crate::action::MemberAction;
use crate::event::Event;
use crate::membership::Member;
use crate::script;
use crate::survey::members;
use crate::transport::{self, Body, Transport};

/// How long between two attempts or questions, in milliseconds. etcd refuses changes for some
/// seconds after a member was restarted, and a learner takes its time to catch up.
const ATTEMPT_MILLISECONDS: u64 = 500;

/// Makes one change.
pub(super) async fn take(
    run: &Run<'_>,
    transport: &Transport,
    action: &MemberAction,
) -> Result<(), StepError> {
    let deadline = Instant::now() + Duration::from_secs(run.rollout.ready_seconds);
    while let Err(why) = attempt(transport, action).await? {
        if Instant::now() >= deadline {
            return Err(failed(transport, action, why));
        }
        pause().await;
    }
    let done = words(action);
    run.events.send(Event::Note(format!("  etcd: {done}")));
    match action {
        // What was let in has not started, and what has moved is restarted in its turn.
        MemberAction::Add { .. } | MemberAction::Move { .. } => Ok(()),
        MemberAction::Promote { .. } => settle(run, transport, action, &BTreeSet::new()).await,
        MemberAction::Remove { excused, .. } => settle(run, transport, action, excused).await,
    }
}

/// One attempt: nothing where it is done, else etcd's own words.
async fn attempt(
    transport: &Transport,
    action: &MemberAction,
) -> Result<Result<(), String>, transport::Error> {
    let members = match members::ask(transport).await? {
        Ok(members) => members,
        Err(why) => return Ok(Err(why)),
    };
    let at = |url: &String| members.iter().find(|it| it.peer_urls.contains(url));
    let hex = |id: u64| format!("{id:x}");
    let words = match action {
        MemberAction::Remove { id, .. } => {
            let is_there = members.iter().any(|member| member.id == *id);
            is_there.then(|| vec!["remove".to_owned(), hex(*id)])
        }
        MemberAction::Move { id, peer_url } => at(peer_url)
            .is_none()
            .then(|| vec!["move".to_owned(), hex(*id), peer_url.clone()]),
        MemberAction::Add { name, peer_url } => at(peer_url)
            .is_none()
            .then(|| vec!["learner".to_owned(), name.to_string(), peer_url.clone()]),
        MemberAction::Promote { peer_url, .. } => match at(peer_url) {
            None => return Ok(Err("it is no member".to_owned())),
            Some(member) => member
                .is_learner
                .then(|| vec!["promote".to_owned(), hex(member.id)]),
        },
    };
    let Some(words) = words else {
        return Ok(Ok(()));
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let reply = transport
        .call(script::MEMBER, &words, Body::default())
        .await?;
    if reply.status == 0 {
        return Ok(Ok(()));
    }
    members::refused(transport, &reply).map(Err)
}

/// Waits until every voter has answered for a while that it is healthy.
async fn settle(
    run: &Run<'_>,
    transport: &Transport,
    action: &MemberAction,
    excused: &BTreeSet<u64>,
) -> Result<(), StepError> {
    let stable = Duration::from_secs(run.rollout.stable_seconds);
    let limit = Duration::from_secs(run.rollout.ready_seconds) + stable;
    let begun = Instant::now();
    let mut healthy_since = None;
    loop {
        let why = match members::ask(transport).await? {
            Ok(members) => ill(&members, excused),
            Err(why) => Some(why),
        };
        let Some(why) = why else {
            if healthy_since.get_or_insert_with(Instant::now).elapsed() >= stable {
                return Ok(());
            }
            pause().await;
            continue;
        };
        healthy_since = None;
        if begun.elapsed() >= limit {
            return Err(failed(transport, action, why));
        }
        pause().await;
    }
}

/// Who of those that should be healthy is not.
fn ill(members: &[Member], excused: &BTreeSet<u64>) -> Option<String> {
    let ill = members
        .iter()
        .filter(|it| !it.is_learner && !it.is_healthy && !excused.contains(&it.id));
    let ill: Vec<String> = ill.map(Member::title).collect();
    (!ill.is_empty()).then(|| format!("not healthy: {}", ill.join(", ")))
}

fn failed(transport: &Transport, action: &MemberAction, why: String) -> StepError {
    StepError::Member {
        node: transport.node().clone(),
        what: words(action),
        why,
    }
}

fn words(action: &MemberAction) -> String {
    match action {
        MemberAction::Remove { title, .. } => format!("member {title} taken out"),
        MemberAction::Move { peer_url, .. } => format!("a member moved to {peer_url}"),
        MemberAction::Add { name, .. } => format!("member {name} let in, as a learner"),
        MemberAction::Promote { name, .. } => format!("member {name} has caught up and has a vote"),
    }
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(ATTEMPT_MILLISECONDS)).await;
}
