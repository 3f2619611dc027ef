//! Encrypted values of configuration files: `ENC:v1:` and the base64 of nonce (24 bytes) and XChaCha20-Poly1305 ciphertext.
//!
//! The key is given as 32 bytes, or derived from a passphrase by Argon2id (19 MiB, 2 passes, 1 lane) with the value's own nonce
//! as salt: it is random and never used twice, so one passphrase has another key for each value. The prefix with its version is
//! the associated data: a value of another version cannot be passed off as one of this.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use chacha20poly1305::aead::{Aead, Key, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use zeroize::{Zeroize, Zeroizing};

/// What every encrypted value begins with, whatever its version.
pub const MARK: &str = "ENC:";
const PREFIX: &str = "ENC:v1:";
const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;
/// OWASP's first choice for Argon2id: memory in KiB, passes, lanes.
const ARGON: [u32; 3] = [19_456, 2, 1];
/// Bytes of a passphrase at least.
const PASSPHRASE_MIN: usize = 12;

/// What decrypts the values of an installation. It cannot be printed.
#[derive(Debug)]
pub struct EncryptionKey(Form);

#[derive(Debug)]
enum Form {
    Bytes(SecretBox<[u8; 32]>),
    Passphrase(SecretString),
}

/// Why a key, a value or this machine is of no use. Never holds any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncError {
    /// Neither a key nor a passphrase.
    #[error("it is neither 32 bytes as base64 or hex (`qcat keygen` makes one) nor a passphrase of at least 12 bytes")]
    Key,
    /// Not the form of an encrypted value.
    #[error("it does not have the form ENC:v1:BASE64 (`qcat encrypt` makes one)")]
    Form,
    /// Another key, or damage.
    #[error("it cannot be decrypted: it was made with another key, or is damaged")]
    Undecryptable,
    /// What was encrypted is no text.
    #[error("what it decrypts to is not text")]
    NotText,
    /// The system gives no random bytes, or no memory for the derivation.
    #[error("the system gives no random bytes or no memory")]
    System,
}

impl EncryptionKey {
    /// Reads a key: 32 bytes as base64 or hex; everything else of 12 bytes or more is a passphrase.
    pub fn parse(text: &str) -> Result<EncryptionKey, EncError> {
        let text = text.trim();
        if let Some(bytes) = thirty_two_bytes(text) {
            return Ok(EncryptionKey(Form::Bytes(bytes)));
        }
        if text.len() < PASSPHRASE_MIN {
            return Err(EncError::Key);
        }
        Ok(EncryptionKey(Form::Passphrase(text.into())))
    }

    /// Encrypts a text with a fresh nonce.
    pub fn encrypt(&self, plain: &SecretString) -> Result<String, EncError> {
        let mut nonce = [0u8; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| EncError::System)?;
        let payload = Payload { msg: plain.expose_secret().as_bytes(), aad: PREFIX.as_bytes() };
        let sealed = self.cipher(&nonce)?.encrypt(&XNonce::from(nonce), payload).map_err(|_| EncError::System)?;
        Ok(format!("{PREFIX}{}", STANDARD.encode([&nonce[..], &sealed].concat())))
    }

    /// Decrypts `ENC:v1:...`.
    pub fn decrypt(&self, text: &str) -> Result<SecretString, EncError> {
        let body = text.strip_prefix(PREFIX).ok_or(EncError::Form)?;
        let body = STANDARD.decode(body).map_err(|_| EncError::Form)?;
        let (nonce, sealed) = body.split_first_chunk::<NONCE_LEN>().ok_or(EncError::Form)?;
        if sealed.len() < TAG_LEN {
            return Err(EncError::Form);
        }
        let payload = Payload { msg: sealed, aad: PREFIX.as_bytes() };
        let plain = self.cipher(nonce)?.decrypt(&XNonce::from(*nonce), payload);
        match String::from_utf8(plain.map_err(|_| EncError::Undecryptable)?) {
            Ok(plain) => Ok(plain.into()),
            Err(error) => {
                error.into_bytes().zeroize();
                Err(EncError::NotText)
            }
        }
    }

    fn cipher(&self, nonce: &[u8; NONCE_LEN]) -> Result<XChaCha20Poly1305, EncError> {
        let mut derived = Zeroizing::new([0u8; 32]);
        match &self.0 {
            Form::Bytes(bytes) => derived.copy_from_slice(bytes.expose_secret()),
            Form::Passphrase(passphrase) => {
                let [memory, passes, lanes] = ARGON;
                let params =
                    Params::new(memory, passes, lanes, Some(32)).expect("the parameters are in Argon2's range");
                let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
                let password = passphrase.expose_secret().as_bytes();
                argon.hash_password_into(password, nonce, derived.as_mut()).map_err(|_| EncError::System)?;
            }
        }
        Ok(XChaCha20Poly1305::new(&Key::<XChaCha20Poly1305>::from(*derived)))
    }
}

/// A new key as base64.
pub fn generate() -> Result<SecretString, EncError> {
    let mut bytes = Zeroizing::new([0u8; 32]);
    getrandom::fill(bytes.as_mut()).map_err(|_| EncError::System)?;
    Ok(STANDARD.encode(*bytes).into())
}

fn thirty_two_bytes(text: &str) -> Option<SecretBox<[u8; 32]>> {
    let base64 = [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD];
    let mut found = base64.iter().filter_map(|engine| engine.decode(text).ok()).chain(hex::decode(text).ok());
    let bytes = Zeroizing::new(found.find(|bytes| bytes.len() == 32)?);
    let bytes: [u8; 32] = bytes.as_slice().try_into().ok()?;
    Some(SecretBox::new(Box::new(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const KEY_HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    /// Made with libsodium (PyNaCl): nonce 100..124, that key, the text `secure_password`.
    const SEALED: &str = "ENC:v1:ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7DxaaxY1L1vLmQ+5IyR3ZtNTwv1lj6k3+PPMUZzlQOw==";
    /// Made with libsodium and the reference Argon2 (argon2-cffi): that nonce, a passphrase, the text `密码`.
    const BY_PASSPHRASE: &str = "ENC:v1:ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7gqJko5MmReTRk+IWIpKvnJOiDulE2w==";

    fn key(text: &str) -> EncryptionKey {
        EncryptionKey::parse(text).expect("a key")
    }

    fn opened(key: &EncryptionKey, text: &str) -> Result<String, EncError> {
        key.decrypt(text).map(|plain| plain.expose_secret().to_owned())
    }

    #[test]
    fn values_of_other_programs_are_read() {
        assert_eq!(opened(&key(KEY), SEALED).as_deref(), Ok("secure_password"));
        assert_eq!(opened(&key(KEY_HEX), SEALED).as_deref(), Ok("secure_password"));
        assert_eq!(opened(&key("your_encryption_key_here"), BY_PASSPHRASE).as_deref(), Ok("密码"));
        assert_eq!(opened(&key("your_encryption_key_hers"), BY_PASSPHRASE), Err(EncError::Undecryptable));
    }

    #[test]
    fn every_changed_byte_is_refused() {
        for at in 0..SEALED.len() {
            for other in [b'A', b'z', b'7', b'=', b' ', 0] {
                let mut bytes = SEALED.as_bytes().to_vec();
                if bytes[at] != other {
                    bytes[at] = other;
                    let text = String::from_utf8(bytes).expect("ASCII");
                    assert!(opened(&key(KEY), &text).is_err(), "byte {at} as {other}: {text}");
                }
            }
        }
        for cut in 0..SEALED.len() {
            assert!(opened(&key(KEY), &SEALED[..cut]).is_err(), "cut at {cut}");
        }
        // The version is bound: a later one cannot be read as this one.
        assert_eq!(opened(&key(KEY), &SEALED.replace("v1", "v2")), Err(EncError::Form));
    }

    #[test]
    fn what_is_no_key_is_refused_and_no_key_is_printed() {
        assert_eq!(EncryptionKey::parse("short").err(), Some(EncError::Key));
        assert_eq!(EncryptionKey::parse("").err(), Some(EncError::Key));
        for text in [KEY, "your_encryption_key_here"] {
            let shown = format!("{:?}", key(text));
            assert!(!shown.contains("your_") && !shown.contains("AAEC") && !shown.contains("1, 2"), "{shown}");
        }
        assert_ne!(generate().expect("random").expose_secret(), generate().expect("random").expose_secret());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_encrypted_comes_back_with_its_key_only(plain in ".{0,80}", one: [u8; 32], other: [u8; 32]) {
            prop_assume!(one != other);
            let (one, other) = (key(&hex::encode(one)), key(&hex::encode(other)));
            let sealed = one.encrypt(&plain.clone().into()).expect("encrypted");
            prop_assert_ne!(&sealed, &one.encrypt(&plain.clone().into()).expect("encrypted"), "a nonce stood twice");
            prop_assert_eq!(opened(&one, &sealed), Ok(plain));
            prop_assert_eq!(opened(&other, &sealed), Err(EncError::Undecryptable));
        }
    }
}
