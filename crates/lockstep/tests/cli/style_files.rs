//! Style transfer: kinds of pictures, exit codes, and videos with the real ffmpeg.

use std::path::Path;
use std::process::Command;

use image::{DynamicImage, RgbImage};
use ndarray::ArrayView3;
use style::weights::StyleModel;
use style::{Engine, SizePolicy};

use super::style::{ONE, data, place};
use super::{Place, pixels};

/// A JPEG file of 16 x 8 pixels in CMYK, as Adobe's programs write it: the left half is 255, 0, 0, the right 30, 120, 200.
const CMYK: &str = "\
    ffd8ffee000e41646f626500640000000000ffdb0043000201010101010201010102020202020403020202020504040304060506060605060606\
    070908060709070606080b08090a0a0a0a0a06080b0c0b0a0c090a0a0affc000140800080010044311004d11005911004b1100ffc40016000101\
    01000000000000000000000000000a0900ffc40014100100000000000000000000000000000000ffda000e0443004d0059004b00003f00bf83fe\
    3febf80f6bc0640cffd9";

/// An animation of two pictures of 8 x 8 pixels, 200, 30, 60 and 10, 20, 30.
const MOVING_WEBP: &str = "\
    524946468800000057454250565038580a00000002000000070000070000414e494d06000000000000000000414e4d462a00000000000000\
    0000070000070000640000025650384c110000002f07c0010007508f2297a7ff8188e87f0000414e4d462a00000000000000000007000007\
    0000640000005650384c110000002f07c0010007508a2ad4a3ff8188e87f0000";

/// The same.
const MOVING_PNG: &str = "\
    89504e470d0a1a0a0000000d49484452000000080000000808020000004b6d29dc000000086163544c0000000200000000f38d9370000000\
    1a6663544c00000000000000080000000800000000000000000001000a0000f24eba620000001449444154789c633c2167c3800d3061151d\
    b41200e7e00132671fda2c0000001a6663544c00000001000000080000000800000000000000000001000a0000693d50b600000018666441\
    5400000002789c63e4129163c00698b08a0e5a0900355c004c5493cffd0000000049454e44ae426082";

/// Two gray pages of 8 x 8 pixels, 84 and 18.
const PAGES: &str = "\
    49492a0008000000090000010400010000000800000001010400010000000800000002010300010000000800000003010300010000000100\
    000006010300010000000100000011010400010000007a0000001601040001000000080000001701040001000000400000001c0103000100\
    000001000000c800000054545454545454545454545454545454545454545454545454545454545454545454545454545454545454545454\
    54545454545454545454545454545454545400000000000049492a0008000000090000010400010000000800000001010400010000000800\
    000002010300010000000800000003010300010000000100000006010300010000000100000011010400010000003a010000160104000100\
    0000080000001701040001000000400000001c01030001000000010000000000000012121212121212121212121212121212121212121212\
    121212121212121212121212121212121212121212121212121212121212121212121212121212121212000000000000";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
}

/// What the network makes of a picture.
fn styled(model: &Path, picture: &RgbImage) -> Vec<u8> {
    let (w, h) = picture.dimensions();
    let view = ArrayView3::from_shape((h as usize, w as usize, 3), picture.as_raw().as_slice()).unwrap();
    let mut engine = Engine::new(&gpu_core::Cpu::new(), &StyleModel::load(model).unwrap()).unwrap();
    engine.run_u8(&[view], SizePolicy::Crop).unwrap().remove(0).into_raw_vec_and_offset().0
}

/// Nearly all values equal, none off by more than one: as between a picture and its reference in `f32`.
fn meets(got: &[u8], wanted: &[u8], what: &str) {
    assert_eq!(got.len(), wanted.len(), "{what}");
    let differ = got.iter().zip(wanted).filter(|(a, b)| a != b).count();
    let most = got.iter().zip(wanted).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(differ * 200 <= got.len() && most <= Some(1), "{what}: {differ} differ, by up to {most:?}");
}

/// Gray, transparent and turned pictures give what the RGB picture gives that they show.
#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn kinds_of_pictures_give_what_they_show() {
    let (data, place) = (data(), Place::new());
    let model = data.join("weights/candy.safetensors");
    let shown = |name: &str, as_rgb: fn(DynamicImage) -> RgbImage| {
        let input = data.join("content").join(name);
        place.ok(&format!(
            "style apply --backend cpu --model {} --in {} --out out.png",
            model.display(),
            input.display()
        ));
        let (before, after) = (image::open(&input).unwrap(), image::open(place.path("out.png")).unwrap());
        meets(after.to_rgb8().as_raw(), &styled(&model, &as_rgb(before.clone())), name);
        (before, after)
    };
    // One plane three times.
    shown("camera_gray_160x120.png", |gray| {
        let gray = gray.into_luma8();
        RgbImage::from_fn(gray.width(), gray.height(), |x, y| image::Rgb([gray.get_pixel(x, y)[0]; 3]))
    });
    // A quarter turn to the right.
    shown("coffee_exif6_120x80.jpg", |turned| turned.rotate90().into_rgb8());
    // Colours under transparency are styled as they are; transparency stays.
    let (before, after) = shown("coffee_rgba_96x64.png", |rgba| {
        let rgba = rgba.into_rgba8();
        RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
            let [r, g, b, _] = rgba.get_pixel(x, y).0;
            image::Rgb([r, g, b])
        })
    });
    let alpha = |image: &DynamicImage| image.to_rgba8().pixels().map(|p| p[3]).collect::<Vec<_>>();
    assert_eq!(alpha(&before), alpha(&after));
    assert!(alpha(&before).iter().any(|&a| a < 255));
}

#[test]
fn colours_for_print_become_rgb() {
    let place = place();
    place.write("cmyk.jpg", &bytes(CMYK));
    place.ok(&format!("style apply {ONE} --in cmyk.jpg --out same.png --strength 0"));
    let same = image::open(place.path("same.png")).unwrap().into_rgb8();
    assert_eq!(same.dimensions(), (16, 8));
    for (x, _, pixel) in same.enumerate_pixels() {
        let wanted: [u8; 3] = if x < 8 { [255, 0, 0] } else { [30, 120, 200] };
        assert!(pixel.0.iter().zip(wanted).all(|(got, wanted)| got.abs_diff(wanted) <= 3), "{x}: {pixel:?}");
    }
    place.ok(&format!("style apply {ONE} --backend cpu --in cmyk.jpg --out styled.png"));
    assert_eq!(pixels(&place.path("styled.png")), styled(&place.path("weights/one.safetensors"), &same));
    // A file that is cut off is refused like any other.
    let cut = place.read("cmyk.jpg");
    place.write("cut.jpg", &cut[..cut.len() - 30]);
    place.fails(&format!("style apply {ONE} --in cut.jpg --out x.png"), 2, &["cut.jpg"]);
}

/// 16 bits count as fractions of 8: no picture of 8 bits gives the same.
#[test]
fn sixteen_bits_are_fractions_of_eight() {
    let place = place();
    let value = |x: u32, y: u32, c: u32| (x * 1543 + y * 977 + c * 20011 + x * y * 31) as u16;
    let deep =
        image::ImageBuffer::<image::Rgb<u16>, _>::from_fn(21, 18, |x, y| image::Rgb([0, 1, 2].map(|c| value(x, y, c))));
    deep.save(place.path("deep.png")).unwrap();
    let x = ndarray::Array4::from_shape_fn((1, 3, 18, 21), |(_, c, y, x)| {
        f32::from(value(x as u32, y as u32, c as u32)) / 257.0
    });
    let model = StyleModel::load(place.path("weights/one.safetensors")).unwrap();
    let wanted = Engine::new(&gpu_core::Cpu::new(), &model).unwrap().run(x.view(), SizePolicy::Crop).unwrap();
    for (bits, peak) in [(8, 255.0f32), (16, 65535.0)] {
        place.ok(&format!("style apply {ONE} --backend cpu --in deep.png --out out.png --bits {bits}"));
        let out = image::open(place.path("out.png")).unwrap();
        let got: Vec<u16> = match &out {
            DynamicImage::ImageRgb8(p) if bits == 8 => p.as_raw().iter().map(|&v| v.into()).collect(),
            DynamicImage::ImageRgb16(p) if bits == 16 => p.as_raw().clone(),
            other => panic!("{bits} bits: {:?}", other.color()),
        };
        for (i, &got) in got.iter().enumerate() {
            let value = wanted[[0, i % 3, i / 63, i / 3 % 21]] * (peak / 255.0);
            // The widening to f32 may take another way to the same number.
            let most = if bits == 8 { 0.01 } else { 1.0 };
            assert!((f32::from(got) - value.clamp(0.0, peak)).abs() < 1.0 + most, "{bits} bits, value {i}");
        }
    }
    // With its fractions cut off it is another picture.
    let cut = image::RgbImage::from_fn(21, 18, |x, y| image::Rgb([0, 1, 2].map(|c| (value(x, y, c) / 257) as u8)));
    cut.save(place.path("cut.png")).unwrap();
    place.ok(&format!("style apply {ONE} --backend cpu --in cut.png --out cut_out.png --bits 16"));
    assert!(image::open(place.path("cut_out.png")).unwrap() != image::open(place.path("out.png")).unwrap());
}

/// The first of several pictures is taken, and that there are more is said.
#[test]
fn of_several_pictures_in_a_file_the_first_is_styled() {
    let place = place();
    for (name, hex, words, colour) in [
        ("a.webp", MOVING_WEBP, "a.webp: it is animated; the first one", [200, 30, 60]),
        ("b.png", MOVING_PNG, "b.png: it is animated; the first one", [200, 30, 60]),
        ("c.tif", PAGES, "c.tif: it has several pages; the first one", [84; 3]),
    ] {
        place.write(name, &bytes(hex));
        let told = place.ok(&format!("style apply {ONE} --in {name} --out first.png --strength 0"));
        assert!(told.contains(words), "{name}: {told}");
        assert_eq!(pixels(&place.path("first.png")), colour.repeat(64), "{name}");
    }
    for still in ["colour.png", "first.png"] {
        assert!(!place.ok(&format!("style apply {ONE} --in {still} --out x.tif")).contains("first"), "{still}");
    }
    assert!(!place.ok(&format!("style apply {ONE} --in x.tif --out x.png")).contains("first"));
}

/// With a stand-in for ffmpeg, whose videos are raw frames of 4 x 4 pixels.
#[cfg(unix)]
#[test]
fn videos_that_cannot_be_styled_tell_why() {
    use std::os::unix::fs::PermissionsExt as _;

    let place = place();
    let script = "#!/bin/sh\ncase \"$*\" in\n*broken*) echo '[mov @ 0x1] moov atom not found' >&2; \
        echo 'Error opening input files' >&2; exit 1 ;;\n*yuv4mpegpipe*) echo 'YUV4MPEG2 W4 H4 F25:1' ;;\n\
        *'-i -'*) cat > /dev/null ;;\n*) cat small.mp4 ;;\nesac\n";
    place.write("ffmpeg", script.as_bytes());
    std::fs::set_permissions(place.path("ffmpeg"), std::fs::Permissions::from_mode(0o755)).unwrap();
    place.write("small.mp4", &[7; 48 * 5]);
    place.write("broken.mp4", b"no video");
    place.write("folder/a.txt", b"");
    std::os::unix::fs::symlink("small.mp4", place.path("link.mp4")).unwrap();
    for (line, code, words) in [
        ("--in small.mp4 --out out.mp4", 2, "4 x 4 pixels"),
        ("--in broken.mp4 --out out.mp4", 5, "broken.mp4: moov atom not found; Error opening input files"),
        ("--in small.mp4 --out link.mp4 --overwrite", 2, "the output link.mp4 is the input"),
        ("--in folder --out out.mp4", 2, "folder: this is a folder"),
        ("--in lost.mp4 --out out.mp4", 5, "cannot read lost.mp4: No such file"),
    ] {
        let line = format!("style video {ONE} --backend cpu {line}");
        let ran = place.command(&line).env("FFMPEG", place.path("ffmpeg")).output().unwrap();
        let told = String::from_utf8_lossy(&ran.stderr).replace(['│', '×'], " ");
        let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(ran.status.code() == Some(code) && told.contains(words), "{line}: {:?} {told}", ran.status);
        assert!(place.list(".").iter().all(|name| !name.contains("out.mp4") && !name.contains("unfinished")), "{line}");
    }
    assert_eq!(place.read("small.mp4"), [7; 48 * 5]);
}

/// One table for all commands: a script need not know which failed.
#[test]
fn exit_codes_are_those_of_every_command() {
    let place = place();
    place.ok(&format!("style apply {ONE} --in colour.png --out out.png"));
    // What the user can put right: the command line, a model, a picture.
    place.write("bad.pth", b"no weights");
    place.fails("style apply --model bad.pth --in colour.png --out x.png", 2, &["bad.pth"]);
    place.fails("style pipe --width 3 --height 8", 2, &["--width"]);
    place.write("in/bad.png", b"no picture");
    place.fails(&format!("style apply {ONE} --in in/bad.png --out x.png"), 2, &["bad.png"]);
    // Some of several.
    place.crop("chelsea.png", (10, 10, 24, 20), "in/good.png");
    let some = place.run(&format!("style apply {ONE} --in in --out some"));
    assert!(some.code == 3 && place.path("some/good.png").is_file(), "{}{}", some.out, some.err);
    let none = place
        .command(&format!("style apply {ONE} --in colour.png --out x.png --backend cuda"))
        .env("LOCKSTEP_DRIVER", "no-such-driver.so")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&none.stderr).into_owned();
    assert!(none.status.code() == Some(4) && told.contains("--backend cpu"), "{told}");
    place.fails(&format!("style apply {ONE} --in lost.png --out x.png"), 5, &["lost.png"]);
    // A transformer takes a picture as a whole; a convolutional network takes it in strips.
    image::RgbImage::from_fn(600, 400, |x, y| image::Rgb([x as u8, y as u8, 90])).save(place.path("wide.png")).unwrap();
    let tight = "--in wide.png --out x.png --backend cpu --memory 40M";
    let words = ["600 x 400", "--memory", "--size", "candy16"];
    place.fails(&format!("style apply --model vit:candy {tight}"), 6, &words);
    assert!(!place.path("x.png").exists());
    place.ok(&format!("style apply {ONE} {tight}"));
    // Strips lie in scratch files, and there must be a place for them.
    let line = format!("style apply {ONE} --in wide.png --out y.png --backend cpu --memory 10M");
    let ran = place.command(&line).env("TMPDIR", place.path("nowhere")).output().unwrap();
    let told = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.code() == Some(5) && told.contains("TMPDIR") && !place.path("y.png").exists(), "{told}");
}

/// A clip that ffmpeg makes comes back as a clip that ffmpeg reads, frame by frame as `pipe` styles it.
#[test]
#[ignore = "needs ffmpeg on the PATH, or named by FFMPEG"]
fn videos_go_through_the_real_ffmpeg() {
    let place = place();
    let ffmpeg = std::env::var_os("FFMPEG").unwrap_or_else(|| "ffmpeg".into());
    let run = |arguments: &str| {
        let mut command = Command::new(&ffmpeg);
        let out = command.args(["-v", "error", "-y"]).args(arguments.split(' ')).current_dir(place.path(".")).output();
        let out = out.expect("ffmpeg");
        assert!(out.status.success(), "{arguments}: {}", String::from_utf8_lossy(&out.stderr));
        out.stdout
    };
    // Pictures and sound, without loss on both ways, so that frames can be compared.
    let sources = "-f lavfi -i testsrc=size=48x36:rate=10:duration=0.7 -f lavfi -i sine=duration=0.7";
    run(&format!("{sources} -c:v ffv1 -pix_fmt bgr0 -c:a pcm_s16le in.mkv"));
    let line = format!("style video {ONE} --backend cpu --in in.mkv --out out.mkv --keep-audio --json");
    let ran = place
        .command(&format!("{line} --overwrite"))
        .args(["--encode", "-c:v ffv1 -pix_fmt bgr0"])
        .env("FFMPEG", &ffmpeg)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let told: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(
        (told["frames"].as_u64(), told["width"].as_u64(), told["height"].as_u64()),
        (Some(7), Some(48), Some(36))
    );
    let raw = |file: &str| run(&format!("-i {file} -map 0:v:0 -f rawvideo -pix_fmt rgb24 -"));
    let (before, after) = (raw("in.mkv"), raw("out.mkv"));
    assert_eq!((before.len(), after.len()), (7 * 48 * 36 * 3, 7 * 48 * 36 * 3));
    for (before, after) in before.chunks(48 * 36 * 3).zip(after.chunks(48 * 36 * 3)) {
        let frame = RgbImage::from_raw(48, 36, before.to_vec()).unwrap();
        assert!(after == styled(&place.path("weights/one.safetensors"), &frame));
    }
    let sound = |file: &str| run(&format!("-i {file} -map 0:a:0 -f s16le -"));
    assert!(sound("in.mkv") == sound("out.mkv") && !sound("in.mkv").is_empty());
    // The usual way out: H.264 in an MP4 file, at the rate of the clip.
    let usual = "style video --backend cpu --in in.mkv --out out.mp4";
    let ran = place.command(&format!("{usual} {ONE}")).env("FFMPEG", &ffmpeg).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(raw("out.mp4").len(), before.len());
    // What is no video is refused in ffmpeg's words, and nothing is left.
    place.write("text.mp4", b"no video");
    let ran = place
        .command(&format!("style video {ONE} --backend cpu --in text.mp4 --out no.mp4"))
        .env("FFMPEG", &ffmpeg)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.code() == Some(5) && told.contains("text.mp4"), "{told}");
    assert!(place.list(".").iter().all(|name| !name.contains("no.mp4") && !name.contains("unfinished")));
}
