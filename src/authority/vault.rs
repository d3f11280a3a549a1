//! The PKI engine of a `HashiCorp` Vault: certificates and their keys are made there, on demand.
//!
//! What is asked is what Vault documents
//! (<https://developer.hashicorp.com/vault/api-docs/secret/pki#generate-certificate-and-key>,
//! <https://developer.hashicorp.com/vault/api-docs/auth/userpass#login>). What was issued is kept
//! in `pki/` by the local authority, which also knows what need not be asked for again.

mod http;
mod order;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{StreamExt, stream};

pub(super) use self::http::Issued;
use self::http::{Client, Fault};
pub(super) use self::order::Order;
use self::order::{Login, Place};
use super::Error;
use crate::certificate::{CertificateId, Request};
use crate::inventory::vault;
use crate::inventory::{Inventory, PkiSource};
use crate::regular_file;
use crate::secret::Secret;

/// Certificates that are asked for at a time.
const ORDERS_MAX: usize = 4;
/// A password or a token is a line; a larger file is something else.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// A Vault, and what an inventory says of it.
#[derive(Debug, Clone)]
pub(super) struct Vault {
    settings: vault::Vault,
    inventory: Inventory,
}

/// Certificates that Vault did not issue, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The certificates.
    pub ids: Vec<CertificateId>,
    /// What was asked, and what came of it, in Vault's words where it had any.
    pub why: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<String> = self.ids.iter().map(CertificateId::to_string).collect();
        write!(f, "{}: {}", ids.join(", "), self.why)
    }
}

/// What Vault answered.
pub(super) type Answers = BTreeMap<CertificateId, Result<Issued, String>>;

impl Vault {
    /// The Vault of an inventory, if its certificates come from one.
    pub(super) fn of(inventory: &Inventory) -> Option<Self> {
        match &inventory.pki.from {
            PkiSource::Vault(settings) => Some(Self {
                settings: (**settings).clone(),
                inventory: inventory.clone(),
            }),
            PkiSource::Local | PkiSource::Directory(_) => None,
        }
    }

    /// What is to be asked for a certificate; none where its set has no mount.
    pub(super) fn order(&self, request: &Request) -> Result<Option<Order>, Error> {
        Order::of(&self.settings, &self.inventory, request).map_err(|fault| Error::VaultNames {
            id: request.id.clone(),
            key: fault.key,
            word: fault.word,
        })
    }

    /// Logs in and has certificates issued. One that is refused keeps no other one back.
    pub(super) fn issue(&self, orders: &[Order]) -> Result<Answers, Error> {
        let ca = self.settings.ca.as_ref();
        let ca = ca.map(|path| self.inventory.directory.join(path));
        let client = Client::new(&self.settings, ca.as_deref())?;
        let asking = || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            Ok::<_, std::io::Error>(runtime.block_on(self.ask(&client, orders)))
        };
        // A thread of its own: the caller may itself be at work in a runtime.
        let asked = std::thread::scope(|scope| scope.spawn(asking).join());
        Ok(asked.expect("asking does not panic")?)
    }

    async fn ask(&self, client: &Client, orders: &[Order]) -> Answers {
        // A Vault that does not answer is not waited for once more for each certificate.
        let is_gone = AtomicBool::new(false);
        let note = |fault: Fault| {
            is_gone.fetch_or(fault.is_gone, Ordering::Relaxed);
            fault.words
        };
        let mut tokens: BTreeMap<&Login, Result<Secret, String>> = BTreeMap::new();
        for order in orders {
            if !tokens.contains_key(&order.login) && !is_gone.load(Ordering::Relaxed) {
                let token = self.token(client, &order.login).await;
                tokens.insert(&order.login, token.map_err(note));
            }
        }
        let tokens = &tokens;
        let answers = orders.iter().map(|order| {
            let is_gone = &is_gone;
            async move {
                let first = tokens.values().find_map(|token| token.clone().err());
                let gone = || first.unwrap_or_else(|| "Vault no longer answers".to_owned());
                let answer = match tokens.get(&order.login) {
                    Some(Err(why)) => Err(why.clone()),
                    None => Err(gone()),
                    Some(Ok(_)) if is_gone.load(Ordering::Relaxed) => {
                        Err("Vault no longer answers".to_owned())
                    }
                    Some(Ok(token)) => client.issue(order, token).await.map_err(|fault| {
                        is_gone.fetch_or(fault.is_gone, Ordering::Relaxed);
                        fault.words
                    }),
                };
                (order.id.clone(), answer)
            }
        });
        stream::iter(answers)
            .buffer_unordered(ORDERS_MAX)
            .collect()
            .await
    }

    async fn token(&self, client: &Client, login: &Login) -> Result<Secret, Fault> {
        match login {
            Login::Token(place) => self.secret(place),
            Login::User {
                mount,
                user,
                password,
            } => {
                let password = self.secret(password)?;
                client.login(mount, user, &password).await
            }
        }
    }

    /// A secret from where it is, without the end of its line.
    fn secret(&self, place: &Place) -> Result<Secret, Fault> {
        let bytes = match place {
            Place::Environment(name) => {
                let text = std::env::var(name);
                let none = |_| Fault::here(format!("the environment has no text in `{name}`"));
                text.map_err(none)?.into_bytes()
            }
            Place::File(path) => {
                let path = self.inventory.directory.join(path);
                regular_file::read(&path, SECRET_BYTES_MAX)
                    .map_err(|error| Fault::here(error.to_string()))?
            }
        };
        let secret = Secret::new(bytes);
        let text = secret.expose_text().map(str::trim_end).unwrap_or_default();
        if text.is_empty() || text.contains(char::is_control) {
            return Err(Fault::here(format!("{place} holds no line of text")));
        }
        Ok(Secret::new(text))
    }
}
