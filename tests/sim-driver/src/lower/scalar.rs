//! Instructions that are a function of each lane's operands, and nothing more.

use std::sync::Arc;

use super::{Lower, Result};
use crate::program::{Kind, Op, Place};
use crate::ptx::{Operand, Type};

/// Bits of a value of this type.
pub(super) fn low(value: u64, ty: Type) -> u64 {
    if ty.bits() >= 64 { value } else { value & ((1 << ty.bits()) - 1) }
}

/// The value as a signed or unsigned number, in 128 bits so that nothing overflows.
pub(super) fn number(value: u64, ty: Type) -> i128 {
    let unused = 64 - ty.bits();
    if ty.is_signed() { i128::from((value << unused) as i64 >> unused) } else { i128::from(low(value, ty)) }
}

/// `testp`
pub(super) fn classify(test: &str, class: std::num::FpCategory) -> bool {
    use std::num::FpCategory::{Infinite, Nan, Normal, Subnormal};
    match test {
        "finite" => !matches!(class, Infinite | Nan),
        "infinite" => class == Infinite,
        "number" => class != Nan,
        "notanumber" => class == Nan,
        // Zero counts as normal.
        "normal" => matches!(class, Normal | std::num::FpCategory::Zero),
        "subnormal" => class == Subnormal,
        _ => false,
    }
}

impl Lower<'_> {
    /// The result of `f` on the bits of each lane's operands, zero-extended.
    pub(super) fn scalar(&mut self, to: Place, from: &[Place], f: impl Fn(&[u64; 5]) -> u64 + Send + Sync + 'static) {
        self.push(Op::Scalar { f: Arc::new(f), to, from: from.to_vec() });
    }

    /// Operands of one type and a result of another.
    pub(super) fn map(
        &mut self,
        operands: &[Operand],
        types: &[Type],
        result: Type,
        f: impl Fn(&[u64; 5]) -> u64 + Send + Sync + 'static,
    ) -> Result<bool> {
        let Some((to, from)) = operands.split_first() else { return Ok(false) };
        if from.len() != types.len() {
            return Ok(false);
        }
        let kind = match result {
            Type::Pred => Kind::Predicate,
            ty if ty.bytes() == 8 => Kind::B64,
            _ => Kind::B32,
        };
        let to = self.target(to, kind)?;
        let mut places = Vec::new();
        for (operand, &ty) in from.iter().zip(types) {
            places.push(self.value(operand, ty)?);
        }
        self.scalar(to, &places, move |x| low(f(x), result));
        Ok(true)
    }
}
