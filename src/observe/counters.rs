//! Counters and gauges of one shard: written by the shard alone, read by anyone.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::names::ends::End;
use crate::names::events::Kind;

/// A number that only grows. One writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds. A plain load and store: the shard is the only writer, and a locked addition would cost it for nothing.
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// Sets; for levels, and for counts kept elsewhere.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Reads.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    (
        counts { $($count:ident $count_help:literal,)* }
        ends
        counts { $($more:ident $more_help:literal,)* }
        levels { $($level:ident $level_help:literal,)* }
    ) => {
        /// The counters of one shard.
        #[derive(Debug, Default)]
        pub struct Counters {
            $(#[doc = $count_help] pub $count: Counter,)*
            ended: [Counter; End::ALL.len()],
            $(#[doc = $more_help] pub $more: Counter,)*
            $(#[doc = $level_help] pub $level: Counter,)*
        }

        impl Counters {
            /// Every count: name, help, value.
            pub fn counts(&self) -> Vec<(&'static str, &'static str, u64)> {
                let ends = End::ALL.into_iter().map(|end| {
                    let (name, help) = end.counted();
                    (name, help, self.ended(end).get())
                });
                let mut all = vec![$((stringify!($count), $count_help, self.$count.get()),)*];
                all.extend(ends);
                all.extend([$((stringify!($more), $more_help, self.$more.get()),)*]);
                all
            }

            /// Every level: name, help, value.
            pub fn levels(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($level), $level_help, self.$level.get()),)*]
            }
        }
    };
}

impl Counters {
    /// Recipients with this end.
    pub fn ended(&self, end: End) -> &Counter {
        &self.ended[end as usize]
    }

    /// Recipients of which an event of this kind told what became of them. None: it tells no such thing.
    pub fn outcome(&self, kind: Kind) -> Option<&Counter> {
        Some(match kind {
            Kind::Delivered => &self.recipients_delivered,
            Kind::Deferred => &self.recipients_deferred,
            Kind::Bounced => &self.recipients_bounced,
            Kind::Expired => &self.recipients_expired,
            Kind::Local(end) => self.ended(end),
            Kind::Received | Kind::Delayed | Kind::OobBounce | Kind::Feedback => return None,
            Kind::Rejected | Kind::Admin => return None,
        })
    }

    /// Each of these.
    pub fn outcomes(&self) -> impl Iterator<Item = (Kind, &Counter)> {
        Kind::all().filter_map(|kind| self.outcome(kind).map(|counter| (kind, counter)))
    }
}

counters! {
    counts {
        connections_accepted "Client connections accepted",
        connections_refused "Client connections turned away at the bound",
        connections_refused_client "Client connections turned away because their client had as many as it may",
        connections_closed "Client connections ended",
        tls_sessions "Client sessions protected by STARTTLS",
        tls_failed "Client sessions that ended because TLS did not come about or broke",
        auth_failures "Failed AUTH attempts",
        auth_checked "Passwords that were checked against their hash",
        auth_cached "Logins whose credentials had been verified of late",
        auth_refused "AUTH attempts answered 454 because their network had guessed too often",
        auth_shed "AUTH attempts answered 454 because too many waited for their password to be checked",
        auth_faults "AUTH attempts answered 454 because a password could not be checked",
        messages_received "Messages answered 250",
        rejections "Refusals of recipients, senders, logins, bodies and sessions of clients",
        rejections_left_out "Those of them that were too many for the accounting",
        messages_refused "Messages refused after their data",
        messages_signed "Messages that were signed (DKIM)",
        messages_unsigned "Messages of clients that may relay that were not signed, as there is no key for their author, or no certain author",
        messages_encoded "Messages made 7-bit text of short lines before they were signed",
        bytes_received "Body bytes of messages answered 250",
        recipients_received "Recipients of messages answered 250",
        recipients_delivered "Recipients taken by a next hop",
        recipients_handed_over "Of these, those that another node took over as they were, as this one is emptied",
        recipients_handed_anew "And those that such a node, or another relay, took as any mail",
        recipients_deferred "Attempts on a recipient that will be repeated",
        recipients_bounced "Recipients refused for good",
        recipients_expired "Recipients given up for age",
    }
    ends
    counts {
        bounces_made "Delivery status notifications queued",
        reports_left_out "Notifications of no failure that were left out as there were too many",
        outbound_connections_opened "Sessions opened to next hops",
        outbound_connections_failed "Sessions to next hops that did not come up",
        resolves_given_up "Domains given up for now, as their name servers and those of many others take long",
        rate_waits "Times that a site waited as its rate, or its provider's, let it begin nothing",
        address_waits "Times that a site waited as its address had all the connections it may have",
        tls_outbound "Sessions to next hops protected by TLS",
        tls_fallbacks "Sessions to next hops repeated in plain text because TLS failed",
        tls_avoided "Sessions to next hops in plain text because TLS failed there within the hour",
        tls_unverified "Sessions to next hops given up before any mail, as the certificate there was not valid, or nobody could tell",
        logins_failed "Sessions to smart hosts given up before any mail, as this relay could not log in there",
        tls_refused "Sessions to next hops that offered STARTTLS and then refused it",
        replies_early "Replies of next hops that came before the end of the message",
        replies_unasked "Sessions to next hops ended because of replies that nobody asked for",
        replies_unread "Replies of next hops that were classified by their codes alone, as too many new texts came at once",
        relay_refused "Refusals by next hops that are about this relay, not about a recipient",
        bodies_converted "Messages encoded on the way to a next hop without 8BITMIME",
        commits "Commits synced",
        commit_items "Messages, chunks and outcomes in them",
        commit_bytes "Bytes in them",
        commits_failed "Commits whose write or sync failed",
        segments_recycled "Segments freed for use again",
        messages_moved "Stored messages moved out of sparse segments",
        bytes_moved "Bytes of them",
        warmup_overflowed "Messages that went on by another source, as theirs is in warm-up and had had its day, counted once a domain",
        groups_moved "Messages that went on by another source, as theirs did not work or was no more, counted once a domain",
        pools_unknown "Parts of messages that named a pool or source that is not there, and left by the default",
        jobs_lent "Attempts lent to shards with more time",
        jobs_given_back "Borrowed attempts given back untouched",
        messages_unreadable "Times that a stored message was damaged or could not be read; the log names it",
        clock_jumps "Times that the wall clock was set while the relay ran, by a minute or more",
        accounting_dropped "Accounting records dropped because the log was full, slow or not to be written",
        accounting_lost "Accounting records that were passed on and could not be written",
        diagnostics_dropped "Lines to standard error that were dropped: their queue or what reads them was full, or the disk was",
        panics "Panics caught in session tasks",
    }
    levels {
        connections_inbound "Client connections open now",
        connections_outbound "Connections to next hops open now",
        queued_recipients "Recipients queued on this shard now",
        policy_generation "Which configuration the shard goes by: 0 is that of the start, each reload adds one",
        domains_waiting "Domains that wait to be resolved",
        domains_resolving "Domains that are resolved now",
        spool_messages "Live messages in the lanes of this shard",
        spool_segments "Segments in the lanes of this shard",
        spool_segments_free "Segments of these that are free",
        spool_bytes_live "Bytes of the live messages in the lanes of this shard",
        client_memory "Bytes that clients make the relay keep now: bodies, envelopes, input, replies, TLS",
        tls_put_off "1 while sessions hold all the memory they may, and STARTTLS is answered 454",
        session_memory "Of them, those of sessions whatever they are for: input, replies, TLS",
        bodies_gathered "Bytes of message bodies in memory now",
        attempts_unsynced "Attempts whose outcome is not on disk yet",
        sources_suspended "Sources by which nothing leaves now, as they do not work; reported by shard 0",
        hashes_waiting "Passwords of the node that wait to be checked; reported by shard 0",
        busy_percent "Share of its time that the shard worked of late, percent",
        longest_turn_microseconds "Longest time one task kept its shard from all others, of the last half minute or more",
        takes_mail "1 while there is room for new mail",
    }
}
