//! The product itself: D = A B + C over fragments.
//!
//! Numerics:
//! * integers: exact sum, then wrapped to 32 bits, or clamped with `.satfinite`;
//! * `.f64`: a chain of fused multiply-adds from C with k ascending;
//! * `.f16`, `.bf16` and `.tf32`: exact products summed in `f64` with k
//!   ascending, then C added, then one rounding to nearest even to the type of
//!   D; NaN becomes 0x7FFF (`.f16`) or `0x7FFF_FFFF` (`.f32`). The low 13 bits
//!   of `.tf32` operands are ignored. The device truncates inside and may sum
//!   in another order, so that its last bits may differ.

use super::fragment::{Fragment, Role};
use super::parse::Modifiers;
use super::types::{Elem, LANES, Register, Shape};

/// Largest number of elements of A or B (32 x 16), and of C (16 x 16 or 8 x 32).
const LARGEST: usize = 512;

/// A matrix product of a warp: `mma` or `wmma.mma`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Mma {
    /// The left multiplicand.
    pub(crate) a: Fragment,
    /// The right multiplicand.
    pub(crate) b: Fragment,
    /// The accumulator going in.
    pub(crate) c: Fragment,
    /// The result.
    pub(crate) d: Fragment,
    /// Whether integer results are clamped instead of wrapped.
    pub(crate) saturate: bool,
}

impl Mma {
    /// The `mma` of the modifiers after `mma`, such as `sync`, `aligned`,
    /// `m16n8k16`, `row`, `col`, `f32`, `f16`, `f16`, `f32`.
    #[must_use]
    pub(crate) fn parse(modifiers: &[&str]) -> Option<Self> {
        let found = Modifiers::parse(modifiers)?;
        if found.layouts() != ["row", "col"] || found.space.is_some() {
            return None;
        }
        let &[d, a, b, c] = found.types() else { return None };
        let shape = found.shape?;
        let fits = match (shape.sizes(), a, b) {
            ((8, 8, 4) | (16, 8, 4 | 8 | 16), Elem::F64, Elem::F64) => c == Elem::F64 && d == Elem::F64,
            ((16, 8, 8), Elem::F16, Elem::F16) => half_sum(c) && c == d,
            ((16, 8, 16), Elem::F16, Elem::F16) => half_sum(c) && half_sum(d),
            ((16, 8, 8 | 16), Elem::Bf16, Elem::Bf16) | ((16, 8, 4 | 8), Elem::Tf32, Elem::Tf32) => {
                c == Elem::F32 && d == Elem::F32
            }
            ((8, 8, 16) | (16, 8, 16 | 32), Elem::S8 | Elem::U8, Elem::S8 | Elem::U8) => {
                c == Elem::S32 && d == Elem::S32
            }
            _ => false,
        };
        if !fits || !found.suits(a) {
            return None;
        }
        Some(Self {
            a: Fragment::mma(shape, Role::A, a),
            b: Fragment::mma(shape, Role::B, b),
            c: Fragment::mma(shape, Role::C, c),
            d: Fragment::mma(shape, Role::D, d),
            saturate: found.saturate,
        })
    }

    /// The `wmma.mma` of the modifiers after `wmma.mma`, such as `sync`,
    /// `aligned`, `row`, `col`, `m16n16k16`, `f32`, `f32`.
    ///
    /// The layouts of A and B are those of memory, which the fragments no
    /// longer depend on: they are checked for presence and dropped.
    #[must_use]
    pub(crate) fn parse_wmma(modifiers: &[&str]) -> Option<Self> {
        let found = Modifiers::parse(modifiers)?;
        if found.layouts().len() != 2 || found.space.is_some() {
            return None;
        }
        let shape = found.shape?;
        let (d, a, b, c) = match *found.types() {
            [d, c] if half_sum(c) && half_sum(d) => (d, Elem::F16, Elem::F16, c),
            [d, a, b, c] => (d, a, b, c),
            _ => return None,
        };
        let fits = match a {
            Elem::F16 => b == a && half_sum(c) && half_sum(d),
            Elem::Bf16 | Elem::Tf32 => b == a && c == Elem::F32 && d == Elem::F32,
            Elem::F64 => b == a && c == a && d == a,
            Elem::S8 | Elem::U8 => matches!(b, Elem::S8 | Elem::U8) && c == Elem::S32 && d == Elem::S32,
            Elem::F32 | Elem::S32 => false,
        };
        if !fits || !found.suits(a) {
            return None;
        }
        Some(Self {
            a: Fragment::wmma(shape, Role::A, a)?,
            b: Fragment::wmma(shape, Role::B, b)?,
            c: Fragment::wmma(shape, Role::C, c)?,
            d: Fragment::wmma(shape, Role::D, d)?,
            saturate: found.saturate,
        })
    }

    /// The shape of the product.
    #[must_use]
    pub(crate) const fn shape(&self) -> Shape {
        self.a.shape
    }

    /// Number of registers of a lane for A, B, C and D.
    #[must_use]
    pub(crate) const fn registers(&self) -> (usize, usize, usize, usize) {
        (self.a.registers(), self.b.registers(), self.c.registers(), self.d.registers())
    }

    /// Computes D = A B + C over all 32 lanes; every bit of D is written.
    ///
    /// # Panics
    /// Where a slice has fewer registers than `registers` says.
    pub(crate) fn run(&self, a: &[Register], b: &[Register], c: &[Register], d: &mut [Register]) {
        d[..self.d.registers()].fill([0; LANES]);
        match self.a.elem {
            Elem::S8 | Elem::U8 => self.run_integer(a, b, c, d),
            Elem::F64 => self.run_double(a, b, c, d),
            _ => self.run_float(a, b, c, d),
        }
    }

    fn run_integer(&self, a: &[Register], b: &[Register], c: &[Register], d: &mut [Register]) {
        let left = gather(&self.a, a, 0_i32, |bits| self.a.elem.decode_integer(bits) as i32);
        let right = gather(&self.b, b, 0_i32, |bits| self.b.elem.decode_integer(bits) as i32);
        let mut sums = [0_i32; LARGEST];
        // At most 32 products of 16 bits: no overflow before C is added.
        self.sum(&left, &right, &mut sums, |sum, x, y| sum + x * y);
        self.scatter(c, d, |at, bits| {
            let sum = i64::from(sums[at]) + Elem::S32.decode_integer(bits);
            let limits = (i64::from(i32::MIN), i64::from(i32::MAX));
            let result = if self.saturate { sum.clamp(limits.0, limits.1) } else { sum };
            u64::from(result as u32)
        });
    }

    fn run_double(&self, a: &[Register], b: &[Register], c: &[Register], d: &mut [Register]) {
        let left = gather(&self.a, a, 0.0, f64::from_bits);
        let right = gather(&self.b, b, 0.0, f64::from_bits);
        let mut sums = gather(&self.c, c, 0.0, f64::from_bits);
        self.sum_double(&left, &right, &mut sums);
        self.scatter(c, d, |at, _| sums[at].to_bits());
    }

    fn run_float(&self, a: &[Register], b: &[Register], c: &[Register], d: &mut [Register]) {
        let left = gather(&self.a, a, 0.0, |bits| self.a.elem.decode_float(bits));
        let right = gather(&self.b, b, 0.0, |bits| self.b.elem.decode_float(bits));
        let mut sums = [0.0; LARGEST];
        self.sum(&left, &right, &mut sums, |sum, x, y| sum + x * y);
        self.scatter(c, d, |at, bits| self.d.elem.encode_float(sums[at] + self.c.elem.decode_float(bits)));
    }

    fn sum_double(&self, left: &[f64; LARGEST], right: &[f64; LARGEST], sums: &mut [f64; LARGEST]) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx") && std::arch::is_x86_feature_detected!("fma") {
            // SAFETY: the processor has the feature that the function needs.
            unsafe { self.sum_double_fma(left, right, sums) };
            return;
        }
        self.sum(left, right, sums, |sum, x, y| x.mul_add(y, sum));
    }

    /// The same results by the processor's own instruction: a call of the
    /// library's `fma` for each step is about three times slower for the whole product.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx,fma")]
    fn sum_double_fma(&self, left: &[f64; LARGEST], right: &[f64; LARGEST], sums: &mut [f64; LARGEST]) {
        self.sum(left, right, sums, |sum, x, y| x.mul_add(y, sum));
    }

    /// Adds the products to the sums, for each sum with k ascending.
    #[inline(always)]
    #[allow(clippy::inline_always)] // It must take on its caller's features.
    fn sum<T: Copy>(
        &self,
        left: &[T; LARGEST],
        right: &[T; LARGEST],
        sums: &mut [T; LARGEST],
        step: impl Fn(T, T, T) -> T,
    ) {
        let (m, n, k) = self.shape().sizes();
        let rows = left.chunks_exact(k).zip(sums.chunks_exact_mut(n)).take(m);
        for (left, sums) in rows {
            for (&x, right) in left.iter().zip(right.chunks_exact(n)) {
                for (sum, &y) in sums.iter_mut().zip(right) {
                    *sum = step(*sum, x, y);
                }
            }
        }
    }

    /// Gives each element of D (all bits zero before) the bits that `result`
    /// makes of its index in the matrix by rows and of the element of C.
    fn scatter(&self, c: &[Register], d: &mut [Register], result: impl Fn(usize, u64) -> u64) {
        for element in 0..self.d.distinct() {
            let (from, from_shift, mask) = self.c.position(element);
            let (to, to_shift, _) = self.d.position(element);
            let words = c[from].iter().zip(&mut d[to]);
            for (at, (old, new)) in self.d.indices(element).zip(words) {
                *new |= result(at, old >> from_shift & mask) << to_shift;
            }
        }
    }
}

/// Whether `.f16` products may be summed in the type.
const fn half_sum(elem: Elem) -> bool {
    matches!(elem, Elem::F16 | Elem::F32)
}

/// The matrix of a fragment by rows.
fn gather<T: Copy>(fragment: &Fragment, registers: &[Register], zero: T, decode: impl Fn(u64) -> T) -> [T; LARGEST] {
    let mut matrix = [zero; LARGEST];
    for element in 0..fragment.distinct() {
        let (register, shift, mask) = fragment.position(element);
        for (at, word) in fragment.indices(element).zip(&registers[register]) {
            matrix[at] = decode(word >> shift & mask);
        }
    }
    matrix
}
