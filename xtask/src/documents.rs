//! What the `bench --json` of each domain and the peers print, as rows.
//!
//! Both are one JSON object: what was measured on what, and under `rows` one object an operation with `median_s`,
//! `p10_s` and `p90_s`. Peers add `best`, their fastest variant of each operation, which is what counts. A row that
//! names its `kernel`, `shape` and `dtype` itself needs no document around it.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::results::Row;

/// The rows of a document.
pub(crate) fn rows(text: &str) -> Result<Vec<Row>> {
    let document: Value = serde_json::from_str(text.trim()).context("its output is no JSON document")?;
    let measured: Vec<&Value> = match document["best"].as_object() {
        Some(best) => {
            let mut all: Vec<&Value> = Vec::new();
            for row in best.values() {
                if !all.contains(&row) {
                    all.push(row);
                }
            }
            all
        }
        None => document["rows"].as_array().into_iter().flatten().collect(),
    };
    if measured.is_empty() {
        bail!("its output has no rows");
    }
    measured.into_iter().map(|row| one(&document, row)).collect()
}

fn one(document: &Value, row: &Value) -> Result<Row> {
    let seconds = |key: &str| row[key].as_f64().with_context(|| format!("a row has no {key}: {row}"));
    let median = seconds("median_s")?;
    let bytes = row["floor_bytes"].as_f64().or(document["floor_bytes"].as_f64());
    let bytes = bytes.or(document["least_traffic_bytes"].as_f64());
    let copy = document["copy_bytes_per_s"].as_f64();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut variant = text(&row["variant"]).or_else(|| text(&document["engine"])).unwrap_or_default();
    if row["graph"] == true {
        variant.push_str(", graph");
    }
    if document["compiled"] == true {
        variant.push_str(", compiled");
    }
    let named = text(&row["kernel"]);
    let element = row["dtype"].as_str().or(document["dtype"].as_str());
    Ok(Row {
        shape: match (&named, text(&row["shape"])) {
            (Some(_), Some(shape)) => shape,
            _ => shape(document)?,
        },
        kernel: named.map_or_else(|| operation(row), Ok)?,
        element: match element {
            Some("float32") => "f32".into(),
            Some("float64") => "f64".into(),
            other => other.context("the document has no dtype")?.to_owned(),
        },
        variant,
        bytes,
        flop: row["flop"].as_f64(),
        samples: row["samples"].as_u64().or(document["repeat"].as_u64()).unwrap_or(0),
        seconds_median: median,
        seconds_p10: seconds("p10_s")?,
        seconds_p90: seconds("p90_s")?,
        ceiling: copy.map(|speed| format!("copying at {:.0} GB/s", speed / 1e9)).or_else(|| {
            let how = if row["floor_estimated"] == true { ", estimated" } else { "" };
            row["floor_s"].as_f64().map(|least| format!("at least {:.3} ms{how}", least * 1e3))
        }),
        ceiling_fraction: bytes
            .zip(copy)
            .map(|(bytes, copy)| bytes / median / copy)
            .or_else(|| row["floor_share"].as_f64()),
        peer: text(&row["peer"]).or_else(|| text(&document["peer"])),
        ..Row::default()
    })
}

/// `nsct dec`, or `nsct dec, one by one` for a loop over the images of the batch.
fn operation(row: &Value) -> Result<String> {
    if let Some(what) = row["what"].as_str() {
        let (op, looped) = what.split_once(' ').map_or((what, ""), |(op, how)| (op, how));
        return Ok(if looped.is_empty() { format!("nsct {op}") } else { format!("nsct {op}, {looped}") });
    }
    let op = row["op"].as_str().with_context(|| format!("a row names no operation: {row}"))?;
    Ok(match row["mode"].as_str().unwrap_or("batched") {
        "batched" => format!("nsct {op}"),
        "looped" | "looped over images" => format!("nsct {op}, one by one"),
        other => format!("nsct {op}, {other}"),
    })
}

/// `[8, 3, 512, 512] levels 2,3,3,4`.
fn shape(document: &Value) -> Result<String> {
    let numbers = |value: &Value| -> Option<Vec<u64>> { value.as_array()?.iter().map(Value::as_u64).collect() };
    let dims = match (numbers(&document["shape"]), document["size"].as_u64()) {
        (Some(dims), _) => dims,
        (None, Some(size)) => vec![document["batch"].as_u64().unwrap_or(1), 1, size, size],
        (None, None) => bail!("the document has neither shape nor size"),
    };
    let levels = numbers(&document["levels"]).or_else(|| numbers(&document["transform"]["levels"]));
    let join = |numbers: &[u64], between: &str| numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(between);
    let levels = levels.context("the document has no levels")?;
    Ok(format!("[{}] levels {}", join(&dims, ", "), join(&levels, ",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_and_a_peer_name_the_same_task_alike() {
        let ours = r#"{"shape":[1,1,512,512],"dtype":"f32","transform":{"levels":[2,3,3,4]},"engine":"spectral",
            "floor_bytes":100,"copy_bytes_per_s":1000,"rows":[
            {"what":"dec","median_s":0.2,"p10_s":0.1,"p90_s":0.3,"samples":20},
            {"what":"dec one by one","median_s":0.4,"p10_s":0.1,"p90_s":0.5,"samples":20}]}"#;
        let row = r#"{"op":"dec","mode":"batched","variant":"planes","median_s":0.3,"p10_s":0.2,"p90_s":0.4}"#;
        let looped = row.replace("batched", "looped");
        let peer = format!(
            r#"{{"peer":"numpy","size":512,"batch":1,"levels":[2,3,3,4],"dtype":"float32","repeat":20,
            "best":{{"dec batched":{row},"dec batched, no graph":{row},"dec looped":{looped}}},"rows":[{row}]}}"#
        );
        let (ours, peer) = (rows(ours).unwrap(), rows(&peer).unwrap());
        assert_eq!((ours.len(), peer.len()), (2, 2));
        for (a, b) in ours.iter().zip(&peer) {
            assert_eq!((&a.kernel, &a.shape, &a.element), (&b.kernel, &b.shape, &b.element));
        }
        assert_eq!(ours[1].kernel, "nsct dec, one by one");
        assert_eq!((ours[0].ceiling_fraction, ours[0].variant.as_str()), (Some(0.5), "spectral"));
        assert_eq!((peer[0].peer.as_deref(), peer[0].samples), (Some("numpy"), 20));
    }

    #[test]
    fn a_row_may_know_its_floor() {
        let text = r#"{"rows":[{"kernel":"style","shape":"1x9x9","dtype":"f16","median_s":0.002,"p10_s":0.001,
            "p90_s":0.003,"floor_s":0.0005,"floor_share":0.25}]}"#;
        let row = &rows(text).unwrap()[0];
        assert_eq!((row.ceiling.as_deref(), row.ceiling_fraction), (Some("at least 0.500 ms"), Some(0.25)));
        let guessed = text.replace("0.25}", "0.25,\"floor_estimated\":true}");
        assert_eq!(rows(&guessed).unwrap()[0].ceiling.as_deref(), Some("at least 0.500 ms, estimated"));
    }

    #[test]
    fn what_is_no_document_is_refused() {
        assert!(rows("no JSON").is_err() && rows("{\"rows\":[]}").is_err());
        assert!(rows(r#"{"rows":[{"what":"dec"}]}"#).unwrap_err().to_string().contains("median_s"));
    }

    #[test]
    fn a_row_may_say_everything_itself() {
        let text = r#"{"peer":"torch","rows":[{"kernel":"style","shape":"1x512x512","dtype":"f16",
            "variant":"max-autotune","samples":20,"median_s":2e-3,"p10_s":1e-3,"p90_s":3e-3,"flop":8e10}]}"#;
        let row = &rows(text).unwrap()[0];
        assert_eq!((row.kernel.as_str(), row.shape.as_str(), row.element.as_str()), ("style", "1x512x512", "f16"));
        assert_eq!((row.variant.as_str(), row.samples, row.flop), ("max-autotune", 20, Some(8e10)));
        let several = text.replace(r#""variant""#, r#""peer":"onnx","variant""#);
        assert_eq!(rows(&several).unwrap()[0].peer.as_deref(), Some("onnx"), "a row names its own program");
    }
}
