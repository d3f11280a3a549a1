//! Puts a cluster into a kubeconfig that holds others, as text: what else is there, comments and
//! all, stays as it is and where it is. Pure.

use miette::Diagnostic;
use yaml_rust2::{Yaml, YamlEmitter, YamlLoader};
use zeroize::Zeroizing;

use super::Items;
use crate::secret::Secret;

/// Why a cluster cannot be put into a kubeconfig.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Diagnostic)]
pub enum Problem {
    /// It is none.
    #[error("it is not YAML of one document (line {line})")]
    #[diagnostic(help("`kubectl config view` should read it; nothing was changed"))]
    NotYaml {
        /// Where the parser stopped.
        line: usize,
    },
    /// It is YAML of something else.
    #[error("it is not a kubeconfig")]
    #[diagnostic(help("nothing was changed; name another file: `--merge=FILE`"))]
    NotAKubeconfig,
    /// It is written so that nothing can be put in with certainty.
    #[error("nothing can be put into it without a change to what else is there")]
    #[diagnostic(help(
        "nothing was changed; merge by hand: `KUBECONFIG=a:b kubectl config view --flatten`"
    ))]
    Unsure,
}

/// The kubeconfig with the cluster in it, its entries put in place of those of the same names.
///
/// The current context stays what it is, unless there is none.
pub(super) fn merge(existing: &Secret, items: &Items) -> Result<Secret, Problem> {
    let text = existing.expose_text().ok_or(Problem::NotYaml { line: 1 })?;
    let before = parse(text)?;
    if !matches!(before, Yaml::Hash(_)) {
        return Err(Problem::NotAKubeconfig);
    }
    let entries = items.entries();
    let expected = expected(&before, items)?;
    let by_text = entries.iter().try_fold(
        Zeroizing::new(text.to_owned()),
        |text, (list, name, item)| put(&text, list, name, item),
    );
    let by_text = by_text.map(|text| with_current(&text, &before, &items.context_name));
    if let Some(text) = by_text
        && parse(&text).as_ref() == Ok(&expected)
    {
        return Ok(Secret::new(text.as_bytes()));
    }
    // Flow style, JSON and the like have no lines to keep, and hardly comments.
    if text.lines().any(|line| line.trim_start().starts_with('#')) {
        return Err(Problem::Unsure);
    }
    let mut text = String::new();
    let emitted = YamlEmitter::new(&mut text).dump(&expected);
    let text = Zeroizing::new(text + "\n");
    if emitted.is_err() || parse(&text).as_ref() != Ok(&expected) {
        return Err(Problem::Unsure);
    }
    Ok(Secret::new(text.as_bytes()))
}

fn parse(text: &str) -> Result<Yaml, Problem> {
    let documents = YamlLoader::load_from_str(text).map_err(|error| Problem::NotYaml {
        line: error.marker().line(),
    })?;
    match <[Yaml; 1]>::try_from(documents) {
        Ok([document]) => Ok(document),
        Err(_) => Err(Problem::NotYaml { line: 1 }),
    }
}

/// What must come out: everything that was there, in its order, with the cluster's entries.
fn expected(before: &Yaml, items: &Items) -> Result<Yaml, Problem> {
    let Yaml::Hash(mut whole) = before.clone() else {
        return Err(Problem::NotAKubeconfig);
    };
    for (list, name, item) in items.entries() {
        let item = parse(item)?;
        let Some([item]) = item.as_vec().map(Vec::as_slice) else {
            return Err(Problem::Unsure);
        };
        let key = Yaml::String(list.to_owned());
        let mut entries = match whole.get(&key) {
            Some(Yaml::Array(entries)) => entries.clone(),
            None | Some(Yaml::Null) => Vec::new(),
            Some(_) => return Err(Problem::NotAKubeconfig),
        };
        match entries
            .iter_mut()
            .find(|entry| entry["name"].as_str() == Some(name))
        {
            Some(entry) => *entry = item.clone(),
            None => entries.push(item.clone()),
        }
        let entries = Yaml::Array(entries);
        match whole.get_mut(&key) {
            Some(place) => *place = entries,
            None => _ = whole.insert(key, entries),
        }
    }
    let current = Yaml::String("current-context".to_owned());
    let context = Yaml::String(items.context_name.clone());
    match whole.get_mut(&current) {
        Some(place) if is_nothing(place) => *place = context,
        Some(_) => {}
        None => _ = whole.insert(current, context),
    }
    Ok(Yaml::Hash(whole))
}

fn is_nothing(value: &Yaml) -> bool {
    matches!(value, Yaml::Null) || value.as_str() == Some("")
}

/// Puts an item into a top-level list in block style; none where that is not what is there.
fn put(text: &str, list: &str, name: &str, item: &str) -> Option<Zeroizing<String>> {
    let lines: Vec<&str> = text.lines().collect();
    let key = format!("{list}:");
    let Some(at) = lines.iter().position(|line| line.starts_with(&key)) else {
        let end = if text.is_empty() || text.ends_with('\n') {
            ""
        } else {
            "\n"
        };
        return Some(Zeroizing::new(format!("{text}{end}{key}\n{item}")));
    };
    let value = lines[at][key.len()..].trim();
    let is_empty = matches!(value, "[]" | "null" | "~");
    if !(value.is_empty() || is_empty || value.starts_with('#')) {
        return None;
    }
    let is_end = |line: &&str| !line.is_empty() && !line.starts_with([' ', '-', '#', '\t']);
    let rest = &lines[at + 1..];
    let length = rest.iter().position(is_end).unwrap_or(rest.len());
    // Comments and empty lines before the next key belong to that.
    let is_blank = |line: &str| line.trim().is_empty() || line.starts_with('#');
    let block = &rest[..length];
    let length = block
        .iter()
        .rposition(|line| !is_blank(line))
        .map_or(0, |last| last + 1);
    let block = &rest[..length];
    let indent = block.iter().find(|line| line.trim_start().starts_with('-'));
    let indent = indent.map_or("", |line| &line[..line.len() - line.trim_start().len()]);
    let begins = |line: &str| {
        let after = line
            .strip_prefix(indent)
            .and_then(|line| line.strip_prefix('-'));
        after.is_some_and(|after| after.is_empty() || after.starts_with(' '))
    };
    let mut starts: Vec<usize> = (0..length).filter(|index| begins(block[*index])).collect();
    let known = parse(&block.join("\n")).ok();
    let known = known
        .as_ref()
        .and_then(Yaml::as_vec)
        .cloned()
        .unwrap_or_default();
    if known.len() != starts.len() {
        return None;
    }
    starts.push(length);
    let found = known
        .iter()
        .position(|entry| entry["name"].as_str() == Some(name));
    let (from, to) = match found {
        Some(index) => {
            let (from, to) = (starts[index], starts[index + 1]);
            let own = block[from..to]
                .iter()
                .rposition(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
            (from, from + own? + 1)
        }
        None => (length, length),
    };
    let mut out: Vec<String> = lines[..at].iter().map(|line| (*line).to_owned()).collect();
    out.push(if is_empty { key } else { lines[at].to_owned() });
    out.extend(block[..from].iter().map(|line| (*line).to_owned()));
    out.extend(item.lines().map(|line| format!("{indent}{line}")));
    out.extend(rest[to..].iter().map(|line| (*line).to_owned()));
    let mut text = out.join("\n");
    text.push('\n');
    Some(Zeroizing::new(text))
}

/// Names a current context where there is none.
fn with_current(text: &str, before: &Yaml, name: &str) -> Zeroizing<String> {
    let quoted = super::quoted(name);
    if before["current-context"].is_badvalue() {
        return Zeroizing::new(format!("{text}current-context: {quoted}\n"));
    }
    if !is_nothing(&before["current-context"]) {
        return Zeroizing::new(text.to_owned());
    }
    let lines = text.lines().map(|line| {
        if line.starts_with("current-context:") {
            format!("current-context: {quoted}\n")
        } else {
            format!("{line}\n")
        }
    });
    Zeroizing::new(lines.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(server: &str) -> Items {
        let item = |name: &str, rest: &str| Zeroizing::new(format!("- name: \"{name}\"\n{rest}"));
        Items {
            cluster_name: "home".to_owned(),
            user_name: "home-admin".to_owned(),
            context_name: "home".to_owned(),
            cluster: item("home", &format!("  cluster:\n    server: \"{server}\"\n")),
            user: item("home-admin", "  user:\n    client-key-data: a2V5\n"),
            context: item(
                "home",
                "  context:\n    cluster: \"home\"\n    user: \"home-admin\"\n",
            ),
        }
    }

    const OTHER: &str = "\
# mine, do not touch
apiVersion: v1
kind: Config
preferences: {}
current-context: work
clusters:
  # the office
  - cluster:
      server: https://work:6443
    name: work
  - name: zoo
    cluster: {server: \"https://zoo:6443\"}   # far away
users:
- name: work
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      args:
      - get
      - token
      command: aws

# contexts come last
contexts:
- context: {cluster: work, user: work, namespace: a}
  name: work
";

    #[track_caller]
    fn check(existing: &str, expected: &str) {
        let merged = merge(&Secret::new(existing), &items("https://a:1")).unwrap();
        assert_eq!(merged.expose_text().unwrap(), expected);
        let again = merge(&merged, &items("https://a:1")).unwrap();
        assert_eq!(again, merged, "once more changes nothing");
        // Another server takes the place of the one before, and nothing else moves.
        let moved = merge(&merged, &items("https://b:2")).unwrap();
        let replaced = expected.replace("https://a:1", "https://b:2");
        assert_eq!(moved.expose_text().unwrap(), replaced);
    }

    #[test]
    fn what_else_is_there_stays_with_its_comments_and_order() {
        let expected = OTHER
            .replace(
                "   # far away\n",
                "   # far away\n  - name: \"home\"\n    cluster:\n      server: \"https://a:1\"\n",
            )
            .replace(
                "      command: aws\n",
                "      command: aws\n- name: \"home-admin\"\n  user:\n    client-key-data: a2V5\n",
            );
        let expected = expected
            + "- name: \"home\"\n  context:\n    cluster: \"home\"\n    user: \"home-admin\"\n";
        check(OTHER, &expected);
    }

    #[test]
    fn an_empty_one_gets_a_current_context() {
        let empty = "apiVersion: v1\nclusters: null\ncontexts: []\ncurrent-context: \"\"\nkind: Config\nusers: ~\n";
        let merged = merge(&Secret::new(empty), &items("https://a:1")).unwrap();
        let merged = merged.expose_text().unwrap();
        assert!(
            merged.contains("current-context: \"home\"\nkind: Config\nusers:\n- name"),
            "{merged}"
        );
    }

    #[test]
    fn json_is_taken_too() {
        let json = r#"{"apiVersion":"v1","kind":"Config","current-context":"w","clusters":[{"name":"w","cluster":{"server":"https://w"}}],"contexts":[],"users":[]}"#;
        let merged = merge(&Secret::new(json), &items("https://a:1")).unwrap();
        let document = parse(merged.expose_text().unwrap()).unwrap();
        assert_eq!(document["clusters"][0]["name"].as_str(), Some("w"));
        assert_eq!(document["clusters"][1]["name"].as_str(), Some("home"));
        assert_eq!(document["current-context"].as_str(), Some("w"));
    }

    #[test]
    fn what_is_no_kubeconfig_is_refused() {
        let merge = |text: &str| merge(&Secret::new(text), &items("https://a:1")).unwrap_err();
        assert_eq!(merge("a: ["), Problem::NotYaml { line: 2 });
        assert_eq!(merge("- a"), Problem::NotAKubeconfig);
        assert_eq!(merge("clusters: a"), Problem::NotAKubeconfig);
        assert_eq!(
            merge("# x\n{\"clusters\": [{\"name\": \"w\"}]}"),
            Problem::Unsure
        );
    }
}
