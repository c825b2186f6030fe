//! Machine check.
fn main() {}
