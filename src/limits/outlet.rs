//! Bounds of what is told of mail to others: logs, their rotation, the commands that read them, webhooks.

/// Bytes of a site's name in an event: those of a provider with a dozen hosts have more, and the first ones tell.
pub const EVENT_SITE_MAX: usize = 160;
