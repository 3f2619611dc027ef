//! `market_data_streams`: the sockets of the exchange's public streams. One part per group of symbols: a market session and its
//! shell. A panicked one is built anew by budget; past it, its symbols stay down and the strategies on them paused.

use crate::network_manager::Network;
use crate::runtime::component::Component;
use crate::runtime::host::LaneHost;
use crate::runtime::lane::Lane;
use crate::runtime::supervise::{AbortOnDrop, Base, Cause, Exit, Part, watch_progress};
use qcat_core::binance::session::market::{FrameCounts, MarketOptions, MarketSession};
use qcat_core::event::{Input, Scope, StreamFault, StreamState};
use qcat_core::id::SymbolIx;
use qcat_io::shell::Shell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

/// A session whose timer, due once a second, stands still for this long is built anew. Sockets that are silent are the session's
/// own business.
const STALL: Duration = Duration::from_secs(10);

/// A group of symbols with sockets of their own.
#[derive(Debug, Clone)]
pub struct StreamGroup {
    /// Its name for people.
    pub name: String,
    /// What it watches.
    pub options: MarketOptions,
}

/// The lane had no room for book data of this symbol.
#[derive(Debug, Clone, Copy)]
pub struct Resync(pub SymbolIx);

/// The component.
pub struct MarketDataStreams {
    groups: Vec<StreamGroup>,
    shells: Vec<Option<Rc<Shell<MarketSession>>>>,
    watched: Vec<Option<AbortOnDrop>>,
    network: Network,
    /// Counts of sessions that are gone.
    past: FrameCounts,
}

impl MarketDataStreams {
    /// Of these groups.
    pub fn new(groups: Vec<StreamGroup>, network: Network) -> MarketDataStreams {
        let shells = groups.iter().map(|_| None).collect();
        let watched = groups.iter().map(|_| None).collect();
        MarketDataStreams { groups, shells, watched, network, past: FrameCounts::default() }
    }

    fn open(&mut self, child: usize, base: &Base<Self>) {
        let (failed, full) = (base.line.clone(), base.line.clone());
        let host = LaneHost {
            lane: base.lane().clone(),
            notes: self.network.notes.clone(),
            stale: self.network.stale.clone(),
            component: Self::COMPONENT,
            watch: self.network.watch.clone(),
            on_failed: Box::new(move |why| failed.ended(child, Cause::Loop(Exit::Panicked(why.into())))),
            on_full: Box::new(move |symbol| full.tell(Resync(symbol))),
        };
        let session = MarketSession::new(self.groups[child].options.clone(), self.network.weight.clone());
        let (connector, http) = (self.network.connector.clone(), self.network.http.clone());
        let shell = Shell::start(session, Rc::new(host), connector, http, None);
        let turns = Rc::downgrade(&shell);
        self.watched[child] =
            Some(watch_progress(&base.line, child, STALL, move || turns.upgrade().map(|shell| shell.turns())));
        self.shells[child] = Some(shell);
    }

    /// Ends a group's sockets. Its symbols are told to be down: nothing else would say so.
    fn close(&mut self, child: usize, base: &Base<Self>) {
        self.watched[child] = None;
        let Some(shell) = self.shells[child].take() else { return };
        shell.end();
        self.past = sum(self.past, shell.read(MarketSession::counts));
        for symbol in &self.groups[child].options.symbols {
            base.lane().offer(Input::Stream(StreamState::MarketDown(*symbol, StreamFault::LinkLost)));
        }
    }

    /// What all sessions counted since the start.
    fn counts(&self) -> FrameCounts {
        self.shells.iter().flatten().fold(self.past, |total, shell| sum(total, shell.read(MarketSession::counts)))
    }
}

fn sum(a: FrameCounts, b: FrameCounts) -> FrameCounts {
    FrameCounts {
        quotes: a.quotes + b.quotes,
        trades: a.trades + b.trades,
        agg_trades: a.agg_trades + b.agg_trades,
        depth: a.depth + b.depth,
        marks: a.marks + b.marks,
        klines: a.klines + b.klines,
        unused: a.unused + b.unused,
        unknown: a.unknown + b.unknown,
        malformed: a.malformed + b.malformed,
    }
}

impl Part for MarketDataStreams {
    const COMPONENT: Component = Component::MarketDataStreams;
    type Ground = Lane;
    type Word = Resync;

    fn children(&self) -> Vec<String> {
        self.groups.iter().map(|group| group.name.clone()).collect()
    }

    fn start(&mut self, child: usize, base: &Base<Self>) {
        self.open(child, base);
    }

    fn restart(&mut self, child: usize, _cause: &Cause, base: &Base<Self>) -> Result<(), String> {
        self.close(child, base);
        self.open(child, base);
        Ok(())
    }

    fn give_up(&mut self, child: usize, _cause: &Cause, base: &Base<Self>) {
        self.close(child, base);
    }

    fn scope(&self, child: usize) -> Scope {
        self.groups[child].options.symbols.first().map_or(Scope::All, |symbol| Scope::Symbol(*symbol))
    }

    fn word(&mut self, Resync(symbol): Resync, _base: &Base<Self>) {
        for (group, shell) in self.groups.iter().zip(&self.shells) {
            if let Some(shell) = shell
                && group.options.symbols.contains(&symbol)
            {
                shell.with(|session, world, out| session.resync(symbol, world, out));
            }
        }
    }

    fn begin_stop(&mut self, base: &Base<Self>) {
        (0..self.groups.len()).for_each(|child| self.close(child, base));
    }

    fn left(&self, _base: &Base<Self>) -> Option<String> {
        None
    }

    fn end(&mut self, base: &Base<Self>) {
        self.begin_stop(base);
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let c = self.counts();
        let symbols: BTreeSet<SymbolIx> = self.groups.iter().flat_map(|g| g.options.symbols.iter().copied()).collect();
        let up = self.shells.iter().flatten().filter(|shell| shell.read(MarketSession::is_up)).count();
        let facts =
            [("symbols", symbols.len() as u64), ("groups_up", up as u64), ("depth", c.depth), ("quotes", c.quotes)];
        let more = [("trades", c.trades), ("agg_trades", c.agg_trades), ("marks", c.marks), ("klines", c.klines)];
        let odd = [("unused", c.unused), ("unknown", c.unknown), ("malformed", c.malformed)];
        let all = facts.into_iter().chain(more).chain(odd);
        all.map(|(name, count)| (name, count.to_string())).collect()
    }
}
