//! Data keys under several KEKs: what goes over the wire, and what opens when some of them do not.

use crate::fixture::kms::{self, Fault, KeyState, Kms};
use crate::fixture::moto::Moto;
use crate::fixture::tee::Tee;
use sealgate::keyring::aws_kms::{AwsKms, KeyArn, Settings};
use sealgate::keyring::recovery::Recovery;
use sealgate::keyring::{Generated, Kek, Keyring, KeyringError, KmsCall, Several};
use sealgate::seal::Purpose;
use sealgate::seal::crypto::default_provider;
use sealgate::seal::{Commitment, DataKey, EncryptedDataKey, EncryptionContext, Scope};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

const HOME: &str = kms::KEY;
const NEXT: &str = "arn:aws:kms:us-east-1:123456789012:key/22222222-2222-3333-4444-555555555555";
const ABROAD: &str = "arn:aws:kms:eu-west-1:123456789012:key/33333333-2222-3333-4444-555555555555";

fn aws(kms: SocketAddr, arn: &str) -> AwsKms {
    let key_arn = KeyArn::parse(arn).unwrap();
    let settings = Settings { key_arn, endpoint_url: Some(format!("http://{kms}")), ca_pem: None };
    AwsKms::with_credentials(default_provider(), &settings, "test", "test").unwrap()
}

/// A KMS with three keys.
fn kms() -> Kms {
    let kms = Kms::start();
    kms.add_key(NEXT);
    kms.add_key(ABROAD);
    kms
}

/// First, also and old.
fn several(kms: SocketAddr, [first, also, old]: [&[&str]; 3]) -> Several {
    let keks = |arns: &[&str]| arns.iter().map(|arn| Box::new(aws(kms, arn)) as Box<dyn Kek>).collect::<Vec<_>>();
    Several::new(keks(first).remove(0), keks(also), keks(old)).unwrap()
}

fn context() -> EncryptionContext {
    EncryptionContext { scope: Scope::parse("clinic").unwrap(), purpose: Purpose::Lookup }
}

fn elsewhere() -> EncryptionContext {
    EncryptionContext { scope: Scope::parse("other").unwrap(), ..context() }
}

fn commitment(key: &DataKey) -> Commitment {
    key.commitment(default_provider()).unwrap()
}

async fn make(keyring: &impl Keyring) -> Generated {
    keyring.generate_data_key(context()).await.unwrap()
}

async fn open(keyring: &impl Keyring, edk: &EncryptedDataKey) -> Result<DataKey, KeyringError> {
    keyring.decrypt_data_key(edk.clone(), context()).await.map(|decrypted| decrypted.key)
}

/// The data key of `made` under the KEKs that `keyring` wants.
async fn rewrap(keyring: &Several, made: &Generated) -> Result<(Vec<EncryptedDataKey>, Vec<KmsCall>), KeyringError> {
    keyring.rewrap(default_provider(), &made.edks, &commitment(&made.key), context()).await
}

async fn expect_opens(keyring: &impl Keyring, edk: &EncryptedDataKey, key: &DataKey) {
    assert_eq!(open(keyring, edk).await.unwrap().expose(), key.expose());
}

/// Variant, reason and request id of an error.
fn told(error: KeyringError) -> (&'static str, String, Option<String>) {
    let id = error.request_id().map(|id| id.to_string());
    match error {
        KeyringError::Unavailable { why, .. } => ("unavailable", why.to_string(), id),
        KeyringError::Denied { why, .. } => ("denied", why.to_string(), id),
        KeyringError::Rejected { why, .. } => ("rejected", why.to_string(), id),
        other => panic!("{other}"),
    }
}

/// The request id that the double gives its call of that number.
fn request_id(number: u64) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

fn named(calls: &[KmsCall]) -> Vec<(&str, Option<&str>)> {
    calls.iter().map(|call| (&*call.kek, call.request_id.as_deref())).collect()
}

/// The private and the public half of a new recovery key, in PEM.
fn recovery_pair() -> [Vec<u8>; 2] {
    let run = |arguments: &str| {
        let output = Command::new("openssl").args(arguments.split(' ')).output().expect("the openssl command");
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recovery.pem");
    let private = run("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072");
    std::fs::write(&file, &private).unwrap();
    [private, run(&format!("pkey -pubout -in {}", file.display()))]
}

#[tokio::test]
async fn a_key_under_two_regions_and_a_recovery_key_is_opened_by_any_one_of_them() {
    let kms = kms();
    let [private, public] = recovery_pair();
    let recovery = Recovery::read_public(default_provider(), &public).unwrap();
    let recovery_name = Kek::name(&recovery).to_string();
    let also: Vec<Box<dyn Kek>> = vec![Box::new(aws(kms.addr(), ABROAD)), Box::new(recovery)];
    let keyring = Several::new(Box::new(aws(kms.addr(), HOME)), also, Vec::new()).unwrap();
    let made = make(&keyring).await;
    let [home, abroad, recovery] = made.edks.as_slice() else { panic!("{:?}", made.edks) };
    let (first, second) = (request_id(1), request_id(2));
    let calls = [(HOME, Some(first.as_str())), (ABROAD, Some(&second)), (&recovery_name, None)];
    assert_eq!(named(&made.calls), calls);
    assert_eq!((kms.count("GenerateDataKey"), kms.count("Encrypt"), kms.calls()), (1, 1, 2));

    expect_opens(&keyring, home, &made.key).await;
    kms.set_key(HOME, KeyState::Disabled);
    assert_eq!(told(open(&keyring, home).await.err().unwrap()).1, "DisabledException");
    expect_opens(&keyring, abroad, &made.key).await;
    kms.set_key(ABROAD, KeyState::PendingDeletion);
    let (kind, why, id) = told(open(&keyring, abroad).await.err().unwrap());
    assert_eq!((kind, why.as_str(), id), ("denied", "KMSInvalidStateException", Some(request_id(kms.calls()))));
    let gone = open(&keyring, recovery).await.err();
    assert_eq!(gone, Some(KeyringError::UnknownKek), "the gate has the public half only");

    let safe = Recovery::read_private(default_provider(), &private).unwrap();
    expect_opens(&safe, recovery, &made.key).await;
    kms.set_key(HOME, KeyState::Enabled);
    expect_opens(&keyring, home, &made.key).await;
}

#[tokio::test]
async fn without_a_second_region_there_is_no_new_key_and_the_old_ones_open() {
    let kms = kms();
    let keyring = several(kms.addr(), [&[HOME], &[ABROAD], &[]]);
    let made = make(&keyring).await;
    for (fault, kind) in [(Fault::Denies, "denied"), (Fault::FailsInside, "unavailable")] {
        kms.fail_key(ABROAD, fault);
        let error = keyring.generate_data_key(context()).await.err().unwrap();
        assert!(error.to_string().contains(ABROAD), "{error}");
        assert_eq!(told(error).0, kind);
        expect_opens(&keyring, &made.edks[0], &made.key).await;
        assert!(open(&keyring, &made.edks[1]).await.is_err());
    }
    kms.fail_key(ABROAD, None);
    assert_eq!(make(&keyring).await.edks.len(), 2);
}

#[tokio::test]
async fn a_new_kek_takes_over_by_re_encryption_inside_kms() {
    let kms = kms();
    let made = make(&several(kms.addr(), [&[HOME], &[ABROAD], &[]])).await;
    let keyring = several(kms.addr(), [&[NEXT], &[ABROAD], &[HOME]]);
    let before = kms.calls();
    let (edks, calls) = rewrap(&keyring, &made).await.unwrap();
    assert_eq!((kms.count("ReEncrypt"), kms.count("Decrypt"), kms.calls() - before), (1, 0, 1));
    assert_eq!(named(&calls), [(NEXT, Some(request_id(kms.calls()).as_str()))]);
    assert_eq!(edks.iter().map(|edk| edk.kek).collect::<Vec<_>>(), [aws(kms.addr(), NEXT).tag(), made.edks[1].kek]);
    assert_eq!(edks[1], made.edks[1], "what was there stays");

    kms.set_key(HOME, KeyState::PendingDeletion);
    expect_opens(&keyring, &edks[0], &made.key).await;
    let after = make(&keyring).await;
    assert_eq!(named(&after.calls).first().unwrap().0, NEXT);
}

#[tokio::test]
async fn a_kek_of_another_region_is_reached_by_decrypt_and_encrypt() {
    let kms = kms();
    let made = make(&several(kms.addr(), [&[HOME], &[], &[]])).await;
    let keyring = several(kms.addr(), [&[ABROAD], &[], &[HOME]]);
    let (edks, calls) = rewrap(&keyring, &made).await.unwrap();
    assert_eq!((kms.count("ReEncrypt"), kms.count("Decrypt"), kms.count("Encrypt")), (0, 1, 1));
    assert_eq!(named(&calls).iter().map(|(kek, _)| *kek).collect::<Vec<_>>(), [HOME, ABROAD]);
    expect_opens(&keyring, &edks[0], &made.key).await;

    let stranger = make(&several(kms.addr(), [&[HOME], &[], &[]])).await;
    let wrong = keyring.rewrap(default_provider(), &stranger.edks, &commitment(&made.key), context()).await;
    assert_eq!(told(wrong.err().unwrap()).1, "it does not match the commitment");
    assert_eq!(kms.count("Encrypt"), 1, "it is wrapped for nobody");
}

#[tokio::test]
async fn re_encryption_that_fails_leaves_the_other_way() {
    let kms = kms();
    let made = make(&several(kms.addr(), [&[HOME], &[ABROAD], &[]])).await;
    let keyring = several(kms.addr(), [&[NEXT], &[], &[HOME, ABROAD]]);
    kms.set_key(HOME, KeyState::Disabled);
    let (edks, calls) = rewrap(&keyring, &made).await.unwrap();
    expect_opens(&keyring, &edks[0], &made.key).await;
    let keks: Vec<_> = named(&calls).iter().map(|(kek, _)| *kek).collect();
    assert_eq!(keks, [NEXT, HOME, ABROAD, NEXT], "ReEncrypt and Decrypt from home fail, and are named");
    kms.set_key(ABROAD, KeyState::Disabled);
    assert_eq!(told(rewrap(&keyring, &made).await.err().unwrap()).1, "DisabledException");
}

#[tokio::test]
async fn re_encryption_is_pinned_to_its_source_and_context() {
    let kms = kms();
    let (home, next, abroad) = (aws(kms.addr(), HOME), aws(kms.addr(), NEXT), aws(kms.addr(), ABROAD));
    let edk = make(&home).await.edks.remove(0);
    let wrapped = next.re_encrypt(edk.clone(), HOME, context()).unwrap().await.unwrap();
    assert_eq!(wrapped.edk.kek, next.tag());
    assert!(open(&next, &wrapped.edk).await.is_ok());
    let refused = async |source, context| {
        let call = next.re_encrypt(edk.clone(), source, context).unwrap();
        let (kind, why, _) = told(call.await.err().unwrap());
        (kind, why)
    };
    assert_eq!(refused(NEXT, context()).await, ("rejected", "IncorrectKeyException".to_owned()));
    assert_eq!(refused(HOME, elsewhere()).await, ("rejected", "InvalidCiphertextException".to_owned()));
    for source in [HOME, "local:0011223344556677", "recovery:0011223344556677", ""] {
        assert!(abroad.re_encrypt(edk.clone(), source, context()).is_none(), "{source}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_what_was_asked_for_is_not_taken() {
    let kms = kms();
    let (home, next) = (aws(kms.addr(), HOME), aws(kms.addr(), NEXT));
    let (key, wrapped) = Kek::generate_data_key(&home, context()).await.unwrap();
    let length = "an encrypted data key of an unusable length";
    let cases = [
        (Fault::AnotherKeyId, "unavailable", "an answer for another key"),
        (Fault::NoBlob, "unavailable", length),
        (Fault::LongBlob, "unavailable", length),
        (Fault::AnotherSourceKeyId, "unavailable", "an answer for another source key"),
        (Fault::NotJson, "unavailable", "no code"),
        (Fault::Truncated, "unavailable", "no code"),
        (Fault::Throttles, "unavailable", "ThrottlingException"),
        (Fault::Denies, "denied", "AccessDeniedException"),
        (Fault::Disabled, "denied", "DisabledException"),
    ];
    for (fault, kind, why) in cases {
        kms.fail_operation("Encrypt", fault);
        kms.fail_operation("ReEncrypt", fault);
        let encrypted = next.encrypt_data_key(&key, context()).await;
        if fault == Fault::AnotherSourceKeyId {
            assert!(encrypted.is_ok(), "Encrypt has no source");
        } else {
            let expect = (kind, why.to_owned(), Some(request_id(kms.calls())));
            assert_eq!(told(encrypted.err().unwrap()), expect, "Encrypt: {fault:?}");
        }
        let re_encrypted = next.re_encrypt(wrapped.edk.clone(), HOME, context()).unwrap().await;
        let expect = (kind, why.to_owned(), Some(request_id(kms.calls())));
        assert_eq!(told(re_encrypted.err().unwrap()), expect, "ReEncrypt: {fault:?}");
    }
    kms.fail_operation("Encrypt", None);
    assert!(next.encrypt_data_key(&key, context()).await.is_ok());
}

#[tokio::test]
async fn what_was_wrapped_before_a_rotation_in_kms_still_opens() {
    let kms = kms();
    let home = aws(kms.addr(), HOME);
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(make(&home).await);
        kms.rotate_key(HOME);
    }
    for made in &made {
        expect_opens(&home, &made.edks[0], &made.key).await;
        let error = Keyring::decrypt_data_key(&home, made.edks[0].clone(), elsewhere()).await.err().unwrap();
        assert_eq!(told(error).1, "InvalidCiphertextException");
    }
}

#[tokio::test]
async fn a_kms_that_throttles_for_a_moment_costs_two_attempts() {
    let kms = kms();
    kms.throttle(2);
    let made = make(&aws(kms.addr(), HOME)).await;
    assert_eq!(named(&made.calls), [(HOME, Some(request_id(3).as_str()))]);
}

#[tokio::test]
async fn the_other_keks_wrap_at_the_same_time() {
    let kms = kms();
    let fourth = "arn:aws:kms:ap-south-1:123456789012:key/44444444-2222-3333-4444-555555555555";
    kms.add_key(fourth);
    let keyring = several(kms.addr(), [&[HOME], &[NEXT, ABROAD, fourth], &[]]);
    kms.answer_after(Duration::from_millis(700));
    make(&keyring).await;
    let most = kms.take_in_flight_max();
    assert!((2..=3).contains(&most), "{most}");
    assert_eq!(kms.count("Encrypt"), 3);
}

/// The JSON bodies of the calls of that operation that went through a tee.
fn sent(tee: &Tee, operation: &str) -> Vec<Value> {
    let text = String::from_utf8(tee.received()).unwrap();
    let requests = text.split("POST / HTTP/1.1\r\n").skip(1);
    let requests = requests.filter(|request| request.contains(&format!("TrentService.{operation}\r\n")));
    requests.map(|request| serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap()).collect()
}

#[tokio::test]
async fn moto_wraps_re_encrypts_and_opens_and_is_told_the_context() {
    let moto = Moto::start().unwrap();
    let tee = Tee::start(moto.addr()).unwrap();
    let [one, two, three] = [(); 3].map(|()| moto.create_key());
    let before = several(tee.addr(), [&[&one], &[&two], &[]]);
    let made = make(&before).await;
    assert!(made.calls.iter().all(|call| call.request_id.is_some()));
    for edk in &made.edks {
        expect_opens(&before, edk, &made.key).await;
    }
    let pairs = json!({"app": "sealgate", "scope": "clinic", "purpose": "lookup"});
    let mut encrypt = sent(&tee, "Encrypt").remove(0);
    assert!(encrypt.as_object_mut().unwrap().remove("Plaintext").is_some());
    assert_eq!(encrypt, json!({"KeyId": two, "EncryptionContext": pairs}));

    let after = several(tee.addr(), [&[&three], &[&two], &[&one]]);
    let (edks, _) = rewrap(&after, &made).await.unwrap();
    assert_eq!(edks[1], made.edks[1]);
    expect_opens(&after, &edks[0], &made.key).await;
    let mut re_encrypt = sent(&tee, "ReEncrypt").remove(0);
    assert!(re_encrypt.as_object_mut().unwrap().remove("CiphertextBlob").is_some());
    let expect = json!({
        "SourceKeyId": one,
        "SourceEncryptionContext": pairs,
        "DestinationKeyId": three,
        "DestinationEncryptionContext": pairs,
    });
    assert_eq!(re_encrypt, expect);
    let other = after.decrypt_data_key(edks[0].clone(), elsewhere()).await.err().unwrap();
    assert_eq!(told(other).1, "InvalidCiphertextException");
    let moved = aws(tee.addr(), &three).re_encrypt(made.edks[0].clone(), &one, elsewhere()).unwrap().await;
    assert_eq!(told(moved.err().unwrap()).1, "InvalidCiphertextException");
}

/// moto keeps the rotations of a key and not their material; that the double does.
#[tokio::test]
async fn a_key_that_moto_rotates_needs_nothing_from_us() {
    let moto = Moto::start().unwrap();
    let key = moto.create_key();
    let kek = aws(moto.addr(), &key);
    let before = make(&kek).await;
    for operation in ["EnableKeyRotation", "RotateKeyOnDemand"] {
        let (status, reply) = moto.call(operation, &json!({ "KeyId": key }));
        assert_eq!(status, 200, "{operation}: {reply}");
    }
    let (_, rotations) = moto.call("ListKeyRotations", &json!({ "KeyId": key }));
    assert_eq!(rotations["Rotations"][0]["RotationType"], "ON_DEMAND", "{rotations}");
    expect_opens(&kek, &before.edks[0], &before.key).await;
    let after = make(&kek).await;
    expect_opens(&kek, &after.edks[0], &after.key).await;
    assert_eq!(before.edks[0].kek, after.edks[0].kek);
}
