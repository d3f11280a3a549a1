//! Asking a living etcd cluster, through one of its nodes, who its members are.

use std::collections::BTreeSet;

use crate::membership::{self, Cluster, Member};
use crate::script;
use crate::transport::{self, Body, Transport};

/// The members, as the one on this node tells of them; else why it does not.
pub async fn ask(transport: &Transport) -> Result<Result<Vec<Member>, String>, transport::Error> {
    let reply = transport
        .call(script::MEMBER, &["look"], Body::default())
        .await?;
    if reply.status == 0 {
        return Ok(membership::from_etcdctl(&reply.output).map_err(|error| error.to_string()));
    }
    refused(transport, &reply).map(Err)
}

/// The cluster that the member on this node is of, and its members; else why it does not say.
pub async fn list(transport: &Transport) -> Result<Result<Cluster, String>, transport::Error> {
    let reply = transport
        .call(script::MEMBER, &["list"], Body::default())
        .await?;
    if reply.status == 0 {
        return Ok(Cluster::told(&reply.output).map_err(|error| error.to_string()));
    }
    refused(transport, &reply).map(Err)
}

/// Whether the member on this node leads the others, as far as it answers. Not asked by etcd's HTTP
/// gateway, which is off where clients have an authority of their own.
pub async fn leads(transport: &Transport) -> bool {
    let said = transport
        .run(script::MEMBER, &["leads"], Body::default())
        .await;
    said.is_ok_and(|said| said.trim() == "leads")
}

/// What a cluster stands on, as etcd tells of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EtcdState {
    /// Prefixes, of those asked about, below which something is stored.
    pub below: BTreeSet<String>,
    /// The users it knows, where it asks who its clients are.
    pub users: Option<BTreeSet<String>>,
}

/// What etcd tells, through the member on this node; else why it does not.
pub async fn state(
    transport: &Transport,
    prefixes: &BTreeSet<String>,
) -> Result<Result<EtcdState, String>, transport::Error> {
    let mut words = vec!["ground"];
    words.extend(prefixes.iter().map(String::as_str));
    let reply = transport
        .call(script::MEMBER, &words, Body::default())
        .await?;
    if reply.status != 0 {
        return refused(transport, &reply).map(Err);
    }
    let told = |word: &str| {
        let lines = reply.output.lines();
        let told = lines.filter_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
        told.map(ToOwned::to_owned).collect::<BTreeSet<_>>()
    };
    let asks = reply.output.lines().any(|line| line == "asks");
    Ok(Ok(EtcdState {
        below: told("below"),
        users: asks.then(|| told("user")),
    }))
}

/// etcd's own words in a reply that says no; any other reply is an error.
pub fn refused(
    transport: &Transport,
    reply: &transport::Reply,
) -> Result<String, transport::Error> {
    let mut lines = reply.output.lines();
    let why = lines.find_map(|line| line.strip_prefix("refused "));
    match why {
        Some(why) if reply.status == 1 => Ok(why.to_owned()),
        _ => Err(transport.failed(script::MEMBER, reply)),
    }
}
