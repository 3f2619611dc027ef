//! Whether the clocks agree at the start: a time that is written to the journal is never taken back.

use super::StartError;
use qcat_core::binance::decode::rest;
use qcat_core::binance::proto::ClockOffset;
use qcat_core::time::{Span, Ts};
use qcat_io::ask::Asker;
use qcat_io::clock::{Clock, text};
use std::time::Duration;

/// A difference that no drift explains: the start is refused.
const ABSURD: Span = Span::from_secs(60);
const WEIGHT: u32 = 1;
const TIMEOUT: Duration = Duration::from_secs(5);

/// Refuses the start when the machine's clock, or the last time in the journal, is far from the exchange's clock. What is closer is
/// judged by the sessions while the daemon runs, and so is the clock of an exchange that does not tell its time now.
pub(super) async fn agree(asker: &Asker, clock: &dyn Clock, last: Ts) -> Result<(), StartError> {
    let sent = clock.machine();
    let answer = asker.get("/fapi/v1/time", WEIGHT, None, TIMEOUT).await;
    let received = clock.machine();
    // Whoever asks next meets the same and tells it.
    let Some(server) = answer.ok().and_then(|body| rest::time(&body).ok()) else { return Ok(()) };
    judge((sent, received), server, last)
}

/// Asked and answered at `ours`, the exchange said `theirs`; `last` is the journal's last time.
fn judge(ours: (Ts, Ts), theirs: Ts, last: Ts) -> Result<(), StartError> {
    let (sent, received) = ours;
    if ClockOffset::measured(sent, received, theirs).exceeds(ABSURD, received.since(sent)) {
        return Err(StartError::Clock { ours: text(received), theirs: text(theirs) });
    }
    if last.since(theirs) > ABSURD {
        return Err(StartError::Ahead { last: text(last), theirs: text(theirs) });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_a_minute_off_is_refused_with_both_times() {
        let at = |second: i64| Ts::from_millis(1_790_000_000_000 + second * 1_000);
        let said = |took, theirs, last| judge((at(0), at(took)), at(theirs), at(last)).err().map(|e| e.to_string());
        for (took, theirs, last) in [(0, 60, 0), (0, -60, 0), (4, 64, 0), (0, 0, 60), (0, 0, -1_000_000)] {
            assert_eq!(said(took, theirs, last), None, "{took} {theirs} {last}");
        }
        for (took, theirs, last) in [(0, 61, 0), (0, -61, -61), (4, 65, 0), (0, 0, 61)] {
            let said = said(took, theirs, last).expect("refused");
            let (own, what) = if last > 0 { (last, "journal.dir") } else { (took, "this machine's clock") };
            assert!(said.contains(&text(at(own))) && said.contains(&text(at(theirs))) && said.contains(what), "{said}");
        }
    }
}
