//! Passwords: hashed by Argon2id with its recommended cost (19 MiB, two passes), compared in constant time.
//!
//! Hashing and comparing take tens of milliseconds of a whole core on purpose: never on a thread that serves others.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use secrecy::{ExposeSecret, SecretString};
use std::sync::OnceLock;

/// Characters of a password at least.
pub const LENGTH_MIN: usize = 12;
/// Bytes of a password at most: hashing more would be work for nothing.
pub const BYTES_MAX: usize = 1_024;
/// Characters of a generated password: 24 of 32, so 120 bits.
const GENERATED: usize = 24;
/// No letters or digits that look alike.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Why there is no hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too short.
    #[error("a password has at least {LENGTH_MIN} characters")]
    Short,
    /// Too long.
    #[error("a password has at most {BYTES_MAX} bytes")]
    Long,
    /// No chance from the operating system, or no memory.
    #[error("the password cannot be hashed: {0}")]
    Failed(String),
}

/// The hash of a new password in PHC form, with a salt of its own.
pub fn hash(password: &SecretString) -> Result<SecretString, PasswordError> {
    let text = password.expose_secret();
    if text.chars().count() < LENGTH_MIN {
        return Err(PasswordError::Short);
    }
    if text.len() > BYTES_MAX {
        return Err(PasswordError::Long);
    }
    hashed(text.as_bytes())
}

fn hashed(password: &[u8]) -> Result<SecretString, PasswordError> {
    let hash = Argon2::default().hash_password(password);
    hash.map(|hash| SecretString::from(hash.to_string())).map_err(|error| PasswordError::Failed(error.to_string()))
}

/// Whether this is the password of that hash. `None` is nobody's hash: the answer is no, and takes as long.
pub fn verify(password: &SecretString, hash: Option<&SecretString>) -> bool {
    static NOBODY: OnceLock<Option<SecretString>> = OnceLock::new();
    let nobody = NOBODY.get_or_init(|| hashed(b"nobody has this password").ok());
    let text = password.expose_secret();
    if text.len() > BYTES_MAX {
        return false;
    }
    let Some(compared) = hash.or(nobody.as_ref()) else { return false };
    let Ok(parsed) = PasswordHash::new(compared.expose_secret()) else { return false };
    Argon2::default().verify_password(text.as_bytes(), &parsed).is_ok() && hash.is_some()
}

/// A new password of 120 bits.
pub fn generate() -> Result<SecretString, PasswordError> {
    let mut chance = [0u8; GENERATED];
    getrandom::fill(&mut chance).map_err(|error| PasswordError::Failed(error.to_string()))?;
    // The alphabet's size divides 256: no letter is more likely than another.
    let text: String = chance.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
    Ok(SecretString::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    #[test]
    fn only_its_own_password_opens_a_hash() {
        let password = secret("correct horse battery");
        let first = hash(&password).expect("hashed");
        assert!(first.expose_secret().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(verify(&password, Some(&first)));
        assert!(!verify(&secret("correct horse batterz"), Some(&first)));
        assert!(!verify(&secret(""), Some(&first)));
        assert!(!verify(&password, None), "nobody");
        assert!(!verify(&secret("nobody has this password"), None), "nobody, by the password of nobody");
        assert!(!verify(&password, Some(&secret("not a hash"))));
        let second = hash(&password).expect("hashed");
        assert_ne!(first.expose_secret(), second.expose_secret(), "a salt of its own");
    }

    #[test]
    fn lengths_are_bound() {
        assert_eq!(hash(&secret("elevenchars")).err(), Some(PasswordError::Short));
        assert_eq!(hash(&secret(&"x".repeat(BYTES_MAX + 1))).err(), Some(PasswordError::Long));
        assert!(!verify(&secret(&"x".repeat(BYTES_MAX + 1)), None));
    }

    #[test]
    fn generated_passwords_are_long_and_never_the_same() {
        let (one, other) = (generate().expect("chance"), generate().expect("chance"));
        assert_eq!(one.expose_secret().len(), GENERATED);
        assert_ne!(one.expose_secret(), other.expose_secret());
        assert!(one.expose_secret().bytes().all(|byte| ALPHABET.contains(&byte)));
    }
}
