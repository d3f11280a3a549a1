//! Where on which node each certificate lies, and what reads it there: from the same rows that
//! the manifests are composed from.

use super::{Error, words};
use crate::certificate::table::is_of_a_node;
use crate::certificate::{AuthorityName, CertificateId};
use crate::component::{COMPONENTS, File};
use crate::inventory::{Inventory, NodeName, PkiSource};
use crate::remote_path::RemotePath;
use crate::template::{Renderer, Scene};

/// A file of a node that holds a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The node.
    pub node: NodeName,
    /// What reads it there.
    pub reader: &'static str,
    /// The stable path.
    pub path: RemotePath,
    /// What it holds.
    pub holds: Holds,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holds {
    /// An authority's certificate.
    Authority(AuthorityName),
    /// A certificate, its key beside it.
    Certificate(CertificateId),
    /// A kubeconfig with a certificate and its key in it.
    Kubeconfig(CertificateId),
}

/// Every place of a cluster's certificates, by node and component.
pub fn places(inventory: &Inventory, has_signing_key: bool) -> Result<Vec<Place>, Error> {
    let renderer = Renderer::default();
    let mut places = Vec::new();
    for node in inventory.nodes.values() {
        let scene = Scene::of(&words::of_node(inventory, node))?;
        let components = COMPONENTS.iter();
        for component in components.filter(|it| inventory.gets(it, node)) {
            for file in component.files {
                let own = |kind: crate::certificate::Kind| CertificateId {
                    kind,
                    node: is_of_a_node(kind, inventory).then(|| node.name.clone()),
                };
                let (path, ending, holds) = match *file {
                    File::Authority { path, name } => (path, "", Holds::Authority(name)),
                    // Elsewhere the key may not be at hand, and nothing is put there.
                    File::Signer { stem, .. }
                        if has_signing_key || inventory.pki.from == PkiSource::Local =>
                    {
                        let signer = AuthorityName::ApiserverClient;
                        (stem, ".pem", Holds::Authority(signer))
                    }
                    File::Pair { stem, kind, .. } => (stem, ".pem", Holds::Certificate(own(kind))),
                    File::Kubeconfig { path, client, .. } => {
                        (path, "", Holds::Kubeconfig(own(client.kind())))
                    }
                    _ => continue,
                };
                let path = renderer.render("a path", path, &scene)? + ending;
                let place = Place {
                    node: node.name.clone(),
                    reader: component.name,
                    path: path.parse()?,
                    holds,
                };
                places.push(place);
            }
        }
    }
    Ok(places)
}
