//! Bearer tokens: JSON Web Tokens signed by HMAC-SHA256 with the configured key, and with nothing else.
//!
//! What a token says is checked whole: algorithm, signature, issuer, times. Whether its user may still do anything is asked
//! elsewhere, with [`Claims::ver`].

use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result as JwtResult};
use jsonwebtoken::signature::{Error as SignatureError, Signer, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::time::Duration;

/// The issuer of every token.
pub const ISSUER: &str = "qcat";
/// Bytes of a key at least: as long as the hash is.
pub const KEY_MIN: usize = 32;
/// Bytes of a token at most; ours have about 300.
const TOKEN_MAX: usize = 4_096;
/// Seconds that the clocks of two nodes may differ.
const SKEW: u64 = 5;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The user.
    pub sub: String,
    /// The role when it was given out.
    pub role: String,
    /// When it was given out, in seconds since the Unix epoch.
    pub iat: u64,
    /// Until when it is good.
    pub exp: u64,
    /// Unique.
    pub jti: String,
    /// [`ISSUER`].
    pub iss: String,
    /// The user's token version: a token under a lower one than the user has now is void.
    pub ver: i64,
}

/// Why a token is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no token, or not one that we signed.
    #[error("the token is not valid")]
    Invalid,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
}

/// A key that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key has {0} bytes, at least {KEY_MIN} are needed")]
pub struct WeakKey(pub usize);

/// A key of chance: 256 bits in hex.
pub fn random_key() -> Result<SecretString, getrandom::Error> {
    let mut chance = zeroize::Zeroizing::new([0u8; KEY_MIN]);
    getrandom::fill(&mut *chance)?;
    Ok(SecretString::from(hex::encode(chance.as_slice())))
}

/// Makes and reads tokens.
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

impl Tokens {
    /// Signs with this key.
    pub fn new(key: &SecretString) -> Result<Tokens, WeakKey> {
        let bytes = key.expose_secret().as_bytes();
        if bytes.len() < KEY_MIN {
            return Err(WeakKey(bytes.len()));
        }
        // A second installation finds the first one, which is the same.
        let _ = PROVIDER.install_default();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        // Times are compared here, with a time that is handed in.
        validation.validate_exp = false;
        validation.validate_aud = false;
        Ok(Tokens { encoding: EncodingKey::from_secret(bytes), decoding: DecodingKey::from_secret(bytes), validation })
    }

    /// A token for a user, good for `lifetime` from `now` (seconds since the Unix epoch), and when it ends.
    pub fn issue(&self, user: &str, role: &str, version: i64, now: u64, lifetime: Duration) -> (SecretString, u64) {
        let claims = Claims {
            sub: user.to_owned(),
            role: role.to_owned(),
            iat: now,
            exp: now.saturating_add(lifetime.as_secs()),
            jti: uuid::Uuid::now_v7().to_string(),
            iss: ISSUER.to_owned(),
            ver: version,
        };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
            .expect("plain claims and a key for this algorithm can be signed");
        (SecretString::from(token), claims.exp)
    }

    /// What a token says, if it is good at `now` (seconds since the Unix epoch).
    pub fn read(&self, token: &str, now: u64) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_MAX {
            return Err(TokenError::Invalid);
        }
        let claims: Claims =
            jsonwebtoken::decode(token, &self.decoding, &self.validation).map_err(|_| TokenError::Invalid)?.claims;
        if claims.iat > now.saturating_add(SKEW) {
            return Err(TokenError::Invalid);
        }
        if claims.exp <= now {
            return Err(TokenError::Expired);
        }
        Ok(claims)
    }
}

struct Hs256(Hmac<Sha256>);

impl Hs256 {
    fn new(key: &[u8]) -> JwtResult<Hs256> {
        Ok(Hs256(Hmac::new_from_slice(key).map_err(|_| ErrorKind::InvalidKeyFormat)?))
    }

    fn over(&self, message: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(message);
        mac
    }
}

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        Ok(self.over(message).finalize().into_bytes().to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        // In constant time.
        self.over(message).verify_slice(signature).map_err(|_| SignatureError::new())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

/// Knows HS256 and nothing else: no RSA, no curves, no keys from outside.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| match algorithm {
        Algorithm::HS256 => Ok(Box::new(Hs256::new(key.as_bytes())?)),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    },
    verifier_factory: |algorithm, key| match algorithm {
        Algorithm::HS256 => Ok(Box::new(Hs256::new(key.try_get_as_bytes()?)?)),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    },
    key_utils: KeyUtils::new_unimplemented(),
};

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

    const NOW: u64 = 1_800_000_000;
    const HOUR: Duration = Duration::from_secs(3_600);

    fn tokens(key: u8) -> Tokens {
        Tokens::new(&SecretString::from(char::from(key).to_string().repeat(KEY_MIN))).expect("long enough")
    }

    fn token(tokens: &Tokens) -> String {
        tokens.issue("ann", "trader", 3, NOW, HOUR).0.expose_secret().to_owned()
    }

    #[test]
    fn a_token_is_good_until_it_ends() {
        let tokens = tokens(b'k');
        let text = token(&tokens);
        let claims = tokens.read(&text, NOW).expect("good");
        assert_eq!((claims.sub.as_str(), claims.role.as_str(), claims.ver), ("ann", "trader", 3));
        assert_eq!((claims.iat, claims.exp, claims.iss.as_str()), (NOW, NOW + 3_600, ISSUER));
        assert_eq!(tokens.read(&text, NOW + 3_599).map(|c| c.jti), Ok(claims.jti));
        assert_eq!(tokens.read(&text, NOW + 3_600), Err(TokenError::Expired));
        assert_eq!(tokens.read(&text, NOW - SKEW - 1), Err(TokenError::Invalid), "from the future");
        assert_ne!(token(&tokens), text, "two tokens are never the same");
    }

    #[test]
    fn what_we_did_not_sign_is_refused() {
        let ours = tokens(b'k');
        let good = token(&ours);
        assert_eq!(ours.read(&token(&tokens(b'o')), NOW), Err(TokenError::Invalid), "a foreign key");
        let parts: Vec<&str> = good.split('.').collect();
        let payload = String::from_utf8(BASE64.decode(parts[1]).expect("base64")).expect("text");
        let with = |header: &str, payload: &str, signature: &str| {
            format!("{}.{}.{signature}", BASE64.encode(header), BASE64.encode(payload))
        };
        let header = r#"{"typ":"JWT","alg":"HS256"}"#;
        let raised = payload.replace("trader", "admin");
        for (text, what) in [
            (with(r#"{"typ":"JWT","alg":"none"}"#, &payload, ""), "no algorithm"),
            (with(r#"{"typ":"JWT","alg":"None"}"#, &payload, parts[2]), "no algorithm, signed"),
            (with(r#"{"typ":"JWT","alg":"HS384"}"#, &payload, parts[2]), "another algorithm"),
            (with(r#"{"typ":"JWT","alg":"RS256"}"#, &payload, parts[2]), "a public key"),
            (with(header, &raised, parts[2]), "another role"),
            (format!("{}.{}.", parts[0], parts[1]), "no signature"),
            (good[..good.len() - 2].to_owned(), "a cut signature"),
            (format!("{}.{}", parts[0], parts[1]), "two parts"),
            (String::new(), "nothing"),
            ("a".repeat(1 << 20), "a long text"),
        ] {
            assert_eq!(ours.read(&text, NOW), Err(TokenError::Invalid), "{what}");
        }
    }

    #[test]
    fn every_byte_of_a_token_matters() {
        let ours = tokens(b'k');
        let good = token(&ours);
        for at in 0..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'Q' } else { b'A' };
            let text = String::from_utf8(bytes).expect("ASCII");
            assert_eq!(ours.read(&text, NOW), Err(TokenError::Invalid), "byte {at}");
        }
    }

    #[test]
    fn signed_by_us_but_not_issued_by_us() {
        let ours = tokens(b'k');
        let mut claims = ours.read(&token(&ours), NOW).expect("good");
        claims.iss = "other".to_owned();
        let text = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &ours.encoding).expect("signed");
        assert_eq!(ours.read(&text, NOW), Err(TokenError::Invalid));
    }

    #[test]
    fn a_short_key_is_refused() {
        let short = Tokens::new(&SecretString::from("k".repeat(KEY_MIN - 1)));
        assert_eq!(short.err(), Some(WeakKey(KEY_MIN - 1)));
        assert!(!format!("{:?}", tokens(b'k')).contains("kk"));
    }
}
