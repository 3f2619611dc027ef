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

/// Bounds what the operating system holds for a peer that takes nothing; it would let that grow to megabytes. Best effort.
pub fn bound_send_buffer(stream: &tokio::net::TcpStream, bytes: usize) {
    if let Err(error) = rustix::net::sockopt::set_socket_send_buffer_size(stream, bytes) {
        tracing::debug!(%error, "the send buffer of a connection stays as it is");
    }
}
