//! `[cluster]`: nodes that share limits through a Redis, and that look at each other.

use std::path::PathBuf;

use crate::config::fleet::{self, FleetConfig};
use crate::config::literal::{Fix, Wrong, bare, boolean, kind, path, quoted, text};
use crate::config::section::Section;
use crate::config::{Password, RedisUrl};
use crate::limits;
use toml::de::DeValue;

/// `[cluster]`
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterConfig {
    /// Which server.
    pub redis: RedisUrl,
    /// The cluster: nodes that say the same name there share limits.
    pub name: Box<str>,
    /// What a node has of each limit while the server cannot be asked, as a part of one.
    pub share: f64,
    /// Nodes tell each other what changes in their suppression lists.
    pub suppression: bool,
    /// Who we are there; None: the server asks for nobody, or for a password alone.
    pub user: Option<Box<str>>,
    /// Where the password stands.
    pub password_file: Option<PathBuf>,
    /// The password: of that file, or of the URL; empty: the server asks for none.
    pub password: Password,
}

const USUAL: &str = "redis://127.0.0.1:6379/0";
const FILE: &str = "/etc/relevo/redis.password";

/// What is shared, and who looks at whom. None: nothing, nobody.
pub(super) fn read(section: &Section<'_>) -> (Option<ClusterConfig>, Option<FleetConfig>) {
    let redis = section.read("redis", None, |value| {
        let words = text(value, USUAL)?;
        if words.is_empty() {
            return Ok(None);
        }
        url(words).map(Some)
    });
    let name = section.read("name", "relays".into(), name);
    let share = section.read("share", 0.2, share);
    let suppression = section.read("suppression", true, boolean);
    let user = section.read("user", None, |value| text(value, "relevo").map(|name| Some(name.into())));
    let password_file = section.read("password_file", None, |value| path(value, FILE));
    let fleet = fleet::read(section, &name);
    let has_nodes = !section.lacks("nodes");
    let of_redis = ["share", "suppression", "user", "password_file"];
    let of_all = ["name", "networks", "token_file"].into_iter().filter(|_| !has_nodes);
    let named = of_redis.into_iter().chain(of_all).find(|key| !section.lacks(key));
    if let Some(key) = named.filter(|_| section.lacks("redis")) {
        let fix = Fix::Do(format!(
            "say where it is: redis = {}, or who is in the cluster in nodes, or remove the section",
            quoted(USUAL)
        ));
        section.fail(key, "", "a cluster has a server or a list of nodes, and none is named", fix);
    }
    fleet::judge(section, &fleet, !section.lacks("redis"));
    section.finish();
    let shared =
        redis.and_then(|redis| shared(section, redis, (name, share, suppression), (user, password_file)));
    let is_one = shared.is_some() || !fleet.nodes.is_empty();
    (shared, is_one.then_some(fleet))
}

/// What is shared by this server.
fn shared(
    section: &Section<'_>,
    (redis, of_url): (RedisUrl, Option<Login>),
    (name, share, suppression): (Box<str>, f64, bool),
    (user, password_file): (Option<Box<str>>, Option<PathBuf>),
) -> Option<ClusterConfig> {
    if of_url.is_some() && (user.is_some() || password_file.is_some()) {
        let fix = Fix::Do("leave it in one of the two: the file, with the user in user, is not shown to whoever reads this one".to_owned());
        section.fail("redis", "", "who logs in stands here and in a key of its own", fix);
    }
    if user.is_some() && password_file.is_none() && of_url.is_none() {
        let fix = Fix::Do("name a file in password_file, or remove user".to_owned());
        section.fail("user", "", "who logs in has a password", fix);
    }
    let (of_url_user, password) = of_url.unwrap_or_default();
    Some(ClusterConfig {
        redis,
        name,
        share,
        suppression,
        user: user.or(of_url_user),
        password_file,
        password,
    })
}

/// Who logs in, as a URL says it.
type Login = (Option<Box<str>>, Password);

/// `redis://user:password@host:6379/0`
fn url(words: &str) -> Result<(RedisUrl, Option<Login>), Wrong> {
    let wrong = || Wrong::write("this is no URL of Redis".to_owned(), quoted(USUAL), ", or rediss://");
    let Some((scheme, rest)) = words.split_once("://") else { return Err(wrong()) };
    let Some((login, place)) = rest.rsplit_once('@') else {
        return RedisUrl::parse(words).map(|url| (url, None)).ok_or_else(wrong);
    };
    let (user, password) = login.split_once(':').ok_or_else(wrong)?;
    let (user, password) = (decoded(user).ok_or_else(wrong)?, decoded(password).ok_or_else(wrong)?);
    let password = Password::of_file(password.into_bytes()).map_err(|bad| {
        Wrong::act(
            format!("its password cannot be used: {bad}"),
            "write it into a file, and name that in password_file",
        )
    })?;
    let user = (!user.is_empty()).then(|| user.into());
    let url = RedisUrl::parse(&format!("{scheme}://{place}")).ok_or_else(wrong)?;
    Ok((url, Some((user, password))))
}

/// Without its %-escapes (RFC 3986 2.1).
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

fn name(value: &DeValue<'_>) -> Result<Box<str>, Wrong> {
    let name = text(value, "relays")?;
    let fits = (1..=limits::CLUSTER_NAME_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let problem = || format!("{} is no name: letters, digits, -, _ and . are", quoted(name));
    fits.then(|| name.into()).ok_or_else(|| Wrong::write(problem(), quoted("relays"), ""))
}

fn share(value: &DeValue<'_>) -> Result<f64, Wrong> {
    let number = bare(value).and_then(|text| text.parse::<f64>().ok());
    if number.is_none() {
        return Err(Wrong::write(format!("this is {}, not a number", kind(value)), "0.2", ""));
    }
    let problem = "a share is more than 0 and at most 1: 0.2 for five nodes";
    number
        .filter(|share| *share > 0.0 && *share <= 1.0)
        .ok_or_else(|| Wrong::write(problem.to_owned(), "0.2", ""))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn read(text: &str) -> Result<Option<ClusterConfig>, String> {
        let parsed = Config::parse(text, Path::new("a.toml")).map(|config| config.cluster);
        parsed.map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn a_cluster_is_read_and_what_is_wrong_is_named() {
        assert_eq!(read("").unwrap(), None);
        let one =
            read("[cluster]\nredis = \"redis://u:p%40ss@a.example:7000/2\"\nshare = 0.5\n").unwrap().unwrap();
        assert_eq!(
            (one.redis.to_string(), &*one.name, one.share),
            ("redis://a.example:7000/2".into(), "relays", 0.5)
        );
        assert_eq!((one.user.as_deref(), one.password.secret()), (Some("u"), "p@ss"));
        assert!(!format!("{one:?}").contains("p@ss"));
        let one = read("[cluster]\nredis = \"redis://:p@[::1]\"\nname = \"eu-1\"\n").unwrap().unwrap();
        assert_eq!(
            (one.redis.to_string(), one.user, one.password.secret()),
            ("redis://[::1]:6379/0".into(), None, "p")
        );
        let fleet = |text: &str| {
            Config::parse(text, Path::new("a.toml")).map(|config| config.fleet).expect("a configuration")
        };
        assert_eq!(fleet(""), None);
        let one = fleet("[cluster]\nredis = \"redis://a\"\nadvertise = \"http://10.0.0.5:8025\"\n").unwrap();
        assert_eq!(
            (one.advertise.map(|url| url.authority()), &*one.name),
            (Some("10.0.0.5:8025".into()), "relays")
        );
        let text = "[cluster]\nname = \"eu\"\nnodes = [\"https://a\", \"http://10.0.0.6:8025/\", \"http://127.0.0.1:8026\"]\nnetworks = [\"10.0.0.0/24\"]\ntoken_file = \"/t\"\n";
        let one = fleet(text).unwrap();
        assert_eq!((one.nodes.len(), &*one.name, one.names("10.0.0.9".parse().unwrap())), (3, "eu", true));
        assert_eq!(read(text).unwrap(), None, "no limits are shared");
        for (text, words) in [
            ("name = \"a\"\n", "none is named"),
            ("networks = [\"10.0.0.0/8\"]\n", "none is named"),
            ("redis = \"http://a\"\n", "no URL of Redis"),
            ("redis = \"redis://u@a\"\n", "no URL of Redis"),
            ("redis = \"redis://a\"\nuser = \"u\"\n", "password"),
            ("redis = \"redis://:p@a\"\npassword_file = \"/p\"\n", "a key of its own"),
            ("redis = \"redis://a\"\nshare = 0\n", "0.2 for five nodes"),
            ("redis = \"redis://a\"\nshare = \"much\"\n", "not a number"),
            ("redis = \"redis://a\"\nname = \"a b\"\n", "no name"),
            ("redis = \"redis://a\"\nnodes = 5\n", "nodes"),
            ("nodes = [\"10.0.0.5:8025\"]\ntoken_file = \"/t\"\n", "\"http://10.0.0.5:8025\""),
            ("nodes = [\"https://a/control\"]\ntoken_file = \"/t\"\n", "nodes"),
            ("nodes = [\"https://a\"]\n", "relevo token add"),
            ("nodes = [\"http://10.0.0.5\"]\ntoken_file = \"/t\"\n", "without TLS"),
            ("nodes = [\"http://a\"]\ntoken_file = \"/t\"\n", "without TLS"),
            (
                "nodes = [\"http://10.0.0.5\"]\nnetworks = [\"10.1.0.0/16\"]\ntoken_file = \"/t\"\n",
                "without TLS",
            ),
            ("nodes = [\"https://a\", \"https://A:443/\"]\ntoken_file = \"/t\"\n", "twice"),
            ("nodes = [\"https://a\"]\nadvertise = \"https://b\"\ntoken_file = \"/t\"\n", "nobody is told"),
            (
                "redis = \"redis://a\"\nadvertise = \"10.0.0.5:8025\"\n",
                "write advertise = \"http://10.0.0.5:8025\"",
            ),
            ("redis = \"redis://a\"\nnetworks = [\"10.0.0.0/8\"]\n", "relevo token add"),
            ("nodes = [\"https://a\"]\nshare = 0.5\ntoken_file = \"/t\"\n", "none is named"),
        ] {
            let errors = read(&format!("[cluster]\n{text}")).unwrap_err();
            assert!(errors.contains(words), "{text}: {errors}");
        }
    }
}
