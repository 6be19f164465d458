//! W4: searching for programs.

use grid_dsl::conform::Task;
use grid_dsl::search::{Bounds, Enumerator, Small};
use grid_dsl::{Limits, Sample, Value};
use rayon::prelude::*;
use serde_json::Value as Json;

use super::{Bench, Times, tell};
use crate::session::Session;

impl Bench {
    /// W4: all compositions of operations on the inputs of some tasks, one task after the other. The processor does that
    /// wherever other workloads run.
    pub(super) fn search(&self, session: &Session, tasks: &[Task]) -> Json {
        let enumerator =
            Enumerator::new(Bounds { depth: self.depth.into(), programs: usize::MAX, all: true, ..Bounds::default() });
        let step = tasks.len().div_ceil(self.of_tasks as usize).max(1);
        let chosen: Vec<&Task> = tasks.iter().step_by(step).collect();
        let mut applications = 0;
        let times = Times::measure(self.runs, || {
            // A task with a grid beyond 30 x 30 is none to search.
            let of_task =
                |task: &&Task| enumerator.run(&task.id, &task.train, |_| {}).map_or(0, |found| found.applications);
            applications = chosen.iter().map(of_task).sum();
        });
        let (checked, wrong) = self.differing_compositions(&enumerator, &chosen);
        let what = format!(
            "{} operations to depth {} on the inputs of a task, {} tasks",
            enumerator.operations().len(),
            self.depth,
            chosen.len()
        );
        let mut row = times.row("W4", &what, "operation applications", applications as f64, checked, wrong);
        // Other programs have other operations: what is the same is the depth and the tasks.
        row["shape"] = format!("all compositions to depth {}, {} tasks", self.depth, chosen.len()).into();
        row["variant"] = format!("{} operations, {applications} applications", enumerator.operations().len()).into();
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
