//! Operations of searches on states: against their lines run as programs by the definition, and CUDA against the CPU. All
//! results are integers, so every tolerance is exact.

use gpu_core::testing::proptest::collection::vec;
use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Output, Outputs, Tolerance, starting_with};
use gpu_core::{Cpu, Result, twins};
use grid_dsl::kernels::{Expander, GridBackend, StateBatch, Wanted, expand, expand_last, pack};
use grid_dsl::search::{Bounds, Enumerator, SIDE, Small};
use grid_dsl::{Limits, Program, Sample, Value};

type Rows = Vec<Vec<i32>>;

#[derive(Clone, Debug)]
struct Case {
    /// States, each with a grid an example.
    states: Vec<Vec<Rows>>,
    goals: Vec<Rows>,
    /// With `aimed`, the goals are what this operation makes of the first state, if it makes something.
    operation: usize,
    aimed: bool,
    each: u32,
}

fn any_rows() -> impl Strategy<Value = Rows> {
    let sides = prop_oneof![
        6 => (1usize..7, 1usize..7),
        2 => (1usize..16, 1usize..16),
        1 => (Just(1usize), 1usize..31),
        1 => (1usize..31, Just(1usize)),
        1 => Just((30, 30)),
    ];
    let colours = prop_oneof![3 => Just(0..2), 3 => Just(0..4), 2 => Just(0..10), 1 => Just(4..6)];
    (sides, colours).prop_flat_map(|((h, w), colours)| vec(vec(colours, w), h))
}

fn cases() -> impl Strategy<Value = Case> {
    let sides = (1usize..4, 1usize..4);
    let grids =
        sides.prop_flat_map(|(states, examples)| (vec(vec(any_rows(), examples), states), vec(any_rows(), examples)));
    (grids, any::<usize>(), any::<bool>(), 1u32..33).prop_map(|((states, goals), operation, aimed, each)| Case {
        states,
        goals,
        operation,
        aimed,
        each,
    })
}

/// One component that winds through all of a grid, hundreds of components, and rows and columns that are there again.
fn drawn() -> Vec<Case> {
    let rows = |f: fn(usize, usize) -> i32| (0..30).map(|i| (0..30).map(|j| f(i, j)).collect()).collect::<Rows>();
    let winding = rows(|i, j| match (i % 4, j) {
        (0 | 2, _) | (1, 29) | (3, 0) => 1 + (i / 2 % 2) as i32,
        _ => 0,
    });
    let crowded = rows(|i, j| ((i * 7 + j * 3 + i * j) % 5) as i32);
    let striped = rows(|i, j| ((i / 2 % 3) + 3 * (j / 5 % 2)) as i32);
    let case = |rows: &Rows| Case {
        states: vec![vec![rows.clone()]],
        goals: vec![rows.clone()],
        operation: 0,
        aimed: false,
        each: 32,
    };
    // All colours, each of which is the most frequent one of some grid, and the rarest of another.
    let coloured = (0..10).map(|most| {
        let (all, rarest) = if most % 2 == 0 { (0..10, (most + 3) % 10) } else { (1..10, (most + 5) % 10) };
        // So that a count that is wrong by a factor of two is another colour's.
        let often = |c: i32| match c {
            _ if c == most => 10,
            _ if c == rarest => 4,
            _ => 7,
        };
        let cells: Vec<i32> = all.flat_map(|c| vec![c; often(c)]).collect();
        let w = cells.len() / 7;
        (0..7).map(|i| (0..w).map(|j| cells[(i * w + j) * 11 % cells.len()]).collect()).collect::<Rows>()
    });
    let coloured: Vec<Rows> = coloured.collect();
    let mut cases: Vec<Case> = [winding, crowded, striped].iter().map(case).collect();
    // Black is there and not the rarest, and each of two objects is a goal: of colours that differ in one bit.
    let two: Rows = [[0, 0, 0, 0], [0, 2, 2, 0], [0, 0, 0, 1], [4, 0, 0, 1]].map(Vec::from).to_vec();
    let rare: Rows = [[0, 0, 0], [0, 0, 1]].map(Vec::from).to_vec();
    let all = grid_dsl::search::operations();
    // Two objects of one size: the lower colour's comes first, wherever they are.
    let tie: Rows = [[3, 3, 0, 0], [0, 0, 0, 2], [0, 0, 0, 2]].map(Vec::from).to_vec();
    let low = |i| if i == 0 { [3, 3, 0, 0] } else { [0, 0, 2 * i32::from(i > 17), 0] };
    let low: Rows = (0..20).map(|i| low(i).to_vec()).collect();
    let mut aimed = vec![(&two, "argmax object TF"), (&two, "argmin object TF"), (&rare, "crop least")];
    aimed.extend([(&tie, "argmax object FF"), (&low, "argmax object FF")]);
    aimed.extend(coloured.iter().map(|rows| (rows, "switch most and least")));
    for (rows, name) in aimed {
        let operation = all.iter().position(|operation| operation.name() == name).expect("an operation's name");
        cases.push(Case { operation, aimed: true, ..case(rows) });
    }
    cases
}

fn small(rows: &Rows) -> Small {
    Small::read(&Value::grid(rows)).expect("a small grid")
}

/// All programs of one operation.
fn programs() -> Vec<Program> {
    let all = Enumerator::new(Bounds::default());
    (0..all.operations().len()).map(|op| all.program("p", &[op as u16]).expect("lines of an operation")).collect()
}

/// What a program makes of a grid, if that is a grid that fits.
fn image(program: &Program, rows: &Rows) -> Option<Rows> {
    let out = program.run(&Sample::new(Value::grid(rows)), &Limits::default(), false).returns.remove(0).ok()?;
    let rows = out.to_rows()?;
    let fits = |n: usize| (1..=SIDE).contains(&n);
    (fits(rows.len()) && rows.iter().all(|row| fits(row.len()) && row.len() == rows[0].len())).then_some(rows)
}

fn goals(case: &Case, programs: &[Program]) -> Vec<Rows> {
    let program = &programs[case.operation % programs.len()];
    let made: Option<Vec<Rows>> = case.states[0].iter().map(|rows| image(program, rows)).collect();
    made.filter(|_| case.aimed).unwrap_or_else(|| case.goals.clone())
}

/// Of all new states, one in five is given too little room.
fn wanted(sizes: &[u32], operations: usize) -> Vec<Wanted> {
    let new = sizes.iter().enumerate().filter(|(_, size)| **size > 0);
    let one = |(n, (at, &size)): (usize, (usize, &u32))| Wanted {
        state: (at / operations) as u32,
        operation: (at % operations) as u32,
        size: size - u32::from(n % 5 == 4),
    };
    new.enumerate().map(one).collect()
}

fn words(all: Vec<u32>) -> Output {
    Output::U32(vec![all.len()], all)
}

fn run<B: GridBackend>(b: &B, case: &Case) -> Result<Outputs> {
    let all = grid_dsl::search::operations();
    let goals: Vec<Small> = goals(case, &programs()).iter().map(small).collect();
    let states: Vec<Vec<Small>> = case.states.iter().map(|state| state.iter().map(small).collect()).collect();
    let (by, states) = (Expander::new(b, &all, &goals)?, StateBatch::new(b, &states)?);
    let found = expand(b, &by, &states, case.each)?;
    let keys = found.keys.to_vec(b)?.into_iter().flat_map(|key| [(key >> 32) as u32, key as u32]).collect();
    let sizes = found.sizes.to_vec(b)?;
    let last = expand_last(b, &by, &states, case.each)?;
    let packed = pack(b, &by, &states, &wanted(&sizes, all.len()))?;
    Ok(vec![words(keys), words(sizes), Output::of(b, &found.tallies)?, Output::of(b, &last)?, Output::of(b, &packed)?])
}

/// The key of a state's grids, from the words of what is mixed.
fn key(grids: &[Rows]) -> [u64; 2] {
    let [mut a, mut b] = [0x6c62_272e_07bb_0142u64, 0x62b8_2175_6295_c58d];
    for rows in grids {
        let cells: Vec<u64> = rows.iter().flatten().map(|&c| c as u64).collect();
        let mut words = vec![(rows.len() as u64) * 256 + rows[0].len() as u64];
        for chunk in cells.chunks(16) {
            let digits = chunk.iter().enumerate().map(|(k, c)| c << (4 * (chunk.len() - 1 - k))).sum::<u64>();
            words.push(if chunk.len() == 16 { digits } else { digits + (1 << (4 * chunk.len())) });
        }
        for word in words {
            a = (a ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
            b = (b.rotate_left(23) ^ word).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
        }
        a ^= a >> 31;
        b ^= b >> 29;
    }
    [a, b]
}

fn bytes(rows: &Rows) -> Vec<u8> {
    let sides = [rows.len() as u8, rows[0].len() as u8];
    sides.into_iter().chain(rows.iter().flatten().map(|&c| c as u8)).collect()
}

fn expected(case: &Case) -> Outputs {
    let programs = programs();
    let goals = goals(case, &programs);
    let (mut keys, mut sizes) = (Vec::new(), Vec::new());
    let (mut tallies, mut last, mut images_of) = (Vec::new(), Vec::new(), Vec::new());
    for state in &case.states {
        let (mut all, mut only_goals) = (Vec::new(), Vec::new());
        for program in &programs {
            let images: Vec<Option<Rows>> = state.iter().map(|rows| image(program, rows)).collect();
            // Applications end with the first grid without an image, or at the last depth without the goal.
            let whole = images.iter().position(Option::is_none);
            let right = images.iter().zip(&goals).position(|(image, goal)| image.as_ref() != Some(goal));
            let ended = |at: Option<usize>| at.map_or(state.len(), |at| at + 1) as u32;
            all.push((ended(whole), right.is_none()));
            only_goals.push((ended(right), right.is_none()));
            let images: Vec<Rows> = images.into_iter().flatten().collect();
            let is_new = whole.is_none() && right.is_some();
            let [a, b] = if is_new { key(&images) } else { [0; 2] };
            keys.extend([(a >> 32) as u32, a as u32, (b >> 32) as u32, b as u32]);
            sizes.push(if is_new { images.iter().map(|rows| bytes(rows).len() as u32).sum() } else { 0 });
            images_of.push(images);
        }
        for (all, tallies) in [(all, &mut tallies), (only_goals, &mut last)] {
            for part in all.chunks(case.each as usize) {
                tallies.push(part.iter().map(|(applications, _)| applications).sum::<u32>());
                tallies.push(part.iter().enumerate().map(|(bit, (_, hit))| u32::from(*hit) << bit).sum());
            }
        }
    }
    let mut packed: Vec<u8> = Vec::new();
    for one in wanted(&sizes, programs.len()) {
        let end = packed.len() + one.size as usize;
        for rows in &images_of[one.state as usize * programs.len() + one.operation as usize] {
            let bytes = bytes(rows);
            if packed.len() + bytes.len() > end {
                break;
            }
            packed.extend(bytes);
        }
        packed.resize(end, 0);
    }
    let packed = Output::U8(vec![packed.len()], packed);
    vec![words(keys), words(sizes), words(tallies), words(last), packed]
}

twins! {
    kernels = ["grid_expand", "grid_expand_last", "grid_expand_pack"];
    /// integers: everything is exact
    expand: starting_with(drawn(), cases()), Case => |b, c| run(b, c), oracle = expected, tolerance = Tolerance::EXACT;
}

/// Grids that every operation is aimed at: what it makes of one is the goal, or all but the last cell of that.
fn aims() -> Vec<Rows> {
    let mut all: Vec<Rows> = drawn().into_iter().map(|case| case.states[0][0].clone()).collect();
    all.dedup();
    all
}

/// Applications and hits of each operation that makes something of a grid, alone at the last depth.
fn run_aims<B: GridBackend>(b: &B, rows: &Rows) -> Result<Outputs> {
    let states = StateBatch::new(b, &[vec![small(rows)]])?;
    let mut told = Vec::new();
    for (operation, program) in grid_dsl::search::operations().into_iter().zip(programs()) {
        let Some(goal) = image(&program, rows) else { continue };
        let mut other = goal.clone();
        let last = other.last_mut().and_then(|row| row.last_mut()).expect("a cell");
        *last = (*last + 1) % 10;
        for goal in [goal, other] {
            let by = Expander::new(b, std::slice::from_ref(&operation), &[small(&goal)])?;
            told.extend(expand_last(b, &by, &states, 1)?.to_vec(b)?);
        }
    }
    Ok(vec![words(told)])
}

fn expected_aims(rows: &Rows) -> Outputs {
    let made = programs().iter().filter(|program| image(program, rows).is_some()).count();
    vec![words([1, 1, 1, 0].repeat(made))]
}

twins! {
    kernels = ["grid_expand_last"];
    /// integers: everything is exact
    aims: starting_with(aims(), any_rows()), Rows => |b, c| run_aims(b, c), oracle = expected_aims,
        tolerance = Tolerance::EXACT;
}

#[test]
fn what_does_not_fit_together_is_named() {
    let b = Cpu::new();
    let all = grid_dsl::search::operations();
    let grid = small(&vec![vec![1]]);
    let by = Expander::new(&b, &all, &[grid.clone(), grid.clone()]).unwrap();
    let one = StateBatch::new(&b, &[vec![grid.clone()]]).unwrap();
    let two = StateBatch::new(&b, &[vec![grid.clone(), grid.clone()]]).unwrap();
    let says = |e: gpu_core::Error, words: &str| assert!(e.to_string().contains(words), "{e}");
    says(expand(&b, &by, &one, 1).unwrap_err(), "1 grids each, and there are 2 goals");
    says(expand(&b, &by, &two, 0).unwrap_err(), "0 operations of a warp; 1 to 32");
    says(expand_last(&b, &by, &two, 33).unwrap_err(), "33 operations of a warp");
    says(StateBatch::new(&b, &[vec![grid.clone()], vec![]]).unwrap_err(), "number 1 has 0 grids, the first one 1");
    says(Expander::new(&b, &all, &[]).unwrap_err(), "0 goals");
    let wanted = |state, operation, size| [Wanted { state, operation, size }];
    says(pack(&b, &by, &two, &wanted(1, 0, 3)).unwrap_err(), "operation 0 on state 1, there are");
    says(pack(&b, &by, &two, &wanted(0, 999, 3)).unwrap_err(), "operation 999 on state 0");
    let far = [wanted(0, 0, u32::MAX)[0], wanted(0, 1, 1)[0]];
    says(pack(&b, &by, &two, &far).unwrap_err(), "the first 2 images take more than 4 GiB");
    assert!(expand(&b, &by, &StateBatch::new(&b, &[]).unwrap(), 1).is_err(), "a state without grids is none");
}
