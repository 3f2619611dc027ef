//! Who asks: the address of the peer, or behind a trusted proxy the client that it names.
//!
//! Forwarded headers are believed only from `server.trusted_proxies`, and only hop by hop from the near end: what a client wrote
//! itself stands further left than what the first trusted proxy added.

use crate::config::model::Network;
use actix_web::http::header::HeaderMap;
use std::net::IpAddr;

/// Hops that are looked at; more makes nobody's address more true.
const HOPS_MAX: usize = 32;

/// The client's address.
pub fn address(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let peer = peer.to_canonical();
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(peer) {
        return peer;
    }
    let mut nearest = peer;
    let lists: Vec<&str> = headers.get_all("x-forwarded-for").filter_map(|value| value.to_str().ok()).collect();
    if lists.is_empty() {
        let real = headers.get("x-real-ip").and_then(|value| value.to_str().ok());
        return real.and_then(parse).unwrap_or(peer);
    }
    for hop in lists.iter().rev().flat_map(|list| list.rsplit(',')).take(HOPS_MAX) {
        // What cannot be read hides all that is left of it.
        let Some(address) = parse(hop) else { return nearest };
        nearest = address;
        if !is_trusted(address) {
            return nearest;
        }
    }
    nearest
}

/// An address, with or without a port.
fn parse(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok().or_else(|| Some(text.parse::<std::net::SocketAddr>().ok()?.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| Network::parse(text).expect("a network")).collect()
    }

    fn seen(peer: &str, headers: &[(&'static str, &str)], trusted: &[&str]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"));
        }
        address(peer.parse().expect("an address"), &map, &networks(trusted)).to_string()
    }

    #[test]
    fn forwarded_headers_are_believed_from_trusted_proxies_only() {
        let forwarded = [("x-forwarded-for", "203.0.113.9"), ("x-real-ip", "203.0.113.9")];
        assert_eq!(seen("198.51.100.1", &forwarded, &[]), "198.51.100.1");
        assert_eq!(seen("198.51.100.1", &forwarded, &["10.0.0.0/8"]), "198.51.100.1");
        assert_eq!(seen("10.1.2.3", &forwarded, &["10.0.0.0/8"]), "203.0.113.9");
        assert_eq!(seen("::ffff:10.1.2.3", &forwarded, &["10.0.0.0/8"]), "203.0.113.9", "IPv4 within IPv6");
        assert_eq!(seen("::1", &forwarded, &["::1"]), "203.0.113.9");
        assert_eq!(seen("10.1.2.3", &[], &["10.0.0.0/8"]), "10.1.2.3");
    }

    #[test]
    fn what_a_client_wrote_itself_does_not_count() {
        let trusted = ["10.0.0.0/8"];
        let spoofed = [("x-forwarded-for", "1.2.3.4, 203.0.113.9, 10.0.0.7")];
        assert_eq!(seen("10.0.0.1", &spoofed, &trusted), "203.0.113.9");
        let lines = [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-for", "203.0.113.9")];
        assert_eq!(seen("10.0.0.1", &lines, &trusted), "203.0.113.9");
        let garbage = [("x-forwarded-for", "1.2.3.4, <script>, 10.0.0.7")];
        assert_eq!(seen("10.0.0.1", &garbage, &trusted), "10.0.0.7");
        let inside = [("x-forwarded-for", "10.0.0.9, 10.0.0.8")];
        assert_eq!(seen("10.0.0.1", &inside, &trusted), "10.0.0.9");
        let port = [("x-forwarded-for", "203.0.113.9:4711")];
        assert_eq!(seen("10.0.0.1", &port, &trusted), "203.0.113.9");
    }
}
