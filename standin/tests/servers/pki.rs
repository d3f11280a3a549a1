//! Certificates and kubeconfigs for a cluster of one.

use std::path::{Path, PathBuf};

use fs_err as fs;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

pub(crate) use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};

/// An authority, and the directory it leaves its files in.
pub(crate) struct Authority {
    dir: PathBuf,
    name: &'static str,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// Makes one and writes `<name>.pem`.
    pub(crate) fn new(dir: &Path, name: &'static str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        fs::write(dir.join(format!("{name}.pem")), issuer.pem()).unwrap();
        Self {
            dir: dir.to_owned(),
            name,
            issuer,
        }
    }

    /// Writes `<file>.pem` and `<file>.key` for a subject, good for these uses on loopback.
    pub(crate) fn issue(
        &self,
        file: &str,
        (name, group): (&str, &str),
        uses: &[ExtendedKeyUsagePurpose],
    ) {
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        if !group.is_empty() {
            params
                .distinguished_name
                .push(DnType::OrganizationName, group);
        }
        params.extended_key_usages = uses.to_vec();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.dir.join(format!("{file}.pem")), certificate.pem()).unwrap();
        fs::write(self.dir.join(format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    /// Writes `<file>.kubeconfig`, which speaks as `<user>.pem` and trusts this authority.
    pub(crate) fn kubeconfig(&self, file: &str, user: &str, port: u16) {
        let (dir, ca) = (self.dir.display(), self.name);
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: it\n\
             clusters: [{{name: c, cluster: {{server: \"https://127.0.0.1:{port}\", \
             certificate-authority: {dir}/{ca}.pem}}}}]\n\
             users: [{{name: u, user: {{client-certificate: {dir}/{user}.pem, \
             client-key: {dir}/{user}.key}}}}]\n\
             contexts: [{{name: it, context: {{cluster: c, user: u}}}}]\n"
        );
        fs::write(self.dir.join(format!("{file}.kubeconfig")), text).unwrap();
    }
}

/// Writes a service-account pair, `<file>.key` and `<file>.pub`.
pub(crate) fn service_account(dir: &Path, file: &str) {
    let key = KeyPair::generate().unwrap();
    fs::write(dir.join(format!("{file}.key")), key.serialize_pem()).unwrap();
    fs::write(dir.join(format!("{file}.pub")), key.public_key_pem()).unwrap();
}
