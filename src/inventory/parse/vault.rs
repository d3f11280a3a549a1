//! `[pki.vault]`.

use std::collections::BTreeMap;

use super::scalar;
use crate::credential::{AuthorityName, Kind};
use crate::inventory::pattern::{Fault, Pattern, WORDS};
use crate::inventory::problem::{Problem, alternatives, nearest};
use crate::inventory::table::{At, Found, Table, Value, refuse, shown};
use crate::inventory::vault::{Address, AskedNames, Names, PrivateKey, SecretPlace, Vault};

/// Reads `[pki.vault]`.
pub(super) fn read(mut table: Table<'_>, found: &mut Found) -> Vault {
    let place = table.span.clone();
    let errors = |found: &Found| found.iter().filter(|it| !it.is_warning()).count();
    let before = errors(found);
    let address = table.read("address", found, address);
    let namespace = table.read("namespace", found, namespace);
    let ca = table.read("ca", found, scalar::local_path);
    let seconds = table.read("seconds", found, |value, found| {
        let seconds = value.integer("seconds", 1..=600, found)?;
        Some(value.at(u64::from(seconds)))
    });
    let sets = AuthorityName::ALL.map(AuthorityName::name);
    let sets = groups(&mut table, "set", &sets, found);
    let certificates = Kind::ALL.map(Kind::name);
    let certificates = groups(&mut table, "certificate", &certificates, found);
    let common = names(&mut table, found);
    table.finish(found);
    let vault = Vault {
        address: address.value(),
        namespace: namespace.value(),
        ca: ca.value(),
        seconds: seconds.value().unwrap_or(Vault::SECONDS),
        common,
        sets,
        certificates,
    };
    // What is wrong may be what is missing.
    if errors(found) == before {
        complete(&vault, &place, found);
    }
    vault
}

/// Tells what nobody says and somebody must.
fn complete(vault: &Vault, place: &std::ops::Range<usize>, found: &mut Found) {
    let groups = || vault.sets.values().chain(vault.certificates.values());
    let any = |is: fn(&Names) -> bool| is(&vault.common) || groups().any(is);
    let mut lack = |message: &str, help: &str| {
        let problem = Problem::new(place.clone(), "in this table", message);
        found.push(problem.help(help));
    };
    if !any(|names| names.mount.is_some()) {
        lack(
            "no `mount` is said for any certificate: nothing would come from Vault",
            "say where the PKI engine is mounted: `mount = \"pki\"`, for all or for one set",
        );
    }
    if !any(|names| names.role.is_some()) {
        lack(
            "no `role` is said for any certificate",
            "say which role of the engine is asked: `role = \"{domain}-server-role\"`",
        );
    }
    if any(|names| names.user.is_some()) && !any(|names| names.password.is_some()) {
        lack(
            "a `user` logs in, and nothing says where the password is",
            "say `password-env = \"VAULT_PASSWORD\"`, or `password-file = \"secrets/{user}\"`",
        );
    }
}

/// Where Vault or its agent answers.
fn address(value: &Value<'_>, found: &mut Found) -> Option<At<Address>> {
    let text = value.text(found)?;
    let Some(address) = Address::parse(text) else {
        // What is before an `@` may be a password.
        let text = if text.contains('@') { "…" } else { text };
        let message = format!("`{}` is not the address of a server", shown(text));
        let help = "write it as in `https://vault.home:8200`: no path, no user, no password; an \
                    agent on this machine may be `http://127.0.0.1:8100` or `unix:///run/agent.sock`";
        return refuse(found, value.problem("not an address", message).help(help));
    };
    if address.is_open() {
        let message = "passwords and private keys would travel unencrypted";
        let help = "give Vault a certificate, name its CA by `ca`, and write `https://`";
        found.push(value.problem("not https", message).help(help).warning());
    }
    Some(value.at(address))
}

/// The path of a namespace: it travels as a header.
fn namespace(value: &Value<'_>, found: &mut Found) -> Option<At<String>> {
    let text = value.text(found)?;
    let is_path = !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
    if !is_path {
        let message = format!("`{}` is not a namespace of Vault", shown(text));
        let help =
            "write its path, as in `admin/team`, or leave the key out for the root namespace";
        return refuse(found, value.problem("not a namespace", message).help(help));
    }
    Some(value.at(text.to_owned()))
}

/// `[pki.vault.set.NAME]` and its like.
fn groups(
    table: &mut Table<'_>,
    key: &'static str,
    known: &[&'static str],
    found: &mut Found,
) -> BTreeMap<String, Names> {
    let mut groups = BTreeMap::new();
    let group = table.take(key);
    let Some(mut group) = group.and_then(|value| value.table(format!("`vault.{key}`"), found))
    else {
        return groups;
    };
    for (name, value) in group.take_all() {
        if !known.contains(&name) {
            let help = match nearest(name, known) {
                Some(meant) => format!("perhaps `{meant}` is meant"),
                None => format!("there are {}", alternatives(known)),
            };
            let message = format!("there is no {key} `{}`", shown(name));
            let problem = Problem::new(value.key_span, "unknown name", message);
            found.push(problem.help(help));
            continue;
        }
        let title = format!("`[pki.vault.{key}.{name}]`");
        if let Some(mut table) = value.table(title, found) {
            groups.insert(name.to_owned(), names(&mut table, found));
            table.finish(found);
        }
    }
    groups
}

fn names(table: &mut Table<'_>, found: &mut Found) -> Names {
    let place = table.span.clone();
    let mut read = |key| table.read(key, found, pattern).value();
    let (mount, role, user) = (read("mount"), read("role"), read("user"));
    let (login, domain, common_name) = (read("login-mount"), read("domain"), read("common-name"));
    let (client_certificate, client_key) = (read("client-certificate"), read("client-key"));
    let alt_names = table.read("alt-names", found, |value, found| {
        let elements = value.elements("an array of strings", found)?;
        let read: Option<Vec<_>> = elements
            .iter()
            .map(|element| Some(pattern(element, found)?.value))
            .collect();
        Some(value.at(read?))
    });
    let words = [("all", AskedNames::All), ("needed", AskedNames::Needed)];
    let asked = table.read("names", found, |value, found| {
        value.word(&words, &[], found)
    });
    let words = [("local", PrivateKey::Local), ("vault", PrivateKey::Vault)];
    let private_key = table.read("private-key", found, |value, found| {
        value.word(&words, &[], found)
    });
    let names = Names {
        mount,
        role,
        user,
        password: secret(table, "password", ["password-env", "password-file"], found),
        token: secret(table, "token", ["token-env", "token-file"], found),
        role_id: secret(table, "role-id", ["role-id-env", "role-id-file"], found),
        secret_id: secret(
            table,
            "secret-id",
            ["secret-id-env", "secret-id-file"],
            found,
        ),
        client_certificate,
        client_key,
        login,
        domain,
        common_name,
        alt_names: alt_names.value(),
        names: asked.value(),
        private_key: private_key.value(),
    };
    one_login(&table.name, &place, &names, found);
    names
}

/// Refuses a table that logs in as several, or half.
fn one_login(table: &str, place: &std::ops::Range<usize>, names: &Names, found: &mut Found) {
    let ways = [
        ("`user`", names.user.is_some()),
        ("`role-id-…`", names.role_id.is_some()),
        ("`client-certificate`", names.client_certificate.is_some()),
        ("`token-…`", names.token.is_some()),
    ];
    let said: Vec<&str> = ways
        .iter()
        .filter(|(_, is)| *is)
        .map(|(word, _)| *word)
        .collect();
    let mut refuse = |message: String, help: &str| {
        let problem = Problem::new(place.clone(), "in this table", message);
        found.push(problem.help(help));
    };
    if said.len() > 1 {
        let message = format!("{table} says several ways to log in: {}", said.join(", "));
        refuse(
            message,
            "leave one: a set or a certificate may have another one in its own table",
        );
    }
    if names.client_certificate.is_some() != names.client_key.is_some() {
        let message = format!("{table} says only one of `client-certificate` and `client-key`");
        refuse(
            message,
            "name both files: the certificate that logs in, and its private key",
        );
    }
    if names.secret_id.is_some() && names.role_id.is_none() {
        let message =
            format!("{table} says where a secret id is, and not the role id it belongs to");
        refuse(message, "say `role-id-file` or `role-id-env` beside it");
    }
}

/// Where a secret is; the secret itself is refused, and not shown.
fn secret(
    table: &mut Table<'_>,
    word: &str,
    [env, file]: [&'static str; 2],
    found: &mut Found,
) -> Option<SecretPlace> {
    if let Some(value) = table.take_foreign(word) {
        let message = format!("a {word} does not belong in an inventory");
        let help = format!(
            "say where it is: `{env}` names a variable of the environment, `{file}` a file"
        );
        found.push(Problem::new(value.key_span, "a secret", message).help(help));
    }
    let (in_env, in_file) = (table.take(env), table.take(file));
    if let (Some(one), Some(other)) = (&in_env, &in_file) {
        let message = format!("`{env}` and `{file}` both say where the {word} is");
        let problem = Problem::new(one.key_span.clone(), "here", message)
            .and_at(other.key_span.clone(), "and here")
            .help("leave one of them out");
        return refuse(found, problem);
    }
    match (in_env, in_file) {
        (Some(value), _) => Some(SecretPlace::Environment(secret_pattern(&value, found)?)),
        (None, Some(value)) => Some(SecretPlace::File(secret_pattern(&value, found)?)),
        (None, None) => None,
    }
}

/// The name of a variable or a file may also be made of the user's.
fn secret_pattern(value: &Value<'_>, found: &mut Found) -> Option<Pattern> {
    pattern(value, found).map(|pattern| pattern.value)
}

/// A text with words in braces.
pub(super) fn pattern(value: &Value<'_>, found: &mut Found) -> Option<At<Pattern>> {
    let text = value.text(found)?;
    let problem = match Pattern::parse(text) {
        Ok(_) if text.chars().any(|c| c.is_whitespace() || c.is_control()) => value
            .problem("not a name", format!("`{}` has a space in it", value.key))
            .help("names of Vault, etcd and files here are written without"),
        Ok(pattern) => return Some(value.at(pattern)),
        Err(Fault::Empty) => value
            .problem("empty", format!("`{}` is empty", value.key))
            .help("write a name, or leave the key out"),
        Err(Fault::Brace) => value
            .problem(
                "a brace alone",
                format!("the braces in `{}` do not fit", value.key),
            )
            .help(format!("in braces stand {}", alternatives(&WORDS))),
        Err(Fault::Setting(word)) => {
            let message = format!("`{}` has `{{{}}}` in it", value.key, shown(&word));
            let help = match nearest(&word, &WORDS) {
                Some(meant) => format!("perhaps `{{{meant}}}` is meant"),
                None => format!("in braces stand {}", alternatives(&WORDS)),
            };
            value.problem("unknown word in braces", message).help(help)
        }
    };
    refuse(found, problem)
}
