//! A YAML document as a tree that knows where everything stands. Scalars keep their text: numbers are read exactly, later.

use saphyr_parser::{Event, Parser, ScalarStyle};

/// A place in a file, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Pos {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

/// A node and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Where it begins.
    pub pos: Pos,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Keys and values in the order of the file. A key that stands twice is there twice.
    Map(Vec<Entry>),
    /// A list.
    List(Vec<Node>),
    /// Text as written; `quoted` text is never a number, a boolean or null.
    Scalar { text: String, quoted: bool },
    /// Nothing: an empty value, `~` or `null`.
    Null,
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub pos: Pos,
    /// The value.
    pub node: Node,
}

/// A document that is not YAML, or uses what a configuration may not use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// Where.
    pub pos: Pos,
    /// What is wrong.
    pub reason: String,
}

/// Deepest nesting taken.
const DEPTH_MAX: usize = 32;

/// Parses one document.
pub fn parse(source: &str) -> Result<Node, SyntaxError> {
    let mut stack: Vec<Open> = Vec::new();
    let mut root = None;
    for event in Parser::new_from_str(source) {
        let (event, span) = event.map_err(|e| SyntaxError { pos: pos(e.marker()), reason: e.info().to_owned() })?;
        let at = pos(&span.start);
        let refuse = |reason: &str| Err(SyntaxError { pos: at, reason: reason.to_owned() });
        let done = match event {
            Event::Alias(_) => return refuse("aliases are not allowed in a configuration"),
            Event::MappingStart(..) | Event::SequenceStart(..) if stack.len() >= DEPTH_MAX => {
                return refuse("nested too deeply");
            }
            Event::MappingStart(..) => {
                stack.push(Open::Map { pos: at, entries: Vec::new(), key: None });
                None
            }
            Event::SequenceStart(..) => {
                stack.push(Open::List { pos: at, items: Vec::new() });
                None
            }
            Event::MappingEnd | Event::SequenceEnd => stack.pop().map(Open::close),
            Event::Scalar(text, style, ..) => Some(scalar(&text, style, at)),
            Event::DocumentStart(_) if root.is_some() => return refuse("only one document is allowed in a file"),
            _ => None,
        };
        let Some(node) = done else { continue };
        match stack.last_mut() {
            None => root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, key, .. }) => match key.take() {
                Some((key, pos)) => entries.push(Entry { key, pos, node }),
                None => match node.value {
                    Value::Scalar { text, .. } => *key = Some((text, node.pos)),
                    _ => return refuse("a key must be plain text"),
                },
            },
        }
    }
    Ok(root.unwrap_or(Node { pos: Pos { line: 1, column: 1 }, value: Value::Map(Vec::new()) }))
}

enum Open {
    Map { pos: Pos, entries: Vec<Entry>, key: Option<(String, Pos)> },
    List { pos: Pos, items: Vec<Node> },
}

impl Open {
    fn close(self) -> Node {
        match self {
            Open::Map { pos, entries, .. } => Node { pos, value: Value::Map(entries) },
            Open::List { pos, items } => Node { pos, value: Value::List(items) },
        }
    }
}

fn scalar(text: &str, style: ScalarStyle, pos: Pos) -> Node {
    let quoted = style != ScalarStyle::Plain;
    let null = !quoted && matches!(text, "" | "~" | "null" | "Null" | "NULL");
    let value = if null { Value::Null } else { Value::Scalar { text: text.to_owned(), quoted } };
    Node { pos, value }
}

fn pos(marker: &saphyr_parser::Marker) -> Pos {
    Pos { line: marker.line(), column: marker.col() + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_knows_where_it_stands() {
        let tree = parse("a:\n  b: 0.10\n  c: [x, \"1\"]\n").expect("YAML");
        let Value::Map(top) = &tree.value else { panic!("a map") };
        let Value::Map(inner) = &top[0].node.value else { panic!("a map") };
        assert_eq!((inner[0].key.as_str(), inner[0].pos), ("b", Pos { line: 2, column: 3 }));
        assert_eq!(inner[0].node.pos, Pos { line: 2, column: 6 });
        assert_eq!(inner[0].node.value, Value::Scalar { text: "0.10".into(), quoted: false });
        let Value::List(items) = &inner[1].node.value else { panic!("a list") };
        assert_eq!(items[1].value, Value::Scalar { text: "1".into(), quoted: true });
    }

    #[test]
    fn what_is_not_yaml_is_told_with_its_place() {
        assert_eq!(parse("a: [1, 2\nb: 3\n").expect_err("not YAML").pos.line, 2);
        assert!(parse("a: &x 1\nb: *x\n").expect_err("an alias").reason.contains("aliases"));
        assert!(parse(&"[".repeat(100)).is_err());
    }
}
