//! `[etcd]`.

use std::ops::Range;

use super::vault::pattern;
use crate::inventory::pattern::Pattern;
use crate::inventory::problem::Problem;
use crate::inventory::settings::EtcdAccess;
use crate::inventory::table::{At, Found, Table, Value, refuse, shown};

/// Reads `[etcd]`; also where it says the user.
pub(super) fn read(mut table: Table<'_>, found: &mut Found) -> (EtcdAccess, Range<usize>) {
    let default = EtcdAccess::default();
    let auth = table.take("auth");
    let auth = auth.and_then(|value| value.boolean(found)).unwrap_or(false);
    let role = table.read("role", found, role);
    let user = table.read("user", found, user);
    let prefix = table.read("prefix", found, prefix);
    if let Some(role) = role.this().filter(|_| !auth) {
        let message = "`role` has no effect without etcd authentication";
        let problem = Problem::new(role.span.clone(), "not used", message);
        found.push(problem.help("add `auth = true`, or leave `role` out"));
    }
    table.finish(found);
    let place = user.this().map_or(0..0, |user| user.span.clone());
    let access = EtcdAccess {
        auth,
        role: role.value().unwrap_or(default.role),
        user: user.value(),
        prefix: prefix.value(),
    };
    (access, place)
}

/// The name of a user: it is the common name of a certificate, and an argument of `etcdctl`.
fn user(value: &Value<'_>, found: &mut Found) -> Option<At<Pattern>> {
    let user = pattern(value, found)?;
    let text = user.value.to_string();
    let is_name = text.starts_with(|it: char| it.is_ascii_alphanumeric() || "_{".contains(it))
        && text
            .chars()
            .all(|it| it.is_ascii_alphanumeric() || "._-:@{}".contains(it));
    if !is_name || text == "root" {
        let message = format!("`{}` cannot be kube-apiserver's user in etcd", shown(&text));
        let help = "write letters, digits, `.`, `_`, `-`, `:` and `@`, a letter, a digit or `_` \
                    first; `root` is etcd's own and may do anything";
        return refuse(found, value.problem("not such a user", message).help(help));
    }
    Some(user)
}

/// The name of a role: etcd's own is not for kube-apiservers.
fn role(value: &Value<'_>, found: &mut Found) -> Option<At<String>> {
    let text = value.text(found)?;
    let is_name = text.starts_with(|it: char| it.is_ascii_alphanumeric() || it == '_')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if !is_name || text == "root" {
        let message = format!("`{}` cannot be kube-apiserver's role in etcd", shown(text));
        let help =
            "write letters, digits, `.`, `_` and `-`; `root` is etcd's own and may do anything";
        return refuse(found, value.problem("not such a role", message).help(help));
    }
    Some(value.at(text.to_owned()))
}

/// A prefix as `--etcd-prefix` takes it.
fn prefix(value: &Value<'_>, found: &mut Found) -> Option<At<String>> {
    let text = value.text(found)?;
    let is_prefix = text.len() > 1
        && text.starts_with('/')
        && !text.ends_with('/')
        && !text.contains("//")
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte));
    if !is_prefix {
        let message = format!("`{}` is not a prefix of keys", shown(text));
        let help = "write it as in `/k8s`: it begins with `/` and does not end with one";
        return refuse(found, value.problem("not a prefix", message).help(help));
    }
    Some(value.at(text.to_owned()))
}
