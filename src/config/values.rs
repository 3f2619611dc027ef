//! All values of a configuration, each with where it came from.

use super::read::Fault;
use super::schema::Row;
use super::tree::Pos;
use super::value::Leaf;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Where a value came from. Later ones in this list override earlier ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The table's default; or it is unset.
    Default,
    /// The configuration file.
    File(Pos),
    /// A line of the `.env` file beside it.
    DotEnv(usize),
    /// A variable of the process.
    Environment(String),
    /// `--set`.
    CommandLine,
}

/// One key's value.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Its row.
    pub row: &'static Row,
    /// Its value; `None` when it is unset.
    pub leaf: Option<Leaf>,
    /// Where that came from.
    pub origin: Origin,
}

/// All values by concrete path (`accounts[0].name`), defaults included.
#[derive(Debug, Clone, Default)]
pub struct Values {
    /// The name of the file, and that of the `.env` beside it.
    pub(super) sources: [String; 2],
    pub(super) settings: BTreeMap<String, Setting>,
    pub(super) lists: BTreeMap<String, usize>,
    /// Where sections and list items begin; `""` is the whole file.
    pub(super) sections: BTreeMap<String, Pos>,
    /// Keys whose value was refused: they have their default here, so that the rest can be checked.
    pub(super) refused: BTreeSet<String>,
}

impl Values {
    /// A value; the path must be one of the schema with an existing index.
    pub fn get(&self, path: &str) -> Option<&Leaf> {
        self.settings.get(path)?.leaf.as_ref()
    }

    /// The number of items of a list of sections.
    pub fn count(&self, list: &str) -> usize {
        self.lists.get(list).copied().unwrap_or(0)
    }

    /// A fault of one or several keys together: told of the first, at the place of the first of them that was set, else of the
    /// section that it would stand in.
    pub fn fault(&self, keys: &[&str], problem: String) -> Fault {
        let set = keys.iter().find_map(|key| self.settings.get(*key).filter(|s| s.origin != Origin::Default));
        let (source, pos) = match set {
            Some(setting) => self.place(&setting.origin),
            None => (self.sources[0].clone(), keys.first().and_then(|key| self.section_of(key))),
        };
        Fault { source, pos, key: keys.first().map_or_else(String::new, |key| (*key).to_owned()), problem }
    }

    /// Source and place for a fault.
    pub(super) fn place(&self, origin: &Origin) -> (String, Option<Pos>) {
        match origin {
            Origin::Default => (self.sources[0].clone(), None),
            Origin::File(pos) => (self.sources[0].clone(), Some(*pos)),
            Origin::DotEnv(line) => (self.sources[1].clone(), Some(Pos { line: *line, column: 1 })),
            Origin::Environment(name) => (format!("environment {name}"), None),
            Origin::CommandLine => ("command line".to_owned(), None),
        }
    }

    /// Where the nearest section around a key begins.
    pub(super) fn section_of(&self, key: &str) -> Option<Pos> {
        let mut key = key;
        loop {
            if let Some(pos) = self.sections.get(key) {
                return Some(*pos);
            }
            if key.is_empty() {
                return None;
            }
            key = &key[..key.rfind(['.', '[']).unwrap_or(0)];
        }
    }

    /// Where a value came from, for people.
    pub fn told(&self, origin: &Origin) -> String {
        match origin {
            Origin::Default => "default".to_owned(),
            Origin::Environment(name) => name.clone(),
            _ => match self.place(origin) {
                (source, Some(Pos { line, .. })) if matches!(origin, Origin::DotEnv(_)) => format!("{source}:{line}"),
                (source, Some(pos)) => format!("{source}:{pos}"),
                (source, None) => source,
            },
        }
    }

    /// The keys of a row: one, or one for each item of its list.
    pub fn keys(&self, row: &Row) -> Vec<Key> {
        let Some((list, rest)) = row.path.split_once("[]") else {
            return vec![Key { path: row.path.to_owned(), dotted: row.path.to_owned() }];
        };
        let item = |at: usize| {
            let name = match self.get(&format!("{list}[{at}].name")) {
                Some(Leaf::Text(name)) if !name.is_empty() => name.clone(),
                _ => at.to_string(),
            };
            Key { path: format!("{list}[{at}]{rest}"), dotted: format!("{list}.{name}{rest}") }
        };
        (0..self.count(list)).map(item).collect()
    }
}

/// A key in its forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// With the index of its list item: `accounts[0].leverage`.
    pub path: String,
    /// With the item's name: `accounts.main.leverage`.
    pub dotted: String,
}

impl Key {
    /// The name of its variable; the name of an item has none, since it is by it that the item is found.
    pub fn variable(&self) -> Option<String> {
        let names_item = self.path.ends_with("].name");
        (!names_item).then(|| variable(&self.dotted))
    }
}

/// `QCAT_` and the path in upper case, everything but letters and digits replaced by `_`.
pub fn variable(dotted: &str) -> String {
    let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("QCAT_{}", dotted.chars().map(upper).collect::<String>())
}

impl fmt::Display for Pos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}
