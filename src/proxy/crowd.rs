//! How many connections there are: of all, of each address, and in handshakes.

use super::Limits;
use crate::telemetry::names;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::sleep;

/// The connections of all workers together.
#[derive(Default)]
pub struct Crowd {
    connections: AtomicUsize,
    handshakes: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
    shaking: Mutex<HashMap<IpAddr, usize>>,
    /// Connections that wait for a handshake to end: of all, and of each address.
    waiting: AtomicUsize,
    waiting_by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// How often those look again.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// An open connection, counted while it lives.
pub(super) struct Place {
    crowd: Arc<Crowd>,
    address: Option<IpAddr>,
}

/// A handshake under way, counted while it lives, to its address too.
pub(super) struct Shaking {
    crowd: Arc<Crowd>,
    address: IpAddr,
}

impl Crowd {
    /// Counts a connection; `None` if there are as many as there may be.
    pub(super) fn enter(self: &Arc<Self>, limits: &Limits) -> Option<Place> {
        let place = Place { crowd: Arc::clone(self), address: None };
        let before = self.connections.fetch_add(1, Ordering::Relaxed);
        metrics::gauge!(names::CONNECTIONS).increment(1);
        (before < limits.connections_max).then_some(place)
    }

    /// Counts a handshake of an address, of which one alone is not to take all places. Waits for a place, if not as many wait as there
    /// are places, or half as many of that address: clients that all come at once, as they do after an outage, are soon served.
    pub(super) async fn shake(self: &Arc<Self>, address: IpAddr, limits: &Limits) -> Option<Shaking> {
        let address = network(address);
        if let Some(shaking) = self.try_shake(address, limits) {
            return Some(shaking);
        }
        let of_all = self.waiting.fetch_add(1, Ordering::Relaxed);
        let of_address = one_more(&self.waiting_by_address, address);
        let _waiting = Waiting { crowd: self, address };
        if of_all >= limits.handshakes_max || of_address > limits.handshakes_max.div_ceil(2) {
            return None;
        }
        loop {
            sleep(LOOK_INTERVAL).await;
            if let Some(shaking) = self.try_shake(address, limits) {
                return Some(shaking);
            }
        }
    }

    fn try_shake(self: &Arc<Self>, address: IpAddr, limits: &Limits) -> Option<Shaking> {
        let before = self.handshakes.fetch_add(1, Ordering::Relaxed);
        let of_address = one_more(&self.shaking, address);
        let shaking = Shaking { crowd: Arc::clone(self), address };
        let is_free = before < limits.handshakes_max && of_address <= limits.handshakes_per_address_max;
        is_free.then_some(shaking)
    }
}

/// A connection that waits, counted while it does.
struct Waiting<'a> {
    crowd: &'a Crowd,
    address: IpAddr,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.crowd.waiting.fetch_sub(1, Ordering::Relaxed);
        one_less(&self.crowd.waiting_by_address, self.address);
    }
}

impl Place {
    /// Counts the connection to its client's address, once; whether that may have one more.
    pub(super) fn of(&mut self, address: IpAddr, limits: &Limits) -> bool {
        let address = network(address);
        self.address = Some(address);
        one_more(&self.crowd.by_address, address) <= limits.connections_per_address_max
    }
}

fn one_more(counts: &Mutex<HashMap<IpAddr, usize>>, address: IpAddr) -> usize {
    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    let count = counts.entry(address).or_default();
    *count += 1;
    *count
}

fn one_less(counts: &Mutex<HashMap<IpAddr, usize>>, address: IpAddr) {
    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(count) = counts.get_mut(&address) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&address);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.connections.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!(names::CONNECTIONS).decrement(1);
        if let Some(address) = self.address {
            one_less(&self.crowd.by_address, address);
        }
    }
}

impl Drop for Shaking {
    fn drop(&mut self) {
        self.crowd.handshakes.fetch_sub(1, Ordering::Relaxed);
        one_less(&self.crowd.shaking, self.address);
    }
}

/// What counts as one address: of IPv6 the 64 bits that a site gives to one network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_is_one_address_and_an_address_that_is_left_is_forgotten() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
        let crowd = Arc::new(Crowd::default());
        let mut place = Place { crowd: Arc::clone(&crowd), address: None };
        crowd.connections.fetch_add(1, Ordering::Relaxed);
        place.crowd.by_address.lock().unwrap().insert("192.0.2.7".parse().unwrap(), 1);
        place.address = "192.0.2.7".parse().ok();
        drop(place);
        assert!(crowd.by_address.lock().unwrap().is_empty());
        assert_eq!(crowd.connections.load(Ordering::Relaxed), 0);
    }
}
