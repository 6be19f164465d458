//! Clocks: events of a device, and processor time of one CPU thread's work.

use std::time::Duration;

use ata_wmma::kernels::AtaBackend;
use gpu_core::Tensor;

use super::Runner;

/// Bytes that are copied to clear the caches.
const FLUSH: usize = 512 << 20;

/// Processor time of all threads of this program so far, where the system tells it.
pub(super) fn processor() -> Option<Duration> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    let of = |task: std::io::Result<std::fs::DirEntry>| -> Option<u64> {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    // A thread may end while this reads.
    Some(Duration::from_nanos(tasks.filter_map(of).sum()))
}

/// How a recording is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caches {
    Warm,
    Cold,
}

impl Caches {
    /// Cold caches are those of a device; what a CPU keeps is not cleared by a copy alone.
    pub(super) fn of(backend: &str) -> &'static [Self] {
        if backend == "cpu" { &[Self::Warm] } else { &[Self::Warm, Self::Cold] }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Warm => "",
            Self::Cold => "cold",
        }
    }
}

impl Runner<'_> {
    /// Seconds of each run of `body`, which does `runs` of them, after some to warm up.
    pub(super) fn measure<B: AtaBackend>(
        &self,
        b: &B,
        samples: usize,
        runs: usize,
        caches: Caches,
        mut body: impl FnMut(&B) -> gpu_core::Result<()>,
    ) -> gpu_core::Result<Vec<f64>> {
        let len = if caches == Caches::Cold { FLUSH / 8 } else { 0 };
        let from = Tensor::<B, f32, 1>::zeros(b, [len])?;
        let mut to = Tensor::<B, f32, 1>::zeros(b, [len])?;
        let mut times = Vec::new();
        for sample in 0..samples + 3 {
            if len > 0 {
                b.copy(from.flat(), to.flat_mut())?;
            }
            let before = if self.processor { processor() } else { None };
            let ((), wall) = b.time(&mut body)?;
            let time = match before.zip(if self.processor { processor() } else { None }) {
                Some((before, after)) => after.saturating_sub(before),
                None => wall,
            };
            if sample >= 3 {
                times.push(time.as_secs_f64() / runs as f64);
            }
        }
        Ok(times)
    }
}
