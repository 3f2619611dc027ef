//! A session and its host, without sockets: calls the session with the host's time and instruments, and passes on what it wants.
//!
//! [`crate::shell::Shell`] adds the sockets. A panic of the session is told to the [`Host`], once; the session is not called any
//! more, because its state may be half changed.

use crate::shell::panic_text;
use crate::sign::Signer;
use qcat_core::binance::proto::{Action, Auth, Incoming};
use qcat_core::binance::session::{Session, World};
use qcat_core::event::Input;
use qcat_core::instrument::Universe;
use qcat_core::time::Ts;
use std::any::Any;
use std::cell::{Cell, Ref, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

/// What a session needs of its surroundings.
pub trait Host {
    /// The wall time; never decreases.
    fn now(&self) -> Ts;
    /// Instruments as the engine knows them.
    fn universe(&self) -> Rc<Universe>;
    /// Takes an input for the lane.
    fn offer(&self, input: Input);
    /// The session is about to take this. Runs inside the same catch as the session's own call, so a panic in it is the session's:
    /// this is how tests make a session fail.
    fn before(&self, _incoming: &Incoming<'_>) {}
    /// Whether the session's timer stands still from here on: this is how tests make a session stall.
    fn stands_still(&self) -> bool {
        false
    }
    /// Takes something that an operator should read.
    fn note(&self, code: &'static str, text: &str);
    /// The exchange refused by a rule that we do not know so: its definitions are to be asked for anew.
    fn learn_definitions(&self);
    /// Takes a message that could not be used, for a person to look at.
    fn keep(&self, code: &'static str, frame: &[u8]);
    /// The session or one of its tasks panicked: nothing more comes of it. Whoever owns it drops it and decides on another one.
    /// Called from within the session's own calls, so it must only pass the word on.
    fn failed(&self, reason: &str);
}

/// A session where it sits.
pub struct Seat<S> {
    session: RefCell<S>,
    host: Rc<dyn Host>,
    /// Kept between calls, so that a frame needs no new one.
    actions: RefCell<Vec<Action>>,
    /// Failed or ended: the session is not called any more.
    over: Cell<bool>,
}

impl<S> std::fmt::Debug for Seat<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seat")
    }
}

impl<S: Session> Seat<S> {
    /// A session that was not called yet.
    pub fn new(session: S, host: Rc<dyn Host>) -> Seat<S> {
        Seat { session: RefCell::new(session), host, actions: RefCell::default(), over: Cell::new(false) }
    }

    /// The session.
    pub fn session(&self) -> Ref<'_, S> {
        self.session.borrow()
    }

    /// The host.
    pub fn host(&self) -> &dyn Host {
        &*self.host
    }

    /// Calls the session. What it offers and notes goes to the host, the rest to `act`, in order. True when its next timeout
    /// moved.
    pub fn call(&self, call: impl FnOnce(&mut S, &World<'_>, &mut Vec<Action>), mut act: impl FnMut(Action)) -> bool {
        if self.over.get() {
            return false;
        }
        let universe = self.host.universe();
        let world = World { now: self.host.now(), universe: &universe };
        // Taken, not borrowed: what is done with an action may call the session again.
        let mut actions = self.actions.take();
        let before = self.session.borrow().next_timeout();
        let step = AssertUnwindSafe(|| call(&mut self.session.borrow_mut(), &world, &mut actions));
        if let Err(panic) = catch_unwind(step) {
            self.fail("session", &*panic);
            return false;
        }
        let moved = self.session.borrow().next_timeout() != before;
        for action in actions.drain(..) {
            match action {
                Action::Offer(input) => self.host.offer(input),
                Action::Note(note) => {
                    self.host.note(note.code, &note.text);
                    if !note.frame.is_empty() {
                        self.host.keep(note.code, &note.frame);
                    }
                }
                Action::LearnDefinitions => self.host.learn_definitions(),
                other => act(other),
            }
        }
        self.actions.replace(actions);
        moved
    }

    /// Tells the session what came, in the same way.
    pub fn handle(&self, incoming: Incoming<'_>, act: impl FnMut(Action)) -> bool {
        let call = |session: &mut S, world: &World<'_>, out: &mut Vec<Action>| {
            self.host.before(&incoming);
            session.handle(incoming, world, out);
        };
        self.call(call, act)
    }

    /// Whether the session is not called any more: it panicked, or was ended.
    pub fn is_over(&self) -> bool {
        self.over.get()
    }

    /// The session is not called any more.
    pub fn end(&self) {
        self.over.set(true);
    }

    /// Something of the session panicked: the host is told once.
    pub fn fail(&self, what: &str, panic: &(dyn Any + Send)) {
        if !self.over.replace(true) {
            self.host.failed(&format!("{what} panicked: {}", panic_text(panic)));
        }
    }
}

/// What stands behind the method in the request line: path and query, signed where it has to be. `None`: it has to prove
/// something, and there is no signer. Made in place of the query.
pub fn target(path: &str, mut query: String, auth: Auth, signer: Option<&Signer>) -> Option<String> {
    if !query.is_empty() || auth == Auth::Signed {
        query.insert(0, '?');
    }
    query.insert_str(0, path);
    match (auth, signer) {
        (Auth::None, _) | (Auth::Key, Some(_)) => {}
        (Auth::Signed, Some(signer)) => signer.sign_from(&mut query, path.len() + 1),
        (_, None) => return None,
    }
    Some(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(query: &str, auth: Auth, signer: Option<&Signer>) -> Option<String> {
        target("/fapi/v1/order", query.to_owned(), auth, signer)
    }

    #[test]
    fn a_target_is_path_and_query_and_the_signature_of_the_query_alone() {
        let signer = Signer::new(&"secret".to_owned().into());
        let plain = |query, auth| made(query, auth, Some(&signer)).unwrap();
        assert_eq!(plain("", Auth::None), "/fapi/v1/order");
        assert_eq!(plain("a=b", Auth::Key), "/fapi/v1/order?a=b");
        for query in ["a=b&c=d", ""] {
            let signed = plain(query, Auth::Signed);
            let (path, signed) = signed.split_once('?').unwrap();
            assert_eq!(path, "/fapi/v1/order");
            assert!(signed.starts_with(query) && signer.verify(signed), "{signed}");
        }
        assert_eq!(made("a=b", Auth::None, None).as_deref(), Some("/fapi/v1/order?a=b"));
        assert_eq!(made("a=b", Auth::Signed, None), None);
        assert_eq!(made("a=b", Auth::Key, None), None);
    }
}
