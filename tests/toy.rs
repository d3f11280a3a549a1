//! A new component takes one file, its templates and its lines in the table: proven by adding one to
//! a copy of this project.

use std::path::Path;
use std::process::Command;

use fs_err as fs;

/// Copies a directory of the project.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (entry, to) = (entry.unwrap(), to.to_owned());
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Changes a text that must be there.
fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{}: {from}", file.display());
    fs::write(file, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn a_component_is_one_file_its_templates_and_its_lines_in_the_table() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let copied = tempfile::tempdir().unwrap();
    let root = copied.path();
    for directory in [
        "src",
        "templates",
        "inventories",
        "tests",
        "xtask",
        "standin",
        "mite",
    ] {
        copy(&project.join(directory), &root.join(directory));
    }
    for file in ["Cargo.toml", "Cargo.lock", "clippy.toml"] {
        fs::copy(project.join(file), root.join(file)).unwrap();
    }
    let toy = project.join("tests/toy");
    copy(&toy.join("templates"), &root.join("templates"));
    fs::copy(toy.join("toy.rs"), root.join("src/component/toy.rs")).unwrap();
    let table = root.join("src/component.rs");
    edit(&table, "mod shared;\n", "mod shared;\nmod toy;\n");
    edit(
        &table,
        "&kubectl::KUBECTL,\n",
        "&kubectl::KUBECTL,\n    &toy::TOY,\n",
    );
    edit(
        &table,
        "&etcd::PUBLISHER,\n",
        "&etcd::PUBLISHER,\n    &toy::PUBLISHER,\n",
    );
    // What is built of other crates is there already; of this one nothing that others run is
    // replaced, for a library's tests have a name of their own.
    let built = Path::new(env!("CARGO_BIN_EXE_kinstall"))
        .ancestors()
        .nth(2)
        .unwrap();
    let output = Command::new(env!("CARGO"))
        .args([
            "test",
            "--offline",
            "--lib",
            "--package",
            "kinstall",
            "component::toy::",
        ])
        .current_dir(root)
        .env("CARGO_TARGET_DIR", built)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("test result: ok. 3 passed"), "{told}\n{why}");
}
