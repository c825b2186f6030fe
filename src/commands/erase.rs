//! `relevo erase`: an address is forgotten.

use axum::body::Body;
use clap::Args;
use relevo::control::api::shape::erase::{Erase, Erased, ErasedPlace};

use super::client::Relay;
use super::output::{Failure, NO, say};
use super::words::{count, plain};

/// `relevo erase`
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    relay: Relay,
    /// Which.
    #[arg(value_name = "ADDRESS")]
    address: String,
    /// Say where it stands, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Take it off the suppression list, too: mail may go there again.
    #[arg(long)]
    suppression: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Exit 0: it stands nowhere any more (or nothing was to be changed); 1: something is left that the report names.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { relay, address, dry_run, suppression, json } = arguments;
    let asked = Erase { address: address.clone(), dry_run: *dry_run, suppression: *suppression };
    let body = serde_json::to_vec(&asked).map_err(|error| error.to_string())?;
    let done: Erased = relay.client()?.send("/control/v1/erase", "application/json", Body::from(body))?;
    // What is untouched by its nature, or as nobody asked for it, is told each time.
    let is_left = |place: &&ErasedPlace| {
        place.left.is_some() && !["spool", "suppression list"].contains(&&*place.place)
    };
    let left = done.places.iter().filter(is_left).count();
    if *json {
        say!("{}", serde_json::to_string_pretty(&done).map_err(|error| error.to_string())?);
    } else {
        done.places.iter().try_for_each(|place| tell(place, *dry_run))?;
        match done.queued {
            Some(0) => {}
            Some(queued) => say!(
                "queue: mail to {} of it waits, and is untouched: relevo queue list --recipient ADDRESS",
                count(queued, "recipient")
            ),
            None => say!(
                "queue: whether mail to it waits could not be found out in time: relevo queue count --recipient ADDRESS"
            ),
        }
        say!(
            "{} in the log: {}",
            if *dry_run { "it would stand" } else { "it stands" },
            plain(done.name.as_bytes())
        );
    }
    if left > 0 && !dry_run {
        Err(Failure(NO, format!("something is left in {}", count(left as u64, "place"))))
    } else {
        Ok(())
    }
}

fn tell(place: &ErasedPlace, dry: bool) -> Result<(), Failure> {
    let name = plain(place.place.as_bytes());
    let files = if place.files > 1 { format!(" in {} files", place.files) } else { String::new() };
    match (place.found, &place.left) {
        (0, None) => say!("{name}: nothing"),
        (0, Some(left)) => say!("{name}: {}", plain(left.as_bytes())),
        (found, None) if dry => say!("{name}: {}{files}", count(found, "time")),
        (_, None) => say!("{name}: {}{files}, erased", count(place.erased, "time")),
        (found, Some(left)) => say!(
            "{name}: {}{files}, {} erased; {}",
            count(found, "time"),
            place.erased,
            plain(left.as_bytes())
        ),
    }
    Ok(())
}
