//! Which streams have to speak, and how soon: one that is silent for longer than its period allows is a fault of its link, not a
//! quiet market. That the peer is gone altogether is found sooner, by the pings of the shell.

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
    fn carrier(self) -> LinkId {
        match self {
            Watched::Depth | Watched::Quote | Watched::Trade => PUBLIC,
            Watched::Mark | Watched::Kline => MARKET,
        }
    }
}

/// The last word of each watched stream.
#[derive(Debug, Default)]
pub(super) struct Heard([Ts; WATCHED.len()]);

impl Heard {
    pub(super) fn at(&mut self, watched: Watched, now: Ts) {
        self.0[watched as usize] = now;
    }

    /// A link was opened: its streams have their time from here on.
    pub(super) fn opened(&mut self, link: LinkId, now: Ts) {
        WATCHED.into_iter().filter(|w| w.carrier() == link).for_each(|w| self.at(w, now));
    }
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
        bound.filter(|_| self.links[watched.carrier().0 as usize].is_up())
    }

    /// When the first watched stream of an open link counts as silent.
    pub(super) fn silence_deadline(&self) -> Option<Ts> {
        let deadline = |symbol: &Symbol, w: Watched| self.bound(w).map(|bound| symbol.heard.0[w as usize].plus(bound));
        let of = |symbol| WATCHED.into_iter().filter_map(move |w| deadline(symbol, w));
        self.symbols.iter().flat_map(of).min()
    }

    /// The link of a stream that is silent beyond its bound, with the facts.
    pub(super) fn silent(&self, world: &World<'_>) -> Option<(LinkId, String)> {
        for symbol in &self.symbols {
            for watched in WATCHED {
                let since = symbol.heard.0[watched as usize];
                if self.bound(watched).is_some_and(|bound| world.now >= since.plus(bound)) {
                    let name = world.universe.instrument(symbol.symbol).map_or("?", |i| &i.name);
                    let silence = world.now.since(since);
                    return Some((watched.carrier(), format!("{name}: {watched:?} stream silent for {silence:?}")));
                }
            }
        }
        None
    }

    /// A symbol that is not open for trading has nothing to say: its silence must not cost the others their link.
    pub(super) fn excuse_closed(&mut self, world: &World<'_>) {
        for state in &mut self.symbols {
            if !world.universe.instrument(state.symbol).is_some_and(|i| i.is_tradable()) {
                [PUBLIC, MARKET].into_iter().for_each(|link| state.heard.opened(link, world.now));
            }
        }
    }
}
