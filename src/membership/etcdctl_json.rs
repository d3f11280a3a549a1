//! What `script/member.sh` prints of a cluster's members: `etcdctl`'s own JSON.

use serde::Deserialize;

use super::Member;

/// etcdctl printed something that is not what it prints of members.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("what etcdctl tells of the members cannot be read: {0}")]
pub struct Unreadable(String);

/// `member list -w json`; other fields are of no use here.
#[derive(Deserialize)]
struct List {
    header: Header,
    members: Vec<Told>,
}

#[derive(Deserialize)]
struct Header {
    cluster_id: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    #[serde(rename = "ID")]
    id: u64,
    #[serde(default)]
    name: String,
    #[serde(default, rename = "peerURLs")]
    peer_urls: Vec<String>,
    #[serde(default, rename = "clientURLs")]
    client_urls: Vec<String>,
    #[serde(default)]
    is_learner: bool,
}

/// `endpoint health -w json`.
#[derive(Deserialize)]
struct Health {
    endpoint: String,
    #[serde(default)]
    health: bool,
}

/// Parses what `member.sh look` printed: a line `members JSON`, and, where some have started, a
/// line `health JSON`.
pub fn members(output: &str) -> Result<Vec<Member>, Unreadable> {
    Ok(Cluster::told(output)?.members)
}

/// A cluster, as one of its members tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Its number.
    pub id: u64,
    /// Its members.
    pub members: Vec<Member>,
}

impl Cluster {
    /// Parses what `member.sh look` or `member.sh list` printed.
    pub fn told(output: &str) -> Result<Self, Unreadable> {
        let line = |word: &str| output.lines().find_map(|line| line.strip_prefix(word));
        let list = line("members ").ok_or_else(|| Unreadable("there is no list".to_owned()))?;
        let list: List =
            serde_json::from_str(list).map_err(|error| Unreadable(error.to_string()))?;
        // A member that is ill may keep etcdctl from telling of any: then nobody is known to be well.
        let health: Vec<Health> = line("health ")
            .and_then(|json| serde_json::from_str(json).ok())
            .unwrap_or_default();
        Ok(Self {
            id: list.header.cluster_id,
            members: members_of(list, &health),
        })
    }
}

fn members_of(list: List, health: &[Health]) -> Vec<Member> {
    let members = list.members.into_iter().map(|told| {
        let answers = |url: &String| health.iter().any(|it| it.endpoint == *url && it.health);
        Member {
            id: told.id,
            is_healthy: told.client_urls.iter().any(answers),
            name: told.name,
            peer_urls: told.peer_urls,
            client_urls: told.client_urls,
            is_learner: told.is_learner,
        }
    });
    members.collect()
}
