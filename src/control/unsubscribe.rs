//! Puts who unsubscribes on the suppression list: by a page, or by mail.

use std::sync::Arc;

use super::admin::{JournalBarrier, Teller};
use super::decisions::ListDesk;
use crate::control::acme::Challenges;
use crate::mail::unsubscribe::{Links, Listed};
use crate::observe::event::{Admin, ListChange};
use crate::observe::families::{Family, FamilyInfo};
use crate::policy::suppression::canonical::canonical;
use crate::policy::suppression::entry::{OwnedEntry, Reason};
use crate::runtime::process;

/// Wishes by how they came, and those that nobody believes.
pub const UNSUBSCRIBED: FamilyInfo = FamilyInfo {
    name: "unsubscribes",
    help: "Recipients that unsubscribed, by how they did; unknown: the link was not of this node",
    label: "by",
    values: &["one_click", "mail", "unknown"],
};

/// What is in force.
pub struct PublicInForce {
    /// The certificate that is shown.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// What reads links.
    pub links: Option<Arc<Links>>,
    /// Who unsubscribes gets no mail of anybody, not only none of that tenant.
    pub of_node: bool,
}

/// Whoever knows that.
pub trait PublicSettings: Send + Sync {
    /// As it is now.
    fn public(&self) -> PublicInForce;
}

/// How somebody unsubscribes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    OneClick,
    Mail,
    /// Not at all: nobody knows who it is.
    Unknown,
}

/// Why somebody is not on the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotListed {
    /// The list cannot have such an address.
    Unlistable,
    /// It cannot be written now.
    Later,
}

/// Who does it.
pub(super) struct Unsubscriber {
    pub settings: Arc<dyn PublicSettings>,
    pub lists: ListDesk,
    pub teller: Option<Teller>,
    pub journaled: Option<JournalBarrier>,
    pub counts: Arc<Family>,
    /// What an authority asks for, at the same ports.
    pub challenges: Arc<Challenges>,
}

impl Unsubscriber {
    /// What is in force.
    pub fn settings(&self) -> PublicInForce {
        self.settings.public()
    }

    /// One whom nobody believes.
    pub fn count_unknown(&self) {
        self.counts.add(By::Unknown as usize, 1);
    }

    /// Whoever it is gets no more mail of that tenant; it is on disk when this comes back.
    pub async fn take(&self, listed: &Listed, by: By) -> Result<(), NotListed> {
        let of_node = self.settings().of_node || listed.tenant.is_empty();
        let address = canonical(&listed.address).map_err(|_| NotListed::Unlistable)?;
        let note =
            if listed.campaign.is_empty() { String::new() } else { format!("campaign {}", listed.campaign) };
        let entry = OwnedEntry {
            tenant: (!of_node).then(|| listed.tenant.clone()),
            address: address.clone(),
            reason: Reason::Unsubscribe,
            added: process::wall(),
            expires: None,
            note,
        };
        if !entry.entry().is_sound() {
            return Err(NotListed::Unlistable);
        }
        let done = self.lists.add(vec![entry]).await.and_then(Result::ok).ok_or(NotListed::Later)?;
        self.counts.add(by as usize, done.changed);
        if done.changed > 0
            && let Some(teller) = &self.teller
        {
            let reason = match by {
                By::Mail => "unsubscribed by mail",
                By::OneClick | By::Unknown => "unsubscribed by one click",
            };
            let by = if of_node { "recipient".to_owned() } else { format!("recipient of {}", listed.tenant) };
            teller.tell(Admin::Suppress(ListChange {
                by: &by,
                filter: &address,
                reason,
                entries: done.changed,
            }));
            if let Some(journaled) = &self.journaled {
                // The list has it; the event follows where the journal is late.
                journaled.passed().await;
            }
        }
        Ok(())
    }
}
