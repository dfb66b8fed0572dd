//! The include server as its clients see it: which files it names, that nothing it says is stale, and that nothing that a
//! client does, or a source holds, harms another one.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod beginnings;
mod churn;
mod closures;
mod fresh;
mod handing;
mod harm;
mod life;
mod server;
mod stock;
