//! What the templates of a node see of the inventory.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::component::{Reach, Service};
use crate::inventory::{Authorities, Inventory, Node, Proxy, Role};
use crate::template::{ClusterWords, Context, EtcdWords, NodeWords, PodWords, ServiceWords};
use crate::version::Version;

/// The words of a node.
pub(in crate::manifest) fn of_node(inventory: &Inventory, node: &Node) -> Context {
    let cluster = &inventory.cluster;
    Context {
        cluster: ClusterWords {
            name: cluster.name.to_string(),
            domain: cluster.domain.to_string(),
            service_cidr: cluster.service_cidr.to_string(),
            pod_cidr: cluster.pod_cidr.to_string(),
            dns: cluster.dns.to_string(),
            proxy: match cluster.proxy {
                Proxy::Nftables => "nftables",
                Proxy::Iptables | Proxy::None => "iptables",
            },
            pause_image: inventory.pause_image().to_string(),
        },
        node: NodeWords {
            name: node.name.to_string(),
            address: node.address.to_string(),
            any_address: match node.address {
                IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.to_string(),
                IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.to_string(),
            },
            etcd_domain: node.etcd_domain().to_owned(),
            etcd_url_host: url_host(node.etcd_address()),
            loopback_node_ports: inventory.version("kube-proxy", node) < Version::new(1, 26, 0),
        },
        etcd: etcd(inventory, node),
        pods: pods(inventory, node),
        authority: authorities(inventory.pki.authorities),
        word: BTreeMap::new(),
        service: ServiceWords::default(),
    }
}

/// Where what each peer verifies the others by lies: by set, the name that its components have
/// for it.
fn authorities(mode: Authorities) -> BTreeMap<&'static str, &'static str> {
    let separate = mode == Authorities::Separate;
    let own = |name, own, shared| (name, if separate { own } else { shared });
    [
        own("apiserver_client", "apiserver-client-ca", "kubernetes-ca"),
        own("kubelet_server", "kubelet-server-ca", "kubernetes-ca"),
        own("kubelet_client", "kubelet-client-ca", "kubernetes-ca"),
        own("etcd_peer", "peerCA", "rootCA"),
        own("etcd_client", "clientCA", "rootCA"),
    ]
    .into()
}

/// The network of Pods.
fn pods(inventory: &Inventory, node: &Node) -> PodWords {
    let range = inventory.pod_range(node);
    let ipv6 = inventory.cluster.pod_cidr.addr().is_ipv6();
    PodWords {
        network: inventory.network().name(),
        range: range.map_or_else(|| "-".to_owned(), |range| range.to_string()),
        anywhere: if ipv6 { "::/0" } else { "0.0.0.0/0" },
        ipv6,
        mtu: inventory.pod_mtu(),
        mac: mac(node.address),
    }
}

/// Where the Pods of every node are, a line each: their range, the node's address, the address and the
/// hardware address of its end of the tunnel, and its name. It is the same for all nodes, and stands in
/// no [`Context`]: there are as many lines as nodes, for as many nodes.
pub(super) fn ways(inventory: &Inventory) -> String {
    let mut text = "# Written by kinstall: where the Pods of each node are.\n".to_owned();
    for node in inventory.nodes.values() {
        if let Some(range) = inventory.pod_range(node) {
            let (address, gateway) = (node.address, range.network());
            let mac = mac(address);
            // Writing to a String cannot fail.
            _ = writeln!(text, "{range} {address} {gateway} {mac} {}", node.name);
        }
    }
    text
}

/// A hardware address of one's own making (its second bit says so) that follows from an address.
fn mac(address: IpAddr) -> String {
    let last: [u8; 4] = match address {
        IpAddr::V4(address) => address.octets(),
        // Two nodes of a cluster differ in more than the end of their addresses only by intent.
        IpAddr::V6(address) => {
            let all = address.octets();
            [all[12], all[13], all[14], all[15]]
        }
    };
    let [a, b, c, d] = last;
    format!("02:70:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

fn etcd(inventory: &Inventory, node: &Node) -> EtcdWords {
    let client = |address: IpAddr| format!("https://{}:2379", url_host(address));
    let mut members: Vec<_> = inventory.with_role(Role::Etcd).collect();
    let peers = members.iter().map(|member| {
        let host = url_host(member.etcd_address());
        format!("{}=https://{host}:2380", member.name)
    });
    let initial_cluster = peers.collect::<Vec<_>>().join(",");
    // A stable sort: the node's own member, if it has one, comes first, the others stay in order.
    members.sort_by_key(|member| member.name != node.name);
    let servers = members.iter().map(|member| client(member.etcd_address()));
    let servers = servers.collect::<Vec<_>>().join(",");
    // etcd cannot listen twice on one address.
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut listen = vec![node.etcd_address(), loopback];
    listen.dedup();
    let listen = listen.into_iter().map(client).collect::<Vec<_>>();
    EtcdWords {
        servers,
        initial_cluster,
        listen_client_urls: listen.join(","),
        prefix: inventory.etcd_prefix(node),
    }
}

/// The networks that a service is kept to, its own machine first; none where it is not.
pub(in crate::manifest) fn networks(
    inventory: &Inventory,
    service: &Service,
    said: Option<&[IpNet]>,
) -> Vec<String> {
    if is_kept(service, said) {
        Neighbours::of(inventory).networks(service, said)
    } else {
        Vec::new()
    }
}

fn is_kept(service: &Service, said: Option<&[IpNet]>) -> bool {
    said.is_some() || !matches!(service.reach, Reach::Cluster | Reach::Machine)
}

/// Whom the services of a cluster talk to. It is the same on all nodes, and grows with their number.
pub(super) struct Neighbours {
    /// The members of etcd and the kube-apiservers.
    members: BTreeSet<IpNet>,
    /// All nodes, Pods and Services.
    cluster: BTreeSet<IpNet>,
    /// The same addresses in as few networks as can be: each kubelet's unit names them, and a cluster of
    /// many nodes has most of its addresses side by side.
    nodes: BTreeSet<IpNet>,
}

impl Neighbours {
    pub(super) fn of(inventory: &Inventory) -> Self {
        let hosts = |role| {
            let nodes = inventory.with_role(role);
            nodes.flat_map(|node| [node.address, node.etcd_address()].map(IpNet::from))
        };
        let members: BTreeSet<IpNet> = hosts(Role::Etcd).chain(hosts(Role::ControlPlane)).collect();
        let mut cluster = members.clone();
        cluster.extend(hosts(Role::Worker));
        cluster.extend([inventory.cluster.service_cidr, inventory.cluster.pod_cidr]);
        let all: Vec<IpNet> = cluster.iter().copied().collect();
        let nodes = IpNet::aggregate(&all).into_iter().collect();
        Self {
            members,
            cluster,
            nodes,
        }
    }

    /// Those that a service is kept to, as [`networks`] has them.
    pub(super) fn networks(&self, service: &Service, said: Option<&[IpNet]>) -> Vec<String> {
        if !is_kept(service, said) {
            return Vec::new();
        }
        let mut networks = match service.reach {
            Reach::Members => self.members.clone(),
            Reach::Cluster => self.cluster.clone(),
            Reach::Nodes => self.nodes.clone(),
            Reach::Machine => BTreeSet::new(),
        };
        networks.extend(said.unwrap_or_default());
        // Its own machine stands first, so that the list is not empty where nothing else is said.
        let own = ["localhost".to_owned()].into_iter();
        own.chain(networks.iter().map(ToString::to_string))
            .collect()
    }
}

fn url_host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}
