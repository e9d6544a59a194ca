//! The workers: one thread, one runtime, one listening socket each. A connection and its upstream connections live and
//! die on one of them.

use super::connection::{self, Worker};
use super::live::Live;
use super::upstream::Pool;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime;
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often idle upstream connections are looked through.
const TIDY_INTERVAL: Duration = Duration::from_secs(5);

/// Where the gate listens.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Address and port; port 0 for any.
    pub listen: SocketAddr,
    /// How many workers.
    pub workers: usize,
}

/// Opens one listening socket for each worker, all on the same port.
///
/// # Errors
/// If the address is taken or not of this machine.
pub fn bind(settings: Settings) -> io::Result<Vec<TcpListener>> {
    // Two gates may not share a port by accident: without the option, a port that somebody has is taken.
    drop(socket(settings.listen, false)?);
    let first = socket(settings.listen, true)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..settings.workers {
        listeners.push(socket(address, true)?);
    }
    Ok(listeners)
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // The kernel spreads connections over the workers' sockets.
    socket.set_reuse_port(shared)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if shared {
        socket.listen(1024)?;
    }
    Ok(socket.into())
}

/// Starts a worker on a thread of its own. It stops accepting when the gate drains and ends when its connections have,
/// or when `cut` is cancelled.
///
/// # Errors
/// If the thread or its runtime cannot be made.
pub fn start(
    number: usize,
    listener: TcpListener,
    live: Arc<Live>,
    cut: CancellationToken,
) -> io::Result<JoinHandle<()>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        let worker = Worker { live, pool: Rc::default() };
        LocalSet::new().block_on(&runtime, run(Rc::new(worker), listener, cut));
    })
}

async fn run(worker: Rc<Worker>, listener: TcpListener, cut: CancellationToken) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "listener"),
    };
    let connections = TaskTracker::new();
    let tidy = tokio::task::spawn_local(tidy(Rc::clone(&worker.pool), Arc::clone(&worker.live)));
    let drain = worker.live.gate().drain.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drain.cancelled() => break,
        };
        match accepted {
            Ok((tcp, address)) => {
                // Failing means that the peer is gone already.
                drop(tcp.set_nodelay(true));
                connections.spawn_local(connection::serve(Rc::clone(&worker), tcp, address));
            }
            Err(error) => {
                // Out of file descriptors, most likely: they come back when connections end.
                tracing::error!(%error, "accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    connections.close();
    tokio::select! {
        () = connections.wait() => {}
        () = cut.cancelled() => tracing::warn!(left = connections.len(), "connections cut off"),
    }
    tidy.abort();
}

async fn tidy(pool: Rc<Pool>, live: Arc<Live>) {
    let mut ticks = tokio::time::interval(TIDY_INTERVAL);
    loop {
        ticks.tick().await;
        pool.tidy(&live.gate().upstreams);
    }
}
