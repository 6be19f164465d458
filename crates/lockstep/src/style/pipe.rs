use std::io::{Write, stdin, stdout};

use clap::{Args, ValueEnum};
use gpu_core::with_backend;

use super::frames::{Frame, OneModel, fill, put, run};
use crate::backend::BackendArgs;
use crate::exit::{Exit, Failure, Result};
use crate::session::Session;

/// Options of `style pipe`.
#[derive(Args, Debug)]
#[command(mut_arg("memory", |arg| arg.visible_alias("tile-mem")))]
#[command(after_help = "\
Examples:
  ffmpeg -i in.mp4 -f rawvideo -pix_fmt rgb24 - | lockstep style pipe --model candy --width 1920 --height 1080 | \\
    ffmpeg -f rawvideo -pix_fmt rgb24 -s 1920x1080 -r 25 -i - out.mp4
  camera | lockstep style pipe --model candy --width 640 --height 480 --pix nv12 | display

Frames come one after the other without headers; results have the size and the format of the frames. Transparency is \
handed through. NV12 is taken as video range, BT.709 from 720 rows on and BT.601 below.")]
pub(crate) struct Pipe {
    /// Pixels of a row
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(5..=65536))]
    width: u32,
    /// Rows of a frame
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(5..=65536))]
    height: u32,
    /// Format of the frames
    #[arg(long, value_enum, default_value_t)]
    pix: Pixels,
    #[command(flatten)]
    model: OneModel,
    #[command(flatten)]
    backend: BackendArgs,
}

/// Formats of frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Pixels {
    /// Red, green, blue; a byte each
    #[default]
    Rgb24,
    /// Red, green, blue, opacity; a byte each
    Rgba,
    /// A plane of brightness, then one of colours at half the size; both sides even
    Nv12,
}

impl Pipe {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        let [h, w] = [self.height as usize, self.width as usize];
        if session.json {
            return Err(Failure::usage("frames and a JSON document cannot both go to standard output")
                .help("leave out --json; -v tells on standard error what was done"));
        }
        if self.pix == Pixels::Nv12 && (h % 2 == 1 || w % 2 == 1) {
            return Err(Failure::usage(format!("NV12 frames have even sides, not {w}x{h}"))
                .help("give even sides, or --pix rgb24"));
        }
        let any = self.backend.open(None)?;
        let passed = with_backend!(&any, |b| {
            let mut engine = self.model.engine(b)?;
            let mut input = stdin();
            let size = self.pix.frame_bytes(h, w);
            let mut output = stdout();
            run(
                &mut engine,
                &self.model,
                [h, w],
                move || {
                    let mut bytes = vec![0; size];
                    Ok(fill(&mut input, &mut bytes, "standard input")?.then(|| self.pix.decode(bytes, h, w)))
                },
                move |frame| {
                    put(&mut output, &self.pix.encode(frame, h, w), "standard output")?;
                    output.flush().map_err(|e| Failure::new(Exit::Io, format!("cannot write standard output: {e}")))
                },
                |_| {},
            )
        })?;
        tracing::info!(frames = passed.frames, seconds = passed.seconds, format = ?self.pix, "piped");
        Ok(Exit::Ok)
    }
}

impl Pixels {
    fn frame_bytes(self, h: usize, w: usize) -> usize {
        match self {
            Self::Rgb24 => 3 * h * w,
            Self::Rgba => 4 * h * w,
            Self::Nv12 => h * w + h * w / 2,
        }
    }

    fn decode(self, bytes: Vec<u8>, h: usize, w: usize) -> Frame {
        match self {
            Self::Rgb24 => Frame { rgb: bytes, beside: Vec::new() },
            Self::Rgba => Frame {
                rgb: bytes.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]).collect(),
                beside: bytes.iter().skip(3).step_by(4).copied().collect(),
            },
            Self::Nv12 => Frame { rgb: nv12_to_rgb(&bytes, h, w), beside: Vec::new() },
        }
    }

    fn encode(self, frame: Frame, h: usize, w: usize) -> Vec<u8> {
        match self {
            Self::Rgb24 => frame.rgb,
            Self::Rgba => {
                let pixels = frame.rgb.chunks_exact(3).zip(&frame.beside);
                pixels.flat_map(|(p, &a)| [p[0], p[1], p[2], a]).collect()
            }
            Self::Nv12 => rgb_to_nv12(&frame.rgb, h, w),
        }
    }
}

/// Shares of red and blue in brightness: BT.709 for high definition, BT.601 below.
fn shares(h: usize) -> (f32, f32) {
    if h >= 720 { (0.2126, 0.0722) } else { (0.299, 0.114) }
}

/// Video range: 16..235 for brightness, 16..240 for colour differences (ITU-R BT.601 and BT.709).
fn nv12_to_rgb(bytes: &[u8], h: usize, w: usize) -> Vec<u8> {
    let (kr, kb) = shares(h);
    let kg = 1.0 - kr - kb;
    let (luma, chroma) = bytes.split_at(h * w);
    let mut rgb = Vec::with_capacity(3 * h * w);
    for (i, &y) in luma.iter().enumerate() {
        let at = i / w / 2 * w + i % w / 2 * 2;
        let y = (f32::from(y) - 16.0) * (255.0 / 219.0);
        let [cb, cr] = [chroma[at], chroma[at + 1]].map(|c| (f32::from(c) - 128.0) * (255.0 / 224.0));
        let (r, b) = (y + 2.0 * (1.0 - kr) * cr, y + 2.0 * (1.0 - kb) * cb);
        let g = (y - kr * r - kb * b) / kg;
        rgb.extend([r, g, b].map(|v| v.round().clamp(0.0, 255.0) as u8));
    }
    rgb
}

/// The reverse; a colour is the mean of its four pixels.
fn rgb_to_nv12(rgb: &[u8], h: usize, w: usize) -> Vec<u8> {
    let (kr, kb) = shares(h);
    let kg = 1.0 - kr - kb;
    let mut out = vec![0; h * w * 3 / 2];
    let mut sums = vec![[0f32; 2]; h * w / 4];
    for (i, p) in rgb.chunks_exact(3).enumerate() {
        let [r, g, b] = [p[0], p[1], p[2]].map(f32::from);
        let y = kr * r + kg * g + kb * b;
        out[i] = (16.0 + y * (219.0 / 255.0)).round() as u8;
        let sum = &mut sums[i / w / 2 * (w / 2) + i % w / 2];
        sum[0] += (b - y) / (2.0 * (1.0 - kb));
        sum[1] += (r - y) / (2.0 * (1.0 - kr));
    }
    for (to, sum) in out[h * w..].chunks_exact_mut(2).zip(&sums) {
        to.copy_from_slice(&sum.map(|c| (128.0 + c / 4.0 * (224.0 / 255.0)).round().clamp(16.0, 240.0) as u8));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_survive_nv12() {
        for h in [2, 720] {
            let w = 4;
            for colour in [[0u8, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [90, 140, 200]] {
                let rgb = colour.repeat(h * w);
                let back = nv12_to_rgb(&rgb_to_nv12(&rgb, h, w), h, w);
                // Two roundings of values whose steps are up to 1.2 and 2.2 of 255.
                let most = rgb.iter().zip(&back).map(|(a, b)| a.abs_diff(*b)).max();
                assert!(most.is_some_and(|d| d <= 3), "{colour:?} at {h} rows: {most:?}");
            }
        }
        let white = rgb_to_nv12(&[255; 12], 2, 2);
        assert_eq!(white, [235, 235, 235, 235, 128, 128], "video range");
    }

    #[test]
    fn opacity_is_handed_through() {
        let bytes: Vec<u8> = (0..32).collect();
        let frame = Pixels::Rgba.decode(bytes.clone(), 2, 4);
        assert_eq!(Pixels::Rgba.encode(frame, 2, 4), bytes);
    }
}
