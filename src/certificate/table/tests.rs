//! Tests of the table: who signs whom for what, in each mode.

use super::*;
use crate::certificate::fixture;

#[track_caller]
fn check(id: &str, authorities: Authorities, expected: &str) {
    let mut inventory = fixture::inventory();
    inventory.pki.authorities = authorities;
    for node in inventory.nodes.values_mut() {
        node.roles.insert(Role::Worker);
    }
    let request = requests(&inventory)
        .into_iter()
        .find(|request| request.id.to_string() == id)
        .unwrap();
    let sans: Vec<_> = request.sans.iter().map(San::to_string).collect();
    let line = format!(
        "{} CN={} O={} {:?} {}",
        request.signer,
        request.common_name,
        request.organizations.join(","),
        request.usages,
        sans.join(" "),
    );
    assert_eq!(line, expected);
}

const MEMBER: &str = "CN=az1 O= {Server, Client} az1 etcd.az1.k8s.home extra.home \
    kube-apiserver.az1.k8s.home localhost 10.0.12.1 10.240.1.2 127.0.0.1 192.168.1.21 ::1";
const OTHER_MEMBER: &str = "CN=az2 O= {Server, Client} az2 localhost 10.0.22.1 127.0.0.1 ::1";
const APISERVER: &str = "CN=kube-apiserver O= {Server} az1 az2 az3 extra.home \
    kube-apiserver.az1.k8s.home kube-apiserver.k8s.home kubernetes kubernetes.default \
    kubernetes.default.svc kubernetes.default.svc.cluster.local localhost \
    10.0.12.1 10.0.22.1 10.0.32.1 10.32.0.1 127.0.0.1 192.168.1.21 ::1";

#[test]
fn each_row_says_who_signs_whom_for_what() {
    let rows = [
        ("etcd-peer-az1", "etcd-peer", MEMBER),
        ("etcd-server-az1", "etcd", MEMBER),
        ("etcd-peer-az2", "etcd-peer", OTHER_MEMBER),
        (
            "etcd-healthcheck-client",
            "etcd-client",
            "CN=kube-etcd-healthcheck-client O= {Client} ",
        ),
        (
            "apiserver-etcd-client",
            "etcd-client",
            "CN=kube-apiserver-etcd-client O= {Client} ",
        ),
        ("apiserver-az1", "kubernetes", APISERVER),
        (
            "apiserver-kubelet-client",
            "kubelet-client",
            "CN=kube-apiserver-kubelet-client O=system:masters {Client} ",
        ),
        (
            "front-proxy-client",
            "front-proxy",
            "CN=front-proxy-client O= {Client} ",
        ),
        (
            "controller-manager",
            "apiserver-client",
            "CN=system:kube-controller-manager O=system:kube-controller-manager {Client} ",
        ),
        (
            "scheduler",
            "apiserver-client",
            "CN=system:kube-scheduler O=system:kube-scheduler {Client} ",
        ),
        (
            "admin",
            "apiserver-client",
            "CN=kubernetes-admin O=system:masters {Client} ",
        ),
        (
            "kubelet-client-az2",
            "apiserver-client",
            "CN=system:node:az2 O=system:nodes {Client} ",
        ),
        (
            "kubelet-server-az2",
            "kubelet-server",
            "CN=system:node:az2 O=system:nodes {Server} \
             az2 localhost 10.0.22.1 127.0.0.1 ::1",
        ),
        (
            "kube-proxy",
            "apiserver-client",
            "CN=system:kube-proxy O=system:node-proxier {Client} ",
        ),
    ];
    for (id, separate, rest) in rows {
        let kubeadm = match separate {
            "etcd" | "etcd-peer" | "etcd-client" => "etcd",
            "front-proxy" => "front-proxy",
            _ => "kubernetes",
        };
        let single = kubeadm.replace("etcd", "kubernetes");
        check(id, Authorities::Separate, &format!("{separate} {rest}"));
        check(id, Authorities::Kubeadm, &format!("{kubeadm} {rest}"));
        check(id, Authorities::Single, &format!("{single} {rest}"));
    }
}

#[test]
fn each_certificate_is_asked_for_once() {
    let requests = requests(&fixture::inventory());
    let ids: BTreeSet<_> = requests.iter().map(|request| &request.id).collect();
    assert_eq!(ids.len(), requests.len());
    assert_eq!(
        requests.len(),
        7 + 3 * 3,
        "seven shared, three for each node"
    );
}

#[test]
fn a_user_of_etcd_that_names_the_node_is_one_for_each() {
    let mut inventory = fixture::inventory();
    let names = |inventory: &Inventory| {
        let requests = requests(inventory).into_iter();
        let own = requests.filter(|it| it.id.kind == Kind::ApiserverEtcdClient);
        own.map(|request| (request.id.to_string(), request.common_name))
            .collect::<Vec<_>>()
    };
    let name = |id: &str, name: &str| (id.to_owned(), name.to_owned());
    inventory.etcd.user = Pattern::parse("of-{cluster}").ok();
    let shared = [name("apiserver-etcd-client", "of-home")];
    assert_eq!(names(&inventory), shared);
    inventory.etcd.user = Pattern::parse("kube-apiserver-{node}").ok();
    let own = ["az1", "az2", "az3"].map(|node| {
        let id = format!("apiserver-etcd-client-{node}");
        name(&id, &format!("kube-apiserver-{node}"))
    });
    assert_eq!(names(&inventory), own);
    assert!(is_of_a_node(Kind::ApiserverEtcdClient, &inventory));
}

#[test]
fn only_the_nodes_of_a_role_get_its_certificates() {
    let mut inventory = fixture::inventory();
    for node in inventory.nodes.values_mut().skip(1) {
        node.roles = [Role::ControlPlane].into();
    }
    let etcd: Vec<_> = requests(&inventory)
        .into_iter()
        .filter(|request| request.id.kind == Kind::EtcdPeer)
        .map(|request| request.id.to_string())
        .collect();
    assert_eq!(etcd, ["etcd-peer-az1"]);
}
