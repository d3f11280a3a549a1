//! Asks three kube-apiservers whether they are one cluster. Only genuine ones can answer.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::{Error, Site};
use crate::command::{Program, poll};
use crate::nodes::{Bed, NodeName};
use crate::say;

/// How long controllers may take to do what they are there for, after a first start.
const CONTROLLERS: Duration = Duration::from_secs(90);
/// What is kept secret.
const WORD: &str = "open sesame";
/// How a value begins that kube-apiserver encrypted (`k8s.io/apiserver`, package `encryptionconfig`).
const ENCRYPTED: &str = "k8s:enc:aescbc:v1:";
/// The controllers of which one at a time leads.
const LEADERS: [&str; 2] = ["kube-controller-manager", "kube-scheduler"];

/// Proves it, a line for each thing that is so.
pub(super) fn prove(site: &Site, bed: &Bed) -> Result<Cluster, Error> {
    let cluster = Cluster::reach(site, bed)?;
    cluster.nodes_agree()?;
    cluster.secret_is_shared()?;
    cluster.secret_is_encrypted(bed)?;
    cluster.token_is_shared()?;
    cluster.leaders()?;
    Ok(cluster)
}

/// kubectl, and a kubeconfig for the kube-apiserver of each node.
pub(super) struct Cluster {
    kubectl: PathBuf,
    home: PathBuf,
    servers: Vec<(NodeName, PathBuf)>,
}

impl Cluster {
    fn reach(site: &Site, bed: &Bed) -> Result<Self, Error> {
        let home = site.directory().to_owned();
        let nodes = bed.nodes()?;
        let mut servers = Vec::new();
        for node in &nodes {
            let name = node.to_string();
            let text = site.command(&["kubeconfig", "--node", &name]).text()?;
            let path = home.join(format!("{name}.kubeconfig"));
            fs_err::write(&path, text)?;
            servers.push((*node, path));
        }
        // The very kubectl that was installed.
        let kubectl = home.join("kubectl");
        let copy = Program::new("scp")
            .args(["-q", "-F"])
            .arg(bed.ssh_config()?);
        copy.arg("node1:/usr/local/bin/kubectl")
            .arg(&kubectl)
            .limit_seconds(120)
            .done()?;
        Ok(Self {
            kubectl,
            home,
            servers,
        })
    }

    /// kubectl, asking the kube-apiserver of the node of that index.
    fn ask(&self, index: usize, args: &[&str]) -> Program {
        let (_, kubeconfig) = &self.servers[index];
        Program::new(&self.kubectl)
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .arg("--request-timeout=20s")
            .args(args)
            .env("HOME", &self.home)
    }

    /// What a server answers over HTTP that is no kube-apiserver: kubectl asks anybody.
    pub(super) fn page(&self, url: &str, path: &str) -> Option<String> {
        let ask = || {
            let ask = Program::new(&self.kubectl)
                .args(["--kubeconfig=/dev/null", "--request-timeout=5s", "--server"])
                .args([url, "get", "--raw", path])
                .env("HOME", &self.home);
            ask.text().ok().filter(|text| !text.is_empty())
        };
        poll(CONTROLLERS, ask)
    }

    /// What it answers once it answers; after a first start some things take a while to appear.
    pub(super) fn answer(&self, index: usize, args: &[&str], input: &str) -> Result<String, Error> {
        let ask = || self.ask(index, args).input(input).text();
        match poll(CONTROLLERS, || ask().ok().filter(|text| !text.is_empty())) {
            Some(text) => Ok(text),
            None => Ok(ask()?),
        }
    }

    fn node(&self, index: usize) -> NodeName {
        self.servers[index].0
    }

    fn nodes_agree(&self) -> Result<(), Error> {
        let ids = (0..self.servers.len()).map(|index| {
            let path = "{.metadata.uid}";
            let output = format!("--output=jsonpath={path}");
            self.answer(index, &["get", "namespace", "kube-system", &output], "")
        });
        let ids = ids.collect::<Result<BTreeSet<_>, _>>()?;
        expect(ids.len() == 1, "the three see one kube-system", || {
            format!("{ids:?}")
        })
    }

    fn secret_is_shared(&self) -> Result<(), Error> {
        let literal = format!("--from-literal=word={WORD}");
        self.answer(0, &["create", "secret", "generic", "demo", &literal], "")?;
        for index in 1..self.servers.len() {
            let output = "--output=go-template={{.data.word | base64decode}}";
            let word = self.answer(index, &["get", "secret", "demo", output], "")?;
            let what = format!(
                "a Secret made through {} is read through {}",
                self.node(0),
                self.node(index)
            );
            expect(word == WORD, &what, || word.clone())?;
        }
        Ok(())
    }

    fn secret_is_encrypted(&self, bed: &Bed) -> Result<(), Error> {
        let script = "cd /etc/etcd/certs && ETCDCTL_API=3 etcdctl \
            --endpoints https://127.0.0.1:2379 --cacert rootCA.pem \
            --cert healthcheck/etcd-healthcheck-client.pem \
            --key healthcheck/etcd-healthcheck-client.key \
            get --print-value-only /registry/secrets/default/demo";
        let node = self.node(self.servers.len() - 1);
        let output = bed.exec(node, &["sh", "-c", script], 30)?;
        let found = output.stdout;
        let shown: String = found.chars().take(ENCRYPTED.len()).collect();
        let what = format!("in etcd on {node} its value begins with {ENCRYPTED}");
        let hidden = found.starts_with(ENCRYPTED) && !found.contains(WORD);
        expect(hidden, &what, || format!("{shown}{}", output.stderr))
    }

    fn token_is_shared(&self) -> Result<(), Error> {
        let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
        let request =
            r#"{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}"#;
        let made = self.answer(0, &["create", "--raw", path, "-f", "-"], request)?;
        let made: Value = serde_json::from_str(&made).unwrap_or_default();
        let token = made["status"]["token"].as_str().unwrap_or_default();
        let review = serde_json::json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token},
        });
        let path = "/apis/authentication.k8s.io/v1/tokenreviews";
        for index in 1..self.servers.len() {
            let review = review.to_string();
            let said = self.answer(index, &["create", "--raw", path, "-f", "-"], &review)?;
            let said: Value = serde_json::from_str(&said).unwrap_or_default();
            let user = said["status"]["user"]["username"].as_str();
            let what = format!(
                "a ServiceAccount token of {} is good on {}",
                self.node(0),
                self.node(index)
            );
            let good = said["status"]["authenticated"] == true
                && user == Some("system:serviceaccount:default:default");
            expect(good, &what, || said["status"]["error"].to_string())?;
        }
        Ok(())
    }

    fn leaders(&self) -> Result<(), Error> {
        for name in LEADERS {
            let output = "--output=jsonpath={.spec.holderIdentity}";
            let args = ["--namespace", "kube-system", "get", "lease", name, output];
            let holders = (0..self.servers.len()).map(|index| self.answer(index, &args, ""));
            let holders = holders.collect::<Result<BTreeSet<_>, _>>()?;
            // The holder's name is its host's, an underscore, and a random part.
            let hosts = holders.iter().map(|holder| holder.split('_').next());
            let hosts: Vec<&str> = hosts.flatten().collect();
            let known = |host: &str| {
                self.servers
                    .iter()
                    .any(|(node, _)| node.to_string() == host)
            };
            let what = format!("one {name} leads, that of {}", hosts.join(", "));
            let one = holders.len() == 1 && hosts.iter().all(|host| known(host));
            expect(one, &what, || format!("{holders:?}"))?;
        }
        Ok(())
    }
}

/// Says that it is so, or fails with what was found instead.
pub(super) fn expect(truth: bool, what: &str, found: impl FnOnce() -> String) -> Result<(), Error> {
    if truth {
        say::line(format!("ok    {what}"));
        return Ok(());
    }
    Err(Error::Wrong {
        what: what.to_owned(),
        found: format!("no: {}", found()),
    })
}
