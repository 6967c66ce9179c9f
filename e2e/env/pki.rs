//! One certificate authority for an environment, a server and an admin certificate, and the service-account key.
//!
//! All clusters of an environment share them: a kubeconfig that leads to another cluster is then told apart by that
//! cluster's identity alone, which is the hard case.

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use std::fs;
use std::path::{Path, PathBuf};

/// Files on disk.
#[derive(Clone, Debug)]
pub struct Pki {
    pub ca_cert: PathBuf,
    pub server_cert: PathBuf,
    pub server_key: PathBuf,
    pub admin_cert: PathBuf,
    pub admin_key: PathBuf,
    /// Of a hub: in the group that has what `kro-hub rbac` prints, and no other right.
    pub hub_cert: PathBuf,
    pub hub_key: PathBuf,
    pub service_account_key: PathBuf,
    pub service_account_public: PathBuf,
}

impl Pki {
    /// The files in `dir`, written at the first call.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn open(dir: &Path) -> Result<Self> {
        let pki = Self {
            ca_cert: dir.join("ca.crt"),
            server_cert: dir.join("server.crt"),
            server_key: dir.join("server.key"),
            admin_cert: dir.join("admin.crt"),
            admin_key: dir.join("admin.key"),
            hub_cert: dir.join("hub.crt"),
            hub_key: dir.join("hub.key"),
            service_account_key: dir.join("service-account.key"),
            service_account_public: dir.join("service-account.pub"),
        };
        let complete = dir.join("written");
        if !complete.is_file() {
            fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
            pki.write().context("cannot create the certificates")?;
            fs::write(&complete, "")?;
        }
        Ok(pki)
    }

    fn write(&self) -> Result<()> {
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name.push(DnType::CommonName, "kro-hub test environment");
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca_key = KeyPair::generate()?;
        fs::write(&self.ca_cert, ca.self_signed(&ca_key)?.pem())?;
        let issuer = Issuer::new(ca, ca_key);

        let names = [
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "127.0.0.1",
            "10.96.0.1",
        ];
        let mut server = CertificateParams::new(names.map(str::to_owned).to_vec())?;
        server.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        sign(server, &issuer, &self.server_cert, &self.server_key)?;

        let clients = [
            ("admin", "system:masters", &self.admin_cert, &self.admin_key),
            ("kro-hub", super::rights::GROUP, &self.hub_cert, &self.hub_key),
        ];
        for (name, group, cert, key) in clients {
            let mut client = CertificateParams::new(Vec::new())?;
            client.distinguished_name.push(DnType::CommonName, name);
            client.distinguished_name.push(DnType::OrganizationName, group);
            client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            sign(client, &issuer, cert, key)?;
        }

        let accounts = KeyPair::generate()?;
        write_private(&self.service_account_key, &accounts.serialize_pem())?;
        fs::write(&self.service_account_public, accounts.public_key_pem())?;
        Ok(())
    }
}

fn sign(mut params: CertificateParams, issuer: &Issuer<'_, KeyPair>, cert: &Path, key: &Path) -> Result<()> {
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let pair = KeyPair::generate()?;
    fs::write(cert, params.signed_by(&pair, issuer)?.pem())?;
    write_private(key, &pair.serialize_pem())
}

/// Readable by the owner alone.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(text.as_bytes())?;
    Ok(())
}
