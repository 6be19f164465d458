//! Any value to any function: a value or an error, soon, within the limits; and texts that want much.

mod common;

use std::time::{Duration, Instant};

use grid_dsl::{Dialect, ErrClass, Limits, Machine, Prim, Program, Sample, Value, call, python};

fn fails(name: &str, args: &[&str]) -> ErrClass {
    let args: Vec<Value> = args.iter().map(|a| a.parse().unwrap()).collect();
    call(name, &args).expect_err(name)
}

#[test]
fn what_would_be_huge_is_refused() {
    let far = r#"{"i":[-2147483648,-2147483648,2147483647,2147483647]}"#;
    for name in ["backdrop", "delta", "box", "inbox", "outbox"] {
        assert_eq!(fails(name, &[far]), ErrClass::Limit, "{name}");
    }
    assert_eq!(fails("canvas", &["0", r#"{"t":[2147483647,2147483647]}"#]), ErrClass::Limit);
    assert_eq!(fails("repeat", &["0", "2147483647"]), ErrClass::Limit);
    assert_eq!(fails("interval", &["-2147483648", "2147483647", "1"]), ErrClass::Limit);
    assert_eq!(fails("upscale", &[r#"{"g":"01"}"#, "2147483647"]), ErrClass::Limit);
    assert_eq!(fails("upscale", &[r#"{"o":[1,0,0]}"#, "2147483647"]), ErrClass::Limit);
    assert_eq!(fails("hsplit", &[r#"{"g":"01"}"#, "2147483647"]), ErrClass::Limit);
    assert_eq!(fails("connect", &[r#"{"t":[0,0]}"#, r#"{"t":[2147483647,0]}"#]), ErrClass::Limit);
    assert_eq!(fails("shoot", &[r#"{"t":[0,0]}"#, r#"{"t":[2147483647,0]}"#]), ErrClass::Overflow);
    assert_eq!(fails("height", &[far]), ErrClass::Overflow);
    assert_eq!(fails("shift", &[far, r#"{"t":[1,1]}"#]), ErrClass::Overflow);
    assert_eq!(fails("power", &[r#"{"f":"rot90"}"#, "257"]), ErrClass::Limit);
    for (name, args) in
        [("add", ["2147483647", "1"]), ("multiply", ["65536", "65536"]), ("divide", ["-2147483648", "-1"])]
    {
        assert_eq!(fails(name, &args), ErrClass::Overflow);
    }
    assert_eq!(fails("invert", &["-2147483648"]), ErrClass::Overflow);
    assert_eq!(fails("neighbors", &[r#"{"t":[2147483647,0]}"#]), ErrClass::Overflow);
    assert_eq!(call("hperiod", &[far.replace('i', "s").parse().unwrap_or(Value::Int(0))]), Err(ErrClass::Type));
    let wide = Value::grid([vec![0; 257]]);
    assert_eq!(call("rot90", &[wide]), Err(ErrClass::Limit));
    let side = Value::grid([vec![0; 200]]);
    assert_eq!(call("hconcat", &[side.clone(), side.clone()]), Err(ErrClass::Limit));
    let many = Value::try_tuple(vec![Value::Int(0); 65_537], &Limits::default());
    assert_eq!(many, Err(ErrClass::Limit));
    let row = Value::try_tuple((0..65_536).map(Value::Int).collect(), &Limits::default()).unwrap();
    assert_eq!(call("product", &[row.clone(), row.clone()]), Err(ErrClass::Limit));
    assert_eq!(call("combine", &[row.clone(), side]), Err(ErrClass::Limit));
    assert_eq!(call("repeat", &[row, Value::Int(1000)]), Err(ErrClass::Limit));
}

#[test]
fn work_ends_when_the_fuel_does() {
    let text = "program a(I)\n a = asindices(I)\n f = lbind(lbind, astuple)\n p = prapply(astuple, a, a)\n \
                q = prapply(manhattan, p, p)\n z = mapply(identity, q)\nreturn z\nend\n";
    let slow = "program b(I)\n f = power(neighbors, 1)\n a = asindices(I)\n g = lbind(mapply, neighbors)\n h = power(g, 200)\n \
                z = h(a)\nreturn z\nend\n";
    for text in [text, slow] {
        let program = Program::parse(text).unwrap().remove(0);
        let limits = Limits { fuel: 10_000_000, ..Limits::default() };
        let started = Instant::now();
        let outcome = program.run(&Sample::new(Value::grid(vec![vec![0; 30]; 30])), &limits, true);
        assert!(outcome.returns[0].is_err());
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    }
}

#[test]
fn values_from_outside_are_measured() {
    let wide = Value::grid(vec![vec![0; 256]; 256]);
    let limits = Limits { weight: 1000, ..Limits::default() };
    let program = Program::parse("program a(I)\nreturn I\nend").unwrap().remove(0);
    assert_eq!(program.run(&Sample::new(wide), &limits, false).returns, [Err(ErrClass::Limit)]);
}

#[test]
fn closures_as_deep_as_they_may_be_run_on_a_small_stack() {
    let lines = (1..255).map(|k| format!(" x{k} = compose(x{}, identity)\n", k - 1)).collect::<Vec<_>>().concat();
    let text = format!(
        "program a(I)\n x0 = compose(rot90, rot90)\n{lines} y = x254(I)\n s = initset(x254)\n t = rapply(s, I)\n \
         u = combine(s, s)\nreturn y, u\nend\n"
    );
    let program = Program::parse(&text).unwrap().remove(0);
    let run = move || program.run(&Sample::new(common::grid("01/23")), &Limits::default(), false).returns;
    // Threads of tests and of pools have 2 MiB.
    let returns = std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
    assert_eq!(returns[0], Ok(common::grid("32/10")));
    assert!(returns[1].is_ok());
}

#[test]
fn long_texts_take_no_time() {
    let started = Instant::now();
    assert!(Program::parse(&"program a(I)\n".repeat(200_000)).is_err());
    assert!(Program::parse(&"(".repeat(2_000_000)).is_err());
    let many = (0..100_000).map(|k| format!("program p{k}(I)\nreturn I\nend\n")).collect::<Vec<_>>().concat();
    assert_eq!(Program::parse(&many).unwrap().len(), 100_000);
    let many = (0..50_000).map(|k| format!("def p{k}(I):\n return I\n")).collect::<Vec<_>>().concat();
    assert_eq!(python::import(&many, Dialect::Core).programs.len(), 50_000);
    assert!(python::import(&"\u{0}\n".repeat(100_000), Dialect::Core).diagnostics.len() <= 100);
    for long in [" ".repeat(2_000_000), "x".repeat(2_000_000), "\"".repeat(2_000_000)] {
        assert!(python::import(&format!("def p(I):\n return I\nx = {long}y\n"), Dialect::Core).programs.len() == 1);
    }
    let argument = "I,".repeat(500_000);
    assert!(Program::parse(&format!("program a(I)\n x = rot90({argument}I)\nreturn x\nend")).is_ok());
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

#[test]
fn wrong_counts_of_arguments() {
    let limits = Limits::default();
    for &prim in Prim::ALL {
        for n in 0..6 {
            if n != prim.arity() {
                assert_eq!(Machine::new(&limits).prim(prim, &vec![Value::Int(1); n]), Err(ErrClass::Arity));
            }
        }
    }
}
