//! `mma` against the fragment tables of the PTX ISA, written out shape by
//! shape, and the numerics.

#![allow(clippy::float_cmp, clippy::match_same_arms, clippy::manual_is_multiple_of, clippy::needless_range_loop)]

use super::types::{f16_decode, f16_encode};
use super::{Elem, Fragment, LANES, Mma, Register, Role, Shape};

/// A small generator of test values (xorshift).
pub(super) struct Values(u64);

impl Values {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    /// An integer that the type holds exactly, small where it is a float.
    pub(crate) fn small(&mut self, elem: Elem) -> i64 {
        let bits = self.next();
        match elem {
            Elem::S8 => bits as i8 as i64,
            Elem::U8 => bits as u8 as i64,
            Elem::S32 => bits as i32 as i64 >> 4,
            _ => (bits % 15) as i64 - 7,
        }
    }

    pub(crate) fn matrix(&mut self, elem: Elem, size: usize) -> Vec<i64> {
        (0..size).map(|_| self.small(elem)).collect()
    }
}

/// Bits of a small integer in a type, found without the module's encoders.
pub(super) fn bits(elem: Elem, value: i64) -> u64 {
    match elem {
        Elem::F16 => {
            let size = value.unsigned_abs();
            let sign = u64::from(value < 0) << 15;
            if size == 0 {
                return 0;
            }
            assert!(size < 2048);
            let exponent = u64::from(size.ilog2());
            sign | (exponent + 15) << 10 | (size << (10 - exponent)) & 0x3FF
        }
        Elem::Bf16 => u64::from((value as f32).to_bits() >> 16),
        Elem::Tf32 | Elem::F32 => u64::from((value as f32).to_bits()),
        Elem::F64 => (value as f64).to_bits(),
        Elem::S8 | Elem::U8 => value as u64 & 0xFF,
        Elem::S32 => value as u64 & 0xFFFF_FFFF,
    }
}

/// Row and column of an element as the ISA writes it for the shape.
fn isa(shape: Shape, role: Role, elem: Elem, lane: usize, i: usize) -> (usize, usize) {
    let group = lane >> 2;
    let thread = lane % 4;
    let pick = |first: bool, more: usize| if first { 0 } else { more };
    match (role, shape.sizes(), elem) {
        (Role::A, (8, 8, 4), _) => (group, thread),
        (Role::B, (8, 8, 4), _) => (thread, group),
        (Role::A, (16, 8, 4), _) => (group + pick(i == 0, 8), thread),
        (Role::B, (16, 8, 4), _) => (thread, group),
        (Role::A, (16, 8, 8), Elem::F16 | Elem::Bf16) => (group + pick(i < 2, 8), thread * 2 + (i & 1)),
        (Role::B, (16, 8, 8), Elem::F16 | Elem::Bf16) => (thread * 2 + i, group),
        (Role::A, (16, 8, 8), _) => (group + pick(i == 0 || i == 2, 8), thread + pick(i == 0 || i == 1, 4)),
        (Role::B, (16, 8, 8), _) => (thread + pick(i == 0, 4), group),
        (Role::A, (16, 8, 16), Elem::F16 | Elem::Bf16) => {
            (group + pick(i < 2 || (4..6).contains(&i), 8), thread * 2 + (i & 1) + pick(i < 4, 8))
        }
        (Role::B, (16, 8, 16), Elem::F16 | Elem::Bf16) => (thread * 2 + (i & 1) + pick(i < 2, 8), group),
        (Role::A, (16, 8, 16), Elem::F64) => {
            if i % 2 == 0 {
                (group, i * 2 + thread)
            } else {
                (group + 8, i * 2 - 2 + thread)
            }
        }
        (Role::B, (16, 8, 16), Elem::F64) => (thread + i * 4, group),
        (Role::A, (8, 8, 16), _) => (group, thread * 4 + i),
        (Role::A, (16, 8, 16), _) => (group + pick(i < 4, 8), thread * 4 + (i & 3)),
        (Role::B, (8 | 16, 8, 16), _) => (thread * 4 + i, group),
        (Role::A, (16, 8, 32), _) => {
            (group + pick(i < 4 || (8..12).contains(&i), 8), thread * 4 + (i & 3) + pick(i < 8, 16))
        }
        (Role::B, (16, 8, 32), _) => (thread * 4 + (i & 3) + pick(i < 4, 16), group),
        (_, (8, 8, _), _) => (group, thread * 2 + (i & 1)),
        (_, (16, 8, _), _) => (group + pick(i < 2, 8), thread * 2 + (i & 1)),
        _ => panic!("no such fragment"),
    }
}

/// Spreads a matrix over the lanes by the ISA's formulas.
fn spread(shape: Shape, role: Role, elem: Elem, matrix: &[i64], columns: usize) -> Vec<Register> {
    let width = if matches!(elem, Elem::F64) { 1 } else { 4 / elem.bytes() };
    let shift = if width == 1 { 0 } else { 32 / width };
    let mut registers = vec![[0; LANES]; matrix.len() / LANES / width];
    for lane in 0..LANES {
        for i in 0..matrix.len() / LANES {
            let (row, column) = isa(shape, role, elem, lane, i);
            registers[i / width][lane] |= bits(elem, matrix[row * columns + column]) << (i % width * shift);
        }
    }
    registers
}

/// C plus the product of A and B, by rows.
pub(super) fn naive(shape: Shape, a: &[i64], b: &[i64], c: &[i64]) -> Vec<i64> {
    let (m, n, k) = shape.sizes();
    let mut d = c.to_vec();
    for row in 0..m {
        for column in 0..n {
            for j in 0..k {
                d[row * n + column] += a[row * k + j] * b[j * n + column];
            }
        }
    }
    d
}

/// Runs one instruction on small integers and compares every register of D.
fn check(text: &str, expected_registers: (usize, usize, usize, usize)) {
    let modifiers: Vec<&str> = text.split('.').collect();
    let mma = Mma::parse(&modifiers).unwrap_or_else(|| panic!("{text}"));
    assert_eq!(mma.registers(), expected_registers, "{text}");
    let shape = mma.shape();
    let (m, n, k) = shape.sizes();
    let mut values = Values::new(text.len() as u64);
    for round in 0..8 {
        let a = values.matrix(mma.a.elem, m * k);
        let b = values.matrix(mma.b.elem, k * n);
        let c = values.matrix(mma.c.elem, m * n);
        let ra = spread(shape, Role::A, mma.a.elem, &a, k);
        let rb = spread(shape, Role::B, mma.b.elem, &b, n);
        let rc = spread(shape, Role::C, mma.c.elem, &c, n);
        let expected = spread(shape, Role::D, mma.d.elem, &naive(shape, &a, &b, &c), n);
        assert_eq!((ra.len(), rb.len(), rc.len(), expected.len()), expected_registers);
        let mut d = vec![[u64::MAX; LANES]; expected.len()];
        mma.run(&ra, &rb, &rc, &mut d);
        assert_eq!(d, expected, "{text} round {round}");
    }
}

#[test]
fn floats_of_every_shape() {
    check("sync.aligned.m8n8k4.row.col.f64.f64.f64.f64", (1, 1, 2, 2));
    check("sync.aligned.m16n8k4.row.col.f64.f64.f64.f64", (2, 1, 4, 4));
    check("sync.aligned.m16n8k8.row.col.f64.f64.f64.f64", (4, 2, 4, 4));
    check("sync.aligned.m16n8k16.row.col.f64.f64.f64.f64", (8, 4, 4, 4));
    check("sync.aligned.m16n8k8.row.col.f16.f16.f16.f16", (2, 1, 2, 2));
    check("sync.aligned.m16n8k8.row.col.f32.f16.f16.f32", (2, 1, 4, 4));
    check("sync.aligned.m16n8k16.row.col.f16.f16.f16.f16", (4, 2, 2, 2));
    check("sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", (4, 2, 4, 4));
    check("sync.aligned.m16n8k16.row.col.f32.f16.f16.f16", (4, 2, 2, 4));
    check("sync.aligned.m16n8k16.row.col.f16.f16.f16.f32", (4, 2, 4, 2));
    check("sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32", (2, 1, 4, 4));
    check("sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", (4, 2, 4, 4));
    check("sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32", (2, 1, 4, 4));
    check("sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32", (4, 2, 4, 4));
}

#[test]
fn integers_of_every_shape() {
    let shapes = [("m8n8k16", (1, 1, 2, 2)), ("m16n8k16", (2, 1, 4, 4)), ("m16n8k32", (4, 2, 4, 4))];
    for (shape, registers) in shapes {
        for a in ["s8", "u8"] {
            for b in ["s8", "u8"] {
                for saturate in ["", ".satfinite"] {
                    let text = format!("sync.aligned.{shape}.row.col{saturate}.s32.{a}.{b}.s32");
                    check(&text, registers);
                }
            }
        }
    }
}

#[test]
fn every_fragment_follows_the_isa_and_covers_its_matrix() {
    for (m, k, elem, sum) in [
        (8, 4, Elem::F64, Elem::F64),
        (16, 16, Elem::F64, Elem::F64),
        (16, 8, Elem::F16, Elem::F16),
        (16, 16, Elem::Bf16, Elem::F32),
        (16, 8, Elem::Tf32, Elem::F32),
        (8, 16, Elem::S8, Elem::S32),
        (16, 32, Elem::U8, Elem::S32),
    ] {
        let shape = Shape::new(m, 8, k);
        for (role, elem) in [(Role::A, elem), (Role::B, elem), (Role::C, sum), (Role::D, sum)] {
            let fragment = Fragment::mma(shape, role, elem);
            let mut seen = std::collections::HashSet::new();
            for (lane, places) in fragment.places().iter().enumerate() {
                for (i, &place) in places.iter().enumerate() {
                    assert_eq!(place, isa(shape, role, elem, lane, i));
                    assert!(seen.insert(place));
                }
            }
            assert_eq!(seen.len(), fragment.rows() * fragment.columns());
        }
    }
}

#[test]
fn what_is_not_there_is_refused() {
    for text in [
        "sync.aligned.m8n8k4.row.col.f32.f16.f16.f32",
        "sync.aligned.m16n8k8.row.col.f32.f16.f16.f16",
        "sync.aligned.m16n8k16.col.col.f32.f16.f16.f32",
        "sync.aligned.m16n8k16.row.col.f32.f16.bf16.f32",
        "sync.aligned.m16n8k16.row.col.satfinite.f32.f16.f16.f32",
        "sync.aligned.m16n8k16.row.col.f32.tf32.tf32.f32",
        "sync.aligned.m16n8k64.row.col.s32.s4.s4.s32",
        "sync.aligned.m16n8k16.row.col.s32.s8.s8",
        "aligned.m16n8k16.row.col.s32.s8.s8.s32",
        "sp.sync.aligned.m16n8k32.row.col.f32.f16.f16.f32",
    ] {
        let modifiers: Vec<&str> = text.split('.').collect();
        assert_eq!(Mma::parse(&modifiers), None, "{text}");
    }
}

/// An `mma` whose A and B have the same bits in every register.
fn constant(text: &str, a: u64, b: u64, c: u64) -> u64 {
    let modifiers: Vec<&str> = text.split('.').collect();
    let mma = Mma::parse(&modifiers).unwrap();
    let mut d = [[0; LANES]; 8];
    mma.run(&[[a; LANES]; 8], &[[b; LANES]; 8], &[[c; LANES]; 8], &mut d);
    let first = d[0][0];
    for register in &d[..mma.registers().3] {
        assert!(register.iter().all(|&word| word == first));
    }
    first
}

#[test]
fn integers_wrap_or_saturate() {
    let wrap = "sync.aligned.m16n8k16.row.col.s32.s8.s8.s32";
    let clamp = "sync.aligned.m16n8k16.row.col.satfinite.s32.s8.s8.s32";
    let (high, low) = (0x7FFF_FFFF, 0x8000_0000);
    assert_eq!(constant(wrap, 0x0101_0101, 0x0101_0101, high), 0x8000_000F);
    assert_eq!(constant(clamp, 0x0101_0101, 0x0101_0101, high), high);
    assert_eq!(constant(wrap, 0x0101_0101, 0xFFFF_FFFF, low), 0x7FFF_FFF0);
    assert_eq!(constant(clamp, 0x0101_0101, 0xFFFF_FFFF, low), low);
    let bytes = "sync.aligned.m16n8k32.row.col.s32.u8.s8.s32";
    assert_eq!(constant(bytes, 0xFFFF_FFFF, 0x8080_8080, 0), (-128 * 255 * 32_i32) as u32 as u64);
}

#[test]
fn floats_round_once() {
    // 2^24 + 8 * 0.375 = 2^24 + 3, which rounds to 2^24 + 4.
    let c = u64::from(16_777_216_f32.to_bits());
    let expected = u64::from(16_777_220_f32.to_bits());
    let f16 = "sync.aligned.m16n8k8.row.col.f32.f16.f16.f32";
    assert_eq!(constant(f16, 0x3600_3600, 0x3C00_3C00, c), expected);
    let tf32 = "sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32";
    let part = u64::from(0.375_f32.to_bits());
    let one = u64::from(1_f32.to_bits());
    assert_eq!(constant(tf32, part, one, c), expected);
    // The low 13 bits of the operands do not count.
    let three = u64::from(3_f32.to_bits());
    assert_eq!(constant(tf32, part, one, 0), three);
    assert_eq!(constant(tf32, part | 0x1FFF, one | 0x1555, 0), three);
    assert_ne!(constant(tf32, part | 0x2000, one, 0), three);
    // 2048 + 8 * 0.375 = 2051 is a tie of halves: to even, 2052.
    let half = "sync.aligned.m16n8k8.row.col.f16.f16.f16.f16";
    assert_eq!(constant(half, 0x3600_3600, 0x3C00_3C00, 0x6800_6800), 0x6802_6802);
}

#[test]
fn not_a_number_is_canonical_and_infinity_stays() {
    let single = "sync.aligned.m16n8k16.row.col.f32.f16.f16.f32";
    let half = "sync.aligned.m16n8k16.row.col.f16.f16.f16.f16";
    assert_eq!(constant(single, 0x7C00_7C00, 0, 0), 0x7FFF_FFFF);
    assert_eq!(constant(half, 0x7C00_7C00, 0, 0), 0x7FFF_7FFF);
    assert_eq!(constant(half, 0xFC00_FC00, 0x3C00_3C00, 0), 0xFC00_FC00);
    assert_eq!(constant(half, 0x7BFF_7BFF, 0x3C00_3C00, 0), 0x7C00_7C00);
    let bf16 = "sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32";
    assert_eq!(constant(bf16, 0x7F7F_7F7F, 0x7F7F_7F7F, 0), 0x7F80_0000);
    assert_eq!(constant(bf16, 0x7FC1_7FC1, 0x3F80_3F80, 0), 0x7FFF_FFFF);
}

#[test]
fn doubles_are_a_chain_of_fused_steps() {
    let text: Vec<&str> = "sync.aligned.m16n8k16.row.col.f64.f64.f64.f64".split('.').collect();
    let mma = Mma::parse(&text).unwrap();
    let mut values = Values::new(5);
    let mut random = |count: usize| -> Vec<Register> {
        (0..count).map(|_| [(); LANES].map(|()| ((values.next() as f64).sin() * 3.0).to_bits())).collect()
    };
    let (a, b, c) = (random(8), random(4), random(4));
    let mut d = vec![[0; LANES]; 4];
    mma.run(&a, &b, &c, &mut d);
    for lane in 0..LANES {
        for i in 0..4 {
            let row = (lane >> 2) + if i < 2 { 0 } else { 8 };
            let column = lane % 4 * 2 + (i & 1);
            let mut sum = f64::from_bits(c[i][lane]);
            for k in 0..16 {
                let x = a[k / 4 * 2 + row / 8][row % 8 * 4 + k % 4];
                let y = b[k / 4][column * 4 + k % 4];
                sum = f64::from_bits(x).mul_add(f64::from_bits(y), sum);
            }
            assert_eq!(d[i][lane], sum.to_bits());
        }
    }
}

#[test]
fn halves_convert_exactly_and_round_to_nearest_even() {
    let mut finite: Vec<f64> = Vec::new();
    for half in 0..=u16::MAX {
        let value = f16_decode(half);
        let expected = if value.is_nan() { 0x7FFF } else { half };
        assert_eq!(f16_encode(value), expected);
        if half < 0x7C00 {
            finite.push(value);
        }
    }
    for (low, pair) in finite.windows(2).enumerate() {
        let middle = f64::midpoint(pair[0], pair[1]);
        let low = low as u16;
        assert_eq!(f16_encode(middle), low + (low & 1));
        assert_eq!(f16_encode(middle.next_down()), low);
        assert_eq!(f16_encode(-middle.next_up()), 0x8000 | (low + 1));
    }
    assert_eq!(f16_decode(0x3555), 1365.0 / 4096.0);
    assert_eq!(f16_decode(0x0001), 2.0_f64.powi(-24));
    assert_eq!(f16_encode(65519.999), 0x7BFF);
    assert_eq!(f16_encode(65520.0), 0x7C00);
    assert_eq!(f16_encode(f64::INFINITY), 0x7C00);
}
