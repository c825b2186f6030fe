//! `auth` of a listener: by which mechanisms an account may log in.

use toml::de::DeValue;

use crate::config::literal::{Wrong, kind, quoted, word};

/// A way to prove who one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMechanism {
    /// RFC 7677, bound to the TLS that it is said under (RFC 9266).
    ScramSha256Plus,
    /// RFC 7677.
    ScramSha256,
    /// RFC 4616.
    Plain,
    /// No RFC: the draft draft-murchison-sasl-login.
    Login,
}

impl AuthMechanism {
    /// All, the strongest first.
    pub const ALL: [AuthMechanism; 4] = [
        AuthMechanism::ScramSha256Plus,
        AuthMechanism::ScramSha256,
        AuthMechanism::Plain,
        AuthMechanism::Login,
    ];

    /// As EHLO and AUTH name it.
    pub fn name(self) -> &'static str {
        match self {
            AuthMechanism::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            AuthMechanism::ScramSha256 => "SCRAM-SHA-256",
            AuthMechanism::Plain => "PLAIN",
            AuthMechanism::Login => "LOGIN",
        }
    }

    /// Whether the client shows the password itself.
    pub fn tells_password(self) -> bool {
        matches!(self, AuthMechanism::Plain | AuthMechanism::Login)
    }
}

/// Some of them, in the order in which they are offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuthMechanisms([Option<AuthMechanism>; AuthMechanism::ALL.len()]);

impl AuthMechanisms {
    /// Nobody can log in.
    pub const NONE: AuthMechanisms = AuthMechanisms([None; AuthMechanism::ALL.len()]);
    /// Those by which the client shows its password.
    pub const TOLD: AuthMechanisms =
        AuthMechanisms([Some(AuthMechanism::Plain), Some(AuthMechanism::Login), None, None]);

    /// Those that a condition holds for, of all.
    pub fn all_that(wanted: impl Fn(AuthMechanism) -> bool) -> AuthMechanisms {
        AuthMechanism::ALL.into_iter().filter(|one| wanted(*one)).collect()
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = AuthMechanism> {
        self.0.into_iter().flatten()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0[0].is_none()
    }

    /// Whether this is one of them.
    pub fn has(&self, mechanism: AuthMechanism) -> bool {
        self.0.contains(&Some(mechanism))
    }

    /// Which of them a client calls so.
    pub fn named(&self, name: &str) -> Option<AuthMechanism> {
        self.iter().find(|one| one.name().eq_ignore_ascii_case(name))
    }

    /// Those that can be used where a login can be bound to the connection, or cannot.
    pub fn where_bound(&self, can_bind: bool) -> AuthMechanisms {
        self.iter().filter(|one| can_bind || *one != AuthMechanism::ScramSha256Plus).collect()
    }
}

/// One that comes again stands where it was first.
impl FromIterator<AuthMechanism> for AuthMechanisms {
    fn from_iter<I: IntoIterator<Item = AuthMechanism>>(all: I) -> AuthMechanisms {
        let mut mechanisms = AuthMechanisms::NONE;
        for one in all {
            if !mechanisms.has(one)
                && let Some(place) = mechanisms.0.iter_mut().find(|place| place.is_none())
            {
                *place = Some(one);
            }
        }
        mechanisms
    }
}

/// Reads a list of their names.
pub(super) fn read(value: &DeValue<'_>) -> Result<AuthMechanisms, Wrong> {
    let Some(all) = value.as_array() else {
        let usual = format!("[{}]", quoted(AuthMechanism::Plain.name()));
        return Err(Wrong::write(format!("this is {}, not a list", kind(value)), usual, ""));
    };
    let known = AuthMechanism::ALL.map(|one| (one.name(), one));
    all.iter().map(|one| word(one.get_ref(), known)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_offered_as_they_were_listed() {
        use AuthMechanism::{Login, Plain, ScramSha256, ScramSha256Plus};
        let all: AuthMechanisms = [Login, ScramSha256Plus, Login, Plain].into_iter().collect();
        assert_eq!(all.iter().collect::<Vec<_>>(), [Login, ScramSha256Plus, Plain]);
        assert_eq!(all.where_bound(false).iter().collect::<Vec<_>>(), [Login, Plain]);
        assert_eq!(
            (all.named("scram-sha-256-plus"), all.named("SCRAM-SHA-256")),
            (Some(ScramSha256Plus), None)
        );
        assert!(
            all.has(Plain) && !all.has(ScramSha256) && !all.is_empty() && AuthMechanisms::NONE.is_empty()
        );
        assert_eq!(AuthMechanisms::all_that(AuthMechanism::tells_password), AuthMechanisms::TOLD);
    }
}
