//! Files that are cut short, changed or made up: each ends as a picture or as a typed error, never otherwise.

use std::path::Path;

use align::raw::RawlerReader;
use align::testing::{DngOptions, Scenery, Shot, write_dng, xtrans};
use align::{Cfa, Error, Limits, RawFrame, RawReader, Rect};

fn dng(o: &DngOptions, shot: &Shot) -> Vec<u8> {
    write_dng(&Scenery::new(1, 96, 120).mosaic(shot).view(), o)
}

fn read(folder: &Path, bytes: &[u8]) -> Result<RawFrame, Error> {
    let path = folder.join("file.dng");
    std::fs::write(&path, bytes).unwrap();
    RawlerReader.read(&path, &Limits::default())
}

#[test]
fn what_is_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    for (cfa, active) in [
        (Cfa::RGGB, None),
        (Cfa::RGGB.shifted(0, 1), None),
        (Cfa::RGGB.shifted(1, 1), Some(Rect { top: 3, left: 5, height: 80, width: 100 })),
        (xtrans(), None),
        (xtrans().shifted(2, 1), Some(Rect { top: 5, left: 7, height: 84, width: 102 })),
        (xtrans().shifted(4, 5), Some(Rect { top: 6, left: 12, height: 80, width: 100 })),
    ] {
        let [top, left] = active.map_or([0, 0], |a| [a.top, a.left]);
        let p = cfa.period();
        // The pattern at the first pixel of the file.
        let at_zero = cfa.shifted((p - top % p) % p, (p - left % p) % p);
        let shot = Shot { cfa: at_zero, ..Shot::default() };
        let o = DngOptions { cfa, active, iso: 800, orientation: 6, linear_limit: Some(900), ..DngOptions::default() };
        let mosaic = Scenery::new(1, 96, 120).mosaic(&shot);
        let frame = read(folder.path(), &dng(&o, &shot)).unwrap_or_else(|e| panic!("{e}"));
        let crop = frame.meta.crop.unwrap();
        assert_eq!(frame.cfa, at_zero.shifted(crop.top, crop.left));
        assert_eq!(frame.cfa.canonical_offset(), Some([0, 0]));
        for ((y, x), &v) in frame.mosaic.indexed_iter() {
            assert_eq!(v, mosaic[[crop.top + y, crop.left + x]]);
        }
        assert_eq!((frame.meta.iso, frame.meta.orientation, frame.white), (Some(800.0), 6, 16383));
        assert!((frame.meta.linear_limit.unwrap() - 0.9).abs() < 1e-6);
        assert!(frame.meta.xyz_to_camera.is_some());
        assert!(frame.meta.warnings.is_empty(), "{:?}", frame.meta.warnings);
    }
}

#[test]
fn black_levels_belong_to_the_active_area() {
    let folder = tempfile::tempdir().unwrap();
    let active = Some(Rect { top: 1, left: 3, height: 90, width: 110 });
    let o = DngOptions { black: vec![100, 200, 300, 400], active, cfa: Cfa::RGGB, ..DngOptions::default() };
    let shot = Shot { cfa: Cfa::RGGB.shifted(1, 1), ..Shot::default() };
    let frame = read(folder.path(), &dng(&o, &shot)).unwrap();
    assert_eq!(frame.meta.crop.map(|c| [c.top, c.left]), Some([1, 3]));
    assert_eq!(frame.black.levels(), [100.0, 200.0, 300.0, 400.0]);
}

#[test]
fn a_wrong_pattern_is_doubted() {
    let folder = tempfile::tempdir().unwrap();
    for (said, is) in [(Cfa::RGGB, Cfa::RGGB.shifted(0, 1)), (xtrans(), xtrans().shifted(1, 2))] {
        let bytes = dng(&DngOptions { cfa: said, ..DngOptions::default() }, &Shot { cfa: is, ..Shot::default() });
        let frame = read(folder.path(), &bytes).unwrap();
        assert_eq!(frame.meta.warnings, [align::Warning::CfaDoubtful]);
    }
}

#[test]
fn every_length_ends_in_a_state() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = dng(&DngOptions::default(), &Shot::default());
    let lengths = (0..64).chain((64..bytes.len()).step_by(bytes.len() / 200)).chain(bytes.len() - 700..bytes.len());
    for n in lengths {
        let e = read(folder.path(), &bytes[..n]).map(|_| ());
        // The pixels come first: no file without all of them is read.
        if let Err(e) = e {
            assert!(["damaged", "unsupported", "too-small", "too-large"].contains(&e.kind()), "{n}: {e}");
        } else {
            assert!(n >= 8 + 2 * 96 * 120, "{n} of {} bytes are enough", bytes.len());
        }
    }
}

#[test]
fn every_flipped_byte_ends_in_a_state() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = dng(&DngOptions::default(), &Shot::default());
    let n = bytes.len();
    // The header, some pixels, and the directories at the end.
    for i in (0..64).chain(n - 460..n) {
        for flip in [0xff, 0x80, 0x01] {
            bytes[i] ^= flip;
            if let Err(e) = read(folder.path(), &bytes) {
                assert_ne!(e.kind(), "device", "{i}: {e}");
            }
            bytes[i] ^= flip;
        }
    }
}

#[test]
fn claims_are_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    assert!(matches!(RawlerReader.read(&path, &Limits::default()), Err(Error::Missing { .. })));
    assert!(matches!(RawlerReader.probe(&path), Err(Error::Missing { .. })));
    assert!(matches!(RawlerReader.read(folder.path(), &Limits::default()), Err(Error::Unreadable { .. })));
    let bytes = dng(&DngOptions::default(), &Shot::default());
    std::fs::write(&path, &bytes).unwrap();
    let small = Limits { pixels: 10_000, ..Limits::default() };
    assert!(matches!(RawlerReader.read(&path, &small), Err(Error::TooLarge { .. })));
    let short = Limits { bytes: 10_000, ..Limits::default() };
    assert!(matches!(RawlerReader.read(&path, &short), Err(Error::TooLarge { .. })));
    for (bytes, kind) in [
        (&b""[..], "damaged"),
        (b"hello, this is a text", "unsupported"),
        (b"II*\0", "damaged"),
        (b"\x89PNG\r\n\x1a\nbroken", "damaged"),
        (b"FUJIFILMCCD-RAW ", "damaged"),
        (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", "unsupported"),
    ] {
        let e = read(folder.path(), bytes).unwrap_err();
        assert!(e.kind() == kind || e.kind() == "damaged", "{bytes:?}: {}: {e}", e.kind());
    }
    let probe = RawlerReader.probe(&path).unwrap();
    assert_eq!((probe.height, probe.width, probe.iso), (Some(96), Some(120), Some(100.0)));
}

#[test]
fn pictures_with_all_colours_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let rgb = Scenery::new(1, 96, 120).rgb([0.0, 0.0]);
    let picture = image::ImageBuffer::from_fn(120, 96, |x, y| {
        image::Rgb(std::array::from_fn(|c| (rgb[[c, y as usize, x as usize]] * 65535.0) as u16))
    });
    for name in ["a.png", "a.tif"] {
        let path = folder.path().join(name);
        picture.save(&path).unwrap();
        let frame = RawlerReader.read(&path, &Limits::default()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((frame.size(), frame.cfa), ([96, 120], Cfa::Gray));
        let read = frame.rgb.unwrap();
        assert!(rgb.iter().zip(&read).all(|(a, b)| (a - b).abs() < 1e-4));
    }
    let large = folder.path().join("large.png");
    image::RgbImage::new(2000, 2000).save(&large).unwrap();
    let bytes = std::fs::read(&large).unwrap();
    let e = read(folder.path(), &bytes[..1000]).unwrap_err();
    assert!(e.kind() == "damaged" && e.to_string().contains("2000 x 2000 pixels"), "{e}");
    let gray = folder.path().join("gray.png");
    image::GrayImage::new(80, 80).save(&gray).unwrap();
    assert_eq!(RawlerReader.read(&gray, &Limits::default()).unwrap_err().kind(), "unsupported");
}
