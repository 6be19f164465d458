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
    let bytes = (0..CMYK.len() / 2).map(|i| u8::from_str_radix(&CMYK[2 * i..2 * i + 2], 16).unwrap());
    place.write("cmyk.jpg", &bytes.collect::<Vec<_>>());
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
