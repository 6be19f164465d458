use std::time::{Duration, Instant};

use clap::Args;
use gpu_core::{Backend, Tensor, with_backend};
use nsct::{Coeffs, NsctBackend, NsctPlan, NsctSpec};
use serde_json::{Value, json};

use super::args::{TransformArgs, describe, spec_json};
use super::info::parse_size;
use super::quality;
use super::work::{Sample, download, widen};
use crate::backend::BackendArgs;
use crate::exit::{Exit, Failure, Result};
use crate::pictures::largest_difference;
use crate::session::{Session, bytes, seconds};

/// Options of `nsct bench`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lockstep nsct bench                                       a batch of 8 gray pictures of 512 × 512
  lockstep nsct bench --batch 8 --channels 3 --loop         and the same pictures one by one
  lockstep nsct bench --size 1024 --batch 1 --dfilt pkva --engine ladder --backend cpu --threads 1
  lockstep nsct bench --quality                             denoising figures beside the stationary wavelet transform

Times are medians of at least 20 runs after warming up, from the device's own clock on a GPU, with pictures and \
coefficients in the device's memory. The floor is the least that must move: each picture read and each \
coefficient written once, (1 + planes) numbers a pixel, at the speed of a plain copy measured in the same run.")]
pub(crate) struct Bench {
    /// Width and height of the pictures
    #[arg(long, value_name = "WxH", default_value = "512", value_parser = parse_size)]
    size: (usize, usize),
    /// Pictures in the batch
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = parse_count)]
    batch: usize,
    /// Channels of each picture
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = parse_count)]
    channels: usize,
    /// Measure the same pictures one by one, too
    #[arg(long = "loop")]
    looped: bool,
    /// Runs of each measurement
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = parse_count)]
    samples: usize,
    /// Print denoising figures instead of times
    #[arg(long)]
    quality: bool,
    #[command(flatten)]
    transform: TransformArgs,
    #[command(flatten)]
    backend: BackendArgs,
}

fn parse_count(text: &str) -> std::result::Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=1_000_000) => Ok(n),
        _ => Err(format!("`{text}` is no number from 1 to 1000000")),
    }
}

/// A picture and its coefficients.
type Single<B, T> = (Tensor<B, T, 4>, Coeffs<B, T>);

/// Times of one operation, sorted.
struct Times(Vec<Duration>);

impl Times {
    /// Warms up, then runs `f` until there are enough times; `f` returns the time of one run.
    fn measure(samples: usize, mut f: impl FnMut() -> Result<Duration>) -> Result<Self> {
        let [times] = Self::in_turns(samples, |_| f())?;
        Ok(times)
    }

    /// The same for several candidates that take turns, so that a busy moment of the machine hits all of them.
    fn in_turns<const N: usize>(samples: usize, mut f: impl FnMut(usize) -> Result<Duration>) -> Result<[Self; N]> {
        for candidate in 0..N {
            let start = Instant::now();
            f(candidate)?;
            // What is slow needs no second warming up.
            if start.elapsed() < Duration::from_secs(2) {
                f(candidate)?;
                f(candidate)?;
            }
        }
        let mut all = [const { Vec::new() }; N];
        for _ in 0..samples {
            for (candidate, times) in all.iter_mut().enumerate() {
                times.push(f(candidate)?);
            }
        }
        Ok(all.map(|mut times| {
            times.sort_unstable();
            Self(times)
        }))
    }

    fn at(&self, share: f64) -> f64 {
        self.0[((self.0.len() - 1) as f64 * share).round() as usize].as_secs_f64()
    }

    fn median(&self) -> f64 {
        self.at(0.5)
    }
}

impl Bench {
    pub(crate) fn run(&self, session: &Session) -> Result<Exit> {
        let spec =
            self.transform.spec_over(if self.quality { NsctSpec::new([3, 3, 4, 4]) } else { NsctSpec::default() })?;
        let any = self.backend.open(None)?;
        if self.quality {
            return with_backend!(&any, |b| {
                if self.transform.f64 {
                    quality::run::<_, f64>(session, b, &spec)
                } else {
                    quality::run::<_, f32>(session, b, &spec)
                }
            });
        }
        with_backend!(&any, |b| {
            if self.transform.f64 { self.on::<_, f64>(session, b, &spec) } else { self.on::<_, f32>(session, b, &spec) }
        })
    }

    fn on<B: NsctBackend<T>, T: Sample>(&self, session: &Session, b: &B, spec: &NsctSpec) -> Result<Exit> {
        let (w, h) = self.size;
        let images = self.batch * self.channels;
        let elements = images
            .checked_mul(h * w)
            .filter(|n| n.checked_mul(spec.plane_count() * size_of::<T>()).is_some_and(|n| n < 1 << 46))
            .ok_or_else(|| {
                Failure::usage("so many pixels fit in no memory").help("choose a smaller --size or --batch")
            })?;
        // Pictures and coefficients, before minutes go into making them.
        let (needed, memory) = (elements * (2 + spec.plane_count()) * size_of::<T>(), b.memory());
        let free = memory.free.min(memory.limit.saturating_sub(memory.used));
        if needed > free {
            let message = format!("pictures and coefficients take {}, {} are free", bytes(needed), bytes(free));
            return Err(Failure::new(Exit::Memory, message).help("choose a smaller --size, --batch or --levels"));
        }
        let begun = Instant::now();
        let plan = NsctPlan::<B, T>::new(b, spec, h, w)?;
        b.synchronize()?;
        let planning = begun.elapsed().as_secs_f64();
        let values: Vec<T> = (0..elements).map(pixel).collect();
        let x = Tensor::from_slice(b, [self.batch, self.channels, h, w], &values)?;
        let mut coeffs = plan.coeffs(self.batch, self.channels)?;
        let mut back = Tensor::<B, T, 4>::scratch(b, x.shape())?;

        let moved = (1 + spec.plane_count()) * elements * size_of::<T>();
        let copy = self.copy_speed::<B, T>(b, moved)?;
        let mut singles = if self.looped { self.singles(b, &plan, &values)? } else { Vec::new() };
        let mut dec = || timed(b, || plan.decompose_into(&x, &mut coeffs));
        let mut measured = Vec::new();
        if self.looped {
            let [batch, one_by_one] = Times::in_turns(self.samples, |candidate| match candidate {
                0 => dec(),
                _ => timed(b, || singles.iter_mut().try_for_each(|(x, y)| plan.decompose_into(&*x, y))),
            })?;
            measured.extend([("dec", batch), ("dec one by one", one_by_one)]);
        } else {
            measured.push(("dec", Times::measure(self.samples, dec)?));
        }
        let mut rec = || timed(b, || plan.reconstruct_into(&coeffs, &mut back));
        if self.looped {
            let [batch, one_by_one] = Times::in_turns(self.samples, |candidate| match candidate {
                0 => rec(),
                _ => timed(b, || singles.iter_mut().try_for_each(|(x, y)| plan.reconstruct_into(y, x))),
            })?;
            measured.extend([("rec", batch), ("rec one by one", one_by_one)]);
        } else {
            measured.push(("rec", Times::measure(self.samples, rec)?));
        }
        let error = largest_difference(&download(b, &back)?, &widen(&values));

        session.say(format!(
            "[{}, {}, {h}, {w}] {} · {} · {} engine on {} ({})",
            self.batch,
            self.channels,
            T::NAME,
            describe(spec),
            plan.engine(),
            B::NAME,
            b.device().name
        ));
        session.say(format!(
            "plan {} · floor {} at {:.1} GB/s of copying · round trip error {error:.1e}",
            seconds(planning),
            seconds(moved as f64 / copy),
            copy / 1e9
        ));
        session.say(format!("moved at least {} ({} planes and the picture)", bytes(moved), spec.plane_count()));
        session.say("");
        session.say(format!(
            "{:<16} {:>11} {:>11} {:>11} {:>13} {:>10} {:>9}",
            "", "median", "p10", "p90", "per picture", "GB/s", "of floor"
        ));
        let mut rows = Vec::new();
        for (name, times) in &measured {
            let median = times.median();
            session.say(format!(
                "{name:<16} {:>11} {:>11} {:>11} {:>13} {:>10.2} {:>8.1}%",
                seconds(median),
                seconds(times.at(0.1)),
                seconds(times.at(0.9)),
                seconds(median / images as f64),
                moved as f64 / median / 1e9,
                100.0 * moved as f64 / median / copy
            ));
            rows.push(json!({
                "what": name, "median_s": median, "p10_s": times.at(0.1), "p90_s": times.at(0.9),
                "samples": times.0.len(), "per_picture_s": median / images as f64, "bytes_per_s": moved as f64 / median,
                "share_of_copy": moved as f64 / median / copy,
            }));
        }
        if self.looped {
            let ratio = |batch: usize| measured[batch + 1].1.median() / measured[batch].1.median();
            session.say(format!("\nbatched against one by one: dec {:.2} ×, rec {:.2} × as fast", ratio(0), ratio(2)));
        }
        session.document(&json!({
            "shape": [self.batch, self.channels, h, w], "dtype": T::NAME, "transform": spec_json(spec),
            "engine": plan.engine().to_string(), "backend": B::NAME, "device": b.device().name,
            "threads": rayon::current_num_threads(), "plan_s": planning, "floor_bytes": moved,
            "copy_bytes_per_s": copy, "floor_s": moved as f64 / copy, "round_trip_error": error, "rows": Value::from(rows),
        }))?;
        Ok(Exit::Ok)
    }

    /// Bytes a second that a copy inside the device moves, reading and writing counted.
    fn copy_speed<B: NsctBackend<T>, T: Sample>(&self, b: &B, bytes: usize) -> Result<f64> {
        // Large enough to leave the caches, small enough to fit beside the rest.
        let len = (bytes / 2 / size_of::<T>()).clamp(1 << 16, 1 << 26);
        let from = Tensor::<B, T, 1>::zeros(b, [len])?;
        let mut to = Tensor::<B, T, 1>::zeros(b, [len])?;
        let times = Times::measure(self.samples, || Ok(b.time(|b| b.copy(from.flat(), to.flat_mut()))?.1))?;
        Ok(2.0 * (len * size_of::<T>()) as f64 / times.median().max(1e-9))
    }

    /// The same pictures one by one, each with its coefficients.
    fn singles<B: NsctBackend<T>, T: Sample>(
        &self,
        b: &B,
        plan: &NsctPlan<B, T>,
        values: &[T],
    ) -> Result<Vec<Single<B, T>>> {
        let (w, h) = self.size;
        values
            .chunks_exact(self.channels * h * w)
            .map(|v| Ok((Tensor::from_slice(b, [1, self.channels, h, w], v)?, plan.coeffs(1, self.channels)?)))
            .collect()
    }
}

/// The time of one run on the device's clock.
fn timed<B: Backend>(b: &B, mut run: impl FnMut() -> nsct::Result<()>) -> Result<Duration> {
    let (done, time) = b.time(|_| Ok(run()))?;
    done?;
    Ok(time)
}

/// Pixel `i` of the measured pictures: a slope with noise, 0..255.
fn pixel<T: Sample>(i: usize) -> T {
    let mut z = (i as u64).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    T::of(((i / 7) % 128) as f64 + ((z >> 40) % 128) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let mut left = [9u64, 9, 9, 5, 1, 3, 2, 4].into_iter().map(Duration::from_millis);
        let times = Times::measure(5, || Ok(left.next().unwrap())).unwrap();
        assert_eq!(times.median(), 0.003);
        assert_eq!((times.at(0.0), times.at(1.0)), (0.001, 0.005));
    }
}
