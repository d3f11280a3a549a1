//! Asking a living etcd cluster, through one of its nodes, who its members are.

use crate::membership::{self, Member};
use crate::script;
use crate::transport::{self, Body, Transport};

/// The members, as the one on this node tells of them; else why it does not.
pub async fn ask(transport: &Transport) -> Result<Result<Vec<Member>, String>, transport::Error> {
    let reply = transport
        .call(script::MEMBER, &["look"], Body::default())
        .await?;
    if reply.status == 0 {
        return Ok(membership::told(&reply.output).map_err(|error| error.to_string()));
    }
    refused(transport, &reply).map(Err)
}

/// Whether the data of a member lie in a directory of the node.
pub async fn has_data(transport: &Transport, directory: &str) -> Result<bool, transport::Error> {
    let output = transport
        .run(script::MEMBER, &["data", directory], Body::default())
        .await?;
    Ok(output.trim() == "data")
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
