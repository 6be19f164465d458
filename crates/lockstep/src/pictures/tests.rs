use std::path::PathBuf;

use super::*;

fn ramp(channels: usize, depth: Depth) -> Picture {
    let (h, w) = (9, 13);
    let step = if depth == Depth::U16 { 257.0 } else { 1.0 };
    let samples = (0..channels * h * w).map(|i| ((i * 37) % 256) as f64 * step).collect();
    let layout = if channels == 1 { Layout::Hw } else { Layout::Hwc };
    Picture { shape: [1, channels, h, w], samples, depth, layout, alpha: None }
}

#[test]
fn lossless_formats_return_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    for depth in [Depth::U8, Depth::U16] {
        for (channels, endings) in [(1, ["png", "tif", "pgm"]), (3, ["png", "tif", "ppm"])] {
            for name in endings {
                let path = folder.path().join(format!("x.{name}"));
                let picture = ramp(channels, depth);
                write(&path, &picture, Writing::default()).unwrap();
                assert_eq!(read(&path, Layout::Auto).unwrap(), picture, "{name} {depth:?}");
            }
        }
    }
}

#[test]
fn transparency_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    for (depth, peak) in [(Depth::U8, 255), (Depth::U16, 65535)] {
        for channels in [1, 3] {
            let mut picture = ramp(channels, depth);
            picture.alpha = Some((0..picture.area()).map(|i| (i * 97 % (peak + 1)) as u16).collect());
            let path = folder.path().join("x.png");
            write(&path, &picture, Writing::default()).unwrap();
            assert_eq!(read(&path, Layout::Auto).unwrap(), picture, "{depth:?} {channels}");
        }
    }
}

#[test]
fn integers_are_rounded_and_clamped_and_floats_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let picture = Picture::gray(1, 4, vec![-3.0, 0.5, 99.4, 300.0]);
    let (png, npy) = (folder.path().join("x.png"), folder.path().join("x.npy"));
    write(&png, &picture, Writing::default()).unwrap();
    write(&npy, &picture, Writing { double: true, bits: None, quality: None }).unwrap();
    assert_eq!(read(&png, Layout::Auto).unwrap().samples, [0.0, 1.0, 99.0, 255.0]);
    assert_eq!(read(&npy, Layout::Auto).unwrap().samples, picture.samples);
    write(&png, &picture, Writing { bits: Some(16), double: false, quality: None }).unwrap();
    assert_eq!(read(&png, Layout::Auto).unwrap().samples, [0.0, 129.0, 25546.0, 65535.0]);
}

#[test]
fn arrangements_of_arrays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npy");
    let values: Vec<f32> = (0..24).map(|i| i as f32).collect();
    let of = |shape: &[usize], layout| {
        npy::write(&path, shape, &values).unwrap();
        read(&path, layout).map(|p| (p.shape, p.samples[1]))
    };
    assert_eq!(of(&[4, 6], Layout::Auto).unwrap(), ([1, 1, 4, 6], 1.0));
    assert_eq!(of(&[8, 1, 3], Layout::Auto).unwrap(), ([1, 3, 8, 1], 3.0));
    assert_eq!(
        of(&[3, 2, 4], Layout::Auto).unwrap(),
        ([1, 3, 2, 4], 1.0),
        "both ends look like channels: the first wins"
    );
    assert_eq!(of(&[3, 2, 4], Layout::Hwc).unwrap(), ([1, 4, 3, 2], 4.0));
    assert_eq!(of(&[1, 2, 3, 4], Layout::Auto).unwrap(), ([1, 2, 3, 4], 1.0));
    for (shape, layout) in [(&[24][..], Layout::Auto), (&[1, 1, 2, 3, 4], Layout::Auto), (&[4, 6], Layout::Chw)] {
        let failure = of(shape, layout).unwrap_err();
        assert!(failure.message.contains("x.npy") && failure.help.is_some(), "{failure}");
    }
    npy::write(&path, &[1, 2], &[1.0f32, f32::NAN]).unwrap();
    assert!(read(&path, Layout::Auto).unwrap_err().message.contains("row 0, column 1"));
    npy::write::<f32>(&path, &[0, 5], &[]).unwrap();
    assert!(read(&path, Layout::Auto).unwrap_err().message.contains("no pixels"));
}

#[test]
fn every_format_notices_a_cut() {
    let folder = tempfile::tempdir().unwrap();
    let samples = (0..64i64 * 48 * 3).map(|i| ((i * i * 31 + i * 7) % 256) as f64).collect();
    let picture = Picture { shape: [1, 3, 48, 64], samples, depth: Depth::U8, layout: Layout::Hwc, alpha: None };
    for name in ["png", "tif", "ppm", "jpg"] {
        let path = folder.path().join(format!("x.{name}"));
        write(&path, &picture, Writing::default()).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let original = read(&path, Layout::Auto).unwrap();
        for percent in [1, 10, 30, 50, 70, 90, 97, 99] {
            std::fs::write(&path, &whole[..whole.len() * percent / 100]).unwrap();
            match read(&path, Layout::Auto) {
                Err(e) => assert!(e.message.contains(&format!("x.{name}")), "{name} {percent} %: {e}"),
                // Only bytes behind the last pixel were lost.
                Ok(got) => assert_eq!(got, original, "{name} {percent} %"),
            }
        }
    }
}

#[test]
fn rubbish_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("x.png");
    for bytes in [&b""[..], b"hello", b"\x89PNG\r\n\x1a\n", b"P5\n99999999 99999999\n255\n", b"P5\n4 4\n70000\nabc"] {
        std::fs::write(&path, bytes).unwrap();
        assert!(read(&path, Layout::Auto).unwrap_err().message.contains("x.png"), "{bytes:?}");
    }
}

#[test]
fn what_cannot_be_written_is_said_before() {
    let check = |name: &str, shape, bits, depth| {
        Writing { bits, double: false, quality: None }.check(Path::new(name), shape, depth)
    };
    assert!(check("a.npy", [2, 5, 1, 1], None, Depth::F32).is_ok());
    assert!(check("a.png", [2, 1, 1, 1], None, Depth::U8).is_err());
    assert!(check("a.jpg", [1, 3, 1, 1], None, Depth::U16).unwrap_err().help.unwrap().contains("--bits 8"));
    assert!(check("a.jpg", [1, 3, 1, 1], Some(8), Depth::U16).is_ok());
    assert!(check("a.pgm", [1, 3, 1, 1], None, Depth::U8).unwrap_err().help.unwrap().contains("ppm"));
    for name in ["a", "a.bmp", "a.gif", "a.txt"] {
        assert!(check(name, [1, 1, 1, 1], None, Depth::U8).is_err(), "{name}");
    }
}

#[test]
fn brightness_and_psnr() {
    let picture = Picture { shape: [1, 3, 1, 1], samples: vec![100.0, 50.0, 10.0], ..ramp(3, Depth::U8) };
    assert!((picture.luma()[0] - (29.9 + 29.35 + 1.14)).abs() < 1e-12);
    assert!((psnr(&[0.0, 0.0], &[5.0, -5.0], 255.0) - 34.1514).abs() < 1e-4);
    assert!(largest_difference(&[1.0, f64::NAN], &[1.5, 0.0]).is_nan());
}
