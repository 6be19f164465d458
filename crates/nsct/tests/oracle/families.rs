//! The filters by name, from the decimals and tables of the literature: mapping taps `(n1, n2, v)` and the four
//! polynomials of a filter bank, constant term first.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::f64::consts::FRAC_1_SQRT_2;

/// `h0, h1, g0, g1` or `p0, p1, q0, q1`.
pub type Bank = [Vec<f64>; 4];

const HX: [f64; 3] = [FRAC_1_SQRT_2, 0.5, -0.20710678118654757];
const GX: [f64; 4] = [FRAC_1_SQRT_2, 0.58578643762690474, -0.20710678118654768, -0.085786437626904855];
const H97: [f64; 5] =
    [0.81289306611596057, 0.63491294754299954, -0.7408731846889216, -0.13491294754299932, 0.42798011857296114];
const G97: [f64; 4] = [0.61508705245700068, 0.86508705245700068, -0.11508705245700057, -0.36508705245700063];
const HCD: [f64; 5] =
    [0.81289306611599998, 0.63491294754400007, -0.74087318469199992, -0.13491294754399999, 0.42798011857599999];
const GCD: [f64; 4] = [0.61508705245700002, 0.86508705245599993, -0.115087052456, -0.36508705245599998];

/// p(-x).
fn alt(p: &[f64]) -> Vec<f64> {
    p.iter().enumerate().map(|(k, &c)| if k % 2 == 1 { -c } else { c }).collect()
}

fn scaled(p: &[f64], factor: f64) -> Vec<f64> {
    p.iter().map(|c| c * factor).collect()
}

fn standard(h: &[f64], g: &[f64]) -> Bank {
    [h.to_vec(), alt(g), g.to_vec(), alt(h)]
}

/// The half-band filter from its centre outwards, and the bank.
pub fn pyramid(name: &str) -> (Vec<f64>, Bank) {
    let half = if name == "maxflat" { vec![0.5, 0.28125, 0.0, -0.03125] } else { vec![0.5, 0.25] };
    let bank = match name {
        "maxflat" | "pyr" => standard(&HX, &GX),
        "pyrexc" => [HX.to_vec(), alt(&HX), GX.to_vec(), alt(&GX)],
        "9-7" => standard(&H97, &G97),
        other => panic!("no pyramid filter {other}"),
    };
    (half, bank)
}

/// The diamond mapping and the bank.
pub fn directional(name: &str) -> (Vec<(i64, i64, f64)>, Bank) {
    let (l0, l1) = ([0.5, 0.5], [1.0, -0.5, -0.5]);
    match name {
        "pkva" | "pkva12" => ladder(&[0.6300, -0.1930, 0.0972, -0.0526, 0.0272, -0.0144]),
        "pkva8" => ladder(&[0.6302, -0.1924, 0.0930, -0.0403]),
        "pkva6" => ladder(&[0.6261, -0.1794, 0.0688]),
        "cd" | "7-9" => (maxflat(1), standard(&HCD, &GCD)),
        "vk" => {
            let r = 2_f64.sqrt();
            let bank = [scaled(&l0, 1.0 / r), scaled(&l1, r), scaled(&alt(&l1), r), scaled(&alt(&l0), 1.0 / r)];
            (maxflat(1), bank)
        }
        "dmaxflat6-toolbox" => {
            let slip = 400.0 / 1_048_576.0;
            let mut mapping = maxflat(6);
            for (n1, n2, v) in &mut mapping {
                if *n1 == 0 && (*n2 == 5 || *n2 == -5) {
                    *v -= slip;
                }
            }
            let dc: f64 = mapping.iter().map(|tap| tap.2).sum();
            let at_dc = |p: &[f64]| p.iter().enumerate().map(|(k, c)| c * dc.powi(k as i32)).sum::<f64>();
            (mapping, standard(&scaled(&HX, 1.0 / at_dc(&HX)), &scaled(&GX, 1.0 / at_dc(&GX))))
        }
        other => match other.strip_prefix("dmaxflat").and_then(|n| n.parse().ok()) {
            Some(n) => (maxflat(n), standard(&HX, &GX)),
            None => panic!("no directional filter {other}"),
        },
    }
}

/// Taps `b_U b_V` at `((U - V)/2, (U + V)/2)`, U and V odd.
fn ladder(b: &[f64]) -> (Vec<(i64, i64, f64)>, Bank) {
    let mut signed = Vec::new();
    for (i, &v) in b.iter().enumerate() {
        let odd = 2 * i as i64 + 1;
        signed.push((odd, v));
        signed.push((-odd, v));
    }
    let mut taps = Vec::new();
    for &(u, bu) in &signed {
        for &(v, bv) in &signed {
            taps.push(((u - v) / 2, (u + v) / 2, bu * bv));
        }
    }
    let (l0, l1) = (vec![0.5, 0.5], vec![1.0, -0.5, -0.5]);
    let synthesis = [alt(&l1), alt(&l0)];
    let [q0, q1] = synthesis;
    (taps, [l0, l1, q0, q1])
}

/// A polynomial in two variables z1, z2 and their inverses.
type Laurent = BTreeMap<(i64, i64), f64>;

fn product(a: &Laurent, b: &Laurent) -> Laurent {
    let mut out = Laurent::new();
    for (&(i, j), x) in a {
        for (&(k, l), y) in b {
            *out.entry((i + k, j + l)).or_default() += x * y;
        }
    }
    out
}

/// `1 - 2 Σ θ(i + j - n) C(n,i) s^i (1-s)^{n-i} C(n,j) t^j (1-t)^{n-j}`, term by term. Exact in f64 up to n = 12.
pub fn maxflat(n: usize) -> Vec<(i64, i64, f64)> {
    let s: Laurent = [((-1, 0), -0.25), ((0, 0), 0.5), ((1, 0), -0.25)].into();
    let t: Laurent = [((0, -1), -0.25), ((0, 0), 0.5), ((0, 1), -0.25)].into();
    let not =
        |p: &Laurent| p.iter().map(|(&at, &v)| (at, if at == (0, 0) { 1.0 - v } else { -v })).collect::<Laurent>();
    let choose = |k: usize| (0..k).fold(1.0, |c, i| c * (n - i) as f64 / (i + 1) as f64).round();
    let bernstein = |x: &Laurent, k: usize| {
        let mut p = Laurent::from([((0, 0), choose(k))]);
        for i in 0..n {
            p = product(&p, &if i < k { x.clone() } else { not(x) });
        }
        p
    };
    let mut sum = Laurent::from([((0, 0), 1.0)]);
    for i in 0..=n {
        for j in 0..=n {
            let theta = match (i + j).cmp(&n) {
                Ordering::Less => continue,
                Ordering::Equal => 0.5,
                Ordering::Greater => 1.0,
            };
            for (at, v) in product(&bernstein(&s, i), &bernstein(&t, j)) {
                *sum.entry(at).or_default() -= 2.0 * theta * v;
            }
        }
    }
    sum.into_iter().filter(|&(_, v)| v != 0.0).map(|((n1, n2), v)| (n1, n2, v)).collect()
}
