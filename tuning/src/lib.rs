//! relevo-tune: what a machine offers a mail relay, and how to get more of it.
//!
//! - [`check`] reads what the machine grants, and says what is low and how to raise it. It changes nothing.
//! - [`probe`] measures what no file tells: how fast the disk flushes, the loopback carries mail, a core signs and encrypts.
//! - [`sweep`] runs the relay with one setting after the other changed, beside itself unchanged, and keeps what clearly helps.
//! - [`apply`] writes what `check` asks for, and takes it back.
//!
//! It shares no code with the relay: it starts the binary and writes configurations as a user would.

pub mod apply;
pub mod check;
pub mod machine;
pub mod probe;
pub mod sweep;
pub mod table;
