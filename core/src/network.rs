//! Networks of IP addresses, such as those of trusted proxies.

use alloc::string::String;
use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

/// An address, or all those that begin with the same bits: `127.0.0.1`, `10.0.0.0/8`, `fd00::/8`.
///
/// IPv4 addresses that are mapped into IPv6 (`::ffff:10.0.0.1`), as a socket for both shows them, are IPv4 here.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::config::Network;
///
/// let network: Network = "10.0.0.0/8".parse()?;
/// assert!(network.contains("10.1.2.3".parse()?) && network.contains("::ffff:10.1.2.3".parse()?));
/// assert!(!network.contains("11.0.0.1".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    addr: IpAddr,
    prefix: u8,
}

/// The error for a text that is neither an address nor a network. It names the text, which may be one of many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidNetwork(String);

impl Network {
    /// Returns `true` if an address is in it.
    pub fn contains(&self, addr: IpAddr) -> bool {
        let (network, addr) = (bits(self.addr), bits(addr.to_canonical()));
        let ((network, length), (addr, other)) = (network, addr);
        // Of a network with a prefix of 0 all bits are shifted out.
        let differing = (network ^ addr).checked_shr(u32::from(length - self.prefix)).unwrap_or(0);
        length == other && differing == 0
    }
}

/// Returns the bits of an address, as the lowest ones, and their number.
fn bits(addr: IpAddr) -> (u128, u8) {
    match addr {
        IpAddr::V4(addr) => (addr.to_bits().into(), 32),
        IpAddr::V6(addr) => (addr.to_bits(), 128),
    }
}

impl From<IpAddr> for Network {
    fn from(addr: IpAddr) -> Self {
        let addr = addr.to_canonical();
        Self { addr, prefix: bits(addr).1 }
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        parse(text).ok_or_else(|| InvalidNetwork(text.into()))
    }
}

fn parse(text: &str) -> Option<Network> {
    let Some((addr, digits)) = text.split_once('/') else {
        return text.parse().map(IpAddr::into).ok();
    };
    let addr: IpAddr = addr.parse().ok()?;
    let prefix: u8 = digits.parse().ok()?;
    // `u8::from_str` would take a sign.
    if digits.starts_with('+') || prefix > bits(addr).1 {
        return None;
    }
    match addr.to_canonical() {
        // A mapped network keeps the part of its prefix after the 96 bits that map it; a shorter prefix means IPv6.
        mapped if bits(mapped).1 != bits(addr).1 => match prefix.checked_sub(96) {
            Some(prefix) => Some(Network { addr: mapped, prefix }),
            None => Some(Network { addr, prefix }),
        },
        addr => Some(Network { addr, prefix }),
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix)
    }
}

impl fmt::Display for InvalidNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is neither an address nor a network: write 127.0.0.1, ::1, 10.0.0.0/8 or fd00::/8", self.0)
    }
}

impl core::error::Error for InvalidNetwork {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, string::ToString};

    #[test]
    fn h6_networks_contain_what_begins_as_they_do() {
        let contains = |network: &str, addr: &str| network.parse::<Network>().unwrap().contains(addr.parse().unwrap());
        for (network, addr) in [
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1", "::ffff:127.0.0.1"),
            ("::ffff:127.0.0.1", "127.0.0.1"),
            ("10.0.0.0/8", "10.255.255.255"),
            ("10.9.9.9/8", "10.0.0.0"),
            ("::ffff:10.0.0.0/104", "10.1.2.3"),
            ("0.0.0.0/0", "203.0.113.9"),
            ("::/0", "2001:db8::1"),
            ("fd00::/8", "fdff::1"),
            ("::1/128", "::1"),
            ("192.0.2.128/25", "192.0.2.255"),
        ] {
            assert!(contains(network, addr), "{addr} in {network}");
        }
        for (network, addr) in [
            ("127.0.0.1", "127.0.0.2"),
            ("10.0.0.0/8", "11.0.0.0"),
            ("192.0.2.128/25", "192.0.2.127"),
            ("::1", "::2"),
            ("::1", "0.0.0.1"),
            ("::/0", "127.0.0.1"),
            ("0.0.0.0/0", "::1"),
            ("fd00::/8", "fe00::"),
        ] {
            assert!(!contains(network, addr), "{addr} not in {network}");
        }
        for text in ["", "/", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/8/8", "10/8", "localhost"]
        {
            let error = text.parse::<Network>().unwrap_err();
            assert!(error.to_string().starts_with(&format!("{text:?} is neither an address nor")), "{error}");
        }
    }
}
