//! The log is no part of what the gate stands on: whoever reads it may stall or go away.

use crate::fixture::{Gate, Setup, Upstream};
use std::net::TcpListener;
use std::time::Duration;

/// A gate whose standard error is what the shell line makes of it, so that it cannot be asked there where it listens.
async fn with_stderr(upstream: &Upstream, line: &str) -> Gate {
    let [address, admin] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let setup = Setup::before(upstream.addr())
        .replace("listen: 127.0.0.1:0", &format!("listen: {address}"))
        .replace("listen: \"127.0.0.1:0\"", &format!("listen: \"{admin}\""));
    let mut gate = setup.shell(line).spawn();
    (gate.address, gate.admin) = (address, admin);
    for _ in 0..600 {
        if std::net::TcpStream::connect(admin).is_ok() {
            return gate;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the gate does not serve")
}

/// More than a pipe holds is logged; every exchange is answered, and the end is in order.
async fn serves_and_ends(mut gate: Gate) {
    let mut connection = gate.as_client("clinician").connect().await.unwrap();
    for _ in 0..1000 {
        let refused = connection.call(http::Method::GET, "/nowhere", &[], "").await.unwrap();
        refused.expect_problem(404, "route_unknown");
    }
    assert_eq!(gate.admin("/readyz").0, 200);
    gate.signal("TERM");
    assert_eq!(gate.wait().code(), Some(0));
    assert_eq!(gate.events_named("ExchangeRefused").len(), 1000);
    assert_eq!(gate.events_named("GateStopped").len(), 1);
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_nobody() {
    serves_and_ends(with_stderr(&Upstream::start(), "exec 2> >(exec sleep 20)").await).await;
}

#[tokio::test]
async fn a_log_whose_reader_has_gone_ends_nothing() {
    serves_and_ends(with_stderr(&Upstream::start(), "exec 2> >(head -n 1 > /dev/null)").await).await;
}
