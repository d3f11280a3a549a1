//! Whom etcd knows and what they may touch, as a member tells it, and what is missing there of what
//! kube-apiservers need. Pure. What is missing is made by `script/etcd_users.sh`.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// etcd's own user, and its own role, which may do everything (etcd's "Role-based access control").
const ROOT: &str = "root";
/// What kube-apiservers agree by on when to compact; it lies beside every prefix
/// (k8s.io/apiserver/pkg/storage/etcd3/compact.go).
const COMPACT_KEY: &str = "compact_rev_key";
/// What is told of etcd that does not ask who its clients are.
const AUTHENTICATION: &str = "authentication";
/// The most users that are taken in; `observe.sh` asks for fewer.
const USERS_MAX: usize = 1000;

/// What a member of etcd told of its users, if it was asked and told all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Users {
    /// The roles of each.
    roles: BTreeMap<String, BTreeSet<String>>,
    /// What the role of kube-apiservers may touch; none where it is not there.
    may: Option<Vec<Permission>>,
    /// Whether etcd asks who its clients are.
    asks: bool,
    /// Whether there was something that could not be read.
    is_unclear: bool,
    /// How many users there were, once everything was told.
    told: Option<usize>,
}

/// Who kube-apiservers and kinstall are to etcd, and what they need.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Whom kinstall's own questions come from.
    pub admin: &'a str,
    /// The role that kube-apiservers share.
    pub role: &'a str,
    /// The key below which all is stored.
    pub prefix: &'a str,
    /// Who kube-apiservers are.
    pub users: &'a BTreeSet<String>,
}

/// What etcdctl says of a user, with `-w json`.
#[derive(Deserialize)]
struct User {
    #[serde(default)]
    roles: BTreeSet<String>,
}

/// What it says of a role.
#[derive(Deserialize)]
struct Role {
    #[serde(default)]
    perm: Vec<Permission>,
}

/// One permission of a role. What is zero or empty is left out.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Permission {
    /// 0 for reading, 1 for writing, 2 for both (etcd's `authpb.Permission_Type`).
    #[serde(default, rename = "permType")]
    kind: u8,
    /// In base64, as the end of the range is.
    #[serde(default)]
    key: String,
    #[serde(default)]
    range_end: String,
}

impl Users {
    /// Takes one line of `observe.sh` in, without its first word. What etcd says that cannot be read
    /// is not known, and nothing is refused for it.
    pub fn line(&mut self, text: &str) {
        self.is_unclear |= self.read(text).is_none();
    }

    fn read(&mut self, text: &str) -> Option<()> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "of" => {
                let (name, answer) = rest.split_once(" {")?;
                let user: User = serde_json::from_str(&format!("{{{answer}")).ok()?;
                if self.roles.len() == USERS_MAX {
                    return None;
                }
                self.roles.insert(name.to_owned(), user.roles);
            }
            "role" => self.may = Some(serde_json::from_str::<Role>(rest).ok()?.perm),
            "asks" => self.asks = true,
            "told" => self.told = Some(rest.parse().ok()?),
            _ => return None,
        }
        Some(())
    }

    /// What is missing, in the order in which it is made; none where that is not known.
    pub fn missing(&self, wanted: Wanted<'_>) -> Option<Vec<String>> {
        if self.is_unclear || self.told != Some(self.roles.len()) {
            return None;
        }
        let Wanted {
            admin,
            role,
            prefix,
            users,
        } = wanted;
        let mut missing = Vec::new();
        // etcd's own must be there before authentication is turned on. Nobody has its certificate.
        let administrators = [ROOT, admin].into_iter().map(|user| (user, ROOT));
        for (user, role) in administrators {
            self.user(user, role, &mut missing);
        }
        if self.may.is_none() {
            missing.push(format!("role {role}"));
        }
        if !self.may_touch(&format!("{prefix}/"), &format!("{prefix}0")) {
            missing.push(format!("everything below {prefix}/ for role {role}"));
        }
        if !self.may_touch(COMPACT_KEY, "") {
            missing.push(format!("{COMPACT_KEY} for role {role}"));
        }
        for user in users {
            self.user(user, role, &mut missing);
        }
        if !self.asks {
            missing.push(AUTHENTICATION.to_owned());
        }
        Some(missing)
    }

    /// A user that is not there yet has no role.
    fn user(&self, user: &str, role: &str, missing: &mut Vec<String>) {
        let roles = self.roles.get(user);
        let lacks = |thing: String, missing: &mut Vec<String>| {
            // Two certificates may name one user.
            if !missing.contains(&thing) {
                missing.push(thing);
            }
        };
        if roles.is_none() {
            lacks(format!("user {user}"), missing);
        }
        if !roles.is_some_and(|roles| roles.contains(role)) {
            lacks(format!("role {role} of user {user}"), missing);
        }
    }

    /// Whether the role may read and write exactly this: what `etcd_users.sh` would grant.
    fn may_touch(&self, key: &str, end: &str) -> bool {
        let (key, end) = (STANDARD.encode(key), STANDARD.encode(end));
        let mut own = self.may.iter().flatten();
        own.any(|it| it.kind == 2 && it.key == key && it.range_end == end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As etcdctl 3.4 and 3.5 print it.
    const HEADER: &str = r#""header":{"cluster_id":7,"member_id":9,"revision":1,"raft_term":2}"#;
    /// `/k8s/` to `/k8s0`, and `compact_rev_key`.
    const BOTH: &str = r#"[{"permType":2,"key":"L2s4cy8=","range_end":"L2s4czA="},{"permType":2,"key":"Y29tcGFjdF9yZXZfa2V5"}]"#;

    fn of(user: &str, roles: &str) -> String {
        match roles {
            "" => format!("of {user} {{{HEADER}}}"),
            roles => format!("of {user} {{{HEADER},\"roles\":[{roles}]}}"),
        }
    }

    /// What is told where nothing is missing.
    fn whole() -> Vec<String> {
        vec![
            format!("role {{{HEADER},\"perm\":{BOTH}}}"),
            "asks".to_owned(),
            of("root", r#""root""#),
            of("kinstall", r#""root""#),
            of("kube-apiserver", r#""other","k8s""#),
            "told 3".to_owned(),
        ]
    }

    fn found(lines: &[String]) -> Option<Vec<String>> {
        let mut users = Users::default();
        for line in lines {
            users.line(line);
        }
        users.missing(Wanted {
            admin: "kinstall",
            role: "k8s",
            prefix: "/k8s",
            users: &["kube-apiserver".to_owned()].into(),
        })
    }

    /// What is missing where a line of [`whole`] is another one.
    #[track_caller]
    fn check(at: usize, line: &str, expected: &[&str]) {
        let mut lines = whole();
        line.clone_into(&mut lines[at]);
        let expected = expected.iter().map(|it| (*it).to_owned()).collect();
        assert_eq!(found(&lines), Some(expected), "{line}");
    }

    #[test]
    fn what_is_missing_is_told_in_the_order_in_which_it_is_made() {
        assert_eq!(found(&whole()), Some(Vec::new()));
        let all = [
            "user root",
            "role root of user root",
            "user kinstall",
            "role root of user kinstall",
            "role k8s",
            "everything below /k8s/ for role k8s",
            "compact_rev_key for role k8s",
            "user kube-apiserver",
            "role k8s of user kube-apiserver",
            "authentication",
        ];
        let all = all.map(str::to_owned).to_vec();
        assert_eq!(found(&["told 0".to_owned()]), Some(all));
    }

    #[test]
    fn each_thing_is_missed() {
        check(2, &of("root", ""), &["role root of user root"]);
        check(
            3,
            &of("kinstall", r#""k8s""#),
            &["role root of user kinstall"],
        );
        check(
            4,
            &of("stranger", r#""k8s""#),
            &["user kube-apiserver", "role k8s of user kube-apiserver"],
        );
        check(
            4,
            &of("kube-apiserver", r#""k8s2""#),
            &["role k8s of user kube-apiserver"],
        );
        let (below, compact) = (
            "everything below /k8s/ for role k8s",
            "compact_rev_key for role k8s",
        );
        let role = |perm: &str| format!("role {{{HEADER},\"perm\":{perm}}}");
        check(0, &format!("role {{{HEADER}}}"), &[below, compact]);
        check(0, &role(&BOTH.replace("L2s4czA=", "L2s4czE=")), &[below]);
        // For reading alone, and for writing alone.
        check(
            0,
            &role(&BOTH.replace(r#""permType":2,"#, "")),
            &[below, compact],
        );
        check(0, &role(&BOTH.replace(":2,", ":1,")), &[below, compact]);
        // A key is not a range that begins with it.
        let wide = r#""key":"Y29tcGFjdF9yZXZfa2V5","range_end":"Y29tcGFjdF9yZXZfa2V6""#;
        let key = r#""key":"Y29tcGFjdF9yZXZfa2V5""#;
        check(0, &role(&BOTH.replace(key, wide)), &[compact]);
        let mut open = whole();
        open.remove(1);
        assert_eq!(found(&open), Some(vec!["authentication".to_owned()]));
    }

    #[test]
    fn a_user_that_two_certificates_name_is_missed_once() {
        let mut users = Users::default();
        users.line("told 0");
        let missing = users.missing(Wanted {
            admin: "one",
            role: "k8s",
            prefix: "/k8s",
            users: &["one".to_owned()].into(),
        });
        let times = missing
            .unwrap()
            .iter()
            .filter(|it| *it == "user one")
            .count();
        assert_eq!(times, 1);
    }

    #[test]
    fn what_is_told_in_part_is_not_known() {
        assert_eq!(found(&[]), None, "nobody was asked");
        for at in [2, 3, 4, 5] {
            let mut lines = whole();
            lines.remove(at);
            assert_eq!(found(&lines), None, "{lines:?}");
        }
        for line in [
            "of root",
            "of root {\"roles\":1}",
            "role {",
            "what",
            "told x",
            "",
        ] {
            let mut lines = whole();
            lines.push(line.to_owned());
            assert_eq!(found(&lines), None, "{line}");
        }
        let more = (0..=USERS_MAX).map(|at| of(&at.to_string(), ""));
        let more: Vec<String> = more.chain([format!("told {}", USERS_MAX + 1)]).collect();
        assert_eq!(found(&more), None, "too many");
    }
}
