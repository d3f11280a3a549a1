//! The networks: large enough, of one family, and apart from each other and from the nodes.

use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;

use crate::inventory::cluster::Cluster;
use crate::inventory::draft::{Draft, Field, NodeDraft};
use crate::inventory::node::{Role, San};
use crate::inventory::pods::{MANAGER, range_bits};
use crate::inventory::problem::Problem;
use crate::inventory::table::Found;
use crate::plain::count;

/// The most host bits of the Service network (kube-apiserver: "the mask must be >= 12" of IPv4,
/// 108 of IPv6).
const SERVICE_BITS_MAX: u8 = 20;

/// The least host bits of the Service network (kube-apiserver: at least 8 addresses).
const SERVICE_BITS_MIN: u8 = 3;

/// How far the IPv6 network of Pods may be wider than a node's part of it
/// (kube-controller-manager: "the node CIDR size is too big").
const POD_BITS_MAX_IPV6: u8 = 16;

/// A network of the cluster, as it was said or by default.
struct Network {
    noun: &'static str,
    key: &'static str,
    net: IpNet,
    /// Where it is said; nowhere for the default.
    place: Option<Range<usize>>,
}

impl Network {
    fn of(
        noun: &'static str,
        key: &'static str,
        said: &Field<IpNet>,
        default: IpNet,
    ) -> Option<Self> {
        let (net, _) = said.or_default(default)?;
        let place = said.this().map(|at| at.span.clone());
        Some(Self {
            noun,
            key,
            net,
            place,
        })
    }

    fn service(draft: &Draft) -> Option<Self> {
        let default = Cluster::default_service_cidr();
        Self::of(
            "Services",
            "service-cidr",
            &draft.cluster.service_cidr,
            default,
        )
    }

    fn pod(draft: &Draft) -> Option<Self> {
        let default = Cluster::default_pod_cidr();
        Self::of("Pods", "pod-cidr", &draft.cluster.pod_cidr, default)
    }

    /// The network as a message names it: what for, which, and whether by default.
    fn title(&self) -> String {
        let default = if self.place.is_none() {
            " (the default)"
        } else {
            ""
        };
        format!("the network of {} `{}`{default}", self.noun, self.net)
    }

    fn host_bits(&self) -> u8 {
        self.net.max_prefix_len() - self.net.prefix_len()
    }
}

/// Networks that Kubernetes finds too small or too large.
pub(super) fn sizes(draft: &Draft, found: &mut Found) {
    if let Some(service) = Network::service(draft)
        && let Some(place) = service.place.clone()
    {
        let longest = service.net.max_prefix_len();
        let (widest, narrowest) = (longest - SERVICE_BITS_MAX, longest - SERVICE_BITS_MIN);
        let fault = match service.host_bits() {
            bits if bits > SERVICE_BITS_MAX => Some("large"),
            bits if bits < SERVICE_BITS_MIN => Some("small"),
            _ => None,
        };
        if let Some(fault) = fault {
            let message = format!("{} is too {fault} for kube-apiserver", service.title());
            let help = format!("prefix lengths from /{widest} to /{narrowest} are possible");
            found.push(Problem::new(place, format!("too {fault}"), message).help(help));
        }
    }
    if let Some(pod) = Network::pod(draft) {
        pod_size(&pod, draft, found);
    }
}

/// Every node that may run Pods gets a part of the network of Pods.
fn pod_size(pod: &Network, draft: &Draft, found: &mut Found) {
    let place = pod
        .place
        .clone()
        .unwrap_or_else(|| draft.cluster.place.clone());
    let manager = draft.components.get(MANAGER);
    let part = range_bits(pod.net, manager.map(|it| &it.settings));
    let bits = i16::from(part) - i16::from(pod.net.prefix_len());
    if pod.net.max_prefix_len() == 128 && bits > i16::from(POD_BITS_MAX_IPV6) {
        let message = format!("{} is too large for parts of /{part}", pod.title());
        let least = part - POD_BITS_MAX_IPV6;
        let help = format!("kube-controller-manager wants at least /{least} of it");
        found.push(Problem::new(place, "too large", message).help(help));
        return;
    }
    let runs_pods = |node: &&NodeDraft| node.has(Role::Worker) || node.has(Role::ControlPlane);
    let nodes = draft.nodes.iter().filter(runs_pods).count();
    let parts = match u32::try_from(bits) {
        Ok(bits) => 1_usize.checked_shl(bits).unwrap_or(usize::MAX),
        Err(_) => 0,
    };
    if parts < nodes.max(1) {
        let message = if parts == 0 {
            format!("{} is smaller than the /{part} of one node", pod.title())
        } else {
            format!(
                "{} holds {} of /{part}, for {}",
                pod.title(),
                count(parts, "part"),
                count(nodes, "node")
            )
        };
        let help = format!(
            "take a wider network, or a smaller part for each node: {MANAGER}'s flag \
             `node-cidr-mask-size`"
        );
        found.push(Problem::new(place, "too small", message).help(help));
    }
}

/// Networks and nodes of different families: kinstall's clusters have one.
pub(super) fn families(draft: &Draft, found: &mut Found) {
    let (Some(service), Some(pod)) = (Network::service(draft), Network::pod(draft)) else {
        return;
    };
    let is_v4 = |net: IpNet| net.addr().is_ipv4();
    if is_v4(service.net) != is_v4(pod.net) {
        let message = format!(
            "{} and {} are of different families",
            service.title(),
            pod.title()
        );
        let help = "set `service-cidr` and `pod-cidr`, both to IPv4 or both to IPv6 networks";
        let [first, second] = [&service, &pod].map(|network| network.place.clone());
        let place = first
            .or(second)
            .unwrap_or_else(|| draft.cluster.place.clone());
        found.push(Problem::new(place, "this family", message).help(help));
    }
    let other = |node: &&NodeDraft| {
        let address = node.address.this();
        address.is_some_and(|address| address.value.is_ipv4() != is_v4(service.net))
    };
    let mut others = draft.nodes.iter().filter(other);
    if let Some(first) = others.next()
        && let Some(address) = first.address.this()
    {
        let (family, example) = match address.value {
            IpAddr::V4(_) => (
                "IPv4",
                "`service-cidr = \"10.32.0.0/24\"`, `pod-cidr = \"10.200.0.0/16\"`",
            ),
            IpAddr::V6(_) => (
                "IPv6",
                "`service-cidr = \"fd00:32::/112\"`, `pod-cidr = \"fd00:200::/48\"`",
            ),
        };
        let who = match others.count() {
            0 => format!("{} speaks", first.title()),
            more => format!("{} and {more} more speak", first.title()),
        };
        let message = format!(
            "{who} {family}, but {} is of the other family",
            service.title()
        );
        let help = format!("take networks of the nodes' family, as in {example}");
        found.push(Problem::new(address.span.clone(), "another family", message).help(help));
    }
}

/// Networks that hold each other or a machine.
pub(super) fn disjoint(draft: &Draft, found: &mut Found) {
    let (service, pod) = (Network::service(draft), Network::pod(draft));
    if let (Some(service), Some(pod)) = (&service, &pod)
        && (service.net.contains(&pod.net) || pod.net.contains(&service.net))
    {
        let message = format!("{} overlaps {}", service.title(), pod.title());
        let places = [service, pod].map(|network| Some((network.place.clone()?, network.key)));
        let mut places = places.into_iter().flatten();
        let nowhere = (draft.cluster.place.clone(), "cluster");
        let (place, key) = places.next().unwrap_or(nowhere);
        let mut problem = Problem::new(place, format!("`{key}`"), message);
        for (place, key) in places {
            problem = problem.and_at(place, format!("`{key}`"));
        }
        found.push(problem.help("take networks that have no address in common"));
    }
    for network in [service, pod].into_iter().flatten() {
        for node in &draft.nodes {
            for address in [&node.address, &node.etcd_address] {
                if let Some(address) = address.this() {
                    outside(&network, address.value, &address.span, &node.title(), found);
                }
            }
        }
        if let Some(endpoint) = draft.cluster.endpoint.this()
            && let San::Ip(address) = endpoint.value.host
        {
            outside(&network, address, &endpoint.span, "the endpoint", found);
        }
    }
}

/// A machine's address inside a network of the cluster is never reached from inside it.
fn outside(
    network: &Network,
    address: IpAddr,
    span: &Range<usize>,
    whose: &str,
    found: &mut Found,
) {
    if network.net.contains(&address) {
        let message = format!(
            "{whose} has the address `{address}` inside {}",
            network.title()
        );
        let help = format!(
            "machines stay outside: set `{}` to a network that is used nowhere else at your site",
            network.key
        );
        let mut problem = Problem::new(span.clone(), "inside", message).help(help);
        if let Some(place) = network.place.clone() {
            problem = problem.and_at(place, "of this network");
        }
        found.push(problem);
    }
}
