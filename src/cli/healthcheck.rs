//! `sealgate healthcheck`.

use super::{Exit, complain};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(2);

pub(super) fn healthcheck(admin: SocketAddr) -> Exit {
    match ask(admin, "GET", "/readyz") {
        Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => Exit::Ok,
        Ok(answer) => {
            complain(&format!("not ready: {}\n", answer.lines().last().unwrap_or_default()));
            Exit::Failure
        }
        Err(error) => {
            complain(&format!("{admin}: {error}\n"));
            Exit::Failure
        }
    }
}

/// What the admin listener answers.
pub(super) fn ask(admin: SocketAddr, method: &str, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&admin, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let length = if method == "POST" { "content-length: 0\r\n" } else { "" };
    let request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{length}connection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer)?;
    Ok(answer)
}
