//! What the templates of a node see of the inventory.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::component::{Reach, Service};
use crate::inventory::{Authorities, Inventory, Node, Role};
use crate::template::{ClusterWords, Context, EtcdWords, NodeWords, ServiceWords};

/// The words of a node.
pub(in crate::manifest) fn of_node(inventory: &Inventory, node: &Node) -> Context {
    let cluster = &inventory.cluster;
    Context {
        cluster: ClusterWords {
            name: cluster.name.to_string(),
            domain: cluster.domain.to_string(),
            service_cidr: cluster.service_cidr.to_string(),
            pod_cidr: cluster.pod_cidr.to_string(),
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
        },
        etcd: etcd(inventory, node),
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
    let hosts = |role| {
        let nodes = inventory.with_role(role);
        nodes.flat_map(|node| [node.address, node.etcd_address()])
    };
    let members = [Role::Etcd, Role::ControlPlane].into_iter().flat_map(hosts);
    let mut networks: BTreeSet<IpNet> = match (service.reach, said) {
        (Reach::Cluster | Reach::Machine, None) => return Vec::new(),
        (Reach::Members, _) => members.map(IpNet::from).collect(),
        (Reach::Cluster, Some(_)) => {
            let cluster = [inventory.cluster.service_cidr, inventory.cluster.pod_cidr];
            let workers = hosts(Role::Worker).map(IpNet::from);
            let members = members.map(IpNet::from);
            members.chain(workers).chain(cluster).collect()
        }
        (Reach::Machine, Some(_)) => BTreeSet::new(),
    };
    networks.extend(said.unwrap_or_default());
    // Its own machine stands first, so that the list is not empty where nothing else is said.
    let own = ["localhost".to_owned()].into_iter();
    own.chain(networks.iter().map(ToString::to_string))
        .collect()
}

fn url_host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}
