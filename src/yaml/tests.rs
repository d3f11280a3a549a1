//! Documents as go-yaml v2 reads them, and what is refused.

use std::fmt::Write as _;

use super::*;

#[track_caller]
fn check(text: &str, json: &str) {
    let root = parse(text).unwrap();
    let read = read(root.as_deref()).unwrap();
    assert_eq!(read.value.to_string(), json, "{text}");
}

#[track_caller]
fn refuse(text: &str, problem: &str) {
    let outcome = parse(text).and_then(|root| read(root.as_deref()));
    assert_eq!(outcome.err().unwrap().to_string(), problem, "{text}");
}

#[test]
fn it_is_read_as_go_yaml_reads_it() {
    check("", "null");
    check("# nothing", "null");
    check("---\n", "null");
    check("a: 1\n--- \nb: [", r#"{"a":1}"#);
    check("{a: 1, a: 2}", r#"{"a":2}"#);
    check(
        "{1: a, yes: b, 0x10: c}",
        r#"{"1":"a","16":"c","true":"b"}"#,
    );
    check("a: |\n  x", r#"{"a":"x"}"#);
    check("a: |\n  x\n", r#"{"a":"x\n"}"#);
    check("a: &x {b: 1}\nc: *x", r#"{"a":{"b":1},"c":{"b":1}}"#);
    check("<<: {b: 1, c: 1}\nb: 2", r#"{"b":2,"c":1}"#);
    check("b: 2\n<<: [{b: 1}, {b: 3}]", r#"{"b":1}"#);
}

#[test]
fn what_kubernetes_cannot_read_is_named() {
    let unknown = "it is not YAML (line 1): while parsing node, found unknown anchor";
    refuse("a: *x", unknown);
    let itself = "line 1 has an alias of what it is itself a part of, which Kubernetes cannot read";
    refuse("a: &x [*x]", itself);
    let null = "line 2 has a key that is null, a list or a table, which Kubernetes cannot read";
    refuse("a: 1\n~: 2", null);
    let merge =
        "line 1 has a merge (`<<`) of something that is no table, which Kubernetes cannot read";
    refuse("<<: a", merge);
    let deep = "its values are nested deeper than 128 levels (line 1)";
    refuse(&("[".repeat(200) + &"]".repeat(200)), deep);
}

#[test]
fn what_came_with_yaml_1_2_is_refused() {
    refuse(
        "a: 1\nb: \"\\/\"",
        "line 2 has a `?`, `:`, `!` or `\\/` that YAML 1.1 does not have there, which Kubernetes cannot read",
    );
    check("{\"a\": \"\\/\"}", r#"{"a":"/"}"#);
    let directive =
        "line 1 has a directive that YAML 1.1 does not have, which Kubernetes cannot read";
    refuse("%YAML 1.2\n---\na: 1", directive);
}

#[test]
fn aliases_take_neither_memory_nor_time() {
    let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for n in 1..9 {
        let alias = format!("*a{},", n - 1).repeat(10);
        writeln!(text, "a{n}: &a{n} [{alias}]").unwrap();
    }
    let many = "its aliases stand for more than 20000 values (line 5)";
    refuse(&text, many);
    // Each is small and deeper than the one before.
    let mut text = "a0: &a0 [x]\n".to_owned();
    for n in 1..2_000 {
        writeln!(text, "a{n}: &a{n} [*a{}]", n - 1).unwrap();
    }
    let deep = "its values are nested deeper than 128 levels (line 127)";
    refuse(&text, deep);
}

#[test]
fn every_encoding_of_go_yaml_is_read() {
    let wide = |text: &str, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        let marked = format!("\u{feff}{text}");
        marked.encode_utf16().flat_map(bytes).collect()
    };
    let decoded = |bytes: &[u8]| Text::decode(bytes).map(|it| (it.text.to_string(), it.marked));
    let text = ("name: \u{e9}\u{1f600}".to_owned(), false);
    assert_eq!(decoded(&wide(&text.0, u16::to_le_bytes)), Ok(text.clone()));
    assert_eq!(decoded(&wide(&text.0, u16::to_be_bytes)), Ok(text.clone()));
    assert_eq!(decoded(b"\xef\xbb\xbfa"), Ok(("a".to_owned(), true)));
    assert_eq!(decoded(b"\xff\xfea\0b"), Err(Problem::Encoding));
    assert_eq!(decoded(b"a\xff"), Err(Problem::Encoding));
    assert_eq!(decoded(b"a\nb\x07"), Err(Problem::Control { line: 2 }));
    assert_eq!(
        decoded("a\u{85}".as_bytes()),
        Ok(("a\u{85}".to_owned(), false))
    );
}
