//! What the kube-apiservers have in common: etcd, its encryption, the key of tokens.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;

use super::trial::Server;
use super::{Check, NAMESPACE, Trial, Why, judge, object};
use crate::inventory::{Provider, Role};
use crate::script;
use crate::transport::Body;

/// How long what one kube-apiserver did may take until another knows it, in seconds.
const AGREE_SECONDS: u64 = 10;

impl Trial<'_> {
    /// A Secret written through each, read through all, and encrypted.
    pub(super) async fn secrets(&self) {
        for writer in self.servers() {
            let written = self
                .prove(Check::Secret, Some(&writer.node), self.secret(writer))
                .await;
            if written.is_some() {
                self.prove(
                    Check::Encryption,
                    Some(&writer.node),
                    self.encrypted(writer),
                )
                .await;
            }
        }
    }

    async fn secret(&self, writer: &Server) -> Result<(String, ()), Why> {
        let at = object::path(&format!("secrets/{}", object::SECRET));
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let word = format!("{} {}", writer.node, since.unwrap_or_default().as_nanos());
        let removed = writer.api.send(Method::DELETE, &at, None).await?;
        if !removed.is_success() && removed.status != 404 {
            return Err(Why::Failed(removed.message()));
        }
        let secret = object::secret(&word);
        let path = object::path("secrets");
        let made = writer.api.send(Method::POST, &path, Some(&secret)).await?;
        if !made.is_success() {
            return Err(Why::Failed(format!(
                "a Secret is refused ({})",
                made.message()
            )));
        }
        for reader in self.servers() {
            let wanted = STANDARD.encode(&word);
            let read = async || {
                let read = reader.api.send(Method::GET, &at, None).await?;
                match read.object()["data"]["word"].as_str() {
                    Some(found) if found == wanted => Ok(()),
                    Some(_) => Err(Why::Failed("it reads another one".to_owned())),
                    None => Err(Why::Failed(read.message())),
                }
            };
            let what = format!("{} to read the Secret", reader.node);
            self.until(&what, AGREE_SECONDS, read).await?;
        }
        let found = match self.others(writer) {
            None => "a Secret written through its kube-apiserver is read back".to_owned(),
            Some(others) => format!(
                "a Secret written through its kube-apiserver is read through that of {others}"
            ),
        };
        Ok((found, ()))
    }

    async fn encrypted(&self, writer: &Server) -> Result<(String, ()), Why> {
        let not_checked = |why: &str| Err(Why::NotChecked(why.to_owned()));
        let encryption = &self.task.inventory.encryption;
        let mut resources = encryption.resources.iter();
        if encryption.provider == Provider::Identity {
            return not_checked("nothing is encrypted (`[encryption] provider = \"identity\"`)");
        }
        if !resources.any(|it| ["secrets", "*.", "*.*"].contains(&it.as_str())) {
            return not_checked("Secrets are not among `[encryption] resources`");
        }
        let Some(member) = self.with_role(Role::Etcd).next() else {
            return not_checked("no node with etcd is looked at");
        };
        let node = &self.task.inventory.nodes[&writer.node];
        let prefix = self.task.inventory.etcd_prefix(node);
        let key = format!("{prefix}/secrets/{NAMESPACE}/{}", object::SECRET);
        let transport = &self.task.transports[&member.name];
        let head = transport
            .run(script::ETCD_HEAD, &[&key], Body::default())
            .await
            .map_err(|error| error.to_string())?;
        Ok((judge::stored(&head, encryption.provider)?, ()))
    }

    /// A token made by each, good at all.
    pub(super) async fn tokens(&self) {
        for maker in self.servers() {
            self.prove(Check::Token, Some(&maker.node), self.token(maker))
                .await;
        }
    }

    async fn token(&self, maker: &Server) -> Result<(String, ()), Why> {
        let request = object::token_request();
        let path = object::tokens();
        let made = maker.api.send(Method::POST, &path, Some(&request)).await?;
        let made_object = made.object();
        let Some(token) = made_object["status"]["token"].as_str() else {
            return Err(Why::Failed(format!(
                "it makes no token ({})",
                made.message()
            )));
        };
        let review = object::token_review(token);
        for server in self.servers() {
            let reviewed = async || {
                let path = object::REVIEWS;
                let reply = server.api.send(Method::POST, path, Some(&review)).await?;
                Ok(judge::reviewed(&reply)?)
            };
            let what = format!("{} to take the token", server.node);
            self.until(&what, AGREE_SECONDS, reviewed).await?;
        }
        let found = match self.others(maker) {
            None => "a token that its kube-apiserver made is good there".to_owned(),
            Some(others) => {
                format!("a token that its kube-apiserver made is good at that of {others}")
            }
        };
        Ok((found, ()))
    }

    /// The other kube-apiservers, by name.
    fn others(&self, one: &Server) -> Option<String> {
        let others = self.servers().iter().filter(|other| other.node != one.node);
        let names: Vec<&str> = others.map(|other| other.node.as_str()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }
}
