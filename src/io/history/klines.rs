//! Candle files (CSV): with a header that names the columns, or the exchange's own dumps (twelve columns) without one.
//!
//! * Time: a column `open_time` is the start of the interval. A column `timestamp` is its *end*, as exporters of bars stamp them
//!   (the one-minute file that this was made for begins at 23:01 with the minute after 23:00).
//! * Volume: base units when the file has a quote volume too. A file with `volume` alone counts it in [`VolumeUnit::Quote`]
//!   unless told otherwise: such exports come from venues that quote volume in dollars. The other one follows by the close price.
//! * Taker volume and number of trades are zero where the file has none.
//!
//! A candle is told at its end. A gap in the file is a gap in the candles; time that goes back is an error.

use super::lines::Lines;
use super::{HistoryError, OpenOptions};
use qcat_core::binance::decode::market::interval_word;
use qcat_core::instrument::{Instrument, Universe};
use qcat_core::market::{Candle, Mark, MarketEvent, MarketInput, Quote, Trade};
use qcat_core::num::{Money, Price, Quantity, Rate, Rounding, Side, div_round, parse_mantissa, pow10};
use qcat_core::time::{Span, Ts};
use std::path::Path;

/// In what a file counts `volume` when it has no quote volume beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VolumeUnit {
    /// The base asset.
    Base,
    /// The quote asset.
    #[default]
    Quote,
}

/// How candle files are read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KlinesOptions {
    /// Unit of a lone `volume` column.
    pub volume: VolumeUnit,
    /// Also tell, marked as derived, a trade, a quote and a mark price at four points inside each candle: open, the extremes
    /// (low first in a rising candle), close. It gives a simulated venue something to fill orders with.
    pub inside: bool,
}

/// Where the columns are.
#[derive(Debug, Clone, Copy)]
struct Columns {
    time: usize,
    /// Whether the time is the interval's end.
    time_is_end: bool,
    open: usize,
    high: usize,
    low: usize,
    close: usize,
    volume: usize,
    quote_volume: Option<usize>,
    taker_volume: Option<usize>,
    trades: Option<usize>,
}

/// The twelve columns of the exchange's dumps.
const DUMP: Columns = Columns {
    time: 0,
    time_is_end: false,
    open: 1,
    high: 2,
    low: 3,
    close: 4,
    volume: 5,
    quote_volume: Some(7),
    taker_volume: Some(9),
    trades: Some(8),
};

/// A candle file on its way.
#[derive(Debug)]
pub struct Klines {
    lines: Lines,
    text: String,
    columns: Columns,
    instrument: Instrument,
    options: KlinesOptions,
    interval: Span,
    /// The first candle, read at opening to learn the interval together with the second.
    held: Vec<(Ts, Row)>,
    last: Option<Ts>,
    read: u64,
    ids: i64,
}

/// One row, numbers read, time as in the file.
#[derive(Debug, Clone, Copy)]
struct Row {
    prices: [Price; 4],
    volume: Quantity,
    quote_volume: Money,
    taker_volume: Quantity,
    trades: u32,
}

/// Whether the first line of a file is that of a candle file.
pub(super) fn looks_like_candles(line: &str) -> bool {
    header(line).is_some() || is_dump(line)
}

fn is_dump(line: &str) -> bool {
    line.split(',').count() == 12 && line.split(',').all(|cell| cell.trim().parse::<f64>().is_ok())
}

fn header(line: &str) -> Option<Columns> {
    let names: Vec<String> = line.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
    let find = |wanted: &[&str]| names.iter().position(|name| wanted.contains(&name.as_str()));
    let open_time = find(&["open_time"]);
    Some(Columns {
        time: open_time.or(find(&["timestamp", "close_time"]))?,
        time_is_end: open_time.is_none(),
        open: find(&["open"])?,
        high: find(&["high"])?,
        low: find(&["low"])?,
        close: find(&["close"])?,
        volume: find(&["volume"])?,
        quote_volume: find(&["quote_volume", "quote_asset_volume"]),
        taker_volume: find(&["taker_buy_volume", "taker_buy_base_asset_volume"]),
        trades: find(&["count", "trades", "number_of_trades"]),
    })
}

impl Klines {
    /// Opens a candle file of `options.symbol`. The interval is that between the first two candles.
    pub(super) fn open(path: &Path, universe: &Universe, options: &OpenOptions) -> Result<Klines, HistoryError> {
        let mut lines = Lines::open(path)?;
        let Some(name) = options.symbol.as_deref() else {
            return Err(lines.file_error("a candle file does not name its symbol: it has to be given"));
        };
        let found = universe.by_name(name).cloned();
        let instrument = found.ok_or_else(|| lines.file_error(format!("symbol {name} has no definition")))?;
        let mut text = String::new();
        lines.next_line(&mut text)?;
        let columns = header(&text);
        let options = options.klines.clone();
        let (interval, held) = (Span::ZERO, Vec::new());
        let has_header = columns.is_some();
        let columns = columns.unwrap_or(DUMP);
        let mut klines =
            Klines { lines, text, columns, instrument, options, interval, held, last: None, read: 0, ids: 0 };
        if !has_header {
            let row = klines.row()?;
            klines.held.push(row);
        }
        while klines.held.len() < 2 {
            if !klines.lines.next_line(&mut klines.text)? {
                return Err(klines.lines.file_error("has fewer than two candles: the interval cannot be told"));
            }
            let row = klines.row()?;
            klines.held.push(row);
        }
        klines.interval = klines.held[1].0.since(klines.held[0].0);
        if interval_word(klines.interval).is_none() {
            let problem = format!("the first two candles are {:?} apart, no interval of candles", klines.interval);
            return Err(klines.lines.line_error(problem));
        }
        Ok(klines)
    }

    /// Candles told so far.
    pub fn read(&self) -> u64 {
        self.read
    }

    pub(super) fn read_more(&mut self, out: &mut Vec<MarketInput>) -> Result<bool, HistoryError> {
        let (time, row) = if !self.held.is_empty() {
            self.held.remove(0)
        } else if self.lines.next_line(&mut self.text)? {
            self.row()?
        } else {
            return Ok(false);
        };
        let open_time =
            if self.columns.time_is_end { Ts::from_nanos(time.nanos() - self.interval.nanos()) } else { time };
        if let Some(last) = self.last
            && (open_time <= last || open_time.since(last).nanos() % self.interval.nanos() != 0)
        {
            let step = open_time.since(last);
            return Err(self
                .lines
                .line_error(format!("is {step:?} from the candle before, not whole intervals later")));
        }
        self.last = Some(open_time);
        self.read += 1;
        let [open, high, low, close] = row.prices;
        let candle = Candle {
            interval: self.interval,
            open_time,
            open,
            high,
            low,
            close,
            volume: row.volume,
            quote_volume: row.quote_volume,
            taker_buy_volume: row.taker_volume,
            trades: row.trades,
            closed: true,
        };
        if self.options.inside {
            self.inside(&candle, out);
        }
        out.push(self.input(candle.close_time(), false, MarketEvent::Candle(Box::new(candle))));
        Ok(true)
    }

    fn input(&self, time: Ts, derived: bool, event: MarketEvent) -> MarketInput {
        MarketInput { symbol: self.instrument.symbol, exchange_time: time, receive_time: time, derived, event }
    }

    /// Events inside a candle, see [`KlinesOptions::inside`].
    fn inside(&mut self, candle: &Candle, out: &mut Vec<MarketInput>) {
        let rising = candle.close >= candle.open;
        let (first, second) = if rising { (candle.low, candle.high) } else { (candle.high, candle.low) };
        let filters = &self.instrument.filters;
        let quarter = Quantity::from_mantissa(candle.volume.mantissa() / 4).unwrap_or(Quantity::ZERO);
        let quantity = self.instrument.round_quantity(quarter, Rounding::Down).max(filters.lot.step);
        let tick = filters.price.tick.mantissa().max(1);
        let mut before = candle.open;
        for (eighth, price) in [(1, candle.open), (3, first), (5, second), (7, candle.close)] {
            let time = candle.open_time.plus(Span::from_nanos(candle.interval.nanos() / 8 * eighth));
            let aggressor = if price >= before { Side::Buy } else { Side::Sell };
            before = price;
            self.ids += 1;
            let id = qcat_core::id::TradeId(self.ids);
            let (bid, ask) = match aggressor {
                Side::Buy => (Price::from_mantissa(price.mantissa() - tick), price),
                Side::Sell => (price, Price::from_mantissa(price.mantissa() + tick)),
            };
            let (update_id, bid_quantity, ask_quantity) = (self.ids as u64, quantity, quantity);
            let quote = Quote { update_id, bid, bid_quantity, ask, ask_quantity };
            let mark = Mark { mark_price: price, index_price: price, funding_rate: Rate::ZERO, next_funding: Ts::ZERO };
            let trade = Trade { id, price, quantity, aggressor, on_book: true };
            let events = [MarketEvent::Quote(quote), MarketEvent::Trade(trade), MarketEvent::Mark(mark)];
            out.extend(events.into_iter().map(|event| self.input(time, true, event)));
        }
    }

    /// Reads the current line.
    fn row(&self) -> Result<(Ts, Row), HistoryError> {
        let cells: Vec<&str> = self.text.split(',').map(str::trim).collect();
        let cell = |at: usize| {
            cells.get(at).copied().ok_or_else(|| self.lines.line_error(format!("has no column {}", at + 1)))
        };
        let c = &self.columns;
        let i = &self.instrument;
        let price = |at: usize| {
            let text = cell(at)?;
            let price = i.parse_price(text).map_err(|e| self.lines.line_error(format!("column {}: {e}", at + 1)))?;
            if price.mantissa() <= 0 {
                return Err(self.lines.line_error(format!("column {}: price `{text}` is not positive", at + 1)));
            }
            Ok(price)
        };
        let prices = [price(c.open)?, price(c.high)?, price(c.low)?, price(c.close)?];
        let [open, high, low, close] = prices;
        if low > open.min(close) || high < open.max(close) {
            return Err(self.lines.line_error("high and low do not hold open and close between them"));
        }
        // Exact to 18 decimals first; lots and money are rounded from there.
        let amount = |at: usize| {
            let text = cell(at)?;
            let read = parse_mantissa(text.as_bytes(), Money::SCALE).ok().filter(|amount| *amount >= 0);
            read.ok_or_else(|| self.lines.line_error(format!("column {}: `{text}` is not an amount", at + 1)))
        };
        let base = |amount: i128| {
            let unit = pow10(Money::SCALE - i.quantity_scale);
            let mantissa = i64::try_from(div_round(amount, unit, Rounding::Down)).ok();
            let quantity = mantissa.and_then(Quantity::from_mantissa);
            quantity.ok_or_else(|| self.lines.line_error("the volume is too large"))
        };
        let volume = amount(c.volume)?;
        let (volume, quote_volume) = match (c.quote_volume, self.options.volume) {
            (Some(at), _) => (base(volume)?, Money::new(i.quote, amount(at)?)),
            (None, VolumeUnit::Base) => {
                let quantity = base(volume)?;
                let value = i.notional(close, quantity).map_err(|e| self.lines.line_error(e.to_string()))?;
                (quantity, value)
            }
            (None, VolumeUnit::Quote) => {
                let lots =
                    volume / (i128::from(close.mantissa()) * pow10(Money::SCALE - i.price_scale - i.quantity_scale));
                let quantity = i64::try_from(lots).ok().and_then(Quantity::from_mantissa);
                let quantity = quantity.ok_or_else(|| self.lines.line_error("the volume is too large"))?;
                (i.round_quantity(quantity, Rounding::Down), Money::new(i.quote, volume))
            }
        };
        let taker_volume = match c.taker_volume {
            Some(at) => base(amount(at)?)?,
            None => Quantity::ZERO,
        };
        let trades = match c.trades {
            Some(at) => cell(at)?.parse().map_err(|_| self.lines.line_error(format!("column {}: no count", at + 1)))?,
            None => 0,
        };
        Ok((self.time(cell(c.time)?)?, Row { prices, volume, quote_volume, taker_volume, trades }))
    }

    /// A date and time in UTC, or a number since 1970 in seconds, milli-, micro- or nanoseconds, told by its length.
    fn time(&self, text: &str) -> Result<Ts, HistoryError> {
        let wrong =
            || self.lines.line_error(format!("`{text}` is not a time (allowed: 2022-01-31 23:59:00 or a Unix time)"));
        if let Ok(number) = text.parse::<i64>() {
            let unit = match text.len() {
                1..=11 => 1_000_000_000,
                12..=14 => 1_000_000,
                15..=17 => 1_000,
                _ => 1,
            };
            return number.checked_mul(unit).filter(|nanos| *nanos >= 0).map(Ts::from_nanos).ok_or_else(wrong);
        }
        let civil: jiff::civil::DateTime = text.trim_end_matches('Z').parse().map_err(|_| wrong())?;
        let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| wrong())?;
        i64::try_from(zoned.timestamp().as_nanosecond()).ok().filter(|n| *n >= 0).map(Ts::from_nanos).ok_or_else(wrong)
    }
}
