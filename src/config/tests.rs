//! The schema, the reader and `configs/full.json` say the same: none can drift from the others.

use serde_json::{Map, Value, json};

use super::problem::{Place, Report};
use super::tree::Node;
use super::{jsonc, parse, read, schema};

const FULL: &str = include_str!("../../configs/full.json");
const OTHERS: [&str; 5] = [
    include_str!("../../configs/minimal.json"),
    include_str!("../../configs/socketio.json"),
    include_str!("../../configs/hosts.json"),
    include_str!("../../configs/tls-sni.json"),
    include_str!("../../configs/tcp.json"),
];

fn value(text: &str) -> Value {
    serde_json::from_slice(&jsonc::strip(text).unwrap()).unwrap()
}

/// Places of the problems of form.
fn problems(file: &Value) -> Vec<(String, String)> {
    let mut report = Report::default();
    read::file(&Node::parse(&file.to_string()).unwrap(), &mut report);
    report.problems.into_iter().map(|problem| (problem.path, problem.message)).collect()
}

/// The schemas a value may follow, without references and choices.
fn leaves<'s>(schema: &'s Value, root: &'s Value) -> Vec<&'s Value> {
    if let Some(reference) = schema["$ref"].as_str() {
        return leaves(root.pointer(reference.trim_start_matches('#')).unwrap(), root);
    }
    let choices = schema["anyOf"].as_array().or(schema["oneOf"].as_array());
    match choices {
        Some(choices) => choices.iter().flat_map(|choice| leaves(choice, root)).collect(),
        None => vec![schema],
    }
}

/// Whether a value follows a schema, for the keywords that ours uses.
fn follows(value: &Value, schema: &Value, root: &Value) -> bool {
    leaves(schema, root).into_iter().any(|schema| follows_leaf(value, schema, root))
}

fn follows_leaf(value: &Value, schema: &Value, root: &Value) -> bool {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let kind_fits = match &schema["type"] {
        Value::Array(kinds) => kinds.contains(&json!(kind)),
        Value::Null => true,
        one => one == kind,
    };
    let constant_fits = schema.get("const").is_none_or(|constant| constant == value);
    let within = value.as_u64().is_none_or(|number| {
        let limit = |key: &str| schema[key].as_u64();
        limit("minimum").is_none_or(|min| number >= min)
            && limit("maximum").is_none_or(|max| number <= max)
    });
    let items_fit = value.as_array().is_none_or(|items| {
        schema["minItems"].as_u64().is_none_or(|min| items.len() as u64 >= min)
            && items.iter().all(|item| follows(item, &schema["items"], root))
    });
    let keys_fit = value.as_object().is_none_or(|object| {
        let property = |key: &str| schema["properties"].get(key);
        let required = schema["required"].as_array().into_iter().flatten();
        required.into_iter().all(|key| object.contains_key(key.as_str().unwrap()))
            && object.iter().all(|(key, value)| {
                match property(key).unwrap_or(&schema["additionalProperties"]) {
                    Value::Bool(allowed) => *allowed,
                    schema => follows(value, schema, root),
                }
            })
    });
    kind_fits && constant_fits && within && items_fit && keys_fit
}

/// An object of a file, and its schema.
struct Object<'s> {
    pointer: String,
    place: Place,
    schema: &'s Value,
}

impl Object<'_> {
    fn properties(&self) -> &Map<String, Value> {
        self.schema["properties"].as_object().unwrap()
    }

    fn is_required(&self, key: &str) -> bool {
        self.schema["required"].as_array().is_some_and(|keys| keys.contains(&json!(key)))
    }
}

/// Every object with known keys in `value`.
fn objects<'s>(
    value: &Value,
    schema: &'s Value,
    root: &'s Value,
    pointer: &str,
    place: &Place,
    found: &mut Vec<Object<'s>>,
) {
    let schema = leaves(schema, root).into_iter().find(|leaf| follows_leaf(value, leaf, root));
    let schema = schema.unwrap_or_else(|| panic!("{place}: {value} is not what the schema says"));
    if schema.get("properties").is_some() {
        let (pointer, place) = (pointer.to_owned(), place.clone());
        found.push(Object { pointer, place, schema });
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        let inner = schema["properties"].get(key).unwrap_or(&schema["additionalProperties"]);
        objects(value, inner, root, &format!("{pointer}/{key}"), &place.key(key), found);
    }
    for (i, value) in value.as_array().into_iter().flatten().enumerate() {
        let inner = &schema["items"];
        objects(value, inner, root, &format!("{pointer}/{i}"), &place.index(i), found);
    }
}

fn full_objects(schema: &Value) -> Vec<Object<'_>> {
    let mut found = Vec::new();
    objects(&value(FULL), schema, schema, "", &Place::default(), &mut found);
    found
}

/// `full.json` with one key of one object changed, or taken away.
fn with(object: &Object<'_>, key: &str, changed: Option<Value>) -> Value {
    let mut file = value(FULL);
    let target = file.pointer_mut(&object.pointer).unwrap().as_object_mut().unwrap();
    match changed {
        Some(changed) => target.insert(key.to_owned(), changed),
        None => target.remove(key),
    };
    file
}

#[test]
fn every_key_of_the_schema_stands_in_full_json() {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    let file = value(FULL);
    let objects = full_objects(&schema);
    let defined = schema["$defs"].as_object().unwrap().values();
    for known in defined.chain([&schema]).flat_map(|definition| leaves(definition, &schema)) {
        for key in known["properties"].as_object().into_iter().flatten().map(|(key, _)| key) {
            let stands = objects.iter().any(|object| {
                std::ptr::eq(object.schema, known)
                    && file.pointer(&object.pointer).unwrap().get(key).is_some()
            });
            assert!(stands, "{key} of {known:#}");
        }
    }
}

#[test]
fn every_key_in_full_json_has_a_comment() {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    let lines: Vec<_> = FULL.lines().map(str::trim).collect();
    for key in full_objects(&schema).iter().flat_map(|object| object.properties().keys()) {
        let start = format!("\"{key}\":");
        let explained = lines.windows(2).any(|pair| {
            pair[0].starts_with("//") && pair[1].trim_start_matches("{ ").starts_with(&start)
        });
        assert!(explained, "{key}");
    }
}

#[test]
fn full_json_is_at_its_defaults() {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    let mut file = value(FULL);
    let mut shown = 0;
    for object in full_objects(&schema) {
        for (key, property) in object.properties() {
            let pointer = format!("{}/{key}", object.pointer);
            let Some(written) = file.pointer(&pointer) else {
                continue;
            };
            let example = match key.as_str() {
                // Shown by example; nothing but an example can show their own keys.
                "access_log"
                | "routes"
                | "accept_proxy"
                | "max_connections_per_source"
                | "sticky"
                | "health"
                | "admin"
                | "on_down" => {
                    written.is_object() || written.as_array().is_some_and(|list| !list.is_empty())
                }
                // Optional only in a file with one pool.
                "pool" => true,
                _ => object.is_required(key),
            };
            if let Some(default) = property.get("default").filter(|_| !example) {
                assert_eq!(written, default, "{pointer}");
            }
            if !example {
                file.pointer_mut(&object.pointer).unwrap().as_object_mut().unwrap().remove(key);
                shown += 1;
            }
        }
    }
    assert!(shown > 40, "{shown}");
    let full = parse(FULL).unwrap();
    assert_eq!(parse(&file.to_string()).unwrap().config, full.config);
    let warned: Vec<_> = full.warnings.iter().map(|warning| warning.path.as_str()).collect();
    assert_eq!(warned, ["pools.insert.sticky.secret"]);
}

#[test]
fn every_example_follows_the_schema() {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    for text in OTHERS.into_iter().chain([FULL]) {
        assert!(follows(&value(text), &schema, &schema), "{text}");
        assert!(text == FULL || parse(text).unwrap().warnings.is_empty(), "{text}");
    }
    assert!(!follows(&json!({ "listeners": [], "pools": {} }), &schema, &schema));
}

#[test]
fn the_reader_knows_the_keys_of_the_schema_and_no_others() {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    for object in full_objects(&schema) {
        let place = object.place.key("zzzzzzzz").to_string();
        let found = problems(&with(&object, "zzzzzzzz", Some(json!(1))));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, place);
        let known = found[0].1.strip_prefix("unknown key, known are: ").unwrap();
        let mut known: Vec<_> = known.split(", ").collect();
        known.sort_unstable();
        let mut expected: Vec<_> = object.properties().keys().map(String::as_str).collect();
        expected.sort_unstable();
        assert_eq!(known, expected, "{place}");
        for key in expected {
            let missing = problems(&with(&object, key, None));
            let place = object.place.key(key).to_string();
            let required = vec![(place.clone(), "is missing".to_owned())];
            let expected = if object.is_required(key) { required } else { Vec::new() };
            assert_eq!(missing, expected, "{place} left out");
        }
    }
}

#[test]
fn the_reader_takes_what_the_schema_allows_and_refuses_the_rest() {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    for object in full_objects(&schema) {
        for (key, property) in object.properties().iter().filter(|(key, _)| *key != "by") {
            let mut right: Vec<Value> = property.get("default").cloned().into_iter().collect();
            let mut wrong = vec![json!(-1.5), json!([[]]), json!(0.5)];
            for leaf in leaves(property, &schema) {
                right.extend(leaf.get("const").cloned());
                right.extend(leaf.get("minimum").cloned());
                right.extend(leaf.get("maximum").cloned());
                wrong.extend(
                    leaf["minimum"].as_u64().and_then(|n| n.checked_sub(1)).map(Value::from),
                );
                wrong.extend(leaf["maximum"].as_u64().map(|n| json!(n + 1)));
                let null = leaf["type"] == "null"
                    || leaf["type"].as_array().is_some_and(|kinds| kinds.contains(&json!("null")));
                right.extend(null.then_some(Value::Null));
            }
            if !right.contains(&Value::Null) {
                wrong.push(Value::Null);
            }
            for right in right {
                assert_eq!(problems(&with(&object, key, Some(right.clone()))), [], "{right}");
            }
            let place = object.place.key(key).to_string();
            for wrong in wrong {
                let found = problems(&with(&object, key, Some(wrong.clone())));
                assert!(!found.is_empty(), "{place}: {wrong}");
                assert!(found.iter().all(|(path, _)| path.starts_with(&place)), "{found:?}");
            }
        }
    }
}
