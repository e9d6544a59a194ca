//! Who a certificate is taken for.

use crate::fixture::pki::{Identity, spiffe};
use crate::fixture::{Gate, Setup, Upstream};
use rcgen::{DnType, ExtendedKeyUsagePurpose, SanType};

const LAST: &str = "  - {spiffe: spiffe://test.example/outsider, roles: [outsider]}\n";
const MORE: &str = "  - {spiffe: spiffe://test.example/outsider, roles: [outsider]}
  - {dns: Desk.Test.Example, roles: [desk]}
  - {subject: \"CN=billing,O=Clinic,C=US\", roles: [billing]}
";

/// `spiffe:` and `https:` are URIs, `DN=` parts of the subject, the rest DNS names.
fn certificate(gate: &Gate, names: &[&str]) -> Identity {
    gate.pki().issue(|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        for name in names {
            match name.split_once('=') {
                Some(("C", value)) => params.distinguished_name.push(DnType::CountryName, value),
                Some(("O", value)) => params.distinguished_name.push(DnType::OrganizationName, value),
                Some(("CN", value)) => params.distinguished_name.push(DnType::CommonName, value),
                Some(_) => panic!("{name}"),
                None if name.contains(':') => params.subject_alt_names.push(spiffe(name)),
                None => params.subject_alt_names.push(SanType::DnsName((*name).try_into().unwrap())),
            }
        }
    })
}

#[tokio::test]
async fn a_certificate_is_one_principal_or_nobody() {
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr()).replace(LAST, MORE).start();
    let spiffe = "spiffe://test.example/clinician";
    for (names, principal, role) in [
        (&[spiffe][..], Some(spiffe), Some("clinician")),
        (&[spiffe, "desk.test.example"], Some(spiffe), Some("clinician")),
        (&[spiffe, "a.example", "b.example"], Some(spiffe), Some("clinician")),
        (&[spiffe, "C=US", "O=Clinic", "CN=billing"], Some(spiffe), Some("clinician")),
        (&["desk.test.example"], Some("dns:desk.test.example"), Some("desk")),
        (&["DESK.test.example"], Some("dns:desk.test.example"), Some("desk")),
        (&["desk.test.example", "C=US", "O=Clinic", "CN=billing"], Some("dns:desk.test.example"), Some("desk")),
        (&["https://test.example/", "desk.test.example"], Some("dns:desk.test.example"), Some("desk")),
        (&["C=US", "O=Clinic", "CN=billing"], Some("subject:CN=billing,O=Clinic,C=US"), Some("billing")),
        // Good certificates of somebody whom the config does not know.
        (&["spiffe://test.example/nobody"], Some("spiffe://test.example/nobody"), None),
        (&["spiffe://other.example/clinician"], Some("spiffe://other.example/clinician"), None),
        (&["spiffe://test.example/clinician/x"], Some("spiffe://test.example/clinician/x"), None),
        (&["x.desk.test.example"], Some("dns:x.desk.test.example"), None),
        (&["CN=billing"], Some("subject:CN=billing"), None),
        (&["C=US", "CN=billing", "O=Clinic"], Some("subject:O=Clinic,CN=billing,C=US"), None),
        (&["C=US", "CN=billing,O=Clinic"], Some("subject:CN=billing\\,O\\=Clinic,C=US"), None),
        (&["CN=billing,O=Clinic,C=US"], Some("subject:CN=billing\\,O\\=Clinic\\,C\\=US"), None),
        // A SPIFFE id is no subject and no DNS name, even if it is spelt like one.
        (&["CN=spiffe://test.example/clinician"], Some("subject:CN=spiffe://test.example/clinician"), None),
        (&["CN=desk.test.example"], Some("subject:CN=desk.test.example"), None),
        // Ambiguous, or nobody.
        (&[spiffe, "spiffe://test.example/billing"], None, None),
        (&[spiffe, "https://test.example/"], None, None),
        (&["https://test.example/", spiffe, "desk.test.example"], None, None),
        (&["desk.test.example", "other.example"], None, None),
        (&["desk.test.example", "desk.test.example"], None, None),
        (&["spiffe://Test.Example/clinician", "desk.test.example"], None, None),
        (&["spiffe://test.example/clinician/", "desk.test.example"], None, None),
        (&["spiffe://test.example/../clinician"], None, None),
        (&[], None, None),
    ] {
        let client = gate.with(Some(certificate(&gate, names)));
        let reply = client.get("/open/x").await;
        let event = gate.events().pop().unwrap();
        assert_eq!(event["principal"].as_str(), principal, "{names:?}");
        match role {
            Some(role) => {
                assert_eq!(reply.status, 404, "the upstream's: {names:?}");
                assert_eq!(event["roles"], serde_json::json!([role]), "{names:?}");
                upstream.take_only();
            }
            None => {
                reply.expect_problem(403, "principal_unknown");
                assert_eq!((&event["event"], &event["code"]), (&"ExchangeRefused".into(), &"principal_unknown".into()));
                upstream.expect_nothing();
            }
        }
    }
}
