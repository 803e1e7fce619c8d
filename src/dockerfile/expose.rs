//! Ports of `EXPOSE`, once expanded: `[[ip:]host:]port[-last][/protocol]`, as docker's `nat` package reads them.

use std::fmt;
use std::net::IpAddr;

/// A port of the container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExposedPort {
    pub port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: &'static str,
}

/// What one word of `EXPOSE` stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExposedPorts {
    pub ports: Vec<ExposedPort>,
    /// An address or a host port is given, which only matters to `docker run` and is dropped.
    pub has_host_part: bool,
    /// The protocol as written.
    pub written_protocol: Option<String>,
}

/// Why a word is no port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParsePortError {
    #[error("`{0}` names no port")]
    NoPort(String),
    #[error("`{0}` is not a port, which is a number up to 65535 or a range of such numbers")]
    Port(String),
    #[error("`{0}` is not a protocol; EXPOSE knows tcp, udp and sctp")]
    Protocol(String),
    #[error("`{0}` is not an IP address")]
    Address(String),
    #[error("`{0}` has ranges of different lengths")]
    Ranges(String),
}

impl fmt::Display for ExposedPort {
    /// `80/tcp`, as image configs have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, self.protocol)
    }
}

/// Reads one expanded word.
pub fn parse_ports(word: &str) -> Result<ExposedPorts, ParsePortError> {
    let (ports, protocol) = word.split_once('/').unwrap_or((word, ""));
    let written_protocol = Some(protocol).filter(|protocol| !protocol.is_empty());
    let (host, container) = match ports.rsplit_once(':') {
        Some((host, container)) => (Some(host), container),
        None => (None, ports),
    };
    if container.is_empty() {
        return Err(ParsePortError::NoPort(word.to_string()));
    }
    let (first, last) = parse_range(container)?;
    let protocol = parse_protocol(written_protocol.unwrap_or("tcp"))?;
    if let Some(host) = host {
        check_host(word, host, last - first)?;
    }
    Ok(ExposedPorts {
        ports: (first..=last).map(|port| ExposedPort { port, protocol }).collect(),
        has_host_part: host.is_some_and(|host| !host.is_empty()),
        written_protocol: written_protocol.map(str::to_string),
    })
}

fn parse_protocol(text: &str) -> Result<&'static str, ParsePortError> {
    let known = ["tcp", "udp", "sctp"].into_iter().find(|known| known.eq_ignore_ascii_case(text));
    known.ok_or_else(|| ParsePortError::Protocol(text.to_string()))
}

fn parse_range(text: &str) -> Result<(u16, u16), ParsePortError> {
    let error = || ParsePortError::Port(text.to_string());
    let port = |text: &str| text.parse::<u16>().map_err(|_| error());
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    if last < first { Err(error()) } else { Ok((first, last)) }
}

/// `[ip:]port[-last]`; a range on the host fits one of equal length, or a single port.
fn check_host(word: &str, host: &str, length: u16) -> Result<(), ParsePortError> {
    let (address, ports) = host.rsplit_once(':').unwrap_or(("", host));
    let address = address.strip_prefix('[').and_then(|address| address.strip_suffix(']')).unwrap_or(address);
    if !address.is_empty() && address.parse::<IpAddr>().is_err() {
        return Err(ParsePortError::Address(address.to_string()));
    }
    if ports.is_empty() {
        return Ok(());
    }
    let (first, last) = parse_range(ports)?;
    if length != 0 && last - first != length {
        return Err(ParsePortError::Ranges(word.to_string()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::parse_ports;

    #[test]
    fn words_become_ports() {
        for (word, expected) in [
            ("80", "80/tcp"),
            ("80/UDP", "80/udp"),
            ("53/", "53/tcp"),
            ("8000-8002/sctp", "8000/sctp 8001/sctp 8002/sctp"),
            ("8080:80", "80/tcp"),
            ("127.0.0.1:8080:80/tcp", "80/tcp"),
            ("[::1]:8080:80", "80/tcp"),
            ("127.0.0.1::80", "80/tcp"),
            ("8000-8010:80", "80/tcp"),
            ("+80", "80/tcp"),
            ("080-081", "80/tcp 81/tcp"),
            (":80", "80/tcp"),
        ] {
            let ports = parse_ports(word).unwrap().ports;
            let text = ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            assert_eq!(text, expected, "{word}");
        }
        assert_eq!(parse_ports("0-65535").unwrap().ports.len(), 65_536);
    }

    #[test]
    fn other_words_are_refused() {
        for (word, expected) in [
            ("", "`` names no port"),
            ("80:", "`80:` names no port"),
            ("x", "`x` is not a port, which is a number up to 65535 or a range of such numbers"),
            ("65536", "`65536` is not a port, which is a number up to 65535 or a range of such numbers"),
            ("9-8", "`9-8` is not a port, which is a number up to 65535 or a range of such numbers"),
            ("-80", "`-80` is not a port, which is a number up to 65535 or a range of such numbers"),
            ("80-", "`80-` is not a port, which is a number up to 65535 or a range of such numbers"),
            ("80/tcp/x", "`tcp/x` is not a protocol; EXPOSE knows tcp, udp and sctp"),
            ("80/icmp", "`icmp` is not a protocol; EXPOSE knows tcp, udp and sctp"),
            ("1.2.3:80:80", "`1.2.3` is not an IP address"),
            ("1-3:1-2", "`1-3:1-2` has ranges of different lengths"),
        ] {
            assert_eq!(parse_ports(word).unwrap_err().to_string(), expected, "{word}");
        }
    }
}
