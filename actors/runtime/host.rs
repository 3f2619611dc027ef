//! What the socket shells know of the lane, and what people read of the shells.

use super::component::Component;
use super::lane::Lane;
use super::supervise::Exit;
use qcat_core::binance::proto::Incoming;
use qcat_core::engine::inbox::Offered;
use qcat_core::event::Input;
use qcat_core::id::SymbolIx;
use qcat_core::instrument::Universe;
use qcat_core::market::MarketEvent;
use qcat_core::time::{Span, Ts};
use qcat_io::kept::Kept;
use qcat_io::shell::Host;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use tokio::sync::Notify;

/// How long a kind of note is silent after it was logged.
const SILENCE: Span = Span::from_secs(60);

/// Notes of sessions: each kind is logged once a minute and counted always.
#[derive(Debug, Default)]
pub struct Notes {
    kept: RefCell<Option<Kept>>,
    kinds: RefCell<BTreeMap<(Component, &'static str), Kind>>,
}

#[derive(Debug, Default)]
struct Kind {
    total: u64,
    silent: u64,
    logged: Option<Ts>,
}

impl Notes {
    /// Takes a note.
    pub fn note(&self, component: Component, code: &'static str, text: &str, now: Ts) {
        let mut kinds = self.kinds.borrow_mut();
        let kind = kinds.entry((component, code)).or_default();
        kind.total += 1;
        if kind.logged.is_some_and(|at| now.since(at) < SILENCE) {
            kind.silent += 1;
            return;
        }
        tracing::warn!(%component, code, silent = kind.silent, "{text}");
        (kind.silent, kind.logged) = (0, Some(now));
    }

    /// Keeps messages that cannot be used in this directory from here on.
    pub fn keep_in(&self, dir: &Path) {
        *self.kept.borrow_mut() = Some(Kept::new(dir));
    }

    /// Keeps a message that could not be used, within bounds.
    pub fn keep(&self, component: Component, code: &'static str, frame: &[u8], now: Ts) {
        let kept = self.kept.borrow_mut().as_mut().map_or(Ok(()), |kept| kept.keep(now, code, frame));
        if let Err(error) = kept {
            self.note(component, "frame_not_kept", &error.to_string(), now);
        }
    }

    /// How many there were of each kind.
    pub fn counts(&self) -> Vec<(Component, &'static str, u64)> {
        self.kinds.borrow().iter().map(|((component, code), kind)| (*component, *code, kind.total)).collect()
    }
}

/// Watches what sessions take, from outside. A panic in it is the session's own.
pub trait SessionWatch: std::fmt::Debug {
    /// A session of this component is about to take this.
    fn before(&self, _component: Component, _incoming: &Incoming<'_>) {}
    /// A loop of this component begins another turn: how it is to go on. A panic is the loop's own.
    fn turn(&self, _component: Component) -> Turn {
        Turn::Go
    }
}

/// How a watched loop goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// As ever.
    Go,
    /// It fails.
    Fail(&'static str),
    /// It ends.
    End,
    /// It stands still.
    Stall,
}

impl Turn {
    /// Takes it, in a loop that may end; `Some`: it ends so.
    pub(crate) async fn take(self) -> Option<Exit> {
        match self {
            Turn::Go => None,
            Turn::Fail(why) => Some(Exit::Failed(why.into())),
            Turn::End => Some(Exit::Done),
            Turn::Stall => std::future::pending().await,
        }
    }
}

/// The lane's side of a shell.
pub(crate) struct LaneHost {
    pub lane: Lane,
    pub notes: Rc<Notes>,
    /// The exchange's definitions are not what we know.
    pub stale: Rc<Notify>,
    pub component: Component,
    /// Watches the session.
    pub watch: Option<Rc<dyn SessionWatch>>,
    /// The session panicked.
    pub on_failed: Box<dyn Fn(&str)>,
    /// The lane had no room for book data of a symbol.
    pub on_full: Box<dyn Fn(SymbolIx)>,
}

impl Host for LaneHost {
    fn now(&self) -> Ts {
        self.lane.now()
    }

    fn universe(&self) -> Rc<Universe> {
        self.lane.universe()
    }

    fn offer(&self, input: Input) {
        let book = match &input {
            Input::Market(market) => match market.event {
                MarketEvent::BookDelta(_) | MarketEvent::BookReset(_) => Some(market.symbol),
                _ => None,
            },
            _ => None,
        };
        if self.lane.offer(input) == Offered::Full
            && let Some(symbol) = book
        {
            (self.on_full)(symbol);
        }
    }

    fn before(&self, incoming: &Incoming<'_>) {
        if let Some(watch) = &self.watch {
            watch.before(self.component, incoming);
        }
    }

    fn stands_still(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.turn(self.component) == Turn::Stall)
    }

    fn note(&self, code: &'static str, text: &str) {
        self.notes.note(self.component, code, text, self.lane.now());
    }

    fn learn_definitions(&self) {
        self.stale.notify_one();
    }

    fn keep(&self, code: &'static str, frame: &[u8]) {
        self.notes.keep(self.component, code, frame, self.lane.now());
    }

    fn failed(&self, reason: &str) {
        (self.on_failed)(reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_note_is_logged_once_a_minute_and_always_counted() {
        let notes = Notes::default();
        let logged = |at: i64| {
            notes.note(Component::OrderManagers, "frame_malformed", "…", Ts::from_millis(at));
            notes.kinds.borrow()[&(Component::OrderManagers, "frame_malformed")].silent == 0
        };
        assert_eq!([logged(0), logged(1), logged(59_999), logged(60_000)], [true, false, false, true]);
        assert_eq!(notes.counts(), [(Component::OrderManagers, "frame_malformed", 4)]);
    }
}
