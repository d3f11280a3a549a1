//! What is asked of Vault for one certificate. Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::certificate::check::needs_group;
use crate::certificate::{AuthorityName, CertificateId, Request, Usage};
use crate::inventory::vault::{AskedNames, Names, PrivateKey, SecretPlace, Vault};
use crate::inventory::{Inventory, KeyType, Node, Pattern, San};

/// Where methods of logging in are mounted where nothing else is said: by their own names.
const USERPASS: &str = "userpass";
const APPROLE: &str = "approle";
const CERT: &str = "cert";

/// What is asked for one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::authority) struct Order {
    pub(in crate::authority) id: CertificateId,
    /// The authority whose certificates the mount signs.
    pub(in crate::authority) signer: AuthorityName,
    pub(super) login: Login,
    pub(in crate::authority) mount: String,
    pub(super) role: String,
    /// Who makes its key, where the inventory says.
    pub(super) private_key: Option<PrivateKey>,
    /// The kind of key that kinstall makes where the role does not want another.
    pub(super) key: KeyType,
    pub(super) usages: BTreeSet<Usage>,
    /// The group that its holder must be of: the role alone can say so.
    pub(super) organization: Option<String>,
    /// The names among `dns` that no client goes by.
    pub(super) comfort: BTreeSet<String>,
    pub(in crate::authority) common_name: String,
    /// Names and addresses, as text.
    pub(in crate::authority) dns: BTreeSet<String>,
    pub(in crate::authority) addresses: BTreeSet<String>,
    pub(super) hours: u32,
}

/// As whom.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Login {
    User {
        mount: String,
        user: String,
        password: Place,
    },
    AppRole {
        mount: String,
        role_id: Place,
        secret_id: Option<Place>,
    },
    Certificate {
        mount: String,
        certificate: PathBuf,
        key: PathBuf,
    },
    Token(Place),
    /// By the token that Vault's own client would take, or by the agent's.
    Usual,
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User { user, .. } => write!(f, "as user `{user}`"),
            Self::AppRole { role_id, .. } => write!(f, "as the AppRole in {role_id}"),
            Self::Certificate { certificate, .. } => {
                write!(f, "by the certificate `{}`", certificate.display())
            }
            Self::Token(place) => write!(f, "with the token in {place}"),
            Self::Usual => f.write_str("with the token of `VAULT_TOKEN` or `~/.vault-token`"),
        }
    }
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Environment(String),
    File(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => write!(f, "the variable `{name}`"),
            Self::File(path) => write!(f, "the file `{}`", path.display()),
        }
    }
}

/// A pattern that there is something missing for, or a key that nobody says.
#[derive(Debug)]
pub(super) struct Unsaid {
    pub(super) key: &'static str,
    /// The word in braces; none where the key itself is missing.
    pub(super) word: Option<String>,
}

impl Order {
    /// None where the certificate's set has no mount.
    pub(super) fn of(
        vault: &Vault,
        inventory: &Inventory,
        request: &Request,
    ) -> Result<Option<Self>, Unsaid> {
        let words = Words {
            inventory,
            request,
            levels: vault
                .levels(request.set.name(), request.id.kind.name())
                .collect(),
        };
        let Some(mount) = words.said("mount", |names| names.mount.as_ref())? else {
            return Ok(None);
        };
        let role = words.said("role", |names| names.role.as_ref())?;
        let role = role.ok_or(Unsaid {
            key: "role",
            word: None,
        })?;
        let common_name = words.said("common-name", |names| names.common_name.as_ref())?;
        let (dns, addresses) = words.names()?;
        let is_comfort = |san: &&San| !request.needed.contains(san);
        let comfort = request.sans.iter().filter(is_comfort);
        let private_key = words.levels.iter().find_map(|names| names.private_key);
        Ok(Some(Self {
            id: request.id.clone(),
            signer: request.signer,
            login: words.login()?,
            mount,
            role,
            private_key,
            key: request.key,
            usages: request.usages.clone(),
            organization: request
                .organizations
                .first()
                .filter(|_| needs_group(request.id.kind))
                .cloned(),
            comfort: comfort.map(ToString::to_string).collect(),
            common_name: common_name.unwrap_or_else(|| request.common_name.clone()),
            dns,
            addresses,
            hours: request.days.saturating_mul(24),
        }))
    }
}

impl Order {
    /// The role that is asked, and by whom.
    pub(super) fn role_name(&self) -> (&Login, &str, &str) {
        (&self.login, &self.mount, &self.role)
    }

    /// What is asked for, as Vault wants it.
    pub(super) fn parameters(&self) -> Value {
        let joined = |names: &BTreeSet<String>| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            names.join(",")
        };
        let mut body = json!({
            "common_name": self.common_name,
            "ttl": format!("{}h", self.hours),
        });
        for (key, names) in [("alt_names", &self.dns), ("ip_sans", &self.addresses)] {
            if !names.is_empty() {
                body[key] = json!(joined(names));
            }
        }
        body
    }
}

/// What patterns are filled with, for one certificate.
struct Words<'a> {
    inventory: &'a Inventory,
    request: &'a Request,
    levels: Vec<&'a Names>,
}

impl<'a> Words<'a> {
    fn first<T: ?Sized>(&self, of: impl Fn(&'a Names) -> Option<&'a T>) -> Option<&'a T> {
        self.levels.iter().find_map(|names| of(names))
    }

    fn said(
        &self,
        key: &'static str,
        of: impl Fn(&'a Names) -> Option<&'a Pattern>,
    ) -> Result<Option<String>, Unsaid> {
        let pattern = self.first(of);
        pattern.map(|pattern| self.fill(key, pattern)).transpose()
    }

    fn fill(&self, key: &'static str, pattern: &Pattern) -> Result<String, Unsaid> {
        let filled = pattern.fill(|word| match word {
            "domain" => self.domain().ok().flatten(),
            word => self.word(word),
        });
        filled.map_err(|word| Unsaid {
            key,
            word: Some(word),
        })
    }

    fn node(&self) -> Option<&'a Node> {
        let name = self.request.id.node.as_ref()?;
        self.inventory.nodes.get(name)
    }

    fn is_etcd(&self) -> bool {
        matches!(
            self.request.set,
            AuthorityName::Etcd | AuthorityName::EtcdPeer
        )
    }

    /// A word in braces other than the domain.
    fn word(&self, word: &str) -> Option<String> {
        match word {
            "node" => Some(self.node()?.name.to_string()),
            "zone" => self.node()?.zone.clone(),
            "address" if self.is_etcd() => Some(self.node()?.etcd_address().to_string()),
            "address" => Some(self.node()?.address.to_string()),
            "certificate" => Some(self.request.id.kind.name().to_owned()),
            "set" => Some(self.request.set.name().to_owned()),
            "cluster" => Some(self.inventory.cluster.name.to_string()),
            _ => None,
        }
    }

    /// The domain that is said, else the node's own, else its name.
    fn domain(&self) -> Result<Option<String>, Unsaid> {
        if let Some(pattern) = self.first(|names| names.domain.as_ref()) {
            let filled = pattern.fill(|word| self.word(word));
            let key = "domain";
            return filled.map(Some).map_err(|word| Unsaid {
                key,
                word: Some(word),
            });
        }
        Ok(self.node().map(|node| {
            let domain = node.domain.as_ref();
            match domain {
                _ if self.is_etcd() => node.etcd_domain().to_owned(),
                Some(domain) => domain.to_string(),
                None => node.name.to_string(),
            }
        }))
    }

    /// The names and the addresses that a server's certificate is to be valid for.
    fn names(&self) -> Result<(BTreeSet<String>, BTreeSet<String>), Unsaid> {
        let (mut dns, mut addresses) = (BTreeSet::new(), BTreeSet::new());
        let request = self.request;
        let asked = self.first(|names| names.names.as_ref());
        let sans = match asked {
            Some(AskedNames::Needed) => &request.needed,
            Some(AskedNames::All) | None => &*request.sans,
        };
        for san in sans {
            match san {
                San::Dns(name) => dns.insert(name.to_string()),
                San::Ip(address) => addresses.insert(address.to_string()),
            };
        }
        if request.sans.is_empty() {
            return Ok((dns, addresses));
        }
        if self.first(|names| names.domain.as_ref()).is_some() {
            dns.extend(self.domain()?);
        }
        let more = self.first(|names| names.alt_names.as_deref());
        for pattern in more.unwrap_or_default() {
            dns.insert(self.fill("alt-names", pattern)?);
        }
        Ok((dns, addresses))
    }

    /// Whoever is named nearest to the certificate logs in.
    fn login(&self) -> Result<Login, Unsaid> {
        let Some(nearest) = self.levels.iter().find(|names| names.has_login()) else {
            return Ok(Login::Usual);
        };
        let mount = self.said("login-mount", |names| names.login.as_ref())?;
        let mounted = |usual: &str| mount.unwrap_or_else(|| usual.to_owned());
        if let Some(user) = &nearest.user {
            let user = self.fill("user", user)?;
            let place = self.first(|names| names.password.as_ref());
            let place = place.ok_or(Unsaid {
                key: "password-env",
                word: None,
            })?;
            return Ok(Login::User {
                mount: mounted(USERPASS),
                password: self.place("password", place, Some(&user))?,
                user,
            });
        }
        if let Some(role_id) = &nearest.role_id {
            let secret_id = nearest.secret_id.as_ref();
            let secret_id = secret_id.map(|place| self.place("secret-id", place, None));
            return Ok(Login::AppRole {
                mount: mounted(APPROLE),
                role_id: self.place("role-id", role_id, None)?,
                secret_id: secret_id.transpose()?,
            });
        }
        if let (Some(certificate), Some(key)) = (&nearest.client_certificate, &nearest.client_key) {
            return Ok(Login::Certificate {
                mount: mounted(CERT),
                certificate: PathBuf::from(self.fill("client-certificate", certificate)?),
                key: PathBuf::from(self.fill("client-key", key)?),
            });
        }
        let token = nearest.token.as_ref();
        let token = token.map(|place| self.place("token", place, None));
        Ok(token.transpose()?.map_or(Login::Usual, Login::Token))
    }

    fn place(
        &self,
        key: &'static str,
        place: &SecretPlace,
        user: Option<&str>,
    ) -> Result<Place, Unsaid> {
        let fill = |pattern: &Pattern| {
            let filled = pattern.fill(|word| match word {
                "user" => user.map(str::to_owned),
                "domain" => self.domain().ok().flatten(),
                word => self.word(word),
            });
            filled.map_err(|word| Unsaid {
                key,
                word: Some(word),
            })
        };
        Ok(match place {
            SecretPlace::Environment(name) => Place::Environment(fill(name)?),
            SecretPlace::File(path) => Place::File(PathBuf::from(fill(path)?)),
        })
    }
}
