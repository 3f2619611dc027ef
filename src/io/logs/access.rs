//! One JSON line for each answered request.

use super::outlet::{Outlet, Targets};
use serde::Serialize;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

/// Characters of a path or a user agent that are kept.
const TEXT_MAX: usize = 512;

/// A request that was answered. Nothing of it may be a secret: neither query nor headers are logged but the ones named here.
#[derive(Debug, Clone)]
pub struct AccessRecord<'a> {
    /// When the request came.
    pub time: SystemTime,
    /// Its id, as the answer's header tells it.
    pub request_id: &'a str,
    /// Who asked; behind a trusted proxy the client that it names.
    pub remote: Option<IpAddr>,
    /// The user, when one was recognised.
    pub user: Option<&'a str>,
    /// `GET`, `POST` …
    pub method: &'a str,
    /// The path; a query is cut off.
    pub path: &'a str,
    /// The answer's status.
    pub status: u16,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// What it calls itself.
    pub user_agent: Option<&'a str>,
    /// From the request's head to the answer's end.
    pub response_time: Duration,
}

/// The members before the last; their order is the line's.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    level: &'static str,
    request_id: &'a str,
    remote: Option<IpAddr>,
    user: Option<&'a str>,
    method: &'a str,
    path: &'a str,
    status: u16,
    bytes: u64,
    user_agent: Option<&'a str>,
}

/// Writes requests. Clones write to the same file.
#[derive(Debug, Clone)]
pub struct AccessLog {
    requests: Outlet,
    /// The program's log shows one request of each second, so that what people compute from it has something to go by.
    sample: Option<(Outlet, Arc<AtomicI64>)>,
}

impl AccessLog {
    pub(super) fn new(requests: Outlet, program: Outlet, files: bool) -> AccessLog {
        AccessLog { requests, sample: files.then(|| (program, Arc::default())) }
    }

    /// Writes a request. Never waits.
    pub fn write(&self, record: &AccessRecord<'_>) {
        let line = line(record);
        if let Some((program, second)) = &self.sample {
            let now = at(record).as_second();
            if second.fetch_max(now, Ordering::Relaxed) < now {
                program.send(Targets::FIRST, line.clone());
            }
        }
        self.requests.send(Targets::FIRST, line);
    }
}

/// The line, its end included. The last member is the response time in seconds, with a space before it: people take the last
/// word of a line with awk.
fn line(record: &AccessRecord<'_>) -> Vec<u8> {
    let path = record.path.split(['?', '#']).next().unwrap_or_default();
    let members = Line {
        time: format!("{:.6}", at(record)),
        level: "INFO",
        request_id: cut(record.request_id),
        remote: record.remote,
        user: record.user.map(cut),
        method: cut(record.method),
        path: cut(path),
        status: record.status,
        bytes: record.bytes,
        user_agent: record.user_agent.map(cut),
    };
    // Plain members: only a lack of memory could fail.
    let mut line = serde_json::to_vec(&members).unwrap_or_default();
    line.pop();
    line.extend_from_slice(format!(",\"response_time\": {:.6}}}\n", record.response_time.as_secs_f64()).as_bytes());
    line
}

fn at(record: &AccessRecord<'_>) -> jiff::Timestamp {
    // A clock beyond the year 9999 is shown as the epoch.
    jiff::Timestamp::try_from(record.time).unwrap_or_default()
}

fn cut(text: &str) -> &str {
    text.char_indices().nth(TEXT_MAX).map_or(text, |(end, _)| &text[..end])
}
