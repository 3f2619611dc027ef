//! Recordings of frames: lines of `<local nanoseconds> <JSON>`, the JSON a frame of a stream or a bare REST depth snapshot.
//!
//! Diffs are joined to the snapshot by the session's rules ([`Bridge`]): what cannot be bridged is held back or dropped.
//! A snapshot does not name its symbol: it belongs to the symbol whose diffs wait for one.

use super::lines::Lines;
use super::{Content, Counts, HistoryError};
use qcat_core::binance::bridge::Bridge;
use qcat_core::binance::decode::{Frame, decode_frame, rest};
use qcat_core::id::SymbolIx;
use qcat_core::instrument::Universe;
use qcat_core::market::{MarketEvent, MarketInput};
use qcat_core::time::Ts;
use serde::Deserialize;
use std::path::Path;

/// A recording on its way.
#[derive(Debug)]
pub struct Recorded {
    lines: Lines,
    text: String,
    universe: Universe,
    only: Option<SymbolIx>,
    books: Vec<(SymbolIx, Bridge)>,
    last: Ts,
    counts: Counts,
}

impl Recorded {
    /// Opens a recording; with `symbol` every other symbol is passed over.
    pub fn open(path: &Path, universe: Universe, symbol: Option<&str>) -> Result<Recorded, HistoryError> {
        let lines = Lines::open(path)?;
        let only = match symbol {
            None => None,
            Some(name) => {
                let found = universe.by_name(name).map(|i| i.symbol);
                Some(found.ok_or_else(|| lines.file_error(format!("symbol {name} has no definition")))?)
            }
        };
        let counts = Counts::default();
        Ok(Recorded { lines, text: String::new(), universe, only, books: Vec::new(), last: Ts::ZERO, counts })
    }

    /// What was read so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Reads one line and pushes what follows from it: nothing, one event, or a snapshot with the diffs held for it.
    pub(super) fn read_more(&mut self, out: &mut Vec<MarketInput>) -> Result<bool, HistoryError> {
        if !self.lines.next_line(&mut self.text)? {
            return Ok(false);
        }
        let (time, json) = split(&self.lines, &self.text)?;
        // The recorder's clock may have been set back: time never goes back in here.
        self.last = self.last.max(time);
        self.counts.read += 1;
        if json.starts_with("{\"lastUpdateId\"") {
            self.snapshot(json.len(), out)?;
            return Ok(true);
        }
        match decode_frame(json.as_bytes(), &self.universe, None, self.last) {
            Ok(Frame::Market(input)) => self.market(input, out),
            Ok(Frame::Reply(_) | Frame::Unused(_)) => self.counts.unused += 1,
            Ok(Frame::Unknown(kind)) => return Err(self.lines.line_error(format!("unknown kind of message `{kind}`"))),
            Ok(Frame::User(_) | Frame::Partly(..) | Frame::MarginCalls(_) | Frame::ListenKeyExpired) => {
                self.counts.unused += 1;
            }
            Err(error) => return Err(self.lines.line_error(error.to_string())),
        }
        Ok(true)
    }

    fn market(&mut self, input: MarketInput, out: &mut Vec<MarketInput>) {
        if self.only.is_some_and(|only| only != input.symbol) {
            return;
        }
        if matches!(input.event, MarketEvent::BookDelta(_)) {
            let at = self.books.iter().position(|(symbol, _)| *symbol == input.symbol).unwrap_or_else(|| {
                self.books.push((input.symbol, Bridge::default()));
                self.books.len() - 1
            });
            self.books[at].1.on_delta(input, out);
        } else {
            out.push(input);
        }
    }

    fn snapshot(&mut self, length: usize, out: &mut Vec<MarketInput>) -> Result<(), HistoryError> {
        let mut waiting = self.books.iter_mut().filter(|(_, bridge)| bridge.needs_snapshot());
        let (symbol, bridge) = match (waiting.next(), waiting.next()) {
            (Some((symbol, bridge)), None) => (*symbol, Some(bridge)),
            (None, _) => match self.only.or(self.books.first().map(|(symbol, _)| *symbol)) {
                // One more snapshot of a book that is whole: not needed.
                Some(symbol) => (symbol, None),
                None => return Err(self.lines.line_error("a depth snapshot before any diff: its symbol is not known")),
            },
            _ => return Err(self.lines.line_error("a depth snapshot while several symbols wait for one")),
        };
        let instrument = self.universe.instrument(symbol);
        let instrument = instrument.ok_or_else(|| self.lines.line_error("the snapshot's symbol has no definition"))?;
        let json = self.text.get(self.text.len() - length..).unwrap_or_default();
        let decoded = rest::depth(json.as_bytes(), instrument);
        let (levels, exchange_time) = decoded.map_err(|e| self.lines.line_error(e.to_string()))?;
        let event = MarketEvent::BookReset(Box::new(levels));
        let input = MarketInput { symbol, exchange_time, receive_time: self.last, derived: false, event };
        if let Some(bridge) = bridge {
            bridge.on_snapshot(input, out);
        }
        Ok(())
    }
}

fn split<'a>(lines: &Lines, text: &'a str) -> Result<(Ts, &'a str), HistoryError> {
    let (time, json) =
        text.split_once(' ').ok_or_else(|| lines.line_error("expected `<nanoseconds> <JSON>`, found no space"))?;
    let nanos = time.parse::<i64>().ok().filter(|nanos| *nanos >= 0);
    let nanos = nanos.ok_or_else(|| {
        let shown: String = time.chars().take(32).collect();
        lines.line_error(format!("expected nanoseconds since 1970, found `{shown}`"))
    })?;
    Ok((Ts::from_nanos(nanos), json))
}

/// Lines looked at for names of symbols.
const PROBED: usize = 2_000;

/// What a recording holds, from its first lines.
pub(super) fn probe(mut lines: Lines, first: String) -> Result<Content, HistoryError> {
    #[derive(Deserialize)]
    struct Event {
        s: Option<String>,
        #[serde(rename = "E")]
        time: Option<i64>,
    }
    #[derive(Deserialize)]
    struct Line {
        data: Option<Event>,
        #[serde(flatten)]
        raw: Option<Event>,
    }
    let (mut text, mut symbols, mut time) = (first, Vec::new(), None);
    for _ in 0..PROBED {
        let (_, json) = split(&lines, &text)?;
        let parsed = serde_json::from_str::<Line>(json);
        let line = parsed.map_err(|e| lines.line_error(format!("neither a frame nor a snapshot: {e}")))?;
        if let Some(event) = line.data.or(line.raw) {
            time = time.or(event.time);
            symbols.extend(event.s.filter(|name| !symbols.contains(name)));
        }
        if !lines.next_line(&mut text)? {
            break;
        }
    }
    match time {
        Some(millis) if !symbols.is_empty() => Ok(Content::Recording { symbols, first: Ts::from_millis(millis) }),
        _ => Err(lines.file_error("names no symbol and no time: neither a recording nor candles")),
    }
}
