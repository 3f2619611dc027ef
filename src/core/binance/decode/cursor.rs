//! A strict reader of a subset of JSON: scalars (texts in ASCII without escapes) and what is made of them. At anything else it says nothing, and serde decides.

use crate::instrument::Instrument;
use crate::market::Level;
use crate::num::{Price, Quantity, parse_i64};

/// Objects and lists in one another, in what is passed over.
const DEPTH_MAX: u8 = 8;

/// The bytes that may stand in a text: ASCII that can be printed, without quote and backslash.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        plain[byte as usize] = byte != b'"' && byte != b'\\';
        byte += 1;
    }
    plain
};

/// A place in a message.
pub(super) struct Cursor<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
}

impl<'a> Cursor<'a> {
    #[inline]
    pub fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    /// The next byte that is not white space, not taken.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        self.skip_space();
        self.bytes.get(self.at).copied()
    }

    /// The next byte that is not white space, taken.
    #[inline]
    pub fn next_token(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// Nothing but white space is left.
    pub fn at_end(&mut self) -> Option<()> {
        self.skip_space();
        (self.at == self.bytes.len()).then_some(())
    }

    #[inline]
    pub fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next_token()? == byte).then_some(())
    }

    /// A key and its colon.
    #[inline]
    pub fn key(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let key = self.rest_of_string()?;
        self.expect(b':')?;
        Some(key)
    }

    /// A text without its quotes.
    #[inline]
    pub fn string(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        self.rest_of_string()
    }

    /// Up to the closing quote. Escapes, control characters and all that is not ASCII are left to serde.
    #[inline]
    fn rest_of_string(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        // A table beats eight bytes at a time: most texts are shorter than that.
        while PLAIN[usize::from(*self.bytes.get(self.at)?)] {
            self.at += 1;
        }
        let end = self.at;
        if self.bytes[end] != b'"' {
            return None;
        }
        self.at += 1;
        self.bytes.get(start..end)
    }

    /// A text, a number as it is written, or a truth value. Null is left to the caller.
    #[inline]
    pub fn scalar(&mut self) -> Option<&'a [u8]> {
        match self.peek()? {
            b'"' => {
                self.at += 1;
                self.rest_of_string()
            }
            b'0'..=b'9' | b'-' => self.number(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            _ => None,
        }
    }

    /// A number by JSON's grammar.
    #[inline]
    fn number(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        self.at += usize::from(self.bytes.get(start) == Some(&b'-'));
        let whole = self.at;
        self.digits()?;
        if self.bytes.get(whole) == Some(&b'0') && self.at > whole + 1 {
            return None;
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            self.digits()?;
        }
        self.bytes.get(start..self.at)
    }

    /// One digit or more.
    #[inline]
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.bytes.get(self.at) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    pub fn word(&mut self, word: &'static [u8]) -> Option<&'a [u8]> {
        let found = self.bytes.get(self.at..self.at + word.len())?;
        if found != word {
            return None;
        }
        self.at += word.len();
        Some(found)
    }

    /// A list of `["price","quantity"]`.
    pub fn levels(&mut self, i: &Instrument) -> Option<Vec<Level>> {
        self.expect(b'[')?;
        let mut levels = Vec::new();
        if self.peek()? == b']' {
            self.at += 1;
            return Some(levels);
        }
        levels.reserve(16);
        loop {
            self.expect(b'[')?;
            let price = self.string()?;
            self.expect(b',')?;
            let quantity = self.string()?;
            self.expect(b']')?;
            if price.is_empty() || quantity.is_empty() {
                return None;
            }
            levels.push(Level {
                price: Price::from_mantissa(parse_i64(price, i.price_scale).ok()?),
                quantity: Quantity::from_mantissa(parse_i64(quantity, i.quantity_scale).ok()?)?,
            });
            match self.next_token()? {
                b',' => {}
                b']' => return Some(levels),
                _ => return None,
            }
        }
    }

    /// Calls `field` with every key of an object, standing before its value, which `field` takes.
    #[inline]
    pub fn object(&mut self, mut field: impl FnMut(&mut Cursor<'a>, &'a [u8]) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        loop {
            let key = self.key()?;
            field(self, key)?;
            match self.next_token()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// Passes over a value that nobody asked for: a scalar, or objects and lists of them, to a small depth.
    pub fn skip(&mut self) -> Option<()> {
        self.skip_to(DEPTH_MAX)
    }

    fn skip_to(&mut self, depth: u8) -> Option<()> {
        let close = match self.peek()? {
            b'{' => b'}',
            b'[' => b']',
            b'n' => return self.word(b"null").map(drop),
            _ => return self.scalar().map(drop),
        };
        let inner = depth.checked_sub(1)?;
        self.at += 1;
        if self.peek()? == close {
            self.at += 1;
            return Some(());
        }
        loop {
            if close == b'}' {
                self.key()?;
            }
            self.skip_to(inner)?;
            match self.next_token()? {
                b',' => {}
                byte => return (byte == close).then_some(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Option<(&[u8], usize)> {
        let mut cursor = Cursor { bytes: text.as_bytes(), at: 0 };
        cursor.scalar().map(|scalar| (scalar, cursor.at))
    }

    proptest! {
        #[test]
        fn a_text_is_what_serde_takes_for_one_without_escapes(text in "(?s:[ -~]{0,20}.?[ -~]{0,3})") {
            let quoted = format!("\"{text}\"");
            let taken = read(&quoted).filter(|(_, end)| *end == quoted.len()).map(|(text, _)| text);
            let plain = text.bytes().all(|b| matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\\'));
            prop_assert_eq!(taken, plain.then_some(text.as_bytes()));
            prop_assert!(!plain || serde_json::from_str::<&str>(&quoted).is_ok_and(|read| read == text));
        }

        #[test]
        fn a_number_is_what_serde_takes_for_one(text in "-?[0-9]{0,3}(\\.[0-9]{0,2})?([eE][+-]?[0-9]{0,2})?") {
            let known = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
            let taken = read(&text).is_some_and(|(_, end)| end == text.len());
            prop_assert_eq!(taken, known, "{}", text);
        }
    }
}
