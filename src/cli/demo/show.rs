//! The show: what each one gets, and whether that is what it should be.

use super::caller::{Answer, call_gate, call_plain, knock};
use super::{Failure, Stage, say};
use crate::audit::verify;
use crate::seal::crypto::sha256;
use http::{Method, StatusCode};
use serde_json::Value;
use std::fmt::Write as _;
use std::time::Duration;

const PATIENT: &str = include_str!("patient.json");

/// Some of what is sealed, and where it stands.
const FIELDS: [(&str, &str); 5] = [
    ("family", "/name/0/family"),
    ("given", "/name/0/given/0"),
    ("ssn", "/identifier/2/value"),
    ("phone", "/telecom/0/value"),
    ("street", "/address/0/line/0"),
];

/// Plays all steps; false if one did not show what it should.
pub(super) async fn show(stage: &Stage) -> Result<bool, Failure> {
    let sent: Value = serde_json::from_str(PATIENT)?;
    let mut good = true;
    let mut step = |title: &str, text: &str, as_it_should: bool| {
        good &= as_it_should;
        let mark = if as_it_should { "" } else { "   <-- NOT WHAT IT SHOULD BE" };
        say(&format!("{title}{mark}\n{text}\n"));
    };
    say("A clinician puts a patient's record through the gate; a legacy registry behind it keeps what it gets.\n\n");

    let created = call(stage, "clinician", (Method::POST, "/Patient", PATIENT)).await?;
    step("What the clinician sent", &table(&sent), created.status == StatusCode::CREATED);
    let path = created.location.unwrap_or_default();

    let stored = call_plain(stage.registry, &path).await?.body;
    let stored_document: Value = serde_json::from_str(&stored)?;
    let sealed = FIELDS.iter().all(|(_, at)| text(&stored_document, at).starts_with("sgv1."));
    step("What the registry stored", &table(&stored_document), sealed && leaks(&sent, &stored).is_empty());

    let seen = async |who: &str| -> Result<(Value, bool), Failure> {
        let answer = call(stage, who, (Method::GET, &path, "")).await?;
        Ok((serde_json::from_str(&answer.body)?, answer.status == StatusCode::OK))
    };
    let (clinician, ok) = seen("clinician").await?;
    step("What the clinician reads", &table(&clinician), ok && clinician == sent);
    let (billing, ok) = seen("billing").await?;
    let masked = text(&billing, "/identifier/2/value").starts_with("***-**-");
    step(
        "What the billing clerk reads (masked)",
        &table(&billing),
        ok && masked && leaks(&sent, &billing.to_string()).is_empty(),
    );
    let (support, ok) = seen("support").await?;
    let redacted = FIELDS.iter().all(|(_, at)| text(&support, at) == "[REDACTED]");
    step(
        "What the support engineer reads (redacted)",
        &table(&support),
        ok && redacted && leaks(&sent, &support.to_string()).is_empty(),
    );

    let told = knock(&stage.folder, stage.gate).await?;
    let refused = told.contains("CertificateRequired");
    step("What a caller without a certificate gets", &format!("  nothing: {told}\n"), refused);

    let denied = call(stage, "billing", (Method::PUT, &path, PATIENT)).await?;
    let told = format!("  {} {}\n", denied.status, denied.body);
    step("What the billing clerk gets who tries to write", &told, denied.status == StatusCode::FORBIDDEN);

    let (events, whole) = journal(stage).await?;
    step("The audit events", &events, events.contains("HandshakesRefused"));
    step("The audit chain", &whole.0, whole.1);
    Ok(good)
}

/// What to try next.
pub(super) fn invitation(stage: &Stage) -> String {
    let Stage { folder, gate, admin, registry, .. } = stage;
    let (folder, port) = (folder.display(), gate.port());
    let mut text = "Still serving. Try, in another terminal:\n\n".to_owned();
    for who in super::pki::CLIENTS {
        let _infallible = writeln!(
            text,
            "  curl --cacert {folder}/ca.pem --cert {folder}/{who}.pem --key {folder}/{who}.key https://localhost:{port}/Patient/1"
        );
    }
    text + &format!(
        "  curl --cacert {folder}/ca.pem https://localhost:{port}/Patient/1\n  curl http://{registry}/Patient/1\n  \
         curl http://{admin}/metrics\n  cat {folder}/audit/*.jsonl\n\nCtrl-C ends it and removes the folder.\n"
    )
}

async fn call(stage: &Stage, who: &str, what: (Method, &str, &str)) -> Result<Answer, Failure> {
    call_gate(&stage.folder, stage.gate, who, what).await
}

fn text(document: &Value, at: &str) -> String {
    match document.pointer(at) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "-".to_owned(),
    }
}

fn table(document: &Value) -> String {
    let mut table = String::new();
    for (name, at) in FIELDS {
        let value = text(document, at);
        let length = value.chars().count();
        let shown: String = value.chars().take(64).collect();
        let rest = if length > 64 { format!("… ({length} characters)") } else { String::new() };
        let _infallible = writeln!(table, "  {name:8} {shown}{rest}");
    }
    table
}

/// Which of the sealed values stand in `text`, as they are or escaped.
fn leaks(sent: &Value, text: &str) -> Vec<String> {
    let mut values = Vec::new();
    for (list, at) in [("/name", "/family"), ("/name", "/given"), ("/telecom", "/value"), ("/identifier", "/value")] {
        members(sent, list, at, &mut values);
    }
    for at in ["/line", "/city", "/postalCode"] {
        members(sent, "/address", at, &mut values);
    }
    values.retain(|value| text.contains(value.as_str()) || text.contains(&Value::from(value.as_str()).to_string()));
    values
}

/// The strings at `at` in each item of `list`.
fn members(document: &Value, list: &str, at: &str, out: &mut Vec<String>) {
    for item in document.pointer(list).and_then(Value::as_array).into_iter().flatten() {
        match item.pointer(at) {
            Some(Value::Array(texts)) => out.extend(texts.iter().filter_map(Value::as_str).map(str::to_owned)),
            Some(Value::String(text)) => out.push(text.clone()),
            _ => {}
        }
    }
}

/// The events so far, once the refused handshake is among them: it is recorded within a second.
async fn journal(stage: &Stage) -> Result<(String, (String, bool)), Failure> {
    for _ in 0..50 {
        let (events, whole) = audit(stage)?;
        if events.contains("HandshakesRefused") {
            return Ok((events, whole));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    audit(stage)
}

/// The events so far, a line each, and what the verification says.
fn audit(stage: &Stage) -> Result<(String, (String, bool)), Failure> {
    let directory = stage.folder.join("audit");
    let mut lines = String::new();
    for event in verify::events(&directory, sha256)? {
        let (seq, event) = event?;
        let event: Value = serde_json::from_slice(&event)?;
        let field = |name: &str| event.get(name).map(|value| value.to_string().replace('"', "")).unwrap_or_default();
        let fields = event.get("fields").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let counts: Vec<String> = fields
            .iter()
            .map(|count| format!("{} {} {}", text(count, "/count"), text(count, "/class"), text(count, "/action")))
            .collect();
        let told = ["principal", "method", "record", "status", "code", "reason", "source", "count"].map(field);
        let told: Vec<String> = told.into_iter().filter(|text| !text.is_empty()).collect();
        let _infallible = writeln!(lines, "  {seq:2} {} {}", field("event"), told.join(" "));
        if !counts.is_empty() {
            let _infallible = writeln!(lines, "     {}", counts.join(", "));
        }
    }
    let verified = match verify::verify(&directory, sha256, &[]) {
        Ok(report) => (format!("  {} records, head {}: whole\n", report.records, report.head), true),
        Err(finding) => (format!("  {finding}\n"), false),
    };
    Ok((lines, verified))
}
