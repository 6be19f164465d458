use std::io::{Write, stdin, stdout};

use clap::Args;
use gpu_core::with_backend;

use super::frames::{OneModel, fill, put, run};
use super::pixels::Pixels;
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
            let (pix, same) = (self.pix, self.model.leaves());
            let (mut input, mut output) = (stdin(), stdout());
            super::frames::widen(&input);
            super::frames::widen(&output);
            run(
                &mut engine,
                &self.model,
                [h, w],
                move |frame| {
                    let more = fill(&mut input, pix.raw(frame, h, w), "standard input")?;
                    if more {
                        pix.decode(frame, h, w);
                    }
                    Ok(more)
                },
                move |frame| {
                    // On the way to RGB and back NV12 loses what RGB has no room for.
                    let bytes: &[u8] = if same { pix.raw(frame, h, w) } else { pix.encode(frame, h, w) };
                    put(&mut output, bytes, "standard output")?;
                    output.flush().map_err(|e| Failure::new(Exit::Io, format!("cannot write standard output: {e}")))
                },
                |_| {},
            )
        })?;
        tracing::info!(frames = passed.frames, seconds = passed.seconds, format = ?self.pix, "piped");
        Ok(Exit::Ok)
    }
}
