use proptest::prelude::*;

use super::*;
use crate::error::Limits;
use crate::machine::Machine;
use crate::prim::Prim;
use crate::testing::any_value;

fn checked(lines: &str) -> Checked {
    let text = format!("program a(S, I)\n{lines}\nreturn z\nend\n");
    check(&Program::parse(&text).unwrap()[0], Mode::Strict)
}

fn rejected(lines: &str) -> (usize, usize, String) {
    let found = checked(lines);
    assert!(!found.accepts(), "{lines}");
    let first = &found.diagnostics[0];
    (first.line, first.column, first.message.clone())
}

#[test]
fn calls_that_must_fail() {
    let (line, column, message) = rejected("z = add(ONE, I)");
    assert_eq!((line, column), (2, 14));
    assert_eq!(message, "argument 2 of `add` must be Numerical, this is Grid");
    assert_eq!(rejected("z = rot90(I, I)"), (2, 5, "`rot90` takes 1 argument, 2 given".to_owned()));
    assert_eq!(rejected("y = rot90(I)\n z = y(I)"), (3, 6, "a function is needed here, this is Grid".to_owned()));
    assert_eq!(rejected("z = apply(I, I)").1, 11);
    assert_eq!(rejected("z = fill(I, I, UNITY)").2, "argument 2 of `fill` must be Int, this is Grid");
    assert_eq!(rejected("z = crop(I, ORIGIN, ONE)").1, 21);
    assert_eq!(rejected("z = canvas(UNITY, UNITY)").1, 12);
    assert_eq!(rejected("z = intersection(I, I)").1, 18);
    assert!(rejected("f = compose(increment, rot90)\n z = f(I)").2.contains("comes to `increment`"));
    assert!(rejected("f = rbind(fill, ONE)\n z = f(I)").2.contains("takes 2 arguments, 1 given"));
    assert!(rejected("f = lbind(rot90, I)\n z = f(I, I, I)").2.contains("`rot90` takes 1 argument"));
    assert!(rejected("z = add(T, S)").2.contains("Tuple<Tuple<Grid>>"));
}

#[test]
fn what_may_work_is_not_rejected() {
    for lines in [
        "y = objects(I, T, F, T)\n z = fill(I, ONE, y)",
        "y = index(I, UNITY)\n z = fill(I, y, I)",
        "y = asindices(I)\n f = lbind(add, UNITY)\n z = apply(f, y)",
        "y = interval(0, 2, 1)\n z = add(y, UNITY)",
        "f = branch(T, rot90, rot180)\n z = f(I)",
        "f = power(fill, ONE)\n z = f(I, ONE, I)",
        "y = apply(first, S)\n z = mapply(objects, y)",
        "f = compose(rot90, increment)\n z = apply(f, I)",
        "y = hconcat(I, I)\n x = merge(y)\n z = mostcommon(x)",
    ] {
        assert!(checked(lines).accepts(), "{lines}: {:?}", checked(lines).diagnostics);
    }
}

#[test]
fn dead_lines_and_modes() {
    let dead = checked("y = add(I, I)\n z = rot90(I)");
    assert!(dead.accepts() && dead.diagnostics.len() == 1);
    let program = &Program::parse("program a(I)\nz = add(I, I)\nreturn z\nend").unwrap()[0];
    assert!(check(program, Mode::Warn).accepts() && check(program, Mode::Warn).diagnostics.len() == 1);
    assert!(check(program, Mode::Off).diagnostics.is_empty());
}

#[test]
fn functions_of_functions_take_no_time() {
    let mut lines = vec!["x0 = fork(astuple, rot90, rot90)".to_owned()];
    lines.extend((1..200).map(|k| format!("x{k} = fork(astuple, x{0}, x{0})", k - 1)));
    lines.push("z = x199(I)".to_owned());
    assert!(checked(&lines.join("\n")).accepts());
}

/// All that a type can say about a value.
fn type_of(value: &Value) -> Type {
    match value {
        Value::None => Type::Any,
        Value::Bool(_) => Type::Bool,
        Value::Int(_) => Type::Int,
        Value::Fn(Function::Prim(prim)) => Type::Fn(FnType::Prim(*prim)),
        Value::Fn(Function::Closure(c)) => Type::closure(c.maker(), &c.args().iter().map(type_of).collect::<Vec<_>>()),
        Value::Tuple(_) if value.as_pair().is_some() => Type::Pair,
        Value::Tuple(_) if value.as_cell().is_some() => Type::Cell,
        Value::Tuple(_) if value.is_grid() => Type::Grid,
        Value::Tuple(t) => Type::tuple(common(t)),
        Value::Set(s) => Type::set(common(s)),
    }
}

fn common(all: &[Value]) -> Type {
    let first = all.first().map_or(Type::Any, type_of);
    if all.iter().all(|v| type_of(v) == first) { first } else { Type::Any }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn what_is_rejected_fails_and_types_hold(
        at in 0..Prim::ALL.len(),
        mut args in proptest::collection::vec(any_value(), 4),
    ) {
        let prim = Prim::ALL[at];
        args.truncate(prim.arity());
        let types: Vec<Type> = args.iter().map(type_of).collect();
        let limits = Limits { fuel: 1 << 20, ..Limits::default() };
        let found = Machine::new(&limits).prim(prim, &args);
        let mut caller = Caller { steps: STEPS };
        match caller.call(&Type::Fn(FnType::Prim(prim)), &types) {
            Err(mismatch) => prop_assert!(found.is_err(), "{prim:?}{args:?} = {found:?}, but {mismatch:?}"),
            Ok(expected) => if let Ok(value) = found {
                prop_assert!(!type_of(&value).disjoint(&expected), "{prim:?}{args:?} = {value:?} is no {expected}");
            }
        }
    }
}
