//! Directories of certificates as guides and tools make them, taken in or refused as the peers would
//! take or refuse them.

use std::process::Command;

use fs_err as fs;

use crate::lab::{Lab, Output};

/// Words of a shell for a directory of one node's certificates, by openssl. What is not said of the
/// keys (`key`, `authority_key`), the digest (`md`) and the extensions is as kubeadm has it.
const WORDS: &str = r#"
set -e
ec() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:$1; }
rsa() { openssl genrsa $1; }
key() { ec P-256; }
authority_key() { key; }
md=-sha256
sign='critical,keyCertSign,cRLSign'
use='critical,digitalSignature,keyEncipherment'
names='DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost'
names="$names,IP:127.0.0.1,IP:10.32.0.1,IP:10.0.0.1"
ca="basicConstraints=critical,CA:TRUE\nkeyUsage=$sign\nsubjectKeyIdentifier=hash"
server="basicConstraints=CA:FALSE\nkeyUsage=$use\nextendedKeyUsage=serverAuth,clientAuth"
client="basicConstraints=CA:FALSE\nkeyUsage=$use\nextendedKeyUsage=clientAuth"
asked() { openssl req -new -key $1.key -subj "$2" -out $1.csr; }
root() {
    authority_key > $1.key; asked $1 "$2"; printf "$ca\n" > $1.ext
    openssl x509 -req $md -in $1.csr -signkey $1.key -extfile $1.ext -days 3650 -out $1.crt
}
leaf() {
    key > $1.key; asked $1 "$2"; printf "$3\n" > $1.ext
    openssl x509 -req $md -in $1.csr -CA $4.crt -CAkey $4.key -CAcreateserial -extfile $1.ext \
        -days 365 $more -out $1.crt
}
leaves() {
    leaf kubernetes "/CN=kubernetes" "$server\nsubjectAltName=$names" $1
    leaf admin /O=system:masters/CN=admin "$client" $1
    for name in kube-controller-manager kube-scheduler; do
        leaf $name /CN=system:$name "$client" $1
    done
    leaf apiserver-kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client "$client" $1
    leaf apiserver-etcd-client /CN=kube-apiserver-etcd-client "$client" $1
    leaf etcd-healthcheck-client /CN=kube-etcd-healthcheck-client "$client" $1
}
expired() {
    mkdir old; : > old/index; echo 01 > old/serial; ec P-256 > old/key; printf "$ca\n" > old/ext
    printf '[ca]\ndefault_ca=d\n[d]\ndatabase=old/index\nserial=old/serial\nnew_certs_dir=old\n' > old/conf
    printf 'default_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n' >> old/conf
    openssl req -new -key old/key -subj "$1" -out old/csr
    openssl ca -batch -selfsign -notext -config old/conf -extfile old/ext -in old/csr -keyfile old/key \
        -startdate 20150101000000Z -enddate 20250101000000Z -out old/crt
    cat old/crt; rm -r old
}
"#;

/// A lab whose directory `made` a shell filled.
#[track_caller]
fn made(script: &str) -> Lab {
    let lab = Lab::empty();
    lab.write(
        "[cluster]\nname = \"lab\"\nkubernetes = \"1.32.3\"\n\n\
         [pki]\nfrom = \"directory\"\ndir = \"made\"\n\n\
         [[node]]\nname = \"node1\"\naddress = \"10.0.0.1\"\narch = \"amd64\"\n",
    );
    fs::create_dir(lab.path("made")).unwrap();
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!(
            "{WORDS}\n{script}\nrm -f *.csr *.ext *.srl; chmod 600 *.key"
        ))
        .current_dir(lab.path("made"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    lab
}

/// Renders what would lie on the node.
#[track_caller]
fn render(lab: &Lab) -> Output {
    lab.run(["render", "inventory.toml", "--out", "out"])
}

/// What lies in the files that were rendered.
fn texts(lab: &Lab) -> Vec<String> {
    let mut waiting = vec![lab.path("out")];
    let mut texts = Vec::new();
    while let Some(at) = waiting.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if !path.is_symlink() {
                texts.extend(fs::read_to_string(path));
            }
        }
    }
    texts
}

/// Certificates that are good: `certs check` and `render` say so alike.
#[track_caller]
fn taken(script: &str) -> Lab {
    let lab = made(script);
    render(&lab).exits(0);
    let check = lab.run(["certs", "check", "inventory.toml", "--days", "1"]);
    assert!(!check.stdout.contains("error "), "{}", check.stdout);
    lab
}

/// Certificates that somebody would refuse.
#[track_caller]
fn refused(script: &str, why: &[&str]) {
    let lab = made(script);
    let mut output = render(&lab).exits(1);
    let check = lab.run(["certs", "check", "inventory.toml"]).exits(3);
    for why in why {
        output = output.says(why);
        assert!(check.stdout.contains(why), "{why}: {}", check.stdout);
    }
    assert!(!lab.path("out").exists());
}

#[test]
fn a_version_1_root_is_an_anchor_and_leaves_without_usages_are_for_any() {
    let lab = taken(
        "rsa 2048 > ca.key; asked ca /CN=KUBERNETES-CA
         openssl x509 -req -in ca.csr -signkey ca.key -days 1000 -out ca.crt
         plain() { rsa 2048 > $1.key; asked $1 $2; openssl x509 -req -in $1.csr -CA ca.crt -CAkey ca.key \
            -CAcreateserial -days 365 -out $1.crt; }
         plain admin /CN=admin/O=system:masters
         for name in kube-controller-manager kube-scheduler; do plain $name /CN=system:$name; done
         plain service-account /CN=service-accounts
         leaf kube-apiserver /CN=kube-apiserver \"subjectAltName=$names\" ca
         leaf etcd-server /CN=etcd-server 'subjectAltName=IP:10.0.0.1,IP:127.0.0.1' ca",
    );
    let own = fs::read_to_string(lab.path("made/etcd-server.crt")).unwrap();
    assert!(texts(&lab).iter().any(|text| text.contains(own.trim())));
}

#[test]
fn a_key_usage_that_go_does_not_look_at_is_a_warning() {
    let lab = taken(
        "key() { rsa 2048; }; root ca /CN=kubernetes
         server=$(echo \"$server\" | sed s/$use/keyEncipherment,dataEncipherment/); leaves ca",
    );
    render(&lab)
        .exits(0)
        .says("its key usage lacks digitalSignature: nothing of Kubernetes looks at that");
}

#[test]
fn an_address_written_as_a_dns_name_serves_no_address() {
    refused(
        "names=$(echo $names | sed s/IP:/DNS:/g); root ca /CN=kubernetes; leaves ca",
        &["apiserver-node1: has `10.0.0.1` as a DNS name, and"],
    );
}

#[test]
fn a_negative_serial_number_is_refused_from_the_minor_on_that_refuses_it() {
    // DER of it: a byte above 0x7f without the zero before it.
    let script = "root ca /CN=kubernetes; more='-set_serial -0x1234'; leaves ca";
    refused(
        script,
        &["has a negative serial number: Kubernetes 1.32 and newer refuse to read it"],
    );
    let lab = made(script);
    lab.edit("\"1.32.3\"", "\"1.31.2\"\netcd = \"3.5.1\"");
    render(&lab)
        .exits(0)
        .says("has a negative serial number: Kubernetes 1.32 and newer refuse to read it");
}

#[test]
fn every_way_of_signing_that_go_knows_is_taken() {
    for how in [
        "md=-sha512",
        "md=-sha512; key() { ec P-384; }",
        "md=-sha512; key() { ec P-521; }",
        "key() { openssl ecparam -name secp521r1 -genkey; }",
        "md=' '; key() { openssl genpkey -algorithm ed25519; }",
        "md='-sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32'; key() { rsa 2048; }",
    ] {
        let lab = taken(&format!("{how}; root ca /CN=kubernetes; leaves ca"));
        let key = fs::read_to_string(lab.path("made/ca.key")).unwrap();
        // kube-controller-manager signs with keys that kinstall cannot sign with.
        let key = key.lines().nth(2).unwrap_or_default().to_owned();
        let is_signer = |text: &String| how.contains("ed25519") || text.contains(&key);
        assert!(texts(&lab).iter().any(is_signer), "{how}");
    }
}

#[test]
fn a_short_rsa_key_of_an_authority_is_a_warning_as_long_as_go_takes_it() {
    let lab = taken("authority_key() { rsa 1024; }; root ca /CN=kubernetes; leaves ca");
    render(&lab)
        .exits(0)
        .says("its key is weak: rsa-1024, which Go still takes");
}

#[test]
fn a_key_that_kinstall_cannot_sign_with_is_named_where_something_is_missing() {
    let lab = made(
        "authority_key() { ec P-521; }; root ca /CN=kubernetes
         leaf kubernetes /CN=kubernetes \"$server\\nsubjectAltName=$names\" ca",
    );
    render(&lab)
        .exits(1)
        .says("no key of the authority that can be used is there")
        .says("`ca.key`: is a key (ecdsa-p521) that kinstall cannot sign with");
}

#[test]
fn of_an_old_and_a_new_authority_in_one_file_the_one_whose_key_is_there_signs() {
    for order in ["old.crt ca.crt", "ca.crt old.crt"] {
        let lab = taken(&format!(
            "root old /CN=kubernetes; root ca /CN=kubernetes; leaves ca; rm kube-scheduler.*
             cp ca.crt new; cat {order} > both; mv both ca.crt; rm old.*; mv new new.txt"
        ));
        let texts = texts(&lab);
        let new = fs::read_to_string(lab.path("made/new.txt")).unwrap();
        let alone = |text: &String| text.trim() == new.trim();
        assert!(texts.iter().any(alone), "{order}: alone where it signs");
        let both = |text: &String| {
            text.contains(new.trim()) && text.matches("BEGIN CERTIFICATE").count() == 2
        };
        assert!(
            texts.iter().any(both),
            "{order}: both where they are trusted"
        );
        lab.run(["certs", "list", "inventory.toml"])
            .exits(0)
            .prints("/etc/k8s/kube-controller-manager/");
    }
}

#[test]
fn an_expired_authority_beside_one_that_serves_is_told_and_stops_nothing() {
    for order in ["ca.crt gone", "gone ca.crt"] {
        let lab = taken(&format!(
            "root ca /CN=kubernetes; leaves ca; expired /CN=gone > gone; cat {order} > all; mv all ca.crt; rm gone"
        ));
        let told = "authority kubernetes: holds `CN=gone` too, which expired on 2025-01-01: it is of no \
                    use, and can be removed from `";
        render(&lab).exits(0).says(told).says("made/ca.crt`");
    }
    // The same of what is trusted besides kinstall's own.
    let lab = made("expired /CN=gone > gone.pem; : > none.key");
    lab.edit(
        "from = \"directory\"\ndir = \"made\"",
        "key = \"ecdsa-p256\"",
    );
    lab.run(["kubeconfig", "inventory.toml"]).exits(0);
    fs::copy(
        lab.path("made/gone.pem"),
        lab.path("pki/trust/kubernetes.pem"),
    )
    .unwrap();
    render(&lab)
        .exits(0)
        .says("holds `CN=gone` too, which expired on 2025-01-01")
        .says("pki/trust/kubernetes.pem`");
}

#[test]
fn a_chain_is_more_than_signatures() {
    refused(
        "root root /CN=house; leaf ca /CN=intermediate \
         \"basicConstraints=critical,CA:TRUE\\nkeyUsage=$sign\\nextendedKeyUsage=serverAuth\" root
         leaves ca; rm root.key",
        &["admin: its authority `CN=intermediate` may sign for serverAuth alone"],
    );
    let below =
        "mv inter.crt x; rm inter.*; for name in *.key; do cat x >> ${name%.key}.crt; done; rm x";
    refused(
        &format!(
            "ca=\"basicConstraints=critical,CA:TRUE,pathlen:0\\nkeyUsage=$sign\"; root ca /CN=house
             leaf inter /CN=inter \"basicConstraints=critical,CA:TRUE\\nkeyUsage=$sign\" ca
             leaves inter; mv ca.key k; {below}; mv k ca.key"
        ),
        &["there are more intermediates below `CN=house` than its pathlen:0 allows"],
    );
    refused(
        &format!(
            "root ca /CN=house; leaf inter /CN=inter basicConstraints=CA:FALSE ca
             leaves inter; mv ca.key k; {below}; mv k ca.key"
        ),
        &["admin: was signed by `CN=inter`, which is not an authority's certificate"],
    );
    refused(
        "ca=\"$ca\\nnameConstraints=critical,permitted;DNS:example.org\"; root ca /CN=house; leaves ca",
        &["its authority `CN=house` may not sign for `"],
    );
}

#[test]
fn an_encrypted_key_is_named_and_stops_only_what_needs_it() {
    let lock = "openssl pkcs8 -topk8 -in ca.key -passout pass:x -out e; mv e ca.key";
    let lab = made(&format!(
        "root ca /CN=kubernetes; leaves ca; rm kube-scheduler.*; {lock}"
    ));
    render(&lab)
        .exits(1)
        .says("`scheduler`")
        .says("`ca.key`: is encrypted: decrypt it with `openssl pkey -in");
    let lab = taken(&format!("root ca /CN=kubernetes; leaves ca; {lock}"));
    render(&lab).exits(0).says("`ca.key`: is encrypted");
}

#[test]
fn what_cannot_be_read_and_is_not_needed_stops_nothing() {
    let lab = taken(
        "root ca /CN=kubernetes; leaves ca; ln -s /nowhere/at/all.pem kubelet-client-current.pem
         mkfifo pipe.key; mkdir place.pem; ln -s loop.crt loop.crt",
    );
    render(&lab)
        .exits(0)
        .says(
            "`kubelet-client-current.pem`: is a link to `/nowhere/at/all.pem`, which is not there",
        )
        .says("`pipe.key`: is not a file")
        .says("`place.pem`: is a directory, where a file was to be expected");
}

#[test]
fn two_public_keys_of_service_accounts_stay_two() {
    let lab = taken(
        "root ca /CN=kubernetes; leaves ca
         rsa 2048 > sa.key; openssl rsa -in sa.key -pubout -out new
         rsa 2048 > old; openssl rsa -in old -pubout -out old.p; cat old.p new > sa.pub; rm old old.p new",
    );
    let two = |text: &String| text.matches("BEGIN PUBLIC KEY").count() == 2;
    assert!(texts(&lab).iter().any(two));
}

#[test]
fn a_serving_certificate_is_not_taken_for_etcds_where_it_would_not_do() {
    let lab = taken(
        "root ca /CN=10.0.0.1; mkdir private issued; server=$(echo \"$server\" | sed s/,clientAuth//)
         leaf server /CN=server \"$server\\nsubjectAltName=$names\" ca
         mv ca.key private; cp server.key private; mv server.crt issued; rm server.key; : > none.key",
    );
    render(&lab).exits(0).says("certificate etcd-peer of node1");
}
