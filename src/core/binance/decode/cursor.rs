//! A strict reader of a subset of JSON: plain scalars (no escapes, no fractions, no exponents outside of quotes) and what is
//! made of them. At anything else it says nothing, and serde decides.

use crate::instrument::Instrument;
use crate::market::Level;
use crate::num::{Price, Quantity, parse_i64};

/// Objects and lists in one another, in what is passed over.
const DEPTH_MAX: u8 = 8;

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

    #[inline]
    pub fn rest_of_string(&mut self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.at..)?;
        for (length, &byte) in rest.iter().enumerate() {
            match byte {
                b'"' => {
                    self.at += length + 1;
                    return rest.get(..length);
                }
                // Escapes, control characters and all that is not ASCII are left to serde.
                b'\\' | 0..0x20 | 0x7f.. => return None,
                _ => {}
            }
        }
        None
    }

    /// A text, a whole number without sign, or a truth value. Null, fractions and signs are left to serde.
    #[inline]
    pub fn scalar(&mut self) -> Option<&'a [u8]> {
        match self.peek()? {
            b'"' => {
                self.at += 1;
                self.rest_of_string()
            }
            b'0'..=b'9' => {
                let rest = self.bytes.get(self.at..)?;
                let length = rest.iter().take_while(|b| b.is_ascii_digit()).count();
                let number = rest.get(..length)?;
                let follows = rest.get(length)?;
                // JSON has no leading zeros.
                if (number[0] == b'0' && length > 1) || !matches!(follows, b',' | b'}' | b' ' | b'\n' | b'\r' | b'\t') {
                    return None;
                }
                self.at += length;
                Some(number)
            }
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            _ => None,
        }
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
