//! Certificates, CAs, lists and policy that change every second under load, every third of them broken.

use crate::edge::trust::{LISTED, list};
use crate::fixture::client::Connection;
use crate::fixture::pki::{Pki, spiffe, write_secret};
use crate::fixture::{Bed, Client, Gate, Setup, seconds};
use futures_util::future::join_all;
use http::Method;
use rcgen::{ExtendedKeyUsagePurpose, SerialNumber};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use tokio::time::sleep;

const VIEWS: [&str; 2] = ["[REDACTED]", "***-**-3456"];
const SUPPORT: [&str; 2] = ["support: {default_view: redact,", "support: {default_view: mask,"];

/// Asks for the patient again and again: on a connection that stays, until the gate closes it, or on a new one each time.
async fn asks(client: Client, stays: bool, ends: &AtomicBool, served: &AtomicUsize) {
    let mut kept: Option<Connection> = None;
    while !ends.load(Ordering::SeqCst) {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => client.connect().await.expect("a client with a good certificate gets in"),
        };
        let reply = connection.call(Method::GET, "/Patient/1", &[], "").await.expect("it is answered");
        assert_eq!(reply.status, 200, "{}", reply.text());
        let ssn = reply.json()["ssn"].as_str().unwrap().to_owned();
        assert!(VIEWS.contains(&ssn.as_str()), "{ssn}");
        served.fetch_add(1, Ordering::SeqCst);
        kept = stays.then_some(connection);
        sleep(Duration::from_millis(5)).await;
    }
}

/// A client that is going to be revoked, with a connection that it has had all along.
struct Doomed {
    client: Client,
    open: Connection,
    serial: u64,
}

impl Doomed {
    async fn new(gate: &Gate, serial: u64) -> Self {
        let identity = gate.pki().issue(|params| {
            params.serial_number = Some(SerialNumber::from(serial));
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params.subject_alt_names = vec![spiffe("spiffe://test.example/support")];
        });
        let client = gate.with(Some(identity));
        let client = if serial.is_multiple_of(2) { client.over_http2() } else { client };
        let mut open = client.connect().await.unwrap();
        assert_eq!(open.call(Method::GET, "/Patient/1", &[], "").await.unwrap().status, 200);
        Self { client, open, serial }
    }

    async fn expect_out(mut self) {
        let reply = self.open.call(Method::GET, "/Patient/1", &[], "").await;
        assert!(reply.is_err() || reply.is_ok_and(|reply| reply.status == 403), "{} is served", self.serial);
        assert!(self.client.try_call(Method::GET, "/Patient/1", &[], "").await.is_err(), "{} gets in", self.serial);
    }
}

/// What changes, turn by turn.
struct Changes<'a> {
    gate: &'a Gate,
    newcomer: &'a Pki,
    revoked: Vec<u64>,
    turn: usize,
}

impl Changes<'_> {
    fn write(&self, name: &str, text: &str) {
        write_secret(&self.gate.folder().join(name), text);
    }

    /// Breaks one file; tells how to mend it.
    fn break_one(&self) -> (String, Vec<u8>) {
        let (name, text) = match self.turn % 5 {
            0 => ("server.key", "no key"),
            1 => ("list.pem", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"),
            2 => ("ca.pem", ""),
            3 => ("gate.yaml", "scope: ["),
            _ => ("server.pem", "no certificate"),
        };
        let kept = fs::read(self.gate.folder().join(name)).unwrap();
        self.write(name, text);
        (name.to_owned(), kept)
    }

    async fn make_one(&mut self, with_newcomer: &mut bool) {
        match self.turn % 4 {
            0 => self.gate.pki().server().write(self.gate.folder(), "server"),
            1 => {
                *with_newcomer = !*with_newcomer;
                let more = if *with_newcomer { self.newcomer.ca_pem() } else { String::new() };
                self.write("ca.pem", &format!("{}{more}", self.gate.pki().ca_pem()));
            }
            2 => {
                let doomed = Doomed::new(self.gate, 1000 + self.turn as u64).await;
                self.revoked.push(doomed.serial);
                self.write("list.pem", &self.lists());
                assert_eq!(self.gate.reload(), "applied");
                return doomed.expect_out().await;
            }
            _ => {
                let config = fs::read_to_string(self.gate.folder().join("gate.yaml")).unwrap();
                let is_first = config.contains(SUPPORT[0]);
                self.gate.rewrite(SUPPORT[usize::from(!is_first)], SUPPORT[usize::from(is_first)]);
            }
        }
        assert_eq!(self.gate.reload(), "applied", "turn {}: {}", self.turn, self.gate.log());
        let client = self.gate.with(Some(self.newcomer.client("support")));
        let got_in = client.try_call(Method::GET, "/Patient/1", &[], "").await.is_ok();
        assert_eq!(got_in, *with_newcomer, "of the other CA, turn {}", self.turn);
    }

    fn lists(&self) -> String {
        let newest = list(self.gate.pki(), (0, 3600), &self.revoked);
        format!("{newest}{}", list(self.newcomer, (60, 3600), &[]))
    }
}

#[tokio::test]
async fn trust_changes_under_load_without_a_failed_request_or_one_of_who_is_revoked() {
    let newcomer = Pki::new("the other CA");
    let bed = Bed::with(|setup: Setup| {
        let lists = [list(setup.pki(), (60, 3600), &[]), list(&newcomer, (60, 3600), &[])].concat();
        write_secret(&setup.folder().join("list.pem"), &lists);
        setup.replace(LISTED.0, LISTED.1)
    });
    let gate = &bed.gate;
    let stored = gate.as_client("clinician").put("/Patient/1", "{\"ssn\":\"999-12-3456\"}").await;
    assert_eq!(stored.status, 200);
    let (ends, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients = [(false, false), (true, false), (false, true), (true, true)];
    let clients: Vec<(Client, bool)> = clients
        .into_iter()
        .map(|(over_http2, stays)| {
            let client = gate.as_client("support");
            (if over_http2 { client.over_http2() } else { client }, stays)
        })
        .collect();
    // On a thread of its own: what changes the files waits in between.
    let (until, counted) = (Arc::clone(&ends), Arc::clone(&served));
    let load = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let load = clients.into_iter().map(|(client, stays)| asks(client, stays, &until, &counted));
        runtime.block_on(join_all(load));
    });
    let mut changes = Changes { gate, newcomer: &newcomer, revoked: Vec::new(), turn: 0 };
    let (mut with_newcomer, mut refused) = (false, 0.0);
    for turn in 0..seconds(15) {
        changes.turn = turn;
        if turn % 3 == 2 {
            let (name, kept) = changes.break_one();
            assert_eq!(gate.reload(), "refused", "turn {turn}, {name}");
            refused += 1.0;
            fs::write(gate.folder().join(name), kept).unwrap();
        } else {
            changes.make_one(&mut with_newcomer).await;
        }
        sleep(Duration::from_secs(1)).await;
        assert!(!load.is_finished(), "turn {turn}: a client has failed");
    }
    ends.store(true, Ordering::SeqCst);
    load.join().unwrap();
    let (served, revoked) = (served.load(Ordering::SeqCst), changes.revoked.len());
    assert!(served > 20 * seconds(15) && refused > 0.0 && revoked > 0, "{served} {refused} {revoked}");
    println!("{served} requests served, {refused} changes refused, {revoked} certificates revoked");
}
