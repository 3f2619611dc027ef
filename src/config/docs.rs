//! The documentation of the keys and the sample file, written from the table.

use super::model::COMPONENT_NAMES;
use super::schema::{self, Kind, Row, SECTIONS};
use super::value::allowed;
use super::values::variable;
use super::yaml::{self, Outline};

const INTRODUCTION: &str = include_str!("docs/introduction.md");

/// docs/configuration.md.
pub fn markdown() -> String {
    let mut out = INTRODUCTION.to_owned();
    for (section, doc) in SECTIONS {
        out.push_str(&format!(
            "\n## {section}\n\n{doc}\n\n| key | allowed | default | variable | at run time | meaning |\n"
        ));
        out.push_str("|---|---|---|---|---|---|\n");
        for row in rows_of(section) {
            let cell = |text: &str| text.replace('|', "\\|");
            let default = match row.default {
                None => "required".to_owned(),
                Some("") => "unset".to_owned(),
                Some(text) => format!("`{text}`"),
            };
            let variable = match row.path.strip_suffix("[].name") {
                Some(_) => String::new(),
                None => format!("`{}`", variable(&row.path.replace("[]", ".name")).replace("_NAME_", "_‹NAME›_")),
            };
            let reload = if row.reloadable { "yes" } else { "" };
            let secret = if row.is_secret() { " Secret." } else { "" };
            let (path, allowed, doc) = (row.path, cell(&allowed(row.kind)), cell(row.doc));
            out.push_str(&format!("| `{path}` | {allowed} | {default} | {variable} | {reload} | {doc}{secret} |\n"));
        }
    }
    out
}

/// configs/config.yaml: every key with its meaning and its default.
pub fn sample() -> String {
    let mut outline = Outline::default();
    outline.line("# QCAT: every key, with its default. What is commented out is unset. docs/configuration.md says how values are");
    outline.line("# overridden and secrets encrypted. Check a change with: qcat --config FILE --validate");
    for (section, doc) in SECTIONS {
        outline.title(doc);
        for row in rows_of(section) {
            let path = row.path.replace("[]", "[0]");
            let reload = if row.reloadable { "; can be changed at run time" } else { "" };
            let before = wrapped(&format!("{} Allowed: {}{reload}.", row.doc, allowed(row.kind)));
            outline.key(&path, &before, shown(row).as_deref(), "");
        }
    }
    outline.finish()
}

fn rows_of(section: &str) -> impl Iterator<Item = &'static Row> {
    schema::rows().filter(move |row| row.path.split(['.', '[']).next() == Some(section))
}

/// What the sample holds where the table has no default.
fn shown(row: &Row) -> Option<String> {
    match (row.path, row.default) {
        ("accounts[].name", _) => Some("main".to_owned()),
        ("accounts[].api_key" | "accounts[].api_secret", _) => Some("replace-me".to_owned()),
        ("strategies[].name", _) => Some("trend".to_owned()),
        ("strategies[].kind", _) => Some("trend_follower".to_owned()),
        ("strategies[].symbols", _) => Some("[BTCUSDT]".to_owned()),
        ("strategies[].account", _) => Some("main".to_owned()),
        ("app.version", _) => Some("1.0.0".to_owned()),
        (_, Some("")) if matches!(row.kind, Kind::Networks | Kind::Origins) => Some("[]".to_owned()),
        (_, Some("")) if matches!(row.kind, Kind::Params | Kind::Durations(..)) => Some("{}".to_owned()),
        (_, Some("")) if matches!(row.kind, Kind::Order(_)) => {
            Some(COMPONENT_NAMES.iter().fold(String::new(), |list, name| format!("{list}\n    - {name}")))
        }
        (_, None | Some("")) => None,
        (_, Some(text)) => Some(yaml::scalar(text)),
    }
}

/// Lines of a comment, not too long.
fn wrapped(text: &str) -> Vec<String> {
    const WIDTH: usize = 110;
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
