use proptest::prelude::*;

use super::Value;

/// The kind of values that a case is filled with, from tame to nasty. Shrinking walks towards the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FillKind {
    /// All zero.
    Zeros,
    /// One 1 at this index (modulo the length).
    Impulse(u32),
    /// 0, 1, …, 15, 0, 1, …
    Ramp,
    /// Integers from -8 to 8.
    Ints(u32),
    /// Uniform in [-1, 1).
    Noise(u32),
    /// Noise with NaN, infinities, -0, subnormals and the largest finite values strewn in.
    Nasty(u32),
}

/// A recipe for the contents of an array: values come from a counter-based hash of (seed, index), so a case is a few
/// numbers however large its arrays are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// What kind of values.
    pub kind: FillKind,
}

/// `SplitMix64`'s output function.
fn hash(seed: u64, index: u64) -> u64 {
    let mut z = seed
        .wrapping_mul(0xD1B5_4A32_D192_ED03)
        .wrapping_add(index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

impl Fill {
    /// A recipe of this kind.
    pub const fn of(kind: FillKind) -> Self {
        Self { kind }
    }

    /// Zeros, impulses, ramps and small integers: with integer or dyadic coefficients every sum of a linear kernel is
    /// exact, so results must agree to the bit.
    pub fn exact() -> BoxedStrategy<Self> {
        prop_oneof![
            Just(FillKind::Zeros),
            (0u32..4096).prop_map(FillKind::Impulse),
            Just(FillKind::Ramp),
            (0u32..64).prop_map(FillKind::Ints),
        ]
        .prop_map(Self::of)
        .boxed()
    }

    /// As [`exact`](Self::exact), and noise.
    pub fn any() -> BoxedStrategy<Self> {
        prop_oneof![1 => Self::exact(), 3 => (0u32..1024).prop_map(|s| Self::of(FillKind::Noise(s)))].boxed()
    }

    /// As [`any`](Self::any), and non-finite and extreme values.
    pub fn nasty() -> BoxedStrategy<Self> {
        prop_oneof![1 => Self::any(), 3 => (0u32..1024).prop_map(|s| Self::of(FillKind::Nasty(s)))].boxed()
    }

    /// Element `index` of an array of `len`.
    pub fn at<T: Value>(self, index: usize, len: usize) -> T {
        let i = index as u64;
        T::from_f64(match self.kind {
            FillKind::Zeros => 0.0,
            FillKind::Impulse(at) => f64::from(len > 0 && index == at as usize % len),
            FillKind::Ramp => (i % 16) as f64,
            FillKind::Ints(seed) => (hash(seed.into(), i) % 17) as f64 - 8.0,
            FillKind::Noise(seed) => unit(hash(seed.into(), i)),
            FillKind::Nasty(seed) => {
                let h = hash(seed.into(), i);
                match h % 16 {
                    0 => return T::extreme((h >> 8) as usize),
                    _ => unit(hash(u64::from(seed) ^ 0x5EED, i)),
                }
            }
        })
    }

    /// An array of `len` values.
    pub fn values<T: Value>(self, len: usize) -> Vec<T> {
        (0..len).map(|i| self.at(i, len)).collect()
    }

    /// An independent array of the same kind, for a second argument.
    pub fn other(self) -> Self {
        Self::of(match self.kind {
            FillKind::Impulse(at) => FillKind::Impulse(at.wrapping_mul(7).wrapping_add(3)),
            FillKind::Ints(seed) => FillKind::Ints(seed ^ 0x8000_0000),
            FillKind::Noise(seed) => FillKind::Noise(seed ^ 0x8000_0000),
            FillKind::Nasty(seed) => FillKind::Nasty(seed ^ 0x8000_0000),
            same => same,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_depend_on_the_seed_and_index_alone() {
        let fill = Fill::of(FillKind::Noise(3));
        let long: Vec<f64> = fill.values(100);
        assert_eq!(fill.values::<f64>(10), long[..10]);
        assert!(long.iter().all(|v| (-1.0..1.0).contains(v)));
        assert_ne!(fill.other().values::<f64>(10), long[..10]);
        let ints: Vec<f32> = Fill::of(FillKind::Ints(1)).values(1000);
        assert!(ints.contains(&8.0) && ints.contains(&-8.0) && ints.iter().all(|v| v.abs() <= 8.0 && v.fract() == 0.0));
    }

    #[test]
    fn nasty_values_are_nasty() {
        let values: Vec<f32> = Fill::of(FillKind::Nasty(5)).values(4096);
        assert!(values.iter().any(|v| v.is_nan()) && values.iter().any(|v| v.is_infinite()));
        assert!(values.iter().any(|v| *v != 0.0 && v.is_subnormal()));
    }
}
