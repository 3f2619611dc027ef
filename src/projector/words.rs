//! The words of decisions as they stand in rows. They are part of the schema: none is ever renamed.

use qcat_core::event::{HaltReason, PauseReason, RunnerState, StopReason, StreamFault};

/// A command was taken.
pub const ACCEPTED: &str = "accepted";

/// Why something is halted.
pub const fn halt(reason: HaltReason) -> &'static str {
    match reason {
        HaltReason::KillSwitch => "kill_switch",
        HaltReason::DailyLoss => "daily_loss",
        HaltReason::Fault => "fault",
        HaltReason::ImpossibleReport => "impossible_report",
        HaltReason::Settings => "settings",
        HaltReason::ExposureMismatch => "exposure_mismatch",
        HaltReason::Stopping => "stopping",
        HaltReason::Instrument => "instrument",
        HaltReason::ControlLost => "control_lost",
        HaltReason::Runaway => "runaway",
    }
}

/// Where a strategy is, and why.
pub const fn runner(state: RunnerState) -> (&'static str, Option<&'static str>) {
    match state {
        RunnerState::WarmingUp => ("warming_up", None),
        RunnerState::Running => ("running", None),
        RunnerState::Faulted => ("faulted", None),
        RunnerState::Paused(PauseReason::Stream(fault)) => ("paused", Some(stream(fault))),
        RunnerState::Paused(PauseReason::SlowStep) => ("paused", Some("slow_step")),
        RunnerState::Paused(PauseReason::Halt(reason)) => ("paused", Some(halt(reason))),
        RunnerState::Paused(PauseReason::Untrusted) => ("paused", Some("untrusted")),
        RunnerState::Stopped(StopReason::Asked) => ("stopped", Some("asked")),
        RunnerState::Stopped(StopReason::Faults) => ("stopped", Some("faults")),
        RunnerState::Stopped(StopReason::Invalid) => ("stopped", Some("invalid")),
        RunnerState::Stopped(StopReason::Stopping) => ("stopped", Some("stopping")),
    }
}

const fn stream(fault: StreamFault) -> &'static str {
    match fault {
        StreamFault::LinkLost => "link_lost",
        StreamFault::Silent => "silent",
        StreamFault::Gap => "gap",
        StreamFault::Overflow => "overflow",
        StreamFault::Ended => "ended",
    }
}
