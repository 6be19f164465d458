//! Two results of one variant, bit against bit, or within the bound of an approximate instruction.

use crate::corpus::{Bound, Num, Variant};
use crate::inputs::generate;

/// The verdict on one variant.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Class {
    /// Equal to the bit (NaNs: both NaN).
    Equal,
    /// An approximate instruction within its bound.
    Within,
    /// Elements that differ, and the first of them in words.
    Different { count: usize, first: String },
    /// The same, where the ISA leaves the result open.
    Open { count: usize, first: String },
    /// No result on the first side, on the second, or on both.
    NotRun { a: Option<String>, b: Option<String> },
}

impl Class {
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Within => "within bound",
            Self::Different { .. } => "different",
            Self::Open { .. } => "different, unspecified",
            Self::NotRun { .. } => "not run",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) name: String,
    pub(crate) group: &'static str,
    pub(crate) class: Class,
    /// Elements where both are NaN with different bits.
    pub(crate) nan_payloads: usize,
    /// Elements that differ where the ISA states no bound for the operand.
    pub(crate) unbounded: usize,
    /// Worst distance: in units in the last place, and as a fraction of what is allowed.
    pub(crate) worst_ulps: u64,
    pub(crate) worst_fraction: f64,
}

enum Element {
    Same,
    Nan,
    Free,
    Near(u64, f64),
    Far,
}

/// A floating-point format: exponent and fraction bits.
#[derive(Clone, Copy)]
struct Format(u32, u32);

impl Format {
    fn magnitude(self, bits: u64) -> u64 {
        bits & ((1 << (self.0 + self.1)) - 1)
    }

    fn infinity(self) -> u64 {
        ((1 << self.0) - 1) << self.1
    }

    fn is_nan(self, bits: u64) -> bool {
        self.magnitude(bits) > self.infinity()
    }

    fn negative(self, bits: u64) -> bool {
        bits >> (self.0 + self.1) & 1 == 1
    }

    /// The value; exact for every format here.
    fn value(self, bits: u64) -> f64 {
        if self.1 == 52 {
            return f64::from_bits(bits);
        }
        let m = self.magnitude(bits);
        let (e, f) = ((m >> self.1) as i32, (m & ((1 << self.1) - 1)) as f64);
        let bias = (1 << (self.0 - 1)) - 1;
        let x = match e {
            0 => f * 2f64.powi(1 - bias - self.1 as i32),
            _ if m == self.infinity() => f64::INFINITY,
            _ => (f + 2f64.powi(self.1 as i32)) * 2f64.powi(e - bias - self.1 as i32),
        };
        if self.negative(bits) { -x } else { x }
    }

    /// One unit in the last place at this magnitude.
    fn ulp(self, magnitude: u64) -> f64 {
        let e = ((magnitude >> self.1) as i32).max(1) - ((1 << (self.0 - 1)) - 1) - self.1 as i32;
        if e < -1022 { f64::from_bits(1u64 << (e + 1074).clamp(0, 51)) } else { 2f64.powi(e) }
    }

    /// Steps between two values, counted through zero.
    fn distance(self, x: u64, y: u64) -> u64 {
        let order = |b| {
            let m = self.magnitude(b) as i128;
            if self.negative(b) { -m } else { m }
        };
        (order(x) - order(y)).unsigned_abs() as u64
    }
}

fn element(variant: &Variant, thread: usize, inputs: &[Vec<u64>], format: Format, x: u64, y: u64) -> Element {
    if x == y {
        return Element::Same;
    }
    match (format.is_nan(x), format.is_nan(y)) {
        (true, true) => return Element::Nan,
        (false, false) => {}
        _ => return Element::Far,
    }
    let operand = |j: usize| f64::from(f32::from_bits(inputs[j][thread] as u32)).abs();
    let (vx, vy) = (format.value(x), format.value(y));
    let ulps = format.distance(x, y);
    let larger = format.magnitude(x).max(format.magnitude(y));
    // Zeros differ in sign only: the ISA states the sign.
    if variant.bound == Bound::Exact || ulps == 0 {
        return Element::Far;
    }
    // Flushed before rounding on one side and after it on the other.
    if variant.name.contains(".ftz") && (vx == 0.0 || vy == 0.0) && larger >> format.1 <= 1 {
        return Element::Near(1, 0.0);
    }
    let by_ulps = |k: u32| ulps as f64 / f64::from(k + 1);
    let by_value = |allowed: f64| {
        if vx.is_infinite() || vy.is_infinite() {
            f64::INFINITY
        } else {
            (vx - vy).abs() / (allowed + format.ulp(larger))
        }
    };
    let relative = |k: f64| by_value(k.exp2() * vx.abs().max(vy.abs()));
    use std::f64::consts::PI;
    let fraction = match variant.bound {
        Bound::Exact => f64::INFINITY,
        Bound::Ulps(k) => by_ulps(k),
        Bound::Relative(k) => relative(k),
        Bound::Absolute(k) => by_value(k.exp2()),
        Bound::Angle if operand(0) <= 2.0 * PI => by_value((-20.5f64).exp2()),
        Bound::Angle if operand(0) <= 100.0 * PI => by_value((-14.7f64).exp2()),
        Bound::Angle => return Element::Free,
        Bound::Log2 if operand(0) > 0.5 && operand(0) < 2.0 => by_value((-22f64).exp2()),
        Bound::Log2 => relative(-22.0),
        Bound::Divide if operand(1) > 126f64.exp2() => f64::INFINITY,
        Bound::Divide if operand(1) < (-126f64).exp2() => return Element::Free,
        Bound::Divide => by_ulps(2),
    };
    if fraction <= 1.0 { Element::Near(ulps, fraction) } else { Element::Far }
}

/// Compares the results of a variant; `a` and `b` hold all 8 bytes of each slot.
pub(crate) fn compare(variant: &Variant, a: Result<&[u64], &str>, b: Result<&[u64], &str>) -> Verdict {
    let mut verdict = Verdict {
        name: variant.name.clone(),
        group: variant.group,
        class: Class::Equal,
        nan_payloads: 0,
        unbounded: 0,
        worst_ulps: 0,
        worst_fraction: 0.0,
    };
    let (xs, ys) = match (a, b) {
        (Ok(xs), Ok(ys)) => (xs, ys),
        (a, b) => {
            verdict.class = Class::NotRun { a: a.err().map(str::to_owned), b: b.err().map(str::to_owned) };
            return verdict;
        }
    };
    if xs == ys {
        return verdict;
    }
    let inputs = generate(variant);
    let (format, lanes) = match variant.num {
        Num::Bits => (Format(11, 52), 0),
        Num::F16 => (Format(5, 10), 1),
        Num::F16x2 => (Format(5, 10), 2),
        Num::Bf16 => (Format(8, 7), 1),
        Num::Bf16x2 => (Format(8, 7), 2),
        Num::F32 => (Format(8, 23), 1),
        Num::F64 => (Format(11, 52), 1),
    };
    let width = 1 + format.0 + format.1;
    let (mut count, mut near) = (0, 0);
    let mut first = None;
    for (i, (&x, &y)) in xs.iter().zip(ys).enumerate() {
        if x == y {
            continue;
        }
        let thread = i / variant.slots;
        let covered = lanes * width;
        let mut far = if covered >= 64 { false } else { x >> covered != y >> covered };
        for lane in 0..lanes {
            let part = |v: u64| if width == 64 { v } else { v >> (lane * width) & ((1 << width) - 1) };
            match element(variant, thread, &inputs, format, part(x), part(y)) {
                Element::Same => {}
                Element::Nan => verdict.nan_payloads += 1,
                Element::Free => verdict.unbounded += 1,
                Element::Near(ulps, fraction) => {
                    near += 1;
                    verdict.worst_ulps = verdict.worst_ulps.max(ulps);
                    verdict.worst_fraction = verdict.worst_fraction.max(fraction);
                }
                Element::Far => far = true,
            }
        }
        if far {
            count += 1;
            first.get_or_insert(i);
        }
    }
    if xs.len() != ys.len() {
        count += 1;
    }
    if count > 0 {
        let first = first.map_or("different lengths".to_owned(), |i| describe(variant, &inputs, i, xs[i], ys[i]));
        verdict.class =
            if variant.unspecified { Class::Open { count, first } } else { Class::Different { count, first } };
    } else if near + verdict.unbounded > 0 {
        verdict.class = Class::Within;
    }
    verdict
}

/// The inputs and both results of one slot.
fn describe(variant: &Variant, inputs: &[Vec<u64>], slot: usize, x: u64, y: u64) -> String {
    let thread = slot / variant.slots;
    let mut text = format!("thread {thread}");
    if variant.slots > 1 {
        text += &format!(" slot {}", slot % variant.slots);
    }
    text += ":";
    for ((letter, input), values) in ["a", "b", "c"].iter().zip(&variant.inputs).zip(inputs) {
        let mine = &values[thread * input.slots..(thread + 1) * input.slots];
        let list: Vec<String> = mine.iter().map(|v| format!("{v:#x}")).collect();
        text += &format!(" {letter} = {}", list.join(" "));
    }
    let low_bits = if variant.width == 8 { u64::MAX } else { (1 << (variant.width * 8)) - 1 };
    // All 8 bytes where those beyond the result's width were touched.
    let beyond = (x ^ y) & !low_bits != 0;
    let shown = |v: u64| {
        let low = v & low_bits;
        match variant.num {
            _ if beyond => format!("{v:#018x}"),
            Num::F32 => format!("{low:#010x} ({:e})", f32::from_bits(low as u32)),
            Num::F64 => format!("{low:#018x} ({:e})", f64::from_bits(low)),
            _ => format!("{low:#0w$x}", w = variant.width * 2 + 2),
        }
    };
    format!("{text} -> {} against {}", shown(x), shown(y))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::all;

    fn variant(name: &str) -> Variant {
        all().into_iter().find(|v| v.name == name).unwrap_or_else(|| panic!("no variant {name}"))
    }

    fn judge(name: &str, edit: impl Fn(usize, &mut u64)) -> Verdict {
        let variant = variant(name);
        let a = vec![0x3f80_0000u64; variant.threads as usize * variant.slots];
        let mut b = a.clone();
        b.iter_mut().enumerate().for_each(|(i, x)| edit(i, x));
        compare(&variant, Ok(&a), Ok(&b))
    }

    #[test]
    fn equal_and_different() {
        assert_eq!(judge("add.s32", |_, _| {}).class, Class::Equal);
        let verdict = judge("add.rn.f32", |i, x| *x += u64::from(i == 3));
        let Class::Different { count: 1, first } = verdict.class else { panic!("{verdict:?}") };
        assert!(first.starts_with("thread 3: a = 0x") && first.contains("0x3f800000 (1e0)"), "{first}");
        assert!(matches!(
            judge("div.s32 by zero (unspecified)", |_, x| *x += 1).class,
            Class::Open { count: 1024, .. }
        ));
    }

    #[test]
    fn bytes_beyond_the_result_count() {
        assert!(matches!(judge("add.f32", |i, x| *x |= u64::from(i == 9) << 40).class, Class::Different { .. }));
    }

    #[test]
    fn nan_payloads_are_counted_apart() {
        let variant = variant("add.f32");
        let a = vec![0x7fc0_0000u64; variant.threads as usize];
        let b = vec![0x7fff_ffffu64; variant.threads as usize];
        let verdict = compare(&variant, Ok(&a), Ok(&b));
        assert_eq!((verdict.class, verdict.nan_payloads), (Class::Equal, 1024));
        let number = vec![0x7f80_0000u64; variant.threads as usize];
        assert!(matches!(compare(&variant, Ok(&a), Ok(&number)).class, Class::Different { count: 1024, .. }));
        // No NaNs among integers.
        let integer = self::variant("add.u32");
        assert!(matches!(compare(&integer, Ok(&a), Ok(&b)).class, Class::Different { .. }));
    }

    #[test]
    fn bounds() {
        let verdict = judge("rcp.approx.f32", |i, x| *x += u64::from(i == 5) * 2);
        assert_eq!((verdict.class, verdict.worst_ulps), (Class::Within, 2));
        assert!(matches!(judge("rcp.approx.f32", |i, x| *x += u64::from(i == 5) * 3).class, Class::Different { .. }));
        assert_eq!(judge("tanh.approx.f32", |_, x| *x += 0x1000).class, Class::Within);
        assert!(matches!(judge("tanh.approx.f32", |_, x| *x += 0x2000).class, Class::Different { .. }));
        // The sign of zero is stated; infinity is not within a relative bound.
        let root = variant("sqrt.approx.f32");
        let n = root.threads as usize;
        for (x, y) in [(0, 0x8000_0000), (0x7f80_0000, 0x7f7f_ffff)] {
            let verdict = compare(&root, Ok(&vec![x; n]), Ok(&vec![y; n]));
            assert!(matches!(verdict.class, Class::Different { .. }), "{x:x} {y:x}");
        }
    }

    #[test]
    fn angles_beyond_the_stated_range_are_free() {
        let variant = variant("sin.approx.f32");
        let inputs = generate(&variant);
        let far = |i: usize| f32::from_bits(inputs[0][i] as u32).abs() > 315.0;
        let a = vec![0u64; variant.threads as usize];
        let b: Vec<u64> = (0..a.len()).map(|i| if far(i) { 0x3f00_0000 } else { 0 }).collect();
        let verdict = compare(&variant, Ok(&a), Ok(&b));
        assert_eq!(verdict.class, Class::Within);
        assert!(verdict.unbounded > 0);
    }

    #[test]
    fn packed_halves() {
        let variant = variant("ex2.approx.f16x2");
        let n = variant.threads as usize;
        let a = vec![0x3c00_3c00u64; n];
        assert_eq!(compare(&variant, Ok(&a), Ok(&vec![0x3c01_3c00; n])).class, Class::Within);
        assert!(matches!(compare(&variant, Ok(&a), Ok(&vec![0x3c00_3c10; n])).class, Class::Different { .. }));
    }

    #[test]
    fn not_run() {
        let variant = variant("add.u32");
        let verdict = compare(&variant, Err("no such instruction"), Ok(&[0; 1024]));
        assert_eq!(verdict.class, Class::NotRun { a: Some("no such instruction".into()), b: None });
    }

    #[test]
    fn formats() {
        assert_eq!(Format(5, 10).value(0x3e00), 1.5);
        assert_eq!(Format(5, 10).value(0x8001), -(2f64.powi(-24)));
        assert_eq!(Format(8, 7).value(0xc000), -2.0);
        assert_eq!(Format(8, 23).value(u64::from(f32::MAX.to_bits())), f64::from(f32::MAX));
        assert_eq!(Format(8, 23).ulp(0x3f80_0000), 2f64.powi(-23));
        assert_eq!(Format(8, 23).distance(0x8000_0001, 1), 2);
    }
}
