//! The tables of docs/configuration.md: written from the schema, never by hand.
//!
//! What stands above the mark in that file is text; what stands below it is what `page` makes.

use std::env;
use std::fs;
use std::path::Path;

use ringway::config;
use serde_json::{Map, Value};

use crate::{ROOT, anchor, read};

const FILE: &str = "docs/configuration.md";
const MARK: &str = "<!-- Written by `make docs` from the schema. -->\n";
/// Set by `make docs`: the file is written instead of compared.
const WRITE: &str = "RINGWAY_WRITE_DOCS";

/// Where more is said about a key.
const SEE: [(&str, &str); 23] = [
    ("workers", "[tuning](tuning.md#workers)"),
    ("loopback_congestion", "[tuning](tuning.md#loopback)"),
    ("engine", "[requirements](../README.md#requirements)"),
    ("max_connections", "[at the limits](limits.md#connections)"),
    ("access_log", "[logs](logs.md)"),
    ("drain_timeout_ms", "[stopping](reload.md)"),
    ("user", "[security](security.md)"),
    ("sandbox", "[security](security.md)"),
    ("admin", "[the admin endpoint](admin.md)"),
    ("listeners[].bind", "[sockets passed on](reload.md#under-a-service-manager)"),
    (
        "listeners[].keep_alive",
        "[keep_alive](stickiness.md#keep_alive-more-than-one-request-on-a-connection)",
    ),
    ("listeners[].max_connections", "[limits of your own](limits.md#limits-of-your-own)"),
    (
        "listeners[].max_connections_per_source",
        "[limits of your own](limits.md#limits-of-your-own)",
    ),
    ("listeners[].accept_rate_per_s", "[limits of your own](limits.md#limits-of-your-own)"),
    ("pools.NAME.balance", "[command line](command-line.md)"),
    ("pools.NAME.sticky", "[stickiness](stickiness.md)"),
    ("pools.NAME.source_addresses", "[ports](limits.md#ports)"),
    ("pools.NAME.max_connections_per_server", "[full servers](limits.md#full-servers)"),
    ("pools.NAME.idle_timeout_ms", "[time](limits.md#time)"),
    ("pools.NAME.health", "[health](health.md)"),
    ("pools.NAME.eject", "[health](health.md)"),
    ("pools.NAME.slow_start_ms", "[health](health.md)"),
    ("pools.NAME.on_down", "[health](health.md)"),
];

/// An object of the file: its place, and what it is by the schema.
struct Object<'a> {
    path: String,
    /// Which of several kinds, as in `"by": "cookie"`.
    kind: Option<(&'a str, &'a str)>,
    schema: &'a Value,
}

impl Object<'_> {
    fn heading(&self) -> String {
        match (self.path.as_str(), self.kind) {
            ("", _) => "The file".to_owned(),
            (path, None) => format!("`{path}`"),
            (path, Some((key, word))) => format!("`{path}` with `\"{key}\": \"{word}\"`"),
        }
    }

    fn link(&self, label: &str) -> String {
        format!("[{label}](#{})", anchor(&self.heading()))
    }
}

struct Reference {
    schema: Value,
}

impl Reference {
    /// What a reference leads to, and anything else itself.
    fn resolved<'a>(&'a self, node: &'a Value) -> &'a Value {
        let name = node["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/"));
        name.map_or(node, |name| &self.schema["$defs"][name])
    }

    /// The alternatives that make a value, all references resolved, without "not given".
    fn alternatives<'a>(&'a self, node: &'a Value) -> Vec<&'a Value> {
        let node = self.resolved(node);
        let variants = ["anyOf", "oneOf"].into_iter().find_map(|word| node[word].as_array());
        let Some(variants) = variants else { return vec![node] };
        let all = variants.iter().flat_map(|variant| self.alternatives(variant));
        all.filter(|variant| variant["type"] != "null").collect()
    }

    /// The objects that stand in a value, lists and maps looked into.
    fn objects<'a>(&'a self, node: &'a Value, path: &str) -> Vec<Object<'a>> {
        let mut found = Vec::new();
        for schema in self.alternatives(node) {
            if let Some(properties) = schema["properties"].as_object() {
                let kind = properties.iter().find_map(|(key, property)| {
                    property["const"].as_str().map(|word| (key.as_str(), word))
                });
                found.push(Object { path: path.to_owned(), kind, schema });
            }
            if schema["items"].is_object() {
                found.extend(self.objects(&schema["items"], &format!("{path}[]")));
            }
            if schema["additionalProperties"].is_object() {
                let path = format!("{path}.NAME");
                found.extend(self.objects(&schema["additionalProperties"], &path));
            }
        }
        found
    }

    /// What may stand there: `1 to 256`, `"auto"`, `list of texts`.
    fn values(&self, node: &Value, path: &str) -> String {
        let mut values: Vec<String> = Vec::new();
        for schema in self.alternatives(node) {
            let word = self.value(schema, path);
            if !values.contains(&word) {
                values.push(word);
            }
        }
        values.join(", ")
    }

    fn value(&self, schema: &Value, path: &str) -> String {
        if let Some(constant) = schema.get("const") {
            return format!("`{constant}`");
        }
        if let (Some(least), Some(most)) = (schema.get("minimum"), schema.get("maximum")) {
            return format!("{least} to {most}");
        }
        // An optional text has two types.
        let types = [&schema["type"], &schema["type"][0]];
        match types.into_iter().find_map(Value::as_str) {
            Some("boolean") => "`true`, `false`".to_owned(),
            Some("string") => "text".to_owned(),
            Some("integer") => "number".to_owned(),
            Some("array") => {
                let items = self.values(&schema["items"], &format!("{path}[]"));
                let items = items.replace("text", "texts").replace("[object]", "[objects]");
                format!("list of {}", items.replace(", ", " or "))
            }
            Some("object") => match &self.objects(schema, path)[..] {
                [object] if object.path == path => match object.kind {
                    Some((_, word)) => object.link(&format!("by `{word}`")),
                    None => object.link("object"),
                },
                [object] => object.link("objects by name"),
                _ => "object".to_owned(),
            },
            other => panic!("{path}: no words for a value of type {other:?}"),
        }
    }

    /// What a key is for, with what each of its words means and where to read more.
    fn meaning(&self, node: &Value, path: &str) -> String {
        let about = node["description"].as_str().unwrap_or_default();
        assert!(!about.is_empty(), "{path} has no comment in src/config/file*.rs");
        let mut meaning = about.to_owned();
        let words = self.alternatives(node);
        let words: Vec<_> = words.iter().filter(|word| word["const"].is_string()).collect();
        if words.len() > 1 {
            for word in words {
                let about = word["description"].as_str().unwrap_or_default();
                assert!(!about.is_empty(), "{path}: {} has no comment", word["const"]);
                meaning += &format!("<br>`{}`: {about}", word["const"]);
            }
        }
        if let Some((_, link)) = SEE.iter().find(|(key, _)| *key == path) {
            meaning += &format!("<br>More: {link}.");
        }
        meaning
    }

    fn row(&self, key: &str, node: &Value, path: &str, required: bool) -> String {
        let default = match node.get("default") {
            // Where a line may be broken.
            Some(Value::Object(default)) => {
                let text = Value::from(default.clone()).to_string();
                format!("`{}`", text.replace(':', ": ").replace(',', ", "))
            }
            Some(default) => format!("`{default}`"),
            None if required => "required".to_owned(),
            None => "–".to_owned(),
        };
        let (values, meaning) = (self.values(node, path), self.meaning(node, path));
        let cells = [format!("`{key}`"), default, values, meaning];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        format!("| {} |\n", cells.join(" | "))
    }

    /// One section for an object, then one for each object in it.
    fn section(&self, object: &Object<'_>, page: &mut String, paths: &mut Vec<String>) {
        let none = Map::new();
        let properties = object.schema["properties"].as_object().unwrap_or(&none);
        let about = object.schema["description"].as_str().unwrap_or_default();
        *page += &format!("\n## {}\n\n{about}\n\n", object.heading());
        *page += "| Key | Default | Values | Meaning |\n|---|---|---|---|\n";
        let required = object.schema["required"].as_array();
        let mut within = Vec::new();
        for (key, node) in properties {
            // The word by which this kind is told is in the heading.
            if object.kind.is_some_and(|(kind, _)| kind == key) {
                continue;
            }
            let path = match object.path.as_str() {
                "" => key.clone(),
                path => format!("{path}.{key}"),
            };
            let required = required.is_some_and(|all| all.iter().any(|one| one == key));
            *page += &self.row(key, node, &path, required);
            within.extend(self.objects(node, &path));
            paths.push(path);
        }
        for object in within {
            self.section(&object, page, paths);
        }
    }
}

/// The tables, and the path of every key in them.
fn page() -> (String, Vec<String>) {
    let schema = serde_json::from_str(&config::schema()).expect("a schema is JSON");
    let reference = Reference { schema };
    let file = Object { path: String::new(), kind: None, schema: &reference.schema };
    let (mut page, mut paths) = (String::new(), Vec::new());
    reference.section(&file, &mut page, &mut paths);
    (page, paths)
}

#[test]
fn the_reference_is_what_the_schema_says() {
    let committed = read(FILE);
    let (text, tables) = committed.split_once(MARK).expect("the mark stands in the page");
    let (page, paths) = page();
    for (key, _) in SEE {
        assert!(paths.iter().any(|path| path == key), "there is no key {key}");
    }
    if env::var_os(WRITE).is_some() {
        fs::write(Path::new(ROOT).join(FILE), format!("{text}{MARK}{page}")).unwrap();
        return;
    }
    let differ = page.lines().zip(tables.lines()).find(|(by_schema, written)| by_schema != written);
    assert!(
        page == tables,
        "the keys have changed: run `make docs` and commit {FILE}; first difference: {differ:?}"
    );
}
