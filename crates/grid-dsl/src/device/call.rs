//! Single calls of primitives, many at a time: what vector files and property tests ask of a back end.

use gpu_core::Result as Done;

use super::Coverage;
use crate::error::{Limits, Result};
use crate::exec::{Backend as _, Cpu};
use crate::kernels::{Arena, GridBackend, Instruction, Op, Slot, Spill, step};
use crate::prim::Prim;
use crate::value::Value;

/// Calls that are on a device at once.
const TOGETHER: usize = 4096;

/// Slots of a call: four operands and the result.
const SLOTS: usize = 5;

/// The operation of a call and the number of the function that it takes.
fn operation(prim: Prim, args: &[Value]) -> Option<(Op, u32)> {
    let op = Op::of(prim).filter(|_| args.len() == prim.arity())?;
    match op.function_at() {
        Some(at) => match &args[at] {
            Value::Fn(by) => Some((op, op.key_of(by)?)),
            _ => None,
        },
        None => Some((op, 0)),
    }
}

/// The slots of calls, and an instruction for each that a device has an operation for.
pub(super) fn prepared(calls: &[(Prim, Vec<Value>)], limits: &Limits) -> (Vec<Slot>, Vec<Instruction>) {
    let mut values = vec![Slot::Spilled(Spill::Function); calls.len() * SLOTS];
    let mut instructions = Vec::new();
    for (n, (prim, args)) in calls.iter().enumerate() {
        let Some((op, key)) = operation(*prim, args).filter(|_| super::enough(limits)) else { continue };
        let slot = |k: usize| (n * SLOTS + k) as u32;
        let plain = args.iter().enumerate().filter(|(at, _)| Some(*at) != op.function_at());
        for (k, (_, value)) in plain.enumerate() {
            values[n * SLOTS + k] = Slot::Known(Ok(value.clone()));
        }
        instructions.push(Instruction { op, target: slot(4), operands: [0, 1, 2, 3].map(slot), key });
    }
    (values, instructions)
}

/// Calls primitives with their arguments, each with all the fuel of the limits, and says where. Results are those of
/// [`call`](crate::call) within the limits, wherever a call is evaluated.
///
/// ```
/// use grid_dsl::{Limits, Prim, Value, device::call_batch};
///
/// let grid: Value = r#"{"g":"01/23"}"#.parse()?;
/// let (results, _) = call_batch(&gpu_core::Cpu::new(), &[(Prim::Rot90, vec![grid])], &Limits::default())?;
/// assert_eq!(results[0].as_ref().map(Value::to_text), Ok(r#"{"g":"20/31"}"#.to_owned()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When the device fails.
pub fn call_batch<B: GridBackend>(
    b: &B,
    calls: &[(Prim, Vec<Value>)],
    limits: &Limits,
) -> Done<(Vec<Result<Value>>, Coverage)> {
    let (mut results, mut coverage) = (Vec::with_capacity(calls.len()), Coverage::default());
    for calls in calls.chunks(TOGETHER) {
        let (values, instructions) = prepared(calls, limits);
        let mut arena = Arena::of(b, 1, &values)?;
        step(b, &mut arena, &instructions)?;
        let after = arena.to_slots(b)?;
        for ((prim, args), slots) in calls.iter().zip(after.chunks_exact(SLOTS)) {
            let (result, why) = match &slots[4] {
                Slot::Known(value) => (value.clone(), None),
                Slot::Spilled(why) => (Cpu.call(*prim, args, limits), Some(*why)),
            };
            let mut counted = super::Counted::default();
            counted.add(args.iter().any(super::is_container), why);
            coverage.count(prim.name(), &counted);
            results.push(result);
        }
    }
    Ok((results, coverage))
}
