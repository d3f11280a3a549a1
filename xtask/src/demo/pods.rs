//! Pods on the three nodes: `kinstall verify`, then a Deployment that answers on each of them.

use std::path::Path;

use serde_json::json;

use super::Error;
use super::cluster::{Cluster, expect};
use super::site::{Site, Source};
use crate::command::Program;
use crate::nodes::Bed;
use crate::say;

/// The image of the Pods where there is no registry to fetch one from: see `mirror/images.rs`.
const SERVE: &str = "kinstall.test/serve:1";
/// And where there is.
const AGNHOST: &str = "registry.k8s.io/e2e-test-images/agnhost:2.39";
/// Where the Deployment answers on every node.
const NODE_PORT: u16 = 30080;
/// How long an image may take to import, in seconds.
const IMPORT_SECONDS: u64 = 120;

/// Shows it.
pub(super) fn show(
    site: &Site,
    source: &Source,
    bed: &Bed,
    cluster: &Cluster,
) -> Result<(), Error> {
    let image = match source {
        Source::Upstream { .. } => AGNHOST,
        Source::Mirror { mirror, .. } => {
            say::line(format!("\n# the nodes get an image to run: {SERVE}"));
            import(bed, &mirror.directory.join("images/serve.tar"))?;
            SERVE
        }
    };
    say::line("\n# that it does what a cluster is for");
    site.kinstall(&["verify", "--image", image], 0)?;
    say::line("\n# a Deployment behind a Service");
    deploy(bed, cluster, image)
}

/// Imports it into containerd on each node. What each Pod begins with, a push brings.
fn import(bed: &Bed, archive: &Path) -> Result<(), Error> {
    let script = "cat >/root/serve.tar && ctr -n k8s.io images import /root/serve.tar >/dev/null";
    for node in bed.nodes()? {
        let ssh = Program::new("ssh")
            .arg("-F")
            .arg(bed.ssh_config()?)
            .args([node.to_string().as_str(), script]);
        ssh.input(fs_err::read(archive)?)
            .limit_seconds(IMPORT_SECONDS)
            .done()?;
    }
    Ok(())
}

fn deploy(bed: &Bed, cluster: &Cluster, image: &str) -> Result<(), Error> {
    let nodes = bed.nodes()?;
    let labels = json!({ "app": "web" });
    let apart = json!([{
        "topologyKey": "kubernetes.io/hostname", "labelSelector": { "matchLabels": labels },
    }]);
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
        "spec": {
            "replicas": nodes.len(),
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "affinity": { "podAntiAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": apart,
                    } },
                    "containers": [{
                        "name": "web", "image": image, "imagePullPolicy": "IfNotPresent",
                        "args": ["netexec", "--http-port=8080"],
                        "readinessProbe": {
                            "httpGet": { "path": "/healthz", "port": 8080 }, "periodSeconds": 1,
                        },
                    }],
                },
            },
        },
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" },
        "spec": {
            "type": "NodePort", "selector": labels,
            "ports": [{ "port": 80, "targetPort": 8080, "nodePort": NODE_PORT }],
        },
    });
    let both = json!({ "apiVersion": "v1", "kind": "List", "items": [deployment, service] });
    cluster.answer(0, &["apply", "-f", "-"], &both.to_string())?;
    let rollout = ["rollout", "status", "deployment/web", "--timeout=15s"];
    cluster.answer(0, &rollout, "")?;
    for node in nodes {
        let url = format!("http://{}:{NODE_PORT}", bed.address(node));
        let answer = cluster.page(&url, "/hostname").unwrap_or_default();
        let what = format!("a Pod of the Deployment answers at {url}, {node}: {answer}");
        expect(answer.starts_with("web-"), &what, || answer.clone())?;
    }
    Ok(())
}
