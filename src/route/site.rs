//! What holds for a site: limits, manners and retries. [`Table::policy_for`](super::Table::policy_for) is the only maker of it.
//!
//! What holds for the node (timeouts, connections an address, the name in EHLO) stays in the configuration.

use std::sync::Arc;

use crate::config::{Config, Retry};

/// What holds for all connections of the node to a site.
#[derive(Clone, Debug, PartialEq)]
pub struct SitePolicy {
    /// How many there may be.
    pub connections: usize,
    /// Messages over one of them; 0 is no bound.
    pub messages_per_connection: usize,
    /// Whether the next message's commands follow a body in one group (RFC 2920) where the hop offers PIPELINING.
    pub pipeline: bool,
    /// Whether STARTTLS is tried where it is offered (RFC 3207, opportunistic).
    pub starttls: bool,
    /// When what failed is tried again, and when it is given up.
    pub retry: Retry,
}

impl SitePolicy {
    /// That of all sites.
    pub(super) fn of(config: &Config) -> Arc<SitePolicy> {
        let delivery = &config.delivery;
        Arc::new(SitePolicy {
            connections: delivery.connections_per_destination,
            messages_per_connection: delivery.messages_per_connection,
            pipeline: delivery.pipeline_messages,
            starttls: delivery.starttls,
            retry: config.retry.clone(),
        })
    }

    /// Whether connections that were opened by another are as good as those that are opened by this.
    pub fn opens_as(&self, other: &SitePolicy) -> bool {
        let SitePolicy { connections, messages_per_connection, pipeline, starttls, retry: _ } = self;
        *connections >= other.connections
            && *messages_per_connection == other.messages_per_connection
            && *pipeline == other.pipeline
            && *starttls == other.starttls
    }
}
