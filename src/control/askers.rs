//! The threads that ask others, and those that keep something for shards.

use std::io;
use std::sync::Arc;

use crate::control::decisions::ListDesk;
use crate::control::setup::Setup;
use crate::control::thread::{Turn, Worker};
use crate::control::{acme, cluster, hook, logins, pickup, sandbox, sts, tls_rpt, verifier};

/// Starts them; the last nine verify mail of strangers, ask a service about each message, keep leases of limits, have quotas counted for all nodes, tell other
/// nodes who is suppressed and what sites take, take files that are dropped,
/// keep who has logged in, and keep what is captured.
pub(super) fn start(
    setup: &Setup,
    (challenges, lists): (Arc<acme::Challenges>, &ListDesk),
) -> io::Result<[Option<Worker>; 12]> {
    let reports = report_tls(setup)?;
    let orders = order_certificates(setup, challenges)?;
    let verifier = setup.verifies.clone().map(|settings| verifier::start(&setup.mesh, settings));
    let hook = setup.hook.clone().map(|settings| hook::start(&setup.mesh, settings));
    Ok([
        fetch_policies(setup)?,
        reports,
        orders,
        verifier.transpose()?,
        hook.transpose()?,
        cluster::start(setup)?,
        cluster::start_counts(setup)?,
        cluster::start_list(setup, lists)?,
        cluster::start_windows(setup)?,
        pick_up(setup)?,
        keep_logins(setup)?,
        Some(sandbox::start(&setup.mesh, &setup.data_dir, setup.sandbox)?),
    ])
}

/// Starts the thread that has policies of domains fetched.
fn fetch_policies(setup: &Setup) -> io::Result<Option<Worker>> {
    let Some(settings) = setup.policies.clone() else { return Ok(None) };
    let (mesh, data_dir, counts) = (setup.mesh.clone(), setup.data_dir.clone(), setup.fetches.clone());
    let work = move |turn: &Turn| sts::run(&mesh, &settings, (&data_dir, &counts), turn);
    Worker::start("relevo-policies", work).map(Some)
}

/// Starts the thread that has an authority give certificates.
fn order_certificates(setup: &Setup, challenges: Arc<acme::Challenges>) -> io::Result<Option<Worker>> {
    let Some(settings) = setup.acme.clone() else { return Ok(None) };
    let orders = acme::Orders {
        settings,
        data_dir: setup.data_dir.clone(),
        counts: setup.acme_orders.clone(),
        challenges,
        showing: setup.certificates.clone(),
    };
    Worker::start("relevo-acme", move |turn| acme::run(&orders, turn)).map(Some)
}

/// Starts the thread that has domains told of TLS to their hosts.
fn report_tls(setup: &Setup) -> io::Result<Option<Worker>> {
    let Some(settings) = setup.reporting.clone() else { return Ok(None) };
    let (mesh, data_dir) = (setup.mesh.clone(), setup.data_dir.clone());
    let (counts, node) = (setup.reported.clone(), setup.node);
    let work = move |turn: &Turn| tls_rpt::run(&mesh, &settings, (&data_dir, &counts, node), turn);
    Worker::start("relevo-reports", work).map(Some)
}

/// Starts the thread that takes mail out of a directory.
fn pick_up(setup: &Setup) -> io::Result<Option<Worker>> {
    let Some(config) = setup.pickup.clone() else { return Ok(None) };
    let (mesh, health, counts) = (setup.mesh.clone(), setup.health.clone(), setup.picked.clone());
    let source = pickup::Source { config, mesh, health, counts };
    Worker::start("relevo-pickup", move |turn| pickup::run(source, turn)).map(Some)
}

/// Starts the thread that keeps who has logged in.
fn keep_logins(setup: &Setup) -> io::Result<Option<Worker>> {
    let Some(settings) = setup.logins.clone() else { return Ok(None) };
    let data_dir = setup.data_dir.clone();
    Worker::start("relevo-logins", move |turn| logins::run(&*settings, &data_dir, turn)).map(Some)
}
