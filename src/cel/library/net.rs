//! IP addresses and ranges.

use super::{Row, global, member, mismatch};
use crate::cel::budget::Budget;
use crate::cel::error::Fault;
use crate::cel::value::{Opaque, Val};
use std::net::IpAddr;
use std::sync::Arc;

pub(super) const ROWS: &[Row] = &[
    global("ip", "string -> net.IP", ip, "Reads an IP address."),
    global("isIP", "string -> bool", is_ip, "Whether a text is an IP address."),
    global(
        "ip.isCanonical",
        "string -> bool",
        is_canonical,
        "Whether an IP address is written in its usual form.",
    ),
    member("family", "net.IP -> int", family, "4 or 6."),
    member("isUnspecified", "net.IP -> bool", is_unspecified, "Whether it is 0.0.0.0 or ::."),
    member("isLoopback", "net.IP -> bool", is_loopback, "Whether it is a loopback address."),
    member(
        "isLinkLocalMulticast",
        "net.IP -> bool",
        is_link_local_multicast,
        "Whether it is a link-local multicast address.",
    ),
    member(
        "isLinkLocalUnicast",
        "net.IP -> bool",
        is_link_local_unicast,
        "Whether it is a link-local address.",
    ),
    member(
        "isGlobalUnicast",
        "net.IP -> bool",
        is_global_unicast,
        "Whether it is none of the special addresses.",
    ),
    global("string", "net.IP -> string", ip_text, "The address in its usual form."),
    global("cidr", "string -> net.CIDR", cidr, "Reads a range of IP addresses, as in 10.0.0.0/8."),
    global("isCIDR", "string -> bool", is_cidr, "Whether a text is a range of IP addresses."),
    member("containsIP", "net.CIDR, string -> bool", contains_ip, "Whether an address is in the range."),
    member("containsIP", "net.CIDR, net.IP -> bool", contains_ip, "Whether an address is in the range."),
    member("containsCIDR", "net.CIDR, string -> bool", contains_cidr, "Whether a range is in the range."),
    member("containsCIDR", "net.CIDR, net.CIDR -> bool", contains_cidr, "Whether a range is in the range."),
    member("ip", "net.CIDR -> net.IP", cidr_ip, "The address before the slash."),
    member("masked", "net.CIDR -> net.CIDR", masked, "The range with its first address before the slash."),
    member("prefixLength", "net.CIDR -> int", prefix_length, "The number after the slash."),
    global("string", "net.CIDR -> string", cidr_text, "The range in its usual form."),
];

/// A range of addresses; the address need not be its first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cel) struct Cidr {
    address: IpAddr,
    bits: u8,
}

impl Cidr {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.rsplit_once('/')?;
        let plain = bits.bytes().all(|b| b.is_ascii_digit()) && (bits == "0" || !bits.starts_with('0'));
        let bits: u8 = bits.parse().ok().filter(|_| plain)?;
        let address = parse_ip(address)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        (bits <= most).then_some(Self { address, bits })
    }

    /// The bits of an address of this family that the range fixes.
    fn network(&self, address: IpAddr) -> Option<u128> {
        let shift = |width: u8| u32::from(width - self.bits);
        match (self.address, address) {
            (IpAddr::V4(_), IpAddr::V4(a)) => {
                Some(u128::from(u32::from(a)).checked_shr(shift(32)).unwrap_or(0))
            }
            (IpAddr::V6(_), IpAddr::V6(a)) => Some(u128::from(a).checked_shr(shift(128)).unwrap_or(0)),
            _ => None,
        }
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.network(address).is_some_and(|n| Some(n) == self.network(self.address))
    }

    fn masked(&self) -> Self {
        let network = self.network(self.address).unwrap_or(0);
        let address = match self.address {
            IpAddr::V4(_) => {
                let bits = network.checked_shl(u32::from(32 - self.bits)).unwrap_or(0);
                IpAddr::V4((bits as u32).into())
            }
            IpAddr::V6(_) => IpAddr::V6(network.checked_shl(u32::from(128 - self.bits)).unwrap_or(0).into()),
        };
        Self { address, bits: self.bits }
    }
}

/// Kubernetes takes no zones, and no IPv4 addresses in IPv6 form.
fn parse_ip(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.parse().ok()?;
    match address {
        IpAddr::V6(a) if a.to_ipv4_mapped().is_some() => None,
        other => Some(other),
    }
}

fn text<'a>(budget: &Budget, args: &'a [Val]) -> Result<&'a str, Fault> {
    match args {
        [Val::String(s)] => {
            budget.text(s.len())?;
            Ok(s)
        }
        _ => Err(mismatch(args)),
    }
}

fn bad_ip() -> Fault {
    Fault::invalid("IP address parse error during conversion from string")
}

fn bad_cidr() -> Fault {
    Fault::invalid("network address parse error during conversion from string")
}

fn wrap_ip(address: IpAddr) -> Val {
    Val::Opaque(Arc::new(Opaque::Ip(address)))
}

fn wrap_cidr(range: Cidr) -> Val {
    Val::Opaque(Arc::new(Opaque::Cidr(range)))
}

/// An address, given as one or as text.
fn ip_of(args: &[Val], index: usize) -> Result<IpAddr, Fault> {
    match args.get(index) {
        Some(Val::String(s)) => parse_ip(s).ok_or_else(bad_ip),
        Some(Val::Opaque(o)) => match o.as_ref() {
            Opaque::Ip(address) => Ok(*address),
            _ => Err(mismatch(args)),
        },
        _ => Err(mismatch(args)),
    }
}

/// A range, given as one or as text.
fn cidr_of(args: &[Val], index: usize) -> Result<Cidr, Fault> {
    match args.get(index) {
        Some(Val::String(s)) => Cidr::parse(s).ok_or_else(bad_cidr),
        Some(Val::Opaque(o)) => match o.as_ref() {
            Opaque::Cidr(range) => Ok(*range),
            _ => Err(mismatch(args)),
        },
        _ => Err(mismatch(args)),
    }
}

fn ip(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    parse_ip(text(budget, args)?).map(wrap_ip).ok_or_else(bad_ip)
}

fn is_ip(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(Val::Bool(parse_ip(text(budget, args)?).is_some()))
}

fn is_canonical(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let text = text(budget, args)?;
    let address = parse_ip(text).ok_or_else(bad_ip)?;
    Ok(Val::Bool(address.to_string() == text))
}

fn family(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(Val::Int(if ip_of(args, 0)?.is_ipv4() { 4 } else { 6 }))
}

fn is_unspecified(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(Val::Bool(ip_of(args, 0)?.is_unspecified()))
}

fn is_loopback(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(Val::Bool(ip_of(args, 0)?.is_loopback()))
}

fn link_local_multicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => matches!(a.octets(), [224, 0, 0, _]),
        IpAddr::V6(a) => a.segments().first().is_some_and(|s| s & 0xff0f == 0xff02),
    }
}

fn link_local_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => a.is_link_local(),
        IpAddr::V6(a) => a.is_unicast_link_local(),
    }
}

fn is_link_local_multicast(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(Val::Bool(link_local_multicast(ip_of(args, 0)?)))
}

fn is_link_local_unicast(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(Val::Bool(link_local_unicast(ip_of(args, 0)?)))
}

fn is_global_unicast(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let address = ip_of(args, 0)?;
    let broadcast = matches!(address, IpAddr::V4(a) if a.is_broadcast());
    let special = address.is_unspecified() || address.is_loopback() || address.is_multicast() || broadcast;
    Ok(Val::Bool(!special && !link_local_unicast(address)))
}

fn ip_text(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(Val::string(ip_of(args, 0)?.to_string()))
}

fn cidr(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Cidr::parse(text(budget, args)?).map(wrap_cidr).ok_or_else(bad_cidr)
}

fn is_cidr(budget: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(Val::Bool(Cidr::parse(text(budget, args)?).is_some()))
}

fn contains_ip(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(Val::Bool(cidr_of(args, 0)?.contains(ip_of(args, 1)?)))
}

fn contains_cidr(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let (outer, inner) = (cidr_of(args, 0)?, cidr_of(args, 1)?);
    Ok(Val::Bool(outer.bits <= inner.bits && outer.contains(inner.masked().address)))
}

fn cidr_ip(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(wrap_ip(cidr_of(args, 0)?.address))
}

fn masked(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(wrap_cidr(cidr_of(args, 0)?.masked()))
}

fn prefix_length(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    Ok(Val::Int(i64::from(cidr_of(args, 0)?.bits)))
}

fn cidr_text(_: &Budget, args: &[Val]) -> Result<Val, Fault> {
    let range = cidr_of(args, 0)?;
    Ok(Val::string(format!("{}/{}", range.address, range.bits)))
}
