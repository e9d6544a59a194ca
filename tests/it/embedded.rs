//! A service that embeds the library, and a gate before another one: each opens what the other sealed.

use crate::fixture::moto::Moto;
use crate::fixture::{Setup, Upstream};
use data_encoding::BASE64;
use sealgate::document::path::FieldPath;
use sealgate::embed::{Error, Field, Fields, FieldsError, Keyring, Keys, Sealed};
use sealgate::seal::crypto::default_provider;
use sealgate::seal::local::LocalKek;
use sealgate::seal::{Class, Context, DataKey, EncryptedDataKey, EncryptionContext, KekTag, OpenError, Scope};
use serde_json::{Value, json};

const PATIENT: &str = "{ \"ssn\" : \"999-12-3456\",\r\n \"weight\":1.10, \"name\":[{\"family\":\"Châlmers\",\"given\":[\"Peter\",\"\",null]}], \"note\":{\"a\":[1,2.50]} }";

/// The rules of `gate.yaml`, as a service has them.
fn fields() -> Fields {
    let rules = [("$..ssn", "ssn"), ("$.name[*].family", "name"), ("$.name[*].given[*]", "name"), ("$.note", "note")];
    let field = |(path, class)| Field::random(FieldPath::parse(path).unwrap(), Class::parse(class).unwrap());
    Fields::compile(rules.map(field)).unwrap()
}

fn scope(name: &str) -> Scope {
    Scope::parse(name).unwrap()
}

/// The service has the KEK by `keyring`, the gate by its config.
async fn each_opens_what_the_other_sealed<K: Keyring>(setup: impl FnOnce(Setup) -> Setup, keyring: K) {
    let (upstream, fields, keys) = (Upstream::start(), fields(), Keys::new(keyring));
    let gate = setup(Setup::before(upstream.addr())).start();
    let clinician = gate.as_client("clinician");

    // What the gate sealed, the service opens: as a document, and field by field.
    let wrote = clinician.put("/Patient/1", PATIENT).await;
    assert_eq!(wrote.status, 200, "{}", wrote.text());
    let kept = upstream.take_only();
    assert!(!kept.text().contains("999-12"), "{}", kept.text());
    let opened = fields.open(&keys, scope("test"), &[], &kept.body).unwrap();
    assert_eq!(String::from_utf8(opened).unwrap(), PATIENT);
    let ssn: Sealed<String> = serde_json::from_value(kept.json()["ssn"].clone()).unwrap();
    let here = Context { class: Class::parse("ssn").unwrap(), scope: scope("test"), bind: &[] };
    assert_eq!(ssn.open(&keys, &here).unwrap(), "999-12-3456");

    // What the service sealed, the gate opens.
    let sealed = fields.seal(&keys, scope("test"), &[], PATIENT.as_bytes()).unwrap();
    upstream.keep("/Patient/2", sealed);
    let read = clinician.get("/Patient/2").await;
    assert_eq!((read.status.as_u16(), read.text()), (200, PATIENT.to_owned()));
    let masked = gate.as_client("billing").get("/Patient/2").await;
    assert_eq!(masked.json()["ssn"], "***-**-3456");
    let ssn = Sealed::seal(&keys, &here, &"888-12-3456".to_owned()).unwrap();
    upstream.keep("/Patient/3", json!({ "ssn": ssn }).to_string());
    assert_eq!(clinician.get("/Patient/3").await.json()["ssn"], "888-12-3456");

    // Of another scope or class, neither does.
    let elsewhere = fields.seal(&keys, scope("other"), &[], PATIENT.as_bytes()).unwrap();
    upstream.keep("/Patient/4", elsewhere);
    clinician.get("/Patient/4").await.expect_problem(502, "response_unopenable");
    let name = Context { class: Class::parse("name").unwrap(), ..here };
    let name = Sealed::seal(&keys, &name, &"Châlmers".to_owned()).unwrap();
    upstream.keep("/Patient/5", json!({ "ssn": name }).to_string());
    clinician.get("/Patient/5").await.expect_problem(502, "response_unopenable");
    let refused = fields.open(&keys, scope("other"), &[], &kept.body);
    let unauthentic = |error: &Error<_>| matches!(error, Error::Open(OpenError::Unauthentic));
    assert!(matches!(refused, Err(FieldsError::Field { error, .. }) if unauthentic(&error)));
}

#[tokio::test]
async fn a_service_and_a_gate_with_one_local_kek_open_each_others_tokens() {
    // That of the gate's file, see `Setup::before`.
    let kek = LocalKek::read(default_provider(), &BASE64.encode(&[7; 32])).unwrap();
    each_opens_what_the_other_sealed(|setup| setup, kek).await;
}

#[tokio::test]
async fn a_service_and_a_gate_with_one_kms_key_open_each_others_tokens() {
    let moto = Moto::start().unwrap();
    let key_arn = moto.create_key();
    let keyring = format!("aws_kms: {{key_arn: '{key_arn}', endpoint_url: '{}'}}", moto.endpoint());
    let kms = |setup: Setup| {
        setup
            .replace("scope: test\n", "scope: test\ndev_mode: true\n")
            .replace("local: {key_file: kek}", &keyring)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
    };
    each_opens_what_the_other_sealed(kms, Kms { moto: &moto, key_arn: key_arn.clone() }).await;
}

/// A keyring as a service would write it: KMS by its own protocol, blocking.
struct Kms<'a> {
    moto: &'a Moto,
    key_arn: String,
}

#[derive(Debug, thiserror::Error)]
#[error("KMS: {operation}: status {status}")]
struct KmsFailed {
    operation: &'static str,
    status: u16,
}

impl Kms<'_> {
    fn call(
        &self,
        operation: &'static str,
        context: EncryptionContext,
        more: (&str, Value),
    ) -> Result<Value, KmsFailed> {
        let context: serde_json::Map<_, _> =
            context.pairs().into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        let mut body = json!({ "KeyId": self.key_arn, "EncryptionContext": context });
        body[more.0] = more.1;
        match self.moto.call(operation, &body) {
            (200, reply) => Ok(reply),
            (status, _) => Err(KmsFailed { operation, status }),
        }
    }
}

impl Keyring for Kms<'_> {
    type Error = KmsFailed;

    fn generate_data_key(&self, context: EncryptionContext) -> Result<(DataKey, Vec<EncryptedDataKey>), KmsFailed> {
        let reply = self.call("GenerateDataKey", context, ("KeySpec", "AES_256".into()))?;
        let edk = EncryptedDataKey {
            kek: KekTag::of(default_provider(), &self.key_arn),
            blob: bytes(&reply["CiphertextBlob"]),
        };
        Ok((DataKey::take(bytes(&reply["Plaintext"])).unwrap(), vec![edk]))
    }

    fn decrypt_data_key(&self, edks: &[EncryptedDataKey], context: EncryptionContext) -> Result<DataKey, KmsFailed> {
        let tag = KekTag::of(default_provider(), &self.key_arn);
        let edk = edks.iter().find(|edk| edk.kek == tag).ok_or(KmsFailed { operation: "Decrypt", status: 0 })?;
        let reply = self.call("Decrypt", context, ("CiphertextBlob", BASE64.encode(&edk.blob).into()))?;
        Ok(DataKey::take(bytes(&reply["Plaintext"])).unwrap())
    }
}

fn bytes(base64: &Value) -> Vec<u8> {
    BASE64.decode(base64.as_str().unwrap().as_bytes()).unwrap()
}
