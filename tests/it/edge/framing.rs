//! Leave to go on. Where one request ends and the next begins is in `wire`.

use super::{raw, statuses};
use crate::fixture::{Setup, Upstream};

#[tokio::test]
async fn who_asks_whether_to_go_on_is_told_once_the_request_may_come() {
    let upstream = Upstream::start();
    let gate = Setup::before(upstream.addr()).start();
    let body = "{\"ssn\":\"999-12-3456\"}";
    let ask = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let reply = raw(&gate.as_client("clinician"), ask("/Patient")).await;
    assert_eq!(statuses(&reply), [100, 201], "{reply}");
    let received = upstream.take_only();
    assert_eq!(received.headers.get("expect"), None);
    let reply = raw(&gate.as_client("clinician"), ask("/nowhere")).await;
    assert_eq!(statuses(&reply), [404], "refused without asking for the body: {reply}");
}
