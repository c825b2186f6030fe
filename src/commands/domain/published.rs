//! What a domain publishes about its mail.

use relevo::config::Config;
use relevo::dns::{Answer, LookupError, QueryType};
use relevo::lookup::dmarc::{self, Found as Policy, Record};
use relevo::lookup::spf::{self, Ask, Flaw, Verdict};
use relevo::mail::dkim::record;
use relevo::policy::signing::Standing;

use super::super::dkim::{Found, Published};
use super::leaving::Leaving;
use super::point::{Point, State};

/// The mechanisms that let our addresses send.
fn mechanisms(leaving: &[Leaving]) -> Vec<String> {
    leaving
        .iter()
        .map(|one| match one.address.to_canonical() {
            std::net::IpAddr::V4(address) => format!("ip4:{address}"),
            std::net::IpAddr::V6(address) => format!("ip6:{address}"),
        })
        .collect()
}

/// Whether our addresses may send its mail.
pub fn spf(ask: &Ask<'_>, domain: &str, leaving: &[Leaving]) -> Point {
    const WHAT: &str = "SPF";
    let text = match spf::record(ask, domain) {
        Ok(Some(text)) => text,
        Ok(None) => {
            let ours = mechanisms(leaving);
            let ours = if ours.is_empty() { "mx".to_owned() } else { ours.join(" ") };
            let line = record::zone_line(domain, &format!("v=spf1 {ours} -all"));
            return Point::new(WHAT, State::Wrong, "there is no record").advised("publish:").with_line(line);
        }
        Err(Verdict::Unknown(error)) => return Point::unknown(WHAT, &error),
        Err(Verdict::Broken(flaw)) => {
            return Point::new(WHAT, State::Wrong, flaw.to_string()).advised(spf_fix(&flaw));
        }
        Err(_) => return Point::new(WHAT, State::Wrong, "the record cannot be used"),
    };
    let mut worst: Option<Point> = None;
    let mut most = 0;
    let mut left_out = Vec::new();
    // Also where no address is known: what is wrong with the record is so for all.
    let strangers = [Leaving { address: std::net::Ipv4Addr::UNSPECIFIED.into(), ehlo: String::new() }];
    let all = if leaving.is_empty() { &strangers[..] } else { leaving };
    for one in all {
        let outcome = spf::judge(ask, one.address, domain);
        most = most.max(outcome.lookups);
        match outcome.verdict {
            Verdict::Broken(flaw) => {
                let found = format!("{text}: {flaw}");
                return Point::new(WHAT, State::Wrong, found).advised(spf_fix(&flaw));
            }
            Verdict::Unknown(error) => worst = Some(Point::unknown(WHAT, &error)),
            Verdict::Pass => {}
            _ if leaving.is_empty() => {}
            _ => left_out.push(Leaving { address: one.address, ehlo: one.ehlo.clone() }),
        }
    }
    if let Some(unknown) = worst {
        return unknown;
    }
    if !left_out.is_empty() {
        let ours = mechanisms(&left_out).join(" ");
        let addresses: Vec<String> = left_out.iter().map(|one| one.address.to_string()).collect();
        let found = format!("{text}: {} may not send", addresses.join(", "));
        let line = record::zone_line(domain, &with_mechanisms(&text, &ours));
        return Point::new(WHAT, State::Wrong, found).advised("publish in its place:").with_line(line);
    }
    let ours = if leaving.is_empty() { "" } else { ", our addresses may send" };
    let found = format!("{text} ({most} of 10 look-ups{ours})");
    if text.split(' ').any(|word| word == "+all" || word == "all") {
        let advice = "all lets anybody send as this domain: write -all or ~all";
        return Point::new(WHAT, State::Doubtful, found).advised(advice);
    }
    Point::new(WHAT, State::Right, found)
}

/// A record with more in front of what ends it.
fn with_mechanisms(text: &str, more: &str) -> String {
    let mut words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    let is_end = |word: &&str| {
        word.trim_start_matches(['+', '-', '~', '?']).eq_ignore_ascii_case("all")
            || word.starts_with("redirect=")
    };
    let end = words.iter().position(is_end).unwrap_or(words.len());
    words.insert(end, more);
    words.join(" ")
}

fn spf_fix(flaw: &Flaw) -> &'static str {
    match flaw {
        Flaw::Several(_) => "publish one record with the words of both",
        Flaw::Word(..) => {
            "write it as in RFC 7208: ip4:192.0.2.1, ip6:2001:db8::1, a, mx, include:example.net, -all"
        }
        Flaw::ManyLookups => "name addresses (ip4:, ip6:) in place of includes",
        Flaw::ManyVoid | Flaw::NoInclude(_) => "leave out names that are not there any more",
    }
}

/// The keys that sign its mail, against what is published.
pub fn dkim(ask: &Ask<'_>, domain: &str, config: &Config) -> Vec<Point> {
    const WHAT: &str = "DKIM";
    if config.dkim.keys.is_none() {
        let point = Point::new(WHAT, State::Wrong, "this relay signs nothing");
        return vec![point.advised(format!(
            "add [dkim] with keys = \"/etc/relevo/dkim\", then relevo dkim keygen {domain}"
        ))];
    }
    let found = Found::read(&config.dkim, Some(domain));
    let signers = found.signing.signers_for(Some(domain), found.now);
    let keys = found.keys(None);
    let signing = keys.iter().filter(|key| signers.contains(&key.number));
    let mut points: Vec<Point> = Vec::new();
    for key in signing.filter(|key| key.standing == Standing::Signs) {
        let name = key.record_name();
        let Ok((_, ours)) = key.public() else { continue };
        let published = Published::of(ask(QueryType::Txt, &name), &ours);
        let state = match &published {
            Published::Right => State::Right,
            Published::Test => State::Doubtful,
            Published::Unknown(_) => State::Unknown,
            _ => State::Wrong,
        };
        let point =
            Point::new(WHAT, state, format!("{name}: {} ({})", published.word(), key.file.algorithm.name()));
        points.push(match published.advice() {
            Some((problem, deed)) => {
                point.advised(format!("{problem}; {deed}:")).with_line(record::zone_line(&name, &ours))
            }
            None => point,
        });
    }
    if points.is_empty() {
        let point = Point::new(WHAT, State::Wrong, format!("no key signs mail from {domain}"));
        points.push(point.advised(format!("make one: relevo dkim keygen {domain}")));
    }
    points
}

/// What receivers do with mail that is not the domain's, and whether our signature counts for it.
pub fn dmarc(ask: &Ask<'_>, domain: &str, config: &Config) -> Vec<Point> {
    const WHAT: &str = "DMARC";
    let Policy { record, organisation } = match dmarc::find(ask, domain) {
        Ok(found) => found,
        Err(error) => return vec![Point::unknown(WHAT, &error)],
    };
    let Some(record) = record else {
        let name = format!("_dmarc.{domain}");
        let line = record::zone_line(&name, &format!("v=DMARC1; p=none; rua=mailto:dmarc@{domain}"));
        let point = Point::new(WHAT, State::Wrong, "there is no record, or more than one");
        return vec![
            point.advised("publish, and read the reports before asking for more than none:").with_line(line),
        ];
    };
    let policy = record.policy(domain);
    let found = format!("{} (at _dmarc.{})", record.text, record.domain);
    let mut points = vec![match policy.to_ascii_lowercase().as_str() {
        "reject" | "quarantine" => Point::new(WHAT, State::Right, found),
        "none" => Point::new(WHAT, State::Right, found)
            .advised("p=none asks for reports alone: it keeps nobody from using the domain"),
        _ => Point::new(WHAT, State::Wrong, found).advised("write p=none, p=quarantine or p=reject"),
    }];
    points.extend(alignment(&record, domain, &organisation, config));
    points
}

/// Whether one of the domains that sign is aligned with that of From (RFC 9989 4.4).
fn alignment(record: &Record, domain: &str, organisation: &str, config: &Config) -> Option<Point> {
    let found = config.dkim.keys.as_ref().map(|_| Found::quiet(&config.dkim))?;
    let signers = found.signing.signers_for(Some(domain), found.now);
    let files = found.signing.files();
    let domains: Vec<&str> =
        signers.iter().filter_map(|key| files.get(key.0 as usize)).map(|file| &*file.domain).collect();
    let below = |of: &str| {
        of == organisation || of.strip_suffix(organisation).is_some_and(|rest| rest.ends_with('.'))
    };
    let strict = record.is_strict("adkim");
    let is_aligned = |of: &&str| if strict { **of == *domain } else { below(of) };
    if domains.is_empty() || domains.iter().any(is_aligned) {
        return None;
    }
    let mut names = domains.clone();
    names.dedup();
    let found = format!("mail from {domain} is signed by {}, which is not aligned", names.join(", "));
    Some(
        Point::new("DMARC", State::Wrong, found)
            .advised(format!("make a key of its own: relevo dkim keygen {domain}")),
    )
}

/// Where answers and bounces to its addresses go: receivers refuse mail from a domain that takes none.
pub fn mx(ask: &Ask<'_>, domain: &str, config: &Config) -> Point {
    const WHAT: &str = "MX";
    let line = || format!("{domain}. IN MX 10 {}.", config.node.hostname);
    let hosts = match ask(QueryType::Mx, domain) {
        Ok(Answer::Mx { hosts, .. }) => hosts,
        Ok(_) => {
            let address = [QueryType::A, QueryType::Aaaa]
                .into_iter()
                .any(|kind| matches!(ask(kind, domain), Ok(Answer::Addresses(_))));
            return match address {
                true => {
                    Point::new(WHAT, State::Doubtful, "there is none, only an address: that takes its mail")
                        .with_line(line())
                }
                false => Point::new(
                    WHAT,
                    State::Wrong,
                    "there is none, and no address: it takes no mail, and others refuse what comes from it",
                )
                .with_line(line()),
            };
        }
        Err(error) => return Point::unknown(WHAT, &error),
    };
    if hosts.iter().any(|(_, host)| host == ".") {
        let found = "it says that it takes no mail (RFC 7505): receivers may refuse what comes from it";
        return Point::new(WHAT, State::Wrong, found).with_line(line());
    }
    let shown: Vec<String> = hosts.iter().map(|(preference, host)| format!("{preference} {host}")).collect();
    let has_address = |host: &str| {
        [QueryType::A, QueryType::Aaaa]
            .into_iter()
            .any(|kind| matches!(ask(kind, host), Ok(Answer::Addresses(_))))
    };
    match hosts.iter().find(|(_, host)| !has_address(host)) {
        Some((_, host)) => {
            Point::new(WHAT, State::Doubtful, shown.join(", ")).advised(format!("{host} has no address"))
        }
        None => Point::new(WHAT, State::Right, shown.join(", ")),
    }
}

/// What nobody is refused for.
pub fn optional(ask: &Ask<'_>, domain: &str) -> Vec<Point> {
    let first = |name: &str, version: &str| -> Result<Option<String>, LookupError> {
        let Answer::Texts(texts) = ask(QueryType::Txt, name)? else { return Ok(None) };
        let mut texts = texts.iter().map(|text| String::from_utf8_lossy(text).into_owned());
        Ok(texts.find(|text| text.split(';').next().is_some_and(|tag| tag.trim() == version)))
    };
    let one = |what: &'static str, name: String, version: &str, none: &str, line: String| match first(
        &name, version,
    ) {
        Ok(Some(text)) => Point::new(what, State::Right, format!("{text} (at {name})")),
        Ok(None) => Point::new(what, State::Note, none).with_line(line),
        Err(error) => Point::unknown(what, &error),
    };
    let bimi = format!("default._bimi.{domain}");
    let bimi_line = record::zone_line(&bimi, &format!("v=BIMI1; l=https://{domain}/logo.svg"));
    let sts = format!("_mta-sts.{domain}");
    let sts_line = record::zone_line(&sts, "v=STSv1; id=1");
    let reports = format!("_smtp._tls.{domain}");
    let reports_line = record::zone_line(&reports, &format!("v=TLSRPTv1; rua=mailto:tls-reports@{domain}"));
    let none_of_sts = "none: for mail that it takes; with a policy at https://mta-sts, first";
    vec![
        one(
            "BIMI",
            bimi,
            "v=BIMI1",
            "no logo; some receivers show one where DMARC asks for quarantine or reject",
            bimi_line,
        ),
        one("MTA-STS", sts, "v=STSv1", none_of_sts, sts_line),
        one("TLS-RPT", reports, "v=TLSRPTv1", "no reports of TLS to its hosts", reports_line),
    ]
}
