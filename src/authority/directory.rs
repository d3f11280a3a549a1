//! What a directory holds that cfssl, kubeadm or somebody's hands filled: authorities, leaves and
//! a service-account pair, known by what they are; a file's name only decides between equals.

mod role;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::PublicKeyData;
use x509_parser::pem::Pem;
use zeroize::Zeroizing;

use super::Error;
use crate::certificate::check::{About, Finding, Flaw};
use crate::certificate::describe::{certificates, is_signed_by, public_key};
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
    /// The DER of each public key that lies there by itself.
    public_keys: Vec<Vec<u8>>,
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
}

/// An authority that was found.
#[derive(Debug, Clone)]
pub(super) struct FoundAuthority {
    /// Its certificate, then those above it.
    pub(super) pem: String,
    /// Its key, where it is there.
    pub(super) key: Option<Secret>,
}

impl Directory {
    /// Reads a directory.
    pub(super) fn read(root: &Path) -> Result<Self, Error> {
        let mut directory = Self::default();
        let mut waiting = vec![(root.to_owned(), 0)];
        let mut count = 0;
        while let Some((at, depth)) = waiting.pop() {
            let mut entries: Vec<_> = fs_err::read_dir(&at)?.collect::<Result<_, _>>()?;
            entries.sort_by_key(fs_err::DirEntry::file_name);
            for entry in entries {
                let path = entry.path();
                let metadata = fs_err::metadata(&path)?;
                if metadata.is_dir() && depth < DEPTH_MAX {
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
                    let name = path.strip_prefix(root).unwrap_or(&path).to_owned();
                    directory.file(&path, name, metadata.permissions().mode())?;
                }
            }
        }
        Ok(directory)
    }

    fn file(&mut self, path: &Path, name: PathBuf, mode: u32) -> Result<(), Error> {
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
        if let Some(pair) = key::read(&pem) {
            self.keys.push(FoundKey {
                path: name,
                pem,
                public: pair.subject_public_key_info(),
                mode: mode & 0o777,
            });
        }
        let blocks = Pem::iter_from_buffer(text.as_bytes()).filter_map(Result::ok);
        let public = blocks.filter(|block| block.label == "PUBLIC KEY");
        self.public_keys.extend(public.map(|block| block.contents));
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
        let key = self.key(&found.public);
        Some(Leaf {
            chain_pem: found.pem.clone(),
            key_pem: key.map_or_else(|| Secret::new(""), |key| key.pem.clone()),
            dated: found.description.not_before,
            not_before: found.description.not_before,
            not_after: found.description.not_after,
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
        let votes = |authority: &Found| {
            let signed = leaves
                .iter()
                .filter(|leaf| is_signed_by(&leaf.chain_pem, &authority.pem) == Ok(true));
            signed.count()
        };
        let scored = self.authorities.iter().filter_map(|authority| {
            let hint = role::authority_hint(name, &authority.path, &authority.description);
            let score = (votes(authority), hint, authority.description.not_after);
            (score.0 > 0 || score.1 > 0).then_some((score, authority))
        });
        let (_, found) = scored.max_by_key(|(score, _)| *score)?;
        Some(FoundAuthority {
            pem: self.with_parents(found),
            key: self.key(&found.public).map(|key| key.pem.clone()),
        })
    }

    /// An authority's certificate and those above it, as far as they are there.
    fn with_parents(&self, found: &Found) -> String {
        let mut pem = found.pem.clone();
        let mut at = found;
        for _ in 0..DEPTH_MAX {
            let parent = self.authorities.iter().find(|parent| {
                parent.public != at.public && is_signed_by(&at.pem, &parent.pem) == Ok(true)
            });
            let Some(parent) = parent else { break };
            pem.push_str(&parent.pem);
            at = parent;
        }
        pem
    }

    /// The key that tokens are signed with: one whose public half lies there by itself, or that
    /// is called so.
    pub(super) fn service_account(&self) -> Option<Secret> {
        let is_alone = |key: &&FoundKey| self.public_keys.contains(&key.public);
        let is_called = |key: &&FoundKey| {
            let certified = self.certificates.iter().any(|found| {
                found.public == key.public
                    && role::is_service_account(&found.path, &found.description)
            });
            certified || role::is_service_account_file(&key.path)
        };
        let found = self.keys.iter().find(is_alone);
        let found = found.or_else(|| self.keys.iter().find(is_called));
        found.map(|key| key.pem.clone())
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
