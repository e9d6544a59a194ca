//! A throw-away PKI: a CA, the gate's certificate, three clients.

use super::{Failure, write_secret};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use std::path::Path;

/// Who gets a client certificate, for `spiffe://demo.example/NAME`.
pub(super) const CLIENTS: [&str; 3] = ["clinician", "billing", "support"];

/// Writes `ca.pem`, `server.pem`, `server.key`, and a `.pem` and `.key` for each client.
pub(super) fn write(folder: &Path) -> Result<(), Failure> {
    let mut params = named("sealgate demo CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    write_secret(&folder.join("ca.pem"), ca.pem().as_bytes())?;

    let mut params = named("sealgate demo");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.subject_alt_names =
        vec![SanType::DnsName("localhost".try_into()?), SanType::IpAddress([127, 0, 0, 1].into())];
    issue(folder, "server", params, &ca)?;
    for name in CLIENTS {
        let mut params = named(name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = vec![SanType::URI(format!("spiffe://demo.example/{name}").try_into()?)];
        issue(folder, name, params, &ca)?;
    }
    Ok(())
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn issue(
    folder: &Path,
    name: &str,
    mut params: CertificateParams,
    ca: &CertifiedIssuer<'_, KeyPair>,
) -> Result<(), Failure> {
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, ca)?;
    write_secret(&folder.join(format!("{name}.pem")), certificate.pem().as_bytes())?;
    write_secret(&folder.join(format!("{name}.key")), key.serialize_pem().as_bytes())?;
    Ok(())
}
