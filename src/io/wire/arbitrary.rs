//! Arbitrary values of anything that derives `Deserialize`: a deserializer that reads dice instead of bytes.
//!
//! It follows the types, so a variant or field that the domain gains is covered without a line here.

use crate::wire::WireError;
use serde::de::value::U32Deserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Makes values; remembers which variants of which enums it chose.
#[derive(Debug, Default)]
pub struct Arbitrary {
    dice: u64,
    /// Bytes of a type whose fields belong together.
    bytes: VecDeque<u8>,
    positive: bool,
    pub seen: BTreeMap<&'static str, (usize, BTreeSet<u32>)>,
}

impl Arbitrary {
    /// A value that follows from the seed.
    pub fn make<T: DeserializeOwned>(&mut self, seed: u64) -> T {
        self.dice = seed;
        T::deserialize(self).expect("every type of the domain can be made")
    }

    fn next(&mut self) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Numbers of every length, because the wire form's length follows the number's.
    fn number(&mut self) -> u64 {
        let shift = self.below(64);
        self.next() >> shift
    }
}

impl Error for WireError {
    fn custom<T: std::fmt::Display>(message: T) -> WireError {
        WireError::Malformed(message.to_string())
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WireError> {
            let number = self.number() as $type;
            visitor.$visit(number)
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Arbitrary {
    type Error = WireError;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, WireError> {
        Err(WireError::Malformed("a type that does not say what it is".into()))
    }

    numbers! { deserialize_u16 visit_u16 u16, deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64,
    deserialize_i32 visit_i32 i32 }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WireError> {
        let coin = self.below(2) == 0;
        visitor.visit_bool(coin)
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WireError> {
        let byte = self.bytes.pop_front().unwrap_or_else(|| self.next() as u8);
        visitor.visit_u8(byte)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WireError> {
        let number = self.number() as i64;
        let positive = std::mem::take(&mut self.positive);
        visitor.visit_i64(if positive { number & i64::MAX } else { number })
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WireError> {
        let number = (self.number() as i128) << self.below(64);
        visitor.visit_i128(if self.below(2) == 0 { number } else { -number })
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WireError> {
        let number = self.number() as i32 as f64 / 8.0;
        visitor.visit_f64(number)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WireError> {
        let letters = ["a", "B", "-", "7", " ", "€", "交"];
        let text = (0..self.below(9)).map(|_| letters[self.below(7) as usize]).collect();
        visitor.visit_string(text)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WireError> {
        self.deserialize_string(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WireError> {
        if self.below(3) == 0 { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, v: V) -> Result<V::Value, WireError> {
        self.positive = name == "Quantity";
        v.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WireError> {
        let left = self.below(4) as usize;
        visitor.visit_seq(Items { from: self, left })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, WireError> {
        visitor.visit_seq(Items { from: self, left: len })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, WireError> {
        visitor.visit_seq(Items { from: self, left: len })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WireError> {
        let left = self.below(4) as usize;
        visitor.visit_map(Items { from: self, left })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, WireError> {
        if name == "ForeignId" {
            // Length and text of an id that somebody else chose; what is behind the length is zero.
            let len = self.below(37) as usize;
            self.bytes = (0..36).map(|at| if at < len { b'A' + at as u8 % 26 } else { 0 }).collect();
            self.bytes.push_front(len as u8);
        }
        visitor.visit_seq(Items { from: self, left: fields.len() })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, WireError> {
        let chosen = self.below(variants.len() as u64) as u32;
        self.seen.entry(name).or_insert((variants.len(), BTreeSet::new())).1.insert(chosen);
        visitor.visit_enum(Variant { from: self, chosen })
    }

    forward_to_deserialize_any! {
        i8 i16 u128 f32 char bytes byte_buf unit unit_struct identifier ignored_any
    }
}

struct Items<'a> {
    from: &'a mut Arbitrary,
    left: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = WireError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, WireError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.from).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> MapAccess<'de> for Items<'_> {
    type Error = WireError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, WireError> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, WireError> {
        seed.deserialize(&mut *self.from)
    }
}

struct Variant<'a> {
    from: &'a mut Arbitrary,
    chosen: u32,
}

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = WireError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), WireError> {
        let tag: U32Deserializer<WireError> = self.chosen.into_deserializer();
        Ok((seed.deserialize(tag)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = WireError;

    fn unit_variant(self) -> Result<(), WireError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, WireError> {
        seed.deserialize(self.from)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, WireError> {
        visitor.visit_seq(Items { from: self.from, left: len })
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, WireError> {
        visitor.visit_seq(Items { from: self.from, left: fields.len() })
    }
}
