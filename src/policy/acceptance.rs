//! Who has a say in whether a client's mail is taken, in one value. Sessions and shards ask this, and need not know who says what.

use crate::config::Config;
use crate::policy::reason::{Reason, Refused};
use crate::policy::rules::{Facts, Rules, Stages};

/// Those who do: the operator's rules. Each shard has its own: what a pattern remembers while it is matched is not shared between threads.
#[derive(Clone, Debug, Default)]
pub struct Acceptance {
    rules: Rules,
}

impl Acceptance {
    /// That of a configuration. A shard makes it within one turn: what may be large, as what a file holds, is an `Arc` there and is taken as it is.
    pub fn new(config: &Config) -> Acceptance {
        Acceptance { rules: Rules::new(&config.rules).of_node(&config.node.hostname) }
    }

    /// At which stages there is anything to ask.
    pub fn stages(&self) -> Stages {
        self.rules.stages()
    }

    /// Whether a sender or a recipient is refused by what is known so far, and why.
    pub fn refuses(&self, facts: &Facts<'_>) -> Option<Refused<'_>> {
        let by_rule = |reply| Refused { reply, reason: Reason::Rule };
        self.rules.refuses(facts).map(by_rule)
    }

    /// What a message is treated by once its header is known.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }
}
