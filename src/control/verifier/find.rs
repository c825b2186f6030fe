//! What is found out about one message, by the library, in our words.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use mail_auth::common::crypto::{Algorithm, CryptoError, HashAlgorithm};
use mail_auth::dkim::{Canonicalization, DkimError};
use mail_auth::dmarc::Policy as Published;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::hickory_resolver::proto::rr::RData;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{
    AuthenticatedMessage, DkimOutput, DkimResult, DmarcOutput, DmarcResult, DnsError, Error,
    MessageAuthenticator, SpfOutput, SpfResult, dkim,
};
use tokio::time::{Instant, timeout_at};

use crate::limits;
use crate::mail::author;
use crate::mail::dkim as ours;
use crate::mail::header;
use crate::mail::results::{self, Dmarc, Findings, Policy, Signature, Spf, Verdict};
use crate::shard::verifying::{Question, Unknown};

/// All of it, as far as it is known in time.
pub(super) async fn find(authenticator: &MessageAuthenticator, question: &Arc<Question>) -> Findings {
    let now = Instant::now();
    let (first, until) = (now + limits::VERIFY_FIRST, now + limits::VERIFY_TIME);
    let (theirs, asked) = (authenticator.clone(), question.clone());
    // Beside the others: who has no name server that answers for one may have one for the other.
    let spf = tokio::spawn(async move { spf(&theirs, asked.about(), first).await });
    let about = question.about();
    let section = &about.header[..];
    let mut message = AuthenticatedMessage::parse_with_opts(section, None, true).unwrap_or_default();
    let author = prepare(&mut message, about);
    let refused = leave_out(&mut message);
    let verified = timeout_at(first, authenticator.verify_dkim(&message)).await;
    let client = spf.await.unwrap_or_else(|_| Client::unknown(about));
    let mut found = Findings { spf: client.shown(), ..Findings::default() };
    let is_late = verified.is_err();
    let verified = verified.unwrap_or_default();
    found.dkim =
        verified.iter().map(signature).chain(refused).take(limits::VERIFIED_SIGNATURES_MAX).collect();
    if is_late {
        found.dkim = Findings::unknown().dkim;
    }
    found.dmarc = match author {
        Author::Unclear => Dmarc {
            verdict: Verdict::PermError,
            reason: "the From field is not one that can be read",
            ..Dmarc::default()
        },
        Author::Known if is_late => unknown(&message),
        Author::Known => {
            let parameters = DmarcParameters::new(&message, &verified, &client.domain, &client.output);
            let output = timeout_at(until, authenticator.verify_dmarc(parameters)).await;
            output.map_or_else(|_| unknown(&message), |output| dmarc(&output))
        }
    };
    found
}

/// Whether it is known who wrote a message, as readers see it.
enum Author {
    Known,
    /// Nobody, several fields, or one that can be read in more than one way.
    Unclear,
}

/// Puts into a message of which the library has seen the header section what we know of the rest; and in place of what it makes of the From field what we
/// do, who doubt more.
fn prepare(message: &mut AuthenticatedMessage<'_>, about: &Unknown) -> Author {
    for (form, hash, length, value) in &mut message.body_hashes {
        let form = match form {
            Canonicalization::Relaxed => ours::Canonicalization::Relaxed,
            Canonicalization::Simple => ours::Canonicalization::Simple,
        };
        // What was not hashed so fits no signature.
        let known = about.body.of(form).filter(|_| *hash == HashAlgorithm::Sha256 && *length == 0);
        *value = known.map(|hash| hash.to_vec()).unwrap_or_default();
    }
    let mut fields = header::fields(&about.header, false).filter(|field| field.is("from"));
    let one = fields.next().filter(|_| fields.next().is_none());
    message.from.clear();
    match one.and_then(|field| author::authors(field.value)).filter(|authors| !authors.is_empty()) {
        Some(authors) => {
            let address = |one: &author::Author| String::from_utf8_lossy(one.address()).into_owned();
            message.from.extend(authors.iter().map(address));
            Author::Known
        }
        None => Author::Unclear,
    }
}

/// Signatures that are not looked at: beyond the first few, and those that are worth nothing (RFC 8301 section 3.1).
fn leave_out(message: &mut AuthenticatedMessage<'_>) -> Vec<Signature> {
    message.dkim_headers.truncate(limits::VERIFIED_SIGNATURES_MAX);
    let room = limits::VERIFIED_SIGNATURES_MAX - message.dkim_headers.len();
    let (mut wrong, mut refused) = (0, Vec::new());
    message.errors.retain(|error| {
        wrong += usize::from(matches!(error.header, Error::Dkim(_)));
        wrong <= room
    });
    message.dkim_headers.retain(|header| {
        let flaw = flaw(&header.header);
        refused.extend(flaw.map(|flaw| of_signature(&header.header, Verdict::PermError, flaw)));
        flaw.is_none()
    });
    refused
}

/// Why a signature proves nothing, whatever its key says.
fn flaw(signature: &dkim::Signature) -> Option<&'static str> {
    let names = &signature.h;
    if signature.a == Algorithm::RsaSha1 {
        Some("rsa-sha1 proves nothing any more")
    } else if names.len() > limits::SIGNED_NAMES_MAX {
        // Each is looked for in the whole header section.
        Some("it names too many fields")
    } else if !names.iter().any(|name| name.trim().eq_ignore_ascii_case("from")) {
        // RFC 6376 section 6.1.1
        Some("it does not cover the From field")
    } else {
        None
    }
}

/// What SPF came to, for us and for DMARC.
struct Client {
    output: SpfOutput,
    domain: String,
    of_helo: bool,
}

impl Client {
    /// Whose it is: of the reverse path, and else of EHLO (RFC 7208 2.4).
    fn new(about: &Unknown) -> Client {
        let of_helo = about.sender.is_empty();
        let domain = if of_helo { &*about.helo } else { results::domain_of(&about.sender) };
        let domain = domain.to_ascii_lowercase();
        Client { output: SpfOutput::new(domain.clone()), domain, of_helo }
    }

    fn with(self, result: SpfResult) -> Client {
        let output = SpfOutput::new(self.domain.clone()).with_result(result);
        Client { output, ..self }
    }

    fn unknown(about: &Unknown) -> Client {
        Client::new(about).with(SpfResult::TempError)
    }

    fn shown(&self) -> Spf {
        let verdict = match self.output.result() {
            SpfResult::Pass => Verdict::Pass,
            SpfResult::Fail => Verdict::Fail,
            SpfResult::SoftFail => Verdict::SoftFail,
            SpfResult::Neutral => Verdict::Neutral,
            SpfResult::TempError => Verdict::TempError,
            SpfResult::PermError => Verdict::PermError,
            SpfResult::None => Verdict::None,
        };
        Spf { verdict, domain: self.domain.as_str().into(), of_helo: self.of_helo }
    }
}

async fn spf(authenticator: &MessageAuthenticator, about: &Unknown, until: Instant) -> Client {
    let client = Client::new(about);
    if !results::is_domain(&client.domain) {
        return client.with(SpfResult::None);
    }
    let sender = std::str::from_utf8(&about.sender).unwrap_or_default();
    let asking = async {
        if has_several(authenticator, &client.domain).await {
            return SpfResult::PermError;
        }
        let parameters = match client.of_helo {
            true => SpfParameters::verify_ehlo(about.client, &about.helo, &about.hostname),
            false => SpfParameters::verify_mail_from(about.client, &about.helo, &about.hostname, sender),
        };
        authenticator.verify_spf(parameters).await.result()
    };
    let result = timeout_at(until, asking).await.unwrap_or(SpfResult::TempError);
    client.with(result)
}

/// Whether a domain has more than one record, which is an error (RFC 7208 4.5). The library takes the first one; the answer it then finds remembered.
async fn has_several(authenticator: &MessageAuthenticator, domain: &str) -> bool {
    let Ok(answer) = authenticator.resolver().txt_lookup(format!("{domain}.")).await else { return false };
    let is_record = |data: &RData| {
        let RData::TXT(text) = data else { return false };
        let text = text.txt_data.concat().to_ascii_lowercase();
        text.strip_prefix(b"v=spf1").is_some_and(|rest| rest.is_empty() || rest.starts_with(b" "))
    };
    answer.answers().iter().filter(|record| is_record(&record.data)).count() > 1
}

fn signature(output: &DkimOutput<'_>) -> Signature {
    let (verdict, reason) = match output.result() {
        DkimResult::Pass => (Verdict::Pass, ""),
        DkimResult::None => (Verdict::None, ""),
        // What the library says of signatures that do not hold: of a body that was changed, and those whose time is over.
        DkimResult::Neutral(
            error @ Error::Dkim(DkimError::FailedBodyHashMatch | DkimError::SignatureExpired),
        ) => (Verdict::Fail, words(error)),
        DkimResult::Neutral(error) => (Verdict::Neutral, words(error)),
        DkimResult::Fail(error) => (Verdict::Fail, words(error)),
        DkimResult::PermError(error) => (Verdict::PermError, words(error)),
        DkimResult::TempError(error) => (Verdict::TempError, words(error)),
    };
    match output.signature() {
        Some(signature) => of_signature(signature, verdict, reason),
        None => Signature { verdict, reason, ..Signature::default() },
    }
}

fn of_signature(signature: &dkim::Signature, verdict: Verdict, reason: &'static str) -> Signature {
    let algorithm = match signature.a {
        Algorithm::RsaSha256 => "rsa-sha256",
        Algorithm::Ed25519Sha256 => "ed25519-sha256",
        Algorithm::RsaSha1 => "rsa-sha1",
    };
    // Three bytes are four letters.
    let begins = signature.b.get(..limits::SIGNATURE_BEGIN / 4 * 3).unwrap_or_default();
    let begins = BASE64_STANDARD.encode(begins);
    Signature {
        verdict,
        reason,
        domain: signature.d.as_str().into(),
        selector: signature.s.as_str().into(),
        algorithm,
        begins: begins.into(),
    }
}

/// Never theirs: they may repeat what a stranger wrote.
fn words(error: &Error) -> &'static str {
    match error {
        Error::Dkim(DkimError::FailedBodyHashMatch) => "the body was changed",
        Error::Dkim(DkimError::SignatureExpired) => "its time is over",
        Error::Dkim(DkimError::SignatureLength) => "it covers a part of the body alone (l=)",
        Error::Dkim(DkimError::FailedAuidMatch) => "its i= is not of its domain",
        Error::Dkim(DkimError::RevokedPublicKey) => "the key was revoked",
        Error::Dkim(_) => "it cannot be understood",
        Error::Crypto(CryptoError::IncompatibleAlgorithms) => "the key does not fit",
        Error::Crypto(_) => "a signed field was changed",
        Error::Dns(DnsError::RecordNotFound(_)) => "there is no such key",
        Error::Dns(DnsError::InvalidRecordType) => "the record cannot be understood",
        Error::Dns(DnsError::Resolver(_)) => "the name server does not answer",
        _ => "it cannot be understood",
    }
}

/// There was no time for it.
fn unknown(message: &AuthenticatedMessage<'_>) -> Dmarc {
    let domain = message.from.first().map_or("", |from| results::domain_of(from.as_bytes()));
    Dmarc { domain: domain.into(), ..Findings::unknown().dmarc }
}

fn dmarc(output: &DmarcOutput) -> Dmarc {
    let (verdict, reason) = match output.result() {
        DmarcResult::Pass => (Verdict::Pass, ""),
        DmarcResult::Fail(_) => (Verdict::Fail, ""),
        DmarcResult::TempError(error) => (Verdict::TempError, words(&error)),
        DmarcResult::PermError(error) => (Verdict::PermError, words(&error)),
        DmarcResult::None => (Verdict::None, ""),
    };
    let policy = match output.policy() {
        Published::Reject => Policy::Reject,
        Published::Quarantine => Policy::Quarantine,
        Published::None | Published::Unspecified => Policy::None,
    };
    Dmarc { verdict, reason, domain: output.domain().into(), policy }
}
