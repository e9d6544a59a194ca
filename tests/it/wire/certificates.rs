//! Client certificates that nobody gets in with, over both versions of TLS: the handshake ends with an alert, nothing is sent
//! upstream, and somebody with a good one is served.

mod rsa;

use super::Stage;
use crate::edge::{expect_refusals, rest};
use crate::fixture::pki::{Identity, Pki, self_signed, spiffe};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    KeyUsagePurpose, NameConstraints, SanType, date_time_ymd,
};
use rustls::SupportedProtocolVersion;
use rustls::crypto::aws_lc_rs;
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;

const BOTH: [&[&SupportedProtocolVersion]; 2] = [&[&TLS12], &[&TLS13]];
const GET: &str = "GET /open/attempt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// What a client shows, and signs with.
struct Shown {
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
}

impl Shown {
    fn of(identity: &Identity) -> Self {
        Self { chain: vec![identity.certificate.clone()], key: signing(&identity.key) }
    }

    /// With what is between the certificate and the gate's CA.
    fn through(mut self, authorities: &[&Pki]) -> Self {
        self.chain.extend(authorities.iter().map(|authority| authority.ca()));
        self
    }
}

fn signing(key: &PrivateKeyDer<'static>) -> Arc<dyn SigningKey> {
    aws_lc_rs::sign::any_supported_type(key).unwrap()
}

/// What it is, what is shown, and what the gate counts it as.
type Case = (&'static str, Option<Shown>, &'static str);

fn plain(params: &mut CertificateParams) {
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = vec![spiffe("spiffe://test.example/clinician")];
}

/// A good one but for this.
fn but(pki: &Pki, change: impl FnOnce(&mut CertificateParams)) -> Shown {
    Shown::of(&pki.issue(|params| {
        plain(params);
        change(params);
    }))
}

fn critical() -> Vec<CustomExtension> {
    let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
    extension.set_criticality(true);
    vec![extension]
}

const BAD: &str = "certificate_bad";
const EXPIRED: &str = "certificate_expired";
const UNKNOWN: &str = "certificate_of_unknown_ca";

fn leaves(pki: &Pki) -> Vec<Case> {
    let mut stolen = Shown::of(&pki.client("clinician"));
    stolen.key = signing(&pki.client("outsider").key);
    let small = pki.issue_for(&rsa::Small::public(), plain);
    vec![
        ("none", None, "no_certificate"),
        ("expired", Some(Shown::of(&pki.expired_client("clinician"))), EXPIRED),
        (
            "not yet valid",
            Some(but(pki, |params| {
                params.not_before = date_time_ymd(2200, 1, 1);
                params.not_after = date_time_ymd(2201, 1, 1);
            })),
            EXPIRED,
        ),
        ("self-signed", Some(Shown::of(&self_signed(plain))), UNKNOWN),
        ("another CA", Some(Shown::of(&Pki::new("another CA").client("clinician"))), UNKNOWN),
        ("a CA of the same name", Some(Shown::of(&Pki::new("test CA").client("clinician"))), BAD),
        (
            "for servers only",
            Some(but(pki, |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth])),
            BAD,
        ),
        ("the gate's own", Some(Shown::of(&pki.server())), BAD),
        (
            "a CA",
            Some(but(pki, |params| {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                params.key_usages.push(KeyUsagePurpose::KeyCertSign);
            })),
            BAD,
        ),
        (
            "an extension that is critical and unknown",
            Some(but(pki, |params| params.custom_extensions = critical())),
            BAD,
        ),
        (
            "not for signatures",
            Some(but(pki, |params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment])),
            BAD,
        ),
        ("somebody else's, with a key of one's own", Some(stolen), BAD),
        ("RSA of 1024 bits", Some(Shown { chain: vec![small], key: Arc::new(rsa::Small) }), BAD),
    ]
}

fn chains(pki: &Pki) -> Vec<Case> {
    let below = |pki: &Pki, name: &str, change: &dyn Fn(&mut CertificateParams)| pki.intermediate(name, change);
    let good = below(pki, "good", &|_| {});
    let expired = below(pki, "expired", &|params| {
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    let no_ca = below(pki, "no CA", &|params| params.is_ca = IsCa::ExplicitNoCa);
    let odd = below(pki, "odd", &|params| params.custom_extensions = critical());
    let servers =
        below(pki, "servers", &|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    let last = below(pki, "last", &|params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let one_more = below(&last, "one more", &|_| {});
    let named = below(pki, "named", &|params| {
        let permitted_subtrees = vec![GeneralSubtree::DnsName("clinic.example".to_owned())];
        params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
    });
    let dns = |name: &str| {
        let name = SanType::DnsName(name.try_into().unwrap());
        move |params: &mut CertificateParams| params.subject_alt_names = vec![name]
    };
    let through = |authority: &Pki| Some(but(authority, |_| {}).through(&[authority]));
    let own_key = Shown { chain: vec![good.ca()], key: signing(&good.key()) };
    vec![
        ("what is between is missing", Some(but(&good, |_| {})), UNKNOWN),
        ("what is between is expired", through(&expired), EXPIRED),
        ("what is between is no CA", through(&no_ca), BAD),
        ("what is between has an unknown extension", through(&odd), BAD),
        ("what is between is for servers", through(&servers), BAD),
        ("one more between than may be", Some(but(&one_more, |_| {}).through(&[&one_more, &last])), BAD),
        ("a name that the CA may not give", Some(but(&named, dns("other.example")).through(&[&named])), BAD),
        ("what is between, itself", Some(own_key), BAD),
        ("the wrong one between", Some(but(&good, |_| {}).through(&[&odd])), BAD),
    ]
}

/// Shows it, and asks for something as soon as it may. The gate's alert, if it gave one.
async fn alert(
    stage: &Stage,
    versions: &'static [&'static SupportedProtocolVersion],
    shown: Option<&Shown>,
) -> Option<String> {
    let client = stage.gate.with(None).over_tls(versions);
    let mut config = client.tls_config().unwrap();
    if let Some(Shown { chain, key }) = shown {
        let shown = CertifiedKey::new(chain.clone(), Arc::clone(key));
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(shown));
    }
    let mut tls = match client.tls_with(config).await {
        Ok(tls) => tls,
        Err(error) => return Some(error.to_string()),
    };
    // In TLS 1.3 the client is done before the gate has seen what it shows.
    let _written = tls.write_all(GET.as_bytes()).await;
    match tokio::io::AsyncReadExt::read(&mut tls, &mut [0]).await {
        Ok(_) => {
            rest(&mut tls).await;
            None
        }
        Err(error) => Some(error.to_string()),
    }
}

#[tokio::test]
async fn without_a_good_certificate_nobody_gets_past_the_handshake() {
    let mut stage = Stage::with(|setup| setup).await;
    let mut cases = leaves(stage.gate.pki());
    cases.extend(chains(stage.gate.pki()));
    let (mut counts, mut wrong) = (BTreeMap::<&str, u64>::new(), Vec::new());
    for (what, shown, reason) in &cases {
        for versions in BOTH {
            match alert(&stage, versions, shown.as_ref()).await {
                Some(error) if error.contains("alert") => {}
                other => wrong.push(format!("{what}: {other:?}")),
            }
            *counts.entry(reason).or_default() += 1;
        }
        stage.nothing_came_of(what).await;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    expect_refusals(&stage.gate, &counts.into_iter().collect::<Vec<_>>()).await;
}

/// What is refused above is refused for what is wrong with it.
#[tokio::test]
async fn a_good_certificate_gets_in_with_what_is_between() {
    let mut stage = Stage::with(|setup| setup).await;
    let pki = stage.gate.pki();
    let between = pki.intermediate("between", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        let permitted_subtrees = vec![GeneralSubtree::DnsName("clinic.example".to_owned())];
        params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
    });
    let lower = between.intermediate("lower", |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let good = [
        ("directly", but(pki, |_| {})),
        ("through one", but(&between, |_| {}).through(&[&between])),
        ("through two", but(&lower, |_| {}).through(&[&lower, &between])),
    ];
    for (what, shown) in &good {
        for versions in BOTH {
            assert_eq!(alert(&stage, versions, Some(shown)).await, None, "{what}");
            let seen = stage.aftermath(what).await;
            assert_eq!(seen.len(), 1, "{what}");
        }
    }
}
