//! relevo-load
