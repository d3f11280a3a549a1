//! What a directory holds that cfssl, kubeadm or somebody's hands filled: authorities, leaves and
//! a service-account pair, known by what they are; a file's name only decides between equals.

mod role;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use x509_parser::pem::Pem;
use zeroize::Zeroizing;

use super::Error;
use crate::certificate::check::{About, Finding, Flaw};
use crate::certificate::describe::{certificates, is_signed_by, key_of, public_key};
use crate::certificate::{AuthorityName, CertificateId, Description, Leaf, Request, describe, key};
use crate::secret::Secret;

/// Directories below the one that is named: kubeadm's `etcd/`, one a set.
const DEPTH_MAX: usize = 3;
/// More than any cluster of this kind needs.
const FILES_MAX: usize = 5000;
/// A certificate or a key is a few kilobytes; larger files are something else.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What was found.
#[derive(Debug, Clone, Default)]
pub(super) struct Directory {
    certificates: Vec<Found>,
    authorities: Vec<Found>,
    keys: Vec<FoundKey>,
    /// The DER of the public keys that lie there by themselves, those of each file together.
    public_keys: Vec<Vec<Vec<u8>>>,
    /// What could not be read, with why. It stops nothing that does not need it.
    unreadable: Vec<Finding>,
}

/// A file with a certificate.
#[derive(Debug, Clone)]
struct Found {
    /// Below the directory.
    path: PathBuf,
    pem: String,
    description: Description,
    public: Vec<u8>,
}

/// A private key.
#[derive(Debug, Clone)]
struct FoundKey {
    path: PathBuf,
    pem: Secret,
    public: Vec<u8>,
    mode: u32,
    /// Whether kinstall itself can sign with it.
    can_sign: bool,
}

/// An authority that was found.
#[derive(Debug, Clone)]
pub(super) struct FoundAuthority {
    /// Every certificate of its file, then those above it.
    pub(super) pem: String,
    /// The one of them that signs: the one whose key is there, else the first.
    pub(super) signing_pem: String,
    /// Its key, where it is there.
    pub(super) key: Option<Secret>,
}

/// The service-account pair that was found.
#[derive(Debug, Clone)]
pub(super) struct FoundServiceAccount {
    /// What tokens are signed with.
    pub(super) private_pem: Secret,
    /// Every key that they are believed by, its own first.
    pub(super) public_pem: String,
}

impl Directory {
    /// Reads a directory.
    pub(super) fn read(root: &Path) -> Result<Self, Error> {
        let mut directory = Self::default();
        let mut waiting = vec![(root.to_owned(), 0)];
        let mut count = 0;
        while let Some((at, depth)) = waiting.pop() {
            let name = |path: &Path| path.strip_prefix(root).unwrap_or(path).to_owned();
            let mut entries = match list(&at) {
                Ok(entries) => entries,
                Err(error) if depth > 0 => {
                    directory.unreadable(&name(&at), io_reason(&error));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            entries.sort();
            for path in entries {
                let metadata = match fs_err::metadata(&path) {
                    Ok(metadata) => metadata,
                    Err(error) => {
                        directory.unreadable(&name(&path), link_reason(&path, &error));
                        continue;
                    }
                };
                if metadata.is_dir() && depth < DEPTH_MAX {
                    if role::is_called_as_file(&path) {
                        let why = "is a directory, where a file was to be expected".to_owned();
                        directory.unreadable(&name(&path), why);
                    }
                    waiting.push((path, depth + 1));
                } else if metadata.is_file() && metadata.len() <= FILE_BYTES_MAX {
                    count += 1;
                    if count > FILES_MAX {
                        let path = root.to_owned();
                        return Err(Error::TooManyFiles {
                            path,
                            files_max: FILES_MAX,
                        });
                    }
                    let mode = metadata.permissions().mode();
                    if let Err(error) = directory.file(&path, name(&path), mode) {
                        directory.unreadable(&name(&path), io_reason(&error));
                    }
                } else if !metadata.is_file() && role::is_called_as_file(&path) {
                    directory.unreadable(&name(&path), "is not a file".to_owned());
                }
            }
        }
        Ok(directory)
    }

    fn unreadable(&mut self, path: &Path, why: String) {
        let about = About::File(path.display().to_string());
        let flaw = Flaw::Unreadable { why };
        self.unreadable.push(Finding { about, flaw });
    }

    /// The file of an authority that holds such a certificate.
    pub(super) fn file_of(&self, is_it: impl Fn(&str) -> bool + Copy) -> PathBuf {
        let mut all = self.authorities.iter();
        let found = all.find(|found| certificates(&found.pem).into_iter().any(is_it));
        found.map(|found| found.path.clone()).unwrap_or_default()
    }

    /// What could not be read.
    pub(super) fn remarks(&self) -> &[Finding] {
        &self.unreadable
    }

    /// What could not be read, and the keys of authorities that cannot be signed with.
    pub(super) fn why_not_signed(&self) -> Vec<Finding> {
        let of_authority = self.keys.iter().filter(|key| {
            let mut all = self.authorities.iter();
            !key.can_sign && all.any(|found| found.certificate_of(&key.public).is_some())
        });
        let finding = |key: &FoundKey| {
            let kind = key_of(&key.public).unwrap_or_default();
            Finding {
                about: About::File(key.path.display().to_string()),
                flaw: Flaw::Unreadable {
                    why: format!("is a key ({kind}) that kinstall cannot sign with"),
                },
            }
        };
        let unreadable = self.unreadable.iter().cloned();
        unreadable.chain(of_authority.map(finding)).collect()
    }

    fn file(&mut self, path: &Path, name: PathBuf, mode: u32) -> io::Result<()> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(8192));
        let file = fs_err::File::open(path)?;
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        let Ok(text) = std::str::from_utf8(&bytes) else {
            return Ok(());
        };
        if !text.contains("-----BEGIN ") {
            return Ok(());
        }
        let pems = certificates(text);
        if let Some(first) = pems.first()
            && let (Ok(description), Ok(public)) = (describe(first), public_key(first))
        {
            let found = Found {
                pem: pems
                    .iter()
                    .fold(String::new(), |text, pem| text + pem + "\n"),
                path: name.clone(),
                public,
                description,
            };
            if found.description.is_authority {
                self.authorities.push(found);
            } else {
                self.certificates.push(found);
            }
        }
        let pem = Secret::new(text);
        if let Some(why) = key::unusable(&pem, &path.display().to_string()) {
            self.unreadable(&name, why);
        } else if let Some(public) = key::public_of(&pem) {
            self.keys.push(FoundKey {
                path: name,
                can_sign: key::read(&pem).is_some(),
                pem,
                public,
                mode: mode & 0o777,
            });
        }
        let blocks = Pem::iter_from_buffer(text.as_bytes()).filter_map(Result::ok);
        let public = blocks.filter(|block| block.label == "PUBLIC KEY");
        let public: Vec<_> = public.map(|block| block.contents).collect();
        if !public.is_empty() {
            self.public_keys.push(public);
        }
        Ok(())
    }

    /// The certificate that is meant for a request, right or wrong, if there is one.
    pub(super) fn leaf(&self, request: &Request) -> Option<Leaf> {
        let scored = self.certificates.iter().filter_map(|found| {
            let score = role::score(request, &found.path, &found.description)?;
            // One with its key at hand, and of two the one that lasts longer.
            let has_key = self.key(&found.public).is_some();
            Some(((score, has_key, found.description.not_after), found))
        });
        let (_, found) = scored.max_by_key(|(score, _)| *score)?;
        // A certificate that nothing but its names speaks for, and that would not do, is not meant.
        let is_guess = role::is_guess(request, &found.path, &found.description);
        if is_guess && !role::would_do(request, &found.description) && self.can_sign() {
            return None;
        }
        let key = self.key(&found.public);
        Some(Leaf {
            chain_pem: found.pem.clone(),
            key_pem: key.map_or_else(|| Secret::new(""), |key| key.pem.clone()),
            dated: found.description.not_before,
            not_before: found.description.not_before,
            not_after: found.description.not_after,
        })
    }

    /// Whether there is an authority whose key is there to sign with.
    fn can_sign(&self) -> bool {
        let mut keys = self.keys.iter().filter(|key| key.can_sign);
        keys.any(|key| {
            let mut all = self.authorities.iter();
            all.any(|found| found.certificate_of(&key.public).is_some())
        })
    }

    /// The authority that signed the certificates found for these requests, else the one that its
    /// name says.
    pub(super) fn authority(
        &self,
        name: AuthorityName,
        requests: &[Request],
    ) -> Option<FoundAuthority> {
        let leaves = requests.iter().filter(|request| request.signer == name);
        let leaves: Vec<Leaf> = leaves.filter_map(|request| self.leaf(request)).collect();
        let votes = |pem: &str| {
            let signed = leaves
                .iter()
                .filter(|leaf| is_signed_by(&leaf.chain_pem, pem) == Ok(true));
            signed.count()
        };
        let scored = self.authorities.iter().filter_map(|authority| {
            let hint = role::authority_hint(name, &authority.path, &authority.description);
            let all = certificates(&authority.pem);
            let voted: usize = all.into_iter().map(votes).sum();
            let score = (voted, hint, authority.description.not_after);
            (score.0 > 0 || score.1 > 0).then_some((score, authority))
        });
        let (_, found) = scored.max_by_key(|(score, _)| *score)?;
        // Of several in a file the one whose key is there signs.
        let all = certificates(&found.pem).into_iter();
        let signing = all.filter_map(|pem| {
            let key = self.key(&public_key(pem).ok()?)?;
            let end = describe(pem).ok()?.not_after;
            Some(((key.can_sign, votes(pem), end), pem, key))
        });
        let signing = signing.max_by_key(|(score, ..)| *score);
        let first = || {
            certificates(&found.pem)
                .first()
                .copied()
                .unwrap_or_default()
        };
        let signing_pem = signing.as_ref().map_or_else(first, |(_, pem, _)| *pem);
        Some(FoundAuthority {
            pem: self.with_parents(&found.pem, signing_pem),
            signing_pem: signing_pem.to_owned(),
            key: signing.map(|(_, _, key)| key.pem.clone()),
        })
    }

    /// The certificates of an authority's file, and those above the one that signs, as far as they are
    /// there.
    fn with_parents(&self, bundle: &str, signing_pem: &str) -> String {
        let mut bundle = bundle.to_owned();
        let mut at = signing_pem.to_owned();
        for _ in 0..DEPTH_MAX {
            let all = self.authorities.iter();
            let mut all = all.flat_map(|found| certificates(&found.pem));
            let is_above = |pem: &&str| {
                public_key(pem) != public_key(&at) && is_signed_by(&at, pem) == Ok(true)
            };
            let Some(parent) = all.find(is_above) else {
                break;
            };
            if !bundle.contains(parent) {
                bundle.push_str(parent);
                bundle.push('\n');
            }
            parent.clone_into(&mut at);
        }
        bundle
    }

    /// The key that tokens are signed with: one whose public half lies there by itself, or that
    /// is called so.
    pub(super) fn service_account(&self) -> Option<FoundServiceAccount> {
        let file_of = |key: &FoundKey| {
            let mut files = self.public_keys.iter();
            files.find(|file| file.contains(&key.public))
        };
        let is_called = |key: &&FoundKey| {
            let certified = self.certificates.iter().any(|found| {
                found.public == key.public
                    && role::is_service_account(&found.path, &found.description)
            });
            certified || role::is_service_account_file(&key.path)
        };
        let found = self.keys.iter().find(|key| file_of(key).is_some());
        let found = found.or_else(|| self.keys.iter().find(is_called))?;
        // Tokens of a key that was exchanged are believed as long as its public half lies there.
        let others = file_of(found).into_iter().flatten();
        let others = others.filter(|public| **public != found.public);
        let all = std::iter::once(&found.public).chain(others);
        Some(FoundServiceAccount {
            private_pem: found.pem.clone(),
            public_pem: all.map(|public| key::public_pem(public)).collect(),
        })
    }

    /// Keys that others than their owner may read.
    pub(super) fn open_keys(&self, ids: &BTreeMap<CertificateId, Leaf>) -> Vec<Finding> {
        let open = self.keys.iter().filter(|key| key.mode & 0o077 != 0);
        let finding = |key: &FoundKey| {
            let user = ids.iter().find(|(_, leaf)| leaf.key_pem == key.pem);
            let flaw = Flaw::OpenKey {
                path: key.path.display().to_string(),
                mode: key.mode,
            };
            let about = user.map_or(About::ServiceAccount, |(id, _)| {
                About::Certificate(id.clone())
            });
            let is_known = user.is_some() || role::is_service_account_file(&key.path);
            is_known.then_some(Finding { about, flaw })
        };
        open.filter_map(finding).collect()
    }

    fn key(&self, public: &[u8]) -> Option<&FoundKey> {
        self.keys.iter().find(|key| key.public == public)
    }
}

impl Found {
    /// The certificate of its file that has this public key.
    fn certificate_of(&self, public: &[u8]) -> Option<&str> {
        let mut all = certificates(&self.pem).into_iter();
        all.find(|pem| public_key(pem).is_ok_and(|own| own == public))
    }
}

fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs_err::read_dir(directory)?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// Why a path leads to nothing.
fn link_reason(path: &Path, error: &io::Error) -> String {
    match fs_err::read_link(path) {
        Ok(target) if error.kind() == io::ErrorKind::NotFound => {
            format!("is a link to `{}`, which is not there", target.display())
        }
        _ => io_reason(error),
    }
}

fn io_reason(error: &io::Error) -> String {
    format!("cannot be read: {}", error.kind())
}
