//! The man page of the configuration, made of its schema.

use std::io;

use clap_mangen::roff::{Roff, bold, italic, roman};
use serde_json::{Map, Value};

use crate::config;

/// Of the page, and of the file it is about.
pub(super) const NAME: &str = "ringway.json";

/// What stands below each page.
pub(super) const SOURCE: &str = concat!("ringway ", env!("CARGO_PKG_VERSION"));

/// In the place of a date: the same source gives the same pages. Nothing at all would move what
/// stands behind it there.
pub(super) const NO_DATE: &str = " ";

/// The page.
pub(super) fn page() -> io::Result<Vec<u8>> {
    let schema: Value = serde_json::from_str(&config::schema()).expect("the schema is JSON");
    let mut roff = Roff::new();
    roff.control("TH", [NAME, "5", NO_DATE, SOURCE, "ringway"]);
    roff.control("SH", ["NAME"]);
    roff.text([roman(NAME), roman(" - configuration of ringway")]);
    roff.control("SH", ["DESCRIPTION"]);
    roff.text([
        roman(
            "A file is JSON. Comments (//, /* */) and trailing commas are allowed, unknown keys ",
        ),
        roman("are not. "),
        bold("ringway check"),
        roman(" says everything that is wrong with a file, "),
        bold("ringway schema"),
        roman(" prints this page as JSON Schema. Behind each key are its values, and its default."),
    ]);
    roff.control("SH", ["KEYS"]);
    let mut keys = Keys { definitions: &schema["$defs"], roff };
    keys.of(&schema, "");
    let mut roff = keys.roff;
    roff.control("SH", ["SEE ALSO"]);
    roff.text([bold("ringway"), roman("(1)")]);
    let mut text = Vec::new();
    roff.to_writer(&mut text)?;
    Ok(text)
}

/// Goes through the schema.
struct Keys<'a> {
    definitions: &'a Value,
    roff: Roff,
}

impl<'a> Keys<'a> {
    /// Every key of what `node` allows, each with those below it.
    fn of(&mut self, node: &'a Value, path: &str) {
        let node = self.definition(node);
        let required = node["required"].as_array();
        for (name, key) in node["properties"].as_object().into_iter().flatten() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let is_required = required.is_some_and(|all| all.iter().any(|one| one == name));
            self.entry(key, &path, is_required);
            self.below(key, &path);
        }
        for variant in variants(node) {
            self.of(variant, path);
        }
    }

    /// What a list or a map holds may have keys too.
    fn below(&mut self, node: &'a Value, path: &str) {
        let node = self.definition(node);
        self.of(node, path);
        for node in std::iter::once(node).chain(variants(node)) {
            let node = self.definition(node);
            if node["items"].is_object() {
                self.of(&node["items"], &format!("{path}[]"));
            }
            if node["additionalProperties"].is_object() {
                self.of(&node["additionalProperties"], &format!("{path}.NAME"));
            }
        }
    }

    fn entry(&mut self, key: &'a Value, path: &str, is_required: bool) {
        let mut head = vec![bold(path), roman(" "), italic(self.values(key))];
        match &key["default"] {
            _ if is_required => head.push(roman(" (required)")),
            Value::Null => {}
            default => head.push(roman(format!(" (default {default})"))),
        }
        self.roff.control("TP", []);
        self.roff.text(head);
        let description = key["description"].as_str();
        let description = description.or(self.definition(key)["description"].as_str());
        self.roff.text([roman(plain(description.unwrap_or_default()))]);
        for (value, what) in self.words(key) {
            self.roff.control("br", []);
            self.roff.text([bold(value), roman(": "), roman(plain(what))]);
        }
    }

    /// What stands for a value: `1 to 1024`, `text`, `"auto" or a list of 0 to 1023`.
    fn values(&self, node: &'a Value) -> String {
        let node = self.definition(node);
        let all: Vec<_> = variants(node).map(|variant| self.values(variant)).collect();
        if !all.is_empty() {
            let mut all: Vec<_> = all.into_iter().filter(|values| !values.is_empty()).collect();
            all.dedup();
            return all.join(" or ");
        }
        if let Some(words) = node["enum"].as_array() {
            let words: Vec<_> = words.iter().map(Value::to_string).collect();
            return words.join(" or ");
        }
        if let Some(word) = node.get("const") {
            return word.to_string();
        }
        let kinds = match &node["type"] {
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            kind => kind.as_str().into_iter().collect::<Vec<_>>(),
        };
        let kinds = kinds.into_iter().filter(|&kind| kind != "null");
        kinds.map(|kind| self.kind(kind, node)).collect::<Vec<_>>().join(" or ")
    }

    fn kind(&self, kind: &str, node: &'a Value) -> String {
        match (kind, node.get("minimum"), node.get("maximum")) {
            ("integer" | "number", Some(least), Some(most)) => format!("{least} to {most}"),
            ("integer" | "number", ..) => "number".to_owned(),
            ("string", ..) => "text".to_owned(),
            ("boolean", ..) => "true or false".to_owned(),
            ("array", ..) => format!("list of {}", self.values(&node["items"])),
            _ if node["additionalProperties"].is_object() => "objects by name".to_owned(),
            _ => "object".to_owned(),
        }
    }

    /// Words that are explained one by one.
    fn words(&self, node: &'a Value) -> Vec<(String, &'a str)> {
        let node = self.definition(node);
        let word = node.get("const").zip(node["description"].as_str());
        let below = variants(node).flat_map(|variant| self.words(variant));
        word.map(|(word, what)| (word.to_string(), what)).into_iter().chain(below).collect()
    }

    fn definition(&self, node: &'a Value) -> &'a Value {
        let name = node["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/"));
        name.map_or(node, |name| self.definition(&self.definitions[name]))
    }
}

/// Each of what may stand in a place.
fn variants(node: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["anyOf", "oneOf"].into_iter().filter_map(|name| node[name].as_array());
    lists.flatten().filter(|variant| variant.as_object().is_some_and(|v| !is_null(v)))
}

fn is_null(variant: &Map<String, Value>) -> bool {
    variant.get("type").is_some_and(|kind| kind == "null")
}

/// Text without the marks of code.
fn plain(text: &str) -> String {
    text.replace('`', "")
}
