//! Which streams have to speak, and how soon. Mark prices come every second: their silence is a fault of the link. The others
//! speak when something happens: where the same stream of another symbol speaks, only this symbol is silent (a thin market, or
//! its stream is dead) and only it goes down, until it speaks again; where none speaks it is the link. Nobody can tell a
//! thin market from a dead stream, so now and then the link is opened anew for a symbol that stays silent. That the peer is gone
//! altogether is found sooner, by the pings of the shell.

use super::*;

/// The streams of one symbol that are held against a silence bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watched {
    Depth,
    Quote,
    Trade,
    Mark,
    /// Any of the intervals that are subscribed to.
    Kline,
}

const WATCHED: [Watched; 5] = [Watched::Depth, Watched::Quote, Watched::Trade, Watched::Mark, Watched::Kline];

impl Watched {
    /// The link that carries it.
    pub(super) fn carrier(self, options: &MarketOptions) -> LinkId {
        match self {
            Watched::Trade if options.aggregate_trades => MARKET,
            Watched::Depth | Watched::Quote | Watched::Trade => PUBLIC,
            Watched::Mark | Watched::Kline => MARKET,
        }
    }
}

/// A link is opened anew for a symbol that has been silent alone for this long.
const OPEN_ANEW: Span = Span::from_secs(1_800);

/// What was heard of a stream.
#[derive(Debug, Default, Clone, Copy)]
struct Voice {
    /// Its last word, or when its link was opened.
    last: Ts,
    /// Since when it has been silent alone.
    alone: Option<Ts>,
}

/// What was heard of each watched stream.
#[derive(Debug, Default)]
pub(super) struct Heard([Voice; WATCHED.len()]);

impl Heard {
    /// A word. True when the stream had been silent alone.
    pub(super) fn at(&mut self, watched: Watched, now: Ts) -> bool {
        let before = std::mem::replace(&mut self.0[watched as usize], Voice { last: now, alone: None });
        before.alone.is_some()
    }

    /// A link was opened: its streams have their time from here on.
    pub(super) fn opened(&mut self, link: LinkId, options: &MarketOptions, now: Ts) {
        WATCHED.into_iter().filter(|w| w.carrier(options) == link).for_each(|w| _ = self.at(w, now));
    }

    /// Whether a stream is silent while those of other symbols speak.
    pub(super) fn is_silent(&self) -> bool {
        self.0.iter().any(|voice| voice.alone.is_some())
    }
}

/// A stream that is silent beyond its bound.
struct Silence {
    at: usize,
    watched: Watched,
    facts: String,
}

/// The bound of klines: at the latest the end of the shortest interval is told, if somebody trades.
pub(super) fn kline_silence(options: &MarketOptions) -> Option<Span> {
    let lengths = options.kline_intervals.iter().filter_map(|word| decode::market::interval(word));
    lengths.min().map(|shortest| Span::from_nanos(shortest.nanos().saturating_add(options.silence_trades.nanos())))
}

impl MarketSession {
    /// How long a stream may be silent; `None` when it is not subscribed to or its link is not open.
    fn bound(&self, watched: Watched) -> Option<Span> {
        let bound = match watched {
            Watched::Depth | Watched::Quote | Watched::Mark => Some(self.options.silence),
            Watched::Trade => Some(self.options.silence_trades),
            Watched::Kline => self.kline_silence,
        };
        bound.filter(|_| self.links[watched.carrier(&self.options).0 as usize].is_up())
    }

    /// When a stream has to be looked at: it has not spoken, or has been silent alone, for as long as is borne.
    fn due(&self, symbol: &Symbol, watched: Watched) -> Option<Ts> {
        let voice = symbol.heard.0[watched as usize];
        let bound = self.bound(watched)?;
        Some(voice.alone.map_or(voice.last.plus(bound), |since| since.plus(OPEN_ANEW)))
    }

    /// When the first watched stream of an open link has to be looked at.
    pub(super) fn silence_deadline(&self) -> Option<Ts> {
        let of = |symbol| WATCHED.into_iter().filter_map(move |w| self.due(symbol, w));
        self.symbols.iter().flat_map(of).min()
    }

    fn first_silence(&self, world: &World<'_>) -> Option<Silence> {
        let of = |(at, symbol): (usize, _)| WATCHED.into_iter().map(move |watched| (at, symbol, watched));
        let late = |(_, symbol, watched): &(usize, &Symbol, Watched)| {
            self.due(symbol, *watched).is_some_and(|due| world.now >= due)
        };
        let (at, symbol, watched) = self.symbols.iter().enumerate().flat_map(of).find(late)?;
        let name = world.universe.instrument(symbol.symbol).map_or("?", |i| &i.name);
        let silence = world.now.since(symbol.heard.0[watched as usize].last);
        Some(Silence { at, watched, facts: format!("{name}: {watched:?} stream silent for {silence:?}") })
    }

    /// Whether the same stream of another symbol has spoken within the bound.
    fn others_speak(&self, silence: &Silence, now: Ts) -> bool {
        let Some(bound) = self.bound(silence.watched) else { return false };
        let speaks = |symbol: &Symbol| symbol.heard.0[silence.watched as usize].last.plus(bound) > now;
        self.symbols.iter().enumerate().any(|(at, symbol)| at != silence.at && speaks(symbol))
    }

    /// Takes symbols down that are silent alone, and links whose streams are silent.
    pub(super) fn judge_silence(&mut self, world: &World<'_>, out: &mut Vec<Action>) {
        while let Some(silence) = self.first_silence(world) {
            let Silence { at, watched, .. } = silence;
            let alone = self.symbols[at].heard.0[watched as usize].alone.is_some();
            let only_it = watched != Watched::Mark && !alone && self.others_speak(&silence, world.now);
            if only_it {
                note(out, "symbol_silent", silence.facts, &[]);
                self.symbols[at].heard.0[watched as usize].alone = Some(world.now);
                self.symbol_down(at, StreamFault::Silent, out);
            } else {
                note(out, "stream_silent", silence.facts, &[]);
                let link = watched.carrier(&self.options);
                out.push(Action::Close { link });
                self.link_down(link, StreamFault::Silent, world, out);
            }
        }
    }

    /// A symbol that is not open for trading has nothing to say: its silence must not cost the others their link.
    pub(super) fn excuse_closed(&mut self, world: &World<'_>) {
        for state in &mut self.symbols {
            if !world.universe.instrument(state.symbol).is_some_and(|i| i.is_tradable()) {
                [PUBLIC, MARKET].into_iter().for_each(|link| state.heard.opened(link, &self.options, world.now));
            }
        }
    }
}
