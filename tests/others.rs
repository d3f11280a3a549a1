//! Promises to two people who look after one cluster, each with an inventory of their own.

use crate::bed::{Bed, NODES, PUSH};
use crate::lab::{Going, Lab, Output};

fn plan_as(lab: &Lab, user: &str) -> Output {
    Going::start(lab.command(["plan", "inventory.toml"]).env("USER", user)).finish()
}

#[test]
fn another_operator_with_another_inventory_is_noticed() {
    let Some(mut bed) = Bed::take("another_operator_with_another_inventory_is_noticed") else {
        return;
    };
    let lab = bed.pushed();
    lab.edit("audit-log-maxage = 60", "audit-log-maxage = 61");
    Going::start(lab.command(PUSH).env("USER", "alice"))
        .finish()
        .exits(0);
    let told = "node1, node2, node3: last changed by alice@";
    // With the inventory that was pushed last there is nothing to tell, no matter who holds it.
    plan_as(&lab, "bob").exits(0).never_says(told);
    lab.write(&bed.inventory(&NODES));
    plan_as(&lab, "alice").exits(3).never_says(told);
    plan_as(&lab, "bob")
        .exits(3)
        .says(told)
        .says("with another inventory than this one");
    bed.leave(lab);
}
