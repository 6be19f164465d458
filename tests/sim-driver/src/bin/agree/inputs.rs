//! The operand values of each variant: corner values first, random ones after them, the same on every run.

use crate::corpus::Variant;

/// What an input slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An integer of this many bits.
    Int(u32),
    /// The same, never zero: a divisor.
    NonZero(u32),
    /// A zero divisor, of this many bits (the result is unspecified).
    Zero,
    /// 24 significant bits, sign-extended to 32.
    Int24,
    /// A shift amount, a bit position or a length.
    Shift,
    /// Two f16 / bf16 in one word.
    F16x2,
    Bf16x2,
    F16,
    Bf16,
    F32,
    F64,
    /// An f32 with more positive values, many near 1: roots and logarithms.
    Positive32,
    Positive64,
    /// An f32 for sine and cosine.
    Angle,
    /// An f32 for `ex2`.
    Exponent,
    /// 0 or 1.
    Bool,
    /// The lane operand of `shfl`.
    Lane,
    /// The clamp-and-segment operand of `shfl`.
    Clamp,
    /// 0 or 1, with warps of all zeros, all ones and a single one.
    WarpBool,
    /// One of four values, for `match.any`.
    Few,
    /// One value for most warps, for `match.all`.
    WarpSame,
    /// Small integers as matrix elements, so that sums are exact: 4 f16, 4 bf16, 2 f32 (or tf32), 1 f64 a slot.
    MatF16,
    MatBf16,
    MatF32,
    MatF64,
    /// 64 random bits.
    Bytes,
}

/// SplitMix64.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(name: &str) -> Self {
        // FNV-1a of the variant's name: a variant keeps its values when others come or go.
        Self(name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// In [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn mask(bits: u32) -> u64 {
    if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }
}

/// The bits of `x` in a format with this exponent and fraction width; excess fraction bits are cut off.
pub(crate) fn encode(x: f64, exponent: u32, fraction: u32) -> u64 {
    match (exponent, fraction) {
        (11, 52) => x.to_bits(),
        (8, 23) => u64::from((x as f32).to_bits()),
        (8, 7) => u64::from((x as f32).to_bits() >> 16),
        _ => {
            let bits = x.to_bits();
            let sign = (bits >> 63) << (exponent + fraction);
            let bias = (1i64 << (exponent - 1)) - 1;
            let e = ((bits >> 52) & 0x7ff) as i64 - 1023 + bias;
            let m = bits & mask(52) | 1 << 52;
            let magnitude = if x == 0.0 || e < -(i64::from(fraction)) {
                0
            } else if e > 2 * bias {
                mask(exponent) << fraction
            } else if e > 0 {
                ((e as u64) << fraction) | (m & mask(52)) >> (52 - fraction)
            } else {
                m >> (52 - i64::from(fraction) + 1 - e)
            };
            sign | magnitude
        }
    }
}

fn format(kind: Kind) -> (u32, u32) {
    match kind {
        Kind::F16 | Kind::F16x2 => (5, 10),
        Kind::Bf16 | Kind::Bf16x2 => (8, 7),
        Kind::F64 | Kind::Positive64 => (11, 52),
        _ => (8, 23),
    }
}

fn float_corners(exponent: u32, fraction: u32) -> Vec<u64> {
    let sign = 1u64 << (exponent + fraction);
    let inf = mask(exponent) << fraction;
    let quiet = inf | 1 << (fraction - 1);
    let one = encode(1.0, exponent, fraction);
    let (min_normal, max_normal) = (1u64 << fraction, inf - 1);
    let mut v = vec![0, sign, one, sign | one, inf, sign | inf, quiet, inf | 1, 1, sign | 1, min_normal, max_normal];
    v.extend([sign | max_normal, min_normal - 1, sign | min_normal, one + 1, one - 1, sign | quiet | 5]);
    v.extend([0.5, 2.0, -0.5, 1.5, 3.0, -2.5, 0.1].map(|x| encode(x, exponent, fraction)));
    v.extend([quiet | (mask(fraction) >> 1), inf | (mask(fraction - 1) - 1), sign | inf | 2, sign | (min_normal - 1)]);
    v.extend([min_normal + 1, max_normal - 1, sign | one | 1, 2, min_normal >> 1, min_normal << 1, one | 3]);
    // Halfway cases and limits of the narrower formats.
    let half = [2.5, 3.5, -1.5, -3.5, 0.49999997, 0.75, 1e-3, 10.0, -7.0, 127.0, 127.5, 128.0, -128.5, -129.0, 255.5];
    let limits = [256.0, 32767.5, 32768.0, -32768.5, 65504.0, 65519.0, 65520.0, 65535.5, 65536.0, 8388607.5, 8388608.5];
    let exact = [16777217.0, -8388609.0, 2147483647.0, 2147483648.0, -2147483648.0, -2147483649.0, 4294967295.0];
    let huge = [4294967296.0, 9007199254740993.0, 9223372036854774784.0, 9223372036854775808.0, -9223372036854775808.0];
    let more = [-9223372036854777856.0, 18446744073709549568.0, 18446744073709551616.0, 1e20, -1e20, 1e300];
    for list in [&half[..], &limits, &exact, &huge, &more] {
        v.extend(list.iter().map(|&x| encode(x, exponent, fraction)));
    }
    let p = |k: i32| 2f64.powi(k);
    for k in [8, 11, 24] {
        let step = p(-k);
        let around =
            [1.0 + step, 1.0 + 3.0 * step, 1.0 + step * (1.0 + p(-12)), -1.0 - step, 1.0 + step * (1.0 - p(-12))];
        v.extend(around.map(|x| encode(x, exponent, fraction)));
    }
    let tiny =
        [p(-24), p(-25), 1.5 * p(-25), 1.25 * p(-14), p(-15), p(-149), p(-150), 1.5 * p(-150), p(-126) - p(-150)];
    v.extend(tiny.map(|x| encode(x, exponent, fraction)));
    v.extend([f64::from(f32::MAX) + p(103), f64::from(f32::MAX) + p(102)].map(|x| encode(x, exponent, fraction)));
    distinct(v)
}

fn int_corners(bits: u32) -> Vec<u64> {
    let (m, top) = (mask(bits), 1u64 << (bits - 1));
    let mut v =
        vec![0, 1, m, top, top - 1, 2, m - 1, top + 1, 3, 7, 10, 0x5555_5555_5555_5555 & m, 100, 0x7f, 0x80, 0xff];
    v.extend([0xaaaa_aaaa_aaaa_aaaa & m, 0x0123_4567_89ab_cdef & m, 0xfedc_ba98_7654_3210 & m, m - 6, m - 99, 0x100]);
    v.extend([
        m >> (bits / 2),
        m ^ (m >> (bits / 2)),
        1 << (bits / 2),
        top >> 1,
        top | top >> 1,
        m >> 3,
        0x8080_8080_8080 & m,
    ]);
    v.extend([4, 15, 16, 23, 24, 31, 32, 33, 47, 62].iter().filter(|&&k| k < bits).map(|&k| 1u64 << k));
    v.extend([8, 15, 16, 24, 31, 33, 48].iter().filter(|&&k| k < bits).map(|&k| (1u64 << k) - 1));
    distinct(v)
}

fn distinct(v: Vec<u64>) -> Vec<u64> {
    let mut out = Vec::with_capacity(v.len());
    for x in v {
        if !out.contains(&x) {
            out.push(x);
        }
    }
    out
}

fn corners(kind: Kind) -> Vec<u64> {
    match kind {
        Kind::Int(bits) => int_corners(bits),
        Kind::NonZero(bits) => int_corners(bits).into_iter().filter(|&x| x != 0).collect(),
        Kind::Zero => vec![0],
        Kind::Int24 => {
            [0u64, 1, 0xff_ffff, 0x7f_ffff, 0x80_0000, 0x80_0001, 2, 3, 0xffff, 0x1_0000, 0x55_5555, 0xaa_aaaa]
                .iter()
                .map(|&x| u64::from((((x as u32) << 8) as i32 >> 8) as u32))
                .collect()
        }
        Kind::Shift => {
            vec![0, 1, 31, 32, 33, 15, 16, 17, 63, 64, 65, 8, 255, 256, 4, 47, 0x8000_0000, 0xffff_ffff, 128, 257]
        }
        Kind::Bool => vec![0, 1],
        Kind::Lane => (0..=33).chain([63, 64, 0xffff_ffff]).collect(),
        Kind::Clamp => vec![0x1f, 0, 0x181f, 0x1c1f, 0x1000, 0x100f, 0x1e01, 0x0f, 0x1f1f, 0x1800],
        Kind::F16x2 | Kind::Bf16x2 => {
            let (e, f) = format(kind);
            let v = float_corners(e, f);
            (0..v.len()).map(|i| v[i] | v[(i * 5 + 2) % v.len()] << 16).collect()
        }
        Kind::Angle => {
            let mut v = float_corners(8, 23);
            let angles = (-16..=16).map(|k| encode(f64::from(k) * std::f64::consts::FRAC_PI_4, 8, 23));
            v.extend(angles);
            distinct(v)
        }
        _ => {
            let (e, f) = format(kind);
            float_corners(e, f)
        }
    }
}

/// A real of moderate size: 2^-`range` to 2^`range`, either sign.
fn moderate(rng: &mut Rng, range: i32) -> f64 {
    let e = rng.below(2 * range as usize) as i32 - range;
    let x = (1.0 + rng.unit()) * 2f64.powi(e);
    if rng.next() & 1 == 0 { x } else { -x }
}

fn random(kind: Kind, rng: &mut Rng) -> u64 {
    let (e, f) = format(kind);
    match kind {
        Kind::Int(bits) | Kind::NonZero(bits) => {
            // Random widths too, so that small numbers are as likely as large ones.
            let x = rng.next() & mask(bits);
            let x = if rng.next() & 1 == 0 { x } else { x >> rng.below(bits as usize) };
            if kind == Kind::NonZero(bits) { x.max(1) } else { x }
        }
        Kind::Int24 => u64::from((((rng.next() as u32) << 8) as i32 >> 8) as u32),
        Kind::Zero => 0,
        Kind::Shift => rng.next() % 72,
        Kind::Bool => rng.next() & 1,
        Kind::Lane => rng.next() & 31,
        Kind::Clamp | Kind::WarpBool | Kind::Few | Kind::WarpSame => 0x1f,
        Kind::Bytes => rng.next(),
        Kind::F16x2 => random(Kind::F16, rng) | random(Kind::F16, rng) << 16,
        Kind::Bf16x2 => random(Kind::Bf16, rng) | random(Kind::Bf16, rng) << 16,
        Kind::Angle => {
            let turns = if rng.next() & 1 == 0 { 2.0 } else { 100.0 };
            encode((rng.unit() * 2.0 - 1.0) * turns * std::f64::consts::PI, e, f)
        }
        Kind::Exponent => encode(rng.unit() * 290.0 - 155.0, e, f),
        Kind::Positive32 | Kind::Positive64 => match rng.next() % 3 {
            0 => rng.next() & mask(e + f),
            1 => encode(0.5 + 1.5 * rng.unit(), e, f),
            _ => encode(moderate(rng, 40).abs(), e, f),
        },
        Kind::MatF16 => (0..4).fold(0, |s, k| s | encode(small(rng), 5, 10) << (16 * k)),
        Kind::MatBf16 => (0..4).fold(0, |s, k| s | encode(small(rng), 8, 7) << (16 * k)),
        Kind::MatF32 => (0..2).fold(0, |s, k| s | encode(small(rng), 8, 23) << (32 * k)),
        Kind::MatF64 => small(rng).to_bits(),
        Kind::F16 | Kind::Bf16 | Kind::F32 | Kind::F64 => match rng.next() % 4 {
            0 => rng.next() & mask(1 + e + f),
            1 | 2 => encode(moderate(rng, 5), e, f),
            _ => encode(moderate(rng, 66), e, f),
        },
    }
}

/// A matrix element: an integer in -4..=4.
fn small(rng: &mut Rng) -> f64 {
    rng.below(9) as f64 - 4.0
}

/// The values of an input whose meaning depends on the thread, or that has several slots a thread.
fn fill(kind: Kind, count: usize, rng: &mut Rng) -> Vec<u64> {
    let list = match kind {
        Kind::WarpBool
        | Kind::Few
        | Kind::WarpSame
        | Kind::MatF16
        | Kind::MatBf16
        | Kind::MatF32
        | Kind::MatF64
        | Kind::Bytes => vec![],
        _ => corners(kind),
    };
    (0..count)
        .map(|i| match (kind, i / 32) {
            (Kind::WarpBool, 0) => 0,
            (Kind::WarpBool, 1) => 1,
            (Kind::WarpBool, 2) => u64::from(i % 32 == 19),
            (Kind::WarpBool, 3) => u64::from(i % 32 != 7),
            (Kind::WarpBool, _) => rng.next() & 1,
            (Kind::Few, _) => [3, 0x1_0000_0003, 0xdead_beef_0000_0007, 3 | 1 << 40][rng.below(4)],
            (Kind::WarpSame, w) if w % 3 == 2 && i % 32 == w % 32 => 0x1_0000_002a,
            (Kind::WarpSame, w) => 0xabcd_0000_0000 + w as u64,
            _ if rng.below(4) == 0 && !list.is_empty() => list[rng.below(list.len())],
            _ => random(kind, rng),
        })
        .collect()
}

/// The inputs a, b and c of a variant: `threads * slots` values for each.
pub(crate) fn generate(variant: &Variant) -> Vec<Vec<u64>> {
    let mut rng = Rng::new(&variant.name);
    let n = variant.threads as usize;
    let positional = |k: Kind| {
        let by_thread = matches!(k, Kind::WarpBool | Kind::Few | Kind::WarpSame | Kind::Bytes);
        by_thread || matches!(k, Kind::MatF16 | Kind::MatBf16 | Kind::MatF32 | Kind::MatF64)
    };
    if variant.inputs.iter().any(|i| i.slots > 1 || positional(i.kind)) {
        return variant.inputs.iter().map(|i| fill(i.kind, n * i.slots, &mut rng)).collect();
    }
    let lists: Vec<Vec<u64>> = variant.inputs.iter().map(|i| corners(i.kind)).collect();
    let budget = n * 3 / 4;
    let mut values = vec![Vec::with_capacity(n); lists.len()];
    // Two operands: all pairs of the first corners; the lists are in order of importance.
    let (mut rows, mut columns) = (lists.first().map_or(0, Vec::len), 1);
    if lists.len() == 2 {
        let side = budget.isqrt();
        rows = lists[0].len().min(side);
        columns = lists[1].len().min(budget / rows);
        rows = lists[0].len().min(budget / columns);
    }
    for t in 0..n {
        for (j, list) in lists.iter().enumerate() {
            let corner = match lists.len() {
                1 | 2 if t < rows * columns => Some(if j == 0 { t / columns } else { t % columns }),
                3 if t < n / 2 => Some(rng.below(list.len())),
                2 | 3 if t < n * 7 / 8 && rng.next() & 1 == 0 => Some(rng.below(list.len())),
                _ => None,
            };
            let value = corner.map_or_else(|| random(variant.inputs[j].kind, &mut rng), |c| list[c]);
            values[j].push(value);
        }
    }
    values
}
