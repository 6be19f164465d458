//! What holds for all grids, objects and sets, whatever the numbers.

use grid_dsl::{Limits, Machine, Prim, Value};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn call(name: &str, args: &[Value]) -> Value {
    try_call(name, args).unwrap_or_else(|class| panic!("{name}{args:?}: {class}"))
}

fn try_call(name: &str, args: &[Value]) -> Result<Value, grid_dsl::ErrClass> {
    Machine::new(&Limits::default()).prim(Prim::by_name(name).unwrap(), args)
}

/// Grids with at least one cell.
fn grids() -> impl Strategy<Value = Value> {
    (1usize..9, 1usize..9, 1i32..5).prop_flat_map(|(h, w, n)| vec(vec(0..n, w), h)).prop_map(Value::grid)
}

/// Objects with at least one cell, one colour a location.
fn objects() -> impl Strategy<Value = Value> {
    proptest::collection::btree_map((-5..9, -5..9), 0..4, 1..9)
        .prop_map(|cells| Value::object(cells.into_iter().map(|((i, j), c)| (c, i, j))))
}

fn flag(on: bool) -> Value {
    Value::Bool(on)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn turns_and_mirrors_of_grids(g in grids()) {
        let turned = (0..4).fold(g.clone(), |g, _| call("rot90", &[g]));
        prop_assert_eq!(&turned, &g);
        for name in ["hmirror", "vmirror", "dmirror", "cmirror", "rot180"] {
            prop_assert_eq!(call(name, &[call(name, std::slice::from_ref(&g))]), g.clone(), "{}", name);
        }
        let back = call("rot270", &[call("rot90", std::slice::from_ref(&g))]);
        prop_assert_eq!(&back, &g);
        let twice = call("vmirror", &[call("hmirror", std::slice::from_ref(&g))]);
        prop_assert_eq!(twice, call("rot180", std::slice::from_ref(&g)));
    }

    #[test]
    fn mirrors_of_objects(o in objects()) {
        for name in ["hmirror", "vmirror"] {
            prop_assert_eq!(call(name, &[call(name, std::slice::from_ref(&o))]), o.clone(), "{}", name);
        }
        for name in ["dmirror", "cmirror"] {
            let twice = call(name, &[call(name, std::slice::from_ref(&o))]);
            prop_assert_eq!(call("normalize", &[twice]), call("normalize", std::slice::from_ref(&o)), "{}", name);
        }
    }

    #[test]
    fn splitting_and_joining(g in grids(), n in 1i32..4) {
        let wide = (1..n).fold(g.clone(), |wide, _| call("hconcat", &[wide, g.clone()]));
        let pieces = call("hsplit", &[wide.clone(), Value::Int(n)]);
        let joined = pieces.items().unwrap().iter().skip(1).fold(pieces.items().unwrap()[0].clone(), |a, b| call("hconcat", &[a, b.clone()]));
        prop_assert_eq!(joined, wide);
        let tall = (1..n).fold(g.clone(), |tall, _| call("vconcat", &[tall, g.clone()]));
        prop_assert_eq!(call("merge", &[call("vsplit", &[tall.clone(), Value::Int(n)])]), tall);
        let upscaled = call("upscale", &[g.clone(), Value::Int(n)]);
        prop_assert_eq!(call("downscale", &[upscaled, Value::Int(n)]), g);
    }

    #[test]
    fn normal_forms(g in grids(), o in objects()) {
        // Rows and columns that go may leave others of one colour: compressing ends, at the latest without cells.
        let mut compressed = g;
        for _ in 0..20 {
            compressed = call("compress", &[compressed]);
        }
        prop_assert_eq!(call("compress", std::slice::from_ref(&compressed)), compressed);
        let normal = call("normalize", std::slice::from_ref(&o));
        prop_assert_eq!(call("normalize", std::slice::from_ref(&normal)), normal.clone());
        prop_assert_eq!(call("ulcorner", &[normal]), Value::pair(0, 0));
    }

    #[test]
    fn boxes(o in objects()) {
        let one = std::slice::from_ref(&o);
        let (delta, indices) = (call("delta", one), call("toindices", one));
        prop_assert_eq!(call("combine", &[delta.clone(), indices.clone()]), call("backdrop", one));
        prop_assert_eq!(call("intersection", &[delta, indices]), Value::indices([]));
        let inside = call("inbox", &[call("outbox", one)]);
        prop_assert_eq!(inside, call("box", one));
    }

    #[test]
    fn parts_of_grids(g in grids(), univalued: bool, diagonal: bool, bare: bool) {
        let one = std::slice::from_ref(&g);
        prop_assert_eq!(call("merge", &[call("partition", one)]), call("asobject", one));
        prop_assert_eq!(call("subgrid", &[call("asobject", one), g.clone()]), g.clone());
        let objects = call("objects", &[g.clone(), flag(univalued), flag(diagonal), flag(bare)]);
        let background = call("ofcolor", &[g.clone(), call("mostcolor", one)]);
        let all = call("toindices", &[call("merge", std::slice::from_ref(&objects))]);
        let expected = if bare { call("difference", &[call("asindices", one), background]) } else { call("asindices", one) };
        prop_assert_eq!(&all, &expected);
        let sizes: usize = objects.items().unwrap().iter().map(|o| o.items().unwrap().len()).sum();
        prop_assert_eq!(sizes, all.items().unwrap().len());
        for o in objects.items().unwrap() {
            let restored = call("paint", &[call("cover", &[g.clone(), o.clone()]), o.clone()]);
            prop_assert_eq!(&restored, &g);
            if univalued {
                prop_assert_eq!(call("numcolors", std::slice::from_ref(o)), Value::Int(1));
            }
        }
    }

    #[test]
    fn components_are_found_by_spreading(g in grids(), univalued: bool, diagonal: bool, bare: bool) {
        // Labels spread to neighbours until nothing changes: slow, and nothing in common with the search.
        let rows = g.to_rows().unwrap();
        let (h, w) = (rows.len(), rows[0].len());
        let background = call("mostcolor", std::slice::from_ref(&g)).as_int().unwrap();
        let mut label: Vec<Vec<Option<usize>>> =
            (0..h).map(|i| (0..w).map(|j| (!bare || rows[i][j] != background).then_some(i * w + j)).collect()).collect();
        loop {
            let before = label.clone();
            for i in 0..h {
                for j in 0..w {
                    for (k, l) in (0..h).flat_map(|k| (0..w).map(move |l| (k, l))) {
                        let (di, dj) = (i.abs_diff(k), j.abs_diff(l));
                        let near = if diagonal { di.max(dj) == 1 } else { di + dj == 1 };
                        let linked = near && (!univalued || rows[i][j] == rows[k][l]);
                        if let (true, Some(a), Some(b)) = (linked, label[i][j], label[k][l]) {
                            label[i][j] = Some(a.min(b));
                        }
                    }
                }
            }
            if label == before { break }
        }
        let mut expected = std::collections::BTreeMap::new();
        for i in 0..h {
            for j in 0..w {
                if let Some(l) = label[i][j] {
                    expected.entry(l).or_insert_with(Vec::new).push((rows[i][j], i as i32, j as i32));
                }
            }
        }
        let expected = Value::try_set(expected.into_values().map(Value::object).collect(), &Limits::default()).unwrap();
        prop_assert_eq!(call("objects", &[g, flag(univalued), flag(diagonal), flag(bare)]), expected);
    }

    #[test]
    fn ties_go_to_the_first(all in vec((0i32..4, 0i32..4), 1..8)) {
        let container = Value::try_tuple(all.iter().map(|&(a, b)| Value::pair(a, b)).collect(), &Limits::default()).unwrap();
        let first: Value = r#"{"f":"first"}"#.parse().unwrap();
        let largest = all.iter().map(|p| p.0).max().unwrap();
        let expected = all.iter().find(|p| p.0 == largest).unwrap();
        prop_assert_eq!(call("argmax", &[container.clone(), first.clone()]), Value::pair(expected.0, expected.1));
        prop_assert_eq!(call("valmax", &[container.clone(), first.clone()]), Value::Int(largest));
        let mut sorted = all.clone();
        sorted.sort_by_key(|p| p.0);
        let ordered = call("order", &[container, first]);
        let ordered: Vec<_> = ordered.items().unwrap().iter().map(|v| v.as_pair().unwrap()).collect();
        prop_assert_eq!(ordered, sorted);
    }

    #[test]
    fn division_rounds_down(a: i16, b: i16) {
        let (a, b) = (i32::from(a), i32::from(b));
        let found = try_call("divide", &[Value::Int(a), Value::Int(b)]);
        if b == 0 {
            prop_assert_eq!(found, Err(grid_dsl::ErrClass::DivZero));
        } else {
            prop_assert_eq!(found, Ok(Value::Int((f64::from(a) / f64::from(b)).floor() as i32)));
        }
    }
}
