//! Promises about templates and drop-ins of the user's own.

use fs_err as fs;

use crate::bed::{Bed, PUSH};
use crate::lab::Lab;

const RENDER: [&str; 6] = [
    "render",
    "inventory.toml",
    "--out",
    "out",
    "--limit",
    "node1",
];
const INTO: [&str; 4] = ["push", "inventory.toml", "--into", "nodes"];
const UNITS: &str = "etc/systemd/system";

fn write(lab: &Lab, path: &str, text: &str) {
    let at = lab.path(path);
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    fs::write(at, text).unwrap();
}

fn project(path: &str) -> String {
    let project = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(project.join(path)).unwrap()
}

#[test]
fn they_are_rendered_in_the_place_of_kinstalls_own() {
    let lab = Lab::new();
    let unit = project("templates/etc/systemd/system/etcd.service.hbs");
    let unit = unit.replace("OOMScoreAdjust=-900", "OOMScoreAdjust=-1000");
    write(&lab, "templates/etcd.service.hbs", &unit);
    write(&lab, "templates/audit-policy.yaml", "{{plain}}\n");
    let scheduler = "# {{cluster.name}}\n{{> hardening families=\"AF_UNIX\"}}";
    write(&lab, "templates/kube-scheduler.yaml.hbs", scheduler);
    write(
        &lab,
        "templates/hardening.hbs",
        "# for {{families}} on {{node.name}}\n",
    );
    let drop_in = "[Service]\nNice=-5\nEnvironment=NODE={{node.name}}\n";
    write(&lab, "templates/etcd.service.d/10-nice.conf.hbs", drop_in);
    write(&lab, "templates/.gitignore", "x\n");
    lab.run(RENDER).exits(0);
    let read = |path: &str| fs::read_to_string(lab.path("out/node1").join(path)).unwrap();
    let etcd = read("etc/systemd/system/etcd.service");
    assert!(etcd.contains("\nOOMScoreAdjust=-1000\n"), "{etcd}");
    assert!(
        etcd.contains("\n# for AF_INET AF_INET6 AF_UNIX on node1\n"),
        "{etcd}"
    );
    assert_eq!(
        read("etc/k8s/kube-apiserver/audit-policy.yaml"),
        "{{plain}}\n"
    );
    let scheduler = read("etc/k8s/kube-scheduler/kube-scheduler.yaml");
    assert_eq!(scheduler, "# home\n# for AF_UNIX on node1\n");
    let drop_in = read("etc/systemd/system/etcd.service.d/10-nice.conf");
    assert_eq!(drop_in, "[Service]\nNice=-5\nEnvironment=NODE=node1\n");
}

#[test]
fn what_is_wrong_with_them_is_told_with_its_place_before_anything_else() {
    let lab = Lab::new();
    let refused = |path: &str, text: &str, said: &str| {
        write(&lab, path, text);
        for command in ["render", "push", "plan", "check"] {
            let mut words = vec![command, "inventory.toml"];
            words.extend(
                ["--out", "out"]
                    .iter()
                    .take(if command == "render" { 2 } else { 0 }),
            );
            lab.run(words).exits(2).says(said);
        }
        fs::remove_file(lab.path(path)).unwrap();
    };
    refused(
        "templates/etcd.service.hbs",
        "[Service]\nUser={{node.nmae}}\n",
        "`templates/etcd.service.hbs`, line 2, column 6: there is nothing called `node.nmae`",
    );
    refused(
        "templates/etcd.service.d/a.conf.hbs",
        "[Service]\n{{#if node.nmae}}Nice=1{{/if}}\n",
        "`templates/etcd.service.d/a.conf.hbs`, line 2, column 1: there is nothing called `node.nmae`",
    );
    refused(
        "templates/etcd.service.d/a.conf.hbs",
        "\n\n  {{#if x}}\n",
        "`templates/etcd.service.d/a.conf.hbs`, line 4, column 1: it is no template",
    );
    refused(
        "templates/hardening.hbs",
        "#\n{{nobody}}\n",
        "`templates/hardening.hbs`, line 2, column 1: there is nothing called `nobody`",
    );
    refused(
        "templates/hardening.hbs",
        "{{#each}",
        "`templates/hardening.hbs`, line 1",
    );
    refused(
        "templates/ectd.service.hbs",
        "",
        "`templates/ectd.service.hbs`: kinstall has no template of this name",
    );
    refused(
        "templates/konnectivity.service.d/a.conf",
        "",
        "there is no unit `konnectivity.service` to drop anything into",
    );
    lab.edit("[cluster]", "[cluster]\ntemplates = \"mine\"");
    lab.run(["check", "inventory.toml"]).exits(2).says("`mine`");
    write(&lab, "mine/etcd.service.d/a.conf", "[Service]\nNice=1\n");
    lab.run(["check", "inventory.toml"]).exits(0);
}

#[test]
fn the_command_line_they_say_is_checked() {
    let lab = Lab::new();
    let check = |drop_in: &str, exit: i32, said: &str| {
        write(&lab, "templates/kube-scheduler.service.d/a.conf", drop_in);
        lab.run(["check", "inventory.toml"]).exits(exit).says(said);
    };
    let start = "[Service]\nExecStart=\nExecStart=/usr/local/bin/kube-scheduler";
    check(
        &format!("{start} --leader-elct=true\n"),
        2,
        "did you mean `--leader-elect`?",
    );
    check(
        &format!("{start} --v=high\n"),
        2,
        "`templates/kube-scheduler.service.d/a.conf`",
    );
    check(
        "[Service]\nExecStart=/bin/true\n",
        2,
        "the unit says several `ExecStart=`",
    );
    check(
        "[Service]\nExecStart=\nExecStart=/opt/wrap --x\n",
        0,
        "its flags cannot be judged",
    );
    check(
        &format!("{start} --v=%i --config=/x\n"),
        0,
        "systemd fills in `--v=%i`",
    );
    check("[Service]\nNice=1\n", 0, "nothing is wrong with it");
}

#[test]
fn drop_ins_are_managed_files() {
    let lab = Lab::new();
    let file = "templates/etcd.service.d/10-nice.conf";
    let lies = format!("nodes/node1/{UNITS}/etcd.service.d/10-nice.conf");
    write(&lab, file, "[Service]\nNice=-5\n");
    lab.run(INTO).exits(0);
    assert_eq!(
        fs::read_to_string(lab.path(&lies)).unwrap(),
        "[Service]\nNice=-5\n"
    );
    lab.run(INTO).exits(0).says("nothing to do");
    write(&lab, file, "[Service]\nNice=-6\n");
    let plan = lab
        .run(["plan", "inventory.toml", "--into", "nodes"])
        .exits(3);
    let plan = plan
        .prints("10-nice.conf")
        .prints("-Nice=-5")
        .prints("+Nice=-6");
    plan.prints("! etcd.service: start").never_says("! kube-");
    lab.run(INTO).exits(0);
    fs::remove_dir_all(lab.path("templates")).unwrap();
    lab.run(INTO).exits(0);
    assert!(!lab.path(&lies).exists());
    assert!(!lab.path(&lies).parent().unwrap().exists());
    lab.run(INTO).exits(0).says("nothing to do");
}

#[test]
fn a_drop_in_restarts_its_unit_alone_and_is_gone_before_it_starts_again() {
    let Some(mut bed) =
        Bed::take("a_drop_in_restarts_its_unit_alone_and_is_gone_before_it_starts_again")
    else {
        return;
    };
    let lab = bed.pushed();
    let starts = |bed: &Bed| {
        let all = "for unit in etcd kube-apiserver kube-controller-manager kube-scheduler; do \
                   systemctl show -P MainPID $unit; done";
        bed.on("node1", all)
    };
    let nice = "systemctl show -P Nice kube-scheduler";
    let before = starts(&bed);
    write(
        &lab,
        "templates/kube-scheduler.service.d/nice.conf",
        "[Service]\nNice=5\n",
    );
    lab.run(PUSH).exits(0);
    assert_eq!(bed.on("node1", nice), "5");
    let with = starts(&bed);
    let same = |one: &str, other: &str| {
        let pairs = one.lines().zip(other.lines());
        pairs.map(|(one, other)| one == other).collect::<Vec<_>>()
    };
    assert_eq!(same(&before, &with), [true, true, true, false]);
    fs::remove_dir_all(lab.path("templates")).unwrap();
    lab.run(PUSH).exits(0);
    assert_eq!(bed.on("node1", nice), "0");
    let process = "ps -o ni= -p $(systemctl show -P MainPID kube-scheduler)";
    assert_eq!(bed.on("node1", process), "0");
    assert_eq!(same(&with, &starts(&bed)), [true, true, true, false]);
    let gone = "ls /etc/systemd/system/ | grep -c service.d || true";
    assert_eq!(bed.on("node1", gone), "0");
    bed.leave(lab);
}

/// What is said of these files, soon.
#[track_caller]
fn assert_refused(files: &[(&str, &str)], said: &str) {
    let lab = Lab::new();
    for (path, text) in files {
        write(&lab, path, text);
    }
    let output = lab.run(["check", "inventory.toml"]).exits(2).says(said);
    assert!(output.seconds < 20.0, "{output}");
}

#[test]
fn a_template_that_expands_without_end_is_refused_with_its_place_and_chain() {
    let hardening = "templates/hardening.hbs";
    let networks = "templates/networks.hbs";
    let unit = "templates/etcd.service.hbs";
    assert_refused(
        &[
            (hardening, "{{> networks}}\n"),
            (networks, "\n {{> hardening families=\"x\"}}\n"),
        ],
        "`templates/networks.hbs`, line 2, column 2: it includes itself without end: \
         hardening -> networks -> hardening",
    );
    assert_refused(
        &[(hardening, "a\n{{> hardening}}\n")],
        "`templates/hardening.hbs`, line 2, column 1: it includes itself without end: \
         hardening -> hardening",
    );
    assert_refused(
        &[(
            unit,
            "{{#*inline \"a\"}}{{> b}}{{/inline}}{{#*inline \"b\"}}{{#if node}}{{> a}}{{/if}}{{/inline}}{{> a}}",
        )],
        "etcd.service.hbs -> a -> b -> a",
    );
    assert_refused(
        &[(unit, "{{> (lookup cluster \"name\")}}")],
        "the name of what it includes is not written out",
    );
}

#[test]
fn a_template_that_expands_too_far_is_refused() {
    let hardening = "templates/hardening.hbs";
    let unit = "templates/etcd.service.hbs";
    let each = |depth: usize, text: &str| {
        let open = "{{#each ../service.arguments}}".repeat(depth);
        format!("{open}{text}{}", "{{/each}}".repeat(depth))
    };
    assert_refused(&[(unit, &each(9, ""))], "it expands too far");
    assert_refused(&[(unit, &each(4, "{{this}}"))], "it expands too far");
    let doubled: String = (0..40).fold("{{#*inline \"p40\"}}x{{/inline}}".to_owned(), |text, n| {
        let next = n + 1;
        format!("{text}{{{{#*inline \"p{n}\"}}}}{{{{> p{next}}}}}{{{{> p{next}}}}}{{{{/inline}}}}")
    });
    assert_refused(&[(unit, &(doubled + "{{> p0}}"))], "it expands too far");
    let large = format!(
        "{{{{#each service.arguments}}}}{}{{{{/each}}}}",
        "#".repeat(200_000)
    );
    assert_refused(&[(unit, &large)], "it expands to more than 1048576 bytes");
    let block = |depth: usize| {
        let open = "{{#> hardening}}".repeat(depth);
        format!(
            "{open}{}{}",
            "#".repeat(1000),
            "{{/hardening}}".repeat(depth)
        )
    };
    assert_refused(
        &[
            (hardening, "{{> @partial-block}}{{> @partial-block}}"),
            (unit, &block(30)),
        ],
        "it expands too far",
    );
    let hidden = "{{#if (eq \"}}{{/if}}\" node)}}".repeat(5_000);
    assert_refused(&[(unit, &hidden)], "it holds more than 100 blocks");
    let chain: String = (0..5_000).fold(String::new(), |text, n| {
        let next = n + 1;
        format!("{text}{{{{#*inline \"p{n}\"}}}}{{{{> p{next}}}}}{{{{/inline}}}}")
    });
    assert_refused(
        &[(unit, &(chain + "{{> p0}}"))],
        "it holds more than 100 blocks",
    );
    let deep = "{{#if node}}".repeat(20_000);
    assert_refused(&[(unit, &deep)], "it holds more than 100 blocks");
    let calls = format!("{{{{#if {}node", "(not ".repeat(20_000));
    assert_refused(&[(unit, &calls)], "it holds more than 200 parentheses");
}

#[test]
fn templates_may_include_and_repeat() {
    let lab = Lab::new();
    let unit = "{{#*inline \"mark\"}}<{{node.name}}>{{/inline}}{{> mark}}\n\
                {{#each service.arguments}}{{#each ../service.arguments}}x{{/each}}{{/each}}\n\
                {{#> hardening families=\"a\"}}{{#> hardening families=\"b\"}}block{{/hardening}}{{/hardening}} | \
                {{> networks}}{{> networks}}";
    write(&lab, "templates/kube-scheduler.yaml.hbs", unit);
    write(
        &lab,
        "templates/hardening.hbs",
        "{{families}} {{> @partial-block}} {{> networks}}",
    );
    write(&lab, "templates/networks.hbs", "net");
    let etcd = project("templates/etc/systemd/system/etcd.service.hbs");
    write(
        &lab,
        "templates/etcd.service.hbs",
        &etcd.replace("{{> hardening", "{{! }}{{> networks"),
    );
    for unit in [
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
    ] {
        let name = format!("etc/systemd/system/{unit}.service.hbs");
        let text = project(&format!("templates/{name}"));
        let text = text.replace("{{> hardening", "{{> networks");
        write(&lab, &format!("templates/{name}"), &text);
    }
    lab.run(RENDER).exits(0);
    let at = "out/node1/etc/k8s/kube-scheduler/kube-scheduler.yaml";
    let text = fs::read_to_string(lab.path(at)).unwrap();
    let (first, rest) = text.split_once('\n').unwrap();
    let (repeated, last) = rest.split_once('\n').unwrap();
    assert_eq!((first, last), ("<node1>", "a b block net net | netnet"));
    assert!(
        repeated.len() > 30 && repeated.bytes().all(|byte| byte == b'x'),
        "{text}"
    );
}
