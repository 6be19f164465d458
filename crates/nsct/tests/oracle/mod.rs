//! Slow scalar programs straight from the formulas, in f64. They share no code with the library: filters, offsets and
//! loops are written a second time here.
//!
//! An image is a slice of `h * w` values, row-major.

#![allow(dead_code, unreachable_pub, reason = "each test file uses some of it")]
#![allow(clippy::manual_midpoint, reason = "formulas stand as they are printed")]

pub mod apps;
pub mod atrousc;
pub mod dct2;
pub mod dft2;
pub mod efilter2;
pub mod families;
pub mod nsct;
pub mod pyramid_map;
pub mod spectral;
pub mod symext;
pub mod taps;
pub mod zconv2;

/// `mir(i, n)`: half-sample symmetric extension, for every integer `i`.
pub fn mirror(i: i64, n: usize) -> usize {
    let n = n as i64;
    let mut j = i % (2 * n);
    if j < 0 {
        j += 2 * n;
    }
    if j >= n {
        j = 2 * n - 1 - j;
    }
    j as usize
}

/// `i mod n`, not negative.
pub fn modulo(i: i64, n: usize) -> usize {
    let n = n as i64;
    (((i % n) + n) % n) as usize
}
