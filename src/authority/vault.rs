//! The PKI engine of a `HashiCorp` Vault: certificates are made there, on demand.
//!
//! What is asked is what Vault documents
//! (<https://developer.hashicorp.com/vault/api-docs/secret/pki#sign-certificate>,
//! <https://developer.hashicorp.com/vault/api-docs/secret/pki#generate-certificate-and-key>,
//! <https://developer.hashicorp.com/vault/api-docs/auth>). What was issued is kept in `pki/` by the
//! local authority, which also knows what need not be asked for again.

mod answer;
mod environment;
mod examine;
mod http;
mod order;
mod request;
mod role;
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

pub(super) use self::answer::Issued;
use self::answer::{Answer, Certified};
use self::environment::Target;
pub use self::examine::Finding;
pub(super) use self::examine::other_authority;
use self::http::{Call, Client, Fault};
use self::order::Login;
pub(super) use self::order::Order;
use self::request::{KeyKind, signing_request};
use self::role::Role;
use self::session::{Session, Sessions};
use super::Error;
use super::local::sign::key_pem;
use crate::certificate::{AuthorityName, CertificateId, Request};
use crate::inventory::vault::{self, PrivateKey};
use crate::inventory::{Inventory, KeyType, PkiSource};

/// Certificates that are asked for at a time.
const ORDERS_MAX: usize = 4;
/// What Vault says to a request whose key is not of the kind that the role wants.
const OTHER_KEY: &str = "role requires";
/// What Vault says where a mount has no authority: since 1.11, and before.
const NO_AUTHORITY: [&str; 2] = [
    "no default issuer currently configured",
    "backend must be configured with a CA certificate/key",
];
const KEYS_OF_TYPE: &str = "keys of type ";

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
pub(super) struct Answers {
    /// Each certificate, or why there is none.
    pub(super) certificates: BTreeMap<CertificateId, Result<Issued, String>>,
    /// What is to be told besides.
    pub(super) remarks: Vec<String>,
}

/// What is known of a role: by it and the key that it wants, keys are made here or there.
type RoleName<'a> = (&'a Login, &'a str, &'a str);

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
        let (target, client) = self.client()?;
        let mut answers = block_on(|| async {
            let sessions = self.open(orders, &target, &client).await;
            let certificates = ask(orders, &sessions).await;
            let remarks = session::close(sessions).await;
            Answers {
                certificates,
                remarks,
            }
        })?;
        answers.remarks.extend(open_remark(&target));
        Ok(answers)
    }

    /// What Vault would say, as far as it tells: nothing is issued. `known` are the authorities
    /// that the cluster was made with, and the files that they are in.
    pub(super) fn examine(
        &self,
        orders: &[Order],
        known: &BTreeMap<AuthorityName, (PathBuf, String)>,
        now: i64,
    ) -> Result<Vec<Finding>, Error> {
        let (target, client) = self.client()?;
        let mut findings = block_on(|| async {
            let sessions = self.open(orders, &target, &client).await;
            let mut findings = examine::all(orders, &sessions, known, now).await;
            let remarks = session::close(sessions).await;
            findings.extend(remarks.into_iter().map(Finding::warning));
            findings
        })?;
        findings.extend(open_remark(&target).map(Finding::warning));
        Ok(findings)
    }

    /// What would be asked of whom, a line for each role and login.
    pub(super) fn outline(&self, orders: &[Order]) -> Result<Vec<String>, Error> {
        if orders.is_empty() {
            return Ok(Vec::new());
        }
        let target = Target::of(&self.settings, &self.inventory.directory)?;
        let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for order in orders {
            let Order {
                mount, role, login, ..
            } = order;
            let how = match order.private_key {
                Some(PrivateKey::Local) => "sign",
                Some(PrivateKey::Vault) => "issue",
                None => "sign, or where that is not allowed issue,",
            };
            let asked = format!("to {how} by role `{role}` of `{mount}`, {login}");
            let ids = lines.entry(asked).or_default();
            ids.push(order.id.to_string());
        }
        let address = target.address;
        let line = |(asked, ids): (String, Vec<String>)| {
            format!("would ask Vault at {address} {asked}: {}", ids.join(", "))
        };
        Ok(lines.into_iter().map(line).collect())
    }

    fn client(&self) -> Result<(Target, Client), Error> {
        let target = Target::of(&self.settings, &self.inventory.directory)?;
        let client = Client::new(&target, target.identity()?.as_ref())?;
        Ok((target, client))
    }

    async fn open<'a>(
        &self,
        orders: &'a [Order],
        target: &Target,
        client: &Client,
    ) -> Sessions<'a> {
        let logins = orders.iter().map(|order| &order.login);
        session::open(logins, target, client, &self.inventory.directory).await
    }
}

/// That passwords travelled unencrypted, where the inventory does not say so and cannot be warned of.
fn open_remark(target: &Target) -> Option<String> {
    let is_open = target.address.is_open() && target.is_of_environment;
    is_open.then(|| {
        let address = &target.address;
        format!("Vault: passwords and private keys travel unencrypted to {address} (`VAULT_ADDR`)")
    })
}

/// Runs something to its end on a thread of its own: the caller may itself be at work in a runtime.
/// The user may stop it.
fn block_on<T, F>(work: impl FnOnce() -> F + Send) -> Result<T, Error>
where
    T: Send,
    F: Future<Output = T>,
{
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            tokio::select! {
                done = work() => Ok(done),
                // Without a handler the wait ends where the process does.
                Ok(()) = tokio::signal::ctrl_c() => Err(Error::Stopped),
            }
        })
    };
    let done = std::thread::scope(|scope| scope.spawn(run).join());
    done.expect("asking does not panic")
}

/// Why Vault does not answer any more, once that is known: it is not waited for once more for each
/// certificate.
#[derive(Default)]
struct Gone(Mutex<Option<String>>);

impl Gone {
    fn why(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn note(&self, fault: &Fault) {
        if fault.is_gone {
            let mut why = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            why.get_or_insert_with(|| fault.words.clone());
        }
    }
}

async fn ask(
    orders: &[Order],
    sessions: &Sessions<'_>,
) -> BTreeMap<CertificateId, Result<Issued, String>> {
    let gone = Gone::default();
    let roles = roles(orders, sessions, &gone).await;
    let answers = orders.iter().map(|order| {
        let (gone, roles) = (&gone, &roles);
        async move {
            let answer = match (&sessions[&order.login], gone.why()) {
                (Err(why), _) => Err(why.clone()),
                (Ok(_), Some(why)) => Err(why),
                (Ok(session), None) => {
                    let made = certify(order, session, &roles[&order.role_name()]).await;
                    made.map_err(|fault| {
                        gone.note(&fault);
                        fault.words
                    })
                }
            };
            (order.id.clone(), answer)
        }
    });
    stream::iter(answers)
        .buffer_unordered(ORDERS_MAX)
        .collect()
        .await
}

/// What is found out of a role while its certificates are made.
struct RoleState {
    /// The role, where it may be read.
    role: Option<Role>,
    /// Whether it was found to sign no requests of ours.
    issues_only: AtomicBool,
    /// The kind of key that it was found to want.
    wanted: Mutex<Option<KeyKind>>,
}

async fn roles<'a>(
    orders: &'a [Order],
    sessions: &Sessions<'_>,
    gone: &Gone,
) -> BTreeMap<RoleName<'a>, RoleState> {
    let mut roles = BTreeMap::new();
    let names: BTreeSet<_> = orders.iter().map(Order::role_name).collect();
    for (login, mount, name) in names {
        let mut role = None;
        if let Ok(session) = &sessions[login]
            && gone.why().is_none()
        {
            // Few may read roles. What is asked for tells, too, what it would have told.
            match session.read(&[mount, "roles", name]).await {
                Ok(found) => role = serde_json::from_value(found).ok(),
                Err(fault) => gone.note(&fault),
            }
        }
        let state = RoleState {
            role,
            issues_only: AtomicBool::new(false),
            wanted: Mutex::new(None),
        };
        roles.insert((login, mount, name), state);
    }
    roles
}

/// Has one certificate made: by a key of ours where the role allows that.
async fn certify(order: &Order, session: &Session, state: &RoleState) -> Result<Issued, Fault> {
    let must_sign = order.private_key == Some(PrivateKey::Local);
    let may_sign = order.private_key != Some(PrivateKey::Vault)
        && (must_sign || !state.issues_only.load(Ordering::Relaxed));
    if !may_sign {
        return issue(order, session).await;
    }
    let kind = state.kind(order.key);
    let refused = match kind {
        Some(kind) => match sign(order, session, kind).await {
            Ok(issued) => return Ok(issued),
            Err(fault) => {
                // A role that cannot be read tells so what it wants.
                if let Some(other) = wanted(&fault, order.key).filter(|it| *it != kind) {
                    *state.wanted.lock().unwrap_or_else(PoisonError::into_inner) = Some(other);
                    match sign(order, session, other).await {
                        Ok(issued) => return Ok(issued),
                        Err(fault) => fault,
                    }
                } else {
                    fault
                }
            }
        },
        None => Fault {
            words: format!(
                "the role `{}` wants a kind of key that kinstall does not make",
                order.role
            ),
            status: Some(400),
            is_gone: false,
        },
    };
    if must_sign || !is_about_signing(&refused, kind.is_none()) {
        return Err(refused);
    }
    state.issues_only.store(true, Ordering::Relaxed);
    issue(order, session)
        .await
        .map_err(|fault| match fault.status {
            // Neither is allowed: both are told, for either would do.
            Some(403..=405) => Fault {
                words: format!("{}; {}", refused.words, fault.words),
                ..fault
            },
            _ => fault,
        })
}

impl RoleState {
    fn kind(&self, own: KeyType) -> Option<KeyKind> {
        let found = *self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        found.or_else(|| match &self.role {
            Some(role) => KeyKind::wanted(&role.key_type, role.key_bits, own),
            None => Some(KeyKind::Own(own)),
        })
    }
}

/// Whether it was the signing that was refused, and a certificate with its key may still be issued.
fn is_about_signing(fault: &Fault, no_key: bool) -> bool {
    no_key
        || matches!(fault.status, Some(403..=405))
        || (fault.status == Some(400) && fault.words.contains(OTHER_KEY))
}

/// The kind of key that a role was found to want by what it refused.
fn wanted(fault: &Fault, own: KeyType) -> Option<KeyKind> {
    let (_, rest) = fault.words.split_once(KEYS_OF_TYPE)?;
    let word = rest.split(|c: char| !c.is_ascii_alphanumeric()).next()?;
    KeyKind::wanted(word, 0, own)
}

async fn issue(order: &Order, session: &Session) -> Result<Issued, Fault> {
    let answer = make(order, session, "issue", order.parameters()).await?;
    let none = || Fault::here("Vault's answer has no private key".to_owned());
    answer.with_key(None).ok_or_else(none)
}

async fn sign(order: &Order, session: &Session, kind: KeyKind) -> Result<Issued, Fault> {
    let key = kind.make().map_err(Fault::here)?;
    let mut body = order.parameters();
    body["csr"] = json!(signing_request(order, &key).map_err(Fault::here)?);
    let answer = make(order, session, "sign", body).await?;
    let none = || Fault::here("Vault's answer has no certificate".to_owned());
    answer.with_key(Some(key_pem(&key))).ok_or_else(none)
}

async fn make(
    order: &Order,
    session: &Session,
    verb: &str,
    body: Value,
) -> Result<Certified, Fault> {
    let path = [order.mount.as_str(), verb, &order.role];
    let call = Call::post(&path, session.token(), &body);
    let answer: Result<Answer<Certified>, Fault> = session.client.json(&call).await;
    let answer = answer.map_err(|mut fault| {
        if NO_AUTHORITY.iter().any(|words| fault.words.contains(words)) {
            let (message, help) = examine::no_authority(&order.mount);
            fault.words = format!("{}; {message}: {help}", fault.words);
        }
        fault
    });
    Ok(answer?.data)
}
