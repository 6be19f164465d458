//! Fourier transforms of many columns at once: one column a lane of a vector register.
//!
//! A strip holds `LANES` columns. Each of its rows is `[re; LANES]` followed by `[im; LANES]`, 64 bytes each, so a
//! butterfly works on whole registers and nothing is ever transposed. The transform is in place, by decimation in
//! frequency with radices 8, 4, 2, 3 and 5; it leaves the rows in digit-reversed order, and whoever reads them asks
//! [`LanePlan::position`].

use num_complex::Complex;

use crate::Real;

/// Factors and twiddles of one length.
#[derive(Debug)]
pub struct LanePlan<T> {
    len: usize,
    stages: Vec<Stage<T>>,
    constants: Constants<T>,
}

/// One pass of butterflies over the strip.
#[derive(Debug)]
struct Stage<T> {
    radix: usize,
    /// Rows between the inputs of a butterfly.
    apart: usize,
    /// `radix - 1` factors for each of the `apart` butterflies of a block.
    twiddles: Vec<Complex<T>>,
}

/// Irrational numbers inside butterflies.
#[derive(Clone, Copy, Debug)]
struct Constants<T> {
    /// cos 45°.
    diagonal: T,
    /// cos and sin of 120°.
    third: Complex<T>,
    /// cos and sin of 72° and of 144°.
    fifth: [Complex<T>; 2],
}

/// The radices for a length, or `None` when it has a prime factor above 5.
fn radices(len: usize) -> Option<Vec<usize>> {
    let twos = len.trailing_zeros() as usize;
    let mut rest = len >> twos;
    let mut all = Vec::new();
    for odd in [5, 3] {
        while rest.is_multiple_of(odd) {
            all.push(odd);
            rest /= odd;
        }
    }
    // As few passes as possible; 2 only where nothing else is left.
    let fours = match twos % 3 {
        0 => 0,
        2 => 1,
        _ => 2,
    };
    match twos {
        0 => {}
        1 => all.push(2),
        _ => {
            all.extend([4; 2].iter().take(fours));
            all.extend(std::iter::repeat_n(8, (twos - 2 * fours) / 3));
        }
    }
    (rest == 1).then_some(all)
}

impl<T: Real> LanePlan<T> {
    /// The plan for columns of `len` elements, when its prime factors are 2, 3 and 5.
    pub(crate) fn new(len: usize) -> Option<Self> {
        let mut block = len;
        let mut stages = Vec::new();
        for radix in radices(len)? {
            let apart = block / radix;
            let twiddles = (0..apart).flat_map(|j| (1..radix).map(move |q| super::unit::<T>(j * q, block))).collect();
            stages.push(Stage { radix, apart, twiddles });
            block = apart;
        }
        let at = |numerator, denominator| {
            // `unit` turns clockwise.
            let w: Complex<T> = super::unit(numerator, denominator);
            Complex::new(w.re, -w.im)
        };
        let constants = Constants { diagonal: T::of(0.5_f64.sqrt()), third: at(1, 3), fifth: [at(1, 5), at(2, 5)] };
        Some(Self { len, stages, constants })
    }

    /// Whether a length has small prime factors alone.
    pub(crate) fn serves(len: usize) -> bool {
        radices(len).is_some()
    }

    /// Where frequency `k` stands after the transform.
    pub(crate) fn position(&self, mut k: usize) -> usize {
        let mut at = 0;
        for stage in &self.stages {
            at += (k % stage.radix) * stage.apart;
            k /= stage.radix;
        }
        at
    }
}

#[inline(always)]
fn add<T: Real>(a: Complex<T>, b: Complex<T>) -> Complex<T> {
    Complex { re: a.re + b.re, im: a.im + b.im }
}

#[inline(always)]
fn sub<T: Real>(a: Complex<T>, b: Complex<T>) -> Complex<T> {
    Complex { re: a.re - b.re, im: a.im - b.im }
}

/// `-i a`.
#[inline(always)]
fn clockwise<T: Real>(a: Complex<T>) -> Complex<T> {
    Complex { re: a.im, im: -a.re }
}

#[inline(always)]
fn times<T: Real>(a: Complex<T>, w: Complex<T>) -> Complex<T> {
    Complex { re: a.re * w.re - a.im * w.im, im: a.re * w.im + a.im * w.re }
}

#[inline(always)]
fn butterfly2<T: Real>(a: [Complex<T>; 2], _: Constants<T>) -> [Complex<T>; 2] {
    [add(a[0], a[1]), sub(a[0], a[1])]
}

#[inline(always)]
fn butterfly3<T: Real>(a: [Complex<T>; 3], c: Constants<T>) -> [Complex<T>; 3] {
    let sum = add(a[1], a[2]);
    let turned = clockwise(sub(a[1], a[2]));
    let real = Complex { re: a[0].re + sum.re * c.third.re, im: a[0].im + sum.im * c.third.re };
    let turned = Complex { re: turned.re * c.third.im, im: turned.im * c.third.im };
    [add(a[0], sum), add(real, turned), sub(real, turned)]
}

#[inline(always)]
fn butterfly4<T: Real>(a: [Complex<T>; 4], _: Constants<T>) -> [Complex<T>; 4] {
    let (even, apart) = (add(a[0], a[2]), sub(a[0], a[2]));
    let (odd, turned) = (add(a[1], a[3]), clockwise(sub(a[1], a[3])));
    [add(even, odd), add(apart, turned), sub(even, odd), sub(apart, turned)]
}

#[inline(always)]
fn butterfly5<T: Real>(a: [Complex<T>; 5], c: Constants<T>) -> [Complex<T>; 5] {
    let [one, two] = c.fifth;
    let (sum1, sum2) = (add(a[1], a[4]), add(a[2], a[3]));
    let (dif1, dif2) = (clockwise(sub(a[1], a[4])), clockwise(sub(a[2], a[3])));
    let real1 = Complex {
        re: a[0].re + sum1.re * one.re + sum2.re * two.re,
        im: a[0].im + sum1.im * one.re + sum2.im * two.re,
    };
    let real2 = Complex {
        re: a[0].re + sum1.re * two.re + sum2.re * one.re,
        im: a[0].im + sum1.im * two.re + sum2.im * one.re,
    };
    let turned1 = Complex { re: dif1.re * one.im + dif2.re * two.im, im: dif1.im * one.im + dif2.im * two.im };
    let turned2 = Complex { re: dif1.re * two.im - dif2.re * one.im, im: dif1.im * two.im - dif2.im * one.im };
    [add(a[0], add(sum1, sum2)), add(real1, turned1), add(real2, turned2), sub(real2, turned2), sub(real1, turned1)]
}

#[inline(always)]
fn butterfly8<T: Real>(a: [Complex<T>; 8], c: Constants<T>) -> [Complex<T>; 8] {
    let h = c.diagonal;
    let even = butterfly4([add(a[0], a[4]), add(a[1], a[5]), add(a[2], a[6]), add(a[3], a[7])], c);
    let (d1, d3) = (sub(a[1], a[5]), sub(a[3], a[7]));
    let odd = butterfly4(
        [
            sub(a[0], a[4]),
            Complex { re: (d1.re + d1.im) * h, im: (d1.im - d1.re) * h },
            clockwise(sub(a[2], a[6])),
            Complex { re: (d3.im - d3.re) * h, im: (-d3.im - d3.re) * h },
        ],
        c,
    );
    [even[0], odd[0], even[1], odd[1], even[2], odd[2], even[3], odd[3]]
}

/// A pass of one radix. The loop over lanes is innermost and reads and writes scalars, which the compiler turns into
/// whole registers; arrays of vectors do not survive its optimiser.
macro_rules! pass {
    ($pass:ident, $butterfly:ident, $radix:literal, [$($q:tt $row:ident),*]) => {
        #[inline(always)]
        fn $pass<T: Real, const ROW: usize>(strip: &mut [T], stage: &Stage<T>, c: Constants<T>) {
            #[inline(always)]
            fn turned<T: Real, const ROW: usize>(
                $($row: &mut [T; ROW],)* w: &[Complex<T>; $radix - 1], c: Constants<T>,
            ) {
                for l in 0..ROW / 2 {
                    let out = $butterfly([$(Complex { re: $row[l], im: $row[ROW / 2 + l] }),*], c);
                    $(
                        let value = pass!(@turn $q out w);
                        $row[l] = value.re;
                        $row[ROW / 2 + l] = value.im;
                    )*
                }
            }
            #[inline(always)]
            fn last<T: Real, const ROW: usize>($($row: &mut [T; ROW],)* c: Constants<T>) {
                for l in 0..ROW / 2 {
                    let out = $butterfly([$(Complex { re: $row[l], im: $row[ROW / 2 + l] }),*], c);
                    $(
                        $row[l] = out[$q].re;
                        $row[ROW / 2 + l] = out[$q].im;
                    )*
                }
            }
            let (rows, _) = strip.as_chunks_mut::<ROW>();
            let (twiddles, _) = stage.twiddles.as_chunks::<{ $radix - 1 }>();
            for block in rows.chunks_exact_mut($radix * stage.apart) {
                let mut parts = block.chunks_exact_mut(stage.apart);
                $(let Some($row) = parts.next() else { return };)*
                if stage.apart == 1 {
                    last($(&mut $row[0],)* c);
                    continue;
                }
                for (j, w) in twiddles.iter().enumerate() {
                    turned($(&mut $row[j],)* w, c);
                }
            }
        }
    };
    (@turn 0 $out:ident $w:ident) => { $out[0] };
    (@turn $q:tt $out:ident $w:ident) => { times($out[$q], $w[$q - 1]) };
}
pass!(pass2, butterfly2, 2, [0 r0, 1 r1]);
pass!(pass3, butterfly3, 3, [0 r0, 1 r1, 2 r2]);
pass!(pass4, butterfly4, 4, [0 r0, 1 r1, 2 r2, 3 r3]);
pass!(pass5, butterfly5, 5, [0 r0, 1 r1, 2 r2, 3 r3, 4 r4]);
pass!(pass8, butterfly8, 8, [0 r0, 1 r1, 2 r2, 3 r3, 4 r4, 5 r5, 6 r6, 7 r7]);

/// Forward transform of every column of a strip; rows of `ROW` numbers.
#[inline(always)]
pub(super) fn transform<T: Real, const ROW: usize>(strip: &mut [T], plan: &LanePlan<T>) {
    debug_assert_eq!(strip.len(), plan.len * ROW);
    for stage in &plan.stages {
        match stage.radix {
            8 => pass8::<T, ROW>(strip, stage, plan.constants),
            5 => pass5::<T, ROW>(strip, stage, plan.constants),
            4 => pass4::<T, ROW>(strip, stage, plan.constants),
            3 => pass3::<T, ROW>(strip, stage, plan.constants),
            _ => pass2::<T, ROW>(strip, stage, plan.constants),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn radices_multiply_to_the_length() {
        for len in 1..2000_usize {
            let smooth = {
                let mut rest = len;
                for p in [2, 3, 5] {
                    while rest.is_multiple_of(p) {
                        rest /= p;
                    }
                }
                rest == 1
            };
            let all = radices(len);
            assert_eq!(all.is_some(), smooth, "{len}");
            if let Some(all) = all {
                assert_eq!(all.iter().product::<usize>(), len, "{all:?}");
            }
        }
        assert_eq!(radices(512), Some(vec![8, 8, 8]));
        assert_eq!(radices(1024), Some(vec![4, 4, 8, 8]));
        assert_eq!(radices(600), Some(vec![5, 5, 3, 8]));
    }

    #[test]
    fn positions_are_a_permutation() {
        let plan = LanePlan::<f64>::new(360).unwrap();
        let mut seen: Vec<_> = (0..360).map(|k| plan.position(k)).collect();
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..360));
    }
}
