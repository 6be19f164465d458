use super::*;
use crate::value::hex;

fn verdict(stem: &str, line: &str) -> Verdict {
    match read(stem, line).unwrap() {
        Record::Vector(vector) => vector.verify(&Limits::default()),
        Record::Program(recorded) => match recorded.program(&Library::default()) {
            Ok(program) => recorded.verify(&program, 0, &Library::default(), &Limits::default()),
            Err(why) => Verdict::Unsupported(why),
        },
        Record::Task(_) => panic!("a task"),
    }
}

#[test]
fn vectors() {
    assert_eq!(verdict("size", r#"{"a":[{"t":[]}],"r":0}"#), Verdict::Right);
    assert_eq!(verdict("size", r#"{"a":[{"t":[]}],"r":0,"e":0}"#), Verdict::Right);
    assert_eq!(verdict("size.more", r#"{"a":[5],"e":1,"src":"x"}"#), Verdict::Right);
    assert_eq!(verdict("x", r#"{"f":"index","a":[{"g":"0"},{"t":[5,5]}],"r":null}"#), Verdict::Right);
    let Verdict::Wrong(what) = verdict("size", r#"{"a":[{"t":[]}],"e":1}"#) else { panic!("not wrong") };
    assert_eq!(what, r#"size({"t":[]}) = 0, expected an error"#);
    assert!(matches!(verdict("sizes", r#"{"a":[5],"e":1}"#), Verdict::Unsupported(_)));
    // A truth value is not the number that it equals.
    assert!(matches!(verdict("positive", r#"{"a":[5],"r":1}"#), Verdict::Wrong(_)));
    for broken in [
        "",
        "{}",
        r#"{"a":[{"q":1}],"r":0}"#,
        r#"{"a":[5]}"#,
        r#"{"a":[5],"e":0}"#,
        r#"{"a":[{"t":[]}],"r":0,"e":1}"#,
        r#"{"train":[["0",null]],"id":"a"}"#,
        r#"{"train":[],"test":[[null,"0"]],"id":"a"}"#,
        r#"{"cases":[]}"#,
        r#"{"id":"p","src":["x1 = size(I)"],"cases":[{"in":"0"}]}"#,
        r#"{"id":"p","src":["x1 = size(I)"],"cases":[{"in":"0","d":{}}]}"#,
        r#"{"id":"p","src":["x1 = size(I)"],"cases":[{"in":"0","out":1},{"in":"0"}]}"#,
        r#"{"id":"p","src":["x1 = size(I)"],"cases":[{"in":"0","out":1,"err_at":"x1"}]}"#,
        r#"{"id":"p","src":["x1 = size(I)"],"in":"0","out":1,"err_at":"x1"}"#,
        r#"{"train":[["0","x"]],"id":"a"}"#,
        // Terminals do what such names say.
        r#"{"train":[["0","1"]],"id":"a\u001b[31m"}"#,
        r#"{"f":"si\nze","a":[{"t":[]}],"r":0}"#,
    ] {
        assert!(read("size", broken).is_err(), "{broken}");
    }
}

/// Names that programs of the dialect may write are names of files, too.
#[test]
fn vectors_of_the_dialect() {
    let sizes = r#"{"a":[{"t":[{"t":[1]},{"t":[1,2]}]},{"f":"size"},0],"r":{"t":[1,2]}}"#;
    for stem in ["get_arg_rank", "get_arg_rank_t", "get_arg_rank_f", "get_arg_rank_t.more"] {
        assert!(!matches!(verdict(stem, sizes), Verdict::Unsupported(_)), "{stem}");
    }
    let colour = r#"{"a":[{"g":"011/233"},0],"r":1}"#;
    for stem in ["get_color_rank_t", "get_color_rank_f", "more-get_color_rank_t"] {
        assert_eq!(verdict(stem, colour), Verdict::Right, "{stem}");
    }
    assert_eq!(verdict("x", r#"{"f":"size_t","a":[{"t":[]}],"r":0}"#), Verdict::Right);
    assert_eq!(verdict("difference_t", r#"{"a":[{"t":[1,5]},{"t":[5]}],"r":{"t":[1]}}"#), Verdict::Right);
    assert!(matches!(verdict("get_nth_q", colour), Verdict::Unsupported(_)));
}

#[test]
fn tests_of_tasks_may_lack_outputs() {
    let line = r#"{"id":"a","train":[["0","0"]],"test":[["1"],["2",null],["3","4"]]}"#;
    let Ok(Record::Task(task)) = read("t", line) else { panic!("no task") };
    assert_eq!(task.test[..2], [1, 2].map(|n| (Value::grid([[n]]), Value::None)));
    let program = Program::from_lines("a", &["x1 = rot90(I)"], Dialect::Core).unwrap();
    let verdicts = task.verify_on(&Reference, &program, &Limits::default());
    assert!(matches!(&verdicts[..], [Verdict::Right, Verdict::Wrong(what)] if what.contains("test 2:")));
    assert!(matches!(task.verify(&program, 2, &Limits::default()), Verdict::Unsupported(_)));
}

#[test]
fn programs() {
    let digest = |value: i32| hex(Value::Int(value).digest());
    let line = |d: &str, rest: &str| {
        format!(r#"{{"id":"p","src":["x1 = size(I)","x2 = divide(x1, ZERO)"],"cases":[{{"in":"0/1","d":{d}{rest}}}]}}"#)
    };
    let (two, three) = (format!(r#"["{}"]"#, digest(2)), format!(r#"["{}"]"#, digest(3)));
    assert_eq!(verdict("p", &line(&two, r#","err_at":"x2""#)), Verdict::Right);
    assert_eq!(verdict("p", &line(&format!(r#"{{"x1":"{}"}}"#, digest(2)), r#","err_at":"x2""#)), Verdict::Right);
    for (line, words) in [
        (line(&three, r#","err_at":"x2""#), "x1 has digest"),
        (line(&two, r#","out":5"#), "fails at x2"),
        (line("[]", r#","err_at":"x2""#), "1 lines have values, expected 0"),
        (r#"{"id":"p","src":["x1 = size(I)"],"in":"0/1","out":3}"#.to_owned(), "returns 2, expected 3"),
        (r#"{"id":"p","src":["x1 = size(I)"],"in":"0/1","err_at":"x1"}"#.to_owned(), "fails nowhere, expected x1"),
    ] {
        let Verdict::Wrong(what) = verdict("p", &line) else { panic!("{line}") };
        assert!(what.contains(words), "{what}");
    }
    assert!(matches!(verdict("p", r#"{"id":"p","cases":[{"in":"0","out":1}]}"#), Verdict::Unsupported(_)));
}
