//! `sealgate healthcheck`.

use super::{Exit, complain};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(2);

pub(super) fn healthcheck(admin: SocketAddr) -> Exit {
    match ask(admin) {
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

fn ask(admin: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&admin, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer)?;
    Ok(answer)
}
