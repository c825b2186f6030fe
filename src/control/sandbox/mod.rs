//! Captured mail, kept apart from the path of mail.

pub mod wanted;
