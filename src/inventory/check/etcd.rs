//! Whether etcd's users can be told apart.

use crate::inventory::draft::{Draft, Field};
use crate::inventory::node::Role;
use crate::inventory::problem::Problem;
use crate::inventory::table::Found;

/// Each word of the user's name must be said of each node of the control plane, and two nodes
/// must not be one user where they are meant to be two.
pub(super) fn users(draft: &Draft, found: &mut Found) {
    let Some(user) = &draft.etcd.user else {
        return;
    };
    let problem =
        |label: &str, message: String| Problem::new(draft.etcd_user_place.clone(), label, message);
    for word in ["certificate", "set", "user"] {
        if user.has(word) {
            let message = format!("`user` in `[etcd]` has `{{{word}}}` in it");
            let help = "an etcd user may be made of `{node}`, `{zone}`, `{domain}`, `{address}` \
                        and `{cluster}`";
            found.push(problem("not said here", message).help(help));
        }
    }
    for node in draft
        .nodes
        .iter()
        .filter(|node| node.has(Role::ControlPlane))
    {
        let lacks = [
            ("zone", matches!(node.zone, Field::Nothing)),
            ("domain", matches!(node.domain, Field::Nothing)),
        ];
        for (word, lacks) in lacks {
            if lacks && user.has(word) {
                let message = format!("{} has no `{word}`", node.title());
                let problem = problem("wanted here", message).and_at(node.name_place(), "of this");
                found.push(problem.help(format!("say its `{word}`, or write `{{node}}`")));
            }
        }
    }
}
