//! One exchange through the gate over loopback, TLS and the durable audit record included:
//! `cargo bench --bench exchange`. The gate is the release binary in a process of its own, as `sealgate demo` sets it up.

use criterion::{Criterion, criterion_group, criterion_main};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

const PATIENT: &str = include_str!("../src/cli/demo/patient.json");

/// A demo that serves; killed when dropped.
struct Demo {
    child: Child,
    folder: PathBuf,
    port: u16,
}

impl Demo {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sealgate"))
            .arg("demo")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the demo starts");
        let lines = BufReader::new(child.stdout.take().expect("its output"));
        // curl --cacert FOLDER/ca.pem --cert FOLDER/clinician.pem ... https://localhost:PORT/Patient/1
        let line =
            lines.lines().map_while(Result::ok).find(|line| line.contains("/clinician.pem")).expect("a curl line");
        let folder = line.split("--cacert ").nth(1).and_then(|rest| rest.split("/ca.pem").next()).expect("a folder");
        let port = line.split("localhost:").nth(1).and_then(|rest| rest.split('/').next()).expect("a port");
        Self { child, folder: folder.into(), port: port.parse().expect("a port") }
    }

    /// A connection as the clinician, kept for all requests.
    fn connect(&self) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.folder.join("ca.pem")).expect("a CA")).expect("a CA");
        let certificate = CertificateDer::from_pem_file(self.folder.join("clinician.pem")).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(self.folder.join("clinician.key")).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], key)
            .expect("an identity");
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).expect("the gate listens");
        tcp.set_nodelay(true).expect("no delay");
        StreamOwned::new(connection, tcp)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.child.kill();
        let _ended = self.child.wait();
        let _removed = std::fs::remove_dir_all(&self.folder);
    }
}

/// Sends a request and reads the whole response; both ends know their length.
fn exchange(stream: &mut StreamOwned<ClientConnection, TcpStream>, request: &str) {
    stream.write_all(request.as_bytes()).expect("sent");
    stream.flush().expect("sent");
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("a response");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("a head").to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next()).expect("a length");
    let mut body = vec![0; length.parse().expect("a length")];
    stream.read_exact(&mut body).expect("a body");
}

fn patient(criterion: &mut Criterion) {
    let demo = Demo::start();
    let mut stream = demo.connect();
    let get = "GET /Patient/1 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let put = format!(
        "PUT /Patient/1 HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/fhir+json\r\ncontent-length: {}\r\n\r\n{PATIENT}",
        PATIENT.len()
    );
    criterion.bench_function("read a patient", |bencher| bencher.iter(|| exchange(&mut stream, get)));
    criterion.bench_function("write a patient", |bencher| bencher.iter(|| exchange(&mut stream, &put)));
}

criterion_group!(benches, patient);
criterion_main!(benches);
