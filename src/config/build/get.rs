//! Typed values by path, and where the faults of what spans several keys are gathered.

use crate::config::read::{Fault, Leaf};
use crate::config::values::Values;
use qcat_core::num::Rate;
use qcat_core::time::Span;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Reads typed values by path. The schema guarantees kind and presence, so a miss is a bug of this file's paths.
pub(super) struct Get<'a> {
    pub(super) values: &'a Values,
    pub(super) base: String,
}

impl Get<'_> {
    pub(super) fn leaf(&self, key: &str) -> Option<&Leaf> {
        self.values.get(&format!("{}{key}", self.base))
    }

    pub(super) fn text(&self, key: &str) -> String {
        match self.leaf(key) {
            Some(Leaf::Text(text)) => text.clone(),
            _ => String::new(),
        }
    }

    pub(super) fn bool(&self, key: &str) -> bool {
        matches!(self.leaf(key), Some(Leaf::Bool(true)))
    }

    pub(super) fn int(&self, key: &str) -> i64 {
        match self.leaf(key) {
            Some(Leaf::Int(number)) => *number,
            _ => 0,
        }
    }

    pub(super) fn u32(&self, key: &str) -> u32 {
        u32::try_from(self.int(key)).unwrap_or(u32::MAX)
    }

    pub(super) fn span(&self, key: &str) -> Span {
        match self.leaf(key) {
            Some(Leaf::Duration(span)) => *span,
            _ => Span::ZERO,
        }
    }

    pub(super) fn rate(&self, key: &str) -> Rate {
        Rate::parse(self.text(key).as_bytes()).unwrap_or(Rate::ZERO)
    }

    pub(super) fn texts(&self, key: &str) -> Vec<String> {
        match self.leaf(key) {
            Some(Leaf::Texts(texts)) => texts.clone(),
            _ => Vec::new(),
        }
    }

    pub(super) fn path(&self, key: &str) -> Option<PathBuf> {
        Some(self.text(key)).filter(|text| !text.is_empty()).map(PathBuf::from)
    }

    pub(super) fn secret(&self, key: &str) -> Option<SecretString> {
        match self.leaf(key) {
            Some(Leaf::Secret(secret)) => Some(secret.get()),
            _ => None,
        }
    }

    pub(super) fn some_text(&self, key: &str) -> Option<String> {
        Some(self.text(key)).filter(|text| !text.is_empty())
    }

    pub(super) fn u16(&self, key: &str) -> u16 {
        u16::try_from(self.int(key)).unwrap_or(u16::MAX)
    }

    pub(super) fn u64(&self, key: &str) -> u64 {
        self.int(key).unsigned_abs()
    }

    pub(super) fn usize(&self, key: &str) -> usize {
        usize::try_from(self.int(key)).unwrap_or(usize::MAX)
    }

    pub(super) fn share(&self, key: &str) -> f64 {
        self.text(key).parse().unwrap_or(0.0)
    }

    pub(super) fn duration(&self, key: &str) -> Duration {
        Duration::from_nanos(self.span(key).nanos().unsigned_abs())
    }

    pub(super) fn spans(&self, key: &str) -> BTreeMap<String, Span> {
        match self.leaf(key) {
            Some(Leaf::Durations(spans)) => spans.iter().cloned().collect(),
            _ => BTreeMap::new(),
        }
    }
}

/// Faults of what spans several keys, gathered.
pub(super) struct Faults<'a> {
    pub(super) values: &'a Values,
    pub(super) found: Vec<Fault>,
}

impl Faults<'_> {
    pub(super) fn add(&mut self, key: impl AsRef<str>, problem: impl Into<String>) {
        self.among(&[key.as_ref()], problem);
    }

    /// A fault of several keys together, told of the first. Where one of them was refused already there is nothing to compare.
    pub(super) fn among(&mut self, keys: &[&str], problem: impl Into<String>) {
        if !keys.iter().any(|key| self.values.refused.contains(*key)) {
            self.found.push(self.values.fault(keys, problem.into()));
        }
    }
}
