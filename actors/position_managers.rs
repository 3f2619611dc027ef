//! `position_managers`: the ledgers. One part per account; it has no loop of its own, its node runs in the engine. After a
//! fault the deciding nodes are rebuilt by the recovery fold, and the account is not trusted until it is reconciled.

use crate::runtime::component::Component;
use crate::runtime::lane::Lane;
use crate::runtime::supervise::{Base, Cause, Part};
use qcat_core::event::Scope;
use qcat_core::id::AccountIx;

/// The component.
#[derive(Debug)]
pub struct PositionManagers {
    accounts: Vec<String>,
}

impl PositionManagers {
    /// Of the accounts with these names.
    pub fn new(accounts: Vec<String>) -> PositionManagers {
        PositionManagers { accounts }
    }
}

impl Part for PositionManagers {
    const COMPONENT: Component = Component::PositionManagers;
    type Ground = Lane;
    type Word = ();

    fn children(&self) -> Vec<String> {
        self.accounts.clone()
    }

    fn start(&mut self, _child: usize, _base: &Base<Self>) {}

    fn restart(&mut self, _child: usize, cause: &Cause, base: &Base<Self>) -> Result<(), String> {
        let Cause::Node(fault) = cause else { return Ok(()) };
        base.lane().rebuild(fault.station).map_err(|error| error.to_string())
    }

    fn give_up(&mut self, _child: usize, _cause: &Cause, _base: &Base<Self>) {}

    fn scope(&self, child: usize) -> Scope {
        Scope::Account(AccountIx(child as u16))
    }

    fn word(&mut self, (): (), _base: &Base<Self>) {}

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
