//! Values written as YAML, keys in their sections: for `--print-config` and the sample file.

use super::value::{Leaf, span_text};

/// A value on one line. Secrets are masked.
pub(super) fn value(leaf: &Leaf) -> String {
    match leaf {
        Leaf::Text(text) => scalar(text),
        Leaf::Secret(_) => "\"***\"".to_owned(),
        Leaf::Bool(flag) => flag.to_string(),
        Leaf::Int(number) => number.to_string(),
        Leaf::Duration(span) => span_text(span.millis()),
        Leaf::Texts(texts) => format!("[{}]", texts.iter().map(|text| scalar(text)).collect::<Vec<_>>().join(", ")),
        Leaf::Durations(spans) => {
            let pair = |(name, span): &(String, qcat_core::time::Span)| format!("{name}: {}", span_text(span.millis()));
            flow(spans.iter().map(pair).collect())
        }
        Leaf::Params(params) => {
            let text = |text: &str, quoted: bool| if quoted { double_quoted(text) } else { scalar(text) };
            let pair =
                |(name, value, quoted): &(String, String, bool)| format!("{}: {}", scalar(name), text(value, *quoted));
            flow(params.iter().map(pair).collect())
        }
    }
}

fn flow(pairs: Vec<String>) -> String {
    if pairs.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", pairs.join(", ")) }
}

/// Text, in quotes if YAML would read it as something else.
pub(super) fn scalar(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_./:+-".contains(&b);
    let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b"/-".contains(&b) && text.len() > 1);
    let null = text.eq_ignore_ascii_case("null");
    if begins && text.bytes().all(plain) && !text.ends_with(':') && !text.starts_with("--") && !null {
        text.to_owned()
    } else {
        double_quoted(text)
    }
}

fn double_quoted(text: &str) -> String {
    let escaped = text.chars().map(|c| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

/// Writes keys below their sections.
#[derive(Debug, Default)]
pub(super) struct Outline {
    out: String,
    open: Vec<String>,
    /// The next key is the first of a list item.
    dash: bool,
}

impl Outline {
    /// One key: lines of comment before it, what stands behind its name (`None`: it is unset and stands as a comment), and a
    /// comment behind it.
    pub(super) fn key(&mut self, path: &str, before: &[String], value: Option<&str>, behind: &str) {
        let name = self.enter(path);
        let indent = self.indent();
        for line in before {
            let indent = if self.dash { indent - 2 } else { indent };
            self.out.push_str(&format!("{:indent$}# {line}\n", ""));
        }
        let line = match value {
            Some(value) => {
                let dash = if std::mem::take(&mut self.dash) { "- " } else { "" };
                let space = if value.starts_with('\n') { "" } else { " " };
                format!("{:width$}{dash}{name}:{space}{value}", "", width = indent - dash.len())
            }
            None => format!("{:indent$}# {name}:", ""),
        };
        let line = if behind.is_empty() { line } else { format!("{line:<56} # {behind}") };
        self.out.push_str(line.trim_end());
        self.out.push('\n');
    }

    /// A comment in front of a section that is not open yet, with an empty line before it.
    pub(super) fn title(&mut self, text: &str) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        self.out.push_str(&format!("# {text}\n"));
    }

    /// A line as it is.
    pub(super) fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    pub(super) fn finish(self) -> String {
        self.out
    }

    /// Opens the sections of a path and returns its last name.
    fn enter<'a>(&mut self, path: &'a str) -> &'a str {
        let mut steps: Vec<&str> = path.split('.').collect();
        let name = steps.pop().unwrap_or_default();
        let mut wanted: Vec<String> = Vec::new();
        for step in steps {
            let (section, item) = step.split_once('[').map_or((step, None), |(list, index)| (list, Some(index)));
            wanted.push(section.to_owned());
            wanted.extend(item.map(|index| format!("[{index}")));
        }
        let same = self.open.iter().zip(&wanted).take_while(|(open, wanted)| open == wanted).count();
        self.open.truncate(same);
        for step in wanted.drain(same..) {
            if step.starts_with('[') {
                self.dash = true;
            } else {
                let indent = self.indent();
                self.out.push_str(&format!("{:indent$}{step}:\n", ""));
            }
            self.open.push(step);
        }
        name
    }

    fn indent(&self) -> usize {
        2 * self.open.len()
    }
}
