//! Style transfer as a user runs it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use image::GenericImageView;
use style::weights::{SaveDtype, StyleModel, Tensor};

use super::{Place, pixels};

/// Two pictures and a folder `weights` with two small networks.
pub(super) fn place() -> Place {
    let place = Place::with_pictures();
    for (name, seed) in [("one", 1), ("two", 2)] {
        let model = StyleModel::random(4, 1, seed);
        let (bytes, _) = model.to_safetensors(SaveDtype::F32, &BTreeMap::new()).unwrap();
        place.write(&format!("weights/{name}.safetensors"), &bytes);
    }
    place
}

/// The data of the domain: in `LOCKSTEP_DATA`, or beside the workspace.
pub(super) fn data() -> PathBuf {
    let data = std::env::var_os("LOCKSTEP_DATA").map(PathBuf::from);
    data.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data")).join("style")
}

pub(super) const ONE: &str = "--model weights/one.safetensors";

#[test]
fn a_picture_is_styled_at_its_size() {
    let place = place();
    let done = place.ok_json(&format!("style apply {ONE} --in colour.png --out styled.png"));
    assert_eq!((done["width"].as_u64(), done["height"].as_u64()), (Some(40), Some(32)));
    assert_eq!(image::open(place.path("styled.png")).unwrap().dimensions(), (40, 32));
    assert!(pixels(&place.path("styled.png")) != pixels(&place.path("colour.png")));
    // Gray becomes colour; sides that are no multiple of 4; another size; other formats.
    place.ok(&format!("style apply {ONE} --in gray.png --out gray.jpg --scale 0.7"));
    assert_eq!(image::open(place.path("gray.jpg")).unwrap().dimensions(), (34, 28));
    place.ok(&format!("style apply {ONE} --in colour.png --out odd.webp --size 21"));
    assert_eq!(image::open(place.path("odd.webp")).unwrap().dimensions(), (21, 17));
    place.ok(&format!("style apply {ONE} --in odd.webp --out raw.tif --sides raw --bits 16"));
    assert_eq!(image::open(place.path("raw.tif")).unwrap().dimensions(), (24, 20));
    // Threads do not change a bit.
    place.ok(&format!("style apply {ONE} --in colour.png --out again.png --threads 1"));
    assert_eq!(place.read("again.png"), place.read("styled.png"));
}

#[test]
fn strength_and_masks_mix() {
    let place = place();
    let source = pixels(&place.path("colour.png"));
    place.ok(&format!("style apply {ONE} --in colour.png --out none.png --strength 0"));
    assert_eq!(pixels(&place.path("none.png")), source);
    place.ok(&format!("style apply {ONE} --in colour.png --out all.png"));
    // The left half is styled.
    let mask = image::GrayImage::from_fn(40, 32, |x, _| image::Luma([if x < 20 { 255 } else { 0 }]));
    mask.save(place.path("mask.png")).unwrap();
    place.ok(&format!("style apply {ONE} --mask mask.png --in colour.png --out half.png"));
    let (all, half) = (pixels(&place.path("all.png")), pixels(&place.path("half.png")));
    for (i, value) in half.iter().enumerate() {
        let expected = if i / 3 % 40 < 20 { &all } else { &source };
        assert_eq!(*value, expected[i], "value {i}");
    }
    // A mask of another size is scaled: even gray is that strength everywhere.
    image::GrayImage::from_pixel(9, 70, image::Luma([102])).save(place.path("even.png")).unwrap();
    place.ok(&format!("style apply {ONE} --mask even.png --in colour.png --out even_mask.png"));
    place.ok(&format!("style apply {ONE} --strength 0.4 --in colour.png --out even_strength.png"));
    let [masked, even] = ["even_mask.png", "even_strength.png"].map(|name| pixels(&place.path(name)));
    assert!(masked.iter().zip(&even).all(|(a, b)| a.abs_diff(*b) <= 1) && masked != source);
    // Several models lie over one another, each where its mask says.
    let rest = image::GrayImage::from_fn(40, 32, |x, _| image::Luma([if x < 12 { 0 } else { 255 }]));
    rest.save(place.path("rest.png")).unwrap();
    let two = "--model weights/two.safetensors";
    place.ok(&format!("style apply {two} --in colour.png --out two.png"));
    place.ok(&format!("style apply {ONE} --mask mask.png {two} --mask rest.png --in colour.png --out both.png"));
    let (second, both) = (pixels(&place.path("two.png")), pixels(&place.path("both.png")));
    for (i, value) in both.iter().enumerate() {
        // The second covers what the first has between columns 12 and 20.
        let expected = if i / 3 % 40 < 12 { &all } else { &second };
        assert_eq!(*value, expected[i], "value {i}");
    }
    place.ok(&format!("style apply {ONE} --in gray.png --out colours.png --original-colors"));
    assert!(
        pixels(&place.path("colours.png"))
            .chunks_exact(3)
            .all(|p| p[0].abs_diff(p[1]) <= 1 && p[1].abs_diff(p[2]) <= 1)
    );
    let two = format!("{ONE} --mask mask.png --model weights/two.safetensors");
    place.fails(&format!("style apply {two} --in colour.png --out x.png"), 2, &["1 masks for 2 models"]);
    place.fails(
        &format!("style apply {ONE} --in colour.png --out x.png --size 21 --sides raw --strength 0.5"),
        2,
        &["nothing can be mixed"],
    );
}

#[test]
fn blends_lie_between() {
    let place = place();
    place.ok(&format!("style apply {ONE} --in colour.png --out one.png"));
    let blend = |shares: &str, out: &str| {
        place.ok(&format!("style apply --blend {shares} --in colour.png --out {out}"));
    };
    blend("weights/one.safetensors=2,weights/two.safetensors=0", "same.png");
    assert_eq!(place.read("same.png"), place.read("one.png"));
    blend("weights/one.safetensors=1,weights/two.safetensors=1", "between.png");
    assert!(place.read("between.png") != place.read("one.png"));
    place.fails("style apply --blend one --in colour.png --out x.png", 2, &["no blend"]);
}

#[test]
fn folders_are_resumed_and_keep_their_tree() {
    let place = place();
    for name in ["in/a.png", "in/deep/b.png", "in/deep/er/c.png"] {
        place.crop("chelsea.png", (10, 10, 24, 20), name);
    }
    place.write("in/deep/broken.png", b"\x89PNG\r\n\x1a\nnot really");
    let line = format!("style apply {ONE} --in in --out out --recursive --ext jpg");
    let ran = place.run(&format!("{line} --json"));
    assert_eq!(ran.code, 3, "{}", ran.err);
    let done: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((done["items"].as_array().unwrap().len(), done["failed"].as_array().unwrap().len()), (3, 1));
    assert!(place.path("out/a.jpg").is_file() && place.path("out/deep/er/c.jpg").is_file());
    // Together or one by one, pictures are the same.
    place.crop("chelsea.png", (30, 10, 24, 20), "in/other.png");
    place.crop("chelsea.png", (30, 10, 18, 20), "in/small.png");
    assert_eq!(place.run(&format!("style apply {ONE} --in in --out many --recursive --ext png --batch 3")).code, 3);
    for name in ["a", "other", "small", "deep/b", "deep/er/c"] {
        place.ok(&format!("style apply {ONE} --in in/{name}.png --out one.png"));
        assert_eq!(pixels(&place.path(&format!("many/{name}.png"))), pixels(&place.path("one.png")), "{name}");
    }
    std::fs::remove_file(place.path("in/other.png")).unwrap();
    std::fs::remove_file(place.path("in/small.png")).unwrap();
    std::fs::remove_file(place.path("in/deep/broken.png")).unwrap();
    assert_eq!(place.ok_json(&line)["resumed"], 3);
    assert_eq!(place.ok_json(&format!("{line} --overwrite"))["items"].as_array().unwrap().len(), 3);
    std::fs::remove_file(place.path("out/done.jsonl")).unwrap();
    std::fs::remove_file(place.path("out/deep/b.jpg")).unwrap();
    let some = place.ok_json(&format!("{line} --skip-existing"));
    assert_eq!((some["items"].as_array().unwrap().len(), some["resumed"].as_u64()), (1, Some(2)));
    // Parts of a folder are the same whatever is there already: together they leave nothing out.
    for part in ["0/2", "1/2"] {
        place.ok(&format!("style apply {ONE} --in in --out parts --recursive --skip-existing --shard {part}"));
    }
    assert!(["a", "deep/b", "deep/er/c"].iter().all(|name| place.path(&format!("parts/{name}.png")).is_file()));
}

#[test]
fn pictures_stream_through() {
    let place = place();
    place.ok(&format!("style apply {ONE} --in colour.png --out file.png"));
    let mut child = place
        .command(&format!("style apply {ONE} --in - --out -"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&place.read("colour.png")).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success());
    assert_eq!(out.stdout, place.read("file.png"));
    place.fails(&format!("style apply {ONE} --in colour.png --out - --json"), 2, &["cannot both go"]);
    // Nobody knows the file that standard input becomes; there is nothing in it here.
    let ran = place.command(&format!("style apply {ONE} --in - --out x.png")).stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.code() == Some(2) && told.contains("standard input: the file is empty"), "{told}");
}

#[test]
fn profiles_of_colours_are_kept_where_they_fit() {
    use image::ImageDecoder as _;
    let place = place();
    // A header is all that matters here: its bytes 16 to 20 name the kind of colours.
    let profile = |kind: &[u8; 4]| {
        let mut bytes = vec![7; 132];
        bytes[16..20].copy_from_slice(kind);
        bytes
    };
    let write = |name: &str, kind: &[u8; 4], gray: bool| {
        let mut out = Vec::new();
        let mut encoder = image::codecs::png::PngEncoder::new(&mut out);
        image::ImageEncoder::set_icc_profile(&mut encoder, profile(kind)).unwrap();
        let (len, colour) =
            if gray { (64, image::ExtendedColorType::L8) } else { (192, image::ExtendedColorType::Rgb8) };
        image::ImageEncoder::write_image(encoder, &vec![90; len], 8, 8, colour).unwrap();
        std::fs::write(place.path(name), out).unwrap();
    };
    let found = |name: &str| {
        let reader = image::ImageReader::open(place.path(name)).unwrap();
        reader.into_decoder().unwrap().icc_profile().unwrap()
    };
    write("rgb.png", b"RGB ", false);
    write("gray.png", b"GRAY", true);
    for output in ["a.png", "a.jpg", "a.webp"] {
        place.ok(&format!("style apply {ONE} --in rgb.png --out {output}"));
        assert_eq!(found(output), Some(profile(b"RGB ")), "{output}");
    }
    place.ok(&format!("style apply {ONE} --in gray.png --out b.png"));
    assert_eq!(found("b.png"), None);
}

#[test]
fn the_transformer_inside_the_program_works_at_once() {
    let place = place();
    place.ok("style apply --model vit:candy --in colour.png --out vit.png");
    let (before, after) = (image::open(place.path("colour.png")).unwrap(), image::open(place.path("vit.png")).unwrap());
    assert_eq!(image::GenericImageView::dimensions(&before), image::GenericImageView::dimensions(&after));
    assert_ne!(before.to_rgb8(), after.to_rgb8());
    let info = place.ok_json("style info vit:candy");
    assert_eq!((&info["sizes"]["architecture"], &info["parameters"]), (&"stylevit-s".into(), &3_475_315.into()));
    let models = place.ok_json("style models");
    let named =
        |name: &str| models["models"].as_array().unwrap().iter().any(|m| m["name"] == name && m["bundled"] == true);
    assert!(named("vit:candy") && named("candy16"));
}

#[test]
fn models_are_found_by_name() {
    let place = place();
    let mut command = place.command("style models --json");
    let out = command.env("STYLE_MODELS", "weights").output().unwrap();
    let found: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(found["models"][1]["name"], "two");
    assert_eq!(found["models"][1]["base_channels"], 4);
    let named = |line: &str| place.command(line).env("STYLE_MODELS", "weights").output().unwrap();
    assert!(named("style apply --model one --in colour.png --out named.png").status.success());
    let wrong = named("style apply --model onw --in colour.png --out named.png");
    let message = String::from_utf8(wrong.stderr).unwrap();
    assert!(wrong.status.code() == Some(2) && message.contains("did you mean one?"), "{message}");
    // The user's own folder, behind the one that is named.
    let data = place.path("data");
    place.write("data/lockstep/models/own.safetensors", &place.read("weights/one.safetensors"));
    let mut command = place.command("style apply --model own --in colour.png --out own.png");
    let own = command.env("XDG_DATA_HOME", &data).output().unwrap();
    assert!(own.status.success(), "{}", String::from_utf8_lossy(&own.stderr));
    assert_eq!(place.read("own.png"), place.read("named.png"));
    place.fails("style apply --model lost.pth --in colour.png --out x.png", 5, &["lost.pth"]);
}

#[test]
fn weights_are_converted_and_described() {
    let place = place();
    let done = place.ok_json("style convert weights/one.safetensors half.safetensors --dtype f16 --name first");
    let change = done["largest_relative_change"].as_f64().unwrap();
    assert!(change > 0.0 && change <= 1.0, "{change}");
    let info = place.ok_json("style info half.safetensors");
    assert_eq!((info["dtype"].as_str(), info["metadata"]["style"].as_str()), (Some("f16"), Some("first")));
    assert_eq!(info["metadata"]["source_sha256"].as_str().unwrap().len(), 64);
    place.ok("style convert weights/one.safetensors same.safetensors");
    let of = |name: &str| StyleModel::load(place.path(name)).unwrap();
    assert_eq!(of("same.safetensors").tensors(), of("weights/one.safetensors").tensors());
    // The style's name is that of the file, unless the file says another.
    place.ok("style convert half.safetensors again.safetensors");
    for (name, style) in [("same", "one"), ("again", "first")] {
        assert_eq!(of(&format!("{name}.safetensors")).metadata()["style"], style);
    }
    place.fails("style convert half.safetensors out.pth", 2, &[".safetensors"]);
}

/// `style video` with a stand-in for ffmpeg, whose videos are raw frames of 24 x 16 pixels.
#[cfg(unix)]
#[test]
fn video_frames_have_the_statistics_asked_for() {
    use std::os::unix::fs::PermissionsExt as _;

    use style::cpu::Statistics;
    use style::{Engine, SizePolicy};

    let place = place();
    let script = "#!/bin/sh\nfor last; do :; done\ncase \"$*\" in\n*yuv4mpegpipe*) echo 'YUV4MPEG2 W24 H16 F25:1' ;;\n\
        *'-i -'*) cat > \"$last\" ;;\n*) cat in.mp4 ;;\nesac\n";
    place.write("ffmpeg", script.as_bytes());
    std::fs::set_permissions(place.path("ffmpeg"), std::fs::Permissions::from_mode(0o755)).unwrap();
    place.crop("chelsea.png", (150, 80, 24, 16), "shot.png");
    let shot = image::open(place.path("shot.png")).unwrap().to_rgb8().into_raw();
    // The exposure changes from frame to frame.
    let frames: Vec<Vec<u8>> =
        (4..9).map(|gain| shot.iter().map(|&v| (u32::from(v) * gain / 6).min(255) as u8).collect()).collect();
    place.write("in.mp4", &frames.concat());
    let video = |how: &str| {
        let line = format!("style video {ONE} --in in.mp4 --out out.mp4 --overwrite --backend cpu {how}");
        place.command(&line).env("FFMPEG", place.path("ffmpeg")).output().unwrap()
    };
    let mut seen = Vec::new();
    for (how, of) in
        [("", Statistics::Frame), ("--stats ema:0.9", Statistics::Average(0.9)), ("--stats frozen", Statistics::Frozen)]
    {
        let ran = video(&format!("{how} --json"));
        assert!(ran.status.success(), "{how}: {}", String::from_utf8_lossy(&ran.stderr));
        let told: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
        assert_eq!((told["frames"].as_u64(), told["width"].as_u64()), (Some(5), Some(24)));
        assert_eq!(told["precision"], "f32");
        let model = StyleModel::load(place.path("weights/one.safetensors")).unwrap();
        let mut engine = Engine::new(&gpu_core::Cpu::new(), &model).unwrap();
        engine.set_statistics(of).unwrap();
        let views: Vec<_> =
            frames.iter().map(|f| ndarray::ArrayView3::from_shape((16, 24, 3), f.as_slice()).unwrap()).collect();
        let wanted: Vec<u8> = engine.run_u8(&views, SizePolicy::Crop).unwrap().into_iter().flatten().collect();
        assert!(place.read("out.mp4") == wanted, "{how}");
        seen.push(wanted);
    }
    // All begin alike, and then differ.
    let frame = shot.len();
    assert!(seen[0][..frame] == seen[1][..frame] && seen[0][..frame] == seen[2][..frame]);
    assert!(seen[0][frame..] != seen[1][frame..] && seen[1][frame..] != seen[2][frame..]);
    // Statistics of a picture: as if it had come before the first frame.
    let ran = video("--stats frozen --stats-from shot.png");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let mut engine =
        Engine::new(&gpu_core::Cpu::new(), &StyleModel::load(place.path("weights/one.safetensors")).unwrap()).unwrap();
    engine.set_statistics(Statistics::Frozen).unwrap();
    let all: Vec<_> = std::iter::once(&shot)
        .chain(&frames)
        .map(|f| ndarray::ArrayView3::from_shape((16, 24, 3), f.as_slice()).unwrap())
        .collect();
    let wanted: Vec<u8> = engine.run_u8(&all, SizePolicy::Crop).unwrap().into_iter().skip(1).flatten().collect();
    assert!(place.read("out.mp4") == wanted && wanted != seen[2]);
    // Mixed before values become bytes, with the same statistics.
    let ran = video("--stats frozen --stats-from shot.png --strength 0.5 --round");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    engine.set_statistics(Statistics::Frozen).unwrap();
    let planes = |frame: &[u8]| {
        ndarray::Array4::from_shape_fn((1, 3, 16, 24), |(_, c, y, x)| f32::from(frame[(y * 24 + x) * 3 + c]))
    };
    engine.run(planes(&shot).view(), SizePolicy::Crop).unwrap();
    let mut wanted = Vec::new();
    for frame in &frames {
        let styled = engine.run(planes(frame).view(), SizePolicy::Crop).unwrap();
        let value = |i: usize| 0.5 * styled[[0, i % 3, i / 72, i / 3 % 24]] + 0.5 * f32::from(frame[i]);
        wanted.extend((0..frame.len()).map(|i| value(i).clamp(0.0, 255.0).round() as u8));
    }
    assert!(place.read("out.mp4") == wanted);
    let refused = |how: &str, word: &str| {
        let ran = video(how);
        let words = String::from_utf8_lossy(&ran.stderr).replace(['│', '\n'], " ");
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(ran.status.code() == Some(2) && words.contains(word), "{how}: {words}");
    };
    refused("--stats ema:1", "a share below 1");
    refused("--stats always", "are no statistics");
    refused("--stats-from shot.png", "add --stats frozen");
    std::fs::remove_file(place.path("out.mp4")).unwrap();
    let line = "style video --model vit:candy --in in.mp4 --out out.mp4 --backend cpu --stats frozen";
    let ran = place.command(line).env("FFMPEG", place.path("ffmpeg")).output().unwrap();
    assert_eq!(ran.status.code(), Some(2), "{}", String::from_utf8_lossy(&ran.stderr));
    // Nothing is left behind.
    assert!(place.list(".").iter().all(|name| !name.contains("out.mp4") && !name.contains("unfinished")));
}

#[test]
fn bad_input_is_named() {
    let place = place();
    place.write("text.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n");
    place.fails("style info text.pth", 2, &["text.pth", "Git"]);
    place.crop("chelsea.png", (10, 10, 4, 9), "tiny.png");
    place.fails(&format!("style apply {ONE} --in tiny.png --out x.png"), 2, &["tiny.png", "4 x 9", "at least 5"]);
    place.fails(&format!("style apply {ONE} --in colour.png --out x.gif"), 2, &["x.gif"]);
    place.fails(&format!("style apply {ONE} --in colour.png --out x.png --strength 2"), 2, &["0 to 1"]);
    place.fails(&format!("style apply {ONE} --in none.png --out x.png"), 5, &["none.png"]);
}

/// Every damaged or foreign file is refused in one line that names it; every good one is described.
#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn weight_files_are_told_apart() {
    let data = data();
    let place = Place::with_pictures();
    let (mut good, mut bad) = (0, 0);
    for entry in std::fs::read_dir(data.join("formats")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("bad_") {
            for line in ["style info", "style apply --in colour.png --out x.png --model"] {
                place.fails(&format!("{line} {}", path.display()), 2, &[&name]);
            }
            place.fails(&format!("style convert {} x.safetensors", path.display()), 2, &[&name]);
            bad += 1;
        } else {
            assert_eq!(place.ok_json(&format!("style info {}", path.display()))["base_channels"], 4, "{name}");
            place.ok(&format!("style convert {} again.safetensors", path.display()));
            let (before, after) = (StyleModel::load(&path).unwrap(), StyleModel::load(place.path("again.safetensors")));
            // Files of f16 become ones of f32.
            let after = after.unwrap();
            let same = |(a, b): (&Tensor, &Tensor)| (&a.name, &a.shape, &a.data) == (&b.name, &b.shape, &b.data);
            assert!(after.tensors().len() == before.tensors().len(), "{name}");
            assert!(after.tensors().iter().zip(before.tensors()).all(same), "{name}");
            good += 1;
        }
    }
    assert!(good >= 20 && bad >= 10, "{good} {bad}");
    assert!(!place.path("x.png").exists() && !place.path("x.safetensors").exists());
    let models = place.ok_json(&format!("style models --dir {}", data.join("formats").display()));
    let unusable = models["models"].as_array().unwrap().iter().filter(|m| m["error"].is_string()).count();
    // Two of them have one name.
    assert_eq!(unusable + 1, bad);
}

/// Pictures of the reference, stored with their fractions cut off: nearly all values equal, none off by more than one.
#[test]
#[ignore = "needs LOCKSTEP_DATA"]
fn golden_pictures_are_met() {
    let data = data();
    let place = Place::new();
    let cases = [
        ("candy", "astronaut_256.png"),
        ("mosaic", "astronaut_256.png"),
        ("pointilism", "astronaut_256.png"),
        ("rain_princess", "astronaut_256.png"),
        ("candy", "chelsea_451x300.png"),
    ];
    for (model, picture) in cases {
        let (weights, input) = (data.join(format!("weights/{model}.safetensors")), data.join("content").join(picture));
        place.ok(&format!("style apply --model {} --in {} --out out.png", weights.display(), input.display()));
        let (got, wanted) = (pixels(&place.path("out.png")), pixels(&data.join(format!("golden/{model}_{picture}"))));
        assert_eq!(got.len(), wanted.len());
        let differ = got.iter().zip(&wanted).filter(|(a, b)| a != b).count();
        let most = got.iter().zip(&wanted).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(differ * 200 <= got.len() && most <= Some(1), "{model} {picture}: {differ} differ, by up to {most:?}");
    }
}
