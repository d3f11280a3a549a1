//! What is read of a lockfile's text, and what is refused.

use super::*;

const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn artifact(word: &str) -> String {
    format!(
        "[[artifact]]\nsource = \"kubernetes\"\npath = \"p\"\nversion = \"1.32.3\"\n\
         arch = \"arm64\"\nsize = 5\nsha256 = \"{DIGEST}\"\ntrust = \"published\"\n{word}\n"
    )
}

#[test]
fn the_text_reads_well_in_a_diff() {
    let text = format!("format = 1\n\n{}", artifact("").trim_end());
    let lockfile = parse(&text).unwrap();
    assert_eq!(print(&lockfile), format!("{HEADER}{text}\n"));
}

#[track_caller]
fn check(text: &str, message: &str) {
    let error = parse(text).unwrap_err().to_string();
    assert!(error.contains(message), "{error}");
}

#[test]
fn what_is_no_lockfile_is_refused() {
    check("", "missing field `format`");
    check("format = 3\nwhatever = 1\n", "format 3");
    check(
        &format!("format = 1\n{}", artifact("colour = 1")),
        "unknown field `colour`",
    );
    check(
        &format!("format = 1\n{}{}", artifact(""), artifact("")),
        "`p` is pinned twice",
    );
    check(
        &format!("format = 1\n{}", artifact("").replace(DIGEST, "abc")),
        "not a SHA-256 digest",
    );
    check("<<<<<<< HEAD\nformat = 1\n", "line 1, column 9: ");
    check(
        &format!(
            "format = 1\n{}",
            artifact("[[artifact.program]]\nname = \"../a\"\nsize = 1\nsha256 = \"D\"")
                .replace("\"D\"", &format!("\"{DIGEST}\""))
        ),
        "line 11, column 8: \"../a\" is no name of a program",
    );
}

#[test]
fn what_no_kinstall_writes_is_refused_with_its_place() {
    let refuse = |from: &str, to: &str, message: &str| {
        let text = format!("format = 1\n{}", artifact(""));
        assert!(text.contains(from));
        check(&text.replace(from, to), message);
    };
    for size in ["0", "1073741825", "9223372036854775807"] {
        let told = format!("line 7, column 8: a size is from 1 to 1073741824 bytes, not {size}");
        refuse("size = 5", &format!("size = {size}"), &told);
    }
    refuse("size = 5", "size = -1", "line 7, column 8: invalid value");
    refuse(
        "size = 5",
        "size = 18446744073709551615",
        "line 7, column 8: ",
    );
    refuse("size = 5", "size = 1e3", "line 7, column 8: ");
    let paths = [
        "../p",
        "/p",
        "a/../p",
        "a//p",
        "",
        "a/./p",
        ".p",
        "a\\\\b",
        "\\u001b]0;x\\u0007p",
        "\\u202ep",
        "a b",
    ];
    for path in paths {
        let path = format!("path = \"{path}\"");
        refuse(
            "path = \"p\"",
            &path,
            "is no path that `kinstall fetch` writes",
        );
    }
    let long = format!("path = \"{}\"", "p".repeat(5000));
    refuse("path = \"p\"", &long, "line 4, column 8: \"ppp");
    for digest in ["../".repeat(21).as_str(), &DIGEST[1..], ""] {
        refuse(DIGEST, digest, "line 8, column 10: ");
    }
    refuse("1.32.3", "99999999999999999999.1.1", "line 5, column 11: ");
    refuse(
        "arch = \"arm64\"",
        "arch = \"\\u001b[2J\"",
        "line 6, column 8: ",
    );
    refuse("format = 1", "format = 1\n\"\\u001b\" = 1", "line 2");
}

#[test]
fn what_a_user_s_own_path_may_be_is_the_inventory_s_matter() {
    for path in ["../build/{arch}", "/srv/own build/etcd", "ä"] {
        let text = artifact("").replace("\"p\"", &format!("\"{path}\""));
        let text = format!("format = 1\n{}", text.replace("\"kubernetes\"", "\"own\""));
        assert!(parse(&text).is_ok(), "{path}");
    }
}

#[test]
fn digests_in_upper_case_are_the_same() {
    let text = format!("format = 1\n{}", artifact(""));
    let upper = text.replace(DIGEST, &DIGEST.to_uppercase());
    assert_eq!(parse(&upper), parse(&text));
}

#[test]
fn neither_size_nor_number_nor_depth_is_without_limit() {
    let many: String = (0..=PINS_MAX)
        .map(|number| artifact("").replace("\"p\"", &format!("\"p{number}\"")))
        .collect();
    check(
        &format!("format = 1\n{many}"),
        "more than 4194304 bytes or 10000 pins",
    );
    let short = "[[artifact]]\n".repeat(300_000);
    check(&format!("format = 1\n{short}"), "");
    let huge = format!("format = 1\n# {}", "x".repeat(4 << 20));
    check(&huge, "more than 4194304 bytes");
    for deep in ["[", "{a=", "\n[a."] {
        let error = parse(&format!("format = 1\nx = {}", deep.repeat(100_000)));
        let told = error.unwrap_err().to_string();
        assert!(told.starts_with("line ") && told.len() < 300, "{told}");
    }
    let error = parse(&format!("format = 1\n{} = 1", "k".repeat(100_000))).unwrap_err();
    assert!(error.to_string().len() < 700, "{error}");
}

fn image(word: &str) -> String {
    format!(
        "[[image]]\nname = \"docker.io/library/nginx:1.27\"\narch = \"arm64\"\nsha256 = \"{DIGEST}\"\n\
         trust = \"published\"\nformat = \"oci\"\n\n[image.manifest]\nsize = 5\nsha256 = \"{DIGEST}\"\n\n\
         [[image.blob]]\nsize = 7\nsha256 = \"{DIGEST}\"\n{word}"
    )
}

/// Earlier kinstalls wrote format 1, and read what has no images.
#[test]
fn only_an_image_makes_it_of_the_format_that_has_them() {
    let text = format!("format = 1\n\n{}", artifact("").trim_end());
    let old = parse(&text).unwrap();
    assert!(print(&old).contains("\nformat = 1\n"));
    let new = format!("format = 2\n\n{}\n\n{}", artifact("").trim_end(), image(""));
    assert_eq!(print(&parse(&new).unwrap()), format!("{HEADER}{new}"));
}

#[test]
fn an_image_that_no_kinstall_writes_is_refused_with_its_place() {
    let refuse = |from: &str, to: &str, message: &str| {
        let text = format!("format = 2\n{}", image(""));
        assert!(text.contains(from));
        check(&text.replace(from, to), message);
    };
    for name in ["nginx:1.27", "docker.io/library/nginx", "../a:1", ""] {
        let told = format!("line 3, column 8: {name:?} is no name of an image");
        refuse("docker.io/library/nginx:1.27", name, &told);
    }
    refuse(
        "size = 5",
        "size = 0",
        "line 10, column 8: a size is from 1",
    );
    refuse("\"oci\"", "\"tar\"", "line 7, column 10: unknown variant");
    refuse("format = 2\n", "format = 3\n", "format 3");
    let twice = format!("format = 2\n{}\n{}", image(""), image(""));
    check(
        &twice,
        "line 18: `docker.io/library/nginx:1.27` is pinned twice",
    );
}
