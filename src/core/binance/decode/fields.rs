//! Events that are not hot enough for [`super::scan`], read field by field into the structs that serde fills too.
//!
//! The same strict subset of JSON: at anything unusual (escapes, repeated fields, the fields of replies) nothing is said and
//! serde decides. A property test holds both equal.

use super::cursor::Cursor;
use super::wire::{Scalar, Text};
use std::borrow::Cow;

/// A value of a field.
pub(super) trait Value<'a>: Sized {
    /// Reads it; `None`: in doubt.
    fn read(cursor: &mut Cursor<'a>) -> Option<Self>;

    /// Reads it into its place.
    #[inline]
    fn read_into(&mut self, cursor: &mut Cursor<'a>) -> Option<()> {
        *self = Self::read(cursor)?;
        Some(())
    }
}

/// A struct that is filled field by field.
pub(super) trait Wire<'a>: Default {
    /// Takes the value of one field. `seen` has a bit for each field that was there; a field that comes twice is a doubt.
    fn field(&mut self, seen: &mut u64, key: &[u8], cursor: &mut Cursor<'a>) -> Option<()>;
}

/// Fills a struct from an object.
pub(super) fn object<'a, T: Wire<'a>>(value: &mut T, cursor: &mut Cursor<'a>) -> Option<()> {
    let mut seen = 0;
    cursor.object(|cursor, key| value.field(&mut seen, key, cursor))
}

/// The kind of a frame that begins as the exchange writes it (`e` first, `data` second), and the place of its event.
pub(super) fn begin(bytes: &[u8]) -> Option<(&[u8], Place<'_>)> {
    let mut cursor = Cursor { bytes, at: 0 };
    cursor.expect(b'{')?;
    let (mut start, mut combined) = (0, false);
    let mut key = cursor.key()?;
    if key == b"stream" {
        cursor.string()?;
        cursor.expect(b',')?;
        if cursor.key()? != b"data" {
            return None;
        }
        (start, combined) = (cursor.at, true);
        cursor.expect(b'{')?;
        key = cursor.key()?;
    }
    if key != b"e" {
        return None;
    }
    let kind = cursor.string()?;
    Some((kind, Place { bytes, start, combined }))
}

/// Where the event of a frame stands.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    bytes: &'a [u8],
    start: usize,
    combined: bool,
}

impl<'a> Place<'a> {
    /// Reads the event to the frame's end. `None`: in doubt, or of a margin type that is not ours.
    pub fn event<T: Wire<'a>>(self, value: &mut T) -> Option<()> {
        let mut cursor = Cursor { bytes: self.bytes, at: self.start };
        let mut seen = 0;
        let (mut kinds, mut margins) = (0, 0);
        cursor.object(|cursor, key| match key {
            b"e" => {
                kinds += 1;
                cursor.string().map(drop)
            }
            b"st" => {
                margins += 1;
                (cursor.scalar()? == b"1").then_some(())
            }
            // What stands around events, and in replies.
            b"data" | b"id" | b"result" | b"error" | b"code" | b"msg" => None,
            _ => value.field(&mut seen, key, cursor),
        })?;
        if self.combined {
            cursor.expect(b'}')?;
        }
        cursor.at_end()?;
        (kinds == 1 && margins <= 1).then_some(())
    }
}

/// The bytes of a short name as a number, so that a choice among many names is one jump. Zero for longer names: none of ours.
pub(super) const fn code(name: &[u8]) -> u32 {
    match *name {
        [a] => a as u32,
        [a, b] => u32::from_le_bytes([a, b, 0, 0]),
        [a, b, c] => u32::from_le_bytes([a, b, c, 0]),
        [a, b, c, d] => u32::from_le_bytes([a, b, c, d]),
        _ => 0,
    }
}

impl<'a> Value<'a> for Scalar<'a> {
    #[inline]
    fn read(cursor: &mut Cursor<'a>) -> Option<Scalar<'a>> {
        if cursor.peek()? == b'n' {
            return cursor.word(b"null").map(|_| Scalar::default());
        }
        // The cursor lets only ASCII pass.
        std::str::from_utf8(cursor.scalar()?).ok().map(Scalar::plain)
    }
}

impl<'a> Value<'a> for Text<'a> {
    #[inline]
    fn read(cursor: &mut Cursor<'a>) -> Option<Text<'a>> {
        std::str::from_utf8(cursor.string()?).ok().map(|text| Some(Cow::Borrowed(text)))
    }
}

impl<'a, T: Value<'a>> Value<'a> for Vec<T> {
    fn read(cursor: &mut Cursor<'a>) -> Option<Vec<T>> {
        cursor.expect(b'[')?;
        let mut rows = Vec::new();
        if cursor.peek()? == b']' {
            cursor.at += 1;
            return Some(rows);
        }
        loop {
            rows.push(T::read(cursor)?);
            match cursor.next_token()? {
                b',' => {}
                b']' => return Some(rows),
                _ => return None,
            }
        }
    }
}

/// Declares structs with field names as on the wire, four letters at most, for serde and for [`Wire`].
macro_rules! wire {
    ($($(#[$meta:meta])* struct $name:ident<$a:lifetime> { $($field:ident: $kind:ty),* $(,)? })*) => { $(
        $(#[$meta])*
        #[derive(serde::Deserialize, Default)]
        #[serde(default)]
        #[allow(non_snake_case)]
        struct $name<$a> { $(#[serde(borrow)] $field: $kind),* }

        impl<$a> $crate::binance::decode::fields::Wire<$a> for $name<$a> {
            fn field(
                &mut self,
                seen: &mut u64,
                key: &[u8],
                cursor: &mut $crate::binance::decode::cursor::Cursor<$a>,
            ) -> Option<()> {
                use $crate::binance::decode::fields::{Value, code};
                #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
                enum Place { $($field),* }
                let name = code(key);
                $(if name == const { code(stringify!($field).as_bytes()) } {
                    let bit = 1u64 << Place::$field as u32;
                    if *seen & bit != 0 {
                        return None;
                    }
                    *seen |= bit;
                    return self.$field.read_into(cursor);
                })*
                cursor.skip()
            }
        }

        impl<$a> $crate::binance::decode::fields::Value<$a> for $name<$a> {
            fn read(cursor: &mut $crate::binance::decode::cursor::Cursor<$a>) -> Option<Self> {
                let mut value = Self::default();
                value.read_into(cursor)?;
                Some(value)
            }

            fn read_into(&mut self, cursor: &mut $crate::binance::decode::cursor::Cursor<$a>) -> Option<()> {
                $crate::binance::decode::fields::object(self, cursor)
            }
        }
    )* };
}
pub(super) use wire;
