//! Names of the addresses that mail leaves from: forward-confirmed reverse DNS, which large receivers ask for.

use std::net::IpAddr;

use relevo::dns::{Answer, QueryType};
use relevo::lookup::blocklist::{self, Standing};
use relevo::lookup::reverse;
use relevo::lookup::spf::Ask;

use super::leaving::Leaving;
use super::point::{Point, State};

const WHAT: &str = "PTR";

fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}

/// Whether a name leads to an address.
fn leads_to(ask: &Ask<'_>, name: &str, address: IpAddr) -> bool {
    let kind = if address.is_ipv4() { QueryType::A } else { QueryType::Aaaa };
    matches!(ask(kind, name), Ok(Answer::Addresses(all)) if all.contains(&address))
}

/// What a list says of our addresses.
pub fn listed(ask: &Ask<'_>, zone: &str, leaving: &[Leaving]) -> Vec<Point> {
    const WHAT: &str = "LIST";
    let zone = zone.trim_end_matches('.');
    let silent = |why: String| Point::new(WHAT, State::Unknown, format!("{zone} says nothing: {why}"));
    if let Err(why) = blocklist::is_kept(ask, zone) {
        return vec![silent(why)];
    }
    let point = |one: &Leaving| match blocklist::ask(ask, zone, one.address) {
        Standing::Clear => Point::new(WHAT, State::Right, format!("{} is not listed by {zone}", one.address)),
        Standing::Listed(why) => {
            Point::new(WHAT, State::Wrong, format!("{} is listed by {zone}: {why}", one.address))
                .advised("mend what it says, then ask the list to take it off")
        }
        Standing::Unknown(why) => silent(why),
    };
    leaving.iter().filter(|one| !is_private(one.address)).map(point).collect()
}

/// The names of one.
pub fn names(ask: &Ask<'_>, leaving: &Leaving) -> Vec<Point> {
    let Leaving { address, ehlo } = leaving;
    if is_private(*address) {
        let found = format!("{address} is a private address: receivers see another");
        return vec![Point::new(WHAT, State::Note, found).advised("give that one: --address IP")];
    }
    let record = reverse::name(*address);
    let names = match ask(QueryType::Ptr, &record) {
        Ok(Answer::Names(names)) => names,
        Ok(_) => {
            let found = format!("{address} has no name");
            let line = format!("{record}. IN PTR {ehlo}.");
            let whose = "whoever gave you the address publishes it";
            return vec![Point::new(WHAT, State::Wrong, found).advised(whose).with_line(line)];
        }
        Err(error) => return vec![Point::unknown(WHAT, &error)],
    };
    let shown = names.join(", ");
    let kind = if address.is_ipv4() { "A" } else { "AAAA" };
    let Some(confirmed) = names.iter().find(|name| leads_to(ask, name, *address)) else {
        let found = format!("{address} is called {shown}, which does not lead back to it");
        let line = format!("{}. IN {kind} {address}", names[0]);
        return vec![Point::new(WHAT, State::Wrong, found).with_line(line)];
    };
    let found = format!("{address} is called {confirmed}, which leads back to it");
    let mut points = vec![Point::new(WHAT, State::Right, found)];
    if !names.contains(ehlo) && !leads_to(ask, ehlo, *address) {
        let found = format!("{address} greets as {ehlo}, which does not lead to it");
        let advice = format!("set ehlo = \"{confirmed}\" of its [[source]], or publish");
        let point = Point::new("EHLO", State::Doubtful, found).advised(advice);
        points.push(point.with_line(format!("{ehlo}. IN {kind} {address}")));
    }
    points
}
