//! The topic `system`: how far the daemon is, its components, its stop. Looked at now and then, told where it differs.

use super::clients::Clients;
use super::markets::{clock_millis, wall};
use super::message::encode;
use super::topic::Topic;
use super::update::Message;
use crate::api::state::System as Running;
use qcat_actors::runtime::component::ComponentView;
use qcat_io::clock;
use serde::Serialize;
use serde_json::Value;

/// A component, without what changes all the time.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Seen {
    name: &'static str,
    state: Value,
    restarts: u64,
    last_fault: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize)]
struct Data {
    phase: String,
    reason: Option<String>,
    /// Null: the trading thread has not answered yet.
    components: Option<Vec<Seen>>,
    /// Null: it has not begun.
    stop: Option<Value>,
}

/// What was seen last.
#[derive(Default)]
pub struct SystemTopic {
    seq: u64,
    last: Data,
}

impl SystemTopic {
    /// A client wants it.
    pub fn want(&mut self, clients: &mut Clients, running: &dyn Running, client: u64) {
        if self.seq == 0 {
            // Above every number of an earlier run.
            self.seq = clock_millis();
        }
        self.look(clients, running, None);
        clients.snapshot(client, self.frame("snapshot", &self.last));
        clients.begin(client, &Topic::System, self.seq);
    }

    /// Tells what differs; `components`: what was just seen of them.
    pub fn look(&mut self, clients: &mut Clients, running: &dyn Running, components: Option<&[ComponentView]>) {
        let (phase, reason) = running.phase();
        let stop = running.stop_report().and_then(|report| serde_json::to_value(report).ok());
        let seen = components.map(|all| all.iter().map(seen).collect::<Vec<_>>());
        let next = Data { phase, reason, components: seen.or_else(|| self.last.components.clone()), stop };
        if next == self.last {
            return;
        }
        self.seq += 1;
        let known = self.last.components.as_deref().unwrap_or_default();
        let differs = |component: &&Seen| !known.contains(component);
        let changed = next.components.as_ref().map(|all| all.iter().filter(differs).cloned().collect());
        let update = Data { components: changed, ..next.clone() };
        self.last = next;
        clients.tell(&Topic::System, self.seq, &self.frame("update", &update));
    }

    fn frame(&self, kind: &'static str, data: &Data) -> bytes::Bytes {
        let at = clock::text(wall());
        encode(&Message { topic: &Topic::System, engine: None, seq: self.seq, at: &at, kind, gap: None, data })
    }
}

fn seen(view: &ComponentView) -> Seen {
    Seen {
        name: view.name.name(),
        state: serde_json::to_value(view.state).unwrap_or_default(),
        restarts: view.restarts,
        last_fault: view.last_fault.clone(),
    }
}
