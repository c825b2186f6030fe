//! Settings for relevo, as a user would write them for a scenario.

use std::fs;
use std::io;
use std::path::Path;

use toml::{Table, Value};

use super::relay::Surroundings;
use super::scenario::Scenario;
use crate::send::Tls;
use crate::tls::Authority;

/// Writes the settings into the relay's directory and returns the command that runs it.
pub(super) fn relevo(
    binary: &Path,
    scenario: &Scenario,
    surroundings: &Surroundings,
    authority: &Authority,
) -> io::Result<String> {
    let Surroundings { listen, dns, mx_port, directory, shards } = surroundings;
    let path = |name: &str| directory.join(name).to_string_lossy().into_owned();
    let mut text = format!(
        "[node]\nhostname = \"relay.load.example\"\ndata_dir = {:?}\nshards = {shards}\n\
         [dns]\nservers = [\"{dns}\"]\ntimeout = \"1s\"\n\
         [delivery]\nmx_port = {mx_port}\nallow_loopback_mx = true\n\
         [log]\npath = {:?}\n[control]\nhttp = \"\"\n\
         [[listener]]\naddress = \"{listen}\"\nconnections_per_client = 100000\n",
        path("spool"),
        path("accounting.jsonl"),
    );
    if scenario.load.tls != Tls::Off {
        let identity = authority.identity(&["relay.load.example".to_owned(), "127.0.0.1".to_owned()])?;
        fs::write(path("chain.pem"), identity.certificate)?;
        fs::write(path("key.pem"), identity.key)?;
        text += &format!("tls_certificate = {:?}\ntls_key = {:?}\n", path("chain.pem"), path("key.pem"));
    }
    if !scenario.shaping.is_empty() {
        fs::write(path("shaping.toml"), &scenario.shaping)?;
        text += &format!("[shaping]\nfiles = [{:?}]\n", path("shaping.toml"));
    }
    let mut settings: Table = text.parse().map_err(io::Error::other)?;
    lay_over(&mut settings, &scenario.relay);
    fs::write(path("relevo.toml"), settings.to_string())?;
    Ok(format!("exec {} run --config \"$LOAD_DIR/relevo.toml\"", quoted(&binary.to_string_lossy())))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Tables are merged; everything else is replaced.
fn lay_over(below: &mut Table, above: &Table) {
    for (key, value) in above {
        match (below.get_mut(key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => lay_over(below, above),
            _ => {
                below.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_laid_over() {
        let mut below: Table = "[a]\nx = 1\ny = 2\n[b]\nz = 3\n".parse().unwrap();
        lay_over(&mut below, &"[a]\ny = 5\n[c]\nw = 4\n".parse().unwrap());
        let wanted: Table = "[a]\nx = 1\ny = 5\n[b]\nz = 3\n[c]\nw = 4\n".parse().unwrap();
        assert_eq!(below, wanted);
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
