//! Statistics of frames that follow one another: what a layer's norm uses becomes a mean of the frame's own mean and
//! variance and those that the frame before was normalised with.
//!
//! `h ← h + own · (now − h)` for mean and variance of every channel, one image; the first frame's own are taken as they
//! are. Then the statistics become those of `h`, in the form that the next layer reads (see `net_layer`). Everything is
//! computed in `f64`, by one fused multiply-add a number, both twins to the bit; in `f32` the variance comes from the
//! scale, so that it has the rounding of that.
//!
//! Floor: about 40 flop and 72 (`f16`: up to 8 KiB an image) bytes a channel: nothing beside a layer.

use gpu_core::{Backend, Cpu, Error, Result, View, ViewMut};
use rustacuda_derive::DeviceCopy;

use super::net_elem::{NetElem, Plane, SUMS, units};
use super::net_layer::{NET_EPSILON, Scene, same};

/// What the operation works on.
#[derive(Debug)]
pub struct HistoryCall<'a, B: Backend, T: NetElem> {
    /// A layer's statistics, of one image.
    pub stats: ViewMut<'a, B, T::Stat>,
    /// `γ, β` of the norm, `[channels][2]`.
    pub gamma_beta: View<'a, B, f32>,
    /// Mean and variance that the frame before was normalised with, `[channels][2]`.
    pub history: ViewMut<'a, B, f64>,
    /// One number: 0 before the first frame.
    pub seen: ViewMut<'a, B, u32>,
}

/// Parameters by value.
#[derive(Clone, Copy, Debug, DeviceCopy)]
#[repr(C)]
pub struct HistoryParams {
    count: f64,
    own: f64,
    value: f64,
    square: f64,
    eps: f64,
    channels: i32,
    unused: i32,
}

/// The operation on one backend.
pub trait NetHistory<T: NetElem>: Backend {
    #[doc(hidden)]
    fn net_history_unchecked(&self, p: HistoryParams, call: HistoryCall<'_, Self, T>) -> Result<()>;
}

/// Replaces the statistics of what a layer wrote, `to`, by their mean with those of before; `own` is the frame's share.
///
/// # Errors
/// When there are several images, a view has another length, or the share is not 0 to 1.
pub fn net_history<B: NetHistory<T>, T: NetElem>(
    b: &B,
    to: Scene,
    own: f64,
    call: HistoryCall<'_, B, T>,
) -> Result<()> {
    to.check()?;
    if to.n != 1 {
        return Err(Error::value("batch", format!("{} images; frames come one after the other", to.n)));
    }
    if !(0.0..=1.0).contains(&own) {
        return Err(Error::value("own", format!("{own} is no share of 0 to 1")));
    }
    if T::NAME == "f16" && !SUMS.is_multiple_of(to.c) {
        return Err(Error::value("channels", format!("{} do not divide {SUMS}", to.c)));
    }
    same("statistics", T::stats_len(to.c), call.stats.len())?;
    same("gamma_beta", 2 * to.c, call.gamma_beta.len())?;
    same("history", 2 * to.c, call.history.len())?;
    same("seen", 1, call.seen.len())?;
    let pixels = to.h * to.w;
    let [value, square] = units(pixels).map(f64::from);
    let (count, eps, channels) = (pixels as f64, f64::from(NET_EPSILON), to.c as i32);
    b.net_history_unchecked(HistoryParams { count, own, value, square, eps, channels, unused: 0 }, call)
}

impl<T: NetElem> NetHistory<T> for Cpu {
    fn net_history_unchecked(&self, p: HistoryParams, call: HistoryCall<'_, Self, T>) -> Result<()> {
        let (stats, gamma_beta) = (self.write(call.stats)?, self.read(call.gamma_beta)?);
        let (history, seen) = (self.write(call.history)?, self.write(call.seen)?);
        let first = std::mem::replace(&mut seen[0], 1) == 0;
        let (channels, pixels) = (p.channels as usize, p.count as usize);
        for (c, history) in history.chunks_exact_mut(2).enumerate() {
            let norm = [gamma_beta[2 * c], gamma_beta[2 * c + 1]];
            let now = T::plane(stats, c, channels, pixels, norm);
            if first {
                history.copy_from_slice(&[now.mean, now.variance]);
                continue;
            }
            for (history, now) in history.iter_mut().zip([now.mean, now.variance]) {
                *history = p.own.mul_add(now - *history, *history);
            }
            T::replace(stats, c, channels, Plane { pixels, mean: history[0], variance: history[1] }, norm);
        }
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl<T: NetElem> NetHistory<T> for gpu_core::Cuda {
    fn net_history_unchecked(&self, p: HistoryParams, call: HistoryCall<'_, Self, T>) -> Result<()> {
        let HistoryCall { stats, gamma_beta, history, seen } = call;
        let half = T::NAME == "f16";
        let name = if half { "net_history_f16" } else { "net_history_f32" };
        let mut launch = self.kernel(&super::cuda::KERNELS, name)?.write(stats)?;
        if !half {
            launch = launch.read(gamma_beta)?;
        }
        let launch = launch.write(history)?.write(seen)?.arg(p).grid((1, 1, 1)).block((256, 1, 1));
        // SAFETY: the parameters in kernels/net_history.cu; `net_history` has checked the lengths of all views.
        unsafe { launch.launch() }
    }
}
