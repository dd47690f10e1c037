//! JSON as a tree that forgets nothing (duplicate keys stay), and small readers on it.
//!
//! A reader takes what it can and reports the rest; it never stops. Every key that a reader asks
//! for is thereby known, so the list of known keys cannot drift from what is read.

use std::fmt;
use std::ops::RangeInclusive;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use super::jsonc;
use super::limits::Whole;
use super::problem::{Place, Problem, Report, suggestion};

/// One JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file; a key given twice is here twice.
    Object(Vec<(String, Node)>),
}

impl Node {
    /// The tree of a text with comments and trailing commas.
    ///
    /// # Errors
    /// The first place where it stops being JSON, as `line:column` and what was expected.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let bytes = jsonc::strip(text)?;
        serde_json::from_slice(&bytes).map_err(|error| {
            let message = error.to_string();
            let place = format!(" at line {} column {}", error.line(), error.column());
            Problem {
                path: format!("{}:{}", error.line(), error.column().max(1)),
                message: message.strip_suffix(place.as_str()).unwrap_or(&message).to_owned(),
            }
        })
    }
}

/// As a person would name it: scalars by value, the rest by kind.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::Text(value) => write!(f, "{value:?}"),
            Self::List(_) => f.write_str("a list"),
            Self::Object(_) => f.write_str("an object"),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Number::from_f64(value).map_or(Node::Null, Node::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = access.next_element()? {
            list.push(node);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Object(entries))
    }
}

/// An object being read key by key.
pub(super) struct Fields<'n> {
    pub(super) place: Place,
    entries: &'n [(String, Node)],
    known: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// The object `node`, or a problem.
    pub(super) fn open(node: &'n Node, place: Place, report: &mut Report) -> Option<Self> {
        let Node::Object(entries) = node else {
            report.unreadable(&place, format!("must be an object, is {node}"));
            return None;
        };
        Some(Self { place, entries, known: Vec::new() })
    }

    /// What stands under a key, which is known from now on.
    pub(super) fn take(&mut self, key: &'static str) -> Option<(&'n Node, Place)> {
        self.known.push(key);
        let (_, node) = self.entries.iter().find(|(name, _)| name == key)?;
        Some((node, self.place.key(key)))
    }

    /// The same, for keys that cannot be left out.
    pub(super) fn required(
        &mut self,
        key: &'static str,
        report: &mut Report,
    ) -> Option<(&'n Node, Place)> {
        let found = self.take(key);
        if found.is_none() {
            report.unreadable(&self.place.key(key), "is missing");
        }
        found
    }

    /// A string that may be left out (or be null).
    pub(super) fn text(&mut self, key: &'static str, report: &mut Report) -> Option<String> {
        match self.take(key)? {
            (Node::Null, _) => None,
            (node, place) => text(node, &place, report),
        }
    }

    /// A string that cannot be left out; empty when it is, which is reported.
    pub(super) fn required_text(&mut self, key: &'static str, report: &mut Report) -> String {
        let found = self.required(key, report);
        found.and_then(|(node, place)| text(node, &place, report)).unwrap_or_default()
    }

    /// A string with a default.
    pub(super) fn text_or(&mut self, key: &'static str, or: &str, report: &mut Report) -> String {
        let found = self.take(key);
        found.and_then(|(node, place)| text(node, &place, report)).unwrap_or_else(|| or.to_owned())
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &'static str, default: bool, report: &mut Report) -> bool {
        match self.take(key) {
            None => default,
            Some((Node::Bool(value), _)) => *value,
            Some((node, place)) => {
                report.unreadable(&place, format!("must be true or false, is {node}"));
                default
            }
        }
    }

    /// A whole number within its range.
    pub(super) fn whole(&mut self, key: &'static str, whole: Whole, report: &mut Report) -> u32 {
        let Some((node, place)) = self.take(key) else {
            return whole.default;
        };
        number(node, &place, whole.min..=whole.max, report).unwrap_or(whole.default)
    }

    /// One word of a list, `None` when it is left out (or null).
    pub(super) fn word<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&'static str, T)],
        report: &mut Report,
    ) -> Option<T> {
        match self.take(key)? {
            (Node::Null, _) => None,
            (node, place) => word(node, &place, words, report),
        }
    }

    /// A list of strings; empty when it is left out.
    pub(super) fn texts(&mut self, key: &'static str, report: &mut Report) -> Vec<String> {
        let Some((node, place)) = self.take(key) else {
            return Vec::new();
        };
        texts(node, &place, report)
    }

    /// Reports the keys that nothing asked for, and those given twice.
    pub(super) fn finish(&self, report: &mut Report) {
        for (i, (key, _)) in self.entries.iter().enumerate() {
            let place = self.place.key(key);
            if !self.known.contains(&key.as_str()) {
                let near = suggestion(key, self.known.iter().copied());
                let known = self.known.join(", ");
                let hint = if near.is_empty() { format!(", known are: {known}") } else { near };
                report.problem(&place, format!("unknown key{hint}"));
            }
            if self.entries[..i].iter().any(|(name, _)| name == key) {
                report.problem(&place, "is given twice");
            }
        }
    }
}

/// A string.
pub(super) fn text(node: &Node, place: &Place, report: &mut Report) -> Option<String> {
    let Node::Text(value) = node else {
        report.unreadable(place, format!("must be a string, is {node}"));
        return None;
    };
    Some(value.clone())
}

/// A list of strings.
pub(super) fn texts(node: &Node, place: &Place, report: &mut Report) -> Vec<String> {
    list(node, place, report, |node, place, report| text(node, &place, report).unwrap_or_default())
}

/// A whole number within a range.
pub(super) fn number(
    node: &Node,
    place: &Place,
    range: RangeInclusive<u32>,
    report: &mut Report,
) -> Option<u32> {
    let value = match node {
        Node::Number(value) => value.as_u64().and_then(|value| u32::try_from(value).ok()),
        _ => None,
    };
    let value = value.filter(|value| range.contains(value));
    if value.is_none() {
        let whole = match node {
            Node::Number(value) if !value.is_f64() => "",
            _ => "a whole number, ",
        };
        let (min, max) = (range.start(), range.end());
        report.unreadable(place, format!("must be {whole}{min} to {max}, is {node}"));
    }
    value
}

/// One word of a list.
pub(super) fn word<T: Copy>(
    node: &Node,
    place: &Place,
    words: &[(&'static str, T)],
    report: &mut Report,
) -> Option<T> {
    let written = if let Node::Text(written) = node { written.as_str() } else { "" };
    let found = words.iter().find(|(word, _)| *word == written);
    if found.is_none() {
        let near = suggestion(written, words.iter().map(|(word, _)| *word));
        let allowed: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let allowed = allowed.join(", ");
        let one_of = if words.len() > 1 { "one of " } else { "" };
        report.unreadable(place, format!("must be {one_of}{allowed}, is {node}{near}"));
    }
    found.map(|(_, value)| *value)
}

/// Every element of a list, each with its place; empty when it is none, which is reported.
pub(super) fn list<T>(
    node: &Node,
    place: &Place,
    report: &mut Report,
    mut read: impl FnMut(&Node, Place, &mut Report) -> T,
) -> Vec<T> {
    let Node::List(nodes) = node else {
        report.unreadable(place, format!("must be a list, is {node}"));
        return Vec::new();
    };
    nodes.iter().enumerate().map(|(i, node)| read(node, place.index(i), report)).collect()
}
