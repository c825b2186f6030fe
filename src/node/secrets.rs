//! Files of secrets in the data directory, each made there when it is first wanted: a line a secret, the current one first and the one before behind it.

use std::fmt::Write;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use crate::limits;
use crate::runtime::{files, process};
use crate::time::UnixMillis;

/// The current secret and the one before, each with when it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Secrets {
    pub current: (u64, Vec<u8>),
    pub previous: Option<(u64, Vec<u8>)>,
}

/// Those of a file, which is made where there is none. With `age` another is made in place of a current one that is older, which becomes the one before.
pub(super) fn load(path: &Path, age: Option<Duration>) -> io::Result<Secrets> {
    let known = match files::read_whole(path, limits::SECRETS_FILE_MAX) {
        Ok(text) => Some(read(&text).ok_or_else(|| io::Error::other(SENSELESS))?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let now = process::wall();
    let is_old = |made: u64| age.is_some_and(|age| UnixMillis(made * 1000).after(age) < now);
    Ok(match known {
        Some(known) if !is_old(known.current.0) => known,
        known => {
            let fresh: [u8; limits::UNSUBSCRIBE_SECRET] = process::random_bytes();
            let current = (now.0 / 1000, fresh.to_vec());
            let secrets = Secrets { current, previous: known.map(|known| known.current) };
            write(path, &secrets)?;
            secrets
        }
    })
}

const SENSELESS: &str = "it is no file of secrets; remove it to have another made: what was signed with the one in it is not believed then";

/// A line each: when it was made, in seconds since 1970, and the secret in hexadecimal digits.
fn read(text: &[u8]) -> Option<Secrets> {
    let mut lines =
        std::str::from_utf8(text).ok()?.lines().filter(|line| !line.trim().is_empty()).map(|line| {
            let (made, digits) = line.trim().split_once(' ')?;
            let pairs = digits.as_bytes().chunks(2).map(|pair| {
                u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok().filter(|_| pair.len() == 2)
            });
            let secret: Option<Vec<u8>> = pairs.collect();
            Some((made.parse().ok()?, secret.filter(|secret| secret.len() >= limits::VERP_SECRET_MIN)?))
        });
    let current = lines.next()??;
    let previous = lines.next().map_or(Some(None), |line| line.map(Some))?;
    Some(Secrets { current, previous })
}

/// Beside the old one, then in its place.
fn write(path: &Path, secrets: &Secrets) -> io::Result<()> {
    let mut text = String::new();
    for (made, secret) in std::iter::once(&secrets.current).chain(&secrets.previous) {
        let _ = write!(text, "{made} ");
        secret.iter().for_each(|byte| _ = write!(text, "{byte:02x}"));
        text.push('\n');
    }
    let fresh = path.with_extension("new");
    let _ = std::fs::remove_file(&fresh);
    let mut file = files::make_file(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}
