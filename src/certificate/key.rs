//! Private keys in the forms that tools write: PKCS#8, and PKCS#1 and SEC 1 as openssl, cfssl and
//! Go have them. Some are only handed on: kinstall cannot sign with them, and the servers can.

use rcgen::{KeyPair, PublicKeyData};
use rsa::RsaPrivateKey;
use rsa::pkcs1::DecodeRsaPrivateKey;
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey};
use rsa::pkcs8::{Document, LineEnding};
use x509_parser::pem::Pem;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// The first private key of a PEM text, if there is one that can be read: RSA, ECDSA on P-256 or
/// P-384, Ed25519.
pub fn read(pem: &Secret) -> Option<KeyPair> {
    let blocks = Pem::iter_from_buffer(pem.expose()).filter_map(Result::ok);
    for block in blocks {
        let contents = Zeroizing::new(block.contents);
        let pkcs8 = match block.label.as_str() {
            "PRIVATE KEY" => contents,
            "RSA PRIVATE KEY" => from_pkcs1(&contents)?,
            "EC PRIVATE KEY" => from_sec1(&contents)?,
            // `EC PARAMETERS` goes before the key in what openssl writes.
            _ => continue,
        };
        return KeyPair::try_from(pkcs8.as_slice()).ok();
    }
    None
}

/// The public half of the first private key of a PEM text, as the DER of a `SubjectPublicKeyInfo`:
/// of those that [`read`] reads, of ECDSA on P-521 and of RSA of any size.
pub fn public_of(pem: &Secret) -> Option<Vec<u8>> {
    if let Some(pair) = read(pem) {
        return Some(pair.subject_public_key_info());
    }
    let blocks = Pem::iter_from_buffer(pem.expose()).filter_map(Result::ok);
    for block in blocks {
        let der = Zeroizing::new(block.contents);
        let rsa = match block.label.as_str() {
            "PRIVATE KEY" => RsaPrivateKey::from_pkcs8_der(&der).ok(),
            "RSA PRIVATE KEY" => RsaPrivateKey::from_pkcs1_der(&der).ok(),
            _ => None,
        };
        let p521 = match block.label.as_str() {
            "PRIVATE KEY" => p521::SecretKey::from_pkcs8_der(&der).ok(),
            "EC PRIVATE KEY" => p521::SecretKey::from_sec1_der(&der).ok(),
            _ => None,
        };
        let rsa = rsa.map(|key| key.to_public_key().to_public_key_der());
        let p521 = p521.map(|key| key.public_key().to_public_key_der());
        if let Some(Ok(document)) = rsa.or(p521) {
            return Some(document.into_vec());
        }
    }
    None
}

/// A public key in PEM, of the DER of its `SubjectPublicKeyInfo`.
pub fn public_pem(der: &[u8]) -> String {
    Document::try_from(der)
        .and_then(|document| document.to_pem("PUBLIC KEY", LineEnding::LF))
        .unwrap_or_default()
}

/// Why a PEM text that holds a private key is of no use, if it does and is; the path is the file's.
pub fn unusable(pem: &Secret, path: &str) -> Option<String> {
    let text = std::str::from_utf8(pem.expose()).ok()?;
    let (_, label) = text
        .split_once("-----BEGIN ")
        .filter(|_| text.contains("PRIVATE KEY-----"))?;
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY-----") || text.contains("Proc-Type: 4,ENCRYPTED")
    {
        return Some(format!(
            "is encrypted: decrypt it with `openssl pkey -in {path} -out {path}.plain`, and put that in \
             its place"
        ));
    }
    if public_of(pem).is_some() {
        return None;
    }
    let label = label.split("-----").next().unwrap_or_default();
    Some(format!(
        "is a private key that kinstall cannot read (`{label}`): it reads PKCS#8, PKCS#1 and SEC 1, RSA, \
         ECDSA and Ed25519"
    ))
}

fn from_pkcs1(der: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let key = RsaPrivateKey::from_pkcs1_der(der).ok()?;
    let document = key.to_pkcs8_der().ok()?;
    Some(Zeroizing::new(document.as_bytes().to_vec()))
}

/// Wraps an `ECPrivateKey` (RFC 5915) into a `PrivateKeyInfo` (RFC 5208).
fn from_sec1(der: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    const EC_PUBLIC_KEY: &[u8] = &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
    const P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    const P384: &[u8] = &[6, 5, 0x2b, 0x81, 0x04, 0, 0x22];
    let curve = [P256, P384].into_iter().find(|curve| {
        let mut windows = der.windows(curve.len());
        windows.any(|window| window == *curve)
    })?;
    let algorithm = tagged(0x30, &[EC_PUBLIC_KEY, curve].concat());
    let key = Zeroizing::new(tagged(4, der));
    let inner = Zeroizing::new([&[2, 1, 0], algorithm.as_slice(), key.as_slice()].concat());
    Some(Zeroizing::new(tagged(0x30, &inner)))
}

/// A value in DER: its tag, its length, itself.
fn tagged(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = value.len().to_be_bytes();
    let significant = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut der = vec![tag];
    match significant {
        [] => der.push(0),
        [byte] if *byte < 0x80 => der.push(*byte),
        bytes => {
            der.push(0x80 | u8::try_from(bytes.len()).expect("a length has at most eight bytes"));
            der.extend_from_slice(bytes);
        }
    }
    der.extend_from_slice(value);
    der
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Needs the `openssl` program: the keys are as it writes them.
    #[track_caller]
    fn check(make: &[&str], label: &str) {
        let run = |args: &[&str]| {
            let output = Command::new("openssl").args(args).output().unwrap();
            assert!(output.status.success(), "{args:?}");
            output.stdout
        };
        let key = run(make);
        assert!(String::from_utf8_lossy(&key).contains(label));
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), &key).unwrap();
        let path = file.path().to_str().unwrap();
        let public = run(&["pkey", "-in", path, "-pubout", "-outform", "DER"]);
        assert_eq!(public_of(&Secret::new(key)), Some(public));
    }

    #[test]
    fn keys_are_read_in_every_form() {
        let ec = "ecparam -genkey -name prime256v1".split(' ');
        check(&ec.collect::<Vec<_>>(), "EC PRIVATE KEY");
        let ec = "ecparam -noout -genkey -name secp384r1".split(' ');
        check(&ec.collect::<Vec<_>>(), "EC PRIVATE KEY");
        let rsa = "genrsa -traditional 2048".split(' ');
        check(&rsa.collect::<Vec<_>>(), "RSA PRIVATE KEY");
        let rsa = "genrsa 2048".split(' ');
        check(&rsa.collect::<Vec<_>>(), "BEGIN PRIVATE KEY");
        let p521 = "ecparam -noout -genkey -name secp521r1".split(' ');
        check(&p521.collect::<Vec<_>>(), "EC PRIVATE KEY");
        let p521 = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521".split(' ');
        check(&p521.collect::<Vec<_>>(), "BEGIN PRIVATE KEY");
        let short = "genrsa 1024".split(' ');
        check(&short.collect::<Vec<_>>(), "BEGIN PRIVATE KEY");
        let ed = "genpkey -algorithm ed25519".split(' ');
        check(&ed.collect::<Vec<_>>(), "BEGIN PRIVATE KEY");
    }

    #[test]
    fn what_is_no_key_is_none() {
        for text in [
            "",
            "hello",
            "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n",
        ] {
            assert!(read(&Secret::new(text)).is_none(), "{text}");
        }
    }
}
