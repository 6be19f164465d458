//! W4: searching for programs.

use grid_dsl::conform::Task;
use grid_dsl::search::{Bounds, Enumerator, Outcome, Small};
use grid_dsl::{Limits, Sample, Value};
use rayon::prelude::*;
use serde_json::Value as Json;

use super::{Bench, Times, tell};
use crate::session::Session;

impl Bench {
    /// Everything is looked for, to the depth that was asked for.
    pub(super) fn bounds(&self) -> Bounds {
        Bounds { depth: self.depth.into(), programs: usize::MAX, all: true, ..Bounds::default() }
    }

    /// W4: all compositions of operations on the inputs of some tasks, one task after the other, from the host's memory to
    /// the host's; `place` says where. On a device, what is found is compared with what the host finds.
    pub(super) fn search(&self, session: &Session, tasks: &[Task], enumerator: &Enumerator, place: &str) -> Json {
        let step = tasks.len().div_ceil(self.of_tasks as usize).max(1);
        let chosen: Vec<&Task> = tasks.iter().step_by(step).collect();
        // A task with a grid beyond 30 x 30 is none to search.
        let all = |enumerator: &Enumerator| {
            let of_task = |task: &&Task| enumerator.run(&task.id, &task.train, |_| {}).ok();
            chosen.iter().filter_map(of_task).collect::<Vec<Outcome>>()
        };
        let mut found = Vec::new();
        let times = Times::measure(self.runs, || found = all(enumerator));
        let applications: u64 = found.iter().map(|outcome| outcome.applications).sum();
        let (mut checked, mut wrong) = self.differing_compositions(enumerator, &chosen);
        let failure = found.iter().find_map(|outcome| outcome.failure.clone());
        if enumerator.backend() != "cpu" && self.check > 0 {
            let wanted = all(&Enumerator::new(self.bounds()));
            checked += wanted.len();
            wrong += found.iter().zip(&wanted).filter(|(found, wanted)| differ(found, wanted)).count();
        }
        let what = format!(
            "{} operations to depth {} on the inputs of a task, {} tasks{place}",
            enumerator.operations().len(),
            self.depth,
            chosen.len()
        );
        let mut row = times.row("W4", &what, "operation applications", applications as f64, checked, wrong);
        // Other programs have other operations: what is the same is the depth and the tasks.
        row["shape"] = format!("all compositions to depth {}, {} tasks", self.depth, chosen.len()).into();
        row["variant"] =
            format!("{} operations, {applications} applications{place}", enumerator.operations().len()).into();
        row["gpus"] = u8::from(enumerator.backend() != "cpu").into();
        // A row that the host had to help with says so: it is none of the device.
        row["failure"] = failure.into();
        tell(session, &row);
        row
    }

    /// Compositions of two operations whose images differ from those of their programs, among one of so many.
    fn differing_compositions(&self, enumerator: &Enumerator, tasks: &[&Task]) -> (usize, usize) {
        let n = enumerator.operations().len();
        let pairs: Vec<(usize, usize)> =
            (0..if self.check == 0 { 0 } else { n * n }).step_by(self.check.max(1)).map(|k| (k / n, k % n)).collect();
        let limits = Limits::default();
        let differs = |&(a, b): &(usize, usize), (input, _): &(Value, Value)| {
            let program = enumerator.program("composed", &[a as u16, b as u16])?;
            let wanted = program.run(&Sample::new(input.clone()), &limits, false).returns.pop()?.ok();
            let (mut between, mut found) = (Small::default(), Small::default());
            let from = Small::read(input)?;
            let operations = enumerator.operations();
            let done =
                operations[a].apply(&from, &mut between).and_then(|()| operations[b].apply(&between, &mut found));
            // What does not fit is not gone on from, whatever the program gives.
            Some(done.is_some() && wanted.is_none_or(|wanted| wanted != found.to_value()))
        };
        let first: Vec<&(Value, Value)> = tasks.iter().filter_map(|task| task.train.first()).collect();
        let wrong = pairs.par_iter().map(|pair| first.iter().filter(|one| differs(pair, one) == Some(true)).count());
        (pairs.len() * first.len(), wrong.sum())
    }
}

/// Whether two searches differ in anything but their time.
fn differ(a: &Outcome, b: &Outcome) -> bool {
    let counts = |outcome: &Outcome| (outcome.applications, outcome.duplicates, outcome.states.clone(), outcome.end);
    let hits = |outcome: &Outcome| outcome.hits.iter().map(|hit| hit.operations.clone()).collect::<Vec<_>>();
    counts(a) != counts(b) || hits(a) != hits(b)
}
