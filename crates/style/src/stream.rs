//! Frames one after the other, so that copies to and from the device go on while it computes.

use std::collections::VecDeque;

use gpu_core::{InFlight, View, ViewMut};

use crate::engine::{Engine, SizePolicy, StyleBackend, check};
use crate::net::{Job, Picture};
use crate::{Error, Result};

/// Frames that are under way at most.
const SLOTS: usize = 3;

/// A frame's memory: page-locked on the host, and on the device, with a queue of its own for copies.
struct Slot<B: StyleBackend, S: Picture> {
    copies: B,
    host_in: Option<B::Pinned<S>>,
    host_out: Option<B::Pinned<S>>,
    host_flag: Option<B::Pinned<u32>>,
    device_in: Option<B::Buf<S>>,
    device_out: Option<B::Buf<S>>,
    device_flag: Option<B::Buf<u32>>,
}

/// A frame under way.
struct UnderWay<B: StyleBackend, S: Picture> {
    slot: Slot<B, S>,
    upload: InFlight<B, S>,
    result: InFlight<B, S>,
    flag: InFlight<B, u32>,
}

/// A pipeline for frames of one size: while one is computed, the next goes to the device and the one before comes back. At
/// most three are under way; results come in the order of the frames. Frames are bytes `[h][w][3]` in RGB, or planes of
/// `f32`.
///
/// ```
/// use gpu_core::Cpu;
/// use style::{Engine, SizePolicy, weights::StyleModel};
///
/// let mut engine = Engine::new(&Cpu::new(), &StyleModel::random(4, 1, 7))?;
/// let mut stream = engine.stream(8, 8, SizePolicy::Crop)?;
/// let mut styled = Vec::new();
/// for frame in [[0; 192], [90; 192], [180; 192], [255; 192]] {
///     styled.extend(stream.push(&frame)?); // the oldest result, when there is no room for another frame
/// }
/// while let Some(frame) = stream.pull()? {
///     styled.push(frame);
/// }
/// assert_eq!(styled.len(), 4);
/// # Ok::<(), style::Error>(())
/// ```
pub struct FrameStream<'a, B: StyleBackend, S: Picture = u8> {
    engine: &'a mut Engine<B>,
    job: Job,
    free: Vec<Slot<B, S>>,
    under_way: VecDeque<UnderWay<B, S>>,
}

impl<B: StyleBackend> Engine<B> {
    /// A pipeline for frames of this size, as bytes.
    ///
    /// # Errors
    /// [`Error::InputTooSmall`] when a side is shorter than five; when there is no room for three frames.
    pub fn stream(&mut self, height: usize, width: usize, policy: SizePolicy) -> Result<FrameStream<'_, B>> {
        self.stream_of(height, width, policy)
    }

    /// A pipeline for frames of this size as planes `[3][h][w]` of `f32` in 0..255; results are not clamped, so that they
    /// can be mixed with something before they become bytes. Four times the bytes of [`stream`](Self::stream) are copied.
    ///
    /// # Errors
    /// As [`stream`](Self::stream).
    pub fn stream_f32(&mut self, height: usize, width: usize, policy: SizePolicy) -> Result<FrameStream<'_, B, f32>> {
        self.stream_of(height, width, policy)
    }

    fn stream_of<S: Picture>(
        &mut self,
        height: usize,
        width: usize,
        policy: SizePolicy,
    ) -> Result<FrameStream<'_, B, S>> {
        check(3, height, width, &[height, width, 3])?;
        let job = Job { n: 1, h: height, w: width, policy, rounding: self.options.rounding };
        let b = self.backend.clone();
        let slot = || -> Result<Slot<B, S>> {
            let copies = b.fork()?;
            Ok(Slot {
                host_in: Some(b.pinned(job.input_len())?),
                host_out: Some(b.pinned(job.output_len())?),
                host_flag: Some(b.pinned(1)?),
                device_in: Some(copies.scratch(job.input_len())?),
                device_out: Some(b.scratch(job.output_len())?),
                device_flag: Some(b.scratch(1)?),
                copies,
            })
        };
        let free = (0..SLOTS).map(|_| slot()).collect::<Result<_>>()?;
        Ok(FrameStream { engine: self, job, free, under_way: VecDeque::new() })
    }
}

impl<B: StyleBackend, S: Picture> std::fmt::Debug for FrameStream<'_, B, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FrameStream of {:?} with {} frames under way", self.job, self.under_way.len())
    }
}

impl<B: StyleBackend, S: Picture> FrameStream<'_, B, S> {
    /// Values of a frame: bytes, or numbers of its planes.
    pub fn frame_len(&self) -> usize {
        self.job.input_len()
    }

    /// Rows and columns of a result.
    pub fn output_size(&self) -> [usize; 2] {
        self.job.output()
    }

    /// Frames under way.
    pub fn len(&self) -> usize {
        self.under_way.len()
    }

    /// Whether none is under way.
    pub fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Whether three are under way, so that a result must be taken before another frame.
    pub fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// Takes a frame. When three are under way, waits for the oldest and gives its result.
    ///
    /// # Errors
    /// [`Error::Shape`] when the frame has another size; the stream goes on with the next.
    pub fn push(&mut self, frame: &[S]) -> Result<Option<Vec<S>>> {
        if frame.len() != self.frame_len() {
            let expected = vec![self.job.h, self.job.w, 3];
            return Err(Error::Shape { what: "frame", expected, got: vec![frame.len()] });
        }
        let done = if self.is_full() { self.pull()? } else { None };
        self.push_with(|memory| memory.copy_from_slice(frame))?;
        Ok(done)
    }

    /// As [`push`](Self::push), for a frame that `fill` writes into the memory that is copied to the device: one copy
    /// less. `fill` gets [`frame_len`](Self::frame_len) values and must write them all, since others are a frame's before.
    ///
    /// # Errors
    /// When three frames are under way (see [`is_full`](Self::is_full)), or the device is lost.
    pub fn push_with(&mut self, fill: impl FnOnce(&mut [S])) -> Result<()> {
        // A frame that failed on the device has taken its memory with it.
        let slot = self.free.pop().ok_or_else(|| {
            gpu_core::Error::value("stream", "no slot is free; take a result first, or after errors make a new stream")
        })?;
        let under_way = self.start(slot, fill)?;
        self.under_way.push_back(under_way);
        Ok(())
    }

    /// Waits for the oldest frame and gives its result; none when no frame is under way.
    ///
    /// # Errors
    /// When the device is lost.
    pub fn pull(&mut self) -> Result<Option<Vec<S>>> {
        self.pull_with(<[S]>::to_vec)
    }

    /// As [`pull`](Self::pull), for a result that `take` reads where the device has written it: one copy less.
    ///
    /// # Errors
    /// When the device is lost.
    pub fn pull_with<R>(&mut self, take: impl FnOnce(&[S]) -> R) -> Result<Option<R>> {
        let Some(UnderWay { mut slot, upload, result, flag }) = self.under_way.pop_front() else { return Ok(None) };
        let (host_in, mut host_out, host_flag) = (upload.finish()?, result.finish()?, flag.finish()?);
        let escaped = host_flag.first().is_some_and(|&tiles| tiles > 0);
        let flat = !self.engine.as_they_are() && S::only_colour(&host_in).is_some();
        if escaped || flat {
            self.engine.batch(&self.job, &host_in, &mut host_out)?;
        }
        let taken = take(&host_out);
        slot.host_in = Some(host_in);
        slot.host_out = Some(host_out);
        slot.host_flag = Some(host_flag);
        self.free.push(slot);
        Ok(Some(taken))
    }

    /// Queues a frame: up on the slot's queue, through the network on the engine's, down on the slot's.
    fn start(&mut self, mut slot: Slot<B, S>, fill: impl FnOnce(&mut [S])) -> Result<UnderWay<B, S>> {
        let Engine { backend: b, network, .. } = &mut *self.engine;
        let (b, copies) = (&*b, slot.copies.clone());
        let missing = || gpu_core::Error::value("frame", "its slot is in use");
        let mut host_in = slot.host_in.take().ok_or_else(missing)?;
        let (host_out, host_flag) =
            (slot.host_out.take().ok_or_else(missing)?, slot.host_flag.take().ok_or_else(missing)?);
        fill(&mut host_in);
        let mut device_in = slot.device_in.take().ok_or_else(missing)?;
        let upload = copies.upload_pinned(host_in, ViewMut::of(&mut device_in))?;
        let mut device_in = Some(b.adopt(device_in)?);
        // The engine's queue waits for this slot's last download, which is done, and for no other's.
        let mut device_out = b.adopt(slot.device_out.take().ok_or_else(missing)?)?;
        let mut device_flag = b.adopt(slot.device_flag.take().ok_or_else(missing)?)?;
        b.forward::<S>(
            network,
            &self.job,
            false,
            &mut |x: ViewMut<'_, B, S>| {
                if let Some(from) = device_in.take() {
                    b.copy(View::of(&from), x)?;
                    // Handed back before the network is queued, so that the next upload into it need not wait for that.
                    slot.device_in = Some(copies.adopt(from)?);
                }
                Ok(())
            },
            &mut |y: View<'_, B, S>, escaped: View<'_, B, u32>| {
                b.copy(y, ViewMut::of(&mut device_out))?;
                b.copy(escaped, ViewMut::of(&mut device_flag))
            },
        )?;
        let (device_out, device_flag) = (copies.adopt(device_out)?, copies.adopt(device_flag)?);
        let result = copies.download_pinned(View::of(&device_out), host_out)?;
        let flag = copies.download_pinned(View::of(&device_flag), host_flag)?;
        slot.device_out = Some(device_out);
        slot.device_flag = Some(device_flag);
        Ok(UnderWay { slot, upload, result, flag })
    }
}
