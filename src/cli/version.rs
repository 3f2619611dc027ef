//! `qcat version`: what this program is.

use super::{exit, say};

/// What is not known at build time is absent.
const FACTS: [(&str, Option<&str>); 4] = [
    ("version", Some(env!("CARGO_PKG_VERSION"))),
    ("commit", option_env!("QCAT_COMMIT")),
    ("compiler", option_env!("QCAT_RUSTC")),
    ("target", option_env!("QCAT_TARGET")),
];

/// Print the program's version, what it was built from, and the versions of what it writes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// As one JSON object, for programs.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> u8 {
    let written = [
        ("journal_format", u32::from(qcat_io::wire::VERSION)),
        ("snapshot_layout", qcat_core::engine::snapshot::LAYOUT),
    ];
    if arguments.json {
        let mut facts: serde_json::Map<String, serde_json::Value> =
            FACTS.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        facts.extend(written.map(|(name, version)| (name.to_owned(), version.into())));
        say(&format!("{}\n", serde_json::Value::from(facts)));
        return exit::OK;
    }
    for (name, value) in FACTS {
        say(&format!("{name:<17}{}\n", value.unwrap_or("unknown")));
    }
    for (name, version) in written {
        say(&format!("{name:<17}{version}\n"));
    }
    exit::OK
}
