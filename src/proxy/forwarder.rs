//! The PROXY protocol, version 2 (haproxy.org, proxy-protocol.txt): where a load balancer says whose connection it passes on.

use ipnet::IpNet;
use ppp::v2::{Addresses, Command, Header, Protocol};
use std::net::{IpAddr, SocketAddr};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of what every header starts with: signature, version and command, family, length.
const START: usize = 16;

/// The longest rest of a header that is read; addresses and all that is usual among TLVs.
const REST_MAX: usize = 2048;

/// Who must say whose connection it is: all others must not.
#[derive(Clone, Default, Debug)]
pub struct Forwarders(pub Vec<IpNet>);

impl Forwarders {
    pub(super) fn hold(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Reads the header that a connection from `forwarder` must start with; gives the client's address. A connection that the forwarder
/// makes for itself, to see whether the gate lives, is its own.
pub(super) async fn client(stream: &mut (impl AsyncRead + Unpin), forwarder: SocketAddr) -> Option<SocketAddr> {
    let mut header = vec![0; START];
    stream.read_exact(&mut header).await.ok()?;
    let length = usize::from(u16::from_be_bytes([*header.get(14)?, *header.get(15)?]));
    if !header.starts_with(ppp::v2::PROTOCOL_PREFIX) || length > REST_MAX {
        return None;
    }
    header.resize(START + length, 0);
    stream.read_exact(header.get_mut(START..)?).await.ok()?;
    let header = Header::try_from(header.as_slice()).ok()?;
    match (header.command, header.protocol, header.addresses) {
        (Command::Local, ..) => Some(forwarder),
        (Command::Proxy, Protocol::Stream, Addresses::IPv4(ip)) => Some((ip.source_address, ip.source_port).into()),
        (Command::Proxy, Protocol::Stream, Addresses::IPv6(ip)) => Some((ip.source_address, ip.source_port).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ppp::v2::{Builder, Version};

    fn read(bytes: &[u8]) -> (Option<String>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut stream = bytes;
            let client = client(&mut stream, "192.0.2.1:9".parse().unwrap()).await;
            (client.map(|client| client.to_string()), stream.to_vec())
        })
    }

    fn header(command: Command, protocol: Protocol, addresses: impl Into<Addresses>) -> Vec<u8> {
        Builder::with_addresses(Version::Two | command, protocol, addresses).build().unwrap()
    }

    #[test]
    fn the_header_and_no_byte_more_is_read() {
        let pair = |text: &str| -> (SocketAddr, SocketAddr) { (text.parse().unwrap(), text.parse().unwrap()) };
        let four = header(Command::Proxy, Protocol::Stream, pair("203.0.113.7:4711"));
        assert_eq!(read(&[&four[..], b"rest"].concat()), (Some("203.0.113.7:4711".into()), b"rest".to_vec()));
        let six = header(Command::Proxy, Protocol::Stream, pair("[2001:db8::7]:4711"));
        assert_eq!(read(&six).0.as_deref(), Some("[2001:db8::7]:4711"));
        let local = header(Command::Local, Protocol::Stream, pair("203.0.113.7:4711"));
        assert_eq!(read(&local).0.as_deref(), Some("192.0.2.1:9"), "its own");
        let mut with_more = four.clone();
        with_more[15] += 8;
        with_more.extend(b"\x04\0\x05hello");
        assert_eq!(read(&[&with_more[..], b"rest"].concat()), (Some("203.0.113.7:4711".into()), b"rest".to_vec()));
        for end in 0..four.len() {
            assert_eq!(read(&four[..end]).0, None, "cut after {end}");
        }
        let datagram = header(Command::Proxy, Protocol::Datagram, pair("203.0.113.7:4711"));
        let unknown = header(Command::Proxy, Protocol::Unspecified, Addresses::Unspecified);
        let mut version_one = four.clone();
        version_one[12] = 0x11;
        let mut long = four.clone();
        long[14] = 0xff;
        long.extend(vec![0; 0x1_0000]);
        let text = b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n".to_vec();
        let hello = [&[22, 3, 1, 2, 0, 1][..], &[0; 64]].concat();
        for bytes in [datagram, unknown, version_one, long, text, hello] {
            assert_eq!(read(&bytes).0, None, "{bytes:?}");
        }
    }
}
