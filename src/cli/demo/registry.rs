//! The "legacy" application: plain HTTP, keeps the JSON that it is given and gives it back.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The longest record, in bytes.
const RECORD_BYTES_MAX: usize = 4 << 20;

type Records = Arc<Mutex<BTreeMap<String, Bytes>>>;

/// A registry that serves until it is dropped.
pub(super) struct Registry {
    pub(super) address: SocketAddr,
    _serving: JoinSet<()>,
}

impl Registry {
    pub(super) async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener));
        Ok(Self { address, _serving: serving })
    }
}

async fn serve(listener: TcpListener) {
    let records = Records::default();
    let mut connections = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let records = Arc::clone(&records);
        connections.spawn(async move {
            let service = service_fn(|request| {
                let records = Arc::clone(&records);
                async move { Ok::<_, Infallible>(answer(&records, request).await) }
            });
            drop(http1::Builder::new().serve_connection(TokioIo::new(tcp), service).await);
        });
    }
}

async fn answer(records: &Records, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, RECORD_BYTES_MAX).collect().await else {
        return reply(StatusCode::PAYLOAD_TOO_LARGE, Bytes::new());
    };
    let body = body.to_bytes();
    let mut records = records.lock().unwrap_or_else(PoisonError::into_inner);
    match (&head.method, head.uri.path().strip_prefix("/Patient")) {
        (&Method::POST, Some("")) => {
            let id = (records.len() + 1).to_string();
            records.insert(id.clone(), body.clone());
            let mut response = reply(StatusCode::CREATED, body);
            if let Ok(location) = HeaderValue::from_str(&format!("/Patient/{id}")) {
                response.headers_mut().insert(LOCATION, location);
            }
            response
        }
        (&Method::PUT, Some(id)) if id.len() > 1 => {
            records.insert(id.trim_start_matches('/').to_owned(), body.clone());
            reply(StatusCode::OK, body)
        }
        (&Method::GET, Some(id)) => match records.get(id.trim_start_matches('/')) {
            Some(record) => reply(StatusCode::OK, record.clone()),
            None => reply(StatusCode::NOT_FOUND, Bytes::from_static(b"{}")),
        },
        _ => reply(StatusCode::NOT_FOUND, Bytes::from_static(b"{}")),
    }
}

fn reply(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/fhir+json"));
    response
}
