//! One value: from a YAML node or a text, by the kind of its row.

use super::model::Network;
use super::nearest::unknown;
use super::schema::{Kind, Row};
use super::tree::{self, Node, Value};
use qcat_core::num::parse_mantissa;
use qcat_core::time::Span;
use qcat_io::secret::enc::MARK;
use secrecy::{ExposeSecret, SecretString};

/// A value that passed its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leaf {
    /// Text, word, URL, path, decimal.
    Text(String),
    /// What is never printed.
    Secret(Secret),
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A duration.
    Duration(Span),
    /// A list of texts.
    Texts(Vec<String>),
    /// Durations by name.
    Durations(Vec<(String, Span)>),
    /// Free keys; the flag tells whether the text was quoted.
    Params(Vec<(String, String, bool)>),
}

/// A secret. It can be compared and used, not printed.
#[derive(Debug, Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// For its use.
    pub fn get(&self) -> SecretString {
        self.0.clone()
    }

    pub(super) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<SecretString> for Secret {
    fn from(secret: SecretString) -> Secret {
        Secret(secret)
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

/// A node's value by its row; `None` for one that is empty.
pub(super) fn parse_node(row: &Row, node: &Node) -> Result<Option<Leaf>, String> {
    match (&node.value, row.kind) {
        (Value::Null, _) => Ok(None),
        (Value::Scalar { text, quoted }, _) => parse_text(row, text, *quoted).map(Some),
        (Value::List(items), Kind::Texts | Kind::Order(_) | Kind::Networks | Kind::Origins) => {
            let text = |item: &Node| match &item.value {
                Value::Scalar { text, .. } => Ok(text.clone()),
                _ => Err(format!("line {}: a plain text is expected in this list", item.pos.line)),
            };
            let texts = items.iter().map(text).collect::<Result<Vec<String>, String>>()?;
            check_texts(row, texts).map(Some)
        }
        (Value::Map(entries), Kind::Params | Kind::Durations(..)) => {
            let pair = |entry: &tree::Entry| match &entry.node.value {
                Value::Scalar { text, quoted } => Ok((entry.key.clone(), text.clone(), *quoted)),
                _ => Err(format!("line {}: `{}` needs a single value", entry.pos.line, entry.key)),
            };
            check_pairs(row, entries.iter().map(pair).collect::<Result<_, String>>()?).map(Some)
        }
        _ => Err(format!("found a list or section, allowed: {}", allowed(row.kind))),
    }
}

/// A text's value by a row; `quoted` text is neither number nor boolean.
pub(super) fn parse_text(row: &Row, text: &str, quoted: bool) -> Result<Leaf, String> {
    let wrong = || format!("found {}, allowed: {}", shown(row, text), allowed(row.kind));
    let text_if = |good: bool| if good { Ok(Leaf::Text(text.to_owned())) } else { Err(wrong()) };
    refuse_encrypted(row, text)?;
    match row.kind {
        Kind::Text | Kind::Path => text_if(!text.is_empty()),
        // An encrypted one is measured once it is decrypted.
        Kind::Secret(bytes_min) if text.len() < bytes_min && !text.starts_with(MARK) => {
            Err(format!("found {} bytes, allowed: {}", text.len(), allowed(row.kind)))
        }
        Kind::Secret(_) => Ok(Leaf::Secret(SecretString::from(text).into())),
        Kind::Word(words) => text_if(words.contains(&text)),
        Kind::Bool if !quoted => match text {
            "true" => Ok(Leaf::Bool(true)),
            "false" => Ok(Leaf::Bool(false)),
            _ => Err(wrong()),
        },
        Kind::Int(min, max) if !quoted => {
            let number = text.parse::<i64>().map_err(|_| wrong())?;
            if (min..=max).contains(&number) { Ok(Leaf::Int(number)) } else { Err(wrong()) }
        }
        Kind::Bool | Kind::Int(..) => Err(format!("found quoted text `{text}`, allowed: {}", allowed(row.kind))),
        Kind::Decimal(min, max) => {
            let read = |text: &str| parse_mantissa(text.as_bytes(), 18);
            let value = read(text).map_err(|_| wrong())?;
            text_if(read(min).is_ok_and(|min| value >= min) && read(max).is_ok_and(|max| value <= max))
        }
        Kind::Duration(min, max) => duration_in(text, min, max).map(Leaf::Duration).ok_or_else(wrong),
        Kind::Url(schemes) => match qcat_io::net::url::Url::parse(text, schemes) {
            Ok(_) => Ok(Leaf::Text(text.to_owned())),
            Err(error) if !text.contains('@') => Err(error.to_string()),
            Err(_) => Err(wrong()),
        },
        Kind::Host => text_if(is_host(text)),
        Kind::Address => text_if(text.rsplit_once(':').is_some_and(|(host, port)| {
            is_host(host.strip_prefix('[').and_then(|v6| v6.strip_suffix(']')).unwrap_or(host)) && is_port(port)
        })),
        Kind::UrlPath => {
            text_if(text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && !b"?#".contains(&b)))
        }
        Kind::Texts | Kind::Order(_) | Kind::Networks | Kind::Origins => {
            let items = text.split(',').map(|item| item.trim().to_owned());
            check_texts(row, if text.trim().is_empty() { Vec::new() } else { items.collect() })
        }
        Kind::Params | Kind::Durations(..) => {
            let pair = |item: &str| {
                item.split_once('=').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned(), false))
            };
            let pairs: Option<Vec<_>> = text.split(',').filter(|item| !item.trim().is_empty()).map(pair).collect();
            check_pairs(row, pairs.ok_or_else(wrong)?)
        }
    }
}

fn refuse_encrypted(row: &Row, text: &str) -> Result<(), String> {
    if !row.is_secret() && text.starts_with(MARK) {
        return Err(format!("found an encrypted value, which only secrets may be; allowed: {}", allowed(row.kind)));
    }
    Ok(())
}

/// What was found, as far as it may be shown: never a secret, never what may hold a password.
fn shown(row: &Row, text: &str) -> String {
    let hides = row.is_secret()
        || matches!(row.kind, Kind::Url(_) | Kind::Host | Kind::Address | Kind::Origins) && text.contains('@');
    if hides { "a value that is not shown".to_owned() } else { format!("`{text}`") }
}

fn is_host(text: &str) -> bool {
    let name = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    text.parse::<std::net::IpAddr>().is_ok() || !text.is_empty() && text.len() <= 253 && text.bytes().all(name)
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port != 0)
}

/// `scheme://host` or `scheme://host:port`, as browsers send it.
fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.contains(['/', '@', '*']))
        && qcat_io::net::url::Url::parse(text, ["http", "https"]).is_ok()
}

fn duration_in(text: &str, min: i64, max: i64) -> Option<Span> {
    parse_duration(text).filter(|span| (min..=max).contains(&span.millis()))
}

fn check_texts(row: &Row, texts: Vec<String>) -> Result<Leaf, String> {
    texts.iter().try_for_each(|text| refuse_encrypted(row, text))?;
    let may_be_empty = matches!(row.kind, Kind::Networks | Kind::Origins);
    if texts.is_empty() && !may_be_empty || texts.iter().any(String::is_empty) {
        return Err(format!("found an empty list or item, allowed: {}", allowed(row.kind)));
    }
    let wrong = texts.iter().find(|text| match row.kind {
        Kind::Networks => Network::parse(text).is_none(),
        Kind::Origins => !is_origin(text),
        _ => false,
    });
    if let Some(wrong) = wrong {
        return Err(format!("found {}, allowed: {}", shown(row, wrong), allowed(row.kind)));
    }
    if let Kind::Order(words) = row.kind {
        check_order(&texts, words)?;
    }
    Ok(Leaf::Texts(texts))
}

fn check_order(texts: &[String], words: &[&str]) -> Result<(), String> {
    if let Some(text) = texts.iter().find(|text| !words.contains(&text.as_str())) {
        return Err(unknown(text, words));
    }
    for word in words {
        match texts.iter().filter(|t| t == word).count() {
            1 => {}
            0 => return Err(format!("`{word}` is missing; each of {} must stand in it once", words.join(", "))),
            _ => return Err(format!("`{word}` stands twice")),
        }
    }
    Ok(())
}

fn check_pairs(row: &Row, pairs: Vec<(String, String, bool)>) -> Result<Leaf, String> {
    for (at, (name, text, _)) in pairs.iter().enumerate() {
        refuse_encrypted(row, text)?;
        if pairs[..at].iter().any(|(other, ..)| other == name) {
            return Err(format!("`{name}` stands twice"));
        }
    }
    let Kind::Durations(names, min, max) = row.kind else { return Ok(Leaf::Params(pairs)) };
    let duration = |(name, text, _): (String, String, bool)| {
        if !names.contains(&name.as_str()) {
            return Err(unknown(&name, names));
        }
        match duration_in(&text, min, max) {
            Some(span) => Ok((name, span)),
            None => Err(format!("found `{name}: {text}`, allowed: {}", allowed(Kind::Duration(min, max)))),
        }
    };
    pairs.into_iter().map(duration).collect::<Result<_, String>>().map(Leaf::Durations)
}

/// A duration: whole numbers with the units `ms`, `s`, `m`, `h`, several in a row allowed (`1m30s`). A bare number is refused.
pub fn parse_duration(text: &str) -> Option<Span> {
    let mut rest = text;
    let mut millis: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let factor = match &rest[..unit_end] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        millis = millis.checked_add(number.checked_mul(factor)?)?;
        rest = &rest[unit_end..];
    }
    // Far beyond any row's range, and small enough for nanoseconds.
    (!text.is_empty() && millis <= 1_000_000_000_000).then(|| Span::from_millis(millis))
}

/// A duration in its largest whole unit.
pub(super) fn span_text(millis: i64) -> String {
    match millis {
        0 => "0s".to_owned(),
        m if m % 3_600_000 == 0 => format!("{}h", m / 3_600_000),
        m if m % 60_000 == 0 => format!("{}m", m / 60_000),
        m if m % 1_000 == 0 => format!("{}s", m / 1_000),
        m => format!("{m}ms"),
    }
}

/// Text of a kind's allowed values.
pub fn allowed(kind: Kind) -> String {
    match kind {
        Kind::Text | Kind::Secret(0..=1) => "text that is not empty".to_owned(),
        Kind::Secret(bytes_min) => format!("text of {bytes_min} bytes or more"),
        Kind::Word(words) => words.join(", "),
        Kind::Bool => "true, false".to_owned(),
        Kind::Int(min, max) => format!("a whole number from {min} to {max}"),
        Kind::Decimal(min, max) => format!("a decimal number from {min} to {max}"),
        Kind::Duration(min, max) => {
            format!("a duration with unit from {} to {} (such as 250ms, 30s, 5m)", span_text(min), span_text(max))
        }
        Kind::Url([plain, tls]) => format!("a URL beginning with {plain}:// or {tls}://"),
        Kind::Host => "a host name or IP address, without a port".to_owned(),
        Kind::Address => "host:port".to_owned(),
        Kind::Path => "a path".to_owned(),
        Kind::UrlPath => "a path beginning with /".to_owned(),
        Kind::Networks => "a list of IP addresses and networks such as 10.0.0.0/8".to_owned(),
        Kind::Origins => "a list of origins such as https://admin.example.com".to_owned(),
        Kind::Texts => "a list of texts".to_owned(),
        Kind::Order(words) => format!("a list with each of {} once", words.join(", ")),
        Kind::Durations(names, ..) => format!("durations by some of {}", names.join(", ")),
        Kind::Params => "keys with single values".to_owned(),
    }
}
