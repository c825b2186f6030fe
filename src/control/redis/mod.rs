//! A server of Redis, or of what speaks its protocol: how it is reached, and asked. For threads that wait and have nothing else to do.

pub mod resp;

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::config::RedisUrl;
use crate::control::thread::Turn;
use crate::control::webhook::WebhookSettings;
use crate::limits;
use crate::runtime::exchange::wire::Wire;
use crate::runtime::process;
use resp::{Replies, Reply};

/// Where it is, and who we are there.
pub struct Login<'a> {
    /// Which server.
    pub url: &'a RedisUrl,
    /// Who we are there; None: nobody, or who has the password.
    pub user: Option<&'a str>,
    /// The password; None: the server asks for none.
    pub password: Option<&'a str>,
    /// The key of the configuration that says where it is.
    pub key: &'a str,
}

/// Connects to the first address that takes it, and logs in.
pub(super) fn connect(
    login: &Login<'_>,
    settings: &dyn WebhookSettings,
    turn: &Turn,
) -> Result<Wire, String> {
    let url = login.url;
    let addresses = match url.host.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => settings.addresses(&url.host)?,
    };
    let mut last = format!("{} has no address", url.host);
    for address in addresses.into_iter().take(limits::WEBHOOK_ADDRESSES_MAX) {
        if turn.is_over() {
            break;
        }
        let server = SocketAddr::new(address.to_canonical(), url.port);
        if !url.tls && settings.is_public(server) {
            last = format!(
                "{server} is on the public Internet, and what goes there names people: write rediss:// in {}",
                login.key
            );
            continue;
        }
        match log_in(login, server, settings) {
            Ok(wire) => return Ok(wire),
            Err(error) => last = format!("[{server}] {error}"),
        }
    }
    Err(last)
}

fn log_in(login: &Login<'_>, server: SocketAddr, settings: &dyn WebhookSettings) -> Result<Wire, String> {
    let url = login.url;
    let tls = match url.tls {
        true => {
            let tls = settings.tls().ok_or("this machine trusts no authority")?;
            Some(tls.waiting(&url.host).map_err(|error| error.to_string())?)
        }
        false => None,
    };
    let until = process::since_boot() + limits::STREAM_TIME;
    let mut wire = Wire::open(server, tls, until).map_err(|error| error.to_string())?;
    let (mut commands, mut wanted) = (Vec::new(), 0);
    if let Some(password) = login.password {
        match login.user {
            Some(user) => {
                resp::command(&[b"AUTH", user.as_bytes(), password.as_bytes()], &mut commands);
            }
            None => resp::command(&[b"AUTH", password.as_bytes()], &mut commands),
        }
        wanted += 1;
    }
    if url.database > 0 {
        resp::command(&[b"SELECT", url.database.to_string().as_bytes()], &mut commands);
        wanted += 1;
    }
    if wanted > 0 {
        replies(&mut wire, &commands, wanted).map_err(|why| why.to_string())?;
    }
    Ok(wire)
}

/// Why something was not answered.
pub enum Broken {
    /// Nothing came back at all.
    Quiet(io::Error),
    /// Not all did, or it is no answer.
    Half(io::Error),
    /// It is refused, in the server's words.
    Refused(String),
}

impl std::fmt::Display for Broken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Broken::Quiet(error) | Broken::Half(error) => write!(formatter, "{error}"),
            Broken::Refused(words) => write!(formatter, "it says {words:?}"),
        }
    }
}

/// Sends commands, and waits for so many replies: none of them a refusal.
pub fn replies(wire: &mut Wire, commands: &[u8], wanted: usize) -> Result<(), Broken> {
    let until = process::since_boot() + limits::STREAM_TIME;
    let mut replies = Replies::new(wanted);
    let mut heard = false;
    let asked = wire.ask(commands, until, &mut |bytes| {
        heard = true;
        replies.take(bytes)
    });
    match (asked, replies.refused()) {
        // What it says of it tells more than that it hung up.
        (_, Some(words)) => Err(Broken::Refused(words.to_owned())),
        (Ok(()), None) => Ok(()),
        (Err(error), None) if heard => Err(Broken::Half(error)),
        (Err(error), None) => Err(Broken::Quiet(error)),
    }
}

/// Sends a command, and returns what is answered to it within [`limits::CLUSTER_TIME`].
pub fn ask(wire: &mut Wire, command: &[u8]) -> io::Result<Reply> {
    let until = process::since_boot() + limits::CLUSTER_TIME;
    let (mut bytes, mut answer) = (Vec::new(), None);
    wire.ask(command, until, &mut |some| {
        bytes.extend_from_slice(some);
        if bytes.len() > limits::CLUSTER_ANSWER_MAX {
            return Err(io::Error::other("its answer is too long"));
        }
        answer = resp::replies(&bytes, 1)?;
        Ok(answer.is_some())
    })?;
    answer.and_then(|mut all| all.pop()).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}
