//! Who has logged in, kept over a restart: an attack on passwords finds known clients known.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::control::say::say;
use crate::control::thread::Turn;
use crate::limits;
use crate::observe::diagnostics::Level;
use crate::runtime::replace;
use crate::shard::inbound::logins::Logins;
use crate::spool::layout;

/// Whoever knows the accounts that are in force.
pub trait LoginsInForce: Send + Sync {
    /// Those; None: nobody can log in.
    fn logins(&self) -> Option<Arc<Logins>>;
}

/// The life of the thread: the file has what is known some seconds later, and at the end.
pub(super) fn run(settings: &dyn LoginsInForce, data_dir: &Path, turn: &Turn) {
    let path = data_dir.join(layout::LOGINS);
    let mut said = false;
    loop {
        let is_over = turn.is_over();
        if let Some(logins) = settings.logins()
            && let Some(known) = logins.newly_known()
        {
            let kept =
                replace::change_whole::<io::Error>(&path, limits::LOGINS_FILE_MAX, |_| Ok(known.write()));
            if let Err(error) = &kept {
                logins.not_kept();
                if !said {
                    say(
                        Level::Warning,
                        format_args!(
                            "{}: {error}: clients that have logged in before are strangers after a restart",
                            path.display()
                        ),
                    );
                }
            }
            said = kept.is_err();
        }
        if is_over {
            return;
        }
        turn.pause(limits::LOGINS_KEPT_AFTER);
    }
}
