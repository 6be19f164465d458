//! Slow scalar programs straight from the formulas, in f64. They share no code with the library.

#![allow(dead_code, unreachable_pub, reason = "each test file uses some of it")]
#![allow(clippy::manual_midpoint, reason = "formulas stand as they are printed")]

pub mod cast;
pub mod matrix;
pub mod patterns;
pub mod steps;

/// A number from 0 to 2^64 for a counter.
pub fn hash(seed: u64, index: u64) -> u64 {
    let mut z = seed
        .wrapping_mul(0xA24B_AED4_963E_E407)
        .wrapping_add(index.wrapping_add(1).wrapping_mul(0x9FB2_1C65_1E98_DF25));
    z = (z ^ (z >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    z = (z ^ (z >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    z ^ (z >> 32)
}

/// A small integer, or a value in [-1, 1) that `f32` holds.
pub fn value(seed: u64, index: u64, exact: bool) -> f64 {
    let h = hash(seed, index);
    if exact { (h % 17) as f64 - 8.0 } else { f64::from((h >> 40) as f32 / (1u64 << 23) as f32 - 1.0) }
}
