//! `risk_engine`: limits, budgets, halts, the kill switch. Its node runs in the engine; when it is not stepped its budgets run out
//! and the gates refuse new risk. The kill switch is the halt latch: it works even when this actor does not.

use crate::runtime::component::Component;
use crate::runtime::lane::Lane;
use crate::runtime::supervise::{Base, Cause, Part};
use qcat_core::event::{HaltReason, Input, OperatorCommand, Scope};

/// What a person may ask of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RiskWord {
    /// Halt everything, at once.
    Kill,
    /// Lift a halt, and the latch with [`Scope::All`].
    Resume(Scope),
}

/// The component.
#[derive(Debug, Default)]
pub struct RiskEngine;

impl Part for RiskEngine {
    const COMPONENT: Component = Component::RiskEngine;
    type Ground = Lane;
    type Word = RiskWord;

    fn children(&self) -> Vec<String> {
        vec!["risk".to_owned()]
    }

    fn start(&mut self, _child: usize, _base: &Base<Self>) {}

    fn restart(&mut self, _child: usize, cause: &Cause, base: &Base<Self>) -> Result<(), String> {
        let Cause::Node(fault) = cause else { return Ok(()) };
        base.lane().rebuild(fault.station).map_err(|error| error.to_string())
    }

    fn give_up(&mut self, _child: usize, _cause: &Cause, _base: &Base<Self>) {}

    fn scope(&self, _child: usize) -> Scope {
        Scope::All
    }

    fn word(&mut self, word: RiskWord, base: &Base<Self>) {
        match word {
            RiskWord::Kill => base.lane().latch().set(HaltReason::KillSwitch),
            RiskWord::Resume(scope) => {
                if scope == Scope::All {
                    base.lane().latch().clear();
                }
                base.lane().offer(Input::Command(OperatorCommand::Resume(scope)));
            }
        }
    }

    fn may_restart(&self, _child: usize) -> Result<(), &'static str> {
        Err("its node is rebuilt after a fault, and only then")
    }

    fn begin_stop(&mut self, _base: &Base<Self>) {}

    fn left(&self, _base: &Base<Self>) -> Option<String> {
        None
    }

    fn end(&mut self, _base: &Base<Self>) {}

    fn facts(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}
