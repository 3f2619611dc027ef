//! The protocol of Binance USDⓈ-M futures, sans-I/O: both sides of it.

pub mod bridge;
pub mod decode;
pub mod encode;
pub mod error;
pub mod instruments;
pub mod limits;
pub mod print;
pub mod proto;
pub mod server;
pub mod session;
