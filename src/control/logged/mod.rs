//! What logs say of mail, over all files of one, whether a rotation moved or compressed them: for commands that read them, and for who asks the relay.

pub mod count;
pub mod files;
pub mod filter;
pub mod part;
