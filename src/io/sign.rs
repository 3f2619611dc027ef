//! Signatures of the exchange's signed requests: HMAC-SHA256 over the query as it is sent, in hex.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// Signs with one API secret. The key schedule is prepared once; the secret itself cannot be printed.
#[derive(Clone)]
pub struct Signer {
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer")
    }
}

impl Signer {
    /// A signer for an API secret.
    pub fn new(secret: &SecretString) -> Signer {
        let mac = Hmac::new_from_slice(secret.expose_secret().as_bytes()).expect("HMAC takes keys of any length");
        Signer { mac }
    }

    /// Appends `&signature=` and the signature of what stands in `query`.
    pub fn sign(&self, query: &mut String) {
        self.sign_from(query, 0);
    }

    /// The same for a query that begins at byte `begin` of a text.
    pub fn sign_from(&self, text: &mut String, begin: usize) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let query = &text.as_bytes()[begin..];
        let mut mac = self.mac.clone();
        mac.update(query);
        let digest = mac.finalize().into_bytes();
        text.push_str(if query.is_empty() { "signature=" } else { "&signature=" });
        for byte in digest {
            text.push(DIGITS[usize::from(byte >> 4)] as char);
            text.push(DIGITS[usize::from(byte & 15)] as char);
        }
    }

    /// Whether a query ends in a valid signature of what stands before it. Takes the same time for every wrong one.
    pub fn verify(&self, query: &str) -> bool {
        let Some((signed, signature)) =
            query.rsplit_once("&signature=").or_else(|| query.strip_prefix("signature=").map(|s| ("", s)))
        else {
            return false;
        };
        let Ok(signature) = hex::decode(signature) else { return false };
        let mut mac = self.mac.clone();
        mac.update(signed.as_bytes());
        mac.verify_slice(&signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of the exchange's documentation (SIGNED endpoint security, HMAC keys).
    #[test]
    fn the_published_example() {
        let signer =
            Signer::new(&SecretString::from("2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"));
        let mut query = "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000&timestamp=1591702613943".to_owned();
        signer.sign(&mut query);
        assert!(query.ends_with("&signature=3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"));
        assert!(signer.verify(&query));
        assert!(!signer.verify(&query.replace("quantity=1", "quantity=2")));
        assert!(!signer.verify("a=b") && !signer.verify("a=b&signature=zz"));
    }
}
