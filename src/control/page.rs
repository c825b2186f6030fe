//! The operator's page at `/`: one document with its style and its script in it, which asks `/control/v1/…` and `/events` as any client does. It holds no data,
//! so it comes to everybody; what it may show and do is the business of who answers it.

use std::fmt::Write;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::policy::tls_rpt::gzip::gzip;

/// What reports of the load generator look like, and what the page adds.
const STYLES: [&str; 2] =
    [include_str!("../../loadtest/src/report/style.css"), include_str!("page/page.css")];

/// In the order in which they need each other.
const SCRIPTS: [&str; 17] = [
    include_str!("page/base.js"),
    include_str!("page/net.js"),
    include_str!("page/parts.js"),
    include_str!("page/dialog.js"),
    include_str!("page/filters.js"),
    include_str!("page/sites.js"),
    include_str!("page/overview.js"),
    include_str!("page/deliverability.js"),
    include_str!("page/message.js"),
    include_str!("page/queue.js"),
    include_str!("page/suspensions.js"),
    include_str!("page/warmup.js"),
    include_str!("page/cluster.js"),
    include_str!("page/suppressions.js"),
    include_str!("page/templates.js"),
    include_str!("page/log.js"),
    include_str!("page/main.js"),
];

const DOCUMENT: &str = include_str!("page/page.html");

/// The page as it goes out, made once.
struct Page {
    plain: Bytes,
    packed: Bytes,
    /// Of these bytes, as an entity tag; packed ones have another.
    tag: String,
    policy: HeaderValue,
}

impl Page {
    fn new() -> Page {
        let style = STYLES.concat();
        // Its names are its own, whatever a browser calls its windows' parts.
        let script = format!("(() => {{\n{}}})();\n", SCRIPTS.concat());
        // Nothing but these very bytes is run; no text can become markup, as no policy for trusted types is allowed; it asks nobody else.
        let policy = format!(
            "default-src 'none'; script-src '{}'; style-src '{}'; img-src data:; connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
            hash(&script),
            hash(&style)
        );
        let text = DOCUMENT.replace("{style}", &style).replace("{script}", &script);
        let mut tag = String::new();
        for byte in &digest(&SHA256, text.as_bytes()).as_ref()[..12] {
            // Writing to a String cannot fail.
            let _ = write!(tag, "{byte:02x}");
        }
        let policy = HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
        Page { packed: gzip(text.as_bytes()).into(), plain: text.into(), tag, policy }
    }
}

/// As a policy of contents names it.
fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(digest(&SHA256, text.as_bytes())))
}

/// Serves it.
pub(super) fn router() -> Router {
    Router::new().route("/", get(page)).with_state(Arc::new(Page::new()))
}

async fn page(State(page): State<Arc<Page>>, fields: HeaderMap) -> Response {
    let packs = takes_gzip(&fields);
    let tag = if packs { format!("\"{}-gz\"", page.tag) } else { format!("\"{}\"", page.tag) };
    let is_known = names(&fields, header::IF_NONE_MATCH)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag);
    let head = [
        // It is asked for each time, and told that nothing is new.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::VARY, HeaderValue::from_static("accept-encoding")),
        (header::ETAG, HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"\""))),
        (header::CONTENT_SECURITY_POLICY, page.policy.clone()),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (
            header::HeaderName::from_static("cross-origin-opener-policy"),
            HeaderValue::from_static("same-origin"),
        ),
        (
            header::HeaderName::from_static("cross-origin-resource-policy"),
            HeaderValue::from_static("same-origin"),
        ),
    ];
    if is_known {
        return (StatusCode::NOT_MODIFIED, head).into_response();
    }
    let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    if packs {
        return (head, kind, [(header::CONTENT_ENCODING, "gzip")], page.packed.clone()).into_response();
    }
    (head, kind, page.plain.clone()).into_response()
}

/// Members of a list field (RFC 9110 section 5.6.1).
fn names(fields: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    fields
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// RFC 9110 section 12.5.3; a weight of 0 is a refusal.
fn takes_gzip(fields: &HeaderMap) -> bool {
    names(fields, header::ACCEPT_ENCODING).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case("gzip") && weight.is_none_or(|weight| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between<'a>(text: &'a str, open: &str, close: &str) -> &'a str {
        let (_, rest) = text.split_once(open).expect(open);
        rest.split_once(close).expect(close).0
    }

    #[test]
    fn what_may_run_is_what_is_in_it() {
        let page = Page::new();
        let (text, policy) = (std::str::from_utf8(&page.plain).unwrap(), page.policy.to_str().unwrap());
        // As a browser reads it: a script ends at the first such end, whatever it stands in.
        for (open, close) in [("<style>", "</style"), ("<script>", "</script")] {
            assert!(policy.contains(&hash(between(text, open, close))), "{open}");
            assert_eq!(text.matches(close).count(), 1, "{close}");
        }
        assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!text.contains("{style}") && !text.contains("{script}") && !text.contains("<!--"));
    }

    /// What comes from outside never becomes markup, and nothing is asked of anybody else.
    #[test]
    fn no_text_becomes_markup() {
        for script in SCRIPTS {
            for word in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "Function(",
                "srcdoc",
            ] {
                assert!(!script.contains(word), "{word}");
            }
        }
        let all = [DOCUMENT, &STYLES.concat(), &SCRIPTS.concat()].concat();
        let namespaces = all.matches("http://www.w3.org/2000/svg").count();
        assert_eq!(all.matches("//www").count(), namespaces);
        assert_eq!(all.matches("http:").count(), namespaces);
        assert!(!all.contains("https:") && !all.contains("@import") && !all.contains("url("));
    }

    #[test]
    fn it_is_packed_for_who_takes_that_and_sent_once() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let made = Arc::new(Page::new());
        let ask = |fields: &[(header::HeaderName, &str)]| {
            let fields = fields.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
            runtime.block_on(page(State(made.clone()), fields))
        };
        let of = |response: &Response, name| {
            response.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
        };
        let plain = ask(&[]);
        assert_eq!((plain.status(), of(&plain, header::CONTENT_ENCODING)), (StatusCode::OK, None));
        for (accepts, packed) in
            [("gzip, br", true), ("br;q=1, GZIP;q=0.5", true), ("gzip;q=0", false), ("deflate", false)]
        {
            let response = ask(&[(header::ACCEPT_ENCODING, accepts)]);
            assert_eq!(of(&response, header::CONTENT_ENCODING).is_some(), packed, "{accepts}");
            assert_eq!(of(&response, header::ETAG) == of(&plain, header::ETAG), !packed, "{accepts}");
        }
        let tag = of(&plain, header::ETAG).unwrap();
        for known in [tag.clone(), format!("\"a\", W/{tag}"), "*".to_owned()] {
            let response = ask(&[(header::IF_NONE_MATCH, known.as_str())]);
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{known}");
            assert!(response.headers().contains_key(header::CONTENT_SECURITY_POLICY));
        }
        assert_eq!(ask(&[(header::IF_NONE_MATCH, "\"other\"")]).status(), StatusCode::OK);
        assert!(made.packed.len() < made.plain.len() / 3, "{} of {}", made.packed.len(), made.plain.len());
    }
}
