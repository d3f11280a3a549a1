//! From rows of files to entries: programs, certificates, keys and configuration.

use super::{Composer, Error, tree};
use crate::artifact::Program;
use crate::certificate::describe::{certificates, public_key};
use crate::certificate::{AuthorityName, CertificateId, Kind, Leaf, key};
use crate::component::{Access, File};
use crate::kubeconfig;
use crate::node_config;
use crate::remote_path::RemotePath;

impl<'a> Composer<'a> {
    /// A program under its versioned name, and the link that leads to it.
    pub(super) fn program(
        &mut self,
        directory: &'static str,
        program: &Program,
    ) -> Result<[RemotePath; 2], Error> {
        let pinned = self.lockfile.program(program);
        let pinned = pinned.ok_or_else(|| Error::NotPinned {
            name: program.to_string(),
            node: self.node.name.clone(),
        })?;
        let mut name = format!("{}-v{}", program.name, program.version);
        if program.own.is_some() {
            name = format!("{name}-own-{}", &pinned.digest.to_string()[..8]);
        }
        let directory = RemotePath::fixed(directory);
        let (path, link) = (directory.join(&name)?, directory.join(&program.name)?);
        self.tree.fetched(&path, &program.name, pinned, 0o755);
        self.tree.link(&link, &name);
        Ok([path, link])
    }

    /// The entries of a row of files; their paths.
    pub(super) fn file(&mut self, file: &File) -> Result<Vec<RemotePath>, Error> {
        match *file {
            File::Template { path, text, access } => {
                let path = self.path(path, "")?;
                let text = self.renderer.builtin(text, &self.scene)?;
                self.tree.open(&path, text, access);
                Ok(vec![path])
            }
            File::Configuration {
                path,
                text,
                of,
                access,
            } => {
                let path = self.path(path, "")?;
                let mut text = self.renderer.builtin(text, &self.scene)?;
                let settings = self.inventory.component(of.program(), self.node);
                if !settings.config.is_empty() {
                    let user = serde_json::Value::Object(settings.config);
                    let merged = node_config::merged(&text, &user);
                    text = merged.map_err(|source| Error::Configuration {
                        node: self.node.name.clone(),
                        path: path.clone(),
                        source,
                    })?;
                }
                self.tree.open(&path, text, access);
                Ok(vec![path])
            }
            File::Ways { path } => {
                let path = self.path(path, "")?;
                self.tree.shared(&path, self.ways, Access::Anyone);
                Ok(vec![path])
            }
            File::Authority { path, name } => {
                let path = self.path(path, "")?;
                let authority = self.credentials.authorities.get(&name);
                let pem = authority.ok_or(Error::NoAuthority { name })?;
                self.tree.open(&path, pem.clone(), Access::Anyone);
                Ok(vec![path])
            }
            File::Pair { stem, kind, access } => self.pair(stem, kind, access),
            File::Kubeconfig {
                path,
                client,
                access,
            } => {
                let path = self.path(path, "")?;
                let (node, cluster) = (Some(self.node), &self.inventory.cluster);
                let port = self.inventory.api_port(self.node);
                let kubeconfig = kubeconfig::render(client, node, cluster, port, self.credentials)?;
                self.tree.secret(&path, &kubeconfig, access);
                Ok(vec![path])
            }
            File::ServiceAccount { stem, access } => {
                let pair = &self.credentials.service_account;
                let (public, private) = (self.path(stem, ".pem")?, self.path(stem, ".key")?);
                self.tree
                    .open(&public, pair.public_pem.clone(), Access::Anyone);
                self.tree.protected(&private, &pair.private_pem, access);
                Ok(vec![public, private])
            }
            File::EncryptionConfig { path, access } => {
                let path = self.path(path, "")?;
                let text = &self.credentials.encryption_config;
                self.tree.protected(&path, text, access);
                Ok(vec![path])
            }
            File::Images { directory } => self.images(directory),
            File::Signer { stem, access } => {
                let Some(key) = &self.credentials.signing_key_pem else {
                    return Ok(Vec::new());
                };
                let name = AuthorityName::ApiserverClient;
                let bundle = self.credentials.authorities.get(&name);
                let bundle = bundle.ok_or(Error::NoAuthority { name })?;
                // The one whose key it is, alone: kube-controller-manager refuses a bundle.
                let public = key::public_of(key);
                let mut all = certificates(bundle).into_iter();
                let own = all.find(|pem| public_key(pem).ok() == public);
                let first = || certificates(bundle).first().copied();
                let own = own.or_else(first).unwrap_or_default();
                let (pem, path) = (self.path(stem, ".pem")?, self.path(stem, ".key")?);
                self.tree.open(&pem, format!("{own}\n"), Access::Anyone);
                self.tree.secret(&path, key, access);
                Ok(vec![pem, path])
            }
        }
    }

    /// A certificate and its key under dated names, and the links that lead to them.
    fn pair(
        &mut self,
        stem: &'static str,
        kind: Kind,
        access: Access,
    ) -> Result<Vec<RemotePath>, Error> {
        let (id, leaf) = self.leaf(kind)?;
        let date = tree::date(leaf.dated).ok_or_else(|| Error::NotADate {
            id: id.clone(),
            not_before: leaf.dated,
        })?;
        let dated = |ending: &str| self.path(stem, &format!("-{date}{ending}"));
        let (dated_pem, dated_key) = (dated(".pem")?, dated(".key")?);
        let (pem, key) = (self.path(stem, ".pem")?, self.path(stem, ".key")?);
        self.tree
            .open(&dated_pem, leaf.chain_pem.clone(), Access::Anyone);
        self.tree.secret(&dated_key, &leaf.key_pem, access);
        self.tree.link(&pem, dated_pem.file_name());
        self.tree.link(&key, dated_key.file_name());
        Ok(vec![dated_pem, dated_key, pem, key])
    }

    /// The certificate of a kind: the node's own, else the one that the cluster shares.
    fn leaf(&self, kind: Kind) -> Result<(CertificateId, &'a Leaf), Error> {
        let leaves = &self.credentials.leaves;
        let ids = [Some(self.node.name.clone()), None].map(|node| CertificateId { kind, node });
        let found = ids
            .into_iter()
            .find_map(|id| leaves.get(&id).map(|leaf| (id, leaf)));
        found.ok_or_else(|| Error::NoCertificate {
            kind,
            node: self.node.name.clone(),
        })
    }
}
