//! Roles against routes, as the table has them.

use super::routes::ROUTES;
use super::tenancy::Tenants;
use crate::policy::tokens::Role;

/// What operators rely on, written down once more: a route that becomes easier to ask by a slip is seen here.
#[test]
fn each_route_has_its_role() {
    let wanted = |method: &str, path: &str| match (method, path) {
        ("get", path) if path.ends_with("/content") => Role::Admin,
        (_, path) if path.starts_with("/control/v1/tokens") => Role::Admin,
        (_, path) if path.starts_with("/control/v1/accounts") => Role::Admin,
        ("get", "/control/v1/trace") => Role::Operate,
        (_, "/control/v1/templates/preview") => Role::Read,
        ("get", _) => Role::Read,
        (
            _,
            "/control/v1/check"
            | "/control/v1/reload"
            | "/control/v1/erase"
            | "/control/v1/drain"
            | "/control/v1/upgrade",
        ) => Role::Admin,
        _ => Role::Operate,
    };
    for route in ROUTES {
        assert_eq!(route.role, wanted(route.method, route.path), "{} {}", route.method, route.path);
        assert!(route.path == "/events" || route.path.starts_with("/control/v1/"), "{}", route.path);
    }
}

/// A tenant's token reaches what knows of tenants, and itself.
#[test]
fn what_knows_no_tenant_is_closed_to_them() {
    let open: Vec<_> =
        ROUTES.iter().filter(|route| route.tenants == Tenants::Nothing).map(|route| route.path).collect();
    assert_eq!(open, ["/control/v1/me", "/control/v1/openapi.json"]);
    let closed = [
        "/control/v1/status",
        "/control/v1/queue/message/{id}",
        "/control/v1/suspensions",
        "/control/v1/erase",
        "/control/v1/reload",
    ];
    for path in closed {
        assert!(ROUTES.iter().any(|route| route.path == path && route.tenants == Tenants::No), "{path}");
    }
}
