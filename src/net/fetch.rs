//! One small document by HTTP GET: bounded in time and in size, no redirects, no cookies, a connection of its own.

use bytes::Bytes;
use http::header::{ACCEPT, HOST, HeaderValue, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

/// Where a document is.
#[derive(Clone)]
pub struct Document {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What the field `Host` says.
    pub authority: HeaderValue,
    /// Path and query.
    pub target: Uri,
    /// For https, how the server's certificate is judged and the name that it must have.
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// For all of it, from the name's resolution to the last byte.
    pub timeout: Duration,
    /// Bytes of the document.
    pub bytes_max: usize,
}

/// Why a document was not had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotFetched {
    /// Nobody is there, or it is not who it should be.
    #[error("cannot connect: {0}")]
    Unreachable(String),
    /// It took too long.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The connection ended, or what came was not HTTP.
    #[error("broke off: {0}")]
    Broken(String),
    /// An answer other than the document; a redirect is one.
    #[error("wanted status 200, got {0}")]
    Status(StatusCode),
    /// It is longer than it may be.
    #[error("longer than {0} bytes")]
    TooLarge(usize),
}

impl Document {
    /// Fetches it.
    ///
    /// # Errors
    /// [`NotFetched`].
    pub async fn fetch(&self) -> Result<Bytes, NotFetched> {
        let fetched = tokio::time::timeout(self.timeout, self.fetch_unbounded()).await;
        fetched.unwrap_or(Err(NotFetched::Timeout(self.timeout)))
    }

    async fn fetch_unbounded(&self) -> Result<Bytes, NotFetched> {
        let unreachable = |error: std::io::Error| NotFetched::Unreachable(error.to_string());
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(unreachable)?;
        match &self.tls {
            None => self.fetch_over(tcp).await,
            Some((config, name)) => {
                let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
                self.fetch_over(connector.connect(name.clone(), tcp).await.map_err(unreachable)?).await
            }
        }
    }

    async fn fetch_over(&self, io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Bytes, NotFetched> {
        let broken = |error: hyper::Error| NotFetched::Broken(error.to_string());
        let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(broken)?;
        // Ends with this call, however that ends.
        let _driven = AbortOnDropHandle::new(tokio::spawn(connection));
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = self.target.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.authority.clone());
        headers.insert(ACCEPT, HeaderValue::from_static("application/jwk-set+json, application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static("sealgate"));
        let response = sender.send_request(request).await.map_err(broken)?;
        if response.status() != StatusCode::OK {
            return Err(NotFetched::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), self.bytes_max).collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|error| self.cut_short(&*error))
    }

    fn cut_short(&self, error: &(dyn Error + 'static)) -> NotFetched {
        match error.downcast_ref::<LengthLimitError>() {
            Some(_) => NotFetched::TooLarge(self.bytes_max),
            None => NotFetched::Broken(error.to_string()),
        }
    }
}
