use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ::style::cpu::Statistics;
use ::style::mix::Rounding;
use ::style::{Engine, StyleBackend};
use clap::Args;
use gpu_core::with_backend;
use serde_json::json;

use super::content::Content;
use super::frames::{OneModel, fill, put, run, widen};
use super::pixels::Pixels;
use crate::backend::BackendArgs;
use crate::exit::{Exit, Failure, Result};
use crate::files::as_text;
use crate::jobs::same_place;
use crate::pictures::{self, Layout};
use crate::progress::{PixelRate, Progress, Remark};
use crate::session::{Session, seconds};

/// Options of `style video`.
#[derive(Args, Debug)]
#[command(mut_arg("memory", |arg| arg.visible_alias("tile-mem")))]
#[command(after_help = "\
Examples:
  lockstep style video --model candy --in holiday.mp4 --out candy.mp4
  lockstep style video --model candy --in a.mov --out b.mkv --keep-audio --encode \"-c:v libx265 -crf 20\"
  lockstep style video --model candy --in a.mp4 --out b.mp4 --stats frozen --stats-from poster.png
  FFMPEG=/opt/ffmpeg/bin/ffmpeg lockstep style video --model mosaic --in a.mp4 --out b.mp4

ffmpeg reads and writes the files; it must be on the PATH, or named by FFMPEG. Each frame is styled by itself, with \
the statistics of that frame: textures may flicker where the picture moves. --stats ema:0.9 and frozen damp colours \
that jump from frame to frame (of convolutional networks); textures that boil they do not. The output appears when it is complete.")]
pub(crate) struct Video {
    /// The video
    #[arg(short, long = "in", value_name = "IN")]
    input: PathBuf,
    /// The styled video; its ending says which container
    #[arg(short, long = "out", value_name = "OUT")]
    output: PathBuf,
    /// Copy the sound
    #[arg(long)]
    keep_audio: bool,
    /// Whose statistics the norms use: frame, ema:SHARE (so much of those before) or frozen (those of the first frame)
    #[arg(long, value_name = "WHOSE", default_value = "frame", value_parser = parse_statistics)]
    stats: Statistics,
    /// With --stats frozen or ema: begin with the statistics of this picture (scaled to the frames), not of the first frame
    #[arg(long, value_name = "FILE")]
    stats_from: Option<PathBuf>,
    /// What ffmpeg is told about the output
    #[arg(
        long,
        value_name = "ARGUMENTS",
        default_value = "-c:v libx264 -crf 18 -pix_fmt yuv420p",
        allow_hyphen_values = true
    )]
    encode: String,
    /// Write over a file that exists
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    model: OneModel,
    #[command(flatten)]
    backend: BackendArgs,
}

/// What ffmpeg says of a video.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Format {
    width: usize,
    height: usize,
    /// Frames a second, as a fraction.
    rate: String,
    /// Width of a pixel to its height.
    aspect: Option<String>,
}

fn parse_statistics(text: &str) -> std::result::Result<Statistics, String> {
    let share = |text: &str| text.parse().ok().filter(|s| (0.0..1.0).contains(s)).map(Statistics::Average);
    let found = match text {
        "frame" => Some(Statistics::Frame),
        "frozen" => Some(Statistics::Frozen),
        _ => text.strip_prefix("ema:").and_then(share),
    };
    found.ok_or_else(|| {
        format!("`{text}` are no statistics; write frame, frozen, or ema: and a share below 1, as ema:0.9")
    })
}

impl Video {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        let kind = self.input.metadata().map_err(|e| Failure::reading(&self.input, &e))?;
        if kind.is_dir() {
            return Err(Failure::input(&self.input, "this is a folder, and a video is needed here")
                .help("name a file of it; `style apply` takes folders of pictures"));
        }
        if same_place(&self.input, &self.output) {
            return Err(Failure::usage(format!("the output {} is the input", self.output.display()))
                .help("choose another file with -o"));
        }
        if self.output.exists() && !self.overwrite {
            return Err(
                Failure::usage(format!("{} exists", self.output.display())).help("give --overwrite, or another --out")
            );
        }
        if self.stats_from.is_some() && self.stats == Statistics::Frame {
            return Err(Failure::usage("--stats-from, where every frame has its own statistics")
                .help("add --stats frozen, or --stats ema:0.9"));
        }
        let ffmpeg = std::env::var_os("FFMPEG").unwrap_or_else(|| "ffmpeg".into());
        let format = probe(&ffmpeg, &self.input)?;
        let any = self.backend.open(None)?;
        if let Some(folder) = self.output.parent() {
            crate::files::sweep(folder);
        }
        let unfinished = unfinished(&self.output);
        let size = [format.height, format.width];
        let remark = Remark::default();
        let bar = Progress::counting(session, "frames", remark.clone());
        let (passed, precision, decoder, encoder) = with_backend!(&any, |b| {
            // Before ffmpeg begins a file that nobody would end.
            let mut engine = self.ready(b, size)?;
            let mut decoder = start(&ffmpeg, &self.decoding(&format), Stdio::null(), Stdio::piped())?;
            let mut encoder = start(&ffmpeg, &self.encoding(&format, &unfinished), Stdio::piped(), Stdio::null())?;
            let (Some(mut frames), Some(mut sink)) = (decoder.stdout.take(), encoder.stdin.take()) else {
                return Err(Failure::new(Exit::Io, "ffmpeg has no pipes"));
            };
            widen(&frames);
            widen(&sink);
            let rate = PixelRate::new(remark);
            let passed = run(
                &mut engine,
                &self.model,
                size,
                move |frame| fill(&mut frames, Pixels::Rgb24.raw(frame, size[0], size[1]), "the decoded video"),
                move |frame| put(&mut sink, &frame.rgb, "to ffmpeg"),
                |_| {
                    rate.add(size[0] * size[1]);
                    bar.step();
                },
            );
            (passed, engine.precision(), decoder, encoder)
        });
        drop(bar);
        let ended = finish(decoder, "reading", &self.input).and(finish(encoder, "writing", &self.output));
        let passed = match passed {
            // What has nothing to do with its pipes made it stop, and not the other way around.
            Err(e) if e.exit != Exit::Io => Err(e),
            // Its own words tell more than a broken pipe.
            passed => ended.and(passed),
        };
        let passed = passed.inspect_err(|_| {
            let _ = std::fs::remove_file(&unfinished);
        })?;
        if passed.frames == 0 {
            let _ = std::fs::remove_file(&unfinished);
            return Err(Failure::input(&self.input, "there is no frame in it"));
        }
        std::fs::rename(&unfinished, &self.output).map_err(|e| Failure::writing(&self.output, &e))?;
        let rate = passed.frames as f64 / passed.seconds;
        session.note(format!(
            "{} frames in {}, {rate:.1} a second, {:.2} megapixels/s: {}",
            passed.frames,
            seconds(passed.seconds),
            rate * (size[0] * size[1]) as f64 / 1e6,
            self.output.display()
        ));
        session.document(&json!({
            "input": as_text(&self.input), "output": as_text(&self.output), "width": format.width, "height": format.height,
            "frames": passed.frames, "seconds": passed.seconds, "frames_per_second": rate, "backend": any.name(),
            "precision": precision.to_string(),
        }))?;
        Ok(Exit::Ok)
    }

    /// The model with the statistics that the first frame meets.
    fn ready<B: StyleBackend>(&self, b: &B, size: [usize; 2]) -> Result<Engine<B>> {
        let mut engine = self.model.engine(b)?;
        engine.set_statistics(self.stats)?;
        if let Some(path) = &self.stats_from {
            self.model.run_before(&mut engine, &shown(path, size)?, size)?;
        }
        Ok(engine)
    }

    fn decoding(&self, format: &Format) -> Vec<OsString> {
        let mut all: Vec<OsString> = ["-v", "error", "-nostdin", "-i"].map(Into::into).into();
        all.push(self.input.clone().into());
        all.extend(["-map", "0:v:0", "-r", &format.rate, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"].map(Into::into));
        all
    }

    fn encoding(&self, format: &Format, to: &Path) -> Vec<OsString> {
        let size = format!("{}x{}", format.width, format.height);
        let raw =
            ["-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", &size, "-r", &format.rate, "-i", "-"];
        let mut all: Vec<OsString> = raw.map(Into::into).into();
        if self.keep_audio {
            all.extend(["-i".into(), self.input.clone().into()]);
            all.extend(["-map", "0:v:0", "-map", "1:a?", "-c:a", "copy"].map(Into::into));
        }
        all.extend(self.encode.split_whitespace().map(Into::into));
        if let Some(aspect) = &format.aspect {
            all.extend(["-vf".into(), format!("setsar={}", aspect.replace(':', "/")).into()]);
        }
        all.push(to.into());
        all
    }
}

/// A picture as a frame of this size.
fn shown(path: &Path, [height, width]: [usize; 2]) -> Result<Vec<u8>> {
    let content = Content::of(&pictures::read(path, Layout::Auto)?).map_err(|e| e.at(path))?;
    let content =
        if [content.height, content.width] == [height, width] { content } else { content.resized(height, width)? };
    let area = height * width;
    let value = |i: usize| Rounding::Nearest.apply(content.planes[i % 3 * area + i / 3], 255.0) as u8;
    Ok((0..3 * area).map(value).collect())
}

/// The file that is written until all is done; with the ending of the output, which says which container.
fn unfinished(output: &Path) -> PathBuf {
    let name = output.file_stem().unwrap_or_default().to_string_lossy();
    let ending = output.extension().unwrap_or_default().to_string_lossy();
    output.with_file_name(format!(".{name}.{}.unfinished.{ending}", crate::files::writer()))
}

fn start(ffmpeg: &OsString, arguments: &[OsString], stdin: Stdio, stdout: Stdio) -> Result<Child> {
    let mut command = Command::new(ffmpeg);
    command.args(arguments).stdin(stdin).stdout(stdout).stderr(Stdio::piped()).spawn().map_err(|e| {
        Failure::new(Exit::Io, format!("cannot start {}: {e}", ffmpeg.display()))
            .help("install ffmpeg, or name it with FFMPEG; `style pipe` works without it")
    })
}

/// Waits for ffmpeg and hands on what it complains about.
fn finish(mut child: Child, doing: &str, path: &Path) -> Result<()> {
    drop((child.stdin.take(), child.stdout.take()));
    let mut words = String::new();
    if let Some(mut errors) = child.stderr.take() {
        let _ = errors.read_to_string(&mut words);
    }
    let status = child.wait().map_err(|e| Failure::new(Exit::Io, format!("ffmpeg: {e}")))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(Exit::Io, format!("ffmpeg failed {doing} {}: {}", path.display(), told(&words))))
}

/// What ffmpeg says of a failure: the cause first, and at the end what failed by it.
fn told(words: &str) -> String {
    // Lines may begin with the part of ffmpeg that speaks and its address.
    let line = |line: &str| match line.trim().split_once("] ") {
        Some((part, rest)) if part.starts_with('[') => rest.trim().to_owned(),
        _ => line.trim().to_owned(),
    };
    let mut lines = words.lines().map(line).filter(|line| !line.is_empty());
    match (lines.next(), lines.next_back()) {
        (None, _) => "it says nothing".to_owned(),
        (Some(first), Some(last)) if last != first => format!("{first}; {last}"),
        (Some(first), _) => first,
    }
}

/// Size and rate of a video, from the header of its first frame as YUV4MPEG2: ffmpeg itself has then turned and scaled
/// what the decoder will turn and scale.
fn probe(ffmpeg: &OsString, input: &Path) -> Result<Format> {
    let mut arguments: Vec<OsString> = ["-v", "error", "-nostdin", "-i"].map(Into::into).into();
    arguments.push(input.into());
    let rest = ["-map", "0:v:0", "-frames:v", "1", "-pix_fmt", "yuv420p", "-f", "yuv4mpegpipe", "-"];
    arguments.extend(rest.map(Into::into));
    let mut child = start(ffmpeg, &arguments, Stdio::null(), Stdio::piped())?;
    let mut header = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let mut reader = BufReader::new(stdout);
        let _ = (&mut reader).take(4096).read_until(b'\n', &mut header);
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
    }
    finish(child, "reading", input)?;
    parse_header(&String::from_utf8_lossy(&header)).ok_or_else(|| Failure::input(input, "ffmpeg finds no video in it"))
}

fn parse_header(line: &str) -> Option<Format> {
    let mut words = line.trim_end().split(' ');
    if words.next() != Some("YUV4MPEG2") {
        return None;
    }
    let words: Vec<&str> = words.collect();
    let value = |key: char| words.iter().find_map(|word| word.strip_prefix(key));
    Some(Format {
        width: value('W')?.parse().ok().filter(|n| (1..=1 << 16).contains(n))?,
        height: value('H')?.parse().ok().filter(|n| (1..=1 << 16).contains(n))?,
        rate: value('F')?.replace(':', "/"),
        aspect: value('A').filter(|a| !matches!(*a, "0:0" | "1:1")).map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_frames() {
        let format = parse_header("YUV4MPEG2 W640 H358 F30000:1001 Ip A4:3 C420jpeg XYSCSS=420JPEG\n").unwrap();
        let expected = Format { width: 640, height: 358, rate: "30000/1001".into(), aspect: Some("4:3".into()) };
        assert_eq!(format, expected);
        assert_eq!(parse_header("YUV4MPEG2 W64 H36 F25:1 A1:1\n").unwrap().aspect, None);
        for bad in ["", "P6 4 4", "YUV4MPEG2 W0 H4 F25:1", "YUV4MPEG2 H4 F25:1"] {
            assert_eq!(parse_header(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_cause_of_a_failure_is_told_first() {
        assert_eq!(told(""), "it says nothing");
        assert_eq!(told("\nin.mp4: Invalid data\n"), "in.mp4: Invalid data");
        let words = "[libx264 @ 0x55] width not divisible by 2 (97x65)\n[vost#0:0/libx264 @ 0x56] Error while opening \
            encoder\n[out#0/mp4 @ 0x57] Nothing was written into output file\n";
        assert_eq!(told(words), "width not divisible by 2 (97x65); Nothing was written into output file");
    }

    #[test]
    fn the_unfinished_file_keeps_the_container() {
        let path = unfinished(Path::new("out/candy.mp4"));
        assert!(path.starts_with("out") && path.extension().is_some_and(|e| e == "mp4"));
    }
}
