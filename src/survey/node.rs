//! Asking the cluster's API for the Node object of a node: a kube-apiserver as the node itself reaches it,
//! since its kubelet must.

use std::net::SocketAddr;

use reqwest::Method;
use serde_json::Value;

use crate::kube_api::{Api, Reply};
use crate::node_object::Node;
use crate::plain;
use crate::probe::Prober;
use crate::transport::{self, Transport};

/// Where Nodes are.
pub const NODES: &str = "/api/v1/nodes";

/// The Node as it is, none if there is none; or why nobody tells.
pub async fn ask(
    prober: &Prober<'_>,
    transport: &Transport,
    servers: &[SocketAddr],
) -> Result<Result<Option<Node>, String>, transport::Error> {
    let path = format!("{NODES}/{}", transport.node());
    let answer = send(prober, transport, servers, Method::GET, &path, None).await?;
    Ok(match answer {
        Ok(Reply { status: 404, .. }) => Ok(None),
        Ok(Reply { status: 200, text }) => serde_json::from_str(&text).map(Some).map_err(|error| {
            let error = plain::brief(&error.to_string());
            format!("what kube-apiserver tells is no Node: {error}")
        }),
        Ok(reply) => Err(format!("kube-apiserver answers {}", reply.message())),
        Err(why) => Err(why),
    })
}

/// Asks the first kube-apiserver that answers; or why none does.
pub async fn send(
    prober: &Prober<'_>,
    transport: &Transport,
    servers: &[SocketAddr],
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<Result<Reply, String>, transport::Error> {
    let Some(connection) = transport.ssh() else {
        return Ok(Err("nothing runs in a directory".to_owned()));
    };
    let mut failures = Vec::new();
    for server in servers {
        let client = match prober.api_at(connection, *server).await? {
            Ok(client) => client,
            Err(why) => {
                failures.push(format!("{server}: {why}"));
                continue;
            }
        };
        let api = Api::new(client, *server);
        match api.send(method.clone(), path, body.as_ref()).await {
            Ok(answer) => return Ok(Ok(answer)),
            Err(why) => failures.push(format!("{server}: {why}")),
        }
    }
    Ok(Err(format!(
        "no kube-apiserver answers it: {}",
        failures.join("; ")
    )))
}
