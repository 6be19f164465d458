//! Steps of the wavefront: every operation against the definition of its primitive, and CUDA against the CPU. What a
//! device spills is evaluated by the primitive itself, as the executor does. Everything is exact.

mod calls;
mod steps;

use gpu_core::testing::proptest::collection::vec;
use gpu_core::testing::proptest::prelude::*;
use gpu_core::testing::{Outputs, Tolerance};
use gpu_core::{Cpu, Result, twins};
use grid_dsl::kernels::{Arena, GridBackend, Instruction, Op, Slot, Spill, step};
use grid_dsl::{ErrClass, Prim, Value};

use calls::{OPERAND_SLOTS, Operand, load, location, output};
use steps::{Call, Case, all, any_call};
/// Asks objects of one colour for it, over all colours that a cell can hold.
fn colours() -> impl Strategy<Value = Case> {
    let object = || {
        (-128..128, vec(location(), 1..4))
            .prop_map(|(colour, at)| vec![Operand::Value(Value::object(at.into_iter().map(|(i, j)| (colour, i, j))))])
    };
    let call = (object(), object()).prop_map(|(a, b)| Call { op: Op::Color, key: Prim::Color, operands: [a, b] });
    vec(call, 4..8).prop_map(|calls| Case { calls, here: false })
}

/// Results of all calls, call by call, on a device.
fn on_device<B: GridBackend>(b: &B, calls: &[Call]) -> Result<Vec<Slot>> {
    const SLOTS: usize = OPERAND_SLOTS + 1;
    let mut arena = Arena::new(b, calls.len() * SLOTS, 2)?;
    let mut instructions = Vec::new();
    for (n, call) in calls.iter().enumerate() {
        let slot = |k: usize| (n * SLOTS + k) as u32;
        load(b, &mut arena, n * SLOTS, &call.operands)?;
        let (operands, target) = ([0, 1, 2, 3].map(slot), slot(OPERAND_SLOTS));
        instructions.push(Instruction { op: call.op, target, operands, key: call.op.key(call.key).unwrap_or(0) });
    }
    step(b, &mut arena, &instructions)?;
    let results: Result<Vec<_>> = (0..calls.len()).map(|n| arena.read(b, n * SLOTS + OPERAND_SLOTS)).collect();
    Ok(results?.concat())
}

fn run<B: GridBackend>(b: &B, Case { calls, here }: &Case) -> Result<Outputs> {
    let slots = on_device(b, calls)?;
    Ok(output(slots.into_iter().enumerate().map(|(n, slot)| match slot {
        Slot::Known(outcome) => outcome,
        Slot::Spilled(_) => calls[n / 2].outcome(n % 2).map(|value| if *here { Value::None } else { value }),
    })))
}

fn expected(case: &Case) -> Outputs {
    output(case.calls.iter().flat_map(|call| [call.outcome(0), call.outcome(1)]))
}

const WRITERS: usize = Op::Fill as usize;
const FINDERS: usize = Op::Ofcolor as usize;
const SHAPES: usize = Op::Toindices as usize;
const ADDED: usize = Op::Lbind as usize;

twins! {
    kernels = ["grid_step", "grid_step_labels"];
    /// values: everything is exact
    moves: all(0..WRITERS), Case => |b, c| run(b, c), oracle = expected, tolerance = Tolerance::EXACT;
    /// values: everything is exact
    writes: all(WRITERS..FINDERS), Case => |b, c| run(b, c), oracle = expected, tolerance = Tolerance::EXACT;
    /// values: everything is exact
    finds: all(FINDERS..SHAPES), Case => |b, c| run(b, c), oracle = expected, tolerance = Tolerance::EXACT;
    /// values: everything is exact
    relations: all(ADDED..Op::ALL.len()), Case => |b, c| run(b, c), oracle = expected, tolerance = Tolerance::EXACT;
    /// values: everything is exact
    shapes: all(SHAPES..ADDED), Case => |b, c| run(b, c), oracle = expected,
        tolerance = Tolerance::EXACT;
    /// values: everything is exact
    colours: colours(), Case => |b, c| run(b, c), oracle = expected, tolerance = Tolerance::EXACT;
}

/// Where an operation gave no value on the device although all was plain, it would prove nothing above.
#[test]
fn every_operation_gives_values_on_the_device() {
    use gpu_core::testing::proptest::strategy::ValueTree;
    use gpu_core::testing::proptest::test_runner::TestRunner;
    let (b, mut runner) = (Cpu::new(), TestRunner::deterministic());
    for (at, &op) in Op::ALL.iter().enumerate() {
        let calls: Vec<Call> = (0..40).map(|_| any_call(at..at + 1).new_tree(&mut runner).unwrap().current()).collect();
        let slots = on_device(&b, &calls).unwrap();
        let known = slots.iter().filter(|slot| matches!(slot, Slot::Known(Ok(_)))).count();
        let good = calls.iter().flat_map(|c| [c.outcome(0), c.outcome(1)]).flatten().count();
        // Widths and shapes that must agree seldom do.
        assert!(known * 8 >= good && known > 4, "{op:?}: {known} values on the device, {good} there are");
    }
}

#[test]
fn what_spills_has_its_reason() {
    let b = Cpu::new();
    let mut arena = Arena::new(&b, 4, 1).unwrap();
    let mut result = |op: Op, x: Value, y: Value| {
        arena.write(&b, 0, &[Slot::Known(Ok(x))]).unwrap();
        arena.write(&b, 1, &[Slot::Known(Ok(y))]).unwrap();
        step(&b, &mut arena, &[Instruction { op, target: 2, operands: [0, 1, 1, 1], key: 0 }]).unwrap();
        arena.read(&b, 2).unwrap().remove(0)
    };
    let grid = |h: usize| Value::grid(vec![vec![1; 20]; h]);
    assert_eq!(result(Op::Hconcat, grid(3), grid(3)), Slot::Spilled(Spill::Size));
    assert_eq!(result(Op::Hconcat, grid(33), grid(3)), Slot::Spilled(Spill::Operand));
    assert_eq!(result(Op::Astuple, grid(3), Value::Int(1)), Slot::Spilled(Spill::Kind));
    assert_eq!(result(Op::Hsplit, grid(3), Value::Int(21)), Slot::Spilled(Spill::Class));
    assert_eq!(result(Op::Hconcat, grid(3), Value::Int(1)), Slot::Known(Err(ErrClass::Type)));
    assert_eq!(result(Op::Downscale, grid(3), Value::Int(0)), Slot::Known(Err(ErrClass::DivZero)));
    assert_eq!(result(Op::Downscale, grid(3), Value::Int(2)), Slot::Known(Ok(Value::grid(vec![vec![1; 10]; 2]))));
    let wrong = step(&b, &mut arena, &[Instruction { op: Op::Add, target: 2, operands: [0, 2, 0, 0], key: 0 }]);
    assert!(wrong.unwrap_err().to_string().contains("Add reads slot 2 of 4"));
    let wrong = step(&b, &mut arena, &[Instruction { op: Op::Add, target: 4, operands: [0; 4], key: 0 }]);
    assert!(wrong.unwrap_err().to_string().contains("writes slot 4 of 4"));
}

#[cfg(feature = "cuda")]
#[test]
#[ignore = "needs a CUDA device"]
fn cuda_spills_where_the_cpu_does() {
    use gpu_core::testing::proptest::strategy::ValueTree;
    use gpu_core::testing::proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let strategy = any_call(0..Op::ALL.len());
    let calls: Vec<Call> = (0..200).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect();
    let spilled = |slots: Vec<Slot>| slots.iter().map(|s| matches!(s, Slot::Spilled(_))).collect::<Vec<_>>();
    let on_cpu = spilled(on_device(&Cpu::new(), &calls).unwrap());
    assert_eq!(spilled(on_device(&gpu_core::testing::cuda(), &calls).unwrap()), on_cpu);
}
