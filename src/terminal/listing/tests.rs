//! Plans as people read them.

use super::*;

#[test]
fn nodes_on_which_the_same_is_to_be_done_are_told_at_once() {
    let entry = |path: &str| EntryListing {
        path: path.to_owned(),
        change: "create",
        drift: false,
        unmanaged: false,
        detail: String::new(),
        diff: None,
    };
    let node = |name: &str, generation, path| NodeListing {
        node: name.to_owned(),
        arch: "arm64".to_owned(),
        generation,
        staging_bytes: 5,
        drains: false,
        entries: vec![entry(path)],
        units: vec![],
    };
    let listing = Listing {
        cluster: "home".to_owned(),
        changes: true,
        nodes: vec![
            node("a", 2, "/x"),
            node("b", 2, "/y"),
            node("c", 2, "/x"),
            node("d", 3, "/x"),
        ],
        members: vec![],
        remains: vec![],
        in_the_way: vec![],
        warnings: vec![],
        order: vec![],
    };
    let expected = "a, c (arm64): generation 2, 5 B to stage on each\n  + /x\n\
                    b (arm64): generation 2, 5 B to stage\n  + /y\n\
                    d (arm64): generation 3, 5 B to stage\n  + /x\n\
                    order:\nhome: 4 changes on 4 nodes, 0 services to start or restart\n";
    assert_eq!(listing.text(false), expected);
}

#[test]
fn a_certificate_of_many_names_is_told_in_a_line_of_some() {
    let foreign = include_str!("../../certificate/describe/foreign.pem");
    let told = in_words(&summary(foreign, 3).unwrap());
    assert!(
        told.starts_with("CN=somebody,O=one,O=two for *.Home 10.0.0.1 ::1 until 2"),
        "{told}"
    );
    let told = in_words(&summary(foreign, 1).unwrap());
    assert!(told.contains(" for *.Home and 2 more until 2"), "{told}");
}
