//! What only kubectl can do, by that of a node of the control plane, with the administrator's
//! credentials.

use std::net::{IpAddr, Ipv4Addr};

use crate::certificate::Credentials;
use crate::component;
use crate::inventory::{Cluster, Endpoint, San};
use crate::kubeconfig::{self, Client};
use crate::script::Script;
use crate::secret::Secret;
use crate::transport::{self, Body, Piece, Transport};

/// Who is asked: the kube-apiserver at this port of the node on which kubectl runs.
#[derive(Clone, Copy)]
pub struct Kubectl<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The administrator's are among them.
    pub credentials: &'a Credentials,
    /// The port.
    pub port: u16,
}

impl Kubectl<'_> {
    /// Has it done by `kubectl.sh`, whose last words these are; what it prints, or why it failed.
    pub async fn run(
        self,
        transport: &Transport,
        script: Script,
        words: &[&str],
    ) -> Result<Result<String, String>, transport::Error> {
        let mut cluster = self.cluster.clone();
        cluster.endpoint = Endpoint {
            host: San::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            port: self.port,
        };
        let client = Client::Admin;
        let kubeconfig =
            match kubeconfig::render(client, None, &cluster, self.port, self.credentials) {
                Ok(kubeconfig) => kubeconfig,
                Err(missing) => return Ok(Err(missing.to_string())),
            };
        let mut input = kubeconfig.expose().to_vec();
        input.extend_from_slice(b"\nend\n");
        let body = Body {
            pieces: vec![Piece::Bytes(Secret::new(input))],
            ..Body::default()
        };
        let kubectl = component::path_of("kubectl");
        let words: Vec<&str> = [kubectl.as_str()].iter().chain(words).copied().collect();
        let said = transport.run(script, &words, body).await?;
        let said = said.trim();
        Ok(match said.strip_prefix("failed ") {
            Some(why) => Err(why.to_owned()),
            None => Ok(said.to_owned()),
        })
    }
}
