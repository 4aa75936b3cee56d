//! `madang certs`: an authority and a certificate for each service, for development, tests and small deployments. Its key
//! lies in the folder beside them, where whoever reads it is everybody; cert-manager and SPIRE keep theirs better.

use anyhow::{Context as _, bail, ensure};
use madang_mesh::identity;
use madang_proto::access::Service;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::{
    fs::{self, File, Permissions},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// The authority's certificate.
pub const CA: &str = "ca.crt";
/// Its key.
const CA_KEY: &str = "ca.key";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// For how many days the authority is good.
const YEARS: u32 = 3650;

/// What `madang certs` is told.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Where they are put: ca.crt and ca.key, and SERVICE.crt and SERVICE.key of each service.
    #[arg(long, default_value = "./certs")]
    pub folder: PathBuf,
    /// The domain in their SPIFFE ids, spiffe://DOMAIN/madang/SERVICE.
    #[arg(long, default_value = "madang.test")]
    pub trust_domain: String,
    /// Other services that may call, each known as spiffe://DOMAIN/service/NAME; separated by commas.
    #[arg(long, value_delimiter = ',')]
    pub service: Vec<String>,
    /// For how many days they are good; the authority is for ten years.
    #[arg(long, default_value_t = 90)]
    pub days: u32,
    /// Make those of the services anew, by the authority that is there; running services take them up by themselves.
    #[arg(long)]
    pub renew: bool,
}

/// Who signs.
pub struct Authority {
    domain: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, PEM.
pub struct Pair {
    /// The certificate.
    pub cert: String,
    /// The key.
    pub key: String,
}

/// Makes them.
pub fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(args.days > 0, "--days must be at least 1");
    for name in &args.service {
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        ensure!(!name.is_empty() && name.bytes().all(fine), "--service {name}: letters, digits, - _ . alone");
        ensure!(Service::ALL.iter().all(|own| own.name() != name), "--service {name} is one of Madang's own");
    }
    let folder = &args.folder;
    fs::create_dir_all(folder).with_context(|| format!("can't write to {}", folder.display()))?;
    let there = folder.join(CA).exists() || folder.join(CA_KEY).exists();
    if there && !args.renew {
        bail!("{} has an authority already: --renew makes the services' certificates anew by it", folder.display());
    }
    let authority = if there { Authority::open(folder)? } else { Authority::create(folder, &args.trust_domain)? };
    let ends = SystemTime::now() + DAY * args.days;
    for service in Service::ALL {
        authority.certify(&format!("madang/{}", service.name()), ends)?.write(folder, service.name())?;
    }
    for name in &args.service {
        authority.certify(&format!("service/{name}"), ends)?.write(folder, name)?;
    }
    Ok(())
}

/// Makes or renews those of all services in a folder of a folder; gives that one.
pub fn make(folder: &Path) -> anyhow::Result<PathBuf> {
    // Services are told of it wherever they run.
    let folder = std::path::absolute(folder)?.join("certs");
    let args = Args { folder, trust_domain: "madang.test".into(), service: Vec::new(), days: 90, renew: true };
    run(&args)?;
    Ok(args.folder)
}

impl Authority {
    /// A new one.
    pub fn new(domain: &str) -> anyhow::Result<(Self, Pair)> {
        let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        ensure!(!domain.is_empty() && domain.bytes().all(fine), "the trust domain must be of a-z, 0-9, - _ and .");
        let (key, params) = (KeyPair::generate()?, authority(domain)?);
        let pair = Pair { cert: params.self_signed(&key)?.pem(), key: key.serialize_pem() };
        Ok((Self { domain: domain.to_owned(), issuer: Issuer::new(params, key) }, pair))
    }

    fn create(folder: &Path, domain: &str) -> anyhow::Result<Self> {
        let (authority, pair) = Self::new(domain)?;
        pair.write(folder, "ca")?;
        Ok(authority)
    }

    fn open(folder: &Path) -> anyhow::Result<Self> {
        let (ca, key) = (folder.join(CA), folder.join(CA_KEY));
        let unreadable = |path: &Path| format!("can't read {}", path.display());
        let cert = CertificateDer::from_pem_file(&ca).with_context(|| unreadable(&ca))?;
        let key = KeyPair::from_pem(&fs::read_to_string(&key).with_context(|| unreadable(&key))?)?;
        let id = identity::id(&cert);
        let domain = id.as_deref().and_then(|id| id.strip_prefix("spiffe://")?.strip_suffix('/'));
        let domain = domain.with_context(|| format!("{} was not made by madang certs", ca.display()))?;
        Ok(Self { domain: domain.to_owned(), issuer: Issuer::new(authority(domain)?, key) })
    }

    /// A certificate of `spiffe://DOMAIN/PATH`.
    pub fn certify(&self, path: &str, ends: SystemTime) -> anyhow::Result<Pair> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name = named(path);
        params.subject_alt_names = vec![SanType::URI(format!("spiffe://{}/{path}", self.domain).try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        // Clocks differ.
        params.not_before = (SystemTime::now().min(ends) - DAY).into();
        params.not_after = ends.into();
        let key = KeyPair::generate()?;
        Ok(Pair { cert: params.signed_by(&key, &self.issuer)?.pem(), key: key.serialize_pem() })
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

fn authority(domain: &str) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = named(&format!("Madang's authority of {domain}"));
    params.subject_alt_names = vec![SanType::URI(format!("spiffe://{domain}/").try_into()?)];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (SystemTime::now() - DAY).into();
    params.not_after = (SystemTime::now() + DAY * YEARS).into();
    Ok(params)
}

impl Pair {
    /// Puts NAME.crt and NAME.key into a folder, the key for its owner alone; each is old or new and never half.
    pub fn write(&self, folder: &Path, name: &str) -> anyhow::Result<()> {
        for (kind, text, mode) in [("key", &self.key, 0o600), ("crt", &self.cert, 0o644)] {
            let new = folder.join(format!(".{name}.{kind}.new"));
            let mut file = File::create(&new)?;
            file.set_permissions(Permissions::from_mode(mode))?;
            file.write_all(text.as_bytes())?;
            fs::rename(new, folder.join(format!("{name}.{kind}")))?;
        }
        Ok(())
    }
}

/// Where a service is told that its certificates are.
#[must_use]
pub fn variables(folder: &Path, service: &str) -> [(String, String); 3] {
    let path = |name: String| folder.join(name).to_string_lossy().into_owned();
    [
        ("MADANG_TLS_CERT".into(), path(format!("{service}.crt"))),
        ("MADANG_TLS_KEY".into(), path(format!("{service}.key"))),
        ("MADANG_TLS_CA".into(), path(CA.into())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays_and_is_renewed_by_the_same_authority() {
        let folder = tempfile::tempdir().unwrap();
        let renew = |renew, domain: &str| {
            let service = vec!["bot".to_owned()];
            let folder = folder.path().join("certs");
            run(&Args { folder, trust_domain: domain.into(), service, days: 1, renew })
        };
        let read = |name: &str| fs::read(folder.path().join("certs").join(name)).unwrap();
        renew(false, "one.test").unwrap();
        let (ca, chat) = (read(CA), read("chat.crt"));
        assert!(renew(false, "one.test").unwrap_err().to_string().contains("--renew"));
        assert_eq!(read("chat.crt"), chat);
        renew(true, "other.test").unwrap();
        assert_eq!(read(CA), ca);
        assert_ne!(read("chat.crt"), chat);
        for (name, id) in [("chat", "spiffe://one.test/madang/chat"), ("bot", "spiffe://one.test/service/bot")] {
            let cert = CertificateDer::from_pem_slice(&read(&format!("{name}.crt"))).unwrap();
            assert_eq!(identity::id(&cert).as_deref(), Some(id));
            let key = folder.path().join("certs").join(format!("{name}.key"));
            assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert!(renew(false, "Not A Domain").is_err());
    }
}
