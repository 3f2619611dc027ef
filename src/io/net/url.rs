//! The few forms of URL that the configuration may hold: http, https, ws, wss with host, port and path.

use super::NetError;

/// A parsed URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Whether TLS is used.
    pub tls: bool,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path and query, beginning with `/`.
    pub path: String,
}

impl Url {
    /// Parses an absolute URL of one of the given schemes (`http`/`https` or `ws`/`wss`).
    pub fn parse(text: &str, schemes: [&str; 2]) -> Result<Url, NetError> {
        let wrong = |reason| NetError::Url { url: text.to_owned(), reason };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
        let tls = match schemes.iter().position(|s| *s == scheme) {
            Some(at) => at == 1,
            None if schemes[0] == "http" => return Err(wrong("allowed schemes are http and https")),
            None => return Err(wrong("allowed schemes are ws and wss")),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => (&rest[..at], &rest[at..]),
            None => (rest, "/"),
        };
        if authority.contains('@') {
            return Err(wrong("user names and passwords are not allowed in it"));
        }
        let default_port = if tls { 443 } else { 80 };
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, rest) = v6.split_once(']').ok_or_else(|| wrong("its address has no closing bracket"))?;
                (host, rest.strip_prefix(':'))
            }
            None => match authority.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = match port {
            Some(port) => port
                .parse()
                .ok()
                .filter(|p| *p != 0)
                .ok_or_else(|| wrong("its port is not a number from 1 to 65535"))?,
            None => default_port,
        };
        if host.is_empty() {
            return Err(wrong("it has no host"));
        }
        Ok(Url { tls, host: host.to_owned(), port, path: path.to_owned() })
    }

    /// `host:port` for people and for the `Host` header.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Whether the host is this machine.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_parsed_or_refused_with_a_reason() {
        let url = Url::parse("wss://fstream.binance.com/public", ["ws", "wss"]).expect("a URL");
        assert_eq!(
            (url.tls, url.host.as_str(), url.port, url.path.as_str()),
            (true, "fstream.binance.com", 443, "/public")
        );
        assert!(!url.is_loopback());
        let url = Url::parse("http://[::1]:8080", ["http", "https"]).expect("a URL");
        assert_eq!((url.address().as_str(), url.path.as_str(), url.is_loopback()), ("[::1]:8080", "/", true));
        for bad in ["127.0.0.1:80", "ftp://x", "http://", "http://a:0", "http://a:x/", "http://u:p@h/", "http://[::1"] {
            assert!(Url::parse(bad, ["http", "https"]).is_err(), "{bad}");
        }
    }
}
