//! Running one kernel, good or bad.

use sim_driver::{Argument, Failure, Shape, launch};

/// A kernel `k` with two buffers, whose address registers are %rd1 and %rd2, thread %r1, block %r2, and %rd3 = 4 tid.
pub(crate) fn ptx(body: &str) -> String {
    format!(
        ".version 7.0\n.target sm_80\n.address_size 64\n.extern .shared .align 16 .b8 dynamic[];\n\
         .visible .entry k(.param .u64 a, .param .u64 b)\n{{\n.shared .align 4 .b8 fixed[256];\n\
         .reg .pred %p<9>; .reg .b32 %r<20>; .reg .b64 %rd<20>; .reg .f32 %f<9>; .reg .b16 %h<9>;\n\
         ld.param.u64 %rd1, [a]; ld.param.u64 %rd2, [b]; mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x;\n\
         mul.wide.u32 %rd3, %r1, 4; add.s64 %rd4, %rd1, %rd3; add.s64 %rd5, %rd2, %rd3; shl.b32 %r3, %r1, 2;\n\
         mov.u32 %r4, fixed; add.s32 %r5, %r4, %r3; mov.u32 %r6, dynamic; add.s32 %r7, %r6, %r3;\n\
         {body}\nret;\n}}\n"
    )
}

/// Line of the first line of a body.
pub(crate) const FIRST: u32 = 12;

pub(crate) fn shape(grid: u32, block: u32) -> Shape {
    Shape { grid: [grid, 1, 1], block: [block, 1, 1], shared: 0, cooperative: false }
}

pub(crate) fn words(n: usize) -> Argument {
    Argument::Buffer((0..n as u32).flat_map(u32::to_le_bytes).collect())
}

pub(crate) fn run(body: &str, shape: Shape, a: Argument, b: Argument) -> Result<Vec<u32>, Failure> {
    let mut arguments = [a, b];
    launch(&ptx(body), "k", shape, &mut arguments)?;
    match &arguments[1] {
        Argument::Buffer(bytes) => {
            Ok(bytes.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect())
        }
        _ => Ok(Vec::new()),
    }
}

pub(crate) fn good(body: &str, shape: Shape) -> Vec<u32> {
    run(body, shape, words(64), words(64)).unwrap_or_else(|e| panic!("{e}\n{body}"))
}

pub(crate) fn bad(body: &str, shape: Shape, kind: &str) -> Failure {
    let failure = run(body, shape, words(64), words(64)).expect_err(body);
    assert_eq!(failure.kind, kind, "{failure}");
    failure
}

pub(crate) const RACE: &str = "race";
pub(crate) const BOUNDS: &str = "out of bounds";
pub(crate) const BARRIER: &str = "divergent barrier";
pub(crate) const LANES: &str = "lanes missing at a warp's instruction";
pub(crate) const UNWRITTEN: &str = "read of memory that nobody wrote";
