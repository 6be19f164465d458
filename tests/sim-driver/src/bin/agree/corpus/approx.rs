//! Approximate instructions, each with the bound of the PTX ISA (9.7.3 and 9.7.4, release 9.0) beside it.

use super::{Bound, Draft, Variant};
use crate::inputs::Kind;

const G: &str = "approximate";

pub(super) fn add(v: &mut Vec<Variant>) {
    let single: [(&str, Kind, Bound); 8] = [
        // "The maximum ulp error is 1 across the full range of inputs."
        ("rcp", Kind::F32, Bound::Ulps(1)),
        // "The maximum relative error over the entire positive finite floating-point range is 2^-23."
        ("sqrt", Kind::Positive32, Bound::Relative(-23.0)),
        // "The maximum relative error ... over the entire positive finite floating-point range is 2^-22.9."
        ("rsqrt", Kind::Positive32, Bound::Relative(-22.9)),
        // "The maximum ulp error is 2 ulp from correctly rounded result across the full range of inputs."
        ("ex2", Kind::Exponent, Bound::Ulps(2)),
        // "The maximum absolute error is 2^-22 when the input operand is in the range (0.5, 2). For positive finite
        // inputs outside of this interval, maximum relative error is 2^-22."
        ("lg2", Kind::Positive32, Bound::Log2),
        // "Range [-2pi .. 2pi]: 2^-20.5, [-100pi .. +100pi]: 2^-14.7"; no guarantee beyond.
        ("sin", Kind::Angle, Bound::Angle),
        ("cos", Kind::Angle, Bound::Angle),
        // "The maximum relative error over the entire floating point range is 2^-11."
        ("tanh", Kind::F32, Bound::Relative(-11.0)),
    ];
    for (op, kind, bound) in single {
        for ftz in ["", ".ftz"] {
            if op == "tanh" && ftz == ".ftz" {
                continue;
            }
            Draft::op(G, &format!("{op}.approx{ftz}.f32"), "f32", &["f32"]).kinds(&[kind]).bound(bound).push(v);
        }
    }
    for ftz in ["", ".ftz"] {
        // "For |b| in [2^-126, 2^126], the maximum ulp error is 2. For 2^126 < |b| < 2^128, if a is infinity, returns
        // NaN, otherwise it returns a sign-preserving zero."
        Draft::op(G, &format!("div.approx{ftz}.f32"), "f32", &["f32", "f32"]).bound(Bound::Divide).push(v);
        // "The maximum ulp error is 2 across the full range of inputs."
        Draft::op(G, &format!("div.full{ftz}.f32"), "f32", &["f32", "f32"]).bound(Bound::Ulps(2)).push(v);
    }
    // No bound stated: "the most-significant 20 bits of the mantissa", the low 32 bits zero. Two units of those 20 bits.
    Draft::op(G, "rcp.approx.ftz.f64", "f64", &["f64"]).bound(Bound::Relative(-19.0)).push(v);
    let root = |text: &str| Draft::op(G, text, "f64", &["f64"]).kinds(&[Kind::Positive64]);
    root("rsqrt.approx.ftz.f64").bound(Bound::Relative(-19.0)).push(v);
    // No bound stated here; the CUDA programming guide gives 1 ulp for rsqrt(double), which is this instruction.
    root("rsqrt.approx.f64").bound(Bound::Ulps(1)).push(v);
    for t in ["f16", "f16x2"] {
        // "The maximum relative error for .f16 type is 2^-9.9."
        Draft::op(G, &format!("ex2.approx.{t}"), t, &[t]).bound(Bound::Relative(-9.9)).push(v);
        // "The maximum absolute error for .f16 type is 2^-10.987."
        Draft::op(G, &format!("tanh.approx.{t}"), t, &[t]).bound(Bound::Absolute(-10.987)).push(v);
    }
    for t in ["bf16", "bf16x2"] {
        // "The maximum relative error for .bf16 type is 2^-7."
        Draft::op(G, &format!("ex2.approx.ftz.{t}"), t, &[t]).bound(Bound::Relative(-7.0)).sm90().push(v);
        // "The maximum absolute error for .bf16 type is 2^-8."
        Draft::op(G, &format!("tanh.approx.{t}"), t, &[t]).bound(Bound::Absolute(-8.0)).sm90().push(v);
    }
}
