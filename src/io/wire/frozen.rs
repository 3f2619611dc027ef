//! How a domain type gets a frozen wire form: a `frozen!` block names the fields and variants once, in wire order.
//!
//! It makes a struct or enum of its own (apart from the domain type, so that the domain can change), writes a domain value in
//! that form without building it first (the trading thread encodes and must not allocate), and turns a decoded form into a
//! domain value. A field or variant that the domain gains or loses is a compile error here: the next version is due.

use qcat_core::command::CommandId;
use qcat_core::id::{AccountIx, AssetIx, ForeignId, Seq, StrategyIx, SymbolIx, TradeId, VenueOrderId};
use qcat_core::num::{Money, NetQuantity, Price, Quantity, Rate};
use qcat_core::time::{Span, Ts};
use serde::ser::{SerializeMap, SerializeSeq, SerializeTuple};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

/// A wire form of the domain type `D`.
pub trait Frozen<D: ?Sized>: Sized {
    /// Writes a domain value in this form.
    fn write<S: Serializer>(domain: &D, serializer: S) -> Result<S::Ok, S::Error>;

    /// The domain value.
    fn thaw(self) -> Result<D, Invalid>
    where
        D: Sized;
}

/// A decoded value that the domain refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub &'static str);

/// A domain value that serialises in the form `W`.
pub struct View<'a, W, D: ?Sized>(&'a D, PhantomData<W>);

impl<'a, W: Frozen<D>, D: ?Sized> View<'a, W, D> {
    /// Looks at `domain` in the form `W`.
    pub fn new(domain: &'a D) -> View<'a, W, D> {
        View(domain, PhantomData)
    }
}

impl<W: Frozen<D>, D: ?Sized> Serialize for View<'_, W, D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        W::write(self.0, serializer)
    }
}

/// Plain numbers, and domain newtypes that are a number on the wire.
macro_rules! number {
    ($($wire:ty as $domain:ty: $out:expr, $back:expr;)*) => {$(
        impl Frozen<$domain> for $wire {
            fn write<S: Serializer>(domain: &$domain, serializer: S) -> Result<S::Ok, S::Error> {
                let out: fn(&$domain) -> $wire = $out;
                out(domain).serialize(serializer)
            }

            fn thaw(self) -> Result<$domain, Invalid> {
                let back: fn($wire) -> $domain = $back;
                Ok(back(self))
            }
        }
    )*};
}

number! {
    bool as bool: |v| *v, |v| v;
    u8 as u8: |v| *v, |v| v;
    u16 as u16: |v| *v, |v| v;
    u32 as u32: |v| *v, |v| v;
    u64 as u64: |v| *v, |v| v;
    i32 as i32: |v| *v, |v| v;
    i64 as i64: |v| *v, |v| v;
    f64 as f64: |v| *v, |v| v;
    i64 as Price: |v| v.mantissa(), Price::from_mantissa;
    i64 as NetQuantity: |v| v.mantissa(), NetQuantity::from_mantissa;
    i64 as Rate: |v| v.mantissa(), Rate::from_mantissa;
    i64 as Ts: |v| v.nanos(), Ts::from_nanos;
    i64 as Span: |v| v.nanos(), Span::from_nanos;
    i64 as TradeId: |v| v.0, TradeId;
    i64 as VenueOrderId: |v| v.0, VenueOrderId;
    u16 as SymbolIx: |v| v.0, SymbolIx;
    u16 as AssetIx: |v| v.0, AssetIx;
    u16 as AccountIx: |v| v.0, AccountIx;
    u16 as StrategyIx: |v| v.0, StrategyIx;
    u64 as Seq: |v| v.0, Seq;
    u64 as CommandId: |v| v.0, CommandId;
}

impl Frozen<Quantity> for i64 {
    fn write<S: Serializer>(domain: &Quantity, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(domain.mantissa())
    }

    fn thaw(self) -> Result<Quantity, Invalid> {
        Quantity::from_mantissa(self).ok_or(Invalid("negative quantity"))
    }
}

/// An amount: the asset's index and the mantissa with 18 decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount(u16, i128);

impl Frozen<Money> for Amount {
    fn write<S: Serializer>(domain: &Money, serializer: S) -> Result<S::Ok, S::Error> {
        Amount(domain.asset.0, domain.mantissa()).serialize(serializer)
    }

    fn thaw(self) -> Result<Money, Invalid> {
        Ok(Money::new(AssetIx(self.0), self.1))
    }
}

/// Texts.
macro_rules! text {
    ($($domain:ty: $back:expr;)*) => {$(
        impl Frozen<$domain> for String {
            fn write<S: Serializer>(domain: &$domain, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(domain)
            }

            fn thaw(self) -> Result<$domain, Invalid> {
                let back: fn(String) -> $domain = $back;
                Ok(back(self))
            }
        }
    )*};
}

text! {
    Arc<str>: |v| v.into();
    Box<str>: |v| v.into();
    Cow<'static, str>: |v| v.into();
}

impl Frozen<ForeignId> for String {
    fn write<S: Serializer>(domain: &ForeignId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(domain)
    }

    fn thaw(self) -> Result<ForeignId, Invalid> {
        Ok(ForeignId::new(&self))
    }
}

// On the wire a box is what is in it.
impl<W: Frozen<D>, D> Frozen<Box<D>> for W {
    fn write<S: Serializer>(domain: &Box<D>, serializer: S) -> Result<S::Ok, S::Error> {
        W::write(domain, serializer)
    }

    fn thaw(self) -> Result<Box<D>, Invalid> {
        self.thaw().map(Box::new)
    }
}

impl<W: Frozen<D>, D> Frozen<[D]> for Vec<W> {
    fn write<S: Serializer>(domain: &[D], serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(domain.len()))?;
        for item in domain {
            seq.serialize_element(&View::<W, D>::new(item))?;
        }
        seq.end()
    }

    fn thaw(self) -> Result<[D], Invalid>
    where
        [D]: Sized,
    {
        unreachable!("a slice is never sized")
    }
}

impl<W: Frozen<D>, D> Frozen<Vec<D>> for Vec<W> {
    fn write<S: Serializer>(domain: &Vec<D>, serializer: S) -> Result<S::Ok, S::Error> {
        <Vec<W> as Frozen<[D]>>::write(domain, serializer)
    }

    fn thaw(self) -> Result<Vec<D>, Invalid> {
        self.into_iter().map(W::thaw).collect()
    }
}

impl<W: Frozen<D>, D> Frozen<Option<D>> for Option<W> {
    fn write<S: Serializer>(domain: &Option<D>, serializer: S) -> Result<S::Ok, S::Error> {
        domain.as_ref().map(View::<W, D>::new).serialize(serializer)
    }

    fn thaw(self) -> Result<Option<D>, Invalid> {
        self.map(W::thaw).transpose()
    }
}

impl<W: Frozen<D>, D, V: Frozen<E>, E> Frozen<Result<D, E>> for Result<W, V> {
    fn write<S: Serializer>(domain: &Result<D, E>, serializer: S) -> Result<S::Ok, S::Error> {
        domain.as_ref().map(View::<W, D>::new).map_err(View::<V, E>::new).serialize(serializer)
    }

    fn thaw(self) -> Result<Result<D, E>, Invalid> {
        Ok(match self {
            Ok(value) => Ok(value.thaw()?),
            Err(error) => Err(error.thaw()?),
        })
    }
}

impl<W: Frozen<D>, D, V: Frozen<E>, E> Frozen<(D, E)> for (W, V) {
    fn write<S: Serializer>(domain: &(D, E), serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(2)?;
        tuple.serialize_element(&View::<W, D>::new(&domain.0))?;
        tuple.serialize_element(&View::<V, E>::new(&domain.1))?;
        tuple.end()
    }

    fn thaw(self) -> Result<(D, E), Invalid> {
        Ok((self.0.thaw()?, self.1.thaw()?))
    }
}

impl<K: Frozen<D> + Ord, D: Ord, V: Frozen<E>, E> Frozen<BTreeMap<D, E>> for BTreeMap<K, V> {
    fn write<S: Serializer>(domain: &BTreeMap<D, E>, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(domain.len()))?;
        for (key, value) in domain {
            map.serialize_entry(&View::<K, D>::new(key), &View::<V, E>::new(value))?;
        }
        map.end()
    }

    fn thaw(self) -> Result<BTreeMap<D, E>, Invalid> {
        self.into_iter().map(|(key, value)| Ok((key.thaw()?, value.thaw()?))).collect()
    }
}

/// Declares the frozen forms of a module, and their text as `SCHEMA`, which a test holds against a stored copy.
macro_rules! frozen {
    ($($all:tt)*) => {
        /// The definitions of this module as text.
        pub const SCHEMA: &str = stringify!($($all)*);
        $crate::wire::frozen::frozen_items! { $($all)* }
    };
}

macro_rules! frozen_items {
    () => {};
    (struct $W:ident for $($seg:ident)::+ { $($f:ident: $t:ty),* $(,)? } $($rest:tt)*) => {
        #[doc = concat!("Frozen form of `", stringify!($($seg)::+), "`.")]
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[allow(missing_docs)]
        pub struct $W { $(pub $f: $t),* }

        impl Frozen<qcat_core::$($seg)::+> for $W {
            fn write<S: Serializer>(domain: &qcat_core::$($seg)::+, serializer: S) -> Result<S::Ok, S::Error> {
                type Domain = qcat_core::$($seg)::+;
                let Domain { $($f),* } = domain;
                let count = [$(stringify!($f)),*].len();
                let mut state = serializer.serialize_struct(stringify!($W), count)?;
                $(state.serialize_field(stringify!($f), &View::<$t, _>::new($f))?;)*
                state.end()
            }

            fn thaw(self) -> Result<qcat_core::$($seg)::+, Invalid> {
                type Domain = qcat_core::$($seg)::+;
                Ok(Domain { $($f: self.$f.thaw()?),* })
            }
        }
        $crate::wire::frozen::frozen_items! { $($rest)* }
    };
    (enum $W:ident for $($seg:ident)::+ {$($body:tt)*} $($rest:tt)*) => {
        $crate::wire::frozen::frozen_enum! { $W, ($($seg)::+), {}, $($body)* }
        $crate::wire::frozen::frozen_items! { $($rest)* }
    };
    // The form of an earlier version, which is only read: the domain has more variants since.
    (earlier enum $W:ident for $($seg:ident)::+ {$($body:tt)*} $($rest:tt)*) => {
        $crate::wire::frozen::frozen_enum! { $W, ($($seg)::+),
            { _ => Err(serde::ser::Error::custom("this version of the form does not have it")) }, $($body)* }
        $crate::wire::frozen::frozen_items! { $($rest)* }
    };
}

macro_rules! frozen_enum {
    ($W:ident, ($($seg:ident)::+), { $($otherwise:tt)* },
        $($V:ident $(( $($b:ident: $bt:ty),* ))? $({ $($f:ident: $ft:ty),* $(,)? })?),* $(,)?
    ) => {
        #[doc = concat!("Frozen form of `", stringify!($($seg)::+), "`.")]
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[allow(missing_docs, clippy::large_enum_variant)]
        pub enum $W { $($V $(( $($bt),* ))? $({ $($f: $ft),* })?),* }

        impl Frozen<qcat_core::$($seg)::+> for $W {
            fn write<S: Serializer>(domain: &qcat_core::$($seg)::+, serializer: S) -> Result<S::Ok, S::Error> {
                type Domain = qcat_core::$($seg)::+;
                // Numbers the variants as the derived `Deserialize` does.
                enum Tag { $($V),* }
                match domain {
                    $(Domain::$V $(( $($b),* ))? $({ $($f),* })? => {
                        let fields: &[&str] = &[$($(stringify!($b)),*)? $($(stringify!($f)),*)?];
                        #[allow(unused_mut)]
                        let mut state = serializer.serialize_tuple_variant(
                            stringify!($W), Tag::$V as u32, stringify!($V), fields.len())?;
                        $($(state.serialize_field(&View::<$bt, _>::new($b))?;)*)?
                        $($(state.serialize_field(&View::<$ft, _>::new($f))?;)*)?
                        state.end()
                    })*
                    $($otherwise)*
                }
            }

            fn thaw(self) -> Result<qcat_core::$($seg)::+, Invalid> {
                type Domain = qcat_core::$($seg)::+;
                Ok(match self {
                    $($W::$V $(( $($b),* ))? $({ $($f),* })? =>
                        Domain::$V $(( $($b.thaw()?),* ))? $({ $($f: $f.thaw()?),* })?,)*
                })
            }
        }
    };
}

pub(crate) use {frozen, frozen_enum, frozen_items};
