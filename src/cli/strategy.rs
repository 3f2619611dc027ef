//! `qcat strategy`: which kinds of strategies there are, what their parameters mean, and a first file for one.

use super::{exit, say};
use qcat_core::config::ParamValue;
use qcat_core::strategy::registry::{BuildError, Registry, StrategySpec};
use qcat_core::strategy::{Needs, ParamSpec};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Widest line of text that is written.
const WIDTH: usize = 100;

/// Show the kinds of strategies and their parameters, and begin a file for one.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List every kind with what it does.
    List,
    /// Show a kind: parameters with type, range and default, and what it is told of the market.
    Show {
        /// The kind, such as `trend_follower`.
        kind: String,
    },
    /// Write a strategy file with every parameter at its default and explained, for `qcat backtest --strategy` and `qcat run`.
    ///
    /// The part under `strategies:` can be copied into the daemon's configuration as it stands.
    New {
        /// The strategy's name, such as `my_trend`.
        name: String,
        /// The kind; `qcat strategy list` shows all.
        #[arg(long)]
        kind: String,
        /// Symbols, with commas between them; the first is the main one.
        #[arg(long, value_name = "SYMBOLS", default_value = "BTCUSDT", value_delimiter = ',')]
        symbols: Vec<String>,
        /// Where to write it; NAME.yaml in this directory if missing. A file that exists is never overwritten.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> u8 {
    let registry = Registry::builtin();
    match &arguments.command {
        Command::List => {
            say(&list(&registry));
            exit::OK
        }
        Command::Show { kind } => match known(&registry, kind).and_then(|spec| Ok((spec, needs(&registry, kind)?))) {
            Ok((spec, needs)) => {
                say(&show(spec, &needs));
                exit::OK
            }
            Err(error) => refused(&error.to_string()),
        },
        Command::New { name, kind, symbols, file } => match known(&registry, kind) {
            Ok(spec) => new(spec, name, symbols, file.as_deref()),
            Err(error) => refused(&error.to_string()),
        },
    }
}

fn refused(problem: &str) -> u8 {
    eprintln!("error: {problem}");
    exit::USAGE
}

fn known<'a>(registry: &'a Registry, kind: &str) -> Result<&'a StrategySpec, BuildError> {
    match registry.get(kind) {
        Some(spec) => Ok(spec),
        // Says which are known.
        None => Err(registry.build(kind, &BTreeMap::new()).err().unwrap_or(BuildError::Params(Vec::new()))),
    }
}

/// What a kind is told of the market with its default parameters.
fn needs(registry: &Registry, kind: &str) -> Result<Needs, BuildError> {
    registry.build(kind, &BTreeMap::new()).map(|strategy| strategy.needs())
}

fn list(registry: &Registry) -> String {
    let mut out = String::new();
    for spec in registry.iter() {
        let _ = writeln!(out, "{}", spec.name);
        wrapped(&mut out, "  ", spec.doc);
        let names: Vec<&str> = spec.params.iter().map(|param| param.name).collect();
        wrapped(&mut out, "  ", &format!("Parameters: {}.", names.join(", ")));
    }
    out.push_str(
        "\n`qcat strategy show KIND` explains the parameters; `qcat strategy new NAME --kind KIND` begins a file.\n",
    );
    out
}

fn show(spec: &StrategySpec, needs: &Needs) -> String {
    let mut out = format!("{}\n", spec.name);
    wrapped(&mut out, "  ", spec.doc);
    out.push_str("\nParameters\n");
    for param in spec.params {
        let default = text(&param.kind.default_value());
        let _ = writeln!(out, "  {:<20}{}; default {default}", param.name, param.kind.allowed());
        wrapped(&mut out, "      ", param.doc);
    }
    out.push_str("\nIt is told, with these defaults\n");
    let told = [
        (needs.quotes, "best bid and ask"),
        (needs.trades, "trades"),
        (needs.depth, "the depth book"),
        (needs.marks, "mark prices"),
    ];
    for (_, what) in told.iter().filter(|(wanted, _)| *wanted) {
        let _ = writeln!(out, "  {what}");
    }
    for candles in &needs.candles {
        let (seconds, count) = (candles.interval.millis() as f64 / 1_000.0, candles.warm_up);
        let _ = writeln!(out, "  closed candles of {seconds} s; it trades once it has seen {count}");
    }
    out
}

fn new(spec: &StrategySpec, name: &str, symbols: &[String], file: Option<&Path>) -> u8 {
    let default = PathBuf::from(format!("{name}.yaml"));
    let file = file.unwrap_or(&default);
    let text = snippet(spec, name, symbols, file);
    // What is written is what the program reads: a name or symbol that it would refuse is told here.
    if let Err(faults) = crate::config::parse_offline(&file.display().to_string(), &text) {
        super::print_faults(&faults);
        return exit::USAGE;
    }
    let written = std::fs::OpenOptions::new().write(true).create_new(true).open(file);
    match written.and_then(|mut to| to.write_all(text.as_bytes()).and_then(|()| to.sync_all())) {
        Ok(()) => {
            let shown = file.display();
            say(&format!("{shown} written. Try it:\n  qcat backtest --strategy {shown} --generate 1\n"));
            exit::OK
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            refused(&format!("{} exists and is not overwritten; --file names another", file.display()))
        }
        Err(error) => {
            eprintln!("error: {}: {error}", file.display());
            exit::UNAVAILABLE
        }
    }
}

fn snippet(spec: &StrategySpec, name: &str, symbols: &[String], file: &Path) -> String {
    let mut out = String::new();
    wrapped(&mut out, "# ", &format!("A strategy of the kind `{}`. {}", spec.name, spec.doc));
    out.push_str("#\n");
    let _ = writeln!(out, "#   qcat backtest --strategy {} --generate 1", file.display());
    wrapped(&mut out, "# ", "Every parameter stands at its default; what is removed has it too.");
    out.push_str("strategies:\n");
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let symbols: Vec<String> = symbols.iter().map(|symbol| quoted(symbol.trim())).collect();
    let _ = writeln!(out, "  - name: {}", quoted(name));
    let _ = writeln!(out, "    kind: {}", spec.name);
    let _ = writeln!(out, "    symbols: [{}]", symbols.join(", "));
    wrapped(
        &mut out,
        "    # ",
        "What a stop does with its orders and position: leave, cancel (its entries) or flatten.",
    );
    out.push_str("    on_stop: cancel\n    params:\n");
    for ParamSpec { name, kind, doc } in spec.params {
        wrapped(&mut out, "      # ", &format!("{doc} Allowed: {}.", kind.allowed()));
        let _ = writeln!(out, "      {name}: {}", text(&kind.default_value()));
    }
    out
}

/// A value as the configuration takes it.
fn text(value: &ParamValue) -> String {
    match value {
        ParamValue::Int(value) => value.to_string(),
        ParamValue::Float(value) => value.to_string(),
        ParamValue::Bool(value) => value.to_string(),
        ParamValue::Text(value) => value.to_string(),
    }
}

/// Lines of at most [`WIDTH`] columns, each behind `indent`.
fn wrapped(out: &mut String, indent: &str, text: &str) {
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > WIDTH {
            out.push('\n');
            column = 0;
        }
        if column == 0 {
            out.push_str(indent);
            column = indent.len();
        } else {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_written_file_is_what_the_defaults_are_and_is_never_overwritten() {
        let (folder, registry) = (tempfile::tempdir().unwrap(), Registry::builtin());
        for spec in registry.iter() {
            let file = folder.path().join(format!("{}.yaml", spec.name));
            let symbols = ["BTCUSDT".to_owned(), "ETHUSDT".to_owned()];
            assert_eq!(new(spec, "mine", &symbols, Some(&file)), exit::OK);
            let config = crate::config::load_offline(&file).unwrap();
            crate::check_strategies(&config, &registry).unwrap();
            let strategy = &config.strategies[0];
            assert_eq!((strategy.name.as_str(), strategy.kind.as_str()), ("mine", spec.name));
            assert_eq!(strategy.symbols, symbols);
            assert_eq!(strategy.params.len(), spec.params.len());
            for param in spec.params {
                let read = param.check(&strategy.params[param.name]);
                assert_eq!(read, Ok(param.kind.default_value()), "{}", param.name);
            }
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(text.lines().all(|line| line.chars().count() <= WIDTH + 1), "{text}");
            assert_eq!(new(spec, "other", &symbols, Some(&file)), exit::USAGE);
            assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        }
    }

    #[test]
    fn names_cannot_add_anything_to_the_file() {
        let (folder, registry) = (tempfile::tempdir().unwrap(), Registry::builtin());
        let file = folder.path().join("x.yaml");
        let spec = registry.get("trend_follower").unwrap();
        let code = new(spec, "a\nrisk:\n  heartbeat: 1ms", &["BTCUSDT".to_owned()], Some(&file));
        if code == exit::OK {
            let config = crate::config::load_offline(&file).unwrap();
            assert_eq!(config.strategies[0].name, "a\nrisk:\n  heartbeat: 1ms");
        }
        assert_eq!(new(spec, "", &["BTCUSDT".to_owned()], Some(&folder.path().join("y.yaml"))), exit::USAGE);
    }

    #[test]
    fn every_kind_and_parameter_is_shown_with_its_range() {
        let registry = Registry::builtin();
        let all = list(&registry);
        for spec in registry.iter() {
            assert!(all.contains(spec.name));
            let shown = show(spec, &needs(&registry, spec.name).unwrap());
            for param in spec.params {
                assert!(shown.contains(param.name) && shown.contains(&param.kind.allowed()), "{}", param.name);
            }
            assert!(shown.contains("best bid and ask") || shown.contains("closed candles"), "{shown}");
        }
        assert!(known(&registry, "trend_folower").unwrap_err().to_string().contains("trend_follower"));
    }
}
