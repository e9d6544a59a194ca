//! A client of the gate, over a real TLS connection.

use super::Failure;
use crate::net::{self, ClientIdentity};
use crate::seal::crypto::default_provider;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::net::SocketAddr;
use std::path::Path;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) location: Option<String>,
    pub(super) body: String,
}

/// One request on a connection of its own; to the gate, with the certificate of `client`.
pub(super) async fn call_gate(
    folder: &Path,
    gate: SocketAddr,
    client: &str,
    (method, path, body): (Method, &str, &str),
) -> Result<Answer, Failure> {
    let identity = ClientIdentity {
        certificates: vec![CertificateDer::from_pem_file(folder.join(format!("{client}.pem")))?],
        key: PrivateKeyDer::from_pem_file(folder.join(format!("{client}.key")))?,
    };
    let tls = connect(folder, gate, Some(identity)).await?;
    exchange(tls, gate, (method, path, body)).await
}

/// Connects without a certificate and waits for what the gate says to that.
pub(super) async fn knock(folder: &Path, gate: SocketAddr) -> Result<String, Failure> {
    let mut tls = connect(folder, gate, None).await?;
    // In TLS 1.3 the client is done before the server has seen that there is no certificate.
    Ok(match tls.read_u8().await {
        Ok(_) => "the gate answered".to_owned(),
        Err(error) => error.to_string(),
    })
}

async fn connect(
    folder: &Path,
    gate: SocketAddr,
    identity: Option<ClientIdentity>,
) -> Result<TlsStream<TcpStream>, Failure> {
    let ca = CertificateDer::from_pem_file(folder.join("ca.pem"))?;
    let config = net::client_config(default_provider(), vec![ca], identity)?;
    let tcp = TcpStream::connect(gate).await?;
    Ok(TlsConnector::from(config).connect(ServerName::try_from("localhost")?, tcp).await?)
}

/// One request in plain HTTP.
pub(super) async fn call_plain(address: SocketAddr, path: &str) -> Result<Answer, Failure> {
    exchange(TcpStream::connect(address).await?, address, (Method::GET, path, "")).await
}

async fn exchange(
    io: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    address: SocketAddr,
    (method, path, body): (Method, &str, &str),
) -> Result<Answer, Failure> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, format!("localhost:{}", address.port()))
        .header(CONTENT_TYPE, "application/fhir+json")
        .body(Full::new(Bytes::from(body.to_owned())))?;
    let response = match sender.send_request(request).await {
        Ok(response) => response,
        // The reason is what the connection says: an alert of the other side, for instance.
        Err(error) => return Err(connection.await?.err().map_or_else(|| error.into(), Into::into)),
    };
    let status = response.status();
    let location = response.headers().get(http::header::LOCATION).and_then(|value| value.to_str().ok());
    let location = location.map(str::to_owned);
    let body = response.into_body().collect().await?.to_bytes();
    Ok(Answer { status, location, body: String::from_utf8(body.to_vec())? })
}
