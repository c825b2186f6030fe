//! One order: the account, the names, what proves that they are ours, the certificate (RFC 8555 section 7).

use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Error, Identifier, NewAccount, NewOrder,
    Order, OrderStatus, RetryPolicy,
};
use serde::{Deserialize, Serialize};

use super::challenges::Challenges;
use super::https::Https;
use super::kept::Kept;
use super::wanted::Wanted;
use crate::config::AcmeConfig;
use crate::limits;

/// What an authority says that has lost its accounts, as one that was set up anew.
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// An account, and at which authority.
#[derive(Deserialize, Serialize)]
struct KeptAccount {
    directory: String,
    contact: Vec<String>,
    credentials: AccountCredentials,
}

/// Chain and key, as PEM.
pub(super) async fn order(
    kept: &Kept,
    wanted: &Wanted,
    challenges: &Challenges,
) -> Result<(String, String), String> {
    let names = wanted.config.names(&wanted.hostname);
    let identifiers: Vec<_> = names.iter().map(|name| Identifier::Dns((*name).to_owned())).collect();
    let mut order = place(kept, &wanted.config, &NewOrder::new(&identifiers)).await?;
    prove(&mut order, challenges).await.map_err(words)?;
    let retries = RetryPolicy::new().timeout(limits::ACME_ORDER_TIME);
    let ready = order.poll_ready(&retries).await;
    if !matches!(ready, Ok(OrderStatus::Ready)) {
        return Err(refused(&mut order).await.unwrap_or_else(|| match ready {
            Ok(status) => format!("the order is {status:?}"),
            Err(error) => words(error),
        }));
    }
    let key = order.finalize().await.map_err(words)?;
    let chain = order.poll_certificate(&retries).await.map_err(words)?;
    Ok((chain, key))
}

/// An order of the account that there is, or of a new one.
async fn place(kept: &Kept, config: &AcmeConfig, new: &NewOrder<'_>) -> Result<Order, String> {
    let known = kept.account().and_then(|text| serde_json::from_slice::<KeptAccount>(&text).ok());
    if let Some(known) = known.filter(|known| known.directory == config.directory) {
        let https = https(config)?;
        match place_of_known(https, known, config, new).await {
            Err(Error::Api(problem)) if problem.r#type.as_deref() == Some(NO_ACCOUNT) => {}
            placed => return placed.map_err(words),
        }
    }
    new_account(kept, config).await?.new_order(new).await.map_err(words)
}

async fn place_of_known(
    https: Box<Https>,
    known: KeptAccount,
    config: &AcmeConfig,
    new: &NewOrder<'_>,
) -> Result<Order, Error> {
    let account = Account::builder_with_http(https).from_credentials(known.credentials).await?;
    if known.contact != config.contact {
        account.update_contacts(&contact(config)).await?;
    }
    account.new_order(new).await
}

async fn new_account(kept: &Kept, config: &AcmeConfig) -> Result<Account, String> {
    let contact = contact(config);
    let new = NewAccount {
        contact: &contact,
        terms_of_service_agreed: config.agree_tos,
        only_return_existing: false,
    };
    let made = Account::builder_with_http(https(config)?).create(&new, config.directory.clone(), None).await;
    let (account, credentials) = made.map_err(words)?;
    let (directory, contact) = (config.directory.clone(), config.contact.clone());
    let text = serde_json::to_vec(&KeptAccount { directory, contact, credentials })
        .map_err(|error| error.to_string())?;
    // One that is not remembered is another one the next time.
    kept.write_account(&text).map_err(|error| format!("the account cannot be kept: {error}"))?;
    Ok(account)
}

fn https(config: &AcmeConfig) -> Result<Box<Https>, String> {
    Https::new(config.directory_ca.as_deref()).map(Box::new)
}

fn contact(config: &AcmeConfig) -> Vec<&str> {
    config.contact.iter().map(String::as_str).collect()
}

/// Has the authority ask for what proves each name.
async fn prove(order: &mut Order, challenges: &Challenges) -> Result<(), Error> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            _ => return Err(Error::Str("a name that could be proven")),
        }
        let mut challenge = authorization
            .challenge(ChallengeType::Http01)
            .ok_or(Error::Unsupported("HTTP-01 for this name"))?;
        challenges.put(&challenge.token, challenge.key_authorization().as_str());
        challenge.set_ready().await?;
    }
    Ok(())
}

/// Why the authority does not believe that a name is ours.
async fn refused(order: &mut Order) -> Option<String> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let name = authorization.identifier().to_string();
        let Ok(state) = authorization.refresh().await else { continue };
        if let Some(problem) = state.challenges.iter().find_map(|challenge| challenge.error.as_ref()) {
            return Some(cut(&format!("{name}: {problem}")));
        }
    }
    None
}

fn words(error: Error) -> String {
    cut(&error.to_string())
}

/// What an authority says, on one line that ends.
fn cut(words: &str) -> String {
    let shown = words.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    shown.take(limits::ACME_WORDS_MAX).collect()
}
