//! The demonstration of the grid language: programs on a small drawing, as one graph.

use ::style::StyleBackend;
use ata_wmma::AtaBackend;
use grid_dsl::device::DeviceExecutor;
use grid_dsl::exec::{Executor, Options};
use grid_dsl::kernels::GridBackend;
use grid_dsl::{Batch, Dag, Limits, Program, Sample, Value};
use nsct::NsctBackend;
use serde_json::json;

use super::Tour;
use crate::exit::{Exit, Failure, Result};
use crate::grid::drawing;
use crate::session::seconds;

/// Each returns one grid.
const PROGRAMS: &str = "\
program frames(I)
  objs = objects(I, T, F, T)
  around = mapply(outbox, objs)
  out = fill(I, 8, around)
return out
end
program largest(I)
  objs = objects(I, T, F, T)
  big = argmax(objs, size)
  out = subgrid(big, I)
return out
end
program kaleidoscope(I)
  right = vmirror(I)
  top = hconcat(I, right)
  bottom = hmirror(top)
  out = vconcat(top, bottom)
return out
end
program small(I)
  objs = objects(I, T, F, T)
  four = sizefilter(objs, 4)
  cells = merge(four)
  out = fill(I, 5, cells)
return out
end
";

const GRID: [&str; 10] = [
    "000000000000",
    "011000000200",
    "011000002220",
    "000000000200",
    "000330000000",
    "000300000044",
    "000300000044",
    "060000000000",
    "066660000700",
    "000000000000",
];

impl<B: NsctBackend<f32> + StyleBackend + AtaBackend + GridBackend> Tour<'_, B> {
    pub(super) fn grids(&mut self) -> Result<()> {
        let bundled = |why: String| Failure::new(Exit::Check, format!("the bundled programs: {why}"));
        let programs = Program::parse(PROGRAMS).map_err(|e| bundled(e.to_string()))?;
        let grid = Value::grid_from_digits(&GRID.join("/")).ok_or_else(|| bundled("no grid".to_owned()))?;
        let dag = Dag::build(&programs);
        let executor =
            Executor::new(DeviceExecutor::new(vec![self.b.clone()])?, Options { min_batch: 1, ..Options::default() });
        let started = std::time::Instant::now();
        let found = executor.run(&dag, &Batch::from_grids([grid.clone()]));
        let took = seconds(started.elapsed().as_secs_f64());
        let mut parts = vec![("I", drawing::grid(&grid).unwrap_or_default())];
        for (k, program) in programs.iter().enumerate() {
            let alone = program.run(&Sample::new(grid.clone()), &Limits::default(), false);
            let value = found.value(k, 0, 0);
            let same = alone.returns.first().is_some_and(|wanted| wanted.as_ref().map_err(|class| *class) == value);
            if !same {
                return Err(bundled(format!("{} differs from its definition", program.name())));
            }
            let drawn = value.ok().and_then(drawing::grid);
            parts.push((program.name(), drawn.ok_or_else(|| bundled(format!("{} gives no grid", program.name())))?));
        }
        let stats = dag.stats();
        let line = format!("grids: {} programs as {} nodes, equal to their definition", programs.len(), stats.nodes);
        self.result(&line, "grids", json!({ "programs": programs.len(), "lines": stats.lines, "nodes": stats.nodes }));
        self.page.section("Programs on grids");
        self.page.text(&format!(
            "{} programs of the ARC language on one grid: {} lines become a graph of {} nodes, in which what they share is \
             computed once ({took} on this backend). Each result is the definition's, value by value.",
            programs.len(),
            stats.lines,
            stats.nodes
        ));
        self.page.markup(drawing::STYLE);
        self.page.markup(&drawing::figure("One grid, and what four programs make of it", &parts));
        self.page.commands(&[
            "lockstep grid run flip.grid --grid 012/345 --show",
            "lockstep grid run solvers.py --tasks arc/training.jsonl --merged",
            "lockstep grid search 67a3c6ac.json",
        ]);
        Ok(())
    }
}
