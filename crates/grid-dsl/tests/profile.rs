//! The profile as JSON: what the schema says, and figures that add up.

mod common;

use common::grid;
use grid_dsl::profile::{Device, Picture, Profile, Recorder};
use grid_dsl::{Batch, Dag, ExecOpts, Patterns, Program};
use serde_json::{Value as Json, json};

/// What of a document is not as a schema wants it: types, names of fields, least and largest numbers.
fn faults(schema: &Json, document: &Json, at: &str, all: &mut Vec<String>) {
    let kind = match document {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(n) if n.is_u64() || n.is_i64() => "integer",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    };
    let wanted: Vec<&str> = match &schema["type"] {
        Json::Array(all) => all.iter().filter_map(Json::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    let fits = wanted.contains(&kind) || (kind == "integer" && wanted.contains(&"number"));
    if !fits {
        all.push(format!("{at}: {kind} and not {wanted:?}"));
    }
    let number = document.as_f64();
    if number.zip(schema["minimum"].as_f64()).is_some_and(|(n, least)| n < least) {
        all.push(format!("{at}: {document} is too small"));
    }
    if number.zip(schema["maximum"].as_f64()).is_some_and(|(n, most)| n > most) {
        all.push(format!("{at}: {document} is too large"));
    }
    if schema["enum"].as_array().is_some_and(|all| !all.contains(document)) {
        all.push(format!("{at}: {document} is none of {}", schema["enum"]));
    }
    for (k, item) in document.as_array().into_iter().flatten().enumerate() {
        faults(&schema["items"], item, &format!("{at}[{k}]"), all);
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str) {
        if document.get(name).is_none() {
            all.push(format!("{at}: no `{name}`"));
        }
    }
    for (name, field) in document.as_object().into_iter().flatten() {
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Json::Null, rest @ Json::Object(_)) => faults(rest, field, &format!("{at}.{name}"), all),
            (Json::Null, _) => all.push(format!("{at}: `{name}` is not known")),
            (known, _) => faults(known, field, &format!("{at}.{name}"), all),
        }
    }
}

fn of_schema(document: &Json) -> Vec<String> {
    let schema: Json = serde_json::from_str(include_str!("../profile.schema.json")).unwrap();
    let mut all = Vec::new();
    faults(&schema, document, "profile", &mut all);
    all
}

fn measured(patterns: Patterns) -> Profile {
    let text =
        "program a(I)\n x = rot90(I)\n y = hmirror(x)\n z = objects(y, T, F, T)\n n = first(z)\nreturn y, n\nend\n";
    let dag = Dag::build(&Program::parse(text).unwrap());
    let recorder = Recorder::new();
    let batch = Batch::from_grids(["012", "00/01", "0"].map(grid));
    dag.run_with(&batch, &ExecOpts::default(), patterns, Some(&recorder));
    recorder.profile()
}

#[test]
fn profiles_are_what_the_schema_says() {
    let mut profile = measured(Patterns::default());
    profile.devices.push(Device { name: "a GPU".into(), calls: 1, ..Device::default() });
    profile.spills.insert("too large".into(), 3);
    profile.pictures.push(Picture { program: "a".into(), expected: None, ..Picture::default() });
    let document = serde_json::to_value(&profile).unwrap();
    assert_eq!(of_schema(&document), [""; 0]);
    assert_eq!(serde_json::from_value::<Profile>(document.clone()).unwrap(), profile);
    // The check itself finds what is not there, not known, of another type or too small.
    let mut broken = document;
    broken["nodes"] = json!("4");
    broken["cache"]["hits"] = json!(-1);
    broken["more"] = json!(1);
    broken.as_object_mut().unwrap().remove("levels");
    broken["levels"] = json!([{ "nodes": 1, "calls": 1 }]);
    let found = of_schema(&broken);
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(serde_json::from_value::<Profile>(broken).is_err());
}

#[test]
fn figures_add_up() {
    let profile = measured(Patterns::NONE);
    let calls = |name: &str| (profile.opcodes[name].calls, profile.opcodes[name].errors);
    assert_eq!((calls("rot90"), calls("objects"), calls("first")), ((3, 0), (3, 0), (3, 1)));
    assert_eq!((profile.nodes, profile.samples, profile.programs), (4, 3, 1));
    let of_levels: u64 = profile.levels.iter().map(|level| level.calls).sum();
    assert_eq!(of_levels, profile.opcodes.values().map(|cost| cost.calls).sum::<u64>());
    let seconds: f64 = profile.opcodes.values().map(|cost| cost.seconds).sum();
    assert!((seconds - profile.busy_seconds).abs() < 1e-9 && seconds > 0.0);
    assert!(profile.patterns.is_empty() && profile.knobs["patterns"].is_empty());
    assert_eq!(profile.progress.last().map(|(_, samples)| *samples), Some(3));
    let profile = measured(Patterns::default());
    assert_eq!((profile.patterns["P5"].ran, profile.patterns["P5"].nodes), (3, 2));
    assert!(!profile.opcodes.contains_key("rot90"));
    assert_eq!(profile.levels.iter().map(|level| level.calls).sum::<u64>(), of_levels);
}
