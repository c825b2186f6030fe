//! `GET /control/v1/shaping`: what holds for a domain, by what is in force. No name server is asked.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::json;

use super::answers::{Api, Problem, json};
use super::shape::shaping::ShapingShown;
use super::told::{Parameter, Told, of, optional, text};
use crate::limits;
use crate::shaping::layers::ShapingQuery;
use crate::shaping::provider::canonical;

/// What is asked.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    domain: String,
    hosts: Vec<String>,
    source: String,
}

fn asked(query: Option<&str>) -> Result<Asked, Problem> {
    let wrong = |words: String| Err(Problem::Wrong(words));
    let mut asked = Asked { domain: String::new(), hosts: Vec::new(), source: String::new() };
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        let most = if name == "mx" { limits::MX_NAMES_MAX } else { limits::FILTER_TEXT_MAX };
        if value.is_empty() || value.len() > most {
            return wrong(format!("{name:?} has 1 to {most} bytes"));
        }
        match &*name {
            "domain" => asked.domain = canonical(value.trim()),
            "mx" => asked.hosts = value.split(',').map(|host| canonical(host.trim())).collect(),
            "source" => asked.source = value.into_owned(),
            _ => return wrong(format!("{name:?} is not asked here: domain, mx and source are")),
        }
    }
    asked.hosts.retain(|host| !host.is_empty());
    asked.hosts.sort();
    asked.hosts.dedup();
    if asked.hosts.len() > limits::MX_HOSTS_KEPT {
        return wrong(format!("mx: at most {} hosts of a domain are looked at", limits::MX_HOSTS_KEPT));
    }
    if asked.domain.is_empty() {
        return wrong("which domain? domain=example.org".to_owned());
    }
    Ok(asked)
}

/// Shows it.
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let Asked { domain, hosts, source } = asked(query.as_deref())?;
    let Some(reload) = &api.reload else {
        return Err(Problem::NotFound("this relay has no configuration file".to_owned()));
    };
    let shaping = reload.shaping();
    let asked = ShapingQuery { domain: &domain, hosts: &hosts, source: &source, beside: &[] };
    Ok(json(&ShapingShown::of(&shaping.effective(asked), &domain, &hosts, &source)))
}

pub(super) fn told() -> Told {
    let domain = Parameter { required: true, ..optional("domain", "Of the recipients.", text()) };
    let hosts = json!({ "type": "string", "minLength": 1, "maxLength": limits::MX_NAMES_MAX });
    let mx = optional("mx", "The hosts of its MX records, by commas: providers are known by them.", hosts);
    let query = vec![domain, mx, optional("source", "Who sends.", text())];
    let summary = "What the shaping files that are in force say of a domain, and which line says so.";
    Told { query, refusals: &[404], ..of(summary, "ShapingShown") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_a_set_and_the_domain_is_named() {
        let of = |query: &str| asked(Some(query)).ok().map(|asked| (asked.domain, asked.hosts, asked.source));
        let two = vec!["a.example".to_owned(), "b.example".to_owned()];
        let wanted = Some(("gmail.com".to_owned(), two, "ip1".to_owned()));
        assert_eq!(of("domain=GMail.com&mx=b.example,A.example.,b.example&source=ip1"), wanted);
        let many = (0..=limits::MX_HOSTS_KEPT).map(|host| format!("{host}.a")).collect::<Vec<_>>().join(",");
        let many = format!("domain=a.example&mx={many}");
        for wrong in ["", "mx=a.example", "domain=", "domain=a&other=b", "domain=a&source=", &many] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
