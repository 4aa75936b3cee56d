//! The command `madang`.
fn main() {}
