//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677, RFC 9266), the server's side: reads what the client says and composes what it is told. Whether
//! its proof is right says whoever has the account's verifier.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::limits;
use crate::smtp::scram::{Costs, unescape};

/// What a login is bound to (RFC 9266): the one kind that TLS 1.3 has.
const BINDING: &str = "tls-exporter";

/// Why an exchange ends before a proof was looked at. None of it says anything of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A message that is none.
    Malformed,
    /// The client can bind its login and believes that we cannot: somebody took that out of our answer to EHLO (RFC 5802 section 6).
    Downgraded,
    /// It is bound to something else than this connection, or to something we do not know.
    Binding,
}

/// An exchange whose first message came.
pub(super) struct Exchange {
    /// The account it is about.
    name: String,
    /// It wants to act for somebody else.
    foreign: bool,
    /// What it began with (RFC 5801): `p=tls-exporter,,` if it is bound.
    header: String,
    /// The rest of it, which both sign.
    bare: String,
    /// Where its nonce begins in that.
    nonce_at: usize,
    /// What it was told to derive its key with. None: nothing yet.
    told: Option<Told>,
}

/// What a client was told.
struct Told {
    costs: Costs,
    message: String,
    /// The nonce of both.
    nonce: String,
    /// What `c=` is to be. None: it is to be bound, and nobody said to what.
    channel: Option<String>,
}

/// What a client proves, and what both sign with it.
#[derive(PartialEq, Eq)]
pub struct Proof {
    /// The account's name.
    pub name: String,
    /// What the client was told to derive its key with.
    pub costs: Costs,
    /// What both sign.
    pub signed: String,
    /// The client's key, hidden by its signature.
    pub proof: [u8; 32],
    /// It wants to act for somebody else, and nobody may (RFC 5802 section 5): however right it is, it fails as a wrong one does.
    pub foreign: bool,
}

/// No proof of anything is shown: it may be of a password that others have guessed.
impl fmt::Debug for Proof {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Proof").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Exchange").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Exchange {
    /// A client's first message (RFC 5802 section 7). `plus`: it is bound, by the mechanism's name. `can_bind`: that is offered here.
    pub(super) fn begin(message: Vec<u8>, plus: bool, can_bind: bool) -> Result<Exchange, Fault> {
        let mut message = text(message)?;
        let mut parts = message.splitn(3, ',');
        let mut part = || parts.next().ok_or(Fault::Malformed);
        let (flag, acts_for, bare) = (part()?, part()?, part()?);
        match (flag.strip_prefix("p="), flag) {
            (Some(BINDING), _) if plus => {}
            (Some(_), _) if plus => return Err(Fault::Binding),
            (None, "y") if can_bind && !plus => return Err(Fault::Downgraded),
            (None, "n" | "y") if !plus => {}
            _ => return Err(Fault::Malformed),
        }
        let acts_for = match acts_for {
            // GNU SASL writes an empty one where there is none.
            "" | "a=" => None,
            some => Some(some.strip_prefix("a=").and_then(unescape).ok_or(Fault::Malformed)?),
        };
        // `m=` in the first place is an extension that has to be known (RFC 5802 section 5.1).
        let mut parts = bare.split(',');
        let named = parts.next().unwrap_or_default();
        let name = named.strip_prefix("n=").and_then(unescape).ok_or(Fault::Malformed)?;
        let nonce = parts.next().and_then(|part| part.strip_prefix("r=")).ok_or(Fault::Malformed)?;
        let printable = !nonce.is_empty() && nonce.bytes().all(|byte| byte.is_ascii_graphic());
        // No account has a longer name.
        if !printable || name.len() > limits::ACCOUNT_NAME_MAX || !parts.all(is_extension) {
            return Err(Fault::Malformed);
        }
        let nonce_at = named.len() + ",r=".len();
        let foreign = acts_for.is_some_and(|other| other != name);
        let header = message.len() - bare.len();
        let bare = message.split_off(header);
        Ok(Exchange { name, foreign, header: message, bare, nonce_at, told: None })
    }

    /// Whose verifier is wanted.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What the client is told. `nonce`: printable, without a comma, and nobody can guess it. `binding`: what TLS exports for this
    /// connection, where it does.
    pub(super) fn challenge(&mut self, costs: Costs, nonce: &str, binding: Option<&[u8; 32]>) -> &str {
        let theirs = self.bare[self.nonce_at..].split(',').next().unwrap_or_default();
        let nonce = format!("{theirs}{nonce}");
        let message = format!("r={nonce},s={},i={}", STANDARD.encode(&costs.salt), costs.iterations);
        let channel = match (self.header.starts_with("p="), binding) {
            (false, _) => Some(STANDARD.encode(&self.header)),
            (true, binding) => binding.map(|of| STANDARD.encode([self.header.as_bytes(), of].concat())),
        };
        &self.told.insert(Told { costs, message, nonce, channel }).message
    }

    /// Its last message (RFC 5802 section 7).
    pub(super) fn prove(self, message: Vec<u8>) -> Result<Proof, Fault> {
        let message = text(message)?;
        let told = self.told.ok_or(Fault::Malformed)?;
        let (without, proof) = message.rsplit_once(",p=").ok_or(Fault::Malformed)?;
        let mut parts = without.split(',');
        let channel = parts.next().and_then(|part| part.strip_prefix("c=")).ok_or(Fault::Malformed)?;
        let nonce = parts.next().and_then(|part| part.strip_prefix("r=")).ok_or(Fault::Malformed)?;
        if nonce != told.nonce || !parts.all(is_extension) {
            return Err(Fault::Malformed);
        }
        let proof = STANDARD.decode(proof).ok().and_then(|proof| proof.try_into().ok());
        let proof = proof.ok_or(Fault::Malformed)?;
        // RFC 5802 section 6: whether it is bound or not, this is looked at.
        if told.channel.as_deref() != Some(channel) {
            return Err(Fault::Binding);
        }
        let signed = format!("{},{},{without}", self.bare, told.message);
        Ok(Proof { name: self.name, costs: told.costs, signed, proof, foreign: self.foreign })
    }

    /// Bytes in memory.
    pub(super) fn held(&self) -> usize {
        let told = self.told.as_ref().map_or(0, |told| {
            3 * limits::TEXT_OVERHEAD
                + told.message.len()
                + told.nonce.len()
                + told.channel.as_ref().map_or(0, String::len)
                + told.costs.salt.len()
        });
        3 * limits::TEXT_OVERHEAD + self.name.len() + self.header.len() + self.bare.len() + told
    }
}

/// One that may be passed over: it has a letter for a name, and it is not `m`, by which it says that it may not be.
fn is_extension(part: &str) -> bool {
    matches!(part.as_bytes(), [letter, b'=', _, ..] if letter.is_ascii_alphabetic() && *letter != b'm')
}

fn text(message: Vec<u8>) -> Result<String, Fault> {
    if message.len() > limits::SCRAM_MESSAGE_MAX {
        return Err(Fault::Malformed);
    }
    String::from_utf8(message).ok().filter(|text| !text.contains('\0')).ok_or(Fault::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::scram::Verifier;
    use crate::smtp::scram::tests::{PENCIL, costs};

    fn begin(message: &str, plus: bool, can_bind: bool) -> Result<Exchange, Fault> {
        Exchange::begin(message.into(), plus, can_bind)
    }

    /// RFC 7677 section 3.
    #[test]
    fn the_example_of_rfc_7677() {
        let mut exchange = begin("n,,n=user,r=rOprNGfwEbeRWgbNEkqO", false, true).expect("a first message");
        assert_eq!(exchange.name(), "user");
        let told = exchange.challenge(costs(), "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", None);
        assert_eq!(
            told,
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let proof = exchange.prove(last.into()).expect("a proof");
        let verifier = Verifier::parse(PENCIL).expect("a verifier");
        assert!(verifier.is_of(&verifier.client_key(&proof.signed, &proof.proof)) && !proof.foreign);
        assert_eq!(
            STANDARD.encode(verifier.signature(&proof.signed)),
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
        assert!(!format!("{proof:?}").contains("biws"));
    }

    /// RFC 5802 section 6, row by row.
    #[test]
    fn what_a_client_says_of_the_channel() {
        for (flag, plus, can_bind, wanted) in [
            ("n", false, false, None),
            ("n", false, true, None),
            ("y", false, false, None),
            ("y", false, true, Some(Fault::Downgraded)),
            ("p=tls-exporter", true, true, None),
            ("p=tls-unique", true, true, Some(Fault::Binding)),
            ("p=tls-server-end-point", true, true, Some(Fault::Binding)),
            ("p=", true, true, Some(Fault::Binding)),
            ("p=TLS-EXPORTER", true, true, Some(Fault::Binding)),
            ("n", true, true, Some(Fault::Malformed)),
            ("y", true, true, Some(Fault::Malformed)),
            ("p=tls-exporter", false, true, Some(Fault::Malformed)),
            ("p", true, true, Some(Fault::Malformed)),
            ("", false, true, Some(Fault::Malformed)),
            ("N", false, true, Some(Fault::Malformed)),
        ] {
            let met = begin(&format!("{flag},,n=user,r=abc"), plus, can_bind);
            assert_eq!(met.err(), wanted, "{flag} {plus} {can_bind}");
        }
    }

    #[test]
    fn who_it_is_and_for_whom_it_acts() {
        let of = |message: &str| begin(message, false, false).map(|of| (of.name, of.foreign, of.header));
        assert_eq!(of("n,,n=a=2Cb=3Dc,r=x"), Ok(("a,b=c".into(), false, "n,,".into())));
        assert_eq!(of("n,a=bob,n=bob,r=x"), Ok(("bob".into(), false, "n,a=bob,".into())));
        assert_eq!(of("n,a=,n=bob,r=x"), Ok(("bob".into(), false, "n,a=,".into())));
        assert_eq!(of("n,a=ann,n=bob,r=x"), Ok(("bob".into(), true, "n,a=ann,".into())));
        assert_eq!(of("n,,n=bob,r=x,t=later,u=more").map(|of| of.0), Ok("bob".into()));
        let long = format!("n,,n={},r=x", "b".repeat(limits::ACCOUNT_NAME_MAX + 1));
        let endless = format!("n,,n=bob,r={}", "x".repeat(limits::SCRAM_MESSAGE_MAX));
        for wrong in [
            "",
            "n",
            "n,",
            "n,,",
            "n,,n=bob",
            "n,,n=bob,",
            "n,,n=bob,r=",
            "n,,r=x,n=bob",
            "n,,m=e,n=bob,r=x",
            "n,,n=bob,r=x,m=e",
            "n,,n=bob,r=x,",
            "n,,n=bob,r=x,t",
            "n,,n=bob,r=x,t=",
            "n,,n=bob,r=a b",
            "n,,n=bob,r=ü",
            "n,,n=,r=x",
            "n,,n=b=b,r=x",
            "n,b=bob,n=bob,r=x",
            "n,,n=b\0b,r=x",
            "n,,N=bob,r=x",
            &long,
            &endless,
        ] {
            assert_eq!(of(wrong).err(), Some(Fault::Malformed), "{wrong}");
        }
        assert_eq!(Exchange::begin(b"n,,n=\xff,r=x".to_vec(), false, false).err(), Some(Fault::Malformed));
    }

    #[test]
    fn the_last_message_answers_what_was_told() {
        let of = |last: &str| {
            let mut exchange = begin("p=tls-exporter,,n=bob,r=abc", true, true).expect("a first message");
            exchange.challenge(costs(), "def", Some(&[7; 32]));
            exchange.prove(last.into()).map(|proof| (proof.proof, proof.signed))
        };
        let channel = |binding: u8| STANDARD.encode([&b"p=tls-exporter,,"[..], &[binding; 32]].concat());
        let (right, proof) = (channel(7), STANDARD.encode([9; 32]));
        let signed = "n=bob,r=abc,r=abcdef,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let whole = format!("c={right},r=abcdef,p={proof}");
        assert_eq!(of(&whole), Ok(([9; 32], format!("{signed},c={right},r=abcdef"))));
        let more = format!("c={right},r=abcdef,t=x,p={proof}");
        assert_eq!(of(&more), Ok(([9; 32], format!("{signed},c={right},r=abcdef,t=x"))));
        // Of another connection, of none, and of one that changed what the client said first.
        for other in [channel(8), STANDARD.encode("p=tls-exporter,,"), STANDARD.encode("n,,"), String::new()]
        {
            assert_eq!(of(&format!("c={other},r=abcdef,p={proof}")).err(), Some(Fault::Binding), "{other}");
        }
        let short = STANDARD.encode([9; 31]);
        for wrong in [
            format!("c={right},r=abc,p={proof}"),
            format!("c={right},r=abcdefg,p={proof}"),
            format!("c={right},p={proof}"),
            format!("c={right},r=abcdef"),
            format!("c={right},r=abcdef,p={short}"),
            format!("c={right},r=abcdef,p=!"),
            format!("c={right},r=abcdef,m=e,p={proof}"),
            format!("r=abcdef,c={right},p={proof}"),
            format!("c={right},r=abcdef,p={proof},t=x"),
            String::new(),
        ] {
            assert_eq!(of(&wrong).err(), Some(Fault::Malformed), "{wrong}");
        }
        let untold = begin("n,,n=bob,r=abc", false, false).expect("a first message");
        assert_eq!(untold.prove(whole.into()).err(), Some(Fault::Malformed));
    }
}
