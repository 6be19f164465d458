//! The gains of the transform domains, through naive cosine and Fourier transforms, against the naive transform.

mod oracle;

use nsct::filters::{directional, pyramid_prototype};
use nsct::gains::{forest_gains, pyramid_gains, scale_gains};
use nsct::{DirFilter, Geometry, NsctSpec, PyrFilter, Side};
use oracle::dct2::{dct2, idct2};
use oracle::dft2::{dft2, idft2};
use oracle::nsct::Transform;

/// An image without symmetry, values 0 to 255.
fn image(h: usize, w: usize) -> Vec<f64> {
    let value = |r: usize, c: usize| (7 * r * r + 13 * c * c + 5 * r * c + 31 * r + 17 * c) % 256;
    (0..h * w).map(|at| value(at / w + 1, at % w + 1) as f64).collect()
}

fn difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max)
}

fn product(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(x, y)| x * y).collect()
}

/// The full spectrum of gains from the half that is stored: gains are even.
fn full(half: &[f64], h: usize, w: usize) -> Vec<f64> {
    let columns = w / 2 + 1;
    let at = |i: usize, j: usize| if j < columns { (i, j) } else { ((h - i) % h, w - j) };
    (0..h * w)
        .map(|k| {
            let (i, j) = at(k / w, k % w);
            half[i * columns + j]
        })
        .collect()
}

#[test]
fn the_naive_transforms_invert() {
    for (h, w) in [(1, 1), (1, 9), (6, 5), (16, 12)] {
        let x = image(h, w);
        assert!(difference(&idct2(&dct2(&x, h, w), h, w), &x) < 1e-10);
        assert!(difference(&idft2(&dft2(&x, h, w), h, w), &x) < 1e-10);
        let sum: f64 = x.iter().sum();
        assert!((dct2(&x, h, w)[0] - sum).abs() < 1e-9 && (dft2(&x, h, w).0[0] - sum).abs() < 1e-9);
    }
}

#[test]
fn the_pyramid_mapping_multiplies_the_cosine_transform() {
    for family in [PyrFilter::Maxflat, PyrFilter::NineSeven] {
        let p = pyramid_prototype(family);
        // Some images are smaller than the dilated filter.
        for (h, w) in [(1, 7), (5, 3), (16, 9), (21, 20)] {
            for step in 0..4 {
                let x = image(h, w);
                let direct = oracle::pyramid_map::pyramid_map(&x, h, w, &p.taps, 1 << step);
                let gains = pyramid_gains(&p, step, h, w).unwrap();
                let spectral = idct2(&product(&gains, &dct2(&x, h, w)), h, w);
                let d = difference(&direct, &spectral);
                assert!(d < 1e-10, "{family} {h} x {w} step {step}: {d:e}");
            }
        }
    }
}

/// The transform by multiplications alone.
fn spectral(spec: &NsctSpec, x: &[f64], h: usize, w: usize) -> Vec<Vec<f64>> {
    let pyramid = scale_gains::<f64>(spec, Side::Analysis, h, w).unwrap();
    let filters = directional(spec.dir).unwrap();
    let trees = forest_gains::<f64>(&filters, Side::Analysis, spec.geometry, &spec.levels, h, w).unwrap();
    let cosines = dct2(x, h, w);
    let plane = |gains: &[f64]| idct2(&product(gains, &cosines), h, w);
    let mut planes = vec![plane(&pyramid.low)];
    for (level, gains) in spec.levels.iter().zip(&pyramid.scales) {
        let (re, im) = dft2(&plane(gains), h, w);
        for gains in &trees[level] {
            let gains = full(gains, h, w);
            planes.push(idft2(&(product(&gains, &re), product(&gains, &im)), h, w));
        }
    }
    planes
}

/// The inverse by multiplications alone.
fn spectral_inverse(spec: &NsctSpec, planes: &[Vec<f64>], h: usize, w: usize) -> Vec<f64> {
    let pyramid = scale_gains::<f64>(spec, Side::Synthesis, h, w).unwrap();
    let filters = directional(spec.dir).unwrap();
    let trees = forest_gains::<f64>(&filters, Side::Synthesis, spec.geometry, &spec.levels, h, w).unwrap();
    let mut sum = product(&pyramid.low, &dct2(&planes[0], h, w));
    let mut rest = &planes[1..];
    for (level, pyramid_gains) in spec.levels.iter().zip(&pyramid.scales) {
        let mut spectrum = (vec![0.0; h * w], vec![0.0; h * w]);
        for gains in &trees[level] {
            let (plane, others) = rest.split_first().expect("a plane for every gain");
            rest = others;
            let gains = full(gains, h, w);
            let (re, im) = dft2(plane, h, w);
            for at in 0..h * w {
                spectrum.0[at] += gains[at] * re[at];
                spectrum.1[at] += gains[at] * im[at];
            }
        }
        let scale = dct2(&idft2(&spectrum, h, w), h, w);
        for at in 0..h * w {
            sum[at] += pyramid_gains[at] * scale[at];
        }
    }
    idct2(&sum, h, w)
}

#[test]
fn gains_make_the_whole_transform() {
    for (dir, pyr, geometry, levels, h, w) in [
        (DirFilter::Dmaxflat(7), PyrFilter::Maxflat, Geometry::Wedge, &[2, 4][..], 18, 23),
        (DirFilter::Dmaxflat(3), PyrFilter::Pyr, Geometry::Toolbox, &[4, 0, 1], 16, 16),
        (DirFilter::Pkva(12), PyrFilter::NineSeven, Geometry::Toolbox, &[3, 5], 12, 20),
        (DirFilter::Pkva(6), PyrFilter::Pyrexc, Geometry::Wedge, &[1, 5], 9, 15),
        (DirFilter::Dmaxflat6Toolbox, PyrFilter::Pyr, Geometry::Wedge, &[3], 13, 13),
        (DirFilter::Cd, PyrFilter::Pyr, Geometry::Wedge, &[2], 1, 17),
        (DirFilter::Vk, PyrFilter::Maxflat, Geometry::Toolbox, &[2, 2, 2], 4, 3),
        (DirFilter::Dmaxflat(2), PyrFilter::Maxflat, Geometry::Toolbox, &[], 3, 4),
    ] {
        let spec = NsctSpec::new(levels).with_dir(dir).with_pyr(pyr).with_geometry(geometry);
        let naive = Transform::new(&dir.to_string(), &pyr.to_string(), geometry == Geometry::Wedge);
        let x = image(h, w);
        let planes = spectral(&spec, &x, h, w);
        let want = naive.dec(&x, h, w, levels);
        assert_eq!((planes.len(), want.len()), (spec.plane_count(), spec.plane_count()));
        for ((id, a), b) in spec.planes().iter().zip(&planes).zip(&want) {
            let d = difference(a, b);
            assert!(d < 1e-10, "{dir} {pyr} {geometry} {levels:?} {id}: {d:e}");
        }
        // Coefficients that are no transform of an image: every gain of the inverse counts by itself.
        let factor = |b: usize| 1.0 + 0.25 * (b % 5) as f64 - 0.1 * (b % 3) as f64;
        let changed: Vec<Vec<f64>> =
            want.iter().enumerate().map(|(b, p)| p.iter().map(|v| v * factor(b)).collect()).collect();
        let d = difference(&spectral_inverse(&spec, &changed, h, w), &naive.rec(&changed, h, w, levels));
        assert!(d < 2e-10, "{dir} {pyr} {geometry} {levels:?} inverse: {d:e}");
    }
}

#[test]
fn the_naive_transform_reconstructs_and_has_its_adjoint() {
    for (dir, pyr, levels) in [
        ("dmaxflat4", "maxflat", &[2, 3][..]),
        ("pkva", "9-7", &[0, 4]),
        ("pkva8", "pyrexc", &[1]),
        ("vk", "pyr", &[3]),
    ] {
        for wedge in [false, true] {
            let (h, w) = (11, 14);
            let transform = Transform::new(dir, pyr, wedge);
            let x = image(h, w);
            let planes = transform.dec(&x, h, w, levels);
            let d = difference(&transform.rec(&planes, h, w, levels), &x);
            assert!(d < 1e-10, "{dir} {pyr} {levels:?}: {d:e}");
            // <dec x, y> = <x, adjoint y>
            let y: Vec<Vec<f64>> =
                planes.iter().enumerate().map(|(b, p)| p.iter().map(|v| (v + b as f64).sin()).collect()).collect();
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
            let left: f64 = planes.iter().zip(&y).map(|(a, b)| dot(a, b)).sum();
            let right = dot(&x, &transform.adjoint(&y, h, w, levels));
            let size: f64 = planes.iter().map(|p| dot(p, p)).sum::<f64>().sqrt();
            assert!((left - right).abs() < 1e-12 * size * size, "{dir} {pyr} {levels:?}: {left} {right}");
        }
    }
}
