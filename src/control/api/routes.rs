//! All questions, in one table: where each is asked, who may, what it comes to where a token is bound to a tenant, who answers, and what OpenAPI says of it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};

use super::actor::Actor;
use super::answers::{Api, Problem};
use super::tenancy::Tenants;
use super::told::{self, Told};
use super::{
    accounts, analytics, change, check, cluster, content, drain, erase, events, gate, import, logged, me,
    overview, queue, quotas, reload, shaping, status, suppression, suspend, templates, tokens, trace,
    upgrade, warmup, why,
};
use crate::control::fleet;
use crate::limits;
use crate::policy::tokens::Role;

/// A question.
pub(super) struct Route {
    /// `get`, `post` or `delete`.
    pub method: &'static str,
    pub path: &'static str,
    /// Who may ask it.
    pub role: Role,
    pub tenants: Tenants,
    answer: fn() -> MethodRouter<Arc<Api>>,
    pub told: fn() -> Told,
}

const fn read(
    path: &'static str,
    tenants: Tenants,
    answer: fn() -> MethodRouter<Arc<Api>>,
    told: fn() -> Told,
) -> Route {
    Route { method: "get", path, role: Role::Read, tenants, answer, told }
}

const fn write(
    path: &'static str,
    (role, tenants): (Role, Tenants),
    answer: fn() -> MethodRouter<Arc<Api>>,
    told: fn() -> Told,
) -> Route {
    Route { method: "post", path, role, tenants, answer, told }
}

/// One of the files of those who may ask, or send: nobody of a tenant sees it.
const fn file(
    method: &'static str,
    path: &'static str,
    answer: fn() -> MethodRouter<Arc<Api>>,
    told: fn() -> Told,
) -> Route {
    Route { method, path, role: Role::Admin, tenants: Tenants::No, answer, told }
}

/// All of them.
pub(super) const ROUTES: &[Route] = {
    use Role::{Admin, Operate, Read};
    use Tenants::{Entry, Filter, No, Nothing, Query};
    &[
        read("/control/v1/me", Nothing, || get(me::me), told::me),
        read("/control/v1/openapi.json", Nothing, || get(told::document), told::openapi),
        read("/control/v1/status", No, || get(status::status), told::status),
        read("/control/v1/overview", No, || get(overview::overview), told::overview),
        read("/control/v1/history", No, || get(overview::history), told::history),
        read("/control/v1/sites", No, || get(overview::sites), told::sites),
        read(events::PATH, No, events::route, told::events),
        read(fleet::SUMMARY, No, || get(cluster::node), told::node),
        read("/control/v1/cluster", No, || get(cluster::nodes), told::cluster),
        read("/control/v1/cluster/queue", No, || get(cluster::list), told::cluster_queue),
        read("/control/v1/cluster/queue/count", No, || get(cluster::count), told::cluster_count),
        read("/control/v1/cluster/why", No, || get(cluster::why), told::cluster_why),
        read("/control/v1/queue", Query, || get(queue::list), told::queue),
        read("/control/v1/queue/count", Query, || get(queue::count), told::count),
        read("/control/v1/queue/message/{id}", No, || get(queue::show), told::message),
        Route {
            role: Admin,
            ..read("/control/v1/queue/message/{id}/content", No, || get(content::content), told::content)
        },
        Route { role: Operate, ..read("/control/v1/trace", No, || get(trace::trace), told::trace) },
        read("/control/v1/why", Query, || get(why::why), told::why),
        read("/control/v1/suspensions", No, || get(suspend::list), told::suspensions),
        read("/control/v1/warmup", No, || get(warmup::show), told::warmup),
        read("/control/v1/quotas", No, || get(quotas::show), told::quotas),
        read("/control/v1/analytics", Query, || get(analytics::analytics), told::analytics),
        read("/control/v1/suppressions", Query, || get(suppression::list), told::suppressions),
        read("/control/v1/suppressions/check", Query, || get(suppression::check), told::check),
        write("/control/v1/queue/retry", (Operate, Filter), || post(change::retry), told::retry),
        write("/control/v1/queue/bounce", (Operate, Filter), || post(change::bounce), told::bounce),
        write("/control/v1/queue/hold", (Operate, Filter), || post(change::hold), told::hold),
        write("/control/v1/queue/release", (Operate, Filter), || post(change::release), told::release),
        write("/control/v1/queue/rebind", (Operate, No), || post(change::rebind), told::rebind),
        write("/control/v1/queue/redirect", (Operate, No), || post(suspend::redirect), told::redirect),
        write("/control/v1/suspend", (Operate, Filter), || post(suspend::suspend), told::suspend),
        write("/control/v1/resume", (Operate, Filter), || post(suspend::resume), told::resume),
        write("/control/v1/suppressions", (Operate, Entry), || post(suppression::add), told::add),
        write(
            "/control/v1/suppressions/remove",
            (Operate, Entry),
            || post(suppression::remove),
            told::remove,
        ),
        write(import::PATH, (Operate, Query), || post(import::import), told::import),
        write("/control/v1/erase", (Admin, No), || post(erase::erase), told::erase),
        write("/control/v1/reload", (Admin, No), || post(reload::reload), told::reload),
        write("/control/v1/drain", (Admin, No), || post(drain::drain), drain::told),
        read("/control/v1/upgrade", No, || get(upgrade::show), upgrade::told),
        write("/control/v1/upgrade", (Admin, No), || post(upgrade::upgrade), upgrade::told_begun),
        file("get", "/control/v1/tokens", || get(tokens::list), tokens::told_list),
        file("post", "/control/v1/tokens", || post(tokens::add), tokens::told_add),
        file("delete", "/control/v1/tokens/{name}", || delete(tokens::remove), tokens::told_remove),
        file("get", "/control/v1/accounts", || get(accounts::list), accounts::told_list),
        file("post", "/control/v1/accounts", || post(accounts::add), accounts::told_add),
        file("post", "/control/v1/accounts/{account}", || post(accounts::set), accounts::told_set),
        file("delete", "/control/v1/accounts/{account}", || delete(accounts::remove), accounts::told_remove),
        read("/control/v1/drain", No, || get(drain::show), drain::told_state),
        read("/control/v1/shaping", No, || get(shaping::show), shaping::told),
        write("/control/v1/check", (Admin, No), || post(check::check), check::told),
        read(templates::PATH, Query, || get(templates::list), templates::told_list),
        write(templates::PATH, (Operate, Entry), || post(templates::add), templates::told_add),
        write(
            "/control/v1/templates/preview",
            (Read, Entry),
            || post(templates::preview),
            templates::told_preview,
        ),
        read("/control/v1/templates/{template}", Query, || get(templates::show), templates::told_show),
        write(
            "/control/v1/templates/{template}",
            (Operate, Entry),
            || post(templates::change),
            templates::told_change,
        ),
        Route {
            method: "delete",
            role: Operate,
            ..read(
                "/control/v1/templates/{template}",
                Query,
                || delete(templates::remove),
                templates::told_remove,
            )
        },
        read(
            "/control/v1/templates/{template}/versions",
            Query,
            || get(templates::versions),
            templates::told_versions,
        ),
        write(
            "/control/v1/templates/{template}/test",
            (Operate, Entry),
            || post(templates::test),
            templates::told_test,
        ),
        read("/control/v1/log", Query, || get(logged::find), logged::told_find),
        read("/control/v1/log/stats", Query, || get(logged::stats), logged::told_stats),
    ]
};

/// Answers them. Whoever lets in puts an [`Actor`] and a veil among a request's extensions.
pub(in crate::control) fn router(api: Api) -> Router {
    let not_so = || async { Problem::NoSuchQuestion(StatusCode::METHOD_NOT_ALLOWED) };
    let mut router = Router::new();
    for route in ROUTES {
        router = router
            .route(route.path, (route.answer)().route_layer(middleware::from_fn_with_state(route, permit)));
    }
    router
        .method_not_allowed_fallback(not_so)
        .with_state(Arc::new(api))
        // How much there may be of each was seen when it came (`http::taken_in`).
        .layer(DefaultBodyLimit::max(limits::TEMPLATE_BODY_MAX))
}

/// Lets a question pass that its asker may ask.
async fn permit(State(route): State<&'static Route>, request: Request, next: Next) -> Response {
    let Some(actor) = request.extensions().get::<Actor>().cloned() else {
        return Problem::Broken.into_response();
    };
    if let Err(problem) = gate::may(&actor, route.role) {
        return problem.into_response();
    }
    let Some(tenant) = actor.tenant() else { return next.run(request).await };
    match route.tenants.bind(request, tenant).await {
        Ok(request) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;

    /// What the status of an answer is where whoever may do all asks, bound to this tenant.
    fn asked(route: &'static Route, tenant: Option<&str>) -> StatusCode {
        let told = get(|| async { "told" })
            .post(|| async { "told" })
            .delete(|| async { "told" })
            .route_layer(middleware::from_fn_with_state(route, permit));
        let router = TowerToHyperService::new(Router::new().route(route.path, told));
        let path = route
            .path
            .replace("{id}", "00000000G0000102")
            .replace("{name}", "ops")
            .replace("{account}", "shop")
            .replace("{template}", "order");
        let body = r#"{"filter":{"domain":"x.example"}}"#;
        let asked = http::Request::builder().method(&*route.method.to_ascii_uppercase()).uri(path);
        let mut asked = asked.body(Body::from(body)).expect("a request");
        let tenant = tenant.map(Arc::from);
        asked.extensions_mut().insert(Actor::Token { name: "ops".into(), role: Role::Admin, tenant });
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(router.call(asked)).expect("an answer").status()
    }

    #[test]
    fn what_is_of_all_mail_is_refused_to_who_is_of_a_tenant() {
        for route in ROUTES {
            let is_told = route.tenants != Tenants::No;
            let status = if is_told { StatusCode::OK } else { StatusCode::FORBIDDEN };
            assert_eq!(asked(route, Some("shop")), status, "{} {}", route.method, route.path);
            assert_eq!(asked(route, None), StatusCode::OK, "{} {}", route.method, route.path);
        }
        for path in [
            "/control/v1/overview",
            "/control/v1/node",
            "/control/v1/cluster",
            "/control/v1/cluster/queue",
            "/control/v1/cluster/queue/count",
            "/control/v1/cluster/why",
            "/control/v1/history",
            "/control/v1/sites",
            "/events",
            "/control/v1/queue/redirect",
            "/control/v1/trace",
            "/control/v1/queue/message/{id}/content",
            "/control/v1/tokens",
            "/control/v1/accounts",
        ] {
            let route = ROUTES.iter().find(|route| route.path == path).expect("a route");
            assert_eq!(asked(route, Some("shop")), StatusCode::FORBIDDEN, "{path}");
        }
    }
}
