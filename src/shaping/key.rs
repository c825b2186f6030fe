//! The keys of a section: what each is a number of, and which of KumoMTA's have no meaning here.

/// What a key's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// So many at one time.
    Limit,
    /// So many in a time.
    Rate,
    /// So many.
    Count,
    /// A time.
    Time,
    /// How TLS is used.
    Tls,
    /// `true` or `false`.
    Flag,
    /// The name of a source.
    Source,
}

macro_rules! keys {
    ($($key:ident $name:literal $kind:ident $words:literal)*) => {
        /// A key that sets something.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Key { $(#[doc = $words] $key,)* }

        impl Key {
            /// All of them, as they are printed.
            pub const ALL: &[Key] = &[$(Key::$key,)*];

            /// Its name in the file.
            pub fn name(self) -> &'static str {
                match self { $(Key::$key => $name,)* }
            }

            /// What its value is.
            pub fn kind(self) -> Kind {
                match self { $(Key::$key => Kind::$kind,)* }
            }
        }
    };
}

keys! {
    ConnectionLimit "connection_limit" Limit "Connections at one time of a source to a site."
    MaxConnectionRate "max_connection_rate" Rate "Connections opened by a source to a site."
    MaxMessageRate "max_message_rate" Rate "Messages of a source to a site."
    MaxDeliveriesPerConnection "max_deliveries_per_connection" Count "Messages over one connection."
    MaxRecipientsPerBatch "max_recipients_per_batch" Count "Recipients of one transaction."
    ProviderConnectionLimit "provider_connection_limit" Limit "Connections at one time of a source to all sites of a provider."
    ProviderMaxMessageRate "provider_max_message_rate" Rate "Messages of a source to all sites of a provider."
    Adaptive "adaptive" Flag "Whether connections and rate follow the replies, below the limits."
    FallbackSource "fallback_source" Source "Who sends while the source that should is suspended."
    EnableTls "enable_tls" Tls "How TLS is used."
    ConnectTimeout "connect_timeout" Time "For a connection."
    BannerTimeout "banner_timeout" Time "For the greeting."
    EhloTimeout "ehlo_timeout" Time "For the answer to EHLO."
    StarttlsTimeout "starttls_timeout" Time "For the answer to STARTTLS."
    AuthTimeout "auth_timeout" Time "For the answer to AUTH."
    MailFromTimeout "mail_from_timeout" Time "For the answer to MAIL."
    RcptToTimeout "rcpt_to_timeout" Time "For the answer to RCPT."
    DataTimeout "data_timeout" Time "For the answer to DATA."
    DataDotTimeout "data_dot_timeout" Time "For the answer to the final dot."
    RsetTimeout "rset_timeout" Time "For the answer to RSET."
    IdleTimeout "idle_timeout" Time "How long a connection waits for the next message."
    MaxAge "max_age" Time "When a recipient is given up."
    RetryInterval "retry_interval" Time "Before the first retry; each further one waits twice as long."
    MaxRetryInterval "max_retry_interval" Time "The longest wait before a retry."
}

impl Key {
    /// That of a name.
    pub fn named(name: &str) -> Option<Key> {
        Key::ALL.iter().copied().find(|key| key.name() == name)
    }

    /// Whether it is of providers alone.
    pub fn is_of_providers(self) -> bool {
        matches!(self, Key::ProviderConnectionLimit | Key::ProviderMaxMessageRate)
    }
}

/// KumoMTA's keys that say nothing to this relay, each with what there is in its place.
const WITHOUT_MEANING: [(&str, &str); 44] = [
    ("additional_connection_limits", "a provider's section has provider_connection_limit"),
    ("additional_message_rate_throttles", "a provider's section has provider_max_message_rate"),
    ("additional_source_selection_rates", "limit what a source sends by max_message_rate"),
    ("source_selection_rate", "limit what a source sends by max_message_rate"),
    ("provider_source_selection_rate", "limit what a source sends by provider_max_message_rate"),
    ("enable_dane", "it is not of a section here"),
    ("enable_mta_sts", "it is not of a section here"),
    ("enable_pipelining", "it is used wherever it is offered"),
    ("enable_rset", "it is sent where the protocol wants it"),
    ("tls_prefer_openssl", "there is one TLS library here"),
    ("tls_certificate", "no certificate is shown to next hops"),
    ("tls_private_key", "no certificate is shown to next hops"),
    ("openssl_cipher_list", "there is no OpenSSL here"),
    ("openssl_cipher_suites", "there is no OpenSSL here"),
    ("openssl_options", "there is no OpenSSL here"),
    ("rustls_cipher_suites", "the suites of TLS 1.2 and 1.3 are not chosen by site"),
    ("remember_broken_tls", "a host whose TLS breaks gets plain text for an hour, by itself"),
    ("opportunistic_tls_reconnect_on_failed_handshake", "opportunistic TLS does so by itself"),
    ("system_shutdown_timeout", "a stop waits for all deliveries alike"),
    ("max_ready", "queues are bounded for the whole node"),
    ("consecutive_connection_failures_before_delay", "a site that fails rests by itself"),
    ("smtp_port", "a [[route]] names the port"),
    (
        "smtp_auth_plain_username",
        "[credentials] and the [[route]] that names them say who this relay is at a host",
    ),
    (
        "smtp_auth_plain_password",
        "[credentials] and the [[route]] that names them say who this relay is at a host",
    ),
    ("allow_smtp_auth_plain_without_tls", "no password is sent without TLS"),
    ("allow_smtp_auth_plain_without_valid_certificate", "no password is sent to a host that is not verified"),
    ("prohibited_hosts", "[delivery] says which addresses are refused"),
    ("skip_hosts", "[delivery] says which addresses are refused"),
    ("ip_lookup_strategy", "IPv4 and IPv6 are both tried"),
    ("ehlo_domain", "the ehlo of a [[source]] is its name, and node.hostname that of one without"),
    ("aggressive_connection_opening", "connections are opened as mail waits"),
    ("refresh_interval", "a reload is in force at once"),
    ("refresh_strategy", "a reload is in force at once"),
    ("dispatcher_wakeup_strategy", "shards need no such choice"),
    ("maintainer_wakeup_strategy", "shards need no such choice"),
    ("dispatcher_progress_watchdog_timeout", "each command has its own timeout"),
    ("provider_name", "it is the name of the section"),
    ("use_lmtp", "a [[route]] to lmtp:// does it"),
    ("reconnect_strategy", "the next host is tried"),
    ("readyq_pool_name", "each shard has one thread"),
    ("low_memory_reduction_policy", "messages are not kept in memory"),
    ("no_memory_reduction_policy", "messages are not kept in memory"),
    ("try_next_host_on_transport_error", "the next host is tried"),
    ("ignore_8bit_checks", "8-bit mail is converted where a hop does not take it"),
];

/// Why a key of KumoMTA's has no meaning here, if it is one.
pub fn without_meaning(name: &str) -> Option<&'static str> {
    WITHOUT_MEANING.iter().find(|(known, _)| *known == name).map(|(_, why)| *why)
}
