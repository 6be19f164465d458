//! What `pipe` and `video` share: one model, and frames that go through a pipeline while others are read and written.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::time::Instant;

use ::style::mix::Rounding;
use ::style::weights::StyleModel;
use ::style::{Engine, EngineOptions, FrameStream, Picture, SizePolicy, StyleBackend};
use clap::Args;
use ndarray::{ArrayView3, ArrayView4};

use super::apply::{Blend, Numbers, parse_blend, parse_precision, parse_strength};
use super::library::{Strictness, blended, find, load};
use super::pixels::{Mixing, copy, planes};
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
    #[arg(long, value_name = "0..1", default_value_t = 1.0, value_parser = parse_strength, allow_negative_numbers = true)]
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
            let mut values = vec![0.0; picture.len()];
            planes(&mut values, picture);
            engine.run(ArrayView4::from_shape((1, 3, h, w), &values).map_err(wrong)?, SizePolicy::Crop)?;
        } else {
            engine.run_u8(&[ArrayView3::from_shape((h, w, 3), picture).map_err(wrong)?], SizePolicy::Crop)?;
        }
        Ok(())
    }

    /// Whether frames stay as they are.
    pub(crate) fn leaves(&self) -> bool {
        self.strength == 0.0
    }

    /// Whether results are mixed with the frames.
    fn mixes(&self) -> bool {
        self.strength < 1.0 || self.original_colors
    }

    fn mixing(&self) -> Mixing {
        let Self { strength, original_colors, .. } = *self;
        Mixing { strength, original_colors, rounding: self.rounding() }
    }
}

/// A frame's memory, used again for another frame when it was written.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    /// Bytes `[h][w][3]`, for the network; then its result.
    pub(crate) rgb: Vec<u8>,
    /// The bytes as they were read, where they are no RGB.
    pub(crate) raw: Vec<u8>,
}

/// How many frames went through, in which time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passed {
    pub(crate) frames: usize,
    pub(crate) seconds: f64,
}

/// Reads frames with `read` until it says that there is none, and writes results with `write`, in order. Reading,
/// computing and writing go on at the same time. When a frame cannot be read, those before it are still written.
pub(crate) fn run<B: StyleBackend>(
    engine: &mut Engine<B>,
    model: &OneModel,
    [height, width]: [usize; 2],
    read: impl FnMut(&mut Frame) -> Result<bool> + Send,
    write: impl FnMut(&mut Frame) -> Result<()> + Send,
    progress: impl FnMut(usize),
) -> Result<Passed> {
    if model.mixes() {
        let (stream, mixing) = (engine.stream_f32(height, width, SizePolicy::Crop)?, model.mixing());
        return pass(stream, planes, |rgb, styled| mixing.apply(styled, rgb), read, write, progress);
    }
    let stream = engine.stream(height, width, SizePolicy::Crop)?;
    pass(stream, copy, copy, read, write, progress)
}

/// [`run`] through a stream, whose values `enter` makes of a frame's bytes and `leave` makes bytes again: both between a
/// frame and the memory that the device reads and writes.
fn pass<B: StyleBackend, S: Picture>(
    mut stream: FrameStream<'_, B, S>,
    enter: impl Fn(&mut [S], &[u8]),
    leave: impl Fn(&mut [u8], &[S]),
    mut read: impl FnMut(&mut Frame) -> Result<bool> + Send,
    mut write: impl FnMut(&mut Frame) -> Result<()> + Send,
    mut progress: impl FnMut(usize),
) -> Result<Passed> {
    let begun = Instant::now();
    let (to_network, from_reader): (SyncSender<Result<Frame>>, Receiver<_>) = sync_channel(WAITING);
    let (to_writer, from_network): (SyncSender<Frame>, Receiver<Frame>) = sync_channel(WAITING);
    // Frames are large: memory that the system gives and takes back for each costs as much as reading it.
    let (give_back, spare) = channel::<Frame>();
    let mut frames = 0;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            loop {
                let mut frame = spare.try_recv().unwrap_or_default();
                let frame = match read(&mut frame) {
                    Ok(true) => Ok(frame),
                    Ok(false) => break,
                    Err(e) => Err(e),
                };
                let failed = frame.is_err();
                // A network that has stopped wants no more.
                if to_network.send(frame).is_err() || failed {
                    break;
                }
            }
        });
        let writer = scope.spawn(move || {
            from_network.into_iter().try_for_each(|mut frame| {
                write(&mut frame)?;
                // Nobody wants it once all frames have been read.
                let _ = give_back.send(frame);
                Ok(())
            })
        });
        let mut under_way: VecDeque<Frame> = VecDeque::new();
        // Whether the writer wants more.
        let mut finish = |stream: &mut FrameStream<'_, B, S>, under_way: &mut VecDeque<Frame>| -> Result<bool> {
            let Some(mut frame) = under_way.pop_front() else { return Ok(true) };
            stream.pull_with(|styled| leave(&mut frame.rgb, styled))?;
            frames += 1;
            progress(frames);
            Ok(to_writer.send(frame).is_ok())
        };
        let computed = (|| -> Result<()> {
            let mut read = Ok(());
            for frame in from_reader {
                let frame = match frame {
                    Ok(frame) => frame,
                    // What came whole before it goes out all the same.
                    Err(e) => {
                        read = Err(e);
                        break;
                    }
                };
                if stream.is_full() && !finish(&mut stream, &mut under_way)? {
                    return Ok(());
                }
                stream.push_with(|values| enter(values, &frame.rgb))?;
                under_way.push_back(frame);
            }
            while !under_way.is_empty() {
                if !finish(&mut stream, &mut under_way)? {
                    return Ok(());
                }
            }
            read
        })();
        drop(to_writer);
        let written = writer.join().unwrap_or_else(|_| Err(Failure::new(Exit::Io, "the writing thread has ended")));
        computed.and(written)
    })?;
    Ok(Passed { frames, seconds: begun.elapsed().as_secs_f64() })
}

/// Asks for more room in a pipe: with the usual 64 KiB the two programs at its ends take turns hundreds of times a frame.
/// What is no pipe, and systems that have no such call, stay as they are.
pub(crate) fn widen(#[cfg_attr(not(target_os = "linux"), expect(unused_variables))] pipe: &impl PipeEnd) {
    #[cfg(target_os = "linux")]
    {
        use nix::fcntl::{FcntlArg, fcntl};
        // What a user may have unless the administrator says otherwise.
        const BYTES: i32 = 1 << 20;
        let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(BYTES));
    }
}

#[cfg(unix)]
pub(crate) use std::os::fd::AsFd as PipeEnd;
#[cfg(windows)]
pub(crate) use std::os::windows::io::AsHandle as PipeEnd;

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
