//! The protocol of Binance USDⓈ-M futures, sans-I/O: both sides of it.

pub mod encode;
pub mod error;
pub mod limits;
pub mod proto;
