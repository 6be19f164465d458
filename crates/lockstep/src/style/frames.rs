//! What `pipe` and `video` share: one model, and frames that go through a pipeline while others are read and written.

use std::borrow::Cow;
use std::io::{ErrorKind, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use ::style::mix::{Rounding, keep_colours, mix};
use ::style::weights::StyleModel;
use ::style::{Engine, EngineOptions, FrameStream, Picture, SizePolicy, StyleBackend};
use clap::Args;
use ndarray::{ArrayView3, ArrayView4};

use super::apply::{Blend, Numbers, parse_blend, parse_precision, parse_strength};
use super::library::{Strictness, blended, find, load};
use crate::exit::{Exit, Failure, Result};

/// Frames that wait between two threads at most.
const WAITING: usize = 4;

/// A model, and how much of it.
#[derive(Args, Clone, Debug)]
pub(crate) struct OneModel {
    /// A weight file, or the name of a model [default: the one inside the program]
    #[arg(short, long, value_name = "MODEL")]
    model: Option<String>,
    /// One model whose weights are a mean: candy=0.6,mosaic=0.4
    #[arg(long, value_name = "MODEL=SHARE,…", conflicts_with = "model", value_parser = parse_blend)]
    blend: Option<Blend>,
    /// How much of the style: 0 leaves frames as they are, 1 is all
    #[arg(long, value_name = "0..1", default_value_t = 1.0, value_parser = parse_strength)]
    strength: f32,
    /// Keep the colours of the frames; the style gives brightness alone
    #[arg(long)]
    original_colors: bool,
    /// Round to the nearest whole number; the default cuts fractions off, as the original program does
    #[arg(long)]
    round: bool,
    /// f16 on tensor cores, or f32 [default: f16 where the device has tensor cores]
    #[arg(long, value_name = "f32|f16", value_parser = parse_precision)]
    precision: Option<Numbers>,
    #[command(flatten)]
    strictness: Strictness,
}

impl OneModel {
    pub(crate) fn load(&self) -> Result<StyleModel> {
        match &self.blend {
            Some(blend) => blended(blend, &self.strictness),
            None => load(&find(self.model.as_deref())?, &self.strictness),
        }
    }

    fn rounding(&self) -> Rounding {
        if self.round { Rounding::Nearest } else { Rounding::Truncate }
    }

    pub(crate) fn engine<B: StyleBackend>(&self, b: &B) -> Result<Engine<B>> {
        let options =
            EngineOptions { precision: self.precision.map(Into::into), max_batch: 1, rounding: self.rounding() };
        Ok(Engine::with(b, &self.load()?, options)?)
    }

    /// Runs a picture before the first frame, the way frames go: each way has statistics of its own.
    pub(crate) fn run_before<B: StyleBackend>(
        &self,
        engine: &mut Engine<B>,
        picture: &[u8],
        size: [usize; 2],
    ) -> Result<()> {
        let [h, w] = size;
        let wrong = |e: ndarray::ShapeError| Failure::usage(format!("the picture has another size: {e}"));
        if self.mixes() {
            let planes = planes(picture);
            engine.run(ArrayView4::from_shape((1, 3, h, w), &planes).map_err(wrong)?, SizePolicy::Crop)?;
        } else {
            engine.run_u8(&[ArrayView3::from_shape((h, w, 3), picture).map_err(wrong)?], SizePolicy::Crop)?;
        }
        Ok(())
    }

    /// Whether results are mixed with the frames.
    fn mixes(&self) -> bool {
        self.strength < 1.0 || self.original_colors
    }

    /// What the network made of a frame's planes, mixed with them and only then made whole numbers, as `apply` does it.
    fn mixed(&self, mut styled: Vec<f32>, frame: &[u8]) -> Vec<u8> {
        let mut under = planes(frame);
        if self.original_colors {
            keep_colours(&mut styled, &under);
        }
        mix(&mut under, &styled, self.strength);
        let (pixels, rounding) = (under.len() / 3, self.rounding());
        (0..under.len()).map(|i| rounding.apply(under[i % 3 * pixels + i / 3], 255.0) as u8).collect()
    }
}

/// Bytes, pixel after pixel, as planes.
fn planes(bytes: &[u8]) -> Vec<f32> {
    (0..3).flat_map(|c| bytes.iter().skip(c).step_by(3).map(|&v| f32::from(v))).collect()
}

/// A frame as it was read: RGB for the network, and what has to come out again as it is.
pub(crate) struct Frame {
    pub(crate) rgb: Vec<u8>,
    pub(crate) beside: Vec<u8>,
}

/// How many frames went through, in which time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passed {
    pub(crate) frames: usize,
    pub(crate) seconds: f64,
}

/// Reads frames with `read` until it gives none, and writes results with `write`, in order. Reading, computing and
/// writing go on at the same time.
pub(crate) fn run<B: StyleBackend>(
    engine: &mut Engine<B>,
    model: &OneModel,
    [height, width]: [usize; 2],
    read: impl FnMut() -> Result<Option<Frame>> + Send,
    write: impl FnMut(Frame) -> Result<()> + Send,
    progress: impl FnMut(usize),
) -> Result<Passed> {
    if model.mixes() {
        let stream = engine.stream_f32(height, width, SizePolicy::Crop)?;
        return pass(
            stream,
            |bytes| planes(bytes).into(),
            |styled, frame| model.mixed(styled, frame),
            read,
            write,
            progress,
        );
    }
    let stream = engine.stream(height, width, SizePolicy::Crop)?;
    pass(stream, |bytes| bytes.into(), |styled, _| styled, read, write, progress)
}

/// [`run`] through a stream, whose values `enter` makes of a frame's bytes and `leave` makes bytes again.
fn pass<B: StyleBackend, S: Picture>(
    mut stream: FrameStream<'_, B, S>,
    enter: fn(&[u8]) -> Cow<'_, [S]>,
    leave: impl Fn(Vec<S>, &[u8]) -> Vec<u8>,
    mut read: impl FnMut() -> Result<Option<Frame>> + Send,
    mut write: impl FnMut(Frame) -> Result<()> + Send,
    mut progress: impl FnMut(usize),
) -> Result<Passed> {
    let begun = Instant::now();
    let (to_network, from_reader): (SyncSender<Result<Frame>>, Receiver<_>) = sync_channel(WAITING);
    let (to_writer, from_network): (SyncSender<Frame>, Receiver<_>) = sync_channel(WAITING);
    let mut frames = 0;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while let Some(frame) = read().transpose() {
                let failed = frame.is_err();
                // A network that has stopped wants no more.
                if to_network.send(frame).is_err() || failed {
                    break;
                }
            }
        });
        let writer = scope.spawn(move || from_network.into_iter().try_for_each(&mut write));
        let mut under_way = std::collections::VecDeque::new();
        let mut finish = |styled: Option<Vec<S>>, under_way: &mut std::collections::VecDeque<Frame>| -> bool {
            let Some((styled, mut frame)) = styled.and_then(|styled| Some((styled, under_way.pop_front()?))) else {
                return true;
            };
            frame.rgb = leave(styled, &frame.rgb);
            frames += 1;
            progress(frames);
            to_writer.send(frame).is_ok()
        };
        let computed = (|| -> Result<()> {
            for frame in from_reader {
                let frame = frame?;
                let styled = stream.push(&enter(&frame.rgb))?;
                under_way.push_back(frame);
                if !finish(styled, &mut under_way) {
                    return Ok(());
                }
            }
            while let Some(styled) = stream.pull()? {
                if !finish(Some(styled), &mut under_way) {
                    return Ok(());
                }
            }
            Ok(())
        })();
        drop(to_writer);
        let written = writer.join().unwrap_or_else(|_| Err(Failure::new(Exit::Io, "the writing thread has ended")));
        computed.and(written)
    })?;
    Ok(Passed { frames, seconds: begun.elapsed().as_secs_f64() })
}

/// Fills a buffer from a stream: `false` at its end. What is left of a frame that was cut off is an error.
pub(crate) fn fill(from: &mut impl Read, buffer: &mut [u8], what: &str) -> Result<bool> {
    let mut have = 0;
    while have < buffer.len() {
        match from.read(&mut buffer[have..]) {
            Ok(0) if have == 0 => return Ok(false),
            Ok(0) => {
                let message = format!("{what} ends within a frame: {have} of {} bytes", buffer.len());
                return Err(
                    Failure::new(Exit::Io, message).help("check --width, --height and --pix against what is sent")
                );
            }
            Ok(n) => have += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(Failure::new(Exit::Io, format!("cannot read {what}: {e}"))),
        }
    }
    Ok(true)
}

/// Writes bytes to a stream.
pub(crate) fn put(to: &mut impl Write, bytes: &[u8], what: &str) -> Result<()> {
    to.write_all(bytes).map_err(|e| Failure::new(Exit::Io, format!("cannot write {what}: {e}")))
}
