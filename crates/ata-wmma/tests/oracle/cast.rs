//! Rounding to a number of bits, in f64.

/// The nearest value with `bits` bits of significand whose last bit counts at least `2^lowest`, ties to even.
pub fn round(v: f64, bits: i32, lowest: i32) -> f64 {
    if v == 0.0 {
        return 0.0;
    }
    let exponent = v.abs().log2().floor() as i32;
    let unit = 2f64.powi((exponent - bits + 1).max(lowest));
    let scaled = v / unit;
    let down = scaled.floor();
    let rest = scaled - down;
    let up = rest > 0.5 || (rest == 0.5 && down % 2.0 != 0.0);
    (down + if up { 1.0 } else { 0.0 }) * unit
}

/// Pieces of values `[lines, n]`: for each piece, `[lines, n padded]`; and the exponents of the lines.
pub fn pieces(
    x: &[f64],
    n: usize,
    lines: usize,
    count: usize,
    format: (i32, i32),
    scaled: bool,
) -> (Vec<f64>, Vec<i32>) {
    let n_pad = n.div_ceil(16) * 16;
    let mut exponents = Vec::new();
    for line in 0..lines {
        let mut largest = 0.0f64;
        for i in 0..n {
            largest = largest.max(x.get(line * n + i).map_or(0.0, |v| v.abs()));
        }
        let mut e = 0;
        if scaled && largest > 0.0 {
            // The smallest power of two that is not below.
            while 2f64.powi(-e) < largest {
                e -= 1;
            }
            while 2f64.powi(-e - 1) >= largest {
                e += 1;
            }
        }
        exponents.push(e.clamp(-126, 126));
    }
    let mut out = vec![0.0; count * lines * n_pad];
    for line in 0..lines {
        for i in 0..n {
            let Some(v) = x.get(line * n + i) else { continue };
            let mut rest = v * 2f64.powi(exponents[line]);
            for p in 0..count {
                let piece = round(rest, format.0, format.1);
                out[(p * lines + line) * n_pad + i] = piece;
                rest -= piece;
            }
        }
    }
    (out, exponents)
}
