//! Sockets: TLS, HTTP/1.1 connections that we keep ourselves, WebSockets. No decisions.

pub mod call;
pub mod http;
pub mod tls;
pub mod url;
pub mod ws;

use std::io;

/// Why a connection or a request failed.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The URL cannot be used.
    #[error("`{url}` is not a usable URL: {reason}")]
    Url { url: String, reason: &'static str },
    /// The address could not be reached.
    #[error("cannot connect to {address}: {source}")]
    Connect { address: String, source: io::Error },
    /// TLS was refused.
    #[error("no TLS with {address}: {source}")]
    Tls { address: String, source: io::Error },
    /// The peer broke the protocol or the connection.
    #[error("connection to {address} failed: {reason}")]
    Broken { address: String, reason: String },
    /// Nothing came in time.
    #[error("{address} did not answer in time")]
    TimedOut { address: String },
    /// A certificate file cannot be used.
    #[error("{path}: {reason}")]
    CaFile { path: String, reason: String },
}
