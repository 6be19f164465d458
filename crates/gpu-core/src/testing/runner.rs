use proptest::strategy::Strategy;
use proptest::test_runner::{Config, FileFailurePersistence, RngSeed, TestCaseError, TestRunner};

/// Number of random cases a test tries: `LOCKSTEP_CASES`, or 64.
pub fn cases() -> u32 {
    std::env::var("LOCKSTEP_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(64)
}

/// Number of cases of tests that compute each of them again: `LOCKSTEP_REPEATS`, or as many as of all others.
#[cfg(feature = "cuda")]
fn repeats() -> u32 {
    std::env::var("LOCKSTEP_REPEATS").ok().and_then(|text| text.parse().ok()).unwrap_or_else(cases)
}

/// The same cases on every run, unless `LOCKSTEP_SEED` is `random` or a number.
fn config(source: &'static str, cases: u32) -> Config {
    let rng_seed = match std::env::var("LOCKSTEP_SEED") {
        Ok(text) if text == "random" => RngSeed::Random,
        Ok(text) => RngSeed::Fixed(text.parse().unwrap_or_else(|_| panic!("LOCKSTEP_SEED={text} is not a number"))),
        Err(_) => RngSeed::Fixed(20_261_120),
    };
    Config {
        cases,
        max_shrink_iters: 512,
        source_file: Some(source),
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        rng_seed,
        ..Config::default()
    }
}

fn run<S: Strategy>(
    source: &'static str,
    cases: u32,
    strategy: S,
    test: impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    if let Err(e) = TestRunner::new(config(source, cases)).run(&strategy, test) {
        panic!("{e}");
    }
}

/// The five proofs behind [`twins!`](crate::twins).
pub mod prove {
    use std::cell::RefCell;
    use std::fmt::Debug;
    use std::time::Instant;

    use proptest::strategy::Strategy;
    use proptest::test_runner::TestCaseError;

    use super::super::{Outputs, Record, Tolerance, record};
    use crate::{Cpu, Result};

    /// A sticky error makes every later case fail too, so shrinking would end at an innocent one: print and stop.
    fn ok<C: Debug>(result: Result<Outputs>, case: &C) -> Result<Outputs, TestCaseError> {
        result.map_err(|e| {
            if e.is_sticky() {
                let text = format!("{e}\ncase: {case:?}\n");
                let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
                std::process::abort();
            }
            TestCaseError::fail(format!("{e}"))
        })
    }

    fn check(
        got: &Outputs,
        wanted: &Outputs,
        tolerance: Tolerance,
        line: &RefCell<Record>,
    ) -> Result<(), TestCaseError> {
        if got.len() != wanted.len() {
            return Err(TestCaseError::fail(format!("{} outputs, wanted {}", got.len(), wanted.len())));
        }
        for (i, (g, w)) in got.iter().zip(wanted).enumerate() {
            let c = g.compare(w, tolerance).map_err(|e| TestCaseError::fail(format!("output {i}: {e}")))?;
            let mut line = line.borrow_mut();
            line.worst.merge(&c);
            line.allowed = Some(line.allowed.map_or(tolerance, |most| most.loosest(tolerance)));
            if !c.passed() {
                return Err(TestCaseError::fail(format!(
                    "output {i}: {}; allowed: {tolerance}",
                    c.describe(g.shape())
                )));
            }
        }
        Ok(())
    }

    fn same_bits(a: &Outputs, b: &Outputs, what: &str) -> Result<(), TestCaseError> {
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            if a.bytes() != b.bytes() {
                let c = a.compare(b, Tolerance::EXACT).map_err(|e| TestCaseError::fail(e.to_string()))?;
                return Err(TestCaseError::fail(format!("output {i}: bits differ {what}: {}", c.describe(a.shape()))));
            }
        }
        Ok(())
    }

    fn done(line: RefCell<Record>, cases: u32) {
        let mut line = line.into_inner();
        line.cases = cases;
        record(&line);
    }

    /// The CPU twin against the oracle.
    pub fn oracle<C: Debug, S: Strategy<Value = C>>(
        source: &'static str,
        line: Record,
        strategy: S,
        on_cpu: impl Fn(&Cpu, &C) -> Result<Outputs>,
        oracle: impl Fn(&C) -> Outputs,
        tolerance: impl Fn(&C) -> Tolerance,
    ) {
        let line = RefCell::new(line);
        super::run(source, super::cases(), strategy, |case| {
            let start = Instant::now();
            let got = ok(on_cpu(&Cpu::new(), &case), &case)?;
            line.borrow_mut().cpu_seconds += start.elapsed().as_secs_f64();
            check(&got, &oracle(&case), tolerance(&case), &line)
        });
        done(line, super::cases());
    }

    /// The CPU twin's bits with one, two and all threads.
    pub fn threads<C: Debug + Sync, S: Strategy<Value = C>>(
        source: &'static str,
        line: Record,
        strategy: S,
        on_cpu: impl Fn(&Cpu, &C) -> Result<Outputs> + Sync,
    ) {
        let pools: Vec<_> = [1, 2, 0]
            .iter()
            .map(|&n| rayon::ThreadPoolBuilder::new().num_threads(n).build().expect("a thread pool starts"))
            .collect();
        super::run(source, super::cases(), strategy, |case| {
            let mut results = Vec::new();
            for pool in &pools {
                results.push(ok(pool.install(|| on_cpu(&Cpu::new(), &case)), &case)?);
            }
            same_bits(&results[0], &results[1], "between 1 and 2 threads")?;
            same_bits(&results[0], &results[2], "between 1 and all threads")
        });
        done(RefCell::new(line), super::cases());
    }

    /// The CUDA twin against the CPU twin.
    #[cfg(feature = "cuda")]
    pub fn twins<C: Debug, S: Strategy<Value = C>>(
        source: &'static str,
        line: Record,
        strategy: S,
        on_cpu: impl Fn(&Cpu, &C) -> Result<Outputs>,
        on_cuda: impl Fn(&crate::Cuda, &C) -> Result<Outputs>,
        tolerance: impl Fn(&C) -> Tolerance,
    ) {
        let cuda = super::super::cuda();
        let line = RefCell::new(line);
        line.borrow_mut().device.clone_from(&crate::Backend::device(&cuda).name);
        super::run(source, super::cases(), strategy, |case| {
            let start = Instant::now();
            let wanted = ok(on_cpu(&Cpu::new(), &case), &case)?;
            let between = Instant::now();
            let got = ok(on_cuda(&cuda, &case), &case)?;
            {
                let mut line = line.borrow_mut();
                line.cpu_seconds += (between - start).as_secs_f64();
                line.cuda_seconds += between.elapsed().as_secs_f64();
            }
            check(&got, &wanted, tolerance(&case), &line)
        });
        done(line, super::cases());
    }

    /// The CUDA twin's bits, twice.
    #[cfg(feature = "cuda")]
    pub fn repeats<C: Debug, S: Strategy<Value = C>>(
        source: &'static str,
        mut line: Record,
        strategy: S,
        on_cuda: impl Fn(&crate::Cuda, &C) -> Result<Outputs>,
    ) {
        let cuda = super::super::cuda();
        line.device.clone_from(&crate::Backend::device(&cuda).name);
        super::run(source, super::repeats(), strategy, |case| {
            let first = ok(on_cuda(&cuda, &case), &case)?;
            let second = ok(on_cuda(&cuda, &case), &case)?;
            same_bits(&first, &second, "between two runs")
        });
        done(RefCell::new(line), super::repeats());
    }

    /// The CUDA twin on a forked queue gives the bits of the first queue.
    #[cfg(feature = "cuda")]
    pub fn forked<C: Debug, S: Strategy<Value = C>>(
        source: &'static str,
        mut line: Record,
        strategy: S,
        on_cuda: impl Fn(&crate::Cuda, &C) -> Result<Outputs>,
    ) {
        use crate::Backend;
        let cuda = super::super::cuda();
        line.device.clone_from(&cuda.device().name);
        super::run(source, super::repeats(), strategy, |case| {
            let fork = cuda.fork().map_err(|e| TestCaseError::fail(e.to_string()))?;
            let first = ok(on_cuda(&cuda, &case), &case)?;
            let second = ok(on_cuda(&fork, &case), &case)?;
            same_bits(&first, &second, "between two queues")
        });
        done(RefCell::new(line), super::repeats());
    }
}
