//! What a token that is bound to a tenant asks: of that tenant's mail alone, where the question can say so, and nothing else.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{Uri, header};
use serde_json::{Map, Value};

use super::answers::Problem;
use crate::limits;

/// Where a question says whose mail is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tenants {
    /// `tenant` behind its `?`.
    Query,
    /// `tenant` of `filter` in its body, where `all` stands for no filter.
    Filter,
    /// `tenant` in its body.
    Entry,
    /// Nowhere: it is of no mail.
    Nothing,
    /// Nowhere: it is of all mail.
    No,
}

impl Tenants {
    /// The question, of this tenant's mail. An error: it is not this tenant's to ask.
    pub(super) async fn bind(self, request: Request, tenant: &str) -> Result<Request, Problem> {
        match self {
            Tenants::Nothing => Ok(request),
            Tenants::No => Err(Problem::OtherTenant(format!(
                "this is not told by tenant, and the token is for tenant {tenant} alone"
            ))),
            Tenants::Query => {
                let (mut head, body) = request.into_parts();
                head.uri = of_query(&head.uri, tenant)?;
                Ok(Request::from_parts(head, body))
            }
            Tenants::Filter | Tenants::Entry => {
                let (mut head, body) = request.into_parts();
                let text = to_bytes(body, limits::TEMPLATE_BODY_MAX).await;
                let text =
                    text.map_err(|_| Problem::Wrong("the body broke off, or is too long".to_owned()))?;
                let bound = of_body(self, &text, tenant)?;
                head.headers.remove(header::CONTENT_LENGTH);
                Ok(Request::from_parts(head, Body::from(bound)))
            }
        }
    }
}

fn another(tenant: &str) -> Problem {
    Problem::OtherTenant(format!("the token is for tenant {tenant} alone"))
}

fn of_query(uri: &Uri, tenant: &str) -> Result<Uri, Problem> {
    let query = uri.query().unwrap_or_default();
    let mut named = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "tenant").peekable();
    if named.peek().is_some() {
        return if named.all(|(_, value)| value == tenant) { Ok(uri.clone()) } else { Err(another(tenant)) };
    }
    let own = form_urlencoded::Serializer::new(String::new()).append_pair("tenant", tenant).finish();
    let query = if query.is_empty() { own } else { format!("{query}&{own}") };
    let wrong = |_| Problem::Wrong("this path cannot be understood".to_owned());
    format!("{}?{query}", uri.path()).parse().map_err(wrong)
}

fn of_body(place: Tenants, text: &[u8], tenant: &str) -> Result<Vec<u8>, Problem> {
    let wrong = |words: String| Problem::Wrong(format!("the body is not what was expected: {words}"));
    // Read and written anew: what is checked here is what is understood there.
    let body: Value = serde_json::from_slice(text).map_err(|error| wrong(error.to_string()))?;
    let Value::Object(mut body) = body else { return Err(wrong("it is no object".to_owned())) };
    if place == Tenants::Entry {
        put(&mut body, tenant)?;
    } else {
        if body.get("id").is_some_and(|id| !id.is_null()) {
            return Err(Problem::OtherTenant(format!(
                "the token is for tenant {tenant} alone: name what is meant by a filter"
            )));
        }
        let filter = body.entry("filter").or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(filter) = filter else { return Err(wrong("filter is no object".to_owned())) };
        let all = filter.is_empty();
        put(filter, tenant)?;
        // All of its own.
        if all && body.get("all") == Some(&Value::Bool(true)) {
            body.insert("all".to_owned(), Value::Bool(false));
        } else if all {
            let words =
                "all mail of the tenant would be meant: say which by a filter, or say that all is (all)";
            return Err(Problem::Wrong(words.to_owned()));
        }
    }
    serde_json::to_vec(&Value::Object(body)).map_err(|error| wrong(error.to_string()))
}

fn put(place: &mut Map<String, Value>, tenant: &str) -> Result<(), Problem> {
    match place.insert("tenant".to_owned(), Value::String(tenant.to_owned())) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(named)) if named == tenant => Ok(()),
        Some(_) => Err(another(tenant)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_of_the_tenant() {
        let bound = |query: &str| {
            let uri: Uri = format!("/control/v1/queue{query}").parse().expect("a path");
            of_query(&uri, "a b").map(|uri| uri.query().unwrap_or_default().to_owned()).map_err(|_| ())
        };
        assert_eq!(bound(""), Ok("tenant=a+b".to_owned()));
        assert_eq!(bound("?domain=x.example&limit=2"), Ok("domain=x.example&limit=2&tenant=a+b".to_owned()));
        assert_eq!(bound("?tenant=a%20b"), Ok("tenant=a%20b".to_owned()));
        for other in ["?tenant=", "?tenant=c", "?tenant=a+b&tenant=c", "?%74enant=c", "?tenant=A+b"] {
            assert_eq!(bound(other), Err(()), "{other}");
        }
    }

    #[test]
    fn a_body_is_of_the_tenant() {
        let bound = |place, text: &str| {
            of_body(place, text.as_bytes(), "shop")
                .map(|bound| String::from_utf8(bound).expect("text"))
                .map_err(|_| ())
        };
        let filter = |text: &str| bound(Tenants::Filter, text);
        assert_eq!(
            filter(r#"{"filter":{"domain":"d"}}"#),
            Ok(r#"{"filter":{"domain":"d","tenant":"shop"}}"#.to_owned())
        );
        assert_eq!(filter(r#"{"all":true}"#), Ok(r#"{"all":false,"filter":{"tenant":"shop"}}"#.to_owned()));
        assert_eq!(
            bound(Tenants::Entry, r#"{"addresses":[]}"#),
            Ok(r#"{"addresses":[],"tenant":"shop"}"#.to_owned())
        );
        assert_eq!(bound(Tenants::Entry, r#"{"tenant":null}"#), Ok(r#"{"tenant":"shop"}"#.to_owned()));
        for other in [
            "",
            "[]",
            r#"[{"tenant":"other"}]"#,
            "{}",
            r#"{"all":false}"#,
            r#"{"id":3}"#,
            r#"{"filter":[]}"#,
            r#"{"filter":{"tenant":"other"}}"#,
            r#"{"filter":{"tenant":["shop"]}}"#,
            r#"{"filter":{"tenant":"shop"},"filter":{"tenant":"other"}}"#,
        ] {
            assert_eq!(filter(other), Err(()), "{other}");
        }
        assert_eq!(bound(Tenants::Entry, r#"{"tenant":"other"}"#), Err(()));
        assert_eq!(bound(Tenants::Entry, r#"{"tenant":""}"#), Err(()));
    }
}
