//! Texts of programs: what is read, what is refused, and where the fault is said to be.

use grid_dsl::{Dialect, Limits, Machine, Prim, Program, Sample, Value, constants, python};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn fault(text: &str) -> (usize, usize, String) {
    let all = Program::parse_all(text, Dialect::Core).expect_err(text);
    assert_eq!(all.len(), 1, "{text}: {all:?}");
    (all[0].line, all[0].column, all[0].to_string())
}

#[test]
fn a_program_and_its_canonical_text() {
    let text = "# a comment\n\nprogram frame(S, I)   # more\n\tx1=objects( I,T , F,T)\n  f = compose(outbox, first)\n \
                x2 = f(x1)\n x3 = fill(I, -7, x2)\n x4 = crop(x3, (0, -1), UNITY)\nreturn x4, x3\nend\n\
                program b(I)\r\n x = rot90(I)\r\nreturn x\r\nend";
    let programs = Program::parse(text).unwrap();
    assert_eq!(programs.len(), 2);
    let canonical = "program frame(S, I)\n  x1 = objects(I, T, F, T)\n  f = compose(outbox, first)\n  x2 = f(x1)\n  \
                     x3 = fill(I, -7, x2)\n  x4 = crop(x3, (0, -1), UNITY)\nreturn x4, x3\nend\n";
    assert_eq!(programs[0].to_text(), canonical);
    assert_eq!(Program::parse(canonical).unwrap()[0], programs[0]);
}

#[test]
fn faults_have_places() {
    let within = |line: &str| format!("program a(I)\n y = rot90(I)\n{line}\n z = rot90(I)\nreturn z\nend\n");
    for (line, column, words) in [
        (" x = rot91(I)", 6, "did you mean `rot90`"),
        (" x = rot90(q)", 12, "the name `q` is not known"),
        (" y = rot90(I)", 2, "`y` is assigned twice"),
        (" rot90 = hmirror(I)", 2, "`rot90` is a function"),
        (" TWO = hmirror(I)", 2, "`TWO` is a constant"),
        (" I = hmirror(I)", 2, "`I` is an input"),
        (" x = ONE(I)", 6, "`ONE` is no function"),
        (" x = I(I)", 6, "`I` is no function"),
        (" x = x(I)", 6, "the name `x` is not known"),
        (" x = rot90(rot90(I))", 17, "calls cannot be nested"),
        (" x = rot90(I", 13, "the line ends"),
        (" x = rot90(I) y", 15, "the end of the line expected"),
        (" x = rot90(I,)", 14, "an argument"),
        (" x = crop(I, (0, ONE), UNITY)", 18, "a number expected"),
        (" x = fill(I, 2147483648, y)", 14, "more than 32 bits"),
        (" x = rot90(I) ü", 15, "the character 'ü'"),
        (" x = o_g(I, 5)", 6, "the dialect `batt`"),
        (" 7x = rot90(I)", 2, "cannot begin with a digit"),
        (" x rot90(I)", 4, "`=` expected"),
    ] {
        let (at, found, message) = fault(&within(line));
        assert_eq!((at, found), (3, column), "{line}: {message}");
        assert!(message.contains(words), "{line}: {message}");
    }
    assert_eq!(fault("program a(I)\n x = rot90(I)\nreturn y\nend\n").0, 3);
    assert!(fault("program a(I)\n x = rot90(I)\nend\n").2.contains("`return` expected"));
    assert!(fault("program a(I)\n x = rot90(I)\nreturn x\n").2.contains("add a line `end`"));
    assert!(fault("program a(J)\n x = rot90(ONE)\nreturn x\nend\n").2.contains("`(I)`, `(S, I)`"));
    assert!(fault("program a(I)\nreturn I\nend\nprogram a(I)\nreturn I\nend\n").2.contains("a second program"));
    assert!(fault("x = rot90(I)").2.contains("`program NAME(I)`"));
}

#[test]
fn several_faults_are_told_at_once() {
    let text = "program a(I)\n x = rot91(I)\n y = rot90(x)\n z = rot90(u)\nreturn y\nend\n";
    let all = Program::parse_all(text, Dialect::Core).unwrap_err();
    assert_eq!(all.iter().map(|d| (d.line, d.column)).collect::<Vec<_>>(), [(2, 6), (4, 12)]);
    let shown = all[0].render("a.grid", text);
    assert!(shown.starts_with("error: a.grid:2:6: ") && shown.contains("\n  |  x = rot91(I)\n  |      ^"), "{shown}");
}

#[test]
fn long_programs_are_refused() {
    let lines: Vec<String> = (0..=Limits::default().lines).map(|k| format!("x{k} = rot90(I)")).collect();
    assert!(Program::from_lines("a", &lines[1..], Dialect::Core).is_ok());
    assert!(Program::from_lines("a", &lines, Dialect::Core).unwrap_err()[0].message.contains("at most 4096 lines"));
    assert!(Program::from_lines::<&str>("a", &[], Dialect::Core).is_err());
}

#[test]
fn python_of_the_known_shape() {
    let text = "from dsl import *\nimport constants\n\n# comment\ndef solve_a(I):\n    x1 = vmirror(I)\n    if x == 1: return x1\n    \
                O = hconcat(I, x1)\n    return O\n\n\ndef solve_b(S, I, C):\n\tO = first(S)\n\treturn O\n\
                def helper(I):\n    return [I]\n    x = rot90(I)\ndef solve_c(I):\n    O = rot90(5)\n    return O\n\
                def solve_d(S, I, x=0):\n    O = rot90(I)\n    return O\nx = 5\ndef solve_e(I):\n    O = rot90(I)\n";
    let found = python::import(text, Dialect::Core);
    let names: Vec<&str> = found.programs.iter().map(Program::name).collect();
    assert_eq!(names, ["solve_a", "solve_b", "solve_d"]);
    assert_eq!(
        found.programs[0].to_text(),
        "program solve_a(I)\n  x1 = vmirror(I)\n  O = hconcat(I, x1)\nreturn O\nend\n"
    );
    let places: Vec<_> = found.diagnostics.iter().map(|d| (d.line, d.column)).collect();
    assert_eq!(places, [(16, 12), (19, 15), (24, 1), (25, 1)]);
}

/// Names of the programs of a Python file, and the lines of what is wrong with it.
fn imported(text: &str) -> (Vec<String>, Vec<usize>) {
    let found = python::import(text, Dialect::Core);
    (found.programs.iter().map(|p| p.name().to_owned()).collect(), found.diagnostics.iter().map(|d| d.line).collect())
}

#[test]
fn text_in_strings_of_python_is_no_code() {
    let solver = |name: &str| format!("def solve_{name}(I):\n    O = rot90(I)\n    return O\n");
    let (s, t) = (solver("s"), solver("t"));
    for quotes in ["\"\"\"", "'''", "r\"\"\""] {
        let end = quotes.trim_start_matches('r');
        let text = format!("x = {quotes}\n{s}  # \" ' \\{end}\n{end}\n{t}");
        assert_eq!(imported(&text), (vec!["solve_t".to_owned()], vec![1]), "{text}");
    }
    // A string that never ends, one that goes on behind a backslash, and a broken function with text at the margin.
    assert_eq!(imported(&format!("{t}x = \"\"\"\n{s}")), (vec!["solve_t".to_owned()], vec![4]));
    assert_eq!(imported(&format!("x = 'a\\\n{s}\n{t}")).0, ["solve_t"]);
    let text = format!("def solve_s(I):\n    \"\"\"text\n{s}    \"\"\"\n    O = rot90(I)\n    return O\n{t}");
    assert_eq!(imported(&text), (vec!["solve_t".to_owned()], vec![2]));
    // Quotes in comments and a quote that ends with its line open nothing.
    let text = format!("# \"\"\"\n{s}# don't\nx = 'it\n{t}");
    assert_eq!(imported(&text), (vec!["solve_s".to_owned(), "solve_t".to_owned()], vec![6]));
    assert_eq!(imported(&format!("x = '\"\"\"'\n{s}")), (vec!["solve_s".to_owned()], vec![1]));
}

#[test]
fn decorated_functions_of_python_are_errors_alone() {
    let solver = |name: &str| format!("def solve_{name}(I):\n    O = rot90(I)\n    return O\n");
    let text = format!("@deco\n{}@a\n@b(\n    1,\n)\n\n{}{}", solver("s"), solver("t"), solver("u"));
    assert_eq!(imported(&text), (vec!["solve_u".to_owned()], vec![1, 5]));
}

#[test]
fn the_last_definition_of_python_counts_even_if_it_cannot_be_read() {
    let solver = |name: &str, line: &str| format!("def solve_{name}(I):\n    O = {line}\n    return O\n");
    let (good, other, bad) = (solver("s", "rot90(I)"), solver("s", "rot180(I)"), solver("s", "[I]"));
    let found = python::import(&format!("{good}{other}"), Dialect::Core);
    assert_eq!(found.programs, Program::parse("program solve_s(I)\n O = rot180(I)\nreturn O\nend").unwrap());
    for (text, names, at) in [
        (format!("{good}{bad}"), vec![], 5),
        (format!("{bad}{good}"), vec!["solve_s".to_owned()], 2),
        (format!("{good}@deco\n{other}"), vec![], 4),
        (format!("{good}def solve_s(I, J):\n    return I\n"), vec![], 4),
        (format!("{good}def solve_s(I):\n    O = rot90(I)\n"), vec![], 4),
    ] {
        assert_eq!(imported(&text), (names, vec![at]), "{text}");
    }
}

#[test]
fn names_that_mean_something_else_in_python_are_errors() {
    let fault = |text: &str| {
        let found = python::import(text, Dialect::Core);
        assert!(found.programs.is_empty(), "{text}");
        (found.diagnostics[0].line, found.diagnostics[0].column, found.diagnostics[0].message.clone())
    };
    for (text, line, column, words) in [
        ("def solve_s(I):\n    if = rot90(I)\n    return I\n", 2, 5, "`if` is a word of Python"),
        ("def solve_s(I):\n    return = rot90(I)\n    return I\n", 2, 5, "`return` is a word of Python"),
        ("def solve_s(I):\n    None = rot90(I)\n    return I\n", 2, 5, "`None` is a word of Python"),
        ("def lambda(I):\n    return I\n", 1, 5, "`lambda` is a word of Python"),
        // What calls these would mean something else.
        ("def rot90(I):\n    O = rot180(I)\n    return O\n", 1, 5, "`rot90` is a name of the language"),
        ("def TWO(I):\n    return I\n", 1, 5, "`TWO` is a name of the language"),
        // A line ends there for Python, and what is behind a comment is code.
        ("# one\rdef solve_s(I):\r    return I\r", 1, 6, "carriage return"),
        ("def solve_s(I):\n    # one\r    return I\n", 2, 10, "carriage return"),
    ] {
        let (at, found, message) = fault(text);
        assert_eq!((at, found), (line, column), "{text}: {message}");
        assert!(message.contains(words), "{text}: {message}");
    }
}

#[test]
fn one_fault_is_told_once() {
    for line in ["O = fill(I, 99999999999999999999, I)", "O = fill(I, $, I)", "O = fill(I, 1,", "O = nix(I)"] {
        let text = format!("program a(I)\n  {line}\n  P = rot90(O)\nreturn P\nend\n");
        let faults = Program::parse_all(&text, Dialect::Core).unwrap_err();
        assert_eq!((faults.len(), faults[0].line), (1, 2), "{line}: {faults:?}");
    }
    // What is not there is not guessed from one letter.
    let faults = Program::parse_all("program a(I)\n  O = rot90(x)\nreturn O\nend\n", Dialect::Core).unwrap_err();
    assert!(faults[0].help.as_ref().is_some_and(|help| help.contains("assigned above")), "{faults:?}");
}

#[test]
fn what_uses_a_replaced_name_of_the_language_is_left_out() {
    let solvers = "def solve_a(I):\n    O = rot90(I)\n    return O\ndef solve_b(I):\n    O = crop(I, ORIGIN, TWO_BY_TWO)\n    \
                   return O\ndef solve_c(I):\n    O = hmirror(I)\n    return O\n";
    let names = |names: &[&str]| names.iter().map(|name| format!("solve_{name}")).collect::<Vec<_>>();
    // Python looks names up when a function is called: above, too.
    for (text, left, at) in [
        (format!("from x import vmirror as rot90\n{solvers}"), names(&["b", "c"]), vec![1]),
        (format!("import x, y as ORIGIN\n{solvers}"), names(&["a", "c"]), vec![1]),
        (format!("{solvers}def hmirror(I):\n    return I\n"), names(&["a", "b"]), vec![10]),
        (format!("{solvers}@cached\ndef hmirror(I):\n    return I\n"), names(&["a", "b"]), vec![10]),
        (format!("rot90 = cached(vmirror)\n{solvers}"), names(&["b", "c"]), vec![1]),
        (format!("{solvers}x, ORIGIN = hmirror = {{'a': 1}}, 2\n"), names(&["a"]), vec![10]),
        (format!("TWO_BY_TWO: tuple = (3, 3)\n{solvers}"), names(&["a", "c"]), vec![1]),
        (format!("{solvers}class hmirror:\n    pass\n"), names(&["a", "b"]), vec![10]),
        (format!("for rot90, x in y:\n    pass\n{solvers}"), names(&["b", "c"]), vec![1]),
        // What changes no meaning leaves nothing out.
        (
            format!("ORIGIN = (0, 0)  # as ever\nTWO_BY_TWO = 2, 2\nF = False\n{solvers}"),
            names(&["a", "b", "c"]),
            vec![],
        ),
        (format!("check(rot90 == ORIGIN, x=hmirror)\n{solvers}"), names(&["a", "b", "c"]), vec![1]),
        (format!("from x import rot90 as rot90, vmirror as v  # as rot90\n{solvers}"), names(&["a", "b", "c"]), vec![]),
    ] {
        assert_eq!(imported(&text), (left, at), "{text}");
    }
}

#[test]
fn names_are_bound_at_module_level_as_in_python() {
    let solver = |name: &str, of: &str| format!("def solve_{name}(I):\n    O = identity({of})\n    return O\n");
    let solvers =
        [("a", "rot90"), ("b", "ORIGIN"), ("c", "F"), ("d", "size")].map(|(name, of)| solver(name, of)).concat();
    // Solvers that are left, with something in front of them.
    for (text, left) in [
        ("import sys; ORIGIN = (1, 1)", "acd"),
        ("import rot90, dsl", "bcd"),
        ("from x import y; rot90 = y", "bcd"),
        ("\u{c}def rot90(I):\n    return I", "bcd"),
        ("rot90 >>= 1\nORIGIN <<= 1\nF += size", "d"),
        ("with x() as rot90, y as (F): pass", "bd"),
        ("try:\n    pass\nexcept E as rot90:\n    pass", "bcd"),
        ("for i in z: ORIGIN = i", "acd"),
        ("for k, (F, *rot90) in size.y[rot90]: pass", "bd"),
        ("x = (rot90 := y)\nprint(F := 5)", "bd"),
        ("ORIGIN \\\n= 5\nx = \\\n  rot90 = 5", "cd"),
        ("(x,\n rot90) = 1, 2\n[F, [size]] = y", "b"),
        ("from x import (\n    a as rot90,\n    F,\n)\nfrom x import a, \\\n    b as size", "bc"),
        ("d['#'], rot90 = 1, 2\nd = '('; F = 5", "bd"),
        ("x = \"\"\"\n\"\"\"; rot90 = 5", "bcd"),
        ("if x == size:\n    F = 5\nelse: rot90 = 3", "bd"),
        ("async def rot90(x): size = 3", "bcd"),
        ("class F:\n    rot90 = 5\n    def size(x): pass", "abd"),
        ("T = 1\nF = 0\nORIGIN = [0, 0]", "ad"),
        ("é, F = x", "abd"),
        // What binds none of them.
        ("\"\"\"F = False is what solvers use.\"\"\"", "abcd"),
        ("\"\"\"Solvers. rot90 = turns\nF = 3\n\"\"\"", "abcd"),
        ("HELP = \"F=False\"\nassert rot90 == 1, \"F = 3\"", "abcd"),
        ("config['size'] = 30\ncache[rot90] = x.F = 5\nsize.x = F(ORIGIN)[0] = 1", "abcd"),
        ("x: F = 5\nf = lambda F=1, *size: F\nif rot90 <= 1: x = 2", "abcd"),
        ("x = rot90; y = F\ndel c[rot90], c[\"F\"], c.size; z = F", "abcd"),
        ("for x.rot90 in y: pass\néF = 3\nx = dict(\nF=1,\n)", "abcd"),
        ("x = (1,\ndef helper(x):\n    rot90 = x\n    ORIGIN: tuple = x", "abcd"),
        ("defrot90 = 3\nwhile F != size: x = 1", "abcd"),
        // What constants are.
        ("ORIGIN: tuple = (0, 0)\nORIGIN = (0, 0,)\nORIGIN = x = 0, 0; F = (False)", "abcd"),
    ] {
        for text in [
            format!("{text}\n{solvers}"),
            format!("{solvers}{text}\n"),
            format!("{solvers}{text}\n").replace('\n', "\r\n"),
        ] {
            let names: String = imported(&text).0.concat().replace("solve_", "");
            assert_eq!(names, left, "{text}");
        }
    }
    // Solvers that mean something else in the end; imports over several lines.
    for line in
        ["solve_a = lambda I: I", "del solve_a", "class solve_a: pass", "from x import solve_a", "solve_a = solve_b"]
    {
        assert_eq!(imported(&format!("{solvers}{line}\n")).0.concat(), "solve_bsolve_csolve_d", "{line}");
        assert_eq!(imported(&format!("{line}\n{solvers}")).0.len(), 4, "{line}");
    }
    assert_eq!(imported(&format!("from x import (a,\n    b,\n)\n{solvers}")).1, [0; 0]);
    // A name of the other dialect that means the same as another.
    let solvers = solver("a", "height_t") + &solver("b", "height");
    for (line, left) in [("height_t = 5", "solve_b"), ("height = 5", "solve_a")] {
        let found = python::import(&format!("{line}\n{solvers}"), Dialect::Batt);
        assert_eq!(found.programs.iter().map(Program::name).collect::<String>(), left, "{line}");
    }
}

#[test]
fn any_number_of_broken_functions_of_python_leaves_the_others() {
    let one = |k: usize| format!("def broken_{k}(I):\n    return [I]\ndef solve_{k}(I):\n    return I\n");
    let found = python::import(&(0..150).map(one).collect::<String>(), Dialect::Core);
    assert_eq!((found.programs.len(), found.diagnostics.len()), (150, 100));
    let last = &found.diagnostics[99];
    assert!(
        (last.line, last.column) == (398, 12) && last.message.ends_with("50 more faults below are not listed"),
        "{last}"
    );
}

#[test]
fn conditions_of_python_take_one_line_or_two() {
    let with = |lines: &str| imported(&format!("def solve_s(I):\n    x1 = rot90(I)\n{lines}    return x1\n"));
    for lines in [
        "    if x == 1: return x1\n",
        "    if x == 1:\n        return x1\n",
        "    if x == 1:  # one\n\n# two\n      return x1\n    if x == 2:\n\t\n      return x2\n",
    ] {
        assert_eq!(with(lines), (vec!["solve_s".to_owned()], vec![]), "{lines}");
    }
    for (lines, at) in [
        ("    if x == 1:\n", 4),
        ("    if x == 1:\n        O = rot90(I)\n", 4),
        ("    if x == 1:\n        return x1\n        return x1\n", 5),
        ("    if x == 1:\n        return x1, x1\n", 4),
        ("    if x > 1:\n        return x1\n", 3),
        ("      x2 = rot90(I)\n", 3),
    ] {
        assert_eq!(with(lines), (vec![], vec![at]), "{lines}");
    }
    assert_eq!(imported("def solve_s(I):\n  if x == 1:\n"), (vec![], vec![1]));
}

#[test]
fn the_dialect() {
    let text = "program a(S, I)\n x = o_g_t(I, R5)\n y = get_nth_t(x, L1)\n h = height_f(y)\n p = p_g(I)\n \
                n = f_ofcolor(I, RED)\n c = c_zo(S, p_g)\n m = a_mr(S)\n t = mir_rot_t(I, m)\nreturn h, p, n, c, t\nend\n";
    assert!(Program::parse(text).is_err());
    let program = Program::parse_all(text, Dialect::Batt).unwrap().remove(0);
    let grid = |text: &str| Value::grid_from_digits(text).unwrap();
    let sample = Sample::new(grid("020/020/001")).with_samples([(grid("12/30"), grid("21/03"))]);
    let returns = program.run(&sample, &Limits::default(), true).returns;
    let texts: Vec<String> = returns.into_iter().map(|r| r.unwrap().to_text()).collect();
    assert_eq!(texts, ["2", "{\"t\":[0,1,2]}", "{\"i\":[0,1,1,1]}", "{\"t\":[]}", "{\"g\":\"020/020/100\"}"]);
    assert_eq!(constants(Dialect::Batt).find(|c| c.0 == "L10").unwrap().1, Value::Int(-10));
}

#[test]
fn dialect_functions_one_by_one() {
    let call = |name: &str, args: &[&str]| {
        let args: Vec<Value> = args.iter().map(|a| a.parse().unwrap_or_else(|e| panic!("{a}: {e}"))).collect();
        match Machine::new(&Limits::default()).prim(Prim::by_name(name).unwrap(), &args) {
            Ok(value) => value.to_text(),
            Err(class) => class.name().to_owned(),
        }
    };
    let (grid, five) = (r#"{"g":"112/300"}"#, r#"{"t":[3,1,2,2,5]}"#);
    let identity = r#"{"f":"identity"}"#;
    for (name, args, expected) in [
        ("o_g", vec![grid, "8"], "null"),
        ("o_g", vec![r#"{"g":"01/10"}"#, "5"], r#"{"s":[{"o":[1,0,1]},{"o":[1,1,0]}]}"#),
        ("o_g_t", vec![r#"{"g":"01/10"}"#, "7"], r#"{"t":[{"o":[1,0,1,1,1,0]}]}"#),
        ("p_g", vec![grid], r#"{"t":[0,1,2,3]}"#),
        ("p_o", vec![r#"{"o":[5,0,0,2,1,1]}"#], r#"{"t":[2,5]}"#),
        ("p_f", vec![grid], r#"{"s":[0,1,2,3]}"#),
        ("second", vec![five], "1"),
        ("second", vec![r#"{"t":[4]}"#], "null"),
        ("second", vec![r#"{"t":[]}"#], "Empty"),
        ("difference_tuple", vec![five, r#"{"t":[2]}"#], r#"{"t":[3,1,5]}"#),
        ("difference_tuple", vec![five, r#"{"s":[2]}"#], "Type"),
        ("dedupe_pair_tuple", vec![r#"{"t":[{"t":[1,1]},{"t":[1,2]}]}"#], r#"{"g":"12"}"#),
        ("mir_rot_f", vec![r#"{"i":[0,0,0,2,1,0]}"#, "0"], r#"{"i":[0,0,1,0,1,2]}"#),
        ("mir_rot_t", vec![grid, "9"], grid),
        ("get_nth_t", vec![five, "-1"], "5"),
        ("get_nth_t", vec![five, "5"], "Index"),
        ("get_nth_f", vec![r#"{"s":[4,9]}"#, "1"], "9"),
        ("get_nth_f", vec![r#"{"s":[4,9]}"#, "2"], r#"{"s":[]}"#),
        ("get_nth_by_key_t", vec![five, "1", identity], "2"),
        ("get_nth_by_key_f", vec![r#"{"s":[4,9]}"#, "0", r#"{"f":"invert"}"#], "9"),
        (
            "get_arg_rank",
            vec![r#"{"t":[{"t":[1,2]},{"t":[3,4]},{"t":[5]}]}"#, r#"{"f":"size"}"#, "1"],
            r#"{"t":[3,4]}"#,
        ),
        ("get_arg_rank", vec![five, identity, "9"], r#"{"t":[]}"#),
        ("get_val_rank", vec![five, r#"{"f":"double"}"#, "0"], "2"),
        ("get_val_rank", vec![five, r#"{"f":"increment"}"#, "7"], "1"),
        ("get_rank", vec![five, "0"], "5"),
        ("get_rank", vec![five, "9"], "0"),
        ("get_common_rank", vec![five, "0"], "1"),
        ("get_common_rank", vec![five, "-1"], "2"),
        ("get_color_rank", vec![grid, "0"], "1"),
        ("get_color_rank", vec![grid, "1"], "0"),
        ("get_color_rank", vec![grid, "2"], "2"),
        ("corner", vec![r#"{"i":[1,2,3,5]}"#, "2"], r#"{"t":[3,2]}"#),
        ("col_row", vec![r#"{"i":[1,2,3,5]}"#, "3"], "5"),
        ("col_row", vec![r#"{"i":[1,2,3,5]}"#, "4"], "Index"),
    ] {
        assert_eq!(call(name, &args), expected, "{name}{args:?}");
    }
}

/// Programs of random words: many are nearly right.
fn nearly() -> impl Strategy<Value = String> {
    let words = [
        "program",
        "return",
        "end",
        "x",
        "y",
        "z",
        "I",
        "S",
        "rot90",
        "fill",
        "compose",
        "ONE",
        "UNITY",
        "(",
        ")",
        ",",
        "=",
        "==",
        ":",
        "\n",
        "\n ",
        "\n",
        "#",
        "-1",
        "7",
        "def",
        "if",
        "a(I)",
        "x = rot90(I)",
        "z = fill(I, 5, y)",
        "é",
    ];
    let word = proptest::sample::select(words.to_vec());
    proptest::collection::vec(word, 0..60).prop_map(|all| all.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused_with_a_place(text in prop_oneof![nearly(), any::<String>(), "[ -~\n]{0,200}"]) {
        for dialect in [Dialect::Core, Dialect::Batt] {
            match Program::parse_all(&text, dialect) {
                Ok(programs) => for program in programs {
                    let again = Program::parse_all(&program.to_text(), dialect).unwrap();
                    prop_assert_eq!(again, vec![program]);
                },
                Err(all) => {
                    prop_assert!(!all.is_empty());
                    for d in all {
                        prop_assert!(d.line >= 1 && d.column >= 1 && d.line <= text.lines().count().max(1));
                        d.render("file", &text);
                    }
                }
            }
        }
    }

    #[test]
    fn any_python_is_read_or_refused(text in prop_oneof![nearly(), any::<String>(), "(def f\\(I\\):\n( x[0-9] = rot90\\((I|x[0-9])\\)\n){0,4} return x[0-9]\n){0,5}"]) {
        let found = python::import(&text, Dialect::Core);
        for program in found.programs {
            prop_assert_eq!(Program::parse(&program.to_text()).unwrap(), vec![program]);
        }
    }
}
