//! Networks in CIDR notation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::types::Type;
use super::super::value::Value;
use super::Parameter::{Number, Text};
use super::{Failure, Function, Outcome, Surroundings, blame, fixed, integer, text, variadic};

pub const FUNCTIONS: &[Function] = &[
    fixed("cidrhost", &[Text, Number], host),
    fixed("cidrnetmask", &[Text], |values, _| {
        let network = network(values)?;
        Ok(Value::from(network.address(network.mask()).to_string()))
    }),
    fixed("cidrsubnet", &[Text, Number, Number], subnet),
    variadic("cidrsubnets", &[Text], Number, subnets),
];

/// The most bits by which one call divides a network.
const MOST_NEW_BITS: u32 = 32;

/// An address without its host part.
#[derive(Clone, Copy)]
struct Network {
    base: u128,
    prefix: u32,
    /// 32 or 128.
    bits: u32,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let (base, bits) = match address.parse().ok()? {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        let is_plain = prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix: u32 = prefix.parse().ok().filter(|prefix| is_plain && *prefix <= bits)?;
        let network = Self { base, prefix, bits };
        Some(Self { base: base & network.mask(), ..network })
    }

    fn mask(self) -> u128 {
        let host = self.bits - self.prefix;
        let all = if self.bits == 128 { u128::MAX } else { (1 << self.bits) - 1 };
        if host == 128 { 0 } else { all & !((1u128 << host) - 1) }
    }

    fn address(self, value: u128) -> IpAddr {
        match u32::try_from(value) {
            Ok(value) if self.bits == 32 => IpAddr::V4(Ipv4Addr::from_bits(value)),
            _ => IpAddr::V6(Ipv6Addr::from_bits(value)),
        }
    }

    fn text(self) -> String {
        format!("{}/{}", self.address(self.base), self.prefix)
    }
}

fn network(values: &[Value]) -> Result<Network, Failure> {
    Network::parse(text(values, 0))
        .ok_or_else(|| blame(0, format!("`{}` is not a network such as `10.0.0.0/8`", text(values, 0))))
}

fn host(values: &[Value], _: &Surroundings) -> Outcome {
    let network = network(values)?;
    let number = integer(values, 1)?;
    let host_bits = network.bits - network.prefix;
    let capacity = if host_bits >= 127 { u128::MAX >> 1 } else { 1 << host_bits };
    let distance = u128::from(number.unsigned_abs());
    let too_far = if number < 0 { distance > capacity } else { distance >= capacity };
    if too_far {
        let message = format!("a network with prefix {} has no host {number}", network.prefix);
        return Err(blame(1, message));
    }
    let offset = if number < 0 { capacity - distance } else { distance };
    Ok(Value::from(network.address(network.base | offset).to_string()))
}

fn subnet(values: &[Value], _: &Surroundings) -> Outcome {
    let network = network(values)?;
    let new_bits = u32::try_from(integer(values, 1)?).ok().filter(|bits| *bits <= MOST_NEW_BITS);
    let new_bits =
        new_bits.ok_or_else(|| blame(1, format!("a network is divided by 0 to {MOST_NEW_BITS} bits")))?;
    let prefix = network.prefix + new_bits;
    if prefix > network.bits {
        return Err(blame(1, format!("the prefix cannot grow from {} to {prefix} bits", network.prefix)));
    }
    let number = u128::try_from(integer(values, 2)?).ok().filter(|number| *number < (1u128 << new_bits));
    let number = number.ok_or_else(|| blame(2, format!("{new_bits} bits do not hold this number")))?;
    let base = network.base | number.checked_shl(network.bits - prefix).unwrap_or(0);
    Ok(Value::from(Network { base, prefix, ..network }.text()))
}

fn subnets(values: &[Value], _: &Surroundings) -> Outcome {
    let network = network(values)?;
    let last = network.base | (!network.mask() & Network { prefix: 0, ..network }.whole());
    let mut next = Some(network.base);
    let mut found = Vec::new();
    for argument in 1..values.len() {
        let new_bits = u32::try_from(integer(values, argument)?).ok();
        let new_bits = new_bits.filter(|bits| (1..=MOST_NEW_BITS).contains(bits));
        let new_bits = new_bits
            .ok_or_else(|| blame(argument, format!("a network is divided by 1 to {MOST_NEW_BITS} bits")))?;
        let prefix = network.prefix + new_bits;
        if prefix > network.bits {
            return Err(blame(argument, format!("the prefix cannot grow to {prefix} bits")));
        }
        let size = 1u128 << (network.bits - prefix);
        let full = || blame(argument, format!("there is no room left in {}", network.text()));
        let start = next.ok_or_else(full)?;
        // The next multiple of the size that is free.
        let base = start.checked_add(size - 1).map(|end| end & !(size - 1)).ok_or_else(full)?;
        if base > last || last - base < size - 1 {
            return Err(full());
        }
        found.push(Value::from(Network { base, prefix, ..network }.text()));
        next = base.checked_add(size);
    }
    Ok(Value::list(Type::String, found))
}

impl Network {
    /// All bits of an address.
    fn whole(self) -> u128 {
        if self.bits == 128 { u128::MAX } else { (1 << self.bits) - 1 }
    }
}
