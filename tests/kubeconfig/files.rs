//! Kubeconfigs as people have them: what EKS, GKE, kind, k3d, minikube and others write, and the same
//! content in every style that YAML has, with texts that a careless writer would turn into numbers.

use std::fmt::Write;

use serde_json::{Value, json};

/// Numbers that are the same in every run.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: usize) -> Self {
        Self((seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % sides as u64).unwrap()
    }

    fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.roll(list.len())]
    }
}

const TEXTS: [&str; 44] = [
    "work",
    "0b11",
    "1_000",
    "yes",
    "No",
    "on",
    "y",
    "0o17",
    "017",
    "1:30",
    "1e+3_0",
    "1e3",
    ".5",
    "null",
    "~",
    "",
    "true",
    "FALSE",
    ".inf",
    ".NaN",
    "=",
    "<<",
    "2001-01-01",
    "0x1F",
    "a\u{85}b",
    "bell\u{7}",
    "tab\tx",
    "new\nline",
    "two\n\nlines\n",
    "\u{e9}t\u{e9}",
    "\u{1f600}",
    "#x",
    "a: b",
    "a #b",
    "- a",
    "\"q\"",
    "it's",
    "{x}",
    "[x]",
    "*a",
    "&a",
    "!t",
    "  lead",
    "trail ",
];

fn text(dice: &mut Dice) -> Value {
    dice.of(&TEXTS).into()
}

fn anything(dice: &mut Dice, depth: usize) -> Value {
    match dice.roll(if depth == 0 { 6 } else { 8 }) {
        0 => Value::Null,
        1 => dice.one_in(2).into(),
        2 => json!(dice.roll(5_000)),
        3 => dice.of(&[1.5, -2.25, 1e30, 1e-7]).into(),
        4 | 5 => text(dice),
        6 => (0..dice.roll(3))
            .map(|_| anything(dice, depth - 1))
            .collect(),
        _ => json!({"k": anything(dice, depth - 1), "yes": text(dice), "1": 1}),
    }
}

fn extensions(dice: &mut Dice, id: &str) -> Value {
    json!([{"name": format!("{id}-ext"), "extension": anything(dice, 2)}])
}

/// Every name begins with the id, so that many of them can be read as one.
fn config(dice: &mut Dice, id: &str) -> Value {
    let count = if dice.one_in(40) {
        200
    } else {
        1 + dice.roll(4)
    };
    let mut lists = [vec![], vec![], vec![]];
    for number in 0..count {
        let name = format!(
            "{id}-{number}-{}",
            dice.of(&["a", "1", "x y", "user@c", "arn:aws:eks:eu:1:cluster/p"])
        );
        let (cluster, user, context) = entries(dice, id, &name);
        for (list, entry) in lists.iter_mut().zip([cluster, user, context]) {
            list.push(entry);
        }
    }
    let [clusters, users, contexts] = lists;
    let mut config = json!({
        "apiVersion": "v1", "kind": "Config", "clusters": clusters, "users": users,
        "contexts": contexts, "current-context": format!("{id}-0"),
    });
    if dice.one_in(3) {
        config["preferences"] = json!({"extensions": extensions(dice, &format!("{id}-p"))});
    }
    if dice.one_in(4) {
        config["extensions"] = extensions(dice, &format!("{id}-t"));
    }
    if dice.one_in(5) {
        config["unknown"] = anything(dice, 2);
    }
    for key in ["apiVersion", "kind", "current-context", "users", "contexts"] {
        match dice.roll(12) {
            0 => drop(config.as_object_mut().unwrap().remove(key)),
            1 => config[key] = Value::Null,
            _ => {}
        }
    }
    config
}

/// As the tools write them.
fn entries(dice: &mut Dice, id: &str, name: &str) -> (Value, Value, Value) {
    let exec = |command: &str, args: Value| {
        json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": command,
            "args": args, "env": null, "interactiveMode": "IfAvailable", "provideClusterInfo": true}})
    };
    let user = match dice.roll(9) {
        0 => exec(
            "aws",
            json!([
                "--region",
                "eu-1",
                "eks",
                "get-token",
                "--cluster-name",
                text(dice)
            ]),
        ),
        1 => exec("gke-gcloud-auth-plugin", Value::Null),
        2 => exec(
            "kubelogin",
            json!(["get-token", "--server-id", text(dice), "-l", "azurecli"]),
        ),
        3 => {
            json!({"client-certificate-data": "LS0tLS1CRUdJTg==", "client-key-data": "LS0tLS1CRUdJTg=="})
        }
        4 => {
            json!({"client-certificate": "/home/u/.minikube/client.crt", "client-key": "/home/u/.minikube/client.key"})
        }
        5 => {
            json!({"auth-provider": {"name": "oidc", "config": {"client-id": text(dice), "expiry": "2021-03-04 05:06:07"}}})
        }
        6 => {
            json!({"token": text(dice), "as": text(dice), "as-groups": [text(dice)], "as-user-extra": {"k": [text(dice)]}})
        }
        7 => json!({"username": text(dice), "password": text(dice)}),
        _ => exec(
            "sh",
            json!([
                "-c",
                "users:\n- name: none\nclusters:\n\n  here\n",
                text(dice)
            ]),
        ),
    };
    let mut cluster = json!({"server": format!("https://{}:6443", name.replace(' ', "-"))});
    match dice.roll(4) {
        0 => cluster["certificate-authority-data"] = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t".into(),
        1 => cluster["certificate-authority"] = "/home/u/.minikube/ca.crt".into(),
        2 => cluster["insecure-skip-tls-verify"] = true.into(),
        _ => cluster["tls-server-name"] = text(dice),
    }
    let mut context = json!({"cluster": name, "user": name});
    if dice.one_in(2) {
        context["namespace"] = text(dice);
    }
    if dice.one_in(5) {
        cluster["extensions"] = extensions(dice, id);
        context["extensions"] = extensions(dice, id);
    }
    (
        json!({"name": name, "cluster": cluster}),
        json!({"name": name, "user": user}),
        json!({"name": name, "context": context}),
    )
}

/// A kubeconfig that kubectl reads.
pub(super) fn file(dice: &mut Dice, id: &str) -> Vec<u8> {
    let config = config(dice, id);
    let mut text = match dice.roll(6) {
        0 => config.to_string(),
        1 => serde_json::to_string_pretty(&config).unwrap() + "\n",
        _ => yaml(dice, &config),
    };
    if dice.one_in(12) && !text.contains('|') {
        text = text.replace('\n', "\r\n");
    }
    match dice.roll(24) {
        0 => format!("\u{feff}{text}").into(),
        1 => {
            let wide = format!("\u{feff}{text}");
            wide.encode_utf16().flat_map(u16::to_le_bytes).collect()
        }
        2 => {
            let wide = format!("\u{feff}{text}");
            wide.encode_utf16().flat_map(u16::to_be_bytes).collect()
        }
        _ => text.into(),
    }
}

fn yaml(dice: &mut Dice, config: &Value) -> String {
    let mut out = String::new();
    out += dice.of(&[
        "",
        "",
        "",
        "---\n",
        "# mine: [\n",
        "%YAML 1.1\n---\n",
        "\n\n",
    ]);
    let mut pairs: Vec<(&String, &Value)> = config.as_object().unwrap().iter().collect();
    for at in (1..pairs.len()).rev() {
        pairs.swap(at, dice.roll(at + 1));
    }
    for (key, value) in pairs {
        if dice.one_in(8) {
            out += dice.of(&["\n", "# - name: none\n", "  # far\n"]);
        }
        // Before the one that counts.
        if dice.one_in(30) && key != "apiVersion" {
            _ = writeln!(out, "{key}: {value}");
        }
        out += key;
        out.push(':');
        below(dice, &mut out, value, 0);
    }
    out += dice.of(&[
        "",
        "",
        "",
        "# the end\n",
        "\n\n",
        "---\n",
        "...\n",
        "--- \nkind: Other\n",
    ]);
    if dice.one_in(10) && out.ends_with('\n') {
        out.pop();
    }
    out
}

/// A value behind its key, and the end of its line.
fn below(dice: &mut Dice, out: &mut String, value: &Value, indent: usize) {
    let space = " ".repeat(indent);
    if dice.one_in(9) {
        _ = writeln!(out, " {value}");
        return;
    }
    match value {
        Value::Array(items) if !items.is_empty() => {
            let dashes = if dice.one_in(2) {
                space
            } else {
                format!("{space}  ")
            };
            out.push_str(dice.of(&["\n", "\n", " # list\n", "\n\n"]));
            for item in items {
                _ = write!(out, "{dashes}-");
                item_of(dice, out, item, dashes.len());
            }
        }
        Value::Object(fields) if !fields.is_empty() => {
            out.push('\n');
            let space = format!("{space}{}", dice.of(&["  ", "    ", " "]));
            for (key, value) in fields {
                _ = write!(out, "{space}{}:", quoted(dice, key, 0, true));
                below(dice, out, value, space.len());
            }
        }
        Value::String(text) => {
            _ = write!(out, " {}", quoted(dice, text, indent, false));
            out.push('\n');
        }
        other => {
            let null = if other.is_null() {
                dice.of(&["", " ~", " null"])
            } else {
                ""
            };
            let shown = if other.is_null() {
                null.to_owned()
            } else {
                format!(" {other}")
            };
            _ = writeln!(out, "{shown}{}", dice.of(&["", "", " # why"]));
        }
    }
}

fn item_of(dice: &mut Dice, out: &mut String, item: &Value, indent: usize) {
    let Value::Object(fields) = item else {
        below(dice, out, item, indent + 1);
        return;
    };
    let space = " ".repeat(indent + 2);
    let turned = dice.one_in(2);
    let mut fields: Vec<_> = fields.iter().collect();
    if turned {
        fields.reverse();
    }
    for (number, (key, value)) in fields.into_iter().enumerate() {
        if number == 0 {
            out.push(' ');
        } else {
            out.push_str(&space);
        }
        out.push_str(key);
        out.push(':');
        below(dice, out, value, indent + 2);
    }
}

/// A text in one of the styles that mean a text.
fn quoted(dice: &mut Dice, text: &str, indent: usize, key: bool) -> String {
    let plain = text.starts_with(|first: char| first.is_ascii_lowercase())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-/@.".contains(&byte))
        && !["yes", "on", "y", "null", "true", "no", "off", "n", "false"].contains(&text);
    let printable = !text.chars().any(char::is_control);
    let block = text.ends_with('\n') && !text.starts_with([' ', '\n']) && !text.contains('\u{7}');
    match dice.roll(4) {
        0 | 1 if plain => text.to_owned(),
        2 if printable => format!("'{}'", text.replace('\'', "''")),
        3 if block && !key => {
            let space = " ".repeat(indent + 2);
            let lines = text
                .trim_end()
                .lines()
                .map(|line| format!("\n{space}{line}"));
            let lines: String = lines.collect();
            format!("|{lines}")
        }
        _ => Value::from(text).to_string(),
    }
}
