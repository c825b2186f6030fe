//! What may have been meant by a value that is not understood. Guesses are only ever printed, never obeyed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::{Network, value};
use crate::limits;
use crate::mail::address;
use crate::names::ends::End;

/// The number at the beginning of a text, and what follows it.
fn leading(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|letter: char| !matches!(letter, '0'..='9' | '.' | '_' | ',')).unwrap_or(text.len());
    // 1_000 and 1,000 are a thousand; 1,5 is one and a half.
    let mut digits = text[..end].replace('_', "");
    if let Some((_, behind)) = digits.rsplit_once(',') {
        digits = if behind.len() == 3 { digits.replace(',', "") } else { digits.replace(',', ".") };
    }
    let number = digits.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)?;
    Some((number, text[end..].trim()))
}

/// `"25"`, `"1_000"`, `"10k"`.
pub(super) fn number(text: &str) -> Option<u64> {
    let (number, unit) = leading(text)?;
    let factor = match unit {
        "" => 1.0,
        "k" | "K" => 1e3,
        "m" | "M" => 1e6,
        _ => return None,
    };
    Some((number * factor) as u64)
}

/// Microseconds of a unit in whatever way it is written.
fn unit_of_time(word: &str) -> Option<u64> {
    Some(match word.trim().trim_end_matches('.').to_lowercase().as_str() {
        "us" | "µs" | "μs" | "usec" | "usecs" | "microsecond" | "microseconds" => 1,
        "ms" | "msec" | "msecs" | "milli" | "millis" | "millisecond" | "milliseconds" => 1000,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000_000,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600_000_000,
        "d" | "day" | "days" => 86_400_000_000,
        "w" | "wk" | "week" | "weeks" => 604_800_000_000,
        _ => return None,
    })
}

/// A time in a range: with its unit spelt right, or else with the unit that fits, that of `usual` first.
pub(super) fn duration(text: &str, range: &RangeInclusive<Duration>, usual: Duration) -> Duration {
    let Some((number, word)) = leading(text) else { return usual };
    let of = |micros: u64| {
        let micros = number * micros as f64;
        (micros < 1e17).then(|| Duration::from_micros(micros.round() as u64))
    };
    let whole = value::duration(text).ok();
    let spelt = whole.or_else(|| unit_of_time(word).and_then(of));
    if let Some(span) = spelt.filter(|span| range.contains(span)) {
        return span;
    }
    // A little too much is too much; with a unit it is one unit off, most likely: 5000s for 5000ms.
    const UNITS: [u64; 6] = [1, 1000, 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000];
    let written = UNITS.iter().position(|unit| Some(*unit) == unit_of_time(word));
    let fits = |unit: &u64| of(*unit).filter(|span| range.contains(span));
    let found = match written {
        Some(_) if spelt.is_some_and(|span| span > *range.end() && span <= *range.end() * 10) => None,
        // Nobody writes days for hours.
        Some(4..) if spelt.is_some_and(|span| span > *range.end()) => None,
        Some(at) if spelt.is_some_and(|span| span > *range.end()) => UNITS[..at].iter().rev().find_map(fits),
        Some(at) => UNITS[at..].iter().find_map(fits),
        None if word.is_empty() => without_unit(number, UNITS.iter().filter_map(fits), usual),
        None => None,
    };
    if let Some(span) = found {
        return span;
    }
    // What is far too short says nothing of what was meant.
    spelt.filter(|span| span > range.end()).map_or(usual, |_| *range.end())
}

/// Which of these times a number without a unit is. From a minute on people count in seconds, as other programs do; else it is the one next to what
/// is usual.
fn without_unit(number: f64, fitting: impl Iterator<Item = Duration>, usual: Duration) -> Option<Duration> {
    let apart = |span: &Duration| (span.as_secs_f64().max(1e-6) / usual.as_secs_f64().max(1e-6)).ln().abs();
    let fitting: Vec<Duration> = fitting.collect();
    let seconds = fitting.iter().find(|span| span.as_secs_f64() == number && number >= 60.0).copied();
    let next = || fitting.iter().copied().min_by(|one, other| apart(one).total_cmp(&apart(other)));
    seconds.filter(|span| apart(span) < limits::TIME_GUESS_FAR.ln()).or_else(next)
}

/// A size in a range: with its unit spelt right, or else with the unit that fits.
pub(super) fn size(text: &str, range: &RangeInclusive<u64>, usual: u64) -> u64 {
    let Some((number, word)) = leading(text) else { return usual };
    let lower = word.to_lowercase();
    let decimal = matches!(lower.as_str(), "kb" | "mb" | "gb" | "tb");
    let step: f64 = if decimal { 1000.0 } else { 1024.0 };
    let power = match lower.chars().next() {
        None | Some('b') => 0,
        Some('k') => 1,
        Some('m') => 2,
        Some('g') => 3,
        Some('t') => 4,
        Some('p') => 5,
        _ => return usual,
    };
    let of = |power: i32| (number * step.powi(power)) as u64;
    if range.contains(&of(power)) {
        return of(power);
    }
    if of(power) > *range.end() && (power > 0 || of(power) / 10 <= *range.end()) {
        return largest(*range.end(), of(power) as f64 / number);
    }
    if number == 0.0 {
        return (*range.start()).max(usual.min(*range.end()));
    }
    [2, 1, 3]
        .into_iter()
        .map(of)
        .find(|size| range.contains(size))
        .unwrap_or_else(|| of(power).clamp(*range.start(), *range.end()))
}

/// The largest size that may be, in whole units of whoever wrote too much.
fn largest(most: u64, unit: f64) -> u64 {
    let whole = |unit: u64| most.checked_div(unit).filter(|units| *units > 0).map(|units| units * unit);
    whole(unit as u64).unwrap_or(most)
}

/// A network of which the host bits are set, the mask is spelt out, zeros are left out, or a port is added.
pub(super) fn network(text: &str) -> Option<String> {
    let text = text.trim().trim_matches(['[', ']']).trim_end_matches(".*");
    if text.eq_ignore_ascii_case("localhost") {
        return Some("127.0.0.0/8".to_owned());
    }
    let (host, prefix) =
        text.split_once('/').map_or((text, None), |(host, bits)| (host.trim(), Some(bits.trim())));
    if let Ok(SocketAddr::V4(with_port)) = text.parse() {
        return Some(with_port.ip().to_string());
    }
    let parts = host.split('.').filter(|part| !part.is_empty() && *part != "*").count();
    let padded = || {
        let host = host.trim_end_matches(['.', '*']);
        (parts < 4 && !host.contains(':')).then(|| format!("{host}{}", ".0".repeat(4 - parts)))
    };
    let address: IpAddr = host.parse().ok().or_else(|| padded()?.parse().ok())?;
    let widest = if address.is_ipv4() { 32 } else { 128 };
    let bits = match prefix {
        Some(bits) => match bits.parse::<Ipv4Addr>() {
            // 255.255.0.0
            Ok(mask) => mask.to_bits().leading_ones() as u8,
            Err(_) => bits.parse::<u32>().ok()?.min(widest) as u8,
        },
        None if parts < 4 && address.is_ipv4() => parts as u8 * 8,
        None => widest as u8,
    };
    if let IpAddr::V4(inner) = address.to_canonical()
        && address.is_ipv6()
        && bits >= 104
    {
        return network(&format!("{inner}/{}", bits - 96));
    }
    let first = match address {
        IpAddr::V4(address) => {
            IpAddr::V4((address.to_bits() & u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)).into())
        }
        IpAddr::V6(address) => {
            IpAddr::V6((address.to_bits() & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)).into())
        }
    };
    // A guess must not open the relay to everybody.
    (bits >= 8).then(|| Network { address: first, bits }.to_string())
}

/// An address with a port; `port` where there is none.
fn socket_with(text: &str, port: u16) -> Option<String> {
    let text = text.trim();
    let text = text.split_once("://").map_or(text, |(_, rest)| rest).trim_end_matches('/');
    if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>()
        && (address.is_ipv4() || text.starts_with('['))
    {
        return Some(SocketAddr::new(address.to_canonical(), port).to_string());
    }
    let named = |host: &str| match host.trim_matches(['[', ']']) {
        "" | "*" => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        host => host.parse().ok().map(|host: IpAddr| host.to_canonical()),
    };
    if let Some((host, port)) = text.rsplit_once(':')
        && let (Some(host), Ok(port)) = (named(host), port.trim().parse::<u16>())
        && port > 0
    {
        return Some(SocketAddr::new(host, port).to_string());
    }
    if let Ok(port) = text.parse::<u16>()
        && port > 0
    {
        return Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).to_string());
    }
    let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
    named(if text.matches(':').count() > 1 && !text.contains(']') { text } else { host })
        .map(|host| SocketAddr::new(host, port).to_string())
}

/// Where a listener may listen: `25`, `*:25`, `localhost:25`, `::1`.
pub(super) fn listening(text: &str) -> Option<String> {
    socket_with(text, 25)
}

/// Where HTTP may be served; on this machine only, unless an address is named.
pub(super) fn http(text: &str) -> Option<String> {
    let port = text.trim().trim_start_matches(['*', ':']);
    if let Ok(port) = port.parse::<u16>() {
        return Some(format!("127.0.0.1:{port}"));
    }
    socket_with(text, 8025)
}

/// A name server.
pub(super) fn name_server(text: &str) -> Option<String> {
    socket_with(text, 53).filter(|server| !server.starts_with("0.0.0.0"))
}

/// A pattern of domains: `@example.com`, `.example.com`, `example.com.`
pub(super) fn pattern(text: &str) -> Option<String> {
    let text = text.trim().trim_end_matches('.').trim_start_matches('@');
    if matches!(text.to_lowercase().as_str(), "" | "all" | "any" | "default" | "*.") {
        return Some("*".to_owned());
    }
    match text.strip_prefix('.').or(text.strip_prefix("*.")).or(text.strip_prefix('*')) {
        Some(suffix) => Some(format!("*.{}", suffix.trim_start_matches(['*', '.']))),
        None => Some(text.to_owned()),
    }
}

/// Where a route may lead: a host with or without a port, as Postfix writes it, or with another scheme.
pub(super) fn target(text: &str) -> Option<String> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("mx") || text.is_empty() {
        return Some("mx".to_owned());
    }
    let word = text.to_lowercase();
    let end = match word.as_str() {
        "drop" | "blackhole" | "/dev/null" => End::Discarded.wanted(),
        word => End::wanted_by(word.trim_end_matches(':')).and_then(End::wanted),
    };
    if let Some(end) = end {
        return Some(end.to_owned());
    }
    // Postfix writes `lmtp:unix:/path` and `lmtp:inet:host:port`.
    let (scheme, place) = match text.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None => text.split_once(':').filter(|(scheme, _)| is_scheme(scheme)).unwrap_or(("smtp", text)),
    };
    let place = place.trim_start_matches("unix:").trim_start_matches("inet:");
    let (scheme, usual) = match scheme.to_lowercase().as_str() {
        "lmtp" if !place.starts_with('/') => ("lmtp", 24),
        "smtps" => ("smtps", 465),
        _ if place.starts_with('/') => return Some(format!("lmtp:{}", place.trim_end_matches('/'))),
        _ => ("smtp", 25),
    };
    let place = place.split('/').next().unwrap_or(place);
    // `user:password@host`: a password may have an @ too.
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.trim_start_matches(':')),
        None if place.matches(':').count() > 1 => (place, ""),
        None => place.split_once(':').unwrap_or((place, "")),
    };
    let port = port.parse::<u16>().ok().filter(|port| *port > 0).unwrap_or(usual);
    let port = if scheme == "lmtp" && port == 25 { usual } else { port };
    let host = host.trim_end_matches('.');
    let host = host.parse().map_or(host.to_owned(), |host: IpAddr| host.to_canonical().to_string());
    Some(if host.contains(':') {
        format!("{scheme}://[{host}]:{port}")
    } else {
        format!("{scheme}://{host}:{port}")
    })
}

fn is_scheme(word: &str) -> bool {
    ["smtp", "smtps", "lmtp", "unix", "inet"].contains(&word.to_lowercase().as_str())
}

/// A host name with what does not belong there taken away.
pub(super) fn hostname(text: &str) -> Option<String> {
    let name: String = text.trim().trim_end_matches('.').trim_matches(['[', ']']).replace(['_', ' '], "-");
    (address::is_domain(name.as_bytes()) && name.contains('.') && name.parse::<IpAddr>().is_err())
        .then_some(name)
}
