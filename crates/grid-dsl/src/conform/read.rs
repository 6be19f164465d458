//! Reading lines of stored answers.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::recorded::{Case, Digests, Recorded};
use super::{Record, Task, Vector, named};
use crate::value::Value;

/// An input and its output, which a test may lack.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a test is neither `[input, output]` nor `[input]`, both canonical text")]
enum Test {
    Both(String, Option<String>),
    Input([String; 1]),
}

#[derive(Deserialize)]
#[serde(expecting = "an object: a vector, a program, a trace or a task")]
struct Raw<'a> {
    #[serde(borrow)]
    a: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default, deserialize_with = "present")]
    r: Option<&'a RawValue>,
    e: Option<i64>,
    #[serde(alias = "fn", alias = "function")]
    f: Option<String>,
    #[serde(alias = "name")]
    id: Option<String>,
    task: Option<String>,
    ex: Option<serde_json::Value>,
    #[serde(alias = "lines")]
    src: Option<serde_json::Value>,
    #[serde(borrow)]
    cases: Option<Vec<RawCase<'a>>>,
    train: Option<Vec<(String, String)>>,
    test: Option<Vec<Test>>,
    // A trace may have one case a line.
    #[serde(borrow, rename = "in")]
    input: Option<&'a RawValue>,
    d: Option<Digests>,
    #[serde(borrow, default, deserialize_with = "present")]
    out: Option<&'a RawValue>,
    err_at: Option<String>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object: a case with `in`, `d`, `out` or `err_at`")]
struct RawCase<'a> {
    #[serde(borrow, rename = "in")]
    input: Option<&'a RawValue>,
    d: Option<Digests>,
    #[serde(borrow, default, deserialize_with = "present")]
    out: Option<&'a RawValue>,
    err_at: Option<String>,
}

/// A field that is there, `null` included: that is a value, too.
fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// The function that a file is named after: `objects`, also in `objects.more` or `more-objects`.
fn function_of(stem: &str) -> String {
    let mut parts = std::iter::once(stem).chain(stem.split(['.', '-']));
    parts.find(|part| named(part).is_some()).unwrap_or(stem).to_owned()
}

/// Reads one line. `stem` is the name of its file without ending: for vectors that of the function.
///
/// # Errors
///
/// What the line lacks, in words.
pub fn read(stem: &str, line: &str) -> Result<Record, String> {
    let raw: Raw = serde_json::from_str(line.trim_end()).map_err(unread)?;
    if let Some(args) = raw.a {
        let args = args.into_iter().map(value).collect::<Result<_, _>>()?;
        if raw.r.is_none() && raw.e.is_none() {
            return Err("a vector with neither result `r` nor error `e`".to_owned());
        }
        match (raw.r.is_some(), raw.e.is_some_and(|e| e != 0)) {
            (true, true) => return Err("a vector with both a result `r` and an error `e`".to_owned()),
            (false, false) => return Err("a vector without result `r` that is no error either: `e` is 0".to_owned()),
            _ => {}
        }
        let result = raw.r.map(value).transpose()?.map(|v| v.to_text());
        let function = raw.f.map_or_else(|| Ok(function_of(stem)), printable)?;
        return Ok(Record::Vector(Vector { function, args, result }));
    }
    if let Some(train) = raw.train {
        let grid = |digits: &str| grid(digits).and_then(rectangular);
        let pairs = |all: Vec<(String, String)>| {
            let read = |(i, o): (String, String)| Ok((grid(&i)?, grid(&o)?));
            all.into_iter().map(read).collect::<Result<Vec<_>, String>>()
        };
        let id = printable(raw.id.ok_or("a task without `id`")?)?;
        let test = |test: Test| match test {
            Test::Both(input, Some(output)) => Ok((grid(&input)?, grid(&output)?)),
            Test::Both(input, None) | Test::Input([input]) => Ok((grid(&input)?, Value::None)),
        };
        let tests = raw.test.unwrap_or_default().into_iter().map(test).collect::<Result<_, String>>()?;
        return Ok(Record::Task(Task { id, train: pairs(train)?, test: tests }));
    }
    let single = RawCase { input: raw.input, d: raw.d, out: raw.out, err_at: raw.err_at };
    let cases = match raw.cases {
        Some(cases) => cases,
        None if single.d.is_some() || single.out.is_some() || single.err_at.is_some() => vec![single],
        None => return Err("neither `a`, `train` nor `cases`".to_owned()),
    };
    let examples = match raw.ex {
        Some(serde_json::Value::Array(all)) => all.iter().filter_map(serde_json::Value::as_u64).collect(),
        Some(one) => one.as_u64().into_iter().collect(),
        None => Vec::new(),
    };
    let examples = examples.into_iter().map(|n| n as usize).collect();
    let source = match raw.src {
        Some(serde_json::Value::Array(lines)) => {
            let text = |line: serde_json::Value| line.as_str().map(str::to_owned).ok_or("`src` holds no text");
            Some(lines.into_iter().map(text).collect::<Result<_, _>>()?)
        }
        Some(serde_json::Value::String(text)) => Some(text.lines().map(str::to_owned).collect()),
        _ => None,
    };
    let case = |case: RawCase| -> Result<Case, String> {
        let input = case.input.map(|text| match serde_json::from_str::<String>(text.get()) {
            Ok(digits) => grid(&digits),
            Err(_) => value(text),
        });
        let says_nothing = match &case.d {
            Some(Digests::Ordered(_)) => false,
            Some(Digests::Named(all)) => all.is_empty(),
            None => true,
        };
        match (case.out.is_some(), case.err_at.is_some()) {
            (true, true) => return Err("a case with both an output `out` and a failing line `err_at`".to_owned()),
            (false, false) if says_nothing => {
                return Err("a case with neither `out`, `err_at` nor digests `d`".to_owned());
            }
            _ => {}
        }
        let output = case.out.map(value).transpose()?;
        Ok(Case { input: input.transpose()?, digests: case.d, output, fails_at: case.err_at })
    };
    let cases = cases.into_iter().map(case).collect::<Result<_, _>>()?;
    let id = printable(raw.id.or_else(|| raw.task.clone()).ok_or("a program without `id`")?)?;
    let task = raw.task.map(printable).transpose()?;
    Ok(Record::Program(Recorded { id, task, examples, source, cases }))
}

/// A name that terminals and tables can take.
fn printable(name: String) -> Result<String, String> {
    if name.contains(char::is_control) {
        return Err(format!("the name {name:?} holds a control character"));
    }
    Ok(name)
}

/// Why JSON cannot be read, with the column: the line is that of the file.
fn unread(e: serde_json::Error) -> String {
    let (text, place) = (e.to_string(), format!(" at line {} column {}", e.line(), e.column()));
    format!("no record: {}, column {}", text.strip_suffix(&place).unwrap_or(&text), e.column())
}

/// A task's grid, unless its rows differ in length.
fn rectangular(grid: Value) -> Result<Value, String> {
    if grid.is_grid() { Ok(grid) } else { Err("a grid whose rows differ in length".to_owned()) }
}

fn value(text: &RawValue) -> Result<Value, String> {
    text.get().parse().map_err(|e| format!("no value: {e}"))
}

fn grid(digits: &str) -> Result<Value, String> {
    Value::grid_from_digits(digits).ok_or_else(|| "a grid that is not rows of digits".to_owned())
}
