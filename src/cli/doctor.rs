//! `qcat doctor`: looks at everything that a start needs and says for each what is wrong and how to mend it.
//!
//! It changes nothing: at the exchange it only asks, and what it writes to see whether it can is removed at once.

mod local;
mod remote;

use super::{exit, print_faults, say};
use crate::config::{self, Config};
use qcat_core::strategy::registry::Registry;
use std::path::PathBuf;

/// Check the configuration, directories, ports, the clock, the exchange, API keys and stores, and say how to mend what is wrong.
///
/// Exit codes: 0 nothing that keeps the daemon from trading, 69 something does, 78 the configuration is wrong.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", env = "QCAT_CONFIG", default_value = "/etc/qcat/config.yaml")]
    config: PathBuf,
    /// Language of the findings; that of the environment (LC_ALL, LC_MESSAGES, LANG) if missing.
    #[arg(long)]
    lang: Option<Language>,
}

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Language {
    /// English.
    En,
    /// Chinese.
    Zh,
}

/// A text in each language.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    en: String,
    zh: String,
}

fn said(en: impl Into<String>, zh: impl Into<String>) -> Said {
    Said { en: en.into(), zh: zh.into() }
}

impl Said {
    fn text(&self, language: Language) -> &str {
        match language {
            Language::En => &self.en,
            Language::Zh => &self.zh,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Ok,
    Warn,
    Fail,
}

/// What was found of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    subject: String,
    level: Level,
    found: Said,
    /// How to mend it.
    mend: Option<Said>,
}

impl Finding {
    fn ok(subject: impl Into<String>, found: Said) -> Finding {
        Finding { subject: subject.into(), level: Level::Ok, found, mend: None }
    }

    fn warn(subject: impl Into<String>, found: Said, mend: Said) -> Finding {
        Finding { subject: subject.into(), level: Level::Warn, found, mend: Some(mend) }
    }

    fn fail(subject: impl Into<String>, found: Said, mend: Said) -> Finding {
        Finding { subject: subject.into(), level: Level::Fail, found, mend: Some(mend) }
    }

    fn print(&self, language: Language) {
        let level = match (self.level, language) {
            (Level::Ok, Language::En) => "ok  ",
            (Level::Warn, Language::En) => "warn",
            (Level::Fail, Language::En) => "FAIL",
            (Level::Ok, Language::Zh) => "正常",
            (Level::Warn, Language::Zh) => "警告",
            (Level::Fail, Language::Zh) => "错误",
        };
        say(&format!("{level}  {:<26}  {}\n", self.subject, self.found.text(language)));
        if let Some(mend) = &self.mend {
            say(&format!("          -> {}\n", mend.text(language)));
        }
    }
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> u8 {
    let language = arguments.lang.unwrap_or_else(environment_language);
    let registry = Registry::builtin();
    let loaded = config::load(&arguments.config).and_then(|config| {
        config.check_credentials()?;
        crate::check_strategies(&config, &registry)?;
        Ok(config)
    });
    let config = match loaded {
        Ok(config) => config,
        Err(faults) => {
            print_faults(&faults);
            let count = faults.len();
            let found = said(format!("{count} faults, named above"), format!("{count} 处错误，见上"));
            let mend = said(
                "mend them first: nothing else is checked before; docs/configuration.md names every key",
                "请先修正，之后才检查其他项目；所有配置项见 docs/configuration.md",
            );
            Finding::fail("config", found, mend).print(language);
            return exit::CONFIG;
        }
    };
    let mut worst = Level::Ok;
    let mut print = |finding: Finding| {
        worst = worst.max(finding.level);
        finding.print(language);
    };
    local::configuration(&arguments.config, &config).into_iter().for_each(&mut print);
    local::directories(&config).into_iter().for_each(&mut print);
    local::ports(&config).into_iter().for_each(&mut print);
    super::on_local_runtime(async {
        remote::exchange(&config, &mut print).await;
        remote::stores(&config, &mut print).await;
        0
    });
    verdict(worst, language)
}

fn verdict(worst: Level, language: Language) -> u8 {
    let (code, text) = match worst {
        Level::Ok => (exit::OK, said("everything is as it should be", "一切正常")),
        Level::Warn => (exit::OK, said("it can start; look at the warnings", "可以启动，请留意警告")),
        Level::Fail => (exit::UNAVAILABLE, said("it cannot start or trade as it stands", "目前无法启动或交易")),
    };
    say(&format!("\n{}\n", text.text(language)));
    code
}

/// The language that the environment asks for, by POSIX's order.
fn environment_language() -> Language {
    let set =
        ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().filter_map(std::env::var_os).find(|value| !value.is_empty());
    language_of(&set.unwrap_or_default().to_string_lossy())
}

fn language_of(locale: &str) -> Language {
    if locale.to_ascii_lowercase().starts_with("zh") { Language::Zh } else { Language::En }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_chooses_the_language() {
        for (locale, language) in [
            ("zh_CN.UTF-8", Language::Zh),
            ("ZH", Language::Zh),
            ("en_US.UTF-8", Language::En),
            ("", Language::En),
            ("C", Language::En),
        ] {
            assert_eq!(language_of(locale), language, "{locale}");
        }
    }

    #[test]
    fn only_what_keeps_it_from_trading_fails() {
        let codes = [Level::Ok, Level::Warn, Level::Fail].map(|worst| verdict(worst, Language::En));
        assert_eq!(codes, [exit::OK, exit::OK, exit::UNAVAILABLE]);
    }
}
