//! Kernels as compilers write them, from `kernels/*.cu` (nvcc 13.0, `-ptx -arch=compute_80 -std=c++17 -O3 -lineinfo`).

use sim_driver::{Argument, Failure, Shape, launch};

use crate::common::*;

/// A file of kernels: its name, its PTX and its source.
pub(crate) struct Kernels(pub(crate) &'static str, pub(crate) &'static str, pub(crate) &'static str);

pub(crate) fn zeros(n: usize) -> Argument {
    Argument::Buffer(vec![0; 4 * n])
}

pub(crate) fn value(n: u32) -> Argument {
    Argument::Value(n.to_le_bytes().to_vec())
}

/// A shape whose blocks may wait for each other.
pub(crate) fn together(grid: u32, block: u32) -> Shape {
    Shape { cooperative: true, ..shape(grid, block) }
}

impl Kernels {
    fn run(&self, kernel: &str, shape: Shape, arguments: &[Argument]) -> Result<Vec<Argument>, Failure> {
        let mut arguments = arguments.to_vec();
        launch(self.1, kernel, shape, &mut arguments)?;
        Ok(arguments)
    }

    /// Words of a buffer behind a kernel that must run without a report.
    pub(crate) fn good(&self, kernel: &str, shape: Shape, arguments: &[Argument], which: usize) -> Vec<u32> {
        let after = self.run(kernel, shape, arguments).unwrap_or_else(|e| panic!("{e}"));
        match &after[which] {
            Argument::Buffer(bytes) => {
                bytes.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The report of a kernel that must not run to its end.
    pub(crate) fn run_bad(&self, kernel: &str, shape: Shape, arguments: &[Argument]) -> Failure {
        self.run(kernel, shape, arguments).expect_err(kernel)
    }

    /// The report of a kernel, which must name it, a block, a thread, a line of the PTX, and a line of the source that
    /// has this text.
    pub(crate) fn bad(&self, kernel: &str, shape: Shape, arguments: &[Argument], kind: &str, text: &str) -> Failure {
        let failure = self.run(kernel, shape, arguments).expect_err(kernel);
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(failure.message.contains(&format!("in kernel {kernel},")), "{failure}");
        assert!(failure.block.is_some() && failure.thread.is_some() && failure.line > 0, "{failure}");
        let instruction = self.1.lines().nth(failure.line as usize - 1).unwrap_or_default();
        // Reports have spaces where the compiler puts tabs.
        let instruction = instruction.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(failure.message.contains(&format!("PTX line {} `{instruction}`", failure.line)), "{failure}");
        let lines: Vec<usize> = (1..).zip(self.2.lines()).filter(|(_, l)| l.contains(text)).map(|(i, _)| i).collect();
        let named = |line: &usize| {
            [':', ','].iter().any(|end| failure.message.contains(&format!(" {}.cu:{line}{end}", self.0)))
        };
        // Atomics are functions of a header.
        let header = text.starts_with("atomic") && failure.message.contains("_functions.hpp:");
        assert!(header || lines.iter().any(named), "{failure}\n`{text}` is in lines {lines:?}");
        failure
    }
}
