//! The graph for Graphviz (<https://graphviz.org/doc/info/lang.html>).

use std::fmt::Write as _;

use super::{End, Graph};
use crate::plain::count;

/// `dot -Tsvg` and its kin make a picture of it.
pub fn dot(graph: &Graph) -> String {
    let mut text = format!("digraph {} {{\n  rankdir=LR;\n", quoted(&graph.cluster));
    text.push_str("  node [shape=box, fontname=\"sans-serif\"];\n");
    text.push_str("  edge [fontname=\"sans-serif\", fontsize=10];\n");
    for authority in &graph.authorities {
        let name = quoted(&format!("CA {}", authority.name));
        let label = match &authority.facts {
            Some(facts) => format!(
                "CA {}\n{}\n{} left",
                authority.name,
                facts.subject,
                count(facts.days_left, "day")
            ),
            None => format!("CA {}", authority.name),
        };
        let label = quoted(&label);
        _ = writeln!(text, "  {name} [shape=ellipse, label={label}];");
    }
    let mut signed = std::collections::BTreeSet::new();
    for arrow in &graph.links {
        let (from, to) = (quoted(arrow.caller.name()), quoted(arrow.callee.name()));
        let label = quoted(&label(&arrow.client));
        _ = writeln!(text, "  {from} -> {to} [label={label}];");
        if let Some(server) = &arrow.server {
            let label = quoted(&self::label(server));
            _ = writeln!(text, "  {to} -> {from} [label={label}, style=dashed];");
        }
        for (who, end) in [(&from, Some(&arrow.client)), (&to, arrow.server.as_ref())] {
            let Some(end) = end else { continue };
            signed.insert((end.signer.clone(), who.clone(), end.certificate.clone()));
        }
    }
    for (signer, who, certificate) in signed {
        let (authority, label) = (quoted(&format!("CA {signer}")), quoted(&certificate));
        _ = writeln!(
            text,
            "  {authority} -> {who} [label={label}, color=gray, fontcolor=gray];"
        );
    }
    text.push_str("}\n");
    text
}

fn label(end: &End) -> String {
    let days = end.facts.as_ref().map_or_else(
        || "not made yet".to_owned(),
        |facts| count(facts.days_left, "day"),
    );
    format!("{} ({days})\nby {}", end.certificate, end.signer)
}

/// A double-quoted string of DOT: only the quote is special, and `\n` is a line's end.
fn quoted(text: &str) -> String {
    let text = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("\"{text}\"")
}
