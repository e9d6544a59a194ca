//! `sealgate keys purge`.

use super::healthcheck::ask;
use super::{Exit, complain, say};
use std::net::SocketAddr;

pub(super) fn purge(admin: SocketAddr) -> Exit {
    match order(admin) {
        Ok(()) => say(&format!("the gate at {admin} has dropped every key that it held\n")),
        Err(why) => {
            complain(&format!("{why}\n"));
            Exit::Failure
        }
    }
}

/// Has the gate drop its keys; why it did not.
pub(super) fn order(admin: SocketAddr) -> Result<(), String> {
    match ask(admin, "POST", "/keys/purge") {
        Ok(answer) if answer.starts_with("HTTP/1.1 204 ") => Ok(()),
        Ok(answer) => {
            let status = answer.lines().next().unwrap_or_default().trim_start_matches("HTTP/1.1 ");
            Err(format!(
                "the gate at {admin} did not drop its keys: {status}: {}",
                answer.lines().last().unwrap_or_default()
            ))
        }
        Err(error) => Err(format!("the gate at {admin} was not reached: {error}")),
    }
}
