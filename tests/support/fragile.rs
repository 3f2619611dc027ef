//! A strategy that breaks again and again.

use qcat_core::strategy::{Needs, Strategy, StrategyContext, StrategyEvent};

/// Trades like `inner` and panics on every tenth quote, saying `why`.
pub struct Fragile {
    inner: Box<dyn Strategy>,
    why: &'static str,
    inputs: u32,
}

impl Fragile {
    /// A strategy that has seen nothing.
    pub fn boxed(inner: Box<dyn Strategy>, why: &'static str) -> Box<dyn Strategy> {
        Box::new(Fragile { inner, why, inputs: 0 })
    }
}

impl Strategy for Fragile {
    fn needs(&self) -> Needs {
        self.inner.needs()
    }

    fn on(&mut self, event: &StrategyEvent<'_>, ctx: &mut StrategyContext<'_>) {
        self.inner.on(event, ctx);
        if let StrategyEvent::Quote { .. } = event {
            self.inputs += 1;
            assert!(!self.inputs.is_multiple_of(10), "{}", self.why);
        }
    }
}
