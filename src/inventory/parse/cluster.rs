//! `[cluster]`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{address, scalar};
use crate::image::Reference;
use crate::inventory::cluster::{Network, Proxy};
use crate::inventory::draft::ClusterDraft;
use crate::inventory::problem::Problem;
use crate::inventory::table::{At, Found, Table, Value, refuse, shown};

/// What others call the networks.
const NETWORK_ALIASES: [(&str, &str); 3] =
    [("host-gw", "routes"), ("flannel", "vxlan"), ("cni", "none")];

/// What others call the proxies.
const PROXY_ALIASES: [(&str, &str); 2] = [("ipvs", "iptables"), ("nft", "nftables")];

/// The address that Pods ask for names.
fn dns(value: &Value<'_>, found: &mut Found) -> Option<At<IpAddr>> {
    let text = value.text(found)?;
    let Ok(address) = text.parse() else {
        let message = format!("`{}` is not an IP address", shown(text));
        let help = "write the address of the cluster's DNS service; by default it is the tenth of \
                    `service-cidr`";
        return refuse(
            found,
            value.problem("not an IP address", message).help(help),
        );
    };
    Some(value.at(address))
}

/// Reads the table.
pub(super) fn read(mut table: Table<'_>, found: &mut Found) -> ClusterDraft {
    let draft = ClusterDraft {
        place: table.span.clone(),
        name: table.read_required("name", "name = \"home\"", found, scalar::name),
        kubernetes: table.read_required(
            "kubernetes",
            "kubernetes = \"1.36.3\"",
            found,
            scalar::kubernetes,
        ),
        etcd: table.read("etcd", found, scalar::etcd),
        domain: table.read("domain", found, address::domain),
        endpoint: table.read("endpoint", found, address::endpoint),
        service_cidr: table.read("service-cidr", found, address::network),
        pod_cidr: table.read("pod-cidr", found, address::network),
        network: table.read("network", found, |value, found| {
            value.word(&Network::ALL, &NETWORK_ALIASES, found)
        }),
        proxy: table.read("proxy", found, |value, found| {
            value.word(&Proxy::ALL, &PROXY_ALIASES, found)
        }),
        dns: table.read("dns", found, dns),
        images: table.read("images", found, images),
        profile: table.read("profile", found, super::node::profile),
        templates: table.read("templates", found, scalar::local_path),
    };
    table.finish(found);
    draft
}

/// Images by name, each once.
fn images(value: &Value<'_>, found: &mut Found) -> Option<At<BTreeSet<Reference>>> {
    let mut images = BTreeSet::new();
    for text in value.texts(found)? {
        let name = shown(text.value);
        let problem = |label, message| Problem::new(text.span.clone(), label, message);
        match text.value.parse::<Reference>() {
            Err(error) => {
                let message = format!("`{name}` is no name of an image: {error}");
                found.push(problem("not an image", message).help(error.help));
            }
            Ok(image) => {
                if !images.insert(image) {
                    let message = format!("the image `{name}` is named already");
                    found.push(problem("again", message).help("leave one of them out"));
                }
            }
        }
    }
    Some(value.at(images))
}
