//! Readers of recorded markets: files become [`MarketInput`]s in the order received. Nothing is decided here.
//!
//! [`open`] tells by content what a file is: a recording of frames ([`recorded`]) or candles ([`klines`]), plain or gzipped.
//! What a file lacks is derived by [`qcat_core::sim::derive`] if asked for, and marked. Errors name file, line and cause.

use qcat_core::candle::CandleError;
use qcat_core::instrument::Universe;
use qcat_core::market::MarketInput;
use qcat_core::sim::derive::{DeriveParams, Deriver};
use qcat_core::time::Ts;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

pub mod klines;
pub mod lines;
pub mod recorded;

use klines::{Klines, KlinesOptions};
use recorded::Recorded;

/// A file that cannot be read, or a line in it.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file cannot be opened or read.
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: std::io::Error },
    /// A line is wrong.
    #[error("{}:{line}: {problem}", path.display())]
    Line { path: PathBuf, line: u64, problem: String },
    /// The file as a whole is not what it should be.
    #[error("{}: {problem}", path.display())]
    File { path: PathBuf, problem: String },
    /// A candle interval that cannot be derived.
    #[error(transparent)]
    Candle(#[from] CandleError),
}

/// How a file is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOptions {
    /// The symbol: candle files do not name theirs; of a recording only this symbol is read.
    pub symbol: Option<String>,
    /// What to derive.
    pub derive: DeriveParams,
    /// How candle files are read.
    pub klines: KlinesOptions,
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions { symbol: None, derive: DeriveParams::NOTHING, klines: KlinesOptions::default() }
    }
}

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Frames with the time of their receipt.
    Recording {
        /// Names of the symbols found near the beginning, in order of first mention.
        symbols: Vec<String>,
        /// The exchange's time of the first event.
        first: Ts,
    },
    /// Candles of one symbol, which the file does not name.
    Candles,
}

/// The events of a file, in the order received. After an error it ends.
#[derive(Debug)]
pub struct History {
    source: Source,
    universe: Universe,
    deriver: Deriver,
    raw: Vec<MarketInput>,
    ready: VecDeque<MarketInput>,
    ended: bool,
}

#[derive(Debug)]
enum Source {
    Recorded(Box<Recorded>),
    Klines(Box<Klines>),
}

/// Says what a file is, from its first lines.
pub fn probe(path: &Path) -> Result<Content, HistoryError> {
    let mut lines = lines::Lines::open(path)?;
    let mut first = String::new();
    if !lines.next_line(&mut first)? {
        return Err(lines.file_error("is empty"));
    }
    if klines::looks_like_candles(&first) {
        return Ok(Content::Candles);
    }
    recorded::probe(lines, first)
}

/// Opens a file of any known content. Its symbols must be defined in `universe`.
pub fn open(path: &Path, universe: &Universe, options: &OpenOptions) -> Result<History, HistoryError> {
    let source = match probe(path)? {
        Content::Recording { .. } => {
            Source::Recorded(Box::new(Recorded::open(path, universe.clone(), options.symbol.as_deref())?))
        }
        Content::Candles => Source::Klines(Box::new(Klines::open(path, universe, options)?)),
    };
    let (universe, deriver) = (universe.clone(), Deriver::new(options.derive.clone())?);
    Ok(History { source, universe, deriver, raw: Vec::new(), ready: VecDeque::new(), ended: false })
}

impl History {
    /// How many frames or candles were read so far, and how many of them were of known kinds that are not used.
    pub fn counts(&self) -> Counts {
        match &self.source {
            Source::Recorded(recorded) => recorded.counts(),
            Source::Klines(klines) => Counts { read: klines.read(), unused: 0 },
        }
    }
}

/// What was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames or candles.
    pub read: u64,
    /// Known kinds that are not used.
    pub unused: u64,
}

impl Iterator for History {
    type Item = Result<MarketInput, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(input) = self.ready.pop_front() {
                return Some(Ok(input));
            }
            if self.ended {
                return None;
            }
            let more = match &mut self.source {
                Source::Recorded(recorded) => recorded.read_more(&mut self.raw),
                Source::Klines(klines) => klines.read_more(&mut self.raw),
            };
            for input in self.raw.drain(..) {
                self.deriver.admit(input, &self.universe, &mut self.ready);
            }
            match more {
                Ok(true) => {}
                Ok(false) => self.ended = true,
                Err(error) => {
                    self.ended = true;
                    self.ready.clear();
                    return Some(Err(error));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
