//! All of Madang in one process, and the commands around it. Wiring only: every service is built as its own binary
//! builds it, on the embedded adapters, and they reach each other through in-process channels with the same codecs.

pub mod certs;
pub mod chat;
pub mod dev;
pub mod migrate;
pub mod serve;
pub mod service;
pub mod services;
pub mod token;
pub mod torture;
