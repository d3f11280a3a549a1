//! What a role of Vault's PKI engine would say to an order. Pure: the rules are those of its source
//! (`builtin/logical/pki/cert_util.go`, `validateNames`, `validateCommonName`).

use std::net::IpAddr;

use serde::{Deserialize, Deserializer};

use super::order::Order;
use crate::certificate::Usage;

/// A role, as it is read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "so it is read")]
pub(super) struct Role {
    allow_any_name: bool,
    allow_bare_domains: bool,
    allow_glob_domains: bool,
    allow_ip_sans: bool,
    allow_localhost: bool,
    allow_subdomains: bool,
    allow_token_displayname: bool,
    allowed_domains_template: bool,
    enforce_hostnames: bool,
    client_flag: bool,
    server_flag: bool,
    #[serde(deserialize_with = "list")]
    allowed_domains: Vec<String>,
    #[serde(deserialize_with = "list")]
    cn_validations: Vec<String>,
    #[serde(deserialize_with = "list")]
    ext_key_usage: Vec<String>,
    #[serde(deserialize_with = "list")]
    ext_key_usage_oids: Vec<String>,
    #[serde(deserialize_with = "list")]
    organization: Vec<String>,
    pub(super) key_type: String,
    pub(super) key_bits: u32,
    /// In seconds; 0 leaves it to the mount.
    pub(super) max_ttl: u64,
    pub(super) issuer_ref: String,
}

/// Go writes an empty list as `null`.
fn list<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// What a role would not do for an order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Objection {
    /// It refuses the common name.
    CommonName(String),
    /// It refuses a name.
    Name(String),
    /// It refuses an address.
    Address(String),
    /// It gives no such usage.
    Usage(Usage),
    /// It does not make the holder a member of the group.
    Organization(String),
}

impl Role {
    /// Everything that it would not do.
    pub(super) fn objections(&self, order: &Order) -> Vec<Objection> {
        let mut all = Vec::new();
        let name = &order.common_name;
        let validates = |word: &str| self.cn_validations.iter().any(|it| it == word);
        let takes_hosts = self.cn_validations.is_empty() || validates("hostname");
        let is_taken = takes_hosts && self.allows(name);
        if !is_taken && !validates("disabled") {
            all.push(Objection::CommonName(name.clone()));
        }
        // One that no host could have is left out of the certificate, not refused.
        let refused = order
            .dns
            .iter()
            .filter(|it| is_hostname(it) && !self.allows(it));
        all.extend(refused.cloned().map(Objection::Name));
        if !self.allow_ip_sans {
            all.extend(order.addresses.iter().cloned().map(Objection::Address));
        }
        let gives = |usage: &Usage| match usage {
            Usage::Server => self.gives(self.server_flag, "serverauth", "1.3.6.1.5.5.7.3.1"),
            Usage::Client => self.gives(self.client_flag, "clientauth", "1.3.6.1.5.5.7.3.2"),
        };
        let lacking = order.usages.iter().filter(|usage| !gives(usage));
        all.extend(lacking.copied().map(Objection::Usage));
        let group = order.organization.iter();
        let group = group.filter(|group| !self.organization.contains(group));
        all.extend(group.cloned().map(Objection::Organization));
        all
    }

    fn gives(&self, flag: bool, word: &str, oid: &str) -> bool {
        let words = self.ext_key_usage.iter().map(|it| it.to_lowercase());
        let says = |it: &String| {
            let it = it.trim_start_matches("extkeyusage");
            it == word || it == "any"
        };
        let mut words = words.collect::<Vec<_>>().into_iter();
        flag || words.any(|it| says(&it)) || self.ext_key_usage_oids.iter().any(|it| it == oid)
    }

    fn allows(&self, name: &str) -> bool {
        if self.enforce_hostnames && !is_hostname(name) {
            return false;
        }
        if self.allow_any_name {
            return true;
        }
        if self.allow_localhost {
            let is_local = name == "localhost" || name == "localdomain";
            let is_below = self.allow_subdomains && name.ends_with(".localhost");
            if is_local || is_below {
                return true;
            }
        }
        // What a template becomes, and what the token is called, is known to Vault alone.
        if self.allowed_domains_template || self.allow_token_displayname {
            return true;
        }
        self.allowed_domains.iter().any(|domain| {
            let is_bare = self.allow_bare_domains && name.eq_ignore_ascii_case(domain);
            let is_below = self.allow_subdomains
                && name
                    .strip_suffix(domain.as_str())
                    .is_some_and(|it| it.ends_with('.'));
            let is_like = self.allow_glob_domains && domain.contains('*') && is_glob(domain, name);
            !domain.is_empty() && (is_bare || is_below || is_like)
        })
    }
}

/// Whether a name is one that Vault takes for a host's.
fn is_hostname(name: &str) -> bool {
    let name = name.strip_prefix("*.").unwrap_or(name);
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        let ends = [label.chars().next(), label.chars().next_back()];
        ends.iter()
            .all(|it| it.is_some_and(|c| c.is_ascii_alphanumeric()))
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    name.parse::<IpAddr>().is_ok() || name.split('.').all(is_label)
}

/// Whether a text is like a pattern, in which each `*` stands for anything.
fn is_glob(pattern: &str, text: &str) -> bool {
    let parts: Vec<&str> = pattern.split('*').collect();
    let [first, middle @ .., last] = parts.as_slice() else {
        return pattern == text;
    };
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    for part in middle {
        let Some((_, after)) = rest.split_once(part) else {
            return false;
        };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::order::Login;
    use super::*;
    use crate::certificate::{AuthorityName, CertificateId, Kind};
    use crate::inventory::KeyType;

    fn order(common_name: &str, dns: &[&str], addresses: &[&str]) -> Order {
        let texts = |texts: &[&str]| texts.iter().map(|it| (*it).to_owned()).collect();
        Order {
            id: CertificateId {
                kind: Kind::EtcdServer,
                node: None,
            },
            signer: AuthorityName::Etcd,
            login: Login::Usual,
            mount: "pki".to_owned(),
            role: "r".to_owned(),
            private_key: None,
            key: KeyType::EcdsaP256,
            usages: [Usage::Server, Usage::Client].into(),
            organization: None,
            comfort: BTreeSet::new(),
            common_name: common_name.to_owned(),
            dns: texts(dns),
            addresses: texts(addresses),
            hours: 24,
        }
    }

    fn role(json: serde_json::Value) -> Role {
        let mut role: Role = serde_json::from_value(json).unwrap();
        (role.client_flag, role.server_flag) = (true, true);
        role
    }

    /// What a role that is as this JSON says refuses of names.
    #[track_caller]
    fn refuses(json: &serde_json::Value, names: &[&str], expected: &[&str]) {
        let mut order = order("host", names, &[]);
        order.common_name = names[0].to_owned();
        let found: Vec<String> = role(json.clone())
            .objections(&order)
            .into_iter()
            .filter_map(|it| match it {
                Objection::Name(name) => Some(name),
                _ => None,
            })
            .collect();
        assert_eq!(found, expected, "{json}");
    }

    #[test]
    fn names_are_judged_as_vault_does() {
        use serde_json::json;
        let names = ["a.home", "deep.a.home", "home", "localhost"];
        refuses(&json!({"allow_any_name": true}), &names, &[]);
        refuses(
            &json!({"allowed_domains": ["home"]}),
            &names,
            &["a.home", "deep.a.home", "home", "localhost"],
        );
        let bare = json!({"allowed_domains": ["HOME", "a.home"], "allow_bare_domains": true});
        refuses(&bare, &names, &["deep.a.home", "localhost"]);
        let below = json!({"allowed_domains": ["home"], "allow_subdomains": true});
        refuses(&below, &names, &["home", "localhost"]);
        let glob = json!({"allowed_domains": ["*.a.home", "l*h*t"], "allow_glob_domains": true});
        refuses(&glob, &names, &["a.home", "home"]);
        let local = json!({"allow_localhost": true, "allowed_domains": null});
        refuses(&local, &names, &["a.home", "deep.a.home", "home"]);
        let template = json!({"allowed_domains": ["{{identity.entity.name}}"], "allowed_domains_template": true});
        refuses(&template, &names, &[]);
        // What no host could be called is left out by Vault.
        refuses(&json!({}), &["system:kube-scheduler"], &[]);
    }

    #[test]
    fn common_names_addresses_usages_and_groups_are_judged_too() {
        use serde_json::json;
        let any = json!({"allow_any_name": true, "enforce_hostnames": true, "cn_validations": ["email", "hostname"]});
        let user = order("system:kube-scheduler", &[], &["10.0.0.1"]);
        let objections = role(any).objections(&user);
        let name = Objection::CommonName("system:kube-scheduler".to_owned());
        let address = Objection::Address("10.0.0.1".to_owned());
        assert_eq!(objections, [name, address]);
        let free = json!({"enforce_hostnames": true, "cn_validations": ["disabled"], "allow_ip_sans": true});
        assert_eq!(role(free).objections(&user), []);
        let email =
            json!({"allow_any_name": true, "cn_validations": ["email"], "allow_ip_sans": true});
        assert_eq!(role(email).objections(&user).len(), 1);
        let mut order = order("a", &[], &[]);
        order.organization = Some("system:masters".to_owned());
        let mut none = role(json!({"allow_any_name": true}));
        (none.client_flag, none.server_flag) = (false, false);
        let group = Objection::Organization("system:masters".to_owned());
        let usages = [Usage::Server, Usage::Client].map(Objection::Usage);
        let [server, client] = usages;
        assert_eq!(none.objections(&order), [server, client.clone(), group]);
        none.ext_key_usage = vec!["ServerAuth".to_owned()];
        none.organization = vec!["system:masters".to_owned()];
        assert_eq!(none.objections(&order), [client]);
        none.ext_key_usage_oids = vec!["1.3.6.1.5.5.7.3.2".to_owned()];
        assert_eq!(none.objections(&order), []);
    }
}
