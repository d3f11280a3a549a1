//! What an answer is worth. Pure: from what was said to what it proves, or why it does not.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::Why;
use super::object::ACCOUNT_USER;
use crate::inventory::{NodeName, Provider};
use crate::kube_api::Reply;
use crate::node_object::is_version;
use crate::plain;
use crate::probe::Answer;

/// What a Go server says to HTTP where it speaks TLS (`net/http`, `tlsHandshakeError`).
const NOT_TLS: &str = "HTTP request to an HTTPS server";
/// How a value begins that kube-apiserver encrypted (`k8s.io/apiserver`, `encryptionconfig`).
const ENCRYPTED: &str = "k8s:enc:";

/// What the inventory says of a worker's Node.
#[derive(Debug, Clone)]
pub(super) struct WantedNode {
    pub(super) version: String,
    pub(super) address: IpAddr,
    /// None where the user's own network gives it one.
    pub(super) pod_range: Option<IpNet>,
}

/// Whether a Node is that, and Ready.
pub(super) fn node(found: &Value, wanted: &WantedNode) -> Result<String, String> {
    let conditions = found["status"]["conditions"].as_array();
    let ready = conditions.and_then(|all| all.iter().find(|it| it["type"] == "Ready"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let Some(ready) = ready else {
        return Err("its kubelet has told nothing yet".to_owned());
    };
    if ready["status"] != "True" {
        let (reason, message) = (text(&ready["reason"]), text(&ready["message"]));
        return Err(format!("not Ready: {reason}: {message}"));
    }
    let version = text(&found["status"]["nodeInfo"]["kubeletVersion"]);
    if !is_version(&version, &wanted.version) {
        let wanted = &wanted.version;
        return Err(format!(
            "its kubelet is {version}, and v{wanted} is asked for"
        ));
    }
    let addresses = found["status"]["addresses"]
        .as_array()
        .into_iter()
        .flatten();
    let internal = addresses.filter(|it| it["type"] == "InternalIP");
    let internal: Vec<String> = internal.map(|it| text(&it["address"])).collect();
    if !internal.iter().any(|it| it.parse() == Ok(wanted.address)) {
        let (told, wanted) = (internal.join(", "), wanted.address);
        return Err(format!(
            "its InternalIP is {told}, and the inventory says {wanted}"
        ));
    }
    let range = text(&found["spec"]["podCIDR"]);
    match wanted.pod_range {
        Some(wanted) if range.parse() != Ok(wanted) => Err(format!(
            "its Pod range is {}, and `kinstall.pods` gives it {wanted}",
            if range.is_empty() { "none" } else { &range }
        )),
        _ => {
            let range = if range.is_empty() {
                range
            } else {
                format!(", Pods in {range}")
            };
            Ok(format!(
                "Ready, kubelet {version}, {}{range}",
                wanted.address
            ))
        }
    }
}

/// A Pod that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) address: IpAddr,
}

/// The Pod of a worker among these; or why there is none that serves, and its name.
pub(super) fn pod(pods: &Value, worker: &NodeName) -> Result<Pod, (Option<String>, String)> {
    let all = pods["items"].as_array().into_iter().flatten();
    let own = all.filter(|pod| pod["spec"]["nodeName"] == worker.as_str());
    // One that goes makes room for another.
    let mut own = own.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    let Some(found) = own.next() else {
        return Err((None, "no Pod is scheduled there".to_owned()));
    };
    let name = found["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let status = &found["status"];
    let container = &status["containerStatuses"][0];
    let address = status["podIP"].as_str().and_then(|it| it.parse().ok());
    if let (Some(true), Some(address)) = (container["ready"].as_bool(), address) {
        return Ok(Pod { name, address });
    }
    let (waits, ended) = (
        &container["state"]["waiting"],
        &container["state"]["terminated"],
    );
    let why = words(waits)
        .or_else(|| words(ended))
        .or_else(|| words(status));
    let phase = status["phase"].as_str().unwrap_or("nothing yet");
    let why = why.unwrap_or_else(|| match phase {
        "Running" => "it runs, and does not answer".to_owned(),
        phase => format!("it is {phase}"),
    });
    Err((Some(name), why))
}

fn words(state: &Value) -> Option<String> {
    let reason = state["reason"].as_str()?;
    Some(match state["message"].as_str() {
        Some(message) => plain::brief(&format!("{reason}: {}", message.trim())),
        None => plain::brief(reason),
    })
}

/// The last thing that was complained of, of something with this name.
pub(super) fn complaint(events: &Value, name: &str) -> Option<String> {
    let all = events["items"].as_array().into_iter().flatten();
    let warnings = all.filter(|event| {
        event["type"] == "Warning"
            && event["involvedObject"]["name"] == name
            // Before its first answer a Pod that starts is always unready.
            && event["reason"] != "Unhealthy"
    });
    let last = warnings.max_by_key(|event| event["lastTimestamp"].as_str().unwrap_or_default());
    last.and_then(words)
}

/// What a Pod was asked to find out.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sought<'a> {
    /// That the Pod of this name answers.
    Pod(&'a str),
    /// That kube-apiserver does, in TLS.
    Apiserver,
    /// That anybody does.
    Anybody,
}

/// Whether it found that.
pub(super) fn dialled(reply: &Reply, sought: Sought<'_>) -> Result<(), String> {
    let answer = reply.object();
    if !reply.is_success() || !answer.is_object() {
        return Err(format!("the Pod cannot be asked: {}", reply.message()));
    }
    let list = |name: &str| {
        let all = answer[name].as_array().into_iter().flatten();
        let texts = all.filter_map(|it| it.as_str().map(str::to_owned));
        texts.collect::<Vec<_>>()
    };
    let (responses, errors) = (list("responses"), list("errors"));
    let is_it = match sought {
        Sought::Pod(name) => responses.iter().any(|it| it == name),
        Sought::Anybody => !responses.is_empty(),
        // Whoever makes the request may take that refusal for an error.
        Sought::Apiserver => responses
            .iter()
            .chain(&errors)
            .any(|it| it.contains(NOT_TLS)),
    };
    if is_it {
        return Ok(());
    }
    if let Some(other) = responses.first() {
        let other: String = other.trim().chars().take(100).collect();
        return Err(format!("somebody else answers: {other}"));
    }
    Err(errors
        .first()
        .map_or_else(|| "no answer".to_owned(), |said| plain::brief(said)))
}

/// Whether one of the Pods answered a request that went to a node, or to a Pod itself.
pub(super) fn served<'a>(
    answer: Answer,
    mut pods: impl Iterator<Item = &'a str>,
) -> Result<(), Why> {
    match answer {
        Answer::Given { status: 200, text } if pods.any(|name| name == text.trim()) => Ok(()),
        Answer::Given { status, text } => {
            let text: String = text.trim().chars().take(100).collect();
            Err(Why::Failed(format!(
                "somebody else answers: {status} {text}"
            )))
        }
        Answer::Failed(why) => Err(Why::Failed(why)),
        Answer::NotAsked(why) => Err(Why::NotChecked(why)),
    }
}

/// Whether a kubelet refused somebody without a certificate. Who it lets in, but not do this, is
/// refused by 403.
pub(super) fn refused(answer: Answer) -> Result<String, Why> {
    match answer {
        Answer::Given { status: 401, .. } => {
            Ok("its kubelet refuses who shows no certificate (401)".to_owned())
        }
        Answer::Given { status, .. } => Err(Why::Failed(format!(
            "its kubelet answers {status} to somebody without a certificate, and not 401"
        ))),
        Answer::Failed(why) => Err(Why::Failed(format!("its kubelet cannot be asked: {why}"))),
        Answer::NotAsked(why) => Err(Why::NotChecked(why)),
    }
}

/// Whether a value in etcd is encrypted, by its beginning.
pub(super) fn stored(head: &str, provider: Provider) -> Result<String, Why> {
    let head = head.trim();
    if head.starts_with(ENCRYPTED) {
        let head = plain::brief(head);
        return Ok(format!("in etcd the Secret begins with {head}"));
    }
    match head {
        "" => Err(Why::Failed("the Secret is not in its etcd".to_owned())),
        // What that says is the user's own decision.
        _ if provider == Provider::File => Err(Why::NotChecked(
            "the Secret is in plain text in etcd, as a configuration of your own may have it"
                .to_owned(),
        )),
        _ => Err(Why::Failed(
            "the Secret is in plain text in etcd".to_owned(),
        )),
    }
}

/// Whether a kube-apiserver takes a token for that of our account.
pub(super) fn reviewed(reply: &Reply) -> Result<(), String> {
    if !reply.is_success() {
        return Err(reply.message());
    }
    let status = &reply.object()["status"];
    if status["authenticated"] == true && status["user"]["username"] == ACCOUNT_USER {
        return Ok(());
    }
    let why = status["error"].as_str().unwrap_or("it is nobody's");
    let why = plain::brief(why);
    Err(format!("the token is not good there: {why}"))
}

/// Whether a list of Services has one with this address.
pub(super) fn has_service_at(services: &Value, address: IpAddr) -> bool {
    let mut all = services["items"].as_array().into_iter().flatten();
    all.any(|service| {
        let own = service["spec"]["clusterIP"].as_str();
        own.is_some_and(|it| it.parse() == Ok(address))
    })
}

#[cfg(test)]
mod tests;
