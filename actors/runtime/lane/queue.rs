//! What waits for the engine: the lane's own words first, then the bounded inbox. No report is lost in silence: an account whose
//! inputs were refused is told to be cut off, and to be back once the queue has drained, so that it is reconciled.

use qcat_core::command::Report;
use qcat_core::engine::inbox::{Inbox, Offered};
use qcat_core::event::{Input, StreamFault, StreamState};
use qcat_core::id::AccountIx;
use std::collections::{BTreeSet, VecDeque};

#[derive(Debug)]
pub(super) struct Queue {
    /// The lane's own inputs: bounded by what it sent and held.
    own: VecDeque<Input>,
    inbox: Inbox,
    /// Accounts of which inputs were refused.
    deaf: BTreeSet<AccountIx>,
    /// Accounts whose user stream is down by its own word.
    down: BTreeSet<AccountIx>,
}

impl Queue {
    pub fn new(capacity: usize) -> Queue {
        let inbox = Inbox::new(capacity);
        Queue { own: VecDeque::new(), inbox, deaf: BTreeSet::new(), down: BTreeSet::new() }
    }

    /// Takes an input from outside.
    pub fn offer(&mut self, input: Input) -> Offered {
        match input {
            Input::Stream(StreamState::UserDown(account, _)) => self.down.insert(account),
            Input::Stream(StreamState::UserUp(account)) => self.down.remove(&account),
            _ => false,
        };
        let account = account_of(&input);
        let offered = self.inbox.offer(input);
        if offered == Offered::Full
            && let Some(account) = account
            && self.deaf.insert(account)
        {
            self.own.push_back(Input::Stream(StreamState::UserDown(account, StreamFault::Overflow)));
        }
        offered
    }

    /// Takes an input of the lane itself.
    pub fn push(&mut self, input: Input) {
        if let Input::Stream(StreamState::MarketDown(symbol, _)) = input {
            self.inbox.note_down(symbol);
        }
        self.own.push_back(input);
    }

    /// Takes an input of the lane itself that comes before everything else.
    pub fn push_first(&mut self, input: Input) {
        self.own.push_front(input);
    }

    /// Gives out what comes next.
    pub fn pop(&mut self) -> Option<Input> {
        if let Some(input) = self.own.pop_front().or_else(|| self.inbox.pop()) {
            return Some(input);
        }
        while let Some(account) = self.deaf.pop_first() {
            if !self.down.contains(&account) {
                return Some(Input::Stream(StreamState::UserUp(account)));
            }
        }
        None
    }

    pub fn len(&self) -> usize {
        self.own.len() + self.inbox.len()
    }

    /// Inputs conflated and refused so far.
    pub fn counts(&self) -> (u64, u64) {
        self.inbox.counts()
    }
}

/// The account that has to be reconciled when this input is lost.
fn account_of(input: &Input) -> Option<AccountIx> {
    match input {
        Input::Report(report) => Some(match report {
            Report::Order(order) => order.account,
            Report::Conditional(order) => order.account,
            Report::Account(account) => account.account,
            Report::Leverage { account, .. }
            | Report::MultiAssets { account, .. }
            | Report::MarginCall { account, .. } => *account,
        }),
        Input::Answer(answer) => Some(answer.account),
        Input::Outcome(outcome) => Some(outcome.account),
        Input::Stream(StreamState::UserUp(account) | StreamState::UserDown(account, _)) => Some(*account),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qcat_core::command::{CommandId, Outcome, RequestOutcome};
    use qcat_core::id::{SymbolIx, TradeId};
    use qcat_core::market::{MarketEvent, MarketInput, Trade};
    use qcat_core::num::{Price, Quantity, Side};
    use qcat_core::time::Ts;

    fn outcome(id: u64) -> Input {
        let outcome = Outcome::Written;
        Input::Outcome(RequestOutcome { command: CommandId(id), account: AccountIx(3), outcome })
    }

    #[test]
    fn an_account_whose_words_were_refused_is_reconciled_afterwards() {
        let mut queue = Queue::new(16);
        let refused = (0..40).filter(|id| queue.offer(outcome(*id)) == Offered::Full).count();
        assert_eq!(refused, 8);
        let out: Vec<Input> = std::iter::from_fn(|| queue.pop()).collect();
        let down = Input::Stream(StreamState::UserDown(AccountIx(3), StreamFault::Overflow));
        assert_eq!((out.len(), &out[0]), (34, &down));
        assert_eq!(out[33], Input::Stream(StreamState::UserUp(AccountIx(3))));
    }

    #[test]
    fn a_stream_that_is_really_down_is_not_told_to_be_up() {
        let mut queue = Queue::new(16);
        let down = Input::Stream(StreamState::UserDown(AccountIx(3), StreamFault::LinkLost));
        queue.offer(down);
        (0..40).for_each(|id| {
            queue.offer(outcome(id));
        });
        let out: Vec<Input> = std::iter::from_fn(|| queue.pop()).collect();
        assert!(!out.contains(&Input::Stream(StreamState::UserUp(AccountIx(3)))));
    }

    #[test]
    fn a_symbol_that_the_lane_calls_down_is_not_told_to_be_up_after_an_overflow() {
        let trade = |symbol| {
            let (price, quantity) = (Price::from_mantissa(1), Quantity::from_mantissa(1).expect("positive"));
            let trade = Trade { id: TradeId(1), price, quantity, aggressor: Side::Buy, on_book: true };
            let (symbol, event) = (SymbolIx(symbol), MarketEvent::Trade(trade));
            Input::Market(MarketInput {
                symbol,
                exchange_time: Ts::ZERO,
                receive_time: Ts::ZERO,
                derived: false,
                event,
            })
        };
        let mut queue = Queue::new(16);
        (0..16).for_each(|_| assert_eq!(queue.offer(trade(0)), Offered::Accepted));
        assert_eq!([queue.offer(trade(1)), queue.offer(trade(2))], [Offered::Full; 2]);
        queue.push(Input::Stream(StreamState::MarketDown(SymbolIx(1), StreamFault::Overflow)));
        let ups = std::iter::from_fn(|| queue.pop()).filter(|i| matches!(i, Input::Stream(StreamState::MarketUp(_))));
        assert_eq!(ups.collect::<Vec<_>>(), [Input::Stream(StreamState::MarketUp(SymbolIx(2)))]);
    }
}
