//! Where somebody connects from: what is counted against the limits per address, and whom to believe about it.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

/// An address as it is counted: IPv4 as it is, IPv6 by its first 64 bits, of which one customer has at least all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address(u64, bool);

impl Address {
    /// What an address counts as; none for this machine itself, which is no stranger.
    #[must_use]
    pub fn of(address: IpAddr) -> Option<Self> {
        match address.to_canonical() {
            address if address.is_loopback() => None,
            IpAddr::V4(address) => Some(Self(u32::from(address).into(), false)),
            IpAddr::V6(address) => {
                #[allow(clippy::cast_possible_truncation)] // the upper half of 128 bits
                Some(Self((u128::from(address) >> 64) as u64, true))
            }
        }
    }
}

/// Addresses that begin alike: `10.0.0.0/8`, `2001:db8::/32`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    bits: u32,
}

impl Network {
    /// Whether an address is one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let same =
            |one: u128, other: u128, width: u32| self.bits == 0 || (one ^ other) >> (width - self.bits.min(width)) == 0;
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(one), IpAddr::V4(other)) => same(u32::from(one).into(), u32::from(other).into(), 32),
            (IpAddr::V6(one), IpAddr::V6(other)) => same(one.into(), other.into(), 128),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no network: write it like 10.0.0.0/8 or 2001:db8::1");
        let (first, bits) = text.split_once('/').map_or((text, None), |(first, bits)| (first, Some(bits)));
        let first: IpAddr = first.parse().map_err(|_| wrong())?;
        let width = if first.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(width), str::parse).map_err(|_| wrong())?;
        if bits <= width { Ok(Self { first, bits }) } else { Err(wrong()) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

/// From where a request comes: the connection's other end, or, as long as that is a proxy to be trusted, who it says
/// was before it. `hops`: the values of `X-Forwarded-For`, in their order.
pub fn origin<'a>(peer: IpAddr, trusted: &[Network], hops: impl DoubleEndedIterator<Item = &'a str>) -> IpAddr {
    let mut origin = peer;
    for hop in hops.flat_map(|value| value.split(',')).rev() {
        if !trusted.iter().any(|network| network.contains(origin)) {
            break;
        }
        let hop = hop.trim();
        let read = hop.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()));
        // What can't be read is nobody's word.
        let Some(read) = read else { break };
        origin = read;
    }
    origin
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_customer_is_one_address() {
        assert_eq!(Address::of(ip("2001:db8::1")), Address::of(ip("2001:db8::ffff:0:0:1")));
        assert_ne!(Address::of(ip("2001:db8::1")), Address::of(ip("2001:db8:0:1::1")));
        assert_eq!(Address::of(ip("::ffff:192.0.2.1")), Address::of(ip("192.0.2.1")));
        assert_ne!(Address::of(ip("192.0.2.1")), Address::of(ip("192.0.2.2")));
        assert_eq!(Address::of(ip("127.0.0.9")), None);
        assert_eq!(Address::of(ip("::1")), None);
    }

    #[test]
    fn networks() {
        let of = |text: &str| text.parse::<Network>().unwrap();
        assert!(of("10.0.0.0/8").contains(ip("10.255.0.1")) && !of("10.0.0.0/8").contains(ip("11.0.0.1")));
        assert!(of("0.0.0.0/0").contains(ip("1.2.3.4")) && !of("0.0.0.0/0").contains(ip("::2")));
        assert!(of("2001:db8::/32").contains(ip("2001:db8:1::1")) && !of("2001:db8::/32").contains(ip("2001:db9::1")));
        assert!(of("192.0.2.1").contains(ip("::ffff:192.0.2.1")) && !of("192.0.2.1").contains(ip("192.0.2.2")));
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "host", "::/129", "10.0.0.0/-1"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let of = |peer: &str, values: &[&str]| origin(ip(peer), &trusted, values.iter().copied());
        assert_eq!(of("192.0.2.1", &["198.51.100.7"]), ip("192.0.2.1"), "a stranger may write what it likes");
        assert_eq!(of("10.0.0.1", &["198.51.100.7"]), ip("198.51.100.7"));
        assert_eq!(of("10.0.0.1", &["203.0.113.9, 198.51.100.7", "10.0.0.2"]), ip("198.51.100.7"));
        assert_eq!(of("10.0.0.1", &["[2001:db8::1]:443"]), ip("2001:db8::1"));
        assert_eq!(of("10.0.0.1", &["unknown"]), ip("10.0.0.1"));
        assert_eq!(of("10.0.0.1", &[]), ip("10.0.0.1"));
    }
}
