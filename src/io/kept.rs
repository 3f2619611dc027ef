//! Keeps messages of the exchange that this version does not know or cannot read, for a person to look at: a file of JSON lines in
//! the data directory, bounded in every way. What is not kept any more is still counted by whoever calls.
//!
//! Written on the calling thread: it is rare by its bounds, and a line into the page cache.
//! Tests: the bounds, bytes that are no text.

use qcat_core::time::Ts;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The file in the data directory.
pub const FILE: &str = "unread-frames.jsonl";
/// Where it goes when it is full; what was there is gone.
const OLDER: &str = "unread-frames.1.jsonl";
/// Messages of one kind that are kept in the life of a process.
const PER_KIND: u32 = 64;
/// Kinds that are told apart; the rest counts as one.
const KINDS: usize = 256;
/// Bytes of one message.
const BYTES: usize = 16 << 10;
/// Bytes of one file.
const FILE_BYTES: u64 = 4 << 20;

/// Keeps messages.
#[derive(Debug)]
pub struct Kept {
    dir: PathBuf,
    kinds: BTreeMap<(&'static str, String), u32>,
}

impl Kept {
    /// Keeps them in this directory.
    pub fn new(dir: &Path) -> Kept {
        Kept { dir: dir.to_owned(), kinds: BTreeMap::new() }
    }

    /// Keeps a message unless there are enough of its kind. `code` says why it is kept.
    pub fn keep(&mut self, at: Ts, code: &'static str, frame: &[u8]) -> io::Result<()> {
        let mut key = (code, kind(frame));
        if !self.kinds.contains_key(&key) && self.kinds.len() >= KINDS {
            key.1 = String::new();
        }
        let count = self.kinds.entry(key).or_default();
        if *count >= PER_KIND {
            return Ok(());
        }
        *count += 1;
        let text = String::from_utf8_lossy(&frame[..frame.len().min(BYTES)]);
        let line = json!({ "at": at.nanos(), "code": code, "bytes": frame.len(), "frame": text }).to_string() + "\n";
        let path = self.dir.join(FILE);
        if fs::metadata(&path).is_ok_and(|file| file.len() + line.len() as u64 > FILE_BYTES) {
            fs::rename(&path, self.dir.join(OLDER))?;
        }
        OpenOptions::new().append(true).create(true).open(&path)?.write_all(line.as_bytes())
    }
}

/// What a message says that it is.
fn kind(frame: &[u8]) -> String {
    let begin = &frame[..frame.len().min(256)];
    let after = begin.windows(5).position(|five| five == b"\"e\":\"").map(|at| &begin[at + 5..]);
    let name = after.and_then(|rest| rest.split(|byte| *byte == b'"').next()).unwrap_or_default();
    String::from_utf8_lossy(&name[..name.len().min(64)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(dir: &Path, file: &str) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(dir.join(file)).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    #[test]
    fn a_flood_of_one_kind_neither_fills_the_disk_nor_hides_another_kind() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut kept = Kept::new(dir.path());
        let flood = format!("{{\"e\":\"flood\",\"x\":\"{}\"}}", "y".repeat(40_000));
        for _ in 0..10_000 {
            kept.keep(Ts::from_millis(5), "frame_unknown", flood.as_bytes()).expect("kept");
        }
        kept.keep(Ts::from_millis(6), "frame_unknown", br#"{"e":"quiet"}"#).expect("kept");
        kept.keep(Ts::from_millis(7), "frame_malformed", b"\xff\xfe{").expect("kept");
        let lines = lines(dir.path(), FILE);
        assert_eq!(lines.len(), PER_KIND as usize + 2);
        assert_eq!(lines[0]["bytes"], flood.len());
        assert_eq!(lines[64]["frame"], r#"{"e":"quiet"}"#);
        assert_eq!((&lines[65]["code"], &lines[65]["at"]), (&json!("frame_malformed"), &json!(7_000_000)));
    }

    #[test]
    fn many_kinds_are_bounded_too() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut kept = Kept::new(dir.path());
        let long = "z".repeat(BYTES);
        for at in 0..2_000 {
            let frame = format!("{{\"e\":\"kind{at}\",\"x\":\"{long}\"}}");
            kept.keep(Ts::from_millis(at), "frame_unknown", frame.as_bytes()).expect("kept");
        }
        assert!(kept.kinds.len() <= KINDS + 1);
        let size = |file: &str| fs::metadata(dir.path().join(file)).map_or(0, |file| file.len());
        assert!(size(FILE) > 0 && size(FILE) <= FILE_BYTES && size(OLDER) <= FILE_BYTES);
        let all = lines(dir.path(), OLDER).len() + lines(dir.path(), FILE).len();
        assert_eq!(all, KINDS + PER_KIND as usize);
    }
}
