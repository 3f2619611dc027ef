//! `qcat journal` and `qcat replay` as an operator runs them, on a journal in a real directory.

#[path = "support/journaled.rs"]
mod journaled;

use journaled::*;
use qcat_io::disk::{Disk, SimDisk};
use qcat_io::journal::{Durability, MarketData};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A journal of a built-in strategy.
fn journal(market_data: MarketData) -> TempDir {
    let disk = SimDisk::new(1);
    let plan = Plan { kind: "trend_follower", market_data, ..Plan::new(Durability::Group) };
    let end = live(&disk, Outside::new(5, 4), &plan, None);
    assert_eq!(end.died, None);
    let to = tempfile::tempdir().expect("a directory");
    for name in disk.list(dir()).expect("listed") {
        let bytes = disk.bytes(&dir().join(&name)).expect("a file");
        std::fs::write(to.path().join(name), bytes).expect("written");
    }
    to
}

fn qcat(arguments: &[&str], dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_qcat")).args(arguments).arg(dir).output().expect("runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(dir).expect("listed").map(|f| f.expect("an entry").path());
    let mut segments: Vec<PathBuf> =
        files.filter(|f| f.file_name().is_some_and(|n| n.to_string_lossy().starts_with("journal-"))).collect();
    segments.sort();
    segments
}

#[test]
fn verify_tells_a_torn_tail_from_damage() {
    let dir = journal(MarketData::All);
    let whole = qcat(&["journal", "verify"], dir.path());
    assert_eq!(whole.status.code(), Some(0), "{}", text(&whole.stdout));
    let segments = segments(dir.path());
    // An unfinished record at the end: told, and no error.
    let last = segments.last().expect("segments");
    let mut bytes = std::fs::read(last).expect("read");
    let end = bytes.iter().rposition(|b| *b != 0).expect("records");
    bytes[end + 20..end + 30].fill(0xaa);
    std::fs::write(last, &bytes).expect("written");
    let torn = qcat(&["journal", "verify"], dir.path());
    assert_eq!(torn.status.code(), Some(0), "{}", text(&torn.stdout));
    assert!(text(&torn.stdout).contains("unfinished end at byte"), "{}", text(&torn.stdout));
    // A flipped bit in the middle: which file, where, after which sequence.
    bytes[end / 2] ^= 1;
    std::fs::write(last, &bytes).expect("written");
    let damaged = qcat(&["journal", "verify"], dir.path());
    assert_eq!(damaged.status.code(), Some(65));
    let told = text(&damaged.stdout);
    for part in [&*last.display().to_string(), "byte", "after sequence"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    for command in ["replay", "journal tail -n 1000000"] {
        let arguments: Vec<&str> = command.split(' ').collect();
        let refused = qcat(&arguments, dir.path());
        assert_eq!(refused.status.code(), Some(65), "{command}");
        assert!(text(&refused.stderr).contains("is damaged at byte"), "{command}: {}", text(&refused.stderr));
    }
}

#[test]
fn tail_prints_the_last_records_as_json() {
    let dir = journal(MarketData::All);
    let out = qcat(&["journal", "tail", "-n", "3"], dir.path());
    assert_eq!(out.status.code(), Some(0));
    let records: Vec<u64> = text(&out.stdout)
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).expect("JSON")["record"].as_u64().expect("a number")
        })
        .collect();
    assert_eq!(records.len(), 3);
    assert!(records.windows(2).all(|pair| pair[1] == pair[0] + 1), "{records:?}");
}

#[test]
fn replay_tells_the_same_decisions_another_strategy_and_a_journal_without_market_data() {
    let dir = journal(MarketData::All);
    let same = qcat(&["replay"], dir.path());
    let told = text(&same.stdout);
    assert_eq!(same.status.code(), Some(0), "{told}{}", text(&same.stderr));
    for part in ["inputs ", "decisions ", "state_hash ", "same decisions"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let file = dir.path().join("other.yaml");
    std::fs::write(&file, "strategies:\n  - name: two\n    kind: trend_follower\n    symbols: [BTCUSDT]\n")
        .expect("written");
    let unknown = qcat(&["replay", "--strategy", &file.display().to_string()], dir.path());
    assert_eq!(unknown.status.code(), Some(78));
    assert!(text(&unknown.stderr).contains("no strategy `two`; it has: one"), "{}", text(&unknown.stderr));

    let dir = journal(MarketData::None);
    let refused = qcat(&["replay"], dir.path());
    assert_eq!(refused.status.code(), Some(65));
    assert!(text(&refused.stderr).contains("market_data: none"), "{}", text(&refused.stderr));
    let empty = tempfile::tempdir().expect("a directory");
    for command in [&["replay"][..], &["journal", "verify"]] {
        assert_eq!(qcat(command, empty.path()).status.code(), Some(65), "{command:?}");
    }
}
